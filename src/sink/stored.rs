//! A resource as the hospital's server keeps it, changed one element at a time.
//!
//! Invariant: an element that we do not set leaves byte for byte as it came, in its place, so that
//! another author's decimals, extensions and spacing survive our update.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;

/// The top-level elements of a resource, in order.
#[derive(Clone, Default)]
pub struct Stored {
    elements: Vec<(String, Box<RawValue>)>,
}

impl Stored {
    /// `None` for what is not one JSON object.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// An element as a value.
    pub fn get(&self, name: &str) -> Option<Value> {
        let (_, raw) = self.elements.iter().find(|(n, _)| n == name)?;
        serde_json::from_str(raw.get()).ok()
    }

    /// An element that is a string.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_str().map(str::to_owned)
    }

    /// The `reference` of an element that is a Reference.
    pub fn reference(&self, name: &str) -> Option<String> {
        self.get(name)?.get("reference")?.as_str().map(str::to_owned)
    }

    /// The items of an element that is an array; none where it is absent.
    pub fn items(&self, name: &str) -> Vec<Value> {
        match self.get(name) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        }
    }

    /// An element that is an object, with its own elements as they came.
    pub fn object(&self, name: &str) -> Option<Stored> {
        let (_, raw) = self.elements.iter().find(|(n, _)| n == name)?;
        serde_json::from_str(raw.get()).ok()
    }

    /// The items of an element that is an array of objects, as they came; none where it is absent.
    pub fn objects(&self, name: &str) -> Vec<Stored> {
        let raw = self.elements.iter().find(|(n, _)| n == name);
        raw.and_then(|(_, raw)| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// Any value as an element of ours.
    pub(super) fn from_value<T: Serialize>(value: &T) -> Self {
        Stored::parse(&super::element::bytes(value)).expect("an element of ours is an object")
    }

    /// Takes an element away; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.elements.len();
        self.elements.retain(|(n, _)| n != name);
        self.elements.len() < before
    }

    /// Sets an element in its place, or adds it at the end.
    pub fn set<T: Serialize>(&mut self, name: &str, value: &T) {
        let raw = serde_json::value::to_raw_value(value).expect("strings and lists always serialize");
        match self.elements.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = raw,
            None => self.elements.push((name.to_owned(), raw)),
        }
    }

    /// Does it carry this business identifier?
    pub fn has_identifier(&self, system: &str, value: &str) -> bool {
        self.items("identifier").iter().any(|i| {
            i.get("system").and_then(Value::as_str) == Some(system)
                && i.get("value").and_then(Value::as_str) == Some(value)
        })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        super::element::bytes(self)
    }
}

// The content may hold an arm and a patient's reference.
impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.elements.iter().map(|(n, _)| n.as_str()).collect();
        f.debug_struct("Stored").field("elements", &names).finish_non_exhaustive()
    }
}

impl Serialize for Stored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.elements.len()))?;
        for (name, raw) in &self.elements {
            map.serialize_entry(name, raw)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Stored;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a resource")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stored, A::Error> {
                let mut elements = Vec::new();
                while let Some(entry) = map.next_entry::<String, Box<RawValue>>()? {
                    elements.push(entry);
                }
                Ok(Stored { elements })
            }
        }
        deserializer.deserialize_map(Elements)
    }
}

/// `Type/id` of a reference, whether it came relative, absolute or with a version. `None` for a
/// reference that names no resource (`#contained`, `urn:uuid:...`, `source#Type/id`).
pub fn type_and_id(reference: &str) -> Option<&str> {
    if reference.contains('#') {
        return None;
    }
    let reference = reference.split("/_history/").next().unwrap_or(reference);
    let id = reference.rfind('/')?;
    let start = reference[..id].rfind('/').map_or(0, |slash| slash + 1);
    let named = reference[start..].starts_with(|c: char| c.is_ascii_uppercase());
    (named && id + 1 < reference.len()).then(|| &reference[start..])
}

/// Do two references name the same resource, whatever its version?
pub fn same_resource(a: &str, b: &str) -> bool {
    matches!((type_and_id(a), type_and_id(b)), (Some(a), Some(b)) if a == b)
}

/// What has to change so that a stored resource agrees with what we want.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The resource with our elements set.
    pub merged: Stored,
    /// Names of the elements that had to be set; empty where it already agrees.
    pub changed: Vec<&'static str>,
    /// Worth telling although we set it right.
    pub notices: Vec<&'static str>,
    /// Not ours to settle; the rest is still written.
    pub human: Option<&'static str>,
    /// Not the resource we took it for; nothing is written.
    pub stop: Option<&'static str>,
}

impl Merge {
    pub fn of(stored: &Stored) -> Self {
        Merge { merged: stored.clone(), changed: Vec::new(), notices: Vec::new(), human: None, stop: None }
    }

    pub(super) fn set<T: Serialize>(&mut self, name: &'static str, value: &T) {
        self.merged.set(name, value);
        self.changed.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_elements_leave_as_they_came() {
        let body = br#"{"resourceType":"X", "a":[ 2.50 , 1e-7],"status":"on","z":{"b":1.0,"a":null}}"#;
        let mut stored = Stored::parse(body).expect("an object");
        stored.set("status", &"off");
        stored.set("new", &1);
        assert_eq!(
            String::from_utf8_lossy(&stored.to_bytes()),
            r#"{"resourceType":"X","a":[ 2.50 , 1e-7],"status":"off","z":{"b":1.0,"a":null},"new":1}"#
        );
        assert!(Stored::parse(b"[]").is_none() && Stored::parse(b"{}x").is_none());
    }

    #[test]
    fn references_are_compared_by_type_and_id() {
        let table = [
            ("Patient/1", "Patient/1", true),
            ("http://h.example/fhir/Patient/1", "Patient/1", true),
            ("Patient/1/_history/3", "https://h.example/Patient/1/_history/1", true),
            ("Patient/1", "Patient/12", false),
            ("Patient/1", "Group/1", false),
            ("#1", "#1", false),
            ("http://h.example/R4#Patient/1", "Patient/1", false),
            ("urn:uuid:0c3151bd", "urn:uuid:0c3151bd", false),
            ("Patient/", "Patient/", false),
        ];
        for (a, b, same) in table {
            assert_eq!(same_resource(a, b), same, "{a} {b}");
        }
    }
}
