//! What happened to the data behind an allocation after it was made.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{audit, rows, run, word};
use rusqlite::{Connection, params};

pub(super) fn open(c: &Connection, chain: &dyn Chain, new: &[NewDeviation]) -> Result<Vec<i64>> {
    let mut opened = Vec::new();
    for deviation in new {
        let added = run(
            c,
            "opening a deviation",
            "INSERT INTO deviation (subject, allocation_id, opened_at, kind, reference, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (allocation_id, kind, reference, detail) DO NOTHING",
            params![
                deviation.subject,
                deviation.allocation_id,
                deviation.opened_at,
                deviation.kind,
                deviation.reference,
                deviation.detail
            ],
        )?;
        if added == 1 {
            opened.push(c.last_insert_rowid());
            audit::append(c, chain, &deviation.audit)?;
        }
    }
    Ok(opened)
}

pub(super) fn list(c: &Connection, state: Option<DeviationState>) -> Result<Vec<Deviation>> {
    rows(
        c,
        "reading deviations",
        "SELECT * FROM deviation WHERE ?1 IS NULL OR state = ?1 ORDER BY id",
        [state.map(Word::word)],
        |r| {
            Ok(Deviation {
                id: r.get("id")?,
                subject: r.get("subject")?,
                allocation_id: r.get("allocation_id")?,
                opened_at: r.get("opened_at")?,
                kind: r.get("kind")?,
                reference: r.get("reference")?,
                detail: r.get("detail")?,
                state: word(r, "state")?,
            })
        },
    )
}

pub(super) fn acknowledge(c: &Connection, id: i64) -> Result<()> {
    let sql = "UPDATE deviation SET state = 'acknowledged' WHERE id = ?1 AND state = 'open'";
    match run(c, "acknowledging a deviation", sql, [id])? {
        0 => Err(StoreError::not_found(format!("open deviation {id}"))),
        _ => Ok(()),
    }
}
