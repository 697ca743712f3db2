//! What `[access]` says: how long sessions live, how strong passwords are kept, which sites there are, and
//! the hospital's identity provider.
//!
//! Invariant: what guards is set stricter here, never looser than what the program begins with.

use super::ConfigError;
use crate::access::Role;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use url::{Host, Url};

/// Who may work here, and how they prove it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// A session ends after so long without a request: 15, or less.
    pub idle_minutes: u32,
    /// A session ends after so long whatever happens: 720, or less.
    pub absolute_minutes: u32,
    /// Memory of Argon2id: 19456, or more.
    pub password_memory_kib: u32,
    /// Passes of Argon2id: 2, or more.
    pub password_passes: u32,
    /// Without any there is one site, and everybody belongs to it.
    pub site: Vec<Site>,
    pub oidc: Oidc,
}

/// A hospital of the trial.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// As accounts name it.
    pub id: String,
    /// The sources whose patients are this site's: `fhir.base_url`, `push.source`, `mllp:` and so on, as
    /// records name them.
    pub sources: Vec<String>,
}

/// OpenID Connect. Without an issuer nobody is sent there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oidc {
    /// `iss`, exactly; its discovery document lies below it.
    pub issuer: Option<String>,
    pub client_id: Option<String>,
    pub client_secret_file: Option<PathBuf>,
    /// Where the identity provider sends people back to: this program's `/login/oidc/callback` as they
    /// reach it.
    pub redirect_url: Option<String>,
    /// The claim that says what somebody is; a text or a list of texts.
    pub role_claim: String,
    /// The claim that is printed in signatures.
    pub name_claim: String,
    /// Values of the claim, and the role that each stands for.
    pub roles: BTreeMap<String, Role>,
    /// A further certificate authority, PEM.
    pub ca_file: Option<PathBuf>,
}

/// OWASP's first choice for Argon2id with little memory; also what the program begins with.
// # Source
// > "Use Argon2id with a minimum configuration of 19 MiB of memory, an iteration count of 2, and 1 degree of
// > parallelism."   OWASP Password Storage Cheat Sheet
const LEAST_MEMORY_KIB: u32 = 19_456;
const LEAST_PASSES: u32 = 2;
/// More would make signing in a way to exhaust the machine.
const MOST_MEMORY_KIB: u32 = 1 << 20;
const MOST_PASSES: u32 = 32;
const MOST_IDLE_MINUTES: u32 = 15;
const MOST_ABSOLUTE_MINUTES: u32 = 12 * 60;

impl Default for Access {
    fn default() -> Self {
        Access {
            idle_minutes: MOST_IDLE_MINUTES,
            absolute_minutes: MOST_ABSOLUTE_MINUTES,
            password_memory_kib: LEAST_MEMORY_KIB,
            password_passes: LEAST_PASSES,
            site: Vec::new(),
            oidc: Oidc::default(),
        }
    }
}

impl Default for Oidc {
    fn default() -> Self {
        Oidc {
            issuer: None,
            client_id: None,
            client_secret_file: None,
            redirect_url: None,
            role_claim: "groups".into(),
            name_claim: "name".into(),
            roles: BTreeMap::new(),
            ca_file: None,
        }
    }
}

impl Access {
    /// # Errors
    /// The key and why its value cannot be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, text: String| Err(ConfigError { place: format!("access.{key}"), text });
        for (key, value, least, most) in [
            ("idle_minutes", self.idle_minutes, 1, MOST_IDLE_MINUTES),
            ("absolute_minutes", self.absolute_minutes, 1, MOST_ABSOLUTE_MINUTES),
            ("password_memory_kib", self.password_memory_kib, LEAST_MEMORY_KIB, MOST_MEMORY_KIB),
            ("password_passes", self.password_passes, LEAST_PASSES, MOST_PASSES),
        ] {
            if !(least..=most).contains(&value) {
                return wrong(key, format!("{value} is outside of {least} to {most}"));
            }
        }
        let (mut ids, mut sources) = (BTreeSet::new(), BTreeSet::new());
        for site in &self.site {
            if !is_site_id(&site.id) {
                return wrong(
                    "site",
                    "an `id` is 1 to 32 small letters, digits and hyphens, and begins with a letter".into(),
                );
            }
            if !ids.insert(site.id.as_str()) {
                return wrong("site", format!("`{}` stands twice", site.id));
            }
            if site.sources.is_empty() {
                return wrong("site", format!("`{}` has no sources: nobody would be seen there", site.id));
            }
            for source in &site.sources {
                if !sources.insert(source.as_str()) {
                    return wrong("site", format!("the source `{source}` belongs to two sites"));
                }
            }
        }
        self.oidc.validate()
    }

    /// Whether accounts belong to sites.
    pub fn has_sites(&self) -> bool {
        !self.site.is_empty()
    }
}

