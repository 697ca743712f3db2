//! Resources of many subjects from files, in any order, any number of times: the newest version of
//! each, mapped, and arranged by subject. Pure: texts go in, screenings come out.
//!
//! Invariant: what comes out depends on the set of resources, not on their order, repetition or
//! division into files.

use crate::eligibility::{Lookup, Screening, screen};
use crate::fact::{Fact, Gap, Reason, Shared};
use crate::fhir::bundle::{self, Content};
use crate::fhir::json::{self, JsonError};
use crate::fhir::reference::{is_id, type_and_id, uuid};
use crate::fhir::release::{is_resource_type, is_type_name};
use crate::fhir::resource::{Head, Meta};
use crate::fhir::text::Text;
use crate::mapping::{self, Mapped};
use crate::normalize::precedence::{Standing, Version, standing};
use crate::normalize::{Body, Record, fhir};
use crate::protocol::Trial;
use chrono::NaiveDate;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// One version of one resource, mapped.
#[derive(Debug)]
struct Held {
    version: Option<Box<str>>,
    last_updated: Option<Box<str>>,
    subject: Option<Box<str>>,
    deleted: bool,
    /// Tells apart what could not be mapped; two that were mapped are the same if they say the same.
    content: u64,
    mapped: Mapped,
}

impl Held {
    fn says_the_same(&self, other: &Held) -> bool {
        self.deleted == other.deleted
            && self.subject == other.subject
            && self.content == other.content
            && self.mapped == other.mapped
    }
}

/// Something that belongs to no subject that could be found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// `file:line`, or `file: Bundle.entry[3]`.
    pub place: String,
    pub reason: Reason,
    pub path: String,
}

#[derive(Debug)]
pub struct Collection<'t> {
    trial: &'t Trial,
    held: HashMap<Box<str>, Vec<Held>>,
    orphans: Vec<Orphan>,
    resources: u64,
}

/// What a Bundle tells about its entries: `fullUrl` to `Type/id`, and the one patient it is about.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    urls: HashMap<String, String>,
    pub(crate) only_patient: Option<String>,
}

impl<'t> Collection<'t> {
    pub fn new(trial: &'t Trial) -> Self {
        Collection { trial, held: HashMap::new(), orphans: Vec::new(), resources: 0 }
    }

    /// Resources taken in so far.
    pub fn resources(&self) -> u64 {
        self.resources
    }

    pub fn orphans(&self) -> &[Orphan] {
        &self.orphans
    }

