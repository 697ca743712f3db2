//! One subject screened: the decision, the 14 criteria with evidence, the variables, the scores,
//! what is needed, and what could not be used. The shape is `trialbridge/screen/v1`.

use super::chart::{Chart, Lookup};
use super::decide::{Decision, Judged, Verdict, judge};
use super::dialysis::dialysis;
use super::evaluate::{Context, sex_word};
use super::evidence::Evidence;
use crate::clinical::interval::{Bound, Interval};
use crate::clinical::number;
use crate::clinical::time::days_before;
use crate::fact::{Fact, Gap, Index, Received, Sex, Source};
use crate::protocol::{Criterion, CriterionKind, Trial};
use crate::score::{self, Scores};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

pub const SCHEMA: &str = "trialbridge/screen/v1";

/// The whole answer about one subject. What is the same for every subject is borrowed from the trial `'t`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Screening<'t> {
    pub schema: &'static str,
    pub trial: &'t str,
    pub definition: &'t str,
    pub subject: String,
    /// The subject that these records count for, where it is not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_to: Option<String>,
    pub as_of: NaiveDate,
    pub decision: Decision,
    /// The criteria that decide it: those that exclude, or those that are open.
    pub deciding: Vec<String>,
    /// What keeps a subject from being eligible besides the criteria, for example `merged`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<&'static str>,
    pub criteria: Vec<CriterionReport<'t>>,
    pub variables: Variables<'t>,
    pub scores: ScoreReport<'t>,
    /// The smallest set of facts that would settle an open decision, cheapest first.
    pub needs: Vec<String>,
    pub gaps: Vec<Gap>,
}

#[derive(Debug, Serialize)]
pub struct CriterionReport<'t> {
    pub id: &'t str,
    pub kind: CriterionKind,
    pub verdict: Verdict,
    pub reason: Cow<'t, str>,
    /// Reason codes; empty when decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<&'static str>,
    pub text: &'t str,
    pub evidence: Vec<Evidence>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// The scores of the trial, in its order.
#[derive(Debug)]
pub struct ScoreReport<'t> {
    pub names: &'t [&'static str],
    pub all: Scores,
}

impl Serialize for ScoreReport<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in self.names {
            if let Some(score) = self.all.get(name) {
                map.serialize_entry(name, score)?;
            }
        }
        map.end()
    }
}

impl Screening<'_> {
    /// Something besides the criteria keeps the subject from being eligible until a person has looked.
    pub fn block(&mut self, code: &'static str) {
        if self.blocked.contains(&code) {
            return;
        }
        self.blocked.push(code);
        if self.decision == Decision::Eligible {
            self.decision = Decision::Undetermined;
        }
        if self.decision == Decision::Undetermined && !self.needs.iter().any(|n| n == IDENTITY) {
            self.needs.push(IDENTITY.to_owned());
        }
    }
}

/// What a person has to settle: who the subject is.
const IDENTITY: &str = "identity";

/// The value of a variable: a number in the canonical unit, one of its answers, or yes and no.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'t> {
    Number(Decimal),
    Word(&'t str),
    Flag(bool),
}

impl<'t> Value<'t> {
    /// A conversion may leave 28 digits; six decimals are more than any laboratory reports.
    fn number(x: Decimal) -> Self {
        Value::Number(x.round_dp(6).normalize())
    }

    /// The number, if it is one: without zeros at the end.
    pub fn as_number(&self) -> Option<Decimal> {
        match self {
            Value::Number(x) => Some(*x),
            _ => None,
        }
    }

    /// The answer, if it is one.
    pub fn as_str(&self) -> Option<&'t str> {
        match self {
            Value::Word(word) => Some(word),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(x) => write!(f, "{x}"),
            Value::Word(word) => f.write_str(word),
            Value::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Number(x) => {
                // The digits as they are, never through a float.
                let mut text = String::with_capacity(32);
                number::push(&mut text, *x);
                serde_json::from_str::<&RawValue>(&text).map_err(S::Error::custom)?.serialize(to)
            }
            Value::Word(word) => to.serialize_str(word),
            Value::Flag(flag) => to.serialize_bool(*flag),
        }
    }
}

/// One variable as it was used.
#[derive(Debug, Default, Serialize)]
pub struct VariableReport<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<Value<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<Value<'t>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<Box<str>>,
}

