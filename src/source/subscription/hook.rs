//! The endpoint that servers notify: `/hook/{id}`.
//!
//! The sender is made sure of before its body is read. Bytes are on disk before the answer; what has to
//! be fetched is written down in the same step and fetched afterwards by the watcher, so that an answer
//! never waits for another server.

use super::meaning::{Foreign, heard};
use super::{ORIGIN, Wake, secret};
use crate::client::{Clock, FhirClient};
use crate::fhir::notification::{self, Arrival, Kind, NotificationError};
use crate::fhir::reference::{is_id, type_and_id};
use crate::fhir::release::is_resource_type;
use crate::http::body::{self, BodyError, BodyLimits};
use crate::pipeline::{detail, stamp};
use crate::source::inbox;
use crate::store::{Heard, NewAudit, Noted, Store, StoreError, Subscription, SubscriptionState};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Seconds after which a sender may try again.
const RETRY_SECONDS: &str = "30";

/// How much a sender may send, and how long it waits.
#[derive(Debug, Clone)]
pub struct HookLimits {
    pub body: BodyLimits,
    /// Longest wait for the disk before the sender is told to come again.
    pub patience: Duration,
}

impl Default for HookLimits {
    /// An answer within a second.
    fn default() -> HookLimits {
        HookLimits { body: BodyLimits::default(), patience: Duration::from_millis(900) }
    }
}

/// What the hook stands on.
#[derive(Clone)]
pub struct Hooks(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    /// Only says what is below the configured base; the hook sends nothing.
    client: FhirClient,
    clock: Arc<dyn Clock>,
    wake: Arc<Wake>,
    limits: HookLimits,
    /// When each kind of refusal was last put into the audit, and how many came since.
    refusals: Mutex<BTreeMap<&'static str, (DateTime<Utc>, u64)>>,
}

impl Hooks {
    pub fn new(
        store: Arc<dyn Store>,
        client: FhirClient,
        clock: Arc<dyn Clock>,
        wake: Arc<Wake>,
        limits: HookLimits,
    ) -> Hooks {
        Hooks(Arc::new(Inner { store, client, clock, wake, limits, refusals: Mutex::default() }))
    }
}

/// `POST /hook/{id}`; `PUT`, `POST` and `DELETE /hook/{id}/{Type}/{rid}`, which is how servers deliver
/// a payload: an update of the resource, as if the endpoint were a FHIR server. No fallback.
///
/// # Source
/// R4 Subscription, channel `rest-hook`, as HAPI FHIR and others read it: `PUT [endpoint]/Type/id`.
pub fn router(hooks: Hooks) -> Router {
    Router::new()
        .route("/hook/{id}", post(bare))
        .route("/hook/{id}/{type}/{rid}", put(named).post(named).delete(named))
        .with_state(hooks)
}

async fn bare(State(hooks): State<Hooks>, Path(id): Path<String>, request: Request) -> Response {
    hooks.answer(&id, None, request).await
}

