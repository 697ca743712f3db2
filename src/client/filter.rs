//! Did the server search for what was asked?
//!
//! Servers drop a parameter they do not know and answer with everything. Two proofs are taken: the
//! self link of the answer, which must still name every parameter that narrows, and the results
//! themselves, where a parameter can be judged on a resource.

use super::bundle::value;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

/// Parameters without which a search returns more than was asked for.
const NARROWING: [&str; 10] = [
    "patient",
    "subject",
    "code",
    "_lastUpdated",
    "identifier",
    "study",
    "individual",
    "_id",
    "status",
    "_has",
];

/// Names under which a server may repeat the same reference to the patient.
const SAME: [&str; 3] = ["patient", "subject", "individual"];

/// What the self link says about the parameters of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SelfLink {
    /// Every narrowing parameter is still there, or there was none.
    Kept,
    /// Nothing is said; the results have to be looked at.
    Silent,
    /// The name of a parameter that narrows and is gone.
    Dropped(String),
}

/// Compares by parameter name after decoding; order, values and modifiers may differ.
// # Source
// > "In order to allow the client to be confident about what search parameters were used as a
// > criteria by the server, the server SHALL return the parameters that were actually used to
// > process the search."   FHIR R4, RESTful search, server conformance
pub(super) fn self_link(asked: &[(String, String)], link: Option<&Url>, by_post: bool) -> SelfLink {
    let narrowing: Vec<&str> =
        asked.iter().map(|(name, _)| base_name(name)).filter(|n| NARROWING.contains(n)).collect();
    if narrowing.is_empty() {
        return SelfLink::Kept;
    }
    let Some(link) = link else { return SelfLink::Silent };
    let given: Vec<(String, bool)> = link
        .query_pairs()
        .map(|(name, value)| (base_name(&name).to_owned(), !value.trim().is_empty()))
        .collect();
    // A link with the server's own tokens only, or none at all after a POST, repeats no request.
    let repeats_the_request = given.iter().any(|(name, _)| {
        asked.iter().any(|(a, _)| base_name(a) == name)
            || matches!(name.as_str(), "_count" | "_format" | "_sort" | "_total" | "_offset")
    });
    if !repeats_the_request && (by_post || !given.is_empty()) {
        return SelfLink::Silent;
    }
    for name in &narrowing {
        let wanted = narrowing.iter().filter(|n| same(n, name)).count();
        let found = given.iter().filter(|(n, filled)| *filled && same(n, name)).count();
        if found < wanted {
            return SelfLink::Dropped((*name).to_owned());
        }
    }
    SelfLink::Kept
}

/// `patient:Patient` and `patient.identifier` are `patient`; `_has:Condition:patient:code` is `_has`.
fn base_name(name: &str) -> &str {
    name.split([':', '.']).next().unwrap_or(name)
}

fn same(a: &str, b: &str) -> bool {
    a == b || (SAME.contains(&a) && SAME.contains(&b))
}

#[derive(Deserialize)]
struct Judged<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    identifier: Option<&'a RawValue>,
    #[serde(borrow, default)]
    subject: Option<&'a RawValue>,
    #[serde(borrow, default)]
    patient: Option<&'a RawValue>,
    #[serde(borrow, default)]
    individual: Option<&'a RawValue>,
    #[serde(borrow, default)]
    study: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Identifier {
    #[serde(default)]
    system: Option<String>,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    reference: Option<String>,
}

/// Whether a resource matches one parameter of a search. `None` where that cannot be told from the
/// resource: a parameter with a modifier or a chain, an element that is absent, a reference by
/// logical identifier.
///
/// An absent `identifier` or `id` is a `Some(false)`: these parameters match only what is there.
pub fn matches_filter(resource: &RawValue, name: &str, asked: &str) -> Option<bool> {
    if base_name(name) != name || asked.is_empty() {
        return None;
    }
    let judged: Judged<'_> = serde_json::from_str(resource.get()).ok()?;
    match name {
        "_id" => {
            let id: String = value(judged.id).unwrap_or_default();
            Some(asked.split(',').any(|one| one == id))
        }
        "identifier" => {
            let identifiers = match judged.identifier {
                None => Vec::new(),
                // One identifier instead of a list in a few types (Composition, QuestionnaireResponse).
                Some(raw) => value::<Vec<Identifier>>(Some(raw))
                    .or_else(|| value::<Identifier>(Some(raw)).map(|one| vec![one]))?,
            };
            Some(asked.split(',').any(|token| identifiers.iter().any(|i| has_token(i, token))))
        }
        "patient" | "subject" | "individual" => {
            // R5 renamed ResearchSubject.individual to subject; both names mean the same patient.
            let raw = judged.subject.or(judged.patient).or(judged.individual)?;
            same_reference(raw, asked)
        }
        "study" => same_reference(judged.study?, asked),
        "status" => {
            let status: String = value(judged.status)?;
            Some(asked.split(',').any(|token| token.rsplit('|').next() == Some(status.as_str())))
        }
        _ => None,
    }
}

fn has_token(identifier: &Identifier, token: &str) -> bool {
    let value = identifier.value.as_deref().unwrap_or_default();
    let system = identifier.system.as_deref().unwrap_or_default();
    match token.split_once('|') {
        None => value.eq_ignore_ascii_case(token),
        Some((asked_system, "")) => system == asked_system,
        Some((asked_system, asked_value)) => {
            system == asked_system && value.eq_ignore_ascii_case(asked_value)
        }
    }
}

