//! `hl7 send`: messages from files or made up here, one after another over one connection; each waits
//! for its answer.

use super::generate::{self, Kind};
use super::tls;
use super::wire::{Parts, Wire, grouped, shown, text};
use crate::cli::output::Out;
use crate::cli::shell::block_on;
use crate::cli::{Failure, Global, Outcome, Output, exit};
use crate::hl7v2::frame::{FrameCodec, Piece, START};
use clap::Args;
use serde::Serialize;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Where the receiver listens
    #[arg(value_name = "HOST:PORT")]
    pub to: String,
    /// Files with messages, framed or not; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "generate")]
    pub files: Vec<PathBuf>,
    /// A message of an invented patient
    #[arg(long, value_enum, value_name = "KIND")]
    pub generate: Option<Kind>,
    /// Record number of the invented patient
    #[arg(long, value_name = "ID", default_value = "SYN-0001", value_parser = generate::patient, requires = "generate")]
    pub patient: String,
    /// Over TLS; trusts the authority of --ca-file
    #[arg(long, requires = "ca_file")]
    pub tls: bool,
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub ca_file: Option<PathBuf>,
    /// A client certificate, for receivers that ask for one
    #[arg(long, value_name = "FILE", requires_all = ["tls", "key_file"])]
    pub cert_file: Option<PathBuf>,
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// The answer that every message should get; default: AA or CA
    #[arg(long, value_name = "CODE", value_parser = ["AA", "AE", "AR", "CA", "CE", "CR"])]
    pub expect: Option<String>,
    /// Seconds to wait for a connection and for each answer
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Exchange {
    schema: &'static str,
    message: Sent,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    /// The answer is the one that was expected, and answers this message.
    expected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    event: String,
    control_id: String,
    bytes: usize,
    charset: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    code: String,
    control_id: String,
    milliseconds: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Trouble>,
}

/// One ERR segment.
#[derive(Serialize)]
struct Trouble {
    code: String,
    meaning: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    location: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    severity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let mut messages = Vec::new();
    for file in &arguments.files {
        messages.extend(from_file(file)?);
    }
    if let Some(kind) = arguments.generate {
        let now = chrono::Local::now().fixed_offset();
        let control_id = format!("TB{}", now.format("%y%m%d%H%M%S%3f"));
        messages.push(generate::message(kind, &arguments.patient, &control_id, now).into_bytes());
    }
    block_on(send(global, arguments, &messages))?
}

/// The messages of a file.
fn from_file(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let name = path.display();
    let unreadable = |e: std::io::Error| Failure::problem(format!("{name}: {e}"));
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
        bytes
    } else {
        std::fs::read(path).map_err(unreadable)?
    };
    let messages = if bytes.contains(&START) { framed(&bytes) } else { lines(&bytes) };
    let messages = messages.map_err(|text| Failure::problem(format!("{name}: {text}")))?;
    if messages.is_empty() {
        return Err(Failure::problem(format!("{name}: no message; one begins with MSH")));
    }
    Ok(messages)
}

/// The messages of a recorded stream, as they stand.
fn framed(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let (mut codec, mut buffer) = (FrameCodec::default(), BytesMut::from(bytes));
    let mut messages = Vec::new();
    while let Some(piece) = codec.decode_eof(&mut buffer).map_err(|e| e.to_string())? {
        match piece {
            Piece::Message(bytes) => messages.push(bytes.to_vec()),
            Piece::Broken { fault, .. } => {
                return Err(format!("after {} whole frames: {}", messages.len(), fault.word()));
            }
        }
    }
    Ok(messages)
}

/// The messages of a text: each begins with a line MSH. Whatever ends its lines, segments are sent with
/// carriage returns. The envelopes of batch files are left out.
fn lines(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in bytes.split(|b| matches!(b, b'\r' | b'\n')) {
        let is_envelope = [&b"FHS"[..], b"BHS", b"BTS", b"FTS"].iter().any(|name| line.starts_with(name));
        if is_envelope || line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if line.starts_with(b"MSH") {
            messages.push(Vec::new());
        }
        let Some(message) = messages.last_mut() else {
            return Err("something stands before the first line MSH".into());
        };
        message.extend_from_slice(line);
        message.push(b'\r');
    }
    Ok(messages)
}

