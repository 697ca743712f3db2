//! A whole hospital's export, screened as fast as it can be read.
//!
//! ```text
//! files ── blocks of lines ──► workers: read, map ──► sorted runs ──► merge by subject ──► workers:
//!                              (collection::Reader)   (memory, then                        settle, screen
//!                                                      a temporary file)                   ──► in order
//! ```
//!
//! The same reading, mapping and screening as everywhere else; here are only the threads, the order and
//! the temporary files. Memory does not grow with the input: a worker holds a block of lines and one run,
//! and of the subjects only those that are being screened.
//!
//! Invariant: what comes out is what [`Collection`](crate::collection::Collection) gives for the same
//! resources, in the order of the subjects, whatever the number of threads.

mod codec;
mod judge;
mod moved;
mod prefilter;
mod read;
mod runs;
mod spill;
#[cfg(test)]
mod tests;

use crate::collection::Orphan;
use crate::eligibility::Screening;
use crate::fact::Fact;
use crate::protocol::Trial;
use crate::source::blocks::Blocks;
use crate::source::files::Problem;
use chrono::NaiveDate;
use judge::Dossier;
use runs::Runs;
use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Problems and resources without a subject that are held to be shown; of more only the number.
pub const SHOWN: usize = 10_000;

/// How a screening is run.
#[derive(Clone, Debug)]
pub struct Options {
    pub as_of: NaiveDate,
    pub threads: NonZero<usize>,
    /// Where runs go that memory does not hold.
    pub temporary: PathBuf,
    /// How many bytes a worker gathers before it puts them there; it needs twice as many.
    pub run: usize,
    pub prefilter: bool,
}

impl Options {
    /// Both cores of an ordinary machine, or as many as there are; the system's folder for temporary files.
    pub fn new(as_of: NaiveDate) -> Options {
        Options {
            as_of,
            threads: std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            temporary: std::env::temp_dir(),
            run: 4 << 20,
            prefilter: false,
        }
    }

    fn temporary_failed(&self, error: io::Error) -> BulkError {
        BulkError::Temporary { folder: self.temporary.display().to_string(), error }
    }
}

/// Why a screening ended early.
#[derive(Debug, thiserror::Error)]
pub enum BulkError {
    #[error(
        "the temporary files in {folder}: {error}; free the place, or name another folder with --temp-dir"
    )]
    Temporary { folder: String, error: io::Error },
    #[error("{0}")]
    Output(io::Error),
}

/// What a screening went through.
#[derive(Debug, Default)]
pub struct Summary {
    pub resources: u64,
    /// Lines that the prefilter passed over.
    pub skipped: u64,
    pub eligible: u64,
    pub ineligible: u64,
    pub undetermined: u64,
    /// The first [`SHOWN`], in the order of the input.
    pub problems: Vec<Problem>,
    pub problem_count: u64,
    pub orphans: Vec<Orphan>,
    pub orphan_count: u64,
    /// Codes that nobody could read, with how often they came.
    pub unmapped: BTreeMap<Box<str>, u64>,
    /// Bytes that went to temporary files.
    pub spilled: u64,
}

impl Summary {
    pub fn patients(&self) -> u64 {
        self.eligible + self.ineligible + self.undetermined
    }
}

/// An attestation that came apart from the files: the subject, the fact, and what tells it from others.
pub type Attested = (String, Fact, String);

/// What becomes of the screenings.
pub struct To<'a, O> {
    /// An empty batch.
    pub begin: &'a (dyn Fn() -> O + Sync),
    /// Adds a screening to a batch, in any thread.
    pub render: &'a (dyn Fn(Screening, &mut O) -> io::Result<()> + Sync),
    /// Takes the batches in the order of their subjects.
    pub emit: &'a mut (dyn FnMut(O) -> io::Result<()> + Send),
}

/// Screens what `blocks` give.
///
/// # Errors
/// Temporary files that cannot be written or read, and what `to` says.
pub fn run<O: Send>(
    trial: &Trial,
    blocks: Blocks,
    attested: Vec<Attested>,
    options: &Options,
    to: To<'_, O>,
) -> Result<Summary, BulkError> {
    let temporary = |error| options.temporary_failed(error);
    let mut summary = Summary::default();
    let (gathered, pairs) = read::read(trial, blocks, attested, options, &mut summary).map_err(temporary)?;
    let moved = moved::moved(pairs).map_err(temporary)?;
    let runs = Runs(gathered);
    summary.spilled = runs.spilled();
    let dossier = Dossier::new(trial, options.as_of, &runs, moved).map_err(temporary)?;
    let merge = runs.merge().map_err(temporary)?;
    judge::judge(&dossier, merge, options, to, &mut summary)?;
    Ok(summary)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
