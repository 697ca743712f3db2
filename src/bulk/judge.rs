//! The second half: the records of each subject settled and screened, in as many threads as are given, and
//! handed on in the order of the subjects.

use super::codec;
use super::runs::{Group, Merge, Runs, number_of};
use super::{BulkError, Options, Summary, To, lock};
use crate::collection::{Held, SharedFacts, Standing, settle};
use crate::eligibility::decide::Decision;
use crate::eligibility::screen;
use crate::fact::{Fact, Gap};
use crate::mapping::Mapped;
use crate::protocol::Trial;
use chrono::NaiveDate;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, PoisonError};

/// Subjects that a worker takes at a time.
const BATCH: usize = 32;
/// Batches that may be ready before it is their turn.
const WAITING: u64 = 8;

/// What is needed to judge a subject besides its own records.
pub struct Dossier<'t> {
    trial: &'t Trial,
    as_of: NaiveDate,
    shared: SharedFacts,
    /// Resources that were met under several subjects; what stands of them is settled beforehand.
    moved: HashMap<u64, bool>,
    /// What stands of those, by subject.
    settled: HashMap<Box<str>, Mapped>,
}

impl<'t> Dossier<'t> {
    /// Goes through what belongs to nobody, and, where resources were moved, through all records for theirs.
    pub fn new(
        trial: &'t Trial,
        as_of: NaiveDate,
        runs: &Runs<'_>,
        moved: HashMap<u64, bool>,
    ) -> io::Result<Self> {
        let (shared, settled) = (SharedFacts::default(), HashMap::new());
        let mut dossier = Dossier { trial, as_of, shared, moved, settled };
        let mut merge = runs.merge()?;
        let mut apart: BTreeMap<Box<str>, Vec<Held<'static>>> = BTreeMap::new();
        while let Some(group) = merge.next()? {
            if !group.subject.is_empty() && dossier.moved.is_empty() {
                break;
            }
            for record in group.records() {
                let (reference, bytes) = record?;
                if group.subject.is_empty() || dossier.is_moved(reference) {
                    let held = codec::decode(bytes, reference, group.subject())?;
                    held.into_owned().join(apart.entry(reference.into()).or_default());
                }
            }
        }
        for (reference, versions) in apart {
            let unread = dossier.moved.get(&number_of(&reference)) == Some(&true);
            let standing = match unread {
                // A version was passed over, and may be the one that stands.
                true => Standing::Conflict(versions.into_iter().filter_map(|v| v.subject).collect()),
                false => settle(versions),
            };
            match standing {
                Standing::Nothing => {}
                Standing::Of(subject, mapped) => {
                    dossier.settled.entry(subject.into()).or_default().extend(mapped)
                }
                Standing::Conflict(among) => {
                    for subject in among {
                        let settled = dossier.settled.entry(subject.into()).or_default();
                        settled.gaps.push(Gap::of_versions(&reference));
                    }
                }
                Standing::Shared(facts) => {
                    for fact in facts {
                        if let Fact::Shared(shared) = fact {
                            dossier.shared.0.insert(reference.clone(), shared);
                        }
                    }
                }
            }
        }
        Ok(dossier)
    }

    fn is_moved(&self, reference: &str) -> bool {
        !self.moved.is_empty() && self.moved.contains_key(&number_of(reference))
    }

    /// What is known of a subject; `None` where its records say nothing at all.
    fn known(&self, group: &Group) -> io::Result<Option<Mapped>> {
        let mut known = self.settled.get(group.subject.as_str()).cloned().unwrap_or_default();
        let mut records = Vec::with_capacity(64);
        for record in group.records() {
            let (reference, bytes) = record?;
            if !self.is_moved(reference) {
                records.push((reference, bytes));
            }
        }
        records.sort_unstable();
        records.dedup();
        for versions in records.chunk_by(|a, b| a.0 == b.0) {
            let reference = versions[0].0;
            if let [(_, only)] = versions
                && codec::is_bare(only)
            {
                continue;
            }
            let mut held = Vec::with_capacity(versions.len());
            for (_, bytes) in versions {
                codec::decode(bytes, reference, group.subject())?.join(&mut held);
            }
            match settle(held) {
                Standing::Of(_, mapped) => known.extend(mapped),
                Standing::Conflict(_) => known.gaps.push(Gap::of_versions(reference)),
                Standing::Nothing | Standing::Shared(_) => {}
            }
        }
        Ok((!known.is_empty()).then_some(known))
    }
}

