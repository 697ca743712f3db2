//! What the head of a request says of its form and of the form of the answer.

use super::outcome::Issue;
use super::reply::Reply;
use axum::http::header::{ACCEPT, CONTENT_TYPE, IF_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");

/// What a sender wishes of the answer (`Prefer`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// No body where nothing is to be said.
    pub is_minimal: bool,
    /// What would be ignored is refused.
    pub is_strict: bool,
}

impl Wish {
    pub fn of(headers: &HeaderMap) -> Wish {
        let mut wish = Wish::default();
        for value in headers.get_all(PREFER) {
            let Ok(text) = value.to_str() else { continue };
            for part in text.split([',', ';']) {
                match part.trim() {
                    "return=minimal" => wish.is_minimal = true,
                    "handling=strict" => wish.is_strict = true,
                    _ => {}
                }
            }
        }
        wish
    }
}

/// Is the body FHIR JSON in UTF-8?
///
/// # Errors
/// 415.
pub(super) fn content_type(headers: &HeaderMap) -> Result<(), Box<Reply>> {
    let refuse = |reason, text: &'static str| {
        let issue = Issue::error("not-supported", reason, text);
        Err(Box::new(Reply::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, issue)))
    };
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return refuse("content-type", "Say once what the body is: Content-Type: application/fhir+json.");
    };
    // The common ones, without taking them apart.
    if value == "application/fhir+json" || value == "application/json" {
        return Ok(());
    }
    let text = value.to_str().unwrap_or_default();
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    match kind.as_str() {
        "application/fhir+json" | "application/json" | "text/json" | "application/json+fhir" => {}
        xml if xml.ends_with("xml") => {
            return refuse("xml", "XML is not read. Send the same resource as application/fhir+json.");
        }
        _ => {
            return refuse(
                "content-type",
                "Only FHIR JSON is read. Send Content-Type: application/fhir+json.",
            );
        }
    }
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8"].iter().any(|u| value.eq_ignore_ascii_case(u))
        {
            return refuse("charset", "FHIR JSON is UTF-8. Send it as UTF-8, with charset=utf-8 or without.");
        }
        if name.trim().eq_ignore_ascii_case("fhirVersion") && !["4.0", "4.1", "4.3", "5.0"].contains(&value) {
            return refuse("fhir-version", "This release of FHIR is not read. Send R4, R4B or R5.");
        }
    }
    Ok(())
}

/// Can the answer be read? `_format` counts more than `Accept`.
///
/// # Errors
/// 406.
pub(super) fn accept(headers: &HeaderMap, query: Option<&str>) -> Result<(), Box<Reply>> {
    let refuse = || {
        let text = "Answers are FHIR JSON. Send Accept: application/fhir+json, or no Accept at all.";
        Err(Box::new(Reply::refused(
            StatusCode::NOT_ACCEPTABLE,
            Issue::error("not-supported", "accept", text),
        )))
    };
    if let Some(query) = query {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        if let Some((_, format)) = pairs.find(|(name, _)| name == "_format") {
            // A plus that nobody encoded is a space here.
            let format = format.split(';').next().unwrap_or_default().trim().replace(' ', "+");
            let is_json = format.eq_ignore_ascii_case("json") || is_ours(&format.to_ascii_lowercase());
            return if is_json { Ok(()) } else { refuse() };
        }
    }
    let mut given = headers.get_all(ACCEPT).iter().peekable();
    if given.peek().is_none() {
        return Ok(());
    }
    for value in given {
        if value == "*/*" || value == "application/fhir+json" {
            return Ok(());
        }
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let is_refused = parts.any(|p| {
                let weight = p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="));
                weight.is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0))
            });
            if !is_refused && (is_ours(&kind) || matches!(kind.as_str(), "*/*" | "application/*")) {
                return Ok(());
            }
        }
    }
    refuse()
}

fn is_ours(kind: &str) -> bool {
    matches!(kind, "application/fhir+json" | "application/json" | "text/json" | "application/json+fhir")
}

