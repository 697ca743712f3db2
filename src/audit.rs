//! The audit log as a hash chain: who did what, when, in which role, and why.
//!
//! Every entry holds the hash of the one before it, so an entry that is edited, taken out, put in,
//! repeated or moved breaks the chain at a place that [`verify`] names. Entries cut off at the end leave
//! a good but shorter chain; that is found by an [`Head`] kept outside the database, against which
//! [`verify_with_anchor`] compares.
//!
//! Order is the sequence number's, never the clock's: a clock that is set back makes no gap. There is no
//! function that changes or removes an entry. The log holds pseudonymous subjects and reason codes; it
//! has no place for a name, a record number or an arm, and callers put none in.

pub mod anchor;

use crate::randomize::digest::{Digest, Transcript};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr};

/// Named particulars of an action, such as `reason` or `definition`. Text only: numbers and nested
/// values have more than one spelling, and what is hashed must have one.
pub type Detail = BTreeMap<String, String>;

/// What happened, before it has a place in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// UTC, RFC 3339 with `Z`.
    pub at: String,
    /// The account or service that acted.
    pub actor: String,
    /// The role in which it acted.
    pub role: String,
    /// What was done, such as `allocation.draw`.
    pub action: String,
    /// The pseudonymous subject it was done to, if any.
    pub subject: Option<String>,
    pub detail: Detail,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// From 1, without a gap.
    pub sequence: u64,
    pub at: String,
    pub actor: String,
    pub role: String,
    pub action: String,
    #[serde(deserialize_with = "Option::deserialize")]
    pub subject: Option<String>,
    #[serde(deserialize_with = "each_key_once")]
    pub detail: Detail,
    /// The hash of the entry before; of the first entry, 32 zero bytes.
    pub previous: Digest,
    pub hash: Digest,
}

/// Where a chain ends: the last sequence number and its hash. Written as `42 sha256:…`.
///
/// Kept outside the database it is an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub sequence: u64,
    pub hash: Digest,
}

impl Head {
    /// The end of a log without entries.
    pub const EMPTY: Head = Head { sequence: 0, hash: Digest([0; 32]) };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sequence, self.hash)
    }
}

/// The text is not the end of a chain in the form that [`Head`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the end of an audit chain: a sequence number, a space and `sha256:` with 64 digits are expected"
)]
pub struct NotAHead;

impl FromStr for Head {
    type Err = NotAHead;
    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let (sequence, hash) = text.split_once(' ').ok_or(NotAHead)?;
        let head = Head {
            sequence: sequence.parse().map_err(|_| NotAHead)?,
            hash: hash.parse().map_err(|_| NotAHead)?,
        };
        // One value, one spelling: no `+1`, no `01`, and an empty chain has one end.
        let empty = head.sequence != 0 || head == Head::EMPTY;
        if empty && head.to_string() == text { Ok(head) } else { Err(NotAHead) }
    }
}

/// Why an event cannot be written. The action that it belongs to must not happen either.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    #[error(
        "the audit entry has no {field}; the action was not done. Every action has an actor, a role and a name"
    )]
    Missing { field: &'static str },
    #[error("the audit entry's time is not UTC in RFC 3339 with `Z`; the action was not done")]
    Time,
    #[error("the audit log is full; the action was not done")]
    Full,
}

/// The entry that follows `head`.
///
/// # Errors
/// [`EventError`] where actor, role or action is empty, or the time is not in UTC.
pub fn next(head: Head, event: Event) -> Result<Entry, EventError> {
    for (text, field) in [(&event.actor, "actor"), (&event.role, "role"), (&event.action, "action")] {
        if text.trim().is_empty() {
            return Err(EventError::Missing { field });
        }
    }
    if !event.at.ends_with('Z') || chrono::DateTime::parse_from_rfc3339(&event.at).is_err() {
        return Err(EventError::Time);
    }
    let Event { at, actor, role, action, subject, detail } = event;
    let sequence = head.sequence.checked_add(1).ok_or(EventError::Full)?;
    let mut entry = Entry {
        sequence,
        at,
        actor,
        role,
        action,
        subject,
        detail,
        previous: head.hash,
        hash: Digest([0; 32]),
    };
    entry.hash = entry.computed_hash();
    Ok(entry)
}

impl Entry {
    /// The end of the chain once this entry is written.
    pub fn head(&self) -> Head {
        Head { sequence: self.sequence, hash: self.hash }
    }

