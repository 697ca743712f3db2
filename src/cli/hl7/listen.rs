//! `hl7 listen`: a test receiver. Prints what a sender sends, acknowledges it, keeps nothing.
//!
//! Prints only fields that say how a message is made, not of whom it speaks, unless `--phi` is given.

use super::wire::{Parts, Wire, grouped, shown, text};
use crate::cli::output::Out;
use crate::cli::serve::{address, listen, signal};
use crate::cli::shell::block_on;
use crate::cli::{Failure, Global, Outcome, Output};
use crate::hl7v2::ack::{Answer, ErrorCode, Report, Severity, acknowledge};
use crate::hl7v2::charset::Charset;
use crate::hl7v2::header::Header;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::bytes::Bytes;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Where to listen, such as 127.0.0.1:2575; port 0 takes a free one
    #[arg(value_name = "ADDR")]
    pub at: String,
    /// What to answer; in the enhanced mode CA, CE, CR
    #[arg(long, value_enum, default_value_t = Code::Aa, ignore_case = true)]
    pub answer: Code,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print every field, of persons too
    #[arg(long)]
    pub phi: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Code {
    #[value(name = "AA")]
    Aa,
    #[value(name = "AE")]
    Ae,
    #[value(name = "AR")]
    Ar,
}

/// What a connection reports, in order.
enum Event {
    /// A message came; the answer's MSA-1 goes with it.
    Heard(Bytes, Option<&'static str>, oneshot::Sender<()>),
    /// Its answer has left, or none was asked for.
    Answered,
    /// The connection ended in a way worth telling.
    Trouble(String),
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    block_on(receive(global, arguments))?
}

async fn receive(global: &Global, arguments: &Arguments) -> Outcome {
    let listener = listen(&arguments.at, "ADDR").await?;
    global.note(&format!("listening on {}; nothing is stored", address(&listener)));
    let (tell, mut events) = mpsc::channel(1);
    let stopped = signal();
    tokio::pin!(stopped);
    let mut left = arguments.count;
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(0),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(talk(stream, arguments.answer, tell.clone()))),
                Err(error) => global.note(&format!("a connection could not be taken: {error}")),
            },
            // Never ends: one sender stays here.
            Some(event) = events.recv() => match event {
                Event::Heard(bytes, code, printed) => {
                    print(global, arguments, &bytes, code)?;
                    // The connection may be gone; its message was printed all the same.
                    let _ = printed.send(());
                }
                Event::Trouble(text) => global.note(&text),
                Event::Answered => {
                    left = left.map(|n| n - 1);
                    if left == Some(0) {
                        return Ok(0);
                    }
                }
            },
        }
    }
}

/// One connection, message by message.
async fn talk(stream: TcpStream, answer: Code, tell: mpsc::Sender<Event>) {
    let mut wire = Wire::new(Box::new(stream));
    let mut number = 0u64;
    let trouble = loop {
        let bytes = match wire.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        number += 1;
        let header = Header::read(&bytes, Charset::UTF_8);
        let (reports, answer) = match answer {
            Code::Aa => (Vec::new(), Answer::Accepted),
            Code::Ae => (vec![asked_for()], Answer::Refused),
            Code::Ar => (vec![asked_for()], Answer::Rejected),
        };
        let now = chrono::Local::now();
        let control_id = format!("TBL{}{number}", now.format("%H%M%S%3f"));
        let time = now.format("%Y%m%d%H%M%S%z").to_string();
        let ack = acknowledge(&header, answer, &reports, &control_id, &time);
        let (printed, is_printed) = oneshot::channel();
        let heard = Event::Heard(bytes, ack.as_ref().map(|a| a.code), printed);
        if tell.send(heard).await.is_err() || is_printed.await.is_err() {
            break None;
        }
        if let Some(ack) = ack
            && let Err(error) = wire.send(&ack.bytes).await
        {
            break Some(error);
        }
        if tell.send(Event::Answered).await.is_err() {
            break None;
        }
    };
    if let Some(error) = trouble {
        let _ = tell.send(Event::Trouble(format!("a connection ended: {error}"))).await;
    }
    wire.close().await;
}

fn asked_for() -> Report {
    Report {
        code: ErrorCode::ApplicationError,
        severity: Severity::Error,
        location: None,
        reason: "test".into(),
        text: "this receiver was told to answer so".into(),
    }
}

