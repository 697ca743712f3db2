//! The same for programs: the list, and one subject's screening as it was stored.

use super::actions::known;
use super::state::{self, WebState};
use super::stored::Needs;
use super::subject;
use super::trouble::Trouble;
use super::visitor::{self, Visitor};
use super::worklist::Wish;
use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;

const JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    subject: String,
    decision: String,
    deciding: Vec<String>,
    needs: Vec<String>,
    as_of: String,
    randomized: bool,
}

/// Everybody, ordered by subject, or those that `?decision=` and `?randomized=` take.
pub(super) async fn subjects(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Result<Response, Trouble> {
    let (filter, _) = wish.ok().and_then(|wish| wish.read()).ok_or_else(Trouble::no_such_filter)?;
    let listed = state
        .ask(move |store, trial, accounts| {
            let randomized = state::randomized(store, trial)?;
            let taken = visitor::decisions(store, accounts, &visitor)?
                .into_iter()
                .filter(|d| filter.takes(d, &randomized));
            let row = |d: crate::store::Decision| Listed {
                randomized: randomized.contains(&d.subject),
                needs: serde_json::from_str::<Needs>(&d.json).unwrap_or_default().needs,
                subject: d.subject,
                decision: d.decision,
                deciding: d.deciding,
                as_of: d.as_of,
            };
            Ok(taken.map(row).collect::<Vec<_>>())
        })
        .await?;
    let text = serde_json::to_string(&listed).map_err(|error| Trouble::bug(error.to_string()))?;
    Ok((JSON, text).into_response())
}

/// The stored screening, byte for byte.
pub(super) async fn explain(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Trouble> {
    let key = subject::key(id)?;
    let decision = known(&state, &visitor, &key, "GET", "/api/v1/subjects/{id}/explain").await?;
    Ok((JSON, decision.json).into_response())
}
