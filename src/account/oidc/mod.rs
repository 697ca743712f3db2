//! OpenID Connect: people prove who they are at the hospital's identity provider (authorization code, PKCE,
//! state, nonce), and come back with a role that the configuration reads from one claim.
//!
//! What is asked and what an answer has to say is pure and stands in `asked` and `claims`; this file talks.
//! It talks to the issuer's origin alone, follows no redirect, and takes no address or key from a token.
//!
//! Invariant: an answer counts once, for the browser that asked, within ten minutes, and for the purpose that
//! it was asked for. The provider says who somebody is; whether they may work here is decided here.

mod asked;
mod claims;
#[cfg(test)]
mod tests;

pub use asked::{Metadata, challenge};
pub use claims::Identity;

use super::{Accounts, Denied, LoggedIn, change, hex, random, sha256};
use crate::access::Role;
use crate::config::ConfigError;
use crate::config::access::Oidc;
use crate::http::jwks::{KeyError, KeySet};
use crate::pipeline::{detail, stamp};
use crate::secret::{self, Secret};
use crate::store::{
    Account, AccountChange, AccountOrigin, Authority, NewAccount, NewAudit, OidcRequest, StoreError,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

/// How long somebody may take to come back.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER_BYTES: usize = 256 << 10;
/// The discovery document is read again after this.
const FRESH: Duration = Duration::from_secs(3600);

/// What the identity provider is asked for. Bound to the question, so that an answer serves nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// None: to sign in.
    pub sign: Option<Signing>,
}

/// A signature that the identity provider is asked again for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    pub account: String,
    pub meaning: String,
    /// [`super::Intent::hash`] of what was shown.
    pub record_sha256: String,
}

/// An authentication that was made for one signature. Cannot be copied: it counts once.
pub struct Fresh {
    pub(super) account: String,
    pub(super) meaning: String,
    pub(super) record_sha256: String,
    /// `auth_time`.
    pub(super) at: DateTime<Utc>,
}

/// Where to send a browser, and what it has to keep.
#[derive(Debug)]
pub struct Begun {
    pub url: Url,
    /// For a cookie of its own (`Secure; HttpOnly; SameSite=Lax`, ten minutes): the answer counts only for
    /// the browser that brings it along.
    pub state: Secret,
}

