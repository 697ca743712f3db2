//! The days, doubts and contradictions at the edges of the criteria. A row: what is recorded beside the
//! patient, the criterion, the verdict.

use crate::resources::*;
use crate::runner::*;
use crate::screen_criteria::judge;
use serde_json::{Value, json};

#[test]
#[rustfmt::skip] // a table: one case a line
fn days() {
    let resolved = |code: &str, over: Value| with(with(condition(CM, code), clinical("resolved")), over);
    let active = |when: &str| with(order(ATC, "H02AB06", when), json!({"status": "active"}));
    let statement = |status: &str, period: Value| {
        json!({"resourceType": "MedicationStatement", "status": status, "medicationCodeableConcept": concept(ATC, "H02AB06"),
               "subject": {"reference": "Patient/$P"}, "effectivePeriod": period})
    };
    let drug = |code: &str, over: Value| with(allergy("medication", code), over);
    judge(
        vec![
            ("recorded on the day of judgement", vec![with(condition(WHO, "K72.9"), json!({"recordedDate": "2026-11-22"}))], "I2", "met"),
            ("over a day later", vec![with(with(condition(WHO, "K72.9"), clinical("resolved")), json!({"onsetDateTime": "2026-10-01", "abatementDateTime": "2026-11-23"}))], "I2", "met"),
            ("over that day", vec![with(with(condition(WHO, "K72.9"), clinical("resolved")), json!({"onsetDateTime": "2026-10-01", "abatementDateTime": "2026-11-22"}))], "I2", "unknown"),
            ("over before", vec![with(with(condition(WHO, "K72.9"), clinical("resolved")), json!({"onsetDateTime": "2026-10-01", "abatementDateTime": "2026-10-05"}))], "I2", "unknown"),
            ("over some day in the month in which the window begins", vec![resolved("I21.4", json!({"onsetDateTime": "2026-01-01", "abatementDateTime": "2026-08"}))], "E3", "unknown"),
            ("over in the month before", vec![resolved("I21.4", json!({"onsetDateTime": "2026-01-01", "abatementDateTime": "2026-07"}))], "E3", "attest"),
            ("an active order without a day", vec![with(active(""), json!({"authoredOn": null}))], "E6", "excludes"),
            ("an order that is over, without a day", vec![with(order(ATC, "H02AB06", ""), json!({"authoredOn": null}))], "E6", "unknown"),
            ("an active order, some day this month", vec![active("2026-11")], "E6", "unknown"),
            ("an active order of tomorrow", vec![active("2026-11-23")], "E6", "unknown"),
            ("taken, to the end of a month in which the window begins", vec![statement("active", json!({"start": "2025-01-01", "end": "2025-11"}))], "E6", "unknown"),
            ("an allergy recorded on the day", vec![drug("1", json!({})), drug("2", json!({"recordedDate": "2026-11-22"})), allergy("food", "3")], "E10", "excludes"),
            ("an allergy recorded a day later", vec![drug("1", json!({})), drug("2", json!({"recordedDate": "2026-11-23"})), allergy("food", "3")], "E10", "unknown"),
            ("in another study from some day this month", vec![study("theirs", "NCT00000001"), participation("on-study", "ResearchStudy/theirs", json!({"start": "2026-11"}))], "E8", "unknown"),
            ("in another study from tomorrow", vec![study("theirs", "NCT00000001"), participation("on-study", "ResearchStudy/theirs", json!({"start": "2026-11-23"}))], "E8", "unknown"),
            ("consent of the day of judgement", vec![consent("active", "2026-11-22")], "I3", "met"),
            ("consent valid from the day of judgement", vec![with(consent("active", "2026-11-19"), json!({"provision": {"period": {"start": "2026-11-22"}}}))], "I3", "met"),
            ("consent that expires in the month of judgement, its last day before", vec![with(consent("active", "2026-10-19"), json!({"provision": {"period": {"end": "2026-10"}}}))], "I3", "not-met"),
        ],
        None,
    );
}

