//! What is on record, for programs: how far the allocation is, the audit log, the signatures. No arm is in
//! any of them, because none is stored.

use super::arms;
use super::state::WebState;
use super::trouble::Trouble;
use super::visitor::Visitor;
use crate::access::Permission;
use crate::store::{AuditEntry, Signature};
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// Entries of one answer, and the most that may be asked for.
const PAGE: usize = 200;
const MOST: usize = 1000;
/// Entries that are read at a time while those of one subject are looked for.
const READ: usize = 2000;

/// `GET /api/v1/allocation`: neither arms nor positions nor block sizes.
pub(super) async fn status(State(state): State<WebState>) -> Result<Response, Trouble> {
    let status = state
        .read(|store, trial| {
            let id = &trial.study.id;
            let list = store.allocation_list(id)?;
            let allocated = store.allocations(id)?.len();
            let closed = arms::is_closed(&arms::events(store, trial)?);
            Ok(json!({
                "schema": "trialbridge/allocation-status/v1", "trial": id,
                "list": list.as_ref().map(|l| &l.id), "commitment": list.as_ref().map(|l| &l.commitment),
                "createdAt": list.as_ref().map(|l| &l.created_at),
                "total": list.as_ref().map(|l| l.total), "allocated": allocated, "closed": closed
            }))
        })
        .await?;
    answer(&status)
}

#[derive(Deserialize)]
pub(super) struct Wish {
    subject: Option<String>,
    /// Entries from this sequence on.
    from: Option<u64>,
    limit: Option<usize>,
}

impl Wish {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE).clamp(1, MOST)
    }

    /// The subject's key, where one is asked for.
    fn subject(&self) -> Result<Option<String>, Trouble> {
        let Some(text) = self.subject.as_deref() else { return Ok(None) };
        let id = text.strip_prefix("Patient/").unwrap_or(text);
        match crate::fhir::reference::is_id(id) {
            true => Ok(Some(format!("Patient/{id}"))),
            false => Err(Trouble::no_such_subject()),
        }
    }
}

fn wish(query: Result<Query<Wish>, QueryRejection>) -> Result<Wish, Trouble> {
    query.map(|Query(wish)| wish).map_err(|_| Trouble::no_such_filter())
}

#[derive(Serialize)]
struct Entries {
    schema: &'static str,
    entries: Vec<Value>,
    /// Ask again with `from` for what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// `GET /api/v1/audit`, in the order of the chain.
pub(super) async fn audit(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    query: Result<Query<Wish>, QueryRejection>,
) -> Result<Response, Trouble> {
    let wish = wish(query)?;
    let subject = wish.subject()?;
    let sees_subjects = visitor.may(Permission::ViewSubjects, &state.desk.masking);
    let entries = state
        .ask(move |store, _, accounts| {
            let mut entries = Entries { schema: "trialbridge/audit/v1", entries: Vec::new(), next: None };
            let mut from = wish.from.unwrap_or(0);
            loop {
                let read = store.audit_entries(from, READ)?;
                let Some(last) = read.last().map(|e| e.sequence) else { return Ok(entries) };
                for entry in read {
                    let of = entry.entry.subject.as_deref();
                    let is_asked = subject.as_deref().is_none_or(|s| sees_subjects && of == Some(s));
                    if !is_asked || !of.map_or(Ok(true), |s| visitor.sees(accounts, s))? {
                        continue;
                    }
                    if entries.entries.len() == wish.limit() {
                        entries.next = Some(entry.sequence);
                        return Ok(entries);
                    }
                    entries.entries.push(of_log(&entry, sees_subjects));
                }
                from = last + 1;
            }
        })
        .await?;
    answer(&entries)
}

/// Whoever may not see subjects is not told whom an entry is about, nor what was said of them.
fn of_log(entry: &AuditEntry, sees_subjects: bool) -> Value {
    let e = &entry.entry;
    let detail: Value = serde_json::from_str(&e.detail).unwrap_or_else(|_| json!({"text": e.detail}));
    let is_told = sees_subjects || e.subject.is_none();
    json!({
        "sequence": entry.sequence, "at": e.at, "actor": e.actor, "role": e.role, "action": e.action,
        "subject": e.subject.as_ref().filter(|_| is_told),
        "detail": if is_told { detail } else { json!({}) },
        "previous": entry.previous, "hash": entry.hash
    })
}

/// `GET /api/v1/signatures`, the oldest first.
pub(super) async fn signatures(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    query: Result<Query<Wish>, QueryRejection>,
) -> Result<Response, Trouble> {
    let wish = wish(query)?;
    let subject = wish.subject()?;
    let sees_subjects = visitor.may(Permission::ViewSubjects, &state.desk.masking);
    let listed = state
        .ask(move |store, _, accounts| {
            let mut listed = Vec::new();
            for signature in store.signatures(subject.as_deref())? {
                let is_told = match &signature.signed.subject {
                    None => subject.is_none(),
                    Some(of) => sees_subjects && visitor.sees(accounts, of)?,
                };
                if is_told && listed.len() < MOST {
                    listed.push(of_signature(&signature));
                }
            }
            Ok(json!({"schema": "trialbridge/signatures/v1", "signatures": listed}))
        })
        .await?;
    answer(&listed)
}

/// As 21 CFR 11.50 asks: printed name, date and time, meaning; and what it is bound to.
fn of_signature(signature: &Signature) -> Value {
    let s = &signature.signed;
    json!({
        "id": signature.id, "account": s.actor, "printedName": s.printed_name, "role": s.role,
        "meaning": s.meaning, "subject": s.subject, "at": s.at, "method": s.method.name(),
        "record": s.record, "recordSha256": signature.record_sha256
    })
}

pub(super) fn answer(value: &impl Serialize) -> Result<Response, Trouble> {
    let text = serde_json::to_string(value).map_err(|error| Trouble::bug(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}
