//! What the commands share: the store, the client, the day.

use super::{Failure, Global, exit, trial};
use crate::access::Masking;
use crate::client::{Auth, BackendServices, ClientConfig, FhirClient, Secret, SigningKey};
use crate::config::Config;
use crate::pipeline::{Pipeline, Turn, detail, stamp};
use crate::protocol::Trial;
use crate::store::{AuditChain, FileAnchor, NewAudit, SqliteStore, Store, StoreError};
use chrono::{DateTime, NaiveDate, Utc};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Configuration and trial, loaded.
pub struct Shell {
    pub config: Config,
    pub trial: Arc<Trial>,
    /// The password of whoever signs, where it is not typed.
    pub password_file: Option<PathBuf>,
    /// Held by whoever runs the pipeline.
    pub turn: Arc<Turn>,
    /// Held by whoever pulls.
    pub pulls: tokio::sync::Mutex<()>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let code = match &error {
            StoreError::Locked { .. } => exit::LOCKED,
            StoreError::Corrupt { .. } => exit::UNVERIFIED,
            _ => exit::PROBLEMS,
        };
        Failure::new(code, error.to_string(), "")
    }
}

pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Today in the hospital's own time zone, which is the machine's.
pub fn today() -> NaiveDate {
    chrono::Local::now().date_naive()
}

impl Shell {
    pub fn new(global: &Global) -> Result<Shell, Failure> {
        let config = global.config()?;
        let trial = Arc::new(trial::load(&config)?);
        trial::not_looser(&config, &trial)
            .map_err(|text| Failure::new(exit::CONFIG, text, "remove the key: the trial says what holds"))?;
        Ok(Shell {
            config,
            trial,
            password_file: global.password_file.clone(),
            turn: Arc::default(),
            pulls: tokio::sync::Mutex::default(),
        })
    }

    /// Opens the store for writing.
    pub fn open(&self, command: &str) -> Result<Arc<dyn Store>, Failure> {
        self.check_url()?;
        let chain = Arc::new(chain(&self.config)?);
        Ok(Arc::new(SqliteStore::open(&self.config.data_dir, command, &stamp(now()), chain)?))
    }

    /// Opens the store for reading, while another process may write.
    pub fn look(&self) -> Result<Arc<dyn Store>, Failure> {
        self.check_url()?;
        store_to_look_at(&self.config)
    }

