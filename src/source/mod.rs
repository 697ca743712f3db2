//! Where data come from; each source ends in the inbox.

pub mod fhir_pull;
pub mod files;
pub mod inbox;
pub mod mllp;
pub mod needs;