/// An id as accounts name a site.
fn is_site_id(id: &str) -> bool {
    id.len() <= 32
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

impl Oidc {
    fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, text: &str| {
            Err(ConfigError { place: format!("access.oidc.{key}"), text: text.to_owned() })
        };
        let Some(issuer) = &self.issuer else {
            if self.client_id.is_some() || self.client_secret_file.is_some() || !self.roles.is_empty() {
                return wrong("issuer", "it is missing: the other keys of access.oidc speak of it");
            }
            return Ok(());
        };
        let url = match web_address(issuer) {
            Ok(url) => url,
            Err(text) => return wrong("issuer", text),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("issuer", "an issuer has neither query nor fragment");
        }
        if self.client_id.as_deref().is_none_or(str::is_empty) {
            return wrong("client_id", "it is missing: as registered with the identity provider");
        }
        if self.client_secret_file.is_none() {
            return wrong(
                "client_secret_file",
                "it is missing: a file of mode 0600 with the client's secret",
            );
        }
        let Some(redirect) = &self.redirect_url else {
            return wrong("redirect_url", "it is missing: https://…/login/oidc/callback as people reach it");
        };
        match web_address(redirect) {
            Ok(url) if url.fragment().is_some() || url.query().is_some() => {
                return wrong("redirect_url", "it has neither query nor fragment");
            }
            Ok(_) => {}
            Err(text) => return wrong("redirect_url", text),
        }
        if self.role_claim.is_empty() || self.name_claim.is_empty() {
            return wrong("role_claim", "role_claim and name_claim name a claim each");
        }
        if self.roles.is_empty() {
            return wrong("roles", "it is missing: which value of the claim stands for which role");
        }
        if self.roles.values().any(|role| !Role::ASSIGNABLE.contains(role)) {
            return wrong("roles", "`operator` is no role that an account can have");
        }
        Ok(())
    }
}

/// An address that credentials may go to.
fn web_address(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is not a URL")?;
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("it names no host"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or password");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err("only https: whoever can change it on its way can be anybody"),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_guards_is_only_set_stricter() {
        let oidc = "[access.oidc]\nissuer = \"https://id.example\"\nclient_id = \"c\"\n\
                    client_secret_file = \"s\"\nredirect_url = \"https://t.example/login/oidc/callback\"\n";
        let roles = "[access.oidc.roles]\n\"trial-pi\" = \"investigator\"\n";
        let site =
            |id: &str, sources: &str| format!("[[access.site]]\nid = \"{id}\"\nsources = [{sources}]\n");
        for (text, expected) in [
            (String::new(), None),
            ("[access]\nidle_minutes = 5\nabsolute_minutes = 60\n".into(), None),
            ("[access]\nidle_minutes = 16\n".into(), Some("access.idle_minutes")),
            ("[access]\nidle_minutes = 0\n".into(), Some("access.idle_minutes")),
            ("[access]\nabsolute_minutes = 721\n".into(), Some("access.absolute_minutes")),
            ("[access]\npassword_memory_kib = 65536\npassword_passes = 3\n".into(), None),
            ("[access]\npassword_memory_kib = 19455\n".into(), Some("access.password_memory_kib")),
            ("[access]\npassword_passes = 1\n".into(), Some("access.password_passes")),
            (site("north", "\"a\", \"b\"") + &site("south", "\"c\""), None),
            (site("north", ""), Some("access.site")),
            (site("North", "\"a\""), Some("access.site")),
            (site("north", "\"a\"") + &site("north", "\"b\""), Some("access.site")),
            (site("north", "\"a\"") + &site("south", "\"a\""), Some("access.site")),
            (format!("{oidc}{roles}"), None),
            (oidc.to_owned(), Some("access.oidc.roles")),
            (format!("{oidc}{roles}\"it\" = \"operator\"\n"), Some("access.oidc.roles")),
            (roles.to_owned(), Some("access.oidc.issuer")),
            (format!("{oidc}{roles}").replace("https://id", "http://id"), Some("access.oidc.issuer")),
            (format!("{oidc}{roles}").replace("https://id", "http://localhost:1/"), None),
            (format!("{oidc}{roles}").replace("id.example", "u:p@id.example"), Some("access.oidc.issuer")),
            (format!("{oidc}{roles}").replace("id.example", "id.example?x"), Some("access.oidc.issuer")),
            (format!("{oidc}{roles}").replace("client_id = \"c\"", ""), Some("access.oidc.client_id")),
            (
                format!("{oidc}{roles}").replace("client_secret_file = \"s\"", ""),
                Some("access.oidc.client_secret_file"),
            ),
            (
                format!("{oidc}{roles}").replace("https://t.example", "http://t.example"),
                Some("access.oidc.redirect_url"),
            ),
        ] {
            let config = Config::read("c.toml", &text, []).expect("readable");
            let error = config.access.validate().err();
            assert_eq!(error.as_ref().map(|e| e.place.as_str()), expected, "{text} {error:?}");
        }
    }
}
