//! HL7 v2 messages to FHIR resources as JSON text, from where they walk the same path as any other:
//! results (`ORU^R01`) to Observations, registrations (`ADT`) to Patients.
//!
//! One unusable OBX is one bad entry and stops nothing else. Where it can be told *which* result could
//! not be read, its Observation is there as well, without a value: what cannot be read must not leave an
//! older value standing. No name, address or telephone number is taken: nothing here needs them.
//!
//! # Source
//! HL7 Version 2 to FHIR, 1.0.0, in our words where a rule is implemented.

mod person;
mod result;

use crate::fact::Reason;
use crate::hl7v2::ack::ErrorCode;
use crate::hl7v2::message::{BadEscape, Location, Message, ParseError, Segment};
use crate::hl7v2::time::{self, TimeError};
use crate::protocol::site::Hl7v2;
use person::Person;
use result::Order;
use serde_json::{Value, json};
use std::collections::HashMap;

/// What one segment gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// `OBX[3]`, `PID`.
    pub path: String,
    /// A FHIR resource, or why there is none and the field that prevents it (`OBX[3]-5`).
    pub content: Result<String, (Reason, String)>,
}

/// What a usable message holds for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Resources(Vec<Converted>),
    /// An event, or a message without a result, from which nothing is taken: no fault of the sender.
    NotNeeded,
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ORU^R01`.
    Results,
    /// `ADT^A01`, `A04`, `A08`.
    Person,
    /// `ADT^A40`, and what it was called before v2.3.1 (`A18`, `A34`, `A36`).
    Merge,
    /// Any other event of the registration.
    NotNeeded,
}

/// Why nothing of a message can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {text}")]
pub struct MessageProblem {
    /// HL7 table 0357.
    pub code: ErrorCode,
    pub location: Location,
    pub text: String,
}

impl MessageProblem {
    fn new(code: ErrorCode, location: Location, text: impl Into<String>) -> Self {
        MessageProblem { code, location, text: text.into() }
    }

    /// Is it the header that cannot be taken, so that the message is rejected (AR, CR) and not only
    /// its content in error (AE)?
    pub fn is_rejection(&self) -> bool {
        self.location.segment == "MSH"
    }

    /// The reason code under which the message is put aside.
    pub fn reason(&self) -> Reason {
        match (self.code, self.location.segment.as_str()) {
            (ErrorCode::UnsupportedMessageType | ErrorCode::UnsupportedEventCode, _) => Reason::UnknownType,
            (_, "PID" | "MRG") => Reason::SubjectMissing,
            (ErrorCode::DataTypeError, "MSH") if self.location.field == Some(7) => Reason::DateInvalid,
            (_, "MSH") if self.location.field == Some(18) => Reason::Encoding,
            _ => Reason::Structure,
        }
    }
}

impl From<ParseError> for MessageProblem {
    fn from(error: ParseError) -> Self {
        MessageProblem { code: error.code(), text: error.kind.to_string(), location: error.location }
    }
}

/// Versions of HL7 v2 whose segments are read.
const VERSIONS: [&str; 13] =
    ["2.2", "2.3", "2.3.1", "2.3.2", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2"];

/// What the message is about, by its header alone: enough to acknowledge it.
pub fn kind(message: &Message) -> Result<Kind, MessageProblem> {
    let msh = message.header();
    let component = |field: usize, n: usize| msh.field(field).component(n).decoded().text.trim().to_owned();
    let (code, event) = (component(9, 1), component(9, 2));
    let refuse = |code, field, text: &str| Err(MessageProblem::new(code, msh.location(field), text));
    let kind = match (code.as_str(), event.as_str()) {
        // v2.2 knows one event of this message and lets it be left out.
        ("ORU", "R01" | "") => Kind::Results,
        ("ADT", "A01" | "A04" | "A08") => Kind::Person,
        ("ADT", "A18" | "A34" | "A36" | "A40") => Kind::Merge,
        ("ADT", e) if e.len() == 3 && e.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) => {
            Kind::NotNeeded
        }
        ("ORU" | "ADT", _) => {
            let text = "the event is not taken; send ORU^R01, ADT^A01, A04, A08 or A40";
            return refuse(ErrorCode::UnsupportedEventCode, 9, text);
        }
        _ => {
            let text = "the message type is not taken; send ORU or ADT";
            return refuse(ErrorCode::UnsupportedMessageType, 9, text);
        }
    };
    if !matches!(component(11, 1).as_str(), "P" | "T" | "D") {
        return refuse(ErrorCode::UnsupportedProcessingId, 11, "neither P, T nor D");
    }
    if !VERSIONS.contains(&component(12, 1).as_str()) {
        return refuse(ErrorCode::UnsupportedVersionId, 12, "versions 2.2 to 2.8 are taken");
    }
    if msh.field(10).is_empty() {
        return refuse(ErrorCode::RequiredFieldMissing, 10, "without a control id no answer can name it");
    }
    Ok(kind)
}

/// The resources of a message, in the order of its segments. `meta.lastUpdated` is MSH-7, by which the
/// newest version of a result stands.
///
/// `key` makes an id of 16 hexadecimal digits from parts; it has to tell
/// `["a", "bc"]` from `["ab", "c"]`, and nothing of the parts may be had back from it.
pub fn resources(
    message: &Message,
    site: &Hl7v2,
    key: &dyn Fn(&[&str]) -> String,
) -> Result<Content, MessageProblem> {
    let kind = kind(message)?;
    if kind == Kind::NotNeeded {
        return Ok(Content::NotNeeded);
    }
    let msh = message.header();
    let updated = match msh.field(7).component(1).value() {
        Ok(Some(text)) => time::instant(&text, site.time_zone),
        Ok(None) => {
            let text = "without the time of the message its results have no order";
            return Err(MessageProblem::new(ErrorCode::RequiredFieldMissing, msh.location(7), text));
        }
        Err(_) => Err(TimeError::Malformed),
    };
    let updated = match updated {
        Ok(instant) => Some(instant),
        // Then the order in which its messages came is that of the sender.
        Err(TimeError::NoTimeZone) => None,
        Err(e) => return Err(MessageProblem::new(ErrorCode::DataTypeError, msh.location(7), e.to_string())),
    };
    let context =
        Context { site, key, meta: updated.map_or_else(|| json!({}), |at| json!({"lastUpdated": at})) };
    let mut out = Collected::default();
    match kind {
        Kind::Results => context.results(message, &mut out)?,
        Kind::Person => context.person(message, &mut out)?,
        Kind::Merge => context.merge(message, &mut out)?,
        Kind::NotNeeded => {}
    }
    Ok(out.finish())
}

/// What the segments of one message have in common.
struct Context<'a> {
    site: &'a Hl7v2,
    key: &'a dyn Fn(&[&str]) -> String,
    /// `meta` with `lastUpdated`, where the time of the message is known.
    meta: Value,
}

impl Context<'_> {
    /// Patient results: each PID begins a patient, each OBR an order; an ORC stands before or after its
    /// OBR. What else stands between them makes no difference.
    fn results(&self, message: &Message, out: &mut Collected) -> Result<(), MessageProblem> {
        let mut person: Option<Person> = None;
        let mut order: Option<Order<'_>> = None;
        let mut pending: Option<Segment<'_>> = None;
        for segment in message.segments() {
            match segment.name() {
                "PID" => {
                    let found = Person::read(self, segment)?;
                    // A birth date makes it worth a Patient; the results need only the identifier.
                    if !segment.field(7).is_empty() {
                        out.extend("PID", found.patient(self, segment));
                    }
                    person = Some(found);
                    (order, pending) = (None, None);
                }
                "ORC" => match &mut order {
                    Some(order) if order.common.is_none() && !order.used => order.common = Some(segment),
                    _ => pending = Some(segment),
                },
                "OBR" => {
                    order = Some(Order { request: segment, common: pending.take(), used: false });
                }
                "OBX" => {
                    let Some(person) = &person else { return Err(no_person()) };
                    let path = format!("OBX[{}]", segment.sequence());
                    match &mut order {
                        Some(order) => {
                            order.used = true;
                            out.result(path, self.observation(segment, order, person));
                        }
                        None => {
                            out.problem(path, (Reason::Structure, format!("OBX[{}]", segment.sequence())));
                        }
                    }
                }
                _ => {}
            }
        }
        if person.is_none() { Err(no_person()) } else { Ok(()) }
    }

    fn person(&self, message: &Message, out: &mut Collected) -> Result<(), MessageProblem> {
        let pid = message.segments().find(|s| s.name() == "PID").ok_or_else(no_person)?;
        let person = Person::read(self, pid)?;
        out.extend("PID", person.patient(self, pid));
        Ok(())
    }

    /// Each PID is a survivor, each MRG after it names who was merged into it.
    fn merge(&self, message: &Message, out: &mut Collected) -> Result<(), MessageProblem> {
        let mut survivor: Option<(Person, Segment<'_>)> = None;
        let mut merged = 0;
        for segment in message.segments() {
            match segment.name() {
                "PID" => {
                    let person = Person::read(self, segment)?;
                    // A version without a birth date would take away what an earlier one said.
                    if !segment.field(7).is_empty() {
                        out.extend("PID", person.patient(self, segment));
                    }
                    survivor = Some((person, segment));
                }
                "MRG" => {
                    let Some((person, _)) = &survivor else { return Err(no_person()) };
                    let old = Person::read_field(self, segment, 1)?;
                    let path = match segment.sequence() {
                        1 => "MRG".to_owned(),
                        n => format!("MRG[{n}]"),
                    };
                    out.result(path, (Some(old.merged_into(self, person)), None));
                    merged += 1;
                }
                _ => {}
            }
        }
        if survivor.is_none() {
            return Err(no_person());
        }
        if merged == 0 {
            let (code, location) = (ErrorCode::SegmentSequenceError, Location::new("MRG", 1, None));
            return Err(MessageProblem::new(code, location, "a merge that does not say who was merged"));
        }
        Ok(())
    }
}

fn no_person() -> MessageProblem {
    let location = Location::new("PID", 1, None);
    MessageProblem::new(ErrorCode::SegmentSequenceError, location, "no PID says whom it concerns")
}

/// Why a field cannot be used.
type Problem = (Reason, String);

fn bad_escape(error: BadEscape) -> Problem {
    (Reason::Structure, error.location.to_string())
}

/// Resources in the order of their segments, no id twice.
#[derive(Default)]
struct Collected {
    entries: Vec<(String, Result<Value, Problem>)>,
    by_id: HashMap<String, usize>,
}

impl Collected {
    fn problem(&mut self, path: String, problem: Problem) {
        self.entries.push((path, Err(problem)));
    }

    fn extend(&mut self, path: &str, (resource, problems): (Value, Vec<Problem>)) {
        self.result(path.to_owned(), (Some(resource), None));
        for problem in problems {
            self.problem(path.to_owned(), problem);
        }
    }

    fn result(&mut self, path: String, (resource, problem): (Option<Value>, Option<Problem>)) {
        if let Some(resource) = resource {
            self.resource(path.clone(), resource);
        }
        if let Some(problem) = problem {
            self.problem(path, problem);
        }
    }

    fn resource(&mut self, path: String, resource: Value) {
        let id = format!(
            "{}/{}",
            resource["resourceType"].as_str().unwrap_or_default(),
            resource["id"].as_str().unwrap_or_default()
        );
        let Some(&at) = self.by_id.get(&id) else {
            self.by_id.insert(id, self.entries.len());
            self.entries.push((path, Ok(resource)));
            return;
        };
        let Ok(first) = &mut self.entries[at].1 else { return };
        if *first == resource {
            return;
        }
        // A text goes over as many OBX as it has lines.
        let is_of_one_status = first["status"] == resource["status"];
        if let (Some(line), Some(Value::String(text))) =
            (resource["valueString"].as_str(), first.get_mut("valueString"))
            && is_of_one_status
        {
            text.push('\n');
            text.push_str(line);
            return;
        }
        // Two results under one code and sub-id: nobody can say which is meant, so neither is.
        result::without_value(first, "error");
        let field = format!("{path}-4");
        self.problem(path, (Reason::Conflict, field));
    }

    fn finish(self) -> Content {
        if self.entries.is_empty() {
            return Content::NotNeeded;
        }
        let converted = |(path, content): (String, Result<Value, Problem>)| Converted {
            path,
            content: content.map(|resource| resource.to_string()),
        };
        Content::Resources(self.entries.into_iter().map(converted).collect())
    }
}

#[cfg(test)]
mod tests;
