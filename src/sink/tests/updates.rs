//! Updates keep what others wrote, lose no race, and are read back.

use super::fake::OnUpdate;
use super::*;
use serde_json::json;

async fn screened(release: Release, server: Fake) -> Fake {
    let mut p = participant("S-1");
    p.state = SubjectState::Screening;
    p.since = day("2026-11-01");
    p.arm = None;
    p.consent = None;
    let report = run(&server, release, ABLE, &wanted(vec![p])).await;
    assert!(report.is_settled(), "{report:?}");
    server
}

#[tokio::test]
async fn the_same_resource_moves_on_and_others_elements_stay() {
    for release in RELEASES {
        let server = screened(release, Fake::default()).await;
        server.change("ResearchSubject", "2", |r| {
            r["extension"] = json!([{"url":"urn:site","valueString":"ward 3"}]);
            r["identifier"]
                .as_array_mut()
                .expect("identifiers")
                .push(json!({"system":"urn:site","value":"7"}));
        });
        let report = run(&server, release, ABLE, &wanted(vec![participant("S-1")])).await;
        assert_eq!(report.participants[0].subject.outcome, Outcome::Updated, "{report:?}");
        let [subject] = server.all("ResearchSubject").try_into().expect("one");
        assert_eq!(subject["extension"][0]["valueString"], "ward 3");
        assert_eq!(subject["identifier"].as_array().expect("identifiers").len(), 2);
        assert_eq!(subject["period"]["start"], "2026-11-01", "the start is written once");
        if release == Release::R5 {
            assert_eq!(subject["status"], "active");
            assert_eq!(subject["progress"][0]["endDate"], "2026-11-22");
            assert_eq!(subject["progress"][1]["subjectState"]["coding"][0]["code"], "on-study");
            assert_eq!(subject["assignedComparisonGroup"], "double-infusion");
            assert_eq!(subject["consent"][0]["reference"], "Consent/5");
        } else {
            assert_eq!(subject["status"], "on-study");
            assert_eq!(subject["assignedArm"], "Double infusion");
            assert_eq!(subject["consent"]["reference"], "Consent/5");
        }
        let (method, _, if_match, _) = server.sent().pop().expect("an update");
        assert_eq!((method, if_match.as_deref()), ("PUT", Some("W/\"2\"")));
        assert!(run(&server, release, ABLE, &wanted(vec![participant("S-1")])).await.writes.is_empty());
    }
}

#[tokio::test]
async fn withdrawal_keeps_the_arm_and_ends_the_period() {
    for release in RELEASES {
        let server = Fake::default();
        run(&server, release, ABLE, &wanted(vec![participant("S-1")])).await;
        let mut p = participant("S-1");
        p.state = SubjectState::Withdrawn;
        p.since = day("2026-12-24");
        let report = run(&server, release, ABLE, &wanted(vec![p])).await;
        assert_eq!(report.participants[0].subject.outcome, Outcome::Updated);
        let subject = &server.all("ResearchSubject")[0];
        assert_eq!(
            (&subject["period"]["start"], &subject["period"]["end"]),
            (&json!("2026-11-22"), &json!("2026-12-24"))
        );
    }
}

#[tokio::test]
async fn lost_versions_are_run_again_a_bounded_number_of_times() {
    let wanted = wanted(vec![participant("S-1")]);
    let server = screened(Release::R4, Fake::default()).await;
    server.updates(&[OnUpdate::Conflict, OnUpdate::Conflict]);
    let report = run(&server, Release::R4, ABLE, &wanted).await;
    assert_eq!(report.participants[0].subject.outcome, Outcome::Updated);
    assert_eq!(server.all("ResearchSubject")[0]["language"], "zh", "the winner's change is kept");

    let server = screened(Release::R4, Fake::default()).await;
    server.updates(&[OnUpdate::Conflict; 9]);
    let report = run(&server, Release::R4, ABLE, &wanted).await;
    assert_eq!(report.participants[0].subject.outcome, failed("version-conflict", true));
    assert_eq!(report.writes.len(), 4);
}

#[tokio::test]
async fn an_update_without_answer_is_read_back() {
    for (fault, expected) in [
        (OnUpdate::StoreThen(500), Outcome::Updated),
        (OnUpdate::StoreThen(0), Outcome::Updated),
        (OnUpdate::LoseThen(500), failed("outcome-unknown", true)),
        (OnUpdate::LoseThen(0), failed("outcome-unknown", true)),
        (OnUpdate::LoseThen(403), failed("refused", false)),
    ] {
        let server = screened(Release::R4, Fake::default()).await;
        server.updates(&[fault]);
        let report = run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
        assert_eq!(report.participants[0].subject.outcome, expected, "{fault:?}");
        let report = run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
        assert!(report.is_settled());
    }
}

