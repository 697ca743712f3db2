//! Misbehaviour on request, and the log.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Hospital, send, subject};
use crate::sandbox::{Fault, NextLink};

#[tokio::test]
async fn faults_happen_when_asked_for_and_only_then() {
    let hospital = Hospital::with_patients(3).await;
    let faults = hospital.sandbox.faults();

    faults.answer_next(2, |line| line.resource_type() == "Patient", 503, Some("7"));
    assert_eq!(hospital.get("/Observation").await.status, 200);
    for _ in 0..2 {
        let busy = hospital.get("/Patient").await;
        assert_eq!((busy.status.as_u16(), busy.header("retry-after")), (503, "7"));
    }
    assert_eq!(hospital.get("/Patient").await.status, 200);

    faults.inject(1, |line| line.method == "POST", Fault::DoneButAnswer { status: 500 });
    assert_eq!(hospital.post("/ResearchSubject", &subject("x-00")).await.status, 500);
    assert_eq!(hospital.sandbox.resources("ResearchSubject").len(), 1, "stored all the same");

    faults.inject(1, |_| true, Fault::Truncate { bytes: 40 });
    let cut = hospital.request(Method::GET, "/Patient").send().await.expect("an answer");
    let cut = cut.bytes().await.expect("a body");
    assert_eq!(cut.len(), 40);
    assert!(serde_json::from_slice::<Value>(&cut).is_err());

    faults.inject(1, |line| line.method == "POST", Fault::DelayAfter(Duration::from_secs(600)));
    let impatient = hospital.with_body(Method::POST, "/Patient", &json!({"resourceType": "Patient"}));
    assert!(impatient.timeout(Duration::from_millis(300)).send().await.is_err());
    assert_eq!(hospital.sandbox.resources("Patient").len(), 4, "done before the client gave up");

    faults.drop_parameter("patient");
    let dropped = hospital.get("/Observation?patient=x-00").await;
    assert_eq!((dropped.ids().len(), dropped.used().len()), (3, 0));
    faults.clear();
    faults.drop_parameter_but_list_it("patient");
    let lied = hospital.get("/Observation?patient=x-00").await;
    assert_eq!((lied.ids().len(), lied.used()), (3, vec!["patient".into()]));
    faults.clear();

    faults.refuse_if_none_exist(true);
    let conditional = hospital.with_body(Method::POST, "/ResearchSubject", &subject("x-01"));
    send(conditional.header("if-none-exist", "identifier=a")).await.refused(400, "not-supported");
    faults.clear();

    faults.lie_about_total(Some(9));
    assert_eq!(hospital.get("/Observation").await.body["total"], 9);
    faults.omit_total(true);
    assert!(hospital.get("/Observation").await.body.get("total").is_none());
    faults.clear();

    faults.next_link(NextLink::Loop);
    let page = hospital.get("/Observation?_count=2").await;
    assert_eq!(page.link("next"), page.link("self"));
    faults.next_link(NextLink::Foreign("http://127.0.0.1:9".into()));
    let page = hospital.get("/Observation?_count=2").await;
    assert!(page.link("next").expect("next").starts_with("http://127.0.0.1:9/fhir/Observation?"));
    faults.clear();
    assert_eq!(hospital.get("/Observation?patient=x-00").await.ids(), ["o-00"]);
    hospital.close().await;
}

#[tokio::test]
async fn the_log_has_names_of_parameters_and_no_values() {
    let hospital = Hospital::with_patients(1).await;
    hospital.get("/Observation?patient=secret-name&_count=3").await;
    let form = hospital.request(Method::POST, "/Observation/_search").form(&[("code", "secret-code")]);
    send(form).await;
    let log = hospital.sandbox.faults().requests();
    assert_eq!(log.len(), 2);
    assert_eq!((log[0].method.as_str(), log[0].path.as_str()), ("GET", "/fhir/Observation"));
    assert_eq!(log[0].query_keys, ["patient", "_count"]);
    assert_eq!((log[1].query_keys.as_slice(), log[1].body_bytes), (["code".to_owned()].as_slice(), 16));
    assert!(!format!("{log:?}").contains("secret"));
    hospital.sandbox.faults().forget_requests();
    assert!(hospital.sandbox.faults().requests().is_empty());
    hospital.close().await;
}
