//! What an allocation costs: durable draws a second by 64 callers, in alternating pairs with a loop that
//! appends 1 KiB to a file and calls fdatasync. A commit of the store holds the draws of all who wait.
//!
//! `cargo bench --bench draws`; `-- 10` gives each half of a pair ten seconds.

#[allow(dead_code, reason = "the checks are for the test and the example")]
#[path = "../examples/draws/crowd.rs"]
mod crowd;

use crowd::{Crowd, PLANNED};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PAIRS: usize = 5;
const THREADS: usize = 64;
/// Draws a second that the lists are long enough for.
const MOST: usize = 20_000;

/// Appends a second, each synced: what the disk gives to one writer that waits for it.
fn synced(folder: &Path, time: Duration) -> f64 {
    let mut file = File::create(folder.join("appended")).expect("a file");
    let (block, began, mut done) = ([7u8; 1024], Instant::now(), 0u64);
    while began.elapsed() < time {
        file.write_all(&block).expect("written");
        file.sync_data().expect("synced");
        done += 1;
    }
    done as f64 / began.elapsed().as_secs_f64()
}

/// Allocations a second, from the draw `next` on.
fn drawn(crowd: &Crowd, next: &AtomicUsize, time: Duration) -> f64 {
    let (began, done) = (Instant::now(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while began.elapsed() < time {
                    let task = next.fetch_add(1, Ordering::Relaxed);
                    // Neighbours draw for different trials, as callers of one service would.
                    let (who, trial) = (task / crowd.trials.len(), task % crowd.trials.len());
                    if who >= PLANNED {
                        return;
                    }
                    assert!(!crowd.draw(trial, who).expect("allocated").replayed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn main() {
    // Cargo adds `--bench`.
    let seconds = std::env::args().skip(1).find_map(|a| a.parse::<u64>().ok()).unwrap_or(2);
    let time = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().expect("a folder");
    let trials = (MOST * seconds as usize * PAIRS).div_ceil(PLANNED).min(1087);
    println!("{trials} lists of {PLANNED} slots are sealed");
    let crowd = Crowd::new(&folder.path().join("data"), trials);
    let next = AtomicUsize::new(0);
    println!("{:>8} {:>14} {:>14} {:>8}", "pair", "allocations/s", "fdatasync/s", "ratio");
    let (mut draws, mut syncs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 1..=PAIRS {
        // Whoever comes second finds a warmer machine: they take turns.
        let (d, s) = if pair % 2 == 1 {
            let d = drawn(&crowd, &next, time);
            (d, synced(folder.path(), time))
        } else {
            let s = synced(folder.path(), time);
            (drawn(&crowd, &next, time), s)
        };
        println!("{pair:>8} {d:>14.0} {s:>14.0} {:>8.2}", d / s);
        draws.push(d);
        syncs.push(s);
        ratios.push(d / s);
    }
    println!("{:>8} {:>14.0} {:>14.0} {:>8.2}", "median", median(draws), median(syncs), median(ratios));
    if next.load(Ordering::Relaxed) >= trials * PLANNED {
        println!("the lists were used up: a pair near the end is too low");
    }
}
