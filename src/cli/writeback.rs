//! `writeback`: makes the hospital's resources agree with the committed rows.

mod held;

use super::output::{Out, table};
use super::randomize::no_arm;
use super::shell::{Shell, block_on, now};
use super::{Failure, Global, Outcome, Output, allocation, exit};
use crate::access::{Disclosure, Masking};
use crate::client::FhirClient;
use crate::client::server::ServerError;
use crate::draw::{Opener, Viewer};
use crate::fhir::reference::type_and_id;
use crate::fhir::release::Release;
use crate::pipeline::{detail, stamp};
use crate::protocol::document::hex;
use crate::score;
use crate::sink::element::Identifier;
use crate::sink::reconcile::{Capability, KnownIds, reconcile};
use crate::sink::report::{Outcome as Fate, ReconcileReport};
use crate::sink::score_observation;
use crate::sink::wanted::*;
use crate::store::{Allocation, Decision, KnownId, NewAudit, OutboxOutcome, OutboxState, Store};
use chrono::{DateTime, NaiveDate, NaiveTime};
use clap::Args;
use held::Held;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Look, and say what would be written
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(global: &Global, a: &Arguments) -> Outcome {
    let shell = Shell::new(global)?;
    if !shell.config.writeback.enabled {
        let hint = "set [writeback] enabled = true";
        return Err(Failure::new(exit::CONFIG, "the write-back is switched off", hint));
    }
    let store = shell.open("writeback")?;
    let report = block_on(once(&shell, &store, a.dry_run))??;
    let mut out = Out::new();
    print(global, &mut out, &report)?;
    out.finish()?;
    Ok(code(&report))
}

/// The exit code of a run: 13 where another run may help, 1 where a person has to look.
pub fn code(report: &ReconcileReport) -> u8 {
    let mut code = 0;
    for line in report.lines() {
        match line.outcome {
            Fate::Failed { retry: true, .. } if code == 0 => code = exit::PARTIAL,
            Fate::Failed { retry: false, .. } | Fate::NeedsHuman { .. } => code = exit::PROBLEMS,
            _ => {}
        }
    }
    code
}

fn print(global: &Global, out: &mut Out, report: &ReconcileReport) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for line in report.lines() {
        let (word, what) = match &line.outcome {
            Fate::Created => (if report.dry_run { "would create" } else { "created" }, String::new()),
            Fate::Updated => (if report.dry_run { "would update" } else { "updated" }, String::new()),
            Fate::Unchanged => ("unchanged", String::new()),
            Fate::Failed { code, .. } => ("failed", (*code).to_owned()),
            Fate::NeedsHuman { code, ids } => ("needs a person", format!("{code} {}", ids.join(" "))),
        };
        let remedy = line.outcome.remedy().unwrap_or_default();
        if global.output() == Output::Table {
            rows.push(vec![
                line.resource_type.to_string(),
                line.key.clone(),
                word.into(),
                what,
                remedy.into(),
            ]);
        } else {
            out.json(&json!({
                "resourceType": line.resource_type, "key": line.key, "outcome": word, "code": what.trim(),
                "remedy": remedy, "notices": line.notices
            }))?;
        }
    }
    if global.output() == Output::Table {
        out.line(table(&["resource", "key", "outcome", "code", "remedy"], &rows).trim_end())?;
    }
    Ok(())
}

