//! What a trial may write that the shipped one does not: rules put together otherwise, a span between the
//! inputs of a score; and what is reported of the variables.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};
use std::fs;

/// Screens rows by a trial of the folder `fixtures/second-trial` with `more` behind it.
fn by(more: &str, rows: &[Row]) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(fixture("second-trial/trial.toml")).expect("the second trial");
    fs::write(folder.path().join("trial.toml"), text + more).expect("a trial");
    screen_table(rows, &["--trial", folder.path().to_str().expect("a path")])
}

const RULES: &str = r#"
[[variable]]
id = "ldl"
title = { en = "LDL cholesterol", zh = "低密度脂蛋白胆固醇" }
unit = "mmol/L"
plausible = ["0.1", "30"]
window_days = 90
codes = { "http://loinc.org" = ["22748-8"] }

[[value_set]]
id = "no-known-allergy"
title = { en = "no known allergy", zh = "无已知过敏" }
[value_set.codes]
"http://snomed.info/sct" = ["716186003"]

[[criterion]]
id = "NOT"
kind = "exclusion"
text = { en = "Not both an HbA1c of 5 and a filtration of 10", zh = "不满足" }
rule = { not = { all = [
  { result = { variable = "hba1c", at_least = "5" } },
  { result = { variable = "egfr", at_least = "10" } },
] } }

[[criterion]]
id = "FRESH"
kind = "inclusion"
text = { en = "Consent, or a filtration above 90 within 30 days", zh = "同意或肾小球滤过率" }
rule = { any = [
  { consent = {} },
  { result = { variable = "egfr", above = "90", within_days = 30 } },
] }

[[criterion]]
id = "THREE"
kind = "inclusion"
text = { en = "Three results", zh = "三项结果" }
rule = { all = [
  { result = { variable = "hba1c", at_most = "15" } },
  { result = { variable = "egfr", at_least = "10" } },
  { result = { variable = "ldl", below = "5" } },
] }

[[criterion]]
id = "EITHER"
kind = "exclusion"
text = { en = "Two allergies to drugs or one to food", zh = "药物或食物过敏" }
rule = { allergies = { min_drug = 2, min_food = 1, combine = "or", none = "no-known-allergy" } }
"#;

