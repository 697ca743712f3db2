//! Passwords: which can be taken, and how they are kept.
//!
//! A password is kept as the PHC string of its Argon2id hash, with a salt of its own, and nowhere else. The
//! rules ask for length and refuse what everybody tries first; nothing is demanded of the characters.

use super::{Denied, random};
use crate::secret::Secret;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::fmt;

/// Characters.
// # Source
// > "Verifiers SHALL require subscriber-chosen memorized secrets to be at least 8 characters in length. …
// > Verifiers SHOULD permit subscriber-chosen memorized secrets at least 64 characters in length. …
// > Verifiers SHOULD NOT impose other composition rules … for memorized secrets."
// > NIST SP 800-63B, 5.1.1.2; the next revision asks for 15 where a password stands alone
pub const SHORTEST: usize = 12;
/// Bytes. Nobody types more, and hashing it costs nothing yet.
const LONGEST_BYTES: usize = 1024;
/// Characters that are left of a password when what everybody knows is taken out of it.
const OWN: usize = 8;
/// A password of fewer different characters is a pattern.
const DIFFERENT: usize = 5;

/// What passwords are made of that everybody tries first. Longer ones before those that they contain.
// # Source
// > "passwords obtained from previous breach corpuses; dictionary words; repetitive or sequential characters
// > (e.g. 'aaaaaa', '1234abcd'); context-specific words, such as the name of the service, the username, and
// > derivatives thereof."   NIST SP 800-63B, 5.1.1.2
const COMMON: &[&str] = &[
    "trialbridge",
    "1q2w3e4r5t6y",
    "qwertyuiop",
    "1qaz2wsx3edc",
    "zaq12wsx",
    "asdfghjkl",
    "1q2w3e4r",
    "1qaz2wsx",
    "0123456789",
    "1234567890",
    "987654321",
    "123456789",
    "12345678",
    "abcdefghijkl",
    "abcdefgh",
    "administrator",
    "investigator",
    "statistician",
    "coordinator",
    "pharmacist",
    "monitor",
    "password",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "passwort",
    "motdepasse",
    "contrasena",
    "mima",
    "woaini",
    "changeme",
    "change",
    "letmein",
    "welcome",
    "iloveyou",
    "princess",
    "football",
    "baseball",
    "basketball",
    "superman",
    "batman",
    "spiderman",
    "pokemon",
    "starwars",
    "sunshine",
    "dragon",
    "monkey",
    "shadow",
    "master",
    "charlie",
    "michael",
    "jennifer",
    "jordan",
    "hunter",
    "secret",
    "whatever",
    "trustno1",
    "computer",
    "internet",
    "samsung",
    "liverpool",
    "chelsea",
    "arsenal",
    "hospital",
    "doctor",
    "nurse",
    "clinical",
    "trial",
    "admin",
    "login",
    "guest",
    "qwerty",
    "qwertz",
    "azerty",
    "asdfgh",
    "zxcvbnm",
    "zxcvbn",
    "123123",
    "112233",
    "123321",
    "111111",
    "000000",
    "123456",
    "654321",
    "abc123",
    "a1b2c3",
    "summer",
    "winter",
    "spring",
    "autumn",
    "monday",
    "january",
    "december",
    "hello",
    "test",
    "temp",
];

/// Why a password cannot be taken. None of them repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Short,
    Long,
    /// A line end, a tab and the like: it could not be typed again.
    Control,
    /// What is left without common words, patterns and the account's own name is too short.
    Common,
    /// The same as before.
    Same,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Broken::Short => "it has fewer than 12 characters",
            Broken::Long => "it is longer than 1024 bytes",
            Broken::Control => "it holds a control character",
            Broken::Common => {
                "it is little more than a common password, a pattern or the account's name; several words that do \
                 not belong together are good"
            }
            Broken::Same => "it is the password that it takes the place of",
        })
    }
}

/// May this account have this password?
///
/// # Errors
/// [`Broken`]: the first rule that it breaks.
pub fn check(password: &Secret, account: &str) -> Result<(), Broken> {
    let text = password.expose();
    if text.chars().count() < SHORTEST {
        return Err(Broken::Short);
    }
    if text.len() > LONGEST_BYTES {
        return Err(Broken::Long);
    }
    if text.chars().any(char::is_control) {
        return Err(Broken::Control);
    }
    let plain = text.to_lowercase();
    let names: Vec<String> = [account.to_lowercase(), account.to_lowercase().replace('-', "")].into();
    let mut left = plain.clone();
    for known in names.iter().map(String::as_str).filter(|n| n.len() > 2).chain(COMMON.iter().copied()) {
        // A space in its place, so that what is left does not grow together into something else.
        left = left.replace(known, " ");
    }
    let own = left.chars().filter(|c| !c.is_whitespace()).count();
    let different: std::collections::BTreeSet<char> = plain.chars().collect();
    if own < OWN || different.len() < DIFFERENT || is_sequence(&plain) {
        return Err(Broken::Common);
    }
    Ok(())
}

/// Does each character follow the one before it by the same step?
fn is_sequence(text: &str) -> bool {
    let points: Vec<i64> = text.chars().map(|c| i64::from(u32::from(c))).collect();
    let mut steps = points.windows(2).map(|pair| pair[1] - pair[0]);
    let first = steps.next();
    steps.all(|step| Some(step) == first)
}

/// How much work it is to try a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strength {
    pub memory_kib: u32,
    pub passes: u32,
}

impl Strength {
    fn argon2(self) -> Argon2<'static> {
        // The bounds of the configuration lie within what Argon2 takes.
        let params = Params::new(self.memory_kib, self.passes, 1, None).unwrap_or_default();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }

    /// The PHC string of a password, with a salt of its own.
    ///
    /// # Errors
    /// [`Denied::NoEntropy`].
    pub fn hash(self, password: &Secret) -> Result<String, Denied> {
        let salt = random::<16>()?;
        let hash = self.argon2().hash_password_with_salt(password.expose().as_bytes(), &salt);
        // A salt of 16 bytes and a password of at most 1024 are always taken.
        hash.map(|hash: PasswordHash| hash.to_string()).map_err(|_| Denied::Password(Broken::Long))
    }

    /// Is it this password? Without a PHC string the same work is done, and the answer is no.
    pub fn verify(self, password: &Secret, phc: Option<&str>) -> bool {
        let bytes = &password.expose().as_bytes()[..password.expose().len().min(LONGEST_BYTES + 1)];
        match phc.and_then(|phc| PasswordHash::new(phc).ok()) {
            Some(hash) => self.argon2().verify_password(bytes, &hash).is_ok(),
            None => {
                // The hash of nobody, so that the time does not tell that there is nobody.
                let nobody = self.argon2().hash_password_with_salt(bytes, &[0; 16]);
                std::hint::black_box(nobody.is_ok());
                false
            }
        }
    }

    /// Is this stronger than what a stored password was hashed with?
    pub fn exceeds(self, phc: &str) -> bool {
        let Ok(hash) = PasswordHash::new(phc) else { return true };
        Params::try_from(&hash).is_ok_and(|old| old.m_cost() < self.memory_kib || old.t_cost() < self.passes)
    }
}

/// Letters and digits that are not taken for each other; a power of two of them.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// An initial password of 100 bits, in groups that can be read out.
///
/// # Errors
/// [`Denied::NoEntropy`].
pub fn generate() -> Result<Secret, Denied> {
    let mut text = String::with_capacity(23);
    for (i, byte) in random::<20>()?.into_iter().enumerate() {
        if i > 0 && i % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    Ok(Secret::new(text))
}
