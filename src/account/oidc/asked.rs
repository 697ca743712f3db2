//! What the identity provider is asked, and where. Pure.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

/// What the discovery document says, as far as it is used. Every address lies on the issuer's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub jwks_uri: Url,
    /// The token endpoint takes the client's secret in the form only.
    pub secret_in_form: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    response_types_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
}

/// Algorithms that ID tokens may be signed with.
const ALGORITHMS: [&str; 4] = ["RS256", "RS384", "ES256", "ES384"];

/// Where the discovery document is.
// # Source
// > "OpenID Providers supporting Discovery MUST make a JSON document available at the path formed by
// > concatenating the string /.well-known/openid-configuration to the Issuer. … any terminating / MUST be
// > removed before appending."   OpenID Connect Discovery 1.0, 4
pub fn discovery(issuer: &Url) -> Url {
    let mut url = issuer.clone();
    let path = format!("{}/.well-known/openid-configuration", issuer.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

impl Metadata {
    /// Reads a discovery document.
    ///
    /// # Errors
    /// What in it cannot be used.
    // # Source
    // > "The issuer value returned MUST be identical to the Issuer URL that was used as the prefix to
    // > /.well-known/openid-configuration to retrieve the configuration information."   4.3
    pub fn read(bytes: &[u8], issuer: &str) -> Result<Metadata, &'static str> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|_| "its discovery document cannot be read")?;
        if document.issuer != issuer {
            return Err("its discovery document is of another issuer");
        }
        let own = Url::parse(issuer).map_err(|_| "its issuer is not a URL")?;
        let address = |text: &str| {
            let url = Url::parse(text).map_err(|_| "its discovery document holds an address that is none")?;
            let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
            // Compared as origins: a name that begins like ours is another one.
            if url.origin() == own.origin() && plain {
                Ok(url)
            } else {
                Err("its discovery document leads to another origin")
            }
        };
        let lacks = |list: &Option<Vec<String>>, wanted: &[&str]| {
            list.as_ref().is_some_and(|list| !list.iter().any(|value| wanted.contains(&value.as_str())))
        };
        if lacks(&document.response_types_supported, &["code"]) {
            return Err("it does not offer the authorization code flow");
        }
        if lacks(&document.code_challenge_methods_supported, &["S256"]) {
            return Err("it does not offer PKCE with S256");
        }
        if lacks(&document.id_token_signing_alg_values_supported, &ALGORITHMS) {
            return Err("it signs ID tokens with no algorithm that is taken here");
        }
        let methods = &document.token_endpoint_auth_methods_supported;
        let secret_in_form = lacks(methods, &["client_secret_basic"]);
        if secret_in_form && lacks(methods, &["client_secret_post"]) {
            return Err("it takes no client secret");
        }
        Ok(Metadata {
            authorization_endpoint: address(&document.authorization_endpoint)?,
            token_endpoint: address(&document.token_endpoint)?,
            jwks_uri: address(&document.jwks_uri)?,
            secret_in_form,
        })
    }

    /// Where the browser goes.
    pub(super) fn authorization(&self, question: &Question<'_>) -> Url {
        let mut url = self.authorization_endpoint.clone();
        let mut pairs = url.query_pairs_mut();
        pairs
            .append_pair("response_type", "code")
            .append_pair("client_id", question.client_id)
            .append_pair("redirect_uri", question.redirect.as_str())
            .append_pair("scope", "openid profile")
            .append_pair("state", question.state)
            .append_pair("nonce", question.nonce)
            .append_pair("code_challenge", &challenge(question.verifier))
            .append_pair("code_challenge_method", "S256");
        if question.again {
            // Whoever signs is asked for the password again, however long they have been signed in there.
            pairs.append_pair("prompt", "login").append_pair("max_age", "0");
        }
        drop(pairs);
        url
    }
}

pub(super) struct Question<'q> {
    pub client_id: &'q str,
    pub redirect: &'q Url,
    pub state: &'q str,
    pub nonce: &'q str,
    pub verifier: &'q str,
    pub again: bool,
}

/// What PKCE sends ahead of the verifier.
// # Source
// > "code_challenge = BASE64URL-ENCODE(SHA256(ASCII(code_verifier)))"   RFC 7636, 4.2
pub fn challenge(verifier: &str) -> String {
    base64url(&Sha256::digest(verifier.as_bytes()))
}

pub(super) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * i) & 63) as usize]));
        }
    }
    text
}

