//! The path from the inbox to a decision, on a real store.

mod histories;
mod story;
mod touched;

use super::intake::{Taken, alias_id};
use super::*;
use crate::source::files;
use crate::store::suite::{NOW, PlainChain, list, request};
use crate::store::{
    AllocationRequest, Check, DeviationState, Drawn, Incoming, NewAllocationList, QuarantineState, Refusal,
    SqliteStore,
};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;

const BASE: &str = "http://127.0.0.1/fhir";
const DAY: &str = "2026-11-22";
/// The system of the numbers that people are known by in these tests.
const MRN: &str = "urn:mrn";
const SALT: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Of the cohort of the fixtures; eligible on [`DAY`].
const ELIGIBLE: &str = "Patient/pt-878c3cba2da8";

/// A store in a folder of its own, and a clock that goes on by a minute with whatever comes.
struct World {
    _dir: TempDir,
    store: Arc<dyn Store>,
    pipeline: Pipeline,
    minute: std::cell::Cell<u32>,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(dir.path(), "trialbridge test", NOW, Arc::new(PlainChain));
        let store: Arc<dyn Store> = Arc::new(store.expect("opened"));
        // The same people have the same keys in every world.
        store.set_meta("identity.salt", SALT).expect("set");
        let pipeline = Pipeline::new(Arc::clone(&store), Arc::new(Trial::shipped()));
        World { _dir: dir, store, pipeline, minute: std::cell::Cell::new(0) }
    }

    /// The six patients of the fixtures, judged.
    fn cohort() -> World {
        let world = World::new();
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/cohort");
        let mut documents = Vec::new();
        let problems = files::read(&[folder], &mut |bytes, _| {
            // Some of them say no version; a correction has to be newer than something.
            let mut resource: Value = serde_json::from_slice(bytes).expect("JSON");
            if resource["meta"].is_null() {
                resource["meta"] = json!({"versionId": "1"});
            }
            documents.push(world.incoming("pull", BASE, resource.to_string().into_bytes()));
            Ok(())
        });
        assert_eq!(problems.len(), 0, "{problems:?}");
        world.store.accept_many(documents).expect("accepted");
        world.run();
        world
    }

    fn now(&self) -> DateTime<Utc> {
        self.minute.set(self.minute.get() + 1);
        let start: DateTime<Utc> = NOW.parse().expect("an instant");
        start + chrono::TimeDelta::minutes(self.minute.get().into())
    }

    fn incoming(&self, origin: &str, source: &str, bytes: Vec<u8>) -> Incoming {
        Incoming {
            origin: origin.into(),
            source: source.into(),
            media_type: "application/fhir+json".into(),
            bytes,
            received_at: stamp(self.now()),
            key: None,
        }
    }

    fn accept(&self, origin: &str, source: &str, document: &Value) -> i64 {
        let incoming = self.incoming(origin, source, document.to_string().into_bytes());
        self.store.accept(incoming).expect("accepted").seq
    }

    fn push(&self, document: &Value) -> i64 {
        self.accept("push", BASE, document)
    }

    fn pull(&self, document: &Value) -> i64 {
        self.accept("pull", BASE, document)
    }

    /// A person's word on two subjects: `other` belongs to `subject`, or does not.
    fn rule(&self, subject: &str, other: &str, same: bool) -> i64 {
        let at = stamp(self.now());
        self.accept("identity", OWN_SOURCE, &questions::linkage(subject, other, same, &at))
    }

    fn run(&self) -> Progressed {
        self.pipeline.run(self.now(), DAY.parse().expect("a day")).expect("a run")
    }

    fn word(&self, subject: &str) -> String {
        self.store.latest_decision(subject).expect("read").map(|d| d.decision).unwrap_or_default()
    }

    fn json(&self, subject: &str) -> Value {
        let decision = self.store.latest_decision(subject).expect("read").expect("a decision");
        serde_json::from_str(&decision.json).expect("JSON")
    }

    fn blocked(&self, subject: &str) -> Vec<String> {
        let json = self.json(subject);
        let codes = json["blocked"].as_array().cloned().unwrap_or_default();
        codes.iter().filter_map(|c| c.as_str().map(str::to_owned)).collect()
    }

    fn body(&self, reference: &str) -> Value {
        let (resource_type, id) = type_and_id(reference).expect("a reference");
        let record = self.store.records_named(resource_type, id).expect("read").remove(0);
        serde_json::from_slice(&record.body).expect("JSON")
    }

    /// The source of a variable of a subject, as its next version.
    fn next(&self, subject: &str, variable: &str) -> Value {
        let source = self.json(subject)["variables"][variable]["source"].clone();
        let mut body = self.body(source.as_str().expect("a source"));
        body["meta"] = json!({"versionId": "900", "lastUpdated": "2026-11-22T07:59:00Z"});
        body
    }

    /// Draws for a subject whose decision is "eligible".
    fn randomize(&self, subject: &str) -> Result<(), String> {
        self.allocate(subject, |word| word == "eligible")
    }

    /// Draws for anybody, as no command does.
    fn draw(&self, subject: &str) {
        self.allocate(subject, |_| true).expect("allocated");
    }

    fn allocate(&self, subject: &str, permits: fn(&str) -> bool) -> Result<(), String> {
        let trial = self.pipeline.trial.study.id.clone();
        if self.store.allocation_list(&trial).expect("read").is_none() {
            let new = NewAllocationList { trial: trial.clone(), ..list(9) };
            self.store.put_allocation_list(new).expect("a list");
        }
        let check: Check = Box::new(move |snapshot, desk| match permits(&snapshot.decision.decision) {
            true => {
                let position = desk.slot(0)?.position;
                Ok(Drawn { stratum: 0, position, leaf: "l".into(), proof: "[]".into(), levels: "{}".into() })
            }
            false => Err(Refusal { code: "undetermined".into(), text: "not eligible".into() }.into()),
        });
        let at = stamp(self.now());
        let request = AllocationRequest { trial, at, ..request(subject, &format!("key {subject}")) };
        self.store.allocate(request, check).map(drop).map_err(|e| e.to_string())
    }

    fn allocations(&self) -> Vec<(String, String, i64)> {
        let all = self.store.allocations(&self.pipeline.trial.study.id).expect("read");
        all.into_iter().map(|a| (a.id, a.subject, a.position)).collect()
    }

    fn deviations(&self) -> Vec<(String, String)> {
        let open = self.store.deviations(Some(DeviationState::Open)).expect("read");
        open.into_iter().map(|d| (d.kind, d.reference)).collect()
    }

    fn set_aside(&self) -> Vec<(String, String)> {
        let open = self.store.quarantine_list(Some(QuarantineState::Open), 100).expect("read");
        open.into_iter().map(|q| (q.reason, q.path)).collect()
    }
}

