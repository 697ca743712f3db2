//! `sub` and `doctor` against a hospital that keeps Subscriptions and notifies nobody by itself.

use super::support::*;
use serde_json::{Value, json};

const PATIENT: &str = "p-001";

fn bench(hospital: &Hospital) -> Bench {
    let more = "[push]\npublic_url = \"http://127.0.0.1:1/\"\n[serve]\nlisten = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\n";
    Bench::with(&hospital.url, more)
}

fn at_hospital(hospital: &Hospital) -> Vec<Value> {
    hospital.sandbox.resources("Subscription")
}

/// What the hospital was told to send with each notification.
fn secret(subscription: &Value) -> String {
    let header = subscription["channel"]["header"][0].as_str().expect("a header");
    header.strip_prefix("Authorization: Bearer ").expect("a bearer").to_owned()
}

#[test]
fn a_subscription_is_made_watched_and_deleted() {
    let hospital = Hospital::of(&[PATIENT]);
    let bench = bench(&hospital);
    let create = ["sub", "create", "--type", "Observation", "--type", "Patient", "--wait", "0"];
    // The hospital has them, and does not deliver.
    let made = bench.run(&create).code(13).says("does not deliver");
    let held = at_hospital(&hospital);
    let criteria: Vec<&str> = held.iter().filter_map(|s| s["criteria"].as_str()).collect();
    assert_eq!(criteria.len(), 2);
    assert!(criteria.contains(&"Observation?") && criteria.contains(&"Patient?"), "{criteria:?}");
    let secrets: Vec<String> = held.iter().map(secret).collect();
    assert!(secrets.iter().all(|s| s.len() == 64) && secrets[0] != secrets[1]);
    made.keeps_secrets(secrets.iter().map(String::as_str));
    for subscription in &held {
        let endpoint = subscription["channel"]["endpoint"].as_str().expect("an endpoint");
        assert!(endpoint.starts_with("http://127.0.0.1:1/hook/"), "{endpoint}");
    }
    let stored = std::fs::read(bench.path("data/trialbridge.db")).expect("the database");
    let stored = String::from_utf8_lossy(&stored).into_owned();
    assert!(secrets.iter().all(|s| !stored.contains(s.as_str())), "only hashes are kept");

    // Not a second time.
    bench.ok(&create).says("already");
    assert_eq!(at_hospital(&hospital).len(), 2);

    let lines = bench.run(&["sub", "status"]).code(1).lines();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|l| l["stateAtServer"] == "requested" && l["state"] == "requested"));
    for subscription in &held {
        let id = subscription["id"].as_str().expect("an id");
        hospital.change("Subscription", id, |s| s["status"] = json!("active"));
    }
    let status = bench.run(&["sub", "status"]).code(0);
    status.keeps_secrets(secrets.iter().map(String::as_str));
    assert!(status.lines().iter().all(|l| l["stateAtServer"] == "active"));

    // Recovery by hand is a pull.
    let caught = bench.ok(&["sub", "catchup"]).json();
    assert_eq!(caught["reconciled"], true);
    assert_eq!(bench.subjects().len(), 1);

    let id = lines[0]["id"].as_str().expect("an id").to_owned();
    bench.ok(&["sub", "delete", &id]);
    assert_eq!(at_hospital(&hospital).len(), 1);
    bench.run(&["sub", "delete", "nobody"]).code(1);
    bench.ok(&["audit", "verify"]);
    bench.ok(&["verify"]);
}

#[test]
fn what_cannot_be_asked_for_is_refused_before_anything_is_sent() {
    let hospital = Hospital::of(&[PATIENT]);
    let with = bench(&hospital);
    for (args, code) in [
        (&["--payload", "id-only"][..], 2),
        (&["--topic", "http://example.org/t"], 2),
        (&["--kind", "topic"], 2),
        (&["--kind", "topic", "--topic", "t", "--type", "Patient"], 2),
        (&["--type", "Nonsense"], 2),
        (&["--endpoint", "ftp://127.0.0.1"], 10),
        (&["--endpoint", "http://user@127.0.0.1"], 10),
    ] {
        with.run(&[&["sub", "create"], args].concat()).code(code);
    }
    Bench::new(&hospital).run(&["sub", "create"]).code(10).says("public_url");
    assert!(at_hospital(&hospital).is_empty());
    let nobody = Bench::with(
        "http://127.0.0.1:1/fhir",
        "[push]\npublic_url = \"http://127.0.0.1:1\"\n[serve]\nlisten = \"127.0.0.1:0\"\n",
    );
    nobody.run(&["sub", "create", "--type", "Patient"]).code(11);
}

#[test]
fn the_doctor_finds_what_is_wrong_and_says_what_to_do() {
    let hospital = Hospital::of(&[PATIENT]);
    let bench = bench(&hospital);
    let found = |ran: Ran| -> Vec<(String, i64)> {
        let name = |v: &Value| v["check"].as_str().expect("a check").to_owned();
        let lines = ran.lines();
        assert!(lines.iter().all(|v| v["fix"].as_str().is_some_and(|f| !f.is_empty())), "{lines:?}");
        lines.iter().map(|v| (name(v), v["code"].as_i64().expect("a code"))).collect()
    };
    // No store, no pull.
    let first = found(bench.run(&["doctor"]));
    assert!(first.contains(&("store".to_owned(), 1)), "{first:?}");
    bench.ok(&["pull"]);
    let healthy = found(bench.run(&["doctor"]));
    assert!(healthy.iter().all(|(check, _)| check == "quarantine" || check == "search"), "{healthy:?}");

    bench.run(&["sub", "create", "--type", "Patient", "--wait", "0"]).code(13);
    let idle = found(bench.run(&["doctor"]).code(1));
    assert!(idle.contains(&("subscription".to_owned(), 1)), "{idle:?}");

    // Somebody changed the log.
    let triggers: Vec<String> = {
        let database = bench.database();
        let mut statement = database
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit'")
            .expect("a query");
        let rows = statement.query_map([], |r| r.get(0)).expect("rows");
        rows.map(|r| r.expect("a name")).collect()
    };
    for trigger in triggers {
        bench.database().execute_batch(&format!("DROP TRIGGER {trigger}")).expect("dropped");
    }
    bench.database().execute("UPDATE audit SET actor = 'somebody' WHERE sequence = 1", []).expect("changed");
    let broken = found(bench.run(&["doctor"]).code(16));
    assert!(broken.contains(&("audit".to_owned(), 16)), "{broken:?}");

    // The configuration, and a hospital that does not answer.
    std::fs::write(bench.path("trialbridge.toml"), "data_dri = \"x\"\n").expect("written");
    assert_eq!(found(bench.run(&["doctor"]).code(10)), [("config".to_owned(), 10)]);
    let nobody = Bench::with(
        "http://127.0.0.1:1/fhir",
        "[serve]\nlisten = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\n",
    );
    let alone = found(nobody.run(&["doctor"]).code(11));
    assert!(alone.contains(&("fhir".to_owned(), 11)), "{alone:?}");
}
