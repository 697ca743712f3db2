//! Clinical scores, one file a score: values or ranges, with what is missing.
//!
//! Pure functions of canonical inputs: nothing here converts a unit for the reader's sake, chooses
//! between two results, or takes a missing finding for an absent one. An input is a range of values
//! and so is a score; where the score's own clamps make it exact it is known, although the input is not.
//!
//! Invariant: filling in what is missing, with any value it may have, gives a value inside the range
//! that was reported before. Three inputs stand outside it, for a missing one takes the rule of
//! everybody else: `pbc_or_psc` (standard bands), `age` in MELD 3.0 (not 12 to 17) and `ast_uln` (the
//! trial's default). So does a prothrombin time that is replaced by an INR.

mod albi;
mod apri;
mod child_pugh;
mod clif_c_aclf;
mod fib4;
mod inputs;
mod meld;
mod meld3;
mod meld_na;
mod meld_na_kim2008;
mod meld_original;
mod meld_unos;
mod number;
mod options;
mod result;
mod span;
mod ukeld;

#[cfg(test)]
mod tests;

pub use inputs::{Ascites, Encephalopathy, Etiology, Inputs, Sex, UnknownWord};
pub use options::{AlbuminFloor, BilirubinTable, ChildPughOptions, InrUpper, Options};
pub(crate) use result::Number;
pub use result::{Components, Detail, Points, Score, Status};
pub(crate) use span::float;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The names of all scores, in the order in which they are written.
pub const NAMES: &[&str] = &[
    "meld_original",
    "meld_unos",
    "meld_na",
    "meld3",
    "child_pugh",
    "albi",
    "fib4",
    "apri",
    "ukeld",
    "meld_na_kim2008",
    "clif_c_aclf",
];

/// The trial's variables that a score is computed from, besides age, sex and dialysis.
pub fn variables_of(name: &str) -> &'static [&'static str] {
    match name {
        "meld_original" => &["bilirubin_total", "inr", "creatinine", "etiology"],
        "meld_unos" => &["bilirubin_total", "inr", "creatinine"],
        "meld_na" | "meld_na_kim2008" | "ukeld" => &["bilirubin_total", "inr", "creatinine", "sodium"],
        "meld3" => &["bilirubin_total", "inr", "creatinine", "sodium", "albumin"],
        "child_pugh" => &["bilirubin_total", "albumin", "inr", "pt", "ascites", "encephalopathy"],
        "albi" => &["bilirubin_total", "albumin"],
        "fib4" => &["ast", "alt", "platelets"],
        "apri" => &["ast", "platelets"],
        "clif_c_aclf" => &["clif_of", "wbc"],
        _ => &[],
    }
}

/// What people call a score.
pub fn title(name: &str) -> &str {
    match name {
        "meld_original" => "MELD (original)",
        "meld_unos" => "MELD (UNOS)",
        "meld_na" => "MELD-Na (OPTN 2016)",
        "meld_na_kim2008" => "MELD-Na (Kim 2008)",
        "meld3" => "MELD 3.0",
        "child_pugh" => "Child-Pugh",
        "albi" => "ALBI",
        "fib4" => "FIB-4",
        "apri" => "APRI",
        "ukeld" => "UKELD",
        "clif_c_aclf" => "CLIF-C ACLF",
        other => other,
    }
}

/// All scores of one set of inputs, in the order of [`NAMES`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// All but CLIF-C ACLF are always there.
    always: [Score; NAMES.len() - 1],
    clif_c_aclf: Option<Score>,
}

impl Scores {
    /// One score by its name; `None` for a name that is not in [`NAMES`], and for `clif_c_aclf` where
    /// no organ failure score was given.
    pub fn get(&self, name: &str) -> Option<&Score> {
        self.iter().find(|(n, _)| *n == name).map(|(_, score)| score)
    }

    /// Names and scores.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Score)> {
        NAMES.iter().copied().zip(self.always.iter().chain(&self.clif_c_aclf))
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for (name, score) in self.iter() {
            map.serialize_entry(name, score)?;
        }
        map.end()
    }
}

/// All scores. Never fails: what cannot be computed is [`Status::Unknown`] and names what it lacks.
pub fn all(inputs: &Inputs, options: &Options) -> Scores {
    let logarithms = &number::Logarithms::new();
    let meld_i = meld::MeldI::of(inputs, logarithms);
    Scores {
        always: [
            meld_original::score(inputs, options, logarithms),
            meld_unos::score(&meld_i),
            meld_na::score(inputs, &meld_i),
            meld3::score(inputs, logarithms),
            child_pugh::score(inputs, options.child_pugh),
            albi::score(inputs, options),
            fib4::score(inputs),
            apri::score(inputs, options),
            ukeld::score(inputs, logarithms),
            meld_na_kim2008::score(inputs, &meld_i),
        ],
        clif_c_aclf: inputs.clif_of.map(|_| clif_c_aclf::score(inputs, logarithms)),
    }
}
