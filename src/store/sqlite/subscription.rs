//! Subscriptions, the events told of, and what has still to be read.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::Word;
use super::super::subscription::*;
use super::{limited, row, rows, run, word};
use crate::sequence::{Seen, Track};
use rusqlite::{Connection, Row, params};

pub(super) fn put(c: &Connection, new: &NewSubscription) -> Result<()> {
    run(
        c,
        "storing a Subscription",
        "INSERT INTO subscription (id, server, kind, release, watches, payload, endpoint, secret_sha256,
                                   heartbeat_seconds, created_at, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'planned')",
        params![
            new.id,
            new.server,
            new.kind.word(),
            new.release,
            new.watches,
            new.payload.word(),
            new.endpoint,
            new.secret_sha256,
            new.heartbeat_seconds,
            new.created_at
        ],
    )
    .map(drop)
}

/// A count as SQLite holds it. More than it can hold is as good as its most.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(r: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    r.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or(0))
}

/// The row, and its epoch.
fn read(r: &Row<'_>) -> rusqlite::Result<(Subscription, i64)> {
    let subscription = Subscription {
        id: r.get("id")?,
        server: r.get("server")?,
        remote_id: r.get("remote_id")?,
        kind: word(r, "kind")?,
        release: r.get("release")?,
        watches: r.get("watches")?,
        payload: word(r, "payload")?,
        endpoint: r.get("endpoint")?,
        secret_sha256: r.get("secret_sha256")?,
        heartbeat_seconds: r.get("heartbeat_seconds")?,
        created_at: r.get("created_at")?,
        state: word(r, "state")?,
        handshake_at: r.get("handshake_at")?,
        last_heard_at: r.get("last_heard_at")?,
        last_heartbeat_at: r.get("last_heartbeat_at")?,
        complete_to: number(r, "complete_to")?,
        highest: number(r, "highest")?,
        missing: Vec::new(),
        gap_since: r.get("gap_since")?,
        renumbered_at: r.get("renumbered_at")?,
        silent_since: r.get("silent_since")?,
        pull_wanted_at: r.get("pull_wanted_at")?,
        repaired_at: r.get("repaired_at")?,
    };
    Ok((subscription, r.get("epoch")?))
}

fn with_missing(c: &Connection, (mut subscription, epoch): (Subscription, i64)) -> Result<Subscription> {
    subscription.missing = track(c, &subscription, epoch, &[])?.missing();
    Ok(subscription)
}

fn find(c: &Connection, id: &str) -> Result<Option<(Subscription, i64)>> {
    row(c, "reading a Subscription", "SELECT * FROM subscription WHERE id = ?1", [id], read)
}

pub(super) fn one(c: &Connection, id: &str) -> Result<Option<Subscription>> {
    find(c, id)?.map(|found| with_missing(c, found)).transpose()
}

pub(super) fn all(c: &Connection) -> Result<Vec<Subscription>> {
    let sql = "SELECT * FROM subscription ORDER BY created_at, id";
    rows(c, "reading the Subscriptions", sql, [], read)?.into_iter().map(|s| with_missing(c, s)).collect()
}

/// What is known of the sequence: all that lies above `complete_to`, and the events named.
fn track(c: &Connection, s: &Subscription, epoch: i64, named: &[u64]) -> Result<Track> {
    let doing = "reading the events of a Subscription";
    let seen = |r: &Row<'_>| {
        let seen = Seen { focus: r.get("focus")?, first_at: r.get("first_at")?, last_at: r.get("last_at")? };
        Ok((number(r, "number")?, seen))
    };
    let above = "SELECT * FROM subscription_event WHERE subscription = ?1 AND epoch = ?2 AND number > ?3";
    let mut events: std::collections::BTreeMap<u64, Seen> =
        rows(c, doing, above, params![s.id, epoch, stored(s.complete_to)], seen)?.into_iter().collect();
    let single = "SELECT * FROM subscription_event WHERE subscription = ?1 AND epoch = ?2 AND number = ?3";
    for named in named.iter().filter(|n| **n <= s.complete_to) {
        events.extend(row(c, doing, single, params![s.id, epoch, stored(*named)], seen)?);
    }
    let renumbered = s.renumbered_at.is_some();
    Ok(Track { complete_to: s.complete_to, highest: s.highest, renumbered, events })
}

