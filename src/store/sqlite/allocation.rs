//! Sealed lists, allocations as they are read, and what is said about them afterwards.

use super::super::Result;
use super::super::error::StoreError;
use super::super::rows::*;
use super::{audit, row, rows, run, signature, word};
use rusqlite::{Connection, Row, params};

pub(super) fn put_list(c: &Connection, chain: &dyn Chain, new: &NewAllocationList) -> Result<()> {
    let doing = "storing an allocation list";
    if let Some(list) = list(c, &new.trial)? {
        return Err(StoreError::Conflict {
            code: "list-exists",
            message: format!("trial {} has an allocation list already: {}", new.trial, list.id),
            existing: Some(list.id),
        });
    }
    if new.slots.is_empty() {
        return Err(StoreError::conflict("list-empty", "the allocation list has no slots"));
    }
    let slots = i64::try_from(new.slots.len()).map_err(|e| StoreError::storage(doing, e))?;
    let signature = signature::put(c, &new.signature)?;
    run(
        c,
        doing,
        "INSERT INTO allocation_list (id, trial, definition, plan, commitment, total, slots, created_at, json, signature)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            new.id,
            new.trial,
            new.definition,
            new.plan,
            new.commitment,
            new.total,
            slots,
            new.created_at,
            new.json,
            signature.id
        ],
    )?;
    for slot in &new.slots {
        run(
            c,
            doing,
            "INSERT INTO allocation_slot (list_id, stratum, position, sealed) VALUES (?1, ?2, ?3, ?4)",
            params![new.id, slot.stratum, slot.position, slot.sealed],
        )?;
    }
    audit::append(c, chain, &signature::bind(&signature, &new.audit)?).map(drop)
}

pub(super) fn list(c: &Connection, trial: &str) -> Result<Option<AllocationList>> {
    row(c, "reading the allocation list", "SELECT * FROM allocation_list WHERE trial = ?1", [trial], |r| {
        Ok(AllocationList {
            id: r.get("id")?,
            trial: r.get("trial")?,
            definition: r.get("definition")?,
            plan: r.get("plan")?,
            commitment: r.get("commitment")?,
            total: r.get("total")?,
            slots: r.get("slots")?,
            created_at: r.get("created_at")?,
            json: r.get("json")?,
            signature: r.get("signature")?,
        })
    })
}

pub(super) fn terms(c: &Connection, trial: &str) -> Result<Option<ListTerms>> {
    // By itself SQLite takes the index that is unique, and then reads through the whole public part.
    let sql = "SELECT id, definition, plan, commitment, total
                 FROM allocation_list INDEXED BY allocation_list_terms WHERE trial = ?1";
    row(c, "reading the allocation list", sql, [trial], |r| {
        Ok(ListTerms {
            id: r.get(0)?,
            definition: r.get(1)?,
            plan: r.get(2)?,
            commitment: r.get(3)?,
            total: r.get(4)?,
        })
    })
}

pub(super) fn sealed_slots(c: &Connection, list_id: &str) -> Result<Vec<Vec<u8>>> {
    let sql = "SELECT sealed FROM allocation_slot WHERE list_id = ?1 ORDER BY stratum, position";
    rows(c, "reading the sealed slots", sql, [list_id], |r| r.get(0))
}

pub(super) fn sealed_slot(
    c: &Connection,
    list_id: &str,
    stratum: i64,
    position: i64,
) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT sealed FROM allocation_slot WHERE list_id = ?1 AND stratum = ?2 AND position = ?3";
    row(c, "reading a sealed slot", sql, params![list_id, stratum, position], |r| r.get(0))
}

/// The draws with a number below `before`, in order, with their slots.
pub(super) fn draws(c: &Connection, list_id: &str, before: i64) -> Result<Vec<PastDraw>> {
    rows(
        c,
        "reading the draws so far",
        "SELECT a.number, a.stratum, a.position, a.levels, s.sealed
           FROM allocation a JOIN allocation_slot s
             ON s.list_id = a.list_id AND s.stratum = a.stratum AND s.position = a.position
          WHERE a.list_id = ?1 AND a.number < ?2 ORDER BY a.number",
        params![list_id, before],
        |r| {
            Ok(PastDraw {
                number: r.get(0)?,
                stratum: r.get(1)?,
                position: r.get(2)?,
                levels: r.get(3)?,
                sealed: r.get(4)?,
            })
        },
    )
}

pub(super) fn read(r: &Row<'_>) -> rusqlite::Result<Allocation> {
    Ok(Allocation {
        id: r.get("id")?,
        list_id: r.get("list_id")?,
        number: r.get("number")?,
        stratum: r.get("stratum")?,
        position: r.get("position")?,
        subject: r.get("subject")?,
        idempotency_key: r.get("idempotency_key")?,
        levels: r.get("levels")?,
        leaf: r.get("leaf")?,
        proof: r.get("proof")?,
        decision_seq: r.get("decision_seq")?,
        decided_input: r.get("decided_input")?,
        definition: r.get("definition")?,
        signature: r.get("signature")?,
        actor: r.get("actor")?,
        at: r.get("at")?,
    })
}

const DOING: &str = "reading allocations";

pub(super) fn all(c: &Connection, trial: &str) -> Result<Vec<Allocation>> {
    rows(
        c,
        DOING,
        "SELECT a.* FROM allocation a JOIN allocation_list l ON l.id = a.list_id
          WHERE l.trial = ?1 ORDER BY a.number",
        [trial],
        read,
    )
}

