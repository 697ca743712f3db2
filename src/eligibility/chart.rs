//! What is known of one subject on one day: facts arranged by what they are about, and for each
//! variable the one result that counts, or why there is none.

use crate::clinical::interval::Interval;
use crate::clinical::time::{completed_years, days_before};
use crate::fact::*;
use crate::protocol::Trial;
use chrono::NaiveDate;

/// Medications and studies that a subject's records refer to.
pub trait Lookup {
    fn shared(&self, reference: &str) -> Option<&Shared>;
}

/// Nothing can be looked up.
impl Lookup for () {
    fn shared(&self, _: &str) -> Option<&Shared> {
        None
    }
}

/// Why a variable has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    NotFound,
    /// There are results, and all are older than the window.
    Stale,
    /// Results of the same time disagree.
    Conflict,
    /// The date is too coarse to tell whether it lies in the window.
    DateImprecise,
}

impl Missing {
    pub fn code(self) -> &'static str {
        match self {
            Missing::NotFound => "not-found",
            Missing::Stale => "stale",
            Missing::Conflict => "conflict",
            Missing::DateImprecise => "date-imprecise",
        }
    }
}

/// A finding with its Medication looked up.
#[derive(Debug)]
pub struct Seen<'a> {
    pub finding: &'a Finding,
    pub sets: &'a [Index],
    pub hints: &'a [Index],
    pub unreadable: bool,
}

#[derive(Debug)]
pub struct Chart<'a> {
    pub trial: &'a Trial,
    pub as_of: NaiveDate,
    pub person: Option<&'a Person>,
    measurements: Vec<Result<&'a Measurement, Missing>>,
    /// All answers, newest first, by variable.
    answers: Vec<Vec<&'a Answer>>,
    pub findings: Vec<Seen<'a>>,
    pub consents: Vec<&'a ConsentFact>,
    /// Participations in other studies.
    pub participations: Vec<(&'a Participation, bool)>,
    pub attestations: Vec<Option<&'a Attestation>>,
    /// Gaps that the arrangement itself found.
    pub gaps: Vec<Gap>,
}

