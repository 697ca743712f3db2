//! FHIR messages: a Bundle whose first entry is a MessageHeader, answered with a message.
//!
//! # Source
//! FHIR R4, messaging.html: a message that comes again gets the response of its first arrival; the
//! response names the message by `MessageHeader.response.identifier`.

use super::bundle::fate;
use super::look::{self, Looked};
use super::negotiate::Wish;
use super::outcome::{Issue, Outcome};
use super::reply::{Fate, Reply};
use super::{PushState, bundle};
use crate::fhir::bundle::{Content, split};
use crate::fhir::json;
use crate::fhir::reference::is_id;
use crate::fhir::text::Text;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    #[serde(borrow)]
    resource_type: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    event_coding: Option<Event<'a>>,
    #[serde(borrow)]
    event_uri: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    system: Option<Text<'a>>,
    #[serde(borrow)]
    code: Option<Text<'a>>,
}

/// What of a MessageHeader is needed for the answer.
struct Announced {
    id: String,
    /// Name and value of `event[x]`.
    event: (&'static str, Value),
}

/// `POST /fhir/$process-message`.
pub(super) async fn receive(state: &PushState, wish: Wish, query: Option<&str>, bytes: Vec<u8>) -> Reply {
    let is_async = query.is_some_and(|query| {
        url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name == "async" && value == "true")
    });
    let looked = match state.look(bytes).await {
        Ok(looked) => looked,
        Err(reply) => return reply.kind("message"),
    };
    let is_other = looked
        .taken
        .as_ref()
        .is_some_and(|taken| taken.whole.is_none() && taken.bundle_type.as_deref() != Some("message"));
    if is_other {
        let text = "This is no Bundle of type message. Nothing was stored: send other Bundles to /fhir.";
        let issue = Issue::error("structure", "not-a-message", text).at("Bundle.type");
        return Reply::refused(StatusCode::BAD_REQUEST, issue).kind("message");
    }
    answer(state, wish, looked, is_async).await
}

/// Stores a message that was looked into, and answers it.
pub(super) async fn answer(state: &PushState, wish: Wish, looked: Looked, is_async: bool) -> Reply {
    answered(state, wish, looked, is_async).await.unwrap_or_else(|reply| *reply).kind("message")
}

async fn answered(
    state: &PushState,
    wish: Wish,
    looked: Looked,
    is_async: bool,
) -> Result<Reply, Box<Reply>> {
    let Looked { item, taken } = looked;
    let Some(taken) = taken else {
        let receipt = state.keep(item, None).await?;
        return Ok(Reply::new(StatusCode::ACCEPTED, fate(&receipt))
            .outcome(&super::unlooked())
            .receipt(&receipt));
    };
    if let Some(problem) = &taken.whole {
        let issue = look::unreadable(problem, &item.bytes, "Bundle");
        let receipt = state.keep(item, None).await?;
        return Ok(Reply::new(StatusCode::BAD_REQUEST, Fate::SetAside)
            .outcome(&Outcome::one(issue))
            .receipt(&receipt));
    }
    let announced = announced(&item.bytes)?;
    if wish.is_strict {
        let unknown = look::unknown_types(&taken);
        if !unknown.is_empty() {
            let outcome = Outcome::of(unknown);
            return Ok(Reply::new(StatusCode::UNPROCESSABLE_ENTITY, Fate::Refused).outcome(&outcome));
        }
    }
    let receipt = state.keep(item, Some(announced.id.clone())).await?;
    if receipt.conflict {
        let text = "Another message came under this MessageHeader.id before. This one is set aside and not \
                    taken: send it under an id of its own.";
        let issue = Issue::error("duplicate", "control-id-reuse", text).at("Bundle.entry[0].resource.id");
        return Ok(Reply::new(StatusCode::CONFLICT, Fate::SetAside)
            .outcome(&Outcome::one(issue))
            .receipt(&receipt));
    }
    let mut issues: Vec<Issue> = taken.entries.iter().flat_map(look::issues).collect();
    let is_lost = !taken.entries.is_empty() && !taken.entries.iter().any(|e| e.is_taken());
    if issues.is_empty() {
        issues.push(Issue::information("stored", format!("Stored as message {}.", receipt.seq)));
    }
    let reply =
        Reply::new(if is_async { StatusCode::ACCEPTED } else { StatusCode::OK }, bundle::fate(&receipt));
    let reply = if is_async {
        reply.outcome(&Outcome::of(issues))
    } else {
        let code = if is_lost { "fatal-error" } else { "ok" };
        let outcome = Outcome { id: "outcome", ..Outcome::of(issues) };
        reply.json(&response(&announced, code, &receipt.received_at, receipt.seq, &outcome))
    };
    Ok(reply.receipt(&receipt))
}

