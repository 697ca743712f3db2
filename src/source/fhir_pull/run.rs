//! One pull from its first request to its last cursor.

use super::cohort::Cohort;
use super::marks::{self, OpenRun, cohort_cursor_key, mark_key, run_key};
use super::need::{Need, stamp};
use super::patient::{End, Event, Job, Planned, Shared, pull_patient};
use super::report::{Fatal, Planned as PlannedSearch, PullReport};
use super::{Progress, PullOptions, PullSink};
use crate::client::server::ServerError;
use crate::client::{Capability, FhirClient, is_plain_segment};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(super) struct Run<'a> {
    pub client: &'a FhirClient,
    pub cohort: &'a Cohort,
    pub needs: &'a [Need],
    pub options: &'a PullOptions,
    pub sink: &'a mut (dyn PullSink + Send),
    pub progress: &'a dyn Progress,
    pub report: &'a mut PullReport,
}

/// What the searches of all patients came to.
#[derive(Default)]
struct Tally {
    /// Patients whose search is complete, by need.
    complete: Vec<usize>,
    incomplete: BTreeMap<String, usize>,
    transient: bool,
    fatal: Option<Fatal>,
}

/// When this pull stands, and what it may skip.
struct Window {
    through: DateTime<Utc>,
    open: Option<OpenRun>,
    /// Marks and cursors of the whole cohort are in play: neither one patient nor an explicit time.
    regular: bool,
}

