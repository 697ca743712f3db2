//! Lists and draws: one participant, one allocation, one slot, in list order.

use super::*;
use std::sync::Barrier;

/// A list of one stratum.
pub(crate) fn list(slots: i64) -> NewAllocationList {
    strata(slots, &[slots])
}

/// A list of several strata, with so many slots each.
fn strata(total: i64, each: &[i64]) -> NewAllocationList {
    let slot = |stratum: i64, position: i64| {
        let sealed = format!("sealed {stratum}/{position}").into_bytes();
        NewSlot { stratum, position, sealed }
    };
    let of_stratum =
        |(stratum, slots): (i64, &i64)| (1..=*slots).map(move |p| slot(stratum, p)).collect::<Vec<_>>();
    NewAllocationList {
        id: "list-1".into(),
        trial: "T".into(),
        definition: "sha256:d".into(),
        plan: "sha256:p".into(),
        commitment: "sha256:c".into(),
        total,
        created_at: NOW.into(),
        json: "{}".into(),
        slots: (0..).zip(each).flat_map(of_stratum).collect(),
        signature: signed("allocation-list", None),
        audit: audit("allocation-list"),
    }
}

pub(crate) fn signed(meaning: &str, subject: Option<&str>) -> NewSignature {
    NewSignature {
        actor: "dr-li".into(),
        printed_name: "Li".into(),
        role: "investigator".into(),
        meaning: meaning.into(),
        subject: subject.map(Into::into),
        record: format!("{{\"meaning\":\"{meaning}\"}}"),
        method: SignatureMethod::Password,
        at: NOW.into(),
    }
}

pub(crate) fn request(subject: &str, key: &str) -> AllocationRequest {
    AllocationRequest {
        idempotency_key: key.into(),
        trial: "T".into(),
        subject: subject.into(),
        seen: None,
        signature: signed("randomize", Some(subject)),
        at: NOW.into(),
        outbox: vec!["research-subject".into()],
    }
}

/// A check that takes whatever slot comes next in the first stratum.
pub(crate) fn draw() -> Check {
    draw_from(0)
}

/// The leaf names the slot that was opened.
fn draw_from(stratum: i64) -> Check {
    Box::new(move |_, desk| {
        let slot = desk.slot(stratum)?;
        let leaf = format!("leaf of {}", String::from_utf8_lossy(&slot.sealed));
        let levels = format!("{{\"site\":\"{stratum}\"}}");
        Ok(Drawn { stratum, position: slot.position, leaf, proof: "[]".into(), levels })
    })
}

fn refuse(code: &'static str) -> Check {
    Box::new(move |_, _| Err(Refusal { code: code.into(), text: "no".into() }.into()))
}

fn said(kind: EventKind, allocation_id: Option<&str>, detail: &str) -> NewAllocationEvent {
    NewAllocationEvent {
        trial: "T".into(),
        allocation_id: allocation_id.map(Into::into),
        kind,
        detail: detail.into(),
        signature: signed(kind.word(), None),
        audit: audit(kind.word()),
    }
}

fn ready_to_draw(store: &dyn Store, slots: i64, subjects: &[&str]) {
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
    assert_eq!(store.sealed_slots("list-1"), Ok(vec![b"sealed 0/1".to_vec(), b"sealed 0/2".to_vec()]));
    assert_eq!(store.sealed_slot("list-1", 0, 2), Ok(Some(b"sealed 0/2".to_vec())));
    assert_eq!(store.sealed_slot("list-1", 1, 2), Ok(None));
    let entries = store.audit_entries(0, 10).expect("audit");
    assert_eq!(entries.len(), 2, "refusals are not audited here");
    assert_eq!(store.signatures(None).expect("signatures").len(), 2, "nor signed");
    assert!(entries.iter().all(|e| e.entry.detail.contains("\"signature\"")), "{entries:?}");
}

