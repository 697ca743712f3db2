//! Files in blocks of whole lines, so that several threads can read one input together: each takes a
//! block, knows where its lines stand, and looks at them by itself.
//!
//! Memory: a block is about [`BLOCK`] bytes however long the file; only a document over several lines
//! is held whole.

use super::files::{MAX_DOCUMENT, MAX_LINE, Problem};
use crate::fhir::json::JsonError;
use flate2::bufread::MultiGzDecoder;
use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much is read at a time.
pub const BLOCK: usize = 512 << 10;

/// Where a document stands: `file`, or `file:line`.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub file: &'a str,
    /// 0: the file as a whole.
    pub line: usize,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// Whole lines of one file, or a document over several lines.
#[derive(Debug, Default)]
pub struct Block {
    file: Arc<str>,
    bytes: Vec<u8>,
    filled: usize,
    /// The number of the first line.
    first: usize,
    /// A document that does not end with its first line.
    spread: bool,
    /// Position in the input: blocks of one input are numbered from 0.
    pub number: u64,
}

enum Input {
    Stdin,
    File(PathBuf),
}

struct Open {
    file: Arc<str>,
    reader: Box<dyn Read + Send>,
    /// The beginning of a line whose end was not read yet.
    carried: Vec<u8>,
    /// The number of the line that comes next.
    line: usize,
    /// No line with anything on it was seen yet.
    blank: bool,
    ended: bool,
}

/// The blocks of a list of files, one after the other.
pub struct Blocks {
    inputs: VecDeque<Input>,
    open: Option<Open>,
    problems: Vec<(u64, usize, Problem)>,
    next: u64,
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

/// How far the reading has come, in bytes as they lie on the disk.
#[derive(Clone, Debug)]
pub struct Progress {
    read: Arc<AtomicU64>,
    /// Unknown where standard input or a pipe is among the files.
    pub total: Option<u64>,
}

impl Progress {
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// Counts what a file gives, before it is unpacked.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Blocks {
    /// All paths, folders in the order of their names; `-` is standard input.
    pub fn new(paths: &[PathBuf]) -> Blocks {
        let mut blocks = Blocks {
            inputs: VecDeque::new(),
            open: None,
            problems: Vec::new(),
            next: 0,
            read: Arc::default(),
            total: Some(0),
        };
        for path in paths {
            if path.as_os_str() == "-" {
                blocks.inputs.push_back(Input::Stdin);
                blocks.total = None;
            } else if blocks.walk(path, true) == 0 {
                let text = "the folder holds no .json, .ndjson or .jsonl file, nor a .gz of one".into();
                blocks.problem(Problem { place: path.display().to_string(), text });
            }
        }
        blocks
    }

    /// What a test or another program hands over instead of a file.
    pub fn of(file: &str, reader: Box<dyn Read + Send>) -> Blocks {
        let mut blocks = Blocks::new(&[]);
        blocks.total = None;
        blocks.begin(file.into(), reader);
        blocks
    }

    pub fn progress(&self) -> Progress {
        Progress { read: self.read.clone(), total: self.total }
    }

    /// What could not be read, each with the block and the line that it came before or in.
    pub fn into_problems(self) -> Vec<(u64, usize, Problem)> {
        self.problems
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push((self.next, 0, problem));
    }

    /// Lists a file, or what a folder holds; returns how many files were found.
    fn walk(&mut self, path: &Path, named: bool) -> usize {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => return self.unreadable(path, &error),
        };
        if metadata.is_dir() {
            // A link to a folder may lead in a circle: only one that was named is followed.
            if !named && fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()) {
                return 0;
            }
            let entries =
                fs::read_dir(path).and_then(|d| d.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>());
            return match entries {
                Ok(mut entries) => {
                    entries.sort();
                    entries.iter().map(|entry| self.walk(entry, false)).sum()
                }
                Err(error) => self.unreadable(path, &error),
            };
        }
        // In a folder, files that are plainly something else are passed over, and so are pipes and
        // devices, which may never end; a file that was named is read.
        let is_wanted = named || (is_fhir_name(path) && metadata.is_file());
        if !is_wanted {
            return 0;
        }
        self.total = self.total.filter(|_| metadata.is_file()).map(|total| total + metadata.len());
        self.inputs.push_back(Input::File(path.to_owned()));
        1
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) -> usize {
        self.problem(Problem { place: path.display().to_string(), text: error.to_string() });
        1
    }

    fn begin(&mut self, file: Arc<str>, raw: Box<dyn Read + Send>) {
        let counted = Counted { inner: raw, read: self.read.clone() };
        let mut reader = BufReader::with_capacity(64 << 10, counted);
        let reader: Box<dyn Read + Send> = match reader.fill_buf() {
            Err(error) => {
                self.problem(Problem { place: file.to_string(), text: error.to_string() });
                return;
            }
            Ok([0x1f, 0x8b, ..]) => Box::new(MultiGzDecoder::new(reader)),
            Ok(_) => Box::new(reader),
        };
        self.open = Some(Open { file, reader, carried: Vec::new(), line: 1, blank: true, ended: false });
    }

    /// Fills `block` with the next lines; `false` at the end of the last file.
    pub fn next(&mut self, block: &mut Block) -> bool {
        loop {
            let Some(mut open) = self.open.take() else {
                match self.inputs.pop_front() {
                    None => return false,
                    Some(Input::Stdin) => self.begin("-".into(), Box::new(io::stdin())),
                    Some(Input::File(path)) => match File::open(&path) {
                        Ok(file) => self.begin(path.display().to_string().into(), Box::new(file)),
                        Err(error) => _ = self.unreadable(&path, &error),
                    },
                }
                continue;
            };
            let mut found = Vec::new();
            let more = open.fill(block, &mut found);
            for (line, text) in found {
                let place = Place { file: &open.file, line }.to_string();
                self.problems.push((self.next, line, Problem { place, text }));
            }
            if !open.ended {
                self.open = Some(open);
            }
            if more {
                block.number = self.next;
                self.next += 1;
                return true;
            }
        }
    }
}

