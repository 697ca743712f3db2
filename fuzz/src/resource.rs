//! One FHIR resource: the text, its projection, what the trial makes of it, and Bundles of them.

use super::words::holds_something;
use super::{is_path, trial};
use serde_json::Value;
use serde_json::value::RawValue;
use trialbridge::fact::{Fact, Measurement};
use trialbridge::fhir::bundle::{self, Content};
use trialbridge::fhir::json::{self, JsonError, MAX_DEPTH};
use trialbridge::mapping::{self, Mapped};
use trialbridge::normalize::{Body, fhir};
use trialbridge::{cli, clinical::number};

/// Depth of brackets outside of strings, counted the plain way.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The guards before the reader: encoding by its byte, depth by its count, errors that show a place and
/// no content.
pub fn json(data: &[u8]) {
    let text = match json::text(data) {
        Ok(text) => text,
        Err(JsonError::Encoding { at }) => {
            let body = data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data);
            assert!(std::str::from_utf8(&body[..at]).is_ok(), "good up to byte {at}");
            assert!(std::str::from_utf8(body).is_err());
            return;
        }
        Err(other) => panic!("{other:?} from the bytes alone"),
    };
    assert_eq!(json::too_deep(text), depth(text) > MAX_DEPTH);
    let oracle = serde_json::from_str::<Value>(text);
    let raw = json::read::<&RawValue>(text);
    match &raw {
        Ok(raw) => assert_eq!(raw.get(), text.trim_matches([' ', '\t', '\r', '\n'])),
        Err(JsonError::TooDeep) => assert!(depth(text) > MAX_DEPTH),
        Err(JsonError::Syntax { line, .. }) => assert!(*line <= text.split('\n').count()),
        Err(other) => panic!("{other:?} of a text that is only looked through"),
    }
    // Who looks through it and who reads it all agree on what is JSON; only the second looks into the
    // escapes of a string.
    if oracle.is_ok() && depth(text) <= MAX_DEPTH {
        assert!(raw.is_ok(), "{text:?}");
    }
    if let Some(resource_type) = fhir::resource_type(text)
        && let Ok(Value::Object(object)) = &oracle
        && text.matches("resourceType").count() == 1
    {
        assert_eq!(object.get("resourceType").and_then(Value::as_str), Some(resource_type));
    }
}

/// One resource to facts and gaps: the same every time; nothing from what was retracted; numbers kept
/// digit for digit; no range empty; no gap that repeats what the resource held.
pub fn projection(data: &[u8]) {
    let Ok(text) = json::text(data) else { return };
    let Ok(record) = fhir::record(text) else {
        if let Err(JsonError::DuplicateKey { path } | JsonError::Structure { path }) = fhir::record(text) {
            assert!(is_path(&path), "{path:?}");
        }
        return;
    };
    let mapped = mapping::apply(&record, trial());
    let again = fhir::record(text).expect("it was read once");
    assert_eq!(record.head, again.head);
    assert_eq!(record.subject, again.subject);
    assert_eq!(mapped, mapping::apply(&again, trial()), "the same bytes, twice");
    if matches!(record.body, Body::Retracted { .. } | Body::Other) {
        assert!(mapped.is_empty(), "{mapped:?}");
    }
    sound(&mapped, text);
    retracted(text, &mapped);
}

fn sound(mapped: &Mapped, text: &str) {
    for fact in &mapped.facts {
        match fact {
            Fact::Measurement(m) => {
                holds_something(&m.value, text);
                let digits = m.received.value.trim_start_matches(['<', '>', '=']);
                assert!(text.contains(digits), "{digits:?} is not in {text:?}");
                assert!(number::parse(digits).is_ok());
                assert!(m.upper_normal.is_none_or(|u| u.is_sign_positive()));
            }
            Fact::Answer(a) => assert!(a.effective.first <= a.effective.last),
            Fact::Finding(f) => {
                assert!(f.sets.is_sorted() && f.when.as_ref().is_none_or(|w| w.earliest <= w.latest));
            }
            _ => {}
        }
    }
    for gap in &mapped.gaps {
        assert!(is_path(&gap.path), "{gap:?}");
    }
}

/// The same resource, taken back: no fact is left, and no gap.
fn retracted(text: &str, mapped: &Mapped) {
    if mapped.is_empty() {
        return;
    }
    let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(text) else { return };
    let error = Value::from("entered-in-error");
    match object.get("resourceType").and_then(Value::as_str) {
        Some("Condition" | "AllergyIntolerance") => {
            let status = serde_json::json!({"coding": [{"code": error}]});
            object.insert("verificationStatus".into(), status);
        }
        // R5 says it in `progress`, which stands above the status.
        Some("ResearchSubject") => {
            object.remove("progress");
            object.insert("status".into(), error);
        }
        Some("Patient" | "Medication" | "ResearchStudy") | None => return,
        Some(_) => {
            object.insert("status".into(), error);
        }
    }
    let text = Value::Object(object).to_string();
    let record = fhir::record(&text).expect("it was read before it was taken back");
    assert!(matches!(record.body, Body::Retracted { .. }), "{text}");
    assert!(mapping::apply(&record, trial()).is_empty(), "{text}");
}

