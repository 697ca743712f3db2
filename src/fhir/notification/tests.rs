//! The shapes of the Backport IG's examples for R4 and R4B, of R5, and of what two servers send.

use super::*;

const SUBSCRIPTION: &str = "https://example.org/fhir/Subscription/admission";
const TOPIC: &str = "http://hl7.org/SubscriptionTopic/admission";
const FOCUS: &str = "https://example.org/fhir/Encounter/2";
const AT: &str = "2020-05-29T11:44:13.1882432-05:00";

/// How much an event says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    Empty,
    IdOnly,
    Full,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    R4,
    R4B,
    R5,
}

/// The status resource of a release.
fn status(shape: Shape, status: &str, kind: &str, since: &str, event: Option<(u64, Says)>) -> String {
    match shape {
        Shape::R4 => {
            let event = event.map_or(String::new(), |(number, says)| {
                let focus = match says {
                    Says::Empty => String::new(),
                    _ => format!(r#",{{"name":"focus","valueReference":{{"reference":"{FOCUS}"}}}}"#),
                };
                format!(
                    r#",{{"name":"notification-event","part":[{{"name":"event-number","valueString":"{number}"}},
                       {{"name":"timestamp","valueInstant":"{AT}"}}{focus}]}}"#
                )
            });
            format!(
                r#"{{"resourceType":"Parameters","id":"63c28e8a","parameter":[
                   {{"name":"subscription","valueReference":{{"reference":"{SUBSCRIPTION}"}}}},
                   {{"name":"topic","valueCanonical":"{TOPIC}"}},
                   {{"name":"status","valueCode":"{status}"}},{{"name":"type","valueCode":"{kind}"}},
                   {{"name":"events-since-subscription-start","valueString":"{since}"}}{event}]}}"#
            )
        }
        // R5 writes the counters as integer64, which JSON holds as text; R4B as text.
        Shape::R4B | Shape::R5 => {
            let event = event.map_or(String::new(), |(number, says)| {
                let focus = match says {
                    Says::Empty => String::new(),
                    _ => format!(r#","focus":{{"reference":"{FOCUS}"}}"#),
                };
                format!(r#","notificationEvent":[{{"eventNumber":"{number}","timestamp":"{AT}"{focus}}}]"#)
            });
            format!(
                r#"{{"resourceType":"SubscriptionStatus","id":"9d98f2be","status":"{status}","type":"{kind}",
                   "eventsSinceSubscriptionStart":"{since}"{event},
                   "subscription":{{"reference":"{SUBSCRIPTION}"}},"topic":"{TOPIC}"}}"#
            )
        }
    }
}

fn bundle(shape: Shape, status: &str, others: &[&str]) -> String {
    let word = if matches!(shape, Shape::R5) { "subscription-notification" } else { "history" };
    let others: String = others
        .iter()
        .map(|r| {
            format!(
                r#",{{"fullUrl":"{FOCUS}","resource":{r},"request":{{"method":"POST","url":"Encounter"}}}}"#
            )
        })
        .collect();
    format!(
        r#"{{"resourceType":"Bundle","type":"{word}","timestamp":"{AT}","entry":[
           {{"fullUrl":"urn:uuid:1","resource":{status},"request":{{"method":"GET","url":"{SUBSCRIPTION}/$status"}},
             "response":{{"status":"200"}}}}{others}]}}"#
    )
}