/// Fields that are not of a person, by segment. Anything else, and any other segment, is counted only.
#[rustfmt::skip]
const PLAIN: [(&str, &[usize]); 9] = [
    ("MSH", &[3, 4, 5, 6, 7, 9, 10, 11, 12, 15, 16, 18]),
    ("EVN", &[1, 2]),
    ("ORC", &[1]),
    ("OBR", &[4, 22, 25]),
    ("OBX", &[2, 3, 6, 7, 11]),
    ("SPM", &[4]),
    ("PV1", &[2]),
    ("MSA", &[1, 2]),
    ("ERR", &[2, 3, 4]),
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Heard {
    schema: &'static str,
    event: String,
    control_id: String,
    bytes: usize,
    charset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'static str>,
    segments: Vec<Shown>,
}

/// A segment, as far as it may be seen.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    segment: String,
    /// By number, as far as they may be seen.
    fields: BTreeMap<usize, String>,
    /// Fields with something in them that is not shown.
    hidden: usize,
}

fn print(
    global: &Global,
    arguments: &Arguments,
    bytes: &[u8],
    answer: Option<&'static str>,
) -> Result<(), Failure> {
    let heard = Heard::read(bytes, answer, arguments.phi);
    let mut out = Out::new();
    if global.output() != Output::Table {
        out.json(&heard)?;
        return out.finish();
    }
    let Heard { event, control_id, bytes, charset, segments, .. } = heard;
    out.line(&format!("<- {event} control id {control_id} ({} bytes, {charset})", grouped(bytes)))?;
    for Shown { segment, fields, hidden } in segments {
        let mut line = format!("   {segment}");
        for (number, value) in fields {
            line += &format!("  {number}={value}");
        }
        if hidden > 0 {
            line += &format!("  ({hidden} more, --phi shows them)");
        }
        out.line(&line)?;
    }
    match answer {
        Some(code) => out.line(&format!("-> MSA|{code}|{control_id}"))?,
        None => out.line("-> no answer was asked for")?,
    }
    out.finish()
}

impl Heard {
    fn read(bytes: &[u8], answer: Option<&'static str>, phi: bool) -> Heard {
        let (read, charset) = text(bytes);
        let parts = Parts::of(&read);
        let event: Vec<&str> = parts.header(9).split('^').take(2).collect();
        Heard {
            schema: "trialbridge/hl7-listen/v1",
            event: shown(&event.join("^")),
            control_id: shown(parts.header(10)),
            bytes: bytes.len(),
            charset: shown(&charset),
            answer,
            segments: parts.segments().map(|s| Shown::of(s, phi)).collect(),
        }
    }
}

impl Shown {
    fn of(segment: &[&str], phi: bool) -> Shown {
        let name = segment.first().copied().unwrap_or_default();
        // What is no segment's name may be the middle of a sentence.
        let is_name = name.len() == 3 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let plain = PLAIN.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, fields)| fields);
        // MSH-1 is the separator itself.
        let offset = usize::from(name == "MSH");
        let (mut fields, mut hidden) = (BTreeMap::new(), usize::from(!is_name && !phi));
        for (at, value) in segment.iter().enumerate().skip(1 + offset) {
            let number = at + offset;
            if value.is_empty() {
                continue;
            }
            if phi || plain.contains(&number) {
                fields.insert(number, shown(value));
            } else {
                hidden += 1;
            }
        }
        let segment = if is_name || phi { shown(name) } else { "?".to_owned() };
        Shown { segment, fields, hidden }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::hl7::generate::{self, Kind};

    #[test]
    fn what_is_of_a_person_is_counted_and_not_shown() {
        let at = chrono::DateTime::parse_from_rfc3339("2026-11-23T04:30:00+08:00").expect("a time");
        let mut message = generate::message(Kind::OruLft, "CANARY-1", "TB1", at);
        message += "NTE|1||canary note\rcanary line without a name\rZPI|canary\r";
        let heard = Heard::read(message.as_bytes(), Some("AA"), false);
        let json = serde_json::to_string(&heard).expect("JSON");
        for secret in ["CANARY", "canary", "Synthetic", "19650314", "99.2"] {
            assert!(!json.contains(secret), "{secret} in {json}");
        }
        assert_eq!((heard.event.as_str(), heard.control_id.as_str()), ("ORU^R01", "TB1"));
        let of = |name: &str| heard.segments.iter().find(|s| s.segment == name).expect("there");
        assert_eq!(of("MSH").fields[&9], "ORU^R01^ORU_R01");
        assert_eq!(of("OBX").fields[&6], "umol/L^^UCUM");
        assert_eq!((of("PID").fields.len(), of("PID").hidden), (0, 5));
        assert_eq!((of("?").hidden, of("ZPI").hidden), (1, 1));

        let heard = Heard::read(message.as_bytes(), Some("AA"), true);
        let pid = heard.segments.iter().find(|s| s.segment == "PID").expect("there");
        assert_eq!((pid.fields[&3].as_str(), pid.hidden), ("CANARY-1^^^SYNTHETIC^MR", 0));
    }
}