    /// Writes down under which definition, site file, configuration and version is worked from now on, if
    /// any of them is another one than before.
    pub fn note_configuration(&self, store: &dyn Store) -> Result<(), StoreError> {
        const KNOWN: &str = "audit.configuration";
        let now_in_force = [
            ("definition", self.trial.hash.clone()),
            ("site", self.trial.site_hash.clone()),
            ("configuration", configuration(&self.config)),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let text = serde_json::to_string(&BTreeMap::from(now_in_force.clone()))
            .map_err(|e| StoreError::storage("noting the configuration", e))?;
        let known = store.meta(KNOWN)?;
        if known.as_deref() == Some(&*text) {
            return Ok(());
        }
        let before: BTreeMap<String, String> =
            known.and_then(|known| serde_json::from_str(&known).ok()).unwrap_or_default();
        let mut particulars = Vec::new();
        for (what, after) in now_in_force {
            let before = before.get(what).cloned().unwrap_or_else(|| "none".to_owned());
            if before != after {
                particulars.push((format!("{what}.before"), before));
                particulars.push((format!("{what}.after"), after));
            }
        }
        let pairs: Vec<(&str, &str)> = particulars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        store.append_audit(NewAudit {
            at: stamp(now()),
            actor: "trialbridge".into(),
            role: "service".into(),
            action: "configuration.change".into(),
            subject: None,
            detail: detail(&pairs),
        })?;
        store.set_meta(KNOWN, &text)
    }

    fn check_url(&self) -> Result<(), Failure> {
        if self.config.store.url == "sqlite:trialbridge.db" {
            return Ok(());
        }
        let text = "store.url: the store is `sqlite:trialbridge.db` below data_dir";
        Err(Failure::new(exit::CONFIG, text, "set data_dir to move it"))
    }

    pub fn pipeline(&self, store: &Arc<dyn Store>) -> Pipeline {
        Pipeline::new(Arc::clone(store), Arc::clone(&self.trial)).taking_turns(Arc::clone(&self.turn))
    }

    /// Who is kept from knowing arms, here: what the trial says, or stricter where the configuration does.
    pub fn masking(&self) -> Masking {
        let write_back = self.config.writeback.disclosure(self.trial.masking.write_back);
        Masking { write_back, ..self.trial.masking.clone() }
    }

    /// The client of the configured server.
    pub fn client(&self) -> Result<FhirClient, Failure> {
        client(&self.config)
    }
}

/// The hash of the configuration in force, which is another one whenever a key has another value.
fn configuration(config: &Config) -> String {
    // Secrets do not show in it, and where it was read from is not what it says.
    let in_force = format!("{:?}", Config { origin: String::new(), ..config.clone() });
    format!("sha256:{}", crate::protocol::document::hex(&Sha256::digest(in_force.as_bytes())))
}

/// The file outside the data directory that the audit log is anchored in.
pub fn anchor_path(config: &Config) -> PathBuf {
    config.audit.anchor_file.clone().unwrap_or_else(|| {
        // Beside the directory, also where it is named `.` or with a slash behind it.
        let dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        let mut name = dir.components().collect::<PathBuf>().into_os_string();
        name.push(".audit-anchor");
        PathBuf::from(name)
    })
}

/// The chain of the audit log, anchored outside the data directory.
pub fn chain(config: &Config) -> Result<AuditChain, Failure> {
    let path = anchor_path(config);
    if is_inside(&path, &config.data_dir) {
        let text = format!("audit.anchor_file {} lies in the data directory", path.display());
        let hint = "keep it elsewhere: whoever changes the data must not be able to change what proves it";
        return Err(Failure::new(exit::CONFIG, text, hint));
    }
    Ok(AuditChain::anchored(Arc::new(FileAnchor::new(&path))))
}

/// The store of a configuration, for reading.
pub fn store_to_look_at(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let store = SqliteStore::open_read_only(&config.data_dir, Arc::new(chain(config)?)).map_err(|e| {
        let hint = "`trialbridge pull` or `trialbridge import` makes a store; --data-dir names another";
        Failure { hint: hint.into(), ..Failure::from(e) }
    })?;
    Ok(Arc::new(store))
}

/// The client of the configured server.
pub fn client(config: &Config) -> Result<FhirClient, Failure> {
    let fhir = &config.fhir;
    let Some(base_url) = &fhir.base_url else {
        let hint = "set [fhir] base_url, or TRIALBRIDGE_FHIR__BASE_URL";
        return Err(Failure::new(exit::CONFIG, "no FHIR server is configured", hint));
    };
    let missing =
        |key: &str, hint: &str| Failure::new(exit::CONFIG, format!("fhir.auth.{key} is missing"), hint);
    let unusable = |key: &str, e: String| Failure::new(exit::CONFIG, format!("fhir.auth.{key}: {e}"), "");
    let secret =
        |key: &str, given: &Option<Secret>, file: &Option<std::path::PathBuf>| -> Result<Secret, Failure> {
            if let Some(secret) = given {
                return Ok(secret.clone());
            }
            let path = file.as_ref().ok_or_else(|| missing(key, "name a file"))?;
            Secret::from_file(path).map_err(|e| unusable(key, e))
        };
    let registered = |key: &str, text: &Option<String>| {
        text.clone().ok_or_else(|| missing(key, "set it as registered with the authorisation server"))
    };
    let auth = match fhir.auth.kind.as_str() {
        "basic" => Auth::Basic {
            user: fhir.auth.user.clone().unwrap_or_default(),
            password: secret("password_file", &fhir.auth.password, &fhir.auth.password_file)?,
        },
        "bearer" => Auth::Bearer { token: secret("token_file", &fhir.auth.token, &fhir.auth.token_file)? },
        "smart-backend" => {
            let file = fhir.auth.key_file.as_ref().ok_or_else(|| missing("key_file", "name a file"))?;
            Auth::SmartBackend(Arc::new(BackendServices {
                client_id: registered("client_id", &fhir.auth.client_id)?,
                token_url: registered("token_url", &fhir.auth.token_url)?,
                scope: fhir.auth.scope.clone(),
                key_id: fhir.auth.key_id.clone(),
                key: SigningKey::from_file(file).map_err(|e| unusable("key_file", e))?,
            }))
        }
        _ => Auth::None,
    };
    let client = ClientConfig {
        auth,
        allow_plain_http: fhir.allow_plain_http,
        page_size: config.pull.page_size,
        max_concurrent: config.pull.max_concurrent,
        root_ca_file: fhir.ca_file.clone(),
        ..ClientConfig::new(base_url.clone())
    };
    FhirClient::new(client).map_err(|e| Failure::new(exit::CONFIG, e.to_string(), ""))
}

/// Runs async work of a command.
pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::problem(format!("the runtime does not start: {e}")))?;
    Ok(runtime.block_on(work))
}

