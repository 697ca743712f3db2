//! What the client of a hospital's server reads: pages of results, links, headers.

use chrono::{DateTime, Utc};
use serde_json::Value;
use std::sync::OnceLock;
use std::time::Duration;
use trialbridge::client::{Base, Bundle, EntryMode, RetryLimits, matches_filter};

/// Parameters that can be judged on a resource, with a value to judge them by.
const ASKED: [(&str, &str); 7] = [
    ("patient", "Patient/p1"),
    ("subject", "p1"),
    ("identifier", "urn:x|7"),
    ("_id", "a"),
    ("status", "final,amended"),
    ("study", "ResearchStudy/s"),
    ("code", "http://loinc.org|1975-2"),
];

/// A page: no entry lost, resources as received, links as written.
pub fn search_page(data: &[u8]) {
    let Ok(page) = Bundle::parse(data, "Observation") else { return };
    let text = std::str::from_utf8(data);
    for entry in &page.entries {
        if let Ok(text) = text {
            assert!(text.contains(entry.resource.get()), "as received");
        }
        for (name, value) in ASKED {
            let verdict = matches_filter(entry.resource, name, value);
            assert_eq!(verdict, matches_filter(entry.resource, name, value));
        }
        assert_eq!(matches_filter(entry.resource, "patient:missing", "true"), None);
    }
    if let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(data) {
        let entries = object.get("entry").and_then(Value::as_array).map_or(0, Vec::len);
        assert_eq!(page.entries.len() + page.odd_entries, entries);
        let next = object.get("link").and_then(Value::as_array).into_iter().flatten();
        let next = next.into_iter().any(|l| l.get("relation").and_then(Value::as_str) == Some("next"));
        assert_eq!(page.next_link.is_some(), next, "a page with a next link is not the last");
        let outcomes = page.entries.iter().filter(|e| e.mode == EntryMode::Outcome).count();
        assert!(outcomes <= entries);
    }
}

/// A link from a server: followed under the configured base or not at all, whatever is written into it.
pub fn link(data: &[u8]) {
    let Ok(link) = std::str::from_utf8(data) else { return };
    static BASES: OnceLock<[(&str, Base); 2]> = OnceLock::new();
    let bases = BASES.get_or_init(|| {
        ["http://127.0.0.1:8080/fhir", "https://fhir.example"]
            .map(|configured| (configured, Base::parse(configured, false).expect("a base")))
    });
    for (configured, base) in bases {
        match base.resolve(link) {
            Ok(url) => {
                let text = url.as_str();
                let rest =
                    text.strip_prefix(*configured).unwrap_or_else(|| panic!("{link:?} leads to {text}"));
                assert!(rest.is_empty() || rest.starts_with(['/', '?']), "{link:?} leads to {text}");
                let path = rest.split('?').next().unwrap_or_default().to_ascii_lowercase();
                let climbs = path.split('/').any(|s| matches!(s, ".." | "%2e%2e" | ".%2e" | "%2e."));
                assert!(!climbs && !path.contains("%2f") && !path.contains("%5c"), "{text}");
                assert!(!text.contains('#'));
                assert_eq!(base.resolve(text).as_ref(), Ok(&url), "the second time as the first");
            }
            Err(foreign) => {
                let said = foreign.to_string();
                assert!(!said.contains('?') && !said.contains('@'), "{said}");
            }
        }
        if let Some(id) = base.id_in(link, "Patient") {
            assert!(base.under(&["Patient", &id]).is_some(), "{id:?} can stand in a path");
        }
    }
    // As a setting: never with credentials, never plain to another machine.
    if let Ok(base) = Base::parse(link, false) {
        let text = base.as_str();
        let authority = text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
        assert!(authority.is_some_and(|a| !a.is_empty() && !a.contains('@')), "{text}");
        let local = ["http://localhost", "http://127.", "http://[::1]"].iter().any(|l| text.starts_with(l));
        assert!(text.starts_with("https://") || local, "{text}");
    }
}

/// `Retry-After`: seconds or a date, within the bounds, or nothing.
pub fn retry_after(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else { return };
    let limits = RetryLimits::default();
    let now = DateTime::<Utc>::from_timestamp(1_795_305_600, 0).expect("a time");
    let told = limits.retry_after(header, now);
    if let Some(told) = told {
        assert!(told >= Duration::from_secs(1) && told <= Duration::from_secs(3600), "{header:?}: {told:?}");
    }
    let plain = header.trim();
    let seconds = !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_digit());
    if seconds {
        let asked = plain.parse::<u64>().unwrap_or(u64::MAX).clamp(1, 3600);
        assert_eq!(told, Some(Duration::from_secs(asked)), "{header:?}");
    }
}
