//! What could not be used: kept with its bytes, its reason and its place until a person resolves it.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{limited, row, rows, run, sha256_hex, word};
use rusqlite::{Connection, Row, params};

pub(super) fn put(c: &Connection, entries: &[NewQuarantine]) -> Result<Vec<i64>> {
    entries.iter().map(|entry| put_one(c, entry)).collect()
}

fn put_one(c: &Connection, entry: &NewQuarantine) -> Result<i64> {
    let doing = "storing what could not be used";
    let sha256 = match &entry.bytes {
        Some(bytes) => Some(sha256_hex(bytes)),
        None => row(c, doing, "SELECT sha256 FROM inbox WHERE seq = ?1", [entry.inbox_seq], |r| r.get(0))?,
    };
    let sha256 = sha256.ok_or_else(|| StoreError::not_found(format!("inbox row {}", entry.inbox_seq)))?;
    run(
        c,
        doing,
        "INSERT INTO quarantine (inbox_seq, reason, path, sha256, bytes, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (inbox_seq, path, reason) DO UPDATE SET state = 'open'",
        params![entry.inbox_seq, entry.reason, entry.path, sha256, entry.bytes, entry.at],
    )?;
    row(
        c,
        doing,
        "SELECT id FROM quarantine WHERE inbox_seq = ?1 AND path = ?2 AND reason = ?3",
        params![entry.inbox_seq, entry.path, entry.reason],
        |r| r.get(0),
    )?
    .ok_or_else(|| StoreError::storage(doing, "a row just stored is not there"))
}

fn read(r: &Row<'_>) -> rusqlite::Result<Quarantined> {
    Ok(Quarantined {
        id: r.get("id")?,
        inbox_seq: r.get("inbox_seq")?,
        reason: r.get("reason")?,
        path: r.get("path")?,
        sha256: r.get("sha256")?,
        bytes: r.get("bytes")?,
        state: word(r, "state")?,
        at: r.get("at")?,
    })
}

pub(super) fn list(c: &Connection, state: Option<QuarantineState>, limit: usize) -> Result<Vec<Quarantined>> {
    rows(
        c,
        "reading the quarantine",
        "SELECT * FROM quarantine WHERE ?1 IS NULL OR state = ?1 ORDER BY id LIMIT ?2",
        params![state.map(Word::word), limited(limit)],
        read,
    )
}

pub(super) fn item(c: &Connection, id: i64) -> Result<Quarantined> {
    row(c, "reading the quarantine", "SELECT * FROM quarantine WHERE id = ?1", [id], read)?
        .ok_or_else(|| StoreError::not_found(format!("quarantine entry {id}")))
}

pub(super) fn resolve(c: &Connection, id: i64) -> Result<()> {
    let sql = "UPDATE quarantine SET state = 'resolved' WHERE id = ?1 AND state = 'open'";
    if run(c, "resolving a quarantine entry", sql, [id])? == 1 {
        return Ok(());
    }
    item(c, id)?;
    Err(StoreError::conflict("already-resolved", format!("quarantine entry {id} is resolved already")))
}