fn notification(text: &str) -> Notification {
    match read(text.as_bytes()) {
        Ok(Arrival::Notification(n)) => *n,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_every_release() {
    for shape in [Shape::R4, Shape::R4B, Shape::R5] {
        for (word, kind, state, since) in [
            ("handshake", Kind::Handshake, "requested", "0"),
            ("heartbeat", Kind::Heartbeat, "active", "2"),
            ("event-notification", Kind::Event, "active", "2"),
            ("query-status", Kind::QueryStatus, "active", "2"),
            ("query-event", Kind::QueryEvent, "active", "2"),
        ] {
            let read = notification(&bundle(shape, &status(shape, state, word, since, None), &[]));
            assert_eq!(read.kind, kind, "{shape:?}");
            assert_eq!(read.status.as_deref(), Some(state));
            assert_eq!(read.since_start, since.parse().ok());
            assert_eq!(read.subscription.as_deref(), Some(SUBSCRIPTION));
            assert_eq!(read.topic.as_deref(), Some(TOPIC));
            assert!(read.events.is_empty() && read.errors.is_empty() && read.included.is_empty());
        }
    }
}

#[test]
fn every_payload_of_every_release() {
    let encounter = r#"{"resourceType":"Encounter","id":"2","status":"in-progress"}"#;
    for shape in [Shape::R4, Shape::R4B, Shape::R5] {
        for says in [Says::Empty, Says::IdOnly, Says::Full] {
            let others: &[&str] = if says == Says::Full { &[encounter] } else { &[] };
            let text = status(shape, "active", "event-notification", "2", Some((2, says)));
            let read = notification(&bundle(shape, &text, others));
            let focus = (says != Says::Empty).then(|| FOCUS.to_owned());
            let event = Event { number: 2, timestamp: Some(AT.into()), focus, context: vec![] };
            assert_eq!(read.events, [event], "{shape:?} {says:?}");
            let included: Vec<&str> = read.included.iter().map(String::as_str).collect();
            assert_eq!(included, if says == Says::Full { vec!["Encounter/2"] } else { vec![] });
        }
    }
}

#[test]
fn an_error_is_its_codes() {
    let concept = r#"{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/subscription-error","code":"no-response"},
                      {"code":"Zhang San"}],"text":"Zhang San"}"#;
    let r4 = format!(
        r#"{{"resourceType":"Parameters","parameter":[{{"name":"status","valueCode":"error"}},
           {{"name":"type","valueCode":"query-status"}},{{"name":"error","valueCodeableConcept":{concept}}}]}}"#
    );
    let r5 = format!(
        r#"{{"resourceType":"SubscriptionStatus","status":"error","type":"query-status","error":[{concept}]}}"#
    );
    for text in [r4, r5] {
        let read = read_answer(text.as_bytes()).expect("a status");
        assert_eq!(read.errors, ["no-response", "unreadable-code"]);
        assert_eq!(read.status.as_deref(), Some("error"));
    }
    // Neither a kind nor a reason to guess one.
    let odd = r#"{"resourceType":"SubscriptionStatus","status":"error","type":"oops"}"#;
    assert_eq!(notification(odd).kind, Kind::Error);
}

