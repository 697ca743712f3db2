//! The whole path on FHIR servers that nobody here wrote, with the real binary: load patients, pull,
//! judge, consent, seal, randomize, write back, and read the ResearchSubject with its arm by plain HTTP.
//!
//! ```sh
//! export TRIALBRIDGE_TEST_HAPI=$(tests/servers/hapi.sh start)
//! export TRIALBRIDGE_TEST_SEKMET=$(tests/servers/sekmet.sh start)
//! cargo test --test real_servers
//! ```
//!
//! A server that is not named is skipped with one line. A server can be used again and again: every
//! run loads patients of its own and leaves them there; only the ResearchStudy is shared.

#[path = "real_servers/hospital.rs"]
mod hospital;
#[path = "real_servers/program.rs"]
mod program;
#[path = "real_servers/push.rs"]
mod push;

use hospital::{Cohort, Hospital, plain, reference, text, utf8};
use program::Program;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

const ELIGIBLE: &str = "pt-878c3cba2da8";
const ELIGIBLE_WOMAN: &str = "pt-d8c578334574";
const WITHOUT_CONSENT: &str = "pt-e4f5d6254795";
const WITHOUT_FORM: &str = "pt-e0dac3711b52";
const TOO_OLD: &str = "pt-617d20840ced";

#[test]
fn hapi_fhir() {
    whole_path("TRIALBRIDGE_TEST_HAPI", "tests/servers/hapi.sh");
}

#[test]
fn sekmet() {
    whole_path("TRIALBRIDGE_TEST_SEKMET", "tests/servers/sekmet.sh");
}

/// A line that is seen without `--nocapture`.
fn say(line: &str) {
    // Nobody who reads it is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn whole_path(variable: &str, script: &str) {
    let Some(base) = std::env::var(variable).ok().filter(|base| !base.is_empty()) else {
        say(&format!("skipped: {variable} is not set (start {script})"));
        return;
    };
    let hospital = Hospital::at(&base);
    let files = tempfile::tempdir().expect("a temporary folder");
    let cohort = Cohort::make(files.path());
    cohort.load(&hospital);
    let run = Run { program: Program::new(&hospital.base, &cohort.patients), hospital, cohort, script };
    run.pulls();
    run.judges_like_screen();
    run.imports_what_the_server_lacks();
    run.randomizes();
    let written = run.writes_back();
    run.withdraws(&written);
    run.follows_changes();
    run.looks_after_itself();
    run.adds_no_second_subject_from_a_new_store();
    run.meets_a_server_that_is_down();
}

struct Run<'a> {
    program: Program,
    hospital: Hospital,
    cohort: Cohort,
    script: &'a str,
}

/// Everything of ours on the server, by plain HTTP.
struct Written {
    /// By patient.
    subjects: BTreeMap<String, Value>,
    scores: Vec<Value>,
    provenances: Vec<Value>,
}

