//! The one origin that is spoken to.
//!
//! Whatever a server writes into a link, nothing outside the configured scheme, host, port and base
//! path is ever connected to. Origins are compared after URL parsing, never as text: a prefix test
//! takes `https://fhir.example.attacker.test/` for `https://fhir.example`.

use super::config::ConfigError;
use url::{Host, Url};

/// The configured service base. Its path ends in `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(Url);

/// A link that leaves the configured base. Holds scheme, host and port at most, never path or query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the link leads to {0}, outside the configured base")]
pub struct ForeignLink(String);

impl Base {
    /// # Errors
    /// [`ConfigError`] names the key and the remedy. A user name or password is never repeated.
    pub fn parse(text: &str, allow_plain_http: bool) -> Result<Base, ConfigError> {
        let mut url = Url::parse(text.trim()).map_err(|e| ConfigError::BaseUrl { reason: e.to_string() })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ConfigError::BaseUrl { reason: format!("scheme `{}`", url.scheme()) });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ConfigError::Userinfo);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ConfigError::Query);
        }
        let local = match url.host() {
            None => return Err(ConfigError::BaseUrl { reason: "no host".into() }),
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
        };
        if url.scheme() == "http" && !local && !allow_plain_http {
            let host = url.host_str().unwrap_or_default().to_owned();
            return Err(ConfigError::PlainHttp { host });
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Base(url))
    }

    /// The base as configured, without a trailing slash.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Same scheme, host and port, no user info, and a path at or under the base path.
    pub fn contains(&self, url: &Url) -> bool {
        let here = self.0.path();
        let path = url.path();
        let under = path.starts_with(here) || path == here.trim_end_matches('/');
        // An encoded slash can climb out of the base in a server that decodes before it routes.
        let lower = path.to_ascii_lowercase();
        let plain = !lower.contains("%2f") && !lower.contains("%5c");
        url.scheme() == self.0.scheme()
            && url.host() == self.0.host()
            && url.port_or_known_default() == self.0.port_or_known_default()
            && url.username().is_empty()
            && url.password().is_none()
            && under
            && plain
    }

    /// A link as a server wrote it, absolute or relative to the base.
    ///
    /// # Errors
    /// [`ForeignLink`] for everything that cannot be proved to lie under the base.
    pub fn resolve(&self, link: &str) -> Result<Url, ForeignLink> {
        let mut url = self.0.join(link).map_err(|_| ForeignLink("an unreadable address".into()))?;
        url.set_fragment(None);
        if self.contains(&url) { Ok(url) } else { Err(ForeignLink(origin_of(&url))) }
    }

    /// `base/segment/segment`. `None` where a segment is not a plain name (FHIR type, id, operation).
    pub fn under(&self, segments: &[&str]) -> Option<Url> {
        let mut url = self.0.clone();
        {
            let mut path = url.path_segments_mut().ok()?;
            path.pop_if_empty();
            for segment in segments {
                if !is_plain_segment(segment) {
                    return None;
                }
                path.push(segment);
            }
        }
        Some(url)
    }

    /// The id in `Type/id`, `Type/id/_history/v` or the absolute form of either under this base.
    pub fn id_in(&self, reference: &str, resource_type: &str) -> Option<String> {
        let url = self.resolve(reference).ok()?;
        let rest = url.path().strip_prefix(self.0.path())?;
        let mut parts = rest.split('/');
        let (found_type, id) = (parts.next()?, parts.next()?);
        let tail: Vec<&str> = parts.collect();
        let versioned = matches!(tail.as_slice(), [] | ["_history", _]);
        (found_type == resource_type && is_plain_segment(id) && versioned).then(|| id.to_owned())
    }
}

/// A FHIR type name, id or operation that can stand in a path. Longer ids than the 64 characters of
/// the specification are met in the field and do no harm.
pub fn is_plain_segment(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'$'))
}

