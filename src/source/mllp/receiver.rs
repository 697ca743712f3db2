//! What becomes of one message: judged, stored, and only then answered. The table of answers.
//!
//! | Situation | Answer | Stored |
//! |---|---|---|
//! | readable, stored | AA | yes |
//! | the same bytes again | the same answer | the first arrival |
//! | MSH-10 used before by other bytes | AE 205 | set aside |
//! | readable, but cannot be mapped | AA; AE with the place where `strict` | yes, the pipeline sets it aside |
//! | segments that cannot be read | AE with the place | yes, the pipeline sets it aside |
//! | wrong MSH-2, MSH-9, MSH-10, MSH-11, MSH-12, character set | AR with the place | set aside |
//! | no space left, too much at once | AR 207 | no |
//! | the storage failed | AE 207 | no |
//!
//! In the enhanced mode CA, CE and CR take their places. Never AA or CA for what is not on disk.

use super::verdict::{Mode, Verdict, judge};
use crate::hl7v2::ack::{Answer, ErrorCode, Report, Severity, acknowledge};
use crate::hl7v2::frame::START;
use crate::hl7v2::header::Header;
use crate::hl7v2::message::Location;
use crate::pipeline::intake::{BYTES, HL7_V2};
use crate::pipeline::stamp;
use crate::protocol::Trial;
use crate::protocol::document::hex;
use crate::store::{Done, Incoming, Receipt, Store, StoreError};
use chrono::{Local, Utc};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_util::bytes::Bytes;

/// Puts bytes on disk and calls back after the commit, as `Store::accept_then` does.
pub type Inbox = dyn Fn(Incoming, Done<Receipt>) + Send + Sync;

/// Takes messages in.
pub struct Receiver {
    inbox: Box<Inbox>,
    mode: Mode,
    /// With its site, which says how its messages are read.
    trial: Arc<Trial>,
    /// Numbers the answers; begins where no earlier run of the program was.
    answers: AtomicU64,
}

/// What the sender gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The message that goes into a frame; `code` is its MSA-1.
    Answer { bytes: Vec<u8>, code: &'static str },
    /// The sender asked for none (MSH-15, MSH-16); the connection goes on.
    Silence,
}

impl Receiver {
    pub fn new(store: Arc<dyn Store>, mode: Mode, trial: Arc<Trial>) -> Receiver {
        let inbox = move |incoming, done| store.accept_then(incoming, done);
        Receiver::before(Box::new(inbox), mode, trial)
    }

    /// Before any inbox.
    pub fn before(inbox: Box<Inbox>, mode: Mode, trial: Arc<Trial>) -> Receiver {
        let begin = u64::try_from(Utc::now().timestamp_micros()).unwrap_or_default();
        Receiver { inbox, mode, trial, answers: AtomicU64::new(begin) }
    }

    /// Returns when the bytes are on disk, or cannot be.
    async fn store(&self, incoming: Incoming) -> Result<Receipt, StoreError> {
        let (tell, told) = tokio::sync::oneshot::channel();
        // A connection that is gone is told nothing; what it sent is stored all the same.
        (self.inbox)(incoming, Box::new(move |receipt| drop(tell.send(receipt))));
        let silent = |_| Err(StoreError::storage("storing what came in", "the store gave no answer"));
        told.await.unwrap_or_else(silent)
    }

    /// One whole frame: stores it and says what to answer.
    pub async fn receive(&self, bytes: Bytes, peer: IpAddr) -> Reply {
        let header = Header::read(&bytes, self.trial.site.hl7v2.charset);
        let verdict = self.judged(bytes.clone()).await;
        let incoming = match verdict.answer {
            Answer::Rejected => kept(bytes.to_vec(), peer),
            _ => Incoming {
                origin: "mllp".to_owned(),
                source: plain(&header.source()),
                media_type: HL7_V2.to_owned(),
                bytes: bytes.to_vec(),
                received_at: stamp(Utc::now()),
                key: header.key().map(|key| plain(&key)),
            },
        };
        let (answer, reports, outcome) = match self.store(incoming).await {
            Ok(receipt) if receipt.conflict => (Answer::Refused, vec![key_reused()], "conflict"),
            Ok(receipt) => {
                let outcome = match verdict.answer {
                    Answer::Rejected => "rejected",
                    Answer::Refused => "refused",
                    _ if receipt.first => "stored",
                    _ => "duplicate",
                };
                (verdict.answer, verdict.reports, outcome)
            }
            Err(error) => {
                tracing::error!(event = "mllp.store", code = error.code(), %error);
                match verdict.answer {
                    // Sent again, it would be rejected again.
                    Answer::Rejected => (verdict.answer, verdict.reports, "rejected"),
                    _ => (not_stored(&error), vec![failure(&error)], "not-stored"),
                }
            }
        };
        self.count(&header, outcome);
        self.reply(&header, answer, &reports)
    }

    /// A frame that did not end within the limit: kept as far as it came. Answered where a header was
    /// seen, for the sender to learn why it is cut off.
    pub async fn too_long(&self, bytes: Bytes, limit: usize, peer: IpAddr) -> Reply {
        let message = bytes.strip_prefix(&[START]).unwrap_or_default();
        let header = Header::read(message, self.trial.site.hl7v2.charset);
        let has_header = message.starts_with(b"MSH");
        self.keep(bytes, "too-long", peer).await;
        if !has_header {
            return Reply::Silence;
        }
        let report = Report {
            code: ErrorCode::ApplicationError,
            severity: Severity::Error,
            location: None,
            reason: "too-long".into(),
            text: format!("the message is longer than {limit} bytes; send its parts one by one"),
        };
        self.reply(&header, Answer::Rejected, &[report])
    }

