//! [`Record`] to facts in canonical units and gaps that say what could not be used, and why.
//!
//! A code is matched by system and code, never by display. Where codings contradict each other, a
//! unit is missing or a value is out of all reason, there is no fact: there is a gap.

mod event;
mod form;
mod result;

use crate::clinical::code;
use crate::clinical::time::When;
use crate::fact::*;
use crate::fhir::resource::{CodeableConcept, Identifier};
use crate::normalize::{Body, Date, Head, Record};
use crate::protocol::Trial;
use crate::protocol::codes::Target;

/// What one record gave.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Mapped {
    pub facts: Vec<Fact>,
    pub gaps: Vec<Gap>,
}

impl Mapped {
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.gaps.is_empty()
    }

    /// Adds what another record gave.
    pub fn extend(&mut self, other: Mapped) {
        self.facts.extend(other.facts);
        self.gaps.extend(other.gaps);
    }
}

/// Maps one record. Nothing but the record, the trial and its site decides the result.
pub fn apply(record: &Record<'_>, trial: &Trial) -> Mapped {
    let mut m = Mapper { trial, head: &record.head, out: Mapped::default() };
    match &record.body {
        Body::Patient { birth, sex, deceased, replaced_by } => {
            let birth = m.date(birth, "Patient.birthDate");
            if replaced_by.is_some() {
                m.gap(Reason::Merged, "Patient.link", None, None);
            }
            let person = Person {
                source: m.source(),
                birth,
                sex: *sex,
                deceased: deceased.clone(),
                replaced_by: replaced_by.as_deref().map(Box::from),
            };
            m.out.facts.push(Fact::Person(person));
        }
        Body::Result { status, category, effective, values, has_members, of_another } => {
            m.result(status.as_deref(), category, effective, values, *has_members, *of_another);
        }
        Body::Event(event) => m.event(event),
        Body::Consent { state, research, identifiers, studies, study_reference, when, starts, expires } => {
            if *research {
                let when = m.date(when, "Consent.dateTime");
                let starts = m.date(starts, "Consent.provision.period");
                let expires = m.date(expires, "Consent.provision.period");
                let this_trial = if identifiers.iter().chain(studies).any(|i| is_study(trial, i)) {
                    Some(true)
                } else if !studies.is_empty() || study_reference.is_some() {
                    Some(false)
                } else {
                    None
                };
                m.out.facts.push(Fact::Consent(ConsentFact {
                    state: *state,
                    this_trial,
                    study: study_reference.as_deref().map(Box::from),
                    when,
                    starts,
                    expires,
                    source: m.source(),
                }));
            }
        }
        Body::Participation { study, study_identifier, identifiers, screening_only, ongoing, when } => {
            let when = m.date(when, "ResearchSubject.period");
            let ours = study_identifier.as_ref().is_some_and(|i| is_study(trial, i))
                || identifiers.iter().any(|i| i.system.as_deref() == Some(OUR_SUBJECT));
            m.out.facts.push(Fact::Participation(Participation {
                study: study.as_deref().map(Box::from),
                ours,
                screening_only: *screening_only,
                ongoing: *ongoing,
                when,
                source: m.source(),
            }));
        }
        Body::Answers { questionnaire, authored, items } => {
            m.answers(questionnaire.as_deref(), authored, items);
        }
        Body::Medication { code } => {
            let read = m.read(code);
            let named = read.code();
            m.out.facts.push(Fact::Shared(Shared::Drug {
                sets: read.sets,
                hints: if read.named_by_class { Box::default() } else { m.hints(code) },
                unreadable: read.unreadable,
                classified: read.classified,
                code: named,
            }));
        }
        Body::Study { identifiers } => {
            let ours = identifiers.iter().any(|i| is_study(trial, i));
            m.out.facts.push(Fact::Shared(Shared::Study { ours }));
        }
        Body::Retracted { .. } | Body::Other => {}
    }
    m.out
}

/// Identifier system of the ResearchSubjects that this program writes.
pub const OUR_SUBJECT: &str = "urn:trialbridge:subject";

fn is_study(trial: &Trial, identifier: &Identifier<'_>) -> bool {
    identifier
        .value
        .as_deref()
        .is_some_and(|v| *v == *trial.study.id || trial.study.other_ids.iter().any(|o| *o == *v))
}

struct Mapper<'a> {
    trial: &'a Trial,
    head: &'a Head<'a>,
    out: Mapped,
}

/// What the codings of one concept mean to the trial.
#[derive(Debug, Default)]
struct Read<'c> {
    /// The variable with the best rank, if all codings agree on it.
    variable: Option<(Index, u16, Option<Box<str>>)>,
    sets: Box<[Index]>,
    /// Codings that cannot all be true.
    conflict: bool,
    /// No coding is in a system that anybody could read here.
    unreadable: bool,
    /// The codes say of every value set whether they belong to it.
    classified: bool,
    /// A code of a classification that the trial uses stands there: words have nothing to add.
    named_by_class: bool,
    /// A coding without a system, and none with one.
    no_system: bool,
    /// System and code of the first coding.
    first: Option<(&'c str, &'c str)>,
}