/// `Patient/p1`, from `p1` or `Patient/p1`.
pub fn subject(text: &str) -> Result<String, Failure> {
    let id = text.strip_prefix("Patient/").unwrap_or(text);
    if crate::fhir::reference::is_id(id) {
        return Ok(format!("Patient/{id}"));
    }
    Err(Failure::new(exit::USAGE, "the subject is neither `Patient/ID` nor an id", ""))
}

/// Log lines go to standard error: JSON where nobody watches, plain on a terminal.
pub fn logging(global: &Global) {
    use std::io::IsTerminal;
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,trialbridge=warn",
        (false, 1) => "warn,trialbridge=info",
        (false, _) => "info,trialbridge=debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, as tests make, changes nothing.
    let _ = if std::io::stderr().is_terminal() {
        builder.with_ansi(global.color != super::Colour::Never).with_target(false).try_init()
    } else {
        builder.json().with_current_span(false).try_init()
    };
}

/// Does `file` lie below `dir`?
pub fn is_inside(file: &Path, dir: &Path) -> bool {
    let real = |p: &Path| {
        p.canonicalize().unwrap_or_else(|_| std::path::absolute(p).unwrap_or_else(|_| p.to_owned()))
    };
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    real(folder).starts_with(real(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_smart_client_needs_what_was_registered_and_a_key_of_its_own() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("smart-test-key.pem");
        std::fs::write(&key, include_str!("../../fixtures/smart/es384-test-key.pem")).expect("written");
        let open = |mode, lines: &str| {
            std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).expect("set");
            let text = format!(
                "[fhir]\nbase_url = \"https://fhir.example/r4\"\n[fhir.auth]\nkind = \"smart-backend\"\n{lines}"
            );
            let file = folder.path().join("trialbridge.toml");
            std::fs::write(&file, text).expect("written");
            let config = Config::load(Some(&file), []).expect("a configuration");
            client(&config).map_err(|failure| (failure.code, failure.message))
        };
        // The key is found beside the configuration file.
        let whole = "client_id = \"ward-7\"\ntoken_url = \"https://auth.example/token\"\nkey_file = \"smart-test-key.pem\"\n";
        let made = open(0o600, whole).expect("a client");
        let Auth::SmartBackend(settings) = &made.config().auth else { panic!("{:?}", made.config().auth) };
        assert_eq!((settings.client_id.as_str(), settings.scope.as_str()), ("ward-7", "system/*.rs"));
        assert_eq!(
            (settings.token_url.as_str(), settings.key_id.as_deref()),
            ("https://auth.example/token", None)
        );
        let more =
            open(0o600, &format!("{whole}scope = \"system/*.cruds\"\nkey_id = \"k1\"\n")).expect("a client");
        let Auth::SmartBackend(settings) = &more.config().auth else { panic!("{:?}", more.config().auth) };
        assert_eq!((settings.scope.as_str(), settings.key_id.as_deref()), ("system/*.cruds", Some("k1")));

        let without = |key: &str| {
            whole.lines().filter(|l| !l.starts_with(key)).map(|l| format!("{l}\n")).collect::<String>()
        };
        for (mode, lines, expected) in [
            (0o644, whole.to_owned(), "smart-test-key.pem: the key file can be read by others"),
            (0o600, without("client_id"), "fhir.auth.client_id is missing"),
            (0o600, without("token_url"), "fhir.auth.token_url is missing"),
            (0o600, without("key_file"), "fhir.auth.key_file is missing"),
            (0o600, whole.replace("https://auth", "http://auth"), "fhir.auth.token_url: credentials"),
        ] {
            let (code, text) = open(mode, &lines).expect_err("refused");
            assert_eq!(code, exit::CONFIG);
            assert!(text.contains(expected), "{text}");
        }
    }
}
