//! What is known of a subject: facts in canonical units, each with its source, and gaps that say
//! what could not be used and why. A fact is never guessed; a gap never stops the other facts.

use crate::clinical::interval::Interval;
use crate::clinical::time::When;
use serde::{Serialize, Serializer};

/// Where a fact comes from: a versioned resource, or a segment of a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Source {
    /// `Observation/123`.
    pub reference: Box<str>,
    /// `meta.versionId`.
    pub version: Option<Box<str>>,
}

impl Source {
    /// `Observation/123/_history/4`, or without the version where it is not known.
    pub fn versioned(&self) -> String {
        match &self.version {
            Some(version) => format!("{}/_history/{version}", self.reference),
            None => self.reference.to_string(),
        }
    }
}

/// Index of a variable or value set in the compiled trial.
pub type Index = u16;

/// A fact, without its subject: facts are always held by subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Person(Person),
    Measurement(Measurement),
    Answer(Answer),
    Finding(Finding),
    Consent(ConsentFact),
    Participation(Participation),
    Attestation(Attestation),
    /// A Medication or ResearchStudy that other resources refer to.
    Shared(Shared),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    Female,
    Male,
}

/// From the Patient.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Person {
    pub source: Source,
    pub birth: Option<When>,
    pub sex: Option<Sex>,
    /// `Some(None)`: deceased, day unknown.
    pub deceased: Option<Option<When>>,
    /// `Patient.link` of type replaced-by.
    pub replaced_by: Option<Box<str>>,
}

/// A value with its unit as the hospital sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    pub value: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Box<str>>,
}

/// A number in the variable's canonical unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    pub variable: Index,
    pub value: Interval,
    pub received: Received,
    pub effective: When,
    /// Position of the code in the variable's list: lower is preferred at the same time.
    pub rank: u16,
    /// Something to know about this result, for example `poc-or-whole-blood`.
    pub flag: Option<Box<str>>,
    /// Upper end of the result's own reference range, in the canonical unit.
    pub upper_normal: Option<rust_decimal::Decimal>,
    pub source: Source,
}

/// One of a coded variable's answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub variable: Index,
    /// Index into the variable's answers; [`Answer::UNREADABLE`] for a result that is none of them.
    pub answer: Index,
    pub received: Received,
    pub effective: When,
    pub rank: u16,
    pub source: Source,
}

impl Answer {
    /// There is a result, and it is none of the answers (`indeterminate`): what an older result says is
    /// no longer the last word.
    pub const UNREADABLE: Index = Index::MAX;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Condition,
    Procedure,
    AllergyIntolerance,
    MedicationAdministration,
    MedicationDispense,
    MedicationRequest,
    MedicationStatement,
    Observation,
    Encounter,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Condition => "Condition",
            Kind::Procedure => "Procedure",
            Kind::AllergyIntolerance => "AllergyIntolerance",
            Kind::MedicationAdministration => "MedicationAdministration",
            Kind::MedicationDispense => "MedicationDispense",
            Kind::MedicationRequest => "MedicationRequest",
            Kind::MedicationStatement => "MedicationStatement",
            Kind::Observation => "Observation",
            Kind::Encounter => "Encounter",
        }
    }
    pub fn from_name(name: &str) -> Option<Kind> {
        [
            Kind::Condition,
            Kind::Procedure,
            Kind::AllergyIntolerance,
            Kind::MedicationAdministration,
            Kind::MedicationDispense,
            Kind::MedicationRequest,
            Kind::MedicationStatement,
            Kind::Observation,
            Kind::Encounter,
        ]
        .into_iter()
        .find(|k| k.name() == name)
    }
    pub fn is_medication(self) -> bool {
        self.name().starts_with("Medication")
    }
}

/// How sure the record is of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    Confirmed,
    /// Provisional, differential, unconfirmed, ordered but not known to be taken.
    Unconfirmed,
}

