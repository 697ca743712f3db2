//! What people and the hospital see of corrections, merges and deviations.

use super::support::*;
use serde_json::{Value, json};

/// `Observation/x` behind a variable of a subject.
fn source(bench: &Bench, id: &str, variable: &str) -> String {
    let json = bench.ok(&["explain", id]).json();
    json["variables"][variable]["source"].as_str().expect("a source").to_owned()
}

fn observation_id(reference: &str) -> &str {
    reference.strip_prefix("Observation/").expect("an Observation")
}

/// The score Observation of a name, as the hospital holds it.
fn score(hospital: &Hospital, name: &str) -> Value {
    let mut found = hospital.sandbox.resources("Observation");
    found.retain(|o| {
        o["code"]["coding"][0]["system"] == "urn:trialbridge:score" && o["code"]["coding"][0]["code"] == name
    });
    assert_eq!(found.len(), 1, "{name}");
    found.remove(0)
}

fn written(ran: &Ran) -> usize {
    ran.lines().iter().filter(|l| l["outcome"] != "unchanged").count()
}

/// Everything of ours at the hospital.
fn everything(hospital: &Hospital) -> String {
    let kinds = ["ResearchStudy", "ResearchSubject", "Observation", "Provenance"];
    kinds.iter().flat_map(|t| hospital.sandbox.resources(t)).map(|r| r.to_string()).collect()
}

