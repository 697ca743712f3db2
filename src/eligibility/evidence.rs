//! What a verdict rests on: which records, and what they say, in words.
//!
//! Rules join, keep and drop [`Ground`]s, which only point at facts; the words are put together once, for
//! what is reported. Invariant: the words follow from the ground alone, so the same facts give the same
//! evidence in the same order.

use super::chart::Chart;
use super::evaluate::{push_shown, score_range};
use crate::fact::{Answer, Attestation, ConsentFact, Finding, Index, Kind, Measurement, Participation};
use crate::score::{self, Score};
use serde::Serialize;
use std::fmt::Write as _;

/// What a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Evidence {
    /// Versioned reference of the source.
    pub reference: String,
    pub summary: String,
}

/// What a verdict rests on, before it is put into words.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ground<'a> {
    /// What the Patient says: `female`, `deceased`.
    Person(&'static str),
    /// The Patient's age on the day of judgement.
    Age,
    Result(&'a Measurement),
    Answer(&'a Answer),
    /// A result that a score was computed from.
    ScoredResult(&'static str, &'a Score, &'a Measurement),
    /// An answer that a score was computed from.
    ScoredAnswer(&'static str, &'a Score, &'a Answer),
    /// A finding of a value set, and what is doubtful about it (empty: nothing).
    Finding(Index, &'a Finding, &'static str),
    /// Nothing of a value set, in resources that the site declared complete.
    Absent(Index, &'a [Kind]),
    Allergy(&'a Finding),
    /// A consent, and what became of it: `given`, `expired`.
    Consent(&'a ConsentFact, &'static str),
    OtherStudy(&'a Participation),
    Attested(&'a Attestation),
    /// What no single record says.
    Record(&'static str),
}

/// Grounds, and the order in which they are reported.
#[derive(Clone, Debug, Default)]
pub(super) struct Grounds<'a> {
    pub list: Vec<Ground<'a>>,
    /// Reported by reference and summary, each once; otherwise as they are listed.
    pub sorted: bool,
}

impl<'a> Grounds<'a> {
    pub fn none() -> Self {
        Grounds::default()
    }

    pub fn one(ground: Ground<'a>) -> Self {
        Grounds { list: vec![ground], sorted: false }
    }

    /// In the order in which they are listed.
    pub fn listed(list: Vec<Ground<'a>>) -> Self {
        Grounds { list, sorted: false }
    }

    pub fn sorted(list: Vec<Ground<'a>>) -> Self {
        Grounds { list, sorted: true }
    }

    /// In words.
    pub fn evidence(&self, chart: &Chart<'_>) -> Vec<Evidence> {
        let mut evidence: Vec<_> = self.list.iter().map(|ground| ground.evidence(chart)).collect();
        if self.sorted && evidence.len() > 1 {
            evidence.sort_unstable();
            evidence.dedup();
        }
        evidence
    }
}

impl Ground<'_> {
    pub fn evidence(&self, chart: &Chart<'_>) -> Evidence {
        Evidence { reference: self.reference(chart), summary: self.summary(chart) }
    }

    fn reference(&self, chart: &Chart<'_>) -> String {
        let source = match self {
            Ground::Person(_) | Ground::Age => chart.person.map(|p| &p.source),
            Ground::Result(m) | Ground::ScoredResult(_, _, m) => Some(&m.source),
            Ground::Answer(a) | Ground::ScoredAnswer(_, _, a) => Some(&a.source),
            Ground::Finding(_, f, _) | Ground::Allergy(f) => Some(&f.source),
            Ground::Consent(c, _) => Some(&c.source),
            Ground::OtherStudy(p) => Some(&p.source),
            Ground::Attested(a) => Some(&a.source),
            Ground::Absent(..) | Ground::Record(_) => None,
        };
        source.map_or_else(String::new, |s| s.versioned())
    }

    fn summary(&self, chart: &Chart<'_>) -> String {
        let trial = chart.trial;
        // Room for nearly every one of these sentences.
        let mut text = String::with_capacity(80);
        match self {
            Ground::Person(word) | Ground::Record(word) => text.push_str(word),
            Ground::Age => {
                text.push_str("age ");
                if let Some(age) = chart.age() {
                    age.push_to(&mut text);
                }
                // Writing to a String cannot fail, here and below.
                let _ = write!(text, " on {}", chart.as_of);
            }
            Ground::Result(m) => push_result(&mut text, chart, m),
            Ground::Answer(a) => {
                text.push_str(&trial.variables[a.variable as usize].title.en);
                push_answer(&mut text, chart, a);
            }
            Ground::ScoredResult(name, score, m) => {
                push_score(&mut text, name, score);
                push_result(&mut text, chart, m);
            }
            Ground::ScoredAnswer(name, score, a) => {
                push_score(&mut text, name, score);
                text.push_str(&trial.variables[a.variable as usize].id);
                push_answer(&mut text, chart, a);
            }
            Ground::Finding(set, f, remark) => {
                text.push_str(&trial.value_sets[*set as usize].title.en);
                if let Some((_, code)) = f.code.rsplit_once('|') {
                    push_all(&mut text, &[" (", code, ")"]);
                }
                if let Some(when) = &f.when {
                    text.push_str(", ");
                    if when.text.contains('/') {
                        text.push_str(when.text.replace('/', " to ").trim_end_matches(" to "));
                    } else {
                        text.push_str(&when.text);
                    }
                }
                if f.current == Some(true) {
                    text.push_str(", active");
                }
                if !remark.is_empty() {
                    push_all(&mut text, &["; ", remark]);
                }
            }
            Ground::Absent(set, kinds) => {
                push_all(&mut text, &["no ", &trial.value_sets[*set as usize].title.en, " in "]);
                for (i, kind) in kinds.iter().enumerate() {
                    push_all(&mut text, &[if i > 0 { ", " } else { "" }, kind.name()]);
                }
                text.push_str(", declared complete by the site");
            }
            Ground::Allergy(f) => {
                let category = f.category.as_deref().unwrap_or("category not given");
                push_all(&mut text, &["allergy, ", category]);
            }
            Ground::Consent(c, word) => {
                let day = c.when.as_ref().map_or("without a date", |w| &*w.text);
                push_all(&mut text, &["consent ", word, ", ", day]);
            }
            Ground::OtherStudy(p) => {
                text.push_str("takes part in another study");
                if let Some(when) = &p.when {
                    push_all(&mut text, &[", ", &when.text]);
                }
            }
            Ground::Attested(a) => {
                push_all(&mut text, &["attested ", if a.applies { "yes" } else { "no" }, ", ", &a.when.text]);
            }
        }
        text
    }
}

fn push_all(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}

/// `creatinine 0.97 mg/dL, 2026-11-19`.
fn push_result(text: &mut String, chart: &Chart<'_>, m: &Measurement) {
    let variable = &chart.trial.variables[m.variable as usize];
    push_all(text, &[&variable.id, " "]);
    push_shown(text, &m.value);
    let unit = variable.measured().map_or("", |u| u.unit.as_str());
    push_all(text, &[" ", unit, ", ", &m.effective.text]);
}

/// ` none, 2026-11-13`, after the variable's name or title.
fn push_answer(text: &mut String, chart: &Chart<'_>, a: &Answer) {
    let coded = chart.trial.variables[a.variable as usize].coded();
    let word = coded.map_or("", |c| c.answers[a.answer as usize].id.as_str());
    push_all(text, &[" ", word, ", ", &a.effective.text]);
}

/// `MELD 3.0 17: `.
fn push_score(text: &mut String, name: &'static str, score: &Score) {
    text.push_str(score::title(name));
    match score_range(score) {
        Some(range) => {
            text.push(' ');
            range.push_to(text);
        }
        None => text.push_str(" not computable"),
    }
    text.push_str(": ");
}
