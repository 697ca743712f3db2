//! Who is asking, as the handlers see it: somebody who is signed in, or the operator of an installation
//! without accounts.
//!
//! Whoever may not see a subject costs the same work and gets the same answer as whoever asks for one that
//! does not exist.

use super::state::WebState;
use super::trouble::Trouble;
use crate::access::{Masking, Permission, Role, may};
use crate::account::{self, Accounts, Viewer};
use crate::pipeline::{detail, stamp};
use crate::protocol::Trial;
use crate::secret::Secret;
use crate::store::{Allocation, Decision, NewAudit, Store, StoreError};
use std::collections::BTreeSet;

/// Nobody sees subjects of another site, or what their role is not for.
pub(super) struct Visitor {
    /// None: the operator.
    signed_in: Option<SignedIn>,
}

struct SignedIn {
    viewer: Viewer,
    /// Of the session; for its end alone.
    session: Secret,
    /// What forms and programs show.
    token: String,
}

/// The name that stands for an installation without accounts.
const OPERATOR: &str = "operator";

impl Visitor {
    pub fn operator() -> Visitor {
        Visitor { signed_in: None }
    }

    pub fn role(&self) -> Role {
        self.signed_in.as_ref().map_or(Role::Operator, |s| s.viewer.role)
    }

    /// The account.
    pub fn actor(&self) -> &str {
        self.signed_in.as_ref().map_or(OPERATOR, |s| &s.viewer.account)
    }

    pub fn printed_name(&self) -> &str {
        self.signed_in.as_ref().map_or(OPERATOR, |s| &s.viewer.printed_name)
    }

    pub fn viewer(&self) -> Option<&Viewer> {
        self.signed_in.as_ref().map(|s| &s.viewer)
    }

    pub fn session(&self) -> Option<&Secret> {
        self.signed_in.as_ref().map(|s| &s.session)
    }

    /// What a form of this session carries; empty for the operator, who has none.
    pub fn token(&self) -> &str {
        self.signed_in.as_ref().map_or("", |s| &s.token)
    }

    pub fn may(&self, permission: Permission, masking: &Masking) -> bool {
        may(self.role(), permission, masking)
    }

    /// May the visitor know of this subject? Looks it up whatever the answer.
    pub fn sees(&self, accounts: &Accounts<'_>, subject: &str) -> Result<bool, StoreError> {
        match self.viewer() {
            None => Ok(true),
            Some(viewer) => accounts.sees(viewer, subject),
        }
    }

    /// The subjects of these that the visitor may know of, in the same order.
    pub fn seen(&self, accounts: &Accounts<'_>, subjects: Vec<String>) -> Result<Vec<String>, StoreError> {
        match self.viewer() {
            None => Ok(subjects),
            Some(viewer) => accounts.seen_by(viewer, subjects),
        }
    }

    /// Writes down that something was asked for and not given. The operator sees everything, so that what
    /// is not given does not exist.
    pub async fn denied(
        &self,
        state: &WebState,
        method: &'static str,
        route: &'static str,
        subject: Option<&str>,
    ) -> Result<(), Trouble> {
        if self.signed_in.is_none() {
            return Ok(());
        }
        let entry = NewAudit {
            at: stamp(state.desk.now()),
            actor: self.actor().to_owned(),
            role: self.role().name().to_owned(),
            action: "access.denied".into(),
            subject: subject.filter(|key| is_key(key)).map(str::to_owned),
            detail: detail(&[("method", method), ("route", route)]),
        };
        state.read(move |store, _| store.append_audit(entry).map(drop)).await
    }
}

/// Are there accounts? From the first one on nobody sees anything without signing in.
pub(super) async fn exist(state: &WebState) -> Result<bool, Trouble> {
    let desk = state.desk.clone();
    state.read(move |store, _| Accounts::new(store, &desk.settings).exist()).await
}

/// Who holds the token of a session, if it lives.
pub(super) async fn of(state: &WebState, token: String) -> Result<Option<Visitor>, Trouble> {
    let desk = state.desk.clone();
    let found = state
        .read(move |store, _| {
            let viewer = Accounts::new(store, &desk.settings).viewer(&token, desk.now())?;
            Ok(viewer.map(|viewer| (viewer, token)))
        })
        .await?;
    Ok(found.map(|(viewer, session)| {
        let token = account::csrf(&session);
        Visitor { signed_in: Some(SignedIn { viewer, session: Secret::new(session), token }) }
    }))
}

/// Only a key that somebody could have is written down.
fn is_key(subject: &str) -> bool {
    subject.strip_prefix("Patient/").is_some_and(crate::fhir::reference::is_id)
}

/// The subject that an address names, if it is one that can be.
pub(super) fn subject_in(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/api/v1").unwrap_or(path).strip_prefix("/subjects/")?;
    let id = rest.split('/').next().unwrap_or_default();
    crate::fhir::reference::is_id(id).then(|| format!("Patient/{id}"))
}

/// A subject's latest decision, if the visitor may know of the subject.
pub(super) fn decision(
    store: &dyn Store,
    accounts: &Accounts<'_>,
    visitor: &Visitor,
    subject: &str,
) -> Result<Option<Decision>, StoreError> {
    let latest = store.latest_decision(subject)?;
    let sees = visitor.sees(accounts, subject)?;
    Ok(latest.filter(|_| sees))
}

/// The latest decision of every subject that the visitor may know of, ordered by subject.
pub(super) fn decisions(
    store: &dyn Store,
    accounts: &Accounts<'_>,
    visitor: &Visitor,
) -> Result<Vec<Decision>, StoreError> {
    let mut all = store.latest_decisions()?;
    let subjects = all.iter().map(|d| d.subject.clone()).collect();
    let seen: BTreeSet<String> = visitor.seen(accounts, subjects)?.into_iter().collect();
    all.retain(|d| seen.contains(&d.subject));
    Ok(all)
}

/// The allocations of those subjects that the visitor may know of, in the order of the draws.
pub(super) fn allocations(
    store: &dyn Store,
    accounts: &Accounts<'_>,
    trial: &Trial,
    visitor: &Visitor,
) -> Result<Vec<Allocation>, StoreError> {
    let mut all = store.allocations(&trial.study.id)?;
    let subjects = all.iter().map(|a| a.subject.clone()).collect();
    let seen: BTreeSet<String> = visitor.seen(accounts, subjects)?.into_iter().collect();
    all.retain(|a| seen.contains(&a.subject));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_is_taken_out_of_an_address() {
        for (path, subject) in [
            ("/subjects/p-1", Some("Patient/p-1")),
            ("/api/v1/subjects/p-1/randomize", Some("Patient/p-1")),
            ("/api/v1/subjects/%0a/randomize", None),
            ("/api/v1/subjects", None),
            ("/api/v1/audit", None),
            ("/subjects/", None),
        ] {
            assert_eq!(subject_in(path).as_deref(), subject, "{path}");
        }
    }
}
