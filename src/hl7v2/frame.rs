//! The frames of MLLP: 0x0B, a message, 0x1C 0x0D. Finds them in a stream however it was divided.
//!
//! What is no frame is never dropped and never taken for a message: it is handed out with its bytes, so
//! that whoever reads the stream can put it aside. At most one frame of the limit's size is held.
//!
//! # Source
//! HL7 v2 Transport Specification: MLLP, Release 1, 2.3.1: `Block-Format: <SB> dddd <EB><CR>`.

use std::fmt;
use std::io;
use tokio_util::bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Start block, 0x0B.
pub const START: u8 = 0x0B;
/// End block, 0x1C; a carriage return follows.
pub const END: u8 = 0x1C;
const CR: u8 = 0x0D;

/// Longest message that is taken, in bytes.
pub const LIMIT: usize = 8 * 1024 * 1024;

/// What stands in the stream next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The bytes between start and end.
    Message(Bytes),
    /// Bytes that make no frame, with the control bytes among them.
    Broken { bytes: Bytes, fault: Fault },
}

/// Why bytes make no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They stand before a start block, or the stream ended without one.
    Outside,
    /// A second start block came before the end of the first one.
    StartInside,
    /// After the end block stands something else than a carriage return.
    EndWithoutReturn,
    /// The stream ended first.
    NoEnd,
}

impl Fault {
    /// Fixed word for logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Outside => "outside-frame",
            Fault::StartInside => "start-inside-frame",
            Fault::EndWithoutReturn => "end-without-return",
            Fault::NoEnd => "frame-without-end",
        }
    }
}

/// Why a stream cannot be read any further.
#[derive(Debug)]
pub enum FrameError {
    /// More than the limit came without an end. What came up to there, start block included.
    TooLong {
        bytes: Bytes,
        limit: usize,
    },
    Io(io::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { limit, .. } => {
                write!(f, "too-long: {limit} bytes came without the end of a frame")
            }
            FrameError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> FrameError {
        FrameError::Io(error)
    }
}

/// Reads and writes frames.
#[derive(Clone, Debug)]
pub struct FrameCodec {
    limit: usize,
    /// A start block is the first byte of the buffer.
    inside: bool,
    /// Bytes of the buffer that were looked at and hold nothing of interest.
    seen: usize,
}

impl Default for FrameCodec {
    fn default() -> FrameCodec {
        FrameCodec::new(LIMIT)
    }
}

impl FrameCodec {
    /// `limit`: longest message, in bytes.
    pub fn new(limit: usize) -> FrameCodec {
        FrameCodec { limit, inside: false, seen: 0 }
    }

    /// Has a frame begun whose end is still to come?
    pub fn is_inside(&self) -> bool {
        self.inside
    }

    /// Nothing is inside a frame any more; the buffer begins with bytes not looked at.
    fn outside(&mut self) {
        self.inside = false;
        self.seen = 0;
    }

    fn too_long(&mut self, source: &mut BytesMut) -> FrameError {
        let held = self.limit + usize::from(self.inside);
        let bytes = source.split_to(held.min(source.len())).freeze();
        source.clear();
        self.outside();
        FrameError::TooLong { bytes, limit: self.limit }
    }

    /// Looks for a start block. Line breaks between frames are nothing: some senders write them.
    fn before(&mut self, source: &mut BytesMut) -> Result<Option<Piece>, FrameError> {
        if self.seen == 0 {
            let breaks = source.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
            source.advance(breaks);
        }
        let found = memchr::memchr(START, source.get(self.seen..).unwrap_or_default());
        let at = found.map_or(source.len(), |at| self.seen + at);
        if at > self.limit {
            return Err(self.too_long(source));
        }
        if found.is_none() {
            self.seen = at;
            return Ok(None);
        }
        let bytes = source.split_to(at).freeze();
        (self.inside, self.seen) = (true, 1);
        Ok((!bytes.is_empty()).then_some(Piece::Broken { bytes, fault: Fault::Outside }))
    }

