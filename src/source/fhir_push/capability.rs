//! The CapabilityStatement, written from the table that requests are matched against.

use super::table::{Declared, OFFERS};
use crate::config::Push;
use crate::pipeline::stamp;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

const SECURITY: &str = "http://terminology.hl7.org/CodeSystem/restful-security-service";

/// `GET /fhir/metadata`. `since`: when this came to hold.
pub(super) fn statement(push: &Push, since: DateTime<Utc>) -> Vec<u8> {
    let (mut system, mut operations, mut of_type) = (Vec::new(), Vec::new(), Vec::new());
    let mut conditional_update = false;
    for offer in &OFFERS {
        match offer.declared {
            Declared::No => {}
            Declared::System(codes) => system.extend(codes.iter().map(|code| json!({"code": code}))),
            Declared::Type(code) => of_type.push(json!({"code": code})),
            Declared::ConditionalUpdate => conditional_update = true,
            Declared::Operation(name, definition) => {
                operations.push(json!({"name": name, "definition": definition}));
            }
        }
    }
    let resources: Vec<Value> = crate::normalize::fhir::TYPES
        .iter()
        .map(|resource_type| {
            json!({
                "type": resource_type,
                "interaction": of_type,
                "versioning": "versioned",
                "readHistory": false,
                "updateCreate": true,
                "conditionalCreate": true,
                "conditionalUpdate": conditional_update,
            })
        })
        .collect();
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": stamp(since),
        "kind": "instance",
        "software": {"name": "trialbridge", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {
            "description": "Takes in what a trial's screening needs. Data are never read out. Other resource \
                            types are taken, kept, and used for nothing."
        },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{
            "mode": "server",
            "security": security(push),
            "resource": resources,
            "interaction": system,
            "operation": operations,
        }],
    });
    statement.to_string().into_bytes()
}

fn security(push: &Push) -> Value {
    let (service, description) = match push.auth.as_str() {
        "jwt" => (Some("OAuth"), "Authorization: Bearer with a token of the configured issuer."),
        "bearer" => (None, "Authorization: Bearer with the token given to each sender."),
        "certificate" => (Some("Certificates"), "A client certificate of the configured authority."),
        _ => (None, "Nobody is asked: only this machine reaches the address."),
    };
    let mut security = Map::new();
    if let Some(code) = service {
        security.insert("service".into(), json!([{"coding": [{"system": SECURITY, "code": code}]}]));
    }
    security.insert("description".into(), json!(description));
    Value::Object(security)
}

/// `GET /fhir/.well-known/smart-configuration`, where tokens of an issuer are asked for.
pub(super) fn smart_configuration(push: &Push) -> Option<Vec<u8>> {
    if push.auth != "jwt" {
        return None;
    }
    let mut configuration = json!({
        "issuer": push.jwt.issuer,
        "grant_types_supported": ["client_credentials"],
        "capabilities": ["client-confidential-asymmetric"],
    });
    if let Some(url) = &push.jwt.jwks_url {
        configuration["jwks_uri"] = json!(url);
    }
    Some(configuration.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalize::{Body, fhir};
    use crate::source::fhir_push::table;

    fn parsed(auth: &str) -> Value {
        let push = Push { auth: auth.into(), ..Push::default() };
        let at = DateTime::from_timestamp(1_790_000_000, 0).expect("a time");
        let text = statement(&push, at);
        #[cfg(feature = "typed-r4")]
        trialbridge_fhir_typed::check(trialbridge_fhir_typed::Release::R4, &text).expect("R4");
        serde_json::from_slice(&text).expect("JSON")
    }

    #[test]
    fn it_says_what_is_offered_and_nothing_else() {
        for auth in ["none", "bearer", "jwt", "certificate"] {
            let statement = parsed(auth);
            let rest = &statement["rest"][0];
            assert_eq!(rest["interaction"], json!([{"code": "transaction"}, {"code": "batch"}]));
            let method = |code: &Value| match code.as_str() {
                Some("create") => ("POST", ""),
                Some("update") => ("PUT", "/x"),
                Some("delete") => ("DELETE", "/x"),
                other => panic!("{other:?}"),
            };
            for resource in rest["resource"].as_array().expect("resources") {
                let name = resource["type"].as_str().expect("a type");
                for interaction in resource["interaction"].as_array().expect("interactions") {
                    let (method, rest) = method(&interaction["code"]);
                    let path = format!("{name}{rest}");
                    assert!(table::find(method, &path).is_ok(), "{method} {path}");
                }
                // What is listed is used; one that is not finished may say nothing yet.
                let used = ["active", "completed"].into_iter().any(|status| {
                    let resource = json!({"resourceType": name, "id": "x", "status": status}).to_string();
                    fhir::record(&resource).is_ok_and(|record| !matches!(record.body, Body::Other))
                });
                assert!(used, "{name}");
            }
            for operation in rest["operation"].as_array().expect("operations") {
                let path = format!("${}", operation["name"].as_str().expect("a name"));
                assert!(table::find("POST", &path).is_ok(), "{path}");
            }
        }
    }

    #[test]
    fn where_tokens_come_from_is_said_only_where_they_are_asked_for() {
        assert_eq!(smart_configuration(&Push::default()), None);
        let mut push = Push { auth: "jwt".into(), ..Push::default() };
        push.jwt.issuer = Some("https://auth.example".into());
        let text = smart_configuration(&push).expect("it is said");
        let said: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(said["issuer"], "https://auth.example");
    }
}
