//! `screen --out` and `--format`: which format comes out, where to, and what a run that fails leaves behind.

use crate::resources::*;
use crate::runner::*;
use std::fs;
use std::path::Path;

fn input() -> Vec<u8> {
    let mut lines = lines_of("one", &eligible());
    lines.extend(lines_of("two", &[woman()]));
    lines.join("\n").into_bytes()
}

fn screened(folder: &Path, args: &[&str]) -> Ran {
    let all: Vec<&str> = ["screen", "-", "--as-of", AS_OF].iter().chain(args).copied().collect();
    run_in(folder, &all, &input())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder can be listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// How a file of a format begins.
const NDJSON: &[u8] = b"{\"schema\":\"trialbridge/screen/v1\"";
const CSV: &[u8] = b"subject,attached_to,as_of,decision,";
const PARQUET: &[u8] = b"PAR1";

#[test]
fn the_ending_or_the_option_says_the_format() {
    for (args, name, begins) in [
        (vec!["--out", "rows.csv"], "rows.csv", CSV),
        (vec!["--out", "rows.parquet"], "rows.parquet", PARQUET),
        (vec!["--out", "rows.ndjson"], "rows.ndjson", NDJSON),
        (vec!["--out", "rows"], "rows", NDJSON),
        (vec!["--out", "rows.csv", "--format", "parquet"], "rows.csv", PARQUET),
        (vec!["--out", "rows.txt", "--format", "csv"], "rows.txt", CSV),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let ran = screened(folder.path(), &args);
        assert_eq!((ran.code, ran.text()), (0, ""), "{args:?}: {}", ran.stderr);
        assert_eq!(names(folder.path()), [name], "{args:?}");
        let bytes = fs::read(folder.path().join(name)).expect("the file");
        assert!(bytes.starts_with(begins), "{args:?}");
    }
}

#[test]
fn standard_output_takes_text_and_no_parquet() {
    let folder = tempfile::tempdir().expect("a folder");
    let csv = screened(folder.path(), &["--format", "csv"]);
    assert_eq!(csv.code, 0, "{}", csv.stderr);
    assert!(csv.stdout.starts_with(CSV));
    let mut reader = csv::Reader::from_reader(&csv.stdout[..]);
    let rows: Vec<csv::StringRecord> = reader.records().map(|r| r.expect("a row")).collect();
    let start: Vec<Vec<&str>> = rows.iter().map(|r| r.iter().take(4).collect()).collect();
    assert_eq!(start, [["Patient/one", "", AS_OF, "eligible"], ["Patient/two", "", AS_OF, "undetermined"]],);
    let ndjson = screened(folder.path(), &["--format", "ndjson"]);
    assert_eq!(ndjson.lines().len(), 2);
    assert_eq!(ndjson.stdout, screened(folder.path(), &["-o", "ndjson"]).stdout);
    // Refused before anything is read.
    let parquet = screened(folder.path(), &["--format", "parquet"]);
    assert_eq!((parquet.code, parquet.text()), (2, ""));
    assert!(parquet.stderr.contains("--out rows.parquet"), "{}", parquet.stderr);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn the_file_of_a_run_that_fails_is_not_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("rows.csv");
    fs::write(&place, "of an earlier run").expect("a file");
    // The attestations cannot be opened: the run ends after the output was begun.
    let ran = screened(folder.path(), &["--out", "rows.csv", "--attestations", "no-such.csv"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&place).expect("the file"), "of an earlier run");
    assert_eq!(names(folder.path()), ["rows.csv"]);
    let ran = screened(folder.path(), &["--out", "rows.csv"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(fs::read(&place).expect("the file").starts_with(CSV));
    assert_eq!(names(folder.path()), ["rows.csv"]);
    let nowhere = screened(folder.path(), &["--out", "no/such/folder/rows.csv"]);
    assert_eq!(nowhere.code, 1);
    assert!(nowhere.stderr.contains("no/such/folder/rows.csv cannot be written"), "{}", nowhere.stderr);
}

#[test]
fn two_runs_give_the_same_bytes() {
    for name in ["rows.csv", "rows.parquet", "rows.ndjson"] {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = || {
            let ran = screened(folder.path(), &["--out", name]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            fs::read(folder.path().join(name)).expect("the file")
        };
        assert!(bytes() == bytes(), "{name}");
    }
}
