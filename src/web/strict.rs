//! The layer around both routers: refuses requests that two readers could understand in two ways,
//! gives every request an id and every answer its headers, and puts troubles into words.

use super::frame::{self, Frame};
use super::state::WebState;
use super::trouble::Trouble;
use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
    TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nothing but our own style sheet and pictures; no script, no form, no frame.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 32 * 1024;

pub(super) async fn pages(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let as_page = !request.uri().path().starts_with("/api/");
    guard(&state, as_page, request, next).await
}

pub(super) async fn ops(State(state): State<WebState>, request: Request, next: Next) -> Response {
    guard(&state, false, request, next).await
}

async fn guard(state: &WebState, as_page: bool, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let mut response = match refusal(request.method(), request.headers()) {
        Some(trouble) => {
            let mut response = trouble.into_response();
            // What follows on this connection may be the rest of a body that nobody reads.
            response.headers_mut().insert(CONNECTION, const { HeaderValue::from_static("close") });
            response
        }
        None => next.run(request).await,
    };
    if let Some(trouble) = response.extensions_mut().remove::<Trouble>() {
        tell(&trouble, &id);
        response = in_words(state, as_page, trouble, &id, response);
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, const { HeaderValue::from_static(POLICY) });
    headers.insert(X_CONTENT_TYPE_OPTIONS, const { HeaderValue::from_static("nosniff") });
    headers.insert(REFERRER_POLICY, const { HeaderValue::from_static("no-referrer") });
    headers.insert(
        const { HeaderName::from_static("cross-origin-resource-policy") },
        const { HeaderValue::from_static("same-origin") },
    );
    headers.entry(CACHE_CONTROL).or_insert(const { HeaderValue::from_static("no-store") });
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// Why a request is not looked into at all.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<Trouble> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Some(Trouble::headers());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let is_host = |host: &HeaderValue| {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(b);
        !host.is_empty() && host.as_bytes().iter().all(allowed)
    };
    if !(hosts.next().is_some_and(is_host) && hosts.next().is_none()) {
        return Some(Trouble::host());
    }
    // Other methods are refused by the router, unread.
    let reads = method == Method::GET || method == Method::HEAD;
    let empty = headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0");
    (reads && (headers.contains_key(TRANSFER_ENCODING) || !empty)).then(Trouble::body)
}

/// The caller's id if it is a plain word, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let plain = |id: &&str| {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
        !id.is_empty() && id.len() <= 64 && id.bytes().all(word)
    };
    if let Some(id) = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok()).filter(plain) {
        return id.to_owned();
    }
    let mut random = [0u8; 8];
    // Without a random source the number alone still tells requests of one run apart.
    let _ = getrandom::fill(&mut random);
    format!("{:016x}-{}", u64::from_be_bytes(random), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The address is not logged: it may hold a subject's key.
fn tell(trouble: &Trouble, id: &str) {
    let (status, code) = (trouble.status.as_u16(), trouble.code);
    let cause = trouble.log.as_deref().unwrap_or_default();
    if trouble.status.is_server_error() {
        tracing::error!(request = id, status, code, cause, "a request failed");
    } else {
        tracing::debug!(request = id, status, code, cause, "a request was refused");
    }
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct TroublePage<'a> {
    frame: Frame,
    trouble: &'a Trouble,
    id: &'a str,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: String,
    code: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
}

/// Puts the words into an answer that has only its status and headers yet.
fn in_words(state: &WebState, as_page: bool, trouble: Trouble, id: &str, mut response: Response) -> Response {
    let page = TroublePage {
        frame: frame::of(state, trouble.happened.trim_end_matches('.')),
        trouble: &trouble,
        id,
    };
    let drawn = if as_page { page.render().ok() } else { None };
    let (kind, body) = match drawn {
        Some(html) => ("text/html; charset=utf-8", html),
        None => ("application/problem+json", problem(&trouble, id)),
    };
    // The length is that of the body without words.
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *response.body_mut() = Body::from(body);
    response
}

fn problem(trouble: &Trouble, id: &str) -> String {
    let problem = Problem {
        r#type: "about:blank",
        title: trouble.happened,
        status: trouble.status.as_u16(),
        detail: format!("{} {}", trouble.safe, trouble.next),
        code: trouble.code,
        request_id: id,
    };
    serde_json::to_string(&problem).expect("texts and a number are JSON")
}