pub(super) fn of_subject(c: &Connection, trial: &str, subject: &str) -> Result<Option<Allocation>> {
    row(
        c,
        DOING,
        "SELECT a.* FROM allocation a JOIN allocation_list l ON l.id = a.list_id
          WHERE l.trial = ?1 AND a.subject = ?2",
        [trial, subject],
        read,
    )
}

pub(super) fn by_key(c: &Connection, idempotency_key: &str) -> Result<Option<Allocation>> {
    row(c, DOING, "SELECT * FROM allocation WHERE idempotency_key = ?1", [idempotency_key], read)
}

/// Was something allocated under this key?
pub(super) fn is_key(c: &Connection, idempotency_key: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM allocation WHERE idempotency_key = ?1";
    Ok(row(c, DOING, sql, [idempotency_key], |_| Ok(()))?.is_some())
}

// ---- what is said afterwards ----

pub(super) fn put_event(
    c: &Connection,
    chain: &dyn Chain,
    new: &NewAllocationEvent,
) -> Result<AllocationEvent> {
    let doing = "storing what is said about an allocation";
    if let Some(id) = &new.allocation_id {
        let sql = "SELECT 1 FROM allocation a JOIN allocation_list l ON l.id = a.list_id
                    WHERE a.id = ?1 AND l.trial = ?2";
        row(c, doing, sql, [id, &new.trial], |_| Ok(()))?
            .ok_or_else(|| StoreError::not_found(format!("allocation {id} of trial {}", new.trial)))?;
    }
    let refused = match new.kind {
        EventKind::Closed if is_closed(c, &new.trial)? => {
            Some(("already-closed", "randomization is stopped already"))
        }
        EventKind::Reopened if !is_closed(c, &new.trial)? => {
            Some(("not-closed", "randomization is not stopped"))
        }
        EventKind::MarkedInError if is_marked(c, new.allocation_id.as_deref())? => {
            Some(("already-marked", "this allocation is marked as an error already"))
        }
        _ => None,
    };
    if let Some((code, message)) = refused {
        return Err(StoreError::conflict(code, message));
    }
    let signature = signature::put(c, &new.signature)?;
    let at = new.signature.at.clone();
    run(
        c,
        doing,
        "INSERT INTO allocation_event (trial, allocation_id, kind, detail, signature, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![new.trial, new.allocation_id, new.kind.word(), new.detail, signature.id, at],
    )?;
    let id = c.last_insert_rowid();
    audit::append(c, chain, &signature::bind(&signature, &new.audit)?)?;
    Ok(AllocationEvent {
        id,
        trial: new.trial.clone(),
        allocation_id: new.allocation_id.clone(),
        kind: new.kind,
        detail: new.detail.clone(),
        signature: signature.id,
        at,
    })
}

pub(super) fn events(c: &Connection, trial: &str) -> Result<Vec<AllocationEvent>> {
    let sql = "SELECT * FROM allocation_event WHERE trial = ?1 ORDER BY id";
    rows(c, "reading what was said about allocations", sql, [trial], |r| {
        Ok(AllocationEvent {
            id: r.get("id")?,
            trial: r.get("trial")?,
            allocation_id: r.get("allocation_id")?,
            kind: word(r, "kind")?,
            detail: r.get("detail")?,
            signature: r.get("signature")?,
            at: r.get("at")?,
        })
    })
}

/// Was randomization stopped, and not resumed?
pub(super) fn is_closed(c: &Connection, trial: &str) -> Result<bool> {
    let sql = "SELECT kind FROM allocation_event WHERE trial = ?1 AND kind IN ('closed', 'reopened')
                ORDER BY id DESC LIMIT 1";
    let last: Option<EventKind> =
        row(c, "reading whether randomization is stopped", sql, [trial], |r| word(r, "kind"))?;
    Ok(last == Some(EventKind::Closed))
}

fn is_marked(c: &Connection, allocation_id: Option<&str>) -> Result<bool> {
    let sql = "SELECT 1 FROM allocation_event WHERE allocation_id = ?1 AND kind = 'marked-in-error'";
    Ok(row(c, DOING, sql, [allocation_id], |_| Ok(()))?.is_some())
}

/// The definitions that were signed for the trial's list, the oldest first.
pub(super) fn signed_definitions(c: &Connection, trial: &str) -> Result<Vec<SignedDefinition>> {
    let sql =
        "SELECT ifnull(json_extract(detail, '$.definition'), ''), ifnull(json_extract(detail, '$.plan'), '')
                 FROM allocation_event WHERE trial = ?1 AND kind = 'definition-signed' ORDER BY id";
    rows(c, "reading the signed definitions", sql, [trial], |r| {
        Ok(SignedDefinition { definition: r.get(0)?, plan: r.get(1)? })
    })
}

pub(super) fn note_told(
    c: &Connection,
    chain: &dyn Chain,
    allocation_id: &str,
    entry: &NewAudit,
) -> Result<bool> {
    let doing = "noting whose arm is told";
    let before = "SELECT 1 FROM allocation_told WHERE allocation_id = ?1";
    if row(c, doing, before, [allocation_id], |_| Ok(()))?.is_some() {
        return Ok(false);
    }
    let sql = "INSERT INTO allocation_told (allocation_id, at) VALUES (?1, ?2)";
    run(c, doing, sql, params![allocation_id, entry.at])?;
    audit::append(c, chain, entry)?;
    Ok(true)
}
