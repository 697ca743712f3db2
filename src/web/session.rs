//! Signing in and out, for programs.

use super::body::{self, Given};
use super::cookie::Cookie;
use super::state::WebState;
use super::trouble::Trouble;
use super::visitor::{self, Visitor};
use crate::access::Permission;
use crate::account::{Accounts, Denied, LoggedIn, Viewer, csrf};
use crate::secret::Secret;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    account: String,
    password: Given,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    schema: &'static str,
    account: &'a str,
    printed_name: &'a str,
    role: &'static str,
    site: Option<&'a str>,
    /// What this role may do in this trial.
    may: Vec<String>,
    /// For the header `X-CSRF-Token` of whatever changes something.
    csrf: &'a str,
    idle_minutes: i64,
    absolute_minutes: i64,
}

fn told(state: &WebState, viewer: &Viewer, csrf: &str) -> Result<String, Trouble> {
    let limits = state.desk.settings.limits;
    let may =
        Permission::ALL.into_iter().filter(|p| crate::access::may(viewer.role, *p, &state.desk.masking));
    let told = Told {
        schema: "trialbridge/session/v1",
        account: &viewer.account,
        printed_name: &viewer.printed_name,
        role: viewer.role.name(),
        site: viewer.site.as_deref(),
        may: may.map(|p| super::words::permission(p)).collect(),
        csrf,
        idle_minutes: limits.idle.num_minutes(),
        absolute_minutes: limits.absolute.num_minutes(),
    };
    serde_json::to_string(&told).map_err(|e| Trouble::bug(e.to_string()))
}

/// Proves a password and opens a session; the one that the browser came with is over.
pub(super) async fn sign_in(
    state: &WebState,
    headers: &HeaderMap,
    account: String,
    password: Secret,
) -> Result<LoggedIn, Trouble> {
    let turn = state.desk.hashing().await?;
    let (desk, replaces) = (state.desk.clone(), Cookie::Session.read(headers).map(str::to_owned));
    let opened = state
        .read(move |store, _| {
            let accounts = Accounts::new(store, &desk.settings);
            Ok(accounts.log_in(&account, &password, replaces.as_deref(), desk.now()))
        })
        .await?;
    drop(turn);
    opened.map_err(refused)
}

/// Why nobody is signed in. Whatever is wrong with name, password or role is said in the same words.
pub(super) fn refused(denied: Denied) -> Trouble {
    match denied {
        Denied::Wait { seconds } => Trouble::too_many_attempts(seconds.and_then(|s| u64::try_from(s).ok())),
        Denied::MustChange => Trouble::must_change(),
        Denied::Password(broken) => Trouble::password(&broken.to_string()),
        Denied::NoEntropy => Trouble::busy(),
        Denied::Store(error) => Trouble::store(&error),
        Denied::Refused | Denied::NotFound | Denied::Changed | Denied::Request(_) => Trouble::not_signed_in(),
    }
}

/// `POST /api/v1/session`
pub(super) async fn open(State(state): State<WebState>, request: Request) -> Result<Response, Trouble> {
    state.desk.attempt(&request)?;
    let headers = request.headers().clone();
    let login: Login = body::json(request).await?;
    let opened = sign_in(&state, &headers, login.account, login.password.0).await?;
    let text = told(&state, &opened.viewer, &csrf(opened.token.expose()))?;
    let cookie = Cookie::Session.set(&headers, opened.token.expose());
    Ok((StatusCode::CREATED, [(SET_COOKIE, cookie)], [(CONTENT_TYPE, "application/json")], text)
        .into_response())
}

/// `GET /api/v1/session`
pub(super) async fn show(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
) -> Result<Response, Trouble> {
    let viewer = visitor.viewer().ok_or_else(Trouble::no_session)?;
    let text = told(&state, viewer, visitor.token())?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

/// `DELETE /api/v1/session`
pub(super) async fn close(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    end(&state, &visitor).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, Cookie::Session.clear(&headers))]).into_response())
}

/// Ends the visitor's session, at once and for every copy of its cookie.
pub(super) async fn end(state: &WebState, visitor: &Visitor) -> Result<(), Trouble> {
    let (Some(viewer), Some(session)) = (visitor.viewer().cloned(), visitor.session().cloned()) else {
        return Ok(());
    };
    let desk = state.desk.clone();
    state
        .read(move |store, _| {
            Accounts::new(store, &desk.settings).log_out(session.expose(), &viewer, desk.now())
        })
        .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewPassword {
    account: String,
    password: Given,
    new_password: Given,
}

/// `POST /api/v1/password`: also for an initial password, with which nobody can sign in. Ends every session
/// of the account.
pub(super) async fn change_password(
    State(state): State<WebState>,
    request: Request,
) -> Result<Response, Trouble> {
    state.desk.attempt(&request)?;
    let change: NewPassword = body::json(request).await?;
    let turn = state.desk.hashing().await?;
    let desk = state.desk.clone();
    let changed = state
        .read(move |store, _| {
            let accounts = Accounts::new(store, &desk.settings);
            let (old, new) = (&change.password.0, &change.new_password.0);
            Ok(accounts.change_password(&change.account, old, new, desk.now()))
        })
        .await?;
    drop(turn);
    changed.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Is there a session already? For the form, which nobody needs then.
pub(super) async fn is_signed_in(state: &WebState, headers: &HeaderMap) -> Result<bool, Trouble> {
    let Some(token) = Cookie::Session.read(headers) else { return Ok(false) };
    Ok(visitor::of(state, token.to_owned()).await?.is_some())
}
