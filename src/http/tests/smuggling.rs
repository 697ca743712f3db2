//! HTP-01: what two readers could read in two ways is answered 400 on a connection that closes, and what
//! stands behind it is never executed.

use super::*;

const BEHIND: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_second_request_is_never_executed() {
    let server = serve(Limits::default()).await;
    let post = |headers: &str| format!("POST /a HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    for head in [
        post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        post("Content-Length: 0\r\nContent-Length: 45\r\n"),
        post("Content-Length: 0\r\nContent-Length: 0\r\n"),
        post("Content-Length: +0\r\n"),
        post("Content-Length: 0, 0\r\n"),
        post("Content-Length : 0\r\n"),
        post("Transfer-Encoding : chunked\r\n"),
        post("Transfer-Encoding: chunked, identity\r\n"),
        post("Transfer-Encoding: identity\r\n"),
        post("Transfer-Encoding: xchunked\r\n"),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        post("A: b\nContent-Length: 0\r\n"),
        post("A: b\rContent-Length: 0\r\n"),
        post("A: b\r\n Content-Length: 0\r\n"),
        post("A: \0\r\n"),
        post("Host: other\r\n"),
        "GET / HTTP/1.1\nHost: localhost\n\n".into(),
        "GET http://other/ HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
        "POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", "a".repeat(40_000)),
    ] {
        let shown = &head[..head.len().min(120)];
        let text = server.exchange(format!("{head}{BEHIND}").as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{shown:?}: {text:?}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{shown:?}: {text:?}");
    }
    assert_eq!(server.seen.paths(), [""; 0]);
}

#[tokio::test]
async fn every_byte_on_its_own_is_refused_as_well() {
    let server = serve(Limits::default()).await;
    let mut stream = server.connect().await;
    stream.set_nodelay(true).expect("set");
    let head =
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
    for byte in format!("{head}0\r\n\r\n{BEHIND}").bytes() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let text = rest(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 400 "), "{text:?}");
    assert_eq!(server.seen.paths(), [""; 0]);
}

#[tokio::test]
async fn a_body_with_broken_chunks_is_refused_with_what_follows() {
    let server = serve(Limits::default()).await;
    let head = "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies = [
        "0x0\r\n\r\n",
        "0 \r\n\r\n",
        "0\n\r\n",
        "0;a\n\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "2\r\nab0\r\n\r\n",
        "fffffffff\r\nab",
    ];
    for body in bodies {
        let text = server.exchange(format!("{head}{body}{BEHIND}").as_bytes()).await;
        assert!(text.starts_with("HTTP/1.1 400 "), "{body:?}: {text:?}");
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{body:?}: {text:?}");
    }
    assert_eq!(server.seen.paths(), ["/a"; 7]);
    assert_eq!(server.seen.bodies.load(Ordering::Relaxed), 0, "no body was taken for whole");
}

#[tokio::test]
async fn good_requests_go_on_one_behind_the_other_until_a_bad_one() {
    let server = serve(Limits::default()).await;
    let text = server
        .exchange(
            b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n\
              POST /2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc\
              POST /3 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
              2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: u\r\n\r\n\
              GET /4 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n\
              GET /5 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .await;
    let statuses: Vec<&str> = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "200", "400"], "{text}");
    assert!(text.contains("0 bytes") && text.contains("3 bytes") && text.contains("5 bytes"), "{text}");
    assert_eq!(server.seen.paths(), ["/1", "/2", "/3"]);
}

#[tokio::test]
async fn a_name_that_is_not_served_is_answered_and_not_routed() {
    let address = "127.0.0.1:1".parse().expect("an address");
    let hosts = super::super::strict::Hosts::of(address, &["proxy.example".to_owned()]);
    let server = serve(Limits { hosts, ..Limits::default() }).await;
    let text = server.exchange(b"GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 421 "), "{text}");
    let get = "GET /b HTTP/1.1\r\nHost: proxy.example\r\nConnection: close\r\n\r\n";
    let text = server.exchange(get.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert_eq!(server.seen.paths(), ["/b"]);
}
