//! What is to be answered to a message, if its bytes can be stored. Pure: looks at the bytes and the
//! site, at nothing else, so that the same bytes get the same answer again.

use crate::fact::Reason;
use crate::hl7v2::ack::{Answer, ErrorCode, Report, Severity};
use crate::hl7v2::message::{Location, Message, ParseError, ParseErrorKind};
use crate::normalize::hl7v2::{self, Content, MessageProblem};
use crate::protocol::site::Hl7v2;
use sha2::{Digest, Sha256};

/// How a message is answered that was stored but cannot be mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// AA: the sender has done its part, and its queue goes on. What cannot be used is in quarantine.
    #[default]
    Accept,
    /// AE with the place.
    Strict,
}

impl Mode {
    /// From the configuration's word, which was checked.
    pub fn named(word: &str) -> Mode {
        if word == "strict" { Mode::Strict } else { Mode::Accept }
    }
}

/// What is to be answered if the bytes can be stored.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    pub answer: Answer,
    pub reports: Vec<Report>,
}

impl Verdict {
    fn of(answer: Answer, report: Report) -> Verdict {
        Verdict { answer, reports: vec![report] }
    }

    /// There is something in it that cannot be used.
    fn unusable(mode: Mode, reports: Vec<Report>) -> Verdict {
        match mode {
            Mode::Accept => Verdict { answer: Answer::Accepted, reports: Vec::new() },
            Mode::Strict => Verdict { answer: Answer::Refused, reports },
        }
    }
}

/// Reports of one message. A message with more of them is wrong as a whole.
const REPORTS: usize = 20;

/// Reads a message as the pipeline will.
pub fn judge(raw: &[u8], mode: Mode, site: &Hl7v2) -> Verdict {
    let message = match Message::parse(raw, site.charset) {
        Ok(message) => message,
        Err(error) => return unreadable(&error),
    };
    // Ids are only told apart here, so that they need no secret.
    let id = |parts: &[&str]| crate::protocol::document::hex(&Sha256::digest(parts.join("\n")));
    let content =
        hl7v2::resources(&message, site, &id).and_then(|content| production(&message).map(|()| content));
    match content {
        Ok(Content::NotNeeded) => Verdict { answer: Answer::Accepted, reports: Vec::new() },
        Ok(Content::Resources(converted)) => {
            let failed = converted.into_iter().filter_map(|c| c.content.err());
            let reports: Vec<Report> =
                failed.take(REPORTS).map(|(reason, path)| field(reason, &path)).collect();
            match reports.is_empty() {
                true => Verdict { answer: Answer::Accepted, reports },
                false => Verdict::unusable(mode, reports),
            }
        }
        Err(problem) if problem.is_rejection() => Verdict::of(Answer::Rejected, of_message(problem)),
        Err(problem) => Verdict::unusable(mode, vec![of_message(problem)]),
    }
}

/// Only production messages enter a trial's data.
///
/// # Source
/// HL7 v2.8 chapter 2, table 0103: P production, T training, D debugging.
fn production(message: &Message) -> Result<(), MessageProblem> {
    let field = message.header().field(11);
    if field.component(1).decoded().text.trim() == "P" {
        return Ok(());
    }
    Err(MessageProblem {
        code: ErrorCode::UnsupportedProcessingId,
        location: field.location(),
        text: "only production messages (P) are taken".into(),
    })
}

/// Without its header, or in another character set than it names, there is no message; otherwise there
/// is one, and it is wrong somewhere.
fn unreadable(error: &ParseError) -> Verdict {
    let answer = match error.kind {
        ParseErrorKind::Charset(_) | ParseErrorKind::NoHeader | ParseErrorKind::Delimiters => {
            Answer::Rejected
        }
        _ => Answer::Refused,
    };
    Verdict::of(answer, of_message(error.clone().into()))
}

fn of_message(problem: MessageProblem) -> Report {
    Report {
        code: problem.code,
        severity: Severity::Error,
        reason: problem.reason().code().to_owned(),
        location: Some(problem.location),
        text: problem.text,
    }
}

