//! What only SQLite can be asked: its files, its lock, its transactions, its triggers.

use super::super::suite::{Fixture, NOW, PlainChain, audit, decision, draw, incoming, list, request, signed};
use super::*;
use rusqlite::params;
use std::fs;
use std::sync::mpsc::channel;
use tempfile::TempDir;

mod upgrade;

fn open(dir: &Path) -> Result<SqliteStore> {
    SqliteStore::open(dir, "trialbridge test", NOW, Arc::new(PlainChain))
}

fn fresh() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).expect("opened");
    (dir, store)
}

fn fixture() -> Fixture {
    let (dir, store) = fresh();
    Fixture { store: Box::new(store), _keep: Box::new(dir) }
}

crate::store::suite::store_suite!(fixture);

/// The database as a tool of another's would open it.
fn by_hand(dir: &TempDir) -> Connection {
    let connection = Connection::open(dir.path().join(DATABASE)).expect("opened");
    connection.busy_timeout(PATIENCE).expect("set");
    connection
}

type Operation = Box<dyn FnOnce(&Connection) -> Result<i64> + Send>;

/// Runs operations in one commit: holds the writer until all of them wait.
fn in_one_batch(store: &SqliteStore, operations: Vec<Operation>) -> Vec<Result<i64>> {
    std::thread::scope(|scope| {
        let ((held, is_held), (release, released)) = (channel(), channel::<()>());
        let holder = scope.spawn(move || {
            store.write(move |_| -> Result<()> {
                held.send(()).expect("the test waits");
                // An error means that the test has ended: go on as well.
                let _ = released.recv();
                Ok(())
            })
        });
        is_held.recv().expect("the writer is held");
        // The holder's own batch was taken before the others came; they make the next one. They
        // queue one after the other, so that their order is that of the test.
        let mut threads = Vec::new();
        for operation in operations {
            let (queued, is_queued) = channel();
            threads.push(scope.spawn(move || {
                let writer = store.writer.as_ref().expect("opened for writing");
                writer.write_noting(operation, move || queued.send(()).expect("the test waits"))
            }));
            is_queued.recv().expect("queued");
        }
        release.send(()).expect("the writer waits");
        holder.join().expect("no panic").expect("held");
        threads.into_iter().map(|t| t.join().expect("no panic")).collect()
    })
}

fn insert(key: &'static str) -> Operation {
    Box::new(move |c| {
        run(c, "testing", "INSERT INTO meta (key, value) VALUES (?1, '')", [key])?;
        c.query_row("SELECT count(*) FROM meta", [], |r| r.get(0)).map_err(trouble("testing"))
    })
}

#[test]
fn a_failing_operation_does_not_harm_its_neighbours() {
    let (_dir, store) = fresh();
    let refused: Operation = Box::new(|c| {
        run(c, "testing", "INSERT INTO meta (key, value) VALUES ('refused', '')", [])?;
        Err(StoreError::conflict("no", "no"))
    });
    let panicking: Operation = Box::new(|c| {
        run(c, "testing", "INSERT INTO meta (key, value) VALUES ('panicked', '')", [])?;
        panic!("a bug")
    });
    let outcomes =
        in_one_batch(&store, vec![insert("a"), refused, insert("b"), panicking, insert("a"), insert("c")]);
    let before = *outcomes[0].as_ref().expect("inserted");
    assert_eq!(outcomes[1].as_ref().expect_err("refused").code(), "no");
    assert_eq!(outcomes[2], Ok(before + 1), "sees the row of the same commit, not the one rolled back");
    assert_eq!(outcomes[3].as_ref().expect_err("panicked").code(), "storage-failed");
    assert_eq!(outcomes[4].as_ref().expect_err("a is there").code(), "constraint");
    assert_eq!(outcomes[5], Ok(before + 2));
    let there = ["a", "b", "c", "refused", "panicked"].map(|k| store.meta(k).expect("read").is_some());
    assert_eq!(there, [true, true, true, false, false]);
    assert_eq!(store.health(), Health::Ok);
}

