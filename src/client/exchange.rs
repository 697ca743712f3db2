//! One request and its answer, with everything that may go wrong on the way turned into
//! [`ServerError`], and repeated where that is safe.
//!
//! The answer of a repeated request is never mixed with an earlier one, and no byte of an answer
//! that was cut short is handed on.

use super::auth::Token;
use super::bundle::issue_codes;
use super::config::Auth;
use super::retry::{backoff_with_jitter, http_date, told_with_jitter};
use super::server::ServerError;
use super::{Inner, innermost, lock};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde::de::IgnoredAny;
use std::sync::atomic::Ordering;
use std::time::Duration;
use url::Url;

/// The body of an error answer is read this far, for its issue codes.
const MAX_ERROR_BYTES: u64 = 256 << 10;

/// When a request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Asking twice is asking once.
    Idempotent,
    /// Only where the server says, or TCP shows, that the first attempt had no effect.
    Unaccepted,
    Never,
}

/// What the body of a success has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Json,
    /// An empty or odd body changes nothing: status and headers say what happened.
    Anything,
}

/// A request, and how to speak of it.
pub(super) struct Ask {
    pub method: &'static str,
    pub url: Url,
    /// The path for messages, ids replaced by `{id}`.
    pub path: String,
    pub headers: Vec<(&'static str, HeaderValue)>,
    pub body: Option<(&'static str, Vec<u8>)>,
    pub repeat: Repeat,
    pub expect: Expect,
}

pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// One attempt that brought nothing usable.
struct Failure {
    error: ServerError,
    kind: FailureKind,
    /// `Retry-After`, within bounds.
    told: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FailureKind {
    /// Nothing reached the server, or it declined to start.
    Unaccepted,
    /// It may have had its effect.
    Transient,
    /// 200 with a body that is whole but no JSON: asked once more, in case a proxy answered.
    Garbled,
    /// The access token was not accepted: asked once more, with a new one.
    Unauthorised,
    Final,
}

impl Ask {
    pub fn get(url: Url, path: String) -> Ask {
        Ask {
            method: "GET",
            url,
            path,
            headers: Vec::new(),
            body: None,
            repeat: Repeat::Idempotent,
            expect: Expect::Json,
        }
    }

    pub fn protocol(&self, code: &'static str, reason: impl Into<String>) -> ServerError {
        ServerError::Protocol { method: self.method, path: self.path.clone(), code, reason: reason.into() }
    }

    pub fn not_fhir(&self, reason: &str) -> ServerError {
        self.protocol("not-fhir", reason)
    }

    fn unreachable(&self, reason: String) -> ServerError {
        ServerError::Unreachable { method: self.method, path: self.path.clone(), reason }
    }
}

impl Inner {
    /// Sends a request until it is answered or its repetitions are used up.
    pub(super) async fn exchange(&self, ask: &Ask) -> Result<Answer, ServerError> {
        let mut backoff = self.config.retry.backoff();
        let mut garbled_before = false;
        let mut renewed_before = false;
        loop {
            self.wait_until_allowed().await;
            let failure = match self.attempt(ask).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if let Some(told) = failure.told {
                self.hold(told);
            }
            // Any request may go again, a create too.
            // # Source
            // > "The 401 (Unauthorized) status code indicates that the request has not been applied
            // > because it lacks valid authentication credentials"   RFC 9110, 15.5.2
            if failure.kind == FailureKind::Unauthorised && !std::mem::replace(&mut renewed_before, true) {
                tracing::debug!(event = "fhir.request.repeat", error = %failure.error, wait_ms = 0);
                self.repeated.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let again = match (ask.repeat, failure.kind) {
                (_, FailureKind::Final | FailureKind::Unauthorised) | (Repeat::Never, _) => false,
                (Repeat::Idempotent, FailureKind::Garbled) => !std::mem::replace(&mut garbled_before, true),
                (Repeat::Idempotent, _) => true,
                (Repeat::Unaccepted, kind) => kind == FailureKind::Unaccepted,
            };
            let step = if again { backoff.next() } else { None };
            let Some(step) = step else {
                tracing::warn!(event = "fhir.request.failed", error = %failure.error);
                return Err(failure.error);
            };
            let wait = match failure.told {
                Some(told) => told_with_jitter(told, self.clock.fraction()),
                None => backoff_with_jitter(step, self.clock.fraction()),
            };
            tracing::debug!(event = "fhir.request.repeat", error = %failure.error, wait_ms = wait.as_millis() as u64);
            self.repeated.fetch_add(1, Ordering::Relaxed);
            // No slot is held while waiting: other searches go on.
            self.clock.sleep(wait).await;
        }
    }

    /// Waits while the server asked all of us to stay away.
    async fn wait_until_allowed(&self) {
        loop {
            let not_before = *lock(&self.not_before);
            let rest = not_before.and_then(|t| (t - self.clock.now()).to_std().ok());
            match rest {
                Some(rest) if !rest.is_zero() => self.clock.sleep(rest).await,
                _ => return,
            }
        }
    }

    fn hold(&self, told: Duration) {
        let until =
            chrono::Duration::from_std(told).ok().and_then(|d| self.clock.now().checked_add_signed(d));
        let mut not_before = lock(&self.not_before);
        *not_before = (*not_before).max(until);
    }

    async fn attempt(&self, ask: &Ask) -> Result<Answer, Failure> {
        // The last line of defence: whoever built this URL, credentials stay with the configured origin.
        if !self.base.contains(&ask.url) {
            let error = ask.protocol("foreign-link", "the address lies outside the configured base");
            return Err(Failure { error, kind: FailureKind::Final, told: None });
        }
        let Ok(_slot) = self.slots.acquire().await else {
            let error = ask.unreachable("the client was shut down".into());
            return Err(Failure { error, kind: FailureKind::Final, told: None });
        };
        // After the wait for a slot, so that the token is not old when it leaves. A slot is held
        // meanwhile: without a token nobody could use it.
        let token = match &self.tokens {
            // What can be repeated was repeated there.
            Some(tokens) => Some(tokens.token().await.map_err(final_failure)?),
            None => None,
        };
        self.requests.fetch_add(1, Ordering::Relaxed);
        let response = match self.request(ask, token.as_ref()).send().await {
            Ok(response) => response,
            Err(e) => {
                metrics::counter!("trialbridge_remote_requests_total", "source" => "fhir", "code" => "none")
                    .increment(1);
                let kind = if e.is_connect() { FailureKind::Unaccepted } else { FailureKind::Transient };
                return Err(Failure { error: ask.unreachable(transport_reason(&e)), kind, told: None });
            }
        };
        let status = response.status().as_u16();
        metrics::counter!("trialbridge_remote_requests_total", "source" => "fhir", "code" => status.to_string())
            .increment(1);
        tracing::debug!(event = "fhir.request", method = ask.method, path = %ask.path, status);
        let headers = response.headers().clone();
        if let Some(date) = text_of(&headers, DATE.as_str()).and_then(http_date) {
            *lock(&self.server_date) = Some(date);
        }
        if (200..300).contains(&status) {
            self.success(ask, status, headers, response).await
        } else {
            let mut failure = self.refusal(ask, status, &headers, response).await;
            if let (401, Some(tokens), Some(token)) = (status, &self.tokens, &token) {
                tokens.reject(token).await;
                failure.kind = FailureKind::Unauthorised;
            }
            Err(failure)
        }
    }

    fn request(&self, ask: &Ask, token: Option<&Token>) -> reqwest::RequestBuilder {
        let method = match ask.method {
            "POST" => reqwest::Method::POST,
            "PUT" => reqwest::Method::PUT,
            "DELETE" => reqwest::Method::DELETE,
            _ => reqwest::Method::GET,
        };
        let mut request = self.http.request(method, ask.url.clone());
        for (name, value) in &ask.headers {
            request = request.header(*name, value.clone());
        }
        if let Some((content_type, body)) = &ask.body {
            request = request.header(CONTENT_TYPE, *content_type).body(body.clone());
        }
        match (&self.config.auth, token) {
            (Auth::None, _) | (Auth::SmartBackend(_), None) => request,
            (Auth::Basic { user, password }, _) => request.basic_auth(user, Some(password.expose())),
            (Auth::Bearer { token }, _) => request.bearer_auth(token.expose()),
            (Auth::SmartBackend(_), Some(token)) => request.bearer_auth(token.text.expose()),
        }
    }

    async fn success(
        &self,
        ask: &Ask,
        status: u16,
        headers: HeaderMap,
        response: reqwest::Response,
    ) -> Result<Answer, Failure> {
        let limit = self.config.max_page_bytes;
        let body = match read_body(response, limit).await {
            Ok(body) => body,
            // Whatever was to be said of a write is said in its status and headers.
            Err(_) if ask.expect == Expect::Anything => Vec::new(),
            Err(BodyError::TooLarge) => {
                let reason = format!("the answer is larger than {limit} bytes; lower pull.page_size");
                return Err(final_failure(ask.protocol("page-too-large", reason)));
            }
            Err(BodyError::Cut(reason)) => {
                let error = ask.unreachable(format!("the body was cut short: {reason}"));
                return Err(Failure { error, kind: FailureKind::Transient, told: None });
            }
        };
        if ask.expect == Expect::Json {
            check_json(ask, &headers, &body)?;
        }
        Ok(Answer { status, headers, body })
    }

    async fn refusal(
        &self,
        ask: &Ask,
        status: u16,
        headers: &HeaderMap,
        response: reqwest::Response,
    ) -> Failure {
        let (method, path) = (ask.method, ask.path.clone());
        match status {
            300..=399 => final_failure(ask.protocol(
                "redirect",
                format!(
                    "status {status}; redirects are not followed, set fhir.base_url to the final address"
                ),
            )),
            401 | 403 => final_failure(ServerError::Refused { method, path, status }),
            _ => {
                let body = read_body(response, MAX_ERROR_BYTES).await.unwrap_or_default();
                let outcome = issue_codes(&body).join(",");
                let error = ServerError::Status { method, path, status, outcome };
                let kind = match status {
                    429 | 503 => FailureKind::Unaccepted,
                    502 | 504 => FailureKind::Transient,
                    _ => FailureKind::Final,
                };
                let told = match kind {
                    FailureKind::Final => None,
                    _ => text_of(headers, RETRY_AFTER.as_str())
                        .and_then(|text| self.config.retry.retry_after(text, self.clock.now())),
                };
                if status == 429 {
                    metrics::counter!("trialbridge_remote_throttled_total", "source" => "fhir").increment(1);
                }
                Failure { error, kind, told }
            }
        }
    }
}

fn final_failure(error: ServerError) -> Failure {
    Failure { error, kind: FailureKind::Final, told: None }
}

pub(super) fn text_of<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn check_json(ask: &Ask, headers: &HeaderMap, body: &[u8]) -> Result<(), Failure> {
    let html =
        text_of(headers, CONTENT_TYPE.as_str()).is_some_and(|t| t.to_ascii_lowercase().contains("html"));
    if html || body.trim_ascii_start().first() == Some(&b'<') {
        let reason = "the answer is a web page or XML, perhaps of a login or proxy; check fhir.base_url";
        return Err(final_failure(ask.not_fhir(reason)));
    }
    match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(_) => Ok(()),
        Err(e) if e.is_eof() => {
            let error = ask.unreachable(format!("the body was cut short after {} bytes", body.len()));
            Err(Failure { error, kind: FailureKind::Transient, told: None })
        }
        Err(e) => {
            let reason = format!("the answer is not JSON at line {}, column {}", e.line(), e.column());
            Err(Failure { error: ask.protocol("not-json", reason), kind: FailureKind::Garbled, told: None })
        }
    }
}

pub(super) enum BodyError {
    TooLarge,
    Cut(String),
}

pub(super) async fn read_body(mut response: reqwest::Response, limit: u64) -> Result<Vec<u8>, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > limit {
        return Err(BodyError::TooLarge);
    }
    // The announcement is the server's word; memory is taken for what arrives.
    let mut body = Vec::with_capacity(announced.min(1 << 20) as usize);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if (body.len() + chunk.len()) as u64 > limit => return Err(BodyError::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(e) => return Err(BodyError::Cut(transport_reason(&e))),
        }
    }
}

/// What happened to the connection, without the URL.
pub(super) fn transport_reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let cause = innermost(error);
    if error.is_connect() { format!("no connection: {cause}") } else { cause }
}
