//! The vocabulary in which the invented patients are written: a chart that resources are added to.

use std::collections::BTreeMap;

use chrono::{Days, Months, NaiveDate};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::labs::Draw;
use super::{Case, Dialect, Intent};

const TRIAL: &str = "NCT06242405";
const QUESTIONNAIRE: &str = "urn:trialbridge:questionnaire:NCT06242405";

/// A coding. An empty `system` leaves it out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Code {
    pub system: &'static str,
    pub code: &'static str,
    pub display: &'static str,
}

/// Makes the constructor of a code system's codes.
macro_rules! systems {
    ($($name:ident = $system:literal),+ $(,)?) => {
        $(pub(super) const fn $name(code: &'static str, display: &'static str) -> Code {
            Code { system: $system, code, display }
        })+
    };
}

systems! {
    loinc = "http://loinc.org",
    snomed = "http://snomed.info/sct",
    icd10cm = "http://hl7.org/fhir/sid/icd-10-cm",
    icd10_who = "http://hl7.org/fhir/sid/icd-10",
    icd10_cn = "urn:oid:2.16.156.10011.2.3.3.11",
    rxnorm = "http://www.nlm.nih.gov/research/umls/rxnorm",
    atc = "http://www.whocc.no/atc",
    cn_lab = "urn:oid:1.2.156.99999.1.2",
    cn_drug = "urn:oid:1.2.156.99999.1.3",
    no_system = "",
}

pub(super) const NEGATIVE: Code = snomed("260385009", "Negative");
pub(super) const POSITIVE: Code = snomed("10828004", "Positive");
pub(super) const HIV_AG_AB: Code =
    loinc("56888-1", "HIV 1+2 Ab+HIV1 p24 Ag [Presence] in Serum or Plasma by Immunoassay");
pub(super) const HCG: Code =
    loinc("2118-8", "Choriogonadotropin (pregnancy test) [Presence] in Serum or Plasma");
pub(super) const ORAL: Code = snomed("26643006", "Oral route");
pub(super) const TOPICAL: Code = snomed("6064005", "Topical route");
pub(super) const INHALED: Code = snomed("447694001", "Respiratory tract route");
pub(super) const SUBCUTANEOUS: Code = snomed("34206005", "Subcutaneous route");

impl Code {
    fn coding(self) -> Value {
        let mut coding = json!({"code": self.code});
        if !self.system.is_empty() {
            coding["system"] = self.system.into();
        }
        if !self.display.is_empty() {
            coding["display"] = self.display.into();
        }
        coding
    }
}

/// A CodeableConcept.
pub(super) fn concept(codes: &[Code]) -> Value {
    json!({"coding": codes.iter().map(|code| code.coding()).collect::<Vec<_>>()})
}

/// A JSON number that keeps its digits.
pub(super) fn number(value: Decimal) -> Value {
    serde_json::from_str(&value.to_string()).expect("a decimal without exponent is a JSON number")
}

/// A Quantity. An empty `ucum` leaves system and code out, an empty `unit` the unit.
pub(super) fn quantity(value: Decimal, unit: &str, ucum: &str) -> Value {
    let mut quantity = json!({"value": number(value)});
    if !unit.is_empty() {
        quantity["unit"] = unit.into();
    }
    if !ucum.is_empty() {
        quantity["system"] = "http://unitsofmeasure.org".into();
        quantity["code"] = ucum.into();
    }
    quantity
}

/// An Observation before it is put in a chart.
#[derive(Debug, Clone)]
pub(super) struct Reading(Value);

impl Reading {
    pub fn of(codes: &[Code]) -> Self {
        Self(json!({"resourceType": "Observation", "status": "final",
            "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category",
                                      "code": "laboratory"}]}],
            "code": concept(codes)}))
    }

    pub fn quantity(self, value: Decimal, unit: &str, ucum: &str) -> Self {
        self.with("valueQuantity", quantity(value, unit, ucum))
    }

    pub fn concept(self, code: Code) -> Self {
        self.with("valueCodeableConcept", concept(&[code]))
    }

    pub fn at(self, effective: String) -> Self {
        self.with("effectiveDateTime", effective)
    }

    /// Sets any element.
    pub fn with(mut self, element: &str, value: impl Into<Value>) -> Self {
        self.0[element] = value.into();
        self
    }
}

