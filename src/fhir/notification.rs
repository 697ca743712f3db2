//! What a FHIR server sends to the endpoint of a Subscription: nothing, a resource, or a Bundle that
//! counts events.
//!
//! Pure reading: nothing is fetched, and whether a reference may be followed is decided by whoever
//! knows the configured server. What holds no patient is read leniently (a counter may be a string or
//! a number), what would be guessed is refused.
//!
//! # Source
//! - Subscriptions R5 Backport IG 1.1.0, profiles `backport-subscription-notification-r4`,
//!   `backport-subscription-status-r4` (R4: `Parameters`) and `backport-subscription-notification` (R4B:
//!   `SubscriptionStatus`), both in a Bundle of type `history`:
//!   > "A notification bundle MUST have a Parameters as the first entry"
//! - FHIR R5, Bundle of type `subscription-notification`, `SubscriptionStatus`.
//! - FHIR R4, Subscription, channel `rest-hook`: an empty POST, or the resource where a payload type
//!   was asked for.

use super::json::{JsonError, read_shallow, text, too_deep};
use super::reference::is_id;
use super::text::Text;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// Events of one notification that are read at most; a server asks for fewer with `maxCount`.
const MAX_EVENTS: usize = 10_000;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// Something changed; nothing is said of what.
    Empty,
    /// The resource that changed.
    Resource {
        resource_type: String,
        id: Option<String>,
    },
    Notification(Box<Notification>),
}

/// `SubscriptionStatus.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Handshake,
    Heartbeat,
    Event,
    QueryStatus,
    QueryEvent,
    /// No kind of the specification, but a status of `error` comes with it.
    Error,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Handshake => "handshake",
            Kind::Heartbeat => "heartbeat",
            Kind::Event => "event-notification",
            Kind::QueryStatus => "query-status",
            Kind::QueryEvent => "query-event",
            Kind::Error => "error",
        }
    }

    fn read(word: &str) -> Option<Kind> {
        [Kind::Handshake, Kind::Heartbeat, Kind::Event, Kind::QueryStatus, Kind::QueryEvent]
            .into_iter()
            .find(|k| k.word() == word)
    }
}

/// One notification, whatever the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// As written: `Subscription/17`, or absolute.
    pub subscription: Option<String>,
    pub topic: Option<String>,
    pub kind: Kind,
    /// `requested`, `active`, `error`, `off`, `entered-in-error`.
    pub status: Option<String>,
    /// All events since the subscription began, this notification's included.
    pub since_start: Option<u64>,
    pub events: Vec<Event>,
    /// Codes of `SubscriptionStatus.error`, never its text.
    pub errors: Vec<String>,
    /// `Type/id` of the resources that came along.
    pub included: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub number: u64,
    /// As written.
    pub timestamp: Option<String>,
    /// As written: a reference, which may lead anywhere.
    pub focus: Option<String>,
    pub context: Vec<String>,
}

/// Why it is no notification. Names the element, never what it held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    #[error("{0}")]
    Json(#[from] JsonError),
    #[error("{path}: {expected}")]
    Malformed { path: String, expected: &'static str },
}

impl NotificationError {
    /// The reason code, as in quarantine.
    pub fn code(&self) -> &'static str {
        match self {
            NotificationError::Json(error) => error.code(),
            NotificationError::Malformed { .. } => "structure",
        }
    }

    /// The element, for `OperationOutcome.issue.expression`.
    pub fn path(&self) -> String {
        match self {
            NotificationError::Malformed { path, .. } => path.clone(),
            NotificationError::Json(JsonError::Structure { path } | JsonError::DuplicateKey { path }) => {
                path.clone()
            }
            NotificationError::Json(_) => String::new(),
        }
    }
}

fn malformed(path: impl Into<String>, expected: &'static str) -> NotificationError {
    NotificationError::Malformed { path: path.into(), expected }
}

type Read<T> = Result<T, NotificationError>;

// ---- the wire ------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    resource_type: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct WireBundle<'a> {
    #[serde(borrow, rename = "type")]
    bundle_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    entry: Vec<WireEntry<'a>>,
}

