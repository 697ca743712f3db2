//! The splitter against tables, against any bytes, and against a public parser.

use super::ack::{self, Answer};
use super::charset::Charset;
use super::header::Header;
use super::message::{Location, MAX_FIELDS, MAX_SEGMENTS, Message, ParseErrorKind};
use proptest::prelude::*;

fn parsed(text: &str) -> Message {
    Message::parse(text.as_bytes(), Charset::UTF_8).unwrap_or_else(|e| panic!("{e}: {text:?}"))
}

fn names(message: &Message) -> Vec<String> {
    message.segments().map(|s| format!("{}{}", s.name(), s.sequence())).collect()
}

#[test]
fn lines_may_end_in_any_way_and_a_blank_one_ends_nothing() {
    let segments = ["MSH|^~\\&|A", "PID|1||7", "OBX|1|NM", "OBX|2|NM", "ZZ1"];
    let expected = ["MSH1", "PID1", "OBX1", "OBX2", "ZZ11"];
    for end in ["\r", "\n", "\r\n", "\r\r", "\n\r\n", "\r  \r"] {
        for (before, after) in [("", ""), ("\u{feff}", end), (end, end)] {
            let text = format!("{before}{}{after}", segments.join(end));
            assert_eq!(names(&parsed(&text)), expected, "{text:?}");
        }
    }
}

#[test]
fn what_is_no_message_and_where() {
    use ParseErrorKind::{Delimiters, NoHeader, NotASegment, SecondHeader, TooManyFields, TooManySegments};
    let many = |n: usize, line: &str| format!("MSH|^~\\&|A\r{}", line.repeat(n));
    for (text, kind, place, erl) in [
        (String::new(), NoHeader, "MSH", "MSH^1"),
        ("\r\n \r".into(), NoHeader, "MSH", "MSH^1"),
        ("PID|1".into(), NoHeader, "MSH", "MSH^1"),
        ("FHS|^~\\&".into(), NoHeader, "MSH", "MSH^1"),
        ("MSH".into(), Delimiters, "MSH-2", "MSH^1^2"),
        ("MSH||||".into(), Delimiters, "MSH-2", "MSH^1^2"),
        ("MSH|^^\\&|A".into(), Delimiters, "MSH-2", "MSH^1^2"),
        ("MSH|^~\\&|A\rpid|1".into(), NotASegment, "line 2", ""),
        ("MSH|^~\\&|A\rOBX|1|TX|||one\ntwo".into(), NotASegment, "line 3", ""),
        ("MSH|^~\\&|A\rPIDX|1".into(), NotASegment, "line 2", ""),
        ("MSH|^~\\&|A\rP".into(), NotASegment, "line 2", ""),
        ("MSH|^~\\&|A\r总胆红素".into(), NotASegment, "line 2", ""),
        ("MSH|^~\\&|A\rPID|1\rMSH|^~\\&|B".into(), SecondHeader, "MSH[2]", "MSH^2"),
        (many(MAX_SEGMENTS, "NTE\r"), TooManySegments, "line 20001", ""),
        (format!("MSH|^~\\&|A\rOBX{}", "|".repeat(MAX_FIELDS + 1)), TooManyFields, "OBX[1]", "OBX^1"),
    ] {
        let error = Message::parse(text.as_bytes(), Charset::UTF_8).expect_err(&text);
        let found = (error.kind, error.location.to_string(), error.location.erl('^'));
        assert_eq!(found, (kind, place.to_owned(), erl.to_owned()), "{:.60}", text);
    }
    assert_eq!(names(&parsed(&many(MAX_SEGMENTS - 1, "NTE\r"))).len(), MAX_SEGMENTS);
    let raw = b"MSH|^~\\&|A\rPID|\xFF";
    let error = Message::parse(raw, Charset::UTF_8).expect_err("not UTF-8");
    assert_eq!(
        error.to_string(),
        "MSH-18: the bytes are not in the character set of the message, at byte 15"
    );
}

#[test]
fn fields_are_counted_as_the_standard_does() {
    let message = parsed("MSH|^~\\&#|A^B&C|D~E||\rOBX|1|NM|a^b&c&\\T\\d^^e~f||\"\"| 5 |5\\Q\\\r");
    let header = message.header();
    assert_eq!(header.field(1).raw(), "|");
    assert_eq!(header.field(2).raw(), "^~\\&#");
    assert_eq!(header.field(2).component(1).raw(), "^~\\&#");
    assert_eq!(header.field(3).component(2).subcomponent(2).expect("a value").as_deref(), Some("C"));
    assert_eq!(header.field(4).repetitions().map(|r| r.raw()).collect::<Vec<_>>(), ["D", "E"]);
    assert_eq!((header.len(), header.field(99).raw(), header.field(0).raw()), (6, "", ""));

    let obx = message.segments().nth(1).expect("an OBX");
    let value = |field: usize, component: usize, sub: usize| {
        obx.field(field).component(component).subcomponent(sub).map(|v| v.map(|v| v.into_owned()))
    };
    for (field, component, sub, expected) in [
        (1, 1, 1, Some("1")),
        (3, 1, 1, Some("a")),
        (3, 2, 1, Some("b")),
        (3, 2, 2, Some("c")),
        (3, 2, 3, Some("&d")),
        (3, 2, 4, None),
        (3, 3, 1, None),
        (3, 4, 1, Some("e")),
        (3, 5, 1, None),
        (3, 0, 1, None),
        (3, 1, 0, None),
        (4, 1, 1, None),
        (5, 1, 1, None),
        (6, 1, 1, Some("5")),
        (20, 1, 1, None),
    ] {
        assert_eq!(
            value(field, component, sub),
            Ok(expected.map(str::to_owned)),
            "{field}.{component}.{sub}"
        );
    }
    assert!(obx.field(3).is_repeated() && !obx.field(1).is_repeated());
    assert!(obx.field(4).is_empty() && !obx.field(4).is_null());
    assert!(obx.field(5).is_null() && !obx.field(5).is_empty());
    let error = value(7, 1, 1).expect_err("an escape that nobody knows");
    assert_eq!(error.location, Location::new("OBX", 1, Some(7)));
    assert_eq!(error.to_string(), "OBX[1]-7: an escape sequence that cannot be read");
    assert_eq!(obx.field(7).component(1).decoded().text, "5\\Q\\");
}

