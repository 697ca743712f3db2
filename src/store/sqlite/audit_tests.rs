//! The audit log and its anchor: what is written out, what is found, what it blocks, and how it goes on.

use super::super::anchor::MemoryAnchor;
use super::super::suite::{NOW, audit, decision, draw, incoming, list, request};
use super::super::{Anchor, AnchorFault, AnchorHead, AuditChain, FileAnchor};
use super::*;
use crate::audit::anchor::ACCEPT;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;
use tempfile::TempDir;

/// A data directory, and an anchor that outlives its store.
struct Place {
    dir: TempDir,
    anchor: Arc<MemoryAnchor>,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().expect("a folder"), anchor: Arc::default() }
    }

    fn open(&self) -> SqliteStore {
        self.open_at(NOW)
    }

    fn open_at(&self, now: &str) -> SqliteStore {
        let chain = Arc::new(AuditChain::anchored(self.anchor.clone()));
        SqliteStore::open(&self.dir.path().join("data"), "trialbridge test", now, chain).expect("opened")
    }

    /// As somebody would who has the database and knows SQL: rules that stand in the way are taken away.
    fn by_hand(&self, sql: &str) {
        let c = Connection::open(self.dir.path().join("data").join(DATABASE)).expect("opened");
        let mut statement = c
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name IN ('audit', 'decision', 'allocation')")
            .expect("sql");
        let names = statement.query_map([], |r| r.get::<_, String>(0)).expect("sql");
        let names: Vec<String> = names.map(|n| n.expect("a name")).collect();
        drop(statement);
        c.execute_batch("PRAGMA foreign_keys = OFF").expect("set");
        for name in names {
            c.execute_batch(&format!("DROP TRIGGER {name}")).expect("dropped");
        }
        c.execute_batch(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    fn lines(&self) -> Vec<(u64, bool)> {
        let heads = self.anchor.heads.lock().expect("no panic");
        heads.iter().map(|(head, durable)| (head.sequence, *durable)).collect()
    }
}

fn by(role: &str, action: &str) -> NewAudit {
    NewAudit { role: role.into(), ..audit(action) }
}

/// A list, three subjects with decisions, one of them randomized, and some talk: twenty entries.
fn history(store: &SqliteStore) {
    store.put_allocation_list(list(5)).expect("a list");
    for n in 1..=3 {
        store.put_decision(decision(&format!("Patient/{n}"), "{}")).expect("a decision");
    }
    store.allocate(request("Patient/1", "k1"), draw()).expect("allocated");
    for n in 6..=20 {
        store.append_audit(audit(&format!("talk {n}"))).expect("appended");
    }
}

fn refused(store: &SqliteStore) -> Option<String> {
    let drawn = store.allocate(request("Patient/2", "k2"), draw());
    let considered = store.consider("T", "Patient/2", draw());
    match (drawn, considered) {
        (Ok(_), _) => None,
        (Err(error), Err(also)) => {
            assert_eq!(error.code(), also.code(), "a dry run says the same");
            Some(error.code().to_owned())
        }
        (Err(error), Ok(_)) => panic!("a dry run would have drawn: {error}"),
    }
}

fn checks(store: &SqliteStore) -> Vec<&'static str> {
    let mut found: Vec<_> = store.verify().expect("verified").findings.iter().map(|f| f.check).collect();
    found.dedup();
    found
}

#[test]
fn every_commit_is_written_out_and_only_a_person_waits_for_the_disk() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(place.lines(), [(0, true)], "the place is made with the log");
    store.accept(incoming("a")).expect("accepted");
    assert_eq!(place.lines(), [(0, true)], "nothing was appended");
    store.put_decision(decision("Patient/1", "{}")).expect("a decision");
    store.append_audit(by("service", "pull")).expect("appended");
    store.append_audit(by("coordinator", "consent.record")).expect("appended");
    assert_eq!(place.lines(), [(0, true), (1, false), (2, false), (3, true)]);
    let refused = store.resolve_quarantine(99, audit("quarantine.resolve"));
    assert!(refused.is_err());
    assert_eq!(place.lines().len(), 4, "what was undone is written nowhere");
    let head = store.audit_head().expect("read").expect("a head");
    let stands = store.audit_anchor().expect("compared");
    assert_eq!((stands.fault, stands.last.map(|l| l.hash)), (None, Some(head.hash)));
}

