//! Fifty-digit arithmetic, written elsewhere, agrees to 1e-9 before rounding and exactly after it.

use super::*;

const SCORES: [&str; 7] =
    ["meld_original", "meld_unos", "meld_na", "meld3", "meld_na_kim2008", "albi", "ukeld"];

fn agrees(file: &str) -> usize {
    let rows = rows(file);
    for row in &rows {
        let inputs = Inputs {
            bilirubin_total: x(&row["bilirubin_total"]),
            inr: x(&row["inr"]),
            creatinine: x(&row["creatinine"]),
            sodium: x(&row["sodium"]),
            albumin: x(&row["albumin"]),
            sex: row["sex"].parse().ok(),
            age: x(&row["age"]),
            dialysis: Some(row["dialysis"] == "true"),
            etiology: row["etiology"].parse().ok(),
            ..Inputs::default()
        };
        let scores = all(&inputs, &Options::default());
        for name in SCORES {
            let got = scores.get(name).expect("a score of that name");
            assert_eq!(got.value, Some(d(&row[&format!("{name}_value")])), "{name} of {row:?}");
            let raw: f64 = row[&format!("{name}_raw")].parse().expect("a raw score");
            assert!((got.raw.expect("known") - raw).abs() < 1e-9, "{name}: {:?} of {row:?}", got.raw);
        }
    }
    rows.len()
}

#[test]
fn clamps_gate_and_random_points() {
    assert_eq!(agrees(include_str!("../../../fixtures/scores/oracle.csv")), 388);
}