async fn named(
    State(hooks): State<Hooks>,
    Path((id, resource_type, rid)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    hooks.answer(&id, Some((resource_type, rid)), request).await
}

/// How a notification is answered, and counted.
struct Answer {
    status: StatusCode,
    /// For the metric, from a fixed list.
    kind: &'static str,
    outcome: &'static str,
    /// Issue code, expression and text of an OperationOutcome.
    issue: Option<(&'static str, String, &'static str)>,
    /// The number of the inbox row.
    message: Option<i64>,
    /// The rest of a body stands on the connection.
    closes: bool,
}

impl Answer {
    fn taken(status: StatusCode, kind: &'static str, message: Option<i64>) -> Answer {
        Answer { status, kind, outcome: "accepted", issue: None, message, closes: false }
    }

    fn refused(status: StatusCode, outcome: &'static str, code: &'static str, text: &'static str) -> Answer {
        Answer {
            status,
            kind: "none",
            outcome,
            issue: Some((code, String::new(), text)),
            message: None,
            closes: false,
        }
    }

    fn at(mut self, expression: String) -> Answer {
        if let Some(issue) = &mut self.issue {
            issue.1 = expression;
        }
        self
    }

    fn unread(error: BodyError) -> Answer {
        let (code, text) = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ("too-long", "the notification is larger than is taken; ask for fewer events with maxCount")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("not-supported", "send the body as it is, or with gzip"),
            StatusCode::REQUEST_TIMEOUT => ("timeout", "the body took too long; send it again"),
            _ => ("invalid", "the body is broken; send it again"),
        };
        Answer { closes: true, ..Answer::refused(error.status(), "malformed", code, text) }
    }

    fn storage(error: &StoreError) -> Answer {
        tracing::error!(event = "subscription.store", code = error.code(), %error);
        let text = "the notification was not stored; send it again";
        Answer::refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "transient", text)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.issue {
            None => self.status.into_response(),
            Some((code, expression, text)) => {
                let mut issue = serde_json::json!({
                    "severity": "error", "code": code, "details": {"text": text}
                });
                if !expression.is_empty() {
                    issue["expression"] = serde_json::json!([expression]);
                }
                let outcome = serde_json::json!({"resourceType": "OperationOutcome", "issue": [issue]});
                (self.status, [(CONTENT_TYPE, "application/fhir+json")], outcome.to_string()).into_response()
            }
        };
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, axum::http::HeaderValue::from_static(RETRY_SECONDS));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = axum::http::HeaderValue::from_static("Bearer");
            headers.insert(axum::http::header::WWW_AUTHENTICATE, bearer);
        }
        if self.closes {
            headers.insert(axum::http::header::CONNECTION, axum::http::HeaderValue::from_static("close"));
        }
        if let Some(seq) = self.message {
            headers.insert("x-trialbridge-message", axum::http::HeaderValue::from(seq));
        }
        response
    }
}

impl Hooks {
    async fn answer(&self, id: &str, named: Option<(String, String)>, request: Request) -> Response {
        let answer = self.take(id, named, request).await;
        metrics::counter!(
            "trialbridge_inbound_messages_total",
            "channel" => "subscription", "kind" => answer.kind, "outcome" => answer.outcome
        )
        .increment(1);
        answer.into_response()
    }

