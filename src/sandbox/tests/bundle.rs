//! Transactions and batches.

use serde_json::json;

use super::{Answer, Hospital, subject};

#[tokio::test]
async fn a_transaction_rewrites_its_references() {
    let hospital = Hospital::empty().await;
    let answer = hospital
        .post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001", "resource": subject("p"),
             "request": {"method": "POST", "url": "ResearchSubject"}},
            {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000002",
             "resource": {"resourceType": "Provenance", "recorded": "2026-11-22T08:00:00Z",
                "target": [{"reference": "urn:uuid:00000000-0000-4000-8000-000000000001"}],
                "agent": [{"who": {"identifier": {"value": "urn:uuid:00000000-0000-4000-8000-000000000001"}}}]},
             "request": {"method": "POST", "url": "Provenance"}},
            {"resource": {"resourceType": "Patient", "id": "p"}, "request": {"method": "PUT", "url": "Patient/p"}},
        ]}))
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["type"]),
        (200, &json!("transaction-response")),
        "{}",
        answer.body
    );
    let statuses: Vec<&str> = answer.body["entry"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["response"]["status"].as_str())
        .collect();
    assert_eq!(statuses, ["201 Created"; 3], "in the order of the request");
    let made = hospital.sandbox.resources("ResearchSubject").remove(0);
    let provenance = hospital.sandbox.resources("Provenance").remove(0);
    assert_eq!(
        provenance["target"][0]["reference"],
        format!("ResearchSubject/{}", made["id"].as_str().expect("an id"))
    );
    assert_eq!(
        provenance["agent"][0]["who"]["identifier"]["value"], "urn:uuid:00000000-0000-4000-8000-000000000001",
        "an identifier is no reference"
    );
    hospital.close().await;
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing_and_a_batch_is_not() {
    let hospital = Hospital::with_patients(1).await;
    let bundle = |kind: &str| {
        json!({"resourceType": "Bundle", "type": kind, "entry": [
            {"request": {"method": "DELETE", "url": "Observation/o-00"}},
            {"resource": {"resourceType": "Patient"}, "request": {"method": "POST", "url": "Patient"}},
            {"resource": {"resourceType": "Patient", "id": "x-00", "gender": "other"},
             "request": {"method": "PUT", "url": "Patient/x-00", "ifMatch": "W/\"9\""}},
        ]})
    };
    let refused = hospital.post("", &bundle("transaction")).await;
    refused.refused(412, "conflict");
    assert_eq!(refused.body["issue"][0]["expression"][0], "Bundle.entry[2]");
    assert_eq!(hospital.get("/Observation/o-00").await.header("etag"), "W/\"1\"");
    assert_eq!(hospital.sandbox.resources("Patient").len(), 1);

    let batch = hospital.post("", &bundle("batch")).await;
    assert_eq!(batch.status, 200);
    let status = |at: usize| batch.body["entry"][at]["response"]["status"].as_str().unwrap_or("").to_owned();
    assert_eq!(
        [status(0), status(1), status(2)],
        ["204 No Content", "201 Created", "412 Precondition Failed"]
    );
    assert_eq!(batch.body["entry"][2]["response"]["outcome"]["resourceType"], "OperationOutcome");
    assert_eq!(hospital.sandbox.resources("Patient").len(), 2);
    hospital.get("/Observation/o-00").await.refused(410, "deleted");

    let dangling = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": {"resourceType": "Provenance", "recorded": "2026-11-22T08:00:00Z", "agent": [{}],
            "target": [{"reference": "urn:uuid:00000000-0000-4000-8000-000000000009"}]},
         "request": {"method": "POST", "url": "Provenance"}}]});
    hospital.post("", &dangling).await.refused(400, "invalid");
    assert!(hospital.sandbox.resources("Provenance").is_empty());
    hospital.close().await;
}

#[tokio::test]
async fn a_transaction_with_conditions_can_be_repeated() {
    let hospital = Hospital::empty().await;
    let entry = |urn: u8| {
        json!({"fullUrl": format!("urn:uuid:00000000-0000-4000-8000-00000000000{urn}"), "resource": subject("p"),
            "request": {"method": "POST", "url": "ResearchSubject",
                        "ifNoneExist": "identifier=urn:trialbridge:subject|S-1"}})
    };
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry(1), entry(2)]});
    let first = hospital.post("", &bundle).await;
    let second = hospital.post("", &bundle).await;
    let status = |answer: &Answer, at: usize| answer.body["entry"][at]["response"]["status"].clone();
    assert_eq!([status(&first, 0), status(&first, 1)], ["201 Created", "200 OK"]);
    assert_eq!([status(&second, 0), status(&second, 1)], ["200 OK", "200 OK"]);
    assert_eq!(hospital.sandbox.resources("ResearchSubject").len(), 1);
    // Both or neither: the patient and what refers to it.
    let hospital_two = Hospital::with_patients(1).await;
    let both = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"request": {"method": "DELETE", "url": "Patient/x-00"}},
        {"request": {"method": "DELETE", "url": "Observation/o-00"}}]});
    assert_eq!(hospital_two.post("", &both).await.status, 200);
    hospital.close().await;
    hospital_two.close().await;
}
