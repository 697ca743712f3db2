//! The identity provider, played by a small server on loopback: the whole way of a browser, answers that
//! somebody stole, forged or kept, and a provider that leads elsewhere.

use super::*;
use crate::access::Permission;
use crate::account::sign::{Credential, Intent};
use crate::account::tests::{GOOD, World, at, root, secret};
use crate::store::Store as _;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Form, Router};
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use std::sync::Mutex as StdMutex;

/// A key of the provider, or of somebody else.
struct Key {
    key: EncodingKey,
    pem: String,
    jwk: Value,
}

fn key(id: &str) -> Key {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a public key");
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    jwk["kid"] = json!(id);
    Key { key, pem: pair.public_key_pem(), jwk }
}

impl Key {
    fn sign(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.as_bytes()));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, Algorithm::ES256).expect("signed");
        format!("{signed}.{signature}")
    }

    fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "JWT", "kid": self.jwk["kid"]})
    }
}

fn b64(bytes: &[u8]) -> String {
    super::asked::base64url(bytes)
}

/// What the provider does with a code, and how it describes itself.
struct Script {
    id_token: String,
    status: StatusCode,
    location: Option<String>,
    document: Value,
    keys: Value,
    /// Forms that came to the token endpoint, with the user that came along.
    asked: Vec<(String, Vec<(String, String)>)>,
}

#[derive(Clone)]
struct Played(Arc<StdMutex<Script>>);

/// A provider on loopback, and ours that is configured for it.
struct Issuer {
    url: String,
    script: Played,
    key: Key,
    provider: Provider,
    _dir: tempfile::TempDir,
}

async fn token(
    State(Played(script)): State<Played>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> impl IntoResponse {
    let mut script = script.lock().expect("a script");
    let user = headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    script.asked.push((user, form));
    let mut answer = HeaderMap::new();
    if let Some(location) = &script.location {
        answer.insert("location", location.parse().expect("a header"));
    }
    let body = json!({"access_token": "unused", "token_type": "Bearer", "id_token": script.id_token});
    (script.status, answer, body.to_string())
}

impl Issuer {
    async fn start() -> Issuer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let key = key("k1");
        let script = Played(Arc::new(StdMutex::new(Script {
            id_token: String::new(),
            status: StatusCode::OK,
            location: None,
            document: json!({
                "issuer": url, "authorization_endpoint": format!("{url}/auth"),
                "token_endpoint": format!("{url}/token"), "jwks_uri": format!("{url}/keys")
            }),
            keys: json!({"keys": [key.jwk]}),
            asked: Vec::new(),
        })));
        let document =
            |State(Played(s)): State<Played>| async move { s.lock().expect("a script").document.to_string() };
        let keys =
            |State(Played(s)): State<Played>| async move { s.lock().expect("a script").keys.to_string() };
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("secret");
        std::fs::write(&file, "client+secret&canary\n").expect("written");
        private(&file, 0o600);
        let provider = Provider::new(&configured(&url, &file)).expect("a provider").expect("configured");
        Issuer { url, script, key, provider, _dir: dir }
    }

    fn claims(&self, nonce: &str) -> Value {
        let now = at(0).timestamp();
        json!({
            "iss": self.url, "aud": "trialbridge", "sub": "7f3a", "iat": now, "exp": now + 300, "nonce": nonce,
            "auth_time": now, "name": "Li Na", "groups": ["trial-pi"]
        })
    }

    fn answers(&self, id_token: String) {
        self.script.0.lock().expect("a script").id_token = id_token;
    }

    /// The provider signs these claims about whoever comes with the next code.
    async fn says(
        &self,
        request: &OidcRequest,
        change: impl FnOnce(&mut Value),
    ) -> Result<Identity, OidcError> {
        let mut claims = self.claims(&request.nonce);
        change(&mut claims);
        self.answers(self.key.sign(&self.key.header(), &claims.to_string()));
        self.provider.finish(request, "code-1", at(5)).await
    }
}

fn private(file: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).expect("set");
}

