//! HL7 v2: frames of a stream, character sets, escapes, times, messages and their acknowledgements.

use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};
use trialbridge::clinical::time::When;
use trialbridge::hl7v2::ack::{Answer, acknowledge};
use trialbridge::hl7v2::charset::{Charset, CharsetError};
use trialbridge::hl7v2::escape::Delimiters;
use trialbridge::hl7v2::frame::{END, FrameCodec, FrameError, Piece, START};
use trialbridge::hl7v2::header::Header;
use trialbridge::hl7v2::message::Message;
use trialbridge::hl7v2::time::{Zone, date, date_time, instant};

/// Longest frame here: short enough that the limit is met all the time.
const LIMIT: usize = 64;

/// What a stream held: pieces in their order, and what came where it could be read no further.
#[derive(Debug, PartialEq)]
struct Stream {
    pieces: Vec<Piece>,
    too_long: Option<Bytes>,
}

fn stream<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Stream {
    let (mut codec, mut buffer) = (FrameCodec::new(LIMIT), BytesMut::new());
    let mut found = Stream { pieces: Vec::new(), too_long: None };
    let mut take = |result: Result<Option<Piece>, FrameError>| match result {
        Ok(Some(piece)) => {
            found.pieces.push(piece);
            true
        }
        Ok(None) => false,
        Err(FrameError::TooLong { bytes, limit }) => {
            assert!(bytes.len() <= limit + 1, "more is held than the limit");
            found.too_long = Some(bytes);
            false
        }
        Err(FrameError::Io(error)) => panic!("{error}: there is nothing that could fail"),
    };
    for part in parts {
        buffer.extend_from_slice(part);
        while take(codec.decode(&mut buffer)) {}
        assert!(buffer.len() <= LIMIT + 2, "{} bytes are held", buffer.len());
    }
    while take(codec.decode_eof(&mut buffer)) {}
    found
}

/// Frames: the same however the stream was divided; every byte of it handed out but for the signs of whole
/// frames and the breaks between; what is a message can be framed again. The first byte divides.
pub fn frame(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let whole = stream(bytes.chunks(LIMIT + 2));
    if whole.too_long.is_none() {
        assert_eq!(whole, stream(bytes.chunks(1)), "byte by byte");
        assert_eq!(whole, stream(bytes.chunks(1 + usize::from(*first) % LIMIT)), "in parts");
        let handed_out = |piece: &Piece| match piece {
            Piece::Message(message) => message.len() + 3,
            Piece::Broken { bytes, .. } => bytes.len(),
        };
        let out: usize = whole.pieces.iter().map(handed_out).sum();
        let breaks = bytes.iter().filter(|b| matches!(b, b'\r' | b'\n')).count();
        assert!(out <= bytes.len() && bytes.len() - out <= breaks, "{out} of {} bytes", bytes.len());
    }
    let mut at = 0;
    for piece in &whole.pieces {
        let content = match piece {
            Piece::Message(message) => {
                assert!(message.len() <= LIMIT);
                let mut framed = BytesMut::new();
                FrameCodec::new(LIMIT).encode(message, &mut framed).expect("a message can be framed");
                assert_eq!(stream(std::iter::once(&framed[..])).pieces, std::slice::from_ref(piece));
                message
            }
            Piece::Broken { bytes, .. } => bytes,
        };
        let found = bytes[at..].windows(content.len().max(1)).position(|w| w == &content[..]);
        assert!(content.is_empty() || found.is_some(), "in order, as received");
        at += found.unwrap_or_default() + if content.is_empty() { 0 } else { content.len() };
    }
}

/// Every name by which a set is chosen here.
const NAMES: [&str; 14] = [
    "ASCII",
    "UNICODE UTF-8",
    "GB 18030-2000",
    "BIG-5",
    "8859/1",
    "8859/2",
    "8859/3",
    "8859/4",
    "8859/5",
    "8859/6",
    "8859/7",
    "8859/8",
    "8859/9",
    "8859/15",
];

fn charset_of(byte: u8) -> Charset {
    Charset::named(NAMES[usize::from(byte) % NAMES.len()]).expect("a set")
}

/// Character sets: bytes are text or an error at the right byte; the text can be written and read again.
pub fn charset(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let charset = charset_of(*first);
    match charset.decode(bytes) {
        Ok(text) => {
            assert!(!text.contains('\u{fffd}') || charset_has_replacement(bytes), "{text:?} was guessed");
            let written = charset.encode(&text);
            // Some sets have two byte sequences for a character; one of them is written.
            let again = charset.decode(&written).expect("what was written can be read");
            let same = |(a, b): (char, char)| a == b || a == '?';
            assert!(again.chars().count() == text.chars().count(), "{text:?} became {again:?}");
            assert!(again.chars().zip(text.chars()).all(same), "{text:?} became {again:?}");
        }
        Err(CharsetError::Undecodable { at }) => {
            assert!(at < bytes.len(), "byte {at} of {}", bytes.len());
            assert!(charset.decode(&bytes[..at]).is_ok(), "good up to byte {at}");
        }
        Err(CharsetError::Unsupported) => panic!("no name was looked at"),
    }
    let any = Charset::BYTES.decode(bytes).expect("any bytes");
    assert_eq!(Charset::BYTES.encode(&any), bytes);
    let _ = Charset::of_message(bytes, charset);
}

/// Was the replacement character itself sent, in UTF-8 or GB 18030?
fn charset_has_replacement(bytes: &[u8]) -> bool {
    bytes.windows(3).any(|w| w == b"\xef\xbf\xbd") || bytes.windows(4).any(|w| w == b"\x84\x31\xa4\x37")
}