/// One run of the reconciler over all randomized participants (and, if configured, all screened).
pub async fn once(shell: &Shell, store: &Arc<dyn Store>, dry_run: bool) -> Result<ReconcileReport, Failure> {
    let client = shell.client()?;
    // Where the release is configured, a server without a CapabilityStatement is found out by asking.
    let capability = match client.capability().await {
        Err(ServerError::Status { .. } | ServerError::Protocol { .. })
            if shell.config.fhir.release != "auto" =>
        {
            crate::client::Capability::default()
        }
        other => other.map_err(|e| server_failure(&e))?,
    };
    let release = match shell.config.fhir.release.as_str() {
        "R4" => Release::R4,
        "R4B" => Release::R4B,
        "R5" => Release::R5,
        _ => capability.release().unwrap_or(Release::R4),
    };
    let release = match release {
        Release::R4 => crate::sink::Release::R4,
        Release::R4B => crate::sink::Release::R4B,
        Release::R5 => crate::sink::Release::R5,
    };
    let hints = Capability {
        conditional_create: capability.conditional_create("ResearchSubject"),
        research_subject_searchable: capability.offers("ResearchSubject", "search-type") != Some(false),
    };
    let wanted = wanted(shell, store, &client).await?;
    let known = Known { store: Arc::clone(store), server: client.base_url().to_owned() };
    let report = reconcile::<FhirClient>(&client, release, hints, &wanted, &known, dry_run).await;
    if !dry_run {
        settle(&**store, &report)?;
    }
    Ok(report)
}

/// A server that does not answer, as an exit code.
pub fn server_failure(error: &ServerError) -> Failure {
    let code = match error {
        ServerError::Unreachable { .. } => exit::UNREACHABLE,
        ServerError::Refused { .. } => exit::REFUSED,
        _ => exit::PARTIAL,
    };
    Failure::new(code, error.to_string(), "`trialbridge check` tries the connection")
}

struct Known {
    store: Arc<dyn Store>,
    server: String,
}

impl KnownIds for Known {
    fn get(&self, resource_type: &str, key: &str) -> Option<String> {
        self.store.known_id(&self.server, resource_type, key).ok().flatten().map(|k| k.remote_id)
    }
    fn set(&self, resource_type: &str, key: &str, id: &str) {
        let known = KnownId {
            server: self.server.clone(),
            kind: resource_type.to_owned(),
            key: key.to_owned(),
            remote_id: id.to_owned(),
            etag: None,
        };
        // Losing an id is never worse than a first run: the reconciler looks at the server.
        if let Err(error) = self.store.put_known_id(known) {
            tracing::warn!(event = "writeback.known-id", %error);
        }
    }
}

fn settle(store: &dyn Store, report: &ReconcileReport) -> Result<(), Failure> {
    let at = stamp(now());
    let settled: BTreeMap<&str, bool> = report
        .participants
        .iter()
        .map(|p| {
            let mut lines = std::iter::once(&p.subject).chain(&p.scores).chain(&p.provenances);
            (p.key.as_str(), lines.all(|l| l.outcome.is_settled()))
        })
        .collect();
    let everything = report.is_settled();
    for item in store.outbox(Some(OutboxState::Pending), 10_000)? {
        let done = settled.get(subject_key(store, &item.subject)?.as_str()).copied().unwrap_or(false);
        let outcome = if done || everything {
            OutboxOutcome::Done { at: at.clone() }
        } else {
            OutboxOutcome::TryAgain { error: "not settled in this run".into() }
        };
        // Attempts in vain are counted in their row; that it was done is for ever.
        let entry = matches!(outcome, OutboxOutcome::Done { .. }).then(|| NewAudit {
            at: at.clone(),
            actor: "trialbridge".into(),
            role: "service".into(),
            action: "writeback.done".into(),
            subject: Some(item.subject.clone()),
            detail: detail(&[("kind", &item.kind), ("before", "pending"), ("after", "done")]),
        });
        store.settle_outbox(item.id, outcome, entry)?;
    }
    let written = report.writes.len();
    if written > 0 {
        store.append_audit(NewAudit {
            at,
            actor: "trialbridge".into(),
            role: "service".into(),
            action: "writeback".into(),
            subject: None,
            detail: detail(&[("writes", &written.to_string())]),
        })?;
    }
    Ok(())
}

/// The participant's key at the hospital: derived once with a salt of this store, so that it tells
/// nothing about the record number and never changes.
fn subject_key(store: &dyn Store, subject: &str) -> Result<String, Failure> {
    const SALT: &str = "subject-key-salt";
    let salt = match store.meta(SALT)? {
        Some(salt) => salt,
        None => {
            let mut bytes = [0u8; 16];
            getrandom::fill(&mut bytes).map_err(|_| Failure::problem("the machine gives no random bytes"))?;
            store.set_meta(SALT, &hex(&bytes))?;
            hex(&bytes)
        }
    };
    let digest = Sha256::digest(format!("trialbridge/subject-key/v1\n{salt}\n{subject}"));
    Ok(format!("S-{}", &hex(&digest)[..16]))
}

