//! What could not be used, the same things together, with what can be done about it.

use super::stored::Gap;
use super::words;
use crate::fact::Reason;
use crate::protocol::Trial;
use std::collections::BTreeMap;

/// How many references of a group are shown before the rest is folded away.
const SHOWN: usize = 3;

/// Gaps that differ only in the resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GapGroup {
    pub reason: String,
    pub hint: &'static str,
    pub path: String,
    pub variable: Option<String>,
    pub detail: Option<String>,
    pub count: usize,
    pub first: Vec<String>,
    pub rest: Vec<String>,
}

pub(super) fn groups(trial: &Trial, gaps: Vec<Gap>) -> Vec<GapGroup> {
    let mut groups: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for gap in gaps {
        groups.entry((gap.reason, gap.path, gap.variable, gap.detail)).or_default().push(gap.reference);
    }
    let group = |((reason, path, variable, detail), mut first): (_, Vec<String>)| {
        let reason: String = reason;
        let variable: Option<String> = variable;
        let count = first.len();
        let rest = first.split_off(count.min(SHOWN));
        let variable = variable.map(|v| words::name(trial, &v).to_owned());
        GapGroup { hint: hint(&reason), reason, path, variable, detail, count, first, rest }
    };
    groups.into_iter().map(group).collect()
}

/// What a reader can do; nothing for a code of another version.
fn hint(code: &str) -> &'static str {
    Reason::ALL.iter().find(|reason| reason.code() == code).map_or("", |reason| reason.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_hint() {
        for reason in Reason::ALL {
            assert_eq!(hint(reason.code()), reason.hint());
        }
        assert_eq!(hint("a new one"), "");
    }

    #[test]
    fn the_same_gap_of_many_resources_is_one_row() {
        let gap = |reference: &str, reason: &str| Gap {
            reference: reference.to_owned(),
            reason: reason.to_owned(),
            path: "Observation.value".to_owned(),
            variable: Some("ascites".to_owned()),
            detail: None,
        };
        let mut gaps: Vec<Gap> = ["a", "b", "c", "d", "e"].map(|id| gap(id, "unmapped")).to_vec();
        gaps.insert(2, gap("x", "unit-unknown"));
        let groups = groups(&Trial::shipped(), gaps);
        let shape: Vec<_> =
            groups.iter().map(|g| (g.reason.as_str(), g.count, g.first.len(), g.rest.len())).collect();
        assert_eq!(shape, [("unit-unknown", 1, 1, 0), ("unmapped", 5, 3, 2)]);
        assert_eq!(groups[1].variable.as_deref(), Some("Ascites grade"));
    }
}
