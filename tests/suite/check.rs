//! `check`: each named check finds its mistake, in its file and on its line, and nothing where there is
//! none. The mistakes are made in the second trial's definition.

use crate::runner::*;
use serde_json::Value;
use std::fs;

/// Replaces the first `from` by `to`.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the fixture has no `{from}`");
    text.replacen(from, to, 1)
}

/// The line on which `mark` first stands, from 1.
fn line_of(text: &str, mark: &str) -> usize {
    1 + text.lines().position(|l| l.contains(mark)).unwrap_or_else(|| panic!("no line has `{mark}`"))
}

fn check(trial: &str, site: Option<&str>) -> (i32, Vec<Value>) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("trial")).expect("a folder");
    fs::write(folder.path().join("trial/trial.toml"), trial).expect("a file");
    let mut args = vec!["check", "--no-network", "-o", "ndjson", "--trial", "trial"];
    if let Some(site) = site {
        fs::write(folder.path().join("site.toml"), site).expect("a file");
        args.extend(["--site", "site.toml"]);
    }
    let ran = run_in(folder.path(), &args, b"");
    (ran.code, ran.lines())
}

fn second() -> String {
    fs::read_to_string(fixture("second-trial/trial.toml")).expect("a fixture")
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn the_shipped_trial_has_only_open_choices() {
    let ran = run(&["check", "--no-network", "-o", "ndjson"], b"");
    assert_eq!(ran.code, 0, "{}", ran.text());
    let findings = ran.lines();
    assert!(findings.len() >= 10);
    let mut lines = Vec::new();
    for finding in &findings {
        assert_eq!((&finding["id"], &finding["severity"]), (&Value::from("TB-T026"), &Value::from("note")), "{finding}");
        let (file, line) = finding["place"].as_str().expect("a place").split_once(':').expect("file and line");
        assert_eq!(file, "trial.toml");
        lines.push(line.parse::<u32>().expect("a number"));
    }
    assert!(lines.is_sorted(), "by number, not by text: {lines:?}");
    let table = run(&["check", "--no-network", "-o", "table"], b"");
    assert!(table.text().contains("ok    trial             NCT06242405: 14 criteria (3 inclusion)"), "{}", table.text());
    let json = run(&["check", "--no-network", "-o", "json"], b"");
    let report: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((report["errors"].as_u64(), report["warnings"].as_u64()), (Some(0), Some(0)));
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn each_mistake_is_found_where_it_stands() {
    let second = second();
    assert_eq!(check(&second, None), (0, vec![]));
    // What is changed into what, the check, and a mark on the line where it has to point.
    let result = r#"rule = { result = { variable = "egfr", below = "45" } }"#;
    let cases: Vec<(&str, &str, &str, &str, &str)> = vec![
        ("not TOML", "[allocation]", "[allocation", "TB-T001", "[allocation"),
        ("a key that nobody knows", "masking = \"double\"", "masking = \"double\"\ncolour = \"red\"", "TB-T002", "colour"),
        ("a rule that nobody knows", "rule = { consent = {} }", "rule = { consents = {} }", "TB-T002", "consents"),
        ("a look-alike", r#"["4548-4", "17856-6"]"#, r#"["1975-2", "1968-7"]"#, "TB-T003", "1968-7"),
        ("a variable twice", "id = \"egfr\"", "id = \"hba1c\"", "TB-T005", ""),
        ("a code for two variables", r#"["98979-8", "62238-1"]"#, r#"["98979-8", "4548-4"]"#, "TB-T006", "98979-8"),
        ("a range of codes that is none", r#"["E11"]"#, r#"["E11-E10"]"#, "TB-T007", "E11-E10"),
        ("a unit that is no unit", "unit = \"%\"", "unit = \"percents\"", "TB-T008", "percents"),
        ("a unit that does not convert", "unit = \"%\"\n", "unit = \"%\"\nunits = [\"mmol/mol\", \"kg\"]\n", "TB-T009", "kg"),
        ("a spelling of nothing", r#""mL/min/1.73 m2" = "mL/min/{1.73_m2}""#, r#""mL/min/1.73 m2" = "L/min""#, "TB-T010", "L/min\""),
        ("a spelling of two units", "unit = \"%\"\n", "unit = \"%\"\nunits = [\"1\"]\naliases = { \"1\" = \"%\" }\n", "TB-T010", "aliases = { \"1\""),
        ("limits that are none", r#"["3", "20"]"#, r#"["20", "3"]"#, "TB-T011", "id = \"hba1c\""),
        ("neither unit nor answers", "unit = \"%\"\n", "", "TB-T012", "id = \"hba1c\""),
        ("a score that nobody knows", "[[choice]]", "[scores]\ncompute = [\"meld4\"]\n[[choice]]", "TB-T014", "meld4"),
        ("a variable that is not there", r#"variable = "egfr", below"#, r#"variable = "gfr", below"#, "TB-T015", "gfr\", below"),
        ("a value set that is not there", r#"value_set = "insulin""#, r#"value_set = "insuline""#, "TB-T015", "insuline"),
        ("a resource that shows nothing", r#"["MedicationRequest", "MedicationStatement"]"#, r#"["Medicine"]"#, "TB-T015", "Medicine"),
        ("a result without a bound", r#", below = "45""#, "", "TB-T015", "rule = { result = { variable = \"egfr\""),
        ("an empty list", "rule = { consent = {} }", "rule = { any = [] }", "TB-T015", "id = \"IN2\""),
        ("an empty value set", "\"http://www.whocc.no/atc\" = [\"A10A\"]\n", "", "TB-T016", "id = \"insulin\""),
        ("a variable without codes", r#"codes = { "http://loinc.org" = ["4548-4", "17856-6"] }"#, "codes = {}", "TB-T017", "id = \"hba1c\""),
        ("a flag for another code", "window_days = 90\ncodes", "window_days = 90\nflags = { \"1-1\" = \"x\" }\ncodes", "TB-T018", "id = \"hba1c\""),
        ("a variable that nobody uses", result, "rule = { attested = {} }", "TB-T019", "id = \"egfr\""),
        ("a visit that asks for nothing", "[[variable]]", "[[visit]]\nid = \"w4\"\nday = 28\nwindow_days = 3\nanchor = \"start\"\noutcomes = [\"weight\"]\n[[variable]]", "TB-T020", "[\"weight\"]"),
        ("a finding in no resource", r#"resources = ["Condition"], current"#, "resources = [], current", "TB-T021", "id = \"IN1\""),
        ("an age without a bound", "rule = { consent = {} }", "rule = { age = {} }", "TB-T021", "id = \"IN2\""),
        ("a window longer than the variable's", r#"below = "45""#, r#"below = "45", within_days = 180"#, "TB-T021", "id = \"EX1\""),
        ("a score without its variables", "rule = { consent = {} }", "rule = { score = { score = \"fib4\", at_least = \"1\" } }\n[scores]\ncompute = [\"fib4\"]", "TB-T021", "id = \"IN2\""),
        ("bounds without a value", r#"below = "45""#, r#"below = "45", at_least = "60""#, "TB-T022", "id = \"EX1\""),
        ("an age without a year", "rule = { consent = {} }", "rule = { age = { at_least = 80, at_most = 18 } }", "TB-T022", "id = \"IN2\""),
        ("an exclusion that covers an inclusion", "rule = { consent = {} }", r#"rule = { result = { variable = "egfr", below = "30" } }"#, "TB-T022", "id = \"EX1\""),
        ("two inclusions apart", "rule = { consent = {} }", r#"rule = { result = { variable = "hba1c", below = "7.0" } }"#, "TB-T022", "id = \"IN2\""),
        ("a canonical unit that the scores do not take", "[[variable]]\nid = \"hba1c\"", "[scores]\ncompute = [\"fib4\"]\n[[variable]]\nid = \"alt\"\ntitle = { en = \"ALT\" }\nunit = \"ukat/L\"\ncodes = { \"http://loinc.org\" = [\"1742-6\"] }\n[[variable]]\nid = \"hba1c\"", "TB-T023", "id = \"alt\""),
        ("blocks of two", "block_sizes = [4, 6]", "block_sizes = [2]", "TB-T024", "block_sizes"),
        ("a key of another scheme", "block_sizes = [4, 6]", "block_sizes = [4, 6]\nlimit = 3", "TB-T027", "limit = 3"),
        ("a factor of nothing", "variable = \"hba1c\"\ncuts", "variable = \"hba2c\"\ncuts", "TB-T028", "hba2c"),
        ("cuts that fall", "cuts = [\"8.5\"]", "cuts = [\"8.5\", \"7.5\"]", "TB-T029", "cuts = "),
        ("a factor twice", "[masking]", "[[allocation.factor]]\nname = \"hba1c\"\nvariable = \"egfr\"\ncuts = [60]\n[masking]", "TB-T030", ""),
        ("strata of a handful", "total = 60", "total = 20", "TB-T031", "name = \"hba1c\""),
        ("a role that never sees arms", "\"statistician\"]", "\"monitor\"]", "TB-T032", "monitor"),
        ("a hospital that is told", "write_back = \"code\"", "write_back = \"disclose\"", "TB-T034", "[masking]"),
        ("no allocation", "[allocation]\ntotal = 60\nscheme = \"permuted-blocks\"\nblock_sizes = [4, 6]\n\n[[allocation.factor]]\nname = \"hba1c\"\nvariable = \"hba1c\"\ncuts = [\"8.5\"]\n", "", "TB-T024", ""),
        ("no masking", "[masking]\narm_visible_to = [\"pharmacist\", \"statistician\"]\nwrite_back = \"code\"\ntext = \"Participant, investigator, outcomes assessor\"\nsource = \"made up for this repository\"\n", "", "TB-T033", ""),
        ("a text that is missing", "zh = \"签署知情同意书\"", "zh = \"\"", "TB-T025", "id = \"IN2\""),
        ("a choice that nobody confirmed", "confirmed = true\n", "", "TB-T026", "id = \"hba1c-age\""),
    ];
    for (name, from, to, id, mark) in cases {
        let text = changed(&second, from, to);
        let (code, findings) = check(&text, None);
        let found: Vec<&Value> = findings.iter().filter(|f| f["id"] == id).collect();
        assert!(!found.is_empty(), "{name}: {findings:?}");
        if !mark.is_empty() {
            let place = format!("trial.toml:{}", line_of(&text, mark));
            assert!(found.iter().any(|f| f["place"] == place.as_str()), "{name}: not at {place}: {found:?}");
        }
        let is_error = findings.iter().any(|f| f["severity"] == "error");
        assert_eq!(code, if is_error { 10 } else { 0 }, "{name}: {findings:?}");
        for finding in &findings {
            assert!(finding["text"].as_str().is_some_and(|t| !t.is_empty()), "{finding}");
        }
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn two_criteria_are_enough_to_contradict_each_other() {
    let second = second();
    let (head, _) = second.split_once("[[criterion]]").expect("criteria");
    let two = |second_kind: &str, rule: &str| {
        format!(
            "{head}[[criterion]]\nid = \"A\"\nkind = \"inclusion\"\ntext = {{ en = \"a\", zh = \"a\" }}\nrule = {{ age = {{ at_least = 18 }} }}\n\
             [[criterion]]\nid = \"B\"\nkind = \"{second_kind}\"\ntext = {{ en = \"b\", zh = \"b\" }}\nrule = {rule}\n"
        )
    };
    for (kind, rule, contradict) in [
        ("inclusion", "{ age = { at_most = 17 } }", true),
        ("inclusion", "{ age = { at_most = 18 } }", false),
        ("exclusion", "{ age = { at_least = 18 } }", true),
        ("exclusion", "{ age = { at_least = 16 } }", true),
        ("exclusion", "{ any = [{ attested = {} }, { age = { at_least = 18 } }] }", true),
        ("exclusion", "{ age = { at_least = 65 } }", false),
        ("exclusion", "{ all = [{ attested = {} }, { age = { at_least = 18 } }] }", false),
    ] {
        let (_, findings) = check(&two(kind, rule), None);
        let found = findings.iter().any(|f| f["id"] == "TB-T022");
        assert_eq!(found, contradict, "{kind} {rule}: {findings:?}");
    }
}

#[test]
#[rustfmt::skip] // a table: one case a line
fn a_bad_site_file_is_named_with_its_line() {
    let second = second();
    let head = "id = \"s\"\n\n";
    let code = "[[code]]\nsystem = \"urn:his\"\ncode = \"HB\"\nto_system = \"http://loinc.org\"\nto = \"4548-4\"\n";
    for (name, site, id, mark) in [
        ("good", code.to_owned(), "", ""),
        ("not TOML", "[[code]\n".to_owned(), "TB-T001", "[[code]"),
        ("an unknown key", "color = 1\n".to_owned(), "TB-T002", "color"),
        ("a code twice", format!("{code}{}", code.replace("4548-4", "98979-8")), "TB-S001", ""),
        ("units of nothing", "[units.weight]\n\"kgs\" = \"kg\"\n".to_owned(), "TB-S002", "units.weight"),
        ("a unit of nothing", "[units.hba1c]\n\"pct\" = \"percent\"\n".to_owned(), "TB-T010", "pct"),
        ("a unit that means another already", "[units.egfr]\n\"mL/min/1.73m2\" = \"L/s\"\n".to_owned(), "TB-T010", "mL/min"),
        ("a feed of nothing", "[[feed]]\nresource = \"Diagnosis\"\ncomplete_since = \"ever\"\ndeclared_by = \"x\"\n".to_owned(), "TB-S003", "Diagnosis"),
        ("a feed since nobody knows", "[[feed]]\nresource = \"Condition\"\ncomplete_since = \"2020\"\ndeclared_by = \"x\"\n".to_owned(), "TB-S004", "Condition"),
        ("a control that is none", "pt_control_s = \"twelve\"\n".to_owned(), "TB-S005", "pt_control_s"),
        ("a code that leads nowhere", code.replace("4548-4", "1-1"), "TB-S007", "code = \"HB\""),
        ("a zone by its name", "[hl7v2]\ntime_zone = \"Asia/Shanghai\"\n".to_owned(), "TB-S009", "time_zone"),
        ("a character set of nobody", "[hl7v2]\ncharset = \"UTF-16\"\n".to_owned(), "TB-S010", "charset"),
        ("an authority without a system", "[hl7v2.authorities]\nHIS = \"his\"\n".to_owned(), "TB-S011", "HIS"),
        ("a coding system without a system", "[hl7v2.coding_systems]\nL = \"\"\n".to_owned(), "TB-S011", "L"),
        ("an identifier of nobody", "[hl7v2]\npatient_identifier = \"urn:x\"\n".to_owned(), "TB-S012", "patient_identifier"),
        ("a system that leads nowhere", "[systems]\n\"urn:x\" = \"urn:y\"\n".to_owned(), "TB-S008", "urn:x"),
    ] {
        let text = format!("{head}{site}");
        let (code, findings) = check(&second, Some(&text));
        if id.is_empty() {
            assert_eq!((code, findings), (0, vec![]), "{name}");
            continue;
        }
        let found: Vec<&Value> = findings.iter().filter(|f| f["id"] == id).collect();
        assert!(!found.is_empty(), "{name}: {findings:?}");
        if !mark.is_empty() {
            let place = format!("site.toml:{}", line_of(&text, mark));
            assert_eq!(found[0]["place"], place.as_str(), "{name}");
        }
    }
    // A suspicious name beside a local code is a warning, and `--deny-warnings` makes it count.
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("site.toml"),
        "id = \"s\"\n[[code]]\nsystem = \"urn:his\"\ncode = \"D\"\ndisplay = \"直接胆红素\"\nto_system = \"http://loinc.org\"\nto = \"14631-6\"\n",
    )
    .expect("a file");
    let ran = run_in(folder.path(), &["check", "--no-network", "--site", "site.toml", "-o", "table"], b"");
    assert!(ran.code == 0 && ran.text().contains("site.toml:4") && ran.text().contains("TB-S006"), "{}", ran.text());
    let ran = run_in(folder.path(), &["check", "--no-network", "--site", "site.toml", "--deny-warnings"], b"");
    assert_eq!(ran.code, 1);
}

#[test]
fn the_example_on_the_page_is_a_whole_definition() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/authoring-a-trial.md"))
        .expect("the page");
    let (_, rest) = page.split_once("```toml complete\n").expect("the page has a whole example");
    let (example, _) = rest.split_once("```").expect("the example ends");
    let (code, findings) = check(example, None);
    let found: Vec<(&Value, &Value)> = findings.iter().map(|f| (&f["id"], &f["severity"])).collect();
    // The one choice that nobody has confirmed.
    assert_eq!((code, found), (0, vec![(&Value::from("TB-T026"), &Value::from("note"))]), "{findings:?}");
    let twice = example.replace("[\"none\", \"mild+moderate-severe\"]", "[\"none\", \"mild\"]");
    assert_eq!(check(&twice, None).0, 10, "the example is checked, not skipped");
}

#[test]
fn a_configuration_may_tell_less_than_the_trial_and_never_more() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("trial")).expect("a folder");
    for (allowed, configured, code) in [
        ("disclose", None, 0),
        ("disclose", Some("disclose"), 0),
        ("disclose", Some("code"), 0),
        ("disclose", Some("withhold"), 0),
        ("code", Some("disclose"), 10),
        ("code", Some("code"), 0),
        ("code", Some("withhold"), 0),
        ("withhold", Some("disclose"), 10),
        ("withhold", Some("code"), 10),
        ("withhold", Some("withhold"), 0),
    ] {
        let trial = changed(&second(), "write_back = \"code\"", &format!("write_back = \"{allowed}\""));
        fs::write(folder.path().join("trial/trial.toml"), &trial).expect("a file");
        let arm = configured.map_or(String::new(), |arm| format!("[writeback]\narm = \"{arm}\"\n"));
        fs::write(folder.path().join("c.toml"), format!("trial = \"trial\"\ndata_dir = \"data\"\n{arm}"))
            .expect("a file");
        let check =
            run_in(folder.path(), &["check", "--config", "c.toml", "--no-network", "-o", "ndjson"], b"");
        assert_eq!(check.code, code, "{allowed} {configured:?}: {}", check.text());
        let places = |text: &str| {
            let section = format!("trial.toml:{}", line_of(&trial, "[masking]"));
            text.contains(&section) && text.contains("c.toml") && text.contains("writeback.arm")
        };
        assert_eq!(places(check.text()), code == 10, "{allowed} {configured:?}: {}", check.text());
        let status = run_in(folder.path(), &["allocation", "status", "--config", "c.toml"], b"");
        assert_eq!(
            (status.code == 10, places(&status.stderr)),
            (code == 10, code == 10),
            "{allowed} {configured:?}: {}",
            status.stderr
        );
    }
}