#[derive(Deserialize)]
struct WireEntry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow, default)]
    parameter: Vec<Parameter<'a>>,
}

/// One parameter. A counter comes as `valueString` by the profile, as another type from servers that
/// mean it well.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameter<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    value_reference: Option<Reference<'a>>,
    #[serde(borrow)]
    value_canonical: Option<Text<'a>>,
    #[serde(borrow)]
    value_uri: Option<Text<'a>>,
    #[serde(borrow)]
    value_code: Option<Text<'a>>,
    #[serde(borrow)]
    value_instant: Option<Text<'a>>,
    #[serde(borrow)]
    value_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    value_string: Option<&'a RawValue>,
    #[serde(borrow)]
    value_integer: Option<&'a RawValue>,
    #[serde(borrow)]
    value_unsigned_int: Option<&'a RawValue>,
    #[serde(borrow)]
    value_positive_int: Option<&'a RawValue>,
    #[serde(borrow)]
    value_integer64: Option<&'a RawValue>,
    #[serde(borrow)]
    value_decimal: Option<&'a RawValue>,
    #[serde(borrow)]
    value_codeable_concept: Option<Concept<'a>>,
    #[serde(borrow, default)]
    part: Vec<Parameter<'a>>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow)]
    reference: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Concept<'a> {
    #[serde(borrow, default)]
    coding: Vec<Coding<'a>>,
}

#[derive(Deserialize)]
struct Coding<'a> {
    #[serde(borrow)]
    code: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    events_since_subscription_start: Option<&'a RawValue>,
    #[serde(borrow, default)]
    notification_event: Vec<StatusEvent<'a>>,
    #[serde(borrow)]
    subscription: Option<Reference<'a>>,
    #[serde(borrow)]
    topic: Option<Text<'a>>,
    #[serde(borrow, default)]
    error: Vec<Concept<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusEvent<'a> {
    #[serde(borrow)]
    event_number: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    focus: Option<Reference<'a>>,
    #[serde(borrow, default)]
    additional_context: Vec<Reference<'a>>,
}

// ---- reading -------------------------------------------------------------------------------------

/// Reads what was sent to a hook.
///
/// # Errors
/// Where the bytes are no JSON, no resource, or a Bundle that is no notification.
pub fn read(bytes: &[u8]) -> Read<Arrival> {
    let text = text(bytes)?;
    if text.trim().is_empty() {
        return Ok(Arrival::Empty);
    }
    if too_deep(text) {
        return Err(JsonError::TooDeep.into());
    }
    let head: Head<'_> = read_shallow(text)?;
    let Some(resource_type) = head.resource_type.as_deref() else {
        return Err(malformed("resourceType", "the name of a resource type is expected"));
    };
    match resource_type {
        "Bundle" => {
            let bundle: WireBundle<'_> = read_shallow(text)?;
            match bundle.bundle_type.as_deref() {
                Some("history" | "subscription-notification") => {}
                _ => {
                    return Err(malformed("Bundle.type", "history or subscription-notification is expected"));
                }
            }
            notification(&bundle).map(|n| Arrival::Notification(Box::new(n)))
        }
        // Status without a Bundle around it.
        "SubscriptionStatus" | "Parameters" => {
            status_of(resource_type, text, resource_type).map(|n| Arrival::Notification(Box::new(n)))
        }
        _ => {
            let id = match head.id.as_deref() {
                Some(id) if !is_id(id) => return Err(malformed("id", "a FHIR id is expected")),
                id => id.map(str::to_owned),
            };
            if !super::release::is_resource_type(resource_type) {
                return Err(malformed("resourceType", "a resource type of FHIR is expected"));
            }
            Ok(Arrival::Resource { resource_type: resource_type.to_owned(), id })
        }
    }
}