    async fn take(&self, id: &str, named: Option<(String, String)>, request: Request) -> Answer {
        let subscription = match self.admit(id, request.headers()).await {
            Ok(subscription) => subscription,
            Err(answer) => return answer,
        };
        let (parts, sent) = request.into_parts();
        if let Some((resource_type, rid)) = &named
            && !(is_resource_type(resource_type) && is_id(rid))
        {
            let text = "the path names no resource of FHIR";
            return Answer::refused(StatusCode::BAD_REQUEST, "malformed", "invalid", text);
        }
        let bytes = match body::read(sent, &parts.headers, &self.0.limits.body).await {
            Ok(bytes) => bytes,
            Err(error) => return Answer::unread(error),
        };
        let gone = parts.method == Method::DELETE;
        let this = self.clone();
        let work = move || this.store(&subscription, named, gone, bytes);
        match tokio::time::timeout(self.0.limits.patience, tokio::task::spawn_blocking(work)).await {
            Ok(Ok(answer)) => answer,
            // The disk is slow. If it is stored after all, the repetition changes nothing.
            Err(_) => {
                let text = "the store is busy; send it again";
                Answer::refused(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "transient", text)
            }
            Ok(Err(error)) => {
                tracing::error!(event = "subscription.fault", panicked = error.is_panic());
                let text = "an internal fault; the notification was not taken";
                Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, "failed", "exception", text)
            }
        }
    }

    /// Finds the Subscription and makes sure of the sender.
    async fn admit(&self, id: &str, headers: &HeaderMap) -> Result<Subscription, Answer> {
        let (store, wanted) = (Arc::clone(&self.0.store), id.to_owned());
        let found = match is_id(id) {
            true => tokio::task::spawn_blocking(move || store.subscription(&wanted)).await,
            false => Ok(Ok(None)),
        };
        let found = match found {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(Answer::storage(&error)),
            Err(_) => return Err(Answer::storage(&StoreError::storage("reading a Subscription", "a fault"))),
        };
        // Ids of one server mean nothing at another: what was made for another server is unknown.
        let Some(found) = found.filter(|s| s.server == self.0.client.base_url()) else {
            self.refuse("unknown-subscription").await;
            let text = "there is no such hook";
            return Err(Answer::refused(StatusCode::NOT_FOUND, "unknown", "not-found", text));
        };
        let header = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        if !secret::matches(header, &found.secret_sha256) {
            self.refuse("wrong-secret").await;
            let text = "the Authorization header does not hold the secret of this Subscription";
            return Err(Answer::refused(StatusCode::UNAUTHORIZED, "unauthorised", "login", text));
        }
        if found.state == SubscriptionState::Deleted {
            let text = "this Subscription was deleted by its subscriber";
            return Err(Answer::refused(StatusCode::GONE, "deleted", "deleted", text));
        }
        Ok(found)
    }

    /// Audits a refusal: the first of a minute at once, the others as a number with the next one, so
    /// that nobody can fill the audit from outside.
    async fn refuse(&self, reason: &'static str) {
        tracing::warn!(event = "subscription.refused", reason);
        let now = self.0.clock.now();
        let before = {
            let mut refusals = self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            match refusals.get_mut(reason) {
                Some((last, since)) if (now - *last).num_seconds() < 60 => {
                    *since += 1;
                    return;
                }
                Some((last, since)) => {
                    *last = now;
                    std::mem::take(since)
                }
                None => {
                    refusals.insert(reason, (now, 0));
                    0
                }
            }
        };
        let entry = NewAudit {
            at: stamp(now),
            actor: "unknown".into(),
            role: "sender".into(),
            action: "subscription.refused".into(),
            subject: None,
            detail: detail(&[("reason", reason), ("unreported", &before.to_string())]),
        };
        let store = Arc::clone(&self.0.store);
        match tokio::task::spawn_blocking(move || store.append_audit(entry)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(event = "subscription.audit", code = error.code(), %error),
            Err(_) => tracing::error!(event = "subscription.audit", code = "fault"),
        }
    }

    /// Bytes to the inbox, then the count; blocks until both are on disk.
    fn store(&self, s: &Subscription, named: Option<(String, String)>, gone: bool, bytes: Vec<u8>) -> Answer {
        let at = stamp(self.0.clock.now());
        let arrival = match notification::read(&bytes) {
            _ if gone => Ok(Arrival::Empty),
            Err(error) => Err(error),
            Ok(arrival) => fits(arrival, s, named.as_ref()),
        };
        let arrival = match arrival {
            Ok(arrival) => arrival,
            Err(error) => return self.aside(s, bytes, error.code(), &error.path(), None),
        };
        let (heard, kind, status) = match &arrival {
            Arrival::Empty => {
                let wanted = named.into_iter().map(|(t, id)| (0, t, id)).collect::<Vec<_>>();
                let heard = Heard { pull: wanted.is_empty(), wanted, ..active(at) };
                (heard, "empty", StatusCode::NO_CONTENT)
            }
            Arrival::Resource { .. } => (active(at), "payload", StatusCode::OK),
            Arrival::Notification(n) => match heard(&self.0.client, n, &at) {
                Ok(heard) => (Heard { asked: false, ..heard }, n.kind.word(), StatusCode::OK),
                Err(Foreign) => {
                    let path = "SubscriptionStatus.notificationEvent.focus";
                    let text = "the focus lies on another server than the configured one; it is not followed";
                    return self.aside(s, bytes, "foreign-reference", path, Some(text));
                }
            },
        };
        // What says nothing of a resource has nothing to keep: it is counted.
        let keeps = match &arrival {
            Arrival::Empty => false,
            Arrival::Resource { .. } => true,
            Arrival::Notification(n) => matches!(n.kind, Kind::Event | Kind::QueryEvent),
        };
        let mut message = None;
        if keeps {
            match inbox::accept(&*self.0.store, ORIGIN, &s.server, bytes) {
                Ok(receipt) => message = Some(receipt.seq),
                Err(error) => return Answer::storage(&error),
            }
            self.0.wake.keep();
        }
        let state = heard.state;
        match self.0.store.note_subscription(&s.id, heard) {
            Ok(noted) => self.tell(s, state, &noted),
            Err(error) => return Answer::storage(&error),
        }
        Answer::taken(status, kind, message)
    }

    /// Says what was noticed, and wakes the watcher.
    fn tell(&self, s: &Subscription, state: Option<SubscriptionState>, noted: &Noted) {
        if noted.renumbered {
            tracing::error!(
                event = "subscription.restarted", id = %s.id,
                "the server counts its events anew: everything is pulled, nothing is reset silently"
            );
        }
        if !noted.missing.is_empty() {
            let missing = crate::sequence::in_words(&noted.missing);
            tracing::warn!(event = "subscription.gap", id = %s.id, missing);
        }
        if matches!(state, Some(SubscriptionState::Error | SubscriptionState::Off)) {
            tracing::error!(event = "subscription.error", id = %s.id, state = ?state);
        }
        let suspect = noted.behind || noted.renumbered;
        self.0.wake.up(suspect.then_some(s.id.as_str()));
    }

    fn aside(
        &self,
        s: &Subscription,
        bytes: Vec<u8>,
        reason: &'static str,
        path: &str,
        text: Option<&'static str>,
    ) -> Answer {
        tracing::warn!(event = "subscription.quarantined", id = %s.id, reason);
        match inbox::set_aside(&*self.0.store, ORIGIN, &s.server, bytes, (reason, path)) {
            Ok(receipt) => {
                let text = text.unwrap_or("no notification of FHIR R4, R4B or R5; it is kept in quarantine");
                let refused = Answer::refused(StatusCode::BAD_REQUEST, "quarantined", "invalid", text);
                Answer { message: Some(receipt.seq), ..refused.at(path.to_owned()) }
            }
            Err(error) => Answer::storage(&error),
        }
    }
}

