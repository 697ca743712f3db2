//! Access tokens by SMART Backend Services: this program proves with a signed assertion who it is,
//! and gets a token that lives for seconds or minutes.
//!
//! The assertion goes to the configured token endpoint and nowhere else, the token to the configured
//! FHIR base and nowhere else. Neither, nor the key, nor a word of the endpoint's prose, stands in an
//! error, a log line or a `Debug` text.
//!
//! Invariant: a request for a token that fails is [`ServerError::Refused`] with 401 or
//! [`ServerError::Unreachable`], whatever the endpoint answered. Both speak of the connection as a
//! whole. A 404 or 400 of the token endpoint, handed on as such, would be read as "this resource does
//! not exist" or "send it again without the condition".

use super::config::ConfigError;
use super::exchange::{BodyError, read_body, text_of, transport_reason};
use super::retry::{Clock, RetryLimits, backoff_with_jitter, http_date, told_with_jitter};
use super::server::ServerError;
use crate::secret::Secret;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::header::{ACCEPT, DATE, HeaderMap, RETRY_AFTER};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use url::{Host, Url};
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

pub use crate::config::DEFAULT_SCOPE;

/// How long an assertion is valid. Less than the five minutes that are allowed, so that a server
/// whose clock is up to a minute behind ours does not find it too long.
// # Source
// > "exp: Expiration time integer for this authentication JWT, expressed in seconds since the
// > "Epoch" (1970-01-01T00:00:00Z UTC). This time SHALL be no more than five minutes in the future."
// > SMART App Launch 2.2, Client Authentication: Asymmetric
const ASSERTION_SECONDS: i64 = 240;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A token is renewed when a quarter of its life is left, and at most this long before its end.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);

/// Life of a token whose endpoint does not say.
const UNSTATED_LIFETIME: Duration = Duration::from_secs(60);

/// No token is trusted for longer, whatever the endpoint says.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);

const MAX_ANSWER_BYTES: u64 = 256 << 10;

/// A difference of the clocks that is worth a word where an assertion was refused.
const NOTABLE_SKEW_SECONDS: i64 = 30;

/// The error codes that are repeated in messages. Anything else that stands there is prose.
// # Source
// > RFC 6749, 5.2: the values of the "error" parameter
const OAUTH_ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// What was registered with the hospital's authorisation server.
#[derive(Debug, Clone)]
pub struct BackendServices {
    pub client_id: String,
    /// `https://`, or `http://` on this machine. Sent as audience exactly as written here.
    pub token_url: String,
    /// Scopes, separated by spaces.
    pub scope: String,
    /// `kid` of the assertion, where several keys are registered.
    pub key_id: Option<String>,
    pub key: SigningKey,
}

/// A private key that signs assertions with RS384 or ES384.
#[derive(Clone)]
pub struct SigningKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl SigningKey {
    /// Reads a key that nobody but its owner can read.
    ///
    /// # Errors
    /// A sentence that names the file, the cause and the remedy, never the content.
    pub fn from_file(path: &Path) -> Result<SigningKey, String> {
        let pem = crate::secret::private_file(path)?;
        SigningKey::from_pem(&pem).map_err(|reason| format!("{}: {reason}", path.display()))
    }

    /// A key from PKCS#8 PEM. The algorithm is the one that the key can sign with, which is tried.
    ///
    /// # Errors
    /// What kind of key was expected.
    pub fn from_pem(pem: &[u8]) -> Result<SigningKey, &'static str> {
        if !pem.trim_ascii_start().starts_with(b"-----BEGIN PRIVATE KEY-----") {
            return Err("no unencrypted private key in PKCS#8 PEM (`BEGIN PRIVATE KEY`); \
                 `openssl pkcs8 -topk8 -nocrypt` converts others");
        }
        let candidates = [
            (Algorithm::RS384, EncodingKey::from_rsa_pem(pem)),
            (Algorithm::ES384, EncodingKey::from_ec_pem(pem)),
        ];
        candidates
            .into_iter()
            .filter_map(|(algorithm, key)| Some(SigningKey { algorithm, key: key.ok()? }))
            .find(|key| key.sign(&Header::new(key.algorithm), &Claims::default()).is_ok())
            .ok_or("the key is neither RSA of 2048 bits or more (RS384) nor on the curve P-384 (ES384)")
    }

    fn sign(&self, header: &Header, claims: &Claims<'_>) -> jsonwebtoken::errors::Result<String> {
        jsonwebtoken::encode(header, claims, &self.key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [redacted]", self.algorithm)
    }
}

/// No `iat` or `nbf`: neither is asked for, and a server whose clock is behind refuses them.
#[derive(Serialize, Default)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: &'a str,
    exp: i64,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
}

/// An access token.
#[derive(Clone)]
pub(super) struct Token {
    pub text: Secret,
    serial: u64,
    obtained: DateTime<Utc>,
    renew: DateTime<Utc>,
}

impl Token {
    /// A clock that was set back makes a token stale as well: its age is then not known.
    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        self.obtained <= now && now < self.renew
    }
}

