//! A page of search results, as far as paging and checking need to see it.
//!
//! Entries stay raw text: an entry that is odd is one odd entry, never a lost page. What cannot be
//! read of the links is an error, because a page whose `next` is unreadable is not known to be the last.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Why an entry is in the page (`Bundle.entry.search.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryMode {
    Match,
    Include,
    Outcome,
}

/// One entry with its resource, as received.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub mode: EntryMode,
    pub resource: &'a RawValue,
}

/// One page of results.
#[derive(Debug)]
pub struct Bundle<'a> {
    pub total: Option<u64>,
    pub self_link: Option<String>,
    pub next_link: Option<String>,
    pub entries: Vec<Entry<'a>>,
    /// Entries without a resource.
    pub odd_entries: usize,
}

/// What of a JSON text makes it no page of results. Names the element, never a value.
pub type NotABundle = &'static str;

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, rename = "resourceType")]
    resource_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    total: Option<&'a RawValue>,
    #[serde(borrow, default)]
    link: Option<&'a RawValue>,
    #[serde(borrow, default)]
    entry: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Link {
    relation: String,
    url: String,
}

#[derive(Deserialize)]
struct WireEntry<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default)]
    search: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    mode: Option<String>,
}

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(borrow, default, rename = "resourceType")]
    resource_type: Option<&'a RawValue>,
}

impl<'a> Bundle<'a> {
    /// Reads a page that was asked for as a search of `asked_type`.
    ///
    /// # Errors
    /// Where the text is no object, no Bundle, or its links or entries cannot be read.
    pub fn parse(bytes: &'a [u8], asked_type: &str) -> Result<Bundle<'a>, NotABundle> {
        let wire: Wire<'a> = serde_json::from_slice(bytes).map_err(|_| "the answer is no JSON object")?;
        if value::<String>(wire.resource_type).as_deref() != Some("Bundle") {
            return Err("resourceType is not Bundle");
        }
        let links: Vec<Link> = match wire.link {
            None => Vec::new(),
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| "Bundle.link cannot be read")?,
        };
        let raw_entries: Vec<&'a RawValue> = match wire.entry {
            None => Vec::new(),
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| "Bundle.entry is no list")?,
        };
        let mut entries = Vec::with_capacity(raw_entries.len());
        let mut odd_entries = 0;
        for raw in raw_entries {
            match serde_json::from_str::<WireEntry<'a>>(raw.get()) {
                Ok(WireEntry { resource: Some(resource), search }) => {
                    entries.push(Entry { mode: mode_of(resource, search, asked_type), resource });
                }
                _ => odd_entries += 1,
            }
        }
        let link = |relations: &[&str]| {
            links.iter().find(|l| relations.contains(&l.relation.as_str())).map(|l| l.url.clone())
        };
        Ok(Bundle {
            total: value::<u64>(wire.total),
            self_link: link(&["self"]),
            next_link: link(&["next"]),
            entries,
            odd_entries,
        })
    }
}

fn mode_of(resource: &RawValue, search: Option<&RawValue>, asked_type: &str) -> EntryMode {
    let kind = resource_type(resource);
    if kind.as_deref() == Some("OperationOutcome") && asked_type != "OperationOutcome" {
        return EntryMode::Outcome;
    }
    match value::<Search>(search).and_then(|s| s.mode).as_deref() {
        Some("include") => EntryMode::Include,
        Some("outcome") => EntryMode::Outcome,
        Some("match") => EntryMode::Match,
        // Servers that leave the mode out: what was asked for matches, the rest came along.
        _ if kind.as_deref() == Some(asked_type) => EntryMode::Match,
        _ => EntryMode::Include,
    }
}

/// `resourceType` of a raw resource.
pub fn resource_type(resource: &RawValue) -> Option<String> {
    let typed: Typed<'_> = serde_json::from_str(resource.get()).ok()?;
    value(typed.resource_type)
}

/// A raw element as `T`; `None` where it is absent or of another shape.
pub(super) fn value<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    issue: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    code: Option<String>,
}

/// `OperationOutcome.issue.code`, each once, in order. Nothing else of an outcome is repeated
/// anywhere: diagnostics quote the request, and the request names patients.
pub(super) fn issue_codes(bytes: &[u8]) -> Vec<String> {
    let Ok(outcome) = serde_json::from_slice::<Outcome>(bytes) else { return Vec::new() };
    let mut codes: Vec<String> = Vec::new();
    for code in outcome.issue.into_iter().filter_map(|i| i.code) {
        let plain = code.len() <= 40 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if plain && !codes.contains(&code) && codes.len() < 10 {
            codes.push(code);
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_entries_are_counted_and_the_rest_is_read() {
        let page =
            br#"{"resourceType":"Bundle","total":-1,"link":[{"relation":"next","url":"?p=2"}],"entry":[
            {"resource":{"resourceType":"Observation","id":"a"},"search":{"mode":"match"}},
            7, null, {"fullUrl":"x"},
            {"resource":{"resourceType":"Patient","id":"b"}},
            {"resource":{"resourceType":"Observation","id":"c"},"search":"odd"},
            {"resource":{"resourceType":"OperationOutcome","issue":[]},"search":{"mode":"match"}}]}"#;
        let bundle = Bundle::parse(page, "Observation").expect("a page");
        let modes: Vec<EntryMode> = bundle.entries.iter().map(|e| e.mode).collect();
        assert_eq!(modes, [EntryMode::Match, EntryMode::Include, EntryMode::Match, EntryMode::Outcome]);
        assert_eq!((bundle.odd_entries, bundle.total), (3, None));
        assert_eq!(bundle.next_link.as_deref(), Some("?p=2"));
    }

    #[test]
    fn unreadable_links_are_not_taken_for_the_last_page() {
        for page in [
            r#"{"resourceType":"Bundle","link":{"relation":"next"}}"#,
            r#"{"resourceType":"Bundle","link":[{"relation":"next","url":5}]}"#,
            r#"{"resourceType":"Bundle","entry":{}}"#,
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":5}"#,
            r"[]",
            r"{}",
        ] {
            assert!(Bundle::parse(page.as_bytes(), "Observation").is_err(), "{page}");
        }
    }

    #[test]
    fn only_codes_are_taken_from_an_outcome() {
        let body = br#"{"resourceType":"OperationOutcome","issue":[
            {"code":"not-found","diagnostics":"Patient Miller"},{"code":"not-found"},{"code":"Miller 1970"},{}]}"#;
        assert_eq!(issue_codes(body), ["not-found"]);
        assert!(issue_codes(b"<html>").is_empty());
    }
}
