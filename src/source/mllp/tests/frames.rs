//! Bytes that come together, apart, without end, or are no frame at all.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_at_once_and_byte_by_byte_are_answered_in_order() {
    let shelf = Shelf::new();
    let running = Running::start(Settings::default(), shelf.receiver(Mode::Accept)).await;
    let mut client = running.connect().await;
    let [one, two, three] = ["ID1", "ID2", "ID3"].map(|id| frame(with("ID7", id).as_bytes()));
    client.write(&[one, two].concat()).await;
    for byte in three {
        client.write(&[byte]).await;
    }
    for id in ["ID1", "ID2", "ID3"] {
        assert_eq!(essence(&client.answer().await.expect("an answer")), format!("AA {id}"));
    }
    let stored: Vec<Vec<u8>> = shelf.inbox().into_iter().map(|i| i.bytes).collect();
    assert_eq!(stored, ["ID1", "ID2", "ID3"].map(|id| with("ID7", id).into_bytes()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_no_frame_is_kept_and_ends_its_connection_only() {
    let good = frame(GOOD.as_bytes());
    let begun = [b"\x0b", GOOD.as_bytes()].concat();
    let ended = [begun.as_slice(), b"\x1c"].concat();
    #[rustfmt::skip]
    let table: Vec<(&str, Vec<u8>, Vec<u8>, usize)> = vec![
        // name, what is sent, what is kept, answers before the end
        ("no end",                    begun.clone(),                            begun.clone(), 0),
        ("an end without return",     ended.clone(),                            ended.clone(), 0),
        ("an end, then another byte", [ended.as_slice(), b"x"].concat(),        ended.clone(), 0),
        ("bytes before the start",    [b"GET / ".as_slice(), &good].concat(),   b"GET / ".to_vec(), 0),
        ("no start",                  GOOD.as_bytes().to_vec(),                 GOOD.as_bytes().to_vec(), 0),
        ("a start inside",            [begun.as_slice(), &good].concat(),       begun.clone(), 0),
        ("after a good one",          [good.as_slice(), b"junk"].concat(),      b"junk".to_vec(), 1),
    ];
    for closes in [true, false] {
        for (name, sent, kept, answers) in &table {
            let name = format!("{name}, {}", if closes { "then closed" } else { "then silent" });
            let shelf = Shelf::new();
            let running = Running::start(impatient(), shelf.receiver(Mode::Accept)).await;
            let mut client = running.connect().await;
            client.write(sent).await;
            if closes {
                // The listener may have closed first.
                let _ = client.stream.shutdown().await;
            }
            for _ in 0..*answers {
                assert_eq!(essence(&client.answer().await.expect("an answer")), "AA ID7", "{name}");
            }
            assert_eq!(client.answer().await, None, "{name}: closed, no answer");
            let inbox = shelf.inbox();
            assert_eq!(inbox.len(), answers + 1, "{name}");
            let row = &inbox[*answers];
            assert_eq!((&row.bytes, row.media_type.as_str()), (kept, "application/octet-stream"), "{name}");
            assert_eq!((row.origin.as_str(), row.source.as_str()), ("mllp", "mllp:127.0.0.1"), "{name}");
            drop(client);
            // The next connection is not concerned.
            let answer = running.connect().await.ask(with("ID7", "NEXT").as_bytes()).await;
            assert_eq!(essence(&answer.expect("an answer")), "AA NEXT", "{name}");
            running.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connection_that_says_nothing_is_closed_and_leaves_nothing() {
    let shelf = Shelf::new();
    let running = Running::start(impatient(), shelf.receiver(Mode::Accept)).await;
    let mut client = running.connect().await;
    assert_eq!(client.answer().await, None);
    assert_eq!(shelf.inbox().len(), 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_frame_that_trickles_for_ever_is_cut_off() {
    let shelf = Shelf::new();
    // Silence would be borne for long; the whole frame is not.
    let settings = Settings { patience: Duration::from_millis(300), ..Settings::default() };
    let running = Running::start(settings, shelf.receiver(Mode::Accept)).await;
    let mut client = running.connect().await;
    client.write(b"\x0bMSH|^~\\&|").await;
    for _ in 0..10_000 {
        // An error is the end that is waited for.
        if client.stream.write_all(b"A").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.answer().await, None);
    let inbox = shelf.inbox();
    assert_eq!((inbox.len(), inbox[0].media_type.as_str()), (1, "application/octet-stream"));
    assert!(inbox[0].bytes.starts_with(b"\x0bMSH|^~\\&|A"));
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_frame_without_end_is_cut_off_at_the_limit_and_told_so() {
    let shelf = Shelf::new();
    let settings = Settings { limit: 4096, ..Settings::default() };
    let running = Running::start(settings, shelf.receiver(Mode::Accept)).await;
    for (begin, answer) in [(GOOD, Some("AR ID7 207")), ("PID|1|", None)] {
        let mut client = running.connect().await;
        // Much more than the limit: the rest is not taken for anything.
        let endless = [b"\x0b", begin.as_bytes(), &vec![b'x'; 300_000]].concat();
        // The listener may close before all is written.
        let _ = client.stream.write_all(&endless).await;
        let found = client.answer().await;
        assert_eq!(found.as_deref().map(essence).as_deref(), answer);
        if let Some(found) = found {
            assert!(found.contains("|too-long|"), "{found}");
        }
        assert_eq!(client.answer().await, None, "closed");
    }
    let inbox = shelf.inbox();
    assert_eq!(inbox.iter().map(|i| i.bytes.len()).collect::<Vec<_>>(), [4097, 4097]);
    assert!(inbox.iter().all(|i| i.media_type == "application/octet-stream"));
    // A message of exactly the limit is one.
    let mut whole = with("ID7", "FULL");
    whole += &format!("ZZ1|{}\r", "x".repeat(4096 - whole.len() - 5));
    assert_eq!(whole.len(), 4096);
    let answer = running.connect().await.ask(whole.as_bytes()).await.expect("an answer");
    assert_eq!(essence(&answer), "AA FULL");
    running.stop().await;
}
