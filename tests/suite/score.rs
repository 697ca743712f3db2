//! `score`: every published vector, with the units in which it was published, through the binary.

use crate::runner::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;

type Line = BTreeMap<String, String>;

fn rows(name: &str) -> Vec<Line> {
    let mut reader = csv::Reader::from_path(fixture(&format!("scores/{name}.csv"))).expect("a fixture");
    let rows: Vec<Line> = reader.deserialize().collect::<Result<_, _>>().expect("rows");
    assert!(!rows.is_empty());
    rows
}

/// Scores all sets of variables; the answers come in the same order.
fn score(all: &[Value]) -> Vec<Value> {
    let input: String = all
        .iter()
        .enumerate()
        .map(|(at, variables)| json!({"id": at, "variables": variables}).to_string() + "\n")
        .collect();
    let ran = run(&["score", "-"], input.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines = ran.lines();
    assert_eq!(lines.len(), all.len());
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["id"], json!(at));
    }
    lines
}

fn one(variables: Value) -> Value {
    score(&[variables]).remove(0)
}

/// The laboratory columns of a row, `value unit`.
fn laboratory(row: &Line) -> Map<String, Value> {
    let mut variables = Map::new();
    for name in ["bilirubin_total", "inr", "creatinine", "sodium", "albumin"] {
        let cell = |what: &str| row.get(&format!("{name}_{what}")).map_or("", String::as_str);
        if !cell("value").is_empty() {
            variables.insert(name.into(), format!("{} {}", cell("value"), cell("unit")).into());
        }
    }
    variables
}

fn near(got: &Value, expected: &str, tolerance: &str) -> bool {
    let expected: f64 = expected.parse().expect("a number");
    let tolerance: f64 = tolerance.parse().expect("a number");
    got.as_f64().is_some_and(|got| (got - expected).abs() <= tolerance + 1e-9)
}

#[test]
fn the_meld_family() {
    let rows = rows("meld_family");
    let variables: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut v = laboratory(row);
            if !row["sex"].is_empty() {
                v.insert("sex".into(), row["sex"].clone().into());
            }
            if !row["age_years"].is_empty() {
                v.insert("age".into(), format!("{} a", row["age_years"]).into());
            }
            v.insert("dialysis".into(), (row["dialysis_ge2_7d_or_cvvhd24h"] == "true").into());
            Value::Object(v)
        })
        .collect();
    for (row, line) in rows.iter().zip(score(&variables)) {
        let (name, is_raw) = match row["variant"].as_str() {
            "meld_raw" => ("meld_unos", true),
            "meld_unos" => ("meld_unos", false),
            "meld_i_optn" => ("meld_unos", false),
            "meld_na_optn2016" => ("meld_na", false),
            "meld_na_kim2008_raw" => ("meld_na_kim2008", true),
            "meld3" => ("meld3", false),
            other => panic!("{}: variant {other}", row["id"]),
        };
        let score = &line["scores"][name];
        let got = if is_raw { &score["raw"] } else { &score["value"] };
        assert!(
            near(got, &row["expected"], &row["tolerance"]),
            "{}: {score}, not {}",
            row["id"],
            row["expected"]
        );
        assert_eq!(line["gaps"], json!([]), "{}", row["id"]);
    }
}

