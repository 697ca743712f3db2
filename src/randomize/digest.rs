//! SHA-256 values and the one way in which fields are put together before they are hashed.
//!
//! Two different lists of fields never give the same bytes: a field of variable length is preceded
//! by its length, and every hash starts with the name of what it is for.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// A SHA-256 value. Written and read as `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The hash of `bytes` alone, as `sha256sum` gives it.
    pub fn of(bytes: &[u8]) -> Self {
        Digest(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a SHA-256 value in the form that [`Digest`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 value: `sha256:` and 64 lower-case hexadecimal digits are expected")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text.strip_prefix("sha256:").ok_or(NotADigest)?;
        hex_array(hex).map(Digest).ok_or(NotADigest)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Spelled("a SHA-256 value", |text| text.parse().ok()))
    }
}

/// A value that is read from its one spelling, without a copy of the text where the text can be lent.
struct Spelled<T>(&'static str, fn(&str) -> Option<T>);

impl<T> de::Visitor<'_> for Spelled<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).ok_or_else(|| E::invalid_value(de::Unexpected::Other("another text"), &self))
    }
}

/// Bytes that are written and read as lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "an even number of lower-case hexadecimal digits";
        deserializer.deserialize_str(Spelled(expected, |text| from_hex(text).map(Hex)))
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]].map(char::from);
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(bytes.iter().flat_map(digits));
    text
}

/// The value of each lower-case hexadecimal digit; [`NONE`] for what is none.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};
const NONE: u8 = 0xff;

/// Reads the digits into `bytes`, whose number is that of the pairs; false if one is no digit.
fn read_hex(pairs: &[[u8; 2]], bytes: &mut [u8]) -> bool {
    let mut seen = 0;
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
        seen |= high | low;
        *byte = high << 4 | low & 15;
    }
    // Digits have four bits, and `NONE` has all eight.
    seen != NONE
}

/// Reads what [`to_hex`] writes and nothing else: one value has one spelling.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = vec![0; pairs.len()];
    (rest.is_empty() && read_hex(pairs, &mut bytes)).then_some(bytes)
}

pub(crate) fn hex_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; N];
    (rest.is_empty() && pairs.len() == N && read_hex(pairs, &mut bytes)).then_some(bytes)
}

/// Fields on their way into SHA-256, in the encoding of `docs/randomization.md`.
#[derive(Clone)]
pub(crate) struct Transcript(Sha256);

impl Transcript {
    /// Starts with the name of what is hashed, as a [`field`](Self::field).
    pub(crate) fn new(purpose: &str) -> Self {
        Transcript(Sha256::new()).field(purpose.as_bytes())
    }

    /// Starts with a raw byte before the name: the leaf and node marks of a Merkle tree.
    pub(crate) fn marked(mark: u8, purpose: &str) -> Self {
        Transcript(Sha256::new()).fixed(&[mark]).field(purpose.as_bytes())
    }

    /// A field of variable length: its length as eight bytes, most significant first, then itself.
    pub(crate) fn field(self, bytes: &[u8]) -> Self {
        // A slice is never longer than `isize::MAX`, so the length always fits.
        self.fixed(&(bytes.len() as u64).to_be_bytes()).fixed(bytes)
    }

    /// A field whose length is fixed by the layout: no length before it.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn u32(self, number: u32) -> Self {
        self.fixed(&number.to_be_bytes())
    }

    pub(crate) fn u64(self, number: u64) -> Self {
        self.fixed(&number.to_be_bytes())
    }

    pub(crate) fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_spelling() {
        // FIPS 180-4, the one-block message "abc".
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), abc);
        assert_eq!(format!("{:?}", Digest::of(b"abc")), abc);
        assert_eq!(abc.parse(), Ok(Digest::of(b"abc")));
        let json = serde_json::to_string(&Digest::of(b"abc")).expect("a digest is a string");
        assert_eq!(json, format!("\"{abc}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).ok(), Some(Digest::of(b"abc")));
        for refused in
            [&abc[7..], &abc.to_uppercase(), &abc[..70], &format!("{abc}0"), "", "sha256:", "sha256:é"]
        {
            assert_eq!(refused.parse::<Digest>(), Err(NotADigest), "{refused}");
        }
        assert_eq!(from_hex("00ff1a"), Some(vec![0, 255, 26]));
        for refused in ["0", "0G", "g0", "gg", "0A", "AA", "0:", "0`", "00f", "\u{e9}"] {
            assert_eq!(from_hex(refused), None, "{refused}");
        }
        let told = serde_json::from_str::<Digest>("7").expect_err("a number").to_string();
        assert!(told.contains("expected a SHA-256 value"), "{told}");
        let told = serde_json::from_str::<Hex>("\"0\"").expect_err("half a byte").to_string();
        assert!(told.contains("expected an even number of lower-case hexadecimal digits"), "{told}");
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&every)), Some(every));
        assert_eq!(
            (hex_array("00ff"), hex_array::<2>("00"), hex_array::<2>("00ff00")),
            (Some([0, 255]), None, None)
        );
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let joined = |a: &[u8], b: &[u8]| Transcript::new("t").field(a).field(b).digest();
        assert_ne!(joined(b"ab", b"c"), joined(b"a", b"bc"));
        assert_ne!(joined(b"", b"abc"), joined(b"abc", b""));
        assert_ne!(Transcript::new("a").digest(), Transcript::new("b").digest());
        // length 1, "t", length 2, "hi", 7: written out by hand.
        let by_hand = b"\0\0\0\0\0\0\0\x01t\0\0\0\0\0\0\0\x02hi\0\0\0\x07";
        assert_eq!(Transcript::new("t").field(b"hi").u32(7).digest(), Digest::of(by_hand));
    }
}
