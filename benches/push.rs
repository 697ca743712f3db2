//! What receiving costs, in alternating pairs of one run, on a real store in a temporary folder:
//!
//! - pushes a second at 1 and 64 keep-alive connections (one Observation a request, every one another, on
//!   disk before its answer) against a route of the same listener that does nothing, and against a loop
//!   that appends 1 KiB to a file and calls fdatasync; first for the answers alone, then with the
//!   pipeline digesting beside them;
//! - HL7 v2 messages a second over MLLP;
//! - the time from the first byte of a push to the stored decision that it changes;
//! - the same without the network, in stores of 100 and of 10,000 subjects: from the commit of the push on.
//!
//! `cargo bench --bench push`; `-- 10` gives each half of a pair ten seconds, `-- touched` measures the last
//! alone.

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use trialbridge::config::Push;
use trialbridge::http::listener::{self, Limits};
use trialbridge::pipeline::Pipeline;
use trialbridge::protocol::document::SiteFile;
use trialbridge::protocol::{Definition, Trial};
use trialbridge::source::digest::Digest;
use trialbridge::source::fhir_push::{self, PushState};
use trialbridge::source::mllp;
use trialbridge::store::{AuditChain, FileAnchor, Incoming, SqliteStore, Store};

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
    connections: usize,
    path: &str,
    seconds: u64,
    next: &Arc<AtomicU64>,
) -> f64 {
    let status = "201";
    let (done, wrong) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for _ in 0..connections {
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
    assert_eq!(wrong.load(Ordering::Relaxed), 0, "requests that were answered otherwise");
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
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

/// Appends a second, each synced: what the disk gives to one writer that waits for it.
fn synced(folder: &Path, seconds: u64) -> f64 {
    let mut file = File::create(folder.join("appended")).expect("a file");
    let (block, began, mut done) = ([7u8; 1024], Instant::now(), 0u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        file.write_all(&block).expect("written");
        file.sync_data().expect("synced");
        done += 1;
    }
    done as f64 / began.elapsed().as_secs_f64()
}

/// How long this thread group waited for a processor, as a part of the time since the last call.
fn waited(since: &mut (u64, Instant)) -> f64 {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        total += text.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    let part = total.saturating_sub(since.0) as f64 / since.1.elapsed().as_nanos() as f64;
    *since = (total, Instant::now());
    part
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Pairs at one number of connections.
async fn pairs(title: &str, bench: &Bench, connections: usize, seconds: u64) {
    println!("\n{title}, {connections} connections");
    println!(
        "{:>12} {:>10} {:>10} {:>9} {:>9} {:>8}",
        "fdatasync/s", "nothing/s", "push/s", "/fdatas.", "/nothing", "waited"
    );
    let (mut by_disk, mut by_idle) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let folder = bench.folder.path().to_owned();
        let disk = tokio::task::spawn_blocking(move || synced(&folder, seconds)).await.expect("ran");
        let idle = load(bench.address, connections, "/nothing", seconds, &bench.next).await;
        let mut since = (0, Instant::now());
        waited(&mut since);
        let pushed = load(bench.address, connections, "/fhir/Observation", seconds, &bench.next).await;
        let wait = waited(&mut since);
        by_disk.push(pushed / disk);
        by_idle.push(pushed / idle);
        println!(
            "{disk:>12.0} {idle:>10.0} {pushed:>10.0} {:>9.2} {:>9.2} {:>7.0}%",
            pushed / disk,
            pushed / idle,
            wait * 100.0
        );
    }
    println!("{:>34} {:>9.2} {:>9.2}   median", "", median(by_disk), median(by_idle));
}

/// Messages a second over MLLP, one at a time on each connection.
async fn messages(
    address: std::net::SocketAddr,
    connections: usize,
    seconds: u64,
    next: &Arc<AtomicU64>,
) -> f64 {
    let (done, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let until = began + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (done, next) = (Arc::clone(&done), Arc::clone(next));
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let _ = stream.set_nodelay(true);
            let mut answer = vec![0u8; 4096];
            while Instant::now() < until {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let value = n % 200;
                let frame = format!(
                    "\x0bMSH|^~\\&|LIS|LAB|TB|TRIAL|20261120083000+0800||ORU^R01|M{n}|P|2.5\r\
                     PID|||{}^^^HIS^MR\rOBR|1||F{n}|24325-3^LFT^LN|||20261120080000+0800\r\
                     OBX|1|NM|1975-2^Bilirubin^LN||{}.{}|mg/dL^^UCUM|||||F|||20261120080000+0800\r\x1c\r",
                    n % 1000,
                    value / 10,
                    value % 10
                );
                stream.write_all(frame.as_bytes()).await.expect("sent");
                let mut length = 0;
                while !answer[..length].ends_with(b"\x1c\r") {
                    length += stream.read(&mut answer[length..]).await.expect("an answer");
                }
                assert!(answer[..length].windows(7).any(|w| w == b"MSA|AA|"), "a message that was not taken");
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for task in tasks {
        task.await.expect("ran");
    }
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// Milliseconds from a push to the decision that rests on it, on an idle service.
async fn until_decided(bench: &Bench, times: usize) -> Vec<f64> {
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    let mut answer = vec![0u8; 64 * 1024];
    let mut all = Vec::new();
    for n in 0..times {
        let body = observation(5_000_000 + n as u64).replace("Patient/p", "Patient/decided-");
        let subject = body
            .split("\"Patient/")
            .nth(1)
            .and_then(|t| t.split('"').next())
            .map(|id| format!("Patient/{id}"));
        let (subject, id) = (subject.expect("a subject"), format!("Observation/o{}", 5_000_000 + n));
        let request = format!(
            "POST /fhir/Observation HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/fhir+json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("sent");
        answered(&mut stream, &mut answer).await;
        loop {
            let decided = bench.store.latest_decision(&subject).expect("read");
            if decided.is_some_and(|d| d.json.contains(&id)) {
                break;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        all.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    all.sort_by(f64::total_cmp);
    all
}

/// Milliseconds from a push to the decision that rests on it, among so many subjects who are judged already.
/// The order of stores and subjects changes with every push.
fn touched(sizes: [usize; 2], times: usize) -> [Vec<f64>; 2] {
    let clock = || (chrono::Utc::now(), chrono::Utc::now().date_naive());
    let worlds = sizes.map(|subjects| {
        let folder = tempfile::tempdir().expect("a folder");
        let chain = AuditChain::anchored(Arc::new(FileAnchor::new(&folder.path().join("anchor"))));
        let data = folder.path().join("data");
        let store = SqliteStore::open(&data, "bench", "2026-11-23T08:00:00.000Z", Arc::new(chain));
        let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
        let trial = Trial::compile(&Definition::shipped(), &SiteFile::demo()).expect("the shipped trial");
        let pipeline = Pipeline::new(Arc::clone(&store), Arc::new(trial));
        let rows = (0..subjects)
            .map(|n| incoming(observation(n as u64).replace("Patient/p", &format!("Patient/s{n}-"))));
        store.accept_many(rows.collect()).expect("accepted");
        let (now, today) = clock();
        assert_eq!(pipeline.run(now, today).expect("a run").judged, subjects);
        (folder, store, pipeline)
    });
    let mut all = [Vec::new(), Vec::new()];
    for n in 0..times {
        for turn in 0..2 {
            let which = (n + turn) % 2;
            let (_, store, pipeline) = &worlds[which];
            let who = n * 37 % sizes[which];
            let body = observation(7_000_000 + n as u64);
            let stranger = format!("Patient/p{}", (7_000_000 + n) % 1000);
            let body = body.replace(&stranger, &format!("Patient/s{who}-{}", who % 1000));
            let (now, today) = clock();
            let began = Instant::now();
            store.accept(incoming(body)).expect("accepted");
            assert_eq!(pipeline.run(now, today).expect("a run").judged, 1, "one push, one evaluation");
            all[which].push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    all.each_mut().map(|times| {
        times.sort_by(f64::total_cmp);
        std::mem::take(times)
    })
}

fn incoming(body: String) -> Incoming {
    Incoming {
        origin: "push".into(),
        source: "bench".into(),
        media_type: "application/fhir+json".into(),
        bytes: body.into_bytes(),
        received_at: "2026-11-23T08:00:00.000Z".into(),
        key: None,
    }
}

fn print_touched() {
    let sizes = [100, 10_000];
    for (subjects, times) in sizes.iter().zip(touched(sizes, 300)) {
        println!(
            "commit of a push to decision, {subjects:>6} subjects: p50 {:.2} ms, p95 {:.2} ms",
            times[times.len() / 2],
            times[times.len() * 95 / 100]
        );
    }
}

/// A store, and a listener before it.
struct Bench {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    trial: Arc<Trial>,
    digest: Arc<Digest>,
    address: std::net::SocketAddr,
    next: Arc<AtomicU64>,
}

impl Bench {
    async fn new(stop: &CancellationToken) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let chain = AuditChain::anchored(Arc::new(FileAnchor::new(&folder.path().join("anchor"))));
        let store = SqliteStore::open(folder.path(), "bench", "2026-11-23T08:00:00.000Z", Arc::new(chain));
        let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
        let trial = Trial::compile(&Definition::shipped(), &SiteFile::demo()).ok().map(Arc::new);
        let trial = trial.expect("the shipped trial");
        let digest = Arc::new(Digest::default());
        let push = Push { max_per_second: 0, ..Push::default() };
        let state =
            PushState::new(&push, "bench", Arc::clone(&store), Arc::clone(&trial), Arc::clone(&digest));
        let nothing = Router::new().route("/nothing", post(async |_: Bytes| StatusCode::CREATED));
        let router = fhir_push::router(state.expect("a state")).merge(nothing);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(listener::serve(listener, None, router, Limits::default(), stop.clone()));
        Bench { folder, store, trial, digest, address, next: Arc::new(AtomicU64::new(0)) }
    }

    /// Begins to digest what comes in.
    fn digesting(&self, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let pipeline = Pipeline::new(Arc::clone(&self.store), Arc::clone(&self.trial));
        let clock = || (chrono::Utc::now(), chrono::Utc::now().date_naive());
        let (digest, stop) = (Arc::clone(&self.digest), stop.clone());
        tokio::spawn(async move { digest.run(pipeline, clock, stop).await })
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds = std::env::args().find_map(|a| a.parse().ok()).unwrap_or(5);
    print_touched();
    if std::env::args().any(|a| a == "touched") {
        return;
    }
    let stop = CancellationToken::new();

    let bench = Bench::new(&stop).await;
    let task = bench.digesting(&stop);
    let times = until_decided(&bench, 200).await;
    println!(
        "push to decision, idle: p50 {:.1} ms, p95 {:.1} ms, most {:.1} ms",
        times[times.len() / 2],
        times[times.len() * 95 / 100],
        times[times.len() - 1]
    );
    for connections in [1, 64] {
        pairs("digesting beside it", &bench, connections, seconds).await;
    }
    let counts = bench.store.count_by_state().expect("counts");
    println!("{} messages stored, {} not digested yet", counts.total(), counts.pending);
    stop.cancel();
    let _ = task.await;

    let stop = CancellationToken::new();
    let bench = Bench::new(&stop).await;
    for connections in [1, 64] {
        pairs("answers alone", &bench, connections, seconds).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let receiver =
        mllp::Receiver::new(Arc::clone(&bench.store), mllp::Mode::Accept, Arc::clone(&bench.trial));
    let settings = mllp::Settings::default();
    tokio::spawn(mllp::serve(listener, settings, Arc::new(receiver), stop.clone()));
    println!();
    for connections in [1, 16] {
        let rate = messages(address, connections, seconds, &bench.next).await;
        println!("MLLP, {connections:>2} connections: {rate:.0} messages/s, each on disk before its AA");
    }
    stop.cancel();
}
