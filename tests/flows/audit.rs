//! The audit log as an auditor finds it: proved here and elsewhere, shown, anchored, signed for.

use super::support::*;
use serde_json::Value;
use std::fs;

/// Judged, attested, consented, randomized.
fn story() -> (Hospital, Bench) {
    let hospital = Hospital::of(&["p-001", "p-007", "p-037"]);
    let bench = Bench::ready(&hospital, "");
    bench.ok(&["attest", "p-037", "E8", "--verdict", "no", "--by", "Dr A", "--reason", "seen at the ward"]);
    bench.ok(&["consent", "record", "p-007", "--by", "Coordinator", "--reason", "form in the binder"]);
    bench.ok(&["randomize", "p-007", "--by", "Dr B"]);
    (hospital, bench)
}

fn last_sequence(bench: &Bench) -> i64 {
    bench.count("SELECT max(sequence) FROM audit")
}

#[test]
fn a_log_is_proved_here_and_elsewhere() {
    let (_hospital, bench) = story();
    let report = bench.ok(&["audit", "verify"]).json();
    assert_eq!(report["schema"], "trialbridge/audit-verify/v1");
    assert_eq!(
        (report["entries"].as_i64(), &report["verified"]),
        (Some(last_sequence(&bench)), &Value::Bool(true))
    );
    assert_eq!(report["anchor"]["last"], report["head"]);
    assert_eq!(report["covered"]["allocations"], 1);
    assert_eq!(report["covered"]["decisions"], bench.count("SELECT count(*) FROM decision"));
    assert_eq!(report["notes"], serde_json::json!([]));
    let head = bench.ok(&["audit", "head"]).json();
    assert_eq!((&head["head"], &head["anchor"]["fault"]), (&report["head"], &Value::Null));

    let (export, anchor) = (bench.path("audit.ndjson"), bench.path("data.audit-anchor"));
    let (export, anchor) = (export.display().to_string(), anchor.display().to_string());
    let written = bench.ok(&["audit", "export", "--out", &export]).json();
    assert_eq!(written["head"], report["head"]);
    let text = fs::read_to_string(&export).expect("written");
    assert_eq!(bench.ok(&["audit", "export"]).out, text, "the same bytes again");
    bench.run(&["audit", "export", "--out", &export]).code(1);
    // Without configuration, store or trial.
    let elsewhere = Bench::with("http://127.0.0.1:1/fhir", "[nonsense]\n");
    let proved = elsewhere.ok(&["audit", "verify", "--file", &export, "--anchor", &anchor]).json();
    assert_eq!((&proved["head"], &proved["anchor"]["last"]), (&report["head"], &report["head"]));
    let alone = elsewhere.ok(&["audit", "verify", "--file", &export]).json();
    assert_eq!(alone["notes"].as_array().map(Vec::len), Some(1), "it says what it cannot see: {alone}");

    let lines: Vec<&str> = text.lines().collect();
    let short = elsewhere.path("short.ndjson");
    fs::write(&short, lines[..lines.len() - 2].iter().map(|l| format!("{l}\n")).collect::<String>())
        .expect("written");
    let short = short.display().to_string();
    elsewhere.ok(&["audit", "verify", "--file", &short]);
    let cut = elsewhere.run(&["audit", "verify", "--file", &short, "--anchor", &anchor]).code(16);
    assert!(
        cut.err.contains(&format!("audit entry {}: the log ends before it", lines.len() - 1)),
        "{}",
        cut.err
    );
    fs::write(&short, text.replacen("Dr A", "Dr C", 1)).expect("written");
    elsewhere.run(&["audit", "verify", "--file", &short]).code(16).says("it was edited");
    elsewhere.run(&["audit", "verify", "--file", "/nonexistent"]).code(1);
}

