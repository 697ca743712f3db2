//! Reading and writing one resource; errors; the CapabilityStatement.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Hospital, send, subject};
use crate::sandbox::{LoadError, Release, Sandbox};

#[tokio::test]
async fn create_assigns_an_id_a_version_and_a_location() {
    let hospital = Hospital::empty().await;
    let created = hospital.post("/Patient", &json!({"resourceType": "Patient", "id": "mine"})).await;
    assert_eq!(created.status, 201);
    let id = created.body["id"].as_str().expect("an id").to_owned();
    assert_ne!(id, "mine", "the server assigns ids");
    assert_eq!(created.header("etag"), "W/\"1\"");
    assert_eq!(created.header("location"), format!("{}/Patient/{id}/_history/1", hospital.base));
    assert_eq!(created.header("content-type"), "application/fhir+json;charset=utf-8");
    assert_eq!(created.body["meta"]["versionId"], "1");
    assert!(created.body["meta"]["lastUpdated"].is_string());

    let read = hospital.get(&format!("/Patient/{id}")).await;
    assert_eq!((read.status.as_u16(), &read.body), (200, &created.body));
    let known = hospital.request(Method::GET, &format!("/Patient/{id}")).header("if-none-match", "W/\"1\"");
    assert_eq!(send(known).await.status, 304);

    let minimal = hospital.with_body(Method::POST, "/Patient", &json!({"resourceType": "Patient"}));
    let minimal = send(minimal.header("prefer", "return=minimal")).await;
    assert_eq!((minimal.status.as_u16(), &minimal.body), (201, &Value::Null));
    assert!(!minimal.header("location").is_empty());
    hospital.close().await;
}

#[tokio::test]
async fn update_obeys_if_match_and_keeps_versions() {
    let hospital = Hospital::empty().await;
    let put = |gender: &str, tag: Option<&str>| {
        let body = json!({"resourceType": "Patient", "id": "a", "gender": gender});
        let request = hospital.with_body(Method::PUT, "/Patient/a", &body);
        send(match tag {
            Some(tag) => request.header("if-match", tag),
            None => request,
        })
    };
    put("male", Some("W/\"1\"")).await.refused(412, "conflict");
    assert_eq!(put("male", None).await.status, 201, "an update creates");
    assert_eq!(put("female", Some("W/\"1\"")).await.status, 200);
    put("other", Some("W/\"1\"")).await.refused(412, "conflict");
    assert_eq!(hospital.get("/Patient/a").await.body["gender"], "female", "the refused update left no trace");
    assert_eq!(hospital.get("/Patient/a/_history/1").await.body["gender"], "male");
    hospital.get("/Patient/a/_history/3").await.refused(404, "not-found");
    let history = hospital.get("/Patient/a/_history").await;
    assert_eq!(history.body["total"], 2);
    assert_eq!(history.body["entry"][0]["resource"]["meta"]["versionId"], "2", "newest first");

    let other = json!({"resourceType": "Patient", "id": "b"});
    send(hospital.with_body(Method::PUT, "/Patient/a", &other)).await.refused(400, "invalid");
    hospital.close().await;
}

#[tokio::test]
async fn delete_is_gone_afterwards_and_refused_while_referred_to() {
    let hospital = Hospital::with_patients(1).await;
    let delete = |path: &'static str| send(hospital.request(Method::DELETE, path));
    delete("/Patient/x-00").await.refused(409, "conflict");
    assert_eq!(hospital.get("/Patient/x-00").await.status, 200);
    assert_eq!(delete("/Observation/o-00").await.status, 204);
    assert_eq!(delete("/Patient/x-00").await.status, 204);
    assert_eq!(delete("/Patient/x-00").await.status, 204, "a second delete has nothing to do");
    hospital.get("/Patient/x-00").await.refused(410, "deleted");
    assert_eq!(hospital.get("/Patient/x-00/_history/1").await.status, 200);
    assert_eq!(hospital.get("/Patient").await.body["total"], 0);
    delete("/Patient/never").await.refused(404, "not-found");
    let again = json!({"resourceType": "Patient", "id": "x-00"});
    let again = send(hospital.with_body(Method::PUT, "/Patient/x-00", &again)).await;
    assert_eq!((again.status.as_u16(), again.header("etag")), (201, "W/\"3\""));
    hospital.close().await;
}

