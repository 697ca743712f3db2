//! Provenance of what we wrote: which inputs, in which version, under which trial definition.
//!
//! It names no arm: its entities are the inputs of a score or verdict, never the allocation.

use super::element::{CodeableConcept, Identifier, Reference, bytes};
use super::release::Release;
use super::stored::{Stored, type_and_id};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;

/// System of the identifier under which a decision of ours is quoted, and found again: Provenance
/// itself has no identifier.
pub const DECISION_SYSTEM: &str = "urn:trialbridge:decision";
const DEFINITION_SYSTEM: &str = "urn:trialbridge:definition";
const SOFTWARE_SYSTEM: &str = "urn:trialbridge:software";
/// Inputs that the server does not hold: `message#segment` of HL7 v2, `import#Observation/1` of a file.
const SOURCE_SYSTEM: &str = "urn:trialbridge:source";

/// What was done to the target.
// # Source
// > http://terminology.hl7.org/CodeSystem/v3-DataOperation: CREATE create, UPDATE revise, NULLIFY nullify
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Create,
    Update,
    Nullify,
}

impl Activity {
    fn coding(self) -> (&'static str, &'static str) {
        match self {
            Activity::Create => ("CREATE", "create"),
            Activity::Update => ("UPDATE", "revise"),
            Activity::Nullify => ("NULLIFY", "nullify"),
        }
    }
}

pub struct Origin<'a> {
    pub activity: Activity,
    /// `Type/id` of what we wrote.
    pub target: &'a str,
    /// `Patient/x`; R5 has an element for it.
    pub patient: &'a str,
    pub recorded: DateTime<Utc>,
    /// What was decided: a score's identifier, or a participant's key and state.
    pub decision: &'a str,
    /// Versioned references of the inputs.
    pub inputs: &'a [String],
    pub definition_hash: &'a str,
    /// Name and version of the program.
    pub software: &'a str,
}

#[derive(Serialize)]
struct Agent {
    r#type: CodeableConcept,
    who: Reference,
}

#[derive(Serialize)]
struct Entity {
    role: &'static str,
    what: Reference,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provenance {
    resource_type: &'static str,
    target: [Reference; 1],
    recorded: String,
    activity: CodeableConcept,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Reference>,
    agent: [Agent; 1],
    entity: Vec<Entity>,
}

/// `recorded` is 1..1 in R4 and R4B and optional in R5; `patient` is R5's. `source` is a role in both.
pub fn build(release: Release, origin: &Origin<'_>) -> Vec<u8> {
    let mut entity: Vec<Entity> = origin.inputs.iter().map(|i| source(input(i))).collect();
    entity.push(source(named(DEFINITION_SYSTEM, origin.definition_hash, "trial definition")));
    let (code, display) = origin.activity.coding();
    entity.push(source(named(DECISION_SYSTEM, origin.decision, "decision")));
    bytes(&Provenance {
        resource_type: "Provenance",
        target: [Reference::to(origin.target)],
        recorded: origin.recorded.to_rfc3339_opts(SecondsFormat::Secs, true),
        activity: CodeableConcept::coded(
            "http://terminology.hl7.org/CodeSystem/v3-DataOperation",
            code,
            Some(display),
        ),
        patient: release.is_r5().then(|| Reference::to(origin.patient)),
        agent: [Agent {
            // # Source
            // > assembler: A device that operates independently of an author on custodian's algorithms for
            // > data extraction ...   http://terminology.hl7.org/CodeSystem/provenance-participant-type
            r#type: CodeableConcept::coded(
                "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                "assembler",
                Some("Assembler"),
            ),
            who: Reference {
                r#type: Some("Device".to_owned()),
                identifier: Some(Identifier::new(SOFTWARE_SYSTEM, "trialbridge")),
                display: Some(origin.software.to_owned()),
                ..Reference::default()
            },
        }],
        entity,
    })
}

fn source(what: Reference) -> Entity {
    Entity { role: "source", what }
}

/// A reference to an input: to the resource where the server holds it, else by identifier, so that
/// it never dangles.
pub(super) fn input(input: &str) -> Reference {
    if type_and_id(input).is_some() {
        return Reference::to(input);
    }
    Reference {
        r#type: type_of(input).map(str::to_owned),
        identifier: Some(Identifier::new(SOURCE_SYSTEM, input)),
        ..Reference::default()
    }
}

/// The resource type of an input, whether the server holds it or not; `None` for a segment of HL7 v2.
pub(super) fn type_of(input: &str) -> Option<&str> {
    let reference = input.rsplit('#').next().unwrap_or(input);
    type_and_id(reference)?.split('/').next()
}

fn named(system: &str, value: &str, display: &str) -> Reference {
    Reference {
        identifier: Some(Identifier::new(system, value)),
        display: Some(display.to_owned()),
        ..Reference::default()
    }
}

/// Is a stored Provenance the one of this decision?
pub fn is_of(stored: &Stored, decision: &str) -> bool {
    stored.items("entity").iter().any(|e| {
        e.pointer("/what/identifier/system").and_then(Value::as_str) == Some(DECISION_SYSTEM)
            && e.pointer("/what/identifier/value").and_then(Value::as_str) == Some(decision)
    })
}
