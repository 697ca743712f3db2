//! What the routers share, and the one door to the store: reads run on a blocking thread.

use super::status::Status;
use super::trouble::Trouble;
use crate::protocol::Trial;
use crate::store::{Deviation, DeviationState, Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What pages and monitors look at.
#[derive(Clone)]
pub struct WebState {
    pub store: Arc<dyn Store>,
    pub trial: Arc<Trial>,
    /// `DEMO`, `TEST` or `PROD`: shown in words on every page.
    pub environment: &'static str,
    pub status: Arc<Status>,
}

impl WebState {
    /// Reads the store on a thread that may block.
    pub(super) async fn read<T, F>(&self, reading: F) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Store, &Trial) -> Result<T, StoreError> + Send + 'static,
    {
        let (store, trial) = (self.store.clone(), self.trial.clone());
        match tokio::task::spawn_blocking(move || reading(&*store, &trial)).await {
            Ok(read) => read.map_err(|error| Trouble::store(&error)),
            Err(error) => Err(Trouble::bug(error.to_string())),
        }
    }
}

/// Who is randomized. Arms, positions and slots end here.
pub(super) fn randomized(store: &dyn Store, trial: &Trial) -> Result<BTreeSet<String>, StoreError> {
    Ok(store.allocations(&trial.study.id)?.into_iter().map(|allocation| allocation.subject).collect())
}

/// Open deviations, oldest first.
pub(super) fn deviations(store: &dyn Store) -> Result<Vec<Deviation>, StoreError> {
    store.deviations(Some(DeviationState::Open))
}
