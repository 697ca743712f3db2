//! Listening: what every HTTP server of this program needs before anybody's meaning is read.
//!
//! Bytes come in through [`listener`], which cuts who is slow or many, and [`gate`], which refuses what
//! two readers could read in two ways; [`auth`] says who is calling before [`body`] reads the body, and
//! [`throttle`] how often. Knows nothing of FHIR, the trial or the pages. Never logs a body, a token or
//! a path.

pub mod auth;
pub mod body;
pub mod gate;
pub mod jwks;
pub mod jwt;
pub mod listener;
pub mod strict;
pub mod throttle;
pub mod tls;
mod wire;

#[cfg(test)]
mod tests;
