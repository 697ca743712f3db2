//! The gate in front of the HTTP parser: sees the bytes as they come in and refuses what two readers
//! could understand in two ways, before the parser behind it sees the end of such a head.
//!
//! Pure: bytes in, the first byte that may not pass out. It follows a connection by its own framing of
//! bodies (RFC 9112, 6), through keep-alive and pipelining. Never looks into a body, never keeps more
//! than one unfinished line.
//!
//! Invariant: however the same bytes are divided, the verdict is the same; once refused, always refused.

use memchr::memchr;

/// Bytes of a head, with its request line and line ends.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Headers of a request.
pub const MAX_HEADERS: usize = 100;
/// A chunk's size line with its extensions.
const MAX_CHUNK_LINE: usize = 256;
/// Digits of a chunk's size: up to 4 GiB, which no limit of ours comes near.
const MAX_CHUNK_DIGITS: usize = 8;
/// All trailers of a body.
const MAX_TRAILER_BYTES: usize = 8 * 1024;

/// Why bytes may not pass. The word is fixed, for logs and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    BareLineFeed,
    ControlByte,
    FoldedHeader,
    HeaderName,
    RequestLine,
    ContentLength,
    TransferEncoding,
    LengthAndEncoding,
    TwoHosts,
    HeadTooLarge,
    TooManyHeaders,
    ChunkSize,
    ChunkEnd,
    Trailer,
}

impl Refusal {
    /// Fixed word.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::BareLineFeed => "bare-line-feed",
            Refusal::ControlByte => "control-byte",
            Refusal::FoldedHeader => "folded-header",
            Refusal::HeaderName => "header-name",
            Refusal::RequestLine => "request-line",
            Refusal::ContentLength => "content-length",
            Refusal::TransferEncoding => "transfer-encoding",
            Refusal::LengthAndEncoding => "length-and-encoding",
            Refusal::TwoHosts => "two-hosts",
            Refusal::HeadTooLarge => "head-too-large",
            Refusal::TooManyHeaders => "too-many-headers",
            Refusal::ChunkSize => "chunk-size",
            Refusal::ChunkEnd => "chunk-end",
            Refusal::Trailer => "trailer",
        }
    }
}

/// What a head says of the body behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    /// Bytes of finished lines.
    bytes: usize,
    headers: usize,
    has_request_line: bool,
    is_http_10: bool,
    has_host: bool,
    length: Option<u64>,
    is_chunked: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head(Head),
    /// Body bytes that are still to come.
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    /// Bytes of finished trailer lines.
    Trailers(usize),
    Refused {
        reason: Refusal,
        is_head: bool,
    },
}

/// Where a connection stands between two reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between two requests: not one byte of the next is here.
    Between,
    Head,
    Body,
    Refused,
}

/// Follows the bytes of one connection.
#[derive(Debug)]
pub struct Gate {
    state: State,
    /// The beginning of a line whose end is still to come. Those bytes have passed already.
    line: Vec<u8>,
    /// Bytes behind the head of the request that is coming in.
    body: u64,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { state: State::Head(Head::default()), line: Vec::new(), body: 0 }
    }
}