impl Run<'_> {
    pub async fn run(&mut self) -> Result<(), Fatal> {
        let capability = self.capability().await?;
        let window = self.window()?;
        let cohort = self.chosen_cohort()?;
        let ids = self.resolve(&cohort).await?;
        self.report.patients = ids.len();
        self.progress.cohort(ids.len());
        let shared = self.plan_needs(capability);
        if self.options.dry_run {
            return self.plan(&shared, &ids, &window);
        }
        self.report.through = Some(window.through);
        let run_key = run_key(self.client, self.cohort, self.needs, self.options.full);
        if window.regular && window.open.is_none() {
            let open = OpenRun { through: window.through, retried: false };
            self.sink.set_cursor(&run_key, &open.write()).map_err(Fatal::Store)?;
        }
        // An incomplete cohort leaves patients out, so no cursor of the cohort may move.
        let cohort_complete = self.report.incomplete.is_empty();
        let shared = Arc::new(shared);
        let tally = self.patients(&shared, &ids, &window).await;
        for (search, patients) in &tally.incomplete {
            self.report.incomplete.push(format!("{search} ({patients} patients)"));
        }
        if let Some(fatal) = tally.fatal {
            return Err(fatal);
        }
        if window.regular {
            if cohort_complete {
                self.move_cohort_cursors(&shared, &tally.complete, ids.len(), &window)?;
            }
            self.close(&run_key, &window, tally.transient)?;
        }
        Ok(())
    }

    async fn capability(&mut self) -> Result<Capability, Fatal> {
        match self.client.capability().await {
            Ok(capability) => {
                let or =
                    |text: &Option<String>, other: &str| text.clone().unwrap_or_else(|| other.to_owned());
                self.progress.announce(&format!(
                    "{}: {}, FHIR {}",
                    self.client.base_url(),
                    or(&capability.software, "software not stated"),
                    or(&capability.fhir_version, "release not stated"),
                ));
                Ok(capability)
            }
            Err(error @ (ServerError::Unreachable { .. } | ServerError::Refused { status: 401, .. })) => {
                Err(Fatal::Server(error))
            }
            Err(error) => {
                let text = format!("{error}; what the server offers is found out by asking");
                self.report.warn("no-capability-statement", "metadata", text);
                Ok(Capability::default())
            }
        }
    }

    fn window(&mut self) -> Result<Window, Fatal> {
        // The server's clock wrote `meta.lastUpdated`; ours is second best.
        let start = self.client.server_date().unwrap_or(self.options.now);
        let skew = (start - self.options.now).num_seconds().abs();
        if skew > 300 {
            let text = format!("the server's clock and ours differ by {skew} s; cursors follow the server's");
            self.report.warn("clock-skew", "Date", text);
        }
        let before = |time: DateTime<Utc>, by: std::time::Duration| {
            chrono::Duration::from_std(by).ok().and_then(|d| time.checked_sub_signed(d)).unwrap_or(time)
        };
        let through = before(start, self.options.overlap);
        let regular = self.options.patient.is_none() && self.options.since.is_none() && !self.options.dry_run;
        let mut window = Window { through, open: None, regular };
        if regular {
            let key = run_key(self.client, self.cohort, self.needs, self.options.full);
            let open = self.sink.cursor(&key).map_err(Fatal::Store)?.as_deref().and_then(OpenRun::read);
            let oldest = before(through, self.options.resume_within);
            if let Some(open) = open.filter(|o| o.through >= oldest && o.through <= through) {
                window.through = open.through;
                window.open = Some(open);
                self.report.resumed = true;
                let time = stamp(open.through);
                self.progress
                    .announce(&format!("going on with the pull that stopped; it counts from {time}"));
            }
        }
        Ok(window)
    }

    fn chosen_cohort(&self) -> Result<Cohort, Fatal> {
        match &self.options.patient {
            Some(id) => {
                let id = id.strip_prefix("Patient/").unwrap_or(id);
                if !is_plain_segment(id) {
                    return Err(Fatal::Cohort("--patient is no FHIR id (letters, digits, - and .)".into()));
                }
                Ok(Cohort::Ids(vec![id.to_owned()]))
            }
            None => self.cohort.clone().load().map_err(|e| Fatal::Cohort(e.to_string())),
        }
    }

    fn plan_needs(&mut self, capability: Capability) -> Shared {
        let planned = self.needs.iter().map(|need| Planned {
            need: need.clone(),
            digest: need.digest(self.client),
            queries: need.queries(),
        });
        let shared = Shared::new(self.client.clone(), capability, planned.collect());
        let types: BTreeSet<&str> = self.needs.iter().map(|n| n.resource_type.as_str()).collect();
        for resource_type in types {
            if shared.capability.offers(resource_type, "search-type") == Some(false) {
                shared.stop(resource_type, true);
                self.report.unsupported(resource_type);
                self.progress.announce(&format!("{resource_type} is skipped: the server does not offer it"));
            }
        }
        let medication = ["search-type", "read"].map(|i| shared.capability.offers("Medication", i));
        if medication == [Some(false), Some(false)] {
            shared.stop("Medication", true);
        }
        shared
    }

    /// What is left to ask of one patient.
    fn jobs(
        &mut self,
        shared: &Shared,
        patient: &str,
        window: &Window,
        complete: &mut [usize],
    ) -> Result<Vec<Job>, Fatal> {
        let mut jobs = Vec::new();
        for (n, planned) in shared.needs.iter().enumerate() {
            let resource_type = planned.need.resource_type.as_str();
            if shared.stopped(resource_type) == Some(true) {
                continue;
            }
            let key = mark_key(resource_type, &planned.digest, patient);
            let mark = marks::mark(self.sink, &key).map_err(Fatal::Store)?;
            if window.open.is_some() && mark.is_some_and(|m| m >= window.through) {
                self.report.skipped += 1;
                complete[n] += 1;
                continue;
            }
            let by_change =
                shared.capability.search_params(resource_type).is_none_or(|p| p.contains("_lastUpdated"));
            let since = match (self.options.full, mark) {
                (true, _) | (_, None) => None,
                (false, Some(mark)) => Some(self.options.since.unwrap_or(mark)),
            };
            if since.is_some() && !by_change && !self.report.warnings.iter().any(|w| w.place == resource_type)
            {
                let text = "the server offers no _lastUpdated for this type; it is loaded in full each time";
                self.report.warn("full-reload", resource_type, text);
                self.progress.announce(&format!("{resource_type}: {text}"));
            }
            // A start after the mark leaves a gap that a moved mark would hide.
            let moves_mark = match (since, mark) {
                (Some(since), Some(mark)) => since <= mark,
                _ => true,
            };
            jobs.push(Job { need: n, since: since.filter(|_| by_change), moves_mark });
        }
        Ok(jobs)
    }

    fn plan(&mut self, shared: &Shared, ids: &[String], window: &Window) -> Result<(), Fatal> {
        let mut searches: BTreeMap<String, usize> = BTreeMap::new();
        let mut complete = vec![0; shared.needs.len()];
        for id in ids {
            for job in self.jobs(shared, id, window, &mut complete)? {
                let planned = &shared.needs[job.need];
                for query in &planned.queries {
                    *searches.entry(planned.need.describe(query, job.since.is_some())).or_default() += 1;
                }
            }
        }
        self.report.plan =
            searches.into_iter().map(|(text, requests)| PlannedSearch { text, requests }).collect();
        Ok(())
    }

    /// Runs the searches of all patients, some patients at a time, and stores what they bring.
    async fn patients(&mut self, shared: &Arc<Shared>, ids: &[String], window: &Window) -> Tally {
        let mut tally = Tally { complete: vec![0; shared.needs.len()], ..Tally::default() };
        let limit = self.client.config().max_concurrent;
        // A small channel: whoever reads faster than the store writes has to wait.
        let (sender, mut events) = mpsc::channel(2);
        let mut tasks = JoinSet::new();
        let mut waiting = ids.iter();
        let mut done = 0;
        while tally.fatal.is_none() {
            while tasks.len() < limit {
                let Some(id) = waiting.next() else { break };
                match self.jobs(shared, id, window, &mut tally.complete) {
                    Ok(jobs) if jobs.is_empty() => {
                        done += 1;
                        self.progress.patient_done(done, ids.len());
                    }
                    Ok(jobs) => {
                        let (shared, id, sender) = (shared.clone(), id.clone(), sender.clone());
                        tasks.spawn(async move { pull_patient(&shared, id, jobs, sender).await });
                    }
                    Err(fatal) => {
                        tally.fatal = Some(fatal);
                        break;
                    }
                }
            }
            if tally.fatal.is_some() {
                break;
            }
            if tasks.is_empty() {
                // All senders but our own are gone: what they sent lies in the channel.
                match events.try_recv() {
                    Ok(event) => self.take(event, shared, window, &mut tally),
                    Err(_) => break,
                }
                continue;
            }
            tokio::select! {
                biased;
                Some(event) = events.recv() => self.take(event, shared, window, &mut tally),
                Some(joined) = tasks.join_next() => {
                    done += 1;
                    self.progress.patient_done(done, ids.len());
                    if joined.is_err() {
                        *tally.incomplete.entry("searches that ended in a fault of this program".into()).or_default() += 1;
                    }
                }
            }
        }
        tasks.abort_all();
        if tally.fatal.is_some() && done < ids.len() {
            tally
                .incomplete
                .insert("searches of patients that were not asked to the end".into(), ids.len() - done);
        }
        tally
    }

    fn take(&mut self, event: Event, shared: &Shared, window: &Window, tally: &mut Tally) {
        match event {
            Event::Page { resource_type, patient, bytes } => {
                if let Err(fatal) = self.store(&resource_type, patient.as_deref(), &bytes) {
                    tally.fatal = Some(fatal);
                }
            }
            Event::Warning { code, place, text } => {
                if code == "full-reload" {
                    self.progress.announce(&format!("{place}: {text}"));
                }
                self.report.warn(code, &place, text);
            }
            Event::Unsupported(resource_type) => {
                self.progress.announce(&format!("{resource_type} is skipped: the server does not offer it"));
                self.report.unsupported(&resource_type);
            }
            Event::Fatal(error) => tally.fatal = Some(Fatal::Server(error)),
            Event::Done { end: End::Unsupported, .. } => {}
            Event::Done { end: End::Incomplete { searches, transient }, .. } => {
                tally.transient |= transient;
                for search in searches {
                    *tally.incomplete.entry(search).or_default() += 1;
                }
            }
            Event::Done { patient, need, moves_mark, end: End::Complete } => {
                tally.complete[need] += 1;
                if moves_mark {
                    let planned = &shared.needs[need];
                    let key = mark_key(&planned.need.resource_type, &planned.digest, &patient);
                    if let Err(reason) = self.sink.set_cursor(&key, &stamp(window.through)) {
                        tally.fatal = Some(Fatal::Store(reason));
                    }
                }
            }
        }
    }

    /// Hands a page to the sink and counts it. A dry run stores nothing.
    pub fn store(&mut self, resource_type: &str, patient: Option<&str>, bytes: &[u8]) -> Result<(), Fatal> {
        if self.options.dry_run {
            return Ok(());
        }
        let fate = self
            .sink
            .accept_page(self.client.base_url(), resource_type, patient, bytes)
            .map_err(Fatal::Store)?;
        self.report.count(resource_type, fate.stored, fate.resources);
        self.progress.page(resource_type, fate.resources);
        Ok(())
    }

    fn move_cohort_cursors(
        &mut self,
        shared: &Shared,
        complete: &[usize],
        patients: usize,
        window: &Window,
    ) -> Result<(), Fatal> {
        for (planned, done) in shared.needs.iter().zip(complete) {
            if *done == patients && shared.stopped(&planned.need.resource_type).is_none() {
                let key = cohort_cursor_key(self.client, self.cohort, &planned.need);
                self.sink.set_cursor(&key, &stamp(window.through)).map_err(Fatal::Store)?;
            }
        }
        Ok(())
    }

    /// The run came to its end. If something may succeed on a second try, the next pull tries just
    /// that, once; one search that never succeeds must not hold up the news of everybody else.
    fn close(&mut self, run_key: &str, window: &Window, transient: bool) -> Result<(), Fatal> {
        let second_try = transient && !window.open.is_some_and(|o| o.retried);
        let value = match second_try {
            true => OpenRun { through: window.through, retried: true }.write(),
            false => String::new(),
        };
        self.sink.set_cursor(run_key, &value).map_err(Fatal::Store)?;
        if self.options.full && !second_try {
            // Everything was loaded anew, so an older pull of changes has nothing left to go on with.
            let changes = marks::run_key(self.client, self.cohort, self.needs, false);
            self.sink.set_cursor(&changes, "").map_err(Fatal::Store)?;
        }
        Ok(())
    }
}
