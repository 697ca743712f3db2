//! One draw for one participant, whatever is repeated, hurried or refused.

use super::support::*;
use std::process::Child;
use std::sync::Arc;
use trialbridge::cli::{Global, randomize, shell};
use trialbridge::source::inbox;

#[test]
fn every_refusal_has_its_reason_and_takes_no_slot() {
    let hospital = Hospital::of(&["p-001", "p-007", "p-009", "p-060"]);
    let bench = Bench::ready(&hospital, "");
    for (id, reason) in [
        ("p-060", "undetermined"),
        ("p-009", "not-eligible"),
        ("p-007", "no-consent"),
        ("p-999", "no-decision"),
    ] {
        for arguments in [vec!["randomize", id, "--by", "A"], vec!["randomize", id, "--by", "A", "--dry-run"]]
        {
            let ran = bench.run(&arguments).code(17).says(reason);
            assert!(ran.out.is_empty());
        }
    }
    bench.run(&["randomize", "p-001", "--by", ""]).code(2);
    bench.run(&["randomize", "p-001"]).code(2);
    bench.run(&["randomize", "not an id", "--by", "A"]).code(2);
    let dry = bench.ok(&["randomize", "p-001", "--by", "A", "--dry-run"]).json();
    assert_eq!(dry["possible"], true);
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 0);
    bench.ok(&["randomize", "p-001", "--by", "A"]);
    assert_eq!(bench.count("SELECT position FROM allocation"), 1);
    bench.run(&["randomize", "p-001", "--by", "A", "--dry-run"]).code(17).says("duplicate");
}

#[test]
fn the_same_key_gives_the_same_and_another_key_gives_nothing() {
    let hospital = Hospital::of(&["p-001", "p-003"]);
    let bench = Bench::ready(&hospital, "");
    let first = bench.ok(&["randomize", "p-001", "--by", "A", "--key", "k1"]).json();
    assert!(ARMS.iter().any(|a| first["arm"] == *a));
    assert_eq!(first["replayed"], false);
    // Without the key file the retry still says that it is done; only the arm cannot be read.
    std::fs::rename(bench.path("allocation.key"), bench.path("away")).expect("moved");
    let unread = bench.run(&["randomize", "Patient/p-001", "--by", "B", "--key", "k1"]).code(10);
    let unread = unread.says("cannot be read").json();
    assert_eq!((&unread["allocation"], unread["replayed"].as_bool()), (&first["allocation"], Some(true)));
    assert!(unread.get("arm").is_none());
    std::fs::rename(bench.path("away"), bench.path("allocation.key")).expect("moved");
    let again = bench.ok(&["randomize", "Patient/p-001", "--by", "B", "--key", "k1"]).json();
    assert_eq!(again["replayed"], true);
    for key in ["allocation", "arm", "at", "by"] {
        assert_eq!(first[key], again[key], "{key}");
    }
    let id = first["allocation"].as_str().expect("an id").to_owned();
    for (arguments, reason) in [
        (vec!["randomize", "p-001", "--by", "A", "--key", "k2"], id.as_str()),
        (vec!["randomize", "p-001", "--by", "A"], &id),
        // Of somebody else's allocation not even the id is told.
        (vec!["randomize", "p-003", "--by", "A", "--key", "k1"], "another participant"),
    ] {
        let ran = bench.run(&arguments).code(17).says(reason);
        ran.keeps_secrets(ARMS.into_iter());
    }
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 1);
    bench.ok(&["consent", "withdraw", "p-001", "--by", "C"]);
    let later = bench.ok(&["randomize", "p-001", "--by", "A", "--key", "k1"]).json();
    assert_eq!(later["allocation"], first["allocation"]);
    assert_eq!(bench.count("SELECT count(*) FROM audit WHERE action = 'allocate'"), 1);
    bench.ok(&["verify"]);
}

#[test]
fn a_withheld_arm_is_not_printed() {
    let hospital = Hospital::of(&["p-001", "p-003"]);
    for policy in ["withhold", "code"] {
        let bench = Bench::ready(&hospital, &format!("[writeback]\narm = \"{policy}\"\n"));
        for arguments in [
            vec!["randomize", "p-001", "--by", "A"],
            vec!["randomize", "p-001", "--by", "A", "-o", "table"],
            vec!["randomize", "p-003", "--by", "A", "-o", "table", "-vv"],
            vec!["subjects", "-o", "table"],
            vec!["explain", "p-001"],
            vec!["audit", "show"],
            vec!["allocation", "status"],
        ] {
            bench.ok(&arguments).keeps_secrets(ARMS.into_iter());
        }
    }
}