fn configured(url: &str, file: &std::path::Path) -> Oidc {
    let roles = [("trial-pi", Role::Investigator), ("trial-nurse", Role::Coordinator)];
    Oidc {
        issuer: Some(url.to_owned()),
        client_id: Some("trialbridge".into()),
        client_secret_file: Some(file.to_owned()),
        redirect_url: Some("https://trial.example/login/oidc/callback".into()),
        roles: roles.into_iter().map(|(value, role)| (value.to_owned(), role)).collect(),
        ..Oidc::default()
    }
}

const SIGN_IN: Purpose = Purpose { sign: None };

#[tokio::test]
async fn a_browser_goes_there_and_comes_back_as_somebody() {
    let issuer = Issuer::start().await;
    let world = World::staffed();
    let accounts = world.accounts();
    let (begun, request) = issuer.provider.begin(&SIGN_IN, at(0)).await.expect("begun");
    let asked: BTreeMap<String, String> = begun.url.query_pairs().into_owned().collect();
    assert!(begun.url.as_str().starts_with(&format!("{}/auth?", issuer.url)));
    assert_eq!(asked["state"], begun.state.expose());
    assert_eq!(asked["nonce"], request.nonce);
    assert_eq!(asked["code_challenge"], challenge(&request.verifier));
    assert_ne!(request.state_sha256, begun.state.expose());
    world.store.put_oidc_request(request).expect("stored");

    let state = begun.state.expose();
    let request = accounts.take_oidc(state, state, at(4)).expect("the browser that asked");
    let identity = issuer.says(&request, |_| {}).await.expect("an identity");
    let into = accounts.log_in_oidc(&identity, None, at(6)).expect("signed in");
    assert_eq!((into.viewer.account.as_str(), into.viewer.role), ("oidc:7f3a", Role::Investigator));
    assert_eq!(into.viewer.printed_name, "Li Na");
    // The code went to the token endpoint with what proves it, and with the client's own secret.
    let (user, form) = issuer.script.0.lock().expect("a script").asked[0].clone();
    let form: BTreeMap<String, String> = form.into_iter().collect();
    assert_eq!((form["grant_type"].as_str(), form["code"].as_str()), ("authorization_code", "code-1"));
    assert_eq!(form["code_verifier"], request.verifier);
    assert_eq!(form["redirect_uri"], "https://trial.example/login/oidc/callback");
    assert_eq!(user, "Basic dHJpYWxicmlkZ2U6Y2xpZW50JTJCc2VjcmV0JTI2Y2FuYXJ5");

    // Another role at the provider is another role here, and what was signed in before is not any more.
    let nurse = Identity { role: Role::Coordinator, printed_name: "Li N.".into(), ..identity.clone() };
    let again = accounts.log_in_oidc(&nurse, None, at(7)).expect("signed in");
    assert_eq!((again.viewer.role, again.viewer.printed_name.as_str()), (Role::Coordinator, "Li N."));
    assert!(accounts.viewer(into.token.expose(), at(8)).expect("a store").is_none());
    // Who is disabled here stays so, whatever the provider says.
    let good = secret(GOOD);
    accounts.set_disabled("oidc:7f3a", true, root(&good), at(9)).expect("disabled");
    assert_eq!(accounts.log_in_oidc(&identity, None, at(10)).map(drop), Err(Denied::Refused));
    assert_eq!(world.store.account("oidc:7f3a").expect("a store").map(|a| a.role), Some(Role::Coordinator));
    // Neither role nor password is set here, and no password opens it.
    let role = accounts.set_role("oidc:7f3a", Role::Statistician, None, root(&good), at(11));
    assert!(matches!(role, Err(Denied::Request(_))), "{role:?}");
    assert!(accounts.reset("oidc:7f3a", None, root(&good), at(11)).is_err());
    assert_eq!(accounts.log_in("oidc:7f3a", &good, None, at(12)).map(drop), Err(Denied::Refused));
}

