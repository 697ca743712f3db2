//! The words everything else is said in: codes, quantities in UCUM, ranges of values, partial dates.

pub mod code;
pub mod interval;
pub mod number;
pub mod time;
pub mod unit;
