//! A hospital on a free port, a bench with its own folder, and the program run on it.
//!
//! Invariant: no run may show who a patient is. Every patient carries canaries, and every output is searched
//! for them at once.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trialbridge::sandbox::{self, Release, Sandbox, synthetic_cases, synthetic_patients};

pub const ARMS: [&str; 2] = ["Single infusion", "Double infusion"];
/// What must never be seen: names, numbers, addresses, notes.
pub const CANARIES: [&str; 6] =
    ["Canaryname", "Canaryphone", "Canarystreet", "canarynote", "SYN000", "token-canary"];

pub fn today() -> chrono::NaiveDate {
    chrono::Local::now().date_naive()
}

/// The synthetic hospital, served until it is dropped.
pub struct Hospital {
    pub sandbox: Sandbox,
    pub url: String,
    _runtime: Runtime,
}

impl Hospital {
    /// With some of the sixty patients.
    pub fn of(ids: &[&str]) -> Hospital {
        let cases = synthetic_cases(today()).into_iter().filter(|c| ids.contains(&c.id.as_str()));
        Hospital::with(cases.flat_map(|c| c.resources).collect())
    }

    /// With all of them, a Group and a List.
    pub fn all() -> Hospital {
        Hospital::with(synthetic_patients(today()))
    }

    fn with(mut resources: Vec<Value>) -> Hospital {
        for resource in &mut resources {
            match resource["resourceType"].as_str() {
                Some("Patient") => {
                    resource["name"] = json!([{"family": "Canaryname", "given": ["Canaryname"]}]);
                    resource["telecom"] = json!([{"system": "phone", "value": "Canaryphone"}]);
                    resource["address"] = json!([{"line": ["Canarystreet 1"]}]);
                }
                Some("Condition" | "Observation") => resource["note"] = json!([{"text": "canarynote"}]),
                _ => {}
            }
        }
        let sandbox = Sandbox::empty(Release::R4);
        sandbox.load(resources).expect("synthetic resources can be filed");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let url = format!("http://{}/fhir", listener.local_addr().expect("bound"));
        runtime.spawn(sandbox::serve(listener, sandbox.clone(), std::future::pending()));
        Hospital { sandbox, url, _runtime: runtime }
    }

    /// Changes one resource, as the hospital would: the next version.
    pub fn change(&self, resource_type: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let mut resource = self.resource(resource_type, id);
        resource["meta"] = Value::Null;
        resource.as_object_mut().expect("a resource").remove("meta");
        change(&mut resource);
        self.sandbox.put(resource).expect("filed");
    }

    pub fn resource(&self, resource_type: &str, id: &str) -> Value {
        let all = self.sandbox.resources(resource_type);
        all.into_iter().find(|r| r["id"] == id).unwrap_or_else(|| panic!("no {resource_type}/{id}"))
    }

    /// Ours, as the hospital holds them now.
    pub fn research_subjects(&self) -> Vec<Value> {
        let mut all = self.sandbox.resources("ResearchSubject");
        all.retain(|r| r["identifier"][0]["system"] == "urn:trialbridge:subject");
        all
    }

    /// Requests for this type so far.
    pub fn asked(&self, resource_type: &str) -> usize {
        self.sandbox.faults().requests().iter().filter(|r| r.resource_type() == resource_type).count()
    }
}

/// A folder with a configuration and a data directory, and the program run in it with an empty environment.
pub struct Bench {
    dir: TempDir,
    head: String,
    more: String,
}

/// How a run ended.
pub struct Ran {
    pub what: String,
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    pub fn new(hospital: &Hospital) -> Bench {
        Bench::with(&hospital.url, "")
    }

    /// `more`: further sections of the configuration.
    pub fn with(url: &str, more: &str) -> Bench {
        Bench::headed(url, "", more)
    }