#[tokio::test]
async fn nobody_comes_in_before_there_is_a_local_administrator() {
    let identity = Identity {
        account: "oidc:1".into(),
        printed_name: "A".into(),
        role: Role::Investigator,
        auth_time: None,
    };
    let refused = World::new().accounts().log_in_oidc(&identity, None, at(0)).map(drop);
    assert!(matches!(&refused, Err(Denied::Store(e)) if e.code() == "no-account"), "{refused:?}");
}

#[tokio::test]
async fn an_answer_counts_once_in_time_and_for_its_browser() {
    let issuer = Issuer::start().await;
    let world = World::staffed();
    let accounts = world.accounts();
    let ask = async |when| {
        let (begun, request) = issuer.provider.begin(&SIGN_IN, at(when)).await.expect("begun");
        world.store.put_oidc_request(request).expect("stored");
        begun.state
    };
    let taken = |state: &Secret, held: &Secret, when| {
        accounts.take_oidc(state.expose(), held.expose(), at(when)).map(drop)
    };
    let (one, two) = (ask(0).await, ask(0).await);
    assert_eq!(taken(&one, &two, 1), Err(Denied::Refused), "the state of one browser, the cookie of another");
    assert_eq!(taken(&one, &secret(""), 1), Err(Denied::Refused));
    assert_eq!(taken(&one, &one, 2), Ok(()));
    assert_eq!(taken(&one, &one, 3), Err(Denied::Refused), "again");
    assert_eq!(taken(&two, &two, 601), Err(Denied::Refused), "too late");
    let three = ask(700).await;
    assert_eq!(taken(&three, &three, 1300), Ok(()), "just in time");
    let unknown = secret(&"0".repeat(64));
    assert_eq!(taken(&unknown, &unknown, 1300), Err(Denied::Refused));
    let four = ask(2000).await;
    assert_eq!(taken(&four, &four, 1000), Err(Denied::Refused), "the clock went back: it is asked again");
}