impl Run<'_> {
    fn subject(&self, name: &str) -> String {
        format!("Patient/{}", self.cohort.id(name))
    }

    fn explain(&self, name: &str) -> Value {
        self.program.json(&["explain", &self.subject(name), "-o", "json"])
    }

    fn decisions(&self) -> BTreeMap<String, Value> {
        let lines = self.program.lines(&["subjects", "-o", "ndjson"]);
        lines.into_iter().map(|line| (text(&line["subject"]), line)).collect()
    }

    fn pull(&self) -> Value {
        self.program.json(&["pull", "-o", "ndjson"])
    }

    fn pulls(&self) {
        let checked = self.program.text(&["check", "-o", "table"]);
        assert!(checked.contains("ok    fhir"), "{checked}");
        let dry = self.program.text(&["pull", "--dry-run", "-o", "table"]);
        assert!(dry.contains("would ask"), "{dry}");

        let ran = self.program.exits(0, &["pull", "-o", "ndjson"]);
        let report: Value = serde_json::from_str(&ran.out).expect("the report is one object");
        let has_forms = self.hospital.searches("QuestionnaireResponse");
        say(&format!(
            "{}: first pull {} resources, {} pages, {} requests, {:.1} s{}",
            self.script,
            report["resources"],
            report["pages"],
            report["requests"],
            ran.seconds,
            if has_forms { "" } else { "; forms imported" }
        ));
        assert_eq!(report["patients"], 6);
        assert_eq!(report["judged"], 6);
        assert_eq!(report["quarantined"], 0, "{report}");
        assert_eq!(report["new"], report["resources"], "what came is new, and counted once: {report}");
        for list in ["warnings", "incomplete"] {
            assert_eq!(report[list].as_array().map(Vec::len), Some(0), "{report}");
        }
        let unsupported = report["unsupported"].as_array().expect("a list");
        assert_eq!(unsupported.iter().any(|t| t == "QuestionnaireResponse"), !has_forms, "{report}");
        if !has_forms {
            let imported = self.program.json(&["import", utf8(&self.cohort.forms), "-o", "ndjson"]);
            assert_eq!((&imported["new"], &imported["judged"]), (&4.into(), &4.into()), "{imported}");
        }

        let again = self.program.exits(0, &["pull", "-o", "table"]);
        say(&format!("{}: second pull {:.1} s", self.script, again.seconds));
        for line in ["patients     6", "0 new, 0 changed", "judged       0 subjects, 0 decisions changed"] {
            assert!(again.out.contains(line), "no `{line}` in\n{}", again.out);
        }
    }

    /// The stored decisions are those of `screen` on the same files.
    fn judges_like_screen(&self) {
        let stored = self.decisions();
        let day = text(&stored[&self.subject(ELIGIBLE)]["asOf"]);
        let screened =
            self.program.lines(&["screen", utf8(&self.cohort.file), "--as-of", &day, "-o", "ndjson"]);
        assert_eq!(screened.len(), 6);
        for from_files in &screened {
            let subject = text(&from_files["subject"]);
            assert_eq!(comparable(&stored[&subject]), comparable(from_files), "{subject}");
        }
        for (name, decision) in [
            (ELIGIBLE, "eligible"),
            (ELIGIBLE_WOMAN, "eligible"),
            (WITHOUT_CONSENT, "undetermined"),
            (WITHOUT_FORM, "undetermined"),
            (TOO_OLD, "ineligible"),
            ("pt-de1d94d6becd", "ineligible"),
        ] {
            assert_eq!(stored[&self.subject(name)]["decision"], decision, "{name}");
            let mut explained = self.explain(name);
            // What changed it stands beside the decision, not in it.
            assert!(explained["changes"].is_array(), "{name}");
            explained.as_object_mut().expect("an object").remove("changes");
            assert_eq!(explained, stored[&self.subject(name)], "{name}");
        }
        let table = self.program.text(&["subjects", "-o", "table"]);
        assert_eq!(table.lines().count(), 7, "{table}");
        let words = self.program.text(&["explain", &self.subject(ELIGIBLE), "-o", "table"]);
        assert!(words.contains("ELIGIBLE") && words.contains("meld_unos"), "{words}");
    }

    /// A result that came in a file and that the server has never seen: scores rest on it, and nothing
    /// that is written may refer to it, because a server that checks references would refuse it.
    fn imports_what_the_server_lacks(&self) {
        let used = self.explain(ELIGIBLE_WOMAN)["variables"]["albumin"].clone();
        let mut result = self.hospital.read(&text(&used["source"]));
        let id = self.cohort.id("from-file");
        result["id"] = id.as_str().into();
        result.as_object_mut().expect("a resource").remove("meta");
        let later = chrono::DateTime::parse_from_rfc3339(&text(&used["effective"])).expect("an instant")
            + chrono::Duration::minutes(1);
        result["effectiveDateTime"] = later.to_rfc3339().into();
        let file = self.program.file("result.ndjson");
        std::fs::write(&file, result.to_string()).expect("the result is written");
        let report = self.program.json(&["import", utf8(&file), "-o", "ndjson"]);
        assert_eq!((&report["new"], &report["judged"]), (&1.into(), &1.into()), "{report}");
        let now = &self.explain(ELIGIBLE_WOMAN)["variables"]["albumin"];
        assert_eq!(now["source"], format!("Observation/{id}"));
    }

    fn allocated(&self) -> Value {
        self.program.json(&["allocation", "status", "-o", "json"])["allocated"].clone()
    }

    fn randomize(&self, code: i32, name: &str, more: &[&str]) -> String {
        let subject = self.subject(name);
        let mut arguments = vec!["randomize", &subject, "--by", "Dr Example", "-o", "json"];
        arguments.extend(more);
        self.program.exits(code, &arguments).out
    }

    fn randomizes(&self) {
        let list = self.program.json(&["allocation", "generate", "--by", "Statistician", "-o", "json"]);
        assert_eq!(list["planned"], 92);
        self.program.exits(17, &["allocation", "generate", "--by", "Statistician"]);
        let status = self.program.text(&["allocation", "status"]);
        assert!(!status.contains("infusion"), "the status names an arm");

        // Nobody who may not be randomized takes a slot.
        for name in [WITHOUT_CONSENT, WITHOUT_FORM, TOO_OLD] {
            assert_eq!(self.randomize(17, name, &[]), "");
        }
        assert!(self.randomize(0, ELIGIBLE, &["--dry-run"]).contains("\"possible\":true"));
        assert_eq!(self.allocated(), 0);

        let first: Value =
            serde_json::from_str(&self.randomize(0, ELIGIBLE, &["--key", "k1"])).expect("JSON");
        let again: Value =
            serde_json::from_str(&self.randomize(0, ELIGIBLE, &["--key", "k1"])).expect("JSON");
        assert_eq!((&first["replayed"], &again["replayed"]), (&false.into(), &true.into()));
        for key in ["allocation", "at", "arm"] {
            assert_eq!(first[key], again[key], "{key}");
        }
        // Another key for the same participant, and the same key for another participant.
        assert_eq!(self.randomize(17, ELIGIBLE, &["--key", "k2"]), "");
        assert_eq!(self.randomize(17, ELIGIBLE_WOMAN, &["--key", "k1"]), "");
        assert_eq!(self.allocated(), 1);

        let consented = self.subject(WITHOUT_CONSENT);
        let judged = self.program.json(&["consent", "record", &consented, "--by", "Nurse", "-o", "json"]);
        assert_eq!(judged["decision"], "eligible", "{judged}");
        self.randomize(0, WITHOUT_CONSENT, &[]);
        self.randomize(0, ELIGIBLE_WOMAN, &[]);
        assert_eq!(self.allocated(), 3);
        let verified = self.program.json(&["allocation", "verify", "-o", "json"]);
        assert_eq!((&verified["verified"], &verified["allocations"]), (&true.into(), &3.into()));
    }

    /// What is on the server for this run's patients.
    fn on_server(&self) -> Written {
        let patients: BTreeSet<String> =
            self.cohort.patients.iter().map(|id| format!("Patient/{id}")).collect();
        let mut subjects = BTreeMap::new();
        for subject in self.hospital.all("ResearchSubject?_count=200") {
            let patient = plain(&text(&subject["individual"]["reference"]));
            if patients.contains(&patient) {
                let second = subjects.insert(patient, subject);
                assert!(second.is_none(), "one participant has two ResearchSubjects: {second:?}");
            }
        }
        let mut scores = Vec::new();
        for id in &self.cohort.patients {
            let all = self.hospital.all(&format!("Observation?patient={id}&_count=200"));
            scores
                .extend(all.into_iter().filter(|o| o["identifier"][0]["system"] == "urn:trialbridge:score"));
        }
        let ours: BTreeSet<String> = subjects.values().chain(&scores).map(reference).collect();
        let mut provenances = self.hospital.all("Provenance?_count=200");
        provenances.retain(|p| ours.contains(&plain(&text(&p["target"][0]["reference"]))));
        Written { subjects, scores, provenances }
    }

    fn writeback(&self, more: &[&str]) -> BTreeMap<String, usize> {
        let mut arguments = vec!["writeback", "-o", "ndjson"];
        arguments.extend(more);
        let ran = self.program.exits(0, &arguments);
        say(&format!("{}: {} {:.1} s", self.script, arguments.join(" "), ran.seconds));
        let mut outcomes = BTreeMap::new();
        for line in ran.out.lines() {
            let line: Value = serde_json::from_str(line).expect("a line is an object");
            *outcomes.entry(text(&line["outcome"])).or_insert(0) += 1;
        }
        outcomes
    }

    fn writes_back(&self) -> Written {
        let decided = self.decisions();
        let planned = self.writeback(&["--dry-run"]);
        assert!(planned.keys().all(|word| word == "would create" || word == "unchanged"), "{planned:?}");
        let before = self.on_server();
        assert!(before.subjects.is_empty() && before.scores.is_empty(), "a dry run has written");

        let created = self.writeback(&[]);
        let lines: usize = created.values().sum();
        assert_eq!(created.get("created"), planned.get("would create"), "{created:?}");
        let written = self.on_server();
        let unchanged = self.writeback(&[]);
        assert_eq!(unchanged, BTreeMap::from([("unchanged".to_owned(), lines)]));
        let again = self.on_server();
        assert_eq!(again.subjects, written.subjects, "the second run wrote");
        assert_eq!(again.scores.len(), written.scores.len());
        assert_eq!(again.provenances.len(), written.provenances.len());

        // One ResearchStudy, whoever else has tried this server before.
        let mut studies = self.hospital.all("ResearchStudy?_count=200");
        studies.retain(|s| {
            s["identifier"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|i| i["system"] == "https://clinicaltrials.gov" && i["value"] == "NCT06242405")
        });
        assert_eq!(studies.len(), 1);
        let study = &studies[0];
        let arms: BTreeSet<String> =
            study["arm"].as_array().into_iter().flatten().map(|a| text(&a["name"])).collect();
        assert_eq!(arms.len(), 2, "{study}");

        assert_eq!(
            written.subjects.keys().cloned().collect::<BTreeSet<_>>(),
            [ELIGIBLE, ELIGIBLE_WOMAN, WITHOUT_CONSENT].map(|name| self.subject(name)).into()
        );
        for (patient, subject) in &written.subjects {
            let identifier = &subject["identifier"];
            assert_eq!(identifier.as_array().map(Vec::len), Some(1), "{subject}");
            assert_eq!(identifier[0]["system"], "urn:trialbridge:subject");
            assert!(!text(&identifier[0]["value"]).contains(patient.trim_start_matches("Patient/")));
            assert_eq!(plain(&text(&subject["study"]["reference"])), reference(study));
            assert_eq!(subject["status"], "on-study");
            assert!(arms.contains(&text(&subject["assignedArm"])), "{subject}");
            let id = patient.trim_start_matches("Patient/");
            // The arm is the one that the participant was allocated to.
            let allocated = self.program.json(&[
                "randomize",
                id,
                "--by",
                "Dr Example",
                "-o",
                "json",
                "--key",
                &if *patient == self.subject(ELIGIBLE) { "k1".to_owned() } else { format!("cli:{patient}") },
            ]);
            assert_eq!((&allocated["replayed"], &allocated["arm"]), (&true.into(), &subject["assignedArm"]));
        }
        let consent = |name| plain(&text(&written.subjects[&self.subject(name)]["consent"]["reference"]));
        assert_eq!(consent(ELIGIBLE), format!("Consent/{}", self.cohort.id("added-878c-consent")));
        // The consent that was recorded here is not on the server.
        assert_eq!(consent(WITHOUT_CONSENT), "");
        self.scores_are_derived(&written, &decided);
        written
    }

    fn scores_are_derived(&self, written: &Written, decided: &BTreeMap<String, Value>) {
        let of = |resource: &Value, provenances: &[Value]| {
            let target = reference(resource);
            provenances.iter().filter(|p| plain(&text(&p["target"][0]["reference"])) == target).count()
        };
        let mut from_files = 0;
        for patient in written.subjects.keys() {
            let decision = &decided[patient];
            let key = text(&written.subjects[patient]["identifier"][0]["value"]);
            let mut names = BTreeSet::new();
            for score in
                written.scores.iter().filter(|s| plain(&text(&s["subject"]["reference"])) == *patient)
            {
                let name = text(&score["code"]["coding"][0]["code"]);
                let expected = &decision["scores"][&name];
                assert_eq!(score["status"], "final");
                assert!(text(&score["identifier"][0]["value"]).starts_with(&format!("{key}/{name}/")));
                let number = |v: &Value| v.as_f64();
                match text(&expected["status"]).as_str() {
                    "known" => {
                        assert_eq!(number(&score["valueQuantity"]["value"]), number(&expected["value"]))
                    }
                    _ => assert_eq!(number(&score["valueRange"]["low"]["value"]), number(&expected["low"])),
                }
                let used: BTreeSet<String> = decision["variables"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(_, v)| text(&v["source"]))
                    .collect();
                let from = score["derivedFrom"].as_array().cloned().unwrap_or_default();
                assert!(!from.is_empty(), "{name} is derived from nothing");
                for input in &from {
                    let Some(input) = input["reference"].as_str().map(plain) else {
                        // Named, because it is not there to be referred to.
                        let name = text(&input["identifier"]["value"]);
                        let source = name.split_once('#').map(|(_, reference)| plain(reference));
                        assert!(source.is_some_and(|s| used.contains(&s)), "{name}");
                        from_files += usize::from(name.contains(&self.cohort.id("from-file")));
                        continue;
                    };
                    assert!(used.contains(&input), "{name}: {input} is not what the decision used");
                    let there = self.hospital.read(&input);
                    assert_eq!(plain(&text(&there["subject"]["reference"])), *patient);
                }
                let forms = from.iter().any(|f| f.to_string().contains("QuestionnaireResponse/"));
                assert_eq!(forms, name == "child_pugh", "the bedside grades are inputs of {name}");
                assert_eq!(of(score, &written.provenances), 1, "{name}");
                assert!(names.insert(name.clone()), "{name} was written twice");
            }
            for name in ["meld_unos", "meld3", "child_pugh", "albi"] {
                assert!(names.contains(name), "{name} was not written: {names:?}");
            }
            assert_eq!(of(&written.subjects[patient], &written.provenances), 1, "{patient}");
        }
        assert!(from_files > 0, "no score names the result that came in a file");
        for provenance in &written.provenances {
            let software = &provenance["agent"][0]["who"]["identifier"]["system"];
            assert_eq!(software, "urn:trialbridge:software", "{provenance}");
        }
    }

    fn withdraws(&self, written: &Written) {
        let patient = self.subject(WITHOUT_CONSENT);
        let judged = self.program.json(&["consent", "withdraw", &patient, "--by", "Nurse", "-o", "json"]);
        assert_ne!(judged["decision"], "eligible");
        let outcomes = self.writeback(&[]);
        assert_eq!(outcomes.get("updated"), Some(&1), "{outcomes:?}");
        let now = self.on_server();
        let (before, after) = (&written.subjects[&patient], &now.subjects[&patient]);
        assert_eq!(after["status"], "withdrawn");
        assert_eq!(after["period"]["end"], judged["asOf"], "{after}");
        for kept in ["id", "identifier", "study", "individual", "assignedArm"] {
            assert_eq!(after[kept], before[kept], "{kept}");
        }
        for name in [ELIGIBLE, ELIGIBLE_WOMAN] {
            assert_eq!(now.subjects[&self.subject(name)]["status"], "on-study");
        }
        let outcomes = self.writeback(&[]);
        assert_eq!(outcomes.keys().collect::<Vec<_>>(), ["unchanged"]);
    }

    fn follows_changes(&self) {
        // What we wrote ourselves comes back and changes nobody's decision.
        let settled = self.pull();
        assert_eq!(settled["decisions"].as_array().map(Vec::len), Some(0), "{settled}");
        let before = self.decisions();
        let frozen = self.on_server();

        // A corrected result: only its patient is judged again, on the new version.
        let used = &before[&self.subject(ELIGIBLE)]["variables"]["bilirubin_total"];
        let mut result = self.hospital.read(&text(&used["source"]));
        result["valueQuantity"]["value"] = 9.9.into();
        let version = self.hospital.put(&result);
        assert_ne!(used["version"].as_str(), Some(version.as_str()));
        let report = self.pull();
        for (key, expected) in [("new", 0), ("changed", 1), ("judged", 1)] {
            assert_eq!(report[key], expected, "{key}: {report}");
        }
        let after = self.decisions();
        for (subject, decision) in &after {
            let same = *decision == before[subject];
            assert_eq!(same, *subject != self.subject(ELIGIBLE), "{subject}");
        }
        let now = &after[&self.subject(ELIGIBLE)]["variables"]["bilirubin_total"];
        assert_eq!((&now["source"], &now["version"]), (&used["source"], &version.as_str().into()));
        assert_eq!(now["value"].as_f64(), Some(9.9));
        let history = self.program.lines(&["explain", &self.subject(ELIGIBLE), "--history"]);
        let versions: Vec<_> =
            history.iter().map(|d| text(&d["variables"]["bilirubin_total"]["version"])).collect();
        assert_eq!(versions.last(), Some(&version));
        assert!(versions.contains(&text(&used["version"])), "the earlier decision is kept: {versions:?}");

        // A retraction: what rested on it is open again.
        let name = "Observation/".to_owned() + &self.cohort.id("added-d8c5-hiv");
        let mut test = self.hospital.read(&name);
        test["status"] = "entered-in-error".into();
        self.hospital.put(&test);
        let report = self.pull();
        assert_eq!(report["judged"], 1, "{report}");
        let reopened = self.explain(ELIGIBLE_WOMAN);
        assert_eq!(reopened["decision"], "undetermined");
        assert_eq!(verdict(&reopened, "E5"), "unknown");
        assert_eq!(verdict(&before[&self.subject(ELIGIBLE_WOMAN)], "E5"), "clear");
        // It does not undo an allocation. The scores whose input was corrected are corrected, once.
        let outcomes = self.writeback(&[]);
        assert!(outcomes.contains_key("updated"), "{outcomes:?}");
        assert_eq!(self.writeback(&[]).keys().collect::<Vec<_>>(), ["unchanged"]);
        assert_eq!(self.on_server().subjects, frozen.subjects);

        test["status"] = "final".into();
        self.hospital.put(&test);
        self.pull();
        assert_eq!(self.explain(ELIGIBLE_WOMAN)["decision"], "eligible");
    }

    fn looks_after_itself(&self) {
        let before = self.decisions();
        assert_eq!(self.program.json(&["verify", "-o", "json"])["verified"], true);
        assert_eq!(self.program.json(&["audit", "verify", "-o", "json"])["verified"], true);
        let replayed = self.program.text(&["replay", "-o", "table"]);
        assert!(replayed.contains("0 decisions changed"), "{replayed}");
        assert_eq!(self.decisions(), before);
        assert_eq!(self.program.json(&["verify", "-o", "json"])["verified"], true);
        assert_eq!(self.program.json(&["audit", "verify", "-o", "json"])["verified"], true);
        assert_eq!(self.writeback(&[]).keys().collect::<Vec<_>>(), ["unchanged"]);
    }

    /// A store that was lost and begun anew has other keys: the participant keeps the one ResearchSubject.
    fn adds_no_second_subject_from_a_new_store(&self) {
        let before = self.on_server();
        let other = Program::new(&self.hospital.base, std::slice::from_ref(&self.cohort.id(ELIGIBLE)));
        other.text(&["pull"]);
        if !self.hospital.searches("QuestionnaireResponse") {
            other.text(&["import", utf8(&self.cohort.forms)]);
        }
        other.text(&["allocation", "generate"]);
        other.text(&["randomize", &self.subject(ELIGIBLE), "--by", "Dr Example"]);
        let refused = other.exits(1, &["writeback", "-o", "ndjson"]);
        assert!(refused.out.contains("foreign-research-subject"), "{}", refused.out);
        assert_eq!(self.on_server().subjects, before.subjects);
    }

    fn meets_a_server_that_is_down(&self) {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let nowhere = format!("http://{}/fhir", listener.local_addr().expect("a bound port"));
        drop(listener);
        let before = self.decisions();
        for arguments in [&["pull"][..], &["writeback"], &["check"]] {
            let ran = self.program.run_against(&nowhere, arguments);
            assert_eq!(ran.code, 11, "{arguments:?}\n{}\n{}", ran.out, ran.err);
            say(&format!("{}: {} without a server {:.1} s", self.script, arguments[0], ran.seconds));
        }
        assert_eq!(self.decisions(), before);
    }
}

fn verdict(decision: &Value, id: &str) -> String {
    let criteria = decision["criteria"].as_array().into_iter().flatten();
    text(&criteria.filter(|c| c["id"] == id).map(|c| c["verdict"].clone()).next().unwrap_or_default())
}

/// A decision without what only a server knows: the versions.
fn comparable(decision: &Value) -> Value {
    let mut decision = decision.clone();
    strip(&mut decision);
    decision
}

fn strip(node: &mut Value) {
    match node {
        Value::Object(members) => {
            members.remove("version");
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::String(text) => {
            if let Some(at) = text.find("/_history/") {
                text.truncate(at);
            }
        }
        _ => {}
    }
}
