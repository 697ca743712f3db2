//! The configuration: a TOML file that is only read where it was named, and environment twins
//! (`TRIALBRIDGE_FHIR__BASE_URL`). Unknown keys are refused. Secrets are named by file, never written.

pub mod access;
mod push;

use crate::access::Disclosure;
use crate::secret::Secret;
use access::Access;
use serde::Deserialize;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

pub mod network;

use network::Network;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub data_dir: PathBuf,
    pub trial: Option<PathBuf>,
    /// `production`, `test` or `demo`: what this installation is for. An imported list for one is refused in
    /// another.
    pub environment: String,
    pub site: Option<PathBuf>,
    pub store: Store,
    pub fhir: Fhir,
    pub pull: Pull,
    pub writeback: Writeback,
    pub serve: Serve,
    pub mllp: Mllp,
    pub push: Push,
    pub subscription: Subscription,
    pub allocation: Allocation,
    pub audit: Audit,
    pub access: Access,
    /// Where the values came from, for people.
    #[serde(skip)]
    pub origin: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// `sqlite:FILE`, relative to the data directory.
    pub url: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fhir {
    pub base_url: Option<String>,
    /// `auto`, `R4`, `R4B` or `R5`.
    pub release: String,
    pub auth: Auth,
    /// A further certificate authority, PEM.
    pub ca_file: Option<PathBuf>,
    /// Plain HTTP to another host than this one. For closed test networks.
    pub allow_plain_http: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// `none`, `basic`, `bearer` or `smart-backend`.
    pub kind: String,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    /// Only from the environment: a file that is handed around holds no secret.
    #[serde(skip)]
    pub password: Option<Secret>,
    #[serde(skip)]
    pub token: Option<Secret>,
    /// SMART Backend Services: as registered with the authorisation server.
    pub client_id: Option<String>,
    pub token_url: Option<String>,
    /// The private key that signs for this client: PKCS#8 PEM, RSA or P-384, mode 0600.
    pub key_file: Option<PathBuf>,
    /// `kid`, where several keys are registered.
    pub key_id: Option<String>,
    /// Scopes, separated by spaces.
    pub scope: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pull {
    pub cohort: String,
    /// Seconds, minutes, hours, day of month, month, day of week.
    pub schedule: String,
    pub page_size: u32,
    pub max_concurrent: usize,
    pub overlap_minutes: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Writeback {
    pub enabled: bool,
    /// What the hospital is told of the arm, if that is less than the trial allows. None: what the trial
    /// allows.
    #[serde(deserialize_with = "disclosure")]
    pub arm: Option<Disclosure>,
    /// Keep screening states on the ResearchSubject as well.
    pub screening: bool,
    /// Write the scores of randomized participants as Observations.
    pub scores: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    pub listen: String,
    pub ops_listen: String,
    /// Names, besides this machine's own, that a listener on a loopback address answers for.
    pub hosts: Vec<String>,
}

/// What hospitals may send here over HTTP, and who may.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Push {
    pub enabled: bool,
    /// Where hospital systems reach this program, such as `https://trial.hospital.example`: the
    /// endpoint of a Subscription is this with `/hook/{id}` behind it.
    pub public_url: Option<String>,
    /// An address of its own. Without one, what is pushed comes in where the pages are.
    pub listen: Option<String>,
    /// `none`, `bearer`, `jwt` or `certificate`.
    pub auth: String,
    /// PEM, for the address of its own.
    pub tls_cert_file: Option<PathBuf>,
    /// PEM, mode 0600.
    pub tls_key_file: Option<PathBuf>,
    /// PEM. With it, nobody connects without a certificate of this authority.
    pub client_ca_file: Option<PathBuf>,
    /// Requests a second of one caller; 0 is no limit.
    pub max_per_second: u32,
    /// Whose numbering of ids the resources have; `fhir.base_url` if it is not said.
    pub source: Option<String>,
    /// Refuse types of resources that nothing here uses, instead of ignoring them.
    pub strict: bool,
    pub client: Vec<Client>,
    pub jwt: Jwt,
}

/// A sender with a token of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub name: String,
    pub token_file: PathBuf,
}

