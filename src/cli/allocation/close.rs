//! `allocation close` and `allocation reopen`: stops randomization in the trial, and resumes it.

use super::correct::said;
use crate::access::Permission;
use crate::cli::shell::Shell;
use crate::cli::sign::{reason, sign};
use crate::cli::{Global, Outcome};
use crate::draw;
use clap::Args;
use serde_json::json;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Who stops or resumes it
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

pub(super) fn close(global: &Global, shell: &Shell, a: &Arguments) -> Outcome {
    let reason = reason(shell, &a.reason)?;
    let store = shell.open("allocation close")?;
    let record = json!({"trial": shell.trial.study.id, "reason": reason});
    let signature = sign(shell, &*store, &a.by, Permission::ManageList, "close", None, record)?;
    said(global, &a.by, None, draw::close(&*store, &shell.trial, reason, signature))
}

pub(super) fn reopen(global: &Global, shell: &Shell, a: &Arguments) -> Outcome {
    let reason = reason(shell, &a.reason)?;
    let store = shell.open("allocation reopen")?;
    let record = json!({"trial": shell.trial.study.id, "reason": reason});
    let signature = sign(shell, &*store, &a.by, Permission::ManageList, "reopen", None, record)?;
    said(global, &a.by, None, draw::reopen(&*store, &shell.trial, reason, signature))
}
