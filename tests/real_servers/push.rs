//! Servers that nobody here wrote tell of what changed, by Subscriptions of their own.
//!
//! The pull is scheduled for next January: whatever appears here came because a server notified, or
//! because a start or `sub catchup` repaired what it could not deliver.

use super::hospital::{Hospital, text};
use super::program::{Program, Service, within};
use super::say;
use serde_json::{Value, json};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

const HAPI: &str = "TRIALBRIDGE_TEST_HAPI";
const SEKMET: &str = "TRIALBRIDGE_TEST_SEKMET";
const MRN: &str = "urn:trialbridge:test:push";
/// The one of sekmet's own topics that concerns a trial.
const PATIENT_CHANGE: &str = "http://sekmet.dev/fhir/SubscriptionTopic/patient-change";

#[test]
fn hapi_fhir_notifies_without_payload() {
    rest_hook(HAPI, "none");
}

#[test]
fn hapi_fhir_notifies_with_payload() {
    rest_hook(HAPI, "full");
}

#[test]
fn sekmet_notifies_without_payload() {
    rest_hook(SEKMET, "none");
}

#[test]
fn sekmet_notifies_with_payload() {
    rest_hook(SEKMET, "full");
}

#[test]
fn sekmet_notifies_by_topic_with_ids() {
    topic("id-only");
}

#[test]
fn sekmet_notifies_by_topic_with_payload() {
    topic("full");
}

/// One patient of its own on a server, and a program that hears of it by notifications only.
struct Ward {
    hospital: Hospital,
    program: Program,
    id: String,
    name: String,
}

