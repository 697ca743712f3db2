//! `pull` and `import`: from the hospital, or from files, into the store; then the pipeline.

use super::output::Out;
use super::shell::{Shell, block_on, now, today};
use super::{Failure, Global, Outcome, Output, exit};
use crate::client::FhirClient;
use crate::client::server::ServerError;
use crate::pipeline::Progressed;
use crate::source::fhir_pull::{Cohort, Fatal, Progress, PullOptions, PullReport, PullSink, pull};
use crate::source::inbox::{self, PullInbox};
use crate::source::{files, needs};
use crate::store::{NewAudit, Store};
use chrono::{DateTime, Utc};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Args, Debug, Default)]
pub struct Arguments {
    /// Load everything again
    #[arg(long)]
    pub full: bool,
    /// `auto`: since the last pull; or an instant such as 2026-11-01T00:00:00Z
    #[arg(long, value_name = "auto|TIME", default_value = "auto")]
    pub since: String,
    /// Only this patient
    #[arg(long, value_name = "ID")]
    pub patient: Option<String>,
    /// Say what would be asked; store nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args, Debug)]
pub struct ImportArguments {
    /// Files or folders of FHIR; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// What a pull or import came to, for people and scripts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub schema: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patients: Option<usize>,
    pub pages: usize,
    pub resources: usize,
    pub requests: u64,
    pub retried: u64,
    pub new: usize,
    pub changed: usize,
    pub same: usize,
    pub quarantined: usize,
    pub judged: usize,
    pub decisions: Vec<Changed>,
    pub warnings: Vec<String>,
    pub incomplete: Vec<String>,
    pub unsupported: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_to: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Changed {
    pub subject: String,
    pub before: Option<String>,
    pub after: String,
}

/// One pull with everything after it. Used by `pull`, `serve` and `demo`.
pub async fn once(
    shell: &Shell,
    store: &Arc<dyn Store>,
    arguments: &Arguments,
    progress: &dyn Progress,
) -> Result<(PullReport, Progressed), Failure> {
    // One pull at a time, whoever asks for it: the schedule, or a lost notification.
    let _turn = shell.pulls.lock().await;
    let client = shell.client()?;
    let cohort: Cohort = shell
        .config
        .pull
        .cohort
        .parse::<Cohort>()
        .and_then(Cohort::load)
        .map_err(|e| Failure::new(exit::CONFIG, format!("pull.cohort: {e}"), ""))?;
    let since = match arguments.since.as_str() {
        "auto" => None,
        text => Some(
            DateTime::parse_from_rfc3339(text)
                .map_err(|_| {
                    Failure::new(exit::USAGE, "--since is neither `auto` nor an instant with a time zone", "")
                })?
                .with_timezone(&Utc),
        ),
    };
    let patient = arguments.patient.as_deref().map(|p| p.strip_prefix("Patient/").unwrap_or(p).to_owned());
    let named = patient.clone();
    let options = PullOptions {
        full: arguments.full,
        since,
        dry_run: arguments.dry_run,
        patient,
        overlap: Duration::from_secs(u64::from(shell.config.pull.overlap_minutes) * 60),
        ..PullOptions::new(now())
    };
    let capability = match client.capability().await {
        Err(error @ (ServerError::Unreachable { .. } | ServerError::Refused { status: 401, .. })) => {
            return Err(super::writeback::server_failure(&error));
        }
        // What the server does not state is found out by asking.
        stated => stated.unwrap_or_default(),
    };
    let needs = needs::of(&shell.trial, capability.search_params("Observation").as_ref());
    let mut sink = PullInbox::new(Arc::clone(store), arguments.full && !arguments.dry_run);
    let mut report = pull(&client, &cohort, &needs, &options, &mut sink, progress).await;
    if !arguments.dry_run && report.fatal.is_none() {
        studies(&client, &mut sink, &mut report).await?;
    }
    if report.is_complete() {
        let types = needs
            .iter()
            .map(|n| n.resource_type.clone())
            .filter(|t| !report.unsupported.contains(t))
            .collect();
        let everybody = cohort == Cohort::All && arguments.patient.is_none();
        vanished(&client, &mut sink, &types, everybody, &mut report).await?;
        // The one patient who was asked for was looked for by id, and is not there.
        if let Some(id) = named.filter(|_| report.patients == 0 && !arguments.dry_run) {
            sink.gone(client.base_url(), &id)?;
        }
    }
    let mut done = Progressed::default();
    if !arguments.dry_run {
        shell.note_configuration(&**store)?;
        let pipeline = shell.pipeline(store);
        done = tokio::task::spawn_blocking(move || pipeline.run(now(), today())).await.map_err(|_| {
            Failure::problem("the pipeline stopped on an internal fault; nothing was lost, run again")
        })??;
        store.append_audit(NewAudit {
            at: crate::pipeline::stamp(now()),
            actor: "trialbridge".into(),
            role: "service".into(),
            action: "pull".into(),
            subject: None,
            detail: crate::pipeline::detail(&[
                ("patients", &report.patients.to_string()),
                ("pages", &report.pages.to_string()),
                ("complete", if report.is_complete() { "yes" } else { "no" }),
            ]),
        })?;
    }
    Ok((report, done))
}

/// Stores and counts a resource that was read by its id.
fn take(
    sink: &mut PullInbox,
    server: &str,
    resource_type: &str,
    body: &[u8],
    report: &mut PullReport,
) -> Result<(), Failure> {
    let fate = sink.accept_page(server, resource_type, None, body).map_err(Failure::problem)?;
    report.pages += 1;
    report.resources += fate.resources;
    Ok(())
}

/// Which study somebody takes part in is said by the study, not by the ResearchSubject.
async fn studies(client: &FhirClient, sink: &mut PullInbox, report: &mut PullReport) -> Result<(), Failure> {
    let server = client.base_url().to_owned();
    for reference in std::mem::take(&mut sink.studies) {
        // A study elsewhere stays unread, and with it whether it is another one.
        let Some(id) = client.id_in(&reference, "ResearchStudy") else { continue };
        match client.read_strict("ResearchStudy", &id).await {
            Ok(found) => {
                take(sink, &server, "ResearchStudy", &found.body, report)?;
            }
            Err(ServerError::Status { status: 404 | 405 | 410 | 501, .. }) => {}
            Err(error) => report.incomplete.push(format!("ResearchStudy/{{id}}: {error}")),
        }
    }
    Ok(())
}

/// A search does not tell what was deleted. After everything was loaded, what is held and did not
/// come is asked for by its id: what is gone is put down as deleted, what is still there is taken as
/// it now is.
async fn vanished(
    client: &FhirClient,
    sink: &mut PullInbox,
    types: &BTreeSet<String>,
    everybody: bool,
    report: &mut PullReport,
) -> Result<(), Failure> {
    let server = client.base_url().to_owned();
    for key in sink.missing(&server, types, everybody)? {
        match client.read_strict(&key.resource_type, &key.id).await {
            Ok(found) => {
                take(sink, &server, &key.resource_type, &found.body, report)?;
            }
            Err(ServerError::Status { status: 404 | 410, .. }) => sink.deleted(&server, &key)?,
            Err(error) => {
                report
                    .incomplete
                    .push(format!("{}/{{id}}, to see whether it was deleted: {error}", key.resource_type));
                break;
            }
        }
    }
    Ok(())
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.open("pull")?;
    let bar = Bar::new(global);
    let (report, done) = block_on(once(&shell, &store, arguments, &bar))??;
    bar.finish();
    let code = exit_code(&report);
    let mut out = Out::new();
    if arguments.dry_run {
        for planned in &report.plan {
            if global.output() == Output::Table {
                out.line(&format!("would ask  {}  ({} first requests)", planned.text, planned.requests))?;
            } else {
                out.json(&serde_json::json!({
                    "schema": "trialbridge/pull-plan/v1", "search": planned.text,
                    "requests": planned.requests
                }))?;
            }
        }
        global.note("nothing was stored");
        out.finish()?;
        return failed(&report, code);
    }
    let summary = summary(&report, done);
    print(global, &mut out, &summary)?;
    out.finish()?;
    if arguments.patient.is_some() && report.is_complete() && report.patients == 0 {
        let hint = "what was held of them is kept; the patient counts as deleted at the source";
        return Err(Failure::new(exit::PROBLEMS, "the server has no Patient of this id", hint));
    }
    failed(&report, code)
}

fn failed(report: &PullReport, code: u8) -> Outcome {
    match &report.fatal {
        Some(fatal) => Err(Failure::new(
            code,
            format!("the pull ended early: {fatal}"),
            match code {
                exit::PROBLEMS => {
                    "see [pull] cohort: the server does not know what it names, or cannot search so"
                }
                exit::REFUSED => "see [fhir.auth]; what was received is stored",
                _ => "what was received is stored; run the same command again to go on",
            },
        )),
        None => Ok(code),
    }
}

/// The exit code of a pull.
pub fn exit_code(report: &PullReport) -> u8 {
    match &report.fatal {
        Some(Fatal::Server(ServerError::Unreachable { .. })) => exit::UNREACHABLE,
        Some(Fatal::Server(ServerError::Refused { .. })) => exit::REFUSED,
        // A Group, List or search that is not there is not there the next time either.
        Some(Fatal::Server(ServerError::Status { status: 400 | 404 | 410, .. })) => exit::PROBLEMS,
        Some(Fatal::Server(_)) => exit::PARTIAL,
        Some(_) => exit::PROBLEMS,
        None if !report.is_complete() => exit::PARTIAL,
        None => 0,
    }
}

fn summary(report: &PullReport, done: Progressed) -> Report {
    Report {
        schema: "trialbridge/pull/v1",
        patients: Some(report.patients),
        pages: report.pages,
        resources: report.resources,
        requests: report.requests,
        retried: report.retried,
        new: done.new,
        changed: done.changed,
        same: done.same,
        quarantined: done.quarantined,
        judged: done.judged,
        decisions: changed(done.decisions),
        warnings: report
            .warnings
            .iter()
            .map(|w| format!("{}: {} ({}, {} times)", w.code, w.text, w.place, w.count))
            .collect(),
        incomplete: report.incomplete.clone(),
        unsupported: report.unsupported.clone(),
        complete_to: report.through.filter(|_| report.is_complete()),
        error: report.fatal.as_ref().map(ToString::to_string),
    }
}

fn changed(decisions: Vec<(String, Option<String>, String)>) -> Vec<Changed> {
    decisions.into_iter().map(|(subject, before, after)| Changed { subject, before, after }).collect()
}

fn print(global: &Global, out: &mut Out, report: &Report) -> Result<(), Failure> {
    if global.output() != Output::Table {
        return out.json(report);
    }
    if let Some(patients) = report.patients {
        out.line(&format!("patients     {patients}"))?;
        out.line(&format!("requests     {} ({} repeated)", report.requests, report.retried))?;
    }
    out.line(&format!(
        "resources    {} received: {} new, {} changed, {} same",
        report.resources, report.new, report.changed, report.same
    ))?;
    if report.quarantined > 0 {
        out.line(&format!("quarantine   {}  -> trialbridge quarantine list", report.quarantined))?;
    }
    out.line(&format!(
        "judged       {} subjects, {} decisions changed",
        report.judged,
        report.decisions.len()
    ))?;
    for c in report.decisions.iter().take(20) {
        out.line(&format!("  {}  {} -> {}", c.subject, c.before.as_deref().unwrap_or("new"), c.after))?;
    }
    if report.decisions.len() > 20 {
        out.line(&format!("  ... and {} more: trialbridge subjects", report.decisions.len() - 20))?;
    }
    for (word, lines) in [
        ("warning", &report.warnings),
        ("incomplete", &report.incomplete),
        ("not offered", &report.unsupported),
    ] {
        for line in lines {
            out.line(&format!("{word:<12} {line}"))?;
        }
    }
    if let Some(at) = report.complete_to {
        out.line(&format!("complete to  {}", at.to_rfc3339()))?;
    }
    Ok(())
}

/// A progress bar on a terminal, after half a second; nothing elsewhere.
pub struct Bar(ProgressBar, bool);

impl Bar {
    pub fn new(global: &Global) -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
        if global.no_progress || global.quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template(" patients {bar:30} {pos}/{len}  {msg}  {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar(bar, global.quiet)
    }
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn announce(&self, text: &str) {
        if !self.1 {
            self.0.suspend(|| eprintln!("{text}"));
        }
    }
    fn cohort(&self, patients: usize) {
        self.0.set_length(patients as u64);
    }
    fn page(&self, resource_type: &str, _resources: usize) {
        self.0.set_message(resource_type.to_owned());
    }
    fn patient_done(&self, done: usize, _of: usize) {
        self.0.set_position(done as u64);
    }
}

pub fn import(global: &Global, arguments: &ImportArguments) -> Outcome {
    let shell = Shell::new(global)?;
    let store = shell.open("import")?;
    let mut failure: Option<Failure> = None;
    let mut documents = 0;
    let problems = files::read(&arguments.paths, &mut |bytes, _place| {
        if failure.is_none() {
            match inbox::accept(&*store, "import", "import", bytes.to_vec()) {
                Ok(_) => documents += 1,
                Err(error) => failure = Some(error.into()),
            }
        }
        Ok(())
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    if documents > 0 {
        store.append_audit(NewAudit {
            at: crate::pipeline::stamp(now()),
            actor: "operator".into(),
            role: "operator".into(),
            action: "import".into(),
            subject: None,
            detail: crate::pipeline::detail(&[("documents", &documents.to_string())]),
        })?;
    }
    let done = shell.pipeline(&store).run(now(), today())?;
    let report = Report {
        schema: "trialbridge/import/v1",
        patients: None,
        pages: documents,
        resources: done.new + done.changed + done.same,
        requests: 0,
        retried: 0,
        new: done.new,
        changed: done.changed,
        same: done.same,
        quarantined: done.quarantined,
        judged: done.judged,
        decisions: changed(done.decisions),
        warnings: Vec::new(),
        incomplete: Vec::new(),
        unsupported: Vec::new(),
        complete_to: None,
        error: None,
    };
    let mut out = Out::new();
    print(global, &mut out, &report)?;
    out.finish()?;
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    let unusable = !problems.is_empty() || report.quarantined > 0;
    Ok(if unusable { exit::PROBLEMS } else { 0 })
}
