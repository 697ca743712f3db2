//! What came in, byte for byte.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{limited, quarantine, record, row, rows, run, sha256_hex, word};
use rusqlite::{Connection, Row, params};

/// Reason of a message whose key other bytes hold.
const KEY_REUSED: &str = "control-id-reuse";

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
        let conflict = incoming.key.is_some() && is_in_conflict(c, seq)?;
        return Ok(Receipt { seq, sha256: sha256.clone(), first: false, received_at, conflict });
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
    let seq = c.last_insert_rowid();
    let received_at = incoming.received_at.clone();
    let conflict = match &incoming.key {
        Some(key) => remember_key(c, seq, incoming, key)?,
        None => false,
    };
    Ok(Receipt { seq, sha256: sha256.clone(), first: true, received_at, conflict })
}

/// Is the row one that came under a key that other bytes hold?
fn is_in_conflict(c: &Connection, seq: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM message_key k JOIN message_key first
                  ON first.origin = k.origin AND first.source = k.source AND first.key = k.key
                 AND first.inbox_seq < k.inbox_seq WHERE k.inbox_seq = ?1)";
    Ok(row(c, "looking for a message key", sql, [seq], |r| r.get(0))?.unwrap_or(false))
}

/// Writes down the key of a new row; a row whose key is taken is set aside.
fn remember_key(c: &Connection, seq: i64, incoming: &Incoming, key: &str) -> Result<bool> {
    run(
        c,
        "storing a message key",
        "INSERT INTO message_key (inbox_seq, origin, source, key) VALUES (?1, ?2, ?3, ?4)",
        params![seq, incoming.origin, incoming.source, key],
    )?;
    let conflict = is_in_conflict(c, seq)?;
    if conflict {
        set_aside(c, seq, &incoming.received_at)?;
    }
    Ok(conflict)
}

fn set_aside(c: &Connection, seq: i64, at: &str) -> Result<()> {
    let entry = NewQuarantine {
        inbox_seq: seq,
        reason: KEY_REUSED.to_owned(),
        path: String::new(),
        bytes: None,
        at: at.to_owned(),
    };
    quarantine::put(c, &[entry])?;
    run(c, "setting a message aside", "UPDATE inbox SET state = 'quarantined' WHERE seq = ?1", [seq])
        .map(drop)
}

/// Stores a row that nothing is ever worked out from. Bytes that came before keep their state.
pub(super) fn accept_aside(c: &Connection, row: &Hashed, reason: &str, path: &str) -> Result<Receipt> {
    let receipt = accept(c, row)?;
    if receipt.first {
        let sql = "INSERT INTO inbox_aside (inbox_seq, reason, path) VALUES (?1, ?2, ?3)";
        run(c, "setting a row aside", sql, params![receipt.seq, reason, path])?;
        keep_aside(c, receipt.seq, (reason, path), &receipt.received_at)?;
    }
    Ok(receipt)
}

fn keep_aside(c: &Connection, seq: i64, (reason, path): (&str, &str), at: &str) -> Result<()> {
    mark(c, seq, InboxState::Quarantined)?;
    let entry = NewQuarantine {
        inbox_seq: seq,
        reason: reason.to_owned(),
        path: path.to_owned(),
        bytes: None,
        at: at.to_owned(),
    };
    quarantine::put(c, &[entry]).map(drop)
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

pub(super) fn last(c: &Connection) -> Result<i64> {
    let newest = row(c, "reading the inbox", "SELECT ifnull(max(seq), 0) FROM inbox", [], |r| r.get(0))?;
    Ok(newest.unwrap_or(0))
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
    // A row that was set aside stays so, whoever wants it read again.
    let sql = "UPDATE inbox SET attempts = attempts + 1,
                  state = CASE WHEN ?2 = 'pending' AND EXISTS (SELECT 1 FROM inbox_aside WHERE inbox_seq = seq)
                               THEN 'quarantined' ELSE ?2 END
                WHERE seq = ?1";
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
        "DELETE FROM person_identifier",
        "DELETE FROM person_link",
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
    let reused: Vec<(i64, String)> = rows(
        c,
        doing,
        "SELECT i.seq, i.received_at FROM message_key k JOIN inbox i ON i.seq = k.inbox_seq
          WHERE EXISTS (SELECT 1 FROM message_key first WHERE first.origin = k.origin
                           AND first.source = k.source AND first.key = k.key AND first.inbox_seq < k.inbox_seq)",
        [],
        |r| Ok((r.get(0)?, r.get(1)?)),
    )?;
    for (seq, received_at) in reused {
        set_aside(c, seq, &received_at)?;
    }
    let aside: Vec<(i64, String, String, String)> = rows(
        c,
        doing,
        "SELECT a.inbox_seq, a.reason, a.path, i.received_at FROM inbox_aside a JOIN inbox i ON i.seq = a.inbox_seq",
        [],
        |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)),
    )?;
    for (seq, reason, path, received_at) in aside {
        keep_aside(c, seq, (&reason, &path), &received_at)?;
    }
    i64::try_from(count).map_err(|e| StoreError::storage(doing, e))
}