#[tokio::test]
async fn an_element_that_the_server_does_not_keep_is_told() {
    for (release, element) in [
        (Release::R4, "assignedArm"),
        (Release::R4, "consent"),
        (Release::R5, "assignedComparisonGroup"),
        (Release::R5, "progress"),
    ] {
        let expected = format!("dropped:{element}");
        for before in [Fake::default(), screened(release, Fake::default()).await] {
            let server = Fake { drops: [element].into(), ..before };
            let report = run(&server, release, ABLE, &wanted(vec![participant("S-1")])).await;
            let line = &report.participants[0].subject;
            assert_eq!(line.outcome, failed("field-dropped", false), "{element}");
            assert!(line.notices.contains(&expected), "{:?}", line.notices);
        }
    }
}

#[tokio::test]
async fn what_is_not_ours_to_settle() {
    let identifier = json!([{"system":"urn:trialbridge:subject","value":"S-1"}]);
    let base = json!({"resourceType":"ResearchSubject","identifier":identifier,"status":"on-study",
        "period":{"start":"2026-11-22"},"study":{"reference":"ResearchStudy/1"},
        "individual":{"reference":"Patient/1"},"assignedArm":"Double infusion","consent":{"reference":"Consent/5"}});
    let table = [
        ("individual", json!({"reference":"Patient/2"}), "subject-patient-differs"),
        ("study", json!({"reference":"ResearchStudy/8"}), "subject-study-differs"),
        ("status", json!("withdrawn"), "participation-ended"),
    ];
    for (element, value, code) in table {
        let server = Fake::default();
        run(&server, Release::R4, ABLE, &wanted(Vec::new())).await;
        let mut subject = base.clone();
        subject[element] = value.clone();
        let id = server.put(subject.clone());
        let report = run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
        assert_eq!(report.participants[0].subject.outcome, human(code, &[&id]), "{element}");
        assert!(report.writes.is_empty());
        assert_eq!(server.all("ResearchSubject")[0][element], value, "left as it was");
    }
    // Absolute and versioned references name the same resources.
    let server = Fake::default();
    run(&server, Release::R4, ABLE, &wanted(Vec::new())).await;
    let mut subject = base;
    subject["individual"] = json!({"reference":"http://hospital.example/fhir/Patient/1"});
    subject["study"] = json!({"reference":"ResearchStudy/1/_history/4"});
    subject["status"] = json!("follow-up");
    server.put(subject);
    let report = run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
    assert_eq!(report.participants[0].subject.outcome, Outcome::Unchanged, "{report:?}");
}

#[tokio::test]
async fn an_arm_that_differs_is_set_right_and_noticed() {
    let server = Fake::default();
    let wanted = wanted(vec![participant("S-1")]);
    run(&server, Release::R4, ABLE, &wanted).await;
    server.change("ResearchSubject", "2", |r| r["assignedArm"] = json!("Single infusion"));
    let report = run(&server, Release::R4, ABLE, &wanted).await;
    assert_eq!(report.participants[0].subject.outcome, Outcome::Updated);
    assert_eq!(report.participants[0].subject.notices, ["assigned-arm-corrected"]);
    assert_eq!(server.all("ResearchSubject")[0]["assignedArm"], "Double infusion");
}

