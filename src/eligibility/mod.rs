//! Criteria to verdicts with evidence: eligible, ineligible or undetermined.
//!
//! Three-valued throughout: what is not known is never taken for absent, and an unknown criterion
//! never makes anybody eligible. Pure: the day of judgement is an argument.

pub mod chart;
pub mod decide;
mod dialysis;
pub mod evaluate;
pub mod evidence;
mod findings;
mod participation;
pub mod screening;
pub mod truth;

pub use chart::{Chart, Lookup};
pub use screening::{Screening, screen};
pub use truth::Truth;
