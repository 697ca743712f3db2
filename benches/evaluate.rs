//! Time a patient: from bytes to decision, and from facts to decision with all scores.
//! `cargo bench --bench evaluate [FILE.ndjson ...]`; default: the cohort in fixtures.

use chrono::NaiveDate;
use std::path::PathBuf;
use std::time::Instant;
use trialbridge::collection::Collection;
use trialbridge::protocol::Trial;
use trialbridge::source::files;

fn main() {
    let named: Vec<PathBuf> =
        std::env::args().skip(1).filter(|a| !a.starts_with('-')).map(PathBuf::from).collect();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cohort");
    let paths = if named.is_empty() {
        vec![
            PathBuf::from(format!("{root}/cirrhosis-6.ndjson.gz")),
            PathBuf::from(format!("{root}/additions.ndjson")),
        ]
    } else {
        named
    };
    let mut documents: Vec<Vec<u8>> = Vec::new();
    let problems = files::read(&paths, &mut |bytes, _| {
        documents.push(bytes.to_vec());
        Ok(())
    });
    assert!(problems.is_empty(), "{problems:?}");
    let bytes: usize = documents.iter().map(Vec::len).sum();
    let trial = Trial::shipped();
    let as_of = NaiveDate::from_ymd_opt(2026, 11, 22).expect("a day");
    let (mut whole, mut core) = (Vec::new(), Vec::new());
    let mut patients = 0;
    for _ in 0..if documents.len() > 20_000 { 5 } else { 101 } {
        let begun = Instant::now();
        let mut collection = Collection::new(&trial);
        for document in &documents {
            collection.add(document, "bench").expect("readable");
        }
        let settled = collection.settle();
        let facts = Instant::now();
        patients = settled.screen(as_of).map(std::hint::black_box).count();
        core.push(facts.elapsed().as_secs_f64() / patients as f64);
        whole.push(begun.elapsed().as_secs_f64() / patients as f64);
    }
    for times in [&mut whole, &mut core] {
        times.sort_by(f64::total_cmp);
    }
    let micro = |t: &[f64]| format!("{:.1} µs (min {:.1})", t[t.len() / 2] * 1e6, t[0] * 1e6);
    println!("{patients} patients, {} resources, {:.2} MB", documents.len(), bytes as f64 / 1e6);
    println!("bytes to decision, a patient   {}", micro(&whole));
    println!("facts to decision, a patient   {}", micro(&core));
    println!(
        "throughput, one thread         {:.0} MB/s",
        bytes as f64 / 1e6 / (whole[whole.len() / 2] * patients as f64)
    );
}
