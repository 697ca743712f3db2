//! `funnel` from outside: the cohort of the fixtures whole, the same counts as from the lines of `screen`, what
//! is refused. `RENEW_GOLDEN=1` writes the files in `fixtures/funnel/` anew.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use trialbridge::collection::Collection;
use trialbridge::funnel::Case;
use trialbridge::protocol::Trial;

fn funnel(args: &[&str], input: &[u8]) -> Ran {
    let all: Vec<&str> = ["funnel", "-", "--as-of", AS_OF].iter().chain(args).copied().collect();
    run(&all, input)
}

/// The hash changes with every word of the definition, and says nothing about the counts.
fn without_hash(text: &str) -> String {
    let hash = Trial::shipped().hash;
    let short = &hash[.."sha256:".len() + 12];
    assert!(text.contains(short), "the definition is not named");
    text.replace(&hash, "sha256:…").replace(short, "sha256:…")
}

#[test]
fn the_cohort_as_it_is_printed_and_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let cohort = fixture("cohort");
    let run = |more: &[&str]| {
        let base = ["funnel", cohort.to_str().expect("a path"), "--as-of", AS_OF];
        let ran = run_in(folder.path(), &[&base[..], more].concat(), b"");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.text().to_owned()
    };
    let table = run(&["-o", "table", "--svg", "cohort.svg"]);
    let svg = fs::read_to_string(folder.path().join("cohort.svg")).expect("a chart");
    let page = include_str!("../../docs/funnel.md");
    assert!(page.contains(table.trim_end()), "docs/funnel.md shows another table");
    let json = run(&["-o", "json"]);
    assert_eq!(run(&["-o", "ndjson"]), json);
    let pretty: Value = serde_json::from_str(&json).expect("JSON");
    let pretty = serde_json::to_string_pretty(&pretty).expect("JSON") + "\n";
    for (name, got) in
        [("cohort.txt", table), ("cohort.svg", without_hash(&svg)), ("cohort.json", without_hash(&pretty))]
    {
        assert!(!got.contains("Patient/") && !got.contains("pt-"), "{name} names a patient");
        let path = fixture("funnel").join(name);
        if std::env::var_os("RENEW_GOLDEN").is_some() {
            fs::write(&path, &got).expect("written");
        }
        assert_eq!(got, fs::read_to_string(&path).expect("a golden file"), "{name}");
    }
}

/// Patients of whom each lacks something else, or has something more.
fn mixture() -> String {
    let whole = eligible();
    let mut all: Vec<Vec<Value>> =
        vec![whole.clone(), vec![man()], vec![woman()], vec![patient("male", "1930-01-01")]];
    for left_out in 1..whole.len() {
        let mut some = whole.clone();
        some.remove(left_out);
        all.push(some);
    }
    for more in [
        condition(WHO, "C22.0"),
        condition(WHO, "B20"),
        condition("urn:his", "X1"),
        lab("1975-2", "9", "furlong", "2026-11-21"),
        order(ATC, "H02AB06", "2026-08-01"),
        participation("on-study", "other", json!({"start": "2026-11-01"})),
        with(man(), json!({"link": [{"type": "replaced-by", "other": {"reference": "Patient/other"}}]})),
    ] {
        let is_patient = more["resourceType"] == "Patient";
        let rest = if is_patient { whole[1..].to_vec() } else { whole.clone() };
        all.push([rest.clone(), vec![more.clone()]].concat());
        all.push([rest[..rest.len() - 1].to_vec(), vec![more, condition(WHO, "B20")]].concat());
    }
    let lines = all.iter().enumerate().flat_map(|(at, resources)| lines_of(&format!("c{at:03}"), resources));
    lines.map(|line| line + "\n").collect()
}

