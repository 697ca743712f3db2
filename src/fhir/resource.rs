//! Narrow, borrowed projections of the resources that are read. Each field is optional: what a
//! hospital leaves out is for the mapping to judge. Decimals keep their text.
//!
//! Where releases differ, both spellings stand side by side with the release that has them.

use super::text::Text;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// What every resource has; read first to know what it is.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Head<'a> {
    #[serde(borrow)]
    pub resource_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
}

#[derive(Deserialize, Debug, Default, Clone)]
#[serde(rename_all = "camelCase")]
pub struct Meta<'a> {
    #[serde(borrow)]
    pub version_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub last_updated: Option<Text<'a>>,
}

#[derive(Deserialize, Debug, Default, Clone)]
pub struct Coding<'a> {
    #[serde(borrow)]
    pub system: Option<Text<'a>>,
    #[serde(borrow)]
    pub code: Option<Text<'a>>,
    /// Never mapped by; only a drug's name may raise a question.
    #[serde(borrow)]
    pub display: Option<Text<'a>>,
}

#[derive(Deserialize, Debug, Default, Clone)]
pub struct CodeableConcept<'a> {
    #[serde(borrow, default)]
    pub coding: Vec<Coding<'a>>,
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
}

#[derive(Deserialize, Debug, Default, Clone)]
pub struct Reference<'a> {
    #[serde(borrow)]
    pub reference: Option<Text<'a>>,
    #[serde(borrow)]
    pub identifier: Option<Identifier<'a>>,
}

#[derive(Deserialize, Debug, Default, Clone)]
pub struct Identifier<'a> {
    #[serde(borrow)]
    pub system: Option<Text<'a>>,
    #[serde(borrow)]
    pub value: Option<Text<'a>>,
}

#[derive(Deserialize, Debug, Default, Clone)]
pub struct Period<'a> {
    #[serde(borrow)]
    pub start: Option<Text<'a>>,
    #[serde(borrow)]
    pub end: Option<Text<'a>>,
}

#[derive(Deserialize, Debug, Default, Clone)]
pub struct Quantity<'a> {
    #[serde(borrow)]
    pub value: Option<&'a RawValue>,
    #[serde(borrow)]
    pub comparator: Option<Text<'a>>,
    #[serde(borrow)]
    pub unit: Option<Text<'a>>,
    #[serde(borrow)]
    pub system: Option<Text<'a>>,
    #[serde(borrow)]
    pub code: Option<Text<'a>>,
}

#[derive(Deserialize, Debug, Default, Clone)]
pub struct Range<'a> {
    #[serde(borrow)]
    pub low: Option<Quantity<'a>>,
    #[serde(borrow)]
    pub high: Option<Quantity<'a>>,
}

/// `value[x]` of an Observation or one of its components.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub struct Component<'a> {
    #[serde(borrow, default)]
    pub code: CodeableConcept<'a>,
    #[serde(borrow)]
    pub value_quantity: Option<Quantity<'a>>,
    #[serde(borrow)]
    pub value_codeable_concept: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub value_string: Option<Text<'a>>,
    pub value_boolean: Option<bool>,
    #[serde(borrow)]
    pub value_integer: Option<&'a RawValue>,
    #[serde(borrow)]
    pub value_range: Option<Range<'a>>,
    #[serde(borrow)]
    pub data_absent_reason: Option<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    pub interpretation: Vec<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    pub reference_range: Vec<Range<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Observation<'a> {
    /// Looked at before; here so that a second one is a duplicate key.
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub category: Vec<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    pub code: CodeableConcept<'a>,
    #[serde(borrow)]
    pub subject: Option<Reference<'a>>,
    #[serde(borrow)]
    pub effective_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub effective_instant: Option<Text<'a>>,
    #[serde(borrow)]
    pub effective_period: Option<Period<'a>>,
    #[serde(borrow)]
    pub value_quantity: Option<Quantity<'a>>,
    #[serde(borrow)]
    pub value_codeable_concept: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub value_string: Option<Text<'a>>,
    pub value_boolean: Option<bool>,
    #[serde(borrow)]
    pub value_integer: Option<&'a RawValue>,
    #[serde(borrow)]
    pub value_range: Option<Range<'a>>,
    #[serde(borrow)]
    pub data_absent_reason: Option<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    pub interpretation: Vec<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    pub reference_range: Vec<Range<'a>>,
    #[serde(borrow, default)]
    pub component: Vec<Component<'a>>,
    #[serde(default)]
    pub has_member: Vec<IgnoredAny>,
    /// What was observed, where it is not the patient: a fetus, a donor.
    #[serde(default)]
    pub focus: Vec<IgnoredAny>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Patient<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    pub active: Option<bool>,
    #[serde(borrow)]
    pub birth_date: Option<Text<'a>>,
    #[serde(borrow)]
    pub gender: Option<Text<'a>>,
    pub deceased_boolean: Option<bool>,
    #[serde(borrow)]
    pub deceased_date_time: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub extension: Vec<Extension<'a>>,
    #[serde(borrow, default)]
    pub link: Vec<PatientLink<'a>>,
}

