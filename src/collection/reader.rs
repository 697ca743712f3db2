//! Documents to versions: what a text holds, resource by resource, mapped. Pure.

use super::around::{Surroundings, surroundings, with_resolved};
use super::held::Held;
use super::{Orphan, path_of, reason, type_of};
use crate::fact::{Gap, Reason};
use crate::fhir::bundle::{self, Content};
use crate::fhir::json::{self, JsonError};
use crate::fhir::reference::{is_id, type_and_id, uuid};
use crate::fhir::release::{is_resource_type, is_type_name};
use crate::fhir::resource::{Head, Meta};
use crate::fhir::text::Text;
use crate::mapping::{self, Mapped};
use crate::normalize::{Body, fhir};
use crate::protocol::Trial;
use serde::Deserialize;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Takes a version of the resource that goes by a reference (`Observation/123`).
pub trait Keep {
    fn keep(&mut self, reference: &str, held: Held<'_>);
}

/// Says where a document stands: it is made only for what could not be used.
pub type Place<'p> = &'p dyn Fn() -> String;

/// Reads documents of a trial's hospital and hands on what they hold.
#[derive(Debug)]
pub struct Reader<'t> {
    trial: &'t Trial,
    orphans: Vec<Orphan>,
    resources: u64,
}

impl<'t> Reader<'t> {
    pub fn new(trial: &'t Trial) -> Self {
        Reader { trial, orphans: Vec::new(), resources: 0 }
    }

