//! The RESTful interactions: from a method and a URL to an effect on the records.
//!
//! An HTTP request and an entry of a Bundle are read by the same [`Interaction::route`] and done by the same
//! [`perform`], so that they cannot differ.
//!
//! Source: FHIR R4, http.html.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::outcome::Refusal;
use super::parameters;
use super::records::{Entry, Records, Version, is_id};
use super::search::{self, Scope, read_pairs};
use super::{bundle, capability};

/// The headers, or the members of `Bundle.entry.request`, that an interaction depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub if_none_exist: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Interaction {
    Capabilities,
    Bundle(Value),
    Search {
        kind: String,
        pairs: Vec<(String, String)>,
    },
    Read {
        kind: String,
        id: String,
        if_none_match: Option<String>,
    },
    VersionRead {
        kind: String,
        id: String,
        version: String,
    },
    History {
        kind: String,
        id: String,
    },
    /// `id` is set by a transaction, which hands out ids before it writes.
    Create {
        kind: String,
        id: Option<String>,
        body: Value,
        if_none_exist: Option<String>,
    },
    Update {
        kind: String,
        id: String,
        body: Value,
        conditions: Conditions,
    },
    Delete {
        kind: String,
        id: String,
        if_match: Option<String>,
    },
}

/// What an interaction led to.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub status: u16,
    pub body: Option<Arc<Value>>,
    pub etag: Option<String>,
    pub last_modified: Option<DateTime<Utc>>,
    /// Absolute, with the version.
    pub location: Option<String>,
    /// A resource was created or updated, so that `Prefer: return` decides on the body.
    pub wrote: bool,
}

impl Interaction {
    /// Reads a method and a path relative to the base (`Patient/1`), with its query.
    ///
    /// # Errors 404 for a type or path that is not kept, 405 for a method that is not offered there, 400
    /// without a body.
    pub fn route(
        method: &str,
        path: &str,
        query: Option<&str>,
        body: Option<Value>,
        conditions: Conditions,
    ) -> Result<Self, Refusal> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let pairs = || read_pairs(query.unwrap_or_default().as_bytes());
        let need_body = |body: Option<Value>| body.ok_or_else(|| Refusal::invalid("the request has no body"));
        if let Some(kind) = parts.first()
            && *kind != "metadata"
            && !parameters::types().any(|known| known == *kind)
        {
            return Err(Refusal::new(404, "not-supported", "this server does not keep that resource type"));
        }
        if let Some(id) = parts.get(1).filter(|part| !part.starts_with('_'))
            && !is_id(id)
        {
            return Err(Refusal::invalid("the id in the URL is not a FHIR id"));
        }
        let owned = |text: &str| text.to_owned();
        match (method, parts.as_slice()) {
            ("GET", ["metadata"]) => Ok(Self::Capabilities),
            ("POST", []) => Ok(Self::Bundle(need_body(body)?)),
            ("GET", [kind]) => Ok(Self::Search { kind: owned(kind), pairs: pairs() }),
            ("GET", [kind, id]) if !id.starts_with('_') => {
                Ok(Self::Read { kind: owned(kind), id: owned(id), if_none_match: conditions.if_none_match })
            }
            ("GET", [kind, id, "_history"]) => Ok(Self::History { kind: owned(kind), id: owned(id) }),
            ("GET", [kind, id, "_history", version]) => {
                Ok(Self::VersionRead { kind: owned(kind), id: owned(id), version: owned(version) })
            }
            ("POST", [kind]) => Ok(Self::Create {
                kind: owned(kind),
                id: None,
                body: need_body(body)?,
                if_none_exist: conditions.if_none_exist,
            }),
            ("PUT", [kind, id]) if !id.starts_with('_') => {
                Ok(Self::Update { kind: owned(kind), id: owned(id), body: need_body(body)?, conditions })
            }
            ("DELETE", [kind, id]) if !id.starts_with('_') => {
                Ok(Self::Delete { kind: owned(kind), id: owned(id), if_match: conditions.if_match })
            }
            (_, [] | [_] | [_, _] | [_, _, "_history"] | [_, _, "_history", _]) => {
                Err(Refusal::new(405, "not-supported", "this method is not offered at this URL"))
            }
            _ => Err(Refusal::not_found("nothing is at this URL")),
        }
    }
}

