//! What monitors ask. No metric has a patient, a message or an arm as label, and a hospital that does
//! not answer does not make this program unready: what was stored can still be read and decided.

use super::state::{self, WebState};
use super::status::Pull;
use super::stored::Verdicts;
use super::trouble::Trouble;
use super::worklist::DECISIONS;
use crate::pipeline::questions;
use crate::protocol::Trial;
use crate::store::{AnchorStatus, Health, QuarantineState, Store, StoreError, SubscriptionState, Word};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Quarantine entries that one scrape counts at most: each brings its bytes along.
const COUNTED: usize = 10_000;

/// Upper bounds of the times to an answer.
const ACK_SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

#[derive(Clone, Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    code: String,
    text: String,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    reasons: Vec<Check>,
    /// What does not make the program unready, and has to be looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Vec<Check>>,
}

/// 200 or 503 with reasons; `?verbose` lists what was looked at.
pub(super) async fn ready(
    State(state): State<WebState>,
    RawQuery(query): RawQuery,
) -> Result<Response, Trouble> {
    let verbose = query.is_some_and(|q| q.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let mut checks = state.read(|store, _| Ok(store_checks(store))).await?;
    let reasons: Vec<Check> = checks.extract_if(.., |check| !check.ok).collect();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if reasons.is_empty() { "ready" } else { "not-ready" };
    checks.push(pull_check(&state.status.pull()));
    let stands = state.read(|store, _| Ok(store.audit_anchor())).await?;
    let audit = audit_check(&stands);
    let warnings: Vec<Check> = (!audit.ok).then(|| audit.clone()).into_iter().collect();
    checks.push(audit);
    let readiness = Readiness { status: word, reasons, warnings, checks: verbose.then_some(checks) };
    let text = serde_json::to_string(&readiness).map_err(|error| Trouble::bug(error.to_string()))?;
    Ok((status, [(CONTENT_TYPE, "application/json")], text).into_response())
}

fn store_checks(store: &dyn Store) -> Vec<Check> {
    let check = |check, problem: Option<(&str, &str)>, good: &str| Check {
        check,
        ok: problem.is_none(),
        code: problem.map_or("ok", |(code, _)| code).to_owned(),
        text: problem.map_or(good, |(_, text)| text).to_owned(),
    };
    let read = store.count_by_state().err();
    let migrations = matches!(read, Some(StoreError::Schema { .. }));
    let health = store.health();
    let words = match health {
        Health::Ok => "",
        Health::DiskFull => "no space left: nothing new is taken in; free space",
        Health::StorageFailed => "the last write failed: nothing new is taken in; check the disk",
    };
    vec![
        check(
            "store-read",
            read.as_ref().map(|e| (e.code(), "the store cannot be read; the log says why")),
            "the store can be read",
        ),
        check(
            "store-write",
            (health != Health::Ok).then_some((health.word(), words)),
            "the last write succeeded",
        ),
        check(
            "migrations",
            migrations.then_some(("schema", "the database has another schema than this program reads")),
            "the schema is this program's",
        ),
    ]
}

/// For information: it never counts against readiness.
fn pull_check(pull: &Pull) -> Check {
    let (ok, code, text) = match (&pull.last_outcome, pull.last_finished) {
        (Some(outcome), Some(at)) => {
            (!pull.has_failed(), outcome.as_str(), format!("last pull ended {at:?}"))
        }
        _ => (true, "none", "no pull has ended since the start".to_owned()),
    };
    Check { check: "pull", ok, code: code.to_owned(), text }
}

/// For information: nobody is randomized until it is in order, and everything else goes on.
fn audit_check(stands: &Result<AnchorStatus, StoreError>) -> Check {
    let (code, text) = match stands {
        Ok(AnchorStatus { fault: Some(fault), .. }) => (fault.word(), fault.meaning()),
        Ok(_) => ("ok", "the audit log agrees with its anchor"),
        Err(error) => (error.code(), "the audit log cannot be read"),
    };
    Check { check: "audit-anchor", ok: code == "ok", code: code.to_owned(), text: text.to_owned() }
}

/// The recorder of the whole program, for what is counted where it happens. Installed once; `None` if
/// another one was there first.
pub fn install_metrics() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let handle = PrometheusBuilder::new()
            .set_buckets(&ACK_SECONDS)
            .ok()
            .and_then(|builder| builder.install_recorder().ok());
        describe_counter!("trialbridge_http_refused_total", "Refused or cut before anybody looked into it");
        describe_counter!("trialbridge_mllp_ack_total", "Answers to HL7 v2 messages, by MSA-1");
        describe_gauge!("trialbridge_mllp_connections", "Open MLLP connections");
        describe_counter!("trialbridge_auth_refused_total", "Callers that were not let in");
        describe_counter!("trialbridge_inbound_messages_total", "What was sent here, and what became of it");
        describe_histogram!("trialbridge_inbound_ack_seconds", "From a request's head to its answer");
        describe_counter!(
            "trialbridge_judged_total",
            "Subjects judged: those that changed, and all on a new day"
        );
        describe_gauge!("trialbridge_digest_ok", "1 if the last run over the inbox succeeded");
        handle
    };
    HANDLE.get_or_init(install).as_ref()
}