impl VariableReport<'_> {
    fn from(source: &Source) -> Self {
        VariableReport {
            source: Some(source.reference.clone()),
            version: source.version.clone(),
            ..VariableReport::default()
        }
    }

    /// The value, or the ends of its range.
    fn range(self, range: &Interval) -> Self {
        if let Some(x) = range.exact() {
            return VariableReport { value: Some(Value::number(x)), ..self };
        }
        let end = |end: Bound| end.value().map(Value::number);
        VariableReport { low: end(range.low), high: end(range.high), ..self }
    }
}

/// Variables by name, in the trial's order, then `sex`, `age` and `dialysis`.
#[derive(Debug, Default)]
pub struct Variables<'t>(pub Vec<(&'t str, VariableReport<'t>)>);

impl Serialize for Variables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(k, v)| (k, v)))
    }
}

impl Serialize for CriterionKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            CriterionKind::Inclusion => "inclusion",
            CriterionKind::Exclusion => "exclusion",
        })
    }
}

/// Screens one subject on one day.
pub fn screen<'t: 'a, 'a>(
    trial: &'t Trial,
    subject: &str,
    as_of: NaiveDate,
    facts: impl IntoIterator<Item = &'a Fact>,
    lookup: &'a dyn Lookup,
    gaps: impl IntoIterator<Item = Gap>,
) -> Screening<'t> {
    let mut chart = Chart::new(trial, as_of, facts, lookup);
    let mut gaps: Vec<Gap> = gaps.into_iter().chain(std::mem::take(&mut chart.gaps)).collect();
    gaps.sort();
    gaps.dedup();
    let inputs = inputs(&chart);
    let scores = score::all(&inputs, &trial.score_options);
    let variables = variables(trial, &chart, &inputs);
    let context = Context { chart: &chart, scores: &scores };
    let criteria: Vec<CriterionReport<'t>> = trial
        .criteria
        .iter()
        .enumerate()
        .map(|(i, c)| report(c, judge(&context, i as Index, c), &gaps))
        .collect();
    let mut decision = Decision::of(criteria.iter().map(|c| c.verdict));
    let mut blocked = Vec::new();
    if chart.person.is_some_and(|p| p.replaced_by.is_some()) {
        blocked.push("merged");
        if decision == Decision::Eligible {
            decision = Decision::Undetermined;
        }
    }
    let deciding = criteria
        .iter()
        .filter(|c| match decision {
            Decision::Ineligible => c.verdict.is_adverse(),
            _ => !c.verdict.is_favourable(),
        })
        .map(|c| c.id.to_owned())
        .collect();
    let needs = match decision {
        Decision::Undetermined => all_needs(trial, &criteria, &blocked),
        _ => Vec::new(),
    };
    Screening {
        schema: SCHEMA,
        trial: &trial.study.id,
        definition: &trial.hash,
        subject: subject.to_owned(),
        attached_to: None,
        as_of,
        decision,
        deciding,
        blocked,
        criteria,
        variables,
        scores: ScoreReport { names: &trial.scores, all: scores },
        needs,
        gaps,
    }
}

fn report<'t>(criterion: &'t Criterion, j: Judged<'t>, gaps: &[Gap]) -> CriterionReport<'t> {
    let mut why: Vec<&'static str> = j.why.iter().map(|w| w.code()).collect();
    let mut reason = j.reason;
    // A result that is missing because it could not be used is not simply missing.
    let mut unusable: Vec<&Gap> = gaps
        .iter()
        .filter(|g| g.variable.as_ref().is_some_and(|v| j.needs.iter().any(|n| **n == **v)))
        .collect();
    unusable.dedup_by(|a, b| a.reason == b.reason && a.variable == b.variable);
    for gap in unusable {
        let variable = gap.variable.as_deref().unwrap_or_default();
        let code = gap.reason.code();
        reason.to_mut().push_str(&format!("; a result for {variable} could not be used ({code})"));
        if !why.contains(&code) {
            why.push(code);
        }
    }
    CriterionReport {
        id: &criterion.id,
        kind: criterion.kind,
        verdict: j.verdict,
        reason,
        why,
        text: &criterion.text.en,
        evidence: j.evidence,
        needs: j.needs,
    }
}

/// The union over the open criteria: results first, in the trial's order, then consent, then what a
/// person has to attest.
fn all_needs(trial: &Trial, criteria: &[CriterionReport<'_>], blocked: &[&'static str]) -> Vec<String> {
    let rank = |need: &str| {
        if need == "consent" {
            (1, 0)
        } else if let Some(criterion) = need.strip_prefix("attestation:") {
            (2, trial.criterion(criterion).map_or(0, usize::from))
        } else {
            (0, trial.variable(need).map_or(usize::MAX, usize::from))
        }
    };
    let named = criteria.iter().flat_map(|c| c.needs.iter().map(String::as_str));
    let mut needs: Vec<_> = named.chain(blocked.iter().map(|_| IDENTITY)).map(|n| (rank(n), n)).collect();
    needs.sort_unstable();
    needs.dedup();
    needs.into_iter().map(|(_, need)| need.to_owned()).collect()
}

