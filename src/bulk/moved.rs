//! Resources of which versions were read under more than one subject, or under none: one of them was
//! moved, deleted, or passed over unread, and only all versions together say what stands.
//!
//! Held as pairs of numbers, sixteen bytes a resource; more than memory should hold goes to a file.

use super::spill::{Section, Spill};
use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Pairs that are held before they are sorted: 1 MiB.
const HELD: usize = 1 << 16;

/// Which resources were read under which subjects, both as numbers.
pub struct Pairs<'d> {
    held: Vec<(u64, u64)>,
    spill: Spill<'d>,
    runs: Vec<(u64, u64)>,
}

/// The version names no subject.
pub const NOBODY: u64 = 0;
/// The version was passed over.
pub const UNREAD: u64 = 1;

impl<'d> Pairs<'d> {
    pub fn new(folder: &'d Path) -> Self {
        Pairs { held: Vec::new(), spill: Spill::new(folder), runs: Vec::new() }
    }

    pub fn push(&mut self, resource: u64, subject: u64) -> io::Result<()> {
        self.held.push((resource, subject));
        if self.held.len() == HELD {
            self.held.sort_unstable();
            let both = self.held.iter().flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()]);
            let bytes: Vec<u8> = both.flatten().collect();
            self.runs.push(self.spill.append(&bytes)?);
            self.held.clear();
        }
        Ok(())
    }

    fn sorted(mut self, out: &mut Vec<Sorted>) -> io::Result<()> {
        self.held.sort_unstable();
        for run in &self.runs {
            let file = BufReader::with_capacity(8 << 10, self.spill.section(*run)?);
            out.push(Sorted::File { file, left: (run.1 - run.0) / 16 });
        }
        out.push(Sorted::Memory(self.held.into_iter()));
        Ok(())
    }
}

enum Sorted {
    Memory(std::vec::IntoIter<(u64, u64)>),
    File { file: BufReader<Section>, left: u64 },
}

impl Sorted {
    fn next(&mut self) -> io::Result<Option<(u64, u64)>> {
        match self {
            Sorted::Memory(pairs) => Ok(pairs.next()),
            Sorted::File { left: 0, .. } => Ok(None),
            Sorted::File { file, left } => {
                let (mut resource, mut subject) = ([0; 8], [0; 8]);
                file.read_exact(&mut resource)?;
                file.read_exact(&mut subject)?;
                *left -= 1;
                Ok(Some((u64::from_le_bytes(resource), u64::from_le_bytes(subject))))
            }
        }
    }
}

/// The numbers of the resources that were met under several subjects, or under one and under none; and of
/// each, whether a version of it was passed over.
pub fn moved(pairs: Vec<Pairs<'_>>) -> io::Result<HashMap<u64, bool>> {
    let mut runs = Vec::new();
    for pairs in pairs {
        pairs.sorted(&mut runs)?;
    }
    let mut heap = BinaryHeap::with_capacity(runs.len());
    for (at, run) in runs.iter_mut().enumerate() {
        heap.extend(run.next()?.map(|pair| Reverse((pair, at))));
    }
    let mut moved = HashMap::new();
    let mut last = None;
    while let Some(mut top) = heap.peek_mut() {
        let Reverse(((resource, subject), at)) = *top;
        if let Some((before, under)) = last
            && before == resource
            && under != subject
        {
            *moved.entry(resource).or_default() |= under == UNREAD || subject == UNREAD;
        }
        last = Some((resource, subject));
        match runs[at].next()? {
            Some(next) => *top = Reverse((next, at)),
            None => _ = PeekMut::pop(top),
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_met_under_several_subjects_is_found() {
        let folder = std::env::temp_dir();
        let mut workers = [Pairs::new(&folder), Pairs::new(&folder)];
        // More than is held, so that both go to a file.
        for resource in 10..200_000u64 {
            workers[(resource % 2) as usize].push(resource, resource / 50 + 100).expect("written");
        }
        for (worker, resource, subject) in [
            (0, 11, 7),
            (1, 199_998, NOBODY),
            (0, 77, UNREAD),
            (1, 78, 78 / 50 + 100),
            (0, 5, NOBODY),
            (1, 5, NOBODY),
            (1, 6, UNREAD),
        ] {
            workers[worker].push(resource, subject).expect("written");
        }
        let found = moved(workers.into()).expect("read");
        assert_eq!(found, HashMap::from([(11, false), (199_998, false), (77, true)]));
    }
}
