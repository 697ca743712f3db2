//! `PUT /fhir/Type/id`, `POST /fhir/Type`, `DELETE /fhir/Type/id`: one resource at a time.
//!
//! A request whose address says more than its body (a condition, a deletion) goes into the inbox as a
//! Bundle with the one entry that says it; all others as they came.

use super::PushState;
use super::bundle::{etag, fate, last_modified, location};
use super::look::{self, Looked};
use super::negotiate::{self, Wish};
use super::outcome::{Issue, Outcome};
use super::reply::{Fate, Reply};
use super::table::{Asked, Does};
use crate::fact::Reason;
use crate::fhir::json;
use crate::fhir::reference::is_id;
use crate::pipeline::intake::{Entry, Taken};
use crate::pipeline::stamp;
use crate::store::{RecordKey, RecordState, StoreError};
use axum::http::header::{ETAG, LAST_MODIFIED, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use chrono::Utc;
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

const KIND: &str = "resource";
/// How long an update that depends on a version waits for what came before it.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) async fn receive(
    state: &PushState,
    wish: Wish,
    headers: &HeaderMap,
    query: Option<&str>,
    asked: Asked<'_>,
    bytes: Vec<u8>,
) -> Reply {
    received(state, wish, headers, query, asked, bytes).await.unwrap_or_else(|reply| *reply).kind(KIND)
}

fn refuse<T>(status: StatusCode, issue: Issue) -> Result<T, Box<Reply>> {
    Err(Box::new(Reply::refused(status, issue)))
}

async fn received(
    state: &PushState,
    wish: Wish,
    headers: &HeaderMap,
    query: Option<&str>,
    asked: Asked<'_>,
    bytes: Vec<u8>,
) -> Result<Reply, Box<Reply>> {
    let condition = match asked.does {
        Does::ConditionalUpdate => {
            let text = "Say which resource to update: PUT /fhir/{type}/{id}, or /fhir/{type}?identifier=system|value.";
            match query {
                Some(query) => Some(("PUT", format!("{}?{query}", asked.resource_type), None)),
                None => return refuse(StatusCode::BAD_REQUEST, Issue::error("required", "structure", text)),
            }
        }
        Does::Create => negotiate::if_none_exist(headers)
            .map(|condition| ("POST", asked.resource_type.to_owned(), Some(condition))),
        _ => None,
    };
    let version = negotiate::if_match(headers)?;
    // What cannot be read goes into the inbox as it is.
    let wrapped = condition.as_ref().and_then(|(method, url, condition)| {
        look::head(&bytes).ok()?;
        wrap(&bytes, method, url, condition.as_deref())
    });
    let is_wrapped = wrapped.is_some();
    let looked = state.look(wrapped.unwrap_or(bytes)).await?;
    let Some(taken) = &looked.taken else {
        let receipt = state.keep(looked.item, None).await?;
        return Ok(Reply::new(StatusCode::ACCEPTED, fate(&receipt))
            .outcome(&super::unlooked())
            .receipt(&receipt));
    };
    if let Some(problem) = &taken.whole {
        let issue = look::unreadable(problem, &looked.item.bytes, asked.resource_type);
        let receipt = state.keep(looked.item, None).await?;
        return Ok(Reply::new(StatusCode::BAD_REQUEST, Fate::SetAside)
            .outcome(&Outcome::one(issue))
            .receipt(&receipt));
    }
    let entry = fitting(taken, asked, is_wrapped)?;
    if wish.is_strict {
        let unknown = look::unknown_types(taken);
        if !unknown.is_empty() {
            let outcome = Outcome::of(unknown);
            return Ok(Reply::new(StatusCode::UNPROCESSABLE_ENTITY, Fate::Refused).outcome(&outcome));
        }
    }
    if let Some(version) = version {
        matches(state, key(state, &entry), version).await?;
    }
    answer(state, wish, asked, looked, entry).await
}

/// The one entry, if it is what the address says.
fn fitting(taken: &Taken, asked: Asked<'_>, is_wrapped: bool) -> Result<Entry, Box<Reply>> {
    let entry = match taken.entries.as_slice() {
        [entry] if taken.bundle_type.is_none() || is_wrapped => entry,
        _ if taken.bundle_type.is_some() && !is_wrapped => {
            let text = "A Bundle is sent to /fhir. Nothing was stored.";
            let issue = Issue::error("not-supported", "not-supported", text);
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, issue);
        }
        _ => {
            let text =
                "A resource of this type says nothing of a patient and is not taken. Nothing was stored.";
            let issue = Issue::error("not-supported", "not-supported", text).at("resourceType");
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, issue);
        }
    };
    if !entry.resource_type.is_empty() && entry.resource_type != asked.resource_type {
        let text = "The resource is of another type than the address says. Nothing was stored: correct one.";
        return refuse(StatusCode::BAD_REQUEST, Issue::error("value", "structure", text).at("resourceType"));
    }
    if asked.does == Does::Update {
        let at = format!("{}.id", asked.resource_type);
        let text = match (is_id(asked.id), entry.id == asked.id) {
            (true, true) => return Ok(entry.clone()),
            (true, false) => {
                "The resource has not the id that the address says. Nothing was stored: correct one."
            }
            (false, _) => {
                "The address holds no id of FHIR. Nothing was stored: 1 to 64 letters, digits, - and ."
            }
        };
        return refuse(StatusCode::BAD_REQUEST, Issue::error("value", "structure", text).at(at));
    }
    Ok(entry.clone())
}

