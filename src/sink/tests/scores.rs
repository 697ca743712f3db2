//! Score Observations and Provenance: once a result, once a decision.

use super::fake::{Conditional, OnCreate};
use super::*;
use serde_json::json;

fn scored() -> ParticipantWanted {
    let mut p = participant("S-1");
    p.scores = vec![score("meld3", known("21")), score("child_pugh", known("10"))];
    p.evidence = vec!["Observation/31/_history/2".to_owned()];
    p
}

#[tokio::test]
async fn scores_and_provenance_are_written_once() {
    for release in RELEASES {
        for capability in [ABLE, PLAIN] {
            // With and without what the caller remembers: the server knows enough.
            for remembers in [true, false] {
                let server = Fake::default();
                let memory = Memory::default();
                let wanted = wanted(vec![scored()]);
                let first = reconcile(&server, release, capability, &wanted, &memory, false).await;
                assert!(first.lines().all(|l| l.outcome == Outcome::Created), "{first:?}");
                let fresh = Memory::default();
                let memory = if remembers { &memory } else { &fresh };
                let second = reconcile(&server, release, capability, &wanted, memory, false).await;
                assert!(second.writes.is_empty() && second.is_settled(), "{second:?}");
                assert_eq!((server.all("Observation").len(), server.all("Provenance").len()), (2, 3));
            }
        }
    }
}

