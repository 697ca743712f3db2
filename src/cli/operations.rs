//! `quarantine`, `audit`, `verify`, `replay`, `backup`: looking after the store.

use super::output::{Out, table};
use super::shell::{Shell, event, now, today};
use super::{Failure, Global, Outcome, Output, exit};
use crate::audit::{Chain, Entry};
use crate::pipeline::{detail, stamp};
use crate::randomize::Digest;
use crate::store::{AuditEntry, Finding, InboxState, NewAudit, QuarantineState};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub enum QuarantineCommand {
    /// What could not be used, why, and where it stands
    List,
    /// One entry with its raw bytes
    Show { id: i64 },
    /// Read it again, after the mapping or the site file was corrected
    Replay { id: Option<i64> },
}

#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Recompute the whole chain
    Verify,
    /// The entries, oldest first
    Show(AuditArguments),
}

#[derive(Args, Debug)]
pub struct AuditArguments {
    #[arg(long)]
    pub subject: Option<String>,
}

#[derive(Args, Debug)]
pub struct BackupArguments {
    /// A file that does not exist yet
    pub to: PathBuf,
}

pub fn quarantine(global: &Global, command: &QuarantineCommand) -> Outcome {
    let shell = Shell::new(global)?;
    let mut out = Out::new();
    match command {
        QuarantineCommand::List => {
            let store = shell.look()?;
            let items = store.quarantine_list(Some(QuarantineState::Open), 10_000)?;
            let mut rows = Vec::new();
            for q in &items {
                if global.output() == Output::Table {
                    let at = q.at.clone();
                    rows.push(vec![
                        q.id.to_string(),
                        q.reason.clone(),
                        q.path.clone(),
                        q.inbox_seq.to_string(),
                        at,
                    ]);
                } else {
                    out.json(&json!({
                        "id": q.id, "reason": q.reason, "path": q.path, "inbox": q.inbox_seq,
                        "sha256": q.sha256, "at": q.at
                    }))?;
                }
            }
            if global.output() == Output::Table {
                out.line(table(&["id", "reason", "path", "inbox", "at"], &rows).trim_end())?;
            }
        }
        QuarantineCommand::Show { id } => {
            let store = shell.look()?;
            let q = store.quarantine_item(*id)?;
            let bytes = match q.bytes {
                Some(bytes) => bytes,
                None => store.inbox_item(q.inbox_seq)?.bytes,
            };
            out.line(&String::from_utf8_lossy(&bytes))?;
        }
        QuarantineCommand::Replay { id } => {
            let store = shell.open("quarantine replay")?;
            let open = store.quarantine_list(Some(QuarantineState::Open), 10_000)?;
            let mut rows: Vec<i64> = open
                .iter()
                // Other bytes hold its key: no mapping makes it usable.
                .filter(|q| q.reason != KEY_REUSED && id.is_none_or(|id| q.id == id))
                .map(|q| q.inbox_seq)
                .collect();
            rows.sort_unstable();
            rows.dedup();
            if rows.is_empty() {
                return Err(Failure::problem("nothing of that kind is in quarantine"));
            }
            let audit = |action: &str, what: (&str, &str)| NewAudit {
                at: stamp(now()),
                actor: "operator".into(),
                role: "operator".into(),
                action: action.into(),
                subject: None,
                detail: detail(&[what]),
            };
            store.append_audit(audit("quarantine.replay", ("documents", &rows.len().to_string())))?;
            let pipeline = shell.pipeline(&store);
            let mut still = BTreeSet::new();
            for seq in &rows {
                let item = store.inbox_item(*seq)?;
                still
                    .extend(pipeline.unusable(&item)?.into_iter().map(|(path, reason)| (*seq, path, reason)));
                store.mark(*seq, InboxState::Pending)?;
            }
            // The records are the same bytes as before; what changed is how they are read.
            store.mark_dirty(store.subjects()?, &stamp(now()))?;
            let done = pipeline.run(now(), today())?;
            // What is still broken stays where it was.
            for q in open.iter().filter(|q| rows.contains(&q.inbox_seq)) {
                if !still.contains(&(q.inbox_seq, q.path.clone(), q.reason.clone())) {
                    let audit = audit("quarantine.resolve", ("quarantine", &q.id.to_string()));
                    store.resolve_quarantine(q.id, audit)?;
                }
            }
            if global.output() == Output::Table {
                out.line(&format!(
                    "{} documents read again: {} new, {} changed, {} in quarantine",
                    done.documents, done.new, done.changed, done.quarantined
                ))?;
            } else {
                out.json(&json!({
                    "schema": "trialbridge/quarantine-replay/v1", "documents": done.documents,
                    "new": done.new, "changed": done.changed, "quarantined": done.quarantined
                }))?;
            }
        }
    }
    out.finish()?;
    Ok(0)
}

/// Set aside by the store when it came; see [`crate::store::Receipt::conflict`].
const KEY_REUSED: &str = "control-id-reuse";

/// A stored row as the chain knows it.
pub(super) fn entry(row: &AuditEntry) -> Option<Entry> {
    let e = event(&row.entry);
    let previous = if row.previous.is_empty() { Digest([0; 32]) } else { row.previous.parse().ok()? };
    Some(Entry {
        sequence: row.sequence,
        at: e.at,
        actor: e.actor,
        role: e.role,
        action: e.action,
        subject: e.subject,
        detail: e.detail,
        previous,
        hash: row.hash.parse().ok()?,
    })
}

