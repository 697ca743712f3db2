//! What `[push]` has to say together, before anything listens.

use super::{ConfigError, Jwt, Push};
use std::collections::BTreeSet;
use std::net::IpAddr;
use url::{Host, Url};

impl Push {
    /// Can what hospitals send be taken in as configured? `pages` is `serve.listen`, where it comes in if
    /// it has no address of its own.
    ///
    /// # Errors
    /// The key and why its value cannot be. Above all: without authentication only this machine is
    /// listened to, since whoever reaches the address could write patients' data.
    pub fn validate(&self, pages: &str) -> Result<(), ConfigError> {
        if !self.enabled {
            return Ok(());
        }
        let wrong =
            |key: &str, text: &str| Err(ConfigError { place: format!("push.{key}"), text: text.to_owned() });
        let (key, address) = match &self.listen {
            Some(own) => ("push.listen", own.as_str()),
            None => ("serve.listen", pages),
        };
        match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(_), None) => {
                return wrong("tls_key_file", "it is missing: push.tls_cert_file needs its key");
            }
            (None, Some(_)) => {
                return wrong("tls_cert_file", "it is missing: push.tls_key_file needs its certificate");
            }
            (None, None) if self.client_ca_file.is_some() => {
                return wrong(
                    "client_ca_file",
                    "client certificates need TLS: set push.tls_cert_file and push.tls_key_file",
                );
            }
            _ => {}
        }
        if self.tls_cert_file.is_some() && self.listen.is_none() {
            return wrong("listen", "it is missing: TLS needs an address of its own, the pages have none");
        }
        match self.auth.as_str() {
            "none" if !is_loopback(address) => {
                let text = format!(
                    "nobody is asked who they are, and {key} is {address}: whoever reaches that address could \
                     write patients' data. Set bearer, jwt or certificate, listen on 127.0.0.1, or set \
                     push.enabled = false"
                );
                wrong("auth", &text)
            }
            "bearer" => {
                if self.client.is_empty() {
                    return wrong(
                        "client",
                        "bearer needs at least one [[push.client]] with name and token_file",
                    );
                }
                let names: BTreeSet<&str> = self.client.iter().map(|c| c.name.as_str()).collect();
                if names.len() < self.client.len() || names.contains("") {
                    return wrong("client", "every client has a name, and another one than the others");
                }
                Ok(())
            }
            "jwt" => self.jwt.validate(),
            "certificate" if self.client_ca_file.is_none() => {
                wrong("client_ca_file", "it is missing: it says whose client certificates count")
            }
            _ => Ok(()),
        }
    }
}

impl Jwt {
    fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, text: &str| {
            Err(ConfigError { place: format!("push.jwt.{key}"), text: text.to_owned() })
        };
        if self.issuer.as_deref().is_none_or(str::is_empty) {
            return wrong("issuer", "it is missing: the `iss` of tokens that count");
        }
        if self.audience.as_deref().is_none_or(str::is_empty) {
            return wrong("audience", "it is missing: the `aud` by which tokens are meant for this service");
        }
        if self.max_lifetime_minutes == 0 {
            return wrong("max_lifetime_minutes", "it is at least 1");
        }
        match (&self.jwks_file, &self.jwks_url) {
            (None, None) => wrong(
                "jwks_file",
                "it is missing, and push.jwt.jwks_url as well: one says where the keys are",
            ),
            (Some(_), Some(_)) => wrong("jwks_url", "push.jwt.jwks_file is set as well; only one can be"),
            (Some(_), None) => Ok(()),
            (None, Some(address)) => {
                let Ok(url) = Url::parse(address) else { return wrong("jwks_url", "it is not a URL") };
                let is_here = match url.host() {
                    Some(Host::Domain(name)) => name == "localhost",
                    Some(Host::Ipv4(ip)) => ip.is_loopback(),
                    Some(Host::Ipv6(ip)) => ip.is_loopback(),
                    None => false,
                };
                match url.scheme() {
                    "https" => Ok(()),
                    "http" if is_here => Ok(()),
                    _ => wrong(
                        "jwks_url",
                        "only https: whoever can change the keys on their way can write any token",
                    ),
                }
            }
        }
    }
}

