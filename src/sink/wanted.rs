//! What should be at the hospital, as the caller knows it from committed rows.
//!
//! No type of this module prints an arm or a patient's reference: `Debug` leaves them out.

use super::element::Identifier;
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use std::fmt;

/// The study as the trial definition states it.
#[derive(Debug, Clone)]
pub struct StudyWanted {
    /// Such as `https://clinicaltrials.gov` and the registry's number.
    pub identifier: Identifier,
    pub title: String,
    pub description: Option<String>,
    /// All arms of the trial; which participant is in which is not said here.
    pub arms: Vec<StudyArm>,
    /// Planned number of participants (R5 `recruitment.targetNumber`; R4 has no element for it).
    pub target_number: Option<u32>,
    /// A `Group` that states the eligibility (R4 `enrollment`, R5 `recruitment.eligibility`).
    pub enrollment: Option<String>,
}

#[derive(Debug, Clone)]
pub struct StudyArm {
    pub name: String,
    /// R5 `comparisonGroup.linkId`: letters, digits, `-` and `.`, at most 64.
    pub link_id: String,
    pub arm_type: Option<ArmType>,
    pub description: Option<String>,
}

// # Source
// > http://hl7.org/fhir/research-study-arm-type   https://hl7.org/fhir/R5/codesystem-research-study-arm-type.html
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArmType {
    Experimental,
    ActiveComparator,
    PlaceboComparator,
    ShamComparator,
    NoIntervention,
    Other,
}

impl ArmType {
    /// Code and display.
    pub fn coding(self) -> (&'static str, &'static str) {
        match self {
            ArmType::Experimental => ("experimental", "Experimental"),
            ArmType::ActiveComparator => ("active-comparator", "Active Comparator"),
            ArmType::PlaceboComparator => ("placebo-comparator", "Placebo Comparator"),
            ArmType::ShamComparator => ("sham-comparator", "Sham Comparator"),
            ArmType::NoIntervention => ("no-intervention", "No Intervention"),
            ArmType::Other => ("other-arm-type", "Other Arm Type"),
        }
    }
}

/// Where a participant stands in the study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubjectState {
    Candidate,
    Screening,
    Eligible,
    Ineligible,
    /// Randomized.
    OnStudy,
    Withdrawn,
}

impl SubjectState {
    /// The code: R4 `ResearchSubject.status`, R5 `progress.subjectState`. Both releases use one word.
    pub fn code(self) -> &'static str {
        match self {
            SubjectState::Candidate => "candidate",
            SubjectState::Screening => "screening",
            SubjectState::Eligible => "eligible",
            SubjectState::Ineligible => "ineligible",
            SubjectState::OnStudy => "on-study",
            SubjectState::Withdrawn => "withdrawn",
        }
    }

    /// Display of the code system <http://terminology.hl7.org/CodeSystem/research-subject-state>.
    pub fn display(self) -> &'static str {
        match self {
            SubjectState::Candidate => "Candidate",
            SubjectState::Screening => "Screening",
            SubjectState::Eligible => "Eligible",
            SubjectState::Ineligible => "Ineligible",
            SubjectState::OnStudy => "On-study",
            SubjectState::Withdrawn => "Withdrawn",
        }
    }
}

/// What a hospital may see of an allocation: `writeback.arm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArmPolicy {
    /// The arm's name in the study.
    Disclose,
    /// An opaque code that only the unblinded can read.
    Code,
    /// Nothing.
    Withhold,
}

/// A participant's arm as far as the policy lets it out.
#[derive(Clone, PartialEq, Eq)]
pub enum AssignedArm {
    /// The arm's name; becomes `assignedArm`, or in R5 the `linkId` of the group of that name.
    Name(String),
    /// Written as it is. In R5 it must be a FHIR id.
    Code(String),
    Withheld,
}

impl AssignedArm {
    /// `name` and `code` of the allocated arm; only the one that the policy allows is kept.
    pub fn by_policy(policy: ArmPolicy, name: &str, code: &str) -> Self {
        match policy {
            ArmPolicy::Disclose => AssignedArm::Name(name.to_owned()),
            ArmPolicy::Code => AssignedArm::Code(code.to_owned()),
            ArmPolicy::Withhold => AssignedArm::Withheld,
        }
    }
}

impl fmt::Debug for AssignedArm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AssignedArm(..)")
    }
}

/// One participant.
#[derive(Clone)]
pub struct ParticipantWanted {
    /// Value of the identifier `urn:trialbridge:subject`: fixed at first sight, never a record number.
    pub key: String,
    /// `Patient/x` on the hospital's server.
    pub patient: String,
    pub state: SubjectState,
    /// Day since which the participant is in this state.
    pub since: NaiveDate,
    /// `None` before the allocation is committed.
    pub arm: Option<AssignedArm>,
    /// `Consent/x`.
    pub consent: Option<String>,
    /// Versioned references behind the eligibility verdict, or `source#entry`: entities of the
    /// ResearchSubject's Provenance.
    /// Without any, no Provenance is written for it.
    pub evidence: Vec<String>,
    pub scores: Vec<ScoreWanted>,
    /// Scores written earlier that are not known any more, because an input was taken back or corrected
    /// since: they become `entered-in-error`.
    pub retracted_scores: Vec<ScoreRetracted>,
}

/// A score that was written and does not hold any more.
#[derive(Clone, Debug)]
pub struct ScoreRetracted {
    /// Identifier value of what was written: [`super::score_observation::identifier`].
    pub identifier: String,
    /// What it was computed from.
    pub inputs: Vec<String>,
}

impl fmt::Debug for ParticipantWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParticipantWanted")
            .field("key", &self.key)
            .field("state", &self.state)
            .field("scores", &self.scores.len())
            .finish_non_exhaustive()
    }
}

/// A score's result. A score that is unknown is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScoreValue {
    Known(Decimal),
    /// Some input is a range or missing: everything between the ends is possible.
    Range {
        low: Option<Decimal>,
        high: Option<Decimal>,
    },
}

/// A class or grade that belongs to a score: Child-Pugh class C, ALBI grade 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreClass {
    /// `class` or `grade`.
    pub kind: String,
    pub value: String,
}

#[derive(Clone)]
pub struct ScoreWanted {
    /// Such as `meld3`: the code in `urn:trialbridge:score`.
    pub name: String,
    /// Such as `MELD 3.0`.
    pub title: String,
    pub value: ScoreValue,
    pub class: Option<ScoreClass>,
    /// FHIR dateTime at which the inputs held.
    pub effective: String,
    /// Versioned references of the inputs (`Observation/1/_history/2`), or `source#entry` of what is not
    /// on the server: a segment of HL7 v2, a resource of a file, what people recorded here.
    pub inputs: Vec<String>,
    /// Hash over the inputs of the decision and the definition: names the Observation for good.
    pub input_hash: String,
    /// Hash over the inputs as they stand now, where one of those of the decision has another version
    /// since: then the value is the one of now, and what was written is corrected.
    pub revised: Option<String>,
}

impl fmt::Debug for ScoreWanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScoreWanted").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Everything that should be at one hospital.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub study: StudyWanted,
    pub participants: Vec<ParticipantWanted>,
    /// Hash of the trial definition, quoted in every Provenance.
    pub definition_hash: String,
    /// Time of this run, quoted in a Provenance that is written now. Decides nothing.
    pub recorded: DateTime<Utc>,
}
