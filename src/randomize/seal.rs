//! The sealed list: what the database may hold before anyone is randomized.
//!
//! Every slot is encrypted by itself, at one length whatever its arm, and hashed with a salt into a
//! Merkle tree whose root is the list's commitment. A draw opens one slot and checks it against the
//! commitment before it gives the arm. The recipe (seed, scheme, arms) is sealed beside the slots, so
//! that after the trial everything can be drawn up again and compared.
//!
//! Never in a sealed list: an arm, a salt, a block size, the seed, the key. What an altered byte does:
//! an error, never another arm.
//!
//! Cipher: XChaCha20-Poly1305. Layout of every byte: `docs/randomization.md`.

use super::{
    arms::Arms,
    digest::{Digest, Hex, Transcript, hex_array, to_hex},
    merkle,
    recipe::{self, RECIPE_BYTES, Recipe},
    scheme::{Scheme, SchemeError, Slot, generate},
    secret::{Arm, Salt, SealKey, Seed},
};
use orion::hazardous::{
    aead::xchacha20poly1305::{Nonce, SecretKey, XChaCha20Poly1305},
    mac::poly1305::POLY1305_OUTSIZE,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The form of the list that this code writes and reads.
pub const FORMAT: &str = "trialbridge/sealed-list/v1";

const NONCE_BYTES: usize = 24;
/// Salt, length of the arm's name, the name, zeros.
const SLOT_BYTES: usize = 32 + 1 + Arms::LONGEST;

/// What anyone may know of a list, and what its seals are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Always [`FORMAT`].
    pub format: String,
    /// The list's name, unique in the installation.
    pub id: String,
    /// The trial's identifier.
    pub trial: String,
    /// The hash of the trial definition that was in force.
    pub definition: Digest,
    /// The name of the method, without block sizes.
    pub scheme: String,
    /// How many arms there are.
    pub arms: u32,
    /// How many slots there are.
    pub total: u32,
    /// The Merkle root over all slots: to be recorded outside before the first participant.
    pub commitment: Digest,
    /// Which key seals the list: 16 hexadecimal digits of a hash of it, to tell a wrong key from damage.
    pub key_id: String,
}

/// One slot as it is stored. A draw needs this and the [`Header`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSlot {
    /// Place in the list, from 1.
    pub position: u32,
    pub nonce: Hex,
    /// Of the same length for every arm.
    pub ciphertext: Hex,
    /// The inclusion proof, lowest hash first. Leaves are salted, so it tells nothing by itself.
    pub proof: Vec<Digest>,
}

/// The recipe of the list, sealed: seed, block sizes, arms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSeed {
    pub nonce: Hex,
    pub ciphertext: Hex,
}

/// A whole list, closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedList {
    pub header: Header,
    pub slots: Vec<SealedSlot>,
    pub sealed_seed: SealedSeed,
}

/// What a list is drawn up for.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// See [`Header::id`].
    pub id: &'a str,
    /// See [`Header::trial`].
    pub trial: &'a str,
    /// See [`Header::definition`].
    pub definition: Digest,
    pub scheme: &'a Scheme,
    pub arms: &'a Arms,
    pub total: u32,
}

/// One slot, opened and found to be part of the commitment.
#[derive(Clone, Debug)]
pub struct Opened {
    pub position: u32,
    pub arm: Arm,
    /// With the proof, shows to whoever has the commitment that the arm was fixed beforehand.
    pub salt: Salt,
    pub proof: Vec<Digest>,
}

/// A whole list, opened and drawn up again.
#[derive(Clone, Debug)]
pub struct Revealed {
    pub seed: Seed,
    pub scheme: Scheme,
    pub arms: Arms,
    /// In order of position.
    pub slots: Vec<Slot>,
}

/// Why a list was not sealed, or not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    #[error("an allocation list needs {what}; nothing was sealed")]
    Nameless { what: &'static str },
    #[error(
        "allocation list {list}: the key given is not the one it was sealed with (key {expected} is expected); \
         nothing was opened. Configure the key that `allocation generate` wrote"
    )]
    WrongKey { list: String, expected: String },
    #[error(
        "allocation list {list}: {place} is not as it was sealed; nothing was opened. The stored list was \
         altered or damaged: stop randomizing, keep the database as it is, restore a verified copy"
    )]
    Damaged { list: String, place: Place },
    #[error(
        "allocation list {list}: {place} is not part of commitment {commitment}. The list or the commitment \
         was exchanged: stop randomizing and compare with the commitment recorded before the first participant"
    )]
    Uncommitted { list: String, place: Place, commitment: Digest },
}

