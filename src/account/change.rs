//! What administrators do to accounts, and people to their own password. Each change is signed by who makes
//! it, and its audit entry says what was before and what is after.

use super::password::{self, Broken};
use super::{Accounts, Credential, Denied, Intent};
use crate::access::{Permission, Role};
use crate::pipeline::{detail, stamp};
use crate::secret::Secret;
use crate::store::{
    Account, AccountChange, AccountOrigin, Authority, NewAccount, NewAudit, NewSignature, StoreError,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// Somebody who gets an account.
#[derive(Clone, Copy)]
pub struct NewPerson<'p> {
    /// A pseudonymous id such as `dr-li`.
    pub name: &'p str,
    pub printed_name: &'p str,
    pub role: Role,
    pub site: Option<&'p str>,
    /// The initial password; none: one is made up.
    pub password: Option<&'p Secret>,
}

/// Who makes a change.
pub struct By<'b> {
    pub name: &'b str,
    pub credential: Credential<'b>,
}

/// Names that stand in the audit log for nobody.
const RESERVED: [&str; 4] = ["operator", "system", "unknown", "none"];
/// Characters of a name as it is printed.
const LONGEST_PRINTED: usize = 100;

impl Accounts<'_> {
    /// Makes an account. Without `by` it is the first one of the installation, an administrator. Returns the
    /// initial password if it was made up here: it is shown once.
    ///
    /// # Errors
    /// [`Denied`]; in it the conflicts of [`crate::store::Store::put_account`].
    pub fn add(
        &self,
        person: &NewPerson<'_>,
        by: Option<By<'_>>,
        now: DateTime<Utc>,
    ) -> Result<Option<Secret>, Denied> {
        name(person.name)?;
        printed(person.printed_name)?;
        let (password, shown) = self.initial(person.password, person.name)?;
        self.site_fits(person.role, person.site)?;
        let after = described(person.role, person.site, false);
        let record = json!({"account": person.name, "printedName": person.printed_name, "before": null, "after": after});
        let new = NewAccount {
            name: person.name.to_owned(),
            printed_name: person.printed_name.trim().to_owned(),
            role: person.role,
            site: person.site.map(str::to_owned),
            password: Some(self.settings.strength.hash(&password)?),
            must_change: true,
            at: stamp(now),
        };
        let (authority, actor, role) = match by {
            None => (Authority::First, person.name.to_owned(), person.role.name().to_owned()),
            Some(by) => self.authority(by, "account.add", &record, now)?,
        };
        let entry = entry("account.add", actor, role, &record, now);
        self.store.put_account(new, authority, entry)?;
        Ok(shown)
    }

    /// Gives another role or site. An account of the identity provider keeps the role that it gets there.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn set_role(
        &self,
        account: &str,
        role: Role,
        site: Option<&str>,
        by: By<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Denied> {
        self.site_fits(role, site)?;
        let change = AccountChange::Role { role, site: site.map(str::to_owned) };
        self.change(account, "account.role", change, Some(by), now)
    }

    /// Disables an account, or enables it again. Its sessions end at once.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn set_disabled(
        &self,
        account: &str,
        disabled: bool,
        by: By<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Denied> {
        let action = if disabled { "account.disable" } else { "account.enable" };
        self.change(account, action, AccountChange::Disabled(disabled), Some(by), now)
    }

    /// Gives an initial password and forgets failed attempts. Returns it if it was made up here.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn reset(
        &self,
        account: &str,
        password: Option<&Secret>,
        by: By<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<Secret>, Denied> {
        let (password, shown) = self.initial(password, account)?;
        let phc = self.settings.strength.hash(&password)?;
        let change = AccountChange::Password { phc, must_change: true };
        self.change(account, "account.reset", change, Some(by), now)?;
        Ok(shown)
    }

    /// Changes the own password. It is the one thing that an initial password opens.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn change_password(
        &self,
        account: &str,
        old: &Secret,
        new: &Secret,
        now: DateTime<Utc>,
    ) -> Result<(), Denied> {
        password::check(new, account).map_err(Denied::Password)?;
        self.prove(account, old, "password", now)?;
        if old.expose() == new.expose() {
            return Err(Denied::Password(Broken::Same));
        }
        let phc = self.settings.strength.hash(new)?;
        let change = AccountChange::Password { phc, must_change: false };
        self.change(account, "account.password", change, None, now)
    }

    /// Signs for a change, makes it, and writes down what was before it. `by` none: the account itself, which
    /// has proved itself.
    pub(super) fn change(
        &self,
        account: &str,
        action: &str,
        change: AccountChange,
        by: Option<By<'_>>,
        now: DateTime<Utc>,
    ) -> Result<(), Denied> {
        let before = self.store.account(account)?;
        let record = json!({
            "account": account,
            "before": before.as_ref().map(now_is),
            "after": before.as_ref().map(|before| becomes(before, &change)),
        });
        let (authority, actor, role) = match by {
            Some(by) => self.authority(by, action, &record, now)?,
            None => {
                let role = before.as_ref().map_or("none", |b| b.role.name());
                (Authority::Itself, account.to_owned(), role.to_owned())
            }
        };
        let before = before.ok_or_else(|| Denied::Store(StoreError::not_found("such account")))?;
        let theirs = match &change {
            AccountChange::Role { role, .. } => *role != before.role,
            AccountChange::Password { .. } => true,
            AccountChange::Disabled(_) | AccountChange::PrintedName(_) => false,
        };
        if before.origin == AccountOrigin::Oidc && theirs && matches!(authority, Authority::Signed(_)) {
            let text = "role and password of this account are the identity provider's; change them there";
            return Err(Denied::Request(text.into()));
        }
        let entry = entry(action, actor, role, &record, now);
        Ok(self.store.change_account(account, change, &stamp(now), authority, entry)?)
    }

    fn authority(
        &self,
        by: By<'_>,
        meaning: &str,
        record: &Value,
        now: DateTime<Utc>,
    ) -> Result<(Authority, String, String), Denied> {
        let intent =
            Intent { permission: Permission::ManageAccounts, meaning, subject: None, record, shown: None };
        let signature: NewSignature = self.sign(by.name, by.credential, &intent, now)?;
        let (actor, role) = (signature.actor.clone(), signature.role.clone());
        Ok((Authority::Signed(Box::new(signature)), actor, role))
    }

    /// An initial password as given, or made up, which is then shown.
    fn initial(&self, given: Option<&Secret>, account: &str) -> Result<(Secret, Option<Secret>), Denied> {
        match given {
            Some(password) => {
                password::check(password, account).map_err(Denied::Password)?;
                Ok((password.clone(), None))
            }
            None => {
                let made = password::generate()?;
                Ok((made.clone(), Some(made)))
            }
        }
    }

    /// Whoever is bound to a site has one of those that there are.
    pub(super) fn site_fits(&self, role: Role, site: Option<&str>) -> Result<(), Denied> {
        let sites = &self.settings.sites;
        let ids = sites.ids();
        let text = match site {
            Some(_) if ids.is_empty() => "no sites are configured: [[access.site]]".to_owned(),
            Some(site) if !ids.contains(site) => {
                let ids: Vec<&str> = ids.into_iter().collect();
                format!("there is no site `{site}`; configured: {}", ids.join(", "))
            }
            None if sites.bind(role) => {
                let ids: Vec<&str> = ids.into_iter().collect();
                format!("a {role} belongs to a site: --site-id {}", ids.join("|"))
            }
            _ => return Ok(()),
        };
        Err(Denied::Request(text))
    }
}