async fn connect(arguments: &Arguments) -> Result<Wire, Failure> {
    let to = &arguments.to;
    let patience = Duration::from_secs(arguments.timeout);
    let unreachable = |text: String| {
        Failure::new(exit::UNREACHABLE, format!("{to}: {text}"), "does the receiver listen there?")
    };
    let Some((host, _)) = to.rsplit_once(':') else {
        return Err(Failure::new(exit::USAGE, format!("{to}: HOST:PORT was expected"), ""));
    };
    let stream = timeout(patience, TcpStream::connect(to.as_str()))
        .await
        .map_err(|_| unreachable(format!("no connection in {} s", arguments.timeout)))?
        .map_err(|e| unreachable(e.to_string()))?;
    // Costs time where it fails, nothing else.
    let _ = stream.set_nodelay(true);
    let Some(ca) = arguments.ca_file.as_deref().filter(|_| arguments.tls) else {
        return Ok(Wire::new(Box::new(stream)));
    };
    let own = arguments.cert_file.as_deref().zip(arguments.key_file.as_deref());
    let config = tls::client_config(ca, own).map_err(|e| Failure::new(exit::CONFIG, e, ""))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host)
        .map_err(|_| Failure::new(exit::USAGE, format!("{to}: TLS needs a name or an address"), ""))?;
    let stream = timeout(patience, TlsConnector::from(config).connect(name, stream))
        .await
        .map_err(|_| unreachable("no TLS handshake in time".into()))?
        .map_err(|e| unreachable(format!("TLS: {e}")))?;
    Ok(Wire::new(Box::new(stream)))
}

async fn send(global: &Global, arguments: &Arguments, messages: &[Vec<u8>]) -> Outcome {
    let mut wire = connect(arguments).await?;
    let mut out = Out::new();
    let (mut exchanges, mut good) = (Vec::new(), true);
    for message in messages {
        let exchange = exchange(&mut wire, arguments, message).await;
        good &= exchange.expected;
        // After a connection that broke, nothing more can be sent.
        let is_over = exchange.answer.is_none();
        match global.output() {
            Output::Table => exchange.print(&mut out)?,
            Output::Ndjson => out.json(&exchange)?,
            Output::Json => exchanges.push(exchange),
        }
        if is_over {
            break;
        }
    }
    wire.close().await;
    if global.output() == Output::Json {
        out.json(&exchanges)?;
    }
    out.finish()?;
    Ok(if good { 0 } else { exit::PROBLEMS })
}

async fn exchange(wire: &mut Wire, arguments: &Arguments, message: &[u8]) -> Exchange {
    let (read, charset) = text(message);
    let parts = Parts::of(&read);
    let message_type: Vec<&str> = parts.header(9).split('^').take(2).collect();
    let sent = Sent {
        event: shown(&message_type.join("^")),
        control_id: shown(parts.header(10)),
        bytes: message.len(),
        charset: shown(&charset),
    };
    let schema = "trialbridge/hl7-send/v1";
    let began = Instant::now();
    let answered = async {
        wire.send(message).await?;
        wire.next().await
    };
    let problem = match timeout(Duration::from_secs(arguments.timeout), answered).await {
        Ok(Ok(Some(bytes))) => {
            let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let answer = Answer::read(&bytes, milliseconds);
            let problem = answer.problem(&sent, arguments.expect.as_deref());
            let expected = problem.is_none();
            return Exchange { schema, message: sent, answer: Some(answer), expected, problem };
        }
        Ok(Ok(None)) => "the receiver closed the connection without an answer".into(),
        Ok(Err(error)) => format!("the connection broke: {error}"),
        Err(_) => format!("no answer in {} s", arguments.timeout),
    };
    Exchange { schema, message: sent, answer: None, expected: false, problem: Some(problem) }
}

impl Answer {
    fn read(bytes: &[u8], milliseconds: u64) -> Answer {
        let (read, _) = text(bytes);
        let parts = Parts::of(&read);
        let field = |segment: &[&str], number: usize| shown(segment.get(number).copied().unwrap_or_default());
        let (code, control_id) = match parts.segment("MSA") {
            Some(msa) => (field(msa, 1), field(msa, 2)),
            None => Default::default(),
        };
        let of_error = |err: &[&str]| {
            let coded = field(err, 3);
            let mut components = coded.split('^');
            let code = components.next().unwrap_or_default().to_owned();
            let given = components.next().unwrap_or_default();
            let meaning = meaning(&code).map_or_else(|| given.to_owned(), str::to_owned);
            Trouble { code, meaning, location: field(err, 2), severity: field(err, 4), text: field(err, 8) }
        };
        let errors = parts.segments().filter(|s| s.first() == Some(&"ERR")).map(of_error).collect();
        Answer { code, control_id, milliseconds, errors }
    }

    /// Why this is not the answer that was hoped for.
    fn problem(&self, sent: &Sent, expected: Option<&str>) -> Option<String> {
        if self.code.is_empty() {
            return Some("the answer holds no MSA segment".into());
        }
        if self.control_id != sent.control_id {
            return Some("the answer is for another message: its MSA-2 is not the control id sent".into());
        }
        match expected {
            Some(code) if self.code != code => Some(format!("{code} was expected")),
            None if !matches!(self.code.as_str(), "AA" | "CA") => Some("AA or CA was expected".into()),
            _ => None,
        }
    }
}