impl Read<'_> {
    /// `system|code` of the first coding; empty where there is none.
    fn code(&self) -> Box<str> {
        self.first.map_or_else(Box::default, |(system, code)| format!("{system}|{code}").into())
    }
}

impl<'a> Mapper<'a> {
    /// Made only where a fact or a gap needs it: most resources give neither.
    fn source(&self) -> Source {
        Source {
            reference: self.head.reference().into(),
            version: self.head.version.as_deref().map(Box::from),
        }
    }

    fn gap(&mut self, reason: Reason, path: &str, variable: Option<Index>, detail: Option<Box<str>>) {
        self.out.gaps.push(Gap {
            reference: self.source().versioned().into(),
            reason,
            path: path.into(),
            variable: variable.map(|v| self.trial.variables[v as usize].id.as_str().into()),
            detail,
        });
    }

    fn date(&mut self, date: &Date, path: &str) -> Option<When> {
        match date {
            None => None,
            Some(Ok(when)) => Some(when.clone()),
            Some(Err(_)) => {
                self.gap(Reason::DateInvalid, path, None, None);
                None
            }
        }
    }

    fn read<'c>(&self, concept: &'c CodeableConcept<'_>) -> Read<'c>
    where
        'a: 'c,
    {
        let mut read = Read::default();
        let mut sets: Vec<Index> = Vec::new();
        let (mut readable, mut with_system, mut coded) = (false, false, false);
        let mut look_alikes: Vec<Index> = Vec::new();
        let mut loinc: Option<Option<Index>> = None;
        for coding in &concept.coding {
            let Some(code) = coding.code.as_deref() else { continue };
            coded = true;
            let Some(system) = coding.system.as_deref() else { continue };
            with_system = true;
            let trial: &'a Trial = self.trial;
            let (system, code) = trial.site.read(system, code);
            let system = code::canonical_system(system);
            read.first.get_or_insert((system, code));
            let table = trial.codes.system(system);
            readable |= table.is_some() || is_public(system);
            read.named_by_class |= code::is_classification(system) && table.is_some();
            let mut variable: Option<(Index, u16)> = None;
            if let Some(table) = table {
                table.targets(code, |target| match target {
                    Target::Variable { index, rank } => variable = Some((index, rank)),
                    Target::ValueSet(set) => sets.push(set),
                    Target::LookAlike(of) => look_alikes.push(of),
                });
            }
            if let Some((index, rank)) = variable {
                match &read.variable {
                    Some((other, ..)) if *other != index => read.conflict = true,
                    Some((_, best, _)) if *best <= rank => {}
                    _ => {
                        let flag = self.trial.variables[index as usize].flags.get(code);
                        read.variable = Some((index, rank, flag.map(|f| f.as_str().into())));
                    }
                }
            }
            // Two LOINC codes of which only one is the variable's: they name different things.
            if system == code::LOINC {
                let this = variable.map(|(index, _)| index);
                match loinc {
                    Some(other) if other != this => read.conflict = true,
                    _ => loinc = Some(this),
                }
            }
        }
        // A code that is known to be another analyte than the one beside it.
        if read.variable.as_ref().is_some_and(|(index, ..)| look_alikes.contains(index)) {
            read.conflict = true;
        }
        if read.variable.is_none() {
            // Without the variable there is nothing that the codings could contradict.
            read.conflict = false;
        }
        sets.sort_unstable();
        sets.dedup();
        read.classified = read.named_by_class || !sets.is_empty();
        read.sets = sets.into();
        read.no_system = coded && !with_system;
        read.unreadable = !readable;
        read
    }

    /// Value sets whose hints stand in the words of a concept.
    fn hints(&self, concept: &CodeableConcept<'_>) -> Box<[Index]> {
        let mut found = Vec::new();
        let words = concept
            .text
            .iter()
            .chain(concept.coding.iter().filter_map(|c| c.display.as_ref()))
            .map(|t| t.to_lowercase())
            .collect::<Vec<_>>();
        if words.is_empty() {
            return found.into();
        }
        for (at, set) in self.trial.value_sets.iter().enumerate() {
            if set.hints.iter().any(|hint| words.iter().any(|w| w.contains(hint.as_str()))) {
                found.push(at as Index);
            }
        }
        found.into()
    }
}

/// Systems whose codes are public: a code of theirs that the trial does not list is simply of no
/// interest, while a code of an unknown system may be anything.
fn is_public(system: &str) -> bool {
    matches!(
        system,
        code::LOINC
            | code::SNOMED
            | code::ICD10
            | code::ICD10_CM
            | code::ATC
            | code::RXNORM
            | "http://hl7.org/fhir/sid/ndc"
            | "http://hl7.org/fhir/sid/cvx"
            | "http://www.ama-assn.org/go/cpt"
            | "http://www.cms.gov/Medicare/Coding/ICD10"
            | "http://hl7.org/fhir/sid/icd-9-cm"
            | "http://hl7.org/fhir/sid/icd-11"
    ) || system.starts_with("http://terminology.hl7.org/")
}
