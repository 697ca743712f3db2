//! Delimiters, and the escape sequences that let them stand inside a value.
//!
//! A value is decoded exactly once, after splitting. A sequence that nobody can read is kept as it
//! came and reported, so that whoever uses the field knows.

use super::charset::Charset;
use std::borrow::Cow;

/// The characters of MSH-1 and MSH-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    pub field: char,
    pub component: char,
    pub repetition: char,
    pub escape: char,
    pub subcomponent: char,
    /// From v2.7 on MSH-2 may name the mark of a truncated value.
    pub truncation: Option<char>,
}

impl Default for Delimiters {
    fn default() -> Self {
        Delimiters {
            field: '|',
            component: '^',
            repetition: '~',
            escape: '\\',
            subcomponent: '&',
            truncation: None,
        }
    }
}

impl Delimiters {
    /// Reads MSH-1 and MSH-2 from the text of an MSH segment: four or five different ASCII signs
    /// after the field separator. `None` where they could not be told apart from values.
    pub fn of_header(header: &str) -> Option<Delimiters> {
        let mut chars = header.strip_prefix("MSH")?.chars();
        let field = chars.next()?;
        let signs: Vec<char> = chars.take_while(|c| *c != field).take(6).collect();
        let (component, repetition, escape, subcomponent, truncation) = match signs[..] {
            [c, r, e, s] => (c, r, e, s, None),
            [c, r, e, s, t] => (c, r, e, s, Some(t)),
            _ => return None,
        };
        let all: Vec<char> = std::iter::once(field).chain(signs).collect();
        let is_legal = all.iter().all(|c| c.is_ascii_punctuation() && *c != '"');
        let is_distinct = all.iter().enumerate().all(|(i, c)| !all[..i].contains(c));
        (is_legal && is_distinct).then_some(Delimiters {
            field,
            component,
            repetition,
            escape,
            subcomponent,
            truncation,
        })
    }

    /// MSH-2.
    pub fn encoding_characters(&self) -> String {
        [self.component, self.repetition, self.escape, self.subcomponent]
            .into_iter()
            .chain(self.truncation)
            .collect()
    }

    fn letter(&self, c: char) -> Option<&'static str> {
        match c {
            c if c == self.field => Some("F"),
            c if c == self.component => Some("S"),
            c if c == self.subcomponent => Some("T"),
            c if c == self.repetition => Some("R"),
            c if c == self.escape => Some("E"),
            '\n' => Some(".br"),
            '\r' => Some("X0D"),
            _ => None,
        }
    }

    /// A text as it may stand in a message: delimiters and line ends escaped.
    pub fn encode(&self, text: &str) -> String {
        text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
            match self.letter(c) {
                Some(letter) => {
                    out.push(self.escape);
                    out.push_str(letter);
                    out.push(self.escape);
                }
                None => out.push(c),
            }
            out
        })
    }

    /// The text of a value.
    ///
    /// # Source
    /// HL7 v2.8 chapter 2, "Use of escape sequences in text fields": `\F\ \S\ \T\ \R\ \E\` are the
    /// delimiters, `\Xdd..\` hexadecimal data, `\.br\` a new line, `\H\` and `\N\` highlighting, which has
    /// no place in plain text.
    pub fn decode<'a>(&self, raw: &'a str, charset: Charset) -> Decoded<'a> {
        if !raw.contains(self.escape) {
            return Decoded { text: Cow::Borrowed(raw), is_whole: true };
        }
        let (mut text, mut is_whole) = (String::with_capacity(raw.len()), true);
        let mut rest = raw;
        while let Some(start) = rest.find(self.escape) {
            text.push_str(&rest[..start]);
            let inside = &rest[start + self.escape.len_utf8()..];
            let Some(end) = inside.find(self.escape) else {
                // Begun and not finished.
                text.push_str(&rest[start..]);
                return Decoded { text: text.into(), is_whole: false };
            };
            let after = &inside[end + self.escape.len_utf8()..];
            match &inside[..end] {
                "F" => text.push(self.field),
                "S" => text.push(self.component),
                "T" => text.push(self.subcomponent),
                "R" => text.push(self.repetition),
                "E" => text.push(self.escape),
                "P" if self.truncation.is_some() => text.extend(self.truncation),
                ".br" => text.push('\n'),
                "H" | "N" => {}
                other => match other.strip_prefix('X').and_then(|digits| hexadecimal(digits, charset)) {
                    Some(decoded) => text.push_str(&decoded),
                    None => {
                        is_whole = false;
                        let length = rest.len() - after.len();
                        text.push_str(&rest[start..length]);
                    }
                },
            }
            rest = after;
        }
        text.push_str(rest);
        Decoded { text: text.into(), is_whole }
    }
}

