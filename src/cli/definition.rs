//! `definition`: the trial definition that is in force. A list is made under one definition; another one
//! that gives the same list is put in force by a signature.

use super::output::Out;
use super::shell::Shell;
use super::sign::{reason, sign};
use super::{Failure, Global, Outcome, Output, exit};
use crate::access::Permission;
use crate::draw;
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Put the definition as it is loaded in force, for the list that there is
    Sign(Arguments),
}

#[derive(Args, Debug)]
pub struct Arguments {
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    let Command::Sign(a) = command;
    let shell = Shell::new(global)?;
    let reason = reason(&shell, &a.reason)?;
    let store = shell.open("definition sign")?;
    let trial = &shell.trial;
    let record = json!({
        "trial": trial.study.id, "definition": trial.hash, "version": trial.study.version, "reason": reason
    });
    let signature = sign(&shell, &*store, &a.by, Permission::SignDefinition, "definition", None, record)?;
    let event = draw::sign_definition(&*store, trial, reason, signature)?
        .map_err(|r| Failure::new(exit::NOT_PERMITTED, format!("not signed ({}): {}", r.code, r.text), ""))?;
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!("definition {} is in force for {}", trial.hash, trial.study.id))?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/definition-signed/v1", "trial": trial.study.id, "definition": trial.hash,
            "at": event.at, "by": a.by, "signature": event.signature
        }))?;
    }
    out.finish()?;
    Ok(0)
}
