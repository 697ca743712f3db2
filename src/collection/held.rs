//! Versions of resources, and which of several stands.

use super::reader::Keep;
use crate::fact::{Fact, Gap, Reason};
use crate::mapping::Mapped;
use crate::normalize::precedence::{self, Version};
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One version of one resource, mapped.
#[derive(Debug, PartialEq)]
pub struct Held<'a> {
    pub version: Option<Cow<'a, str>>,
    pub last_updated: Option<Cow<'a, str>>,
    pub subject: Option<Cow<'a, str>>,
    pub deleted: bool,
    /// Tells apart what could not be mapped; two that were mapped are the same if they say the same.
    pub content: u64,
    pub mapped: Mapped,
}

impl<'a> Held<'a> {
    /// The same without the text that it was read from.
    pub fn into_owned(mut self) -> Held<'static> {
        self.mapped.facts.shrink_to_fit();
        let own = |text: Option<Cow<'_, str>>| text.map(|t| Cow::Owned(t.into_owned()));
        Held {
            version: own(self.version),
            last_updated: own(self.last_updated),
            subject: own(self.subject),
            deleted: self.deleted,
            content: self.content,
            mapped: self.mapped,
        }
    }

    /// What a person attested elsewhere than in the records.
    pub fn attested(subject: &str, fact: Fact, key: &str, shelf: &mut dyn Keep) {
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
        shelf.keep(&format!("attestation:{key}"), held);
    }

    /// Joins the versions of its resource, unless it is there already.
    pub fn join(self, versions: &mut Vec<Held<'a>>) {
        let known = versions.iter().any(|v| {
            v.version == self.version && v.last_updated == self.last_updated && v.says_the_same(&self)
        });
        if !known {
            versions.push(self);
        }
    }

    fn says_the_same(&self, other: &Held<'_>) -> bool {
        self.deleted == other.deleted
            && self.subject == other.subject
            && self.content == other.content
            && self.mapped == other.mapped
    }
}

fn name(held: &Held<'_>) -> String {
    format!("{:016x} {:?}", held.content, held.mapped)
}

/// What stands of one resource.
#[derive(Debug)]
pub enum Standing<'a> {
    /// It was deleted, or says nothing of anybody.
    Nothing,
    Of(Cow<'a, str>, Mapped),
    /// A Medication or a study.
    Shared(Vec<Fact>),
    /// Its versions contradict each other: a gap of each subject that one of them names.
    Conflict(Vec<Cow<'a, str>>),
}

/// What stands among all versions of one resource.
pub fn settle(mut versions: Vec<Held<'_>>) -> Standing<'_> {
    let at = match versions.len() {
        0 => return Standing::Nothing,
        1 => 0,
        _ => match stands(&versions) {
            precedence::Standing::One(at) => at,
            precedence::Standing::Conflict(_) => {
                return Standing::Conflict(versions.into_iter().filter_map(|v| v.subject).collect());
            }
        },
    };
    let held = versions.swap_remove(at);
    match held.subject {
        _ if held.deleted => Standing::Nothing,
        None => Standing::Shared(held.mapped.facts),
        Some(subject) => Standing::Of(subject, held.mapped),
    }
}

impl Gap {
    /// The versions of a resource contradict each other.
    pub fn of_versions(reference: &str) -> Gap {
        Gap {
            reference: reference.into(),
            reason: Reason::VersionConflict,
            path: "meta.versionId".into(),
            variable: None,
            detail: None,
        }
    }
}

impl Mapped {
    /// Codes that nobody could read.
    pub fn unmapped(&self) -> impl Iterator<Item = &str> {
        self.gaps.iter().filter(|g| g.reason == Reason::Unmapped).filter_map(|g| g.detail.as_deref())
    }
}

fn stands(versions: &[Held<'_>]) -> precedence::Standing {
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
    precedence::standing(&comparable).expect("there is at least one version")
}
