//! Listening: what every HTTP server of this program needs before anybody's meaning is read.
//!
//! Knows nothing of FHIR, the trial or the pages. Never logs a body, a token or an address's path.

pub mod tls;