#[test]
fn a_failed_commit_fails_the_whole_batch() {
    let (_dir, store) = fresh();
    // A reference that is only checked at the commit makes the commit itself fail.
    let poison: Operation = Box::new(|c| {
        c.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO decision_current (subject, decision_seq) VALUES ('x', 99);",
        )
        .map_err(trouble("testing"))?;
        Ok(0)
    });
    let refused: Operation = Box::new(|_| Err(StoreError::conflict("no", "no")));
    let outcomes = in_one_batch(&store, vec![insert("a"), poison, refused, insert("b")]);
    for outcome in outcomes {
        let error = outcome.expect_err("nothing was committed");
        assert_ne!(error.code(), "no", "a refusal may rest on what was lost");
    }
    assert_eq!(store.health(), Health::StorageFailed);
    assert_eq!((store.meta("a"), store.meta("b")), (Ok(None), Ok(None)));
    store.set_meta("a", "again").expect("the connection was opened again");
    assert_eq!(store.health(), Health::Ok);
    assert_eq!(store.meta("a"), Ok(Some("again".into())));
    assert!(store.verify().expect("verified").is_sound());
}

#[test]
fn nothing_is_visible_before_the_commit() {
    let (_dir, store) = fresh();
    let (wrote, has_written) = channel();
    let (release, released) = channel::<()>();
    std::thread::scope(|scope| {
        let store = &store;
        let writing = scope.spawn(move || {
            store.write(move |c| -> Result<()> {
                run(c, "testing", "INSERT INTO meta (key, value) VALUES ('a', '')", [])?;
                wrote.send(()).expect("the test waits");
                let _ = released.recv();
                Ok(())
            })
        });
        has_written.recv().expect("written");
        assert_eq!(store.meta("a"), Ok(None), "a reader neither waits nor sees it");
        release.send(()).expect("the writer waits");
        writing.join().expect("no panic").expect("committed");
        assert_eq!(store.meta("a"), Ok(Some(String::new())));
    });
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let (_dir, store) = fresh();
    let limit = |pages: i64| {
        let set = move |c: &Connection| {
            c.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).map_err(trouble("testing"))
        };
        store.write(set).expect("limited");
    };
    let kept = store.accept(incoming("small")).expect("accepted");
    limit(1); // as many as there are
    let large = || incoming(&"x".repeat(1 << 20));
    let error = store.accept(large()).expect_err("no space");
    assert_eq!(error.code(), "disk-full");
    assert!(error.is_transient());
    assert_eq!(store.health(), Health::DiskFull);
    assert_eq!(store.inbox_item(kept.seq).expect("reads continue").bytes, b"small");
    assert_eq!(store.count_by_state().expect("counts").total(), 1);
    limit(1 << 30);
    assert!(store.accept(large()).expect("space again").first);
    assert_eq!(store.health(), Health::Ok);
    assert!(store.verify().expect("verified").is_sound());
}

#[test]
fn more_than_can_wait_is_busy_at_once_and_the_rest_is_stored() {
    let (_dir, store) = fresh();
    let store = &store;
    std::thread::scope(|scope| {
        let ((held, is_held), (release, released)) = (channel(), channel::<()>());
        let holder = scope.spawn(move || {
            store.write(move |_| -> Result<()> {
                held.send(()).expect("the test waits");
                // An error means that the test has ended: go on as well.
                let _ = released.recv();
                Ok(())
            })
        });
        is_held.recv().expect("the writer is held");
        let (tell, told) = channel();
        let mut waiting: i64 = 0;
        let refused = loop {
            let tell = tell.clone();
            store.accept_then(
                incoming(&waiting.to_string()),
                Box::new(move |receipt| tell.send(receipt).expect("the test waits")),
            );
            if let Ok(answer) = told.try_recv() {
                break answer;
            }
            waiting += 1;
            assert!(waiting < 10_000, "it is bounded");
        };
        assert_eq!(refused, Err(StoreError::Busy));
        assert!(StoreError::Busy.is_transient());
        release.send(()).expect("the writer waits");
        holder.join().expect("no panic").expect("held");
        for _ in 0..waiting {
            assert!(told.recv().expect("an answer").expect("stored").first);
        }
        assert_eq!(store.count_by_state().expect("counted").pending, waiting);
        assert_eq!(store.health(), Health::Ok, "a full queue is no fault of the storage");
    });
}

