//! Whole rows against the JSON of the same screening, CSV against Parquet, and both against themselves made
//! otherwise.

use super::columnar::{File, WRITER};
use super::group::Group;
use super::row::{Columns, Type};
use super::text::is_risky;
use super::{Clash, Format, Heading, SCHEMA, Shape, Sheet};
use crate::clinical::time::When;
use crate::collection::Collection;
use crate::eligibility::Screening;
use crate::protocol::document::SiteFile;
use crate::protocol::{Definition, Trial};
use crate::source::files;
use ::parquet::basic::Type as Physical;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use chrono::NaiveDate;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

fn as_of() -> NaiveDate {
    "2026-11-22".parse().expect("a day")
}

fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn screened(trial: &Trial, fill: impl FnOnce(&mut Collection<'_>)) -> Vec<Screening<'_>> {
    let mut collection = Collection::new(trial);
    fill(&mut collection);
    collection.settle().screen(as_of()).collect()
}

fn cohort(trial: &Trial) -> Vec<Screening<'_>> {
    screened(trial, |collection| {
        let folder = [project("fixtures/cohort")];
        let problems = files::read(&folder, &mut |bytes, place| collection.add(bytes, place));
        assert_eq!(problems.len(), 0, "{problems:?}");
    })
}

/// Resources of `Patient/p`, as JSON.
fn patient<'t>(trial: &'t Trial, resources: &[&str]) -> Screening<'t> {
    let mut all = screened(trial, |collection| {
        for resource in resources {
            collection.add(resource.as_bytes(), "test").expect("JSON");
        }
    });
    assert_eq!(all.len(), 1, "one patient");
    all.remove(0)
}

fn bilirubin(quantity: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"bili","meta":{{"versionId":"3"}},"status":"final",
            "code":{{"coding":[{{"system":"http://loinc.org","code":"1975-2"}}]}},
            "subject":{{"reference":"Patient/p"}},"effectiveDateTime":"2026-11-20","valueQuantity":{quantity}}}"#
    )
}

const MAN: &str = r#"{"resourceType":"Patient","id":"p","gender":"male","birthDate":"1966-05-01"}"#;

fn written(format: Format, trial: &Trial, screenings: &[Screening]) -> Vec<u8> {
    let shape = Shape::new(format, trial).expect("no two columns of one name");
    let mut sheet = Sheet::new(Vec::new(), &shape, &Heading::new(trial, as_of())).expect("begun");
    for screening in screenings {
        sheet.row(screening).expect("a Vec takes every byte");
    }
    sheet.finish().expect("a Vec takes every byte")
}

/// Names, and the cells of each row, as another reader of CSV sees them.
fn read_csv(bytes: &[u8]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let texts = |r: &csv::StringRecord| r.iter().map(str::to_owned).collect::<Vec<_>>();
    let head = texts(reader.headers().expect("a head"));
    let rows = reader.records().map(|r| texts(&r.expect("as many cells as names"))).collect();
    (head, rows)
}

/// The cells of one row by name, without the empty ones.
fn cells(trial: &Trial, screening: Screening) -> BTreeMap<String, String> {
    let (head, mut rows) = read_csv(&written(Format::Csv, trial, &[screening]));
    assert_eq!(rows.len(), 1);
    head.into_iter().zip(rows.remove(0)).filter(|(_, cell)| !cell.is_empty()).collect()
}

fn parquet(bytes: &[u8]) -> SerializedFileReader<std::fs::File> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    SerializedFileReader::new(file).expect("a Parquet file")
}

/// A cell of Parquet as CSV writes it.
fn text(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Int(whole) => whole.to_string(),
        Field::Bool(flag) => flag.to_string(),
        Field::Date(days) => {
            NaiveDate::from_epoch_days(*days).map(|d| d.to_string()).expect("a day of this era")
        }
        Field::Double(number) => number.to_string(),
        other => panic!("a type that no column has: {other:?}"),
    }
}

