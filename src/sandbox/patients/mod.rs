//! Sixty invented patients, in three dialects of FHIR, and what each of them is there to show.
//!
//! Nobody in here exists. Names, numbers and values are made up; every date is counted back from `as_of`, and
//! every varied value comes from a generator seeded by the patient's number, so that the same day gives the
//! same bytes. The generator states what a patient is meant to show ([`Intent`]); it never computes
//! eligibility.

mod chart;
mod dialect_shenyang;
mod dialect_terse;
mod dialect_us;
mod labs;
#[cfg(test)]
mod tests;

use chrono::NaiveDate;
use serde_json::{Value, json};

/// How a hospital writes its FHIR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// SI units, WHO ICD-10 under a national OID with Chinese extensions, local laboratory and drug codes.
    Shenyang,
    /// ICD-10-CM, LOINC, conventional units, RxNorm, panels.
    Us,
    /// Pieces missing, contradictory or retracted.
    Terse,
}

/// What a patient is there to show, under the readings of NCT06242405 that this project proposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intent {
    /// All criteria settled in favour, consent signed.
    Eligible,
    /// All criteria settled in favour but consent (I3).
    AwaitingConsent,
    /// This criterion keeps the patient out.
    Ineligible(&'static str),
    /// This criterion cannot be decided from the records.
    Undetermined(&'static str),
    /// The criteria are settled in favour, and this variable of the scores cannot be used. No consent.
    ScoreGap(&'static str),
}

/// One invented patient with all resources, and the reason for being here.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The logical id of the Patient: `p-001` to `p-060`.
    pub id: String,
    pub dialect: Dialect,
    /// One sentence: what is particular.
    pub story: &'static str,
    pub intent: Intent,
    /// The Patient first.
    pub resources: Vec<Value>,
}

/// All cases, by id. `as_of` is the day on which they are looked at: laboratory values are from the days
/// before.
///
/// Two cases depend on the day: the year of birth of `p-045` straddles the eighteenth birthday on every day
/// but 31 December, and the month of `p-057` the 90-day window unless that begins on the first of a month.
pub fn synthetic_cases(as_of: NaiveDate) -> Vec<Case> {
    let mut cases = dialect_shenyang::cases(as_of);
    cases.extend(dialect_us::cases(as_of));
    cases.extend(dialect_terse::cases(as_of));
    cases
}

/// The resources of all cases, then the Group `liver-ward` and the List `esld-screening`.
pub fn synthetic_patients(as_of: NaiveDate) -> Vec<Value> {
    let cases = synthetic_cases(as_of);
    let ward: Vec<Value> = cases
        .iter()
        .filter(|case| case.dialect == Dialect::Shenyang)
        .map(|case| json!({"entity": {"reference": format!("Patient/{}", case.id)}}))
        .collect();
    let screening: Vec<Value> = cases
        .iter()
        .filter(|case| matches!(case.intent, Intent::Eligible | Intent::AwaitingConsent))
        .map(|case| json!({"item": {"reference": format!("Patient/{}", case.id)}}))
        .collect();
    let mut resources: Vec<Value> = cases.into_iter().flat_map(|case| case.resources).collect();
    resources.push(json!({
        "resourceType": "Group", "id": "liver-ward", "type": "person", "actual": true, "active": true,
        "name": "Liver ward (synthetic)", "quantity": ward.len(), "member": ward,
    }));
    resources.push(json!({
        "resourceType": "List", "id": "esld-screening", "status": "current", "mode": "working",
        "title": "End-stage liver disease, to be screened (synthetic)",
        "date": as_of.format("%Y-%m-%d").to_string(), "entry": screening,
    }));
    resources
}
