//! The end of every source: bytes go to the inbox, durable before anything moves on.

use super::fhir_pull::{PageFate, PullSink};
use crate::fhir::bundle::{self, Content, Piece};
use crate::fhir::json;
use crate::pipeline::stamp;
use crate::store::{Incoming, Receipt, RecordKey, RecordState, Store, StoreError};
use chrono::Utc;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

pub use crate::pipeline::OWN_SOURCE;

/// What a page is counted and remembered by.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    resource_type: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    study: Option<Reference>,
}

#[derive(Deserialize, Default)]
struct Reference {
    #[serde(default)]
    reference: Option<String>,
}

/// The head of an entry; empty for one that cannot be read, which counts all the same.
fn own(piece: Piece<'_>) -> Option<Head> {
    match piece.content {
        Ok(Content::Nothing) => None,
        Ok(Content::Resource(text)) => Some(serde_json::from_str(text).unwrap_or_default()),
        Ok(Content::Deletion(_)) | Err(_) => Some(Head::default()),
    }
}

/// Puts a document into the inbox.
pub fn accept(store: &dyn Store, origin: &str, source: &str, bytes: Vec<u8>) -> Result<Receipt, StoreError> {
    store.accept(Incoming {
        origin: origin.to_owned(),
        source: source.to_owned(),
        media_type: "application/fhir+json".to_owned(),
        bytes,
        received_at: stamp(Utc::now()),
        key: None,
    })
}

/// Keeps a document as evidence; nothing is ever worked out from it.
pub fn set_aside(
    store: &dyn Store,
    origin: &str,
    source: &str,
    bytes: Vec<u8>,
    (reason, path): (&str, &str),
) -> Result<Receipt, StoreError> {
    let incoming = Incoming {
        origin: origin.to_owned(),
        source: source.to_owned(),
        media_type: "application/fhir+json".to_owned(),
        bytes,
        received_at: stamp(Utc::now()),
        key: None,
    };
    store.accept_aside(incoming, reason, path)
}

/// Puts down that a server no longer has a resource.
pub fn deleted(store: &dyn Store, origin: &str, key: &RecordKey) -> Result<(), StoreError> {
    let bundle = serde_json::json!({
        "resourceType": "Bundle", "type": "history", "timestamp": stamp(Utc::now()),
        "entry": [{"request": {"method": "DELETE", "url": format!("{}/{}", key.resource_type, key.id)}}]
    });
    accept(store, origin, &key.source, bundle.to_string().into_bytes()).map(drop)
}

/// Puts a message into the inbox; returns when it is on disk.
///
/// # Errors
/// Those of the store; `busy` if more wait than can be held.
pub async fn receive(store: &dyn Store, incoming: Incoming) -> Result<Receipt, StoreError> {
    queue(store, incoming).on_disk().await
}

/// Puts a message into the queue of the store without waiting for anything.
pub fn queue(store: &dyn Store, incoming: Incoming) -> Queued {
    let (tell, told) = tokio::sync::oneshot::channel();
    // A sender that has gone away is told nothing; what it sent is stored all the same.
    store.accept_then(incoming, Box::new(move |receipt| drop(tell.send(receipt))));
    Queued(told)
}

/// A message on its way to the disk.
pub struct Queued(tokio::sync::oneshot::Receiver<Result<Receipt, StoreError>>);

impl Queued {
    /// Its receipt, once it is on disk.
    ///
    /// # Errors
    /// Those of the store; `busy` if more wait than can be held.
    pub async fn on_disk(self) -> Result<Receipt, StoreError> {
        self.0
            .await
            .unwrap_or_else(|_| Err(StoreError::storage("storing what came in", "the store gave no answer")))
    }
}

/// Pages and cursors of a pull.
pub struct PullInbox {
    store: Arc<dyn Store>,
    /// `Type/id` of everything that came, for a pull that loads everything.
    seen: Option<BTreeSet<String>>,
    /// References to the studies that the ResearchSubjects name.
    pub studies: BTreeSet<String>,
}

