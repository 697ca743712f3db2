//! What a change of the data means for somebody who was randomized: a deviation to be looked at. The
//! allocation itself never changes.
//!
//! The participant is judged once more for the day of the decision that the allocation rests on, on what
//! is known now. What then differs is a deviation; what is merely new afterwards is not.

use super::{Pipeline, detail, stamp};
use crate::eligibility::Screening;
use crate::store::{Allocation, Decision, NewAudit, NewDeviation, RecordState, StoreError};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};

impl Pipeline {
    /// Opens the deviations of a participant that are not known yet; returns how many there were.
    pub(super) fn watch(&self, subject: &str, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let Some(allocation) = self.store.allocation_of(&self.trial.study.id, subject)? else { return Ok(0) };
        let history = self.store.decision_history(subject)?;
        let Some(rested_on) = history.into_iter().find(|d| d.seq == allocation.decision_seq) else {
            return Ok(0);
        };
        // Under another definition a difference may come from the definition.
        if rested_on.definition != self.trial.hash {
            return Ok(0);
        }
        let Ok(day) = rested_on.as_of.parse::<NaiveDate>() else { return Ok(0) };
        let (screening, _) = self.screen(subject, day)?;
        let found = self.differences(&rested_on, &screening)?;
        let new: Vec<NewDeviation> = found
            .into_iter()
            .map(|difference| opened(difference, subject, &allocation, &stamp(now)))
            .collect();
        if new.is_empty() {
            return Ok(0);
        }
        self.store.open_deviations(new).map(|ids| ids.len())
    }

    fn differences(&self, then: &Decision, now: &Screening) -> Result<Vec<Difference>, StoreError> {
        let before: Value = serde_json::from_str(&then.json).unwrap_or_default();
        let after = serde_json::to_value(now).unwrap_or_default();
        let mut found = Vec::new();
        if after["decision"] != "eligible" {
            let criteria: Vec<&str> = now.deciding.iter().map(String::as_str).collect();
            found.push(Difference {
                kind: "no-longer-eligible",
                reference: criteria.first().copied().unwrap_or("identity").to_owned(),
                detail: json!({"decision": after["decision"], "criteria": criteria, "blocked": now.blocked}),
            });
        }
        for (name, was) in before["variables"].as_object().into_iter().flatten() {
            let is = &after["variables"][name];
            // A new version that says the same is no deviation: a Patient whose address changed.
            let says =
                |v: &Value| ["value", "low", "high", "unit", "effective", "source"].map(|key| v[key].clone());
            if says(was) == says(is) {
                continue;
            }
            // An age or sex without a source is worked out from what is compared elsewhere.
            let Some(source) = was["source"].as_str() else { continue };
            found.push(Difference {
                kind: match (was["source"] == is["source"], self.is_retracted(source)?) {
                    (true, _) => "result-corrected",
                    (false, true) => "result-retracted",
                    (false, false) => "result-superseded",
                },
                reference: source.to_owned(),
                detail: json!({"variable": name, "before": versioned(was), "after": versioned(is)}),
            });
        }
        for (name, was) in before["scores"].as_object().into_iter().flatten() {
            let is = &after["scores"][name];
            let shape =
                |v: &Value| (v["value"].clone(), v["low"].clone(), v["high"].clone(), v["class"].clone());
            if shape(was) != shape(is) {
                found.push(Difference {
                    kind: "score-changed",
                    reference: name.clone(),
                    detail: json!({"before": was["status"], "after": is["status"], "value": is["value"]}),
                });
            }
        }
        Ok(found)
    }

    /// Is nothing of it left to be used, in any source?
    fn is_retracted(&self, reference: &str) -> Result<bool, StoreError> {
        let Some((resource_type, id)) = reference.split_once('/') else { return Ok(false) };
        let records = self.store.records_named(resource_type, id)?;
        Ok(!records.iter().any(|r| r.state == RecordState::Current && !is_withdrawn(&r.body)))
    }
}

/// Does the version that stands say that it must not be used?
pub(super) fn is_withdrawn(body: &[u8]) -> bool {
    let record = crate::fhir::json::text(body).and_then(crate::normalize::fhir::record);
    matches!(record.map(|r| r.body), Ok(crate::normalize::Body::Retracted { .. }) | Err(_))
}

struct Difference {
    kind: &'static str,
    reference: String,
    detail: Value,
}

fn versioned(variable: &Value) -> Value {
    match (variable["source"].as_str(), variable["version"].as_str()) {
        (Some(source), Some(version)) => format!("{source}/_history/{version}").into(),
        (Some(source), None) => source.into(),
        _ => Value::Null,
    }
}

fn opened(difference: Difference, subject: &str, allocation: &Allocation, at: &str) -> NewDeviation {
    let text = difference.detail.to_string();
    // References, states and codes; what the values are is said by the versions referred to.
    let side = |key: &str| difference.detail[key].as_str().unwrap_or("none").to_owned();
    let (before, after) = match difference.kind {
        "no-longer-eligible" => {
            ("eligible".to_owned(), difference.detail["decision"].as_str().unwrap_or_default().to_owned())
        }
        _ => (side("before"), side("after")),
    };
    NewDeviation {
        subject: subject.to_owned(),
        allocation_id: allocation.id.clone(),
        opened_at: at.to_owned(),
        kind: difference.kind.to_owned(),
        reference: difference.reference.clone(),
        detail: text,
        audit: NewAudit {
            at: at.to_owned(),
            actor: "trialbridge".into(),
            role: "service".into(),
            action: "deviation.open".into(),
            subject: Some(subject.to_owned()),
            detail: detail(&[
                ("allocation", &allocation.id),
                ("kind", difference.kind),
                ("reference", &difference.reference),
                ("before", &before),
                ("after", &after),
            ]),
        },
    }
}
