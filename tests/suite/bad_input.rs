//! What no hospital should send and some does: no panic, a named place, the rest is used, and nothing of
//! a patient on standard error.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;

/// Words of the patients in these tests that must not be printed outside the data.
const PRIVATE: &str = "Zhang-San";

fn good(patient: &str) -> String {
    let person = with(man(), json!({"name": [{"text": PRIVATE}]}));
    lines_of(patient, &[person, lab("1975-2", "2", "mg/dL", RECENT)]).join("\n")
}

fn subjects(ran: &Ran) -> Vec<String> {
    ran.lines().iter().map(|l| l["subject"].as_str().expect("a subject").to_owned()).collect()
}

/// A line that is refused, and what is said of it.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        (
            "truncated",
            format!(r#"{{"resourceType":"Patient","id":"x","name":[{{"text":"{PRIVATE}"#).into(),
            "not JSON",
        ),
        ("truncated after a value", br#"{"resourceType":"Patient","id":"x""#.to_vec(), "not JSON"),
        ("not JSON", format!("name={PRIVATE}").into(), "not JSON"),
        ("a comment", br#"{"resourceType":"Patient","id":"x"} // y"#.to_vec(), "not JSON"),
        ("a trailing comma", br#"{"resourceType":"Patient","id":"x",}"#.to_vec(), "not JSON"),
        ("single quotes", b"{'resourceType':'Patient'}".to_vec(), "not JSON"),
        (
            "NaN",
            br#"{"resourceType":"Observation","id":"x","valueQuantity":{"value":NaN}}"#.to_vec(),
            "not JSON",
        ),
        (
            "+1",
            br#"{"resourceType":"Observation","id":"x","valueQuantity":{"value":+1}}"#.to_vec(),
            "not JSON",
        ),
        (
            "01",
            br#"{"resourceType":"Observation","id":"x","valueQuantity":{"value":01}}"#.to_vec(),
            "not JSON",
        ),
        (
            ".5",
            br#"{"resourceType":"Observation","id":"x","valueQuantity":{"value":.5}}"#.to_vec(),
            "not JSON",
        ),
        (
            "1.",
            br#"{"resourceType":"Observation","id":"x","valueQuantity":{"value":1.}}"#.to_vec(),
            "not JSON",
        ),
        (
            "invalid UTF-8",
            b"{\"resourceType\":\"Patient\",\"id\":\"x\",\"text\":\"\xff\"}".to_vec(),
            "not UTF-8 at byte",
        ),
        (
            "an overlong form",
            b"{\"resourceType\":\"Patient\",\"id\":\"x\",\"text\":\"\xc0\x80\"}".to_vec(),
            "not UTF-8 at byte",
        ),
        (
            "a lone surrogate",
            br#"{"resourceType":"Patient","id":"x","gender":"\ud800"}"#.to_vec(),
            "not JSON",
        ),
        (
            "65 levels",
            format!(r#"{{"resourceType":"Patient","id":"x","a":{}{}}}"#, "[".repeat(64), "]".repeat(64))
                .into(),
            "deeper than 64",
        ),
        (
            "100,000 levels",
            format!(
                r#"{{"resourceType":"Patient","id":"x","a":{}{}}}"#,
                "[".repeat(100_000),
                "]".repeat(100_000)
            )
            .into(),
            "deeper than 64",
        ),
        ("an array", b"[1,2]".to_vec(), "type"),
        ("a number", b"17".to_vec(), "type"),
        ("no type", br#"{"id":"x"}"#.to_vec(), "resourceType"),
        (
            "a Bundle cut short",
            br#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient""#.to_vec(),
            "not JSON",
        ),
    ]
}

#[test]
fn a_bad_line_is_named_and_the_rest_is_screened() {
    for (name, bad, words) in refused() {
        for (at, order) in [(1, true), (3, false)] {
            let (first, last) = (good("a"), good("b"));
            let parts: Vec<&[u8]> = if order {
                vec![&bad, first.as_bytes(), last.as_bytes()]
            } else {
                vec![first.as_bytes(), &bad, last.as_bytes()]
            };
            for end in [&b"\n"[..], b"\r\n"] {
                let folder = tempfile::tempdir().expect("a folder");
                fs::write(folder.path().join("in.ndjson"), parts.join(end)).expect("a file");
                let ran = run_in(folder.path(), &["screen", "in.ndjson", "--as-of", AS_OF], b"");
                assert_eq!(ran.code, 1, "{name}: {}", ran.stderr);
                assert_eq!(subjects(&ran), ["Patient/a", "Patient/b"], "{name}: {}", ran.stderr);
                let errors: Vec<&str> = ran.stderr.lines().filter(|l| l.starts_with("error")).collect();
                assert_eq!(errors.len(), 1, "{name}: {}", ran.stderr);
                assert!(errors[0].starts_with(&format!("error: in.ndjson:{at}: ")), "{name}: {}", errors[0]);
                assert!(errors[0].contains(words), "{name}: {}", errors[0]);
                assert!(!ran.stderr.contains(PRIVATE), "{name}: {}", ran.stderr);
            }
        }
    }
}

#[test]
fn a_broken_document_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "cut.json",
            b"{\n  \"resourceType\": \"Patient\",\n  \"id\": ".to_vec(),
            "error: cut.json:3: not JSON",
        ),
        (
            "comma.json",
            b"{\n  \"resourceType\": \"Patient\",\n  \"id\": \"x\",\n}\n".to_vec(),
            "error: comma.json:4: not JSON",
        ),
        ("empty.json", b"".to_vec(), "error: empty.json: the file is empty"),
        ("blank.json", b"\n\n  \n".to_vec(), "error: blank.json: the file holds only blank lines"),
        ("page.json", b"<html>\n</html>\n".to_vec(), "error: page.json:1: not JSON"),
        ("bytes.json", vec![0xff, 0xfe, 0x00, 0x01], "error: bytes.json:1: not UTF-8"),
        ("nul.json", vec![0; 100], "error: nul.json:1: not JSON"),
    ];
    for (name, bytes, error) in cases {
        fs::write(folder.path().join(name), bytes).expect("a file");
        let ran = run_in(folder.path(), &["screen", name, "--as-of", AS_OF], b"");
        assert_eq!((ran.code, ran.text()), (1, ""), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(error), "{name}: {}", ran.stderr);
    }
    let gone = run_in(folder.path(), &["screen", "gone.json"], b"");
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("error: gone.json: "), "{}", gone.stderr);
    fs::create_dir(folder.path().join("nothing")).expect("a folder");
    let nothing = run_in(folder.path(), &["screen", "nothing"], b"");
    assert_eq!(nothing.code, 1);
    assert!(nothing.stderr.contains("error: nothing: the folder holds no"), "{}", nothing.stderr);
}

