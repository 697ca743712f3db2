//! What the server says it can do. Real statements leave out half: nothing said is "not known",
//! never "no".

use crate::fhir::release::Release;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One resource type of a CapabilityStatement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeCapability {
    /// `read`, `search-type`, `create`, `update`, ... Empty where none is listed.
    pub interactions: BTreeSet<String>,
    pub conditional_create: bool,
    /// Empty where none is listed.
    pub search_params: BTreeSet<String>,
}

/// The parts of a CapabilityStatement that decide how the server is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capability {
    /// As given, such as `4.0.1`.
    pub fhir_version: Option<String>,
    /// Name and version of the server's software.
    pub software: Option<String>,
    /// By resource type. Empty where the statement lists none.
    pub types: BTreeMap<String, TypeCapability>,
    /// Search parameters that hold for all types.
    pub common_search_params: BTreeSet<String>,
}

impl Capability {
    /// `None` where the text is no CapabilityStatement.
    pub(super) fn parse(bytes: &[u8]) -> Option<Capability> {
        let statement: Value = serde_json::from_slice(bytes).ok()?;
        if statement["resourceType"] != "CapabilityStatement" {
            return None;
        }
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let software = text(&statement["software"]["name"]).map(|name| {
            text(&statement["software"]["version"]).map_or(name.clone(), |v| format!("{name} {v}"))
        });
        let rests: Vec<&Value> = list(&statement["rest"]).filter(|r| r["mode"] != "client").collect();
        let mut types: BTreeMap<String, TypeCapability> = BTreeMap::new();
        for resource in rests.iter().flat_map(|rest| list(&rest["resource"])) {
            let Some(name) = text(&resource["type"]) else { continue };
            let entry = types.entry(name).or_default();
            entry.interactions.extend(list(&resource["interaction"]).filter_map(|i| text(&i["code"])));
            entry.search_params.extend(list(&resource["searchParam"]).filter_map(|p| text(&p["name"])));
            entry.conditional_create |= resource["conditionalCreate"] == true;
        }
        Some(Capability {
            fhir_version: text(&statement["fhirVersion"]),
            software,
            types,
            common_search_params: rests
                .iter()
                .flat_map(|rest| list(&rest["searchParam"]))
                .filter_map(|p| text(&p["name"]))
                .collect(),
        })
    }

    /// The release that the server speaks. `None` where it is not stated or not one of ours.
    pub fn release(&self) -> Option<Release> {
        Release::from_version(self.fhir_version.as_deref()?)
    }

    /// Whether a type offers an interaction. `None` where the statement does not say.
    pub fn offers(&self, resource_type: &str, interaction: &str) -> Option<bool> {
        if self.types.is_empty() {
            return None;
        }
        match self.types.get(resource_type) {
            None => Some(false),
            Some(t) if t.interactions.is_empty() => None,
            Some(t) => Some(t.interactions.contains(interaction)),
        }
    }

    /// Whether `If-None-Exist` is honoured on create of this type, as far as is stated.
    pub fn conditional_create(&self, resource_type: &str) -> bool {
        self.types.get(resource_type).is_some_and(|t| t.conditional_create)
    }

    /// The search parameters of a type with those of all types. `None` where none is listed for it.
    pub fn search_params(&self, resource_type: &str) -> Option<BTreeSet<&str>> {
        let own = &self.types.get(resource_type)?.search_params;
        if own.is_empty() {
            return None;
        }
        Some(own.iter().chain(&self.common_search_params).map(String::as_str).collect())
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_statement_is_read() {
        let text = br#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1",
            "software":{"name":"Ward","version":"2"},
            "rest":[{"mode":"client","resource":[{"type":"Basic"}]},
                    {"mode":"server","searchParam":[{"name":"_lastUpdated"}],"resource":[
                {"type":"Observation","interaction":[{"code":"read"},{"code":"search-type"}],
                 "searchParam":[{"name":"code"},{"name":"patient"}]},
                {"type":"ResearchSubject","conditionalCreate":true}]}]}"#;
        let c = Capability::parse(text).expect("a statement");
        assert_eq!(c.fhir_version.as_deref(), Some("4.0.1"));
        assert_eq!(c.release(), Some(Release::R4));
        assert_eq!(c.software.as_deref(), Some("Ward 2"));
        assert_eq!(c.offers("Observation", "search-type"), Some(true));
        assert_eq!(c.offers("Observation", "create"), Some(false));
        assert_eq!(c.offers("ResearchSubject", "search-type"), None);
        assert_eq!(c.offers("Basic", "read"), Some(false));
        assert!(c.conditional_create("ResearchSubject") && !c.conditional_create("Observation"));
        let params = c.search_params("Observation").expect("listed");
        assert!(params.contains("code") && params.contains("_lastUpdated"));
        assert_eq!(c.search_params("ResearchSubject"), None);
    }

    #[test]
    fn missing_pieces_are_unknown() {
        let c = Capability::parse(br#"{"resourceType":"CapabilityStatement"}"#).expect("a statement");
        assert_eq!((&c, c.release()), (&Capability::default(), None));
        assert_eq!(c.offers("Observation", "read"), None);
        let odd =
            br#"{"resourceType":"CapabilityStatement","fhirVersion":4,"software":"x","rest":{"resource":1}}"#;
        assert_eq!(Capability::parse(odd), Some(Capability::default()));
        assert_eq!(Capability::parse(br#"{"resourceType":"Bundle"}"#), None);
        assert_eq!(Capability::parse(b"[]"), None);
    }
}
