//! The sealed list: what the database may hold before anyone is randomized.
//!
//! Every slot is encrypted by itself, at one length whatever it holds, and hashed with a salt into a
//! Merkle tree whose root is the list's commitment. One tree stands over all strata, in order. A draw opens
//! one slot and checks it against the commitment before it gives the arm. The recipe (seed, scheme, arms,
//! factors) is sealed beside the slots, to the service's key and to each statistician's, so that after the
//! trial everything can be drawn up again and compared.
//!
//! Never in a sealed list: an arm, a salt, a block size, the seed, a key. What an altered byte does: an
//! error, never another arm.
//!
//! Ciphers: XChaCha20-Poly1305, HPKE. Layout of every byte: `docs/randomization.md`.

pub use super::header::{FORMAT, FORMAT_V1, FactorLevels, Header, Origin, Stratum};
use super::{
    digest::{Digest, Hex, hex_array},
    header::Version,
    layout::{self, key_id},
    merkle,
    plan::{self, Content, Plan, draw_up},
    recipe::{self, Recipe},
    scheme::SchemeError,
    secret::{Ephemeral, Held, Salt, SealKey, Seed, StatisticianSecret},
    statistician::{self, SealedRecipe, StatisticianKey},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One slot as it is stored. A draw needs this and the [`Header`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSlot {
    /// Number of the stratum, from 0.
    #[serde(default)]
    pub stratum: u32,
    /// Place in the stratum, from 1.
    pub position: u32,
    pub nonce: Hex,
    /// Of the same length whatever the slot holds.
    pub ciphertext: Hex,
    /// The inclusion proof, lowest hash first. Leaves are salted, so it tells nothing by itself.
    pub proof: Vec<Digest>,
}

/// The recipe of the list, sealed to the service's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSeed {
    pub nonce: Hex,
    pub ciphertext: Hex,
}

/// The public part of a list, as it is stored beside the slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Public {
    pub header: Header,
    pub sealed_seed: SealedSeed,
    /// One a statistician, in the order of [`Header::statisticians`].
    #[serde(default)]
    pub sealed_recipes: Vec<SealedRecipe>,
}

/// A whole list, closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedList {
    pub public: Public,
    /// In order of stratum and position.
    pub slots: Vec<SealedSlot>,
}

/// What a list is drawn up for.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// See [`Header::id`].
    pub id: &'a str,
    /// See [`Header::trial`].
    pub trial: &'a str,
    /// See [`Header::definition`].
    pub definition: Digest,
    pub plan: &'a Plan,
    /// The list itself where it was made elsewhere, in order of stratum and position. Otherwise the plan
    /// and the seed give it.
    pub imported: Option<&'a [plan::Place]>,
    /// Whose keys the recipe is sealed to, besides the service's. Empty: only the service's key opens it.
    pub statisticians: &'a [StatisticianKey],
}

/// The random bytes of one sealing, made for it and for nothing else.
pub struct Entropy {
    /// The list and its salts follow from it; of an imported list the salts alone.
    pub seed: Seed,
    /// Makes nonces. It need not be kept or hidden.
    pub nonce_seed: [u8; 32],
    /// Makes the ephemeral secrets of the seals to statisticians. To be dropped afterwards.
    pub ephemeral: Ephemeral,
}

/// One slot, opened and found to be part of the commitment.
#[derive(Clone)]
pub struct Opened {
    pub stratum: u32,
    pub position: u32,
    pub held: Held,
    /// With the proof, shows to whoever has the commitment that the content was fixed beforehand.
    pub salt: Salt,
    /// The hash of the content with its salt. May be stored: without the salt it tells nothing.
    pub leaf: Digest,
    pub proof: Vec<Digest>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened(stratum {}, position {} [hidden])", self.stratum, self.position)
    }
}

/// A whole list, opened and drawn up again.
#[derive(Clone)]
pub struct Revealed {
    pub seed: Seed,
    pub plan: Plan,
    /// In order of stratum and position.
    pub places: Vec<plan::Place>,
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revealed({} places [hidden])", self.places.len())
    }
}

