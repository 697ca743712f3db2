//! What changes at the hospital re-opens the decision; what does not change, changes nothing.

use super::support::*;
use serde_json::json;

fn bilirubin(hospital: &Hospital, patient: &str) -> String {
    let newest = hospital
        .sandbox
        .resources("Observation")
        .into_iter()
        .filter(|o| o["subject"]["reference"] == format!("Patient/{patient}"))
        .filter(|o| o["code"]["coding"].as_array().is_some_and(|c| c.iter().any(|c| c["code"] == "14631-6")))
        .max_by_key(|o| o["effectiveDateTime"].as_str().unwrap_or_default().to_owned());
    newest.expect("a bilirubin")["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_second_pull_changes_nothing() {
    let hospital = Hospital::of(&["p-001", "p-007", "p-021", "p-045"]);
    let bench = Bench::new(&hospital);
    bench.ok(&["pull"]);
    let before = bench.ok(&["subjects"]).out;
    let decisions = bench.count("SELECT count(*) FROM decision");
    for (n, arguments) in
        [vec!["pull"], vec!["pull", "--full"], vec!["pull", "--patient", "p-001"]].iter().enumerate()
    {
        let report = bench.ok(arguments).json();
        assert_eq!(report["decisions"], json!([]), "{n}");
        assert_eq!(
            (&report["new"], &report["changed"], &report["judged"]),
            (&json!(0), &json!(0), &json!(0)),
            "{n}"
        );
        assert_eq!(bench.ok(&["subjects"]).out, before, "{n}");
        assert_eq!(bench.count("SELECT count(*) FROM decision"), decisions, "{n}");
    }
    // A page that says "nothing" is not kept: it comes with every pull of every patient.
    let empty =
        "SELECT count(*) FROM inbox WHERE instr(bytes, '\"entry\"') = 0 AND instr(bytes, '\"Bundle\"') > 0";
    assert_eq!(bench.count(empty), 0);
    bench.ok(&["verify"]);
}

#[test]
fn a_changed_retracted_or_deleted_record_reopens_the_decision() {
    let hospital = Hospital::of(&["p-001", "p-016"]);
    let bench = Bench::new(&hospital);
    bench.ok(&["pull"]);
    assert_eq!(bench.decision("p-001"), "eligible");
    let id = bilirubin(&hospital, "p-001");
    let source =
        |bench: &Bench| bench.ok(&["explain", "p-001"]).json()["variables"]["bilirubin_total"].clone();
    assert_eq!(source(&bench)["source"], format!("Observation/{id}").as_str());
    let original = hospital.resource("Observation", &id);

    // corrected
    hospital.change("Observation", &id, |o| {
        o["status"] = "corrected".into();
        o["valueQuantity"]["value"] = json!(95.5);
    });
    let report = bench.ok(&["pull"]).json();
    assert_eq!((report["changed"].as_u64(), report["judged"].as_u64()), (Some(1), Some(1)));
    assert_eq!(source(&bench)["received"]["value"].to_string().trim_matches('"'), "95.5");
    assert_eq!(source(&bench)["version"], "2");

    // retracted: an older value is not taken in its place without a word
    hospital.change("Observation", &id, |o| o["status"] = "entered-in-error".into());
    bench.ok(&["pull"]);
    assert_ne!(source(&bench)["source"], format!("Observation/{id}").as_str());

    // restored, then deleted: a search does not tell, a full load does
    hospital.change("Observation", &id, |o| {
        *o = {
            let mut r = original.clone();
            r.as_object_mut().expect("object").remove("meta");
            r
        }
    });
    bench.ok(&["pull"]);
    assert_eq!(source(&bench)["source"], format!("Observation/{id}").as_str());
    assert!(hospital.sandbox.remove("Observation", &id));
    let report = bench.ok(&["pull", "--full"]).json();
    assert_eq!(report["judged"].as_u64(), Some(1), "{report}");
    assert_ne!(source(&bench)["source"], format!("Observation/{id}").as_str());
    assert_eq!(bench.count("SELECT count(*) FROM record WHERE state = 'deleted'"), 1);
    // and it stays so, whatever is done again
    let after = bench.ok(&["subjects"]).out;
    bench.ok(&["pull", "--full"]);
    bench.ok(&["replay"]);
    assert_eq!(bench.ok(&["subjects"]).out, after);

    // a Consent that is gone is no consent
    let consent = hospital
        .sandbox
        .resources("Consent")
        .into_iter()
        .find(|c| c["patient"]["reference"] == "Patient/p-001");
    let consent = consent.expect("a consent")["id"].as_str().expect("an id").to_owned();
    assert!(hospital.sandbox.remove("Consent", &consent));
    bench.ok(&["pull", "--full", "--patient", "p-001"]);
    let explained = bench.ok(&["explain", "p-001"]).json();
    let i3 = explained["criteria"].as_array().expect("criteria").iter().find(|c| c["id"] == "I3").cloned();
    assert_eq!(i3.expect("I3")["verdict"], "attest");

    // a patient who is gone leaves nobody to judge
    assert!(hospital.sandbox.remove("Patient", "p-016"));
    let alone = bench.fork();
    alone.run(&["pull", "--patient", "p-016"]).code(1).says("no Patient of this id");
    bench.ok(&["pull", "--full"]);
    for bench in [&bench, &alone] {
        assert_eq!(bench.decision("p-016"), "undetermined");
    }
    assert_eq!(
        bench.ok(&["explain", "p-001", "--history"]).lines().len() as i64,
        bench.count("SELECT count(*) FROM decision WHERE subject = 'Patient/p-001'")
    );
    bench.ok(&["verify"]);
}
