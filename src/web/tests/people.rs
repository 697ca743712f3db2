//! People with accounts, and their requests, under a clock that a test moves.

use super::*;
use crate::access::{Masking, Role};
use crate::account::password::Strength;
use crate::account::{Accounts, By, Credential, NewPerson, Settings, Sites};
use crate::pipeline::{Pipeline, stamp};
use crate::secret::Secret;
use crate::store::{Incoming, Refusal, SessionLimits};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use std::sync::Mutex;

/// Of everybody.
pub const PASSWORD: &str = "seven brown kettles sing";

/// Stands still until it is moved.
#[derive(Clone)]
pub struct TestClock(Arc<Mutex<DateTime<Utc>>>);

impl Default for TestClock {
    fn default() -> TestClock {
        TestClock(Arc::new(Mutex::new("2026-11-22T09:00:00Z".parse().expect("a time"))))
    }
}

impl TestClock {
    pub fn now(&self) -> DateTime<Utc> {
        *self.0.lock().expect("not poisoned")
    }

    pub fn forward(&self, by: TimeDelta) {
        *self.0.lock().expect("not poisoned") += by;
    }
}

pub fn settings() -> Settings {
    let (north, south) = (["lab:north".to_owned()], ["lab:south".to_owned()]);
    Settings {
        // As weak as Argon2 allows: these tests are not about guessing.
        strength: Strength { memory_kib: 8, passes: 1 },
        limits: SessionLimits { idle: TimeDelta::minutes(15), absolute: TimeDelta::hours(12) },
        sites: Sites::new([("north", &north[..]), ("south", &south[..])]),
    }
}

pub fn desk(store: &Arc<SqliteStore>, trial: &Arc<Trial>, clock: &TestClock) -> Arc<Desk> {
    let store: Arc<dyn Store> = store.clone();
    let own = clock.clone();
    let clock: Box<Clock> = Box::new(move || (own.now(), DAY.parse().expect("a day")));
    let key: Box<ReadKey> = Box::new(|| Err(Refusal { code: "no-key".into(), text: "none here".into() }));
    let pipeline = Pipeline::new(store, Arc::clone(trial));
    Arc::new(Desk::new(settings(), Masking::strictest(), pipeline, key, clock))
}

/// Somebody signed in.
#[derive(Clone)]
pub struct Person {
    pub cookie: String,
    pub csrf: String,
}

impl World {
    /// Six accounts, one a role, and one patient at each of two sites.
    pub fn staffed() -> World {
        let world = World::empty();
        for (site, id) in [("lab:north", "n1"), ("lab:south", "s1")] {
            let patient =
                json!({"resourceType": "Patient", "id": id, "gender": "female", "birthDate": "1970-01-01"});
            let incoming = Incoming {
                origin: "test".into(),
                source: site.into(),
                media_type: "application/fhir+json".into(),
                bytes: patient.to_string().into_bytes(),
                received_at: stamp(world.clock.now()),
                key: None,
            };
            world.store.accept(incoming).expect("accepted");
        }
        world.judge();
        for (name, role, site) in [
            ("admin", Role::Administrator, None),
            ("coord-n", Role::Coordinator, Some("north")),
            ("coord-s", Role::Coordinator, Some("south")),
            ("inv-n", Role::Investigator, Some("north")),
            ("pharm", Role::Pharmacist, None),
            ("stat", Role::Statistician, None),
            ("mon", Role::Monitor, None),
        ] {
            world.hire(name, role, site);
        }
        world
    }

    pub fn judge(&self) {
        let day = DAY.parse().expect("a day");
        self.state.desk.pipeline.run(self.clock.now(), day).expect("judged");
    }

    fn hire(&self, name: &str, role: Role, site: Option<&str>) {
        let (settings, own) = (settings(), Secret::new(PASSWORD.into()));
        let accounts = Accounts::new(&*self.store, &settings);
        let initial = Secret::new("an initial one of nobody".into());
        let by = || By { name: "admin", credential: Credential::Password(&own) };
        let first = role == Role::Administrator;
        let printed = format!("Dr {name}");
        let person = NewPerson { name, printed_name: &printed, role, site, password: Some(&initial) };
        let by = if first { None } else { Some(by()) };
        accounts.add(&person, by, self.clock.now()).expect("made");
        accounts.change_password(name, &initial, &own, self.clock.now()).expect("changed");
    }

    pub async fn send(
        &self,
        at: SocketAddr,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let mut request = self.client.request(method, format!("http://{at}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("text") }
    }

    /// JSON to the API, by somebody or by nobody.
    pub async fn post(&self, at: SocketAddr, person: Option<&Person>, path: &str, body: &Value) -> Answer {
        let mut headers = vec![("content-type", "application/json")];
        if let Some(person) = person {
            headers.push(("cookie", &person.cookie));
            headers.push(("x-csrf-token", &person.csrf));
        }
        self.send(at, Method::POST, path, &headers, Some(&body.to_string())).await
    }

    pub async fn see(&self, at: SocketAddr, person: &Person, path: &str) -> Answer {
        self.send(at, Method::GET, path, &[("cookie", &person.cookie)], None).await
    }

    pub async fn sign_in(&self, at: SocketAddr, name: &str) -> Person {
        let answer =
            self.post(at, None, "/api/v1/session", &json!({"account": name, "password": PASSWORD})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        // One address may try five times a second; the next one waits for its turn.
        tokio::time::sleep(Duration::from_millis(210)).await;
        person(&answer)
    }

    /// Audit entries of one action.
    pub fn audited(&self, action: &str) -> Vec<crate::store::AuditEntry> {
        let all = self.store.audit_entries(0, 10_000).expect("read");
        all.into_iter().filter(|e| e.entry.action == action).collect()
    }
}

pub fn person(answer: &Answer) -> Person {
    let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    Person { cookie, csrf: answer.json()["csrf"].as_str().unwrap_or_default().to_owned() }
}
