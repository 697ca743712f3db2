//! `audit`: proves the log, exports it, shows it, and answers who decided what about a subject.
//!
//! Looks and changes nothing, but for `accept`, by which a named person goes on from a log that does not
//! agree with its anchor. An exported log is proved without a store or a configuration.

use super::audit_text;
use super::output::{Out, table};
use super::shell::{Shell, anchor_path, now, subject};
use super::sign::order;
use super::{Failure, Global, Outcome, Output, exit};
use crate::access::Permission;
use crate::audit::anchor::Anchors;
use crate::audit::{self, Break, Chain, Entry, Head};
use crate::pipeline::{detail, dossier, stamp};
use crate::protocol::document::hex;
use crate::store::{AnchorFault, AuditEntry, NewAudit, Store, Word, chain};
use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Recompute the whole chain, hold it against its anchor, and decisions and allocations against it
    Verify(VerifyArguments),
    /// The whole log as NDJSON, to be proved elsewhere
    Export(ExportArguments),
    /// The entries, oldest first; with --subject who decided, on what data, and what changed since
    Show(ShowArguments),
    /// Where the chain ends, to be written down elsewhere
    Head,
    /// Go on from a log that does not agree with its anchor, or from a clock that was ahead
    Accept(AcceptArguments),
}

#[derive(Args, Debug)]
pub struct VerifyArguments {
    /// An exported log, without any store
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Anchor file to hold it against; default: the configured one
    #[arg(long, value_name = "FILE")]
    pub anchor: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct ExportArguments {
    /// A file that does not exist yet; default: standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct ShowArguments {
    #[arg(long)]
    pub subject: Option<String>,
    /// Who acted
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// What was done, such as `attest`
    #[arg(long, value_name = "WORD")]
    pub action: Option<String>,
    /// A day, or an instant such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}

#[derive(Args, Debug)]
pub struct AcceptArguments {
    /// Who takes responsibility
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    match command {
        // Whoever proves an export needs neither our configuration nor our data.
        Command::Verify(VerifyArguments { file: Some(file), anchor }) => {
            verify_file(global, file, anchor.as_deref())
        }
        Command::Verify(a) => verify_store(global, &Shell::new(global)?, a.anchor.as_deref()),
        Command::Export(a) => export(global, &Shell::new(global)?, a.out.as_deref()),
        Command::Show(a) => show(global, &Shell::new(global)?, a),
        Command::Head => head(global, &Shell::new(global)?),
        Command::Accept(a) => accept(global, &Shell::new(global)?, a),
    }
}

const CHANGED: &str =
    "the log was changed: keep a copy, find out who had access, restore a copy that verifies";

fn unverified(what: impl Into<String>) -> Failure {
    Failure::new(exit::UNVERIFIED, what, CHANGED)
}

fn broken(found: Break) -> Failure {
    unverified(found.to_string())
}

/// Calls `each` with every row, oldest first.
fn every(store: &dyn Store, mut each: impl FnMut(AuditEntry) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut from = 0;
    loop {
        let rows = store.audit_entries(from, 1000)?;
        let Some(last) = rows.last() else { return Ok(()) };
        from = last.sequence + 1;
        rows.into_iter().try_for_each(&mut each)?;
    }
}

fn entry(row: &AuditEntry) -> Result<Entry, Failure> {
    let damaged = || unverified(format!("audit entry {}: it holds what is never written", row.sequence));
    chain::entry(row).ok_or_else(damaged)
}

// ---- verify ----

fn verify_store(global: &Global, shell: &Shell, named: Option<&Path>) -> Outcome {
    let store = shell.look()?;
    let path = named.map_or_else(|| anchor_path(&shell.config), Path::to_owned);
    // Before the entries: what is appended meanwhile is not missing.
    let stands = store.audit_anchor()?;
    let mut anchors = match (fs::read(&path), named) {
        (Ok(text), _) => Anchors::read(&text),
        (Err(error), Some(_)) => return Err(unreadable(&path, &error)),
        (Err(error), None) if error.kind() != io::ErrorKind::NotFound => {
            return Err(unreadable(&path, &error));
        }
        (Err(_), None) => Anchors::default(),
    };
    let mut chain = Chain::start();
    every(&*store, |row| {
        let entry = entry(&row)?;
        chain.follow(&entry).map_err(broken)?;
        anchors.follow(&entry);
        Ok(())
    })?;
    let end = chain.head();
    let mut notes = Vec::new();
    match stands.fault.filter(|_| named.is_none()) {
        Some(AnchorFault::Missing) => {
            let text = format!("{} ({})", AnchorFault::Missing.meaning(), path.display());
            return Err(Failure::new(exit::UNVERIFIED, text, AnchorFault::Missing.remedy()));
        }
        // What is cut off or forked is named by its entry below.
        Some(fault) if !fault.is_evidence() => {
            notes.push(format!("{}; entries cut off at the end go unseen", fault.meaning()));
        }
        _ => {}
    }
    let told = Told::new(&path, &anchors);
    anchors.finish(end).map_err(broken)?;
    let coverage = store.audit_coverage()?;
    if let Some(first) = coverage.findings.first() {
        let more = match coverage.findings.len() {
            1 => String::new(),
            n => format!("; and {} more", n - 1),
        };
        let hint = "the database was changed: keep a copy, restore a copy that verifies";
        return Err(Failure::new(exit::UNVERIFIED, format!("{first}{more}"), hint));
    }
    notes.extend(coverage.note());
    let covered = json!({"decisions": coverage.decisions, "allocations": coverage.allocations});
    let text =
        format!("{} decisions and {} allocations as audited", coverage.decisions, coverage.allocations);
    print_verified(global, end, Some(told), Some((covered, text)), &notes)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let text = format!("the anchor file {} cannot be read: {error}", path.display());
    Failure::new(exit::PROBLEMS, text, "run it as the service's user, or name a copy with --anchor")
}

fn verify_file(global: &Global, path: &Path, anchor: Option<&Path>) -> Outcome {
    let anchors = match anchor {
        Some(path) => Some((path, Anchors::read(&fs::read(path).map_err(|e| unreadable(path, &e))?))),
        None => None,
    };
    let failed = |e: io::Error| Failure::problem(format!("{} cannot be read: {e}", path.display()));
    let mut held = anchors;
    let end = follow_export(BufReader::new(File::open(path).map_err(failed)?), failed, |entry| {
        if let Some((_, anchors)) = &mut held {
            anchors.follow(entry);
        }
    })?;
    let mut notes = Vec::new();
    let told = match held {
        Some((path, anchors)) => {
            let told = Told::new(path, &anchors);
            anchors.finish(end).map_err(broken)?;
            Some(told)
        }
        None => {
            notes.push("no --anchor was given: entries cut off at the end go unseen".to_owned());
            None
        }
    };
    print_verified(global, end, told, None, &notes)
}

/// Follows an exported log to its end; `each` gets every entry that holds.
fn follow_export(
    mut reader: impl BufRead,
    failed: impl Fn(io::Error) -> Failure,
    mut each: impl FnMut(&Entry),
) -> Result<Head, Failure> {
    let (mut chain, mut line) = (Chain::start(), Vec::new());
    for number in 1_u64.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(&failed)? == 0 {
            break;
        }
        let Some(whole) = line.strip_suffix(b"\n") else {
            return Err(unverified(format!("audit entry {number}: the file ends within line {number}")));
        };
        let entry = std::str::from_utf8(whole).ok().and_then(audit::line);
        let Some(entry) = entry else {
            return Err(unverified(format!("audit entry {number}: line {number} is not as it was exported")));
        };
        chain.follow(&entry).map_err(broken)?;
        each(&entry);
    }
    Ok(chain.head())
}

/// What was compared with an anchor file.
struct Told {
    path: String,
    lines: usize,
    unreadable: usize,
    last: Option<Head>,
}

impl Told {
    fn new(path: &Path, anchors: &Anchors) -> Told {
        Told {
            path: path.display().to_string(),
            lines: anchors.len(),
            unreadable: anchors.unreadable(),
            last: anchors.last().map(|l| l.head),
        }
    }
}

fn print_verified(
    global: &Global,
    end: Head,
    anchor: Option<Told>,
    covered: Option<(Value, String)>,
    notes: &[String],
) -> Outcome {
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!("ok  {} entries, head {end}", end.sequence))?;
        if let Some(told) = &anchor {
            let torn = match told.unreadable {
                0 => String::new(),
                n => format!(", {n} torn lines"),
            };
            out.line(&format!("ok  runs through {} heads in {}{torn}", told.lines, told.path))?;
        }
        if let Some((_, text)) = &covered {
            out.line(&format!("ok  {text}"))?;
        }
        for note in notes {
            out.line(&format!("--  {note}"))?;
        }
    } else {
        let mut value = json!({
            "schema": "trialbridge/audit-verify/v1", "entries": end.sequence, "head": end.to_string(),
            "verified": true, "notes": notes,
            "anchor": anchor.map(|told| json!({
                "file": told.path, "heads": told.lines, "torn": told.unreadable,
                "last": told.last.map(|head| head.to_string())
            }))
        });
        if let Some((covered, _)) = covered {
            value["covered"] = covered;
        }
        out.json(&value)?;
    }
    out.finish()?;
    Ok(0)
}

