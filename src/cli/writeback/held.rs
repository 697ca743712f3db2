//! Which of the resources behind a decision the hospital's server holds, so that nothing is written
//! that refers to what is not there: a server that checks references refuses it for ever.
//!
//! What was pulled from the server is there. What people recorded here is not. Of what came another
//! way, in files or messages, nobody knows until the server is asked.

use super::super::Failure;
use super::server_failure;
use crate::client::server::{FhirServer, ServerError};
use crate::fhir::reference::type_and_id;
use crate::identity::{self, Stands};
use crate::source::inbox::OWN_SOURCE;
use crate::store::{RecordKey, Store};
use std::collections::BTreeMap;

/// Where the resources of one subject came from, and whether the server holds them.
pub struct Held<'a, S> {
    client: &'a S,
    store: &'a dyn Store,
    base_url: &'a str,
    /// The sources of this subject's records, by `Type/id`.
    sources: BTreeMap<String, Vec<String>>,
    /// May the server be asked?
    ask: bool,
    known: BTreeMap<String, bool>,
}

impl<'a, S: FhirServer> Held<'a, S> {
    /// Without `ask`, what is not known from the pull counts as not held.
    pub fn of(
        client: &'a S,
        base_url: &'a str,
        store: &'a dyn Store,
        subject: &str,
        ask: bool,
    ) -> Result<Self, Failure> {
        let mut sources: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let members = match identity::stands(&store.group(subject)?, subject) {
            Stands::Itself { members, .. } => members,
            Stands::AttachedTo(_) => vec![subject.to_owned()],
        };
        for member in members {
            for record in store.records_of(&member)? {
                let name = format!("{}/{}", record.key.resource_type, record.key.id);
                sources.entry(name).or_default().push(record.key.source);
            }
        }
        Ok(Held { client, store, base_url, sources, ask, known: BTreeMap::new() })
    }

    /// Is this resource on the server?
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn has(&mut self, reference: &str) -> Result<bool, Failure> {
        let Some((resource_type, id)) = type_and_id(reference) else { return Ok(false) };
        let name = format!("{resource_type}/{id}");
        if let Some(known) = self.known.get(&name) {
            return Ok(*known);
        }
        let key = |source: &str| RecordKey {
            source: source.to_owned(),
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
        };
        let held = if !self.store.records_by_ids(&[key(self.base_url)])?.is_empty() {
            true
        } else if !self.ask || self.sources.get(&name).is_some_and(|s| s.iter().all(|s| s == OWN_SOURCE)) {
            false
        } else {
            match self.client.read(resource_type, id).await {
                Ok(found) => found.is_some(),
                Err(error @ ServerError::Unreachable { .. }) => return Err(server_failure(&error)),
                // It cannot be read by us, so it may as well be refused when it is referred to.
                Err(_) => false,
            }
        };
        self.known.insert(name, held);
        Ok(held)
    }

    /// The reference as it may be sent: as it is, or `source#reference` for what is not on the server,
    /// which is then named by an identifier.
    ///
    /// # Errors
    /// As [`Held::has`].
    pub async fn cite(&mut self, reference: &str) -> Result<String, Failure> {
        if self.has(reference).await? {
            return Ok(reference.to_owned());
        }
        let name = type_and_id(reference).map(|(t, id)| format!("{t}/{id}")).unwrap_or_default();
        let source = self.sources.get(&name).and_then(|s| s.first()).map_or("elsewhere", String::as_str);
        Ok(format!("{source}#{reference}"))
    }
}
