//! Time a patient: from bytes to decision, and from facts to decision with all scores.
//! `cargo bench --bench evaluate [FILE.ndjson ...]`; default: the cohort in fixtures.
//!
//! `--screen N` settles the facts once, then screens all of them N times and does nothing else, and
//! `--write N` writes the screenings as JSON too: the difference of two N under `perf stat -e
//! instructions:u` is the work of a patient, whatever else the machine does.

use chrono::NaiveDate;
use std::path::PathBuf;
use std::time::Instant;
use trialbridge::collection::Collection;
use trialbridge::protocol::Trial;
use trialbridge::source::files;

fn main() {
    let (mut named, mut counted): (Vec<PathBuf>, Option<(bool, usize)>) = (Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--screen" | "--write" => {
                let times = arguments.next().and_then(|n| n.parse().ok()).expect("how many times");
                counted = Some((argument == "--write", times));
            }
            a if a.starts_with('-') => {}
            _ => named.push(argument.into()),
        }
    }
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
    if let Some((write, times)) = counted {
        count(&trial, &documents, as_of, write, times);
        return;
    }
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

fn count(trial: &Trial, documents: &[Vec<u8>], as_of: NaiveDate, write: bool, times: usize) {
    let mut collection = Collection::new(trial);
    for document in documents {
        collection.add(document, "bench").expect("readable");
    }
    let settled = collection.settle();
    let (mut patients, mut bytes) = (0, 0);
    let mut line = Vec::new();
    for _ in 0..times {
        for screening in settled.screen(as_of) {
            let screening = std::hint::black_box(screening);
            patients += 1;
            if write {
                line.clear();
                serde_json::to_writer(&mut line, &screening).expect("a screening is written to memory");
                bytes += std::hint::black_box(&line).len();
            }
        }
    }
    println!("{patients} screened, {bytes} bytes");
}
