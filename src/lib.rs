//! trialbridge stands between a hospital and a clinical trial.
//!
//! Data come in from a FHIR server, are mapped to the trial's variables, screened against its
//! criteria, scored and, when a patient is eligible and has consented, randomized; the hospital
//! gets back a ResearchSubject with its arm. `docs/ARCHITECTURE.md` draws the path.
#![forbid(unsafe_code)]

// words
pub mod clinical;
pub mod fact;

// formats
pub mod fhir;
pub mod hl7v2;

// core: pure, no I/O, no clock, no random source
pub mod access;
pub mod audit;
pub mod bulk;
pub mod collection;
pub mod eligibility;
pub mod funnel;
pub mod identity;
pub mod mapping;
pub mod normalize;
pub mod protocol;
pub mod randomize;
pub mod score;
pub mod sequence;
pub mod table;

// shell
pub mod account;
pub mod cli;
pub mod client;
pub mod config;
pub mod draw;
pub mod http;
pub mod pipeline;
pub mod sandbox;
pub mod secret;
pub mod sink;
pub mod source;
pub mod statement;
pub mod store;
pub mod web;
