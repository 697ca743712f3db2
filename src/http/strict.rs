//! What is refused of a request's head whoever asks, a request's id, and for whom a listener answers.
//!
//! Says what is wrong, not in which words: pages, problem details and OperationOutcomes have their own.

use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_HEADERS: usize = super::gate::MAX_HEADERS;
const MAX_HEADER_BYTES: usize = super::gate::MAX_HEAD_BYTES;

/// Why a request is not looked into at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many headers, or too many bytes of them.
    Headers,
    /// No `Host`, more than one, or not a host's name.
    Host,
}

/// Is this head one that is looked into?
pub fn refusal(headers: &HeaderMap) -> Option<Refused> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Some(Refused::Headers);
    }
    let mut hosts = headers.get_all(HOST).iter();
    let is_host = |host: &HeaderValue| {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(b);
        !host.is_empty() && host.as_bytes().iter().all(allowed)
    };
    (!(hosts.next().is_some_and(is_host) && hosts.next().is_none())).then_some(Refused::Host)
}

/// Does the head announce a body that is not empty?
pub fn announces_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || headers.get_all(CONTENT_LENGTH).iter().any(|n| n != "0")
}

/// The caller's id if it is a plain word, else a new one.
pub fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let plain = |id: &&str| {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
        !id.is_empty() && id.len() <= 64 && id.bytes().all(word)
    };
    if let Some(id) = headers.get(REQUEST_ID).and_then(|v| v.to_str().ok()).filter(plain) {
        return id.to_owned();
    }
    let mut random = [0u8; 8];
    // Without a random source the number alone still tells requests of one run apart.
    let _ = getrandom::fill(&mut random);
    format!("{:016x}-{}", u64::from_be_bytes(random), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// For which names in `Host` a listener answers.
///
/// A page in somebody's browser can let its own name point to 127.0.0.1 and then reach what listens
/// there as if it were its own site (DNS rebinding). The browser still sends the page's name.
#[derive(Clone, Debug)]
pub struct Hosts(Option<Arc<[String]>>);

impl Hosts {
    /// Whatever name.
    pub fn any() -> Hosts {
        Hosts(None)
    }

    /// On a loopback address: this machine's own names and the given ones. Elsewhere: any.
    pub fn of(listener: SocketAddr, names: &[String]) -> Hosts {
        if !listener.ip().to_canonical().is_loopback() {
            return Hosts::any();
        }
        Hosts(Some(names.iter().map(|name| name.to_ascii_lowercase()).collect()))
    }

    /// Heads without a readable `Host` are for [`refusal`] to refuse, in words.
    pub fn serves(&self, headers: &HeaderMap) -> bool {
        let Some(names) = &self.0 else { return true };
        let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return true };
        let name = without_port(host);
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        bare.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            || names.iter().any(|served| served.eq_ignore_ascii_case(name))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// The answer to a request for a name that is not served.
pub fn misdirected() -> Response {
    const BODY: &str = concat!(
        r#"{"type":"about:blank","title":"This listener does not answer for the name in Host.","status":421,"#,
        r#""detail":"Nothing was read or changed. Use localhost or 127.0.0.1, or add the name to serve.hosts.","#,
        r#""code":"host-not-served"}"#
    );
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
        (CONNECTION, HeaderValue::from_static("close")),
    ];
    (StatusCode::MISDIRECTED_REQUEST, headers, BODY).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_loopback_listener_answers_for_its_own_names_only() {
        let names = ["trial.hospital.example".to_owned()];
        let loopback = Hosts::of("127.0.0.1:8080".parse().expect("an address"), &names);
        let six = Hosts::of("[::1]:8080".parse().expect("an address"), &names);
        let open = Hosts::of("10.0.0.1:8080".parse().expect("an address"), &names);
        for (host, served) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:8080", true),
            ("127.9.9.9", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("Trial.Hospital.example:443", true),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("[::2]", false),
            ("", false),
        ] {
            let headers = with(&[("host", host)]);
            assert_eq!(loopback.serves(&headers), served, "{host}");
            assert_eq!(six.serves(&headers), served, "{host}");
            assert!(open.serves(&headers), "{host}");
        }
        assert!(loopback.serves(&HeaderMap::new()));
    }

    #[test]
    fn heads_are_refused_and_ids_are_words() {
        let refused = |pairs: &[(&'static str, &str)]| refusal(&with(pairs));
        assert_eq!(refused(&[("host", "h:1")]), None);
        for hosts in [&[][..], &[("host", "a"), ("host", "a")], &[("host", "")], &[("host", "a/b")]] {
            assert_eq!(refused(hosts), Some(Refused::Host), "{hosts:?}");
        }
        let mut many = with(&[("host", "h")]);
        for _ in 0..MAX_HEADERS {
            many.append("a", HeaderValue::from_static("b"));
        }
        assert_eq!(refusal(&many), Some(Refused::Headers));
        let long = "x".repeat(MAX_HEADER_BYTES);
        assert_eq!(refused(&[("host", "h"), ("a", &long)]), Some(Refused::Headers));
        assert_eq!(request_id(&with(&[("x-request-id", "a-1.b_2")])), "a-1.b_2");
        for strange in ["a b", "<a>", "", &"a".repeat(65)] {
            assert_ne!(request_id(&with(&[("x-request-id", strange)])), strange);
        }
    }
}
