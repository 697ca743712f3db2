//! The FHIR releases that are spoken, by name. What differs between them when reading stands in
//! the readers of the few elements concerned (`normalize/`); when writing, in `sink/`.

use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Release {
    R4,
    R4B,
    R5,
}

impl Release {
    /// From `CapabilityStatement.fhirVersion`.
    pub fn from_version(version: &str) -> Option<Release> {
        match version.get(..3)? {
            "4.0" => Some(Release::R4),
            "4.3" | "4.1" => Some(Release::R4B),
            "5.0" => Some(Release::R5),
            _ => None,
        }
    }
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
