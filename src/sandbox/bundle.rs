//! Bundles that are submitted: `batch`, entry by entry, and `transaction`, all or nothing.
//!
//! A transaction hands out ids first, then rewrites the `urn:uuid:` references between its entries, then does
//! DELETE, POST, PUT and GET in this order. Invariant: a transaction that fails leaves no version behind.
//!
//! Source: FHIR R4, http.html#transaction and 3.1.0.11.2 (order of processing).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::interaction::{self, Conditions, Interaction, Reply, instant, perform, perform_one};
use super::outcome::Refusal;
use super::records::Records;
use super::search::Scope;

/// Elements of type uri, url or reference, in which a transaction's own URNs are replaced. An identifier's
/// `value` is a string and stays as it is.
const URI_ELEMENTS: [&str; 6] = ["reference", "uri", "url", "valueUri", "valueUrl", "valueUuid"];

/// Submits a Bundle and returns the response Bundle.
///
/// # Errors
/// 400 if it is no batch or transaction; for a transaction, the first refusal of an entry.
pub(super) fn submit(
    records: &mut Records,
    scope: Scope<'_>,
    now: DateTime<Utc>,
    bundle: Value,
) -> Result<Value, Refusal> {
    if bundle["resourceType"] != "Bundle" {
        return Err(Refusal::invalid("only a Bundle is posted to the base"));
    }
    let entries = match bundle.get("entry") {
        None => &[],
        Some(Value::Array(entries)) => entries.as_slice(),
        Some(_) => return Err(Refusal::invalid("Bundle.entry is not a list")),
    };
    match bundle["type"].as_str() {
        Some("batch") => Ok(batch(records, scope, now, entries)),
        Some("transaction") => {
            let done = transaction(records, scope, now, entries);
            match &done {
                Ok(_) => records.settle(),
                Err(_) => records.roll_back(),
            }
            done
        }
        _ => Err(Refusal::invalid("Bundle.type is neither batch nor transaction")),
    }
}

fn batch(records: &mut Records, scope: Scope<'_>, now: DateTime<Utc>, entries: &[Value]) -> Value {
    let answers: Vec<Value> = entries
        .iter()
        .map(|entry| match read(entry).and_then(|step| perform(records, scope, now, step)) {
            Ok(reply) => answer(&reply),
            Err(refusal) => {
                json!({"response": {"status": status(refusal.status), "outcome": refusal.outcome()}})
            }
        })
        .collect();
    json!({"resourceType": "Bundle", "type": "batch-response", "entry": answers})
}

fn transaction(
    records: &mut Records,
    scope: Scope<'_>,
    now: DateTime<Utc>,
    entries: &[Value],
) -> Result<Value, Refusal> {
    let mut steps = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| read(entry).map_err(|refusal| within(at, refusal)))
        .collect::<Result<Vec<_>, _>>()?;
    let urns = hand_out_ids(records, scope, entries, &mut steps)?;
    refuse_overlap(&steps)?;
    for (at, step) in steps.iter_mut().enumerate() {
        if let Interaction::Create { body, .. } | Interaction::Update { body, .. } = step {
            rewrite(body, &urns).map_err(|refusal| within(at, refusal))?;
        }
    }

    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|at| rank(&steps[*at]));
    let mut steps: Vec<Option<Interaction>> = steps.into_iter().map(Some).collect();
    let mut answers = vec![Value::Null; steps.len()];
    let mut deleted = Vec::new();
    for at in order {
        let Some(step) = steps[at].take() else { continue };
        if let Interaction::Delete { kind, id, .. } = &step {
            deleted.push((kind.clone(), id.clone()));
        }
        let reply = perform_one(records, scope, now, step).map_err(|refusal| within(at, refusal))?;
        answers[at] = answer(&reply);
    }
    for (kind, id) in deleted {
        interaction::unreferenced(records, &kind, &id)?;
    }
    Ok(json!({"resourceType": "Bundle", "type": "transaction-response", "entry": answers}))
}

