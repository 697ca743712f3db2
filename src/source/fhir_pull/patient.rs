//! All searches of one patient, one after the other. Pages go to the one who stores them, in order;
//! a search is reported as done after its last page was handed over.

use super::need::{Need, Query};
use crate::client::server::ServerError;
use crate::client::{Bundle, Capability, EntryMode, FhirClient, Warning, resource_type};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::mpsc::Sender;

/// Failed searches in a row, over all patients, after which the server is given up.
const MAX_FAILURES_IN_A_ROW: u32 = 5;
/// Ids in one search by `_id`.
pub(super) const IDS_PER_SEARCH: usize = 50;

/// A need with what was decided about it for this run.
pub(super) struct Planned {
    pub need: Need,
    pub digest: String,
    pub queries: Vec<Query>,
}

/// One need of one patient.
pub(super) struct Job {
    /// Index into the planned needs.
    pub need: usize,
    pub since: Option<DateTime<Utc>>,
    /// The mark moves when the search is complete.
    pub moves_mark: bool,
}

/// What the patients of a run have learned from each other.
pub(super) struct Shared {
    pub client: FhirClient,
    pub capability: Capability,
    pub needs: Vec<Planned>,
    /// Types that are not asked for again in this run, with whether they are unsupported.
    stopped: Mutex<Vec<(String, bool)>>,
    no_last_updated: Mutex<BTreeSet<String>>,
    answered: Mutex<BTreeSet<String>>,
    medications: Mutex<BTreeSet<String>>,
    failures: AtomicU32,
}

/// What the one who stores has to know.
pub(super) enum Event {
    Page { resource_type: String, patient: Option<String>, bytes: Vec<u8> },
    Warning { code: &'static str, place: String, text: String },
    Done { patient: String, need: usize, moves_mark: bool, end: End },
    Unsupported(String),
    Fatal(ServerError),
}

/// How a need of a patient came out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    /// The server does not offer the type.
    Unsupported,
    /// `transient`: asking again may help.
    Incomplete {
        searches: Vec<String>,
        transient: bool,
    },
}

/// The run is over, nobody listens.
struct Closed;

impl Shared {
    pub fn new(client: FhirClient, capability: Capability, needs: Vec<Planned>) -> Shared {
        Shared {
            client,
            capability,
            needs,
            stopped: Mutex::default(),
            no_last_updated: Mutex::default(),
            answered: Mutex::default(),
            medications: Mutex::default(),
            failures: AtomicU32::new(0),
        }
    }

    /// Types that cannot be asked at all are known before the first patient.
    pub fn stop(&self, resource_type: &str, unsupported: bool) {
        lock(&self.stopped).push((resource_type.to_owned(), unsupported));
    }

    pub fn stopped(&self, resource_type: &str) -> Option<bool> {
        lock(&self.stopped).iter().find(|(t, _)| t == resource_type).map(|(_, unsupported)| *unsupported)
    }

    fn has_answered(&self, resource_type: &str) -> bool {
        lock(&self.answered).contains(resource_type)
    }
}

/// Runs the searches of one patient.
pub(super) async fn pull_patient(shared: &Shared, patient: String, jobs: Vec<Job>, events: Sender<Event>) {
    let task = Task { shared, patient: &patient, events };
    for job in jobs {
        if task.job(&job).await.is_err() {
            return;
        }
    }
}

struct Task<'a> {
    shared: &'a Shared,
    patient: &'a str,
    events: Sender<Event>,
}

/// How one search ended, if it did.
struct Read {
    /// Fewer matches than announced.
    short: bool,
    /// Another number of matches than announced.
    mismatch: Option<String>,
    medications: BTreeSet<String>,
}