/// A name that says nothing of the person but who it is.
fn name(text: &str) -> Result<(), Denied> {
    let fits = (2..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits && !RESERVED.contains(&text) {
        return Ok(());
    }
    let text = "a name is a pseudonymous id such as `dr-li`: 2 to 32 small letters, digits and hyphens, a letter \
                first; `operator`, `system`, `unknown` and `none` stand for nobody";
    Err(Denied::Request(text.into()))
}

pub(super) fn printed(text: &str) -> Result<(), Denied> {
    let text = text.trim();
    if !text.is_empty() && text.chars().count() <= LONGEST_PRINTED && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let text = "the printed name is what stands in signatures: 1 to 100 characters on one line";
    Err(Denied::Request(text.into()))
}

fn described(role: Role, site: Option<&str>, disabled: bool) -> Value {
    json!({"role": role, "site": site, "disabled": disabled})
}

fn now_is(account: &Account) -> Value {
    described(account.role, account.site.as_deref(), account.disabled)
}

fn becomes(before: &Account, change: &AccountChange) -> Value {
    let mut after = now_is(before);
    match change {
        AccountChange::Role { role, site } => after = described(*role, site.as_deref(), before.disabled),
        AccountChange::Disabled(disabled) => after["disabled"] = (*disabled).into(),
        AccountChange::PrintedName(printed) => after["printedName"] = printed.clone().into(),
        AccountChange::Password { must_change, .. } => {
            after["password"] = if *must_change { "initial" } else { "changed" }.into();
        }
    }
    after
}

fn entry(action: &str, actor: String, role: String, record: &Value, now: DateTime<Utc>) -> NewAudit {
    let text = |key: &str| record[key].as_str().map_or_else(|| record[key].to_string(), str::to_owned);
    NewAudit {
        at: stamp(now),
        actor,
        role,
        action: action.to_owned(),
        subject: None,
        detail: detail(&[
            ("account", &text("account")),
            ("before", &text("before")),
            ("after", &text("after")),
        ]),
    }
}
