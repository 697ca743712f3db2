//! What came in, byte for byte.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{limited, record, row, rows, run, sha256_hex, word};
use rusqlite::{Connection, Row, params};

/// Incoming bytes with their hash, worked out before they queue for the writer.
pub(super) struct Hashed {
    incoming: Incoming,
    sha256: String,
}

impl Hashed {
    pub(super) fn new(incoming: Incoming) -> Self {
        let sha256 = sha256_hex(&incoming.bytes);
        Hashed { incoming, sha256 }
    }
}

pub(super) fn accept(c: &Connection, Hashed { incoming, sha256 }: &Hashed) -> Result<Receipt> {
    let doing = "storing what came in";
    let known = row(
        c,
        doing,
        "SELECT seq, received_at FROM inbox WHERE origin = ?1 AND source = ?2 AND sha256 = ?3",
        [&incoming.origin, &incoming.source, sha256],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )?;
    if let Some((seq, received_at)) = known {
        return Ok(Receipt { seq, sha256: sha256.clone(), first: false, received_at });
    }
    run(
        c,
        doing,
        "INSERT INTO inbox (received_at, origin, source, media_type, sha256, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            incoming.received_at,
            incoming.origin,
            incoming.source,
            incoming.media_type,
            sha256,
            incoming.bytes
        ],
    )?;
    let received_at = incoming.received_at.clone();
    Ok(Receipt { seq: c.last_insert_rowid(), sha256: sha256.clone(), first: true, received_at })
}

fn read(r: &Row<'_>) -> rusqlite::Result<InboxItem> {
    Ok(InboxItem {
        seq: r.get("seq")?,
        received_at: r.get("received_at")?,
        origin: r.get("origin")?,
        source: r.get("source")?,
        media_type: r.get("media_type")?,
        sha256: r.get("sha256")?,
        bytes: r.get("bytes")?,
        state: word(r, "state")?,
        attempts: r.get("attempts")?,
    })
}

pub(super) fn pending(c: &Connection, limit: usize) -> Result<Vec<InboxItem>> {
    rows(
        c,
        "reading the inbox",
        "SELECT * FROM inbox WHERE state = 'pending' ORDER BY seq LIMIT ?1",
        [limited(limit)],
        read,
    )
}

pub(super) fn item(c: &Connection, seq: i64) -> Result<InboxItem> {
    row(c, "reading the inbox", "SELECT * FROM inbox WHERE seq = ?1", [seq], read)?
        .ok_or_else(|| StoreError::not_found(format!("inbox row {seq}")))
}

pub(super) fn counts(c: &Connection) -> Result<InboxCounts> {
    let by_state =
        rows(c, "counting the inbox", "SELECT state, count(*) AS n FROM inbox GROUP BY state", [], |r| {
            Ok((word(r, "state")?, r.get("n")?))
        })?;
    let mut counts = InboxCounts::default();
    for (state, n) in by_state {
        match state {
            InboxState::Pending => counts.pending = n,
            InboxState::Processed => counts.processed = n,
            InboxState::Quarantined => counts.quarantined = n,
        }
    }
    Ok(counts)
}

pub(super) fn mark(c: &Connection, seq: i64, state: InboxState) -> Result<()> {
    let sql = "UPDATE inbox SET state = ?2, attempts = attempts + 1 WHERE seq = ?1";
    match run(c, "marking an inbox row", sql, params![seq, state.word()])? {
        0 => Err(StoreError::not_found(format!("inbox row {seq}"))),
        _ => Ok(()),
    }
}

/// Clears what is worked out from the inbox, and makes all of it pending. Subjects with a decision
/// are marked: they are decided again even if nothing of theirs comes back.
pub(super) fn replay_all(c: &Connection, at: &str) -> Result<i64> {
    let doing = "making the inbox pending again";
    for sql in [
        "DELETE FROM record",
        "DELETE FROM record_history",
        "DELETE FROM quarantine WHERE state = 'open'",
        "DELETE FROM fact",
        "DELETE FROM gap",
        "DELETE FROM dirty_subject",
    ] {
        run(c, doing, sql, [])?;
    }
    let decided: Vec<String> =
        rows(c, doing, "SELECT subject FROM decision_current ORDER BY subject", [], |r| r.get(0))?;
    record::mark_dirty(c, decided.iter().map(String::as_str), at)?;
    let count = run(c, doing, "UPDATE inbox SET state = 'pending', attempts = 0", [])?;
    i64::try_from(count).map_err(|e| StoreError::storage(doing, e))
}
