//! Keeps the end of the audit chain outside the database, and compares.
//!
//! The writer calls [`Anchoring::committed`] behind each commit, before anybody is answered. What a person
//! did is on disk out there before the person is told that it is done. What the service did alone is written
//! without waiting for the disk: a power cut can lose those lines, the chain then goes on behind the last
//! line that is left, and they are written anew at the next start; what could be taken away unseen in
//! between is worked out again from the inbox. Waiting would cost a second fsync for every document.
//!
//! Invariant: a chain that does not run through the last head out there is never written there, until a
//! person has accepted it. Nobody is randomized on a chain that does not, or that is broken anywhere.

use super::super::Result;
use super::super::error::{AllocateError, Refusal, StoreError};
use super::super::rows::*;
use super::super::{Anchor, AnchorFault, AnchorHead, AnchorStatus};
use super::{audit, clock, cursor, row};
use crate::audit::Head;
use crate::audit::anchor::ACCEPT;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the anchor of this database was made; none: there never was one.
const PLACE: &str = "audit.anchor";
/// The role in which the program acts by itself.
pub(super) const SERVICE: &str = "service";

pub(super) struct Anchoring {
    chain: Arc<dyn Chain>,
    state: Mutex<State>,
    /// Held while the chain is walked: many who ask at once walk it once.
    walking: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The chain up to here was written out there.
    written: u64,
    /// The last attempt to write failed.
    is_behind: bool,
    /// Number and hash up to which the chain was found whole by this process.
    whole: Option<(u64, String)>,
    /// An entry that accepts the chain as it is, written in a transaction that is not committed yet.
    accepting: Option<u64>,
    /// The transaction that is open on the writer has found chain and anchor in agreement.
    agrees: bool,
}

