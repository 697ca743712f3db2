//! What was missed comes after all, and what cannot come is pulled.

use super::*;
use crate::sequence::in_words;

/// A server with `$events` that holds these numbers.
fn with_events(held: &'static [u64]) -> impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static {
    move |seen, _| {
        if seen.path.ends_with("/$events") {
            let bound = |name: &str| seen.param(name).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
            let (since, until) = (bound("eventsSinceNumber"), bound("eventsUntilNumber"));
            let names: Vec<(u64, String)> = held
                .iter()
                .filter(|n| (since..=until).contains(n))
                .map(|n| (*n, format!("Observation/o{n}")))
                .collect();
            let events: Vec<(u64, &str)> = names.iter().map(|(n, name)| (*n, name.as_str())).collect();
            return Reply::json(notification("query-event", 5, &events));
        }
        if let Some(id) = seen.path.strip_prefix("/fhir/Observation/") {
            return Reply::json(resource("Observation", id));
        }
        Reply::status(404)
    }
}

/// SUB-01: 1, 2, 5 leaves 3 and 4 to be asked for, and nothing is pulled where the answer is whole.
#[tokio::test]
async fn a_gap_is_filled_by_the_server() {
    let mut world = World::new(SubscriptionKind::Topic, with_events(&[1, 2, 3, 4, 5])).await;
    for number in [1, 2, 5] {
        world.post(&event(number)).await;
    }
    assert_eq!(in_words(&world.here().missing), "3-4");
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!((step.read, step.recovered, step.reconciled), (3, 0, None), "3 and 4 may be on their way");
    world.later(31).await;
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!((step.recovered, step.read, step.reconciled), (2, 2, None));
    let s = world.here();
    assert_eq!((s.complete_to, s.missing.len(), s.gap_since), (5, 0, None));
    assert!(s.repaired_at.is_some());
    let asked: Vec<String> = world.server.lines().into_iter().filter(|l| l.contains("$events")).collect();
    assert_eq!(asked, ["GET /fhir/Subscription/17/$events?eventsSinceNumber=3&eventsUntilNumber=4"]);
    // What was notified, what was read, what was recovered.
    assert_eq!(world.pulls.arrived.load(Ordering::SeqCst), 3);
    // A late delivery of what was recovered changes nothing.
    world.post(&event(3)).await;
    assert!(world.store.subscription_wanted(10).expect("read").is_empty());
}

/// SUB-01, at a server that does not keep its events.
#[tokio::test]
async fn a_gap_that_nobody_fills_is_pulled() {
    for held in [None, Some(&[4][..])] {
        let mut world = match held {
            None => World::topic().await,
            Some(held) => World::new(SubscriptionKind::Topic, with_events(held)).await,
        };
        world.pulls.fails.store(true, Ordering::SeqCst);
        for number in [1, 2, 5] {
            world.post(&event(number)).await;
        }
        world.later(31).await;
        let step = world.watcher.step().await.expect("stepped");
        assert_eq!(step.reconciled, Some(false));
        assert!(!world.here().missing.is_empty(), "a pull that failed repairs nothing");
        // Not at once again; then until it succeeds.
        assert_eq!(world.watcher.step().await.expect("stepped").reconciled, None);
        world.pulls.fails.store(false, Ordering::SeqCst);
        world.later(60).await;
        assert_eq!(world.watcher.step().await.expect("stepped").reconciled, Some(true));
        let s = world.here();
        assert_eq!((s.complete_to, s.missing.len(), s.gap_since), (5, 0, None));
        assert!(s.repaired_at.is_some());
        assert_eq!(world.reasons(), ["subscription-gap", "subscription-gap"]);
        world.later(60).await;
        assert_eq!(world.watcher.step().await.expect("stepped").reconciled, None, "done");
    }
}

/// SUB-04: three periods without a heartbeat.
#[tokio::test]
async fn a_missing_heartbeat_is_noticed_asked_about_and_pulled() {
    let status = |seen: &Seen, _: usize| match seen.path.ends_with("/$status") {
        true => Reply::json(
            notification("query-status", 3, &[])
                .replace("\"history\"", "\"searchset\"")
                .replace("active", "error"),
        ),
        false => Reply::status(404),
    };
    let mut world = World::new(SubscriptionKind::Topic, status).await;
    world.post(&notification("heartbeat", 0, &[])).await;
    world.later(179).await;
    assert_eq!(world.watcher.step().await.expect("stepped").reconciled, None);
    assert!(world.here().silent_since.is_none());
    world.later(1).await;
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!(step.reconciled, Some(true));
    assert!(step.reasons.contains("subscription-silent"));
    assert_eq!(world.server.lines(), ["GET /fhir/Subscription/17/$status"]);
    let s = world.here();
    assert!(s.silent_since.is_some(), "an answer to our question is no sign of life");
    assert_eq!((s.state, s.highest), (SubscriptionState::Error, 3));
    assert!(world.audited().contains(&"subscription.silent".to_owned()));
    // The three events that the server spoke of were pulled, or are next.
    world.later(31).await;
    world.watcher.step().await.expect("stepped");
    assert!(world.here().missing.is_empty());
    // Said once; looked into again after three further periods.
    let before = world.reasons().len();
    world.later(100).await;
    world.watcher.step().await.expect("stepped");
    assert_eq!(world.reasons().len(), before);
    world.later(100).await;
    world.watcher.step().await.expect("stepped");
    assert_eq!(world.reasons().len(), before + 1);
    assert_eq!(world.audited().iter().filter(|a| *a == "subscription.silent").count(), 1);
    // It speaks again.
    world.post(&notification("heartbeat", 3, &[])).await;
    let s = world.here();
    assert_eq!((s.silent_since, s.state), (None, SubscriptionState::Active));
}

