//! One rule over one chart: true, false or unknown, with the evidence and, where unknown, why and
//! what would settle it.

use super::chart::{Chart, Missing};
use super::truth::Truth;
use crate::clinical::interval::Interval;
use crate::clinical::time::days_before;
use crate::fact::*;
use crate::protocol::rule::{Comparison, Rule};
use crate::score::{self, Score, Scores};
use rust_decimal::Decimal;
use serde::Serialize;

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Evidence {
    /// Versioned reference of the source.
    pub reference: String,
    pub summary: String,
}

/// Why something is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Nothing of the kind is recorded, and the record was not declared complete.
    NotFound,
    Stale,
    Conflict,
    DateImprecise,
    /// The newest result is none of the answers that are known.
    Unreadable,
    /// The range of possible values lies on both sides of the limit.
    Straddles,
    Unconfirmed,
    DateUnknown,
    RouteUnknown,
    /// A code that nobody could read may mean it.
    Unmapped,
    /// A code of a terminology with a hierarchy stands below nobody knows what.
    Unclassified,
    /// The study that an entry refers to was not received.
    Unresolved,
    /// A drug's name hints at it, without a code.
    Hint,
    NeedsAttestation,
}

impl Why {
    /// All of them, in the order in which they are reported.
    pub const ALL: [Why; 14] = [
        Why::NotFound,
        Why::Stale,
        Why::Conflict,
        Why::DateImprecise,
        Why::Unreadable,
        Why::Straddles,
        Why::Unconfirmed,
        Why::DateUnknown,
        Why::RouteUnknown,
        Why::Unmapped,
        Why::Unclassified,
        Why::Unresolved,
        Why::Hint,
        Why::NeedsAttestation,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Why::NotFound => "not-found",
            Why::Stale => "stale",
            Why::Conflict => "conflict",
            Why::DateImprecise => "date-imprecise",
            Why::Straddles => "straddles",
            Why::Unconfirmed => "unconfirmed",
            Why::DateUnknown => "date-unknown",
            Why::RouteUnknown => "route-unknown",
            Why::Unmapped => "unmapped",
            Why::Unclassified => "unclassified",
            Why::Unresolved => "unresolved-reference",
            Why::Unreadable => "unreadable",
            Why::Hint => "hint",
            Why::NeedsAttestation => "needs-attestation",
        }
    }

    /// Is it only that nothing was found?
    pub fn is_absence(self) -> bool {
        matches!(self, Why::NotFound | Why::Stale | Why::Unclassified | Why::NeedsAttestation)
    }

    /// May a negative finding settle it? It outweighs that nothing was found, and entries that cannot be
    /// read; it does not outweigh what points the other way.
    pub fn yields_to_negative(self) -> bool {
        self.is_absence() || self == Why::Unmapped
    }
}

impl From<Missing> for Why {
    fn from(missing: Missing) -> Why {
        match missing {
            Missing::NotFound => Why::NotFound,
            Missing::Stale => Why::Stale,
            Missing::Conflict => Why::Conflict,
            Missing::DateImprecise => Why::DateImprecise,
            Missing::Unreadable => Why::Unreadable,
        }
    }
}

/// The outcome of one rule.
#[derive(Clone, Debug)]
pub struct Eval {
    pub truth: Truth,
    pub evidence: Vec<Evidence>,
    /// Why it is unknown; empty when it is decided.
    pub why: Vec<Why>,
    /// Names of the facts that would settle it in the favourable direction; `None` where only a
    /// person can.
    pub needs: Option<Vec<String>>,
}

impl Eval {
    pub(super) fn decided(truth: Truth, evidence: Vec<Evidence>) -> Eval {
        Eval { truth, evidence, why: Vec::new(), needs: Some(Vec::new()) }
    }
    pub(super) fn unknown(why: Why, evidence: Vec<Evidence>, needs: Option<Vec<String>>) -> Eval {
        Eval { truth: Truth::Unknown, evidence, why: vec![why], needs }
    }
}

/// What a rule reads: the chart and the scores computed from it.
pub struct Context<'a> {
    pub chart: &'a Chart<'a>,
    pub scores: &'a Scores,
}

