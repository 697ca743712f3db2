//! Published cases. Where the source is wrong, we must not agree with it.

use super::*;
use std::collections::BTreeMap;

type Row = BTreeMap<String, String>;

/// A quantity in its canonical unit. The factors are those of the README beside the fixtures.
fn canonical(analyte: &str, value: &str, unit: &str) -> Option<Interval> {
    if value.is_empty() {
        return None;
    }
    let (numerator, denominator) = match (analyte, unit) {
        ("bilirubin_total", "umol/L") => ("1", "17.1"),
        ("creatinine", "umol/L") => ("1", "88.4"),
        ("albumin", "g/dL") => ("10", "1"),
        ("bilirubin_total" | "creatinine", "mg/dL") | ("albumin", "g/L") => ("1", "1"),
        ("inr", "{INR}") | ("sodium", "mmol/L") | ("ast" | "alt", "U/L") => ("1", "1"),
        ("platelets" | "wbc", "10*9/L") | ("age", "a") => ("1", "1"),
        other => panic!("no factor for {other:?}"),
    };
    Interval::exactly(d(value)).scaled(d(numerator), d(denominator))
}

fn laboratory(row: &Row, analyte: &str) -> Option<Interval> {
    let cell = |what: &str| row.get(&format!("{analyte}_{what}")).map(String::as_str).unwrap_or_default();
    canonical(analyte, cell("value"), cell("unit"))
}

fn inputs(row: &Row) -> Inputs {
    Inputs {
        bilirubin_total: laboratory(row, "bilirubin_total"),
        inr: laboratory(row, "inr"),
        creatinine: laboratory(row, "creatinine"),
        sodium: laboratory(row, "sodium"),
        albumin: laboratory(row, "albumin"),
        ..Inputs::default()
    }
}

fn near(got: Decimal, expected: &str, tolerance: &str) -> bool {
    (got - d(expected)).abs() <= d(tolerance)
}

#[test]
fn meld_family() {
    let rows = rows(include_str!("../../../fixtures/scores/meld_family.csv"));
    assert_eq!(rows.len(), 50);
    for row in rows {
        let inputs = Inputs {
            sex: row["sex"].parse().ok(),
            age: Some(row["age_years"].as_str()).filter(|age| !age.is_empty()).and_then(x),
            dialysis: Some(row["dialysis_ge2_7d_or_cvvhd24h"] == "true"),
            ..inputs(&row)
        };
        let name = match row["variant"].as_str() {
            "meld_raw" | "meld_unos" | "meld_i_optn" => "meld_unos",
            "meld_na_optn2016" => "meld_na",
            "meld_na_kim2008_raw" => "meld_na_kim2008",
            "meld3" => "meld3",
            other => panic!("no score for variant {other}"),
        };
        let got = score(name, &inputs);
        assert_eq!(got.status, Status::Known, "{row:?}");
        let raw = got.raw.expect("a known score has a raw one");
        let value = match row["variant"].ends_with("_raw") {
            true => Decimal::try_from(raw).expect("a finite raw score"),
            false => got.value.expect("a known score has a value"),
        };
        assert!(near(value, &row["expected"], &row["tolerance"]), "{value} for {row:?}");
        if row["agrees_with_source"] == "NO" {
            assert!(
                !near(value, &row["source_expected"], "0.5"),
                "the source errs ({}): {row:?}",
                row["note"]
            );
        }
        if let Some(engine) = row["note"].strip_prefix("engine raw ") {
            assert!(near(Decimal::try_from(raw).expect("finite"), engine, "0.00005"), "{raw} for {row:?}");
        }
        if let Some((_, other)) = row["note"].split_once("without intermediate rounding: ") {
            assert_ne!(value, d(other), "MELD(i) is rounded before sodium comes in: {row:?}");
        }
    }
}

