//! The draw, and the one way to an arm.
//!
//! A draw is one transaction of the store. What is decided in it stands in [`check`](self), on what the
//! transaction itself reads, so that nothing can change between the decision and the allocation. An arm is
//! read by [`disclose`] and, against the masking, by [`unblind`]; there is no third way: the store holds
//! sealed slots and no arm.
//!
//! Invariant: whoever is given an arm stands in the audit log, before it is given.

mod check;
mod disclose;
mod foreseen;
mod list;
mod say;
#[cfg(test)]
mod tests;

pub use disclose::{NoArm, Opener, Viewer, disclose};
pub use list::{list_hash, unproved};
pub use say::{
    Category, Corrected, close, correct_stratum, event_detail, mark_in_error, names_an_arm, reopen,
    sign_definition, unblind,
};

use crate::pipeline::stamp;
use crate::protocol::Trial;
use crate::randomize::SealKey;
use crate::store::{
    AllocateError, AllocationOutcome, AllocationRequest, Desk, Drawn, NewSignature, Refusal, Snapshot, Store,
};
use chrono::{DateTime, NaiveDate, Utc};
use foreseen::Foreseen;
use std::sync::Arc;

/// What the hospital is told of an allocation.
const OUTBOX: &str = "research-subject";

/// Who is to be randomized, and who asks for it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub subject: String,
    /// The same key returns the same allocation.
    pub idempotency_key: String,
    /// Input hash of the decision that the signer was shown.
    pub seen: Option<String>,
    pub signature: NewSignature,
    pub now: DateTime<Utc>,
    /// Today at the hospital.
    pub today: NaiveDate,
}

/// Draws once; a retry with the same key returns the same allocation and needs neither the key to the list
/// nor a decision of today.
///
/// `key`: why there is none, where there is none. Who may not be randomized is told so, and not that a key
/// is missing.
///
/// # Errors
/// What stands in the way, by its code. No slot was used.
pub fn draw(
    store: &dyn Store,
    trial: &Arc<Trial>,
    key: Result<SealKey, Refusal>,
    asked: Asked,
) -> Result<AllocationOutcome, AllocateError> {
    let Asked { subject, idempotency_key, seen, signature, now, today } = asked;
    let request = AllocationRequest {
        idempotency_key,
        trial: trial.study.id.clone(),
        subject,
        seen,
        signature,
        at: stamp(now),
        outbox: vec![OUTBOX.to_owned()],
    };
    let trial = Arc::clone(trial);
    // Shared, so that it is dropped here and not on the writer.
    let foreseen = Arc::new(Foreseen::of(store, &request.trial, &request.subject));
    let known = Arc::clone(&foreseen);
    let check = move |snapshot: &Snapshot, desk: &dyn Desk| -> Result<Drawn, AllocateError> {
        let place = check::place(snapshot, &trial, today, &known)?;
        let slot = desk.slot(place.stratum)?;
        let key = key?;
        let header = known.header(&snapshot.list).map_err(list::unverified)?;
        let opened = list::open(header, &slot.sealed, &key).map_err(list::unverified)?;
        if (opened.stratum, opened.position) != (slot.stratum, slot.position) {
            return Err(list::elsewhere().into());
        }
        Ok(Drawn {
            stratum: slot.stratum,
            position: slot.position,
            leaf: opened.leaf.to_string(),
            proof: opened.proof_json()?,
            levels: place.levels,
        })
    };
    store.allocate(request, Box::new(check))
}

/// Could somebody be randomized now? Everything is looked at but the key; nothing is drawn.
///
/// # Errors
/// What stands in the way, by its code.
pub fn consider(
    store: &dyn Store,
    trial: &Arc<Trial>,
    subject: &str,
    today: NaiveDate,
) -> Result<(), AllocateError> {
    let own = Arc::clone(trial);
    let check = move |snapshot: &Snapshot, desk: &dyn Desk| -> Result<Drawn, AllocateError> {
        let place = check::place(snapshot, &own, today, &Foreseen::default())?;
        let slot = desk.slot(place.stratum)?;
        // What a dry run returns is not stored.
        let (leaf, proof) = (String::new(), String::new());
        Ok(Drawn { stratum: slot.stratum, position: slot.position, leaf, proof, levels: place.levels })
    };
    store.consider(&trial.study.id, subject, Box::new(check))
}
