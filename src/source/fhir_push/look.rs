//! A document looked into before it is stored, and stored.

use super::outcome::Issue;
use super::reply::Reply;
use super::{Inner, ORIGIN, PushState};
use crate::fact::Reason;
use crate::fhir::json::{self, JsonError};
use crate::fhir::resource::Head;
use crate::pipeline::intake::{self, Entry, Problem, Taken};
use crate::pipeline::{poison, stamp};
use crate::source::inbox;
use crate::store::{InboxItem, InboxState, Incoming, NewRecord, Receipt};
use chrono::Utc;

/// From this size on a document is looked into on a thread of its own.
const LARGE: usize = 256 << 10;
/// How the bytes are read.
const MEDIA_TYPE: &str = "application/fhir+json";

/// What came, and what becomes of it.
pub(super) struct Looked {
    pub item: InboxItem,
    /// None: a fault of ours.
    pub taken: Option<Taken>,
}

impl PushState {
    pub(super) async fn look(&self, bytes: Vec<u8>) -> Result<Looked, Box<Reply>> {
        if bytes.len() < LARGE {
            return Ok(look(&self.0, bytes));
        }
        let state = self.clone();
        // Closed it never is.
        let _turn = self.0.large.acquire().await;
        tokio::task::spawn_blocking(move || look(&state.0, bytes)).await.map_err(|_| Box::new(Reply::fault()))
    }

    /// Stores it and wakes the pipeline. The answer is the sender's to have: it is on disk.
    pub(super) async fn keep(&self, item: InboxItem, key: Option<String>) -> Result<Receipt, Box<Reply>> {
        let is_large = item.bytes.len() >= LARGE;
        let incoming = Incoming {
            origin: item.origin,
            source: item.source,
            media_type: item.media_type,
            bytes: item.bytes,
            received_at: item.received_at,
            key,
        };
        let queued = if is_large {
            // Hashing takes its time.
            let state = self.clone();
            tokio::task::spawn_blocking(move || inbox::queue(&*state.0.store, incoming))
                .await
                .map_err(|_| Box::new(Reply::fault()))?
        } else {
            inbox::queue(&*self.0.store, incoming)
        };
        let receipt = queued.on_disk().await.map_err(|error| Box::new(Reply::store(&error)))?;
        if receipt.first {
            self.0.digest.wake();
        }
        Ok(receipt)
    }

    /// Work on the store that blocks.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PushState) -> T + Send + 'static,
    ) -> Result<T, Box<Reply>> {
        let state = self.clone();
        tokio::task::spawn_blocking(move || work(&state)).await.map_err(|_| Box::new(Reply::fault()))
    }
}

fn look(inner: &Inner, bytes: Vec<u8>) -> Looked {
    let item = InboxItem {
        seq: 0,
        received_at: stamp(Utc::now()),
        origin: ORIGIN.to_owned(),
        source: inner.source.clone(),
        media_type: MEDIA_TYPE.to_owned(),
        sha256: String::new(),
        bytes,
        state: InboxState::Pending,
        attempts: 0,
    };
    let taken = poison::guarded(|| intake::take(&item, &inner.trial, &inner.salt, ""));
    if let Err(place) = &taken {
        tracing::error!(event = "push.panic", place);
    }
    Looked { item, taken: taken.ok() }
}

/// On a repetition, what brings no date has that of its first arrival.
pub(super) fn dated(records: &mut [NewRecord], looked_at: &str, receipt: &Receipt) {
    for record in records.iter_mut().filter(|r| r.last_updated.as_deref() == Some(looked_at)) {
        record.last_updated = Some(receipt.received_at.clone());
    }
}

/// The head of a document that can be read as one resource.
pub(super) fn head(bytes: &[u8]) -> Result<Head<'_>, JsonError> {
    let text = json::text(bytes)?;
    if json::too_deep(text) {
        return Err(JsonError::TooDeep);
    }
    json::read_shallow(text)
}

/// Why nothing of a document could be read, with the place in it where its bytes have one.
pub(super) fn unreadable(problem: &Problem, bytes: &[u8], resource_type: &str) -> Issue {
    let expression = match problem.path.is_empty() {
        true => String::new(),
        false if resource_type.is_empty() => problem.path.clone(),
        false => format!("{resource_type}.{}", problem.path),
    };
    let issue = Issue::of(problem, expression);
    let place = match head(bytes) {
        Err(JsonError::Syntax { line, column }) => format!(" Line {line}, column {column}."),
        Err(JsonError::Encoding { at }) => format!(" Byte {at}."),
        _ => return issue,
    };
    Issue { text: format!("{}{place}", issue.text).into(), ..issue }
}

/// Is the document refused because of its form rather than its meaning?
pub(super) fn is_form(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotJson | Reason::Encoding | Reason::TooDeep | Reason::DuplicateKey | Reason::Structure
    )
}

/// Problems of an entry of a Bundle, as issues.
pub(super) fn issues(entry: &Entry) -> impl Iterator<Item = Issue> + '_ {
    entry.problems.iter().map(|p| Issue::of(p, p.path.clone()))
}

/// Types that FHIR does not have, where the sender wants nothing ignored.
pub(super) fn unknown_types(taken: &Taken) -> Vec<Issue> {
    let unknown = taken.entries.iter().flat_map(|e| &e.problems).filter(|p| p.reason == Reason::UnknownType);
    unknown
        .map(|p| {
            let text = "FHIR has no resource of this type, and nothing is to be ignored. Nothing was stored: \
                        correct the type, or leave the entry out.";
            Issue::error("not-supported", p.reason.code(), text).at(p.path.clone())
        })
        .collect()
}