#[test]
fn what_is_done_to_the_log_is_found_and_blocks_randomization() {
    const AGAIN: &str = "INSERT INTO audit SELECT sequence + 1, at, actor, role, action, subject, detail, previous, 'x' FROM audit WHERE sequence = 20";
    const SWAP: &str =
        "UPDATE audit SET sequence = -1 WHERE sequence = 7; UPDATE audit SET sequence = 7 WHERE sequence = 8;
                        UPDATE audit SET sequence = 8 WHERE sequence = -1";
    #[rustfmt::skip]
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("the last ten are deleted",   "DELETE FROM audit WHERE sequence > 10",                    "audit-unanchored", &["audit-anchor"]),
        ("all of it is deleted",       "DELETE FROM audit",                                        "audit-unanchored", &["audit-covers", "audit-anchor"]),
        ("one in the middle",          "DELETE FROM audit WHERE sequence = 9",                     "audit-broken",     &["audit-chain"]),
        ("two are swapped",            SWAP,                                                       "audit-broken",     &["audit-chain"]),
        ("one is put in twice",        AGAIN,                                                      "audit-broken",     &["audit-chain"]),
        ("one is put in before",       "INSERT INTO audit SELECT -5, at, actor, role, action, subject, detail, previous, 'x' FROM audit WHERE sequence = 20",
                                                                                                   "corrupt",          &["audit-chain", "audit-covers"]),
        ("a time",                     "UPDATE audit SET at = replace(at, '08:', '09:') WHERE sequence = 9",       "audit-broken", &["audit-chain"]),
        ("an actor",                   "UPDATE audit SET actor = 'dr-lj' WHERE sequence = 9",                     "audit-broken", &["audit-chain"]),
        ("a role",                     "UPDATE audit SET role = 'investigatoR' WHERE sequence = 9",               "audit-broken", &["audit-chain"]),
        ("an action",                  "UPDATE audit SET action = 'talk 8' WHERE sequence = 9",                   "audit-broken", &["audit-chain"]),
        ("a subject",                  "UPDATE audit SET subject = '' WHERE sequence = 9",                        "audit-broken", &["audit-chain"]),
        ("a blank in the detail",      "UPDATE audit SET detail = '{ }' WHERE sequence = 9",                      "audit-broken", &["audit-chain"]),
        ("a link",                     "UPDATE audit SET previous = replace(previous, 'a', 'b') WHERE sequence = 9", "audit-broken", &["audit-chain"]),
        ("a hash",                     "UPDATE audit SET hash = replace(hash, 'a', 'b') WHERE sequence = 9",      "audit-broken", &["audit-chain"]),
        ("the last hash",              "UPDATE audit SET hash = replace(hash, 'a', 'b') WHERE sequence = 20",     "audit-broken", &["audit-chain", "audit-anchor"]),
    ];
    for (what, sql, code, found) in table {
        let place = Place::new();
        history(&place.open());
        place.by_hand(sql);
        let store = place.open();
        assert_eq!(checks(&store), **found, "{what}");
        assert_eq!(refused(&store).as_deref(), Some(*code), "{what}");
        // Everything else goes on, and nothing of it is written over what is known outside.
        store.accept(incoming("a")).expect("accepted");
        let again = store.allocate(request("Patient/1", "k1"), draw()).expect("told again");
        assert!(again.replayed, "{what}");
    }
}

#[test]
fn a_log_that_was_replaced_by_one_good_in_itself_is_found() {
    let (place, other) = (Place::new(), Place::new());
    history(&place.open());
    // Another installation wrote as many entries, and its whole database is put in place of ours.
    {
        let store = other.open();
        store.append_audit(audit("another beginning")).expect("appended");
        history(&store);
    }
    let from = other.dir.path().join("data").join(DATABASE);
    fs::copy(from, place.dir.path().join("data").join(DATABASE)).expect("copied");
    let store = place.open();
    assert_eq!(store.audit_anchor().expect("compared").fault, Some(AnchorFault::Forked));
    assert_eq!(checks(&store), ["audit-anchor"], "the chain is good in itself");
    assert_eq!(refused(&store).as_deref(), Some("audit-unanchored"));
    let lines = place.lines();
    store.append_audit(audit("going on")).expect("everything else goes on");
    assert_eq!(place.lines(), lines, "a fork is never written over what is known");
}

