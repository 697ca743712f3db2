//! The one way to an arm.

use super::list;
use crate::access::{Disclosure, Masking, Permission, Role, may};
use crate::pipeline::{detail, stamp};
use crate::protocol::Trial;
use crate::randomize::plan::{Past, assign};
use crate::randomize::seal::SealError;
use crate::randomize::{Arm, Content, Factor, Held, Plan, SealKey};
use crate::store::{Allocation, AllocationList, NewAudit, Store, StoreError};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
    /// With minimization the arm follows from the definition as well.
    #[error("the arm cannot be worked out under this trial definition: the list was made for another")]
    OtherPlan,
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
    trial: &Trial,
    key: &SealKey,
    masking: &Masking,
    allocation: &Allocation,
    viewer: Viewer<'_>,
    now: DateTime<Utc>,
) -> Result<Arm, NoArm> {
    Opener::new(store, trial, key).disclose(masking, allocation, viewer, now)
}

/// Opens slots of one trial's list. For several participants: with minimization an arm is worked out from
/// all the arms before it, and each is worked out once.
pub struct Opener<'a> {
    store: &'a dyn Store,
    trial: &'a Trial,
    key: &'a SealKey,
    /// The draws of a minimization so far worked out, by number from 1.
    past: Mutex<Vec<Past>>,
}

impl<'a> Opener<'a> {
    pub fn new(store: &'a dyn Store, trial: &'a Trial, key: &'a SealKey) -> Opener<'a> {
        Opener { store, trial, key, past: Mutex::default() }
    }

    /// As [`disclose`].
    ///
    /// # Errors
    /// [`NoArm`].
    pub fn disclose(
        &self,
        masking: &Masking,
        allocation: &Allocation,
        viewer: Viewer<'_>,
        now: DateTime<Utc>,
    ) -> Result<Arm, NoArm> {
        let permitted = match viewer {
            Viewer::Person { role, .. } => may(role, Permission::ViewArm, masking),
            Viewer::WriteBack => masking.write_back == Disclosure::Disclose,
        };
        if !permitted {
            return Err(NoArm::NotPermitted);
        }
        let arm = self.arm(allocation)?;
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
            Viewer::Person { .. } => self.store.append_audit(entry).map(drop)?,
            Viewer::WriteBack => self.store.note_told(&allocation.id, entry).map(drop)?,
        }
        Ok(arm)
    }

    /// Opens the slot of an allocation and works out its arm. Whoever calls this has asked who looks, and
    /// writes it down.
    pub(super) fn arm(&self, allocation: &Allocation) -> Result<Arm, NoArm> {
        let exchanged = || NoArm::Exchanged { id: allocation.id.clone() };
        let (store, trial) = (self.store, &self.trial.study.id);
        // The row may have been read long ago; what stands is what counts.
        let stored = store.allocation_of(trial, &allocation.subject)?.ok_or(NoArm::NotAllocated)?;
        let list = store.allocation_list(trial)?.ok_or(NoArm::NotAllocated)?;
        if stored != *allocation || stored.list_id != list.id {
            return Err(exchanged());
        }
        if !store.is_on_record(&stored)? {
            return Err(exchanged());
        }
        let sealed = store.sealed_slot(&list.id, stored.stratum, stored.position)?.ok_or_else(exchanged)?;
        let found = list::open(&list::header(&list)?, &sealed, self.key)?;
        let same_leaf = stored.leaf.is_empty() || stored.leaf == found.leaf.to_string();
        if (found.stratum, found.position) != (stored.stratum, stored.position) || !same_leaf {
            return Err(exchanged());
        }
        match found.held {
            Held::Arm(arm) => Ok(arm),
            Held::Draw(_) => self.worked_out(&list, stored.number)?.ok_or_else(exchanged),
        }
    }

    /// The arm of the draw with this number, which follows from its seed, its participant's levels and all
    /// draws before it. None where what is stored gives no arm.
    fn worked_out(&self, list: &AllocationList, number: i64) -> Result<Option<Arm>, NoArm> {
        let plan = self.trial.plan().ok_or(NoArm::OtherPlan)?;
        if list::list_hash(self.trial).as_deref() != Some(list.plan.as_str()) {
            return Err(NoArm::OtherPlan);
        }
        // The arm follows from the levels of everybody before as well.
        if !self.store.audit_coverage()?.findings.is_empty() {
            return Ok(None);
        }
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(index) = usize::try_from(number - 1) else { return Ok(None) };
        if past.len() <= index {
            let header = list::header(list)?;
            for draw in self.store.draws(&list.id, number.saturating_add(1))?.iter().skip(past.len()) {
                let found = list::open(&header, &draw.sealed, self.key)?;
                let in_place = (found.stratum, found.position) == (draw.stratum, draw.position);
                let (Held::Draw(seed), Some(levels), true) =
                    (found.held, indices(&plan, &draw.levels), in_place)
                else {
                    return Ok(None);
                };
                let Ok(arm) = assign(&plan, &Content::Draw(seed), &levels, &past) else { return Ok(None) };
                past.push(Past { levels, arm });
            }
        }
        let arm = past.get(index).and_then(|draw| plan.arms.names().get(draw.arm));
        Ok(arm.map(|name| Arm::new(name)))
    }
}

/// The levels as they are kept with an allocation, as the plan counts them.
fn indices(plan: &Plan, levels: &str) -> Option<Vec<usize>> {
    let levels: BTreeMap<String, String> = serde_json::from_str(levels).ok()?;
    let index = |factor: &Factor| {
        let level = levels.get(&factor.name)?;
        factor.levels.iter().position(|known| known == level)
    };
    plan.factors.iter().map(index).collect()
}