impl Task<'_> {
    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }

    async fn warn(&self, code: &'static str, place: &str, text: impl Into<String>) -> Result<(), Closed> {
        self.send(Event::Warning { code, place: place.to_owned(), text: text.into() }).await
    }

    async fn job(&self, job: &Job) -> Result<(), Closed> {
        let planned = &self.shared.needs[job.need];
        let end = match self.shared.stopped(&planned.need.resource_type) {
            Some(true) => End::Unsupported,
            Some(false) => End::Incomplete {
                searches: planned.queries.iter().map(|q| planned.need.describe(q, false)).collect(),
                transient: false,
            },
            None => self.need(planned, job.since).await?,
        };
        let patient = self.patient.to_owned();
        self.send(Event::Done { patient, need: job.need, moves_mark: job.moves_mark, end }).await
    }

    async fn need(&self, planned: &Planned, since: Option<DateTime<Utc>>) -> Result<End, Closed> {
        let resource_type = planned.need.resource_type.as_str();
        let mut missing = Vec::new();
        let mut transient = false;
        let mut medications = BTreeSet::new();
        for query in &planned.queries {
            match self.query(planned, query, since).await? {
                Ok(read) => {
                    self.shared.failures.store(0, Ordering::Relaxed);
                    lock(&self.shared.answered).insert(resource_type.to_owned());
                    medications.extend(read.medications);
                    if read.short {
                        missing.push(planned.need.describe(query, since.is_some()));
                    }
                }
                Err(error) => {
                    let place = planned.need.describe(query, since.is_some());
                    match self.judge(resource_type, &place, error).await? {
                        Verdict::Unsupported => return Ok(End::Unsupported),
                        Verdict::Incomplete { again } => {
                            transient |= again;
                            missing.push(place);
                        }
                    }
                }
            }
        }
        if let Err(error) = self.fetch_medications(medications).await? {
            let place = "Medication?_id=…";
            let Verdict::Incomplete { again } = self.judge("Medication", place, error).await? else {
                return Ok(End::Incomplete { searches: vec![place.to_owned()], transient: false });
            };
            transient |= again;
            missing.push(place.to_owned());
        }
        Ok(if missing.is_empty() { End::Complete } else { End::Incomplete { searches: missing, transient } })
    }

    /// One search; without `_lastUpdated` where the server cannot use it, and once more where the
    /// number of results is not the announced one.
    async fn query(
        &self,
        planned: &Planned,
        query: &Query,
        since: Option<DateTime<Utc>>,
    ) -> Result<Result<Read, ServerError>, Closed> {
        let resource_type = planned.need.resource_type.as_str();
        let since = since.filter(|_| !lock(&self.shared.no_last_updated).contains(resource_type));
        let mut asked = planned.need.ask(query, self.patient, since);
        let place = planned.need.describe(query, since.is_some());
        let mut result = self.read(resource_type, &place, asked.clone()).await?;
        if matches!(&result, Err(ServerError::Status { status: 410, .. })) {
            // The server has forgotten the search whose next page was asked for.
            result = self.read(resource_type, &place, asked.clone()).await?;
        }
        let refused = matches!(
            &result,
            Err(ServerError::Protocol { code: "dropped-parameter", .. }
                | ServerError::Status { status: 400, .. })
        );
        if since.is_some() && refused {
            asked = planned.need.ask(query, self.patient, None);
            result = self.read(resource_type, &place, asked.clone()).await?;
            if result.is_ok() && lock(&self.shared.no_last_updated).insert(resource_type.to_owned()) {
                let text = "the server takes no _lastUpdated for this type; it is loaded in full each time";
                self.warn("full-reload", resource_type, text).await?;
            }
        }
        if matches!(&result, Ok(Read { mismatch: Some(_), .. })) {
            result = self.read(resource_type, &place, asked).await?;
            if let Ok(Read { mismatch: Some(text), .. }) = &result {
                self.warn("total-mismatch", &place, format!("{text}, also when asked again")).await?;
            }
        }
        Ok(result)
    }

    async fn read(
        &self,
        resource_type: &str,
        place: &str,
        asked: Vec<(String, String)>,
    ) -> Result<Result<Read, ServerError>, Closed> {
        let mut pages = self.shared.client.search_pages(resource_type, asked);
        let mut read = Read { short: false, mismatch: None, medications: BTreeSet::new() };
        let (mut total, mut matches) = (None, 0);
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(Ok(read)),
                Err(error) => return Ok(Err(error)),
            };
            if page.number == 1 {
                total = page.total;
            }
            matches += page.matches as u64;
            for Warning { code, text } in page.warnings {
                if code == "total-mismatch" {
                    read.short = total.is_some_and(|t| t > matches);
                    read.mismatch = Some(text);
                } else {
                    self.warn(code, place, text).await?;
                }
            }
            if resource_type.starts_with("Medication") {
                self.collect_medications(&page.bytes, resource_type, &mut read.medications).await?;
            }
            let patient = Some(self.patient.to_owned());
            self.send(Event::Page { resource_type: resource_type.to_owned(), patient, bytes: page.bytes })
                .await?;
        }
    }

    async fn judge(&self, resource_type: &str, place: &str, error: ServerError) -> Result<Verdict, Closed> {
        let offered = self.shared.capability.offers(resource_type, "search-type") == Some(true)
            || self.shared.has_answered(resource_type);
        let text = error.to_string();
        let verdict = match &error {
            ServerError::Refused { status: 401, .. } => {
                self.send(Event::Fatal(error)).await?;
                return Ok(Verdict::Incomplete { again: true });
            }
            ServerError::Refused { .. } => {
                self.shared.stop(resource_type, false);
                self.warn("refused", place, text).await?;
                return Ok(Verdict::Incomplete { again: false });
            }
            ServerError::Status { status: 404 | 405 | 501, .. }
                if !self.shared.has_answered(resource_type) =>
            {
                Verdict::Unsupported
            }
            ServerError::Status { status: 410, .. } => Verdict::Incomplete { again: true },
            ServerError::Status { status: 400..=428 | 430..=499, .. } if !offered => Verdict::Unsupported,
            ServerError::Status { status: 400..=428 | 430..=499, .. } => {
                self.warn("search-refused", place, text).await?;
                return Ok(Verdict::Incomplete { again: false });
            }
            ServerError::Protocol { code: "dropped-parameter", .. } => {
                // It would be dropped for every patient, each time with a page of other people's data.
                self.shared.stop(resource_type, false);
                self.warn("dropped-parameter", place, text).await?;
                return Ok(Verdict::Incomplete { again: false });
            }
            ServerError::Protocol { code, .. } if !matches!(*code, "not-json" | "not-fhir" | "redirect") => {
                self.warn(code, place, text).await?;
                return Ok(Verdict::Incomplete { again: false });
            }
            _ => Verdict::Incomplete { again: true },
        };
        if verdict == Verdict::Unsupported {
            self.shared.stop(resource_type, true);
            self.send(Event::Unsupported(resource_type.to_owned())).await?;
            return Ok(verdict);
        }
        let code = match &error {
            ServerError::Protocol { code, .. } => code,
            ServerError::Status { .. } => "server-error",
            _ => "unreachable",
        };
        self.warn(code, place, text).await?;
        if self.shared.failures.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_FAILURES_IN_A_ROW {
            self.send(Event::Fatal(error)).await?;
        }
        Ok(verdict)
    }

    /// Ids of the Medications that a page points to. References inside the resource (`#`), to
    /// another server or by identifier are not followed.
    async fn collect_medications(
        &self,
        bytes: &[u8],
        resource_type_asked: &str,
        found: &mut BTreeSet<String>,
    ) -> Result<(), Closed> {
        let Ok(bundle) = Bundle::parse(bytes, resource_type_asked) else { return Ok(()) };
        let mut foreign = false;
        for entry in bundle.entries.iter().filter(|e| e.mode != EntryMode::Outcome) {
            let Ok(resource) = serde_json::from_str::<Value>(entry.resource.get()) else { continue };
            if resource_type(entry.resource).as_deref() == Some("Medication") {
                if let Some(id) = resource["id"].as_str() {
                    lock(&self.shared.medications).insert(id.to_owned());
                }
                continue;
            }
            // R5 has one `medication` of code or reference where R4 has a choice.
            let reference = resource["medicationReference"]["reference"]
                .as_str()
                .or_else(|| resource["medication"]["reference"]["reference"].as_str());
            let Some(reference) = reference.filter(|r| !r.starts_with('#')) else { continue };
            match self.shared.client.id_in(reference, "Medication") {
                Some(id) => {
                    found.insert(id);
                }
                None => foreign = true,
            }
        }
        if foreign {
            let place = format!("{resource_type_asked}.medication");
            self.warn(
                "foreign-reference",
                &place,
                "a Medication outside the configured server is not fetched",
            )
            .await?;
        }
        Ok(())
    }

    async fn fetch_medications(&self, wanted: BTreeSet<String>) -> Result<Result<(), ServerError>, Closed> {
        let wanted: Vec<String> = {
            let known = lock(&self.shared.medications);
            wanted.into_iter().filter(|id| !known.contains(id)).collect()
        };
        if wanted.is_empty() || self.shared.stopped("Medication").is_some() {
            return Ok(Ok(()));
        }
        let client = &self.shared.client;
        for ids in wanted.chunks(IDS_PER_SEARCH) {
            let fetched = fetch_by_id(client, "Medication", ids).await;
            let fetched = match fetched {
                Ok(fetched) => fetched,
                Err(error) => return Ok(Err(error)),
            };
            for bytes in fetched.pages {
                self.send(Event::Page { resource_type: "Medication".into(), patient: None, bytes }).await?;
            }
            if !fetched.absent.is_empty() {
                let text = format!("{} Medications that are pointed to are not there", fetched.absent.len());
                self.warn("dangling-reference", "medicationReference", text).await?;
            }
            // After the pages were handed over: who finds an id here may call his search complete.
            lock(&self.shared.medications).extend(ids.iter().cloned());
        }
        Ok(Ok(()))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Unsupported,
    Incomplete { again: bool },
}