#[test]
fn the_log_stays_short_though_somebody_always_reads() {
    let (dir, store) = fresh();
    let over = std::sync::atomic::AtomicBool::new(false);
    let log = dir.path().join("trialbridge.db-wal");
    let mut longest = 0;
    std::thread::scope(|scope| {
        // Each begins before the one before it ends: SQLite by itself never finds the log unread.
        for _ in 0..3 {
            scope.spawn(|| {
                let hand = by_hand(&dir);
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let reading = hand.unchecked_transaction().expect("begun");
                    let count = reading.query_row("SELECT count(*) FROM inbox", [], |r| r.get::<_, i64>(0));
                    count.expect("counted");
                    std::thread::sleep(Duration::from_millis(4));
                    reading.finish().expect("ended");
                }
            });
        }
        for n in 0..160 {
            store.accept(incoming(&format!("{n:08}").repeat(1 << 16))).expect("accepted");
            longest = longest.max(fs::metadata(&log).expect("a log").len());
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(longest < 64 << 20, "{longest} bytes");
    assert_eq!(store.count_by_state().expect("counted").pending, 160);
}

#[test]
fn a_reader_that_stays_holds_nobody_up() {
    let (dir, store) = fresh();
    store.accept(incoming("first")).expect("accepted");
    let hand = by_hand(&dir);
    let reading = hand.unchecked_transaction().expect("begun");
    let count = || reading.query_row("SELECT count(*) FROM inbox", [], |r| r.get::<_, i64>(0));
    assert_eq!(count(), Ok(1));
    for n in 0..40 {
        store.accept(incoming(&format!("{n:08}").repeat(1 << 16))).expect("accepted");
    }
    assert_eq!(count(), Ok(1), "a read sees one moment");
    assert!(store.verify().expect("verified").is_sound());
    assert_eq!(store.health(), Health::Ok);
}

#[test]
fn one_process_writes() {
    let (dir, store) = fresh();
    let Err(StoreError::Locked { holder }) = open(dir.path()) else { panic!("opened twice") };
    assert_eq!(holder.pid, Some(std::process::id()));
    assert_eq!((holder.command.as_deref(), holder.started.as_deref()), (Some("trialbridge test"), Some(NOW)));
    store.set_meta("a", "1").expect("set");

    let looking = SqliteStore::open_read_only(dir.path(), Arc::new(PlainChain)).expect("no lock needed");
    assert_eq!(looking.meta("a"), Ok(Some("1".into())));
    store.set_meta("a", "2").expect("set");
    assert_eq!(looking.meta("a"), Ok(Some("2".into())));
    assert_eq!(looking.set_meta("a", "3").expect_err("only looking").code(), "read-only");
    drop(looking);
    drop(store);
    assert_eq!(open(dir.path()).expect("free again").meta("a"), Ok(Some("2".into())));
    let nowhere = SqliteStore::open_read_only(&dir.path().join("no"), Arc::new(PlainChain)).err();
    assert_eq!(nowhere.map(|e| e.code()), Some("not-found"));
}

#[cfg(unix)]
#[test]
fn the_files_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let parent = tempfile::tempdir().expect("a temporary directory");
    let dir = parent.path().join("data");
    let store = open(&dir).expect("opened");
    store.set_meta("a", "1").expect("set");
    let backup = parent.path().join("backup.db");
    store.backup(&backup).expect("copied");
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&backup), 0o600);
    let names: Vec<_> = fs::read_dir(&dir).expect("read").map(|e| e.expect("entry").path()).collect();
    assert!(names.len() >= 3, "lock, database and log: {names:?}");
    for file in names {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(store);

    let open_to_all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&dir, open_to_all.clone()).expect("set");
    drop(open(&dir).expect("opened"));
    assert_eq!(mode(&dir), 0o700, "a directory of ours is closed again");

    let shared = parent.path().join("shared");
    fs::create_dir(&shared).expect("made");
    fs::write(shared.join("somebody's"), "").expect("written");
    fs::set_permissions(&shared, open_to_all).expect("set");
    drop(open(&shared).expect("opened"));
    assert_eq!(mode(&shared), 0o755, "a directory of others is left as it is");
    assert_eq!(mode(&shared.join(DATABASE)), 0o600);
}

