//! What a server sends, who may send it, and how it is answered.

use super::*;
use crate::client::mock::Trap;
use crate::store::QuarantineState;

#[tokio::test]
async fn every_kind_is_answered_and_counted() {
    let world = World::topic().await;
    for (body, status) in [
        (notification("handshake", 0, &[]), 200),
        (notification("heartbeat", 0, &[]), 200),
        (event(1), 200),
        (notification("query-status", 1, &[]), 200),
        (String::new(), 204),
    ] {
        assert_eq!(world.post(&body).await, status, "{body}");
    }
    let s = world.here();
    assert!(s.handshake_at.is_some() && s.last_heartbeat_at.is_some() && s.last_heard_at.is_some());
    assert_eq!((s.complete_to, s.highest, s.state), (1, 1, SubscriptionState::Active));
    let inbox = world.inbox();
    assert_eq!(inbox.len(), 1, "only what speaks of a resource is kept");
    assert_eq!(
        (inbox[0].origin.as_str(), inbox[0].source.as_str()),
        ("subscription", world.server.base.as_str())
    );
    assert_eq!(inbox[0].bytes, event(1).into_bytes(), "exactly as received");
    assert!(world.server.lines().is_empty(), "nothing is asked within a request");
}

/// SUB-02: each event is applied once, whatever the order.
#[tokio::test]
async fn duplicates_and_reordering_change_nothing() {
    let world = World::topic().await;
    for number in [1, 3, 2, 2, 3] {
        assert_eq!(world.post(&event(number)).await, 200);
    }
    let s = world.here();
    assert_eq!((s.complete_to, s.highest, s.missing.len(), s.gap_since), (3, 3, 0, None));
    assert_eq!(world.inbox().len(), 3);
    let wanted = world.store.subscription_wanted(10).expect("read");
    assert_eq!(wanted.len(), 3);
}

