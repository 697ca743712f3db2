//! Rows of sealed lists, of draws, and of what is said about an allocation afterwards.
//!
//! None of them holds an arm or a salt: an arm stands nowhere but in its sealed slot, and the key to the
//! slots is not in the store's hands.

use super::error::{AllocateError, StoreError};
use super::rows::{Decision, NewAudit, NewSignature, Word, words};
use crate::identity::Group;
use std::fmt;

/// A sealed slot on its way into a list.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSlot {
    /// From 0; 0 where there is one stratum.
    pub stratum: i64,
    /// Within the stratum, from 1 and without a hole.
    pub position: i64,
    pub sealed: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct NewAllocationList {
    pub id: String,
    pub trial: String,
    /// Hash of the trial definition.
    pub definition: String,
    /// Hash of what the list follows from besides its seed: another definition may be used with the list as
    /// long as this stays. Never empty.
    pub plan: String,
    pub commitment: String,
    /// Participants of the trial, over all strata.
    pub total: i64,
    pub created_at: String,
    /// The public part.
    pub json: String,
    /// Any order.
    pub slots: Vec<NewSlot>,
    pub signature: NewSignature,
    pub audit: NewAudit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationList {
    pub id: String,
    pub trial: String,
    pub definition: String,
    /// Empty for a list that an earlier version made.
    pub plan: String,
    pub commitment: String,
    /// Participants of the trial, over all strata.
    pub total: i64,
    /// Slots over all strata.
    pub slots: i64,
    pub created_at: String,
    pub json: String,
    /// None for a list that an earlier version made.
    pub signature: Option<i64>,
}

/// What of a list a draw is decided on inside the transaction. The public part is long and read before: no
/// statement changes a stored list, and no slot opens under another header than its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTerms {
    pub id: String,
    pub definition: String,
    /// See [`NewAllocationList::plan`].
    pub plan: String,
    pub commitment: String,
    /// Participants of the trial, over all strata.
    pub total: i64,
}

#[derive(Clone, Debug)]
pub struct AllocationRequest {
    pub idempotency_key: String,
    pub trial: String,
    pub subject: String,
    /// Input hash of the decision that the signer was shown: another one by now is `record-changed`.
    pub seen: Option<String>,
    /// Says who asks, and in which role.
    pub signature: NewSignature,
    pub at: String,
    /// Kinds of outbox rows to add, such as `research-subject`.
    pub outbox: Vec<String>,
}

/// What the draw is decided on, read inside the transaction that would store it.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub subject: String,
    pub decision: Decision,
    pub list: ListTerms,
    /// The number that the allocation would get, from 1.
    pub number: i64,
    /// The subject's data changed after the decision.
    pub dirty: bool,
    /// Inbox rows not yet looked into: any of them may be about this subject.
    pub pending_inbox: i64,
    /// Randomization was stopped, and not resumed.
    pub closed: bool,
    /// Definitions that were signed for use with this list after it was made.
    pub signed: Vec<SignedDefinition>,
    /// Whom identifiers and links connect with the subject.
    pub group: Group,
}

/// A trial definition that was put in force after the list was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDefinition {
    pub definition: String,
    /// See [`NewAllocationList::plan`].
    pub plan: String,
}

/// The slot that the next participant of a stratum takes.
#[derive(Clone, PartialEq, Eq)]
pub struct NextSlot {
    pub stratum: i64,
    pub position: i64,
    pub sealed: Vec<u8>,
}

/// A draw that was made, with its slot: what a draw that looks back at the others is worked out from.
#[derive(Clone, PartialEq, Eq)]
pub struct PastDraw {
    pub number: i64,
    pub stratum: i64,
    pub position: i64,
    /// JSON: factor to level, as randomized.
    pub levels: String,
    pub sealed: Vec<u8>,
}

/// What a [`Check`] may read besides the snapshot, inside the same transaction.
pub trait Desk {
    /// The next slot of a stratum; `list-exhausted` where the planned number is reached or the stratum has
    /// no slot left.
    fn slot(&self, stratum: i64) -> Result<NextSlot, StoreError>;
    /// All draws so far, in the order of their numbers.
    fn history(&self) -> Result<Vec<PastDraw>, StoreError>;
}

/// Which slot is taken, and what ties it to the commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    pub stratum: i64,
    pub position: i64,
    /// Hash of the slot's content. Never empty.
    pub leaf: String,
    /// JSON: ties the leaf to the commitment.
    pub proof: String,
    /// JSON: factor to level.
    pub levels: String,
}

/// Runs on the writer, inside the transaction: decides on the snapshot, opens the slot and says what it is.
pub type Check = Box<dyn FnOnce(&Snapshot, &dyn Desk) -> Result<Drawn, AllocateError> + Send + 'static>;

/// That somebody was allocated, and which slot it took.
#[derive(Clone, PartialEq, Eq)]
pub struct Allocation {
    pub id: String,
    pub list_id: String,
    /// Over the trial, from 1, in the order of the draws.
    pub number: i64,
    pub stratum: i64,
    /// Within the stratum, from 1.
    pub position: i64,
    pub subject: String,
    pub idempotency_key: String,
    /// JSON: factor to level, as randomized. Corrections stand beside it: [`EventKind::StratumCorrected`].
    pub levels: String,
    /// Hash of the slot's content; empty for an allocation that an earlier version made.
    pub leaf: String,
    pub proof: String,
    pub decision_seq: i64,
    pub decided_input: String,
    pub definition: String,
    /// None for an allocation that an earlier version made.
    pub signature: Option<i64>,
    pub actor: String,
    pub at: String,
}

#[derive(Clone, PartialEq, Eq)]
pub struct AllocationOutcome {
    pub allocation: Allocation,
    /// True: this key had drawn before, nothing was done now.
    pub replayed: bool,
}

words! {
    /// What is said about an allocation, or about all of a trial's. Nothing of it changes an allocation.
    EventKind {
        /// The participant should not have been randomized. The slot stays used.
        MarkedInError = "marked-in-error",
        /// The levels as randomized were wrong; the right ones stand in the detail.
        StratumCorrected = "stratum-corrected",
        /// Somebody was told the arm against the masking.
        Unblinded = "unblinded",
        /// Nobody is randomized any more.
        Closed = "closed",
        Reopened = "reopened",
        /// Another definition is in force, for the same list.
        DefinitionSigned = "definition-signed",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAllocationEvent {
    pub trial: String,
    /// None for what concerns the whole trial.
    pub allocation_id: Option<String>,
    pub kind: EventKind,
    /// JSON of texts, free of arms and of patients' data.
    pub detail: String,
    pub signature: NewSignature,
    pub audit: NewAudit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationEvent {
    pub id: i64,
    pub trial: String,
    pub allocation_id: Option<String>,
    pub kind: EventKind,
    pub detail: String,
    pub signature: i64,
    pub at: String,
}

macro_rules! conceal {
    ($($name:ident { $($field:ident),+ })+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))+.finish_non_exhaustive()
            }
        }
    )+};
}
// What helps to guess an arm, or says who somebody is, is left out of `Debug`.
conceal! {
    NewSlot { stratum, position }
    NextSlot { stratum, position }
    PastDraw { number, stratum, position }
    Snapshot { number, dirty, pending_inbox, closed }
    Allocation { id, list_id, number, at }
    AllocationOutcome { allocation, replayed }
}