// ---- export ----

fn export(global: &Global, shell: &Shell, to: Option<&Path>) -> Outcome {
    let store = shell.look()?;
    let Some(path) = to else {
        let mut out = Out::new();
        every(&*store, |row| out.json(&entry(&row)?))?;
        out.finish()?;
        return Ok(0);
    };
    let failed = |e: io::Error| Failure::problem(format!("{} cannot be written: {e}", path.display()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(failed)?;
    let written = write_export(&*store, file, failed);
    if written.is_err() {
        // A part of a log looks like one that was cut off.
        let _ = fs::remove_file(path);
    }
    let (end, sha256) = written?;
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!("{}  {} entries  sha256:{sha256}", path.display(), end.sequence))?;
        out.line(&format!("head {end}"))?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/audit-export/v1", "path": path.display().to_string(),
            "entries": end.sequence, "head": end.to_string(), "sha256": sha256
        }))?;
    }
    out.finish()?;
    Ok(0)
}

fn write_export(
    store: &dyn Store,
    file: File,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<(Head, String), Failure> {
    let (mut hash, mut end) = (Sha256::new(), Head::EMPTY);
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    every(store, |row| {
        let entry = entry(&row)?;
        let mut line = serde_json::to_string(&entry).map_err(|e| Failure::problem(e.to_string()))?;
        line.push('\n');
        hash.update(line.as_bytes());
        end = entry.head();
        writer.write_all(line.as_bytes()).map_err(&failed)
    })?;
    let file = writer.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok((end, hex(&hash.finalize())))
}

// ---- show ----

fn show(global: &Global, shell: &Shell, a: &ShowArguments) -> Outcome {
    let since = a.since.as_deref().map(instant).transpose()?;
    let key = a.subject.as_deref().map(subject).transpose()?;
    let store = shell.look()?;
    let wanted = |row: &AuditEntry| {
        a.actor.as_ref().is_none_or(|actor| row.entry.actor == *actor)
            && a.action.as_ref().is_none_or(|action| row.entry.action == *action)
            && since.is_none_or(|since| time(&row.entry.at).is_some_and(|at| at >= since))
    };
    let is_table = global.output() == Output::Table;
    let mut out = Out::new();
    let Some(key) = key else {
        let mut rows = Vec::new();
        every(&*store, |row| {
            match (wanted(&row), is_table) {
                (false, _) => {}
                (true, true) => rows.push(cells(&row)),
                (true, false) => out.json(&shown(&row))?,
            }
            Ok(())
        })?;
        if is_table {
            out.line(table(&HEADER, &rows).trim_end())?;
        }
        out.finish()?;
        return Ok(0);
    };
    let mut entries = dossier::entries(&*store, &key)?;
    let Some(dossier) = dossier::of(&*store, &shell.trial.study.id, &key, &entries)? else {
        let hint = "`trialbridge subjects` lists the stored subjects";
        return Err(Failure::new(exit::PROBLEMS, "the log knows nothing of this subject", hint));
    };
    entries.retain(wanted);
    if is_table {
        out.line(audit_text::dossier(&dossier).trim_end())?;
        out.line("\nentries")?;
        let rows: Vec<_> = entries.iter().map(cells).collect();
        out.line(table(&HEADER, &rows).trim_end())?;
    } else {
        out.json(&dossier)?;
        entries.iter().try_for_each(|row| out.json(&shown(row)))?;
    }
    out.finish()?;
    Ok(0)
}

const HEADER: [&str; 7] = ["entry", "at", "actor", "role", "action", "subject", "detail"];

fn cells(row: &AuditEntry) -> Vec<String> {
    let e = &row.entry;
    let detail = match chain::particulars(&e.detail) {
        Some(detail) => detail.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "),
        None => e.detail.clone(),
    };
    let subject = e.subject.clone().unwrap_or_default();
    let cells = [
        row.sequence.to_string(),
        e.at.clone(),
        e.actor.clone(),
        e.role.clone(),
        e.action.clone(),
        subject,
        detail,
    ];
    cells.iter().map(|text| audit_text::printable(text)).collect()
}

fn shown(row: &AuditEntry) -> Value {
    json!({
        "sequence": row.sequence, "at": row.entry.at, "actor": row.entry.actor, "role": row.entry.role,
        "action": row.entry.action, "subject": row.entry.subject,
        "detail": serde_json::from_str::<Value>(&row.entry.detail)
            .unwrap_or_else(|_| row.entry.detail.clone().into()),
        "hash": row.hash
    })
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc))
}

