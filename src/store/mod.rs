//! The one durable place: inbox, records, decisions, allocations, outbox, audit.
//!
//! What a method returned `Ok` for is on disk and survives a power cut; what it returned `Err` for
//! left no trace. The store reads no clock and draws no random number: callers pass times in, and
//! the one who draws opens the slot: the store holds no key, and no arm.
//!
//! Invariants, whatever the order and concurrency of the callers:
//! - inbox bytes, decisions, allocations and audit entries are never changed or removed;
//! - which version of a resource stands depends on the set of versions seen, not on their order;
//! - a participant has at most one allocation, and positions are taken 1, 2, 3, … without a hole;
//! - an action and its audit entry are stored together or not at all.

mod account;
mod allocation;
pub mod anchor;
pub mod chain;
pub mod error;
pub use crate::normalize::precedence;
pub mod rows;
pub mod sqlite;
mod subscription;
#[cfg(test)]
pub(crate) mod suite;

pub use account::*;
pub use anchor::{Anchor, AnchorFault, AnchorHead, AnchorStatus, FileAnchor};
pub use chain::AuditChain;
pub use error::{AllocateError, Holder, Refusal, StoreError};
pub use rows::*;
pub use sqlite::SqliteStore;
pub use subscription::*;

use std::path::Path;

type Result<T> = std::result::Result<T, StoreError>;

/// The durable store. All methods block; async callers use a blocking thread.
pub trait Store: Send + Sync {
    // ---- inbox ----

    /// Puts bytes on disk. Bytes already there under the same origin and source get the receipt of
    /// their first arrival.
    fn accept(&self, incoming: Incoming) -> Result<Receipt>;
    /// Like [`accept`](Store::accept), without blocking: `done` is called after the commit. More waiting
    /// writes than can be held: `busy`, at once.
    fn accept_then(&self, incoming: Incoming, done: Done<Receipt>);
    /// Like [`accept`](Store::accept), all or nothing; receipts in the order given.
    fn accept_many(&self, incoming: Vec<Incoming>) -> Result<Vec<Receipt>>;
    /// Like [`accept`](Store::accept), and sets the row aside in the same transaction: it is kept as
    /// evidence, and nothing is ever worked out from it.
    fn accept_aside(&self, incoming: Incoming, reason: &str, path: &str) -> Result<Receipt>;
    /// The oldest rows not yet looked into, with their bytes.
    fn pending(&self, limit: usize) -> Result<Vec<InboxItem>>;
    /// The number of the newest row; 0 if there is none.
    fn last_inbox_row(&self) -> Result<i64>;
    fn inbox_item(&self, seq: i64) -> Result<InboxItem>;
    fn count_by_state(&self) -> Result<InboxCounts>;
    /// Sets the state and counts one more attempt.
    fn mark(&self, seq: i64, state: InboxState) -> Result<()>;
    /// Stores all that came out of some inbox rows and marks these, in one transaction. The fates stand
    /// in the order of the settlements and their records.
    fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Vec<Fate>>>;
    /// Makes the whole inbox pending again and clears what is worked out from it: records, their
    /// history, open quarantine, facts and gaps. Decisions, allocations and audit stay. Returns the
    /// number of inbox rows.
    fn replay_all(&self, audit: NewAudit) -> Result<i64>;

    // ---- records ----

    /// Takes versions in and marks the subjects whose usable data changed. Any order of the same
    /// versions ends in the same records; see [`precedence`].
    fn put_records(&self, records: Vec<NewRecord>, at: &str) -> Result<Vec<Fate>>;
    /// What stands for a subject, ordered by source, type and id. A record in conflict is listed for
    /// every subject that one of its versions names.
    fn records_of(&self, subject: &str) -> Result<Vec<Record>>;
    /// The records among `keys` that are known, ordered by source, type and id.
    fn records_by_ids(&self, keys: &[RecordKey]) -> Result<Vec<Record>>;
    /// What stands under a type and id, in whatever source.
    fn records_named(&self, resource_type: &str, id: &str) -> Result<Vec<Record>>;
    /// Every version seen of one resource, from the oldest inbox row on.
    fn record_history(&self, key: &RecordKey) -> Result<Vec<Record>>;
    /// Whom identifiers and links connect with a subject.
    fn group(&self, subject: &str) -> Result<Group>;
    /// All subjects with a record or a decision, ordered.
    fn subjects(&self) -> Result<Vec<String>>;
    /// Does any version of a record name the subject, or was it ever decided about?
    fn is_named(&self, subject: &str) -> Result<bool>;
    fn mark_dirty(&self, subjects: Vec<String>, at: &str) -> Result<()>;
    /// Subjects to decide again, the longest waiting first.
    fn dirty(&self, limit: usize) -> Result<Vec<DirtySubject>>;

