//! What stands around every page: the study, the environment in words, the data cut.

use super::asset;
use super::state::WebState;
use super::strict::FORM_POLICY;
use super::trouble::Trouble;
use super::visitor::Visitor;
use super::words::{self, Both, Moment};
use crate::access::Permission;
use askama::Template;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

pub(super) struct Frame {
    pub title: String,
    pub study: String,
    pub study_title: String,
    pub environment: &'static str,
    /// What the environment means for the reader.
    pub environment_words: &'static str,
    pub style: String,
    pub version: &'static str,
    pub complete_to: Option<Moment>,
    /// The last pull ended otherwise than well: when, and with which code.
    pub failed: Option<(Moment, String)>,
    /// Who is signed in.
    pub who: Option<Who>,
}

pub(super) struct Who {
    pub printed_name: String,
    pub role: Both,
    pub sees_allocations: bool,
    /// For the form that signs out.
    pub token: String,
}

/// As [`of`], for somebody who is signed in.
pub(super) fn of_visitor(state: &WebState, title: &str, visitor: &Visitor) -> Frame {
    let who = visitor.viewer().map(|viewer| Who {
        printed_name: viewer.printed_name.clone(),
        role: words::role(viewer.role),
        sees_allocations: visitor.may(Permission::ViewAllocations, &state.desk.masking),
        token: visitor.token().to_owned(),
    });
    Frame { who, ..of(state, title) }
}

pub(super) fn of(state: &WebState, title: &str) -> Frame {
    let pull = state.status.pull();
    let failed = pull.has_failed().then(|| pull.last_finished.zip(pull.last_outcome.clone())).flatten();
    Frame {
        title: title.to_owned(),
        study: state.trial.study.id.clone(),
        study_title: state.trial.study.title.clone(),
        environment: state.environment,
        environment_words: match state.environment {
            "DEMO" => "synthetic patients only",
            "TEST" => "not for decisions about care",
            "PROD" => "real patients",
            _ => "",
        },
        style: asset::style(),
        version: env!("CARGO_PKG_VERSION"),
        complete_to: pull.complete_to.map(Moment::of),
        failed: failed.map(|(at, code)| (Moment::of(at), code)),
        who: None,
    }
}

/// A page of somebody who may be signed in: then it holds a form, which signs out.
pub(super) fn page(visitor: &Visitor, page: &impl Template) -> Result<Response, Trouble> {
    let mut response = html(page)?;
    if visitor.viewer().is_some() {
        let policy = const { HeaderValue::from_static(FORM_POLICY) };
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// A page drawn, or the trouble that it could not be.
pub(super) fn html(page: &impl Template) -> Result<Response, Trouble> {
    let html = page.render().map_err(|error| Trouble::bug(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response())
}