#[test]
fn who_decided_this_on_what_data_and_what_changed_since() {
    let (hospital, bench) = story();
    let mut lines = bench.ok(&["audit", "show", "--subject", "p-007"]).lines();
    let first = lines.remove(0);
    assert_eq!(
        (&first["schema"], &first["subject"]),
        (&"trialbridge/audit-subject/v1".into(), &"Patient/p-007".into())
    );
    let decided: Vec<&str> = first["decisions"]
        .as_array()
        .expect("decisions")
        .iter()
        .filter_map(|d| d["decision"].as_str())
        .collect();
    assert_eq!(decided, ["undetermined", "eligible"]);
    let rests_on = first["decisions"][1]["restsOn"].as_array().expect("grounds");
    let bilirubin = rests_on.iter().find(|g| g["what"] == "bilirubin_total").expect("named");
    assert!(bilirubin["reference"].as_str().is_some_and(|r| r.contains("/_history/")), "{bilirubin}");
    assert!(bilirubin["value"].as_str().is_some_and(|v| v.ends_with("mg/dL")), "{bilirubin}");
    assert_eq!(first["changes"][0]["decisionAfter"], "eligible");
    let consent = &first["statements"][0];
    assert_eq!(
        (&consent["by"], &consent["detail"]["reason"]),
        (&"Coordinator".into(), &"form in the binder".into())
    );
    assert_eq!(
        (&consent["detail"]["before"], &consent["detail"]["after"]),
        (&"attest".into(), &"consented".into())
    );
    let allocation = first["allocation"].as_object().expect("randomized");
    assert_eq!(allocation["by"], "Dr B");
    let keys: Vec<&str> = allocation.keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "entry", "at", "by", "role", "decision", "input", "definition"]);
    assert_eq!(allocation["decision"], first["decisions"][1]["row"]);
    let signed: Vec<&str> =
        first["signatures"].as_array().expect("signatures").iter().filter_map(|s| s["by"].as_str()).collect();
    assert_eq!(signed, ["Coordinator", "Dr B"]);
    assert!(lines.len() >= 4 && lines.iter().all(|e| e["subject"] == "Patient/p-007"), "then its entries");

    // A result is corrected: what changed since is told.
    let bilirubin = bilirubin["reference"].as_str().expect("a reference").to_owned();
    let id = bilirubin.split('/').nth(1).expect("an id");
    hospital.change("Observation", id, |o| o["valueQuantity"]["value"] = 1.into());
    bench.ok(&["pull"]);
    let table = bench.ok(&["audit", "show", "--subject", "p-007", "-o", "table"]).out;
    for word in [
        "decisions\n",
        "what changed\n",
        "reason: form in the binder",
        "consent.record by Coordinator (operator)",
        "on the decision of ",
        "result-corrected",
        "write-back\n",
        "signatures\n",
        "randomize by Dr B (operator), unauthenticated",
    ] {
        assert!(table.contains(word), "no {word:?} in:\n{table}");
    }
    for arm in ARMS {
        assert!(!table.contains(arm), "{table}");
    }
    let attested = bench.ok(&["audit", "show", "--subject", "p-037", "--action", "attest"]).lines();
    assert_eq!(attested.len(), 2);
    assert_eq!(attested[1]["detail"]["reason"], "seen at the ward");
    assert_eq!(bench.ok(&["audit", "show", "--actor", "Dr A"]).lines().len(), 1);
    assert_eq!(bench.ok(&["audit", "show", "--since", "2999-01-01"]).lines().len(), 0);
    bench.run(&["audit", "show", "--since", "soon"]).code(2);
    bench.run(&["audit", "show", "--subject", "p-999"]).code(1);
}

#[test]
fn a_decision_that_was_flipped_by_hand_is_found() {
    let (_hospital, bench) = story();
    let flipped = bench.fork();
    flipped.by_hand("UPDATE decision SET decision = 'attached' WHERE seq = 1");
    flipped.run(&["audit", "verify"]).code(16).says("decision 1: its decision is not what audit entry");
    flipped.run(&["verify"]).code(16);
    let content = bench.fork();
    content.by_hand("UPDATE decision SET json = replace(json, 'mg/dL', 'g/L') WHERE seq = 1");
    content.run(&["audit", "verify"]).code(16).says("its content");
    bench.ok(&["audit", "verify"]);
}

#[test]
fn nobody_is_randomized_on_a_log_that_does_not_agree() {
    let (_hospital, bench) = story();
    // Cut off, edited in the middle, and an anchor that is gone.
    let cut = bench.fork();
    let last = last_sequence(&bench);
    cut.by_hand(&format!("DELETE FROM audit WHERE sequence > {}", last - 10));
    cut.run(&["audit", "verify"]).code(16).says(&format!("audit entry {}: the log ends before it", last - 9));
    cut.run(&["audit", "head"]).code(16);
    cut.run(&["verify"]).code(16);
    cut.run(&["randomize", "p-001", "--by", "A"]).code(16).says("audit-unanchored");
    assert_eq!(cut.count("SELECT count(*) FROM allocation"), 1);
    let told: Vec<Value> = cut.run(&["doctor", "--no-network"]).code(16).lines();
    assert!(told.iter().any(|f| f["check"] == "audit-anchor"), "{told:?}");
    let warned = cut.run(&["check", "--no-network"]).code(0).lines();
    assert!(warned.iter().any(|f| f["id"] == "TB-C004"), "a warning: everything else goes on: {warned:?}");
    cut.ok(&["pull"]);

    let edited = bench.fork();
    edited.by_hand("UPDATE audit SET actor = 'x' WHERE sequence = 3");
    edited.run(&["audit", "verify"]).code(16).says("audit entry 3: its content does not match its hash");
    edited.run(&["randomize", "p-001", "--by", "A"]).code(16).says("audit-broken");
    edited.run(&["audit", "export"]).code(0);

    let gone = bench.fork();
    gone.ok(&["pull"]);
    fs::remove_file(gone.path("data.audit-anchor")).expect("removed");
    gone.run(&["audit", "verify"]).code(16).says("the anchor of the audit log is gone");
    gone.run(&["randomize", "p-001", "--by", "A"]).code(16).says("anchor-missing");
    gone.run(&["randomize", "p-001", "--by", "A", "--dry-run"]).code(16);
    // What was drawn before is told all the same.
    gone.ok(&["randomize", "p-007", "--by", "Dr B"]);
    gone.run(&["audit", "accept", "--by", "PI"]).code(2);
    gone.run(&["audit", "accept", "--by", "PI", "--reason", " "]).code(2);
    let accepted = gone.ok(&["audit", "accept", "--by", "PI", "--reason", "restored on a new disk"]).json();
    assert_eq!(
        (&accepted["action"], &accepted["actor"], &accepted["detail"]["fault"]),
        (&"audit.accept".into(), &"PI".into(), &"anchor-missing".into())
    );
    gone.ok(&["randomize", "p-001", "--by", "A"]);
    gone.ok(&["audit", "verify"]);
    gone.run(&["audit", "accept", "--by", "PI", "--reason", "again"]).code(1).says("nothing to accept");
}