#[test]
fn a_store_opens_as_it_was_closed() {
    let (dir, store) = fresh();
    let receipt = store.accept(incoming("a")).expect("accepted");
    store.put_allocation_list(list(1)).expect("list");
    store.put_decision(decision("Patient/1", "{}")).expect("decided");
    let allocated = store.allocate(request("Patient/1", "k"), draw()).expect("allocated");
    drop(store);
    assert!(!dir.path().join("trialbridge.db-wal").exists(), "the log was cleared away");
    let store = open(dir.path()).expect("opened");
    assert_eq!(store.inbox_item(receipt.seq).expect("there").sha256, receipt.sha256);
    let again = store.allocate(request("Patient/1", "k"), draw()).expect("allocated");
    assert!(again.replayed && again.allocation == allocated.allocation);
    assert!(store.verify().expect("verified").is_sound());
}

#[test]
fn what_was_answered_is_in_the_files() {
    let (dir, store) = fresh();
    let receipts: Vec<_> =
        (0..20).map(|n| store.accept(incoming(&n.to_string())).expect("accepted")).collect();
    // The files as a process that is killed now leaves them; SQLite's index of the log is lost.
    let killed = tempfile::tempdir().expect("a temporary directory");
    for name in [DATABASE, "trialbridge.db-wal"] {
        fs::copy(dir.path().join(name), killed.path().join(name)).expect("copied");
    }
    let recovered = open(killed.path()).expect("opened");
    for receipt in receipts {
        assert_eq!(recovered.inbox_item(receipt.seq).expect("there").sha256, receipt.sha256);
    }
    assert!(recovered.verify().expect("verified").is_sound());
}

#[test]
fn a_newer_schema_and_a_foreign_file_are_refused() {
    let (dir, store) = fresh();
    drop(store);
    by_hand(&dir).pragma_update(None, "user_version", 99).expect("set");
    let error = open(dir.path()).err().expect("newer");
    assert_eq!(error.code(), "schema");
    assert!(error.to_string().contains("schema 99"), "{error}");
    let looking = SqliteStore::open_read_only(dir.path(), Arc::new(PlainChain)).err();
    assert_eq!(looking.map(|e| e.code()), Some("schema"));

    let other = tempfile::tempdir().expect("a temporary directory");
    fs::write(other.path().join(DATABASE), "not a database, but long enough to be read as one".repeat(99))
        .expect("written");
    assert_eq!(open(other.path()).err().map(|e| e.code()), Some("corrupt"));
}

/// A store with a row in every table that is never edited.
fn with_history() -> (TempDir, SqliteStore) {
    let (dir, store) = fresh();
    store.accept_many(vec![incoming("a"), incoming("b")]).expect("accepted");
    store.put_allocation_list(list(3)).expect("list");
    for subject in ["Patient/1", "Patient/2"] {
        store.put_decision(decision(subject, "{}")).expect("decided");
        let made = store.allocate(request(subject, subject), draw()).expect("allocated").allocation;
        store.note_told(&made.id, audit("arm.disclose")).expect("noted");
    }
    let event = NewAllocationEvent {
        trial: "T".into(),
        allocation_id: None,
        kind: EventKind::Closed,
        detail: "{}".into(),
        signature: signed("close", None),
        audit: audit("allocation.close"),
    };
    store.put_allocation_event(event).expect("said");
    (dir, store)
}

