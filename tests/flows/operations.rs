//! Looking after the store: quarantine, verify, replay, backup, a full disk, a killed process.

use super::support::*;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

const GOOD: &str = r#"{"resourceType":"Patient","id":"x1","gender":"male","birthDate":"1970-01-01"}"#;

#[test]
fn what_cannot_be_used_is_kept_shown_and_read_again() {
    let hospital = Hospital::of(&["p-001"]);
    let bench = Bench::new(&hospital);
    let folder = bench.path("files");
    fs::create_dir(&folder).expect("a folder");
    let lines = [
        GOOD,
        r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/x1"},"status":"final","status":"final"}"#,
        r#"{"resourceType":"Spaceship","id":"s1"}"#,
        r#"{"resourceType":"Observation","id":"o2","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1975-2"}]}}"#,
        r#"{"resourceType":"Obser"#,
    ];
    fs::write(folder.join("a.ndjson"), lines.join("\n")).expect("written");
    fs::write(folder.join("b.json"), "{\n \"resourceType\": \"Patient\",\n \"id\": \"x2\"\n}\n")
        .expect("written");
    fs::write(folder.join("c.json"), "").expect("written");
    fs::write(folder.join("notes.txt"), "not FHIR").expect("written");
    let path = folder.display().to_string();
    let ran =
        bench.run(&["import", &path, "/nonexistent.json"]).code(1).says("c.json").says("/nonexistent.json");
    assert!(!ran.err.contains("notes.txt"), "{}", ran.err);
    let report = ran.json();
    assert_eq!(report["schema"], "trialbridge/import/v1");
    let subjects = bench.subjects();
    assert_eq!(subjects.keys().collect::<Vec<_>>(), ["Patient/x1", "Patient/x2"]);
    assert!(
        subjects["Patient/x1"]["gaps"].to_string().contains("Observation/o1"),
        "{}",
        subjects["Patient/x1"]["gaps"]
    );

    let list = bench.ok(&["quarantine", "list"]).lines();
    let mut reasons: Vec<&str> = list.iter().filter_map(|q| q["reason"].as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(list.len(), 4, "{list:?}");
    assert!(reasons.contains(&"unknown-type") && reasons.contains(&"subject-missing"), "{reasons:?}");
    assert_eq!(report["quarantined"].as_u64(), Some(4));
    for q in &list {
        let shown = bench.ok(&["quarantine", "show", &q["id"].to_string()]).out;
        assert!(lines.contains(&shown.trim_end()), "{shown}");
    }
    bench.run(&["quarantine", "show", "999"]).code(1);
    bench.run(&["quarantine", "replay", "999"]).code(1);
    // What is still broken stays in quarantine: reading it again is no cure.
    let replayed = bench.ok(&["quarantine", "replay"]).json();
    assert_eq!(replayed["quarantined"].as_u64(), Some(4), "{replayed}");
    assert_eq!(bench.ok(&["quarantine", "list"]).lines().len(), 4);
    let first = list[0]["id"].to_string();
    bench.ok(&["quarantine", "replay", &first]);
    assert_eq!(bench.ok(&["quarantine", "list"]).lines().len(), 4);
    let log = bench.ok(&["audit", "show"]).lines();
    assert_eq!(log.iter().filter(|e| e["action"] == "quarantine.replay").count(), 2);
    assert_eq!(log.iter().filter(|e| e["action"] == "quarantine.resolve").count(), 0);
    // What can be read by now is resolved, and what is not, is not: an entry of an older reader.
    let older = "INSERT INTO quarantine (inbox_seq, reason, path, sha256, at)
                 SELECT seq, 'structure', 'birthDate', sha256, 'then' FROM inbox ORDER BY seq LIMIT 1";
    bench.database().execute_batch(older).expect("sql");
    assert_eq!(bench.ok(&["quarantine", "list"]).lines().len(), 5);
    bench.ok(&["quarantine", "replay"]);
    assert_eq!(bench.ok(&["quarantine", "list"]).lines(), list);
    let log = bench.ok(&["audit", "show"]).lines();
    assert_eq!(log.iter().filter(|e| e["action"] == "quarantine.resolve").count(), 1);

    let v = bench.ok(&["verify"]).json();
    let inbox = |key: &str| v["inbox"][key].as_u64().expect("a number");
    assert_eq!(inbox("total"), inbox("processed") + inbox("quarantined") + inbox("pending"));
    assert_eq!((inbox("total"), inbox("pending")), (6, 0));
}

#[test]
fn a_replay_comes_to_the_same_and_a_backup_opens() {
    let hospital = Hospital::of(&["p-001", "p-007", "p-009", "p-021", "p-045"]);
    let bench = Bench::ready(&hospital, "");
    bench.ok(&["consent", "record", "p-007", "--by", "C"]);
    bench.ok(&["randomize", "p-007", "--by", "A"]);
    let (before, decisions) = (bench.ok(&["subjects"]).out, bench.count("SELECT count(*) FROM decision"));
    for _ in 0..2 {
        assert_eq!(bench.ok(&["replay"]).json()["decisions"], serde_json::json!(0));
        assert_eq!(bench.ok(&["subjects"]).out, before);
        assert_eq!(bench.count("SELECT count(*) FROM decision"), decisions);
    }
    let to = bench.path("copy.db").display().to_string();
    let backup = bench.ok(&["backup", &to]).json();
    assert_eq!(backup["bytes"].as_u64(), fs::metadata(&to).ok().map(|m| m.len()));
    bench.run(&["backup", &to]).code(1).says("never replaces");
    bench.run(&["backup", "/nonexistent/copy.db"]).code(1);
    // The copy is a data directory as it is.
    let copy = bench.fork();
    for name in ["trialbridge.db", "trialbridge.db-wal", "trialbridge.db-shm"] {
        let _ = fs::remove_file(copy.path("data").join(name));
    }
    fs::copy(&to, copy.path("data/trialbridge.db")).expect("copied");
    assert_eq!(copy.ok(&["subjects"]).out, before);
    copy.ok(&["verify"]);
    copy.ok(&["audit", "verify"]);
    copy.ok(&["allocation", "verify"]);
    let again = copy.ok(&["randomize", "p-007", "--by", "A"]).json();
    assert_eq!(again["replayed"], true);
}

/// Files may grow to `blocks` of 512 bytes. The signal is ignored, so that a write fails as on a full disk.
fn with_little_room(bench: &Bench, blocks: u32, args: &[&str]) -> Ran {
    let inner = bench.command(args);
    let mut command = Command::new("/bin/sh");
    command.env_clear().current_dir(bench.path("elsewhere")).stdin(Stdio::null());
    command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"")).arg("sh");
    command.arg(inner.get_program()).args(inner.get_args());
    finished(args, command.output().expect("a shell"))
}

