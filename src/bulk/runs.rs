//! More than memory holds, in the order of the subjects: records are gathered into runs, each run is
//! sorted and put aside in a temporary file without a name, and in the end all runs are read side by side.
//!
//! A run is a sequence of groups: the subject, then the records of it that the run holds. What has no
//! subject stands under the empty one, which comes first.

use super::codec;
use super::moved::{NOBODY, Pairs, UNREAD};
use super::spill::Spill;
use crate::collection::{Held, Keep};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufReader, Read};
use std::path::Path;

/// What all runs together may use for reading ahead.
const AHEAD: usize = 8 << 20;

/// One worker's records.
pub struct Gatherer<'d> {
    run: usize,
    buffer: Vec<u8>,
    entries: Vec<Entry>,
    pairs: Pairs<'d>,
    spill: Spill<'d>,
    runs: Vec<(u64, u64)>,
    failed: Option<io::Error>,
}

/// A record in the buffer, and the first sixteen bytes of its subject to sort by.
struct Entry {
    prefix: u128,
    at: u32,
}

/// What a worker gathered: runs in its file, and the last one, which memory holds.
pub struct Gathered<'d> {
    spill: Spill<'d>,
    runs: Vec<(u64, u64)>,
    last: Vec<u8>,
}

/// The runs of all workers.
pub struct Runs<'d>(pub Vec<Gathered<'d>>);

fn prefix(subject: &[u8]) -> u128 {
    let mut first = [0; 16];
    let length = subject.len().min(16);
    first[..length].copy_from_slice(&subject[..length]);
    u128::from_be_bytes(first)
}

/// A number for a text, the same within one run of the program.
pub fn number_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("a record is far smaller than a run may grow");
    out.extend_from_slice(&length.to_le_bytes());
}

fn length_at(bytes: &[u8], at: usize) -> usize {
    let (length, _) = bytes[at..].split_first_chunk().expect("a length was written here");
    u32::from_le_bytes(*length) as usize
}

impl<'d> Gatherer<'d> {
    /// A buffer of `run` bytes is sorted and goes to a file in `folder`.
    pub fn new(folder: &'d Path, run: usize) -> Self {
        Gatherer {
            run,
            buffer: Vec::new(),
            entries: Vec::new(),
            pairs: Pairs::new(folder),
            spill: Spill::new(folder),
            runs: Vec::new(),
            failed: None,
        }
    }

    /// A version was passed over unread.
    pub fn skipped(&mut self, reference: &str) {
        self.note(reference, UNREAD);
    }

    fn note(&mut self, reference: &str, subject: u64) {
        if let Err(error) = self.pairs.push(number_of(reference), subject) {
            self.failed.get_or_insert(error);
        }
    }

    /// Puts a full buffer aside. To be called now and then.
    ///
    /// # Errors
    /// The temporary file could not be made or written.
    pub fn settle(&mut self) -> io::Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.buffer.len() < self.run {
            return Ok(());
        }
        let sorted = self.sorted();
        self.runs.push(self.spill.append(&sorted)?);
        Ok(())
    }

    /// The buffer as a run; empties it.
    fn sorted(&mut self) -> Vec<u8> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut entries = std::mem::take(&mut self.entries);
        let parts = |entry: &Entry| {
            let at = entry.at as usize;
            let (subject, rest) = (length_at(&buffer, at), length_at(&buffer, at + 4));
            let text = &buffer[at + 8..at + 8 + subject];
            (text, &buffer[at + 8 + subject..at + 8 + subject + rest])
        };
        entries.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| parts(a).0.cmp(parts(b).0)).then(a.at.cmp(&b.at))
        });
        let mut out = Vec::with_capacity(buffer.len());
        let mut from = 0;
        while from < entries.len() {
            let subject = parts(&entries[from]).0;
            put_length(&mut out, subject.len());
            out.extend_from_slice(subject);
            let length_stands = out.len();
            put_length(&mut out, 0);
            let mut to = from;
            while to < entries.len() && parts(&entries[to]).0 == subject {
                out.extend_from_slice(parts(&entries[to]).1);
                to += 1;
            }
            let length = (out.len() - length_stands - 4) as u32;
            out[length_stands..length_stands + 4].copy_from_slice(&length.to_le_bytes());
            from = to;
        }
        entries.clear();
        self.entries = entries;
        self.buffer = buffer;
        self.buffer.clear();
        out
    }

    /// Ends the gathering.
    pub fn finish(mut self) -> io::Result<(Gathered<'d>, Pairs<'d>)> {
        self.settle()?;
        let last = self.sorted();
        Ok((Gathered { spill: self.spill, runs: self.runs, last }, self.pairs))
    }
}