fn origin_of(url: &Url) -> String {
    match url.host_str() {
        None => format!("a {}: address", url.scheme()),
        Some(host) => match url.port() {
            Some(port) => format!("{}://{host}:{port}", url.scheme()),
            None => format!("{}://{host}", url.scheme()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_only_within_the_base() {
        let base = Base::parse("http://127.0.0.1:8080/fhir", false).expect("loopback");
        let table = [
            // relative and absolute forms of the same place
            ("http://127.0.0.1:8080/fhir/Observation?page=2", true),
            ("http://127.0.0.1:8080/fhir?_getpages=4f", true),
            ("http://127.0.0.1:8080/fhir/?_getpages=4f", true),
            ("HTTP://127.0.0.1:8080/fhir/Observation?page=2", true),
            ("Observation?page=2", true),
            ("?_getpages=4f", true),
            ("/fhir/Observation?page=2", true),
            ("http://127.0.0.1:8080/fhir/Observation?page=2#top", true),
            // another port, scheme, host, user
            ("http://127.0.0.1:9999/fhir/Observation", false),
            ("https://127.0.0.1:8080/fhir/Observation", false),
            ("http://127.0.0.1/fhir/Observation", false),
            ("http://localhost:8080/fhir/Observation", false),
            ("//evil.test/fhir/Observation", false),
            ("http://127.0.0.1:8080@evil.test/fhir/Observation", false),
            ("http://user@127.0.0.1:8080/fhir/Observation", false),
            ("http://user:pw@127.0.0.1:8080/fhir/Observation", false),
            ("http://0x7f000001:9999/fhir/Observation", false),
            ("http://[::ffff:127.0.0.1]:8080/fhir/Observation", false),
            ("http:\\\\evil.test\\fhir\\Observation", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
            ("http://", false),
            // outside the base path
            ("http://127.0.0.1:8080/fhirevil/Observation", false),
            ("http://127.0.0.1:8080/admin", false),
            ("../admin", false),
            ("http://127.0.0.1:8080/fhir/../admin", false),
            ("http://127.0.0.1:8080/fhir/%2e%2e/admin", false),
            ("http://127.0.0.1:8080/fhir/..%2fadmin", false),
            ("http://127.0.0.1:8080/fhir/..%5Cadmin", false),
        ];
        for (link, allowed) in table {
            assert_eq!(base.resolve(link).is_ok(), allowed, "{link}");
        }
    }

    #[test]
    fn a_name_is_compared_whole() {
        let base = Base::parse("https://fhir.example", false).expect("https");
        let table = [
            ("https://fhir.example/Observation", true),
            ("https://FHIR.example:443/Observation", true),
            ("https://fhir.example.attacker.test/", false),
            ("https://fhir.example./Observation", false),
            ("https://fhir.example:8443/Observation", false),
            ("http://fhir.example/Observation", false),
            ("https://fhir.example@attacker.test/", false),
            ("https://xn--fhir-example/Observation", false),
        ];
        for (link, allowed) in table {
            assert_eq!(base.resolve(link).is_ok(), allowed, "{link}");
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        let table = [
            ("http://127.0.0.1:1/fhir", true),
            ("http://127.8.8.8/fhir", true),
            ("http://localhost/fhir", true),
            ("http://[::1]:9/fhir", true),
            ("https://fhir.example/r4", true),
            ("http://fhir.example/r4", false),
            ("http://localhost.evil.test/r4", false),
            ("http://10.0.0.1/r4", false),
            ("ftp://127.0.0.1/fhir", false),
            ("fhir.example/r4", false),
            ("https://u:secret@fhir.example/r4", false),
            ("https://fhir.example/r4?x=1", false),
        ];
        for (text, allowed) in table {
            let parsed = Base::parse(text, false);
            assert_eq!(parsed.is_ok(), allowed, "{text}");
            if let Err(e) = parsed {
                assert!(!e.to_string().contains("secret"), "{e}");
            }
        }
        assert!(Base::parse("http://fhir.example/r4", true).is_ok());
    }

    #[test]
    fn ids_are_read_from_references_under_the_base_only() {
        let base = Base::parse("http://127.0.0.1:8080/fhir", false).expect("loopback");
        let table = [
            ("ResearchSubject/7", Some("7")),
            ("ResearchSubject/7/_history/2", Some("7")),
            ("http://127.0.0.1:8080/fhir/ResearchSubject/7/_history/1", Some("7")),
            ("http://127.0.0.1:9/fhir/ResearchSubject/7", None),
            ("Patient/7", None),
            ("ResearchSubject/", None),
            ("ResearchSubject/7/evil", None),
            ("#contained", None),
        ];
        for (reference, id) in table {
            assert_eq!(base.id_in(reference, "ResearchSubject").as_deref(), id, "{reference}");
        }
        for segment in ["..", ".", "", "a/b", "a?b", "ä", "a b"] {
            assert_eq!(base.under(&["Patient", segment]), None, "{segment}");
        }
    }
}