/// Where a client gets its access token. One request for a token is under way at a time.
pub(super) struct TokenSource {
    settings: Arc<BackendServices>,
    endpoint: Url,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    retry: RetryLimits,
    /// Held while a token is asked for: whoever else needs one waits here.
    held: tokio::sync::Mutex<Held>,
    /// Requests for a token that have ended, well or not.
    ended: AtomicU64,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// How the latest request for a token failed; `None` if it did not.
    failed: Option<ServerError>,
}

/// One attempt that brought no token.
struct Failure {
    error: ServerError,
    again: bool,
    told: Option<Duration>,
}

impl TokenSource {
    /// # Errors
    /// [`ConfigError`] where the settings cannot work.
    pub fn new(
        settings: Arc<BackendServices>,
        http: reqwest::Client,
        clock: Arc<dyn Clock>,
        retry: RetryLimits,
    ) -> Result<TokenSource, ConfigError> {
        let missing = |key| ConfigError::Value { key, reason: "must not be empty".into() };
        if settings.client_id.is_empty() {
            return Err(missing("fhir.auth.client_id"));
        }
        if settings.scope.trim().is_empty() {
            return Err(missing("fhir.auth.scope"));
        }
        let endpoint = endpoint(&settings.token_url)?;
        let (held, ended) = Default::default();
        Ok(TokenSource { settings, endpoint, http, clock, retry, held, ended })
    }

    /// A token that can be used now: the one at hand, or a new one. Whoever waits while another
    /// asks gets what the other got, be it a token or an error.
    ///
    /// # Errors
    /// [`ServerError::Refused`] with 401 or [`ServerError::Unreachable`].
    pub async fn token(&self) -> Result<Token, ServerError> {
        let before = self.ended.load(Ordering::Acquire);
        let mut held = self.held.lock().await;
        let serial = self.ended.load(Ordering::Acquire);
        let waited = serial != before;
        if let Some(token) = held.token.as_ref().filter(|t| waited || t.is_fresh(self.clock.now())) {
            return Ok(token.clone());
        }
        if let Some(error) = held.failed.as_ref().filter(|_| waited) {
            return Err(error.clone());
        }
        *held = Held::default();
        let outcome = self.obtain(serial).await;
        match &outcome {
            Ok(token) => held.token = Some(token.clone()),
            Err(error) => {
                tracing::warn!(event = "fhir.token.failed", error = %error);
                held.failed = Some(error.clone());
            }
        }
        self.ended.fetch_add(1, Ordering::AcqRel);
        outcome
    }

    /// Forgets a token that the FHIR server did not accept, unless there is a newer one already.
    pub async fn reject(&self, token: &Token) {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_some_and(|t| t.serial == token.serial) {
            held.token = None;
        }
    }

    async fn obtain(&self, serial: u64) -> Result<Token, ServerError> {
        let mut backoff = self.retry.backoff();
        loop {
            let failure = match self.attempt(serial).await {
                Ok(token) => return Ok(token),
                Err(failure) => failure,
            };
            let step = if failure.again { backoff.next() } else { None };
            let Some(step) = step else { return Err(failure.error) };
            let wait = match failure.told {
                Some(told) => told_with_jitter(told, self.clock.fraction()),
                None => backoff_with_jitter(step, self.clock.fraction()),
            };
            tracing::debug!(event = "fhir.token.repeat", error = %failure.error, wait_ms = wait.as_millis() as u64);
            self.clock.sleep(wait).await;
        }
    }