/// What the JSON of a screening says in a column, found by the column's name alone.
fn by_name(json: &Value, name: &str) -> String {
    let shown = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(|w| w.as_str().expect("a word")).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    match name {
        "as_of" => return shown(&json["asOf"]),
        "attached_to" => return shown(&json["attachedTo"]),
        "gaps" => return json["gaps"].as_array().expect("gaps").len().to_string(),
        "gap_reasons" => {
            let gaps = json["gaps"].as_array().expect("gaps").iter();
            let codes: std::collections::BTreeSet<_> =
                gaps.map(|g| g["reason"].as_str().expect("a reason")).collect();
            return codes.into_iter().collect::<Vec<_>>().join(" ");
        }
        "subject" | "decision" | "deciding" | "blocked" | "needs" | "trial" | "definition" => {
            return shown(&json[name]);
        }
        _ => {}
    }
    for criterion in json["criteria"].as_array().expect("criteria") {
        let id = criterion["id"].as_str().expect("an id");
        if name == id {
            return shown(&criterion["verdict"]);
        }
        if name.strip_prefix(id) == Some("_why") {
            return shown(&criterion["why"]);
        }
    }
    // The longest name first: `meld_na` begins `meld_na_kim2008`.
    for (part, key) in [("variables", "value"), ("scores", "value")] {
        let all = json[part].as_object().expect("a map");
        let mut names: Vec<&String> = all.keys().filter(|n| name.starts_with(n.as_str())).collect();
        names.sort_by_key(|n| std::cmp::Reverse(n.len()));
        for found in names {
            let entry = &all[found.as_str()];
            let ending = &name[found.len()..];
            return match ending {
                "" => shown(&entry[key]),
                "_received" => shown(&entry["received"]["value"]),
                "_received_unit" => shown(&entry["received"]["unit"]),
                "_source" => match (&entry["source"], &entry["version"]) {
                    (Value::String(source), Value::String(version)) => format!("{source}/_history/{version}"),
                    (source, _) => shown(source),
                },
                ending if ending.starts_with('_') => shown(&entry[&ending[1..]]),
                _ => continue,
            };
        }
    }
    String::new()
}

#[test]
fn every_cell_is_what_the_json_says() {
    for site in [SiteFile::default(), SiteFile::demo()] {
        let trial = Trial::compile(&Definition::shipped(), &site).expect("a trial");
        let screenings = cohort(&trial);
        assert_eq!(screenings.len(), 6);
        let (head, rows) = read_csv(&written(Format::Csv, &trial, &screenings));
        let mut full = 0;
        for (screening, row) in screenings.iter().zip(&rows) {
            let json = serde_json::to_value(screening).expect("JSON");
            for (name, cell) in head.iter().zip(row) {
                assert_eq!(*cell, by_name(&json, name), "{name} of {}", screening.subject);
                full += usize::from(!cell.is_empty());
            }
        }
        assert!(full > 500, "only {full} cells of the cohort say something");
    }
}

#[test]
fn the_cohort_gives_these_bytes() {
    let trial = Trial::shipped();
    let bytes = written(Format::Csv, &trial, &cohort(&trial));
    // The hash of the definition changes with every word of it, and says nothing of a row.
    let got = String::from_utf8(bytes).expect("UTF-8").replace(&trial.hash, "sha256:DEFINITION");
    let place = project("fixtures/tables/cohort.csv");
    let expected = std::fs::read_to_string(&place).unwrap_or_default();
    if got != expected {
        let other = std::env::temp_dir().join("cohort.csv.got");
        std::fs::write(&other, &got).expect("written");
        panic!("{} differs from {}; compare the two", place.display(), other.display());
    }
}

