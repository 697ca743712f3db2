//! One subject screened: the decision, the 14 criteria with evidence, the variables, the scores,
//! what is needed, and what could not be used. The shape is `trialbridge/screen/v1`.

use super::chart::{Chart, Lookup};
use super::decide::{Decision, Judged, Verdict, judge};
use super::dialysis::dialysis;
use super::evaluate::{Context, Evidence};
use crate::clinical::interval::Interval;
use crate::clinical::time::days_before;
use crate::fact::{Fact, Gap, Sex};
use crate::protocol::{CriterionKind, Trial};
use crate::score::{self, Scores};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub const SCHEMA: &str = "trialbridge/screen/v1";

/// The whole answer about one subject.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Screening {
    pub schema: &'static str,
    pub trial: String,
    pub definition: String,
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
    pub criteria: Vec<CriterionReport>,
    pub variables: Variables,
    pub scores: ScoreReport,
    /// The smallest set of facts that would settle an open decision, cheapest first.
    pub needs: Vec<String>,
    pub gaps: Vec<Gap>,
}

#[derive(Debug, Serialize)]
pub struct CriterionReport {
    pub id: String,
    pub kind: CriterionKind,
    pub verdict: Verdict,
    pub reason: String,
    /// Reason codes; empty when decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<&'static str>,
    pub text: String,
    pub evidence: Vec<Evidence>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
}

/// The scores of the trial, in its order.
#[derive(Debug)]
pub struct ScoreReport {
    pub names: Vec<&'static str>,
    pub all: Scores,
}

impl Serialize for ScoreReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in &self.names {
            if let Some(score) = self.all.get(name) {
                map.serialize_entry(name, score)?;
            }
        }
        map.end()
    }
}

impl Screening {
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

/// One variable as it was used.
#[derive(Debug, Default, Serialize)]
pub struct VariableReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<crate::fact::Received>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
}

/// Variables by name, in the trial's order, then `sex`, `age` and `dialysis`.
#[derive(Debug, Default)]
pub struct Variables(pub Vec<(String, VariableReport)>);

impl Serialize for Variables {
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
pub fn screen<'a>(
    trial: &'a Trial,
    subject: &str,
    as_of: NaiveDate,
    facts: impl IntoIterator<Item = &'a Fact>,
    lookup: &'a dyn Lookup,
    gaps: impl IntoIterator<Item = Gap>,
) -> Screening {
    let chart = Chart::new(trial, as_of, facts, lookup);
    let inputs = inputs(&chart);
    let scores = score::all(&inputs, &trial.score_options);
    let context = Context { chart: &chart, scores: &scores };
    let mut gaps: Vec<Gap> = gaps.into_iter().chain(chart.gaps.iter().cloned()).collect();
    gaps.sort();
    gaps.dedup();
    let judged: Vec<Judged> =
        trial.criteria.iter().enumerate().map(|(i, c)| judge(&context, i as u16, c)).collect();
    let mut decision = Decision::of(judged.iter().map(|j| j.verdict));
    let mut blocked = Vec::new();
    if chart.person.is_some_and(|p| p.replaced_by.is_some()) {
        blocked.push("merged");
        if decision == Decision::Eligible {
            decision = Decision::Undetermined;
        }
    }
    let deciding = trial
        .criteria
        .iter()
        .zip(&judged)
        .filter(|(_, j)| match decision {
            Decision::Ineligible => j.verdict.is_adverse(),
            _ => !j.verdict.is_favourable(),
        })
        .map(|(c, _)| c.id.clone())
        .collect();
    let needs = match decision {
        Decision::Undetermined => all_needs(trial, &judged, &blocked),
        _ => Vec::new(),
    };
    let criteria = trial
        .criteria
        .iter()
        .zip(judged)
        .map(|(c, j)| report(c.id.clone(), c.kind, c.text.en.clone(), j, &gaps))
        .collect();
    let variables = variables(&chart, &inputs);
    Screening {
        schema: SCHEMA,
        trial: trial.study.id.clone(),
        definition: trial.hash.clone(),
        subject: subject.to_owned(),
        attached_to: None,
        as_of,
        decision,
        deciding,
        blocked,
        criteria,
        variables,
        scores: ScoreReport { names: trial.scores.clone(), all: scores },
        needs,
        gaps,
    }
}

fn report(id: String, kind: CriterionKind, text: String, j: Judged, gaps: &[Gap]) -> CriterionReport {
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
        reason.push_str(&format!("; a result for {variable} could not be used ({})", gap.reason.code()));
        if !why.contains(&gap.reason.code()) {
            why.push(gap.reason.code());
        }
    }
    CriterionReport { id, kind, verdict: j.verdict, reason, why, text, evidence: j.evidence, needs: j.needs }
}