/// Access tokens of an authorisation server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// `iss`, exactly.
    pub issuer: Option<String>,
    /// `aud`, exactly.
    pub audience: Option<String>,
    pub jwks_file: Option<PathBuf>,
    pub jwks_url: Option<String>,
    /// A token that ends later is refused.
    pub max_lifetime_minutes: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mllp {
    /// None: nothing listens.
    pub listen: Option<String>,
    /// Certificate chain and private key, PEM. Both or neither.
    pub tls_cert_file: Option<PathBuf>,
    pub tls_key_file: Option<PathBuf>,
    /// Nobody sends without a certificate of this authority, PEM.
    pub client_ca_file: Option<PathBuf>,
    /// Who may send. Empty: this machine only, or whoever holds a client certificate.
    #[serde(deserialize_with = "network::list")]
    pub allow: Vec<Network>,
    /// `accept` or `strict`: how a message that was stored but cannot be mapped is answered.
    pub mode: String,
    pub max_connections: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Subscription {
    /// Asked of the server; after three periods without a word it counts as silent.
    pub heartbeat_seconds: u32,
    /// How long a missing event is waited for before it is asked for.
    pub grace_seconds: u32,
    /// A Subscription without heartbeats that is silent for longer is not trusted: what changed is
    /// pulled. 0: never.
    pub silent_after_minutes: u32,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Allocation {
    /// The key that opens the sealed list: 64 hexadecimal digits, outside the data directory.
    pub key_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Where the end of the audit log is written down, outside the data directory.
    pub anchor_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: "/var/lib/trialbridge".into(),
            trial: None,
            environment: "production".into(),
            site: None,
            store: Store::default(),
            fhir: Fhir::default(),
            pull: Pull::default(),
            writeback: Writeback::default(),
            serve: Serve::default(),
            mllp: Mllp::default(),
            push: Push::default(),
            subscription: Subscription::default(),
            allocation: Allocation::default(),
            audit: Audit::default(),
            access: Access::default(),
            origin: "defaults".into(),
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Store { url: "sqlite:trialbridge.db".into() }
    }
}

impl Default for Fhir {
    fn default() -> Self {
        Fhir {
            base_url: None,
            release: "auto".into(),
            auth: Auth::default(),
            ca_file: None,
            allow_plain_http: false,
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Auth {
            kind: "none".into(),
            user: None,
            password_file: None,
            token_file: None,
            password: None,
            token: None,
            client_id: None,
            token_url: None,
            key_file: None,
            key_id: None,
            scope: DEFAULT_SCOPE.into(),
        }
    }
}

impl Default for Pull {
    fn default() -> Self {
        Pull {
            cohort: "all".into(),
            schedule: "0 */15 * * * *".into(),
            page_size: 200,
            max_concurrent: 4,
            overlap_minutes: 15,
        }
    }
}

impl Default for Writeback {
    fn default() -> Self {
        Writeback { enabled: true, arm: None, screening: false, scores: true }
    }
}

impl Writeback {
    /// What the hospital is told, where the trial allows this: whichever is stricter.
    pub fn disclosure(&self, allowed: Disclosure) -> Disclosure {
        match self.arm {
            Some(arm) if strictness(arm) > strictness(allowed) => arm,
            _ => allowed,
        }
    }
}

/// The less is told, the more.
pub fn strictness(disclosure: Disclosure) -> u8 {
    match disclosure {
        Disclosure::Disclose => 0,
        Disclosure::Code => 1,
        Disclosure::Withhold => 2,
    }
}

/// As it is written.
pub fn word(disclosure: Disclosure) -> &'static str {
    match disclosure {
        Disclosure::Disclose => "disclose",
        Disclosure::Code => "code",
        Disclosure::Withhold => "withhold",
    }
}

fn disclosure<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Disclosure>, D::Error> {
    let text = String::deserialize(from)?;
    let all = [Disclosure::Disclose, Disclosure::Code, Disclosure::Withhold];
    all.into_iter().find(|d| word(*d) == text).map(Some).ok_or_else(|| {
        let allowed = all.map(word).join(", ");
        serde::de::Error::custom(format!("writeback.arm is `{text}`; allowed: {allowed}"))
    })
}

impl Default for Mllp {
    fn default() -> Self {
        Mllp {
            listen: None,
            tls_cert_file: None,
            tls_key_file: None,
            client_ca_file: None,
            allow: Vec::new(),
            mode: "accept".into(),
            max_connections: 64,
        }
    }
}

impl Mllp {
    /// May this peer connect?
    pub fn lets_in(&self, peer: IpAddr) -> bool {
        if self.allow.is_empty() {
            return self.client_ca_file.is_some() || peer.to_canonical().is_loopback();
        }
        self.allow.iter().any(|n| n.holds(peer))
    }

    /// Whether it is said who may send to an address that other machines reach.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn is_guarded(&self, listen: SocketAddr) -> Result<(), String> {
        if listen.ip().to_canonical().is_loopback() || !self.allow.is_empty() || self.client_ca_file.is_some()
        {
            return Ok(());
        }
        Err(format!(
            "mllp.listen {listen} is reached by other machines, and nothing says who may send: set \
             mllp.allow, or mllp.client_ca_file for client certificates"
        ))
    }

    fn check(&self) -> Result<(), String> {
        if self.tls_cert_file.is_some() != self.tls_key_file.is_some() {
            return Err("mllp.tls_cert_file and mllp.tls_key_file go together".into());
        }
        if self.client_ca_file.is_some() && self.tls_cert_file.is_none() {
            return Err("mllp.client_ca_file needs mllp.tls_cert_file and mllp.tls_key_file".into());
        }
        if self.max_connections == 0 {
            return Err("mllp.max_connections is at least 1".into());
        }
        // A name is looked at when it is bound.
        match self.listen.as_deref().map(str::parse) {
            Some(Ok(address)) => self.is_guarded(address),
            _ => Ok(()),
        }
    }
}