/// The turn of each batch.
struct Turns<'e, O> {
    next: u64,
    waiting: BTreeMap<u64, O>,
    emit: &'e mut (dyn FnMut(O) -> io::Result<()> + Send),
    failed: Option<BulkError>,
}

/// Tells the others when a worker panics: they would wait for its turn for ever.
struct Alarm<F: Fn()>(F);

impl<F: Fn()> Drop for Alarm<F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

/// Screens all subjects and hands them on in order.
pub fn judge<O: Send>(
    dossier: &Dossier<'_>,
    merge: Merge<'_>,
    options: &Options,
    To { begin, render, emit }: To<'_, O>,
    summary: &mut Summary,
) -> Result<(), BulkError> {
    let merge = Mutex::new((merge, 0u64));
    let turns = Mutex::new(Turns { next: 0, waiting: BTreeMap::new(), emit, failed: None });
    let turned = Condvar::new();
    let fail = |error: BulkError| {
        lock(&turns).failed.get_or_insert(error);
        turned.notify_all();
    };
    let temporary = |error| fail(options.temporary_failed(error));
    let worker = || {
        let _alarm = Alarm(|| fail(BulkError::Output(io::Error::other("a worker panicked"))));
        let mut counts = [0u64; 3];
        let mut unmapped: BTreeMap<Box<str>, u64> = BTreeMap::new();
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            let number = {
                let mut merge = lock(&merge);
                while batch.len() < BATCH {
                    match merge.0.next() {
                        Ok(Some(group)) if group.subject.is_empty() => {}
                        Ok(Some(group)) => batch.push(group),
                        Ok(None) => break,
                        Err(error) => {
                            temporary(error);
                            return (counts, unmapped);
                        }
                    }
                }
                merge.1 += 1;
                merge.1 - 1
            };
            if batch.is_empty() {
                return (counts, unmapped);
            }
            let mut out = begin();
            for group in &batch {
                let known = match dossier.known(group) {
                    Ok(Some(known)) => known,
                    Ok(None) => continue,
                    Err(error) => {
                        temporary(error);
                        return (counts, unmapped);
                    }
                };
                for code in known.unmapped() {
                    match unmapped.get_mut(code) {
                        Some(count) => *count += 1,
                        None => _ = unmapped.insert(code.into(), 1),
                    }
                }
                let Dossier { trial, as_of, shared, .. } = dossier;
                let screening = screen(trial, &group.subject, *as_of, &known.facts, shared, known.gaps);
                counts[screening.decision as usize] += 1;
                if let Err(error) = render(screening, &mut out) {
                    fail(BulkError::Output(error));
                    return (counts, unmapped);
                }
            }
            let mut turns = lock(&turns);
            while turns.failed.is_none() && number > turns.next + WAITING {
                turns = turned.wait(turns).unwrap_or_else(PoisonError::into_inner);
            }
            turns.waiting.insert(number, out);
            loop {
                if turns.failed.is_some() {
                    return (counts, unmapped);
                }
                let next = turns.next;
                let Some(out) = turns.waiting.remove(&next) else { break };
                turns.next += 1;
                if let Err(error) = (turns.emit)(out) {
                    turns.failed = Some(BulkError::Output(error));
                }
            }
            turned.notify_all();
        }
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads.get()).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    for (counts, unmapped) in ended {
        summary.eligible += counts[Decision::Eligible as usize];
        summary.ineligible += counts[Decision::Ineligible as usize];
        summary.undetermined += counts[Decision::Undetermined as usize];
        for (code, count) in unmapped {
            *summary.unmapped.entry(code).or_default() += count;
        }
    }
    let turns = turns.into_inner().unwrap_or_else(PoisonError::into_inner);
    turns.failed.map_or(Ok(()), Err)
}