/// A Bundle to its entries: each by its own place, its text untouched, in order, none lost.
pub fn bundle(data: &[u8]) {
    let Ok(text) = json::text(data) else { return };
    if json::too_deep(text) {
        return;
    }
    let Ok(pieces) = bundle::split(text) else { return };
    let start = text.as_ptr() as usize;
    let mut behind = start;
    for (index, piece) in pieces.iter().enumerate() {
        assert_eq!(piece.path, format!("Bundle.entry[{index}]"));
        match &piece.content {
            Ok(Content::Resource(resource)) => {
                let at = resource.as_ptr() as usize;
                assert!(at >= behind && at + resource.len() <= start + text.len(), "a piece of the text");
                behind = at + resource.len();
            }
            Ok(Content::Deletion(_) | Content::Nothing) => {}
            Err(JsonError::DuplicateKey { path } | JsonError::Structure { path }) => {
                assert!(is_path(path), "{path:?}");
            }
            Err(JsonError::Syntax { .. }) => {}
            Err(other) => panic!("{other:?} inside of a text that was checked"),
        }
    }
    let oracle = serde_json::from_str::<Value>(text);
    if let Ok(Value::Object(object)) = oracle {
        let entries = object.get("entry").and_then(Value::as_array).map_or(0, Vec::len);
        assert_eq!(pieces.len(), entries, "entries of {text:?}");
    }
}

/// The measured variables that both the record and the line of named values know.
const MEASURED: [(&str, &str); 8] = [
    ("bilirubin_total", "1975-2"),
    ("inr", "6301-6"),
    ("creatinine", "2160-0"),
    ("sodium", "2951-2"),
    ("albumin", "1751-7"),
    ("ast", "1920-8"),
    ("alt", "1742-6"),
    ("platelets", "777-3"),
];

/// `<0.3 mg/dL` on a line for `score` and in an Observation: taken or refused alike, and for the same
/// reason. The first byte chooses the variable.
pub fn quantity(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let (name, loinc) = MEASURED[usize::from(*first) % MEASURED.len()];
    let line = serde_json::json!({"variables": {name: text}}).to_string();
    let line = cli::score::line(line.as_bytes(), trial()).expect("a line");
    assert!(line.gaps.len() <= 1);
    for (_, score) in line.scores.iter() {
        assert!(score.low <= score.high || score.high.is_none(), "{text:?}: {score:?}");
    }
    let text = text.trim();
    let sign = ["<=", ">=", "<", ">"].into_iter().find(|s| text.starts_with(s)).unwrap_or("");
    let rest = text[sign.len()..].trim_start();
    let (value, unit) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
    let Ok(range) = number::parse(value) else {
        assert_eq!(line.gaps.first().map(|g| g.reason), Some("value-invalid"), "{text:?}");
        return;
    };
    if range.exact().is_none() && !sign.is_empty() {
        return;
    }
    let mut quantity = format!("\"value\":{value}");
    if !sign.is_empty() {
        quantity.push_str(&format!(",\"comparator\":\"{sign}\""));
    }
    if !unit.trim().is_empty() {
        quantity.push_str(&format!(",\"unit\":{}", Value::from(unit.trim())));
    }
    let observation = format!(
        r#"{{"resourceType":"Observation","id":"o","status":"final","effectiveDateTime":"2026-11-20",
        "code":{{"coding":[{{"system":"http://loinc.org","code":"{loinc}"}}]}},
        "subject":{{"reference":"Patient/p"}},"valueQuantity":{{{quantity}}}}}"#
    );
    let record = fhir::record(&observation).expect("an Observation");
    let mapped = mapping::apply(&record, trial());
    let measurement = mapped.facts.iter().find_map(|f| match f {
        Fact::Measurement(m) => Some(m),
        _ => None,
    });
    if let Some(Measurement { value, received, .. }) = measurement {
        holds_something(value, text);
        assert_eq!(&*received.value, format!("{sign}{}", range_text(rest)));
    }
    let said = line.gaps.first().map(|g| g.reason);
    let gap = mapped.gaps.first().map(|g| g.reason.code());
    assert_eq!(said.is_none(), measurement.is_some(), "{name} {text:?}: {said:?}, {gap:?}");
    assert_eq!(said, gap, "{name} {text:?}");
}

/// The number at the head of `2.0 mg/dL`.
fn range_text(text: &str) -> &str {
    text.split(char::is_whitespace).next().unwrap_or_default()
}
