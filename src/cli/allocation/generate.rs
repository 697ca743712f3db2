//! `allocation generate`: draws up the list from a fresh seed, seals and stores it. What `import` seals goes
//! the same way.
//!
//! One list a trial: a second one would undo the first.

use super::super::shell::{Shell, now};
use super::super::sign::sign;
use super::super::{Failure, Global, Outcome, attest, exit};
use super::{entropy, key_path, make_key, status};
use crate::access::Permission;
use crate::draw;
use crate::pipeline::{detail, stamp};
use crate::protocol::document::hex;
use crate::randomize::seal::{self, Entropy, Order};
use crate::randomize::statistician::StatisticianKey;
use crate::randomize::{Ephemeral, Place, Plan, Scheme, Seed};
use crate::store::{AllocationList, NewAllocationList, NewAudit, NewSlot, Store};
use clap::Args;
use std::fs;
use std::path::Path;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Who draws it up, and signs for it
    #[arg(long, value_name = "NAME", default_value = "operator")]
    pub by: String,
    /// The public key of a statistician, who can then open the list without this machine. May be repeated
    #[arg(long, value_name = "FILE|KEY")]
    pub statistician: Vec<String>,
}

pub(super) fn run(global: &Global, shell: &Shell, a: &Arguments) -> Outcome {
    attest::signed(&a.by)?;
    let statisticians = keys(&a.statistician)?;
    let store = shell.open("allocation generate")?;
    let list = generate(shell, &*store, &a.by, &statisticians)?;
    say(global, shell, &statisticians);
    status::print(global, shell, &*store, Some(list))
}

/// The keys that are named, each as a word or by a file that holds it.
///
/// # Errors
/// Exit code 10: a file that cannot be read, a key that is none, one key twice.
pub(super) fn keys(named: &[String]) -> Result<Vec<StatisticianKey>, Failure> {
    let mut keys: Vec<StatisticianKey> = Vec::new();
    for word in named {
        let hint = "`trialbridge allocation keygen` makes a pair; the public half is given here";
        let refuse = |text: String| Failure::new(exit::CONFIG, text, hint);
        let key = match word.parse::<StatisticianKey>() {
            Ok(key) => key,
            Err(_) if Path::new(word).exists() => {
                let text = fs::read_to_string(word)
                    .map_err(|e| refuse(format!("the key file {word} cannot be read: {e}")))?;
                text.trim().parse().map_err(|e| refuse(format!("{word}: {e}")))?
            }
            // What was given may be a secret: it is not repeated.
            Err(error) => return Err(refuse(format!("--statistician: {error}, or the name of its file"))),
        };
        if keys.contains(&key) {
            return Err(refuse(format!("the statistician's key {} is given twice", key.fingerprint())));
        }
        keys.push(key);
    }
    Ok(keys)
}

/// What whoever made a list has to know and do next.
pub(super) fn say(global: &Global, shell: &Shell, statisticians: &[StatisticianKey]) {
    global.note(&format!("key file: {}", key_path(shell).display()));
    for key in statisticians {
        global.note(&format!(
            "sealed to the statistician's key {}: compare it by telephone",
            key.fingerprint()
        ));
    }
    if statisticians.is_empty() {
        global.note("sealed to no statistician: if the key file is lost, nobody can open the list any more");
    }
    global.note(
        "before the first participant: `trialbridge allocation certificate`, signed and filed outside this \
         machine, or write the commitment down",
    );
}

/// Draws up, seals and stores the list.
///
/// # Errors
/// Exit code 17: there is a list already, the trial imports its list, or this name may not do it. 10: the
/// definition or the key file do not do.
pub fn generate(
    shell: &Shell,
    store: &dyn Store,
    by: &str,
    statisticians: &[StatisticianKey],
) -> Result<AllocationList, Failure> {
    let plan = plan(shell, store)?;
    if matches!(plan.scheme, Scheme::Imported { .. }) {
        let text = "the trial's list is drawn up elsewhere: the scheme is `imported`";
        return Err(Failure::new(exit::NOT_PERMITTED, text, "`trialbridge allocation import FILE`"));
    }
    put(shell, store, by, &plan, statisticians, None)
}