#[test]
fn a_correction_after_randomization_is_explained_opened_and_written_back() {
    let hospital = Hospital::of(&["p-001", "p-003"]);
    let bench = Bench::ready(&hospital, "");
    let arm = bench.ok(&["randomize", "p-001", "--by", "A"]).json()["arm"].clone();
    bench.ok(&["writeback"]);
    let meld = score(&hospital, "meld3");
    assert_eq!(meld["status"], "final");
    let bilirubin = source(&bench, "p-001", "bilirubin_total");
    let id = observation_id(&bilirubin);
    let other_scores = score(&hospital, "fib4");

    // Corrected upwards.
    hospital.change("Observation", id, |o| {
        o["status"] = "corrected".into();
        o["valueQuantity"]["value"] = json!(o["valueQuantity"]["value"].as_f64().expect("a number") * 2.0);
    });
    bench.ok(&["pull"]);
    let explained = bench.ok(&["explain", "p-001"]).json();
    let change = &explained["changes"][0];
    assert_eq!(
        (&change["decisionBefore"], &change["decisionAfter"]),
        (&json!("eligible"), &json!("eligible"))
    );
    let moved: Vec<&str> =
        change["scores"].as_array().expect("scores").iter().filter_map(|s| s["name"].as_str()).collect();
    assert!(moved.contains(&"meld3"), "{change}");
    let cause = &change["because"][0];
    assert_eq!(
        (&cause["reference"], &cause["what"], &cause["origin"]),
        (&json!(bilirubin), &json!("corrected"), &json!("pull"))
    );
    let versions =
        (cause["before"].as_str().expect("a version"), cause["after"].as_str().expect("a version"));
    assert!(versions.0 != versions.1 && versions.1.starts_with(&format!("{bilirubin}/_history/")), "{cause}");
    assert!(cause["receipt"].is_i64() && cause["receivedAt"].is_string(), "{cause}");
    let shown = bench.ok(&["explain", "p-001", "-o", "table"]).out;
    assert!(shown.contains("what changed") && shown.contains("(corrected), pull "), "{shown}");

    let open = bench.ok(&["deviation", "list"]).lines();
    assert!(
        open.iter().any(|d| d["kind"] == "result-corrected" && d["reference"] == bilirubin.as_str()),
        "{open:?}"
    );
    assert!(open.iter().any(|d| d["kind"] == "score-changed" && d["reference"] == "meld3"), "{open:?}");

    bench.ok(&["writeback"]);
    let corrected = score(&hospital, "meld3");
    assert_eq!((&corrected["id"], &corrected["identifier"]), (&meld["id"], &meld["identifier"]));
    assert_eq!(corrected["status"], "corrected");
    assert_ne!(corrected["valueQuantity"]["value"], meld["valueQuantity"]["value"]);
    assert!(corrected["derivedFrom"].to_string().contains(versions.1), "{corrected}");
    assert_eq!(score(&hospital, "fib4"), other_scores, "a score without bilirubin is left alone");
    let told = hospital.sandbox.resources("Provenance");
    let of_meld: Vec<&Value> = told
        .iter()
        .filter(|p| {
            p["target"][0]["reference"]
                .as_str()
                .is_some_and(|r| r.ends_with(meld["id"].as_str().expect("an id")))
        })
        .map(|p| &p["activity"]["coding"][0]["code"])
        .collect();
    assert_eq!(of_meld, ["CREATE", "UPDATE"]);
    let before = everything(&hospital);
    assert_eq!(written(&bench.ok(&["writeback"])), 0);
    assert_eq!(everything(&hospital), before);

    // Taken back: nothing else tells the bilirubin of that day.
    hospital.change("Observation", id, |o| o["status"] = "entered-in-error".into());
    bench.ok(&["pull"]);
    let explained = bench.ok(&["explain", "p-001"]).json();
    assert_eq!(explained["changes"][0]["because"][0]["what"], "retracted");
    bench.ok(&["writeback"]);
    assert_eq!(score(&hospital, "meld3")["status"], "entered-in-error");
    assert_eq!(score(&hospital, "fib4")["status"], "final");
    let before = everything(&hospital);
    assert_eq!(written(&bench.ok(&["writeback"])), 0);
    assert_eq!(everything(&hospital), before);

    // The allocation is what it was, and somebody has looked.
    assert_eq!(bench.ok(&["randomize", "p-001", "--by", "A"]).json()["arm"], arm);
    let open = bench.ok(&["deviation", "list"]).lines();
    let first = open[0]["id"].to_string();
    bench.run(&["deviation", "acknowledge", &first, "--by", "PI", "--reason", " "]).code(2);
    bench.ok(&["deviation", "acknowledge", &first, "--by", "PI", "--reason", "reported"]);
    bench
        .run(&["deviation", "acknowledge", &first, "--by", "PI", "--reason", "again"])
        .code(1)
        .says("is open");
    assert_eq!(bench.ok(&["deviation", "list"]).lines().len(), open.len() - 1);
    assert_eq!(bench.ok(&["deviation", "list", "--all"]).lines().len(), open.len());
    bench.ok(&["pull", "--full"]);
    bench.ok(&["replay"]);
    assert_eq!(bench.ok(&["deviation", "list"]).lines().len(), open.len() - 1, "none is opened again");
    let log = bench.ok(&["audit", "show"]).lines();
    assert!(log.iter().any(|e| e["action"] == "deviation.acknowledge" && e["actor"] == "PI"));
    bench.ok(&["audit", "verify"]);
}

