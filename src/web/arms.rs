//! Allocations: whose they are and when they were made, and, for who may know it, the arm of one.
//!
//! An arm is asked for one allocation at a time, through [`crate::draw::disclose`], which writes every look into
//! the audit log. Whoever may not know arms gets an answer in which nothing depends on one: not a byte,
//! not a length, not the work that was done.

use super::frame::{self, Frame};
use super::state::WebState;
use super::trouble::Trouble;
use super::visitor::{self, Visitor};
use super::words::{self, Moment};
use crate::access::Permission;
use crate::protocol::Trial;
use crate::store::{Allocation, AllocationEvent, EventKind, Store, StoreError};
use askama::Template;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;

/// An allocation as everybody may see it who sees allocations.
struct Row {
    id: String,
    address: String,
    subject: String,
    at: Moment,
    by: String,
    tags: Vec<String>,
}

#[derive(Template)]
#[template(path = "allocations.html")]
struct AllocationsPage {
    frame: Frame,
    rows: Vec<Row>,
    total: u32,
    closed: bool,
    sees_arms: bool,
}

#[derive(Template)]
#[template(path = "allocation.html")]
struct AllocationPage {
    frame: Frame,
    row: Row,
    arm: String,
}

/// What was said about allocations, besides that they were made.
pub(super) fn events(store: &dyn Store, trial: &Trial) -> Result<Vec<AllocationEvent>, StoreError> {
    store.allocation_events(&trial.study.id)
}

/// In words, for one allocation; the oldest first.
pub(super) fn tags(events: &[AllocationEvent], allocation: &str) -> Vec<String> {
    let own = events.iter().filter(|e| e.allocation_id.as_deref() == Some(allocation));
    own.map(|e| format!("{} {}", words::event(e.kind), Moment::read(&e.at).words)).collect()
}

fn row(allocation: &Allocation, events: &[AllocationEvent]) -> Row {
    Row {
        address: format!("/allocations/{}", words::segment(&allocation.id)),
        tags: tags(events, &allocation.id),
        id: allocation.id.clone(),
        subject: allocation.subject.clone(),
        at: Moment::read(&allocation.at),
        by: allocation.actor.clone(),
    }
}

pub(super) async fn list(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
) -> Result<Response, Trouble> {
    let who = Arc::clone(&visitor);
    let (rows, closed) = state
        .ask(move |store, trial, accounts| {
            let events = events(store, trial)?;
            let rows =
                visitor::allocations(store, accounts, trial, &who)?.iter().map(|a| row(a, &events)).collect();
            Ok((rows, is_closed(&events)))
        })
        .await?;
    let page = AllocationsPage {
        frame: frame::of_visitor(&state, "Allocations", &visitor),
        rows,
        total: state.trial.allocation.as_ref().map_or(0, |a| a.total),
        closed,
        sees_arms: visitor.may(Permission::ViewArm, &state.desk.masking),
    };
    frame::page(&visitor, &page)
}

/// Was randomization stopped, and not resumed?
pub(super) fn is_closed(events: &[AllocationEvent]) -> bool {
    let latest = events.iter().rev().find(|e| matches!(e.kind, EventKind::Closed | EventKind::Reopened));
    latest.is_some_and(|e| e.kind == EventKind::Closed)
}

/// One allocation with its arm.
pub(super) async fn page(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Trouble> {
    let Path(id) = id.map_err(|_| Trouble::no_such_page())?;
    let who = Arc::clone(&visitor);
    let found = state
        .ask(move |store, trial, accounts| {
            let events = events(store, trial)?;
            let found = visitor::allocations(store, accounts, trial, &who)?.into_iter().find(|a| a.id == id);
            Ok(found.map(|a| (row(&a, &events), a)))
        })
        .await?;
    let Some((row, allocation)) = found else {
        visitor.denied(&state, "GET", "/allocations/{id}", None).await?;
        return Err(Trouble::no_such_page());
    };
    let arm = state.disclose(&visitor, allocation).await?;
    let page = AllocationPage { frame: frame::of_visitor(&state, &row.id, &visitor), row, arm };
    frame::page(&visitor, &page)
}

#[derive(Serialize)]
struct Told<'a> {
    schema: &'static str,
    trial: &'a str,
    subject: &'a str,
    allocation: &'a str,
    at: &'a str,
    by: &'a str,
    /// `unblinded`, `marked-in-error`, …
    events: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arm: Option<String>,
}

/// `GET /api/v1/subjects/{id}/allocation`
pub(super) async fn of_subject(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Trouble> {
    let subject = super::subject::key(id)?;
    let (who, key) = (Arc::clone(&visitor), subject.clone());
    let found = state
        .ask(move |store, trial, accounts| {
            let sees = who.sees(accounts, &key)?;
            let allocation = store.allocation_of(&trial.study.id, &key)?;
            let events = events(store, trial)?;
            Ok(allocation.filter(|_| sees).map(|a| (a, events)))
        })
        .await?;
    let Some((allocation, events)) = found else {
        visitor.denied(&state, "GET", "/api/v1/subjects/{id}/allocation", Some(&subject)).await?;
        return Err(Trouble::no_such_allocation());
    };
    let arm = match visitor.may(Permission::ViewArm, &state.desk.masking) {
        true => Some(state.disclose(&visitor, allocation.clone()).await?),
        false => None,
    };
    let own = events.iter().filter(|e| e.allocation_id.as_ref() == Some(&allocation.id));
    let told = Told {
        schema: "trialbridge/allocation/v1",
        trial: &state.trial.study.id,
        subject: &allocation.subject,
        allocation: &allocation.id,
        at: &allocation.at,
        by: &allocation.actor,
        events: own.map(|e| crate::store::Word::word(e.kind)).collect(),
        arm,
    };
    let text = serde_json::to_string(&told).map_err(|e| Trouble::bug(e.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}