    /// Takes the mark off a subject of whom nothing is held, unless something changed since.
    fn clear_dirty(&self, subject: &str, change: i64) -> Result<()>;

    // ---- quarantine ----

    /// Puts entries aside. The same inbox row, path and reason is kept once. Returns the ids.
    fn quarantine(&self, entries: Vec<NewQuarantine>) -> Result<Vec<i64>>;
    fn quarantine_list(&self, state: Option<QuarantineState>, limit: usize) -> Result<Vec<Quarantined>>;
    fn quarantine_item(&self, id: i64) -> Result<Quarantined>;
    /// A named person has dealt with it; the audit entry says who and why.
    fn resolve_quarantine(&self, id: i64, audit: NewAudit) -> Result<()>;

    // ---- decisions ----

    /// Appends the decision if its definition, input or JSON differs from the subject's latest, with an
    /// audit entry `decide`, and replaces the subject's facts and gaps. Returns whether it was appended.
    /// Whenever a record that it `reads` comes or changes, the subject is marked to be judged again.
    fn put_decision(&self, decision: NewDecision) -> Result<bool>;
    fn latest_decision(&self, subject: &str) -> Result<Option<Decision>>;
    /// Subjects whose latest decision is of another day or another definition.
    fn stale(&self, as_of: &str, definition: &str) -> Result<Vec<String>>;
    /// The latest of every subject that is judged itself, ordered by subject.
    fn latest_decisions(&self) -> Result<Vec<Decision>>;
    /// All of one subject, oldest first.
    fn decision_history(&self, subject: &str) -> Result<Vec<Decision>>;
    fn facts(&self, subject: &str) -> Result<Vec<FactRow>>;
    fn gaps(&self, subject: &str) -> Result<Vec<GapRow>>;

    // ---- allocation ----

    /// Conflict `list-exists` if the trial has one; `list-empty` without slots.
    fn put_allocation_list(&self, list: NewAllocationList) -> Result<()>;
    fn allocation_list(&self, trial: &str) -> Result<Option<AllocationList>>;
    /// The sealed slots by stratum and position, for `allocation verify`.
    fn sealed_slots(&self, list_id: &str) -> Result<Vec<Vec<u8>>>;
    fn sealed_slot(&self, list_id: &str, stratum: i64, position: i64) -> Result<Option<Vec<u8>>>;
    /// The draws of a list with a number below `before`, in order.
    fn draws(&self, list_id: &str, before: i64) -> Result<Vec<PastDraw>>;
    /// Allocates once, in one transaction. The same key for the same subject returns the first allocation
    /// (`replayed`) and does nothing; the same key for another subject is `key-reuse`; a subject allocated
    /// under another key is `duplicate`. A subject without a decision is refused as `no-decision`, one whose
    /// decision is not the one that the signer saw as `record-changed`. Then `check` decides, and the
    /// allocation, its signature, its audit entry and its outbox rows are stored.
    /// A new draw is refused as `audit-unanchored` while the audit log does not agree with its anchor, and as
    /// `clock-anomaly` while the clock is behind the log.
    fn allocate(
        &self,
        request: AllocationRequest,
        check: Check,
    ) -> std::result::Result<AllocationOutcome, AllocateError>;
    /// How [`allocate`](Store::allocate) would end now under a key not used yet. Draws and stores nothing.
    fn consider(&self, trial: &str, subject: &str, check: Check) -> std::result::Result<(), AllocateError>;
    /// In the order of the draws.
    fn allocations(&self, trial: &str) -> Result<Vec<Allocation>>;
    fn allocation_of(&self, trial: &str, subject: &str) -> Result<Option<Allocation>>;
    /// Is the allocation what its audit entry says? Whoever is told an arm is told it from a row that is.
    fn is_on_record(&self, allocation: &Allocation) -> Result<bool>;
    fn allocation_by_key(&self, idempotency_key: &str) -> Result<Option<Allocation>>;
    /// Stores what is said, its signature and its audit entry, in one transaction. Conflict `already-closed`,
    /// `not-closed`, `already-marked` where there is nothing to say; `not-found` for an allocation that is
    /// not of this trial.
    fn put_allocation_event(&self, event: NewAllocationEvent) -> Result<AllocationEvent>;
    /// The oldest first.
    fn allocation_events(&self, trial: &str) -> Result<Vec<AllocationEvent>>;
    /// Notes that the hospital is told an arm, with its audit entry. Done before: false, and nothing is
    /// written.
    fn note_told(&self, allocation_id: &str, audit: NewAudit) -> Result<bool>;

