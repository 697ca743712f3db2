//! The secret that a server puts into the `Authorization` header of its notifications.
//!
//! It exists in two places: in the Subscription at the server, and for the moment of making it here.
//! What is kept here is its SHA-256, which is enough to compare and useless to whoever reads it: the
//! secret is 256 random bits, so that there is nothing to guess.

use crate::secret::Secret;
use sha2::{Digest, Sha256};

/// A secret and the hash that is kept of it.
#[derive(Debug)]
pub struct HookSecret {
    secret: Secret,
    pub sha256: String,
}

impl HookSecret {
    /// From random bytes.
    pub fn new(random: [u8; 32]) -> HookSecret {
        let text = hex(&random);
        HookSecret { sha256: hash(&text), secret: Secret::new(text) }
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.secret.expose())
    }
}

/// Does the value of an `Authorization` header hold the secret with this hash? Takes as long for a
/// wrong one as for a right one.
pub fn matches(header: Option<&str>, sha256: &str) -> bool {
    let token = header.unwrap_or_default().trim();
    let token = match token.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    };
    let given = hash(token);
    given.len() == sha256.len() && given.bytes().zip(sha256.bytes()).fold(0, |odd, (a, b)| odd | (a ^ b)) == 0
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    crate::protocol::document::hex(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_itself_matches() {
        let secret = HookSecret::new([7; 32]);
        let other = HookSecret::new([8; 32]);
        let token = "07".repeat(32);
        for (header, expected) in [
            (Some(secret.header()), true),
            (Some(format!("bearer {token}")), true),
            (Some(format!("  Bearer   {token} ")), true),
            (Some(token.clone()), false),
            (Some(format!("Basic {token}")), false),
            (Some(format!("Bearer {}", &token[1..])), false),
            (Some(other.header()), false),
            (Some("Bearer ".into()), false),
            (Some(String::new()), false),
            (None, false),
        ] {
            assert_eq!(matches(header.as_deref(), &secret.sha256), expected, "{header:?}");
        }
        assert!(!matches(Some("Bearer x"), ""));
        assert!(!format!("{secret:?}").contains(&token));
    }
}
