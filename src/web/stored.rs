//! A stored screening, read back for people. Keys that are not shown are skipped, and a key that is
//! missing is empty: what an older version stored must stay readable.

use serde::Deserialize;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Stored {
    #[serde(rename = "attachedTo")]
    pub attached_to: Option<String>,
    pub blocked: Vec<String>,
    pub criteria: Vec<Criterion>,
    pub variables: BTreeMap<String, Variable>,
    pub scores: BTreeMap<String, Score>,
    pub needs: Vec<String>,
    pub gaps: Vec<Gap>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Criterion {
    pub id: String,
    pub verdict: String,
    pub reason: String,
    pub text: String,
    pub evidence: Vec<Evidence>,
    pub needs: Vec<String>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Evidence {
    pub reference: String,
    pub summary: String,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Variable {
    pub value: Option<Value>,
    pub low: Option<Value>,
    pub high: Option<Value>,
    pub unit: Option<String>,
    pub effective: Option<String>,
    pub source: Option<String>,
    pub version: Option<String>,
    pub received: Option<Received>,
    pub flag: Option<String>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Received {
    pub value: String,
    pub unit: Option<String>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Score {
    pub status: String,
    pub value: Option<Number>,
    pub raw: Option<Number>,
    pub class: Option<String>,
    pub grade: Option<Number>,
    pub low: Option<Number>,
    pub high: Option<Number>,
    pub class_low: Option<String>,
    pub class_high: Option<String>,
    pub grade_low: Option<Number>,
    pub grade_high: Option<Number>,
    pub missing: Vec<String>,
}

#[derive(Deserialize, Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[serde(default)]
pub(super) struct Gap {
    pub reference: String,
    pub reason: String,
    pub path: String,
    pub variable: Option<String>,
    pub detail: Option<String>,
}

/// `None`: what is stored cannot be read as a screening.
pub(super) fn read(json: &str) -> Option<Stored> {
    serde_json::from_str(json).ok()
}

/// Only what is needed, for lists of many.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Needs {
    pub needs: Vec<String>,
}

/// Only the verdicts, for counting.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Verdicts {
    pub criteria: Vec<CriterionVerdict>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct CriterionVerdict {
    pub id: String,
    pub verdict: String,
}
