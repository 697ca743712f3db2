//! `allocation`: the sealed list. `status` says nothing from which an arm could be guessed.

use super::output::Out;
use super::shell::{Shell, is_inside, now};
use super::sign::sign;
use super::{Failure, Global, Outcome, Output, exit};
use crate::access::Permission;
use crate::draw;
use crate::pipeline::{detail, stamp};
use crate::randomize::seal::{self, Header, Order, SealError, SealedList, SealedSeed, SealedSlot};
use crate::randomize::{Arms, Digest, Scheme, SealKey, Seed};
use crate::store::{AllocationList, NewAllocationList, NewAudit, NewSlot, Store};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

mod close;
mod correct;

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Draw up the list from a fresh seed and seal it
    Generate(GenerateArguments),
    /// Whether there is a list, its commitment, how many are allocated
    Status,
    /// Open everything, compare with the commitment; tells no arm
    Verify,
    /// Print seed and list, at the end of the trial
    Reveal(RevealArguments),
    /// Say that somebody should not have been randomized; the allocation stays
    MarkInError(correct::MarkArguments),
    /// Keep the right levels beside those as randomized; the allocation stays
    CorrectStratum(correct::StratumArguments),
    /// Stop randomization in this trial
    Close(close::Arguments),
    /// Resume it
    Reopen(close::Arguments),
}

#[derive(Args, Debug)]
pub struct GenerateArguments {
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub by: String,
}

#[derive(Args, Debug)]
pub struct RevealArguments {
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// The public part of a list, as stored.
#[derive(Serialize, Deserialize)]
struct Public {
    header: Header,
    sealed_seed: SealedSeed,
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    let shell = Shell::new(global)?;
    match command {
        Command::Generate(a) => {
            super::attest::signed(&a.by)?;
            let store = shell.open("allocation generate")?;
            let list = generate(&shell, &*store, &a.by)?;
            global.note(&format!("key file: {}", key_path(&shell).display()));
            print(global, &shell, &*store, Some(list))
        }
        Command::Status => {
            let store = shell.look()?;
            let list = store.allocation_list(&shell.trial.study.id)?;
            print(global, &shell, &*store, list)
        }
        Command::Verify => verify(global, &shell),
        Command::Reveal(a) => reveal(&shell, a),
        Command::MarkInError(a) => correct::mark(global, &shell, a),
        Command::CorrectStratum(a) => correct::stratum(global, &shell, a),
        Command::Close(a) => close::close(global, &shell, a),
        Command::Reopen(a) => close::reopen(global, &shell, a),
    }
}

/// The key that opens the list: outside the data directory, so that a copy of the data opens nothing.
pub fn key_path(shell: &Shell) -> PathBuf {
    shell.config.allocation.key_file.clone().unwrap_or_else(|| {
        let mut name = shell.config.data_dir.as_os_str().to_owned();
        name.push(".allocation-key");
        PathBuf::from(name)
    })
}

/// Reads the key. It must be its owner's alone and lie outside the data directory.
pub fn read_key(shell: &Shell) -> Result<SealKey, Failure> {
    let path = key_path(shell);
    let refuse = |text: String, hint: &str| Failure::new(exit::CONFIG, text, hint);
    if is_inside(&path, &shell.config.data_dir) {
        let text = format!("the key file {} lies in the data directory", path.display());
        return Err(refuse(
            text,
            "keep it elsewhere: whoever copies the data must not be able to open the list",
        ));
    }
    let text = fs::read_to_string(&path).map_err(|e| {
        let text = format!("the key file {} cannot be read: {e}", path.display());
        refuse(text, "set [allocation] key_file; without the key nobody can be randomized")
    })?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path)?.permissions().mode();
        if mode & 0o077 != 0 {
            let text = format!("the key file {} can be read by others", path.display());
            return Err(refuse(text, "chmod 600"));
        }
    }
    SealKey::from_hex(text.trim())
        .map_err(|_| refuse(format!("{} is not 64 hexadecimal digits", path.display()), ""))
}

/// Makes a key where there is none.
fn make_key(shell: &Shell) -> Result<SealKey, Failure> {
    let path = key_path(shell);
    if path.exists() {
        return read_key(shell);
    }
    if is_inside(&path, &shell.config.data_dir) {
        return read_key(shell);
    }
    let mut bytes = [0u8; 32];
    entropy(&mut bytes)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = options.open(&path).and_then(|mut file| {
        writeln!(file, "{}", crate::protocol::document::hex(&bytes))?;
        file.sync_all()
    });
    written.map_err(|e| {
        let text = format!("the key file {} cannot be written: {e}", path.display());
        Failure::new(exit::CONFIG, text, "set [allocation] key_file to a place outside the data directory")
    })?;
    Ok(SealKey::new(bytes))
}

