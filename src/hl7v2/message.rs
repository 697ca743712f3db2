//! A message as segments, fields, repetitions, components and subcomponents.
//!
//! Splitting copies nothing and looks at each character a fixed number of times, however the message
//! is made. A blank line ends nothing. An error names the place and never repeats what stood there.

use super::ack::ErrorCode;
use super::charset::{self, Charset, CharsetError};
use super::escape::{Decoded, Delimiters};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// Most segments of one message.
pub const MAX_SEGMENTS: usize = 20_000;
/// Most fields of one segment. The longest that is defined has about fifty.
pub const MAX_FIELDS: usize = 1_000;

/// Where in a message: `OBX[3]-6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Empty where a line is no segment; then `sequence` counts all lines.
    pub segment: String,
    /// The how manieth of its name, from 1.
    pub sequence: usize,
    pub field: Option<usize>,
}

impl Location {
    pub fn new(segment: &str, sequence: usize, field: Option<usize>) -> Location {
        Location { segment: segment.to_owned(), sequence, field }
    }

    /// As ERR-2 has it (type ERL): `OBX^3^6`. Empty where there is no segment to name.
    pub fn erl(&self, component: char) -> String {
        match (self.segment.is_empty(), self.field) {
            (true, _) => String::new(),
            (_, None) => format!("{}{component}{}", self.segment, self.sequence),
            (_, Some(field)) => format!("{}{component}{}{component}{field}", self.segment, self.sequence),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of these there is one in most messages.
        let is_single = matches!(self.segment.as_str(), "MSH" | "EVN" | "PID" | "PV1" | "MRG");
        match (self.segment.as_str(), self.sequence) {
            ("", line) => write!(f, "line {line}")?,
            (name, 1) if is_single => f.write_str(name)?,
            (name, sequence) => write!(f, "{name}[{sequence}]")?,
        }
        self.field.map_or(Ok(()), |field| write!(f, "-{field}"))
    }
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {kind}")]
pub struct ParseError {
    pub kind: ParseErrorKind,
    pub location: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    #[error(transparent)]
    Charset(CharsetError),
    #[error("the message does not begin with MSH")]
    NoHeader,
    #[error("MSH-1 and MSH-2 do not name five different signs")]
    Delimiters,
    #[error("a line that is no segment; a line end inside a value is written \\.br\\")]
    NotASegment,
    #[error("a second MSH: two messages were sent as one")]
    SecondHeader,
    #[error("more than {MAX_SEGMENTS} segments")]
    TooManySegments,
    #[error("more than {MAX_FIELDS} fields")]
    TooManyFields,
}

impl ParseError {
    /// The code of table 0357.
    pub fn code(&self) -> ErrorCode {
        match self.kind {
            ParseErrorKind::Charset(CharsetError::Unsupported) => ErrorCode::TableValueNotFound,
            ParseErrorKind::Charset(CharsetError::Undecodable { .. }) | ParseErrorKind::Delimiters => {
                ErrorCode::DataTypeError
            }
            ParseErrorKind::NoHeader | ParseErrorKind::NotASegment | ParseErrorKind::SecondHeader => {
                ErrorCode::SegmentSequenceError
            }
            ParseErrorKind::TooManySegments | ParseErrorKind::TooManyFields => ErrorCode::ApplicationError,
        }
    }
}

/// A message, split into segments.
#[derive(Clone, Debug)]
pub struct Message {
    text: String,
    charset: Charset,
    delimiters: Delimiters,
    segments: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    sequence: usize,
}

impl Message {
    /// Reads a message without its transport's frame. `default` is the character set of a message
    /// whose MSH-18 is empty.
    pub fn parse(raw: &[u8], default: Charset) -> Result<Message, ParseError> {
        let error = |kind, location| ParseError { kind, location };
        let raw = charset::without_mark(raw);
        let at_charset = |e| error(ParseErrorKind::Charset(e), Location::new("MSH", 1, Some(18)));
        let charset = Charset::of_message(raw, default).map_err(at_charset)?;
        let text = charset.decode(raw).map_err(at_charset)?.into_owned();

        let mut spans: Vec<Span> = Vec::new();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut delimiters = None;
        let mut start = 0;
        for line in text.split(['\r', '\n']) {
            let (from, end) = (start, start + line.len());
            start = end + 1;
            if line.trim().is_empty() {
                continue;
            }
            if spans.len() == MAX_SEGMENTS {
                return Err(error(ParseErrorKind::TooManySegments, Location::new("", spans.len() + 1, None)));
            }
            let Some(Delimiters { field, .. }) = delimiters else {
                if !line.starts_with("MSH") {
                    return Err(error(ParseErrorKind::NoHeader, Location::new("MSH", 1, None)));
                }
                let Some(read) = Delimiters::of_header(line) else {
                    return Err(error(ParseErrorKind::Delimiters, Location::new("MSH", 1, Some(2))));
                };
                delimiters = Some(read);
                counts.insert("MSH", 1);
                check_fields(line, "MSH", 1, read.field)?;
                spans.push(Span { start: from, end, sequence: 1 });
                continue;
            };
            let Some(name) = segment_name(line, field) else {
                return Err(error(ParseErrorKind::NotASegment, Location::new("", spans.len() + 1, None)));
            };
            let sequence = counts.entry(name).or_insert(0);
            *sequence += 1;
            if name == "MSH" {
                return Err(error(ParseErrorKind::SecondHeader, Location::new("MSH", *sequence, None)));
            }
            check_fields(line, name, *sequence, field)?;
            spans.push(Span { start: from, end, sequence: *sequence });
        }
        match delimiters {
            Some(delimiters) => Ok(Message { charset, delimiters, segments: spans, text }),
            None => Err(error(ParseErrorKind::NoHeader, Location::new("MSH", 1, None))),
        }
    }

    pub fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }

    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// All segments in their order, the MSH first.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter().map(|span| self.at(span))
    }