    /// Takes in a document: a resource, or a Bundle of them. An error means that nothing of it could
    /// be read.
    pub fn add(&mut self, bytes: &[u8], place: &str) -> Result<(), JsonError> {
        let text = json::text(bytes)?;
        if json::too_deep(text) {
            return Err(JsonError::TooDeep);
        }
        let resource_type = match fhir::resource_type(text) {
            Some(resource_type) => Cow::from(resource_type),
            None => match json::read_shallow::<Head<'_>>(text)?.resource_type {
                Some(resource_type) => resource_type.0,
                None => return Err(JsonError::Structure { path: "resourceType".into() }),
            },
        };
        if resource_type == "Bundle" {
            return self.bundle(text, place, "");
        }
        // A document that is no JSON at all says nothing; what is broken otherwise is somebody's gap.
        match self.resource(text, None, &Surroundings::default(), place, "") {
            Err(error @ JsonError::Syntax { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes in each entry; one that cannot be used leaves the others alone.
    fn bundle(&mut self, text: &str, place: &str, above: &str) -> Result<(), JsonError> {
        let pieces = bundle::split(text)?;
        let around = surroundings(&pieces);
        for piece in pieces {
            let path = if above.is_empty() { piece.path } else { format!("{above}.{}", piece.path) };
            let inside = format!("{path}.resource");
            match piece.content {
                Ok(Content::Resource(text)) if type_of(text).as_deref() == Some("Bundle") => {
                    // The answer to a batch of searches holds Bundles.
                    if let Err(error) = self.bundle(text, place, &inside) {
                        self.unusable(None, &around, place, &inside, reason(&error), &path_of(&error));
                    }
                }
                Ok(Content::Resource(text)) => {
                    // What went wrong is held as a gap.
                    let _ = self.resource(text, piece.full_url.as_deref(), &around, place, &inside);
                }
                Ok(Content::Deletion(url)) => self.deletion(&url),
                Ok(Content::Nothing) => {}
                Err(error) => {
                    self.unusable(None, &around, place, &path, reason(&error), &path_of(&error));
                }
            }
        }
        Ok(())
    }

    fn resource(
        &mut self,
        text: &str,
        full_url: Option<&str>,
        around: &Surroundings,
        place: &str,
        entry: &str,
    ) -> Result<(), JsonError> {
        self.resources += 1;
        let mut record = match fhir::record_shallow(text) {
            Ok(record) => record,
            Err(error) => {
                let is_syntax = matches!(error, JsonError::Syntax { .. });
                if !(is_syntax && entry.is_empty()) {
                    let loose = json::read::<Loose<'_>>(text).ok();
                    self.unusable(loose, around, place, entry, reason(&error), &path_of(&error));
                }
                return Err(error);
            }
        };
        let head = &record.head;
        if matches!(record.body, Body::Other) {
            if !is_resource_type(&head.resource_type) {
                let loose = json::read::<Loose<'_>>(text).ok();
                self.unusable(loose, around, place, entry, Reason::UnknownType, "resourceType");
            }
            // A newer version may have become uninteresting: it is held without facts, below.
            if !MAPPED_TYPES.contains(&&*head.resource_type) {
                return Ok(());
            }
        }
        if !head.id.is_empty() && !is_id(&head.id) {
            // An id is printed everywhere: one that is none could hold anything.
            let mut loose = json::read::<Loose<'_>>(text).unwrap_or_default();
            loose.id = None;
            self.unusable(Some(loose), around, place, entry, Reason::Structure, "id");
            return Ok(());
        }
        if record.head.id.is_empty() {
            // A resource without an id is known by its place in the Bundle, or by its content.
            record.head.id = match full_url.and_then(uuid) {
                Some(uuid) => uuid.into(),
                None => format!("{:016x}", content(text)).into(),
            };
            if record.head.resource_type.as_ref() == "Patient" {
                record.subject = Some(Text(format!("Patient/{}", record.head.id).into()));
            }
        }
        let subject = record.subject.as_deref().and_then(|s| around.resolve(s));
        let belongs = subject.is_some() || !needs_subject(&record.body);
        let mut mapped = mapping::apply(with_resolved(&mut record, around), self.trial);
        if !belongs && !mapped.is_empty() {
            let loose = Loose {
                resource_type: Some(Text(record.head.resource_type.to_string().into())),
                id: Some(Text(record.head.id.to_string().into())),
                meta: Some(Meta {
                    version_id: record.head.version.as_deref().map(|v| Text(v.to_owned().into())),
                    last_updated: record.head.last_updated.as_deref().map(|v| Text(v.to_owned().into())),
                }),
                ..Loose::default()
            };
            let path = format!("{}.subject", record.head.resource_type);
            self.unusable(Some(loose), around, place, entry, Reason::SubjectMissing, &path);
            return Ok(());
        }
        mapped.facts.shrink_to_fit();
        // Also without facts, and without a subject: it may take back what an older version said.
        let held = Held {
            version: record.head.version.clone(),
            last_updated: record.head.last_updated.clone(),
            subject: subject.map(Box::from),
            deleted: false,
            content: 0,
            mapped,
        };
        self.hold(record.head.reference().into(), held);
        Ok(())
    }

    fn deletion(&mut self, url: &str) {
        if let Some((resource_type, id)) = type_and_id(url) {
            let held = Held {
                version: None,
                last_updated: None,
                subject: None,
                deleted: true,
                content: 0,
                mapped: Mapped::default(),
            };
            self.hold(format!("{resource_type}/{id}").into(), held);
        }
    }

    fn hold(&mut self, reference: Box<str>, held: Held) {
        let versions = self.held.entry(reference).or_default();
        let known = versions.iter().any(|v| {
            v.version == held.version && v.last_updated == held.last_updated && v.says_the_same(&held)
        });
        if !known {
            versions.push(held);
        }
    }

    /// A resource that cannot be used becomes a gap of the subject that it names, or else of the only
    /// patient of its Bundle, or else an orphan: it is never nothing.
    fn unusable(
        &mut self,
        loose: Option<Loose<'_>>,
        around: &Surroundings,
        place: &str,
        entry: &str,
        reason: Reason,
        path: &str,
    ) {
        let loose = loose.unwrap_or_default();
        let meta = loose.meta.unwrap_or_default();
        let named = loose.subject.or(loose.patient).and_then(|r| r.reference);
        let resource_type = loose.resource_type.as_deref().unwrap_or("");
        let id = loose.id.as_deref().filter(|id| is_id(id));
        let own = (resource_type == "Patient").then(|| id.map(|id| format!("Patient/{id}")));
        let subject = own
            .flatten()
            .or_else(|| named.as_deref().and_then(|s| around.resolve(s)))
            .or_else(|| around.only_patient.clone());
        let full_path = match (entry.is_empty(), path.is_empty()) {
            (true, _) => path.to_owned(),
            (false, true) => entry.to_owned(),
            (false, false) => format!("{entry}.{path}"),
        };
        let Some(subject) = subject else {
            let place = if entry.is_empty() { place.to_owned() } else { format!("{place}: {entry}") };
            self.orphans.push(Orphan { place, reason, path: full_path });
            return;
        };
        let reference = match (id, resource_type) {
            (Some(id), t) if is_type_name(t) => format!("{t}/{id}"),
            _ => entry.trim_end_matches(".resource").to_owned(),
        };
        let gap = Gap {
            reference: reference.as_str().into(),
            reason,
            path: full_path.into(),
            variable: None,
            detail: None,
        };
        let mut hasher = DefaultHasher::new();
        gap.path.hash(&mut hasher);
        gap.reason.hash(&mut hasher);
        let identified = id.is_some() && is_resource_type(resource_type);
        let held = Held {
            version: meta.version_id.as_deref().map(Box::from),
            last_updated: meta.last_updated.as_deref().map(Box::from),
            subject: Some(subject.into()),
            deleted: false,
            content: hasher.finish(),
            mapped: Mapped { facts: Vec::new(), gaps: vec![gap] },
        };
        // As a version of the resource where it says which one: what an older version said may be
        // corrected here, and is not used any more. Otherwise by itself.
        let key = match identified {
            true => reference,
            false => format!("unusable:{reference}:{:016x}", held.content),
        };
        self.hold(key.into(), held);
    }

    /// Attestations that came from elsewhere than the files.
    pub fn attest(&mut self, subject: &str, fact: Fact, key: &str) {
        let mut hasher = DefaultHasher::new();
        (subject, key).hash(&mut hasher);
        let held = Held {
            version: None,
            last_updated: None,
            subject: Some(subject.into()),
            deleted: false,
            content: hasher.finish(),
            mapped: Mapped { facts: vec![fact], gaps: Vec::new() },
        };
        self.hold(format!("attestation:{key}").into(), held);
    }

    /// Settles which version of each resource stands and arranges the facts by subject.
    pub fn settle(self) -> Settled<'t> {
        let mut subjects: BTreeMap<Box<str>, Subject> = BTreeMap::new();
        let mut shared = HashMap::new();
        let mut unmapped: BTreeMap<Box<str>, u64> = BTreeMap::new();
        for (reference, mut versions) in self.held {
            let (at, conflict) = match versions.len() {
                1 => (0, false),
                _ => match stands(&versions) {
                    Standing::One(at) => (at, false),
                    Standing::Conflict(at) => (at, true),
                },
            };
            if conflict {
                for v in &versions {
                    let Some(subject) = &v.subject else { continue };
                    subjects.entry(subject.clone()).or_default().gaps.push(Gap {
                        reference: reference.clone(),
                        reason: Reason::VersionConflict,
                        path: "meta.versionId".into(),
                        variable: None,
                        detail: None,
                    });
                }
                continue;
            }
            let held = versions.swap_remove(at);
            if held.deleted {
                continue;
            }
            for gap in &held.mapped.gaps {
                if let (Reason::Unmapped, Some(code)) = (gap.reason, &gap.detail) {
                    *unmapped.entry(code.clone()).or_default() += 1;
                }
            }
            match held.subject {
                None => {
                    for fact in held.mapped.facts {
                        if let Fact::Shared(s) = fact {
                            shared.insert(reference.clone(), s);
                        }
                    }
                }
                Some(subject) => {
                    if held.mapped.is_empty() {
                        continue;
                    }
                    let entry = subjects.entry(subject).or_default();
                    entry.facts.extend(held.mapped.facts);
                    entry.gaps.extend(held.mapped.gaps);
                }
            }
        }
        Settled { trial: self.trial, subjects, shared: SharedFacts(shared), unmapped }
    }
}

/// Everything known of one subject.
#[derive(Debug, Default)]
pub struct Subject {
    pub facts: Vec<Fact>,
    pub gaps: Vec<Gap>,
}

#[derive(Debug, Default)]
pub struct SharedFacts(pub HashMap<Box<str>, Shared>);

impl Lookup for SharedFacts {
    fn shared(&self, reference: &str) -> Option<&Shared> {
        self.0.get(reference).or_else(|| {
            let (resource_type, id) = type_and_id(reference)?;
            self.0.get(format!("{resource_type}/{id}").as_str())
        })
    }
}

/// A collection in which every resource has one version.
#[derive(Debug)]
pub struct Settled<'t> {
    trial: &'t Trial,
    pub subjects: BTreeMap<Box<str>, Subject>,
    pub shared: SharedFacts,
    /// Codes that nobody could read, with how often they came.
    pub unmapped: BTreeMap<Box<str>, u64>,
}

impl<'t> Settled<'t> {
    /// The screenings, ordered by subject.
    pub fn screen(&self, as_of: NaiveDate) -> impl Iterator<Item = Screening<'t>> + '_ {
        self.subjects.iter().map(move |(id, subject)| {
            screen(self.trial, id, as_of, &subject.facts, &self.shared, subject.gaps.iter().cloned())
        })
    }
}

/// Types that may hold facts: a version of theirs without facts still supersedes an older one.
const MAPPED_TYPES: &[&str] = &["AllergyIntolerance", "Consent", "QuestionnaireResponse"];

fn needs_subject(body: &Body<'_>) -> bool {
    !matches!(body, Body::Medication { .. } | Body::Study { .. } | Body::Other)
}

pub(crate) fn reason(error: &JsonError) -> Reason {
    match error {
        JsonError::Encoding { .. } => Reason::Encoding,
        JsonError::TooDeep => Reason::TooDeep,
        JsonError::DuplicateKey { .. } => Reason::DuplicateKey,
        JsonError::Syntax { .. } => Reason::NotJson,
        JsonError::Structure { .. } => Reason::Structure,
    }
}

pub(crate) fn path_of(error: &JsonError) -> String {
    match error {
        JsonError::DuplicateKey { path } | JsonError::Structure { path } => path.trim_matches('.').to_owned(),
        _ => String::new(),
    }
}

fn name(held: &Held) -> String {
    format!("{:016x} {:?}", held.content, held.mapped)
}

/// What tells a resource without an id from others: its text without the blanks between the tokens.
fn content(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => continue,
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && byte == b'\\' && !escaped;
        hasher.write_u8(byte);
    }
    hasher.finish()
}

