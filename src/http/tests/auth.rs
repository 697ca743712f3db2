//! AUT-01 and PSH-11: tokens that do not count, and who is let in before a byte of a body is read.

use super::super::auth::{AuthError, Authenticator, Caller, require, same_secret};
use super::super::listener::Peer;
use super::super::tls;
use super::*;
use crate::config::Config;
use crate::secret::Secret;
use axum::Extension;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::from_fn_with_state;
use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// A key of the authorisation server, or of somebody else.
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

fn signer(algorithm: Algorithm, id: &str) -> Signer {
    let pair = match algorithm {
        Algorithm::ES256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        Algorithm::ES384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        _ => KeyPair::generate_for(&PKCS_RSA_SHA256),
    }
    .expect("a key");
    let pem = pair.serialize_pem();
    let key = match algorithm {
        Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(pem.as_bytes()),
        _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
    }
    .expect("a key");
    let jwk = Jwk::from_encoding_key(&key, algorithm).expect("a public key");
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    jwk["kid"] = json!(id);
    Signer { algorithm, key, jwk }
}

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..=group.len() {
            text.push(LETTERS[(bits >> (18 - 6 * i)) as usize & 63] as char);
        }
    }
    text
}

impl Signer {
    fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm).expect("signed");
        format!("{signed}.{signature}")
    }

    fn sign(&self, header: Value, claims: Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "typ": "at+jwt", "kid": self.jwk["kid"]})
    }
}

fn claims() -> Value {
    let now = Utc::now().timestamp();
    json!({"iss": "https://issuer.example", "aud": "https://trial.example/fhir", "exp": now + 300,
           "nbf": now - 5, "iat": now - 5, "jti": "1", "sub": "lab", "client_id": "lab-engine"})
}

fn changed(mut value: Value, key: &str, to: Value) -> Value {
    match to {
        Value::Null => drop(value.as_object_mut().expect("an object").remove(key)),
        to => value[key] = to,
    }
    value
}

fn jwt_with(keys: &str) -> Authenticator {
    let text = format!(
        "[push]\nauth = \"jwt\"\n[push.jwt]\nissuer = \"https://issuer.example\"\n\
         audience = \"https://trial.example/fhir\"\n{keys}\n"
    );
    let config = Config::read("c.toml", &text, []).expect("readable");
    config.push.validate("0.0.0.0:1").expect("possible");
    Authenticator::from_config(&config.push).expect("usable")
}

fn jwt_from(folder: &Path, keys: &[&Value]) -> Authenticator {
    let path = folder.join("keys.json");
    fs::write(&path, json!({"keys": keys}).to_string()).expect("written");
    jwt_with(&format!("jwks_file = {:?}", path.display().to_string()))
}

async fn present(who: &Authenticator, token: &str) -> Result<String, AuthError> {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
    let headers = HeaderMap::from_iter([(axum::http::header::AUTHORIZATION, value)]);
    who.caller(&headers, None).await.map(|caller| caller.expect("a name").name.to_string())
}

