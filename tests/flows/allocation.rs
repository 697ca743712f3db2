//! The sealed list: made once, says nothing, and shows every tampering.

use super::support::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn eligible() -> Hospital {
    Hospital::of(&["p-001", "p-003", "p-004"])
}

fn says_nothing(text: &str) {
    let lower = text.to_lowercase();
    for word in ["single", "double", "arm", "block", "position", "seed", "infusion"] {
        assert!(!lower.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_list_is_made_once_and_its_status_says_nothing() {
    let hospital = eligible();
    let bench = Bench::new(&hospital);
    bench.ok(&["pull"]);
    bench.run(&["allocation", "verify"]).code(17).says("no list yet");
    bench.run(&["randomize", "p-001", "--by", "A"]).code(17).says("generate");
    let before = bench.ok(&["allocation", "status"]).json();
    assert!(before["list"].is_null());
    let made = bench.ok(&["allocation", "generate", "--by", "statistician"]);
    says_nothing(&made.out);
    let mode = fs::metadata(bench.path("allocation.key")).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = fs::read_to_string(bench.path("allocation.key")).expect("the key");
    bench.run(&["allocation", "generate", "--by", "statistician"]).code(17);
    bench.ok(&["randomize", "p-001", "--by", "A"]);
    for output in ["json", "table", "ndjson"] {
        let status = bench.ok(&["allocation", "status", "-o", output]);
        says_nothing(&status.out);
        says_nothing(&status.err);
        says_nothing(&bench.ok(&["allocation", "verify", "-o", output]).out);
        status.keeps_secrets([key.trim()].into_iter());
    }
    let status = bench.ok(&["allocation", "status"]).json();
    assert_eq!((status["planned"].as_i64(), status["allocated"].as_i64()), (Some(92), Some(1)));
    assert_eq!(made.json()["commitment"], status["commitment"]);
    // Nothing in the data directory opens the list or tells an arm that was not drawn.
    for name in ["trialbridge.db", "trialbridge.db-wal"] {
        let Ok(bytes) = fs::read(bench.path("data").join(name)) else { continue };
        let holds = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(!holds(key.trim()), "{name} holds the key");
    }
    let sealed =
        "SELECT count(*) FROM allocation_slot WHERE instr(lower(CAST(sealed AS TEXT)), 'infusion') > 0";
    assert_eq!(bench.count(sealed), 0);
    says_nothing(
        &bench
            .ok(&["audit", "show"])
            .lines()
            .iter()
            .filter(|e| e["action"] == "allocation.generate")
            .map(ToString::to_string)
            .collect::<String>(),
    );
}

#[test]
fn the_key_lies_outside_and_is_its_owners_alone() {
    let hospital = eligible();
    let bench = Bench::ready(&hospital, "");
    let run = |bench: &Bench| bench.run(&["randomize", "p-001", "--by", "A"]);
    let key = bench.path("allocation.key");
    let open = |mode: u32| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("a mode");
    open(0o644);
    run(&bench).code(10).says("can be read by others");
    open(0o600);
    let text = fs::read_to_string(&key).expect("the key");
    for (wrong, code) in [("zz".to_owned(), 10), (String::new(), 10), ("00".repeat(32), 16)] {
        fs::write(&key, &wrong).expect("written");
        run(&bench).code(code).keeps_secrets([text.trim()].into_iter());
        bench.run(&["allocation", "verify"]).code(code);
        bench.run(&["allocation", "reveal", "--by", "S", "--reason", "end"]).code(code);
    }
    fs::remove_file(&key).expect("removed");
    run(&bench).code(10).says("cannot be read");
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 0);
    fs::write(&key, &text).expect("written");
    open(0o600);

    fs::copy(&key, bench.path("data/inside.key")).expect("copied");
    let inside = bench.path("data/inside.key").display().to_string();
    let mut command = bench.command(&["randomize", "p-001", "--by", "A"]);
    command.env("TRIALBRIDGE_ALLOCATION__KEY_FILE", inside);
    finished(&["inside"], command.output().expect("runs")).code(10).says("lies in the data directory");
    run(&bench).code(0);
}

#[test]
fn allocations_follow_the_list_that_is_revealed() {
    let hospital = eligible();
    let bench = Bench::ready(&hospital, "");
    let mut drawn = Vec::new();
    for id in ["p-004", "p-001", "p-003"] {
        let v = bench.ok(&["randomize", id, "--by", "A"]).json();
        drawn.push(v["arm"].as_str().expect("disclosed").to_owned());
    }
    bench.run(&["allocation", "reveal", "--by", "S"]).code(2);
    let revealed = bench.ok(&["allocation", "reveal", "--by", "S", "--reason", "the trial has ended"]).json();
    let slots = revealed["slots"].as_array().expect("slots");
    let arms: Vec<&str> = slots.iter().filter_map(|s| s["arm"].as_str()).collect();
    assert_eq!(arms[..3], drawn);
    assert_eq!(arms.len(), 92);
    assert_eq!(arms.iter().filter(|a| **a == ARMS[0]).count(), 46);
    assert_eq!(revealed["commitment"], bench.ok(&["allocation", "status"]).json()["commitment"]);
    let log = bench.ok(&["audit", "show"]).lines();
    let last = log.iter().rfind(|e| e["action"] == "allocation.reveal").expect("in the log");
    assert_eq!(
        (last["actor"].as_str(), last["detail"]["reason"].as_str()),
        (Some("S"), Some("the trial has ended"))
    );
}

#[test]
fn every_tampering_is_found() {
    let hospital = eligible();
    let bench = Bench::ready(&hospital, "");
    bench.ok(&["randomize", "p-001", "--by", "A"]);
    bench.ok(&["verify"]);
    bench.ok(&["audit", "verify"]);
    bench.ok(&["allocation", "verify"]);
    let other = "CASE arm WHEN 'Single infusion' THEN 'Double infusion' ELSE 'Single infusion' END";
    let swap = "UPDATE allocation_slot SET sealed = (SELECT sealed FROM allocation_slot o WHERE o.position = 5 - allocation_slot.position) WHERE position IN (2, 3)";
    // what is done, and which of `allocation verify`, `verify`, `audit verify` has to find it
    let table: [(&str, String, [bool; 3]); 13] = [
        ("another arm", format!("UPDATE allocation SET arm = {other}"), [true, true, false]),
        ("another salt", "UPDATE allocation SET salt = '00'".into(), [true, true, false]),
        ("another proof", "UPDATE allocation SET proof = 'x'".into(), [true, true, false]),
        ("another position", "UPDATE allocation SET position = 2".into(), [true, true, false]),
        (
            "another participant",
            "UPDATE allocation SET subject = 'Patient/p-003'".into(),
            [false, true, true],
        ),
        ("slots swapped", swap.into(), [true, false, false]),
        (
            "a slot damaged",
            "UPDATE allocation_slot SET sealed = x'78' WHERE position = 9".into(),
            [true, false, false],
        ),
        ("a slot taken out", "DELETE FROM allocation_slot WHERE position = 92".into(), [true, true, false]),
        (
            "another commitment",
            "UPDATE allocation_list SET commitment = 'sha256:' || replace(hex(zeroblob(32)), '0', 'a')"
                .into(),
            [true, true, false],
        ),
        (
            "an audit entry edited",
            "UPDATE audit SET actor = 'B' WHERE sequence = 2".into(),
            [false, true, true],
        ),
        (
            "an audit entry emptied",
            "UPDATE audit SET actor = '', at = 'never' WHERE sequence = 2".into(),
            [false, true, true],
        ),
        (
            "an audit hash damaged",
            "UPDATE audit SET hash = 'x' WHERE sequence = (SELECT max(sequence) FROM audit)".into(),
            [false, true, true],
        ),
        ("an audit entry taken out", "DELETE FROM audit WHERE sequence = 2".into(), [false, true, true]),
    ];
    for (what, sql, found) in table {
        let copy = bench.fork();
        let database = copy.database();
        let triggers: Vec<String> = {
            let mut names =
                database.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").expect("sql");
            names.query_map([], |r| r.get(0)).expect("sql").map(|n| n.expect("a name")).collect()
        };
        for trigger in triggers {
            database.execute_batch(&format!("DROP TRIGGER {trigger}")).expect("dropped");
        }
        database.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}")).expect(what);
        drop(database);
        let commands: [&[&str]; 3] = [&["allocation", "verify"], &["verify"], &["audit", "verify"]];
        for (command, found) in commands.iter().zip(found) {
            let ran = copy.run(command);
            assert_eq!(ran.code, if found { 16 } else { 0 }, "{what}: {command:?}: {} {}", ran.out, ran.err);
        }
        if what.starts_with("slots") || what.contains("commitment") {
            copy.run(&["randomize", "p-003", "--by", "A"]).code(16).says("list-unverified");
        }
        if what.contains("hash damaged") {
            // Nothing is done that cannot be written down.
            let ran = copy.run(&["randomize", "p-003", "--by", "A"]);
            assert_ne!(ran.code, 0, "{}", ran.out);
            assert_eq!(copy.count("SELECT count(*) FROM allocation"), 1);
        }
    }
}
