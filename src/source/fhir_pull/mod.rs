//! The pull: asks a hospital's FHIR server for what the trial needs of each patient of a cohort.
//!
//! Every page goes to the sink as received, before any cursor moves past it. Nothing is interpreted
//! here beyond what paging and completeness need; a resource of the wrong patient is stored and
//! reported, and it is the normaliser that keeps it from being attached.
//!
//! Invariant: a mark at time T for a need and a patient means that everything the server held about
//! them at T is durable.

mod cohort;
mod marks;
mod need;
mod patient;
mod report;
mod resolve;
mod run;
#[cfg(test)]
mod tests;

pub use cohort::{Cohort, CohortError, read_ids};
pub use marks::cohort_cursor_key;
pub use need::{CodeList, Need};
pub use report::{Fatal, Planned, PullReport, PullWarning, TypeCount};

use crate::client::FhirClient;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// What became of a page in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageFate {
    /// `false` when an identical page was already stored.
    pub stored: bool,
    pub resources: usize,
}

/// Where pages and cursors go. Calls come one at a time, and each returns only when its effect is
/// durable. An error ends the pull.
pub trait PullSink {
    /// `bytes` are a searchset Bundle, or a single resource where it had to be read by its id.
    /// `origin` is the base URL of the server.
    ///
    /// # Errors
    /// A sentence for the operator, without patient data.
    fn accept_page(
        &mut self,
        origin: &str,
        resource_type: &str,
        patient: Option<&str>,
        bytes: &[u8],
    ) -> Result<PageFate, String>;

    /// # Errors
    /// As [`PullSink::accept_page`].
    fn cursor(&self, key: &str) -> Result<Option<String>, String>;

    /// # Errors
    /// As [`PullSink::accept_page`].
    fn set_cursor(&mut self, key: &str, value: &str) -> Result<(), String>;
}

/// How a pull is seen while it runs.
pub trait Progress: Send + Sync {
    /// A choice that was made without being asked for, in words.
    fn announce(&self, _text: &str) {}
    fn cohort(&self, _patients: usize) {}
    fn page(&self, _resource_type: &str, _resources: usize) {}
    fn patient_done(&self, _done: usize, _of: usize) {}
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}

/// How a pull is run.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Load everything again.
    pub full: bool,
    /// Load what changed since this time, instead of since the last pull. Marks move only where this
    /// leaves no gap.
    pub since: Option<DateTime<Utc>>,
    /// Taken off the start of the run when a cursor is set, for records that became visible late.
    pub overlap: Duration,
    /// Ask for the CapabilityStatement and the cohort only, store nothing, move no cursor.
    pub dry_run: bool,
    /// Only this patient, whatever the cohort. Cursors of the cohort stay.
    pub patient: Option<String>,
    /// The machine's time, where the server tells none.
    pub now: DateTime<Utc>,
    /// A cut-off pull that began longer ago is not gone on with.
    pub resume_within: Duration,
}

impl PullOptions {
    pub fn new(now: DateTime<Utc>) -> PullOptions {
        PullOptions {
            full: false,
            since: None,
            overlap: Duration::from_secs(15 * 60),
            dry_run: false,
            patient: None,
            now,
            resume_within: Duration::from_secs(24 * 3600),
        }
    }
}

/// Pulls what is new of every patient of the cohort; of a patient not seen before, everything.
///
/// The sink is called from the task that awaits this, and may block it for the length of a commit.
/// Dropping the future ends the pull; what was stored stays, and the next pull goes on from there.
pub async fn pull(
    client: &FhirClient,
    cohort: &Cohort,
    needs: &[Need],
    options: &PullOptions,
    sink: &mut (dyn PullSink + Send),
    progress: &dyn Progress,
) -> PullReport {
    let before = client.counts();
    let mut report = PullReport::new(options.now);
    let mut run = run::Run { client, cohort, needs, options, sink, progress, report: &mut report };
    if let Err(fatal) = run.run().await {
        tracing::warn!(event = "pull.fatal", error = %fatal);
        report.fatal = Some(fatal);
    }
    let after = client.counts();
    report.requests = after.requests - before.requests;
    report.retried = after.retried - before.retried;
    report.finished = client.now();
    tracing::info!(
        event = "pull.finished",
        patients = report.patients,
        pages = report.pages,
        resources = report.resources,
        requests = report.requests,
        complete = report.is_complete()
    );
    report
}
