//! An answer in the making: status, headers, and a body in words of FHIR.

use super::outcome::{Issue, Outcome};
use crate::http::strict::REQUEST_ID;
use crate::store::{Receipt, StoreError};
use axum::body::Body;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

const MESSAGE: HeaderName = HeaderName::from_static("x-trialbridge-message");
const REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");

/// What became of a request, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// On disk.
    Stored,
    /// It was on disk already.
    Replayed,
    /// On disk, and not taken.
    SetAside,
    /// Not on disk, and the sender has to change something.
    Refused,
    /// Not on disk; the sender has to come again.
    Failed,
    /// Nothing was sent to be kept.
    Answered,
}

impl Fate {
    pub fn word(self) -> &'static str {
        match self {
            Fate::Stored => "stored",
            Fate::Replayed => "replayed",
            Fate::SetAside => "set-aside",
            Fate::Refused => "refused",
            Fate::Failed => "failed",
            Fate::Answered => "answered",
        }
    }
}

#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub fate: Fate,
    /// Fixed word for metrics: what was sent.
    pub kind: &'static str,
    /// Reason code of the first issue, for the log.
    pub reason: &'static str,
}

impl Reply {
    pub fn new(status: StatusCode, fate: Fate) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: Vec::new(), fate, kind: "", reason: "" }
    }

    /// Nothing was stored, and the sender has to change something.
    pub fn refused(status: StatusCode, issue: Issue) -> Reply {
        Reply::new(status, Fate::Refused).outcome(&Outcome::one(issue))
    }

    /// The store did not take it.
    pub fn store(error: &StoreError) -> Reply {
        let (wait, kind, text) = match error {
            StoreError::Busy => {
                ("1", "transient", "More waits than can be stored at once. Send it again in a moment.")
            }
            StoreError::Full { .. } => {
                ("60", "no-store", "No space is left. Nothing of it was stored: send it again later.")
            }
            e if e.is_transient() => (
                "30",
                "transient",
                "The storage failed. It is not known to be stored: send the same bytes again.",
            ),
            _ => (
                "60",
                "exception",
                "The store cannot be used. Send it again later; whoever runs the server is told.",
            ),
        };
        tracing::error!(event = "push.store", code = error.code(), cause = %error);
        Reply::new(StatusCode::SERVICE_UNAVAILABLE, Fate::Failed)
            .header(RETRY_AFTER, wait)
            .outcome(&Outcome::one(Issue::error(kind, error.code(), text)))
    }

    /// A fault of ours.
    pub fn fault() -> Reply {
        let text = "The program made a mistake. Send it again; whoever runs the server is told.";
        Reply::new(StatusCode::INTERNAL_SERVER_ERROR, Fate::Failed).outcome(&Outcome::one(Issue::error(
            "exception",
            "internal",
            text,
        )))
    }

    pub fn allow(self, methods: &[&'static str]) -> Reply {
        self.header(ALLOW, &methods.join(", "))
    }

    /// A value that is none of a header is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Reply {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Reply {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body = bytes,
            Err(error) => tracing::error!(event = "push.answer", %error),
        }
        self
    }

    pub fn outcome(mut self, outcome: &Outcome) -> Reply {
        self.reason = outcome.issues.first().map_or("", |issue| issue.reason);
        self.json(outcome)
    }

    /// Under which number it is kept.
    pub fn receipt(mut self, receipt: &Receipt) -> Reply {
        self.headers.insert(MESSAGE, HeaderValue::from(receipt.seq));
        if !receipt.first {
            self.headers.insert(REPLAY, const { HeaderValue::from_static("true") });
        }
        self
    }

    /// What follows on the connection is a body that nobody reads.
    pub fn close(mut self) -> Reply {
        self.headers.insert(CONNECTION, const { HeaderValue::from_static("close") });
        self
    }

    pub fn kind(self, kind: &'static str) -> Reply {
        Reply { kind, ..self }
    }

    pub fn into_response(self, request_id: &str) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let has_body = !matches!(self.status, StatusCode::NO_CONTENT);
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        if has_body {
            headers
                .entry(CONTENT_TYPE)
                .or_insert(const { HeaderValue::from_static("application/fhir+json") });
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, const { HeaderValue::from_static("nosniff") });
        headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("no-store") });
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(REQUEST_ID, id);
        }
        response
    }
}