#[test]
fn child_pugh() {
    // Rows of a printed variant that the default does not follow are tested beside the score itself.
    let rows: Vec<Line> = rows("child_pugh").into_iter().filter(|r| r["variant"] == "standard").collect();
    assert!(rows.len() >= 20);
    let variables: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut v = laboratory(row);
            let west_haven = match row["encephalopathy_west_haven"].as_str() {
                "" => None,
                grade => Some(grade.to_owned()),
            };
            for (name, value) in [
                ("ascites", Some(row["ascites"].clone()).filter(|a| !a.is_empty())),
                ("encephalopathy", west_haven),
                ("pt_prolongation", Some(format!("{} s", row["pt_prolongation_s"])).filter(|p| p.len() > 2)),
            ] {
                if let Some(value) = value {
                    v.insert(name.into(), value.into());
                }
            }
            v.insert("pbc_or_psc".into(), (row["pbc_or_psc"] == "true").into());
            Value::Object(v)
        })
        .collect();
    for (row, line) in rows.iter().zip(score(&variables)) {
        let score = &line["scores"]["child_pugh"];
        assert!(near(&score["value"], &row["expected_score"], "0"), "{}: {score}", row["id"]);
        assert_eq!(score["class"], row["expected_class"].as_str(), "{}", row["id"]);
    }
}

#[test]
fn albi() {
    let rows = rows("albi");
    let variables: Vec<Value> = rows.iter().map(|row| Value::Object(laboratory(row))).collect();
    for (row, line) in rows.iter().zip(score(&variables)) {
        let score = &line["scores"]["albi"];
        assert!(near(&score["raw"], &row["expected_score"], &row["tolerance"]), "{}: {score}", row["id"]);
        assert!(near(&score["grade"], &row["expected_grade"], "0"), "{}: {score}", row["id"]);
    }
}

#[test]
fn optional_scores() {
    let names = [
        ("age", "age"),
        ("AST", "ast"),
        ("ALT", "alt"),
        ("platelets", "platelets"),
        ("AST_ULN", "ast_uln"),
        ("ULN", "ast_uln"),
        ("INR", "inr"),
        ("creatinine", "creatinine"),
        ("bilirubin", "bilirubin_total"),
        ("bilirubin_total", "bilirubin_total"),
        ("sodium", "sodium"),
        ("CLIF-OF", "clif_of"),
        ("WBC", "wbc"),
    ];
    let mut tested = 0;
    for row in rows("optional_scores") {
        let score_name = match row["score"].as_str() {
            "FIB-4" => "fib4",
            "APRI" => "apri",
            "UKELD" => "ukeld",
            "CLIF-C ACLF" => "clif_c_aclf",
            _ => continue,
        };
        let mut variables = Map::new();
        let mut all_known = true;
        for part in row["inputs"].split(';') {
            let Some((name, value)) = part.trim().split_once('=') else { continue };
            match names.iter().find(|(n, _)| *n == name.trim()) {
                Some((_, own)) => {
                    variables.insert((*own).into(), value.trim().into());
                }
                None => all_known = false,
            }
        }
        if !all_known || row["expected"].parse::<f64>().is_err() {
            continue;
        }
        let line = one(Value::Object(variables));
        let score = &line["scores"][score_name];
        let implausible = line["gaps"].as_array().is_some_and(|g| !g.is_empty());
        if implausible {
            assert_eq!(score["status"], "unknown", "{}: {line}", row["id"]);
        } else {
            let close = [&score["raw"], &score["value"]]
                .iter()
                .any(|got| near(got, &row["expected"], &row["tolerance"]));
            assert!(close, "{}: {score}, not {}", row["id"], row["expected"]);
        }
        tested += 1;
    }
    assert!(tested >= 6, "only {tested} rows were tested");
}

