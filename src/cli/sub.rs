//! `sub`: the FHIR Subscriptions that we hold at the hospital's server.
//!
//! A secret is made here, put into the Subscription that is posted, and forgotten: it is never printed,
//! logged or stored.

use super::output::{Out, table};
use super::pull::{self, Arguments as PullArguments};
use super::shell::{Shell, block_on, now};
use super::sign::{Ordered, order};
use super::writeback::server_failure;
use super::{Failure, Global, Outcome, Output, exit, serve};
use crate::access::Permission;
use crate::client::server::{FhirServer, ServerError};
use crate::client::{FhirClient, SystemClock};
use crate::fhir::release::Release;
use crate::pipeline::{detail, stamp};
use crate::sequence::{count, in_words};
use crate::source::fhir_pull::Silent;
use crate::source::needs;
use crate::source::subscription::{
    HookLimits, HookSecret, Hooks, Limits, Order, Pull, Shape, Wake, Watcher, endpoint, router,
};
use crate::store::{
    NewAudit, NewSubscription, Store, Subscription, SubscriptionChange, SubscriptionKind,
    SubscriptionPayload, SubscriptionState, Word,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Ask the server to notify us, and wait until it does. `serve` must not run meanwhile
    Create(Create),
    /// Each Subscription: here, at the server, what was heard and what is missing
    Status,
    /// Recover now what was missed
    Catchup { id: Option<String> },
    /// Delete a Subscription at the server; what it still sends is refused
    Delete {
        id: String,
        /// Who orders it; without accounts: operator
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// Why; for the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    RestHook,
    Topic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Payload {
    None,
    IdOnly,
    Full,
}

#[derive(Args, Debug)]
pub struct Create {
    /// `rest-hook`: R4 criteria, one Subscription a resource type. `topic`: R5, or R4 and R4B with the
    /// Subscriptions Backport
    #[arg(long, value_enum, default_value_t = Kind::RestHook)]
    pub kind: Kind,
    /// Canonical URL of the topic
    #[arg(long, value_name = "URL")]
    pub topic: Option<String>,
    /// Resource types to watch; default: those that the trial reads
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// What a notification brings
    #[arg(long, value_enum, default_value_t = Payload::None)]
    pub payload: Payload,
    /// In place of `push.public_url`
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Where the handshake is answered while waiting, in plain HTTP; default: `push.listen`, else `serve.listen`
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Who orders it; without accounts: operator
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Why; for the audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Seconds to wait for the server to activate it
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub wait: u32,
}

pub fn run(global: &Global, command: &Command) -> Outcome {
    let shell = Shell::new(global)?;
    match command {
        Command::Create(a) => create(global, &shell, a),
        Command::Status => status(global, &shell),
        Command::Catchup { id } => catch_up(global, &shell, id.as_deref()),
        Command::Delete { id, by, reason } => delete(global, &shell, id, by.as_deref(), reason),
    }
}

fn usage(text: &str, hint: &str) -> Failure {
    Failure::new(exit::USAGE, text, hint)
}

/// What is to be watched, from the arguments and the trial.
fn orders(shell: &Shell, a: &Create, release: Release) -> Result<(Shape, Vec<String>), Failure> {
    match a.kind {
        Kind::RestHook => {
            if release == Release::R5 {
                let hint = "use --kind topic --topic URL";
                return Err(usage("R5 knows no Subscriptions by criteria", hint));
            }
            if a.topic.is_some() {
                return Err(usage("--topic goes with --kind topic", ""));
            }
            if a.payload == Payload::IdOnly {
                return Err(usage("a rest-hook brings nothing or all", "--payload none or full"));
            }
            let mut types: Vec<String> = match a.types.is_empty() {
                true => needs::types(&shell.trial).into_iter().collect(),
                false => a.types.clone(),
            };
            types.sort();
            types.dedup();
            if let Some(odd) = types.iter().find(|t| !crate::fhir::release::is_resource_type(t)) {
                return Err(usage(&format!("--type {odd} is no resource type of FHIR"), ""));
            }
            Ok((Shape::RestHook, types.into_iter().map(|t| format!("{t}?")).collect()))
        }
        Kind::Topic => {
            if !a.types.is_empty() {
                return Err(usage(
                    "--type goes with --kind rest-hook",
                    "a topic says itself what it watches",
                ));
            }
            let hint = "ask the server's documentation, or GET SubscriptionTopic";
            let topic = a.topic.clone().ok_or_else(|| usage("--topic is missing", hint))?;
            Ok((Shape::Topic(release), vec![topic]))
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Failure::problem("the machine gives no random bytes"))?;
    Ok(bytes)
}

/// How a Subscription changes: who did it, from which state to which.
fn audit(
    who: &Ordered,
    action: &str,
    id: &str,
    (before, after): (&str, &str),
    more: &[(&str, &str)],
) -> NewAudit {
    let mut particulars = vec![("subscription", id), ("before", before), ("after", after)];
    particulars.extend(more);
    NewAudit {
        at: stamp(now()),
        actor: who.actor.clone(),
        role: who.role.clone(),
        action: action.into(),
        subject: None,
        detail: detail(&particulars),
    }
}

/// What the server brings about is nobody's doing here.
fn service() -> Ordered {
    Ordered { actor: "trialbridge".to_owned(), role: "service".to_owned() }
}

fn create(global: &Global, shell: &Shell, a: &Create) -> Outcome {
    let hint = "set [push] public_url to where hospital systems reach this program";
    let public = a.endpoint.as_deref().or(shell.config.push.public_url.as_deref());
    let public = public.ok_or_else(|| Failure::new(exit::CONFIG, "no public address is configured", hint))?;
    let parsed = url::Url::parse(public)
        .ok()
        .filter(|u| matches!(u.scheme(), "http" | "https") && u.username().is_empty() && u.query().is_none());
    if parsed.is_none() {
        return Err(Failure::new(exit::CONFIG, "push.public_url is no http or https URL", hint));
    }
    let client = shell.client()?;
    let store = shell.open("sub create").map_err(|f| Failure {
        hint: "stop `serve` for the moment: what happens meanwhile is recovered when it starts".into(),
        ..f
    })?;
    let record = json!({"server": client.base_url(), "endpoint": public, "topic": a.topic, "types": a.types});
    let meaning = "subscription.create";
    let who = order(shell, &*store, a.by.as_deref(), Permission::Operate, meaning, record)?;
    block_on(created(global, shell, a, &client, &store, (public, &who)))?
}

async fn created(
    global: &Global,
    shell: &Shell,
    a: &Create,
    client: &FhirClient,
    store: &Arc<dyn Store>,
    (public, who): (&str, &Ordered),
) -> Outcome {
    let capability = match client.capability().await {
        Err(error @ (ServerError::Unreachable { .. } | ServerError::Refused { status: 401, .. })) => {
            return Err(server_failure(&error));
        }
        // What the server does not state is found out by asking.
        stated => stated.unwrap_or_default(),
    };
    let release = match shell.config.fhir.release.as_str() {
        "R4" => Release::R4,
        "R4B" => Release::R4B,
        "R5" => Release::R5,
        _ => capability.release().unwrap_or(Release::R4),
    };
    let (shape, watches) = orders(shell, a, release)?;
    let held = store.subscriptions()?;
    let (stop, wake) = (CancellationToken::new(), Arc::new(Wake::default()));
    let config = &shell.config;
    let address = a.listen.as_ref().or(config.push.listen.as_ref()).unwrap_or(&config.serve.listen);
    let listener = serve::listen(address, "--listen").await?;
    let limits = HookLimits::default();
    let hooks = Hooks::new(Arc::clone(store), client.clone(), Arc::new(SystemClock), wake, limits);
    // The server calls us by the name in the endpoint.
    let mut hosts = config.serve.hosts.clone();
    hosts.extend(url::Url::parse(public).ok().and_then(|u| u.host_str().map(str::to_owned)));
    let listening = serve::spawn(listener, router(hooks), &hosts, &stop);
    let mut ids = Vec::new();
    let mut failure = None;
    for watched in watches {
        let twin = held.iter().find(|s| {
            s.server == client.base_url() && s.watches == watched && s.state != SubscriptionState::Deleted
        });
        if let Some(twin) = twin {
            global.note(&format!("{watched} is watched by {} already", twin.id));
            continue;
        }
        match post(shell, a, client, store, public, (shape, release, who), &watched).await {
            Ok(id) => ids.push(id),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let waited = wait_until_active(client, store, &ids, a.wait).await;
    stop.cancel();
    // A connection that a server keeps open must not keep the command.
    let _ = tokio::time::timeout(Duration::from_secs(5), listening).await;
    let inactive = waited?;
    let rows: Vec<Subscription> =
        store.subscriptions()?.into_iter().filter(|s| ids.contains(&s.id)).collect();
    print(global, &rows.into_iter().map(|s| (s, None)).collect::<Vec<_>>())?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    for (id, why) in &inactive {
        eprintln!("{id}: {why}");
    }
    if !ids.is_empty() {
        global.note("start `trialbridge serve` now: what the server sends meanwhile is recovered");
    }
    Ok(if inactive.is_empty() { 0 } else { exit::PARTIAL })
}

/// Makes one Subscription, here first: its handshake may come before the server's answer.
async fn post(
    shell: &Shell,
    a: &Create,
    client: &FhirClient,
    store: &Arc<dyn Store>,
    public: &str,
    (shape, release, who): (Shape, Release, &Ordered),
    watches: &str,
) -> Result<String, Failure> {
    let id = crate::protocol::document::hex(&random::<12>()?);
    let secret = HookSecret::new(random()?);
    let heartbeat_seconds = shell.config.subscription.heartbeat_seconds;
    let payload = match a.payload {
        Payload::None => SubscriptionPayload::None,
        Payload::IdOnly => SubscriptionPayload::IdOnly,
        Payload::Full => SubscriptionPayload::Full,
    };
    let order = Order {
        shape,
        watches: watches.to_owned(),
        payload,
        endpoint: endpoint(public, &id),
        heartbeat_seconds,
    };
    let is_topic = matches!(shape, Shape::Topic(_));
    let new = NewSubscription {
        id: id.clone(),
        server: client.base_url().to_owned(),
        kind: if is_topic { SubscriptionKind::Topic } else { SubscriptionKind::RestHook },
        release: release.to_string(),
        watches: watches.to_owned(),
        payload,
        endpoint: order.endpoint.clone(),
        secret_sha256: secret.sha256.clone(),
        heartbeat_seconds: is_topic.then_some(heartbeat_seconds),
        created_at: stamp(now()),
    };
    let more = [("watches", watches), ("server", client.base_url()), ("reason", &*a.reason)];
    store.put_subscription(new, audit(who, "subscription.create", &id, ("none", "planned"), &more))?;
    let body = order.resource(&secret).to_string().into_bytes();
    let refused = |text: String| {
        let deleted = SubscriptionChange::State(SubscriptionState::Deleted);
        let entry = audit(&service(), "subscription.refused-by-server", &id, ("planned", "deleted"), &[]);
        store.change_subscription(&id, deleted, Some(entry))?;
        let hint = "the server may have Subscriptions switched off (HAPI does by default), lack the topic, or \
                    allow no such endpoint";
        Ok::<_, Failure>(Failure::new(exit::PROBLEMS, text, hint))
    };
    match client.create("Subscription", &body, None).await {
        Ok(written) => {
            let Some(remote_id) = written.id else {
                let text = "the server made a Subscription and did not say under which id";
                return Err(Failure::new(exit::PARTIAL, text, "`trialbridge sub delete` looks for it"));
            };
            let entry = audit(&service(), "subscription.posted", &id, ("none", &remote_id), &[]);
            store.change_subscription(&id, SubscriptionChange::Posted { remote_id }, Some(entry))?;
            Ok(id)
        }
        Err(error @ ServerError::Status { status: 400..=499, .. }) => {
            Err(refused(format!("{watches}: {error}"))?)
        }
        Err(error) => Err(server_failure(&error)),
    }
}

/// Waits until the server calls all of them active. Returns the others with what that means.
async fn wait_until_active(
    client: &FhirClient,
    store: &Arc<dyn Store>,
    ids: &[String],
    seconds: u32,
) -> Result<Vec<(String, String)>, Failure> {
    let mut left = seconds;
    loop {
        let mut inactive = Vec::new();
        for id in ids {
            let Some(s) = store.subscription(id)? else { continue };
            let state = at_server(client, &s).await.unwrap_or(s.state);
            if state != s.state {
                let states = (s.state.word(), state.word());
                let entry = audit(&service(), "subscription.state", id, states, &[]);
                store.change_subscription(id, SubscriptionChange::State(state), Some(entry))?;
            }
            if state != SubscriptionState::Active {
                inactive.push((id.clone(), explained(state).to_owned()));
            }
        }
        if inactive.is_empty() || left == 0 {
            return Ok(inactive);
        }
        left -= 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How the server says that it stands.
async fn at_server(client: &FhirClient, s: &Subscription) -> Option<SubscriptionState> {
    match client.read_strict("Subscription", s.remote_id.as_deref()?).await {
        Ok(found) => {
            let resource: serde_json::Value = serde_json::from_slice(&found.body).ok()?;
            match resource["status"].as_str()? {
                "entered-in-error" => Some(SubscriptionState::Off),
                word => SubscriptionState::from_word(word),
            }
        }
        Err(ServerError::Status { status: 404 | 410, .. }) => Some(SubscriptionState::Off),
        Err(_) => None,
    }
}

/// What a state means, and what to do.
fn explained(state: SubscriptionState) -> &'static str {
    match state {
        SubscriptionState::Planned => "not at the server: `sub delete` it, then `sub create`",
        SubscriptionState::Requested => {
            "the server has it and does not deliver: it may have Subscriptions switched off, or not reach the endpoint"
        }
        SubscriptionState::Active => "notifications come",
        SubscriptionState::Error => {
            "the server gave up: see that it reaches the endpoint, then `sub delete` and `sub create`"
        }
        SubscriptionState::Off => "switched off or gone at the server: `sub delete` it, then `sub create`",
        SubscriptionState::Deleted => "deleted by us",
    }
}

fn status(global: &Global, shell: &Shell) -> Outcome {
    let store = shell.look()?;
    let client = shell.client()?;
    let rows = block_on(async {
        let mut rows = Vec::new();
        for s in store.subscriptions()? {
            let here = s.server == client.base_url() && s.state != SubscriptionState::Deleted;
            let there = if here { at_server(&client, &s).await } else { None };
            rows.push((s, there));
        }
        Ok::<_, Failure>(rows)
    })??;
    print(global, &rows)?;
    let trouble = rows.iter().any(|(s, there)| {
        s.state != SubscriptionState::Deleted
            && (!s.missing.is_empty()
                || s.silent_since.is_some()
                || s.renumbered_at.is_some()
                || there.unwrap_or(s.state) != SubscriptionState::Active)
    });
    Ok(if trouble { exit::PROBLEMS } else { 0 })
}

fn print(global: &Global, rows: &[(Subscription, Option<SubscriptionState>)]) -> Result<(), Failure> {
    let mut out = Out::new();
    if global.output() == Output::Table {
        let dash = || "-".to_owned();
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|(s, there)| {
                let events = match s.kind {
                    SubscriptionKind::RestHook => dash(),
                    SubscriptionKind::Topic => s.highest.to_string(),
                };
                let missing = if s.missing.is_empty() { dash() } else { in_words(&s.missing) };
                vec![
                    s.id.clone(),
                    s.watches.clone(),
                    s.state.to_string(),
                    there.map_or_else(dash, |t| t.to_string()),
                    s.last_heard_at.clone().unwrap_or_else(dash),
                    events,
                    missing,
                    s.silent_since.clone().unwrap_or_else(dash),
                ]
            })
            .collect();
        let header =
            ["id", "watches", "state", "at server", "last heard", "events", "missing", "silent since"];
        out.line(table(&header, &cells).trim_end())?;
        for (s, there) in rows {
            let state = there.unwrap_or(s.state);
            if !matches!(state, SubscriptionState::Active | SubscriptionState::Deleted) {
                out.line(&format!("{}: {}", s.id, explained(state)))?;
            }
        }
    } else {
        for (s, there) in rows {
            out.json(&json!({
                "schema": "trialbridge/subscription/v1", "id": s.id, "server": s.server,
                "remoteId": s.remote_id, "kind": s.kind.word(), "release": s.release, "watches": s.watches,
                "payload": s.payload.word(), "endpoint": s.endpoint, "state": s.state.word(),
                "stateAtServer": there.map(Word::word), "handshake": s.handshake_at,
                "lastHeard": s.last_heard_at, "lastHeartbeat": s.last_heartbeat_at,
                "heartbeatSeconds": s.heartbeat_seconds, "events": s.highest, "completeTo": s.complete_to,
                "missing": in_words(&s.missing), "missingEvents": count(&s.missing),
                "gapSince": s.gap_since, "silentSince": s.silent_since, "restartedAt": s.renumbered_at,
                "repairedAt": s.repaired_at
            }))?;
        }
    }
    out.finish()
}

/// The pull of this command line.
struct OnePull<'a> {
    shell: &'a Shell,
    store: &'a Arc<dyn Store>,
}

impl Pull for OnePull<'_> {
    async fn reconcile(&self, _why: &str) -> bool {
        let arguments = PullArguments { since: "auto".into(), ..Default::default() };
        match pull::once(self.shell, self.store, &arguments, &Silent).await {
            Ok((report, _)) => report.is_complete(),
            Err(failure) => {
                tracing::error!(event = "pull.failed", error = %failure.message);
                false
            }
        }
    }

    /// The pull that follows digests the inbox.
    fn arrived(&self) {}
}

fn catch_up(global: &Global, shell: &Shell, id: Option<&str>) -> Outcome {
    let client = shell.client()?;
    let store = shell
        .open("sub catchup")
        .map_err(|f| Failure { hint: "`serve` recovers by itself; stop it to do so by hand".into(), ..f })?;
    if let Some(id) = id {
        known(&*store, id)?;
    }
    let step = block_on(async {
        let mut watcher = Watcher::new(
            Arc::clone(&store),
            client,
            Arc::new(SystemClock),
            OnePull { shell, store: &store },
            Arc::new(Wake::default()),
            Limits::default(),
            needs::types(&shell.trial),
        );
        watcher.catch_up(id).await
    })??;
    let mut out = Out::new();
    if global.output() == Output::Table {
        let pulled = match step.reconciled {
            None => "not needed: there is no Subscription",
            Some(true) => "complete",
            Some(false) => "incomplete, run it again",
        };
        out.line(&format!("events  {} recovered by number", step.recovered))?;
        out.line(&format!("reads   {} resources by id", step.read))?;
        out.line(&format!("pull    {pulled}"))?;
    } else {
        out.json(&json!({
            "schema": "trialbridge/subscription-catchup/v1", "events": step.recovered, "read": step.read,
            "reconciled": step.reconciled
        }))?;
    }
    out.finish()?;
    Ok(if step.reconciled == Some(false) { exit::PARTIAL } else { 0 })
}

fn known(store: &dyn Store, id: &str) -> Result<Subscription, Failure> {
    store.subscription(id)?.ok_or_else(|| {
        Failure::new(
            exit::PROBLEMS,
            "there is no Subscription of this id",
            "`trialbridge sub status` lists them",
        )
    })
}

/// Is it ours? A server may leave a search parameter out.
fn has_endpoint(body: &[u8], endpoint: &str) -> bool {
    let Ok(resource) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    [&resource["channel"]["endpoint"], &resource["endpoint"]].into_iter().any(|e| e == endpoint)
}

fn delete(global: &Global, shell: &Shell, id: &str, by: Option<&str>, reason: &str) -> Outcome {
    let client = shell.client()?;
    let store =
        shell.open("sub delete").map_err(|f| Failure { hint: "stop `serve` for the moment".into(), ..f })?;
    let s = known(&*store, id)?;
    if s.server != client.base_url() {
        let text = "this Subscription is held at another server than the configured one";
        return Err(Failure::new(exit::PROBLEMS, text, "set fhir.base_url to that server"));
    }
    let record = json!({"server": s.server, "subscription": id});
    let who = order(shell, &*store, by, Permission::Operate, "subscription.delete", record)?;
    block_on(async {
        let remote = match s.remote_id {
            Some(remote) => Some(remote),
            // Its answer never came: it is found by its endpoint, which nobody else has.
            None => {
                let found = client.search("Subscription", &[("url", s.endpoint.as_str())]).await;
                let found = found.map_err(|e| server_failure(&e))?;
                found.into_iter().find(|f| has_endpoint(&f.body, &s.endpoint)).map(|f| f.id)
            }
        };
        if let Some(remote) = remote {
            client.delete("Subscription", &remote).await.map_err(|e| server_failure(&e))?;
        }
        Ok::<_, Failure>(())
    })??;
    let deleted = SubscriptionChange::State(SubscriptionState::Deleted);
    let entry = audit(&who, "subscription.delete", id, (s.state.word(), "deleted"), &[("reason", reason)]);
    store.change_subscription(id, deleted, Some(entry))?;
    global.note(&format!("{id} is deleted; whatever the server still sends to it is answered with 410"));
    Ok(0)
}
