//! The acknowledgement of a message, in the original and in the enhanced mode, written with the
//! sender's own delimiters and in its character set.
//!
//! MSA-2 is always the MSH-10 of the message that is answered. An ERR segment names the place and the
//! rule, never a value. Pure: the control id and the time are arguments.

use super::charset::Charset;
use super::header::Header;
use super::message::Location;
use std::fmt::Write as _;

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored, and nothing stands against it.
    Accepted,
    /// Stored, and its content will not be used as it is: the same again will not help.
    Refused,
    /// Not stored, through no fault of the message: to be sent again later.
    NotStored,
    /// A header that is not taken: wrong kind, version, character set.
    Rejected,
}

/// HL7 table 0357, message error condition codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    Accepted,
    SegmentSequenceError,
    RequiredFieldMissing,
    DataTypeError,
    TableValueNotFound,
    UnsupportedMessageType,
    UnsupportedEventCode,
    UnsupportedProcessingId,
    UnsupportedVersionId,
    UnknownKeyIdentifier,
    DuplicateKeyIdentifier,
    RecordLocked,
    ApplicationError,
}

impl ErrorCode {
    pub fn number(self) -> u16 {
        self.row().0
    }

    pub fn text(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (u16, &'static str) {
        match self {
            ErrorCode::Accepted => (0, "Message accepted"),
            ErrorCode::SegmentSequenceError => (100, "Segment sequence error"),
            ErrorCode::RequiredFieldMissing => (101, "Required field missing"),
            ErrorCode::DataTypeError => (102, "Data type error"),
            ErrorCode::TableValueNotFound => (103, "Table value not found"),
            ErrorCode::UnsupportedMessageType => (200, "Unsupported message type"),
            ErrorCode::UnsupportedEventCode => (201, "Unsupported event code"),
            ErrorCode::UnsupportedProcessingId => (202, "Unsupported processing id"),
            ErrorCode::UnsupportedVersionId => (203, "Unsupported version id"),
            ErrorCode::UnknownKeyIdentifier => (204, "Unknown key identifier"),
            ErrorCode::DuplicateKeyIdentifier => (205, "Duplicate key identifier"),
            ErrorCode::RecordLocked => (206, "Application record locked"),
            ErrorCode::ApplicationError => (207, "Application internal error"),
        }
    }
}

/// HL7 table 0516.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
    Information,
}

/// One ERR segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub code: ErrorCode,
    pub severity: Severity,
    /// ERR-2.
    pub location: Option<Location>,
    /// ERR-5: a reason code of this program, for example `control-id-reuse`; may be empty.
    pub reason: String,
    /// ERR-8, for people: the rule and the remedy, never a value; may be empty.
    pub text: String,
}

/// An acknowledgement, ready to be framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// MSA-1, for metrics.
    pub code: &'static str,
    pub bytes: Vec<u8>,
}

/// The acknowledgement that the sender asked for, if it asked for one. `control_id` and `time` (a DTM)
/// become MSH-10 and MSH-7 of the answer.
///
/// In the enhanced mode one answer is given: the accept acknowledgement (CA, CE, CR) where MSH-15 asks
/// for it, else the application acknowledgement (AA, AE, AR) where MSH-16 does. A sender on one
/// connection waits for one. `None` as well for an acknowledgement: answering those would never end.
///
/// # Source
/// HL7 v2.8 chapter 2, "Message processing rules" and table 0155 (AL, NE, ER, SU).
pub fn acknowledge(
    header: &Header,
    answer: Answer,
    reports: &[Report],
    control_id: &str,
    time: &str,
) -> Option<Acknowledgement> {
    let code = code(header, answer)?;
    let d = &header.delimiters;
    let (f, c) = (d.field, d.component);
    let kind = match header.trigger_event() {
        Some(event) => format!("ACK{c}{event}{c}ACK"),
        None => "ACK".to_owned(),
    };
    let or = |number: usize, other: &'static str| match header.raw(number) {
        "" => other.to_owned(),
        given => given.to_owned(),
    };
    // Only what is also done is said: a set that is not supported was not written either.
    let name = header.raw(18);
    let first = name.split(d.repetition).next().unwrap_or_default();
    let charset = if Charset::named(first) == Some(header.charset) { name } else { "" };
    let fields: [&str; 17] = [
        &d.encoding_characters(),
        header.raw(5),
        header.raw(6),
        header.raw(3),
        header.raw(4),
        &d.encode(time),
        "",
        &kind,
        &d.encode(control_id),
        &or(11, "P"),
        &or(12, "2.5.1"),
        "",
        "",
        "",
        "",
        "",
        charset,
    ];
    let mut text = format!("MSH{f}{}", fields.join(&f.to_string()));
    while text.ends_with(f) {
        text.pop();
    }
    let _ = write!(text, "\rMSA{f}{code}{f}{}\r", header.raw(10));
    for report in reports {
        let place = report.location.as_ref().map(|l| l.erl(c)).unwrap_or_default();
        let severity = match report.severity {
            Severity::Error => "E",
            Severity::Warning => "W",
            Severity::Information => "I",
        };
        let error = format!("{}{c}{}{c}HL70357", report.code.number(), report.code.text());
        let reason = d.encode(&report.reason);
        let words = d.encode(&report.text);
        let mut segment = format!("ERR{f}{f}{place}{f}{error}{f}{severity}{f}{reason}{f}{f}{f}{words}");
        segment.truncate(segment.trim_end_matches(f).len());
        text.push_str(&segment);
        text.push('\r');
    }
    Some(Acknowledgement { code, bytes: header.charset.encode(&text) })
}

