//! Signatures: who signs proves it for this signature, and what is signed is bound by its hash.
//!
//! A session alone signs nothing. The record is hashed as it is stored; a signature names that hash, so that
//! it belongs to no other record.

use super::oidc::Fresh;
use super::{Accounts, Denied, Viewer};
use crate::access::{self, Masking, Permission, Role};
use crate::pipeline::stamp;
use crate::secret::Secret;
use crate::store::{Account, NewSignature, SignatureMethod, StoreError};
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

/// Who signs, proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The account; without accounts the name as it was given.
    pub actor: String,
    pub printed_name: String,
    pub role: Role,
    pub method: SignatureMethod,
}

/// What proves it, for this one signature.
pub enum Credential<'c> {
    Password(&'c Secret),
    /// The identity provider has just asked again. It counts once.
    Oidc(Fresh),
}

/// What is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'i> {
    pub permission: Permission,
    /// A code, such as `randomize`.
    pub meaning: &'i str,
    pub subject: Option<&'i str>,
    /// As it was shown. Free of arms.
    pub record: &'i serde_json::Value,
    /// [`Intent::hash`] of what the signer looked at, where that was in another request.
    pub shown: Option<&'i str>,
}

/// How old an authentication at the identity provider may be.
const FRESH: TimeDelta = TimeDelta::seconds(120);
/// How far its clock may be ahead of ours.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);

impl Intent<'_> {
    /// The record as it is stored and hashed.
    pub fn text(&self) -> String {
        self.record.to_string()
    }

    /// SHA-256 of the record, 64 hexadecimal digits: what a page shows beside it and sends back with the
    /// signature.
    pub fn hash(&self) -> String {
        super::hex(&Sha256::digest(self.text().as_bytes()))
    }
}

impl Signer {
    /// The signature of this signer under this record.
    pub fn sign(self, intent: &Intent<'_>, now: DateTime<Utc>) -> NewSignature {
        NewSignature {
            actor: self.actor,
            printed_name: self.printed_name,
            role: self.role.name().to_owned(),
            meaning: intent.meaning.to_owned(),
            subject: intent.subject.map(str::to_owned),
            record: intent.text(),
            method: self.method,
            at: stamp(now),
        }
    }
}

impl Accounts<'_> {
    /// Proves who signs, looks whether they may, and makes the signature. It is stored with its action.
    ///
    /// # Errors
    /// [`Denied`]; every refusal of a person is in the audit log.
    // # Source
    // > "When an individual executes one or more signings not performed during a single, continuous period of
    // > controlled system access, each signing shall be executed using all of the electronic signature
    // > components."   21 CFR 11.200(a)(1)(ii); here every signing is
    pub fn sign(
        &self,
        name: &str,
        credential: Credential<'_>,
        intent: &Intent<'_>,
        now: DateTime<Utc>,
    ) -> Result<NewSignature, Denied> {
        let purpose = format!("sign {}", intent.meaning);
        let (account, method) = match credential {
            Credential::Password(password) => {
                (self.prove(name, password, &purpose, now)?, SignatureMethod::Password)
            }
            Credential::Oidc(fresh) => (self.again(name, &fresh, intent, now)?, SignatureMethod::Oidc),
        };
        if account.must_change {
            return Err(Denied::MustChange);
        }
        let refuse = |reason| {
            let at = stamp(now);
            self.store.append_audit(self.refusal(Some(&account), "", &purpose, reason, &at))
        };
        // No signature depends on the masking, which widens only who sees arms.
        if !access::may(account.role, intent.permission, &Masking::strictest()) {
            refuse("role")?;
            return Err(Denied::Refused);
        }
        if let Some(subject) = intent.subject
            && !self.sees(&Viewer::from(&account), subject)?
        {
            refuse("site")?;
            return Err(Denied::NotFound);
        }
        if intent.shown.is_some_and(|shown| shown != intent.hash()) {
            refuse("record-changed")?;
            return Err(Denied::Changed);
        }
        let Account { name, printed_name, role, .. } = account;
        Ok(Signer { actor: name, printed_name, role, method }.sign(intent, now))
    }

    /// Is it this account's password, and may it do this? Counts nothing and writes nothing: for a store that
    /// is only read.
    ///
    /// # Errors
    /// The store's.
    pub fn holds(&self, name: &str, password: &Secret, permission: Permission) -> Result<bool, StoreError> {
        let stored = self.store.password(name)?;
        let holds = self.settings.strength.verify(password, stored.as_deref());
        let account = self.store.account(name)?.filter(|a| holds && !a.disabled && !a.must_change);
        Ok(account.is_some_and(|a| access::may(a.role, permission, &Masking::strictest())))
    }

    /// Is this authentication one of this account, of now, and for this record?
    fn again(
        &self,
        name: &str,
        fresh: &Fresh,
        intent: &Intent<'_>,
        now: DateTime<Utc>,
    ) -> Result<Account, Denied> {
        let account = self.store.account(name)?;
        let reason = match &account {
            None => "unknown",
            Some(a) if a.disabled => "disabled",
            Some(a) if a.name != fresh.account => "another-account",
            _ if now - fresh.at > FRESH || fresh.at - now > LEEWAY => "not-fresh",
            _ if fresh.record_sha256 != intent.hash() || fresh.meaning != intent.meaning => "another-record",
            Some(_) => "",
        };
        if let Some(account) = account.clone().filter(|_| reason.is_empty()) {
            return Ok(account);
        }
        let purpose = format!("sign {}", intent.meaning);
        let key = self.key(name)?;
        self.store.append_audit(self.refusal(account.as_ref(), &key, &purpose, reason, &stamp(now)))?;
        Err(Denied::Refused)
    }
}
