//! What somebody signs here, and the proof that it is they.
//!
//! The record is made from what is stored when it is looked at, and made again when it is signed: if
//! anything of it is another by then, nothing is signed. A session alone signs nothing.

use super::body::Given;
use super::desk::Desk;
use super::session;
use super::trouble::Trouble;
use super::visitor::Visitor;
use crate::access::Permission;
use crate::account::{Accounts, Credential, Denied, Intent};
use crate::draw::Category;
use crate::protocol::Trial;
use crate::store::{Allocation, Decision, NewSignature, Store, StoreError};
use serde_json::{Value, json};

/// What is to be done under the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Randomize,
    Attest { criterion: String, verdict: String, reason: String },
    Consent { given: bool, date: Option<String>, reason: String },
    Unblind { category: Category, reason: String },
}

impl Act {
    /// The code of the meaning, as signatures hold it.
    pub fn meaning(&self) -> &'static str {
        match self {
            Act::Randomize => "randomize",
            Act::Attest { .. } => "attest",
            Act::Consent { given: true, .. } => "consent.record",
            Act::Consent { given: false, .. } => "consent.withdraw",
            Act::Unblind { .. } => "unblind",
        }
    }

    pub fn permission(&self) -> Permission {
        match self {
            Act::Randomize => Permission::Randomize,
            Act::Attest { .. } => Permission::Attest,
            Act::Consent { .. } => Permission::RecordConsent,
            Act::Unblind { .. } => Permission::Unblind,
        }
    }

    /// What the signature says, for the signer.
    fn statement(&self) -> &'static str {
        match self {
            Act::Randomize => "I ask that this participant be randomized on the decision named here.",
            Act::Attest { .. } => "This is my judgement of the criterion, on what is known of this subject.",
            Act::Consent { given: true, .. } => "I saw this participant's signed consent.",
            Act::Consent { given: false, .. } => "This participant's consent is withdrawn.",
            Act::Unblind { .. } => "I ask for the arm of this participant, for the reason named here.",
        }
    }
}

/// The record that is signed: stable text, free of arms. None where there is nothing to be signed.
///
/// # Errors
/// Those of the store.
pub(super) fn record(
    store: &dyn Store,
    trial: &Trial,
    subject: &str,
    act: &Act,
) -> Result<Option<Value>, StoreError> {
    let Some(decision) = store.latest_decision(subject)? else { return Ok(None) };
    let mut record = json!({
        "schema": "trialbridge/signing/v1",
        "meaning": act.meaning(),
        "statement": act.statement(),
        "trial": trial.study.id,
        "definition": trial.hash,
        "subject": subject
    });
    match act {
        Act::Randomize => {
            record["decision"] = decided(&decision);
            let list = store.allocation_list(&trial.study.id)?;
            record["commitment"] = list.map(|list| list.commitment).into();
        }
        Act::Attest { criterion, verdict, reason } => {
            let text = trial.criteria.iter().find(|c| c.id == *criterion).map(|c| c.text.en.clone());
            record["decision"] = decided(&decision);
            record["criterion"] = criterion.clone().into();
            record["text"] = text.into();
            record["verdict"] = verdict.clone().into();
            record["reason"] = reason.clone().into();
        }
        Act::Consent { date, reason, .. } => {
            record["date"] = date.clone().into();
            record["reason"] = reason.clone().into();
        }
        Act::Unblind { category, reason } => {
            let Some(allocation) = store.allocation_of(&trial.study.id, subject)? else { return Ok(None) };
            record["allocation"] = allocated(&allocation);
            record["category"] = category.name().into();
            record["reason"] = reason.clone().into();
        }
    }
    Ok(Some(record))
}

fn decided(d: &Decision) -> Value {
    json!({
        "decision": d.decision, "deciding": d.deciding, "asOf": d.as_of, "decidedAt": d.decided_at,
        "definition": d.definition, "input": d.input
    })
}

fn allocated(a: &Allocation) -> Value {
    json!({"id": a.id, "at": a.at})
}

/// How somebody proves who they are, for one signature.
pub(super) enum Proof {
    Password(Given),
    /// Of the identity provider, given out at its callback for one record.
    Grant(String),
}

impl Proof {
    /// Exactly one of the two.
    pub fn of(password: Option<Given>, grant: Option<String>) -> Result<Proof, Trouble> {
        match (password, grant) {
            (Some(password), None) => Ok(Proof::Password(password)),
            (None, Some(grant)) => Ok(Proof::Grant(grant)),
            _ => Err(Trouble::not_signed()),
        }
    }
}

/// A record, and what was looked at before it is signed.
#[derive(Clone, Copy)]
pub(super) struct ToSign<'a> {
    pub act: &'a Act,
    pub subject: &'a str,
    pub record: &'a Value,
    /// The hash of what was looked at.
    pub shown: Option<&'a str>,
    /// What a grant is used for.
    pub used_for: &'a str,
}

/// SHA-256 of a record, as it is shown and sent back.
pub(super) fn hash(act: &Act, record: &Value) -> String {
    intent(&ToSign { act, subject: "", record, shown: None, used_for: "" }).hash()
}

fn intent<'a>(to_sign: &ToSign<'a>) -> Intent<'a> {
    Intent {
        permission: to_sign.act.permission(),
        meaning: to_sign.act.meaning(),
        subject: Some(to_sign.subject),
        record: to_sign.record,
        shown: to_sign.shown,
    }
}

/// Signs a record as the visitor.
///
/// # Errors
/// [`Denied`]
pub(super) fn sign(
    store: &dyn Store,
    desk: &Desk,
    visitor: &Visitor,
    proof: &Proof,
    to_sign: &ToSign<'_>,
) -> Result<NewSignature, Denied> {
    let accounts = Accounts::new(store, &desk.settings);
    let now = desk.now();
    let credential = match proof {
        Proof::Password(password) => Credential::Password(&password.0),
        Proof::Grant(grant) => {
            let fresh = desk.grants.take(grant, to_sign.used_for, now);
            Credential::Oidc(fresh.ok_or(Denied::Refused)?)
        }
    };
    accounts.sign(visitor.actor(), credential, &intent(to_sign), now)
}

/// Why nothing was signed, for who wanted to.
pub(super) fn refused(denied: Denied) -> Trouble {
    match denied {
        Denied::Refused => Trouble::not_signed(),
        Denied::Changed => Trouble::record_changed(),
        Denied::NotFound => Trouble::no_such_subject(),
        other => session::refused(other),
    }
}
