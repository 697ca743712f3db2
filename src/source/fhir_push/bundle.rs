//! `POST /fhir`: a Bundle, entry by entry or as a whole.
//!
//! # Source
//! FHIR R4, http.html#transaction: a response has an entry for each entry, in the same order; a
//! transaction succeeds or fails as a whole.

use super::PushState;
use super::look::{self, Looked};
use super::message;
use super::negotiate::Wish;
use super::outcome::{Issue, Outcome};
use super::reply::{Fate, Reply};
use crate::fact::Reason;
use crate::normalize::fhir::resource_type;
use crate::pipeline::intake::{Entry, Interaction, Taken};
use crate::store::{NewRecord, Receipt};
use axum::http::StatusCode;
use serde::Serialize;
use std::collections::HashMap;

pub(super) async fn receive(state: &PushState, wish: Wish, bytes: Vec<u8>) -> Reply {
    let looked = match state.look(bytes).await {
        Ok(looked) => looked,
        Err(reply) => return reply.kind("bundle"),
    };
    if let Some(taken) = &looked.taken
        && taken.whole.is_none()
    {
        if let Some(refused) = misplaced(&looked, taken) {
            return refused.kind("bundle");
        }
        if taken.bundle_type.as_deref() == Some("message") {
            return message::answer(state, wish, looked, false).await;
        }
        if wish.is_strict {
            let unknown = look::unknown_types(taken);
            if !unknown.is_empty() {
                return Reply::new(StatusCode::UNPROCESSABLE_ENTITY, Fate::Refused)
                    .outcome(&Outcome::of(unknown))
                    .kind(kind(taken));
            }
        }
    }
    let unreadable = looked.taken.as_ref().and_then(|taken| taken.whole.as_ref()).map(|problem| {
        let text = String::from_utf8_lossy(&looked.item.bytes);
        look::unreadable(problem, &looked.item.bytes, resource_type(&text).unwrap_or_default())
    });
    let Looked { item, taken } = looked;
    let looked_at = item.received_at.clone();
    let receipt = match state.keep(item, None).await {
        Ok(receipt) => receipt,
        Err(reply) => return reply.kind("bundle"),
    };
    let Some(mut taken) = taken else {
        return Reply::new(StatusCode::ACCEPTED, fate(&receipt))
            .outcome(&super::unlooked())
            .receipt(&receipt)
            .kind("bundle");
    };
    look::dated(&mut taken.records, &looked_at, &receipt);
    let kind = kind(&taken);
    let reply = match unreadable {
        Some(issue) => Reply::new(StatusCode::BAD_REQUEST, Fate::SetAside).outcome(&Outcome::one(issue)),
        None => match taken.bundle_type.as_deref() {
            _ if taken.is_refused => refused_transaction(&taken),
            Some("transaction") => responses(&taken, &receipt, wish, "transaction-response"),
            Some("batch") => responses(&taken, &receipt, wish, "batch-response"),
            _ => collected(&taken, &receipt),
        },
    };
    reply.receipt(&receipt).kind(kind)
}

/// What may not be stored, because it would be taken for something that it is not meant as.
fn misplaced(looked: &Looked, taken: &Taken) -> Option<Reply> {
    let refuse = |status, reason: &'static str, kind: &'static str, text: &'static str, at: &str| {
        Some(Reply::refused(status, Issue::error(kind, reason, text).at(at)))
    };
    let is_bundle =
        look::head(&looked.item.bytes).is_ok_and(|head| head.resource_type.as_deref() == Some("Bundle"));
    if !is_bundle {
        let text = "This is a resource of its own: PUT it to /fhir/{type}/{id}, POST it to /fhir/{type}, or \
                    send it here in a Bundle. Nothing was stored.";
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "not-a-bundle", "not-supported", text, "");
    }
    match taken.bundle_type.as_deref() {
        Some("transaction" | "batch" | "message" | "collection" | "searchset" | "document" | "history") => {
            None
        }
        None => {
            let text = "The Bundle does not say of which type it is, so nothing was stored: send transaction, \
                        batch or collection.";
            refuse(StatusCode::BAD_REQUEST, "structure", "required", text, "Bundle.type")
        }
        Some(_) => {
            let text = "A Bundle of this type is not taken here, and nothing was stored: send transaction, \
                        batch or collection. Notifications go to their own address.";
            refuse(StatusCode::UNPROCESSABLE_ENTITY, "not-supported", "not-supported", text, "Bundle.type")
        }
    }
}

/// Fixed words for metrics.
fn kind(taken: &Taken) -> &'static str {
    match taken.bundle_type.as_deref() {
        Some("transaction") => "transaction",
        Some("batch") => "batch",
        Some("message") => "message",
        Some("collection") => "collection",
        Some("searchset") => "searchset",
        Some("document") => "document",
        Some("history") => "history",
        _ => "bundle",
    }
}

pub(super) fn fate(receipt: &Receipt) -> Fate {
    if receipt.first { Fate::Stored } else { Fate::Replayed }
}

