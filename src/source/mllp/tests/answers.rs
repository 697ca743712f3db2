//! The table of answers, whole, and that nothing is answered before it is on disk.

use super::*;
use crate::hl7v2::charset::Charset;
use crate::pipeline::intake::{BYTES, HL7_V2};
use crate::store::{Done, Incoming, Receipt, StoreError};
use std::sync::Mutex;
use tokio::sync::mpsc;

/// What is stored of a message.
#[derive(Debug, PartialEq)]
enum Kept {
    /// For the pipeline, under the sender's own source.
    Message,
    /// For people only.
    Aside,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_table_of_answers() {
    use Kept::{Aside, Message};
    let enhanced = |accept: &str, application: &str, more: (&str, &str)| {
        with("2.5.1||||||", &format!("2.5.1|||{accept}|{application}||")).replacen(more.0, more.1, 1)
    };
    let custom = GOOD.replace('|', "#").replace('^', "$").replace('~', "%").replace("\\&", "*!");
    #[rustfmt::skip]
    let table: Vec<(&str, String, Mode, Option<&str>, Kept)> = vec![
        ("stored and understood",        GOOD.into(),                              Mode::Accept, Some("AA ID7"), Message),
        ("the same, strict",             GOOD.into(),                              Mode::Strict, Some("AA ID7"), Message),
        ("line feeds",                   GOOD.replace('\r', "\n"),                 Mode::Accept, Some("AA ID7"), Message),
        ("an event of ADT",              with("ORU^R01^ORU_R01", "ADT^A08"),       Mode::Accept, Some("AA ID7"), Message),
        ("cannot be mapped",             with("|64|", "|6x4|"),                    Mode::Accept, Some("AA ID7"), Message),
        ("cannot be mapped, strict",     with("|64|", "|6x4|"),                    Mode::Strict, Some("AE ID7 102 OBX^1^5"), Message),
        ("nobody's",                     with("PID|1||7^^^HOSP^MR\r", ""),         Mode::Accept, Some("AA ID7"), Message),
        ("nobody's, strict",             with("PID|1||7^^^HOSP^MR\r", ""),         Mode::Strict, Some("AE ID7 100 PID^1"), Message),
        ("an event not needed, strict",  with("ORU^R01^ORU_R01", "ADT^A02"),       Mode::Strict, Some("AA ID7"), Message),
        ("no time of its own",           with("|20261122101400+0800|", "||"),      Mode::Accept, Some("AR ID7 101 MSH^1^7"), Aside),
        ("a line that is no segment",    with("OBX|1", "and so on"),               Mode::Accept, Some("AE ID7 100"), Message),
        ("two messages as one",          GOOD.repeat(2),                           Mode::Accept, Some("AE ID7 100 MSH^2"), Message),
        ("another type",                 with("ORU^R01^ORU_R01", "ORM^O01"),       Mode::Accept, Some("AR ID7 200 MSH^1^9"), Aside),
        ("no type",                      with("ORU^R01^ORU_R01", ""),              Mode::Accept, Some("AR ID7 200 MSH^1^9"), Aside),
        ("another event",                with("ORU^R01^ORU_R01", "ORU^R30"),       Mode::Accept, Some("AR ID7 201 MSH^1^9"), Aside),
        ("training",                     with("|P|2.5.1", "|T|2.5.1"),             Mode::Accept, Some("AR ID7 202 MSH^1^11"), Aside),
        ("no processing id",             with("|P|2.5.1", "||2.5.1"),              Mode::Accept, Some("AR ID7 202 MSH^1^11"), Aside),
        ("with a mode",                  with("|P|2.5.1", "|P^T|2.5.1"),           Mode::Accept, Some("AA ID7"), Message),
        ("version 3",                    with("|P|2.5.1", "|P|3.0"),               Mode::Accept, Some("AR ID7 203 MSH^1^12"), Aside),
        ("version with a country",       with("|P|2.5.1", "|P|2.4^CHN"),           Mode::Accept, Some("AA ID7"), Message),
        ("a set nobody knows",           with("UNICODE UTF-8", "ISO IR87"),        Mode::Accept, Some("AR ID7 103 MSH^1^18"), Aside),
        ("not in the set it names",      with("UNICODE UTF-8", "ASCII").replace("|1||7", "|1||总"), Mode::Accept, Some("AR ID7 102 MSH^1^18"), Aside),
        ("no control id",                with("|ID7|", "||"),                      Mode::Accept, Some("AR 101 MSH^1^10"), Aside),
        ("delimiters of its own",        custom,                                   Mode::Accept, Some("AA ID7"), Message),
        ("a fifth delimiter",            with("|^~\\&|", "|^~\\&#|"),              Mode::Accept, Some("AA ID7"), Message),
        ("a delimiter twice",            with("|^~\\&|", "|^^\\&|"),               Mode::Accept, Some("AR ID7 102 MSH^1^2"), Aside),
        ("no delimiters",                "MSH||||".into(),                         Mode::Accept, Some("AR 102 MSH^1^2"), Aside),
        ("MSH alone",                    "MSH".into(),                             Mode::Accept, Some("AR 102 MSH^1^2"), Aside),
        ("no MSH",                       "PID|1".into(),                           Mode::Accept, Some("AR 100 MSH^1"), Aside),
        ("nothing",                      "".into(),                                Mode::Accept, Some("AR 100 MSH^1"), Aside),
        ("enhanced",                     enhanced("AL", "NE", ("", "")),           Mode::Accept, Some("CA ID7"), Message),
        ("enhanced, errors only",        enhanced("ER", "NE", ("", "")),           Mode::Accept, None, Message),
        ("enhanced, wrong version",      enhanced("ER", "NE", ("2.5.1", "3")),     Mode::Accept, Some("CR ID7 203 MSH^1^12"), Aside),
        ("enhanced, no answer",          enhanced("NE", "NE", ("", "")),           Mode::Accept, None, Message),
        ("an acknowledgement",           with("ORU^R01^ORU_R01", "ACK^R01^ACK"),   Mode::Accept, None, Aside),
    ];
    for (name, message, mode, expected, kept) in table {
        let shelf = Shelf::new();
        let running = Running::start(Settings::default(), shelf.receiver(mode)).await;
        let mut client = running.connect().await;
        client.write(&frame(message.as_bytes())).await;
        if let Some(expected) = expected {
            let answer = client.answer().await.unwrap_or_else(|| panic!("{name}: no answer"));
            assert_eq!(essence(&answer), expected, "{name}: {answer}");
        }
        // The connection goes on, whatever came; without an answer this one is the first.
        let next = with("ID7", "NEXT");
        assert_eq!(essence(&client.ask(next.as_bytes()).await.expect("an answer")), "AA NEXT", "{name}");
        let inbox = shelf.inbox();
        assert_eq!(inbox.len(), 2, "{name}");
        let row = &inbox[0];
        assert_eq!(row.bytes, message.as_bytes(), "{name}: byte for byte");
        assert_eq!(row.origin, "mllp");
        let found = match row.media_type.as_str() {
            "application/hl7-v2" => Message,
            "application/octet-stream" => Aside,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(found, kept, "{name}");
        let source = if kept == Message { "hl7v2:LAB|HOSP" } else { "mllp:127.0.0.1" };
        assert_eq!(row.source, source, "{name}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_control_id_names_one_message() {
    let shelf = Shelf::new();
    let running = Running::start(Settings::default(), shelf.receiver(Mode::Accept)).await;
    let mut client = running.connect().await;
    let other = with("|64|", "|65|");
    #[rustfmt::skip]
    let table = [
        ("the first",                    GOOD.to_owned(),        "AA ID7",               1),
        ("the same bytes",               GOOD.to_owned(),        "AA ID7",               1),
        ("other bytes",                  other.clone(),          "AE ID7 205 MSH^1^10",  2),
        ("the other bytes again",        other,                  "AE ID7 205 MSH^1^10",  2),
        ("the first stands",             GOOD.to_owned(),        "AA ID7",               2),
        ("another sender's",             with("|LAB|", "|LB2|"), "AA ID7",               3),
    ];
    for (name, message, expected, rows) in table {
        let answer = client.ask(message.as_bytes()).await.expect("an answer");
        assert_eq!(essence(&answer), expected, "{name}");
        assert_eq!(shelf.inbox().len(), rows, "{name}");
    }
    // From another connection too.
    let mut client = running.connect().await;
    assert_eq!(essence(&client.ask(GOOD.as_bytes()).await.expect("an answer")), "AA ID7");
    assert_eq!(shelf.quarantine_reasons(), ["control-id-reuse"]);
    assert_eq!(shelf.pending(), 2, "the first and the other sender's");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_refused_is_taken_once_it_is_put_right() {
    let shelf = Shelf::new();
    let gb = Charset::GB_18030.encode(&with("UNICODE UTF-8", "").replace("|1||7", "|1||总胆红素"));
    for (charset, expected) in [(Charset::UTF_8, "AR ID7 102 MSH^1^18"), (Charset::GB_18030, "AA ID7")] {
        let mut trial = Trial::shipped();
        trial.site.hl7v2.charset = charset;
        let receiver = Receiver::new(shelf.store.clone(), Mode::Accept, Arc::new(trial));
        let running = Running::start(Settings::default(), Arc::new(receiver)).await;
        let answer = running.connect().await.ask(&gb).await.expect("an answer");
        assert_eq!(essence(&answer), expected);
        running.stop().await;
    }
    assert_eq!(shelf.inbox().iter().map(|i| i.media_type.as_str()).collect::<Vec<_>>(), [BYTES, HL7_V2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_not_stored_is_never_answered_positively() {
    let storage = || StoreError::storage("storing", "no such disk");
    #[rustfmt::skip]
    let table: Vec<(&str, Option<StoreError>, &str)> = vec![
        ("2.5.1||||||",      Some(StoreError::Full { doing: "storing".into() }), "AR ID7 207"),
        ("2.5.1||||||",      Some(StoreError::Busy),                             "AR ID7 207"),
        ("2.5.1||||||",      Some(storage()),                                    "AE ID7 207"),
        ("2.5.1||||||",      Some(StoreError::Corrupt { doing: "storing".into(), cause: "x".into() }), "AE ID7 207"),
        // The store goes away without a word.
        ("2.5.1||||||",      None,                                               "AE ID7 207"),
        ("2.5.1|||AL|NE||",  Some(StoreError::Full { doing: "storing".into() }), "CR ID7 207"),
        ("2.5.1|||AL|NE||",  Some(storage()),                                    "CE ID7 207"),
        // Sent again, it would be rejected again.
        ("3||||||",          Some(storage()),                                    "AR ID7 203 MSH^1^12"),
    ];
    for (header, error, expected) in table {
        let name = format!("{header} {error:?}");
        let inbox = move |_: Incoming, done: Done<Receipt>| {
            if let Some(error) = error.clone() {
                done(Err(error));
            }
        };
        let receiver = Receiver::before(Box::new(inbox), Mode::Accept, trial());
        let running = Running::start(Settings::default(), Arc::new(receiver)).await;
        let mut client = running.connect().await;
        let message = with("2.5.1||||||", header);
        // Twice: the connection is kept.
        for _ in 0..2 {
            let answer = client.ask(message.as_bytes()).await.expect("an answer");
            assert_eq!(essence(&answer), expected, "{name}");
        }
        running.stop().await;
    }
}

/// What the writer has not come to yet.
type Waiting = (Incoming, Done<Receipt>);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_answer_waits_for_the_disk() {
    let shelf = Shelf::new();
    let (tell, mut arrived) = mpsc::unbounded_channel();
    let store = shelf.store.clone();
    // An inbox whose writer waits to be let on.
    let gate: Arc<Mutex<Vec<Waiting>>> = Arc::default();
    let waiting = gate.clone();
    let inbox = move |incoming, done| {
        waiting.lock().expect("not poisoned").push((incoming, done));
        tell.send(()).expect("the test waits");
    };
    let receiver = Receiver::before(Box::new(inbox), Mode::Accept, trial());
    let running = Running::start(Settings::default(), Arc::new(receiver)).await;
    let mut client = running.connect().await;
    client.write(&frame(GOOD.as_bytes())).await;
    arrived.recv().await.expect("it arrived");
    // Not committed: nothing is in the store, and nothing is on the wire.
    let early = tokio::time::timeout(Duration::from_millis(100), client.stream.read_u8()).await;
    assert!(early.is_err(), "a byte left before the commit");
    assert_eq!(shelf.inbox().len(), 0);
    let (incoming, done) = gate.lock().expect("not poisoned").remove(0);
    store.accept_then(incoming, done);
    assert_eq!(essence(&client.answer().await.expect("an answer")), "AA ID7");
    assert_eq!(shelf.inbox().len(), 1);

    // Told to stop while a message is in hand: it is answered after its commit, the one behind is not.
    let mut behind = with("ID7", "ID8").into_bytes();
    behind = [frame(&behind), frame(with("ID7", "ID9").as_bytes())].concat();
    client.write(&behind).await;
    arrived.recv().await.expect("it arrived");
    running.stop.cancel();
    let (incoming, done) = gate.lock().expect("not poisoned").remove(0);
    store.accept_then(incoming, done);
    assert_eq!(essence(&client.answer().await.expect("an answer")), "AA ID8");
    assert_eq!(client.answer().await, None, "closed");
    running.stop().await;
    assert_eq!(shelf.inbox().len(), 2, "what was not answered is sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_drain_has_an_end() {
    // An inbox that never answers, and keeps what it was to call.
    let kept: Arc<Mutex<Vec<Done<Receipt>>>> = Arc::default();
    let (keeper, (tell, mut arrived)) = (kept.clone(), mpsc::unbounded_channel());
    let inbox = move |_: Incoming, done| {
        keeper.lock().expect("not poisoned").push(done);
        tell.send(()).expect("the test waits");
    };
    let receiver = Receiver::before(Box::new(inbox), Mode::Accept, trial());
    let settings = Settings { drain: Duration::from_millis(100), ..Settings::default() };
    let running = Running::start(settings, Arc::new(receiver)).await;
    let mut client = running.connect().await;
    client.write(&frame(GOOD.as_bytes())).await;
    arrived.recv().await.expect("it arrived");
    running.stop().await;
    assert_eq!(client.answer().await, None, "closed unanswered");
}
