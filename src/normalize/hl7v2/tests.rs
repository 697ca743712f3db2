//! Messages whole, as a laboratory and a registration send them, up to the facts they give.

use super::*;
use crate::fact::Fact;
use crate::hl7v2::charset::Charset;
use crate::mapping::{self, Mapped};
use crate::normalize::fhir;
use crate::normalize::precedence::{self, Standing, Version};
use crate::protocol::Trial;
use crate::protocol::document::{Definition, SiteFile};
use proptest::prelude::*;
use serde_json::{Map, json};

const LFT: &[u8] = include_bytes!("../../../fixtures/hl7v2/oru-lft.hl7");
const GB: &[u8] = include_bytes!("../../../fixtures/hl7v2/oru-gb18030.hl7");
const A08: &[u8] = include_bytes!("../../../fixtures/hl7v2/adt-a08.hl7");
const A40: &[u8] = include_bytes!("../../../fixtures/hl7v2/adt-a40.hl7");

fn trial() -> Trial {
    Trial::compile(&Definition::shipped(), &SiteFile::demo()).expect("trial and site agree")
}

/// Stands in for the salted hash: different parts, different keys, and readable in a failure.
fn key(parts: &[&str]) -> String {
    parts.join("+")
}

fn message(raw: &[u8]) -> Message {
    Message::parse(raw, Charset::UTF_8).expect("a message")
}

fn converted(raw: &[u8]) -> Vec<Converted> {
    match resources(&message(raw), &trial().site.hl7v2, &key) {
        Ok(Content::Resources(converted)) => converted,
        other => panic!("{other:?}"),
    }
}

fn json_of(converted: &Converted) -> Value {
    serde_json::from_str(converted.content.as_ref().expect("a resource")).expect("JSON")
}

/// Path, and `Type/id` or the reason and the field.
fn outline(converted: &[Converted]) -> Vec<(String, String)> {
    converted
        .iter()
        .map(|c| {
            let what = match &c.content {
                Ok(_) => format!("{}/{}", text(c, "/resourceType"), text(c, "/id")),
                Err((reason, field)) => format!("{} at {field}", reason.code()),
            };
            (c.path.clone(), what)
        })
        .collect()
}