/// A diagnosis, procedure, drug or allergy whose code belongs to a value set.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub kind: Kind,
    /// Value sets that the code belongs to, ascending.
    pub sets: Box<[Index]>,
    /// Value sets that only the words hint at: they can raise a question, never decide.
    pub hints: Box<[Index]>,
    /// Value sets of the route of administration.
    pub routes: Box<[Index]>,
    /// Is a route given at all?
    pub has_route: bool,
    /// No coding could be read: it may be anything.
    pub unreadable: bool,
    /// Its codes say of every value set whether they belong to it. A SNOMED CT or RxNorm code that no
    /// value set lists may stand below one that is listed.
    pub classified: bool,
    /// A Medication to look the drug up in.
    pub medication: Option<Box<str>>,
    pub certainty: Certainty,
    /// `clinicalStatus` active, recurrence or relapse; `None` where it is not said.
    pub current: Option<bool>,
    /// From when to when; `None` where no date is given.
    pub when: Option<When>,
    /// AllergyIntolerance.category: medication, food, ...
    pub category: Option<Box<str>>,
    /// System and code, for the reader of the evidence and to tell substances apart.
    pub code: Box<str>,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentState {
    Given,
    /// Refused, withdrawn, expired.
    NotGiven,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConsentFact {
    pub state: ConsentState,
    /// `Some(true)`: names this trial; `Some(false)`: names another study; `None`: names none.
    pub this_trial: Option<bool>,
    /// Reference of the study that it names, to be looked up.
    pub study: Option<Box<str>>,
    pub when: Option<When>,
    /// From when it is valid, where that is said.
    pub starts: Option<When>,
    pub expires: Option<When>,
    pub source: Source,
}

/// A ResearchSubject.
#[derive(Clone, Debug, PartialEq)]
pub struct Participation {
    /// Reference of the study, to be looked up.
    pub study: Option<Box<str>>,
    /// Recognised by an identifier on the ResearchSubject itself.
    pub ours: bool,
    /// Only considered or refused: takes part in nothing.
    pub screening_only: bool,
    /// The state itself says that it goes on.
    pub ongoing: bool,
    pub when: Option<When>,
    pub source: Source,
}

/// What a person decided about one criterion.
#[derive(Clone, Debug, PartialEq)]
pub struct Attestation {
    pub criterion: Index,
    /// Does the criterion's statement apply to the subject?
    pub applies: bool,
    pub when: When,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Shared {
    Drug { sets: Box<[Index]>, hints: Box<[Index]>, unreadable: bool, classified: bool, code: Box<str> },
    Study { ours: bool },
}

/// Why something could not be used. The codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    NotJson,
    Encoding,
    TooDeep,
    DuplicateKey,
    Structure,
    UnknownType,
    SubjectMissing,
    UnitMissing,
    UnitUnknown,
    UnitConflict,
    Implausible,
    ValueMissing,
    ValueInvalid,
    UnexpectedType,
    DataAbsent,
    CodeConflict,
    SystemMissing,
    Unmapped,
    AnswerUnknown,
    WrongStatus,
    EffectiveMissing,
    DateInvalid,
    DateImprecise,
    Conflict,
    VersionConflict,
    Unresolved,
    Merged,
    NotSupported,
    NotAMessage,
    TransactionRefused,
    ProcessingFailed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 31] = [
        Reason::NotJson,
        Reason::Encoding,
        Reason::TooDeep,
        Reason::DuplicateKey,
        Reason::Structure,
        Reason::UnknownType,
        Reason::SubjectMissing,
        Reason::UnitMissing,
        Reason::UnitUnknown,
        Reason::UnitConflict,
        Reason::Implausible,
        Reason::ValueMissing,
        Reason::ValueInvalid,
        Reason::UnexpectedType,
        Reason::DataAbsent,
        Reason::CodeConflict,
        Reason::SystemMissing,
        Reason::Unmapped,
        Reason::AnswerUnknown,
        Reason::WrongStatus,
        Reason::EffectiveMissing,
        Reason::DateInvalid,
        Reason::DateImprecise,
        Reason::Conflict,
        Reason::VersionConflict,
        Reason::Unresolved,
        Reason::Merged,
        Reason::NotSupported,
        Reason::NotAMessage,
        Reason::TransactionRefused,
        Reason::ProcessingFailed,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Reason::NotJson => "not-json",
            Reason::Encoding => "encoding",
            Reason::TooDeep => "too-deep",
            Reason::DuplicateKey => "duplicate-key",
            Reason::Structure => "structure",
            Reason::UnknownType => "unknown-type",
            Reason::SubjectMissing => "subject-missing",
            Reason::UnitMissing => "unit-missing",
            Reason::UnitUnknown => "unit-unknown",
            Reason::UnitConflict => "unit-conflict",
            Reason::Implausible => "implausible",
            Reason::ValueMissing => "value-missing",
            Reason::ValueInvalid => "value-invalid",
            Reason::UnexpectedType => "unexpected-type",
            Reason::DataAbsent => "data-absent",
            Reason::CodeConflict => "code-conflict",
            Reason::SystemMissing => "system-missing",
            Reason::Unmapped => "unmapped",
            Reason::AnswerUnknown => "answer-unknown",
            Reason::WrongStatus => "wrong-status",
            Reason::EffectiveMissing => "effective-missing",
            Reason::DateInvalid => "date-invalid",
            Reason::DateImprecise => "date-imprecise",
            Reason::Conflict => "conflict",
            Reason::VersionConflict => "version-conflict",
            Reason::Unresolved => "unresolved-reference",
            Reason::Merged => "merged",
            Reason::NotSupported => "not-supported",
            Reason::NotAMessage => "not-a-message",
            Reason::TransactionRefused => "transaction-refused",
            Reason::ProcessingFailed => "processing-failed",
        }
    }

    /// What a reader can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Reason::NotJson | Reason::Structure | Reason::DuplicateKey => {
                "the sender has to correct the resource"
            }
            Reason::Encoding => "send UTF-8",
            Reason::TooDeep => "the sender has to flatten the resource",
            Reason::UnknownType => {
                "not a FHIR resource type that is read; nothing to do unless it was expected"
            }
            Reason::SubjectMissing => "the resource names no patient that can be resolved",
            Reason::UnitMissing => "ask the laboratory to send a unit",
            Reason::UnitUnknown => {
                "add the spelling under [units] in the site file, or refuse the unit at the source"
            }
            Reason::UnitConflict => {
                "unit text and UCUM code disagree; the laboratory has to say which is right"
            }
            Reason::Implausible => "check value and unit at the source",
            Reason::ValueMissing => "the result has no value",
            Reason::ValueInvalid => "the value is not a FHIR decimal",
            Reason::UnexpectedType => {
                "the value has a type from which no number is taken without an approved rule"
            }
            Reason::DataAbsent => "the source says why the value is absent",
            Reason::CodeConflict => "the codings contradict each other; correct the mapping at the source",
            Reason::SystemMissing => "a code without a system means nothing; add the system at the source",
            Reason::Unmapped => "add the code under [[code]] in the site file",
            Reason::AnswerUnknown => "add the answer to the variable or to the site file",
            Reason::WrongStatus => "wait for a final result",
            Reason::EffectiveMissing => "the result does not say when it was taken",
            Reason::DateInvalid => "the date is not a FHIR date, or a time without a time zone",
            Reason::DateImprecise => "the date is too coarse for the window",
            Reason::Conflict => "results of the same time disagree; a person has to choose",
            Reason::VersionConflict => "two contents under one version; ask the source for a new version",
            Reason::Unresolved => "the resource referred to was not received",
            Reason::Merged => "the record was merged into another; review by hand",
            Reason::NotSupported => "the sender asks for an interaction that is not offered here",
            Reason::NotAMessage => "the sender has to send whole messages",
            Reason::TransactionRefused => {
                "one entry of the transaction could not be read, so none was taken; the sender has to correct it"
            }
            Reason::ProcessingFailed => "a fault of this program; report it, and replay after an update",
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// Something that could not be used. Holds codes and places, never a patient's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Gap {
    pub reference: Box<str>,
    pub reason: Reason,
    /// The element: `Observation.valueQuantity.code`, `Bundle.entry[3].resource`.
    pub path: Box<str>,
    /// The variable that goes without, where one was meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<Box<str>>,
    /// The code concerned (`system|code`), or a status; nothing of the patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<str>>,
}
