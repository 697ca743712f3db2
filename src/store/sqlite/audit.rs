//! Who did what, each entry chained to the one before it.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{anchor, clock, limited, row, rows, run, trouble};
use crate::audit::anchor::ACCEPT;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

/// Appends inside the transaction of the action itself: if this fails, the action is undone.
pub(super) fn append(c: &Connection, chain: &dyn Chain, entry: &NewAudit) -> Result<AuditEntry> {
    clock::note(c, chain, &entry.at, entry.role != anchor::SERVICE)?;
    link(c, chain, entry)
}

/// Appends, whatever the time says.
pub(super) fn link(c: &Connection, chain: &dyn Chain, entry: &NewAudit) -> Result<AuditEntry> {
    let doing = "appending to the audit";
    let end = end(c)?;
    let (sequence, hash, previous) = chain.next(end.as_ref().map(|(n, hash)| (*n, hash.as_str())), entry);
    let number = i64::try_from(sequence).map_err(|e| StoreError::storage(doing, e))?;
    run(
        c,
        doing,
        "INSERT INTO audit (sequence, at, actor, role, action, subject, detail, previous, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            number,
            entry.at,
            entry.actor,
            entry.role,
            entry.action,
            entry.subject,
            entry.detail,
            previous,
            hash
        ],
    )?;
    Ok(AuditEntry { sequence, entry: entry.clone(), previous, hash })
}

pub(super) fn read(r: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let sequence: i64 = r.get("sequence")?;
    Ok(AuditEntry {
        sequence: u64::try_from(sequence)
            .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, e.into()))?,
        entry: NewAudit {
            at: r.get("at")?,
            actor: r.get("actor")?,
            role: r.get("role")?,
            action: r.get("action")?,
            subject: r.get("subject")?,
            detail: r.get("detail")?,
        },
        previous: r.get("previous")?,
        hash: r.get("hash")?,
    })
}

pub(super) fn entries(c: &Connection, from: u64, limit: usize) -> Result<Vec<AuditEntry>> {
    let Ok(from) = i64::try_from(from) else { return Ok(Vec::new()) };
    let sql = "SELECT * FROM audit WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2";
    rows(c, "reading the audit", sql, params![from, limited(limit)], read)
}

pub(super) fn head(c: &Connection) -> Result<Option<AuditEntry>> {
    row(c, "reading the audit", "SELECT * FROM audit ORDER BY sequence DESC LIMIT 1", [], read)
}

/// Number and hash of the last entry.
pub(super) fn end(c: &Connection) -> Result<Option<(u64, String)>> {
    let sql = "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1";
    let end: Option<(i64, String)> = row(c, "reading the audit", sql, [], |r| Ok((r.get(0)?, r.get(1)?)))?;
    // A number below 0 was put in by hand: nothing can follow it.
    Ok(end.map(|(sequence, hash)| (u64::try_from(sequence).unwrap_or(u64::MAX), hash)))
}

/// The entry with this number.
pub(super) fn at(c: &Connection, sequence: u64) -> Result<Option<AuditEntry>> {
    let Ok(sequence) = i64::try_from(sequence) else { return Ok(None) };
    row(c, "reading the audit", "SELECT * FROM audit WHERE sequence = ?1", [sequence], read)
}

/// Is any entry behind `after` of somebody else than the service alone?
pub(super) fn is_by_a_person(c: &Connection, after: u64) -> Result<bool> {
    let Ok(after) = i64::try_from(after) else { return Ok(false) };
    let sql = "SELECT 1 FROM audit WHERE sequence > ?1 AND role <> ?2 LIMIT 1";
    Ok(row(c, "reading the audit", sql, params![after, anchor::SERVICE], |_| Ok(()))?.is_some())
}

/// What a walk along the chain came to.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The first entry that does not follow from the one before it.
    pub broken: Option<u64>,
    /// The same, unless a person has accepted the chain behind it.
    pub open: Option<u64>,
    /// Number and hash of the last entry.
    pub last: Option<(u64, String)>,
}

/// Computes every hash anew, from an entry that is known or from the beginning. One entry in memory.
pub(super) fn walk(c: &Connection, chain: &dyn Chain, from: Option<&(u64, String)>) -> Result<Walked> {
    let failed = trouble("checking the audit chain");
    let start = from.map_or(i64::MIN, |(sequence, _)| i64::try_from(*sequence).unwrap_or(i64::MAX));
    let mut statement =
        c.prepare_cached("SELECT * FROM audit WHERE sequence >= ?1 ORDER BY sequence").map_err(&failed)?;
    let mut walked = Walked::default();
    let mut is_first = from.is_some();
    for entry in statement.query_map([start], read).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let holds = if std::mem::take(&mut is_first) {
            from.is_some_and(|(sequence, hash)| (entry.sequence, &entry.hash) == (*sequence, hash))
        } else {
            let before = walked.last.as_ref().map(|(sequence, hash)| (*sequence, hash.as_str()));
            let expected = chain.next(before, &entry.entry);
            (entry.sequence, &entry.hash, &entry.previous) == (expected.0, &expected.1, &expected.2)
        };
        if !holds {
            walked.broken = walked.broken.or(Some(entry.sequence));
            walked.open = walked.open.or(Some(entry.sequence));
        } else if entry.entry.action == ACCEPT {
            walked.open = None;
        }
        walked.last = Some((entry.sequence, entry.hash));
    }
    // What was known is not there any more.
    if is_first {
        walked.broken = from.map(|(sequence, _)| *sequence);
        walked.open = walked.broken;
    }
    Ok(walked)
}
