//! What the two commands see of a message: its fields as they stand, and the way in and out of a
//! connection. Judges nothing: it prints what others sent, right or wrong.

use crate::hl7v2::charset::Charset;
use crate::hl7v2::frame::{FrameCodec, Piece};
use std::borrow::Cow;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Both directions of a connection, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that speaks in frames.
pub struct Wire {
    stream: Box<dyn Stream>,
    codec: FrameCodec,
    buffer: BytesMut,
}

impl Wire {
    pub fn new(stream: Box<dyn Stream>) -> Wire {
        Wire { stream, codec: FrameCodec::default(), buffer: BytesMut::new() }
    }

    pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::new();
        self.codec.encode(message, &mut frame)?;
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }

    /// The next message; none at the end of the connection.
    ///
    /// # Errors
    /// Those of the connection, and bytes that are no frame.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let mut ended = false;
        loop {
            let piece = match ended {
                false => self.codec.decode(&mut self.buffer),
                true => self.codec.decode_eof(&mut self.buffer),
            };
            match piece {
                Ok(Some(Piece::Message(bytes))) => return Ok(Some(bytes)),
                Ok(Some(Piece::Broken { bytes, fault })) => {
                    return Err(invalid(format!(
                        "{} bytes that are no frame: {}",
                        bytes.len(),
                        fault.word()
                    )));
                }
                Ok(None) if ended => return Ok(None),
                Ok(None) => ended = self.stream.read_buf(&mut self.buffer).await? == 0,
                Err(error) => return Err(invalid(error.to_string())),
            }
        }
    }

    pub async fn close(mut self) {
        // The other side may have closed first.
        let _ = self.stream.shutdown().await;
    }
}

/// The text of a message, for printing: in the set of its MSH-18, else byte by byte.
pub fn text(bytes: &[u8]) -> (Cow<'_, str>, String) {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let read = Charset::of_message(bytes, Charset::UTF_8).and_then(|set| set.decode(bytes));
    match read {
        Ok(text) => {
            let named = Parts::of(&text).header(18).to_owned();
            (text, if named.is_empty() { "UTF-8".into() } else { named.replace("UNICODE ", "") })
        }
        // Every byte is a character of ISO 8859-1.
        Err(_) => (bytes.iter().map(|b| char::from(*b)).collect(), "unknown character set".into()),
    }
}

/// Segments and fields as they stand, nothing decoded.
pub struct Parts<'a> {
    segments: Vec<Vec<&'a str>>,
}

impl<'a> Parts<'a> {
    pub fn of(text: &'a str) -> Parts<'a> {
        let separator = text.strip_prefix("MSH").and_then(|rest| rest.chars().next()).unwrap_or('|');
        let lines = text.split(['\r', '\n']).filter(|line| !line.trim().is_empty());
        Parts { segments: lines.map(|line| line.split(separator).collect()).collect() }
    }

    pub fn segments(&self) -> impl Iterator<Item = &[&'a str]> {
        self.segments.iter().map(Vec::as_slice)
    }

    /// The first segment of this name.
    pub fn segment(&self, name: &str) -> Option<&[&'a str]> {
        self.segments().find(|s| s.first() == Some(&name))
    }

    /// MSH-`number`, empty if it is not there. MSH-1 is the separator itself.
    pub fn header(&self, number: usize) -> &'a str {
        self.segment("MSH").and_then(|s| s.get(number.checked_sub(1)?)).copied().unwrap_or_default()
    }
}

/// Text of another's for a terminal: control characters are shown, not obeyed.
pub fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

/// `1214` as `1 214`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_control_characters_shown() {
        for (number, expected) in [(0, "0"), (214, "214"), (1214, "1 214"), (1_234_567, "1 234 567")] {
            assert_eq!(grouped(number), expected);
        }
        assert_eq!(shown("a\u{1b}[31mb\t"), "a\u{FFFD}[31mb\u{FFFD}");
    }

    #[test]
    fn fields_are_counted_as_the_standard_does() {
        let parts = Parts::of("MSH|^~\\&|A|B\rMSA|AA|7\r\n\rZZ1");
        assert_eq!((parts.header(3), parts.header(4), parts.header(9)), ("A", "B", ""));
        assert_eq!(parts.segment("MSA"), Some(["MSA", "AA", "7"].as_slice()));
        assert_eq!(parts.segments().count(), 3);
        assert_eq!(Parts::of("MSH#^~\\&#A").header(3), "A");
        assert_eq!(Parts::of("").header(1), "");
    }
}
