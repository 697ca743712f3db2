//! The end of every source: bytes go to the inbox, durable before anything moves on.

use super::fhir_pull::{PageFate, PullSink};
use crate::fhir::json;
use crate::pipeline::stamp;
use crate::store::{Incoming, Receipt, Store, StoreError};
use chrono::Utc;
use serde::Deserialize;
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
        let receipt = accept(&*self.store, "pull", origin, bytes.to_vec()).map_err(|e| e.to_string())?;
        Ok(PageFate { stored: receipt.first, resources: resources(bytes) })
    }

    fn cursor(&self, key: &str) -> Result<Option<String>, String> {
        self.store.cursor(key).map_err(|e| e.to_string())
    }

    fn set_cursor(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.store.set_cursor(key, value).map_err(|e| e.to_string())
    }
}

/// How many resources a page brings: what a server says about the search itself is none, and a page
/// without entries brings nothing.
fn resources(bytes: &[u8]) -> usize {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        resource_type: Option<String>,
        #[serde(default)]
        entry: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        search: Option<Search>,
    }
    #[derive(Deserialize)]
    struct Search {
        mode: Option<String>,
    }
    let Some(page) = json::text(bytes).ok().and_then(|t| json::read::<Page>(t).ok()) else { return 0 };
    if page.resource_type.as_deref() != Some("Bundle") {
        return 1;
    }
    let about_the_search = |e: &&Entry| e.search.as_ref().and_then(|s| s.mode.as_deref()) == Some("outcome");
    page.entry.len() - page.entry.iter().filter(about_the_search).count()
}

#[cfg(test)]
mod tests {
    use super::resources;

    #[test]
    fn pages_are_counted_by_what_they_bring() {
        let table: [(&str, usize); 6] = [
            (r#"{"resourceType":"Patient","id":"p"}"#, 1),
            (r#"{"resourceType":"Bundle","type":"searchset","total":0}"#, 0),
            (r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient"}}]}"#, 1),
            (
                r#"{"resourceType":"Bundle","entry":[{"search":{"mode":"match"}},{"search":{"mode":"outcome"}},{"search":{}}]}"#,
                2,
            ),
            ("{", 0),
            ("", 0),
        ];
        for (page, count) in table {
            assert_eq!(resources(page.as_bytes()), count, "{page}");
        }
    }
}
