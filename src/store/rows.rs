//! The rows that go in and out of a [`Store`](super::Store). Plain data: all times are UTC RFC 3339
//! text given by the caller, all hashes SHA-256 in lower-case hex.

pub use super::allocation::*;
pub use crate::identity::{Group, Identity, LinkKind, Member, PersonIdentifier, PersonLink};

use std::fmt;

/// An enum that is stored as a word.
pub trait Word: Copy + Sized + 'static {
    const ALL: &'static [Self];
    fn word(self) -> &'static str;
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|w| w.word() == word)
    }
}

macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$inner])* $variant),+ }

        impl Word for $name {
            const ALL: &'static [Self] = &[$($name::$variant),+];
            fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.word()) }
        }
    };
}

pub(super) use words;

words! {
    /// How far an inbox row has come.
    InboxState { Pending = "pending", Processed = "processed", Quarantined = "quarantined" }
}
words! {
    /// Whether the version of a resource that stands can be used.
    RecordState {
        Current = "current",
        /// The newest version says that the resource is gone.
        Deleted = "deleted",
        /// Versions contradict each other: unusable until a newer one comes.
        Conflict = "conflict",
    }
}
words! {
    QuarantineState { Open = "open", Resolved = "resolved" }
}
words! {
    DeviationState { Open = "open", Acknowledged = "acknowledged" }
}
words! {
    OutboxState {
        Pending = "pending",
        Done = "done",
        /// Given up by the machine; a person has to look.
        NeedsHuman = "needs-human",
    }
}
words! {
    /// What became of a version handed to `put_records`.
    Fate {
        /// First version of a resource not seen before.
        New = "new",
        /// It replaced the version that stood.
        Newer = "newer",
        /// Exactly this version was there already.
        Same = "same",
        /// Kept in the history; a newer one stands.
        Older = "older",
        /// Kept in the history; the resource is in conflict.
        Conflict = "conflict",
    }
}
words! {
    /// What a monitor is told.
    Health { Ok = "ok", DiskFull = "disk-full", StorageFailed = "storage-failed" }
}

impl Word for LinkKind {
    const ALL: &'static [Self] =
        &[LinkKind::ReplacedBy, LinkKind::SeeAlso, LinkKind::Same, LinkKind::Different];
    fn word(self) -> &'static str {
        match self {
            LinkKind::ReplacedBy => "replaced-by",
            LinkKind::SeeAlso => "see-also",
            LinkKind::Same => "same",
            LinkKind::Different => "different",
        }
    }
}

// ---- inbox ----

/// Bytes as received, not yet looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// `pull`, `import`, `push`, `attestation`, `consent`, ...
    pub origin: String,
    /// Which server, file or person.
    pub source: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub received_at: String,
    /// The sender's own name for the message, unique within origin and source: HL7 v2 MSH-10, FHIR
    /// `MessageHeader.id`.
    pub key: Option<String>,
}

/// Proof that bytes are on disk. A repeated delivery gets the receipt of the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub seq: i64,
    pub sha256: String,
    /// False: these bytes were there already, and this is their first receipt.
    pub first: bool,
    pub received_at: String,
    /// Other bytes came under the same key before. These are stored, set aside, and never processed.
    pub conflict: bool,
}

/// Called when a write has ended, on the thread that writes: it must not block.
pub type Done<T> = Box<dyn FnOnce(Result<T, super::StoreError>) + Send + 'static>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxItem {
    pub seq: i64,
    pub received_at: String,
    pub origin: String,
    pub source: String,
    pub media_type: String,
    pub sha256: String,
    pub bytes: Vec<u8>,
    pub state: InboxState,
    /// How often it was looked into.
    pub attempts: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxCounts {
    pub pending: i64,
    pub processed: i64,
    pub quarantined: i64,
}

impl InboxCounts {
    pub fn total(self) -> i64 {
        self.pending + self.processed + self.quarantined
    }
}

/// All that came out of one inbox row, stored in one transaction.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub seq: i64,
    pub state: InboxState,
    pub records: Vec<NewRecord>,
    pub quarantine: Vec<NewQuarantine>,
    pub at: String,
}

// ---- records ----

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    pub source: String,
    pub resource_type: String,
    pub id: String,
}

