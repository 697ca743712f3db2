//! A score as an Observation, with the observations that it was computed from.
//!
//! One Observation a result: its identifier holds the hash of the inputs, so the same result is never
//! written twice. Where an input is corrected or taken back afterwards, the Observation is corrected or
//! marked as entered in error under the same identifier; the hospital's own history keeps what it said.

use super::element::{CodeableConcept, Identifier, Quantity, Range, Reference, bytes};
use super::provenance;
use super::stored::{Merge, Stored};
use super::wanted::{ScoreValue, ScoreWanted};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;

/// System of the code and of the identifier. No LOINC code could be verified for these scores.
pub const SYSTEM: &str = "urn:trialbridge:score";

const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const UNIT: &str = "{score}";

/// The identifier's value: which participant, which score, which inputs.
pub fn identifier(key: &str, score: &ScoreWanted) -> String {
    format!("{key}/{}/{}", score.name, score.input_hash)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    code: CodeableConcept,
    value_codeable_concept: CodeableConcept,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Observation<'a> {
    resource_type: &'static str,
    identifier: [Identifier; 1],
    status: &'static str,
    category: [CodeableConcept; 1],
    code: CodeableConcept,
    subject: Reference,
    effective_date_time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_quantity: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_range: Option<Range>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    derived_from: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    component: Vec<Component>,
}

/// The Observation; the same in R4, R4B and R5.
///
/// `derivedFrom` may only name some types of resource; inputs of other types (a Patient's sex, a
/// Procedure, an HL7 v2 message) stand in the Provenance alone.
pub fn build(key: &str, patient: &str, score: &ScoreWanted) -> Vec<u8> {
    // # Source
    // > survey: Assessment tool/survey instrument observations (e.g., Apgar Scores ...)
    // > http://terminology.hl7.org/CodeSystem/observation-category
    let category = CodeableConcept::coded(CATEGORY, "survey", Some("Survey"));
    let mut code = CodeableConcept::coded(SYSTEM, &score.name, Some(&score.title));
    code.text = Some(score.title.clone());
    let (value_quantity, value_range) = match &score.value {
        ScoreValue::Known(value) => (Some(Quantity::ucum(*value, UNIT)), None),
        ScoreValue::Range { low, high } => {
            let end = |value: &Option<_>| value.map(|v| Quantity::ucum(v, UNIT));
            (None, Some(Range { low: end(low), high: end(high) }))
        }
    };
    let class = score.class.as_ref().map(|class| Component {
        code: CodeableConcept::coded(SYSTEM, &format!("{}:{}", score.name, class.kind), None),
        value_codeable_concept: CodeableConcept::text(&class.value),
    });
    bytes(&Observation {
        resource_type: "Observation",
        identifier: [Identifier::new(SYSTEM, &identifier(key, score))],
        status: "final",
        category: [category],
        code,
        subject: Reference::to(patient),
        effective_date_time: &score.effective,
        value_quantity,
        value_range,
        derived_from: score
            .inputs
            .iter()
            .filter(|i| can_derive_from(i))
            .map(|i| provenance::input(i))
            .collect(),
        component: class.into_iter().collect(),
    })
}

// # Source
// > derivedFrom: Reference(DocumentReference | ImagingStudy | Media | QuestionnaireResponse | Observation |
// > MolecularSequence)   https://hl7.org/fhir/R4/observation.html (the intersection with R5 is used)
fn can_derive_from(input: &str) -> bool {
    provenance::type_of(input)
        .is_some_and(|t| matches!(t, "Observation" | "QuestionnaireResponse" | "DocumentReference"))
}

/// What the Provenance of a correction, and that of a retraction, is found again by.
pub fn revision(identifier: &str, inputs_now: &str) -> String {
    format!("{identifier}/{inputs_now}")
}

pub fn retraction(identifier: &str) -> String {
    format!("{identifier}/entered-in-error")
}

/// The elements that say what the score is and from what.
const RESULT: [&str; 5] = ["effectiveDateTime", "valueQuantity", "valueRange", "derivedFrom", "component"];

/// A score that came out otherwise since an input was corrected: `wanted`, as [`build`] makes it, under
/// the same identifier. A score that says the same is left alone, whatever version its inputs have.
///
/// # Source
/// FHIR R4 valueset-observation-status.html, in our words: `corrected` is a result that was final and
/// has been modified to correct an error.
pub fn revise(stored: &Stored, wanted: &Stored) -> Merge {
    let mut merge = Merge::of(stored);
    if stored.text("status").as_deref() != Some("entered-in-error") && result(stored) == result(wanted) {
        return merge;
    }
    merge.set("status", &"corrected");
    for element in RESULT {
        match wanted.get(element) {
            Some(value) => merge.set(element, &value),
            None if merge.merged.remove(element) => merge.changed.push(element),
            None => {}
        }
    }
    merge
}

/// Value, limits and class, however the server spells a number.
fn result(observation: &Stored) -> (Vec<Option<Decimal>>, Vec<String>) {
    let number = |element: &str, path: &str| {
        let value = observation.get(element)?.pointer(path)?.to_string();
        value.parse::<Decimal>().or_else(|_| Decimal::from_scientific(&value)).ok()
    };
    let numbers = vec![
        number("valueQuantity", "/value"),
        number("valueRange", "/low/value"),
        number("valueRange", "/high/value"),
    ];
    let class = |c: &Value| Some(c.pointer("/valueCodeableConcept/text")?.as_str()?.to_owned());
    (numbers, observation.items("component").iter().filter_map(class).collect())
}

/// A score whose inputs no longer hold: `entered-in-error`, the rest stays for the record.
pub fn retract(stored: &Stored) -> Merge {
    let mut merge = Merge::of(stored);
    if stored.text("status").as_deref() != Some("entered-in-error") {
        merge.set("status", &"entered-in-error");
    }
    merge
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::wanted::ScoreValue;

    #[test]
    fn what_the_server_does_not_hold_is_named_and_never_referred_to() {
        let score = ScoreWanted {
            name: "albi".into(),
            title: "ALBI".into(),
            value: ScoreValue::Known(rust_decimal::Decimal::ONE),
            class: None,
            effective: "2026-11-20".into(),
            inputs: ["Observation/1/_history/2", "import#Observation/2", "msg-7#OBX-3", "Condition/3"]
                .map(String::from)
                .into(),
            input_hash: "h".into(),
            revised: None,
        };
        let built = Stored::parse(&build("S-1", "Patient/1", &score)).expect("an object");
        let expected = serde_json::json!([
            {"reference": "Observation/1/_history/2"},
            {"type": "Observation",
             "identifier": {"system": "urn:trialbridge:source", "value": "import#Observation/2"}}
        ]);
        assert_eq!(serde_json::Value::Array(built.items("derivedFrom")), expected);
    }
}