    // ---- deviations ----

    /// Opens deviations that are not known yet, each with its audit entry. Returns the new ones.
    fn open_deviations(&self, new: Vec<NewDeviation>) -> Result<Vec<i64>>;
    /// Oldest first.
    fn deviations(&self, state: Option<DeviationState>) -> Result<Vec<Deviation>>;
    fn acknowledge_deviation(&self, id: i64, signature: NewSignature, audit: NewAudit) -> Result<()>;

    // ---- write-back ----

    fn enqueue(&self, items: Vec<NewOutbox>) -> Result<Vec<i64>>;
    /// In order of creation.
    fn outbox(&self, state: Option<OutboxState>, limit: usize) -> Result<Vec<OutboxItem>>;
    /// Counts one attempt and stores how it ended, with an audit entry if given.
    fn settle_outbox(&self, id: i64, outcome: OutboxOutcome, audit: Option<NewAudit>) -> Result<()>;
    fn put_known_id(&self, known: KnownId) -> Result<()>;
    fn known_id(&self, server: &str, kind: &str, key: &str) -> Result<Option<KnownId>>;
    fn known_ids(&self, server: &str) -> Result<Vec<KnownId>>;

    // ---- signatures ----

    /// Stores a signature and the audit entries of what it is for, in one transaction; each entry's detail
    /// gets `signature` and `record` (its hash).
    fn sign(&self, signature: NewSignature, audit: Vec<NewAudit>) -> Result<Signature>;
    /// All, or those of one subject; the oldest first.
    fn signatures(&self, subject: Option<&str>) -> Result<Vec<Signature>>;

    // ---- accounts ----
    //
    // Each method that takes a time moves the accounts' own clock. A time more than five seconds before the
    // latest one seen is a clock that went back: every session and every question to the identity provider
    // ends, what was barred waits anew, and an audit entry `account.all-signed-out` says so.

