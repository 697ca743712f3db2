//! Where data come from; each source ends in the inbox.

pub mod blocks;
pub mod digest;
pub mod fhir_pull;
pub mod fhir_push;
pub mod files;
pub mod inbox;
pub mod mllp;
pub mod needs;
pub mod subscription;
