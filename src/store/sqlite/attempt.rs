//! Attempts to prove who somebody is: counted before the proof is looked at, so that a hundred guesses at
//! once are a hundred, and counted alike for names that nobody has.

use super::super::Result;
use super::super::account::*;
use super::super::rows::*;
use super::{account, audit, row, run};
use crate::access;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};

/// Names that nobody has are remembered up to this many; the oldest are forgotten.
const STRANGERS: i64 = 10_000;

pub(super) fn begin(c: &Connection, chain: &dyn Chain, name: &str, key: &str, at: &str) -> Result<Attempt> {
    let doing = "beginning an attempt";
    let now = account::tick(c, chain, at)?;
    let sql = "SELECT failures, failed_at, password FROM account WHERE name = ?1";
    let known: Option<(u32, Option<String>, Option<String>)> =
        row(c, doing, sql, [name], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
    if let Some((failures, failed_at, password)) = known {
        if let Some(barred) = barred(failures, failed_at.as_deref(), now)? {
            return Ok(barred);
        }
        let sql = "UPDATE account SET failures = failures + 1, failed_at = ?2 WHERE name = ?1";
        run(c, doing, sql, [name, at])?;
        let account = account::one(c, name)?;
        return Ok(Attempt::Open(account.map(|account| Claimant { account, password })));
    }
    let sql = "SELECT failures, failed_at FROM stranger WHERE key = ?1";
    let before: Option<(u32, String)> = row(c, doing, sql, [key], |r| Ok((r.get(0)?, r.get(1)?)))?;
    if let Some((failures, failed_at)) = &before
        && let Some(barred) = barred(*failures, Some(failed_at), now)?
    {
        return Ok(barred);
    }
    run(
        c,
        doing,
        "INSERT INTO stranger (key, failures, failed_at) VALUES (?1, 1, ?2)
         ON CONFLICT (key) DO UPDATE SET failures = failures + 1, failed_at = excluded.failed_at",
        [key, at],
    )?;
    let sql = "DELETE FROM stranger WHERE key IN
                   (SELECT key FROM stranger ORDER BY failed_at DESC, key LIMIT -1 OFFSET ?1)";
    run(c, doing, sql, params![STRANGERS])?;
    Ok(Attempt::Open(None))
}

fn barred(failures: u32, failed_at: Option<&str>, now: DateTime<Utc>) -> Result<Option<Attempt>> {
    let Some(failed_at) = failed_at else { return Ok(None) };
    let Some(seconds) = access::wait_after(failures) else {
        return Ok(Some(Attempt::Barred { wait: None }));
    };
    let wait = account::time(failed_at)? + TimeDelta::seconds(seconds) - now;
    Ok((wait > TimeDelta::zero()).then_some(Attempt::Barred { wait: Some(wait) }))
}

pub(super) fn end(
    c: &Connection,
    chain: &dyn Chain,
    name: &str,
    end: &AttemptEnd,
    entry: Option<&NewAudit>,
) -> Result<()> {
    if let AttemptEnd::Passed { rehashed } = end {
        let sql = "UPDATE account SET failures = 0, failed_at = NULL, password = ifnull(?2, password)
                    WHERE name = ?1";
        run(c, "ending an attempt", sql, params![name, rehashed])?;
    }
    entry.map_or(Ok(()), |entry| audit::append(c, chain, entry).map(drop))
}
