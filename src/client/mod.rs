//! The HTTP client of a hospital FHIR server: configured origin only, retry, limits.

pub mod server;