#[tokio::test]
async fn a_study_with_other_arms_is_left_alone() {
    let server = Fake::default();
    let study = server.put(json!({"resourceType":"ResearchStudy","status":"completed",
        "identifier":[{"system":"https://clinicaltrials.gov","value":"NCT06242405"}],
        "arm":[{"name":"Double infusion"},{"name":"Placebo"}]}));
    let mut screening = participant("S-2");
    screening.arm = None;
    screening.state = SubjectState::Screening;
    let mut third = participant("S-3");
    third.arm = Some(AssignedArm::Name("Single infusion".to_owned()));
    let report = run(&server, Release::R4, ABLE, &wanted(vec![third, screening])).await;
    assert_eq!(report.study.outcome, human("study-arms-differ", &[&study]));
    assert_eq!(report.participants[0].subject.outcome, human("study-arms-differ", &[]));
    assert_eq!(report.participants[1].subject.outcome, Outcome::Created, "needs no arm");
    assert_eq!(server.all("ResearchStudy")[0]["arm"][1]["name"], "Placebo");

    // Without any arm it gets ours, and keeps its status.
    let server = Fake::default();
    server.put(json!({"resourceType":"ResearchStudy","status":"closed-to-accrual",
        "identifier":[{"system":"https://clinicaltrials.gov","value":"NCT06242405"}]}));
    let report = run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
    assert_eq!(report.study.outcome, Outcome::Updated);
    assert!(report.is_settled());
    let stored = &server.all("ResearchStudy")[0];
    assert_eq!(
        (stored["arm"].as_array().expect("arms").len(), &stored["status"]),
        (2, &json!("closed-to-accrual"))
    );

    // Two studies of one number: nobody can say which.
    let server = Fake::default();
    let study = json!({"resourceType":"ResearchStudy","status":"active",
        "identifier":[{"system":"https://clinicaltrials.gov","value":"NCT06242405"}]});
    server.put(study.clone());
    server.put(study);
    let report = run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
    assert_eq!(report.study.outcome, human("duplicate-research-study", &["1", "2"]));
    assert_eq!(report.participants[0].subject.outcome, failed("study-unsettled", false));
}

#[tokio::test]
async fn a_dry_run_sends_nothing_and_says_what_it_would() {
    let mut p = participant("S-1");
    p.scores = vec![score("meld3", known("21"))];
    p.evidence = vec!["Observation/31/_history/2".to_owned()];
    let wanted = wanted(vec![p]);
    for release in RELEASES {
        let server = Fake::default();
        let memory = Memory::default();
        let report = reconcile(&server, release, ABLE, &wanted, &memory, true).await;
        assert!(report.dry_run && report.writes.is_empty() && server.sent().is_empty());
        assert!(report.lines().all(|l| l.outcome == Outcome::Created), "{report:?}");
        assert_eq!(report.lines().count(), 5, "study, subject, score and two Provenances");
        assert!(memory.0.lock().expect("one thread").is_empty());

        let server = screened(release, server).await;
        let sent = server.sent().len();
        let report = reconcile(&server, release, ABLE, &wanted, &memory, true).await;
        assert_eq!(report.participants[0].subject.outcome, Outcome::Updated);
        assert_eq!(server.sent().len(), sent);
    }
}

#[tokio::test]
async fn taken_back_into_screening_the_end_no_longer_holds() {
    for release in RELEASES {
        let server = screened(release, Fake::default()).await;
        let mut p = participant("S-1");
        p.arm = None;
        for (state, since) in
            [(SubjectState::Withdrawn, "2026-11-05"), (SubjectState::Screening, "2026-11-09")]
        {
            p.state = state;
            p.since = day(since);
            let report = run(&server, release, ABLE, &wanted(vec![p.clone()])).await;
            assert_eq!(report.participants[0].subject.outcome, Outcome::Updated, "{release:?} {state:?}");
        }
        assert_eq!(server.all("ResearchSubject")[0]["period"], json!({"start": "2026-11-01"}));
    }
}

#[tokio::test]
async fn anothers_element_outside_the_model_does_not_hold_ours_back() {
    let server = screened(Release::R4, Fake::default()).await;
    server.change("ResearchSubject", "2", |r| r["vendorField"] = json!({"precise": 1}));
    let report = run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
    assert_eq!(report.participants[0].subject.outcome, Outcome::Updated);
    let (.., body) = server.sent().pop().expect("an update");
    assert!(body.contains(r#""vendorField":{"precise":1}"#), "kept as it came");
}

#[cfg(feature = "typed-r4")]
#[tokio::test]
async fn an_update_that_the_model_refuses_is_not_sent() {
    let server = screened(Release::R4, Fake::default()).await;
    let mut p = participant("S-1");
    p.arm = Some(AssignedArm::Code(" ".to_owned()));
    let sent = server.sent().len();
    let report = run(&server, Release::R4, ABLE, &wanted(vec![p])).await;
    assert_eq!(report.participants[0].subject.outcome, failed("invalid", false));
    assert_eq!(report.participants[0].subject.notices.len(), 1);
    assert!(report.participants[0].subject.notices[0].contains("ResearchSubject.assignedArm"));
    assert_eq!(server.sent().len(), sent);
}
