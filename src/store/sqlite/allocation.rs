//! Sealed lists and the one transaction that allocates.
//!
//! There is one writer, so that a draw needs no lock on the list: what it reads stays true until it
//! commits. The UNIQUE constraints and the trigger on positions guard the same rules once more.

use super::super::Result;
use super::super::error::{AllocateError, Refusal, StoreError};
use super::super::rows::*;
use super::{audit, decision, outbox, row, rows, run, sha256_hex};
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
    let total = i64::try_from(new.slots.len()).map_err(|e| StoreError::storage(doing, e))?;
    run(
        c,
        doing,
        "INSERT INTO allocation_list (id, trial, definition, commitment, total, created_at, json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![new.id, new.trial, new.definition, new.commitment, total, new.created_at, new.json],
    )?;
    for (position, sealed) in (1_i64..).zip(&new.slots) {
        run(
            c,
            doing,
            "INSERT INTO allocation_slot (list_id, position, sealed) VALUES (?1, ?2, ?3)",
            params![new.id, position, sealed],
        )?;
    }
    audit::append(c, chain, &new.audit).map(drop)
}

pub(super) fn list(c: &Connection, trial: &str) -> Result<Option<AllocationList>> {
    row(c, "reading the allocation list", "SELECT * FROM allocation_list WHERE trial = ?1", [trial], |r| {
        Ok(AllocationList {
            id: r.get("id")?,
            trial: r.get("trial")?,
            definition: r.get("definition")?,
            commitment: r.get("commitment")?,
            total: r.get("total")?,
            created_at: r.get("created_at")?,
            json: r.get("json")?,
        })
    })
}

pub(super) fn sealed_slots(c: &Connection, list_id: &str) -> Result<Vec<Vec<u8>>> {
    let sql = "SELECT sealed FROM allocation_slot WHERE list_id = ?1 ORDER BY position";
    rows(c, "reading the sealed slots", sql, [list_id], |r| r.get(0))
}

pub(super) fn allocate(
    c: &Connection,
    chain: &dyn Chain,
    request: &AllocationRequest,
    check: Check,
) -> std::result::Result<AllocationOutcome, AllocateError> {
    if let Some(allocation) = by_key(c, &request.idempotency_key)? {
        let trial = of_subject(c, &request.trial, &request.subject)?;
        if trial.is_some_and(|a| a.id == allocation.id) {
            return Ok(AllocationOutcome { allocation, replayed: true });
        }
        return Err(conflict(
            "key-reuse",
            "this idempotency key has allocated another participant; use a new key",
            allocation.id,
        ));
    }
    if let Some(allocation) = of_subject(c, &request.trial, &request.subject)? {
        let message = format!("this participant has been allocated already: {}", allocation.id);
        return Err(conflict("duplicate", &message, allocation.id));
    }
    let snapshot = snapshot(c, &request.trial, &request.subject)?;
    let drawn = check(&snapshot)?;
    let allocation = Allocation {
        id: name(&snapshot.list.id, snapshot.position, &request.subject),
        list_id: snapshot.list.id,
        position: snapshot.position,
        subject: request.subject.clone(),
        idempotency_key: request.idempotency_key.clone(),
        arm: drawn.arm,
        salt: drawn.salt,
        proof: drawn.proof,
        decision_seq: snapshot.decision.seq,
        decided_input: snapshot.decision.input,
        definition: snapshot.decision.definition,
        actor: request.actor.clone(),
        at: request.at.clone(),
    };
    insert(c, &allocation)?;
    audit::append(c, chain, &entry(request, &allocation)?)?;
    for kind in &request.outbox {
        let created_at = request.at.clone();
        outbox::put(c, &NewOutbox { kind: kind.clone(), subject: request.subject.clone(), created_at })?;
    }
    Ok(AllocationOutcome { allocation, replayed: false })
}

