//! The layer around both routers: refuses requests that two readers could understand in two ways,
//! gives every request an id and every answer its headers, and puts troubles into words.

use super::frame::{self, Frame};
use super::state::WebState;
use super::trouble::Trouble;
use crate::http::strict::{self, REQUEST_ID, Refused};
use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Nothing but our own style sheet and pictures; no script, no form, no frame.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub(super) async fn pages(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let as_page = !request.uri().path().starts_with("/api/");
    guard(&state, as_page, request, next).await
}

pub(super) async fn ops(State(state): State<WebState>, request: Request, next: Next) -> Response {
    guard(&state, false, request, next).await
}

async fn guard(state: &WebState, as_page: bool, request: Request, next: Next) -> Response {
    let id = strict::request_id(request.headers());
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
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(const { HeaderValue::from_static(POLICY) });
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
    match strict::refusal(headers) {
        Some(Refused::Headers) => return Some(Trouble::headers()),
        Some(Refused::Host) => return Some(Trouble::host()),
        None => {}
    }
    // Other methods are refused by the router, unread.
    let reads = method == Method::GET || method == Method::HEAD;
    (reads && strict::announces_body(headers)).then(Trouble::body)
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
    message: &'a str,
    hint: &'a str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
}

/// As [`POLICY`], for a page with a form of ours.
pub(super) const FORM_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

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
        message: trouble.happened,
        hint: trouble.next,
        request_id: id,
    };
    let mut problem = serde_json::to_value(&problem).expect("texts and a number are JSON");
    for (name, value) in trouble.members() {
        problem[*name] = value.clone();
    }
    problem.to_string()
}