impl Keep for Gatherer<'_> {
    fn keep(&mut self, reference: &str, held: Held<'_>) {
        let subject = held.subject.as_deref().unwrap_or_default();
        let at = self.buffer.len();
        self.entries.push(Entry { prefix: prefix(subject.as_bytes()), at: at as u32 });
        put_length(&mut self.buffer, subject.len());
        put_length(&mut self.buffer, 0);
        self.buffer.extend_from_slice(subject.as_bytes());
        let begin = self.buffer.len();
        put_length(&mut self.buffer, reference.len());
        put_length(&mut self.buffer, 0);
        self.buffer.extend_from_slice(reference.as_bytes());
        let payload = self.buffer.len();
        codec::encode(&held, reference, &mut self.buffer);
        let (end, length) = (self.buffer.len(), |from: usize, to: usize| ((to - from) as u32).to_le_bytes());
        self.buffer[begin + 4..begin + 8].copy_from_slice(&length(payload, end));
        self.buffer[at + 4..at + 8].copy_from_slice(&length(begin, end));
        let of = if subject.is_empty() { NOBODY } else { number_of(subject) };
        self.note(reference, of);
    }
}

/// A subject and its records.
#[derive(Debug, Default)]
pub struct Group {
    pub subject: String,
    records: Vec<u8>,
}

impl Group {
    /// `None` for what belongs to nobody.
    pub fn subject(&self) -> Option<&str> {
        (!self.subject.is_empty()).then_some(&self.subject)
    }

    /// Each record: the reference and what [`codec::decode`] reads.
    pub fn records(&self) -> impl Iterator<Item = Result<(&str, &[u8]), codec::Damaged>> {
        let mut rest = &self.records[..];
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut part = |head: usize, length: usize| {
                let taken = rest.get(head..head + length)?;
                rest = &rest[head + length..];
                Some(taken)
            };
            let lengths = part(0, 8)?;
            let (reference, payload) = (length_at(lengths, 0), length_at(lengths, 4));
            let record = part(0, reference).and_then(|r| std::str::from_utf8(r).ok()).zip(part(0, payload));
            Some(record.ok_or(codec::Damaged))
        })
    }
}

impl Runs<'_> {
    /// What lies in temporary files, in bytes.
    pub fn spilled(&self) -> u64 {
        self.0.iter().map(|gathered| gathered.spill.written()).sum()
    }

    /// All groups in the order of the subjects.
    pub fn merge(&self) -> io::Result<Merge<'_>> {
        let count: usize = self.0.iter().map(|gathered| gathered.runs.len() + 1).sum();
        let ahead = (AHEAD / count.max(1)).clamp(8 << 10, 128 << 10);
        let mut merge = Merge { cursors: Vec::with_capacity(count), heap: BinaryHeap::with_capacity(count) };
        for gathered in &self.0 {
            merge.cursors.push(Box::new(&gathered.last[..]));
            for run in &gathered.runs {
                let section = gathered.spill.section(*run)?;
                merge.cursors.push(Box::new(BufReader::with_capacity(ahead, section)));
            }
        }
        for run in 0..count {
            merge.advance(run)?;
        }
        Ok(merge)
    }
}

/// Runs side by side.
pub struct Merge<'r> {
    cursors: Vec<Box<dyn Read + Send + 'r>>,
    heap: BinaryHeap<Next>,
}

/// The subject at which a run stands.
struct Next {
    prefix: u128,
    subject: String,
    run: usize,
}

impl Ord for Next {
    /// The smallest subject is the greatest, since the heap gives the greatest first.
    fn cmp(&self, other: &Next) -> Ordering {
        let order = self.prefix.cmp(&other.prefix).then_with(|| self.subject.cmp(&other.subject));
        order.then(self.run.cmp(&other.run)).reverse()
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Next) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Next) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}

impl Merge<'_> {
    /// Reads the next subject of a run.
    fn advance(&mut self, run: usize) -> io::Result<()> {
        let Some(length) = self.length(run)? else { return Ok(()) };
        let mut subject = vec![0; length];
        self.cursors[run].read_exact(&mut subject)?;
        let prefix = prefix(&subject);
        let subject = String::from_utf8(subject).map_err(|_| damaged())?;
        self.heap.push(Next { prefix, subject, run });
        Ok(())
    }

    /// A length, or nothing at the end of the run.
    fn length(&mut self, run: usize) -> io::Result<Option<usize>> {
        let mut length = [0; 4];
        let mut filled = 0;
        while filled < 4 {
            match self.cursors[run].read(&mut length[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(damaged()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(u32::from_le_bytes(length) as usize))
    }

    /// The next subject with all its records; `None` after the last.
    pub fn next(&mut self) -> io::Result<Option<Group>> {
        let Some(first) = self.heap.pop() else { return Ok(None) };
        let mut group = Group { subject: first.subject, records: Vec::new() };
        self.take(first.run, &mut group)?;
        while self.heap.peek().is_some_and(|next| next.subject == group.subject) {
            let next = self.heap.pop().expect("it was there to look at");
            self.take(next.run, &mut group)?;
        }
        Ok(Some(group))
    }

    fn take(&mut self, run: usize, group: &mut Group) -> io::Result<()> {
        let length = self.length(run)?.ok_or_else(damaged)?;
        let begin = group.records.len();
        group.records.resize(begin + length, 0);
        self.cursors[run].read_exact(&mut group.records[begin..])?;
        self.advance(run)
    }
}

fn damaged() -> io::Error {
    io::Error::other(codec::Damaged)
}