/// The type of a resource, wherever it stands in it.
pub(crate) fn type_of(text: &str) -> Option<Cow<'_, str>> {
    match fhir::resource_type(text) {
        Some(resource_type) => Some(resource_type.into()),
        None => json::read_shallow::<Head<'_>>(text).ok()?.resource_type.map(|t| t.0),
    }
}

fn stands(versions: &[Held]) -> Standing {
    let comparable: Vec<Version> = versions
        .iter()
        .enumerate()
        .map(|(at, v)| Version {
            version_id: v.version.as_deref().map(str::to_owned),
            last_updated: v.last_updated.as_deref().map(str::to_owned),
            subject: v.subject.as_deref().map(str::to_owned),
            deleted: v.deleted,
            // The content by name: the same for all that say the same, in whatever order they came.
            sha256: match versions.iter().position(|other| other.says_the_same(v)) {
                Some(first) if first < at => name(&versions[first]),
                _ => name(v),
            },
        })
        .collect();
    standing(&comparable).expect("there is at least one version")
}

/// What can still be read of a resource that is broken elsewhere.
#[derive(Deserialize, Debug, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Loose<'a> {
    #[serde(borrow)]
    pub(crate) resource_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) subject: Option<crate::fhir::resource::Reference<'a>>,
    #[serde(borrow)]
    pub(crate) patient: Option<crate::fhir::resource::Reference<'a>>,
    #[serde(borrow)]
    pub(crate) meta: Option<Meta<'a>>,
}

