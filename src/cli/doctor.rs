//! `doctor`: what is wrong with this installation, each finding one line with its remedy.
//!
//! Only looks: it opens the store for reading, also while `serve` writes, and asks the configured server
//! for its statement and one count. Never prints a patient's data, a secret or an arm.

use super::output::Out;
use super::shell::{self, Shell, block_on, now};
use super::writeback::server_failure;
use super::{Failure, Global, Outcome, Output, exit};
use crate::audit::Chain;
use crate::client::{ClientConfig, FhirClient, RetryLimits};
use crate::config::Config;
use crate::protocol::Trial;
use crate::sequence::in_words;
use crate::source::fhir_pull::{Cohort, cohort_cursor_key};
use crate::source::needs;
use crate::store::{QuarantineState, Store, SubscriptionKind, SubscriptionState};
use chrono::{DateTime, Local, TimeDelta, Utc};
use clap::Args;
use croner::Cron;
use serde::Serialize;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

/// Clocks further apart than this spoil "changed since" and windows.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(5);
/// Less free space than this is a finding.
const MIN_FREE_KIB: u64 = 1 << 20;
/// What lies in the inbox for longer is not being worked on.
const MAX_PENDING: TimeDelta = TimeDelta::minutes(15);
/// Quarantine entries that are counted at most.
const COUNTED: usize = 10_000;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Leave the hospital's server alone
    #[arg(long)]
    pub no_network: bool,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Fixed word.
    check: &'static str,
    /// The exit code of this kind of trouble.
    code: u8,
    text: String,
    fix: String,
}

/// What was looked at.
#[derive(Default)]
struct Report {
    good: Vec<(&'static str, String)>,
    findings: Vec<Finding>,
}

impl Report {
    fn good(&mut self, check: &'static str, text: impl Into<String>) {
        self.good.push((check, text.into()));
    }
    fn bad(&mut self, check: &'static str, code: u8, text: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding { check, code, text: text.into(), fix: fix.into() });
    }
    fn failed(&mut self, check: &'static str, failure: Failure, fix: &str) {
        let fix = if failure.hint.is_empty() { fix.to_owned() } else { failure.hint };
        self.bad(check, failure.code, failure.message, fix);
    }