/// What should be at the hospital, from committed rows.
async fn wanted(shell: &Shell, store: &Arc<dyn Store>, client: &FhirClient) -> Result<Wanted, Failure> {
    let trial = &shell.trial;
    let deviating: BTreeSet<String> = store.deviations(None)?.into_iter().map(|d| d.subject).collect();
    let unsettled: BTreeSet<String> =
        store.outbox(Some(OutboxState::Pending), 10_000)?.into_iter().map(|item| item.subject).collect();
    let allocations: BTreeMap<String, Allocation> =
        store.allocations(&trial.study.id)?.into_iter().map(|a| (a.subject.clone(), a)).collect();
    let masking = shell.masking();
    let needs_key = !allocations.is_empty() && masking.write_back == Disclosure::Disclose;
    let key = needs_key.then(|| allocation::read_key(shell)).transpose()?;
    let opener = key.as_ref().map(|key| Opener::new(&**store, trial, key));
    let mut participants = Vec::new();
    for d in store.latest_decisions()? {
        let allocation = allocations.get(&d.subject);
        if allocation.is_none() && !shell.config.writeback.screening {
            continue;
        }
        // What is settled already is compared, not written: its evidence need not be looked for again.
        let ask = allocation.is_none() || unsettled.contains(&d.subject) || deviating.contains(&d.subject);
        let arm = allocation.map(|a| assigned(&masking, opener.as_ref(), a)).transpose()?;
        let mut held = Held::of(client, client.base_url(), &**store, &d.subject, ask)?;
        participants.push(participant(shell, store, &d, (allocation, arm), &mut held).await?);
    }
    Ok(Wanted {
        study: StudyWanted {
            identifier: Identifier::new(&trial.study.system, &trial.study.id),
            title: trial.study.title.clone(),
            description: None,
            arms: trial
                .arms
                .iter()
                .map(|a| StudyArm {
                    name: a.name.clone(),
                    link_id: a.id.clone(),
                    arm_type: Some(match a.kind.as_str() {
                        "experimental" => ArmType::Experimental,
                        "active-comparator" => ArmType::ActiveComparator,
                        "placebo-comparator" => ArmType::PlaceboComparator,
                        "sham-comparator" => ArmType::ShamComparator,
                        "no-intervention" => ArmType::NoIntervention,
                        _ => ArmType::Other,
                    }),
                    description: Some(a.description.clone()),
                })
                .collect(),
            target_number: trial.allocation.as_ref().map(|a| a.total),
            enrollment: None,
        },
        participants,
        definition_hash: trial.hash.clone(),
        recorded: now(),
    })
}

/// The arm as far as the hospital may be told. `opener`: there is one where it may be told the name.
fn assigned(masking: &Masking, opener: Option<&Opener<'_>>, a: &Allocation) -> Result<AssignedArm, Failure> {
    match (masking.write_back, opener) {
        (Disclosure::Disclose, Some(opener)) => {
            let arm = opener.disclose(masking, a, Viewer::WriteBack, now()).map_err(|e| no_arm(&e))?;
            Ok(AssignedArm::Name(arm.expose().to_owned()))
        }
        (Disclosure::Code, _) => Ok(AssignedArm::Code(a.id.clone())),
        _ => Ok(AssignedArm::Withheld),
    }
}