impl Gate {
    /// Looks at what came in next.
    ///
    /// # Errors
    /// How many of the bytes may pass before the refusal, and its reason. Every later call is refused
    /// at once.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<(), (usize, Refusal)> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.state {
                State::Refused { reason, .. } => return Err((at, *reason)),
                State::Sized(left) | State::ChunkData(left) => {
                    let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    self.body += taken as u64;
                    at += taken;
                    if *left == 0 {
                        self.state = match self.state {
                            State::ChunkData(_) => State::ChunkEnd,
                            _ => State::Head(Head::default()),
                        };
                    }
                }
                _ => match memchr(b'\n', rest) {
                    Some(end) => {
                        let taken = end + 1;
                        let verdict = if self.line.is_empty() {
                            self.finished(&rest[..taken])
                        } else {
                            let mut line = std::mem::take(&mut self.line);
                            line.extend_from_slice(&rest[..taken]);
                            let verdict = self.finished(&line);
                            line.clear();
                            self.line = line;
                            verdict
                        };
                        if let Err(reason) = verdict {
                            return Err((at, self.refuse(reason)));
                        }
                        at += taken;
                    }
                    None => {
                        if let Some(reason) = self.too_long(self.line.len() + rest.len()) {
                            return Err((at, self.refuse(reason)));
                        }
                        self.line.extend_from_slice(rest);
                        at = bytes.len();
                    }
                },
            }
        }
        Ok(())
    }

    pub fn place(&self) -> Place {
        match self.state {
            State::Head(head) if head.bytes == 0 && self.line.is_empty() => Place::Between,
            State::Head(_) => Place::Head,
            State::Refused { .. } => Place::Refused,
            _ => Place::Body,
        }
    }

    /// What to hand on in place of what was refused, before the end of the stream.
    ///
    /// No head holds a NUL, but hyper looks at one that came in parts only once an end follows. In a
    /// body no end may follow: in a chunk extension the NUL alone would not be noticed.
    pub fn refused_as(&self) -> &'static [u8] {
        match self.state {
            State::Refused { is_head: true, .. } => b"\0\r\n\r\n",
            State::Refused { is_head: false, .. } => b"\0",
            _ => b"",
        }
    }

    /// Bytes behind the head of the request that came in last, chunk sizes included.
    pub fn body_bytes(&self) -> u64 {
        self.body
    }

    fn refuse(&mut self, reason: Refusal) -> Refusal {
        let is_head = matches!(self.state, State::Head(_));
        self.state = State::Refused { reason, is_head };
        self.line = Vec::new();
        reason
    }

    /// Is a line of this many bytes, finished or not, already too long?
    fn too_long(&self, line: usize) -> Option<Refusal> {
        match self.state {
            State::Head(head) => (head.bytes + line > MAX_HEAD_BYTES).then_some(Refusal::HeadTooLarge),
            State::ChunkSize => (line > MAX_CHUNK_LINE).then_some(Refusal::ChunkSize),
            State::ChunkEnd => (line > 2).then_some(Refusal::ChunkEnd),
            State::Trailers(bytes) => (bytes + line > MAX_TRAILER_BYTES).then_some(Refusal::Trailer),
            _ => None,
        }
    }

    /// A whole line, with its end.
    fn finished(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if let Some(reason) = self.too_long(line.len()) {
            return Err(reason);
        }
        let Some(text) = line.strip_suffix(b"\r\n") else { return Err(Refusal::BareLineFeed) };
        if has_control_byte(text) {
            return Err(Refusal::ControlByte);
        }
        match self.state {
            State::Head(mut head) => {
                head.bytes += line.len();
                self.state = head.line(text)?;
                if !matches!(self.state, State::Head(head) if head.bytes > 0) {
                    self.body = 0;
                }
            }
            State::ChunkSize => {
                self.body += line.len() as u64;
                self.state = match chunk_size(text)? {
                    0 => State::Trailers(0),
                    size => State::ChunkData(size),
                };
            }
            State::ChunkEnd => {
                self.body += line.len() as u64;
                if !text.is_empty() {
                    return Err(Refusal::ChunkEnd);
                }
                self.state = State::ChunkSize;
            }
            State::Trailers(bytes) => {
                self.body += line.len() as u64;
                if text.is_empty() {
                    self.state = State::Head(Head::default());
                } else {
                    let (name, _) = field(text)?;
                    if Framing::of(name).is_some() {
                        return Err(Refusal::Trailer);
                    }
                    self.state = State::Trailers(bytes + line.len());
                }
            }
            State::Sized(_) | State::ChunkData(_) => {}
            State::Refused { reason, .. } => return Err(reason),
        }
        Ok(())
    }
}

impl Head {
    /// The state after one more line of this head, without its end.
    fn line(mut self, text: &[u8]) -> Result<State, Refusal> {
        if !self.has_request_line {
            // RFC 9112, 2.2: an empty line before the request line is to be ignored.
            if !text.is_empty() {
                self.is_http_10 = request_line(text)?;
                self.has_request_line = true;
            }
            return Ok(State::Head(self));
        }
        if text.is_empty() {
            return self.end();
        }
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(Refusal::TooManyHeaders);
        }
        let (name, value) = field(text)?;
        match Framing::of(name) {
            None => {}
            Some(Framing::Host) if self.has_host => return Err(Refusal::TwoHosts),
            Some(Framing::Host) => self.has_host = true,
            Some(Framing::ContentLength) => {
                let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
                if !digits || self.length.is_some() {
                    return Err(Refusal::ContentLength);
                }
                self.length = Some(value.iter().fold(0, |sum, b| sum * 10 + u64::from(b - b'0')));
            }
            Some(Framing::TransferEncoding) => {
                if self.is_chunked || self.is_http_10 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::TransferEncoding);
                }
                self.is_chunked = true;
            }
        }
        // RFC 9112, 6.1 lets a server take the encoding; whoever stands in front of us may not.
        if self.is_chunked && self.length.is_some() {
            return Err(Refusal::LengthAndEncoding);
        }
        Ok(State::Head(self))
    }

    fn end(self) -> Result<State, Refusal> {
        Ok(match self.length {
            _ if self.is_chunked => State::ChunkSize,
            Some(length) if length > 0 => State::Sized(length),
            _ => State::Head(Head::default()),
        })
    }
}

