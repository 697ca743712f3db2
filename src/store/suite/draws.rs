//! Lists and draws: one participant, one allocation, one slot, in list order.

use super::*;
use std::sync::Barrier;

pub(crate) fn list(slots: usize) -> NewAllocationList {
    NewAllocationList {
        id: "list-1".into(),
        trial: "T".into(),
        definition: "sha256:d".into(),
        commitment: "sha256:c".into(),
        created_at: NOW.into(),
        json: "{}".into(),
        slots: (1..=slots).map(|n| format!("sealed {n}").into_bytes()).collect(),
        audit: audit("allocation-list"),
    }
}

pub(crate) fn request(subject: &str, key: &str) -> AllocationRequest {
    AllocationRequest {
        idempotency_key: key.into(),
        trial: "T".into(),
        subject: subject.into(),
        actor: "dr-li".into(),
        role: "investigator".into(),
        at: NOW.into(),
        outbox: vec!["research-subject".into()],
    }
}

/// A check that opens whatever slot it is given.
pub(crate) fn draw() -> Check {
    Box::new(|snapshot| {
        let sealed = String::from_utf8_lossy(&snapshot.sealed).into_owned();
        Ok(Drawn { arm: format!("arm of {sealed}"), salt: "salt".into(), proof: "{}".into() })
    })
}

fn ready_to_draw(store: &dyn Store, slots: usize, subjects: &[&str]) {
    store.put_allocation_list(list(slots)).expect("list");
    for subject in subjects {
        store.put_decision(decision(subject, "{}")).expect("decision");
    }
}

pub(crate) fn a_trial_has_one_list(store: &dyn Store) {
    let none = store.put_allocation_list(NewAllocationList { slots: vec![], ..list(1) });
    assert_eq!(none.expect_err("no slots").code(), "list-empty");
    assert_eq!(store.allocation_list("T"), Ok(None));
    store.put_allocation_list(list(2)).expect("list");
    let second = store.put_allocation_list(NewAllocationList { id: "list-2".into(), ..list(2) });
    assert_eq!(second.expect_err("there is one").code(), "list-exists");
    let other = NewAllocationList { id: "list-2".into(), trial: "U".into(), ..list(3) };
    store.put_allocation_list(other).expect("another trial");
    assert_eq!(
        store.allocation_list("T").expect("list").map(|l| (l.id, l.total)),
        Some(("list-1".into(), 2))
    );
    assert_eq!(store.sealed_slots("list-1"), Ok(vec![b"sealed 1".to_vec(), b"sealed 2".to_vec()]));
    assert_eq!(store.audit_entries(0, 10).expect("audit").len(), 2, "refusals are not audited here");
}

pub(crate) fn a_draw_happens_once(store: &dyn Store) {
    let no_list = store.allocate(request("Patient/1", "k1"), draw());
    assert_eq!(no_list.expect_err("no list").code(), "not-found");
    ready_to_draw(store, 2, &["Patient/1", "Patient/2", "Patient/3"]);

    let first = store.allocate(request("Patient/1", "k1"), draw()).expect("allocated");
    assert!(!first.replayed);
    assert_eq!((first.allocation.position, first.allocation.arm.as_str()), (1, "arm of sealed 1"));
    assert_eq!(first.allocation.decided_input, "sha256:i");
    let unused: Check = Box::new(|_| panic!("a repetition draws nothing"));
    let again = store.allocate(request("Patient/1", "k1"), unused).expect("allocated");
    assert!(again.replayed && again.allocation == first.allocation);

    let reused = store.allocate(request("Patient/2", "k1"), draw()).expect_err("key in use");
    assert_eq!(reused.code(), "key-reuse");
    let duplicate = store.allocate(request("Patient/1", "k2"), draw()).expect_err("allocated already");
    assert_eq!(duplicate.code(), "duplicate");
    assert!(duplicate.to_string().contains(&first.allocation.id), "{duplicate}");
    assert!(!duplicate.to_string().contains("arm of"), "{duplicate}");
    let undecided = store.allocate(request("Patient/9", "k9"), draw()).expect_err("no decision");
    assert_eq!(undecided.code(), "no-decision");

    let refuse: Check =
        Box::new(|_| Err(Refusal { code: "stale-eligibility".into(), text: "screen again".into() }));
    let refused = store.allocate(request("Patient/2", "k2"), refuse).expect_err("refused");
    assert_eq!(refused.code(), "stale-eligibility");
    let panics: Check = Box::new(|_| panic!("a bug in the caller's check"));
    let broken = store.allocate(request("Patient/2", "k2"), panics).expect_err("panicked");
    assert_eq!(broken.code(), "storage-failed");

    let second = store.allocate(request("Patient/2", "k2"), draw()).expect("allocated");
    assert_eq!(second.allocation.position, 2, "refusals and failures used no slot");
    let crossed = store.allocate(request("Patient/2", "k1"), draw()).expect_err("the other's key");
    assert_eq!(crossed.code(), "key-reuse");
    let third = store.allocate(request("Patient/3", "k3"), draw()).expect_err("no slot left");
    assert_eq!(third.code(), "list-exhausted");
    assert!(store.allocate(request("Patient/1", "k1"), draw()).expect("still there").replayed);

    assert_eq!(store.allocations("T").expect("allocations").len(), 2);
    let found = store.allocation_of("T", "Patient/2").expect("read").expect("there");
    assert_eq!(Some(found), store.allocation_by_key("k2").expect("read"));
    assert_eq!(store.outbox(None, 10).expect("outbox").len(), 2, "one write-back an allocation");
    let audited = store.audit_entries(0, 10).expect("audit");
    assert_eq!(audited.iter().filter(|a| a.entry.action == "allocate").count(), 2);
    assert!(audited.iter().all(|a| !format!("{a:?}").contains("arm of")), "the audit names no arm");
    assert!(store.verify().expect("verified").is_sound());
}

