//! Servers and a clock for tests: on loopback, scripted, with every request written down.

use super::retry::Clock;
use super::{ClientConfig, FhirClient};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Response};
use chrono::{DateTime, TimeZone, Utc};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
    /// Pairs of the query and, for a form, of the body.
    pub params: Vec<(String, String)>,
}

impl Seen {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// `POST /fhir/Observation/_search` and the like.
    pub fn line(&self) -> String {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        format!("{} {}{query}", self.method, self.path)
    }
}

/// `{base}` in a body or header becomes the server's base URL.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Reply {
    pub fn json(body: impl Into<String>) -> Reply {
        Reply {
            status: 200,
            headers: vec![("content-type", "application/fhir+json".into())],
            body: body.into(),
        }
    }

    pub fn status(status: u16) -> Reply {
        Reply {
            status,
            ..Reply::json(
                r#"{"resourceType":"OperationOutcome","issue":[{"code":"not-supported","diagnostics":"canary-p1"}]}"#,
            )
        }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A page of search results. Without `next` it is the last one.
pub(crate) fn page(resources: &[String], next: Option<&str>) -> String {
    let entries: Vec<String> =
        resources.iter().map(|r| format!(r#"{{"resource":{r},"search":{{"mode":"match"}}}}"#)).collect();
    let links = next.map(|n| format!(r#"{{"relation":"next","url":"{n}"}}"#)).unwrap_or_default();
    format!(
        r#"{{"resourceType":"Bundle","type":"searchset","link":[{links}],"entry":[{}]}}"#,
        entries.join(",")
    )
}

pub(crate) fn observation(id: &str, patient: &str) -> String {
    format!(r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/{patient}"}}}}"#)
}

pub(crate) struct Mock {
    pub base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Mock {
    /// `answer` gets the request and how many came before it.
    pub async fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Mock {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let base = format!("http://{}/fhir", listener.local_addr().expect("bound"));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, own_base, answer) = (seen.clone(), base.clone(), Arc::new(answer));
        let app = axum::Router::new().fallback(move |request: Request| {
            let (log, own_base, answer) = (log.clone(), own_base.clone(), answer.clone());
            async move {
                let seen = read(request).await;
                let before = {
                    let mut log = log.lock().expect("log");
                    log.push(seen.clone());
                    log.len() - 1
                };
                let reply = answer(&seen, before);
                let mut response = Response::builder().status(reply.status);
                for (name, value) in &reply.headers {
                    response = response.header(*name, value.replace("{base}", &own_base));
                }
                response.body(Body::from(reply.body.replace("{base}", &own_base))).expect("a response")
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Mock { base, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("log").clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }

    pub fn client(&self) -> FhirClient {
        self.client_with(|_| {}).0
    }

    pub fn client_with(&self, change: impl FnOnce(&mut ClientConfig)) -> (FhirClient, Arc<FakeClock>) {
        client_of(&self.base, change)
    }
}

pub(crate) fn client_of(base: &str, change: impl FnOnce(&mut ClientConfig)) -> (FhirClient, Arc<FakeClock>) {
    let mut config = ClientConfig::new(base);
    change(&mut config);
    let clock = Arc::new(FakeClock::default());
    (FhirClient::with_clock(config, clock.clone()).expect("a loopback base"), clock)
}

async fn read(request: Request) -> Seen {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, 1 << 24).await.expect("a small body");
    let body = String::from_utf8(bytes.to_vec()).expect("text");
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let mut params: Vec<(String, String)> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    if parts.headers.get("content-type").is_some_and(|t| t == "application/x-www-form-urlencoded") {
        params.extend(url::form_urlencoded::parse(body.as_bytes()).into_owned());
    }
    let path = parts.uri.path().to_owned();
    Seen { method: parts.method.to_string(), path, query, headers: parts.headers, body, params }
}

/// What a connection does after the request was read.
#[derive(Clone)]
pub(crate) enum Wire {
    /// These bytes, then the end of the connection.
    Bytes(Vec<u8>),
    /// The end of the connection, with the request unread: a reset.
    Reset,
    /// These bytes, then silence.
    Stall(Vec<u8>),
}

/// A server that speaks bytes. Each connection takes the next script, the last one for ever.
pub(crate) async fn raw_server(script: Vec<Wire>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let base = format!("http://{}/fhir", listener.local_addr().expect("bound"));
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let n = counter.fetch_add(1, Ordering::SeqCst);
            let wire = script[n.min(script.len() - 1)].clone();
            tokio::spawn(async move {
                match wire {
                    Wire::Reset => {
                        // Closing with unread bytes in the buffer sends RST.
                        let _ = stream.readable().await;
                    }
                    Wire::Bytes(bytes) => {
                        read_request(&stream).await;
                        write_all(&stream, &bytes).await;
                    }
                    Wire::Stall(bytes) => {
                        read_request(&stream).await;
                        write_all(&stream, &bytes).await;
                        std::future::pending::<()>().await;
                    }
                }
            });
        }
    });
    (base, count)
}

async fn read_request(stream: &tokio::net::TcpStream) {
    let mut all = Vec::new();
    loop {
        let _ = stream.readable().await;
        let mut part = [0u8; 4096];
        match stream.try_read(&mut part) {
            Ok(0) => return,
            Ok(n) => all.extend_from_slice(&part[..n]),
            Err(_) => continue,
        }
        let text = String::from_utf8_lossy(&all).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length:"))
                .and_then(|v| v.trim().parse::<usize>().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return;
            }
        }
    }
}

async fn write_all(stream: &tokio::net::TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let _ = stream.writable().await;
        match stream.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// A listener that nobody should reach.
pub(crate) struct Trap {
    pub port: u16,
    listener: std::net::TcpListener,
}

impl Trap {
    pub fn set() -> Trap {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        listener.set_nonblocking(true).expect("non-blocking");
        Trap { port: listener.local_addr().expect("bound").port(), listener }
    }

    /// Whether anybody connected. The kernel queues connections, so none is missed.
    pub fn sprung(&self) -> bool {
        self.listener.accept().is_ok()
    }
}

/// A clock on which sleeping takes no time and moves the hands.
pub(crate) struct FakeClock {
    now: Mutex<DateTime<Utc>>,
    slept: Mutex<Vec<Duration>>,
}

impl Default for FakeClock {
    fn default() -> FakeClock {
        let start = Utc.with_ymd_and_hms(2026, 11, 22, 2, 0, 0).single().expect("a time");
        FakeClock { now: Mutex::new(start), slept: Mutex::default() }
    }
}

impl FakeClock {
    pub fn slept(&self) -> Vec<Duration> {
        self.slept.lock().expect("slept").clone()
    }
}

impl Clock for FakeClock {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().expect("now")
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.slept.lock().expect("slept").push(duration);
        *self.now.lock().expect("now") += duration;
        Box::pin(tokio::task::yield_now())
    }

    fn fraction(&self) -> f64 {
        0.0
    }
}