fn patient(id: &str, numbers: &[&str]) -> Value {
    let identifier: Vec<Value> = numbers.iter().map(|n| json!({"system": MRN, "value": n})).collect();
    json!({
        "resourceType": "Patient", "id": id, "gender": "male", "birthDate": "1970-01-01",
        "identifier": identifier
    })
}

/// Somebody known by a number only.
fn alias(number: &str) -> String {
    format!("Patient/{}", alias_id(SALT, MRN, number))
}

fn bilirubin(id: &str, subject: Value, value: &str) -> Value {
    let number: serde_json::Number = value.parse().expect("a number");
    json!({
        "resourceType": "Observation", "id": id, "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1975-2"}]},
        "subject": subject, "effectiveDateTime": "2026-11-20T08:00:00Z",
        "valueQuantity": {"value": number, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
    })
}

fn of(id: &str) -> Value {
    json!({"reference": format!("Patient/{id}")})
}

fn known_as(number: &str) -> Value {
    json!({"identifier": {"system": MRN, "value": number}})
}

fn transaction(entries: &[Value]) -> Value {
    let entry: Vec<Value> = entries
        .iter()
        .map(|r| {
            let url =
                format!("{}/{}", r["resourceType"].as_str().unwrap_or("?"), r["id"].as_str().unwrap_or("?"));
            json!({"resource": r, "request": {"method": "PUT", "url": url}})
        })
        .collect();
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entry})
}

fn deletion(reference: &str) -> Value {
    json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": reference}}]
    })
}

#[test]
fn a_run_that_is_told_to_end_leaves_the_rest_to_the_next() {
    let world = World::new();
    let patient = br#"{"resourceType":"Patient","id":"x1","gender":"male","birthDate":"1970-01-01"}"#;
    world.store.accept(world.incoming("pull", BASE, patient.to_vec())).expect("accepted");
    let (now, day) = (NOW.parse().expect("a time"), DAY.parse().expect("a day"));
    let turn = Arc::<Turn>::default();
    let ending = Pipeline::new(Arc::clone(&world.store), Arc::clone(&world.pipeline.trial));
    let ending = ending.taking_turns(Arc::clone(&turn));
    turn.end();
    assert_eq!(ending.run(now, day), Ok(Progressed::default()));
    assert_eq!(world.store.count_by_state().expect("counted").pending, 1);
    // Read, but not judged.
    let mut done = Progressed::default();
    world.pipeline.digest(now, &mut done).expect("read");
    assert_eq!(ending.run(now, day), Ok(Progressed::default()));
    assert_eq!(world.store.dirty(9).expect("read").len(), 1);
    let done = world.pipeline.run(now, day).expect("run");
    assert_eq!((done.judged, world.store.dirty(9).expect("read").len()), (1, 0));
}
