//! The write-back's one path: look, create or update what is missing, look again.
//!
//! It takes no request: given what should be there, it does what is missing, and nothing where nothing
//! is. An answer that never came is settled by looking, never by sending again.
//!
//! Invariant: a create is sent only after a look that could see what is there and found nothing, and
//! counts only after a look that found exactly one.

mod create;
mod failure;
mod look;
mod participant;
mod score;
mod study;
mod update;

use super::release::Release;
use super::report::{ParticipantReport, ReconcileReport, Write};
use super::wanted::Wanted;
use crate::client::server::FhirServer;
use look::{Seen, Sight};
use std::collections::BTreeMap;

/// What the server said it can do. Only hints: what it does is found out, and believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// `conditionalCreate`: creates are sent with `If-None-Exist`. The result is verified all the same.
    pub conditional_create: bool,
    /// ResearchSubject can be searched by `identifier`.
    pub research_subject_searchable: bool,
}

/// The server's ids of what was written earlier, kept by the caller across runs. They save nothing but
/// the day when a server cannot search; losing them is never worse than a first run.
pub trait KnownIds: Send + Sync {
    /// The id of the resource of this type with this key.
    fn get(&self, resource_type: &str, key: &str) -> Option<String>;
    /// Called after the server confirmed the resource. Must be durable when it returns.
    fn set(&self, resource_type: &str, key: &str, id: &str);
}

/// Kept instead of an id when a create was confirmed and its result could not be found.
const UNCONFIRMED: &str = "?";

const SOFTWARE: &str = concat!("trialbridge ", env!("CARGO_PKG_VERSION"));

/// One run. Holds what was learnt about the server on the way.
struct Run<'a, S> {
    server: &'a S,
    release: Release,
    known: &'a dyn KnownIds,
    wanted: &'a Wanted,
    dry_run: bool,
    /// Still worth sending `If-None-Exist`?
    conditional: bool,
    sight: BTreeMap<&'static str, Sight>,
    /// Listings of this run, until something is created: they say what is there, and its content is
    /// read anew before it is changed.
    listings: BTreeMap<(&'static str, String), Vec<Seen>>,
    writes: Vec<Write>,
}

/// Makes the hospital's server agree with `wanted`.
///
/// Participants are settled one after another, each on its own: a failure of one does not stop the
/// next. Never returns early with an error; the report says what became of each resource and whether
/// another run may help.
pub async fn reconcile<S: FhirServer>(
    server: &S,
    release: Release,
    capability: Capability,
    wanted: &Wanted,
    known: &dyn KnownIds,
    dry_run: bool,
) -> ReconcileReport {
    let mut run = Run {
        server,
        release,
        known,
        wanted,
        dry_run,
        conditional: capability.conditional_create,
        sight: BTreeMap::new(),
        listings: BTreeMap::new(),
        writes: Vec::new(),
    };
    if !capability.research_subject_searchable {
        run.sight.insert("ResearchSubject", Sight::Study);
    }
    let (study, place) = run.study().await;
    let mut participants: Vec<ParticipantReport> = Vec::with_capacity(wanted.participants.len());
    for participant in &wanted.participants {
        participants.push(run.participant(participant, place.as_ref()).await);
    }
    ReconcileReport { dry_run, study, participants, writes: run.writes }
}
