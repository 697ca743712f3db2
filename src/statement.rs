//! What only a person knows, as it is taken down: consent, and judgements of criteria.
//!
//! A statement becomes a Consent or a QuestionnaireResponse of our own source and goes through the inbox
//! like whatever the hospital sends. Who may make it, and the signature, are for the callers to see to.
//!
//! Invariant: a statement is in the audit log before it has its effect.

use crate::clinical::time::When;
use crate::pipeline::detail;
use crate::protocol::Trial;
use crate::protocol::document::hex;
use crate::protocol::rule::Rule;
use crate::source::inbox::{OWN_SOURCE, accept};
use crate::store::{NewAudit, NewSignature, Store, StoreError};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Why a statement cannot be taken down.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The trial has no such criterion and no such grade.
    #[error("the trial has no such criterion or grade; it has {0}")]
    Criterion(String),
    /// Not one of the answers that the criterion or grade has.
    #[error("that is no answer to it; the answers are {0}")]
    Verdict(String),
    #[error("a judgement has a reason")]
    Reason,
    #[error("that is neither a date (YYYY-MM-DD) nor an instant with a time zone")]
    Date,
}

/// A statement, ready to be stored.
#[derive(Clone, Debug)]
pub struct Statement {
    origin: &'static str,
    resource: Value,
    /// The criterion or grade that it is about.
    about: String,
    /// For the audit log, besides what was held before.
    said: Vec<(&'static str, String)>,
    action: &'static str,
    subject: String,
    at: String,
}

impl Statement {
    /// SHA-256 of the document as it goes into the inbox.
    pub fn document(&self) -> String {
        hex(&Sha256::digest(self.resource.to_string().as_bytes()))
    }

    /// When it is made, as it stands in the document.
    pub fn at(&self) -> &str {
        &self.at
    }
}

/// A judgement of a criterion (`yes`: its statement applies; `no` clears an exclusion), or a bedside grade
/// in its own words. `speaker`: the name as it stands in the document.
///
/// # Errors
/// [`Wrong`]
pub fn attestation(
    trial: &Trial,
    subject: &str,
    (criterion, verdict, reason): (&str, &str, &str),
    speaker: &str,
    at: DateTime<Utc>,
) -> Result<Statement, Wrong> {
    let answer = answer(trial, criterion, verdict, reason)?;
    let stamp = crate::pipeline::stamp(at);
    let resource = json!({
        "resourceType": "QuestionnaireResponse",
        "id": format!("{}-{}", criterion.to_lowercase().replace('_', "-"), at.timestamp_micros()),
        "meta": {"versionId": "1", "lastUpdated": stamp},
        "questionnaire": trial.study.questionnaire,
        "status": "completed",
        "subject": {"reference": subject},
        "authored": stamp,
        "author": {"display": speaker},
        "item": [
            {"linkId": criterion, "answer": [answer]},
            {"linkId": "reason", "answer": [{"valueString": reason}]}
        ]
    });
    let said = [("criterion", criterion), ("verdict", verdict), ("after", verdict), ("reason", reason)];
    Ok(Statement {
        origin: "attestation",
        resource,
        about: criterion.to_owned(),
        said: said.map(|(name, text)| (name, text.to_owned())).into(),
        action: "attest",
        subject: subject.to_owned(),
        at: stamp,
    })
}

/// A verdict on a criterion, or the answer of a coded variable, as a form holds it.
///
/// # Errors
/// [`Wrong`]
pub fn answer(trial: &Trial, name: &str, verdict: &str, reason: &str) -> Result<Value, Wrong> {
    let answer = judgement(trial, name, verdict)?;
    if reason.trim().is_empty() { Err(Wrong::Reason) } else { Ok(answer) }
}

fn judgement(trial: &Trial, name: &str, verdict: &str) -> Result<Value, Wrong> {
    if trial.criterion(name).is_some() {
        return match verdict {
            "yes" => Ok(json!({"valueBoolean": true})),
            "no" => Ok(json!({"valueBoolean": false})),
            _ => Err(Wrong::Verdict("yes, no".to_owned())),
        };
    }
    let coded = trial.variable(name).and_then(|v| trial.variables[usize::from(v)].coded());
    let Some(coded) = coded else {
        let ids: Vec<&str> = trial.criteria.iter().map(|c| c.id.as_str()).collect();
        return Err(Wrong::Criterion(ids.join(", ")));
    };
    if coded.answers.iter().any(|a| a.id == verdict) {
        return Ok(json!({"valueCoding": {"system": format!("urn:trialbridge:{name}"), "code": verdict}}));
    }
    let ids: Vec<&str> = coded.answers.iter().map(|a| a.id.as_str()).collect();
    Err(Wrong::Verdict(ids.join(", ")))
}

/// A signed consent was seen, or the consent was withdrawn. `date`: when; without one, now.
///
/// # Errors
/// [`Wrong::Date`]
pub fn consent(
    trial: &Trial,
    subject: &str,
    given: bool,
    (when, reason): (Option<&str>, &str),
    at: DateTime<Utc>,
) -> Result<Statement, Wrong> {
    date(when)?;
    let stamp = crate::pipeline::stamp(at);
    let date = when.unwrap_or(&stamp).to_owned();
    let study = &trial.study;
    let resource = json!({
        "resourceType": "Consent",
        "id": format!("consent-{}", at.timestamp_micros()),
        "meta": {"versionId": "1", "lastUpdated": stamp},
        "extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy",
            "valueReference": {"identifier": {"system": study.system, "value": study.id}}
        }],
        "status": if given { "active" } else { "inactive" },
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": subject},
        "dateTime": date
    });
    let after = if given { "consented" } else { "withdrawn" };
    let said = [("date", date.as_str()), ("after", after), ("reason", reason)];
    let asks = trial.criteria.iter().find(|c| matches!(c.rule, Rule::Consent));
    Ok(Statement {
        origin: "consent",
        resource,
        about: asks.map(|c| c.id.clone()).unwrap_or_default(),
        said: said.map(|(name, text)| (name, text.to_owned())).into(),
        action: if given { "consent.record" } else { "consent.withdraw" },
        subject: subject.to_owned(),
        at: stamp,
    })
}

