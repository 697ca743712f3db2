//! The client against servers that misbehave. No test waits: time is a [`FakeClock`].
//!
//! [`FakeClock`]: super::mock::FakeClock

use super::mock::{Mock, Reply, Seen, Trap, Wire, client_of, observation, page, raw_server};
use super::server::{FhirServer, ServerError};
use super::{Auth, FhirClient, Secret};
use std::sync::atomic::Ordering;
use std::time::Duration;

fn asked(patient: &str) -> Vec<(String, String)> {
    vec![("patient".into(), patient.into()), ("code".into(), "http://loinc.org|1975-2".into())]
}

/// Pages read and the error at the end.
async fn drain(client: &FhirClient, parameters: Vec<(String, String)>) -> (usize, Option<ServerError>) {
    let mut pages = client.search_pages("Observation", parameters);
    let mut read = 0;
    loop {
        match pages.next().await {
            Ok(Some(_)) => read += 1,
            Ok(None) => return (read, None),
            Err(error) => return (read, Some(error)),
        }
    }
}

fn code_of(error: &Option<ServerError>) -> &str {
    match error {
        None => "none",
        Some(ServerError::Unreachable { .. }) => "unreachable",
        Some(ServerError::Refused { .. }) => "refused",
        Some(ServerError::Status { .. }) => "status",
        Some(ServerError::Protocol { code, .. }) => code,
    }
}

fn one() -> String {
    page(&[observation("o1", "p1")], None)
}

// --- retry --------------------------------------------------------------------------------------

#[tokio::test]
async fn a_told_wait_is_kept_whatever_its_form() {
    // Retry-After, waits in milliseconds. Garbage backs off: half of 500 ms, with jitter at its lowest.
    let table = [
        ("7", 7_000),
        ("Sun, 22 Nov 2026 02:00:07 GMT", 7_000),
        ("0", 1_000),
        ("Sat, 21 Nov 2026 02:00:07 GMT", 1_000),
        ("1000000000", 3_600_000),
        ("-7", 250),
        ("a while", 250),
    ];
    for status in [429, 503] {
        for (header, wait) in table {
            let mock = Mock::start(move |_, n| match n {
                0 => Reply::status(status).header("retry-after", header),
                _ => Reply::json(one()),
            })
            .await;
            let (client, clock) = mock.client_with(|_| {});
            assert_eq!(drain(&client, asked("p1")).await, (1, None), "{header}");
            let slept: u128 = clock.slept().iter().map(Duration::as_millis).sum();
            assert_eq!(slept, wait, "{status} {header}");
            assert_eq!((client.counts().requests, client.counts().retried), (2, 1));
        }
    }
}

#[tokio::test]
async fn a_told_wait_holds_for_every_request_of_the_client() {
    let mock = Mock::start(|seen, n| match n {
        0 => Reply::status(429).header("retry-after", "60"),
        _ if seen.method == "POST" => Reply::status(201),
        _ => Reply::json(one()),
    })
    .await;
    let (client, clock) = mock.client_with(|_| {});
    // A create is not repeated, but the wait it was told holds for the next request.
    let refused = client.create("ResearchSubject", b"{}", None).await;
    assert!(matches!(refused, Err(ServerError::Status { status: 429, .. })), "{refused:?}");
    assert!(clock.slept().is_empty());
    client.read("Observation", "o1").await.expect_err("a bundle is no Observation");
    assert_eq!(clock.slept(), [Duration::from_secs(60)]);
}

#[tokio::test]
async fn bursts_of_refusals_are_waited_out_and_an_outage_ends() {
    for status in [429, 502, 503, 504] {
        let mock =
            Mock::start(move |_, n| if n < 5 { Reply::status(status) } else { Reply::json(one()) }).await;
        let (client, clock) = mock.client_with(|_| {});
        assert_eq!(drain(&client, asked("p1")).await, (1, None), "{status}");
        let waits: Vec<u128> = clock.slept().iter().map(Duration::as_millis).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000], "{status}");
    }
    let mock = Mock::start(|_, _| Reply::status(503)).await;
    let (read, error) = drain(&mock.client(), asked("p1")).await;
    assert_eq!((read, code_of(&error), mock.seen().len()), (0, "status", 6));
}

