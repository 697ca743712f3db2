//! Where credentials go, and where they are never seen.

use super::super::super::mock::{Mock, Reply, Seen, Trap, observation, page};
use super::super::super::server::FhirServer;
use super::{ES384, bearer, client, code_of, granted, open_ward, patient, refused};
use std::sync::{Arc, Mutex};

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
    // While there is one subscriber only, `tracing` decides with that of the thread that comes first to
    // a log line, which may be another test's. With two it asks both.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
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