/// The counts, worked out again from what `screen` prints.
#[test]
fn the_counts_are_those_of_the_screenings() {
    let input = mixture();
    let ran = funnel(&["-o", "json"], input.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let got: Value = serde_json::from_str(ran.text()).expect("JSON");
    let screened = screen(&[], input.as_bytes()).lines();
    let count = |wanted: &dyn Fn(&Value) -> bool| json!(screened.iter().filter(|s| wanted(s)).count());
    assert!(screened.len() > 25);
    assert_eq!(got["patients"]["total"], json!(screened.len()));
    for decision in ["eligible", "ineligible", "undetermined"] {
        assert_eq!(got["patients"][decision], count(&|s| s["decision"] == decision), "{decision}");
        assert_ne!(got["patients"][decision], 0, "{decision} is not tried");
    }
    let ids: Vec<&str> = got["criteria"]
        .as_array()
        .expect("criteria")
        .iter()
        .map(|c| c["id"].as_str().expect("an id"))
        .collect();
    let is = |s: &Value, id: &str, words: &[&str]| words.contains(&verdict(s, id));
    let (adverse, open) = (&["not-met", "excludes"][..], &["unknown", "attest"][..]);
    for (at, id) in ids.iter().enumerate() {
        let row = &got["criteria"][at];
        let first = |s: &Value| ids[..at].iter().all(|before| !is(s, before, adverse));
        let expected = json!({
            "entering": count(&first),
            "excluded": count(&|s| first(s) && is(s, id, adverse)),
            "remaining": count(&|s| first(s) && !is(s, id, adverse)),
            "remainingOpen": count(&|s| first(s) && !is(s, id, adverse) && ids[..=at].iter().any(|i| is(s, i, open))),
            "undetermined": count(&|s| s["decision"] == "undetermined" && s["deciding"][0] == *id),
        });
        assert_eq!(row["inOrder"], expected, "{id}");
        let alone = |s: &Value| is(s, id, adverse) && s["deciding"].as_array().is_some_and(|d| d.len() == 1);
        let expected = json!({
            "excluded": count(&|s| is(s, id, adverse)),
            "only": count(&alone),
            "onlyElseEligible": count(&|s| {
                alone(s) && s.get("blocked").is_none() && ids.iter().all(|i| i == id || !is(s, i, open))
            }),
            "open": count(&|s| is(s, id, open)),
            "unknown": count(&|s| is(s, id, &["unknown"])),
            "attest": count(&|s| is(s, id, &["attest"])),
            "openUndetermined": count(&|s| s["decision"] == "undetermined" && is(s, id, open)),
            "openOnly": count(&|s| {
                s["decision"] == "undetermined" && s["deciding"] == json!([id]) && s.get("blocked").is_none()
            }),
        });
        assert_eq!(row["alone"], expected, "{id}");
        for (list, rows) in [("why", &row["why"]), ("needs", &row["needs"])] {
            for named in rows.as_array().expect("rows") {
                let has = |s: &Value| {
                    criterion_of(s, id)[list].as_array().is_some_and(|all| all.contains(&named["name"]))
                };
                assert_eq!(named["patients"], count(&has), "{id} {list} {named}");
                let undetermined = count(&|s| s["decision"] == "undetermined" && has(s));
                assert_eq!(named["undetermined"], undetermined, "{id} {list} {named}");
            }
        }
    }
    let names = |key: &str, of: &dyn Fn(&Value) -> BTreeSet<String>| {
        let mut all: BTreeMap<String, u64> = BTreeMap::new();
        for screening in &screened {
            of(screening).into_iter().for_each(|name| *all.entry(name).or_default() += 1);
        }
        let rows = got[key].as_array().expect("rows");
        let shown: BTreeMap<String, u64> = rows
            .iter()
            .map(|r| {
                let n = r.get("needed").unwrap_or(&r["patients"]).as_u64().expect("a number");
                (r["name"].as_str().expect("a name").to_owned(), n)
            })
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(shown, all, "{key}");
        assert!(all.len() > 1, "{key} is not tried");
    };
    let strings = |v: &Value| -> BTreeSet<String> {
        v.as_array().into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect()
    };
    names("facts", &|s| strings(&s["needs"]));
    names("gaps", &|s| gap_reasons(s).into_iter().map(str::to_owned).collect());
    for fact in got["facts"].as_array().expect("facts") {
        assert_eq!(fact["settles"], count(&|s| s["needs"] == json!([fact["name"]])), "{fact}");
    }
    // The order and the packing of the files do not show.
    let reversed: Vec<&str> = input.lines().rev().collect();
    assert_eq!(funnel(&["-o", "json"], reversed.join("\n").as_bytes()).text(), ran.text());
}

/// A stored screening counts as the one that was stored.
#[test]
fn a_screening_and_its_json_are_one_case() {
    let trial = Trial::shipped();
    let mut collection = Collection::new(&trial);
    for line in mixture().lines() {
        collection.add(line.as_bytes(), "test").expect("a resource");
    }
    let mut seen = 0;
    for screening in collection.settle().screen(AS_OF.parse().expect("a day")) {
        let json = serde_json::to_string(&screening).expect("JSON");
        assert_eq!(Case::read(&json).expect("a case"), Case::from(&screening), "{json}");
        seen += 1;
    }
    assert!(seen > 25, "{seen}");
    for broken in ["", "{}", "[]", r#"{"definition":"sha256:0","asOf":"today","decision":"eligible"}"#] {
        assert!(Case::read(broken).is_err(), "{broken}");
    }
}

#[test]
fn small_counts_can_be_held_back() {
    let input = mixture();
    let ran = funnel(&["-o", "json", "--suppress-below", "10"], input.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let got: Value = serde_json::from_str(ran.text()).expect("JSON");
    assert_eq!(got["suppressed"], json!({"below": 10, "roundedTo": 10}));
    assert_eq!(got["patients"]["total"], 30);
    assert_eq!(got["patients"]["eligible"], 10);
    assert_eq!(got["criteria"][0]["inOrder"]["excluded"], "<10");
    let table = funnel(&["-o", "table", "--suppress-below", "10"], input.as_bytes());
    assert!(table.text().contains("counts from 1 to 9 are shown as <10"), "{}", table.text());
}

#[test]
fn another_trial_has_its_own_rows() {
    let second = fixture("second-trial");
    let trial = second.to_str().expect("a path");
    let ran = funnel(&["-o", "json", "--trial", trial], lines_of("p", &[man()]).join("\n").as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let got: Value = serde_json::from_str(ran.text()).expect("JSON");
    let names = |rows: &Value, key: &str| {
        let rows = rows.as_array().expect("rows").iter();
        rows.map(|r| r[key].as_str().expect("a name").to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&got["criteria"], "id"), "IN1 IN2 EX1 EX2");
    assert_eq!(
        names(&got["facts"], "name"),
        "hba1c egfr consent attestation:IN1 attestation:IN2 attestation:EX1 attestation:EX2 identity"
    );
    assert_eq!(got["patients"]["undetermined"], 1);
}

#[test]
fn what_is_refused_and_what_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("p.ndjson");
    fs::write(&file, lines_of("p", &[man()]).join("\n") + "\nnot json\n").expect("a file");
    for (name, args, code, word) in [
        ("a day without files", vec!["funnel", "--as-of", AS_OF], 2, "PATH"),
        ("attestations without files", vec!["funnel", "--attestations", "a.csv"], 2, "PATH"),
        ("no threshold", vec!["funnel", "p.ndjson", "--suppress-below", "0"], 2, "suppress-below"),
        ("a line that is not JSON", vec!["funnel", "p.ndjson"], 1, "p.ndjson:2"),
        ("no file", vec!["funnel", "none.ndjson"], 1, "none.ndjson"),
        ("no store", vec!["funnel", "--data-dir", "nowhere"], 1, "no database"),
        (
            "nowhere to draw",
            vec!["funnel", "p.ndjson", "--svg", "no/such/folder.svg"],
            1,
            "cannot be written",
        ),
    ] {
        let ran = run_in(folder.path(), &args, b"");
        assert_eq!(ran.code, code, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(word), "{name}: {}", ran.stderr);
    }
    // What could be read is counted all the same.
    let ran = run_in(folder.path(), &["funnel", "p.ndjson"], b"");
    assert_eq!(ran.lines()[0]["patients"]["total"], 1);
    // A word that a person gave counts as for `screen`.
    fs::write(
        folder.path().join("said.csv"),
        format!("subject,criterion,verdict,by,date,reason\nPatient/p,E11,yes,dr-li,{AS_OF},\n"),
    )
    .expect("a file");
    let args = ["funnel", "p.ndjson", "--as-of", AS_OF, "--attestations", "said.csv"];
    let ran = run_in(folder.path(), &args, b"");
    assert_eq!(ran.lines()[0]["patients"]["ineligible"], 1, "{}", ran.stderr);
}