/// What the draw would be decided on.
pub(super) fn snapshot(
    c: &Connection,
    trial: &str,
    subject: &str,
) -> std::result::Result<Snapshot, AllocateError> {
    let doing = "reading the next slot";
    let list = list(c, trial)?
        .ok_or_else(|| StoreError::not_found(format!("allocation list for trial {trial}; generate one")))?;
    let position: Option<i64> = row(
        c,
        doing,
        "SELECT ifnull(max(position), 0) + 1 FROM allocation WHERE list_id = ?1",
        [&list.id],
        |r| r.get(0),
    )?;
    let position = position.unwrap_or(1);
    let sql = "SELECT sealed FROM allocation_slot WHERE list_id = ?1 AND position = ?2";
    let sealed = row(c, doing, sql, params![list.id, position], |r| r.get(0))?.ok_or_else(|| {
        StoreError::conflict(
            "list-exhausted",
            format!("all {} slots of the allocation list are used", list.total),
        )
    })?;
    let decision = decision::latest(c, subject)?.ok_or_else(|| Refusal {
        code: "no-decision".to_owned(),
        text: "nothing has been decided about this subject; screen first".to_owned(),
    })?;
    let dirty = row(c, doing, "SELECT 1 FROM dirty_subject WHERE subject = ?1", [subject], |_| Ok(()))?;
    let pending = "SELECT count(*) FROM inbox WHERE state = 'pending'";
    let pending_inbox = row(c, doing, pending, [], |r| r.get(0))?.unwrap_or_default();
    Ok(Snapshot {
        subject: subject.to_owned(),
        decision,
        list,
        position,
        sealed,
        dirty: dirty.is_some(),
        pending_inbox,
    })
}

fn insert(c: &Connection, a: &Allocation) -> Result<()> {
    run(
        c,
        "storing an allocation",
        "INSERT INTO allocation (id, list_id, position, subject, idempotency_key, arm, salt, proof, decision_seq,
                                 decided_input, definition, actor, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            a.id,
            a.list_id,
            a.position,
            a.subject,
            a.idempotency_key,
            a.arm,
            a.salt,
            a.proof,
            a.decision_seq,
            a.decided_input,
            a.definition,
            a.actor,
            a.at
        ],
    )
    .map(drop)
}

/// What the audit says of an allocation: everything but the arm.
fn entry(request: &AllocationRequest, a: &Allocation) -> Result<NewAudit> {
    let detail = serde_json::to_string(
        &[
            ("allocation", a.id.as_str()),
            ("list", &a.list_id),
            ("position", &a.position.to_string()),
            ("input", &a.decided_input),
            ("definition", &a.definition),
        ]
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>(),
    );
    Ok(NewAudit {
        at: request.at.clone(),
        actor: request.actor.clone(),
        role: request.role.clone(),
        action: "allocate".to_owned(),
        subject: Some(request.subject.clone()),
        detail: detail.map_err(|e| StoreError::storage("writing the audit", e))?,
    })
}

/// The id of an allocation. Worked out from what is public, so that it cannot carry the arm.
fn name(list_id: &str, position: i64, subject: &str) -> String {
    let hash = sha256_hex(format!("trialbridge allocation\n{list_id}\n{position}\n{subject}").as_bytes());
    format!("alloc-{}", &hash[..20])
}

fn conflict(code: &'static str, message: &str, existing: String) -> AllocateError {
    StoreError::Conflict { code, message: message.to_owned(), existing: Some(existing) }.into()
}

fn read(r: &Row<'_>) -> rusqlite::Result<Allocation> {
    Ok(Allocation {
        id: r.get("id")?,
        list_id: r.get("list_id")?,
        position: r.get("position")?,
        subject: r.get("subject")?,
        idempotency_key: r.get("idempotency_key")?,
        arm: r.get("arm")?,
        salt: r.get("salt")?,
        proof: r.get("proof")?,
        decision_seq: r.get("decision_seq")?,
        decided_input: r.get("decided_input")?,
        definition: r.get("definition")?,
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
          WHERE l.trial = ?1 ORDER BY a.position",
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
