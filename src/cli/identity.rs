//! `identity`: whom the data leave open to be one person or two, and a named person's answer.
//!
//! An answer goes through the inbox like everything that a person says, as a FHIR Linkage of our own
//! source. Invariant: it never moves an allocation; nobody with one comes to belong to somebody else.

use super::attest::{known, record, signed};
use super::output::{Out, table};
use super::shell::{Shell, now, subject, today};
use super::sign::sign;
use super::{Failure, Global, Outcome, Output, exit};
use crate::access::Permission;
use crate::identity::{self, Stands};
use crate::pipeline::questions::{self, Question};
use crate::pipeline::{detail, stamp};
use crate::source::inbox::OWN_SOURCE;
use crate::store::{Allocation, NewAudit, RecordKey, Store};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Open questions: who may be one person, since when, and whom it keeps back
    List,
    /// Answer one: the two are one person, or they are not
    Resolve(Arguments),
}

#[derive(Args, Debug)]
pub struct Arguments {
    /// Who goes on; the one who was randomized, where one of them was
    pub subject: String,
    /// Whose records then count for SUBJECT
    pub other: String,
    /// They are one person
    #[arg(long, conflicts_with = "different", required_unless_present = "different")]
    pub same: bool,
    /// They are two persons
    #[arg(long)]
    pub different: bool,
    /// Who answers
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    match command {
        Command::List => list(global),
        Command::Resolve(a) => resolve(global, a),
    }
}

fn list(global: &Global) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.look()?;
    let all = questions::open(&*store, &shell.trial)?;
    let mut out = Out::new();
    match global.output() {
        Output::Table => {
            let rows: Vec<Vec<String>> = all.iter().map(row).collect();
            let header = ["kind", "subject", "other", "since", "blocks", "randomized"];
            out.line(table(&header, &rows).trim_end())?;
        }
        Output::Json => out.json(&all)?,
        Output::Ndjson => all.iter().try_for_each(|q| out.json(q))?,
    }
    out.finish()?;
    Ok(0)
}

fn row(q: &Question) -> Vec<String> {
    let since = q.since.clone().unwrap_or_default();
    vec![q.kind.clone(), q.subject.clone(), q.other.clone(), since, q.blocks.join(" "), q.allocated.join(" ")]
}

fn resolve(global: &Global, a: &Arguments) -> Outcome {
    let shell = Shell::new(global)?;
    let (goes_on, other) = (subject(&a.subject)?, subject(&a.other)?);
    signed(&a.by)?;
    if a.reason.trim().is_empty() {
        return Err(Failure::new(exit::USAGE, "an answer has a reason", "--reason TEXT"));
    }
    if goes_on == other {
        return Err(Failure::new(exit::USAGE, "SUBJECT and OTHER are the same", "name two subjects"));
    }
    let store = shell.open("identity resolve")?;
    // What lies in the inbox may answer it, or draw somebody else in.
    shell.pipeline(&store).run(now(), today())?;
    let at = stamp(moment(&*store, &goes_on, &other)?);
    let verdict = if a.same { "same" } else { "different" };
    let said = questions::linkage(&goes_on, &other, a.same, &at);
    let shown = json!({
        "subject": goes_on, "other": other, "verdict": verdict, "date": at, "reason": a.reason,
        "document": super::attest::sha256(&said)
    });
    let meaning = "identity.resolve";
    let signature =
        sign(&shell, &*store, &a.by, Permission::ResolveQuestions, meaning, Some(&goes_on), shown)?;
    known(&*store, &goes_on)?;
    // Whoever is bound to a site answers for both of them there, or for none.
    super::sign::sees(&shell, &*store, &a.by, &other)?;
    known(&*store, &other)?;
    if a.same {
        permitted(&shell, &*store, &goes_on, &other, &a.by)?;
    }
    let audit = NewAudit {
        at: at.clone(),
        actor: a.by.clone(),
        role: signature.role.clone(),
        action: meaning.into(),
        subject: Some(goes_on.clone()),
        detail: detail(&[
            ("other", &other),
            ("verdict", verdict),
            ("before", answered(&*store, &goes_on, &other)?),
            ("after", verdict),
            ("reason", &a.reason),
        ]),
    };
    record(&*store, "identity", &said, signature, audit)?;
    shell.pipeline(&store).run(now(), today())?;
    let mut out = Out::new();
    for key in [&goes_on, &other] {
        let Some(d) = store.latest_decision(key)? else { continue };
        match global.output() {
            Output::Table => out.line(&format!("{key}  {}  {}", d.decision, d.deciding.join(" ")))?,
            _ => out.line(&d.json)?,
        }
    }
    out.finish()?;
    Ok(0)
}

