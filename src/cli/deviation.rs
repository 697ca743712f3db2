//! `deviation`: what happened to the data behind an allocation after it was made, and that somebody
//! has seen it. The allocation stays as it is, whatever is acknowledged.

use super::output::{Out, table};
use super::shell::{Shell, now};
use super::sign::sign;
use super::{Failure, Global, Outcome, Output, exit};
use crate::access::Permission;
use crate::pipeline::{detail, stamp};
use crate::store::{Deviation, DeviationState, NewAudit, Word};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Open deviations, oldest first
    List(ListArguments),
    /// Somebody has seen it, and says what becomes of it
    Acknowledge(Arguments),
}

#[derive(Args, Debug)]
pub struct ListArguments {
    /// Those that were acknowledged as well
    #[arg(long)]
    pub all: bool,
}

#[derive(Args, Debug)]
pub struct Arguments {
    pub id: i64,
    /// Who acknowledges it
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    match command {
        Command::List(a) => list(global, a),
        Command::Acknowledge(a) => acknowledge(global, a),
    }
}

fn list(global: &Global, a: &ListArguments) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.look()?;
    let all = store.deviations((!a.all).then_some(DeviationState::Open))?;
    let mut out = Out::new();
    match global.output() {
        Output::Table => {
            let rows: Vec<Vec<String>> = all.iter().map(row).collect();
            let header = ["id", "subject", "kind", "reference", "since", "state"];
            out.line(table(&header, &rows).trim_end())?;
        }
        Output::Json => out.json(&all.iter().map(shown).collect::<Vec<_>>())?,
        Output::Ndjson => all.iter().try_for_each(|d| out.json(&shown(d)))?,
    }
    out.finish()?;
    Ok(0)
}

fn row(d: &Deviation) -> Vec<String> {
    vec![
        d.id.to_string(),
        d.subject.clone(),
        d.kind.clone(),
        d.reference.clone(),
        d.opened_at.clone(),
        d.state.word().to_owned(),
    ]
}

fn shown(d: &Deviation) -> Value {
    json!({
        "id": d.id, "subject": d.subject, "allocation": d.allocation_id, "openedAt": d.opened_at,
        "kind": d.kind, "reference": d.reference, "state": d.state.word(),
        "detail": serde_json::from_str::<Value>(&d.detail).unwrap_or_else(|_| d.detail.clone().into())
    })
}

fn acknowledge(global: &Global, a: &Arguments) -> Outcome {
    let shell = Shell::new(global)?;
    super::attest::signed(&a.by)?;
    if a.reason.trim().is_empty() {
        return Err(Failure::new(exit::USAGE, "an acknowledgement has a reason", "--reason TEXT"));
    }
    let store = shell.open("deviation acknowledge")?;
    let all = store.deviations(None)?;
    let Some(found) = all.iter().find(|d| d.id == a.id && d.state == DeviationState::Open) else {
        let hint = "`trialbridge deviation list` names the open ones";
        return Err(Failure::new(exit::PROBLEMS, format!("no deviation {} is open", a.id), hint));
    };
    let record = json!({
        "deviation": found.id, "subject": found.subject, "allocation": found.allocation_id,
        "openedAt": found.opened_at, "kind": found.kind, "reference": found.reference,
        "detail": found.detail, "reason": a.reason
    });
    let meaning = "deviation.acknowledge";
    let subject = Some(found.subject.as_str());
    let signature = sign(&shell, &*store, &a.by, Permission::ResolveQuestions, meaning, subject, record)?;
    let audit = NewAudit {
        at: stamp(now()),
        actor: a.by.clone(),
        role: signature.role.clone(),
        action: meaning.into(),
        subject: Some(found.subject.clone()),
        detail: detail(&[
            ("deviation", &a.id.to_string()),
            ("kind", &found.kind),
            ("before", found.state.word()),
            ("after", DeviationState::Acknowledged.word()),
            ("reason", &a.reason),
        ]),
    };
    store.acknowledge_deviation(a.id, signature, audit)?;
    let mut out = Out::new();
    let seen = Deviation { state: DeviationState::Acknowledged, ..found.clone() };
    match global.output() {
        Output::Table => out.line(&format!("deviation {} of {} is acknowledged", seen.id, seen.subject))?,
        _ => out.json(&shown(&seen))?,
    }
    out.finish()?;
    Ok(0)
}
