//! One rule over one chart: true, false or unknown, with what it rests on and, where unknown, why and
//! what would settle it.

use super::chart::{Chart, Missing};
use super::evidence::{Ground, Grounds};
use super::truth::Truth;
use crate::clinical::interval::Interval;
use crate::clinical::number;
use crate::clinical::time::days_before;
use crate::fact::*;
use crate::protocol::rule::{Comparison, Rule};
use crate::score::{Score, Scores};
use rust_decimal::Decimal;

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

/// A set of reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whys(u16);

impl Whys {
    pub fn one(why: Why) -> Whys {
        Whys(1 << why as u16)
    }

    pub fn insert(&mut self, why: Why) {
        *self = self.union(Whys::one(why));
    }

    pub fn union(self, other: Whys) -> Whys {
        Whys(self.0 | other.0)
    }

    pub fn contains(self, why: Why) -> bool {
        self.0 & Whys::one(why).0 != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order in which they are reported.
    pub fn iter(self) -> impl Iterator<Item = Why> {
        Why::ALL.into_iter().filter(move |why| self.contains(*why))
    }
}

/// The outcome of one rule.
#[derive(Clone, Debug)]
pub struct Eval<'a> {
    pub truth: Truth,
    pub(super) grounds: Grounds<'a>,
    /// Why it is unknown; empty when it is decided.
    pub why: Whys,
    /// Names of the facts that would settle it in the favourable direction; `None` where only a
    /// person can.
    pub needs: Option<Vec<&'a str>>,
}

impl<'a> Eval<'a> {
    pub(super) fn decided(truth: Truth, grounds: Grounds<'a>) -> Eval<'a> {
        Eval { truth, grounds, why: Whys::default(), needs: Some(Vec::new()) }
    }
    pub(super) fn unknown(why: Why, grounds: Grounds<'a>, needs: Option<Vec<&'a str>>) -> Eval<'a> {
        Eval { truth: Truth::Unknown, grounds, why: Whys::one(why), needs }
    }
}

/// What a rule reads: the chart and the scores computed from it.
pub struct Context<'a> {
    pub chart: &'a Chart<'a>,
    pub scores: &'a Scores,
}

