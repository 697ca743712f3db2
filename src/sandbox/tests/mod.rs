//! The server from outside, over HTTP on loopback.

mod bundle;
mod faults;
mod rest;
mod search;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
