//! `init`: a commented configuration.

use super::output::Out;
use super::{Failure, Global, Outcome};
use clap::Args;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Write it there; default: standard output. An existing file is left alone
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Every key with its default.
pub const TEMPLATE: &str = r#"# trialbridge. Every key has an environment twin: TRIALBRIDGE_<SECTION>__<KEY>,
# for example TRIALBRIDGE_FHIR__BASE_URL. Unknown keys are refused. Secrets are named by file.

# Where the store lives. One process writes at a time.
data_dir = "/var/lib/trialbridge"

# A folder with a trial definition; default: the shipped NCT06242405.
# trial = "/etc/trialbridge/trials/mytrial"

# What this installation is for: an imported allocation list for one is refused in another.
environment = "production"       # test | demo

# What this hospital sends differently: its systems, local codes, unit spellings, complete feeds.
# site = "/etc/trialbridge/site.toml"

[store]
url = "sqlite:trialbridge.db"

[fhir]
# base_url = "https://fhir.example.org/r4"
release = "auto"                 # R4 | R4B | R5
# ca_file = "/etc/trialbridge/hospital-ca.pem"

[fhir.auth]
kind = "none"                    # basic | bearer | smart-backend
# user = "trialbridge"
# a secret may stand in a file or in TRIALBRIDGE_FHIR__AUTH__PASSWORD or __TOKEN, never here
# password_file = "/etc/trialbridge/password"
# token_file = "/etc/trialbridge/token"
# smart-backend: a private key (PKCS#8 PEM, RSA or P-384, mode 0600) obtains short-lived tokens
# client_id = "trialbridge"
# token_url = "https://auth.example.org/token"
# key_file = "/etc/trialbridge/smart-key.pem"
# key_id = "2026-1"
# scope = "system/*.rs"           # a write-back needs system/ResearchSubject.cu and the like as well

[pull]
# all | "Patient?_has:Condition:patient:code=..." | group:ID | list:ID | ids:FILE
cohort = "all"
schedule = "0 */15 * * * *"      # second minute hour day month weekday
page_size = 200
max_concurrent = 4
overlap_minutes = 15             # read again at each pull, for what became visible late

[writeback]
enabled = true
# arm = "withhold"               # or "code": tell less of the arm than the trial's [masking] allows
screening = false                # keep screening states on the ResearchSubject as well
scores = true

[serve]
listen = "127.0.0.1:8080"
ops_listen = "127.0.0.1:9090"

[mllp]
# HL7 v2: nothing listens unless an address is set
# listen = "127.0.0.1:2575"
# who may send, from other machines: addresses and networks, or whoever holds a certificate
# allow = ["10.1.4.0/24"]
# tls_cert_file = "/etc/trialbridge/mllp-cert.pem"
# tls_key_file = "/etc/trialbridge/mllp-key.pem"
# client_ca_file = "/etc/trialbridge/hospital-ca.pem"
mode = "accept"                  # strict: answer AE to what cannot be mapped
max_connections = 64

[push]
# public_url = "https://trial.hospital.example"   # where hospital systems reach this program

[subscription]
heartbeat_seconds = 60           # asked of the server; silent after three periods
grace_seconds = 30               # wait for a missing event before asking for it
silent_after_minutes = 60        # without heartbeats: pull when nothing came for so long; 0: never

[allocation]
# The key that opens the sealed list: never inside data_dir. Default: data_dir with `.allocation-key`
# key_file = "/etc/trialbridge/allocation.key"

[audit]
# Where the end of the audit log is written down: never inside data_dir, best on another disk.
# Default: data_dir with `.audit-anchor`
# anchor_file = "/var/log/trialbridge/audit-anchor"

[access]
# trialbridge user add NAME --role administrator: from the first account on, names are proved
idle_minutes = 15                # a session ends after so long without a request; only less
absolute_minutes = 720           # and after so long whatever happens; only less
password_memory_kib = 19456      # Argon2id; only more
password_passes = 2              # only more

# the sites of the trial, by the sources that their patients come from; none: one site
# site = [{ id = "north", sources = ["https://fhir.north.example/r4"] }]

[access.oidc]
# people prove who they are at the hospital's identity provider
# issuer = "https://id.hospital.example/realms/staff"
# client_id = "trialbridge"
# client_secret_file = "/etc/trialbridge/oidc-secret"
# redirect_url = "https://trial.hospital.example/login/oidc/callback"
# ca_file = "/etc/trialbridge/hospital-ca.pem"
role_claim = "groups"
name_claim = "name"

[access.oidc.roles]
# trial-investigators = "investigator"
"#;

pub fn run(global: &Global, a: &Arguments) -> Outcome {
    match &a.file {
        None => {
            let mut out = Out::new();
            out.line(TEMPLATE.trim_end())?;
            out.finish()?;
        }
        Some(path) => {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)
                .map_err(|e| Failure::problem(format!("{} cannot be written: {e}", path.display())))?;
            file.write_all(TEMPLATE.as_bytes())?;
            global.note(&format!("{} written; set [fhir] base_url, then: trialbridge check", path.display()));
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::TEMPLATE;
    use crate::config::Config;

    #[test]
    fn the_template_is_the_defaults() {
        let config = Config::read("init", TEMPLATE, []).expect("the template is valid");
        let defaults = Config::default();
        assert_eq!(config.pull.schedule, defaults.pull.schedule);
        assert_eq!(config.data_dir, defaults.data_dir);
        assert_eq!((config.environment, config.writeback.arm), (defaults.environment, None));
        // Each commented key is a key.
        let uncommented: String = TEMPLATE
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") && !rest.contains("example,") => rest,
                _ => line,
            })
            .collect::<Vec<_>>()
            .join("\n");
        Config::read("init", &uncommented, []).expect("the commented keys exist");
    }
}
