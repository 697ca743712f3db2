//! The watcher: reads what notifications named, asks for what was missed, and pulls where nothing else
//! proves that all was heard.
//!
//! Every step reads the store, does what is due and writes down what it did, so that a restart loses
//! nothing and a step may be repeated. The clock is an argument; nothing here waits but
//! [`watch`].
//!
//! # Source
//! Subscriptions R5 Backport IG, "Recovering from Errors":
//! > "Clients are responsible for devising an appropriate method for recovering from errors."
//!
//! Of `$events`: `eventsSinceNumber` and `eventsUntilNumber` are both inclusive.

use super::meaning::{heard, state};
use super::{ORIGIN, Wake};
use crate::client::server::ServerError;
use crate::client::{Clock, FhirClient};
use crate::fhir::notification::{Kind, Notification, read_answer};
use crate::pipeline::{detail, stamp};
use crate::sequence::{count, in_words};
use crate::source::inbox;
use crate::store::{
    Heard, NewAudit, RecordKey, Store, StoreError, Subscription, SubscriptionChange, SubscriptionKind,
    SubscriptionState, Wanted, Word,
};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Periods without a heartbeat after which a Subscription counts as silent.
const SILENT_PERIODS: i32 = 3;
/// Ranges of missing events that are asked for in one step.
const MAX_RANGES: usize = 16;
/// Resources that are read in one step.
const MAX_READS: usize = 200;
/// Attempts to read a resource before the pull has to find it.
const MAX_ATTEMPTS: i64 = 5;

/// Rest after a pull that could not read everything.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// The pull, as the watcher needs it.
pub trait Pull: Send + Sync {
    /// Reads everything that changed, for this reason (words for the log). True only if everything was
    /// read.
    fn reconcile(&self, why: &str) -> impl Future<Output = bool> + Send;
    /// Something new lies in the inbox.
    fn arrived(&self);
}

/// How patient the watcher is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a missing event may still be on its way.
    pub grace: Duration,
    /// Silence after which a Subscription without heartbeats is not trusted.
    pub quiet: Option<Duration>,
    /// Between two pulls that are due to hints or failed.
    pub spacing: Duration,
    /// Between two looks when nobody wakes the watcher.
    pub period: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            grace: Duration::from_secs(30),
            quiet: Some(Duration::from_secs(3600)),
            spacing: Duration::from_secs(10),
            period: Duration::from_secs(5),
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Resources that were read because a notification named them.
    pub read: usize,
    /// Events that `$events` brought.
    pub recovered: usize,
    /// Why a pull ran.
    pub reasons: BTreeSet<&'static str>,
    /// Whether it read everything; none if there was no need for one.
    pub reconciled: Option<bool>,
}

/// What is remembered of a Subscription between steps. Losing it costs a question too many.
#[derive(Debug, Clone, Default)]
struct Memory {
    asked_at_start: bool,
    /// Of which gap how many events were counted as missed.
    counted: Option<(String, u64)>,
    /// When the silence was last acted upon.
    silent_acted: Option<DateTime<Utc>>,
}

/// The task that looks after the Subscriptions of one server. It may block its thread for the length
/// of a commit, as the pull does.
pub struct Watcher<P> {
    store: Arc<dyn Store>,
    client: FhirClient,
    clock: Arc<dyn Clock>,
    pull: P,
    wake: Arc<Wake>,
    limits: Limits,
    /// The types that the trial needs: nothing else is read by id.
    types: BTreeSet<String>,
    memory: BTreeMap<String, Memory>,
    not_before: Option<DateTime<Utc>>,
}

/// A question that the server could not answer, or its answer.
enum Told {
    Status(Box<Notification>),
    State(SubscriptionState),
    /// The server has no such Subscription any more.
    Gone,
    Nothing,
}

/// Runs steps until `stop`: at once when woken, else at the period of the limits.
///
/// Begins with a pull: nobody listened until now, servers do not repeat for long what was not taken
/// (some servers forget it at once), and an R4 Subscription has no numbers that would show a gap.
pub async fn watch<P: Pull>(mut watcher: Watcher<P>, stop: CancellationToken) {
    if let Err(error) = watcher.distrust() {
        tracing::error!(event = "subscription.watch", code = error.code(), %error);
    }
    loop {
        if let Err(error) = watcher.step().await {
            tracing::error!(event = "subscription.watch", code = error.code(), %error);
        }
        let (wake, clock, period) = (watcher.wake.clone(), watcher.clock.clone(), watcher.limits.period);
        tokio::select! {
            () = stop.cancelled() => return,
            () = wake.woken() => {}
            () = clock.sleep(period) => {}
        }
    }
}

