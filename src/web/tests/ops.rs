//! What monitors see.

use super::*;
use crate::store::NewQuarantine;

/// The samples of a scrape, without comments.
fn samples(answer: &Answer) -> Vec<&str> {
    answer.text.lines().filter(|l| l.starts_with("trialbridge_")).collect()
}

#[tokio::test]
async fn alive_and_ready() {
    let world = World::cohort();
    let at = world.ops().await;
    let alive = world.get(at, "/livez").await;
    assert_eq!((alive.status, alive.text.as_str()), (200, "ok"));
    for path in ["/readyz", "/health"] {
        let ready = world.get(at, path).await;
        assert_eq!((ready.status, ready.header("content-type")), (200, "application/json"));
        assert_eq!(ready.json(), serde_json::json!({"status": "ready", "reasons": []}));
    }
    let verbose = world.get(at, "/readyz?verbose").await.json();
    let checks: Vec<_> =
        verbose["checks"].as_array().expect("checks").iter().map(|c| c["check"].as_str()).collect();
    assert_eq!(checks, ["store-read", "store-write", "migrations", "pull", "audit-anchor"].map(Some));
}

#[tokio::test]
async fn a_silent_hospital_does_not_make_us_unready() {
    let world = World::empty();
    let at = world.ops().await;
    let time = DateTime::from_timestamp(1_795_334_400, 0).expect("a time");
    world.state.status.finished(time, "remote-unreachable", None);
    let ready = world.get(at, "/readyz?verbose").await;
    assert_eq!(ready.status, 200);
    let json = ready.json();
    assert_eq!(json["reasons"], serde_json::json!([]));
    let pull = &json["checks"][3];
    assert_eq!(
        (&pull["check"], &pull["ok"], &pull["code"]),
        (&"pull".into(), &false.into(), &"remote-unreachable".into())
    );
}

#[tokio::test]
async fn a_broken_store_is_not_ready_but_alive() {
    let world = World::cohort();
    let at = world.ops().await;
    assert!(samples(&world.get(at, "/metrics").await).contains(&"trialbridge_store_ok 1"));
    world.break_store();
    let ready = world.get(at, "/readyz").await;
    assert_eq!(ready.status, 503);
    let json = ready.json();
    assert_eq!(
        (json["status"].as_str(), json["reasons"][0]["check"].as_str()),
        (Some("not-ready"), Some("store-read"))
    );
    assert!(json["reasons"][0]["code"].as_str().is_some_and(|code| code != "ok"));
    assert_eq!(world.get(at, "/livez").await.status, 200);
    let metrics = world.get(at, "/metrics").await;
    assert_eq!(metrics.status, 200, "that the store is down is what the scrape has to say");
    let samples = samples(&metrics);
    assert!(samples.contains(&"trialbridge_store_ok 0"), "{samples:?}");
    assert!(!samples.iter().any(|s| s.starts_with("trialbridge_subjects")), "no number that could be wrong");
}

#[tokio::test]
async fn metrics_agree_with_the_worklist() {
    let world = World::cohort();
    let at = world.ops().await;
    let seq = world.store.accept(incoming("one")).expect("accepted").seq;
    world.store.accept(incoming("two")).expect("accepted");
    let entry = |reason: &str, path: &str| NewQuarantine {
        inbox_seq: seq,
        reason: reason.into(),
        path: path.into(),
        bytes: None,
        at: NOW.into(),
    };
    let put_aside = [entry("unit-unknown", "a"), entry("unit-unknown", "b"), entry("Patient/p1 <b>", "c")];
    let ids = world.store.quarantine(put_aside.to_vec()).expect("put aside");
    let time = DateTime::from_timestamp(1_795_334_400, 0).expect("a time");
    world.state.status.finished(time, Status::OK, Some(time));
    let scrape = world.get(at, "/metrics").await;
    assert!(scrape.header("content-type").starts_with("text/plain; version=0.0.4"));
    let found = samples(&scrape);
    let version = format!("trialbridge_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    for sample in [
        version.as_str(),
        "trialbridge_store_ok 1",
        "trialbridge_subjects{state=\"eligible\"} 2",
        "trialbridge_subjects{state=\"undetermined\"} 2",
        "trialbridge_subjects{state=\"ineligible\"} 2",
        "trialbridge_criteria_unknown{criterion=\"E4\"} 0",
        "trialbridge_quarantine_messages{reason=\"unit-unknown\"} 2",
        "trialbridge_deviations_open 0",
        "trialbridge_identity_questions 0",
        "trialbridge_quarantine_messages{reason=\"other\"} 1",
        "trialbridge_inbox_messages{state=\"pending\"} 2",
        "trialbridge_inbox_messages{state=\"processed\"} 0",
        "trialbridge_inbox_messages{state=\"quarantined\"} 0",
        "trialbridge_pull_last_success_timestamp_seconds 1795334400",
    ] {
        assert!(found.contains(&sample), "{sample} in {found:#?}");
    }
    let all = world.store.latest_decisions().expect("read");
    let open = |id: &str| {
        let says = |d: &&crate::store::Decision| {
            let json: serde_json::Value = serde_json::from_str(&d.json).expect("JSON");
            json["criteria"]
                .as_array()
                .expect("criteria")
                .iter()
                .any(|c| c["id"] == id && c["verdict"] == "unknown")
        };
        all.iter().filter(says).count()
    };
    assert!(open("E5") > 0);
    for criterion in &world.state.trial.criteria {
        let sample =
            format!("trialbridge_criteria_unknown{{criterion=\"{}\"}} {}", criterion.id, open(&criterion.id));
        assert!(found.contains(&sample.as_str()), "{sample} in {found:#?}");
    }
    assert!(!scrape.text.contains("Patient/"), "{}", scrape.text);

    for id in ids {
        world
            .store
            .resolve_quarantine(id, crate::store::suite::audit("quarantine.resolve"))
            .expect("resolved");
    }
    let after = world.get(at, "/metrics").await;
    assert!(!after.text.contains("reason="), "a reason that is gone leaves no number behind: {}", after.text);
}

#[tokio::test]
async fn what_is_counted_elsewhere_is_scraped_too() {
    let world = World::empty();
    let at = world.ops().await;
    assert!(install_metrics().is_some());
    metrics::counter!("trialbridge_test_things_total").increment(3);
    let scrape = world.get(at, "/metrics").await;
    assert!(samples(&scrape).contains(&"trialbridge_test_things_total 3"), "{}", scrape.text);
}
