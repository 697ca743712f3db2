//! `allocation export`: the public bundle of the list, as a file. What is in it anyone may have.
//!
//! The same store gives the same bytes. There is no arm, no salt and no participant in it, and not the recipe
//! as sealed to the service's key.

use super::super::output::Out;
use super::super::shell::Shell;
use super::super::{Failure, Global, Outcome, exit};
use super::{keygen, sealed};
use crate::audit::{Entry, Head};
use crate::randomize::bundle::{Allocated, Bundle};
use crate::randomize::{Digest, SealedList};
use crate::store::chain::entry;
use crate::store::{Allocation, EventKind, Store};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Default: standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The form of a [`BundleFile`].
const FORMAT: &str = "trialbridge/allocation-bundle/v1";
/// More than a bundle of the longest list can need.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;

/// A bundle with what the audit log says of its list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BundleFile {
    /// [`FORMAT`].
    pub format: String,
    pub bundle: Bundle,
    pub audit: Recorded,
}

/// What the audit log holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorded {
    /// The entry with which the list was made; it names the commitment.
    pub commitment: Entry,
    /// The end of the log when the bundle was made.
    pub head: Head,
}

pub(super) fn run(global: &Global, shell: &Shell, a: &Arguments) -> Outcome {
    let store = shell.look()?;
    let list = sealed(&*store, &shell.trial.study.id)?;
    let file = BundleFile {
        format: FORMAT.to_owned(),
        audit: recorded(&*store, &list.public.header.id)?,
        bundle: bundle(&*store, &shell.trial.study.id, list)?,
    };
    let text = serde_json::to_string(&file).map_err(|e| Failure::problem(e.to_string()))?;
    match &a.out {
        Some(path) => {
            keygen::write_new(path, text.as_bytes(), "the bundle")?;
            global.note(&format!("{} allocations in {}", file.bundle.allocations.len(), path.display()));
        }
        None => {
            let mut out = Out::new();
            out.line(&text)?;
            out.finish()?;
        }
    }
    Ok(0)
}

/// The bundle of the trial's list.
pub(super) fn bundle(store: &dyn Store, trial: &str, list: SealedList) -> Result<Bundle, Failure> {
    let mut allocations = store.allocations(trial)?;
    allocations.sort_by_key(|a| a.number);
    let allocations = allocations.iter().map(allocated).collect::<Option<Vec<_>>>();
    let allocations = allocations.ok_or_else(|| damaged("an allocation"))?;
    let mut definitions = Vec::new();
    for event in store.allocation_events(trial)? {
        if event.kind == EventKind::DefinitionSigned {
            let detail: BTreeMap<String, String> =
                serde_json::from_str(&event.detail).map_err(|_| damaged("a signed definition"))?;
            let hash = detail.get("definition").and_then(|hash| hash.parse::<Digest>().ok());
            definitions.push(hash.ok_or_else(|| damaged("a signed definition"))?);
        }
    }
    let public = list.public;
    Ok(Bundle {
        header: public.header,
        slots: list.slots,
        sealed_recipes: public.sealed_recipes,
        definitions,
        allocations,
    })
}

fn allocated(a: &Allocation) -> Option<Allocated> {
    Some(Allocated {
        number: a.number.try_into().ok()?,
        id: a.id.clone(),
        stratum: a.stratum.try_into().ok()?,
        position: a.position.try_into().ok()?,
        at: a.at.clone(),
        definition: a.definition.parse().ok()?,
        levels: serde_json::from_str(&a.levels).ok()?,
        leaf: match a.leaf.as_str() {
            "" => None,
            leaf => Some(leaf.parse().ok()?),
        },
        proof: serde_json::from_str(&a.proof).ok()?,
    })
}

fn damaged(what: &str) -> Failure {
    Failure::new(exit::UNVERIFIED, format!("the store is damaged: {what} cannot be read"), "restore a backup")
}

/// The audit entry with which a list was made, and the end of the log.
pub(super) fn recorded(store: &dyn Store, list: &str) -> Result<Recorded, Failure> {
    let (mut from, mut commitment) = (1, None);
    loop {
        let rows = store.audit_entries(from, 1000)?;
        let Some(last) = rows.last() else { break };
        from = last.sequence + 1;
        let made = rows.iter().filter(|row| row.entry.action.starts_with("allocation."));
        for found in made.filter_map(entry).filter(|e| is_making(e, list)) {
            commitment.get_or_insert(found);
        }
    }
    let head = store.audit_head()?.as_ref().and_then(entry).ok_or_else(|| damaged("the audit log"))?;
    let commitment = commitment.ok_or_else(|| damaged("the audit entry with which the list was made"))?;
    Ok(Recorded { commitment, head: head.head() })
}

fn is_making(entry: &Entry, list: &str) -> bool {
    matches!(entry.action.as_str(), "allocation.generate" | "allocation.import")
        && entry.detail.get("list").is_some_and(|id| id == list)
}

/// Reads a bundle, and checks that the audit entry in it is about its list and was not edited.
pub(super) fn read(path: &Path) -> Result<BundleFile, Failure> {
    let file: BundleFile = read_json(path, "a bundle of `allocation export`")?;
    if file.format != FORMAT {
        let text = format!("{}: the form of the bundle is not {FORMAT}", path.display());
        return Err(Failure::new(exit::USAGE, text, "use the program of the version that exported it"));
    }
    let entry = &file.audit.commitment;
    let header = &file.bundle.header;
    let named = entry.detail.get("commitment").is_some_and(|c| *c == header.commitment.to_string());
    let within = entry.sequence <= file.audit.head.sequence;
    if entry.hash != entry.computed_hash() || !is_making(entry, &header.id) || !named || !within {
        let text = "the audit entry in the bundle is not that of this list with this commitment";
        return Err(Failure::new(exit::UNVERIFIED, text, "export the bundle again"));
    }
    Ok(file)
}

/// Reads a file of JSON that is not longer than any that we write.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T, Failure> {
    let unreadable = |text: String| Failure::new(exit::USAGE, format!("{}: {text}", path.display()), "");
    let length = fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if length > MOST_BYTES {
        return Err(unreadable(format!("{length} bytes are more than {what} can have")));
    }
    let bytes = zeroize::Zeroizing::new(fs::read(path).map_err(|e| unreadable(e.to_string()))?);
    // The reader's own words could repeat what stands there.
    serde_json::from_slice(&bytes).map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        Failure::new(exit::UNVERIFIED, format!("{}: not {what}: {place}", path.display()), "")
    })
}
