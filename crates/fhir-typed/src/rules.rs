//! What the models accept and FHIR does not: codes outside required value sets, dates that are none,
//! empty elements, decimals written as strings.
//!
//! Only the resource types that are written to a hospital or given out by our own endpoints have
//! code rules; dates, empty elements and ids are looked at in every type.

use crate::{CheckError, Checked, Release};
use serde_json::{Map, Value};

// # Source
// > ResearchSubjectStatus   https://hl7.org/fhir/R4/valueset-research-subject-status.html (same in R4B)
const SUBJECT_STATUS_R4: &[&str] = &[
    "candidate",
    "eligible",
    "follow-up",
    "ineligible",
    "not-registered",
    "off-study",
    "on-study",
    "on-study-intervention",
    "on-study-observation",
    "pending-on-study",
    "potential-candidate",
    "screening",
    "withdrawn",
];
// # Source
// > ResearchStudyStatus   https://hl7.org/fhir/R4/valueset-research-study-status.html (same in R4B)
const STUDY_STATUS_R4: &[&str] = &[
    "active",
    "administratively-completed",
    "approved",
    "closed-to-accrual",
    "closed-to-accrual-and-intervention",
    "completed",
    "disapproved",
    "in-review",
    "temporarily-closed-to-accrual",
    "temporarily-closed-to-accrual-and-intervention",
    "withdrawn",
];
// # Source
// > PublicationStatus   https://hl7.org/fhir/R5/valueset-publication-status.html
const PUBLICATION_STATUS: &[&str] = &["draft", "active", "retired", "unknown"];
// # Source
// > ObservationStatus   https://hl7.org/fhir/R4/valueset-observation-status.html (same in R4B and R5)
const OBSERVATION_STATUS: &[&str] = &[
    "registered",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "cancelled",
    "entered-in-error",
    "unknown",
];
// # Source
// > ProvenanceEntityRole   https://hl7.org/fhir/R4/valueset-provenance-entity-role.html
const ENTITY_ROLE_R4: &[&str] = &["derivation", "revision", "quotation", "source", "removal"];
// # Source
// > ProvenanceEntityRole   https://hl7.org/fhir/R5/valueset-provenance-entity-role.html
const ENTITY_ROLE_R5: &[&str] = &["revision", "quotation", "source", "instantiates", "removal"];
// # Source
// > IssueSeverity   https://hl7.org/fhir/R4/valueset-issue-severity.html; R5 adds `success`
const SEVERITY_R4: &[&str] = &["fatal", "error", "warning", "information"];
const SEVERITY_R5: &[&str] = &["fatal", "error", "warning", "information", "success"];
// # Source
// > CapabilityStatementKind   https://hl7.org/fhir/R4/valueset-capability-statement-kind.html
const CAPABILITY_KIND: &[&str] = &["instance", "capability", "requirements"];
// # Source
// > ResearchSubjectState   http://terminology.hl7.org/CodeSystem/research-subject-state (R5)
const SUBJECT_STATE_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/research-subject-state";

/// Checks the content of a resource whose structure is known to be right.
pub(crate) fn check(release: Release, value: &Value) -> Result<Checked, CheckError> {
    let object = value.as_object().ok_or_else(|| content("$", "not a JSON object"))?;
    let resource_type = object
        .get("resourceType")
        .and_then(Value::as_str)
        .ok_or_else(|| content("$", "resourceType is missing"))?;
    let id = match object.get("id") {
        None => None,
        Some(id) => Some(
            id.as_str()
                .filter(|id| is_id(id))
                .ok_or_else(|| content(&format!("{resource_type}.id"), "not a FHIR id"))?,
        ),
    };
    codes(release, resource_type, object)?;
    for (key, element) in object {
        walk(&format!("{resource_type}.{key}"), key, element)?;
    }
    Ok(Checked { resource_type: resource_type.to_owned(), id: id.map(str::to_owned) })
}

