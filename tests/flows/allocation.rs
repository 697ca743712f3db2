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
fn no_arm_stands_anywhere_but_in_its_slot() {
    let hospital = eligible();
    let bench = Bench::ready(&hospital, "");
    for id in ["p-001", "p-003", "p-004"] {
        let made = bench.ok(&["randomize", id, "--by", "A"]).json();
        assert!(ARMS.iter().any(|arm| made["arm"] == *arm), "shown to whoever asked");
    }
    bench.ok(&["writeback"]);
    bench.ok(&["unblind", "p-001", "--by", "A", "--category", "planned", "--reason", "the end"]);
    bench.ok(&["backup", &bench.path("copy.db").display().to_string()]);
    let data = ["trialbridge.db", "trialbridge.db-wal"].map(|name| bench.path("data").join(name));
    for file in data.into_iter().chain([bench.path("copy.db")]) {
        let bytes = fs::read(&file).unwrap_or_default();
        for arm in ARMS {
            let at = bytes.windows(arm.len()).position(|w| w.eq_ignore_ascii_case(arm.as_bytes()));
            assert_eq!(at, None, "{} names an arm", file.display());
        }
    }
    assert!(fs::metadata(bench.path("copy.db")).expect("a copy").len() > 10_000, "or nothing was searched");
    // Every look is written down, the hospital's once.
    bench.ok(&["writeback"]);
    let log = bench.ok(&["audit", "show"]).lines();
    let looks = |purpose: &str| {
        let mut all = log.iter().filter(|e| e["action"] == "arm.disclose").collect::<Vec<_>>();
        all.retain(|e| e["detail"]["purpose"] == purpose);
        all.iter().map(|e| e["subject"].as_str().expect("a subject").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(looks("view"), ["Patient/p-001", "Patient/p-003", "Patient/p-004"]);
    let mut told = looks("write-back");
    told.sort();
    assert_eq!(told, ["Patient/p-001", "Patient/p-003", "Patient/p-004"]);
}

#[test]
fn one_participant_is_unblinded_and_everybody_is_shown_that() {
    let hospital = eligible();
    let withheld = "[writeback]\narm = \"withhold\"\n";
    let bench = Bench::ready(&hospital, withheld);
    for id in ["p-001", "p-003"] {
        bench.ok(&["randomize", id, "--by", "A"]).keeps_secrets(ARMS.into_iter());
    }
    // The hospital's server is of no use to it.
    drop(hospital);
    let unblind = |id: &str, category: &str, reason: &str| {
        bench.run(&["unblind", id, "--by", "Dr Li", "--category", category, "--reason", reason])
    };
    unblind("p-001", "emergency", " ").code(2);
    unblind("p-001", "curiosity", "r").code(2);
    unblind("p-001", "inadvertent", "was seen with a single Infusion bag").code(2).says("names an arm");
    unblind("p-004", "emergency", "shock").code(17).says("not-allocated");
    fs::rename(bench.path("allocation.key"), bench.path("away")).expect("moved");
    unblind("p-001", "emergency", "shock").code(10);
    fs::rename(bench.path("away"), bench.path("allocation.key")).expect("moved");
    assert_eq!(bench.count("SELECT count(*) FROM allocation_event"), 0, "nothing was told");
    let told = unblind("p-001", "emergency", "anaphylactic shock").code(0);
    let (told, log) = (told.json(), told.err);
    assert!(ARMS.iter().any(|arm| told["arm"] == *arm), "{told}");
    assert_eq!((told["category"].as_str(), told["by"].as_str()), (Some("emergency"), Some("Dr Li")));
    assert!(log.contains("unblind") && log.contains(told["allocation"].as_str().expect("an id")), "{log}");
    assert!(!ARMS.iter().any(|arm| log.contains(arm)), "{log}");

    for arguments in
        [vec!["subjects", "-o", "table"], vec!["explain", "p-001", "-o", "table"], vec!["audit", "show"]]
    {
        let shown = bench.ok(&arguments);
        assert!(shown.out.contains("unblind"), "{}", shown.out);
        shown.keeps_secrets(ARMS.into_iter());
    }
    let explained = bench.ok(&["explain", "p-001"]).json();
    let event = &explained["allocation"]["events"][0];
    assert_eq!(
        (event["kind"].as_str(), event["by"].as_str(), event["detail"]["category"].as_str()),
        (Some("unblinded"), Some("Dr Li"), Some("emergency"))
    );
    assert!(
        bench.ok(&["explain", "p-003"]).json()["allocation"]["events"].as_array().expect("none").is_empty()
    );
    assert!(bench.ok(&["explain", "p-004"]).json()["allocation"].is_null());
    bench.ok(&["verify"]);
}

#[test]
fn an_error_is_marked_and_its_slot_stays_used() {
    let hospital = eligible();
    let bench = Bench::ready(&hospital, "");
    let first = bench.ok(&["randomize", "p-001", "--by", "A"]).json();
    let mark = |id: &str| {
        bench.run(&["allocation", "mark-in-error", id, "--by", "B", "--reason", "consent form of another"])
    };
    mark("p-003").code(17).says("not-allocated");
    assert_eq!(mark("p-001").code(0).json()["allocation"], first["allocation"]);
    mark("p-001").code(17).says("already-marked");
    assert!(bench.ok(&["subjects", "-o", "table"]).out.contains("yes, in error"));
    let again = bench.ok(&["randomize", "p-001", "--by", "A"]).json();
    assert_eq!((&again["allocation"], again["replayed"].as_bool()), (&first["allocation"], Some(true)));
    bench.ok(&["randomize", "p-003", "--by", "A"]);
    assert_eq!(bench.count("SELECT max(position) FROM allocation"), 2);
    let stratum =
        ["allocation", "correct-stratum", "p-001", "--by", "B", "--reason", "r", "--factor", "site=north"];
    bench.run(&stratum).code(2).says("no such factor").says("one stratum");
    bench.ok(&["verify"]);
    bench.ok(&["allocation", "verify"]);
}

#[test]
fn a_closed_trial_randomizes_nobody_until_it_is_reopened() {
    let hospital = eligible();
    let bench = Bench::ready(&hospital, "");
    let first = bench.ok(&["randomize", "p-001", "--by", "A"]).json();
    let say = |what: &str| bench.run(&["allocation", what, "--by", "S", "--reason", "the board stopped it"]);
    say("reopen").code(17).says("not-closed");
    say("close").code(0);
    say("close").code(17).says("already-closed");
    for dry in [&["--dry-run"][..], &[]] {
        let ran = bench.run(&[&["randomize", "p-003", "--by", "A"], dry].concat());
        ran.code(17).says("trial-closed");
    }
    // What was done is still told to whoever asks again.
    assert_eq!(bench.ok(&["randomize", "p-001", "--by", "A"]).json()["allocation"], first["allocation"]);
    say("reopen").code(0);
    bench.ok(&["randomize", "p-003", "--by", "A"]);
    let log = bench.ok(&["audit", "show"]).lines();
    let actions = log.iter().filter_map(|e| e["action"].as_str());
    let said: Vec<&str> =
        actions.filter(|a| matches!(*a, "allocation.close" | "allocation.reopen")).collect();
    assert_eq!(said, ["allocation.close", "allocation.reopen"]);
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 2);
}

#[test]
fn a_definition_that_gives_the_same_list_is_put_in_force_by_a_signature() {
    let hospital = eligible();
    let bench = Bench::new(&hospital);
    let (one, two, other) = (bench.path("one"), bench.path("two"), bench.path("other"));
    for (folder, from, to) in [
        (&one, "", ""),
        // A definition with the same [allocation], and one with another.
        (&two, "decision_valid_days = 1", "decision_valid_days = 2"),
        (&other, "block_sizes = [4]", "block_sizes = [4, 8]"),
    ] {
        tiny_trial(folder);
        let file = folder.join("trial.toml");
        let text = fs::read_to_string(&file).expect("text");
        let text = if from.is_empty() { text } else { amended(&text, from, to) };
        fs::write(&file, text).expect("written");
    }
    let run = |folder: &std::path::Path, args: &[&str]| {
        let folder = folder.display().to_string();
        bench.run(&[&["--trial", &folder], args].concat())
    };
    let sign = ["definition", "sign", "--by", "S", "--reason", "amendment 2"];
    run(&one, &["pull"]).code(0);
    run(&one, &sign).code(17).says("no-list");
    run(&one, &["allocation", "generate", "--by", "S"]).code(0);
    run(&one, &sign).code(17).says("definition-in-force");
    run(&one, &["randomize", "p-001", "--by", "A"]).code(0);
    for folder in [&two, &other] {
        run(folder, &["pull"]).code(0);
        run(folder, &["randomize", "p-003", "--by", "A"]).code(17).says("definition-changed");
    }
    run(&other, &sign).code(17).says("arms, scheme, factors or number differ");
    run(&two, &["pull"]).code(0);
    run(&two, &sign).code(0);
    let made = run(&two, &["randomize", "p-003", "--by", "A"]).code(0).json();
    assert!(ARMS.iter().any(|arm| made["arm"] == *arm));
    assert_eq!(bench.count("SELECT count(DISTINCT definition) FROM allocation"), 2);
    run(&two, &["verify"]).code(0);
    run(&two, &["allocation", "verify"]).code(0);
}

/// The text with one thing in it another.
fn amended(text: &str, from: &str, to: &str) -> String {
    match text.contains(from) {
        true => text.replace(from, to),
        // Where the key is left to its default it is added to its section.
        false => text.replace("[allocation]", &format!("[allocation]\n{to}")),
    }
}

#[test]
fn every_tampering_is_found() {
    let hospital = eligible();
    let bench = Bench::ready(&hospital, "");
    bench.ok(&["randomize", "p-001", "--by", "A"]);
    bench.ok(&["verify"]);
    bench.ok(&["audit", "verify"]);
    bench.ok(&["allocation", "verify"]);
    let other = "'sha256:' || replace(hex(zeroblob(32)), '0', 'a')";
    let swap = "UPDATE allocation_slot SET sealed = (SELECT sealed FROM allocation_slot o WHERE o.position = 5 - allocation_slot.position) WHERE position IN (2, 3)";
    // what is done, and which of `allocation verify`, `verify`, `audit verify` has to find it
    let table: [(&str, String, [bool; 3]); 17] = [
        ("another leaf", format!("UPDATE allocation SET leaf = {other}"), [true, true, true]),
        // As if an earlier version had made it: but there is a signature, and the list is of version 2.
        ("no leaf", "UPDATE allocation SET leaf = ''".into(), [true, true, true]),
        ("another stratum", "UPDATE allocation SET stratum = 1".into(), [true, true, false]),
        ("another number", "UPDATE allocation SET number = 2".into(), [true, true, true]),
        ("other levels", r#"UPDATE allocation SET levels = '{"sex":"male"}'"#.into(), [true, true, true]),
        ("another signature", "UPDATE allocation SET signature = 1".into(), [false, true, false]),
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
            format!("UPDATE allocation_list SET commitment = {other}"),
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