/// An instant, or the beginning of a day in UTC.
fn instant(text: &str) -> Result<DateTime<Utc>, Failure> {
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    time(text).or_else(day).ok_or_else(|| {
        Failure::new(exit::USAGE, "--since is neither a day nor an instant with a time zone", "YYYY-MM-DD")
    })
}

// ---- head and accept ----

fn head(global: &Global, shell: &Shell) -> Outcome {
    let store = shell.look()?;
    let last = store.audit_head()?;
    let stands = store.audit_anchor()?;
    let end = match &last {
        Some(row) => entry(row)?.head(),
        None => Head::EMPTY,
    };
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!("head    {end}"))?;
        let place = stands.place.as_deref().unwrap_or("none");
        let known = stands.last.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        out.line(&format!("anchor  {known}  {place}"))?;
        if let Some(fault) = stands.fault {
            out.line(&format!("FAULT   {}", fault.meaning()))?;
        }
    } else {
        out.json(&json!({
            "schema": "trialbridge/audit-head/v1", "entries": end.sequence, "head": end.to_string(),
            "at": last.map(|row| row.entry.at),
            "anchor": {
                "file": stands.place, "last": stands.last.as_ref().map(ToString::to_string),
                "at": stands.last.map(|last| last.at), "fault": stands.fault.map(Word::word)
            }
        }))?;
    }
    out.finish()?;
    Ok(if stands.fault.is_some_and(AnchorFault::is_evidence) { exit::UNVERIFIED } else { 0 })
}

