//! A hospital's server in memory, with the faults that real ones have.

use crate::client::server::{FhirServer, Found, ServerError, Written};
use crate::sink::reconcile::KnownIds;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// What the server does with one create, in the order in which creates arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnCreate {
    Normal,
    /// Stores, then answers this status (`0`: no answer at all).
    StoreThen(u16),
    /// Does not store, and answers this status (`0`: no answer at all).
    LoseThen(u16),
    /// Another writer creates the same resource just before, unseen by If-None-Exist.
    Race,
    /// The same, and searches show the other one only: an index that lags by one.
    RaceUnseen,
    /// Answers 201 and keeps nothing.
    Pretend,
}

/// How the server treats `If-None-Exist`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditional {
    Works,
    Ignored,
    Refused,
}

#[derive(Default)]
pub struct State {
    pub resources: BTreeMap<(String, String), (u32, Value)>,
    next: u32,
    pub creates: Vec<OnCreate>,
    pub updates: Vec<OnUpdate>,
    /// Everything that was sent: method, type, header, body.
    pub sent: Vec<(&'static str, String, Option<String>, String)>,
    pub searches: Vec<String>,
    /// Ids that no search shows.
    pub unseen: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUpdate {
    Normal,
    /// Another author changes the resource between our read and our write.
    Conflict,
    StoreThen(u16),
    LoseThen(u16),
}

pub struct Fake {
    pub state: Mutex<State>,
    pub conditional: Conditional,
    /// `Type?parameter` that the server does not know; it answers as the client reports it.
    pub unsearchable: BTreeSet<&'static str>,
    /// Elements that the server accepts and does not keep.
    pub drops: BTreeSet<&'static str>,
    /// Searches never show what was created: an index that lags.
    pub index_lags: bool,
    /// Status of every request, where the server is down.
    pub down: Option<u16>,
}

impl Default for Fake {
    fn default() -> Self {
        Fake {
            state: Mutex::default(),
            conditional: Conditional::Works,
            unsearchable: BTreeSet::new(),
            drops: BTreeSet::new(),
            index_lags: false,
            down: None,
        }
    }
}

impl Fake {
    pub fn put(&self, mut resource: Value) -> String {
        let mut state = self.state.lock().expect("one thread");
        state.next += 1;
        let id = state.next.to_string();
        let resource_type = resource["resourceType"].as_str().expect("a type").to_owned();
        resource["id"] = Value::String(id.clone());
        state.resources.insert((resource_type, id.clone()), (1, resource));
        id
    }

    pub fn all(&self, resource_type: &str) -> Vec<Value> {
        let state = self.state.lock().expect("one thread");
        state.resources.iter().filter(|((t, _), _)| t == resource_type).map(|(_, (_, r))| r.clone()).collect()
    }

    pub fn change(&self, resource_type: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().expect("one thread");
        let entry = state.resources.get_mut(&(resource_type.to_owned(), id.to_owned())).expect("there");
        entry.0 += 1;
        change(&mut entry.1);
    }

    pub fn delete(&self, resource_type: &str, id: &str) {
        let mut state = self.state.lock().expect("one thread");
        state.resources.remove(&(resource_type.to_owned(), id.to_owned())).expect("there");
    }

    pub fn creates(&self, faults: &[OnCreate]) {
        self.state.lock().expect("one thread").creates = faults.to_vec();
    }

    pub fn updates(&self, faults: &[OnUpdate]) {
        self.state.lock().expect("one thread").updates = faults.to_vec();
    }

    /// POSTs and PUTs so far.
    pub fn sent(&self) -> Vec<(&'static str, String, Option<String>, String)> {
        self.state.lock().expect("one thread").sent.clone()
    }

    fn found(id: &str, version: u32, resource: &Value) -> Found {
        Found {
            id: id.to_owned(),
            etag: Some(format!("W/\"{version}\"")),
            body: resource.to_string().into_bytes(),
        }
    }

    fn keep(&self, body: &[u8]) -> Value {
        let mut resource: Value = serde_json::from_slice(body).expect("we send JSON");
        for element in &self.drops {
            resource.as_object_mut().expect("a resource").remove(*element);
        }
        resource
    }

    fn reachable(&self, method: &'static str, path: &str) -> Result<(), ServerError> {
        match self.down {
            Some(status) => Err(answer(method, path, status)),
            None => Ok(()),
        }
    }
}

fn answer(method: &'static str, path: &str, status: u16) -> ServerError {
    let path = path.to_owned();
    match status {
        0 => ServerError::Unreachable { method, path, reason: "timed out".to_owned() },
        401 | 403 => ServerError::Refused { method, path, status },
        _ => ServerError::Status { method, path, status, outcome: String::new() },
    }
}

/// `?identifier=system|value`, `?study=`, `?patient=`, ... over the one resource.
fn matches(resource: &Value, parameter: &str, wanted: &str) -> bool {
    let refers = |r: Option<&Value>| r.and_then(|r| r["reference"].as_str()) == Some(wanted);
    match parameter {
        "identifier" => resource["identifier"].as_array().into_iter().flatten().any(|i| {
            let token = format!(
                "{}|{}",
                i["system"].as_str().unwrap_or_default(),
                i["value"].as_str().unwrap_or_default()
            );
            token == wanted
        }),
        "study" => refers(resource.get("study")),
        "individual" => refers(resource.get("individual")),
        "subject" | "patient" => refers(resource.get("subject")),
        "target" => resource["target"].as_array().into_iter().flatten().any(|t| refers(Some(t))),
        "code" => resource["code"]["coding"].as_array().into_iter().flatten().any(|c| {
            format!("{}|{}", c["system"].as_str().unwrap_or_default(), c["code"].as_str().unwrap_or_default())
                == wanted
        }),
        other => panic!("the write-back searches by `{other}`, which this server has never heard of"),
    }
}

impl FhirServer for Fake {
    async fn search(
        &self,
        resource_type: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Found>, ServerError> {
        self.reachable("GET", resource_type)?;
        let asked: Vec<&str> = parameters.iter().map(|(p, _)| *p).collect();
        let mut state = self.state.lock().expect("one thread");
        state.searches.push(format!("{resource_type}?{}", asked.join("&")));
        for parameter in asked {
            if self.unsearchable.contains(format!("{resource_type}?{parameter}").as_str()) {
                return Err(ServerError::Protocol {
                    method: "GET",
                    path: resource_type.to_owned(),
                    code: "dropped-parameter",
                    reason: "the server ignored a parameter".to_owned(),
                });
            }
        }
        if self.index_lags && !parameters.is_empty() {
            return Ok(Vec::new());
        }
        Ok(state
            .resources
            .iter()
            .filter(|((_, id), _)| !state.unseen.contains(id))
            .filter(|((t, _), (_, r))| t == resource_type && parameters.iter().all(|(p, v)| matches(r, p, v)))
            .map(|((_, id), (version, r))| Fake::found(id, *version, r))
            .collect())
    }

    async fn read(&self, resource_type: &str, id: &str) -> Result<Option<Found>, ServerError> {
        self.reachable("GET", resource_type)?;
        let state = self.state.lock().expect("one thread");
        let key = (resource_type.to_owned(), id.to_owned());
        Ok(state.resources.get(&key).map(|(version, r)| Fake::found(id, *version, r)))
    }

    async fn create(
        &self,
        resource_type: &str,
        body: &[u8],
        if_none_exist: Option<&str>,
    ) -> Result<Written, ServerError> {
        self.reachable("POST", resource_type)?;
        let fault = {
            let mut state = self.state.lock().expect("one thread");
            state.sent.push((
                "POST",
                resource_type.to_owned(),
                if_none_exist.map(str::to_owned),
                String::from_utf8_lossy(body).into_owned(),
            ));
            if state.creates.is_empty() { OnCreate::Normal } else { state.creates.remove(0) }
        };
        if let Some(query) = if_none_exist {
            match self.conditional {
                Conditional::Refused => return Err(answer("POST", resource_type, 400)),
                Conditional::Ignored => {}
                Conditional::Works => {
                    let token = query
                        .strip_prefix("identifier=")
                        .and_then(|t| t.split_once("%7C"))
                        .map(|(s, v)| format!("{s}|{v}"))
                        .expect("identifier=system%7Cvalue");
                    let there: Vec<String> = self
                        .all(resource_type)
                        .iter()
                        .filter(|r| matches(r, "identifier", &token))
                        .map(|r| r["id"].as_str().expect("an id").to_owned())
                        .collect();
                    match there.as_slice() {
                        [] => {}
                        [id] => return Ok(Written { status: 200, id: Some(id.clone()), etag: None }),
                        _ => return Err(answer("POST", resource_type, 412)),
                    }
                }
            }
        }
        match fault {
            OnCreate::LoseThen(status) => return Err(answer("POST", resource_type, status)),
            OnCreate::Pretend => return Ok(Written { status: 201, id: None, etag: None }),
            OnCreate::Race | OnCreate::RaceUnseen => {
                self.put(self.keep(body));
            }
            OnCreate::StoreThen(status) => {
                self.put(self.keep(body));
                return Err(answer("POST", resource_type, status));
            }
            OnCreate::Normal => {}
        }
        let id = self.put(self.keep(body));
        if fault == OnCreate::RaceUnseen {
            self.state.lock().expect("one thread").unseen.insert(id.clone());
        }
        Ok(Written { status: 201, id: Some(id), etag: Some("W/\"1\"".to_owned()) })
    }

    async fn update(
        &self,
        resource_type: &str,
        id: &str,
        body: &[u8],
        if_match: Option<&str>,
    ) -> Result<Written, ServerError> {
        self.reachable("PUT", resource_type)?;
        let key = (resource_type.to_owned(), id.to_owned());
        let mut state = self.state.lock().expect("one thread");
        state.sent.push((
            "PUT",
            resource_type.to_owned(),
            if_match.map(str::to_owned),
            String::from_utf8_lossy(body).into_owned(),
        ));
        let fault = if state.updates.is_empty() { OnUpdate::Normal } else { state.updates.remove(0) };
        let entry = state.resources.get_mut(&key).ok_or_else(|| answer("PUT", resource_type, 404))?;
        if fault == OnUpdate::Conflict {
            entry.0 += 1;
            entry.1["language"] = Value::String("zh".to_owned());
        }
        if let OnUpdate::LoseThen(status) = fault {
            return Err(answer("PUT", resource_type, status));
        }
        if if_match.is_some_and(|m| m != format!("W/\"{}\"", entry.0)) {
            return Err(answer("PUT", resource_type, 412));
        }
        *entry = (entry.0 + 1, self.keep(body));
        match fault {
            OnUpdate::StoreThen(status) => Err(answer("PUT", resource_type, status)),
            _ => {
                Ok(Written { status: 200, id: Some(id.to_owned()), etag: Some(format!("W/\"{}\"", entry.0)) })
            }
        }
    }
}

/// The caller's memory.
#[derive(Default)]
pub struct Memory(pub Mutex<BTreeMap<(String, String), String>>);

impl KnownIds for Memory {
    fn get(&self, resource_type: &str, key: &str) -> Option<String> {
        self.0.lock().expect("one thread").get(&(resource_type.to_owned(), key.to_owned())).cloned()
    }
    fn set(&self, resource_type: &str, key: &str, id: &str) {
        let key = (resource_type.to_owned(), key.to_owned());
        self.0.lock().expect("one thread").insert(key, id.to_owned());
    }
}
