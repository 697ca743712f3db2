//! Subscriptions: what is counted, what is missing, what has still to be read.

use super::*;
use crate::sequence::Observed;

fn new(id: &str) -> NewSubscription {
    NewSubscription {
        id: id.into(),
        server: "http://127.0.0.1/fhir".into(),
        kind: SubscriptionKind::Topic,
        release: "R4".into(),
        watches: "http://example.org/topic".into(),
        payload: SubscriptionPayload::IdOnly,
        endpoint: format!("http://127.0.0.1/hook/{id}"),
        secret_sha256: "0".repeat(64),
        heartbeat_seconds: Some(60),
        created_at: NOW.into(),
    }
}

fn event(number: u64, focus: &str) -> Observed {
    Observed { number, at: None, focus: Some(focus.into()) }
}

fn heard(at: &str, since: u64, events: &[u64]) -> Heard {
    Heard {
        at: at.into(),
        since_start: Some(since),
        events: events.iter().map(|n| event(*n, &format!("Observation/o{n}"))).collect(),
        state: Some(SubscriptionState::Active),
        ..Heard::default()
    }
}

fn get(store: &dyn Store, id: &str) -> Subscription {
    store.subscription(id).expect("read").expect("there")
}

pub(crate) fn what_is_set_aside_is_never_worked_on(store: &dyn Store) {
    let receipt = store.accept_aside(incoming("foreign"), "foreign-reference", "focus").expect("accepted");
    assert!(receipt.first);
    assert_eq!(store.pending(10).expect("pending"), []);
    let set_aside = store.quarantine_list(Some(QuarantineState::Open), 10).expect("listed");
    assert_eq!(set_aside.len(), 1);
    assert_eq!((set_aside[0].reason.as_str(), set_aside[0].path.as_str()), ("foreign-reference", "focus"));
    assert_eq!(store.inbox_item(receipt.seq).expect("there").bytes, b"foreign");
    // Neither a replay of all nor one of this row works it out.
    store.replay_all(audit("replay")).expect("replayed");
    assert_eq!(store.pending(10).expect("pending"), []);
    store.mark(receipt.seq, InboxState::Pending).expect("marked");
    assert_eq!(store.pending(10).expect("pending"), []);
    assert_eq!(store.quarantine_list(Some(QuarantineState::Open), 10).expect("listed").len(), 1);
    let again = store.accept_aside(incoming("foreign"), "foreign-reference", "focus").expect("accepted");
    assert_eq!((again.first, again.seq), (false, receipt.seq));
}

pub(crate) fn notifications_are_counted_once_in_any_order(store: &dyn Store) {
    assert!(store.note_subscription("a", heard(NOW, 1, &[1])).is_err(), "nobody knows it");
    let all = [heard(NOW, 1, &[1]), heard(LATER, 3, &[3]), heard(NOW, 2, &[2]), heard(LATER, 6, &[6])];
    for (id, order) in [("a", [0, 1, 2, 3]), ("b", [3, 2, 1, 0]), ("c", [1, 3, 0, 2])] {
        store.put_subscription(new(id), audit("subscription.create")).expect("stored");
        assert_eq!(get(store, id).state, SubscriptionState::Planned);
        for at in order {
            store.note_subscription(id, all[at].clone()).expect("noted");
        }
        for again in &all {
            let noted = store.note_subscription(id, again.clone()).expect("noted");
            assert_eq!((noted.new, noted.renumbered), (vec![], false));
            assert_eq!(noted.missing, [4..=5]);
        }
        let s = get(store, id);
        assert_eq!((s.complete_to, s.highest, s.missing), (3, 6, vec![4..=5]));
        assert_eq!((s.last_heard_at.as_deref(), s.state), (Some(LATER), SubscriptionState::Active));
        assert_eq!(s.handshake_at, None);
    }
    let change = SubscriptionChange::Reconciled { started: NOW.into(), through: 6, at: LATER.into() };
    store.change_subscription("a", change, None).expect("changed");
    let s = get(store, "a");
    assert_eq!((s.complete_to, s.missing, s.gap_since), (6, vec![], None));
    assert_eq!(s.repaired_at.as_deref(), Some(LATER));
    assert_eq!(get(store, "b").missing, [4..=5], "another one is not concerned");
    assert_eq!(store.subscriptions().expect("read").len(), 3);
    assert_eq!(store.put_subscription(new("a"), audit("again")).expect_err("taken").code(), "constraint");
}