    /// All, ordered by name.
    fn accounts(&self) -> Result<Vec<Account>>;
    fn account(&self, name: &str) -> Result<Option<Account>>;
    /// The PHC string of a local account, for a store that is only read: no attempt is counted.
    fn password(&self, name: &str) -> Result<Option<String>>;
    /// Conflict `account-exists`; `first-account` where [`Authority::First`] is not the first, or is no
    /// administrator; `no-account` where there is none yet that could have the authority.
    fn put_account(&self, new: NewAccount, authority: Authority, audit: NewAudit) -> Result<()>;
    /// Changes it, ends its sessions, and stores the authority's signature. Conflict `last-administrator`
    /// where no local administrator would be left enabled.
    fn change_account(
        &self,
        name: &str,
        change: AccountChange,
        at: &str,
        authority: Authority,
        audit: NewAudit,
    ) -> Result<()>;
    /// Counts an attempt under `name`; `key` is what a name is counted under that nobody has.
    fn begin_attempt(&self, name: &str, key: &str, at: &str) -> Result<Attempt>;
    fn end_attempt(&self, name: &str, end: AttemptEnd, audit: Option<NewAudit>) -> Result<()>;
    fn open_session(&self, new: NewSession, audit: NewAudit) -> Result<()>;
    /// Whose session it is, if it lives, and its account is not disabled. Seeing it keeps it alive.
    fn see_session(&self, token_sha256: &str, at: &str, limits: SessionLimits) -> Result<Option<Account>>;
    /// Returns whether there was one.
    fn end_session(&self, token_sha256: &str, audit: NewAudit) -> Result<bool>;
    /// All, the oldest first; among them those whose time is over and that nobody has asked for since.
    fn sessions(&self) -> Result<Vec<SessionRow>>;
    fn put_oidc_request(&self, new: OidcRequest) -> Result<()>;
    /// Takes it out: it is answered once. None if there is none, or it is older than `at_most`.
    fn take_oidc_request(
        &self,
        state_sha256: &str,
        at: &str,
        at_most: chrono::TimeDelta,
    ) -> Result<Option<OidcRequest>>;
    /// Subject and source of every record that stands, of one subject or of all; ordered, each once.
    fn sources(&self, subject: Option<&str>) -> Result<Vec<(String, String)>>;

    // ---- audit ----

    fn append_audit(&self, entry: NewAudit) -> Result<AuditEntry>;
    /// From sequence `from` on, in order.
    fn audit_entries(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>>;
    fn audit_head(&self) -> Result<Option<AuditEntry>>;
    /// How the chain and its anchor stand to each other; looks at their ends only.
    fn audit_anchor(&self) -> Result<AnchorStatus>;
    /// Goes on from a chain that does not run through its anchor, or from times that lie ahead, in the name
    /// of who signs `entry`; what was before and after is added to it. Conflict `nothing-to-accept`.
    fn accept_audit(&self, entry: NewAudit) -> Result<AuditEntry>;
    /// Notes what the clock says now. A clock that was set back is written down, once; nobody is randomized
    /// until it has caught up with the log.
    fn note_clock(&self, now: &str) -> Result<()>;
    /// Holds decisions and allocations against their entries: findings, and what no entry covers.
    fn audit_coverage(&self) -> Result<Coverage>;

    // ---- subscriptions ----

    /// Conflict `constraint` if the id is taken.
    fn put_subscription(&self, new: NewSubscription, audit: NewAudit) -> Result<()>;
    fn subscription(&self, id: &str) -> Result<Option<Subscription>>;
    /// All, deleted ones too, the oldest first.
    fn subscriptions(&self) -> Result<Vec<Subscription>>;
    /// Counts a notification and stores what it asks for, in one transaction. The same notifications in
    /// any order and repetition end in the same counts.
    fn note_subscription(&self, id: &str, heard: Heard) -> Result<Noted>;
    fn change_subscription(
        &self,
        id: &str,
        change: SubscriptionChange,
        audit: Option<NewAudit>,
    ) -> Result<()>;
    /// Resources to read by id, those tried least first.
    fn subscription_wanted(&self, limit: usize) -> Result<Vec<Wanted>>;
    /// It was read (`done`), or one more attempt failed. What was asked for again after `asked_before`
    /// stays.
    fn settle_wanted(&self, wanted: Wanted, asked_before: &str, done: bool) -> Result<()>;

    // ---- small facts ----

    fn cursor(&self, key: &str) -> Result<Option<String>>;
    fn set_cursor(&self, key: &str, value: &str) -> Result<()>;
    fn meta(&self, key: &str) -> Result<Option<String>>;
    fn set_meta(&self, key: &str, value: &str) -> Result<()>;

    // ---- operations ----

    /// How the last write ended, for monitors.
    fn health(&self) -> Health;
    /// Checks everything that can be checked without a key. Reads the whole store.
    fn verify(&self) -> Result<VerifyReport>;
    /// Writes a consistent copy to a path that must not exist yet, while others read and write.
    fn backup(&self, to: &Path) -> Result<Backup>;
}
