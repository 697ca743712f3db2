//! Which resource types the sandbox keeps, and by which parameters each can be searched.
//!
//! The CapabilityStatement is written from these tables, so that it cannot promise more than is done.
//! Source: HL7 search-parameters.json of R4, R4B and R5; a subset.

use super::Release;

/// How a parameter's values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Token,
    /// To these types; empty: to any.
    Reference(&'static [&'static str]),
    Date,
    Text,
    Uri,
}

impl Kind {
    /// As in `CapabilityStatement.rest.resource.searchParam.type`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Token => "token",
            Kind::Reference(_) => "reference",
            Kind::Date => "date",
            Kind::Text => "string",
            Kind::Uri => "uri",
        }
    }
}

/// A search parameter: the elements (dotted paths; lists are entered) that it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    pub paths: &'static [&'static str],
}

type Table = &'static [(&'static str, &'static [Parameter])];

const fn token(name: &'static str, paths: &'static [&'static str]) -> Parameter {
    Parameter { name, kind: Kind::Token, paths }
}
const fn date(name: &'static str, paths: &'static [&'static str]) -> Parameter {
    Parameter { name, kind: Kind::Date, paths }
}
const fn text(name: &'static str, paths: &'static [&'static str]) -> Parameter {
    Parameter { name, kind: Kind::Text, paths }
}
const fn uri(name: &'static str, paths: &'static [&'static str]) -> Parameter {
    Parameter { name, kind: Kind::Uri, paths }
}
const fn reference(
    name: &'static str,
    paths: &'static [&'static str],
    targets: &'static [&'static str],
) -> Parameter {
    Parameter { name, kind: Kind::Reference(targets), paths }
}

/// On every type.
const COMMON: [Parameter; 2] = [token("_id", &["id"]), date("_lastUpdated", &["meta.lastUpdated"])];

const PATIENT: Parameter = reference("patient", &["subject"], &["Patient"]);
const SUBJECT: Parameter = reference("subject", &["subject"], &[]);
const OWN_PATIENT: Parameter = reference("patient", &["patient"], &["Patient"]);
const CODE: Parameter = token("code", &["code"]);
const STATUS: Parameter = token("status", &["status"]);
const CATEGORY: Parameter = token("category", &["category"]);
const IDENTIFIER: Parameter = token("identifier", &["identifier"]);
const ENCOUNTER: Parameter = reference("encounter", &["encounter"], &["Encounter"]);
const DRUG: Parameter = token("code", &["medicationCodeableConcept"]);
const MEDICATION: Parameter = reference("medication", &["medicationReference"], &["Medication"]);
const DRUG_R5: Parameter = token("code", &["medication.concept"]);
const MEDICATION_R5: Parameter = reference("medication", &["medication.reference"], &["Medication"]);

/// R4 and R4B, and R5 where [`R5`] does not say otherwise.
const R4: Table = &[
    (
        "AllergyIntolerance",
        &[
            OWN_PATIENT,
            CODE,
            CATEGORY,
            IDENTIFIER,
            token("clinical-status", &["clinicalStatus"]),
            token("verification-status", &["verificationStatus"]),
            date("date", &["recordedDate"]),
        ],
    ),
    ("AuditEvent", &[date("date", &["recorded"]), reference("entity", &["entity.what"], &[])]),
    (
        "Condition",
        &[
            PATIENT,
            SUBJECT,
            CODE,
            CATEGORY,
            IDENTIFIER,
            ENCOUNTER,
            token("clinical-status", &["clinicalStatus"]),
            token("verification-status", &["verificationStatus"]),
            date("onset-date", &["onsetDateTime", "onsetPeriod"]),
            date("recorded-date", &["recordedDate"]),
        ],
    ),
    (
        "Consent",
        &[OWN_PATIENT, STATUS, CATEGORY, IDENTIFIER, token("scope", &["scope"]), date("date", &["dateTime"])],
    ),
    ("Device", &[IDENTIFIER, STATUS]),
    (
        "DiagnosticReport",
        &[
            PATIENT,
            SUBJECT,
            CODE,
            STATUS,
            CATEGORY,
            IDENTIFIER,
            ENCOUNTER,
            date("date", &["effectiveDateTime", "effectivePeriod"]),
            reference("result", &["result"], &["Observation"]),
        ],
    ),
    (
        "Encounter",
        &[PATIENT, SUBJECT, STATUS, IDENTIFIER, token("class", &["class"]), date("date", &["period"])],
    ),
    ("Flag", &[PATIENT, SUBJECT, STATUS, IDENTIFIER, date("date", &["period"])]),
    (
        "Group",
        &[
            CODE,
            IDENTIFIER,
            token("type", &["type"]),
            token("actual", &["actual"]),
            reference("member", &["member.entity"], &[]),
        ],
    ),
    (
        "List",
        &[
            PATIENT,
            SUBJECT,
            CODE,
            STATUS,
            IDENTIFIER,
            reference("item", &["entry.item"], &[]),
            date("date", &["date"]),
            text("title", &["title"]),
        ],
    ),
    ("Medication", &[CODE, STATUS, IDENTIFIER]),
    (
        "MedicationAdministration",
        &[
            PATIENT,
            SUBJECT,
            DRUG,
            MEDICATION,
            STATUS,
            IDENTIFIER,
            date("effective-time", &["effectiveDateTime", "effectivePeriod"]),
        ],
    ),
    (
        "MedicationDispense",
        &[
            PATIENT,
            SUBJECT,
            DRUG,
            MEDICATION,
            STATUS,
            IDENTIFIER,
            date("whenhandedover", &["whenHandedOver"]),
        ],
    ),
    (
        "MedicationRequest",
        &[
            PATIENT,
            SUBJECT,
            DRUG,
            MEDICATION,
            STATUS,
            IDENTIFIER,
            ENCOUNTER,
            CATEGORY,
            token("intent", &["intent"]),
            date("authoredon", &["authoredOn"]),
        ],
    ),
    (
        "MedicationStatement",
        &[
            PATIENT,
            SUBJECT,
            DRUG,
            MEDICATION,
            STATUS,
            CATEGORY,
            IDENTIFIER,
            date("effective", &["effectiveDateTime", "effectivePeriod"]),
        ],
    ),
    (
        "Observation",
        &[
            PATIENT,
            SUBJECT,
            CODE,
            STATUS,
            CATEGORY,
            IDENTIFIER,
            ENCOUNTER,
            token("component-code", &["component.code"]),
            token("combo-code", &["code", "component.code"]),
            token("value-concept", &["valueCodeableConcept"]),
            date("date", &["effectiveDateTime", "effectivePeriod", "effectiveInstant"]),
            reference("derived-from", &["derivedFrom"], &[]),
            reference("has-member", &["hasMember"], &[]),
        ],
    ),
    ("Organization", &[IDENTIFIER, text("name", &["name"])]),
    (
        "Patient",
        &[
            IDENTIFIER,
            token("gender", &["gender"]),
            token("active", &["active"]),
            date("birthdate", &["birthDate"]),
            date("death-date", &["deceasedDateTime"]),
            text("family", &["name.family"]),
            text("given", &["name.given"]),
            text("name", &["name.family", "name.given", "name.text"]),
        ],
    ),
    ("Practitioner", &[IDENTIFIER, text("name", &["name.family", "name.given", "name.text"])]),
    (
        "Procedure",
        &[
            PATIENT,
            SUBJECT,
            CODE,
            STATUS,
            CATEGORY,
            IDENTIFIER,
            ENCOUNTER,
            date("date", &["performedDateTime", "performedPeriod"]),
        ],
    ),
    (
        "Provenance",
        &[
            reference("target", &["target"], &[]),
            reference("patient", &["target"], &["Patient"]),
            reference("entity", &["entity.what"], &[]),
            date("recorded", &["recorded"]),
        ],
    ),
    ("Questionnaire", &[IDENTIFIER, STATUS, uri("url", &["url"]), text("title", &["title"])]),
    (
        "QuestionnaireResponse",
        &[
            PATIENT,
            SUBJECT,
            STATUS,
            IDENTIFIER,
            uri("questionnaire", &["questionnaire"]),
            date("authored", &["authored"]),
        ],
    ),
    ("ResearchStudy", &[IDENTIFIER, STATUS, CATEGORY, date("date", &["period"]), text("title", &["title"])]),
    (
        "ResearchSubject",
        &[
            IDENTIFIER,
            STATUS,
            reference("individual", &["individual"], &["Patient"]),
            reference("patient", &["individual"], &["Patient"]),
            reference("study", &["study"], &["ResearchStudy"]),
            date("date", &["period"]),
        ],
    ),
    ("Specimen", &[PATIENT, SUBJECT, STATUS, IDENTIFIER]),
    // Kept as any resource is; this hospital notifies nobody.
    ("Subscription", &[STATUS, uri("url", &["channel.endpoint"]), text("criteria", &["criteria"])]),
];

/// What R5 changed.
const R5: Table = &[
    (
        "Consent",
        &[
            PATIENT,
            SUBJECT,
            STATUS,
            CATEGORY,
            IDENTIFIER,
            token("decision", &["decision"]),
            date("date", &["date"]),
        ],
    ),
    (
        "Encounter",
        &[PATIENT, SUBJECT, STATUS, IDENTIFIER, token("class", &["class"]), date("date", &["actualPeriod"])],
    ),
    (
        "Group",
        &[
            CODE,
            IDENTIFIER,
            token("type", &["type"]),
            token("membership", &["membership"]),
            reference("member", &["member.entity"], &[]),
        ],
    ),
    (
        "MedicationAdministration",
        &[
            PATIENT,
            SUBJECT,
            DRUG_R5,
            MEDICATION_R5,
            STATUS,
            IDENTIFIER,
            date("date", &["occurenceDateTime", "occurencePeriod"]),
        ],
    ),
    (
        "MedicationDispense",
        &[
            PATIENT,
            SUBJECT,
            DRUG_R5,
            MEDICATION_R5,
            STATUS,
            IDENTIFIER,
            date("whenhandedover", &["whenHandedOver"]),
        ],
    ),
    (
        "MedicationRequest",
        &[
            PATIENT,
            SUBJECT,
            DRUG_R5,
            MEDICATION_R5,
            STATUS,
            IDENTIFIER,
            ENCOUNTER,
            CATEGORY,
            token("intent", &["intent"]),
            date("authoredon", &["authoredOn"]),
        ],
    ),
    (
        "MedicationStatement",
        &[
            PATIENT,
            SUBJECT,
            DRUG_R5,
            MEDICATION_R5,
            STATUS,
            CATEGORY,
            IDENTIFIER,
            date("effective", &["effectiveDateTime", "effectivePeriod"]),
        ],
    ),
    (
        "Procedure",
        &[
            PATIENT,
            SUBJECT,
            CODE,
            STATUS,
            CATEGORY,
            IDENTIFIER,
            ENCOUNTER,
            date("date", &["occurrenceDateTime", "occurrencePeriod"]),
        ],
    ),
    (
        "ResearchSubject",
        &[
            IDENTIFIER,
            STATUS,
            SUBJECT,
            PATIENT,
            reference("study", &["study"], &["ResearchStudy"]),
            token("subject_state", &["progress.subjectState"]),
            date("date", &["period"]),
        ],
    ),
];

/// The types that are kept, in alphabetical order.
pub(super) fn types() -> impl Iterator<Item = &'static str> {
    R4.iter().map(|(name, _)| *name)
}

/// The search parameters of a type; `None` if the type is not kept.
pub(super) fn of(release: Release, resource_type: &str) -> Option<impl Iterator<Item = &'static Parameter>> {
    let find = |table: Table| table.iter().find(|(name, _)| *name == resource_type).map(|(_, own)| *own);
    let own = if release == Release::R5 { find(R5).or_else(|| find(R4)) } else { find(R4) };
    own.map(|own| COMMON.iter().chain(own))
}

