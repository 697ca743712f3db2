//! Hook and watcher against a server that skips, repeats, restarts, falls silent and lies.

mod arriving;
mod recovering;

use super::*;
use crate::client::Clock;
use crate::client::mock::{FakeClock, Mock, Reply, Seen};
use crate::pipeline::stamp;
use crate::store::suite::{PlainChain, audit};
use crate::store::{
    InboxItem, NewSubscription, SqliteStore, Store, Subscription, SubscriptionChange, SubscriptionKind,
    SubscriptionPayload, SubscriptionState,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// The secret of every Subscription here.
const SECRET: [u8; 32] = [7; 32];

/// Counts what it is asked for; fails when told to.
#[derive(Default)]
struct Pulls {
    asked: Mutex<Vec<String>>,
    fails: AtomicBool,
    arrived: AtomicUsize,
}

impl Pull for Arc<Pulls> {
    async fn reconcile(&self, why: &str) -> bool {
        self.asked.lock().expect("asked").push(why.to_owned());
        !self.fails.load(Ordering::SeqCst)
    }
    fn arrived(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
    }
}

/// A hospital's server, our hook for it, and the watcher.
struct World {
    _dir: TempDir,
    server: Mock,
    store: Arc<SqliteStore>,
    clock: Arc<FakeClock>,
    pulls: Arc<Pulls>,
    wake: Arc<Wake>,
    watcher: Watcher<Arc<Pulls>>,
    hook: String,
    http: reqwest::Client,
}

struct Answer {
    status: u16,
    text: String,
    headers: reqwest::header::HeaderMap,
}

impl World {
    async fn new(
        kind: SubscriptionKind,
        answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> World {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let server = Mock::start(answer).await;
        let (client, clock) = server.client_with(|_| {});
        let now = stamp(clock.now());
        let store = SqliteStore::open(dir.path(), "trialbridge test", &now, Arc::new(PlainChain));
        let store = Arc::new(store.expect("opened"));
        let new = NewSubscription {
            id: "s1".into(),
            server: client.base_url().to_owned(),
            kind,
            release: "R4".into(),
            watches: "http://example.org/topic".into(),
            payload: SubscriptionPayload::IdOnly,
            endpoint: "http://127.0.0.1/hook/s1".into(),
            secret_sha256: HookSecret::new(SECRET).sha256,
            heartbeat_seconds: (kind == SubscriptionKind::Topic).then_some(60),
            created_at: now,
        };
        store.put_subscription(new, audit("subscription.create")).expect("stored");
        let posted = SubscriptionChange::Posted { remote_id: "17".into() };
        store.change_subscription("s1", posted, None).expect("posted");
        let (pulls, wake) = (Arc::new(Pulls::default()), Arc::new(Wake::default()));
        // A slow disk is no part of these tests.
        let limits = HookLimits { patience: Duration::from_secs(600), ..HookLimits::default() };
        let hooks = Hooks::new(store.clone(), client.clone(), clock.clone(), wake.clone(), limits);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let hook = format!("http://{}/hook", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router(hooks)).await });
        let types = ["Observation", "Patient"].map(str::to_owned).into();
        let watcher = Watcher::new(
            store.clone(),
            client,
            clock.clone(),
            pulls.clone(),
            wake.clone(),
            Limits::default(),
            types,
        );
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        World { _dir: dir, server, store, clock, pulls, wake, watcher, hook, http }
    }

    async fn topic() -> World {
        World::new(SubscriptionKind::Topic, |_, _| Reply::status(404)).await
    }

    async fn send(&self, method: &str, path: &str, secret: Option<&HookSecret>, body: &str) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}/{path}", self.hook)).body(body.to_owned());
        if let Some(secret) = secret {
            request = request.header("Authorization", secret.header());
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, text: response.text().await.expect("a text"), headers }
    }

    /// With the right secret, to our one hook.
    async fn post(&self, body: &str) -> u16 {
        self.send("POST", "s1", Some(&HookSecret::new(SECRET)), body).await.status
    }

    fn here(&self) -> Subscription {
        self.store.subscription("s1").expect("read").expect("there")
    }

    fn inbox(&self) -> Vec<InboxItem> {
        self.store.pending(100).expect("read")
    }

    async fn later(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn reasons(&self) -> Vec<String> {
        self.pulls.asked.lock().expect("asked").clone()
    }

    fn audited(&self) -> Vec<String> {
        let entries = self.store.audit_entries(1, 1000).expect("read");
        entries.into_iter().map(|e| e.entry.action).collect()
    }
}

/// A notification of the R4 backport. `events`: number and focus.
fn notification(kind: &str, since: u64, events: &[(u64, &str)]) -> String {
    let events: String = events
        .iter()
        .map(|(number, focus)| {
            let focus = match *focus {
                "" => String::new(),
                focus => format!(r#",{{"name":"focus","valueReference":{{"reference":"{focus}"}}}}"#),
            };
            format!(
                r#",{{"name":"notification-event","part":[{{"name":"event-number","valueString":"{number}"}}{focus}]}}"#
            )
        })
        .collect();
    format!(
        r#"{{"resourceType":"Bundle","type":"history","entry":[{{"resource":{{"resourceType":"Parameters","parameter":[
           {{"name":"subscription","valueReference":{{"reference":"Subscription/17"}}}},
           {{"name":"status","valueCode":"active"}},{{"name":"type","valueCode":"{kind}"}},
           {{"name":"events-since-subscription-start","valueString":"{since}"}}{events}]}}}}]}}"#
    )
}

fn event(number: u64) -> String {
    notification("event-notification", number, &[(number, &format!("Observation/o{number}"))])
}

fn resource(resource_type: &str, id: &str) -> String {
    format!(r#"{{"resourceType":"{resource_type}","id":"{id}","meta":{{"versionId":"1"}}}}"#)
}