/// AUT-01: whatever is forged is refused, and no address in it is ever asked.
#[tokio::test]
async fn forged_tokens_are_refused_and_lead_nowhere() {
    let issuer = Issuer::start().await;
    let (_, request) = issuer.provider.begin(&SIGN_IN, at(0)).await.expect("begun");
    let trap = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("non-blocking");
    let evil = format!("http://{}", trap.local_addr().expect("bound"));
    let other = key("k1");
    let good = issuer.claims(&request.nonce).to_string();
    let header = issuer.key.header();
    let with = |changes: Value| {
        let mut header = header.clone();
        for (name, value) in changes.as_object().expect("an object") {
            header[name] = value.clone();
        }
        header
    };
    let claims = |changes: Value| {
        let mut claims = issuer.claims(&request.nonce);
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        issuer.key.sign(&header, &claims.to_string())
    };
    let right = issuer.key.sign(&header, &good);
    let (signed, signature) = right.rsplit_once('.').expect("three parts");
    let none = format!("{}.{}.", b64(br#"{"alg":"none"}"#), b64(good.as_bytes()));
    let mac = {
        let head = format!("{}.{}", b64(br#"{"alg":"HS256","kid":"k1"}"#), b64(good.as_bytes()));
        let secret = EncodingKey::from_secret(issuer.key.pem.as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(head.as_bytes(), &secret, Algorithm::HS256).expect("signed");
        format!("{head}.{signature}")
    };
    let now = at(0).timestamp();
    #[rustfmt::skip]
    let table: Vec<(&str, String, &str)> = vec![
        ("no algorithm",            none,                                                            "algorithm"),
        ("no algorithm, signed",    issuer.key.sign(&with(json!({"alg": "none"})), &good),           "algorithm"),
        ("HS256 by the public key", mac,                                                             "algorithm"),
        ("another algorithm",       issuer.key.sign(&with(json!({"alg": "ES384"})), &good),          "algorithm-of-another-key"),
        ("another key",             other.sign(&header, &good),                                      "signature"),
        ("signature stripped",      format!("{signed}."),                                            "signature"),
        ("no third part",           signed.to_owned(),                                               "not-a-jwt"),
        ("other claims, signature kept", {
            let forged = good.replace("7f3a", "root");
            format!("{}.{}.{signature}", b64(header.to_string().as_bytes()), b64(forged.as_bytes()))
        },                                                                                           "signature"),
        ("unknown kid",             issuer.key.sign(&with(json!({"kid": "k2"})), &good),             "unknown-key"),
        ("kid as a path",           issuer.key.sign(&with(json!({"kid": "../../dev/null"})), &good), "unknown-key"),
        ("kid as SQL",              issuer.key.sign(&with(json!({"kid": "' OR 1=1 --"})), &good),    "unknown-key"),
        ("jku",                     other.sign(&with(json!({"jku": evil})), &good),                  "signature"),
        ("x5u",                     other.sign(&with(json!({"x5u": evil})), &good),                  "signature"),
        ("jwk",                     other.sign(&with(json!({"jwk": other.jwk})), &good),             "signature"),
        ("crit",                    issuer.key.sign(&with(json!({"crit": ["exp"]})), &good),         "critical-extension"),
        ("an access token",         issuer.key.sign(&with(json!({"typ": "at+jwt"})), &good),         "type"),
        ("a logout token",          issuer.key.sign(&with(json!({"typ": "logout+jwt"})), &good),     "type"),
        ("expired",                 claims(json!({"exp": now - 60})),                                "expired"),
        ("not yet",                 claims(json!({"nbf": now + 3600})),                              "not-yet"),
        ("for another client",      claims(json!({"aud": "another"})),                               "audience"),
        ("of another issuer",       claims(json!({"iss": evil})),                                    "issuer"),
        ("of another question",     claims(json!({"nonce": "0".repeat(64)})),                        "nonce"),
        ("no nonce",                claims(json!({"nonce": null})),                                  "nonce"),
        ("a claim twice",           issuer.key.sign(&header, &good.replacen('{', r#"{"sub":"root","#, 1)), "claims"),
    ];
    for (what, token, rule) in table {
        issuer.answers(token);
        let refused = issuer.provider.finish(&request, "code-1", at(5)).await;
        assert_eq!(refused, Err(OidcError::Token(rule)), "{what}");
    }
    issuer.answers(right);
    issuer.provider.finish(&request, "code-1", at(5)).await.expect("the right one is taken");
    assert!(trap.accept().is_err(), "an address out of a token was asked");
}

#[tokio::test]
async fn a_provider_that_leads_elsewhere_is_not_followed() {
    let trap = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("non-blocking");
    let evil = format!("http://{}", trap.local_addr().expect("bound"));
    for place in ["token_endpoint", "jwks_uri", "authorization_endpoint"] {
        let issuer = Issuer::start().await;
        issuer.script.0.lock().expect("a script").document[place] = json!(format!("{evil}/x"));
        let refused = issuer.provider.begin(&SIGN_IN, at(0)).await.map(drop);
        let text = "its discovery document leads to another origin";
        assert_eq!(refused, Err(OidcError::Provider(text)), "{place}");
    }
    let issuer = Issuer::start().await;
    let (_, request) = issuer.provider.begin(&SIGN_IN, at(0)).await.expect("begun");
    for (status, expected) in [
        (302, OidcError::Provider("it redirects, which is not followed")),
        (307, OidcError::Provider("it redirects, which is not followed")),
        (400, OidcError::Answer("it refused the code, or this client")),
        (401, OidcError::Answer("it refused the code, or this client")),
        (500, OidcError::Provider("it answered with another status than 200")),
    ] {
        {
            let mut script = issuer.script.0.lock().expect("a script");
            script.status = StatusCode::from_u16(status).expect("a status");
            script.location = Some(format!("{evil}/token"));
        }
        let refused = issuer.provider.finish(&request, "code-1", at(5)).await;
        assert_eq!(refused, Err(expected), "{status}");
    }
    assert!(trap.accept().is_err(), "a secret or a code left for another origin");
    assert!(issuer.provider.issued(None) && issuer.provider.issued(Some(&issuer.url)));
    assert!(!issuer.provider.issued(Some(&evil)));
}

/// AUT-08 with the provider: it is asked again for each signature, and its answer serves no other.
#[tokio::test]
async fn a_signature_takes_an_authentication_of_its_own() {
    let issuer = Issuer::start().await;
    let world = World::staffed();
    let accounts = world.accounts();
    let record = json!({"subject": "Patient/p1", "verdict": "no"});
    let intent = Intent {
        permission: Permission::Attest,
        meaning: "attest",
        subject: None,
        record: &record,
        shown: None,
    };
    let (_, request) = issuer.provider.begin(&SIGN_IN, at(0)).await.expect("begun");
    let identity = issuer.says(&request, |_| {}).await.expect("an identity");
    accounts.log_in_oidc(&identity, None, at(6)).expect("signed in");
    assert_eq!(
        accounts.fresh(&request, &identity).map(drop),
        Err(Denied::Refused),
        "a sign-in signs nothing"
    );

    let signing = |account: &str, meaning: &str, record: String| Purpose {
        sign: Some(Signing { account: account.into(), meaning: meaning.into(), record_sha256: record }),
    };
    let hash = intent.hash();
    // What was asked for, who came back, how old that was, and when it is used.
    #[rustfmt::skip]
    let table: Vec<(&str, Purpose, &str, i64, i64, Result<(), Denied>)> = vec![
        ("of now",              signing("oidc:7f3a", "attest", hash.clone()),      "7f3a", 0,    5,   Ok(())),
        ("at the last moment",  signing("oidc:7f3a", "attest", hash.clone()),      "7f3a", 0,    120, Ok(())),
        ("too old",             signing("oidc:7f3a", "attest", hash.clone()),      "7f3a", 0,    121, Err(Denied::Refused)),
        ("a kept session",      signing("oidc:7f3a", "attest", hash.clone()),      "7f3a", -600, 5,   Err(Denied::Refused)),
        ("another record",      signing("oidc:7f3a", "attest", "0".repeat(64)),    "7f3a", 0,    5,   Err(Denied::Refused)),
        ("another meaning",     signing("oidc:7f3a", "randomize", hash.clone()),   "7f3a", 0,    5,   Err(Denied::Refused)),
        ("somebody else",       signing("oidc:7f3a", "attest", hash.clone()),      "9999", 0,    5,   Err(Denied::Refused)),
    ];
    for (what, purpose, sub, authenticated, when, expected) in table {
        let (begun, request) = issuer.provider.begin(&purpose, at(0)).await.expect("begun");
        assert!(begun.url.as_str().contains("prompt=login") && begun.url.as_str().contains("max_age=0"));
        let auth_time = at(authenticated).timestamp();
        let identity = issuer
            .says(&request, |claims| {
                claims["sub"] = json!(sub);
                claims["auth_time"] = json!(auth_time);
            })
            .await
            .expect("an identity");
        let signed = accounts
            .fresh(&request, &identity)
            .and_then(|fresh| accounts.sign("oidc:7f3a", Credential::Oidc(fresh), &intent, at(when)));
        assert_eq!(
            signed.as_ref().map(|s| s.method.name()).ok(),
            expected.is_ok().then_some("oidc"),
            "{what}"
        );
        assert_eq!(signed.map(drop), expected, "{what}");
    }
    let (_, request) =
        issuer.provider.begin(&signing("oidc:7f3a", "attest", hash), at(0)).await.expect("begun");
    let silent =
        issuer.says(&request, |claims| drop(claims.as_object_mut().map(|c| c.remove("auth_time")))).await;
    assert_eq!(silent, Err(OidcError::Token("no-auth-time")));
}

#[tokio::test]
async fn the_clients_secret_is_its_owners_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("secret");
    std::fs::write(&file, "s\n").expect("written");
    let place = |mode| {
        private(&file, mode);
        Provider::new(&configured("https://id.example", &file)).map(drop).map_err(|e| (e.place, e.text))
    };
    assert_eq!(place(0o600), Ok(()));
    let (key, text) = place(0o644).expect_err("readable by others");
    assert!(key == "access.oidc.client_secret_file" && text.contains("chmod 600"), "{text}");
    assert!(Provider::new(&Oidc::default()).expect("nothing configured").is_none());
}