/// One version of one resource, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    pub key: RecordKey,
    pub version_id: Option<String>,
    pub last_updated: Option<String>,
    /// For example `Patient/p1`; none for resources that belong to nobody.
    pub subject: Option<String>,
    /// The version says that the resource is gone.
    pub deleted: bool,
    pub inbox_seq: i64,
    /// Where in the inbox row, for example `Bundle.entry[3]`.
    pub path: String,
    pub body: Vec<u8>,
    pub identity: Identity,
}

/// A stored version. From `records_of` and `records_by_ids`: the one that stands, and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: RecordKey,
    pub version_id: Option<String>,
    pub last_updated: Option<String>,
    pub subject: Option<String>,
    pub state: RecordState,
    pub inbox_seq: i64,
    pub path: String,
    pub sha256: String,
    pub body: Vec<u8>,
}

impl Record {
    /// Only such a record may feed a fact; the others are gaps.
    pub fn is_usable(&self) -> bool {
        self.state == RecordState::Current
    }
}

/// A subject whose decision has to be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtySubject {
    pub subject: String,
    pub since: String,
    /// Number of the latest change. Hand it to `put_decision`: the mark is removed only if nothing
    /// changed since it was read.
    pub change: i64,
}

// ---- quarantine ----

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewQuarantine {
    pub inbox_seq: i64,
    /// Code from the fixed list.
    pub reason: String,
    /// Element or segment; empty: the whole inbox row.
    pub path: String,
    /// Bytes of the entry; none: those of the inbox row.
    pub bytes: Option<Vec<u8>>,
    pub at: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub id: i64,
    pub inbox_seq: i64,
    pub reason: String,
    pub path: String,
    pub sha256: String,
    pub bytes: Option<Vec<u8>>,
    pub state: QuarantineState,
    pub at: String,
}

// ---- decisions ----

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    pub variable: String,
    pub value: String,
    pub unit: Option<String>,
    pub effective: Option<String>,
    pub source: String,
    pub received: Option<String>,
    pub received_unit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRow {
    pub reference: String,
    pub reason: String,
    pub path: String,
}

#[derive(Clone, Debug)]
pub struct NewDecision {
    pub subject: String,
    pub as_of: String,
    pub decided_at: String,
    pub decision: String,
    pub deciding: Vec<String>,
    /// Hash of the trial definition.
    pub definition: String,
    /// Hash of the versioned inputs.
    pub input: String,
    pub json: String,
    pub facts: Vec<FactRow>,
    pub gaps: Vec<GapRow>,
    /// From [`DirtySubject::change`]; none leaves the mark as it is.
    pub change: Option<i64>,
    /// How many records it rests on.
    pub records: usize,
    /// What it looked for among what belongs to nobody, there or not: see [`Store::put_decision`].
    ///
    /// [`Store::put_decision`]: super::Store::put_decision
    pub reads: Vec<RecordKey>,
    /// Appended only if the decision changed.
    pub outbox: Vec<NewOutbox>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub seq: i64,
    pub subject: String,
    pub as_of: String,
    pub decided_at: String,
    pub decision: String,
    pub deciding: Vec<String>,
    pub definition: String,
    pub input: String,
    pub json: String,
}

// ---- deviations ----

/// The data behind an allocation changed after it was made. The allocation stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeviation {
    pub subject: String,
    pub allocation_id: String,
    pub opened_at: String,
    /// `no-longer-eligible`, `result-corrected`, `result-retracted`, `result-superseded`, `score-changed`.
    pub kind: String,
    /// What changed: a resource, a variable, a score.
    pub reference: String,
    /// JSON: before and after, as codes and versioned references.
    pub detail: String,
    pub audit: NewAudit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    pub id: i64,
    pub subject: String,
    pub allocation_id: String,
    pub opened_at: String,
    pub kind: String,
    pub reference: String,
    pub detail: String,
    pub state: DeviationState,
}

// ---- write-back ----

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOutbox {
    pub kind: String,
    pub subject: String,
    pub created_at: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxItem {
    pub id: i64,
    pub kind: String,
    pub subject: String,
    pub created_at: String,
    pub state: OutboxState,
    pub attempts: i64,
    pub last_error: Option<String>,
    pub done_at: Option<String>,
}

/// How an attempt to write back ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxOutcome {
    Done {
        at: String,
    },
    /// Stays pending. `error`: a code and a place, never a patient's data.
    TryAgain {
        error: String,
    },
    NeedsHuman {
        error: String,
    },
}