#[test]
fn a_copy_elsewhere_verifies_and_is_declared_before_it_allocates() {
    let (_hospital, bench) = story();
    let copy = bench.fork();
    fs::remove_file(copy.path("data.audit-anchor")).expect("removed");
    let report = copy.ok(&["audit", "verify"]).json();
    assert_eq!(report["notes"].as_array().map(Vec::len), Some(1), "{report}");
    copy.ok(&["verify"]);
    copy.run(&["randomize", "p-001", "--by", "A"]).code(16).says("anchor-elsewhere");
    copy.ok(&["audit", "accept", "--by", "PI", "--reason", "this is the one that counts"]);
    copy.ok(&["randomize", "p-001", "--by", "A"]);
    copy.ok(&["audit", "verify"]);
}

#[test]
fn an_anchor_lies_outside_the_data() {
    let hospital = Hospital::of(&["p-001"]);
    let inside = Bench::with(&hospital.url, "[audit]\nanchor_file = \"data/anchor\"\n");
    inside.run(&["pull"]).code(10).says("lies in the data directory");
    let found = inside.run(&["check", "--no-network"]).code(10).lines();
    assert!(found.iter().any(|f| f["id"] == "TB-C003"), "{found:?}");
    let named = Bench::with(&hospital.url, "[audit]\nanchor_file = \"elsewhere/anchor\"\n");
    named.ok(&["pull"]);
    assert!(named.path("elsewhere/anchor").exists() && !named.path("data.audit-anchor").exists());
    // Whatever the directory is called like.
    let slash = Bench::new(&hospital);
    let data = format!("{}/", slash.path("data").display());
    slash.ok(&["--data-dir", &data, "pull"]);
    assert!(slash.path("data.audit-anchor").exists());
}

#[test]
fn what_people_do_has_actor_role_reason_before_and_after() {
    let hospital = Hospital::of(&["p-001"]);
    let bench = Bench::new(&hospital);
    bench.ok(&["pull"]);
    bench.ok(&["replay", "--by", "Data manager", "--reason", "mapping corrected"]);
    let to = bench.path("copy.db").display().to_string();
    bench.ok(&["backup", &to, "--by", "Operator", "--reason", "monthly"]);
    let mut log = bench.ok(&["audit", "show"]).lines();
    let one = |log: &[Value], action: &str| -> Value {
        log.iter().rfind(|e| e["action"] == action).unwrap_or_else(|| panic!("no {action}")).clone()
    };
    let replay = one(&log, "replay");
    assert_eq!(
        (&replay["actor"], &replay["detail"]["reason"]),
        (&"Data manager".into(), &"mapping corrected".into())
    );
    assert_eq!(one(&log, "backup")["detail"]["reason"], "monthly");
    let configured = one(&log, "configuration.change");
    assert_eq!(configured["detail"]["definition.before"], "none");
    assert_eq!(log.iter().filter(|e| e["action"] == "configuration.change").count(), 1);
    // Another trial definition is written down with both hashes, and only what is another one.
    let folder = bench.path("tiny");
    tiny_trial(&folder);
    let folder = folder.display().to_string();
    bench.ok(&["--trial", &folder, "pull"]);
    log = bench.ok(&["audit", "show"]).lines();
    let changed = one(&log, "configuration.change");
    assert_eq!(changed["detail"]["definition.before"], configured["detail"]["definition.after"]);
    assert!(changed["detail"]["site.before"].is_null(), "{changed}");
    bench.ok(&["audit", "verify"]);
}