#[test]
fn history_refuses_to_be_edited() {
    let (dir, store) = with_history();
    let hand = by_hand(&dir);
    hand.execute_batch("UPDATE inbox SET state = 'processed', attempts = 7 WHERE seq = 1")
        .expect("state and attempts may change");
    for sql in [
        "UPDATE inbox SET bytes = x'00' WHERE seq = 1",
        "UPDATE inbox SET received_at = '' WHERE seq = 1",
        "UPDATE inbox SET sha256 = upper(sha256) WHERE seq = 1",
        "UPDATE inbox SET seq = 9 WHERE seq = 1",
        "UPDATE inbox SET rowid = 9 WHERE seq = 1",
        "UPDATE inbox SET state = 'lost' WHERE seq = 1",
        "DELETE FROM inbox",
        "UPDATE decision SET decision = 'ineligible'",
        "DELETE FROM decision",
        "UPDATE allocation SET leaf = 'other'",
        "DELETE FROM allocation WHERE position = 2",
        "INSERT OR REPLACE INTO allocation SELECT * FROM allocation WHERE position = 1",
        "INSERT OR REPLACE INTO allocation_list SELECT * FROM allocation_list",
        "INSERT OR REPLACE INTO allocation_slot SELECT * FROM allocation_slot WHERE position = 3",
        "INSERT OR REPLACE INTO allocation_told SELECT * FROM allocation_told",
        "INSERT OR REPLACE INTO signature SELECT * FROM signature",
        "INSERT OR REPLACE INTO allocation_event SELECT * FROM allocation_event",
        "UPDATE allocation_event SET kind = 'reopened'",
        "DELETE FROM allocation_event",
        "UPDATE allocation_told SET at = ''",
        "DELETE FROM allocation_told",
        "UPDATE signature SET actor = 'nobody'",
        "DELETE FROM signature",
        "UPDATE allocation_slot SET sealed = x'00'",
        "DELETE FROM allocation_slot WHERE position = 3",
        "UPDATE allocation_list SET commitment = ''",
        "DELETE FROM allocation_list",
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit WHERE sequence = 3",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE sequence = 3",
        "INSERT INTO audit VALUES (99, '', '', '', '', '', '', '', 'h')",
    ] {
        assert!(hand.execute(sql, []).is_err(), "{sql}");
    }
    assert!(store.verify().expect("verified").is_sound());
}

/// What `verify` finds after somebody changed the tables past every trigger and reference.
fn found_after((dir, store): (TempDir, SqliteStore), sql: &str) -> Vec<&'static str> {
    let hand = by_hand(&dir);
    let triggers: Vec<String> = {
        let mut all =
            hand.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").expect("prepared");
        let names = all.query_map([], |r| r.get(0)).expect("read");
        names.map(|n| n.expect("text")).collect()
    };
    for trigger in triggers {
        hand.execute_batch(&format!("DROP TRIGGER {trigger}")).expect("dropped");
    }
    hand.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").expect("set");
    hand.execute_batch(sql).expect("tampered");
    let findings = store.verify().expect("verified").findings;
    findings.into_iter().map(|f| f.check).collect()
}

/// Messages with keys, of which row 2 reuses that of row 1; row 3 was processed, row 4 set aside; an
/// allocation with a deviation.
fn with_messages() -> (TempDir, SqliteStore) {
    let (dir, store) = fresh();
    for (text, key) in [("a", Some("k1")), ("b", Some("k1")), ("c", Some("k2")), ("d", None)] {
        let key = key.map(str::to_owned);
        store.accept(Incoming { key, ..incoming(text) }).expect("accepted");
    }
    store.mark(3, InboxState::Processed).expect("marked");
    let entry = NewQuarantine {
        inbox_seq: 4,
        reason: "not-json".into(),
        path: String::new(),
        bytes: None,
        at: NOW.into(),
    };
    let settled = Settlement {
        seq: 4,
        state: InboxState::Quarantined,
        records: vec![],
        quarantine: vec![entry],
        at: NOW.into(),
    };
    store.settle(vec![settled]).expect("settled");
    store.put_allocation_list(list(1)).expect("list");
    store.put_decision(decision("Patient/1", "{}")).expect("decided");
    store.allocate(request("Patient/1", "key"), draw()).expect("allocated");
    let allocation = store.allocation_of("T", "Patient/1").expect("read").expect("allocated");
    let deviation = NewDeviation {
        subject: "Patient/1".into(),
        allocation_id: allocation.id,
        opened_at: NOW.into(),
        kind: "result-corrected".into(),
        reference: "Observation/1".into(),
        detail: "{}".into(),
        audit: audit("deviation.open"),
    };
    assert_eq!(store.open_deviations(vec![deviation]).expect("opened").len(), 1);
    (dir, store)
}

