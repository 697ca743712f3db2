//! Pull, subjects and explain; what the store says is what `screen` says of the same resources.

use super::support::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use trialbridge::sandbox::Intent;

#[test]
fn the_store_says_what_screen_says_of_the_same_resources() {
    let hospital = Hospital::all();
    let bench = Bench::new(&hospital);
    let report = bench.ok(&["pull"]).json();
    assert_eq!(report["schema"], "trialbridge/pull/v1");
    assert_eq!((report["patients"].to_string(), report["judged"].to_string()), ("60".into(), "60".into()));
    assert_eq!(report["incomplete"].as_array().map(Vec::len), Some(0));
    assert_eq!(report["decisions"].as_array().map(Vec::len), Some(60));
    // What is counted as a resource is one: a page without entries brings none.
    let number = |key: &str| report[key].as_u64().expect("a number");
    assert_eq!(number("resources"), number("new") + number("changed") + number("same"));

    let subjects = bench.subjects();
    assert_eq!(subjects.len(), 60);
    for (name, v) in &subjects {
        check_shape(name, v);
        let explained = bench.ok(&["explain", name.trim_start_matches("Patient/")]);
        let mut json = explained.json();
        assert_eq!(
            json.as_object_mut().expect("an object").remove("changes"),
            Some(serde_json::json!([])),
            "{name}"
        );
        assert_eq!(json, *v, "{name}");
    }
    assert_eq!(bench.ok(&["subjects", "-o", "json"]).json().as_array().map(Vec::len), Some(60));
    let table = bench.ok(&["subjects", "-o", "table"]).out;
    assert_eq!(table.lines().count(), 61);
    let eligible = subjects.values().filter(|v| v["decision"] == "eligible").count();
    assert_eq!(bench.ok(&["subjects", "--decision", "eligible"]).lines().len(), eligible);
    bench.run(&["subjects", "--decision", "perhaps"]).code(2);

    // What each patient is there to show is what the pull comes to.
    for case in trialbridge::sandbox::synthetic_cases(today()) {
        let v = &subjects[&format!("Patient/{}", case.id)];
        let (decision, deciding) = match case.intent {
            Intent::Eligible => ("eligible", None),
            Intent::AwaitingConsent | Intent::ScoreGap(_) => ("undetermined", Some("I3")),
            Intent::Ineligible(id) => ("ineligible", Some(id)),
            Intent::Undetermined(id) => ("undetermined", Some(id)),
        };
        assert_eq!(v["decision"], decision, "{}: {}", case.id, case.story);
        let named = v["deciding"].as_array().expect("deciding");
        assert!(deciding.is_none_or(|id| named.iter().any(|d| d == id)), "{}: {named:?}", case.id);
    }

    let types: BTreeSet<String> = trialbridge::sandbox::synthetic_patients(today())
        .iter()
        .filter_map(|r| r["resourceType"].as_str().map(str::to_owned))
        .collect();
    let mut dump = String::new();
    for resource in types.iter().flat_map(|t| hospital.sandbox.resources(t)) {
        dump.push_str(&resource.to_string());
        dump.push('\n');
    }
    fs::write(bench.path("dump.ndjson"), dump).expect("written");
    let file = bench.path("dump.ndjson").display().to_string();
    let screened = bench.ok(&["screen", &file, "--as-of", &today().to_string()]).lines();
    assert_eq!(screened.len(), 60);
    for v in &screened {
        let stored = &subjects[v["subject"].as_str().expect("a subject")];
        assert_eq!(clinical(v).to_string(), clinical(stored).to_string());
        // A gap of the store is a gap of the file; a search by code brings less that cannot be used.
        let gaps = |v: &Value| -> BTreeSet<(String, String)> {
            let gap = |g: &Value| (g["reference"].to_string(), g["reason"].to_string());
            v["gaps"].as_array().expect("gaps").iter().map(gap).collect()
        };
        assert!(
            gaps(stored).is_subset(&gaps(v)),
            "{}: {:?}",
            v["subject"],
            gaps(stored).difference(&gaps(v))
        );
    }

    let imported = Bench::new(&hospital);
    imported.ok(&["import", &file]);
    for (name, v) in imported.subjects() {
        assert_eq!(clinical(&v).to_string(), clinical(&subjects[&name]).to_string());
    }
}