#[test]
fn the_example_of_the_documentation() {
    let line = one(json!({
        "bilirubin_total": "54 umol/L", "inr": "2.0", "creatinine": "170 umol/L", "sodium": "137 mmol/L",
        "albumin": "28 g/L", "ascites": "mild", "encephalopathy": "0", "sex": "female", "age": 54, "dialysis": false,
        "ast": "80 U/L", "alt": "60 U/L", "platelets": "90 10*9/L"
    }));
    let scores = &line["scores"];
    assert_eq!(line["gaps"], json!([]));
    // By hand: bilirubin 54/17.1 = 3.1579, creatinine 170/88.4 = 1.9231.
    assert_eq!(scores["meld_unos"]["status"], "known");
    let raw =
        10.0 * (0.957 * (170.0f64 / 88.4).ln() + 0.378 * (54.0f64 / 17.1).ln() + 1.12 * 2.0f64.ln() + 0.643);
    assert!(near(&scores["meld_unos"]["raw"], &raw.to_string(), "1e-9"), "{} {raw}", scores["meld_unos"]);
    assert_eq!(scores["meld_unos"]["value"], json!(25));
    assert_eq!(scores["meld_na"]["value"], json!(25), "sodium 137 adds nothing");
    // Bilirubin above 3: 3; albumin 2.8: 2; INR 2.0: 2; mild: 2; none: 1.
    assert_eq!((&scores["child_pugh"]["value"], &scores["child_pugh"]["class"]), (&json!(10), &json!("C")));
    let albi = 0.66 * 54.0f64.log10() - 0.085 * 28.0;
    assert!(near(&scores["albi"]["raw"], &albi.to_string(), "1e-9"), "{}", scores["albi"]);
    assert_eq!(scores["albi"]["grade"], json!(3));
    let fib4 = 54.0 * 80.0 / (90.0 * 60.0f64.sqrt());
    assert!(near(&scores["fib4"]["raw"], &fib4.to_string(), "1e-9"), "{}", scores["fib4"]);
    assert_eq!(scores["meld_original"]["status"], "range", "the aetiology is missing");
    assert_eq!(scores["meld_original"]["missing"], json!(["etiology"]));
    assert_eq!(scores["meld3"]["status"], "known");
    for name in
        ["meld_original", "meld_unos", "meld_na", "meld3", "child_pugh", "albi", "fib4", "apri", "ukeld"]
    {
        assert!(scores.get(name).is_some(), "{name}");
    }
}

/// A quantity shows in a score that follows it exactly.
#[test]
fn units_of_each_analyte() {
    // Names of the table, ours, and what else the score needs; the value in the canonical unit comes back
    // as the ratio of two scores.
    let table = fs::read_to_string(fixture("units/units.csv")).expect("a fixture");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let rows: Vec<Line> = reader.deserialize().collect::<Result<_, _>>().expect("rows");
    assert_eq!(rows.len(), 14);
    let name = |analyte: &str| analyte.to_lowercase();
    for row in &rows {
        let variable = name(&row["analyte"]);
        if variable == "weight" {
            continue; // no variable of the trial: `clinical::unit` tests the factor
        }
        let given = format!("{} {}", row["value"], row["from_unit"]);
        let others = json!({"bilirubin_total": "20 umol/L", "inr": "1.3", "creatinine": "1.2 mg/dL", "albumin": "30 g/L",
                            "ast": "50 U/L", "alt": "50 U/L", "platelets": "100 10*9/L", "age": 50, "sodium": "135 mmol/L"});
        let with = |text: &str| {
            let mut all = others.clone();
            all[&variable] = text.into();
            one(all)
        };
        let got = with(&given);
        if row["expected"] == "REJECT" {
            assert_eq!(got["gaps"][0]["variable"], variable.as_str(), "{}", row["id"]);
            assert_eq!(got["gaps"][0]["reason"], "unit-unknown", "{}", row["id"]);
            continue;
        }
        let expected = with(&format!("{} {}", row["expected"], row["to_unit"]));
        assert_eq!(got["gaps"], json!([]), "{}", row["id"]);
        for score in ["meld_unos", "child_pugh", "albi", "fib4", "apri", "ukeld"] {
            let (a, b) = (&got["scores"][score], &expected["scores"][score]);
            let (a, b) = (a["raw"].as_f64(), b["raw"].as_f64());
            match (a, b) {
                (Some(a), Some(b)) => {
                    assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{} {score}: {a} {b}", row["id"])
                }
                _ => assert_eq!(a, b, "{} {score}", row["id"]),
            }
        }
        // And it is read at all: another value gives another score.
        let doubled =
            with(&format!("{} {}", row["expected"].parse::<f64>().expect("a number") * 1.5, row["to_unit"]));
        assert_ne!(doubled["scores"], got["scores"], "{}", row["id"]);
    }
}

