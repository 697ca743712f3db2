//! Pushes a second against a route of the same listener that does nothing, in alternating pairs:
//! 64 keep-alive connections, one Observation a request, every one of them another and on disk before its
//! answer, with the pipeline digesting beside it. `cargo bench --bench push`; `-- 30` runs longer.

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use trialbridge::cli::shell::AuditChain;
use trialbridge::config::Push;
use trialbridge::http::listener::{self, Limits};
use trialbridge::pipeline::Pipeline;
use trialbridge::protocol::document::SiteFile;
use trialbridge::protocol::{Definition, Trial};
use trialbridge::source::digest::Digest;
use trialbridge::source::fhir_push::{self, PushState};
use trialbridge::store::{SqliteStore, Store};

const CONNECTIONS: usize = 64;
const PAIRS: usize = 5;

fn observation(n: u64) -> String {
    let (patient, value) = (n % 1000, n % 200);
    format!(
        r#"{{"resourceType":"Observation","id":"o{n}","meta":{{"versionId":"1","lastUpdated":"2026-11-20T08:00:00.000Z"}},"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory","display":"Laboratory"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"1975-2","display":"Bilirubin.total [Mass/volume] in Serum or Plasma"}}],"text":"Total bilirubin"}},"subject":{{"reference":"Patient/p{patient}"}},"effectiveDateTime":"2026-11-20T08:00:00+08:00","issued":"2026-11-20T09:00:00.000Z","valueQuantity":{{"value":{}.{},"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}}}}"#,
        value / 10,
        value % 10
    )
}

/// Requests a second of one path over a while, and how many were answered otherwise than expected.
async fn load(
    address: std::net::SocketAddr,
    path: &str,
    status: &str,
    seconds: u64,
    next: &Arc<AtomicU64>,
) -> (f64, u64) {
    let (done, wrong) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let (done, wrong, next) = (Arc::clone(&done), Arc::clone(&wrong), Arc::clone(next));
        let (path, status) = (path.to_owned(), format!("HTTP/1.1 {status} "));
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let _ = stream.set_nodelay(true);
            let mut answer = vec![0u8; 64 * 1024];
            while Instant::now() < until {
                let body = observation(next.fetch_add(1, Ordering::Relaxed));
                let request = format!(
                    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/fhir+json\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(request.as_bytes()).await.expect("sent");
                let length = answered(&mut stream, &mut answer).await;
                if !answer[..length].starts_with(status.as_bytes()) {
                    wrong.fetch_add(1, Ordering::Relaxed);
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for task in tasks {
        task.await.expect("ran");
    }
    (done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64(), wrong.load(Ordering::Relaxed))
}

/// Reads one answer with a Content-Length.
async fn answered(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let mut length = 0;
    loop {
        let read = stream.read(&mut buffer[length..]).await.expect("an answer");
        assert!(read > 0, "the connection was closed");
        length += read;
        let text = std::str::from_utf8(&buffer[..length]).expect("text");
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let body = text[..end]
            .lines()
            .find_map(|l| l.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")))
            .map_or(0, |(_, n)| n.trim().parse::<usize>().expect("a number"));
        if length >= end + 4 + body {
            return length;
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(5);
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path(), "bench", "2026-11-23T08:00:00.000Z", Arc::new(AuditChain));
    let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
    let trial = Trial::compile(&Definition::shipped(), &SiteFile::demo()).ok().map(Arc::new);
    let trial = trial.expect("the shipped trial");
    let digest = Arc::new(Digest::default());
    let push = Push { max_per_second: 0, ..Push::default() };
    let state = PushState::new(&push, "bench", Arc::clone(&store), Arc::clone(&trial), Arc::clone(&digest));
    let nothing = Router::new().route("/nothing", post(async |_: Bytes| StatusCode::CREATED));
    let router = fhir_push::router(state.expect("a state")).merge(nothing);
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(listener::serve(listener, None, router, Limits::default(), stop.clone()));
    let pipeline = Pipeline::new(Arc::clone(&store), trial);
    let clock = || (chrono::Utc::now(), chrono::Utc::now().date_naive());
    let stopped = stop.clone();
    let task = tokio::spawn(async move { digest.run(pipeline, clock, stopped).await });
    let next = Arc::new(AtomicU64::new(0));
    let mut ratios = Vec::new();
    println!("{:>10} {:>12} {:>8}", "nothing/s", "push/s", "ratio");
    for _ in 0..PAIRS {
        let (idle, _) = load(address, "/nothing", "201", seconds, &next).await;
        let (pushed, wrong) = load(address, "/fhir/Observation", "201", seconds, &next).await;
        assert_eq!(wrong, 0, "pushes that were not stored");
        ratios.push(pushed / idle);
        println!("{idle:>10.0} {pushed:>12.0} {:>8.2}", pushed / idle);
    }
    ratios.sort_by(f64::total_cmp);
    let counts = store.count_by_state().expect("counts");
    println!(
        "median ratio {:.2}; {} messages stored, {} not digested yet",
        ratios[PAIRS / 2],
        counts.total(),
        counts.pending
    );
    stop.cancel();
    let _ = task.await;
}