impl Default for Subscription {
    fn default() -> Self {
        Subscription { heartbeat_seconds: 60, grace_seconds: 30, silent_after_minutes: 60 }
    }
}

impl Default for Serve {
    fn default() -> Self {
        Serve { listen: "127.0.0.1:8080".into(), ops_listen: "127.0.0.1:9090".into(), hosts: Vec::new() }
    }
}

impl Default for Push {
    fn default() -> Self {
        Push {
            enabled: true,
            public_url: None,
            listen: None,
            auth: "none".into(),
            tls_cert_file: None,
            tls_key_file: None,
            client_ca_file: None,
            max_per_second: 1000,
            source: None,
            strict: false,
            client: Vec::new(),
            jwt: Jwt::default(),
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Jwt { issuer: None, audience: None, jwks_file: None, jwks_url: None, max_lifetime_minutes: 60 }
    }
}

/// What is wrong with the configuration, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub place: String,
    pub text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

impl std::error::Error for ConfigError {}

/// What a client of SMART Backend Services asks for by default: to read and search everything.
pub const DEFAULT_SCOPE: &str = "system/*.rs";

const SYSTEM_FILE: &str = "/etc/trialbridge/trialbridge.toml";
const PREFIX: &str = "TRIALBRIDGE_";
/// Environment twins of flags, which are not keys of the file.
const FLAGS: [&str; 9] = [
    "CONFIG",
    "OUTPUT",
    "QUIET",
    "VERBOSE",
    "NO_PROGRESS",
    "COLOR",
    "PASSWORD",
    "NEW_PASSWORD",
    "PASSWORD_FILE",
];
/// Secrets that may stand in the environment, and nowhere in a file.
const SECRETS: [&str; 2] = ["FHIR__AUTH__PASSWORD", "FHIR__AUTH__TOKEN"];

impl Config {
    /// Loads the named file, else the system's if there is one, and lays the environment over it.
    pub fn load(
        named: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let path = match named {
            Some(path) => Some(path.to_owned()),
            None => Some(PathBuf::from(SYSTEM_FILE)).filter(|p| p.is_file()),
        };
        let text = match &path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|e| ConfigError { place: path.display().to_string(), text: e.to_string() })?,
            None => String::new(),
        };
        let name = path.as_ref().map_or_else(|| "defaults".to_owned(), |p| p.display().to_string());
        let mut config = Config::read(&name, &text, environment)?;
        // Paths in a file are relative to the file.
        if let Some(folder) = path.as_deref().and_then(Path::parent) {
            config.data_dir = folder.join(&config.data_dir);
            for path in [
                &mut config.trial,
                &mut config.site,
                &mut config.allocation.key_file,
                &mut config.audit.anchor_file,
                &mut config.fhir.ca_file,
                &mut config.fhir.auth.password_file,
                &mut config.fhir.auth.token_file,
                &mut config.fhir.auth.key_file,
                &mut config.push.tls_cert_file,
                &mut config.push.tls_key_file,
                &mut config.push.client_ca_file,
                &mut config.push.jwt.jwks_file,
                &mut config.mllp.tls_cert_file,
                &mut config.mllp.tls_key_file,
                &mut config.mllp.client_ca_file,
                &mut config.access.oidc.client_secret_file,
                &mut config.access.oidc.ca_file,
            ]
            .into_iter()
            .flatten()
            .chain(config.push.client.iter_mut().map(|client| &mut client.token_file))
            {
                *path = folder.join(&*path);
            }
        }
        Ok(config)
    }

    /// Names, besides this machine's own, that the listeners answer for.
    pub fn hosts(&self) -> Vec<String> {
        let public = self.push.public_url.as_deref().and_then(|text| url::Url::parse(text).ok());
        let host = public.as_ref().and_then(url::Url::host_str).map(str::to_owned);
        self.serve.hosts.iter().cloned().chain(host).collect()
    }

    /// Reads a configuration from a text; `name` is used in errors.
    pub fn read(
        name: &str,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let wrong = |error: toml::de::Error| ConfigError {
            place: match error.span() {
                Some(span) => crate::protocol::document::place(name, text, span.start),
                None => name.to_owned(),
            },
            text: error.message().replace('\n', " "),
        };
        // Once as written, so that a mistake has its line.
        toml::from_str::<Config>(text).map_err(wrong)?;
        let mut table: toml::Table = toml::from_str(text).map_err(wrong)?;
        let (mut overlaid, mut secrets) = (0, Vec::new());
        let mut variables: Vec<_> = environment.into_iter().filter(|(k, _)| k.starts_with(PREFIX)).collect();
        variables.sort();
        for (key, value) in variables {
            let rest = &key[PREFIX.len()..];
            if FLAGS.contains(&rest) {
                continue;
            }
            overlaid += 1;
            if SECRETS.contains(&rest) {
                let text = value.trim_end_matches(['\r', '\n']);
                if text.is_empty() {
                    return Err(ConfigError {
                        place: key,
                        text: "it is empty, a secret was expected".into(),
                    });
                }
                secrets.push((rest.to_owned(), Secret::new(text.to_owned())));
                continue;
            }
            let path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
            table = overlaid_with(&table, &path, &value)
                .map_err(|e| ConfigError { place: key, text: e.message().replace('\n', " ") })?;
        }
        let mut config: Config = table.try_into().map_err(wrong)?;
        for (name, secret) in secrets {
            match name.as_str() {
                "FHIR__AUTH__PASSWORD" => config.fhir.auth.password = Some(secret),
                _ => config.fhir.auth.token = Some(secret),
            }
        }
        config.origin = match overlaid {
            0 => name.to_owned(),
            n => format!("{name}, {n} from the environment"),
        };
        config.check(name)?;
        Ok(config)
    }

    fn check(&self, name: &str) -> Result<(), ConfigError> {
        let wrong = |text: String| Err(ConfigError { place: name.to_owned(), text });
        let one_of = |key: &str, value: &str, allowed: &[&str]| {
            if allowed.contains(&value) {
                return Ok(());
            }
            wrong(format!("{key} is `{value}`; allowed: {}", allowed.join(", ")))
        };
        one_of("fhir.release", &self.fhir.release, &["auto", "R4", "R4B", "R5"])?;
        one_of("fhir.auth.kind", &self.fhir.auth.kind, &["none", "basic", "bearer", "smart-backend"])?;
        one_of("push.auth", &self.push.auth, &["none", "bearer", "jwt", "certificate"])?;
        one_of("environment", &self.environment, &["production", "test", "demo"])?;
        one_of("mllp.mode", &self.mllp.mode, &["accept", "strict"])?;
        if let Err(text) = self.mllp.check() {
            return wrong(text);
        }
        if !self.store.url.starts_with("sqlite:") {
            return wrong("store.url: this version keeps its store in `sqlite:FILE`".into());
        }
        if self.pull.page_size == 0 || self.pull.max_concurrent == 0 {
            return wrong("pull.page_size and pull.max_concurrent are at least 1".into());
        }
        if self.subscription.heartbeat_seconds == 0 {
            return wrong("subscription.heartbeat_seconds is at least 1".into());
        }
        Ok(())
    }
}

