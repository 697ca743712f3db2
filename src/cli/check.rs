//! `check`: configuration, trial definition, mappings and connections, with every finding.

use super::output::Out;
use super::writeback::server_failure;
use super::{Failure, Global, Outcome, Output, exit, shell, trial};
use crate::access::Role;
use crate::account::Settings;
use crate::account::oidc::Provider;
use crate::config::Config;
use crate::protocol::{Definition, Finding, Severity, Trial, check};
use crate::randomize::Public;
use crate::source::{mllp, needs};
use crate::store::{AccountOrigin, AnchorStatus, SqliteStore, Store};
use clap::Args;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

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
        if let Err(error) = config.push.validate(&config.serve.listen) {
            findings.push(Finding {
                severity: Severity::Error,
                place: error.place,
                id: "TB-C001",
                text: error.text,
                hint: "`serve` does not start like this".into(),
            });
        }
        access(config, &mut findings, &mut lines)?;
        let trial = definition(config, &mut findings, &mut lines, &mut hash)?;
        if let Some(trial) = &trial {
            list(config, trial, &mut findings);
        }
        listener(config, &mut findings, &mut lines);
        anchored(config, &mut findings, &mut lines);
        if !arguments.no_network {
            code = network(config, trial.as_ref(), &mut findings, &mut lines)?;
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
) -> Result<Option<Trial>, Failure> {
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
            return Ok(None);
        }
    };
    *hash = Some(definition.hash.clone());
    let (trial, found) = check::check(&definition, &site);
    findings.extend(found);
    if let Some(trial) = &trial {
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
        if let Err(text) = trial::not_looser(config, trial) {
            findings.push(Finding {
                severity: Severity::Error,
                place: "config".into(),
                id: "TB-C005",
                text,
                hint: "remove writeback.arm: the trial says what holds".into(),
            });
        }
    }
    Ok(trial)
}

/// What the list that is there leaves to one key alone. Where there is no store yet, there is nothing to say.
fn list(config: &Config, trial: &Trial, findings: &mut Vec<Finding>) {
    let Ok(chain) = shell::chain(config) else { return };
    let Ok(store) = SqliteStore::open_read_only(&config.data_dir, Arc::new(chain)) else { return };
    let Ok(Some(list)) = store.allocation_list(&trial.study.id) else { return };
    let is_sealed_to_nobody =
        serde_json::from_str::<Public>(&list.json).is_ok_and(|public| public.header.statisticians.is_empty());
    if is_sealed_to_nobody {
        findings.push(Finding {
            severity: Severity::Warning,
            place: "allocation".into(),
            id: "TB-C006",
            text: "the allocation list is sealed to no statistician: without the key file nobody can ever open it"
                .into(),
            hint: "keep a copy of the key file where neither the data nor those who enrol are".into(),
        });
    }
}

/// Who may work here: what `[access]` says, and the accounts that there are.
fn access(config: &Config, findings: &mut Vec<Finding>, lines: &mut Vec<String>) -> Result<(), Failure> {
    let mut report = |severity, id, place: &str, text: String, hint: &str| {
        findings.push(Finding { severity, place: place.into(), id, text, hint: hint.into() });
    };
    let provider = config.access.validate().and_then(|()| Provider::new(&config.access.oidc));
    match provider {
        Ok(Some(_)) => {
            let issuer = config.access.oidc.issuer.as_deref().unwrap_or_default();
            lines.push(format!("ok    sign-in           {issuer}"));
        }
        Ok(None) => {}
        Err(error) => {
            report(Severity::Error, "TB-C007", &error.place, error.text, "docs/access.md explains the keys");
        }
    }
    if !config.data_dir.join("trialbridge.db").exists() {
        // Nothing is here that somebody could work on.
        return Ok(());
    }
    let accounts = match shell::store_to_look_at(config) {
        Ok(store) => store.accounts()?,
        // What is wrong with the store is `verify`'s and `doctor`'s to say.
        Err(_) => return Ok(()),
    };
    if accounts.is_empty() {
        let text = "there are no accounts: whoever can run this program can sign in any name".into();
        let hint = "`trialbridge user add NAME --role administrator --printed-name …`";
        report(Severity::Warning, "TB-A001", "accounts", text, hint);
        return Ok(());
    }
    let sites = Settings::from(&config.access).sites;
    for account in accounts.iter().filter(|a| !a.disabled && sites.bind(a.role)) {
        if !account.site.as_deref().is_some_and(|site| sites.ids().contains(site)) {
            let text = format!("{} belongs to no site that is configured, and sees nobody", account.name);
            let hint = "`trialbridge user role NAME ROLE --site-id SITE --by …`";
            report(Severity::Warning, "TB-A002", "accounts", text, hint);
        }
    }
    let administrators = accounts
        .iter()
        .filter(|a| a.role == Role::Administrator && a.origin == AccountOrigin::Local && !a.disabled)
        .count();
    if administrators == 1 {
        let text = "there is one local administrator: nobody could reset that password".into();
        report(Severity::Note, "TB-A003", "accounts", text, "make a second one, and keep it sealed");
    }
    lines.push(format!("ok    accounts          {}", accounts.len()));
    Ok(())
}

