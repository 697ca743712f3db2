//! `attest` and `consent`: what only a person knows. It goes through the inbox like everything else,
//! as a QuestionnaireResponse or a Consent of our own source.

use super::output::Out;
use super::shell::{Shell, now, subject, today};
use super::sign::sign;
use super::{Failure, Global, Outcome, exit};
use crate::access::Permission;
use crate::source::inbox::{OWN_SOURCE, accept};
use crate::statement::{self, Wrong};
use crate::store::{NewAudit, NewSignature, Store};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

#[derive(Args, Debug)]
pub struct Arguments {
    pub subject: String,
    /// A criterion such as E4, or a bedside grade such as `ascites`
    pub criterion: String,
    /// Does the criterion's statement apply? `no` clears an exclusion. A grade takes its own words
    #[arg(long, value_name = "yes|no")]
    pub verdict: String,
    /// Who attests
    #[arg(long, value_name = "NAME")]
    pub by: String,
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

#[derive(Subcommand, Debug)]
pub enum ConsentCommand {
    /// A signed consent was seen
    Record(ConsentArguments),
    /// The consent was withdrawn
    Withdraw(ConsentArguments),
}

#[derive(Args, Debug)]
pub struct ConsentArguments {
    pub subject: String,
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// When it was signed or withdrawn; default: now
    #[arg(long, value_name = "DATE")]
    pub date: Option<String>,
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

pub fn run(global: &Global, a: &Arguments) -> Outcome {
    let shell = Shell::new(global)?;
    let key = subject(&a.subject)?;
    signed(&a.by)?;
    statement::answer(&shell.trial, &a.criterion, &a.verdict, &a.reason).map_err(|e| wrong(&e, a))?;
    let store = shell.open("attest")?;
    let at = statement::moment(&*store, &key, &now)?;
    let said = (a.criterion.as_str(), a.verdict.as_str(), a.reason.as_str());
    let said = statement::attestation(&shell.trial, &key, said, &a.by, at).map_err(|e| wrong(&e, a))?;
    // What the signer knew: the inputs of the decision as it stands.
    let evidence = store.latest_decision(&key)?.map(|d| d.input);
    let shown = json!({
        "subject": key, "criterion": a.criterion, "verdict": a.verdict, "date": said.at(), "reason": a.reason,
        "evidence": evidence, "document": said.document()
    });
    let signature = sign(&shell, &*store, &a.by, Permission::Attest, "attest", Some(&key), shown)?;
    known(&*store, &key)?;
    statement::store(&*store, said, signature)?;
    judge(global, &shell, store, &key)
}

/// What of a statement cannot be taken down.
fn wrong(wrong: &Wrong, a: &Arguments) -> Failure {
    let usage = |text: String, hint: String| Failure::new(exit::USAGE, text, hint);
    match wrong {
        Wrong::Criterion(ids) => {
            usage(format!("the trial has no criterion `{}`", a.criterion), format!("criteria: {ids}"))
        }
        Wrong::Verdict(ids) if ids == "yes, no" => {
            usage("--verdict is `yes` or `no`".into(), "yes: the criterion's statement applies".into())
        }
        Wrong::Verdict(ids) => {
            usage(format!("`{}` has no such answer", a.criterion), format!("answers: {ids}"))
        }
        Wrong::Reason => usage("an attestation has a reason".into(), "--reason TEXT".into()),
        Wrong::Date => no_date(),
    }
}

fn no_date() -> Failure {
    Failure::new(exit::USAGE, "--date is not a date", "YYYY-MM-DD, or an instant with a time zone")
}

pub fn consent(global: &Global, command: &ConsentCommand) -> Outcome {
    let shell = Shell::new(global)?;
    let (a, given) = match command {
        ConsentCommand::Record(a) => (a, true),
        ConsentCommand::Withdraw(a) => (a, false),
    };
    let key = subject(&a.subject)?;
    signed(&a.by)?;
    statement::date(a.date.as_deref()).map_err(|_| no_date())?;
    let store = shell.open("consent")?;
    let at = statement::moment(&*store, &key, &now)?;
    let about = (a.date.as_deref(), a.reason.as_str());
    let said = statement::consent(&shell.trial, &key, given, about, at).map_err(|_| no_date())?;
    let action = if given { "consent.record" } else { "consent.withdraw" };
    let shown = json!({
        "subject": key, "consent": if given { "given" } else { "withdrawn" },
        "date": a.date.as_deref().unwrap_or(said.at()), "reason": a.reason, "document": said.document()
    });
    let signature = sign(&shell, &*store, &a.by, Permission::RecordConsent, action, Some(&key), shown)?;
    known(&*store, &key)?;
    statement::store(&*store, said, signature)?;
    judge(global, &shell, store, &key)
}

/// A signature is a name on one line.
pub fn signed(by: &str) -> Result<(), Failure> {
    if by.trim().is_empty() {
        return Err(Failure::new(exit::USAGE, "nobody signs it", "--by NAME"));
    }
    if by.chars().any(char::is_control) {
        return Err(Failure::new(exit::USAGE, "a name holds no control characters", "--by NAME"));
    }
    Ok(())
}

/// An attestation for somebody whom nobody has heard of is a slip of the pen.
pub(super) fn known(store: &dyn Store, key: &str) -> Result<(), Failure> {
    if store.subjects()?.iter().any(|s| s == key) {
        return Ok(());
    }
    Err(unknown())
}

/// Also for a subject of another site: nobody is told which it is.
pub(super) fn unknown() -> Failure {
    let hint = "pull or import the patient first; `trialbridge subjects` lists who is there";
    Failure::new(exit::PROBLEMS, "this subject is not in the store", hint)
}

/// SHA-256 of a document as it goes into the inbox.
pub(super) fn sha256(document: &Value) -> String {
    crate::protocol::document::hex(&Sha256::digest(document.to_string().as_bytes()))
}

/// Puts a person's word into the inbox.
pub(super) fn record(
    store: &dyn Store,
    origin: &str,
    resource: &Value,
    signature: NewSignature,
    audit: NewAudit,
) -> Result<(), Failure> {
    // The action is signed and written down before it has its effect.
    store.sign(signature, vec![audit])?;
    accept(store, origin, OWN_SOURCE, resource.to_string().into_bytes())?;
    Ok(())
}

fn judge(global: &Global, shell: &Shell, store: std::sync::Arc<dyn Store>, key: &str) -> Outcome {
    shell.pipeline(&store).run(now(), today())?;
    let mut out = Out::new();
    if let Some(d) = store.latest_decision(key)? {
        if global.output() == super::Output::Table {
            out.line(&format!("{key}  {}  {}", d.decision, d.deciding.join(" ")))?;
        } else {
            out.line(&d.json)?;
        }
    }
    out.finish()?;
    Ok(0)
}