/// Headers that say where a message ends or for whom it is.
enum Framing {
    Host,
    ContentLength,
    TransferEncoding,
}

impl Framing {
    fn of(name: &[u8]) -> Option<Framing> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => Some(Framing::Host),
            14 if name.eq_ignore_ascii_case(b"content-length") => Some(Framing::ContentLength),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Some(Framing::TransferEncoding),
            _ => None,
        }
    }
}

/// Anything below space but the tab, and DEL. No early end: this way it is done many bytes at a time.
fn has_control_byte(text: &[u8]) -> bool {
    text.iter().fold(false, |found, &b| found | ((b < 0x20) & (b != b'\t')) | (b == 0x7f))
}

/// Is the request line of HTTP/1.0? Only a path (or `*`) may be asked for: an address with a host of its
/// own says a second time for whom the request is, and a tunnel is never opened here.
fn request_line(text: &[u8]) -> Result<bool, Refusal> {
    let mut parts = text.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    let is_path = target.first() == Some(&b'/') || target == b"*";
    if method.is_empty() || !method.iter().copied().all(is_token) || !is_path || target.contains(&b'\t') {
        return Err(Refusal::RequestLine);
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(Refusal::RequestLine),
    }
}

/// Name and trimmed value of a header line.
fn field(text: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(text.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::FoldedHeader);
    }
    let colon = memchr(b':', text).ok_or(Refusal::HeaderName)?;
    let (name, value) = (&text[..colon], &text[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Refusal::HeaderName);
    }
    // Only spaces and tabs are left of what this trims.
    Ok((name, value.trim_ascii()))
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut b = 0;
        while b < 128 {
            table[b] = (b as u8).is_ascii_alphanumeric();
            b += 1;
        }
        let marks = b"!#$%&'*+-.^_`|~";
        let mut i = 0;
        while i < marks.len() {
            table[marks[i] as usize] = true;
            i += 1;
        }
        table
    };
    TOKEN[byte as usize]
}