#[test]
fn a_month_that_ends_on_the_first_day_of_the_window() {
    // 90 days before 29 November begins on 31 August, which August ends with: it may have been that day.
    let infarction =
        with(with(condition(CM, "I21.4"), clinical("resolved")), json!({"onsetDateTime": "2026-08"}));
    let lines = lines_of("p", &[man(), infarction]).join("\n");
    for (day, expected) in [("2026-11-29", "unknown"), ("2026-11-30", "attest")] {
        let ran = run(&["screen", "-", "--as-of", day], lines.as_bytes());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(verdict(&ran.lines()[0], "E3"), expected, "{day}");
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_person_against_the_record() {
    let negative = || vec![woman(), finding("2106-3", NEGATIVE, RECENT), finding("63895-7", "373067005", "2026-11-10")];
    let said = |criterion: &'static str, applies: bool| vec![form("2026-11-20", &[(criterion, applies)])];
    judge(
        vec![
            ("a man, and somebody says he is pregnant", said("E9", true), "E9", "excludes"),
            ("a man, and somebody says he is not", said("E9", false), "E9", "not-applicable"),
            ("negative tests, and somebody says she is pregnant", [negative(), said("E9", true)].concat(), "E9", "excludes"),
            ("negative tests, and somebody says she is not", [negative(), said("E9", false)].concat(), "E9", "clear"),
            ("a negative screening of HIV, and an unreadable entry, and somebody says no", [vec![finding("56888-1", NEGATIVE, RECENT), condition("urn:his", "1")], said("E5", false)].concat(), "E5", "clear"),
            ("a woman, and a test of 40 days", vec![woman(), finding("2106-3", POSITIVE, "2026-10-13")], "E9", "unknown"),
        ],
        None,
    );
    judge(
        vec![
            ("no cirrhosis in a complete record, and somebody says end-stage disease", said("I2", true), "I2", "not-met"),
            ("no tumour in a complete record, and somebody says there is one", said("E1", true), "E1", "excludes"),
        ],
        Some(COMPLETE),
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn allergies_that_are_not_certain() {
    let drug = |code: &str| allergy("medication", code);
    let food = |code: &str| allergy("food", code);
    let named = |words: &str, category: &str| with(allergy(category, ""), json!({"code": {"text": words}}));
    judge(
        vec![
            ("a food that is not confirmed", vec![drug("1"), drug("2"), with(food("3"), verification("unconfirmed"))], "E10", "unknown"),
            ("two foods that are not confirmed, one drug", vec![drug("1"), with(food("3"), verification("unconfirmed")), with(food("4"), verification("unconfirmed"))], "E10", "clear"),
            ("drugs by their names alone", vec![named("a", "medication"), named("b", "medication"), food("3")], "E10", "unknown"),
            ("one drug by its name alone", vec![named("a", "medication"), food("3")], "E10", "clear"),
            ("an allergy to something else", vec![drug("1"), allergy("environment", "2"), food("3")], "E10", "clear"),
            ("another disease is no allergy", vec![condition(WHO, "I10"), drug("1"), food("3")], "E10", "clear"),
        ],
        Some(COMPLETE),
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn results_that_nearly_agree() {
    let at = |value: &str, unit: &str, code: &str| lab(code, value, unit, RECENT);
    // A laboratory that reports in two units rounds twice: a twentieth is let pass between units or codes.
    let lines: Vec<(&str, Vec<Value>, Option<f64>)> = vec![
        ("one code, two units", vec![at("3.2", "mg/dL", "1975-2"), at("54.7", "umol/L", "1975-2")], Some(3.2)),
        ("two codes, one unit", vec![at("3.2", "mg/dL", "1975-2"), at("3.25", "mg/dL", "14631-6")], Some(3.2)),
        ("one code, one unit", vec![at("3.2", "mg/dL", "1975-2"), at("3.25", "mg/dL", "1975-2")], None),
        ("a twentieth apart", vec![at("20", "mg/dL", "1975-2"), at("19", "mg/dL", "14631-6")], Some(20.0)),
        ("a hair more", vec![at("20", "mg/dL", "1975-2"), at("18.99", "mg/dL", "14631-6")], None),
        ("two at the bedside", vec![at("1.8", "1", "46418-0"), at("2.4", "1", "46418-0")], None),
    ];
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, resources, _)| ((*name).to_owned(), [vec![man()], resources.clone()].concat()))
        .collect();
    for ((name, resources, expected), screening) in lines.iter().zip(screen_table(&rows, &[])) {
        let id = if resources[0]["code"]["coding"][0]["code"] == "46418-0" { "inr" } else { "bilirubin_total" };
        assert_eq!(screening["variables"][id]["value"].as_f64(), *expected, "{name}");
        let reasons: &[&str] = if expected.is_some() { &[] } else { &["conflict"] };
        assert_eq!(gap_reasons(&screening), reasons, "{name}");
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_result_that_could_not_be_used_is_said() {
    let bilirubin = |value: &str, unit: &str| lab("1975-2", value, unit, RECENT);
    let not_found = "nothing is recorded, and the record is not declared complete";
    let lines: Vec<(&str, Vec<Value>, Vec<&str>, String)> = vec![
        ("a unit of another quantity", vec![bilirubin("3", "fL")], vec!["not-found", "unit-unknown"],
            format!("{not_found}; a result for bilirubin_total could not be used (unit-unknown)")),
        ("two of them", vec![bilirubin("3", "fL"), bilirubin("4", "fL")], vec!["not-found", "unit-unknown"],
            format!("{not_found}; a result for bilirubin_total could not be used (unit-unknown)")),
        ("for two reasons", vec![bilirubin("3", "fL"), bilirubin("-4", "mg/dL")], vec!["not-found", "unit-unknown", "implausible"],
            format!("{not_found}; a result for bilirubin_total could not be used (unit-unknown); a result for bilirubin_total could not be used (implausible)")),
        ("of another variable", vec![lab("1742-6", "3", "fL", RECENT)], vec!["not-found"], not_found.to_owned()),
        ("a conflict is said once", vec![bilirubin("3", "mg/dL"), bilirubin("4", "mg/dL")], vec!["not-found", "conflict"],
            format!("{not_found}; results of the same time disagree; a result for bilirubin_total could not be used (conflict)")),
    ];
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, resources, ..)| ((*name).to_owned(), [vec![man(), condition(WHO, "K74.6")], resources.clone()].concat()))
        .collect();
    for ((name, _, why, reason), screening) in lines.iter().zip(screen_table(&rows, &[])) {
        let judged = criterion_of(&screening, "I2");
        let mut codes: Vec<&str> = judged["why"].as_array().expect("reasons").iter().filter_map(Value::as_str).collect();
        let mut expected = why.clone();
        codes.sort_unstable();
        expected.sort_unstable();
        assert_eq!(codes, expected, "{name}");
        assert_eq!(judged["reason"], *reason, "{name}");
    }
}
