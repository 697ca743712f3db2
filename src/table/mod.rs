//! Screenings as flat tables: one row a patient, as CSV, as Parquet, or as the whole answer in NDJSON.
//!
//! Pure but for the writer that it is given: no file is opened, no clock is read, and the same screenings
//! in the same order give the same bytes, however they were divided among threads.
//!
//! Invariants:
//! - CSV and Parquet say the same, cell by cell: both are filled by one walk over a screening
//!   ([`row`]), and the list of columns is that walk over no screening at all.
//! - What is not known is an empty cell. A bound never stands in the column of a value.
//! - Columns and their order follow from the trial's definition alone, never from the data.

mod columnar;
mod group;
pub mod row;
mod sheet;
mod text;

#[cfg(test)]
mod tests;

pub use row::{Clash, Column, Columns, Type};
pub use sheet::{Block, Format, Heading, Shape, Sheet};

/// The version of the columns; it stands in the metadata of a Parquet file.
pub const SCHEMA: &str = "trialbridge/screen-rows/v1";