impl Surroundings {
    /// The reference that a `fullUrl` stands for.
    pub(crate) fn named(&self, full_url: &str) -> Option<&str> {
        self.urls.get(full_url).map(String::as_str)
    }

    /// Another reference for a `fullUrl`.
    pub(crate) fn rename(&mut self, full_url: &str, reference: String) {
        let before = self.urls.insert(full_url.to_owned(), reference.clone());
        if before.is_some() && before == self.only_patient {
            self.only_patient = Some(reference);
        }
    }

    /// A resource's text with the Bundle's own URNs made literal: outside of the Bundle they mean
    /// nothing.
    pub(crate) fn literal<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut rest = text;
        let mut out = String::new();
        while let Some(at) = rest.find("\"urn:") {
            let from = &rest[at + 1..];
            let Some(end) = from.find('"') else { break };
            match self.urls.get(&from[..end]) {
                Some(reference) => {
                    out.push_str(&rest[..=at]);
                    out.push_str(reference);
                }
                None => out.push_str(&rest[..at + 1 + end]),
            }
            rest = &from[end..];
        }
        if out.is_empty() {
            return Cow::Borrowed(text);
        }
        out.push_str(rest);
        Cow::Owned(out)
    }

    /// The subject that a reference means: `Patient/id`.
    pub(crate) fn resolve(&self, reference: &str) -> Option<String> {
        if let Some(found) = self.urls.get(reference) {
            // The entry that is meant may be something else than a patient.
            return Some(found.clone()).filter(|found| found.starts_with("Patient/"));
        }
        match type_and_id(reference) {
            Some(("Patient", id)) => Some(format!("Patient/{id}")),
            Some(_) => None,
            None => uuid(reference).map(|uuid| format!("Patient/{uuid}")),
        }
    }
}

