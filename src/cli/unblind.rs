//! `unblind`: breaks the blind of one participant. Needs the store and the key, and nothing of the
//! hospital's: it works while the FHIR server is down.

use super::output::Out;
use super::randomize::no_arm;
use super::shell::{Shell, subject};
use super::sign::{reason, sees, sign};
use super::{Failure, Global, Outcome, Output, allocation, exit};
use crate::access::Permission;
use crate::draw::{self, Category};
use crate::store::{Allocation, Store};
use clap::{Args, ValueEnum};
use serde_json::json;

#[derive(Args, Debug)]
pub struct Arguments {
    pub subject: String,
    /// Who is told the arm
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_enum)]
    pub category: Why,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Why {
    /// The patient's treatment depends on it, now
    Emergency,
    /// The protocol provides for it
    Planned,
    /// It has happened already
    Inadvertent,
}

impl From<Why> for Category {
    fn from(why: Why) -> Category {
        match why {
            Why::Emergency => Category::Emergency,
            Why::Planned => Category::Planned,
            Why::Inadvertent => Category::Inadvertent,
        }
    }
}

pub fn run(global: &Global, a: &Arguments) -> Outcome {
    let shell = Shell::new(global)?;
    let key = subject(&a.subject)?;
    let reason = reason(&shell, &a.reason)?;
    let category = Category::from(a.category);
    let store = shell.open("unblind")?;
    let allocation = allocated(&shell, &*store, &key)?;
    // Before anybody signs: without the key there is nothing to tell.
    let seal_key = allocation::read_key(&shell)?;
    let record = json!({
        "trial": shell.trial.study.id, "subject": key, "allocation": allocation.id,
        "category": category.name(), "reason": reason
    });
    let signature = sign(&shell, &*store, &a.by, Permission::Unblind, "unblind", Some(&key), record)?;
    sees(&shell, &*store, &a.by, &key)?;
    let at = signature.at.clone();
    let arm = draw::unblind(&*store, &shell.trial, &seal_key, &allocation, (category, reason), signature)
        .map_err(|e| no_arm(&e))?;
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!("{key} unblinded: allocation {}, {}", allocation.id, category.name()))?;
        out.line(&format!("arm: {}", arm.expose()))?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/unblinding/v1", "trial": shell.trial.study.id, "subject": key,
            "allocation": allocation.id, "category": category.name(), "at": at, "by": a.by,
            "arm": arm.expose()
        }))?;
    }
    out.finish()?;
    Ok(0)
}

/// The allocation of a subject.
pub fn allocated(shell: &Shell, store: &dyn Store, subject: &str) -> Result<Allocation, Failure> {
    store.allocation_of(&shell.trial.study.id, subject)?.ok_or_else(|| {
        let hint = "`trialbridge subjects -o table` says who is randomized";
        Failure::new(exit::NOT_PERMITTED, "this participant has no allocation (not-allocated)", hint)
    })
}
