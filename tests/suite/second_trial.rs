//! Another trial, in TOML alone: `fixtures/second-trial`.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};

fn trial() -> String {
    fixture("second-trial").to_str().expect("a path").to_owned()
}

#[test]
fn its_definition_is_without_findings() {
    let ran = run(&["check", "--no-network", "--deny-warnings", "-o", "ndjson", "--trial", &trial()], b"");
    assert_eq!((ran.code, ran.text()), (0, ""), "{}", ran.stderr);
}

#[test]
fn it_screens_by_its_own_criteria() {
    let person = || patient("female", "1960-01-01");
    let hba1c = |value: &str| lab("4548-4", value, "%", "2026-10-01");
    let egfr = |value: &str| lab("98979-8", value, "mL/min/{1.73_m2}", "2026-10-01");
    let agreed = || with(consent("active", "2026-11-19"), json!({"identifier": [{"value": "DEMO-T2D-1"}]}));
    let word = || {
        with(
            form("2026-11-20", &[("EX2", false)]),
            json!({"questionnaire": "urn:example:questionnaire:DEMO-T2D-1"}),
        )
    };
    let base = |lab: Value| vec![person(), condition(WHO, "E11.9"), lab, egfr("60"), agreed(), word()];
    let lines: Vec<(&str, Vec<Value>, &str, Value)> = vec![
        ("fulfils everything", base(hba1c("8.2")), "eligible", json!([])),
        ("HbA1c 7.0", base(hba1c("7.0")), "eligible", json!([])),
        ("HbA1c 10.1", base(hba1c("10.1")), "ineligible", json!(["IN1"])),
        ("HbA1c in the other unit", base(lab("4548-4", "66", "mmol/mol", "2026-10-01")), "undetermined", json!(["IN1"])),
        ("HbA1c too old", base(lab("4548-4", "8.2", "%", "2026-08-01")), "undetermined", json!(["IN1"])),
        ("eGFR 44", [base(hba1c("8.2")), vec![lab("98979-8", "44", "mL/min/1.73m2", "2026-11-01")]].concat(), "ineligible", json!(["EX1"])),
        ("insulin", [base(hba1c("8.2")), vec![order(ATC, "A10AE04", "2026-11-01")]].concat(), "ineligible", json!(["EX2"])),
        ("a tumour is no matter here", [base(hba1c("8.2")), vec![condition(WHO, "C22.0")]].concat(), "eligible", json!([])),
        ("consent to the other trial", [vec![person(), condition(WHO, "E11.9"), hba1c("8.2"), egfr("60"), word()],
            vec![with(agreed(), json!({"identifier": null, "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/workflow-researchStudy",
                "valueReference": {"identifier": {"value": "NCT06242405"}}}]}))]].concat(), "undetermined", json!(["IN2"])),
    ];
    let rows: Vec<Row> =
        lines.iter().map(|(name, resources, ..)| ((*name).into(), resources.clone())).collect();
    for ((name, _, decision, deciding), screening) in
        lines.iter().zip(screen_table(&rows, &["--trial", &trial()]))
    {
        assert_eq!(screening["trial"], "DEMO-T2D-1");
        assert_eq!(screening["decision"], *decision, "{name}: {screening}");
        assert_eq!(screening["deciding"], *deciding, "{name}");
        assert_eq!(screening["criteria"].as_array().map(Vec::len), Some(4), "{name}");
        assert_eq!(screening["scores"], json!({}), "{name}");
    }
}