/// The version that has to be held for an update to be taken: `W/"3"` names 3.
///
/// # Errors
/// 400 for a header that is no ETag.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<String>, Box<Reply>> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| {
        let text = text.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        text.strip_prefix('"')?.strip_suffix('"')
    });
    match version {
        Some(version) if !version.is_empty() => Ok(Some(version.to_owned())),
        _ => {
            let text = "If-Match names one version, as in If-Match: W/\"3\".";
            Err(Box::new(Reply::refused(
                StatusCode::BAD_REQUEST,
                Issue::error("structure", "if-match", text),
            )))
        }
    }
}

/// The condition of a create, as a search without its `?`.
pub(super) fn if_none_exist(headers: &HeaderMap) -> Option<String> {
    headers.get(IF_NONE_EXIST).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn with(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn only_fhir_json_in_utf_8_is_read() {
        for (values, good) in [
            (&["application/fhir+json"][..], true),
            (&["application/json"], true),
            (&["Application/FHIR+JSON; charset=UTF-8"], true),
            (&["application/fhir+json;charset=\"utf-8\""], true),
            (&["application/fhir+json; fhirVersion=4.0"], true),
            (&["application/fhir+json; fhirVersion=1.0"], false),
            (&["application/fhir+json; charset=iso-8859-1"], false),
            (&["application/fhir+json; charset="], false),
            (&["application/fhir+xml"], false),
            (&["text/xml"], false),
            (&["text/plain"], false),
            (&["application/x-www-form-urlencoded"], false),
            (&[], false),
            (&["application/fhir+json", "application/fhir+json"], false),
        ] {
            let refused = content_type(&with("content-type", values)).err();
            assert_eq!(refused.is_none(), good, "{values:?}");
            assert!(refused.is_none_or(|r| r.status == 415));
        }
    }

    #[test]
    fn an_answer_that_nobody_reads_is_not_given() {
        for (accept_values, query, good) in [
            (&[][..], None, true),
            (&["*/*"], None, true),
            (&["application/fhir+json"], None, true),
            (&["application/json;q=0.5"], None, true),
            (&["text/html, application/*;q=0.8"], None, true),
            (&["application/fhir+xml", "application/fhir+json"], None, true),
            (&["application/fhir+json;q=0"], None, false),
            (&["application/fhir+xml"], None, false),
            (&["text/html"], None, false),
            (&[""], None, false),
            (&["application/fhir+xml"], Some("_format=json"), true),
            (&["text/html"], Some("_pretty=true&_format=application/fhir+json"), true),
            (&["text/html"], Some("_format=application%2Ffhir%2Bjson"), true),
            (&["application/fhir+json"], Some("_format=xml"), false),
        ] {
            let refused = accept(&with("accept", accept_values), query).err();
            assert_eq!(refused.is_none(), good, "{accept_values:?} {query:?}");
            assert!(refused.is_none_or(|r| r.status == 406));
        }
    }

    #[test]
    fn wishes_and_versions() {
        let wish = |values: &[&str]| Wish::of(&with("prefer", values));
        assert_eq!(wish(&[]), Wish::default());
        assert_eq!(wish(&["return=minimal"]), Wish { is_minimal: true, is_strict: false });
        let both = Wish { is_minimal: true, is_strict: true };
        assert_eq!(wish(&["return=minimal; handling=strict"]), both);
        assert_eq!(wish(&["return=minimal", "respond-async, handling=strict"]), both);
        assert_eq!(wish(&["return=representation, handling=lenient"]), Wish::default());
        let version = |text: &str| if_match(&with("if-match", &[text])).map_err(|r| r.status.as_u16());
        assert_eq!(version("W/\"3\""), Ok(Some("3".into())));
        assert_eq!(version("\"3\""), Ok(Some("3".into())));
        for wrong in ["3", "*", "W/\"\"", "\"1\", \"2"] {
            assert_eq!(version(wrong), Err(400), "{wrong}");
        }
        assert!(if_match(&HeaderMap::new()).is_ok_and(|v| v.is_none()));
    }
}