fn check_shape(name: &str, v: &Value) {
    assert_eq!(v["schema"], "trialbridge/screen/v1");
    assert_eq!(v["trial"], "NCT06242405");
    assert!(v["definition"].as_str().is_some_and(|d| d.starts_with("sha256:") && d.len() == 71), "{name}");
    assert_eq!(v["asOf"], today().to_string().as_str());
    let ids: Vec<&str> =
        v["criteria"].as_array().expect("criteria").iter().filter_map(|c| c["id"].as_str()).collect();
    assert_eq!(ids, ["I1", "I2", "I3", "E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E10", "E11"]);
    for c in v["criteria"].as_array().expect("criteria") {
        let verdict = c["verdict"].as_str().expect("a verdict");
        let allowed: &[&str] = match c["kind"].as_str() {
            Some("inclusion") => &["met", "not-met", "unknown", "attest"],
            Some("exclusion") => &["clear", "excludes", "unknown", "attest", "not-applicable"],
            other => panic!("{name}: kind {other:?}"),
        };
        assert!(allowed.contains(&verdict), "{name}: {verdict}");
    }
    let decision = v["decision"].as_str().expect("a decision");
    let any = |words: &[&str]| {
        v["criteria"].as_array().expect("criteria").iter().any(|c| words.iter().any(|w| c["verdict"] == *w))
    };
    let expected = match (any(&["not-met", "excludes"]), any(&["unknown", "attest"])) {
        (true, _) => "ineligible",
        (false, true) => "undetermined",
        (false, false) => "eligible",
    };
    assert_eq!(decision, expected, "{name}");
    for key in ["variables", "scores"] {
        assert!(v[key].is_object(), "{name}: {key}");
    }
    for key in ["deciding", "needs", "gaps"] {
        assert!(v[key].is_array(), "{name}: {key}");
    }
}