fn codes(release: Release, resource_type: &str, object: &Map<String, Value>) -> Result<(), CheckError> {
    let r5 = release == Release::R5;
    match resource_type {
        "ResearchSubject" => {
            let status = if r5 { PUBLICATION_STATUS } else { SUBJECT_STATUS_R4 };
            code("ResearchSubject.status", object.get("status"), status)?;
            for (i, progress) in items(object.get("progress")) {
                for (j, coding) in items(progress.pointer("/subjectState/coding")) {
                    if coding.get("system").and_then(Value::as_str) == Some(SUBJECT_STATE_SYSTEM) {
                        let path = format!("ResearchSubject.progress[{i}].subjectState.coding[{j}].code");
                        code(&path, coding.get("code"), SUBJECT_STATUS_R4)?;
                    }
                }
            }
            if let Some(group) = object.get("assignedComparisonGroup")
                && !group.as_str().is_some_and(is_id)
            {
                return Err(content("ResearchSubject.assignedComparisonGroup", "not a FHIR id"));
            }
        }
        "ResearchStudy" => {
            let status = if r5 { PUBLICATION_STATUS } else { STUDY_STATUS_R4 };
            code("ResearchStudy.status", object.get("status"), status)?;
            for (i, group) in items(object.get("comparisonGroup")) {
                if let Some(link) = group.get("linkId")
                    && !link.as_str().is_some_and(is_id)
                {
                    let path = format!("ResearchStudy.comparisonGroup[{i}].linkId");
                    return Err(content(&path, "not a FHIR id"));
                }
            }
        }
        "Observation" => code("Observation.status", object.get("status"), OBSERVATION_STATUS)?,
        "Provenance" => {
            let roles = if r5 { ENTITY_ROLE_R5 } else { ENTITY_ROLE_R4 };
            for (i, entity) in items(object.get("entity")) {
                code(&format!("Provenance.entity[{i}].role"), entity.get("role"), roles)?;
            }
        }
        "OperationOutcome" => {
            let severities = if r5 { SEVERITY_R5 } else { SEVERITY_R4 };
            for (i, issue) in items(object.get("issue")) {
                let path = format!("OperationOutcome.issue[{i}].severity");
                code(&path, issue.get("severity"), severities)?;
            }
        }
        "CapabilityStatement" => {
            code("CapabilityStatement.status", object.get("status"), PUBLICATION_STATUS)?;
            code("CapabilityStatement.kind", object.get("kind"), CAPABILITY_KIND)?;
        }
        _ => {}
    }
    Ok(())
}

