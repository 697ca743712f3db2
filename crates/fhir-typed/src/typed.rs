//! The only place that touches the generated models: one call a release, through its `Resource` enum.

use crate::{CheckError, Release};
use serde_json::Value;

/// Reads the resource strictly and writes it again as the model understood it: where that differs from
/// what was read, the model has let something pass (a list where the release has one element, a decimal
/// written as a string). The caller has checked that the release is compiled.
pub(crate) fn hold(release: Release, json: &[u8]) -> Result<Value, CheckError> {
    match release {
        #[cfg(feature = "r4")]
        Release::R4 => r4(json),
        #[cfg(feature = "r4b")]
        Release::R4B => r4b(json),
        #[cfg(feature = "r5")]
        Release::R5 => r5(json),
        #[cfg(not(all(feature = "r4", feature = "r4b", feature = "r5")))]
        _ => {
            let _ = json;
            Err(CheckError::NotCompiled(release))
        }
    }
}

#[cfg(feature = "r4")]
fn r4(json: &[u8]) -> Result<Value, CheckError> {
    fhirbolt::json::from_slice::<fhirbolt::model::r4::Resource>(json, None)
        .and_then(|resource| fhirbolt::json::to_json_value(resource, None))
        .map_err(|e| structure(Release::R4, &e))
}

#[cfg(feature = "r4b")]
fn r4b(json: &[u8]) -> Result<Value, CheckError> {
    fhirbolt::json::from_slice::<fhirbolt::model::r4b::Resource>(json, None)
        .and_then(|resource| fhirbolt::json::to_json_value(resource, None))
        .map_err(|e| structure(Release::R4B, &e))
}

#[cfg(feature = "r5")]
fn r5(json: &[u8]) -> Result<Value, CheckError> {
    fhirbolt::json::from_slice::<fhirbolt::model::r5::Resource>(json, None)
        .and_then(|resource| fhirbolt::json::to_json_value(resource, None))
        .map_err(|e| structure(Release::R5, &e))
}

#[cfg(any(feature = "r4", feature = "r4b", feature = "r5"))]
fn structure(release: Release, error: &serde_json::Error) -> CheckError {
    CheckError::Structure {
        release,
        line: error.line(),
        column: error.column(),
        reason: without_values(&error.to_string()),
    }
}

/// The model library quotes values in some of its messages ("invalid type: string \"...\""). Only the
/// messages that name an element are kept, and only as far as the element's name.
#[cfg(any(feature = "r4", feature = "r4b", feature = "r5"))]
fn without_values(message: &str) -> String {
    for kind in ["missing field", "unknown field", "duplicate field"] {
        if let Some(rest) = message.strip_prefix(kind) {
            let name: String = rest
                .trim_start_matches([' ', '`'])
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .take(64)
                .collect();
            return format!("{} `{name}`", kind.replace("field", "element"));
        }
    }
    if message.starts_with("unknown variant") {
        return "no such resource type".to_owned();
    }
    "an element of another type than the release's".to_owned()
}
