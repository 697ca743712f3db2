//! Files of FHIR: a Bundle, a single resource, NDJSON, gzip of any of these, folders of them, or
//! standard input. A line that cannot be read is a problem with its number; the rest is read.

use crate::fhir::json::JsonError;
use flate2::bufread::MultiGzDecoder;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

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

/// Reads all paths, folders in the order of their names.
pub fn read(paths: &[PathBuf], take: &mut Take<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            stream("-", Box::new(io::stdin().lock()), take, &mut problems);
        } else if walk(path, true, take, &mut problems) == 0 {
            let text = "the folder holds no .json, .ndjson or .jsonl file, nor a .gz of one".into();
            problems.push(Problem { place: path.display().to_string(), text });
        }
    }
    problems
}

/// Reads a file, or what a folder holds; returns how many files were tried.
fn walk(path: &Path, named: bool, take: &mut Take<'_>, problems: &mut Vec<Problem>) -> usize {
    let place = path.display().to_string();
    let failed = |error: io::Error, problems: &mut Vec<Problem>| {
        problems.push(Problem { place: path.display().to_string(), text: error.to_string() });
        1
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return failed(error, problems),
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
                entries.iter().map(|entry| walk(entry, false, take, problems)).sum()
            }
            Err(error) => failed(error, problems),
        };
    }
    // In a folder, files that are plainly something else are passed over, and so are pipes and devices,
    // which may never end; a file that was named is read.
    let is_wanted = named || (is_fhir_name(path) && metadata.is_file());
    if !is_wanted {
        return 0;
    }
    match File::open(path) {
        Ok(file) => stream(&place, Box::new(file), take, problems),
        Err(error) => return failed(error, problems),
    }
    1
}

fn is_fhir_name(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    !name.starts_with('.')
        && (plain.ends_with(".json") || plain.ends_with(".ndjson") || plain.ends_with(".jsonl"))
}

fn stream(place: &str, raw: Box<dyn Read + '_>, take: &mut Take<'_>, problems: &mut Vec<Problem>) {
    let mut reader = BufReader::with_capacity(1 << 18, raw);
    let is_gzip = match reader.fill_buf() {
        Ok(head) => head.starts_with(&[0x1f, 0x8b]),
        Err(error) => {
            return problems.push(Problem { place: place.into(), text: error.to_string() });
        }
    };
    if is_gzip {
        let inner = BufReader::with_capacity(1 << 18, MultiGzDecoder::new(reader));
        documents(place, inner, take, problems);
    } else {
        documents(place, reader, take, problems);
    }
}

/// One document over several lines, or one a line: decided by whether the first line stands alone.
fn documents(place: &str, mut reader: impl BufRead, take: &mut Take<'_>, problems: &mut Vec<Problem>) {
    let mut problem = |line: usize, text: String| {
        let place = if line > 0 { format!("{place}:{line}") } else { place.to_owned() };
        problems.push(Problem { place, text });
    };
    let mut line = Vec::new();
    let mut number = 0;
    // The first line with anything on it.
    loop {
        line.clear();
        number += 1;
        match bounded_line(&mut reader, &mut line, MAX_DOCUMENT) {
            Ok(0) => {
                let text = if number == 1 { "the file is empty" } else { "the file holds only blank lines" };
                return problem(0, text.into());
            }
            Ok(_) => {}
            Err(error) => return problem(number, error.to_string()),
        }
        if !line.trim_ascii().is_empty() {
            break;
        }
    }
    if !stands_alone(&line) {
        // A document over several lines, or one that was cut.
        let limit = (MAX_DOCUMENT - line.len()) as u64;
        if let Err(error) = reader.by_ref().take(limit + 1).read_to_end(&mut line) {
            return problem(0, error.to_string());
        }
        if line.len() > MAX_DOCUMENT {
            return problem(0, format!("larger than {} MiB", MAX_DOCUMENT >> 20));
        }
        match take(&line, place) {
            // A first line that is broken must not take the others with it.
            Err(JsonError::Syntax { .. }) if has_documents_below(&line) => {
                for (at, line) in line.split(|b| *b == b'\n').enumerate() {
                    let line = line.trim_ascii();
                    if line.len() > MAX_LINE {
                        problem(number + at, too_long());
                    } else if !line.is_empty()
                        && let Err(error) = take(line, &format!("{place}:{}", number + at))
                    {
                        problem(number + at, in_line(error));
                    }
                }
            }
            Err(JsonError::Syntax { line, column }) => {
                problem(number + line.max(1) - 1, format!("not JSON at column {column}"));
            }
            Err(error) => problem(0, error.to_string()),
            Ok(()) => {}
        }
        return;
    }
    loop {
        if !line.trim_ascii().is_empty() {
            let here = format!("{place}:{number}");
            if line.len() > MAX_LINE && number > 1 {
                problem(number, too_long());
            } else if let Err(error) = take(line.trim_ascii(), &here) {
                problem(number, in_line(error));
            }
        }
        line.clear();
        number += 1;
        match bounded_line(&mut reader, &mut line, MAX_LINE) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => return problem(number, error.to_string()),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8]) -> (Vec<(String, String)>, Vec<String>) {
        let (mut seen, mut problems) = (Vec::new(), Vec::new());
        stream(
            "f",
            Box::new(bytes),
            &mut |doc, place| {
                crate::fhir::json::text(doc)?;
                seen.push((place.to_owned(), String::from_utf8_lossy(doc).trim().to_owned()));
                Ok(())
            },
            &mut problems,
        );
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
