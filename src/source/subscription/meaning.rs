//! What a notification asks of us: numbers to count, resources to read, or a pull.

use crate::client::FhirClient;
use crate::fhir::notification::{Kind, Notification};
use crate::fhir::reference::type_and_id;
use crate::sequence::Observed;
use crate::store::{Heard, SubscriptionState};
use chrono::DateTime;

/// A focus on another server than the configured one. It is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Foreign;

/// Where a focus leads.
#[derive(Debug, PartialEq, Eq)]
enum Focus {
    Here(String, String),
    /// Nothing that could be read: a fragment, a URN, a search.
    Nowhere,
}

/// # Source
/// SubscriptionStatus.notificationEvent.focus, Backport IG:
/// > "While this will usually be a reference to the focus resource of the event, it MAY contain a
/// > reference to a non-FHIR object."
fn focus(client: &FhirClient, reference: &str) -> Result<Focus, Foreign> {
    let has_scheme = reference.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    });
    let leads_away = has_scheme && !reference.starts_with("urn:") || reference.starts_with("//");
    let Some((resource_type, id)) = type_and_id(reference) else {
        return if leads_away { Err(Foreign) } else { Ok(Focus::Nowhere) };
    };
    match client.id_in(reference, resource_type) {
        Some(found) if found == id => Ok(Focus::Here(resource_type.to_owned(), found)),
        _ if leads_away || reference.starts_with(['/', '\\', '.']) => Err(Foreign),
        _ => Ok(Focus::Nowhere),
    }
}

/// `at`: now, UTC RFC 3339.
pub(super) fn heard(client: &FhirClient, n: &Notification, at: &str) -> Result<Heard, Foreign> {
    let mut heard = Heard {
        at: at.to_owned(),
        handshake: n.kind == Kind::Handshake,
        heartbeat: n.kind == Kind::Heartbeat,
        since_start: n.since_start,
        state: n.status.as_deref().and_then(state),
        asked: matches!(n.kind, Kind::QueryStatus | Kind::QueryEvent),
        ..Heard::default()
    };
    let is_event = matches!(n.kind, Kind::Event | Kind::QueryEvent);
    for event in n.events.iter().filter(|_| is_event) {
        let mut name = None;
        match event.focus.as_deref().map(|f| focus(client, f)).transpose()? {
            Some(Focus::Here(resource_type, id)) => {
                let whole = format!("{resource_type}/{id}");
                if !n.included.contains(&whole) {
                    heard.wanted.push((event.number, resource_type, id));
                }
                name = Some(whole);
            }
            Some(Focus::Nowhere) | None => heard.pull = true,
        }
        let at = event.timestamp.as_deref().and_then(|t| DateTime::parse_from_rfc3339(t).ok());
        heard.events.push(Observed {
            number: event.number,
            at: at.map(|t| t.timestamp_millis()),
            focus: name,
        });
    }
    // An event that is only counted: the server left the list out.
    if n.kind == Kind::Event && n.events.is_empty() {
        heard.pull = true;
        if let Some(number) = n.since_start.filter(|s| *s > 0) {
            heard.events.push(Observed { number, at: None, focus: None });
        }
    }
    Ok(heard)
}

/// `SubscriptionStatus.status`, `Subscription.status`.
pub(super) fn state(word: &str) -> Option<SubscriptionState> {
    match word {
        "requested" => Some(SubscriptionState::Requested),
        "active" => Some(SubscriptionState::Active),
        "error" => Some(SubscriptionState::Error),
        "off" | "entered-in-error" => Some(SubscriptionState::Off),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::mock::client_of;

    #[test]
    fn a_focus_is_followed_only_to_the_configured_server() {
        let (client, _) = client_of("http://127.0.0.1:8080/fhir", |_| {});
        let here = |t: &str, id: &str| Ok(Focus::Here(t.into(), id.into()));
        for (reference, expected) in [
            ("Observation/1", here("Observation", "1")),
            ("Observation/1/_history/2", here("Observation", "1")),
            ("http://127.0.0.1:8080/fhir/Observation/1", here("Observation", "1")),
            ("https://evil.example/Observation/1", Err(Foreign)),
            ("http://127.0.0.1:9999/fhir/Observation/1", Err(Foreign)),
            ("https://127.0.0.1:8080/fhir/Observation/1", Err(Foreign)),
            ("http://127.0.0.1:8080/other/Observation/1", Err(Foreign)),
            ("http://127.0.0.1:8080@evil.example/fhir/Observation/1", Err(Foreign)),
            ("//evil.example/fhir/Observation/1", Err(Foreign)),
            ("/other/Observation/1", Err(Foreign)),
            ("../other/Observation/1", Err(Foreign)),
            ("https://evil.example/report.pdf", Err(Foreign)),
            ("file:///etc/passwd", Err(Foreign)),
            ("ftp://evil.example/Observation/1", Err(Foreign)),
            ("urn:uuid:63c28e8a-f402-43e4-beb2-75b1c0f6833f", Ok(Focus::Nowhere)),
            ("#contained", Ok(Focus::Nowhere)),
            ("Observation?code=1", Ok(Focus::Nowhere)),
            ("", Ok(Focus::Nowhere)),
        ] {
            assert_eq!(focus(&client, reference), expected, "{reference}");
        }
    }
}
