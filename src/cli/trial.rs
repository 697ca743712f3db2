//! Loading the trial definition and the site file for a command.

use super::{Failure, exit};
use crate::config::{Config, strictness, word};
use crate::protocol::document::SiteFile;
use crate::protocol::{Definition, Finding, Trial, check};
use std::fs;
use std::path::Path;

/// The definition as configured: the shipped one, or a folder.
pub fn definition(config: &Config) -> Result<Result<Definition, Vec<Finding>>, Failure> {
    let Some(dir) = &config.trial else { return Ok(Ok(Definition::shipped())) };
    let unreadable = |path: &Path, error: std::io::Error| {
        let text = format!("the trial folder {} cannot be read: {error}", path.display());
        Failure::new(exit::CONFIG, text, "--trial names a folder with .toml files")
    };
    let mut sources = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| unreadable(dir, e))? {
        let path = entry.map_err(|e| unreadable(dir, e))?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?;
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            sources.push((name, text));
        }
    }
    Ok(Definition::read(sources))
}

/// The site file, or a site that sends standard codes only.
pub fn site(config: &Config) -> Result<Result<SiteFile, Vec<Finding>>, Failure> {
    let Some(path) = &config.site else { return Ok(Ok(SiteFile::default())) };
    let text = fs::read_to_string(path).map_err(|error| {
        let text = format!("the site file {} cannot be read: {error}", path.display());
        Failure::new(exit::CONFIG, text, "")
    })?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(SiteFile::read(&name, &text))
}

/// The compiled trial, or a failure that names the first mistake.
pub fn load(config: &Config) -> Result<Trial, Failure> {
    let definition = definition(config)?.map_err(first)?;
    let site = site(config)?.map_err(first)?;
    let (trial, findings) = check::check(&definition, &site);
    trial.ok_or_else(|| first(findings))
}

/// The configuration may tell the hospital less of the arm than the trial allows, never more.
///
/// # Errors
/// A sentence that names both places.
pub fn not_looser(config: &Config, trial: &Trial) -> Result<(), String> {
    let allowed = trial.masking.write_back;
    match config.writeback.arm {
        Some(arm) if strictness(arm) < strictness(allowed) => {
            let place = trial.masking_place.as_ref().map_or_else(
                || "the trial has no [masking]".to_owned(),
                |place| format!("[masking] write_back at {place}"),
            );
            Err(format!(
                "writeback.arm = \"{}\" ({}) tells the hospital more than the trial allows: {place}, which \
                 allows \"{}\" at most",
                word(arm),
                config.origin,
                word(allowed)
            ))
        }
        _ => Ok(()),
    }
}

fn first(findings: Vec<Finding>) -> Failure {
    // The open choices of a definition stand among the findings as well.
    let worst = findings.iter().min_by_key(|f| f.severity);
    let text = match worst {
        Some(finding) => format!("the trial definition cannot be used: {finding}"),
        None => "the trial definition cannot be used".to_owned(),
    };
    Failure::new(exit::CONFIG, text, "`trialbridge check` prints all findings")
}