/// Why a list was not sealed, or not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    #[error("an allocation list needs {what}; nothing was sealed")]
    Nameless { what: &'static str },
    #[error(
        "the names of arms, factors and levels are too long to be sealed at one length; nothing was sealed. \
         Shorten them"
    )]
    Wordy,
    #[error(
        "{part} of the imported list is not where it must be or names no arm of the trial; nothing was sealed"
    )]
    Imported { part: Part },
    #[error("the statistician's key {id} cannot be encrypted to, or was given twice; nothing was sealed")]
    Recipient { id: String },
    #[error(
        "allocation list {list}: the key given is not the one it was sealed with (key {expected} is expected); \
         nothing was opened. Configure the key that `allocation generate` wrote"
    )]
    WrongKey { list: String, expected: String },
    #[error(
        "allocation list {list} is not sealed to the statistician's key {found}; nothing was opened. Its header \
         names the keys that open it"
    )]
    NotSealedTo { list: String, found: String },
    #[error(
        "allocation list {list}: {part} is not as it was sealed; nothing was opened. The stored list was \
         altered or damaged: stop randomizing, keep the database as it is, restore a verified copy"
    )]
    Damaged { list: String, part: Part },
    #[error(
        "allocation list {list}: {part} is not part of commitment {commitment}. The list or the commitment \
         was exchanged: stop randomizing and compare with the commitment recorded before the first participant"
    )]
    Uncommitted { list: String, part: Part, commitment: Digest },
}

/// A part of a sealed list, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Header,
    Slot {
        stratum: u32,
        position: u32,
    },
    SealedSeed,
    SealedRecipe,
    /// All slots together.
    List,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Header => f.write_str("the header"),
            // Strata are counted from 1 for a reader.
            Part::Slot { stratum, position } => {
                write!(f, "slot {position} of stratum {}", u64::from(*stratum) + 1)
            }
            Part::SealedSeed => f.write_str("the sealed seed"),
            Part::SealedRecipe => f.write_str("the recipe sealed to the statistician"),
            Part::List => f.write_str("the list drawn up from the seed"),
        }
    }
}

