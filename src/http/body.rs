//! Reads a request's body whole, within limits of bytes and time, and undoes one layer of gzip.
//!
//! Never makes room for what is only announced, never unpacks beyond the limit to find out that it was
//! one, never repeats a byte of what it read.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, StatusCode};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use std::io::{self, Write};
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

/// Unpacked at a time, before others get their turn: at most a thousand times as much comes out.
const PIECE: usize = 4 * 1024;

#[derive(Clone, Debug)]
pub struct BodyLimits {
    /// Bytes as they are sent.
    pub wire: usize,
    /// Bytes after gzip is undone.
    pub unpacked: usize,
    /// Between two pieces.
    pub idle: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Default for BodyLimits {
    fn default() -> BodyLimits {
        BodyLimits {
            wire: 8 << 20,
            unpacked: 32 << 20,
            idle: Duration::from_secs(30),
            total: Duration::from_secs(120),
        }
    }
}

/// Why a body was not read. After any of these the connection is to be closed: the rest of the body
/// stands on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    #[error("the body has more than {0} bytes, the most that is taken; send it in parts")]
    TooLarge(usize),
    #[error("the body has more than {0} bytes once it is unpacked, the most that is taken; send it in parts")]
    UnpackedTooLarge(usize),
    #[error("the body has a Content-Encoding other than one gzip; send it as it is, or with gzip alone")]
    UnsupportedCoding,
    #[error("the body stopped or took too long; send it again")]
    Timeout,
    #[error("the body is not whole, correct gzip; send it again")]
    BrokenCoding,
    #[error("the body ended early or its framing is broken; send it again")]
    Broken,
}

impl BodyError {
    pub fn status(self) -> StatusCode {
        match self {
            BodyError::TooLarge(_) | BodyError::UnpackedTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::UnsupportedCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
            BodyError::BrokenCoding | BodyError::Broken => StatusCode::BAD_REQUEST,
        }
    }

    /// Fixed word for programs.
    pub fn code(self) -> &'static str {
        match self {
            BodyError::TooLarge(_) => "too-large",
            BodyError::UnpackedTooLarge(_) => "unpacked-too-large",
            BodyError::UnsupportedCoding => "unsupported-coding",
            BodyError::Timeout => "timeout",
            BodyError::BrokenCoding => "broken-coding",
            BodyError::Broken => "broken-body",
        }
    }
}

/// Reads a body to its end.
///
/// # Errors
/// [`BodyError`]; nothing more is read then.
pub async fn read(body: Body, headers: &HeaderMap, limits: &BodyLimits) -> Result<Vec<u8>, BodyError> {
    let read = unpack(body, headers, limits).await;
    if let Err(error) = &read {
        let reason = error.code();
        metrics::counter!("trialbridge_http_refused_total", "reason" => reason).increment(1);
        tracing::warn!(event = "http.body.refused", reason);
    }
    read
}

