//! The style sheet. Its name holds its hash, so that it may be cached for ever.

use super::trouble::Trouble;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("../../assets/trialbridge.css");

static NAME: LazyLock<String> = LazyLock::new(|| {
    let hash: String = Sha256::digest(STYLE.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("trialbridge-{hash}.css")
});

/// Where pages find the style sheet.
pub(super) fn style() -> String {
    format!("/assets/{}", *NAME)
}

pub(super) async fn serve(name: Result<Path<String>, PathRejection>) -> Response {
    match name {
        Ok(Path(name)) if name == *NAME => {
            let headers = [
                (CONTENT_TYPE, "text/css; charset=utf-8"),
                (CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, STYLE).into_response()
        }
        _ => Trouble::no_such_page().into_response(),
    }
}
