//! The rows of accounts and sessions: who may work here, and who is signed in.
//!
//! Neither a password nor a token is ever among them: a password is kept as the PHC string of its Argon2id
//! hash, a session's token as its SHA-256.

use super::rows::{NewAudit, NewSignature, Word, words};
use crate::access::Role;
use chrono::TimeDelta;
use std::fmt;

words! {
    /// Who asks for the proof of who somebody is.
    AccountOrigin {
        /// This program, by a password.
        Local = "local",
        /// The hospital's identity provider.
        Oidc = "oidc",
    }
}

/// What an account begins as.
#[derive(Clone)]
pub struct NewAccount {
    pub name: String,
    pub printed_name: String,
    pub role: Role,
    pub site: Option<String>,
    /// PHC string, for a local account; none for one of the identity provider.
    pub password: Option<String>,
    /// The password is an initial one: it opens nothing but its own change.
    pub must_change: bool,
    pub at: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub printed_name: String,
    pub role: Role,
    pub site: Option<String>,
    pub origin: AccountOrigin,
    pub must_change: bool,
    pub disabled: bool,
    /// Failed attempts since the last success.
    pub failures: u32,
    pub created_at: String,
    pub changed_at: String,
}

/// What becomes different. Whatever it is, the account's sessions end with it.
#[derive(Clone)]
pub enum AccountChange {
    Role {
        role: Role,
        site: Option<String>,
    },
    PrintedName(String),
    Disabled(bool),
    /// Forgets the failed attempts as well.
    Password {
        phc: String,
        must_change: bool,
    },
}

/// Under whose authority an account is made or changed.
#[derive(Clone)]
pub enum Authority {
    /// Nobody's: the first account of the installation, which is an administrator.
    First,
    /// An administrator who signed for it.
    Signed(Box<NewSignature>),
    /// The account itself, which has proved its password, or its identity provider.
    Itself,
}

/// An attempt to prove who somebody is. It is counted as failed when it begins, so that attempts made at
/// the same time cannot share one count.
#[derive(Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The proof may be looked at. None: nobody has this name.
    Open(Option<Claimant>),
    /// Not now, whatever the proof.
    Barred {
        /// None: until an administrator resets the account.
        wait: Option<TimeDelta>,
    },
}

/// Whose name was given, and what proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Claimant {
    pub account: Account,
    /// PHC string.
    pub password: Option<String>,
}

/// How an attempt ended.
#[derive(Clone)]
pub enum AttemptEnd {
    /// Its count stays.
    Failed,
    /// Forgets the failed ones; `rehashed`: the same password under stronger parameters.
    Passed { rehashed: Option<String> },
}

#[derive(Clone)]
pub struct NewSession {
    pub token_sha256: String,
    pub account: String,
    pub at: String,
    /// The session that this one takes the place of.
    pub replaces: Option<String>,
}

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without a request.
    pub idle: TimeDelta,
    /// In all.
    pub absolute: TimeDelta,
}

/// A session that lives, without its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub account: String,
    pub created_at: String,
    pub seen_at: String,
}

/// A question to the identity provider.
#[derive(Clone, PartialEq, Eq)]
pub struct OidcRequest {
    pub state_sha256: String,
    pub nonce: String,
    pub verifier: String,
    /// JSON.
    pub purpose: String,
    pub at: String,
}

/// A clock that went back, as the accounts see it: whoever was signed in is not any more.
pub(super) fn all_ended(before: &str, after: &str) -> NewAudit {
    let detail = serde_json::json!({"reason": "clock", "before": before, "after": after});
    NewAudit {
        at: after.to_owned(),
        actor: "trialbridge".into(),
        role: "service".into(),
        action: "account.all-signed-out".into(),
        subject: None,
        detail: detail.to_string(),
    }
}
