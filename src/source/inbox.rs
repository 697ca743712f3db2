//! The end of every source: bytes go to the inbox, durable before anything moves on.

use super::fhir_pull::{PageFate, PullSink};
use crate::fhir::json;
use crate::pipeline::stamp;
use crate::store::{Incoming, Receipt, Store, StoreError};
use chrono::Utc;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::sync::Arc;

/// The name under which what people record stands beside the hospital's servers.
pub const OWN_SOURCE: &str = "trialbridge";

/// Puts a document into the inbox.
pub fn accept(store: &dyn Store, origin: &str, source: &str, bytes: Vec<u8>) -> Result<Receipt, StoreError> {
    store.accept(Incoming {
        origin: origin.to_owned(),
        source: source.to_owned(),
        media_type: "application/fhir+json".to_owned(),
        bytes,
        received_at: stamp(Utc::now()),
    })
}

/// Pages and cursors of a pull.
pub struct PullInbox {
    pub store: Arc<dyn Store>,
}

impl PullSink for PullInbox {
    fn accept_page(
        &mut self,
        origin: &str,
        _resource_type: &str,
        _patient: Option<&str>,
        bytes: &[u8],
    ) -> Result<PageFate, String> {
        #[derive(Deserialize)]
        struct Count {
            #[serde(default)]
            entry: Vec<IgnoredAny>,
        }
        let receipt = accept(&*self.store, "pull", origin, bytes.to_vec()).map_err(|e| e.to_string())?;
        let counted = json::text(bytes).ok().and_then(|t| json::read::<Count>(t).ok());
        Ok(PageFate { stored: receipt.first, resources: counted.map_or(0, |c| c.entry.len().max(1)) })
    }

    fn cursor(&self, key: &str) -> Result<Option<String>, String> {
        self.store.cursor(key).map_err(|e| e.to_string())
    }

    fn set_cursor(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.store.set_cursor(key, value).map_err(|e| e.to_string())
    }
}