/// The table with one variable laid over it. A value that looks like a number or a boolean is one
/// where the key takes one, and a text where the key takes a text: a user may be called `1234`.
fn overlaid_with(
    table: &toml::Table,
    path: &[String],
    value: &str,
) -> Result<toml::Table, Box<toml::de::Error>> {
    let plain = if let Ok(yes) = value.parse::<bool>() {
        toml::Value::Boolean(yes)
    } else if let Ok(number) = value.parse::<i64>() {
        toml::Value::Integer(number)
    } else {
        toml::Value::String(value.to_owned())
    };
    let with = |value: toml::Value| {
        let mut table = table.clone();
        overlay(&mut table, path, value);
        table.clone().try_into::<Config>().map(|_| table).map_err(Box::new)
    };
    with(plain).or_else(|first| with(toml::Value::String(value.to_owned())).map_err(|_| first))
}

fn overlay(table: &mut toml::Table, path: &[String], value: toml::Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, rest @ ..] => {
            let entry =
                table.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = entry {
                overlay(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn environment_lies_over_the_file_over_the_defaults() {
        let text = "[fhir]\nbase_url = \"http://a/fhir\"\n[pull]\npage_size = 50\n";
        let env = environment(&[
            ("TRIALBRIDGE_PULL__PAGE_SIZE", "70"),
            ("TRIALBRIDGE_DATA_DIR", "/d"),
            ("PATH", "x"),
        ]);
        let config = Config::read("c.toml", text, env).expect("good");
        assert_eq!(config.fhir.base_url.as_deref(), Some("http://a/fhir"));
        assert_eq!(config.pull.page_size, 70);
        assert_eq!(config.data_dir, PathBuf::from("/d"));
        assert_eq!(config.pull.max_concurrent, 4);
        assert_eq!(config.origin, "c.toml, 2 from the environment");
    }

    #[test]
    fn a_text_may_look_like_a_number_and_a_secret_never_shows() {
        let env = environment(&[
            ("TRIALBRIDGE_FHIR__AUTH__USER", "1234"),
            ("TRIALBRIDGE_FHIR__AUTH__PASSWORD", "canary"),
            ("TRIALBRIDGE_FHIR__AUTH__KIND", "basic"),
        ]);
        let config = Config::read("c.toml", "", env).expect("good");
        assert_eq!(config.fhir.auth.user.as_deref(), Some("1234"));
        assert_eq!(config.fhir.auth.password.as_ref().map(Secret::expose), Some("canary"));
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn who_may_send_is_this_machine_unless_it_is_said() {
        let guarded = "listen = \"0.0.0.0:2575\"\ntls_cert_file = \"c\"\ntls_key_file = \"k\"\nclient_ca_file = \"a\"\n";
        #[rustfmt::skip]
        let table: &[(&str, &str, &str, bool)] = &[
            ("",                                                       "", "127.0.0.1",         true),
            ("",                                                       "", "::1",               true),
            ("",                                                       "", "::ffff:127.0.0.1",  true),
            ("",                                                       "", "10.1.4.7",          false),
            ("listen = \"127.0.0.1:2575\"\n",                          "", "10.1.4.7",          false),
            ("listen = \"0.0.0.0:2575\"\nallow = [\"10.1.4.0/24\"]\n", "", "10.1.4.7",          true),
            ("listen = \"0.0.0.0:2575\"\nallow = [\"10.1.4.0/24\"]\n", "", "127.0.0.1",         false),
            ("",                              "10.1.4.7, fd00::/8,",       "fd00::1",           true),
            ("",                              "10.1.4.7",                  "10.1.4.7",          true),
            (guarded,                                                  "", "10.1.4.7",          true),
            (guarded,                         "10.1.5.0/24",               "10.1.4.7",          false),
        ];
        for (text, variable, peer, expected) in table {
            let env = [("TRIALBRIDGE_MLLP__ALLOW", *variable)];
            let env = environment(if variable.is_empty() { &[] } else { &env });
            let config = Config::read("c.toml", &format!("[mllp]\n{text}"), env).expect("good");
            assert_eq!(config.mllp.lets_in(peer.parse().expect("an address")), *expected, "{text} {peer}");
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        for (text, env, place) in [
            ("data_dir = \"/d\"\n[pull]\nschedul = \"x\"\n", vec![], "c.toml:3"),
            ("[fhir\n", vec![], "c.toml:1"),
            ("", vec![("TRIALBRIDGE_FHIR__BASEURL", "x")], "TRIALBRIDGE_FHIR__BASEURL"),
            ("", vec![("TRIALBRIDGE_PULL__PAGE_SIZE", "many")], "TRIALBRIDGE_PULL__PAGE_SIZE"),
            ("", vec![("TRIALBRIDGE_FHIR__AUTH__TOKEN", "")], "TRIALBRIDGE_FHIR__AUTH__TOKEN"),
            ("[fhir.auth]\ntoken = \"canary\"\n", vec![], "c.toml:2"),
            ("[fhir]\nrelease = \"R3\"\n", vec![], "c.toml"),
            ("[writeback]\narm = \"show\"\n", vec![], "c.toml:2"),
            ("environment = \"live\"\n", vec![], "c.toml"),
            ("", vec![("TRIALBRIDGE_WRITEBACK__ARM", "all")], "TRIALBRIDGE_WRITEBACK__ARM"),
            ("[push]\nauth = \"basic\"\n", vec![], "c.toml"),
            ("[[push.client]]\nname = \"lab\"\ntoken = \"canary\"\n", vec![], "c.toml:3"),
            ("[mllp]\nlisten = \"0.0.0.0:2575\"\n", vec![], "c.toml"),
            ("[mllp]\nlisten = \"[::]:2575\"\n", vec![], "c.toml"),
            ("[mllp]\nallow = [\"lis.example\"]\n", vec![], "c.toml:2"),
            ("[mllp]\nmode = \"lenient\"\n", vec![], "c.toml"),
            ("[mllp]\ntls_cert_file = \"c.pem\"\n", vec![], "c.toml"),
            ("[mllp]\nclient_ca_file = \"c.pem\"\n", vec![], "c.toml"),
            ("[mllp]\nmax_connections = 0\n", vec![], "c.toml"),
            ("", vec![("TRIALBRIDGE_MLLP__ALLOW", "10.1.4.0/40")], "TRIALBRIDGE_MLLP__ALLOW"),
        ] {
            let error = Config::read("c.toml", text, environment(&env)).expect_err("bad");
            assert_eq!(error.place, place, "{text}");
        }
    }
}