pub(crate) fn surroundings(pieces: &[bundle::Piece<'_>]) -> Surroundings {
    let mut around = Surroundings::default();
    // A patient without a usable id is somebody all the same: the other is then not the only one.
    let mut patients = Vec::new();
    for piece in pieces {
        let Ok(Content::Resource(text)) = &piece.content else { continue };
        let is_patient = type_of(text).as_deref() == Some("Patient");
        let urn = piece.full_url.as_deref().and_then(uuid);
        if !is_patient && urn.is_none() {
            continue;
        }
        let head = json::read_shallow::<Head<'_>>(text).ok();
        let id = head.as_ref().and_then(|h| h.id.as_deref().filter(|id| !id.is_empty()));
        let id = id.map_or(urn, |id| Some(id).filter(|id| is_id(id)));
        let resource_type = head.as_ref().and_then(|h| h.resource_type.as_deref());
        let reference = match (resource_type, id) {
            (Some(resource_type), Some(id)) if is_resource_type(resource_type) => {
                Some(format!("{resource_type}/{id}"))
            }
            _ => None,
        };
        if is_patient {
            patients.push(reference.clone());
        }
        if let (Some(url), Some(reference)) = (&piece.full_url, reference) {
            around.urls.insert(url.to_string(), reference);
        }
    }
    patients.sort();
    patients.dedup();
    if let [Some(only)] = patients.as_slice() {
        around.only_patient = Some(only.clone());
    }
    around
}

/// References inside a Bundle that go by `fullUrl` are made literal.
fn with_resolved<'r, 'a>(record: &'r mut Record<'a>, around: &Surroundings) -> &'r Record<'a> {
    let resolve = |reference: &mut Option<Text<'a>>| {
        if let Some(found) = reference.as_deref().and_then(|r| around.urls.get(r)) {
            *reference = Some(Text(found.clone().into()));
        }
    };
    match &mut record.body {
        Body::Event(event) => resolve(&mut event.medication),
        Body::Participation { study, .. } => resolve(study),
        Body::Consent { study_reference, .. } => resolve(study_reference),
        _ => {}
    }
    record
}