/// The union over the open criteria: results first, in the trial's order, then consent, then what a
/// person has to attest.
fn all_needs(trial: &Trial, judged: &[Judged], blocked: &[&'static str]) -> Vec<String> {
    let rank = |need: &str| {
        if need == "consent" {
            (1, 0)
        } else if let Some(criterion) = need.strip_prefix("attestation:") {
            (2, trial.criterion(criterion).map_or(0, usize::from))
        } else {
            (0, trial.variable(need).map_or(usize::MAX, usize::from))
        }
    };
    let mut needs: Vec<String> = judged.iter().flat_map(|j| j.needs.iter().cloned()).collect();
    needs.extend(blocked.iter().map(|_| IDENTITY.to_owned()));
    needs.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    needs.dedup();
    needs
}

/// What the scores are computed from.
fn inputs(chart: &Chart<'_>) -> score::Inputs {
    let trial = chart.trial;
    let measured = |id: &str| trial.variable(id).and_then(|v| chart.measurement(v).ok());
    // Inputs of one score that lie too far apart are not combined: the older ones are left out.
    let newest =
        score_variables(trial).filter_map(|v| chart.measurement(v).ok()).map(|m| m.effective.last).max();
    let oldest = trial.max_spread_days.zip(newest).map(|(days, newest)| days_before(newest, days));
    let value = |id: &str| {
        measured(id).filter(|m| oldest.is_none_or(|oldest| m.effective.first >= oldest)).map(|m| m.value)
    };
    let answer = |id: &str| -> Option<&str> {
        let index = trial.variable(id)?;
        let answer = chart.answer(index, None).ok()?;
        Some(trial.variables[index as usize].coded()?.answers[answer.answer as usize].id.as_str())
    };
    let yes = |id: &str| answer(id).map(|a| a == "yes");
    score::Inputs {
        bilirubin_total: value("bilirubin_total"),
        inr: value("inr"),
        creatinine: value("creatinine"),
        sodium: value("sodium"),
        albumin: value("albumin"),
        ast: value("ast"),
        alt: value("alt"),
        platelets: value("platelets"),
        pt_prolongation: prolongation(value("pt"), trial.site.pt_control_s),
        age: chart.age(),
        sex: chart.sex().map(|s| match s {
            Sex::Female => score::Sex::Female,
            Sex::Male => score::Sex::Male,
        }),
        dialysis: dialysis(chart),
        ascites: answer("ascites").and_then(|a| a.parse().ok()),
        encephalopathy: answer("encephalopathy").and_then(|a| a.parse().ok()),
        pbc_or_psc: yes("pbc_or_psc"),
        etiology: answer("etiology").and_then(|a| a.parse().ok()),
        ast_uln: measured("ast").and_then(|m| m.upper_normal),
        clif_of: value("clif_of"),
        wbc: value("wbc"),
    }
}

fn score_variables(trial: &Trial) -> impl Iterator<Item = u16> + '_ {
    crate::protocol::check::SCORE_INPUTS
        .iter()
        .filter_map(|(id, _)| trial.variable(id))
        .filter(|v| trial.variables[*v as usize].measured().is_some())
}

/// Seconds over the laboratory's control; without the control there is none.
fn prolongation(pt: Option<Interval>, control: Option<Decimal>) -> Option<Interval> {
    let seconds = pt?.exact()?.checked_sub(control?)?;
    Some(Interval::exactly(seconds.max(Decimal::ZERO)))
}

fn number(value: Decimal) -> serde_json::Value {
    // A conversion may leave 28 digits; six decimals are more than any laboratory reports.
    let text = value.round_dp(6).normalize().to_string();
    text.parse::<serde_json::Number>().map_or(serde_json::Value::Null, serde_json::Value::Number)
}

fn variables(chart: &Chart<'_>, inputs: &score::Inputs) -> Variables {
    let mut all = Vec::new();
    for (index, variable) in chart.trial.variables.iter().enumerate() {
        let report = if let Some(measured) = variable.measured() {
            let Ok(m) = chart.measurement(index as u16) else { continue };
            let exact = m.value.exact().map(number);
            let bound = |b: crate::clinical::interval::Bound| {
                exact.is_none().then(|| b.value().map(number)).flatten()
            };
            VariableReport {
                low: bound(m.value.low),
                high: bound(m.value.high),
                value: exact.clone(),
                unit: Some(measured.unit.clone()),
                effective: Some(m.effective.text.to_string()),
                source: Some(m.source.reference.to_string()),
                version: m.source.version.as_deref().map(str::to_owned),
                received: Some(m.received.clone()),
                flag: m.flag.as_deref().map(str::to_owned),
            }
        } else {
            let Some(coded) = variable.coded() else { continue };
            let Ok(a) = chart.answer(index as u16, None) else { continue };
            VariableReport {
                value: Some(coded.answers[a.answer as usize].id.clone().into()),
                effective: Some(a.effective.text.to_string()),
                source: Some(a.source.reference.to_string()),
                version: a.source.version.as_deref().map(str::to_owned),
                received: Some(a.received.clone()),
                ..VariableReport::default()
            }
        };
        all.push((variable.id.clone(), report));
    }
    let person = |value: serde_json::Value| VariableReport {
        value: Some(value),
        source: chart.person.map(|p| p.source.reference.to_string()),
        version: chart.person.and_then(|p| p.source.version.as_deref().map(str::to_owned)),
        ..VariableReport::default()
    };
    if let Some(sex) = chart.sex() {
        all.push(("sex".into(), person(if sex == Sex::Female { "female" } else { "male" }.into())));
    }
    if let Some(age) = inputs.age {
        let mut report = person(serde_json::Value::Null);
        report.value = age.exact().map(number);
        if report.value.is_none() {
            report.low = age.low.value().map(number);
            report.high = age.high.value().map(number);
        }
        report.unit = Some("a".into());
        all.push(("age".into(), report));
    }
    if let Some(dialysis) = inputs.dialysis {
        let report = VariableReport { value: Some(dialysis.into()), ..VariableReport::default() };
        all.push(("dialysis".into(), report));
    }
    Variables(all)
}