#[test]
fn every_form_of_a_cohort() {
    let hospital = Hospital::all();
    let ids = tempfile::NamedTempFile::new().expect("a file");
    fs::write(ids.path(), "p-001\n# a note\nPatient/p-021\n").expect("written");
    let of = |cohort: &str| {
        let bench = Bench::with(&hospital.url, &format!("[pull]\ncohort = \"{cohort}\"\n"));
        let report = bench.ok(&["pull"]).json();
        let subjects = bench.subjects();
        assert_eq!(report["patients"].as_u64(), Some(subjects.len() as u64), "{cohort}");
        subjects.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(of(&format!("ids:{}", ids.path().display())), ["Patient/p-001", "Patient/p-021"]);
    let ward = hospital.resource("Group", "liver-ward")["member"].as_array().map(Vec::len);
    assert_eq!(Some(of("group:liver-ward").len()), ward);
    let listed = hospital.resource("List", "esld-screening")["entry"].as_array().map(Vec::len);
    assert_eq!(Some(of("list:esld-screening").len()), listed);
    let with_code =
        |r: &Value| r["code"]["coding"].as_array().is_some_and(|c| c.iter().any(|c| c["code"] == "K74.60"));
    let with_cirrhosis: BTreeSet<String> = hospital
        .sandbox
        .resources("Condition")
        .iter()
        .filter(|r| with_code(r))
        .filter_map(|r| r["subject"]["reference"].as_str().map(str::to_owned))
        .collect();
    assert!(!with_cirrhosis.is_empty() && with_cirrhosis.len() < 60);
    let searched: BTreeSet<String> = of("Patient?_has:Condition:patient:code=K74.60").into_iter().collect();
    assert_eq!(searched, with_cirrhosis);

    for (cohort, code) in [("group:nobody", 1), ("everybody", 10), ("ids:/nonexistent", 10)] {
        let bench = Bench::with(&hospital.url, &format!("[pull]\ncohort = \"{cohort}\"\n"));
        bench.run(&["pull"]).code(code).says("cohort");
    }
}

#[test]
fn a_dry_run_stores_nothing_and_one_patient_is_one_patient() {
    let hospital = Hospital::of(&["p-001", "p-007", "p-009"]);
    let bench = Bench::new(&hospital);
    let plan = bench.ok(&["pull", "--dry-run"]).says("nothing was stored").lines();
    assert!(plan.iter().any(|p| p["search"].as_str().is_some_and(|s| s.starts_with("Observation?"))));
    assert_eq!(bench.count("SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM cursor) + (SELECT count(*) FROM audit)"), 0);
    assert_eq!(hospital.asked("Observation"), 0);
    for id in ["p-007", "Patient/p-007"] {
        bench.ok(&["pull", "--patient", id]);
        assert_eq!(bench.subjects().into_keys().collect::<Vec<_>>(), ["Patient/p-007"]);
    }
    assert_eq!(bench.count("SELECT count(*) FROM cursor WHERE key LIKE '%/cohort/%'"), 0);
    for (arguments, code) in [
        (["--patient", "../p-007"], 1),
        (["--patient", "nobody"], 1),
        (["--since", "yesterday"], 2),
        (["--since", "2026-11-01"], 2),
    ] {
        bench.run(&[&["pull"], &arguments[..]].concat()).code(code).says("error:");
    }
    bench.ok(&["pull"]);
    assert_eq!(bench.subjects().len(), 3);
    bench.run(&["explain", "nobody"]).code(1).says("not in the store");
    bench.run(&["explain", "nobody", "--history"]).code(1);
    bench.run(&["explain", "a b"]).code(2);
    bench.run(&["explain", "p-007", "--criterion", "E99"]).code(2);
    assert_eq!(bench.ok(&["explain", "p-007", "--criterion", "I3"]).json()["id"], "I3");
    assert_eq!(bench.ok(&["explain", "p-007", "--history"]).lines().len(), 1);
    let text = bench.ok(&["explain", "p-007", "-o", "table"]).out;
    assert!(text.contains("UNDETERMINED") && text.contains("needs       consent"), "{text}");
    // Without a store there is a sentence, not a trace.
    Bench::new(&hospital).run(&["subjects"]).code(1).says("hint:");
}

/// A batch answer with a Bundle inside, an id that is none, and a newer version that is broken: the
/// store and `screen` take them apart alike.
#[test]
fn what_is_broken_comes_to_the_same_in_the_store() {
    let hospital = Hospital::of(&[]);
    let bench = Bench::new(&hospital);
    let day = today();
    let observation = |id: &str, version: u32, value: Value| {
        serde_json::json!({"resource": {
            "resourceType": "Observation", "id": id, "meta": {"versionId": version.to_string()},
            "status": "final", "subject": {"reference": "Patient/b1"}, "effectiveDateTime": day.to_string(),
            "code": {"coding": [{"system": "http://loinc.org", "code": "1975-2"}]},
            "valueQuantity": value}})
    };
    let milligrams = |value: Value| serde_json::json!({"value": value, "unit": "mg/dL", "code": "mg/dL"});
    let inner = serde_json::json!({"resourceType": "Bundle", "type": "searchset", "entry": [
        observation("b1-a", 1, milligrams(2.into())),
        observation("not an id", 1, milligrams(3.into())),
        observation("b1-a", 2, "two".into()),
    ]});
    let outer = serde_json::json!({"resourceType": "Bundle", "type": "batch-response", "entry": [
        {"resource": {"resourceType": "Patient", "id": "b1", "gender": "male", "birthDate": "1970-01-01"}},
        {"resource": inner}
    ]});
    let file = bench.path("broken.json");
    fs::write(&file, outer.to_string()).expect("written");
    let file = file.display().to_string();
    let screened = bench.ok(&["screen", &file, "--as-of", &day.to_string()]).json();
    bench.run(&["import", &file]).code(1);
    let stored = bench.ok(&["explain", "b1"]).json();
    assert_eq!(clinical(&stored), clinical(&screened));
    assert!(stored["variables"]["bilirubin_total"].is_null(), "the older version is not used any more");
    let reasons = |v: &Value| -> Vec<String> {
        v["gaps"].as_array().into_iter().flatten().map(|g| g["reason"].to_string()).collect()
    };
    assert_eq!(reasons(&screened), ["\"structure\"", "\"structure\""]);
    assert!(reasons(&stored).contains(&"\"structure\"".to_owned()));
    let kept = bench.ok(&["quarantine", "list"]).lines();
    assert_eq!(kept.len(), 2, "both stand in quarantine with their bytes: {kept:?}");
}
