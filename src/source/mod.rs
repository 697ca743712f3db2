//! Where data come from; each source ends in the inbox.
pub mod files;
