//! Who is who: accounts, proof of a password, sessions, and signatures that a person makes.
//!
//! The command line, the API and the pages ask here, so that there is one answer. Time is an argument; only
//! salts, tokens and initial passwords are drawn here. What a role may do stands in [`crate::access`].
//!
//! Never: a password or a token in an error, a log line, the audit log or the database; an answer that tells
//! which names exist, or which of name, password and role was wrong.
//!
//! Invariant: an attempt is counted before its proof is looked at, and whoever is refused has cost the same
//! work, whether the name exists or not.

mod change;
pub mod oidc;
pub mod password;
mod session;
mod sign;
mod site;
#[cfg(test)]
mod tests;

pub use change::{By, NewPerson};
pub use session::{LoggedIn, csrf, csrf_holds};
pub use sign::{Credential, Intent, Signer};
pub use site::Sites;

use crate::access::Role;
use crate::config::access::Access;
use crate::pipeline::{detail, stamp};
use crate::secret::Secret;
use crate::store::{
    Account, AccountOrigin, Attempt, AttemptEnd, Claimant, NewAudit, SessionLimits, Store, StoreError,
};
use chrono::{DateTime, TimeDelta, Utc};
use password::{Broken, Strength};
use sha2::{Digest, Sha256};

/// Where the salt stands that names are hashed with which nobody has.
const SALT: &str = "account.salt";

/// What the configuration says of accounts.
#[derive(Clone, Debug)]
pub struct Settings {
    pub strength: Strength,
    pub limits: SessionLimits,
    pub sites: Sites,
}

impl From<&Access> for Settings {
    fn from(access: &Access) -> Settings {
        let minutes = |n: u32| TimeDelta::minutes(n.into());
        Settings {
            strength: Strength { memory_kib: access.password_memory_kib, passes: access.password_passes },
            limits: SessionLimits {
                idle: minutes(access.idle_minutes),
                absolute: minutes(access.absolute_minutes),
            },
            sites: Sites::new(access.site.iter().map(|s| (s.id.as_str(), s.sources.as_slice()))),
        }
    }
}

/// The accounts of one installation.
pub struct Accounts<'a> {
    store: &'a dyn Store,
    settings: &'a Settings,
}

/// Why somebody was not let in, or something was not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Which of them it was stays in the audit log.
    #[error("the name, the password or the role does not permit it, or the account is disabled")]
    Refused,
    /// The same for names that nobody has.
    #[error("too many failed attempts")]
    Wait {
        /// Seconds; none: until an administrator resets the account.
        seconds: Option<i64>,
    },
    /// The password was right, and it is an initial one.
    #[error("the initial password has to be changed first")]
    MustChange,
    /// Of another site, or not there: nobody is told which.
    #[error("there is no such subject")]
    NotFound,
    /// The record is another one than was shown.
    #[error("what was shown has changed since; nothing was signed")]
    Changed,
    #[error("the new password cannot be taken: {0}")]
    Password(Broken),
    /// The request itself: a name, a printed name or a site that cannot be.
    #[error("{0}")]
    Request(String),
    #[error("the machine gives no random bytes; nothing was done")]
    NoEntropy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Somebody who is signed in, and as what. What they may see follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    pub account: String,
    pub printed_name: String,
    pub role: Role,
    /// None: bound to no site.
    pub site: Option<String>,
}

impl From<&Account> for Viewer {
    fn from(account: &Account) -> Viewer {
        Viewer {
            account: account.name.clone(),
            printed_name: account.printed_name.clone(),
            role: account.role,
            site: account.site.clone(),
        }
    }
}

