//! `randomize`: one draw, in one transaction, for a subject who is eligible on today's facts and has
//! consented.

use super::output::Out;
use super::shell::{Shell, now, subject, today};
use super::{Failure, Global, Outcome, Output, allocation, exit};
use crate::clinical::time::days_before;
use crate::pipeline::stamp;
use crate::protocol::Trial;
use crate::randomize::SealKey;
use crate::store::{
    AllocateError, AllocationOutcome, AllocationRequest, Drawn, Refusal, Snapshot, Store, StoreError,
};
use chrono::NaiveDate;
use clap::Args;
use serde_json::json;
use std::sync::Arc;

#[derive(Args, Debug)]
pub struct Arguments {
    pub subject: String,
    /// Who asks for the allocation
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// The same key returns the same allocation; default: one key a subject
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Check the preconditions only
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(global: &Global, a: &Arguments) -> Outcome {
    let shell = Shell::new(global)?;
    let key = subject(&a.subject)?;
    super::attest::signed(&a.by)?;
    let store = shell.open("randomize")?;
    // On today's facts: whatever lies in the inbox is looked at first.
    shell.pipeline(&store).run(now(), today())?;
    let mut out = Out::new();
    if a.dry_run {
        if let Some(allocation) = store.allocation_of(&shell.trial.study.id, &key)? {
            return Err(refused(&AllocateError::Refused(Refusal {
                code: "duplicate".into(),
                text: format!("this participant has been allocated already: {}", allocation.id),
            })));
        }
        let snapshot = store.allocation_snapshot(&shell.trial.study.id, &key).map_err(|e| refused(&e))?;
        check(&snapshot, &shell.trial, today()).map_err(|e| refused(&AllocateError::Refused(e)))?;
        if global.output() == Output::Table {
            out.line(&format!("{key} could be randomized now; nothing was drawn"))?;
        } else {
            out.json(&json!({
                "schema": "trialbridge/allocation-dry-run/v1", "trial": shell.trial.study.id,
                "subject": key, "possible": true
            }))?;
        }
        out.finish()?;
        return Ok(0);
    }
    let idempotency_key = a.key.clone().unwrap_or_else(|| format!("cli:{key}"));
    let outcome = draw(&shell, &store, &key, &a.by, &idempotency_key)?;
    let disclosed = shell.config.writeback.arm == "disclose";
    let allocation = &outcome.allocation;
    if global.output() == Output::Table {
        let word = if outcome.replayed { "was randomized before" } else { "randomized" };
        out.line(&format!("{key} {word}: allocation {} of {}", allocation.id, allocation.at))?;
        if disclosed {
            out.line(&format!("arm: {}", allocation.arm))?;
        }
    } else {
        let mut value = json!({
            "schema": "trialbridge/allocation/v1", "trial": shell.trial.study.id, "subject": key,
            "allocation": allocation.id, "at": allocation.at, "by": allocation.actor,
            "replayed": outcome.replayed
        });
        if disclosed {
            value["arm"] = allocation.arm.clone().into();
        }
        out.json(&value)?;
    }
    out.finish()?;
    Ok(0)
}

/// Draws once. A retry with the same key returns the same allocation.
pub fn draw(
    shell: &Shell,
    store: &Arc<dyn Store>,
    subject: &str,
    by: &str,
    idempotency_key: &str,
) -> Result<AllocationOutcome, Failure> {
    // Who may not be randomized is told so, and not that a key is missing; and a retry needs no key.
    let key = allocation::read_key(shell);
    let unreadable = key.as_ref().err().cloned();
    let trial = Arc::clone(&shell.trial);
    let day = today();
    let request = AllocationRequest {
        idempotency_key: idempotency_key.to_owned(),
        trial: shell.trial.study.id.clone(),
        subject: subject.to_owned(),
        actor: by.to_owned(),
        role: "investigator".into(),
        at: stamp(now()),
        outbox: vec!["research-subject".into()],
    };
    let again = Box::new(move |snapshot: &Snapshot| {
        check(snapshot, &trial, day)?;
        let key = key.as_ref().map_err(|e| Refusal { code: NO_KEY.into(), text: e.message.clone() })?;
        open(snapshot, key)
    });
    store.allocate(request, again).map_err(|e| match (&e, unreadable) {
        (AllocateError::Refused(r), Some(failure)) if r.code == NO_KEY => failure,
        _ => refused(&e),
    })
}

/// Everything allows the draw but the key.
const NO_KEY: &str = "no-key";

/// Everything that must hold at the moment of the draw, on what the transaction itself reads.
fn check(snapshot: &Snapshot, trial: &Trial, today: NaiveDate) -> Result<(), Refusal> {
    let refuse = |code: &'static str, text: String| Err(Refusal { code: code.into(), text });
    let d = &snapshot.decision;
    if snapshot.dirty || snapshot.pending_inbox > 0 {
        return refuse("stale-eligibility", "data came in that were not judged yet; run it again".into());
    }
    if d.definition != trial.hash {
        return refuse("stale-eligibility", "the decision was made under another trial definition".into());
    }
    if snapshot.list.definition != trial.hash {
        let text = "the allocation list was sealed under another trial definition".into();
        return refuse("definition-changed", text);
    }
    let days = trial.allocation.as_ref().map_or(1, |a| a.decision_valid_days);
    let fresh = d.as_of.parse::<NaiveDate>().is_ok_and(|day| day >= days_before(today, days) && day <= today);
    if !fresh {
        return refuse("stale-eligibility", format!("the decision is of {}", d.as_of));
    }
    match d.decision.as_str() {
        "eligible" => Ok(()),
        "ineligible" => refuse("not-eligible", format!("ineligible by {}", d.deciding.join(", "))),
        _ if !d.deciding.is_empty() && d.deciding.iter().all(|c| is_consent(trial, c)) => {
            refuse("no-consent", "no valid consent is recorded".into())
        }
        _ => refuse("undetermined", format!("not decided: {}", d.deciding.join(", "))),
    }
}

fn is_consent(trial: &Trial, criterion: &str) -> bool {
    trial.criteria.iter().any(|c| c.id == criterion && matches!(c.rule, crate::protocol::rule::Rule::Consent))
}

fn open(snapshot: &Snapshot, key: &SealKey) -> Result<Drawn, Refusal> {
    let opened = allocation::open(&snapshot.list, &snapshot.sealed, key)
        .map_err(|e| Refusal { code: "list-unverified".into(), text: e.to_string() })?;
    if i64::from(opened.position) != snapshot.position {
        return Err(Refusal {
            code: "list-unverified".into(),
            text: "the slot is of another position".to_owned(),
        });
    }
    let proof = serde_json::to_string(&opened.proof).map_err(|_| Refusal {
        code: "list-unverified".into(),
        text: "the proof cannot be written".to_owned(),
    })?;
    Ok(Drawn {
        arm: opened.arm.expose().to_owned(),
        salt: crate::protocol::document::hex(opened.salt.expose()),
        proof,
    })
}

fn refused(error: &AllocateError) -> Failure {
    let hint = match error.code() {
        "undetermined" => "`trialbridge explain SUBJECT` says what is needed",
        "not-eligible" => {
            "`trialbridge explain SUBJECT` says why; correct the record at the source if it is wrong"
        }
        "no-consent" => "`trialbridge consent record SUBJECT --by NAME`",
        "stale-eligibility" => "run it again",
        "no-list" | "not-found" => "`trialbridge allocation generate`",
        "list-exhausted" => "the planned number is reached: there is no further slot, and there will be none",
        "audit-unanchored" | "audit-broken" => "`trialbridge doctor` and `trialbridge audit verify` say more",
        "duplicate" => "a participant has one allocation, for ever",
        _ => "",
    };
    match error {
        AllocateError::Refused(r) => {
            let unverified =
                ["list-unverified", "audit-unanchored", "audit-broken"].contains(&r.code.as_str());
            let code = if unverified { exit::UNVERIFIED } else { exit::NOT_PERMITTED };
            Failure::new(code, format!("not randomized ({}): {}", r.code, r.text), hint)
        }
        AllocateError::Store(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {
            Failure::new(exit::NOT_PERMITTED, format!("not randomized: {error}"), hint)
        }
        AllocateError::Store(e) => Failure::from(e.clone()),
    }
}
