//! The public bundle of a list, and its revealed form: what somebody without the store checks.
//!
//! A bundle holds the header, the sealed slots, the recipe as sealed to the statisticians, and of every
//! allocation its number, its place, the hash of what its slot holds and the proof that the hash belongs to
//! the commitment. Never in a bundle: an arm, a salt, a seed, a participant, the recipe as sealed to the
//! service's key. A revealed list holds everything, and is made by whoever has a key.
//!
//! Checking needs neither key nor network, and stops at the first fault.

use super::{
    arms::Arms,
    digest::{Digest, Hex},
    header::{FactorLevels, Header, Origin},
    layout,
    plan::{Content, Factor, Past, Place, Plan, assign},
    scheme::Scheme,
    seal::{Revealed, SealError, SealedSlot, reveal_to, verify_leaf, verify_list},
    secret::{Held, Salt, Seed, StatisticianSecret},
    statistician::SealedRecipe,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroize;

/// What may leave the installation at any time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub header: Header,
    /// In order of stratum and position.
    pub slots: Vec<SealedSlot>,
    pub sealed_recipes: Vec<SealedRecipe>,
    /// Hashes of the trial definitions signed for this list after it was made.
    pub definitions: Vec<Digest>,
    /// In order of their numbers.
    pub allocations: Vec<Allocated>,
}

/// That somebody was allocated: not who, and not which arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocated {
    /// Over the trial, from 1, in the order of the draws.
    pub number: u32,
    pub id: String,
    pub stratum: u32,
    /// Within the stratum, from 1.
    pub position: u32,
    pub at: String,
    /// The trial definition of the decision.
    pub definition: Digest,
    /// Factor to level, as randomized.
    pub levels: BTreeMap<String, String>,
    /// Hash of what the slot holds; none for an allocation of version 1, whose proof is that of its slot.
    #[serde(deserialize_with = "Option::deserialize")]
    pub leaf: Option<Digest>,
    pub proof: Vec<Digest>,
}

/// A list with all that was hidden. Whoever has this file knows every arm, past and future.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealedList {
    /// [`REVEALED`].
    pub schema: String,
    pub list: String,
    pub commitment: Digest,
    pub origin: Origin,
    pub seed: Hex,
    pub scheme: Scheme,
    pub arms: Vec<String>,
    pub factors: Vec<FactorLevels>,
    pub total: u32,
    /// In order of stratum and position.
    pub slots: Vec<RevealedSlot>,
    /// In order of their numbers.
    pub allocations: Vec<RevealedArm>,
}

/// The form of a [`RevealedList`].
pub const REVEALED: &str = "trialbridge/allocation-reveal/v1";

/// One place with what it holds: an arm, or the seed of a draw.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealedSlot {
    pub stratum: u32,
    pub position: u32,
    pub block: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<Hex>,
    pub salt: Hex,
}

/// The arm of one allocation.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealedArm {
    pub number: u32,
    pub id: String,
    pub arm: String,
}

impl Drop for RevealedList {
    fn drop(&mut self) {
        self.seed.0.zeroize();
        for slot in &mut self.slots {
            slot.arm.zeroize();
            slot.salt.0.zeroize();
            if let Some(draw) = &mut slot.draw {
                draw.0.zeroize();
            }
        }
        self.allocations.iter_mut().for_each(|a| a.arm.zeroize());
    }
}

/// What was found to be in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    pub slots: usize,
    pub allocations: usize,
}

