//! `allocation status`: whether there is a list and how many are allocated. Nothing from which an arm could
//! be guessed: no position, no block, no number an arm or a stratum.

use super::super::output::Out;
use super::super::shell::Shell;
use super::super::{Global, Outcome, Output};
use crate::randomize::seal::Public;
use crate::randomize::statistician::fingerprint;
use crate::store::{AllocationList, Store};
use serde::Serialize;

#[derive(Serialize)]
struct Status {
    schema: &'static str,
    list: Option<String>,
    commitment: Option<String>,
    definition: Option<String>,
    created: Option<String>,
    /// `generated` or `imported`.
    origin: Option<&'static str>,
    /// Fingerprints of the statisticians' keys that open the list.
    statisticians: Vec<String>,
    planned: Option<i64>,
    allocated: usize,
}

pub(super) fn run(global: &Global, shell: &Shell) -> Outcome {
    let store = shell.look()?;
    let list = store.allocation_list(&shell.trial.study.id)?;
    print(global, shell, &*store, list)
}

pub(super) fn print(
    global: &Global,
    shell: &Shell,
    store: &dyn Store,
    list: Option<AllocationList>,
) -> Outcome {
    let allocated = store.allocations(&shell.trial.study.id)?.len();
    // Damage is found by `verify`; what can be said is said.
    let public = list.as_ref().and_then(|l| serde_json::from_str::<Public>(&l.json).ok());
    let status = Status {
        schema: "trialbridge/allocation-status/v1",
        list: list.as_ref().map(|l| l.id.clone()),
        commitment: list.as_ref().map(|l| l.commitment.clone()),
        definition: list.as_ref().map(|l| l.definition.clone()),
        created: list.as_ref().map(|l| l.created_at.clone()),
        origin: public.as_ref().map(|p| p.header.origin.name()),
        statisticians: public
            .map(|p| p.header.statisticians.iter().map(|id| fingerprint(id)).collect())
            .unwrap_or_default(),
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
                match status.statisticians.as_slice() {
                    [] => out.line("statistician none: the service's key alone opens the list")?,
                    keys => {
                        for key in keys {
                            out.line(&format!("statistician {key}"))?;
                        }
                    }
                }
                out.line(&format!("allocated    {allocated} of {}", l.total))?;
            }
        }
    } else {
        out.json(&status)?;
    }
    out.finish()?;
    Ok(0)
}
