//! The real binary with a configuration of its own in a temporary folder.

use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
        let cohort = format!("ids:{}/ids.txt", folder.path().display());
        Program::in_folder(folder, server, &cohort, "")
    }

    /// A store of its own, another cohort, and further tables of the configuration.
    pub fn with(server: &str, cohort: &str, more: &str) -> Program {
        Program::in_folder(tempfile::tempdir().expect("a temporary folder"), server, cohort, more)
    }

    fn in_folder(folder: tempfile::TempDir, server: &str, cohort: &str, more: &str) -> Program {
        let at = folder.path().display();
        let text = format!(
            "data_dir = \"{at}/data\"\n\
             [fhir]\nbase_url = \"{server}\"\n\
             [allocation]\nkey_file = \"allocation.key\"\n{more}\n\
             [pull]\ncohort = \"{cohort}\"\nschedule = \"0 0 3 1 1 *\"\n"
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
        let begun = Instant::now();
        let output = self.command(server, arguments).output().expect("the binary starts");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            seconds: begun.elapsed().as_secs_f64(),
        }
    }

    fn command(&self, server: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trialbridge"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRIALBRIDGE_")) {
            command.env_remove(name);
        }
        command
            .env("TRIALBRIDGE_FHIR__BASE_URL", server)
            .arg("--config")
            .arg(self.file("trialbridge.toml"))
            .args(arguments)
            .current_dir(self.folder());
        command
    }

    /// `serve` in the background; its log is a file of the folder.
    pub fn serve(&self) -> Service {
        let log = self.file("serve.log");
        let errors = File::options().create(true).append(true).open(&log).expect("the log can be written");
        let begun = fs::read_to_string(&log).expect("the log can be read").len();
        let child = self
            .command(&self.server, &["-v", "serve"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .expect("the binary starts");
        let service = Service { child, log, begun };
        assert!(within(|| service.said("schedule     ")), "serve does not start: {}", service.log());
        service
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

/// A running `serve`; ends with the test, however that ends.
pub struct Service {
    child: Child,
    log: PathBuf,
    /// Where this run begins in the log.
    begun: usize,
}

impl Service {
    /// What it said since it was started.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default().split_off(self.begun)
    }

    pub fn said(&self, words: &str) -> bool {
        self.log().contains(words)
    }

    /// As an operator stops it: gracefully, with exit code 0.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        let mut code = None;
        let ended = within(|| {
            code = self.child.try_wait().expect("it can be asked");
            code.is_some()
        });
        assert!(ended && code.is_some_and(|c| c.success()), "serve does not stop well: {}", self.log());
        assert!(!self.said("panicked"), "{}", self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until it is so; false after a minute, which nothing here needs unless something is wrong.
pub fn within(mut is_so: impl FnMut() -> bool) -> bool {
    for _ in 0..600 {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    false
}