/// A place in a sealed list, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Header,
    Slot(u32),
    SealedSeed,
    /// All slots together.
    List,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Header => f.write_str("the header"),
            Place::Slot(position) => write!(f, "slot {position}"),
            Place::SealedSeed => f.write_str("the sealed seed"),
            Place::List => f.write_str("the list drawn up from the seed"),
        }
    }
}

/// Draws up a list and closes it.
///
/// `nonce_seed` is 32 fresh random bytes; it need not be kept or hidden.
///
/// # Errors
/// [`SealError::Scheme`] where no such list exists, [`SealError::Nameless`] without list id or trial.
pub fn seal(
    order: &Order<'_>,
    seed: &Seed,
    key: &SealKey,
    nonce_seed: &[u8; 32],
) -> Result<SealedList, SealError> {
    for (text, what) in [(order.id, "an id"), (order.trial, "the identifier of its trial")] {
        if text.is_empty() {
            return Err(SealError::Nameless { what });
        }
    }
    let slots = generate(order.scheme, order.arms, order.total, seed)?;
    let leaves = leaves(order.id, order.arms, &slots, seed);
    let header = Header {
        format: FORMAT.to_owned(),
        id: order.id.to_owned(),
        trial: order.trial.to_owned(),
        definition: order.definition,
        scheme: order.scheme.public_name().to_owned(),
        arms: order.arms.count(),
        total: order.total,
        commitment: merkle::root(&leaves),
        key_id: key_id(key),
    };
    let sealed = slots.iter().zip(0..).map(|(slot, index)| {
        let plain = slot_bytes(&salt(seed, slot.position), &order.arms.names()[slot.arm]);
        let (nonce, ciphertext) = close(key, nonce_seed, &slot_context(&header, slot.position), &plain[..]);
        let proof = merkle::proof(&leaves, index).expect("every slot has its leaf");
        SealedSlot { position: slot.position, nonce, ciphertext, proof }
    });
    let slots = sealed.collect();
    let recipe = Recipe { seed: seed.clone(), scheme: order.scheme.clone(), arms: order.arms.clone() };
    let (nonce, ciphertext) = close(key, nonce_seed, &seed_context(&header), &recipe.to_bytes()[..]);
    Ok(SealedList { header, slots, sealed_seed: SealedSeed { nonce, ciphertext } })
}

/// Opens one slot and checks that it is part of the list's commitment.
///
/// # Errors
/// [`SealError::WrongKey`]; [`SealError::Damaged`] where header or slot was altered;
/// [`SealError::Uncommitted`] where the slot was sealed with this key but not in this list.
pub fn open_slot(header: &Header, slot: &SealedSlot, key: &SealKey) -> Result<Opened, SealError> {
    check_header(header, key)?;
    let place = Place::Slot(slot.position);
    let damaged = || SealError::Damaged { list: header.id.clone(), place };
    let plain: Zeroizing<[u8; SLOT_BYTES]> =
        open(key, &slot.nonce, &slot.ciphertext, &slot_context(header, slot.position)).ok_or_else(damaged)?;
    let (salt, arm) = read_slot_bytes(&plain).ok_or_else(damaged)?;
    verify_allocation(header, slot.position, arm.expose(), &salt, &slot.proof)?;
    Ok(Opened { position: slot.position, arm, salt, proof: slot.proof.clone() })
}

/// Does this arm, at this position, belong to the commitment in `header`? Needs no key: a monitor can
/// ask it of an allocation that was opened to them.
///
/// # Errors
/// [`SealError::Uncommitted`] where it does not.
pub fn verify_allocation(
    header: &Header,
    position: u32,
    arm: &str,
    salt: &Salt,
    proof: &[Digest],
) -> Result<(), SealError> {
    let root = position.checked_sub(1).and_then(|index| {
        let leaf = leaf(&header.id, position, salt, arm);
        merkle::root_from_proof(leaf, index.into(), header.total.into(), proof)
    });
    if root == Some(header.commitment) {
        return Ok(());
    }
    Err(uncommitted(header, Place::Slot(position)))
}

