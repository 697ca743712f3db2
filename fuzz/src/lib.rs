//! What must hold of every reader of foreign text, whatever stands in it: one function a reader, which
//! takes any bytes and panics where a property does not hold. Called by the fuzz targets, and with a
//! fixed seed by `cargo test` (`tests/suite/parsers.rs`), so that both test the same.
//!
//! Nothing here touches a file, a network or a clock.
#![forbid(unsafe_code)]

pub mod document;
pub mod hl7;
pub mod page;
pub mod resource;
pub mod settings;
pub mod words;

use std::sync::OnceLock;
use trialbridge::protocol::Trial;

/// A reader's properties.
pub type Property = fn(&[u8]);

/// Every target by the name of its binary and its corpus.
pub const ALL: &[(&str, Property)] = &[
    ("attestations", document::attestations),
    ("bundle", resource::bundle),
    ("config_toml", settings::config),
    ("document", document::collection),
    ("fhir_resource", resource::projection),
    ("hl7_charset", hl7::charset),
    ("hl7_escape", hl7::escape),
    ("hl7_intake", document::hl7_intake),
    ("hl7_message", hl7::message),
    ("hl7_time", hl7::time),
    ("intake", document::intake),
    ("json", resource::json),
    ("link", page::link),
    ("mllp_frame", hl7::frame),
    ("number", words::number),
    ("quantity", resource::quantity),
    ("retry_after", page::retry_after),
    ("score_line", document::score_line),
    ("sealed_list", settings::sealed_list),
    ("search_page", page::search_page),
    ("site_toml", settings::site),
    ("trial_toml", settings::trial),
    ("unit", words::unit),
    ("when", words::when),
];

/// The shipped trial, compiled once.
pub fn trial() -> &'static Trial {
    static TRIAL: OnceLock<Trial> = OnceLock::new();
    TRIAL.get_or_init(Trial::shipped)
}

/// A path as gaps and quarantine show it: names and places, never what stood there.
pub fn is_path(text: &str) -> bool {
    // A line of a message that is no segment has only its number.
    let text = text.strip_prefix("line ").unwrap_or(text);
    text.len() <= 400 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".[]_?-".contains(&b))
}