#[tokio::test]
async fn a_silent_rest_hook_is_not_trusted() {
    let off = |seen: &Seen, _: usize| match seen.path.as_str() {
        "/fhir/Subscription/17" => Reply::json(
            r#"{"resourceType":"Subscription","id":"17","status":"off","channel":{"type":"rest-hook"}}"#,
        ),
        _ => Reply::status(404),
    };
    let mut world = World::new(SubscriptionKind::RestHook, off).await;
    world.pulls.fails.store(true, Ordering::SeqCst);
    world.later(3599).await;
    assert_eq!(world.watcher.step().await.expect("stepped"), Step::default());
    world.later(1).await;
    let step = world.watcher.step().await.expect("stepped");
    assert!(step.reasons.contains("subscription-quiet"), "{step:?}");
    let s = world.here();
    assert_eq!((s.state, s.silent_since), (SubscriptionState::Off, None));
    // The pull failed: it is not forgotten.
    world.pulls.fails.store(false, Ordering::SeqCst);
    world.later(60).await;
    assert_eq!(world.watcher.step().await.expect("stepped").reconciled, Some(true));
    assert_eq!(world.here().pull_wanted_at, None);
}

#[tokio::test]
async fn an_empty_notification_asks_for_a_pull_once() {
    let mut world = World::new(SubscriptionKind::RestHook, |_, _| Reply::status(404)).await;
    for _ in 0..20 {
        assert_eq!(world.post("").await, 204);
    }
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!((step.reconciled, step.reasons.len()), (Some(true), 1));
    assert_eq!(world.reasons(), ["subscription-hint"]);
    world.post("").await;
    assert_eq!(world.watcher.step().await.expect("stepped").reconciled, None, "not ten a second");
    world.later(10).await;
    assert_eq!(world.watcher.step().await.expect("stepped").reconciled, Some(true));
    assert!(world.server.lines().is_empty());
}