impl<'a> Chart<'a> {
    pub fn new(
        trial: &'a Trial,
        as_of: NaiveDate,
        facts: impl IntoIterator<Item = &'a Fact>,
        lookup: &'a dyn Lookup,
    ) -> Chart<'a> {
        let mut by_variable: Vec<Vec<&Measurement>> = vec![Vec::new(); trial.variables.len()];
        let mut chart = Chart {
            trial,
            as_of,
            person: None,
            measurements: Vec::with_capacity(trial.variables.len()),
            answers: vec![Vec::new(); trial.variables.len()],
            findings: Vec::new(),
            consents: Vec::new(),
            participations: Vec::new(),
            attestations: vec![None; trial.criteria.len()],
            gaps: Vec::new(),
        };
        for fact in facts {
            match fact {
                Fact::Person(person) => {
                    let earlier = chart.person.is_none_or(|p| person.source < p.source);
                    if earlier {
                        chart.person = Some(person);
                    }
                }
                Fact::Measurement(m) => by_variable[m.variable as usize].push(m),
                Fact::Answer(a) => chart.answers[a.variable as usize].push(a),
                Fact::Finding(f) => chart.finding(f, lookup),
                Fact::Consent(c) => chart.consents.push(c),
                Fact::Participation(p) => chart.participation(p, lookup),
                Fact::Attestation(a) => chart.attest(a),
                Fact::Shared(_) => {}
            }
        }
        for (index, results) in by_variable.into_iter().enumerate() {
            let chosen = chart.choose(index as Index, results);
            chart.measurements.push(chosen);
        }
        for answers in &mut chart.answers {
            answers.retain(|a| a.effective.first <= as_of);
            answers.sort_by(|a, b| {
                (b.effective.latest, a.rank, &a.source).cmp(&(a.effective.latest, b.rank, &b.source))
            });
        }
        // The order of the facts must not show in anything that is reported.
        chart.findings.sort_by(|a, b| a.finding.source.cmp(&b.finding.source));
        chart.consents.sort_by(|a, b| a.source.cmp(&b.source));
        chart.participations.sort_by(|a, b| a.0.source.cmp(&b.0.source));
        chart.gaps.sort();
        chart
    }

    fn finding(&mut self, f: &'a Finding, lookup: &'a dyn Lookup) {
        let (mut sets, mut hints, mut unreadable) = (&*f.sets, &*f.hints, f.unreadable);
        if let (Some(reference), true) = (&f.medication, f.sets.is_empty()) {
            match lookup.shared(reference) {
                Some(Shared::Drug { sets: s, hints: h, unreadable: u, .. }) => {
                    (sets, hints, unreadable) = (s, h, *u);
                }
                _ => {
                    unreadable = true;
                    self.gaps.push(Gap {
                        reference: f.source.versioned().into(),
                        reason: Reason::Unresolved,
                        path: format!("{}.medication", f.kind.name()).into(),
                        variable: None,
                        detail: None,
                    });
                }
            }
        }
        self.findings.push(Seen { finding: f, sets, hints, unreadable });
    }

    fn participation(&mut self, p: &'a Participation, lookup: &'a dyn Lookup) {
        if p.ours {
            return;
        }
        match p.study.as_deref().map(|s| lookup.shared(s)) {
            Some(Some(Shared::Study { ours: true })) => {}
            Some(Some(Shared::Study { ours: false })) => self.participations.push((p, true)),
            // The study was not received: it may be ours.
            _ => self.participations.push((p, false)),
        }
    }

    fn attest(&mut self, a: &'a Attestation) {
        if a.when.first > self.as_of {
            return;
        }
        let slot = &mut self.attestations[a.criterion as usize];
        let newer = slot.is_none_or(|held| {
            // Of two of the same moment, the one that says the criterion applies is the safer.
            (a.when.latest, a.applies, &held.source) > (held.when.latest, held.applies, &a.source)
        });
        if newer {
            *slot = Some(a);
        }
    }

    /// The newest result in the variable's window. Results that were taken after the day of
    /// judgement were not known then.
    fn choose(&mut self, index: Index, results: Vec<&'a Measurement>) -> Result<&'a Measurement, Missing> {
        let variable = &self.trial.variables[index as usize];
        let from = variable.window_days.map_or(NaiveDate::MIN, |days| days_before(self.as_of, days));
        let (mut within, mut imprecise, mut stale) = (Vec::new(), Vec::new(), false);
        for m in results {
            match m.effective.within(from, self.as_of) {
                Some(true) => within.push(m),
                None => imprecise.push(m),
                Some(false) => stale |= m.effective.last < from,
            }
        }
        for m in &imprecise {
            self.gaps.push(self.gap_of(m, Reason::DateImprecise, "Observation.effective"));
        }
        let Some(best) = within.iter().copied().min_by(|a, b| {
            (b.effective.latest, a.rank, &a.source).cmp(&(a.effective.latest, b.rank, &b.source))
        }) else {
            return Err(match (imprecise.is_empty(), stale) {
                (false, _) => Missing::DateImprecise,
                (true, true) => Missing::Stale,
                (true, false) => Missing::NotFound,
            });
        };
        // Another result of the same rank that may be of the same time, or of a later one.
        let rivals: Vec<_> = within
            .iter()
            .chain(&imprecise)
            .filter(|m| {
                m.rank == best.rank && m.effective.latest >= best.effective.earliest && m.value != best.value
            })
            .copied()
            .collect();
        if rivals.is_empty() {
            return Ok(best);
        }
        for m in std::iter::once(best).chain(rivals) {
            self.gaps.push(self.gap_of(m, Reason::Conflict, "Observation.value"));
        }
        Err(Missing::Conflict)
    }

    fn gap_of(&self, m: &Measurement, reason: Reason, path: &str) -> Gap {
        Gap {
            reference: m.source.versioned().into(),
            reason,
            path: path.into(),
            variable: Some(self.trial.variables[m.variable as usize].id.as_str().into()),
            detail: None,
        }
    }

    /// The result of a measured variable that counts.
    pub fn measurement(&self, variable: Index) -> Result<&'a Measurement, Missing> {
        self.measurements[variable as usize]
    }

    /// The newest answer of a coded variable within `days` (or the variable's own window).
    pub fn answer(&self, variable: Index, days: Option<u32>) -> Result<&'a Answer, Missing> {
        let own = self.trial.variables[variable as usize].window_days;
        let from = days.or(own).map_or(NaiveDate::MIN, |days| days_before(self.as_of, days));
        let all = &self.answers[variable as usize];
        let Some(newest) = all.first() else { return Err(Missing::NotFound) };
        match newest.effective.within(from, self.as_of) {
            Some(true) => {}
            Some(false) => return Err(Missing::Stale),
            None => return Err(Missing::DateImprecise),
        }
        let contradicted = all.iter().any(|a| {
            a.answer != newest.answer
                && a.rank == newest.rank
                && a.effective.latest >= newest.effective.earliest
        });
        if contradicted { Err(Missing::Conflict) } else { Ok(newest) }
    }

    /// Completed years on the day of judgement.
    pub fn age(&self) -> Option<Interval> {
        let (youngest, oldest) = completed_years(self.person?.birth.as_ref()?, self.as_of)?;
        Some(Interval::between(youngest.into(), oldest.into()))
    }

    pub fn sex(&self) -> Option<Sex> {
        self.person?.sex
    }
}
