//! The first half: blocks of lines to sorted runs of records, in as many threads as are given.

use super::moved::Pairs;
use super::prefilter::Prefilter;
use super::runs::{Gathered, Gatherer};
use super::{Attested, Options, SHOWN, Summary, lock};
use crate::collection::{Held, Orphan, Reader};
use crate::protocol::Trial;
use crate::source::blocks::{Block, Blocks};
use crate::source::files::{Problem, in_order};
use std::io;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

/// What the workers found besides records, each with its block so that it can be put in order.
#[derive(Default)]
struct Found {
    problems: Vec<(u64, usize, Problem)>,
    problem_count: u64,
    orphans: Vec<(u64, Orphan)>,
    orphan_count: u64,
}

/// Reads all blocks into sorted runs.
pub fn read<'o>(
    trial: &Trial,
    blocks: Blocks,
    attested: Vec<Attested>,
    options: &'o Options,
    summary: &mut Summary,
) -> io::Result<(Vec<Gathered<'o>>, Vec<Pairs<'o>>)> {
    let blocks = Mutex::new(blocks);
    let found = Mutex::new(Found::default());
    let filter = options.prefilter.then(|| Prefilter::new(trial));
    let attested = Mutex::new(attested);
    let worker = || -> io::Result<(Gatherer<'o>, u64, u64)> {
        let mut gatherer = Gatherer::new(&options.temporary, options.run);
        for (subject, fact, key) in lock(&attested).drain(..) {
            Held::attested(&subject, fact, &key, &mut gatherer);
        }
        let mut reader = Reader::new(trial);
        let mut block = Block::default();
        let mut skipped = 0;
        loop {
            if !lock(&blocks).next(&mut block) {
                break;
            }
            let (mut problems, mut problem_count) = (Vec::new(), 0);
            block.documents(
                &mut |bytes, place| {
                    if let Some(reference) = filter.as_ref().and_then(|f| f.passes_over(bytes)) {
                        gatherer.skipped(&reference);
                        skipped += 1;
                        return Ok(());
                    }
                    reader.add(bytes, &|| place.to_string(), &mut gatherer)
                },
                &mut |line, problem| {
                    problem_count += 1;
                    if problems.len() < SHOWN {
                        problems.push((block.number, line, problem));
                    }
                },
            );
            let orphans = reader.take_orphans();
            if problem_count > 0 || !orphans.is_empty() {
                let mut found = lock(&found);
                found.problem_count += problem_count;
                found.problems.append(&mut problems);
                found.problems.sort_by_key(|(block, line, _)| (*block, *line));
                found.problems.truncate(SHOWN);
                found.orphan_count += orphans.len() as u64;
                found.orphans.extend(orphans.into_iter().map(|orphan| (block.number, orphan)));
                found.orphans.sort_by_key(|(block, _)| *block);
                found.orphans.truncate(SHOWN);
            }
            gatherer.settle()?;
        }
        Ok((gatherer, reader.resources(), skipped))
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads.get()).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let (mut gathered, mut pairs) = (Vec::new(), Vec::new());
    for end in ended {
        let (gatherer, resources, skipped) = end?;
        summary.resources += resources;
        summary.skipped += skipped;
        let (records, of) = gatherer.finish()?;
        gathered.push(records);
        pairs.push(of);
    }
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let files = blocks.into_inner().unwrap_or_else(PoisonError::into_inner).into_problems();
    summary.problem_count = found.problem_count + files.len() as u64;
    found.problems.extend(files);
    summary.problems = in_order(found.problems);
    summary.problems.truncate(SHOWN);
    summary.orphan_count = found.orphan_count;
    summary.orphans = found.orphans.into_iter().map(|(_, orphan)| orphan).collect();
    Ok((gathered, pairs))
}
