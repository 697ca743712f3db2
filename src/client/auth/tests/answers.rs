//! What a token endpoint may answer, and what becomes of it.

use super::super::super::mock::{Mock, Reply, Wire, raw_server};
use super::super::super::server::FhirServer;
use super::{NOW, client, code_of, open_ward, refused};
use std::sync::atomic::Ordering;

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
        (Reply::status(500), "unreachable", 1, "status 500"),
        (Reply::status(502), "unreachable", 6, "status 502"),
        (Reply::status(504), "unreachable", 6, "status 504"),
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
