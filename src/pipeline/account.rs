//! Is everything that was taken in accounted for? Takes what was processed apart once more, and looks for
//! what must have come of it. Stores nothing.

use super::{Pipeline, intake, poison};
use crate::protocol::document::hex;
use crate::store::{InboxItem, InboxState, RecordKey, StoreError};
use sha2::{Digest, Sha256};

/// Media type whose bytes hold the resources themselves. What an HL7 v2 message becomes depends on the
/// site file, which may be another one by now.
const FHIR: &str = "application/fhir+json";

impl Pipeline {
    /// Places in processed FHIR documents whose version of a resource is not in the store. Reads the
    /// whole inbox, one row in memory at a time.
    ///
    /// # Errors
    /// Those of the store.
    pub fn unaccounted(&self) -> Result<Vec<String>, StoreError> {
        let salt = Self::salt(&*self.store)?;
        let mut found = Vec::new();
        for seq in 1..=self.store.count_by_state()?.total() {
            let Some(item) = self.processed(seq)? else { continue };
            let places = self.missing(&item, &salt)?;
            // A replay that began meanwhile clears the records, and puts them back.
            if !places.is_empty() && self.processed(seq)?.is_some_and(|again| again.attempts == item.attempts)
            {
                found.extend(places);
            }
        }
        Ok(found)
    }

    /// The row, if it is a FHIR document that was processed.
    fn processed(&self, seq: i64) -> Result<Option<InboxItem>, StoreError> {
        match self.store.inbox_item(seq) {
            Ok(item) if item.state == InboxState::Processed && item.media_type == FHIR => Ok(Some(item)),
            Ok(_) => Ok(None),
            // A hole is the store's own finding.
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn missing(&self, item: &InboxItem, salt: &str) -> Result<Vec<String>, StoreError> {
        // What makes the program fail was set aside, and is not said to be processed.
        let Ok(taken) = poison::guarded(|| intake::take(item, &self.trial, salt, "")) else {
            return Ok(vec![format!("inbox {}: is processed, and cannot be read", item.seq)]);
        };
        let mut missing = Vec::new();
        for record in taken.records {
            if !self.is_held(&record.key, &record.body)? {
                missing.push(format!(
                    "inbox {}: is processed, and the version at {} is not in the history",
                    item.seq,
                    if record.path.is_empty() { "its root" } else { &record.path }
                ));
            }
        }
        Ok(missing)
    }

    fn is_held(&self, key: &RecordKey, body: &[u8]) -> Result<bool, StoreError> {
        let sha256 = hex(&Sha256::digest(body));
        Ok(self.store.record_history(key)?.iter().any(|version| version.sha256 == sha256))
    }
}
