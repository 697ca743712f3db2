//! What must never come out, and what is refused.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// Every page that can be reached from the worklist, by its address.
async fn crawl(world: &World, at: SocketAddr) -> BTreeMap<String, Answer> {
    let mut seen: BTreeMap<String, Answer> = BTreeMap::new();
    let mut open: BTreeSet<String> = BTreeSet::from(["/".to_owned()]);
    while let Some(path) = open.pop_first() {
        let answer = world.get(at, &path).await;
        assert_eq!(answer.status, 200, "{path} is linked");
        if answer.header("content-type").starts_with("text/html") {
            open.extend(links(&answer.text).into_iter().filter(|l| *l != path && !seen.contains_key(l)));
        }
        seen.insert(path, answer);
    }
    seen
}

/// Follows every link. With `TRIALBRIDGE_PAGES_DIR` the pages are left there as files, to be looked at.
#[tokio::test]
async fn no_page_tells_an_arm() {
    let world = World::cohort();
    let time = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").to_utc();
    world.state.status.finished(time("2026-11-22T08:03:00Z"), Status::OK, Some(time("2026-11-22T08:02:00Z")));
    let at = world.pages().await;
    let mut all = crawl(&world, at).await;
    assert!(all.len() > 6 + 6 + 6, "tabs, subjects, their JSON, and the style: {:?}", all.keys());
    for path in ["/api/v1/subjects", "/subjects/nobody", "/nowhere"] {
        all.insert(path.to_owned(), world.get(at, path).await);
    }
    let ops = world.ops().await;
    for path in ["/metrics", "/readyz?verbose", "/livez"] {
        all.insert(format!("ops{path}"), world.get(ops, path).await);
    }
    let trial = &world.state.trial;
    let arms =
        trial.arms.iter().flat_map(|arm| [arm.id.as_str(), arm.name.as_str(), arm.description.as_str()]);
    let told: Vec<&str> = arms.chain([CANARY, "list-1", "sealed", "position", "block"]).collect();
    assert!(told.len() > 5 + 3, "the trial has arms");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = std::env::var_os("TRIALBRIDGE_PAGES_DIR").map_or(folder.path().to_owned(), PathBuf::from);
    for (path, answer) in &all {
        // The style sheet is ours, and `display: block` tells nobody's arm.
        if path.starts_with("/assets/") {
            continue;
        }
        for word in &told {
            assert!(!answer.text.contains(word), "{path} contains {word}");
        }
        assert!(!answer.text.contains("<script"), "{path}");
        assert!(!answer.text.contains(" style="), "{path}: the policy would drop it");
    }
    for (path, answer) in &all {
        let name = if path.ends_with('/') {
            "index.html".to_owned()
        } else {
            path.trim_start_matches('/').to_owned()
        };
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        std::fs::write(
            file.with_extension(match answer.header("content-type") {
                kind if kind.starts_with("text/html") => "html",
                kind if kind.starts_with("text/css") => "css",
                _ => "txt",
            }),
            &answer.text,
        )
        .expect("written");
    }
}