/// SUB-05: nothing follows from a notification of whom nobody knows.
#[tokio::test]
async fn a_forged_notification_triggers_nothing() {
    let mut world = World::topic().await;
    let (right, wrong) = (HookSecret::new(SECRET), HookSecret::new([8; 32]));
    for (id, secret, status) in [
        ("unknown", Some(&right), 404),
        ("unknown", None, 404),
        ("s1", Some(&wrong), 401),
        ("s1", None, 401),
        ("a%20b", Some(&right), 404),
    ] {
        for body in [notification("handshake", 0, &[]), event(1), String::new()] {
            let answer = world.send("POST", id, secret, &body).await;
            assert_eq!(answer.status, status, "{id}");
            assert!(answer.text.contains("OperationOutcome"));
        }
        let answer =
            world.send("PUT", &format!("{id}/Observation/o1"), secret, &resource("Observation", "o1")).await;
        assert_eq!(answer.status, status);
    }
    let s = world.here();
    assert_eq!((s.last_heard_at, s.handshake_at, s.highest), (None, None, 0));
    assert!(world.inbox().is_empty());
    assert!(world.store.quarantine_list(None, 10).expect("read").is_empty());
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!((step, world.reasons().len()), (Step::default(), 0));
    assert!(world.server.lines().is_empty());
    // Audited, and not as often as somebody likes.
    let refused = |world: &World| world.audited().iter().filter(|a| *a == "subscription.refused").count();
    assert_eq!(refused(&world), 2, "one a reason and minute");
    world.later(61).await;
    world.send("POST", "unknown", None, "").await;
    assert_eq!(refused(&world), 3);
    let last = world.store.audit_head().expect("read").expect("there");
    assert!(last.entry.detail.contains(r#""unreported":"11""#), "{}", last.entry.detail);
}

/// SUB-06: a focus on another server is not followed, and no token goes there.
#[tokio::test]
async fn a_focus_elsewhere_is_refused() {
    let trap = Trap::set();
    let mut world = World::topic().await;
    for focus in [
        format!("http://127.0.0.1:{}/fhir/Observation/1", trap.port),
        format!("http://127.0.0.1:{}/fhir/Observation/2?x=1", trap.port),
        "https://evil.example/Observation/1".to_owned(),
    ] {
        let body = notification("event-notification", 1, &[(1, &focus)]);
        let answer = world.send("POST", "s1", Some(&HookSecret::new(SECRET)), &body).await;
        assert_eq!(answer.status, 400, "{focus}");
        assert!(
            !answer.text.contains("evil") && answer.text.contains("notificationEvent.focus"),
            "{}",
            answer.text
        );
        assert!(answer.headers.contains_key("x-trialbridge-message"));
    }
    let set_aside = world.store.quarantine_list(Some(QuarantineState::Open), 10).expect("read");
    assert_eq!(set_aside.len(), 3);
    assert!(set_aside.iter().all(|q| q.reason == "foreign-reference"));
    assert!(world.inbox().is_empty(), "nothing is worked out from it");
    assert_eq!(world.here().highest, 0);
    world.watcher.step().await.expect("stepped");
    assert!(!trap.sprung());
    assert!(world.server.lines().is_empty());
}

#[tokio::test]
async fn a_payload_is_the_resource_that_a_pull_would_bring() {
    let world = World::new(SubscriptionKind::RestHook, |_, _| Reply::status(404)).await;
    let secret = HookSecret::new(SECRET);
    let observation = resource("Observation", "o1");
    for (method, path, body, status) in [
        ("PUT", "s1/Observation/o1", observation.as_str(), 200),
        ("POST", "s1/Observation/o1", observation.as_str(), 200),
        ("POST", "s1", observation.as_str(), 200),
        ("PUT", "s1/Observation/o2", "", 204),
        ("DELETE", "s1/Observation/o3", "", 204),
        ("PUT", "s1/Observation/o2", observation.as_str(), 400),
        ("PUT", "s1/Patient/o1", observation.as_str(), 400),
        ("PUT", "s1/Nonsense/o1", observation.as_str(), 400),
        ("PUT", "s1/Observation/a%20b", observation.as_str(), 400),
        ("POST", "s1", r#"{"resourceType":"Observation"}"#, 400),
        ("POST", "s1", "{", 400),
        ("POST", "s1", r#"{"resourceType":"Bundle","type":"transaction"}"#, 400),
        ("GET", "s1", "", 405),
    ] {
        let answer = world.send(method, path, Some(&secret), body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text);
    }
    let inbox = world.inbox();
    assert_eq!(inbox.len(), 1, "the same bytes once");
    assert_eq!(inbox[0].source, world.server.base);
    let wanted = world.store.subscription_wanted(10).expect("read");
    let ids: Vec<&str> = wanted.iter().map(|w| w.resource_id.as_str()).collect();
    assert_eq!(ids, ["o2", "o3"]);
    assert_eq!(world.here().state, SubscriptionState::Active, "who delivers is active");
}

#[tokio::test]
async fn a_notification_of_another_subscription_is_not_ours() {
    let world = World::topic().await;
    let other = event(1).replace("Subscription/17", "Subscription/18");
    assert_eq!(world.post(&other).await, 400);
    assert_eq!(world.here().highest, 0);
    let absolute = event(1).replace("Subscription/17", "https://outside.example/fhir/Subscription/17");
    assert_eq!(world.post(&absolute).await, 200, "servers name themselves as they are seen outside");
}

#[tokio::test]
async fn what_we_deleted_is_gone() {
    let world = World::topic().await;
    let deleted = SubscriptionChange::State(SubscriptionState::Deleted);
    world.store.change_subscription("s1", deleted, None).expect("deleted");
    assert_eq!(world.post(&event(1)).await, 410);
    assert_eq!(world.send("POST", "s1", None, "").await.status, 401, "only its server is told");
    assert!(world.inbox().is_empty());
}

#[tokio::test]
async fn a_body_has_its_limits() {
    let world = World::topic().await;
    let secret = HookSecret::new(SECRET);
    let large = " ".repeat((10 << 20) + 1);
    assert_eq!(world.send("POST", "s1", Some(&secret), &large).await.status, 413);
    let request = world.http.post(format!("{}/s1", world.hook)).header("Content-Encoding", "br");
    let response =
        request.header("Authorization", secret.header()).body("x").send().await.expect("an answer");
    assert_eq!(response.status().as_u16(), 415);
    assert!(world.inbox().is_empty());
}

#[tokio::test]
async fn a_server_that_gave_up_says_so() {
    let world = World::topic().await;
    let body = notification("heartbeat", 0, &[]).replace("\"active\"", "\"error\"");
    assert_eq!(world.post(&body).await, 200);
    assert_eq!(world.here().state, SubscriptionState::Error);
}
