//! Sessions, and the questions to the identity provider that lead to them. A session that is not here does
//! not exist, whatever a browser holds.

use super::super::Result;
use super::super::account::*;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{account, audit, row, rows, run};
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};

/// A session that was seen less than this ago is not written down again. It may end so much too early,
/// never too late.
const RESOLUTION: TimeDelta = TimeDelta::seconds(30);
/// Questions to the identity provider that may wait at a time: anybody can ask for one.
const REQUESTS: i64 = 1000;

/// What is stored of a session, with its account.
struct Held {
    account: Account,
    created: DateTime<Utc>,
    seen: DateTime<Utc>,
}

fn find(c: &Connection, token: &str) -> Result<Option<Held>> {
    let doing = "looking for a session";
    let sql = "SELECT account, created_at, seen_at FROM session WHERE token_sha256 = ?1";
    let found: Option<(String, String, String)> =
        row(c, doing, sql, [token], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
    let Some((name, created, seen)) = found else { return Ok(None) };
    let Some(account) = account::one(c, &name)? else { return Ok(None) };
    Ok(Some(Held { account, created: account::time(&created)?, seen: account::time(&seen)? }))
}

fn lives(held: &Held, now: DateTime<Utc>, limits: SessionLimits) -> bool {
    !held.account.disabled && now - held.seen < limits.idle && now - held.created < limits.absolute
}

/// The account of a session that lives and that nothing has to be written for.
pub(super) fn recent(
    c: &Connection,
    token: &str,
    at: &str,
    limits: SessionLimits,
) -> Result<Option<Account>> {
    let now = account::time(at)?;
    // A clock behind the latest time seen is the writer's business.
    if account::highest(c)?.is_some_and(|highest| now < highest) {
        return Ok(None);
    }
    let held = find(c, token)?;
    Ok(held.filter(|h| lives(h, now, limits) && now - h.seen < RESOLUTION).map(|h| h.account))
}

pub(super) fn see(
    c: &Connection,
    chain: &dyn Chain,
    token: &str,
    at: &str,
    limits: SessionLimits,
) -> Result<Option<Account>> {
    let now = account::tick(c, chain, at)?;
    let Some(held) = find(c, token)? else { return Ok(None) };
    if !lives(&held, now, limits) {
        run(c, "ending a session", "DELETE FROM session WHERE token_sha256 = ?1", [token])?;
        return Ok(None);
    }
    if now - held.seen >= RESOLUTION {
        let seen = now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let sql = "UPDATE session SET seen_at = ?2 WHERE token_sha256 = ?1";
        run(c, "seeing a session", sql, [token, seen.as_str()])?;
    }
    Ok(Some(held.account))
}

pub(super) fn open(c: &Connection, chain: &dyn Chain, new: &NewSession, entry: &NewAudit) -> Result<()> {
    let doing = "opening a session";
    let now = account::tick(c, chain, &new.at)?;
    if let Some(replaced) = &new.replaces {
        run(c, doing, "DELETE FROM session WHERE token_sha256 = ?1", [replaced])?;
    }
    match account::one(c, &new.account)? {
        Some(account) if !account.disabled => {}
        _ => return Err(StoreError::not_found("enabled account of this name")),
    }
    let at = now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let sql = "INSERT INTO session (token_sha256, account, created_at, seen_at) VALUES (?1, ?2, ?3, ?3)";
    run(c, doing, sql, params![new.token_sha256, new.account, at])?;
    audit::append(c, chain, entry).map(drop)
}

pub(super) fn end(c: &Connection, chain: &dyn Chain, token: &str, entry: &NewAudit) -> Result<bool> {
    let ended = run(c, "ending a session", "DELETE FROM session WHERE token_sha256 = ?1", [token])? > 0;
    if ended {
        audit::append(c, chain, entry)?;
    }
    Ok(ended)
}

pub(super) fn all(c: &Connection) -> Result<Vec<SessionRow>> {
    let sql = "SELECT account, created_at, seen_at FROM session ORDER BY created_at, account";
    rows(c, "reading the sessions", sql, [], |r| {
        Ok(SessionRow { account: r.get(0)?, created_at: r.get(1)?, seen_at: r.get(2)? })
    })
}

pub(super) fn ask(c: &Connection, chain: &dyn Chain, new: &OidcRequest) -> Result<()> {
    let doing = "keeping a question to the identity provider";
    account::tick(c, chain, &new.at)?;
    run(
        c,
        doing,
        "INSERT INTO oidc_request (state_sha256, nonce, verifier, purpose, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![new.state_sha256, new.nonce, new.verifier, new.purpose, new.at],
    )?;
    let sql = "DELETE FROM oidc_request WHERE state_sha256 IN
                   (SELECT state_sha256 FROM oidc_request ORDER BY created_at DESC, state_sha256 LIMIT -1 OFFSET ?1)";
    run(c, doing, sql, params![REQUESTS]).map(drop)
}

pub(super) fn answered(
    c: &Connection,
    chain: &dyn Chain,
    state: &str,
    at: &str,
    at_most: TimeDelta,
) -> Result<Option<OidcRequest>> {
    let doing = "taking an answer of the identity provider";
    let now = account::tick(c, chain, at)?;
    let sql = "DELETE FROM oidc_request WHERE state_sha256 = ?1
               RETURNING state_sha256, nonce, verifier, purpose, created_at";
    let found = row(c, doing, sql, [state], |r| {
        Ok(OidcRequest {
            state_sha256: r.get(0)?,
            nonce: r.get(1)?,
            verifier: r.get(2)?,
            purpose: r.get(3)?,
            at: r.get(4)?,
        })
    })?;
    let Some(request) = found else { return Ok(None) };
    Ok((now - account::time(&request.at)? <= at_most).then_some(request))
}
