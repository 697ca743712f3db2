//! What people see.

use super::*;

/// The part of the worklist that is about one subject.
fn row(answer: &Answer, subject: &str) -> String {
    let start = answer.text.find(&format!(">{subject}<")).unwrap_or_else(|| panic!("{subject} is listed"));
    let end = answer.text[start..].find("</tr>").expect("a row ends") + start;
    let part = Answer { status: 200, headers: Default::default(), text: answer.text[start..end].to_owned() };
    part.words()
}

#[tokio::test]
async fn the_worklist_says_who_is_eligible_and_why_not() {
    let world = World::cohort();
    let at = world.pages().await;
    let page = world.get(at, "/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let words = page.words();
    for counted in [
        "All 6",
        "● eligible 2",
        "? undetermined 2",
        "✕ ineligible 2",
        "Eligible, not randomized 1",
        "Randomized 1",
    ] {
        assert!(words.contains(counted), "{counted} in {words}");
    }
    #[rustfmt::skip]
    let table = [
        (ELIGIBLE[0],       &["● eligible", "randomized", "nothing keeps this subject out", "28", "C13"][..]),
        (ELIGIBLE[1],       &["● eligible"]),
        (BY_AGE,            &["✕ ineligible", "I1 Age 18 to 80 years: age 82 on 2026-11-22", "40", "C11 to C15"]),
        (BY_GLUCOCORTICOID, &["✕ ineligible", "E6 Interferon or glucocorticoid within 1 year: glucocorticoid", "2026-08-10 to 2026-08-23"]),
        (NO_CONSENT,        &["? undetermined", "✎ I3 Signed informed consent:", "signed consent"]),
        (MUCH_OPEN,         &["? undetermined", "HIV antigen or antibody, screening", "attestation of E1, E2, E3, E4, E6, E7, E8, E10, E11", "✎ E4 E11 only a person can say"]),
    ];
    for (subject, expected) in table {
        let row = row(&page, subject);
        for part in expected {
            assert!(row.contains(part), "{part} in {row}");
        }
        assert!(row.ends_with(" 2026-11-22 08:00 UTC"), "{row}");
    }
    assert!(!row(&page, ELIGIBLE[1]).contains("randomized"));
    let place = |subject: &str| page.text.find(subject).expect("listed");
    assert!(place(ELIGIBLE[1]) < place(NO_CONSENT), "who can be acted upon comes first");
    assert!(place(NO_CONSENT) < place(MUCH_OPEN), "and then those of whom least is open");
    assert!(place(MUCH_OPEN) < place(BY_AGE));
}

#[tokio::test]
async fn filters_are_links_and_agree_with_their_counts() {
    let world = World::cohort();
    let at = world.pages().await;
    #[rustfmt::skip]
    let table = [
        ("/?decision=eligible",               &[ELIGIBLE[0], ELIGIBLE[1]][..]),
        ("/?decision=ineligible",             &[BY_AGE, BY_GLUCOCORTICOID]),
        ("/?decision=undetermined",           &[NO_CONSENT, MUCH_OPEN]),
        ("/?randomized=yes",                  &[ELIGIBLE[0]]),
        ("/?decision=eligible&randomized=no", &[ELIGIBLE[1]]),
    ];
    let front = world.get(at, "/").await;
    let everybody = [ELIGIBLE[0], ELIGIBLE[1], BY_AGE, BY_GLUCOCORTICOID, MUCH_OPEN, NO_CONSENT];
    for (path, expected) in table {
        assert!(links(&front.text).contains(&path.to_owned()), "{path} is linked");
        let page = world.get(at, path).await;
        for subject in everybody {
            assert_eq!(page.text.contains(subject), expected.contains(&subject), "{subject} in {path}");
        }
        let json = world.get(at, &path.replacen("/?", "/api/v1/subjects?", 1)).await.json();
        assert_eq!(json.as_array().map(Vec::len), Some(expected.len()), "{path}");
    }
    for refused in
        ["/?decision=everybody", "/?page=0", "/?randomized=maybe", "/?decision=eligible&decision=ineligible"]
    {
        let page = world.get(at, refused).await;
        assert_eq!(page.status, 400, "{refused}");
        assert!(page.words().contains("The list cannot be narrowed that way."), "{refused}");
    }
}

#[tokio::test]
async fn a_long_list_has_pages() {
    let world = World::empty();
    for number in 1..=401 {
        let new = NewDecision {
            decision: "ineligible".into(),
            ..world.decided(&format!("Patient/n{number:03}"), "{}")
        };
        world.store.put_decision(new).expect("stored");
    }
    let at = world.pages().await;
    #[rustfmt::skip]
    let table = [
        ("/?decision=ineligible",        "1 to 200 of 401",   None,                                Some("/?decision=ineligible&page=2")),
        ("/?decision=ineligible&page=2", "201 to 400 of 401", Some("/?decision=ineligible"),        Some("/?decision=ineligible&page=3")),
        ("/?decision=ineligible&page=3", "401 to 401 of 401", Some("/?decision=ineligible&page=2"), None),
    ];
    for (path, shown, previous, next) in table {
        let page = world.get(at, path).await;
        assert!(page.words().contains(shown), "{shown} on {path}");
        let after = |rel: &str| {
            let start = page.text.find(&format!("rel=\"{rel}\""))?;
            links(&page.text[start..]).into_iter().next()
        };
        assert_eq!((after("prev").as_deref(), after("next").as_deref()), (previous, next), "{path}");
    }
    assert!(world.get(at, "/?page=3").await.text.contains("Patient/n401"));
    for beyond in ["/?page=4", "/?page=18446744073709551615"] {
        assert_eq!(world.get(at, beyond).await.status, 404, "{beyond}");
    }
}

#[tokio::test]
async fn a_subject_shows_what_decides_and_what_it_rests_on() {
    let world = World::cohort();
    let at = world.pages().await;
    let page = world.get(at, &address(BY_GLUCOCORTICOID)).await;
    assert_eq!(page.status, 200);
    let words = page.words();
    assert!(words.contains("What keeps this subject out ✕ excludes E6 Interferon or glucocorticoid within 1 year 1 年内使用干扰素或糖皮质激素 glucocorticoid, by ingredient (8640), 2026-08-10 to 2026-08-23 MedicationRequest/added-de1d-prednisone"), "{words}");
    let criteria: Vec<&str> =
        ["I1", "I2", "I3", "E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E10", "E11"].to_vec();
    let places: Vec<_> = criteria.iter().map(|id| page.text.find(&format!("id=\"{id}\""))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert!(page.text.find("What keeps").expect("there") < page.text.find("id=\"I1\"").expect("there"));

    let page = world.get(at, &address(BY_AGE)).await;
    let words = page.words();
    for part in [
        "✕ ineligible",
        "Albumin 白蛋白 18 g/L 1.8 g/dL 2026-11-15 06:05 UTC 7 d before Observation/lab-4d17646c0d0d",
        "Child-Pugh C11 to C15 between limits Ascites grade, Hepatic encephalopathy, West Haven grade",
        "MELD (UNOS) 40 known",
        "ALBI 0.0562 grade 3 known",
        "FIB-4 ? not computable",
        "International normalized ratio 国际标准化比值 3.6 3.6 {INR}",
        "unmapped",
        "add the code under [[code]] in the site file",
        "in force ✕ ineligible I1",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }

    let page = world.get(at, &address(NO_CONSENT)).await;
    let words = page.words();
    assert!(
        words.contains("What is still open: 1 of 14 criteria ✎ to attest I3 Signed informed consent"),
        "{words}"
    );
    assert!(words.contains("What would settle it signed consent"), "{words}");

    let words = world.get(at, &address(ELIGIBLE[0])).await.words();
    assert!(words.contains(&format!("{} ● eligible randomized", ELIGIBLE[0])), "{words}");
    assert!(words.contains("Nothing keeps this subject out"), "{words}");
}

#[tokio::test]
async fn a_changed_decision_leaves_its_history() {
    let world = World::cohort();
    let changed = NewDecision {
        decision: "ineligible".into(),
        deciding: vec!["E9".into()],
        decided_at: "2026-11-23T09:15:00Z".into(),
        as_of: "2026-11-23".into(),
        definition: "sha256:another".into(),
        ..world.decided(ELIGIBLE[1], "not a screening")
    };
    assert!(world.store.put_decision(changed).expect("stored"));
    let at = world.pages().await;
    let words = world.get(at, &address(ELIGIBLE[1])).await.words();
    let newest_first = "2026-11-23 09:15 UTC in force ✕ ineligible E9 2026-11-23 2026-11-22 08:00 UTC ● eligible – 2026-11-22";
    assert!(words.contains(newest_first), "{words}");
    assert!(words.contains("Decided under another trial definition"), "{words}");
    assert!(words.contains("The stored details cannot be read by this version."), "{words}");
    let list = world.get(at, "/").await;
    assert_eq!(list.status, 200, "one unreadable row does not take the list away");
    assert!(row(&list, ELIGIBLE[1]).contains("✕ ineligible"));
    assert!(row(&list, ELIGIBLE[1]).contains("cannot be read"));
}

#[tokio::test]
async fn newer_data_than_the_decision_are_told() {
    let world = World::cohort();
    world.store.mark_dirty(vec![NO_CONSENT.into()], NOW).expect("marked");
    world.store.accept(incoming("waits")).expect("accepted");
    let at = world.pages().await;
    let list = world.get(at, "/").await;
    assert!(row(&list, NO_CONSENT).contains("⟳ newer data"));
    assert!(!row(&list, MUCH_OPEN).contains("newer data"));
    let words = list.words();
    assert!(words.contains("1 received message waits to be looked into"), "{words}");
    assert!(words.contains("1 subject has newer data than the decision shown"), "{words}");
    assert!(world.get(at, &address(NO_CONSENT)).await.words().contains("Newer data have arrived."));
    assert!(!world.get(at, &address(MUCH_OPEN)).await.words().contains("Newer data have arrived."));
}

#[tokio::test]
async fn the_header_says_where_one_is_and_how_far_the_data_go() {
    let world = World::cohort();
    let at = world.pages().await;
    let words = world.get(at, "/").await.words();
    assert!(
        words.contains("DEMO · synthetic patients only ? not known how far the data are complete"),
        "{words}"
    );
    let time = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").to_utc();
    world.state.status.finished(time("2026-11-22T08:03:00Z"), Status::OK, Some(time("2026-11-22T08:02:00Z")));
    for path in ["/".to_owned(), address(BY_AGE)] {
        let words = world.get(at, &path).await.words();
        assert!(words.contains("✓ data complete to 2026-11-22 08:02 UTC"), "{words}");
        assert!(!words.contains("The last pull did not finish"), "{words}");
    }
    world.state.status.finished(time("2026-11-22T09:03:00Z"), "remote-unreachable", None);
    let words = world.get(at, "/").await.words();
    assert!(words.contains("✓ data complete to 2026-11-22 08:02 UTC"), "{words}");
    assert!(words.contains("It ended with remote-unreachable on 2026-11-22 09:03 UTC"), "{words}");
}

#[tokio::test]
async fn an_empty_worklist_says_what_to_do() {
    let world = World::empty();
    let at = world.pages().await;
    let page = world.get(at, "/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.words().contains("Nobody has been screened yet. No pull has ended since the program started.")
    );
    assert_eq!(world.get(at, "/api/v1/subjects").await.text, "[]");
    let new = NewDecision { decision: "ineligible".into(), ..world.decided("Patient/p1", "{}") };
    world.store.put_decision(new).expect("stored");
    let words = world.get(at, "/?decision=eligible").await.words();
    assert!(words.contains("Nobody is eligible. 1 subject has been screened: show all"), "{words}");
}

#[tokio::test]
async fn programs_get_the_same_as_json() {
    let world = World::cohort();
    let at = world.pages().await;
    let list = world.get(at, "/api/v1/subjects").await;
    assert_eq!((list.status, list.header("content-type")), (200, "application/json"));
    let all = list.json();
    let subjects: Vec<_> =
        all.as_array().expect("a list").iter().map(|s| s["subject"].as_str().expect("a key")).collect();
    assert_eq!(subjects.len(), 6);
    assert!(subjects.is_sorted());
    assert_eq!(
        all[5],
        serde_json::json!({
            "subject": NO_CONSENT, "decision": "undetermined", "deciding": ["I3"], "needs": ["consent"],
            "asOf": DAY, "randomized": false
        })
    );
    let randomized = |s: &&serde_json::Value| s["randomized"] == true;
    let who: Vec<_> =
        all.as_array().expect("a list").iter().filter(randomized).map(|s| s["subject"].clone()).collect();
    assert_eq!(who, [ELIGIBLE[0]]);

    let stored = world.store.latest_decision(BY_AGE).expect("read").expect("there").json;
    let explained = world.get(at, &format!("/api/v1{}/explain", address(BY_AGE))).await;
    assert_eq!((explained.status, explained.header("content-type")), (200, "application/json"));
    assert_eq!(explained.text, stored, "byte for byte");

    let nobody = world.get(at, "/api/v1/subjects/nobody/explain").await;
    assert_eq!((nobody.status, nobody.header("content-type")), (404, "application/problem+json"));
    let problem = nobody.json();
    assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(404), Some("no-such-subject")));
    assert_eq!(problem["requestId"].as_str(), Some(nobody.header("x-request-id")));
}

