//! What a draw rests on, taken apart on the caller's thread before the one transaction that all draws wait for.
//!
//! Invariant: nothing is decided here. The transaction reads the decision again, and goes by what was taken
//! apart only where it reads the same bytes. A stored list never changes, so that its public part is read here
//! alone; whatever stands there, no slot opens under another header than the one that it was sealed with.

use super::list;
use crate::randomize::seal::{Header, SealError};
use crate::store::{ListTerms, Store};
use serde_json::Value;
use std::borrow::Cow;

/// Texts as they stood a moment ago, with what they say. Empty: a decision is taken apart when it is needed, and
/// no list is known.
#[derive(Default)]
pub(super) struct Foreseen {
    decision: Option<(String, Value)>,
    list: Option<Result<Header, SealError>>,
}

impl Foreseen {
    /// What cannot be read is left to the transaction, which says what is wrong.
    pub(super) fn of(store: &dyn Store, trial: &str, subject: &str) -> Foreseen {
        let decision = store.latest_decision(subject).ok().flatten();
        let decision = decision.and_then(|d| serde_json::from_str(&d.json).ok().map(|read| (d.json, read)));
        let list = store.allocation_list(trial).ok().flatten();
        Foreseen { decision, list: list.as_ref().map(list::header) }
    }

    /// What the JSON of a decision says; nothing if it is no JSON.
    pub(super) fn decision(&self, json: &str) -> Cow<'_, Value> {
        match &self.decision {
            Some((text, read)) if text == json => Cow::Borrowed(read),
            _ => Cow::Owned(serde_json::from_str(json).unwrap_or_default()),
        }
    }

    /// The header of the list with these terms.
    ///
    /// # Errors
    /// The list's public part is damaged, or of another list.
    pub(super) fn header(&self, terms: &ListTerms) -> Result<&Header, SealError> {
        match &self.list {
            Some(Ok(header)) if list::is_of(header, &terms.id, &terms.commitment) => Ok(header),
            Some(Err(damaged)) => Err(damaged.clone()),
            _ => Err(list::damaged(&terms.id)),
        }
    }
}