    /// The code of what has to be dealt with first.
    fn code(&self) -> u8 {
        let order =
            [exit::CONFIG, exit::UNVERIFIED, exit::REFUSED, exit::UNREACHABLE, exit::PARTIAL, exit::PROBLEMS];
        let has = |code: &u8| self.findings.iter().any(|f| f.code == *code);
        match order.into_iter().find(has) {
            Some(code) => code,
            None => self.findings.first().map_or(0, |f| f.code),
        }
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let mut report = Report::default();
    match global.config() {
        Err(failure) => report.failed("config", failure, "`trialbridge init` writes a commented one"),
        Ok(config) => {
            report.good("config", config.origin.clone());
            examine(global, &config, arguments, &mut report)?;
        }
    }
    let mut out = Out::new();
    if global.output() == Output::Table {
        for (check, text) in &report.good {
            out.line(&format!("ok    {check:<14} {text}"))?;
        }
        for f in &report.findings {
            out.line(&format!("FAULT {:<14} {}  -> {} (exit {})", f.check, f.text, f.fix, f.code))?;
        }
    } else {
        for f in &report.findings {
            out.json(f)?;
        }
    }
    out.finish()?;
    if global.output() != Output::Table {
        global.note(&format!("{} checks in order, {} findings", report.good.len(), report.findings.len()));
    }
    Ok(report.code())
}

fn examine(global: &Global, config: &Config, a: &Arguments, report: &mut Report) -> Result<(), Failure> {
    let shell = match Shell::new(global) {
        Ok(shell) => {
            report
                .good("trial", format!("{}: {} criteria", shell.trial.study.id, shell.trial.criteria.len()));
            Some(shell)
        }
        Err(failure) => {
            report.failed("trial", failure, "`trialbridge check` prints all findings");
            None
        }
    };
    let runs = ports(config, report);
    disk(&config.data_dir, report);
    let store = match shell.as_ref().map(Shell::look) {
        Some(Ok(store)) => Some(store),
        Some(Err(failure)) => {
            report.failed("store", failure, "`trialbridge pull` makes a store");
            None
        }
        None => None,
    };
    if let Some(store) = &store {
        if let Err(failure) = stored(&**store, now(), report).and_then(|()| audited(&**store, report)) {
            report.failed("store", failure, "see the log; `trialbridge verify` looks at all of it");
        }
        if let Err(failure) = subscriptions(&**store, runs, now(), report) {
            report.failed("subscription", failure, "`trialbridge verify`");
        }
    }
    if a.no_network || config.fhir.base_url.is_none() {
        report.good("fhir", "not asked");
        return Ok(());
    }
    let client = shell::client(config).and_then(|client| {
        // One small page is enough to see whether we are let in, and nobody waits for a doctor.
        let hasty = ClientConfig {
            page_size: 1,
            connect_timeout: Duration::from_secs(4),
            total_timeout: Duration::from_secs(8),
            retry: RetryLimits { retries: 0, ..RetryLimits::default() },
            ..client.config().clone()
        };
        FhirClient::new(hasty).map_err(|e| Failure::new(exit::CONFIG, e.to_string(), ""))
    });
    match client {
        Ok(client) => {
            let trial = shell.as_ref().map(|s| &*s.trial);
            block_on(server(&client, config, trial, store.as_deref(), report))
        }
        Err(failure) => {
            report.failed("fhir", failure, "see [fhir] in the configuration");
            Ok(())
        }
    }
}

// ---- this machine --------------------------------------------------------------------------------

/// Whether `serve` runs, and whether it could.
fn ports(config: &Config, report: &mut Report) -> bool {
    let runs = is_alive(&config.serve.ops_listen);
    if runs {
        report.good("serve", format!("runs; operations port {}", config.serve.ops_listen));
        return true;
    }
    for (key, address) in
        [("serve.listen", &config.serve.listen), ("serve.ops_listen", &config.serve.ops_listen)]
    {
        match TcpListener::bind(address.as_str()) {
            Ok(_) => report.good("port", format!("{key} {address} is free; `serve` does not run")),
            Err(error) => report.bad(
                "port",
                exit::CONFIG,
                format!("{key} {address}: {error}"),
                "another program holds the port, or the address is not this machine's: change the key",
            ),
        }
    }
    false
}

/// Does our operations port answer there?
fn is_alive(address: &str) -> bool {
    let ask = || {
        let address = address.to_socket_addrs().ok()?.next()?;
        let patience = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
        stream.set_read_timeout(Some(patience)).ok()?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some(head.starts_with("HTTP/1.1 200") && body.trim() == "ok")
    };
    ask().unwrap_or(false)
}

/// Free space, where the system has POSIX `df`.
fn disk(data_dir: &Path, report: &mut Report) {
    let free = || {
        let output = Command::new("df").arg("-Pk").arg(data_dir).env("LC_ALL", "C").output().ok()?;
        free_kib(&String::from_utf8_lossy(&output.stdout))
    };
    match free() {
        Some(kib) if kib < MIN_FREE_KIB => report.bad(
            "disk",
            exit::PROBLEMS,
            format!("{} MiB free below {}", kib / 1024, data_dir.display()),
            "make room: a full disk takes nothing in",
        ),
        Some(kib) => report.good("disk", format!("{} MiB free", kib / 1024)),
        None => report.good("disk", "free space could not be read"),
    }
}

/// The fourth column of the last line.
fn free_kib(text: &str) -> Option<u64> {
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

// ---- the store -----------------------------------------------------------------------------------

fn stored(store: &dyn Store, now: DateTime<Utc>, report: &mut Report) -> Result<(), Failure> {
    let counts = store.count_by_state()?;
    let oldest = store.pending(1)?.into_iter().next().and_then(|item| time(&item.received_at));
    match oldest.filter(|t| now - *t > MAX_PENDING) {
        Some(since) => report.bad(
            "inbox",
            exit::PROBLEMS,
            format!("{} documents wait, the oldest since {}", counts.pending, since.to_rfc3339()),
            "is `serve` running? `trialbridge replay` works everything out again",
        ),
        None => report.good("inbox", format!("{} documents, {} wait", counts.total(), counts.pending)),
    }
    let open = store.quarantine_list(Some(QuarantineState::Open), COUNTED)?.len();
    match open {
        0 => report.good("quarantine", "empty"),
        n => report.bad(
            "quarantine",
            exit::PROBLEMS,
            format!("{n}{} entries are set aside", if n == COUNTED { " or more" } else { "" }),
            "`trialbridge quarantine list` says why; correct the mapping, then `quarantine replay`",
        ),
    }
    Ok(())
}

fn audited(store: &dyn Store, report: &mut Report) -> Result<(), Failure> {
    let (mut chain, mut from) = (Chain::start(), 1);
    loop {
        let rows = store.audit_entries(from, 1000)?;
        let Some(last) = rows.last() else { break };
        from = last.sequence + 1;
        for row in &rows {
            let fits =
                crate::store::chain::entry(row).map(|entry| chain.follow(&entry).map_err(|e| e.to_string()));
            let broken = match fits {
                Some(Ok(())) => continue,
                Some(Err(text)) => text,
                None => format!("audit entry {} cannot be read", row.sequence),
            };
            let fix = "the log was changed: randomize nobody, keep a copy, restore a backup that verifies";
            report.bad("audit", exit::UNVERIFIED, broken, fix);
            return Ok(());
        }
    }
    report.good("audit", format!("{} entries, unbroken", chain.head().sequence));
    let stands = store.audit_anchor()?;
    let place = stands.place.clone().unwrap_or_else(|| "none".to_owned());
    match stands.fault {
        None => report.good("audit-anchor", place),
        Some(fault) => {
            let text = format!("{} ({place}); nobody can be randomized", fault.meaning());
            report.bad("audit-anchor", exit::UNVERIFIED, text, fault.remedy());
        }
    }
    Ok(())
}

fn subscriptions(
    store: &dyn Store,
    serve_runs: bool,
    now: DateTime<Utc>,
    report: &mut Report,
) -> Result<(), Failure> {
    let held: Vec<_> =
        store.subscriptions()?.into_iter().filter(|s| s.state != SubscriptionState::Deleted).collect();
    let before = report.findings.len();
    for s in &held {
        let id = &s.id;
        if !s.missing.is_empty() {
            report.bad(
                "subscription",
                exit::PARTIAL,
                format!("{id}: events {} were never received", in_words(&s.missing)),
                "`serve` asks for them; or `trialbridge sub catchup`",
            );
        }
        if s.renumbered_at.is_some() {
            let text = format!("{id}: the server counts its events anew");
            report.bad(
                "subscription",
                exit::PARTIAL,
                text,
                "`serve` pulls everything; or `trialbridge sub catchup`",
            );
        }
        if let Some(since) = &s.silent_since {
            let text = format!("{id}: silent, noticed at {since}");
            let fix =
                "does the server reach push.public_url? `trialbridge sub status` says how it stands there";
            report.bad("subscription", exit::PROBLEMS, text, fix);
        }
        let state = match s.state {
            SubscriptionState::Active | SubscriptionState::Deleted => None,
            SubscriptionState::Requested => Some("the server does not deliver yet"),
            SubscriptionState::Planned => Some("it never reached the server"),
            SubscriptionState::Error => Some("the server gave up delivering"),
            SubscriptionState::Off => Some("it is off at the server"),
        };
        let old = time(&s.created_at).is_some_and(|t| now - t > TimeDelta::minutes(5));
        if let Some(text) = state.filter(|_| old) {
            let fix = "`trialbridge sub status`; then `sub delete` and `sub create`";
            report.bad("subscription", exit::PROBLEMS, format!("{id}: {text}"), fix);
        } else if s.kind == SubscriptionKind::Topic
            && s.handshake_at.is_none()
            && s.last_heard_at.is_none()
            && old
        {
            let fix = "the server cannot reach the endpoint: network, certificate, push.public_url";
            report.bad("subscription", exit::PROBLEMS, format!("{id}: no handshake ever came"), fix);
        }
    }
    if !held.is_empty() && !serve_runs {
        let text = format!("{} Subscriptions are held and `serve` does not run", held.len());
        report.bad("subscription", exit::PROBLEMS, text, "start `trialbridge serve`");
    }
    if report.findings.len() == before {
        report.good("subscription", format!("{} held", held.len()));
    }
    Ok(())
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc))
}

// ---- the hospital's server -----------------------------------------------------------------------

async fn server(
    client: &FhirClient,
    config: &Config,
    trial: Option<&Trial>,
    store: Option<&dyn Store>,
    report: &mut Report,
) {
    let capability = match client.capability().await {
        Ok(capability) => capability,
        Err(error) => {
            let fix = "network, name, certificate, credentials: see [fhir]";
            report.failed("fhir", Failure { hint: String::new(), ..server_failure(&error) }, fix);
            return;
        }
    };
    match (capability.release(), config.fhir.release.as_str()) {
        (None, "auto") => {
            let text = "the server does not say which FHIR release it speaks";
            report.bad("fhir", exit::CONFIG, text, "set fhir.release");
        }
        (Some(stated), set) if set != "auto" && set != stated.to_string() => {
            let text = format!("the server speaks {stated}, fhir.release says {set}");
            report.bad("fhir", exit::CONFIG, text, "set fhir.release = \"auto\"");
        }
        (release, _) => {
            let release = release.map_or_else(|| config.fhir.release.clone(), |r| r.to_string());
            report.good("fhir", format!("{}  {release}", client.base_url()));
        }
    }
    // The statement is public in most places: only a search shows whether we are let in.
    match client.search_pages_in_url("Patient", Vec::new()).next().await {
        Ok(_) => report.good("authorised", "may search Patient"),
        Err(error) => {
            let fix = "[fhir.auth]: credentials, scope (system/*.rs), token_url";
            report.failed("authorised", Failure { hint: String::new(), ..server_failure(&error) }, fix);
        }
    }
    match client.server_date().map(|there| skew(there, now())) {
        Some(skew) if skew.abs() > MAX_SKEW => report.bad(
            "clock",
            exit::PROBLEMS,
            format!("the server's clock is {} s off ours", skew.num_seconds()),
            "synchronise both clocks (NTP); until then raise pull.overlap_minutes",
        ),
        Some(_) => report.good("clock", "agrees with the server's"),
        None => report.good("clock", "the server tells no time"),
    }
    let Some(trial) = trial else { return };
    let offered = capability.search_params("Observation");
    let needs = needs::of(trial, offered.as_ref());
    let mut offers_all = true;
    for need in &needs {
        if capability.offers(&need.resource_type, "search-type") == Some(false) {
            offers_all = false;
            let text = format!("the server does not offer to search {}", need.resource_type);
            report.bad(
                "search",
                exit::PROBLEMS,
                text,
                "what depends on it stays unknown until somebody attests it",
            );
            continue;
        }
        let parameters = capability.search_params(&need.resource_type);
        if let Some(parameters) = parameters.filter(|p| !p.is_empty())
            && !parameters.contains(need.patient_param.as_str())
        {
            offers_all = false;
            let text = format!("{} cannot be searched by {}", need.resource_type, need.patient_param);
            report.bad(
                "search",
                exit::PROBLEMS,
                text,
                "the pull reads what it can; ask the server's operator",
            );
        }
    }
    if offers_all {
        report.good("search", "everything that the trial needs is offered");
    }
    let (Some(store), Ok(cohort)) = (store, config.pull.cohort.parse::<Cohort>().and_then(Cohort::load))
    else {
        return;
    };
    let keys = needs.iter().map(|need| cohort_cursor_key(client, &cohort, need));
    let reached = keys.filter_map(|key| time(&store.cursor(&key).ok().flatten()?)).min();
    let allowed =
        period(&config.pull.schedule).map(|p| p * 2 + TimeDelta::minutes(config.pull.overlap_minutes.into()));
    match (reached, allowed) {
        (None, _) => {
            let text = "no pull has ever been complete";
            report.bad("pull", exit::PARTIAL, text, "`trialbridge pull` says what is missing");
        }
        (Some(at), Some(allowed)) if now() - at > allowed => {
            let text = format!("complete only up to {}, older than two periods", at.to_rfc3339());
            report.bad(
                "pull",
                exit::PARTIAL,
                text,
                "is `serve` running? `trialbridge pull` says what is missing",
            );
        }
        (Some(at), _) => report.good("pull", format!("complete up to {}", at.to_rfc3339())),
    }
}

/// How far the server's clock is ahead. A `Date` header has whole seconds: within the second it agrees.
fn skew(there: DateTime<Utc>, here: DateTime<Utc>) -> TimeDelta {
    let ahead = there - here;
    if ahead < TimeDelta::zero() { (ahead + TimeDelta::seconds(1)).min(TimeDelta::zero()) } else { ahead }
}

/// The time between the next two runs.
fn period(schedule: &str) -> Option<TimeDelta> {
    let schedule = Cron::from_str(schedule).ok()?;
    let first = schedule.find_next_occurrence(&Local::now(), false).ok()?;
    let second = schedule.find_next_occurrence(&first, false).ok()?;
    Some(second - first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::{PlainChain, incoming};
    use crate::store::{
        Heard, NewAudit, NewSubscription, SqliteStore, SubscriptionChange, SubscriptionPayload,
    };
    use chrono::TimeZone;
    use std::sync::Arc;

    fn at(minutes: i64) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 22, 8, 0, 0).single().expect("a time") + TimeDelta::minutes(minutes)
    }