impl<'a> Context<'a> {
    /// Evaluates `rule`; `aim` is the truth that would help the subject in (true for an inclusion,
    /// false for an exclusion) and only steers what is asked for.
    pub fn evaluate(&self, rule: &'a Rule, aim: bool) -> Eval<'a> {
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
                    let ground = Ground::Person(sex_word(known));
                    Eval::decided(Truth::from(Some(known == *sex)), Grounds::one(ground))
                }
                None => Eval::unknown(Why::NotFound, Grounds::none(), Some(vec!["sex"])),
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
            Rule::Attested => Eval::unknown(Why::NeedsAttestation, Grounds::none(), None),
        }
    }

    /// `absorbing` decides alone; `neutral` is the value of no rules at all. `every` says whether all
    /// unknown parts have to be settled to reach the aim, or the cheapest of them is enough.
    fn combine(
        &self,
        rules: &'a [Rule],
        aim: bool,
        join: fn(Truth, Truth) -> Truth,
        neutral: Truth,
        absorbing: Truth,
        every: bool,
    ) -> Eval<'a> {
        let mut parts: Vec<Eval<'a>> = rules.iter().map(|r| self.evaluate(r, aim)).collect();
        let truth = parts.iter().fold(neutral, |t, p| join(t, p.truth));
        // The parts that decide it alone are the evidence; the others do not matter.
        let matters = |p: &Eval<'_>| truth != absorbing || p.truth == absorbing;
        let mut grounds = Vec::new();
        for part in parts.iter_mut().filter(|p| matters(p)) {
            if grounds.is_empty() {
                grounds = std::mem::take(&mut part.grounds.list);
            } else {
                grounds.append(&mut part.grounds.list);
            }
        }
        let grounds = Grounds::sorted(grounds);
        if truth != Truth::Unknown {
            return Eval::decided(truth, grounds);
        }
        let why = parts.iter().fold(Whys::default(), |all, p| all.union(p.why));
        let mut open = parts.into_iter().filter(|p| p.truth == Truth::Unknown).map(|p| p.needs);
        let needs = if every {
            open.try_fold(Vec::new(), |mut all, needs| {
                all.append(&mut needs?);
                Some(all)
            })
        } else {
            open.flatten().min_by_key(|n| cost(n))
        };
        Eval { truth, grounds, why, needs: needs.map(distinct) }
    }

    fn age(&self, at_least: Option<u32>, at_most: Option<u32>) -> Eval<'a> {
        if let Some(deceased) = self.chart.person.and_then(|p| p.deceased.as_ref())
            && deceased.as_ref().is_none_or(|when| when.first <= self.chart.as_of)
        {
            return Eval::decided(Truth::False, Grounds::one(Ground::Person("deceased")));
        }
        let Some(age) = self.chart.age() else {
            return Eval::unknown(Why::NotFound, Grounds::none(), Some(vec!["birth-date"]));
        };
        let low = at_least.map_or(Truth::True, |years| age.is_at_least(years.into()).into());
        let high = at_most.map_or(Truth::True, |years| age.is_at_most(years.into()).into());
        let grounds = Grounds::one(Ground::Age);
        match low.and(high) {
            Truth::Unknown => Eval::unknown(Why::Straddles, grounds, Some(vec!["birth-date"])),
            decided => Eval::decided(decided, grounds),
        }
    }

    fn result(
        &self,
        variable: Index,
        bounds: &[(Comparison, Decimal)],
        within_days: Option<u32>,
    ) -> Eval<'a> {
        let need = || Some(vec![self.chart.trial.variables[variable as usize].id.as_str()]);
        let m = match self.chart.measurement(variable) {
            Ok(m) => m,
            Err(missing) => return Eval::unknown(missing.into(), Grounds::none(), need()),
        };
        if let Some(days) = within_days
            && m.effective.within(days_before(self.chart.as_of, days), self.chart.as_of) != Some(true)
        {
            return Eval::unknown(Why::Stale, Grounds::none(), need());
        }
        let truth = bounds.iter().fold(Truth::True, |t, (c, x)| t.and(compare(&m.value, *c, *x).into()));
        let grounds = Grounds::one(Ground::Result(m));
        match truth {
            Truth::Unknown => Eval::unknown(Why::Straddles, grounds, need()),
            decided => Eval::decided(decided, grounds),
        }
    }

    fn answer(&self, variable: Index, is: Index, within_days: Option<u32>) -> Eval<'a> {
        match self.chart.answer(variable, within_days) {
            Ok(answer) => {
                let grounds = Grounds::one(Ground::Answer(answer));
                Eval::decided(Truth::from(Some(answer.answer == is)), grounds)
            }
            Err(missing) => {
                let name = self.chart.trial.variables[variable as usize].id.as_str();
                Eval::unknown(missing.into(), Grounds::none(), Some(vec![name]))
            }
        }
    }

    /// A score rests on the results that it was computed from.
    fn inputs_of(&self, name: &'static str, score: &'a Score) -> Grounds<'a> {
        let inputs = self.chart.trial.inputs.of_score(name);
        let mut grounds = Vec::with_capacity(inputs.len());
        for index in inputs {
            if let Ok(m) = self.chart.measurement(*index) {
                grounds.push(Ground::ScoredResult(name, score, m));
            } else if let Ok(a) = self.chart.answer(*index, None) {
                grounds.push(Ground::ScoredAnswer(name, score, a));
            }
        }
        Grounds::listed(grounds)
    }

    fn score(&self, name: &'static str, at_least: Decimal) -> Eval<'a> {
        let Some(score) = self.scores.get(name) else {
            return Eval::unknown(Why::NotFound, Grounds::none(), None);
        };
        let range = score_range(score);
        let grounds = self.inputs_of(name, score);
        match range.and_then(|r| r.is_at_least(at_least)) {
            Some(decided) => Eval::decided(Truth::from(Some(decided)), grounds),
            None => {
                let needs = score.missing.clone();
                let why = if range.is_some() { Why::Straddles } else { Why::NotFound };
                Eval::unknown(why, grounds, Some(needs))
            }
        }
    }
}

/// Costs of what may be asked for: a result is in the laboratory's computer, a signature is not.
pub(super) fn cost(needs: &[&str]) -> u32 {
    let one = |need: &&str| match *need {
        n if n.starts_with("attestation:") => ATTESTATION,
        "consent" => 2,
        _ => 1,
    };
    needs.iter().map(one).sum()
}

/// What a person's word costs.
pub(super) const ATTESTATION: u32 = 3;

/// Each name once, in the order of the first.
fn distinct(mut names: Vec<&str>) -> Vec<&str> {
    let mut kept = 0;
    for at in 0..names.len() {
        if !names[..kept].contains(&names[at]) {
            names.swap(kept, at);
            kept += 1;
        }
    }
    names.truncate(kept);
    names
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

/// Appends a range for a reader: at most four decimals, so that a converted value can be read.
pub(super) fn push_shown(text: &mut String, value: &Interval) {
    match value.exact() {
        Some(x) => number::push(text, x.round_dp(4)),
        None => value.push_to(text),
    }
}

pub(super) fn sex_word(sex: Sex) -> &'static str {
    match sex {
        Sex::Female => "female",
        Sex::Male => "male",
    }
}