fn is_fhir_name(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    !name.starts_with('.')
        && (plain.ends_with(".json") || plain.ends_with(".ndjson") || plain.ends_with(".jsonl"))
}

impl Open {
    /// Reads the next whole lines into `block`; `false` where there was nothing to look at. Sets `ended`
    /// after the last.
    fn fill(&mut self, block: &mut Block, problems: &mut Vec<(usize, String)>) -> bool {
        block.file = self.file.clone();
        block.spread = false;
        block.filled = self.carried.len();
        if block.bytes.len() > MAX_LINE + BLOCK {
            // After a large document.
            block.bytes = Vec::new();
        }
        if block.bytes.len() < block.filled + BLOCK {
            block.bytes.resize(block.filled + BLOCK, 0);
        }
        block.bytes[..self.carried.len()].copy_from_slice(&self.carried);
        self.carried.clear();
        // Up to here there is no line end.
        let mut searched = block.filled;
        // A line that is too long is passed over to its end.
        let mut passing = false;
        loop {
            if block.bytes.len() < block.filled + BLOCK / 4 {
                // Doubled: a long first line is searched again after each reading.
                block.bytes.resize(block.filled + BLOCK.max(block.filled), 0);
            }
            let error = match self.reader.read(&mut block.bytes[block.filled..]) {
                Ok(0) => {
                    self.ended = true;
                    None
                }
                Ok(read) => {
                    block.filled += read;
                    None
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.ended = true;
                    Some(error.to_string())
                }
            };
            if passing {
                match memchr::memchr(b'\n', &block.bytes[..block.filled]) {
                    Some(end) => {
                        block.drop_front(end + 1);
                        self.line += 1;
                        passing = false;
                    }
                    None => block.filled = 0,
                }
                searched = 0;
            }
            if self.blank {
                let (lines, start) = block.blank_lines(self.ended);
                block.drop_front(start);
                self.line += lines;
                searched = searched.saturating_sub(start);
                let line_end = memchr::memchr(b'\n', &block.bytes[searched..block.filled]);
                if line_end.is_none() && !self.ended {
                    if block.filled > MAX_DOCUMENT {
                        problems.push((0, too_large()));
                        self.ended = true;
                        return false;
                    }
                    searched = block.filled;
                    continue;
                }
                if let (Some(error), None) = (&error, line_end) {
                    problems.push((self.line, error.clone()));
                    return false;
                }
                if block.filled == 0 {
                    let empty = self.line == 1;
                    let text = if empty { "the file is empty" } else { "the file holds only blank lines" };
                    problems.push((0, text.to_owned()));
                    return false;
                }
                let end = line_end.map_or(block.filled, |at| searched + at);
                self.blank = false;
                if !stands_alone(&block.bytes[..end]) {
                    return self.fill_whole(block, problems);
                }
                searched = 0;
            }
            block.first = self.line;
            let enough = block.filled >= BLOCK / 2 || self.ended;
            let last =
                memchr::memrchr(b'\n', &block.bytes[searched..block.filled]).map(|at| searched + at + 1);
            match last {
                Some(end) if enough => {
                    let lines = memchr::memchr_iter(b'\n', &block.bytes[..end]).count();
                    self.line += lines;
                    if let Some(error) = error {
                        // The line that was cut is not used.
                        problems.push((self.line, error));
                    } else if self.ended {
                        // The last line of a file need not end.
                        return true;
                    } else {
                        self.carried.extend_from_slice(&block.bytes[end..block.filled]);
                    }
                    block.filled = end;
                    return true;
                }
                Some(_) => {}
                None if self.ended => {
                    if let Some(error) = error {
                        problems.push((self.line, error));
                        return false;
                    }
                    return block.filled > 0;
                }
                None => {
                    searched = block.filled;
                    if block.filled > MAX_LINE && self.line > 1 {
                        problems.push((self.line, too_long()));
                        block.filled = 0;
                        passing = true;
                    }
                }
            }
        }
    }