/// Is it a date, if it is there?
///
/// # Errors
/// [`Wrong::Date`]
pub fn date(text: Option<&str>) -> Result<(), Wrong> {
    match text.map(When::parse) {
        Some(Err(_)) => Err(Wrong::Date),
        _ => Ok(()),
    }
}

/// What was held before somebody spoke: the verdict of a criterion, or the answer of a variable; `none`.
fn held(store: &dyn Store, subject: &str, about: &str) -> Result<String, StoreError> {
    let Some(decision) = store.latest_decision(subject)? else { return Ok("none".to_owned()) };
    let screening: Value = serde_json::from_str(&decision.json).unwrap_or_default();
    let mut criteria = screening["criteria"].as_array().into_iter().flatten();
    let verdict = criteria.find(|c| c["id"] == about).map(|c| &c["verdict"]);
    let held = verdict.unwrap_or(&screening["variables"][about]["value"]);
    Ok(held.as_str().unwrap_or("none").to_owned())
}

/// Takes a statement down: its signature and its audit entry first, with what was held before, then the
/// document itself.
///
/// # Errors
/// Those of the store.
pub fn store(store: &dyn Store, statement: Statement, signature: NewSignature) -> Result<(), StoreError> {
    let hash = statement.document();
    let Statement { origin, resource, about, said, action, subject, at } = statement;
    let before = held(store, &subject, &about)?;
    let mut pairs: Vec<(&str, &str)> = said.iter().map(|(name, text)| (*name, text.as_str())).collect();
    pairs.extend([("before", before.as_str()), ("document", &hash)]);
    let entry = NewAudit {
        at,
        actor: signature.actor.clone(),
        role: signature.role.clone(),
        action: action.to_owned(),
        subject: Some(subject),
        detail: detail(&pairs),
    };
    store.sign(signature, vec![entry])?;
    accept(store, origin, OWN_SOURCE, resource.to_string().into_bytes()).map(drop)
}

/// A moment of its own second. Order is decided by the second, and what a person says later must be
/// later: two statements of one second would contradict each other instead of correcting.
///
/// # Errors
/// Those of the store.
pub fn moment(
    store: &dyn Store,
    subject: &str,
    now: &dyn Fn() -> DateTime<Utc>,
) -> Result<DateTime<Utc>, StoreError> {
    let second = |text: &str| text.get(..19).map(str::to_owned);
    let own = store.records_of(subject)?.into_iter().filter(|r| r.key.source == OWN_SOURCE);
    let newest = own.filter_map(|r| second(&r.last_updated?)).max();
    let mut at = now();
    // A clock that was set back is not waited for, and one that stands still not for ever.
    for _ in 0..3 {
        if newest.is_none() || second(&crate::pipeline::stamp(at)) != newest {
            return Ok(at);
        }
        std::thread::sleep(Duration::from_millis(
            1001u64.saturating_sub(at.timestamp_subsec_millis().into()),
        ));
        at = now();
    }
    Ok(at + Duration::from_secs(1))
}