/// What of a Patient says who it is. Read apart, so that a mistake here costs nothing else.
#[derive(Deserialize, Debug, Default)]
pub struct PatientIdentity<'a> {
    #[serde(borrow, default)]
    pub identifier: Vec<PatientIdentifier<'a>>,
    #[serde(borrow, default)]
    pub link: Vec<PatientLink<'a>>,
}

#[derive(Deserialize, Debug)]
pub struct PatientIdentifier<'a> {
    #[serde(borrow, rename = "use")]
    pub usage: Option<Text<'a>>,
    #[serde(borrow)]
    pub system: Option<Text<'a>>,
    #[serde(borrow)]
    pub value: Option<Text<'a>>,
}

/// Who is who, as a named person ruled. R4 to R5.
#[derive(Deserialize, Debug)]
pub struct Linkage<'a> {
    pub active: Option<bool>,
    #[serde(borrow, default)]
    pub item: Vec<LinkageItem<'a>>,
}

#[derive(Deserialize, Debug)]
pub struct LinkageItem<'a> {
    #[serde(borrow, rename = "type")]
    pub item_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub resource: Option<Reference<'a>>,
}

#[derive(Deserialize, Debug)]
pub struct PatientLink<'a> {
    #[serde(borrow)]
    pub other: Option<Reference<'a>>,
    #[serde(borrow, rename = "type")]
    pub link_type: Option<Text<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Extension<'a> {
    #[serde(borrow)]
    pub url: Option<Text<'a>>,
    #[serde(borrow)]
    pub value_code: Option<Text<'a>>,
    #[serde(borrow)]
    pub value_reference: Option<Reference<'a>>,
}

/// Condition, in all releases.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Condition<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow)]
    pub clinical_status: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub verification_status: Option<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    pub code: CodeableConcept<'a>,
    #[serde(borrow)]
    pub severity: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub subject: Option<Reference<'a>>,
    #[serde(borrow)]
    pub onset_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub onset_period: Option<Period<'a>>,
    #[serde(borrow)]
    pub abatement_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub abatement_period: Option<Period<'a>>,
    #[serde(borrow)]
    pub recorded_date: Option<Text<'a>>,
}

/// Procedure. `performed[x]` in R4 and R4B is `occurrence[x]` in R5.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Procedure<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub code: CodeableConcept<'a>,
    #[serde(borrow)]
    pub subject: Option<Reference<'a>>,
    #[serde(borrow)]
    pub performed_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub performed_period: Option<Period<'a>>,
    #[serde(borrow)]
    pub occurrence_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub occurrence_period: Option<Period<'a>>,
}

/// MedicationRequest, MedicationStatement, MedicationAdministration and MedicationDispense. The
/// drug is `medicationCodeableConcept` or `medicationReference` in R4 and R4B, a
/// CodeableReference `medication` in R5.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct MedicationUse<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow)]
    pub intent: Option<Text<'a>>,
    pub do_not_perform: Option<bool>,
    /// MedicationStatement in R5, where `status` is only a record's status.
    #[serde(borrow)]
    pub adherence: Option<Adherence<'a>>,
    #[serde(borrow)]
    pub medication_codeable_concept: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub medication_reference: Option<Reference<'a>>,
    #[serde(borrow)]
    pub medication: Option<CodeableReference<'a>>,
    #[serde(borrow)]
    pub subject: Option<Reference<'a>>,
    #[serde(borrow, default)]
    pub contained: Vec<ContainedMedication<'a>>,
    #[serde(borrow)]
    pub authored_on: Option<Text<'a>>,
    #[serde(borrow)]
    pub effective_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub effective_period: Option<Period<'a>>,
    /// MedicationAdministration in R5.
    #[serde(borrow)]
    pub occurence_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub occurence_period: Option<Period<'a>>,
    #[serde(borrow)]
    pub when_handed_over: Option<Text<'a>>,
    #[serde(borrow)]
    pub when_prepared: Option<Text<'a>>,
    /// MedicationRequest and MedicationDispense; MedicationStatement and MedicationAdministration
    /// call it `dosage`, the latter with a single value.
    #[serde(borrow, default)]
    pub dosage_instruction: Vec<Dosage<'a>>,
    #[serde(borrow)]
    pub dosage: Option<&'a RawValue>,
}

