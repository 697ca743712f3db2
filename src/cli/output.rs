//! Tables and lines for standard output.

use super::Failure;
use std::io::{self, BufWriter, Stdout, Write};

/// Standard output was closed by its reader, as `| head` does.
pub const CLOSED: &str = "standard output was closed";

/// Buffered standard output.
pub struct Out(BufWriter<Stdout>);

impl Out {
    pub fn new() -> Out {
        Out(BufWriter::with_capacity(1 << 16, io::stdout()))
    }

    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.0.write_all(text.as_bytes()).and_then(|()| self.0.write_all(b"\n")).map_err(closed)
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write_all(bytes).map_err(closed)
    }

    pub fn json<T: serde::Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.0, value).map_err(|e| closed(e.into()))?;
        self.0.write_all(b"\n").map_err(closed)
    }

    pub fn finish(mut self) -> Result<(), Failure> {
        self.0.flush().map_err(closed)
    }
}

impl Default for Out {
    fn default() -> Self {
        Out::new()
    }
}

pub fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::problem(CLOSED)
    } else {
        Failure::problem(format!("the output could not be written: {error}"))
    }
}

/// Columns padded to their widest cell; the last one is left as it is.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|h| width(h)).collect();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            if let Some(w) = widths.get_mut(at) {
                *w = (*w).max(width(cell));
            }
        }
    }
    let mut text = String::new();
    let head: Vec<String> = header.iter().map(|h| h.to_uppercase()).collect();
    for row in std::iter::once(&head).chain(rows) {
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < row.len() {
                let fill = widths.get(at).copied().unwrap_or_default().saturating_sub(width(cell));
                text.push_str(&" ".repeat(fill + 2));
            }
        }
        text.push('\n');
    }
    text
}

/// Cells of a terminal: Chinese characters take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if matches!(c as u32, 0x1100..=0x115F | 0x2E80..=0xFFDC) { 2 } else { 1 }).sum()
}