fn same_reference(raw: &RawValue, asked: &str) -> Option<bool> {
    let found = value::<Reference>(Some(raw))?.reference?;
    if found.starts_with("urn:") || found.starts_with('#') {
        return None;
    }
    let found = type_and_id(&found);
    Some(asked.split(',').any(|one| {
        let one = type_and_id(one);
        one.1 == found.1 && (one.0.is_none() || found.0.is_none() || one.0 == found.0)
    }))
}

/// The last two segments, without version. Both of `http://h/fhir/Patient/1/_history/3` and `Patient/1`.
pub(super) fn type_and_id(reference: &str) -> (Option<&str>, &str) {
    let plain = reference.split("/_history/").next().unwrap_or(reference);
    let mut parts = plain.rsplit('/');
    let id = parts.next().unwrap_or(plain);
    (parts.next(), id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Vec<(String, String)> {
        url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
    }

    #[test]
    fn the_self_link_is_compared_by_name() {
        use SelfLink::{Dropped, Kept, Silent};
        let dropped = |name: &str| Dropped(name.to_owned());
        let all = "patient=1&code=a,b&_lastUpdated=ge2026-01-01&_count=200";
        // asked, self link, by POST, verdict
        let table = [
            (all, Some("?patient=1&code=a%2Cb&_lastUpdated=ge2026-01-01&_count=200"), true, Kept),
            (all, Some("?_count=50&_lastUpdated=ge2026&code%3Ain=x&subject=Patient/1"), false, Kept),
            (all, Some("?patient=1&code=a,b&_count=200"), true, dropped("_lastUpdated")),
            (all, Some("?code=a,b&_lastUpdated=ge2026-01-01"), true, dropped("patient")),
            (all, Some("?patient=1&_lastUpdated=ge2026-01-01&code="), true, dropped("code")),
            (all, Some("?_count=200"), true, dropped("patient")),
            (all, None, true, Silent),
            (all, None, false, Silent),
            (all, Some(""), true, Silent),
            (all, Some(""), false, dropped("patient")),
            (all, Some("?_getpages=77"), false, Silent),
            ("_count=200", Some(""), false, Kept),
            ("date=ge2026", Some("?_count=1"), false, Kept),
            ("_has:Condition:patient:code=x", Some("?_has%3ACondition%3Apatient%3Acode=x"), false, Kept),
            ("_has:Condition:patient:code=x", Some("?_count=9"), false, dropped("_has")),
            ("_lastUpdated=ge1&_lastUpdated=lt2", Some("?_lastUpdated=ge1"), false, dropped("_lastUpdated")),
            ("patient.identifier=x|1", Some("?patient.identifier=x%7C1"), false, Kept),
            ("study=1&individual=2", Some("?study=1"), false, dropped("individual")),
        ];
        for (request, link, by_post, verdict) in table {
            let link = link
                .map(|l| Url::parse("http://h/fhir/Observation").and_then(|u| u.join(l)).expect("a link"));
            assert_eq!(self_link(&asked(request), link.as_ref(), by_post), verdict, "{request} {link:?}");
        }
    }

    #[test]
    fn a_result_is_judged_where_it_can_be() {
        let subject = r#"{"resourceType":"ResearchSubject","id":"7","status":"candidate",
            "identifier":[{"system":"urn:s","value":"S-1"},{"value":"free"}],
            "study":{"reference":"ResearchStudy/nct"},"individual":{"reference":"http://h/fhir/Patient/p1/_history/2"}}"#;
        let by_name = r#"{"subject":{"identifier":{"value":"x"}},"identifier":{"system":"q","value":"1"}}"#;
        let bare = r#"{"subject":"odd","identifier":5}"#;
        let table = [
            (subject, "_id", "7", Some(true)),
            (subject, "_id", "6,7", Some(true)),
            (subject, "_id", "77", Some(false)),
            (subject, "identifier", "urn:s|S-1", Some(true)),
            (subject, "identifier", "urn:s|s-1", Some(true)),
            (subject, "identifier", "S-1", Some(true)),
            (subject, "identifier", "urn:s|", Some(true)),
            (subject, "identifier", "|free", Some(true)),
            (subject, "identifier", "|S-1", Some(false)),
            (subject, "identifier", "urn:t|S-1", Some(false)),
            (subject, "identifier", "urn:s|S-2,urn:s|S-1", Some(true)),
            (subject, "identifier:of-type", "x|y|z", None),
            (subject, "patient", "p1", Some(true)),
            (subject, "individual", "Patient/p1", Some(true)),
            (subject, "individual", "http://h/fhir/Patient/p1", Some(true)),
            (subject, "individual", "Patient/p2", Some(false)),
            (subject, "individual", "Group/p1", Some(false)),
            (subject, "study", "ResearchStudy/nct", Some(true)),
            (subject, "study", "other", Some(false)),
            (subject, "status", "candidate", Some(true)),
            (subject, "status", "eligible,ineligible", Some(false)),
            (subject, "_lastUpdated", "ge2026", None),
            (by_name, "subject", "p1", None),
            (by_name, "identifier", "q|1", Some(true)),
            (by_name, "study", "x", None),
            (bare, "subject", "p1", None),
            (bare, "identifier", "x", None),
            (r#"{"id":"1"}"#, "identifier", "x", Some(false)),
        ];
        for (resource, name, asked, verdict) in table {
            let raw: &RawValue = serde_json::from_str(resource).expect("JSON");
            assert_eq!(matches_filter(raw, name, asked), verdict, "{name}={asked}");
        }
    }
}
