//! Whole answers: `fixtures/screen/CASE/` holds `input.ndjson` or `input.json`, `expected.json` (what has
//! to be in the answer; other keys may stand beside it) and `WHY.md`, the reason in words.

use crate::runner::*;
use serde_json::Value;
use std::fs;

/// Says where `got` lacks something of `expected`. Lists are compared whole; an element of `criteria` by
/// its id.
fn lacks(expected: &Value, got: &Value, path: &str) -> Option<String> {
    match (expected, got) {
        (Value::Object(wanted), Value::Object(_)) => wanted.iter().find_map(|(key, value)| {
            let below = format!("{path}.{key}");
            match (key.as_str(), value) {
                ("criteria", Value::Object(by_id)) => by_id.iter().find_map(|(id, value)| {
                    lacks(value, criterion_of(got, id), &format!("{path}.criteria.{id}"))
                }),
                _ => lacks(value, &got[key], &below),
            }
        }),
        // In short: the verdict alone.
        (Value::String(verdict), Value::Object(judged)) if judged.contains_key("verdict") => {
            (judged["verdict"] != verdict.as_str())
                .then(|| format!("{path}: {}, not {verdict}", judged["verdict"]))
        }
        (Value::Array(wanted), Value::Array(all)) if wanted.len() == all.len() => {
            wanted.iter().zip(all).enumerate().find_map(|(at, (a, b))| lacks(a, b, &format!("{path}[{at}]")))
        }
        (Value::Number(a), Value::Number(b)) => {
            let apart = (a.as_f64().unwrap_or(f64::NAN) - b.as_f64().unwrap_or(f64::NAN)).abs();
            (apart > 1e-6 || apart.is_nan()).then(|| format!("{path}: {b}, not {a}"))
        }
        _ => (expected != got).then(|| format!("{path}: {got}, not {expected}")),
    }
}

#[test]
fn the_annotated_cases() {
    let mut cases: Vec<_> = fs::read_dir(fixture("screen"))
        .expect("the folder of the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(cases.len() >= 10, "only {} cases", cases.len());
    for case in cases {
        let name = case.file_name().expect("a name").to_string_lossy().into_owned();
        let why = fs::read_to_string(case.join("WHY.md")).unwrap_or_default();
        assert!(why.len() > 80, "{name} does not say why");
        let input = ["input.ndjson", "input.json"].map(|f| case.join(f)).into_iter().find(|f| f.exists());
        let input = input.unwrap_or_else(|| panic!("{name} has no input"));
        let mut args = vec!["screen", input.to_str().expect("a path"), "--as-of", AS_OF];
        let (site, said) = (case.join("site.toml"), case.join("attestations.csv"));
        if site.exists() {
            args.extend(["--site", site.to_str().expect("a path")]);
        }
        if said.exists() {
            args.extend(["--attestations", said.to_str().expect("a path")]);
        }
        let ran = run(&args, b"");
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        let text = fs::read_to_string(case.join("expected.json")).expect("what is expected");
        let expected: Vec<Value> = serde_json::from_str(&text).expect("a list of answers");
        let lines = ran.lines();
        assert_eq!(lines.len(), expected.len(), "{name}");
        for (wanted, got) in expected.iter().zip(&lines) {
            if let Some(what) = lacks(wanted, got, "") {
                panic!("{name}: {what}\n{got}");
            }
        }
    }
}
