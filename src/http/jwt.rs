//! Access tokens (JWT): is one signed by a key of ours, for us, and of now?
//!
//! Pure: keys and the time are arguments. Keys come from the configured set alone; whatever a token says
//! about where its key is (`jku`, `x5u`, `jwk`, `x5c`) is not even read.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::{Number, Value};

/// No token of ours is longer.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How far the clocks may differ, in seconds.
pub const LEEWAY: i64 = 30;
/// 2048 bits.
const MIN_RSA_BYTES: usize = 256;
/// Characters of a caller's name.
const MAX_NAME: usize = 128;

/// Keys of the authorisation server.
pub struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    /// What the key may be used with.
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

/// What a token has to say.
#[derive(Clone, Debug)]
pub struct Expected {
    pub issuer: String,
    pub audience: String,
    /// Seconds ahead that a token may end at most.
    pub longest: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The fixed word says which rule; it is for the log, not for who sent the token.
    Invalid(&'static str),
    /// The set has no such key. The server may have got a new one.
    UnknownKey,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    r#use: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Reads a JWK set. Keys of other kinds and for other uses are passed over.
    ///
    /// # Errors
    /// Why there is no key to check a token with.
    pub fn from_json(text: &[u8]) -> Result<Keys, &'static str> {
        let set: Set = serde_json::from_slice(text).map_err(|_| "not a JWK set (`{\"keys\": [...]}`)")?;
        let keys: Vec<Key> = set
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok().and_then(Key::of))
            .collect();
        if keys.is_empty() {
            return Err("no key for signatures: RSA of 2048 bits or more, P-256 or P-384");
        }
        Ok(Keys(keys))
    }

    /// The key that a token names. A token without a name fits where only one key does.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, TokenError> {
        let fits = |key: &&Key| key.algorithms.contains(&algorithm);
        match id {
            Some(id) => {
                let key = self.0.iter().find(|key| key.id.as_deref() == Some(id));
                key.ok_or(TokenError::UnknownKey).and_then(|key| {
                    Some(key).filter(fits).ok_or(TokenError::Invalid("algorithm-of-another-key"))
                })
            }
            None => {
                let mut fitting = self.0.iter().filter(fits);
                match (fitting.next(), fitting.next()) {
                    (Some(key), None) => Ok(key),
                    _ => Err(TokenError::Invalid("no-key-named")),
                }
            }
        }
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Key> {
        if jwk.r#use.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let (algorithms, key): (&'static [Algorithm], _) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (jwk.n?, jwk.e?);
                if base64url(&n)?.iter().skip_while(|b| **b == 0).count() < MIN_RSA_BYTES {
                    return None;
                }
                let algorithms: &'static [Algorithm] = match jwk.alg.as_deref() {
                    Some("RS256") => &[Algorithm::RS256],
                    Some("RS384") => &[Algorithm::RS384],
                    Some(_) => return None,
                    None => &[Algorithm::RS256, Algorithm::RS384],
                };
                (algorithms, DecodingKey::from_rsa_components(&n, &e).ok()?)
            }
            ("EC", Some(curve)) => {
                let (algorithms, name): (&'static [Algorithm], _) = match curve {
                    "P-256" => (&[Algorithm::ES256], "ES256"),
                    "P-384" => (&[Algorithm::ES384], "ES384"),
                    _ => return None,
                };
                if jwk.alg.is_some_and(|alg| alg != name) {
                    return None;
                }
                (algorithms, DecodingKey::from_ec_components(&jwk.x?, &jwk.y?).ok()?)
            }
            _ => return None,
        };
        Some(Key { id: jwk.kid, algorithms, key })
    }
}

/// Only what is used; a name that stands twice is an error of its own.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Value>,
    exp: Option<Number>,
    nbf: Option<Number>,
    iat: Option<Number>,
    jti: Option<String>,
    sub: Option<String>,
    client_id: Option<String>,
    azp: Option<String>,
}

