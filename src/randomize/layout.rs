//! The bytes of a sealed list: leaves, salts, slots, what a seal is bound to, the cipher.
//!
//! Two versions. Lists of version 1 were stored by earlier releases: they have one stratum and arms only,
//! and are opened but no longer made. `docs/randomization.md` describes both, byte by byte.
//!
//! Invariant: a function of a version never changes. A list that was stored once opens for ever.

use super::{
    arms::Arms,
    digest::{Digest, Hex, Transcript, hex_array, to_hex},
    header::{Header, Version},
    secret::{Arm, Held, Salt, SealKey, Seed},
};
use orion::hazardous::{
    aead::xchacha20poly1305::{Nonce, SecretKey, XChaCha20Poly1305},
    mac::poly1305::POLY1305_OUTSIZE,
};
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;
/// What a ciphertext is longer than its plaintext.
pub(crate) const TAG_BYTES: usize = POLY1305_OUTSIZE;
const NAME_BYTES: usize = 1 + Arms::LONGEST;
/// Salt, length of the arm's name, the name, zeros.
const SLOT_BYTES_V1: usize = 32 + NAME_BYTES;
/// Salt, kind of content, length of its text, the text, zeros.
const SLOT_BYTES_V2: usize = 32 + 1 + NAME_BYTES;

/// The first 16 hexadecimal digits of a hash of the key: tells keys apart, tells nothing of the key.
pub fn key_id(key: &SealKey) -> String {
    let digest = Transcript::new("trialbridge/key-id/v1").fixed(key.expose()).digest();
    to_hex(&digest.0[..8])
}

/// The salt of a slot. Everything in it has a fixed length, so knowing one salt does not help to
/// extend it to another.
pub(crate) fn salt(version: Version, seed: &Seed, stratum: u32, position: u32) -> Salt {
    let fields = match version {
        Version::V1 => Transcript::new("trialbridge/salt/v1").fixed(seed.expose()),
        Version::V2 => Transcript::new("trialbridge/salt/v2").fixed(seed.expose()).u32(stratum),
    };
    Salt::new(fields.u32(position).digest().0)
}

/// The kind of what a slot holds, as one byte, and its text: an arm's name, or the hexadecimal digits of the
/// seed of one draw.
fn text(held: &Held) -> (u8, Zeroizing<String>) {
    match held {
        Held::Arm(arm) => (ARM, Zeroizing::new(arm.expose().to_owned())),
        Held::Draw(seed) => (DRAW, Zeroizing::new(to_hex(seed.expose()))),
    }
}

const ARM: u8 = 0;
const DRAW: u8 = 1;

/// The leaf of a slot, with the mark 0x00 that RFC 6962 gives to leaves. A list of version 1 has no draws.
pub(crate) fn leaf(header: &Header, stratum: u32, position: u32, salt: &Salt, held: &Held) -> Digest {
    let (kind, text) = text(held);
    let list = header.id.as_bytes();
    let fields = match header.version() {
        Some(Version::V2) => Transcript::marked(0, "trialbridge/slot/v2")
            .field(list)
            .u32(stratum)
            .u32(position)
            .fixed(salt.expose())
            .fixed(&[kind]),
        Some(Version::V1) | None => {
            Transcript::marked(0, "trialbridge/slot/v1").field(list).u32(position).fixed(salt.expose())
        }
    };
    fields.field(text.as_bytes()).digest()
}

/// The plaintext of a slot: of one length, whatever it holds.
pub(crate) fn slot_bytes(salt: &Salt, held: &Held) -> Zeroizing<Vec<u8>> {
    let (kind, text) = text(held);
    let mut plain = Zeroizing::new(vec![0; SLOT_BYTES_V2]);
    plain[..32].copy_from_slice(salt.expose());
    plain[32] = kind;
    // At most 127 bytes: a name by the construction of `Arms`, a seed has 64.
    plain[33] = text.len() as u8;
    plain[34..34 + text.len()].copy_from_slice(text.as_bytes());
    plain
}

/// Reads the plaintext of a slot; `None` where no sealing gives these bytes.
pub(crate) fn read_slot_bytes(version: Version, plain: &[u8]) -> Option<(Salt, Held)> {
    let (salt, rest) = plain.split_first_chunk::<32>()?;
    let (kind, name) = match version {
        Version::V1 => (ARM, rest),
        Version::V2 => rest.split_first().map(|(&kind, name)| (kind, name))?,
    };
    let name = read_name(name)?;
    let held = match kind {
        ARM => Held::Arm(Arm::new(name)),
        DRAW => Held::Draw(Seed::new(hex_array(name)?)),
        _ => return None,
    };
    Some((Salt::new(*salt), held))
}

/// How long the plaintext of a slot is.
pub(crate) fn slot_length(version: Version) -> usize {
    match version {
        Version::V1 => SLOT_BYTES_V1,
        Version::V2 => SLOT_BYTES_V2,
    }
}

/// Reads a length and so many bytes of a name; `None` where it is not a name followed by zeros.
pub(crate) fn read_name(place: &[u8]) -> Option<&str> {
    let (&length, rest) = place.split_first()?;
    let (name, zeros) = rest.split_at_checked(length.into())?;
    if zeros.iter().any(|&byte| byte != 0) {
        return None;
    }
    std::str::from_utf8(name).ok()
}