/// The trial's form, as the investigator filled it in.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(BTreeMap<&'static str, Value>);

impl Form {
    /// End-stage liver disease confirmed; every exclusion that a person must answer for, answered with no.
    pub fn clear() -> Self {
        ["E1", "E2", "E3", "E4", "E6", "E7", "E8", "E10", "E11"]
            .into_iter()
            .fold(Self::default(), Self::no)
            .yes("I2")
    }

    /// The statement applies to the patient.
    pub fn yes(mut self, item: &'static str) -> Self {
        self.0.insert(item, json!({"valueBoolean": true}));
        self
    }

    /// The statement does not apply to the patient.
    pub fn no(mut self, item: &'static str) -> Self {
        self.0.insert(item, json!({"valueBoolean": false}));
        self
    }

    /// Left blank.
    pub fn blank(mut self, item: &'static str) -> Self {
        self.0.remove(item);
        self
    }

    /// Bedside grades: ascites `none|mild|moderate-severe`, encephalopathy `0|1-2|3-4`.
    pub fn bedside(self, ascites: &'static str, encephalopathy: &'static str) -> Self {
        self.grade("ascites", "urn:trialbridge:ascites", ascites).grade(
            "encephalopathy",
            "urn:trialbridge:encephalopathy",
            encephalopathy,
        )
    }

    fn grade(mut self, item: &'static str, system: &str, code: &str) -> Self {
        self.0.insert(item, json!({"valueCoding": {"system": system, "code": code}}));
        self
    }
}

/// A patient's resources, while they are written.
pub(super) struct Chart {
    pub draw: Draw,
    id: String,
    as_of: NaiveDate,
    zone: &'static str,
    patient: Value,
    resources: Vec<Value>,
    numbers: BTreeMap<&'static str, u32>,
}

