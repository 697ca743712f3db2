//! The one transaction that allocates.
//!
//! There is one writer, so that a draw needs no lock on the list: what it reads stays true until it commits.
//! The UNIQUE constraints and the triggers on numbers and positions guard the same rules once more.

use super::super::Result;
use super::super::error::{AllocateError, Refusal, StoreError};
use super::super::rows::*;
use super::{allocation, audit, covered, decision, outbox, person, row, run, sha256_hex, signature};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

type Allocate<T> = std::result::Result<T, AllocateError>;

/// What a request comes to, before anything is stored.
pub(super) enum Decided {
    /// Its key has allocated this subject before.
    Before(Box<Allocation>),
    Now(Box<Snapshot>, Drawn),
}

/// Everything that is decided about a participant: the same for a draw and, without a key, for a dry run.
/// `permits` is asked where something new would be drawn: what was drawn before is told again.
pub(super) fn decide(
    c: &Connection,
    trial: &str,
    subject: &str,
    key: Option<&str>,
    seen: Option<&str>,
    permits: impl FnOnce(&Connection) -> Allocate<()>,
    check: Check,
) -> Allocate<Decided> {
    let of_key = key.map(|key| allocation::by_key(c, key)).transpose()?.flatten();
    if of_key.is_none() {
        permits(c)?;
    }
    let of_subject = allocation::of_subject(c, trial, subject)?;
    if let Some(first) = of_key {
        if of_subject.is_some_and(|a| a.id == first.id) {
            return Ok(Decided::Before(Box::new(first)));
        }
        let message = "this idempotency key has allocated another participant; use a new key";
        return Err(conflict("key-reuse", message, first.id));
    }
    if let Some(first) = of_subject {
        let message = format!("this participant has been allocated already: {}", first.id);
        return Err(conflict("duplicate", &message, first.id));
    }
    let snapshot = snapshot(c, trial, subject)?;
    if seen.is_some_and(|seen| seen != snapshot.decision.input) {
        return Err(Refusal {
            code: "record-changed".to_owned(),
            text: "the decision is not the one that was signed for: the data changed meanwhile".to_owned(),
        }
        .into());
    }
    let desk = OpenDesk { c, list: &snapshot.list, number: snapshot.number };
    let drawn = check(&snapshot, &desk)?;
    Ok(Decided::Now(Box::new(snapshot), drawn))
}

pub(super) fn allocate(
    c: &Connection,
    chain: &dyn Chain,
    request: &AllocationRequest,
    permits: impl FnOnce(&Connection) -> Allocate<()>,
    check: Check,
) -> Allocate<AllocationOutcome> {
    let (key, seen) = (Some(request.idempotency_key.as_str()), request.seen.as_deref());
    let (snapshot, drawn) = match decide(c, &request.trial, &request.subject, key, seen, permits, check)? {
        Decided::Before(first) => return Ok(AllocationOutcome { allocation: *first, replayed: true }),
        Decided::Now(snapshot, drawn) => (snapshot, drawn),
    };
    let signature = signature::put(c, &request.signature)?;
    let allocation = Allocation {
        id: name(&snapshot.list.id, snapshot.number, &request.subject),
        list_id: snapshot.list.id,
        number: snapshot.number,
        stratum: drawn.stratum,
        position: drawn.position,
        subject: request.subject.clone(),
        idempotency_key: request.idempotency_key.clone(),
        levels: drawn.levels,
        leaf: drawn.leaf,
        proof: drawn.proof,
        decision_seq: snapshot.decision.seq,
        decided_input: snapshot.decision.input,
        definition: snapshot.decision.definition,
        signature: Some(signature.id),
        actor: request.signature.actor.clone(),
        at: request.at.clone(),
    };
    insert(c, &allocation)?;
    audit::append(c, chain, &entry(request, &allocation, &signature)?)?;
    for kind in &request.outbox {
        let created_at = request.at.clone();
        outbox::put(c, &NewOutbox { kind: kind.clone(), subject: request.subject.clone(), created_at })?;
    }
    Ok(AllocationOutcome { allocation, replayed: false })
}