impl Exchange {
    fn print(&self, out: &mut Out) -> Result<(), Failure> {
        let Sent { event, control_id, bytes, charset } = &self.message;
        out.line(&format!("-> {event} control id {control_id} ({} bytes, {charset})", grouped(*bytes)))?;
        if let Some(answer) = &self.answer {
            let Answer { code, control_id, milliseconds, errors } = answer;
            out.line(&format!("<- MSA|{code}|{control_id} in {milliseconds} ms"))?;
            for Trouble { code, meaning, location, severity, text } in errors {
                let mut line = format!("   ERR {code} {meaning}");
                if !location.is_empty() {
                    line += &format!(" at {location}");
                }
                if !severity.is_empty() {
                    line += &format!(" ({})", severity_word(severity));
                }
                if !text.is_empty() {
                    line += &format!(": {text}");
                }
                out.line(&line)?;
            }
        }
        if let Some(problem) = &self.problem {
            out.line(&format!("   {problem}"))?;
        }
        Ok(())
    }
}

fn severity_word(code: &str) -> &str {
    match code {
        "E" => "error",
        "F" => "fatal error",
        "I" => "information",
        "W" => "warning",
        other => other,
    }
}

/// # Source
/// HL7 table 0357, Message Error Condition Codes.
fn meaning(code: &str) -> Option<&'static str> {
    Some(match code {
        "0" => "message accepted",
        "100" => "segment sequence error",
        "101" => "required field missing",
        "102" => "data type error",
        "103" => "table value not found",
        "104" => "value too long",
        "198" => "non-conformant cardinality",
        "199" => "other HL7 error",
        "200" => "unsupported message type",
        "201" => "unsupported event code",
        "202" => "unsupported processing id",
        "203" => "unsupported version id",
        "204" => "unknown key identifier",
        "205" => "duplicate key identifier",
        "206" => "application record locked",
        "207" => "application internal error",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_hold_messages_in_any_dress() {
        let two = [b"MSH|^~\\&|A\rPID|1\r".to_vec(), b"MSH|^~\\&|B\r".to_vec()];
        for text in [
            "MSH|^~\\&|A\rPID|1\rMSH|^~\\&|B\r",
            "MSH|^~\\&|A\nPID|1\n\nMSH|^~\\&|B",
            "\u{FEFF}MSH|^~\\&|A\r\nPID|1\r\nMSH|^~\\&|B\r\n",
            "FHS|^~\\&|\rBHS|^~\\&|\rMSH|^~\\&|A\rPID|1\rMSH|^~\\&|B\rBTS|2\rFTS|1\r",
        ] {
            assert_eq!(lines(text.as_bytes()).as_deref(), Ok(two.as_slice()), "{text}");
        }
        assert_eq!(lines(b"").as_deref(), Ok([].as_slice()));
        assert!(lines(b"PID|1\rMSH|").is_err());
        // Framed: byte for byte, whatever it is.
        let stream = b"\x0bMSH|1\n\x1c\r\x0bany\x1c\r\n";
        assert_eq!(framed(stream).as_deref(), Ok([b"MSH|1\n".to_vec(), b"any".to_vec()].as_slice()));
        assert_eq!(
            framed(b"\x0bA\x1c\r\x0bB").expect_err("no end"),
            "after 1 whole frames: frame-without-end"
        );
    }

    #[test]
    fn an_answer_is_held_against_what_was_sent_and_expected() {
        let sent = || Sent { event: "ORU^R01".into(), control_id: "7".into(), bytes: 1, charset: "".into() };
        #[rustfmt::skip]
        let table = [
            ("MSA|AA|7",   None,       None),
            ("MSA|CA|7",   None,       None),
            ("MSA|AE|7",   None,       Some("AA or CA was expected")),
            ("MSA|AE|7",   Some("AE"), None),
            ("MSA|AA|7",   Some("AE"), Some("AE was expected")),
            ("MSA|AA|6",   None,       Some("the answer is for another message: its MSA-2 is not the control id sent")),
            ("MSA|AA",     None,       Some("the answer is for another message: its MSA-2 is not the control id sent")),
            ("ERR",        None,       Some("the answer holds no MSA segment")),
        ];
        for (segment, expected, problem) in table {
            let answer = Answer::read(format!("MSH|^~\\&|\r{segment}\r").as_bytes(), 1);
            assert_eq!(answer.problem(&sent(), expected).as_deref(), problem, "{segment}");
        }
        let answer = Answer::read(
            b"MSH|^~\\&|\rMSA|AE|7\rERR||OBX^3^6|103^Table value not found^HL70357|E||||unit \x1b[31m\r",
            1,
        );
        let error = &answer.errors[0];
        assert_eq!((error.code.as_str(), error.meaning.as_str()), ("103", "table value not found"));
        assert_eq!((error.location.as_str(), error.severity.as_str()), ("OBX^3^6", "E"));
        assert_eq!(error.text, "unit \u{FFFD}[31m");
    }
}