    /// Looks for the end of the frame that has begun.
    fn within(&mut self, source: &mut BytesMut) -> Result<Option<Piece>, FrameError> {
        let found = memchr::memchr2(START, END, source.get(self.seen..).unwrap_or_default());
        let at = found.map_or(source.len(), |at| self.seen + at);
        // The start block is not counted.
        if at > self.limit + 1 {
            return Err(self.too_long(source));
        }
        self.seen = at;
        if found.is_none() {
            return Ok(None);
        }
        if source.get(at) == Some(&START) {
            let bytes = source.split_to(at).freeze();
            self.seen = 1;
            return Ok(Some(Piece::Broken { bytes, fault: Fault::StartInside }));
        }
        match source.get(at + 1) {
            // The carriage return is still to come.
            None => Ok(None),
            Some(&CR) => {
                let mut message = source.split_to(at);
                message.advance(1);
                source.advance(2);
                self.outside();
                Ok(Some(Piece::Message(message.freeze())))
            }
            Some(_) => {
                let bytes = source.split_to(at + 1).freeze();
                self.outside();
                Ok(Some(Piece::Broken { bytes, fault: Fault::EndWithoutReturn }))
            }
        }
    }
}

impl Decoder for FrameCodec {
    type Item = Piece;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Piece>, FrameError> {
        if !self.inside {
            match self.before(source)? {
                None if self.inside => {}
                other => return Ok(other),
            }
        }
        self.within(source)
    }

    /// The stream has ended: what is left over is handed out as broken.
    fn decode_eof(&mut self, source: &mut BytesMut) -> Result<Option<Piece>, FrameError> {
        if let Some(piece) = self.decode(source)? {
            return Ok(Some(piece));
        }
        let fault = if self.inside { Fault::NoEnd } else { Fault::Outside };
        self.outside();
        let bytes = source.split().freeze();
        Ok((!bytes.is_empty()).then_some(Piece::Broken { bytes, fault }))
    }
}

impl Encoder<&[u8]> for FrameCodec {
    type Error = io::Error;