#[test]
fn a_list_that_is_used_up_gives_nothing_more() {
    let hospital = Hospital::of(&["p-001", "p-002", "p-003", "p-004", "p-005"]);
    let bench = Bench::new(&hospital);
    let folder = bench.path("tiny");
    tiny_trial(&folder);
    let folder = folder.display().to_string();
    let run = |args: &[&str]| bench.run(&[&["--trial", &folder], args].concat());
    run(&["pull"]).code(0);
    run(&["allocation", "generate", "--by", "S"]).code(0);
    let mut arms: Vec<String> = Vec::new();
    for id in ["p-001", "p-002", "p-003", "p-004"] {
        arms.push(run(&["randomize", id, "--by", "A"]).code(0).json()["arm"].to_string());
    }
    arms.sort();
    assert_eq!((&arms[0], &arms[2]), (&arms[1], &arms[3]));
    assert_ne!(arms[1], arms[2], "two of each in a block of four");
    run(&["randomize", "p-005", "--by", "A"]).code(17).says("slots of the allocation list are used");
    run(&["randomize", "p-004", "--by", "A"]).code(0);
    run(&["verify"]).code(0);
    // The list of one definition is not used under another.
    bench.run(&["randomize", "p-005", "--by", "A"]).code(17);
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 4);
}

#[test]
fn data_that_come_in_between_are_looked_at_first() {
    let hospital = Hospital::of(&["p-001", "p-003"]);
    let bench = Bench::ready(&hospital, "");
    let global = Global { config: Some(bench.path("trialbridge.toml")), ..Global::default() };
    let refusal = {
        let shell = shell::Shell::new(&global).unwrap_or_else(|e| panic!("{}", e.message));
        let store = shell.open("test").unwrap_or_else(|e| panic!("{}", e.message));
        let consent = hospital
            .sandbox
            .resources("Consent")
            .into_iter()
            .find(|c| c["patient"]["reference"] == "Patient/p-001");
        let mut consent = consent.expect("a consent");
        consent["status"] = "inactive".into();
        consent["meta"] = serde_json::json!({"versionId": "2", "lastUpdated": trialbridge::pipeline::stamp(chrono::Utc::now())});
        inbox::accept(&*store, "pull", &hospital.url, consent.to_string().into_bytes()).expect("stored");
        // The check of the transaction itself: what lies unread refuses the draw.
        randomize::draw(&shell, &Arc::clone(&store), "Patient/p-001", "A", "k").expect_err("stale")
    };
    assert_eq!(refusal.code, 17);
    assert!(refusal.message.contains("stale-eligibility"), "{}", refusal.message);
    // The command reads it first, and then says what it came to.
    bench.run(&["randomize", "p-001", "--by", "A"]).code(17).says("not-eligible").says("I3");
    bench.ok(&["randomize", "p-003", "--by", "A"]);
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 1);
}

#[test]
fn eight_at_once_are_one_allocation() {
    let hospital = Hospital::of(&["p-001", "p-003"]);
    let bench = Bench::ready(&hospital, "");
    let start = |n: usize| -> Child {
        let key = format!("key-{}", n % 2);
        let mut command = bench.command(&["randomize", "p-001", "--by", "A", "--key", &key]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().expect("started")
    };
    let children: Vec<Child> = (0..8).map(start).collect();
    let mut allocated = Vec::new();
    for child in children {
        let ran = finished(&["randomize"], child.wait_with_output().expect("ended"));
        match ran.code {
            0 => allocated.push(ran.json()["allocation"].to_string()),
            15 => assert!(ran.err.contains("process"), "{}", ran.err),
            17 => assert!(ran.err.contains("alloc-"), "{}", ran.err),
            other => panic!("{other}: {}", ran.err),
        }
    }
    allocated.dedup();
    assert_eq!(allocated.len(), 1);
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 1);
    assert_eq!(bench.count("SELECT count(*) FROM audit WHERE action = 'allocate'"), 1);
    assert_eq!(bench.count("SELECT count(*) FROM outbox"), 1);
}

#[test]
fn the_second_process_is_told_who_writes() {
    let hospital = Hospital::of(&["p-001"]);
    let bench = Bench::ready(&hospital, "");
    let global = Global { config: Some(bench.path("trialbridge.toml")), ..Global::default() };
    let shell = shell::Shell::new(&global).unwrap_or_else(|e| panic!("{}", e.message));
    let store = shell.open("a long pull").unwrap_or_else(|e| panic!("{}", e.message));
    for arguments in [
        vec!["pull"],
        vec!["randomize", "p-001", "--by", "A"],
        vec!["writeback"],
        vec!["replay"],
        vec!["consent", "withdraw", "p-001", "--by", "A"],
    ] {
        let ran = bench.run(&arguments).code(15).says("a long pull");
        assert!(ran.err.contains(&std::process::id().to_string()), "{}", ran.err);
    }
    // Who only looks is not kept waiting.
    for arguments in [
        vec!["subjects"],
        vec!["explain", "p-001"],
        vec!["verify"],
        vec!["audit", "verify"],
        vec!["allocation", "status"],
    ] {
        bench.ok(&arguments);
    }
    drop(store);
    bench.ok(&["pull"]);
}
