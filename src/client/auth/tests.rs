//! A token endpoint and a FHIR server, both on loopback. Time is the fake clock's.

use super::super::mock::{FakeClock, Mock, Reply, Seen, client_of};
use super::super::server::{FhirServer, ServerError};
use super::super::{Auth, BackendServices, Clock, FhirClient};
use super::{DEFAULT_SCOPE, SigningKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

mod answers;
mod origins;
mod settings;

const RS384: &[u8] = include_bytes!("../../../fixtures/smart/rs384-test-key.pem");
const RS384_PUBLIC: &[u8] = include_bytes!("../../../fixtures/smart/rs384-test-key.pub.pem");
const ES384: &[u8] = include_bytes!("../../../fixtures/smart/es384-test-key.pem");
const ES384_PUBLIC: &[u8] = include_bytes!("../../../fixtures/smart/es384-test-key.pub.pem");

/// The fake clock's start, as a server says it.
const NOW: &str = "Sun, 22 Nov 2026 02:00:00 GMT";

fn granted(n: usize, lifetime: &str) -> Reply {
    Reply::json(format!(
        r#"{{"access_token":"canary-token-{n}","token_type":"Bearer","expires_in":{lifetime},"scope":"system/*.rs"}}"#
    ))
}

fn refused(status: u16, code: &str) -> Reply {
    let body = format!(r#"{{"error":"{code}","error_description":"canary-prose"}}"#);
    Reply { status, ..Reply::json(body) }.header("date", NOW)
}

fn patient() -> Reply {
    Reply::json(r#"{"resourceType":"Patient","id":"p1"}"#)
}

/// A FHIR server that takes every token of this file's token endpoints, and nothing else.
async fn open_ward() -> Mock {
    Mock::start(|seen, _| {
        let known = bearer(seen).is_some_and(|t| t.starts_with("canary-token-"));
        if known { patient() } else { Reply::status(401) }
    })
    .await
}

fn bearer(seen: &Seen) -> Option<String> {
    let header = seen.headers.get("authorization")?.to_str().ok()?;
    Some(header.strip_prefix("Bearer ")?.to_owned())
}

fn registered(tokens: &str, key: &[u8]) -> BackendServices {
    BackendServices {
        client_id: "ward-7".into(),
        token_url: format!("{tokens}/token"),
        scope: DEFAULT_SCOPE.into(),
        key_id: None,
        key: SigningKey::from_pem(key).expect("a test key"),
    }
}

fn client(fhir: &Mock, tokens: &str) -> (FhirClient, Arc<FakeClock>) {
    let settings = registered(tokens, ES384);
    client_of(&fhir.base, |c| {
        c.auth = Auth::SmartBackend(Arc::new(settings));
        c.max_concurrent = 16;
    })
}

fn code_of<T>(outcome: &Result<T, ServerError>) -> &'static str {
    match outcome {
        Ok(_) => "none",
        Err(ServerError::Unreachable { .. }) => "unreachable",
        Err(ServerError::Refused { status: 401, .. }) => "refused",
        Err(ServerError::Refused { .. }) => "forbidden",
        Err(ServerError::Status { .. }) => "status",
        Err(ServerError::Protocol { code, .. }) => code,
    }
}

/// So many reads at one time; what came of them.
async fn read_at_once(client: &FhirClient, count: usize) -> Vec<Result<(), ServerError>> {
    let reads: Vec<_> = (0..count)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(
                async move { client.read("Patient", "p1").await.map(|found| assert!(found.is_some())) },
            )
        })
        .collect();
    let mut outcomes = Vec::new();
    for read in reads {
        outcomes.push(read.await.expect("no panic"));
    }
    outcomes
}

// --- the assertion ------------------------------------------------------------------------------

