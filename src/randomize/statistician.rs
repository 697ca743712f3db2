//! The key of the trial's statistician, and the recipe sealed to it.
//!
//! The statistician makes the pair on a machine of their own and gives away the public half. What is
//! sealed to it can be opened there and nowhere else: not by this service, not by whoever runs it.
//!
//! Cipher: HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
//! ChaCha20-Poly1305. Nothing here draws a random number: the ephemeral secret is passed in.

use super::{
    digest::{Digest, Hex, Transcript, hex_array, to_hex},
    secret::{Ephemeral, StatisticianSecret},
};
use orion::KP;
use orion::hazardous::{
    hpke::{DHKEM_X25519_SHA256_CHACHA20, ModeBase},
    kem::x25519_hkdf_sha256::{KeyPair, PrivateKey, PublicKey},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

type Hpke = ModeBase<DHKEM_X25519_SHA256_CHACHA20>;

const TAG_BYTES: usize = 16;
const PUBLIC_PREFIX: &str = "tbstat1";
const SECRET_PREFIX: &str = "tbstatsecret1";

/// The public half. Written and read as one word: `tbstat1`, 64 hexadecimal digits, 8 that check them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatisticianKey([u8; 32]);

/// The text is not a key as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    #[error(
        "not a statistician's {what} key: a word that starts with `{prefix}` and 72 hexadecimal digits are expected"
    )]
    Form { what: &'static str, prefix: &'static str },
    #[error(
        "the statistician's {what} key has a digit that was mistyped or lost: its check digits do not fit"
    )]
    Check { what: &'static str },
    #[error(
        "this is the statistician's secret key; keep it, and give the public one that `allocation keygen` printed"
    )]
    Secret,
}

impl StatisticianKey {
    /// The public half of a secret one.
    pub fn of(secret: &StatisticianSecret) -> Self {
        let pair = KeyPair::try_from(&PrivateKey::from(*secret.expose()));
        let pair = pair.expect("the base point times a clamped number is a point");
        StatisticianKey(bytes_of(pair.public()))
    }

    /// 32 hexadecimal digits of a hash of the key, as a header names it.
    pub fn id(&self) -> String {
        let digest = Transcript::new("trialbridge/statistician-key-id/v1").fixed(&self.0).digest();
        to_hex(&digest.0[..16])
    }

    /// [`id`](Self::id) in groups of four, to be read over the telephone.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.id())
    }
}

/// A key's id in groups of four digits.
pub fn fingerprint(id: &str) -> String {
    let digits: Vec<char> = id.chars().collect();
    digits.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for StatisticianKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&word(PUBLIC_PREFIX, &self.0))
    }
}

impl fmt::Debug for StatisticianKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatisticianKey({})", self.id())
    }
}

impl FromStr for StatisticianKey {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        if text.trim_ascii().starts_with(SECRET_PREFIX) {
            return Err(NotAKey::Secret);
        }
        read_word(text, "public", PUBLIC_PREFIX).map(StatisticianKey)
    }
}

/// The word that the secret file holds. Whoever calls this answers for where it goes.
pub fn secret_word(secret: &StatisticianSecret) -> Zeroizing<String> {
    Zeroizing::new(word(SECRET_PREFIX, secret.expose()))
}

/// Reads what [`secret_word`] writes; white space around it is ignored, as a file ends with a line feed.
///
/// # Errors
/// [`NotAKey`]. What the text holds is not repeated.
pub fn read_secret(text: &str) -> Result<StatisticianSecret, NotAKey> {
    read_word(text, "secret", SECRET_PREFIX).map(StatisticianSecret::new)
}

fn word(prefix: &'static str, bytes: &[u8; 32]) -> String {
    format!("{prefix}{}{}", to_hex(bytes), to_hex(&check(prefix, bytes)))
}

fn read_word(text: &str, what: &'static str, prefix: &'static str) -> Result<[u8; 32], NotAKey> {
    let form = NotAKey::Form { what, prefix };
    let digits = text.trim_ascii().strip_prefix(prefix).ok_or(form)?;
    let (key, found) = digits.split_at_checked(64).ok_or(form)?;
    let bytes = hex_array::<32>(key).ok_or(form)?;
    let found = hex_array::<4>(found).ok_or(form)?;
    if found == check(prefix, &bytes) { Ok(bytes) } else { Err(NotAKey::Check { what }) }
}

fn check(prefix: &str, bytes: &[u8; 32]) -> [u8; 4] {
    let digest = Transcript::new("trialbridge/key-check/v1").field(prefix.as_bytes()).fixed(bytes).digest();
    [digest.0[0], digest.0[1], digest.0[2], digest.0[3]]
}

fn bytes_of(key: &PublicKey) -> [u8; 32] {
    key.as_ref().try_into().expect("a public key of X25519 has 32 bytes")
}

