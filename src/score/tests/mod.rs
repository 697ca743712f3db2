//! The scores against published cases, an independent oracle, every cut-off, and their own invariant.

use super::*;
use crate::clinical::interval::Interval;
use rust_decimal::Decimal;

mod boundaries;
mod oracle;
mod output;
mod properties;
mod ranges;
mod vectors;

fn d(text: &str) -> Decimal {
    text.parse().expect("a decimal in a test")
}

fn x(text: &str) -> Option<Interval> {
    Some(Interval::exactly(d(text)))
}

/// The score of that name with the trial's default options.
fn score(name: &str, inputs: &Inputs) -> Score {
    all(inputs, &Options::default()).get(name).cloned().expect("a score of that name")
}

/// A patient with everything known; tests change one thing at a time.
fn patient() -> Inputs {
    Inputs {
        bilirubin_total: x("2.4"),
        inr: x("1.6"),
        creatinine: x("1.7"),
        sodium: x("131"),
        albumin: x("28"),
        ast: x("80"),
        alt: x("60"),
        platelets: x("90"),
        pt_prolongation: None,
        age: x("54"),
        sex: Some(Sex::Male),
        dialysis: Some(false),
        ascites: Some(Ascites::Mild),
        encephalopathy: Some(Encephalopathy::Grade0),
        pbc_or_psc: Some(false),
        etiology: Some(Etiology::Other),
        ast_uln: Some(d("40")),
        clif_of: x("8"),
        wbc: x("10"),
    }
}

/// Rows of a fixture as maps from column to cell.
fn rows(file: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let rows = csv::Reader::from_reader(file.as_bytes())
        .into_deserialize()
        .map(|row| row.expect("a row of the fixture"));
    rows.collect()
}