#[tokio::test]
async fn what_was_named_is_read_and_what_is_gone_is_deleted() {
    let server = |seen: &Seen, _: usize| match seen.path.as_str() {
        "/fhir/Observation/here" => Reply::json(resource("Observation", "here")),
        "/fhir/Observation/gone" => Reply::status(410),
        _ => Reply::status(500),
    };
    let mut world = World::new(SubscriptionKind::Topic, server).await;
    let focus =
        [(1, "Observation/here"), (2, "Observation/gone"), (3, "Encounter/e1"), (4, "Patient/broken")];
    assert_eq!(world.post(&notification("event-notification", 4, &focus)).await, 200);
    let before = world.inbox().len();
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!(step.read, 2);
    let asked = |world: &World, what: &str| world.server.lines().iter().filter(|l| l.contains(what)).count();
    assert_eq!(asked(&world, "Encounter"), 0, "the trial does not need it");
    let inbox = world.inbox();
    let text = |at: usize| String::from_utf8_lossy(&inbox[at].bytes).into_owned();
    assert_eq!(inbox.len(), before + 2);
    assert!(
        text(before).contains(r#""url":"Observation/gone""#)
            || text(before + 1).contains(r#""url":"Observation/gone""#)
    );
    assert!(inbox.iter().all(|i| i.origin == "subscription" && i.source == world.server.base));
    // What cannot be read is tried a few times, then it is the pull's.
    for _ in 0..10 {
        world.watcher.step().await.expect("stepped");
    }
    assert_eq!(asked(&world, "Patient"), 5);
    assert!(world.store.subscription_wanted(10).expect("read").is_empty());
    assert_eq!(world.reasons(), ["subscription-hint"]);
}

#[tokio::test]
async fn a_server_that_counts_anew_is_found_out() {
    // By a heartbeat with a smaller count, confirmed by `$status`.
    let status = |seen: &Seen, _: usize| match seen.path.ends_with("/$status") {
        true => Reply::json(notification("query-status", 1, &[])),
        false => Reply::status(404),
    };
    let mut world = World::new(SubscriptionKind::Topic, status).await;
    for number in 1..=5 {
        world.post(&event(number)).await;
    }
    world.watcher.step().await.expect("stepped");
    // The first step asks once, and finds it out.
    assert_eq!(world.reasons().len(), 1, "{:?}", world.reasons());
    assert!(world.reasons()[0].contains("subscription-restarted"));
    let s = world.here();
    assert_eq!((s.complete_to, s.highest, s.renumbered_at), (1, 1, None), "the new count is followed");
    let audited = world.audited();
    let at = |action: &str| audited.iter().position(|a| a == action).expect(action);
    assert!(at("subscription.restarted") < at("subscription.epoch"));

    // By a number that means another event.
    world.post(&event(2)).await;
    world.post(&notification("event-notification", 2, &[(2, "Observation/other")])).await;
    assert!(world.here().renumbered_at.is_some());
    world.pulls.fails.store(true, Ordering::SeqCst);
    world.later(60).await;
    world.watcher.step().await.expect("stepped");
    assert!(world.here().renumbered_at.is_some(), "without a pull nothing is believed");
    world.pulls.fails.store(false, Ordering::SeqCst);
    world.later(60).await;
    world.watcher.step().await.expect("stepped");
    assert!(world.here().renumbered_at.is_none());
}

#[tokio::test]
async fn a_late_heartbeat_is_not_taken_for_a_restart() {
    let status = |seen: &Seen, _: usize| match seen.path.ends_with("/$status") {
        true => Reply::json(notification("query-status", 5, &[])),
        false => Reply::status(404),
    };
    let mut world = World::new(SubscriptionKind::Topic, status).await;
    for number in 1..=5 {
        world.post(&event(number)).await;
    }
    world.post(&notification("heartbeat", 3, &[])).await;
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!(step.reconciled, None);
    let s = world.here();
    assert_eq!((s.highest, s.renumbered_at), (5, None));
}

#[tokio::test]
async fn a_smaller_count_that_nobody_can_explain_is_pulled() {
    let mut world = World::topic().await;
    for number in 1..=5 {
        world.post(&event(number)).await;
    }
    world.watcher.step().await.expect("stepped");
    assert!(world.reasons().is_empty());
    world.post(&notification("heartbeat", 3, &[])).await;
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!((step.reconciled, step.reasons), (Some(true), ["subscription-behind"].into()));
    assert_eq!(world.here().highest, 5, "nothing is reset");
}

#[tokio::test]
async fn events_of_another_server_do_not_come_in_by_asking() {
    let server = |seen: &Seen, _: usize| match seen.path.ends_with("/$events") {
        true => Reply::json(notification("query-event", 2, &[(2, "https://evil.example/Observation/1")])),
        false => Reply::status(404),
    };
    let mut world = World::new(SubscriptionKind::Topic, server).await;
    world.post(&event(1)).await;
    world.post(&event(3)).await;
    world.later(31).await;
    let step = world.watcher.step().await.expect("stepped");
    assert_eq!((step.recovered, step.reconciled), (0, Some(true)));
    let set_aside = world.store.quarantine_list(None, 10).expect("read");
    assert_eq!(set_aside[0].reason, "foreign-reference");
    assert!(world.here().missing.is_empty(), "the pull proved it");
}

#[tokio::test]
async fn the_watcher_wakes_and_stops() {
    let world = World::new(SubscriptionKind::RestHook, |_, _| Reply::status(404)).await;
    world.post("").await;
    let (stop, pulls) = (tokio_util::sync::CancellationToken::new(), world.pulls.clone());
    let watching = tokio::spawn(watch(world.watcher, stop.clone()));
    while pulls.asked.lock().expect("asked").is_empty() {
        tokio::task::yield_now().await;
    }
    world.wake.up(None);
    stop.cancel();
    watching.await.expect("it ends");
}

/// What was sent while nobody listened left no number behind.
#[tokio::test]
async fn the_watcher_begins_with_a_pull() {
    let world = World::new(SubscriptionKind::RestHook, |_, _| Reply::status(404)).await;
    let (stop, pulls) = (tokio_util::sync::CancellationToken::new(), world.pulls.clone());
    let watching = tokio::spawn(watch(world.watcher, stop.clone()));
    while pulls.asked.lock().expect("asked").is_empty() {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    watching.await.expect("it ends");
    assert_eq!(pulls.asked.lock().expect("asked").as_slice(), ["subscription-hint"]);
}

/// A payload needs neither a read nor a pull: it is digested at once.
#[tokio::test]
async fn a_payload_is_passed_on_to_be_digested() {
    let mut world = World::new(SubscriptionKind::RestHook, |_, _| Reply::status(404)).await;
    let secret = HookSecret::new(SECRET);
    let result = r#"{"resourceType":"Observation","id":"o1"}"#;
    assert_eq!(world.send("PUT", "s1/Observation/o1", Some(&secret), result).await.status, 200);
    assert_eq!(world.watcher.step().await.expect("stepped"), Step::default());
    assert_eq!(world.pulls.arrived.load(Ordering::SeqCst), 1);
    world.watcher.step().await.expect("stepped");
    assert_eq!(world.pulls.arrived.load(Ordering::SeqCst), 1, "once");
}