/// The recipe of a list, sealed to one statistician.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedRecipe {
    /// [`StatisticianKey::id`] of the key it is sealed to.
    pub key: String,
    /// The encapsulated key of RFC 9180: 32 bytes.
    pub enc: Hex,
    /// Of a length that does not depend on the scheme.
    pub ciphertext: Hex,
}

/// Seals `plain` to the key, bound to `context`. `None` where the key is not a point of the curve that can
/// be encrypted to.
pub(crate) fn seal_to(
    key: &StatisticianKey,
    ephemeral: &Ephemeral,
    context: &Digest,
    plain: &[u8],
) -> Option<SealedRecipe> {
    // One secret a recipient and content: used twice by mistake, it still gives no stream twice.
    let own = Transcript::new("trialbridge/ephemeral/v1").fixed(ephemeral.expose()).fixed(&key.0);
    let own = Zeroizing::new(own.fixed(&context.0).digest().0);
    let (enc, ciphertext) = seal(&key.0, *own, &context.0, &context.0, plain)?;
    Some(SealedRecipe { key: key.id(), enc: Hex(enc.to_vec()), ciphertext: Hex(ciphertext) })
}

/// Opens what [`seal_to`] sealed; `None` where secret, context or a byte is another.
pub(crate) fn open_sealed(
    sealed: &SealedRecipe,
    secret: &StatisticianSecret,
    context: &Digest,
) -> Option<Zeroizing<Vec<u8>>> {
    let enc: [u8; 32] = sealed.enc.0.as_slice().try_into().ok()?;
    open(&enc, secret.expose(), &context.0, &context.0, &sealed.ciphertext.0)
}

/// RFC 9180, section 6.1, `SealBase` with a given ephemeral secret: encapsulated key and ciphertext.
fn seal(
    public: &[u8; 32],
    ephemeral: [u8; 32],
    info: &[u8],
    aad: &[u8],
    plain: &[u8],
) -> Option<([u8; 32], Vec<u8>)> {
    let public = PublicKey::from(*public);
    let (mut sender, enc) =
        Hpke::new_sender_deterministic(&public, info, PrivateKey::from(ephemeral)).ok()?;
    let mut ciphertext = vec![0; plain.len() + TAG_BYTES];
    sender.seal(plain, aad, &mut ciphertext).ok()?;
    Some((bytes_of(&enc), ciphertext))
}

