//! `allocation verify`: is the list as it was committed to, and does every allocation follow from it? Tells no
//! arm.
//!
//! From a bundle: offline, without key, store, configuration or network; with the revealed list everything is
//! worked out again. From the store: with the service's key.

use super::super::output::Out;
use super::super::shell::Shell;
use super::super::{Failure, Global, Outcome, Output, exit};
use super::{export, read_key, sealed, unverified};
use crate::draw;
use crate::randomize::bundle::{self, Fault, RevealedList};
use crate::randomize::{Digest, seal};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Arguments {
    /// A bundle of `allocation export`: works without a store
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// The list revealed: everything is worked out again from the seed
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub revealed: Option<PathBuf>,
    /// The commitment of the printed certificate
    #[arg(long, value_name = "sha256:HEX", requires = "bundle")]
    pub commitment: Option<Digest>,
    /// The trial definition of the printed certificate
    #[arg(long, value_name = "sha256:HEX", requires = "bundle")]
    pub definition: Option<Digest>,
}

/// The offline form, where it was asked for.
pub(super) fn offline(global: &Global, a: &Arguments) -> Option<Outcome> {
    a.bundle.as_ref().map(|file| from_bundle(global, file, a))
}

fn from_bundle(global: &Global, file: &Path, a: &Arguments) -> Outcome {
    let file = export::read(file)?;
    let found = bundle::verify(&file.bundle, a.commitment, a.definition).map_err(|f| faulty(&f))?;
    if let Some(path) = &a.revealed {
        let list: RevealedList = export::read_json(path, "a list of `allocation reveal`")?;
        bundle::verify_revealed(&file.bundle, &list).map_err(|f| faulty(&f))?;
    }
    let header = &file.bundle.header;
    let mut out = Out::new();
    if global.output() == Output::Table {
        let revealed = match a.revealed {
            Some(_) => ", every slot and every arm worked out again from the seed",
            None => "",
        };
        out.line(&format!(
            "ok  list {}: {} slots in order, {} allocations proved{revealed}",
            header.id, found.slots, found.allocations
        ))?;
        out.line(&format!("commitment {}", header.commitment))?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/allocation-verify/v1", "list": header.id,
            "commitment": header.commitment.to_string(), "definition": header.definition.to_string(),
            "slots": found.slots, "allocations": found.allocations, "revealed": a.revealed.is_some(),
            "audit": file.audit.head.to_string(), "verified": true
        }))?;
    }
    out.finish()?;
    if a.commitment.is_none() {
        global.note("compare the commitment with the printed certificate, or give it: --commitment sha256:…");
    }
    Ok(0)
}

pub(super) fn run(global: &Global, shell: &Shell) -> Outcome {
    let store = shell.look()?;
    let list = sealed(&*store, &shell.trial.study.id)?;
    let key = read_key(shell)?;
    seal::verify_sealed(&list, &key).map_err(|e| unverified(&e))?;
    let revealed = seal::reveal(&list.public, &key).map_err(|e| unverified(&e))?;
    if let Some(text) = draw::unproved(&*store, &shell.trial.study.id)?.into_iter().next() {
        return Err(Failure::new(exit::UNVERIFIED, text, "the database was changed: restore a backup"));
    }
    let (slots, header) = (list.slots.len(), list.public.header.clone());
    let bundle = export::bundle(&*store, &shell.trial.study.id, list)?;
    bundle::verify(&bundle, None, None).map_err(|fault| faulty(&fault))?;
    // Every arm follows from the list; none is told.
    drop(bundle::revealed_list(&bundle, &revealed).map_err(|fault| faulty(&fault))?);
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!(
            "ok  list {}: {slots} slots sealed as committed, {} allocations proved",
            header.id,
            bundle.allocations.len()
        ))?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/allocation-verify/v1", "list": header.id,
            "commitment": header.commitment.to_string(), "slots": slots,
            "allocations": bundle.allocations.len(), "verified": true
        }))?;
    }
    out.finish()?;
    Ok(0)
}

/// A bundle that does not verify.
pub(super) fn faulty(fault: &Fault) -> Failure {
    let code = match fault {
        Fault::Seal(seal::SealError::NotSealedTo { .. }) => exit::USAGE,
        _ => exit::UNVERIFIED,
    };
    Failure::new(
        code,
        fault.to_string(),
        "keep all files as they are, and tell the sponsor and the statistician",
    )
}
