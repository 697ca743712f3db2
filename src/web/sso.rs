//! Signing in, and proving it again for a signature, at the hospital's identity provider.
//!
//! The browser carries the state in a cookie of its own: an answer counts for the browser that asked, once.
//! Signing in ends in a session; a signature ends in a grant, which signs the one record that was asked for.

use super::cookie::Cookie;
use super::frame::{self, Frame};
use super::state::WebState;
use super::trouble::Trouble;
use super::visitor;
use crate::account::oidc::{Identity, OidcError, Provider, Purpose, Signing, purpose_of};
use crate::account::{Accounts, Denied};
use crate::pipeline::{detail, stamp};
use crate::store::{NewAudit, OidcRequest};
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// `sha256` of the record that is to be signed; without one, to sign in.
    sign: Option<String>,
    meaning: Option<String>,
}

/// What the provider sends back. Others of its parameters mean nothing here.
#[derive(Deserialize)]
pub(super) struct Answer {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "continue.html")]
struct ContinuePage {
    frame: Frame,
    /// None: somebody signed in.
    grant: Option<String>,
}

fn provider(state: &WebState) -> Result<&Provider, Trouble> {
    state.desk.provider.as_ref().ok_or_else(Trouble::no_such_page)
}

/// `GET /login/oidc`
pub(super) async fn begin(
    State(state): State<WebState>,
    headers: HeaderMap,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Result<Response, Trouble> {
    let provider = provider(&state)?;
    let Query(wish) = wish.map_err(|_| Trouble::no_such_page())?;
    let sign = match (wish.sign, wish.meaning) {
        (None, None) => None,
        (Some(record_sha256), Some(meaning)) => {
            let is_hash = record_sha256.len() == 64 && record_sha256.bytes().all(|b| b.is_ascii_hexdigit());
            let known = ["randomize", "attest", "consent.record", "consent.withdraw", "unblind"]
                .contains(&meaning.as_str());
            let token = Cookie::Session.read(&headers).ok_or_else(Trouble::no_session)?.to_owned();
            let visitor = visitor::of(&state, token).await?.ok_or_else(Trouble::no_session)?;
            if !is_hash || !known {
                return Err(Trouble::no_such_meaning());
            }
            Some(Signing { account: visitor.actor().to_owned(), meaning, record_sha256 })
        }
        _ => return Err(Trouble::no_such_meaning()),
    };
    let begun = provider.begin(&Purpose { sign }, state.desk.now()).await;
    let (begun, request) = begun.map_err(|error| unusable(&error))?;
    state.read(move |store, _| store.put_oidc_request(request)).await?;
    let to = HeaderValue::from_str(begun.url.as_str()).map_err(|e| Trouble::bug(e.to_string()))?;
    let cookie = Cookie::State.set(&headers, begun.state.expose());
    Ok((StatusCode::SEE_OTHER, [(LOCATION, to), (SET_COOKIE, cookie)]).into_response())
}

/// `GET /login/oidc/callback`
pub(super) async fn end(
    State(state): State<WebState>,
    headers: HeaderMap,
    answer: Result<Query<Answer>, QueryRejection>,
) -> Result<Response, Trouble> {
    let provider = provider(&state)?;
    let answer = answer.map(|Query(answer)| answer).map_err(|_| Trouble::not_identified());
    let proved = match answer {
        Ok(answer) => proved(&state, provider, &headers, answer).await,
        Err(trouble) => Err(trouble),
    };
    let mut response = match proved {
        Ok((request, identity)) => come_in(&state, &headers, request, identity).await?,
        Err(trouble) => return Err(trouble),
    };
    response.headers_mut().append(SET_COOKIE, Cookie::State.clear(&headers));
    Ok(response)
}

/// Who came back, for the question that this browser was sent with.
async fn proved(
    state: &WebState,
    provider: &Provider,
    headers: &HeaderMap,
    answer: Answer,
) -> Result<(OidcRequest, Identity), Trouble> {
    let (Some(given), Some(held)) = (answer.state, Cookie::State.read(headers).map(str::to_owned)) else {
        return Err(refused(state, "state").await);
    };
    let desk = state.desk.clone();
    let taken = state
        .read(move |store, _| Ok(Accounts::new(store, &desk.settings).take_oidc(&given, &held, desk.now())))
        .await?;
    let request = match taken {
        Ok(request) => request,
        Err(Denied::Store(error)) => return Err(Trouble::store(&error)),
        Err(_) => return Err(refused(state, "state").await),
    };
    if !provider.issued(answer.iss.as_deref()) {
        return Err(refused(state, "issuer").await);
    }
    let code = match (answer.code, answer.error) {
        (Some(code), None) => code,
        _ => return Err(refused(state, "provider-refused").await),
    };
    match provider.finish(&request, &code, state.desk.now()).await {
        Ok(identity) => Ok((request, identity)),
        Err(OidcError::Answer(_)) => Err(refused(state, "code").await),
        Err(OidcError::Token(rule)) => Err(refused(state, rule).await),
        Err(error) => Err(unusable(&error)),
    }
}

/// A session, or a grant for the one record that was asked for.
async fn come_in(
    state: &WebState,
    headers: &HeaderMap,
    request: OidcRequest,
    identity: Identity,
) -> Result<Response, Trouble> {
    let desk = state.desk.clone();
    if purpose_of(&request).is_some_and(|purpose| purpose.sign.is_some()) {
        let fresh = state
            .read(move |store, _| Ok(Accounts::new(store, &desk.settings).fresh(&request, &identity)))
            .await?;
        let Ok(fresh) = fresh else { return Err(refused(state, "another-account").await) };
        let grant = state.desk.grants.give(fresh, state.desk.now())?;
        let is_program = headers.get(ACCEPT).is_some_and(|kinds| kinds == "application/json");
        if is_program {
            let text = json!({"schema": "trialbridge/grant/v1", "grant": grant}).to_string();
            return Ok(([(CONTENT_TYPE, "application/json")], text).into_response());
        }
        let frame = frame::of(state, "Identity confirmed");
        return frame::html(&ContinuePage { frame, grant: Some(grant) });
    }
    let replaces = Cookie::Session.read(headers).map(str::to_owned);
    let opened = state
        .read(move |store, _| {
            let accounts = Accounts::new(store, &desk.settings);
            Ok(accounts.log_in_oidc(&identity, replaces.as_deref(), desk.now()))
        })
        .await?;
    let opened = match opened {
        Ok(opened) => opened,
        // What was wrong is in the audit log; a disabled account looks like any other refusal.
        Err(Denied::Store(error)) => return Err(Trouble::store(&error)),
        Err(Denied::NoEntropy) => return Err(Trouble::busy()),
        Err(_) => return Err(Trouble::not_identified()),
    };
    // The browser comes from the provider's site, and would not bring the strict cookie along to another
    // address at once: it is given a page of ours first.
    let mut response = frame::html(&ContinuePage { frame: frame::of(state, "Signed in"), grant: None })?;
    response.headers_mut().append(SET_COOKIE, Cookie::Session.set(headers, opened.token.expose()));
    Ok(response)
}

/// Writes down that an answer did not count. The rule is for the log; the caller is told none.
async fn refused(state: &WebState, rule: &'static str) -> Trouble {
    metrics::counter!("trialbridge_auth_refused_total", "reason" => "oidc").increment(1);
    tracing::warn!(event = "oidc.refused", reason = rule);
    let entry = NewAudit {
        at: stamp(state.desk.now()),
        actor: "unknown".into(),
        role: "none".into(),
        action: "account.refused".into(),
        subject: None,
        detail: detail(&[("purpose", "oidc"), ("reason", rule)]),
    };
    match state.read(move |store, _| store.append_audit(entry).map(drop)).await {
        Ok(()) => Trouble::not_identified(),
        Err(trouble) => trouble,
    }
}

fn unusable(error: &OidcError) -> Trouble {
    let mut trouble = Trouble::no_provider();
    trouble.log = Some(error.to_string());
    trouble
}
