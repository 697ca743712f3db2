//! Everything that must hold at the moment of the draw, on what the transaction itself reads.

use super::foreseen::Foreseen;
use crate::clinical::time::days_before;
use crate::identity::{self, Stands};
use crate::protocol::rule::Rule;
use crate::protocol::{Trial, factor};
use crate::store::{Refusal, Snapshot};
use chrono::NaiveDate;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where in the list the participant belongs.
pub(super) struct Place {
    pub stratum: i64,
    /// JSON: factor to level.
    pub levels: String,
}

/// May this participant be randomized now, and from which stratum?
///
/// # Errors
/// The first reason why not.
pub(super) fn place(
    snapshot: &Snapshot,
    trial: &Trial,
    today: NaiveDate,
    known: &Foreseen,
) -> Result<Place, Refusal> {
    if snapshot.closed {
        return refuse("trial-closed", "randomization in this trial was stopped");
    }
    definition(snapshot, trial)?;
    if snapshot.dirty || snapshot.pending_inbox > 0 {
        return refuse("stale-eligibility", "data came in that were not judged yet; run it again");
    }
    let d = &snapshot.decision;
    if d.definition != trial.hash {
        return refuse("stale-eligibility", "the decision was made under another trial definition");
    }
    let days = trial.allocation.as_ref().map_or(1, |a| a.decision_valid_days);
    let fresh = d.as_of.parse::<NaiveDate>().is_ok_and(|day| day >= days_before(today, days) && day <= today);
    if !fresh {
        return refuse("stale-eligibility", format!("the decision is of {}", d.as_of));
    }
    one_person(snapshot)?;
    let said = known.decision(&d.json);
    match d.decision.as_str() {
        "eligible" if consented(&said, trial) => {}
        "eligible" => return refuse("no-consent", "the decision rests on no valid consent"),
        "ineligible" => return refuse("not-eligible", format!("ineligible by {}", d.deciding.join(", "))),
        _ if !d.deciding.is_empty() && d.deciding.iter().all(|c| is_consent(trial, c)) => {
            return refuse("no-consent", "no valid consent is recorded");
        }
        _ => return refuse("undetermined", format!("not decided: {}", d.deciding.join(", "))),
    }
    stratum(&said, trial)
}

/// Where the levels of the participant's factors lead, as the decision tells them.
fn stratum(decision: &Value, trial: &Trial) -> Result<Place, Refusal> {
    let Some(plan) = trial.plan() else {
        return refuse("definition-changed", "the trial has no [allocation] any more");
    };
    let levels = match factor::levels(trial, decision) {
        Ok(levels) => levels,
        // Names the factor and what is needed; never a value.
        Err(unknown) => return refuse("stratum-unknown", unknown.to_string()),
    };
    let named: BTreeMap<&str, &str> = factor::named(trial, &levels).into_iter().collect();
    match (plan.stratum(&levels), serde_json::to_string(&named)) {
        (Some(stratum), Ok(levels)) => Ok(Place { stratum: stratum.into(), levels }),
        _ => refuse("stratum-unknown", "the levels of the factors do not give a stratum"),
    }
}

fn refuse<T>(code: &str, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code: code.to_owned(), text: text.into() })
}

/// The list is used under the definition that it was made for, or under one that was signed for it since
/// and gives the same list.
fn definition(snapshot: &Snapshot, trial: &Trial) -> Result<(), Refusal> {
    let list = &snapshot.list;
    let signed = || {
        snapshot
            .signed
            .iter()
            .any(|s| s.definition == trial.hash && !s.plan.is_empty() && s.plan == list.plan)
    };
    if list.definition == trial.hash || signed() {
        return Ok(());
    }
    refuse("definition-changed", "the allocation list was sealed under another trial definition")
}

/// Is it known who this is? A question that came up since the decision counts as well.
fn one_person(snapshot: &Snapshot) -> Result<(), Refusal> {
    match identity::stands(&snapshot.group, &snapshot.subject) {
        Stands::AttachedTo(_) => {
            refuse("identity-open", "the records of this subject count for another subject")
        }
        // What is undecided because of it is said so by the decision itself, with all that is missing.
        Stands::Itself { open, .. } if !open.is_empty() && snapshot.decision.decision == "eligible" => {
            refuse("identity-open", "a person has to say who this is before anybody is randomized")
        }
        Stands::Itself { .. } => Ok(()),
    }
}

fn is_consent(trial: &Trial, criterion: &str) -> bool {
    trial.criteria.iter().any(|c| c.id == criterion && matches!(c.rule, Rule::Consent))
}

/// Does the decision say of every criterion of consent that it is met? Without one nobody consented.
fn consented(decision: &Value, trial: &Trial) -> bool {
    let verdict = |id: &str| {
        let criteria = decision["criteria"].as_array().into_iter().flatten();
        criteria.clone().find(|c| c["id"] == id).and_then(|c| c["verdict"].as_str())
    };
    let mut consents = trial.criteria.iter().filter(|c| matches!(c.rule, Rule::Consent)).peekable();
    consents.peek().is_some() && consents.all(|c| verdict(&c.id) == Some("met"))
}