pub(crate) fn a_draw_sees_what_changed(store: &dyn Store) {
    ready_to_draw(store, 2, &["Patient/1"]);
    let seen = || store.allocation_snapshot("T", "Patient/1").expect("snapshot");
    assert_eq!((seen().dirty, seen().pending_inbox, seen().position), (false, 0, 1));
    let seq = store.accept(incoming("amended")).expect("accepted").seq;
    assert_eq!((seen().dirty, seen().pending_inbox), (false, 1));
    store.put_records(vec![record(seq, "o1", "2", "Patient/1", "x")], NOW).expect("stored");
    store.mark(seq, InboxState::Processed).expect("marked");
    assert_eq!((seen().dirty, seen().pending_inbox), (true, 0));
    let check: Check = Box::new(|s| match s.dirty {
        true => Err(Refusal { code: "stale-eligibility".into(), text: "screen again".into() }),
        false => panic!("the change was not seen"),
    });
    let refused = store.allocate(request("Patient/1", "k"), check).expect_err("stale");
    assert_eq!(refused.code(), "stale-eligibility");
    let debug = format!("{:?} {:?}", seen(), store.allocate(request("Patient/1", "k"), draw()));
    assert!(!debug.contains("sealed") && !debug.contains("arm"), "{debug}");
}

pub(crate) fn one_participant_many_callers(store: &dyn Store) {
    ready_to_draw(store, 92, &["Patient/1"]);
    let barrier = Barrier::new(64);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let call = |n: usize| {
            let barrier = &barrier;
            scope.spawn(move || {
                // Half of them retry one request, half press the button again.
                let key = if n & 1 == 0 { "k".to_owned() } else { format!("k{n}") };
                barrier.wait();
                store.allocate(request("Patient/1", &key), draw())
            })
        };
        let threads: Vec<_> = (0..64).map(call).collect();
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    let allocations = store.allocations("T").expect("allocations");
    assert_eq!(allocations.len(), 1);
    assert_eq!(outcomes.iter().flatten().filter(|o| !o.replayed).count(), 1);
    for outcome in outcomes {
        match outcome {
            Ok(o) => assert_eq!(o.allocation, allocations[0]),
            Err(e) => {
                assert!(matches!(e.code(), "duplicate" | "key-reuse"), "{e}");
                assert!(e.to_string().contains(&allocations[0].id), "{e}");
            }
        }
    }
    assert_eq!(store.outbox(None, 100).expect("outbox").len(), 1);
}

pub(crate) fn many_participants_take_the_list_in_order(store: &dyn Store) {
    let names: Vec<String> = (0..96).map(|n| format!("Patient/{n}")).collect();
    let subjects: Vec<&str> = names.iter().map(String::as_str).collect();
    ready_to_draw(store, 92, &subjects);
    let barrier = Barrier::new(subjects.len());
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (n, &subject) in subjects.iter().enumerate() {
            let barrier = &barrier;
            threads.push(scope.spawn(move || {
                barrier.wait();
                if n % 5 == 0 {
                    let refuse: Check = Box::new(|_| Err(Refusal { code: "no".into(), text: "no".into() }));
                    assert!(store.allocate(request(subject, subject), refuse).is_err());
                }
                store.allocate(request(subject, subject), draw())
            }));
        }
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    });
    let allocations = store.allocations("T").expect("allocations");
    let positions: Vec<i64> = allocations.iter().map(|a| a.position).collect();
    assert_eq!(positions, (1..=92).collect::<Vec<_>>());
    for a in &allocations {
        assert_eq!(a.arm, format!("arm of sealed {}", a.position), "each got the slot of its position");
    }
    assert_eq!(allocations.iter().map(|a| &a.subject).collect::<BTreeSet<_>>().len(), 92);
    let refused: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().err()).map(|e| e.code()).collect();
    assert_eq!(refused, ["list-exhausted"; 4]);
    assert!(store.verify().expect("verified").is_sound());
}
