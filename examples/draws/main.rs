//! Draws by 64 callers at once for many trials in one database, with attempts that are undone, repeated and
//! doubled; checks every list afterwards and prints figures.
//!
//! `cargo run --release --example draws -- 1087` is 10^5 allocations; the folder may follow.

mod crowd;

use crowd::Crowd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

const THREADS: usize = 64;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(trials) = arguments.next().map_or(Some(109), |n| n.parse().ok()) else {
        eprintln!("usage: draws [TRIALS] [FOLDER]");
        return ExitCode::from(2);
    };
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = arguments.next().map_or_else(|| scratch.path().join("data"), PathBuf::from);
    let began = Instant::now();
    let crowd = Crowd::new(&folder, trials);
    println!("{trials} lists sealed and stored in {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let counts = crowd.storm(THREADS);
    let seconds = began.elapsed().as_secs_f64();
    let of = |n: &std::sync::atomic::AtomicUsize| n.load(Ordering::Relaxed);
    println!(
        "{} attempts by {THREADS} callers in {seconds:.1} s: {} allocated ({:.0} a second), {} undone, {} repeated, \
         {} under a second key, {} with the list used up",
        of(&counts.attempts),
        of(&counts.allocated),
        of(&counts.allocated) as f64 / seconds,
        of(&counts.rolled_back),
        of(&counts.replayed),
        of(&counts.duplicates),
        of(&counts.exhausted),
    );
    let began = Instant::now();
    crowd.check(&counts);
    (0..trials).for_each(|trial| crowd.check_balance(trial));
    println!(
        "checked in {:.1} s: every slot once, in list order, no hole, no double, every proof holds, no list more \
         than 3 apart",
        began.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}
