//! The command line from outside: files in, lines out, exit codes. Everything runs the real binary
//! with an empty environment, except the properties of the pure core.

mod bad_input;
#[rustfmt::skip] // tables: one case a line
mod check;
mod golden;
mod properties;
mod resources;
mod runner;
mod score;
mod screen;
#[rustfmt::skip] // tables: one case a line
mod screen_criteria;
#[rustfmt::skip] // tables: one case a line
mod screen_values;
mod second_trial;
