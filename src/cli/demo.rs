//! `demo`: the whole path on a synthetic hospital inside this process, over HTTP like any other.

use super::inbound::Inbound;
use super::output::{Out, table};
use super::pull::{self, Arguments as PullArguments};
use super::shell::{Shell, block_on, now, today};
use super::{Failure, Global, Outcome, Output, allocation, exit, randomize, serve, writeback};
use crate::config::Config;
use crate::protocol::document::SiteFile;
use crate::protocol::{Definition, Trial};
use crate::sandbox::{self, Sandbox};
use crate::source::fhir_pull::Silent;
use crate::store::{Decision, Store};
use crate::web::{self, Status, WebState};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Port of the pages; 0 takes any free one
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub port: u16,
    /// Exit after the run instead of serving the pages
    #[arg(long)]
    pub once: bool,
}

/// A folder that goes away with the demo.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, Failure> {
        let mut bytes = [0u8; 8];
        getrandom::fill(&mut bytes).map_err(|_| Failure::problem("the machine gives no random bytes"))?;
        let name = format!("trialbridge-demo-{}", crate::protocol::document::hex(&bytes));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("data"))
            .map_err(|e| Failure::problem(format!("{} cannot be made: {e}", path.display())))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn run(global: &Global, a: &Arguments) -> Outcome {
    let scratch = Scratch::new()?;
    let result = block_on(demo(global, a, &scratch.0))?;
    drop(scratch);
    result
}

async fn demo(global: &Global, a: &Arguments, scratch: &Path) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    global.note(&format!(
        "trialbridge {version}   synthetic data, kept in a temporary folder, nothing leaves this machine"
    ));
    let begun = Instant::now();
    let step = |what: &str, text: String, since: Instant| {
        global.note(&format!("  {what:<11}{text:<66}{:>7} ms", since.elapsed().as_millis()));
    };
    let stop = CancellationToken::new();
    let listener = serve::listen("127.0.0.1:0", "sandbox").await?;
    let base_url = format!("http://{}/fhir", serve::address(&listener));
    let hospital = Sandbox::with_synthetic_patients(today());
    let patients = hospital.resources("Patient").len();
    tokio::spawn(sandbox::serve(listener, hospital.clone(), stop.clone().cancelled_owned()));
    step("hospital", format!("{patients} synthetic patients in 3 dialects at {base_url}"), begun);

    let since = Instant::now();
    let shell = Arc::new(shell(base_url, scratch, mllp_port(a).await)?);
    step("trial", format!("{}: {} criteria", shell.trial.study.id, shell.trial.criteria.len()), since);
    let store = shell.open("demo")?;

    let since = Instant::now();
    let arguments = PullArguments { since: "auto".into(), ..PullArguments::default() };
    let (report, done) = pull::once(&shell, &store, &arguments, &Silent).await?;
    if let Some(fatal) = &report.fatal {
        return Err(Failure::new(pull::exit_code(&report), format!("the pull failed: {fatal}"), ""));
    }
    step("pulled", format!("{} resources in {} requests", report.resources, report.requests), since);
    step(
        "judged",
        format!("{} subjects, {} entries could not be read", done.judged, done.quarantined),
        since,
    );

    let since = Instant::now();
    let list = allocation::generate(&shell, &*store, "demo statistician", &[])?;
    step("sealed", format!("{} slots, commitment {}", list.total, short(&list.commitment)), since);
    let since = Instant::now();
    let eligible: Vec<String> = store
        .latest_decisions()?
        .into_iter()
        .filter(|d| d.decision == "eligible")
        .map(|d| d.subject)
        .collect();
    for subject in &eligible {
        randomize::draw(&shell, &store, subject, "demo investigator", &format!("demo:{subject}"))?;
    }
    step("randomized", format!("{} participants", eligible.len()), since);

    let since = Instant::now();
    let report = writeback::once(&shell, &store, false).await?;
    if !report.is_settled() {
        return Err(Failure::new(
            writeback::code(&report).max(1),
            "the write-back did not settle",
            "this is a fault",
        ));
    }
    let written = |t: &str| hospital.resources(t).len();
    step(
        "written",
        format!(
            "{} ResearchSubjects, {} Provenances, scores as Observations",
            report.participants.len(),
            written("Provenance")
        ),
        since,
    );
    print(global, &*store, &shell, &hospital)?;
    if a.once {
        stop.cancel();
        return Ok(0);
    }
    let state = WebState {
        store: Arc::clone(&store),
        trial: Arc::clone(&shell.trial),
        environment: "DEMO",
        status: Arc::new(Status::default()),
        desk: serve::desk(&shell, &store)?,
    };
    state.status.started(now());
    state.status.finished(now(), Status::OK, Some(now()));
    let listener = serve::listen(&format!("127.0.0.1:{}", a.port), "--port").await?;
    global.note(&format!(
        "  serving    http://{}/   Ctrl-C stops and discards the data",
        serve::address(&listener)
    ));
    let inbound = Inbound::open(global, &shell, &store, &serve::address(&listener), &stop).await?;
    let router = web::pages(state).merge(inbound.beside_pages);
    let pages = serve::spawn(listener, router, &[], &stop);
    serve::signal().await;
    stop.cancel();
    shell.turn.end();
    let _ = pages.await;
    for task in inbound.tasks {
        let _ = task.await;
    }
    Ok(0)
}

