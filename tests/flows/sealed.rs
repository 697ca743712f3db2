//! The statistician's key, the certificate, the bundle, and what is done with them on another machine.

use super::support::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The program on a machine that has neither configuration nor store.
fn elsewhere(dir: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trialbridge"));
    command.env_clear().current_dir(dir).args(args);
    finished(args, command.output().expect("the program runs"))
}

#[test]
fn a_key_is_made_once_printed_by_its_public_half_and_kept_by_its_owner() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = elsewhere(dir.path(), &["allocation", "keygen", "--out", "s.key", "-o", "json"]).code(0);
    let file = dir.path().join("s.key");
    let secret = fs::read_to_string(&file).expect("the key");
    made.keeps_secrets([secret.trim(), &secret.trim()[13..77]].into_iter());
    assert_eq!(fs::metadata(&file).expect("the key").permissions().mode() & 0o777, 0o600);
    let public = made.json()["public"].as_str().expect("a key").to_owned();
    assert!(public.starts_with("tbstat1") && public.len() == 79, "{public}");
    elsewhere(dir.path(), &["allocation", "keygen", "--out", "s.key"]).code(2).says("nothing is overwritten");
    assert_eq!(fs::read_to_string(&file).expect("the key"), secret);

    let bench = Bench::new(&Hospital::of(&["p-001"]));
    let generate = |key: &str| bench.run(&["allocation", "generate", "--by", "S", "--statistician", key]);
    let mistyped = public.replace(&public[20..21], if &public[20..21] == "0" { "1" } else { "0" });
    generate(&mistyped).code(10);
    generate(secret.trim()).code(10).says("secret").keeps_secrets([secret.trim()].into_iter());
    generate(&public).code(0).says("telephone");
}

#[test]
fn what_is_exported_is_revealed_and_verified_on_another_machine() {
    let hospital = Hospital::of(&["p-001", "p-003", "p-004"]);
    let bench = Bench::new(&hospital);
    let dir = tempfile::tempdir().expect("a folder");
    let off = |args: &[&str]| elsewhere(dir.path(), args);
    let made = off(&["allocation", "keygen", "--out", "s.key", "-o", "json"]).code(0).json();
    bench.ok(&["pull"]);
    let public = made["public"].as_str().expect("a key");
    bench.ok(&["allocation", "generate", "--by", "S", "--statistician", public]);

    let paper = bench.ok(&["allocation", "certificate", "-o", "table"]).out;
    let certificate = bench.ok(&["allocation", "certificate", "-o", "json"]).json();
    let commitment = certificate["commitment"].as_str().expect("a commitment").to_owned();
    for said in [
        &commitment,
        certificate["list"].as_str().expect("a list"),
        made["fingerprint"].as_str().expect("one"),
    ] {
        assert!(paper.contains(said), "{said}: {paper}");
    }
    assert_eq!(certificate["allocated"], 0);

    // Filed with the certificate: with it the list can be read while the service is down.
    let filed = dir.path().join("filed.json").display().to_string();
    bench.ok(&["allocation", "export", "--out", &filed]);

    let mut arms = Vec::new();
    for id in ["p-004", "p-001", "p-003"] {
        arms.push(bench.ok(&["randomize", id, "--by", "A"]).json()["arm"].clone());
    }
    let bundle = dir.path().join("bundle.json").display().to_string();
    bench.ok(&["allocation", "export", "--out", &bundle]);
    bench.run(&["allocation", "export", "--out", &bundle]).code(2);
    let text = fs::read_to_string(&bundle).expect("the bundle");
    assert_eq!(text.trim(), bench.ok(&["allocation", "export"]).out.trim(), "the same store, the same bytes");
    for hidden in ["infusion", "p-00", "Patient/", "salt", "sealed_seed"] {
        assert!(!text.contains(hidden), "{hidden}");
    }

    let verify = |more: &[&str]| off(&[&["allocation", "verify", "--bundle", "bundle.json"], more].concat());
    verify(&["--commitment", &commitment]).code(0);
    verify(&["--commitment", &format!("sha256:{}", "0".repeat(64))]).code(16).says("certificate");
    let reveal =
        &["allocation", "reveal", "--bundle", "bundle.json", "--key", "s.key", "--out", "revealed.json"];
    off(reveal).code(0).says("3 allocations");
    let revealed: Value =
        serde_json::from_str(&fs::read_to_string(dir.path().join("revealed.json")).expect("a file"))
            .expect("JSON");
    let shown: Vec<&Value> =
        revealed["allocations"].as_array().expect("allocations").iter().map(|a| &a["arm"]).collect();
    assert_eq!(shown, arms.iter().collect::<Vec<_>>());
    let foreseen = off(&["allocation", "reveal", "--bundle", "filed.json", "--key", "s.key"]).code(0).json();
    let slots = foreseen["slots"].as_array().expect("slots").iter().take(3);
    assert_eq!(slots.map(|slot| &slot["arm"]).collect::<Vec<_>>(), shown, "the draws follow what was filed");
    verify(&["--revealed", "revealed.json", "--commitment", &commitment]).code(0);

    // The service's key gives the same; without a reason it is not asked.
    let of_store = bench.ok(&["allocation", "reveal", "--by", "S", "--reason", "the trial has ended"]).json();
    assert_eq!(of_store, revealed);

    // Every change is found, and said without an arm.
    let other = if arms[0] == ARMS[0] { ARMS[1] } else { ARMS[0] };
    let changes: [(&str, &str, Value, &str); 7] = [
        (
            "bundle.json",
            "/bundle/allocations/1/leaf",
            json!(format!("sha256:{}", "0".repeat(64))),
            "allocation 2",
        ),
        ("bundle.json", "/bundle/allocations/0/number", json!(2), "allocation 1 is missing"),
        (
            "bundle.json",
            "/bundle/header/commitment",
            json!(format!("sha256:{}", "0".repeat(64))),
            "audit entry",
        ),
        ("bundle.json", "/audit/commitment/actor", json!("B"), "audit entry"),
        ("bundle.json", "/bundle/slots/4/position", json!(6), "slot 5 of stratum 1"),
        ("revealed.json", "/allocations/0/arm", json!(other), "allocation 1"),
        ("revealed.json", "/slots/0/arm", json!(other), "slot 1 of stratum 1"),
    ];
    for (file, pointer, value, word) in changes {
        let path = dir.path().join(file);
        let good = fs::read_to_string(&path).expect("a file");
        let mut altered: Value = serde_json::from_str(&good).expect("JSON");
        *altered.pointer_mut(pointer).expect(pointer) = value;
        fs::write(&path, altered.to_string()).expect("written");
        let ran = verify(&["--revealed", "revealed.json"]).code(16).says(word);
        ran.keeps_secrets(ARMS.into_iter());
        fs::write(&path, good).expect("written");
    }
    off(&["allocation", "keygen", "--out", "other.key"]).code(0);
    off(&["allocation", "reveal", "--bundle", "bundle.json", "--key", "other.key"])
        .code(2)
        .says("not sealed to");
    off(&["allocation", "reveal", "--bundle", "bundle.json"]).code(2);
}
