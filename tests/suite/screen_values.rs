//! From a result as received to the variable that counts, or to the gap that says why not.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};

const UCUM: &str = "http://unitsofmeasure.org";

/// What a row expects: the variable's value (`None`: no value) and the reasons of the gaps.
type Line = (&'static str, Vec<Value>, &'static str, Option<f64>, &'static [&'static str]);

fn check(lines: Vec<Line>) {
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, resources, ..)| {
            ((*name).to_owned(), [man()].into_iter().chain(resources.iter().cloned()).collect())
        })
        .collect();
    for (line, screening) in lines.iter().zip(screen_table(&rows, &[])) {
        let (name, _, variable, expected, gaps) = line;
        let value = &screening["variables"][variable]["value"];
        match expected {
            Some(x) => {
                let got = value.as_f64().unwrap_or_else(|| panic!("{name}: no {variable}: {screening}"));
                assert!((got - x).abs() < 1e-6, "{name}: {got}, not {x}");
            }
            None => assert!(value.is_null(), "{name}: {value}"),
        }
        assert_eq!(gap_reasons(&screening), *gaps, "{name}: {}", screening["gaps"]);
    }
}

fn bilirubin(quantity: Value) -> Value {
    with(observation("1975-2", RECENT), json!({"valueQuantity": quantity}))
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn units_are_taken_converted_or_refused() {
    check(vec![
        ("mg/dL", vec![lab("1975-2", "2.0", "mg/dL", RECENT)], "bilirubin_total", Some(2.0), &[]),
        ("umol/L under the mass code", vec![lab("1975-2", "34.2", "umol/L", RECENT)], "bilirubin_total", Some(2.0), &[]),
        ("umol/L", vec![lab("14631-6", "54.7", "umol/L", RECENT)], "bilirubin_total", Some(3.19883), &[]),
        ("umol/l", vec![lab("14631-6", "34.2", "umol/l", RECENT)], "bilirubin_total", Some(2.0), &[]),
        ("micro sign", vec![bilirubin(json!({"value": 34.2, "unit": "\u{b5}mol/L"}))], "bilirubin_total", Some(2.0), &[]),
        ("Greek mu", vec![bilirubin(json!({"value": 34.2, "unit": "\u{3bc}mol/L"}))], "bilirubin_total", Some(2.0), &[]),
        ("blanks", vec![bilirubin(json!({"value": 2, "unit": " mg/dL "}))], "bilirubin_total", Some(2.0), &[]),
        ("text in Chinese beside the code", vec![bilirubin(json!({"value": 2, "unit": "毫克/分升", "system": UCUM, "code": "mg/dL"}))], "bilirubin_total", Some(2.0), &[]),
        ("no unit", vec![bilirubin(json!({"value": 2}))], "bilirubin_total", None, &["unit-missing"]),
        ("an empty unit", vec![bilirubin(json!({"value": 2, "unit": "", "code": ""}))], "bilirubin_total", None, &["unit-missing"]),
        ("a code of another system", vec![bilirubin(json!({"value": 2, "system": "urn:his", "code": "mg/dL"}))], "bilirubin_total", None, &["unit-missing"]),
        ("a unit of another quantity", vec![bilirubin(json!({"value": 2, "unit": "g/L", "code": "10*9/L"}))], "bilirubin_total", None, &["unit-unknown"]),
        ("code and text disagree", vec![bilirubin(json!({"value": 34.2, "unit": "mg/dL", "system": UCUM, "code": "umol/L"}))], "bilirubin_total", None, &["unit-conflict"]),
        ("code and text agree in other words", vec![bilirubin(json!({"value": 34.2, "unit": "\u{b5}mol/L", "system": UCUM, "code": "umol/L"}))], "bilirubin_total", Some(2.0), &[]),
        ("creatinine 88 mg/dL", vec![lab("2160-0", "88", "mg/dL", RECENT)], "creatinine", None, &["implausible"]),
        ("creatinine 88.4 umol/L", vec![lab("14682-9", "88.4", "umol/L", RECENT)], "creatinine", Some(1.0), &[]),
        ("albumin 3.5 labelled g/L", vec![lab("1751-7", "3.5", "g/L", RECENT)], "albumin", None, &["implausible"]),
        ("albumin 35 labelled g/dL", vec![lab("1751-7", "35", "g/dL", RECENT)], "albumin", None, &["implausible"]),
        ("albumin 3.5 g/dL", vec![lab("1751-7", "3.5", "g/dL", RECENT)], "albumin", Some(35.0), &[]),
        ("platelets K/uL", vec![lab("777-3", "90", "K/uL", RECENT)], "platelets", Some(90.0), &[]),
        ("platelets K/\u{b5}L", vec![lab("777-3", "90", "K/\u{b5}L", RECENT)], "platelets", Some(90.0), &[]),
        ("platelets G/L", vec![lab("777-3", "90", "G/L", RECENT)], "platelets", Some(90.0), &[]),
        ("platelets 10^9/L", vec![lab("777-3", "90", "10^9/L", RECENT)], "platelets", Some(90.0), &[]),
        ("platelets a uL", vec![lab("777-3", "90000", "/uL", RECENT)], "platelets", Some(90.0), &[]),
        ("platelets fL", vec![lab("777-3", "90", "fL", RECENT)], "platelets", None, &["unit-unknown"]),
        ("platelets 119,000,000 a uL", vec![lab("777-3", "119000000", "/uL", RECENT)], "platelets", None, &["implausible"]),
        ("ALT IU/L", vec![lab("1742-6", "40", "IU/L", RECENT)], "alt", Some(40.0), &[]),
        ("ALT ukat/L", vec![lab("1742-6", "0.5", "ukat/L", RECENT)], "alt", Some(30.0), &[]),
        ("INR without a unit", vec![with(observation("6301-6", RECENT), json!({"valueQuantity": {"value": 1.8}}))], "inr", Some(1.8), &[]),
        ("INR in seconds", vec![lab("6301-6", "1.8", "s", RECENT)], "inr", None, &["unit-unknown"]),
        ("sodium mEq/L", vec![lab("2951-2", "134", "mEq/L", RECENT)], "sodium", Some(134.0), &[]),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn values_are_numbers_or_nothing() {
    let string = |text: &str| with(observation("1975-2", RECENT), json!({"valueString": text}));
    check(vec![
        ("a string with a number", vec![string("1.2 mg/dL")], "bilirubin_total", None, &["unexpected-type"]),
        ("a string with a comparator", vec![string("<0.2")], "bilirubin_total", None, &["unexpected-type"]),
        ("a string with a comma", vec![string("1,2")], "bilirubin_total", None, &["unexpected-type"]),
        ("words", vec![string("see note")], "bilirubin_total", None, &["unexpected-type"]),
        ("a code", vec![finding("1975-2", POSITIVE, RECENT)], "bilirubin_total", None, &["unexpected-type"]),
        ("an integer without a unit", vec![with(observation("1975-2", RECENT), json!({"valueInteger": 2}))], "bilirubin_total", None, &["unit-missing"]),
        ("an INR as an integer", vec![with(observation("6301-6", RECENT), json!({"valueInteger": 2}))], "inr", Some(2.0), &[]),
        ("nothing", vec![observation("1975-2", RECENT)], "bilirubin_total", None, &["value-missing"]),
        ("a unit without a number", vec![bilirubin(json!({"unit": "mg/dL"}))], "bilirubin_total", None, &["value-missing"]),
        ("a reason for nothing", vec![with(observation("1975-2", RECENT), json!({"dataAbsentReason": concept("x", "unknown")}))], "bilirubin_total", None, &["data-absent"]),
        ("a reason for nothing, and a value", vec![with(lab("1975-2", "2", "mg/dL", RECENT), json!({"dataAbsentReason": concept("x", "error")}))], "bilirubin_total", None, &["data-absent"]),
        ("a number as a string", vec![bilirubin(json!({"value": "2.0", "unit": "mg/dL"}))], "bilirubin_total", None, &["value-invalid"]),
        ("negative", vec![lab("1975-2", "-1.2", "mg/dL", RECENT)], "bilirubin_total", None, &["implausible"]),
        ("zero", vec![lab("1975-2", "0", "mg/dL", RECENT)], "bilirubin_total", None, &["implausible"]),
        ("1e400", vec![lab("1975-2", "1e400", "mg/dL", RECENT)], "bilirubin_total", None, &["value-invalid"]),
        ("1e-400", vec![lab("1975-2", "1e-400", "mg/dL", RECENT)], "bilirubin_total", None, &["value-invalid"]),
        ("12345678901234567890123", vec![lab("1975-2", "12345678901234567890123", "mg/dL", RECENT)], "bilirubin_total", None, &["implausible"]),
        ("in powers of ten", vec![lab("1975-2", "0.2e1", "mg/dL", RECENT)], "bilirubin_total", Some(2.0), &[]),
        ("less than nothing", vec![bilirubin(json!({"value": 0, "comparator": "<", "unit": "mg/dL"}))], "bilirubin_total", None, &["implausible"]),
        ("sufficient to reach", vec![bilirubin(json!({"value": 2, "comparator": "ad", "unit": "mg/dL"}))], "bilirubin_total", None, &["value-invalid"]),
        ("of the fetus", vec![with(lab("1975-2", "2", "mg/dL", RECENT), json!({"focus": [{"reference": "Patient/fetus"}]}))], "bilirubin_total", None, &["subject-missing"]),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn statuses() {
    let of = |status: &str| with(lab("1975-2", "2", "mg/dL", RECENT), json!({"status": status}));
    check(vec![
        ("final", vec![of("final")], "bilirubin_total", Some(2.0), &[]),
        ("amended", vec![of("amended")], "bilirubin_total", Some(2.0), &[]),
        ("corrected", vec![of("corrected")], "bilirubin_total", Some(2.0), &[]),
        ("appended", vec![of("appended")], "bilirubin_total", Some(2.0), &[]),
        ("preliminary", vec![of("preliminary")], "bilirubin_total", None, &["wrong-status"]),
        ("registered", vec![of("registered")], "bilirubin_total", None, &["wrong-status"]),
        ("cancelled", vec![of("cancelled")], "bilirubin_total", None, &["wrong-status"]),
        ("unknown", vec![of("unknown")], "bilirubin_total", None, &["wrong-status"]),
        ("none", vec![with(of("final"), json!({"status": null}))], "bilirubin_total", None, &["wrong-status"]),
        ("entered in error", vec![of("entered-in-error")], "bilirubin_total", None, &[]),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn codes_and_look_alikes() {
    let coded = |codings: &[(&str, &str)]| {
        let coding: Vec<Value> = codings.iter().map(|(s, c)| json!({"system": s, "code": c})).collect();
        with(lab("1975-2", "2", "mg/dL", RECENT), json!({"code": {"coding": coding}}))
    };
    check(vec![
        ("direct bilirubin", vec![lab("1968-7", "2", "mg/dL", RECENT)], "bilirubin_total", None, &[]),
        ("direct bilirubin, moles", vec![lab("14629-0", "34", "umol/L", RECENT)], "bilirubin_total", None, &[]),
        ("conjugated", vec![lab("15152-2", "2", "mg/dL", RECENT)], "bilirubin_total", None, &[]),
        ("indirect", vec![lab("1971-1", "2", "mg/dL", RECENT)], "bilirubin_total", None, &[]),
        ("albumin in urine", vec![lab("1754-1", "30", "g/L", RECENT)], "albumin", None, &[]),
        ("prealbumin", vec![lab("14338-8", "30", "g/L", RECENT)], "albumin", None, &[]),
        ("creatinine in urine", vec![lab("2161-8", "1", "mg/dL", RECENT)], "creatinine", None, &[]),
        ("prothrombin activity", vec![lab("5894-1", "12", "s", RECENT)], "pt", None, &[]),
        ("aPTT", vec![lab("3173-2", "30", "s", RECENT)], "pt", None, &[]),
        ("sodium in urine", vec![lab("2955-3", "134", "mmol/L", RECENT)], "sodium", None, &[]),
        ("two codes of one variable", vec![coded(&[(LOINC, "1975-2"), (LOINC, "14631-6")])], "bilirubin_total", Some(2.0), &[]),
        ("total and direct", vec![coded(&[(LOINC, "1975-2"), (LOINC, "1968-7")])], "bilirubin_total", None, &["code-conflict"]),
        ("direct and total", vec![coded(&[(LOINC, "1968-7"), (LOINC, "1975-2")])], "bilirubin_total", None, &["code-conflict"]),
        ("total bilirubin and albumin", vec![coded(&[(LOINC, "1975-2"), (LOINC, "1751-7")])], "bilirubin_total", None, &["code-conflict"]),
        ("a local code beside it", vec![coded(&[("urn:his", "TBIL"), (LOINC, "1975-2")])], "bilirubin_total", Some(2.0), &[]),
        ("LOINC by OID", vec![coded(&[("urn:oid:2.16.840.1.113883.6.1", "1975-2")])], "bilirubin_total", Some(2.0), &[]),
        ("no system", vec![with(coded(&[]), json!({"code": {"coding": [{"code": "1975-2"}]}}))], "bilirubin_total", None, &["system-missing"]),
        ("a local code alone", vec![coded(&[("urn:his", "TBIL")])], "bilirubin_total", None, &["unmapped"]),
        ("a name alone", vec![with(coded(&[]), json!({"code": {"text": "Total bilirubin"}}))], "bilirubin_total", None, &[]),
        ("no category", vec![with(coded(&[(LOINC, "1975-2")]), json!({"category": null}))], "bilirubin_total", Some(2.0), &[]),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn which_of_several_results_counts() {
    let at = |value: &str, when: &str| lab("1975-2", value, "mg/dL", when);
    check(vec![
        ("the newest", vec![at("2", "2026-11-19T08:00:00Z"), at("3", "2026-11-20T08:00:00Z")], "bilirubin_total", Some(3.0), &[]),
        ("the newest by the time line", vec![at("2", "2026-11-20T09:00:00+08:00"), at("3", "2026-11-20T02:00:00Z")], "bilirubin_total", Some(3.0), &[]),
        ("same time, same value", vec![at("2", RECENT), at("2.0", RECENT)], "bilirubin_total", Some(2.0), &[]),
        ("same time, other value", vec![at("1.1", RECENT), at("9.9", RECENT)], "bilirubin_total", None, &["conflict"]),
        ("same time in other words", vec![at("1.1", "2026-11-20T08:00:00+08:00"), at("9.9", "2026-11-20T00:00:00Z")], "bilirubin_total", None, &["conflict"]),
        ("same time, both units", vec![at("3.2", RECENT), lab("14631-6", "54.7", "umol/L", RECENT)], "bilirubin_total", Some(3.2), &[]),
        ("same time, both codes, far apart", vec![at("1.1", RECENT), lab("14631-6", "169.3", "umol/L", RECENT)], "bilirubin_total", None, &["conflict"]),
        ("the laboratory before the bedside", vec![lab("6301-6", "1.8", "1", RECENT), lab("46418-0", "2.4", "1", RECENT)], "inr", Some(1.8), &[]),
        ("an older conflict is over", vec![at("1.1", "2026-11-19T08:00:00Z"), at("9.9", "2026-11-19T08:00:00Z"), at("3", RECENT)], "bilirubin_total", Some(3.0), &[]),
        ("a day and a time of that day", vec![at("1.1", "2026-11-20"), at("9.9", RECENT)], "bilirubin_total", None, &["conflict"]),
        ("a day, and a time of the next", vec![at("1.1", "2026-11-19"), at("9.9", RECENT)], "bilirubin_total", Some(9.9), &[]),
        ("a day, and a time of the day before", vec![at("1.1", "2026-11-20"), at("9.9", "2026-11-19T23:59:00+08:00")], "bilirubin_total", Some(1.1), &[]),
        ("two days", vec![at("1.1", "2026-11-20"), at("9.9", "2026-11-19")], "bilirubin_total", Some(1.1), &[]),
        ("the first day of the window", vec![at("2", "2026-11-08")], "bilirubin_total", Some(2.0), &[]),
        ("the day before", vec![at("2", "2026-11-07")], "bilirubin_total", None, &[]),
        ("the day of judgement", vec![at("2", "2026-11-22T23:59:59+08:00")], "bilirubin_total", Some(2.0), &[]),
        ("the day after", vec![at("2", "2026-11-23")], "bilirubin_total", None, &[]),
        ("after it, and one before", vec![at("9", "2026-11-23"), at("2", RECENT)], "bilirubin_total", Some(2.0), &[]),
        ("this month", vec![at("2", "2026-11")], "bilirubin_total", None, &["date-imprecise"]),
        ("this month, and a day", vec![at("2", "2026-11"), at("3", RECENT)], "bilirubin_total", None, &["conflict", "date-imprecise"]),
        ("this month, and a day, the same", vec![at("3", "2026-11"), at("3", RECENT)], "bilirubin_total", Some(3.0), &["date-imprecise"]),
        ("a time without a zone", vec![at("2", "2026-11-20T10:00")], "bilirubin_total", None, &["date-invalid"]),
        ("no such day", vec![at("2", "2026-02-30")], "bilirubin_total", None, &["date-invalid"]),
        ("24 o'clock", vec![at("2", "2026-11-20T24:00:00Z")], "bilirubin_total", None, &["date-invalid"]),
        ("no date", vec![with(at("2", ""), json!({"effectiveDateTime": null}))], "bilirubin_total", None, &["effective-missing"]),
        ("an instant", vec![with(at("2", ""), json!({"effectiveDateTime": null, "effectiveInstant": RECENT}))], "bilirubin_total", Some(2.0), &[]),
        ("a period", vec![with(at("2", ""), json!({"effectiveDateTime": null, "effectivePeriod": {"start": "2026-11-19", "end": "2026-11-20"}}))], "bilirubin_total", Some(2.0), &[]),
        ("a period the wrong way round", vec![with(at("2", ""), json!({"effectiveDateTime": null, "effectivePeriod": {"start": "2026-11-20", "end": "2026-11-19"}}))], "bilirubin_total", None, &["date-invalid"]),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn panels_and_components() {
    let component = |code: &str, value: &str, unit: &str| {
        json!({"code": concept(LOINC, code), "valueQuantity": quantity(value, unit)})
    };
    let panel = |components: Value| with(observation("24323-8", RECENT), json!({"component": components}));
    check(vec![
        ("components", vec![panel(json!([component("1975-2", "2", "mg/dL"), component("1751-7", "29", "g/L")]))], "albumin", Some(29.0), &[]),
        ("one of them broken", vec![panel(json!([component("1975-2", "2", "fL"), component("1751-7", "29", "g/L")]))], "albumin", Some(29.0), &["unit-unknown"]),
        ("a panel without a value of its own", vec![with(observation("1975-2", RECENT), json!({"hasMember": [{"reference": "Observation/x"}]}))], "bilirubin_total", None, &[]),
        ("of a panel entered in error", vec![with(panel(json!([component("1975-2", "2", "mg/dL")])), json!({"status": "entered-in-error"}))], "bilirubin_total", None, &[]),
    ]);
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_comparator_is_carried_and_never_dropped() {
    let compared = |code: &str, comparator: &str, value: f64, unit: &str| {
        with(observation(code, RECENT), json!({"valueQuantity":
            {"value": value, "comparator": comparator, "unit": unit, "system": UCUM, "code": unit}}))
    };
    let row = |name: &str, resources: Vec<Value>| -> Row {
        (name.to_owned(), [man()].into_iter().chain(resources).collect())
    };
    let others = || vec![lab("6301-6", "1.5", "1", RECENT), lab("2160-0", "1.2", "mg/dL", RECENT)];
    let rows = [
        row("<0.3 mg/dL", [others(), vec![compared("1975-2", "<", 0.3, "mg/dL")]].concat()),
        row("0.3 mg/dL", [others(), vec![lab("1975-2", "0.3", "mg/dL", RECENT)]].concat()),
        row("<5.13 umol/L", [others(), vec![compared("14631-6", "<", 5.13, "umol/L")]].concat()),
        row(">20 mg/dL", [others(), vec![compared("1975-2", ">", 20.0, "mg/dL")]].concat()),
    ];
    let screenings = screen_table(&rows, &[]);
    let meld = |at: usize| &screenings[at]["scores"]["meld_unos"];
    assert_eq!(meld(0)["status"], "known", "the score's own clamp makes it exact");
    assert_eq!(meld(0)["value"], meld(1)["value"]);
    assert_eq!(meld(2)["value"], meld(1)["value"]);
    assert_eq!(meld(3)["status"], "unknown", "nobody knows how far above 20 it lies");
    assert_eq!(meld(3)["missing"], json!(["bilirubin_total"]));
    assert_eq!(screenings[0]["variables"]["bilirubin_total"]["received"], json!({"value": "<0.3", "unit": "mg/dL"}));
    assert!(screenings[0]["variables"]["bilirubin_total"]["value"].is_null());
    assert_eq!(screenings[0]["variables"]["bilirubin_total"]["high"], json!(0.3));
    assert_eq!(screenings[2]["variables"]["bilirubin_total"]["high"], json!(0.3));
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn the_digits_as_received_stand_beside_the_canonical_value() {
    let rows = [("received".to_owned(), vec![man(), lab("14631-6", "54.70", "umol/L", RECENT)])];
    let screening = &screen_table(&rows, &[])[0];
    let variable = &screening["variables"]["bilirubin_total"];
    assert_eq!(variable["unit"], "mg/dL");
    assert_eq!(variable["effective"], RECENT);
    assert_eq!(variable["received"]["value"], "54.70");
    assert_eq!(variable["received"]["unit"], "umol/L");
    assert!(variable["source"].as_str().expect("a source").starts_with("Observation/"));
}
