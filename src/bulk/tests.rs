//! The bulk screening against [`Collection`], which holds everything in memory.

use super::*;
use crate::collection::Collection;
use crate::source::files;
use proptest::prelude::*;
use std::io::Cursor;

fn as_of() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 22).expect("a day")
}

fn options() -> Options {
    Options { threads: NonZero::new(3).expect("three"), ..Options::new(as_of()) }
}

/// Lines of JSON, what could not be read, and what was gone through.
fn bulk(input: &[u8], options: &Options) -> (String, Vec<String>, Summary) {
    let blocks = Blocks::of("f", Box::new(Cursor::new(input.to_vec())));
    let mut out = String::new();
    let summary = run(
        &Trial::shipped(),
        blocks,
        Vec::new(),
        options,
        To {
            begin: &String::new,
            render: &|screening, lines: &mut String| {
                lines.push_str(&serde_json::to_string(&screening)?);
                lines.push('\n');
                Ok(())
            },
            emit: &mut |lines| {
                out.push_str(&lines);
                Ok(())
            },
        },
    )
    .expect("screened");
    let problems = summary.problems.iter().map(ToString::to_string).collect();
    (out, problems, summary)
}

fn collected(input: &[u8]) -> (String, Vec<String>) {
    let trial = Trial::shipped();
    let mut collection = Collection::new(&trial);
    let blocks = Blocks::of("f", Box::new(Cursor::new(input.to_vec())));
    let problems = files::drain(blocks, &mut |bytes, place| collection.add(bytes, place));
    let settled = collection.settle();
    let lines = settled.screen(as_of()).map(|s| serde_json::to_string(&s).expect("JSON") + "\n").collect();
    (lines, problems.iter().map(ToString::to_string).collect())
}

fn nowhere<'a>(emit: &'a mut (dyn FnMut(()) -> io::Result<()> + Send)) -> To<'a, ()> {
    To { begin: &|| (), render: &|_, ()| Ok(()), emit }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/cohort/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    let problems = files::read(&[path.into()], &mut |bytes, _| {
        all.extend_from_slice(bytes);
        all.push(b'\n');
        Ok(())
    });
    assert!(problems.is_empty(), "{problems:?}");
    all
}

#[test]
fn a_cohort_gives_the_same_from_memory_and_from_many_small_runs() {
    let mut input = fixture("cirrhosis-6.ndjson.gz");
    input.extend(fixture("additions.ndjson"));
    let (expected, problems) = collected(&input);
    assert!(problems.is_empty() && expected.lines().count() >= 6);
    for run in [200, 5_000, 4 << 20] {
        let (lines, problems, summary) = bulk(&input, &Options { run, ..options() });
        assert_eq!(lines, expected, "runs of {run} bytes");
        assert!(problems.is_empty());
        assert_eq!(summary.patients(), expected.lines().count() as u64);
    }
}

#[test]
fn one_worker_and_many_give_the_same() {
    let input = fixture("cirrhosis-6.ndjson.gz");
    let one = Options { threads: NonZero::<usize>::MIN, run: 3_000, ..options() };
    let many = Options { threads: NonZero::new(7).expect("seven"), run: 3_000, ..options() };
    let (first, ..) = bulk(&input, &one);
    for _ in 0..3 {
        assert_eq!(bulk(&input, &many).0, first);
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_said() {
    let input = fixture("cirrhosis-6.ndjson.gz");
    let blocks = Blocks::of("f", Box::new(Cursor::new(input)));
    let options = Options { run: 100, temporary: "/no/such/folder".into(), ..options() };
    let end = run(&Trial::shipped(), blocks, Vec::new(), &options, nowhere(&mut |()| Ok(())));
    let error = end.expect_err("there is no such folder").to_string();
    assert!(error.contains("/no/such/folder") && error.contains("--temp-dir"), "{error}");
}

#[test]
fn an_output_that_is_closed_ends_it() {
    let input = fixture("cirrhosis-6.ndjson.gz");
    let blocks = Blocks::of("f", Box::new(Cursor::new(input)));
    let mut emit = |()| Err(io::ErrorKind::BrokenPipe.into());
    let end = run(&Trial::shipped(), blocks, Vec::new(), &options(), nowhere(&mut emit));
    assert!(matches!(end, Err(BulkError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe));
}

/// The others wait for the turn of the one that fails: they have to be told.
#[test]
fn a_worker_that_panics_ends_it() {
    let patient = |n: u32| format!(r#"{{"resourceType":"Patient","id":"p{n:04}","gender":"female"}}"#);
    let input = (0..2_000).map(patient).collect::<Vec<_>>().join("\n").into_bytes();
    let (waiting, entered) = (std::sync::Condvar::new(), Mutex::new(0));
    let render = move |screening: Screening<'_>, (): &mut ()| {
        let mut count = lock(&entered);
        *count += 1;
        waiting.notify_all();
        if screening.subject.contains("p0000") {
            // Not before the others have gone on as far as they may.
            while *count < 300 {
                count = waiting.wait(count).unwrap_or_else(PoisonError::into_inner);
            }
            panic!("on purpose");
        }
        Ok(())
    };
    let (told, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let screened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let blocks = Blocks::of("f", Box::new(Cursor::new(input)));
            let to = To { begin: &|| (), render: &render, emit: &mut |()| Ok(()) };
            run(&Trial::shipped(), blocks, Vec::new(), &options(), to).map(drop)
        }));
        told.send(screened.is_err())
    });
    assert_eq!(ended.recv_timeout(std::time::Duration::from_secs(60)), Ok(true));
}