pub fn audit(global: &Global, command: &AuditCommand) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.look()?;
    let mut out = Out::new();
    let mut chain = Chain::start();
    let mut from = 1;
    loop {
        let rows = store.audit_entries(from, 1000)?;
        let Some(last) = rows.last() else { break };
        from = last.sequence + 1;
        for row in &rows {
            match command {
                AuditCommand::Verify => {
                    let broken = |what: String| {
                        Failure::new(
                            exit::UNVERIFIED,
                            what,
                            "the log was changed: restore a backup, find out who",
                        )
                    };
                    let Some(entry) = entry(row) else {
                        return Err(broken(format!("audit entry {} cannot be read", row.sequence)));
                    };
                    chain.follow(&entry).map_err(|b| broken(b.to_string()))?;
                }
                AuditCommand::Show(a) => {
                    let wanted = a.subject.as_ref().is_none_or(|s| {
                        row.entry.subject.as_deref().is_some_and(|r| r == s || r == format!("Patient/{s}"))
                    });
                    if wanted {
                        out.json(&json!({
                            "sequence": row.sequence, "at": row.entry.at, "actor": row.entry.actor,
                            "role": row.entry.role, "action": row.entry.action, "subject": row.entry.subject,
                            "detail": serde_json::from_str::<serde_json::Value>(&row.entry.detail)
                                .unwrap_or_else(|_| row.entry.detail.clone().into()),
                            "hash": row.hash
                        }))?;
                    }
                }
            }
        }
    }
    if matches!(command, AuditCommand::Verify) {
        let head = chain.head();
        if global.output() == Output::Table {
            out.line(&format!("ok  {} entries, head {head}", head.sequence))?;
        } else {
            out.json(&json!({
                "schema": "trialbridge/audit-verify/v1", "entries": head.sequence,
                "head": head.to_string(), "verified": true
            }))?;
        }
    }
    out.finish()?;
    Ok(0)
}

pub fn verify(global: &Global) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.look()?;
    let mut report = store.verify()?;
    // What an allocation carries with it proves it against the commitment, without any key.
    report.findings.extend(
        crate::draw::unproved(&*store, &shell.trial.study.id)?
            .into_iter()
            .map(|message| Finding { check: "allocation-proof", message }),
    );
    // What was processed is read again: its records must be there. A store that cannot even be read is
    // found out above.
    let unaccounted = shell.pipeline(&store).unaccounted().unwrap_or_else(|error| vec![error.to_string()]);
    report
        .findings
        .extend(unaccounted.into_iter().map(|message| Finding { check: "processed-has-records", message }));
    let mut out = Out::new();
    let i = report.inbox;
    if global.output() == Output::Table {
        out.line(&format!(
            "inbox        {} = {} processed + {} quarantined + {} pending",
            i.total(),
            i.processed,
            i.quarantined,
            i.pending
        ))?;
        out.line(&format!("records      {}", report.records))?;
        out.line(&format!("allocations  {}", report.allocations))?;
        out.line(&format!("audit        {} entries", report.audit_entries))?;
        for f in &report.findings {
            out.line(&format!("FAULT        {}: {}", f.check, f.message))?;
        }
        out.line(if report.is_sound() { "ok" } else { "does not hold" })?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/verify/v1",
            "inbox": {"total": i.total(), "processed": i.processed, "quarantined": i.quarantined, "pending": i.pending},
            "records": report.records, "allocations": report.allocations, "auditEntries": report.audit_entries,
            "findings": report.findings.iter().map(|f| json!({"check": f.check, "message": f.message})).collect::<Vec<_>>(),
            "verified": report.is_sound()
        }))?;
    }
    out.finish()?;
    Ok(if report.is_sound() { 0 } else { exit::UNVERIFIED })
}

pub fn replay(global: &Global) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.open("replay")?;
    let audit = NewAudit {
        at: stamp(now()),
        actor: "operator".into(),
        role: "operator".into(),
        action: "replay".into(),
        subject: None,
        detail: detail(&[]),
    };
    let rows = store.replay_all(audit)?;
    let done = shell.pipeline(&store).run(now(), today())?;
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!(
            "{rows} documents read again: {} records, {} in quarantine, {} subjects judged, {} decisions changed",
            done.new + done.changed,
            done.quarantined,
            done.judged,
            done.decisions.len()
        ))?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/replay/v1", "documents": rows, "records": done.new + done.changed,
            "quarantined": done.quarantined, "judged": done.judged, "decisions": done.decisions.len()
        }))?;
    }
    out.finish()?;
    Ok(0)
}

pub fn backup(global: &Global, a: &BackupArguments) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.look()?;
    let backup = store.backup(&a.to)?;
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!("{}  {} bytes  sha256:{}", backup.path.display(), backup.bytes, backup.sha256))?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/backup/v1", "path": backup.path.display().to_string(),
            "bytes": backup.bytes, "sha256": backup.sha256
        }))?;
    }
    out.finish()?;
    Ok(0)
}