/// The ID token in the token endpoint's answer.
///
/// # Errors
/// What is missing.
pub(super) fn id_token(bytes: &[u8]) -> Result<String, &'static str> {
    #[derive(Deserialize)]
    struct Answer {
        id_token: Option<String>,
        token_type: Option<String>,
    }
    let answer: Answer =
        serde_json::from_slice(bytes).map_err(|_| "the answer of its token endpoint cannot be read")?;
    if !answer.token_type.is_some_and(|t| t.eq_ignore_ascii_case("bearer")) {
        return Err("its token endpoint gave a token of another type than `Bearer`");
    }
    answer.id_token.filter(|token| !token.is_empty()).ok_or("its token endpoint gave no ID token")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_challenge_is_that_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        // RFC 4648, 10.
        for (text, encoded) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64url(text.as_bytes()), encoded);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn discovery_lies_below_the_issuer() {
        for (issuer, place) in [
            ("https://id.example", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/", "https://id.example/.well-known/openid-configuration"),
            ("https://id.example/realms/h", "https://id.example/realms/h/.well-known/openid-configuration"),
        ] {
            assert_eq!(discovery(&Url::parse(issuer).expect("a URL")).as_str(), place);
        }
    }

    fn document(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut document = json!({
            "issuer": "https://id.example/h",
            "authorization_endpoint": "https://id.example/h/auth",
            "token_endpoint": "https://id.example/h/token",
            "jwks_uri": "https://id.example/keys",
            "response_types_supported": ["code", "id_token"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "id_token_signing_alg_values_supported": ["HS256", "RS256"]
        });
        change(&mut document);
        document.to_string().into_bytes()
    }

    #[test]
    fn a_document_leads_nowhere_else() {
        let read = |change: &dyn Fn(&mut Value)| Metadata::read(&document(change), "https://id.example/h");
        let good = read(&|_| {}).expect("a document");
        assert_eq!((good.token_endpoint.path(), good.secret_in_form), ("/h/token", false));
        let form = read(&|d| d["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]));
        assert!(form.expect("a document").secret_in_form);
        let optional = ["response_types_supported", "code_challenge_methods_supported"];
        for key in optional {
            read(&|d| drop(d.as_object_mut().expect("an object").remove(key))).expect("optional");
        }
        type Case = (&'static str, Value, &'static str);
        let cases: [Case; 12] = [
            ("issuer", json!("https://id.example/other"), "another issuer"),
            ("issuer", json!("https://id.example/h/"), "another issuer"),
            ("token_endpoint", json!("https://id.example.evil.test/h/token"), "another origin"),
            ("token_endpoint", json!("http://id.example/h/token"), "another origin"),
            ("token_endpoint", json!("https://id.example:8443/h/token"), "another origin"),
            ("token_endpoint", json!("https://u:p@id.example/h/token"), "another origin"),
            ("jwks_uri", json!("https://keys.evil.test/"), "another origin"),
            ("authorization_endpoint", json!("https://evil.test/auth"), "another origin"),
            ("authorization_endpoint", json!("javascript:alert(1)"), "another origin"),
            ("response_types_supported", json!(["id_token"]), "authorization code"),
            ("code_challenge_methods_supported", json!(["plain"]), "PKCE"),
            ("id_token_signing_alg_values_supported", json!(["none", "HS256"]), "no algorithm"),
        ];
        for (key, value, expected) in cases {
            let error = read(&|d| d[key] = value.clone()).expect_err(key);
            assert!(error.contains(expected), "{key} {value}: {error}");
        }
        assert!(Metadata::read(b"<html>", "https://id.example/h").is_err());
    }

    #[test]
    fn a_signature_asks_again_and_a_sign_in_does_not() {
        let metadata = Metadata::read(&document(|_| {}), "https://id.example/h").expect("a document");
        let redirect = Url::parse("https://t.example/login/oidc/callback").expect("a URL");
        for again in [false, true] {
            let url = metadata.authorization(&Question {
                client_id: "trial bridge&x",
                redirect: &redirect,
                state: "s",
                nonce: "n",
                verifier: "v",
                again,
            });
            let pairs: std::collections::BTreeMap<_, _> = url.query_pairs().into_owned().collect();
            assert_eq!(url.origin(), metadata.authorization_endpoint.origin());
            assert_eq!(pairs["client_id"], "trial bridge&x");
            assert_eq!(pairs["code_challenge"], challenge("v"));
            assert_eq!(pairs["code_challenge_method"], "S256");
            assert_eq!(pairs.get("prompt").map(String::as_str), again.then_some("login"));
            assert_eq!(pairs.get("max_age").map(String::as_str), again.then_some("0"));
            assert!(!url.as_str().contains("verifier"));
        }
    }
}