    /// SHA-256 over every other field.
    ///
    /// A text is written as its length in bytes (8 bytes, most significant first) and its UTF-8. In
    /// order: the text `trialbridge/audit/v1`; the sequence number (8 bytes, most significant first);
    /// the texts `at`, `actor`, `role`, `action`; a byte 0, or a byte 1 and the text `subject`; the
    /// number of details (8 bytes) and for each, in byte order of the keys, the texts key and value;
    /// the 32 bytes of `previous`.
    pub fn computed_hash(&self) -> Digest {
        let mut fields = Transcript::new("trialbridge/audit/v1")
            .u64(self.sequence)
            .field(self.at.as_bytes())
            .field(self.actor.as_bytes())
            .field(self.role.as_bytes())
            .field(self.action.as_bytes());
        fields = match &self.subject {
            None => fields.fixed(&[0]),
            Some(subject) => fields.fixed(&[1]).field(subject.as_bytes()),
        };
        fields = fields.u64(self.detail.len() as u64);
        for (key, value) in &self.detail {
            fields = fields.field(key.as_bytes()).field(value.as_bytes());
        }
        fields.fixed(&self.previous.0).digest()
    }
}

/// The first place at which a chain is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit entry {sequence}: {what}. Randomization stays blocked until this is explained and signed")]
pub struct Break {
    /// The sequence number that should stand here.
    pub sequence: u64,
    pub what: Fault,
}

/// What is wrong at a [`Break`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("its content does not match its hash; it was edited")]
    Edited,
    #[error("it does not follow from the entry before it; that one was replaced, or this one was put in")]
    Unlinked,
    #[error("entry {found} stands in its place; entries were removed or reordered")]
    Missing { found: u64 },
    #[error("entry {found} stands in its place, which came before; entries were repeated or reordered")]
    Repeated { found: u64 },
    #[error(
        "the log ends before it, but the anchor outside knows it; the end was cut off or an older copy restored"
    )]
    CutOff,
    #[error(
        "its hash is not the one that the anchor outside knows; the log was rewritten or belongs to another copy"
    )]
    Forked,
}

/// Follows a chain entry by entry, for logs that are read from a store.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    head: Head,
    anchor: Head,
}

impl Chain {
    /// From the first entry, with nothing known from outside.
    pub fn start() -> Self {
        Chain { head: Head::EMPTY, anchor: Head::EMPTY }
    }

    /// From the first entry; the chain must run through `anchor`.
    pub fn anchored(anchor: Head) -> Self {
        Chain { head: Head::EMPTY, anchor }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// [`Break`] where it is not the one that must stand here.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), Break> {
        let sequence = self.head.sequence.saturating_add(1);
        let fault = |what| Err(Break { sequence, what });
        let found = entry.sequence;
        if found > sequence {
            return fault(Fault::Missing { found });
        }
        if found < sequence {
            return fault(Fault::Repeated { found });
        }
        if entry.hash != entry.computed_hash() {
            return fault(Fault::Edited);
        }
        if entry.previous != self.head.hash {
            return fault(Fault::Unlinked);
        }
        if sequence == self.anchor.sequence && entry.hash != self.anchor.hash {
            return fault(Fault::Forked);
        }
        self.head = entry.head();
        Ok(())
    }

    /// The end so far.
    pub fn head(&self) -> Head {
        self.head
    }

    /// There are no more entries.
    ///
    /// # Errors
    /// [`Fault::CutOff`] where the anchor lies beyond the end.
    pub fn finish(self) -> Result<Head, Break> {
        if self.head.sequence < self.anchor.sequence {
            return Err(Break { sequence: self.head.sequence + 1, what: Fault::CutOff });
        }
        Ok(self.head)
    }
}

/// Checks a whole log. Entries cut off at the end go unseen: see [`verify_with_anchor`].
///
/// # Errors
/// The first [`Break`].
pub fn verify<E: Borrow<Entry>>(entries: impl IntoIterator<Item = E>) -> Result<Head, Break> {
    verify_with_anchor(entries, Head::EMPTY)
}

/// Checks a whole log and that it runs through `anchor`, which was recorded outside the database. The
/// log may have grown since.
///
/// # Errors
/// The first [`Break`].
pub fn verify_with_anchor<E: Borrow<Entry>>(
    entries: impl IntoIterator<Item = E>,
    anchor: Head,
) -> Result<Head, Break> {
    let mut chain = Chain::anchored(anchor);
    for entry in entries {
        chain.follow(entry.borrow())?;
    }
    chain.finish()
}

/// One line of an exported log, which is the entry as [`Entry`] writes itself and nothing else: another
/// spelling of the same values is a change.
pub fn line(text: &str) -> Option<Entry> {
    let entry: Entry = serde_json::from_str(text).ok()?;
    (serde_json::to_string(&entry).ok()? == text).then_some(entry)
}

/// Refuses a key that comes twice: a reader of the text would see one value, the hash another.
fn each_key_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Detail, D::Error> {
    struct Pairs;
    impl<'de> de::Visitor<'de> for Pairs {
        type Value = Detail;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of texts")
        }
        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Detail, A::Error> {
            let mut detail = Detail::new();
            while let Some((key, value)) = map.next_entry()? {
                if detail.insert(key, value).is_some() {
                    return Err(de::Error::custom("a detail is given twice"));
                }
            }
            Ok(detail)
        }
    }
    deserializer.deserialize_map(Pairs)
}

#[cfg(test)]
mod tests;
