//! `$validate` and `$trialbridge-preview`: what would become of a document. Nothing is stored.

use super::PushState;
use super::look::{self, Looked};
use super::outcome::{Issue, Outcome};
use super::reply::{Fate, Reply};
use crate::fhir::json;
use crate::pipeline::intake::{Interaction, Taken};
use crate::store::{NewRecord, RecordKey, RecordState, StoreError};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Named entries of a preview, at most.
const MOST: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters<'a> {
    resource_type: String,
    #[serde(borrow, default)]
    parameter: Vec<Parameter<'a>>,
}

#[derive(Deserialize)]
struct Parameter<'a> {
    name: String,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

/// The resource itself, or what a Parameters holds as `resource`.
fn meant(bytes: Vec<u8>) -> Vec<u8> {
    let text = json::text(&bytes).ok().filter(|text| !json::too_deep(text));
    let inner = text.and_then(|text| {
        let parameters: Parameters<'_> = serde_json::from_str(text).ok()?;
        let found = parameters.parameter.iter().find(|p| p.name == "resource")?.resource?;
        (parameters.resource_type == "Parameters").then(|| found.get().as_bytes().to_vec())
    });
    inner.unwrap_or(bytes)
}

async fn looked(state: &PushState, bytes: Vec<u8>) -> Result<Taken, Box<Reply>> {
    let Looked { item, taken } = state.look(meant(bytes)).await?;
    let taken = taken.ok_or_else(|| Box::new(Reply::fault()))?;
    match &taken.whole {
        None => Ok(taken),
        Some(problem) => {
            let issue = look::unreadable(problem, &item.bytes, "");
            let outcome = Outcome::one(issue);
            Err(Box::new(Reply::new(StatusCode::BAD_REQUEST, Fate::Answered).outcome(&outcome)))
        }
    }
}

pub(super) async fn validate(state: &PushState, bytes: Vec<u8>) -> Reply {
    let taken = match looked(state, bytes).await {
        Ok(taken) => taken,
        Err(reply) => return *reply,
    };
    let mut issues: Vec<Issue> = taken.entries.iter().flat_map(look::issues).collect();
    if taken.is_refused {
        let text = "One entry cannot be used, so nothing of the transaction would be taken.";
        issues.push(Issue::error("processing", "transaction-refused", text));
    }
    if issues.is_empty() {
        issues.push(Issue::information("valid", "Everything in it can be used or kept. Nothing was stored."));
    }
    Reply::new(StatusCode::OK, Fate::Answered).outcome(&Outcome::of(issues))
}

pub(super) async fn preview(state: &PushState, bytes: Vec<u8>) -> Reply {
    let taken = match looked(state, bytes).await {
        Ok(taken) => taken,
        Err(reply) => return *reply,
    };
    match state.blocking(move |state| preview_of(state, &taken)).await {
        Ok(Ok(parameters)) => Reply::new(StatusCode::OK, Fate::Answered).json(&parameters),
        Ok(Err(error)) => Reply::store(&error),
        Err(reply) => *reply,
    }
}

/// A Parameters with one `entry` for each entry: where it stands, what it asks for, what it is kept as,
/// what that would do to what is held, and what cannot be used.
fn preview_of(state: &PushState, taken: &Taken) -> Result<Value, StoreError> {
    let records: HashMap<&str, &NewRecord> = taken.records.iter().map(|r| (r.path.as_str(), r)).collect();
    let keys: Vec<RecordKey> = records.values().map(|r| r.key.clone()).collect();
    let mut held = HashMap::new();
    for record in state.0.store.records_by_ids(&keys)? {
        held.insert(record.key.clone(), record);
    }
    let mut parameter = vec![json!({"name": "refused", "valueBoolean": taken.is_refused})];
    for entry in taken.entries.iter().take(MOST) {
        let record = records.get(entry.path.as_str());
        let effect = match record.map(|r| (r, held.get(&r.key))) {
            _ if taken.is_refused => "refused",
            None => "set-aside",
            Some((r, None)) if r.deleted => "none",
            Some((r, Some(h))) if r.deleted && h.state == RecordState::Deleted => "none",
            Some((r, Some(_))) if r.deleted => "deleted",
            Some((_, None)) => "new",
            Some((_, Some(h))) if h.state == RecordState::Deleted => "new",
            Some((r, Some(h))) if h.sha256 == crate::protocol::document::hex(&Sha256::digest(&r.body)) => {
                "same"
            }
            Some(_) => "changed",
        };
        let interaction = match entry.interaction {
            Interaction::Create => "create",
            Interaction::Update | Interaction::Convey => "update",
            Interaction::Delete => "delete",
        };
        let mut part = vec![json!({"name": "interaction", "valueCode": interaction})];
        if !entry.path.is_empty() {
            part.push(json!({"name": "path", "valueString": entry.path}));
        }
        if let Some(r) = record {
            part.push(
                json!({"name": "resource", "valueString": format!("{}/{}", r.key.resource_type, r.key.id)}),
            );
        }
        if let Some(subject) = record.and_then(|r| r.subject.as_deref()) {
            part.push(json!({"name": "subject", "valueString": subject}));
        }
        part.push(json!({"name": "effect", "valueCode": effect}));
        let issues: Vec<Issue> = look::issues(entry).collect();
        if !issues.is_empty() {
            part.push(json!({"name": "outcome", "resource": Outcome::of(issues)}));
        }
        parameter.push(json!({"name": "entry", "part": part}));
    }
    Ok(json!({"resourceType": "Parameters", "parameter": parameter}))
}
