//! The server from outside, over HTTP on loopback.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::*;

struct Hospital {
    sandbox: Sandbox,
    base: String,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

struct Answer {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Hospital {
    async fn open(sandbox: Sandbox) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}/fhir", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, sandbox.clone(), shutdown));
        Self { sandbox, base, client: Client::new(), stop: Some(stop), task }
    }

    async fn empty() -> Self {
        Self::open(Sandbox::empty(Release::R4)).await
    }

    /// With patients `x-00` and so on, each with an Observation.
    async fn with_patients(number: usize) -> Self {
        let hospital = Self::empty().await;
        for at in 0..number {
            hospital.put(json!({"resourceType": "Patient", "id": format!("x-{at:02}"), "gender":
                if at % 2 == 0 { "male" } else { "female" }}));
            hospital.put(
                json!({"resourceType": "Observation", "id": format!("o-{at:02}"), "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "1975-2"}]},
                "subject": {"reference": format!("Patient/x-{at:02}")}}),
            );
        }
        hospital
    }

    fn put(&self, resource: Value) {
        self.sandbox.put(resource).expect("a test's resource can be filed");
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    fn with_body(&self, method: Method, path: &str, body: &Value) -> RequestBuilder {
        self.request(method, path).header("content-type", "application/fhir+json").body(body.to_string())
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.with_body(Method::POST, path, body)).await
    }

    async fn close(mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).expect("the server is running");
        }
        drop(self.client);
        self.task.await.expect("the server does not panic").expect("the server ends well");
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.bytes().await.expect("a body");
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
    Answer { status, headers, body }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Refused with this status, and an OperationOutcome that says so.
    fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), &self.body["resourceType"]), (status, &json!("OperationOutcome")));
        assert_eq!(self.body["issue"][0]["code"], code, "{}", self.body);
    }

    fn ids(&self) -> Vec<String> {
        self.body["entry"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["search"]["mode"] == "match")
            .filter_map(|entry| entry["resource"]["id"].as_str().map(str::to_owned))
            .collect()
    }

    fn link(&self, relation: &str) -> Option<String> {
        self.body["link"].as_array()?.iter().find(|link| link["relation"] == relation)?["url"]
            .as_str()
            .map(str::to_owned)
    }

    /// The parameter names of the self link.
    fn used(&self) -> Vec<String> {
        let own = url::Url::parse(&self.link("self").expect("a self link")).expect("a URL");
        own.query_pairs().map(|(key, _)| key.into_owned()).collect()
    }
}

fn subject(patient: &str) -> Value {
    json!({"resourceType": "ResearchSubject", "status": "on-study",
        "identifier": [{"system": "urn:trialbridge:subject", "value": "S-1"}],
        "study": {"reference": "ResearchStudy/s"}, "individual": {"reference": format!("Patient/{patient}")}})
}

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
