//! Runs the binary in a folder of its own, without any environment.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The day of judgement of all tests.
pub const AS_OF: &str = "2026-11-22";

pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is UTF-8")
    }

    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|l| serde_json::from_str(l).expect("a JSON line")).collect()
    }
}

/// Runs `trialbridge ARGS` in `folder` with `input` on standard input.
pub fn run_in(folder: &Path, args: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trialbridge"))
        .args(args)
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let bytes = input.to_vec();
    // A command that stops early closes its input: that is its right.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    let output = child.wait_with_output().expect("the binary ends");
    writer.join().expect("writing does not panic");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{args:?} panicked: {stderr}");
    Ran { code: output.status.code().expect("it was not killed"), stdout: output.stdout, stderr }
}

pub fn run(args: &[&str], input: &[u8]) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    run_in(folder.path(), args, input)
}

/// Screens what comes in, on the day of judgement.
pub fn screen(args: &[&str], input: &[u8]) -> Ran {
    let all: Vec<&str> = ["screen", "-", "--as-of", AS_OF].iter().chain(args).copied().collect();
    run(&all, input)
}

pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// One patient of a table: a name for messages, and the resources with `$P` for the patient's id.
pub type Row = (String, Vec<Value>);

/// Screens all rows of a table at once, each as a patient of its own. Returns the screenings in the
/// order of the rows.
pub fn screen_table(rows: &[Row], args: &[&str]) -> Vec<Value> {
    let mut input = String::new();
    for (at, (_, resources)) in rows.iter().enumerate() {
        for line in lines_of(&format!("c{at:03}"), resources) {
            input.push_str(&line);
            input.push('\n');
        }
    }
    let ran = screen(args, input.as_bytes());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut by_subject: BTreeMap<String, Value> = ran
        .lines()
        .into_iter()
        .map(|line| (line["subject"].as_str().expect("a subject").to_owned(), line))
        .collect();
    let screenings: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(at, (name, _))| {
            by_subject.remove(&format!("Patient/c{at:03}")).unwrap_or_else(|| panic!("no line for {name}"))
        })
        .collect();
    assert!(by_subject.is_empty(), "subjects that nobody sent: {:?}", by_subject.keys());
    screenings
}

/// The resources of one patient as JSON texts, with ids where they have none.
pub fn lines_of(patient: &str, resources: &[Value]) -> Vec<String> {
    resources
        .iter()
        .enumerate()
        .map(|(at, resource)| {
            let mut resource = resource.clone();
            let object = resource.as_object_mut().expect("a resource is an object");
            if !object.contains_key("id") {
                object.insert("id".into(), format!("$P-{at}").into());
            }
            resource.to_string().replace("$P", patient)
        })
        .collect()
}

/// The verdict of one criterion.
pub fn verdict<'a>(screening: &'a Value, criterion: &str) -> &'a str {
    criterion_of(screening, criterion)["verdict"].as_str().expect("a verdict")
}

pub fn criterion_of<'a>(screening: &'a Value, criterion: &str) -> &'a Value {
    screening["criteria"]
        .as_array()
        .expect("criteria")
        .iter()
        .find(|c| c["id"] == criterion)
        .unwrap_or_else(|| panic!("there is no {criterion}"))
}

/// `reason` codes of the gaps, each once, in order.
pub fn gap_reasons(screening: &Value) -> Vec<&str> {
    let mut reasons: Vec<&str> = screening["gaps"]
        .as_array()
        .expect("gaps")
        .iter()
        .map(|g| g["reason"].as_str().expect("a reason"))
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}
