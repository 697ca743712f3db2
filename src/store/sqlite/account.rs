//! Accounts: made and changed under somebody's authority, never removed, each change with its audit entry.
//!
//! Their clock stands here too: what lives for a time is measured on it, and it does not go back unseen.

use super::super::Result;
use super::super::account::*;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{audit, row, rows, run, signature, word};
use crate::access::Role;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

/// How far a clock may go back without a word: time servers correct by less.
const TOLERANCE: TimeDelta = TimeDelta::seconds(5);

pub(super) fn all(c: &Connection) -> Result<Vec<Account>> {
    rows(c, "reading the accounts", "SELECT * FROM account ORDER BY name", [], read)
}

pub(super) fn one(c: &Connection, name: &str) -> Result<Option<Account>> {
    row(c, "reading an account", "SELECT * FROM account WHERE name = ?1", [name], read)
}

pub(super) fn password(c: &Connection, name: &str) -> Result<Option<String>> {
    let sql = "SELECT password FROM account WHERE name = ?1";
    Ok(row(c, "reading a password's hash", sql, [name], |r| r.get(0))?.flatten())
}

pub(super) fn read(r: &Row<'_>) -> rusqlite::Result<Account> {
    let role: String = r.get("role")?;
    let role = Role::named(&role)
        .ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(2, Type::Text, "unknown role".into()))?;
    Ok(Account {
        name: r.get("name")?,
        printed_name: r.get("printed_name")?,
        role,
        site: r.get("site")?,
        origin: word(r, "origin")?,
        must_change: r.get("must_change")?,
        disabled: r.get("disabled")?,
        failures: r.get("failures")?,
        created_at: r.get("created_at")?,
        changed_at: r.get("changed_at")?,
    })
}

pub(super) fn put(
    c: &Connection,
    chain: &dyn Chain,
    new: &NewAccount,
    authority: &Authority,
    entry: &NewAudit,
) -> Result<()> {
    tick(c, chain, &new.at)?;
    let there: i64 =
        row(c, "counting the accounts", "SELECT count(*) FROM account", [], |r| r.get(0))?.unwrap_or(0);
    let refuse = |code, text: &str| Err(StoreError::conflict(code, text));
    match authority {
        Authority::First if there > 0 => {
            return refuse(
                "first-account",
                "there are accounts already: an administrator makes the next one",
            );
        }
        Authority::First if new.role != Role::Administrator || new.password.is_none() => {
            return refuse("first-account", "the first account is a local administrator");
        }
        Authority::Signed(_) | Authority::Itself if there == 0 => {
            return refuse("no-account", "there is no account yet: the first one is a local administrator");
        }
        _ => {}
    }
    if one(c, &new.name)?.is_some() {
        let message = "this name is taken; a name is never given to somebody else".to_owned();
        return Err(StoreError::Conflict {
            code: "account-exists",
            message,
            existing: Some(new.name.clone()),
        });
    }
    let origin = if new.password.is_some() { AccountOrigin::Local } else { AccountOrigin::Oidc };
    run(
        c,
        "storing an account",
        "INSERT INTO account (name, printed_name, role, site, origin, password, must_change, created_at, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)",
        params![
            new.name,
            new.printed_name,
            new.role.name(),
            new.site,
            origin.word(),
            new.password,
            new.must_change,
            new.at
        ],
    )?;
    write_down(c, chain, authority, entry)
}