impl Context<'_> {
    /// Evaluates `rule`; `aim` is the truth that would help the subject in (true for an inclusion,
    /// false for an exclusion) and only steers what is asked for.
    pub fn evaluate(&self, rule: &Rule, aim: bool) -> Eval {
        match rule {
            Rule::All(rules) => self.combine(rules, aim, Truth::and, Truth::True, Truth::False, aim),
            Rule::Any(rules) => self.combine(rules, aim, Truth::or, Truth::False, Truth::True, !aim),
            Rule::Not(rule) => {
                let inner = self.evaluate(rule, !aim);
                Eval { truth: !inner.truth, ..inner }
            }
            Rule::Age { at_least, at_most } => self.age(*at_least, *at_most),
            Rule::Sex(sex) => match self.chart.sex() {
                Some(known) => {
                    Eval::decided(Truth::from(Some(known == *sex)), self.person_evidence(sex_word(known)))
                }
                None => Eval::unknown(Why::NotFound, Vec::new(), Some(vec!["sex".into()])),
            },
            Rule::Finding(rule) => self.finding(rule),
            Rule::Result { variable, bounds, within_days } => self.result(*variable, bounds, *within_days),
            Rule::Answer { variable, is, within_days } => self.answer(*variable, *is, *within_days),
            Rule::Score { score, at_least } => self.score(score, *at_least),
            Rule::Allergies { min_drug, min_food, both, none } => {
                self.allergies(*min_drug, *min_food, *both, *none)
            }
            Rule::Consent => self.consent(),
            Rule::OtherStudy { within_days } => self.other_study(*within_days),
            Rule::Attested => Eval::unknown(Why::NeedsAttestation, Vec::new(), None),
        }
    }

    /// `absorbing` decides alone; `neutral` is the value of no rules at all. `every` says whether all
    /// unknown parts have to be settled to reach the aim, or the cheapest of them is enough.
    fn combine(
        &self,
        rules: &[Rule],
        aim: bool,
        join: fn(Truth, Truth) -> Truth,
        neutral: Truth,
        absorbing: Truth,
        every: bool,
    ) -> Eval {
        let parts: Vec<Eval> = rules.iter().map(|r| self.evaluate(r, aim)).collect();
        let truth = parts.iter().fold(neutral, |t, p| join(t, p.truth));
        if truth == absorbing {
            // The parts that decide it alone are the evidence; the others do not matter.
            let evidence =
                parts.into_iter().filter(|p| p.truth == absorbing).flat_map(|p| p.evidence).collect();
            return Eval::decided(truth, tidy(evidence));
        }
        let mut why: Vec<Why> = parts.iter().flat_map(|p| p.why.iter().copied()).collect();
        why.sort();
        why.dedup();
        let needs = if truth == Truth::Unknown {
            let open = parts.iter().filter(|p| p.truth == Truth::Unknown);
            let names = if every {
                open.map(|p| p.needs.clone()).collect::<Option<Vec<_>>>().map(|n| n.concat())
            } else {
                open.filter_map(|p| p.needs.clone()).min_by_key(|n| cost(n))
            };
            names.map(distinct)
        } else {
            Some(Vec::new())
        };
        let evidence = tidy(parts.into_iter().flat_map(|p| p.evidence).collect());
        Eval { truth, evidence, why: if truth == Truth::Unknown { why } else { Vec::new() }, needs }
    }

    fn person_evidence(&self, summary: String) -> Vec<Evidence> {
        let reference = self.chart.person.map_or_else(String::new, |p| p.source.versioned());
        vec![Evidence { reference, summary }]
    }

    fn age(&self, at_least: Option<u32>, at_most: Option<u32>) -> Eval {
        if let Some(deceased) = self.chart.person.and_then(|p| p.deceased.as_ref())
            && deceased.as_ref().is_none_or(|when| when.first <= self.chart.as_of)
        {
            return Eval::decided(Truth::False, self.person_evidence("deceased".into()));
        }
        let Some(age) = self.chart.age() else {
            return Eval::unknown(Why::NotFound, Vec::new(), Some(vec!["birth-date".into()]));
        };
        let low = at_least.map_or(Truth::True, |years| age.is_at_least(years.into()).into());
        let high = at_most.map_or(Truth::True, |years| age.is_at_most(years.into()).into());
        let evidence = self.person_evidence(format!("age {age} on {}", self.chart.as_of));
        match low.and(high) {
            Truth::Unknown => Eval::unknown(Why::Straddles, evidence, Some(vec!["birth-date".into()])),
            decided => Eval::decided(decided, evidence),
        }
    }

    fn result(&self, variable: Index, bounds: &[(Comparison, Decimal)], within_days: Option<u32>) -> Eval {
        let definition = &self.chart.trial.variables[variable as usize];
        let need = || Some(vec![definition.id.clone()]);
        let m = match self.chart.measurement(variable) {
            Ok(m) => m,
            Err(missing) => return Eval::unknown(missing.into(), Vec::new(), need()),
        };
        if let Some(days) = within_days
            && m.effective.within(days_before(self.chart.as_of, days), self.chart.as_of) != Some(true)
        {
            return Eval::unknown(Why::Stale, Vec::new(), need());
        }
        let truth = bounds.iter().fold(Truth::True, |t, (c, x)| t.and(compare(&m.value, *c, *x).into()));
        let unit = definition.measured().map_or("", |u| u.unit.as_str());
        let evidence = vec![Evidence {
            reference: m.source.versioned(),
            summary: format!("{} {} {unit}, {}", definition.id, shown(&m.value), m.effective.text),
        }];
        match truth {
            Truth::Unknown => Eval::unknown(Why::Straddles, evidence, need()),
            decided => Eval::decided(decided, evidence),
        }
    }

    fn answer(&self, variable: Index, is: Index, within_days: Option<u32>) -> Eval {
        let definition = &self.chart.trial.variables[variable as usize];
        match self.chart.answer(variable, within_days) {
            Ok(answer) => {
                let id = definition.coded().map_or("", |c| c.answers[answer.answer as usize].id.as_str());
                let evidence = vec![Evidence {
                    reference: answer.source.versioned(),
                    summary: format!("{} {id}, {}", definition.title.en, answer.effective.text),
                }];
                Eval::decided(Truth::from(Some(answer.answer == is)), evidence)
            }
            Err(missing) => Eval::unknown(missing.into(), Vec::new(), Some(vec![definition.id.clone()])),
        }
    }

    /// A score rests on the results that it was computed from.
    fn inputs_of(&self, name: &str, shown_score: &str) -> Vec<Evidence> {
        let trial = self.chart.trial;
        let mut evidence = Vec::new();
        for id in score::variables_of(name) {
            let Some(index) = trial.variable(id) else { continue };
            if let Ok(m) = self.chart.measurement(index) {
                let unit = trial.variables[index as usize].measured().map_or("", |u| u.unit.as_str());
                let summary = format!("{shown_score}: {id} {} {unit}, {}", shown(&m.value), m.effective.text);
                evidence.push(Evidence { reference: m.source.versioned(), summary });
            } else if let Ok(a) = self.chart.answer(index, None) {
                let answers = trial.variables[index as usize].coded();
                let word = answers.map_or("", |c| c.answers[a.answer as usize].id.as_str());
                let summary = format!("{shown_score}: {id} {word}, {}", a.effective.text);
                evidence.push(Evidence { reference: a.source.versioned(), summary });
            }
        }
        evidence
    }

    fn score(&self, name: &'static str, at_least: Decimal) -> Eval {
        let Some(score) = self.scores.get(name) else {
            return Eval::unknown(Why::NotFound, Vec::new(), None);
        };
        let range = score_range(score);
        let evidence = match &range {
            Some(range) => self.inputs_of(name, &format!("{} {range}", score::title(name))),
            None => self.inputs_of(name, &format!("{} not computable", score::title(name))),
        };
        match range.and_then(|r| r.is_at_least(at_least)) {
            Some(decided) => Eval::decided(Truth::from(Some(decided)), evidence),
            None => {
                let needs = score.missing.iter().map(|m| (*m).to_owned()).collect();
                let why = if range.is_some() { Why::Straddles } else { Why::NotFound };
                Eval::unknown(why, evidence, Some(needs))
            }
        }
    }
}

