//! What stands around every page: the study, the environment in words, the data cut.

use super::asset;
use super::state::WebState;
use super::trouble::Trouble;
use super::words::Moment;
use askama::Template;
use axum::http::header::CONTENT_TYPE;
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
    }
}

/// A page drawn, or the trouble that it could not be.
pub(super) fn html(page: &impl Template) -> Result<Response, Trouble> {
    let html = page.render().map_err(|error| Trouble::bug(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response())
}