    /// `head`: keys of the `[fhir]` section or further tables after it.
    pub fn headed(url: &str, head: &str, more: &str) -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let bench = Bench { dir, head: format!("base_url = \"{url}\"\n{head}"), more: more.to_owned() };
        fs::create_dir(bench.path("elsewhere")).expect("a folder");
        bench.configure();
        bench
    }

    fn configure(&self) {
        let site = concat!(env!("CARGO_MANIFEST_DIR"), "/mappings/sites/demo.toml");
        let text = format!(
            "data_dir = \"{}\"\nsite = \"{site}\"\n[allocation]\nkey_file = \"allocation.key\"\n[fhir]\n{}\n{}\n",
            self.path("data").display(),
            self.head,
            self.more
        );
        fs::write(self.path("trialbridge.toml"), text).expect("written");
    }

    /// Other further sections from now on.
    pub fn reconfigure(&mut self, more: &str) {
        more.clone_into(&mut self.more);
        self.configure();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy with its own data, to be damaged.
    pub fn fork(&self) -> Bench {
        let dir = tempfile::tempdir().expect("a folder");
        let bench = Bench { dir, head: self.head.clone(), more: self.more.clone() };
        for folder in ["elsewhere", "data"] {
            fs::create_dir(bench.path(folder)).expect("a folder");
        }
        for entry in fs::read_dir(self.path("data")).expect("data") {
            let path = entry.expect("an entry").path();
            fs::copy(&path, bench.path("data").join(path.file_name().expect("a name"))).expect("copied");
        }
        if self.path("allocation.key").exists() {
            fs::copy(self.path("allocation.key"), bench.path("allocation.key")).expect("copied");
        }
        if self.path("data.audit-anchor").exists() {
            fs::copy(self.path("data.audit-anchor"), bench.path("data.audit-anchor")).expect("copied");
        }
        bench.configure();
        bench
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trialbridge"));
        command.env_clear().current_dir(self.path("elsewhere")).stdin(Stdio::null());
        command.arg("--config").arg(self.path("trialbridge.toml")).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        finished(args, self.command(args).output().expect("the program runs"))
    }

    /// Runs and expects success.
    pub fn ok(&self, args: &[&str]) -> Ran {
        self.run(args).code(0)
    }

    /// The stored screenings by subject.
    pub fn subjects(&self) -> BTreeMap<String, Value> {
        let name = |v: &Value| v["subject"].as_str().expect("a subject").to_owned();
        self.ok(&["subjects"]).lines().into_iter().map(|v| (name(&v), v)).collect()
    }

    pub fn decision(&self, id: &str) -> String {
        let screening = self.ok(&["explain", id]).json();
        screening["decision"].as_str().expect("a decision").to_owned()
    }

    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("data/trialbridge.db")).expect("the database")
    }

    /// Takes the rules away that stand in the way of whoever changes rows by hand, and changes them.
    pub fn by_hand(&self, sql: &str) {
        let database = self.database();
        let triggers: Vec<String> = {
            let mut names =
                database.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").expect("sql");
            names.query_map([], |r| r.get(0)).expect("sql").map(|n| n.expect("a name")).collect()
        };
        for trigger in triggers {
            database.execute_batch(&format!("DROP TRIGGER {trigger}")).expect("dropped");
        }
        database
            .execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// One number from the database.
    pub fn count(&self, sql: &str) -> i64 {
        self.database().query_row(sql, [], |r| r.get(0)).expect("a number")
    }

    /// Pulled, with a sealed list.
    pub fn ready(hospital: &Hospital, more: &str) -> Bench {
        let bench = Bench::with(&hospital.url, more);
        bench.ok(&["pull"]);
        bench.ok(&["allocation", "generate", "--by", "statistician"]);
        bench
    }
}

pub fn finished(args: &[&str], output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    let ran = Ran {
        what: args.join(" "),
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    ran.keeps_secrets(CANARIES.iter().copied());
    assert!(!ran.err.contains("panicked"), "{}: {}", ran.what, ran.err);
    ran
}

impl Ran {
    /// Expects an exit code.
    pub fn code(self, code: i32) -> Ran {
        assert_eq!(
            self.code, code,
            "`{}`\nstdout: {:.2000}\nstderr: {:.4000}",
            self.what, self.out, self.err
        );
        self
    }

    /// Expects a word on standard error.
    pub fn says(self, word: &str) -> Ran {
        assert!(self.err.contains(word), "`{}` does not say {word:?}: {}", self.what, self.err);
        self
    }

    pub fn keeps_secrets<'a>(&self, secrets: impl Iterator<Item = &'a str>) {
        for secret in secrets {
            assert!(!self.out.contains(secret), "`{}` prints {secret:?}: {:.3000}", self.what, self.out);
            assert!(!self.err.contains(secret), "`{}` says {secret:?}: {}", self.what, self.err);
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("`{}`: {e}: {}", self.what, self.out))
    }

    pub fn lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("`{}`: {e}: {l}", self.what)))
            .collect()
    }
}

/// A trial for four participants.
pub fn tiny_trial(to: &Path) {
    fs::create_dir(to).expect("a folder");
    let from = concat!(env!("CARGO_MANIFEST_DIR"), "/mappings/nct06242405");
    for entry in fs::read_dir(from).expect("the shipped trial") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        let text =
            text.replace("total = 92", "total = 4").replace("block_sizes = [4, 6]", "block_sizes = [4]");
        fs::write(to.join(path.file_name().expect("a name")), text).expect("written");
    }
}

/// The clinical content of a screening, without the paths of gaps, which say where a page held an entry.
pub fn clinical(v: &Value) -> Value {
    let keys =
        ["subject", "asOf", "definition", "decision", "deciding", "criteria", "variables", "scores", "needs"];
    Value::Object(keys.iter().map(|k| ((*k).to_owned(), v[*k].clone())).collect())
}
