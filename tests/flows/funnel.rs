//! `funnel` over the store: the same counts as over files of the same patients.

use super::support::*;
use serde_json::json;
use std::fs;

const PATIENTS: [&str; 8] = ["p-001", "p-002", "p-007", "p-016", "p-021", "p-030", "p-045", "p-050"];

/// What the hospital holds, as NDJSON.
fn exported(hospital: &Hospital) -> String {
    let types = [
        "Patient",
        "Condition",
        "Observation",
        "Procedure",
        "AllergyIntolerance",
        "MedicationAdministration",
        "MedicationDispense",
        "MedicationRequest",
        "MedicationStatement",
        "Medication",
        "Consent",
        "QuestionnaireResponse",
        "ResearchSubject",
        "ResearchStudy",
    ];
    let all = types.iter().flat_map(|t| hospital.sandbox.resources(t));
    all.map(|resource| resource.to_string() + "\n").collect()
}

#[test]
fn the_store_and_the_files_give_one_funnel() {
    let hospital = Hospital::of(&PATIENTS);
    let bench = Bench::new(&hospital);
    bench.ok(&["pull"]);
    let stored = bench.ok(&["funnel", "-o", "json", "--svg", "stored.svg"]);
    fs::write(bench.path("elsewhere/all.ndjson"), exported(&hospital)).expect("a file");
    let day = today().to_string();
    let args = ["funnel", "all.ndjson", "--as-of", &day, "-o", "json", "--svg", "files.svg"];
    let read = bench.ok(&args);
    let without_gaps = |ran: &Ran| {
        let mut value = ran.json();
        // The store keeps only what it asked the hospital for, and so has fewer things that are of no use.
        value.as_object_mut().expect("an object").remove("gaps");
        value["patients"].as_object_mut().expect("an object").remove("withGaps");
        value
    };
    assert_eq!(without_gaps(&stored), without_gaps(&read));
    let svg = |name: &str| fs::read_to_string(bench.path("elsewhere").join(name)).expect("a chart");
    assert_eq!(svg("stored.svg"), svg("files.svg"));
    assert!(!svg("stored.svg").contains("p-0") && !stored.out.contains("p-0"));

    let subjects = bench.subjects();
    let funnel = stored.json();
    assert_eq!(funnel["schema"], "trialbridge/funnel/v1");
    assert_eq!(funnel["patients"]["total"], json!(subjects.len()));
    for decision in ["eligible", "ineligible", "undetermined"] {
        let n = subjects.values().filter(|s| s["decision"] == decision).count();
        assert_eq!(funnel["patients"][decision], json!(n), "{decision}");
        assert!(n > 0, "{decision} is not tried");
    }
    let gaps = subjects.values().filter(|s| s["gaps"].as_array().is_some_and(|g| !g.is_empty())).count();
    assert_eq!(funnel["patients"]["withGaps"], json!(gaps));
}

#[test]
fn what_the_stored_decisions_do_not_say_is_said() {
    let hospital = Hospital::of(&["p-001", "p-016"]);
    let bench = Bench::new(&hospital);
    bench.ok(&["pull"]);
    assert_eq!(bench.ok(&["funnel"]).json()["patients"]["total"], 2);

    // Judged under another definition: other questions were asked.
    tiny_trial(&bench.path("tiny"));
    let other = bench.path("tiny");
    let ran = bench.run(&["--trial", other.to_str().expect("a path"), "funnel"]).code(13);
    let ran = ran.says("2 stored decisions were made under another");
    assert_eq!(ran.json()["patients"]["total"], 0);

    // Data that came in and were not judged.
    bench.by_hand(
        "INSERT INTO dirty_subject (subject, change, since) VALUES ('Patient/p-001', 99, '2026-11-22')",
    );
    let ran = bench.run(&["funnel"]).code(13).says("data came in since");
    assert_eq!(ran.json()["patients"]["total"], 2);
    bench.by_hand("DELETE FROM dirty_subject");

    // A decision that cannot be read is not passed over.
    bench.by_hand("UPDATE decision SET json = '{}' WHERE subject = 'Patient/p-016'");
    let ran = bench.run(&["funnel"]).code(16).says("a stored decision cannot be read");
    assert_eq!(ran.out, "");
}