async fn participant(
    shell: &Shell,
    store: &Arc<dyn Store>,
    latest: &Decision,
    (allocation, arm): (Option<&Allocation>, Option<AssignedArm>),
    held: &mut Held<'_, FhirClient>,
) -> Result<ParticipantWanted, Failure> {
    // A participant's scores and evidence are those on which the allocation was decided.
    let history = store.decision_history(&latest.subject)?;
    let decided = allocation.and_then(|a| history.iter().find(|d| d.seq == a.decision_seq));
    let decision = decided.unwrap_or(latest);
    let json: Value = serde_json::from_str(&decision.json).map_err(|_| {
        Failure::new(exit::UNVERIFIED, "a stored decision is not JSON", "run `trialbridge verify`")
    })?;
    let references: BTreeSet<String> = json["criteria"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|c| c["evidence"].as_array().into_iter().flatten())
        .filter_map(|e| e["reference"].as_str())
        .filter(|r| r.contains('/'))
        .map(str::to_owned)
        .collect();
    let mut evidence = Vec::new();
    let mut consent = None;
    for reference in &references {
        evidence.push(held.cite(reference).await?);
        if consent.is_none() && reference.starts_with("Consent/") && held.has(reference).await? {
            consent = Some(reference.split("/_history/").next().unwrap_or_default().to_owned());
        }
    }
    let state = state(shell, allocation, latest);
    // The first day of the present state, which does not move when the same is found another day.
    let since = match allocation {
        Some(a) if state == SubjectState::OnStudy => a.at.get(..10).unwrap_or_default(),
        _ => {
            let same = |d: &&Decision| self::state(shell, allocation, d) == state;
            history.iter().rev().take_while(same).last().map_or(latest.as_of.as_str(), |d| &d.as_of)
        }
    };
    let key = subject_key(&**store, &latest.subject)?;
    let (mut wanted_scores, mut retracted_scores) = (Vec::new(), Vec::new());
    if allocation.is_some() && shell.config.writeback.scores {
        (wanted_scores, retracted_scores) = revised(shell, store, decision, &key, scores(&json, decision))?;
        for score in &mut wanted_scores {
            for input in &mut score.inputs {
                *input = held.cite(input).await?;
            }
        }
        for score in &mut retracted_scores {
            for input in &mut score.inputs {
                *input = held.cite(input).await?;
            }
        }
    }
    Ok(ParticipantWanted {
        key,
        patient: latest.subject.clone(),
        state,
        since: since.parse::<NaiveDate>().unwrap_or_default(),
        arm,
        consent,
        evidence,
        scores: wanted_scores,
        retracted_scores,
    })
}

/// The scores of a decision as they stand now: what was computed from something that has another version
/// since is computed again for the same day; what is not known any more is taken back.
///
/// A result that merely came later leaves the scores of the decision as they were. Under another trial
/// definition nothing is computed again: a difference could come from the definition.
fn revised(
    shell: &Shell,
    store: &Arc<dyn Store>,
    decision: &Decision,
    key: &str,
    first: Vec<ScoreWanted>,
) -> Result<(Vec<ScoreWanted>, Vec<ScoreRetracted>), Failure> {
    let Ok(day) = decision.as_of.parse::<NaiveDate>() else { return Ok((first, Vec::new())) };
    let mut touched: BTreeMap<String, bool> = BTreeMap::new();
    for input in first.iter().flat_map(|s| &s.inputs) {
        if !touched.contains_key(input) {
            touched.insert(input.clone(), has_changed(&**store, input)?);
        }
    }
    if decision.definition != shell.trial.hash || !touched.values().any(|t| *t) {
        return Ok((first, Vec::new()));
    }
    let pipeline = shell.pipeline(store);
    let (screening, _) = pipeline.screen(&decision.subject, day)?;
    if screening.attached_to.is_some() {
        return Ok((first, Vec::new()));
    }
    let json = serde_json::to_value(&screening).map_err(|e| Failure::problem(e.to_string()))?;
    let now = scores(&json, decision);
    let (mut stand, mut retracted) = (Vec::new(), Vec::new());
    for score in first {
        if !score.inputs.iter().any(|i| touched.get(i) == Some(&true)) {
            stand.push(score);
            continue;
        }
        // A value that has become a range is not known any more.
        let holds = |n: &&ScoreWanted| {
            n.name == score.name
                && (matches!(n.value, ScoreValue::Known(_)) || !matches!(score.value, ScoreValue::Known(_)))
        };
        match now.iter().find(holds) {
            Some(now) => {
                let revised = Some(now.input_hash.clone());
                stand.push(ScoreWanted { input_hash: score.input_hash, revised, ..now.clone() });
            }
            None => retracted.push(ScoreRetracted {
                identifier: score_observation::identifier(key, &score),
                inputs: score.inputs,
            }),
        }
    }
    Ok((stand, retracted))
}