    /// The MSH.
    pub fn header(&self) -> Segment<'_> {
        self.at(self.segments.first().expect("a message without MSH is not made"))
    }

    fn at(&self, span: &Span) -> Segment<'_> {
        Segment { text: &self.text[span.start..span.end], sequence: span.sequence, message: self }
    }
}

/// Three upper-case letters or digits, the first a letter, then the field separator or nothing.
fn segment_name(line: &str, separator: char) -> Option<&str> {
    let name = line.get(..3)?;
    let bytes = name.as_bytes();
    let is_name = bytes[0].is_ascii_uppercase()
        && bytes[1..].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let rest = &line[3..];
    (is_name && (rest.trim().is_empty() || rest.starts_with(separator))).then_some(name)
}

fn check_fields(line: &str, name: &str, sequence: usize, separator: char) -> Result<(), ParseError> {
    if line.matches(separator).count() > MAX_FIELDS {
        let location = Location::new(name, sequence, None);
        return Err(ParseError { kind: ParseErrorKind::TooManyFields, location });
    }
    Ok(())
}

/// One segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    text: &'a str,
    sequence: usize,
    message: &'a Message,
}

impl<'a> Segment<'a> {
    pub fn name(&self) -> &'a str {
        &self.text[..3]
    }

    /// The how manieth of its name, from 1.
    pub fn sequence(&self) -> usize {
        self.sequence
    }

    pub fn location(&self, field: usize) -> Location {
        Location::new(self.name(), self.sequence, Some(field))
    }

    /// Field `number`, from 1 as the standard counts; empty where the segment is shorter. MSH-1 is the
    /// field separator itself.
    pub fn field(&self, number: usize) -> Field<'a> {
        let separator = self.message.delimiters.field;
        let text = self.text;
        let raw = match (self.name(), number) {
            (_, 0) => "",
            ("MSH", 1) => &text[3..3 + separator.len_utf8()],
            ("MSH", n) => text.split(separator).nth(n - 1).unwrap_or_default(),
            (_, n) => text.split(separator).nth(n).unwrap_or_default(),
        };
        Field { raw, number, segment: *self }
    }

    /// How many fields are written.
    pub fn len(&self) -> usize {
        let separators = self.text.matches(self.message.delimiters.field).count();
        if self.name() == "MSH" { separators + 1 } else { separators }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One field of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    raw: &'a str,
    number: usize,
    segment: Segment<'a>,
}