#[test]
fn verify_finds_what_is_missing_of_messages() {
    for (sql, check) in [
        ("DELETE FROM inbox WHERE seq = 1", "inbox-without-hole"),
        ("DELETE FROM inbox WHERE seq = 3", "inbox-without-hole"),
        ("UPDATE inbox SET state = 'processed' WHERE seq = 1", "processed-was-read"),
        ("DELETE FROM quarantine WHERE inbox_seq = 4", "quarantined-has-entry"),
        ("UPDATE message_key SET source = 'other' WHERE inbox_seq = 3", "message-key-of-row"),
        ("UPDATE inbox SET origin = 'other' WHERE seq = 3", "message-key-of-row"),
        ("UPDATE inbox SET state = 'processed', attempts = 1 WHERE seq = 2", "message-key-once"),
        ("UPDATE inbox SET state = 'pending' WHERE seq = 2", "message-key-once"),
        ("UPDATE quarantine SET reason = 'other' WHERE inbox_seq = 2", "message-key-once"),
        (
            "INSERT INTO record_history VALUES (1, 's', 'T', 'i', NULL, NULL, NULL, 0, 2, '', '', x'')",
            "message-key-once",
        ),
        ("UPDATE message_key SET key = 'k1' WHERE inbox_seq = 3", "message-key-once"),
        ("UPDATE deviation SET subject = 'Patient/2'", "deviation-has-allocation"),
        ("UPDATE deviation SET allocation_id = 'other'", "deviation-has-allocation"),
    ] {
        let found = found_after(with_messages(), sql);
        assert!(found.contains(&check), "{sql}: {found:?}");
    }
    assert!(found_after(with_messages(), "SELECT 1").is_empty(), "no finding without a reason");
}

#[test]
fn verify_names_what_was_tampered_with() {
    for (sql, check) in [
        ("UPDATE inbox SET bytes = x'00' WHERE seq = 1", "inbox-hash"),
        ("UPDATE inbox SET state = 'lost' WHERE seq = 1", "inbox-state"),
        ("DELETE FROM allocation WHERE position = 1", "positions-without-hole"),
        ("DELETE FROM allocation_slot WHERE position = 3", "list-complete"),
        ("DELETE FROM allocation_slot WHERE position = 2", "references"),
        ("UPDATE allocation SET decided_input = 'x' WHERE position = 1", "allocation-has-decision"),
        ("UPDATE decision_current SET decision_seq = 1", "decision-current"),
        ("UPDATE audit SET actor = 'nobody' WHERE sequence = 2", "audit-chain"),
        ("DELETE FROM audit WHERE sequence = 1", "audit-chain"),
        (
            "INSERT INTO record_history VALUES (1, 's', 'T', 'i', NULL, NULL, NULL, 0, 99, '', '', x'')",
            "record-has-inbox-row",
        ),
    ] {
        let found = found_after(with_history(), sql);
        assert!(found.contains(&check), "{sql}: {found:?}");
    }
    assert!(found_after(with_history(), "SELECT 1").is_empty(), "no finding without a reason");
}

