//! What a person states of a subject, signed: a judgement of a criterion, a consent that was seen or withdrawn.

use super::actions::known;
use super::body::{self, Given};
use super::desk::Desk;
use super::records;
use super::signing::{self, Act, Proof, ToSign};
use super::state::WebState;
use super::subject;
use super::trouble::Trouble;
use super::visitor::Visitor;
use crate::protocol::Trial;
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
const REASON: usize = 1000;

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
pub(super) async fn attestation(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Trouble> {
    let subject = subject::key(id)?;
    known(&state, &visitor, &subject, "POST", "/api/v1/subjects/{id}/attestations").await?;
    let Attestation { criterion, verdict, reason, record, password, grant } = body::json(request).await?;
    of_length(&reason)?;
    let proof = Proof::of(password, grant)?;
    let act = Act::Attest { criterion, verdict, reason };
    stated(&state, visitor, Stated { subject, act, proof, shown: record }).await
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Given,
    Withdrawn,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    consent: Word,
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
pub(super) async fn consent(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Trouble> {
    let subject = subject::key(id)?;
    known(&state, &visitor, &subject, "POST", "/api/v1/subjects/{id}/consent").await?;
    let Consent { consent, date, reason, record, password, grant } = body::json(request).await?;
    of_length(&reason)?;
    let proof = Proof::of(password, grant)?;
    let act = Act::Consent { given: consent == Word::Given, date, reason };
    stated(&state, visitor, Stated { subject, act, proof, shown: record }).await
}

fn of_length(reason: &str) -> Result<(), Trouble> {
    if reason.chars().count() > REASON { Err(Trouble::no_reason()) } else { Ok(()) }
}

struct Stated {
    subject: String,
    act: Act,
    proof: Proof,
    /// `sha256` of the record that was looked at.
    shown: Option<String>,
}

/// Takes a statement down, and tells the decision as it is now.
async fn stated(state: &WebState, visitor: Arc<Visitor>, said: Stated) -> Result<Response, Trouble> {
    // What one says after another is told from it by its second.
    let _alone = state.desk.alone(&format!("statement {}", said.subject)).await?;
    let turn = state.desk.hashing().await?;
    let desk = state.desk.clone();
    let decision = state.read(move |store, trial| Ok(take(store, trial, &desk, &visitor, &said))).await?;
    drop(turn);
    let decision = decision?;
    let mut response = records::answer(&json!({
        "schema": "trialbridge/judged/v1", "subject": decision.subject, "decision": decision.decision,
        "deciding": decision.deciding, "asOf": decision.as_of
    }))?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn take(
    store: &dyn Store,
    trial: &Trial,
    desk: &Desk,
    visitor: &Visitor,
    Stated { subject, act, proof, shown }: &Stated,
) -> Result<Decision, Trouble> {
    let failed = |error: StoreError| Trouble::store(&error);
    let at = statement::moment(store, subject, &|| desk.now()).map_err(failed)?;
    let (said, used_for) = match act {
        Act::Attest { criterion, verdict, reason } => {
            let said = (criterion.as_str(), verdict.as_str(), reason.as_str());
            (statement::attestation(trial, subject, said, visitor.printed_name(), at), "attest")
        }
        Act::Consent { given, date, reason } => {
            let about = (date.as_deref(), reason.as_str());
            (statement::consent(trial, subject, *given, about, at), "consent")
        }
        _ => return Err(Trouble::no_such_meaning()),
    };
    let said = said.map_err(wrong)?;
    let record = signing::record(store, trial, subject, act).map_err(failed)?;
    let record = record.ok_or_else(Trouble::no_such_subject)?;
    let to_sign = ToSign { act, subject, record: &record, shown: shown.as_deref(), used_for };
    let signature = signing::sign(store, desk, visitor, proof, &to_sign).map_err(signing::refused)?;
    statement::store(store, said, signature).map_err(failed)?;
    desk.judged(store, subject)
}

/// What of a statement cannot be taken down. The answers that there are may be named: they are the trial's.
fn wrong(wrong: Wrong) -> Trouble {
    match wrong {
        Wrong::Criterion(known) => Trouble::no_such_criterion().with("known", known),
        Wrong::Verdict(known) => Trouble::no_such_verdict().with("known", known),
        Wrong::Reason => Trouble::no_reason(),
        Wrong::Date => Trouble::no_such_date(),
    }
}
