//! That a signed consent was seen, or was withdrawn. Signed.

use super::actions::known;
use super::attestations::{REASON, judged, wrong};
use super::body::{self, Given};
use super::signing::{self, Act, Proof, ToSign};
use super::state::WebState;
use super::subject;
use super::trouble::Trouble;
use super::visitor::Visitor;
use crate::protocol::Trial;
use crate::statement;
use crate::store::{Decision, Store, StoreError};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Consent {
    Given,
    Withdrawn,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    consent: Consent,
    /// When it was signed or withdrawn; without one, now.
    date: Option<String>,
    #[serde(default)]
    reason: String,
    /// `sha256` of the record that was looked at, if it was.
    record: Option<String>,
    password: Option<Given>,
    grant: Option<String>,
}

/// `POST …/consent`
pub(super) async fn record(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Trouble> {
    let subject = subject::key(id)?;
    known(&state, &visitor, &subject, "POST", "/api/v1/subjects/{id}/consent").await?;
    let Said { consent, date, reason, record, password, grant } = body::json(request).await?;
    if reason.chars().count() > REASON {
        return Err(Trouble::no_reason());
    }
    let proof = Proof::of(password, grant)?;
    let act = Act::Consent { given: consent == Consent::Given, date, reason };
    // What one says after another is told from it by its second.
    let _alone = state.desk.alone(&format!("statement {subject}")).await?;
    let turn = state.desk.hashing().await?;
    let desk = state.desk.clone();
    let recorded = state
        .read(move |store, trial| Ok(take(store, trial, &desk, &visitor, (act, proof, record), &subject)))
        .await?;
    drop(turn);
    judged(&recorded?)
}

fn take(
    store: &dyn Store,
    trial: &Trial,
    desk: &super::desk::Desk,
    visitor: &Visitor,
    (act, proof, shown): (Act, Proof, Option<String>),
    subject: &str,
) -> Result<Decision, Trouble> {
    let failed = |error: StoreError| Trouble::store(&error);
    let Act::Consent { given, date, reason } = &act else { return Err(Trouble::no_such_meaning()) };
    let at = statement::moment(store, subject, &|| desk.now()).map_err(failed)?;
    let about = (date.as_deref(), reason.as_str());
    let said = statement::consent(trial, subject, *given, about, at).map_err(wrong)?;
    let record = signing::record(store, trial, subject, &act).map_err(failed)?;
    let record = record.ok_or_else(Trouble::no_such_subject)?;
    let to_sign =
        ToSign { act: &act, subject, record: &record, shown: shown.as_deref(), used_for: "consent" };
    let signature = signing::sign(store, desk, visitor, &proof, &to_sign).map_err(signing::refused)?;
    statement::store(store, said, signature).map_err(failed)?;
    desk.judged(store, subject)
}
