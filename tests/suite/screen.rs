//! `screen` as a whole: Bundles and versions, attestations, sites, what is needed, what is shown.

use crate::resources::*;
use crate::runner::*;
use serde_json::{Value, json};
use std::fs;
use trialbridge::collection::Collection;
use trialbridge::protocol::Trial;

fn one(resources: Vec<Value>) -> Value {
    screen_table(&[("one".into(), resources)], &[]).remove(0)
}

fn bundle(entries: Vec<Value>) -> Vec<u8> {
    json!({"resourceType": "Bundle", "type": "collection", "entry": entries}).to_string().into_bytes()
}

#[test]
fn an_eligible_patient_has_nothing_open() {
    let screening = one(eligible());
    assert_eq!(screening["schema"], "trialbridge/screen/v1");
    assert_eq!(screening["trial"], "NCT06242405");
    assert_eq!(screening["asOf"], AS_OF);
    assert!(screening["definition"].as_str().is_some_and(|d| d.starts_with("sha256:") && d.len() == 71));
    assert_eq!(screening["decision"], "eligible", "{screening}");
    assert_eq!(screening["deciding"], json!([]));
    assert_eq!(screening["needs"], json!([]));
    assert_eq!(screening["gaps"], json!([]));
    let ids: Vec<&str> = screening["criteria"]
        .as_array()
        .expect("criteria")
        .iter()
        .map(|c| c["id"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids, ["I1", "I2", "I3", "E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E10", "E11"]);
    for criterion in screening["criteria"].as_array().expect("criteria") {
        let verdict = criterion["verdict"].as_str().expect("a verdict");
        assert!(["met", "clear", "not-applicable"].contains(&verdict), "{criterion}");
        assert!(!criterion["evidence"].as_array().expect("evidence").is_empty(), "{criterion}");
        assert!(criterion["reason"].as_str().is_some_and(|r| !r.is_empty()), "{criterion}");
    }
}

#[test]
fn what_decides_and_what_is_needed() {
    // Which resources are left out of an eligible patient, by their number there.
    let without = |left_out: &[usize]| {
        eligible()
            .into_iter()
            .enumerate()
            .filter(|(at, _)| !left_out.contains(at))
            .map(|(_, r)| r)
            .collect::<Vec<_>>()
    };
    let merged = || {
        vec![with(man(), json!({"link": [{"type": "replaced-by", "other": {"reference": "Patient/other"}}]}))]
    };
    let plus = |extra: Value| [eligible(), vec![extra]].concat();
    let with_form = |answers: &[(&str, bool)]| {
        let mut all = eligible();
        *all.last_mut().expect("the form") = form("2026-11-20", answers);
        all
    };
    let all_but_e4 = [
        ("E1", false),
        ("E2", false),
        ("E3", false),
        ("E6", false),
        ("E7", false),
        ("E8", false),
        ("E10", false),
        ("E11", false),
    ];
    let lines: Vec<(&str, Vec<Value>, &str, Value, Value)> = vec![
        ("no consent", without(&[10]), "undetermined", json!(["I3"]), json!(["consent"])),
        ("no HIV test", without(&[8]), "undetermined", json!(["E5"]), json!(["hiv_screen"])),
        (
            "no HIV test, no consent",
            without(&[8, 10]),
            "undetermined",
            json!(["I3", "E5"]),
            json!(["hiv_screen", "consent"]),
        ),
        ("E4 open", with_form(&all_but_e4), "undetermined", json!(["E4"]), json!(["attestation:E4"])),
        (
            "no birth date",
            [vec![with(man(), json!({"birthDate": null}))], without(&[0])].concat(),
            "undetermined",
            json!(["I1"]),
            json!(["birth-date"]),
        ),
        ("a tumour", plus(condition(WHO, "C22.0")), "ineligible", json!(["E1"]), json!([])),
        (
            "a tumour and HIV",
            [plus(condition(WHO, "C22.0")), vec![condition(WHO, "B20")]].concat(),
            "ineligible",
            json!(["E1", "E5"]),
            json!([]),
        ),
        (
            "a tumour, and no consent",
            [without(&[10]), vec![condition(WHO, "C22.0")]].concat(),
            "ineligible",
            json!(["E1"]),
            json!([]),
        ),
        (
            "cirrhosis, and one result would settle it",
            [without(&[2, 3, 4, 5, 6, 7, 9])].concat(),
            "undetermined",
            json!(["I2"]),
            json!(["bilirubin_total"]),
        ),
        ("merged", [merged(), without(&[0])].concat(), "undetermined", json!([]), json!(["identity"])),
        (
            "merged, and no consent",
            [merged(), without(&[0, 10])].concat(),
            "undetermined",
            json!(["I3"]),
            json!(["identity", "consent"]),
        ),
        (
            "merged, and a tumour",
            [merged(), without(&[0]), vec![condition(WHO, "C22.0")]].concat(),
            "ineligible",
            json!(["E1"]),
            json!([]),
        ),
        (
            "nobody knows anything",
            vec![man()],
            "undetermined",
            json!(["I2", "I3", "E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E10", "E11"]),
            json!([
                "hiv_screen",
                "consent",
                "attestation:I2",
                "attestation:E1",
                "attestation:E2",
                "attestation:E3",
                "attestation:E4",
                "attestation:E6",
                "attestation:E7",
                "attestation:E8",
                "attestation:E10",
                "attestation:E11",
            ]),
        ),
    ];
    let rows: Vec<Row> =
        lines.iter().map(|(name, resources, ..)| ((*name).into(), resources.clone())).collect();
    for ((name, _, decision, deciding, needs), screening) in lines.iter().zip(screen_table(&rows, &[])) {
        assert_eq!(screening["decision"], *decision, "{name}: {screening}");
        assert_eq!(screening["deciding"], *deciding, "{name}");
        assert_eq!(screening["needs"], *needs, "{name}");
    }
}

/// Somebody besides the criteria has to look, as where two patients may be one person.
#[test]
fn what_is_blocked_is_not_eligible() {
    let trial = Trial::shipped();
    let screened = |resources: &[Value]| {
        let mut collection = Collection::new(&trial);
        for line in lines_of("p", resources) {
            collection.add(line.as_bytes(), "test").expect("a resource");
        }
        collection.settle().screen(AS_OF.parse().expect("a day")).next().expect("a subject")
    };
    let mut without_consent = eligible();
    without_consent.remove(10);
    let with_tumour = [eligible(), vec![condition(WHO, "C22.0")]].concat();
    let table = [
        (eligible(), "eligible", "undetermined", vec!["identity"]),
        (without_consent, "undetermined", "undetermined", vec!["consent", "identity"]),
        (with_tumour, "ineligible", "ineligible", vec![]),
    ];
    for (resources, before, after, needs) in table {
        let mut screening = screened(&resources);
        assert_eq!(screening.decision.word(), before);
        screening.block("ambiguous");
        screening.block("merged");
        screening.block("ambiguous");
        assert_eq!(screening.decision.word(), after, "{before}");
        assert_eq!(screening.needs, needs, "{before}");
        assert_eq!(screening.blocked, ["ambiguous", "merged"], "{before}");
        assert_eq!(serde_json::to_value(&screening).expect("JSON")["decision"], after);
    }
}

#[test]
fn evidence_names_the_version() {
    let versioned = with(condition(WHO, "C22.0"), json!({"id": "$P-c", "meta": {"versionId": "4"}}));
    let screening = one(vec![man(), versioned]);
    let evidence = &criterion_of(&screening, "E1")["evidence"][0];
    assert_eq!(evidence["reference"], "Condition/c000-c/_history/4");
    assert!(evidence["summary"].as_str().is_some_and(|s| s.contains("C22.0")), "{evidence}");
}

#[test]
fn the_newest_version_stands_whatever_came_first() {
    let at = |version: &str, over: Value| {
        let base =
            with(lab("1975-2", "2", "mg/dL", RECENT), json!({"id": "$P-o", "meta": {"versionId": version}}));
        with(base, over)
    };
    let corrected =
        |version: &str| at(version, json!({"status": "corrected", "valueQuantity": quantity("9", "mg/dL")}));
    let retracted = |version: &str| at(version, json!({"status": "entered-in-error"}));
    let bare = json!({"resourceType": "Observation", "id": "$P-o", "status": "entered-in-error", "meta": {"versionId": "2"}});
    let broken = at("2", json!({"valueQuantity": "9 mg/dL"}));
    let dated = |when: &str, value: &str| {
        at("1", json!({"meta": {"lastUpdated": when}, "valueQuantity": quantity(value, "mg/dL")}))
    };
    let lines: Vec<(&str, Vec<Value>, Value, &[&str])> = vec![
        ("corrected", vec![at("1", json!({})), corrected("2")], json!(9), &[]),
        ("corrected, tenth version", vec![at("9", json!({})), corrected("10")], json!(9), &[]),
        ("an older correction", vec![at("3", json!({})), corrected("2")], json!(2), &[]),
        ("retracted", vec![at("1", json!({})), retracted("2")], Value::Null, &[]),
        ("retracted without a subject", vec![at("1", json!({})), bare], Value::Null, &[]),
        ("brought back", vec![at("3", json!({})), retracted("2")], json!(2), &[]),
        ("the newer one is broken", vec![at("1", json!({})), broken], Value::Null, &["structure"]),
        ("twice the same version", vec![at("1", json!({})), at("1", json!({}))], json!(2), &[]),
        (
            "one version, two contents",
            vec![at("1", json!({})), corrected("1")],
            Value::Null,
            &["version-conflict"],
        ),
        (
            "by date",
            vec![dated("2026-11-20T00:00:00Z", "2"), dated("2026-11-20T08:00:01+08:00", "9")],
            json!(9),
            &[],
        ),
    ];
    for reversed in [false, true] {
        let rows: Vec<Row> = lines
            .iter()
            .map(|(name, versions, ..)| {
                let mut all: Vec<Value> = [man()].into_iter().chain(versions.iter().cloned()).collect();
                if reversed {
                    all.reverse();
                }
                ((*name).to_owned(), all)
            })
            .collect();
        for ((name, _, expected, gaps), screening) in lines.iter().zip(screen_table(&rows, &[])) {
            let value = screening["variables"]["bilirubin_total"]["value"].as_f64();
            assert_eq!(value, expected.as_f64(), "{name}, reversed {reversed}");
            assert_eq!(gap_reasons(&screening), *gaps, "{name}, reversed {reversed}");
        }
    }
}

#[test]
fn a_bundle_by_uuid_with_the_type_last() {
    let mut patient = man();
    patient.as_object_mut().expect("an object").remove("id");
    let person = "urn:uuid:11111111-1111-4111-8111-111111111111";
    let drug = "urn:uuid:22222222-2222-4222-8222-222222222222";
    let order = with(
        order(ATC, "x", "2026-08-01"),
        json!({"medicationCodeableConcept": null, "medicationReference": {"reference": drug}, "subject": {"reference": person}}),
    );
    // Written by hand: the type stands last.
    let observation = r#"{"id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1975-2"}]},
        "subject":{"reference":"urn:uuid:11111111-1111-4111-8111-111111111111"},"effectiveDateTime":"2026-11-20",
        "valueQuantity":{"value":2.0,"unit":"mg/dL"},"resourceType":"Observation"}"#;
    let entries = vec![
        json!({"fullUrl": "urn:uuid:33333333-3333-4333-8333-333333333333", "resource": serde_json::from_str::<Value>(observation).expect("JSON")}),
        json!({"fullUrl": "urn:uuid:44444444-4444-4444-8444-444444444444", "resource": order}),
        json!({"fullUrl": person, "resource": patient}),
        json!({"fullUrl": drug, "resource": {"resourceType": "Medication", "code": concept(ATC, "H02AB06")}}),
    ];
    let text = format!(
        r#"{{"type":"collection","entry":{},"resourceType":"Bundle"}}"#,
        serde_json::to_string(&entries).expect("JSON")
    );
    let ran = screen(&[], text.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines = ran.lines();
    assert_eq!(lines.len(), 1, "{}", ran.text());
    assert_eq!(lines[0]["subject"], "Patient/11111111-1111-4111-8111-111111111111");
    assert_eq!(verdict(&lines[0], "E6"), "excludes");
    assert_eq!(lines[0]["variables"]["bilirubin_total"]["source"], "Observation/o1");
    assert_eq!(verdict(&lines[0], "I1"), "met");
}

#[test]
fn one_entry_that_cannot_be_used_is_one_gap() {
    let resource = |r: Value| json!({"resource": serde_json::from_str::<Value>(&r.to_string().replace("$P", "p1")).expect("JSON")});
    let entries = vec![
        resource(man()),
        resource(with(condition(WHO, "C22.0"), json!({"id": "c1"}))),
        resource(with(lab("1975-2", "2", "mg/dL", RECENT), json!({"id": "o1", "valueQuantity": 17}))),
        resource(json!({"resourceType": "Telepathy", "id": "t1", "subject": {"reference": "Patient/p1"}})),
        json!({"resource": {"resourceType": "Bundle", "type": "searchset",
                            "entry": [resource(with(lab("1751-7", "29", "g/L", RECENT), json!({"id": "o2"})))]}}),
        json!(17),
        json!({"search": {"mode": "outcome"}, "resource": {"resourceType": "OperationOutcome"}}),
        json!({"request": {"method": "DELETE", "url": "Observation/o3"}}),
        resource(with(lab("2951-2", "134", "mmol/L", RECENT), json!({"id": "o3"}))),
    ];
    let ran = screen(&[], &bundle(entries));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let screening = &ran.lines()[0];
    assert_eq!(verdict(screening, "E1"), "excludes");
    assert_eq!(screening["variables"]["albumin"]["value"], json!(29));
    assert!(screening["variables"].get("sodium").is_none(), "it was deleted");
    let gaps: Vec<(&str, &str)> = screening["gaps"]
        .as_array()
        .expect("gaps")
        .iter()
        .map(|g| (g["reason"].as_str().expect("a reason"), g["path"].as_str().expect("a path")))
        .collect();
    assert_eq!(
        gaps,
        [
            ("structure", "Bundle.entry[5]"),
            ("structure", "Bundle.entry[2].resource.valueQuantity"),
            ("version-conflict", "meta.versionId"),
            ("unknown-type", "Bundle.entry[3].resource.resourceType"),
        ]
    );
}

#[test]
fn attestations_from_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let input: String =
        ["a", "b", "c"].iter().flat_map(|p| lines_of(p, &[man()])).map(|l| l + "\n").collect();
    fs::write(folder.path().join("patients.ndjson"), input).expect("a file");
    fs::write(
        folder.path().join("said.csv"),
        "subject,criterion,verdict,by,date,reason\n\
         Patient/a,E4,no,dr-li,2026-11-20,\n\
         Patient/a,E11,yes,dr-li,2026-11-19,lives abroad\n\
         Patient/a,E11,no,dr-wang,2026-11-20,moved back\n\
         b,E4,no,dr-li,2026-11-20,\n\
         b,E4,yes,dr-wang,2026-11-20,on the same day\n\
         b,E12,no,dr-li,2026-11-20,\n\
         c,E4,perhaps,dr-li,2026-11-20,\n\
         c,E4,no,,2026-11-20,\n\
         c,E4,no,dr-li,20.11.2026,\n\
         c,E4,no\n\
         c,E11,no,dr-li,2026-11-20,\n",
    )
    .expect("a file");
    let ran = run_in(
        folder.path(),
        &["screen", "patients.ndjson", "--as-of", AS_OF, "--attestations", "said.csv"],
        b"",
    );
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    for line in 7..=11 {
        assert!(ran.stderr.contains(&format!("said.csv:{line}: ")), "line {line}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("said.csv:12"), "{}", ran.stderr);
    let lines = ran.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!((verdict(&lines[0], "E4"), verdict(&lines[0], "E11")), ("clear", "clear"));
    assert_eq!((verdict(&lines[1], "E4"), verdict(&lines[1], "E11")), ("excludes", "attest"));
    assert_eq!((verdict(&lines[2], "E4"), verdict(&lines[2], "E11")), ("attest", "clear"));
}

#[test]
fn a_site_says_what_its_own_codes_and_units_mean() {
    let folder = tempfile::tempdir().expect("a folder");
    let site = folder.path().join("site.toml");
    fs::write(
        &site,
        r#"
id = "hospital"
pt_control_s = "12.5"
[systems]
"urn:oid:1.2.156.1" = "http://hl7.org/fhir/sid/icd-10"
[[code]]
system = "urn:his:lab"
code = "TBIL"
to_system = "http://loinc.org"
to = "14631-6"
[[code]]
system = "urn:his:drug"
code = "P77"
to_system = "http://www.whocc.no/atc"
to = "H02AB06"
[units.bilirubin_total]
"微摩尔/升" = "umol/L"
"#,
    )
    .expect("a file");
    let local = with(
        lab("1975-2", "34.2", "x", RECENT),
        json!({"code": concept("urn:his:lab", "TBIL"), "valueQuantity": {"value": 34.2, "unit": "微摩尔/升"}}),
    );
    let resources = vec![
        man(),
        local,
        condition("urn:oid:1.2.156.1", "I85.000x001"),
        condition("urn:oid:1.2.156.1", "K74.608"),
        order("urn:his:drug", "P77", "2026-08-01"),
        lab("5902-2", "18", "s", RECENT),
        lab("1751-7", "29", "g/L", RECENT),
        grades("2026-11-20", "mild", "0"),
    ];
    let rows: Vec<Row> = vec![("site".into(), resources)];
    let plain = &screen_table(&rows, &[])[0];
    assert!(plain["variables"].get("bilirubin_total").is_none());
    assert_eq!(verdict(plain, "I2"), "unknown");
    let known = &screen_table(&rows, &["--site", site.to_str().expect("a path")])[0];
    assert_eq!(known["variables"]["bilirubin_total"]["value"], json!(2));
    assert_eq!(verdict(known, "I2"), "met");
    assert_eq!(verdict(known, "E6"), "excludes");
    // 18 s against 12.5 s of control: 5.5 s, 2 points; the INR is missing.
    assert_eq!(known["scores"]["child_pugh"]["value"], json!(9));
    assert_eq!(known["scores"]["child_pugh"]["coagulation"], "pt_prolongation");
}

#[test]
fn outputs() {
    let rows: String = lines_of("p", &eligible()).join("\n");
    let ndjson = screen(&[], rows.as_bytes());
    let array = screen(&["-o", "json"], rows.as_bytes());
    let parsed: Vec<Value> = serde_json::from_slice(&array.stdout).expect("an array");
    assert_eq!(parsed, ndjson.lines());
    let table = screen(&["-o", "table"], rows.as_bytes());
    assert!(table.text().starts_with("SUBJECT"), "{}", table.text());
    assert!(table.text().contains("Patient/p  eligible"), "{}", table.text());
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("p.ndjson"), &rows).expect("a file");
    let ran = run_in(folder.path(), &["screen", "p.ndjson", "--as-of", AS_OF, "--out", "out.ndjson"], b"");
    assert_eq!((ran.code, ran.stdout.len()), (0, 0));
    assert_eq!(fs::read(folder.path().join("out.ndjson")).expect("written"), ndjson.stdout);
    assert_eq!(run_in(folder.path(), &["screen"], b"").code, 2);
    assert_eq!(run_in(folder.path(), &["screen", "p.ndjson", "--as-of", "soon"], b"").code, 2);
    // A patient of whom only others speak is a subject too.
    let orphan = screen(&[], lines_of("q", &[lab("1975-2", "2", "mg/dL", RECENT)])[0].as_bytes());
    assert_eq!(orphan.lines()[0]["decision"], "undetermined");
}

#[test]
fn the_cohort_is_judged_as_it_was_made() {
    let cohort = fixture("cohort/cirrhosis-6.ndjson.gz");
    let additions = fixture("cohort/additions.ndjson");
    let paths = [cohort.to_str().expect("a path"), additions.to_str().expect("a path")];
    let ran = run(&["screen", paths[0], paths[1], "--as-of", AS_OF], b"");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let decisions: Vec<(String, String, Vec<String>)> = ran
        .lines()
        .iter()
        .map(|l| {
            let deciding = l["deciding"].as_array().expect("deciding").iter();
            (
                l["subject"].as_str().expect("a subject").trim_start_matches("Patient/pt-").to_owned(),
                l["decision"].as_str().expect("a decision").to_owned(),
                deciding.map(|d| d.as_str().expect("an id").to_owned()).collect(),
            )
        })
        .collect();
    let expected = [
        ("617d20840ced", "ineligible", vec!["I1"]),
        ("878c3cba2da8", "eligible", vec![]),
        ("d8c578334574", "eligible", vec![]),
        ("de1d94d6becd", "ineligible", vec!["E6"]),
        ("e0dac3711b52", "undetermined", vec!["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E10", "E11"]),
        ("e4f5d6254795", "undetermined", vec!["I3"]),
    ];
    let shown: Vec<(&str, &str, Vec<&str>)> = decisions
        .iter()
        .map(|(s, d, c)| (s.as_str(), d.as_str(), c.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn threads_change_nothing_and_the_prefilter_says_what_it_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let cohort = format!("{}/fixtures/cohort", env!("CARGO_MANIFEST_DIR"));
    let ran = |more: &[&str]| {
        let args: Vec<&str> = ["screen", &cohort, "--as-of", AS_OF].iter().chain(more).copied().collect();
        run_in(folder.path(), &args, b"")
    };
    let one = ran(&["--threads", "1"]);
    assert_eq!(one.code, 0, "{}", one.stderr);
    assert_eq!(ran(&["--threads", "5"]).stdout, one.stdout);
    assert!(!one.stderr.contains("passed over"), "{}", one.stderr);
    let filtered = ran(&["--prefilter"]);
    assert!(filtered.stderr.contains("lines were passed over by the prefilter"), "{}", filtered.stderr);
    let decisions = |ran: &[u8]| {
        let decision = |line: &str| {
            let screening: serde_json::Value = serde_json::from_str(line).expect("JSON");
            (screening["subject"].to_string(), screening["decision"].to_string())
        };
        String::from_utf8_lossy(ran).lines().map(decision).collect::<Vec<_>>()
    };
    assert_eq!(decisions(&filtered.stdout), decisions(&one.stdout));
    assert_eq!(ran(&["--threads", "0"]).code, 2);
}