#[tokio::test]
async fn the_page_is_told_nothing_but_text() {
    let evil = "<script>alert(1)</script>";
    let document = serde_json::json!({"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1970-01-01"}},
        {"resource": {"resourceType": "Observation", "id": "o1", "status": "final",
            "subject": {"reference": "Patient/p1"}, "effectiveDateTime": "2026-11-20",
            "code": {"coding": [{"system": "http://loinc.org", "code": "1975-2"}]},
            "valueQuantity": {"value": 3, "unit": "<i>mg</i>"}}},
    ]});
    let world = World::with(&document.to_string());
    let stored = world.store.latest_decision("Patient/p1").expect("read").expect("there").json;
    assert!(stored.contains("<i>mg</i>"), "a unit as it was sent comes through to the store");
    // Any text of a stored screening, were it ever to come from a sender.
    let text = format!("{evil}\" onload=\"x' &amp;");
    let everything = serde_json::json!({
        "criteria": [{"id": text, "verdict": text, "reason": text, "text": text, "needs": [text],
                      "evidence": [{"reference": text, "summary": text}]}],
        "blocked": [text], "needs": [text, format!("attestation:{text}")],
        "variables": {text.clone(): {"value": text, "unit": text, "effective": text, "source": text, "version": text,
                                     "received": {"value": text, "unit": text}, "flag": text}},
        "scores": {text.clone(): {"status": text, "low": 1, "high": 2, "class_low": text, "class_high": text, "missing": [text]}},
        "gaps": [{"reference": text, "reason": text, "path": text, "variable": text, "detail": text}],
    });
    let subject = format!("Patient/{evil}?#%");
    let mut new = world.decided(&subject, &everything.to_string());
    new.deciding = vec![text.clone()];
    new.as_of.clone_from(&text);
    new.decided_at.clone_from(&text);
    new.decision = "undetermined".into();
    world.store.put_decision(new).expect("stored");
    let at = world.pages().await;
    let all = crawl(&world, at).await;
    let evil_page = all.keys().find(|path| path.starts_with("/subjects/%3Cscript"));
    let evil_page = &all[evil_page.expect("its link leads to it")];
    assert!(evil_page.text.matches("&#60;script&#62;").count() > 20, "{}", evil_page.text);
    assert!(all["/subjects/p1"].text.contains("&#60;i&#62;mg"));
    for (path, answer) in all.iter().filter(|(_, a)| a.header("content-type").starts_with("text/html")) {
        assert!(!answer.text.contains("<script"), "{path}");
        assert!(!answer.text.contains("onload=\""), "{path}: out of an attribute");
    }
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let world = World::cohort();
    let (at, ops) = (world.pages().await, world.ops().await);
    let style = links(&world.get(at, "/").await.text).into_iter().find(|l| l.ends_with(".css"));
    let style = style.expect("a style sheet");
    let subject = address(BY_AGE);
    #[rustfmt::skip]
    let table = [
        (at,  Method::GET,  "/",                           200, "text/html; charset=utf-8"),
        (at,  Method::HEAD, "/",                           200, "text/html; charset=utf-8"),
        (at,  Method::GET,  subject.as_str(),              200, "text/html; charset=utf-8"),
        (at,  Method::HEAD, subject.as_str(),              200, "text/html; charset=utf-8"),
        (at,  Method::GET,  style.as_str(),                200, "text/css; charset=utf-8"),
        (at,  Method::GET,  "/assets/trialbridge-0.css",   404, "text/html; charset=utf-8"),
        (at,  Method::GET,  "/assets/../Cargo.toml",       404, "text/html; charset=utf-8"),
        (at,  Method::GET,  "/api/v1/subjects",            200, "application/json"),
        (at,  Method::GET,  "/subjects/nobody",            404, "text/html; charset=utf-8"),
        (at,  Method::HEAD, "/subjects/nobody",            404, "text/html; charset=utf-8"),
        (at,  Method::GET,  "/subjects/%FF",               404, "text/html; charset=utf-8"),
        (at,  Method::GET,  "/nowhere",                    404, "text/html; charset=utf-8"),
        (at,  Method::POST, "/",                           405, "text/html; charset=utf-8"),
        (at,  Method::DELETE, subject.as_str(),            405, "text/html; charset=utf-8"),
        (at,  Method::PUT,  "/api/v1/subjects",            405, "application/problem+json"),
        (at,  Method::GET,  "/api/v1/nowhere",             404, "application/problem+json"),
        (ops, Method::GET,  "/livez",                      200, "text/plain; charset=utf-8"),
        (ops, Method::GET,  "/nowhere",                    404, "application/problem+json"),
        (ops, Method::POST, "/metrics",                    405, "application/problem+json"),
    ];
    let mut ids = BTreeSet::new();
    for (port, method, path, status, kind) in table {
        let head = method == Method::HEAD;
        let answer = world.ask(method.clone(), port, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, kind), "{method} {path}");
        assert_eq!(answer.text.is_empty(), head, "{method} {path}");
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        let cached = if path == style { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), cached, "{method} {path}");
        assert_eq!(answer.header("allow"), if status == 405 { "GET, HEAD" } else { "" }, "{method} {path}");
        assert!(ids.insert(answer.header("x-request-id").to_owned()), "an id is used once");
        if kind.starts_with("text/html") && status >= 400 && !head {
            let words = answer.words();
            let id = format!("request {}", answer.header("x-request-id"));
            for part in ["What is safe", "What to do", &id] {
                assert!(words.contains(part), "{part} in {words}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_id_is_taken_over_only_if_it_is_a_word() {
    let world = World::empty();
    let at = world.pages().await;
    for (sent, kept) in
        [("abc-1.2_3", true), ("a b", false), ("<b>", false), ("", false), (&"x".repeat(65), false)]
    {
        let request = world.client.get(format!("http://{at}/nowhere")).header("x-request-id", sent);
        let response = request.send().await.expect("an answer");
        let got = response.headers()["x-request-id"].to_str().expect("plain").to_owned();
        assert_eq!(got == sent, kept, "{sent} gave {got}");
        assert!(response.text().await.expect("text").contains(&got), "and the page says it");
    }
}

#[tokio::test]
async fn requests_of_two_meanings_are_refused() {
    let world = World::empty();
    let (at, ops) = (world.pages().await, world.ops().await);
    let many = "x: y\r\n".repeat(99);
    let long = format!("x: {}\r\n", "y".repeat(33 * 1024));
    let bodied = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    #[rustfmt::skip]
    let table = [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),                            200),
        ("GET / HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\n\r\n".to_owned(),                   200),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned(),                 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),                 400),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),                                       400),
        ("GET / HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n".to_owned(),                              400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n".to_owned(),                          400),
        ("GET / HTTP/1.1\r\nHost: user@a\r\nConnection: close\r\n\r\n".to_owned(),                       400),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}Connection: close\r\n\r\n"),                        431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{long}Connection: close\r\n\r\n"),                        431),
        (format!("{bodied}Content-Length: 0\r\n\r\n"),                                                   200),
        (format!("{bodied}Content-Length: 4\r\n\r\nbody"),                                               413),
        (format!("{bodied}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),                    413),
        ("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody".to_owned(),  405),
    ];
    for port in [at, ops] {
        for (request, status) in &table {
            let request = if port == ops { request.replacen(" / ", " /livez ", 1) } else { request.clone() };
            let answer = raw(port, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.80} gave {answer:.200}");
        }
    }
}

#[tokio::test]
async fn a_failing_store_is_told_without_its_secrets() {
    let world = World::cohort();
    let at = world.pages().await;
    world.break_store();
    for path in ["/", "/subjects/p1"] {
        let page = world.get(at, path).await;
        assert!(page.status == 503 || page.status == 500, "{}", page.status);
        let words = page.words();
        for part in ["The store", "What is safe What was stored is not touched", "What to do", "request"] {
            assert!(words.contains(part), "{part} in {words}");
        }
        assert!(!words.contains("no such table") && !words.contains("trialbridge.db"), "{words}");
        assert_eq!(page.header("retry-after"), if page.status == 503 { "60" } else { "" });
    }
    let api = world.get(at, "/api/v1/subjects").await;
    assert!(api.status >= 500);
    assert_eq!(api.header("content-type"), "application/problem+json");
    assert!(api.json()["code"].as_str().is_some_and(|code| !code.is_empty()));
}
