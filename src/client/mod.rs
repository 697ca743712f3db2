//! The HTTP client of a hospital's FHIR server.
//!
//! It speaks to the configured origin, to the configured token endpoint, and to nothing else: redirects are off, proxies from the
//! environment are not used, and every URL is checked before a request leaves. It never puts a
//! search parameter in a URL while the server takes searches by POST, and never repeats a patient's
//! id, a parameter's value or a server's prose in an error or a log line.

pub mod auth;
mod bundle;
mod capability;
pub mod config;
mod exchange;
mod filter;
#[cfg(test)]
pub(crate) mod mock;
mod origin;
mod pages;
pub mod retry;
pub mod server;
#[cfg(test)]
mod tests;
mod verbs;

pub use crate::secret::Secret;
pub use auth::{BackendServices, SigningKey};
pub use bundle::{Bundle, Entry, EntryMode, resource_type};
pub use capability::{Capability, TypeCapability};
pub use config::{Auth, ClientConfig, ConfigError};
pub use filter::matches_filter;
pub use origin::{Base, ForeignLink, is_plain_segment};
pub use pages::{Page, Pages, Warning};
pub use retry::{Clock, RetryLimits, SystemClock};

use auth::TokenSource;
use chrono::{DateTime, Utc};
use exchange::Ask;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use server::ServerError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// FHIR JSON, the one format that is asked for and sent.
pub(crate) const FHIR_JSON: &str = "application/fhir+json";

/// A client of one FHIR server. Cheap to clone; the clones share limits, counts and what was learned
/// about the server.
#[derive(Clone)]
pub struct FhirClient(Arc<Inner>);

struct Inner {
    config: ClientConfig,
    base: Base,
    http: reqwest::Client,
    /// Only where access tokens have to be obtained.
    tokens: Option<TokenSource>,
    clock: Arc<dyn Clock>,
    slots: Semaphore,
    /// No request leaves before this time: the server asked for it with `Retry-After`.
    not_before: Mutex<Option<DateTime<Utc>>>,
    /// The server takes no `POST {type}/_search`.
    search_by_get: AtomicBool,
    /// The server has answered a `POST {type}/_search`.
    search_by_post: AtomicBool,
    server_date: Mutex<Option<DateTime<Utc>>>,
    requests: AtomicU64,
    repeated: AtomicU64,
}

/// What a client has sent so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests sent, repetitions included.
    pub requests: u64,
    /// Of these, repetitions.
    pub retried: u64,
}

impl std::fmt::Debug for FhirClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FhirClient").field("base", &self.base_url()).finish_non_exhaustive()
    }
}

impl FhirClient {
    /// A client with the machine's clock. Opens no connection.
    ///
    /// # Errors
    /// [`ConfigError`] where the base URL, a limit, the root certificates or TLS cannot be used.
    pub fn new(config: ClientConfig) -> Result<FhirClient, ConfigError> {
        FhirClient::with_clock(config, Arc::new(SystemClock))
    }

    /// A client whose waiting and chance are decided by `clock`.
    ///
    /// # Errors
    /// As [`FhirClient::new`].
    pub fn with_clock(config: ClientConfig, clock: Arc<dyn Clock>) -> Result<FhirClient, ConfigError> {
        let base = Base::parse(&config.base_url, config.allow_plain_http)?;
        let positive = |key, n: u64| match n {
            0 => Err(ConfigError::Value { key, reason: "0 would allow nothing; give at least 1".into() }),
            _ => Ok(()),
        };
        positive("pull.page_size", u64::from(config.page_size))?;
        positive("pull.max_concurrent", config.max_concurrent as u64)?;
        positive("fhir.max_pages", u64::from(config.max_pages))?;
        positive("fhir.max_page_bytes", config.max_page_bytes)?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(FHIR_JSON));
        let mut builder = reqwest::Client::builder()
            .user_agent(config.user_agent.as_str())
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.read_timeout)
            .timeout(config.total_timeout);
        if let Some(path) = &config.root_ca_file {
            let failed = |reason: String| ConfigError::RootCa { path: path.display().to_string(), reason };
            let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| failed(innermost(&e)))?;
            if certificates.is_empty() {
                return Err(failed("no certificate found".into()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|e| ConfigError::Value {
            key: "fhir",
            reason: format!("no client: {}", innermost(&e)),
        })?;
        let tokens = match &config.auth {
            Auth::SmartBackend(settings) => {
                Some(TokenSource::new(settings.clone(), http.clone(), clock.clone(), config.retry)?)
            }
            Auth::None | Auth::Basic { .. } | Auth::Bearer { .. } => None,
        };
        let slots = Semaphore::new(config.max_concurrent.min(Semaphore::MAX_PERMITS));
        Ok(FhirClient(Arc::new(Inner {
            config,
            base,
            http,
            tokens,
            clock,
            slots,
            not_before: Mutex::new(None),
            search_by_get: AtomicBool::new(false),
            search_by_post: AtomicBool::new(false),
            server_date: Mutex::new(None),
            requests: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
        })))
    }

    /// The configured base, without a trailing slash.
    pub fn base_url(&self) -> &str {
        self.0.base.as_str()
    }

    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    pub fn counts(&self) -> Counts {
        Counts {
            requests: self.0.requests.load(Ordering::Relaxed),
            retried: self.0.repeated.load(Ordering::Relaxed),
        }
    }

    /// The `Date` header of the latest answer that had one.
    pub fn server_date(&self) -> Option<DateTime<Utc>> {
        *lock(&self.0.server_date)
    }

    /// The time of the client's clock.
    pub fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// The id in a reference to `resource_type`, relative or absolute under the configured base.
    /// `None` for everything else, which is never dereferenced.
    pub fn id_in(&self, reference: &str, resource_type: &str) -> Option<String> {
        self.0.base.id_in(reference, resource_type)
    }

    /// What the server says it can do (`GET metadata`).
    ///
    /// # Errors
    /// [`ServerError`]; `Protocol` with code `not-fhir` where the answer is no CapabilityStatement.
    pub async fn capability(&self) -> Result<Capability, ServerError> {
        let ask = Ask::get(self.url(&["metadata"], "GET", "metadata")?, "metadata".into());
        let answer = self.0.exchange(&ask).await?;
        Capability::parse(&answer.body).ok_or_else(|| ask.not_fhir("the answer is no CapabilityStatement"))
    }

    /// The pages of a search, one at a time, as received.
    pub fn search_pages(&self, resource_type: &str, parameters: Vec<(String, String)>) -> Pages {
        Pages::new(self.clone(), resource_type.to_owned(), parameters, false)
    }

    /// As [`FhirClient::search_pages`], by GET: for parameters that say nothing of a person. The
    /// answer to a GET repeats the parameters that were used; to a POST, many servers' does not.
    pub fn search_pages_in_url(&self, resource_type: &str, parameters: Vec<(String, String)>) -> Pages {
        Pages::new(self.clone(), resource_type.to_owned(), parameters, true)
    }

    fn url(&self, segments: &[&str], method: &'static str, path: &str) -> Result<url::Url, ServerError> {
        self.0.base.under(segments).ok_or_else(|| ServerError::Protocol {
            method,
            path: path.to_owned(),
            code: "invalid-request",
            reason: "the type or id is no FHIR name; nothing was sent".into(),
        })
    }
}

/// The last cause of an error. `reqwest`'s own text is left out: it repeats the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // An error without a source is the outermost one, which may name the URL.
    if std::ptr::eq(cause, error) { "no further cause given".to_owned() } else { cause.to_string() }
}

/// A lock whose holder panicked still guards a plain value that is whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
