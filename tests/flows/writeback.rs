//! What the hospital holds afterwards: once, whatever happened on the way, and nothing it should not see.

use super::support::*;
use serde_json::Value;
use trialbridge::sandbox::Fault;

const THREE: [&str; 3] = ["p-001", "p-003", "p-009"];

/// Pulled, with two of three randomized.
fn randomized(hospital: &Hospital, more: &str) -> Bench {
    let bench = Bench::ready(hospital, more);
    bench.ok(&["randomize", "p-001", "--by", "A"]);
    bench.ok(&["randomize", "p-003", "--by", "A"]);
    bench
}

fn outcomes(ran: &Ran) -> Vec<String> {
    let mut all: Vec<String> =
        ran.lines().iter().map(|l| l["outcome"].as_str().expect("an outcome").to_owned()).collect();
    all.sort();
    all.dedup();
    all
}

fn of<'a>(subjects: &'a [Value], patient: &str) -> &'a Value {
    let reference = format!("Patient/{patient}");
    subjects.iter().find(|s| s["individual"]["reference"] == reference.as_str()).expect("a ResearchSubject")
}

#[test]
fn what_is_written_is_written_once() {
    let hospital = Hospital::of(&THREE);
    let bench = randomized(&hospital, "");
    let planned = bench.ok(&["writeback", "--dry-run"]);
    assert!(outcomes(&planned).iter().any(|o| o == "would create"));
    assert!(
        hospital.research_subjects().is_empty() && hospital.sandbox.resources("ResearchStudy").is_empty()
    );
    bench.ok(&["writeback"]);
    let arm = |id: &str| bench.ok(&["randomize", id, "--by", "A"]).json()["arm"].clone();
    let subjects = hospital.research_subjects();
    assert_eq!(subjects.len(), 2);
    let studies = hospital.sandbox.resources("ResearchStudy");
    assert_eq!(studies.len(), 1);
    let names: Vec<&str> =
        studies[0]["arm"].as_array().expect("arms").iter().filter_map(|a| a["name"].as_str()).collect();
    assert_eq!(names, ARMS);
    for id in ["p-001", "p-003"] {
        let s = of(&subjects, id);
        assert_eq!(s["status"], "on-study");
        assert_eq!(s["assignedArm"], arm(id));
        assert_eq!(
            s["study"]["reference"],
            format!("ResearchStudy/{}", studies[0]["id"].as_str().expect("an id")).as_str()
        );
        assert!(
            s["consent"]["reference"].as_str().is_some_and(|r| r.starts_with(&format!("Consent/{id}"))),
            "{s}"
        );
        let key = s["identifier"][0]["value"].as_str().expect("a value");
        assert!(!key.contains(id), "the key tells who it is");
    }
    let scores: Vec<Value> = ours(&hospital);
    assert!(scores.len() >= 10, "{}", scores.len());
    for score in &scores {
        assert!(score["derivedFrom"].as_array().is_some_and(|d| !d.is_empty()), "{score}");
    }
    assert!(!hospital.sandbox.resources("Provenance").is_empty());

    let everything = || -> String {
        ["ResearchStudy", "ResearchSubject", "Observation", "Provenance"]
            .iter()
            .flat_map(|t| hospital.sandbox.resources(t))
            .map(|r| r.to_string())
            .collect()
    };
    let before = everything();
    for _ in 0..2 {
        assert_eq!(outcomes(&bench.ok(&["writeback"])), ["unchanged"]);
        assert_eq!(everything(), before);
    }
    assert_eq!(bench.count("SELECT count(*) FROM outbox WHERE state <> 'done'"), 0);
    // Another store that knows nothing of the ids finds them at the server.
    let copy = bench.fork();
    copy.database().execute_batch("DELETE FROM known_id").expect("sql");
    copy.ok(&["writeback"]);
    assert_eq!(everything(), before);
    // Our own scores do not come back as the hospital's data.
    let judged = |bench: &Bench| -> Vec<Value> { bench.subjects().values().map(clinical).collect() };
    let decided = judged(&bench);
    let report = bench.ok(&["pull", "--full"]).json();
    assert_eq!(report["decisions"], serde_json::json!([]));
    assert_eq!(judged(&bench), decided);
}

fn ours(hospital: &Hospital) -> Vec<Value> {
    let mut all = hospital.sandbox.resources("Observation");
    all.retain(|o| {
        o["code"]["coding"]
            .as_array()
            .is_some_and(|c| c.iter().any(|c| c["system"] == "urn:trialbridge:score"))
    });
    all
}

