//! Who is pulled.

use super::need::digest;
use crate::client::is_plain_segment;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The patients of a pull. Written in the configuration as `all`, `Patient?…`, `group:ID`, `list:ID`
/// or `ids:FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cohort {
    All,
    /// A search for Patient, such as `Patient?_has:Condition:patient:code=K74.6`.
    Search(String),
    /// The id of a Group.
    Group(String),
    /// The id of a List.
    List(String),
    /// A file with one id a line; [`Cohort::load`] reads it.
    IdsFile(PathBuf),
    Ids(Vec<String>),
}

/// A cohort that cannot be understood. Never repeats a line of an id file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CohortError {
    #[error("pull.cohort: `{0}` is none of all, Patient?…, group:ID, list:ID, ids:FILE")]
    Form(String),
    #[error("pull.cohort: {file}: {reason}")]
    File { file: String, reason: String },
}

impl FromStr for Cohort {
    type Err = CohortError;

    fn from_str(text: &str) -> Result<Cohort, CohortError> {
        let text = text.trim();
        let wrong = || CohortError::Form(text.to_owned());
        if text == "all" {
            return Ok(Cohort::All);
        }
        if let Some(query) = text.strip_prefix("Patient?") {
            return if query.is_empty() { Err(wrong()) } else { Ok(Cohort::Search(text.to_owned())) };
        }
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        match (kind, rest.trim()) {
            ("group", id) if is_plain_segment(id) => Ok(Cohort::Group(id.to_owned())),
            ("list", id) if is_plain_segment(id) => Ok(Cohort::List(id.to_owned())),
            ("ids", file) if !file.is_empty() => Ok(Cohort::IdsFile(PathBuf::from(file))),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Cohort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cohort::All => f.write_str("all"),
            Cohort::Search(query) => f.write_str(query),
            Cohort::Group(id) => write!(f, "Group/{id}"),
            Cohort::List(id) => write!(f, "List/{id}"),
            Cohort::IdsFile(file) => write!(f, "ids of {}", file.display()),
            Cohort::Ids(ids) => write!(f, "{} ids", ids.len()),
        }
    }
}

impl Cohort {
    /// Reads the file of `ids:FILE`; every other cohort stays as it is.
    ///
    /// # Errors
    /// [`CohortError::File`] names the file and the line, never what stands there.
    pub fn load(self) -> Result<Cohort, CohortError> {
        match self {
            Cohort::IdsFile(file) => read_ids(&file).map(Cohort::Ids),
            other => Ok(other),
        }
    }

    /// The parameters of a search cohort, decoded.
    pub(super) fn search_params(query: &str) -> Vec<(String, String)> {
        let query = query.strip_prefix("Patient?").unwrap_or(query);
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Stands for this cohort in cursor keys.
    pub(super) fn digest(&self) -> String {
        match self {
            Cohort::All => digest(&["all"]),
            Cohort::Search(query) => digest(&["search", query]),
            Cohort::Group(id) => digest(&["group", id]),
            Cohort::List(id) => digest(&["list", id]),
            Cohort::IdsFile(file) => digest(&["file", &file.to_string_lossy()]),
            Cohort::Ids(ids) => {
                let sorted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
                let parts: Vec<&str> = std::iter::once("ids").chain(sorted).collect();
                digest(&parts)
            }
        }
    }
}

/// Reads patient ids, one a line: `Patient/` before the id, empty lines, `#` comments and a byte
/// order mark are allowed.
///
/// # Errors
/// [`CohortError::File`] for a file that cannot be read, holds no id, or a line that is no FHIR id.
pub fn read_ids(file: &Path) -> Result<Vec<String>, CohortError> {
    let failed = |reason: String| CohortError::File { file: file.display().to_string(), reason };
    let text = std::fs::read_to_string(file).map_err(|e| failed(e.to_string()))?;
    let mut ids = Vec::new();
    let mut known = BTreeSet::new();
    for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let id = line.split('#').next().unwrap_or_default().trim();
        let id = id.strip_prefix("Patient/").unwrap_or(id);
        if id.is_empty() {
            continue;
        }
        if !is_plain_segment(id) {
            return Err(failed(format!("line {} is no FHIR id (letters, digits, - and .)", n + 1)));
        }
        if known.insert(id.to_owned()) {
            ids.push(id.to_owned());
        }
    }
    if ids.is_empty() {
        return Err(failed("no id in it; one id a line is expected".into()));
    }
    Ok(ids)
}

