//! The records of the synthetic hospital: every version of every resource, in memory.
//!
//! It knows nothing of HTTP. Invariant: versions of a resource are numbered 1, 2, 3 without gaps, and only
//! ever appended; [`Records::roll_back`] alone takes some away, before anybody has seen them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::LoadError;
use super::outcome::Refusal;

/// How many unfinished searches are remembered; the oldest is forgotten first, and its cursor is then gone.
const KEPT_SEARCHES: usize = 1_000;

/// A version that can be read.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub number: u64,
    pub at: DateTime<Utc>,
    pub body: Arc<Value>,
}

impl Version {
    /// The weak ETag of FHIR: `W/"3"`.
    pub fn etag(&self) -> String {
        format!("W/\"{}\"", self.number)
    }
}

/// A version, or the mark that a deletion leaves.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Live(Version),
    Deleted { number: u64, at: DateTime<Utc> },
}

impl Entry {
    pub fn number(&self) -> u64 {
        match self {
            Entry::Live(version) => version.number,
            Entry::Deleted { number, .. } => *number,
        }
    }
}

/// The result of a search, frozen when its first page was given out: what changes meanwhile neither repeats a
/// resource nor hides one.
#[derive(Debug, Clone)]
pub(super) struct Frozen {
    pub resource_type: String,
    pub ids: Arc<[String]>,
    pub used: Vec<(String, String)>,
    pub count: usize,
    pub show_total: bool,
}

/// What keeps a resource from being filed, before its place in the load is known.
pub(super) enum Unfit {
    NoType,
    BadId { resource_type: String, id: String },
}

impl Unfit {
    pub fn at(self, index: usize) -> LoadError {
        match self {
            Unfit::NoType => LoadError::NoType { index },
            Unfit::BadId { resource_type, id } => LoadError::BadId { index, resource_type, id },
        }
    }
}

#[derive(Default)]
pub(super) struct Records {
    types: BTreeMap<String, BTreeMap<String, Vec<Entry>>>,
    last_id: u64,
    /// What was appended since the last [`Records::settle`], so that a failed transaction leaves no trace.
    journal: Vec<(String, String)>,
    searches: VecDeque<(u64, Frozen)>,
    searches_begun: u64,
}

/// FHIR's `id` type.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

impl Records {
    /// All versions, oldest first.
    pub fn history(&self, resource_type: &str, id: &str) -> &[Entry] {
        self.types.get(resource_type).and_then(|ids| ids.get(id)).map_or(&[], Vec::as_slice)
    }

    /// The current version: 404 if there never was one, 410 if it was deleted.
    pub fn read(&self, resource_type: &str, id: &str) -> Result<&Version, Refusal> {
        match self.history(resource_type, id).last() {
            Some(Entry::Live(version)) => Ok(version),
            Some(Entry::Deleted { .. }) => {
                Err(Refusal::new(410, "deleted", format!("this {resource_type} was deleted")))
            }
            None => Err(Refusal::not_found(format!("no {resource_type} has this id"))),
        }
    }

    /// The current versions of a type, in the order of their ids.
    pub fn current<'a>(
        &'a self,
        resource_type: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Version)> + use<'a> {
        self.types.get(resource_type).into_iter().flatten().filter_map(|(id, entries)| match entries.last() {
            Some(Entry::Live(version)) => Some((id.as_str(), version)),
            _ => None,
        })
    }

    /// All current resources of all types.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, &Version)> {
        self.types
            .keys()
            .flat_map(|kind| self.current(kind).map(move |(id, version)| (kind.as_str(), id, version)))
    }

    /// An id that no resource of this type has or had.
    pub fn new_id(&mut self, resource_type: &str) -> String {
        loop {
            self.last_id += 1;
            let id = format!("sb-{:06}", self.last_id);
            if self.history(resource_type, &id).is_empty() {
                return id;
            }
        }
    }

    /// Appends a version and sets `id`, `meta.versionId` and `meta.lastUpdated` in it.
    pub fn write(&mut self, resource_type: &str, id: &str, mut body: Value, now: DateTime<Utc>) -> Version {
        let number = self.next_number(resource_type, id);
        if let Some(object) = body.as_object_mut() {
            object.insert("id".into(), id.into());
            let meta = object.entry("meta").or_insert_with(|| Value::Object(Map::new()));
            if !meta.is_object() {
                *meta = Value::Object(Map::new());
            }
            meta["versionId"] = number.to_string().into();
            meta["lastUpdated"] = now.to_rfc3339_opts(SecondsFormat::Millis, true).into();
        }
        let version = Version { number, at: now, body: Arc::new(body) };
        self.append(resource_type, id, Entry::Live(version.clone()));
        version
    }

    /// Marks a resource as deleted. False if there is no current version.
    pub fn remove(&mut self, resource_type: &str, id: &str, now: DateTime<Utc>) -> bool {
        if self.read(resource_type, id).is_err() {
            return false;
        }
        let number = self.next_number(resource_type, id);
        self.append(resource_type, id, Entry::Deleted { number, at: now });
        true
    }

    /// Files a resource without validation; see [`super::Sandbox::load`].
    pub fn file(&mut self, resource: Value, now: DateTime<Utc>) -> Result<(), Unfit> {
        let resource_type = resource["resourceType"].as_str().ok_or(Unfit::NoType)?.to_owned();
        let id = match resource.get("id").and_then(Value::as_str) {
            Some(id) if is_id(id) => id.to_owned(),
            Some(id) => return Err(Unfit::BadId { resource_type, id: id.to_owned() }),
            None => self.new_id(&resource_type),
        };
        let given = resource["meta"]["lastUpdated"].as_str().and_then(|text| text.parse().ok());
        self.write(&resource_type, &id, resource, given.unwrap_or(now));
        self.settle();
        Ok(())
    }

    /// Forgets how to undo what was written.
    pub fn settle(&mut self) {
        self.journal.clear();
    }

    /// Takes back everything written since the last [`Records::settle`].
    pub fn roll_back(&mut self) {
        while let Some((resource_type, id)) = self.journal.pop() {
            if let Some(ids) = self.types.get_mut(&resource_type)
                && let Some(entries) = ids.get_mut(&id)
            {
                entries.pop();
                if entries.is_empty() {
                    ids.remove(&id);
                }
            }
        }
    }

    /// Remembers a search and returns the number that its cursor carries.
    pub fn freeze(&mut self, search: Frozen) -> u64 {
        self.searches_begun += 1;
        if self.searches.len() >= KEPT_SEARCHES {
            self.searches.pop_front();
        }
        self.searches.push_back((self.searches_begun, search));
        self.searches_begun
    }

    /// A remembered search, unless it was forgotten.
    pub fn frozen(&self, number: u64) -> Option<Frozen> {
        self.searches.iter().find(|(begun, _)| *begun == number).map(|(_, search)| search.clone())
    }

    fn next_number(&self, resource_type: &str, id: &str) -> u64 {
        self.history(resource_type, id).last().map_or(1, |entry| entry.number() + 1)
    }

    fn append(&mut self, resource_type: &str, id: &str, entry: Entry) {
        self.types.entry(resource_type.to_owned()).or_default().entry(id.to_owned()).or_default().push(entry);
        self.journal.push((resource_type.to_owned(), id.to_owned()));
    }
}
