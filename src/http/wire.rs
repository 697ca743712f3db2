//! A connection's bytes on their way to and from hyper: inbound through the [`Gate`], and with the times
//! noted that the listener's limits are about.
//!
//! What the gate refuses reaches hyper as bytes that no head and no chunk size may hold, and then the
//! end: hyper answers 400, behind the answers to what came before, and closes.

use super::gate::{Gate, Place};
use super::listener::Limits;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Of a head that nobody finishes, or of what stands behind a refused one, this much is read and
/// dropped, so that the answer is not lost to a reset of the connection.
const SWALLOWED_HEAD: u64 = 64 * 1024;

/// When what last happened on a connection. Moments are milliseconds since it began, plus one; 0 is
/// "not now".
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Requests with the router.
    in_hand: AtomicU32,
    moved: AtomicU64,
    /// The first byte of a head that is not whole yet.
    head: AtomicU64,
    /// The peer takes no byte of an answer.
    stalled: AtomicU64,
    /// Everything is sent, and the peer has not closed.
    lingering: AtomicU64,
}

impl Activity {
    pub fn new() -> Activity {
        Activity {
            began: Instant::now(),
            in_hand: AtomicU32::new(0),
            moved: AtomicU64::new(1),
            // A peer that connects has something to say: the first head's time runs at once.
            head: AtomicU64::new(1),
            stalled: AtomicU64::new(0),
            lingering: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).map_or(u64::MAX, |ms| ms + 1)
    }

    /// Which limit is over, if one is.
    pub fn overdue(&self, limits: &Limits) -> Option<&'static str> {
        let now = self.now();
        let over = |since: &AtomicU64, limit: Duration| {
            let since = since.load(Ordering::Relaxed);
            since != 0 && u128::from(now.saturating_sub(since)) >= limit.as_millis()
        };
        if over(&self.stalled, limits.write_stall) {
            return Some("answer-not-read");
        }
        if over(&self.lingering, limits.linger) {
            return Some("not-closed");
        }
        if self.in_hand.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if self.head.load(Ordering::Relaxed) != 0 {
            return over(&self.head, limits.head).then_some("head-too-slow");
        }
        over(&self.moved, limits.idle).then_some("idle")
    }

    /// A request is with the router until what this returns goes.
    pub fn request(self: &Arc<Self>) -> InHand {
        self.in_hand.fetch_add(1, Ordering::Relaxed);
        InHand(Arc::clone(self))
    }

    fn read(&self, place: Place) {
        let now = self.now();
        self.moved.store(now, Ordering::Relaxed);
        match place {
            Place::Head => {
                let _ = self.head.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            }
            Place::Between | Place::Body | Place::Refused => self.head.store(0, Ordering::Relaxed),
        }
    }

    /// Notes whether the peer took something.
    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        if polled.is_pending() {
            if self.stalled.load(Ordering::Relaxed) == 0 {
                self.stalled.store(self.now(), Ordering::Relaxed);
            }
        } else {
            self.stalled.store(0, Ordering::Relaxed);
            self.moved.store(self.now(), Ordering::Relaxed);
        }
        polled
    }
}

pub(super) struct InHand(Arc<Activity>);

impl Drop for InHand {
    fn drop(&mut self) {
        let now = self.0.now();
        self.0.in_hand.fetch_sub(1, Ordering::Relaxed);
        self.0.moved.store(now, Ordering::Relaxed);
        if self.0.head.load(Ordering::Relaxed) != 0 {
            self.0.head.store(now, Ordering::Relaxed);
        }
    }
}

pub(super) struct Wire<T> {
    io: T,
    gate: Gate,
    activity: Arc<Activity>,
    peer: IpAddr,
    /// Still to be handed on in place of what was refused.
    instead: &'static [u8],
    /// Of a request's body, read and dropped together.
    swallow: u64,
    /// Bytes that may still be dropped, once everything is sent.
    left: Option<u64>,
}

impl<T> Wire<T> {
    pub fn new(io: T, activity: Arc<Activity>, peer: IpAddr, limits: &Limits) -> Wire<T> {
        Wire { io, gate: Gate::default(), activity, peer, instead: b"", swallow: limits.swallow, left: None }
    }
}

impl<T> Wire<T> {
    fn put_instead(&mut self, buf: &mut ReadBuf<'_>) {
        let (now, later) = self.instead.split_at(self.instead.len().min(buf.remaining()));
        buf.put_slice(now);
        self.instead = later;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gate.place() == Place::Refused {
            this.put_instead(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        if new.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let verdict = this.gate.pass(new);
        this.activity.read(this.gate.place());
        if let Err((passed, reason)) = verdict {
            let code = reason.code();
            metrics::counter!("trialbridge_http_refused_total", "reason" => code).increment(1);
            tracing::warn!(event = "http.refused", reason = code, peer = %this.peer);
            // At least one byte was refused, so there is room for one: this read is not the end.
            buf.set_filled(before + passed);
            this.instead = this.gate.refused_as();
            this.put_instead(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, buf);
        this.activity.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.activity.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        if polled.is_pending() { this.activity.wrote(polled) } else { polled }
    }

    /// Says that nothing more follows. Where the peer has not finished its request, waits a little for
    /// it to close: a socket that is closed with bytes unread resets the connection, and the peer
    /// would lose the answer that says why.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left.is_none() {
            let polled = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.activity.wrote(polled))?;
            let left = match this.gate.place() {
                Place::Between => return Poll::Ready(Ok(())),
                Place::Body => this.swallow.saturating_sub(this.gate.body_bytes()),
                Place::Head | Place::Refused => SWALLOWED_HEAD,
            };
            this.left = Some(left);
            this.activity.lingering.store(this.activity.now(), Ordering::Relaxed);
        }
        let mut space = [0u8; 8192];
        while let Some(left) = this.left.as_mut().filter(|left| **left > 0) {
            let room = usize::try_from(*left).unwrap_or(usize::MAX).min(space.len());
            let mut buf = ReadBuf::new(&mut space[..room]);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            *left -= buf.filled().len() as u64;
        }
        Poll::Ready(Ok(()))
    }
}