#[test]
fn what_is_tolerated() {
    let person = lines_of("p", &[man()]).remove(0);
    let pretty =
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(&person).expect("JSON")).expect("JSON");
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(person.as_bytes()).expect("memory");
    let deep = person.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(63), "]".repeat(63)), 1);
    for (name, bytes) in [
        ("plain", person.clone().into_bytes()),
        ("a byte order mark", [b"\xEF\xBB\xBF", person.as_bytes()].concat()),
        ("pretty", pretty.clone().into_bytes()),
        ("pretty with CRLF", pretty.replace('\n', "\r\n").into_bytes()),
        ("gzip", zipped.finish().expect("memory")),
        ("64 levels", deep.into_bytes()),
        ("NUL in what is not read", person.replacen('{', r#"{"text":"\u0000","#, 1).into_bytes()),
        ("a surrogate pair", person.replacen('{', r#"{"text":"\ud83d\ude00","#, 1).into_bytes()),
        ("a key that nobody knows, twice", person.replacen('{', r#"{"x":1,"x":2,"#, 1).into_bytes()),
    ] {
        let ran = screen(&[], &bytes);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        assert_eq!(subjects(&ran), ["Patient/p"], "{name}");
        assert_eq!(verdict(&ran.lines()[0], "I1"), "met", "{name}");
    }
}

#[test]
fn a_key_that_stands_twice_decides_nothing() {
    let observation = lines_of("p", &[lab("1975-2", "2", "mg/dL", RECENT)]).remove(0);
    for (name, from, to, path) in [
        ("status", r#""status":"final""#, r#""status":"final","status":"entered-in-error""#, "status"),
        ("value", r#""value":2"#, r#""value":2,"value":9"#, "valueQuantity.value"),
        ("unit", r#""unit":"mg/dL""#, r#""unit":"mg/dL","unit":"umol/L""#, "valueQuantity.unit"),
        (
            "code",
            r#""system":"http://loinc.org""#,
            r#""system":"http://loinc.org","system":"urn:x""#,
            "code.coding[0].system",
        ),
    ] {
        let bad = observation.replacen(from, to, 1);
        assert_ne!(bad, observation, "{name}");
        let input = format!("{}\n{bad}\n", lines_of("p", &[man()]).remove(0));
        let ran = screen(&[], input.as_bytes());
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        let screening = &ran.lines()[0];
        assert!(screening["variables"].get("bilirubin_total").is_none(), "{name}");
        assert_eq!(screening["gaps"][0]["reason"], "duplicate-key", "{name}: {}", screening["gaps"]);
        assert_eq!(screening["gaps"][0]["path"], path, "{name}");
    }
}

#[test]
fn digits_are_neither_lost_nor_invented() {
    let rows: Vec<Row> =
        ["1.10", "3.00000000000000000000000000000001", "2.99999999999999999999999999999999", "0.3e+1"]
            .iter()
            .map(|value| {
                (
                    (*value).to_owned(),
                    vec![man(), condition(WHO, "K74.6"), lab("1975-2", value, "mg/dL", RECENT)],
                )
            })
            .collect();
    let screenings = screen_table(&rows, &[]);
    for ((value, _), screening) in rows.iter().zip(&screenings) {
        assert_eq!(screening["variables"]["bilirubin_total"]["received"]["value"], value.as_str());
    }
    let verdicts: Vec<&str> = screenings.iter().map(|s| verdict(s, "I2")).collect();
    assert_eq!(verdicts, ["unknown", "met", "unknown", "met"]);
}

#[test]
fn an_id_that_is_none_is_not_printed() {
    let bad = json!({"resourceType": "Patient", "id": format!("{PRIVATE} \u{1b}[2J"), "birthDate": "1966"});
    let ran = screen(&[], format!("{bad}\n{}\n", good("p")).as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(subjects(&ran), ["Patient/p"]);
    assert!(!ran.stderr.contains(PRIVATE) && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    assert!(ran.stderr.contains("structure at id"), "{}", ran.stderr);
}

#[test]
fn long_lines_and_cut_archives() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = good("long").replacen('{', &format!("{{\"text\":\"{}\",", "a".repeat(5 << 20)), 1);
    fs::write(folder.path().join("in.ndjson"), format!("{}\n{long}\n{}\n", good("a"), good("b")))
        .expect("a file");
    let ran = run_in(folder.path(), &["screen", "in.ndjson", "--as-of", AS_OF], b"");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("error: in.ndjson:3: the line is longer than 4 MiB"), "{}", ran.stderr);
    assert!(subjects(&ran).contains(&"Patient/b".to_owned()));
    // A single document may be long: it is a Bundle.
    let ran = screen(&[], long.lines().next().expect("the first line").as_bytes());
    assert_eq!((ran.code, subjects(&ran)), (0, vec!["Patient/long".to_owned()]));

    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    for n in 0..200 {
        writeln!(encoder, "{}", good(&format!("p{n:03}"))).expect("memory");
    }
    let whole = encoder.finish().expect("memory");
    fs::write(folder.path().join("cut.ndjson.gz"), &whole[..whole.len() / 2]).expect("a file");
    let ran = run_in(folder.path(), &["screen", "cut.ndjson.gz", "--as-of", AS_OF], b"");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("error: cut.ndjson.gz:"), "{}", ran.stderr);
    let read = subjects(&ran).len();
    assert!(read > 50 && read < 150, "{read}");
}

#[cfg(unix)]
#[test]
fn folders_with_links_pipes_and_locked_files() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("data");
    fs::create_dir(&inner).expect("a folder");
    fs::write(inner.join("p.ndjson"), good("p")).expect("a file");
    fs::write(inner.join("notes.txt"), "not FHIR").expect("a file");
    fs::write(inner.join(".hidden.json"), "not FHIR").expect("a file");
    symlink(&inner, inner.join("again")).expect("a link");
    symlink(inner.join("p.ndjson"), inner.join("q.ndjson")).expect("a link");
    let ran = run_in(folder.path(), &["screen", "data", "--as-of", AS_OF], b"");
    assert_eq!((ran.code, subjects(&ran)), (0, vec!["Patient/p".to_owned()]), "{}", ran.stderr);
    let locked = inner.join("locked.json");
    fs::write(&locked, good("l")).expect("a file");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("permissions");
    if fs::File::open(&locked).is_err() {
        let ran = run_in(folder.path(), &["screen", "data", "--as-of", AS_OF], b"");
        assert_eq!((ran.code, subjects(&ran)), (1, vec!["Patient/p".to_owned()]));
        assert!(ran.stderr.contains("locked.json"), "{}", ran.stderr);
    }
}

#[test]
fn a_broken_definition_stops_everything_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("trial.toml"), "[study]\nid = \"X\"\ncolour = \"red\"\n").expect("a file");
    for args in [&["screen", "-", "--trial", "."][..], &["score", "--trial", "."]] {
        let ran = run_in(folder.path(), args, b"{}");
        assert_eq!((ran.code, ran.text()), (10, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("trial.toml:3"), "{}", ran.stderr);
    }
    let ran = run_in(folder.path(), &["screen", "-", "--trial", "nowhere"], b"");
    assert_eq!(ran.code, 10);
    let ran = run_in(folder.path(), &["screen", "-", "--site", "nowhere.toml"], b"");
    assert_eq!(ran.code, 10);
}
