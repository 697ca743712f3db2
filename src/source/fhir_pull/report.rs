//! What a pull did, for operators and exit codes. Holds no patient's id.

use crate::client::server::ServerError;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// Why a pull ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error(transparent)]
    Server(ServerError),
    #[error("the store refused a page or cursor: {0}; nothing after it was kept, run the pull again")]
    Store(String),
    #[error("{0}")]
    Cohort(String),
}

/// Something that a person should know and that did not end the pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullWarning {
    /// Stable, such as `total-mismatch`, `dropped-parameter`, `gone`, `full-reload`.
    pub code: &'static str,
    /// The first occurrence in words.
    pub text: String,
    /// A search or element, ids left out.
    pub place: String,
    /// How often it occurred at this place.
    pub count: usize,
}

/// Pages and resources of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeCount {
    pub pages: usize,
    /// Pages that were not in the store yet.
    pub stored_pages: usize,
    pub resources: usize,
}

/// A search that a dry run would have sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub text: String,
    /// First pages; what follows depends on the answers.
    pub requests: usize,
}

/// The account of one pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullReport {
    /// Patients in the cohort.
    pub patients: usize,
    pub pages: usize,
    pub stored_pages: usize,
    pub resources: usize,
    /// Requests sent, repetitions included.
    pub requests: u64,
    pub retried: u64,
    pub by_type: BTreeMap<String, TypeCount>,
    pub warnings: Vec<PullWarning>,
    /// Searches whose results are not all there, with the number of patients concerned.
    pub incomplete: Vec<String>,
    /// Types that the server does not offer or cannot be asked for.
    pub unsupported: Vec<String>,
    /// Only of a dry run.
    pub plan: Vec<Planned>,
    /// This pull went on with an earlier one that was cut off.
    pub resumed: bool,
    /// Searches that were not sent because the earlier pull had done them.
    pub skipped: usize,
    /// Everything that was complete is complete up to this time of the server's clock.
    pub through: Option<DateTime<Utc>>,
    pub started: DateTime<Utc>,
    pub finished: DateTime<Utc>,
    pub fatal: Option<Fatal>,
}

impl PullReport {
    pub(super) fn new(started: DateTime<Utc>) -> PullReport {
        PullReport {
            patients: 0,
            pages: 0,
            stored_pages: 0,
            resources: 0,
            requests: 0,
            retried: 0,
            by_type: BTreeMap::new(),
            warnings: Vec::new(),
            incomplete: Vec::new(),
            unsupported: Vec::new(),
            plan: Vec::new(),
            resumed: false,
            skipped: 0,
            through: None,
            started,
            finished: started,
            fatal: None,
        }
    }

    /// Every search was answered in full. Types that the server does not offer do not count against it.
    pub fn is_complete(&self) -> bool {
        self.fatal.is_none() && self.incomplete.is_empty()
    }

    /// Adds a warning; the same code at the same place is counted, not repeated.
    pub(super) fn warn(&mut self, code: &'static str, place: &str, text: impl Into<String>) {
        if let Some(known) = self.warnings.iter_mut().find(|w| w.code == code && w.place == place) {
            known.count += 1;
            return;
        }
        let text = text.into();
        tracing::warn!(event = "pull.warning", code, place, %text);
        self.warnings.push(PullWarning { code, text, place: place.to_owned(), count: 1 });
    }

    pub(super) fn unsupported(&mut self, resource_type: &str) {
        if !self.unsupported.iter().any(|t| t == resource_type) {
            self.unsupported.push(resource_type.to_owned());
        }
    }

    pub(super) fn count(&mut self, resource_type: &str, stored: bool, resources: usize) {
        let entry = self.by_type.entry(resource_type.to_owned()).or_default();
        for (pages, kept, all) in [
            (&mut entry.pages, &mut entry.stored_pages, &mut entry.resources),
            (&mut self.pages, &mut self.stored_pages, &mut self.resources),
        ] {
            *pages += 1;
            *kept += usize::from(stored);
            *all += resources;
        }
    }
}
