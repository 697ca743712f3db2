//! What is known of one subject on one day: facts arranged by what they are about, and for each
//! variable the one result that counts, or why there is none.

use crate::clinical::interval::Interval;
use crate::clinical::time::{When, completed_years, days_before};
use crate::fact::*;
use crate::protocol::{CriterionKind, Trial};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use std::borrow::Cow;

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
    /// The newest result is none of the variable's answers.
    Unreadable,
}

/// A finding with its Medication looked up.
#[derive(Debug)]
pub struct Seen<'a> {
    pub finding: &'a Finding,
    pub sets: &'a [Index],
    pub hints: &'a [Index],
    pub unreadable: bool,
    pub classified: bool,
}

#[derive(Debug)]
pub struct Chart<'a> {
    pub trial: &'a Trial,
    pub as_of: NaiveDate,
    pub person: Option<&'a Person>,
    /// By variable.
    measurements: Vec<Result<&'a Measurement, Missing>>,
    /// All answers, by variable.
    answers: Vec<&'a Answer>,
    pub findings: Vec<Seen<'a>>,
    /// Consents, each with whether it names this trial (`true`) or none at all. Those that name another
    /// study are left out.
    pub consents: Vec<(&'a ConsentFact, bool)>,
    /// Participations in other studies, each with whether the study was received.
    pub participations: Vec<(&'a Participation, bool)>,
    /// What a person said last of each criterion.
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
        let facts = facts.into_iter();
        let mut measured: Vec<&Measurement> = Vec::with_capacity(facts.size_hint().0);
        let mut attested: Vec<&Attestation> = Vec::new();
        let mut chart = Chart {
            trial,
            as_of,
            person: None,
            measurements: vec![Err(Missing::NotFound); trial.variables.len()],
            answers: Vec::with_capacity(trial.variables.len()),
            findings: Vec::with_capacity(16),
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
                Fact::Measurement(m) => measured.push(m),
                Fact::Answer(a) if a.effective.first <= as_of => chart.answers.push(a),
                Fact::Answer(_) => {}
                Fact::Finding(f) => chart.finding(f, lookup),
                Fact::Consent(c) => chart.consent(c, lookup),
                Fact::Participation(p) => chart.participation(p, lookup),
                Fact::Attestation(a) if a.when.first <= as_of => attested.push(a),
                Fact::Attestation(_) => {}
                Fact::Shared(_) => {}
            }
        }
        // Stable, so that facts of one variable stay in the order in which they came.
        measured.sort_by_key(|m| m.variable);
        for results in measured.chunk_by(|a, b| a.variable == b.variable) {
            let variable = results[0].variable;
            chart.measurements[variable as usize] = chart.choose(variable, results);
        }
        chart.answers.sort_by_key(|a| a.variable);
        attested.sort_by_key(|a| a.criterion);
        for said in attested.chunk_by(|a, b| a.criterion == b.criterion) {
            let criterion = said[0].criterion as usize;
            chart.attestations[criterion] = last_word(said, trial.criteria[criterion].kind);
        }
        // The order of the facts must not show in anything that is reported.
        chart.findings.sort_by(|a, b| a.finding.source.cmp(&b.finding.source));
        chart.consents.sort_by(|a, b| a.0.source.cmp(&b.0.source));
        chart.participations.sort_by(|a, b| a.0.source.cmp(&b.0.source));
        chart.gaps.sort();
        chart
    }

    fn finding(&mut self, f: &'a Finding, lookup: &'a dyn Lookup) {
        let (mut sets, mut hints) = (&*f.sets, &*f.hints);
        let (mut unreadable, mut classified) = (f.unreadable, f.classified);
        if let (Some(reference), true) = (&f.medication, f.sets.is_empty()) {
            match lookup.shared(reference) {
                Some(Shared::Drug { sets: s, hints: h, unreadable: u, classified: c, .. }) => {
                    (sets, hints, unreadable, classified) = (s, h, *u, *c);
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
        self.findings.push(Seen { finding: f, sets, hints, unreadable, classified });
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

    fn consent(&mut self, c: &'a ConsentFact, lookup: &'a dyn Lookup) {
        let looked_up = c.study.as_deref().and_then(|s| lookup.shared(s));
        let this_trial = match (c.this_trial, looked_up) {
            (Some(false), Some(Shared::Study { ours: true })) => Some(true),
            (named, _) => named,
        };
        // What names another study, or one that nobody can look up, does not speak for this trial.
        if this_trial != Some(false) {
            self.consents.push((c, this_trial == Some(true)));
        }
    }

    /// The newest result in the variable's window. Results that were taken after the day of
    /// judgement were not known then.
    fn choose(&mut self, index: Index, results: &[&'a Measurement]) -> Result<&'a Measurement, Missing> {
        let variable = &self.trial.variables[index as usize];
        let from = variable.window_days.map_or(NaiveDate::MIN, |days| days_before(self.as_of, days));
        if let [only] = results
            && only.effective.within(from, self.as_of) == Some(true)
        {
            // Nothing contends with it, and nothing can disagree.
            return Ok(*only);
        }
        let (mut within, mut imprecise, mut stale) = (Vec::with_capacity(results.len()), Vec::new(), false);
        for m in results.iter().copied() {
            match m.effective.within(from, self.as_of) {
                Some(true) => within.push(m),
                None => imprecise.push(m),
                Some(false) => stale |= m.effective.last < from,
            }
        }
        for m in &imprecise {
            self.gaps.push(self.gap_of(m, Reason::DateImprecise, "Observation.effective"));
        }
        if within.is_empty() {
            return Err(match (imprecise.is_empty(), stale) {
                (false, _) => Missing::DateImprecise,
                (true, true) => Missing::Stale,
                (true, false) => Missing::NotFound,
            });
        }
        // All that may be the newest: none is surely later. What has an uncertain date contends.
        within.extend(imprecise);
        let newest = contenders(&within, |m| &m.effective);
        let best = newest
            .iter()
            .copied()
            .filter(|m| m.effective.within(from, self.as_of) == Some(true))
            .min_by(|a, b| (a.rank, &a.source).cmp(&(b.rank, &b.source)));
        // A flagged method gives way to the laboratory's; all others have to agree.
        let rivals: Vec<_> = newest
            .iter()
            .copied()
            .filter(|m| best.is_some_and(|b| !agree(b, m) && (m.flag.is_none() || b.flag.is_some())))
            .collect();
        match best {
            Some(best) if rivals.is_empty() => Ok(best),
            None => Err(Missing::DateImprecise),
            Some(best) => {
                for m in std::iter::once(best).chain(rivals) {
                    self.gaps.push(self.gap_of(m, Reason::Conflict, "Observation.value"));
                }
                Err(Missing::Conflict)
            }
        }
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
        let start = self.answers.partition_point(|a| a.variable < variable);
        let all = &self.answers[start..];
        let all = &all[..all.partition_point(|a| a.variable == variable)];
        // Whatever code they came under, answers that may both be the last have to agree.
        let newest = contenders(all, |a| &a.effective);
        let Some(said) = newest.first().map(|a| a.answer) else {
            return Err(Missing::NotFound);
        };
        if newest.iter().all(|a| a.effective.within(from, self.as_of) == Some(false)) {
            return Err(Missing::Stale);
        }
        if newest.iter().any(|a| a.answer != said) {
            return Err(Missing::Conflict);
        }
        if said == Answer::UNREADABLE {
            return Err(Missing::Unreadable);
        }
        // Of those that say the same, the one shown does not depend on the order in which they came.
        newest
            .iter()
            .copied()
            .filter(|a| a.effective.within(from, self.as_of) == Some(true))
            .min_by(|a, b| (a.rank, &a.source).cmp(&(b.rank, &b.source)))
            .ok_or(Missing::DateImprecise)
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

/// Those of `all` than which no other is surely later. Where dates with and without a time zone run in
/// a circle, every one contends.
fn contenders<'a, 's, T>(all: &'s [&'a T], when: impl Fn(&T) -> &When) -> Cow<'s, [&'a T]> {
    if all.len() < 2 {
        return all.into();
    }
    let unbeaten: Vec<&T> =
        all.iter().copied().filter(|a| !all.iter().any(|other| when(other).is_after(when(a)))).collect();
    if unbeaten.is_empty() { all.into() } else { unbeaten.into() }
}

/// Do two results of one time say the same? A laboratory that reports in two units rounds twice, so
/// between different units or codes a twentieth is let pass.
fn agree(a: &Measurement, b: &Measurement) -> bool {
    if a.value == b.value {
        return true;
    }
    if a.rank == b.rank && a.received.unit == b.received.unit {
        return false;
    }
    match (a.value.exact(), b.value.exact()) {
        (Some(a), Some(b)) => (a - b).abs() * Decimal::from(20) <= a.max(b),
        _ => false,
    }
}

/// What was said last of a criterion. Of two words that may both be the last, the one that keeps the
/// subject out stands.
fn last_word<'a>(said: &[&'a Attestation], kind: CriterionKind) -> Option<&'a Attestation> {
    let keeps_out = |a: &Attestation| a.applies == (kind == CriterionKind::Exclusion);
    contenders(said, |a| &a.when).iter().copied().max_by(|a, b| {
        (keeps_out(a), a.when.latest, &b.source).cmp(&(keeps_out(b), b.when.latest, &a.source))
    })
}