#[test]
fn comparators_and_what_cannot_be_used() {
    let base = json!({"bilirubin_total": "0.5 mg/dL", "inr": "1.5", "creatinine": "1.2 mg/dL"});
    let with = |name: &str, value: Value| {
        let mut all = base.clone();
        all[name] = value;
        one(all)
    };
    let meld = |line: &Value| {
        (line["scores"]["meld_unos"]["status"].clone(), line["scores"]["meld_unos"]["value"].clone())
    };
    let known = meld(&one(base.clone()));
    assert_eq!(known.0, "known");
    for text in ["<0.3 mg/dL", "< 0.3 mg/dL", "<=1.0 mg/dL", "<17.1 umol/L"] {
        assert_eq!(meld(&with("bilirubin_total", text.into())), known, "{text}");
    }
    for text in [">1.0 mg/dL", "<1.2 mg/dL", ">=0.3 mg/dL"] {
        assert_ne!(meld(&with("bilirubin_total", text.into())).0, "known", "{text}");
    }
    assert_eq!(meld(&with("creatinine", ">4.0 mg/dL".into())), meld(&with("creatinine", "4.0 mg/dL".into())));
    for (name, value, reason) in [
        ("bilirubin_total", json!("0.5"), "unit-missing"),
        ("bilirubin_total", json!(0.5), "unit-missing"),
        ("bilirubin_total", json!("0.5 mg"), "unit-unknown"),
        ("bilirubin_total", json!("0,5 mg/dL"), "value-invalid"),
        ("bilirubin_total", json!("low"), "value-invalid"),
        ("bilirubin_total", json!("-1 mg/dL"), "implausible"),
        ("bilirubin_total", json!("<0 mg/dL"), "implausible"),
        ("bilirubin_total", json!("1e400 mg/dL"), "value-invalid"),
        ("bilirubin_total", json!(["0.5 mg/dL"]), "unexpected-type"),
        ("creatinine", json!("88 mg/dL"), "implausible"),
        ("inr", json!("1.5 s"), "unit-unknown"),
        ("inr", json!(true), "value-invalid"),
        ("age", json!("-1"), "implausible"),
        ("age", json!("600 mo"), "unit-unknown"),
        ("sex", json!("f?"), "value-invalid"),
        ("ascites", json!("some"), "value-invalid"),
        ("encephalopathy", json!("5"), "value-invalid"),
        ("dialysis", json!("maybe"), "value-invalid"),
        ("etiology", json!("viral"), "value-invalid"),
        ("pt_prolongation", json!("5 min"), "unit-unknown"),
        ("bilirubin", json!("0.5 mg/dL"), "unknown-variable"),
        ("weight", json!("70 kg"), "unknown-variable"),
    ] {
        let line = with(name, value.clone());
        let gaps = line["gaps"].as_array().expect("gaps");
        assert_eq!(gaps.len(), 1, "{name} {value}");
        assert_eq!((&gaps[0]["variable"], &gaps[0]["reason"]), (&json!(name), &json!(reason)), "{value}");
        assert_eq!(gaps[0]["path"], format!("variables.{name}"));
    }
    // Every documented name is taken.
    let all = json!({"alt": "60 U/L", "ast": "80 U/L", "alp": "120 U/L", "bilirubin_total": "2 mg/dL", "albumin": "28 g/L",
        "inr": "1.5", "pt": "16 s", "creatinine": "1 mg/dL", "sodium": "137 mmol/L", "platelets": "90 10*9/L",
        "ascites": "none", "encephalopathy": 0, "dialysis": "no", "sex": "male", "age": "54 a", "pt_prolongation": "5 s",
        "pbc_or_psc": false, "etiology": "cholestatic-alcoholic"});
    let line = one(all);
    assert_eq!(line["gaps"], json!([]));
    for name in
        ["meld_original", "meld_unos", "meld_na", "meld3", "child_pugh", "albi", "fib4", "apri", "ukeld"]
    {
        assert_eq!(line["scores"][name]["status"], "known", "{name}");
    }
}