fn claims_of(
    assertion: &str,
    algorithm: Algorithm,
    audience: &str,
) -> jsonwebtoken::errors::Result<jsonwebtoken::TokenData<serde_json::Value>> {
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
    // Against the fake clock, by the caller.
    validation.validate_exp = false;
    let key = match algorithm {
        Algorithm::RS384 => DecodingKey::from_rsa_pem(RS384_PUBLIC),
        _ => DecodingKey::from_ec_pem(ES384_PUBLIC),
    };
    jsonwebtoken::decode(assertion, &key.expect("a public key"), &validation)
}

#[tokio::test]
async fn the_assertion_says_who_for_whom_and_how_long() {
    let fhir = open_ward().await;
    for (key, algorithm, other, key_id) in [
        (RS384, Algorithm::RS384, Algorithm::ES384, None),
        (ES384, Algorithm::ES384, Algorithm::RS384, Some("2026-1")),
    ] {
        let tokens = Mock::start(|_, n| granted(n, "300")).await;
        let mut settings = registered(&tokens.base, key);
        settings.key_id = key_id.map(str::to_owned);
        settings.scope = "system/Patient.rs system/Observation.rs".into();
        let (client, clock) = client_of(&fhir.base, |c| c.auth = Auth::SmartBackend(Arc::new(settings)));
        client.read("Patient", "p1").await.expect("permitted");

        let seen = tokens.seen();
        assert_eq!(tokens.lines(), ["POST /fhir/token"]);
        assert_eq!(seen[0].headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(seen[0].headers["accept"], "application/json");
        assert!(!seen[0].headers.contains_key("authorization"));
        let names: Vec<&str> = seen[0].params.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["grant_type", "scope", "client_assertion_type", "client_assertion"]);
        assert_eq!(seen[0].param("grant_type"), Some("client_credentials"));
        assert_eq!(seen[0].param("scope"), Some("system/Patient.rs system/Observation.rs"));
        assert_eq!(
            seen[0].param("client_assertion_type"),
            Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );

        let assertion = seen[0].param("client_assertion").expect("an assertion");
        let audience = format!("{}/token", tokens.base);
        let read = claims_of(assertion, algorithm, &audience).expect("signed for this endpoint");
        assert_eq!(read.header.alg, algorithm);
        assert_eq!(read.header.typ.as_deref(), Some("JWT"));
        assert_eq!(read.header.kid.as_deref(), key_id);
        let claims = read.claims.as_object().expect("an object");
        assert_eq!(claims.len(), 5, "{claims:?}");
        assert_eq!((&claims["iss"], &claims["sub"]), (&"ward-7".into(), &"ward-7".into()));
        assert_eq!(claims["aud"], audience.as_str());
        let jti = claims["jti"].as_str().expect("text");
        assert!(jti.len() == 32 && jti.bytes().all(|b| b.is_ascii_hexdigit()), "{jti}");
        let life = claims["exp"].as_i64().expect("seconds") - clock.now().timestamp();
        assert!((60..=300).contains(&life), "{life}");

        // The check itself can fail: another key, another endpoint, another signature.
        assert!(claims_of(assertion, other, &audience).is_err());
        assert!(claims_of(assertion, algorithm, "https://other.example/token").is_err());
        let (rest, signature) = assertion.rsplit_once('.').expect("three parts");
        let turned: String = signature.chars().rev().collect();
        assert!(claims_of(&format!("{rest}.{turned}"), algorithm, &audience).is_err());
    }
}

#[tokio::test]
async fn an_assertion_is_used_once() {
    let fhir = open_ward().await;
    let tokens = Mock::start(|_, n| match n {
        0 => Reply::status(503).header("retry-after", "7"),
        1 => Reply::status(429),
        _ => granted(n, "0"),
    })
    .await;
    let (client, clock) = client(&fhir, &tokens.base);
    for _ in 0..3 {
        client.read("Patient", "p1").await.expect("permitted");
    }
    // The told wait, then the second step of the backoff with its jitter at the lowest.
    assert_eq!(clock.slept(), [Duration::from_secs(7), Duration::from_millis(500)]);
    let audience = format!("{}/token", tokens.base);
    let nonces: BTreeSet<String> = tokens
        .seen()
        .iter()
        .map(|seen| {
            let assertion = seen.param("client_assertion").expect("an assertion");
            let read = claims_of(assertion, Algorithm::ES384, &audience).expect("signed");
            read.claims["jti"].as_str().expect("text").to_owned()
        })
        .collect();
    // Two refusals, then a token that is good for one request only, three times.
    assert_eq!((tokens.seen().len(), nonces.len()), (5, 5));
}