    fn texts(report: &Report) -> Vec<&str> {
        report.findings.iter().map(|f| f.text.as_str()).collect()
    }

    #[test]
    fn free_space_is_read_from_df() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 100 40 60 40% /data\n";
        assert_eq!(free_kib(text), Some(60));
        assert_eq!(free_kib("df: no such file"), None);
    }

    #[test]
    fn a_date_without_fractions_is_no_skew() {
        for (millis, expected) in [(0, 0), (-900, 0), (-6000, -5000), (-7000, -6000), (6000, 6000)] {
            assert_eq!(
                skew(at(0) + TimeDelta::milliseconds(millis), at(0)),
                TimeDelta::milliseconds(expected)
            );
        }
    }

    #[test]
    fn the_gravest_finding_gives_the_exit_code() {
        let mut report = Report::default();
        assert_eq!(report.code(), 0);
        for (code, expected) in [
            (exit::LOCKED, exit::LOCKED),
            (exit::PROBLEMS, exit::PROBLEMS),
            (exit::PARTIAL, exit::PARTIAL),
            (exit::UNREACHABLE, exit::UNREACHABLE),
            (exit::UNVERIFIED, exit::UNVERIFIED),
            (exit::PROBLEMS, exit::UNVERIFIED),
            (exit::CONFIG, exit::CONFIG),
        ] {
            report.bad("x", code, "", "");
            assert_eq!(report.code(), expected);
        }
    }

    #[test]
    fn a_port_that_another_program_holds_is_a_finding() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut config = Config::default();
        config.serve.listen = held.local_addr().expect("bound").to_string();
        config.serve.ops_listen = "127.0.0.1:0".into();
        let mut report = Report::default();
        assert!(!ports(&config, &mut report));
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
        assert_eq!((report.findings[0].check, report.findings[0].code), ("port", exit::CONFIG));
    }

    #[test]
    fn what_waits_and_what_is_set_aside_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(dir.path(), "test", "2026-11-22T08:00:00Z", Arc::new(PlainChain))
            .expect("opened");
        let mut report = Report::default();
        stored(&store, at(0), &mut report).expect("looked");
        assert_eq!(report.findings, []);
        store.accept(incoming("a")).expect("accepted");
        store.accept_aside(incoming("b"), "structure", "").expect("accepted");
        stored(&store, at(15), &mut report).expect("looked");
        assert_eq!(texts(&report), ["1 entries are set aside"]);
        let mut report = Report::default();
        stored(&store, at(16), &mut report).expect("looked");
        assert_eq!(report.findings.len(), 2);
        assert!(report.findings[0].text.starts_with("1 documents wait"), "{:?}", report.findings);
    }

    #[test]
    fn subscriptions_that_cannot_be_trusted_are_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(dir.path(), "test", "2026-11-22T08:00:00Z", Arc::new(PlainChain))
            .expect("opened");
        let audit = || NewAudit {
            at: "2026-11-22T08:00:00Z".into(),
            actor: "a".into(),
            role: "r".into(),
            action: "x".into(),
            subject: None,
            detail: "{}".into(),
        };
        let new = NewSubscription {
            id: "s1".into(),
            server: "http://127.0.0.1/fhir".into(),
            kind: SubscriptionKind::Topic,
            release: "R4".into(),
            watches: "t".into(),
            payload: SubscriptionPayload::None,
            endpoint: "e".into(),
            secret_sha256: "0".repeat(64),
            heartbeat_seconds: Some(60),
            created_at: "2026-11-22T08:00:00Z".into(),
        };
        let found = |minutes| {
            let mut report = Report::default();
            subscriptions(&store, true, at(minutes), &mut report).expect("looked");
            report.findings.into_iter().map(|f| f.text).collect::<Vec<_>>()
        };
        assert!(found(0).is_empty());
        store.put_subscription(new, audit()).expect("stored");
        assert!(found(5).is_empty(), "it may still be on its way");
        assert_eq!(found(6), ["s1: it never reached the server"]);
        let active = SubscriptionChange::State(SubscriptionState::Active);
        store.change_subscription("s1", active, None).expect("changed");
        assert_eq!(found(6), ["s1: no handshake ever came"]);
        let heard = Heard { at: "2026-11-22T08:07:00Z".into(), since_start: Some(3), ..Heard::default() };
        store.note_subscription("s1", heard).expect("noted");
        assert_eq!(found(8), ["s1: events 1-3 were never received"]);
        let silent = SubscriptionChange::Silent { at: "2026-11-22T08:10:00Z".into() };
        store.change_subscription("s1", silent, None).expect("changed");
        assert_eq!(found(11).len(), 2);
        let deleted = SubscriptionChange::State(SubscriptionState::Deleted);
        store.change_subscription("s1", deleted, None).expect("changed");
        assert!(found(11).is_empty());
    }
}
