//! `subjects` and `explain`: what the store says of whom.

use super::output::{Out, table};
use super::shell::{Shell, subject};
use super::{Failure, Global, Outcome, Output, exit};
use crate::draw;
use crate::pipeline::changes::{self, Cause, Change};
use crate::store::{Allocation, Decision, EventKind, Store, Word};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Args, Debug)]
pub struct SubjectsArguments {
    /// Only those with this decision: eligible, ineligible, undetermined
    #[arg(long, value_name = "WORD", value_parser = ["eligible", "ineligible", "undetermined"])]
    pub decision: Option<String>,
}

#[derive(Args, Debug)]
pub struct ExplainArguments {
    pub subject: String,
    /// Only this criterion
    #[arg(long, value_name = "ID")]
    pub criterion: Option<String>,
    /// Every decision so far, oldest first, as NDJSON
    #[arg(long)]
    pub history: bool,
}

pub fn run(global: &Global, arguments: &SubjectsArguments) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.look()?;
    let decisions = store.latest_decisions()?;
    let wanted = |d: &&Decision| arguments.decision.as_ref().is_none_or(|w| *w == d.decision);
    let randomized = randomized(&*store, &shell.trial.study.id)?;
    let mut out = Out::new();
    let mut rows = Vec::new();
    let mut array = Vec::new();
    for d in decisions.iter().filter(wanted) {
        match global.output() {
            Output::Table => rows.push(row(d, &randomized)),
            Output::Ndjson => out.line(&d.json)?,
            Output::Json => array.push(parsed(d)?),
        }
    }
    match global.output() {
        Output::Table => {
            out.line(
                table(&["subject", "decision", "deciding", "needs", "randomized", "judged"], &rows)
                    .trim_end(),
            )?;
        }
        Output::Json => out.json(&array)?,
        Output::Ndjson => {}
    }
    out.finish()?;
    Ok(0)
}

fn parsed(d: &Decision) -> Result<Value, Failure> {
    serde_json::from_str(&d.json).map_err(|_| {
        Failure::new(
            exit::UNVERIFIED,
            "a stored decision is not JSON",
            "run `trialbridge verify`, restore a backup",
        )
    })
}

/// Who is randomized, and what was said of it that everybody has to know.
fn randomized(store: &dyn Store, trial: &str) -> Result<BTreeMap<String, String>, Failure> {
    let events = store.allocation_events(trial)?;
    let word = |a: &Allocation| {
        let said = |kind| events.iter().any(|e| e.kind == kind && e.allocation_id.as_ref() == Some(&a.id));
        let mut word = "yes".to_owned();
        for (kind, text) in [(EventKind::Unblinded, "unblinded"), (EventKind::MarkedInError, "in error")] {
            if said(kind) {
                word.push_str(&format!(", {text}"));
            }
        }
        word
    };
    Ok(store.allocations(trial)?.into_iter().map(|a| (a.subject.clone(), word(&a))).collect())
}

fn row(d: &Decision, randomized: &BTreeMap<String, String>) -> Vec<String> {
    let needs = serde_json::from_str::<Value>(&d.json)
        .ok()
        .and_then(|v| {
            Some(v["needs"].as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
        })
        .unwrap_or_default();
    vec![
        d.subject.clone(),
        d.decision.clone(),
        d.deciding.join(" "),
        needs,
        randomized.get(&d.subject).cloned().unwrap_or_default(),
        d.decided_at.clone(),
    ]
}

pub fn explain(global: &Global, arguments: &ExplainArguments) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.look()?;
    let key = subject(&arguments.subject)?;
    let mut out = Out::new();
    if arguments.history {
        let history = store.decision_history(&key)?;
        if history.is_empty() {
            return Err(unknown());
        }
        for d in history {
            out.line(&d.json)?;
        }
        out.finish()?;
        return Ok(0);
    }
    let Some(decision) = store.latest_decision(&key)? else {
        return Err(unknown());
    };
    if let Some(id) = &arguments.criterion
        && shell.trial.criterion(id).is_none()
    {
        return Err(Failure::new(exit::USAGE, format!("the trial has no criterion {id}"), ""));
    }
    match (global.output(), &arguments.criterion) {
        (Output::Table, only) => {
            let value = parsed(&decision)?;
            let mut text = match value["attachedTo"].as_str() {
                Some(to) => {
                    let root = store.latest_decision(to)?.map(|d| parsed(&d)).transpose()?;
                    attached(&key, to, root.as_ref(), only.as_deref())
                }
                None => text(&value, only.as_deref()),
            };
            if only.is_none() {
                text.push_str(&allocated(allocation(&*store, &shell.trial.study.id, &key)?.as_ref()));
                text.push_str(&changed(&changes::of(&*store, &key)?));
            }
            out.line(text.trim_end())?;
        }
        (_, None) => {
            let allocation = allocation(&*store, &shell.trial.study.id, &key)?;
            out.line(&with_more(&decision.json, allocation.as_ref(), &changes::of(&*store, &key)?)?)?;
        }
        (_, Some(id)) => {
            let value = parsed(&decision)?;
            let criteria = value["criteria"].as_array().cloned().unwrap_or_default();
            for c in criteria.iter().filter(|c| c["id"] == id.as_str()) {
                out.json(c)?;
            }
        }
    }
    out.finish()?;
    Ok(0)
}

