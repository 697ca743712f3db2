//! What the hospital has still to be told, and what it calls the things it holds.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{limited, row, rows, run, word};
use rusqlite::{Connection, Row, params};

pub(super) fn put(c: &Connection, item: &NewOutbox) -> Result<i64> {
    run(
        c,
        "queueing for write-back",
        "INSERT INTO outbox (kind, subject, created_at) VALUES (?1, ?2, ?3)",
        [&item.kind, &item.subject, &item.created_at],
    )?;
    Ok(c.last_insert_rowid())
}

fn read(r: &Row<'_>) -> rusqlite::Result<OutboxItem> {
    Ok(OutboxItem {
        id: r.get("id")?,
        kind: r.get("kind")?,
        subject: r.get("subject")?,
        created_at: r.get("created_at")?,
        state: word(r, "state")?,
        attempts: r.get("attempts")?,
        last_error: r.get("last_error")?,
        done_at: r.get("done_at")?,
    })
}

pub(super) fn list(c: &Connection, state: Option<OutboxState>, limit: usize) -> Result<Vec<OutboxItem>> {
    rows(
        c,
        "reading the outbox",
        "SELECT * FROM outbox WHERE ?1 IS NULL OR state = ?1 ORDER BY id LIMIT ?2",
        params![state.map(Word::word), limited(limit)],
        read,
    )
}

pub(super) fn settle(c: &Connection, id: i64, outcome: &OutboxOutcome) -> Result<()> {
    let (state, error, done_at) = match outcome {
        OutboxOutcome::Done { at } => (OutboxState::Done, None, Some(at)),
        OutboxOutcome::TryAgain { error } => (OutboxState::Pending, Some(error), None),
        OutboxOutcome::NeedsHuman { error } => (OutboxState::NeedsHuman, Some(error), None),
    };
    let changed = run(
        c,
        "settling a write-back",
        "UPDATE outbox SET state = ?2, attempts = attempts + 1, last_error = ?3, done_at = ?4 WHERE id = ?1",
        params![id, state.word(), error, done_at],
    )?;
    if changed == 0 { Err(StoreError::not_found(format!("outbox row {id}"))) } else { Ok(()) }
}

pub(super) fn put_known_id(c: &Connection, known: &KnownId) -> Result<()> {
    run(
        c,
        "storing a server's id",
        "INSERT INTO known_id (server, kind, key, remote_id, etag) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (server, kind, key) DO UPDATE SET remote_id = excluded.remote_id, etag = excluded.etag",
        params![known.server, known.kind, known.key, known.remote_id, known.etag],
    )
    .map(drop)
}

fn read_known(r: &Row<'_>) -> rusqlite::Result<KnownId> {
    Ok(KnownId {
        server: r.get("server")?,
        kind: r.get("kind")?,
        key: r.get("key")?,
        remote_id: r.get("remote_id")?,
        etag: r.get("etag")?,
    })
}

pub(super) fn known_id(c: &Connection, server: &str, kind: &str, key: &str) -> Result<Option<KnownId>> {
    row(
        c,
        "reading a server's id",
        "SELECT * FROM known_id WHERE server = ?1 AND kind = ?2 AND key = ?3",
        [server, kind, key],
        read_known,
    )
}

pub(super) fn known_ids(c: &Connection, server: &str) -> Result<Vec<KnownId>> {
    let sql = "SELECT * FROM known_id WHERE server = ?1 ORDER BY kind, key";
    rows(c, "reading a server's ids", sql, [server], read_known)
}
