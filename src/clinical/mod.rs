//! The words everything else is said in: codes, quantities in UCUM, ranges of values, partial dates.

pub mod interval;