/// What a slot's seal is bound to: every field of the header, stratum and position.
pub(crate) fn slot_context(header: &Header, version: Version, stratum: u32, position: u32) -> Digest {
    match version {
        Version::V1 => bound_v1(header, "trialbridge/sealed-slot/v1").u32(position).digest(),
        Version::V2 => bound_v2(header, "trialbridge/sealed-slot/v2").u32(stratum).u32(position).digest(),
    }
}

/// What the recipe's seal under the service's key is bound to.
pub(crate) fn seed_context(header: &Header, version: Version) -> Digest {
    match version {
        Version::V1 => bound_v1(header, "trialbridge/sealed-seed/v1").digest(),
        Version::V2 => bound_v2(header, "trialbridge/sealed-seed/v2").digest(),
    }
}

/// What the recipe's seal to a statistician is bound to.
pub(crate) fn recipe_context(header: &Header) -> Digest {
    bound_v2(header, "trialbridge/sealed-recipe/v2").digest()
}

fn bound_v1(header: &Header, purpose: &str) -> Transcript {
    Transcript::new(purpose)
        .field(header.id.as_bytes())
        .field(header.trial.as_bytes())
        .fixed(&header.definition.0)
        .field(header.scheme.as_bytes())
        .u32(header.arms)
        .u32(header.total)
        .fixed(&header.commitment.0)
}

fn bound_v2(header: &Header, purpose: &str) -> Transcript {
    let mut fields = Transcript::new(purpose)
        .field(header.id.as_bytes())
        .field(header.trial.as_bytes())
        .fixed(&header.definition.0)
        .field(header.origin.name().as_bytes())
        .field(header.scheme.as_bytes())
        .u32(header.arms)
        .u64(header.strata.len() as u64);
    for stratum in &header.strata {
        fields = fields.field(stratum.label.as_bytes()).u32(stratum.slots);
    }
    fields = fields.u64(header.factors.len() as u64);
    for factor in &header.factors {
        fields = fields.field(factor.name.as_bytes()).u64(factor.levels.len() as u64);
        for level in &factor.levels {
            fields = fields.field(level.as_bytes());
        }
    }
    fields = fields.u32(header.total).fixed(&header.commitment.0).field(header.key_id.as_bytes());
    fields = fields.u64(header.statisticians.len() as u64);
    header.statisticians.iter().fold(fields, |fields, id| fields.field(id.as_bytes()))
}

/// Encrypts. The nonce is taken from the nonce seed and from all that the seal is bound to, the
/// commitment included: even a nonce seed used twice gives no nonce twice for different contents.
pub(crate) fn close(key: &SealKey, nonce_seed: &[u8; 32], context: &Digest, plain: &[u8]) -> (Hex, Hex) {
    let drawn = Transcript::new("trialbridge/nonce/v1").fixed(nonce_seed).fixed(&context.0).digest();
    let bytes = &drawn.0[..NONCE_BYTES];
    let nonce = Nonce::try_from(bytes).expect("a nonce of XChaCha20 has 24 bytes");
    let mut ciphertext = vec![0; plain.len() + POLY1305_OUTSIZE];
    XChaCha20Poly1305::seal(&cipher_key(key), &nonce, plain, Some(&context.0), &mut ciphertext)
        .expect("the output is longer than the input by the tag");
    (Hex(bytes.to_vec()), Hex(ciphertext))
}

/// Decrypts; `None` where key, nonce, ciphertext or context is not the one it was sealed with.
pub(crate) fn open(
    key: &SealKey,
    nonce: &Hex,
    ciphertext: &Hex,
    context: &Digest,
) -> Option<Zeroizing<Vec<u8>>> {
    let length = ciphertext.0.len().checked_sub(POLY1305_OUTSIZE).filter(|&length| length > 0)?;
    let nonce = Nonce::try_from(nonce.0.as_slice()).ok()?;
    let mut plain = Zeroizing::new(vec![0; length]);
    XChaCha20Poly1305::open(&cipher_key(key), &nonce, &ciphertext.0, Some(&context.0), &mut plain[..])
        .ok()?;
    Some(plain)
}

fn cipher_key(key: &SealKey) -> SecretKey {
    SecretKey::try_from(key.expose()).expect("a key of XChaCha20 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_only_where_zeros_follow_it() {
        let table: [(&[u8], Option<&str>); 6] = [
            (b"\x02ab\0\0", Some("ab")),
            (b"\x02ab", Some("ab")),
            (b"\x02ab\0\x01", None),
            (b"\x03ab", None),
            (b"\x01\xff\0", None),
            (b"", None),
        ];
        for (bytes, name) in table {
            assert_eq!(read_name(bytes), name, "{bytes:?}");
        }
    }
    #[test]
    fn a_seal_of_nothing_is_none() {
        let (key, context) = (SealKey::new([3; 32]), Digest::of(b"where it stands"));
        let opened = |plain: &[u8]| {
            let (nonce, ciphertext) = close(&key, &[29; 32], &context, plain);
            open(&key, &nonce, &ciphertext, &context).map(|plain| plain.to_vec())
        };
        assert_eq!(opened(b"a"), Some(b"a".to_vec()));
        assert_eq!(opened(b""), None);
    }
}