/// A decoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub text: Cow<'a, str>,
    /// No sequence was left as it came.
    pub is_whole: bool,
}

fn hexadecimal(digits: &str, charset: Charset) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |b: u8| char::from(b).to_digit(16).map(|n| n as u8);
    let bytes = digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
        .collect::<Option<Vec<u8>>>()?;
    charset.decode(&bytes).ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn which_delimiters_are_legal() {
        let standard = Delimiters::default();
        for (header, expected) in [
            ("MSH|^~\\&|A", Some(standard)),
            ("MSH|^~\\&", Some(standard)),
            ("MSH|^~\\&#|A", Some(Delimiters { truncation: Some('#'), ..standard })),
            (
                "MSH#$%*!#A",
                Some(Delimiters {
                    field: '#',
                    component: '$',
                    repetition: '%',
                    escape: '*',
                    subcomponent: '!',
                    truncation: None,
                }),
            ),
            ("MSH", None),
            ("MSH|", None),
            ("MSH||||", None),
            ("MSH|^~\\|A", None),
            ("MSH|^~\\&#!|A", None),
            ("MSH|^^\\&|A", None),
            ("MSH|^~\\A|A", None),
            ("MSHA^~\\&A", None),
            ("MSH|^~\\\u{e9}|A", None),
            ("MSH|^~\"&|A", None),
            ("MSH|^~ &|A", None),
            ("PID|1", None),
            ("", None),
        ] {
            assert_eq!(Delimiters::of_header(header), expected, "{header}");
        }
    }

    #[test]
    fn escapes_are_decoded_once() {
        let d = Delimiters::default();
        // raw, text, whole
        for (raw, text, is_whole) in [
            ("plain", "plain", true),
            ("", "", true),
            (r"a\F\b\S\c\T\d\R\e\E\f", r"a|b^c&d~e\f", true),
            (r"\E\F\E\", r"\F\", true),
            (r"a\.br\b", "a\nb", true),
            (r"\X0D\", "\r", true),
            (r"\XC3A9\", "\u{e9}", true),
            (r"\H\bold\N\", "bold", true),
            (r"\Xzz\ 5", r"\Xzz\ 5", false),
            (r"\X0\", r"\X0\", false),
            (r"\X\", r"\X\", false),
            (r"\XC3\", r"\XC3\", false),
            (r"\Q\5", r"\Q\5", false),
            (r"5\F", r"5\F", false),
            ("\\J\u{fc}", "\\J\u{fc}", false),
            ("\\J\u{fc}\\", "\\J\u{fc}\\", false),
            (r"\\", r"\\", false),
            (r"\P\", r"\P\", false),
        ] {
            let decoded = d.decode(raw, Charset::UTF_8);
            assert_eq!((&*decoded.text, decoded.is_whole), (text, is_whole), "{raw}");
        }
        assert_eq!(d.decode(r"\XD7DC\", Charset::GB_18030).text, "总");
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_to_the_same(text in "\\PC{0,40}|[|^~\\\\&\r\n#a]{0,40}") {
            let mut d = Delimiters::default();
            for truncation in [None, Some('#')] {
                d.truncation = truncation;
                let encoded = d.encode(&text);
                prop_assert!(!encoded.contains(['|', '^', '~', '&', '\r', '\n']));
                let decoded = d.decode(&encoded, Charset::UTF_8);
                prop_assert!(decoded.is_whole);
                prop_assert_eq!(&*decoded.text, text.as_str());
                // And the other way round, for what is written in the one way that `encode` has.
                prop_assert_eq!(d.encode(&decoded.text), encoded);
            }
        }

        #[test]
        fn any_text_can_be_decoded(raw in "[\\\\FSXTREHN.br0-9a-f\u{fc}]{0,60}") {
            let decoded = Delimiters::default().decode(&raw, Charset::UTF_8);
            prop_assert!(decoded.text.len() <= raw.len());
        }
    }
}
