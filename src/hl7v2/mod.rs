//! HL7 v2 as it goes over the wire: character sets, segments and fields, times, acknowledgements.
//!
//! Knows neither the trial nor FHIR, and reads no clock: what a message means is said in
//! `normalize::hl7v2`. An error names the segment and the field, never what stood there.

pub mod ack;
pub mod charset;
pub mod escape;
pub mod frame;
pub mod header;
pub mod message;
pub mod time;

#[cfg(test)]
mod tests;
