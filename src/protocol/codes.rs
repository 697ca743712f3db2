//! The code table of a trial: system and code to what they mean to it.

use crate::clinical::code::{self, Matching};
use crate::fact::Index;
use std::collections::HashMap;

/// What a code means to the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A variable; `rank` is the position in its list of codes.
    Variable {
        index: Index,
        rank: u16,
    },
    ValueSet(Index),
    /// Known to be mistaken for this variable, and not to be it.
    LookAlike(Index),
}

/// The codes of one system.
#[derive(Debug)]
pub struct System {
    matching: Matching,
    exact: HashMap<String, Vec<Target>>,
    /// In normal form; matched against every prefix of a code.
    prefixes: HashMap<String, Vec<Target>>,
    excepted: Vec<(String, Target)>,
}

#[derive(Debug, Default)]
pub struct Codes {
    systems: HashMap<String, System>,
}

/// Why a code in a definition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    #[error("`{0}` is not a range of categories such as C00-C97")]
    Range(String),
    #[error("the code is empty")]
    Empty,
}

impl Codes {
    pub fn add(&mut self, system: &str, listed: &str, target: Target) -> Result<(), CodeError> {
        let system = code::canonical_system(system);
        if listed.trim().is_empty() {
            return Err(CodeError::Empty);
        }
        let table = self.table(system);
        match table.matching {
            Matching::Exact => push(table.exact.entry(listed.to_owned()).or_default(), target),
            Matching::Hierarchical => {
                for prefix in expand(listed)? {
                    push(table.prefixes.entry(prefix).or_default(), target);
                }
            }
        }
        Ok(())
    }

    fn table(&mut self, system: &str) -> &mut System {
        self.systems.entry(system.to_owned()).or_insert_with(|| System {
            matching: code::matching(system),
            exact: HashMap::new(),
            prefixes: HashMap::new(),
            excepted: Vec::new(),
        })
    }

    /// Takes `listed` and all below it out of `target` again.
    pub fn except(&mut self, system: &str, listed: &str, target: Target) -> Result<(), CodeError> {
        let table = self.table(code::canonical_system(system));
        for prefix in expand(listed)? {
            table.excepted.push((prefix, target));
        }
        Ok(())
    }

    /// The table of a system, by its canonical name.
    pub fn system(&self, canonical: &str) -> Option<&System> {
        self.systems.get(canonical)
    }

    /// The codes that mean a variable, each with its system; `None` where a class of codes does.
    pub fn of_results(&self) -> Option<Vec<(&str, &str)>> {
        let is_result = |targets: &Vec<Target>| targets.iter().any(|t| matches!(t, Target::Variable { .. }));
        let mut found = Vec::new();
        for (system, table) in &self.systems {
            if table.prefixes.values().any(is_result) {
                return None;
            }
            let exact = table.exact.iter().filter(|(_, targets)| is_result(targets));
            found.extend(exact.map(|(code, _)| (system.as_str(), code.as_str())));
        }
        Some(found)
    }

    pub fn knows_system(&self, system: &str) -> bool {
        self.systems.contains_key(code::canonical_system(system))
    }

    /// Everything that a code means, in no particular order.
    pub fn targets(&self, system: &str, code: &str, found: impl FnMut(Target)) {
        if let Some(table) = self.system(code::canonical_system(system)) {
            table.targets(code, found);
        }
    }
}

impl System {
    /// Everything that a code of this system means, in no particular order.
    pub fn targets(&self, code: &str, mut found: impl FnMut(Target)) {
        match self.matching {
            Matching::Exact => {
                for target in self.exact.get(code).into_iter().flatten() {
                    found(*target);
                }
            }
            Matching::Hierarchical => {
                let normal = code::normal_form(code);
                for (end, _) in normal.char_indices().skip(1).chain([(normal.len(), ' ')]) {
                    for target in self.prefixes.get(&normal[..end]).into_iter().flatten() {
                        let excepted =
                            self.excepted.iter().any(|(p, t)| t == target && normal.starts_with(p.as_str()));
                        if !excepted {
                            found(*target);
                        }
                    }
                }
            }
        }
    }
}

fn push(targets: &mut Vec<Target>, target: Target) {
    if !targets.contains(&target) {
        targets.push(target);
    }
}

/// A code, or a range of three-character categories, as prefixes in normal form.
fn expand(listed: &str) -> Result<Vec<String>, CodeError> {
    let Some((from, to)) = listed.split_once('-') else {
        return Ok(vec![code::normal_form(listed)]);
    };
    let bad = || CodeError::Range(listed.to_owned());
    let parse = |text: &str| -> Option<(char, u32)> {
        let letter = text.chars().next().filter(char::is_ascii_uppercase)?;
        let number = text.get(1..).filter(|n| n.len() == 2)?;
        Some((letter, number.parse().ok()?))
    };
    let ((a, low), (b, high)) = (parse(from).ok_or_else(bad)?, parse(to).ok_or_else(bad)?);
    if a != b || low > high {
        return Err(bad());
    }
    Ok((low..=high).map(|n| format!("{a}{n:02}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::code::{ICD10, ICD10_CM, LOINC};

    fn found(codes: &Codes, system: &str, code: &str) -> Vec<Target> {
        let mut all = Vec::new();
        codes.targets(system, code, |t| all.push(t));
        all
    }

    #[test]
    fn classifications_match_below_and_editions_stay_apart() {
        let mut codes = Codes::default();
        let tumour = Target::ValueSet(0);
        let bleeding = Target::ValueSet(1);
        codes.add(ICD10, "C00-C97", tumour).expect("a range");
        codes.add(ICD10, "I85.0", bleeding).expect("a code");
        codes.add(ICD10_CM, "I85.01", bleeding).expect("a code");
        codes.except(ICD10, "C44", tumour).expect("a code");
        for (system, code, expected) in [
            (ICD10, "C22.0", vec![tumour]),
            (ICD10, "c220", vec![tumour]),
            (ICD10, "C97", vec![tumour]),
            (ICD10, "D00.0", vec![]),
            (ICD10, "C44.1", vec![]),
            (ICD10, "I85.0", vec![bleeding]),
            (ICD10, "I85.000x001", vec![bleeding]),
            (ICD10_CM, "I85.00", vec![]),
            (ICD10_CM, "I85.01", vec![bleeding]),
            (LOINC, "C22", vec![]),
            ("urn:oid:2.16.840.1.113883.6.3", "C22.0", vec![tumour]),
        ] {
            assert_eq!(found(&codes, system, code), expected, "{system} {code}");
        }
        assert_eq!(codes.add(ICD10, "C97-C00", tumour), Err(CodeError::Range("C97-C00".into())));
        assert_eq!(codes.add(ICD10, "C00-D09", tumour), Err(CodeError::Range("C00-D09".into())));
    }
}