pub(crate) fn a_draw_happens_once(store: &dyn Store) {
    let no_list = store.allocate(request("Patient/1", "k1"), draw());
    assert_eq!(no_list.expect_err("no list").code(), "not-found");
    ready_to_draw(store, 2, &["Patient/1", "Patient/2", "Patient/3"]);

    let first = store.allocate(request("Patient/1", "k1"), draw()).expect("allocated");
    assert!(!first.replayed);
    let taken = (first.allocation.number, first.allocation.position, first.allocation.leaf.as_str());
    assert_eq!(taken, (1, 1, "leaf of sealed 0/1"));
    assert_eq!(first.allocation.decided_input, "sha256:i");
    let unused: Check = Box::new(|_, _| panic!("a repetition draws nothing"));
    let again = store.allocate(request("Patient/1", "k1"), unused).expect("allocated");
    assert!(again.replayed && again.allocation == first.allocation);

    let reused = store.allocate(request("Patient/2", "k1"), draw()).expect_err("key in use");
    assert_eq!(reused.code(), "key-reuse");
    let duplicate = store.allocate(request("Patient/1", "k2"), draw()).expect_err("allocated already");
    assert_eq!(duplicate.code(), "duplicate");
    assert!(duplicate.to_string().contains(&first.allocation.id), "{duplicate}");
    let undecided = store.allocate(request("Patient/9", "k9"), draw()).expect_err("no decision");
    assert_eq!(undecided.code(), "no-decision");

    let refused =
        store.allocate(request("Patient/2", "k2"), refuse("stale-eligibility")).expect_err("refused");
    assert_eq!(refused.code(), "stale-eligibility");
    let other = AllocationRequest { seen: Some("sha256:other".into()), ..request("Patient/2", "k2") };
    assert_eq!(store.allocate(other, draw()).expect_err("signed for another").code(), "record-changed");
    let panics: Check = Box::new(|_, _| panic!("a bug in the caller's check"));
    let broken = store.allocate(request("Patient/2", "k2"), panics).expect_err("panicked");
    assert_eq!(broken.code(), "storage-failed");

    let seen = AllocationRequest { seen: Some("sha256:i".into()), ..request("Patient/2", "k2") };
    let second = store.allocate(seen, draw()).expect("allocated");
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
    // The list, and one a draw; what was refused was not signed.
    let signatures = store.signatures(None).expect("signatures");
    assert_eq!(signatures.len(), 3);
    for a in store.allocations("T").expect("allocations") {
        let signature = signatures.iter().find(|s| Some(s.id) == a.signature).expect("signed");
        assert_eq!(signature.signed.subject.as_ref(), Some(&a.subject));
        let bound = |e: &AuditEntry| e.entry.detail.contains(&signature.record_sha256);
        let entry = audited.iter().find(|e| e.entry.detail.contains(&a.id)).expect("audited");
        assert!(bound(entry), "{entry:?}");
    }
    assert!(store.verify().expect("verified").is_sound());
}

pub(crate) fn a_draw_sees_what_changed(store: &dyn Store) {
    ready_to_draw(store, 2, &["Patient/1"]);
    // What a check is given, without a draw.
    let seen = || {
        let (give, given) = std::sync::mpsc::channel();
        let check: Check = Box::new(move |snapshot, _| {
            give.send(snapshot.clone()).expect("the test waits");
            Err(Refusal { code: "looked".into(), text: "only looked".into() }.into())
        });
        assert_eq!(store.consider("T", "Patient/1", check).expect_err("only looked").code(), "looked");
        given.recv().expect("given")
    };
    assert_eq!((seen().dirty, seen().pending_inbox, seen().number), (false, 0, 1));
    let seq = store.accept(incoming("amended")).expect("accepted").seq;
    assert_eq!((seen().dirty, seen().pending_inbox), (false, 1));
    store.put_records(vec![record(seq, "o1", "2", "Patient/1", "x")], NOW).expect("stored");
    store.mark(seq, InboxState::Processed).expect("marked");
    assert_eq!((seen().dirty, seen().pending_inbox), (true, 0));
    let check: Check = Box::new(|s, _| match s.dirty {
        true => Err(Refusal { code: "stale-eligibility".into(), text: "screen again".into() }.into()),
        false => panic!("the change was not seen"),
    });
    let refused = store.allocate(request("Patient/1", "k"), check).expect_err("stale");
    assert_eq!(refused.code(), "stale-eligibility");

    assert!(!seen().closed && seen().signed.is_empty());
    store.put_allocation_event(said(EventKind::Closed, None, "{}")).expect("closed");
    let again = store.put_allocation_event(said(EventKind::Closed, None, "{}"));
    assert_eq!(again.expect_err("closed").code(), "already-closed");
    assert!(seen().closed);
    store.put_allocation_event(said(EventKind::Reopened, None, "{}")).expect("reopened");
    let again = store.put_allocation_event(said(EventKind::Reopened, None, "{}"));
    assert_eq!(again.expect_err("open").code(), "not-closed");
    let detail = r#"{"definition":"sha256:e","plan":"sha256:p"}"#;
    store.put_allocation_event(said(EventKind::DefinitionSigned, None, detail)).expect("signed");
    assert!(!seen().closed);
    let signed = SignedDefinition { definition: "sha256:e".into(), plan: "sha256:p".into() };
    assert_eq!(seen().signed, [signed]);

    assert_eq!(store.consider("T", "Patient/1", draw()), Ok(()));
    assert!(store.allocations("T").expect("allocations").is_empty(), "a dry run draws nothing");
    let debug = format!("{:?} {:?}", seen(), store.allocate(request("Patient/1", "k"), draw()));
    assert!(!debug.contains("sealed") && !debug.contains("Patient"), "{debug}");
    assert_eq!(store.consider("T", "Patient/1", draw()).expect_err("allocated").code(), "duplicate");
}