#[test]
fn a_disk_without_room_is_an_error_and_loses_nothing() {
    let hospital = Hospital::of(&["p-001", "p-007", "p-009"]);
    let whole = Bench::new(&hospital);
    whole.ok(&["pull"]);
    let expected = whole.ok(&["subjects"]).out;
    let bench = Bench::new(&hospital);
    bench.ok(&["pull", "--patient", "p-009"]);
    let before = bench.ok(&["subjects"]).out;
    let ran = with_little_room(&bench, 420, &["pull"]);
    assert_eq!(ran.code, 1, "{} {}", ran.out, ran.err);
    assert!(ran.err.contains("error:"), "{}", ran.err);
    bench.ok(&["verify"]);
    assert!(bench.ok(&["subjects"]).out.contains(before.trim_end()));
    bench.ok(&["pull"]);
    assert_eq!(bench.ok(&["subjects"]).out, expected);
    bench.ok(&["verify"]);
    let full = bench.path("copy.db").display().to_string();
    assert_eq!(with_little_room(&bench, 64, &["backup", &full]).code, 1);
    assert!(!bench.path("copy.db").exists() && !bench.path("copy.db.partial").exists());

    // A small file system, where one may be mounted.
    let mount = bench.path("small");
    fs::create_dir(&mount).expect("a folder");
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=900k", "tmpfs"]).arg(&mount).output();
    if !mounted.is_ok_and(|o| o.status.success()) {
        eprintln!("no file system can be mounted here: the full disk is tried with a limit on files only");
        return;
    }
    let data = mount.join("data").display().to_string();
    let ran = bench.run(&["--data-dir", &data, "pull"]);
    let verified = bench.run(&["--data-dir", &data, "verify"]);
    let unmounted = Command::new("umount").arg(&mount).status();
    assert!(unmounted.is_ok_and(|s| s.success()));
    let ran = ran.code(1).says("error:");
    assert!(ran.err.contains("full") || ran.err.contains("space"), "{}", ran.err);
    verified.code(0);
}

