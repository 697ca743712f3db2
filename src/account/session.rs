//! Sessions: a random token that the browser holds and whose hash is stored, and nothing else.
//!
//! The token changes with every sign-in, and is dead at once when somebody signs out, is disabled, gets
//! another role or another password. How long it lives at most stands in [`super::Settings::limits`].

use super::{Accounts, Denied, Viewer, hex, random, sha256};
use crate::pipeline::{detail, stamp};
use crate::secret::Secret;
use crate::store::{Account, NewAudit, NewSession, StoreError};
use chrono::{DateTime, Utc};

/// Somebody has just signed in.
#[derive(Debug)]
pub struct LoggedIn {
    pub viewer: Viewer,
    /// 64 hexadecimal digits, for the cookie (`Secure; HttpOnly; SameSite=Strict`) and nowhere else.
    pub token: Secret,
}

impl Accounts<'_> {
    /// Signs somebody in. `replaces` is the token that the browser came with, if any: it is dead afterwards,
    /// whoever it was of.
    ///
    /// # Errors
    /// [`Denied::Refused`], [`Denied::Wait`]; [`Denied::MustChange`] where the password is right and an
    /// initial one: [`Accounts::change_password`] takes it.
    pub fn log_in(
        &self,
        name: &str,
        password: &Secret,
        replaces: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<LoggedIn, Denied> {
        let account = self.prove(name, password, "sign-in", now)?;
        if account.must_change {
            return Err(Denied::MustChange);
        }
        self.open(&account, "password", replaces, now)
    }

    /// Opens a session for somebody who has proved who they are.
    pub(super) fn open(
        &self,
        account: &Account,
        method: &str,
        replaces: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<LoggedIn, Denied> {
        let token = Secret::new(hex(&random::<32>()?));
        let at = stamp(now);
        let session = NewSession {
            token_sha256: hashed(token.expose()),
            account: account.name.clone(),
            at: at.clone(),
            replaces: replaces.map(hashed),
        };
        let entry = NewAudit {
            at,
            actor: account.name.clone(),
            role: account.role.name().to_owned(),
            action: "account.sign-in".into(),
            subject: None,
            detail: detail(&[("method", method)]),
        };
        self.store.open_session(session, entry)?;
        Ok(LoggedIn { viewer: Viewer::from(account), token })
    }

    /// Who holds this token, if its session lives.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn viewer(&self, token: &str, now: DateTime<Utc>) -> Result<Option<Viewer>, StoreError> {
        let found = self.store.see_session(&hashed(token), &stamp(now), self.settings.limits)?;
        Ok(found.as_ref().map(Viewer::from))
    }

    /// Ends a session. One that has ended already is not an error.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log_out(&self, token: &str, viewer: &Viewer, now: DateTime<Utc>) -> Result<(), StoreError> {
        let entry = NewAudit {
            at: stamp(now),
            actor: viewer.account.clone(),
            role: viewer.role.name().to_owned(),
            action: "account.sign-out".into(),
            subject: None,
            detail: detail(&[]),
        };
        self.store.end_session(&hashed(token), entry).map(drop)
    }
}

fn hashed(token: &str) -> String {
    sha256(&["trialbridge session", token])
}

/// What a form of this session carries. It is worked out from the token, so that it lives as long, and it
/// does not tell the token.
pub fn csrf(token: &str) -> String {
    sha256(&["trialbridge form", token])
}

/// Is this what a form of this session carries? Takes the same time wherever they differ.
pub fn csrf_holds(token: &str, given: &str) -> bool {
    let expected = csrf(token);
    let differ = expected.bytes().zip(given.bytes()).fold(0u8, |found, (a, b)| found | (a ^ b));
    expected.len() == given.len() && std::hint::black_box(differ) == 0
}