/// The trial's plan, where there is no list yet.
pub(super) fn plan(shell: &Shell, store: &dyn Store) -> Result<Plan, Failure> {
    let trial = &shell.trial;
    let Some(plan) = trial.plan() else {
        return Err(Failure::new(exit::CONFIG, "the trial has no [allocation]", "nobody can be randomized"));
    };
    if store.allocation_list(&trial.study.id)?.is_some() {
        let text = "this trial has its list already; a second one would undo the first";
        return Err(Failure::new(exit::NOT_PERMITTED, text, "`trialbridge allocation status`"));
    }
    Ok(plan)
}

/// A list that was made elsewhere.
pub(super) struct Imported<'a> {
    pub places: &'a [Place],
    /// The commitment to the file, as the statistician sent it.
    pub file: &'a str,
}

/// Seals and stores a list, with its signature and its audit entry.
pub(super) fn put(
    shell: &Shell,
    store: &dyn Store,
    by: &str,
    plan: &Plan,
    statisticians: &[StatisticianKey],
    imported: Option<&Imported<'_>>,
) -> Result<AllocationList, Failure> {
    let trial = &shell.trial;
    let key = make_key(shell)?;
    let (mut seed, mut nonce_seed, mut ephemeral, mut id) = ([0u8; 32], [0u8; 32], [0u8; 32], [0u8; 32]);
    for bytes in [&mut seed, &mut nonce_seed, &mut ephemeral, &mut id] {
        entropy(bytes)?;
    }
    let id = format!("list-{}", hex(&id[..8]));
    let definition =
        trial.hash.parse().map_err(|_| Failure::problem("the definition's hash is not a SHA-256"))?;
    let order = Order {
        id: &id,
        trial: &trial.study.id,
        definition,
        plan,
        imported: imported.map(|i| i.places),
        statisticians,
    };
    let fresh = Entropy { seed: Seed::new(seed), nonce_seed, ephemeral: Ephemeral::new(ephemeral) };
    let list = seal::seal(&order, &key, &fresh).map_err(|e| {
        Failure::new(exit::CONFIG, e.to_string(), "`trialbridge check` explains the allocation section")
    })?;
    let text = |value: Result<String, serde_json::Error>| value.map_err(|e| Failure::problem(e.to_string()));
    let slots = list
        .slots
        .iter()
        .map(|s| {
            let sealed = text(serde_json::to_string(s))?.into_bytes();
            Ok(NewSlot { stratum: s.stratum.into(), position: s.position.into(), sealed })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let commitment = list.public.header.commitment.to_string();
    let plan_hash = draw::list_hash(trial).unwrap_or_default();
    let keys: Vec<String> = statisticians.iter().map(StatisticianKey::id).collect();
    let mut record = serde_json::json!({
        "trial": trial.study.id, "list": id, "commitment": commitment, "definition": trial.hash,
        "plan": plan_hash, "environment": shell.config.environment, "statisticians": keys
    });
    let joined = keys.join(" ");
    let mut audited = vec![
        ("list", id.as_str()),
        ("commitment", &commitment),
        ("definition", &trial.hash),
        ("environment", &shell.config.environment),
        ("statisticians", &joined),
    ];
    let action = match imported {
        None => "allocation.generate",
        Some(imported) => {
            record["file"] = imported.file.into();
            audited.push(("file", imported.file));
            "allocation.import"
        }
    };
    let signature = sign(shell, store, by, Permission::ManageList, "allocation-list", None, record)?;
    let at = stamp(now());
    store.put_allocation_list(NewAllocationList {
        id: id.clone(),
        trial: trial.study.id.clone(),
        definition: trial.hash.clone(),
        plan: plan_hash,
        commitment: commitment.clone(),
        total: plan.total.into(),
        created_at: at.clone(),
        json: text(serde_json::to_string(&list.public))?,
        slots,
        audit: NewAudit {
            at,
            actor: signature.actor.clone(),
            role: signature.role.clone(),
            action: action.to_owned(),
            subject: None,
            detail: detail(&audited),
        },
        signature,
    })?;
    store
        .allocation_list(&trial.study.id)?
        .ok_or_else(|| Failure::problem("the list was stored and is not there: run `trialbridge verify`"))
}