#[tokio::test]
async fn a_deviation_and_what_changed_are_said_in_words() {
    let world = World::cohort();
    let allocation = world.store.allocations(&world.state.trial.study.id).expect("read").remove(0);
    let deviation = crate::store::NewDeviation {
        subject: ELIGIBLE[0].into(),
        allocation_id: allocation.id,
        opened_at: NOW.into(),
        kind: "score-changed".into(),
        reference: "meld3".into(),
        detail: "{}".into(),
        audit: crate::store::suite::audit("deviation.open"),
    };
    world.store.open_deviations(vec![deviation]).expect("opened");
    let latest = world.store.latest_decision(ELIGIBLE[0]).expect("read").expect("a decision");
    let json = latest.json.replacen("\"decision\":\"eligible\"", "\"decision\":\"undetermined\"", 1);
    let json = json.replacen("\"asOf\"", "\"blocked\":[\"shared-identifier\"],\"asOf\"", 1);
    let later = NewDecision {
        decision: "undetermined".into(),
        decided_at: "2026-11-22T09:00:00Z".into(),
        ..world.decided(ELIGIBLE[0], &json)
    };
    assert!(world.store.put_decision(later).expect("stored"));
    let at = world.pages().await;
    let page = world.get(at, "/").await;
    assert!(row(&page, ELIGIBLE[0]).contains("⚑ deviation open"), "{}", row(&page, ELIGIBLE[0]));
    assert!(!row(&page, ELIGIBLE[1]).contains("deviation"));
    assert!(page.words().contains("1 deviation is open"));
    let words = world.get(at, &address(ELIGIBLE[0])).await.words();
    for part in [
        "a score that the decision rests on is another one now: meld3",
        "trialbridge deviation acknowledge 1",
        "another Patient carries the same identifier",
        "What changed",
        "● eligible → ? undetermined",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
    assert!(!world.get(at, &address(ELIGIBLE[1])).await.words().contains("What changed"));
}

#[tokio::test]
async fn whose_records_count_elsewhere_is_told_where() {
    let world = World::empty();
    let json = r#"{"decision":"undetermined","attachedTo":"Patient/p1","blocked":["attached"]}"#;
    let attached = NewDecision { decision: "attached".into(), ..world.decided("Patient/id.1", json) };
    assert!(world.store.put_decision(attached).expect("stored"));
    let at = world.pages().await;
    let page = world.get(at, "/subjects/id.1").await;
    assert!(page.words().contains("This subject belongs to Patient/p1 ."), "{}", page.words());
    assert!(links(&page.text).contains(&"/subjects/p1".to_owned()));
    assert!(!page.words().contains("criteria"), "{}", page.words());
}
