//! Where results go: a reconciler that makes the hospital's resources agree with ours, idempotently.
//!
//! [`reconcile::reconcile`] is given what should be there ([`wanted::Wanted`]), looks at what is there,
//! and writes the difference; what was asked before plays no part. Running it again after a crash, a
//! time-out or a race is therefore always safe, and there is one code path for the good day and the bad.
//!
//! The modules named after a resource build it: bytes out of values, no I/O, no clock.
//!
//! Never: a second ResearchSubject for one participant, an arm or a patient's reference in an error or a
//! log, another author's element overwritten, a resource sent that its release's model refuses.

pub mod element;
pub mod provenance;
pub mod reconcile;
pub mod release;
pub mod report;
pub mod score_observation;
pub mod stored;
pub mod study;
pub mod subject;
pub mod wanted;

pub use reconcile::{Capability, KnownIds, reconcile};
pub use release::Release;
pub use report::{Outcome, ReconcileReport};

#[cfg(test)]
mod tests;