/// Counted so far, and measured now.
pub(super) async fn metrics(State(state): State<WebState>) -> Result<Response, Trouble> {
    let pull = state.status.pull();
    let measured = state.read(move |store, trial| Ok(measure(store, trial, &pull))).await?;
    let counted = install_metrics().map(|handle| {
        handle.run_upkeep();
        handle.render()
    });
    let text = measured + &counted.unwrap_or_default();
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// A recorder of its own for each scrape: a reason that is gone must not leave its last number behind.
fn measure(store: &dyn Store, trial: &Trial, pull: &Pull) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe();
        gauge!("trialbridge_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        if let Some(at) = pull.last_success {
            gauge!("trialbridge_pull_last_success_timestamp_seconds").set(at.timestamp() as f64);
        }
        let read = record(store, trial);
        let ok = read.is_ok() && store.health() == Health::Ok;
        gauge!("trialbridge_store_ok").set(if ok { 1 } else { 0 });
        if let Err(error) = read {
            tracing::error!(code = error.code(), cause = %error, "the store could not be measured");
        }
    });
    handle.render()
}

fn describe() {
    describe_gauge!("trialbridge_build_info", "Always 1; the label says which version runs");
    describe_gauge!("trialbridge_store_ok", "1 if the store can be read and its last write succeeded");
    describe_gauge!(
        "trialbridge_pull_last_success_timestamp_seconds",
        "When the last pull that read everything ended"
    );
    describe_gauge!("trialbridge_subjects", "Subjects by their latest decision");
    describe_gauge!("trialbridge_criteria_unknown", "Subjects of whom the data do not say it");
    describe_gauge!("trialbridge_quarantine_messages", "Entries set aside that nobody has resolved");
    describe_gauge!(
        "trialbridge_subscription_last_heartbeat_timestamp_seconds",
        "When each Subscription's server last sent a heartbeat"
    );
    describe_counter!(
        "trialbridge_subscription_missed_events_total",
        "Events of Subscriptions that did not come within the grace"
    );
    describe_gauge!("trialbridge_deviations_open", "Deviations that nobody has acknowledged");
    describe_gauge!("trialbridge_identity_questions", "Questions about who is who that nobody has answered");
    describe_gauge!(
        "trialbridge_audit_chain_ok",
        "1 if the audit log runs through its anchor; else nobody is randomized"
    );
    describe_gauge!("trialbridge_inbox_messages", "Received messages by how far they have come");
}

/// All of it, or an error and none that could be wrong.
fn record(store: &dyn Store, trial: &Trial) -> Result<(), StoreError> {
    let decisions = store.latest_decisions()?;
    let inbox = store.count_by_state()?;
    let quarantine = store.quarantine_list(Some(QuarantineState::Open), COUNTED)?;
    for state in DECISIONS {
        let count = decisions.iter().filter(|d| d.decision == state).count();
        gauge!("trialbridge_subjects", "state" => state).set(count as f64);
    }
    let mut unknown: BTreeMap<&str, u32> = trial.criteria.iter().map(|c| (c.id.as_str(), 0)).collect();
    for decision in &decisions {
        let verdicts: Verdicts = serde_json::from_str(&decision.json).unwrap_or_default();
        for criterion in verdicts.criteria.iter().filter(|c| c.verdict == "unknown") {
            if let Some(count) = unknown.get_mut(criterion.id.as_str()) {
                *count += 1;
            }
        }
    }
    for (criterion, count) in unknown {
        gauge!("trialbridge_criteria_unknown", "criterion" => criterion.to_owned()).set(count);
    }
    let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
    for entry in quarantine {
        *reasons.entry(label(entry.reason)).or_default() += 1;
    }
    for (reason, count) in reasons {
        gauge!("trialbridge_quarantine_messages", "reason" => reason).set(count);
    }
    for held in store.subscriptions()?.into_iter().filter(|s| s.state != SubscriptionState::Deleted) {
        let at = held.last_heartbeat_at.and_then(|t| chrono::DateTime::parse_from_rfc3339(&t).ok());
        if let Some(at) = at {
            gauge!("trialbridge_subscription_last_heartbeat_timestamp_seconds", "source" => held.id)
                .set(at.timestamp() as f64);
        }
    }
    gauge!("trialbridge_audit_chain_ok").set(if store.audit_anchor()?.fault.is_none() { 1 } else { 0 });
    gauge!("trialbridge_deviations_open").set(state::deviations(store)?.len() as f64);
    gauge!("trialbridge_identity_questions").set(questions::open(store, trial)?.len() as f64);
    for (state, count) in
        [("pending", inbox.pending), ("processed", inbox.processed), ("quarantined", inbox.quarantined)]
    {
        gauge!("trialbridge_inbox_messages", "state" => state).set(count as f64);
    }
    Ok(())
}

/// Reasons are codes; anything else must not become a label.
fn label(reason: String) -> String {
    let is_code = reason.len() <= 40 && reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if is_code { reason } else { "other".to_owned() }
}
