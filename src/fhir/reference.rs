//! References between resources, reduced to `Type/id` where they can be.

/// `Type/id` of a literal reference: relative, absolute, with or without a version.
/// `None` for fragments, URNs, conditional references and anything else that names no resource.
pub fn type_and_id(reference: &str) -> Option<(&str, &str)> {
    if reference.starts_with('#') || reference.contains('?') {
        return None;
    }
    let path = reference.split_once("/_history/").map_or(reference, |(path, _)| path);
    let (rest, id) = path.rsplit_once('/')?;
    let resource_type = rest.rsplit('/').next()?;
    let is_type = resource_type.starts_with(|c: char| c.is_ascii_uppercase())
        && resource_type.bytes().all(|b| b.is_ascii_alphabetic());
    (is_type && is_id(id)).then_some((resource_type, id))
}

/// The UUID of `urn:uuid:…`, where it can stand for the id of a resource that has none.
pub fn uuid(reference: &str) -> Option<&str> {
    reference.strip_prefix("urn:uuid:").filter(|uuid| is_id(uuid))
}

/// FHIR `id`: 1 to 64 letters, digits, `-` and `.`. Underscores are let through: servers use them.
pub fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (reference, expected) in [
            ("Patient/p1", Some(("Patient", "p1"))),
            ("Patient/p1/_history/3", Some(("Patient", "p1"))),
            ("https://fhir.example/r4/Patient/p1", Some(("Patient", "p1"))),
            ("#p1", None),
            ("urn:uuid:9b7e", None),
            ("Patient?identifier=x|1", None),
            ("p1", None),
            ("patient/p1", None),
            ("Patient/", None),
            ("Patient/a b", None),
        ] {
            assert_eq!(type_and_id(reference), expected, "{reference}");
        }
        assert_eq!(uuid("urn:uuid:9b7e-1"), Some("9b7e-1"));
        for none in ["urn:uuid:", "urn:uuid:Zhang San", "urn:oid:1.2", "9b7e-1"] {
            assert_eq!(uuid(none), None, "{none}");
        }
    }
}
