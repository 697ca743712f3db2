//! The character sets of MSH-18 (HL7 table 0211). Nothing is replaced: bytes that a set does not
//! have are an error with their place, for a lost character may be the comparator of a result.

use encoding_rs::{DecoderResult, Encoding};
use std::borrow::Cow;

/// A character set that is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charset(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ascii,
    /// ISO 8859-1: every byte is the character of its number.
    Latin1,
    Of(&'static Encoding),
}

impl Default for Charset {
    /// UTF-8.
    fn default() -> Self {
        Charset::UTF_8
    }
}

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CharsetError {
    #[error("MSH-18 names a character set that is not supported")]
    Unsupported,
    #[error("the bytes are not in the character set of the message, at byte {at}")]
    Undecodable { at: usize },
}

impl Charset {
    pub const UTF_8: Charset = Charset(Kind::Of(encoding_rs::UTF_8));
    pub const GB_18030: Charset = Charset(Kind::Of(encoding_rs::GB18030));
    /// Reads any bytes and writes the same: for echoing what could not be decoded.
    pub const BYTES: Charset = Charset(Kind::Latin1);

    /// A set by its name in MSH-18 or in a site file; spaces, hyphens and case do not count.
    ///
    /// # Source
    /// HL7 v2.8, table 0211, and the spellings that senders use in its stead (`UTF-8`, `GB18030`,
    /// `GBK`, the last being a part of GB 18030).
    pub fn named(name: &str) -> Option<Charset> {
        let plain: String = name
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '_'))
            .map(|c| c.to_ascii_uppercase())
            .take(24)
            .collect();
        let of = |encoding| Some(Charset(Kind::Of(encoding)));
        match plain.as_str() {
            "ASCII" | "USASCII" | "ISOIR6" => Some(Charset(Kind::Ascii)),
            "UNICODEUTF8" | "UTF8" => Some(Charset::UTF_8),
            "GB180302000" | "GB18030" | "GBK" | "GB2312" => Some(Charset::GB_18030),
            "BIG5" => of(encoding_rs::BIG5),
            "8859/1" | "ISO8859/1" | "ISO88591" => Some(Charset(Kind::Latin1)),
            "8859/2" | "ISO88592" => of(encoding_rs::ISO_8859_2),
            "8859/3" | "ISO88593" => of(encoding_rs::ISO_8859_3),
            "8859/4" | "ISO88594" => of(encoding_rs::ISO_8859_4),
            "8859/5" | "ISO88595" => of(encoding_rs::ISO_8859_5),
            "8859/6" | "ISO88596" => of(encoding_rs::ISO_8859_6),
            "8859/7" | "ISO88597" => of(encoding_rs::ISO_8859_7),
            "8859/8" | "ISO88598" => of(encoding_rs::ISO_8859_8),
            "8859/9" | "ISO88599" => of(encoding_rs::WINDOWS_1254),
            "8859/15" | "ISO885915" => of(encoding_rs::ISO_8859_15),
            _ => None,
        }
    }

    /// The set of a message: what its MSH-18 names (the first repetition), else `default`.
    ///
    /// MSH-18 is found in bytes whose set it names. In GB 18030 and Big5 the second byte of a character
    /// may look like a delimiter, so a set counts only if MSH-18, read in it, names it.
    pub fn of_message(raw: &[u8], default: Charset) -> Result<Charset, CharsetError> {
        let header = first_segment(without_mark(raw));
        let named = |text: &str| field_18(text).map(str::to_owned).unwrap_or_default();
        let as_bytes = named(&Charset::BYTES.decode(header)?);
        let guess = Charset::named(&as_bytes);
        let candidates = [guess, Some(default), Some(Charset::GB_18030), Charset::named("BIG-5")];
        for candidate in candidates.into_iter().flatten() {
            let Ok(text) = candidate.decode(header) else { continue };
            let name = named(&text);
            if (name.is_empty() && candidate == default) || Charset::named(&name) == Some(candidate) {
                return Ok(candidate);
            }
        }
        match guess {
            Some(charset) => Ok(charset),
            None if as_bytes.is_empty() => Ok(default),
            None => Err(CharsetError::Unsupported),
        }
    }

    /// Text of bytes; nothing is replaced.
    pub fn decode(self, bytes: &[u8]) -> Result<Cow<'_, str>, CharsetError> {
        match self.0 {
            Kind::Ascii => match bytes.iter().position(|b| !b.is_ascii()) {
                Some(at) => Err(CharsetError::Undecodable { at }),
                None => Ok(String::from_utf8_lossy(bytes)),
            },
            Kind::Latin1 => Ok(encoding_rs::mem::decode_latin1(bytes)),
            Kind::Of(encoding) if encoding == encoding_rs::UTF_8 => std::str::from_utf8(bytes)
                .map(Cow::Borrowed)
                .map_err(|e| CharsetError::Undecodable { at: e.valid_up_to() }),
            Kind::Of(encoding) => encoding
                .decode_without_bom_handling_and_without_replacement(bytes)
                .ok_or_else(|| CharsetError::Undecodable { at: first_malformed(encoding, bytes) }),
        }
    }

    /// Bytes of a text; a character that the set does not have becomes `?`.
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self.0 {
            Kind::Ascii => text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect(),
            Kind::Latin1 => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
            Kind::Of(encoding) => {
                let (bytes, _, unmappable) = encoding.encode(text);
                if !unmappable {
                    return bytes.into_owned();
                }
                let mut buffer = [0u8; 4];
                text.chars().fold(Vec::with_capacity(text.len()), |mut out, c| {
                    let (bytes, _, unmappable) = encoding.encode(c.encode_utf8(&mut buffer));
                    out.extend_from_slice(if unmappable { b"?" } else { &bytes });
                    out
                })
            }
        }
    }
}

