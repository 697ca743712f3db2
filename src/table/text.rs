//! A row of CSV (RFC 4180), appended to a buffer that any thread may own.
//!
//! The quoting is written out here, and not left to the `csv` crate, because that one owns its buffer; the
//! tests read every row back with it.
//!
//! A cell of text that a spreadsheet would run as a formula gets an apostrophe before it, and so does a
//! cell that begins with one: whoever takes one leading apostrophe away has what the hospital sent.
//!
//! # Source
//! OWASP, "CSV Injection": cells that begin with `=`, `+`, `-`, `@`, tab or carriage return (and, in
//! some locales, the full-width forms of the four) are taken for formulas.

use super::row::{Cells, Columns, Name};
use crate::clinical::number;
use crate::eligibility::Screening;
use crate::score;
use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use std::io::Write;

/// Appends the names of the columns and a line break.
pub(super) fn head(columns: &Columns, to: &mut Vec<u8>) {
    let mut line = Line { to, first: true };
    for column in columns.all() {
        line.begin();
        line.cell(&[&column.name]);
    }
    line.to.push(b'\n');
}

/// Appends one row and a line break.
pub(super) fn row(columns: &Columns, screening: &Screening, to: &mut Vec<u8>) {
    let mut line = Line { to, first: true };
    columns.fill(Some(screening), &mut line);
    line.to.push(b'\n');
}

struct Line<'a> {
    to: &'a mut Vec<u8>,
    first: bool,
}

impl Line<'_> {
    fn begin(&mut self) {
        if !self.first {
            self.to.push(b',');
        }
        self.first = false;
    }

    /// Text in pieces that belong together.
    fn cell(&mut self, pieces: &[&str]) {
        let special = |b: u8| matches!(b, b',' | b'"' | b'\n' | b'\r');
        let quoted = pieces.iter().any(|p| p.bytes().any(special));
        if quoted {
            self.to.push(b'"');
        }
        if pieces.first().is_some_and(|p| is_risky(p)) {
            self.to.push(b'\'');
        }
        for piece in pieces {
            if quoted && piece.contains('"') {
                for byte in piece.bytes() {
                    if byte == b'"' {
                        self.to.push(b'"');
                    }
                    self.to.push(byte);
                }
            } else {
                self.to.extend_from_slice(piece.as_bytes());
            }
        }
        if quoted {
            self.to.push(b'"');
        }
    }

    fn written(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.to.write_fmt(arguments).expect("a Vec takes every byte");
    }
}

/// Would a spreadsheet take it for a formula, or would the apostrophe before it be taken for ours? A number
/// with its sign is neither.
pub(super) fn is_risky(text: &str) -> bool {
    let Some(first) = text.trim_start_matches(' ').chars().next() else { return false };
    match first {
        '=' | '@' | '\t' | '\r' | '\n' | '\'' | '＝' | '＠' | '＋' | '－' => true,
        '+' | '-' => number::parse(text).is_err(),
        _ => false,
    }
}

impl Cells for Line<'_> {
    fn text(&mut self, _: Name<'_>, cell: Option<&str>) {
        self.begin();
        if let Some(text) = cell {
            self.cell(&[text]);
        }
    }

    fn source(&mut self, _: Name<'_>, cell: Option<(&str, Option<&str>)>) {
        self.begin();
        match cell {
            Some((reference, Some(version))) => self.cell(&[reference, "/_history/", version]),
            Some((reference, None)) => self.cell(&[reference]),
            None => {}
        }
    }

    fn words<'w>(&mut self, _: Name<'_>, cell: Option<impl Iterator<Item = &'w str>>) {
        self.begin();
        let start = self.to.len();
        for (at, word) in cell.into_iter().flatten().enumerate() {
            if at > 0 {
                self.to.push(b' ');
            }
            self.to.extend_from_slice(word.as_bytes());
        }
        // Codes and names never need quotes, unless the author of a trial gave a criterion a strange one.
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-' | b'_' | b':');
        let written = &self.to[start..];
        if !written.iter().all(plain) || written.first() == Some(&b'-') {
            let text = String::from_utf8_lossy(&self.to.split_off(start)).into_owned();
            self.cell(&[&text]);
        }
    }

    fn number(&mut self, _: Name<'_>, cell: Option<Decimal>) {
        self.begin();
        if let Some(decimal) = cell {
            serde_json::to_writer(&mut *self.to, &score::Number(decimal))
                .expect("a Vec takes every byte, and a float of a decimal is finite");
        }
    }

    fn whole(&mut self, _: Name<'_>, cell: Option<i32>) {
        self.begin();
        if let Some(whole) = cell {
            self.written(format_args!("{whole}"));
        }
    }

    fn flag(&mut self, _: Name<'_>, cell: Option<bool>) {
        self.begin();
        if let Some(flag) = cell {
            self.to.extend_from_slice(if flag { b"true" } else { b"false" });
        }
    }

    fn day(&mut self, _: Name<'_>, cell: Option<NaiveDate>) {
        self.begin();
        if let Some(day) = cell {
            self.written(format_args!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day()));
        }
    }
}
