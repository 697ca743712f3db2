//! The real listener on a real socket, spoken to in bytes.

mod auth;
mod connections;
mod smuggling;

use super::body::{self, BodyLimits};
use super::listener::{self, Limits};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; only a hang comes to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the router behind the listener saw.
#[derive(Clone, Default)]
pub(super) struct Seen {
    /// Paths, in order.
    pub paths: Arc<Mutex<Vec<String>>>,
    pub bodies: Arc<AtomicUsize>,
}

impl Seen {
    fn paths(&self) -> Vec<String> {
        self.paths.lock().expect("not poisoned").clone()
    }
}

pub(super) struct Server {
    pub address: SocketAddr,
    pub seen: Seen,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

/// Notes the request, then reads its body.
async fn take(State(seen): State<Seen>, request: Request) -> Response {
    seen.paths.lock().expect("not poisoned").push(request.uri().path().to_owned());
    let (parts, body) = request.into_parts();
    match body::read(body, &parts.headers, &BodyLimits::default()).await {
        Ok(bytes) => {
            seen.bodies.fetch_add(1, Ordering::Relaxed);
            format!("{} bytes", bytes.len()).into_response()
        }
        Err(error) => (error.status(), [("connection", "close")], error.to_string()).into_response(),
    }
}

/// `/large` answers more than the buffers between hold; `/slow` waits; all else is taken in.
fn router(seen: Seen) -> Router {
    Router::new()
        .route("/large", get(|| async { vec![b'a'; 64 << 20] }))
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                "slow"
            }),
        )
        .fallback(any(take))
        .with_state(seen)
}

pub(super) async fn serve(limits: Limits) -> Server {
    let seen = Seen::default();
    serve_router(router(seen.clone()), seen, limits, None).await
}

pub(super) async fn serve_router(
    router: Router,
    seen: Seen,
    limits: Limits,
    tls: Option<Arc<ServerConfig>>,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let task = tokio::spawn(listener::serve(listener, tls, router, limits, stop.clone()));
    Server { address, seen, stop, task }
}

impl Server {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// Sends bytes and reads until the server closes.
    pub async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may close before it has everything.
        let _ = stream.write_all(bytes).await;
        rest(&mut stream).await
    }
}

/// What comes until the peer closes; a reset closes as well.
pub(super) async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the head of an answer and the body that it announces.
pub(super) async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    loop {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("an answer").expect("an answer");
        bytes.push(byte);
        if bytes.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.expect("a body").expect("a body");
    head + &String::from_utf8_lossy(&body)
}

/// Short enough for tests that wait for them.
pub(super) fn short() -> Limits {
    let short = Duration::from_millis(100);
    Limits { head: short, idle: short, write_stall: short, linger: short, ..Limits::default() }
}
