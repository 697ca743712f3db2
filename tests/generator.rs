//! The generator of `examples/generate/`: measurements are worth something only while the same
//! arguments give the same files. Links nothing of the library, so that it builds in seconds.

#[path = "../examples/generate/cohort.rs"]
mod cohort;
#[path = "../examples/generate/text.rs"]
mod text;

use cohort::{Cohort, Dialect, Kind};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

fn lines(cohort: &Cohort, patients: u64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for number in 0..patients {
        let person = cohort.person(number);
        for kind in Kind::ALL {
            for slot in 0..kind.slots() {
                let mut line = Vec::new();
                if cohort.write(&person, kind, slot, &mut line) {
                    all.push(line);
                }
            }
        }
    }
    all
}

fn clean(seed: u64, dialect: Dialect) -> Cohort {
    // 2026-11-22
    Cohort { seed, dialect, dirt: 0, as_of: 739_942 }
}

#[test]
fn the_same_arguments_give_the_same_bytes_in_every_release() {
    let mut hash = Sha256::new();
    for line in lines(&clean(1, Dialect::Us), 20) {
        hash.update(line);
    }
    let hash: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    // Another hash makes earlier measurements incomparable: say so in docs/benchmarks.md.
    assert_eq!(hash, "e1c35aa388cc25f11c072fbefe15571e3c0c6ef938c576571b1cbc5e873cf2f0");
    assert_ne!(lines(&clean(1, Dialect::Us), 2), lines(&clean(2, Dialect::Us), 2));
}

#[test]
fn every_line_is_a_resource_of_its_own() {
    let cohort = Cohort { dirt: 1 << 31, ..clean(3, Dialect::Mixed) };
    let (mut ids, mut bytes) = (BTreeSet::new(), 0);
    let all = lines(&cohort, 40);
    for line in &all {
        bytes += line.len();
        let resource: Value = serde_json::from_slice(line).expect("a line is JSON");
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        let id = resource["id"].as_str().expect("a resource has an id");
        assert!(id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{id}");
        assert!(ids.insert((resource["resourceType"].to_string(), id.to_owned())), "{id} twice");
    }
    let (resources, kilobytes) = (all.len() / 40, bytes / 40 / 1000);
    assert!((55..=60).contains(&resources), "{resources} resources a patient");
    assert!((78..=95).contains(&kilobytes), "{kilobytes} KB a patient");
}

#[test]
fn scattering_is_a_permutation_that_scatters() {
    for size in [1, 2, 3, 10, 1000, 4096, 5001] {
        let order: Vec<u64> = (0..size).map(|i| text::scatter(i, size, 7)).collect();
        let all: BTreeSet<u64> = order.iter().copied().collect();
        assert_eq!(all, (0..size).collect(), "of {size}");
        if size >= 1000 {
            let neighbours = order.windows(2).filter(|w| w[0].abs_diff(w[1]) < 45).count() as u64;
            assert!(neighbours * 5 < size, "{neighbours} of {size} stay beside their neighbour");
        }
    }
}

#[test]
fn dates_and_decimals_are_written_as_fhir_has_them() {
    let mut out = Vec::new();
    for day in [1, 59, 60, 719_163, 730_179, 730_180, 739_942] {
        text::Line(&mut out).date(day).text(" ");
    }
    for (n, decimals) in [(0, 0), (7, 1), (24, 1), (1234, 2), (5, 3)] {
        text::Line(&mut out).decimal(n, decimals).text(" ");
    }
    assert_eq!(
        String::from_utf8(out).expect("ASCII"),
        "0001-01-01 0001-02-28 0001-03-01 1970-01-01 2000-02-29 2000-03-01 2026-11-22 0 0.7 2.4 12.34 0.005 "
    );
}