/// Resources fetched by their ids.
pub(super) struct Fetched {
    /// Pages of a search, or single resources.
    pub pages: Vec<Vec<u8>>,
    pub present: BTreeSet<String>,
    /// Ids with the status that a read gave: 404 or 410.
    pub absent: Vec<(String, u16)>,
}

/// Fetches by one search on `_id`, and what is then missing, or everything where the server cannot
/// search by `_id`, by reading.
pub(super) async fn fetch_by_id(
    client: &FhirClient,
    resource_type_asked: &str,
    ids: &[String],
) -> Result<Fetched, ServerError> {
    let mut fetched = Fetched { pages: Vec::new(), present: BTreeSet::new(), absent: Vec::new() };
    let mut pages = client.search_pages(resource_type_asked, vec![("_id".to_owned(), ids.join(","))]);
    loop {
        match pages.next().await {
            Ok(Some(page)) => {
                fetched.present.extend(ids_in(&page.bytes, resource_type_asked));
                fetched.pages.push(page.bytes);
            }
            Ok(None) => break,
            Err(ServerError::Status { status: 400..=428 | 430..=499 | 501, .. }) => break,
            Err(ServerError::Protocol { code: "dropped-parameter", .. }) => break,
            Err(error) => return Err(error),
        }
    }
    for id in ids.iter().filter(|id| !fetched.present.contains(*id)).cloned().collect::<Vec<_>>() {
        match client.read_strict(resource_type_asked, &id).await {
            Ok(found) => {
                fetched.pages.push(found.body);
                fetched.present.insert(id);
            }
            Err(ServerError::Status { status: status @ (404 | 410), .. }) => {
                fetched.absent.push((id, status))
            }
            Err(error) => return Err(error),
        }
    }
    Ok(fetched)
}

/// The ids of the resources of one type in a page.
pub(super) fn ids_in(bytes: &[u8], resource_type_asked: &str) -> Vec<String> {
    let Ok(bundle) = Bundle::parse(bytes, resource_type_asked) else { return Vec::new() };
    let own = |e: &&crate::client::Entry<'_>| {
        e.mode == EntryMode::Match && resource_type(e.resource).as_deref() == Some(resource_type_asked)
    };
    bundle
        .entries
        .iter()
        .filter(own)
        .filter_map(|e| {
            serde_json::from_str::<Value>(e.resource.get()).ok()?["id"].as_str().map(str::to_owned)
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // The guarded sets are whole after every single call, also one that panicked.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