impl<'a> Field<'a> {
    /// As received.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    pub fn location(&self) -> Location {
        self.segment.location(self.number)
    }

    /// Nothing is said: what was known before stays.
    pub fn is_empty(&self) -> bool {
        self.raw.trim().is_empty()
    }

    /// `""`: what was known before is to be deleted.
    pub fn is_null(&self) -> bool {
        self.raw.trim() == "\"\""
    }

    pub fn repetitions(&self) -> impl Iterator<Item = Repetition<'a>> + use<'a> {
        let field = *self;
        // MSH-1 and MSH-2 are the delimiters and hold none.
        let whole = self.segment.name() == "MSH" && self.number <= 2;
        let separator = (!whole).then_some(self.segment.message.delimiters.repetition);
        self.raw.split(move |c| Some(c) == separator).map(move |raw| Repetition { raw, field })
    }

    /// Does more than one repetition say something?
    pub fn is_repeated(&self) -> bool {
        self.repetitions().filter(|r| !r.raw.trim().is_empty()).nth(1).is_some()
    }

    /// The first repetition.
    pub fn first(&self) -> Repetition<'a> {
        let raw = self.repetitions().next().map_or("", |r| r.raw);
        Repetition { raw, field: *self }
    }

    /// A component of the first repetition.
    pub fn component(&self, number: usize) -> Component<'a> {
        self.first().component(number)
    }
}

/// One repetition of a field.
#[derive(Clone, Copy, Debug)]
pub struct Repetition<'a> {
    raw: &'a str,
    field: Field<'a>,
}

impl<'a> Repetition<'a> {
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    pub fn components(&self) -> impl Iterator<Item = Component<'a>> + use<'a> {
        let field = self.field;
        let whole = field.segment.name() == "MSH" && field.number <= 2;
        let separator = (!whole).then_some(field.segment.message.delimiters.component);
        self.raw.split(move |c| Some(c) == separator).map(move |raw| Component { raw, field })
    }

    /// Component `number`, from 1; empty where there are fewer.
    pub fn component(&self, number: usize) -> Component<'a> {
        let raw = self.components().nth(number.wrapping_sub(1)).map_or("", |c| c.raw);
        Component { raw, field: self.field }
    }

    /// The text of the whole repetition, for types without components: a delimiter that the sender
    /// forgot to escape is part of the text.
    pub fn text(&self) -> Result<Option<Cow<'a, str>>, BadEscape> {
        value(self.raw, self.field)
    }
}

/// One component of a repetition.
#[derive(Clone, Copy, Debug)]
pub struct Component<'a> {
    raw: &'a str,
    field: Field<'a>,
}

impl<'a> Component<'a> {
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The decoded value of subcomponent `number`, from 1. `None` where nothing is given, or `""`.
    pub fn subcomponent(&self, number: usize) -> Result<Option<Cow<'a, str>>, BadEscape> {
        let separator = self.field.segment.message.delimiters.subcomponent;
        let raw = self.raw.split(separator).nth(number.wrapping_sub(1)).unwrap_or_default();
        value(raw, self.field)
    }

    /// The decoded value: the first subcomponent, as a receiver that knows none reads it.
    pub fn value(&self) -> Result<Option<Cow<'a, str>>, BadEscape> {
        self.subcomponent(1)
    }

    /// The first subcomponent, with sequences that cannot be read as they came.
    pub fn decoded(&self) -> Decoded<'a> {
        let message = self.field.segment.message;
        let raw = self.raw.split(message.delimiters.subcomponent).next().unwrap_or_default();
        message.delimiters.decode(raw, message.charset)
    }
}

/// A value with an escape sequence that is not known, or not finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: an escape sequence that cannot be read")]
pub struct BadEscape {
    pub location: Location,
}

fn value<'a>(raw: &'a str, field: Field<'a>) -> Result<Option<Cow<'a, str>>, BadEscape> {
    let raw = raw.trim();
    if raw.is_empty() || raw == "\"\"" {
        return Ok(None);
    }
    let message = field.segment.message;
    let decoded = message.delimiters.decode(raw, message.charset);
    if decoded.is_whole { Ok(Some(decoded.text)) } else { Err(BadEscape { location: field.location() }) }
}
