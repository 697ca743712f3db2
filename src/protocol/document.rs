//! Reading a definition: the files as they are, their hash, and findings with file and line.

use super::schema::{Document, Site};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing runs with it.
    Error,
    /// It runs, and somebody should know.
    Warning,
    /// For information, such as an open choice.
    Note,
}

/// What a check found, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// `criteria.toml:14`.
    pub place: String,
    /// Stable, for example `TB-T003`.
    pub id: &'static str,
    pub text: String,
    pub hint: String,
}

impl Finding {
    /// File, then line as a number, then how bad it is.
    pub fn order(&self, other: &Finding) -> Ordering {
        fn key(f: &Finding) -> (&str, u64, Severity, &str, &str) {
            let (file, line) = match f.place.rsplit_once(':') {
                Some((file, line)) => match line.parse() {
                    Ok(line) => (file, line),
                    Err(_) => (f.place.as_str(), 0),
                },
                None => (f.place.as_str(), 0),
            };
            (file, line, f.severity, f.id, &f.text)
        }
        key(self).cmp(&key(other))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "ERROR",
            Severity::Warning => "WARN ",
            Severity::Note => "note ",
        };
        write!(f, "{word} {}  {} [{}]", self.place, self.text, self.id)?;
        if !self.hint.is_empty() {
            write!(f, "\n      hint: {}", self.hint)?;
        }
        Ok(())
    }
}

/// One file of a definition.
#[derive(Debug)]
pub struct File {
    pub name: String,
    pub text: String,
    pub document: Document,
}

impl File {
    /// `name:line` of a byte position.
    pub fn place(&self, span: std::ops::Range<usize>) -> String {
        place(&self.name, &self.text, span.start)
    }
}

/// `name:line` of a byte position in a text.
pub fn place(name: &str, text: &str, at: usize) -> String {
    let line = 1 + text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count();
    format!("{name}:{line}")
}

/// A trial definition as it stands in its files.
#[derive(Debug)]
pub struct Definition {
    pub files: Vec<File>,
    /// `sha256:…` over names and contents of all files, by name.
    pub hash: String,
}

impl Definition {
    /// Reads a set of named texts. All syntax errors are reported, not just the first.
    pub fn read(mut sources: Vec<(String, String)>) -> Result<Definition, Vec<Finding>> {
        sources.sort();
        let mut hash = Sha256::new();
        let (mut files, mut findings) = (Vec::new(), Vec::new());
        for (name, text) in sources {
            for part in [name.as_bytes(), text.as_bytes()] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
            match toml::from_str::<Document>(&text) {
                Ok(document) => files.push(File { name, text, document }),
                Err(error) => findings.push(syntax(&name, &text, &error)),
            }
        }
        if files.is_empty() && findings.is_empty() {
            findings.push(Finding {
                severity: Severity::Error,
                place: "trial".into(),
                id: "TB-T001",
                text: "the trial folder holds no .toml file".into(),
                hint: "copy a shipped trial folder and change it".into(),
            });
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        Ok(Definition { files, hash: format!("sha256:{}", hex(&hash.finalize())) })
    }

    /// The shipped trial, built into the binary.
    pub fn shipped() -> Definition {
        let sources = [
            ("trial.toml", include_str!("../../mappings/nct06242405/trial.toml")),
            ("variables.toml", include_str!("../../mappings/nct06242405/variables.toml")),
            ("value-sets.toml", include_str!("../../mappings/nct06242405/value-sets.toml")),
            ("criteria.toml", include_str!("../../mappings/nct06242405/criteria.toml")),
        ];
        let sources = sources.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
        Definition::read(sources).expect("the shipped trial is read by a test of every build")
    }
}

/// A site file with its text, for findings.
#[derive(Debug, Default)]
pub struct SiteFile {
    pub name: String,
    pub text: String,
    pub site: Site,
}

impl SiteFile {
    pub fn read(name: &str, text: &str) -> Result<SiteFile, Vec<Finding>> {
        match toml::from_str::<Site>(text) {
            Ok(site) => Ok(SiteFile { name: name.into(), text: text.into(), site }),
            Err(error) => Err(vec![syntax(name, text, &error)]),
        }
    }

    /// The site of the demo, built into the binary.
    pub fn demo() -> SiteFile {
        SiteFile::read("demo.toml", include_str!("../../mappings/sites/demo.toml"))
            .expect("the demo site is read by a test of every build")
    }

    pub fn place(&self, span: std::ops::Range<usize>) -> String {
        place(&self.name, &self.text, span.start)
    }

    /// The line on which a key or a section of the file first stands.
    pub fn place_of(&self, words: &str) -> String {
        let line = self.text.lines().position(|l| !l.trim_start().starts_with('#') && l.contains(words));
        format!("{}:{}", self.name, line.map_or(1, |at| at + 1))
    }
}

fn syntax(name: &str, text: &str, error: &toml::de::Error) -> Finding {
    let message = error.message();
    let id = if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        "TB-T002"
    } else {
        "TB-T001"
    };
    Finding {
        severity: Severity::Error,
        place: place(name, text, error.span().map_or(0, |s| s.start)),
        id,
        text: message.replace('\n', " "),
        hint: if id == "TB-T002" {
            "unknown keys are refused: correct the spelling or remove the key".into()
        } else {
            "correct the file; docs/authoring-a-trial.md describes each section".into()
        },
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