/// Costs of what may be asked for: a result is in the laboratory's computer, a signature is not.
pub(super) fn cost(needs: &[String]) -> u32 {
    let one = |need: &String| match need.as_str() {
        n if n.starts_with("attestation:") => 3,
        "consent" => 2,
        _ => 1,
    };
    needs.iter().map(one).sum()
}

/// Each name once, in the order of the first.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut once: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    once
}

fn compare(value: &Interval, comparison: Comparison, limit: Decimal) -> Option<bool> {
    match comparison {
        Comparison::AtLeast => value.is_at_least(limit),
        Comparison::Above => value.is_above(limit),
        Comparison::AtMost => value.is_at_most(limit),
        Comparison::Below => value.is_below(limit),
    }
}

/// The range of a score, if it has one.
pub fn score_range(score: &Score) -> Option<Interval> {
    match (score.value, score.low, score.high) {
        (Some(value), ..) => Some(Interval::exactly(value)),
        (None, Some(low), Some(high)) => Some(Interval::between(low, high)),
        _ => None,
    }
}

/// A range for a reader: at most four decimals, so that a converted value can be read.
pub fn shown(value: &Interval) -> String {
    match value.exact() {
        Some(x) => x.round_dp(4).normalize().to_string(),
        None => value.to_string(),
    }
}

fn sex_word(sex: Sex) -> String {
    match sex {
        Sex::Female => "female".into(),
        Sex::Male => "male".into(),
    }
}

pub(super) fn tidy(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    evidence.sort();
    evidence.dedup();
    evidence
}
