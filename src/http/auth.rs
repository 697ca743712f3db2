//! Who is calling: decided from the head of a request, before a byte of its body is read.
//!
//! Tokens are compared in constant time and stand in no log, no error and no answer.

use super::jwks::{KeyError, KeySource};
use super::jwt::Expected;
use super::listener::Peer;
use super::strict;
use crate::config::{ConfigError, Push};
use crate::secret::Secret;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use orion::util::secure_cmp;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Who was let in. In the extensions of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub name: Arc<str>,
}

/// How callers show who they are.
pub enum Authenticator {
    /// They do not. Only on an address that nobody else reaches.
    None,
    /// Named tokens, each from its file.
    Bearer(Vec<(Arc<str>, Secret)>),
    Jwt(Box<KeySource>),
    /// The certificate that the TLS handshake asked for is enough.
    Certificate,
}

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// Nothing shows who is calling.
    Missing,
    /// What was shown does not count. The fixed word is for the log.
    Invalid(&'static str),
    /// It cannot be checked at the moment.
    Unavailable,
}

impl AuthError {
    pub fn status(self) -> StatusCode {
        match self {
            AuthError::Missing | AuthError::Invalid(_) => StatusCode::UNAUTHORIZED,
            AuthError::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Fixed word for programs.
    pub fn code(self) -> &'static str {
        match self {
            AuthError::Missing => "token-missing",
            AuthError::Invalid(_) => "invalid-token",
            AuthError::Unavailable => "keys-unavailable",
        }
    }

    /// For who is calling: which rule a token broke is not said.
    pub fn sentence(self) -> &'static str {
        match self {
            AuthError::Missing => "Nothing shows who is calling. Send `Authorization: Bearer` with a token.",
            AuthError::Invalid(_) => "The token is not accepted. Ask for a new one, for this service.",
            AuthError::Unavailable => {
                "The token cannot be checked just now: the keys of its issuer cannot be fetched. Try again."
            }
        }
    }
}

impl Authenticator {
    /// Reads tokens and keys as `[push]` says. What the keys may be was checked by
    /// [`Push::validate`](crate::config::Push::validate).
    ///
    /// # Errors
    /// Which file or value cannot be used.
    pub fn from_config(push: &Push) -> Result<Authenticator, ConfigError> {
        let wrong = |place: &str, text: String| ConfigError { place: place.to_owned(), text };
        let missing = |place: &str| wrong(place, "it is missing".into());
        match push.auth.as_str() {
            "none" => Ok(Authenticator::None),
            "certificate" => Ok(Authenticator::Certificate),
            "bearer" => {
                let mut clients = Vec::with_capacity(push.client.len());
                for client in &push.client {
                    let token = Secret::from_file(&client.token_file)
                        .map_err(|e| wrong("push.client.token_file", e))?;
                    clients.push((Arc::from(client.name.as_str()), token));
                }
                Ok(Authenticator::Bearer(clients))
            }
            "jwt" => {
                let expected = Expected {
                    issuer: push.jwt.issuer.clone().ok_or_else(|| missing("push.jwt.issuer"))?,
                    audience: push.jwt.audience.clone().ok_or_else(|| missing("push.jwt.audience"))?,
                    longest: i64::from(push.jwt.max_lifetime_minutes) * 60,
                };
                let keys = match (&push.jwt.jwks_file, &push.jwt.jwks_url) {
                    (Some(file), _) => {
                        KeySource::from_file(file, expected).map_err(|e| wrong("push.jwt.jwks_file", e))?
                    }
                    (None, Some(url)) => KeySource::from_url(url, expected)?,
                    (None, None) => return Err(missing("push.jwt.jwks_file")),
                };
                Ok(Authenticator::Jwt(Box::new(keys)))
            }
            other => Err(wrong("push.auth", format!("`{other}` is not known"))),
        }
    }

