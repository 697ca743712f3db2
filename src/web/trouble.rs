//! What goes wrong, for the reader: what happened, what is safe, what to do, and an id to quote.
//!
//! A handler answers with a [`Trouble`]; [`strict`](super::strict) draws it as a page or as problem
//! details (RFC 9457), because it knows the id. Neither repeats what was asked for.

use crate::store::StoreError;
use axum::http::header::{ALLOW, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// The methods of what can only be read.
pub(super) const READ: &str = "GET, HEAD";

#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub status: StatusCode,
    /// Fixed word for programs.
    pub code: &'static str,
    pub happened: &'static str,
    pub safe: &'static str,
    pub next: &'static str,
    /// For the log only.
    pub log: Option<String>,
    extra: Option<Box<Extra>>,
}

/// What few troubles have.
#[derive(Clone, Debug, Default)]
struct Extra {
    /// Further members of the problem details: ids and codes, never a patient's data or an arm.
    members: Vec<(&'static str, Value)>,
    /// Seconds after which the same request may be sent again.
    retry_after: Option<u64>,
    /// The methods of the address, where it can be more than read.
    allow: Option<&'static str>,
}

const NOTHING_CHANGED: &str = "Nothing was changed.";
const ONLY_READ: &str = "Nothing was changed: these pages only read.";

impl Trouble {
    fn new(status: StatusCode, code: &'static str, happened: &'static str, next: &'static str) -> Trouble {
        Trouble { status, code, happened, safe: ONLY_READ, next, log: None, extra: None }
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// For what would have changed something.
    pub fn refused(
        status: StatusCode,
        code: &'static str,
        happened: &'static str,
        next: &'static str,
    ) -> Trouble {
        Trouble { safe: NOTHING_CHANGED, ..Trouble::new(status, code, happened, next) }
    }

    /// With one more member in the problem details.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Trouble {
        self.extra().members.push((name, value.into()));
        self
    }

    /// Worth sending again after so many seconds.
    pub fn after(mut self, seconds: u64) -> Trouble {
        self.extra().retry_after = Some(seconds);
        self
    }

    /// Further members of the problem details.
    pub fn members(&self) -> &[(&'static str, Value)] {
        self.extra.as_ref().map_or(&[], |extra| &extra.members)
    }

    pub fn no_such_page() -> Trouble {
        let next = "Go to the worklist and follow its links.";
        Trouble::new(StatusCode::NOT_FOUND, "not-found", "There is no such page.", next)
    }

    pub fn no_such_subject() -> Trouble {
        let happened = "No subject with this key has been screened.";
        let next = "Look the subject up in the worklist. Somebody who is new at the hospital appears there after the next pull.";
        Trouble::new(StatusCode::NOT_FOUND, "no-such-subject", happened, next)
    }

    pub fn no_such_filter() -> Trouble {
        let happened = "The list cannot be narrowed that way.";
        let next = "Use the filters above the worklist: decision is eligible, undetermined or ineligible; randomized is yes or no; page is a number from 1.";
        Trouble::new(StatusCode::BAD_REQUEST, "no-such-filter", happened, next)
    }

    /// `allow`: the methods that the address knows.
    pub fn method(method: &Method, allow: &'static str) -> Trouble {
        let (happened, next) = match allow {
            READ => ("This address can only be read.", "Use GET or HEAD."),
            _ => ("This address does not know that method.", "Use one of the methods in Allow."),
        };
        let mut trouble = Trouble::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", happened, next);
        trouble.extra().allow = Some(allow);
        trouble.log = Some(format!("method {method}"));
        trouble
    }

    pub fn host() -> Trouble {
        let happened = "The request does not say once to which host it goes.";
        let next = "Send exactly one Host header. If a proxy stands between, correct the proxy.";
        Trouble::new(StatusCode::BAD_REQUEST, "host", happened, next)
    }

    pub fn headers() -> Trouble {
        let happened = "The request has more than 100 headers, or more than 32 KiB of them.";
        let next = "Send fewer headers: clear this site's cookies, or correct the proxy.";
        Trouble::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", happened, next)
    }

    pub fn body() -> Trouble {
        let happened = "The request has a body, and nothing here reads one.";
        Trouble::new(StatusCode::PAYLOAD_TOO_LARGE, "body-not-accepted", happened, "Send it without a body.")
    }

    pub fn store(error: &StoreError) -> Trouble {
        let mut trouble = if error.is_transient() {
            let happened = "The store does not answer just now.";
            let next = "Try again in a minute. If it stays so, tell whoever runs the server the code and the id below.";
            Trouble::new(StatusCode::SERVICE_UNAVAILABLE, error.code(), happened, next)
        } else {
            let happened = "The store cannot be read.";
            let next = "Tell whoever runs the server the code and the id below. Do not decide about anybody from memory of this page.";
            Trouble::new(StatusCode::INTERNAL_SERVER_ERROR, error.code(), happened, next)
        };
        trouble.safe = "What was stored is not touched. Messages that were acknowledged stay stored.";
        trouble.log = Some(error.to_string());
        trouble
    }

    /// A bug of ours: a reading that panicked, or a page that could not be drawn.
    pub fn bug(log: String) -> Trouble {
        let happened = "The program made a mistake while drawing this page.";
        let next = "Tell whoever runs the server the id below. Other pages go on working.";
        let mut trouble = Trouble::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", happened, next);
        trouble.log = Some(log);
        trouble
    }
}

impl IntoResponse for Trouble {
    /// Status and headers; the words follow in [`strict`](super::strict).
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        let unavailable = (self.status == StatusCode::SERVICE_UNAVAILABLE).then_some(60);
        let extra = self.extra.as_deref().cloned().unwrap_or_default();
        if let Some(seconds) = extra.retry_after.or(unavailable) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static(extra.allow.unwrap_or(READ)));
        }
        response.extensions_mut().insert(self);
        response
    }
}