#[test]
fn a_counter_is_a_string_or_a_number() {
    for (value, expected) in [
        (r#""valueString":"23""#, Ok(Some(23))),
        (r#""valueInteger":23"#, Ok(Some(23))),
        (r#""valueUnsignedInt":23"#, Ok(Some(23))),
        (r#""valueInteger64":"23""#, Ok(Some(23))),
        (r#""valueDecimal":23.0"#, Ok(Some(23))),
        (r#""valueString":"0""#, Ok(Some(0))),
        (r#""valueString":" 7 ""#, Ok(Some(7))),
        (r#""valueString":"9223372036854775807""#, Ok(Some(i64::MAX as u64))),
        (r#""valueString":"9223372036854775808""#, Err(())),
        (r#""valueString":"-1""#, Err(())),
        (r#""valueString":"+1""#, Err(())),
        (r#""valueString":"1e3""#, Err(())),
        (r#""valueString":"""#, Err(())),
        (r#""valueInteger":true"#, Err(())),
        (r#""valueBoolean":true"#, Ok(None)),
    ] {
        let text = format!(
            r#"{{"resourceType":"Parameters","parameter":[{{"name":"type","valueCode":"heartbeat"}},
               {{"name":"events-since-subscription-start",{value}}}]}}"#
        );
        let read = read(text.as_bytes());
        let since = match &read {
            Ok(Arrival::Notification(n)) => Ok(n.since_start),
            Ok(other) => panic!("{other:?}"),
            Err(NotificationError::Malformed { path, .. }) => {
                assert_eq!(path, "Parameters.parameter[1]", "{value}");
                Err(())
            }
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(since, expected, "{value}");
    }
}

#[test]
fn a_hook_gets_more_than_notifications() {
    let resource = |t: &str, id: Option<&str>| Arrival::Resource {
        resource_type: t.to_owned(),
        id: id.map(str::to_owned),
    };
    for (text, expected) in [
        ("", Arrival::Empty),
        (" \r\n", Arrival::Empty),
        ("\u{feff}", Arrival::Empty),
        (r#"{"resourceType":"Observation","id":"o1"}"#, resource("Observation", Some("o1"))),
        (r#"{"resourceType":"Patient"}"#, resource("Patient", None)),
    ] {
        assert_eq!(read(text.as_bytes()), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_notification_says_where_and_never_what() {
    for (text, path, code) in [
        ("[]", ".", "structure"),
        ("{", "", "not-json"),
        ("\u{0}", "", "not-json"),
        (r#"{"id":"Zhang"}"#, "resourceType", "structure"),
        (r#"{"resourceType":"Zhang"}"#, "resourceType", "structure"),
        (r#"{"resourceType":"Patient","id":"Zhang San"}"#, "id", "structure"),
        (r#"{"resourceType":"Patient","resourceType":"Group"}"#, "resourceType", "duplicate-key"),
        (r#"{"resourceType":"Bundle","type":"transaction"}"#, "Bundle.type", "structure"),
        (r#"{"resourceType":"Bundle","type":"history"}"#, "Bundle.entry[0].resource", "structure"),
        (
            r#"{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"Patient"}}]}"#,
            "Bundle.entry[0].resource",
            "structure",
        ),
        (
            r#"{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"SubscriptionStatus"}}]}"#,
            "Bundle.entry[0].resource.type",
            "structure",
        ),
        (
            r#"{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"SubscriptionStatus",
            "type":"event-notification","notificationEvent":[{"eventNumber":"0"}]}}]}"#,
            "Bundle.entry[0].resource.notificationEvent[0].eventNumber",
            "structure",
        ),
        (
            r#"{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"SubscriptionStatus",
            "type":"event-notification","notificationEvent":[{"focus":{"reference":"Patient/Zhang"}}]}}]}"#,
            "Bundle.entry[0].resource.notificationEvent[0].eventNumber",
            "structure",
        ),
        (
            r#"{"resourceType":"Bundle","type":"history","entry":[{"resource":{"resourceType":"SubscriptionStatus",
            "type":"heartbeat","topic":["Zhang"]}}]}"#,
            "Bundle.entry[0].resource.topic",
            "structure",
        ),
    ] {
        let error = read(text.as_bytes()).expect_err(text);
        assert_eq!((error.path().as_str(), error.code()), (path, code), "{text}");
        assert!(!error.to_string().contains("Zhang"), "{error}");
    }
    assert_eq!(read(&[0xff]).expect_err("not UTF-8").code(), "encoding");
    let deep = format!("{{\"a\":{}", "[".repeat(100));
    assert_eq!(read(deep.as_bytes()).expect_err("too deep").code(), "too-deep");
}

#[test]
fn an_answer_may_be_a_searchset() {
    let inner = status(Shape::R4, "active", "query-status", "7", None);
    let answer = bundle(Shape::R4, &inner, &[]).replace("\"history\"", "\"searchset\"");
    assert_eq!(read_answer(answer.as_bytes()).expect("a status").since_start, Some(7));
    assert!(read(answer.as_bytes()).is_err(), "nobody sends a search's answer to a hook");
    assert!(read_answer(br#"{"resourceType":"OperationOutcome"}"#).is_err());
}