#[test]
#[rustfmt::skip] // a table: one case a line
fn rules_put_together_otherwise() {
    let hba1c = |value: &str| lab("4548-4", value, "%", "2026-11-10");
    let egfr = |value: &str, when: &str| lab("98979-8", value, "mL/min/{1.73_m2}", when);
    let ldl = |value: &str| lab("22748-8", value, "mmol/L", "2026-11-10");
    let drug = |code: &str| allergy("medication", code);
    let agreed = || with(consent("active", "2026-11-19"), json!({"identifier": [{"value": "DEMO-T2D-1"}]}));
    // name, what is recorded, criterion, verdict, reasons, what would settle it
    type Line = (&'static str, Vec<Value>, &'static str, &'static str, Value, Value);
    let lines: Vec<Line> = vec![
        ("both", vec![hba1c("5"), egfr("10", "2026-11-10")], "NOT", "clear", Value::Null, Value::Null),
        ("one too low", vec![hba1c("4.9"), egfr("10", "2026-11-10")], "NOT", "excludes", Value::Null, Value::Null),
        ("one too low is enough", vec![hba1c("4.9")], "NOT", "excludes", Value::Null, Value::Null),
        ("one missing", vec![hba1c("5")], "NOT", "unknown", json!(["not-found"]), json!(["egfr"])),
        ("both missing: both would have to be there", vec![], "NOT", "unknown", json!(["not-found"]), json!(["hba1c", "egfr"])),
        ("neither: a result is cheaper than a signature", vec![], "FRESH", "unknown", json!(["not-found"]), json!(["egfr"])),
        ("a consent", vec![agreed()], "FRESH", "met", Value::Null, Value::Null),
        ("above 90", vec![egfr("90.1", "2026-11-10")], "FRESH", "met", Value::Null, Value::Null),
        ("not above 90", vec![egfr("90", "2026-11-10")], "FRESH", "attest", json!(["not-found"]), json!(["consent"])),
        ("30 days ago", vec![egfr("91", "2026-10-23")], "FRESH", "met", Value::Null, Value::Null),
        ("31 days ago, in the window of the variable", vec![egfr("91", "2026-10-22")], "FRESH", "unknown", json!(["not-found", "stale"]), json!(["egfr"])),
        ("all three", vec![hba1c("15"), egfr("10", "2026-11-10"), ldl("4.9")], "THREE", "met", Value::Null, Value::Null),
        ("the third at its limit", vec![hba1c("15"), egfr("10", "2026-11-10"), ldl("5")], "THREE", "not-met", Value::Null, Value::Null),
        ("the first above its limit", vec![hba1c("15.1"), egfr("10", "2026-11-10"), ldl("4.9")], "THREE", "not-met", Value::Null, Value::Null),
        ("two missing", vec![hba1c("15")], "THREE", "unknown", json!(["not-found"]), json!(["egfr", "ldl"])),
        ("three missing: one word is not dearer", vec![], "THREE", "unknown", json!(["not-found"]), json!(["attestation:THREE"])),
        ("two drugs", vec![drug("1"), drug("2")], "EITHER", "excludes", Value::Null, Value::Null),
        ("one food", vec![allergy("food", "3")], "EITHER", "excludes", Value::Null, Value::Null),
        ("one drug", vec![drug("1")], "EITHER", "unknown", json!(["not-found"]), json!(["attestation:EITHER"])),
        ("a drug or a food", vec![with(drug("1"), json!({"category": null}))], "EITHER", "unknown", json!(["unconfirmed"]), json!(["attestation:EITHER"])),
        ("none known", vec![with(drug("716186003"), json!({"category": null}))], "EITHER", "clear", Value::Null, Value::Null),
        ("none known, and one", vec![with(drug("716186003"), json!({"category": null})), drug("1")], "EITHER", "unknown", json!(["not-found"]), json!(["attestation:EITHER"])),
        ("none known, not confirmed", vec![with(with(drug("716186003"), json!({"category": null})), verification("unconfirmed"))], "EITHER", "unknown", json!(["not-found"]), json!(["attestation:EITHER"])),
        ("none known, once", vec![with(with(drug("716186003"), json!({"category": null})), json!({"clinicalStatus":
            concept("http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "inactive")}))], "EITHER", "unknown", json!(["not-found"]), json!(["attestation:EITHER"])),
        ("nothing", vec![], "EITHER", "unknown", json!(["not-found"]), json!(["attestation:EITHER"])),
    ];
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, resources, ..)| ((*name).to_owned(), [vec![patient("female", "1960-01-01")], resources.clone()].concat()))
        .collect();
    for ((name, _, criterion, expected, why, needs), screening) in lines.iter().zip(by(RULES, &rows)) {
        let judged = criterion_of(&screening, criterion);
        assert_eq!(judged["verdict"], *expected, "{criterion}, {name}: {judged}");
        assert_eq!((&judged["why"], &judged["needs"]), (why, needs), "{criterion}, {name}");
    }
}

#[test]
fn only_the_parts_that_decide_are_evidence() {
    let rows: [Row; 1] = [(
        "an asthma, and an allergy besides".into(),
        vec![man(), condition(WHO, "J45.0"), allergy("medication", "1")],
    )];
    let screening = screen_table(&rows, &[]).remove(0);
    let evidence = criterion_of(&screening, "E10")["evidence"].as_array().expect("evidence").clone();
    assert_eq!(evidence.len(), 1, "{evidence:?}");
    assert!(evidence[0]["summary"].as_str().is_some_and(|s| s.contains("J45.0")), "{evidence:?}");
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn inputs_too_far_apart_are_not_combined() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/nct06242405");
    for entry in fs::read_dir(shipped).expect("the shipped trial") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a file of the trial");
        let text = text.replace("[scores]\n", "[scores]\nmax_spread_days = 3\n");
        fs::write(folder.path().join(path.file_name().expect("a name")), text).expect("a copy");
    }
    let lines: Vec<(&str, [&str; 3], &[&str])> = vec![
        ("on one day", ["2026-11-20", "2026-11-20", "2026-11-20"], &[]),
        ("three days apart", ["2026-11-20", "2026-11-17", "2026-11-17"], &[]),
        ("one of them four", ["2026-11-20", "2026-11-17", "2026-11-16"], &["creatinine"]),
        ("the newest stands at the end", ["2026-11-16", "2026-11-18", "2026-11-20"], &["bilirubin_total"]),
        ("two of them four", ["2026-11-16", "2026-11-20", "2026-11-16"], &["bilirubin_total", "creatinine"]),
    ];
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, [bilirubin, inr, creatinine], _)| {
            ((*name).to_owned(), vec![
                man(),
                lab("1975-2", "4.1", "mg/dL", bilirubin),
                lab("6301-6", "1.8", "1", inr),
                lab("2160-0", "1.1", "mg/dL", creatinine),
            ])
        })
        .collect();
    let trial = folder.path().to_str().expect("a path");
    for ((name, _, missing), screening) in lines.iter().zip(screen_table(&rows, &["--trial", trial])) {
        let got: Vec<&str> = screening["scores"]["meld_unos"]["missing"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(got, *missing, "{name}");
    }
}

#[test]
fn what_is_reported_of_the_variables() {
    let versioned = |resource: Value, id: &str, version: &str| {
        with(resource, json!({"id": id, "meta": {"versionId": version}}))
    };
    let rows: [Row; 2] = [
        (
            "everything".into(),
            vec![
                with(woman(), json!({"meta": {"versionId": "7"}})),
                versioned(finding("56888-1", NEGATIVE, RECENT), "$P-hiv", "3"),
                versioned(lab("11042-9", "88.4", "umol/L", RECENT), "$P-crea", "2"),
                procedure(SNOMED, "302497006", "2026-11-17"),
                procedure(SNOMED, "302497006", "2026-11-19"),
            ],
        ),
        ("a year of birth".into(), vec![patient("male", "1966")]),
    ];
    let screenings = screen_table(&rows, &[]);
    assert_eq!(
        screenings[0]["variables"],
        json!({
            "creatinine": {"value": 1, "unit": "mg/dL", "effective": RECENT, "source": "Observation/c000-crea",
                           "version": "2", "received": {"value": "88.4", "unit": "umol/L"}, "flag": "dialysis"},
            "hiv_screen": {"value": "negative", "effective": RECENT, "source": "Observation/c000-hiv",
                           "version": "3", "received": {"value": NEGATIVE}},
            "sex": {"value": "female", "source": "Patient/c000", "version": "7"},
            "age": {"value": 40, "unit": "a", "source": "Patient/c000", "version": "7"},
            "dialysis": {"value": true},
        })
    );
    assert_eq!(
        screenings[1]["variables"],
        json!({
            "sex": {"value": "male", "source": "Patient/c001"},
            "age": {"low": 59, "high": 60, "unit": "a", "source": "Patient/c001"},
            "dialysis": {"value": false},
        })
    );
}

#[test]
fn an_answer_under_two_codes_is_shown_under_the_first() {
    let answer = |code: &str, id: &str, when: &str| {
        with(finding(code, NEGATIVE, when), json!({"id": format!("$P-{id}")}))
    };
    let lines: [(&str, Vec<Value>, &str); 3] = [
        ("two codes", vec![answer("31201-7", "a", RECENT), answer("56888-1", "b", RECENT)], "b"),
        ("one code", vec![answer("56888-1", "d", RECENT), answer("56888-1", "c", RECENT)], "c"),
        // What has no certain day is not what it rests on.
        ("one of some day", vec![answer("56888-1", "a", "2026-11"), answer("31201-7", "b", RECENT)], "b"),
    ];
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, resources, _)| ((*name).to_owned(), [vec![man()], resources.clone()].concat()))
        .collect();
    for (at, ((name, _, id), screening)) in lines.iter().zip(screen_table(&rows, &[])).enumerate() {
        let shown = &criterion_of(&screening, "E5")["evidence"][0]["reference"];
        assert_eq!(*shown, format!("Observation/c{at:03}-{id}"), "{name}");
    }
}

#[test]
fn wide_bands_for_cholangitis() {
    let cholangitis = |yes: bool| {
        json!({"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": FORM,
               "subject": {"reference": "Patient/$P"}, "authored": "2026-11-20",
               "item": [{"linkId": "pbc_or_psc", "answer": [{"valueBoolean": yes}]}]})
    };
    let with_it = |more: Vec<Value>| [vec![man(), lab("1975-2", "3.5", "mg/dL", RECENT)], more].concat();
    let rows: [Row; 3] = [
        ("not said".into(), with_it(vec![])),
        ("no".into(), with_it(vec![cholangitis(false)])),
        ("yes".into(), with_it(vec![cholangitis(true)])),
    ];
    let points: Vec<_> = screen_table(&rows, &[])
        .iter()
        .map(|s| s["scores"]["child_pugh"]["points"]["bilirubin"].as_u64().expect("points"))
        .collect();
    assert_eq!(points, [3, 3, 1]);
}