/// What a server calls a thing of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownId {
    pub server: String,
    pub kind: String,
    pub key: String,
    pub remote_id: String,
    pub etag: Option<String>,
}

// ---- signatures ----

/// How it was made sure that the signer is who the signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureMethod {
    /// The account's password, given for this signature.
    Password,
    /// The hospital's identity provider asked again, for this signature.
    Oidc,
    /// Nobody asked: an installation without accounts.
    Unauthenticated,
}

impl SignatureMethod {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            SignatureMethod::Password => "password",
            SignatureMethod::Oidc => "oidc",
            SignatureMethod::Unauthenticated => "unauthenticated",
        }
    }

    pub(super) fn named(name: &str) -> SignatureMethod {
        match name {
            "password" => SignatureMethod::Password,
            "oidc" => SignatureMethod::Oidc,
            _ => SignatureMethod::Unauthenticated,
        }
    }
}

/// What somebody signs, before it is stored.
// # Source
// > "Signed electronic records shall contain information associated with the signing that clearly indicates
// > all of the following: (1) The printed name of the signer; (2) The date and time when the signature was
// > executed; and (3) The meaning (such as review, approval, responsibility, or authorship) associated with
// > the signature."   21 CFR 11.50(a)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSignature {
    /// The account; without accounts the name as it was given.
    pub actor: String,
    pub printed_name: String,
    pub role: String,
    /// A code: `randomize`, `attest`, `unblind`, …
    pub meaning: String,
    pub subject: Option<String>,
    /// JSON, as it was shown to the signer. Free of arms.
    pub record: String,
    pub method: SignatureMethod,
    /// UTC, RFC 3339 with `Z`.
    pub at: String,
}

/// A stored signature. Its audit entry names `id` and `record_sha256`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub id: i64,
    /// SHA-256 of the record, 64 hexadecimal digits.
    pub record_sha256: String,
    pub signed: NewSignature,
}

// ---- audit ----

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAudit {
    pub at: String,
    pub actor: String,
    pub role: String,
    pub action: String,
    pub subject: Option<String>,
    /// Free of arms and of patients' data.
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub sequence: u64,
    pub entry: NewAudit,
    pub previous: String,
    pub hash: String,
}

/// How an audit entry is linked to the one before it, and where the end is kept outside the database.
pub trait Chain: Send + Sync {
    /// `previous`: sequence and hash of the last entry. Returns the new entry's sequence, its hash
    /// and the text to store as `previous`. Pure.
    fn next(&self, previous: Option<(u64, &str)>, entry: &NewAudit) -> (u64, String, String);
    /// None: nothing is kept outside, and a log that was cut off is not found.
    fn anchor(&self) -> Option<&dyn super::Anchor>;
}

/// What the audit chain answers for besides itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Decisions and allocations that are what their entries say, or not.
    pub decisions: u64,
    pub allocations: u64,
    /// Decisions of a version that wrote no such entries, and the first entry that does.
    pub decisions_uncovered: u64,
    pub decisions_from: Option<u64>,
    /// Rows that are not what their entries say: table and key, never content.
    pub findings: Vec<String>,
}

impl Coverage {
    /// What no entry covers, in words.
    pub fn note(&self) -> Option<String> {
        let from = self.decisions_from.map_or_else(|| "the next".to_owned(), |n| n.to_string());
        (self.decisions_uncovered > 0)
            .then(|| format!("{} decisions before entry {from} are not covered", self.decisions_uncovered))
    }
}

// ---- operations ----

/// One thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Fixed word, such as `inbox-hash`.
    pub check: &'static str,
    /// Where: table and key, never content.
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub inbox: InboxCounts,
    pub records: i64,
    pub allocations: i64,
    pub audit_entries: i64,
    /// Empty: everything holds.
    pub findings: Vec<Finding>,
    /// What could not be checked, and why that is no fault.
    pub notes: Vec<String>,
}

impl VerifyReport {
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    pub path: std::path::PathBuf,
    pub bytes: u64,
    /// Of the file, to be written down elsewhere.
    pub sha256: String,
}