/// RFC 9180, section 6.1, `OpenBase`.
fn open(
    enc: &[u8; 32],
    secret: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let length = ciphertext.len().checked_sub(TAG_BYTES)?;
    let mut recipient = Hpke::new_recipient(&PublicKey::from(*enc), &PrivateKey::from(*secret), info).ok()?;
    let mut plain = Zeroizing::new(vec![0; length]);
    recipient.open(ciphertext, aad, &mut plain[..]).ok()?;
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::randomize::digest::from_hex;

    #[derive(Deserialize)]
    struct Vector {
        info: String,
        #[serde(rename = "skEm")]
        sk_em: String,
        #[serde(rename = "skRm")]
        sk_rm: String,
        #[serde(rename = "pkRm")]
        pk_rm: String,
        enc: String,
        encryptions: Vec<Encryption>,
    }

    #[derive(Deserialize)]
    struct Encryption {
        sequence: u64,
        aad: String,
        pt: String,
        ct: String,
    }

    fn bytes(hex: &str) -> Vec<u8> {
        from_hex(hex).expect("hexadecimal digits in a fixture")
    }

    fn array(hex: &str) -> [u8; 32] {
        hex_array(hex).expect("32 bytes in a fixture")
    }

    #[test]
    fn the_vector_of_rfc_9180_appendix_a_2_1() {
        let text = include_str!("../../fixtures/randomize/rfc9180-a.2.1.json");
        let v: Vector = serde_json::from_str(text).expect("the vector");
        let (info, public) = (bytes(&v.info), array(&v.pk_rm));
        assert_eq!(StatisticianKey::of(&StatisticianSecret::new(array(&v.sk_rm))).0, public);
        let ephemeral = PrivateKey::from(array(&v.sk_em));
        let (mut sender, enc) =
            Hpke::new_sender_deterministic(&PublicKey::from(public), &info, ephemeral).expect("a sender");
        assert_eq!(bytes_of(&enc), array(&v.enc));
        let mut sequence = 0;
        for encryption in &v.encryptions {
            // The vector leaves out messages of the context between those it shows.
            for _ in sequence..encryption.sequence {
                sender.seal(b"", b"", &mut [0; TAG_BYTES]).expect("sealed");
            }
            sequence = encryption.sequence + 1;
            let plain = bytes(&encryption.pt);
            let mut found = vec![0; plain.len() + TAG_BYTES];
            sender.seal(&plain, &bytes(&encryption.aad), &mut found).expect("sealed");
            assert_eq!(found, bytes(&encryption.ct));
        }
        // Ours seals one message a context: the first.
        let first = &v.encryptions[0];
        let (aad, plain) = (bytes(&first.aad), bytes(&first.pt));
        let (enc, ciphertext) = seal(&public, array(&v.sk_em), &info, &aad, &plain).expect("sealed");
        assert_eq!((enc, &ciphertext), (array(&v.enc), &bytes(&first.ct)));
        let opened = open(&enc, &array(&v.sk_rm), &info, &aad, &ciphertext).expect("opened");
        assert_eq!(*opened, plain);
    }

    #[test]
    fn what_is_sealed_to_one_key_opens_with_it_alone_and_unaltered() {
        let secret = StatisticianSecret::new([7; 32]);
        let key = StatisticianKey::of(&secret);
        let context = Digest::of(b"context");
        let sealed = seal_to(&key, &Ephemeral::new([9; 32]), &context, b"the recipe").expect("sealed");
        assert_eq!(sealed.key, key.id());
        assert_eq!(open_sealed(&sealed, &secret, &context).as_deref(), Some(&b"the recipe".to_vec()));
        assert!(open_sealed(&sealed, &StatisticianSecret::new([8; 32]), &context).is_none());
        assert!(open_sealed(&sealed, &secret, &Digest::of(b"other")).is_none());
        for i in 0..sealed.ciphertext.0.len() {
            let mut altered = sealed.clone();
            altered.ciphertext.0[i] ^= 1;
            assert!(open_sealed(&altered, &secret, &context).is_none(), "ciphertext byte {i}");
        }
        for i in 0..32 {
            let mut altered = sealed.clone();
            // Bit 0: the highest bit of an encapsulated key is ignored by X25519.
            altered.enc.0[i] ^= 1;
            assert!(open_sealed(&altered, &secret, &context).is_none(), "encapsulated key byte {i}");
        }
        for length in [0, 15, 16, 25] {
            let mut altered = sealed.clone();
            altered.ciphertext.0.truncate(length);
            assert!(open_sealed(&altered, &secret, &context).is_none(), "{length} bytes");
            altered.enc.0.pop();
            assert!(open_sealed(&altered, &secret, &context).is_none(), "a shorter key");
        }
        // The same ephemeral secret for another recipient or context gives another key.
        let other = StatisticianKey::of(&StatisticianSecret::new([8; 32]));
        let elsewhere = seal_to(&other, &Ephemeral::new([9; 32]), &context, b"the recipe").expect("sealed");
        let later =
            seal_to(&key, &Ephemeral::new([9; 32]), &Digest::of(b"x"), b"the recipe").expect("sealed");
        assert!(sealed.enc != elsewhere.enc && sealed.enc != later.enc);
    }

    #[test]
    fn a_key_that_gives_every_sender_the_same_secret_is_refused() {
        // The points of small order: RFC 7748, section 6.1.
        let one = {
            let mut one = [0; 32];
            one[0] = 1;
            one
        };
        for bytes in [[0; 32], one] {
            let sealed = seal_to(&StatisticianKey(bytes), &Ephemeral::new([9; 32]), &Digest::of(b""), b"x");
            assert!(sealed.is_none());
        }
    }

    #[test]
    fn a_key_is_one_word_that_finds_a_mistyped_digit() {
        let secret = StatisticianSecret::new([7; 32]);
        let key = StatisticianKey::of(&secret);
        let word = key.to_string();
        assert_eq!(word.len(), PUBLIC_PREFIX.len() + 72);
        assert_eq!(word.parse(), Ok(key));
        assert_eq!(format!(" {word}\n").parse(), Ok(key));
        for at in PUBLIC_PREFIX.len()..word.len() {
            let mut altered = word.clone().into_bytes();
            altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
            let altered = String::from_utf8(altered).expect("digits");
            assert_eq!(altered.parse::<StatisticianKey>(), Err(NotAKey::Check { what: "public" }));
        }
        let form = Err(NotAKey::Form { what: "public", prefix: PUBLIC_PREFIX });
        for refused in ["", "tbstat1", &word[..70], &word.to_uppercase(), &format!("{word}0"), "tbstat1é"] {
            assert_eq!(refused.parse::<StatisticianKey>(), form, "{refused}");
        }
        let secret_word = secret_word(&secret);
        assert_eq!(secret_word.parse::<StatisticianKey>(), Err(NotAKey::Secret));
        assert_eq!(read_secret(&secret_word).map(|s| *s.expose()), Ok([7; 32]));
        assert!(read_secret(&word).is_err());
        assert_eq!(key.fingerprint().len(), 39);
        assert_eq!(key.fingerprint().replace(' ', ""), key.id());
    }
    #[test]
    fn a_key_is_shown_by_its_fingerprint() {
        let key = StatisticianKey::of(&StatisticianSecret::new([41; 32]));
        assert_eq!(format!("{key:?}"), format!("StatisticianKey({})", key.id()));
    }
}
