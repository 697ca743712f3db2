//! The real binary with a configuration of its own in a temporary folder.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

pub struct Program {
    folder: tempfile::TempDir,
    server: String,
}

/// What one command came to.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub seconds: f64,
}

impl Program {
    /// A store of its own, and `ids` as its cohort: other patients of the server do not matter.
    pub fn new(server: &str, ids: &[String]) -> Program {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("ids.txt"), ids.join("\n") + "\n").expect("the cohort is written");
        let at = folder.path().display();
        let text = format!(
            "data_dir = \"{at}/data\"\n\
             [fhir]\nbase_url = \"{server}\"\n\
             [pull]\ncohort = \"ids:{at}/ids.txt\"\n\
             [allocation]\nkey_file = \"allocation.key\"\n"
        );
        fs::write(folder.path().join("trialbridge.toml"), text).expect("the configuration is written");
        Program { folder, server: server.to_owned() }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_against(&self.server, arguments)
    }

    /// Runs a command with another server than the configured one.
    pub fn run_against(&self, server: &str, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trialbridge"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRIALBRIDGE_")) {
            command.env_remove(name);
        }
        let begun = Instant::now();
        let output = command
            .env("TRIALBRIDGE_FHIR__BASE_URL", server)
            .arg("--config")
            .arg(self.file("trialbridge.toml"))
            .args(arguments)
            .current_dir(self.folder())
            .output()
            .expect("the binary starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            seconds: begun.elapsed().as_secs_f64(),
        }
    }

    /// Runs a command that has to end with this exit code.
    pub fn exits(&self, code: i32, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}\n{}\n{}", ran.out, ran.err);
        assert!(!ran.err.contains("panicked"), "{arguments:?}\n{}", ran.err);
        ran
    }

    /// Standard output of a command that has to succeed.
    pub fn text(&self, arguments: &[&str]) -> String {
        self.exits(0, arguments).out
    }

    /// The one JSON object of a command that has to succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(arguments);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{text}"))
    }

    /// The lines of a command that has to succeed, each an object.
    pub fn lines(&self, arguments: &[&str]) -> Vec<Value> {
        self.text(arguments)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{line}")))
            .collect()
    }
}
