//! FHIR that hospitals send: `POST /fhir`, `PUT /fhir/Type/id` and the like.
//!
//! The bytes of a request are in the inbox, on disk, before its sender is told so; what becomes of them is
//! worked out from them with the same function that the pipeline uses later, so that the answer can say
//! it. Nothing waits for the pipeline. No patient's data are ever read out, and no answer and no log
//! repeats a value that was sent.

mod bundle;
mod capability;
mod look;
mod message;
mod negotiate;
mod outcome;
mod preview;
mod reply;
mod resource;
mod table;
#[cfg(test)]
mod tests;

use crate::config::{ConfigError, Push};
use crate::http::auth::{self, AuthError, Authenticator, Caller};
use crate::http::body::{self, BodyLimits};
use crate::http::listener::Peer;
use crate::http::strict;
use crate::http::throttle::Throttle;
use crate::pipeline::Pipeline;
use crate::protocol::Trial;
use crate::source::digest::Digest;
use crate::store::{Store, StoreError};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::Response;
use axum::routing::any;
use negotiate::Wish;
use outcome::{Issue, Outcome};
use reply::{Fate, Reply};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use table::{Asked, Does, Missed};
use tokio::sync::Semaphore;

/// The word for this channel in the inbox.
pub const ORIGIN: &str = "push";
/// Bodies that are looked into at once, of those that are too large to be looked into in passing.
const LARGE_AT_ONCE: usize = 4;

/// What the endpoints work with. Cheap to clone.
#[derive(Clone)]
pub struct PushState(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    trial: Arc<Trial>,
    salt: String,
    source: String,
    is_strict: bool,
    who: Authenticator,
    throttle: Option<Throttle>,
    limits: BodyLimits,
    digest: Arc<Digest>,
    large: Semaphore,
    /// CapabilityStatement, written once.
    metadata: Vec<u8>,
    /// Where authorisation is had from, if tokens of an issuer are asked for.
    smart: Option<Vec<u8>>,
    /// The second in which somebody was last reported to send too much.
    told: AtomicU64,
}

/// Why nothing can be received.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PushState {
    /// `source`: whose numbering of ids the resources have. `digest` is told of everything that comes.
    ///
    /// # Errors
    /// Which file or value of `[push]` cannot be used; those of the store.
    pub fn new(
        push: &Push,
        source: &str,
        store: Arc<dyn Store>,
        trial: Arc<Trial>,
        digest: Arc<Digest>,
    ) -> Result<PushState, StartError> {
        let salt = Pipeline::salt(&*store)?;
        Ok(PushState(Arc::new(Inner {
            salt,
            store,
            trial,
            source: source.to_owned(),
            is_strict: push.strict,
            who: Authenticator::from_config(push)?,
            throttle: Throttle::new(push.max_per_second),
            limits: BodyLimits::default(),
            digest,
            large: Semaphore::new(LARGE_AT_ONCE),
            metadata: capability::statement(push, chrono::Utc::now()),
            smart: capability::smart_configuration(push),
            told: AtomicU64::new(0),
        })))
    }
}

/// Everything below `/fhir`. Has no fallback, so that it can be merged with other routers.
pub fn router(state: PushState) -> Router {
    Router::new()
        .route("/fhir", any(serve))
        .route("/fhir/", any(serve))
        .route("/fhir/{*path}", any(serve))
        .with_state(state)
}

async fn serve(State(state): State<PushState>, request: Request) -> Response {
    let began = Instant::now();
    let id = strict::request_id(request.headers());
    let reply = answer(&state, request).await;
    count(&reply, &id, began);
    reply.into_response(&id)
}

fn count(reply: &Reply, id: &str, began: Instant) {
    if reply.fate != Fate::Answered {
        let labels = [("channel", "fhir"), ("kind", reply.kind), ("outcome", reply.fate.word())];
        metrics::counter!("trialbridge_inbound_messages_total", &labels).increment(1);
        metrics::histogram!("trialbridge_inbound_ack_seconds", "channel" => "fhir").record(began.elapsed());
    }
    // The address is not logged: it may hold an identifier.
    let (status, reason) = (reply.status.as_u16(), reply.reason);
    if reply.status.is_server_error() {
        tracing::error!(event = "push.failed", request = id, status, reason);
    } else if reply.status.is_client_error() {
        tracing::info!(event = "push.refused", request = id, status, reason);
    }
}