pub(crate) fn a_server_that_counts_anew_is_never_believed_silently(store: &dyn Store) {
    store.put_subscription(new("a"), audit("subscription.create")).expect("stored");
    store.note_subscription("a", heard(NOW, 3, &[1, 2, 3])).expect("noted");
    let heartbeat = Heard { heartbeat: true, ..heard(LATER, 0, &[]) };
    let noted = store.note_subscription("a", heartbeat).expect("noted");
    assert!(noted.behind && !noted.renumbered);
    let other = Heard { events: vec![event(1, "Observation/other")], ..heard(LATER, 1, &[]) };
    let noted = store.note_subscription("a", other.clone()).expect("noted");
    assert!(noted.renumbered);
    assert!(!store.note_subscription("a", other.clone()).expect("noted").renumbered, "said once");
    let s = get(store, "a");
    assert_eq!((s.complete_to, s.renumbered_at.as_deref()), (3, Some(LATER)), "nothing was reset");
    assert_eq!(s.last_heartbeat_at.as_deref(), Some(LATER));

    let change = SubscriptionChange::NewEpoch { complete_to: 1, at: LATER.into() };
    store.change_subscription("a", change, Some(audit("subscription.epoch"))).expect("changed");
    let s = get(store, "a");
    assert_eq!((s.complete_to, s.highest, s.renumbered_at), (1, 1, None));
    let noted = store.note_subscription("a", heard(LATER, 2, &[2])).expect("noted");
    assert_eq!((noted.new, noted.missing, noted.renumbered), (vec![2], vec![], false));
    assert_eq!(store.audit_head().expect("read").expect("there").entry.action, "subscription.epoch");
}

pub(crate) fn what_has_to_be_read_is_not_forgotten(store: &dyn Store) {
    store.put_subscription(new("a"), audit("subscription.create")).expect("stored");
    let named = |at: &str, number: u64| Heard {
        wanted: vec![(number, "Observation".into(), "o1".into()), (0, "Patient".into(), "p1".into())],
        pull: true,
        events: vec![event(number, "Observation/o1")],
        ..heard(at, number, &[])
    };
    store.note_subscription("a", named(NOW, 1)).expect("noted");
    let wanted = store.subscription_wanted(10).expect("read");
    let names: Vec<&str> = wanted.iter().map(|w| w.resource_id.as_str()).collect();
    assert_eq!(names, ["o1", "p1"]);
    assert_eq!(get(store, "a").pull_wanted_at.as_deref(), Some(NOW));

    store.settle_wanted(wanted[0].clone(), NOW, false).expect("settled");
    store.settle_wanted(wanted[1].clone(), NOW, true).expect("settled");
    let left = store.subscription_wanted(10).expect("read");
    assert_eq!((left.len(), left[0].attempts), (1, 1));
    // The same event once more asks for nothing new.
    store
        .note_subscription(
            "a",
            Heard { wanted: vec![(1, "Observation".into(), "o1".into())], ..named(LATER, 1) },
        )
        .expect("noted");
    assert_eq!(store.subscription_wanted(10).expect("read"), left);
    assert_eq!(get(store, "a").pull_wanted_at.as_deref(), Some(NOW));
    // Named again while it was being read: what was read may be older.
    store.note_subscription("a", named(LATER, 2)).expect("noted");
    store.settle_wanted(left[0].clone(), NOW, true).expect("settled");
    assert_eq!(store.subscription_wanted(10).expect("read").len(), 2);
    // A pull that began before the last hint does not answer it.
    for (started, left) in [(NOW, Some(LATER)), (LATER, None)] {
        let change = SubscriptionChange::Reconciled { started: started.into(), through: 0, at: LATER.into() };
        store.change_subscription("a", change, None).expect("changed");
        assert_eq!(get(store, "a").pull_wanted_at.as_deref(), left);
    }
}

pub(crate) fn a_deleted_subscription_stays_deleted(store: &dyn Store) {
    store.put_subscription(new("a"), audit("subscription.create")).expect("stored");
    let posted = SubscriptionChange::Posted { remote_id: "17".into() };
    store.change_subscription("a", posted.clone(), None).expect("changed");
    let s = get(store, "a");
    assert_eq!((s.remote_id.as_deref(), s.state), (Some("17"), SubscriptionState::Requested));
    let silent = SubscriptionChange::Silent { at: NOW.into() };
    store.change_subscription("a", silent, None).expect("changed");
    assert_eq!(get(store, "a").silent_since.as_deref(), Some(NOW));
    let handshake = Heard { handshake: true, ..heard(LATER, 0, &[]) };
    store.note_subscription("a", handshake.clone()).expect("noted");
    let s = get(store, "a");
    assert_eq!((s.silent_since, s.handshake_at.as_deref()), (None, Some(LATER)));
    let deleted = SubscriptionChange::State(SubscriptionState::Deleted);
    store.change_subscription("a", deleted, Some(audit("subscription.delete"))).expect("changed");
    store.note_subscription("a", handshake).expect("noted");
    assert_eq!(get(store, "a").state, SubscriptionState::Deleted);
    assert_eq!(store.change_subscription("b", posted, None).expect_err("nobody").code(), "not-found");
}
