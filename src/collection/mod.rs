//! Resources of many subjects from files, in any order, any number of times: the newest version of
//! each, mapped, and arranged by subject. Pure: texts go in, screenings come out.
//!
//! Invariant: what comes out depends on the set of resources, not on their order, repetition or
//! division into files.

mod around;
mod held;
mod reader;

pub(crate) use around::{Surroundings, surroundings};
pub use held::{Held, Standing, settle};
pub(crate) use reader::Loose;
pub use reader::{Keep, Reader};

use crate::eligibility::{Lookup, Screening, screen};
use crate::fact::{Fact, Gap, Reason, Shared};
use crate::fhir::json::{self, JsonError};
use crate::fhir::reference::type_and_id;
use crate::fhir::resource::Head;
use crate::normalize::fhir;
use crate::protocol::Trial;
use chrono::NaiveDate;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

/// Something that belongs to no subject that could be found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// `file:line`, or `file: Bundle.entry[3]`.
    pub place: String,
    pub reason: Reason,
    pub path: String,
}

#[derive(Debug)]
pub struct Collection<'t> {
    reader: Reader<'t>,
    held: Shelf,
}

/// All versions by reference.
#[derive(Debug, Default)]
struct Shelf(HashMap<Box<str>, Vec<Held<'static>>>);

impl Keep for Shelf {
    fn keep(&mut self, reference: &str, held: Held<'_>) {
        let held = held.into_owned();
        match self.0.get_mut(reference) {
            Some(versions) => held.join(versions),
            None => _ = self.0.insert(reference.into(), vec![held]),
        }
    }
}

impl<'t> Collection<'t> {
    pub fn new(trial: &'t Trial) -> Self {
        Collection { reader: Reader::new(trial), held: Shelf::default() }
    }

    /// Resources taken in so far.
    pub fn resources(&self) -> u64 {
        self.reader.resources()
    }

    pub fn orphans(&self) -> &[Orphan] {
        self.reader.orphans()
    }

    /// Takes in a document: a resource, or a Bundle of them. An error means that nothing of it could
    /// be read.
    pub fn add(&mut self, bytes: &[u8], place: &(impl Display + ?Sized)) -> Result<(), JsonError> {
        self.reader.add(bytes, &|| place.to_string(), &mut self.held)
    }

    /// Takes in an attestation that came from elsewhere than the files.
    pub fn attest(&mut self, subject: &str, fact: Fact, key: &str) {
        Held::attested(subject, fact, key, &mut self.held);
    }

    /// Settles which version of each resource stands and arranges the facts by subject.
    pub fn settle(self) -> Settled<'t> {
        let mut subjects: BTreeMap<Box<str>, Subject> = BTreeMap::new();
        let mut shared = HashMap::new();
        let mut unmapped: BTreeMap<Box<str>, u64> = BTreeMap::new();
        for (reference, versions) in self.held.0 {
            match settle(versions) {
                Standing::Nothing => {}
                Standing::Conflict(among) => {
                    for subject in among {
                        subjects.entry(subject.into()).or_default().gaps.push(Gap::of_versions(&reference));
                    }
                }
                Standing::Shared(facts) => {
                    for fact in facts {
                        if let Fact::Shared(s) = fact {
                            shared.insert(reference.clone(), s);
                        }
                    }
                }
                Standing::Of(subject, mapped) => {
                    for code in mapped.unmapped() {
                        *unmapped.entry(code.into()).or_default() += 1;
                    }
                    if mapped.is_empty() {
                        continue;
                    }
                    let entry = subjects.entry(subject.into()).or_default();
                    entry.facts.extend(mapped.facts);
                    entry.gaps.extend(mapped.gaps);
                }
            }
        }
        Settled { trial: self.reader.trial(), subjects, shared: SharedFacts(shared), unmapped }
    }
}

/// Everything known of one subject.
#[derive(Debug, Default)]
pub struct Subject {
    pub facts: Vec<Fact>,
    pub gaps: Vec<Gap>,
}

#[derive(Debug, Default)]
pub struct SharedFacts(pub HashMap<Box<str>, Shared>);

impl Lookup for SharedFacts {
    fn shared(&self, reference: &str) -> Option<&Shared> {
        self.0.get(reference).or_else(|| {
            let (resource_type, id) = type_and_id(reference)?;
            self.0.get(format!("{resource_type}/{id}").as_str())
        })
    }
}

/// A collection in which every resource has one version.
#[derive(Debug)]
pub struct Settled<'t> {
    trial: &'t Trial,
    pub subjects: BTreeMap<Box<str>, Subject>,
    pub shared: SharedFacts,
    /// Codes that nobody could read, with how often they came.
    pub unmapped: BTreeMap<Box<str>, u64>,
}

impl<'t> Settled<'t> {
    /// The screenings, ordered by subject.
    pub fn screen(&self, as_of: NaiveDate) -> impl Iterator<Item = Screening<'t>> + '_ {
        self.subjects.iter().map(move |(id, subject)| {
            screen(self.trial, id, as_of, &subject.facts, &self.shared, subject.gaps.iter().cloned())
        })
    }
}

pub(crate) fn reason(error: &JsonError) -> Reason {
    match error {
        JsonError::Encoding { .. } => Reason::Encoding,
        JsonError::TooDeep => Reason::TooDeep,
        JsonError::DuplicateKey { .. } => Reason::DuplicateKey,
        JsonError::Syntax { .. } => Reason::NotJson,
        JsonError::Structure { .. } => Reason::Structure,
    }
}

pub(crate) fn path_of(error: &JsonError) -> String {
    match error {
        JsonError::DuplicateKey { path } | JsonError::Structure { path } => path.trim_matches('.').to_owned(),
        _ => String::new(),
    }
}

/// The type of a resource, wherever it stands in it.
pub(crate) fn type_of(text: &str) -> Option<Cow<'_, str>> {
    match fhir::resource_type(text) {
        Some(resource_type) => Some(resource_type.into()),
        None => json::read_shallow::<Head<'_>>(text).ok()?.resource_type.map(|t| t.0),
    }
}
