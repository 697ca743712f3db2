//! As much of an MSH as can be read, of any bytes: what an acknowledgement has to repeat, and the
//! sender's own key of the message. Never fails.

use super::charset::{self, Charset};
use super::escape::Delimiters;

/// Longest MSH that is looked at, in bytes.
const MAX_HEADER: usize = 16 * 1024;
/// Longest field that is repeated to its sender, in characters.
const MAX_FIELD: usize = 1024;

/// The MSH of a message that may be unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub(super) charset: Charset,
    /// Those of the message, or the standard ones where it names none that could be used.
    pub(super) delimiters: Delimiters,
    /// MSH-1 to MSH-18 as they stand, written for `delimiters`.
    fields: Vec<String>,
}

impl Header {
    /// Reads what can be read. `default` is the character set where MSH-18 is empty.
    pub fn read(raw: &[u8], default: Charset) -> Header {
        let line = charset::first_segment(charset::without_mark(raw));
        let line = &line[..line.len().min(MAX_HEADER)];
        let found = Charset::of_message(line, default).unwrap_or(Charset::BYTES);
        let (charset, text) = match found.decode(line) {
            Ok(text) => (found, text),
            Err(_) => (Charset::BYTES, Charset::BYTES.decode(line).unwrap_or_default()),
        };
        let legal = Delimiters::of_header(&text);
        let separator = text.strip_prefix("MSH").and_then(|rest| rest.chars().next());
        let delimiters = legal.unwrap_or_else(|| match separator {
            // The fields can still be told apart, and the reply is written as they are.
            Some(field) if field.is_ascii_punctuation() && !"^~\\&\"".contains(field) => {
                Delimiters { field, ..Delimiters::default() }
            }
            _ => Delimiters::default(),
        });
        let mut fields = vec![delimiters.field.to_string()];
        if let Some(separator) = separator.filter(|s| !s.is_alphanumeric()) {
            let is_same = legal.is_some() || separator == delimiters.field;
            for field in text.split(separator).skip(1).take(17) {
                // A control character could end the frame of the reply.
                let plain: String = field.chars().filter(|c| !c.is_control()).take(MAX_FIELD).collect();
                fields.push(if is_same { plain } else { delimiters.encode(&plain) });
            }
        }
        Header { charset, delimiters, fields }
    }

    /// Field `number` as it stands, from 1; empty where there is none.
    pub fn raw(&self, number: usize) -> &str {
        number.checked_sub(1).and_then(|at| self.fields.get(at)).map_or("", |f| f.trim())
    }

    fn component(&self, number: usize, component: usize) -> &str {
        let raw = self.raw(number);
        let first = raw.split(self.delimiters.repetition).next().unwrap_or_default();
        first.split(self.delimiters.component).nth(component - 1).map_or("", str::trim)
    }

    fn text(&self, number: usize) -> String {
        self.delimiters.decode(self.raw(number), self.charset).text.into_owned()
    }

    /// MSH-10.
    pub fn control_id(&self) -> Option<String> {
        Some(self.text(10)).filter(|id| !id.is_empty())
    }

    /// `MSH-3|MSH-4|MSH-10`, the sender's own key of the message; `None` without MSH-10.
    pub fn key(&self) -> Option<String> {
        Some(format!("{}|{}|{}", self.text(3), self.text(4), self.control_id()?))
    }

    /// Whose numbering of ids the message uses: `hl7v2:MSH-3|MSH-4`.
    pub fn source(&self) -> String {
        format!("hl7v2:{}|{}", self.text(3), self.text(4))
    }

    /// MSH-9.1, for example `ORU`, if it is a word such as the standard has.
    pub fn message_code(&self) -> Option<&str> {
        Some(self.component(9, 1)).filter(|c| is_code(c))
    }

    /// MSH-9.2, for example `R01`.
    pub fn trigger_event(&self) -> Option<&str> {
        Some(self.component(9, 2)).filter(|c| is_code(c))
    }

    /// `ORU^R01`, for metrics and logs: of three upper-case letters or digits each, else `other`.
    pub fn kind(&self) -> String {
        match (self.message_code(), self.trigger_event()) {
            (Some(code), Some(event)) => format!("{code}^{event}"),
            (Some(code), None) => code.to_owned(),
            _ => "other".to_owned(),
        }
    }

    /// MSH-15 and MSH-16 decide it: empty is the original mode.
    pub fn is_enhanced(&self) -> bool {
        !self.raw(15).is_empty() || !self.raw(16).is_empty()
    }
}

fn is_code(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}
