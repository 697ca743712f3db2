//! What is done over the API: statements, signatures, and draws that are refused. Draws that succeed, and the
//! key to the list, are tested through the program (tests/flows/blinding.rs).

use super::people::{PASSWORD, Person};
use super::*;
use serde_json::{Value, json};

async fn draw(world: &World, at: SocketAddr, who: &Person, key: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("cookie", who.cookie.as_str()),
        ("x-csrf-token", who.csrf.as_str()),
        ("idempotency-key", key),
    ];
    let body = body.to_string();
    world.send(at, Method::POST, "/api/v1/subjects/n1/randomize", &headers, Some(&body)).await
}

async fn hash(world: &World, at: SocketAddr, who: &Person) -> String {
    let shown = world.see(at, who, "/api/v1/subjects/n1/signing?meaning=randomize").await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let shown = shown.json();
    let text = shown["text"].as_str().expect("text");
    use sha2::{Digest, Sha256};
    let sha256 = crate::protocol::document::hex(&Sha256::digest(text.as_bytes()));
    assert_eq!(shown["sha256"], sha256, "the hash is that of the text");
    assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), shown["record"]);
    sha256
}

#[tokio::test]
async fn a_session_alone_signs_nothing() {
    let world = World::staffed();
    let at = world.pages().await;
    let who = world.sign_in(at, "inv-n").await;
    let record = hash(&world, at, &who).await;
    let wish = |more: Value| {
        let mut wish = json!({"meaning": "randomize", "record": record});
        wish.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        wish
    };
    for (body, status, code) in [
        (wish(json!({})), 401, "signature-refused"),
        (wish(json!({"password": "wrong wrong wrong"})), 401, "signature-refused"),
        (wish(json!({"grant": "0".repeat(64)})), 401, "signature-refused"),
        (wish(json!({"password": PASSWORD, "grant": "0"})), 401, "signature-refused"),
        (wish(json!({"password": PASSWORD, "record": "0".repeat(64)})), 409, "record-changed"),
        (wish(json!({"password": PASSWORD, "meaning": "attest"})), 422, "no-such-meaning"),
        (wish(json!({"password": PASSWORD, "arm": "x"})), 400, "body-invalid"),
    ] {
        let answer = draw(&world, at, &who, "k1", &body).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{}", answer.text);
    }
    let missing = world.post(at, Some(&who), "/api/v1/subjects/n1/randomize", &wish(json!({}))).await;
    assert_eq!((missing.status, missing.json()["code"].as_str()), (400, Some("idempotency-key")));
    assert_eq!(world.store.signatures(Some("Patient/n1")).expect("read").len(), 0);
}