fn field(reason: Reason, path: &str) -> Report {
    let code = match reason {
        Reason::UnitUnknown | Reason::Unmapped | Reason::AnswerUnknown | Reason::SystemMissing => {
            ErrorCode::TableValueNotFound
        }
        Reason::SubjectMissing => ErrorCode::UnknownKeyIdentifier,
        Reason::Conflict | Reason::CodeConflict => ErrorCode::DuplicateKeyIdentifier,
        _ => ErrorCode::DataTypeError,
    };
    Report {
        code,
        severity: Severity::Error,
        location: location(path),
        reason: reason.code().to_owned(),
        text: reason.hint().to_owned(),
    }
}

/// `OBX[3]-6`, `PID-7`, `OBX[1]` as a place in the message.
fn location(path: &str) -> Option<Location> {
    let (segment, field) = match path.split_once('-') {
        Some((segment, field)) => (segment, Some(field.parse().ok()?)),
        None => (path, None),
    };
    let (name, sequence) = match segment.strip_suffix(']').and_then(|s| s.split_once('[')) {
        Some((name, sequence)) => (name, sequence.parse().ok()?),
        None => (segment, 1),
    };
    Some(Location::new(name, sequence, field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7v2::ack::acknowledge;
    use crate::hl7v2::frame::FrameCodec;
    use crate::hl7v2::header::Header;
    use proptest::prelude::*;
    use tokio_util::bytes::BytesMut;
    use tokio_util::codec::Encoder;

    const ORU: &str = "MSH|^~\\&|LAB|HOSP|TB|T|20261122101400+0800||ORU^R01|ID7|P|2.5.1\rPID|1||7^^^HOSP^MR\r\
                       OBR|1|P1|F1|24325-3^^LN|||20261122\rOBX|1|NM|1742-6^^LN||64|U/L^^UCUM|||||F\r";

    proptest! {
        #[test]
        fn damaged_messages_are_answered_and_the_answer_fits_in_a_frame(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut raw = ORU.as_bytes().to_vec();
            for (at, byte) in &changes {
                let at = at.index(raw.len());
                raw[at] = *byte;
            }
            if changes.len() % 3 == 2 {
                raw.truncate(cut.index(raw.len() + 1));
            }
            let site = Hl7v2::default();
            let verdict = judge(&raw, Mode::Strict, &site);
            prop_assert_eq!(&judge(&raw, Mode::Strict, &site), &verdict, "the same again");
            let accepts = verdict.answer == Answer::Accepted;
            prop_assert_eq!(verdict.reports.is_empty(), accepts, "what is refused is explained");
            if changes.is_empty() {
                prop_assert!(accepts);
            }
            // Mode changes a refusal of the content to an acceptance, and nothing else.
            let lenient = judge(&raw, Mode::Accept, &site).answer;
            prop_assert!(lenient == verdict.answer || (lenient, verdict.answer) == (Answer::Accepted, Answer::Refused));
            let header = Header::read(&raw, site.charset);
            if let Some(ack) = acknowledge(&header, verdict.answer, &verdict.reports, "TB1", "20261122") {
                let mut frame = BytesMut::new();
                FrameCodec::default().encode(&ack.bytes, &mut frame).expect("no byte of a frame's is in it");
            }
        }
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        #[rustfmt::skip]
        let table = [
            ("OBX[3]-6", Some(Location::new("OBX", 3, Some(6)))),
            ("PID-7",    Some(Location::new("PID", 1, Some(7)))),
            ("OBX[12]",  Some(Location::new("OBX", 12, None))),
            ("MRG",      Some(Location::new("MRG", 1, None))),
            ("OBX[x]-6", None),
            ("OBX[1]-x", None),
        ];
        for (path, expected) in table {
            assert_eq!(location(path), expected, "{path}");
            if let Some(location) = expected {
                let shown = location.to_string();
                assert!(shown == path || shown == path.replace("[1]", ""), "{shown} {path}");
            }
        }
    }
}