/// Everything that can be asked of a message is asked.
fn walk(message: &Message) -> usize {
    let mut seen = 0;
    for segment in message.segments() {
        for number in 0..=segment.len().min(40) + 1 {
            let field = segment.field(number);
            seen += field.location().to_string().len();
            for repetition in field.repetitions() {
                seen += usize::from(repetition.text().is_ok());
                for component in repetition.components() {
                    seen += component.value().map_or(0, |v| v.map_or(0, |v| v.len()));
                }
            }
        }
    }
    seen
}

/// Bytes that resemble messages: with the signs that mean something, cut and changed anywhere.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"MSH|^~\\&|A|B|C|D|20261122||ORU^R01|1|P|2.5.1".to_vec()),
        Just(b"\rPID|1||7^^^H^MR~8||X^Y||19580214|F".to_vec()),
        Just(b"\rOBX|1|NM|1975-2^B^LN||1.2|mg/dL|||||F".to_vec()),
        Just("\u{603b}\\J\u{fc}\\".as_bytes().to_vec()),
        "[|^~\\\\&\r\n\"#]{0,6}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_it_panic(raw in prop_oneof![
        nearly_a_message(),
        nearly_a_message().prop_map(|rest| [b"MSH|^~\\&|".to_vec(), rest].concat()),
        proptest::collection::vec(any::<u8>(), 0..200),
    ]) {
        for default in [Charset::UTF_8, Charset::GB_18030, Charset::BYTES] {
            if let Ok(message) = Message::parse(&raw, default) {
                walk(&message);
            }
            let header = Header::read(&raw, default);
            prop_assert!(header.kind().len() <= 7);
            if let Some(answer) = ack::acknowledge(&header, Answer::Rejected, &[], "1", "2") {
                // Whoever reads the answer can: it is a message, and holds nothing that ends a frame.
                prop_assert!(!answer.bytes.iter().any(|b| matches!(b, 0x0b | 0x1c)));
                prop_assert!(Message::parse(&answer.bytes, header.charset).is_ok());
            }
        }
    }

    #[test]
    fn a_public_parser_reads_the_same(rows in proptest::collection::vec(
        proptest::collection::vec("[a-z0-9 .总]{0,4}([\\^&~][a-z0-9.]{1,3}|\\\\[FSTRE]\\\\|\\\\X0D\\\\){0,4}", 1..7),
        1..6,
    ), end in prop_oneof![Just("\r"), Just("\n"), Just("\r\n")]) {
        let mut text = String::from("MSH|^~\\&|A|B|C|D|20261122||ORU^R01|1|P|2.5.1");
        for (at, row) in rows.iter().enumerate() {
            text.push_str(end);
            text.push_str(["OBX", "PID", "ZX1"][at % 3]);
            for field in row {
                text.push('|');
                text.push_str(field);
            }
        }
        let ours = parsed(&text);
        let theirs = hl7_parser::parse_message_with_lenient_newlines(&text).expect("a valid message");
        prop_assert_eq!(ours.segments().count(), theirs.segments().count());
        for (at, segment) in ours.segments().enumerate().skip(1) {
            let other = theirs.segment_n(segment.name(), segment.sequence()).expect("the same segment");
            prop_assert_eq!(segment.len(), other.fields().count());
            for (n, field) in other.fields().enumerate() {
                let own = segment.field(n + 1);
                prop_assert_eq!(own.raw(), field.raw_value(), "segment {}, field {}", at, n + 1);
                for (r, repeat) in field.repeats().enumerate() {
                    let own = own.repetitions().nth(r).expect("as many repetitions");
                    for (c, component) in repeat.components().enumerate() {
                        let own = own.component(c + 1);
                        prop_assert_eq!(own.raw(), component.raw_value());
                        for (s, sub) in component.subcomponents().enumerate() {
                            let value = own.subcomponent(s + 1).expect("every escape is known");
                            prop_assert_eq!(value.as_deref().unwrap_or_default(), ours_of(sub.raw_value()));
                        }
                    }
                }
            }
        }
    }
}

/// What the public parser's raw value means. Its own decoding counts characters as bytes, and so is
/// not asked wherever there may be others than ASCII.
fn ours_of(raw: &str) -> String {
    let separators = hl7_parser::message::Separators::default();
    if raw.is_ascii() {
        separators.decode(raw.trim()).to_string()
    } else {
        let named = [("F", "|"), ("S", "^"), ("T", "&"), ("R", "~"), ("X0D", "\r"), ("E", "\\")];
        named
            .iter()
            .fold(raw.trim().to_owned(), |text, (letter, sign)| text.replace(&format!("\\{letter}\\"), sign))
    }
}