/// The stored text with more keys: every number stays as it was stored. `allocation` where there is one.
fn with_more(json: &str, allocation: Option<&Value>, changes: &[Change]) -> Result<String, Failure> {
    let text = |value: Result<String, serde_json::Error>| value.map_err(|e| Failure::problem(e.to_string()));
    let changes = text(serde_json::to_string(changes))?;
    let allocation = match allocation {
        Some(allocation) => format!(",\"allocation\":{}", text(serde_json::to_string(allocation))?),
        None => String::new(),
    };
    match json.trim_end().strip_suffix('}') {
        Some(open) if open.len() > 1 => Ok(format!("{open}{allocation},\"changes\":{changes}}}")),
        _ => Ok(json.to_owned()),
    }
}

/// The allocation of a subject with what was said of it: when, by whom, on which levels; never the arm.
fn allocation(store: &dyn Store, trial: &str, subject: &str) -> Result<Option<Value>, Failure> {
    let Some(a) = store.allocation_of(trial, subject)? else { return Ok(None) };
    let signatures = store.signatures(None)?;
    let by = |id: i64| signatures.iter().find(|s| s.id == id).map(|s| s.signed.actor.clone());
    let events: Vec<Value> = store
        .allocation_events(trial)?
        .into_iter()
        .filter(|e| e.allocation_id.as_ref() == Some(&a.id))
        .map(|e| {
            json!({"kind": e.kind.word(), "at": e.at, "by": by(e.signature), "detail": draw::event_detail(&e)})
        })
        .collect();
    let levels: Value = serde_json::from_str(&a.levels).unwrap_or_default();
    // A later correction of a factor replaces an earlier one, and leaves the other factors.
    let corrections = events.iter().filter_map(|e| e["detail"]["levels"].as_object());
    let corrected = corrections.fold(None, |levels_so_far: Option<Value>, correction| {
        let mut corrected = levels_so_far.unwrap_or_else(|| levels.clone());
        for (factor, level) in correction {
            corrected[factor] = level.clone();
        }
        Some(corrected)
    });
    Ok(Some(json!({
        "id": a.id, "at": a.at, "by": a.actor, "definition": a.definition, "input": a.decided_input,
        "levels": levels, "correctedLevels": corrected, "events": events
    })))
}

/// The allocation in words; nothing where there is none.
fn allocated(allocation: Option<&Value>) -> String {
    let Some(a) = allocation else { return String::new() };
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let levels = |v: &Value| {
        let pairs = v.as_object().into_iter().flatten();
        pairs.map(|(name, level)| format!("{name}={}", word(level))).collect::<Vec<_>>().join(" ")
    };
    let mut text = format!("\nrandomized\n  {}  {} by {}\n", word(&a["at"]), word(&a["id"]), word(&a["by"]));
    if a["levels"].as_object().is_some_and(|l| !l.is_empty()) {
        text.push_str(&format!("      as randomized  {}\n", levels(&a["levels"])));
    }
    for e in a["events"].as_array().into_iter().flatten() {
        text.push_str(&format!("  {}  {} by {}", word(&e["at"]), word(&e["kind"]), word(&e["by"])));
        let detail = &e["detail"];
        let more = [word(&detail["category"]), levels(&detail["levels"]), word(&detail["reason"])];
        let more: Vec<String> = more.into_iter().filter(|part| !part.is_empty()).collect();
        text.push_str(&format!("  {}\n", more.join(": ")));
    }
    text
}

/// Of somebody whose records count for another subject: that one.
fn attached(key: &str, to: &str, root: Option<&Value>, only: Option<&str>) -> String {
    let mut shown =
        format!("{key}  belongs to {to}: its records count there, and it is not judged itself\n\n");
    if let Some(root) = root {
        shown.push_str(&text(root, only));
    }
    shown
}

