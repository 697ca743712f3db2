//! `allocation import`: seals a list that the statistician drew up elsewhere.
//!
//! The file comes one way and its commitment another: a list that was exchanged on its way is refused. No
//! finding and no message repeats a cell of the file.

use super::super::output::Out;
use super::super::shell::Shell;
use super::super::{Failure, Global, Outcome, Output, attest, exit};
use super::generate::{Imported, keys, plan, put, say};
use super::status;
use crate::randomize::import::{self, Expected, Finding};
use crate::randomize::{Digest, Salt, Scheme};
use clap::Args;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The list as CSV: trial,environment,stratum,position,arm
    pub file: PathBuf,
    /// Who imports it, and signs for it
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// The commitment to the file, which the statistician sent by another way
    #[arg(long, value_name = "sha256:HEX")]
    pub commitment: String,
    /// The salt of the commitment
    #[arg(long, value_name = "HEX")]
    pub salt: String,
    /// The public key of a statistician, who can then open the list without this machine. May be repeated
    #[arg(long, value_name = "FILE|KEY")]
    pub statistician: Vec<String>,
}

/// More than the longest list that is accepted can need.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

pub(super) fn run(global: &Global, shell: &Shell, a: &Arguments) -> Outcome {
    attest::signed(&a.by)?;
    let usage = |text: &str| Failure::new(exit::USAGE, text, "as the statistician sent it");
    let commitment: Digest =
        a.commitment.parse().map_err(|_| usage("--commitment is not `sha256:` and 64 hexadecimal digits"))?;
    let salt = Salt::from_hex(&a.salt).map_err(|_| usage("--salt is not 64 hexadecimal digits"))?;
    let statisticians = keys(&a.statistician)?;
    let store = shell.open("allocation import")?;
    let plan = plan(shell, &*store)?;
    let Scheme::Imported { equal } = plan.scheme else {
        let text =
            format!("the trial's list is drawn up here: the scheme is `{}`", plan.scheme.public_name());
        return Err(Failure::new(exit::NOT_PERMITTED, text, "`trialbridge allocation generate`"));
    };
    let bytes = read(&a.file)?;
    if import::commitment(&salt, &bytes) != commitment {
        let text = "the file is not the one that the commitment was made for; nothing was imported";
        let hint =
            "compare file, commitment and salt with the statistician; the file may have been exchanged";
        return Err(Failure::new(exit::UNVERIFIED, text, hint));
    }
    let strata = plan.strata();
    let expected = Expected {
        trial: &shell.trial.study.id,
        environment: &shell.config.environment,
        arms: &plan.arms,
        strata: &strata,
        total: plan.total,
        equal,
    };
    let places = match import::read(&bytes, &expected) {
        Ok(places) => places,
        Err(findings) => return refused(global, &findings),
    };
    let file = commitment.to_string();
    let imported = Imported { places: &places, file: &file };
    let list = put(shell, &*store, &a.by, &plan, &statisticians, Some(&imported))?;
    global.note(&format!(
        "{} holds every arm in plain text: remove it from this machine now",
        a.file.display()
    ));
    say(global, shell, &statisticians);
    status::print(global, shell, &*store, Some(list))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let unreadable = |e: std::io::Error| {
        Failure::new(exit::PROBLEMS, format!("{} cannot be read: {e}", path.display()), "")
    };
    if fs::metadata(path).map_err(unreadable)?.len() > MOST_BYTES {
        let text = format!("{} is larger than any list", path.display());
        return Err(Failure::new(exit::PROBLEMS, text, "give the list alone"));
    }
    fs::read(path).map(Zeroizing::new).map_err(unreadable)
}

/// Prints what is wrong, row by row. Nothing was stored.
fn refused(global: &Global, findings: &[Finding]) -> Outcome {
    let mut out = Out::new();
    for finding in findings {
        match global.output() {
            Output::Table => out.line(&finding.to_string())?,
            _ => out.json(&json!({
                "schema": "trialbridge/allocation-import-finding/v1",
                "row": finding.row, "text": finding.what.to_string()
            }))?,
        }
    }
    out.finish()?;
    let text = format!("the list is refused with {} findings; nothing was imported", findings.len());
    Err(Failure::new(exit::PROBLEMS, text, "the statistician corrects the list and commits to it anew"))
}
