//! What the operator decides about the connection to the hospital: where, as whom, and how far.
//!
//! Every limit has a default; no default is "unbounded".

use super::auth::BackendServices;
use super::retry::RetryLimits;
use crate::secret::Secret;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How requests are authorised. Credentials are sent to the configured origin and nowhere else; the
/// assertion of SMART Backend Services to the configured token endpoint and nowhere else.
#[derive(Debug, Clone)]
pub enum Auth {
    None,
    Basic {
        user: String,
        password: Secret,
    },
    Bearer {
        token: Secret,
    },
    /// A short-lived token, obtained with a signed assertion.
    SmartBackend(Arc<BackendServices>),
}

/// The connection to one FHIR server.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The service base, such as `https://fhir.example/r4`.
    pub base_url: String,
    /// Permits `http://` to a host that is not this machine.
    pub allow_plain_http: bool,
    pub auth: Auth,
    /// `_count` of every search.
    pub page_size: u32,
    /// Requests in flight at one time, over all searches of this client.
    pub max_concurrent: usize,
    pub connect_timeout: Duration,
    /// Longest silence while an answer is read.
    pub read_timeout: Duration,
    /// Longest time for one request with its answer.
    pub total_timeout: Duration,
    /// Largest page, after decompression.
    pub max_page_bytes: u64,
    /// Most pages of one search.
    pub max_pages: u32,
    pub retry: RetryLimits,
    /// PEM file with certificates that are trusted in addition to the system's.
    pub root_ca_file: Option<PathBuf>,
    pub user_agent: String,
}

impl ClientConfig {
    /// The defaults for a server at `base_url`, without credentials.
    ///
    /// 10 s to connect, 30 s of silence, 120 s in all; 64 MiB a page, 10,000 pages a search.
    pub fn new(base_url: impl Into<String>) -> ClientConfig {
        ClientConfig {
            base_url: base_url.into(),
            allow_plain_http: false,
            auth: Auth::None,
            page_size: 200,
            max_concurrent: 4,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(120),
            max_page_bytes: 64 << 20,
            max_pages: 10_000,
            retry: RetryLimits::default(),
            root_ca_file: None,
            user_agent: concat!("trialbridge/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// A configuration with which no connection is opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "fhir.base_url is not an absolute http or https URL ({reason}); write it like https://fhir.example/r4"
    )]
    BaseUrl { reason: String },
    #[error("fhir.base_url holds a user name or password; move them to [fhir.auth]")]
    Userinfo,
    #[error("fhir.base_url holds a query or fragment; name the service base only")]
    Query,
    #[error(
        "fhir.base_url is http:// to `{host}`, which is not this machine: patient data and credentials would \
         travel in clear text; use https://, or set fhir.allow_plain_http = true where the network is trusted"
    )]
    PlainHttp { host: String },
    #[error("fhir.root_ca_file {path}: {reason}; a PEM file with at least one certificate is expected")]
    RootCa { path: String, reason: String },
    #[error("{key}: {reason}")]
    Value { key: &'static str, reason: String },
}
