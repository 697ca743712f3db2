//! `allocation mark-in-error` and `allocation correct-stratum`: what is said about an allocation that was
//! made on something wrong. The allocation stays as it is.

use crate::access::Permission;
use crate::cli::output::Out;
use crate::cli::shell::{Shell, subject};
use crate::cli::sign::{reason, sees, sign};
use crate::cli::unblind::allocated;
use crate::cli::{Failure, Global, Outcome, Output, exit};
use crate::draw::{self, Corrected};
use crate::store::{Allocation, AllocationEvent, StoreError, Word};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Args, Debug)]
pub struct MarkArguments {
    pub subject: String,
    /// Who says so
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Args, Debug)]
pub struct StratumArguments {
    pub subject: String,
    /// A factor and its right level; may be given again
    #[arg(long, value_name = "NAME=LEVEL", required = true)]
    pub factor: Vec<String>,
    /// Who says so
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

pub(super) fn mark(global: &Global, shell: &Shell, a: &MarkArguments) -> Outcome {
    let (key, reason) = (subject(&a.subject)?, reason(shell, &a.reason)?);
    let store = shell.open("allocation mark-in-error")?;
    let allocation = allocated(shell, &*store, &key)?;
    let record = json!({
        "trial": shell.trial.study.id, "subject": key, "allocation": allocation.id, "reason": reason
    });
    let signature =
        sign(shell, &*store, &a.by, Permission::CorrectAllocation, "mark-in-error", Some(&key), record)?;
    sees(shell, &*store, &a.by, &key)?;
    let event = draw::mark_in_error(&*store, &shell.trial, &allocation, reason, signature);
    said(global, &a.by, Some(&allocation), event)
}

pub(super) fn stratum(global: &Global, shell: &Shell, a: &StratumArguments) -> Outcome {
    let (key, reason) = (subject(&a.subject)?, reason(shell, &a.reason)?);
    let corrected = corrected(shell, &a.factor)?;
    let store = shell.open("allocation correct-stratum")?;
    let allocation = allocated(shell, &*store, &key)?;
    let levels: BTreeMap<&str, &str> =
        corrected.iter().map(|c| (c.factor.as_str(), c.level.as_str())).collect();
    let record = json!({
        "trial": shell.trial.study.id, "subject": key, "allocation": allocation.id, "levels": levels,
        "reason": reason
    });
    let signature =
        sign(shell, &*store, &a.by, Permission::CorrectAllocation, "correct-stratum", Some(&key), record)?;
    sees(shell, &*store, &a.by, &key)?;
    let event = draw::correct_stratum(&*store, &shell.trial, &allocation, &corrected, reason, signature);
    said(global, &a.by, Some(&allocation), event)
}

/// The levels given, of factors that the trial has.
fn corrected(shell: &Shell, given: &[String]) -> Result<Vec<Corrected>, Failure> {
    let factors = shell.trial.plan().map(|plan| plan.factors).unwrap_or_default();
    let wrong = |text: String, hint: String| Failure::new(exit::USAGE, text, hint);
    let names: Vec<&str> = factors.iter().map(|f| f.name.as_str()).collect();
    let mut corrected: Vec<Corrected> = Vec::new();
    for text in given {
        let Some((name, level)) = text.split_once('=') else {
            return Err(wrong("--factor is not NAME=LEVEL".into(), String::new()));
        };
        let Some(factor) = factors.iter().find(|f| f.name == name) else {
            let hint = match names.is_empty() {
                true => "this trial has no factors, and so one stratum".to_owned(),
                false => format!("factors: {}", names.join(", ")),
            };
            return Err(wrong("the trial has no such factor".into(), hint));
        };
        if !factor.levels.iter().any(|known| known == level) {
            let text = format!("factor {name} has no such level");
            return Err(wrong(text, format!("levels: {}", factor.levels.join(", "))));
        }
        if corrected.iter().any(|c| c.factor == name) {
            return Err(wrong(format!("factor {name} is given twice"), String::new()));
        }
        corrected.push(Corrected { factor: name.to_owned(), level: level.to_owned() });
    }
    Ok(corrected)
}

/// Prints what was said; or why there was nothing to say, as an exit code.
pub(super) fn said(
    global: &Global,
    by: &str,
    allocation: Option<&Allocation>,
    event: Result<AllocationEvent, StoreError>,
) -> Outcome {
    let event = event.map_err(|e| match e {
        StoreError::Conflict { code, ref message, .. } => {
            Failure::new(exit::NOT_PERMITTED, format!("nothing was changed ({code}): {message}"), "")
        }
        other => Failure::from(other),
    })?;
    let mut out = Out::new();
    if global.output() == Output::Table {
        match allocation {
            Some(a) => {
                out.line(&format!("{} {}: allocation {}, which stays", a.subject, event.kind, a.id))?
            }
            None => out.line(&format!("{}: {}", event.trial, event.kind))?,
        }
    } else {
        out.json(&shown(&event, by))?;
    }
    out.finish()?;
    Ok(0)
}

/// An event as JSON.
fn shown(event: &AllocationEvent, by: &str) -> Value {
    json!({
        "schema": "trialbridge/allocation-event/v1", "trial": event.trial, "kind": event.kind.word(),
        "allocation": event.allocation_id, "at": event.at, "by": by, "signature": event.signature,
        "detail": crate::draw::event_detail(event)
    })
}