#[tokio::test]
async fn forged_tokens_do_not_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let [rsa, es256, es384] = [(Algorithm::RS384, "r"), (Algorithm::ES256, "e2"), (Algorithm::ES384, "e3")]
        .map(|(a, id)| signer(a, id));
    let attacker = signer(Algorithm::ES384, "e3");
    // The file of this one does not say RS384, so that RS256 may be used as well.
    let any_rsa = changed(changed(rsa.jwk.clone(), "alg", Value::Null), "kid", json!("any"));
    let hmac = json!({"kty": "oct", "k": base64url(b"secret"), "kid": "h", "alg": "HS256"});
    let other_use = changed(changed(es256.jwk.clone(), "use", json!("enc")), "kid", json!("enc"));
    let keys = [&rsa.jwk, &any_rsa, &es256.jwk, &es384.jwk, &hmac, &other_use];
    let who = jwt_from(folder.path(), &keys);
    let now = Utc::now().timestamp();
    let invalid = |rule: &'static str| Err(AuthError::Invalid(rule));
    let good = |name: &str| Ok(name.to_owned());
    let with = |key: &str, to: Value| es384.sign(es384.header(), changed(claims(), key, to));
    let headed = |key: &str, to: Value| es384.sign(changed(es384.header(), key, to), claims());
    let rs256 = Signer { algorithm: Algorithm::RS256, key: rsa.key.clone(), jwk: any_rsa.clone() };
    let whole = es384.sign(es384.header(), claims());
    let parts: Vec<&str> = whole.split('.').collect();
    let none = format!("{}.{}", base64url(b"{\"alg\":\"none\"}"), parts[1]);
    let secret = EncodingKey::from_secret(es384.jwk.to_string().as_bytes());
    let hs256 = {
        let signed = format!("{}.{}", base64url(b"{\"alg\":\"HS256\",\"kid\":\"e3\"}"), parts[1]);
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, Algorithm::HS256).expect("signed");
        format!("{signed}.{signature}")
    };
    let elsewhere = |key: &str| {
        let header = changed(attacker.header(), key, json!("http://127.0.0.1:1/keys"));
        attacker.sign(header, claims())
    };
    let twice = claims().to_string().replacen('{', "{\"aud\":\"https://other.example\",", 1);
    let twice_iss = claims().to_string().replacen('{', "{\"iss\":\"https://issuer.example\",", 1);
    let cases: Vec<(&str, String, Result<String, AuthError>)> = vec![
        ("ES384", whole.clone(), good("lab-engine")),
        ("ES256", es256.sign(es256.header(), claims()), good("lab-engine")),
        ("RS384", rsa.sign(rsa.header(), claims()), good("lab-engine")),
        ("RS256", rs256.sign(rs256.header(), claims()), good("lab-engine")),
        ("several audiences", with("aud", json!(["x", "https://trial.example/fhir"])), good("lab-engine")),
        (
            "azp",
            es384.sign(
                es384.header(),
                changed(changed(claims(), "client_id", Value::Null), "azp", json!("a")),
            ),
            good("a"),
        ),
        ("sub", with("client_id", Value::Null), good("lab")),
        ("no typ", headed("typ", Value::Null), good("lab-engine")),
        ("a fraction", with("exp", json!((now + 300) as f64 + 0.5)), good("lab-engine")),
        ("alg none", format!("{none}."), invalid("algorithm")),
        ("alg none, two parts", none.clone(), invalid("not-a-jwt")),
        ("alg none, signed", format!("{none}.{}", parts[2]), invalid("algorithm")),
        ("HS256 with the public key", hs256, invalid("algorithm")),
        ("HS256 with a key of the set", headed("kid", json!("h")), invalid("unknown-key")),
        ("PS256", headed("alg", json!("PS256")), invalid("algorithm")),
        ("the algorithm of another key", headed("kid", json!("r")), invalid("algorithm-of-another-key")),
        (
            "RS256 where the key says RS384",
            rs256.sign(changed(rs256.header(), "kid", json!("r")), claims()),
            invalid("algorithm-of-another-key"),
        ),
        (
            "a key for encryption",
            es256.sign(changed(es256.header(), "kid", json!("enc")), claims()),
            invalid("unknown-key"),
        ),
        ("wrong kid", headed("kid", json!("e4")), invalid("unknown-key")),
        ("kid path", headed("kid", json!("../../../dev/null")), invalid("unknown-key")),
        ("kid SQL", headed("kid", json!("e3' OR '1'='1")), invalid("unknown-key")),
        ("kid of another type", headed("kid", json!(["e3"])), invalid("not-a-jwt")),
        ("another's key", attacker.sign(attacker.header(), claims()), invalid("signature")),
        ("jku", elsewhere("jku"), invalid("signature")),
        ("x5u", elsewhere("x5u"), invalid("signature")),
        (
            "jwk",
            attacker.sign(changed(attacker.header(), "jwk", attacker.jwk.clone()), claims()),
            invalid("signature"),
        ),
        ("crit", headed("crit", json!(["x"])), invalid("critical-extension")),
        ("an ID token", headed("typ", json!("logout+jwt")), invalid("type")),
        ("expired", with("exp", json!(now - 31)), invalid("expired")),
        ("no exp", with("exp", Value::Null), invalid("no-end")),
        ("exp as text", with("exp", json!((now + 300).to_string())), invalid("not-a-jwt")),
        ("exp far ahead", with("exp", json!(now + 3600 + 60)), invalid("too-long-lived")),
        ("exp beyond numbers", with("exp", json!(1e300)), invalid("no-end")),
        ("nbf ahead", with("nbf", json!(now + 120)), invalid("not-yet")),
        ("iat ahead", with("iat", json!(now + 120)), invalid("not-yet")),
        ("another aud", with("aud", json!("https://trial.example/")), invalid("audience")),
        ("aud as a part", with("aud", json!("https://trial.example/fhir/x")), invalid("audience")),
        ("no aud", with("aud", Value::Null), invalid("audience")),
        ("another iss", with("iss", json!("https://issuer.example/")), invalid("issuer")),
        ("no iss", with("iss", Value::Null), invalid("issuer")),
        ("no jti", with("jti", Value::Null), invalid("no-id")),
        ("nobody", with("client_id", json!("")), invalid("no-client")),
        ("a name with a line end", with("client_id", json!("a\nb")), invalid("no-client")),
        ("signature stripped", format!("{}.{}.", parts[0], parts[1]), invalid("signature")),
        ("signature cut", whole[..whole.len() - 4].to_owned(), invalid("signature")),
        (
            "claims exchanged",
            format!(
                "{}.{}.{}",
                parts[0],
                base64url(changed(claims(), "sub", json!("x")).to_string().as_bytes()),
                parts[2]
            ),
            invalid("signature"),
        ),
        ("four parts", format!("{whole}.x"), invalid("not-a-jwt")),
        ("duplicate aud", es384.sign_text(&es384.header().to_string(), &twice), invalid("not-a-jwt")),
        ("duplicate iss", es384.sign_text(&es384.header().to_string(), &twice_iss), invalid("not-a-jwt")),
        (
            "duplicate alg",
            es384.sign_text(
                &es384.header().to_string().replacen('{', "{\"alg\":\"none\",", 1),
                &claims().to_string(),
            ),
            invalid("not-a-jwt"),
        ),
        ("padding", format!("{whole}=="), invalid("signature")),
        ("very long", format!("{whole}{}", "A".repeat(20_000)), invalid("too-long")),
    ];
    for (what, token, expected) in cases {
        assert_eq!(present(&who, &token).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_token_without_a_key_id_fits_where_one_key_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let [one, two] = ["a", "b"].map(|id| signer(Algorithm::ES256, id));
    let token = one.sign(changed(one.header(), "kid", Value::Null), claims());
    let alone = jwt_from(folder.path(), &[&one.jwk]);
    assert_eq!(present(&alone, &token).await.as_deref(), Ok("lab-engine"));
    let both = jwt_from(folder.path(), &[&one.jwk, &two.jwk]);
    assert_eq!(present(&both, &token).await, Err(AuthError::Invalid("no-key-named")));
}

#[tokio::test]
async fn keys_are_fetched_from_the_configured_address_and_seldom() {
    let old = signer(Algorithm::ES256, "old");
    let stranger = signer(Algorithm::ES256, "new");
    let asked = Arc::new(AtomicUsize::new(0));
    let (counted, set) = (Arc::clone(&asked), json!({"keys": [old.jwk]}).to_string());
    let keys = Router::new().route(
        "/keys",
        get(async move || {
            counted.fetch_add(1, Ordering::Relaxed);
            set
        }),
    );
    let issuer = serve_router(keys, Seen::default(), Limits::default(), None).await;
    let who = jwt_with(&format!("jwks_url = \"http://{}/keys\"", issuer.address));
    assert_eq!(present(&who, &old.sign(old.header(), claims())).await.as_deref(), Ok("lab-engine"));
    for _ in 0..5 {
        let forged = present(&who, &stranger.sign(stranger.header(), claims())).await;
        assert_eq!(forged, Err(AuthError::Invalid("unknown-key")));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "asked again within the minute");
    // Nobody there, and a redirect: neither is the sender's fault, and neither is followed.
    let elsewhere = Router::new().route("/keys", get(|| async { axum::response::Redirect::to("/other") }));
    let seen = Seen::default();
    let elsewhere =
        serve_router(elsewhere.fallback(any(take)).with_state(seen.clone()), seen, Limits::default(), None)
            .await;
    let who = jwt_with(&format!("jwks_url = \"http://{}/keys\"", elsewhere.address));
    assert_eq!(present(&who, &old.sign(old.header(), claims())).await, Err(AuthError::Unavailable));
    assert_eq!(elsewhere.seen.paths(), [""; 0]);
}

#[tokio::test]
async fn the_named_tokens_count_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = "[push]\nauth = \"bearer\"\n".to_owned();
    for (name, token) in [("lab", "token-of-lab"), ("ward", "token-of-ward")] {
        let path = folder.path().join(name);
        fs::write(&path, format!("{token}\n")).expect("written");
        text +=
            &format!("[[push.client]]\nname = \"{name}\"\ntoken_file = {:?}\n", path.display().to_string());
    }
    let config = Config::read("c.toml", &text, []).expect("readable");
    let who = Authenticator::from_config(&config.push).expect("usable");
    for (given, expected) in [
        (&["Bearer token-of-lab"][..], Ok("lab")),
        (&["bearer  token-of-ward"], Ok("ward")),
        (&[], Err(AuthError::Missing)),
        (&["Bearer token-of-la"], Err(AuthError::Invalid("unknown-token"))),
        (&["Bearer token-of-labs"], Err(AuthError::Invalid("unknown-token"))),
        (&["Bearer "], Err(AuthError::Invalid("not-a-bearer-token"))),
        (&["Bearer token-of-lab x"], Err(AuthError::Invalid("not-a-bearer-token"))),
        (&["Basic dG9rZW4tb2YtbGFi"], Err(AuthError::Invalid("not-a-bearer-token"))),
        (&["token-of-lab"], Err(AuthError::Invalid("not-a-bearer-token"))),
        (&["Bearer token-of-lab", "Bearer token-of-lab"], Err(AuthError::Invalid("two-tokens"))),
    ] {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append("authorization", HeaderValue::from_static(value));
        }
        let caller = who.caller(&headers, None).await.map(|c| c.expect("a name").name.to_string());
        assert_eq!(caller.as_deref(), expected.as_ref().copied(), "{given:?}");
    }
    let secret = Secret::new("token-of-lab".into());
    assert!(same_secret(b"token-of-lab", &secret));
    assert!(!same_secret(b"token-of-laB", &secret) && !same_secret(b"", &secret));
}

