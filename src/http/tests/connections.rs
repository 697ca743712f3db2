//! HTP-02 and PSH-06: who is slow, silent, many or endless is cut; who is in hand is answered.

use super::*;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn half_a_head_is_not_waited_for() {
    // Idle connections may stay: only the limit of heads can close these.
    let server = serve(Limits { idle: PATIENCE, ..short() }).await;
    for sent in [&b""[..], b"GET /a HTTP/1.1\r\nHost: loc", b"\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(sent).await.expect("sent");
        assert_eq!(rest(&mut stream).await, "");
    }
    // The second head of a connection as well.
    let mut stream = server.connect().await;
    stream.write_all(GET).await.expect("sent");
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stream.write_all(&GET[..10]).await.expect("sent");
    assert_eq!(rest(&mut stream).await, "");
    assert_eq!(server.seen.paths(), ["/a"]);
}

#[tokio::test]
async fn a_head_that_drips_is_cut_and_others_are_served() {
    let server = serve(Limits { idle: PATIENCE, ..short() }).await;
    let mut slow = server.connect().await;
    let drip = async {
        loop {
            if slow.write_all(b"G").await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (dripped, quick) = tokio::join!(timeout(PATIENCE, drip), async {
        let mut quick = server.connect().await;
        quick.write_all(GET).await.expect("sent");
        answer(&mut quick).await
    });
    dripped.expect("cut");
    assert!(quick.starts_with("HTTP/1.1 200 "), "{quick}");
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_slow_answer_is_not() {
    let server = serve(Limits { head: PATIENCE, ..short() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    assert!(answer(&mut stream).await.ends_with("slow"), "the handler takes longer than the idle limit");
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_cut() {
    let server = serve(Limits { head: PATIENCE, idle: PATIENCE, ..short() }).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    // Nothing is read until the server has given up: then stopping finds no connection to wait for.
    server.stop.cancel();
    timeout(PATIENCE, server.task).await.expect("cut").expect("no panic");
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.len() < 64 << 20, "the whole answer was sent");
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_gets_them_back() {
    let server = serve(Limits { connections_per_peer: 2, ..Limits::default() }).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for stream in [&mut first, &mut second] {
        stream.write_all(GET).await.expect("sent");
        assert!(answer(stream).await.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(server.exchange(GET).await, "");
    first.shutdown().await.expect("closed");
    assert_eq!(rest(&mut first).await, "");
    // The place is free a moment after the connection is gone.
    let again = async {
        loop {
            let mut third = server.connect().await;
            let _ = third.write_all(b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
            if rest(&mut third).await.starts_with("HTTP/1.1 200 ") {
                break;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("a place");
}

#[tokio::test]
async fn all_together_have_so_many_connections() {
    let server = serve(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = server.connect().await;
    first.write_all(GET).await.expect("sent");
    answer(&mut first).await;
    assert_eq!(server.exchange(GET).await, "");
}

#[tokio::test]
async fn stopping_answers_what_is_in_hand() {
    let server = serve(Limits::default()).await;
    let mut idle = server.connect().await;
    idle.write_all(GET).await.expect("sent");
    answer(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(b"POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab")
        .await
        .expect("sent");
    while server.seen.paths().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.stop.cancel();
    assert_eq!(rest(&mut idle).await, "", "closed at once");
    busy.write_all(b"c").await.expect("sent");
    let text = rest(&mut busy).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("3 bytes"), "{text}");
    timeout(PATIENCE, server.task).await.expect("stopped").expect("no panic");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_is_never_finished_is_cut_when_the_drain_is_over() {
    let server = serve(Limits { drain: Duration::from_millis(50), ..Limits::default() }).await;
    let mut busy = server.connect().await;
    busy.write_all(b"POST /b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab")
        .await
        .expect("sent");
    while server.seen.paths().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.stop.cancel();
    timeout(PATIENCE, server.task).await.expect("stopped").expect("no panic");
    assert_eq!(rest(&mut busy).await, "");
}

#[tokio::test]
async fn an_announced_body_over_the_limit_is_answered_unread() {
    let server = serve(Limits::default()).await;
    let mut stream = server.connect().await;
    let head = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    // Not a byte of the body is sent.
    let text = rest(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 413 ") && text.contains("connection: close"), "{text}");
}

#[tokio::test]
async fn an_endless_body_is_answered_and_cut() {
    let server = serve(Limits::default()).await;
    let stream = server.connect().await;
    let (mut input, mut output) = stream.into_split();
    let sending = tokio::spawn(async move {
        let head = b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        output.write_all(head).await.expect("sent");
        let chunk = [b"4000\r\n", &vec![b'a'; 0x4000][..], b"\r\n"].concat();
        while output.write_all(&chunk).await.is_ok() {}
    });
    let text = answer(&mut input).await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    timeout(PATIENCE, sending).await.expect("the connection is cut").expect("no panic");
    assert_eq!(server.seen.bodies.load(Ordering::Relaxed), 0);
}