/// Draws up a list, or takes the one imported, and closes it.
///
/// # Errors
/// [`SealError::Scheme`] where no such list exists, [`SealError::Nameless`] without list id or trial,
/// [`SealError::Imported`], [`SealError::Wordy`], [`SealError::Recipient`].
pub fn seal(order: &Order<'_>, key: &SealKey, entropy: &Entropy) -> Result<SealedList, SealError> {
    for (text, what) in [(order.id, "an id"), (order.trial, "the identifier of its trial")] {
        if text.is_empty() {
            return Err(SealError::Nameless { what });
        }
    }
    let recipe = Recipe {
        seed: entropy.seed.clone(),
        plan: order.plan.clone(),
        imported: order.imported.map(<[plan::Place]>::to_vec),
    };
    let plain = recipe.to_bytes().ok_or(SealError::Wordy)?;
    let places = recipe.places()?;
    let ids: Vec<String> = order.statisticians.iter().map(StatisticianKey::id).collect();
    if let Some(id) = ids.iter().enumerate().find(|(at, id)| ids[..*at].contains(id)).map(|(_, id)| id) {
        return Err(SealError::Recipient { id: id.clone() });
    }
    let mut header = recipe.header(order, &places, key_id(key), ids);
    let (commitment, proofs) = merkle::proofs(&recipe.leaves(&header, &places)?);
    header.commitment = commitment;

    let nonces = &entropy.nonce_seed;
    let sealed = places.iter().zip(proofs).map(|(place, proof)| {
        let (stratum, position) = (place.stratum, place.position);
        let salt = layout::salt(Version::V2, &recipe.seed, stratum, position);
        let held = recipe.held(place)?;
        let context = layout::slot_context(&header, Version::V2, stratum, position);
        let (nonce, ciphertext) = layout::close(key, nonces, &context, &layout::slot_bytes(&salt, &held));
        Ok(SealedSlot { stratum, position, nonce, ciphertext, proof })
    });
    let slots = sealed.collect::<Result<Vec<_>, SealError>>()?;
    let context = layout::seed_context(&header, Version::V2);
    let (nonce, ciphertext) = layout::close(key, nonces, &context, &plain);
    let context = layout::recipe_context(&header);
    let sealed_recipes = order
        .statisticians
        .iter()
        .map(|to| {
            statistician::seal_to(to, &entropy.ephemeral, &context, &plain)
                .ok_or_else(|| SealError::Recipient { id: to.id() })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let public = Public { header, sealed_seed: SealedSeed { nonce, ciphertext }, sealed_recipes };
    Ok(SealedList { public, slots })
}

impl Recipe {
    /// The list: drawn up, or as it was imported.
    fn places(&self) -> Result<Vec<plan::Place>, SealError> {
        let Some(imported) = &self.imported else { return Ok(draw_up(&self.plan, &self.seed)?) };
        let strata = self.plan.strata().len();
        let mut expected = (0, 1);
        for place in imported {
            if place.stratum > expected.0 {
                expected = (place.stratum, 1);
            }
            let right = (place.stratum, place.position) == expected && (place.stratum as usize) < strata;
            if !right || !matches!(place.content, Content::Arm(arm) if arm < self.plan.arms.names().len()) {
                return Err(SealError::Imported { part: part(place.stratum, place.position) });
            }
            expected.1 += 1;
        }
        if imported.is_empty() {
            return Err(SealError::Imported { part: Part::List });
        }
        Ok(imported.clone())
    }

    /// The header of a new list; its commitment is still to be filled in.
    fn header(
        &self,
        order: &Order<'_>,
        places: &[plan::Place],
        key_id: String,
        statisticians: Vec<String>,
    ) -> Header {
        Header {
            format: FORMAT.to_owned(),
            id: order.id.to_owned(),
            trial: order.trial.to_owned(),
            definition: order.definition,
            origin: self.origin(),
            scheme: self.plan.scheme.public_name().to_owned(),
            arms: self.plan.arms.count(),
            strata: self.strata(places),
            factors: self.factors(),
            total: self.plan.total,
            commitment: Digest([0; 32]),
            key_id,
            statisticians,
        }
    }

    fn strata(&self, places: &[plan::Place]) -> Vec<Stratum> {
        let mut strata: Vec<Stratum> =
            self.plan.strata().into_iter().map(|label| Stratum { label, slots: 0 }).collect();
        for place in places {
            if let Some(stratum) = strata.get_mut(place.stratum as usize) {
                stratum.slots += 1;
            }
        }
        strata
    }

    fn factors(&self) -> Vec<FactorLevels> {
        let factors = self.plan.factors.iter();
        factors.map(|f| FactorLevels { name: f.name.clone(), levels: f.levels.clone() }).collect()
    }

    fn held(&self, place: &plan::Place) -> Result<Held, SealError> {
        let part = part(place.stratum, place.position);
        Held::of(&place.content, &self.plan.arms).ok_or(SealError::Imported { part })
    }

    /// The leaves of all places, in order.
    fn leaves(&self, header: &Header, places: &[plan::Place]) -> Result<Vec<Digest>, SealError> {
        let version = header.version().unwrap_or(Version::V2);
        let leaf = |place: &plan::Place| {
            let salt = layout::salt(version, &self.seed, place.stratum, place.position);
            Ok(layout::leaf(header, place.stratum, place.position, &salt, &self.held(place)?))
        };
        places.iter().map(leaf).collect()
    }

    /// Draws up the list and compares it with what the header says of it, the commitment above all.
    fn check(&self, header: &Header, version: Version) -> Result<Vec<plan::Place>, SealError> {
        let places = self.places()?;
        let described = header.scheme == self.plan.scheme.public_name()
            && header.arms == self.plan.arms.count()
            && header.total == self.plan.total
            && header.origin == self.origin()
            && (version == Version::V1
                || header.strata == self.strata(&places) && header.factors == self.factors());
        if described && merkle::root(&self.leaves(header, &places)?) == header.commitment {
            return Ok(places);
        }
        Err(uncommitted(header, Part::List))
    }
}

/// Opens one slot and checks that it is part of the list's commitment.
///
/// # Errors
/// [`SealError::WrongKey`]; [`SealError::Damaged`] where header or slot was altered;
/// [`SealError::Uncommitted`] where the slot was sealed with this key but not in this list.
pub fn open_slot(header: &Header, slot: &SealedSlot, key: &SealKey) -> Result<Opened, SealError> {
    let version = check_header(header)?;
    check_key(header, key)?;
    let (stratum, position) = (slot.stratum, slot.position);
    let damaged = || SealError::Damaged { list: header.id.clone(), part: part(stratum, position) };
    let context = layout::slot_context(header, version, stratum, position);
    if slot.ciphertext.0.len() != layout::slot_length(version) + layout::TAG_BYTES {
        return Err(damaged());
    }
    let plain = layout::open(key, &slot.nonce, &slot.ciphertext, &context).ok_or_else(damaged)?;
    let (salt, held) = layout::read_slot_bytes(version, &plain).ok_or_else(damaged)?;
    let leaf = layout::leaf(header, stratum, position, &salt, &held);
    verify_leaf(header, stratum, position, leaf, &slot.proof)?;
    Ok(Opened { stratum, position, held, salt, leaf, proof: slot.proof.clone() })
}

/// Does this leaf, at this place, belong to the commitment in `header`? Needs neither key nor arm: this is
/// what the rows of the allocations are checked with.
///
/// # Errors
/// [`SealError::Uncommitted`] where it does not.
pub fn verify_leaf(
    header: &Header,
    stratum: u32,
    position: u32,
    leaf: Digest,
    proof: &[Digest],
) -> Result<(), SealError> {
    let index = header.index(stratum, position);
    let root = index.and_then(|index| merkle::root_from_proof(leaf, index, header.slots(), proof));
    if root == Some(header.commitment) {
        return Ok(());
    }
    Err(uncommitted(header, part(stratum, position)))
}

/// Does what was held at this place belong to the commitment in `header`? Needs no key: a monitor can ask it
/// of a slot that was opened to them.
///
/// # Errors
/// [`SealError::Uncommitted`] where it does not.
pub fn verify_allocation(
    header: &Header,
    (stratum, position): (u32, u32),
    held: &Held,
    salt: &Salt,
    proof: &[Digest],
) -> Result<(), SealError> {
    verify_leaf(header, stratum, position, layout::leaf(header, stratum, position, salt, held), proof)
}

/// Opens the recipe with the service's key, draws the whole list up again and checks it against the
/// commitment. For the end of the trial: afterwards every arm is known.
///
/// The stored slots are not looked at, so that a damaged one does not stop the statistician; use
/// [`verify_sealed`] to check them.
///
/// # Errors
/// [`SealError::WrongKey`], [`SealError::Damaged`], [`SealError::Uncommitted`].
pub fn reveal(list: &Public, key: &SealKey) -> Result<Revealed, SealError> {
    let header = &list.header;
    let version = check_header(header)?;
    check_key(header, key)?;
    let damaged = || SealError::Damaged { list: header.id.clone(), part: Part::SealedSeed };
    let context = layout::seed_context(header, version);
    let sealed = &list.sealed_seed;
    let plain = layout::open(key, &sealed.nonce, &sealed.ciphertext, &context).ok_or_else(damaged)?;
    let recipe = recipe::read(header, version, &plain).ok_or_else(damaged)?;
    recipe.revealed(header, version)
}

/// [`reveal`] with a statistician's secret key, from the header and the recipes sealed to statisticians.
///
/// # Errors
/// [`SealError::NotSealedTo`], [`SealError::Damaged`], [`SealError::Uncommitted`].
pub fn reveal_to(
    header: &Header,
    recipes: &[SealedRecipe],
    secret: &StatisticianSecret,
) -> Result<Revealed, SealError> {
    let version = check_header(header)?;
    let id = StatisticianKey::of(secret).id();
    let sealed = recipes.iter().find(|sealed| sealed.key == id);
    let sealed = sealed.filter(|_| version == Version::V2 && header.statisticians.contains(&id));
    let sealed =
        sealed.ok_or_else(|| SealError::NotSealedTo { list: header.id.clone(), found: id.clone() })?;
    let damaged = || SealError::Damaged { list: header.id.clone(), part: Part::SealedRecipe };
    let context = layout::recipe_context(header);
    let plain = statistician::open_sealed(sealed, secret, &context).ok_or_else(damaged)?;
    let recipe = recipe::read(header, version, &plain).ok_or_else(damaged)?;
    recipe.revealed(header, version)
}

impl Recipe {
    fn revealed(self, header: &Header, version: Version) -> Result<Revealed, SealError> {
        let places = self.check(header, version)?;
        Ok(Revealed { seed: self.seed, plan: self.plan, places })
    }
}

/// Draws the list up again from its revealed parts and compares it with the commitment. Needs no key:
/// this is what a statistician does after the trial, here or in Python. `imported` is the list itself where
/// it was made elsewhere.
///
/// # Errors
/// [`SealError::Scheme`] where these parts give no list, [`SealError::Uncommitted`] where they give
/// another.
pub fn verify_list(
    header: &Header,
    seed: &Seed,
    plan: &Plan,
    imported: Option<&[plan::Place]>,
) -> Result<Vec<plan::Place>, SealError> {
    let version = check_header(header)?;
    let imported = imported.map(<[plan::Place]>::to_vec);
    Recipe { seed: seed.clone(), plan: plan.clone(), imported }.check(header, version)
}

/// Opens everything and compares it with what the recipe gives: every slot present once, in order, with
/// the content, salt and proof that it must have. Says nothing of any arm.
///
/// # Errors
/// The first fault, by place: [`SealError::WrongKey`], [`SealError::Damaged`],
/// [`SealError::Uncommitted`].
pub fn verify_sealed(list: &SealedList, key: &SealKey) -> Result<(), SealError> {
    let header = &list.public.header;
    let revealed = reveal(&list.public, key)?;
    let damaged = |part| Err(SealError::Damaged { list: header.id.clone(), part });
    if list.slots.len() != revealed.places.len() {
        return damaged(Part::List);
    }
    for (expected, stored) in revealed.places.iter().zip(&list.slots) {
        let opened = open_slot(header, stored, key)?;
        // `open_slot` has proved content and salt against the commitment, and `reveal` that the commitment
        // is that of the list drawn up from the seed: in the right place they can only be the right ones.
        if (opened.stratum, opened.position) != (expected.stratum, expected.position) {
            return damaged(part(expected.stratum, expected.position));
        }
    }
    Ok(())
}

fn part(stratum: u32, position: u32) -> Part {
    Part::Slot { stratum, position }
}

fn uncommitted(header: &Header, part: Part) -> SealError {
    SealError::Uncommitted { list: header.id.clone(), part, commitment: header.commitment }
}

/// Is this a header that we can read?
///
/// The other fields need no check of their own: every seal is bound to them.
fn check_header(header: &Header) -> Result<Version, SealError> {
    let damaged = SealError::Damaged { list: header.id.clone(), part: Part::Header };
    let version = header.version().ok_or_else(|| damaged.clone())?;
    let v1 = header.strata.is_empty()
        && header.factors.is_empty()
        && header.statisticians.is_empty()
        && header.origin == Origin::Generated;
    let whole = match version {
        // The seals of version 1 are not bound to what came later.
        Version::V1 => v1,
        Version::V2 => !header.strata.is_empty(),
    };
    if whole && hex_array::<8>(&header.key_id).is_some() { Ok(version) } else { Err(damaged) }
}

/// Is this the header's key?
fn check_key(header: &Header, key: &SealKey) -> Result<(), SealError> {
    if header.key_id == key_id(key) {
        return Ok(());
    }
    Err(SealError::WrongKey { list: header.id.clone(), expected: header.key_id.clone() })
}