#[derive(Deserialize, Debug)]
pub struct Adherence<'a> {
    #[serde(borrow)]
    pub code: Option<CodeableConcept<'a>>,
}

#[derive(Deserialize, Debug)]
pub struct CodeableReference<'a> {
    #[serde(borrow)]
    pub concept: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub reference: Option<Reference<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct ContainedMedication<'a> {
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub resource_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub code: Option<&'a RawValue>,
}

#[derive(Deserialize, Debug)]
pub struct Dosage<'a> {
    #[serde(borrow)]
    pub route: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub timing: Option<Timing<'a>>,
}

#[derive(Deserialize, Debug)]
pub struct Timing<'a> {
    #[serde(borrow)]
    pub repeat: Option<Repeat<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Repeat<'a> {
    #[serde(borrow)]
    pub bounds_period: Option<Period<'a>>,
}

/// Medication, referred to by the above.
#[derive(Deserialize, Debug)]
pub struct Medication<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow, default)]
    pub code: CodeableConcept<'a>,
}

/// AllergyIntolerance. `type` is a code in R4 and R4B, a CodeableConcept in R5.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct AllergyIntolerance<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow)]
    pub clinical_status: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub verification_status: Option<CodeableConcept<'a>>,
    #[serde(borrow, rename = "type")]
    pub allergy_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub category: Vec<Text<'a>>,
    #[serde(borrow, default)]
    pub code: CodeableConcept<'a>,
    #[serde(borrow)]
    pub patient: Option<Reference<'a>>,
    #[serde(borrow)]
    pub onset_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub recorded_date: Option<Text<'a>>,
}

/// Consent. R4 and R4B: `scope`, `patient`, `dateTime`, one `provision` with `type`. R5: `subject`,
/// `date`, `decision`, several provisions.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Consent<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow)]
    pub scope: Option<CodeableConcept<'a>>,
    #[serde(borrow, default)]
    pub category: Vec<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub patient: Option<Reference<'a>>,
    #[serde(borrow)]
    pub subject: Option<Reference<'a>>,
    #[serde(borrow)]
    pub date_time: Option<Text<'a>>,
    #[serde(borrow)]
    pub date: Option<Text<'a>>,
    #[serde(borrow)]
    pub decision: Option<Text<'a>>,
    #[serde(borrow)]
    pub provision: Option<&'a RawValue>,
    /// R5; in R4 and R4B it stands in the provision.
    #[serde(borrow)]
    pub period: Option<Period<'a>>,
    #[serde(borrow, default)]
    pub identifier: Vec<Identifier<'a>>,
    #[serde(borrow, default)]
    pub extension: Vec<Extension<'a>>,
}

#[derive(Deserialize, Debug)]
pub struct Provision<'a> {
    #[serde(borrow, rename = "type")]
    pub provision_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub period: Option<Period<'a>>,
}

/// ResearchSubject. `individual` in R4 and R4B, `subject` in R5; in R5 `status` is a publication
/// status and the state stands in `progress`.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct ResearchSubject<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow, default)]
    pub identifier: Vec<Identifier<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow)]
    pub period: Option<Period<'a>>,
    #[serde(borrow)]
    pub study: Option<Reference<'a>>,
    #[serde(borrow)]
    pub individual: Option<Reference<'a>>,
    #[serde(borrow)]
    pub subject: Option<Reference<'a>>,
    #[serde(borrow, default)]
    pub progress: Vec<Progress<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Progress<'a> {
    #[serde(borrow)]
    pub subject_state: Option<CodeableConcept<'a>>,
    #[serde(borrow)]
    pub start_date: Option<Text<'a>>,
    #[serde(borrow)]
    pub end_date: Option<Text<'a>>,
}

/// ResearchStudy: only what tells our study from others.
#[derive(Deserialize, Debug)]
pub struct ResearchStudy<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow, default)]
    pub identifier: Vec<Identifier<'a>>,
}

#[derive(Deserialize, Debug)]
pub struct QuestionnaireResponse<'a> {
    #[serde(rename = "resourceType")]
    pub resource_type: Option<IgnoredAny>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    #[serde(borrow)]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow)]
    pub questionnaire: Option<Text<'a>>,
    #[serde(borrow)]
    pub subject: Option<Reference<'a>>,
    #[serde(borrow)]
    pub authored: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub item: Vec<Item<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Item<'a> {
    #[serde(borrow)]
    pub link_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub answer: Vec<Answer<'a>>,
    #[serde(borrow, default)]
    pub item: Vec<Item<'a>>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Answer<'a> {
    pub value_boolean: Option<bool>,
    #[serde(borrow)]
    pub value_coding: Option<Coding<'a>>,
    #[serde(borrow)]
    pub value_string: Option<Text<'a>>,
}
