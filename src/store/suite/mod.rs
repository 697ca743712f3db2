//! What every store must do, whatever it is built on. A store joins with `store_suite!(constructor)`;
//! the constructor makes an empty store with [`PlainChain`].

use super::*;
use sha2::{Digest, Sha256};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

mod draws;
mod subscriptions;
pub(crate) use draws::*;
pub(crate) use subscriptions::*;

/// A store under test, and what must outlive it.
pub(crate) struct Fixture {
    pub store: Box<dyn Store>,
    pub _keep: Box<dyn Any>,
}

/// A chain for tests: SHA-256 over the hash before and the entry.
pub(crate) struct PlainChain;

impl Chain for PlainChain {
    fn next(&self, previous: Option<(u64, &str)>, entry: &NewAudit) -> (u64, String, String) {
        let (sequence, before) = previous.map_or((1, ""), |(n, hash)| (n + 1, hash));
        let text = format!("{sequence} {before} {entry:?}");
        let hash = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        (sequence, hash, before.to_owned())
    }
    fn anchor(&self) -> Option<&dyn Anchor> {
        None
    }
}

pub(crate) const NOW: &str = "2026-11-22T08:00:00Z";
const LATER: &str = "2026-11-22T09:00:00Z";

pub(crate) fn incoming(text: &str) -> Incoming {
    Incoming {
        origin: "push".into(),
        source: "http://127.0.0.1/fhir".into(),
        media_type: "application/fhir+json".into(),
        bytes: text.into(),
        received_at: NOW.into(),
        key: None,
    }
}

pub(crate) fn audit(action: &str) -> NewAudit {
    NewAudit {
        at: NOW.into(),
        actor: "dr-li".into(),
        role: "investigator".into(),
        action: action.into(),
        subject: None,
        detail: "{}".into(),
    }
}

/// `version`: "" for none. `content` is the body.
fn record(inbox_seq: i64, id: &str, version: &str, subject: &str, content: &str) -> NewRecord {
    NewRecord {
        identity: Identity::default(),
        key: RecordKey { source: "s".into(), resource_type: "Observation".into(), id: id.into() },
        version_id: (!version.is_empty()).then(|| version.into()),
        last_updated: None,
        subject: Some(subject.into()),
        deleted: content.is_empty(),
        inbox_seq,
        path: "Bundle.entry[0]".into(),
        body: content.into(),
    }
}

pub(crate) fn decision(subject: &str, json: &str) -> NewDecision {
    NewDecision {
        subject: subject.into(),
        as_of: "2026-11-22".into(),
        decided_at: NOW.into(),
        decision: "eligible".into(),
        deciding: vec!["I1".into(), "E6".into()],
        definition: "sha256:d".into(),
        input: "sha256:i".into(),
        json: json.into(),
        facts: vec![],
        gaps: vec![],
        change: None,
        records: 0,
        reads: Vec::new(),
        outbox: vec![],
    }
}

fn dirty_names(store: &dyn Store) -> Vec<String> {
    store.dirty(100).expect("dirty").into_iter().map(|d| d.subject).collect()
}

/// Decides every dirty subject, as the pipeline does.
fn settle_dirty(store: &dyn Store) {
    for dirty in store.dirty(100).expect("dirty") {
        let decided = NewDecision { change: Some(dirty.change), ..decision(&dirty.subject, "{}") };
        store.put_decision(decided).expect("decision");
    }
}