#[tokio::test]
async fn what_a_score_says() {
    let server = Fake::default();
    let mut p = participant("S-1");
    p.scores = vec![score("albi", known("-1.2340"))];
    run(&server, Release::R4, ABLE, &wanted(vec![p])).await;
    let (.., body) = server.sent().into_iter().find(|(_, t, ..)| t == "Observation").expect("a score");
    assert!(body.contains(r#""value":-1.2340,"#), "the decimal keeps its text: {body}");
    let observation = &server.all("Observation")[0];
    assert_eq!(
        observation["identifier"][0],
        json!({"system":"urn:trialbridge:score","value":"S-1/albi/9f2c1a77"})
    );
    assert_eq!(
        observation["derivedFrom"],
        json!([{"reference":"Observation/31/_history/2"},{"reference":"Observation/32/_history/1"}]),
        "only types that derivedFrom may name"
    );
    let provenance = &server.all("Provenance")[0];
    assert_eq!(
        provenance["target"],
        json!([{"reference": format!("Observation/{}", observation["id"].as_str().expect("an id"))}])
    );
    let whats: Vec<&serde_json::Value> =
        provenance["entity"].as_array().expect("entities").iter().map(|e| &e["what"]).collect();
    assert_eq!(whats.len(), 6, "four inputs, the definition, the decision");
    assert_eq!(whats[2]["reference"], "Patient/1/_history/1");
    assert_eq!(whats[3]["identifier"]["value"], "MSG00042#OBX-3");
    assert_eq!(whats[4]["identifier"]["value"], "sha256:5d41402abc4b2a76");
}

fn retracted(identifier: &str) -> ScoreRetracted {
    ScoreRetracted { identifier: identifier.to_owned(), inputs: vec!["Observation/31/_history/2".to_owned()] }
}

fn outcomes(report: &ReconcileReport) -> Vec<Outcome> {
    report.participants[0].scores.iter().map(|l| l.outcome.clone()).collect()
}

#[tokio::test]
async fn a_score_that_is_not_known_any_more_is_marked_once() {
    for release in RELEASES {
        let server = Fake::default();
        let mut p = participant("S-1");
        p.scores = vec![score("meld3", known("21"))];
        run(&server, release, ABLE, &wanted(vec![p.clone()])).await;
        p.scores.clear();
        p.retracted_scores = vec![retracted("S-1/meld3/9f2c1a77"), retracted("S-1/meld3/never-written")];
        let report = run(&server, release, ABLE, &wanted(vec![p.clone()])).await;
        assert_eq!(outcomes(&report), [Outcome::Updated, Outcome::Unchanged]);
        let observations = server.all("Observation");
        assert_eq!(observations.len(), 1);
        assert_eq!(observations[0]["status"], "entered-in-error");
        assert_eq!(observations[0]["valueQuantity"]["value"], json!(21), "the rest stays for the record");
        let provenances = server.all("Provenance");
        let acts: Vec<&serde_json::Value> =
            provenances.iter().map(|p| &p["activity"]["coding"][0]["code"]).collect();
        assert_eq!(acts, ["CREATE", "NULLIFY"]);
        assert!(run(&server, release, ABLE, &wanted(vec![p])).await.writes.is_empty());
    }
}

#[tokio::test]
async fn a_score_that_came_out_otherwise_is_corrected_in_its_place() {
    for release in RELEASES {
        let server = Fake::default();
        let memory = Memory::default();
        let mut p = participant("S-1");
        p.scores = vec![score("meld3", known("21")), score("child_pugh", known("10"))];
        reconcile(&server, release, ABLE, &wanted(vec![p.clone()]), &memory, false).await;
        let first = server.all("Observation");

        // Another version of an input that changes nothing.
        p.scores[0].revised = Some("00aa".to_owned());
        let report = reconcile(&server, release, ABLE, &wanted(vec![p.clone()]), &memory, false).await;
        assert!(report.writes.is_empty(), "{report:?}");

        // One that changes the score, then its limits only, then back.
        let steps = [
            ("00bb", known("24"), json!(24)),
            ("00cc", ScoreValue::Range { low: Some(20.into()), high: None }, json!(null)),
            ("00dd", known("21"), json!(21)),
        ];
        for (hash, value, shown) in steps {
            p.scores[0] = ScoreWanted {
                revised: Some(hash.to_owned()),
                inputs: vec!["Observation/31/_history/3".to_owned()],
                ..score("meld3", value)
            };
            let dry = reconcile(&server, release, ABLE, &wanted(vec![p.clone()]), &memory, true).await;
            assert!(dry.writes.is_empty(), "{hash}");
            let report = reconcile(&server, release, ABLE, &wanted(vec![p.clone()]), &memory, false).await;
            assert_eq!(outcomes(&report), [Outcome::Updated, Outcome::Unchanged], "{hash}");
            let now = server.all("Observation");
            assert_eq!(now.len(), 2);
            assert_eq!((&now[0]["id"], &now[0]["identifier"]), (&first[0]["id"], &first[0]["identifier"]));
            assert_eq!(now[0]["status"], "corrected");
            assert_eq!(now[0]["valueQuantity"]["value"], shown, "{hash}");
            assert_eq!(now[0]["valueRange"].is_null(), !shown.is_null(), "{hash}");
            assert_eq!(now[0]["derivedFrom"], json!([{"reference": "Observation/31/_history/3"}]));
            assert_eq!(now[1], first[1], "another score is left alone");
            for memory in [&memory, &Memory::default()] {
                let again = reconcile(&server, release, ABLE, &wanted(vec![p.clone()]), memory, false).await;
                assert!(again.writes.is_empty() && again.is_settled(), "{again:?}");
            }
        }
        assert_eq!(server.all("Provenance").len(), 5, "two first ones, three corrections");

        // Taken back by us, and known again; but what the hospital has marked stays marked.
        let known_again = ScoreWanted { revised: Some("00ee".to_owned()), ..score("meld3", known("22")) };
        p.scores.remove(0);
        p.retracted_scores = vec![retracted("S-1/meld3/9f2c1a77")];
        reconcile(&server, release, ABLE, &wanted(vec![p.clone()]), &memory, false).await;
        assert_eq!(server.all("Observation")[0]["status"], "entered-in-error");
        p.retracted_scores.clear();
        p.scores.insert(0, known_again);
        p.scores[1].revised = Some("00ff".to_owned());
        p.scores[1].value = known("11");
        let second = first[1]["id"].as_str().expect("an id");
        server.change("Observation", second, |o| o["status"] = "entered-in-error".into());
        let report = reconcile(&server, release, ABLE, &wanted(vec![p]), &memory, false).await;
        assert_eq!(outcomes(&report), [Outcome::Updated, Outcome::Unchanged]);
        assert_eq!(report.participants[0].scores[1].notices, ["entered-in-error-at-hospital"]);
        let now = server.all("Observation");
        assert_eq!((&now[0]["status"], &now[0]["valueQuantity"]["value"]), (&json!("corrected"), &json!(22)));
        assert_eq!(
            (&now[1]["status"], &now[1]["valueQuantity"]["value"]),
            (&json!("entered-in-error"), &json!(10))
        );
    }
}

#[tokio::test]
async fn lost_answers_do_not_double_scores_or_provenance() {
    for capability in [ABLE, PLAIN] {
        // Faults on the creates of: the score, its Provenance.
        for faults in [
            [OnCreate::StoreThen(500), OnCreate::Normal],
            [OnCreate::StoreThen(0), OnCreate::StoreThen(0)],
            [OnCreate::Normal, OnCreate::StoreThen(500)],
            [OnCreate::Normal, OnCreate::LoseThen(500)],
            [OnCreate::LoseThen(0), OnCreate::Normal],
        ] {
            let server = Fake::default();
            run(&server, Release::R4, capability, &wanted(vec![participant("S-1")])).await;
            server.creates(&faults);
            let mut p = participant("S-1");
            p.scores = vec![score("meld3", known("21"))];
            let memory = Memory::default();
            for _ in 0..2 {
                reconcile(&server, Release::R4, capability, &wanted(vec![p.clone()]), &memory, false).await;
            }
            let report = reconcile(&server, Release::R4, capability, &wanted(vec![p]), &memory, false).await;
            assert!(report.is_settled() && report.writes.is_empty(), "{faults:?} {report:?}");
            assert_eq!(
                (server.all("Observation").len(), server.all("Provenance").len()),
                (1, 1),
                "{faults:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_search_observations_by_identifier() {
    let server = Fake {
        unsearchable: ["Observation?identifier", "Provenance?target"].into(),
        conditional: Conditional::Refused,
        ..Fake::default()
    };
    let memory = Memory::default();
    for expected in [Outcome::Created, Outcome::Unchanged] {
        let report = reconcile(&server, Release::R4, ABLE, &wanted(vec![scored()]), &memory, false).await;
        assert!(report.participants[0].scores.iter().all(|l| l.outcome == expected), "{report:?}");
        assert!(report.participants[0].provenances.iter().all(|l| l.outcome == expected), "{report:?}");
    }
    assert_eq!((server.all("Observation").len(), server.all("Provenance").len()), (2, 3));

    // Not by patient either: all Observations of a hospital are never read, so none is written.
    let server =
        Fake { unsearchable: ["Observation?identifier", "Observation?patient"].into(), ..Fake::default() };
    let report = run(&server, Release::R4, ABLE, &wanted(vec![scored()])).await;
    assert_eq!(report.participants[0].subject.outcome, Outcome::Created);
    assert!(report.participants[0].scores.iter().all(|l| l.outcome == failed("not-searchable", false)));
    assert!(server.all("Observation").is_empty());
}

#[tokio::test]
async fn a_score_element_that_is_not_kept_is_told() {
    let server = Fake { drops: ["derivedFrom"].into(), ..Fake::default() };
    let report = run(&server, Release::R4, ABLE, &wanted(vec![scored()])).await;
    assert_eq!(report.participants[0].scores[0].outcome, failed("field-dropped", false));
    assert_eq!(report.participants[0].scores[0].notices, ["dropped:derivedFrom"]);
}
