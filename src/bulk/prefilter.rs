//! Which lines cannot matter, told without reading them as JSON.
//!
//! Only two kinds of line are passed over: an Observation in which no `"code"` is one that the trial or the
//! site lists for a result, and a resource of a type that nothing here reads. Everything else is read:
//! also a line that does not begin as servers write it, or that may spell a code with escapes.
//!
//! What is lost: such a line is not validated, its unknown codes are not counted, and if it is a newer
//! version of a resource that did matter, the resource is in conflict instead of corrected.

use crate::fhir::reference::is_id;
use crate::fhir::release::is_resource_type;
use crate::normalize::fhir::TYPES;
use crate::protocol::Trial;
use memchr::memmem::Finder;
use std::collections::HashSet;

pub struct Prefilter {
    /// Codes of results; `None` where a result is listed by a class of codes, which no set can hold.
    codes: Option<HashSet<Box<[u8]>>>,
    code: Finder<'static>,
    escape: Finder<'static>,
}

/// How a resource begins as nearly all servers write it.
const BEGIN: &[u8] = b"{\"resourceType\":\"";
const ID: &[u8] = b"\",\"id\":\"";

impl Prefilter {
    pub fn new(trial: &Trial) -> Self {
        let codes =
            trial.result_codes().map(|codes| codes.into_iter().map(|c| c.as_bytes().into()).collect());
        Prefilter { codes, code: Finder::new("\"code\""), escape: Finder::new("\\u") }
    }

    /// The reference (`Observation/123`) of a line that cannot matter; `None` for one to be read.
    pub fn passes_over(&self, line: &[u8]) -> Option<String> {
        let rest = line.strip_prefix(BEGIN)?;
        let (resource_type, rest) = rest.split_at(memchr::memchr(b'"', rest)?);
        let rest = rest.strip_prefix(ID)?;
        let id = &rest[..memchr::memchr(b'"', rest)?];
        let (resource_type, id) = (std::str::from_utf8(resource_type).ok()?, std::str::from_utf8(id).ok()?);
        let over = match resource_type {
            "Observation" => self.is_without_code(line, self.codes.as_ref()?),
            other => other != "Bundle" && !TYPES.contains(&other) && is_resource_type(other),
        };
        (over && is_id(id)).then(|| format!("{resource_type}/{id}"))
    }

    fn is_without_code(&self, line: &[u8], codes: &HashSet<Box<[u8]>>) -> bool {
        for at in self.code.find_iter(line) {
            let value = line[at + 6..].trim_ascii_start();
            let Some(value) = value.strip_prefix(b":").map(<[u8]>::trim_ascii_start) else { continue };
            let Some(value) = value.strip_prefix(b"\"") else { continue };
            let Some(end) = memchr::memchr(b'"', value) else { return false };
            if codes.contains(&value[..end]) {
                return false;
            }
        }
        // A code or its name may be spelled with escapes.
        self.escape.find(line).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_matter_is_passed_over() {
        let trial = Trial::shipped();
        let filter = Prefilter::new(&trial);
        let over = |line: &str| filter.passes_over(line.as_bytes());
        let code = |code: &str| {
            format!(r#"{{"resourceType":"Observation","id":"o1","code":{{"coding":[{{"code":"{code}"}}]}}}}"#)
        };
        assert_eq!(over(&code("8867-4")).as_deref(), Some("Observation/o1"), "heart rate");
        assert_eq!(over(&code("1742-6")), None, "ALT");
        assert_eq!(over(&code("1742-6").replace("\"code\":\"", "\"code\" : \"")), None);
        assert_eq!(over(&code(r"1742\u002d6")), None, "an escape may hide a code");
        assert_eq!(over(&code("8867-4").replace("\"id\"", " \"id\"")), None, "not as servers write it");
        assert_eq!(over(&code("8867-4").replace("o1", "o/1")), None, "no id");
        let of = |t: &str| over(&format!(r#"{{"resourceType":"{t}","id":"e1","status":"x"}}"#));
        assert_eq!(of("Encounter").as_deref(), Some("Encounter/e1"));
        for read in TYPES.into_iter().chain(["Bundle"]).filter(|t| *t != "Observation") {
            assert_eq!(of(read), None, "{read}");
        }
        assert_eq!(of("Nonsense"), None, "no type: somebody's gap");
    }
}