#[tokio::test]
async fn final_answers_are_not_asked_again() {
    for (status, code) in
        [(400, "status"), (401, "refused"), (403, "refused"), (500, "status"), (302, "redirect")]
    {
        let mock = Mock::start(move |_, _| Reply { status, ..Reply::json("") }).await;
        let (_, error) = drain(&mock.client(), asked("p1")).await;
        assert_eq!((code_of(&error), mock.seen().len()), (code, 1), "{status}");
    }
}

fn answer(head: &str, body: &str) -> Wire {
    Wire::Bytes(
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\n{head}\r\n\r\n{body}")
            .into_bytes(),
    )
}

#[tokio::test]
async fn a_cut_body_or_connection_is_asked_again_and_never_handed_on() {
    let whole = one();
    let length = whole.len();
    let good = answer(&format!("content-length: {length}\r\nconnection: close"), &whole);
    let cut = &whole[..length / 2];
    let faults = [
        ("content-length", answer(&format!("content-length: {length}\r\nconnection: close"), cut)),
        ("until close", answer("connection: close", cut)),
        ("no body", answer("connection: close", "")),
        ("chunked", answer("transfer-encoding: chunked", &format!("{:x}\r\n{cut}\r\n", cut.len()))),
        ("no headers", Wire::Bytes(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())),
        ("silence", Wire::Bytes(Vec::new())),
        ("reset", Wire::Reset),
    ];
    for (name, fault) in faults {
        let (base, count) = raw_server(vec![fault.clone(), fault.clone(), good.clone()]).await;
        let (client, _) = client_of(&base, |_| {});
        let mut pages = client.search_pages("Observation", asked("p1"));
        let read = pages.next().await.expect("the third attempt is whole").expect("a page");
        assert_eq!(read.bytes, whole.as_bytes(), "{name}");
        assert_eq!(count.load(Ordering::SeqCst), 3, "{name}");

        let (base, _) = raw_server(vec![fault]).await;
        let (client, _) = client_of(&base, |_| {});
        assert_eq!(code_of(&drain(&client, asked("p1")).await.1), "unreachable", "{name}");
        assert_eq!((client.counts().requests, client.counts().retried), (6, 5), "{name}");
    }
}

#[tokio::test]
async fn a_stuck_connection_is_given_up() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_vec();
    let (base, count) = raw_server(vec![Wire::Stall(head)]).await;
    let (client, _) = client_of(&base, |c| {
        c.read_timeout = Duration::from_millis(50);
        c.retry.retries = 1;
    });
    let (_, error) = drain(&client, asked("p1")).await;
    assert!(error.as_ref().is_some_and(|e| e.to_string().contains("timed out")), "{error:?}");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    // Bound and not listening: the port is ours, so that no other test can open it meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let base = format!("http://{}/fhir", socket.local_addr().expect("bound"));
    let (client, _) = client_of(&base, |_| {});
    let (_, error) = drain(&client, asked("p1")).await;
    assert!(error.as_ref().is_some_and(|e| e.to_string().contains("no connection")), "{error:?}");
}