#[tokio::test]
async fn conditional_create_under_concurrency_gives_one() {
    let hospital = Hospital::empty().await;
    let mut tasks = JoinSet::new();
    for _ in 0..32 {
        let request = hospital
            .with_body(Method::POST, "/ResearchSubject", &subject("p"))
            .header("if-none-exist", "identifier=urn:trialbridge:subject|S-1");
        tasks.spawn(async move { send(request).await });
    }
    let answers = tasks.join_all().await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let existing = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((created, existing), (1, 31));
    let ids: BTreeSet<&str> = answers.iter().filter_map(|answer| answer.body["id"].as_str()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(hospital.sandbox.resources("ResearchSubject").len(), 1);

    hospital.sandbox.faults().ignore_if_none_exist(true);
    let conditional = |query: &str| {
        let request = hospital.with_body(Method::POST, "/ResearchSubject", &subject("p"));
        send(request.header("if-none-exist", query.to_owned()))
    };
    assert_eq!(conditional("identifier=urn:trialbridge:subject|S-1").await.status, 201, "the fault is on");
    hospital.sandbox.faults().clear();
    conditional("identifier=urn:trialbridge:subject|S-1").await.refused(412, "conflict");
    conditional("identifer=typo").await.refused(400, "not-supported");
    conditional("").await.refused(400, "invalid");
    hospital.close().await;
}

#[tokio::test]
async fn every_error_is_an_operation_outcome() {
    let hospital = Hospital::empty().await;
    let raw = |path: &str, media: &str, body: &str| {
        send(hospital.request(Method::POST, path).header("content-type", media).body(body.to_owned()))
    };
    raw("/Patient", "application/fhir+json", "{\"resourceType\":").await.refused(400, "structure");
    raw("/Patient", "application/fhir+json", "[]").await.refused(400, "structure");
    raw("/Patient", "application/fhir+xml", "<Patient/>").await.refused(415, "not-supported");
    raw("/Patient", "application/fhir+json", "{\"resourceType\":\"Group\"}").await.refused(400, "invalid");
    raw("", "application/fhir+json", "{\"resourceType\":\"Bundle\",\"type\":\"document\"}")
        .await
        .refused(400, "invalid");
    let incomplete = hospital.post("/ResearchSubject", &json!({"resourceType": "ResearchSubject"})).await;
    incomplete.refused(422, "required");
    assert_eq!(incomplete.body["issue"][0]["expression"][0], "ResearchSubject.status");
    hospital.get("/Patient/nobody").await.refused(404, "not-found");
    hospital.get("/Spaceship/1").await.refused(404, "not-supported");
    hospital.get("/Patient/not%20an%20id").await.refused(400, "invalid");
    send(hospital.request(Method::PATCH, "/Patient/1")).await.refused(405, "not-supported");
    let xml = hospital.request(Method::GET, "/metadata").header("accept", "application/fhir+xml");
    send(xml).await.refused(406, "not-supported");
    let outside = send(hospital.client.get(hospital.base.replace("/fhir", "/fhirs"))).await;
    outside.refused(404, "not-found");

    let large = format!("{{\"resourceType\":\"Patient\",\"x\":\"{}\"}}", "x".repeat(8 * 1024 * 1024));
    raw("/Patient", "application/fhir+json", &large).await.refused(413, "too-long");
    assert!(hospital.sandbox.resources("Patient").is_empty());
    hospital.close().await;
}

#[tokio::test]
async fn the_capability_statement_says_what_a_release_offers() {
    for (release, version, parameters) in [
        (
            Release::R4,
            "4.0.1",
            ["_id", "_lastUpdated", "date", "identifier", "individual", "patient", "status", "study"],
        ),
        (
            Release::R5,
            "5.0.0",
            ["_id", "_lastUpdated", "date", "identifier", "patient", "status", "study", "subject"],
        ),
    ] {
        let hospital = Hospital::open(Sandbox::empty(release)).await;
        let statement = hospital.get("/metadata").await.body;
        assert_eq!(statement["fhirVersion"], version);
        let resources = statement["rest"][0]["resource"].as_array().expect("resources");
        let kind = resources.iter().find(|kind| kind["type"] == "ResearchSubject").expect("ResearchSubject");
        assert_eq!(kind["conditionalCreate"], true);
        let names: BTreeSet<&str> = kind["searchParam"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|known| known["name"].as_str())
            .collect();
        assert!(parameters.iter().all(|name| names.contains(name)), "{names:?}");
        assert_eq!(names.contains("subject_state"), release == Release::R5);
        // What is promised is done: no listed parameter is ignored.
        for kind in resources {
            for known in kind["searchParam"].as_array().into_iter().flatten() {
                let value = if known["type"] == "date" { "2026" } else { "x" };
                let path = format!(
                    "/{}?{}={value}",
                    kind["type"].as_str().unwrap_or(""),
                    known["name"].as_str().unwrap_or("")
                );
                let strict = hospital.request(Method::GET, &path).header("prefer", "handling=strict");
                assert_eq!(send(strict).await.status, 200, "{path}");
            }
        }
        hospital.close().await;
    }
}

#[test]
fn what_cannot_be_filed_is_named() {
    let sandbox = Sandbox::empty(Release::R4);
    let error = sandbox
        .load([json!({"resourceType": "Patient", "id": "a"}), json!({"id": "b"})])
        .expect_err("no type");
    assert_eq!(error, LoadError::NoType { index: 1 });
    assert!(matches!(
        sandbox.put(json!({"resourceType": "Patient", "id": "a b"})),
        Err(LoadError::BadId { index: 0, .. })
    ));
    let bundle =
        json!({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "c"}}]});
    assert_eq!(sandbox.load([bundle]), Ok(1));
    assert!(sandbox.remove("Patient", "c") && !sandbox.remove("Patient", "c"));
    assert_eq!(sandbox.resources("Patient").len(), 1);
}