pub(crate) fn an_arrival_is_kept_once(store: &dyn Store) {
    let first = store.accept(incoming("a")).expect("accepted");
    assert!(first.first);
    assert_eq!(first.sha256, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
    let again = store.accept(Incoming { received_at: LATER.into(), ..incoming("a") }).expect("accepted");
    assert_eq!(again, Receipt { first: false, ..first.clone() }, "the receipt of the first arrival");
    let elsewhere = store.accept(Incoming { source: "file".into(), ..incoming("a") }).expect("accepted");
    assert!(elsewhere.first, "another source is another arrival");

    let many = store.accept_many(vec![incoming("b"), incoming("a"), incoming("b")]).expect("accepted");
    assert_eq!(many.iter().map(|r| r.first).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!((many[1].seq, many[2].seq), (first.seq, many[0].seq));

    let item = store.inbox_item(first.seq).expect("there");
    assert_eq!((item.bytes, item.media_type.as_str()), (b"a".to_vec(), "application/fhir+json"));
    assert_eq!(store.inbox_item(99).expect_err("not there").code(), "not-found");
}

pub(crate) fn the_inbox_is_a_queue(store: &dyn Store) {
    let seqs: Vec<i64> =
        ["a", "b", "c"].map(|text| store.accept(incoming(text)).expect("accepted").seq).to_vec();
    let pending = |limit| store.pending(limit).expect("pending").iter().map(|i| i.seq).collect::<Vec<_>>();
    assert_eq!(pending(10), seqs);
    assert_eq!(pending(2), seqs[..2]);
    store.mark(seqs[0], InboxState::Processed).expect("marked");
    store.mark(seqs[1], InboxState::Quarantined).expect("marked");
    assert_eq!(pending(10), seqs[2..]);
    assert_eq!(store.inbox_item(seqs[0]).expect("there").attempts, 1);
    let counts = InboxCounts { pending: 1, processed: 1, quarantined: 1 };
    assert_eq!(store.count_by_state(), Ok(counts));
    assert_eq!(store.mark(99, InboxState::Processed).expect_err("not there").code(), "not-found");
    assert_eq!(store.count_by_state(), Ok(counts));
}

pub(crate) fn the_newest_version_stands(store: &dyn Store) {
    let seq = store.accept(incoming("bundle")).expect("accepted").seq;
    let put = |version: &str, content: &str| {
        let fates = store.put_records(vec![record(seq, "o1", version, "Patient/1", content)], NOW);
        let stands = store.records_of("Patient/1").expect("records").remove(0);
        (fates.expect("stored")[0], stands.state, String::from_utf8(stands.body).expect("text"))
    };
    use RecordState::*;
    #[rustfmt::skip]
    let story = [
        // version, content     fate             state     stands
        ("2",  "two",          (Fate::New,       Current,  "two")),
        ("2",  "two",          (Fate::Same,      Current,  "two")),
        ("1",  "one",          (Fate::Older,     Current,  "two")),
        ("10", "ten",          (Fate::Newer,     Current,  "ten")),
        ("10", "other ten",    (Fate::Conflict,  Conflict, "other ten")),
        ("10", "ten",          (Fate::Same,      Conflict, "other ten")),
        ("11", "",             (Fate::Newer,     Deleted,  "")),
        ("12", "back",         (Fate::Newer,     Current,  "back")),
    ];
    for (version, content, (fate, state, stands)) in story {
        let (got_fate, got_state, body) = put(version, content);
        assert_eq!((got_fate, got_state), (fate, state), "after version {version} `{content}`");
        // Which of two contenders is shown is settled by their hashes, not by us.
        if state != Conflict {
            assert_eq!(body, stands);
        }
    }
    let key = record(seq, "o1", "", "", "").key;
    assert_eq!(store.record_history(&key).expect("history").len(), 6, "every version is kept once");
    assert_eq!(store.records_by_ids(&[key.clone(), key]).expect("records").len(), 1);
    let unknown = store.put_records(vec![record(99, "o2", "1", "Patient/1", "x")], NOW);
    assert_eq!(unknown.expect_err("no such inbox row").code(), "not-found");
}

pub(crate) fn records_come_out_in_order(store: &dyn Store) {
    let seq = store.accept(incoming("bundle")).expect("accepted").seq;
    let records = ["o3", "o1", "o2"].map(|id| record(seq, id, "1", "Patient/1", id));
    store.put_records(records.to_vec(), NOW).expect("stored");
    store.put_records(vec![record(seq, "o0", "1", "Patient/2", "x")], NOW).expect("stored");
    let ids = |subject| {
        let records = store.records_of(subject).expect("records");
        records.into_iter().map(|r| r.key.id).collect::<Vec<_>>()
    };
    assert_eq!(ids("Patient/1"), ["o1", "o2", "o3"]);
    assert_eq!(ids("Patient/2"), ["o0"]);
    assert_eq!(ids("Patient/3"), [] as [&str; 0]);
    assert_eq!(store.subjects(), Ok(vec!["Patient/1".to_owned(), "Patient/2".to_owned()]));
}

pub(crate) fn only_a_change_marks_a_subject(store: &dyn Store) {
    let seq = store.accept(incoming("bundle")).expect("accepted").seq;
    let put = |version: &str, subject: &str, content: &str| {
        store.put_records(vec![record(seq, "o1", version, subject, content)], NOW).expect("stored");
    };
    let none: [&str; 0] = [];
    put("2", "Patient/1", "two");
    assert_eq!(dirty_names(store), ["Patient/1"]);
    settle_dirty(store);
    put("2", "Patient/1", "two");
    put("1", "Patient/1", "one");
    assert_eq!(dirty_names(store), none, "neither a repetition nor an older version changes anything");
    put("3", "Patient/2", "moved");
    assert_eq!(dirty_names(store), ["Patient/1", "Patient/2"], "the one it left and the one it came to");
    assert!(store.records_of("Patient/1").expect("records").is_empty());
    settle_dirty(store);
    put("3", "Patient/3", "moved elsewhere");
    assert_eq!(dirty_names(store), ["Patient/1", "Patient/2", "Patient/3"]);
    for contender in ["Patient/2", "Patient/3"] {
        let records = store.records_of(contender).expect("records");
        assert!(records.len() == 1 && !records[0].is_usable(), "{contender} sees the conflict");
        assert_eq!(records[0].key.id, "o1");
        assert!(!records[0].body.is_empty());
    }
    settle_dirty(store);
    put("4", "Patient/3", "settled");
    assert!(dirty_names(store).contains(&"Patient/2".to_owned()), "a conflict that ends concerns both");
    assert!(store.records_of("Patient/2").expect("records").is_empty());
    assert!(store.records_of("Patient/3").expect("records")[0].is_usable());
}

pub(crate) fn a_change_during_a_decision_is_not_lost(store: &dyn Store) {
    store.mark_dirty(vec!["Patient/1".into()], NOW).expect("marked");
    let read = store.dirty(10).expect("dirty").remove(0);
    store.mark_dirty(vec!["Patient/1".into()], LATER).expect("marked again");
    let decided = |change| NewDecision { change: Some(change), ..decision("Patient/1", "{}") };
    store.put_decision(decided(read.change)).expect("decided");
    let left = store.dirty(10).expect("dirty").remove(0);
    assert_eq!((left.since.as_str(), left.change > read.change), (NOW, true));
    store.put_decision(decided(left.change)).expect("decided");
    assert!(store.dirty(10).expect("dirty").is_empty());
}

pub(crate) fn quarantine_keeps_bytes_until_a_person_comes(store: &dyn Store) {
    let seq = store.accept(incoming("bundle")).expect("accepted").seq;
    let entry = |path: &str, bytes: Option<&str>| NewQuarantine {
        inbox_seq: seq,
        reason: "unit-missing".into(),
        path: path.into(),
        bytes: bytes.map(Into::into),
        at: NOW.into(),
    };
    let ids = store.quarantine(vec![entry("entry[0]", Some("a")), entry("", None)]).expect("kept");
    assert_eq!(store.quarantine(vec![entry("entry[0]", Some("a"))]), Ok(vec![ids[0]]), "kept once");
    let whole = store.quarantine_item(ids[1]).expect("there");
    assert_eq!(whole.sha256, store.inbox_item(seq).expect("there").sha256);
    assert_eq!(store.quarantine_list(Some(QuarantineState::Open), 10).expect("list").len(), 2);

    store.resolve_quarantine(ids[0], audit("resolve")).expect("resolved");
    let open = store.quarantine_list(Some(QuarantineState::Open), 10).expect("list");
    assert_eq!(open.iter().map(|q| q.id).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(store.quarantine_list(None, 1).expect("list").len(), 1);
    let again = store.resolve_quarantine(ids[0], audit("resolve"));
    assert_eq!(again.expect_err("resolved already").code(), "already-resolved");
    assert_eq!(store.resolve_quarantine(99, audit("resolve")).expect_err("no such").code(), "not-found");
    assert_eq!(store.audit_entries(0, 10).expect("audit").len(), 1, "what failed left no audit entry");
}

pub(crate) fn a_settlement_is_all_or_nothing(store: &dyn Store) {
    let seq = store.accept(incoming("bundle")).expect("accepted").seq;
    let settlement = |quarantined_in| Settlement {
        seq,
        state: InboxState::Processed,
        records: vec![record(seq, "o1", "1", "Patient/1", "x")],
        quarantine: vec![NewQuarantine {
            inbox_seq: quarantined_in,
            reason: "unit-missing".into(),
            path: "entry[1]".into(),
            bytes: None,
            at: NOW.into(),
        }],
        at: NOW.into(),
    };
    assert_eq!(store.settle(vec![settlement(99)]).expect_err("no such inbox row").code(), "not-found");
    assert!(store.records_of("Patient/1").expect("records").is_empty());
    assert_eq!(store.count_by_state().expect("counts").pending, 1);
    assert_eq!(store.settle(vec![settlement(seq)]), Ok(vec![vec![Fate::New]]));
    assert_eq!(store.count_by_state().expect("counts").processed, 1);
    assert_eq!(store.quarantine_list(None, 10).expect("list").len(), 1);
}

pub(crate) fn a_decision_is_appended_when_it_changes(store: &dyn Store) {
    let fact = |value: &str| FactRow {
        variable: "bilirubin_total".into(),
        value: value.into(),
        unit: Some("mg/dL".into()),
        effective: None,
        source: "Observation/o1/_history/2".into(),
        received: Some("54.7".into()),
        received_unit: Some("umol/L".into()),
    };
    let gap = GapRow { reference: "Observation/o9".into(), reason: "unit-unknown".into(), path: "v".into() };
    let first = NewDecision {
        facts: vec![fact("3.2"), fact("3.20")],
        gaps: vec![gap.clone()],
        outbox: vec![NewOutbox { kind: "score".into(), subject: "Patient/1".into(), created_at: NOW.into() }],
        ..decision("Patient/1", "{1}")
    };
    assert_eq!(store.put_decision(first.clone()), Ok(true));
    assert_eq!(store.facts("Patient/1"), Ok(vec![fact("3.2"), fact("3.20")]), "digits are kept");
    assert_eq!(store.gaps("Patient/1"), Ok(vec![gap]));
    assert_eq!(store.put_decision(NewDecision { decided_at: LATER.into(), ..first.clone() }), Ok(false));
    assert_eq!(store.audit_entries(0, 10).expect("audit").len(), 1);
    assert_eq!(store.outbox(None, 10).expect("outbox").len(), 1);

    for other in [
        NewDecision { json: "{2}".into(), ..first.clone() },
        NewDecision { input: "sha256:j".into(), ..first.clone() },
        NewDecision { definition: "sha256:e".into(), ..first.clone() },
        // Back to what it was before is a change again.
        NewDecision { facts: vec![], gaps: vec![], ..first },
    ] {
        assert_eq!(store.put_decision(other), Ok(true));
    }
    assert!(store.facts("Patient/1").expect("facts").is_empty());
    assert!(store.gaps("Patient/1").expect("gaps").is_empty());
    store.put_decision(decision("Patient/0", "{}")).expect("decided");
    let history = store.decision_history("Patient/1").expect("history");
    assert_eq!(history.len(), 5);
    assert_eq!(history[0].deciding, ["I1", "E6"]);
    let latest = store.latest_decisions().expect("decisions");
    assert_eq!(latest.iter().map(|d| d.subject.as_str()).collect::<Vec<_>>(), ["Patient/0", "Patient/1"]);
    assert_eq!(store.latest_decision("Patient/1").expect("decision").as_ref(), history.last());
    assert_eq!(store.latest_decision("Patient/9"), Ok(None));
}

pub(crate) fn the_outbox_remembers_attempts(store: &dyn Store) {
    let item = |subject: &str| NewOutbox {
        kind: "research-subject".into(),
        subject: subject.into(),
        created_at: NOW.into(),
    };
    let ids = store.enqueue(vec![item("Patient/1"), item("Patient/2")]).expect("queued");
    let again = OutboxOutcome::TryAgain { error: "503".into() };
    store.settle_outbox(ids[0], again, None).expect("settled");
    let pending = store.outbox(Some(OutboxState::Pending), 10).expect("outbox");
    assert_eq!((pending[0].attempts, pending[0].last_error.as_deref()), (1, Some("503")));
    let done = OutboxOutcome::Done { at: LATER.into() };
    store.settle_outbox(ids[0], done.clone(), Some(audit("write-back"))).expect("settled");
    let human = OutboxOutcome::NeedsHuman { error: "two ResearchSubjects".into() };
    store.settle_outbox(ids[1], human, None).expect("settled");
    let all = store.outbox(None, 10).expect("outbox");
    assert_eq!((all[0].state, all[0].attempts), (OutboxState::Done, 2));
    assert_eq!((all[0].last_error.as_deref(), all[0].done_at.as_deref()), (None, Some(LATER)));
    assert_eq!(all[1].state, OutboxState::NeedsHuman);
    assert!(store.outbox(Some(OutboxState::Pending), 10).expect("outbox").is_empty());
    let unknown = store.settle_outbox(99, done, Some(audit("write-back")));
    assert_eq!(unknown.expect_err("no such").code(), "not-found");
    assert_eq!(store.audit_entries(0, 10).expect("audit").len(), 1);
}

pub(crate) fn small_facts_are_replaced(store: &dyn Store) {
    assert_eq!(store.cursor("pull"), Ok(None));
    for value in ["1", "2"] {
        store.set_cursor("pull", value).expect("set");
    }
    store.set_meta("pull", "other table").expect("set");
    assert_eq!(store.cursor("pull"), Ok(Some("2".into())));
    assert_eq!(store.meta("pull"), Ok(Some("other table".into())));

    let known = |remote: &str, etag: Option<&str>| KnownId {
        server: "s".into(),
        kind: "ResearchSubject".into(),
        key: "Patient/1".into(),
        remote_id: remote.into(),
        etag: etag.map(Into::into),
    };
    store.put_known_id(known("7", Some("W/\"1\""))).expect("put");
    store.put_known_id(known("8", None)).expect("put");
    assert_eq!(store.known_id("s", "ResearchSubject", "Patient/1"), Ok(Some(known("8", None))));
    assert_eq!(store.known_id("t", "ResearchSubject", "Patient/1"), Ok(None));
    assert_eq!(store.known_ids("s"), Ok(vec![known("8", None)]));
}

pub(crate) fn the_audit_is_a_chain(store: &dyn Store) {
    assert_eq!(store.audit_head(), Ok(None));
    for action in ["start", "attest", "stop"] {
        store.append_audit(audit(action)).expect("appended");
    }
    let entries = store.audit_entries(0, 10).expect("audit");
    assert_eq!(entries.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    for pair in entries.windows(2) {
        assert_eq!(pair[1].previous, pair[0].hash);
    }
    assert_eq!(store.audit_head().expect("head").as_ref(), entries.last());
    assert_eq!(store.audit_entries(2, 1), Ok(vec![entries[1].clone()]));
    assert_eq!(store.audit_entries(u64::MAX, 1), Ok(vec![]));
}

pub(crate) fn concurrent_arrivals_are_all_kept(store: &dyn Store) {
    let receipts: Vec<Receipt> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|thread| {
                scope.spawn(move || {
                    // Every body comes from two threads.
                    let text = |n: i32| incoming(&format!("{} {n}", thread / 2));
                    (0..50).map(|n| store.accept(text(n)).expect("accepted")).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect()
    });
    assert_eq!(receipts.len(), 64 * 50);
    let distinct: BTreeMap<&str, i64> = receipts.iter().map(|r| (r.sha256.as_str(), r.seq)).collect();
    assert_eq!(distinct.len(), 32 * 50);
    assert!(receipts.iter().all(|r| distinct[r.sha256.as_str()] == r.seq), "one receipt a body");
    assert_eq!(receipts.iter().filter(|r| r.first).count(), 32 * 50);
    assert_eq!(store.count_by_state().expect("counts").pending, 32 * 50);
    assert!(store.verify().expect("verified").is_sound());
}

pub(crate) fn a_replay_ends_where_it_was(store: &dyn Store) {
    let seqs = ["a", "b"].map(|text| store.accept(incoming(text)).expect("accepted").seq);
    let look_into = || {
        for item in store.pending(10).expect("pending") {
            let (version, id) = if item.seq == seqs[0] { ("2", "o1") } else { ("1", "o1") };
            let text = String::from_utf8(item.bytes).expect("text");
            let settlement = Settlement {
                seq: item.seq,
                state: InboxState::Processed,
                records: vec![record(item.seq, id, version, "Patient/1", &text)],
                quarantine: vec![NewQuarantine {
                    inbox_seq: item.seq,
                    reason: "unit-missing".into(),
                    path: "entry[1]".into(),
                    bytes: None,
                    at: NOW.into(),
                }],
                at: NOW.into(),
            };
            store.settle(vec![settlement]).expect("settled");
        }
        settle_dirty(store);
        let quarantine = store.quarantine_list(None, 10).expect("list");
        let places: Vec<_> = quarantine.into_iter().map(|q| (q.inbox_seq, q.path, q.state)).collect();
        (
            store.records_of("Patient/1").expect("records"),
            store.decision_history("Patient/1").expect("decisions"),
            places.into_iter().collect::<BTreeSet<_>>(),
        )
    };
    let first = look_into();
    let resolved = store.quarantine_list(None, 1).expect("list")[0].id;
    store.resolve_quarantine(resolved, audit("resolve")).expect("resolved");
    store.append_audit(audit("start")).expect("appended");

    assert_eq!(store.replay_all(audit("replay")), Ok(2));
    assert_eq!(store.count_by_state().expect("counts").pending, 2);
    assert!(store.records_of("Patient/1").expect("records").is_empty());
    assert_eq!(dirty_names(store), ["Patient/1"], "a decided subject is decided again");
    let actions = store.audit_entries(0, 10).expect("audit").into_iter().map(|e| e.entry.action);
    assert_eq!(actions.collect::<Vec<_>>(), ["decide", "resolve", "start", "replay"]);

    let second = look_into();
    assert_eq!(second.0, first.0);
    assert_eq!(second.1, first.1, "the same decision is not appended again");
    let open = |of: &BTreeSet<(i64, String, QuarantineState)>| {
        of.iter().filter(|q| q.2 == QuarantineState::Open).count()
    };
    assert_eq!((open(&first.2), open(&second.2)), (2, 1), "what a person resolved stays resolved");
    assert!(store.verify().expect("verified").is_sound());
}

pub(crate) fn the_order_of_arrival_does_not_matter(store: &dyn Store) {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    let seqs: Vec<i64> =
        (0..3).map(|n| store.accept(incoming(&n.to_string())).expect("accepted").seq).collect();
    let first = seqs[0];
    let any_record = (
        prop::sample::select(vec!["o1", "o2"]),
        prop::sample::select(vec!["", "1", "2", "3"]),
        prop::sample::select(vec![None, Some("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z")]),
        prop::sample::select(vec!["Patient/1", "Patient/2"]),
        prop::sample::select(vec!["", "x", "y"]),
        prop::sample::select(seqs),
    )
        .prop_map(|(id, version, updated, subject, content, seq)| NewRecord {
            last_updated: updated.map(Into::into),
            ..record(seq, id, version, subject, content)
        });
    // Every version comes a second time, in the first inbox row: where it came first must not depend
    // on which row was looked into first either.
    let twice = move |mut records: Vec<NewRecord>| {
        let again = records.clone().into_iter().map(|r| NewRecord { inbox_seq: first, ..r });
        records.extend(again);
        records
    };
    let two_orders = prop::collection::vec(any_record, 1..6)
        .prop_map(twice)
        .prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle(), 1..4_usize));
    let case = std::cell::Cell::new(0);
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&two_orders, |(records, shuffled, portion)| {
            case.set(case.get() + 1);
            // Two sources never meet, so that one store holds both orders of every case.
            let ends = |records: Vec<NewRecord>, order: &str| {
                let source = format!("case {} {order}", case.get());
                let named =
                    |r: NewRecord| NewRecord { key: RecordKey { source: source.clone(), ..r.key }, ..r };
                let records: Vec<NewRecord> = records.into_iter().map(named).collect();
                for some in records.chunks(portion) {
                    store.put_records(some.to_vec(), NOW).expect("stored");
                }
                let keys: Vec<RecordKey> = records.into_iter().map(|r| r.key).collect();
                let mut rows = store.records_by_ids(&keys).expect("records");
                rows.iter_mut().for_each(|r| r.key.source.clear());
                rows
            };
            prop_assert_eq!(ends(records, "as given"), ends(shuffled, "shuffled"));
            Ok(())
        })
        .expect("any order ends in the same records");
    assert!(store.verify().expect("verified").is_sound());
}

/// The suite as tests of one store.
macro_rules! store_suite {
    ($constructor:path) => {
        $crate::store::suite::store_suite! { $constructor;
            an_arrival_is_kept_once
            the_inbox_is_a_queue
            the_newest_version_stands
            records_come_out_in_order
            only_a_change_marks_a_subject
            a_change_during_a_decision_is_not_lost
            quarantine_keeps_bytes_until_a_person_comes
            a_settlement_is_all_or_nothing
            a_decision_is_appended_when_it_changes
            a_trial_has_one_list
            a_draw_happens_once
            a_draw_sees_what_changed
            strata_are_lists_of_their_own
            a_check_cannot_take_another_slot
            what_is_said_is_signed_and_changes_nothing
            one_participant_many_callers
            many_participants_take_the_list_in_order
            the_outbox_remembers_attempts
            small_facts_are_replaced
            the_audit_is_a_chain
            concurrent_arrivals_are_all_kept
            a_replay_ends_where_it_was
            the_order_of_arrival_does_not_matter
            what_is_set_aside_is_never_worked_on
            notifications_are_counted_once_in_any_order
            a_server_that_counts_anew_is_never_believed_silently
            what_has_to_be_read_is_not_forgotten
            a_deleted_subscription_stays_deleted
        }
    };
    ($constructor:path; $($case:ident)+) => {
        $(
            #[test]
            fn $case() {
                let fixture: $crate::store::suite::Fixture = $constructor();
                $crate::store::suite::$case(fixture.store.as_ref());
            }
        )+
    };
}
pub(crate) use store_suite;
