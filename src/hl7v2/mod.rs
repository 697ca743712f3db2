//! HL7 v2 on the wire. Never knows the trial.

pub mod frame;
