//! Which bytes may hold an arm, and that no report does.

use super::fake::OnCreate;
use super::*;
use serde_json::json;

const CANARY: &str = "ARM-CANARY";

fn canary_study() -> StudyWanted {
    let mut study = study();
    study.arms[0].name = CANARY.to_owned();
    study
}

fn sent_for(server: &Fake, resource_type: &str) -> String {
    let sent = server.sent();
    sent.iter().filter(|(_, t, ..)| t == resource_type).map(|(.., body)| body.as_str()).collect()
}

#[tokio::test]
async fn only_what_the_policy_lets_out_is_sent() {
    for release in RELEASES {
        for (policy, name, code) in [
            (ArmPolicy::Disclose, true, false),
            (ArmPolicy::Code, false, true),
            (ArmPolicy::Withhold, false, false),
        ] {
            let server = Fake::default();
            let mut p = participant("S-1");
            p.arm = Some(AssignedArm::by_policy(policy, CANARY, "K7"));
            p.scores = vec![score("meld3", known("21"))];
            p.evidence = vec!["Observation/31/_history/2".to_owned()];
            let mut wanted = wanted(vec![p]);
            wanted.study = canary_study();
            wanted.study.arms[0].link_id = CANARY.to_owned();
            let report = run(&server, release, ABLE, &wanted).await;
            assert!(report.is_settled(), "{report:?}");
            let subject = sent_for(&server, "ResearchSubject");
            assert_eq!(subject.contains(CANARY), name, "{release:?} {policy:?}");
            assert_eq!(subject.contains("K7"), code, "{release:?} {policy:?}");
            assert_eq!(subject.contains("assigned"), name || code, "{release:?} {policy:?}");
            for other in ["Observation", "Provenance"] {
                let sent = sent_for(&server, other);
                assert!(!sent.is_empty() && !sent.contains(CANARY) && !sent.contains("K7"), "{other}");
            }
            assert!(!format!("{report:?} {wanted:?}", wanted = wanted.participants).contains(CANARY));
        }
    }
}

#[tokio::test]
async fn no_outcome_names_an_arm_or_a_patient() {
    let patient = "Patient/PATIENT-CANARY";
    let mut p = participant("S-1");
    p.patient = patient.to_owned();
    p.arm = Some(AssignedArm::Name(CANARY.to_owned()));
    let mut wanted = wanted(vec![p]);
    wanted.study = canary_study();
    let clean = |report: &ReconcileReport| {
        let text = format!("{report:?} {:?}", wanted.participants);
        assert!(!text.contains(CANARY) && !text.contains("PATIENT-CANARY"), "{text}");
    };
    for fault in [OnCreate::LoseThen(500), OnCreate::LoseThen(400), OnCreate::Race, OnCreate::Pretend] {
        let server = Fake::default();
        server.creates(&[OnCreate::Normal, fault]);
        clean(&run(&server, Release::R4, PLAIN, &wanted).await);
    }
    // An arm that our own check refuses: empty, so not a FHIR string.
    let mut empty = wanted.clone();
    empty.participants[0].consent = Some(String::new());
    let server = Fake::default();
    let report = run(&server, Release::R4, ABLE, &empty).await;
    clean(&report);
    #[cfg(feature = "typed-r4")]
    {
        assert_eq!(report.participants[0].subject.outcome, failed("invalid", false));
        assert!(server.all("ResearchSubject").is_empty(), "nothing invalid is sent");
    }
}

#[tokio::test]
async fn an_arm_where_none_may_be_shown_is_for_people() {
    for arm in [None, Some(AssignedArm::Withheld)] {
        let server = Fake::default();
        run(&server, Release::R4, ABLE, &wanted(vec![participant("S-1")])).await;
        let mut p = participant("S-1");
        p.arm = arm;
        let report = run(&server, Release::R4, ABLE, &wanted(vec![p])).await;
        assert_eq!(report.participants[0].subject.outcome, human("arm-present", &["2"]));
        assert_eq!(server.all("ResearchSubject")[0]["assignedArm"], json!("Double infusion"));
    }
}
