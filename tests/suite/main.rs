//! The command line from outside: files in, lines out, exit codes. Everything runs the real binary
//! with an empty environment, except the properties of the pure core.

mod bad_input;
mod check;
mod funnel;
mod golden;
mod parsers;
mod properties;
mod resources;
mod runner;
mod score;
mod screen;
mod screen_criteria;
mod screen_dialysis;
mod screen_edges;
mod screen_reasons;
mod screen_rules;
mod screen_tables;
mod screen_values;
mod second_trial;