    async fn attempt(&self, serial: u64) -> Result<Token, Failure> {
        // The token's life is counted from before it was asked for: never too long.
        let asked = self.clock.now();
        let assertion = self.assertion(asked).map_err(|reason| unusable(reason, false))?;
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", self.settings.scope.as_str()),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
        ];
        let request = self.http.post(self.endpoint.clone()).header(ACCEPT, "application/json").form(&form);
        let response = request.send().await;
        let code = response.as_ref().map_or("none".to_owned(), |r| r.status().as_u16().to_string());
        metrics::counter!("trialbridge_remote_requests_total", "source" => "token", "code" => code)
            .increment(1);
        let response = response.map_err(|e| unusable(transport_reason(&e), true))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = match read_body(response, MAX_ANSWER_BYTES).await {
            Ok(body) => Zeroizing::new(body),
            Err(BodyError::TooLarge) => return Err(unusable("the answer is too large for a token", false)),
            Err(BodyError::Cut(reason)) => {
                return Err(unusable(format!("the body was cut short: {reason}"), true));
            }
        };
        match status {
            200..=299 => {
                let (text, lifetime) = read_token(&body).map_err(|reason| unusable(reason, false))?;
                tracing::debug!(event = "fhir.token.obtained", lifetime_s = lifetime.as_secs());
                let life = lifetime - (lifetime / 4).min(LONGEST_MARGIN);
                // Both are at most a day, which a date of this age can hold.
                let renew = asked + TimeDelta::from_std(life).unwrap_or_default();
                Ok(Token { text, serial, obtained: asked, renew })
            }
            400 | 401 | 403 => {
                Err(Failure { error: self.refused(status, &headers, &body), again: false, told: None })
            }
            300..=399 => Err(unusable(
                format!(
                    "status {status}; redirects are not followed, set fhir.auth.token_url to the final address"
                ),
                false,
            )),
            429 | 502..=504 => {
                let told = text_of(&headers, RETRY_AFTER.as_str())
                    .and_then(|text| self.retry.retry_after(text, self.clock.now()));
                Err(Failure { told, ..unusable(format!("status {status}"), true) })
            }
            _ => Err(unusable(format!("status {status}; check fhir.auth.token_url"), false)),
        }
    }

    // # Source
    // > "iss: Issuer of the JWT -- the client's client_id", "sub: The client's client_id", "aud: The
    // > FHIR authorization server's "token URL" (the same URL to which this authentication JWT will be
    // > posted)", "jti: A nonce string value that uniquely identifies this authentication JWT."
    // > SMART App Launch 2.2, Client Authentication: Asymmetric
    fn assertion(&self, now: DateTime<Utc>) -> Result<Zeroizing<String>, &'static str> {
        let mut nonce = [0u8; 16];
        getrandom::fill(&mut nonce).map_err(|_| "this machine gives no random bytes; nothing was sent")?;
        let settings = &self.settings;
        let mut header = Header::new(settings.key.algorithm);
        header.kid.clone_from(&settings.key_id);
        let claims = Claims {
            iss: &settings.client_id,
            sub: &settings.client_id,
            aud: settings.token_url.trim(),
            jti: &crate::protocol::document::hex(&nonce),
            exp: now.timestamp() + ASSERTION_SECONDS,
        };
        let signed = settings.key.sign(&header, &claims);
        signed.map(Zeroizing::new).map_err(|_| "the assertion could not be signed; nothing was sent")
    }

    /// 401 whatever the endpoint's own status: it is the whole connection that is not permitted.
    fn refused(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> ServerError {
        let given = serde_json::from_slice::<ErrorAnswer>(body).ok();
        let code = given.and_then(|given| OAUTH_ERRORS.into_iter().find(|known| *known == given.error));
        let mut text = match code {
            Some(code) => format!("token endpoint ({code}"),
            None => format!("token endpoint (status {status}"),
        };
        let theirs = text_of(headers, DATE.as_str()).and_then(http_date);
        if let Some(ahead) = theirs.map(|theirs| (self.clock.now() - theirs).num_seconds())
            && ahead.abs() >= NOTABLE_SKEW_SECONDS
        {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            text.push_str(&format!("; this machine's clock is {} s {side} the server's", ahead.abs()));
        }
        text.push(')');
        ServerError::Refused { method: "POST", path: text, status: 401 }
    }
}

fn unusable(reason: impl Into<String>, again: bool) -> Failure {
    let error =
        ServerError::Unreachable { method: "POST", path: "token endpoint".into(), reason: reason.into() };
    Failure { error, again, told: None }
}

/// The token and its life in a successful answer.
// # Source
// > "access_token: required", "token_type: required, Fixed value: bearer", "expires_in: required, The
// > lifetime in seconds of the access token."   SMART App Launch 2.2, Backend Services
fn read_token(body: &[u8]) -> Result<(Secret, Duration), &'static str> {
    let answer: TokenAnswer = serde_json::from_slice(body)
        .map_err(|_| "the answer is no token response, perhaps a login page; check fhir.auth.token_url")?;
    let token = Secret::new(answer.access_token.unwrap_or_default());
    let plain = token.expose().bytes().all(|b| b.is_ascii_graphic());
    if token.expose().is_empty() || !plain {
        return Err("the answer holds no access_token that can be sent; check fhir.auth.token_url");
    }
    if !answer.token_type.is_some_and(|t| t.eq_ignore_ascii_case("bearer")) {
        return Err("the token is of another type than `bearer`");
    }
    let stated = answer.expires_in.as_ref().and_then(|stated| match stated {
        // Some servers write the number as a string.
        serde_json::Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    });
    let lifetime = match stated {
        // Not positive, or no number at all: good for the request that waits for it.
        Some(seconds) => {
            Duration::try_from_secs_f64(seconds.min(LONGEST_LIFETIME.as_secs_f64())).unwrap_or_default()
        }
        None => UNSTATED_LIFETIME,
    };
    Ok((token, lifetime))
}

/// The token endpoint's address. Never in clear text over a network: the assertion is a credential.
fn endpoint(text: &str) -> Result<Url, ConfigError> {
    let refuse = |reason: &str| ConfigError::Value { key: "fhir.auth.token_url", reason: reason.to_owned() };
    let url = Url::parse(text.trim()).map_err(|e| refuse(&format!("{e}; an absolute URL is expected")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("holds a user name or password; the signed assertion is the only credential"));
    }
    if url.fragment().is_some() {
        return Err(refuse("holds a fragment; a token endpoint has none"));
    }
    let local = match url.host() {
        None => false,
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if local => Ok(url),
        _ => Err(refuse("credentials are sent by https:// only, or by http:// within this machine")),
    }
}
