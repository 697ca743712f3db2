//! Grants: that the identity provider has just asked somebody again, kept until it is used for the one
//! record that it was asked for. In memory only; each is used once.

use super::trouble::Trouble;
use crate::account::oidc::Fresh;
use crate::protocol::document::hex;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Whether it is still fresh enough to sign is decided where it is used; after this it is forgotten.
const KEPT: TimeDelta = TimeDelta::minutes(10);
/// Nobody signs more in ten minutes.
const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct Grants(Mutex<HashMap<[u8; 32], Held>>);

struct Held {
    /// None once it was used.
    fresh: Option<Fresh>,
    /// What it was used for.
    used_for: String,
    until: DateTime<Utc>,
}

impl Grants {
    /// Keeps one, and returns what it is called for by.
    pub fn give(&self, fresh: Fresh, now: DateTime<Utc>) -> Result<String, Trouble> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(|_| Trouble::busy())?;
        let grant = hex(&bytes);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, held| held.until > now);
        if held.len() >= MOST {
            return Err(Trouble::busy());
        }
        let one = Held { fresh: Some(fresh), used_for: String::new(), until: now + KEPT };
        held.insert(hashed(&grant), one);
        Ok(grant)
    }

    /// Takes one, for this use and no other.
    pub fn take(&self, grant: &str, used_for: &str, now: DateTime<Utc>) -> Option<Fresh> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.get_mut(&hashed(grant)).filter(|held| held.until > now)?;
        let fresh = held.fresh.take()?;
        used_for.clone_into(&mut held.used_for);
        Some(fresh)
    }

    /// Was this one used for just that? Then whoever has it may ask again how it ended.
    pub fn was_for(&self, grant: &str, used_for: &str, now: DateTime<Utc>) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.get(&hashed(grant)).filter(|held| held.until > now && held.fresh.is_none());
        found.is_some_and(|held| held.used_for == used_for)
    }
}

/// Looked up by its hash, so that how long it takes says nothing of a grant.
fn hashed(grant: &str) -> [u8; 32] {
    Sha256::digest(grant.as_bytes()).into()
}