/// Opens the seed, draws the whole list up again and checks it against the commitment. For the end of
/// the trial: afterwards every arm is known.
///
/// The stored slots are not looked at, so that a damaged one does not stop the statistician; use
/// [`verify_sealed`] to check them.
///
/// # Errors
/// [`SealError::WrongKey`], [`SealError::Damaged`], [`SealError::Uncommitted`].
pub fn reveal(list: &SealedList, key: &SealKey) -> Result<Revealed, SealError> {
    let header = &list.header;
    check_header(header, key)?;
    let damaged = || SealError::Damaged { list: header.id.clone(), place: Place::SealedSeed };
    let sealed = &list.sealed_seed;
    let plain: Zeroizing<[u8; RECIPE_BYTES]> =
        open(key, &sealed.nonce, &sealed.ciphertext, &seed_context(header)).ok_or_else(damaged)?;
    let Recipe { seed, scheme, arms } = recipe::read(&plain).ok_or_else(damaged)?;
    let slots = verify_list(header, &seed, &scheme, &arms)?;
    Ok(Revealed { seed, scheme, arms, slots })
}

/// Draws the list up again from its revealed parts and compares it with the commitment. Needs no key:
/// this is what a statistician does after the trial, here or in Python.
///
/// # Errors
/// [`SealError::Scheme`] where these parts give no list, [`SealError::Uncommitted`] where they give
/// another.
pub fn verify_list(
    header: &Header,
    seed: &Seed,
    scheme: &Scheme,
    arms: &Arms,
) -> Result<Vec<Slot>, SealError> {
    let slots = generate(scheme, arms, header.total, seed)?;
    let root = merkle::root(&leaves(&header.id, arms, &slots, seed));
    let described = header.scheme == scheme.public_name() && header.arms == arms.count();
    if described && root == header.commitment {
        return Ok(slots);
    }
    Err(uncommitted(header, Place::List))
}

/// Opens everything and compares it with what the seed gives: every slot present once, in order, with
/// the arm, salt and proof that it must have. Says nothing of any arm.
///
/// # Errors
/// The first fault, by place: [`SealError::WrongKey`], [`SealError::Damaged`],
/// [`SealError::Uncommitted`].
pub fn verify_sealed(list: &SealedList, key: &SealKey) -> Result<(), SealError> {
    let header = &list.header;
    let revealed = reveal(list, key)?;
    if list.slots.len() != revealed.slots.len() {
        return Err(SealError::Damaged { list: header.id.clone(), place: Place::List });
    }
    for (expected, stored) in revealed.slots.iter().zip(&list.slots) {
        let opened = open_slot(header, stored, key)?;
        let place = Place::Slot(expected.position);
        if opened.position != expected.position {
            return Err(SealError::Damaged { list: header.id.clone(), place });
        }
        let same_arm = opened.arm.expose() == revealed.arms.names()[expected.arm];
        if !same_arm || opened.salt.expose() != salt(&revealed.seed, expected.position).expose() {
            return Err(uncommitted(header, place));
        }
    }
    Ok(())
}

/// The first 16 hexadecimal digits of a hash of the key: tells keys apart, tells nothing of the key.
pub fn key_id(key: &SealKey) -> String {
    let digest = Transcript::new("trialbridge/key-id/v1").fixed(key.expose()).digest();
    to_hex(&digest.0[..8])
}

/// The salt of a slot. Everything in it has a fixed length, so knowing one salt does not help to
/// extend it to another.
pub(crate) fn salt(seed: &Seed, position: u32) -> Salt {
    Salt::new(Transcript::new("trialbridge/salt/v1").fixed(seed.expose()).u32(position).digest().0)
}

/// The leaf of a slot, with the mark 0x00 that RFC 6962 gives to leaves.
pub(crate) fn leaf(list: &str, position: u32, salt: &Salt, arm: &str) -> Digest {
    Transcript::marked(0, "trialbridge/slot/v1")
        .field(list.as_bytes())
        .u32(position)
        .fixed(salt.expose())
        .field(arm.as_bytes())
        .digest()
}

