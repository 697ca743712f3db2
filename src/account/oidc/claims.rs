//! What an ID token has to say, once its signature holds. Pure.

use crate::access::Role;
use crate::http::jwt::{LEEWAY, seconds};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Seconds that an ID token may live: it is used in the moment that it comes.
const LONGEST: i64 = 24 * 3600;
/// Characters of `sub`.
const LONGEST_SUB: usize = 128;

/// Whom the identity provider named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `oidc:` and `sub`.
    pub account: String,
    pub printed_name: String,
    pub role: Role,
    /// When they proved it, where the provider says so.
    pub auth_time: Option<DateTime<Utc>>,
}

pub(super) struct Expected<'e> {
    pub issuer: &'e str,
    pub client_id: &'e str,
    pub nonce: &'e str,
    /// They were asked to prove it again: the token has to say when.
    pub again: bool,
    pub role_claim: &'e str,
    pub name_claim: &'e str,
    pub roles: &'e BTreeMap<String, Role>,
}

/// An object in which no name stands twice: of two, every reader takes another one.
struct Once(Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Once, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Once;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Once, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                }
                Ok(Once(map))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Reads the claims of an ID token.
///
/// # Errors
/// A fixed word for the rule that it breaks; never what it says.
// # Source
// > OpenID Connect Core 1.0, 3.1.3.7: "The Issuer Identifier for the OpenID Provider … MUST exactly match the
// > value of the iss (issuer) Claim. … The ID Token MUST be rejected if the ID Token does not list the Client
// > as a valid audience, or if it contains additional audiences not trusted by the Client. … The current time
// > MUST be before the time represented by the exp Claim. … If a nonce value was sent in the Authentication
// > Request, a nonce Claim MUST be present and its value checked. … If the auth_time Claim was requested …
// > the Client SHOULD check the auth_time Claim value."
pub(super) fn read(
    bytes: &[u8],
    expected: &Expected<'_>,
    now: DateTime<Utc>,
) -> Result<Identity, &'static str> {
    let Once(claims) = serde_json::from_slice(bytes).map_err(|_| "claims")?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => seconds(number).map(Some).ok_or("a-time-that-is-none"),
        Some(_) => Err("a-time-that-is-none"),
    };
    let now = now.timestamp();
    if text("iss") != Some(expected.issuer) {
        return Err("issuer");
    }
    let is_for_us = match claims.get("aud") {
        Some(Value::String(audience)) => audience == expected.client_id,
        Some(Value::Array(several)) => {
            !several.is_empty() && several.iter().all(|a| a.as_str() == Some(expected.client_id))
        }
        _ => false,
    };
    if !is_for_us {
        return Err("audience");
    }
    if claims.get("azp").is_some_and(|azp| azp.as_str() != Some(expected.client_id)) {
        return Err("authorized-party");
    }
    let ends = time("exp")?.ok_or("no-end")?;
    if ends.saturating_add(LEEWAY) <= now {
        return Err("expired");
    }
    if ends > now.saturating_add(LONGEST).saturating_add(LEEWAY) {
        return Err("too-long-lived");
    }
    if time("iat")?.is_none() {
        return Err("no-beginning");
    }
    for begins in [time("iat")?, time("nbf")?].into_iter().flatten() {
        if begins > now.saturating_add(LEEWAY) {
            return Err("not-yet");
        }
    }
    if text("nonce") != Some(expected.nonce) {
        return Err("nonce");
    }
    let auth_time = match time("auth_time")? {
        Some(at) if at > now.saturating_add(LEEWAY) => return Err("authenticated-later"),
        Some(at) => Some(DateTime::from_timestamp(at, 0).ok_or("a-time-that-is-none")?),
        None if expected.again => return Err("no-auth-time"),
        None => None,
    };
    let sub = text("sub").unwrap_or_default();
    // It becomes a name in the audit log.
    if sub.is_empty() || sub.len() > LONGEST_SUB || !sub.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("subject");
    }
    let role = role(claims.get(expected.role_claim), expected.roles)?;
    let printed_name = text(expected.name_claim).ok_or("no-name")?.to_owned();
    Ok(Identity { account: format!("oidc:{sub}"), printed_name, role, auth_time })
}

