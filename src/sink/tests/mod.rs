//! The write-back against a server with faults, and its bytes against golden files.

mod concealment;
mod creates;
mod fake;
mod golden;
mod scores;
mod updates;

use super::element::Identifier;
use super::reconcile::{Capability, reconcile};
use super::release::Release;
use super::report::{Outcome, ReconcileReport};
use super::wanted::*;
use chrono::NaiveDate;
use fake::{Fake, Memory};
use rust_decimal::Decimal;

const RELEASES: [Release; 3] = [Release::R4, Release::R4B, Release::R5];

const ABLE: Capability = Capability { conditional_create: true, research_subject_searchable: true };
const PLAIN: Capability = Capability { conditional_create: false, research_subject_searchable: true };

fn day(text: &str) -> NaiveDate {
    text.parse().expect("a date in a test")
}

fn study() -> StudyWanted {
    let arm = |name: &str, link_id: &str, description: &str| StudyArm {
        name: name.to_owned(),
        link_id: link_id.to_owned(),
        arm_type: Some(ArmType::Experimental),
        description: Some(description.to_owned()),
    };
    StudyWanted {
        identifier: Identifier::new("https://clinicaltrials.gov", "NCT06242405"),
        title: "Umbilical-cord mesenchymal stem cells in end-stage liver disease".to_owned(),
        description: Some("Two frequencies of infusion through a peripheral vein.".to_owned()),
        arms: vec![
            arm("Single infusion", "single-infusion", "one infusion"),
            arm("Double infusion", "double-infusion", "two infusions"),
        ],
        target_number: Some(92),
        enrollment: None,
    }
}

fn participant(key: &str) -> ParticipantWanted {
    ParticipantWanted {
        key: key.to_owned(),
        patient: format!("Patient/{}", key.trim_start_matches("S-")),
        state: SubjectState::OnStudy,
        since: day("2026-11-22"),
        arm: Some(AssignedArm::Name("Double infusion".to_owned())),
        consent: Some("Consent/5".to_owned()),
        evidence: Vec::new(),
        scores: Vec::new(),
        retracted_scores: Vec::new(),
    }
}

fn score(name: &str, value: ScoreValue) -> ScoreWanted {
    ScoreWanted {
        name: name.to_owned(),
        title: name.to_uppercase(),
        value,
        class: None,
        effective: "2026-11-20T08:00:00+08:00".to_owned(),
        inputs: vec![
            "Observation/31/_history/2".to_owned(),
            "Observation/32/_history/1".to_owned(),
            "Patient/1/_history/1".to_owned(),
            "MSG00042#OBX-3".to_owned(),
        ],
        input_hash: "9f2c1a77".to_owned(),
        revised: None,
    }
}

fn known(text: &str) -> ScoreValue {
    ScoreValue::Known(text.parse::<Decimal>().expect("a decimal in a test"))
}

fn wanted(participants: Vec<ParticipantWanted>) -> Wanted {
    Wanted {
        study: study(),
        participants,
        definition_hash: "sha256:5d41402abc4b2a76".to_owned(),
        recorded: "2026-11-22T09:30:00Z".parse().expect("an instant in a test"),
    }
}

async fn run(server: &Fake, release: Release, capability: Capability, wanted: &Wanted) -> ReconcileReport {
    reconcile(server, release, capability, wanted, &Memory::default(), false).await
}

fn human(code: &'static str, ids: &[&str]) -> Outcome {
    Outcome::NeedsHuman { code, ids: ids.iter().map(|i| (*i).to_owned()).collect() }
}

fn failed(code: &'static str, retry: bool) -> Outcome {
    Outcome::Failed { code, retry }
}
