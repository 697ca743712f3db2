//! Bodies that change something: read whole, small, and only what they are said to be.

use super::trouble::Trouble;
use crate::http::body::{self, BodyError, BodyLimits};
use crate::secret::Secret;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// No form and no signature is longer.
const MOST: usize = 64 << 10;

/// A password as it comes in.
pub(super) struct Given(pub Secret);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Given, D::Error> {
        String::deserialize(from).map(|text| Given(Secret::new(text)))
    }
}

async fn read(request: Request) -> Result<(HeaderMap, Zeroizing<Vec<u8>>), Trouble> {
    let limits = BodyLimits { wire: MOST, unpacked: MOST, ..BodyLimits::default() };
    let (parts, body) = request.into_parts();
    let bytes = body::read(body, &parts.headers, &limits).await.map_err(refused)?;
    Ok((parts.headers, Zeroizing::new(bytes)))
}

fn refused(error: BodyError) -> Trouble {
    let (happened, next) = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ("The body has more than 64 KiB.", "Send what is asked for, and no more.")
        }
        StatusCode::REQUEST_TIMEOUT => ("The body stopped or took too long.", "Send it again."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ("The body has a Content-Encoding other than one gzip.", "Send it as it is.")
        }
        _ => ("The body ended early, or its framing is broken.", "Send it again."),
    };
    Trouble::refused(error.status(), error.code(), happened, next)
}

/// A JSON object with the members of `T`, each once. That it is said to be JSON was looked at before.
///
/// # Errors
/// What is wrong with it, without a word of it.
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Trouble> {
    let (_, bytes) = read(request).await?;
    serde_json::from_slice(&bytes).map_err(|_| Trouble::body_unreadable())
}

/// What a form of ours sends.
///
/// # Errors
/// As [`json`].
pub(super) async fn form<T: DeserializeOwned>(request: Request) -> Result<T, Trouble> {
    let (headers, bytes) = read(request).await?;
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = kind.split(|&b| b == b';').next().unwrap_or_default();
    if !essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return Err(Trouble::not_a_form());
    }
    let pairs = url::form_urlencoded::parse(&bytes);
    let mut members = serde_json::Map::new();
    for (name, value) in pairs {
        // Twice the same would be read in two ways.
        if members.insert(name.into_owned(), value.into_owned().into()).is_some() {
            return Err(Trouble::body_unreadable());
        }
    }
    serde_json::from_value(members.into()).map_err(|_| Trouble::body_unreadable())
}