// --- the life of a token ------------------------------------------------------------------------

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    // expires_in, milliseconds for which it is used
    let table = [
        ("30", 22_500),
        ("59", 44_250),
        ("\"59\"", 44_250),
        ("59.0", 44_250),
        ("300", 240_000),
        ("3600", 3_540_000),
        // Not stated: a minute. A day at most.
        ("null", 45_000),
        ("\"soon\"", 45_000),
        ("1e300", 86_340_000),
        ("0", 0),
        ("-5", 0),
    ];
    for (lifetime, used) in table {
        let fhir = open_ward().await;
        let tokens = Mock::start(move |_, n| granted(n, lifetime)).await;
        let (client, clock) = client(&fhir, &tokens.base);
        let read = async || client.read("Patient", "p1").await.expect("permitted");
        read().await;
        if used > 0 {
            read().await;
            clock.sleep(Duration::from_millis(used - 1)).await;
            read().await;
            assert_eq!(tokens.seen().len(), 1, "{lifetime}");
            clock.sleep(Duration::from_millis(1)).await;
        }
        read().await;
        assert_eq!(tokens.seen().len(), 2, "{lifetime}");
        let sent: BTreeSet<_> = fhir.seen().iter().filter_map(bearer).collect();
        assert_eq!(sent.into_iter().collect::<Vec<_>>(), ["canary-token-0", "canary-token-1"]);
    }
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_renewed_once_and_the_request_repeated_once() {
    // statuses of the FHIR server, the last for ever; outcome; FHIR requests; tokens
    let table: [(&[u16], &str, usize, usize); 6] = [
        (&[200], "none", 1, 1),
        (&[401, 200], "none", 2, 2),
        (&[401, 401, 200], "refused", 2, 2),
        (&[401], "refused", 2, 2),
        (&[403, 200], "forbidden", 1, 1),
        (&[401, 503, 200], "none", 3, 2),
    ];
    for (statuses, outcome, requests, asked) in table {
        let fhir = Mock::start(move |_, n| match statuses[n.min(statuses.len() - 1)] {
            200 => patient(),
            status => Reply::status(status),
        })
        .await;
        let tokens = Mock::start(|_, n| granted(n, "300")).await;
        let (client, _) = client(&fhir, &tokens.base);
        let read = client.read("Patient", "p1").await;
        assert_eq!(code_of(&read), outcome, "{statuses:?}");
        assert_eq!((fhir.seen().len(), tokens.seen().len()), (requests, asked), "{statuses:?}");
        let counts = client.counts();
        assert_eq!((counts.requests, counts.retried), (requests as u64, requests as u64 - 1));
        let last = fhir.seen().last().and_then(bearer);
        assert_eq!(last, Some(format!("canary-token-{}", asked - 1)));
    }
}

#[tokio::test]
async fn a_create_is_repeated_after_401_only() {
    for (first, requests) in [(401, 2), (503, 1), (500, 1)] {
        let fhir = Mock::start(move |_, n| match n {
            0 => Reply::status(first),
            _ => Reply { status: 201, ..Reply::json("") },
        })
        .await;
        let tokens = Mock::start(|_, n| granted(n, "300")).await;
        let (client, _) = client(&fhir, &tokens.base);
        let created = client.create("ResearchSubject", b"{}", Some("identifier=urn:s|S-1")).await;
        assert_eq!(created.is_ok(), requests == 2, "{first}");
        assert_eq!(fhir.seen().len(), requests, "{first}");
        assert!(fhir.seen().iter().all(|s| s.headers["if-none-exist"] == "identifier=urn:s|S-1"));
    }
}