pub(super) fn change(
    c: &Connection,
    chain: &dyn Chain,
    name: &str,
    change: &AccountChange,
    at: &str,
    authority: &Authority,
    entry: &NewAudit,
) -> Result<()> {
    tick(c, chain, at)?;
    if one(c, name)?.is_none() {
        return Err(StoreError::not_found("such account"));
    }
    let doing = "changing an account";
    match change {
        AccountChange::Role { role, site } => {
            let sql = "UPDATE account SET role = ?2, site = ?3, changed_at = ?4 WHERE name = ?1";
            run(c, doing, sql, params![name, role.name(), site, at])?;
        }
        AccountChange::PrintedName(printed) => {
            let sql = "UPDATE account SET printed_name = ?2, changed_at = ?3 WHERE name = ?1";
            run(c, doing, sql, params![name, printed, at])?;
        }
        AccountChange::Disabled(disabled) => {
            let sql = "UPDATE account SET disabled = ?2, changed_at = ?3 WHERE name = ?1";
            run(c, doing, sql, params![name, disabled, at])?;
        }
        AccountChange::Password { phc, must_change } => {
            let sql = "UPDATE account SET password = ?2, must_change = ?3, failures = 0, failed_at = NULL,
                                          changed_at = ?4
                        WHERE name = ?1";
            run(c, doing, sql, params![name, phc, must_change, at])?;
        }
    }
    // Somebody must be left who can undo it. Accounts of the identity provider come and go with it.
    let sql = "SELECT count(*) FROM account
                WHERE role = 'administrator' AND origin = 'local' AND disabled = 0";
    if row(c, doing, sql, [], |r| r.get::<_, i64>(0))? == Some(0) {
        let text = "no local administrator would be left; make another one first";
        return Err(StoreError::conflict("last-administrator", text));
    }
    end_sessions(c, name)?;
    write_down(c, chain, authority, entry)
}

pub(super) fn end_sessions(c: &Connection, name: &str) -> Result<()> {
    run(c, "ending sessions", "DELETE FROM session WHERE account = ?1", [name]).map(drop)
}

fn write_down(c: &Connection, chain: &dyn Chain, authority: &Authority, entry: &NewAudit) -> Result<()> {
    let entry = match authority {
        Authority::Signed(new) => signature::bind(&signature::put(c, new)?, entry)?,
        Authority::First | Authority::Itself => entry.clone(),
    };
    audit::append(c, chain, &entry).map(drop)
}

// ---- the clock ----

/// A time as we write it.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
    read.map_err(|_| StoreError::storage("reading a time", "it is not RFC 3339"))
}

/// The latest moment seen, if there was one.
pub(super) fn highest(c: &Connection) -> Result<Option<DateTime<Utc>>> {
    let sql = "SELECT highest FROM account_clock";
    let text: Option<String> = row(c, "reading the accounts' clock", sql, [], |r| r.get(0))?;
    text.as_deref().map(time).transpose()
}

/// Moves the clock to `at` and returns the time that counts: the latest one seen, so that a small step back
/// prolongs nothing. After a larger one nothing that was measured before it can be trusted.
pub(super) fn tick(c: &Connection, chain: &dyn Chain, at: &str) -> Result<DateTime<Utc>> {
    let doing = "moving the accounts' clock";
    let now = time(at)?;
    let set = |at: &str| {
        let sql = "INSERT INTO account_clock (id, highest) VALUES (1, ?1)
                   ON CONFLICT (id) DO UPDATE SET highest = excluded.highest";
        run(c, doing, sql, [at])
    };
    let Some(highest) = highest(c)? else {
        set(at)?;
        return Ok(now);
    };
    if now >= highest {
        set(at)?;
        return Ok(now);
    }
    if highest - now <= TOLERANCE {
        return Ok(highest);
    }
    run(c, doing, "DELETE FROM session", [])?;
    run(c, doing, "DELETE FROM oidc_request", [])?;
    // What failed at a time that has not come yet failed now: its wait begins anew, and ends.
    for (read, write) in [
        (
            "SELECT name, failed_at FROM account WHERE failed_at IS NOT NULL",
            "UPDATE account SET failed_at = ?2 WHERE name = ?1",
        ),
        ("SELECT key, failed_at FROM stranger", "UPDATE stranger SET failed_at = ?2 WHERE key = ?1"),
    ] {
        let failed = rows(c, doing, read, [], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))?;
        for (key, when) in failed {
            if time(&when)? > now {
                run(c, doing, write, [key.as_str(), at])?;
            }
        }
    }
    set(at)?;
    let before = highest.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    audit::append(c, chain, &all_ended(&before, at))?;
    Ok(now)
}