/// The references of a Group's or List's members, and how many members cannot be used (nested
/// groups, members named by identifier only, other types).
pub(super) fn member_references(body: &[u8], resource_type: &str) -> Option<Vec<Option<String>>> {
    #[derive(Deserialize)]
    struct Members {
        #[serde(default)]
        member: Vec<Value>,
        #[serde(default)]
        entry: Vec<Value>,
    }
    let members: Members = serde_json::from_slice(body).ok()?;
    let (list, element, left) = match resource_type {
        "Group" => (members.member, "entity", "inactive"),
        _ => (members.entry, "item", "deleted"),
    };
    let present = list.into_iter().filter(|m| m[left] != true);
    Some(present.map(|m| m[element]["reference"].as_str().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_form_of_a_cohort() {
        let ok = |text: &str| text.parse::<Cohort>().ok();
        assert_eq!(ok("all"), Some(Cohort::All));
        assert_eq!(ok(" all "), Some(Cohort::All));
        let query = "Patient?_has:Condition:patient:code=http%3A%2F%2Fx%7CK74.6&active=true";
        assert_eq!(ok(query), Some(Cohort::Search(query.into())));
        let params = Cohort::search_params(query);
        assert_eq!(params[0], ("_has:Condition:patient:code".into(), "http://x|K74.6".into()));
        assert_eq!(ok("group:g-1"), Some(Cohort::Group("g-1".into())));
        assert_eq!(ok("list:l.1"), Some(Cohort::List("l.1".into())));
        assert_eq!(ok("ids:/etc/ids.txt"), Some(Cohort::IdsFile("/etc/ids.txt".into())));
        for wrong in [
            "",
            "All",
            "Patient",
            "Patient?",
            "group:",
            "group:a/b",
            "list:..",
            "ids:",
            "Condition?x=1",
            "x:y",
        ] {
            assert_eq!(ok(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_file_is_read_or_named() {
        let with = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            Cohort::IdsFile(file.path().to_owned()).load()
        };
        let ids = |list: &[&str]| Cohort::Ids(list.iter().map(|s| (*s).to_owned()).collect());
        assert_eq!(with("\u{feff}p1\r\n# all\n\nPatient/p2 # two\np1\n"), Ok(ids(&["p1", "p2"])));
        let error = with("p1\ncanary name\n").expect_err("no id").to_string();
        assert!(error.contains("line 2") && !error.contains("canary"), "{error}");
        assert!(with("# none\n").is_err());
        assert!(Cohort::IdsFile("/nonexistent".into()).load().is_err());
    }

    #[test]
    fn members_who_left_are_left_out() {
        let group = br#"{"member":[{"entity":{"reference":"Patient/a"}},{"entity":{"reference":"Patient/b"},"inactive":true},
            {"entity":{"identifier":{}}},7]}"#;
        let found = member_references(group, "Group").expect("a group");
        assert_eq!(found, [Some("Patient/a".to_owned()), None, None]);
        let list = br#"{"entry":[{"item":{"reference":"Patient/a"},"deleted":true},{"item":{"reference":"Patient/b"}}]}"#;
        assert_eq!(member_references(list, "List"), Some(vec![Some("Patient/b".to_owned())]));
        assert_eq!(member_references(b"{}", "List"), Some(vec![]));
        assert_eq!(member_references(b"[", "List"), None);
    }
}