impl Ward {
    /// None if the server is not named.
    fn open(variable: &str, payload: &str) -> Option<Ward> {
        let Some(base) = std::env::var(variable).ok().filter(|base| !base.is_empty()) else {
            say(&format!("skipped: {variable} is not set"));
            return None;
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        let id = format!("push-{:x}", since.as_micros());
        // The server is told this address before anybody listens there, and again by the next start.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        drop(listener);
        let more = format!(
            "[serve]\nlisten = \"{address}\"\nops_listen = \"127.0.0.1:0\"\n\
             [push]\npublic_url = \"http://{address}\"\n\
             [writeback]\nenabled = false\n"
        );
        let program = Program::with(&base, &format!("Patient?identifier={MRN}|{id}"), &more);
        let name = format!("{} {payload}", variable.trim_start_matches("TRIALBRIDGE_TEST_"));
        Some(Ward { hospital: Hospital::at(&base), program, id, name })
    }

    fn create(&self, arguments: &[&str]) -> Vec<Value> {
        let begun = Instant::now();
        let made = self.program.lines(&[&["sub", "create", "-o", "ndjson"], arguments].concat());
        say(&format!("{}: sub create, active after {:.1} s", self.name, begun.elapsed().as_secs_f64()));
        assert!(made.iter().all(|s| s["state"] == "active"), "{made:?}");
        made
    }

    /// Serves for the first time, and has both pulls of that behind it: the schedule's first, and that of
    /// the Subscriptions.
    fn serve(&self) -> Service {
        let service = self.program.serve();
        let is_done = |s: &Value| s["repairedAt"].is_string() || s["state"] != "active";
        let begun = Instant::now();
        let are_done = || service.said("pull.cycle") && self.status().iter().all(is_done);
        assert!(within(are_done), "{}\n{:?}", service.log(), self.status());
        say(&format!("{}: start and its pull, {:.1} s", self.name, begun.elapsed().as_secs_f64()));
        service
    }

    fn status(&self) -> Vec<Value> {
        let ran = self.program.run(&["sub", "status", "-o", "ndjson"]);
        ran.out.lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
    }

    fn patient(&self) -> Value {
        json!({
            "resourceType": "Patient", "id": self.id, "gender": "female", "birthDate": "1970-01-01",
            "identifier": [{"system": MRN, "value": self.id}]
        })
    }

    /// Total bilirubin. Each has a minute of its own, by its letter: of two results of one time neither counts.
    fn bilirubin(&self, name: &str, value: f64) -> Value {
        json!({
            "resourceType": "Observation", "id": format!("{}-{name}", self.id), "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "1975-2"}]},
            "subject": {"reference": format!("Patient/{}", self.id)},
            "effectiveDateTime": (chrono::Utc::now() - chrono::TimeDelta::days(1)).format(
                &format!("%Y-%m-%dT00:0{}:00Z", name.bytes().next().unwrap_or_default() - b'a')
            ).to_string(),
            "valueQuantity": {
                "value": value, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"
            }
        })
    }

    fn put(&self, resource: &Value) {
        let name = super::reference(resource);
        let url = format!("{}/{name}", self.hospital.base);
        let status = self.hospital.send("PUT", &url, None, resource);
        assert!(matches!(status, 200 | 201), "PUT {name}: {status}");
    }

    /// The subject as it is held here; nothing while nobody has told of it.
    fn explain(&self) -> Value {
        let ran = self.program.run(&["explain", &format!("Patient/{}", self.id), "-o", "json"]);
        serde_json::from_str(&ran.out).unwrap_or_default()
    }

    fn value(&self) -> Option<f64> {
        let value = &self.explain()["variables"]["bilirubin_total"]["value"];
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    }

    /// Waits until this value is the one that counts.
    fn hears(&self, service: &Service, value: Option<f64>, what: &str) {
        let begun = Instant::now();
        let heard = within(|| self.value() == value);
        assert!(heard, "{}: {what}\n{}\n{:?}\n{}", self.name, self.explain(), self.status(), service.log());
        say(&format!("{}: {what}, {:.1} s", self.name, begun.elapsed().as_secs_f64()));
    }

    fn count(&self, query: &str) -> i64 {
        let database = rusqlite::Connection::open(self.program.file("data/trialbridge.db")).expect("a store");
        database.query_row(query, [], |row| row.get(0)).expect("a count")
    }

    /// What stays at the server is kept from being sent to a port that somebody else may hold.
    fn close(self) {
        for subscription in self.status() {
            self.program.text(&["sub", "delete", &text(&subscription["id"])]);
        }
        assert_eq!(self.program.json(&["verify", "-o", "json"])["verified"], true);
        assert_eq!(self.program.json(&["audit", "verify", "-o", "json"])["verified"], true);
    }
}

fn rest_hook(variable: &str, payload: &str) {
    let Some(ward) = Ward::open(variable, payload) else { return };
    let made = ward.create(&["--type", "Patient", "--type", "Observation", "--payload", payload]);
    assert_eq!(made.len(), 2, "{made:?}");
    let service = ward.serve();
    assert!(ward.explain().is_null(), "nobody has told of the patient yet");

    ward.put(&ward.patient());
    ward.put(&ward.bilirubin("a", 4.1));
    ward.hears(&service, Some(4.1), "a result");
    let by_notification = "SELECT count(*) FROM inbox WHERE origin = 'subscription'";
    match payload {
        "full" => assert!(ward.count(by_notification) >= 2, "the resources themselves were sent"),
        _ => assert!(service.said("subscription-hint"), "a pull followed the notification"),
    }
    let status = ward.program.lines(&["sub", "status", "-o", "ndjson"]);
    for subscription in &status {
        assert_eq!(subscription["stateAtServer"], "active", "{subscription}");
        assert!(subscription["lastHeard"].is_string(), "{subscription}");
    }

    // A correction, and a retraction, which is how a result is taken back where deletions are not told.
    let mut result = ward.bilirubin("a", 5.2);
    ward.put(&result);
    ward.hears(&service, Some(5.2), "a correction");
    repetitions(&ward, &status, &result, payload);
    result["status"] = "entered-in-error".into();
    ward.put(&result);
    ward.hears(&service, None, "a retraction");

    // Nobody tells of a deletion: what was heard of stays, whatever else comes.
    let deleted = ward.bilirubin("b", 6.3);
    ward.put(&deleted);
    ward.hears(&service, Some(6.3), "a second result");
    let gone = format!("{}/{}", ward.hospital.base, super::reference(&deleted));
    assert!(matches!(ward.hospital.send("DELETE", &gone, None, &Value::Null), 200 | 204));
    let mut patient = ward.patient();
    patient["birthDate"] = "1971-01-01".into();
    ward.put(&patient);
    let versions = "SELECT count(*) FROM record_history WHERE resource_type = 'Patient'";
    assert!(within(|| ward.count(versions) >= 2), "the patient's change: {}", service.log());
    assert_eq!(ward.value(), Some(6.3), "{}", ward.name);

    silence(&ward, service);
    ward.close();
}

/// The same notification again, as after an answer that got lost: nothing happens twice.
fn repetitions(ward: &Ward, status: &[Value], result: &Value, payload: &str) {
    let versions = || ward.count("SELECT count(*) FROM record_history WHERE resource_type = 'Observation'");
    let before = versions();
    let one = status.iter().find(|s| text(&s["watches"]).starts_with("Observation")).expect("made");
    let remote = ward.hospital.read(&format!("Subscription/{}", text(&one["remoteId"])));
    let header = text(&remote["channel"]["header"][0]);
    let authorization = header.strip_prefix("Authorization: ").expect("the server keeps the header");
    let endpoint = text(&one["endpoint"]);
    let stored = ward.hospital.read(&super::reference(result));
    for _ in 0..3 {
        let (url, method, body, expected) = match payload {
            "full" => (format!("{endpoint}/{}", super::reference(result)), "PUT", &stored, 200),
            _ => (endpoint.clone(), "POST", &Value::Null, 204),
        };
        assert_eq!(ward.hospital.send(method, &url, Some(authorization), body), expected, "{url}");
        assert_eq!(ward.hospital.send(method, &url, Some("Bearer 00"), body), 401, "{url}");
    }
    assert_eq!(ward.value(), Some(5.2));
    assert_eq!(versions(), before, "a repetition is no new version");
}

/// Nobody listens while the hospital works; the next start, or an operator, makes up for it.
fn silence(ward: &Ward, service: Service) {
    service.stop();
    ward.put(&ward.bilirubin("c", 7.4));
    let service = ward.program.serve();
    ward.hears(&service, Some(7.4), "what happened while nobody listened, by the start");
    service.stop();
    ward.put(&ward.bilirubin("d", 8.5));
    let caught = ward.program.json(&["sub", "catchup", "-o", "json"]);
    assert_eq!(caught["reconciled"], true, "{caught}");
    assert_eq!(ward.value(), Some(8.5), "by sub catchup");
}

/// Topics: a handshake, numbers, heartbeats; sekmet's counters are strings.
fn topic(payload: &str) {
    let Some(ward) = Ward::open(SEKMET, &format!("topic {payload}")) else { return };
    let made = ward.create(&["--kind", "topic", "--topic", PATIENT_CHANGE, "--payload", payload]);
    assert!(made.len() == 1 && made[0]["handshake"].is_string(), "{made:?}");
    let service = ward.serve();
    ward.put(&ward.patient());
    assert!(within(|| !ward.explain().is_null()), "{:?}\n{}", ward.status(), service.log());
    let mut patient = ward.patient();
    for year in 1971..1974 {
        patient["birthDate"] = format!("{year}-01-01").into();
        ward.put(&patient);
    }
    // Other runs may change patients of theirs: at least ours were counted.
    let counted = |s: &Value| s["events"].as_u64().is_some_and(|n| n >= 4) && s["missingEvents"] == 0;
    assert!(within(|| ward.status().iter().all(counted)), "{:?}\n{}", ward.status(), service.log());
    let versions = "SELECT count(*) FROM record_history WHERE resource_type = 'Patient'";
    assert!(within(|| ward.count(versions) >= 2), "{}", service.log());
    let heard = ward.program.lines(&["sub", "status", "-o", "ndjson"]);
    assert_eq!(heard[0]["completeTo"], heard[0]["events"], "{heard:?}");
    service.stop();

    // It gives up at once and says so; the start asks how it stands and what it counted.
    patient["birthDate"] = "1979-01-01".into();
    ward.put(&patient);
    let remote = format!("Subscription/{}", text(&made[0]["remoteId"]));
    assert!(within(|| ward.hospital.read(&remote)["status"] == "error"), "sekmet gave up");
    let before = ward.count(versions);
    let service = ward.program.serve();
    assert!(within(|| ward.count(versions) > before), "{}", service.log());
    assert!(within(|| ward.status().iter().all(|s| s["missingEvents"] == 0)), "{:?}", ward.status());
    service.stop();
    let status = ward.program.exits(1, &["sub", "status", "-o", "table"]);
    assert!(status.out.contains("the server gave up"), "{}", status.out);
    ward.close();
}