/// What the scores are computed from.
fn inputs(chart: &Chart<'_>) -> score::Inputs {
    let trial = chart.trial;
    let of = &trial.inputs;
    let measured = |variable: Option<Index>| chart.measurement(variable?).ok();
    // Inputs of one score that lie too far apart are not combined: the older ones are left out.
    let newest = || of.measured.iter().filter_map(|v| measured(Some(*v))).map(|m| m.effective.last).max();
    let oldest = trial.max_spread_days.and_then(|days| Some(days_before(newest()?, days)));
    let value = |variable: Option<Index>| {
        measured(variable)
            .filter(|m| oldest.is_none_or(|oldest| m.effective.first >= oldest))
            .map(|m| m.value)
    };
    let answer = |variable: Option<Index>| -> Option<&str> {
        let index = variable?;
        let answer = chart.answer(index, None).ok()?;
        Some(trial.variables[index as usize].coded()?.answers[answer.answer as usize].id.as_str())
    };
    score::Inputs {
        bilirubin_total: value(of.bilirubin_total),
        inr: value(of.inr),
        creatinine: value(of.creatinine),
        sodium: value(of.sodium),
        albumin: value(of.albumin),
        ast: value(of.ast),
        alt: value(of.alt),
        platelets: value(of.platelets),
        pt_prolongation: prolongation(value(of.pt), trial.site.pt_control_s),
        age: chart.age(),
        sex: chart.sex().map(|s| match s {
            Sex::Female => score::Sex::Female,
            Sex::Male => score::Sex::Male,
        }),
        dialysis: dialysis(chart),
        ascites: answer(of.ascites).and_then(|a| a.parse().ok()),
        encephalopathy: answer(of.encephalopathy).and_then(|a| a.parse().ok()),
        pbc_or_psc: answer(of.pbc_or_psc).map(|a| a == "yes"),
        etiology: answer(of.etiology).and_then(|a| a.parse().ok()),
        ast_uln: measured(of.ast).and_then(|m| m.upper_normal),
        clif_of: value(of.clif_of),
        wbc: value(of.wbc),
    }
}

/// Seconds over the laboratory's control; without the control there is none.
fn prolongation(pt: Option<Interval>, control: Option<Decimal>) -> Option<Interval> {
    let seconds = pt?.exact()?.checked_sub(control?)?;
    Some(Interval::exactly(seconds.max(Decimal::ZERO)))
}

fn variables<'t>(trial: &'t Trial, chart: &Chart<'_>, inputs: &score::Inputs) -> Variables<'t> {
    let mut all = Vec::with_capacity(trial.variables.len() + 3);
    for (index, variable) in trial.variables.iter().enumerate() {
        let report = if let Some(measured) = variable.measured() {
            let Ok(m) = chart.measurement(index as Index) else { continue };
            VariableReport {
                unit: Some(&measured.unit),
                effective: Some(m.effective.text.clone()),
                received: Some(m.received.clone()),
                flag: m.flag.clone(),
                ..VariableReport::from(&m.source).range(&m.value)
            }
        } else {
            let Some(coded) = variable.coded() else { continue };
            let Ok(a) = chart.answer(index as Index, None) else { continue };
            VariableReport {
                value: Some(Value::Word(&coded.answers[a.answer as usize].id)),
                effective: Some(a.effective.text.clone()),
                received: Some(a.received.clone()),
                ..VariableReport::from(&a.source)
            }
        };
        all.push((variable.id.as_str(), report));
    }
    let person = || chart.person.map_or_else(VariableReport::default, |p| VariableReport::from(&p.source));
    if let Some(sex) = chart.sex() {
        all.push(("sex", VariableReport { value: Some(Value::Word(sex_word(sex))), ..person() }));
    }
    if let Some(age) = inputs.age {
        all.push(("age", VariableReport { unit: Some("a"), ..person().range(&age) }));
    }
    if let Some(dialysis) = inputs.dialysis {
        let report = VariableReport { value: Some(Value::Flag(dialysis)), ..VariableReport::default() };
        all.push(("dialysis", report));
    }
    Variables(all)
}