#[tokio::test]
async fn nobody_unknown_has_a_byte_of_a_body_read() {
    // PSH-11
    let folder = tempfile::tempdir().expect("a folder");
    let key = signer(Algorithm::ES256, "k");
    let who = Arc::new(jwt_from(folder.path(), &[&key.jwk]));
    let seen = Seen::default();
    let router = router(seen.clone()).layer(from_fn_with_state(who, require));
    let server = serve_router(router, seen, Limits::default(), None).await;
    let wrong = key.sign(key.header(), changed(claims(), "aud", json!("https://other.example")));
    for (token, challenge) in [
        (String::new(), "www-authenticate: Bearer realm=\"trialbridge\"\r\n"),
        (format!("Authorization: Bearer {wrong}\r\n"), "error=\"invalid_token\""),
    ] {
        let head = format!("POST /a HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: 8388608\r\n\r\n");
        // Not a byte of the body is sent: the answer does not wait for it.
        let text = server.exchange(head.as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 401 ") && text.contains(challenge), "{text}");
        assert!(text.contains("connection: close") && !text.contains("other.example"), "{text}");
        // A sender that sends all of it, deaf, still gets its answer.
        let text = server.exchange(&[head.as_bytes(), &vec![b'a'; 8 << 20]].concat()).await;
        assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
    }
    assert_eq!((server.seen.paths(), server.seen.bodies.load(Ordering::Relaxed)), (vec![], 0));
    let right = key.sign(key.header(), claims());
    let head =
        format!("POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {right}\r\nConnection: close\r\n\r\n");
    assert!(server.exchange(head.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.seen.paths(), ["/a"]);
}

/// An authority that signs certificates.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

fn connector(
    authority: &CertificateDer<'static>,
    own: Option<(CertificateDer<'static>, KeyPair)>,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
            builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
        }
    };
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_and_names_the_caller() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (authority(), authority());
    let issue = |by: &CertifiedIssuer<'static, KeyPair>| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        (params.signed_by(&key, by).expect("signed"), key)
    };
    let (certificate, key) = issue(&ours);
    let at = |name: &str| folder.path().join(name);
    fs::write(at("cert.pem"), certificate.pem()).expect("written");
    fs::write(at("key.pem"), key.serialize_pem()).expect("written");
    fs::write(at("ca.pem"), ours.pem()).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(at("key.pem"), fs::Permissions::from_mode(0o600)).expect("set");
    }
    let config = tls::server_config(&at("cert.pem"), &at("key.pem"), Some(&at("ca.pem"))).expect("usable");
    let router = Router::new()
        .fallback(async |Extension(peer): Extension<Peer>, Extension(caller): Extension<Caller>| {
            assert_eq!(peer.certificate.as_ref(), Some(&caller.name));
            caller.name.to_string()
        })
        .layer(from_fn_with_state(Arc::new(Authenticator::Certificate), require));
    let server = serve_router(router, Seen::default(), Limits::default(), Some(config)).await;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let root = ours.der().clone();
    let name = ServerName::try_from("localhost").expect("a name");
    let (known, known_key) = issue(&ours);
    let (unknown, unknown_key) = issue(&theirs);
    for (own, is_let_in) in [
        (Some((known.der().clone(), known_key)), true),
        (Some((unknown.der().clone(), unknown_key)), false),
        (None, false),
    ] {
        let connector = connector(&root, own);
        // With TLS 1.3 the client learns that it is not let in when it reads.
        let text = match connector.connect(name.clone(), server.connect().await).await {
            Ok(mut stream) => {
                let _ = stream.write_all(request).await;
                rest(&mut stream).await
            }
            Err(_) => String::new(),
        };
        assert_eq!(
            text.starts_with("HTTP/1.1 200 ") && text.contains("\r\n\r\nsha256:"),
            is_let_in,
            "{text}"
        );
        assert_eq!(text.is_empty(), !is_let_in, "{text}");
    }
    // Plain HTTP to a TLS listener, and a handshake that nobody finishes.
    assert!(!server.exchange(request).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_handshake_that_nobody_begins_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    fs::write(&cert, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    }
    let config = tls::server_config(&cert, &key, None).expect("usable");
    let limits = Limits { handshake: Duration::from_millis(50), ..Limits::default() };
    let server = serve_router(Router::new(), Seen::default(), limits, Some(config)).await;
    let mut stream = server.connect().await;
    assert_eq!(rest(&mut stream).await, "");
}