fn entropy(bytes: &mut [u8; 32]) -> Result<(), Failure> {
    getrandom::fill(bytes)
        .map_err(|_| Failure::problem("the machine gives no random bytes; nothing was generated"))
}

/// Draws up, seals and stores the list.
pub fn generate(shell: &Shell, store: &dyn Store, by: &str) -> Result<AllocationList, Failure> {
    let trial = &shell.trial;
    let Some(allocation) = &trial.allocation else {
        return Err(Failure::new(exit::CONFIG, "the trial has no [allocation]", "nobody can be randomized"));
    };
    if store.allocation_list(&trial.study.id)?.is_some() {
        let text = "this trial has its list already; a second one would undo the first";
        return Err(Failure::new(exit::NOT_PERMITTED, text, "`trialbridge allocation status`"));
    }
    let key = make_key(shell)?;
    let (mut seed, mut nonce, mut id) = ([0u8; 32], [0u8; 32], [0u8; 32]);
    for bytes in [&mut seed, &mut nonce, &mut id] {
        entropy(bytes)?;
    }
    let wrong =
        |e: String| Failure::new(exit::CONFIG, e, "`trialbridge check` explains the allocation section");
    let arms = Arms::new(trial.arms.iter().map(|a| a.name.clone())).map_err(|e| wrong(e.to_string()))?;
    let scheme = Scheme::PermutedBlocks { sizes: allocation.block_sizes.clone() };
    let id = format!("list-{}", crate::protocol::document::hex(&id[..8]));
    let order = Order {
        id: &id,
        trial: &trial.study.id,
        definition: definition(&trial.hash)?,
        scheme: &scheme,
        arms: &arms,
        total: allocation.total,
    };
    let list = seal::seal(&order, &Seed::new(seed), &key, &nonce).map_err(|e| wrong(e.to_string()))?;
    let commitment = list.header.commitment.to_string();
    let at = stamp(now());
    let text = |value: Result<String, serde_json::Error>| value.map_err(|e| Failure::problem(e.to_string()));
    let slots = list
        .slots
        .iter()
        .map(|s| {
            let sealed = text(serde_json::to_string(s))?.into_bytes();
            Ok(NewSlot { stratum: 0, position: s.position.into(), sealed })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let plan = draw::plan(trial).map(|plan| draw::plan_hash(&plan)).unwrap_or_default();
    let record = serde_json::json!({
        "trial": trial.study.id, "list": id, "commitment": commitment, "definition": trial.hash, "plan": plan
    });
    let signature = sign(shell, store, by, Permission::ManageList, "allocation-list", None, record)?;
    let public = Public { header: list.header, sealed_seed: list.sealed_seed };
    store.put_allocation_list(NewAllocationList {
        id: id.clone(),
        trial: trial.study.id.clone(),
        definition: trial.hash.clone(),
        plan,
        commitment: commitment.clone(),
        total: allocation.total.into(),
        created_at: at.clone(),
        json: text(serde_json::to_string(&public))?,
        slots,
        audit: NewAudit {
            at,
            actor: signature.actor.clone(),
            role: signature.role.clone(),
            action: "allocation.generate".into(),
            subject: None,
            detail: detail(&[("list", &id), ("commitment", &commitment), ("definition", &trial.hash)]),
        },
        signature,
    })?;
    store
        .allocation_list(&trial.study.id)?
        .ok_or_else(|| Failure::problem("the list was stored and is not there: run `trialbridge verify`"))
}

fn definition(hash: &str) -> Result<Digest, Failure> {
    hash.parse().map_err(|_| Failure::problem("the definition's hash is not a SHA-256"))
}

#[derive(Serialize)]
struct Status {
    schema: &'static str,
    list: Option<String>,
    commitment: Option<String>,
    definition: Option<String>,
    created: Option<String>,
    planned: Option<i64>,
    allocated: usize,
}

fn print(global: &Global, shell: &Shell, store: &dyn Store, list: Option<AllocationList>) -> Outcome {
    let allocated = store.allocations(&shell.trial.study.id)?.len();
    let status = Status {
        schema: "trialbridge/allocation-status/v1",
        list: list.as_ref().map(|l| l.id.clone()),
        commitment: list.as_ref().map(|l| l.commitment.clone()),
        definition: list.as_ref().map(|l| l.definition.clone()),
        created: list.as_ref().map(|l| l.created_at.clone()),
        planned: list.as_ref().map(|l| l.total),
        allocated,
    };
    let mut out = Out::new();
    if global.output() == Output::Table {
        match &list {
            None => out.line("no list yet: trialbridge allocation generate")?,
            Some(l) => {
                out.line(&format!("list         {} of {}", l.id, l.created_at))?;
                out.line(&format!("commitment   {}", l.commitment))?;
                out.line(&format!("definition   {}", l.definition))?;
                out.line(&format!("allocated    {allocated} of {}", l.total))?;
            }
        }
    } else {
        out.json(&status)?;
    }
    out.finish()?;
    Ok(0)
}

fn sealed(store: &dyn Store, trial: &str) -> Result<SealedList, Failure> {
    let Some(list) = store.allocation_list(trial)? else {
        return Err(Failure::new(
            exit::NOT_PERMITTED,
            "this trial has no list yet",
            "trialbridge allocation generate",
        ));
    };
    let broken = |what: &str| {
        Failure::new(exit::UNVERIFIED, format!("the stored list is damaged: {what}"), "restore a backup")
    };
    let public: Public = serde_json::from_str(&list.json).map_err(|_| broken("its public part"))?;
    if public.header.commitment.to_string() != list.commitment {
        return Err(broken("its commitment"));
    }
    let slots = store
        .sealed_slots(&list.id)?
        .iter()
        .map(|s| serde_json::from_slice(s).map_err(|_| broken("a slot")))
        .collect::<Result<Vec<SealedSlot>, _>>()?;
    Ok(SealedList { header: public.header, slots, sealed_seed: public.sealed_seed })
}

fn unverified(error: &SealError) -> Failure {
    Failure::new(exit::UNVERIFIED, error.to_string(), "nobody should be randomized until this is understood")
}

fn verify(global: &Global, shell: &Shell) -> Outcome {
    let store = shell.look()?;
    let list = sealed(&*store, &shell.trial.study.id)?;
    let key = read_key(shell)?;
    seal::verify_sealed(&list, &key).map_err(|e| unverified(&e))?;
    let allocations = store.allocations(&shell.trial.study.id)?;
    if let Some(text) = draw::unproved(&*store, &shell.trial.study.id)?.into_iter().next() {
        return Err(Failure::new(exit::UNVERIFIED, text, "the database was changed: restore a backup"));
    }
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!(
            "ok  list {}: {} slots sealed as committed, {} allocations proved",
            list.header.id,
            list.slots.len(),
            allocations.len()
        ))?;
    } else {
        out.json(&serde_json::json!({
            "schema": "trialbridge/allocation-verify/v1", "list": list.header.id,
            "commitment": list.header.commitment.to_string(), "slots": list.slots.len(),
            "allocations": allocations.len(), "verified": true
        }))?;
    }
    out.finish()?;
    Ok(0)
}