#[test]
fn a_server_without_conditional_create_or_with_late_answers_ends_with_one() {
    type Misbehave = fn(&trialbridge::sandbox::Faults);
    let table: [(&str, Misbehave); 5] = [
        ("ignores If-None-Exist", |f| f.ignore_if_none_exist(true)),
        ("refuses If-None-Exist", |f| f.refuse_if_none_exist(true)),
        ("stores and answers 500", |f| {
            f.inject(
                3,
                |r| r.method == "POST" && r.path.ends_with("/ResearchSubject"),
                Fault::DoneButAnswer { status: 500 },
            );
        }),
        ("stores and answers 500 without If-None-Exist", |f| {
            f.ignore_if_none_exist(true);
            f.inject(
                2,
                |r| r.method == "POST" && r.path.ends_with("/ResearchSubject"),
                Fault::DoneButAnswer { status: 500 },
            );
            f.inject(
                2,
                |r| r.method == "POST" && r.path.ends_with("/Observation"),
                Fault::DoneButAnswer { status: 502 },
            );
        }),
        ("is away for the first tries", |f| f.answer_next(2, |r| r.method == "POST", 503, Some("1"))),
    ];
    let hospital = Hospital::of(&THREE);
    let prepared = randomized(&hospital, "");
    for (what, misbehave) in table {
        for kind in ["ResearchSubject", "ResearchStudy", "Provenance"] {
            for r in hospital.sandbox.resources(kind) {
                hospital.sandbox.remove(kind, r["id"].as_str().expect("an id"));
            }
        }
        for r in ours(&hospital) {
            hospital.sandbox.remove("Observation", r["id"].as_str().expect("an id"));
        }
        let bench = prepared.fork();
        hospital.sandbox.faults().clear();
        misbehave(hospital.sandbox.faults());
        let mut last = bench.run(&["writeback"]);
        for _ in 0..3 {
            if last.code != 0 {
                assert!(matches!(last.code, 1 | 13), "{what}: {} {}", last.code, last.err);
                last = bench.run(&["writeback"]);
            }
        }
        last.code(0);
        let subjects = hospital.research_subjects();
        assert_eq!(subjects.len(), 2, "{what}");
        assert_eq!(hospital.sandbox.resources("ResearchStudy").len(), 1, "{what}");
        let mut keys: Vec<String> = ours(&hospital).iter().map(|o| o["identifier"].to_string()).collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all, "{what}: a score is there twice");
        hospital.sandbox.faults().clear();
        assert_eq!(outcomes(&bench.ok(&["writeback"])), ["unchanged"], "{what}");
    }
}

#[test]
fn a_withheld_arm_reaches_nobody() {
    for policy in ["code", "withhold"] {
        let hospital = Hospital::of(&THREE);
        let bench = randomized(&hospital, &format!("[writeback]\narm = \"{policy}\"\nscreening = true\n"));
        bench.ok(&["writeback"]).keeps_secrets(ARMS.into_iter());
        bench.ok(&["writeback", "-o", "table", "-vv"]).keeps_secrets(ARMS.into_iter());
        let subjects = hospital.research_subjects();
        assert_eq!(subjects.len(), 3);
        for s in ["p-001", "p-003"].map(|id| of(&subjects, id)) {
            assert_eq!(s["assignedArm"].is_null(), policy == "withhold", "{s}");
            assert!(s["actualArm"].is_null());
        }
        for kind in ["ResearchSubject", "Observation", "Provenance", "Patient", "Consent"] {
            for r in hospital.sandbox.resources(kind) {
                let text = r.to_string().to_lowercase();
                assert!(
                    !text.contains("single infusion") && !text.contains("double infusion"),
                    "{policy}: {r}"
                );
            }
        }
        let codes: Vec<String> =
            subjects.iter().filter_map(|s| s["assignedArm"].as_str()).map(str::to_owned).collect();
        for code in codes {
            assert!(!["single", "double"].iter().any(|w| code.to_lowercase().contains(w)), "{code}");
        }
    }
}

#[test]
fn states_are_kept_and_a_withdrawn_consent_ends_the_participation() {
    let hospital = Hospital::of(&["p-001", "p-003", "p-007", "p-009"]);
    let bench = Bench::ready(&hospital, "[writeback]\nscreening = true\n");
    bench.ok(&["randomize", "p-003", "--by", "A"]);
    bench.ok(&["writeback"]);
    let state =
        |id: &str| of(&hospital.research_subjects(), id)["status"].as_str().expect("a status").to_owned();
    assert_eq!(state("p-003"), "on-study");
    assert_eq!(state("p-007"), "screening");
    assert_eq!(state("p-009"), "ineligible");
    assert_eq!(state("p-001"), "eligible");
    let id = of(&hospital.research_subjects(), "p-007")["id"].clone();
    bench.ok(&["consent", "record", "p-007", "--by", "C"]);
    bench.ok(&["writeback"]);
    assert_eq!(state("p-007"), "eligible");
    bench.ok(&["randomize", "p-007", "--by", "A"]);
    bench.ok(&["writeback"]);
    assert_eq!(state("p-007"), "on-study");
    bench.ok(&["consent", "withdraw", "p-007", "--by", "C"]);
    bench.ok(&["writeback"]);
    let subjects = hospital.research_subjects();
    assert_eq!(state("p-007"), "withdrawn");
    assert_eq!(of(&subjects, "p-007")["id"], id, "the same resource all the way");
    assert_eq!(subjects.len(), 4);
    // The allocation stays what it was.
    assert_eq!(
        of(&subjects, "p-007")["assignedArm"],
        bench.ok(&["randomize", "p-007", "--by", "A"]).json()["arm"]
    );
    let mut off = bench.fork();
    off.reconfigure("[writeback]\nenabled = false\n");
    off.run(&["writeback"]).code(10).says("switched off");
}