fn chunk_size(text: &[u8]) -> Result<u64, Refusal> {
    let end = memchr(b';', text).unwrap_or(text.len());
    let digits = &text[..end];
    if digits.is_empty() || digits.len() > MAX_CHUNK_DIGITS {
        return Err(Refusal::ChunkSize);
    }
    digits.iter().try_fold(0u64, |size, &b| {
        let digit = (b as char).to_digit(16).ok_or(Refusal::ChunkSize)?;
        Ok(size * 16 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(bytes: &[u8]) -> Result<Place, Refusal> {
        let mut gate = Gate::default();
        gate.pass(bytes).map_err(|(_, reason)| reason)?;
        Ok(gate.place())
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        use Refusal::*;
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD_BYTES));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        let just = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS));
        let post = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}");
        let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
        let wide = "0".repeat(MAX_CHUNK_LINE);
        for (bytes, expected) in [
            ("".into(), Ok(Place::Between)),
            ("G".into(), Ok(Place::Head)),
            ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".into(), Ok(Place::Between)),
            ("GET / HTTP/1.1\r\nHost: h\r\n\r".into(), Ok(Place::Head)),
            ("GET / HTTP/1.1\r\nHost: h\r\nA: \tb\u{e9}\t c\r\nB:\r\n\r\nGET".into(), Ok(Place::Head)),
            ("GET / HTTP/1.0\r\n\r\n".into(), Ok(Place::Between)),
            ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".into(), Ok(Place::Between)),
            (just, Ok(Place::Between)),
            (post("Content-Length: 3\r\n", "ab"), Ok(Place::Body)),
            (post("Content-Length: 3\r\n", "abc"), Ok(Place::Between)),
            (post("content-length:\t0 \r\n", ""), Ok(Place::Between)),
            (post("Content-Length: 3\r\n", "\n\0\rGET / HTTP/1.1\r\n\r\n"), Ok(Place::Between)),
            (chunked("3\r\nabc\r\n0\r\n\r\n"), Ok(Place::Between)),
            (chunked("3;a=\"b c\"\r\na\n\0\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n"), Ok(Place::Between)),
            (chunked("3\r\nabc\r\n0\r\n"), Ok(Place::Body)),
            (post("Transfer-Encoding: Chunked\r\n", "0\r\n\r\n"), Ok(Place::Between)),
            // HTP-01
            (post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", ""), Err(LengthAndEncoding)),
            (post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", ""), Err(LengthAndEncoding)),
            (post("Content-Length: 4\r\nContent-Length: 5\r\n", ""), Err(ContentLength)),
            (post("Content-Length: 4\r\nContent-Length: 4\r\n", ""), Err(ContentLength)),
            (post("Content-Length: +5\r\n", ""), Err(ContentLength)),
            (post("Content-Length: -5\r\n", ""), Err(ContentLength)),
            (post("Content-Length: 5, 5\r\n", ""), Err(ContentLength)),
            (post("Content-Length: 0x5\r\n", ""), Err(ContentLength)),
            (post("Content-Length: 5 5\r\n", ""), Err(ContentLength)),
            (post("Content-Length:\r\n", ""), Err(ContentLength)),
            (post("Content-Length: 9999999999999999999\r\n", ""), Err(ContentLength)),
            (post("Content-Length : 5\r\n", ""), Err(HeaderName)),
            (post("Transfer-Encoding : chunked\r\n", ""), Err(HeaderName)),
            (post("Transfer-Encoding: chunked, identity\r\n", ""), Err(TransferEncoding)),
            (post("Transfer-Encoding: identity\r\n", ""), Err(TransferEncoding)),
            (post("Transfer-Encoding: gzip, chunked\r\n", ""), Err(TransferEncoding)),
            (post("Transfer-Encoding: \"chunked\"\r\n", ""), Err(TransferEncoding)),
            (post("Transfer-Encoding:\r\n", ""), Err(TransferEncoding)),
            (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ""), Err(TransferEncoding)),
            (post("Transfer-Encoding: \x0bchunked\r\n", ""), Err(ControlByte)),
            (post("Host: h\r\n", ""), Err(TwoHosts)),
            (post("A: b\n", ""), Err(BareLineFeed)),
            ("GET / HTTP/1.1\nHost: h\n\n".into(), Err(BareLineFeed)),
            ("GET / HTTP/1.1\r\nHost: h\r\n\n".into(), Err(BareLineFeed)),
            ("\nGET / HTTP/1.1\r\n".into(), Err(BareLineFeed)),
            (post("A: b\rTransfer-Encoding: chunked\r\n", ""), Err(ControlByte)),
            (post("A: b\r\r\n", ""), Err(ControlByte)),
            (post("A: b\0\r\n", ""), Err(ControlByte)),
            (post("A: b\x7f\r\n", ""), Err(ControlByte)),
            (post("A: b\r\n c\r\n", ""), Err(FoldedHeader)),
            (post("A: b\r\n\tc\r\n", ""), Err(FoldedHeader)),
            ("GET / HTTP/1.1\r\n Host: h\r\n".into(), Err(FoldedHeader)),
            (post("A\r\n", ""), Err(HeaderName)),
            (post(": b\r\n", ""), Err(HeaderName)),
            (post("A(b): c\r\n", ""), Err(HeaderName)),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), Err(TransferEncoding)),
            ("GET / HTTP/1.2\r\n".into(), Err(RequestLine)),
            ("GET / http/1.1\r\n".into(), Err(RequestLine)),
            ("GET /\r\n".into(), Err(RequestLine)),
            ("GET  / HTTP/1.1\r\n".into(), Err(RequestLine)),
            ("GET / HTTP/1.1 \r\n".into(), Err(RequestLine)),
            ("GET http://other/ HTTP/1.1\r\n".into(), Err(RequestLine)),
            ("CONNECT other:443 HTTP/1.1\r\n".into(), Err(RequestLine)),
            ("PRI * HTTP/2.0\r\n".into(), Err(RequestLine)),
            (long, Err(HeadTooLarge)),
            (many, Err(TooManyHeaders)),
            (chunked("3\nabc"), Err(BareLineFeed)),
            (chunked("0x3\r\nabc"), Err(ChunkSize)),
            (chunked("3 \r\nabc"), Err(ChunkSize)),
            (chunked(" 3\r\nabc"), Err(ChunkSize)),
            (chunked("+3\r\nabc"), Err(ChunkSize)),
            (chunked("\r\nabc"), Err(ChunkSize)),
            (chunked("g\r\nabc"), Err(ChunkSize)),
            (chunked("000000003\r\nabc"), Err(ChunkSize)),
            (chunked("ffffffffffffffff\r\nabc"), Err(ChunkSize)),
            (chunked("3;a\nb\r\nabc"), Err(BareLineFeed)),
            (chunked(&wide[..]), Ok(Place::Body)),
            (chunked(&format!("{wide}0")), Err(ChunkSize)),
            (chunked("3\r\nabcd\r\n"), Err(ChunkEnd)),
            (chunked("3\r\nabc\n"), Err(BareLineFeed)),
            (chunked("3\r\nabc0\r\n\r\n"), Err(ChunkEnd)),
            (chunked("0\r\nContent-Length: 3\r\n"), Err(Trailer)),
            (chunked("0\r\n X: y\r\n"), Err(FoldedHeader)),
            (chunked(&format!("0\r\nX: {}", "y".repeat(MAX_TRAILER_BYTES))), Err(Trailer)),
            // Behind a good request.
            (post("Content-Length: 3\r\n", "abcGET / HTTP/1.1\nHost: h\n\n"), Err(BareLineFeed)),
            (chunked("0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n"), Err(TwoHosts)),
        ] {
            let bytes: String = bytes;
            let shown = &bytes[..bytes.len().min(200)];
            assert_eq!(verdict(bytes.as_bytes()), expected, "{shown:?}");
        }
    }

    #[test]
    fn the_end_of_a_refused_head_never_passes() {
        let mut gate = Gate::default();
        let bytes = b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n";
        let (passed, reason) = gate.pass(bytes).expect_err("two hosts");
        assert_eq!((&bytes[..passed], reason), (&b"GET / HTTP/1.1\r\nHost: h\r\n"[..], Refusal::TwoHosts));
        assert_eq!(gate.pass(b"\r\n\r\n"), Err((0, Refusal::TwoHosts)));
        assert_eq!((gate.place(), gate.refused_as()), (Place::Refused, &b"\0\r\n\r\n"[..]));
        let mut gate = Gate::default();
        let bytes = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0;a\n\r\n";
        assert!(gate.refused_as().is_empty() && gate.pass(bytes).is_err());
        assert_eq!(gate.refused_as(), b"\0");
    }

    #[test]
    fn the_bytes_of_a_body_are_counted_for_one_request() {
        let mut gate = Gate::default();
        gate.pass(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n123").expect("good");
        assert_eq!(gate.body_bytes(), 3);
        gate.pass(b"45POST / HTTP/1.1\r\n").expect("good");
        gate.pass(b"Transfer-Encoding: chunked\r\n\r\n2\r\nab").expect("good");
        assert_eq!(gate.body_bytes(), 5);
    }

    /// Pieces that make heads, bodies and near misses likely.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: [&[u8]; 24] = [
            b"GET / HTTP/1.1\r\n",
            b"POST /a HTTP/1.1\r\n",
            b"POST /a HTTP/1.0\r\n",
            b"Host: h\r\n",
            b"Content-Length: 3\r\n",
            b"Content-Length: +3\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: x\r\n",
            b"A: b\r\n",
            b" folded\r\n",
            b"\r\n",
            b"\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"abc",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"0\r\n",
            b"3;x\r\n",
            b"ffffffff\r\n",
            b"X: y\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        ];
        let piece = prop_oneof![
            9 => (0..PIECES.len()).prop_map(|i| PIECES[i].to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
        ];
        let line = Just(b"A: ".repeat(11_000));
        let pieces = proptest::collection::vec(piece, 0..24).prop_map(|p| p.concat());
        (pieces, proptest::option::weighted(0.02, line), any::<prop::sample::Index>()).prop_map(
            |(mut bytes, line, at)| {
                if let Some(line) = line {
                    let at = at.index(bytes.len() + 1);
                    bytes.splice(at..at, line);
                }
                bytes
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn any_division_gives_the_same_verdict(bytes in pieces(), sizes in proptest::collection::vec(1usize..40, 1..40)) {
            let whole = verdict(&bytes);
            let mut gate = Gate::default();
            let mut sizes = sizes.into_iter().cycle();
            let mut rest = &bytes[..];
            let mut divided = Ok(gate.place());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                rest = after;
                match gate.pass(piece) {
                    Ok(()) => divided = Ok(gate.place()),
                    Err((passed, reason)) => {
                        prop_assert!(passed <= piece.len());
                        divided = Err(reason);
                        break;
                    }
                }
            }
            prop_assert_eq!(divided, whole);
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = verdict(&bytes);
        }
    }
}