/// Does an address `HOST:PORT` reach from this machine alone?
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_cannot_be_is_said_with_its_key() {
        const JWT: &str = "auth = \"jwt\"\n[push.jwt]\nissuer = \"i\"\naudience = \"a\"\n";
        let jwt = |more: &str| format!("{JWT}{more}");
        let tls = "tls_cert_file = \"c\"\ntls_key_file = \"k\"\nlisten = \"0.0.0.0:8443\"\n";
        let client = "[[push.client]]\nname = \"lab\"\ntoken_file = \"t\"\n";
        for (pages, text, expected) in [
            ("127.0.0.1:8080", String::new(), None),
            ("localhost:8080", String::new(), None),
            ("[::1]:8080", String::new(), None),
            ("0.0.0.0:8080", String::new(), Some("push.auth")),
            ("[::]:8080", String::new(), Some("push.auth")),
            ("127.0.0.1.example:8080", String::new(), Some("push.auth")),
            ("0.0.0.0:8080", "enabled = false".into(), None),
            ("0.0.0.0:8080", "listen = \"127.0.0.1:8081\"".into(), None),
            ("127.0.0.1:8080", "listen = \"10.0.0.1:8081\"".into(), Some("push.auth")),
            ("0.0.0.0:8080", format!("auth = \"bearer\"\n{client}"), None),
            ("0.0.0.0:8080", "auth = \"bearer\"".into(), Some("push.client")),
            ("0.0.0.0:8080", format!("auth = \"bearer\"\n{client}{client}"), Some("push.client")),
            ("127.0.0.1:8080", "tls_cert_file = \"c\"".into(), Some("push.tls_key_file")),
            ("127.0.0.1:8080", "tls_key_file = \"c\"".into(), Some("push.tls_cert_file")),
            ("127.0.0.1:8080", "client_ca_file = \"c\"".into(), Some("push.client_ca_file")),
            ("127.0.0.1:8080", "tls_cert_file = \"c\"\ntls_key_file = \"k\"".into(), Some("push.listen")),
            ("127.0.0.1:8080", format!("{tls}auth = \"certificate\""), Some("push.client_ca_file")),
            ("127.0.0.1:8080", format!("{tls}auth = \"certificate\"\nclient_ca_file = \"a\""), None),
            ("127.0.0.1:8080", tls.to_owned(), Some("push.auth")),
            ("0.0.0.0:8080", "auth = \"jwt\"".into(), Some("push.jwt.issuer")),
            ("0.0.0.0:8080", "auth = \"jwt\"\n[push.jwt]\nissuer = \"i\"".into(), Some("push.jwt.audience")),
            ("0.0.0.0:8080", jwt(""), Some("push.jwt.jwks_file")),
            ("0.0.0.0:8080", jwt("jwks_file = \"f\""), None),
            (
                "0.0.0.0:8080",
                jwt("jwks_file = \"f\"\nmax_lifetime_minutes = 0"),
                Some("push.jwt.max_lifetime_minutes"),
            ),
            (
                "0.0.0.0:8080",
                jwt("jwks_file = \"f\"\njwks_url = \"https://i/keys\""),
                Some("push.jwt.jwks_url"),
            ),
            ("0.0.0.0:8080", jwt("jwks_url = \"https://i.example/keys\""), None),
            ("0.0.0.0:8080", jwt("jwks_url = \"http://127.0.0.1:1/keys\""), None),
            ("0.0.0.0:8080", jwt("jwks_url = \"http://i.example/keys\""), Some("push.jwt.jwks_url")),
            ("0.0.0.0:8080", jwt("jwks_url = \"file:///keys\""), Some("push.jwt.jwks_url")),
        ] {
            let config = Config::read("c.toml", &format!("[push]\n{text}\n"), []).expect("readable");
            let error = config.push.validate(pages).err();
            assert_eq!(error.as_ref().map(|e| e.place.as_str()), expected, "{pages} {text} {error:?}");
        }
    }
}