#[test]
fn the_prefilter_changes_no_decision_of_clean_records() {
    let mut input = fixture("cirrhosis-6.ndjson.gz");
    input.extend(fixture("additions.ndjson"));
    let (all, _, whole) = bulk(&input, &options());
    let (lines, _, filtered) = bulk(&input, &Options { prefilter: true, ..options() });
    assert!(filtered.skipped > 0 && filtered.skipped + filtered.resources == whole.resources);
    let decision = |line: &str| {
        let mut screening: serde_json::Value = serde_json::from_str(line).expect("JSON");
        screening["gaps"] = serde_json::Value::Null;
        screening.to_string()
    };
    let decisions = |lines: &str| lines.lines().map(decision).collect::<Vec<_>>();
    assert_eq!(decisions(&lines), decisions(&all));
}

#[test]
fn a_correction_that_the_prefilter_passes_over_leaves_the_result_unknown() {
    let patient = r#"{"resourceType":"Patient","id":"p1","gender":"female","birthDate":"1970-01-01"}"#;
    let result = |version: &str, code: &str| {
        format!(
            r#"{{"resourceType":"Observation","id":"o1","meta":{{"versionId":"{version}"}},"status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},"subject":{{"reference":"Patient/p1"}},"effectiveDateTime":"2026-11-20","valueQuantity":{{"value":80,"unit":"U/L","code":"U/L"}}}}"#
        )
    };
    let input = [patient.into(), result("1", "1742-6"), result("2", "8867-4")].join("\n");
    let (lines, ..) = bulk(input.as_bytes(), &Options { prefilter: true, ..options() });
    assert!(lines.contains("version-conflict") && !lines.contains("\"alt\":{"), "{lines}");
    let (lines, ..) = bulk(input.as_bytes(), &options());
    assert!(!lines.contains("version-conflict") && !lines.contains("\"alt\":{"), "{lines}");
}

/// A line of an input in which resources are corrected, moved, deleted, repeated and broken.
fn a_line() -> impl Strategy<Value = String> {
    let subject = prop::sample::select(vec!["p1", "p2", "p3", "a", "p10"]);
    let meta = (prop::option::of(1..4u8), prop::option::of(1..4u8)).prop_map(|(version, day)| {
        let version = version.map(|v| format!(r#""versionId":"{v}""#));
        let day = day.map(|d| format!(r#""lastUpdated":"2026-11-0{d}T00:00:00Z""#));
        version.into_iter().chain(day).collect::<Vec<_>>().join(",")
    });
    let code = prop::sample::select(vec!["1742-6", "1975-2", "8867-4", "2160-0", "nonsense"]);
    let result = (0..6u8, meta.clone(), subject.clone(), code, 1..400u16, prop::bool::weighted(0.9)).prop_map(
        |(id, meta, subject, code, value, is_final)| {
            let status = if is_final { "final" } else { "entered-in-error" };
            format!(
                r#"{{"resourceType":"Observation","id":"o{id}","meta":{{{meta}}},"status":"{status}","code":{{"coding":[{{"system":"http://loinc.org","code":"{code}"}}]}},"subject":{{"reference":"Patient/{subject}"}},"effectiveDateTime":"2026-11-2{}","valueQuantity":{{"value":{value},"unit":"U/L","code":"U/L"}}}}"#,
                id % 3
            )
        },
    );
    let patient = (subject.clone(), meta.clone(), 1930..2010u16).prop_map(|(id, meta, year)| {
        format!(
            r#"{{"resourceType":"Patient","id":"{id}","meta":{{{meta}}},"gender":"male","birthDate":"{year}-05-05"}}"#
        )
    });
    let order = (0..3u8, 0..3u8, subject.clone()).prop_map(|(id, drug, subject)| {
        format!(
            r#"{{"resourceType":"MedicationRequest","id":"m{id}","status":"active","intent":"order","medicationReference":{{"reference":"Medication/d{drug}"}},"subject":{{"reference":"Patient/{subject}"}},"authoredOn":"2026-11-01"}}"#
        )
    });
    let drug = (0..3u8, meta.clone(), prop::sample::select(vec!["L04AD02", "N02BE01"])).prop_map(|(id, meta, code)| {
        format!(
            r#"{{"resourceType":"Medication","id":"d{id}","meta":{{{meta}}},"code":{{"coding":[{{"system":"http://www.whocc.no/atc","code":"{code}"}}]}}}}"#
        )
    });
    let deletion = (0..6u8).prop_map(|id| {
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"request":{{"method":"DELETE","url":"Observation/o{id}"}}}}]}}"#
        )
    });
    let broken = prop::sample::select(vec![
        r#"{"resourceType":"Observation","id":"o1","status":{},"subject":{"reference":"Patient/p2"}}"#.to_owned(),
        r#"{"resourceType":"Observation""#.to_owned(),
        r#"{"resourceType":"Observation","id":"o9","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1742-6"}]}}"#.to_owned(),
        String::new(),
    ]);
    prop_oneof![8 => result, 2 => patient, 1 => order, 1 => drug, 1 => deletion, 1 => broken]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_input_gives_what_memory_gives(lines in prop::collection::vec(a_line(), 1..60), run in 60..4000usize) {
        let input = format!("{{\"resourceType\":\"Basic\"}}\n{}", lines.join("\n"));
        let (expected, problems) = collected(input.as_bytes());
        let (lines, found, _) = bulk(input.as_bytes(), &Options { run, ..options() });
        prop_assert_eq!(lines, expected);
        prop_assert_eq!(found, problems);
    }
}