fn text(converted: &Converted, pointer: &str) -> String {
    json_of(converted).pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An ORU with one OBX, from its fields 2, 3, 5, 6, 11.
fn oru(value_type: &str, code: &str, value: &str, unit: &str, status: &str) -> Vec<u8> {
    at("20261120103000", value_type, code, value, unit, status)
}

fn at(sent: &str, value_type: &str, code: &str, value: &str, unit: &str, status: &str) -> Vec<u8> {
    format!(
        "MSH|^~\\&|LIS|LAB|TB|H|{sent}||ORU^R01|1|P|2.5.1\rPID|1||7^^^HIS\rOBR|1||F1|P\r\
         OBX|1|{value_type}|{code}||{value}|{unit}|||||{status}|||20261120"
    )
    .into_bytes()
}

#[test]
fn a_panel_with_one_bad_result() {
    let converted = converted(LFT);
    let obx = |code: &str, system: &str| format!("Observation/obx.filler+F8801+LIS+{code}+{system}+");
    let patient = "Patient/id.urn:oid:1.2.156.99999.1.1+SYN000042".to_owned();
    let expected = [
        ("PID", patient),
        ("OBX[1]", obx("1975-2", "LN")),
        ("OBX[2]", obx("1751-7", "LN")),
        ("OBX[3]", obx("1742-6", "LN")),
        ("OBX[4]", obx("1920-8", "LN")),
        ("OBX[5]", obx("777-3", "LN")),
        ("OBX[6]", obx("6301-6", "LN")),
        ("OBX[6]", "value-invalid at OBX[6]-5".to_owned()),
        ("OBX[7]", obx("56888-1", "LN")),
        ("OBX[8]", obx("7917-8", "LN")),
        ("OBX[9]", obx("11502-2", "LN")),
    ];
    assert_eq!(outline(&converted), expected.map(|(p, w)| (p.to_owned(), w)));
    // Golden: a Patient without a name, and an Observation with every digit.
    assert_eq!(
        json_of(&converted[0]),
        json!({
            "resourceType": "Patient",
            "id": "id.urn:oid:1.2.156.99999.1.1+SYN000042",
            "meta": { "lastUpdated": "2026-11-20T10:30:00+08:00" },
            "identifier": [
                { "system": "urn:oid:1.2.156.99999.1.1", "value": "SYN000042" },
                { "system": "urn:trialbridge:hl7v2:INS", "value": "X99" },
            ],
            "birthDate": "1968-04-12",
            "gender": "female",
        })
    );
    assert_eq!(
        converted[1].content.as_deref(),
        Ok(concat!(
            r#"{"resourceType":"Observation","id":"obx.filler+F8801+LIS+1975-2+LN+","#,
            r#""meta":{"lastUpdated":"2026-11-20T10:30:00+08:00"},"status":"final","#,
            r#""code":{"coding":[{"system":"http://loinc.org","code":"1975-2","display":"Bilirubin.total"}],"#,
            r#""text":"Bilirubin.total"},"subject":{"#,
            r#""reference":"Patient/id.urn:oid:1.2.156.99999.1.1+SYN000042","#,
            r#""identifier":{"system":"urn:oid:1.2.156.99999.1.1","value":"SYN000042"}},"#,
            r#""effectiveDateTime":"2026-11-20T08:20:00+08:00","#,
            r#""valueQuantity":{"value":1.10,"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"},"#,
            r#""interpretation":[{"coding":[{"#,
            r#""system":"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation","code":"N"}]}],"#,
            r#""referenceRange":[{"text":"0.2-1.2","low":{"value":0.2},"high":{"value":1.2}}]}"#,
        ))
    );
    // Without a time of its own it has the order's; the alternate code has the site's system.
    let albumin = json_of(&converted[2]);
    assert_eq!(albumin["effectiveDateTime"], "2026-11-20T08:15:00+08:00");
    assert_eq!(albumin["code"]["coding"][1]["system"], "urn:oid:1.2.156.99999.1.2");
    assert_eq!(json_of(&converted[4])["valueQuantity"]["comparator"], "<");
    assert_eq!(json_of(&converted[5])["valueQuantity"], json!({ "value": 96, "unit": "10^9/L" }));
    assert_eq!(json_of(&converted[6])["dataAbsentReason"]["coding"][0]["code"], "error");
    let all = format!("{converted:?}");
    for told in ["Example", "Street", "555-0100"] {
        assert!(!all.contains(told), "{told} is not taken");
    }
}

fn facts(trial: &Trial, resource: &str) -> Mapped {
    mapping::apply(&fhir::record(resource).expect("a resource that is read"), trial)
}

#[test]
fn the_facts_are_those_of_the_same_result_as_fhir() {
    let trial = trial();
    let coded = |code: &str| json!({ "coding": [{ "system": "http://loinc.org", "code": code }] });
    let ucum = |value: Value, unit: &str| json!({ "value": value, "system": "http://unitsofmeasure.org", "code": unit });
    let (own, order) = ("2026-11-20T08:20:00+08:00", "2026-11-20T08:15:00+08:00");
    let one_ten: Value = serde_json::from_str("1.10").expect("a number");
    let less = json!({ "value": 5, "comparator": "<", "system": "http://unitsofmeasure.org", "code": "U/L" });
    let negative = json!({ "coding": [{ "system": "http://snomed.info/sct", "code": "260385009" }] });
    let (quantity, high) = ("valueQuantity", |h: &str| serde_json::from_str::<Value>(h).expect("a number"));
    for (path, code, when, element, value, upper) in [
        ("OBX[1]", "1975-2", own, quantity, ucum(one_ten, "mg/dL"), Some(high("1.2"))),
        ("OBX[2]", "1751-7", order, quantity, ucum(json!(38), "g/L"), Some(high("52"))),
        ("OBX[3]", "1742-6", order, quantity, ucum(json!(88), "U/L"), Some(high("40"))),
        ("OBX[4]", "1920-8", order, quantity, less, Some(high("35"))),
        ("OBX[5]", "777-3", order, quantity, json!({ "value": 96, "unit": "10^9/L" }), Some(high("350"))),
        ("OBX[7]", "56888-1", order, "valueCodeableConcept", negative, None),
        ("OBX[8]", "7917-8", order, "valueString", json!("Negative"), None),
    ] {
        let converted = converted(LFT);
        let from_v2 = converted.iter().find(|c| c.path == path).expect("the result");
        let mut observation = json!({
            "resourceType": "Observation",
            "id": text(from_v2, "/id"),
            "status": "final",
            "code": coded(code),
            "effectiveDateTime": when,
            element: value,
        });
        if let Some(upper) = upper {
            observation["referenceRange"] = json!([{ "high": { "value": upper } }]);
        }
        let expected = facts(&trial, &observation.to_string());
        assert!(!expected.is_empty(), "{path} means something to the trial");
        let found = facts(&trial, from_v2.content.as_ref().expect("a resource"));
        assert_eq!(found, expected, "{path}");
        assert!(found.gaps.is_empty() && found.facts.len() == 1, "{path}: {found:?}");
    }
}

#[test]
fn chinese_text_and_local_codes() {
    let trial = trial();
    let converted = converted(GB);
    assert_eq!(text(&converted[1], "/code/text"), "总胆红素");
    assert_eq!(text(&converted[3], "/valueString"), "阴性");
    let variables: Vec<_> = converted
        .iter()
        .flat_map(|c| facts(&trial, c.content.as_ref().expect("a resource")).facts)
        .filter_map(|fact| match fact {
            Fact::Measurement(m) => {
                Some((trial.variables[m.variable as usize].id.clone(), m.received.value.to_string()))
            }
            _ => None,
        })
        .collect();
    let expected = [("bilirubin_total", "18.7"), ("albumin", "36.20")];
    assert_eq!(variables, expected.map(|(v, n)| (v.to_owned(), n.to_owned())));
}

#[test]
fn a_newer_status_supersedes_or_takes_back() {
    let trial = trial();
    let resource = |sent: &str, value: &str, status: &str| {
        let raw = at(sent, "NM", "1975-2^Bilirubin^LN", value, "mg/dL^^UCUM", status);
        let all = converted(&raw);
        all[0].content.clone().expect("a resource that says which result it is")
    };
    let first = resource("20261120103000", "1.1", "F");
    // OBX-5 and OBX-11 an hour later; what stands then
    for (value, status, expected, gap) in [
        ("2.2", "F", Some("2.2"), None),
        ("2.2", "C", Some("2.2"), None),
        ("2.2", "A", Some("2.2"), None),
        ("2.2", "B", Some("2.2"), None),
        ("2.2", "U", Some("2.2"), None),
        ("2.2", "V", Some("2.2"), None),
        ("2.2", "P", None, Some("wrong-status")),
        ("2.2", "R", None, Some("wrong-status")),
        ("2.2", "S", None, Some("wrong-status")),
        ("", "I", None, Some("wrong-status")),
        ("", "O", None, Some("wrong-status")),
        ("", "X", None, Some("wrong-status")),
        ("", "N", None, Some("wrong-status")),
        ("2.2", "", None, Some("wrong-status")),
        ("2.2", "Z", None, Some("wrong-status")),
        ("2.2", "D", None, None),
        ("", "D", None, None),
        ("\"\"", "D", None, None),
        ("see note", "W", None, None),
        ("see note", "X", None, Some("wrong-status")),
        // A correction that cannot be read leaves nothing of what it corrects.
        ("<2.2", "C", None, Some("data-absent")),
        ("", "C", None, Some("value-missing")),
        ("\"\"", "C", None, Some("value-missing")),
    ] {
        let second = resource("20261120113000", value, status);
        let versions: Vec<Version> = [&first, &second]
            .iter()
            .map(|text| {
                let head = fhir::record(text).expect("a resource").head;
                assert_eq!(&*head.id, "obx.filler+F1++1975-2+LN+", "the same result");
                Version {
                    version_id: None,
                    last_updated: head.last_updated.as_deref().map(String::from),
                    subject: None,
                    deleted: false,
                    sha256: (*text).clone(),
                }
            })
            .collect();
        assert_eq!(precedence::standing(&versions), Some(Standing::One(1)));
        let mapped = facts(&trial, &second);
        let received = mapped.facts.iter().map(|f| match f {
            Fact::Measurement(m) => &*m.received.value,
            other => panic!("{other:?}"),
        });
        assert_eq!(received.collect::<Vec<_>>(), Vec::from_iter(expected), "{value} {status}");
        let reasons: Vec<_> = mapped.gaps.iter().map(|g| g.reason.code()).collect();
        assert_eq!(reasons, Vec::from_iter(gap), "{value} {status}");
    }
}

#[test]
fn values_by_their_type() {
    let mg = "mg/dL^^UCUM";
    let quantity = |value: &str| {
        format!(
            r#""valueQuantity":{{{value},"unit":"mg/dL","system":"http://unitsofmeasure.org","code":"mg/dL"}}"#
        )
    };
    for (value_type, value, unit, expected) in [
        ("NM", "0.50", mg, Ok(quantity(r#""value":0.50"#))),
        ("NM", " 5 ", mg, Ok(quantity(r#""value":5"#))),
        ("NM", "-0.0", mg, Ok(quantity(r#""value":-0.0"#))),
        ("NM", "12345678901234567890.1234567890", mg, Ok(quantity(r#""value":12345678901234567890.1234567890"#))),
        ("NM", "<5", mg, Err("value-invalid at OBX[1]-5")),
        ("NM", "+5", mg, Err("value-invalid at OBX[1]-5")),
        ("NM", "05", mg, Err("value-invalid at OBX[1]-5")),
        ("NM", "1,5", mg, Err("value-invalid at OBX[1]-5")),
        ("NM", "1e2", mg, Err("value-invalid at OBX[1]-5")),
        ("NM", "1^2", mg, Err("value-invalid at OBX[1]-5")),
        ("NM", "1~2", mg, Err("unexpected-type at OBX[1]-5")),
        ("NM", "NaN", mg, Err("value-invalid at OBX[1]-5")),
        ("NM", "5\\Q\\", mg, Err("structure at OBX[1]-5")),
        ("NM", "5", "mg\\Q\\dL", Err("structure at OBX[1]-6")),
        ("NM", "5", "", Ok(r#""valueQuantity":{"value":5}"#.into())),
        ("NM", "5", "umol/L", Ok(r#""valueQuantity":{"value":5,"unit":"umol/L"}"#.into())),
        ("NM", "5", "MC^umol/L^L", Ok(r#""valueQuantity":{"value":5,"unit":"MC"}"#.into())),
        (
            "NM",
            "5",
            "MC^micromole^L^umol/L^^UCUM",
            Ok(r#""valueQuantity":{"value":5,"unit":"MC","system":"http://unitsofmeasure.org","code":"umol/L"}"#.into()),
        ),
        ("NM", "5", "10\\S\\9/L", Ok(r#""valueQuantity":{"value":5,"unit":"10^9/L"}"#.into())),
        ("NM", "5", "10^9/L", Ok(r#""valueQuantity":{"value":5,"unit":"10^9/L"}"#.into())),
        ("NM", "5", "10^percent", Ok(r#""valueQuantity":{"value":5,"unit":"10"}"#.into())),
        ("SN", "<^5", mg, Ok(quantity(r#""value":5,"comparator":"<""#))),
        ("SN", ">=^5.0", mg, Ok(quantity(r#""value":5.0,"comparator":">=""#))),
        ("SN", "^5", mg, Ok(quantity(r#""value":5"#))),
        ("SN", "=^5", mg, Ok(quantity(r#""value":5"#))),
        (
            "SN",
            "^1^-^2",
            "g",
            Ok(r#""valueRange":{"low":{"value":1,"unit":"g"},"high":{"value":2,"unit":"g"}}"#.into()),
        ),
        ("SN", "^2^-^1", "g", Err("value-invalid at OBX[1]-5")),
        ("SN", "<^1^-^2", "g", Err("unexpected-type at OBX[1]-5")),
        ("SN", "^1^:^128", "", Err("unexpected-type at OBX[1]-5")),
        ("SN", "^2^+", "", Err("unexpected-type at OBX[1]-5")),
        ("SN", "<>^2", "", Err("unexpected-type at OBX[1]-5")),
        ("SN", "<", "", Err("value-invalid at OBX[1]-5")),
        ("SN", "5", "", Err("unexpected-type at OBX[1]-5")),
        (
            "CE",
            "POS^Positive^L^10828004^Positive^SCT",
            "",
            Ok(concat!(
                r#""valueCodeableConcept":{"coding":[{"system":"urn:oid:1.2.156.99999.1.2","code":"POS","#,
                r#""display":"Positive"},{"system":"http://snomed.info/sct","code":"10828004","#,
                r#""display":"Positive"}],"text":"Positive"}"#
            )
            .into()),
        ),
        ("CWE", "^Negative", "", Ok(r#""valueCodeableConcept":{"text":"Negative"}"#.into())),
        ("CNE", "X^^99NEW", "", Ok(r#""valueCodeableConcept":{"coding":[{"code":"X"}]}"#.into())),
        ("CWE", "^^LN", "", Ok(String::new())),
        ("ST", "a\\F\\b & c^d", "", Ok(r#""valueString":"a|b & c^d""#.into())),
        ("TX", "\\.br\\x", "", Ok(r#""valueString":"\nx""#.into())),
        ("FT", "a~b", "", Err("unexpected-type at OBX[1]-5")),
        ("DT", "20261120", "", Ok(r#""valueDateTime":"2026-11-20""#.into())),
        ("TS", "202611201015", "", Ok(r#""valueDateTime":"2026-11-20T10:15:00+08:00""#.into())),
        ("DTM", "20261320", "", Err("date-invalid at OBX[1]-5")),
        ("TM", "1015", "", Err("unexpected-type at OBX[1]-5")),
        ("", "5", mg, Err("unexpected-type at OBX[1]-2")),
        ("", "", "", Ok(String::new())),
        ("NM", "", mg, Ok(String::new())),
        ("ED", "^TEXT^^^AA==", "", Ok(r#""dataAbsentReason":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/data-absent-reason","code":"unsupported"}]}"#.into())),
    ] {
        let all = converted(&oru(value_type, "X^x^LN", value, unit, "F"));
        let problem = all.iter().find(|c| c.content.is_err()).map(|_| outline(&all)[1].1.clone());
        let resource = all[0].content.as_deref().expect("which result it is can be read");
        let named = format!("{value_type} {value} {unit}: {resource}");
        match expected {
            Ok(element) => {
                assert_eq!(problem, None, "{named}");
                let given = resource.split_once(r#""effectiveDateTime":"2026-11-20""#).expect("a time").1;
                let given = given.trim_end_matches('}').trim_start_matches(',');
                assert_eq!(given, element.trim_end_matches('}'), "{named}");
            }
            Err(expected) => {
                assert_eq!(problem.as_deref(), Some(expected), "{named}");
                let read: Map<String, Value> = serde_json::from_str(resource).expect("JSON");
                assert_eq!(read["dataAbsentReason"]["coding"][0]["code"], "error", "{named}");
                assert!(!read.keys().any(|element| element.starts_with("value")), "{named}");
            }
        }
    }
}

#[test]
fn which_result_it_is() {
    let obr = |orc: &str, obr: &str, obx: &str| {
        format!(
            "MSH|^~\\&|LIS|LAB|TB|H|20261120103000||ORU^R01|1|P|2.3\rPID|1||7^^^HIS\r{orc}\r{obr}\r{obx}|||||F"
        )
    };
    let patient = "patient+urn:oid:1.2.156.99999.1.1+7";
    for (orc, request, obx, expected) in [
        ("", "OBR|1|P1^H|F1^L|C", "OBX|1|ST|A^a^LN|s1|x", "Observation/obx.filler+F1+L+A+LN+s1".to_owned()),
        ("ORC|RE|P1|F2", "OBR|1|P1||C", "OBX|1|ST|A^a^LN||x", "Observation/obx.filler+F2++A+LN+".into()),
        ("", "OBR|1|P1||C", "OBX|1|ST|A||x", "Observation/obx.placer+P1++A++".into()),
        ("ORC|RE|P2", "OBR|1|||C", "OBX|1|ST|A||x", "Observation/obx.placer+P2++A++".into()),
        ("", "OBR|1|||C|||20261120", "OBX|1|ST|A||x", format!("Observation/obx.{patient}+C+20261120+A++")),
        ("", "OBR|1|||C", "OBX|1|ST|A||x", "structure at OBR[1]-3".into()),
        ("", "OBR|1||F1", "OBX|1|ST|^^^B^b^LN||x", "Observation/obx.filler+F1++B+LN+".into()),
        ("", "OBR|1||F1", "OBX|1|ST|^words||x", "Observation/obx.filler+F1++words++".into()),
        ("", "OBR|1||F1", "OBX|1|ST|||x", "structure at OBX[1]-3".into()),
        ("", "OBR|1||F1", "OBX|1|ST|A\\Q\\||x", "structure at OBX[1]-3".into()),
        ("", "NTE|1", "OBX|1|ST|A||x", "structure at OBX[1]".into()),
        ("OBR|1|||C", "ORC|RE||F3", "OBX|1|ST|A||x", "Observation/obx.filler+F3++A++".into()),
    ] {
        let found = outline(&converted(obr(orc, request, obx).as_bytes()));
        assert_eq!(found, [("OBX[1]".to_owned(), expected)], "{orc} {request} {obx}");
    }
}

#[test]
fn one_result_in_several_segments() {
    let two = |first: &str, second: &str| {
        let all = converted(
            format!(
                "MSH|^~\\&|LIS|LAB|TB|H|20261120103000||ORU^R01|1|P|2.8\rPID|1||7^^^HIS\rOBR|1||F1\r\
                 OBX|1|{first}\rOBX|2|{second}"
            )
            .as_bytes(),
        );
        let outline: Vec<_> = outline(&all).into_iter().map(|(_, what)| what).collect();
        (outline, json_of(&all[0]))
    };
    let id = "Observation/obx.filler+F1++A++".to_owned();
    let (found, first) = two("TX|A||one||||||F", "TX|A||two||||||F");
    assert_eq!((found, &first["valueString"]), (vec![id.clone()], &json!("one\ntwo")));
    let (found, _) = two("NM|A||1||||||F", "NM|A||1||||||F");
    assert_eq!(found, std::slice::from_ref(&id));
    let (found, first) = two("NM|A||1||||||F", "NM|A||2||||||F");
    assert_eq!(found, [id.clone(), "conflict at OBX[2]-4".to_owned()]);
    assert_eq!((&first["valueQuantity"], first["dataAbsentReason"].is_object()), (&Value::Null, true));
    let (found, _) = two("NM|A|1|1||||||F", "NM|A|2|2||||||F");
    assert_eq!(found, [format!("{}1", id), format!("{}2", id)]);
}

#[test]
fn registration_and_merge() {
    let all = converted(A08);
    assert_eq!(text(&all[0], "/id"), "id.urn:oid:1.2.156.99999.1.1+SYN000042", "the second identifier names");
    assert_eq!(all.len(), 1);
    let all = converted(A40);
    let survivor = "Patient/id.urn:oid:1.2.156.99999.1.1+SYN000042";
    let merged = "Patient/id.urn:oid:1.2.156.99999.1.1+SYN000099";
    let expected = [("PID", survivor), ("MRG", merged)].map(|(p, w)| (p.to_owned(), w.to_owned()));
    assert_eq!(outline(&all), expected);
    assert_eq!(
        json_of(&all[1])["link"],
        json!([{
            "other": {
                "reference": survivor,
                "identifier": { "system": "urn:oid:1.2.156.99999.1.1", "value": "SYN000042" },
            },
            "type": "replaced-by",
        }])
    );
    let mapped = facts(&trial(), all[1].content.as_ref().expect("a resource"));
    let Some(Fact::Person(person)) = mapped.facts.first() else { panic!("{mapped:?}") };
    assert_eq!(person.replaced_by.as_deref(), Some(survivor));
}

#[test]
fn what_of_a_patient_is_taken() {
    let pid = |rest: &str| {
        converted(
            format!("MSH|^~\\&|HIS|A|TB|H|20261120103000||ADT^A01|1|P|2.5\rPID|1||7^^^HIS||N^N||{rest}")
                .as_bytes(),
        )
    };
    let tail = |died: &str, dead: &str| format!("19680412|M{}|{died}|{dead}", "|".repeat(20));
    for (fields, element, expected, problem) in [
        ("1968".to_owned(), "birthDate", json!("1968"), None),
        ("196804121030".into(), "birthDate", json!("1968-04-12"), None),
        ("19681304".into(), "birthDate", Value::Null, Some("date-invalid at PID-7")),
        ("\"\"".into(), "birthDate", Value::Null, None),
        ("|M".into(), "gender", json!("male"), None),
        ("|A".into(), "gender", json!("other"), None),
        ("|U".into(), "gender", json!("unknown"), None),
        ("|1".into(), "gender", Value::Null, None),
        (tail("20261101", "Y"), "deceasedDateTime", json!("2026-11-01"), None),
        (tail("", "Y"), "deceasedBoolean", json!(true), None),
        (tail("20261301", "Y"), "deceasedBoolean", json!(true), Some("date-invalid at PID-29")),
        (tail("20261301", ""), "deceasedBoolean", json!(true), Some("date-invalid at PID-29")),
        (tail("", "N"), "deceasedBoolean", Value::Null, None),
    ] {
        let all = pid(&fields);
        assert_eq!(json_of(&all[0])[element], expected, "{fields}");
        assert_eq!(outline(&all).get(1).map(|(_, what)| what.as_str()), problem, "{fields}");
    }
}

#[test]
fn messages_of_which_nothing_is_used() {
    use ErrorCode::*;
    let site = &trial().site.hl7v2;
    let header = |kind: &str, id: &str, processing: &str, version: &str, at: &str| {
        format!("MSH|^~\\&|A|B|C|D|{at}||{kind}|{id}|{processing}|{version}\rPID|1||7^^^HIS\rOBR|1||F1")
    };
    let now = "20261120103000";
    for (text, expected) in [
        (header("ORU^R01", "1", "P", "2.5.1", now), Ok(())),
        (header("ORU", "1", "P^T", "2.2", now), Ok(())),
        (header("ORU^R01^ORU_R01", "1", "T", "2.8^USA", now), Ok(())),
        (header("ADT^A03", "1", "D", "2.3.1", now), Ok(())),
        (header("ORM^O01", "1", "P", "2.5", now), Err((UnsupportedMessageType, "MSH-9", true))),
        (header("", "1", "P", "2.5", now), Err((UnsupportedMessageType, "MSH-9", true))),
        (header("ORU^R30", "1", "P", "2.5", now), Err((UnsupportedEventCode, "MSH-9", true))),
        (header("ADT", "1", "P", "2.5", now), Err((UnsupportedEventCode, "MSH-9", true))),
        (header("ORU^R01", "1", "X", "2.5", now), Err((UnsupportedProcessingId, "MSH-11", true))),
        (header("ORU^R01", "1", "", "2.5", now), Err((UnsupportedProcessingId, "MSH-11", true))),
        (header("ORU^R01", "1", "P", "3.0", now), Err((UnsupportedVersionId, "MSH-12", true))),
        (header("ORU^R01", "1", "P", "", now), Err((UnsupportedVersionId, "MSH-12", true))),
        (header("ORU^R01", "", "P", "2.5", now), Err((RequiredFieldMissing, "MSH-10", true))),
        (header("ORU^R01", "1", "P", "2.5", ""), Err((RequiredFieldMissing, "MSH-7", true))),
        (header("ORU^R01", "1", "P", "2.5", "20261120"), Err((DataTypeError, "MSH-7", true))),
        (
            header("ORU^R01", "1", "P", "2.5", now).replace("7^^^HIS", ""),
            Err((RequiredFieldMissing, "PID-3", false)),
        ),
        (
            header("ORU^R01", "1", "P", "2.5", now).replace("7^^^HIS", "\"\""),
            Err((RequiredFieldMissing, "PID-3", false)),
        ),
        (
            header("ORU^R01", "1", "P", "2.5", now).replace("7^^^HIS", "7\\Q\\"),
            Err((DataTypeError, "PID-3", false)),
        ),
        (
            header("ORU^R01", "1", "P", "2.5", now).replace("PID", "NK1"),
            Err((SegmentSequenceError, "PID", false)),
        ),
        (
            header("ADT^A01", "1", "P", "2.5", now).replace("PID", "NK1"),
            Err((SegmentSequenceError, "PID", false)),
        ),
        (header("ADT^A40", "1", "P", "2.5", now), Err((SegmentSequenceError, "MRG", false))),
        (header("ADT^A40", "1", "P", "2.5", now) + "\rMRG|", Err((RequiredFieldMissing, "MRG-1", false))),
    ] {
        let found = resources(&message(text.as_bytes()), site, &key);
        let found = found
            .map(|content| assert_eq!(content, Content::NotNeeded, "{text}"))
            .map_err(|p| (p.code, p.location.to_string(), p.is_rejection()));
        assert_eq!(found, expected.map_err(|(c, l, r)| (c, l.to_owned(), r)), "{text}");
    }
}

#[test]
fn without_a_zone_a_time_of_day_is_its_day() {
    let site = Hl7v2::default();
    let read = |raw: &[u8]| match resources(&message(raw), &site, &key) {
        Ok(Content::Resources(all)) => all
            .iter()
            .filter_map(|c| c.content.as_ref().ok())
            .map(|text| serde_json::from_str::<Value>(text).expect("JSON"))
            .find(|r| r["resourceType"] == "Observation")
            .expect("a result"),
        other => panic!("{other:?}"),
    };
    let local = read(LFT);
    assert_eq!(local["meta"], json!({}), "the order of arrival counts");
    assert_eq!(local["effectiveDateTime"].as_str().map(str::len), Some("2026-11-20".len()));
    // With zones in the message the site's is not needed.
    let text = String::from_utf8_lossy(LFT).replace("|20261120103000|", "|20261120103000+0100|");
    assert_eq!(read(text.as_bytes())["meta"]["lastUpdated"], "2026-11-20T10:30:00+01:00");
}

/// Fields that break a rule or a type, at random places of messages that are otherwise whole.
fn nearly_a_message() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        "[0-9^&~<>=.\\\\\"-]{0,8}",
        Just("20261120103000".to_owned()),
        Just("7^^^HIS^MR~8".to_owned()),
        Just("1975-2^B^LN".to_owned()),
        Just("\u{603b}\u{80c6}\\J\u{fc}\\".to_owned()),
        Just("NM".to_owned()),
        Just("SN".to_owned()),
        Just("CWE".to_owned()),
        Just("F".to_owned()),
    ];
    let name = prop_oneof![Just("PID"), Just("OBR"), Just("ORC"), Just("OBX"), Just("MRG"), Just("NTE")];
    let segment = (name, proptest::collection::vec(field, 0..32))
        .prop_map(|(name, fields)| format!("\r{name}|{}", fields.join("|")));
    let kind = prop_oneof![Just("ORU^R01"), Just("ADT^A08"), Just("ADT^A40")];
    (kind, proptest::collection::vec(segment, 0..8)).prop_map(|(kind, segments)| {
        let pid = "\rPID|1||7^^^HIS";
        let all = segments.concat();
        format!("MSH|^~\\&|A|B|C|D|20261120103000||{kind}|1|P|2.5.1{pid}{all}").into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_is_a_problem_or_a_resource_that_is_read(raw in nearly_a_message()) {
        let trial = trial_once();
        let message = message(&raw);
        if let Ok(Content::Resources(all)) = resources(&message, &trial.site.hl7v2, &key) {
            let mut ids = std::collections::HashSet::new();
            for converted in &all {
                match &converted.content {
                    Ok(text) => {
                        let record = fhir::record(text).expect("what is written is read");
                        prop_assert!(ids.insert(record.head.reference()), "an id twice");
                        mapping::apply(&record, trial);
                    }
                    // A place, and nothing of what stood there.
                    Err((_, field)) => {
                        prop_assert!(field.len() <= 12 && field.starts_with(['O', 'P', 'M']), "{}", field);
                    }
                }
            }
        }
    }
}

fn trial_once() -> &'static Trial {
    static TRIAL: std::sync::OnceLock<Trial> = std::sync::OnceLock::new();
    TRIAL.get_or_init(trial)
}