#[tokio::test]
async fn an_undecided_subject_is_refused_with_every_open_criterion_named() {
    let world = World::staffed();
    world.randomize("Patient/s1");
    let at = world.pages().await;
    let who = world.sign_in(at, "inv-n").await;
    let record = hash(&world, at, &who).await;
    let wish = json!({"meaning": "randomize", "record": record, "password": PASSWORD});
    let answer = draw(&world, at, &who, "k1", &wish).await;
    let told = answer.json();
    assert_eq!((answer.status, told["code"].as_str()), (422, Some("undetermined")), "{told}");
    let open: Vec<&str> =
        told["criteria"].as_array().expect("criteria").iter().filter_map(|c| c["id"].as_str()).collect();
    let decision = world.store.latest_decision("Patient/n1").expect("read").expect("there");
    assert_eq!(open, decision.deciding);
    assert!(told["criteria"].as_array().expect("criteria").iter().any(|c| c["needs"] != json!([])), "{told}");
    for member in ["code", "message", "hint", "requestId"] {
        assert!(told[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {told}");
    }
    assert!(world.store.allocation_of(&world.state.trial.study.id, "Patient/n1").expect("read").is_none());
}

#[tokio::test]
async fn a_judgement_is_signed_with_what_was_judged_and_changes_the_decision() {
    let world = World::staffed();
    let at = world.pages().await;
    let who = world.sign_in(at, "inv-n").await;
    let attest = "/api/v1/subjects/n1/attestations";
    let before = world.see(at, &who, "/api/v1/subjects/n1/explain").await.json();
    let verdict = |v: &Value, id: &str| {
        let mut criteria = v["criteria"].as_array().expect("criteria").iter();
        criteria.find(|c| c["id"] == id).expect("a criterion")["verdict"].clone()
    };
    assert_ne!(verdict(&before, "E4"), "clear");
    for (body, status, code) in [
        (
            json!({"criterion": "E99", "verdict": "no", "reason": "r", "password": PASSWORD}),
            422,
            "no-such-criterion",
        ),
        (
            json!({"criterion": "E4", "verdict": "maybe", "reason": "r", "password": PASSWORD}),
            422,
            "no-such-verdict",
        ),
        (json!({"criterion": "E4", "verdict": "no", "reason": " ", "password": PASSWORD}), 422, "no-reason"),
        (json!({"criterion": "E4", "verdict": "no", "reason": "r"}), 401, "signature-refused"),
    ] {
        let answer = world.post(at, Some(&who), attest, &body).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{}", answer.text);
    }
    // Looked at first, then signed.
    let about = json!({"meaning": "attest", "criterion": "E4", "verdict": "no", "reason": "examined today"});
    let shown = world.post(at, Some(&who), "/api/v1/subjects/n1/signing", &about).await.json();
    let body = json!({"criterion": "E4", "verdict": "no", "reason": "examined today",
                      "record": shown["sha256"], "password": PASSWORD});
    let done = world.post(at, Some(&who), attest, &body).await;
    assert_eq!(done.status, 201, "{}", done.text);
    let after = world.see(at, &who, "/api/v1/subjects/n1/explain").await.json();
    assert_eq!(verdict(&after, "E4"), "clear");
    let [signature] = world.store.signatures(Some("Patient/n1")).expect("read").try_into().expect("one");
    assert_eq!(signature.record_sha256, shown["sha256"].as_str().expect("a hash"));
    assert_eq!(signature.signed.printed_name, "Dr inv-n");
    let [entry] = world.audited("attest").try_into().expect("one entry");
    let detail: Value = serde_json::from_str(&entry.entry.detail).expect("JSON");
    assert_eq!(
        (detail["record"].as_str(), detail["after"].as_str()),
        (Some(signature.record_sha256.as_str()), Some("no"))
    );
    // The same record cannot be signed again: it is another one now.
    let again = world.post(at, Some(&who), attest, &body).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (409, Some("record-changed")));
    // What was signed is shown to who may see it.
    let listed = world.see(at, &who, "/api/v1/signatures?subject=n1").await.json();
    assert_eq!(listed["signatures"][0]["recordSha256"], shown["sha256"]);
    assert_eq!(listed["signatures"][0]["method"], "password");
}

#[tokio::test]
async fn consent_is_taken_down_by_a_coordinator_who_signs() {
    let world = World::staffed();
    let at = world.pages().await;
    let who = world.sign_in(at, "coord-n").await;
    let consent = "/api/v1/subjects/n1/consent";
    let attest = json!({"criterion": "E4", "verdict": "no", "reason": "r", "password": PASSWORD});
    let refused = world.post(at, Some(&who), "/api/v1/subjects/n1/attestations", &attest).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("role")));
    let bad = json!({"consent": "given", "date": "yesterday", "password": PASSWORD});
    assert_eq!(world.post(at, Some(&who), consent, &bad).await.json()["code"], "no-such-date");
    let good = json!({"consent": "given", "date": "2026-11-21", "password": PASSWORD});
    let done = world.post(at, Some(&who), consent, &good).await;
    assert_eq!(done.status, 201, "{}", done.text);
    let screening = world.see(at, &who, "/api/v1/subjects/n1/explain").await.json();
    assert!(!screening["needs"].as_array().expect("needs").contains(&json!("consent")), "{screening}");
    assert_eq!(world.audited("consent.record").len(), 1);
}

#[tokio::test]
async fn requests_with_one_key_are_worked_on_one_after_another_or_told_to_come_again() {
    let mut world = World::staffed();
    let desk = super::people::desk(&world.store, &world.state.trial, &world.clock);
    let desk = Arc::into_inner(desk).expect("not shared yet").with_patience(Duration::from_millis(50));
    world.state.desk = Arc::new(desk);
    let at = world.pages().await;
    let who = world.sign_in(at, "inv-n").await;
    let held = world.state.desk.alone("busy").await.expect("free");
    let wish = json!({"meaning": "randomize", "record": "0".repeat(64), "password": PASSWORD});
    let answer = draw(&world, at, &who, "busy", &wish).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (409, Some("in-progress")));
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(draw(&world, at, &who, "another", &wish).await.json()["code"], "record-changed");
    drop(held);
    assert_eq!(draw(&world, at, &who, "busy", &wish).await.json()["code"], "record-changed");
}
