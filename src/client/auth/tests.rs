//! A token endpoint and a FHIR server, both on loopback. Time is the fake clock's.

use super::super::mock::{
    FakeClock, Mock, Reply, Seen, Trap, Wire, client_of, observation, page, raw_server,
};
use super::super::server::{FhirServer, ServerError};
use super::super::{Auth, BackendServices, Clock, ConfigError, FhirClient};
use super::{DEFAULT_SCOPE, SigningKey};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

// --- what the endpoint may answer ---------------------------------------------------------------

#[tokio::test]
async fn a_failure_of_the_token_endpoint_is_one_of_the_connection() {
    let ok = |body: &str| Reply::json(body);
    let refusal = "POST token endpoint (invalid_client): the server refused the credentials (401)";
    let table: Vec<(Reply, &str, usize, &str)> = vec![
        (refused(400, "invalid_client"), "refused", 1, refusal),
        (refused(401, "invalid_client"), "refused", 1, refusal),
        (refused(400, "invalid_scope"), "refused", 1, "(invalid_scope)"),
        (refused(401, "canary-code"), "refused", 1, "(status 401)"),
        (refused(403, "canary-code"), "refused", 1, "(status 403)"),
        // Never `Status`: a 404 would mean that the resource is not there.
        (refused(404, "x"), "unreachable", 1, "status 404; check fhir.auth.token_url"),
        (refused(405, "x"), "unreachable", 1, "status 405"),
        (refused(410, "x"), "unreachable", 1, "status 410"),
        (Reply::status(500), "unreachable", 6, "status 500"),
        (Reply::status(503), "unreachable", 6, "status 503"),
        (Reply::status(429), "unreachable", 6, "status 429"),
        (ok("<html>canary</html>"), "unreachable", 1, "no token response"),
        (ok(""), "unreachable", 1, "no token response"),
        (ok(r#"{"access_token":"#), "unreachable", 1, "no token response"),
        (ok(r#"{"access_token":7,"token_type":"bearer"}"#), "unreachable", 1, "no token response"),
        (ok(r#"{"token_type":"bearer"}"#), "unreachable", 1, "no access_token"),
        (ok(r#"{"access_token":"","token_type":"bearer"}"#), "unreachable", 1, "no access_token"),
        (
            ok(r#"{"access_token":"canary\r\nx: y","token_type":"bearer"}"#),
            "unreachable",
            1,
            "no access_token",
        ),
        (ok(r#"{"access_token":"canary","token_type":"mac"}"#), "unreachable", 1, "`bearer`"),
        (ok(r#"{"access_token":"canary"}"#), "unreachable", 1, "`bearer`"),
        (ok(&format!(r#"{{"x":"{}"}}"#, "0".repeat(300 << 10))), "unreachable", 1, "too large"),
    ];
    for (reply, code, requests, text) in table {
        let shown = format!("{} {:.60}", reply.status, reply.body);
        let fhir = open_ward().await;
        let tokens = Mock::start(move |_, _| reply.clone()).await;
        let (client, _) = client(&fhir, &tokens.base);
        let read = client.read("Patient", "p1").await;
        assert_eq!((code_of(&read), tokens.seen().len()), (code, requests), "{shown}");
        let error = read.expect_err("a failure").to_string();
        assert!(error.contains(text), "{shown}: {error}");
        assert!(!error.contains("canary"), "{error}");
        // Nothing is asked without a token.
        assert_eq!((fhir.seen().len(), client.counts().requests), (0, 0), "{shown}");
    }
}

#[tokio::test]
async fn a_refusal_says_how_far_the_clocks_are_apart() {
    let table = [
        (NOW, ""),
        ("Sun, 22 Nov 2026 02:00:29 GMT", ""),
        ("Sun, 22 Nov 2026 02:10:00 GMT", "; this machine's clock is 600 s behind the server's"),
        ("Sun, 22 Nov 2026 01:58:00 GMT", "; this machine's clock is 120 s ahead of the server's"),
        ("today", ""),
    ];
    for (date, expected) in table {
        let fhir = open_ward().await;
        let tokens = Mock::start(move |_, _| {
            let reply = refused(400, "invalid_client");
            Reply { headers: vec![("date", date.into())], ..reply }
        })
        .await;
        let (client, _) = client(&fhir, &tokens.base);
        let error = client.read("Patient", "p1").await.expect_err("refused").to_string();
        assert!(error.contains(&format!("(invalid_client{expected})")), "{date}: {error}");
    }
}

#[tokio::test]
async fn a_broken_connection_to_the_token_endpoint_is_tried_again() {
    let body = r#"{"access_token":"canary-token-9","token_type":"bearer","expires_in":30}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let good = Wire::Bytes(format!("{head}{body}").into_bytes());
    let cut = Wire::Bytes(format!("{head}{}", &body[..30]).into_bytes());
    for fault in [Wire::Reset, Wire::Bytes(Vec::new()), cut] {
        let fhir = open_ward().await;
        let (base, count) = raw_server(vec![fault.clone(), fault.clone(), good.clone()]).await;
        let (reads, _) = client(&fhir, &base);
        reads.read("Patient", "p1").await.expect("the third attempt is whole");
        assert_eq!(count.load(Ordering::SeqCst), 3);

        let (base, count) = raw_server(vec![fault]).await;
        let (fails, _) = client(&fhir, &base);
        assert_eq!(code_of(&fails.read("Patient", "p1").await), "unreachable");
        // Six attempts, and not six times six.
        assert_eq!(count.load(Ordering::SeqCst), 6);
        assert_eq!(fhir.seen().len(), 1);
    }
}

// --- where credentials go -----------------------------------------------------------------------

#[tokio::test]
async fn no_redirect_is_followed() {
    for status in [301, 302, 303, 307, 308] {
        let trap = Trap::set();
        let elsewhere = format!("http://127.0.0.1:{}/fhir/token", trap.port);
        let redirect =
            move |_: &Seen, _: usize| Reply { status, ..Reply::json("") }.header("location", &elsewhere);
        let fhir = open_ward().await;
        let tokens = Mock::start(redirect.clone()).await;
        let (reads, _) = client(&fhir, &tokens.base);
        let error = reads.read("Patient", "p1").await.expect_err("redirected").to_string();
        assert!(error.contains("redirects are not followed, set fhir.auth.token_url"), "{error}");
        assert_eq!((tokens.seen().len(), fhir.seen().len()), (1, 0), "{status}");

        let fhir = Mock::start(redirect).await;
        let tokens = Mock::start(|_, n| granted(n, "300")).await;
        let (reads, _) = client(&fhir, &tokens.base);
        assert_eq!(code_of(&reads.read("Patient", "p1").await), "redirect", "{status}");
        assert!(!trap.sprung(), "{status}");
    }
}

#[tokio::test]
async fn each_credential_goes_to_its_own_origin() {
    let trap = Trap::set();
    let next = format!("http://127.0.0.1:{}/fhir/Observation?p=2", trap.port);
    let fhir = Mock::start(move |seen, _| match seen.method.as_str() {
        "POST" => Reply::json(page(&[observation("o1", "p1")], Some(&next))),
        _ => Reply::status(401),
    })
    .await;
    // An answer that names other addresses changes nothing.
    let hint = format!("http://127.0.0.1:{}/token", trap.port);
    let tokens = Mock::start(move |_, n| {
        Reply::json(format!(
            r#"{{"access_token":"canary-token-{n}","token_type":"bearer","expires_in":30,"token_endpoint":"{hint}"}}"#
        ))
        .header("set-cookie", "session=canary")
        .header("refresh", &format!("0; url={hint}"))
    })
    .await;
    let (client, _) = client(&fhir, &tokens.base);
    let mut pages = client.search_pages("Observation", vec![("patient".into(), "p1".into())]);
    let mut outcome = pages.next().await;
    while let Ok(Some(_)) = outcome {
        outcome = pages.next().await;
    }
    assert_eq!(code_of(&outcome), "foreign-link");
    assert_eq!(code_of(&client.read("Patient", "p1").await), "refused");
    assert!(!trap.sprung());
    let (at_fhir, at_tokens) = (fhir.seen(), tokens.seen());
    assert_eq!((at_fhir.len(), at_tokens.len()), (3, 2));
    for seen in &at_fhir {
        let text = format!("{} {} {:?}", seen.query, seen.body, seen.headers);
        assert!(!text.contains("assertion") && !text.contains("eyJ") && !text.contains("cookie"), "{text}");
        assert!(bearer(seen).is_some());
    }
    for seen in &at_tokens {
        assert!(!format!("{seen:?}").contains("canary"), "{seen:?}");
    }
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_said() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let fhir = Mock::start(|_, n| if n == 0 { Reply::status(401) } else { patient() }).await;
    let tokens = Mock::start(|_, n| match n {
        0 => Reply::status(503),
        1 | 2 => granted(n, "0"),
        _ => refused(400, "invalid_client"),
    })
    .await;
    let (client, _) = client(&fhir, &tokens.base);
    client.read("Patient", "p1").await.expect("renewed");
    let error = client.read("Patient", "p1").await.expect_err("refused");
    let config = format!("{client:?} {:?}", client.config());
    let logged = String::from_utf8(log.0.lock().expect("log").clone()).expect("text");
    assert!(config.contains("ES384 [redacted]"), "{config}");
    for event in ["fhir.token.repeat", "fhir.token.obtained", "fhir.token.failed", "fhir.request.repeat"] {
        assert!(logged.contains(event), "{event} is missing in {logged}");
    }
    let key = String::from_utf8(ES384.to_vec()).expect("text");
    let line = key.lines().nth(1).expect("a key");
    for text in [format!("{error} {error:?}"), config, logged] {
        for secret in ["canary", "eyJ", "client_assertion", line] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

// --- what is refused before anything is sent ----------------------------------------------------

#[test]
fn a_key_is_of_a_kind_that_can_sign() {
    let table: [(&[u8], &str); 10] = [
        (RS384, "RS384 [redacted]"),
        (ES384, "ES384 [redacted]"),
        (include_bytes!("../../../fixtures/smart/refused-p256-test-key.pem"), "neither RSA"),
        (include_bytes!("../../../fixtures/smart/refused-rsa1024-test-key.pem"), "neither RSA"),
        (include_bytes!("../../../fixtures/smart/refused-ed25519-test-key.pem"), "neither RSA"),
        (include_bytes!("../../../fixtures/smart/refused-pkcs1-test-key.pem"), "PKCS#8"),
        (ES384_PUBLIC, "PKCS#8"),
        (b"", "PKCS#8"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither RSA"),
        (b"-----BEGIN PRIVATE KEY-----\n", "neither RSA"),
    ];
    for (pem, expected) in table {
        let said = match SigningKey::from_pem(pem) {
            Ok(key) => format!("{key:?}"),
            Err(reason) => reason.to_owned(),
        };
        assert!(said.contains(expected), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    std::fs::write(&path, RS384).expect("written");
    for (mode, allowed) in [(0o600, true), (0o640, false), (0o604, false), (0o610, false), (0o644, false)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
        let read = SigningKey::from_file(&path);
        assert_eq!(read.is_ok(), allowed, "{mode:o}");
        if let Err(text) = read {
            assert!(text.contains("key.pem") && text.contains("chmod 600"), "{text}");
        }
    }
    let text = SigningKey::from_file(&folder.path().join("none.pem")).expect_err("not there");
    assert!(text.contains("none.pem: cannot be read"), "{text}");
}

#[test]
fn a_token_url_is_https_or_of_this_machine() {
    let table = [
        ("https://auth.example/token", ""),
        ("https://auth.example/token?tenant=7", ""),
        (" https://auth.example:8443/token ", ""),
        ("http://127.0.0.1:9/token", ""),
        ("http://localhost/token", ""),
        ("http://[::1]:9/token", ""),
        ("http://auth.example/token", "https:// only"),
        ("http://localhost.evil.test/token", "https:// only"),
        ("http://10.0.0.1/token", "https:// only"),
        ("ftp://127.0.0.1/token", "https:// only"),
        ("auth.example/token", "absolute URL"),
        ("", "absolute URL"),
        ("https://canary:canary@auth.example/token", "user name or password"),
        ("https://auth.example/token#canary", "fragment"),
    ];
    let error_of = |settings: BackendServices| {
        let mut config = super::super::ClientConfig::new("http://fhir.example/r4");
        // Plain HTTP that was allowed for the FHIR server is not allowed for the token endpoint.
        config.allow_plain_http = true;
        config.auth = Auth::SmartBackend(Arc::new(settings));
        FhirClient::new(config).err()
    };
    for (url, expected) in table {
        let settings = BackendServices { token_url: url.into(), ..registered("", ES384) };
        let said = error_of(settings).map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(said.is_empty(), expected.is_empty(), "{url}: {said}");
        assert!(said.contains(expected) && !said.contains("canary"), "{url}: {said}");
        assert!(said.is_empty() || said.starts_with("fhir.auth.token_url: "), "{said}");
    }
    let named = |change: fn(&mut BackendServices)| {
        let mut settings = registered("https://auth.example", ES384);
        change(&mut settings);
        match error_of(settings) {
            None => "none",
            Some(ConfigError::Value { key, .. }) => key,
            Some(_) => "another",
        }
    };
    assert_eq!(named(|_| {}), "none");
    assert_eq!(named(|s| s.client_id.clear()), "fhir.auth.client_id");
    assert_eq!(named(|s| s.scope = " ".into()), "fhir.auth.scope");
}
