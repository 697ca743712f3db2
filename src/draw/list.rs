//! A stored list as the seal knows it: opening one slot, and holding an allocation against the commitment.

use crate::protocol::Trial;
use crate::randomize::digest::Transcript;
use crate::randomize::seal::{self, Header, Part, SealError, SealedSlot};
use crate::randomize::{Digest, Factor, Held, Plan, Scheme, SealKey};
use crate::store::{Allocation, AllocationList, Refusal, Store, StoreError};
use serde::Deserialize;

/// A slot that was opened and found to be part of the commitment.
pub(super) struct Found {
    pub stratum: i64,
    pub position: i64,
    pub held: Held,
    pub leaf: Digest,
    proof: Vec<Digest>,
}

impl Found {
    pub(super) fn proof_json(&self) -> Result<String, Refusal> {
        serde_json::to_string(&self.proof).map_err(|_| elsewhere())
    }
}

/// Of the public part only the header is taken apart: the sealed recipe beside it is long, and a draw has no
/// use for it.
#[derive(Deserialize)]
struct Headed {
    header: Header,
}

/// What anyone may know of a list.
///
/// # Errors
/// The list's public part is damaged.
pub(super) fn header(list: &AllocationList) -> Result<Header, SealError> {
    let public: Headed = serde_json::from_str(&list.json).map_err(|_| damaged(&list.id))?;
    match is_of(&public.header, &list.id, &list.commitment) {
        true => Ok(public.header),
        false => Err(damaged(&list.id)),
    }
}

pub(super) fn damaged(list: &str) -> SealError {
    SealError::Damaged { list: list.to_owned(), part: Part::Header }
}

/// Does the header belong to the list that is stored under this name, with this commitment?
pub(super) fn is_of(header: &Header, list: &str, commitment: &str) -> bool {
    header.id == list && header.commitment.to_string() == commitment
}

/// Opens one sealed slot.
pub(super) fn open(header: &Header, sealed: &[u8], key: &SealKey) -> Result<Found, SealError> {
    let slot: SealedSlot = serde_json::from_slice(sealed)
        .map_err(|_| SealError::Damaged { list: header.id.clone(), part: Part::List })?;
    let opened = seal::open_slot(header, &slot, key)?;
    Ok(Found {
        stratum: opened.stratum.into(),
        position: opened.position.into(),
        leaf: opened.leaf,
        held: opened.held,
        proof: opened.proof,
    })
}

pub(super) fn unverified(error: SealError) -> Refusal {
    Refusal { code: "list-unverified".to_owned(), text: error.to_string() }
}

/// The slot in this place is not the one that was sealed for it.
pub(super) fn elsewhere() -> Refusal {
    Refusal { code: "list-unverified".to_owned(), text: "the slot is of another position".to_owned() }
}

/// Hash of a plan: under another definition a list may be used only as long as this stays.
pub(super) fn plan_hash(plan: &Plan) -> String {
    let text = Transcript::new("trialbridge/allocation-plan/v1")
        .field(plan.scheme.public_name().as_bytes())
        .u32(plan.total);
    let numbers = |text: Transcript, numbers: &mut dyn ExactSizeIterator<Item = u32>| {
        // At most as many as a scheme has sizes or weights.
        let text = text.u32(numbers.len() as u32);
        numbers.fold(text, Transcript::u32)
    };
    let text = match &plan.scheme {
        Scheme::PermutedBlocks { sizes } => {
            // Their order in the definition does not matter.
            let mut sizes = sizes.clone();
            sizes.sort_unstable();
            numbers(text, &mut sizes.into_iter())
        }
        Scheme::Complete => text,
        Scheme::Efron { probability } => text.u32(probability.ten_thousandths()),
        Scheme::BigStick { limit } => text.u32(*limit),
        Scheme::Minimization { distance, probability, weights } => {
            let text = text.field(distance.name().as_bytes()).u32(probability.ten_thousandths());
            numbers(text, &mut weights.iter().map(|weight| weight.thousandths()))
        }
        Scheme::Imported { equal } => text.u32((*equal).into()),
    };
    let names = |text: Transcript, names: &[String]| {
        let text = text.u32(names.len() as u32);
        names.iter().fold(text, |text, name| text.field(name.as_bytes()))
    };
    let text = names(text, plan.arms.names()).u32(plan.factors.len() as u32);
    let factor =
        |text: Transcript, factor: &Factor| names(text.field(factor.name.as_bytes()), &factor.levels);
    plan.factors.iter().fold(text, factor).digest().to_string()
}

/// Hash of what a trial's list follows from: the plan, and what its factors are read from. A level of the same
/// name that is read elsewhere is another level.
pub fn list_hash(trial: &Trial) -> Option<String> {
    let plan = plan_hash(&trial.plan()?);
    if trial.factors().is_empty() {
        return Some(plan);
    }
    let text = Transcript::new("trialbridge/allocation-factors/v1").field(plan.as_bytes());
    let factors = trial.factors().iter();
    Some(factors.fold(text, |text, factor| text.field(factor.reads().as_bytes())).digest().to_string())
}

/// Allocations that do not follow from the list's commitment, without opening anything: every one carries
/// the hash of its slot's content and its proof.
///
/// An allocation of an earlier version carries no hash: its proof is held against that of its slot, and the
/// slot is opened by `allocation verify`.
///
/// # Errors
/// Those of the store.
pub fn unproved(store: &dyn Store, trial: &str) -> Result<Vec<String>, StoreError> {
    let Some(list) = store.allocation_list(trial)? else { return Ok(Vec::new()) };
    let Ok(header) = header(&list) else {
        return Ok(vec![format!("allocation list {}: its public part is damaged", list.id)]);
    };
    let mut broken = Vec::new();
    for a in store.allocations(trial)? {
        let sealed = store.sealed_slot(&list.id, a.stratum, a.position)?;
        if !holds(&header, &a, sealed.as_deref()) {
            broken.push(format!("allocation {} does not belong to the commitment", a.id));
        }
    }
    Ok(broken)
}

fn holds(header: &Header, a: &Allocation, sealed: Option<&[u8]>) -> bool {
    let Ok(proof) = serde_json::from_str::<Vec<Digest>>(&a.proof) else { return false };
    if a.leaf.is_empty() {
        let slot = sealed.and_then(|bytes| serde_json::from_slice::<SealedSlot>(bytes).ok());
        return slot.is_some_and(|slot| slot.proof == proof && i64::from(slot.position) == a.position);
    }
    let (stratum, position) = (u32::try_from(a.stratum), u32::try_from(a.position));
    let (Ok(leaf), Ok(stratum), Ok(position)) = (a.leaf.parse::<Digest>(), stratum, position) else {
        return false;
    };
    seal::verify_leaf(header, stratum, position, leaf, &proof).is_ok()
}