pub(super) fn note(c: &Connection, id: &str, heard: &Heard) -> Result<Noted> {
    let doing = "counting a notification";
    let (before, epoch) = find(c, id)?.ok_or_else(|| not_there(id))?;
    let named: Vec<u64> = heard.events.iter().map(|e| e.number).collect();
    let mut track = track(c, &before, epoch, &named)?;
    let known = track.events.clone();
    let new = track.note(heard.since_start, &heard.events);
    for number in &named {
        let Some(seen) = track.events.get(number) else { continue };
        run(
            c,
            doing,
            "INSERT INTO subscription_event (subscription, epoch, number, focus, first_at, last_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (subscription, epoch, number) DO UPDATE
             SET focus = excluded.focus, first_at = excluded.first_at, last_at = excluded.last_at",
            params![id, epoch, stored(*number), seen.focus, seen.first_at, seen.last_at],
        )?;
    }
    for (number, resource_type, resource_id) in &heard.wanted {
        let focus = format!("{resource_type}/{resource_id}");
        if known.get(number).is_some_and(|seen| seen.focus.as_ref() == Some(&focus)) {
            continue;
        }
        run(
            c,
            doing,
            "INSERT INTO subscription_wanted (subscription, resource_type, resource_id, asked_at)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (subscription, resource_type, resource_id)
             DO UPDATE SET asked_at = excluded.asked_at, attempts = 0",
            params![id, resource_type, resource_id, heard.at],
        )?;
    }
    let missing = track.missing();
    let at = |yes: bool| yes.then_some(heard.at.as_str());
    let pull = heard.pull && (heard.events.is_empty() || !new.is_empty() || track.renumbered);
    // What was deleted here stays deleted, whatever the server says.
    run(
        c,
        doing,
        "UPDATE subscription SET
            last_heard_at = max(coalesce(last_heard_at, ?11), coalesce(?11, last_heard_at)),
            handshake_at = max(coalesce(handshake_at, ?3), coalesce(?3, handshake_at)),
            last_heartbeat_at = max(coalesce(last_heartbeat_at, ?4), coalesce(?4, last_heartbeat_at)),
            complete_to = ?5, highest = ?6,
            gap_since = CASE WHEN ?7 THEN coalesce(gap_since, ?2) END,
            renumbered_at = CASE WHEN ?8 THEN coalesce(renumbered_at, ?2) END,
            pull_wanted_at = max(coalesce(pull_wanted_at, ?9), coalesce(?9, pull_wanted_at)),
            state = CASE WHEN state = 'deleted' THEN state ELSE coalesce(?10, state) END,
            silent_since = CASE WHEN ?11 IS NULL THEN silent_since END
         WHERE id = ?1",
        params![
            id,
            heard.at,
            at(heard.handshake),
            at(heard.heartbeat),
            stored(track.complete_to),
            stored(track.highest),
            !missing.is_empty(),
            track.renumbered,
            at(pull),
            heard.state.map(Word::word),
            at(!heard.asked)
        ],
    )?;
    Ok(Noted {
        new,
        missing,
        renumbered: track.renumbered && before.renumbered_at.is_none(),
        behind: heard.since_start.is_some_and(|s| s < before.highest),
    })
}