impl Chart {
    /// `zone` is the offset of the hospital: `+08:00`.
    pub fn new(patient: u16, as_of: NaiveDate, zone: &'static str, sex: &str) -> Self {
        let id = format!("p-{patient:03}");
        Self {
            draw: Draw::seeded(patient),
            patient: json!({"resourceType": "Patient", "id": id, "active": true,
                "identifier": [{"system": "urn:oid:1.2.156.99999.1.1", "value": format!("SYN{patient:06}")}],
                "gender": sex}),
            id,
            as_of,
            zone,
            resources: Vec::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// The day `days` before the day of looking.
    pub fn day(&self, days: u64) -> String {
        self.date(days).format("%Y-%m-%d").to_string()
    }

    /// That day's month alone: `2026-08`.
    pub fn month(&self, days: u64) -> String {
        self.date(days).format("%Y-%m").to_string()
    }

    /// That day at a time of the hospital's clock.
    pub fn time(&self, days: u64, clock: &str) -> String {
        format!("{}T{clock}:00{}", self.day(days), self.zone)
    }

    fn date(&self, days: u64) -> NaiveDate {
        self.as_of.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN)
    }

    fn reference(&self) -> Value {
        json!({"reference": format!("Patient/{}", self.id)})
    }

    // --- the person

    pub fn name(self, family: &str, given: &str) -> Self {
        self.person("name", json!([{"use": "official", "family": family, "given": [given]}]))
    }

    /// Born `years` and `days` before the day of looking: `years` old on it.
    pub fn aged(self, years: u32, days: u64) -> Self {
        let birthday = self.as_of.checked_sub_months(Months::new(12 * years));
        let birth = birthday.and_then(|day| day.checked_sub_days(Days::new(days))).unwrap_or(NaiveDate::MIN);
        self.person("birthDate", birth.format("%Y-%m-%d").to_string())
    }

    /// Turns `years` on the day after.
    pub fn almost(self, years: u32) -> Self {
        let birthday = self.as_of.checked_sub_months(Months::new(12 * years));
        let birth = birthday.and_then(|day| day.succ_opt()).unwrap_or(NaiveDate::MIN);
        self.person("birthDate", birth.format("%Y-%m-%d").to_string())
    }

    /// Sets an element of the Patient.
    pub fn person(mut self, element: &str, value: impl Into<Value>) -> Self {
        self.patient[element] = value.into();
        self
    }

    // --- what is recorded

    /// Adds a resource as written, with an id of this chart and the reference to the patient.
    pub fn add(mut self, kind: &'static str, resource: Value) -> Self {
        self.push(kind, "subject", resource);
        self
    }

    fn push(&mut self, kind: &'static str, patient_element: &str, mut resource: Value) -> String {
        let count = self.numbers.entry(kind).or_insert(0);
        *count += 1;
        let id = format!("{}-{kind}-{count:02}", self.id);
        resource["id"] = id.as_str().into();
        resource[patient_element] = self.reference();
        self.resources.push(resource);
        id
    }

    pub fn observation(self, reading: Reading) -> Self {
        self.add("obs", reading.0)
    }

    /// Adds a reading and then a later version of it, with this status.
    pub fn corrected(mut self, first: Reading, status: &str, second: Reading) -> Self {
        let id = self.push("obs", "subject", first.with("meta", json!({"versionId": "1"})).0);
        let mut later = second.with("status", status).with("meta", json!({"versionId": "2"})).0;
        later["id"] = id.into();
        later["subject"] = self.reference();
        self.resources.push(later);
        self
    }

    /// Adds a panel whose readings are Observations of their own.
    pub fn panel(mut self, code: Code, readings: Vec<Reading>, effective: String) -> Self {
        let members: Vec<Value> = readings
            .into_iter()
            .map(|reading| json!({"reference": format!("Observation/{}", self.push("obs", "subject", reading.0))}))
            .collect();
        let panel = Reading::of(&[code]).at(effective).with("hasMember", members);
        self.observation(panel)
    }

    /// Active and confirmed.
    pub fn condition(self, codes: &[Code], onset: impl Into<Value>) -> Self {
        self.condition_in(codes, onset, "active")
    }

    /// Confirmed, with a clinical status.
    pub fn condition_in(self, codes: &[Code], onset: impl Into<Value>, status: &str) -> Self {
        let condition = json!({"resourceType": "Condition",
            "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                                           "code": status}]},
            "verificationStatus": {"coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed"}]},
            "code": concept(codes), "onsetDateTime": onset.into()});
        self.add("cond", condition)
    }

    /// An order that still runs.
    pub fn ordered(self, codes: &[Code], route: Code, days: u64) -> Self {
        let order = json!({"resourceType": "MedicationRequest", "status": "active", "intent": "order",
            "medicationCodeableConcept": concept(codes), "authoredOn": self.time(days, "09:15"),
            "dosageInstruction": [{"route": concept(&[route])}]});
        self.add("rx", order)
    }

    /// Taken from one day to another.
    pub fn took(self, codes: &[Code], route: Code, from_days: u64, to_days: u64) -> Self {
        let statement = json!({"resourceType": "MedicationStatement", "status": "completed",
            "medicationCodeableConcept": concept(codes),
            "effectivePeriod": {"start": self.day(from_days), "end": self.day(to_days)},
            "dosage": [{"route": concept(&[route])}]});
        self.add("med", statement)
    }

    /// As [`Chart::took`], with the drug in a Medication of its own.
    pub fn took_by_reference(mut self, codes: &[Code], route: Code, from_days: u64, to_days: u64) -> Self {
        let drug = format!("{}-drug", self.id);
        self.resources.push(json!({"resourceType": "Medication", "id": drug, "code": concept(codes)}));
        let statement = json!({"resourceType": "MedicationStatement", "status": "completed",
            "medicationReference": {"reference": format!("Medication/{drug}")},
            "effectivePeriod": {"start": self.day(from_days), "end": self.day(to_days)},
            "dosage": [{"route": concept(&[route])}]});
        self.add("med", statement)
    }

    pub fn allergy(mut self, category: &str, code: Code) -> Self {
        let recorded = self.day(700);
        let allergy = json!({"resourceType": "AllergyIntolerance", "type": "allergy", "category": [category],
            "clinicalStatus": {"coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]},
            "verificationStatus": {"coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
                 "code": "confirmed"}]},
            "code": concept(&[code]), "recordedDate": recorded});
        self.push("allergy", "patient", allergy);
        self
    }

    /// In the hospital since that day.
    pub fn admitted(self, days: u64) -> Self {
        let encounter = json!({"resourceType": "Encounter", "status": "in-progress",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP",
                      "display": "inpatient encounter"},
            "period": {"start": self.time(days, "10:30")}});
        self.add("enc", encounter)
    }

    /// A subject of another study; `to_days` is `None` while it goes on.
    pub fn in_another_study(mut self, status: &str, from_days: u64, to_days: Option<u64>) -> Self {
        let study = format!("{}-other-study", self.id);
        self.resources.push(json!({"resourceType": "ResearchStudy", "id": study, "status": "active",
            "identifier": [{"system": "urn:oid:1.2.156.99999.1.9", "value": format!("SYN-{}", self.id)}],
            "title": "An invented study of something else"}));
        let mut period = json!({"start": self.day(from_days)});
        if let Some(days) = to_days {
            period["end"] = self.day(days).into();
        }
        let subject = json!({"resourceType": "ResearchSubject", "status": status, "period": period,
            "study": {"reference": format!("ResearchStudy/{study}")}});
        self.push("subject", "individual", subject);
        self
    }

    // --- the usual

    pub fn hiv_negative(self, days: u64) -> Self {
        let at = self.time(days, "07:40");
        self.observation(Reading::of(&[HIV_AG_AB]).concept(NEGATIVE).at(at))
    }

    pub fn hcg(self, days: u64, result: Code) -> Self {
        let at = self.time(days, "07:40");
        self.observation(Reading::of(&[HCG]).concept(result).at(at))
    }

    /// Bedside grades as Observations rather than in the form.
    pub fn bedside_observed(self, ascites: &'static str, encephalopathy: &'static str, days: u64) -> Self {
        let grade = |item: &'static str, system: &'static str, code: &'static str| {
            Reading::of(&[Code { system: "urn:trialbridge:variable", code: item, display: "" }])
                .concept(Code { system, code, display: "" })
                .with("category", json!([{"coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "exam"}]}]))
        };
        let at = self.time(days, "15:20");
        self.observation(grade("ascites", "urn:trialbridge:ascites", ascites).at(at.clone()))
            .observation(grade("encephalopathy", "urn:trialbridge:encephalopathy", encephalopathy).at(at))
    }

    pub fn form(self, form: Form, days: u64) -> Self {
        let items: Vec<Value> =
            form.0.into_iter().map(|(item, answer)| json!({"linkId": item, "answer": [answer]})).collect();
        let response = json!({"resourceType": "QuestionnaireResponse", "questionnaire": QUESTIONNAIRE,
            "status": "completed", "authored": self.time(days, "16:05"),
            "author": {"display": "Hepatologist, investigator"}, "item": items});
        self.add("form", response)
    }

    /// Signed and permitting.
    pub fn consented(self, days: u64) -> Self {
        self.consent("active", days)
    }

    pub fn consent(mut self, status: &str, days: u64) -> Self {
        let signed = self.time(days, "11:00");
        let consent = json!({"resourceType": "Consent", "status": status,
            "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy",
                "valueReference": {"identifier": {"system": "https://clinicaltrials.gov", "value": TRIAL}}}],
            "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope",
                                  "code": "research"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "dateTime": signed,
            "policy": [{"uri": "https://clinicaltrials.gov/study/NCT06242405"}],
            "sourceAttachment": {"contentType": "application/pdf", "title": "NCT06242405 informed consent, signed"},
            "verification": [{"verified": true, "verificationDate": signed}],
            "provision": {"type": if status == "rejected" { "deny" } else { "permit" }}});
        self.push("consent", "patient", consent);
        self
    }

    pub fn close(self, dialect: Dialect, intent: Intent, story: &'static str) -> Case {
        let mut resources = vec![self.patient];
        resources.extend(self.resources);
        Case { id: self.id, dialect, story, intent, resources }
    }
}
