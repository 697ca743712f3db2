//! What must not be read over a shoulder: seed, key, salt, and the arm of a slot.
//!
//! None of these types prints what it holds: `Debug` says `[hidden]` and there is no `Display`. All
//! are overwritten with zeros when dropped. A value that was moved may leave a copy on the stack, so
//! make them late and drop them early.

use super::arms::Arms;
use super::digest::hex_array;
use super::plan::Content;
use std::fmt;
use zeroize::Zeroizing;

/// A secret file does not hold 32 bytes as 64 hexadecimal digits. What it holds is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} is not 64 lower-case hexadecimal digits (32 bytes); nothing was opened or sealed")]
pub struct NotASecret {
    pub what: &'static str,
}

macro_rules! secret_bytes {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; 32]>);

        impl $name {
            pub fn new(bytes: [u8; 32]) -> Self {
                $name(Zeroizing::new(bytes))
            }

            /// Reads 64 lower-case hexadecimal digits; white space around them is ignored, as a
            /// file ends with a line feed.
            pub fn from_hex(text: &str) -> Result<Self, NotASecret> {
                hex_array(text.trim_ascii()).map(Self::new).ok_or(NotASecret { what: $what })
            }

            /// The bytes themselves. Whoever calls this answers for where they go.
            pub fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "([hidden])"))
            }
        }
    };
}

secret_bytes! {
    /// The 32 bytes from which a list is drawn up. Whoever has them has every arm.
    Seed, "seed"
}
secret_bytes! {
    /// The 32 bytes under which a list is kept. They live outside the data directory.
    SealKey, "key of the allocation list"
}
secret_bytes! {
    /// The statistician's secret key. It is made and kept on the statistician's machine.
    StatisticianSecret, "statistician's secret key"
}
secret_bytes! {
    /// 32 fresh random bytes from which a seal's ephemeral secrets follow. To be dropped after use.
    Ephemeral, "ephemeral secret"
}
secret_bytes! {
    /// The 32 bytes that hide a slot's arm in its leaf. With salt and leaf the arm is found by
    /// trying each, so a salt is guarded as its arm is.
    Salt, "salt of the slot"
}

/// The arm of one slot.
#[derive(Clone, PartialEq, Eq)]
pub struct Arm(Zeroizing<String>);

impl Arm {
    pub fn new(name: &str) -> Self {
        Arm(Zeroizing::new(name.to_owned()))
    }

    /// The name as the trial definition has it. Only for the committed allocation and for roles that
    /// are not blinded.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arm([hidden])")
    }
}

/// What one slot holds: the arm, or the seed of one draw from which the arm follows together with the
/// participant and those before.
#[derive(Clone)]
pub enum Held {
    Arm(Arm),
    Draw(Seed),
}

impl Held {
    /// What a place of the plan with these arms holds; `None` where it has no such arm.
    pub fn of(content: &Content, arms: &Arms) -> Option<Held> {
        match content {
            Content::Arm(index) => arms.names().get(*index).map(|name| Held::Arm(Arm::new(name))),
            Content::Draw(seed) => Some(Held::Draw(seed.clone())),
        }
    }

    /// The arm by its index in these arms; `None` where it is none of them.
    pub fn content(&self, arms: &Arms) -> Option<Content> {
        match self {
            Held::Arm(arm) => arms.names().iter().position(|name| name == arm.expose()).map(Content::Arm),
            Held::Draw(seed) => Some(Content::Draw(seed.clone())),
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let printed = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            Seed::new([0xab; 32]),
            SealKey::new([0xab; 32]),
            Salt::new([0xab; 32]),
            Arm::new("double"),
            Held::Arm(Arm::new("double"))
        );
        assert_eq!(printed, "Seed([hidden]) SealKey([hidden]) Salt([hidden]) Arm([hidden]) Held([hidden])");
    }

    #[test]
    fn a_key_file_is_read_and_a_bad_one_is_not_repeated() {
        let text = format!("{}\n", "0f".repeat(32));
        assert_eq!(SealKey::from_hex(&text).map(|k| *k.expose()), Ok([15; 32]));
        for refused in ["", "0f", &"0F".repeat(32), &"0f".repeat(33), &"zz".repeat(32)] {
            let error = SealKey::from_hex(refused).expect_err("not a key");
            assert!(refused.is_empty() || !error.to_string().contains(refused));
        }
    }
}