/// The changes in words, newest first; nothing where there are none.
pub(super) fn changed(changes: &[Change]) -> String {
    let mut text = String::new();
    if !changes.is_empty() {
        text.push_str("\nwhat changed\n");
    }
    for change in changes {
        let decision = match change.decision_before == change.decision_after {
            true => change.decision_after.clone(),
            false => format!("{} -> {}", change.decision_before, change.decision_after),
        };
        text.push_str(&format!("  {}  {decision}\n", change.at));
        for c in &change.criteria {
            text.push_str(&format!("      {:<14} {} -> {}\n", c.id, c.before, c.after));
        }
        for s in &change.scores {
            text.push_str(&format!("      {:<14} {} -> {}\n", s.name, amount(&s.before), amount(&s.after)));
        }
        for cause in &change.because {
            text.push_str(&format!("      because {}\n", because(cause)));
        }
    }
    text
}

fn amount(value: &Value) -> String {
    match value {
        Value::Null => "not known".to_owned(),
        Value::Object(_) => {
            let end = |v: &Value| if v.is_null() { "?".to_owned() } else { v.to_string() };
            format!("{} to {}", end(&value["low"]), end(&value["high"]))
        }
        other => other.to_string(),
    }
}

fn because(cause: &Cause) -> String {
    let shown = match (&cause.before, &cause.after) {
        (Some(before), Some(after)) if before != after => format!("{before} -> {after}"),
        (_, Some(one)) | (Some(one), None) => one.clone(),
        (None, None) => cause.reference.clone(),
    };
    let mut text = format!("{shown} ({})", cause.what);
    if let (Some(receipt), Some(origin), Some(at)) = (cause.receipt, &cause.origin, &cause.received_at) {
        text.push_str(&format!(", {origin} {at}, receipt {receipt}"));
    }
    text
}

fn unknown() -> Failure {
    let hint = "`trialbridge subjects` lists the stored subjects";
    Failure::new(exit::PROBLEMS, "this subject is not in the store", hint)
}

/// A screening in words.
pub fn text(v: &Value, only: Option<&str>) -> String {
    let s = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let list = |v: &Value| {
        v.as_array()
            .map(|a| a.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
            .unwrap_or_default()
    };
    let mut text =
        format!("{}  {}   as of {}\n", s(&v["subject"]), s(&v["decision"]).to_uppercase(), s(&v["asOf"]));
    let deciding = list(&v["deciding"]);
    if !deciding.is_empty() {
        text.push_str(&format!("decided by  {deciding}\n"));
    }
    let needs = list(&v["needs"]);
    if !needs.is_empty() {
        text.push_str(&format!("needs       {needs}\n"));
    }
    text.push('\n');
    for c in v["criteria"].as_array().into_iter().flatten() {
        if only.is_some_and(|id| c["id"] != id) {
            continue;
        }
        let verdict = s(&c["verdict"]);
        let mark = match verdict.as_str() {
            "met" | "clear" => '●',
            "not-met" | "excludes" => '✕',
            "attest" => '✎',
            "not-applicable" => '–',
            _ => '?',
        };
        text.push_str(&format!("{mark} {:<4} {:<15} {}\n", s(&c["id"]), verdict, s(&c["text"])));
        let reason = s(&c["reason"]);
        if !reason.is_empty() {
            text.push_str(&format!("{:24}{reason}\n", ""));
        }
        for e in c["evidence"].as_array().into_iter().flatten() {
            let reference = s(&e["reference"]);
            if !reference.is_empty() {
                text.push_str(&format!("{:24}{reference}\n", ""));
            }
        }
    }
    if only.is_some() {
        return text;
    }
    text.push_str("\nscores\n");
    for (name, score) in v["scores"].as_object().into_iter().flatten() {
        let shown = match score["status"].as_str() {
            Some("known") => format!("{}{}", score["value"], class(score, "")),
            Some("range") => format!(
                "{} to {}{}, without {}",
                score["low"],
                score["high"],
                class(score, "_low"),
                list(&score["missing"])
            ),
            _ => format!("not computable without {}", list(&score["missing"])),
        };
        text.push_str(&format!("  {name:<16}{shown}\n"));
    }
    let gaps = v["gaps"].as_array().cloned().unwrap_or_default();
    if !gaps.is_empty() {
        text.push_str("\ncould not be used\n");
        for g in gaps {
            text.push_str(&format!("  {}  {}  {}\n", s(&g["reference"]), s(&g["reason"]), s(&g["path"])));
        }
    }
    text
}

fn class(score: &Value, suffix: &str) -> String {
    let one = |key: &str| score.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    match (one(&format!("class{suffix}")), one(&format!("grade{suffix}"))) {
        (Some(class), _) => format!(" (class {class})"),
        (_, Some(grade)) => format!(" (grade {grade})"),
        _ => String::new(),
    }
}
