//! The listener on a port of this machine, over a real store.

mod answers;
mod connections;
mod frames;

use super::*;
use crate::hl7v2::frame::{FrameCodec, Piece};
use crate::protocol::Trial;
use crate::store::suite::{NOW, PlainChain};
use crate::store::{InboxItem, InboxState, SqliteStore, Store};
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

/// Nothing here waits this long unless something is wrong.
const LONG: Duration = Duration::from_secs(60);

/// A message whose fields can be replaced.
const GOOD: &str = "MSH|^~\\&|LAB|HOSP|TB|TRIAL|20261122101400+0800||ORU^R01^ORU_R01|ID7|P|2.5.1||||||UNICODE UTF-8\r\
                    PID|1||7^^^HOSP^MR\rOBR|1|P1|F1|24325-3^^LN|||20261122073000+0800\r\
                    OBX|1|NM|1742-6^^LN||64|U/L^^UCUM|||||F\r";

/// `GOOD` with one text in place of another.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

/// The shipped trial, at a site whose messages are UTF-8 where they do not say it.
fn trial() -> Arc<Trial> {
    Arc::new(Trial::shipped())
}

/// A store in a folder that goes with it.
struct Shelf {
    _dir: TempDir,
    store: Arc<SqliteStore>,
}

impl Shelf {
    fn new() -> Shelf {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(dir.path(), "trialbridge test", NOW, Arc::new(PlainChain));
        Shelf { _dir: dir, store: Arc::new(store.expect("opened")) }
    }

    fn receiver(&self, mode: Mode) -> Arc<Receiver> {
        Arc::new(Receiver::new(self.store.clone(), mode, trial()))
    }

    /// Every inbox row, oldest first.
    fn inbox(&self) -> Vec<InboxItem> {
        let total = self.store.count_by_state().expect("counted").total();
        (1..=total).map(|seq| self.store.inbox_item(seq).expect("there")).collect()
    }

    fn pending(&self) -> usize {
        self.inbox().iter().filter(|i| i.state == InboxState::Pending).count()
    }

    fn quarantine_reasons(&self) -> Vec<String> {
        let list = self.store.quarantine_list(None, 100).expect("listed");
        list.into_iter().map(|q| q.reason).collect()
    }
}

/// A running listener.
struct Running {
    at: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(settings: Settings, receiver: Arc<Receiver>) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, settings, receiver, stop.clone()));
        Running { at, stop, task }
    }

    async fn connect(&self) -> Client<TcpStream> {
        Client::of(TcpStream::connect(self.at).await.expect("connected"))
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(LONG, self.task).await.expect("it stops").expect("without a panic");
    }
}

/// A sender.
struct Client<S> {
    stream: S,
    codec: FrameCodec,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn of(stream: S) -> Client<S> {
        Client { stream, codec: FrameCodec::default(), buffer: BytesMut::new() }
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
        self.stream.flush().await.expect("written");
    }

    /// The next answer; none if the connection was closed first, in whatever way.
    async fn answer(&mut self) -> Option<String> {
        loop {
            if let Some(Piece::Message(bytes)) = self.codec.decode(&mut self.buffer).expect("a frame") {
                return Some(String::from_utf8(bytes.to_vec()).expect("UTF-8"));
            }
            let read = tokio::time::timeout(LONG, self.stream.read_buf(&mut self.buffer)).await;
            match read.expect("an answer or an end") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn ask(&mut self, message: &[u8]) -> Option<String> {
        self.write(&frame(message)).await;
        self.answer().await
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    [b"\x0b", message, b"\x1c\r"].concat()
}

/// `AA ID7`, or `AE ID7 205 MSH^1^10`: what matters of an answer.
fn essence(answer: &str) -> String {
    let separator = answer.strip_prefix("MSH").and_then(|r| r.chars().next()).expect("an MSH");
    let fields = |name: &str| {
        let line = answer.split('\r').find(|l| l.starts_with(name))?;
        Some(line.split(separator).collect::<Vec<_>>())
    };
    let msa = fields("MSA").expect("an MSA");
    let mut text = format!("{} {}", msa[1], msa.get(2).unwrap_or(&"")).trim_end().to_owned();
    if let Some(err) = fields("ERR") {
        let code = err[3].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        text += &format!(" {code} {}", err[2]);
    }
    text.trim_end().to_owned()
}

/// Settings in which silence is short.
fn impatient() -> Settings {
    Settings { idle: Duration::from_millis(200), ..Settings::default() }
}