/// Does an interaction. Where it fails, nothing was changed.
///
/// # Errors
/// Any [`Refusal`].
pub(super) fn perform(
    records: &mut Records,
    scope: Scope<'_>,
    now: DateTime<Utc>,
    interaction: Interaction,
) -> Result<Reply, Refusal> {
    if let Interaction::Bundle(body) = interaction {
        return bundle::submit(records, scope, now, body).map(found);
    }
    let deleted = match &interaction {
        Interaction::Delete { kind, id, .. } => Some((kind.clone(), id.clone())),
        _ => None,
    };
    let done = perform_one(records, scope, now, interaction).and_then(|reply| {
        deleted.map_or(Ok(()), |(kind, id)| unreferenced(records, &kind, &id)).map(|()| reply)
    });
    match &done {
        Ok(_) => records.settle(),
        Err(_) => records.roll_back(),
    }
    done
}

/// Like [`perform`], for one step of a transaction: whoever calls settles, rolls back, and checks deletions.
pub(super) fn perform_one(
    records: &mut Records,
    scope: Scope<'_>,
    now: DateTime<Utc>,
    interaction: Interaction,
) -> Result<Reply, Refusal> {
    match interaction {
        Interaction::Capabilities => Ok(found(capability::statement(scope.release, scope.base, now))),
        Interaction::Bundle(_) => Err(Refusal::invalid("a Bundle within a Bundle is not submitted")),
        Interaction::Search { kind, pairs } => search::search(records, scope, &kind, &pairs).map(found),
        Interaction::Read { kind, id, if_none_match } => {
            let version = records.read(&kind, &id)?;
            let reply = versioned(200, version);
            let unchanged = if_none_match.is_some_and(|known| same_etag(&known, version.number));
            Ok(if unchanged { Reply { status: 304, body: None, ..reply } } else { reply })
        }
        Interaction::VersionRead { kind, id, version } => version_read(records, &kind, &id, &version),
        Interaction::History { kind, id } => history(records, scope, &kind, &id),
        Interaction::Create { kind, id, body, if_none_exist } => {
            create(records, scope, now, &kind, id, body, if_none_exist.as_deref())
        }
        Interaction::Update { kind, id, body, conditions } => {
            update(records, scope, now, &kind, &id, body, &conditions)
        }
        Interaction::Delete { kind, id, if_match } => {
            match_version(records, &kind, &id, if_match.as_deref())?;
            if records.history(&kind, &id).is_empty() {
                return Err(Refusal::not_found(format!("no {kind} has this id")));
            }
            records.remove(&kind, &id, now);
            Ok(Reply { status: 204, ..Reply::default() })
        }
    }
}

fn found(body: Value) -> Reply {
    Reply { status: 200, body: Some(Arc::new(body)), ..Reply::default() }
}

fn versioned(status: u16, version: &Version) -> Reply {
    Reply {
        status,
        body: Some(Arc::clone(&version.body)),
        etag: Some(version.etag()),
        last_modified: Some(version.at),
        location: None,
        wrote: false,
    }
}

fn version_read(records: &Records, kind: &str, id: &str, number: &str) -> Result<Reply, Refusal> {
    let entry = records.history(kind, id).iter().find(|entry| entry.number().to_string() == number);
    match entry {
        Some(Entry::Live(version)) => Ok(versioned(200, version)),
        Some(Entry::Deleted { .. }) => Err(Refusal::new(410, "deleted", "this version is a deletion")),
        None => Err(Refusal::not_found(format!("this {kind} has no such version"))),
    }
}

fn history(records: &Records, scope: Scope<'_>, kind: &str, id: &str) -> Result<Reply, Refusal> {
    let versions = records.history(kind, id);
    if versions.is_empty() {
        return Err(Refusal::not_found(format!("no {kind} has this id")));
    }
    let url = format!("{}/{kind}/{id}", scope.base);
    let entries: Vec<Value> = versions
        .iter()
        .rev()
        .map(|entry| match entry {
            Entry::Live(version) => json!({"fullUrl": url, "resource": *version.body,
                "request": {"method": if version.number == 1 { "POST" } else { "PUT" }, "url": format!("{kind}/{id}")},
                "response": {"status": "200", "etag": version.etag(), "lastModified": instant(version.at)}}),
            Entry::Deleted { number, at } => json!({"fullUrl": url,
                "request": {"method": "DELETE", "url": format!("{kind}/{id}")},
                "response": {"status": "204", "etag": format!("W/\"{number}\""), "lastModified": instant(*at)}}),
        })
        .collect();
    Ok(found(json!({"resourceType": "Bundle", "type": "history", "total": entries.len(),
        "link": [{"relation": "self", "url": format!("{url}/_history")}], "entry": entries})))
}