async fn answer(
    state: &PushState,
    wish: Wish,
    asked: Asked<'_>,
    looked: Looked,
    entry: Entry,
) -> Result<Reply, Box<Reply>> {
    let mut records = looked.taken.map(|taken| taken.records).unwrap_or_default();
    let looked_at = looked.item.received_at.clone();
    let receipt = state.keep(looked.item, None).await?;
    look::dated(&mut records, &looked_at, &receipt);
    let mut issues: Vec<Issue> =
        entry.problems.iter().map(|p| Issue::of(p, expression(&p.path, asked.resource_type))).collect();
    if let Some(problem) = entry.problems.iter().find(|p| p.fatal) {
        let status = match look::is_form(problem.reason) {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::UNPROCESSABLE_ENTITY,
        };
        return Ok(Reply::new(status, Fate::SetAside).outcome(&Outcome::of(issues)).receipt(&receipt));
    }
    if !receipt.first && asked.does == Does::Update {
        let (key, sent) = (key(state, &entry), receipt.sha256.clone());
        if state.blocking(move |state| is_superseded(state, key, &sent)).await? {
            let text = "These bytes came before, and what came after them stands. If they are meant to stand \
                        again, send them with a new meta.versionId or meta.lastUpdated.";
            issues.push(Issue::warning("conflict", "superseded", text));
        }
    }
    let is_unknown = entry.problems.iter().any(|p| p.reason == Reason::UnknownType);
    let status = match (is_unknown, receipt.first) {
        (true, _) => StatusCode::ACCEPTED,
        (false, true) => StatusCode::CREATED,
        (false, false) => StatusCode::OK,
    };
    let mut reply = Reply::new(status, fate(&receipt)).receipt(&receipt);
    if let Some(record) = records.first() {
        reply = reply.header(LOCATION, &format!("/fhir/{}", location(record)));
        if let Some(etag) = etag(record) {
            reply = reply.header(ETAG, &etag);
        }
        if let Some(date) = last_modified(record) {
            reply = reply.header(LAST_MODIFIED, &date);
        }
    }
    if issues.is_empty() {
        issues.push(Issue::information("stored", format!("Stored as message {}.", receipt.seq)));
    }
    Ok(if wish.is_minimal { reply } else { reply.outcome(&Outcome::of(issues)) })
}

/// `valueQuantity.code` of an Observation is `Observation.valueQuantity.code`, however it was sent.
fn expression(path: &str, resource_type: &str) -> String {
    let own = path.strip_prefix("Bundle.entry[0].resource").map_or(path, |p| p.trim_start_matches('.'));
    let is_whole = own == resource_type || own.starts_with("Bundle.");
    match own.strip_prefix(resource_type).is_some_and(|rest| rest.starts_with('.')) || is_whole {
        true => own.to_owned(),
        false if own.is_empty() => resource_type.to_owned(),
        false => format!("{resource_type}.{own}"),
    }
}

fn key(state: &PushState, entry: &Entry) -> RecordKey {
    RecordKey {
        source: state.0.source.clone(),
        resource_type: entry.resource_type.clone(),
        id: entry.id.clone(),
    }
}

/// Does another version of the resource stand than these bytes?
fn is_superseded(state: &PushState, key: RecordKey, sha256: &str) -> bool {
    let held = state.0.store.records_by_ids(&[key]).unwrap_or_default();
    held.iter().any(|record| record.state == RecordState::Deleted || record.sha256 != sha256)
}