#[test]
fn what_is_missing_is_named_and_never_assumed() {
    let line = one(json!({"bilirubin_total": "2 mg/dL", "albumin": "28 g/L", "inr": "1.5"}));
    let child_pugh = &line["scores"]["child_pugh"];
    assert_eq!(child_pugh["status"], "range");
    assert_eq!(child_pugh["missing"], json!(["ascites", "encephalopathy"]));
    assert_eq!((child_pugh["low"].as_i64(), child_pugh["high"].as_i64()), (Some(7), Some(11)));
    // The score bounds creatinine itself, from 1.0 to 4.0.
    assert_eq!(line["scores"]["meld_unos"]["status"], "range");
    assert_eq!(line["scores"]["meld_unos"]["missing"], json!(["creatinine"]));
    assert_eq!(one(json!({"creatinine": "1 mg/dL"}))["scores"]["meld_unos"]["status"], "unknown");
    // Nothing said of dialysis: none; said to be unknown: both.
    let meld = |extra: Value| {
        let mut all = json!({"bilirubin_total": "2 mg/dL", "creatinine": "1 mg/dL", "inr": "1.5"});
        all.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        one(all)["scores"]["meld_unos"].clone()
    };
    assert_eq!(meld(json!({})), meld(json!({"dialysis": false})));
    assert_eq!(meld(json!({"dialysis": "unknown"}))["missing"], json!(["dialysis"]));
    assert_eq!(meld(json!({"dialysis": "maybe"}))["missing"], json!(["dialysis"]));
    let on = meld(json!({"dialysis": true}));
    assert!(on["value"].as_i64() > meld(json!({}))["value"].as_i64(), "{on}");
}

#[test]
fn a_bad_line_is_named_and_the_others_are_scored() {
    let good = r#"{"id":"x","variables":{"bilirubin_total":"2 mg/dL","albumin":"28 g/L"}}"#;
    let long = format!(r#"{{"id":"{}","variables":{{}}}}"#, "a".repeat(5 << 20));
    let folder = tempfile::tempdir().expect("a folder");
    let lines: [&[u8]; 12] = [
        good.as_bytes(),
        b"{\"id\":1,",
        b"",
        b"[1]",
        b"{\"id\":1}",
        b"{\"id\":1,\"variables\":[]}",
        b"{\"id\":1,\"variables\":{\"inr\":\"1\",\"inr\":\"2\"}}",
        b"{\"id\":1,\"id\":2,\"variables\":{}}",
        b"{\"id\":\"\xff\",\"variables\":{}}",
        long.as_bytes(),
        b"{\"id\":1,\"variables\":{}} x",
        good.as_bytes(),
    ];
    for end in [&b"\n"[..], b"\r\n"] {
        fs::write(folder.path().join("in.ndjson"), lines.join(end)).expect("a file");
        let ran = run_in(folder.path(), &["score", "in.ndjson"], b"");
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert_eq!(ran.lines().len(), 2);
        for line in [2, 4, 5, 6, 7, 8, 9, 10, 11] {
            let named = ran.stderr.lines().filter(|l| l.contains(&format!("in.ndjson:{line}: "))).count();
            assert_eq!(named, 1, "line {line}: {}", ran.stderr);
        }
        assert_eq!(ran.stderr.lines().count(), 9, "{}", ran.stderr);
    }
    let bom = run(&["score"], format!("\u{feff}{good}\n").as_bytes());
    assert_eq!((bom.code, bom.lines().len()), (0, 1));
    assert_eq!(run(&["score", "no-such-file"], b"").code, 1);
    assert_eq!(run(&["score"], b"").code, 0);
}