/// The first fault of a bundle. None names an arm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(
        "the commitment is {found}, and {expected} was expected: this is not the list that the certificate is about"
    )]
    Commitment { found: Digest, expected: Digest },
    #[error(
        "the list was made under definition {found}, and {expected} was expected: this is not the list that the \
         certificate is about"
    )]
    Definition { found: Digest, expected: Digest },
    #[error("slot {position} of stratum {} is missing, repeated or out of order", .stratum + 1)]
    Slot { stratum: u32, position: u32 },
    #[error("slot {position} of stratum {} has another length than the others", .stratum + 1)]
    Length { stratum: u32, position: u32 },
    #[error("the recipe is not there for each of the statisticians' keys that the header names")]
    Recipes,
    #[error("allocation {expected} is missing: number {found} stands in its place")]
    Number { expected: u32, found: u32 },
    #[error("allocation {number} has the id of an earlier one")]
    Twice { number: u32 },
    #[error(
        "allocation {number} took position {found} of stratum {}, and {expected} was next: a slot was left out \
         or used twice", .stratum + 1
    )]
    Position { number: u32, stratum: u32, expected: u32, found: u32 },
    #[error("allocation {number}: its hash does not belong to the commitment")]
    Proof { number: u32 },
    #[error("allocation {number} was made under definition {found}, which nobody signed for this list")]
    Unsigned { number: u32, found: Digest },
    #[error("allocation {number}: its levels are not those of the factors, or not those of its stratum")]
    Levels { number: u32 },
    #[error("the revealed list is another one, or of another form, than the bundle's")]
    Other,
    #[error("slot {position} of stratum {} is not revealed as the seed gives it", .stratum + 1)]
    Revealed { stratum: u32, position: u32 },
    #[error("allocation {number}: its hash is not that of the slot that it took")]
    Leaf { number: u32 },
    #[error("allocation {number}: the arm revealed is not the one that follows from the list")]
    Arm { number: u32 },
    #[error("{found} allocations are revealed, and the bundle has {expected}")]
    Count { expected: usize, found: usize },
}

/// Checks all that can be checked without opening anything. `commitment` and `definition` are those of the
/// printed certificate.
///
/// # Errors
/// The first [`Fault`].
pub fn verify(
    bundle: &Bundle,
    commitment: Option<Digest>,
    definition: Option<Digest>,
) -> Result<Verified, Fault> {
    let header = &bundle.header;
    let found = header.commitment;
    if let Some(expected) = commitment.filter(|expected| *expected != found) {
        return Err(Fault::Commitment { found, expected });
    }
    let found = header.definition;
    if let Some(expected) = definition.filter(|expected| *expected != found) {
        return Err(Fault::Definition { found, expected });
    }
    let recipes = bundle.sealed_recipes.iter().map(|recipe| &recipe.key);
    if !recipes.eq(&header.statisticians) {
        return Err(Fault::Recipes);
    }
    slots_in_order(bundle)?;
    let mut ids = BTreeSet::new();
    let mut next: BTreeMap<u32, u32> = BTreeMap::new();
    for (expected, a) in (1..).zip(&bundle.allocations) {
        if a.number != expected {
            return Err(Fault::Number { expected, found: a.number });
        }
        let number = a.number;
        if !ids.insert(&a.id) {
            return Err(Fault::Twice { number });
        }
        let expected = next.entry(a.stratum).or_insert(1);
        if a.position != *expected {
            return Err(Fault::Position {
                number,
                stratum: a.stratum,
                expected: *expected,
                found: a.position,
            });
        }
        *expected += 1;
        proved(bundle, a)?;
        if a.definition != header.definition && !bundle.definitions.contains(&a.definition) {
            return Err(Fault::Unsigned { number, found: a.definition });
        }
        levels_fit(header, a)?;
    }
    Ok(Verified { slots: bundle.slots.len(), allocations: bundle.allocations.len() })
}

/// Is every slot there once, in order, and of one length?
fn slots_in_order(bundle: &Bundle) -> Result<(), Fault> {
    let header = &bundle.header;
    let mut slots = bundle.slots.iter();
    let strata = header.strata.len().max(1);
    let length = bundle.slots.first().map(|slot| slot.ciphertext.0.len());
    for stratum in (0..).take(strata) {
        for position in 1..=header.slots_of(stratum).unwrap_or_default() {
            let slot = slots.next().filter(|s| (s.stratum, s.position) == (stratum, position));
            let slot = slot.ok_or(Fault::Slot { stratum, position })?;
            if Some(slot.ciphertext.0.len()) != length {
                return Err(Fault::Length { stratum, position });
            }
        }
    }
    match slots.next() {
        Some(extra) => Err(Fault::Slot { stratum: extra.stratum, position: extra.position }),
        None => Ok(()),
    }
}