/// Why the identity provider did not say who somebody is. None of them holds what it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// It cannot be reached, or what it answers is not what it should be.
    #[error("the identity provider cannot be used: {0}")]
    Provider(&'static str),
    /// It says no, or the person did.
    #[error("the identity provider did not sign anybody in ({0})")]
    Answer(&'static str),
    /// The fixed word says which rule the ID token breaks.
    #[error("the identity provider's answer does not prove who this is ({0})")]
    Token(&'static str),
    #[error("the machine gives no random bytes; nothing was done")]
    NoEntropy,
}

/// The configured identity provider.
pub struct Provider {
    issuer: Url,
    /// As it stands in tokens.
    issuer_text: String,
    client_id: String,
    client_secret: Secret,
    redirect: Url,
    role_claim: String,
    name_claim: String,
    roles: BTreeMap<String, Role>,
    http: reqwest::Client,
    known: Mutex<Option<Known>>,
}

/// What was learned of it.
#[derive(Clone)]
struct Known {
    metadata: Arc<Metadata>,
    keys: Arc<KeySet>,
    since: Instant,
}

impl Provider {
    /// None where no identity provider is configured.
    ///
    /// # Errors
    /// [`ConfigError`] with the key.
    pub fn new(oidc: &Oidc) -> Result<Option<Provider>, ConfigError> {
        let wrong = |key: &str, text: String| ConfigError { place: format!("access.oidc.{key}"), text };
        let (Some(issuer), Some(client_id), Some(file), Some(redirect)) =
            (&oidc.issuer, &oidc.client_id, &oidc.client_secret_file, &oidc.redirect_url)
        else {
            return Ok(None);
        };
        let url = |key: &str, text: &str| Url::parse(text).map_err(|e| wrong(key, e.to_string()));
        let text = secret::private_file(file).map_err(|e| wrong("client_secret_file", e))?;
        let text = std::str::from_utf8(&text).unwrap_or_default().trim();
        if text.is_empty() {
            return Err(wrong("client_secret_file", format!("{}: it holds no secret", file.display())));
        }
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(TIMEOUT);
        if let Some(path) = &oidc.ca_file {
            let unusable = |e: String| wrong("ca_file", format!("{}: {e}", path.display()));
            let pem = std::fs::read(path).map_err(|e| unusable(e.to_string()))?;
            let certificates =
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| unusable(e.to_string()))?;
            if certificates.is_empty() {
                return Err(unusable("no certificate found".into()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        Ok(Some(Provider {
            issuer: url("issuer", issuer)?,
            issuer_text: issuer.clone(),
            client_id: client_id.clone(),
            client_secret: Secret::new(text.to_owned()),
            redirect: url("redirect_url", redirect)?,
            role_claim: oidc.role_claim.clone(),
            name_claim: oidc.name_claim.clone(),
            roles: oidc.roles.clone(),
            http: builder.build().map_err(|e| wrong("issuer", e.to_string()))?,
            known: Mutex::default(),
        }))
    }

    /// Where to send the browser. The request is stored before the browser is sent
    /// ([`crate::store::Store::put_oidc_request`]).
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn begin(
        &self,
        purpose: &Purpose,
        now: DateTime<Utc>,
    ) -> Result<(Begun, OidcRequest), OidcError> {
        let known = self.known().await?;
        let fresh = || random::<32>().map(|b| hex(&b)).map_err(|_| OidcError::NoEntropy);
        let (state, nonce, verifier) = (fresh()?, fresh()?, fresh()?);
        let url = known.metadata.authorization(&asked::Question {
            client_id: &self.client_id,
            redirect: &self.redirect,
            state: &state,
            nonce: &nonce,
            verifier: &verifier,
            again: purpose.sign.is_some(),
        });
        let request = OidcRequest {
            state_sha256: kept(&state),
            nonce,
            verifier,
            purpose: serde_json::to_string(purpose).map_err(|_| OidcError::Provider("the purpose"))?,
            at: stamp(now),
        };
        Ok((Begun { url, state: Secret::new(state) }, request))
    }

    /// Exchanges the code of an answer, and reads who came back. `request` was taken out of the store with
    /// [`Accounts::take_oidc`].
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn finish(
        &self,
        request: &OidcRequest,
        code: &str,
        now: DateTime<Utc>,
    ) -> Result<Identity, OidcError> {
        let known = self.known().await?;
        let token = self.exchange(&known.metadata, &request.verifier, code).await?;
        let checked = known.keys.check(|keys| crate::http::jwt::signed(token.expose(), keys, &["jwt"])).await;
        let claims = checked.map_err(|error| match error {
            KeyError::Invalid(rule) => OidcError::Token(rule),
            KeyError::NoKeys => OidcError::Provider("its keys cannot be fetched"),
        })?;
        let expected = claims::Expected {
            issuer: &self.issuer_text,
            client_id: &self.client_id,
            nonce: &request.nonce,
            again: purpose_of(request).is_some_and(|p| p.sign.is_some()),
            role_claim: &self.role_claim,
            name_claim: &self.name_claim,
            roles: &self.roles,
        };
        claims::read(&claims, &expected, now).map_err(OidcError::Token)
    }

    /// Is the answer's `iss` parameter, if it has one, this issuer's (RFC 9207)?
    pub fn issued(&self, iss: Option<&str>) -> bool {
        iss.is_none_or(|iss| iss == self.issuer_text)
    }

    async fn known(&self) -> Result<Known, OidcError> {
        let mut held = self.known.lock().await;
        if let Some(known) = held.as_ref().filter(|known| known.since.elapsed() < FRESH) {
            return Ok(known.clone());
        }
        let address = asked::discovery(&self.issuer);
        let answer = self.send(self.http.get(address)).await?;
        let metadata = Metadata::read(&answer, &self.issuer_text).map_err(OidcError::Provider)?;
        let keys = match held.take() {
            // The keys outlive the document that names the same place for them.
            Some(known) if known.metadata.jwks_uri == metadata.jwks_uri => known.keys,
            _ => Arc::new(KeySet::from_url(metadata.jwks_uri.clone(), self.http.clone())),
        };
        let known = Known { metadata: Arc::new(metadata), keys, since: Instant::now() };
        *held = Some(known.clone());
        Ok(known)
    }

    async fn exchange(&self, metadata: &Metadata, verifier: &str, code: &str) -> Result<Secret, OidcError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect.as_str()),
            ("code_verifier", verifier),
        ];
        let mut request = self.http.post(metadata.token_endpoint.clone());
        if metadata.secret_in_form {
            form.extend([
                ("client_id", self.client_id.as_str()),
                ("client_secret", self.client_secret.expose()),
            ]);
        } else {
            // RFC 6749, 2.3.1: both are form-encoded before they become user name and password.
            let encoded =
                |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request =
                request.basic_auth(encoded(&self.client_id), Some(encoded(self.client_secret.expose())));
        }
        let answer = self.send(request.form(&form)).await?;
        asked::id_token(&answer).map(Secret::new).map_err(OidcError::Provider)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, OidcError> {
        let unreachable = |_| OidcError::Provider("it does not answer");
        let mut answer =
            request.header(reqwest::header::ACCEPT, "application/json").send().await.map_err(unreachable)?;
        match answer.status().as_u16() {
            200 => {}
            300..=399 => return Err(OidcError::Provider("it redirects, which is not followed")),
            400 | 401 | 403 => return Err(OidcError::Answer("it refused the code, or this client")),
            _ => return Err(OidcError::Provider("it answered with another status than 200")),
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(OidcError::Provider("its answer is too large"));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// What a state is kept as.
fn kept(state: &str) -> String {
    sha256(&["trialbridge state", state])
}

/// What a request was for.
pub fn purpose_of(request: &OidcRequest) -> Option<Purpose> {
    serde_json::from_str(&request.purpose).ok()
}

impl Accounts<'_> {
    /// Takes out the request that an answer belongs to. `state` is the answer's, `held` the browser's.
    ///
    /// # Errors
    /// [`Denied::Refused`] where there is none, it was answered before or too late, or another browser
    /// brings it.
    pub fn take_oidc(&self, state: &str, held: &str, now: DateTime<Utc>) -> Result<OidcRequest, Denied> {
        // Compared as hashes: the time tells nothing of the text.
        if kept(state) != kept(held) {
            return Err(Denied::Refused);
        }
        let taken = self.store.take_oidc_request(&kept(state), &stamp(now), PATIENCE)?;
        taken.ok_or(Denied::Refused)
    }

    /// Signs in whom the identity provider named. The account is made at the first time; its role follows the
    /// claim, its site and whether it is disabled are decided here.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn log_in_oidc(
        &self,
        identity: &Identity,
        replaces: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<LoggedIn, Denied> {
        let account = self.known_or_new(identity, now)?;
        if account.disabled {
            let entry = self.refusal(Some(&account), "", "sign-in", "disabled", &stamp(now));
            self.store.append_audit(entry)?;
            return Err(Denied::Refused);
        }
        self.open(&account, "oidc", replaces, now)
    }

    /// The proof for one signature, from an answer that was asked for it.
    ///
    /// # Errors
    /// [`Denied::Refused`] where the answer was for another purpose, or of somebody else.
    pub fn fresh(&self, request: &OidcRequest, identity: &Identity) -> Result<Fresh, Denied> {
        let signing = purpose_of(request).and_then(|p| p.sign).ok_or(Denied::Refused)?;
        match identity.auth_time {
            Some(at) if signing.account == identity.account => Ok(Fresh {
                account: signing.account,
                meaning: signing.meaning,
                record_sha256: signing.record_sha256,
                at,
            }),
            _ => Err(Denied::Refused),
        }
    }

    fn known_or_new(&self, identity: &Identity, now: DateTime<Utc>) -> Result<Account, Denied> {
        let name = identity.account.as_str();
        let Some(found) = self.store.account(name)? else {
            // A name that cannot be printed is no signature.
            change::printed(&identity.printed_name)?;
            let new = NewAccount {
                name: name.to_owned(),
                printed_name: identity.printed_name.trim().to_owned(),
                role: identity.role,
                site: None,
                password: None,
                must_change: false,
                at: stamp(now),
            };
            let entry = self.oidc_entry(identity, "account.add", ("none", identity.role.name()), now);
            self.store.put_account(new, Authority::Itself, entry)?;
            return self.there(name);
        };
        if found.origin != AccountOrigin::Oidc {
            return Err(Denied::Refused);
        }
        if found.role != identity.role && !found.disabled {
            let change = AccountChange::Role { role: identity.role, site: found.site.clone() };
            let roles = (found.role.name(), identity.role.name());
            let entry = self.oidc_entry(identity, "account.role", roles, now);
            self.store.change_account(name, change, &stamp(now), Authority::Itself, entry)?;
        }
        if found.printed_name != identity.printed_name.trim() && !found.disabled {
            change::printed(&identity.printed_name)?;
            let change = AccountChange::PrintedName(identity.printed_name.trim().to_owned());
            let names = (found.printed_name.as_str(), identity.printed_name.trim());
            let entry = self.oidc_entry(identity, "account.printed-name", names, now);
            self.store.change_account(name, change, &stamp(now), Authority::Itself, entry)?;
        }
        self.there(name)
    }

    fn there(&self, name: &str) -> Result<Account, Denied> {
        self.store.account(name)?.ok_or_else(|| Denied::Store(StoreError::not_found("such account")))
    }

    fn oidc_entry(
        &self,
        identity: &Identity,
        action: &str,
        (before, after): (&str, &str),
        now: DateTime<Utc>,
    ) -> NewAudit {
        NewAudit {
            at: stamp(now),
            actor: identity.account.clone(),
            role: identity.role.name().to_owned(),
            action: action.to_owned(),
            subject: None,
            detail: detail(&[
                ("account", &identity.account),
                ("before", before),
                ("after", after),
                ("by", "identity-provider"),
            ]),
        }
    }
}
