//! The store path through the real program, against the synthetic hospital over HTTP: what a person at a
//! terminal, a script or an auditor sees. Nothing here looks into the program's own types, except where a
//! moment has to be hit that no terminal can hit.

mod access;
mod allocation;
mod attest;
mod audit;
mod blinding;
mod configuration;
mod corrections;
mod faults;
mod funnel;
mod hl7;
mod incremental;
mod operations;
mod pull;
mod push;
mod randomize;
mod sealed;
mod serve;
mod service;
mod subscriptions;
mod support;
mod writeback;