/// What the draw is decided on.
fn snapshot(c: &Connection, trial: &str, subject: &str) -> Allocate<Snapshot> {
    let doing = "reading what a draw is decided on";
    let list = allocation::terms(c, trial)?
        .ok_or_else(|| StoreError::not_found(format!("allocation list for trial {trial}; generate one")))?;
    let number = "SELECT ifnull(max(number), 0) + 1 FROM allocation WHERE list_id = ?1";
    let number = row(c, doing, number, [&list.id], |r| r.get(0))?.unwrap_or(1);
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
        number,
        dirty: dirty.is_some(),
        pending_inbox,
        closed: allocation::is_closed(c, trial)?,
        signed: allocation::signed_definitions(c, trial)?,
        group: person::group(c, subject)?,
        list,
    })
}

/// The list as the check may look into it, within the transaction.
struct OpenDesk<'a> {
    c: &'a Connection,
    list: &'a ListTerms,
    number: i64,
}

impl Desk for OpenDesk<'_> {
    fn slot(&self, stratum: i64) -> Result<NextSlot> {
        let exhausted = |message: String| Err(StoreError::conflict("list-exhausted", message));
        if self.number > self.list.total {
            return exhausted(format!("all {} slots of the allocation list are used", self.list.total));
        }
        let sql = "SELECT ifnull(max(position), 0) + 1 FROM allocation WHERE list_id = ?1 AND stratum = ?2";
        let position =
            row(self.c, "reading the next slot", sql, params![self.list.id, stratum], |r| r.get(0))?
                .unwrap_or(1);
        match allocation::sealed_slot(self.c, &self.list.id, stratum, position)? {
            Some(sealed) => Ok(NextSlot { stratum, position, sealed }),
            None => exhausted("all slots of this stratum of the allocation list are used".to_owned()),
        }
    }

    fn history(&self) -> Result<Vec<PastDraw>> {
        allocation::draws(self.c, &self.list.id, self.number)
    }
}

fn insert(c: &Connection, a: &Allocation) -> Result<()> {
    run(
        c,
        "storing an allocation",
        "INSERT INTO allocation (id, list_id, number, stratum, position, subject, idempotency_key, levels, leaf,
                                 proof, decision_seq, decided_input, definition, signature, actor, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        params![
            a.id,
            a.list_id,
            a.number,
            a.stratum,
            a.position,
            a.subject,
            a.idempotency_key,
            a.levels,
            a.leaf,
            a.proof,
            a.decision_seq,
            a.decided_input,
            a.definition,
            a.signature,
            a.actor,
            a.at
        ],
    )
    .map(drop)
}

/// What the audit says of an allocation. There is no arm here that it could say, and the place in the list
/// stays out as well: it tells where blocks may begin.
fn entry(request: &AllocationRequest, a: &Allocation, signature: &Signature) -> Result<NewAudit> {
    let mut detail = BTreeMap::from([
        ("allocation", a.id.clone()),
        ("list", a.list_id.clone()),
        ("number", a.number.to_string()),
        ("leaf", a.leaf.clone()),
        ("levels", covered::levels(a)),
        ("input", a.decided_input.clone()),
        ("definition", a.definition.clone()),
    ]);
    detail.extend(signature::named(signature));
    let detail = serde_json::to_string(&detail);
    Ok(NewAudit {
        at: request.at.clone(),
        actor: request.signature.actor.clone(),
        role: request.signature.role.clone(),
        action: "allocate".to_owned(),
        subject: Some(request.subject.clone()),
        detail: detail.map_err(|e| StoreError::storage("writing the audit", e))?,
    })
}

/// The id of an allocation. Worked out from what is public, so that it cannot carry the arm.
fn name(list_id: &str, number: i64, subject: &str) -> String {
    let hash = sha256_hex(format!("trialbridge allocation\n{list_id}\n{number}\n{subject}").as_bytes());
    format!("alloc-{}", &hash[..20])
}

fn conflict(code: &'static str, message: &str, existing: String) -> AllocateError {
    StoreError::Conflict { code, message: message.to_owned(), existing: Some(existing) }.into()
}