/// The name of a token's client: `client_id`, else `azp`, else `sub`. `now` is seconds since 1970.
///
/// # Errors
/// [`TokenError`].
// # Source
// > RFC 9068, 2.2 and 4: "iss", "exp", "aud", "sub", "client_id", "iat" and "jti" are required; "The
// > resource server MUST validate that the aud claim contains a resource indicator value corresponding to
// > an identifier the resource server expects for itself."
pub fn verify(token: &str, keys: &Keys, expected: &Expected, now: i64) -> Result<String, TokenError> {
    let wrong = |rule| Err(TokenError::Invalid(rule));
    let claims = signed(token, keys, &["jwt", "at+jwt"])?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Invalid("not-a-jwt"))?;
    if claims.iss.as_deref() != Some(expected.issuer.as_str()) {
        return wrong("issuer");
    }
    let is_for_us = match &claims.aud {
        Some(Value::String(audience)) => *audience == expected.audience,
        Some(Value::Array(several)) => several.iter().any(|a| a.as_str() == Some(&expected.audience)),
        _ => false,
    };
    if !is_for_us {
        return wrong("audience");
    }
    let Some(ends) = claims.exp.as_ref().and_then(seconds) else { return wrong("no-end") };
    if ends.saturating_add(LEEWAY) <= now {
        return wrong("expired");
    }
    if ends > now.saturating_add(expected.longest).saturating_add(LEEWAY) {
        return wrong("too-long-lived");
    }
    for begins in [claims.nbf, claims.iat].into_iter().flatten() {
        if seconds(&begins).is_none_or(|at| at > now.saturating_add(LEEWAY)) {
            return wrong("not-yet");
        }
    }
    if claims.jti.is_none_or(|id| id.is_empty()) {
        return wrong("no-id");
    }
    let name = claims.client_id.or(claims.azp).or(claims.sub).unwrap_or_default();
    // The name goes into logs and becomes a key.
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return wrong("no-client");
    }
    Ok(name)
}

/// The claims of a token that one of the keys signed, as JSON; nothing in them has been looked at. `types`
/// are those of the header's `typ`, in small letters, that are taken; a token may go without one.
///
/// # Errors
/// [`TokenError`].
pub fn signed(token: &str, keys: &Keys, types: &[&str]) -> Result<Vec<u8>, TokenError> {
    let wrong = |rule| Err(TokenError::Invalid(rule));
    if token.len() > MAX_TOKEN_BYTES {
        return wrong("too-long");
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return wrong("not-a-jwt");
    };
    let header: Header = json(header)?;
    let algorithm = match header.alg.as_str() {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        _ => return wrong("algorithm"),
    };
    if header.crit.is_some() {
        return wrong("critical-extension");
    }
    // A logout token of the same server, or one for another use, is not what was asked for.
    let is_asked_for = |typ: &String| {
        let typ = typ.to_ascii_lowercase();
        types.contains(&typ.strip_prefix("application/").unwrap_or(&typ))
    };
    if !header.typ.as_ref().is_none_or(is_asked_for) {
        return wrong("type");
    }
    let key = keys.find(header.kid.as_deref(), algorithm)?;
    let signed = &token[..token.len() - signature.len() - 1];
    // The signature's bytes must be written in one way only, else one token has many texts.
    if base64url(signature).is_none_or(|bytes| bytes.is_empty())
        || !jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &key.key, algorithm).unwrap_or(false)
    {
        return wrong("signature");
    }
    base64url(claims).ok_or(TokenError::Invalid("not-a-jwt"))
}

fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = base64url(part).ok_or(TokenError::Invalid("not-a-jwt"))?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Invalid("not-a-jwt"))
}

/// A NumericDate, which may have a fraction.
pub fn seconds(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let value = number.as_f64()?;
        // Within what a float holds exactly.
        (value.is_finite() && value.abs() < 9e15).then_some(value as i64)
    })
}

/// Base64 for URLs without padding (RFC 7515, 2), in its one correct form.
fn base64url(text: &str) -> Option<Vec<u8>> {
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0u32, 0u32);
    for b in text.bytes() {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}
