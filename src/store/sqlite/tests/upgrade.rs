//! A database of version 0.2, in which arms stood openly, brought forward.

use super::*;
use crate::store::sqlite::migrate::{MIGRATIONS, migrate};

const ARM: &str = "Canary infusion";
const SALT: &str = "canary-salt-0123456789abcdef";
const ALLOCATED: i64 = 60;

/// The files of a database of version 0.2 whose process was killed: arms in rows, in pages that were freed
/// and in the log.
fn version_0_2() -> TempDir {
    let living = tempfile::tempdir().expect("a folder");
    let mut c = Connection::open(living.path().join(DATABASE)).expect("opened");
    c.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("set");
    c.pragma_update(None, "foreign_keys", true).expect("set");
    // As SQLite is by itself, whatever this build of it does.
    c.pragma_update_and_check(None, "secure_delete", false, |_| Ok(())).expect("set");
    migrate(&mut c, &MIGRATIONS[..3]).expect("the schema of 0.2");
    c.pragma_update_and_check(None, "secure_delete", false, |_| Ok(())).expect("set");
    c.execute_batch(
        "INSERT INTO allocation_list VALUES ('list-1', 'T', 'sha256:d', 'sha256:c', 92, '', '{}')",
    )
    .expect("a list");
    // Free pages and the free ends of others remember.
    c.execute_batch(&format!(
        "CREATE TABLE scratch (arm TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
         INSERT INTO scratch SELECT '{ARM} {SALT} ' || i FROM n;
         DELETE FROM scratch WHERE rowid % 7 > 0;
         DROP TABLE scratch;"
    ))
    .expect("remembered");
    c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("in the database itself");
    for n in 1..=92 {
        c.execute(
            "INSERT INTO allocation_slot VALUES ('list-1', ?1, ?2)",
            params![n, format!("sealed {n}").into_bytes()],
        )
        .expect("a slot");
    }
    for n in 1..=ALLOCATED {
        let subject = format!("Patient/{n}");
        c.execute(
            "INSERT INTO decision VALUES (?1, ?2, '2026-01-01', '', 'eligible', '[]', 'sha256:d', 'sha256:i', '{}')",
            params![n, subject],
        )
        .expect("a decision");
        c.execute("INSERT INTO decision_current VALUES (?1, ?2)", params![subject, n]).expect("current");
        c.execute(
            "INSERT INTO allocation VALUES (?1, 'list-1', ?2, ?3, ?4, ?5, ?6, '[\"proof\"]', ?2, 'sha256:i',
                                            'sha256:d', 'Dr Old', '2026-01-02')",
            params![format!("alloc-{n}"), n, subject, format!("key {n}"), ARM, SALT],
        )
        .expect("an allocation");
        let entry = NewAudit {
            at: "2026-01-02".into(),
            actor: "Dr Old".into(),
            role: "investigator".into(),
            action: "allocate".into(),
            subject: Some(subject),
            detail: format!(
                r#"{{"allocation":"alloc-{n}","definition":"sha256:d","input":"sha256:i","list":"list-1","position":"{n}"}}"#
            ),
        };
        crate::store::sqlite::audit::append(&c, &PlainChain, &entry).expect("an entry");
        if n == 40 {
            c.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("in the database itself");
        }
    }
    c.execute_batch(
        "INSERT INTO deviation (subject, allocation_id, opened_at, kind, reference, detail)
         VALUES ('Patient/7', 'alloc-7', '', 'result-corrected', 'Observation/1', '{}')",
    )
    .expect("a deviation");
    let killed = tempfile::tempdir().expect("a folder");
    for name in FILES {
        fs::copy(living.path().join(name), killed.path().join(name)).expect("copied");
    }
    killed
}

const FILES: [&str; 2] = [DATABASE, "trialbridge.db-wal"];

/// The files that hold a text.
fn holding(dir: &Path, text: &str) -> Vec<&'static str> {
    let holds = |name: &&str| {
        let bytes = fs::read(dir.join(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|w| w == text.as_bytes())
    };
    FILES.into_iter().filter(holds).collect()
}

#[test]
fn arms_that_an_earlier_version_stored_are_nowhere_any_more() {
    let dir = version_0_2();
    for text in [ARM, SALT] {
        assert_eq!(holding(dir.path(), text), FILES, "or the test looks for nothing");
    }
    let store = open(dir.path()).expect("brought forward");
    for text in [ARM, SALT] {
        assert_eq!(holding(dir.path(), text), [] as [&str; 0], "while it is open");
    }
    assert_eq!(store.meta("scrub"), Ok(None));
    drop(store);
    for text in [ARM, SALT] {
        assert_eq!(holding(dir.path(), text), [] as [&str; 0], "after it was closed");
    }
}