/// Where HL7 v2 is taken in: the usual port if it is free, any where the pages take any.
async fn mllp_port(a: &Arguments) -> Option<String> {
    let usual = if a.port == 0 { "127.0.0.1:0" } else { "127.0.0.1:2575" };
    let is_free = !a.once && tokio::net::TcpListener::bind(usual).await.is_ok();
    is_free.then(|| usual.to_owned())
}

fn shell(base_url: String, scratch: &Path, mllp: Option<String>) -> Result<Shell, Failure> {
    let mut config = Config { data_dir: scratch.join("data"), ..Config::default() };
    config.environment = "demo".into();
    config.mllp.listen = mllp;
    config.fhir.base_url = Some(base_url);
    config.allocation.key_file = Some(scratch.join("allocation.key"));
    let trial = Trial::compile(&Definition::shipped(), &SiteFile::demo())
        .map_err(|_| Failure::new(exit::CONFIG, "the embedded trial does not compile", "this is a fault"))?;
    Ok(Shell {
        config,
        trial: Arc::new(trial),
        password_file: None,
        turn: Arc::default(),
        pulls: tokio::sync::Mutex::default(),
    })
}

fn short(digest: &str) -> &str {
    digest.get(..23).unwrap_or(digest)
}

/// Who, why, and what is missing; the arm as the hospital holds it now.
fn print(global: &Global, store: &dyn Store, shell: &Shell, hospital: &Sandbox) -> Result<(), Failure> {
    let arms: BTreeMap<String, String> = hospital
        .resources("ResearchSubject")
        .iter()
        .filter_map(|r| {
            let arm = r["assignedArm"].as_str()?;
            Some((r["individual"]["reference"].as_str()?.to_owned(), arm.to_owned()))
        })
        .collect();
    let decisions = store.latest_decisions()?;
    let mut out = Out::new();
    let (mut rows, mut counts) = (Vec::new(), BTreeMap::new());
    for d in &decisions {
        *counts.entry(d.decision.clone()).or_insert(0usize) += 1;
        let v: Value = serde_json::from_str(&d.json).unwrap_or_default();
        if global.output() == Output::Table {
            rows.push(row(d, &v, arms.get(&d.subject)));
        } else {
            out.json(&json!({
                "subject": d.subject, "decision": d.decision, "deciding": d.deciding, "needs": v["needs"],
                "arm": arms.get(&d.subject)
            }))?;
        }
    }
    if global.output() == Output::Table {
        out.line("")?;
        out.line(
            table(&["subject", "decision", "MELD", "Child-Pugh", "arm", "why, or what is needed"], &rows)
                .trim_end(),
        )?;
        let total: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
        out.line(&format!(
            "\n{} subjects: {}; {} randomized",
            decisions.len(),
            total.join(", "),
            arms.len()
        ))?;
    }
    out.finish()?;
    debug_assert!(arms.len() <= shell.trial.allocation.as_ref().map_or(0, |a| a.total as usize));
    Ok(())
}

fn row(d: &Decision, v: &Value, arm: Option<&String>) -> Vec<String> {
    let score = |name: &str| {
        let s = &v["scores"][name];
        let class = s["class"].as_str().unwrap_or_default();
        match s["status"].as_str() {
            Some("known") => format!("{class}{}", s["value"]),
            Some("range") => format!("{}-{}", s["low"], s["high"]),
            _ => "?".into(),
        }
    };
    let why = match d.decision.as_str() {
        "ineligible" => v["criteria"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| d.deciding.first().is_some_and(|id| c["id"] == id.as_str()))
            .map(|c| {
                format!(
                    "{} {}",
                    c["id"].as_str().unwrap_or_default(),
                    c["reason"].as_str().unwrap_or_default()
                )
            })
            .unwrap_or_default(),
        "eligible" => String::new(),
        _ => {
            let needs: Vec<&str> =
                v["needs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("needs {}", needs.join(", "))
        }
    };
    vec![
        d.subject.clone(),
        d.decision.clone(),
        score("meld_unos"),
        score("child_pugh"),
        arm.cloned().unwrap_or_default(),
        clip(&why, 90),
    ]
}

fn clip(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