/// The slot that an allocation took.
fn slot_of<'a>(bundle: &'a Bundle, a: &Allocated) -> Option<&'a SealedSlot> {
    let at = (a.stratum, a.position);
    bundle.slots.binary_search_by_key(&at, |s| (s.stratum, s.position)).ok().map(|i| &bundle.slots[i])
}

fn proved(bundle: &Bundle, a: &Allocated) -> Result<(), Fault> {
    let fault = Fault::Proof { number: a.number };
    let slot = slot_of(bundle, a).ok_or_else(|| fault.clone())?;
    if slot.proof != a.proof {
        return Err(fault);
    }
    let Some(leaf) = a.leaf else {
        // Allocations of version 1 kept no hash. Their slots are of a list of version 1.
        return if bundle.header.strata.is_empty() { Ok(()) } else { Err(fault) };
    };
    verify_leaf(&bundle.header, a.stratum, a.position, leaf, &a.proof).map_err(|_| fault)
}

/// Does the participant have one known level of each factor, and is the stratum theirs?
fn levels_fit(header: &Header, a: &Allocated) -> Result<(), Fault> {
    let fault = Err(Fault::Levels { number: a.number });
    let mut label = String::new();
    for factor in &header.factors {
        let Some(level) = a.levels.get(&factor.name).filter(|level| factor.levels.contains(level)) else {
            return fault;
        };
        let separator = if label.is_empty() { "" } else { ";" };
        label = format!("{label}{separator}{}={level}", factor.name);
    }
    let stratum = header.strata.get(a.stratum as usize).map(|s| s.label.as_str()).unwrap_or_default();
    // One stratum, as with minimization, has no label.
    let fits = stratum.is_empty() || stratum == label;
    if a.levels.len() == header.factors.len() && fits { Ok(()) } else { fault }
}

/// Opens the recipe with a statistician's secret key, draws the list up again, checks it against the
/// commitment, and gives all that was hidden.
///
/// # Errors
/// [`Fault::Seal`], and whatever [`verify`] finds.
pub fn reveal(bundle: &Bundle, secret: &StatisticianSecret) -> Result<RevealedList, Fault> {
    verify(bundle, None, None)?;
    let revealed = reveal_to(&bundle.header, &bundle.sealed_recipes, secret)?;
    revealed_list(bundle, &revealed)
}

/// All that was hidden, of a list that was opened.
///
/// # Errors
/// [`Fault::Leaf`], [`Fault::Arm`] where an allocation does not follow from the list.
pub fn revealed_list(bundle: &Bundle, revealed: &Revealed) -> Result<RevealedList, Fault> {
    let header = &bundle.header;
    let slots =
        revealed.places.iter().map(|place| slot_revealed(header, &revealed.seed, &revealed.plan, place));
    Ok(RevealedList {
        schema: REVEALED.to_owned(),
        list: header.id.clone(),
        commitment: header.commitment,
        origin: header.origin,
        seed: Hex(revealed.seed.expose().to_vec()),
        scheme: revealed.plan.scheme.clone(),
        arms: revealed.plan.arms.names().to_vec(),
        factors: header.factors.clone(),
        total: header.total,
        slots: slots.collect(),
        allocations: arms_of(bundle, revealed)?,
    })
}

fn slot_revealed(header: &Header, seed: &Seed, plan: &Plan, place: &Place) -> RevealedSlot {
    let (arm, draw) = match &place.content {
        Content::Arm(arm) => (plan.arms.names().get(*arm).cloned(), None),
        Content::Draw(seed) => (None, Some(Hex(seed.expose().to_vec()))),
    };
    let salt = salt_of(header, seed, place);
    let (stratum, position, block) = (place.stratum, place.position, place.block);
    RevealedSlot { stratum, position, block, arm, draw, salt: Hex(salt.expose().to_vec()) }
}

fn salt_of(header: &Header, seed: &Seed, place: &Place) -> Salt {
    // A header of an unknown form was refused when the list was opened.
    let version = header.version().unwrap_or(super::header::Version::V2);
    layout::salt(version, seed, place.stratum, place.position)
}

