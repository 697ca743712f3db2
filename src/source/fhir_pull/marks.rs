//! Up to when each search is complete, so that a pull asks for what is new and a cut-off pull goes on.
//!
//! Three kinds of cursor, all in the server's time less the overlap:
//! * a mark for each (need, patient): every page was durable when it was written;
//! * a cursor for each (need, cohort): the marks of all patients of the cohort reach this far;
//! * the run: a pull that began and has not ended.

use super::need::{Need, digest, stamp};
use super::{Cohort, PullSink};
use crate::client::FhirClient;
use chrono::{DateTime, Utc};

/// The cursor that says up to when a need is complete for a whole cohort.
pub fn cohort_cursor_key(client: &FhirClient, cohort: &Cohort, need: &Need) -> String {
    format!("pull/{}/{}/cohort/{}", need.resource_type, need.digest(client), cohort.digest())
}

pub(super) fn mark_key(resource_type: &str, need_digest: &str, patient: &str) -> String {
    format!("pull/{resource_type}/{need_digest}/patient/{patient}")
}

pub(super) fn run_key(client: &FhirClient, cohort: &Cohort, needs: &[Need], full: bool) -> String {
    let digests: Vec<String> = needs.iter().map(|n| n.digest(client)).collect();
    let mut parts = vec![client.base_url()];
    parts.extend(digests.iter().map(String::as_str));
    format!("pull/run/{}/{}/{}", digest(&parts), cohort.digest(), if full { "full" } else { "changes" })
}

/// A pull that began and has not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenRun {
    pub through: DateTime<Utc>,
    /// It came to its end once, with searches missing that may succeed later.
    pub retried: bool,
}

impl OpenRun {
    pub fn write(self) -> String {
        format!("{} {}", stamp(self.through), if self.retried { "retried" } else { "open" })
    }

    /// `None` for a run that has ended or a text that is none.
    pub fn read(text: &str) -> Option<OpenRun> {
        let (time, state) = text.split_once(' ')?;
        Some(OpenRun { through: read_stamp(time)?, retried: state == "retried" })
    }
}

/// A time in a cursor. An unreadable one is as good as none: the search starts from the beginning.
pub(super) fn read_stamp(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.with_timezone(&Utc))
}

pub(super) fn mark(sink: &dyn PullSink, key: &str) -> Result<Option<DateTime<Utc>>, String> {
    Ok(sink.cursor(key)?.as_deref().and_then(read_stamp))
}