#[test]
fn a_killed_pull_is_gone_on_with() {
    let hospital = Hospital::of(&["p-001", "p-007", "p-009", "p-021", "p-045"]);
    let whole = Bench::new(&hospital);
    whole.ok(&["pull"]);
    let expected = whole.ok(&["subjects"]).out;
    // Killed when so many requests have arrived: no clock decides.
    for requests in [1, 2, 5, 12, 23, 38, 50] {
        let bench = Bench::new(&hospital);
        hospital.sandbox.faults().forget_requests();
        let mut child =
            bench.command(&["pull"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        while hospital.sandbox.faults().requests().len() < requests
            && child.try_wait().expect("a child").is_none()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = child.kill();
        child.wait().expect("ended");
        if bench.path("data/trialbridge.db").exists() {
            let v = bench.run(&["verify"]);
            // A database without its tables yet is one that nothing was promised of.
            assert!(
                v.code == 0 || v.err.contains("schema") || v.err.contains("not found"),
                "{requests}: {} {}",
                v.out,
                v.err
            );
        }
        bench.ok(&["pull"]);
        assert_eq!(bench.ok(&["subjects"]).out, expected, "{requests}");
        bench.ok(&["verify"]);
        bench.ok(&["audit", "verify"]);
    }
}

#[test]
fn a_killed_draw_is_one_draw_or_none() {
    let hospital = Hospital::of(&["p-001"]);
    let ready = Bench::ready(&hospital, "");
    for wait in [0, 2, 5, 10, 15, 20, 30, 45] {
        let bench = ready.fork();
        let mut command = bench.command(&["randomize", "p-001", "--by", "A", "--key", "k"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(wait));
        let _ = child.kill();
        child.wait().expect("ended");
        let first = bench.ok(&["randomize", "p-001", "--by", "A", "--key", "k"]).json();
        let again = bench.ok(&["randomize", "p-001", "--by", "A", "--key", "k"]).json();
        assert_eq!((&first["allocation"], &first["arm"]), (&again["allocation"], &again["arm"]));
        for sql in [
            "SELECT count(*) FROM allocation",
            "SELECT count(*) FROM outbox",
            "SELECT count(*) FROM audit WHERE action = 'allocate'",
        ] {
            assert_eq!(bench.count(sql), 1, "{wait}: {sql}");
        }
        bench.ok(&["verify"]);
        bench.ok(&["allocation", "verify"]);
    }
}

#[test]
fn a_processed_document_without_its_records_is_found() {
    let hospital = Hospital::of(&["p-001"]);
    let bench = Bench::new(&hospital);
    let file = bench.path("a.json");
    fs::write(&file, GOOD).expect("written");
    bench.ok(&["import", &file.display().to_string()]);
    bench.ok(&["verify"]);
    // Somebody takes a patient out, and every row that refers to it: nothing is left that dangles.
    bench
        .database()
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             DELETE FROM person_identifier; DELETE FROM person_link; DELETE FROM record; DELETE FROM record_history;",
        )
        .expect("sql");
    let report = bench.run(&["verify"]).code(16).json();
    let checks: Vec<_> =
        report["findings"].as_array().expect("findings").iter().map(|f| f["check"].clone()).collect();
    assert_eq!(checks, ["processed-has-records"], "{report}");
    // The inbox has it all: it is worked out again.
    bench.ok(&["replay"]);
    bench.ok(&["verify"]);
}