impl PullInbox {
    /// `full`: everything is loaded, so what does not come may have been deleted.
    pub fn new(store: Arc<dyn Store>, full: bool) -> PullInbox {
        PullInbox { store, seen: full.then(BTreeSet::new), studies: BTreeSet::new() }
    }

    /// What the store holds from this server and did not come: records of the patients that came, and,
    /// where `everybody` was asked for, patients. Empty unless everything was loaded.
    ///
    /// # Errors
    /// Those of the store.
    pub fn missing(
        &self,
        server: &str,
        types: &BTreeSet<String>,
        everybody: bool,
    ) -> Result<Vec<RecordKey>, StoreError> {
        let Some(seen) = &self.seen else { return Ok(Vec::new()) };
        let mut missing = Vec::new();
        for subject in self.store.subjects()? {
            let patient_came = seen.contains(&subject);
            if !patient_came && !everybody {
                continue;
            }
            for record in self.store.records_of(&subject)? {
                let key = record.key;
                let held = record.state != RecordState::Deleted && key.source == server;
                let asked_for = match patient_came {
                    true => types.contains(&key.resource_type),
                    false => key.resource_type == "Patient",
                };
                if held && asked_for && !seen.contains(&format!("{}/{}", key.resource_type, key.id)) {
                    missing.push(key);
                }
            }
        }
        Ok(missing)
    }

    /// Puts down that a server no longer has a patient, if it ever had.
    ///
    /// # Errors
    /// Those of the store.
    pub fn gone(&self, server: &str, id: &str) -> Result<(), StoreError> {
        let key = RecordKey { source: server.to_owned(), resource_type: "Patient".into(), id: id.to_owned() };
        let held = self.store.records_by_ids(std::slice::from_ref(&key))?;
        match held.iter().any(|r| r.state != RecordState::Deleted) {
            true => self.deleted(server, &key),
            false => Ok(()),
        }
    }

    /// Puts down that a server no longer has a resource.
    pub fn deleted(&self, server: &str, key: &RecordKey) -> Result<(), StoreError> {
        deleted(&*self.store, "pull", &RecordKey { source: server.to_owned(), ..key.clone() })
    }
}

impl PullSink for PullInbox {
    fn accept_page(
        &mut self,
        origin: &str,
        _resource_type: &str,
        _patient: Option<&str>,
        bytes: &[u8],
    ) -> Result<PageFate, String> {
        let pieces = json::text(bytes).ok().filter(|t| !json::too_deep(t)).and_then(|text| {
            let head: Head = serde_json::from_str(text).ok()?;
            match head.resource_type.as_deref() {
                Some("Bundle") => Some(bundle::split(text).ok()?.into_iter().filter_map(own).collect()),
                _ => Some(vec![head]),
            }
        });
        // A page that says "nothing" has nothing to keep; every pull brings hundreds of them. What
        // cannot be read is kept for the quarantine.
        if pieces.as_ref().is_some_and(Vec::is_empty) {
            return Ok(PageFate { stored: false, resources: 0 });
        }
        let receipt = accept(&*self.store, "pull", origin, bytes.to_vec()).map_err(|e| e.to_string())?;
        let resources = pieces.as_ref().map_or(0, Vec::len);
        for head in pieces.into_iter().flatten() {
            let (Some(resource_type), Some(id)) = (head.resource_type, head.id) else { continue };
            if resource_type == "ResearchSubject" {
                self.studies.extend(head.study.and_then(|s| s.reference));
            }
            if let Some(seen) = &mut self.seen {
                seen.insert(format!("{resource_type}/{id}"));
            }
        }
        Ok(PageFate { stored: receipt.first, resources })
    }

    fn cursor(&self, key: &str) -> Result<Option<String>, String> {
        self.store.cursor(key).map_err(|e| e.to_string())
    }

    fn set_cursor(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.store.set_cursor(key, value).map_err(|e| e.to_string())
    }
}
