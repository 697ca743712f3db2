//! Cookies: what stands in them, and when a browser may have them.
//!
//! There are three, all `HttpOnly`, for this host alone and gone with the browser: the session, the mark that
//! ties a login form to the browser that it was sent to, and the state that ties an answer of the identity
//! provider to the browser that asked. Over anything but plain HTTP on this machine they are `Secure` and
//! carry the prefix `__Host-`, which a browser lets nobody else set: a cookie that a neighbour host planted
//! has another name and is not looked at.

use axum::http::header::{COOKIE, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    Session,
    /// For the form that somebody signs in with.
    Form,
    /// For the way to the identity provider and back.
    State,
}

impl Cookie {
    fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Cookie::Session, true) => "__Host-trialbridge",
            (Cookie::Session, false) => "trialbridge",
            (Cookie::Form, true) => "__Host-trialbridge-form",
            (Cookie::Form, false) => "trialbridge-form",
            (Cookie::State, true) => "__Host-trialbridge-state",
            (Cookie::State, false) => "trialbridge-state",
        }
    }

    /// What the browser sent; nothing if it sent it twice, or anything but a token of ours.
    pub fn read(self, headers: &HeaderMap) -> Option<&str> {
        let name = self.name(is_secure(headers));
        let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut given = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value);
        let value = given.next()?;
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let plain = !value.is_empty() && value.len() <= 128 && value.bytes().all(is_token);
        (plain && given.next().is_none()).then_some(value)
    }

    /// The header that sets it.
    pub fn set(self, headers: &HeaderMap, value: &str) -> HeaderValue {
        self.line(is_secure(headers), value, "")
    }

    /// The header that takes it away.
    pub fn clear(self, headers: &HeaderMap) -> HeaderValue {
        self.line(is_secure(headers), "", "; Max-Age=0")
    }

    fn line(self, is_secure: bool, value: &str, more: &str) -> HeaderValue {
        let secure = if is_secure { "; Secure" } else { "" };
        // A provider sends the browser back from its own site: a strict cookie would not come along.
        let site = if self == Cookie::State { "Lax" } else { "Strict" };
        let name = self.name(is_secure);
        let text = format!("{name}={value}; Path=/; HttpOnly; SameSite={site}{secure}{more}");
        HeaderValue::from_str(&text).expect("a token of ours is visible ASCII")
    }
}

/// Is the browser's connection one that only it and we can read? Plain HTTP is taken for that on this
/// machine alone, and there too not where a proxy says that it speaks HTTPS. What a caller claims here
/// can only make its own cookie stricter.
pub(super) fn is_secure(headers: &HeaderMap) -> bool {
    let proto = headers.get(HeaderName::from_static("x-forwarded-proto"));
    if proto.is_some_and(|p| p.as_bytes().eq_ignore_ascii_case(b"https")) {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    let is_loopback = bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    !is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn a_cookie_is_secure_unless_it_stays_on_this_machine() {
        let strict = "; Path=/; HttpOnly; SameSite=Strict";
        #[rustfmt::skip]
        let table = [
            (with(&[("host", "127.0.0.1:8080")]),                              "trialbridge=abc",                 ""),
            (with(&[("host", "localhost")]),                                   "trialbridge=abc",                 ""),
            (with(&[("host", "[::1]:80")]),                                    "trialbridge=abc",                 ""),
            (with(&[("host", "127.0.0.1"), ("x-forwarded-proto", "HTTPS")]),   "__Host-trialbridge=abc", "; Secure"),
            (with(&[("host", "trial.hospital.example")]),                      "__Host-trialbridge=abc", "; Secure"),
            (with(&[("host", "10.1.2.3:8080")]),                               "__Host-trialbridge=abc", "; Secure"),
            (with(&[("host", "localhost.evil.example")]),                      "__Host-trialbridge=abc", "; Secure"),
            (with(&[("host", "trial.example"), ("x-forwarded-proto", "http")]), "__Host-trialbridge=abc", "; Secure"),
            (with(&[]),                                                        "__Host-trialbridge=abc", "; Secure"),
        ];
        for (headers, name, secure) in table {
            assert_eq!(
                Cookie::Session.set(&headers, "abc"),
                format!("{name}{strict}{secure}"),
                "{headers:?}"
            );
        }
        let gone = Cookie::Session.clear(&with(&[("host", "a.example")]));
        assert_eq!(gone, format!("__Host-trialbridge={strict}; Secure; Max-Age=0"));
    }

    #[test]
    fn only_the_one_cookie_of_the_right_name_is_read() {
        let (near, far) = (("host", "127.0.0.1:1"), ("host", "trial.example"));
        #[rustfmt::skip]
        let table = [
            (with(&[near, ("cookie", "trialbridge=a_-1")]),                       Some("a_-1")),
            (with(&[near, ("cookie", "x=y; trialbridge=abc;z=1")]),               Some("abc")),
            (with(&[near, ("cookie", "x=y"), ("cookie", "trialbridge=abc")]),     Some("abc")),
            (with(&[near, ("cookie", "trialbridge=abc; trialbridge=abd")]),       None),
            (with(&[near, ("cookie", "trialbridge=abc"), ("cookie", "trialbridge=abc")]), None),
            (with(&[near, ("cookie", "trialbridge=")]),                           None),
            (with(&[near, ("cookie", "trialbridge=a b")]),                        None),
            (with(&[near, ("cookie", "trialbridge=\"abc\"")]),                    None),
            (with(&[near, ("cookie", "Trialbridge=abc")]),                        None),
            (with(&[near]),                                                       None),
            (with(&[far, ("cookie", "__Host-trialbridge=abc")]),                  Some("abc")),
            (with(&[far, ("cookie", "__Host-trialbridge=abc; trialbridge=evil")]), Some("abc")),
            // Planted by a neighbour, or over plain HTTP.
            (with(&[far, ("cookie", "trialbridge=evil")]),                        None),
        ];
        for (headers, expected) in table {
            assert_eq!(Cookie::Session.read(&headers), expected, "{headers:?}");
        }
    }
}
