//! Misbehaviour on request, and the log of what was asked.
//!
//! Everything is off until a test switches it on. The log holds parameter names and never their values, since
//! a search URL can carry a patient's identifier.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many requests the log keeps: the newest.
const LOGGED_REQUESTS: usize = 100_000;

/// One request, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine {
    pub method: String,
    /// With the base: `/fhir/Observation`.
    pub path: String,
    /// Names of the search parameters of the URL and of a `_search` form, in order, with modifiers.
    pub query_keys: Vec<String>,
    pub body_bytes: usize,
    /// Whether `If-None-Exist` was there.
    pub conditional: bool,
    /// `If-Match`, as sent.
    pub if_match: Option<String>,
}

impl RequestLine {
    /// The resource type in the path, or "" at the base.
    pub fn resource_type(&self) -> &str {
        self.path.trim_start_matches('/').split('/').nth(1).unwrap_or("")
    }
}

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done; this status is answered, with `Retry-After` if given.
    Answer { status: u16, retry_after: Option<String> },
    /// The request has its whole effect; this status is answered all the same.
    DoneButAnswer { status: u16 },
    /// The answer's body ends after so many bytes (with a `Content-Length` that agrees).
    Truncate { bytes: usize },
    /// The request is handled only after this time.
    DelayBefore(Duration),
    /// The request has its effect at once, and is answered only after this time.
    DelayAfter(Duration),
}

/// Where `Bundle.link[next]` points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NextLink {
    #[default]
    Honest,
    /// To the page it is on, for ever.
    Loop,
    /// To another origin, such as `http://127.0.0.1:9`.
    Foreign(String),
}

/// Standing misbehaviour, as one request sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Switches {
    pub dropped: Vec<String>,
    pub dropped_but_listed: Vec<String>,
    pub ignore_if_none_exist: bool,
    pub refuse_if_none_exist: bool,
    pub total: Option<u64>,
    pub no_total: bool,
    pub next: NextLink,
}

type Predicate = dyn Fn(&RequestLine) -> bool + Send + Sync;

struct Injection {
    left: usize,
    when: Box<Predicate>,
    fault: Fault,
}

#[derive(Default)]
struct Inner {
    injections: Vec<Injection>,
    switches: Switches,
    log: std::collections::VecDeque<RequestLine>,
}

/// Misbehaviour that a test switches on, and the log of requests.
#[derive(Default)]
pub struct Faults {
    inner: Mutex<Inner>,
}

impl Faults {
    /// Lets `fault` happen to the next `times` requests for which `when` holds.
    pub fn inject(
        &self,
        times: usize,
        when: impl Fn(&RequestLine) -> bool + Send + Sync + 'static,
        fault: Fault,
    ) {
        self.lock().injections.push(Injection { left: times, when: Box::new(when), fault });
    }

    /// Answers the next `times` requests for which `when` holds with `status`, without doing anything.
    pub fn answer_next(
        &self,
        times: usize,
        when: impl Fn(&RequestLine) -> bool + Send + Sync + 'static,
        status: u16,
        retry_after: Option<&str>,
    ) {
        self.inject(times, when, Fault::Answer { status, retry_after: retry_after.map(str::to_owned) });
    }

    /// Ignores a search parameter without a word. The self link does not list it, as FHIR demands.
    pub fn drop_parameter(&self, name: &str) {
        self.lock().switches.dropped.push(name.to_owned());
    }

    /// Ignores a search parameter and lists it in the self link as if it had been used.
    pub fn drop_parameter_but_list_it(&self, name: &str) {
        self.lock().switches.dropped_but_listed.push(name.to_owned());
    }

    /// Creates whatever `If-None-Exist` says.
    pub fn ignore_if_none_exist(&self, on: bool) {
        self.lock().switches.ignore_if_none_exist = on;
    }

    /// Answers 400 to every `If-None-Exist`, as a server without conditional create does.
    pub fn refuse_if_none_exist(&self, on: bool) {
        self.lock().switches.refuse_if_none_exist = on;
    }

    /// Reports this `Bundle.total` for every search; `None` restores the truth.
    pub fn lie_about_total(&self, total: Option<u64>) {
        self.lock().switches.total = total;
    }

    /// Leaves `Bundle.total` out, which FHIR allows.
    pub fn omit_total(&self, on: bool) {
        self.lock().switches.no_total = on;
    }

    /// Bends the `next` link of every search, also of one that fits on a page.
    pub fn next_link(&self, next: NextLink) {
        self.lock().switches.next = next;
    }

    /// Switches everything off. The log stays.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.injections.clear();
        inner.switches = Switches::default();
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<RequestLine> {
        self.lock().log.iter().cloned().collect()
    }

    /// Empties the log.
    pub fn forget_requests(&self) {
        self.lock().log.clear();
    }

    pub(super) fn switches(&self) -> Switches {
        self.lock().switches.clone()
    }

    /// Logs a request and returns what goes wrong with it. Each injection that matches is used up by one.
    pub(super) fn meet(&self, line: &RequestLine) -> Vec<Fault> {
        let mut inner = self.lock();
        if inner.log.len() == LOGGED_REQUESTS {
            inner.log.pop_front();
        }
        inner.log.push_back(line.clone());
        let mut due: Vec<Fault> = Vec::new();
        for injection in &mut inner.injections {
            // One fault of a kind is enough for one request: two injections of "answer 503" make two requests
            // fail.
            let already = due
                .iter()
                .any(|fault| std::mem::discriminant(fault) == std::mem::discriminant(&injection.fault));
            if injection.left > 0 && !already && (injection.when)(line) {
                injection.left -= 1;
                due.push(injection.fault.clone());
            }
        }
        inner.injections.retain(|injection| injection.left > 0);
        due
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