/// The one role that the claim's values stand for. Two roles are two accounts.
fn role(claim: Option<&Value>, roles: &BTreeMap<String, Role>) -> Result<Role, &'static str> {
    let values: Vec<&str> = match claim {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return Err("no-role"),
    };
    let found: BTreeSet<Role> = values.iter().filter_map(|value| roles.get(*value)).copied().collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(role), None) => Ok(role),
        (None, _) => Err("no-role"),
        (Some(_), Some(_)) => Err("several-roles"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_795_334_400;

    fn roles() -> BTreeMap<String, Role> {
        [
            ("trial-pi", Role::Investigator),
            ("trial-pi-2", Role::Investigator),
            ("trial-nurse", Role::Coordinator),
        ]
        .into_iter()
        .map(|(value, role)| (value.to_owned(), role))
        .collect()
    }

    fn read_with(again: bool, text: &str) -> Result<Identity, &'static str> {
        let expected = Expected {
            issuer: "https://id.example",
            client_id: "trialbridge",
            nonce: "n-1",
            again,
            role_claim: "groups",
            name_claim: "name",
            roles: &roles(),
        };
        read(text.as_bytes(), &expected, DateTime::from_timestamp(NOW, 0).expect("a time"))
    }

    fn token() -> Value {
        json!({
            "iss": "https://id.example", "aud": "trialbridge", "sub": "7f3a", "exp": NOW + 300, "iat": NOW,
            "nonce": "n-1", "auth_time": NOW - 10, "name": "Li Na", "groups": ["staff", "trial-pi"]
        })
    }

    #[test]
    fn a_token_says_who_and_as_what() {
        let identity = read_with(true, &token().to_string()).expect("an identity");
        assert_eq!(identity.account, "oidc:7f3a");
        assert_eq!((identity.printed_name.as_str(), identity.role), ("Li Na", Role::Investigator));
        assert_eq!(identity.auth_time.map(|t| t.timestamp()), Some(NOW - 10));
    }

    #[test]
    fn whatever_is_wrong_is_refused() {
        // The claim, its value (null: taken out), and the rule that refuses it.
        #[rustfmt::skip]
        let table: Vec<(&str, Value, Result<(), &str>)> = vec![
            ("aud",       json!(["trialbridge"]),              Ok(())),
            ("azp",       json!("trialbridge"),                Ok(())),
            ("exp",       json!(NOW - 29),                     Ok(())),
            ("exp",       json!(NOW as f64 + 0.5),             Ok(())),
            ("groups",    json!("trial-nurse"),                Ok(())),
            ("groups",    json!(["trial-pi", "trial-pi-2"]),   Ok(())),
            ("iss",       json!("https://id.example/"),        Err("issuer")),
            ("iss",       json!("https://evil.test"),          Err("issuer")),
            ("iss",       json!(null),                         Err("issuer")),
            ("aud",       json!("another"),                    Err("audience")),
            ("aud",       json!(["trialbridge", "another"]),   Err("audience")),
            ("aud",       json!([]),                           Err("audience")),
            ("aud",       json!(null),                         Err("audience")),
            ("azp",       json!("another"),                    Err("authorized-party")),
            ("exp",       json!(null),                         Err("no-end")),
            ("exp",       json!("soon"),                       Err("a-time-that-is-none")),
            ("exp",       json!(NOW - 31),                     Err("expired")),
            ("exp",       json!(NOW + 86_431),                 Err("too-long-lived")),
            ("exp",       json!(1e300),                        Err("a-time-that-is-none")),
            ("iat",       json!(null),                         Err("no-beginning")),
            ("iat",       json!(NOW + 31),                     Err("not-yet")),
            ("nbf",       json!(NOW + 31),                     Err("not-yet")),
            ("nonce",     json!("n-2"),                        Err("nonce")),
            ("nonce",     json!(null),                         Err("nonce")),
            ("auth_time", json!(null),                         Err("no-auth-time")),
            ("auth_time", json!(NOW + 31),                     Err("authenticated-later")),
            ("auth_time", json!("now"),                        Err("a-time-that-is-none")),
            ("sub",       json!(""),                           Err("subject")),
            ("sub",       json!("a b"),                        Err("subject")),
            ("sub",       json!("a\nb"),                       Err("subject")),
            ("sub",       json!("x".repeat(129)),              Err("subject")),
            ("sub",       json!(7),                            Err("subject")),
            ("groups",    json!(null),                         Err("no-role")),
            ("groups",    json!(["staff"]),                    Err("no-role")),
            ("groups",    json!({"trial-pi": true}),           Err("no-role")),
            ("groups",    json!(["trial-pi", "trial-nurse"]),  Err("several-roles")),
            ("name",      json!(null),                         Err("no-name")),
        ];
        for (claim, value, expected) in table {
            let mut token = token();
            match &value {
                Value::Null => drop(token.as_object_mut().expect("an object").remove(claim)),
                value => token[claim] = value.clone(),
            }
            assert_eq!(read_with(true, &token.to_string()).map(drop), expected, "{claim} {value}");
        }
        let twice = token().to_string().replacen("\"sub\"", "\"sub\":\"admin\",\"sub\"", 1);
        assert_eq!(read_with(true, &twice), Err("claims"));
        let mut no_time = token();
        no_time.as_object_mut().expect("an object").remove("auth_time");
        assert!(read_with(false, &no_time.to_string()).expect("a sign-in").auth_time.is_none());
    }
}