/// Reads the answer to `$status` or `$events`: a Bundle of any type whose first status counts, or the
/// status itself.
///
/// # Errors
/// Where no status can be read.
pub fn read_answer(bytes: &[u8]) -> Read<Notification> {
    let text = text(bytes)?;
    if too_deep(text) {
        return Err(JsonError::TooDeep.into());
    }
    let head: Head<'_> = read_shallow(text)?;
    match head.resource_type.as_deref() {
        Some("Bundle") => notification(&read_shallow::<WireBundle<'_>>(text)?),
        Some(word @ ("SubscriptionStatus" | "Parameters")) => status_of(word, text, word),
        _ => Err(malformed("resourceType", "Bundle, SubscriptionStatus or Parameters is expected")),
    }
}

fn notification(bundle: &WireBundle<'_>) -> Read<Notification> {
    const FIRST: &str = "Bundle.entry[0].resource";
    let first = bundle
        .entry
        .first()
        .and_then(|e| e.resource)
        .ok_or_else(|| malformed(FIRST, "Parameters (R4) or SubscriptionStatus (R4B, R5) is expected"))?;
    let head: Head<'_> = read_shallow(first.get()).map_err(|e| below(e, FIRST))?;
    let mut notification = status_of(head.resource_type.as_deref().unwrap_or_default(), first.get(), FIRST)?;
    for (index, entry) in bundle.entry.iter().enumerate().skip(1) {
        let Some(resource) = entry.resource else { continue };
        let path = format!("Bundle.entry[{index}].resource");
        let head: Head<'_> = read_shallow(resource.get()).map_err(|e| below(e, &path))?;
        if let (Some(resource_type), Some(id)) = (&head.resource_type, &head.id)
            && is_id(id)
        {
            notification.included.insert(format!("{resource_type}/{id}"));
        }
    }
    Ok(notification)
}

/// The error of a part, with the path of the whole.
fn below(error: JsonError, path: &str) -> NotificationError {
    match error {
        JsonError::Structure { path: inner } => {
            NotificationError::Json(JsonError::Structure { path: format!("{path}.{inner}") })
        }
        JsonError::DuplicateKey { path: inner } => {
            NotificationError::Json(JsonError::DuplicateKey { path: format!("{path}.{inner}") })
        }
        other => NotificationError::Json(other),
    }
}

fn status_of(resource_type: &str, text: &str, path: &str) -> Read<Notification> {
    match resource_type {
        "Parameters" => parameters(&read_shallow(text).map_err(|e| below(e, path))?, path),
        "SubscriptionStatus" => status(&read_shallow(text).map_err(|e| below(e, path))?, path),
        _ => Err(malformed(path, "Parameters (R4) or SubscriptionStatus (R4B, R5) is expected")),
    }
}

fn kind_of(word: Option<&str>, status: Option<&str>, path: &str) -> Read<Kind> {
    match (word.map(Kind::read), status) {
        (Some(Some(kind)), _) => Ok(kind),
        (_, Some("error")) => Ok(Kind::Error),
        _ => Err(malformed(format!("{path}.type"), "a notification type of FHIR is expected")),
    }
}

fn status(wire: &Status<'_>, path: &str) -> Read<Notification> {
    let reference = |r: &Option<Reference<'_>>| r.as_ref()?.reference.as_deref().map(str::to_owned);
    bounded(wire.notification_event.len(), path)?;
    let mut events = Vec::with_capacity(wire.notification_event.len());
    for (index, event) in wire.notification_event.iter().enumerate() {
        let place = format!("{path}.notificationEvent[{index}].eventNumber");
        events.push(Event {
            number: event_number(count(event.event_number, &place)?, &place)?,
            timestamp: event.timestamp.as_deref().map(str::to_owned),
            focus: reference(&event.focus),
            context: event
                .additional_context
                .iter()
                .filter_map(|r| r.reference.as_deref().map(str::to_owned))
                .collect(),
        });
    }
    Ok(Notification {
        subscription: reference(&wire.subscription),
        topic: wire.topic.as_deref().map(str::to_owned),
        kind: kind_of(wire.kind.as_deref(), wire.status.as_deref(), path)?,
        status: wire.status.as_deref().map(str::to_owned),
        since_start: count(
            wire.events_since_subscription_start,
            &format!("{path}.eventsSinceSubscriptionStart"),
        )?,
        events,
        errors: wire.error.iter().flat_map(codes).collect(),
        included: BTreeSet::new(),
    })
}

fn parameters(wire: &Parameters<'_>, path: &str) -> Read<Notification> {
    let mut found = Notification {
        subscription: None,
        topic: None,
        kind: Kind::Error,
        status: None,
        since_start: None,
        events: Vec::new(),
        errors: Vec::new(),
        included: BTreeSet::new(),
    };
    let mut kind = None;
    bounded(wire.parameter.len(), path)?;
    for (index, p) in wire.parameter.iter().enumerate() {
        let place = format!("{path}.parameter[{index}]");
        match p.name.as_deref() {
            Some("subscription") => found.subscription = p.reference(),
            Some("topic") => found.topic = p.text(),
            Some("status") => found.status = p.text(),
            Some("type") => kind = p.text(),
            Some("events-since-subscription-start") => found.since_start = p.count(&place)?,
            Some("notification-event") => found.events.push(p.event(&place)?),
            Some("error") => found.errors.extend(p.value_codeable_concept.iter().flat_map(codes)),
            _ => {}
        }
    }
    found.kind = kind_of(kind.as_deref(), found.status.as_deref(), path)?;
    Ok(found)
}

impl Parameter<'_> {
    fn reference(&self) -> Option<String> {
        self.value_reference.as_ref()?.reference.as_deref().map(str::to_owned)
    }

    /// Any of the types of a short text.
    fn text(&self) -> Option<String> {
        [&self.value_code, &self.value_canonical, &self.value_uri, &self.value_instant, &self.value_date_time]
            .into_iter()
            .flatten()
            .next()
            .map(|t| t.to_string())
            .or_else(|| serde_json::from_str(self.value_string?.get()).ok())
    }

    fn count(&self, path: &str) -> Read<Option<u64>> {
        let value = [
            self.value_string,
            self.value_integer,
            self.value_unsigned_int,
            self.value_positive_int,
            self.value_integer64,
            self.value_decimal,
        ];
        count(value.into_iter().flatten().next(), path)
    }

    fn event(&self, path: &str) -> Read<Event> {
        let mut event = Event { number: 0, timestamp: None, focus: None, context: Vec::new() };
        let mut number = None;
        for (index, part) in self.part.iter().enumerate() {
            match part.name.as_deref() {
                Some("event-number") => number = part.count(&format!("{path}.part[{index}]"))?,
                Some("timestamp") => event.timestamp = part.text(),
                Some("focus") => event.focus = part.reference(),
                Some("additional-context") => event.context.extend(part.reference()),
                _ => {}
            }
        }
        event.number = event_number(number, path)?;
        Ok(event)
    }
}

fn bounded(len: usize, path: &str) -> Read<()> {
    if len > MAX_EVENTS { Err(malformed(path, "at most 10000 events are expected")) } else { Ok(()) }
}

/// Events are counted from 1.
fn event_number(number: Option<u64>, path: &str) -> Read<u64> {
    number.filter(|n| *n > 0).ok_or_else(|| malformed(path, "an event number from 1 on is expected"))
}

/// A counter, as a string or a number. What cannot be counted with 63 bits is none.
fn count(raw: Option<&RawValue>, path: &str) -> Read<Option<u64>> {
    let Some(raw) = raw else { return Ok(None) };
    let text = raw.get();
    let digits = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text).trim();
    // Some write a count as a decimal.
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse::<i64>() {
        Ok(n) if is_number => Ok(u64::try_from(n).ok()),
        _ => Err(malformed(path, "a count in digits is expected")),
    }
}

fn codes(concept: &Concept<'_>) -> impl Iterator<Item = String> {
    let plain = |code: &&str| {
        (1..=64).contains(&code.len())
            && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    concept
        .coding
        .iter()
        .filter_map(|c| c.code.as_deref())
        .map(|code| Some(code).filter(plain).unwrap_or("unreadable-code").to_owned())
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests;