/// Gives each create its id, or that of the resource which its condition finds, and returns what each
/// `fullUrl` of the Bundle becomes.
fn hand_out_ids(
    records: &mut Records,
    scope: Scope<'_>,
    entries: &[Value],
    steps: &mut [Interaction],
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut urns = BTreeMap::new();
    // Two entries with the same condition are one resource.
    let mut conditional: BTreeMap<(String, String), String> = BTreeMap::new();
    for (at, step) in steps.iter_mut().enumerate() {
        let target = match step {
            Interaction::Create { kind, id, if_none_exist, .. } => {
                let condition = if_none_exist.clone().map(|query| (kind.clone(), query));
                let twin = condition.as_ref().and_then(|condition| conditional.get(condition)).cloned();
                let existing = interaction::existing(records, scope, kind, if_none_exist.as_deref())
                    .map_err(|refusal| within(at, refusal))?;
                let given = twin.or(existing).unwrap_or_else(|| records.new_id(kind));
                if let Some(condition) = condition.filter(|_| !scope.switches.ignore_if_none_exist) {
                    conditional.insert(condition, given.clone());
                }
                *id = Some(given.clone());
                format!("{kind}/{given}")
            }
            Interaction::Update { kind, id, .. } => format!("{kind}/{id}"),
            _ => continue,
        };
        if let Some(full_url) = entries[at].get("fullUrl").and_then(Value::as_str)
            && urns.insert(full_url.to_owned(), target.clone()).is_some_and(|before| before != target)
        {
            return Err(within(at, Refusal::invalid("fullUrl is used by two entries")));
        }
    }
    Ok(urns)
}

/// A resource may be changed once in a transaction.
fn refuse_overlap(steps: &[Interaction]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for (at, step) in steps.iter().enumerate() {
        if let Interaction::Update { kind, id, .. } | Interaction::Delete { kind, id, .. } = step
            && !seen.insert((kind, id))
        {
            return Err(within(
                at,
                Refusal::invalid(format!("the transaction changes the same {kind} twice")),
            ));
        }
    }
    Ok(())
}

fn rank(step: &Interaction) -> u8 {
    match step {
        Interaction::Delete { .. } => 0,
        Interaction::Create { .. } => 1,
        Interaction::Update { .. } => 2,
        _ => 3,
    }
}

fn read(entry: &Value) -> Result<Interaction, Refusal> {
    let request = entry.get("request").ok_or_else(|| Refusal::invalid("the entry has no request"))?;
    let part = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
    let method = part("method").ok_or_else(|| Refusal::invalid("request.method is missing"))?;
    let url = part("url").ok_or_else(|| Refusal::invalid("request.url is missing"))?;
    let (path, query) = url.split_once('?').map_or((url.as_str(), None), |(path, query)| (path, Some(query)));
    let conditions = Conditions {
        if_match: part("ifMatch"),
        if_none_match: part("ifNoneMatch"),
        if_none_exist: part("ifNoneExist"),
    };
    match Interaction::route(&method, path, query, entry.get("resource").cloned(), conditions)? {
        Interaction::Bundle(_) => Err(Refusal::invalid("a Bundle within a Bundle is not submitted")),
        step => Ok(step),
    }
}

fn rewrite(value: &mut Value, urns: &BTreeMap<String, String>) -> Result<(), Refusal> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| rewrite(item, urns)),
        Value::Object(members) => members.iter_mut().try_for_each(|(name, member)| {
            let Value::String(text) = member else { return rewrite(member, urns) };
            if !URI_ELEMENTS.contains(&name.as_str()) {
                return Ok(());
            }
            if let Some(target) = urns.get(text.as_str()) {
                *text = target.clone();
            } else if name == "reference" && text.starts_with("urn:uuid:") {
                return Err(Refusal::invalid("a reference names a urn:uuid that no entry has as fullUrl"));
            } else if name == "reference" && !text.contains(':') && text.contains('?') {
                return Err(Refusal::new(
                    422,
                    "not-supported",
                    "conditional references are not resolved here",
                ));
            }
            Ok(())
        }),
        _ => Ok(()),
    }
}

fn within(at: usize, refusal: Refusal) -> Refusal {
    let expression = match refusal.expression {
        Some(inner) => format!("Bundle.entry[{at}].resource.ofType({inner})"),
        None => format!("Bundle.entry[{at}]"),
    };
    Refusal { expression: Some(expression), ..refusal }
}

fn answer(reply: &Reply) -> Value {
    let mut response = json!({"status": status(reply.status)});
    if let Some(location) = &reply.location {
        response["location"] = location.as_str().into();
    }
    if let Some(etag) = &reply.etag {
        response["etag"] = etag.as_str().into();
    }
    if let Some(at) = reply.last_modified {
        response["lastModified"] = instant(at).into();
    }
    match &reply.body {
        Some(body) => json!({"resource": **body, "response": response}),
        None => json!({"response": response}),
    }
}

fn status(code: u16) -> String {
    let reason = axum::http::StatusCode::from_u16(code).ok().and_then(|known| known.canonical_reason());
    reason.map_or_else(|| code.to_string(), |reason| format!("{code} {reason}"))
}
