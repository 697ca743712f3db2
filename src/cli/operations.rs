//! `quarantine`, `verify`, `replay`, `backup`: looking after the store.

use super::output::{Out, table};
use super::shell::{Shell, now, today};
use super::sign::{Ordered, order};
use super::{Failure, Global, Outcome, Output, exit};
use crate::access::Permission;
use crate::pipeline::{detail, stamp};
use crate::store::{Finding, InboxState, NewAudit, QuarantineState};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub enum QuarantineCommand {
    /// What could not be used, why, and where it stands
    List,
    /// One entry with its raw bytes
    Show { id: i64 },
    /// Read it again, after the mapping or the site file was corrected
    Replay {
        id: Option<i64>,
        #[command(flatten)]
        signed: Signed,
    },
}

/// Who does it, and why.
#[derive(Args, Debug)]
pub struct Signed {
    /// Who does it; without accounts: operator
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Why; for the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

#[derive(Args, Debug)]
pub struct ReplayArguments {
    #[command(flatten)]
    pub signed: Signed,
}

#[derive(Args, Debug)]
pub struct BackupArguments {
    /// A file that does not exist yet
    pub to: PathBuf,
    #[command(flatten)]
    pub signed: Signed,
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
        QuarantineCommand::Replay { id, signed } => {
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
            let record = json!({"quarantine": id, "inbox": rows});
            let who = order(
                &shell,
                &*store,
                signed.by.as_deref(),
                Permission::ResolveQuestions,
                "quarantine.replay",
                record,
            )?;
            let documents = rows.len().to_string();
            let read_again = [("documents", &*documents), ("before", "quarantined"), ("after", "pending")];
            store.append_audit(signed.entry(&who, "quarantine.replay", &read_again))?;
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
                    let id = q.id.to_string();
                    let resolved = [
                        ("quarantine", &*id),
                        ("code", &*q.reason),
                        ("before", "open"),
                        ("after", "resolved"),
                    ];
                    store.resolve_quarantine(q.id, signed.entry(&who, "quarantine.resolve", &resolved))?;
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
        for note in &report.notes {
            out.line(&format!("note         {note}"))?;
        }
        out.line(if report.is_sound() { "ok" } else { "does not hold" })?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/verify/v1",
            "inbox": {"total": i.total(), "processed": i.processed, "quarantined": i.quarantined, "pending": i.pending},
            "records": report.records, "allocations": report.allocations, "auditEntries": report.audit_entries,
            "findings": report.findings.iter().map(|f| json!({"check": f.check, "message": f.message})).collect::<Vec<_>>(),
            "notes": report.notes, "verified": report.is_sound()
        }))?;
    }
    out.finish()?;
    Ok(if report.is_sound() { 0 } else { exit::UNVERIFIED })
}

pub fn replay(global: &Global, a: &ReplayArguments) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.open("replay")?;
    let record = json!({"definition": shell.trial.hash});
    let who = order(&shell, &*store, a.signed.by.as_deref(), Permission::Operate, "replay", record)?;
    let rows = store.replay_all(a.signed.entry(&who, "replay", &[]))?;
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

impl Signed {
    fn entry(&self, who: &Ordered, action: &str, particulars: &[(&str, &str)]) -> NewAudit {
        let mut pairs = vec![("reason", &*self.reason)];
        pairs.extend(particulars);
        NewAudit {
            at: stamp(now()),
            actor: who.actor.clone(),
            role: who.role.clone(),
            action: action.into(),
            subject: None,
            detail: detail(&pairs),
        }
    }
}

/// Before the copy is made, so that a copy knows of itself. It changes nothing, and is made also while
/// another process writes: then it cannot be written down here.
fn audited(global: &Global, shell: &Shell, a: &BackupArguments, who: &Ordered) {
    let to = a.to.display().to_string();
    let entry = a.signed.entry(who, "backup", &[("to", &*to)]);
    let written = shell.open("backup").and_then(|store| Ok(store.append_audit(entry)?));
    if let Err(failure) = written {
        global.note(&format!("the audit log does not know of this copy: {}", failure.message));
    }
}

pub fn backup(global: &Global, a: &BackupArguments) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.look()?;
    let who = super::sign::order_beside(
        global,
        &shell,
        &store,
        a.signed.by.as_deref(),
        Permission::Operate,
        "backup",
    )?;
    drop(store);
    // Of another schema than ours nothing is written; what cannot be made is not written down.
    let folder = a.to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !a.to.exists() && folder.is_dir() {
        audited(global, &shell, a, &who);
    }
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