/// The files that the MLLP listener needs, without listening.
fn listener(config: &Config, findings: &mut Vec<Finding>, lines: &mut Vec<String>) {
    let Some(listen) = &config.mllp.listen else { return };
    match mllp::Settings::read(&config.mllp) {
        Ok(settings) => {
            let cover = if settings.tls.is_some() { "TLS" } else { "plain" };
            lines.push(format!("ok    mllp              {listen}, {cover}, {}", config.mllp.mode));
        }
        Err(text) => findings.push(Finding {
            severity: Severity::Error,
            place: "mllp".into(),
            id: "TB-C002",
            text,
            hint: "certificate and key are PEM files; the key has mode 0600".into(),
        }),
    }
}

/// Whether the audit log is anchored, and agrees with its anchor.
fn anchored(config: &Config, findings: &mut Vec<Finding>, lines: &mut Vec<String>) {
    let mut report = |severity, id, text: String, hint: &str| {
        findings.push(Finding { severity, place: "audit".into(), id, text, hint: hint.into() });
    };
    let chain = match shell::chain(config) {
        Ok(chain) => chain,
        Err(failure) => return report(Severity::Error, "TB-C003", failure.message, &failure.hint),
    };
    let path = shell::anchor_path(config);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let text = format!("the folder of audit.anchor_file {} is not there", path.display());
        let hint = "nobody can be randomized while the end of the audit log is written down nowhere";
        return report(Severity::Warning, "TB-C004", text, hint);
    }
    // Without a store there is nothing to compare, and a store that cannot be opened is `doctor`'s finding.
    let Ok(store) = SqliteStore::open_read_only(&config.data_dir, Arc::new(chain)) else { return };
    match store.audit_anchor() {
        Ok(AnchorStatus { fault: Some(fault), .. }) => {
            let text = format!("{} ({}); nobody can be randomized", fault.meaning(), path.display());
            report(Severity::Warning, "TB-C004", text, fault.remedy());
        }
        Ok(_) => lines.push(format!("ok    audit             anchored in {}", path.display())),
        Err(_) => {}
    }
}

/// Reaches for the configured server: is it there, does it let us in, can it do what is needed?
fn network(
    config: &Config,
    trial: Option<&Trial>,
    findings: &mut Vec<Finding>,
    lines: &mut Vec<String>,
) -> Result<u8, Failure> {
    let mut report = |severity, id, text: String, hint: &str| {
        findings.push(Finding { severity, place: "fhir".into(), id, text, hint: hint.into() });
    };
    let Some(base_url) = &config.fhir.base_url else {
        let hint = "set [fhir] base_url; commands that work on files need none";
        report(Severity::Note, "TB-N001", "no FHIR server is configured".into(), hint);
        return Ok(0);
    };
    let client = match shell::client(config) {
        Ok(client) => client,
        Err(failure) => {
            report(Severity::Error, "TB-N002", failure.message, &failure.hint);
            return Ok(failure.code);
        }
    };
    let capability = match shell::block_on(client.capability())? {
        Ok(capability) => capability,
        Err(error) => {
            let failure = server_failure(&error);
            report(Severity::Error, "TB-N003", failure.message, "is the address right, is the server up?");
            return Ok(failure.code);
        }
    };
    let release = match capability.release() {
        Some(release) => release.to_string(),
        None => {
            let text = "the server does not say which FHIR release it speaks".into();
            report(Severity::Warning, "TB-N004", text, "set fhir.release");
            "release unknown".into()
        }
    };
    let software = capability.software.as_deref().unwrap_or("software unknown");
    lines.push(format!("ok    fhir              {base_url}  {software}, {release}"));
    let offered = capability.search_params("Observation");
    for need in trial.map(|t| needs::of(t, offered.as_ref())).unwrap_or_default() {
        if capability.offers(&need.resource_type, "search-type") == Some(false) {
            let text = format!("the server does not offer to search {}", need.resource_type);
            report(
                Severity::Warning,
                "TB-N005",
                text,
                "what depends on it stays unknown until somebody attests it",
            );
        }
    }
    if config.writeback.enabled {
        for resource_type in ["ResearchStudy", "ResearchSubject"] {
            if capability.offers(resource_type, "create") == Some(false) {
                let text = format!("the server does not offer to create {resource_type}");
                report(
                    Severity::Warning,
                    "TB-N006",
                    text,
                    "the write-back will fail; [writeback] enabled = false",
                );
            }
        }
    }
    Ok(0)
}