fn items(array: Option<&Value>) -> impl Iterator<Item = (usize, &Value)> {
    array.and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn code(path: &str, found: Option<&Value>, allowed: &[&str]) -> Result<(), CheckError> {
    match found.and_then(Value::as_str) {
        Some(code) if allowed.contains(&code) => Ok(()),
        Some(_) => Err(content(path, "code is not in the required value set")),
        None => Err(content(path, "required code is missing")),
    }
}

/// Dates by the name of their element; nothing empty anywhere; decimals are numbers.
fn walk(path: &str, key: &str, value: &Value) -> Result<(), CheckError> {
    match value {
        Value::Object(object) => {
            if object.is_empty() {
                return Err(content(path, "empty element"));
            }
            let quantity = matches!(key, "valueQuantity" | "low" | "high");
            if quantity && object.get("value").is_some_and(Value::is_string) {
                return Err(content(&format!("{path}.value"), "a decimal is a number, not a string"));
            }
            object.iter().try_for_each(|(key, value)| walk(&format!("{path}.{key}"), key, value))
        }
        Value::Array(array) => {
            if array.is_empty() {
                return Err(content(path, "empty element"));
            }
            array.iter().enumerate().try_for_each(|(i, value)| walk(&format!("{path}[{i}]"), key, value))
        }
        Value::String(text) => {
            if text.trim().is_empty() {
                return Err(content(path, "empty element"));
            }
            let valid = match key {
                "recorded" | "issued" | "lastUpdated" | "valueInstant" | "effectiveInstant" => {
                    is_instant(text)
                }
                "birthDate" | "valueDate" => is_date(text),
                "start" | "end" | "startDate" | "endDate" | "effectiveDateTime" | "occurredDateTime"
                | "valueDateTime" | "date" | "dateTime" | "authoredOn" => is_date_time(text),
                "reference" => !text.contains(char::is_whitespace),
                _ => true,
            };
            if valid { Ok(()) } else { Err(content(path, "not a valid date, time or reference")) }
        }
        // A null is only lawful inside an array of primitives, where it keeps the place of an extension.
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn content(path: &str, reason: &'static str) -> CheckError {
    CheckError::Content { path: path.to_owned(), reason }
}

// # Source
// > [A-Za-z0-9\-\.]{1,64}   https://hl7.org/fhir/R4/datatypes.html#id
fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// `n` ASCII digits as a number.
fn digits(text: &str, n: usize) -> Option<u32> {
    (text.len() == n && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

// # Source
// > YYYY, YYYY-MM, or YYYY-MM-DD ... Dates SHALL be valid dates   https://hl7.org/fhir/R4/datatypes.html#date
fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let year = parts.next().and_then(|y| digits(y, 4));
    let (month, day, more) = (parts.next(), parts.next(), parts.next());
    let Some(year) = year.filter(|y| *y > 0) else { return false };
    if more.is_some() {
        return false;
    }
    let Some(month) = month else { return true };
    let Some(month) = digits(month, 2).filter(|m| (1..=12).contains(m)) else { return false };
    let Some(day) = day else { return true };
    digits(day, 2).is_some_and(|d| (1..=days_in(year, month)).contains(&d))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

// # Source
// > If hours and minutes are specified, a time zone SHALL be populated. ... Seconds must be provided
// > https://hl7.org/fhir/R4/datatypes.html#dateTime
fn is_date_time(text: &str) -> bool {
    is_date(text) || is_instant(text)
}

fn is_instant(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    if date.len() != 10 || !is_date(date) {
        return false;
    }
    let clock = if let Some(clock) = time.strip_suffix('Z') {
        clock
    } else {
        let Some(at) = time.rfind(['+', '-']) else { return false };
        let (clock, zone) = time.split_at(at);
        // # Source
        // > (Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))
        let zone_is_valid = zone[1..].split_once(':').is_some_and(|(h, m)| {
            let (h, m) = (digits(h, 2), digits(m, 2));
            matches!((h, m), (Some(0..=13), Some(0..=59)) | (Some(14), Some(0)))
        });
        if !zone_is_valid {
            return false;
        }
        clock
    };
    let (whole, fraction) = match clock.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (clock, None),
    };
    if fraction.is_some_and(|f| f.is_empty() || !f.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    let mut parts = whole.split(':');
    let (h, m, s) = (parts.next(), parts.next(), parts.next());
    parts.next().is_none()
        && h.and_then(|h| digits(h, 2)).is_some_and(|h| h <= 23)
        && m.and_then(|m| digits(m, 2)).is_some_and(|m| m <= 59)
        && s.and_then(|s| digits(s, 2)).is_some_and(|s| s <= 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        // text, date, dateTime, instant
        let table = [
            ("2026", true, true, false),
            ("2026-11", true, true, false),
            ("2026-11-22", true, true, false),
            ("2024-02-29", true, true, false),
            ("2026-02-29", false, false, false),
            ("1900-02-29", false, false, false),
            ("2000-02-29", true, true, false),
            ("2026-13", false, false, false),
            ("2026-00-10", false, false, false),
            ("2026-4-1", false, false, false),
            ("0000", false, false, false),
            ("2026-11-22-01", false, false, false),
            ("2026-11-22T08:00:00+08:00", false, true, true),
            ("2026-11-22T08:00:00.125Z", false, true, true),
            ("2026-11-22T08:00:00-14:00", false, true, true),
            ("2026-11-22T08:00:00+14:30", false, false, false),
            ("2026-11-22T08:00:00", false, false, false),
            ("2026-11-22T08:00Z", false, false, false),
            ("2026-11-22T24:00:00Z", false, false, false),
            ("2026-11-22T08:00:00.Z", false, false, false),
            ("2026-11T08:00:00Z", false, false, false),
            ("2026-11-22 08:00:00Z", false, false, false),
            ("yesterday", false, false, false),
            ("", false, false, false),
        ];
        for (text, date, date_time, instant) in table {
            assert_eq!(is_date(text), date, "date {text}");
            assert_eq!(is_date_time(text), date_time, "dateTime {text}");
            assert_eq!(is_instant(text), instant, "instant {text}");
        }
    }

    #[test]
    fn ids() {
        let longest = "a".repeat(64);
        for good in ["1", "p-1.a", longest.as_str()] {
            assert!(is_id(good), "{good}");
        }
        let too_long = "a".repeat(65);
        for bad in ["", "a b", "a_b", "\u{e9}", too_long.as_str()] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
