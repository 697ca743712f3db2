//! Never two ResearchSubjects for one participant, whatever the server does.

use super::fake::{Conditional, OnCreate};
use super::*;
use serde_json::{Value, json};

/// A server that already has the study, so that the first create is the subject's.
async fn with_study(release: Release, server: Fake) -> Fake {
    let report = run(&server, release, ABLE, &wanted(Vec::new())).await;
    assert!(report.is_settled(), "{report:?}");
    server
}

fn subject_count(server: &Fake) -> usize {
    server.all("ResearchSubject").len()
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    for release in RELEASES {
        for capability in [ABLE, PLAIN] {
            let server = Fake::default();
            let wanted = wanted(vec![participant("S-1"), participant("S-2")]);
            let first = run(&server, release, capability, &wanted).await;
            assert_eq!(first.study.outcome, Outcome::Created);
            for p in &first.participants {
                assert_eq!(p.subject.outcome, Outcome::Created, "{release:?} {first:?}");
            }
            let second = run(&server, release, capability, &wanted).await;
            assert!(second.writes.is_empty() && second.is_settled(), "{second:?}");
            assert_eq!((server.all("ResearchStudy").len(), subject_count(&server)), (1, 2));
        }
    }
}

#[tokio::test]
async fn the_arm_is_the_one_named_in_the_study() {
    let server = Fake::default();
    run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
    let subject = &server.all("ResearchSubject")[0];
    assert_eq!(subject["assignedArm"], "Double infusion");
    assert_eq!(subject["status"], "on-study");
    assert!(
        server.all("ResearchStudy")[0]["arm"]
            .as_array()
            .expect("arms")
            .iter()
            .any(|a| a["name"] == subject["assignedArm"])
    );

    // R5: the group's linkId in the study that is there, whatever it is called there.
    let server = Fake::default();
    server.put(json!({"resourceType":"ResearchStudy","status":"active",
        "identifier":[{"system":"https://clinicaltrials.gov","value":"NCT06242405"}],
        "comparisonGroup":[{"linkId":"g2","name":"Double infusion"},{"linkId":"g1","name":"Single infusion"}]}));
    let report = run(&server, Release::R5, ABLE, &wanted(vec![participant("S-1")])).await;
    assert_eq!(report.study.outcome, Outcome::Unchanged);
    let subject = &server.all("ResearchSubject")[0];
    assert_eq!(subject["assignedComparisonGroup"], "g2");
    assert_eq!(subject["progress"][0]["subjectState"]["coding"][0]["code"], "on-study");
}