/// The arm of every allocation, worked out again: with minimization from all those before it.
fn arms_of(bundle: &Bundle, revealed: &Revealed) -> Result<Vec<RevealedArm>, Fault> {
    let (header, plan) = (&bundle.header, &revealed.plan);
    let mut past: Vec<Past> = Vec::new();
    let mut arms = Vec::new();
    for a in &bundle.allocations {
        let number = a.number;
        let at = (a.stratum, a.position);
        let place = revealed.places.iter().find(|p| (p.stratum, p.position) == at);
        let place = place.ok_or(Fault::Leaf { number })?;
        let held = Held::of(&place.content, &plan.arms).ok_or(Fault::Leaf { number })?;
        let salt = salt_of(header, &revealed.seed, place);
        let leaf = layout::leaf(header, a.stratum, a.position, &salt, &held);
        if a.leaf.is_some_and(|found| found != leaf) {
            return Err(Fault::Leaf { number });
        }
        let levels = indices(plan, a).ok_or(Fault::Levels { number })?;
        let arm = assign(plan, &place.content, &levels, &past).map_err(|_| Fault::Arm { number })?;
        let name = plan.arms.names().get(arm).ok_or(Fault::Arm { number })?;
        arms.push(RevealedArm { number, id: a.id.clone(), arm: name.clone() });
        past.push(Past { levels, arm });
    }
    Ok(arms)
}

/// The index of the level of each factor.
fn indices(plan: &Plan, a: &Allocated) -> Option<Vec<usize>> {
    let index = |factor: &Factor| {
        let level = a.levels.get(&factor.name)?;
        factor.levels.iter().position(|known| known == level)
    };
    plan.factors.iter().map(index).collect()
}

/// Checks a revealed list against the bundle, without any key: the list follows from the seed and gives the
/// commitment, and every allocation has the arm that follows from the list.
///
/// # Errors
/// The first [`Fault`].
pub fn verify_revealed(bundle: &Bundle, list: &RevealedList) -> Result<(), Fault> {
    let header = &bundle.header;
    let same = list.schema == REVEALED
        && list.list == header.id
        && list.commitment == header.commitment
        && list.origin == header.origin
        && list.factors == header.factors
        && list.total == header.total;
    let arms = Arms::new(list.arms.clone());
    let (true, Ok(arms), Ok(seed)) = (same, arms, <[u8; 32]>::try_from(list.seed.0.as_slice())) else {
        return Err(Fault::Other);
    };
    let factors = header.factors.iter();
    let factors = factors.map(|f| Factor { name: f.name.clone(), levels: f.levels.clone() }).collect();
    let plan = Plan { scheme: list.scheme.clone(), arms, factors, total: list.total };
    let seed = Seed::new(seed);
    let imported = match header.origin {
        Origin::Generated => None,
        Origin::Imported => Some(places_of(list, &plan)?),
    };
    let places = verify_list(header, &seed, &plan, imported.as_deref())?;
    for (i, place) in places.iter().enumerate() {
        if list.slots.get(i) != Some(&slot_revealed(header, &seed, &plan, place)) {
            return Err(Fault::Revealed { stratum: place.stratum, position: place.position });
        }
    }
    if let Some(extra) = list.slots.get(places.len()) {
        return Err(Fault::Revealed { stratum: extra.stratum, position: extra.position });
    }
    let expected = arms_of(bundle, &Revealed { seed, plan, places })?;
    if expected.len() != list.allocations.len() {
        return Err(Fault::Count { expected: expected.len(), found: list.allocations.len() });
    }
    match expected.iter().zip(&list.allocations).find(|(expected, found)| expected != found) {
        Some((expected, _)) => Err(Fault::Arm { number: expected.number }),
        None => Ok(()),
    }
}

/// The places of a list that was imported, as revealed.
fn places_of(list: &RevealedList, plan: &Plan) -> Result<Vec<Place>, Fault> {
    let place = |slot: &RevealedSlot| {
        let (stratum, position) = (slot.stratum, slot.position);
        let arm = slot.arm.as_ref().filter(|_| slot.draw.is_none());
        let arm = arm.and_then(|arm| plan.arms.names().iter().position(|name| name == arm));
        let content = Content::Arm(arm.ok_or(Fault::Revealed { stratum, position })?);
        Ok(Place { stratum, position, block: slot.block, content })
    };
    list.slots.iter().map(place).collect()
}
