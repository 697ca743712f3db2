//! That a signed consent was seen, or was withdrawn.

use super::actions::known;
use super::attestations::{REASON, judged, speaker, wrong};
use super::body;
use super::state::WebState;
use super::subject;
use super::trouble::Trouble;
use super::visitor::Visitor;
use crate::statement;
use crate::store::StoreError;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize, Clone, Copy)]
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
    let said: Said = body::json(request).await?;
    if said.reason.chars().count() > REASON {
        return Err(Trouble::no_reason());
    }
    let desk = state.desk.clone();
    let recorded = state
        .read(move |store, trial| {
            let failed = |error: StoreError| Trouble::store(&error);
            let record = || {
                let at = statement::moment(store, &subject, &|| desk.now()).map_err(failed)?;
                let given = matches!(said.consent, Consent::Given);
                let about = (said.date.as_deref(), said.reason.as_str());
                let consent = statement::consent(trial, &subject, given, about, speaker(&visitor), at);
                statement::store(store, consent.map_err(wrong)?, None).map_err(failed)?;
                desk.judged(store, &subject)
            };
            Ok(record())
        })
        .await?;
    judged(&recorded?)
}
