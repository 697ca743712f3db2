//! Search, paging, and the self link.

use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::json;

use super::{Hospital, send};
use crate::sandbox::{Release, Sandbox};

#[tokio::test]
async fn paging_gives_each_resource_once_whatever_changes_meanwhile() {
    let hospital = Hospital::with_patients(47).await;
    let mut page = hospital.get("/Patient?_count=10").await;
    assert_eq!(page.body["total"], 47);
    let mut seen = page.ids();
    let mut pages = 1;
    while let Some(next) = page.link("next") {
        // Before, within and behind what was given out already.
        hospital.put(json!({"resourceType": "Patient", "id": format!("a-{pages}")}));
        hospital.put(json!({"resourceType": "Patient", "id": "x-01", "gender": "other"}));
        assert!(next.starts_with(&hospital.base), "{next}");
        page = send(hospital.client.get(next)).await;
        assert_eq!(page.used()[0], "_count", "later pages tell what was used, too");
        seen.extend(page.ids());
        pages += 1;
    }
    let expected: Vec<String> = (0..47).map(|at| format!("x-{at:02}")).collect();
    assert_eq!((pages, seen), (5, expected));

    assert_eq!(hospital.get("/Patient").await.ids().len(), 20, "the default page");
    let large = hospital.get("/Patient?_count=5000").await;
    assert!(large.link("self").expect("self").ends_with("_count=200"), "the cap is told");
    let only_total = hospital.get("/Patient?_count=0").await;
    assert_eq!((only_total.ids().len(), &only_total.body["total"]), (0, &json!(51)));
    hospital.get("/Patient?_cursor=1").await.refused(400, "invalid");
    hospital.get(&format!("/Patient?_cursor={}", "0".repeat(32))).await.refused(410, "expired");
    hospital.close().await;
}

#[tokio::test]
async fn the_self_link_tells_what_was_used_and_the_rest_is_reported() {
    let hospital = Hospital::with_patients(3).await;
    let answer = hospital.get("/Observation?patient=x-01&colour=red&code=http://loinc.org%7C1975-2").await;
    assert_eq!(answer.used(), ["patient", "code"]);
    assert_eq!(answer.ids(), ["o-01"]);
    let outcome =
        answer.body["entry"].as_array().and_then(|entries| entries.last()).expect("an outcome entry");
    assert_eq!(outcome["search"]["mode"], "outcome");
    assert_eq!(outcome["resource"]["issue"][0]["severity"], "warning");
    assert!(
        outcome["resource"]["issue"][0]["diagnostics"].as_str().is_some_and(|text| text.contains("colour"))
    );
    let strict = hospital.request(Method::GET, "/Observation?colour=red").header("prefer", "handling=strict");
    send(strict).await.refused(400, "not-supported");
    hospital.get("/Observation?date=yesterday").await.refused(400, "invalid");
    hospital.get("/Observation?code:sounds-like=x").await.refused(400, "invalid");

    let form = hospital
        .request(Method::POST, "/Observation/_search?_count=2")
        .form(&[("patient", "Patient/x-01,Patient/x-02")]);
    let form = send(form).await;
    assert_eq!(
        (form.ids(), form.used()),
        (vec!["o-01".into(), "o-02".into()], vec!["_count".into(), "patient".into()])
    );
    hospital.close().await;
}

#[tokio::test]
async fn has_finds_patients_by_what_points_to_them() {
    let hospital = Hospital::with_patients(4).await;
    for (id, patient, code) in [("c1", "x-01", "K74.60"), ("c2", "x-03", "I10"), ("c3", "x-03", "K74.60")] {
        hospital.put(json!({"resourceType": "Condition", "id": id,
            "subject": {"reference": format!("Patient/{patient}")},
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code}]}}));
    }
    let cases = [
        ("_has:Condition:patient:code=K74.60", vec!["x-01", "x-03"]),
        ("_has:Condition:patient:code=http://hl7.org/fhir/sid/icd-10-cm|I10", vec!["x-03"]),
        ("_has:Condition:patient:code=K74.60,I10&gender=female&_id=x-01,x-02", vec!["x-01"]),
        ("_has:Condition:patient:code=Z99", vec![]),
    ];
    for (query, expected) in cases {
        let answer = hospital.get(&format!("/Patient?{}", query.replace('|', "%7C"))).await;
        assert_eq!(answer.ids(), expected, "{query}");
    }
    let unknown = hospital.get("/Patient?_has:Condition:patient:colour=red").await;
    assert_eq!((unknown.ids().len(), unknown.used().len()), (4, 0), "ignored, and said so");
    hospital.close().await;
}

#[tokio::test]
async fn incremental_search_finds_what_was_written_since() {
    let clock = std::sync::Arc::new(std::sync::Mutex::new(
        "2026-11-22T08:00:00Z".parse::<DateTime<Utc>>().expect("an instant"),
    ));
    let hand = std::sync::Arc::clone(&clock);
    let sandbox = Sandbox::with_clock(Release::R4, move || *hand.lock().expect("not poisoned"));
    let hospital = Hospital::open(sandbox).await;
    hospital.put(json!({"resourceType": "Patient", "id": "early"}));
    *clock.lock().expect("not poisoned") += chrono::TimeDelta::seconds(1);
    hospital.put(json!({"resourceType": "Patient", "id": "a-late"}));
    let since = hospital.get("/Patient?_lastUpdated=gt2026-11-22T08:00:00.500Z").await;
    assert_eq!(since.ids(), ["a-late"]);
    let sorted = hospital.get("/Patient?_sort=_lastUpdated").await;
    assert_eq!((sorted.ids(), sorted.used()), (vec!["early".into(), "a-late".into()], vec!["_sort".into()]));
    assert_eq!(hospital.get("/Patient?_sort=-_lastUpdated").await.ids(), ["a-late", "early"]);
    assert_eq!(hospital.get("/Patient?_sort=colour").await.used().len(), 0);
    hospital.close().await;
}

#[tokio::test]
async fn the_synthetic_hospital_answers_as_a_real_one_is_asked() {
    let as_of = chrono::NaiveDate::from_ymd_opt(2026, 11, 22).expect("a date");
    let hospital = Hospital::open(Sandbox::with_synthetic_patients(as_of)).await;
    assert_eq!(hospital.get("/Patient?_count=0").await.body["total"], 60);
    let cirrhosis = hospital.get("/Patient?_has:Condition:patient:code=K74.608,K74.60&_count=200").await;
    assert!(cirrhosis.ids().len() > 40, "{}", cirrhosis.ids().len());
    let labs = hospital.get("/Observation?patient=p-001&code=TBIL&date=ge2026-11-08").await;
    assert_eq!(labs.ids().len(), 1, "the older value is outside");
    assert_eq!(hospital.get("/Group/liver-ward").await.body["member"].as_array().map(Vec::len), Some(20));
    assert_eq!(hospital.get("/List/esld-screening").await.status, 200);
    let amended = hospital.get("/Observation?patient=p-042&status=amended").await;
    assert_eq!(amended.body["entry"][0]["resource"]["meta"]["versionId"], "2");
    hospital.close().await;
}
