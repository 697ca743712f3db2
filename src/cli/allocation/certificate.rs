//! `allocation certificate`: a text to print, sign and file before the first participant is randomized.
//!
//! It fixes on paper what the database could be made to forget: commitment, definition, audit entry. It says
//! what it does not say: neither block sizes nor any other parameter of the scheme is on it.

use super::super::output::Out;
use super::super::shell::Shell;
use super::super::{Failure, Global, Outcome, Output};
use super::{export, sealed};
use crate::randomize::Header;
use crate::randomize::statistician::fingerprint;
use serde_json::json;

pub(super) fn run(global: &Global, shell: &Shell) -> Outcome {
    let store = shell.look()?;
    let list = sealed(&*store, &shell.trial.study.id)?;
    let recorded = export::recorded(&*store, &list.public.header.id)?;
    let (header, entry) = (&list.public.header, &recorded.commitment);
    let allocated = store.allocations(&shell.trial.study.id)?.len();
    let keys: Vec<String> = header.statisticians.iter().map(|id| fingerprint(id)).collect();
    let strata: Vec<_> = header.strata.iter().map(|s| json!({"label": s.label, "slots": s.slots})).collect();
    let mut out = Out::new();
    if global.output() == Output::Table {
        let commitment = header.commitment.to_string();
        out.line(&format!("ALLOCATION LIST OF TRIAL {}", header.trial))?;
        out.line("")?;
        for (name, value) in [
            ("List", header.id.as_str()),
            ("Origin", header.origin.name()),
            ("Method", &method(header)),
            ("Arms", &header.arms.to_string()),
            ("Participants", &header.total.to_string()),
            ("Definition", &header.definition.to_string()),
            ("Commitment", &commitment),
            ("Made", &format!("{} by {} ({})", entry.at, entry.actor, entry.role)),
            ("Audit entry", &format!("{} {}", entry.sequence, entry.hash)),
            ("Allocated so far", &allocated.to_string()),
            ("Program", concat!("trialbridge ", env!("CARGO_PKG_VERSION"))),
        ] {
            out.line(&format!("{name:<17} {value}"))?;
        }
        strata_lines(&mut out, header)?;
        match keys.as_slice() {
            [] => out.line("Statistician      none: only the service's key opens this list")?,
            keys => {
                for key in keys {
                    out.line(&format!("Statistician      key {key}"))?;
                }
            }
        }
        for line in SAYS {
            out.line(line)?;
        }
    } else {
        out.json(&json!({
            "schema": "trialbridge/allocation-certificate/v1", "trial": header.trial, "list": header.id,
            "origin": header.origin.name(), "method": header.scheme, "arms": header.arms,
            "strata": strata, "participants": header.total,
            "definition": header.definition.to_string(), "commitment": header.commitment.to_string(),
            "statisticians": keys, "made": {"at": entry.at, "by": entry.actor, "role": entry.role},
            "audit": {"sequence": entry.sequence, "hash": entry.hash.to_string()},
            "allocated": allocated, "version": env!("CARGO_PKG_VERSION")
        }))?;
    }
    out.finish()?;
    if allocated > 0 {
        global
            .note("somebody has been randomized already: a certificate proves most when it is filed before");
    }
    Ok(0)
}

/// The method by its public name, and what is balanced over.
fn method(header: &Header) -> String {
    let factors: Vec<&str> = header.factors.iter().map(|f| f.name.as_str()).collect();
    match (factors.is_empty(), header.strata.len()) {
        (true, _) => header.scheme.clone(),
        (false, 1) => format!("{} over {}", header.scheme, factors.join(", ")),
        (false, _) => format!("{}, stratified by {}", header.scheme, factors.join(", ")),
    }
}

fn strata_lines(out: &mut Out, header: &Header) -> Result<(), Failure> {
    for stratum in &header.strata {
        let label = if stratum.label.is_empty() { "one stratum" } else { &stratum.label };
        out.line(&format!("Stratum           {label}: {} slots", stratum.slots))?;
    }
    Ok(())
}

const SAYS: [&str; 16] = [
    "",
    "The commitment is the Merkle root over all sealed slots. Whoever has this paper can show later, with",
    "the public bundle (`trialbridge allocation export`) and without trusting the machine, that no slot was",
    "changed, added or left out: `trialbridge allocation verify --bundle FILE --commitment …`.",
    "",
    "Not on this paper, and to be kept from those who enrol: block sizes, probabilities and limits of the",
    "method; the seed; any arm. They are in the trial definition and in the sealed list.",
    "",
    "Printed and filed outside the installation before the first participant:",
    "",
    "  ______________________________   ______________________________",
    "  who made the list, date          for the sponsor, date",
    "",
    "  ______________________________",
    "  statistician (key fingerprint compared by telephone), date",
    "",
];