pub(crate) fn strata_are_lists_of_their_own(store: &dyn Store) {
    store.put_allocation_list(strata(4, &[3, 2])).expect("list");
    let names = ["a", "b", "c", "d", "e"].map(|n| format!("Patient/{n}"));
    for name in &names {
        store.put_decision(decision(name, "{}")).expect("decision");
    }
    let allocate = |n: usize, stratum| store.allocate(request(&names[n], &names[n]), draw_from(stratum));
    for (n, stratum, position) in [(0, 1, 1), (1, 0, 1), (2, 1, 2)] {
        let made = allocate(n, stratum).expect("allocated").allocation;
        assert_eq!((made.number, made.stratum, made.position), (n as i64 + 1, stratum, position));
        assert_eq!(made.leaf, format!("leaf of sealed {stratum}/{position}"));
        assert_eq!(made.levels, format!("{{\"site\":\"{stratum}\"}}"));
    }
    assert_eq!(allocate(3, 1).expect_err("its slots are used").code(), "list-exhausted");
    assert_eq!(allocate(3, 7).expect_err("no such stratum").code(), "list-exhausted");
    assert_eq!(allocate(3, 0).expect("allocated").allocation.number, 4);
    // The stratum has a slot left, but the planned number is reached.
    assert_eq!(allocate(4, 0).expect_err("the number is reached").code(), "list-exhausted");

    let (give, given) = std::sync::mpsc::channel();
    let look: Check = Box::new(move |_, desk| {
        give.send(desk.history()?).expect("the test waits");
        Err(Refusal { code: "looked".into(), text: "only looked".into() }.into())
    });
    assert_eq!(store.allocate(request(&names[4], "k"), look).expect_err("only looked").code(), "looked");
    let history = given.recv().expect("given");
    let sealed = |d: &PastDraw| (d.number, String::from_utf8(d.sealed.clone()).expect("text"));
    assert_eq!(
        history.iter().map(sealed).collect::<Vec<_>>(),
        [
            (1, "sealed 1/1".into()),
            (2, "sealed 0/1".into()),
            (3, "sealed 1/2".into()),
            (4, "sealed 0/2".into())
        ]
    );
    assert_eq!(store.draws("list-1", 3).expect("draws"), history[..2]);
    assert!(store.verify().expect("verified").is_sound());
}

