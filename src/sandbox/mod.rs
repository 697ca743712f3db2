//! A synthetic hospital: an honest in-memory FHIR server and sixty invented patients.
//!
//! The demo, `trialbridge sandbox` and the tests pull from it and write back to it, over HTTP as to a real
//! hospital. It answers what FHIR says it must, and advertises in its CapabilityStatement only what it does;
//! misbehaviour has to be asked for, through [`Faults`].
//!
//! It never keeps anything on disk, never opens a connection, and holds no real person's data.
//! Invariant: a request has its whole effect under one lock, so conditional creates and transactions are
//! atomic however many clients there are.

mod bundle;
mod capability;
mod criteria;
mod faults;
mod interaction;
mod outcome;
mod parameters;
mod patients;
mod records;
mod search;
mod server;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;

pub use crate::fhir::release::Release;
pub use faults::{Fault, Faults, NextLink, RequestLine};
pub use patients::{Case, Dialect, Intent, synthetic_cases, synthetic_patients};

use records::Records;

/// A resource that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("resource {index}: no resourceType, so it cannot be filed: give it one")]
    NoType { index: usize },
    #[error("resource {index} ({resource_type}): `{id}` is not a FHIR id (1 to 64 of A-Z a-z 0-9 - .)")]
    BadId { index: usize, resource_type: String, id: String },
}

type Clock = dyn Fn() -> DateTime<Utc> + Send + Sync;

struct Inner {
    release: Release,
    records: Mutex<Records>,
    faults: Faults,
    clock: Box<Clock>,
}

/// The synthetic hospital. Clones share one set of records.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

impl Sandbox {
    /// A hospital without records, on the computer's clock. The release decides on `fhirVersion` and the
    /// search parameters; stored resources are never converted.
    pub fn empty(release: Release) -> Self {
        Self::with_clock(release, Utc::now)
    }

    /// A hospital without records that stamps `meta.lastUpdated` from `clock`.
    pub fn with_clock(release: Release, clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                release,
                records: Mutex::default(),
                faults: Faults::default(),
                clock: Box::new(clock),
            }),
        }
    }

    /// An R4 hospital with [`synthetic_patients`].
    pub fn with_synthetic_patients(as_of: NaiveDate) -> Self {
        let sandbox = Self::empty(Release::R4);
        sandbox.load(synthetic_patients(as_of)).expect("generated resources have a type and a valid id");
        sandbox
    }

    /// Files resources as they are, without validation, as a hospital's own systems would. A Bundle is filed
    /// by its entries. A resource without an id gets one; one whose id is taken becomes the next version. A
    /// given `meta.lastUpdated` is kept. Returns how many were filed.
    ///
    /// # Errors
    /// At the first resource that cannot be filed; those before it stay.
    pub fn load(&self, resources: impl IntoIterator<Item = Value>) -> Result<usize, LoadError> {
        let mut filed = 0;
        let mut records = self.records();
        for (index, resource) in resources.into_iter().enumerate() {
            for resource in unbundled(resource) {
                records.file(resource, self.now()).map_err(|problem| problem.at(index))?;
                filed += 1;
            }
        }
        Ok(filed)
    }

    /// Files one resource, like [`Sandbox::load`].
    ///
    /// # Errors
    /// As [`Sandbox::load`].
    pub fn put(&self, resource: Value) -> Result<(), LoadError> {
        self.load([resource]).map(|_| ())
    }

    /// Deletes a resource whatever refers to it. False if there was none.
    pub fn remove(&self, resource_type: &str, id: &str) -> bool {
        let now = self.now();
        self.records().remove(resource_type, id, now)
    }

    /// The current version of all resources of a type, by id.
    pub fn resources(&self, resource_type: &str) -> Vec<Value> {
        self.records().current(resource_type).map(|(_, version)| (*version.body).clone()).collect()
    }

    /// The server, with its FHIR base at `/fhir`.
    pub fn router(&self) -> axum::Router {
        server::router(self.clone())
    }

    /// Switchable misbehaviour, and the log of requests.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// The release it was made for.
    pub fn release(&self) -> Release {
        self.inner.release
    }

    fn now(&self) -> DateTime<Utc> {
        (self.inner.clock)()
    }

    /// A panic while the lock was held leaves whole versions behind, never half of one.
    fn records(&self) -> MutexGuard<'_, Records> {
        self.inner.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unbundled(resource: Value) -> Vec<Value> {
    if resource["resourceType"] != "Bundle" {
        return vec![resource];
    }
    resource["entry"]
        .as_array()
        .map(|entries| entries.iter().filter_map(|entry| entry.get("resource").cloned()).collect())
        .unwrap_or_default()
}

/// Serves the sandbox on `listener` until `shutdown` is done. The FHIR base is `/fhir`.
///
/// # Errors
/// What the listener reports.
pub async fn serve(
    listener: tokio::net::TcpListener,
    sandbox: Sandbox,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, sandbox.router()).with_graceful_shutdown(shutdown).await
}