#[test]
fn an_older_copy_allocates_only_after_somebody_signed_for_it() {
    let place = Place::new();
    let copy = place.dir.path().join("copy.db");
    let lost;
    {
        let store = place.open();
        history(&store);
        store.backup(&copy).expect("copied");
        lost = store.append_audit(audit("after the copy")).expect("appended");
    }
    fs::copy(&copy, place.dir.path().join("data").join(DATABASE)).expect("restored");
    let store = place.open();
    assert_eq!(store.audit_anchor().expect("compared").fault, Some(AnchorFault::CutOff));
    assert_eq!(refused(&store).as_deref(), Some("audit-unanchored"));
    let signed = NewAudit { detail: r#"{"reason":"disk lost"}"#.into(), ..audit(ACCEPT) };
    let accepted = store.accept_audit(signed.clone()).expect("accepted");
    let detail: BTreeMap<String, String> = serde_json::from_str(&accepted.entry.detail).expect("a map");
    assert_eq!(detail["reason"], "disk lost");
    assert_eq!(detail["fault"], "audit-cut-off");
    assert_eq!(detail["before"], format!("{} {}", lost.sequence, lost.hash), "what was lost is told");
    assert!(detail["after"].starts_with("20 sha256:"), "{detail:?}");
    assert_eq!(store.audit_anchor().expect("compared").fault, None);
    assert_eq!(place.lines().last(), Some(&(accepted.sequence, true)));
    assert_eq!(checks(&store), [] as [&str; 0]);
    let nothing = store.accept_audit(signed).expect_err("there is nothing left");
    assert_eq!(nothing.code(), "nothing-to-accept");
    assert_eq!(refused(&store), None);
    drop(store);
    assert_eq!(place.open().audit_anchor().expect("compared").fault, None, "also after a restart");
}

#[test]
fn a_broken_chain_can_be_signed_for_and_stays_visible() {
    let place = Place::new();
    history(&place.open());
    place.by_hand("UPDATE audit SET actor = 'x' WHERE sequence = 9");
    let store = place.open();
    assert_eq!(refused(&store).as_deref(), Some("audit-broken"));
    let accepted = store.accept_audit(audit(ACCEPT)).expect("accepted");
    assert!(accepted.entry.detail.contains(r#""broken":"9""#), "{}", accepted.entry.detail);
    assert_eq!(refused(&store), None);
    assert_eq!(checks(&store), ["audit-chain"], "it is found for ever");
    drop(store);
    place.by_hand("UPDATE audit SET role = 'x' WHERE sequence = 21");
    let store = place.open();
    let drawn = store.allocate(request("Patient/3", "k3"), draw()).expect_err("changed again");
    assert!(drawn.code().starts_with("audit-"), "{drawn}");
}

#[test]
fn a_head_that_cannot_be_written_is_caught_up() {
    let place = Place::new();
    let store = place.open();
    store.put_allocation_list(list(5)).expect("a list");
    store.put_decision(decision("Patient/2", "{}")).expect("a decision");
    place.anchor.fails.store(true, Ordering::Relaxed);
    store.append_audit(audit("said meanwhile")).expect("the answer stands: it is committed");
    let stands = store.audit_anchor().expect("compared");
    assert_eq!(stands.fault, Some(AnchorFault::Unwritten));
    assert_eq!(store.health(), Health::Ok, "the store itself is fine");
    assert_eq!(refused(&store).as_deref(), Some("audit-unanchored"));
    assert!(store.allocations("T").expect("read").is_empty());
    place.anchor.fails.store(false, Ordering::Relaxed);
    store.allocate(request("Patient/2", "k2"), draw()).expect("caught up first");
    assert_eq!(place.lines(), [(0, true), (1, true), (2, false), (3, true), (4, true)]);
}

/// An anchor behind which another process writes at the moment it is looked at.
#[derive(Default)]
struct Meanwhile {
    heads: MemoryAnchor,
    act: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Anchor for Meanwhile {
    fn place(&self) -> String {
        self.heads.place()
    }
    fn last(&self) -> std::io::Result<Option<AnchorHead>> {
        let act = self.act.lock().expect("no panic").take();
        if let Some(act) = act {
            act();
        }
        self.heads.last()
    }
    fn append(&self, head: &AnchorHead, durable: bool) -> std::io::Result<()> {
        self.heads.append(head, durable)
    }
}

#[test]
fn what_is_written_while_somebody_looks_is_no_finding() {
    let dir = tempfile::tempdir().expect("a folder");
    let anchor = Arc::new(Meanwhile::default());
    let chain = || Arc::new(AuditChain::anchored(anchor.clone()));
    let store = Arc::new(SqliteStore::open(dir.path(), "test", NOW, chain()).expect("opened"));
    history(&store);
    let looking = SqliteStore::open_read_only(dir.path(), chain()).expect("opened");
    let busy = || {
        let store = Arc::clone(&store);
        let act = move || drop(store.append_audit(audit("said meanwhile")).expect("appended"));
        *anchor.act.lock().expect("no panic") = Some(Box::new(act));
    };
    busy();
    let report = looking.verify().expect("verified");
    assert!(report.is_sound() && report.notes.is_empty(), "{report:?}");
    assert_eq!(report.audit_entries, 21, "or nothing was written meanwhile");
    busy();
    assert_eq!(looking.audit_anchor().expect("compared").fault, None);
    busy();
    looking.consider("T", "Patient/2", draw()).expect("a dry run");
}

#[test]
fn a_crash_before_the_anchor_is_written_is_no_finding() {
    let place = Place::new();
    history(&place.open());
    let whole = place.lines();
    place.anchor.heads.lock().expect("no panic").truncate(10);
    let store = place.open();
    assert_eq!(place.lines().last(), whole.last(), "caught up at the opening");
    assert_eq!(refused(&store), None);
}

#[test]
fn an_anchor_file_is_made_once_and_missed_when_it_is_gone() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let path = dir.path().join("anchor");
    let open = |path: &Path| {
        let chain = Arc::new(AuditChain::anchored(Arc::new(FileAnchor::new(path))));
        SqliteStore::open(&data, "trialbridge test", NOW, chain).expect("opened")
    };
    let fault = |store: &SqliteStore| store.audit_anchor().expect("compared").fault;
    // A version that kept none, and then one that does.
    {
        let chain = Arc::new(AuditChain::unanchored());
        history(&SqliteStore::open(&data, "trialbridge test", NOW, chain).expect("opened"));
    }
    {
        let looking = SqliteStore::open_read_only(
            &data,
            Arc::new(AuditChain::anchored(Arc::new(FileAnchor::new(&path)))),
        );
        assert_eq!(
            fault(&looking.expect("opened")),
            Some(AnchorFault::Unwritten),
            "not made yet, and not accused"
        );
        assert!(!path.exists(), "whoever looks makes nothing");
    }
    assert_eq!(fault(&open(&path)), None);
    let text = fs::read_to_string(&path).expect("made");
    assert!(text.starts_with("20 sha256:") && text.ends_with(&format!(" {NOW}\n")), "{text}");
    // Torn at its end: what stands before counts, and the next line is whole.
    fs::write(&path, format!("{text}21 sha256:00")).expect("written");
    {
        let store = open(&path);
        assert_eq!(fault(&store), None);
        store.append_audit(audit("goes on")).expect("appended");
    }
    assert!(
        fs::read_to_string(&path).expect("there").lines().last().is_some_and(|l| l.starts_with("21 sha256:"))
    );
    // Moved together with the configuration.
    let moved = dir.path().join("moved");
    fs::rename(&path, &moved).expect("moved");
    {
        let elsewhere = open(&path);
        assert_eq!(fault(&elsewhere), Some(AnchorFault::Missing));
        assert_eq!(refused(&elsewhere).as_deref(), Some("audit-unanchored"));
        assert!(!path.exists(), "it is not made again by itself");
    }
    assert_eq!(fault(&open(&moved)), None);
    // A copy of the data somewhere else, without its anchor.
    {
        let copy = open(&dir.path().join("of-the-copy"));
        assert_eq!(fault(&copy), Some(AnchorFault::Elsewhere));
        assert!(copy.verify().expect("verified").is_sound(), "nothing is lost that anybody knows of");
        assert_eq!(copy.verify().expect("verified").notes.len(), 1);
        copy.accept_audit(audit(ACCEPT)).expect("accepted");
        assert_eq!((fault(&copy), refused(&copy)), (None, None));
    }
    fs::write(&moved, "").expect("emptied");
    assert_eq!(fault(&open(&moved)), Some(AnchorFault::Elsewhere), "the copy is the one that counts now");
    fs::write(dir.path().join("of-the-copy"), "").expect("emptied");
    assert_eq!(fault(&open(&dir.path().join("of-the-copy"))), Some(AnchorFault::Missing));
    // A place that cannot be written: the store works, and nobody is randomized.
    let unwritable = tempfile::tempdir().expect("a folder");
    let chain = Arc::new(AuditChain::anchored(Arc::new(FileAnchor::new(&dir.path().join("no/such/folder")))));
    let store = SqliteStore::open(unwritable.path(), "test", NOW, chain).expect("opened");
    store.append_audit(audit("said")).expect("appended");
    assert_eq!(fault(&store), Some(AnchorFault::Unwritten));
}

#[test]
fn a_row_that_was_changed_is_found_by_its_entry() {
    #[rustfmt::skip]
    let table = [
        ("UPDATE decision SET decision = 'ineligible' WHERE seq = 2",                "decision 2: its decision is not what audit entry 3 says"),
        ("UPDATE decision SET json = '{\"x\":1}' WHERE seq = 2",                     "decision 2: its content is not what audit entry 3 says"),
        ("UPDATE decision SET as_of = '2026-11-23' WHERE seq = 2",                   "decision 2: its day is not what audit entry 3 says"),
        ("UPDATE decision SET deciding = '[]' WHERE seq = 2",                        "decision 2: its deciding criteria is not what audit entry 3 says"),
        ("UPDATE decision SET input = 'sha256:j' WHERE seq = 2",                     "decision 2: its input is not what audit entry 3 says"),
        ("UPDATE decision SET decided_at = '2026-11-22T08:00:01Z' WHERE seq = 2",    "decision 2: its time is not what audit entry 3 says"),
        ("UPDATE decision SET subject = 'Patient/9' WHERE seq = 2",                  "decision 2: its subject is not what audit entry 3 says"),
        ("DELETE FROM decision WHERE seq = 2",                                       "decision 2: audit entry 3 tells of it, and it is gone"),
        ("DELETE FROM decision WHERE seq = 3",                                       "decision 3: audit entry 4 tells of it, and it is gone"),
        ("INSERT INTO decision SELECT 9, subject, as_of, decided_at, decision, deciding, definition, input, json FROM decision WHERE seq = 2",
                                                                                     "decision 9: no audit entry tells of it"),
        ("UPDATE allocation SET actor = 'dr-lj'",                                    "its actor is not what audit entry 5 says"),
        ("UPDATE allocation SET decided_input = 'sha256:j'",                         "its input is not what audit entry 5 says"),
        ("UPDATE allocation SET leaf = 'sha256:k'",                                  "its leaf is not what audit entry 5 says"),
        ("UPDATE allocation SET leaf = ''",                                          "its leaf is not what audit entry 5 says"),
        ("UPDATE allocation SET number = 2",                                         "its number is not what audit entry 5 says"),
        ("UPDATE allocation SET list_id = 'list-x'",                                 "its list is not what audit entry 5 says"),
        ("UPDATE allocation SET id = 'alloc-x'",                                     "allocation alloc-x: no audit entry tells of it"),
        ("DELETE FROM allocation",                                                   "audit entry 5 tells of it, and it is gone"),
    ];
    for (sql, found) in table {
        let place = Place::new();
        history(&place.open());
        place.by_hand(sql);
        let coverage = place.open().audit_coverage().expect("compared");
        assert!(coverage.findings.iter().any(|f| f.contains(found)), "{sql}: {:?}", coverage.findings);
    }
    let place = Place::new();
    let store = place.open();
    history(&store);
    let coverage = store.audit_coverage().expect("compared");
    assert_eq!((coverage.decisions, coverage.allocations, coverage.findings.len()), (3, 1, 0));
    assert_eq!(coverage.note(), None);
}

#[test]
fn decisions_of_an_older_version_are_counted_and_not_accused() {
    let place = Place::new();
    drop(place.open());
    place.by_hand(
        "INSERT INTO decision (subject, as_of, decided_at, decision, deciding, definition, input, json)
         VALUES ('Patient/8', '2026-11-01', '2026-11-01T08:00:00Z', 'eligible', '[]', 'd', 'i', '{}'),
                ('Patient/9', '2026-11-01', '2026-11-01T08:00:00Z', 'eligible', '[]', 'd', 'i', '{}');
         INSERT INTO decision_current SELECT subject, seq FROM decision;",
    );
    let store = place.open();
    // As that version wrote it.
    let older = NewAudit { detail: r#"{"decision":"eligible"}"#.into(), ..by("service", "decide") };
    store.append_audit(older).expect("appended");
    assert_eq!(
        store.audit_coverage().expect("compared").note().as_deref(),
        Some("2 decisions before entry the next are not covered")
    );
    store
        .put_decision(NewDecision { records: 7, ..decision("Patient/8", "{\"new\":1}") })
        .expect("a decision");
    let coverage = store.audit_coverage().expect("compared");
    assert_eq!(coverage.note().as_deref(), Some("2 decisions before entry 2 are not covered"));
    assert_eq!((coverage.decisions, coverage.findings.len()), (1, 0));
    let entry = store.audit_head().expect("read").expect("an entry").entry;
    assert_eq!(
        (entry.actor.as_str(), entry.role.as_str(), entry.action.as_str()),
        ("trialbridge", "service", "decide")
    );
    let detail: BTreeMap<String, String> = serde_json::from_str(&entry.detail).expect("a map");
    let json = format!("sha256:{}", sha256_hex(b"{\"new\":1}"));
    let expected = [
        ("row", "3"),
        ("before", "eligible"),
        ("decision", "eligible"),
        ("deciding", "I1 E6"),
        ("asOf", "2026-11-22"),
        ("definition", "sha256:d"),
        ("input", "sha256:i"),
        ("records", "7"),
        ("json", json.as_str()),
    ];
    assert_eq!(detail, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[test]
fn a_failing_audit_insert_undoes_the_action() {
    let place = Place::new();
    let store = place.open();
    store.put_allocation_list(list(5)).expect("a list");
    store.put_decision(decision("Patient/1", "{}")).expect("a decision");
    let seq = store.accept(incoming("a")).expect("accepted").seq;
    let aside = NewQuarantine {
        inbox_seq: seq,
        reason: "structure".into(),
        path: String::new(),
        bytes: None,
        at: NOW.into(),
    };
    let id = store.quarantine(vec![aside]).expect("set aside")[0];
    let before = place.lines();
    store
        .write(|c| {
            let sql =
                "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'failpoint'); END";
            run(c, "testing", sql, [])
        })
        .expect("the failpoint is set");
    assert!(store.put_decision(decision("Patient/2", "{}")).is_err());
    assert!(store.allocate(request("Patient/1", "k1"), draw()).is_err());
    assert!(store.resolve_quarantine(id, audit("quarantine.resolve")).is_err());
    assert!(store.replay_all(audit("replay")).is_err());
    assert!(store.append_audit(audit("said")).is_err());
    assert_eq!(store.latest_decision("Patient/2"), Ok(None));
    assert!(store.allocations("T").expect("read").is_empty());
    assert!(store.outbox(None, 10).expect("read").is_empty());
    assert_eq!(store.quarantine_item(id).expect("there").state, QuarantineState::Open);
    assert_eq!(place.lines(), before);
    store.write(|c| run(c, "testing", "DROP TRIGGER no_audit", [])).expect("the failpoint is gone");
    store.allocate(request("Patient/1", "k1"), draw()).expect("allocated");
    assert!(store.verify().expect("verified").is_sound());
}

fn anomalies(store: &SqliteStore) -> Vec<(u64, String)> {
    let entries = store.audit_entries(0, 1000).expect("read").into_iter();
    entries.filter(|e| e.entry.action == "clock-anomaly").map(|e| (e.sequence, e.entry.detail)).collect()
}

#[test]
fn a_clock_that_was_set_back_is_written_down_once_and_blocks_randomization() {
    let at = |text: &str, role: &str| NewAudit { at: text.into(), ..by(role, "said") };
    let place = Place::new();
    let store = place.open();
    store.put_allocation_list(list(5)).expect("a list");
    store.put_decision(decision("Patient/2", "{}")).expect("a decision");
    store.append_audit(at("2026-11-22T09:00:00Z", "coordinator")).expect("appended");
    // A run of the service may have begun long ago, and clocks wander.
    store.append_audit(at("2026-11-22T08:00:00Z", "service")).expect("appended");
    store.append_audit(at("2026-11-22T08:59:55.000Z", "coordinator")).expect("appended");
    assert_eq!(anomalies(&store), []);
    let back = at("2026-11-22T08:00:00Z", "coordinator");
    let entry = store.append_audit(back.clone()).expect("never refused");
    let told = r#"{"after":"2026-11-22T08:00:00Z","before":"2026-11-22T09:00:00Z"}"#;
    assert_eq!(anomalies(&store), [(entry.sequence - 1, told.to_owned())]);
    store.append_audit(back).expect("appended");
    store.append_audit(at("2026-11-22T08:30:00Z", "coordinator")).expect("appended");
    assert_eq!(anomalies(&store).len(), 1, "once for each time");
    let request_at = |text: &str| AllocationRequest { at: text.into(), ..request("Patient/2", "k2") };
    let drawn = store.allocate(request_at("2026-11-22T08:40:00Z"), draw()).expect_err("refused");
    assert_eq!(drawn.code(), "clock-anomaly");
    assert!(drawn.to_string().contains("2026-11-22T09:00:00Z") && drawn.to_string().contains("audit accept"));
    store.append_audit(at("2026-11-22T07:00:00Z", "coordinator")).expect("appended");
    assert_eq!(anomalies(&store).len(), 2, "it went back once more");
    drop(store);
    // The opening tells the time too.
    let store = place.open_at("2026-11-22T06:00:00Z");
    assert_eq!(anomalies(&store).len(), 3);
    assert!(store.verify().expect("verified").is_sound(), "order is the number's, not the clock's");
    store.allocate(request_at("2026-11-22T09:00:01Z"), draw()).expect("the clock has caught up");
    assert_eq!(anomalies(&store).len(), 3);
}

#[test]
fn a_clock_that_was_ahead_is_signed_for() {
    let place = Place::new();
    let store = place.open();
    store.put_allocation_list(list(5)).expect("a list");
    store.put_decision(decision("Patient/2", "{}")).expect("a decision");
    store.note_clock("2036-11-22T08:00:00Z").expect("noted");
    assert!(store.accept_audit(audit(ACCEPT)).is_err(), "nobody knows yet that it is ahead");
    store.note_clock(NOW).expect("noted");
    assert_eq!(anomalies(&store).len(), 1);
    let drawn = store.allocate(request("Patient/2", "k2"), draw()).expect_err("refused");
    assert_eq!(drawn.code(), "clock-anomaly");
    let accepted = store.accept_audit(audit(ACCEPT)).expect("accepted");
    assert!(accepted.entry.detail.contains("2036"), "{}", accepted.entry.detail);
    store.allocate(request("Patient/2", "k2"), draw()).expect("allocated");
    assert_eq!(anomalies(&store).len(), 1);
}
