//! How the last pull went. The scheduler writes it, pages and monitors read it.

use chrono::{DateTime, Utc};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of pulls since the program started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pull {
    pub last_started: Option<DateTime<Utc>>,
    pub last_finished: Option<DateTime<Utc>>,
    /// How the last pull that finished ended: [`Status::OK`], or the code of what went wrong.
    pub last_outcome: Option<String>,
    /// When the last pull that ended well finished.
    pub last_success: Option<DateTime<Utc>>,
    /// Everything that the hospital changed up to here has been read.
    pub complete_to: Option<DateTime<Utc>>,
}

impl Pull {
    /// Did the last pull that finished end otherwise than well?
    pub fn has_failed(&self) -> bool {
        self.last_outcome.as_deref().is_some_and(|outcome| outcome != Status::OK)
    }
}

/// Shared between the scheduler and the pages.
#[derive(Debug, Default)]
pub struct Status {
    pull: Mutex<Pull>,
}

impl Status {
    /// The outcome of a pull that read everything.
    pub const OK: &str = "ok";

    pub fn new() -> Status {
        Status::default()
    }

    /// A pull begins.
    pub fn started(&self, at: DateTime<Utc>) {
        self.lock().last_started = Some(at);
    }

    /// A pull has ended. `outcome`: [`Status::OK`], or a code such as `remote-unreachable`; never a
    /// message. `complete_to` moves forward only: a pull that failed takes nothing back.
    pub fn finished(&self, at: DateTime<Utc>, outcome: &str, complete_to: Option<DateTime<Utc>>) {
        let mut pull = self.lock();
        pull.last_finished = Some(at);
        pull.last_outcome = Some(outcome.to_owned());
        if outcome == Status::OK {
            pull.last_success = Some(at);
        }
        pull.complete_to = pull.complete_to.max(complete_to);
    }

    pub fn pull(&self) -> Pull {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Pull> {
        // Every write leaves the struct whole, so that a panic elsewhere does not spoil it.
        self.pull.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completeness_never_moves_back() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        let status = Status::new();
        assert_eq!(status.pull(), Pull::default());
        status.started(at(10));
        status.finished(at(20), Status::OK, Some(at(9)));
        status.started(at(30));
        status.finished(at(40), "remote-unreachable", None);
        status.finished(at(50), "partial", Some(at(3)));
        let pull = status.pull();
        assert!(pull.has_failed());
        assert_eq!(pull.last_outcome.as_deref(), Some("partial"));
        assert_eq!(
            (pull.last_started, pull.last_finished, pull.last_success, pull.complete_to),
            (Some(at(30)), Some(at(50)), Some(at(20)), Some(at(9)))
        );
    }
}
