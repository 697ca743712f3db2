//! Dialysis in the week before the creatinine: two sessions, or 24 hours of continuous treatment (OPTN policy
//! 9.1.D). What the record leaves open is open, and no day or hour is added to it.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};

/// A name, what is recorded beside a man, and whether he was dialysed; `null` is not known.
type Line = (&'static str, Vec<Value>, Value);

/// When the creatinine was taken in these tables; the week before it begins on the 13th at the same time.
const TAKEN: &str = "2026-11-20T08:00:00+08:00";

fn creatinine(when: &str) -> Value {
    lab("2160-0", "1.5", "mg/dL", when)
}

fn session(when: &str) -> Value {
    procedure(SNOMED, "302497006", when)
}

fn cvvhd(period: Value) -> Value {
    with(procedure(SNOMED, "714749008", ""), json!({"performedDateTime": null, "performedPeriod": period}))
}

fn run(start: &str, end: &str) -> Value {
    cvvhd(json!({"start": start, "end": end}))
}

fn undated(procedure: Value) -> Value {
    with(procedure, json!({"performedDateTime": null, "performedPeriod": null}))
}

fn unsure(procedure: Value) -> Value {
    with(procedure, json!({"status": "unknown"}))
}

/// Screens the lines, each with a man and, unless it brings one of its own, the creatinine of `TAKEN`.
fn judge(lines: Vec<Line>, site: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("site.toml");
    std::fs::write(&path, site).expect("a site file");
    let path = path.to_str().expect("a path").to_owned();
    let rows: Vec<Row> = lines
        .iter()
        .map(|(name, resources, _)| {
            let own = !resources.iter().any(|r| r["resourceType"] == "Observation");
            let taken = own.then(|| creatinine(TAKEN));
            ((*name).to_owned(), [man()].into_iter().chain(taken).chain(resources.clone()).collect())
        })
        .collect();
    for ((name, _, expected), screening) in lines.iter().zip(screen_table(&rows, &["--site", &path])) {
        assert_eq!(&screening["variables"]["dialysis"]["value"], expected, "{name}");
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn signs_of_it() {
    let open = || Value::Null;
    judge(
        vec![
            ("none", vec![], json!(false)),
            ("another disease", vec![condition(WHO, "K74.6")], json!(false)),
            ("another procedure", vec![procedure(SNOMED, "18027006", "2026-11-19")], json!(false)),
            ("end-stage renal disease", vec![condition(WHO, "N18.5")], open()),
            ("end-stage renal disease, over", vec![with(condition(WHO, "N18.5"), clinical("resolved"))], json!(false)),
            ("coded as after dialysis", vec![lab("11042-9", "1.5", "mg/dL", TAKEN)], open()),
            ("coded as from whole blood", vec![lab("38483-4", "1.5", "mg/dL", TAKEN)], json!(false)),
            ("a session, nobody knows when", vec![undated(session(""))], open()),
            ("a continuous treatment, nobody knows when", vec![undated(cvvhd(json!({})))], open()),
            ("no creatinine, one session in the last week", vec![observation("1751-7", TAKEN), session("2026-11-19")], open()),
            ("no creatinine, two sessions before it", vec![observation("1751-7", TAKEN), session("2026-11-13"), session("2026-11-14")], json!(false)),
        ],
        "id = \"plain\"\n",
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn two_sessions() {
    let open = || Value::Null;
    judge(
        vec![
            ("two", vec![session("2026-11-17"), session("2026-11-19")], json!(true)),
            ("three", vec![session("2026-11-15"), session("2026-11-17"), session("2026-11-19")], json!(true)),
            ("two on one day", vec![session("2026-11-19"), session("2026-11-19")], open()),
            ("one", vec![session("2026-11-19")], open()),
            ("one in the week, one before", vec![session("2026-11-12"), session("2026-11-19")], open()),
            ("both before the week", vec![session("2026-11-11"), session("2026-11-12")], json!(false)),
            ("both after the creatinine", vec![session("2026-11-21"), session("2026-11-22")], json!(false)),
            ("one of them on its day", vec![session("2026-11-18"), session("2026-11-20")], open()),
            ("one of them not certain", vec![session("2026-11-18"), unsure(session("2026-11-19"))], open()),
            ("one of them planned", vec![session("2026-11-18"), with(session("2026-11-19"), json!({"status": "preparation"}))], open()),
            ("one of them not done", vec![session("2026-11-18"), with(session("2026-11-19"), json!({"status": "not-done"}))], open()),
            ("one of them undated", vec![session("2026-11-18"), undated(session(""))], open()),
            // Days: the 13th may lie before the hour at which the week begins, the 14th may not.
            ("days, from the first whole day", vec![session("2026-11-14"), session("2026-11-19")], json!(true)),
            ("days, one of them on the day on which the week begins", vec![session("2026-11-13"), session("2026-11-19")], open()),
            ("a day on which the week begins is a sign", vec![session("2026-11-13")], open()),
            ("the day before is none", vec![session("2026-11-12")], json!(false)),
            // Times: to the second.
            ("from the first second of the week", vec![session("2026-11-13T08:00:00+08:00"), session("2026-11-20T08:00:00+08:00")], json!(true)),
            ("a second before the week", vec![session("2026-11-13T07:59:59+08:00"), session("2026-11-19T08:00:00+08:00")], open()),
            ("the last second before the week is no sign", vec![session("2026-11-13T07:59:59+08:00")], json!(false)),
            ("the first second of it is", vec![session("2026-11-13T08:00:00+08:00")], open()),
            ("a second after the creatinine", vec![session("2026-11-18T08:00:00+08:00"), session("2026-11-20T08:00:01+08:00")], open()),
            ("in another time zone", vec![session("2026-11-13T00:00:00Z"), session("2026-11-19T23:59:59-01:00")], open()),
            ("in the minute of the creatinine", vec![session("2026-11-18T08:00:00+08:00"), session("2026-11-20T08:00+08:00")], open()),
            ("in the minute in which the week begins", vec![session("2026-11-13T07:59+08:00"), session("2026-11-19T08:00:00+08:00")], open()),
            // The creatinine has a day and no time.
            ("times in the week before a day", vec![creatinine("2026-11-20"), session("2026-11-14T01:00:00+08:00"), session("2026-11-19T23:00:00+08:00")], json!(true)),
            ("a time on the day on which that week begins", vec![creatinine("2026-11-20"), session("2026-11-13T23:00:00+08:00"), session("2026-11-19T08:00:00+08:00")], open()),
            ("a time on its day", vec![creatinine("2026-11-20"), session("2026-11-18T08:00:00+08:00"), session("2026-11-20T01:00:00+08:00")], open()),
            ("a time before the days of that week", vec![creatinine("2026-11-20"), session("2026-11-12T23:00:00+08:00")], json!(false)),
        ],
        "id = \"plain\"\n",
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_day_of_continuous_treatment() {
    let open = || Value::Null;
    judge(
        vec![
            ("a day", vec![run("2026-11-18T08:00:00+08:00", "2026-11-19T08:00:00+08:00")], json!(true)),
            ("a second less", vec![run("2026-11-18T08:00:00+08:00", "2026-11-19T07:59:59+08:00")], open()),
            ("a day in two parts", vec![run("2026-11-17T08:00:00+08:00", "2026-11-17T20:00:00+08:00"), run("2026-11-18T08:00:00+08:00", "2026-11-18T20:00:00+08:00")], json!(true)),
            ("less in two parts", vec![run("2026-11-17T08:00:00+08:00", "2026-11-17T20:00:00+08:00"), run("2026-11-18T08:00:00+08:00", "2026-11-18T19:59:59+08:00")], open()),
            ("a day that is not certain", vec![unsure(run("2026-11-18T08:00:00+08:00", "2026-11-19T08:00:00+08:00"))], open()),
            ("ten days, a day of them in the week", vec![run("2026-11-04T08:00:00+08:00", "2026-11-14T08:00:00+08:00")], json!(true)),
            ("ten days, a second less in the week", vec![run("2026-11-04T08:00:00+08:00", "2026-11-14T07:59:59+08:00")], open()),
            ("two days, one of them before the creatinine", vec![run("2026-11-19T08:00:00+08:00", "2026-11-21T08:00:00+08:00")], json!(true)),
            ("two days, a second less before it", vec![run("2026-11-19T08:00:01+08:00", "2026-11-21T08:00:00+08:00")], open()),
            ("ended before the week", vec![run("2026-11-01T08:00:00+08:00", "2026-11-13T07:59:59+08:00")], json!(false)),
            ("begun after the creatinine", vec![run("2026-11-20T08:00:01+08:00", "2026-11-21T08:00:00+08:00")], json!(false)),
            // Days without times: only the days between the first and the last are whole.
            ("three days, one of them whole", vec![run("2026-11-16", "2026-11-18")], json!(true)),
            ("two days, none of them whole", vec![run("2026-11-16", "2026-11-17")], open()),
            ("one day", vec![run("2026-11-17", "2026-11-17")], open()),
            ("days, one whole one before the creatinine", vec![run("2026-11-18", "2026-11-22")], json!(true)),
            ("days, none whole before the creatinine", vec![run("2026-11-19", "2026-11-22")], open()),
            ("days, one whole one in the week", vec![run("2026-11-01", "2026-11-16")], json!(true)),
            ("days, none whole in the week", vec![run("2026-11-01", "2026-11-15")], open()),
            ("times, before a day", vec![creatinine("2026-11-20"), run("2026-11-17T23:00:00+08:00", "2026-11-19T01:00:00+08:00")], json!(true)),
            ("times, before a day, none whole", vec![creatinine("2026-11-20"), run("2026-11-18T01:00:00+08:00", "2026-11-19T23:00:00+08:00")], open()),
            // Nobody wrote down how long it lasted.
            ("an end that is not known", vec![cvvhd(json!({"start": "2026-11-15T08:00:00+08:00"}))], open()),
            ("a start that is not known", vec![cvvhd(json!({"end": "2026-11-15T08:00:00+08:00"}))], open()),
            ("a day and no length", vec![procedure(SNOMED, "714749008", "2026-11-17")], open()),
            ("a second and no length", vec![procedure(SNOMED, "714749008", "2026-11-17T08:00:00+08:00")], open()),
            ("a session besides does not make it", vec![run("2026-11-18T08:00:00+08:00", "2026-11-18T20:00:00+08:00"), session("2026-11-17")], open()),
        ],
        "id = \"plain\"\n",
    );
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_complete_record_shows_that_it_was_too_little() {
    let open = || Value::Null;
    judge(
        vec![
            ("end-stage renal disease", vec![condition(WHO, "N18.5")], json!(false)),
            ("one session", vec![session("2026-11-19")], json!(false)),
            ("two", vec![session("2026-11-17"), session("2026-11-19")], json!(true)),
            ("two, one of them not certain", vec![session("2026-11-17"), unsure(session("2026-11-19"))], open()),
            ("two, nobody knows when", vec![undated(session("")), undated(with(session(""), json!({"id": "$P-x"})))], open()),
            ("one, nobody knows when", vec![undated(session(""))], json!(false)),
            ("a continuous treatment, nobody knows when", vec![undated(cvvhd(json!({})))], open()),
            ("half a day", vec![run("2026-11-18T08:00:00+08:00", "2026-11-18T20:00:00+08:00")], json!(false)),
            ("a second less than a day", vec![run("2026-11-18T08:00:00+08:00", "2026-11-19T07:59:59+08:00")], json!(false)),
            ("a day that is not certain", vec![unsure(run("2026-11-18T08:00:00+08:00", "2026-11-19T08:00:00+08:00"))], open()),
            ("a second less, in two parts", vec![run("2026-11-17T08:00:00+08:00", "2026-11-17T20:00:00+08:00"), unsure(run("2026-11-18T08:00:00+08:00", "2026-11-18T19:59:59+08:00"))], json!(false)),
            ("a day, one part not certain", vec![run("2026-11-17T08:00:00+08:00", "2026-11-17T20:00:00+08:00"), unsure(run("2026-11-18T08:00:00+08:00", "2026-11-18T20:00:00+08:00"))], open()),
            ("a day of which the end lies after the creatinine", vec![run("2026-11-19T09:00:00+08:00", "2026-11-21T08:00:00+08:00")], json!(false)),
            ("a day of which the start lies before the week", vec![run("2026-11-11T08:00:00+08:00", "2026-11-14T07:00:00+08:00")], json!(false)),
            ("two days, none of them whole", vec![run("2026-11-16", "2026-11-17")], open()),
            ("a second and no length", vec![procedure(SNOMED, "714749008", "2026-11-17T08:00:00+08:00")], open()),
        ],
        COMPLETE,
    );
}