fn active(at: String) -> Heard {
    Heard { at, state: Some(SubscriptionState::Active), ..Heard::default() }
}

/// Does it belong to this path and this Subscription?
fn fits(
    arrival: Arrival,
    s: &Subscription,
    named: Option<&(String, String)>,
) -> Result<Arrival, NotificationError> {
    let wrong = |path: &str, expected| NotificationError::Malformed { path: path.into(), expected };
    match (&arrival, named) {
        (Arrival::Resource { resource_type, id }, Some((t, rid))) => {
            if resource_type != t {
                return Err(wrong("resourceType", "the type in the path is expected"));
            }
            if id.as_ref() != Some(rid) {
                return Err(wrong("id", "the id in the path is expected"));
            }
        }
        (Arrival::Resource { id: None, .. }, None) => return Err(wrong("id", "an id is expected")),
        (Arrival::Notification(_), Some(_)) => {
            return Err(wrong("resourceType", "the type in the path is expected"));
        }
        (Arrival::Notification(n), None) => {
            let named = n.subscription.as_deref().and_then(type_and_id).map(|(_, id)| id);
            if let (Some(named), Some(ours)) = (named, s.remote_id.as_deref())
                && named != ours
            {
                return Err(wrong(
                    "SubscriptionStatus.subscription",
                    "the Subscription of this hook is expected",
                ));
            }
        }
        _ => {}
    }
    Ok(arrival)
}