    /// Refuses a message that holds a control byte of the protocol: its frame could not be read back.
    fn encode(&mut self, message: &[u8], to: &mut BytesMut) -> Result<(), io::Error> {
        if memchr::memchr2(START, END, message).is_some() {
            let text = "the message holds a byte that begins or ends a frame";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        to.reserve(message.len() + 3);
        to.extend_from_slice(&[START]);
        to.extend_from_slice(message);
        to.extend_from_slice(&[END, CR]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: usize = 8;

    /// Pieces as text, so that a table can be read: `=` a message, the fault's word before the rest.
    fn read(limit: usize, parts: &[&[u8]]) -> Vec<String> {
        let (mut codec, mut buffer, mut found) = (FrameCodec::new(limit), BytesMut::new(), Vec::new());
        let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let mut take = |result: Result<Option<Piece>, FrameError>| match result {
            Ok(Some(Piece::Message(bytes))) => {
                found.push(format!("={}", show(&bytes)));
                Some(true)
            }
            Ok(Some(Piece::Broken { bytes, fault })) => {
                found.push(format!("{} {}", fault.word(), show(&bytes)));
                Some(true)
            }
            Ok(None) => Some(false),
            Err(FrameError::TooLong { bytes, .. }) => {
                found.push(format!("too-long {}", show(&bytes)));
                None
            }
            Err(FrameError::Io(error)) => panic!("{error}"),
        };
        for part in parts {
            buffer.extend_from_slice(part);
            loop {
                match take(codec.decode(&mut buffer)) {
                    Some(true) => {}
                    Some(false) => break,
                    // After a frame that is too long a stream is read no further.
                    None => return found,
                }
            }
        }
        while take(codec.decode_eof(&mut buffer)) == Some(true) {}
        found
    }

    #[test]
    fn a_stream_is_taken_apart_the_same_however_it_was_divided() {
        #[rustfmt::skip]
        let table: &[(&str, &[u8], &[&str])] = &[
            ("nothing",                 b"",                          &[]),
            ("one frame",               b"\x0bMSH\x1c\r",             &["=MSH"]),
            ("two in one read",         b"\x0bA\x1c\r\x0bB\x1c\r",    &["=A", "=B"]),
            ("an empty frame",          b"\x0b\x1c\r",                &["="]),
            ("segments",                b"\x0bA\rB\r\x1c\r",          &["=A\\rB\\r"]),
            ("breaks between",          b"\r\n\x0bA\x1c\r\n\x0bB\x1c\r\r\n", &["=A", "=B"]),
            ("bytes before the start",  b"GET /\x0bA\x1c\r",          &["outside-frame GET /", "=A"]),
            ("a break, bytes, start",   b"\r\nxy\r\x0bA\x1c\r",       &["outside-frame xy\\r", "=A"]),
            ("never a start",           b"MSH|^~\\",                  &["outside-frame MSH|^~\\\\"]),
            ("never an end",            b"\x0bMSH|",                  &["frame-without-end \\x0bMSH|"]),
            ("only a start",            b"\x0b",                      &["frame-without-end \\x0b"]),
            ("end, no return, nothing", b"\x0bA\x1c",                 &["frame-without-end \\x0bA\\x1c"]),
            ("end, no return, start",   b"\x0bA\x1c\x0bB\x1c\r",      &["end-without-return \\x0bA\\x1c", "=B"]),
            ("end, no return, bytes",   b"\x0bA\x1cx\r\x0bB\x1c\r",   &["end-without-return \\x0bA\\x1c", "outside-frame x\\r", "=B"]),
            ("a start inside",          b"\x0bA\x0bB\x1c\r",          &["start-inside-frame \\x0bA", "=B"]),
            ("the limit",               b"\x0b12345678\x1c\r",        &["=12345678"]),
            ("more than the limit",     b"\x0b123456789\x1c\r\x0bA\x1c\r", &["too-long \\x0b12345678"]),
            ("more, and no end",        b"\x0b1234567890123456",      &["too-long \\x0b12345678"]),
            ("more outside",            b"1234567890\x0bA\x1c\r",     &["too-long 12345678"]),
        ];
        for (name, bytes, expected) in table {
            assert_eq!(&read(SMALL, &[bytes]), expected, "{name}, in one read");
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(&read(SMALL, &single), expected, "{name}, byte by byte");
        }
    }

    #[test]
    fn what_was_written_is_read_and_no_frame_can_hold_the_signs_of_another() {
        let mut buffer = BytesMut::new();
        FrameCodec::default().encode(b"MSH|^~\\&|\r".as_slice(), &mut buffer).expect("written");
        assert_eq!(&buffer[..], b"\x0bMSH|^~\\&|\r\x1c\r");
        for bad in [b"a\x0bb".as_slice(), b"a\x1cb"] {
            let error = FrameCodec::default().encode(bad, &mut BytesMut::new()).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn what_never_ends_is_not_held_beyond_the_limit() {
        let (mut codec, mut buffer) = (FrameCodec::new(1000), BytesMut::new());
        let mut most = 0;
        let error = loop {
            buffer.extend_from_slice(if most == 0 { b"\x0b12345" } else { b"1234567" });
            most = most.max(buffer.len());
            match codec.decode(&mut buffer) {
                Ok(None) => {}
                Ok(Some(piece)) => panic!("{piece:?}"),
                Err(error) => break error,
            }
        };
        assert!(most <= 1001 + 7, "{most}");
        assert!(matches!(&error, FrameError::TooLong { bytes, limit: 1000 } if bytes.len() == 1001));
        assert_eq!(error.to_string(), "too-long: 1000 bytes came without the end of a frame");
        assert!(buffer.is_empty());
    }

    fn divided<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        at.sort_unstable();
        at.insert(0, 0);
        at.push(bytes.len());
        at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
    }

    /// Bytes in which the protocol's own are frequent.
    fn wild() -> impl Strategy<Value = Vec<u8>> {
        let byte =
            prop_oneof![2 => Just(START), 2 => Just(END), 2 => Just(CR), 1 => Just(b'\n'), 5 => any::<u8>()];
        prop::collection::vec(byte, 0..60)
    }

    proptest! {
        #[test]
        fn any_division_of_any_frames_gives_the_same_frames(
            messages in prop::collection::vec(prop::collection::vec(
                any::<u8>().prop_filter("no control byte", |b| *b != START && *b != END), 0..40), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut stream = BytesMut::new();
            for message in &messages {
                FrameCodec::default().encode(message.as_slice(), &mut stream).expect("written");
            }
            let expected: Vec<String> = messages.iter().map(|m| format!("={}", m.escape_ascii())).collect();
            prop_assert_eq!(read(LIMIT, &divided(&stream, &cuts)), expected);
        }

        #[test]
        fn any_division_of_any_bytes_gives_the_same_pieces_and_loses_none(
            bytes in wild(),
            limit in 0usize..20,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            prop_assert_eq!(read(limit, &divided(&bytes, &cuts)), read(limit, &[&bytes]));
            // With room enough every byte is in a piece, but for line breaks between frames and the
            // signs of whole frames.
            let (mut codec, mut buffer) = (FrameCodec::new(LIMIT), BytesMut::from(bytes.as_slice()));
            let mut again = Vec::new();
            while let Some(piece) = codec.decode_eof(&mut buffer).expect("room enough") {
                match piece {
                    Piece::Message(m) => { again.push(START); again.extend(m); again.extend([END, CR]); }
                    Piece::Broken { bytes, .. } => again.extend(bytes),
                }
            }
            let solid = |b: &[u8]| b.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect::<Vec<_>>();
            prop_assert_eq!(solid(&again), solid(&bytes));
        }
    }
}