/// The order counts: nobody unknown costs more than a look at the head, and nothing is read of a body
/// that would not be taken.
async fn answer(state: &PushState, request: Request) -> Reply {
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    let unread = |reply: Reply| if strict::announces_body(headers) { reply.close() } else { reply };
    if let Some(refused) = strict::refusal(headers) {
        return unread(bad_head(refused)).kind("none");
    }
    let path = head.uri.path();
    // Some clients encode the dollar sign of an operation.
    let path = path.strip_prefix("/fhir").unwrap_or(path).trim_start_matches('/').replacen("%24", "$", 1);
    let asked = table::find(head.method.as_str(), &path);
    let peer = head.extensions.get::<Peer>();
    let is_open = matches!(asked, Ok(Asked { does: Does::Capabilities | Does::SmartConfiguration, .. }));
    let caller = match is_open {
        true => None,
        false => match state.0.who.caller(headers, peer).await {
            Ok(caller) => caller,
            Err(error) => return unread(unknown(error, headers)).kind("none"),
        },
    };
    if let Err(refused) = within_rate(state, caller.as_ref(), peer) {
        return unread(*refused).kind("none");
    }
    let asked = match asked {
        Ok(asked) => asked,
        Err(missed) => return unread(not_offered(missed)).kind("none"),
    };
    let query = head.uri.query();
    if let Err(refused) = negotiate::accept(headers, query) {
        return unread(*refused).kind("none");
    }
    match asked.does {
        Does::Capabilities => return json(state.0.metadata.clone(), "application/fhir+json"),
        Does::SmartConfiguration => {
            return match &state.0.smart {
                Some(text) => json(text.clone(), "application/json"),
                None => not_offered(Missed::Path),
            };
        }
        Does::Delete => return unread(resource::delete(state, headers, asked).await),
        _ => {}
    }
    if let Err(refused) = negotiate::content_type(headers) {
        return unread(*refused).kind("none");
    }
    let bytes = match body::read(body, headers, &state.0.limits).await {
        Ok(bytes) => bytes,
        Err(error) => {
            let kind = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => "too-long",
                StatusCode::UNSUPPORTED_MEDIA_TYPE => "not-supported",
                StatusCode::REQUEST_TIMEOUT => "timeout",
                _ => "structure",
            };
            let issue = Issue::error(kind, error.code(), capital(&error.to_string()));
            return Reply::refused(error.status(), issue).kind("none").close();
        }
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let issue = Issue::error("structure", "empty", "There is no body. Send a FHIR resource as JSON.");
        return Reply::refused(StatusCode::BAD_REQUEST, issue).kind("none");
    }
    let wish = Wish::of(headers);
    let wish = Wish { is_strict: wish.is_strict || state.0.is_strict, ..wish };
    match asked.does {
        Does::Bundle => bundle::receive(state, wish, bytes).await,
        Does::Message => message::receive(state, wish, query, bytes).await,
        Does::Validate => preview::validate(state, bytes).await,
        Does::Preview => preview::preview(state, bytes).await,
        _ => resource::receive(state, wish, headers, query, asked, bytes).await,
    }
}

fn json(body: Vec<u8>, kind: &str) -> Reply {
    Reply { body, ..Reply::new(StatusCode::OK, Fate::Answered) }.header(CONTENT_TYPE, kind)
}

fn bad_head(refused: strict::Refused) -> Reply {
    let (status, reason, text) = match refused {
        strict::Refused::Headers => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers-too-large",
            "The request has more than 100 headers, or more than 32 KiB of them. Send fewer.",
        ),
        strict::Refused::Host => (
            StatusCode::BAD_REQUEST,
            "host",
            "The request does not say once to which host it goes. Send exactly one Host header.",
        ),
    };
    Reply::refused(status, Issue::error("structure", reason, text))
}

fn unknown(error: AuthError, headers: &axum::http::HeaderMap) -> Reply {
    let refused = auth::refused(error, headers);
    let kind = if error == AuthError::Unavailable { "transient" } else { "login" };
    let mut reply = Reply::refused(refused.status(), Issue::error(kind, error.code(), error.sentence()));
    for (name, value) in refused.headers() {
        reply.headers.insert(name.clone(), value.clone());
    }
    reply.headers.remove(axum::http::header::CONTENT_LENGTH);
    reply
}

fn within_rate(state: &PushState, caller: Option<&Caller>, peer: Option<&Peer>) -> Result<(), Box<Reply>> {
    let Some(throttle) = &state.0.throttle else { return Ok(()) };
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    let Err(seconds) = throttle.check(caller, address) else { return Ok(()) };
    // Once a second: who sends too much must not fill the log as well.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    if state.0.told.swap(now, Ordering::Relaxed) != now {
        let name = caller.map(|c| c.name.as_ref()).unwrap_or_default();
        tracing::warn!(event = "push.throttled", caller = name, peer = %address);
    }
    let text = "More requests a second than one sender may send. Wait as Retry-After says, or send Bundles.";
    let reply =
        Reply::refused(StatusCode::TOO_MANY_REQUESTS, Issue::error("throttled", "too-many-requests", text));
    Err(Box::new(reply.header(RETRY_AFTER, &seconds.to_string())))
}

fn not_offered(missed: Missed) -> Reply {
    match missed {
        Missed::Path => {
            let text = "There is nothing here. GET /fhir/metadata says what is offered.";
            Reply::refused(StatusCode::NOT_FOUND, Issue::error("not-supported", "not-supported", text))
        }
        Missed::Method(allowed) => {
            let text = "This is not offered: data are taken in here, and never read out. \
                        GET /fhir/metadata says what is offered.";
            let issue = Issue::error("not-supported", "not-supported", text);
            Reply::refused(StatusCode::METHOD_NOT_ALLOWED, issue).allow(&allowed)
        }
    }
    .kind("none")
}

/// What was sent was kept and could not be looked into: a fault of ours, which costs the sender nothing.
fn unlooked() -> Outcome {
    let text =
        "It is stored, and could not be looked into yet: nothing to do, whoever runs the server is told.";
    Outcome::one(Issue::warning("exception", "processing-failed", text))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(['.']).collect()
}