fn leaves(list: &str, arms: &Arms, slots: &[Slot], seed: &Seed) -> Vec<Digest> {
    let of = |slot: &Slot| leaf(list, slot.position, &salt(seed, slot.position), &arms.names()[slot.arm]);
    slots.iter().map(of).collect()
}

fn uncommitted(header: &Header, place: Place) -> SealError {
    SealError::Uncommitted { list: header.id.clone(), place, commitment: header.commitment }
}

/// Before anything is opened: is it a list of this form, and is this its key?
///
/// The other fields need no check of their own: every seal is bound to them.
fn check_header(header: &Header, key: &SealKey) -> Result<(), SealError> {
    if header.format != FORMAT || hex_array::<8>(&header.key_id).is_none() {
        return Err(SealError::Damaged { list: header.id.clone(), place: Place::Header });
    }
    if header.key_id != key_id(key) {
        return Err(SealError::WrongKey { list: header.id.clone(), expected: header.key_id.clone() });
    }
    Ok(())
}

/// What a slot's seal is bound to: the header's every field and the position.
fn slot_context(header: &Header, position: u32) -> Digest {
    bound_to(header, "trialbridge/sealed-slot/v1").u32(position).digest()
}

fn seed_context(header: &Header) -> Digest {
    bound_to(header, "trialbridge/sealed-seed/v1").digest()
}

fn bound_to(header: &Header, purpose: &str) -> Transcript {
    Transcript::new(purpose)
        .field(header.id.as_bytes())
        .field(header.trial.as_bytes())
        .fixed(&header.definition.0)
        .field(header.scheme.as_bytes())
        .u32(header.arms)
        .u32(header.total)
        .fixed(&header.commitment.0)
}

fn slot_bytes(salt: &Salt, arm: &str) -> Zeroizing<[u8; SLOT_BYTES]> {
    let mut plain = Zeroizing::new([0; SLOT_BYTES]);
    plain[..32].copy_from_slice(salt.expose());
    recipe::put_name(&mut plain[32..], arm);
    plain
}

fn read_slot_bytes(plain: &[u8; SLOT_BYTES]) -> Option<(Salt, Arm)> {
    let (salt, name) = plain.split_first_chunk::<32>()?;
    Some((Salt::new(*salt), Arm::new(recipe::read_name(name)?)))
}

/// Encrypts. The nonce is taken from the nonce seed and from all that the seal is bound to, the
/// commitment included: even a nonce seed used twice gives no nonce twice for different contents.
fn close(key: &SealKey, nonce_seed: &[u8; 32], context: &Digest, plain: &[u8]) -> (Hex, Hex) {
    let drawn = Transcript::new("trialbridge/nonce/v1").fixed(nonce_seed).fixed(&context.0).digest();
    let bytes = &drawn.0[..NONCE_BYTES];
    let nonce = Nonce::try_from(bytes).expect("a nonce of XChaCha20 has 24 bytes");
    let mut ciphertext = vec![0; plain.len() + POLY1305_OUTSIZE];
    XChaCha20Poly1305::seal(&cipher_key(key), &nonce, plain, Some(&context.0), &mut ciphertext)
        .expect("the output is longer than the input by the tag");
    (Hex(bytes.to_vec()), Hex(ciphertext))
}

/// Decrypts; `None` where key, nonce, ciphertext or context is not the one it was sealed with.
fn open<const N: usize>(
    key: &SealKey,
    nonce: &Hex,
    ciphertext: &Hex,
    context: &Digest,
) -> Option<Zeroizing<[u8; N]>> {
    if ciphertext.0.len() != N + POLY1305_OUTSIZE {
        return None;
    }
    let nonce = Nonce::try_from(nonce.0.as_slice()).ok()?;
    let mut plain = Zeroizing::new([0; N]);
    XChaCha20Poly1305::open(&cipher_key(key), &nonce, &ciphertext.0, Some(&context.0), &mut plain[..])
        .ok()?;
    Some(plain)
}

fn cipher_key(key: &SealKey) -> SecretKey {
    SecretKey::try_from(key.expose()).expect("a key of XChaCha20 has 32 bytes")
}