#[test]
fn a_merge_is_a_question_that_never_moves_whoever_was_randomized() {
    let hospital = Hospital::of(&["p-001", "p-003"]);
    let bench = Bench::ready(&hospital, "");
    let drawn = bench.ok(&["randomize", "p-003", "--by", "A"]).json();
    assert!(bench.ok(&["identity", "list"]).lines().is_empty());
    hospital.change("Patient", "p-003", |p| {
        p["link"] = json!([{"type": "replaced-by", "other": {"reference": "Patient/p-001"}}]);
    });
    bench.ok(&["pull"]);
    let asked = bench.ok(&["identity", "list"]);
    asked.keeps_secrets(["SYN"].into_iter());
    let asked = asked.lines();
    assert_eq!(asked.len(), 1);
    let q = &asked[0];
    assert_eq!(
        (&q["kind"], &q["subject"], &q["other"]),
        (&json!("merged"), &json!("Patient/p-003"), &json!("Patient/p-001"))
    );
    assert!(q["since"].is_string());
    assert_eq!(q["blocks"].as_array().map(Vec::len), Some(2));
    // Nobody is drawn for the survivor, and the participant stays who it is.
    bench.run(&["randomize", "p-001", "--by", "A"]).code(17);
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 1);
    let change = bench.ok(&["explain", "p-001"]).json()["changes"][0].clone();
    assert_eq!(
        (&change["decisionBefore"], &change["decisionAfter"]),
        (&json!("eligible"), &json!("undetermined"))
    );
    assert_eq!(change["because"][0]["reference"], "Patient/p-003", "{change}");

    let resolve = |subject: &str, other: &str, word: &str, reason: &str| {
        bench.run(&["identity", "resolve", subject, other, word, "--by", "Dr B", "--reason", reason])
    };
    resolve("p-001", "p-003", "--same", "same person").code(17).says("was randomized");
    resolve("p-001", "p-001", "--same", "x").code(2);
    resolve("p-001", "p-999", "--same", "x").code(1).says("not in the store");
    resolve("p-003", "p-001", "--same", "").code(2);
    assert_eq!(bench.ok(&["identity", "list"]).lines().len(), 1, "what was refused changed nothing");

    resolve("p-003", "p-001", "--same", "same person").code(0);
    // The merge is settled; that the two differ in birth date or sex is another question.
    let left: Vec<Value> =
        bench.ok(&["identity", "list"]).lines().iter().map(|q| q["kind"].clone()).collect();
    assert_eq!(left, ["person-disagrees"]);
    let attached = bench.ok(&["explain", "p-001"]).json();
    assert_eq!(attached["attachedTo"], "Patient/p-003");
    assert_eq!(attached["changes"][0]["decisionAfter"], "attached");
    let shown = bench.ok(&["explain", "p-001", "-o", "table"]).out;
    assert!(shown.contains("belongs to Patient/p-003") && shown.contains("Patient/p-003  "), "{shown}");
    bench.run(&["randomize", "p-001", "--by", "A"]).code(17);
    assert_eq!(bench.ok(&["randomize", "p-003", "--by", "A"]).json()["allocation"], drawn["allocation"]);
    assert_eq!(bench.count("SELECT count(*) FROM allocation"), 1);

    // The later word counts, also within a second.
    resolve("p-003", "p-001", "--different", "two persons after all").code(0);
    assert!(bench.ok(&["explain", "p-001"]).json()["attachedTo"].is_null());
    assert_eq!(bench.decision("p-001"), "eligible");
    let log = bench.ok(&["audit", "show"]).lines();
    let said: Vec<&Value> =
        log.iter().filter(|e| e["action"] == "identity.resolve").map(|e| &e["detail"]["verdict"]).collect();
    assert_eq!(said, ["same", "different"]);
    bench.ok(&["audit", "verify"]);
    bench.ok(&["verify"]);
}

#[test]
fn two_who_were_randomized_stay_apart_and_it_is_a_deviation() {
    let hospital = Hospital::of(&["p-001", "p-003"]);
    let bench = Bench::ready(&hospital, "");
    for id in ["p-001", "p-003"] {
        bench.ok(&["randomize", id, "--by", "A"]);
    }
    for _ in 0..2 {
        bench
            .run(&["identity", "resolve", "p-001", "p-003", "--same", "--by", "B", "--reason", "x"])
            .code(17)
            .says("two allocations");
    }
    let open = bench.ok(&["deviation", "list"]).lines();
    let named: Vec<&Value> = open.iter().map(|d| &d["subject"]).collect();
    assert_eq!(named, ["Patient/p-001", "Patient/p-003"]);
    assert!(open.iter().all(|d| d["kind"] == "enrolled-twice"));
    for id in ["p-001", "p-003"] {
        assert!(bench.ok(&["explain", id]).json()["attachedTo"].is_null());
    }
}
