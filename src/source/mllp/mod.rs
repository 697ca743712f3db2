//! HL7 v2 over MLLP: listens, lets in whom it may, and answers each message once it is on disk.
//!
//! Nothing is answered positively that is not in the inbox. One message of a connection is in hand at a
//! time; what follows waits in the network. A peer that misbehaves loses its own connection and nothing
//! else. Logs name addresses, fixed words and places, never what a message says.

mod conversation;
mod door;
mod receiver;
#[cfg(test)]
mod tests;
mod verdict;

pub use receiver::{Inbox, Receiver, Reply};
pub use verdict::Mode;

use crate::config::Mllp;
use crate::hl7v2::frame;
use crate::http::tls;
use door::Door;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

/// Connections of one address at a time.
pub const PER_PEER: usize = 20;

type LetsIn = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// How the listener behaves.
#[derive(Clone)]
pub struct Settings {
    /// Whether a peer may connect at all.
    pub lets_in: LetsIn,
    /// None: plain TCP.
    pub tls: Option<Arc<ServerConfig>>,
    /// Of all peers together.
    pub max_connections: usize,
    pub per_peer: usize,
    /// Longest message, in bytes.
    pub limit: usize,
    /// How long a connection may say nothing.
    pub idle: Duration,
    /// How long a frame may take from its first byte to its last, and an answer to be taken.
    pub patience: Duration,
    /// How long messages in hand may take once the listener is told to stop.
    pub drain: Duration,
}

impl Default for Settings {
    /// This machine only, without TLS.
    fn default() -> Settings {
        Settings {
            lets_in: Arc::new(|peer| peer.to_canonical().is_loopback()),
            tls: None,
            max_connections: Mllp::default().max_connections,
            per_peer: PER_PEER,
            limit: frame::LIMIT,
            idle: Duration::from_secs(60),
            patience: Duration::from_secs(120),
            drain: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Reads the files that the configuration names.
    ///
    /// # Errors
    /// A sentence that names the key or file and what is wrong with it.
    pub fn read(config: &Mllp) -> Result<Settings, String> {
        let tls = match (&config.tls_cert_file, &config.tls_key_file) {
            (Some(cert), Some(key)) => Some(
                tls::server_config(cert, key, config.client_ca_file.as_deref())
                    .map_err(|e| format!("[mllp]: {e}"))?,
            ),
            _ => None,
        };
        let rule = config.clone();
        Ok(Settings {
            lets_in: Arc::new(move |peer| rule.lets_in(peer)),
            tls,
            max_connections: config.max_connections,
            ..Settings::default()
        })
    }
}

/// Binds the configured address; `None` where none is configured.
///
/// # Errors
/// A sentence that names the key: the address is taken, or other machines reach it and nothing says who
/// may send.
pub async fn bind(config: &Mllp) -> Result<Option<(TcpListener, Settings)>, String> {
    let Some(listen) = &config.listen else { return Ok(None) };
    let settings = Settings::read(config)?;
    let place = |e| format!("mllp.listen {listen}: {e}");
    let listener = TcpListener::bind(listen).await.map_err(place)?;
    config.is_guarded(listener.local_addr().map_err(place)?)?;
    Ok(Some((listener, settings)))
}

/// Takes messages in until the token is cancelled; then finishes what is in hand, within the drain
/// limit, and returns.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    receiver: Arc<Receiver>,
    stop: CancellationToken,
) {
    let door = Arc::new(Door::new(settings.max_connections, settings.per_peer));
    let acceptor = settings.tls.clone().map(TlsAcceptor::from);
    let settings = Arc::new(settings);
    let limit = settings.drain;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            // Those that have ended are let go, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptors left, as a rule: they come back when connections end.
                tracing::warn!(event = "mllp.accept", %error);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let peer = peer.ip().to_canonical();
        let pass = if (settings.lets_in)(peer) { door.enter(peer) } else { Err("peer-not-allowed") };
        match pass {
            Ok(pass) => {
                let talk = conversation::Conversation {
                    settings: Arc::clone(&settings),
                    receiver: Arc::clone(&receiver),
                    stop: stop.clone(),
                    peer,
                };
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let _pass = pass;
                    talk.begin(stream, acceptor).await;
                });
            }
            Err(reason) => {
                tracing::warn!(event = "mllp.refused", %peer, reason);
                metrics::counter!("trialbridge_inbound_messages_total",
                    "channel" => "mllp", "kind" => "connection", "outcome" => reason)
                .increment(1);
            }
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limit, ended).await.is_err() {
        // A message in hand is either committed, and will be recognised when it is sent again, or not.
        tracing::warn!(event = "mllp.stop", "connections did not end in time; they are closed unanswered");
    }
}
