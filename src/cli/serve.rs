//! `serve`: the pull on its schedule, what hospitals push, the pages, the operations port; stops gracefully.
//! `sandbox`: only the synthetic hospital.

use super::inbound::Inbound;
use super::pull::{self, Arguments as PullArguments};
use super::shell::{Shell, block_on, now, today};
use super::{Failure, Global, Outcome, allocation, exit, writeback};
use crate::account::Settings;
use crate::account::oidc::Provider;
use crate::http::listener::{self, Limits};
use crate::http::strict::Hosts;
use crate::pipeline::{detail, stamp};
use crate::sandbox::{self, Sandbox};
use crate::source::fhir_pull::Silent;
use crate::store::{NewAudit, Refusal, Store, StoreError};
use crate::web::{self, Clock, Desk, ReadKey, Status, WebState};
use chrono::{DateTime, Local, TimeDelta, Utc};
use clap::Args;
use croner::Cron;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[derive(Args, Debug)]
pub struct SandboxArguments {
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub listen: String,
}

/// Set when a run begins, so that a missed one is caught up after a restart.
const LAST_RUN: &str = "schedule.last-run";

pub fn run(global: &Global) -> Outcome {
    let shell = Arc::new(Shell::new(global)?);
    let schedule = Cron::from_str(&shell.config.pull.schedule).map_err(|e| {
        Failure::new(exit::CONFIG, format!("pull.schedule: {e}"), "second minute hour day month weekday")
    })?;
    if schedule.find_next_occurrence(&Local::now(), false).is_err() {
        let text = format!("pull.schedule `{}` never comes", shell.config.pull.schedule);
        return Err(Failure::new(exit::CONFIG, text, "second minute hour day month weekday"));
    }
    if let Err(error) = shell.config.push.validate(&shell.config.serve.listen) {
        let hint = "what each key means stands in docs/operating.md";
        return Err(Failure::new(exit::CONFIG, error.to_string(), hint));
    }
    let store = shell.open("serve")?;
    shell.note_configuration(&*store)?;
    block_on(serve(global, shell, store, schedule))?
}

async fn serve(global: &Global, shell: Arc<Shell>, store: Arc<dyn Store>, schedule: Cron) -> Outcome {
    let status = Arc::new(Status::default());
    let state = WebState {
        store: Arc::clone(&store),
        trial: Arc::clone(&shell.trial),
        environment: match shell.config.environment.as_str() {
            "test" => "TEST",
            "demo" => "DEMO",
            _ => "PROD",
        },
        status: Arc::clone(&status),
        desk: desk(&shell, &store)?,
    };
    let stop = CancellationToken::new();
    let pages = listen(&shell.config.serve.listen, "serve.listen").await?;
    let ops = listen(&shell.config.serve.ops_listen, "serve.ops_listen").await?;
    global.note(&format!("pages        http://{}/", address(&pages)));
    global.note(&format!("operations   http://{}/readyz", address(&ops)));
    web::install_metrics();
    let inbound = Inbound::open(global, &shell, &store, &address(&pages), &stop).await?;
    let router = web::pages(state.clone()).merge(inbound.beside_pages);
    let pages = spawn(pages, router, &shell.config.hosts(), &stop);
    let ops = spawn(ops, web::ops(state), &shell.config.serve.hosts, &stop);
    let scheduler = if shell.config.fhir.base_url.is_some() {
        global.note(&format!("schedule     {} (local time)", shell.config.pull.schedule));
        Some(tokio::spawn(scheduled(Arc::clone(&shell), Arc::clone(&store), schedule, status, stop.clone())))
    } else {
        global.note("schedule     none: no FHIR server is configured");
        None
    };
    signal().await;
    global.note("stopping: what is in hand is finished or left as it was");
    stop.cancel();
    // What waits to be read or judged waits for the next start.
    shell.turn.end();
    for task in [pages, ops].into_iter().chain(inbound.tasks).chain(scheduler) {
        // Longer than a listener lets requests in hand go on.
        if tokio::time::timeout(Duration::from_secs(25), task).await.is_err() {
            tracing::warn!(
                event = "serve.stop",
                "a task did not end in time; its work is repeated at the next start"
            );
        }
    }
    Ok(0)
}