/// Escapes: what is written is read back, whatever the delimiters; reading adds nothing.
pub fn escape(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (header, text) = text.split_once('\n').unwrap_or(("", text));
    let delimiters = Delimiters::of_header(header).unwrap_or_default();
    // The sequence of a line end, `.br`, holds a full stop.
    if delimiters.encoding_characters().contains('.') || delimiters.field == '.' {
        return;
    }
    let encoded = delimiters.encode(text);
    for delimiter in [delimiters.field, delimiters.component, delimiters.repetition, delimiters.subcomponent]
    {
        assert!(!encoded.contains(delimiter), "{encoded:?}");
    }
    assert!(!encoded.contains(['\r', '\n']));
    let decoded = delimiters.decode(&encoded, Charset::UTF_8);
    assert!(decoded.is_whole, "{encoded:?}");
    assert_eq!(decoded.text, text, "by {delimiters:?}");
    let any = delimiters.decode(text, Charset::UTF_8);
    assert!(any.text.len() <= text.len());
    if !text.contains(delimiters.escape) {
        assert_eq!(any.text, text);
    }
}

/// Times: what is taken is a FHIR date of the same digits.
pub fn time(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, zone) = text.split_once('\n').unwrap_or((text, ""));
    let zone = Zone::parse(zone);
    let taken = date_time(text, zone);
    if let Ok(fhir) = &taken {
        let when = When::parse(fhir).unwrap_or_else(|e| panic!("{text:?} gives {fhir:?}: {e}"));
        let digits = |t: &str| t.bytes().filter(u8::is_ascii_digit).collect::<Vec<u8>>();
        let (sent, written) = (digits(text), digits(fhir));
        let length = sent.len().min(12).min(written.len());
        assert_eq!(sent[..length.min(8)], written[..length.min(8)], "{text:?} gives {fhir:?}");
        assert!(date(text).is_ok_and(|d| fhir.starts_with(&d)));
        assert_eq!(when.timed, fhir.contains('T'));
    }
    if let Ok(at) = instant(text, zone) {
        assert_eq!(taken.as_ref(), Ok(&at));
    }
    if let Some(zone) = zone {
        assert_eq!(Zone::parse(&zone.to_string()), Some(zone));
    }
}

/// Messages: split without losing anything, the same every time; every value can be asked for; the
/// answer to any bytes can be framed and repeats the sender's control id. The first byte is the set.
pub fn message(data: &[u8]) {
    let Some((first, raw)) = data.split_first() else { return };
    let default = charset_of(*first);
    let parsed = Message::parse(raw, default);
    match &parsed {
        Ok(message) => {
            let again = Message::parse(raw, default).expect("it was read once");
            assert_eq!(message.charset(), again.charset());
            let text = message.charset().decode(raw).expect("it was decoded once");
            let lines: Vec<&str> = text
                .trim_start_matches('\u{feff}')
                .split(['\r', '\n'])
                .filter(|l| !l.trim().is_empty())
                .collect();
            assert_eq!(lines.len(), message.segments().count(), "every line is a segment");
            for (segment, line) in message.segments().zip(&lines) {
                whole(&segment, line, message.delimiters().field);
            }
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.is_ascii() && said.len() < 120, "{said:?}");
        }
    }
    answered(raw, default, parsed.ok().as_ref());
}

/// Fields put together are the line; every value of the first fields can be asked for.
fn whole(segment: &trialbridge::hl7v2::message::Segment<'_>, line: &str, separator: char) {
    assert!(line.starts_with(segment.name()));
    let from = if segment.name() == "MSH" { 2 } else { 1 };
    let fields: Vec<&str> = (from..=segment.len()).map(|n| segment.field(n).raw()).take(64).collect();
    let mut joined = segment.name().to_owned();
    for field in &fields {
        joined.push(separator);
        joined.push_str(field);
    }
    if segment.len() < 64 && line.contains(separator) {
        assert_eq!(joined, line);
    }
    for number in 1..=segment.len().min(24) {
        let field = segment.field(number);
        for repetition in field.repetitions().take(4) {
            let _ = repetition.text();
            for component in repetition.components().take(8) {
                if let Ok(Some(value)) = component.value() {
                    assert_eq!(component.decoded().text.trim(), value.trim());
                }
            }
        }
    }
}

/// The acknowledgement, of whatever could be read of the header.
fn answered(raw: &[u8], default: Charset, message: Option<&Message>) {
    let header = Header::read(raw, default);
    for answer in [Answer::Accepted, Answer::Refused, Answer::NotStored, Answer::Rejected] {
        let Some(acknowledgement) = acknowledge(&header, answer, &[], "ack-1", "20261122101500+0800") else {
            continue;
        };
        let bytes = &acknowledgement.bytes;
        assert!(!bytes.contains(&START) && !bytes.contains(&END), "the answer can be framed");
        let Some(message) = message else { continue };
        // Of a header that names no set as it is read, nobody could say how to read the answer.
        let named = message.header().field(18).raw().split(message.delimiters().repetition).next();
        let named = named.map(str::trim).filter(|name| !name.is_empty());
        if named.is_some_and(|name| Charset::named(name) != Some(message.charset())) {
            continue;
        }
        // The sender reads it in the set and with the signs of its own message.
        let reply = Message::parse(bytes, message.charset())
            .unwrap_or_else(|e| panic!("the answer is no message: {e}: {}", bytes.escape_ascii()));
        let msa = reply.segments().find(|s| s.name() == "MSA").expect("an answer has an MSA");
        let plain: String =
            message.header().field(10).raw().chars().filter(|c| !c.is_control()).take(1024).collect();
        assert_eq!(msa.field(2).raw().trim(), plain.trim(), "MSA-2 is the MSH-10 that was sent");
    }
}
