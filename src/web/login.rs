//! Signing in and out, for people: forms that need no script.
//!
//! A form carries a mark that the browser also has as a cookie, so that no other site can sign somebody in
//! under an account of its own.

use super::body::{self, Given};
use super::cookie::Cookie;
use super::frame::{self, Frame};
use super::guard::is_token;
use super::state::WebState;
use super::strict::FORM_POLICY;
use super::trouble::Trouble;
use super::visitor::Visitor;
use super::words::Both;
use super::{session, words};
use crate::protocol::document::hex;
use askama::Template;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    token: String,
    refused: Option<Both>,
    has_provider: bool,
}

#[derive(Deserialize)]
struct Login {
    token: String,
    name: String,
    password: Given,
}

#[derive(Deserialize)]
struct Leave {
    token: String,
}

fn see_other(to: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response()
}

/// `GET /login`
pub(super) async fn form(State(state): State<WebState>, headers: HeaderMap) -> Result<Response, Trouble> {
    if session::is_signed_in(&state, &headers).await? {
        return Ok(see_other("/"));
    }
    draw(&state, &headers, None)
}

fn draw(state: &WebState, headers: &HeaderMap, refused: Option<Both>) -> Result<Response, Trouble> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| Trouble::busy())?;
    let token = hex(&bytes);
    let cookie = Cookie::Form.set(headers, &token);
    let page = LoginPage {
        frame: frame::of(state, "Sign in"),
        token,
        refused,
        has_provider: state.desk.provider.is_some(),
    };
    let mut response = frame::html(&page)?;
    let policy = const { HeaderValue::from_static(FORM_POLICY) };
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// `POST /login`
pub(super) async fn enter(State(state): State<WebState>, request: Request) -> Result<Response, Trouble> {
    let headers = request.headers().clone();
    let attempt = state.desk.attempt(&request);
    let login: Login = body::form(request).await?;
    let mark = Cookie::Form.read(&headers).ok_or_else(Trouble::token)?;
    if !is_token(login.token.as_bytes(), mark) {
        return Err(Trouble::token());
    }
    let opened = match attempt {
        Ok(()) => session::sign_in(&state, &headers, login.name, login.password.0).await,
        Err(trouble) => Err(trouble),
    };
    match opened {
        Ok(opened) => {
            let mut response = see_other("/");
            let cookie = Cookie::Session.set(&headers, opened.token.expose());
            response.headers_mut().append(SET_COOKIE, cookie);
            response.headers_mut().append(SET_COOKIE, Cookie::Form.clear(&headers));
            Ok(response)
        }
        Err(trouble) if trouble.status.is_client_error() => {
            let mut response = draw(&state, &headers, Some(words::refused(trouble.code)))?;
            *response.status_mut() = trouble.status;
            Ok(response)
        }
        Err(trouble) => Err(trouble),
    }
}

/// `POST /logout`
pub(super) async fn leave(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    request: Request,
) -> Result<Response, Trouble> {
    let headers = request.headers().clone();
    let leave: Leave = body::form(request).await?;
    if !is_token(leave.token.as_bytes(), visitor.token()) {
        return Err(Trouble::token());
    }
    session::end(&state, &visitor).await?;
    let mut response = see_other("/login");
    response.headers_mut().append(SET_COOKIE, Cookie::Session.clear(&headers));
    Ok(response)
}
