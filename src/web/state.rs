//! What the routers share, and the one door to the store: reads run on a blocking thread.

use super::actions;
use super::desk::Desk;
use super::status::Status;
use super::trouble::Trouble;
use super::visitor::Visitor;
use crate::account::Accounts;
use crate::draw::{self, Viewer};
use crate::protocol::Trial;
use crate::store::{Allocation, Deviation, DeviationState, Store, StoreError};
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
    /// What is needed to act.
    pub desk: Arc<Desk>,
}

impl WebState {
    /// Reads the store on a thread that may block.
    pub(super) async fn read<T, F>(&self, reading: F) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Store, &Arc<Trial>) -> Result<T, StoreError> + Send + 'static,
    {
        let (store, trial) = (self.store.clone(), self.trial.clone());
        match tokio::task::spawn_blocking(move || reading(&*store, &trial)).await {
            Ok(read) => read.map_err(|error| Trouble::store(&error)),
            Err(error) => Err(Trouble::bug(error.to_string())),
        }
    }

    /// As [`read`](WebState::read), with who is who.
    pub(super) async fn ask<T, F>(&self, reading: F) -> Result<T, Trouble>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Store, &Trial, &Accounts<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let desk = Arc::clone(&self.desk);
        self.read(move |store, trial| reading(store, trial, &Accounts::new(store, &desk.settings))).await
    }

    /// The arm of an allocation, for a visitor who may see it. That it was asked for is in the audit log
    /// before this returns.
    pub(super) async fn disclose(
        &self,
        visitor: &Visitor,
        allocation: Allocation,
    ) -> Result<String, Trouble> {
        let (actor, role, desk) = (visitor.actor().to_owned(), visitor.role(), Arc::clone(&self.desk));
        let shown = self
            .read(move |store, trial| {
                let key = match desk.key() {
                    Ok(key) => key,
                    Err(refusal) => return Ok(Err(Trouble::not_randomized(&refusal.code))),
                };
                let viewer = Viewer::Person { actor: &actor, role };
                let arm = draw::disclose(store, trial, &key, &desk.masking, &allocation, viewer, desk.now());
                Ok(arm.map(|arm| arm.expose().to_owned()).map_err(actions::no_arm))
            })
            .await?;
        shown
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
