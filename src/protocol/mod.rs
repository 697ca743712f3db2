//! The trial definition: read from TOML, compiled, checked. A second trial needs no Rust.

pub mod allocation;
pub mod check;
pub mod codes;
pub mod compile;
mod contradiction;
pub mod document;
pub mod factor;
pub mod inputs;
pub mod rule;
pub mod schema;
pub mod site;
pub mod variable;

pub use compile::{Criterion, Trial};
pub use document::{Definition, Finding, Severity};
pub use schema::CriterionKind;