    /// Who sends a request with this head. `Ok(None)` where nobody is asked.
    ///
    /// # Errors
    /// [`AuthError`], which is logged and counted here.
    pub async fn caller(
        &self,
        headers: &HeaderMap,
        peer: Option<&Peer>,
    ) -> Result<Option<Caller>, AuthError> {
        let caller = match self {
            Authenticator::None => return Ok(None),
            Authenticator::Certificate => {
                let name = peer.and_then(|peer| peer.certificate.clone());
                name.map(|name| Caller { name }).ok_or(AuthError::Missing)
            }
            Authenticator::Bearer(clients) => bearer(headers).and_then(|token| named(clients, token)),
            Authenticator::Jwt(keys) => match bearer(headers) {
                Ok(token) => {
                    keys.client(token).await.map(|name| Caller { name: name.into() }).map_err(|e| match e {
                        KeyError::Invalid(rule) => AuthError::Invalid(rule),
                        KeyError::NoKeys => AuthError::Unavailable,
                    })
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = &caller {
            let reason = match *error {
                AuthError::Invalid(rule) => rule,
                other => other.code(),
            };
            let peer = peer.map(|peer| peer.address.ip().to_string()).unwrap_or_default();
            metrics::counter!("trialbridge_auth_refused_total", "reason" => reason).increment(1);
            tracing::warn!(event = "auth.refused", reason, peer);
        }
        caller.map(Some)
    }
}

/// The one bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, AuthError> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let first = given.next().ok_or(AuthError::Missing)?;
    if given.next().is_some() {
        return Err(AuthError::Invalid("two-tokens"));
    }
    let text = first.to_str().map_err(|_| AuthError::Invalid("not-a-bearer-token"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let token = token.trim_start_matches(' ');
    // RFC 6750, 2.1: b64token.
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || !token.bytes().all(is_token) {
        return Err(AuthError::Invalid("not-a-bearer-token"));
    }
    Ok(token)
}

/// Looks at every client's token, also behind the one that fits.
fn named(clients: &[(Arc<str>, Secret)], token: &str) -> Result<Caller, AuthError> {
    let mut found = None;
    for (name, expected) in clients {
        if same_secret(token.as_bytes(), expected) {
            found = Some(name);
        }
    }
    found.map(|name| Caller { name: Arc::clone(name) }).ok_or(AuthError::Invalid("unknown-token"))
}

/// Is this the secret? The time it takes says nothing of it, not even its length.
pub fn same_secret(given: &[u8], expected: &Secret) -> bool {
    let [given, expected] = [given, expected.expose().as_bytes()].map(Sha256::digest);
    secure_cmp(&given, &expected).is_ok()
}

/// What a caller gets that is not let in: status and headers. The body, in the words of who answers, goes
/// into it; the [`AuthError`] stands in its extensions.
pub fn refused(error: AuthError, request: &HeaderMap) -> Response {
    let mut response = error.status().into_response();
    let headers = response.headers_mut();
    match error {
        AuthError::Missing => {
            headers
                .insert(WWW_AUTHENTICATE, const { HeaderValue::from_static("Bearer realm=\"trialbridge\"") });
        }
        AuthError::Invalid(_) => {
            const CHALLENGE: &str = "Bearer realm=\"trialbridge\", error=\"invalid_token\"";
            headers.insert(WWW_AUTHENTICATE, const { HeaderValue::from_static(CHALLENGE) });
        }
        AuthError::Unavailable => {
            headers.insert(RETRY_AFTER, const { HeaderValue::from_static("60") });
        }
    }
    if strict::announces_body(request) {
        // Nobody is going to read it.
        headers.insert(CONNECTION, const { HeaderValue::from_static("close") });
    }
    response.extensions_mut().insert(error);
    response
}

/// The layer in front of a router: nobody unknown gets behind it. The [`Caller`] is in the extensions of
/// the request there, unless nobody is asked.
pub async fn require(State(who): State<Arc<Authenticator>>, mut request: Request, next: Next) -> Response {
    match who.caller(request.headers(), request.extensions().get::<Peer>()).await {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(error) => refused(error, request.headers()),
    }
}