#[test]
fn a_row_whole() {
    let trial = Trial::shipped();
    let one = patient(
        &trial,
        &[
            MAN,
            &bilirubin(
                r#"{"value":34.20,"unit":"umol/L","code":"umol/L","system":"http://unitsofmeasure.org"}"#,
            ),
        ],
    );
    let mut got = cells(&trial, one);
    // The criteria and scores stand in tables of their own tests; here is the rest of the row.
    got.retain(|name, _| {
        !trial.criteria.iter().any(|c| name.starts_with(&c.id))
            && !trial.scores.iter().any(|s| name.starts_with(s))
    });
    let expected = [
        ("age", "60"),
        ("as_of", "2026-11-22"),
        ("bilirubin_total", "2"),
        ("bilirubin_total_effective", "2026-11-20"),
        ("bilirubin_total_received", "34.20"),
        ("bilirubin_total_received_unit", "umol/L"),
        ("bilirubin_total_source", "Observation/bili/_history/3"),
        ("bilirubin_total_unit", "mg/dL"),
        ("decision", "undetermined"),
        ("definition", &*trial.hash),
        ("dialysis", "false"),
        ("gaps", "0"),
        ("sex", "male"),
        ("subject", "Patient/p"),
        ("trial", "NCT06242405"),
    ];
    let open = ["deciding", "needs"].map(|name| got.remove(name).unwrap_or_default());
    assert!(open.iter().all(|o| o.contains(' ')), "{open:?}");
    let got: Vec<(&str, &str)> = got.iter().map(|(n, c)| (n.as_str(), c.as_str())).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_bound_is_never_a_value() {
    let trial = Trial::shipped();
    for (quantity, expected) in [
        (r#"{"value":2.0,"code":"mg/dL"}"#, ["2", "", ""]),
        (r#"{"value":0.3,"comparator":"<","code":"mg/dL"}"#, ["", "0", "0.3"]),
        (r#"{"value":30,"comparator":">","code":"mg/dL"}"#, ["", "30", ""]),
    ] {
        let quantity = quantity.replace(r#""code""#, r#""system":"http://unitsofmeasure.org","code""#);
        let got = cells(&trial, patient(&trial, &[MAN, &bilirubin(&quantity)]));
        let cell = |name: &str| got.get(name).map_or("", String::as_str);
        // Nothing is measured below zero: that bound is known of every result.
        let found = ["bilirubin_total", "bilirubin_total_low", "bilirubin_total_high"].map(cell);
        assert_eq!(found, expected, "{quantity}");
    }
    // Without any result there is neither value, bound, unit nor source, and no zero.
    let got = cells(&trial, patient(&trial, &[MAN]));
    assert!(!got.keys().any(|name| name.starts_with("bilirubin_total")), "{got:?}");
    assert_eq!(got.get("meld_unos_status").map(String::as_str), Some("unknown"));
    assert_eq!(got.get("meld_unos"), None);
}

#[test]
fn an_age_that_is_not_certain_has_bounds() {
    let trial = Trial::shipped();
    let year = r#"{"resourceType":"Patient","id":"p","gender":"female","birthDate":"1966"}"#;
    let got = cells(&trial, patient(&trial, &[year]));
    assert_eq!(got.get("age"), None);
    assert_eq!([&got["age_low"], &got["age_high"], &got["sex"]], ["59", "60", "female"]);
}

#[test]
fn formulas_are_disarmed_and_numbers_stay() {
    for (text, risky) in [
        ("=1+1", true),
        ("+1+1", true),
        ("-1+1", true),
        ("@SUM(A1)", true),
        ("\t=1", true),
        ("\r=1", true),
        ("\n=1", true),
        ("  =1", true),
        ("＝1", true),
        ("'quoted", true),
        ("-", true),
        ("++", true),
        ("+1", true),
        ("-2+3+cmd|' /C calc'!A0", true),
        ("-1.2", false),
        ("-1e-7", false),
        ("1.2", false),
        ("<0.3", false),
        ("Patient/-1", false),
        ("阴性", false),
        ("", false),
        ("  ", false),
    ] {
        assert_eq!(is_risky(text), risky, "{text:?}");
    }
    let trial = Trial::shipped();
    let hostile = |received: &str, subject: &str| {
        let quantity = r#"{"value":2.0,"system":"http://unitsofmeasure.org","code":"mg/dL"}"#;
        let mut one = patient(&trial, &[MAN, &bilirubin(quantity)]);
        one.subject = subject.into();
        for (name, report) in &mut one.variables.0 {
            if *name == "bilirubin_total"
                && let Some(r) = &mut report.received
            {
                r.value = received.into();
            }
        }
        one
    };
    for (received, subject) in [
        ("=HYPERLINK(\"http://example.org\",\"x\")", "=cmd"),
        ("-1.2", "Patient/a,b"),
        ("+", "'Patient\"1\""),
        ("two\nlines", "-\r\n-"),
        ("'", " @x"),
    ] {
        let guarded = |text: &str| format!("{}{text}", if is_risky(text) { "'" } else { "" });
        let got = cells(&trial, hostile(received, subject));
        assert_eq!(got["bilirubin_total_received"], guarded(received));
        assert_eq!(got["subject"], guarded(subject));
        assert_eq!(got["bilirubin_total"], "2", "a value is a number and is never touched");
        // The same row through the other writer of CSV: the quoting is not our own invention.
        let ours = written(Format::Csv, &trial, &[hostile(received, subject)]);
        let (head, rows) = read_csv(&ours);
        let mut theirs = csv::WriterBuilder::new().from_writer(Vec::new());
        theirs.write_record(&head).expect("written");
        theirs.write_record(&rows[0]).expect("written");
        let theirs = theirs.into_inner().expect("flushed");
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
        // Parquet has no formulas: it holds what was sent.
        let bytes = written(Format::Parquet, &trial, &[hostile(received, subject)]);
        let row = parquet(&bytes).get_row_iter(None).expect("rows").next().expect("a row").expect("read");
        let held: BTreeMap<_, _> = row.get_column_iter().map(|(n, f)| (n.clone(), text(f))).collect();
        assert_eq!([&held["bilirubin_total_received"], &held["subject"]], [received, subject]);
    }
}

#[test]
fn a_score_below_zero_is_a_number() {
    let trial = Trial::shipped();
    let (head, rows) = read_csv(&written(Format::Csv, &trial, &cohort(&trial)));
    let at = head.iter().position(|n| n == "albi").expect("ALBI");
    let below: Vec<&String> = rows.iter().map(|r| &r[at]).filter(|c| c.starts_with('-')).collect();
    assert!(below.len() >= 3, "{below:?}");
    assert!(below.iter().all(|c| c.parse::<f64>().is_ok()), "{below:?}");
}

#[test]
fn csv_and_parquet_say_the_same() {
    let trial = Trial::shipped();
    let mut screenings = cohort(&trial);
    screenings.push(patient(&trial, &[MAN]));
    screenings[1].attached_to = Some("Patient/other".into());
    screenings[2].block("merged");
    let columns = Columns::new(&trial).expect("columns");
    let (head, rows) = read_csv(&written(Format::Csv, &trial, &screenings));
    let reader = parquet(&written(Format::Parquet, &trial, &screenings));
    let (mut compared, mut nulls) = (0, 0);
    for (row, expected) in reader.get_row_iter(None).expect("rows").zip(&rows) {
        let row = row.expect("a row can be read");
        let fields: Vec<_> = row.get_column_iter().collect();
        assert_eq!(fields.len(), columns.all().len());
        for (at, ((name, field), column)) in fields.iter().zip(columns.all()).enumerate() {
            assert_eq!([name.as_str(), head[at].as_str()], [&*column.name, &*column.name]);
            let cell = expected[at].as_str();
            let same = match (field, column.holds) {
                (Field::Null, Type::Words) => false,
                (Field::Null, _) => cell.is_empty(),
                (Field::Double(x), Type::Number) => cell.parse() == Ok(*x),
                (Field::Str(_), Type::Text) => text(field) == cell && !cell.is_empty(),
                (Field::Str(_), Type::Words)
                | (Field::Int(_), Type::Whole)
                | (Field::Bool(_), Type::Flag)
                | (Field::Date(_), Type::Day) => text(field) == cell,
                _ => false,
            };
            // There is no organ failure score: no list of what it lacks either.
            let no_list = name.starts_with("clif_c_aclf") && **field == Field::Null && cell.is_empty();
            assert!(same || no_list, "{name}: {field:?} and {cell:?}");
            compared += 1;
            nulls += usize::from(**field == Field::Null);
        }
    }
    assert_eq!(compared, 7 * columns.all().len());
    assert!(nulls > 500 && nulls < compared - 500, "{nulls} of {compared} are null");
}

#[test]
fn a_parquet_file_says_what_it_is() {
    let trial = Trial::shipped();
    let bytes = written(Format::Parquet, &trial, &cohort(&trial));
    assert_eq!(bytes, written(Format::Parquet, &trial, &cohort(&trial)), "the same rows, other bytes");
    let reader = parquet(&bytes);
    let meta = reader.metadata().file_metadata();
    assert_eq!(meta.created_by(), Some(WRITER));
    assert_eq!(meta.num_rows(), 6);
    let about = meta.key_value_metadata().expect("metadata").iter();
    let about: Vec<(&str, &str)> =
        about.map(|kv| (kv.key.as_str(), kv.value.as_deref().unwrap_or_default())).collect();
    assert_eq!(
        about,
        [
            ("trialbridge.schema", SCHEMA),
            ("trialbridge.trial", "NCT06242405"),
            ("trialbridge.definition", &*trial.hash),
            ("trialbridge.as_of", "2026-11-22"),
            ("trialbridge.version", env!("CARGO_PKG_VERSION")),
        ]
    );
    let types: BTreeMap<_, _> =
        meta.schema_descr().columns().iter().map(|c| (c.name().to_owned(), c.physical_type())).collect();
    for (name, expected) in [
        ("subject", Physical::BYTE_ARRAY),
        ("as_of", Physical::INT32),
        ("age", Physical::INT32),
        ("gaps", Physical::INT32),
        ("dialysis", Physical::BOOLEAN),
        ("bilirubin_total", Physical::DOUBLE),
        ("meld_unos", Physical::DOUBLE),
        ("albi_grade", Physical::INT32),
        ("child_pugh_class", Physical::BYTE_ARRAY),
    ] {
        assert_eq!(types[name], expected, "{name}");
    }
}

#[test]
fn blocks_of_any_size_give_the_same_bytes() {
    let trial = Trial::shipped();
    let six = cohort(&trial);
    let rows: Vec<&Screening> = six.iter().cycle().take(20).collect();
    let heading = Heading::new(&trial, as_of());
    for format in [Format::Ndjson, Format::Csv, Format::Parquet] {
        let shape = Shape::new(format, &trial).expect("a shape");
        let begun = || Sheet::new(Vec::new(), &shape, &heading).expect("begun");
        let mut alone = begun();
        rows.iter().for_each(|row| alone.row(row).expect("written"));
        let alone = alone.finish().expect("written");
        for size in [1, 3, 7, 20, 100] {
            let mut sheet = begun();
            let mut block = shape.block();
            for chunk in rows.chunks(size) {
                chunk.iter().for_each(|row| block.push(row).expect("a row"));
                sheet.take(&mut block).expect("written");
            }
            assert!(sheet.finish().expect("written") == alone, "{format:?} in blocks of {size}");
        }
    }
    let other = Shape::new(Format::Csv, &trial).expect("a shape");
    let mut sheet = Sheet::new(Vec::new(), &Shape::Ndjson, &heading).expect("begun");
    assert!(sheet.take(&mut other.block()).is_err(), "CSV is not put among NDJSON");
}

#[test]
fn row_groups_are_bounded_and_end_where_they_would_anyway() {
    let trial = Trial::shipped();
    let columns = Columns::new(&trial).expect("columns");
    let six = cohort(&trial);
    let heading = Heading::new(&trial, as_of());
    let mut bytes: Vec<Vec<u8>> = Vec::new();
    for size in [1, 2, 5, 7, 8, 20] {
        let mut file = File::new(Vec::new(), &columns, &heading, 7).expect("begun");
        let rows: Vec<&Screening> = six.iter().cycle().take(20).collect();
        for chunk in rows.chunks(size) {
            let mut group = Group::new(&columns);
            chunk.iter().for_each(|row| group.push(&columns, row));
            file.take(&group).expect("written");
        }
        bytes.push(file.finish().expect("written"));
    }
    assert!(bytes.windows(2).all(|w| w[0] == w[1]), "row groups depend on how the rows came in");
    let reader = parquet(&bytes[0]);
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|g| g.num_rows()).collect();
    assert_eq!(groups, [7, 7, 6]);
    let subjects = reader
        .get_row_iter(None)
        .expect("rows")
        .map(|r| text(r.expect("a row").get_column_iter().next().expect("a first column").1));
    let expected: Vec<&str> = six.iter().cycle().take(20).map(|s| &*s.subject).collect();
    assert_eq!(subjects.collect::<Vec<_>>(), expected);
}

#[test]
fn without_rows_there_is_still_a_table() {
    let trial = Trial::shipped();
    let columns = Columns::new(&trial).expect("columns");
    let (head, rows) = read_csv(&written(Format::Csv, &trial, &[]));
    assert_eq!((head.len(), rows.len()), (columns.all().len(), 0));
    let reader = parquet(&written(Format::Parquet, &trial, &[]));
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    assert_eq!(reader.metadata().file_metadata().schema_descr().num_columns(), columns.all().len());
    assert_eq!(written(Format::Ndjson, &trial, &[]), b"");
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let changed = |from: &str, to: &str| {
        let sources = Definition::shipped().files.into_iter().map(|f| (f.name, f.text.replace(from, to)));
        let definition = Definition::read(sources.collect()).expect("it can still be read");
        Trial::compile(&definition, &SiteFile::default()).expect("it still compiles")
    };
    for (name, clash) in [("Decision", "Decision"), ("alt_low", "alt_low"), ("e5_why", "e5_why")] {
        let trial = changed("id = \"alp\"", &format!("id = \"{name}\""));
        match Columns::new(&trial) {
            Err(Clash(column)) => assert_eq!(column, clash, "{name}"),
            Ok(_) => panic!("{name} was taken"),
        }
    }
}

/// A screening of another definition than the columns: what does not fit is empty, and nothing is shifted.
#[test]
fn a_row_of_another_trial_is_not_shifted() {
    let trial = Trial::shipped();
    let mut one = patient(&trial, &[MAN]);
    one.criteria.remove(0);
    one.variables.0.retain(|(name, _)| *name != "sex");
    let got = cells(&trial, one);
    assert_eq!(got.get("I1"), None);
    assert_eq!(got.get("sex"), None);
    assert_eq!(got["age"], "60");
    assert_eq!(got["trial"], "NCT06242405");
}

/// What only one score has is found by its name; a new score of that kind would lose its class silently.
#[test]
fn no_other_score_has_a_class_or_a_grade() {
    let trial = Trial::shipped();
    for screening in cohort(&trial) {
        for (name, score) in screening.scores.all.iter() {
            assert!(name == "child_pugh" || (score.class, score.class_low) == (None, None), "{name}");
            assert!(name == "albi" || (score.grade, score.grade_low) == (None, None), "{name}");
        }
    }
}

/// The list in the data dictionary is the list of the code.
#[test]
fn the_dictionary_lists_every_column() {
    let page = std::fs::read_to_string(project("docs/screen-tables.md")).expect("the page");
    let columns = Columns::new(&Trial::shipped()).expect("columns");
    let list: String = columns.all().iter().map(|c| format!("{} {}\n", c.name, c.holds.name())).collect();
    let block = page.split("```text columns\n").nth(1).and_then(|rest| rest.split("```").next());
    assert!(block == Some(&*list), "the list in docs/screen-tables.md should be:\n{list}");
    assert!(page.contains(SCHEMA));
    // Every ending has a line that says what it means.
    let trial = Trial::shipped();
    let bases: Vec<&str> =
        trial.variables.iter().map(|v| v.id.as_str()).chain(trial.scores.iter().copied()).collect();
    for column in columns.all() {
        let base = bases.iter().filter(|b| column.name.starts_with(**b)).max_by_key(|b| b.len());
        let said = match base {
            Some(base) if column.name != **base => format!("_{}`", &column.name[base.len() + 1..]),
            _ => continue,
        };
        assert!(page.contains(&said), "docs/screen-tables.md says nothing of {said}");
    }
}

#[test]
fn days_are_counted_from_1970() {
    for (day, number) in [("1970-01-01", 0), ("1969-12-31", -1), ("2026-11-22", 20779)] {
        assert_eq!(super::group::day_number(When::parse(day).expect("a day").first), number, "{day}");
    }
}
