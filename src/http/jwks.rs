//! Where the keys come from that access tokens are checked with: a file, or an address that is asked
//! seldom. Never an address that a token names.

use super::jwt::{Expected, Keys, TokenError, verify};
use crate::config::ConfigError;
use chrono::Utc;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

const MAX_SET_BYTES: usize = 256 << 10;
const TIMEOUT: Duration = Duration::from_secs(10);
/// Whatever tokens ask for: no more often.
const AT_MOST_EVERY: Duration = Duration::from_secs(60);
/// Keys that the server has withdrawn are forgotten after this.
const FRESH: Duration = Duration::from_secs(3600);
/// Where the server does not answer, its last keys are trusted for so long.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The keys of one authorisation server, and what its access tokens have to say.
pub struct KeySource {
    expected: Expected,
    keys: KeySet,
}

/// The keys of one server: from a file, or fetched when they are needed and not too often.
pub struct KeySet {
    held: RwLock<Option<Held>>,
    fetched: Option<Fetched>,
}

#[derive(Clone)]
struct Held {
    keys: Arc<Keys>,
    since: Instant,
}

struct Fetched {
    url: Url,
    http: reqwest::Client,
    /// When the server was last asked. Held while it is.
    asked: Mutex<Option<Instant>>,
}

/// Why a token's client is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The fixed word is for the log.
    Invalid(&'static str),
    /// There are no keys to check it with: not the sender's fault.
    NoKeys,
}

impl KeySource {
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn from_file(path: &Path, expected: Expected) -> Result<KeySource, String> {
        let text = std::fs::read(path).map_err(|e| format!("{}: cannot be read: {e}", path.display()))?;
        let keys = Keys::from_json(&text).map_err(|reason| format!("{}: {reason}", path.display()))?;
        let held = Held { keys: Arc::new(keys), since: Instant::now() };
        Ok(KeySource { expected, keys: KeySet { held: RwLock::new(Some(held)), fetched: None } })
    }

    /// Keys that are fetched with the first token. `address` was checked with the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] where the address or the program's own TLS cannot be used.
    pub fn from_url(address: &str, expected: Expected) -> Result<KeySource, ConfigError> {
        let wrong = |text: String| ConfigError { place: "push.jwt.jwks_url".into(), text };
        let url = Url::parse(address).map_err(|e| wrong(e.to_string()))?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(KeySource { expected, keys: KeySet::from_url(url, http) })
    }

    /// The name of a token's client.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn client(&self, token: &str) -> Result<String, KeyError> {
        self.keys.check(|keys| verify(token, keys, &self.expected, Utc::now().timestamp())).await
    }
}

impl KeySet {
    /// Keys that are fetched from `url` with the first token, by a client that follows no redirect.
    pub fn from_url(url: Url, http: reqwest::Client) -> KeySet {
        KeySet { held: RwLock::new(None), fetched: Some(Fetched { url, http, asked: Mutex::new(None) }) }
    }

    /// Checks a token with these keys; once more with newer ones where it names one that is not known.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn check<T>(&self, token: impl Fn(&Keys) -> Result<T, TokenError>) -> Result<T, KeyError> {
        let mut held = self.held();
        if self.fetched.is_some() && held.as_ref().is_none_or(|held| held.since.elapsed() > FRESH) {
            held = self.refreshed().await;
        }
        let keys = held.ok_or(KeyError::NoKeys)?.keys;
        let outcome = match token(&keys) {
            Err(TokenError::UnknownKey) if self.fetched.is_some() => {
                let keys = self.refreshed().await.ok_or(KeyError::NoKeys)?.keys;
                token(&keys)
            }
            outcome => outcome,
        };
        outcome.map_err(|error| match error {
            TokenError::Invalid(rule) => KeyError::Invalid(rule),
            TokenError::UnknownKey => KeyError::Invalid("unknown-key"),
        })
    }

    fn held(&self) -> Option<Held> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner).clone();
        held.filter(|held| self.fetched.is_none() || held.since.elapsed() < STALE)
    }

    /// The keys, asked for again if that is not too soon.
    async fn refreshed(&self) -> Option<Held> {
        if let Some(fetched) = &self.fetched {
            let mut asked = fetched.asked.lock().await;
            if asked.is_none_or(|at| at.elapsed() >= AT_MOST_EVERY) {
                *asked = Some(Instant::now());
                match fetched.get().await {
                    Ok(keys) => {
                        let new = Held { keys: Arc::new(keys), since: Instant::now() };
                        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(new);
                    }
                    Err(reason) => tracing::warn!(event = "auth.keys.failed", reason),
                }
            }
        }
        self.held()
    }
}

impl Fetched {
    async fn get(&self) -> Result<Keys, &'static str> {
        let unreachable = |_| "the server does not answer";
        let mut answer = self.http.get(self.url.clone()).send().await.map_err(unreachable)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err("the server answered with another status than 200");
        }
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if text.len() + piece.len() > MAX_SET_BYTES {
                return Err("the answer is too large for a JWK set");
            }
            text.extend_from_slice(&piece);
        }
        Keys::from_json(&text)
    }
}
