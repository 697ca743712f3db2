//! The feasibility question in counts: whom could the trial enrol, and what stops the others?
//!
//! Screenings come in, one after another, in any order; what is held is a table of numbers whose size
//! follows from the trial and not from the number of patients. Pure: no file, no clock. Nothing of a patient
//! is kept, neither an id nor a value.
//!
//! Every patient is in exactly one place of the funnel. With the criteria in the protocol's order:
//!
//! - A patient **leaves** at the first criterion whose verdict is adverse (`not-met`, `excludes`), however
//!   many criteria before it were open. What is open excludes nobody.
//! - Whoever never leaves is **eligible** if every criterion lets the patient in and no question of
//!   identity is open, else **undetermined**; an undetermined patient is counted at the first criterion
//!   that is open (`unknown`, `attest`), or, where only the identity is open, there.
//!
//! Beside the order, each criterion is counted **alone**: all patients whom it excludes or leaves open,
//! whatever the others say; and **only**: those with no other criterion against them.
//!
//! Invariant: the same screenings give the same counts, in whatever order they come and however they are
//! shared out among funnels that are merged; and
//! `Σ excluded + Σ undetermined + identity only + eligible = patients`.

mod case;
mod count;
mod facts;
mod named;
mod report;
mod svg;

#[cfg(test)]
mod tests;

pub use case::{Case, Unfit};
pub use count::Funnel;
pub use report::{Cell, CriterionRow, Report, SCHEMA};
pub use svg::draw;