impl<'a> Accounts<'a> {
    pub fn new(store: &'a dyn Store, settings: &'a Settings) -> Accounts<'a> {
        Accounts { store, settings }
    }

    /// Whether there are accounts: from the first one on, names are proved.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn exist(&self) -> Result<bool, StoreError> {
        Ok(!self.store.accounts()?.is_empty())
    }

    /// May this viewer know that the subject exists?
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sees(&self, viewer: &Viewer, subject: &str) -> Result<bool, StoreError> {
        let sites = &self.settings.sites;
        if !sites.bind(viewer.role) {
            return Ok(true);
        }
        let sources = self.store.sources(Some(subject))?;
        Ok(sites.shows(
            viewer.role,
            viewer.site.as_deref(),
            sources.iter().map(|(_, source)| source.as_str()),
        ))
    }

    /// The subjects of these that the viewer may know of, in the same order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn seen_by(&self, viewer: &Viewer, subjects: Vec<String>) -> Result<Vec<String>, StoreError> {
        let sites = &self.settings.sites;
        if !sites.bind(viewer.role) {
            return Ok(subjects);
        }
        let mut of: std::collections::BTreeMap<String, Vec<String>> = Default::default();
        for (subject, source) in self.store.sources(None)? {
            of.entry(subject).or_default().push(source);
        }
        let shown = |subject: &String| {
            let sources = of.get(subject).map_or(&[][..], Vec::as_slice);
            sites.shows(viewer.role, viewer.site.as_deref(), sources.iter().map(String::as_str))
        };
        Ok(subjects.into_iter().filter(shown).collect())
    }

    /// Proves a name by its password. `purpose` is for the audit log: `sign-in`, or what was to be signed.
    fn prove(
        &self,
        name: &str,
        password: &Secret,
        purpose: &str,
        now: DateTime<Utc>,
    ) -> Result<Account, Denied> {
        let (at, key) = (stamp(now), self.key(name)?);
        let claimant = match self.store.begin_attempt(name, &key, &at)? {
            Attempt::Barred { wait } => {
                tracing::warn!(
                    event = "account.barred",
                    purpose,
                    "an attempt came while its name has to wait"
                );
                // The last begun second counts as a whole one.
                return Err(Denied::Wait { seconds: wait.map(|w| w.num_seconds().max(0) + 1) });
            }
            Attempt::Open(claimant) => claimant,
        };
        let phc = claimant.as_ref().and_then(|c| c.password.as_deref());
        let holds = self.settings.strength.verify(password, phc);
        match claimant {
            Some(Claimant { account, password: Some(phc) }) if holds && !account.disabled => {
                let rehashed = match self.settings.strength.exceeds(&phc) {
                    true => Some(self.settings.strength.hash(password)?),
                    false => None,
                };
                self.store.end_attempt(name, AttemptEnd::Passed { rehashed }, None)?;
                Ok(account)
            }
            other => {
                let reason = match &other {
                    None => "unknown",
                    Some(c) if c.account.origin == AccountOrigin::Oidc => "of-the-identity-provider",
                    Some(c) if c.account.disabled => "disabled",
                    Some(_) => "password",
                };
                let account = other.map(|c| c.account);
                let entry = self.refusal(account.as_ref(), &key, purpose, reason, &at);
                self.store.end_attempt(name, AttemptEnd::Failed, Some(entry))?;
                Err(Denied::Refused)
            }
        }
    }

    /// The audit entry of a refusal. A name that nobody has is not repeated: it may be a password that was
    /// typed into the wrong field.
    fn refusal(
        &self,
        account: Option<&Account>,
        key: &str,
        purpose: &str,
        reason: &str,
        at: &str,
    ) -> NewAudit {
        NewAudit {
            at: at.to_owned(),
            actor: account.map_or_else(|| format!("unknown:{}", &key[..16]), |a| a.name.clone()),
            role: account.map_or("none", |a| a.role.name()).to_owned(),
            action: "account.refused".into(),
            subject: None,
            detail: detail(&[("purpose", purpose), ("reason", reason)]),
        }
    }

    /// What a name is counted under that nobody has.
    fn key(&self, name: &str) -> Result<String, Denied> {
        let salt = match self.store.meta(SALT)? {
            Some(salt) => salt,
            None => {
                let salt = hex(&random::<32>()?);
                self.store.set_meta(SALT, &salt)?;
                salt
            }
        };
        Ok(sha256(&["trialbridge name", &salt, name]))
    }
}

/// SHA-256 over texts of which none can run into the next.
fn sha256(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    crate::protocol::document::hex(bytes)
}

fn random<const N: usize>() -> Result<[u8; N], Denied> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|_| Denied::NoEntropy)?;
    Ok(bytes)
}