pub(crate) fn a_check_cannot_take_another_slot(store: &dyn Store) {
    store.put_allocation_list(strata(4, &[2, 2])).expect("list");
    store.put_decision(decision("Patient/1", "{}")).expect("decision");
    let take = |stratum, position, leaf: &str| -> Check {
        let leaf = leaf.to_owned();
        let drawn = Drawn { stratum, position, leaf, proof: "[]".into(), levels: "{}".into() };
        Box::new(move |_, _| Ok(drawn))
    };
    for (stratum, position, leaf) in
        [(0, 2, "leaf"), (0, 0, "leaf"), (2, 1, "leaf"), (-1, 1, "leaf"), (0, 1, "")]
    {
        let refused = store.allocate(request("Patient/1", "k"), take(stratum, position, leaf));
        assert!(refused.is_err(), "{stratum}/{position} {leaf:?}");
    }
    assert!(store.allocations("T").expect("allocations").is_empty());
    assert_eq!(store.signatures(None).expect("signatures").len(), 1, "only that of the list");
    store.allocate(request("Patient/1", "k"), take(0, 1, "leaf")).expect("the next one");
}

pub(crate) fn what_is_said_is_signed_and_changes_nothing(store: &dyn Store) {
    ready_to_draw(store, 2, &["Patient/1", "Patient/2"]);
    let first = store.allocate(request("Patient/1", "k"), draw()).expect("allocated").allocation;
    let id = Some(first.id.as_str());
    for kind in [EventKind::MarkedInError, EventKind::StratumCorrected, EventKind::Unblinded] {
        assert!(store.put_allocation_event(said(kind, None, "{}")).is_err(), "{kind}: of whom?");
        let unknown = store.put_allocation_event(said(kind, Some("alloc-0"), "{}"));
        assert_eq!(unknown.expect_err("no such").code(), "not-found");
        let elsewhere = NewAllocationEvent { trial: "U".into(), ..said(kind, id, "{}") };
        assert_eq!(store.put_allocation_event(elsewhere).expect_err("of another trial").code(), "not-found");
        store.put_allocation_event(said(kind, id, r#"{"reason":"r"}"#)).expect("said");
    }
    let twice = store.put_allocation_event(said(EventKind::MarkedInError, id, "{}"));
    assert_eq!(twice.expect_err("marked").code(), "already-marked");
    store.put_allocation_event(said(EventKind::Unblinded, id, "{}")).expect("as often as it happens");
    assert!(store.put_allocation_event(said(EventKind::Closed, id, "{}")).is_err(), "closes a whole trial");

    let events = store.allocation_events("T").expect("events");
    let kinds: Vec<&str> = events.iter().map(|e| e.kind.word()).collect();
    assert_eq!(kinds, ["marked-in-error", "stratum-corrected", "unblinded", "unblinded"]);
    assert!(store.allocation_events("U").expect("events").is_empty());
    assert_eq!(store.allocation_of("T", "Patient/1").expect("read"), Some(first.clone()));
    let signatures = store.signatures(None).expect("signatures");
    assert_eq!(signatures.len(), 2 + events.len(), "what failed was not signed");
    let entries = store.audit_entries(3, 10).expect("audit");
    let said = entries.iter().filter(|e| !["decide", "allocate"].contains(&e.entry.action.as_str()));
    for (event, entry) in events.iter().zip(said) {
        let signature = signatures.iter().find(|s| s.id == event.signature).expect("signed");
        assert!(entry.entry.detail.contains(&signature.record_sha256), "{entry:?}");
    }
    let second = store.allocate(request("Patient/2", "k2"), draw()).expect("allocated");
    assert_eq!(second.allocation.position, 2, "the slot of an error stays used");

    let entries = || store.audit_entries(0, 100).expect("audit").len();
    let before = entries();
    assert_eq!(store.note_told(&first.id, audit("arm.disclose")), Ok(true));
    assert_eq!(store.note_told(&first.id, audit("arm.disclose")), Ok(false));
    assert!(store.note_told("alloc-0", audit("arm.disclose")).is_err());
    assert_eq!(entries(), before + 1);
    assert!(store.verify().expect("verified").is_sound());
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
                    assert!(store.allocate(request(subject, subject), refuse("no")).is_err());
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
        assert_eq!(a.leaf, format!("leaf of sealed 0/{}", a.position), "each got the slot of its position");
    }
    assert_eq!(allocations.iter().map(|a| &a.subject).collect::<BTreeSet<_>>().len(), 92);
    let refused: Vec<_> = outcomes.iter().filter_map(|o| o.as_ref().err()).map(|e| e.code()).collect();
    assert_eq!(refused, ["list-exhausted"; 4]);
    assert!(store.verify().expect("verified").is_sound());
}
