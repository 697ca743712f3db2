//! Wire to [`Record`]: whatever the release or the channel, one shape from here on.
//!
//! Nothing is judged here but what the standard itself says (a status that retracts, a date that is
//! none). What a code means to the trial is the mapping's business.

pub mod fhir;
pub mod hl7v2;
pub mod precedence;

use crate::clinical::time::{DateError, When};
use crate::fact::{Certainty, ConsentState, Kind, Sex};
use crate::fhir::resource::{CodeableConcept, Component, Identifier};
use crate::fhir::text::Text;
use std::borrow::Cow;

/// What identifies one version of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    pub resource_type: Cow<'a, str>,
    pub id: Cow<'a, str>,
    pub version: Option<Text<'a>>,
    pub last_updated: Option<Text<'a>>,
}

impl Head<'_> {
    /// `Observation/123`.
    pub fn reference(&self) -> String {
        // The text of every resource of a hospital passes here: `format!` takes several times as long.
        let mut reference = String::with_capacity(self.resource_type.len() + 1 + self.id.len());
        reference.push_str(&self.resource_type);
        reference.push('/');
        reference.push_str(&self.id);
        reference
    }
}

/// A date that was given: read, or not readable.
pub type Date = Option<Result<When, DateError>>;

/// A resource or message segment, release-free.
#[derive(Debug)]
pub struct Record<'a> {
    pub head: Head<'a>,
    /// The subject's reference as received; `None` for resources that belong to no patient.
    pub subject: Option<Text<'a>>,
    pub body: Body<'a>,
}

#[derive(Debug)]
pub enum Body<'a> {
    Patient {
        birth: Date,
        sex: Option<Sex>,
        deceased: Option<Option<When>>,
        replaced_by: Option<Text<'a>>,
    },
    Result {
        status: Option<Text<'a>>,
        category: Vec<CodeableConcept<'a>>,
        effective: Date,
        /// The value of the observation itself, then its components.
        values: Vec<Component<'a>>,
        has_members: bool,
        /// It is about somebody or something else than the patient (`focus`).
        of_another: bool,
    },
    Event(Event<'a>),
    Consent {
        state: ConsentState,
        /// Is it about research at all?
        research: bool,
        identifiers: Vec<Identifier<'a>>,
        studies: Vec<Identifier<'a>>,
        /// A study is referred to, but not by an identifier that could be compared.
        study_reference: Option<Text<'a>>,
        when: Date,
        starts: Date,
        expires: Date,
    },
    Participation {
        study: Option<Text<'a>>,
        study_identifier: Option<Identifier<'a>>,
        identifiers: Vec<Identifier<'a>>,
        screening_only: bool,
        ongoing: bool,
        when: Date,
    },
    Answers {
        questionnaire: Option<Text<'a>>,
        authored: Date,
        items: Vec<(String, Given<'a>)>,
    },
    Medication {
        code: CodeableConcept<'a>,
    },
    Study {
        identifiers: Vec<Identifier<'a>>,
    },
    /// Entered in error, refuted, not done: takes back what an earlier version said.
    Retracted {
        status: &'static str,
    },
    /// A type that nothing here reads.
    Other,
}

/// A diagnosis, procedure, drug or allergy.
#[derive(Debug)]
pub struct Event<'a> {
    pub kind: Kind,
    pub code: CodeableConcept<'a>,
    pub medication: Option<Text<'a>>,
    pub certainty: Certainty,
    pub current: Option<bool>,
    pub when: Date,
    pub routes: Vec<CodeableConcept<'a>>,
    pub category: Option<Text<'a>>,
}

/// One answer of a form.
#[derive(Debug, Clone)]
pub enum Given<'a> {
    YesNo(bool),
    Code(Text<'a>),
    Words(Text<'a>),
}