#[tokio::test]
async fn no_answer_is_settled_by_looking() {
    // fault, outcome of the first run, subjects after it, outcome of the second run
    let lost = failed("outcome-unknown", true);
    let table = [
        (OnCreate::StoreThen(500), Outcome::Created, 1, Outcome::Unchanged),
        (OnCreate::StoreThen(503), Outcome::Created, 1, Outcome::Unchanged),
        (OnCreate::StoreThen(0), Outcome::Created, 1, Outcome::Unchanged),
        (OnCreate::LoseThen(500), lost.clone(), 0, Outcome::Created),
        (OnCreate::LoseThen(0), lost, 0, Outcome::Created),
        (OnCreate::LoseThen(429), failed("throttled", true), 0, Outcome::Created),
        (OnCreate::LoseThen(403), failed("refused", false), 0, Outcome::Created),
        (OnCreate::LoseThen(409), failed("rejected", false), 0, Outcome::Created),
    ];
    for release in [Release::R4, Release::R5] {
        for capability in [ABLE, PLAIN] {
            for (fault, first, count, second) in &table {
                let server = with_study(release, Fake::default()).await;
                server.creates(&[*fault]);
                let wanted = wanted(vec![participant("S-1")]);
                let report = run(&server, release, capability, &wanted).await;
                let what = format!("{release:?} {capability:?} {fault:?}");
                assert_eq!(report.participants[0].subject.outcome, *first, "{what}");
                assert_eq!(subject_count(&server), *count, "{what}");
                let report = run(&server, release, capability, &wanted).await;
                assert_eq!(report.participants[0].subject.outcome, *second, "{what}");
                assert_eq!(subject_count(&server), 1, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn if_none_exist_that_is_ignored_or_refused() {
    for conditional in [Conditional::Ignored, Conditional::Refused] {
        let server = Fake { conditional, ..Fake::default() };
        let wanted = wanted(vec![participant("S-1"), participant("S-2")]);
        let report = run(&server, Release::R4, ABLE, &wanted).await;
        assert!(report.is_settled(), "{report:?}");
        assert!(run(&server, Release::R4, ABLE, &wanted).await.writes.is_empty());
        assert_eq!(subject_count(&server), 2);
        if conditional == Conditional::Refused {
            let headers = server.sent().iter().filter(|(_, _, h, _)| h.is_some()).count();
            assert_eq!(headers, 1, "a refusal is remembered for the rest of the run");
        }
    }
}

#[tokio::test]
async fn a_refused_resource_is_not_a_refused_header() {
    let server = with_study(Release::R4, Fake::default()).await;
    server.creates(&[OnCreate::LoseThen(422), OnCreate::LoseThen(422)]);
    let wanted = wanted(vec![participant("S-1"), participant("S-2")]);
    let report = run(&server, Release::R4, ABLE, &wanted).await;
    assert_eq!(report.participants[0].subject.outcome, failed("rejected", false));
    assert_eq!(report.participants[1].subject.outcome, Outcome::Created);
    let (.., header, _) = server.sent().pop().expect("a create");
    assert!(header.is_some(), "If-None-Exist is still offered");
}

#[tokio::test]
async fn the_header_names_the_identifier() {
    let server = Fake::default();
    run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
    let headers: Vec<String> = server.sent().into_iter().filter_map(|(_, _, header, _)| header).collect();
    assert_eq!(
        headers,
        ["identifier=https://clinicaltrials.gov%7CNCT06242405", "identifier=urn:trialbridge:subject%7CS-1"]
    );
}

#[tokio::test]
async fn a_race_is_told_and_never_made_three() {
    for capability in [ABLE, PLAIN] {
        let server = with_study(Release::R4, Fake::default()).await;
        server.creates(&[OnCreate::Race]);
        let memory = Memory::default();
        let wanted = wanted(vec![participant("S-1")]);
        for _ in 0..3 {
            let report = reconcile(&server, Release::R4, capability, &wanted, &memory, false).await;
            let outcome = &report.participants[0].subject.outcome;
            assert_eq!(*outcome, human("duplicate-research-subject", &["2", "3"]));
            assert!(outcome.remedy().is_some());
            assert_eq!(subject_count(&server), 2, "none is deleted, none is added");
        }
        let lowest = memory.0.lock().expect("one thread").values().any(|id| id == "2");
        assert!(lowest, "the lowest id is the one that is kept to");
        // A person has removed the other one.
        server.delete("ResearchSubject", "3");
        let report = reconcile(&server, Release::R4, capability, &wanted, &memory, false).await;
        assert_eq!(report.participants[0].subject.outcome, Outcome::Unchanged);
    }
}

#[tokio::test]
async fn conditional_create_answers() {
    // 200: another adapter was first, and our look was before it.
    let server = with_study(Release::R4, Fake { index_lags: true, ..Fake::default() }).await;
    let mut theirs: Value = serde_json::from_slice(&crate::sink::subject::build(
        Release::R4,
        &crate::sink::subject::Subject {
            key: "S-1",
            study: "ResearchStudy/1",
            patient: "Patient/1",
            state: SubjectState::Screening,
            since: day("2026-10-01"),
            arm: None,
            consent: None,
        },
    ))
    .expect("JSON");
    theirs["language"] = json!("zh");
    server.put(theirs.clone());
    let memory = Memory::default();
    let wanted = wanted(vec![participant("S-1")]);
    let known = || {
        memory
            .0
            .lock()
            .expect("one thread")
            .insert(("ResearchStudy".to_owned(), "NCT06242405".to_owned()), "1".to_owned())
    };
    known();
    let report = reconcile(&server, Release::R4, ABLE, &wanted, &memory, false).await;
    assert_eq!(report.participants[0].subject.outcome, Outcome::Updated, "{report:?}");
    assert_eq!(subject_count(&server), 1);
    assert_eq!(server.all("ResearchSubject")[0]["assignedArm"], "Double infusion");
    assert_eq!(server.all("ResearchSubject")[0]["language"], "zh");

    // 412: several matches that the search does not show.
    let server = with_study(Release::R4, Fake { index_lags: true, ..Fake::default() }).await;
    server.put(theirs.clone());
    server.put(theirs);
    memory.0.lock().expect("one thread").clear();
    known();
    let report = reconcile(&server, Release::R4, ABLE, &wanted, &memory, false).await;
    assert_eq!(report.participants[0].subject.outcome, human("duplicate-research-subject", &[]));
    assert_eq!(subject_count(&server), 2);
}

#[tokio::test]
async fn a_server_that_searches_badly() {
    let coarse: [&[&'static str]; 4] = [
        &["ResearchSubject?identifier"],
        &["ResearchSubject?identifier", "ResearchSubject?study"],
        &[
            "ResearchSubject?identifier",
            "ResearchSubject?study",
            "ResearchSubject?individual",
            "ResearchSubject?subject",
        ],
        &[
            "ResearchStudy?identifier",
            "ResearchSubject?study",
            "ResearchSubject?individual",
            "ResearchSubject?subject",
        ],
    ];
    for release in [Release::R4, Release::R5] {
        for unsearchable in coarse {
            for searchable in [true, false] {
                let server = Fake {
                    unsearchable: unsearchable.iter().copied().collect(),
                    conditional: Conditional::Refused,
                    ..Fake::default()
                };
                let capability =
                    Capability { conditional_create: true, research_subject_searchable: searchable };
                // Somebody else's, with another identifier system and the same value.
                server.put(json!({"resourceType":"ResearchSubject","status":"active",
                    "identifier":[{"system":"urn:other","value":"S-1"}],
                    "study":{"reference":"ResearchStudy/99"}}));
                let wanted = wanted(vec![participant("S-1"), participant("S-2")]);
                let report = run(&server, release, capability, &wanted).await;
                assert!(report.is_settled(), "{unsearchable:?} {report:?}");
                let before = server.state.lock().expect("one thread").searches.len();
                let report = run(&server, release, capability, &wanted).await;
                assert!(report.writes.is_empty() && report.is_settled(), "{unsearchable:?} {report:?}");
                assert_eq!(subject_count(&server), 3);
                let searches = server.state.lock().expect("one thread").searches[before..].to_vec();
                let subjects = searches.iter().filter(|s| s.starts_with("ResearchSubject?")).count();
                assert!(subjects <= 5, "what was learnt serves the next participant: {searches:?}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_created_without_a_look() {
    let server = with_study(Release::R4, Fake::default()).await;
    for status in [0, 401, 404, 429, 500] {
        let mut down = Fake { down: Some(status), ..Fake::default() };
        let report = run(&down, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
        assert!(!report.study.outcome.is_settled());
        assert_eq!(report.participants[0].subject.outcome, failed("study-unsettled", false));
        assert!(report.writes.is_empty());
        down.down = None;
        assert!(run(&down, Release::R4, ABLE, &wanted(Vec::new())).await.is_settled());
    }
    assert_eq!(subject_count(&server), 0);
}

#[tokio::test]
async fn an_index_that_lags_is_bridged_by_the_known_id() {
    let server = Fake { index_lags: true, ..Fake::default() };
    let memory = Memory::default();
    let wanted = wanted(vec![participant("S-1")]);
    let report = reconcile(&server, Release::R4, PLAIN, &wanted, &memory, false).await;
    assert_eq!(report.participants[0].subject.outcome, Outcome::Created, "{report:?}");
    let report = reconcile(&server, Release::R4, PLAIN, &wanted, &memory, false).await;
    assert!(report.writes.is_empty() && report.is_settled(), "{report:?}");
    assert_eq!(subject_count(&server), 1);
}

#[tokio::test]
async fn a_server_that_keeps_no_identifier_gets_one_resource() {
    let server = with_study(Release::R4, Fake::default()).await;
    let server = Fake { drops: ["identifier"].into(), ..server };
    let memory = Memory::default();
    for _ in 0..3 {
        let report =
            reconcile(&server, Release::R4, PLAIN, &wanted(vec![participant("S-1")]), &memory, false).await;
        assert_eq!(report.participants[0].subject.outcome, human("identifier-dropped", &["2"]));
        assert_eq!(subject_count(&server), 1);
    }
}

#[tokio::test]
async fn a_create_that_leaves_no_trace_is_not_repeated() {
    let server = with_study(Release::R4, Fake::default()).await;
    server.creates(&[OnCreate::Pretend, OnCreate::Pretend]);
    let memory = Memory::default();
    for sent in [1, 1] {
        let before = server.sent().len();
        let report =
            reconcile(&server, Release::R4, PLAIN, &wanted(vec![participant("S-1")]), &memory, false).await;
        assert_eq!(report.participants[0].subject.outcome, human("creation-unconfirmed", &[]));
        let subjects = server.sent().iter().filter(|(_, t, ..)| t == "ResearchSubject").count();
        assert_eq!(subjects, sent, "{before}");
    }
}

#[tokio::test]
async fn a_subject_entered_by_hand_is_not_doubled() {
    let fallback: [&[&'static str]; 2] = [&[], &["ResearchSubject?study", "ResearchSubject?identifier"]];
    for unsearchable in fallback {
        let server = with_study(Release::R4, Fake::default()).await;
        let server = Fake { unsearchable: unsearchable.iter().copied().collect(), ..server };
        let id = server.put(json!({"resourceType":"ResearchSubject","status":"screening",
            "study":{"reference":"ResearchStudy/1"},"individual":{"reference":"Patient/1"}}));
        let wanted = wanted(vec![participant("S-1")]);
        let report = run(&server, Release::R4, ABLE, &wanted).await;
        assert_eq!(report.participants[0].subject.outcome, human("foreign-research-subject", &[&id]));
        assert_eq!(subject_count(&server), 1);
        // A person has given it our identifier: it is ours now.
        server.change("ResearchSubject", &id, |r| {
            r["identifier"] = json!([{"system":"urn:trialbridge:subject","value":"S-1"}]);
        });
        let report = run(&server, Release::R4, ABLE, &wanted).await;
        assert_eq!(report.participants[0].subject.outcome, Outcome::Updated);
        assert_eq!(subject_count(&server), 1);
    }
}

#[tokio::test]
async fn a_deleted_subject_comes_back_once_and_is_noticed() {
    let server = Fake::default();
    let memory = Memory::default();
    let wanted = wanted(vec![participant("S-1")]);
    reconcile(&server, Release::R4, ABLE, &wanted, &memory, false).await;
    server.delete("ResearchSubject", "2");
    let report = reconcile(&server, Release::R4, ABLE, &wanted, &memory, false).await;
    assert_eq!(report.participants[0].subject.outcome, Outcome::Created);
    assert_eq!(report.participants[0].subject.notices, ["recreated"]);
    assert_eq!(subject_count(&server), 1);
}

#[tokio::test]
async fn one_bad_participant_does_not_stop_the_next() {
    let server = with_study(Release::R4, Fake::default()).await;
    server.creates(&[OnCreate::LoseThen(500)]);
    let report =
        run(&server, Release::R4, PLAIN, &wanted(vec![participant("S-1"), participant("S-2")])).await;
    assert!(!report.participants[0].subject.outcome.is_settled());
    assert_eq!(report.participants[1].subject.outcome, Outcome::Created);
}

#[tokio::test]
async fn a_race_is_seen_where_only_lists_can_be_searched() {
    let server = with_study(Release::R4, Fake::default()).await;
    let server = Fake { unsearchable: ["ResearchSubject?identifier"].into(), ..server };
    server.creates(&[OnCreate::Race]);
    let report = run(&server, Release::R4, PLAIN, &wanted(vec![participant("S-1")])).await;
    assert_eq!(report.participants[0].subject.outcome, human("duplicate-research-subject", &["2", "3"]));
}

#[tokio::test]
async fn a_race_is_seen_although_the_search_shows_only_the_other() {
    let server = with_study(Release::R4, Fake::default()).await;
    server.creates(&[OnCreate::RaceUnseen]);
    let report = run(&server, Release::R4, PLAIN, &wanted(vec![participant("S-1")])).await;
    assert_eq!(report.participants[0].subject.outcome, human("duplicate-research-subject", &["2", "3"]));
}

#[tokio::test]
async fn a_run_can_be_spawned() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let (server, memory, wanted) = (Fake::default(), Memory::default(), wanted(Vec::new()));
    let report = sendable(reconcile(&server, Release::R4, ABLE, &wanted, &memory, false)).await;
    assert_eq!(report.study.outcome, Outcome::Created);
}
