//! Files of FHIR: a Bundle, a single resource, NDJSON, gzip of any of these, folders of them, or
//! standard input. A line that cannot be read is a problem with its number; the rest is read.

use super::blocks::{Block, Blocks};
use crate::fhir::json::JsonError;
use std::fmt;
use std::io::{self, BufRead};
use std::path::PathBuf;

/// Longest NDJSON line.
pub const MAX_LINE: usize = 4 << 20;
/// Largest document that is not NDJSON.
pub const MAX_DOCUMENT: usize = 512 << 20;

/// Something that could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `file` or `file:line`.
    pub place: String,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Takes one document with the place where it stands.
pub type Take<'a> = dyn FnMut(&[u8], &str) -> Result<(), JsonError> + 'a;

/// Reads all paths, folders in the order of their names; `-` is standard input.
pub fn read(paths: &[PathBuf], take: &mut Take<'_>) -> Vec<Problem> {
    drain(Blocks::new(paths), take)
}

pub(crate) fn drain(mut blocks: Blocks, take: &mut Take<'_>) -> Vec<Problem> {
    let mut block = Block::default();
    let mut problems = Vec::new();
    while blocks.next(&mut block) {
        block.documents(&mut |bytes, place| take(bytes, &place.to_string()), &mut |line, problem| {
            problems.push((block.number, line, problem));
        });
    }
    problems.extend(blocks.into_problems());
    in_order(problems)
}

/// Problems that were found block by block, in the order of the files and lines.
pub(crate) fn in_order(mut problems: Vec<(u64, usize, Problem)>) -> Vec<Problem> {
    problems.sort_by_key(|(block, line, _)| (*block, *line));
    problems.into_iter().map(|(.., problem)| problem).collect()
}

/// Reads up to and with the line end. A longer line is read to its end but kept only to the limit
/// plus one byte, so that its length can be seen.
pub(crate) fn bounded_line(reader: &mut impl BufRead, line: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    let mut read = 0;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(read);
        }
        let (end, used) = match memchr::memchr(b'\n', available) {
            Some(at) => (true, at + 1),
            None => (false, available.len()),
        };
        let room = (limit + 1).saturating_sub(line.len());
        line.extend_from_slice(&available[..used.min(room)]);
        reader.consume(used);
        read += used;
        if end {
            return Ok(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8]) -> (Vec<(String, String)>, Vec<String>) {
        let mut seen = Vec::new();
        let reader = Box::new(io::Cursor::new(bytes.to_vec()));
        let problems = drain(Blocks::of("f", reader), &mut |doc, place| {
            crate::fhir::json::text(doc)?;
            seen.push((place.to_owned(), String::from_utf8_lossy(doc).trim().to_owned()));
            Ok(())
        });
        (seen, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_a_document() {
        let pair = |place: &str, text: &str| (place.to_owned(), text.to_owned());
        assert_eq!(taken(b"{\"a\":1}").0, [pair("f:1", "{\"a\":1}")]);
        assert_eq!(
            taken(b"{\"a\":1}\r\n\r\n{\"b\":2}\n").0,
            [pair("f:1", "{\"a\":1}"), pair("f:3", "{\"b\":2}")]
        );
        assert_eq!(taken(b"{\n\"a\":\"}\"\n}\n").0, [pair("f", "{\n\"a\":\"}\"\n}")]);
        assert_eq!(taken(b"").1, ["f: the file is empty"]);
        assert_eq!(taken(b"\n \n").1, ["f: the file holds only blank lines"]);
        let (seen, problems) = taken(b"{\"a\":1}\n{\"\xff\":2}\n{\"c\":3}");
        assert_eq!((seen.len(), problems), (2, vec!["f:2: not UTF-8 at byte 2".to_owned()]));
    }

    #[test]
    fn a_cut_gzip_is_a_problem_and_what_came_before_is_read() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        for n in 0..2000 {
            writeln!(encoder, "{{\"n\":{n}}}").expect("memory");
        }
        let whole = encoder.finish().expect("memory");
        let (seen, problems) = taken(&whole);
        assert_eq!((seen.len(), problems.len()), (2000, 0));
        let (seen, problems) = taken(&whole[..whole.len() / 2]);
        assert!(!seen.is_empty() && seen.len() < 2000);
        assert_eq!(problems.len(), 1);
    }
}
