//! One rule over one chart: true, false or unknown, with the evidence and, where unknown, why and
//! what would settle it.

use super::chart::{Chart, Missing, Seen};
use super::truth::Truth;
use crate::clinical::interval::Interval;
use crate::clinical::time::{When, days_before};
use crate::fact::*;
use crate::protocol::rule::{Comparison, FindingRule, Rule};
use crate::score::{Score, Scores};
use chrono::NaiveDate;
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
    /// The range of possible values lies on both sides of the limit.
    Straddles,
    Unconfirmed,
    DateUnknown,
    RouteUnknown,
    /// A code that nobody could read may mean it.
    Unmapped,
    /// A drug's name hints at it, without a code.
    Hint,
    NeedsAttestation,
}

impl Why {
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
            Why::Hint => "hint",
            Why::NeedsAttestation => "needs-attestation",
        }
    }

    /// Is it only that nothing was found? A negative finding may settle that, nothing else.
    pub fn is_absence(self) -> bool {
        matches!(self, Why::NotFound | Why::Stale | Why::NeedsAttestation)
    }
}

impl From<Missing> for Why {
    fn from(missing: Missing) -> Why {
        match missing {
            Missing::NotFound => Why::NotFound,
            Missing::Stale => Why::Stale,
            Missing::Conflict => Why::Conflict,
            Missing::DateImprecise => Why::DateImprecise,
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
    fn decided(truth: Truth, evidence: Vec<Evidence>) -> Eval {
        Eval { truth, evidence, why: Vec::new(), needs: Some(Vec::new()) }
    }
    fn unknown(why: Why, evidence: Vec<Evidence>, needs: Option<Vec<String>>) -> Eval {
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
            if every {
                open.map(|p| p.needs.clone()).collect::<Option<Vec<_>>>().map(|n| n.concat())
            } else {
                open.filter_map(|p| p.needs.clone()).min_by_key(Vec::len)
            }
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

    fn finding(&self, rule: &FindingRule) -> Eval {
        let (mut positive, mut open, mut why) = (Vec::new(), Vec::new(), Vec::new());
        let chronic = self.chart.trial.value_sets[rule.value_set as usize].chronic;
        for seen in &self.chart.findings {
            let f = seen.finding;
            if !rule.kinds.contains(&f.kind) {
                continue;
            }
            let listed = seen.sets.contains(&rule.value_set);
            let hinted = !listed && seen.hints.contains(&rule.value_set);
            if !(listed || hinted || seen.unreadable) {
                continue;
            }
            let time = self.in_time(f, rule, chronic);
            if time == Truth::False {
                continue;
            }
            if !listed {
                why.push(if hinted { Why::Hint } else { Why::Unmapped });
                if hinted {
                    open.push(self.evidence_of(seen, rule.value_set, "name only"));
                }
                continue;
            }
            let route = self.by_route(f, rule);
            if route == Truth::False {
                continue;
            }
            if f.certainty == Certainty::Unconfirmed {
                why.push(Why::Unconfirmed);
                open.push(self.evidence_of(seen, rule.value_set, "unconfirmed"));
            } else if route == Truth::Unknown {
                why.push(Why::RouteUnknown);
                open.push(self.evidence_of(seen, rule.value_set, "route not given"));
            } else if time == Truth::Unknown {
                why.push(Why::DateUnknown);
                open.push(self.evidence_of(seen, rule.value_set, "time not certain"));
            } else {
                positive.push(self.evidence_of(seen, rule.value_set, ""));
            }
        }
        if !positive.is_empty() {
            return Eval::decided(Truth::True, tidy(positive));
        }
        if why.is_empty() {
            let from = rule.within_days.map_or(NaiveDate::MIN, |days| days_before(self.chart.as_of, days));
            let complete = rule.kinds.iter().all(|kind| self.chart.trial.site.is_complete_since(*kind, from));
            if complete {
                let kinds: Vec<_> = rule.kinds.iter().map(|k| k.name()).collect();
                let title = &self.chart.trial.value_sets[rule.value_set as usize].title.en;
                return Eval::decided(
                    Truth::False,
                    vec![Evidence {
                        reference: String::new(),
                        summary: format!("no {title} in {}, declared complete by the site", kinds.join(", ")),
                    }],
                );
            }
            why.push(Why::NotFound);
        }
        why.sort();
        why.dedup();
        Eval { truth: Truth::Unknown, evidence: tidy(open), why, needs: None }
    }

    /// Does the finding count by its time?
    fn in_time(&self, f: &Finding, rule: &FindingRule, chronic: bool) -> Truth {
        let as_of = self.chart.as_of;
        if let Some(when) = &f.when
            && when.first > as_of
        {
            return Truth::False;
        }
        if rule.current {
            return match f.current {
                Some(current) => Truth::from(Some(current)),
                None if chronic => Truth::True,
                None => Truth::Unknown,
            };
        }
        let Some(days) = rule.within_days else { return Truth::True };
        let from = days_before(as_of, days);
        let Some(when) = &f.when else {
            return if f.current == Some(true) { Truth::True } else { Truth::Unknown };
        };
        overlaps(when, from, as_of, f)
    }

    fn by_route(&self, f: &Finding, rule: &FindingRule) -> Truth {
        let Some(route) = rule.route else { return Truth::True };
        if f.routes.contains(&route) {
            Truth::True
        } else if rule.not_route.is_some_and(|not| f.routes.contains(&not)) {
            Truth::False
        } else {
            Truth::Unknown
        }
    }

    fn evidence_of(&self, seen: &Seen<'_>, set: Index, remark: &str) -> Evidence {
        let f = seen.finding;
        let title = &self.chart.trial.value_sets[set as usize].title.en;
        let mut summary = title.clone();
        if let Some((_, code)) = f.code.rsplit_once('|') {
            summary.push_str(&format!(" ({code})"));
        }
        if let Some(when) = &f.when {
            summary.push_str(&format!(", {}", when.text.replace('/', " to ").trim_end_matches(" to ")));
        }
        if f.current == Some(true) {
            summary.push_str(", active");
        }
        if !remark.is_empty() {
            summary.push_str(&format!("; {remark}"));
        }
        Evidence { reference: f.source.versioned(), summary }
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

    fn score(&self, name: &'static str, at_least: Decimal) -> Eval {
        let Some(score) = self.scores.get(name) else {
            return Eval::unknown(Why::NotFound, Vec::new(), None);
        };
        let range = score_range(score);
        let shown = match &range {
            Some(range) => format!("{name} {range}"),
            None => format!("{name} not computable"),
        };
        let evidence = vec![Evidence { reference: String::new(), summary: shown }];
        match range.and_then(|r| r.is_at_least(at_least)) {
            Some(decided) => Eval::decided(Truth::from(Some(decided)), evidence),
            None => {
                let needs = score.missing.iter().map(|m| (*m).to_owned()).collect();
                let why = if range.is_some() { Why::Straddles } else { Why::NotFound };
                Eval::unknown(why, evidence, Some(needs))
            }
        }
    }

    fn allergies(&self, min_drug: u32, min_food: u32, both: bool, none: Index) -> Eval {
        let (mut drugs, mut foods, mut open) = (Vec::new(), Vec::new(), false);
        let (mut evidence, mut denied) = (Vec::new(), false);
        for seen in &self.chart.findings {
            let f = seen.finding;
            if f.kind != Kind::AllergyIntolerance
                || f.when.as_ref().is_some_and(|w| w.first > self.chart.as_of)
            {
                continue;
            }
            if seen.sets.contains(&none) {
                denied = true;
                continue;
            }
            if f.certainty == Certainty::Unconfirmed || f.category.is_none() || f.unreadable {
                open = true;
            }
            if f.certainty == Certainty::Confirmed {
                // One substance under several records counts once.
                let substances = match f.category.as_deref() {
                    Some("medication") => &mut drugs,
                    Some("food") => &mut foods,
                    _ => continue,
                };
                if !substances.contains(&&*f.code) {
                    substances.push(&*f.code);
                }
                evidence.push(Evidence {
                    reference: f.source.versioned(),
                    summary: format!("allergy, {}", f.category.as_deref().unwrap_or("category not given")),
                });
            }
        }
        let (many_drugs, many_foods) = (drugs.len() >= min_drug as usize, foods.len() >= min_food as usize);
        let met = if both { many_drugs && many_foods } else { many_drugs || many_foods };
        if met {
            return Eval::decided(Truth::True, tidy(evidence));
        }
        let complete = self.chart.trial.site.is_complete_since(Kind::AllergyIntolerance, NaiveDate::MIN);
        if open {
            return Eval::unknown(Why::Unconfirmed, tidy(evidence), None);
        }
        if complete || (denied && drugs.is_empty() && foods.is_empty()) {
            let summary = if denied {
                "no known allergy is recorded"
            } else {
                "fewer allergies than the protocol names"
            };
            evidence.push(Evidence { reference: String::new(), summary: summary.into() });
            return Eval::decided(Truth::False, tidy(evidence));
        }
        Eval::unknown(Why::NotFound, tidy(evidence), None)
    }

    fn consent(&self) -> Eval {
        let need = || Some(vec!["consent".into()]);
        let as_of = self.chart.as_of;
        // What names this trial speaks for it; what names another never does.
        let mut best: Option<(&ConsentFact, (bool, i64))> = None;
        let mut undated = false;
        for c in &self.chart.consents {
            if c.this_trial == Some(false) {
                continue;
            }
            let Some(when) = &c.when else {
                undated = true;
                continue;
            };
            if when.first > as_of {
                continue;
            }
            let key = (c.this_trial == Some(true), when.latest);
            let newer = best.as_ref().is_none_or(|(held, held_key)| {
                key > *held_key
                    || (key == *held_key && held.state == ConsentState::Given && c.state != held.state)
            });
            if newer {
                best = Some((c, key));
            }
        }
        // A refusal that may be of the same day as the consent or later stands: nobody is randomized
        // on a guess about the order of two dates.
        if let Some((given, _)) = best
            && given.state == ConsentState::Given
            && let Some(from) = given.when.as_ref().map(|w| w.earliest)
        {
            let refused = self.chart.consents.iter().find(|c| {
                c.state == ConsentState::NotGiven
                    && c.this_trial != Some(false)
                    && c.when.as_ref().is_some_and(|w| w.first <= as_of && w.latest >= from)
            });
            if let Some(refused) = refused {
                best = Some((refused, (true, 0)));
            }
        }
        let Some((c, _)) = best else {
            let why = if undated { Why::DateUnknown } else { Why::NotFound };
            return Eval::unknown(why, Vec::new(), need());
        };
        let text = c.when.as_ref().map_or("", |w| &*w.text);
        let evidence = |word: &str| {
            vec![Evidence { reference: c.source.versioned(), summary: format!("consent {word}, {text}") }]
        };
        if c.state == ConsentState::NotGiven {
            return Eval::decided(Truth::False, evidence("refused or withdrawn"));
        }
        if let Some(expires) = &c.expires
            && expires.last < as_of
        {
            return Eval::decided(Truth::False, evidence("expired"));
        }
        if c.when.as_ref().is_some_and(|w| w.last > as_of) {
            return Eval::unknown(Why::DateImprecise, evidence("dated imprecisely"), need());
        }
        Eval::decided(Truth::True, evidence("given"))
    }

    fn other_study(&self, within_days: u32) -> Eval {
        let (from, as_of) = (days_before(self.chart.as_of, within_days), self.chart.as_of);
        let (mut why, mut open) = (Vec::new(), Vec::new());
        for (p, study_known) in &self.chart.participations {
            if p.screening_only {
                continue;
            }
            let evidence = Evidence {
                reference: p.source.versioned(),
                summary: match &p.when {
                    Some(w) => format!("takes part in another study, {}", w.text),
                    None => "takes part in another study".into(),
                },
            };
            let time = match &p.when {
                None => Truth::Unknown,
                Some(w) if w.last < from || w.first > as_of => Truth::False,
                // It reaches into the window; an open end is ongoing.
                Some(_) => Truth::True,
            };
            match (time, study_known) {
                (Truth::False, _) => {}
                (Truth::True, true) => return Eval::decided(Truth::True, vec![evidence]),
                _ => {
                    why.push(Why::DateUnknown);
                    open.push(evidence);
                }
            }
        }
        if why.is_empty() {
            why.push(Why::NotFound);
        }
        Eval { truth: Truth::Unknown, evidence: tidy(open), why, needs: None }
    }
}

/// Did the finding reach into `[from, to]`?
fn overlaps(when: &When, from: NaiveDate, to: NaiveDate, f: &Finding) -> Truth {
    let is_open = when.latest == i64::MAX;
    if when.first > to || when.last < from {
        return Truth::False;
    }
    if is_open {
        if when.first >= from {
            return Truth::True;
        }
        // Began before the window, and nobody wrote down an end.
        return match (f.kind, f.current) {
            (_, Some(true)) => Truth::True,
            (Kind::Condition, Some(false)) => Truth::False,
            _ => Truth::Unknown,
        };
    }
    let is_period = when.text.contains('/');
    if is_period {
        // Start and end are known; from here on they overlap.
        return Truth::True;
    }
    Truth::from(when.within(from, to))
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

fn tidy(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    evidence.sort();
    evidence.dedup();
    evidence
}