#[test]
fn verify_reads_on_through_a_damaged_file() {
    let (dir, store) = with_history();
    let large = store.accept(incoming(&"x".repeat(1 << 16))).expect("accepted");
    drop(store);
    let path = dir.path().join(DATABASE);
    let mut bytes = fs::read(&path).expect("read");
    let marked: Vec<usize> =
        (0..bytes.len()).step_by(4096).filter(|&p| bytes[p..][4..].starts_with(b"xxxx")).collect();
    // A page in the middle of the large body now leads back to itself.
    let page = marked[marked.len() / 2];
    let number = u32::try_from(page / 4096 + 1).expect("a small file");
    bytes[page..page + 4].copy_from_slice(&number.to_be_bytes());
    bytes[page + 100] = b'y';
    fs::write(&path, bytes).expect("written");
    let report = open(dir.path()).expect("opened").verify().expect("verified");
    let found: Vec<_> = report.findings.iter().map(|f| f.check).collect();
    assert!(found.contains(&"integrity") && found.contains(&"inbox-hash"), "{found:?} for row {}", large.seq);
    assert_eq!((report.inbox.total(), report.allocations), (3, 2), "what can be read is counted");
}

#[test]
fn an_action_without_audit_does_not_happen() {
    /// Says every time that it is the first.
    struct Stuck;
    impl Chain for Stuck {
        fn next(&self, _: Option<(u64, &str)>, _: &NewAudit) -> (u64, String, String) {
            (1, "hash".to_owned(), String::new())
        }
        fn anchor(&self) -> Option<&dyn crate::store::Anchor> {
            None
        }
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(dir.path(), "test", NOW, Arc::new(Stuck)).expect("opened");
    store.append_audit(audit("start")).expect("the first fits");
    assert!(store.put_allocation_list(list(1)).is_err());
    assert_eq!(store.allocation_list("T"), Ok(None));
    assert!(store.sealed_slots("list-1").expect("read").is_empty());
}

#[test]
fn a_backup_is_a_store() {
    let (dir, store) = with_history();
    let place = tempfile::tempdir().expect("a temporary directory");
    let to = place.path().join("copy").join(DATABASE);
    assert!(store.backup(&to).is_err(), "the directory is not made for you");
    fs::create_dir(place.path().join("copy")).expect("made");
    let backup = store.backup(&to).expect("copied");
    assert_eq!(backup.bytes, fs::metadata(&to).expect("there").len());
    assert_eq!(backup.sha256, sha256_hex(&fs::read(&to).expect("read")));
    assert_eq!(store.backup(&to).expect_err("it exists").code(), "backup-exists");
    assert_eq!(fs::read_dir(place.path().join("copy")).expect("read").count(), 1, "nothing half is left");

    let copy = open(&place.path().join("copy")).expect("opened");
    assert_eq!(copy.verify(), store.verify());
    assert!(copy.verify().expect("verified").is_sound());
    assert_eq!(copy.allocations("T"), store.allocations("T"));
    assert_eq!(copy.audit_head(), store.audit_head());
    drop(dir);
}

#[test]
fn a_connection_without_a_log_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(DATABASE);
    let connection = Connection::open(&path).expect("opened");
    connection.execute_batch("CREATE TABLE a (x TEXT) STRICT").expect("made");
    assert_eq!(ensure_log(&connection, &path).expect_err("a rollback journal").code(), "storage-failed");
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("set");
    assert_eq!(ensure_log(&connection, &path), Ok(()));
}

#[test]
fn the_connection_is_set_to_be_durable() {
    let (_dir, store) = fresh();
    let settings = store.write(|c| {
        let number = |pragma: &str| {
            c.pragma_query_value(None, pragma, |r| r.get::<_, i64>(0)).map_err(trouble("testing"))
        };
        Ok::<_, StoreError>([number("synchronous")?, number("foreign_keys")?, number("busy_timeout")?])
    });
    assert_eq!(settings, Ok([2, 1, 5000]));
    let mode = store.read(|c| {
        c.pragma_query_value(None, "journal_mode", |r| r.get::<_, String>(0)).map_err(trouble("testing"))
    });
    assert_eq!(mode, Ok("wal".to_owned()));
}