    /// A document over several lines, or one that was cut: all the rest.
    fn fill_whole(&mut self, block: &mut Block, problems: &mut Vec<(usize, String)>) -> bool {
        block.first = self.line;
        block.spread = true;
        block.bytes.truncate(block.filled);
        let room = (MAX_DOCUMENT + 1).saturating_sub(block.filled) as u64;
        if !self.ended
            && let Err(error) = self.reader.by_ref().take(room).read_to_end(&mut block.bytes)
        {
            problems.push((0, error.to_string()));
            self.ended = true;
            return false;
        }
        self.ended = true;
        block.filled = block.bytes.len();
        if block.filled > MAX_DOCUMENT {
            problems.push((0, too_large()));
            return false;
        }
        true
    }
}

impl Block {
    /// The bytes of the whole lines.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    fn drop_front(&mut self, count: usize) {
        if count > 0 {
            self.bytes.copy_within(count..self.filled, 0);
            self.filled -= count;
        }
    }

    /// How many blank lines stand at the front, and how long they are. At the end of a file the last line
    /// may be blank without a line end.
    fn blank_lines(&self, ended: bool) -> (usize, usize) {
        let (mut lines, mut start) = (0, 0);
        while let Some(end) = memchr::memchr(b'\n', &self.bytes[start..self.filled]) {
            if !self.bytes[start..start + end].trim_ascii().is_empty() {
                return (lines, start);
            }
            lines += 1;
            start += end + 1;
        }
        match ended && self.bytes[start..self.filled].trim_ascii().is_empty() {
            true => (lines + usize::from(start < self.filled), self.filled),
            false => (lines, start),
        }
    }

    /// Hands over each document with its place, and says what could not be read.
    pub fn documents(
        &self,
        take: &mut dyn FnMut(&[u8], Place<'_>) -> Result<(), JsonError>,
        problem: &mut dyn FnMut(usize, Problem),
    ) {
        let mut problem = |line: usize, text: String| {
            problem(line, Problem { place: Place { file: &self.file, line }.to_string(), text });
        };
        if !self.spread {
            return self.lines(self.bytes(), take, &mut problem);
        }
        match take(self.bytes(), Place { file: &self.file, line: 0 }) {
            // A first line that is broken must not take the others with it.
            Err(JsonError::Syntax { .. }) if has_documents_below(self.bytes()) => {
                self.lines(self.bytes(), take, &mut problem);
            }
            Err(JsonError::Syntax { line, column }) => {
                problem(self.first + line.max(1) - 1, format!("not JSON at column {column}"));
            }
            Err(error) => problem(0, error.to_string()),
            Ok(()) => {}
        }
    }

    fn lines(
        &self,
        mut rest: &[u8],
        take: &mut dyn FnMut(&[u8], Place<'_>) -> Result<(), JsonError>,
        problem: &mut dyn FnMut(usize, String),
    ) {
        let mut number = self.first;
        while !rest.is_empty() {
            let (line, after) = match memchr::memchr(b'\n', rest) {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            let line = line.trim_ascii();
            if line.len() > MAX_LINE && number > 1 {
                problem(number, too_long());
            } else if !line.is_empty()
                && let Err(error) = take(line, Place { file: &self.file, line: number })
            {
                problem(number, in_line(error));
            }
            number += 1;
            rest = after;
        }
    }
}

fn too_large() -> String {
    format!("larger than {} MiB", MAX_DOCUMENT >> 20)
}

fn too_long() -> String {
    format!("the line is longer than {} MiB", MAX_LINE >> 20)
}

/// The number of the line stands before it already.
fn in_line(error: JsonError) -> String {
    match error {
        JsonError::Syntax { column, .. } => format!("not JSON at column {column}"),
        other => other.to_string(),
    }
}

/// Does a later line begin a document and end it?
fn has_documents_below(text: &[u8]) -> bool {
    text.split(|b| *b == b'\n').skip(1).any(|line| {
        let line = line.trim_ascii_end();
        line.starts_with(b"{\"") && line.ends_with(b"}") && stands_alone(line)
    })
}

/// Is this line a JSON document by itself? Brackets are counted, so that a pretty-printed file, whose
/// first line is `{`, is told from NDJSON.
fn stands_alone(line: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0i64, false, false);
    for b in line {
        if in_string {
            match b {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match b {
                b'"' => in_string = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
    }
    depth <= 0 && !in_string
}