fn refused_transaction(taken: &Taken) -> Reply {
    let entries = taken.entries.iter().filter(|e| !e.is_taken());
    let problems = entries.flat_map(look::issues).filter(|i| i.severity == super::outcome::Severity::Error);
    Reply::new(StatusCode::UNPROCESSABLE_ENTITY, Fate::SetAside).outcome(&Outcome::of(problems.collect()))
}

/// What is no interaction: taken as if each entry were an update.
fn collected(taken: &Taken, receipt: &Receipt) -> Reply {
    let used = taken.entries.iter().filter(|e| e.is_taken()).count();
    let text = format!(
        "Taken as a batch of updates: {used} of {} entries. Send a transaction or a batch to be told of each.",
        taken.size
    );
    let mut issues = vec![Issue::information("taken-as-batch", text)];
    issues.extend(taken.entries.iter().flat_map(look::issues));
    Reply::new(StatusCode::ACCEPTED, fate(receipt)).outcome(&Outcome::of(issues))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    resource_type: &'static str,
    #[serde(rename = "type")]
    bundle_type: &'static str,
    timestamp: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entry: Vec<ResponseEntry>,
}

#[derive(Serialize, Clone)]
struct ResponseEntry {
    response: EntryResponse,
}

#[derive(Serialize, Clone)]
#[serde(rename_all = "camelCase")]
struct EntryResponse {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

fn responses(taken: &Taken, receipt: &Receipt, wish: Wish, bundle_type: &'static str) -> Reply {
    let records: HashMap<&str, &NewRecord> = taken.records.iter().map(|r| (r.path.as_str(), r)).collect();
    let nothing = ResponseEntry {
        response: EntryResponse {
            status: "202 Accepted",
            location: None,
            etag: None,
            last_modified: None,
            outcome: Some(Outcome::one(Issue::information("not-used", "It says nothing of a patient."))),
        },
    };
    let mut entry = vec![nothing; taken.size];
    let mut is_said = vec![false; taken.size];
    for found in &taken.entries {
        let Some(index) = index(&found.path).filter(|i| *i < entry.len()) else { continue };
        let next = response(found, records.get(found.path.as_str()).copied(), receipt, wish);
        // The entries of a Bundle in an entry: the first that cannot be used speaks for it.
        if !is_said[index] || (!found.is_taken() && entry[index].response.status.starts_with('2')) {
            is_said[index] = true;
            entry[index] = next;
        }
    }
    let body = Response { resource_type: "Bundle", bundle_type, timestamp: &receipt.received_at, entry };
    Reply::new(StatusCode::OK, fate(receipt)).json(&body)
}

/// The number in `Bundle.entry[3]…`.
fn index(path: &str) -> Option<usize> {
    path.strip_prefix("Bundle.entry[")?.split(']').next()?.parse().ok()
}

fn response(entry: &Entry, record: Option<&NewRecord>, receipt: &Receipt, wish: Wish) -> ResponseEntry {
    let first = entry.problems.iter().find(|p| p.fatal);
    let status = match (first, entry.interaction) {
        (Some(p), _) if p.reason == Reason::NotSupported && p.path.ends_with("request.method") => {
            "405 Method Not Allowed"
        }
        (Some(p), _) if look::is_form(p.reason) => "400 Bad Request",
        (Some(_), _) => "422 Unprocessable Entity",
        (None, Interaction::Delete) => "204 No Content",
        (None, _) if entry.problems.iter().any(|p| p.reason == Reason::UnknownType) => "202 Accepted",
        (None, _) if !receipt.first => "200 OK",
        (None, _) => "201 Created",
    };
    let issues: Vec<Issue> = look::issues(entry).collect();
    let is_minimal = wish.is_minimal && first.is_none();
    let at = record.filter(|_| entry.interaction != Interaction::Delete && first.is_none());
    ResponseEntry {
        response: EntryResponse {
            status,
            location: at.map(location),
            etag: at.and_then(etag),
            last_modified: at.and_then(sent_instant),
            outcome: (!issues.is_empty() && !is_minimal).then(|| Outcome::of(issues)),
        },
    }
}

/// `Type/id`, with the version that the sender gave it.
pub(super) fn location(record: &NewRecord) -> String {
    let (resource_type, id) = (&record.key.resource_type, &record.key.id);
    match version(record) {
        Some(version) => format!("{resource_type}/{id}/_history/{version}"),
        None => format!("{resource_type}/{id}"),
    }
}

pub(super) fn etag(record: &NewRecord) -> Option<String> {
    version(record).map(|version| format!("W/\"{version}\""))
}

/// A version that is an id, as FHIR wants it: another text could be anything.
fn version(record: &NewRecord) -> Option<&str> {
    record.version_id.as_deref().filter(|v| crate::fhir::reference::is_id(v))
}

/// `meta.lastUpdated` where it is an instant.
fn sent_instant(record: &NewRecord) -> Option<String> {
    let sent = record.last_updated.as_deref()?;
    chrono::DateTime::parse_from_rfc3339(sent).ok().map(|_| sent.to_owned())
}

/// The same as a date of HTTP.
pub(super) fn last_modified(record: &NewRecord) -> Option<String> {
    let sent = chrono::DateTime::parse_from_rfc3339(record.last_updated.as_deref()?).ok()?;
    Some(sent.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}