/// What the API needs to act: the list's key is read when somebody is randomized, and not before.
///
/// # Errors
/// Exit code 10 for an identity provider that cannot be configured so.
pub fn desk(shell: &Arc<Shell>, store: &Arc<dyn Store>) -> Result<Arc<Desk>, Failure> {
    let access = &shell.config.access;
    let provider = Provider::new(&access.oidc).map_err(|error| {
        Failure::new(exit::CONFIG, error.to_string(), "what each key means stands in docs/operating.md")
    })?;
    let own = Arc::clone(shell);
    let key: Box<ReadKey> = Box::new(move || {
        allocation::read_key(&own).map_err(|failure| {
            tracing::error!(event = "allocation.key", cause = %failure.message, "nobody can be randomized");
            Refusal { code: "no-key".into(), text: failure.message }
        })
    });
    let clock: Box<Clock> = Box::new(|| (now(), today()));
    let desk = Desk::new(Settings::from(access), shell.masking(), shell.pipeline(store), key, clock);
    Ok(Arc::new(desk.with_provider(provider)))
}

/// Binds an address or says which key is wrong.
pub async fn listen(text: &str, key: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(text).await.map_err(|e| {
        Failure::new(exit::CONFIG, format!("{key} {text}: {e}"), "another program may hold the port")
    })
}

pub fn address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|_| "?".into(), |a| a.to_string())
}

/// Serves a router until the token is cancelled. On a loopback address it answers for this machine's own
/// names and for `hosts`.
pub fn spawn(
    listener: TcpListener,
    router: axum::Router,
    hosts: &[String],
    stop: &CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let hosts = listener.local_addr().map_or_else(|_| Hosts::any(), |address| Hosts::of(address, hosts));
    let limits = Limits { hosts, ..Limits::default() };
    tokio::spawn(listener::serve(listener, None, router, limits, stop.clone()))
}

