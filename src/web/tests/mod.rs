//! The routers as a browser or a monitor meets them: on a port of this machine, over a real store.

mod acting;
mod docs;
mod ops;
mod pages;
mod people;
mod safety;
mod sessions;

use super::*;
use crate::collection::Collection;
use crate::protocol::Trial;
use crate::source::files;
use crate::store::suite::{NOW, PlainChain, decision, incoming, list, request};
use crate::store::{
    AllocationRequest, Check, Drawn, NewAllocationList, NewDecision, NextSlot, SqliteStore, Store,
};
use chrono::{DateTime, NaiveDate};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Stands for an arm wherever one is stored. It must never come out.
const CANARY: &str = "canary-arm-7Q";
const DAY: &str = "2026-11-22";

/// A server with its store.
struct World {
    dir: TempDir,
    store: Arc<SqliteStore>,
    state: WebState,
    client: reqwest::Client,
    clock: people::TestClock,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("a plain header"))
    }

    /// The text between tags, with its spaces settled.
    fn words(&self) -> String {
        let mut words = String::new();
        let mut inside = false;
        for c in self.text.chars() {
            match c {
                '<' => inside = true,
                '>' => {
                    inside = false;
                    words.push(' ');
                }
                c if !inside => words.push(c),
                _ => {}
            }
        }
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).expect("JSON")
    }
}

impl World {
    /// Nobody screened yet.
    fn empty() -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(dir.path(), "trialbridge test", NOW, Arc::new(PlainChain));
        let store = Arc::new(store.expect("opened"));
        let (trial, clock) = (Arc::new(Trial::shipped()), people::TestClock::default());
        let state = WebState {
            store: store.clone(),
            trial: Arc::clone(&trial),
            environment: "DEMO",
            status: Arc::new(Status::new()),
            desk: people::desk(&store, &trial, &clock),
        };
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        World { dir, store, state, client: client.build().expect("a client"), clock }
    }

    /// The six patients of `fixtures/cohort`, screened; one of the eligible is randomized.
    fn cohort() -> World {
        let world = World::empty();
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/cohort");
        let mut collection = Collection::new(&world.state.trial);
        let problems = files::read(&[folder], &mut |bytes, place| collection.add(bytes, place));
        assert_eq!(problems.len(), 0, "{problems:?}");
        world.screen(collection);
        world.randomize(ELIGIBLE[0]);
        world
    }

    /// One document, screened.
    fn with(document: &str) -> World {
        let world = World::empty();
        let mut collection = Collection::new(&world.state.trial);
        collection.add(document.as_bytes(), "test").expect("a document");
        world.screen(collection);
        world
    }

    fn screen(&self, collection: Collection<'_>) {
        let day: NaiveDate = DAY.parse().expect("a day");
        for screening in collection.settle().screen(day) {
            let json = serde_json::to_string(&screening).expect("JSON");
            let new = NewDecision {
                decision: screening.decision.word().into(),
                deciding: screening.deciding.clone(),
                ..self.decided(&screening.subject, &json)
            };
            assert!(self.store.put_decision(new).expect("stored"));
        }
    }

    /// A decision with any JSON.
    fn decided(&self, subject: &str, json: &str) -> NewDecision {
        NewDecision {
            as_of: DAY.into(),
            definition: self.state.trial.hash.clone(),
            deciding: vec![],
            ..decision(subject, json)
        }
    }

    fn randomize(&self, subject: &str) {
        let trial = self.state.trial.study.id.clone();
        if self.store.allocation_list(&trial).expect("read").is_none() {
            let new = NewAllocationList {
                trial: trial.clone(),
                definition: self.state.trial.hash.clone(),
                json: CANARY.into(),
                ..list(9)
            };
            self.store.put_allocation_list(new).expect("a list");
        }
        let check: Check = Box::new(|_, desk| {
            let NextSlot { stratum, position, .. } = desk.slot(0)?;
            let text = || CANARY.to_owned();
            Ok(Drawn { stratum, position, leaf: text(), proof: text(), levels: text() })
        });
        let request = AllocationRequest {
            trial,
            at: crate::pipeline::stamp(self.clock.now()),
            ..request(subject, &format!("key {subject}"))
        };
        self.store.allocate(request, check).expect("allocated");
    }

    async fn serve(router: Router) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    async fn pages(&self) -> SocketAddr {
        World::serve(pages(self.state.clone())).await
    }

    async fn ops(&self) -> SocketAddr {
        World::serve(ops(self.state.clone())).await
    }

    async fn ask(&self, method: Method, at: SocketAddr, path: &str) -> Answer {
        let url = format!("http://{at}{path}");
        let response = self.client.request(method, url).send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("text") }
    }

    async fn get(&self, at: SocketAddr, path: &str) -> Answer {
        self.ask(Method::GET, at, path).await
    }

    /// Makes every read of decisions fail, as a damaged database would.
    fn break_store(&self) {
        let path = self.dir.path().join("trialbridge.db");
        let connection = rusqlite::Connection::open(path).expect("opened");
        connection
            .execute_batch("ALTER TABLE decision RENAME TO gone; ALTER TABLE inbox RENAME TO gone_too;")
            .expect("renamed");
    }
}

/// Of the cohort.
const ELIGIBLE: [&str; 2] = ["Patient/pt-878c3cba2da8", "Patient/pt-d8c578334574"];
const BY_AGE: &str = "Patient/pt-617d20840ced";
const BY_GLUCOCORTICOID: &str = "Patient/pt-de1d94d6becd";
const MUCH_OPEN: &str = "Patient/pt-e0dac3711b52";
const NO_CONSENT: &str = "Patient/pt-e4f5d6254795";

fn address(subject: &str) -> String {
    format!("/subjects/{}", subject.trim_start_matches("Patient/"))
}

/// Sends bytes as they are and returns the answer as it is.
async fn raw(at: SocketAddr, request: &str) -> String {
    let request = request.to_owned();
    let exchange = move || {
        let mut stream = TcpStream::connect(at).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer and the end");
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::task::spawn_blocking(exchange).await.expect("no panic")
}

/// Same-origin addresses that a page links to.
fn links(html: &str) -> Vec<String> {
    html.split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|address| address.starts_with('/'))
        .map(|address| address.replace("&#38;", "&"))
        .collect()
}