impl Anchoring {
    pub(super) fn new(chain: Arc<dyn Chain>) -> Anchoring {
        Anchoring { chain, state: Mutex::default(), walking: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn anchor(&self) -> Option<&dyn Anchor> {
        self.chain.anchor()
    }

    /// At the opening for writing: makes the anchor of a new or older installation, and writes what a
    /// crash kept from it. `now`: UTC, RFC 3339.
    pub(super) fn begin(&self, c: &Connection, now: &str) -> Result<()> {
        let Some(anchor) = self.anchor() else { return Ok(()) };
        let place = anchor.place();
        let was = cursor::get(c, cursor::META, PLACE)?;
        let head = audit::head(c)?;
        let end = head.as_ref().map_or_else(|| empty(now), anchored);
        match (anchor.last(), &was) {
            // There never was one: the log is new, or of a version that kept none.
            (Ok(None), None) => match anchor.append(&end, true) {
                Ok(()) => {
                    cursor::set(c, cursor::META, PLACE, &place)?;
                    self.state().written = end.sequence;
                }
                Err(error) => self.failed(&place, &error),
            },
            _ => match self.compare(c)?.fault {
                None => {
                    // The file may have been moved with its directory.
                    if was.as_deref() != Some(&*place) {
                        cursor::set(c, cursor::META, PLACE, &place)?;
                    }
                    self.committed(c);
                }
                Some(fault) => {
                    tracing::error!(
                        event = "audit.anchor",
                        code = fault.word(),
                        place,
                        "{}",
                        fault.meaning()
                    );
                }
            },
        }
        Ok(())
    }

    /// Before every transaction of the writer: what the one before it found out there is not taken over.
    pub(super) fn look_again(&self) {
        self.state().agrees = false;
    }

    /// Tries again what could not be written: the next draw depends on it.
    pub(super) fn catch_up(&self, c: &Connection) {
        if self.state().is_behind {
            self.committed(c);
        }
    }

    /// After a commit: writes down where the chain ends now.
    pub(super) fn committed(&self, c: &Connection) {
        let Some(anchor) = self.anchor() else { return };
        let accepting = self.state().accepting.take();
        let place = anchor.place();
        let written = || -> std::result::Result<(), String> {
            let told = |e: StoreError| e.to_string();
            if let Some(sequence) = accepting {
                let entry = audit::at(c, sequence).map_err(told)?;
                let entry = entry.filter(|e| e.entry.action == ACCEPT).ok_or("the acceptance is gone")?;
                anchor.append(&anchored(&entry), true).map_err(|e| e.to_string())?;
                self.state().written = sequence;
                cursor::set(c, cursor::META, PLACE, &place).map_err(told)?;
            }
            let Some(head) = audit::head(c).map_err(told)? else { return Ok(()) };
            let (from, behind) = {
                let state = self.state();
                (state.written, state.is_behind)
            };
            // Nothing was appended: by far the most of the commits.
            if head.sequence == from && !behind {
                return Ok(());
            }
            let stands = self.compare(c).map_err(told)?;
            if stands.fault.is_some_and(|f| f != AnchorFault::Unwritten) {
                return Ok(());
            }
            let from = stands.last.as_ref().map_or(0, |last| last.sequence);
            if head.sequence > from {
                let durable = audit::is_by_a_person(c, from).map_err(told)?;
                anchor.append(&anchored(&head), durable).map_err(|e| e.to_string())?;
                // It could not be made before.
                if stands.last.is_none() {
                    cursor::set(c, cursor::META, PLACE, &place).map_err(told)?;
                }
            }
            self.state().written = head.sequence;
            Ok(())
        };
        match written() {
            Ok(()) => self.state().is_behind = false,
            Err(error) => {
                if accepting.is_some() {
                    self.state().accepting = accepting;
                }
                self.failed(&place, &error);
            }
        }
    }

    /// What was not committed is not accepted.
    pub(super) fn undone(&self) {
        self.state().accepting = None;
    }

    fn failed(&self, place: &str, error: &dyn std::fmt::Display) {
        self.state().is_behind = true;
        tracing::error!(event = "audit.anchor", code = AnchorFault::Unwritten.word(), place, %error);
    }

    /// How chain and anchor stand to each other. Looks at one line and one row, the line first: a transaction
    /// that has read before sees an older moment of the chain than the anchor tells of.
    pub(super) fn compare(&self, c: &Connection) -> Result<AnchorStatus> {
        let Some(anchor) = self.anchor() else {
            return Ok(AnchorStatus { place: None, last: None, fault: None });
        };
        let place = anchor.place();
        let (last, fault) = match anchor.last() {
            Err(_) => (None, Some(AnchorFault::Unreadable)),
            Ok(None) => {
                let was = cursor::get(c, cursor::META, PLACE)?;
                let fault = match was {
                    Some(was) if was == place => AnchorFault::Missing,
                    Some(_) => AnchorFault::Elsewhere,
                    None => AnchorFault::Unwritten,
                };
                (None, Some(fault))
            }
            Ok(Some(last)) => {
                let fault = missed(c, &last)?;
                (Some(last), fault)
            }
        };
        let fault = fault.or(self.state().is_behind.then_some(AnchorFault::Unwritten));
        Ok(AnchorStatus { place: Some(place), last, fault })
    }

    /// Does the chain run through its anchor?
    pub(super) fn agrees(&self, c: &Connection) -> std::result::Result<(), AllocateError> {
        self.compare(c)?.refusal().map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// May somebody be randomized, as far as the log is concerned? For the writer: of the draws that one
    /// commit carries, the first looks at the anchor for all, and the chain it looks at is theirs as well.
    ///
    /// `now`: UTC, RFC 3339.
    pub(super) fn permits(&self, c: &Connection, now: &str) -> std::result::Result<(), AllocateError> {
        let agrees = self.state().agrees;
        if !agrees {
            self.agrees(c)?;
            self.state().agrees = true;
        }
        match clock::behind(c, now)? {
            Some(latest) => Err(clock_refusal(&latest).into()),
            None => Ok(()),
        }
    }

    /// Does the chain end where it was found whole to? Most of many who draw at once need not walk.
    pub(super) fn is_known_whole(&self, c: &Connection) -> Result<bool> {
        let end = audit::end(c)?;
        Ok(end.is_some() && self.state().whole == end)
    }

    /// Is every entry linked to the one before it? Walks the whole chain once, and then only what came since.
    /// The entry that is not, if nobody has accepted it.
    ///
    /// The transaction must not have read before: it would see an older moment of the chain than the walk
    /// that it waits for, and miss the entries that one has seen.
    pub(super) fn broken(&self, c: &Connection) -> Result<Option<u64>> {
        let _alone = self.walking.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.state().whole.clone();
        let walked = audit::walk(c, self.chain.as_ref(), known.as_ref())?;
        if walked.open.is_none() {
            self.state().whole = walked.last;
        }
        Ok(walked.open)
    }

    /// May somebody be randomized on a chain that is as it was written?
    pub(super) fn proves(&self, c: &Connection) -> std::result::Result<(), AllocateError> {
        match self.broken(c)? {
            None => Ok(()),
            Some(n) => Err(broken_refusal(n).into()),
        }
    }

    /// Accepts the chain as it is, in the name of whoever signs the entry: what was lost stays lost, and
    /// the entry says so.
    pub(super) fn accept(&self, c: &Connection, entry: &NewAudit) -> Result<AuditEntry> {
        let stands = self.compare(c)?;
        let clock = clock::is_behind(c)?;
        let broken = self.broken(c)?;
        if stands.fault.is_none() && clock.is_none() && broken.is_none() {
            let text = "the audit log agrees with its anchor and with the clock: there is nothing to accept";
            return Err(StoreError::conflict("nothing-to-accept", text));
        }
        let doing = "accepting the audit log";
        let mut detail: BTreeMap<String, String> =
            serde_json::from_str(&entry.detail).map_err(|e| StoreError::storage(doing, e))?;
        let chain = audit::head(c)?.map_or_else(|| empty(&entry.at), |e| anchored(&e));
        detail
            .insert("before".into(), stands.last.map_or_else(|| "none".to_owned(), |head| head.to_string()));
        detail.insert("after".into(), chain.to_string());
        if let Some(fault) = stands.fault {
            detail.insert("fault".into(), fault.word().to_owned());
        }
        if let Some(broken) = broken {
            detail.insert("broken".into(), broken.to_string());
        }
        if let Some(latest) = clock {
            detail.insert("clock".into(), latest);
        }
        let detail = serde_json::to_string(&detail).map_err(|e| StoreError::storage(doing, e))?;
        let entry = NewAudit { action: ACCEPT.to_owned(), detail, ..entry.clone() };
        clock::accept(c, &entry.at)?;
        let stored = audit::append(c, self.chain.as_ref(), &entry)?;
        if stands.fault.is_some() || broken.is_some() {
            self.state().accepting = Some(stored.sequence);
        }
        Ok(stored)
    }
}

/// Does the chain run through this head?
fn missed(c: &Connection, head: &AnchorHead) -> Result<Option<AnchorFault>> {
    if head.sequence == 0 {
        return Ok(None);
    }
    let Ok(sequence) = i64::try_from(head.sequence) else { return Ok(Some(AnchorFault::CutOff)) };
    let sql = "SELECT hash FROM audit WHERE sequence = ?1";
    let hash: Option<String> = row(c, "reading the audit", sql, [sequence], |r| r.get(0))?;
    Ok(match hash {
        None => Some(AnchorFault::CutOff),
        Some(hash) if hash != head.hash => Some(AnchorFault::Forked),
        Some(_) => None,
    })
}

fn anchored(entry: &AuditEntry) -> AnchorHead {
    AnchorHead { sequence: entry.sequence, hash: entry.hash.clone(), at: entry.entry.at.clone() }
}

/// The end of a log without entries.
fn empty(now: &str) -> AnchorHead {
    AnchorHead { sequence: 0, hash: Head::EMPTY.hash.to_string(), at: now.to_owned() }
}

/// Somebody changed the log.
fn broken_refusal(entry: u64) -> Refusal {
    Refusal {
        code: "audit-broken".to_owned(),
        text: format!(
            "audit entry {entry} does not follow from the one before it: `trialbridge audit verify` says how; \
             restore a copy that verifies, or sign for it with `trialbridge audit accept`"
        ),
    }
}

/// The clock was set back since the last entry: windows and freshness cannot be trusted.
fn clock_refusal(latest: &str) -> Refusal {
    Refusal {
        code: "clock-anomaly".to_owned(),
        text: format!(
            "this machine's clock is behind the audit log, whose latest entry is of {latest}: set the clock \
             right; if it was ahead then and is right now, sign for it with `trialbridge audit accept`"
        ),
    }
}