/// Has a resource had another version than the one that is cited?
fn has_changed(store: &dyn Store, reference: &str) -> Result<bool, Failure> {
    let Some((resource_type, id)) = type_and_id(reference) else { return Ok(false) };
    for record in store.records_named(resource_type, id)? {
        if store.record_history(&record.key)?.len() > 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The state of a subject after a decision.
fn state(shell: &Shell, allocation: Option<&Allocation>, decision: &Decision) -> SubjectState {
    match (allocation, decision.decision.as_str()) {
        // A consent that was withdrawn ends the participation; the allocation stays as it is.
        (Some(_), _) if withdrawn(&decision.json, shell) => SubjectState::Withdrawn,
        (Some(_), _) => SubjectState::OnStudy,
        (None, "eligible") => SubjectState::Eligible,
        (None, "ineligible") => SubjectState::Ineligible,
        (None, _) => SubjectState::Screening,
    }
}

fn withdrawn(json: &str, shell: &Shell) -> bool {
    let Ok(v) = serde_json::from_str::<Value>(json) else { return false };
    v["criteria"].as_array().into_iter().flatten().any(|c| {
        c["verdict"] == "not-met"
            && shell
                .trial
                .criteria
                .iter()
                .any(|t| c["id"] == t.id.as_str() && matches!(t.rule, crate::protocol::rule::Rule::Consent))
    })
}

/// Where a FHIR dateTime stands among others of other time zones and precisions. A period, which
/// starts and ends, and what is no date stand before all.
fn instant(text: &str) -> Option<i64> {
    let midnight = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let at = DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()).or_else(midnight)?;
    Some(at.timestamp_millis())
}

fn scores(json: &Value, decision: &Decision) -> Vec<ScoreWanted> {
    let decimal = |v: &Value| v.to_string().parse::<Decimal>().ok();
    let mut all = Vec::new();
    for (name, found) in json["scores"].as_object().into_iter().flatten() {
        let value = match found["status"].as_str() {
            Some("known") => match decimal(&found["value"]) {
                Some(value) => ScoreValue::Known(value),
                None => continue,
            },
            Some("range") => ScoreValue::Range { low: decimal(&found["low"]), high: decimal(&found["high"]) },
            _ => continue,
        };
        let (mut inputs, mut effective) = (Vec::new(), String::new());
        for variable in score::variables_of(name) {
            let v = &json["variables"][variable];
            let Some(source) = v["source"].as_str().filter(|s| s.contains('/')) else { continue };
            inputs.push(match v["version"].as_str() {
                Some(version) => format!("{source}/_history/{version}"),
                None => source.to_owned(),
            });
            if let Some(at) = v["effective"].as_str().filter(|at| instant(at) > instant(&effective)) {
                effective = at.to_owned();
            }
        }
        if inputs.is_empty() {
            continue;
        }
        if effective.is_empty() {
            effective = decision.as_of.clone();
        }
        inputs.sort();
        inputs.dedup();
        let digest = Sha256::digest(format!("{name}\n{}\n{}", inputs.join("\n"), decision.definition));
        let class = [("class", "class"), ("grade", "grade")].iter().find_map(|(key, kind)| {
            let v = found.get(*key)?;
            let value = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            Some(ScoreClass { kind: (*kind).to_owned(), value })
        });
        all.push(ScoreWanted {
            name: name.clone(),
            title: score::title(name).to_owned(),
            value,
            class,
            effective,
            inputs,
            input_hash: hex(&digest)[..32].to_owned(),
            revised: None,
        });
    }
    all
}
