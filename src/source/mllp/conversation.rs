//! One connection: a message, its answer, the next message. Ends when the peer is silent for too long,
//! sends what is no frame, or when the listener stops.
//!
//! A peer that breaks the framing gets no answer, because there is no message to answer: what came is
//! put aside and the connection closed, so that its bytes cannot be taken for the start of another.

use super::Settings;
use super::receiver::{Receiver, Reply};
use crate::hl7v2::frame::{FrameCodec, FrameError, Piece};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};
use tokio_util::sync::CancellationToken;

/// How long what is still on its way is read and dropped after a last answer: a connection closed over
/// unread bytes is reset, and the answer lost with it.
const LINGER: Duration = Duration::from_secs(2);

pub struct Conversation {
    pub settings: Arc<Settings>,
    pub receiver: Arc<Receiver>,
    pub stop: CancellationToken,
    pub peer: IpAddr,
}

/// What the stream holds next.
enum Next {
    Message(Bytes),
    /// No frame, with the fixed word that says why.
    Broken(Bytes, &'static str),
    TooLong(Bytes),
    /// Nothing is left over; or the listener stops, and what is not answered is sent again.
    End,
}

impl Conversation {
    /// Shakes hands where TLS is asked for, and talks.
    pub async fn begin(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        // Answers are small and waited for. A failure here costs time, nothing else.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = acceptor else { return self.talk(stream).await };
        let shaken = tokio::select! {
            () = self.stop.cancelled() => return,
            shaken = timeout(self.settings.idle, acceptor.accept(stream)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.talk(stream).await,
            Ok(Err(error)) => {
                tracing::warn!(event = "mllp.tls", peer = %self.peer, %error);
                metrics::counter!("trialbridge_inbound_messages_total",
                    "channel" => "mllp", "kind" => "connection", "outcome" => "tls-refused")
                .increment(1);
            }
            Err(_) => tracing::warn!(event = "mllp.tls", peer = %self.peer, "no handshake in time"),
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(self, mut stream: S) {
        let mut codec = FrameCodec::new(self.settings.limit);
        let mut buffer = BytesMut::new();
        loop {
            let next = self.next(&mut stream, &mut codec, &mut buffer).await;
            let began = Instant::now();
            let (reply, last) = match next {
                Next::Message(bytes) => (self.receiver.receive(bytes, self.peer).await, false),
                Next::TooLong(bytes) => {
                    (self.receiver.too_long(bytes, self.settings.limit, self.peer).await, true)
                }
                Next::Broken(bytes, fault) => {
                    self.receiver.broken(bytes, fault, self.peer).await;
                    (Reply::Silence, true)
                }
                Next::End => break,
            };
            if let Reply::Answer { bytes, code } = reply {
                if let Err(error) = self.write(&mut stream, &bytes).await {
                    tracing::warn!(event = "mllp.write", peer = %self.peer, %error, "an answer was not taken");
                    break;
                }
                metrics::histogram!("trialbridge_inbound_ack_seconds").record(began.elapsed().as_secs_f64());
                metrics::counter!("trialbridge_mllp_ack_total", "code" => code).increment(1);
            }
            if last {
                linger(&mut stream).await;
            }
            // One large message does not keep its room for as long as the connection lives.
            if buffer.is_empty() {
                buffer = BytesMut::new();
            }
            // What waits in the buffer is not answered, and so will be sent again.
            if last || self.stop.is_cancelled() {
                break;
            }
        }
        let _ = timeout(LINGER, stream.shutdown()).await;
    }

    /// Reads until there is something to deal with.
    async fn next<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        codec: &mut FrameCodec,
        buffer: &mut BytesMut,
    ) -> Next {
        let mut whole = None;
        let left_over = loop {
            match codec.decode(buffer) {
                Ok(None) => {}
                piece => return self.found(piece),
            }
            // A frame that trickles is not silent, and must end all the same.
            let now = Instant::now();
            let quiet = now + self.settings.idle;
            let until = match codec.is_inside() || !buffer.is_empty() {
                true => quiet.min(*whole.get_or_insert(now + self.settings.patience)),
                false => quiet,
            };
            let read = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Next::End,
                read = timeout_at(until, stream.read_buf(buffer)) => read,
            };
            match read {
                Ok(Ok(0)) => break codec.decode_eof(buffer),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::info!(event = "mllp.read", peer = %self.peer, %error);
                    break codec.decode_eof(buffer);
                }
                Err(_) => break codec.decode_eof(buffer),
            }
        };
        self.found(left_over)
    }

    fn found(&self, piece: Result<Option<Piece>, FrameError>) -> Next {
        match piece {
            Ok(Some(Piece::Message(bytes))) => Next::Message(bytes),
            Ok(Some(Piece::Broken { bytes, fault })) => Next::Broken(bytes, fault.word()),
            Ok(None) => Next::End,
            Err(FrameError::TooLong { bytes, .. }) => Next::TooLong(bytes),
            Err(FrameError::Io(error)) => {
                tracing::info!(event = "mllp.read", peer = %self.peer, %error);
                Next::End
            }
        }
    }

    async fn write<S: AsyncWrite + Unpin>(&self, stream: &mut S, answer: &[u8]) -> std::io::Result<()> {
        let mut frame = BytesMut::new();
        FrameCodec::default().encode(answer, &mut frame)?;
        let sent = async {
            stream.write_all(&frame).await?;
            stream.flush().await
        };
        timeout(self.settings.patience, sent)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

/// Says that nothing more is coming, and drops what still comes.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let drained = async {
        let _ = stream.shutdown().await;
        let mut dropped = [0; 8192];
        while stream.read(&mut dropped).await.is_ok_and(|n| n > 0) {}
    };
    let _ = timeout(LINGER, drained).await;
}
