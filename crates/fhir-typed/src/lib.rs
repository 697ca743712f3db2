//! The typed FHIR models, behind two functions: what we are about to send to a hospital is held
//! against the structure of its release first.
//!
//! The models cost minutes to compile and are never on a hot path, so they live here, each behind a
//! feature (`r4`, `r4b`, `r5`), and nothing generic leaves this crate: a generic function would be
//! compiled again in every crate that calls it.
//!
//! Invariant: a resource is always read through the `Resource` enum of its release. The concrete types
//! of the model library misread decimals and every primitive after a nested resource.
//!
//! What the models do not look at is looked at here: that the text is one JSON document and no more,
//! that no key stands twice, that required codes belong to their value set, and that dates are dates.
//! It never repairs, and no error repeats a value: names of elements and places only.
#![forbid(unsafe_code)]

mod json;
mod rules;
mod typed;

use std::fmt;

/// A release of FHIR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Release {
    /// 4.0.1
    R4,
    /// 4.3.0
    R4B,
    /// 5.0.0
    R5,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Release::R4 => "R4",
            Release::R4B => "R4B",
            Release::R5 => "R5",
        })
    }
}

/// A resource that its release's model accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub resource_type: String,
    /// `None` for a resource that is still to be created.
    pub id: Option<String>,
}

/// Why a resource is not accepted. Holds names of elements and positions, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckError {
    /// The models of this release were left out of the build (its cargo feature is off).
    NotCompiled(Release),
    /// Not one JSON document: syntax, bytes after the end, a key that stands twice.
    Syntax { line: usize, column: usize, reason: &'static str },
    /// The release has no such resource, or the resource has another structure.
    Structure { release: Release, line: usize, column: usize, reason: String },
    /// The structure is right and the content is not: a code outside its required value set, a date
    /// that is none, an empty element. `path` is a FHIRPath from the resource's type.
    Content { path: String, reason: &'static str },
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckError::NotCompiled(release) => write!(
                f,
                "the FHIR {release} models are not in this build; build with the feature of that release"
            ),
            CheckError::Syntax { line, column, reason } => {
                write!(f, "not a JSON resource: {reason} at line {line} column {column}")
            }
            CheckError::Structure { release, line, column, reason } => {
                write!(f, "not a FHIR {release} resource: {reason} at line {line} column {column}")
            }
            CheckError::Content { path, reason } => write!(f, "{path}: {reason}"),
        }
    }
}

impl std::error::Error for CheckError {}

/// Are the models of this release in the build?
pub const fn is_compiled(release: Release) -> bool {
    match release {
        Release::R4 => cfg!(feature = "r4"),
        Release::R4B => cfg!(feature = "r4b"),
        Release::R5 => cfg!(feature = "r5"),
    }
}

/// Holds one JSON resource against the model of a release, strictly: unknown elements, missing
/// required ones and bytes after the resource are errors.
///
/// # Errors
/// The first finding, as a [`CheckError`]; `NotCompiled` where the feature of the release is off, so
/// that "could not look" is never taken for "looked and fine".
pub fn check(release: Release, json: &[u8]) -> Result<Checked, CheckError> {
    if !is_compiled(release) {
        return Err(CheckError::NotCompiled(release));
    }
    let value = json::one_document(json)?;
    let understood = typed::hold(release, json)?;
    let root = value.get("resourceType").and_then(serde_json::Value::as_str).unwrap_or("$");
    json::same(root, &value, &understood)?;
    rules::check(release, &value)
}