/// Is this the version that stands, after everything that came before has been taken in?
async fn matches(state: &PushState, key: RecordKey, version: String) -> Result<(), Box<Reply>> {
    let began = Instant::now();
    loop {
        let key = key.clone();
        let looked = move |state: &PushState| -> Result<_, StoreError> {
            // In this order: what is not pending now is in the records that are read after.
            let is_settled = state.0.store.pending(1)?.is_empty();
            Ok((is_settled, state.0.store.records_by_ids(&[key])?))
        };
        let (is_settled, held) =
            state.blocking(looked).await?.map_err(|error| Box::new(Reply::store(&error)))?;
        if is_settled {
            let stands = held.iter().find(|record| record.state != RecordState::Deleted);
            return match stands.and_then(|record| record.version_id.as_deref()) {
                Some(held) if held == version => Ok(()),
                _ => {
                    let text = "Another version is held than If-Match names, or none. Nothing was stored: \
                                send the version that the update was made from, or leave If-Match out.";
                    let issue = Issue::error("conflict", "version-conflict", text);
                    refuse(StatusCode::PRECONDITION_FAILED, issue)
                }
            };
        }
        if began.elapsed() > SETTLE {
            let text = "Earlier messages are still being taken in, so it cannot be said which version is held. \
                        Nothing was stored: send it again.";
            let reply = Reply::new(StatusCode::SERVICE_UNAVAILABLE, Fate::Failed)
                .header(RETRY_AFTER, "2")
                .outcome(&Outcome::one(Issue::error("transient", "busy", text)));
            return Err(Box::new(reply));
        }
        state.0.digest.wake();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn delete(state: &PushState, headers: &HeaderMap, asked: Asked<'_>) -> Reply {
    deleted(state, headers, asked).await.unwrap_or_else(|reply| *reply).kind("delete")
}

async fn deleted(state: &PushState, headers: &HeaderMap, asked: Asked<'_>) -> Result<Reply, Box<Reply>> {
    if !is_id(asked.id) {
        let text = "The address holds no id of FHIR: 1 to 64 letters, digits, - and .";
        return refuse(StatusCode::BAD_REQUEST, Issue::error("value", "structure", text));
    }
    if let Some(version) = negotiate::if_match(headers)? {
        let key = RecordKey {
            source: state.0.source.clone(),
            resource_type: asked.resource_type.to_owned(),
            id: asked.id.to_owned(),
        };
        matches(state, key, version).await?;
    }
    let url = format!("{}/{}", asked.resource_type, asked.id);
    // With the time: a deletion after the resource was made again is another message.
    let at = stamp(Utc::now());
    let bytes = Wrapped::of("DELETE", &url, None, None, Some(&at)).written();
    let looked = state.look(bytes).await?;
    let receipt = state.keep(looked.item, None).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT, fate(&receipt)).receipt(&receipt))
}

/// A request that was not sent as a Bundle, as one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wrapped<'a> {
    resource_type: &'static str,
    #[serde(rename = "type")]
    bundle_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    entry: [WrappedEntry<'a>; 1],
}

#[derive(Serialize)]
struct WrappedEntry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a RawValue>,
    request: WrappedRequest<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrappedRequest<'a> {
    method: &'a str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    if_none_exist: Option<&'a str>,
}

impl<'a> Wrapped<'a> {
    fn of(
        method: &'a str,
        url: &'a str,
        if_none_exist: Option<&'a str>,
        resource: Option<&'a RawValue>,
        timestamp: Option<&'a str>,
    ) -> Wrapped<'a> {
        let request = WrappedRequest { method, url, if_none_exist };
        let entry = [WrappedEntry { resource, request }];
        Wrapped { resource_type: "Bundle", bundle_type: "batch", timestamp, entry }
    }

    fn written(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, and a text that is JSON")
    }
}

/// The resource with the condition that its request has beside it. Its own text stays as it is.
fn wrap(bytes: &[u8], method: &str, url: &str, if_none_exist: Option<&str>) -> Option<Vec<u8>> {
    let resource: &RawValue = serde_json::from_str(json::text(bytes).ok()?).ok()?;
    Some(Wrapped::of(method, url, if_none_exist, Some(resource), None).written())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_element_is_named_from_the_resource_on() {
        for (path, expected) in [
            ("Observation.valueQuantity.code", "Observation.valueQuantity.code"),
            ("status", "Observation.status"),
            ("", "Observation"),
            ("Bundle.entry[0].resource.valueQuantity", "Observation.valueQuantity"),
            ("Bundle.entry[0].resource", "Observation"),
            ("Bundle.entry[0].request.url", "Bundle.entry[0].request.url"),
            ("Observationx", "Observation.Observationx"),
        ] {
            assert_eq!(expression(path, "Observation"), expected, "{path}");
        }
    }

    #[test]
    fn a_wrapped_resource_keeps_its_text() {
        let text = b"\xEF\xBB\xBF{ \"resourceType\":\"Patient\", \"x\": 1.50 }";
        let wrapped = wrap(text, "POST", "Patient", Some("identifier=a|b")).expect("wrapped");
        assert_eq!(
            String::from_utf8(wrapped).expect("text"),
            concat!(
                r#"{"resourceType":"Bundle","type":"batch","entry":[{"resource":{ "resourceType":"Patient", "x": 1.50 },"#,
                r#""request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=a|b"}}]}"#
            )
        );
        assert_eq!(wrap(b"{} {}", "POST", "Patient", None), None);
    }
}
