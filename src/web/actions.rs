//! Draws and unblinding, over HTTP. Everything that must hold is looked at again in the transaction of the
//! draw ([`crate::draw`]); here stands who asks, on what they were shown, and how a repetition is told from
//! a second wish.
//!
//! Invariant: an answer says that somebody was allocated only after that is on disk, and a repetition with
//! the same key gets the same allocation.

use super::body::{self, Given};
use super::records;
use super::signing::{self, Act, Proof, ToSign};
use super::state::WebState;
use super::subject;
use super::trouble::Trouble;
use super::visitor::{self, Visitor};
use crate::draw::{self, Asked, Category, NoArm};
use crate::protocol::Trial;
use crate::store::{AllocateError, Allocation, AllocationOutcome, Decision, Store, StoreError};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");
/// Characters of a reason.
const REASON: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    meaning: String,
    criterion: Option<String>,
    verdict: Option<String>,
    category: Option<String>,
    date: Option<String>,
    reason: Option<String>,
}

impl Wanted {
    fn act(self, trial: &Trial) -> Result<Act, Trouble> {
        let Wanted { meaning, criterion, verdict, category, date, reason } = self;
        match (meaning.as_str(), criterion, verdict, category, reason) {
            ("randomize", None, None, None, None) => Ok(Act::Randomize),
            ("attest", Some(criterion), Some(verdict), None, Some(reason)) => {
                Ok(Act::Attest { criterion, verdict, reason })
            }
            ("consent.record" | "consent.withdraw", None, None, None, reason) => Ok(Act::Consent {
                given: meaning == "consent.record",
                date,
                reason: reason.unwrap_or_default(),
            }),
            ("unblind", None, None, Some(category), Some(reason)) => unblinding(trial, &category, reason),
            _ => Err(Trouble::no_such_meaning()),
        }
    }
}

fn unblinding(trial: &Trial, category: &str, reason: String) -> Result<Act, Trouble> {
    let known = Category::ALL.into_iter().find(|known| known.name() == category);
    let category = known.ok_or_else(Trouble::no_such_category)?;
    let length = reason.trim().chars().count();
    if length == 0 || length > REASON {
        return Err(Trouble::no_reason());
    }
    // The reason is read by those who are blinded.
    if draw::names_an_arm(trial, &reason) {
        return Err(Trouble::reason_names_an_arm());
    }
    Ok(Act::Unblind { category, reason })
}