/// MSA-1.
fn code(header: &Header, answer: Answer) -> Option<&'static str> {
    if matches!(header.message_code(), Some("ACK" | "MCF" | "NAK")) {
        return None;
    }
    let application = match answer {
        Answer::Accepted => "AA",
        Answer::Refused | Answer::NotStored => "AE",
        Answer::Rejected => "AR",
    };
    if !header.is_enhanced() {
        return Some(application);
    }
    // What is stored is accepted, whatever will become of its content.
    let accept = match answer {
        Answer::Accepted | Answer::Refused => "CA",
        Answer::NotStored => "CE",
        Answer::Rejected => "CR",
    };
    let wants = |condition: &str, is_success: bool| match condition {
        "" | "NE" => false,
        "ER" => !is_success,
        "SU" => is_success,
        _ => true,
    };
    if wants(header.raw(15), accept == "CA") {
        Some(accept)
    } else if wants(header.raw(16), application == "AA") {
        Some(application)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(header: &str, answer: Answer, reports: &[Report]) -> Option<String> {
        let header = Header::read(header.as_bytes(), Charset::UTF_8);
        acknowledge(&header, answer, reports, "TB1", "20261122101500+0800")
            .map(|a| String::from_utf8(a.bytes).expect("UTF-8 was read and is written"))
    }

    fn code_of(accept: &str, application: &str, answer: Answer) -> Option<&'static str> {
        let text = format!("MSH|^~\\&|A|B|C|D|20261122||ORU^R01|7|P|2.5.1|||{accept}|{application}");
        code(&Header::read(text.as_bytes(), Charset::UTF_8), answer)
    }

    #[test]
    fn which_code_is_answered() {
        use Answer::{Accepted, NotStored, Refused, Rejected};
        // MSH-15, MSH-16, then the code for accepted, refused, not stored, rejected
        for (accept, application, codes) in [
            ("", "", [Some("AA"), Some("AE"), Some("AE"), Some("AR")]),
            ("AL", "NE", [Some("CA"), Some("CA"), Some("CE"), Some("CR")]),
            ("AL", "AL", [Some("CA"), Some("CA"), Some("CE"), Some("CR")]),
            ("AL", "", [Some("CA"), Some("CA"), Some("CE"), Some("CR")]),
            ("NE", "AL", [Some("AA"), Some("AE"), Some("AE"), Some("AR")]),
            ("", "AL", [Some("AA"), Some("AE"), Some("AE"), Some("AR")]),
            ("NE", "NE", [None, None, None, None]),
            ("ER", "NE", [None, None, Some("CE"), Some("CR")]),
            ("SU", "NE", [Some("CA"), Some("CA"), None, None]),
            ("ER", "AL", [Some("AA"), Some("AE"), Some("CE"), Some("CR")]),
            ("NE", "ER", [None, Some("AE"), Some("AE"), Some("AR")]),
            ("NE", "SU", [Some("AA"), None, None, None]),
        ] {
            let found = [Accepted, Refused, NotStored, Rejected].map(|a| code_of(accept, application, a));
            assert_eq!(found, codes, "MSH-15 {accept:?}, MSH-16 {application:?}");
        }
    }

    #[test]
    fn an_acknowledgement_whole() {
        let header = "MSH|^~\\&|LIS^1.2.3^ISO|LAB|TRIALBRIDGE|HOSP|20261122101400||ORU^R01^ORU_R01|MSG0001|P|2.5.1\
                      ||||||UNICODE UTF-8\rPID|1||7";
        assert_eq!(
            answered(header, Answer::Accepted, &[]).as_deref(),
            Some(
                "MSH|^~\\&|TRIALBRIDGE|HOSP|LIS^1.2.3^ISO|LAB|20261122101500+0800||ACK^R01^ACK|TB1|P|2.5.1||||||\
                 UNICODE UTF-8\rMSA|AA|MSG0001\r"
            )
        );
        let reports = [
            Report {
                code: ErrorCode::DuplicateKeyIdentifier,
                severity: Severity::Error,
                location: Some(Location::new("MSH", 1, Some(10))),
                reason: "control-id-reuse".into(),
                text: "MSH-10 was used by another message | send a new one".into(),
            },
            Report {
                code: ErrorCode::TableValueNotFound,
                severity: Severity::Warning,
                location: Some(Location::new("OBX", 3, Some(6))),
                reason: String::new(),
                text: String::new(),
            },
        ];
        assert_eq!(
            answered(header, Answer::Refused, &reports).as_deref(),
            Some(
                "MSH|^~\\&|TRIALBRIDGE|HOSP|LIS^1.2.3^ISO|LAB|20261122101500+0800||ACK^R01^ACK|TB1|P|2.5.1||||||\
                 UNICODE UTF-8\rMSA|AE|MSG0001\r\
                 ERR||MSH^1^10|205^Duplicate key identifier^HL70357|E|control-id-reuse|||MSH-10 was used by \
                 another message \\F\\ send a new one\r\
                 ERR||OBX^3^6|103^Table value not found^HL70357|W\r"
            )
        );
    }

    #[test]
    fn whatever_can_be_read_of_the_header_is_answered() {
        // header, acknowledgement without MSH-7 to MSH-10
        for (header, expected) in [
            // Other delimiters are the sender's own also in the answer.
            (
                "MSH#$%*!#A#B#C#D#1##ADT$A08#X%1#P#2.3",
                "MSH#$%*!#C#D#A#B#T##ACK$A08$ACK#TB1#P#2.3\rMSA#AR#X%1\r",
            ),
            (
                "MSH|^~\\&#|A|B|C|D|1||ADT^A08|9|P|2.7",
                "MSH|^~\\&#|C|D|A|B|T||ACK^A08^ACK|TB1|P|2.7\rMSA|AR|9\r",
            ),
            // MSH-2 cannot be used: the fields can still be told apart.
            (
                "MSH|^^\\&|A|B|C|D|1||ADT^A08|9|P|2.3",
                "MSH|^~\\&|C|D|A|B|T||ACK^A08^ACK|TB1|P|2.3\rMSA|AR|9\r",
            ),
            ("MSH||||A", "MSH|^~\\&|A||||T||ACK|TB1|P|2.5.1\rMSA|AR|\r"),
            ("MSH|^~\\&|A", "MSH|^~\\&|||A||T||ACK|TB1|P|2.5.1\rMSA|AR|\r"),
            ("MSH", "MSH|^~\\&|||||T||ACK|TB1|P|2.5.1\rMSA|AR|\r"),
            ("MSHA", "MSH|^~\\&|||||T||ACK|TB1|P|2.5.1\rMSA|AR|\r"),
            ("PID|1", "MSH|^~\\&|||||T||ACK|TB1|P|2.5.1\rMSA|AR|\r"),
            ("", "MSH|^~\\&|||||T||ACK|TB1|P|2.5.1\rMSA|AR|\r"),
            // A control character could end the frame.
            (
                "MSH|^~\\&|A\u{1c}|B|C|D|1||ORU^R01|9\u{b}|P|2.3",
                "MSH|^~\\&|C|D|A|B|T||ACK^R01^ACK|TB1|P|2.3\rMSA|AR|9\r",
            ),
        ] {
            let read = Header::read(header.as_bytes(), Charset::UTF_8);
            let found = acknowledge(&read, Answer::Rejected, &[], "TB1", "T").expect("an answer");
            assert_eq!(String::from_utf8_lossy(&found.bytes), expected, "{header:?}");
        }
    }

    #[test]
    fn an_answer_is_in_the_senders_character_set() {
        let text = "MSH|^~\\&|检验科|医院|C|D|1||ORU^R01|号1|P|2.5.1||||||GB 18030-2000";
        let header = Header::read(&Charset::GB_18030.encode(text), Charset::UTF_8);
        assert_eq!(header.key().as_deref(), Some("检验科|医院|号1"));
        assert_eq!(header.source(), "hl7v2:检验科|医院");
        let answer = acknowledge(&header, Answer::Accepted, &[], "TB1", "T").expect("an answer");
        let decoded = Charset::GB_18030.decode(&answer.bytes).expect("it is GB 18030");
        assert_eq!(
            decoded,
            "MSH|^~\\&|C|D|检验科|医院|T||ACK^R01^ACK|TB1|P|2.5.1||||||GB 18030-2000\rMSA|AA|号1\r"
        );
        // Not what it says it is: the bytes of MSH-10 come back as they were.
        let raw = b"MSH|^~\\&|A|B|C|D|1||ORU^R01|\xFF1|P|2.5.1||||||UNICODE UTF-8";
        let header = Header::read(raw, Charset::UTF_8);
        let answer = acknowledge(&header, Answer::Rejected, &[], "TB1", "T").expect("an answer");
        assert!(answer.bytes.ends_with(b"\rMSA|AR|\xFF1\r"));
    }

    #[test]
    fn an_acknowledgement_is_never_acknowledged() {
        assert_eq!(answered("MSH|^~\\&|A|B|C|D|1||ACK^R01^ACK|9|P|2.5.1", Answer::Accepted, &[]), None);
        assert_eq!(answered("MSH|^~\\&|A|B|C|D|1||ACK|9|P|2.5.1", Answer::Rejected, &[]), None);
    }
}