/// Without the byte order mark that Windows tools put before UTF-8.
pub(super) fn without_mark(raw: &[u8]) -> &[u8] {
    raw.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(raw)
}

/// The first segment that is not blank. No character set here has CR or LF inside a character.
pub(super) fn first_segment(raw: &[u8]) -> &[u8] {
    raw.split(|b| matches!(b, b'\r' | b'\n'))
        .find(|line| !line.iter().all(u8::is_ascii_whitespace))
        .unwrap_or_default()
}

/// The first repetition of the 18th field of an MSH, as far as its delimiters can be told.
fn field_18(header: &str) -> Option<&str> {
    let rest = header.strip_prefix("MSH")?;
    let separator = rest.chars().next()?;
    let mut fields = rest.split(separator);
    // The first piece stands before MSH-2: it is empty.
    let repetition = fields.nth(1)?.chars().nth(1);
    let field = fields.nth(15)?;
    let first = match repetition {
        Some(r) if !r.is_alphanumeric() => field.split(r).next()?,
        _ => field,
    };
    Some(first.trim())
}

#[cold]
fn first_malformed(encoding: &'static Encoding, bytes: &[u8]) -> usize {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut read = 0;
    let mut out = [0u8; 1024];
    loop {
        let (result, n, _) = decoder.decode_to_utf8_without_replacement(&bytes[read..], &mut out, true);
        read += n;
        match result {
            DecoderResult::OutputFull => {}
            DecoderResult::InputEmpty => return read,
            DecoderResult::Malformed(length, after) => {
                return read.saturating_sub(usize::from(length) + usize::from(after));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_character_sets() {
        for (name, expected) in [
            ("ASCII", Some(Charset(Kind::Ascii))),
            ("UNICODE UTF-8", Some(Charset::UTF_8)),
            ("UTF-8", Some(Charset::UTF_8)),
            ("utf8", Some(Charset::UTF_8)),
            ("GB 18030-2000", Some(Charset::GB_18030)),
            ("GB18030", Some(Charset::GB_18030)),
            ("8859/1", Some(Charset(Kind::Latin1))),
            ("8859/15", Some(Charset(Kind::Of(encoding_rs::ISO_8859_15)))),
            ("BIG-5", Some(Charset(Kind::Of(encoding_rs::BIG5)))),
            ("", None),
            ("UNICODE", None),
            ("UNICODE UTF-16", None),
            ("ISO IR87", None),
            ("8859/10", None),
        ] {
            assert_eq!(Charset::named(name), expected, "{name}");
        }
    }

    fn message(charset: &str) -> String {
        format!("MSH|^~\\&|检验|医院|TB|H|20261122||ORU^R01|1|P|2.5.1||||||{charset}\rPID|1||7")
    }

    #[test]
    fn the_set_is_found_in_bytes_of_any_set() {
        let utf8 = Charset::UTF_8;
        let gb = Charset::GB_18030;
        // bytes written in, MSH-18, configured default, found
        for (written, name, default, expected) in [
            (utf8, "", utf8, Ok(utf8)),
            (utf8, "UNICODE UTF-8", gb, Ok(utf8)),
            (gb, "GB 18030-2000", utf8, Ok(gb)),
            (gb, "", gb, Ok(gb)),
            (gb, "GB18030~ISO IR14", utf8, Ok(gb)),
            // Nothing says what it is: the default stands, and decoding will fail.
            (gb, "", utf8, Ok(utf8)),
            (utf8, "ISO IR87", utf8, Err(CharsetError::Unsupported)),
        ] {
            let raw = written.encode(&message(name));
            assert_eq!(Charset::of_message(&raw, default), expected, "{name} read with {default:?}");
        }
        let mut marked = b"\xEF\xBB\xBF".to_vec();
        marked.extend(utf8.encode(&message("UNICODE UTF-8")));
        assert_eq!(Charset::of_message(&marked, gb), Ok(utf8));
        assert_eq!(Charset::of_message(b"", utf8), Ok(utf8));
        assert_eq!(Charset::of_message(b"MSH", utf8), Ok(utf8));
    }

    #[test]
    fn a_second_byte_that_looks_like_a_delimiter_is_none() {
        let pipe = ('\u{4e00}'..'\u{9fa5}')
            .find(|c| Charset::GB_18030.encode(&c.to_string()).get(1) == Some(&b'|'))
            .expect("GB 18030 has such characters");
        let text = format!("MSH|^~\\&|{pipe}|{pipe}|TB|H|20261122||ORU^R01|1|P|2.5.1||||||GB 18030-2000\r");
        let raw = Charset::GB_18030.encode(&text);
        assert_eq!(Charset::of_message(&raw, Charset::UTF_8), Ok(Charset::GB_18030));
        let unnamed = Charset::GB_18030.encode(&text.replace("GB 18030-2000", ""));
        assert_eq!(Charset::of_message(&unnamed, Charset::GB_18030), Ok(Charset::GB_18030));
    }

    #[test]
    fn what_a_set_does_not_have_is_an_error_with_its_place() {
        let at = |charset: Charset, bytes: &[u8]| match charset.decode(bytes) {
            Err(CharsetError::Undecodable { at }) => Some(at),
            _ => None,
        };
        assert_eq!(at(Charset(Kind::Ascii), b"ab\xC3"), Some(2));
        assert_eq!(at(Charset::UTF_8, b"ab\xD7\xDC"), Some(2));
        assert_eq!(at(Charset::GB_18030, b"ab\xD7\xDC\xFF"), Some(4));
        assert_eq!(at(Charset::GB_18030, b"ab\xD7"), Some(2));
        assert_eq!(at(Charset::BYTES, b"ab\xD7"), None);
        assert_eq!(Charset::GB_18030.decode(b"\xD7\xDC").as_deref(), Ok("总"));
        assert_eq!(Charset::named("8859/2").expect("a set").encode("a总"), b"a?");
        assert_eq!(Charset::BYTES.encode(&Charset::BYTES.decode(b"a\xFF\x80").expect("any")), b"a\xFF\x80");
    }
}