/// The subjects that count as one with this one.
fn unit(store: &dyn Store, subject: &str) -> Result<Vec<String>, Failure> {
    let group = store.group(subject)?;
    Ok(match identity::stands(&group, subject) {
        Stands::Itself { members, .. } => members,
        Stands::AttachedTo(root) => match identity::stands(&group, &root) {
            Stands::Itself { members, .. } => members,
            Stands::AttachedTo(_) => vec![root],
        },
    })
}

/// May the records of `other` count for `goes_on`?
///
/// Whoever was randomized keeps the name under which that happened, and two who were randomized keep
/// their data apart: which allocation counts is a question to the trial, not to the software.
fn permitted(shell: &Shell, store: &dyn Store, goes_on: &str, other: &str, by: &str) -> Result<(), Failure> {
    let allocated = |subjects: Vec<String>| -> Result<Option<Allocation>, Failure> {
        for subject in subjects {
            if let Some(found) = store.allocation_of(&shell.trial.study.id, &subject)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    };
    let (first, second) = (unit(store, goes_on)?, unit(store, other)?);
    if first.iter().any(|s| second.contains(s)) {
        return Ok(());
    }
    match (allocated(first)?, allocated(second)?) {
        (Some(a), Some(b)) => {
            let at = stamp(now());
            let opened = vec![
                questions::enrolled_twice(&a, &b.subject, by, &at),
                questions::enrolled_twice(&b, &a.subject, by, &at),
            ];
            store.open_deviations(opened)?;
            let hint =
                "`trialbridge deviation list`; report it to the sponsor, who decides which allocation counts";
            Err(Failure::new(
                exit::NOT_PERMITTED,
                "two allocations: the data stay apart; a deviation is open on each",
                hint,
            ))
        }
        (None, Some(b)) => {
            let hint = format!("`trialbridge identity resolve {} {goes_on} --same …`", b.subject);
            let text = format!("{other} was randomized and {goes_on} was not: the randomized one goes on");
            Err(Failure::new(exit::NOT_PERMITTED, text, hint))
        }
        _ => Ok(()),
    }
}

/// What was answered before.
fn answered(store: &dyn Store, subject: &str, other: &str) -> Result<&'static str, Failure> {
    let said = store.records_by_ids(&[answer_key(subject, other)])?;
    let newest: Option<serde_json::Value> =
        said.iter().find(|r| r.is_usable()).and_then(|r| serde_json::from_slice(&r.body).ok());
    Ok(match newest.as_ref().and_then(|linkage| linkage["active"].as_bool()) {
        Some(true) => "same",
        Some(false) => "different",
        None => "none",
    })
}

fn answer_key(subject: &str, other: &str) -> RecordKey {
    let id = questions::linkage_id(subject, other);
    RecordKey { source: OWN_SOURCE.into(), resource_type: "Linkage".into(), id }
}

/// Now, or just after the last answer about the two where a clock was set back: a later word is later.
fn moment(store: &dyn Store, subject: &str, other: &str) -> Result<DateTime<Utc>, Failure> {
    let said = store.records_by_ids(&[answer_key(subject, other)])?;
    let newest = said.iter().filter_map(|r| r.last_updated.as_deref()?.parse::<DateTime<Utc>>().ok()).max();
    let now = now();
    Ok(newest.map_or(now, |last| now.max(last + TimeDelta::milliseconds(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn an_answer_is_one_of_two() {
        let parse = |more: &[&str]| {
            let head = ["trialbridge", "identity", "resolve", "p1", "p2", "--by", "A", "--reason", "seen"];
            Cli::try_parse_from(head.iter().chain(more)).is_ok()
        };
        assert!(parse(&["--same"]) && parse(&["--different"]));
        assert!(!parse(&[]) && !parse(&["--same", "--different"]));
    }

    #[test]
    fn a_question_in_a_table_names_both() {
        let q = Question {
            kind: "merged".into(),
            subject: "Patient/p1".into(),
            other: "Patient/p2".into(),
            since: None,
            blocks: vec!["Patient/p1".into(), "Patient/p2".into()],
            allocated: vec!["Patient/p1".into()],
        };
        assert_eq!(row(&q).join("|"), "merged|Patient/p1|Patient/p2||Patient/p1 Patient/p2|Patient/p1");
        let keys = json!({"kind": "merged", "since": null, "allocated": ["Patient/p1"]});
        let shown = serde_json::to_value(&q).expect("JSON");
        for (key, value) in keys.as_object().expect("an object") {
            assert_eq!(shown[key], *value, "{key}");
        }
    }
}
