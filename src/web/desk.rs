//! What is needed to act and not only to look: the clock, the key to the list, the pipeline, who is who,
//! and who is waiting.

use super::grants::Grants;
use super::trouble::Trouble;
use crate::access::Masking;
use crate::account::Settings;
use crate::account::oidc::Provider;
use crate::http::listener::Peer;
use crate::http::throttle::Throttle;
use crate::pipeline::Pipeline;
use crate::randomize::SealKey;
use crate::store::{Decision, Refusal, Store, StoreError};
use axum::extract::Request;
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Attempts to sign in that one address may make in a second.
const LOGINS_PER_SECOND: u32 = 5;
/// Passwords that are hashed at a time: each takes its memory for itself.
const HASHING: usize = 4;
/// How long a request waits for another one with the same key, or for its turn to be hashed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads the key to the sealed list; why there is none, where there is none.
pub type ReadKey = dyn Fn() -> Result<SealKey, Refusal> + Send + Sync;
/// The time, and the day at the hospital.
pub type Clock = dyn Fn() -> (DateTime<Utc>, NaiveDate) + Send + Sync;

/// Made once a service.
pub struct Desk {
    pub settings: Settings,
    /// Who is kept from knowing arms.
    pub masking: Masking,
    pub pipeline: Pipeline,
    /// The hospital's identity provider, where one is configured.
    pub provider: Option<Provider>,
    key: Box<ReadKey>,
    clock: Box<Clock>,
    patience: Duration,
    logins: Option<Throttle>,
    hashing: Arc<Semaphore>,
    pub(super) grants: Grants,
    /// Keys of draws that are being made.
    in_hand: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Desk {
    pub fn new(
        settings: Settings,
        masking: Masking,
        pipeline: Pipeline,
        key: Box<ReadKey>,
        clock: Box<Clock>,
    ) -> Desk {
        Desk {
            settings,
            masking,
            pipeline,
            provider: None,
            key,
            clock,
            patience: PATIENCE,
            logins: Throttle::new(LOGINS_PER_SECOND),
            hashing: Arc::new(Semaphore::new(HASHING)),
            grants: Grants::default(),
            in_hand: Mutex::default(),
        }
    }

    /// With the hospital's identity provider.
    pub fn with_provider(self, provider: Option<Provider>) -> Desk {
        Desk { provider, ..self }
    }

    #[cfg(test)]
    pub fn with_patience(self, patience: Duration) -> Desk {
        Desk { patience, ..self }
    }

    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)().0
    }

    /// Today at the hospital.
    pub fn today(&self) -> NaiveDate {
        (self.clock)().1
    }

    pub fn key(&self) -> Result<SealKey, Refusal> {
        (self.key)()
    }

    /// Judges whoever is concerned, and returns a subject's decision as it is then.
    pub(super) fn judged(&self, store: &dyn Store, subject: &str) -> Result<Decision, Trouble> {
        let failed = |error: StoreError| Trouble::store(&error);
        self.pipeline.run(self.now(), self.today()).map_err(failed)?;
        store.latest_decision(subject).map_err(failed)?.ok_or_else(Trouble::no_such_subject)
    }

    /// Takes one of the attempts to sign in that an address has in a second. Accounts have limits of
    /// their own, from wherever they are tried.
    pub(super) fn attempt(&self, request: &Request) -> Result<(), Trouble> {
        let peer = request.extensions().get::<Peer>();
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
        match self.logins.as_ref().map(|logins| logins.check(None, address)) {
            Some(Err(seconds)) => Err(Trouble::too_many_attempts(Some(seconds))),
            _ => Ok(()),
        }
    }

    /// A turn to have a password hashed, which takes memory and time.
    pub(super) async fn hashing(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        let turn = Arc::clone(&self.hashing).acquire_owned();
        match tokio::time::timeout(self.patience, turn).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Trouble::busy()),
        }
    }

    /// Waits until no other request works with this key; others with it wait until this is dropped.
    pub(super) async fn alone(&self, key: &str) -> Result<OwnedMutexGuard<()>, Trouble> {
        let lock = {
            let mut held = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
            held.retain(|_, lock| lock.strong_count() > 0);
            let lock = held.get(key).and_then(Weak::upgrade).unwrap_or_default();
            held.insert(key.to_owned(), Arc::downgrade(&lock));
            lock
        };
        match tokio::time::timeout(self.patience, lock.lock_owned()).await {
            Ok(guard) => Ok(guard),
            Err(_) => Err(Trouble::in_progress()),
        }
    }
}
