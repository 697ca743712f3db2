//! Writes an invented hospital as NDJSON, as large as wanted, for measuring and for load.
//!
//! ```sh
//! cargo run --release --example generate -- --patients 10000 --seed 1 --dialect us OUT_DIR
//! ```
//!
//! About 58 resources and 87 KB a patient, one file a resource type. The same arguments give the same
//! bytes; `--order` changes the order of the lines and nothing else. Memory does not grow with the
//! number of patients. Nobody in it exists.

mod cohort;
mod text;

use chrono::{Datelike, NaiveDate};
use clap::{Parser, ValueEnum};
use cohort::{Cohort, Kind};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser, Debug)]
#[command(about = "Write an invented hospital as NDJSON", max_term_width = 100)]
struct Arguments {
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    patients: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `grouped`: a patient's lines stand together; `scattered`: they are strewn over the file
    #[arg(long, value_enum, default_value = "grouped")]
    order: Order,
    #[arg(long, value_enum, default_value = "us")]
    dialect: cohort::Dialect,
    /// Share of resources with something wrong, from 0 to 1
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    dirt: f64,
    /// The day on which it is looked at: results are from the days before
    #[arg(long, default_value = "2026-11-22")]
    as_of: NaiveDate,
    /// Made if it is not there; files of an earlier run are replaced
    out_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Grouped,
    Scattered,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok((lines, bytes)) => {
            let n = arguments.patients;
            eprintln!(
                "{n} patients, {lines} resources, {bytes} bytes: {:.1} resources and {:.1} KB a patient",
                lines as f64 / n as f64,
                bytes as f64 / n as f64 / 1000.0
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}: {error}", arguments.out_dir.display());
            ExitCode::FAILURE
        }
    }
}

/// Returns lines and bytes written.
fn run(arguments: &Arguments) -> io::Result<(u64, u64)> {
    let cohort = Cohort {
        seed: arguments.seed,
        dialect: arguments.dialect,
        // A share is compared with a number below 2^32, so that no float decides a byte.
        dirt: (arguments.dirt * f64::from(u32::MAX)) as u64,
        as_of: i64::from(arguments.as_of.num_days_from_ce()),
    };
    fs::create_dir_all(&arguments.out_dir)?;
    match arguments.order {
        Order::Grouped => grouped(&cohort, arguments.patients, &arguments.out_dir),
        Order::Scattered => scattered(&cohort, arguments.patients, &arguments.out_dir),
    }
}

fn create(dir: &Path, kind: Kind) -> io::Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(1 << 20, File::create(dir.join(format!("{}.ndjson", kind.name())))?))
}

fn grouped(cohort: &Cohort, patients: u64, dir: &Path) -> io::Result<(u64, u64)> {
    let mut files: Vec<(Kind, BufWriter<File>)> =
        Kind::ALL.iter().map(|kind| Ok((*kind, create(dir, *kind)?))).collect::<io::Result<_>>()?;
    let (mut line, mut lines, mut bytes) = (Vec::with_capacity(8 << 10), 0, 0);
    for number in 0..patients {
        let person = cohort.person(number);
        for (kind, file) in &mut files {
            for slot in 0..kind.slots() {
                line.clear();
                if cohort.write(&person, *kind, slot, &mut line) {
                    file.write_all(&line)?;
                    (lines, bytes) = (lines + 1, bytes + line.len() as u64);
                }
            }
        }
    }
    for (_, mut file) in files {
        file.flush()?;
    }
    Ok((lines, bytes))
}

fn scattered(cohort: &Cohort, patients: u64, dir: &Path) -> io::Result<(u64, u64)> {
    let (mut line, mut lines, mut bytes) = (Vec::with_capacity(8 << 10), 0, 0);
    for kind in Kind::ALL {
        let mut file = create(dir, kind)?;
        let size = patients * kind.slots();
        for i in 0..size {
            let at = text::scatter(i, size, cohort.seed);
            let person = cohort.person(at / kind.slots());
            line.clear();
            if cohort.write(&person, kind, at % kind.slots(), &mut line) {
                file.write_all(&line)?;
                (lines, bytes) = (lines + 1, bytes + line.len() as u64);
            }
        }
        file.flush()?;
    }
    Ok((lines, bytes))
}
