//! What is said after a list was made: that an allocation was an error, that a stratum was wrong, that
//! somebody was unblinded, that randomization stops or goes on, that another definition is in force.
//!
//! Each is signed, stands in the audit log, and changes no allocation.

use super::disclose::{NoArm, Opener};
use super::list::list_hash;
use crate::pipeline::detail;
use crate::protocol::Trial;
use crate::randomize::{Arm, SealKey};
use crate::store::{
    Allocation, AllocationEvent, EventKind, NewAllocationEvent, NewAudit, NewSignature, Refusal, Store,
    StoreError,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Why a participant is unblinded.
// # Source
// > ICH E6(R3) 4.1: a process for unblinding a single participant in an emergency; planned and inadvertent
// > unblinding are documented as well (4.1.4, in our words).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The treatment of a patient depends on it, now.
    Emergency,
    /// The protocol provides for it.
    Planned,
    /// It has happened already.
    Inadvertent,
}

impl Category {
    pub const ALL: [Category; 3] = [Category::Emergency, Category::Planned, Category::Inadvertent];

    /// As it stands in the record.
    pub fn name(self) -> &'static str {
        match self {
            Category::Emergency => "emergency",
            Category::Planned => "planned",
            Category::Inadvertent => "inadvertent",
        }
    }
}

/// Does a text name an arm of the trial? Reasons are read by the blinded.
pub fn names_an_arm(trial: &Trial, text: &str) -> bool {
    let text = text.to_lowercase();
    trial.arms.iter().any(|arm| text.contains(&arm.name.to_lowercase()))
}

/// Breaks the blind of one participant: what is signed is on disk before the arm is returned. Needs the key
/// and the store, and nothing of the hospital's.
///
/// # Errors
/// [`NoArm`]; nothing was shown, and nothing is written down.
pub fn unblind(
    store: &dyn Store,
    trial: &Trial,
    key: &SealKey,
    allocation: &Allocation,
    (category, reason): (Category, &str),
    signature: NewSignature,
) -> Result<Arm, NoArm> {
    let arm = Opener::new(store, trial, key).arm(allocation)?;
    let pairs = [("category", category.name()), ("reason", reason)];
    say(store, trial, Some(allocation), EventKind::Unblinded, &pairs, signature)?;
    tracing::warn!(
        event = "unblind",
        allocation = allocation.id,
        category = category.name(),
        "a participant was unblinded"
    );
    Ok(arm)
}

/// The participant should not have been randomized. Slot and allocation stay as they are.
///
/// # Errors
/// Conflict `already-marked`, and those of the store.
pub fn mark_in_error(
    store: &dyn Store,
    trial: &Trial,
    allocation: &Allocation,
    reason: &str,
    signature: NewSignature,
) -> Result<AllocationEvent, StoreError> {
    say(store, trial, Some(allocation), EventKind::MarkedInError, &[("reason", reason)], signature)
}

/// A level as it should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrected {
    pub factor: String,
    pub level: String,
}

/// The stratum was wrong: the right levels are kept beside those as randomized. The arm stays.
///
/// # Errors
/// Those of the store.
pub fn correct_stratum(
    store: &dyn Store,
    trial: &Trial,
    allocation: &Allocation,
    corrected: &[Corrected],
    reason: &str,
    signature: NewSignature,
) -> Result<AllocationEvent, StoreError> {
    let levels: BTreeMap<&str, &str> =
        corrected.iter().map(|c| (c.factor.as_str(), c.level.as_str())).collect();
    let levels =
        serde_json::to_string(&levels).map_err(|e| StoreError::storage("writing the corrected levels", e))?;
    let pairs = [("levels", levels.as_str()), ("reason", reason)];
    say(store, trial, Some(allocation), EventKind::StratumCorrected, &pairs, signature)
}

/// Nobody is randomized any more, until [`reopen`].
///
/// # Errors
/// Conflict `already-closed`, and those of the store.
pub fn close(
    store: &dyn Store,
    trial: &Trial,
    reason: &str,
    signature: NewSignature,
) -> Result<AllocationEvent, StoreError> {
    say(store, trial, None, EventKind::Closed, &[("reason", reason)], signature)
}

/// Randomization goes on.
///
/// # Errors
/// Conflict `not-closed`, and those of the store.
pub fn reopen(
    store: &dyn Store,
    trial: &Trial,
    reason: &str,
    signature: NewSignature,
) -> Result<AllocationEvent, StoreError> {
    say(store, trial, None, EventKind::Reopened, &[("reason", reason)], signature)
}

/// Puts the definition that is loaded in force for the list that there is. It must give the same list.
///
/// # Errors
/// The inner one: why it cannot be in force.
pub fn sign_definition(
    store: &dyn Store,
    trial: &Trial,
    reason: &str,
    signature: NewSignature,
) -> Result<Result<AllocationEvent, Refusal>, StoreError> {
    let refuse = |code: &str, text: &str| Ok(Err(Refusal { code: code.to_owned(), text: text.to_owned() }));
    let Some(list) = store.allocation_list(&trial.study.id)? else {
        return refuse(
            "no-list",
            "there is no allocation list yet: it is made under the definition as it stands",
        );
    };
    let Some(plan) = list_hash(trial).filter(|plan| *plan == list.plan) else {
        return refuse(
            "definition-changed",
            "arms, scheme, factors or number differ from those that the list was made for: it cannot be used with this definition",
        );
    };
    if list.definition == trial.hash {
        return refuse("definition-in-force", "the list was made under this definition: it is in force");
    }
    let pairs = [("definition", trial.hash.as_str()), ("plan", &plan), ("reason", reason)];
    say(store, trial, None, EventKind::DefinitionSigned, &pairs, signature).map(Ok)
}

/// The detail of an event as JSON, with the levels of a correction as an object.
pub fn event_detail(event: &AllocationEvent) -> Value {
    let mut detail: Value = serde_json::from_str(&event.detail).unwrap_or_default();
    let levels = detail["levels"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    if let Some(levels) = levels {
        detail["levels"] = levels;
    }
    detail
}

/// Stores an event with its audit entry, whose action is the event's kind.
fn say(
    store: &dyn Store,
    trial: &Trial,
    allocation: Option<&Allocation>,
    kind: EventKind,
    pairs: &[(&str, &str)],
    signature: NewSignature,
) -> Result<AllocationEvent, StoreError> {
    let mut audited = pairs.to_vec();
    if let Some(allocation) = allocation {
        audited.push(("allocation", &allocation.id));
    }
    let action = match kind {
        EventKind::Unblinded => "unblind",
        EventKind::MarkedInError => "allocation.mark-in-error",
        EventKind::StratumCorrected => "allocation.correct-stratum",
        EventKind::Closed => "allocation.close",
        EventKind::Reopened => "allocation.reopen",
        EventKind::DefinitionSigned => "definition.sign",
    };
    let audit = NewAudit {
        at: signature.at.clone(),
        actor: signature.actor.clone(),
        role: signature.role.clone(),
        action: action.to_owned(),
        subject: allocation.map(|a| a.subject.clone()),
        detail: detail(&audited),
    };
    store.put_allocation_event(NewAllocationEvent {
        trial: trial.study.id.clone(),
        allocation_id: allocation.map(|a| a.id.clone()),
        kind,
        detail: detail(pairs),
        signature,
        audit,
    })
}
