//! FHIR Subscriptions: a hospital's server tells us that something changed.
//!
//! A notification is a hint that is counted, never a guarantee: servers give up delivering after a
//! minute, restart their counters, fall silent, and tell of no deletion. So every jump in the numbers,
//! every missing heartbeat and every long silence ends in a pull, and the pull is the proof.
//!
//! Never: a connection to anywhere but the configured server, whatever a notification names; a request
//! to anybody because of a notification whose secret is wrong; an answer before the bytes are on disk.

mod hook;
mod meaning;
mod recovery;
mod resource;
mod secret;
#[cfg(test)]
mod tests;

pub use hook::{HookLimits, Hooks, router};
pub use recovery::{Limits, Pull, Step, Watcher, watch};
pub use resource::{Order, Shape, endpoint};
pub use secret::{HookSecret, matches};

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// The `origin` of what comes this way, in the inbox.
pub const ORIGIN: &str = "subscription";

/// How the hook tells the watcher that there is something to do.
#[derive(Debug, Default)]
pub struct Wake {
    notify: Notify,
    /// Subscriptions whose server may have begun to count anew.
    suspects: Mutex<BTreeSet<String>>,
    /// Something lies in the inbox that nobody was told of.
    kept: AtomicBool,
}

impl Wake {
    /// There is work, or something to look into.
    pub fn up(&self, suspect: Option<&str>) {
        if let Some(id) = suspect {
            self.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        }
        self.notify.notify_one();
    }

    /// Something was put into the inbox; the watcher passes it on when it is woken.
    fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    fn take_kept(&self) -> bool {
        self.kept.swap(false, Ordering::AcqRel)
    }

    async fn woken(&self) {
        self.notify.notified().await;
    }

    fn take_suspects(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.suspects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
