//! `attest` and `consent`: what only a person knows. It goes through the inbox like everything else,
//! as a QuestionnaireResponse or a Consent of our own source.

use super::output::Out;
use super::shell::{Shell, now, subject, today};
use super::sign::sign;
use super::{Failure, Global, Outcome, exit};
use crate::access::Permission;
use crate::pipeline::{detail, stamp};
use crate::source::inbox::{OWN_SOURCE, accept};
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
    let answer = answer(&shell, &a.criterion, &a.verdict)?;
    if a.reason.trim().is_empty() {
        return Err(Failure::new(exit::USAGE, "an attestation has a reason", "--reason TEXT"));
    }
    let store = shell.open("attest")?;
    let at = moment(&*store, &key)?;
    let before = judged(&*store, &key, &a.criterion)?;
    let resource = json!({
        "resourceType": "QuestionnaireResponse",
        "id": format!("{}-{}", a.criterion.to_lowercase().replace('_', "-"), now().timestamp_micros()),
        "meta": {"versionId": "1", "lastUpdated": at},
        "questionnaire": shell.trial.study.questionnaire,
        "status": "completed",
        "subject": {"reference": key},
        "authored": at,
        "author": {"display": a.by},
        "item": [
            {"linkId": a.criterion, "answer": [answer]},
            {"linkId": "reason", "answer": [{"valueString": a.reason}]}
        ]
    });
    // What the signer knew: the inputs of the decision as it stands.
    let evidence = store.latest_decision(&key)?.map(|d| d.input);
    let document = sha256(&resource);
    let shown = json!({
        "subject": key, "criterion": a.criterion, "verdict": a.verdict, "date": at, "reason": a.reason,
        "evidence": evidence, "document": document
    });
    let signature = sign(&shell, &*store, &a.by, Permission::Attest, "attest", Some(&key), shown)?;
    known(&*store, &key)?;
    let audit = NewAudit {
        at: at.clone(),
        actor: a.by.clone(),
        role: signature.role.clone(),
        action: "attest".into(),
        subject: Some(key.clone()),
        detail: detail(&[
            ("criterion", &a.criterion),
            ("verdict", &a.verdict),
            ("before", &before),
            ("after", &a.verdict),
            ("reason", &a.reason),
            ("document", &document),
        ]),
    };
    record(&*store, "attestation", &resource, signature, audit)?;
    judge(global, &shell, store, &key)
}

/// A verdict on a criterion, or the answer of a coded variable.
fn answer(shell: &Shell, name: &str, verdict: &str) -> Result<Value, Failure> {
    let trial = &shell.trial;
    if trial.criterion(name).is_some() {
        return match verdict {
            "yes" => Ok(json!({"valueBoolean": true})),
            "no" => Ok(json!({"valueBoolean": false})),
            _ => Err(Failure::new(
                exit::USAGE,
                "--verdict is `yes` or `no`",
                "yes: the criterion's statement applies",
            )),
        };
    }
    let coded = trial.variable(name).and_then(|v| trial.variables[v as usize].coded());
    let Some(coded) = coded else {
        let ids: Vec<&str> = trial.criteria.iter().map(|c| c.id.as_str()).collect();
        let hint = format!("criteria: {}", ids.join(", "));
        return Err(Failure::new(exit::USAGE, format!("the trial has no criterion `{name}`"), hint));
    };
    if coded.answers.iter().any(|a| a.id == verdict) {
        return Ok(json!({"valueCoding": {"system": format!("urn:trialbridge:{name}"), "code": verdict}}));
    }
    let ids: Vec<&str> = coded.answers.iter().map(|a| a.id.as_str()).collect();
    Err(Failure::new(
        exit::USAGE,
        format!("`{name}` has no such answer"),
        format!("answers: {}", ids.join(", ")),
    ))
}

pub fn consent(global: &Global, command: &ConsentCommand) -> Outcome {
    let shell = Shell::new(global)?;
    let (a, given) = match command {
        ConsentCommand::Record(a) => (a, true),
        ConsentCommand::Withdraw(a) => (a, false),
    };
    let key = subject(&a.subject)?;
    signed(&a.by)?;
    if a.date.as_deref().is_some_and(|date| crate::clinical::time::When::parse(date).is_err()) {
        return Err(Failure::new(
            exit::USAGE,
            "--date is not a date",
            "YYYY-MM-DD, or an instant with a time zone",
        ));
    }
    let store = shell.open("consent")?;
    let at = moment(&*store, &key)?;
    let asks = |c: &&crate::protocol::Criterion| matches!(c.rule, crate::protocol::rule::Rule::Consent);
    let before = match shell.trial.criteria.iter().find(asks) {
        Some(criterion) => judged(&*store, &key, &criterion.id)?,
        None => "none".to_owned(),
    };
    let date = a.date.clone().unwrap_or_else(|| at.clone());
    let study = &shell.trial.study;
    let resource = json!({
        "resourceType": "Consent",
        "id": format!("consent-{}", now().timestamp_micros()),
        "meta": {"versionId": "1", "lastUpdated": at},
        "extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy",
            "valueReference": {"identifier": {"system": study.system, "value": study.id}}
        }],
        "status": if given { "active" } else { "inactive" },
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": key},
        "dateTime": date
    });
    let action = if given { "consent.record" } else { "consent.withdraw" };
    let document = sha256(&resource);
    let shown = json!({
        "subject": key, "consent": if given { "given" } else { "withdrawn" }, "date": date,
        "reason": a.reason, "document": document
    });
    let signature = sign(&shell, &*store, &a.by, Permission::RecordConsent, action, Some(&key), shown)?;
    known(&*store, &key)?;
    let audit = NewAudit {
        at,
        actor: a.by.clone(),
        role: signature.role.clone(),
        action: action.into(),
        subject: Some(key.clone()),
        detail: detail(&[
            ("date", &date),
            ("before", &before),
            ("after", if given { "consented" } else { "withdrawn" }),
            ("reason", &a.reason),
            ("document", &document),
        ]),
    };
    record(&*store, "consent", &resource, signature, audit)?;
    judge(global, &shell, store, &key)
}

/// What was held of a criterion before somebody spoke: its verdict, or the answer of a variable; `none`.
fn judged(store: &dyn Store, key: &str, name: &str) -> Result<String, Failure> {
    let Some(decision) = store.latest_decision(key)? else { return Ok("none".to_owned()) };
    let screening: Value = serde_json::from_str(&decision.json).unwrap_or_default();
    let criteria = screening["criteria"].as_array();
    let verdict = criteria.into_iter().flatten().find(|c| c["id"] == name).map(|c| &c["verdict"]);
    let held = verdict.unwrap_or(&screening["variables"][name]["value"]);
    Ok(held.as_str().unwrap_or("none").to_owned())
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

/// A moment of its own second. Order is decided by the second, and what a person records later must
/// be later: two statements of one second would contradict each other instead of correcting.
fn moment(store: &dyn Store, key: &str) -> Result<String, Failure> {
    let second = |text: &str| text.get(..19).map(str::to_owned);
    let own = store.records_of(key)?.into_iter().filter(|r| r.key.source == OWN_SOURCE);
    let newest = own.filter_map(|r| second(&r.last_updated?)).max();
    loop {
        let at = now();
        let text = stamp(at);
        // A clock that was set back is not waited for.
        if newest.is_none() || second(&text) != newest {
            return Ok(text);
        }
        std::thread::sleep(std::time::Duration::from_millis(
            1001u64.saturating_sub(at.timestamp_subsec_millis().into()),
        ));
    }
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
