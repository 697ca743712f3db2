//! FHIR resources for the tables: short to write, complete to read. `$P` is the patient.

use serde_json::{Value, json};

pub const LOINC: &str = "http://loinc.org";
pub const SNOMED: &str = "http://snomed.info/sct";
pub const WHO: &str = "http://hl7.org/fhir/sid/icd-10";
pub const CM: &str = "http://hl7.org/fhir/sid/icd-10-cm";
pub const ATC: &str = "http://www.whocc.no/atc";
pub const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
pub const FORM: &str = "urn:trialbridge:questionnaire:NCT06242405";
pub const POSITIVE: &str = "10828004";
pub const NEGATIVE: &str = "260385009";
/// The usual time of a result in the tables, two days before the day of judgement.
pub const RECENT: &str = "2026-11-20T08:00:00+08:00";

/// `base` with the keys of `over` put over it; `null` removes a key.
pub fn with(mut base: Value, over: Value) -> Value {
    let object = base.as_object_mut().expect("a resource is an object");
    for (key, value) in over.as_object().expect("an object") {
        if value.is_null() {
            object.remove(key);
        } else {
            object.insert(key.clone(), value.clone());
        }
    }
    base
}

pub fn concept(system: &str, code: &str) -> Value {
    json!({"coding": [{"system": system, "code": code}]})
}

fn subject() -> Value {
    json!({"reference": "Patient/$P"})
}

pub fn patient(gender: &str, birth: &str) -> Value {
    json!({"resourceType": "Patient", "id": "$P", "gender": gender, "birthDate": birth})
}

pub fn man() -> Value {
    patient("male", "1966-05-01")
}

pub fn woman() -> Value {
    patient("female", "1986-05-01")
}

/// An Observation without a value.
pub fn observation(code: &str, when: &str) -> Value {
    json!({"resourceType": "Observation", "status": "final", "code": concept(LOINC, code),
           "subject": subject(), "effectiveDateTime": when})
}

pub fn quantity(value: &str, unit: &str) -> Value {
    let value: Value = serde_json::from_str(value).expect("a JSON number");
    json!({"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit})
}

/// A laboratory result in UCUM.
pub fn lab(code: &str, value: &str, unit: &str, when: &str) -> Value {
    with(observation(code, when), json!({"valueQuantity": quantity(value, unit)}))
}

/// A coded result, SNOMED CT.
pub fn finding(code: &str, answer: &str, when: &str) -> Value {
    with(observation(code, when), json!({"valueCodeableConcept": concept(SNOMED, answer)}))
}

pub fn condition(system: &str, code: &str) -> Value {
    json!({"resourceType": "Condition", "code": concept(system, code), "subject": subject(),
           "clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
           "verificationStatus": concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", "confirmed"),
           "recordedDate": "2026-10-01"})
}

pub fn verification(status: &str) -> Value {
    json!({"verificationStatus": concept("http://terminology.hl7.org/CodeSystem/condition-ver-status", status)})
}

pub fn clinical(status: &str) -> Value {
    json!({"clinicalStatus": concept("http://terminology.hl7.org/CodeSystem/condition-clinical", status)})
}

pub fn procedure(system: &str, code: &str, when: &str) -> Value {
    json!({"resourceType": "Procedure", "status": "completed", "code": concept(system, code),
           "subject": subject(), "performedDateTime": when})
}

/// An order that is over, of one day.
pub fn order(system: &str, code: &str, when: &str) -> Value {
    json!({"resourceType": "MedicationRequest", "status": "completed", "intent": "order",
           "medicationCodeableConcept": concept(system, code), "subject": subject(), "authoredOn": when})
}

pub fn route(code: &str) -> Value {
    json!({"dosageInstruction": [{"route": concept(SNOMED, code)}]})
}

pub fn allergy(category: &str, code: &str) -> Value {
    json!({"resourceType": "AllergyIntolerance", "category": [category], "code": concept(SNOMED, code),
           "patient": subject(),
           "verificationStatus": concept("http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "confirmed")})
}

/// R4; names this trial.
pub fn consent(status: &str, when: &str) -> Value {
    json!({"resourceType": "Consent", "status": status,
           "scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", "research"),
           "category": [concept("http://loinc.org", "59284-0")], "patient": subject(), "dateTime": when,
           "identifier": [{"system": "https://clinicaltrials.gov", "value": "NCT06242405"}]})
}

/// The trial's form: criteria with yes or no.
pub fn form(when: &str, answers: &[(&str, bool)]) -> Value {
    let items: Vec<Value> = answers
        .iter()
        .map(|(link, yes)| json!({"linkId": link, "answer": [{"valueBoolean": yes}]}))
        .collect();
    json!({"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": FORM,
           "subject": subject(), "authored": when, "item": items})
}

/// The bedside grades.
pub fn grades(when: &str, ascites: &str, encephalopathy: &str) -> Value {
    json!({"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": FORM,
           "subject": subject(), "authored": when, "item": [
        {"linkId": "ascites", "answer": [{"valueCoding": {"code": ascites}}]},
        {"linkId": "encephalopathy", "answer": [{"valueCoding": {"code": encephalopathy}}]}]})
}

pub fn participation(status: &str, study: &str, period: Value) -> Value {
    json!({"resourceType": "ResearchSubject", "status": status, "study": {"reference": study},
           "individual": subject(), "period": period})
}

pub fn study(id: &str, number: &str) -> Value {
    json!({"resourceType": "ResearchStudy", "id": id, "status": "active",
           "identifier": [{"system": "https://clinicaltrials.gov", "value": number}]})
}

/// A site that declares everything complete that can be.
pub const COMPLETE: &str = r#"
id = "complete"
feed = [
  { resource = "Condition", complete_since = "ever", declared_by = "records office" },
  { resource = "Procedure", complete_since = "ever", declared_by = "records office" },
  { resource = "AllergyIntolerance", complete_since = "ever", declared_by = "records office" },
  { resource = "MedicationRequest", complete_since = "2020-01-01", declared_by = "pharmacy" },
  { resource = "MedicationStatement", complete_since = "2020-01-01", declared_by = "pharmacy" },
  { resource = "MedicationAdministration", complete_since = "2020-01-01", declared_by = "pharmacy" },
  { resource = "MedicationDispense", complete_since = "2020-01-01", declared_by = "pharmacy" },
]
"#;

/// A man of whom everything is known and nothing speaks against him.
pub fn eligible() -> Vec<Value> {
    vec![
        man(),
        condition(WHO, "K74.6"),
        condition(WHO, "R18"),
        lab("1975-2", "4.1", "mg/dL", RECENT),
        lab("6301-6", "1.8", "{INR}", RECENT),
        lab("2160-0", "1.1", "mg/dL", RECENT),
        lab("2951-2", "134", "mmol/L", RECENT),
        lab("1751-7", "29", "g/L", RECENT),
        finding("56888-1", NEGATIVE, RECENT),
        grades("2026-11-20", "mild", "0"),
        consent("active", "2026-11-19"),
        form(
            "2026-11-20",
            &[
                ("E1", false),
                ("E2", false),
                ("E3", false),
                ("E4", false),
                ("E6", false),
                ("E7", false),
                ("E8", false),
                ("E10", false),
                ("E11", false),
            ],
        ),
    ]
}
