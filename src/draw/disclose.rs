//! The one way to an arm.

use super::list;
use crate::access::{Masking, Permission, Role, may};
use crate::pipeline::{detail, stamp};
use crate::randomize::seal::SealError;
use crate::randomize::{Arm, SealKey};
use crate::store::{Allocation, NewAudit, Store, StoreError};
use chrono::{DateTime, Utc};

/// Who is to be given an arm, and what for.
#[derive(Clone, Copy, Debug)]
pub enum Viewer<'a> {
    /// Somebody looks. Every look is written down.
    Person { actor: &'a str, role: Role },
    /// The hospital is told, where the masking says so. Written down once an allocation, not once an attempt.
    WriteBack,
}

/// Why no arm is given.
#[derive(Debug, thiserror::Error)]
pub enum NoArm {
    #[error("this role does not see the arms of this trial")]
    NotPermitted,
    #[error("there is no such allocation")]
    NotAllocated,
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// What was opened is not what was allocated.
    #[error("allocation {id} does not belong to its slot; the database was changed: restore a backup")]
    Exchanged { id: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The arm of a committed allocation, for somebody who may see it. The audit entry is on disk before this
/// returns.
///
/// # Errors
/// [`NoArm`]. Nothing was shown; where it was not permitted nothing is written down either.
pub fn disclose(
    store: &dyn Store,
    masking: &Masking,
    key: &SealKey,
    trial: &str,
    allocation: &Allocation,
    viewer: Viewer<'_>,
    now: DateTime<Utc>,
) -> Result<Arm, NoArm> {
    let permitted = match viewer {
        Viewer::Person { role, .. } => may(role, Permission::ViewArm, masking),
        Viewer::WriteBack => masking.write_back == crate::access::Disclosure::Disclose,
    };
    if !permitted {
        return Err(NoArm::NotPermitted);
    }
    let arm = arm(store, key, trial, allocation)?;
    let (actor, role, purpose) = match viewer {
        Viewer::Person { actor, role } => (actor, role.name(), "view"),
        Viewer::WriteBack => ("trialbridge", "service", "write-back"),
    };
    let entry = NewAudit {
        at: stamp(now),
        actor: actor.to_owned(),
        role: role.to_owned(),
        action: "arm.disclose".to_owned(),
        subject: Some(allocation.subject.clone()),
        detail: detail(&[("allocation", &allocation.id), ("purpose", purpose)]),
    };
    match viewer {
        Viewer::Person { .. } => store.append_audit(entry).map(drop)?,
        Viewer::WriteBack => store.note_told(&allocation.id, entry).map(drop)?,
    }
    Ok(arm)
}

/// Opens the slot of an allocation and works out its arm. Whoever calls this has asked who looks, and writes
/// it down.
pub(super) fn arm(
    store: &dyn Store,
    key: &SealKey,
    trial: &str,
    allocation: &Allocation,
) -> Result<Arm, NoArm> {
    let exchanged = || NoArm::Exchanged { id: allocation.id.clone() };
    // The row may have been read long ago; what stands is what counts.
    let stored = store.allocation_of(trial, &allocation.subject)?.ok_or(NoArm::NotAllocated)?;
    let list = store.allocation_list(trial)?.ok_or(NoArm::NotAllocated)?;
    if stored != *allocation || stored.list_id != list.id {
        return Err(exchanged());
    }
    let sealed = store.sealed_slot(&list.id, stored.stratum, stored.position)?.ok_or_else(exchanged)?;
    let found = list::open(&list, &sealed, key)?;
    let same_leaf = stored.leaf.is_empty() || stored.leaf == found.leaf.to_string();
    if (found.stratum, found.position) != (stored.stratum, stored.position) || !same_leaf {
        return Err(exchanged());
    }
    Ok(found.arm)
}