#[test]
fn child_pugh() {
    let rows = rows(include_str!("../../../fixtures/scores/child_pugh.csv"));
    assert_eq!(rows.len(), 34);
    for row in rows {
        let inputs = Inputs {
            pt_prolongation: Some(row["pt_prolongation_s"].as_str()).filter(|s| !s.is_empty()).and_then(x),
            ascites: row["ascites"].parse().ok(),
            encephalopathy: row["encephalopathy_west_haven"].parse().ok(),
            pbc_or_psc: Some(row["pbc_or_psc"] == "true"),
            ..inputs(&row)
        };
        let got = score("child_pugh", &inputs);
        assert_eq!(got.value, Some(d(&row["expected_score"])), "{row:?}");
        assert_eq!(got.class, row["expected_class"].chars().next(), "{row:?}");
        let Detail::ChildPugh { points, coagulation } = got.detail else { panic!("no points: {row:?}") };
        let written = format!(
            "bili={};alb={};coag={};ascites={};he={}",
            points.bilirubin.low,
            points.albumin.low,
            points.coagulation.low,
            points.ascites.low,
            points.encephalopathy.low
        );
        assert_eq!(written, row["expected_points"], "{row:?}");
        let column = if row["variant"] == "pt_seconds" { "pt_prolongation" } else { "inr" };
        assert_eq!(coagulation, Some(column), "{row:?}");
        if row["agrees_with_source"] == "NO" {
            assert_ne!(got.value, Some(d(&row["source_expected_score"])), "{}: {row:?}", row["note"]);
        }
    }
}

#[test]
fn albi() {
    let rows = rows(include_str!("../../../fixtures/scores/albi.csv"));
    assert_eq!(rows.len(), 14);
    let later = Options { albi_coefficient: d("0.0852"), ..Options::default() };
    for row in rows {
        for (options, score, grade) in [
            (&Options::default(), "expected_score", "expected_grade"),
            (&later, "expected_score_0852", "expected_grade_0852"),
        ] {
            let got = all(&inputs(&row), options).get("albi").cloned().expect("ALBI");
            assert!(near(got.value.expect("known"), &row[score], &row["tolerance"]), "{got:?} for {row:?}");
            assert_eq!(
                got.grade.map(|grade| grade.to_string()).as_deref(),
                Some(row[grade].as_str()),
                "{row:?}"
            );
        }
    }
}

#[test]
fn optional_scores() {
    let rows = rows(include_str!("../../../fixtures/scores/optional_scores.csv"));
    assert_eq!(rows.len(), 14);
    for row in rows {
        let mut inputs = Inputs::default();
        for part in row["inputs"].split("; ") {
            let (name, quantity) = part.split_once('=').expect("name=quantity");
            let (value, unit) = quantity.split_once(' ').unwrap_or((quantity, ""));
            match name {
                "age" => inputs.age = canonical("age", value, unit),
                "AST" => inputs.ast = canonical("ast", value, unit),
                "ALT" => inputs.alt = canonical("alt", value, unit),
                "AST ULN" => inputs.ast_uln = Some(d(value)),
                "platelets" => inputs.platelets = canonical("platelets", value, unit),
                "INR" => inputs.inr = canonical("inr", value, unit),
                "bilirubin" => inputs.bilirubin_total = canonical("bilirubin_total", value, unit),
                "creatinine" => inputs.creatinine = canonical("creatinine", value, unit),
                "Na" => inputs.sodium = canonical("sodium", value, unit),
                "CLIF-C OF" => inputs.clif_of = x(value),
                "WBC" => inputs.wbc = canonical("wbc", value, unit),
                other => panic!("no input {other}"),
            }
        }
        let (name, places) = match row["score"].as_str() {
            "FIB-4" => ("fib4", 2),
            "APRI" => ("apri", 2),
            "UKELD" => ("ukeld", 0),
            "CLIF-C ACLF" => ("clif_c_aclf", 1),
            other => panic!("no score {other}"),
        };
        let got = score(name, &inputs);
        let raw = Decimal::try_from(got.raw.expect("known")).expect("finite");
        assert!(near(raw, &row["expected"], &row["tolerance"]), "{raw} for {row:?}");
        let value = got.value.expect("known");
        assert_eq!(value, super::super::number::round(raw, places), "{row:?}");
        assert!(near(value, &row["source_expected"], "0.5"), "{value} for {row:?}");
    }
}