/// The head of a message.
///
/// # Errors
/// 400 where it has none that can be answered. Nothing is stored then: without an id nobody can tell a
/// message that comes again from another one.
fn announced(bytes: &[u8]) -> Result<Announced, Box<Reply>> {
    let refuse = |at: &str, text: &'static str| {
        let issue = Issue::error("required", "structure", text).at(at);
        Err(Box::new(Reply::refused(StatusCode::BAD_REQUEST, issue)))
    };
    let first = json::text(bytes).ok().and_then(|text| split(text).ok()?.into_iter().next()?.content.ok());
    let header = match &first {
        Some(Content::Resource(text)) => json::read_shallow::<Header<'_>>(text).ok(),
        _ => None,
    };
    let Some(header) = header.filter(|h| h.resource_type.as_deref() == Some("MessageHeader")) else {
        let text = "The first entry of a message is its MessageHeader. Nothing was stored: send it first.";
        return refuse("Bundle.entry[0].resource", text);
    };
    let Some(id) = header.id.as_deref().filter(|id| is_id(id)) else {
        let text = "A message needs an id, by which it is known if it comes again. Nothing was stored.";
        return refuse("Bundle.entry[0].resource.id", text);
    };
    let event = match (&header.event_coding, &header.event_uri) {
        (Some(event), _) => {
            ("eventCoding", json!({"system": event.system.as_deref(), "code": event.code.as_deref()}))
        }
        (None, Some(uri)) => ("eventUri", json!(&**uri)),
        (None, None) => {
            let text = "The MessageHeader names no event. Nothing was stored: send event[x].";
            return refuse("Bundle.entry[0].resource.event", text);
        }
    };
    Ok(Announced { id: id.to_owned(), event })
}

/// The same for the same message, whenever it is asked for.
fn response(announced: &Announced, code: &str, at: &str, seq: i64, outcome: &Outcome) -> Value {
    let mut header = json!({
        "resourceType": "MessageHeader",
        "id": format!("response-{seq}"),
        "contained": [outcome],
        "source": {"name": "trialbridge", "endpoint": "urn:trialbridge:fhir"},
        "response": {"identifier": announced.id, "code": code, "details": {"reference": "#outcome"}},
    });
    let (name, mut event) = announced.event.clone();
    if let Value::Object(event) = &mut event {
        event.retain(|_, value| !value.is_null());
    }
    header[name] = event;
    json!({
        "resourceType": "Bundle",
        "id": format!("response-{seq}"),
        "type": "message",
        "timestamp": at,
        "entry": [{"fullUrl": format!("urn:trialbridge:response:{seq}"), "resource": header}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "typed-r4")]
    #[test]
    fn a_response_is_a_message_of_r4() {
        let event = json!({"system": "urn:example:events", "code": "results"});
        let announced = Announced { id: "m1".into(), event: ("eventCoding", event) };
        let outcome = Outcome { id: "outcome", ..Outcome::one(Issue::information("stored", "x")) };
        let message = response(&announced, "ok", "2026-11-23T08:00:00.000Z", 7, &outcome);
        let text = serde_json::to_vec(&message).expect("JSON");
        trialbridge_fhir_typed::check(trialbridge_fhir_typed::Release::R4, &text).expect("an R4 message");
    }

    #[test]
    fn a_message_without_a_head_is_not_taken() {
        let message =
            |first: &str| format!(r#"{{"resourceType":"Bundle","type":"message","entry":[{first}]}}"#);
        for (first, expected) in [
            ("", Some("Bundle.entry[0].resource")),
            (r#"{"resource":{"resourceType":"Patient","id":"p"}}"#, Some("Bundle.entry[0].resource")),
            (r#"{"resource":{"resourceType":"MessageHeader"}}"#, Some("Bundle.entry[0].resource.id")),
            (
                r#"{"resource":{"resourceType":"MessageHeader","id":"m"}}"#,
                Some("Bundle.entry[0].resource.event"),
            ),
            (r#"{"resource":{"resourceType":"MessageHeader","id":"m","eventUri":"urn:x"}}"#, None),
        ] {
            let refused = announced(message(first).as_bytes()).err();
            let said = refused.map(|r| serde_json::from_slice::<Value>(&r.body).expect("JSON"));
            let at = said.as_ref().and_then(|v| v["issue"][0]["expression"][0].as_str());
            assert_eq!(at, expected, "{first}");
        }
    }
}