/// One search parameter of a type.
pub(super) fn named(release: Release, resource_type: &str, name: &str) -> Option<&'static Parameter> {
    of(release, resource_type)?.find(|parameter| parameter.name == name)
}

/// The elements that a resource of this type must have (cardinality 1..): a create or update without one is a
/// 422.
pub(super) fn required(release: Release, resource_type: &str) -> &'static [&'static str] {
    match (resource_type, release) {
        ("AllergyIntolerance", _) => &["patient"],
        ("Condition", Release::R5) => &["subject", "clinicalStatus"],
        ("Condition", _) => &["subject"],
        ("Consent", Release::R5) => &["status"],
        ("Consent", _) => &["status", "scope", "category"],
        ("DiagnosticReport" | "Observation", _) => &["status", "code"],
        ("Encounter", Release::R5) => &["status"],
        ("Encounter", _) => &["status", "class"],
        ("Flag", _) => &["status", "code", "subject"],
        ("Group", Release::R5) => &["type", "membership"],
        ("Group", _) => &["type", "actual"],
        ("List", _) => &["status", "mode"],
        ("MedicationRequest", _) => &["status", "intent", "subject"],
        ("MedicationAdministration" | "MedicationStatement", _) => &["status", "subject"],
        ("MedicationDispense", _) => &["status"],
        ("Procedure", _) => &["status", "subject"],
        ("Provenance", Release::R5) => &["target", "agent"],
        ("Provenance", _) => &["target", "recorded", "agent"],
        ("Questionnaire" | "QuestionnaireResponse" | "ResearchStudy", _) => &["status"],
        ("ResearchSubject", Release::R5) => &["status", "study", "subject"],
        ("ResearchSubject", _) => &["status", "study", "individual"],
        ("Subscription", Release::R5) => &["status", "topic", "channelType"],
        ("Subscription", _) => &["status", "reason", "criteria", "channel"],
        _ => &[],
    }
}
