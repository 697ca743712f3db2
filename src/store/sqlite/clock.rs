//! A clock that was set back, seen from the times that callers bring: the store itself reads none.
//!
//! Order is the sequence number's. What a person does, and the opening of the store, are dated by the
//! moment; if that lies before the latest time of the log, the clock went back, and an entry says so once.
//! What the service works out is dated by the run that works it out, which may have begun long ago: it
//! tells nothing of the clock.

use super::super::Result;
use super::super::rows::*;
use super::{audit, cursor};
use chrono::{DateTime, FixedOffset, TimeDelta};
use rusqlite::Connection;

/// Clocks that are kept right wander by less.
const TOLERANCE: TimeDelta = TimeDelta::seconds(5);
/// The latest time in the log, or what a person accepted in its place.
const LATEST: &str = "audit.clock.latest";
/// While the clock is behind [`LATEST`]: what it said last. Empty otherwise.
const BEHIND: &str = "audit.clock.behind";

const ACTION: &str = "clock-anomaly";

fn instant(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(text).ok()
}

fn is_before(at: &str, other: &str) -> bool {
    matches!((instant(at), instant(other)), (Some(at), Some(other)) if other - at > TOLERANCE)
}

/// Notes a time that an entry brings. A `moment` tells what the clock says; another time may lie behind.
pub(super) fn note(c: &Connection, chain: &dyn Chain, at: &str, is_moment: bool) -> Result<()> {
    let latest = cursor::get(c, cursor::META, LATEST)?.filter(|text| instant(text).is_some());
    let Some(latest) = latest else {
        // The first entry, or the log of a version that kept no such note.
        let head = audit::head(c)?.map(|e| e.entry.at).filter(|last| is_before(at, last));
        return match head {
            Some(last) => {
                cursor::set(c, cursor::META, LATEST, &last)?;
                note(c, chain, at, is_moment)
            }
            None => cursor::set(c, cursor::META, LATEST, at),
        };
    };
    if matches!((instant(at), instant(&latest)), (Some(at), Some(latest)) if at > latest) {
        cursor::set(c, cursor::META, LATEST, at)?;
        if said(c)?.is_some() {
            cursor::set(c, cursor::META, BEHIND, "")?;
        }
    } else if is_moment && is_before(at, &latest) {
        // Once for each time that it went back.
        let behind = said(c)?;
        let said = behind.as_deref().unwrap_or(&latest);
        if is_before(at, said) {
            tracing::warn!(event = "clock-anomaly", before = said, after = at, "the clock was set back");
            audit::link(c, chain, &anomaly(said, at))?;
        }
        if behind.as_deref() != Some(at) {
            cursor::set(c, cursor::META, BEHIND, at)?;
        }
    }
    Ok(())
}

/// What the clock said last, while it is behind.
fn said(c: &Connection) -> Result<Option<String>> {
    Ok(cursor::get(c, cursor::META, BEHIND)?.filter(|text| !text.is_empty()))
}

fn anomaly(before: &str, after: &str) -> NewAudit {
    NewAudit {
        at: after.to_owned(),
        actor: "trialbridge".to_owned(),
        role: super::anchor::SERVICE.to_owned(),
        action: ACTION.to_owned(),
        subject: None,
        // The times are our own: nothing in them has to be escaped.
        detail: format!(r#"{{"after":"{after}","before":"{before}"}}"#),
    }
}

/// At the opening for writing. Writes only where the clock went back.
pub(super) fn opened(c: &Connection, chain: &dyn Chain, now: &str) -> Result<()> {
    if behind(c, now)?.is_none() {
        return Ok(());
    }
    let failed = super::trouble("noting the clock");
    let transaction = c.unchecked_transaction().map_err(&failed)?;
    note(&transaction, chain, now, true)?;
    transaction.commit().map_err(&failed)
}

/// The latest time of the log, if `now` lies before it.
pub(super) fn behind(c: &Connection, now: &str) -> Result<Option<String>> {
    Ok(cursor::get(c, cursor::META, LATEST)?.filter(|latest| is_before(now, latest)))
}

/// The latest time of the log, if the clock was last seen before it.
pub(super) fn is_behind(c: &Connection) -> Result<Option<String>> {
    match said(c)? {
        Some(said) => behind(c, &said),
        None => Ok(None),
    }
}

/// The clock says `now`, and a person says that it is right.
pub(super) fn accept(c: &Connection, now: &str) -> Result<()> {
    cursor::set(c, cursor::META, LATEST, now)?;
    cursor::set(c, cursor::META, BEHIND, "")
}