async fn unpack(mut body: Body, headers: &HeaderMap, limits: &BodyLimits) -> Result<Vec<u8>, BodyError> {
    let is_packed = coding(headers)?;
    let announced = headers.get(CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|n| n > limits.wire as u64) {
        return Err(BodyError::TooLarge(limits.wire));
    }
    let most = if is_packed { limits.unpacked } else { limits.unpacked.min(limits.wire) };
    let mut packed = is_packed.then(|| MultiGzDecoder::new(Bounded::new(most)));
    let mut plain = Vec::new();
    let mut wire = 0usize;
    let end = Instant::now() + limits.total;
    loop {
        let by = end.min(Instant::now() + limits.idle);
        let frame = match timeout_at(by, body.frame()).await {
            Err(_) => return Err(BodyError::Timeout),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers say nothing that is needed here.
        let Ok(data) = frame.into_data() else { continue };
        wire = wire.saturating_add(data.len());
        if wire > limits.wire {
            return Err(BodyError::TooLarge(limits.wire));
        }
        match &mut packed {
            None if wire > most => return Err(BodyError::UnpackedTooLarge(most)),
            None => plain.extend_from_slice(&data),
            Some(decoder) => {
                for piece in data.chunks(PIECE) {
                    let before = decoder.get_ref().bytes.len();
                    decoder.write_all(piece).map_err(|_| broken(decoder.get_ref()))?;
                    if decoder.get_ref().bytes.len() - before > 64 * PIECE {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }
    match packed {
        // An empty body is empty, whatever it says of itself.
        Some(decoder) if wire == 0 => Ok(decoder.get_ref().bytes.clone()),
        Some(mut decoder) => {
            decoder.try_finish().map_err(|_| broken(decoder.get_ref()))?;
            Ok(std::mem::take(&mut decoder.get_mut().bytes))
        }
        None => Ok(plain),
    }
}

/// Is the body packed with gzip? Once, and with nothing else.
fn coding(headers: &HeaderMap) -> Result<bool, BodyError> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    if codings.next().is_some() {
        return Err(BodyError::UnsupportedCoding);
    }
    match coding.as_bytes().trim_ascii() {
        c if c.eq_ignore_ascii_case(b"gzip") || c.eq_ignore_ascii_case(b"x-gzip") => Ok(true),
        c if c.is_empty() || c.eq_ignore_ascii_case(b"identity") => Ok(false),
        _ => Err(BodyError::UnsupportedCoding),
    }
}

fn broken(written: &Bounded) -> BodyError {
    if written.is_full { BodyError::UnpackedTooLarge(written.most) } else { BodyError::BrokenCoding }
}

/// Takes bytes up to a limit, and fails with the first one beyond it.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    is_full: bool,
}

impl Bounded {
    fn new(most: usize) -> Bounded {
        Bounded { bytes: Vec::new(), most, is_full: false }
    }
}

impl Write for Bounded {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if buf.len() > self.most - self.bytes.len() {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // Grown by doubling, which must not pass the limit either.
        if self.bytes.capacity() - self.bytes.len() < buf.len() {
            let wanted = (self.bytes.capacity() * 2).max(self.bytes.len() + buf.len()).min(self.most);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures_util::stream::{self, StreamExt};
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn coded(codings: &[&'static str]) -> HeaderMap {
        let values = codings.iter().map(|coding| (CONTENT_ENCODING, HeaderValue::from_static(coding)));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        headers
    }

    async fn read_small(bytes: Vec<u8>, codings: &[&'static str]) -> Result<Vec<u8>, BodyError> {
        let limits = BodyLimits { wire: 1000, unpacked: 4000, ..BodyLimits::default() };
        let pieces: Vec<Result<Vec<u8>, Infallible>> = bytes.chunks(7).map(|c| Ok(c.to_vec())).collect();
        read(Body::from_stream(stream::iter(pieces)), &coded(codings), &limits).await
    }

    #[tokio::test]
    async fn one_layer_of_gzip_or_none() {
        let text = b"some words, some words, some words".to_vec();
        let packed = gzip(&text);
        let twice = gzip(&packed);
        let members = [gzip(b"one "), gzip(b"two")].concat();
        for (bytes, codings, expected) in [
            (text.clone(), &[][..], Ok(text.clone())),
            (text.clone(), &["identity"], Ok(text.clone())),
            (text.clone(), &[""], Ok(text.clone())),
            (packed.clone(), &["gzip"], Ok(text.clone())),
            (packed.clone(), &["X-Gzip "], Ok(text.clone())),
            (packed.clone(), &[], Ok(packed.clone())),
            (members, &["gzip"], Ok(b"one two".to_vec())),
            (vec![], &["gzip"], Ok(vec![])),
            // What is inside is bytes: a second layer is nobody's business.
            (twice.clone(), &["gzip"], Ok(packed.clone())),
            (twice.clone(), &["gzip, gzip"], Err(BodyError::UnsupportedCoding)),
            (twice, &["gzip", "gzip"], Err(BodyError::UnsupportedCoding)),
            (packed.clone(), &["gzip,identity"], Err(BodyError::UnsupportedCoding)),
            (text.clone(), &["identity", "identity"], Err(BodyError::UnsupportedCoding)),
            (text.clone(), &["br"], Err(BodyError::UnsupportedCoding)),
            (text.clone(), &["zstd"], Err(BodyError::UnsupportedCoding)),
            (text.clone(), &["deflate"], Err(BodyError::UnsupportedCoding)),
            (text, &["gzip"], Err(BodyError::BrokenCoding)),
            ([&packed[..], b"rest"].concat(), &["gzip"], Err(BodyError::BrokenCoding)),
            (vec![b'a'; 1000], &[], Ok(vec![b'a'; 1000])),
            (vec![b'a'; 1001], &[], Err(BodyError::TooLarge(1000))),
            (gzip(&[0; 4000]), &["gzip"], Ok(vec![0; 4000])),
            (gzip(&[0; 4001]), &["gzip"], Err(BodyError::UnpackedTooLarge(4000))),
        ] {
            assert_eq!(read_small(bytes, codings).await, expected, "{codings:?}");
        }
        for end in 1..packed.len() {
            let cut = packed[..end].to_vec();
            assert_eq!(read_small(cut, &["gzip"]).await, Err(BodyError::BrokenCoding), "{end}");
        }
    }

    #[tokio::test]
    async fn a_bomb_is_left_at_the_limit() {
        // PSH-07: 64 MiB of zeros in 65 kB.
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 70_000, "{}", bomb.len());
        let read = read(Body::from(bomb), &coded(&["gzip"]), &BodyLimits::default()).await;
        assert_eq!(read, Err(BodyError::UnpackedTooLarge(32 << 20)));
    }

    #[test]
    fn room_is_never_made_beyond_the_limit() {
        let mut bounded = Bounded::new(100);
        for size in [1, 60, 39] {
            bounded.write_all(&vec![0; size]).expect("within the limit");
            assert!(bounded.bytes.capacity() <= 100);
        }
        assert!(bounded.write_all(&[0]).is_err() && bounded.is_full);
    }

    /// A body that never ends, and how many bytes were taken from it.
    fn endless(piece: usize) -> (Body, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&taken);
        let pieces = stream::repeat(vec![b'a'; piece]).map(move |piece| {
            counted.fetch_add(piece.len(), Ordering::Relaxed);
            Ok::<_, Infallible>(piece)
        });
        (Body::from_stream(pieces), taken)
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_not_read_on() {
        // PSH-06: announced, and not announced.
        let limits = BodyLimits::default();
        let (body, taken) = endless(16 << 10);
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("1073741824"))]);
        assert_eq!(read(body, &headers, &limits).await, Err(BodyError::TooLarge(limits.wire)));
        assert_eq!(taken.load(Ordering::Relaxed), 0);
        let (body, taken) = endless(16 << 10);
        assert_eq!(read(body, &HeaderMap::new(), &limits).await, Err(BodyError::TooLarge(limits.wire)));
        assert!(taken.load(Ordering::Relaxed) <= limits.wire + (64 << 10));
    }

    #[tokio::test]
    async fn a_body_that_stops_or_drips_is_given_up() {
        let [short, long] = [Duration::from_millis(30), Duration::from_secs(600)];
        // In each case only the short limit can end it.
        let limits = BodyLimits { idle: short, total: long, ..BodyLimits::default() };
        let stops = Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>());
        assert_eq!(read(stops, &HeaderMap::new(), &limits).await, Err(BodyError::Timeout));
        let limits = BodyLimits { idle: long, total: short, ..BodyLimits::default() };
        let drips = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, Infallible>(vec![b'a']), ()))
        });
        let read = read(Body::from_stream(drips), &HeaderMap::new(), &limits).await;
        assert_eq!(read, Err(BodyError::Timeout));
    }

    #[test]
    fn every_refusal_has_its_status() {
        for (error, status, code) in [
            (BodyError::TooLarge(1), 413, "too-large"),
            (BodyError::UnpackedTooLarge(1), 413, "unpacked-too-large"),
            (BodyError::UnsupportedCoding, 415, "unsupported-coding"),
            (BodyError::Timeout, 408, "timeout"),
            (BodyError::BrokenCoding, 400, "broken-coding"),
            (BodyError::Broken, 400, "broken-body"),
        ] {
            assert_eq!((error.status().as_u16(), error.code()), (status, code));
        }
    }
}