#[test]
fn allocations_of_an_earlier_version_stay_and_the_next_follows_them() {
    let dir = version_0_2();
    let store = open(dir.path()).expect("brought forward");
    assert!(store.verify().expect("verified").is_sound(), "{:?}", store.verify());
    let list = store.allocation_list("T").expect("read").expect("there");
    assert_eq!((list.total, list.slots, list.plan.as_str(), list.signature), (92, 92, "", None));
    let all = store.allocations("T").expect("read");
    assert_eq!(all.len() as i64, ALLOCATED);
    for (n, a) in (1..).zip(&all) {
        let id = (a.id.as_str(), a.subject.as_str(), a.idempotency_key.as_str());
        assert_eq!(
            id,
            (format!("alloc-{n}").as_str(), format!("Patient/{n}").as_str(), format!("key {n}").as_str())
        );
        assert_eq!((a.number, a.stratum, a.position, a.decision_seq), (n, 0, n, n));
        assert_eq!((a.levels.as_str(), a.leaf.as_str(), a.proof.as_str()), ("{}", "", "[\"proof\"]"));
        assert_eq!((a.actor.as_str(), a.at.as_str(), a.signature), ("Dr Old", "2026-01-02", None));
        assert_eq!(store.sealed_slot("list-1", 0, n), Ok(Some(format!("sealed {n}").into_bytes())));
    }
    assert_eq!(store.deviations(None).expect("read")[0].allocation_id, "alloc-7");
    let again = store.allocate(request("Patient/7", "key 7"), draw()).expect("replayed");
    assert!(again.replayed && again.allocation == all[6]);
    store.put_decision(decision("Patient/61", "{}")).expect("decided");
    let next = store.allocate(request("Patient/61", "k"), draw()).expect("allocated").allocation;
    assert_eq!((next.number, next.position), (61, 61));
    // References are followed again, and nothing is edited.
    let hand = by_hand(&dir);
    hand.pragma_update(None, "foreign_keys", true).expect("set");
    for sql in ["DELETE FROM allocation", "DELETE FROM allocation_slot", "UPDATE allocation SET actor = ''"] {
        assert!(hand.execute(sql, []).is_err(), "{sql}");
    }
    let followed = store.write(|c| {
        c.pragma_query_value(None, "foreign_keys", |r| r.get::<_, i64>(0)).map_err(trouble("testing"))
    });
    assert_eq!(followed, Ok(1));
}

#[test]
fn what_could_not_be_rewritten_is_rewritten_at_the_next_start() {
    let dir = version_0_2();
    {
        let mut c = Connection::open(dir.path().join(DATABASE)).expect("opened");
        migrate(&mut c, MIGRATIONS).expect("brought forward");
        // Stopped here: the note is there, the file as the step left it.
        let noted: i64 =
            c.query_row("SELECT count(*) FROM meta WHERE key = 'scrub'", [], |r| r.get(0)).expect("read");
        assert_eq!(noted, 1);
    }
    let store = open(dir.path()).expect("opened");
    assert_eq!(store.meta("scrub"), Ok(None));
    for text in [ARM, SALT] {
        assert_eq!(holding(dir.path(), text), [] as [&str; 0]);
    }
    // A store that never held an arm is not rewritten.
    assert_eq!(fresh().1.meta("scrub"), Ok(None));
}

#[test]
fn a_step_that_leaves_a_reference_hanging_is_undone() {
    use crate::store::sqlite::migrate::Migration;
    let first = Migration {
        name: "0001",
        sql: "CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
              CREATE TABLE child (parent INTEGER REFERENCES parent (id)) STRICT;
              INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);",
    };
    let careless = Migration { name: "0002", sql: "DELETE FROM parent;" };
    let mut c = Connection::open_in_memory().expect("memory");
    c.pragma_update(None, "foreign_keys", true).expect("set");
    migrate(&mut c, &[first]).expect("first");
    let first = Migration { name: "0001", sql: "" };
    assert_eq!(migrate(&mut c, &[first, careless]).expect_err("refused").code(), "corrupt");
    let left: i64 = c.query_row("SELECT count(*) FROM parent", [], |r| r.get(0)).expect("read");
    assert_eq!(left, 1);
    assert!(c.execute("DELETE FROM parent", []).is_err(), "references are followed again");
}