    /// What is no frame: kept for people, never answered.
    pub async fn broken(&self, bytes: Bytes, fault: &'static str, peer: IpAddr) {
        self.keep(bytes, fault, peer).await;
    }

    async fn keep(&self, bytes: Bytes, fault: &'static str, peer: IpAddr) {
        tracing::warn!(event = "mllp.broken", %peer, fault, bytes = bytes.len());
        let outcome = match self.store(kept(bytes.to_vec(), peer)).await {
            Ok(_) => fault,
            Err(error) => {
                tracing::error!(event = "mllp.store", code = error.code(), %error);
                "not-stored"
            }
        };
        count("frame", outcome);
    }

    /// Reads the message on a thread that may take its time.
    async fn judged(&self, bytes: Bytes) -> Verdict {
        let (mode, trial) = (self.mode, Arc::clone(&self.trial));
        let judged = tokio::task::spawn_blocking(move || judge(&bytes, mode, &trial.site.hl7v2));
        judged.await.unwrap_or_else(|error| {
            // Its text may hold a piece of the message.
            tracing::error!(event = "mllp.judge", panicked = error.is_panic());
            let report = Report {
                code: ErrorCode::ApplicationError,
                severity: Severity::Error,
                location: None,
                reason: "unreadable".into(),
                text: "the message was stored, and could not be read".into(),
            };
            Verdict { answer: Answer::Refused, reports: vec![report] }
        })
    }

    fn reply(&self, header: &Header, answer: Answer, reports: &[Report]) -> Reply {
        let number = self.answers.fetch_add(1, Ordering::Relaxed);
        let time = Local::now().format("%Y%m%d%H%M%S%z").to_string();
        match acknowledge(header, answer, reports, &format!("TB{number:X}"), &time) {
            Some(ack) => Reply::Answer { bytes: ack.bytes, code: ack.code },
            None => Reply::Silence,
        }
    }

    fn count(&self, header: &Header, outcome: &'static str) {
        let kind = header.kind();
        let known = KINDS.iter().find(|k| **k == kind).copied().unwrap_or("other");
        tracing::info!(event = "mllp.message", kind = known, outcome);
        count(known, outcome);
    }
}

/// Kinds that a metric names; all others are one.
const KINDS: [&str; 10] = [
    "ORU^R01", "ADT^A01", "ADT^A03", "ADT^A04", "ADT^A08", "ADT^A11", "ADT^A13", "ADT^A40", "ADT^A45",
    "ADT^A47",
];

fn count(kind: &'static str, outcome: &'static str) {
    metrics::counter!("trialbridge_inbound_messages_total",
        "channel" => "mllp", "kind" => kind, "outcome" => outcome)
    .increment(1);
}

/// Bytes for the quarantine. Under a source of their own: once the sender or the configuration is put
/// right, the same bytes are a first arrival.
fn kept(bytes: Vec<u8>, peer: IpAddr) -> Incoming {
    Incoming {
        origin: "mllp".to_owned(),
        source: format!("mllp:{peer}"),
        media_type: BYTES.to_owned(),
        bytes,
        received_at: stamp(Utc::now()),
        key: None,
    }
}

/// Longest source or key of a message, in characters.
const LONGEST: usize = 512;

/// What a sender calls itself or its message, as far as it can be shown: an escape sequence may have
/// put anything there. One that is longer is told from others by its hash.
fn plain(name: &str) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    if name.chars().nth(LONGEST).is_none() {
        return name.chars().map(shown).collect();
    }
    let hash = hex(&Sha256::digest(name.as_bytes()));
    let kept = LONGEST - hash.len() - 1;
    format!("{}~{hash}", name.chars().take(kept).map(shown).collect::<String>())
}

fn key_reused() -> Report {
    Report {
        code: ErrorCode::DuplicateKeyIdentifier,
        severity: Severity::Error,
        location: Some(Location::new("MSH", 1, Some(10))),
        reason: "control-id-reuse".into(),
        text: "another message came under this MSH-10 before; it stands, and this one is set aside".into(),
    }
}

/// Nothing is wrong with the message.
fn not_stored(error: &StoreError) -> Answer {
    match error {
        StoreError::Full { .. } | StoreError::Busy => Answer::Rejected,
        _ => Answer::NotStored,
    }
}

fn failure(error: &StoreError) -> Report {
    Report {
        code: ErrorCode::ApplicationError,
        severity: Severity::Error,
        location: None,
        reason: error.code().into(),
        text: "the message was not stored; send it again later".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_senders_are_plain_and_told_apart() {
        assert_eq!(plain("hl7v2:检验科|医院"), "hl7v2:检验科|医院");
        assert_eq!(plain("a\r\u{1b}b"), "a\u{FFFD}\u{FFFD}b");
        let long = |end: char| plain(&format!("{}{end}", "名".repeat(600)));
        assert_eq!(long('a').chars().count(), LONGEST);
        assert_ne!(long('a'), long('b'));
        assert_eq!(plain(&"名".repeat(LONGEST)), "名".repeat(LONGEST));
    }
}
