//! The listener: takes connections, with or without TLS, and serves a router over HTTP/1.1 on them.
//!
//! Whoever is slow, idle or many is cut by the [`Limits`]. Stopping lets requests in hand finish.

use super::strict::Hosts;
use super::wire::{Activity, Wire};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

/// What a listener puts up with. Checked once a second or more often, so a cut may come that much later.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From a head's first byte (for the first one: from the connection) to its end.
    pub head: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
    /// The peer takes no byte of what is sent to it.
    pub write_stall: Duration,
    pub handshake: Duration,
    /// How long requests in hand may take once the listener is told to stop.
    pub drain: Duration,
    /// After an answer to a request that was not read to its end: until the peer closes.
    pub linger: Duration,
    /// Bytes of a body that are taken from the wire, read or dropped, before the connection is closed.
    pub swallow: u64,
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_peer: usize,
    /// Which names in `Host` are served.
    pub hosts: Hosts,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write_stall: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            drain: Duration::from_secs(20),
            linger: Duration::from_secs(2),
            swallow: super::body::BodyLimits::default().wire as u64 + (64 << 10),
            connections: 1024,
            connections_per_peer: 512,
            hosts: Hosts::any(),
        }
    }
}

/// Who is at the other end. In the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// `sha256:` and the hexadecimal digest of the client's certificate, which was checked against the
    /// client authority.
    pub certificate: Option<Arc<str>>,
}

struct Shared {
    limits: Limits,
    tls: Option<TlsAcceptor>,
    service: TowerToHyperService<axum::Router>,
    http: http1::Builder,
    /// Set before `stop` wakes the connections: looking at it costs nothing.
    is_stopping: AtomicBool,
    stop: CancellationToken,
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Serves until `stop` is cancelled and what is in hand then is answered, or the drain limit is over.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: axum::Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    // The times are kept here, with one timer a connection instead of one a request.
    http.header_read_timeout(None).max_buf_size(64 * 1024);
    let shared = Arc::new(Shared {
        limits,
        tls: tls.map(TlsAcceptor::from),
        service: TowerToHyperService::new(router.with_state(())),
        http,
        is_stopping: AtomicBool::new(false),
        stop: CancellationToken::new(),
        peers: Arc::default(),
    });
    let mut connections = JoinSet::new();
    let mut told_full: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                rest_after(&error).await;
                continue;
            }
        };
        let place = match Slot::take(&shared.peers, address.ip(), shared.limits.connections_per_peer) {
            Some(slot) if connections.len() < shared.limits.connections => slot,
            _ => {
                metrics::counter!("trialbridge_http_refused_total", "reason" => "too-many-connections")
                    .increment(1);
                // Once a minute: who opens thousands must not fill the log as well.
                if told_full.is_none_or(|at| at.elapsed() > Duration::from_secs(60)) {
                    told_full = Some(Instant::now());
                    tracing::warn!(event = "http.full", peer = %address.ip(), open = connections.len());
                }
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let _place = place;
            connection(&shared, stream, address).await;
        });
    }
    drop(listener);
    shared.is_stopping.store(true, Ordering::Release);
    shared.stop.cancel();
    let drained = timeout(shared.limits.drain, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(event = "http.drain", open = connections.len(), "cut: the drain limit is over");
        connections.shutdown().await;
    }
}

/// A connection that broke before it was taken concerns nobody else; without file descriptors, trying
/// at once again would only spin.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        tracing::error!(event = "http.accept", %error);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One of the connections that an address may have.
struct Slot {
    peers: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Slot {
    fn take(peers: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr, limit: usize) -> Option<Slot> {
        let mut counts = peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Slot { peers: Arc::clone(peers), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn connection(shared: &Shared, stream: TcpStream, address: SocketAddr) {
    // Answers are written whole; waiting for more to send with them helps nobody.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &shared.tls else {
        return requests(shared, stream, Peer { address, certificate: None }).await;
    };
    let handshake = timeout(shared.limits.handshake, tls.accept(stream));
    let shaken = tokio::select! {
        () = shared.stop.cancelled() => return,
        shaken = handshake => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate = certificate.map(|der| fingerprint(der).into());
            requests(shared, stream, Peer { address, certificate }).await;
        }
        Ok(Err(error)) => tracing::info!(event = "http.tls", peer = %address.ip(), %error),
        Err(_) => {
            tracing::info!(event = "http.tls", peer = %address.ip(), error = "the handshake took too long")
        }
    }
}

fn fingerprint(der: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(der) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

async fn requests<T: AsyncRead + AsyncWrite + Unpin>(shared: &Shared, io: T, peer: Peer) {
    let activity = Arc::new(Activity::new());
    let address = peer.address.ip();
    let wire = Wire::new(io, Arc::clone(&activity), address, &shared.limits);
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let in_hand = activity.request();
        let mut request = request.map(Body::new);
        let answer = if shared.limits.hosts.serves(request.headers()) {
            request.extensions_mut().insert(peer.clone());
            Ok(shared.service.call(request))
        } else {
            Err(super::strict::misdirected())
        };
        async move {
            let answered: Result<Response, std::convert::Infallible> = match answer {
                Ok(answer) => answer.await,
                Err(refused) => Ok(refused.into_response()),
            };
            drop(in_hand);
            answered
        }
    });
    let mut served = pin!(shared.http.serve_connection(TokioIo::new(wire), service));
    let mut stopped = pin!(shared.stop.cancelled());
    let mut looks = interval(look_every(&shared.limits));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_waiting, mut is_draining) = (false, false);
    let cut = poll_fn(|cx| {
        if !is_waiting {
            is_waiting = true;
            // Only so that this task is woken; whether it is time says the flag.
            let _ = stopped.as_mut().poll(cx);
        }
        if !is_draining && shared.is_stopping.load(Ordering::Acquire) {
            is_draining = true;
            served.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = served.as_mut().poll(cx) {
            return Poll::Ready(ended.err().map(|e| Cut::Broken(e.to_string())));
        }
        while looks.poll_tick(cx).is_ready() {
            if let Some(limit) = activity.overdue(&shared.limits) {
                return Poll::Ready(Some(Cut::Limit(limit)));
            }
        }
        Poll::Pending
    });
    match cut.await {
        None => {}
        Some(Cut::Broken(error)) => tracing::debug!(event = "http.broken", peer = %address, error),
        Some(Cut::Limit("idle")) => {}
        Some(Cut::Limit(reason)) => {
            metrics::counter!("trialbridge_http_refused_total", "reason" => reason).increment(1);
            tracing::info!(event = "http.cut", peer = %address, reason);
        }
    }
}

enum Cut {
    Broken(String),
    Limit(&'static str),
}

/// Often enough for the shortest limit.
fn look_every(limits: &Limits) -> Duration {
    let shortest = limits.head.min(limits.idle).min(limits.write_stall).min(limits.linger);
    (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
}