/// Ctrl-C or SIGTERM.
pub async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => {
                let _ = tokio::signal::ctrl_c().await;
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Runs pulls one after another, never two at a time: a run that is longer than its period simply
/// makes the next one wait for the next time. A run that was missed while the service was down is
/// caught up once.
async fn scheduled(
    shell: Arc<Shell>,
    store: Arc<dyn Store>,
    schedule: Cron,
    status: Arc<Status>,
    stop: CancellationToken,
) {
    let mut clock = Steady::start();
    let last = store.meta(LAST_RUN).ok().flatten().and_then(|t| DateTime::parse_from_rfc3339(&t).ok());
    let mut due = match last {
        None => true,
        Some(last) => is_missed(&schedule, last.with_timezone(&Local), Local::now()),
    };
    loop {
        if !due {
            let Ok(next) = schedule.find_next_occurrence(&Local::now(), false) else {
                tracing::error!(event = "schedule.never", "the schedule has no further time");
                return;
            };
            let wait = (next - Local::now()).to_std().unwrap_or_default();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
        due = false;
        if let Err(error) = clock.look(&*store) {
            tracing::error!(event = "schedule.store", %error);
        }
        if let Err(error) = store.set_meta(LAST_RUN, &stamp(now())) {
            tracing::error!(event = "schedule.store", %error);
        }
        status.started(now());
        // Dropping the pull is safe: what was stored stays, and the next pull goes on from there.
        tokio::select! {
            () = stop.cancelled() => return,
            () = cycle(&shell, &store, &status) => {}
        }
    }
}

/// The system's clock beside one that cannot be set.
struct Steady {
    utc: DateTime<Utc>,
    since: Instant,
}

impl Steady {
    fn start() -> Steady {
        Steady { utc: now(), since: Instant::now() }
    }

    /// Writes down that the clock was set: back, or far ahead.
    fn look(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let passed = TimeDelta::from_std(self.since.elapsed()).unwrap_or(TimeDelta::MAX);
        let (before, here) = (self.utc, Steady::start());
        *self = here;
        if leapt(self.utc - before, passed) {
            let (before, after) = (stamp(before + passed), stamp(self.utc));
            tracing::warn!(event = "clock-anomaly", before, after, "the clock was set ahead");
            store.append_audit(NewAudit {
                at: after.clone(),
                actor: "trialbridge".into(),
                role: "service".into(),
                action: "clock-anomaly".into(),
                subject: None,
                detail: detail(&[("before", &before), ("after", &after)]),
            })?;
        }
        store.note_clock(&stamp(self.utc))
    }
}

/// Did the system's clock go on by a day more than time did? A machine that slept for less is no finding.
fn leapt(utc: TimeDelta, passed: TimeDelta) -> bool {
    utc.checked_sub(&passed).is_some_and(|ahead| ahead > TimeDelta::days(1))
}

/// Was there a time between `last` and `now` at which a run was due?
fn is_missed(schedule: &Cron, last: DateTime<Local>, now: DateTime<Local>) -> bool {
    schedule.find_next_occurrence(&last, false).is_ok_and(|next| next <= now)
}

/// One pull and one write-back.
async fn cycle(shell: &Arc<Shell>, store: &Arc<dyn Store>, status: &Arc<Status>) {
    let outcome = match pull::once(
        shell,
        store,
        &PullArguments { since: "auto".into(), ..Default::default() },
        &Silent,
    )
    .await
    {
        Ok((report, _)) if report.is_complete() => {
            status.finished(now(), Status::OK, report.through);
            "complete"
        }
        Ok((report, _)) => {
            if let Some(fatal) = &report.fatal {
                tracing::error!(event = "pull.failed", error = %fatal);
            }
            status.finished(now(), "incomplete", None);
            "incomplete"
        }
        Err(failure) => {
            tracing::error!(event = "pull.failed", error = %failure.message);
            // The day goes on without the hospital's server: windows move all the same.
            let pipeline = shell.pipeline(store);
            let judged = tokio::task::spawn_blocking(move || pipeline.run(now(), today())).await;
            if let Ok(Err(error)) = judged {
                tracing::error!(event = "pipeline.failed", %error);
            }
            status.finished(now(), "failed", None);
            "failed"
        }
    };
    tracing::info!(event = "pull.cycle", outcome);
    if !shell.config.writeback.enabled || outcome == "failed" {
        return;
    }
    match writeback::once(shell, store, false).await {
        Ok(report) if report.is_settled() => {}
        Ok(report) => {
            for line in report.lines().filter(|l| !l.outcome.is_settled()) {
                tracing::warn!(event = "writeback.open", resource = line.resource_type, outcome = ?line.outcome);
            }
        }
        Err(failure) => tracing::error!(event = "writeback.failed", error = %failure.message),
    }
}

pub fn sandbox(global: &Global, a: &SandboxArguments) -> Outcome {
    block_on(async {
        let listener = listen(&a.listen, "--listen").await?;
        let hospital = Sandbox::with_synthetic_patients(today());
        global.note("synthetic data, in memory only");
        global.note(&format!("FHIR R4  http://{}/fhir", address(&listener)));
        sandbox::serve(listener, hospital, signal())
            .await
            .map_err(|e| Failure::problem(format!("the sandbox stopped: {e}")))?;
        Ok(0)
    })?
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn a_clock_that_leaps_is_told_from_one_that_runs() {
        let (minutes, hours) = (TimeDelta::minutes, TimeDelta::hours);
        for (utc, passed, expected) in [
            (minutes(15), minutes(15), false),
            (hours(24), minutes(0), false),
            (hours(24) + minutes(1), minutes(0), true),
            (hours(24 * 3650), minutes(15), true),
            (hours(48), hours(47), false),
            (-hours(1), minutes(15), false),
            (minutes(15), TimeDelta::MAX, false),
        ] {
            assert_eq!(leapt(utc, passed), expected, "{utc} {passed}");
        }
    }

    #[test]
    fn a_missed_run_is_caught_up_once() {
        let schedule = Cron::from_str("0 */15 * * * *").expect("a schedule");
        let at = |h, m, s| Local.with_ymd_and_hms(2026, 11, 23, h, m, s).single().expect("a time");
        for (last, now, missed) in [
            (at(8, 0, 0), at(8, 14, 59), false),
            (at(8, 0, 0), at(8, 15, 0), true),
            (at(8, 0, 0), at(11, 7, 0), true),
            (at(11, 7, 0), at(11, 7, 1), false),
        ] {
            assert_eq!(is_missed(&schedule, last, now), missed, "{last} {now}");
        }
    }

    #[test]
    fn the_clock_of_the_schedule_is_utc_safe() {
        // What is written down between runs is UTC and read back as the same instant.
        let at: DateTime<Utc> = Utc.with_ymd_and_hms(2026, 3, 29, 1, 30, 0).single().expect("a time");
        let read = DateTime::parse_from_rfc3339(&stamp(at)).expect("a stamp");
        assert_eq!(read.with_timezone(&Utc), at);
    }
}
