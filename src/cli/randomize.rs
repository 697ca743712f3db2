//! `randomize`: one draw, in one transaction, for a subject who is eligible on today's facts and has
//! consented.

use super::output::Out;
use super::shell::{Shell, now, subject, today};
use super::sign::sign;
use super::{Failure, Global, Outcome, Output, allocation, exit};
use crate::access::{Permission, may};
use crate::draw::{self, Asked, NoArm, Viewer};
use crate::store::{AllocateError, AllocationOutcome, Refusal, Store, StoreError};
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
        draw::consider(&*store, &shell.trial, &key, today()).map_err(|e| refused(&e))?;
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
    let allocation = &outcome.allocation;
    // The allocation stands and is told, whatever becomes of the arm.
    let (arm, unread) = match shown(&shell, &store, &outcome, &a.by) {
        Ok(arm) => (arm, None),
        Err(failure) => (None, Some(failure)),
    };
    if global.output() == Output::Table {
        let word = if outcome.replayed { "was randomized before" } else { "randomized" };
        out.line(&format!("{key} {word}: allocation {} of {}", allocation.id, allocation.at))?;
        if let Some(arm) = arm {
            out.line(&format!("arm: {}", arm.expose()))?;
        }
    } else {
        let mut value = json!({
            "schema": "trialbridge/allocation/v1", "trial": shell.trial.study.id, "subject": key,
            "allocation": allocation.id, "at": allocation.at, "by": allocation.actor,
            "replayed": outcome.replayed
        });
        if let Some(arm) = arm {
            value["arm"] = arm.expose().into();
        }
        out.json(&value)?;
    }
    out.finish()?;
    unread.map_or(Ok(0), Err)
}

/// The arm, for whoever asked and may see it.
fn shown(
    shell: &Shell,
    store: &Arc<dyn Store>,
    outcome: &AllocationOutcome,
    by: &str,
) -> Result<Option<crate::randomize::Arm>, Failure> {
    let (masking, role) = (shell.masking(), super::sign::role_of(&**store, by)?);
    if !may(role, Permission::ViewArm, &masking) {
        return Ok(None);
    }
    let viewer = Viewer::Person { actor: by, role };
    let key = allocation::read_key(shell).map_err(|e| {
        let text =
            format!("allocation {} is made; its arm is not shown: {}", outcome.allocation.id, e.message);
        Failure { message: text, ..e }
    })?;
    draw::disclose(&**store, &shell.trial, &key, &masking, &outcome.allocation, viewer, now())
        .map(Some)
        .map_err(|e| no_arm(&e))
}

/// Why no arm is shown, as an exit code.
pub fn no_arm(error: &NoArm) -> Failure {
    match error {
        NoArm::NotPermitted => Failure::new(exit::NOT_PERMITTED, error.to_string(), ""),
        NoArm::NotAllocated => Failure::new(
            exit::NOT_PERMITTED,
            error.to_string(),
            "`trialbridge subjects` says who is randomized",
        ),
        NoArm::OtherPlan => Failure::new(
            exit::NOT_PERMITTED,
            error.to_string(),
            "load the definition that the list was made for, or one that gives the same list",
        ),
        NoArm::Sealed(_) | NoArm::Exchanged { .. } => Failure::new(
            exit::UNVERIFIED,
            error.to_string(),
            "nobody should be randomized until this is understood: `trialbridge allocation verify`",
        ),
        NoArm::Store(e) => Failure::from(e.clone()),
    }
}

/// Draws once. A retry with the same key returns the same allocation.
pub fn draw(
    shell: &Shell,
    store: &Arc<dyn Store>,
    subject: &str,
    by: &str,
    idempotency_key: &str,
) -> Result<AllocationOutcome, Failure> {
    let key = allocation::read_key(shell);
    let unreadable = key.as_ref().err().cloned();
    let no_key = |e: Failure| Refusal { code: NO_KEY.into(), text: e.message };
    // What is signed is the decision as it stands now; the transaction refuses if it is another by then.
    let decision = store.latest_decision(subject)?;
    let seen = decision.as_ref().map(|d| d.input.clone());
    let record = json!({
        "trial": shell.trial.study.id, "subject": subject, "definition": shell.trial.hash,
        "input": seen, "decision": decision.as_ref().map(|d| &d.decision), "asOf": decision.as_ref().map(|d| &d.as_of)
    });
    let signature = sign(shell, &**store, by, Permission::Randomize, "randomize", Some(subject), record)?;
    super::sign::sees(shell, &**store, by, subject)?;
    let asked = Asked {
        subject: subject.to_owned(),
        idempotency_key: idempotency_key.to_owned(),
        seen,
        signature,
        now: now(),
        today: today(),
    };
    draw::draw(&**store, &shell.trial, key.map_err(no_key), asked).map_err(|e| match (&e, unreadable) {
        (AllocateError::Refused(r), Some(failure)) if r.code == NO_KEY => failure,
        _ => refused(&e),
    })
}

/// Everything allows the draw but the key.
const NO_KEY: &str = "no-key";

fn refused(error: &AllocateError) -> Failure {
    let hint = match error.code() {
        "undetermined" => "`trialbridge explain SUBJECT` says what is needed",
        "not-eligible" => {
            "`trialbridge explain SUBJECT` says why; correct the record at the source if it is wrong"
        }
        "no-consent" => "`trialbridge consent record SUBJECT --by NAME`",
        "stale-eligibility" | "record-changed" => "run it again",
        "identity-open" => "`trialbridge identity list` shows what has to be answered",
        "trial-closed" => "`trialbridge allocation reopen` resumes it",
        "definition-changed" => "`trialbridge definition sign` puts a definition in force for the same list",
        "stratum-unknown" => "`trialbridge explain SUBJECT` shows what is known of it",
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
        AllocateError::Store(StoreError::Conflict { code, .. }) => {
            Failure::new(exit::NOT_PERMITTED, format!("not randomized ({code}): {error}"), hint)
        }
        AllocateError::Store(StoreError::NotFound { .. }) => {
            Failure::new(exit::NOT_PERMITTED, format!("not randomized: {error}"), hint)
        }
        AllocateError::Store(e) => Failure::from(e.clone()),
    }
}
