//! Who did what, each entry chained to the one before it.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{limited, row, rows, run};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

/// Appends inside the transaction of the action itself: if this fails, the action is undone.
pub(super) fn append(c: &Connection, chain: &dyn Chain, entry: &NewAudit) -> Result<AuditEntry> {
    let doing = "appending to the audit";
    let head = head(c)?;
    let (sequence, hash, previous) = chain.next(head.as_ref().map(|h| (h.sequence, h.hash.as_str())), entry);
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
