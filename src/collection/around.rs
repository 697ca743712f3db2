//! What a Bundle tells about its entries: which `fullUrl` stands for which resource.

use super::type_of;
use crate::fhir::bundle::{self, Content};
use crate::fhir::json;
use crate::fhir::reference::{is_id, type_and_id, uuid};
use crate::fhir::release::is_resource_type;
use crate::fhir::resource::Head;
use crate::fhir::text::Text;
use crate::normalize::{Body, Record};
use std::borrow::Cow;
use std::collections::HashMap;

/// What a Bundle tells about its entries: `fullUrl` to `Type/id`, and the one patient it is about.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    urls: HashMap<String, String>,
    pub(crate) only_patient: Option<String>,
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
    pub(crate) fn resolve<'r>(&'r self, reference: &'r str) -> Option<Cow<'r, str>> {
        if let Some(found) = self.urls.get(reference) {
            // The entry that is meant may be something else than a patient.
            return Some(Cow::from(found)).filter(|found| found.starts_with("Patient/"));
        }
        // As nearly all hospitals write it.
        if reference.strip_prefix("Patient/").is_some_and(is_id) {
            return Some(reference.into());
        }
        match type_and_id(reference) {
            Some(("Patient", id)) => Some(format!("Patient/{id}").into()),
            Some(_) => None,
            None => uuid(reference).map(|uuid| format!("Patient/{uuid}").into()),
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
pub(super) fn with_resolved<'r, 'a>(record: &'r mut Record<'a>, around: &Surroundings) -> &'r Record<'a> {
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
