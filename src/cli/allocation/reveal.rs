//! `allocation reveal`: all that was hidden, at the end of the trial.
//!
//! From a bundle with the statistician's key: offline, without store, configuration or network. From the
//! store with the service's key: signed, for roles that may reveal the list.

use super::super::output::Out;
use super::super::shell::{Shell, now};
use super::super::sign::{reason, sign};
use super::super::{Failure, Global, Outcome};
use super::verify::faulty;
use super::{export, keygen, read_key, sealed, unverified};
use crate::access::Permission;
use crate::pipeline::{detail, stamp};
use crate::randomize::bundle::{self, RevealedList};
use crate::randomize::seal;
use crate::store::NewAudit;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A bundle of `allocation export`: works without a store
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with_all = ["by", "reason"])]
    pub bundle: Option<PathBuf>,
    /// The statistician's key file
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub key: Option<PathBuf>,
    /// Default: standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Who opens the list of the store
    #[arg(long, value_name = "NAME", required_unless_present = "bundle")]
    pub by: Option<String>,
    #[arg(long, value_name = "TEXT", required_unless_present = "bundle")]
    pub reason: Option<String>,
}

/// The offline form, where it was asked for.
pub(super) fn offline(global: &Global, a: &Arguments) -> Option<Outcome> {
    let (Some(file), Some(key)) = (&a.bundle, &a.key) else { return None };
    Some(from_bundle(global, file, key, a.out.as_deref()))
}

fn from_bundle(global: &Global, file: &Path, key: &Path, out: Option<&Path>) -> Outcome {
    let file = export::read(file)?;
    let secret = keygen::read_file(key)?;
    let list = bundle::reveal(&file.bundle, &secret).map_err(|fault| faulty(&fault))?;
    write(global, &list, out)
}

pub(super) fn run(global: &Global, shell: &Shell, a: &Arguments) -> Outcome {
    let by = a.by.as_deref().unwrap_or_default();
    let reason = reason(shell, a.reason.as_deref().unwrap_or_default())?;
    let store = shell.open("allocation reveal")?;
    let list = sealed(&*store, &shell.trial.study.id)?;
    let key = read_key(shell)?;
    let id = list.public.header.id.clone();
    let record = json!({
        "trial": shell.trial.study.id, "list": id, "commitment": list.public.header.commitment.to_string(),
        "reason": reason
    });
    let signature = sign(shell, &*store, by, Permission::RevealList, "reveal", None, record)?;
    let revealed = seal::reveal(&list.public, &key).map_err(|e| unverified(&e))?;
    let bundle = export::bundle(&*store, &shell.trial.study.id, list)?;
    let revealed = bundle::revealed_list(&bundle, &revealed).map_err(|fault| faulty(&fault))?;
    let audit = NewAudit {
        at: stamp(now()),
        actor: signature.actor.clone(),
        role: signature.role.clone(),
        action: "allocation.reveal".into(),
        subject: None,
        detail: detail(&[("list", &id), ("reason", reason)]),
    };
    // What is signed is on disk before anything is shown.
    store.sign(signature, vec![audit])?;
    write(global, &revealed, a.out.as_deref())
}

fn write(global: &Global, list: &RevealedList, out: Option<&Path>) -> Outcome {
    let text = serde_json::to_string(list).map_err(|e| Failure::problem(e.to_string()))?;
    let text = Zeroizing::new(text);
    match out {
        Some(path) => {
            keygen::write_new(path, text.as_bytes(), "the revealed list")?;
            global.note(&format!(
                "{} slots and {} allocations in {}: whoever has this file knows every arm",
                list.slots.len(),
                list.allocations.len(),
                path.display()
            ));
        }
        None => {
            let mut out = Out::new();
            out.line(&text)?;
            out.finish()?;
        }
    }
    Ok(0)
}
