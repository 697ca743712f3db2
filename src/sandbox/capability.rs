//! The CapabilityStatement, written from what is implemented.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Release;
use super::interaction::instant;
use super::parameters;

/// `GET [base]/metadata`.
pub(super) fn statement(release: Release, base: &str, now: DateTime<Utc>) -> Value {
    let resources: Vec<Value> = parameters::types()
        .filter_map(|kind| {
            let search: Vec<Value> = parameters::of(release, kind)?
                .map(|known| json!({"name": known.name, "type": known.kind.name()}))
                .collect();
            let interactions =
                ["read", "vread", "update", "delete", "history-instance", "create", "search-type"];
            Some(json!({
                "type": kind,
                "interaction": interactions.map(|code| json!({"code": code})),
                "versioning": "versioned-update",
                "readHistory": true,
                "updateCreate": true,
                "conditionalCreate": true,
                "conditionalRead": "not-match",
                "conditionalUpdate": false,
                "conditionalDelete": "not-supported",
                "searchParam": search,
            }))
        })
        .collect();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": instant(now),
        "kind": "instance",
        "software": {"name": "trialbridge sandbox", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "A synthetic hospital: all patients are invented", "url": base},
        "fhirVersion": version(release),
        "format": ["application/fhir+json", "json"],
        "rest": [{
            "mode": "server",
            "resource": resources,
            "interaction": [{"code": "transaction"}, {"code": "batch"}],
        }],
    })
}

fn version(release: Release) -> &'static str {
    match release {
        Release::R4 => "4.0.1",
        Release::R4B => "4.3.0",
        Release::R5 => "5.0.0",
    }
}
