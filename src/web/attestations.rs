//! A judgement of a criterion, signed.

use super::actions::known;
use super::body::{self, Given};
use super::records;
use super::signing::{self, Act, Proof, ToSign};
use super::state::WebState;
use super::subject;
use super::trouble::Trouble;
use super::visitor::Visitor;
use crate::statement::{self, Wrong};
use crate::store::{Decision, Store, StoreError};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Characters of a reason.
pub(super) const REASON: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attestation {
    /// A criterion such as E4, or a bedside grade such as `ascites`.
    criterion: String,
    verdict: String,
    reason: String,
    /// `sha256` of the record that was looked at, if it was.
    record: Option<String>,
    password: Option<Given>,
    grant: Option<String>,
}

/// `POST …/attestations`
pub(super) async fn record(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Trouble> {
    let subject = subject::key(id)?;
    known(&state, &visitor, &subject, "POST", "/api/v1/subjects/{id}/attestations").await?;
    let Attestation { criterion, verdict, reason, record, password, grant } = body::json(request).await?;
    if reason.chars().count() > REASON {
        return Err(Trouble::no_reason());
    }
    let proof = Proof::of(password, grant)?;
    let act = Act::Attest { criterion, verdict, reason };
    // What one says after another is told from it by its second.
    let _alone = state.desk.alone(&format!("statement {subject}")).await?;
    let turn = state.desk.hashing().await?;
    let desk = state.desk.clone();
    let attested = state
        .read(move |store, trial| Ok(attest(store, trial, &desk, &visitor, (act, proof, record), &subject)))
        .await?;
    drop(turn);
    judged(&attested?)
}

fn attest(
    store: &dyn Store,
    trial: &crate::protocol::Trial,
    desk: &super::desk::Desk,
    visitor: &Visitor,
    (act, proof, shown): (Act, Proof, Option<String>),
    subject: &str,
) -> Result<Decision, Trouble> {
    let failed = |error: StoreError| Trouble::store(&error);
    let Act::Attest { criterion, verdict, reason } = &act else { return Err(Trouble::no_such_meaning()) };
    let at = statement::moment(store, subject, &|| desk.now()).map_err(failed)?;
    let said = (criterion.as_str(), verdict.as_str(), reason.as_str());
    let said = statement::attestation(trial, subject, said, visitor.printed_name(), at).map_err(wrong)?;
    let record = signing::record(store, trial, subject, &act).map_err(failed)?;
    let record = record.ok_or_else(Trouble::no_such_subject)?;
    let to_sign = ToSign { act: &act, subject, record: &record, shown: shown.as_deref(), used_for: "attest" };
    let signature = signing::sign(store, desk, visitor, &proof, &to_sign).map_err(signing::refused)?;
    statement::store(store, said, signature).map_err(failed)?;
    desk.judged(store, subject)
}

/// What of a statement cannot be taken down. The answers that there are may be named: they are the trial's.
pub(super) fn wrong(wrong: Wrong) -> Trouble {
    match wrong {
        Wrong::Criterion(known) => Trouble::no_such_criterion().with("known", known),
        Wrong::Verdict(known) => Trouble::no_such_verdict().with("known", known),
        Wrong::Reason => Trouble::no_reason(),
        Wrong::Date => Trouble::no_such_date(),
    }
}

/// What follows from a statement: the decision as it is now.
pub(super) fn judged(decision: &Decision) -> Result<Response, Trouble> {
    let mut response = records::answer(&json!({
        "schema": "trialbridge/judged/v1", "subject": decision.subject, "decision": decision.decision,
        "deciding": decision.deciding, "asOf": decision.as_of
    }))?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}
