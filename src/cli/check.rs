//! `check`: configuration, trial definition, mappings and connections, with every finding.

use super::output::Out;
use super::{Failure, Global, Outcome, Output, exit, trial};
use crate::config::Config;
use crate::protocol::{Definition, Finding, Severity, check};
use clap::Args;
use serde::Serialize;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Leave the connections alone
    #[arg(long)]
    pub no_network: bool,
    /// Exit 1 on warnings as well
    #[arg(long)]
    pub deny_warnings: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    definition: Option<&'a str>,
    findings: &'a [Finding],
    errors: usize,
    warnings: usize,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let mut findings = Vec::new();
    let mut lines = Vec::new();
    let mut hash = None;
    let mut code = 0;
    let config = match global.config() {
        Ok(config) => Some(config),
        Err(failure) => {
            findings.push(Finding {
                severity: Severity::Error,
                place: "config".into(),
                id: "TB-C001",
                text: failure.message,
                hint: String::new(),
            });
            None
        }
    };
    if let Some(config) = &config {
        lines.push(format!("ok    config            {}", config.origin));
        definition(config, &mut findings, &mut lines, &mut hash)?;
        if !arguments.no_network {
            code = network(config, &mut findings, &mut lines);
        }
    }
    findings.sort_by(Finding::order);
    let count = |s: Severity| findings.iter().filter(|f| f.severity == s).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut out = Out::new();
    match global.output() {
        Output::Table => {
            for line in &lines {
                out.line(line)?;
            }
            for finding in &findings {
                out.line(&finding.to_string())?;
            }
            out.line(&format!("{errors} errors, {warnings} warnings, {} notes", count(Severity::Note)))?;
        }
        Output::Json => {
            let schema = "trialbridge/check/v1";
            out.json(&Report { schema, definition: hash.as_deref(), findings: &findings, errors, warnings })?;
        }
        Output::Ndjson => {
            for finding in &findings {
                out.json(finding)?;
            }
        }
    }
    out.finish()?;
    if errors > 0 {
        return Ok(if code == 0 { exit::CONFIG } else { code });
    }
    Ok(if warnings > 0 && arguments.deny_warnings { exit::PROBLEMS } else { 0 })
}

fn definition(
    config: &Config,
    findings: &mut Vec<Finding>,
    lines: &mut Vec<String>,
    hash: &mut Option<String>,
) -> Result<(), Failure> {
    let site = match trial::site(config)? {
        Ok(site) => site,
        Err(errors) => {
            // The definition is still checked, as for a site that sends standard codes.
            findings.extend(errors);
            Default::default()
        }
    };
    let definition: Definition = match trial::definition(config)? {
        Ok(definition) => definition,
        Err(errors) => {
            findings.extend(errors);
            return Ok(());
        }
    };
    *hash = Some(definition.hash.clone());
    let (trial, found) = check::check(&definition, &site);
    findings.extend(found);
    if let Some(trial) = trial {
        let inclusions =
            trial.criteria.iter().filter(|c| c.kind == crate::protocol::CriterionKind::Inclusion).count();
        lines.push(format!(
            "ok    trial             {}: {} criteria ({inclusions} inclusion), {} variables, {} value sets",
            trial.study.id,
            trial.criteria.len(),
            trial.variables.len(),
            trial.value_sets.len()
        ));
        lines.push(format!("ok    definition        {}", trial.hash));
    }
    Ok(())
}

/// Reaches for the configured server. Filled in by the client.
fn network(_config: &Config, _findings: &mut Vec<Finding>, _lines: &mut Vec<String>) -> u8 {
    0
}