fn accept(global: &Global, shell: &Shell, a: &AcceptArguments) -> Outcome {
    if a.reason.trim().is_empty() {
        return Err(Failure::new(exit::USAGE, "an acceptance has a reason", "--reason TEXT"));
    }
    let store = shell.open("audit accept")?;
    let stands = store.audit_anchor()?;
    let record = json!({
        "fault": stands.fault.map(|f| f.meaning()), "anchor": stands.last.map(|h| h.to_string()), "reason": a.reason
    });
    let who = order(shell, &*store, Some(&a.by), Permission::AcceptAudit, "audit.accept", record)?;
    let accepted = store.accept_audit(NewAudit {
        at: stamp(now()),
        actor: who.actor,
        role: who.role,
        action: audit::anchor::ACCEPT.into(),
        subject: None,
        detail: detail(&[("reason", &a.reason)]),
    })?;
    if let Some(fault) = store.audit_anchor()?.fault {
        let text = format!("it was accepted, and still {}", fault.meaning());
        return Err(Failure::new(exit::UNVERIFIED, text, fault.remedy()));
    }
    let mut out = Out::new();
    if global.output() == Output::Table {
        out.line(&format!("accepted as audit entry {}; randomization may go on", accepted.sequence))?;
    } else {
        out.json(&shown(&accepted))?;
    }
    out.finish()?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Detail, Event};

    fn export(entries: u64) -> Vec<u8> {
        let (mut head, mut text) = (Head::EMPTY, Vec::new());
        for n in 1..=entries {
            let event = Event {
                at: format!("2026-03-01T08:{n:02}:00.000Z"),
                actor: "Dr 李 \"A\"".to_owned(),
                role: "investigator".to_owned(),
                action: "attest".to_owned(),
                subject: n.is_multiple_of(2).then(|| format!("Patient/p{n}")),
                detail: Detail::from([("reason".to_owned(), "seen\nat the ward".to_owned())]),
            };
            let entry = audit::next(head, event).expect("an event in a test");
            head = entry.head();
            text.extend(serde_json::to_vec(&entry).expect("JSON"));
            text.push(b'\n');
        }
        text
    }

    fn proved(text: &[u8]) -> Result<Head, Failure> {
        follow_export(text, |e| Failure::problem(e.to_string()), |_| ())
    }

    #[test]
    fn no_byte_of_an_export_can_change_unseen() {
        let text = export(4);
        assert_eq!(proved(&text).map(|head| head.sequence), Ok(4));
        let line_of = |at: usize| 1 + text[..at].iter().filter(|b| **b == b'\n').count();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                let failure = proved(&changed).expect_err("a byte was changed");
                assert_eq!(failure.code, exit::UNVERIFIED, "{at} {bit}");
                let named: usize = failure
                    .message
                    .strip_prefix("audit entry ")
                    .and_then(|rest| rest.split([':', ' ']).next()?.parse().ok())
                    .unwrap_or_else(|| panic!("no entry is named: {}", failure.message));
                assert_eq!(named, line_of(at), "byte {at}, bit {bit}: {}", failure.message);
            }
            let taken_out = [&text[..at], &text[at + 1..]].concat();
            assert!(proved(&taken_out).is_err(), "byte {at} is taken out");
            let doubled = [&text[..=at], &text[at..]].concat();
            assert!(proved(&doubled).is_err(), "byte {at} is doubled");
        }
        let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
        let with = |order: &[usize]| order.iter().flat_map(|i| lines[*i]).copied().collect::<Vec<u8>>();
        for (order, entry) in [
            (&[1, 0, 2, 3][..], 1),
            (&[0, 1, 3, 2], 3),
            (&[0, 2, 3], 2),
            (&[1, 2, 3], 1),
            (&[0, 1, 1, 2, 3], 3),
        ] {
            let failure = proved(&with(order)).expect_err("another order");
            assert!(
                failure.message.starts_with(&format!("audit entry {entry}:")),
                "{order:?}: {}",
                failure.message
            );
        }
        // What is only cut off is as good as before; the anchor knows better.
        assert!(proved(&with(&[0, 1])).is_ok());
    }

    #[test]
    fn a_time_is_an_instant_or_a_day() {
        let at = |text: &str| instant(text).map(|t| t.to_rfc3339()).map_err(|f| f.code);
        assert_eq!(at("2026-11-01"), Ok("2026-11-01T00:00:00+00:00".to_owned()));
        assert_eq!(at("2026-11-01T08:00:00+08:00"), Ok("2026-11-01T00:00:00+00:00".to_owned()));
        for wrong in ["", "yesterday", "2026-11-01T08:00:00", "2026-02-30"] {
            assert_eq!(at(wrong), Err(exit::USAGE), "{wrong}");
        }
    }
}