#[test]
fn a_clock_that_was_set_back_makes_a_token_stale() {
    let clock = FakeClock::default();
    let (obtained, renew) = (clock.now(), clock.now() + Duration::from_secs(60));
    let text = super::Secret::new("t".into());
    let token = super::Token { text, serial: 0, obtained, renew };
    let table = [(-1, false), (0, true), (59, true), (60, false)];
    for (seconds, fresh) in table {
        assert_eq!(token.is_fresh(obtained + chrono::TimeDelta::seconds(seconds)), fresh, "{seconds}");
    }
}

// --- many at a time -----------------------------------------------------------------------------

#[tokio::test]
async fn one_asks_for_all_who_wait() {
    let fhir = open_ward().await;
    let tokens = Mock::start(|_, n| granted(n, "300")).await;
    let (client, clock) = client(&fhir, &tokens.base);
    assert!(read_at_once(&client, 12).await.iter().all(Result::is_ok));
    assert_eq!((fhir.seen().len(), tokens.seen().len()), (12, 1));
    clock.sleep(Duration::from_secs(240)).await;
    assert!(read_at_once(&client, 12).await.iter().all(Result::is_ok));
    assert_eq!((fhir.seen().len(), tokens.seen().len()), (24, 2));
}

#[tokio::test]
async fn a_token_of_no_duration_serves_all_who_waited_for_it() {
    let fhir = open_ward().await;
    let tokens = Mock::start(|_, n| granted(n, "0")).await;
    let (client, _) = client(&fhir, &tokens.base);
    assert!(read_at_once(&client, 12).await.iter().all(Result::is_ok));
    assert_eq!(tokens.seen().len(), 1);
}

#[tokio::test]
async fn many_refusals_of_one_token_renew_it_once() {
    let fhir = Mock::start(|seen, _| match bearer(seen).as_deref() {
        Some("canary-token-1") => patient(),
        _ => Reply::status(401),
    })
    .await;
    let tokens = Mock::start(|_, n| granted(n, "300")).await;
    let (client, _) = client(&fhir, &tokens.base);
    assert!(read_at_once(&client, 12).await.iter().all(Result::is_ok));
    assert_eq!(tokens.seen().len(), 2);
}

#[tokio::test]
async fn a_late_refusal_of_an_old_token_leaves_the_new_one() {
    let fhir = open_ward().await;
    let tokens = Mock::start(|_, n| granted(n, "300")).await;
    let (client, _) = client(&fhir, &tokens.base);
    let source = client.0.tokens.as_ref().expect("a source");
    let first = source.token().await.expect("a token");
    source.reject(&first).await;
    let second = source.token().await.expect("a token");
    source.reject(&first).await;
    let third = source.token().await.expect("a token");
    assert_eq!(second.text.expose(), "canary-token-1");
    assert_eq!((third.text.expose(), tokens.seen().len()), ("canary-token-1", 2));
}

#[tokio::test]
async fn one_failure_speaks_for_all_who_waited_and_not_for_those_who_come_later() {
    let fhir = open_ward().await;
    let tokens =
        Mock::start(|_, n| if n == 0 { refused(401, "invalid_client") } else { granted(n, "300") }).await;
    let (client, _) = client(&fhir, &tokens.base);
    let outcomes = read_at_once(&client, 12).await;
    assert!(outcomes.iter().all(|o| code_of(o) == "refused"), "{outcomes:?}");
    assert_eq!((fhir.seen().len(), tokens.seen().len()), (0, 1));
    client.read("Patient", "p1").await.expect("registered meanwhile");
    assert_eq!(tokens.seen().len(), 2);
}