impl<P: Pull> Watcher<P> {
    pub fn new(
        store: Arc<dyn Store>,
        client: FhirClient,
        clock: Arc<dyn Clock>,
        pull: P,
        wake: Arc<Wake>,
        limits: Limits,
        types: BTreeSet<String>,
    ) -> Watcher<P> {
        let (memory, not_before) = (BTreeMap::new(), None);
        Watcher { store, client, clock, pull, wake, limits, types, memory, not_before }
    }

    /// Does what is due now.
    ///
    /// # Errors
    /// Those of the store; what was done until then stays done.
    pub async fn step(&mut self) -> Result<Step, StoreError> {
        self.run(false, None).await
    }

    /// As [`step`](Watcher::step), without waiting for any grace, and with a pull whatever else helps.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn catch_up(&mut self, only: Option<&str>) -> Result<Step, StoreError> {
        self.run(true, only).await
    }

    async fn run(&mut self, now_at_all_costs: bool, only: Option<&str>) -> Result<Step, StoreError> {
        let mut step = Step::default();
        let suspects = self.wake.take_suspects();
        // A payload needs no pull, and nobody else knows that it came.
        if self.wake.take_kept() {
            self.pull.arrived();
        }
        self.read_wanted(&mut step).await?;
        let mut due: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for s in self.ours()?.into_iter().filter(|s| only.is_none_or(|id| s.id == id)) {
            let mut reasons = BTreeSet::new();
            if s.kind == SubscriptionKind::Topic {
                self.topic(
                    &s,
                    suspects.contains(&s.id),
                    now_at_all_costs,
                    &mut reasons,
                    &mut counts,
                    &mut step,
                )
                .await?;
            }
            self.silence(&s, &mut reasons).await?;
            if s.pull_wanted_at.is_some() {
                reasons.insert("subscription-hint");
            }
            if now_at_all_costs {
                reasons.insert("catch-up");
            }
            if !reasons.is_empty() {
                due.insert(s.id, reasons);
            }
        }
        if step.recovered > 0 {
            // What `$events` named without bringing it.
            self.read_wanted(&mut step).await?;
        }
        if step.read + step.recovered > 0 {
            self.pull.arrived();
        }
        if !due.is_empty() && (now_at_all_costs || self.not_before.is_none_or(|t| self.clock.now() >= t)) {
            self.reconcile(&due, &counts, &mut step).await?;
        }
        Ok(step)
    }

    /// Asks for a pull, whatever was heard; stays until one has read everything.
    fn distrust(&self) -> Result<(), StoreError> {
        for s in self.ours()? {
            let change = SubscriptionChange::PullWanted { at: stamp(self.clock.now()) };
            self.store.change_subscription(&s.id, change, None)?;
        }
        Ok(())
    }

    /// What is held at the configured server.
    fn ours(&self) -> Result<Vec<Subscription>, StoreError> {
        let mut all = self.store.subscriptions()?;
        all.retain(|s| {
            s.server == self.client.base_url()
                && !matches!(s.state, SubscriptionState::Planned | SubscriptionState::Deleted)
        });
        Ok(all)
    }

    /// One pull for all reasons there are.
    async fn reconcile(
        &mut self,
        due: &BTreeMap<String, BTreeSet<&'static str>>,
        counts: &BTreeMap<String, u64>,
        step: &mut Step,
    ) -> Result<(), StoreError> {
        // What is known before the pull begins is what the pull proves.
        let started = stamp(self.clock.now());
        let mut through = BTreeMap::new();
        for s in self.ours()?.into_iter().filter(|s| due.contains_key(&s.id)) {
            through.insert(s.id.clone(), (s.highest, s.renumbered_at.is_some()));
        }
        step.reasons = due.values().flatten().copied().collect();
        let why = step.reasons.iter().copied().collect::<Vec<_>>().join(", ");
        tracing::info!(event = "subscription.reconcile", why);
        let complete = self.pull.reconcile(&why).await;
        step.reconciled = Some(complete);
        let now = self.clock.now();
        let rest = if complete { self.limits.spacing } else { self.limits.spacing.max(AFTER_FAILURE) };
        self.not_before = Some(now + delta(rest));
        if !complete {
            tracing::warn!(event = "subscription.reconcile.incomplete", why, "it is tried again");
            return Ok(());
        }
        for (id, (through, renumbered)) in through {
            let at = stamp(now);
            let change = SubscriptionChange::Reconciled { started: started.clone(), through, at: at.clone() };
            self.store.change_subscription(&id, change, None)?;
            if renumbered {
                // Recovery is the subscriber's decision: it is made here, after everything was read, and
                // it is written down.
                let complete_to = counts.get(&id).copied().unwrap_or(0);
                let (before, after) = (through.to_string(), complete_to.to_string());
                let particulars = [("subscription", &*id), ("before", &*before), ("after", &*after)];
                let audit = self.audit("subscription.epoch", &particulars);
                let change = SubscriptionChange::NewEpoch { complete_to, at };
                self.store.change_subscription(&id, change, Some(audit))?;
                tracing::warn!(
                    event = "subscription.epoch",
                    id,
                    "the server's new count is followed from here"
                );
            }
        }
        Ok(())
    }

    /// Gaps, and servers that count anew. `counts` gets what the server says its count is.
    async fn topic(
        &mut self,
        s: &Subscription,
        suspect: bool,
        at_once: bool,
        reasons: &mut BTreeSet<&'static str>,
        counts: &mut BTreeMap<String, u64>,
        step: &mut Step,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let first =
            !std::mem::replace(&mut self.memory.entry(s.id.clone()).or_default().asked_at_start, true);
        let mut renumbered = s.renumbered_at.is_some();
        if suspect || renumbered || at_once || (first && s.highest > 0) {
            let told = self.ask(s).await?;
            let since = match &told {
                Told::Status(n) => n.since_start,
                _ => None,
            };
            if suspect && since.is_none() {
                // Nobody can say whether it was a late delivery: a pull makes sure.
                let change = SubscriptionChange::PullWanted { at: stamp(now) };
                self.store.change_subscription(&s.id, change, None)?;
                reasons.insert("subscription-behind");
            }
            if let Some(since) = since {
                counts.insert(s.id.clone(), since);
                if since < s.highest && !renumbered {
                    renumbered = true;
                    let change = SubscriptionChange::Renumbered { at: stamp(now) };
                    let (before, after) = (s.highest.to_string(), since.to_string());
                    let particulars = [("subscription", &*s.id), ("before", &*before), ("after", &*after)];
                    let audit = self.audit("subscription.restarted", &particulars);
                    self.store.change_subscription(&s.id, change, Some(audit))?;
                    tracing::error!(
                        event = "subscription.restarted", id = %s.id, counted = since, known = s.highest,
                        "the server counts its events anew"
                    );
                }
            }
        }
        if renumbered {
            // Numbers of two counts cannot be told apart: what is missing cannot be asked for by number.
            reasons.insert("subscription-restarted");
            return Ok(());
        }
        let Some(s) = self.store.subscription(&s.id)? else { return Ok(()) };
        let ripe = s
            .gap_since
            .as_deref()
            .and_then(read)
            .is_some_and(|t| at_once || now >= t + delta(self.limits.grace));
        if s.missing.is_empty() || !ripe {
            return Ok(());
        }
        self.count_missed(&s);
        self.ask_for_events(&s, step).await?;
        match self.store.subscription(&s.id)? {
            Some(after) if after.missing.is_empty() => {
                let change = SubscriptionChange::Repaired { at: stamp(now) };
                self.store.change_subscription(&s.id, change, None)?;
                tracing::info!(event = "subscription.gap.repaired", id = %s.id, by = "$events");
            }
            _ => {
                reasons.insert("subscription-gap");
            }
        }
        Ok(())
    }

    /// Counts each missed event once.
    fn count_missed(&mut self, s: &Subscription) {
        let (missing, since) = (count(&s.missing), s.gap_since.clone().unwrap_or_default());
        let memory = self.memory.entry(s.id.clone()).or_default();
        let before = memory.counted.as_ref().filter(|(gap, _)| *gap == since).map_or(0, |(_, n)| *n);
        if missing > before {
            metrics::counter!("trialbridge_subscription_missed_events_total", "source" => s.id.clone())
                .increment(missing - before);
            tracing::warn!(event = "subscription.missed", id = %s.id, missing = in_words(&s.missing));
            memory.counted = Some((since, missing));
        }
    }

    async fn ask_for_events(&self, s: &Subscription, step: &mut Step) -> Result<(), StoreError> {
        let Some(remote) = &s.remote_id else { return Ok(()) };
        for range in s.missing.iter().take(MAX_RANGES) {
            let (first, last) = (range.start().to_string(), range.end().to_string());
            let parameters = [("eventsSinceNumber", first.as_str()), ("eventsUntilNumber", last.as_str())];
            let answer = match self.client.operation("Subscription", remote, "$events", &parameters).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::info!(event = "subscription.events.none", id = %s.id, %error);
                    return Ok(());
                }
            };
            let Ok(notification) = read_answer(&answer) else {
                tracing::warn!(event = "subscription.events.unreadable", id = %s.id);
                return Ok(());
            };
            // Whatever it calls itself: it is an answer about events.
            let notification = Notification { kind: Kind::QueryEvent, ..notification };
            let at = stamp(self.clock.now());
            let Ok(heard) = heard(&self.client, &notification, &at) else {
                let why = ("foreign-reference", "SubscriptionStatus.notificationEvent.focus");
                inbox::set_aside(&*self.store, ORIGIN, &s.server, answer, why)?;
                continue;
            };
            inbox::accept(&*self.store, ORIGIN, &s.server, answer)?;
            let noted = self.store.note_subscription(&s.id, heard)?;
            step.recovered += noted.new.len();
        }
        Ok(())
    }

    /// Missed heartbeats; for others, a silence that is too long to be believed.
    async fn silence(
        &mut self,
        s: &Subscription,
        reasons: &mut BTreeSet<&'static str>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let heard = [Some(s.created_at.as_str()), s.last_heard_at.as_deref()]
            .into_iter()
            .flatten()
            .filter_map(read)
            .max();
        let Some(heard) = heard else { return Ok(()) };
        let heartbeat = (s.kind == SubscriptionKind::Topic).then_some(s.heartbeat_seconds).flatten();
        let (after, reason) = match (heartbeat, self.limits.quiet) {
            (Some(seconds), _) => {
                (TimeDelta::seconds(i64::from(seconds)) * SILENT_PERIODS, "subscription-silent")
            }
            (None, Some(quiet)) => (delta(quiet), "subscription-quiet"),
            (None, None) => return Ok(()),
        };
        let memory = self.memory.entry(s.id.clone()).or_default();
        let acted = [Some(heard), memory.silent_acted].into_iter().flatten().max().unwrap_or(heard);
        if now - acted < after {
            return Ok(());
        }
        memory.silent_acted = Some(now);
        reasons.insert(reason);
        // Stays until a pull has read everything, also over a restart.
        let wanted = SubscriptionChange::PullWanted { at: stamp(now) };
        self.store.change_subscription(&s.id, wanted, None)?;
        if heartbeat.is_some() && s.silent_since.is_none() {
            let change = SubscriptionChange::Silent { at: stamp(now) };
            let audit = self.audit("subscription.silent", &[("subscription", &s.id)]);
            self.store.change_subscription(&s.id, change, Some(audit))?;
            tracing::error!(
                event = "subscription-silent", id = %s.id, seconds = (now - heard).num_seconds(),
                "no heartbeat for three periods: the server is asked, and everything is pulled"
            );
        } else {
            tracing::info!(event = reason, id = %s.id, seconds = (now - heard).num_seconds());
        }
        if let Told::Gone = self.ask(s).await? {
            tracing::error!(
                event = "subscription.gone", id = %s.id,
                "the server no longer has this Subscription: `trialbridge sub create` makes another"
            );
        }
        Ok(())
    }

    /// How the server says that the Subscription stands; written down.
    async fn ask(&self, s: &Subscription) -> Result<Told, StoreError> {
        let Some(remote) = &s.remote_id else { return Ok(Told::Nothing) };
        let told = self.question(s, remote).await;
        match &told {
            Told::Status(n) => {
                let at = stamp(self.clock.now());
                // Only what is counted: a server that counts anew is dealt with by the caller.
                let since_start = n.since_start.filter(|since| *since >= s.highest);
                let state = n.status.as_deref().and_then(state);
                let asked = Heard { at, since_start, state, asked: true, ..Heard::default() };
                self.store.note_subscription(&s.id, asked)?;
            }
            Told::State(state) if *state != s.state => {
                let audit = self.moved(s, *state);
                self.store.change_subscription(&s.id, SubscriptionChange::State(*state), Some(audit))?;
            }
            Told::Gone => {
                // Asked again and again: written down once.
                let audit =
                    (s.state != SubscriptionState::Off).then(|| self.moved(s, SubscriptionState::Off));
                let off = SubscriptionChange::State(SubscriptionState::Off);
                self.store.change_subscription(&s.id, off, audit)?;
            }
            Told::State(_) | Told::Nothing => {}
        }
        Ok(told)
    }

    async fn question(&self, s: &Subscription, remote: &str) -> Told {
        if s.kind == SubscriptionKind::Topic {
            match self.client.operation("Subscription", remote, "$status", &[]).await {
                Ok(answer) => {
                    if let Ok(status) = read_answer(&answer) {
                        return Told::Status(Box::new(status));
                    }
                }
                Err(ServerError::Unreachable { .. }) => return Told::Nothing,
                // Without the operation, the resource itself says its status.
                Err(_) => {}
            }
        }
        match self.client.read_strict("Subscription", remote).await {
            Ok(found) => serde_json::from_slice::<serde_json::Value>(&found.body)
                .ok()
                .and_then(|r| state(r["status"].as_str()?))
                .map_or(Told::Nothing, Told::State),
            Err(ServerError::Status { status: 404 | 410, .. }) => Told::Gone,
            Err(_) => Told::Nothing,
        }
    }

    /// Reads what notifications named.
    async fn read_wanted(&self, step: &mut Step) -> Result<(), StoreError> {
        let before = stamp(self.clock.now());
        for wanted in self.store.subscription_wanted(MAX_READS)? {
            let Some(s) = self.store.subscription(&wanted.subscription)? else { continue };
            let needed = self.types.contains(&wanted.resource_type);
            if !needed || s.server != self.client.base_url() || s.state == SubscriptionState::Deleted {
                self.store.settle_wanted(wanted, &before, true)?;
                continue;
            }
            let key = RecordKey {
                source: s.server.clone(),
                resource_type: wanted.resource_type.clone(),
                id: wanted.resource_id.clone(),
            };
            match self.client.read_strict(&key.resource_type, &key.id).await {
                Ok(found) => {
                    inbox::accept(&*self.store, ORIGIN, &s.server, found.body)?;
                    step.read += 1;
                }
                Err(ServerError::Status { status: 404 | 410, .. }) => {
                    inbox::deleted(&*self.store, ORIGIN, &key)?;
                    step.read += 1;
                }
                Err(error) => {
                    let down = matches!(
                        error,
                        ServerError::Unreachable { .. } | ServerError::Refused { status: 401, .. }
                    );
                    self.failed(wanted, &before)?;
                    if down {
                        return Ok(());
                    }
                    continue;
                }
            }
            self.store.settle_wanted(wanted, &before, true)?;
        }
        Ok(())
    }

    /// One attempt more; after the last one the pull has to find it.
    fn failed(&self, wanted: Wanted, before: &str) -> Result<(), StoreError> {
        let given_up = wanted.attempts + 1 >= MAX_ATTEMPTS;
        if given_up {
            let change = SubscriptionChange::PullWanted { at: stamp(self.clock.now()) };
            self.store.change_subscription(&wanted.subscription, change, None)?;
        }
        self.store.settle_wanted(wanted, before, given_up)
    }

    /// The server says that it stands otherwise than we knew.
    fn moved(&self, s: &Subscription, to: SubscriptionState) -> NewAudit {
        let particulars = [("subscription", &*s.id), ("before", s.state.word()), ("after", to.word())];
        self.audit("subscription.state", &particulars)
    }

    fn audit(&self, action: &str, particulars: &[(&str, &str)]) -> NewAudit {
        NewAudit {
            at: stamp(self.clock.now()),
            actor: "trialbridge".into(),
            role: "service".into(),
            action: action.into(),
            subject: None,
            detail: detail(particulars),
        }
    }
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc))
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