/// `GET …/signing?meaning=randomize`
pub(super) async fn to_be_signed(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Trouble> {
    let Query(wanted) = query.map_err(|_| Trouble::no_such_meaning())?;
    // A reason is free text, and has no place in an address.
    if wanted.reason.is_some() {
        return Err(Trouble::no_such_meaning());
    }
    show(&state, visitor, id, wanted, "GET").await
}

/// `POST …/signing`, for what has a reason.
pub(super) async fn to_be_signed_as(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Trouble> {
    let wanted = body::json(request).await?;
    show(&state, visitor, id, wanted, "POST").await
}

async fn show(
    state: &WebState,
    visitor: Arc<Visitor>,
    id: Result<Path<String>, PathRejection>,
    wanted: Wanted,
    method: &'static str,
) -> Result<Response, Trouble> {
    let subject = subject::key(id)?;
    known(state, &visitor, &subject, method, "/api/v1/subjects/{id}/signing").await?;
    let act = wanted.act(&state.trial)?;
    if !visitor.may(act.permission(), &state.desk.masking) {
        visitor.denied(state, method, "/api/v1/subjects/{id}/signing", Some(&subject)).await?;
        return Err(Trouble::role());
    }
    judge(state, &act).await?;
    let (key, asked) = (subject, act.clone());
    let record = state.read(move |store, trial| signing::record(store, trial, &key, &asked)).await?;
    let record = record.ok_or_else(Trouble::no_such_allocation)?;
    records::answer(&json!({
        "schema": "trialbridge/to-be-signed/v1", "meaning": act.meaning(),
        "record": record, "sha256": signing::hash(&act, &record), "text": record.to_string()
    }))
}

/// The subject's decision, if the visitor may know of the subject. That it was asked for is written down
/// otherwise.
pub(super) async fn known(
    state: &WebState,
    visitor: &Arc<Visitor>,
    subject: &str,
    method: &'static str,
    route: &'static str,
) -> Result<Decision, Trouble> {
    let (who, key) = (Arc::clone(visitor), subject.to_owned());
    let found = state.ask(move |store, _, accounts| visitor::decision(store, accounts, &who, &key)).await?;
    match found {
        Some(decision) => Ok(decision),
        None => {
            visitor.denied(state, method, route, Some(subject)).await?;
            Err(Trouble::no_such_subject())
        }
    }
}

/// On today's facts: whatever lies in the inbox is looked at before somebody signs for a draw.
async fn judge(state: &WebState, act: &Act) -> Result<(), Trouble> {
    if *act != Act::Randomize {
        return Ok(());
    }
    let desk = state.desk.clone();
    state.read(move |_, _| desk.pipeline.run(desk.now(), desk.today()).map(drop)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Randomize {
    meaning: String,
    /// `sha256` of the record that was looked at.
    record: String,
    password: Option<Given>,
    grant: Option<String>,
}

/// How a request to randomize ended.
enum Ended {
    Done(AllocationOutcome),
    Refused(Trouble),
}

/// `POST …/randomize`
pub(super) async fn randomize(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Trouble> {
    const ROUTE: &str = "/api/v1/subjects/{id}/randomize";
    let subject = subject::key(id)?;
    let key = idempotency_key(request.headers())?;
    known(&state, &visitor, &subject, "POST", ROUTE).await?;
    let wish: Randomize = body::json(request).await?;
    if wish.meaning != Act::Randomize.meaning() {
        return Err(Trouble::no_such_meaning());
    }
    let proof = Proof::of(wish.password, wish.grant)?;
    let _alone = state.desk.alone(&key).await?;
    let turn = state.desk.hashing().await?;
    let desk = state.desk.clone();
    // From here on it is done even if nobody waits for the answer any more.
    let ended = state
        .read(move |store, trial| {
            let asked = Draw { subject, key, shown: wish.record, proof };
            Ok(draw_for(store, trial, &desk, &visitor, asked))
        })
        .await?;
    drop(turn);
    match ended {
        Ended::Refused(trouble) => Err(trouble),
        Ended::Done(outcome) => allocated(&state, &outcome),
    }
}

struct Draw {
    subject: String,
    key: String,
    shown: String,
    proof: Proof,
}

fn draw_for(
    store: &dyn Store,
    trial: &Arc<Trial>,
    desk: &super::desk::Desk,
    visitor: &Visitor,
    wish: Draw,
) -> Ended {
    match try_draw(store, trial, desk, visitor, wish) {
        Ok(outcome) => Ended::Done(outcome),
        Err(trouble) => Ended::Refused(trouble),
    }
}

fn try_draw(
    store: &dyn Store,
    trial: &Arc<Trial>,
    desk: &super::desk::Desk,
    visitor: &Visitor,
    Draw { subject, key, shown, proof }: Draw,
) -> Result<AllocationOutcome, Trouble> {
    let failed = |error: StoreError| Trouble::store(&error);
    let act = Act::Randomize;
    let earlier = store.allocation_by_key(&key).map_err(failed)?.filter(|a| a.subject == subject);
    if let Some(allocation) = &earlier
        && let Proof::Grant(grant) = &proof
        && desk.grants.was_for(grant, &key, desk.now())
    {
        return Ok(AllocationOutcome { allocation: allocation.clone(), replayed: true });
    }
    if earlier.is_none() {
        desk.pipeline.run(desk.now(), desk.today()).map_err(failed)?;
    }
    let record = signing::record(store, trial, &subject, &act).map_err(failed)?;
    let record = record.ok_or_else(Trouble::no_such_subject)?;
    let seen = record["decision"]["input"].as_str().map(str::to_owned);
    // A repetition signs nothing: what it was shown may have changed since. Who asks proves it all the same.
    let shown = earlier.is_none().then_some(shown.as_str());
    let to_sign = ToSign { act: &act, subject: &subject, record: &record, shown, used_for: &key };
    let signature = signing::sign(store, desk, visitor, &proof, &to_sign).map_err(signing::refused)?;
    if let Some(allocation) = earlier {
        return Ok(AllocationOutcome { allocation, replayed: true });
    }
    let (now, today) = (desk.now(), desk.today());
    let asked = Asked { subject: subject.clone(), idempotency_key: key, seen, signature, now, today };
    draw::draw(store, trial, desk.key(), asked).map_err(|e| refused(store, trial, &subject, &e))
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Trouble> {
    let mut given = headers.get_all(KEY).iter();
    let key = match (given.next().and_then(|key| key.to_str().ok()), given.next()) {
        (Some(key), None) => key,
        _ => return Err(Trouble::key_missing()),
    };
    let visible = (1..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if visible { Ok(key.to_owned()) } else { Err(Trouble::key_missing()) }
}

#[derive(Serialize)]
struct Allocated<'a> {
    schema: &'static str,
    trial: &'a str,
    subject: &'a str,
    allocation: &'a str,
    at: &'a str,
    by: &'a str,
    replayed: bool,
}

/// The same bytes, whatever the arm, for everybody: an arm is asked for at `…/allocation`.
fn allocated(state: &WebState, outcome: &AllocationOutcome) -> Result<Response, Trouble> {
    let a = &outcome.allocation;
    let told = Allocated {
        schema: "trialbridge/allocation/v1",
        trial: &state.trial.study.id,
        subject: &a.subject,
        allocation: &a.id,
        at: &a.at,
        by: &a.actor,
        replayed: outcome.replayed,
    };
    let mut response = records::answer(&told)?;
    if outcome.replayed {
        response.headers_mut().insert(REPLAY, const { HeaderValue::from_static("true") });
    } else {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// Why nobody was allocated. No slot was used.
fn refused(store: &dyn Store, trial: &Trial, subject: &str, error: &AllocateError) -> Trouble {
    if let AllocateError::Store(
        e @ (StoreError::Locked { .. }
        | StoreError::Full { .. }
        | StoreError::Busy
        | StoreError::Storage { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Schema { .. }),
    ) = error
    {
        return Trouble::store(e);
    }
    let trouble = Trouble::not_randomized(error.code());
    let existing = match error {
        AllocateError::Store(StoreError::Conflict { existing, .. }) => existing.clone(),
        _ => None,
    };
    match error.code() {
        "duplicate" => {
            let own = store.allocation_of(&trial.study.id, subject).ok().flatten().map(|a| a.id);
            trouble.with("allocation", own.or(existing))
        }
        "undetermined" | "not-eligible" | "no-consent" => {
            let latest = store.latest_decision(subject).ok().flatten();
            match latest {
                Some(decision) => open_criteria(trouble, &decision),
                None => trouble,
            }
        }
        _ => trouble,
    }
}

/// Each criterion that stands in the way, with what it needs, and where data could not be used: ids, codes
/// and paths.
fn open_criteria(trouble: Trouble, decision: &Decision) -> Trouble {
    let screening: Value = serde_json::from_str(&decision.json).unwrap_or_default();
    let named = |id: &Value| decision.deciding.iter().any(|d| *id == d.as_str());
    let criteria = screening["criteria"].as_array().into_iter().flatten().filter(|c| named(&c["id"]));
    let criteria: Vec<Value> = criteria
        .map(|c| {
            let evidence = c["evidence"].as_array().into_iter().flatten();
            let references: Vec<&Value> = evidence.map(|e| &e["reference"]).collect();
            json!({"id": c["id"], "verdict": c["verdict"], "needs": c["needs"], "references": references})
        })
        .collect();
    let gaps = screening["gaps"].as_array().into_iter().flatten();
    let gaps: Vec<Value> = gaps
        .map(|g| json!({"reference": g["reference"], "path": g["path"], "reason": g["reason"]}))
        .collect();
    trouble.with("criteria", criteria).with("gaps", gaps).with("needs", screening["needs"].clone())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unblind {
    category: String,
    reason: String,
    /// `sha256` of the record that was looked at, if it was.
    record: Option<String>,
    password: Option<Given>,
    grant: Option<String>,
}

#[derive(Serialize)]
struct Unblinded<'a> {
    schema: &'static str,
    trial: &'a str,
    subject: &'a str,
    allocation: &'a str,
    category: &'a str,
    arm: &'a str,
}

/// `POST …/unblind`: one participant, with category, reason and signature. Needs nothing of the hospital's.
pub(super) async fn unblind(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Trouble> {
    const ROUTE: &str = "/api/v1/subjects/{id}/unblind";
    let subject = subject::key(id)?;
    known(&state, &visitor, &subject, "POST", ROUTE).await?;
    let wish: Unblind = body::json(request).await?;
    let act = unblinding(&state.trial, &wish.category, wish.reason)?;
    let proof = Proof::of(wish.password, wish.grant)?;
    let turn = state.desk.hashing().await?;
    let desk = state.desk.clone();
    let unblinded = state
        .read(move |store, trial| {
            Ok(try_unblind(store, trial, &desk, &visitor, (act, proof, wish.record), &subject))
        })
        .await?;
    drop(turn);
    let (allocation, category, arm) = unblinded?;
    let told = Unblinded {
        schema: "trialbridge/unblinded/v1",
        trial: &state.trial.study.id,
        subject: &allocation.subject,
        allocation: &allocation.id,
        category: category.name(),
        arm: arm.expose(),
    };
    let mut response = records::answer(&told)?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn try_unblind(
    store: &dyn Store,
    trial: &Trial,
    desk: &super::desk::Desk,
    visitor: &Visitor,
    (act, proof, shown): (Act, Proof, Option<String>),
    subject: &str,
) -> Result<(Allocation, Category, crate::randomize::Arm), Trouble> {
    let failed = |error: StoreError| Trouble::store(&error);
    let allocation = store.allocation_of(&trial.study.id, subject).map_err(failed)?;
    let allocation = allocation.ok_or_else(Trouble::no_such_allocation)?;
    let record = signing::record(store, trial, subject, &act).map_err(failed)?;
    let record = record.ok_or_else(Trouble::no_such_allocation)?;
    let to_sign =
        ToSign { act: &act, subject, record: &record, shown: shown.as_deref(), used_for: "unblind" };
    let signature = signing::sign(store, desk, visitor, &proof, &to_sign).map_err(signing::refused)?;
    let key = desk.key().map_err(|refusal| Trouble::not_randomized(&refusal.code))?;
    let Act::Unblind { category, reason } = &act else { return Err(Trouble::no_such_meaning()) };
    let arm = draw::unblind(store, trial, &key, &allocation, (*category, reason), signature);
    Ok((allocation, *category, arm.map_err(no_arm)?))
}

/// Why no arm is shown.
pub(super) fn no_arm(error: NoArm) -> Trouble {
    match &error {
        NoArm::NotPermitted => Trouble::role(),
        NoArm::NotAllocated => Trouble::no_such_allocation(),
        NoArm::Store(error) => Trouble::store(error),
        NoArm::Sealed(_) | NoArm::Exchanged { .. } | NoArm::OtherPlan => {
            let mut trouble = Trouble::not_randomized("list-unverified");
            trouble.log = Some(error.to_string());
            trouble
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_short_visible_word() {
        let with = |keys: &[&str]| {
            let mut headers = HeaderMap::new();
            for key in keys {
                headers.append(KEY, HeaderValue::from_str(key).expect("a value"));
            }
            idempotency_key(&headers).ok()
        };
        assert_eq!(with(&["a-1"]).as_deref(), Some("a-1"));
        assert!(with(&[&"k".repeat(128)]).is_some());
        for refused in [&[][..], &[""], &["a b"], &["a", "a"], &[&"k".repeat(129)], &["\u{e9}"]] {
            assert_eq!(with(refused), None, "{refused:?}");
        }
    }
}