    pub fn trial(&self) -> &'t Trial {
        self.trial
    }

    /// Resources taken in so far.
    pub fn resources(&self) -> u64 {
        self.resources
    }

    pub fn orphans(&self) -> &[Orphan] {
        &self.orphans
    }

    /// The orphans found since this was last asked.
    pub fn take_orphans(&mut self) -> Vec<Orphan> {
        std::mem::take(&mut self.orphans)
    }

    /// Takes in a document: a resource, or a Bundle of them. An error means that nothing of it could
    /// be read.
    pub fn add(&mut self, bytes: &[u8], place: Place<'_>, shelf: &mut dyn Keep) -> Result<(), JsonError> {
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
            return self.bundle(text, place, "", shelf);
        }
        // A document that is no JSON at all says nothing; what is broken otherwise is somebody's gap.
        match self.resource(text, None, &Surroundings::default(), place, "", shelf) {
            Err(error @ JsonError::Syntax { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes in each entry; one that cannot be used leaves the others alone.
    fn bundle(
        &mut self,
        text: &str,
        place: Place<'_>,
        above: &str,
        shelf: &mut dyn Keep,
    ) -> Result<(), JsonError> {
        let pieces = bundle::split(text)?;
        let around = surroundings(&pieces);
        for piece in pieces {
            let path = if above.is_empty() { piece.path } else { format!("{above}.{}", piece.path) };
            let inside = format!("{path}.resource");
            match piece.content {
                Ok(Content::Resource(text)) if type_of(text).as_deref() == Some("Bundle") => {
                    // The answer to a batch of searches holds Bundles.
                    if let Err(error) = self.bundle(text, place, &inside, shelf) {
                        self.unusable(None, &around, place, &inside, reason(&error), &path_of(&error), shelf);
                    }
                }
                Ok(Content::Resource(text)) => {
                    // What went wrong is held as a gap.
                    let _ = self.resource(text, piece.full_url.as_deref(), &around, place, &inside, shelf);
                }
                Ok(Content::Deletion(url)) => self.deletion(&url, shelf),
                Ok(Content::Nothing) => {}
                Err(error) => {
                    self.unusable(None, &around, place, &path, reason(&error), &path_of(&error), shelf);
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
        place: Place<'_>,
        entry: &str,
        shelf: &mut dyn Keep,
    ) -> Result<(), JsonError> {
        self.resources += 1;
        let mut record = match fhir::record_shallow(text) {
            Ok(record) => record,
            Err(error) => {
                let is_syntax = matches!(error, JsonError::Syntax { .. });
                if !(is_syntax && entry.is_empty()) {
                    let loose = json::read::<Loose<'_>>(text).ok();
                    self.unusable(loose, around, place, entry, reason(&error), &path_of(&error), shelf);
                }
                return Err(error);
            }
        };
        let head = &record.head;
        if matches!(record.body, Body::Other) {
            if !is_resource_type(&head.resource_type) {
                let loose = json::read::<Loose<'_>>(text).ok();
                self.unusable(loose, around, place, entry, Reason::UnknownType, "resourceType", shelf);
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
            self.unusable(Some(loose), around, place, entry, Reason::Structure, "id", shelf);
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
        // The record is changed below: what it says of its subject is taken out first.
        let named = record.subject.take();
        let subject = named.as_deref().and_then(|s| around.resolve(s));
        let belongs = subject.is_some() || !needs_subject(&record.body);
        let mapped = mapping::apply(with_resolved(&mut record, around), self.trial);
        if !belongs && !mapped.is_empty() {
            let loose = Loose {
                resource_type: Some(Text(record.head.resource_type.to_string().into())),
                id: Some(Text(record.head.id.to_string().into())),
                meta: Some(Meta {
                    version_id: record.head.version.clone(),
                    last_updated: record.head.last_updated.clone(),
                }),
                ..Loose::default()
            };
            let path = format!("{}.subject", record.head.resource_type);
            self.unusable(Some(loose), around, place, entry, Reason::SubjectMissing, &path, shelf);
            return Ok(());
        }
        // Also without facts, and without a subject: it may take back what an older version said.
        let held = Held {
            version: record.head.version.as_deref().map(Cow::Borrowed),
            last_updated: record.head.last_updated.as_deref().map(Cow::Borrowed),
            subject,
            deleted: false,
            content: 0,
            mapped,
        };
        shelf.keep(&record.head.reference(), held);
        Ok(())
    }

    fn deletion(&self, url: &str, shelf: &mut dyn Keep) {
        if let Some((resource_type, id)) = type_and_id(url) {
            let held = Held {
                version: None,
                last_updated: None,
                subject: None,
                deleted: true,
                content: 0,
                mapped: Mapped::default(),
            };
            shelf.keep(&format!("{resource_type}/{id}"), held);
        }
    }

    /// A resource that cannot be used becomes a gap of the subject that it names, or else of the only
    /// patient of its Bundle, or else an orphan: it is never nothing.
    #[allow(clippy::too_many_arguments)]
    fn unusable(
        &mut self,
        loose: Option<Loose<'_>>,
        around: &Surroundings,
        place: Place<'_>,
        entry: &str,
        reason: Reason,
        path: &str,
        shelf: &mut dyn Keep,
    ) {
        let loose = loose.unwrap_or_default();
        let meta = loose.meta.unwrap_or_default();
        let named = loose.subject.or(loose.patient).and_then(|r| r.reference);
        let resource_type = loose.resource_type.as_deref().unwrap_or("");
        let id = loose.id.as_deref().filter(|id| is_id(id));
        let own = (resource_type == "Patient").then(|| id.map(|id| Cow::from(format!("Patient/{id}"))));
        let subject = own
            .flatten()
            .or_else(|| named.as_deref().and_then(|s| around.resolve(s)))
            .or_else(|| around.only_patient.clone().map(Cow::Owned));
        let full_path = match (entry.is_empty(), path.is_empty()) {
            (true, _) => path.to_owned(),
            (false, true) => entry.to_owned(),
            (false, false) => format!("{entry}.{path}"),
        };
        let Some(subject) = subject else {
            let place = if entry.is_empty() { place() } else { format!("{}: {entry}", place()) };
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
            version: meta.version_id.map(|t| t.0),
            last_updated: meta.last_updated.map(|t| t.0),
            subject: Some(subject),
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
        shelf.keep(&key, held);
    }
}

/// Types that may hold facts: a version of theirs without facts still supersedes an older one.
const MAPPED_TYPES: &[&str] = &["AllergyIntolerance", "Consent", "QuestionnaireResponse"];

fn needs_subject(body: &Body<'_>) -> bool {
    !matches!(body, Body::Medication { .. } | Body::Study { .. } | Body::Other)
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