pub(super) fn change(c: &Connection, id: &str, change: &SubscriptionChange) -> Result<()> {
    let doing = "changing a Subscription";
    let changed = match change {
        SubscriptionChange::Posted { remote_id } => run(
            c,
            doing,
            "UPDATE subscription SET remote_id = ?2, state = CASE state WHEN 'planned' THEN 'requested' ELSE state END
             WHERE id = ?1",
            params![id, remote_id],
        )?,
        SubscriptionChange::State(state) => {
            run(c, doing, "UPDATE subscription SET state = ?2 WHERE id = ?1", params![id, state.word()])?
        }
        SubscriptionChange::Silent { at } => {
            run(c, doing, "UPDATE subscription SET silent_since = ?2 WHERE id = ?1", params![id, at])?
        }
        SubscriptionChange::Renumbered { at } => run(
            c,
            doing,
            "UPDATE subscription SET renumbered_at = coalesce(renumbered_at, ?2) WHERE id = ?1",
            params![id, at],
        )?,
        SubscriptionChange::PullWanted { at } => run(
            c,
            doing,
            "UPDATE subscription SET pull_wanted_at = max(coalesce(pull_wanted_at, ?2), ?2) WHERE id = ?1",
            params![id, at],
        )?,
        SubscriptionChange::Repaired { at } => {
            run(c, doing, "UPDATE subscription SET repaired_at = ?2 WHERE id = ?1", params![id, at])?
        }
        SubscriptionChange::Reconciled { started, through, at } => {
            let (before, epoch) = find(c, id)?.ok_or_else(|| not_there(id))?;
            let mut track = track(c, &before, epoch, &[])?;
            track.settle(*through);
            run(
                c,
                doing,
                "UPDATE subscription SET complete_to = ?2, highest = ?3, repaired_at = ?5,
                    gap_since = CASE WHEN ?4 THEN gap_since END,
                    pull_wanted_at = CASE WHEN pull_wanted_at > ?6 THEN pull_wanted_at END
                 WHERE id = ?1",
                params![
                    id,
                    stored(track.complete_to),
                    stored(track.highest),
                    !track.missing().is_empty(),
                    at,
                    started
                ],
            )?
        }
        SubscriptionChange::NewEpoch { complete_to, at } => run(
            c,
            doing,
            "UPDATE subscription SET epoch = epoch + 1, complete_to = ?2, highest = ?2, gap_since = NULL,
                renumbered_at = NULL, repaired_at = ?3
             WHERE id = ?1",
            params![id, stored(*complete_to), at],
        )?,
    };
    if changed == 0 { Err(not_there(id)) } else { Ok(()) }
}

fn not_there(id: &str) -> StoreError {
    StoreError::not_found(format!("Subscription {id}"))
}

pub(super) fn wanted(c: &Connection, limit: usize) -> Result<Vec<Wanted>> {
    rows(
        c,
        "reading what has to be fetched",
        "SELECT * FROM subscription_wanted ORDER BY attempts, asked_at, resource_type, resource_id LIMIT ?1",
        [limited(limit)],
        |r| {
            Ok(Wanted {
                subscription: r.get("subscription")?,
                resource_type: r.get("resource_type")?,
                resource_id: r.get("resource_id")?,
                attempts: r.get("attempts")?,
            })
        },
    )
}

/// `done`: it was read, or nobody will. A resource named again meanwhile (attempts back at 0) stays.
pub(super) fn settle_wanted(c: &Connection, wanted: &Wanted, asked_before: &str, done: bool) -> Result<()> {
    let doing = "noting what was fetched";
    let sql = if done {
        "DELETE FROM subscription_wanted
         WHERE subscription = ?1 AND resource_type = ?2 AND resource_id = ?3 AND asked_at <= ?4"
    } else {
        "UPDATE subscription_wanted SET attempts = attempts + 1
         WHERE subscription = ?1 AND resource_type = ?2 AND resource_id = ?3 AND asked_at <= ?4"
    };
    let key = params![wanted.subscription, wanted.resource_type, wanted.resource_id, asked_before];
    run(c, doing, sql, key).map(drop)
}
