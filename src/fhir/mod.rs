//! The FHIR wire format: borrowed projections of the resources we read, and all that differs
//! between releases R4, R4B and R5.

pub mod bundle;
pub mod json;
pub mod notification;
pub mod reference;
pub mod release;
pub mod resource;
pub mod text;