fn create(
    records: &mut Records,
    scope: Scope<'_>,
    now: DateTime<Utc>,
    kind: &str,
    id: Option<String>,
    body: Value,
    if_none_exist: Option<&str>,
) -> Result<Reply, Refusal> {
    validate(scope, kind, &body)?;
    if let Some(existing) = existing(records, scope, kind, if_none_exist)? {
        let version = records.read(kind, &existing)?;
        return Ok(Reply {
            location: Some(location(scope, kind, &existing, version)),
            ..versioned(200, version)
        });
    }
    let id = id.unwrap_or_else(|| records.new_id(kind));
    let version = records.write(kind, &id, body, now);
    Ok(Reply {
        location: Some(location(scope, kind, &id, &version)),
        wrote: true,
        ..versioned(201, &version)
    })
}

/// The one resource that `If-None-Exist` matches; `None` if it matches none or is not there.
pub(super) fn existing(
    records: &Records,
    scope: Scope<'_>,
    kind: &str,
    if_none_exist: Option<&str>,
) -> Result<Option<String>, Refusal> {
    let Some(query) = if_none_exist.filter(|_| !scope.switches.ignore_if_none_exist) else { return Ok(None) };
    if scope.switches.refuse_if_none_exist {
        return Err(Refusal::new(400, "not-supported", "conditional create is not supported"));
    }
    let mut found = search::matching(records, scope, kind, query)?;
    match found.len() {
        0 => Ok(None),
        1 => Ok(found.pop()),
        many => Err(Refusal::precondition(format!(
            "If-None-Exist matches {many} resources: it must match at most one"
        ))),
    }
}

fn update(
    records: &mut Records,
    scope: Scope<'_>,
    now: DateTime<Utc>,
    kind: &str,
    id: &str,
    body: Value,
    conditions: &Conditions,
) -> Result<Reply, Refusal> {
    validate(scope, kind, &body)?;
    if body.get("id").and_then(Value::as_str) != Some(id) {
        return Err(Refusal::invalid(format!("{kind}.id must be there and equal the id in the URL")));
    }
    match_version(records, kind, id, conditions.if_match.as_deref())?;
    let is_new = records.read(kind, id).is_err();
    if !is_new && conditions.if_none_match.as_deref() == Some("*") {
        return Err(Refusal::precondition(format!("this {kind} exists already")));
    }
    let version = records.write(kind, id, body, now);
    let status = if is_new { 201 } else { 200 };
    Ok(Reply {
        location: Some(location(scope, kind, id, &version)),
        wrote: true,
        ..versioned(status, &version)
    })
}

fn match_version(records: &Records, kind: &str, id: &str, if_match: Option<&str>) -> Result<(), Refusal> {
    let Some(wanted) = if_match else { return Ok(()) };
    let current = records.read(kind, id).map(|version| version.number);
    if current.is_ok_and(|number| wanted == "*" || same_etag(wanted, number)) {
        return Ok(());
    }
    Err(Refusal::precondition(format!(
        "If-Match does not name the current version of this {kind}: read it again"
    )))
}

fn same_etag(text: &str, number: u64) -> bool {
    let opaque = text.trim().strip_prefix("W/").unwrap_or(text.trim());
    opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(number.to_string().as_str())
}

/// Only what every FHIR server checks: the type, and the elements that must be there.
fn validate(scope: Scope<'_>, kind: &str, body: &Value) -> Result<(), Refusal> {
    if body["resourceType"] != kind {
        return Err(Refusal::invalid(format!("resourceType is not {kind}, as the URL says")));
    }
    for element in parameters::required(scope.release, kind) {
        let is_empty = match body.get(*element) {
            None | Some(Value::Null) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        if is_empty {
            let expression = format!("{kind}.{element}");
            return Err(Refusal::unprocessable(
                "required",
                expression.clone(),
                format!("{expression} must be there"),
            ));
        }
    }
    Ok(())
}

/// 409 if a current resource refers to a deleted one. A reference to a version stays good: it can still be
/// read.
pub(super) fn unreferenced(records: &Records, kind: &str, id: &str) -> Result<(), Refusal> {
    let target = format!("{kind}/{id}");
    let referring = records.all().find(|(_, _, version)| refers(&version.body, &target));
    match referring {
        Some((by, _, _)) => Err(Refusal::new(
            409,
            "conflict",
            format!(
                "this {kind} is not deleted: a {by} refers to it; delete that first, or both in a transaction"
            ),
        )),
        None => Ok(()),
    }
}

fn refers(value: &Value, target: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| refers(item, target)),
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| (name == "reference" && member == target) || refers(member, target)),
        _ => false,
    }
}

fn location(scope: Scope<'_>, kind: &str, id: &str, version: &Version) -> String {
    format!("{}/{kind}/{id}/_history/{}", scope.base, version.number)
}

/// FHIR's `instant`.
pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