#[tokio::test]
async fn what_is_not_json_is_asked_once_more_and_a_web_page_is_not() {
    let table: [(&str, &str, &str, usize); 5] = [
        ("application/fhir+json", "not json at all", "not-json", 2),
        ("application/fhir+json", r#"{"resourceType":"Bundle"} trailing"#, "not-json", 2),
        ("text/html", "<html>log in</html>", "not-fhir", 1),
        ("application/fhir+json", " <html>log in</html>", "not-fhir", 1),
        ("application/fhir+json", r#"{"resourceType":"Patient"}"#, "not-fhir", 1),
    ];
    for (content_type, body, code, requests) in table {
        let mock = Mock::start(move |_, _| Reply {
            status: 200,
            headers: vec![("content-type", content_type.into())],
            body: body.into(),
        })
        .await;
        let (_, error) = drain(&mock.client(), asked("p1")).await;
        assert_eq!((code_of(&error), mock.seen().len()), (code, requests), "{body}");
    }
}

// --- paging -------------------------------------------------------------------------------------

#[tokio::test]
async fn pages_come_as_received_until_the_last() {
    let mock = Mock::start(|seen, _| match seen.param("p") {
        None => Reply::json(page(&[observation("o1", "p1")], Some("{base}/Observation?p=2"))),
        Some("2") => Reply::json(page(&[observation("o2", "p1")], Some("?p=3"))),
        Some(_) => Reply::json(page(&[observation("o3", "p1")], None)),
    })
    .await;
    let client = mock.client();
    let mut pages = client.search_pages("Observation", asked("p1"));
    let mut last = Vec::new();
    while let Some(page) = pages.next().await.expect("good pages") {
        last.push((page.number, page.matches, page.last));
    }
    assert_eq!(last, [(1, 1, false), (2, 1, false), (3, 1, true)]);
    assert!(pages.next().await.expect("the end stays the end").is_none());
    assert_eq!(
        mock.lines(),
        ["POST /fhir/Observation/_search", "GET /fhir/Observation?p=2", "GET /fhir/?p=3"]
    );
}

#[tokio::test]
async fn paging_in_a_circle_ends() {
    for cycle in [1, 2, 7] {
        // The same URLs again.
        let mock = Mock::start(move |seen, _| {
            let n: usize = seen.param("p").and_then(|p| p.parse().ok()).unwrap_or(0);
            let next = format!("{{base}}/Observation?p={}", (n + 1) % cycle);
            Reply::json(page(&[observation(&format!("o{n}"), "p1")], Some(&next)))
        })
        .await;
        let (read, error) = drain(&mock.client(), asked("p1")).await;
        assert_eq!(code_of(&error), "paging-loop", "cycle {cycle}");
        assert!(read >= cycle && mock.seen().len() <= cycle + 2, "cycle {cycle}: {read} pages");

        // The same URLs again, with other content each time.
        let mock = Mock::start(move |seen, before| {
            let n: usize = seen.param("p").and_then(|p| p.parse().ok()).unwrap_or(0);
            let next = format!("{{base}}/Observation?p={}", (n + 1) % cycle);
            Reply::json(page(&[observation(&format!("o{before}"), "p1")], Some(&next)))
        })
        .await;
        let (_, error) = drain(&mock.client(), asked("p1")).await;
        assert_eq!(code_of(&error), "paging-loop", "cycle {cycle}");
        assert!(mock.seen().len() <= cycle + 1, "cycle {cycle}: {} requests", mock.seen().len());

        // Fresh URLs, the same content.
        let mock = Mock::start(move |_, n| {
            let next = format!("{{base}}/Observation?token={n}");
            Reply::json(page(&[observation(&format!("o{}", n % cycle), "p1")], Some(&next)))
        })
        .await;
        let (read, error) = drain(&mock.client(), asked("p1")).await;
        assert_eq!(code_of(&error), "paging-loop", "cycle {cycle}");
        assert!(read >= cycle && mock.seen().len() <= cycle + 2, "cycle {cycle}: {read} pages");
    }
    let mock =
        Mock::start(|_, n| Reply::json(page(&[], Some(&format!("{{base}}/Observation?token={n}"))))).await;
    assert_eq!(code_of(&drain(&mock.client(), asked("p1")).await.1), "paging-loop");
}

#[tokio::test]
async fn one_repeated_page_is_no_loop() {
    let mock = Mock::start(|_, n| {
        let id = ["o1", "o1", "o2"][n];
        let next = (n < 2).then(|| format!("{{base}}/Observation?offset={}", n + 1));
        Reply::json(page(&[observation(id, "p1")], next.as_deref()))
    })
    .await;
    assert_eq!(drain(&mock.client(), asked("p1")).await, (3, None));
}

#[tokio::test]
async fn foreign_links_are_not_followed_and_nobody_hears_of_the_credentials() {
    let trap = Trap::set();
    let own = Mock::start(|_, _| Reply::json(one())).await;
    let own_port = own.base.rsplit(':').next().and_then(|t| t.split('/').next()).expect("a port").to_owned();
    let t = trap.port;
    let links = [
        format!("http://127.0.0.1:{t}/fhir/Observation?p=2"),
        format!("//127.0.0.1:{t}/fhir/Observation?p=2"),
        format!("http://localhost:{t}/fhir/Observation?p=2"),
        format!("http://0x7f000001:{t}/fhir/Observation?p=2"),
        format!("http://[::ffff:127.0.0.1]:{t}/fhir/Observation?p=2"),
        format!("http://127.0.0.1:{own_port}@127.0.0.1:{t}/fhir/Observation?p=2"),
        format!("https://127.0.0.1:{own_port}/fhir/Observation?p=2"),
        format!("http://127.0.0.1.:{t}/fhir/Observation?p=2"),
        format!("http://127.0.0.1.evil.test:{t}/fhir/Observation?p=2"),
        "{base}evil/Observation?p=2".to_owned(),
        "{base}/../admin?p=2".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::from("http://"),
    ];
    for link in links {
        let next = link.clone();
        let mock = Mock::start(move |_, _| Reply::json(page(&[observation("o1", "p1")], Some(&next)))).await;
        let (client, _) =
            mock.client_with(|c| c.auth = Auth::Bearer { token: Secret::new("canary-token".into()) });
        let (read, error) = drain(&client, asked("p1")).await;
        assert_eq!((read, code_of(&error), mock.seen().len()), (1, "foreign-link", 1), "{link}");
        assert!(!trap.sprung(), "{link}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let trap = Trap::set();
    for status in [301, 302, 303, 307, 308] {
        for target in
            [format!("http://127.0.0.1:{}/fhir", trap.port), "{base}/Observation".into(), "file:///x".into()]
        {
            let mock =
                Mock::start(move |_, _| Reply { status, ..Reply::json("") }.header("location", &target))
                    .await;
            let (_, error) = drain(&mock.client(), asked("p1")).await;
            assert_eq!((code_of(&error), mock.seen().len()), ("redirect", 1));
            let client = mock.client();
            assert_eq!(code_of(&client.read("Patient", "p1").await.err()), "redirect");
            assert_eq!(code_of(&client.create("Basic", b"{}", None).await.err()), "redirect");
            assert_eq!(code_of(&client.capability().await.err()), "redirect");
        }
    }
    assert!(!trap.sprung());
}

#[tokio::test]
async fn a_wrong_total_is_a_warning_on_the_last_page() {
    for (total, warned) in [(500, true), (1, true), (2, false)] {
        let mock = Mock::start(move |seen, _| {
            let (id, next) = if seen.method == "POST" { ("o1", Some("?p=2")) } else { ("o2", None) };
            Reply::json(page(&[observation(id, "p1")], next).replacen(
                '{',
                &format!(r#"{{"total":{total},"#),
                1,
            ))
        })
        .await;
        let client = mock.client();
        let mut pages = client.search_pages("Observation", asked("p1"));
        let first = pages.next().await.expect("page 1").expect("page 1");
        assert_eq!((first.total, first.warnings.len()), (Some(total), 0));
        let last = pages.next().await.expect("page 2").expect("page 2");
        let codes: Vec<&str> = last.warnings.iter().map(|w| w.code).collect();
        assert_eq!(codes == ["total-mismatch"], warned, "{total}: {codes:?}");
    }
}

#[tokio::test]
async fn pages_are_bounded_in_size_and_number() {
    let mock = Mock::start(|_, _| Reply::json(one())).await;
    let (client, _) = mock.client_with(|c| c.max_page_bytes = 100);
    assert_eq!(code_of(&drain(&client, asked("p1")).await.1), "page-too-large");
    assert_eq!(mock.seen().len(), 1);
    // Without an announced length.
    let body = one();
    let (base, _) = raw_server(vec![answer("connection: close", &body)]).await;
    let (client, _) = client_of(&base, |c| c.max_page_bytes = 100);
    assert_eq!(code_of(&drain(&client, asked("p1")).await.1), "page-too-large");
    let mock = Mock::start(|_, n| {
        Reply::json(page(&[observation(&format!("o{n}"), "p1")], Some(&format!("?p={n}"))))
    })
    .await;
    let (client, _) = mock.client_with(|c| c.max_pages = 3);
    let (read, error) = drain(&client, asked("p1")).await;
    assert_eq!((read, code_of(&error)), (3, "too-many-pages"));
}

// --- did the server search for what was asked ---------------------------------------------------

fn with_self(body: &str, link: &str) -> String {
    body.replacen(r#""link":["#, &format!(r#""link":[{{"relation":"self","url":"{link}"}},"#), 1)
        .replace("},]", "}]")
}

#[tokio::test]
async fn a_dropped_parameter_is_an_error_and_nothing_of_the_answer_is_given() {
    let kept = "{base}/Observation?code=1975-2&patient=p1";
    let own = [observation("o1", "p1")];
    let mixed = [observation("o1", "p1"), observation("o2", "p2"), observation("o3", "p1")];
    let all = [observation("o1", "p1"), observation("o2", "p2"), observation("o3", "p3")];
    // self link, results, verdict, pages
    let table: [(&str, &[String], &str, usize); 8] = [
        (kept, &own, "none", 1),
        ("http://internal:8080/Observation?patient=p1&code=x", &own, "none", 1),
        ("{base}/Observation?patient=p1", &own, "dropped-parameter", 0),
        ("{base}/Observation?_count=200", &own, "dropped-parameter", 0),
        // nothing said: the results decide
        ("{base}/Observation/_search", &own, "none", 1),
        ("{base}/Observation/_search", &mixed, "none", 1),
        ("{base}/Observation/_search", &all, "dropped-parameter", 0),
        ("", &all, "dropped-parameter", 0),
    ];
    for (link, results, verdict, read) in table {
        let body = if link.is_empty() { page(results, None) } else { with_self(&page(results, None), link) };
        let mock = Mock::start(move |_, _| Reply::json(body.clone())).await;
        let (pages, error) = drain(&mock.client(), asked("p1")).await;
        assert_eq!((pages, code_of(&error)), (read, verdict), "{link} {}", results.len());
    }
}

#[tokio::test]
async fn a_stranger_among_the_results_is_reported_with_the_page() {
    let mixed = page(&[observation("o1", "p1"), observation("o2", "p2"), observation("o3", "p1")], None);
    let mock = Mock::start(move |_, _| Reply::json(mixed.clone())).await;
    let client = mock.client();
    let page = client.search_pages("Observation", asked("p1")).next().await.expect("kept").expect("a page");
    let codes: Vec<&str> = page.warnings.iter().map(|w| w.code).collect();
    assert_eq!(codes, ["compartment-violation"]);
    assert!(!page.warnings[0].text.contains("p2"));
}

#[tokio::test]
async fn outcomes_and_odd_entries_are_reported_by_code() {
    let body = page(&[observation("o1", "p1")], None).replace(
        "]}",
        r#",{"resource":{"resourceType":"OperationOutcome","issue":[{"code":"not-supported","diagnostics":"canary"}]},"search":{"mode":"outcome"}},7]}"#,
    );
    let body =
        body.replacen(r#""link":[,"#, r#""link":["#, 1).replacen(r#"[,{"resource""#, r#"[{"resource""#, 1);
    let mock = Mock::start(move |_, _| Reply::json(body.clone())).await;
    let client = mock.client();
    let page = client.search_pages("Observation", asked("p1")).next().await.expect("kept").expect("a page");
    let codes: Vec<&str> = page.warnings.iter().map(|w| w.code).collect();
    assert_eq!(codes, ["search-outcome", "entry-unreadable"]);
    assert_eq!((page.matches, page.resources), (1, 1));
    assert!(page.warnings.iter().all(|w| !w.text.contains("canary")));
}

fn subject(id: &str, identifier: &str, patient: &str) -> String {
    format!(
        r#"{{"resourceType":"ResearchSubject","id":"{id}","meta":{{"versionId":"3"}},"identifier":[{{"system":"urn:s","value":"{identifier}"}}],"individual":{{"reference":"Patient/{patient}"}}}}"#
    )
}

#[tokio::test]
async fn a_search_of_the_write_back_gives_matches_or_an_error() {
    let all = page(&[subject("1", "S-1", "p1"), subject("2", "S-2", "p2")], None);
    let echoed = with_self(&all, "{base}/ResearchSubject?identifier=urn:s|S-1&individual=Patient/p1");
    let one = page(&[subject("1", "S-1", "p1")], None);
    let none = page(&[], None);
    // A server that ignores the parameter and still repeats it in its self link is caught as well.
    for (body, expected) in [(all, None), (echoed, None), (one, Some(1)), (none, Some(0))] {
        let mock = Mock::start(move |_, _| Reply::json(body.clone())).await;
        let client = mock.client();
        for parameters in [("identifier", "urn:s|S-1"), ("individual", "Patient/p1")] {
            match client.search("ResearchSubject", &[parameters]).await {
                Ok(found) => {
                    assert_eq!(Some(found.len()), expected);
                    if let Some(first) = found.first() {
                        assert_eq!((first.id.as_str(), first.etag.as_deref()), ("1", Some("W/\"3\"")));
                    }
                }
                Err(error) => {
                    assert_eq!((code_of(&Some(error)), expected), ("dropped-parameter", None));
                }
            }
        }
    }
}

// --- searching by POST --------------------------------------------------------------------------

#[tokio::test]
async fn parameters_stay_out_of_urls_while_post_works() {
    let mock = Mock::start(|_, _| Reply::json(one())).await;
    drain(&mock.client(), asked("p1")).await;
    let seen = mock.seen();
    assert_eq!(mock.lines(), ["POST /fhir/Observation/_search"]);
    assert_eq!(seen[0].body, "patient=p1&code=http%3A%2F%2Floinc.org%7C1975-2&_count=200");
    assert_eq!(seen[0].headers["accept"], "application/fhir+json");
    assert_eq!(seen[0].headers["cache-control"], "no-cache");
}

#[tokio::test]
async fn a_server_without_post_search_is_asked_by_get_and_remembered() {
    let outcome =
        |code: &str| format!(r#"{{"resourceType":"OperationOutcome","issue":[{{"code":"{code}"}}]}}"#);
    for (status, code, falls_back) in [
        (404, "not-found", true),
        (405, "not-supported", true),
        (501, "not-supported", true),
        (400, "not-supported", true),
        (400, "invalid", false),
        (403, "forbidden", false),
    ] {
        let body = outcome(code);
        let mock = Mock::start(move |seen, _| match seen.method.as_str() {
            "POST" => Reply { status, ..Reply::json(body.clone()) },
            _ => Reply::json(one()),
        })
        .await;
        let client = mock.client();
        let first = drain(&client, asked("p1")).await;
        let second = drain(&client, asked("p1")).await;
        let methods: Vec<String> = mock.seen().into_iter().map(|s| s.method).collect();
        if falls_back {
            assert_eq!((first, second), ((1, None), (1, None)), "{status}");
            assert_eq!(methods, ["POST", "GET", "GET"], "{status}");
        } else {
            assert!(first.1.is_some() && second.1.is_some());
            assert_eq!(methods, ["POST", "POST"], "{status} {code}");
        }
    }
}

#[tokio::test]
async fn an_unsupported_type_is_a_status_and_teaches_nothing() {
    let mock =
        Mock::start(
            |seen, _| if seen.path.contains("Consent") { Reply::status(404) } else { Reply::json(one()) },
        )
        .await;
    let client = mock.client();
    let mut pages = client.search_pages("Consent", asked("p1"));
    let error = pages.next().await.expect_err("404");
    assert_eq!(error.to_string(), "GET Consent?…: status 404 not-supported");
    drain(&client, asked("p1")).await;
    assert_eq!(mock.seen().last().map(Seen::line).as_deref(), Some("POST /fhir/Observation/_search"));
    // Once POST has worked, an unsupported type is not asked for with the patient in the URL.
    let error = client.search_pages("Consent", asked("p1")).next().await.expect_err("404");
    assert_eq!(error.to_string(), "POST Consent/_search: status 404 not-supported");
    assert_eq!(mock.seen().iter().filter(|s| s.method == "GET").count(), 1);
}

#[tokio::test]
async fn a_compressed_page_is_bounded_and_whole_or_nothing() {
    let whole = page(&[observation("o1", "p1"), format!("{{\"pad\":\"{}\"}}", "0".repeat(1 << 20))], None);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, whole.as_bytes()).expect("compressed");
    let packed = encoder.finish().expect("compressed");
    assert!(packed.len() < 10_000);
    let wire = |bytes: &[u8]| {
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
        Wire::Bytes([head.as_bytes(), bytes].concat())
    };
    let table = [
        (wire(&packed), 64 << 20, "none"),
        (wire(&packed), 1 << 20, "page-too-large"),
        (wire(&packed[..packed.len() / 2]), 64 << 20, "unreachable"),
    ];
    for (wire, limit, verdict) in table {
        let (base, _) = raw_server(vec![wire]).await;
        let (client, _) = client_of(&base, |c| c.max_page_bytes = limit);
        assert_eq!(code_of(&drain(&client, asked("p1")).await.1), verdict);
    }
}

// --- reading and writing ------------------------------------------------------------------------

#[tokio::test]
async fn reading_tells_absent_from_failed() {
    let mock = Mock::start(|seen, _| match seen.path.as_str() {
        "/fhir/Patient/p1" => {
            Reply::json(r#"{"resourceType":"Patient","id":"p1"}"#).header("etag", "W/\"5\"")
        }
        "/fhir/Patient/gone" => Reply::status(410),
        "/fhir/Patient/no" => Reply::status(404),
        "/fhir/Patient/other" => Reply::json(r#"{"resourceType":"Patient","id":"p1"}"#),
        _ => Reply::status(500),
    })
    .await;
    let client = mock.client();
    let found = client.read("Patient", "p1").await.expect("readable").expect("there");
    assert_eq!((found.id.as_str(), found.etag.as_deref()), ("p1", Some("W/\"5\"")));
    assert_eq!(client.read("Patient", "gone").await, Ok(None));
    assert_eq!(client.read("Patient", "no").await, Ok(None));
    assert_eq!(code_of(&client.read("Patient", "other").await.err()), "not-fhir");
    assert_eq!(code_of(&client.read("Patient", "ill").await.err()), "status");
    assert_eq!(code_of(&client.read("Patient", "../x").await.err()), "invalid-request");
    assert!(client.read_strict("Patient", "gone").await.is_err());
}

#[tokio::test]
async fn a_create_is_sent_once_whatever_happens() {
    for wire in [Wire::Reset, Wire::Bytes(Vec::new()), answer("", "").clone()] {
        let (base, count) = raw_server(vec![wire]).await;
        let (client, _) = client_of(&base, |c| c.read_timeout = Duration::from_secs(5));
        let _ = client.create("ResearchSubject", b"{}", None).await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
    for status in [429, 502, 503, 504, 500] {
        let mock = Mock::start(move |_, _| Reply::status(status)).await;
        assert_eq!(code_of(&mock.client().create("ResearchSubject", b"{}", None).await.err()), "status");
        assert_eq!(mock.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn what_was_written_is_read_from_headers_or_body() {
    let body = r#"{"resourceType":"ResearchSubject","id":"9","meta":{"versionId":"4"}}"#;
    // Location, body, id
    let table = [
        ("{base}/ResearchSubject/7/_history/1", "", Some("7")),
        ("ResearchSubject/7/_history/1", body, Some("7")),
        ("http://127.0.0.1:9/fhir/ResearchSubject/7", body, Some("9")),
        ("http://127.0.0.1:9/fhir/ResearchSubject/7", "", None),
        ("", body, Some("9")),
        ("", r#"{"resourceType":"OperationOutcome","id":"x"}"#, None),
        ("", "", None),
    ];
    for (location, body, id) in table {
        let mock = Mock::start(move |_, _| {
            let reply = Reply { status: 201, ..Reply::json(body) };
            if location.is_empty() { reply } else { reply.header("location", location) }
        })
        .await;
        let written =
            mock.client().create("ResearchSubject", b"{\"a\":1}", Some("identifier=urn:s|S-1")).await;
        let written = written.expect("created");
        assert_eq!((written.status, written.id.as_deref()), (201, id), "{location}");
        let seen = &mock.seen()[0];
        assert_eq!(seen.headers["if-none-exist"], "identifier=urn:s|S-1");
        assert_eq!(seen.headers["content-type"], "application/fhir+json");
        assert_eq!(seen.body, "{\"a\":1}");
    }
    let client = Mock::start(|_, _| Reply::json("")).await.client();
    let refused = client.create("ResearchSubject", b"{}", Some("a\r\nx: y")).await;
    assert_eq!((code_of(&refused.err()), client.counts().requests), ("invalid-request", 0));
}

#[tokio::test]
async fn an_update_with_a_version_is_repeated_only_if_it_was_not_accepted() {
    // status, If-Match, requests
    let table =
        [(503, true, 6), (429, true, 6), (502, true, 1), (504, true, 1), (502, false, 6), (412, true, 1)];
    for (status, conditional, requests) in table {
        let mock = Mock::start(move |_, _| Reply::status(status)).await;
        let if_match = conditional.then_some("W/\"2\"");
        let error = mock.client().update("ResearchSubject", "7", b"{}", if_match).await;
        assert_eq!((code_of(&error.err()), mock.seen().len()), ("status", requests), "{status}");
    }
    let mock = Mock::start(|_, _| Reply::json("").header("etag", "W/\"3\"")).await;
    let written =
        mock.client().update("ResearchSubject", "7", b"{}", Some("W/\"2\"")).await.expect("updated");
    assert_eq!((written.id.as_deref(), written.etag.as_deref()), (Some("7"), Some("W/\"3\"")));
    assert_eq!(mock.seen()[0].line(), "PUT /fhir/ResearchSubject/7");
    assert_eq!(mock.seen()[0].headers["if-match"], "W/\"2\"");
}

// --- what is never said -------------------------------------------------------------------------

#[tokio::test]
async fn secrets_and_ids_stay_out_of_debug_and_errors() {
    let mock = Mock::start(|_, _| Reply::status(400)).await;
    let auths = [
        (
            Auth::Basic { user: "u".into(), password: Secret::new("canary-secret".into()) },
            "Basic dTpjYW5hcnktc2VjcmV0",
        ),
        (Auth::Bearer { token: Secret::new("canary-secret".into()) }, "Bearer canary-secret"),
    ];
    for (n, (auth, header)) in auths.into_iter().enumerate() {
        let shown = format!("{auth:?}");
        let (client, _) = mock.client_with(|c| c.auth = auth);
        let config = format!("{:?} {client:?}", client.config());
        let mut errors = Vec::new();
        errors.extend(drain(&client, asked("canary-p1")).await.1);
        errors.extend(client.read("Patient", "canary-p1").await.err());
        errors.extend(client.search("Patient", &[("identifier", "x|canary-p1")]).await.err());
        errors.extend(client.update("Patient", "canary-p1", b"{}", None).await.err());
        assert_eq!(errors.len(), 4);
        for text in errors.iter().map(|e| format!("{e} {e:?}")).chain([shown, config]) {
            assert!(!text.contains("canary"), "{text}");
        }
        assert!(mock.seen().len() > n && mock.seen().iter().all(|s| s.headers.contains_key("authorization")));
        assert!(mock.seen().iter().any(|s| s.headers["authorization"] == header));
    }
    // A dead server: the transport's own message would repeat the URL.
    let (client, _) = client_of("http://127.0.0.1:1/fhir", |c| c.retry.retries = 0);
    let error = client.read("Patient", "canary-p1").await.expect_err("nobody there");
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let refused = |change: fn(&mut super::ClientConfig)| {
        let mut config = super::ClientConfig::new("https://fhir.example/r4");
        change(&mut config);
        FhirClient::new(config).err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(|_| {}), "");
    assert!(refused(|c| c.page_size = 0).contains("pull.page_size"));
    assert!(refused(|c| c.max_concurrent = 0).contains("pull.max_concurrent"));
    assert!(refused(|c| c.base_url = "http://fhir.example".into()).contains("allow_plain_http"));
    assert!(refused(|c| c.root_ca_file = Some("/nonexistent.pem".into())).contains("/nonexistent.pem"));
    assert!(refused(|c| c.root_ca_file = Some("Cargo.toml".into())).contains("no certificate"));
}