fn reveal(shell: &Shell, a: &RevealArguments) -> Outcome {
    super::attest::signed(&a.by)?;
    if a.reason.trim().is_empty() {
        return Err(Failure::new(exit::USAGE, "a list is not opened without a reason", "--reason TEXT"));
    }
    let store = shell.open("allocation reveal")?;
    let list = sealed(&*store, &shell.trial.study.id)?;
    let key = read_key(shell)?;
    let revealed = seal::reveal(&list, &key).map_err(|e| unverified(&e))?;
    store.append_audit(NewAudit {
        at: stamp(now()),
        actor: a.by.clone(),
        role: "statistician".into(),
        action: "allocation.reveal".into(),
        subject: None,
        detail: detail(&[("list", &list.header.id), ("reason", &a.reason)]),
    })?;
    let slots: Vec<_> = revealed
        .slots
        .iter()
        .map(|s| serde_json::json!({"position": s.position, "block": s.block, "arm": revealed.arms.names()[s.arm]}))
        .collect();
    let mut out = Out::new();
    out.json(&serde_json::json!({
        "schema": "trialbridge/allocation-reveal/v1", "list": list.header.id,
        "commitment": list.header.commitment.to_string(),
        "seed": crate::protocol::document::hex(revealed.seed.expose()), "slots": slots
    }))?;
    out.finish()?;
    Ok(0)
}
