//! A list that the statistician drew up elsewhere, read from CSV, and the commitment to its bytes.
//!
//! The file is `trial,environment,stratum,position,arm`, one row a place; a list of one stratum may leave
//! the stratum's column out or empty. Nothing in it is put right: rows in another order, a space too many
//! or a missing row refuse the file, with every finding and its row. No finding repeats a cell, so none
//! repeats an arm, whichever column it was put into.
//!
//! Invariant: a file that is accepted gives every stratum its places 1 to n, each once, in order.

use super::{
    arms::Arms,
    digest::{Digest, Transcript},
    plan::{Content, Place},
    scheme::Scheme,
    secret::Salt,
};
use std::{collections::BTreeMap, fmt};

/// What the file must be a list for.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The trial's identifier.
    pub trial: &'a str,
    /// `production` or `test`.
    pub environment: &'a str,
    pub arms: &'a Arms,
    /// The labels of the strata, as [`super::Plan::strata`] gives them: one empty label without factors.
    pub strata: &'a [String],
    /// Participants in the trial. One stratum has exactly so many places, each of several at least so many.
    pub total: u32,
    /// Must every arm come equally often in every stratum?
    pub equal: bool,
}

/// What is wrong, and in which row of the file; the header is row 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub row: usize,
    pub what: Fault,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}: {}", self.row, self.what)
    }
}

/// Why a list is refused. Never holds a cell of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the file is empty; it begins with the header {HEADER}")]
    Empty,
    #[error("there is no place below the header")]
    NoPlace,
    #[error("bytes that are not UTF-8; save the file as UTF-8")]
    NotUtf8,
    #[error("the header is not {HEADER}, or the same without `stratum`, separated by commas, in this order")]
    Header,
    #[error("the row is empty; take it out")]
    Blank,
    #[error("{found} columns where the header has {expected}")]
    Columns { found: usize, expected: usize },
    #[error("column {column}: a quotation mark that is not in pairs around the whole cell")]
    Quotes { column: usize },
    #[error("column {column}: a control character")]
    Control { column: usize },
    #[error("column trial: not {expected}, the trial that this list is read for")]
    Trial { expected: String },
    #[error(
        "column environment: `{found}`, but this is {expected}; a list for one is never used in the other"
    )]
    OtherEnvironment { found: &'static str, expected: String },
    #[error("column environment: not {expected}; only `production` and `test` are known")]
    Environment { expected: String },
    #[error(
        "column stratum: not a stratum of this trial; write it as the definition gives it, for example `{example}`"
    )]
    Stratum { example: String },
    #[error("column stratum: this trial has one stratum, so the cell is empty")]
    OneStratum,
    #[error(
        "column position: not a whole number from 1 to {}, written without sign, space or leading zero",
        Scheme::MOST_SLOTS
    )]
    NotAPosition,
    #[error(
        "column position: {expected} is expected here; positions run 1, 2, 3 … within a stratum, without gaps"
    )]
    Position { expected: u32 },
    #[error("column position: this position of the stratum stands in row {first} already")]
    Twice { first: usize },
    #[error("column arm: not the name of an arm in the trial definition")]
    Arm,
    #[error("the list has {found} places and the trial has {expected}; they must be as many")]
    Total { found: u32, expected: u32 },
    #[error(
        "stratum {stratum} has {found} places; it needs at least {expected}, as all participants may fall into it"
    )]
    Short { stratum: String, found: u32, expected: u32 },
    #[error("{}the arms do not come equally often, as the trial definition demands", of(stratum))]
    Unequal { stratum: String },
    #[error("{}the list is sorted by arm, so that it can be foreseen", of(stratum))]
    Sorted { stratum: String },
    #[error(
        "{}the arms take turns in the same order throughout, so that the list can be foreseen",
        of(stratum)
    )]
    Alternating { stratum: String },
    #[error(
        "{}the list is made of blocks that hold every arm once, so that the last of each is known; with two arms, \
         blocks of two",
        of(stratum)
    )]
    ShortBlocks { stratum: String },
    #[error("more than {MOST_ROWS} rows; the rest was not read")]
    ManyRows,
    #[error("and {left_out} more findings")]
    More { left_out: usize },
}

/// Names a stratum where there are several.
fn of(stratum: &str) -> String {
    match stratum {
        "" => String::new(),
        EVERY => "all strata together: ".to_owned(),
        label => format!("stratum {label}: "),
    }
}

/// The header of a file; `stratum` may be left out.
pub const HEADER: &str = "trial,environment,stratum,position,arm";
/// The most rows that are read, over all strata.
pub const MOST_ROWS: usize = 100_000;
/// The most findings that are given; a last one counts the others.
pub const MOST_FINDINGS: usize = 100;

/// Places for each arm from which on a sorted or alternating list is refused. A shorter one is so by
/// chance too often: of honest lists of two arms in blocks of four, 1 in 3 with four places and 1 in 18
/// with eight.
const TELLING: usize = 4;
/// The same for a list made of blocks that hold every arm once: of honest lists in blocks of four, two
/// blocks in three can be read so, which is 1 list in 58 with forty places and 1 in 11 000 with 92.
const TELLING_BLOCKS: usize = 20;
/// Stands for all strata together.
const EVERY: &str = "*";

/// The salted hash of the file, byte for byte as it lies on the disk: what the statistician records
/// before the file leaves their hands.
pub fn commitment(salt: &Salt, bytes: &[u8]) -> Digest {
    Transcript::new("trialbridge/imported-list/v1").fixed(salt.expose()).field(bytes).digest()
}

/// Reads a list: its places in order of stratum and position, each with its arm.
///
/// # Errors
/// Every [`Finding`], in order of row, at most [`MOST_FINDINGS`] and one that counts the rest.
pub fn read(csv: &[u8], expected: &Expected<'_>) -> Result<Vec<Place>, Vec<Finding>> {
    let mut reading = Reading {
        expected,
        findings: Vec::new(),
        strata: vec![Stratum::default(); expected.strata.len()],
        last: 1,
    };
    reading.file(csv);
    reading.judge();
    let Reading { mut findings, strata, .. } = reading;
    if findings.is_empty() {
        return Ok(places(&strata));
    }
    findings.sort_by_key(|finding| finding.row);
    if findings.len() > MOST_FINDINGS {
        let left_out = findings.len() - MOST_FINDINGS;
        findings.truncate(MOST_FINDINGS);
        let row = findings.last().map_or(1, |finding| finding.row);
        findings.push(Finding { row, what: Fault::More { left_out } });
    }
    Err(findings)
}

/// One stratum as far as it was read.
#[derive(Clone, Default)]
struct Stratum {
    /// The arm of each row in order, none where it is not one.
    arms: Vec<Option<usize>>,
    /// The row in which a position stood.
    seen: BTreeMap<u32, usize>,
    /// The position of the row read last.
    latest: u32,
    /// The row read last.
    row: usize,
}

struct Reading<'a> {
    expected: &'a Expected<'a>,
    findings: Vec<Finding>,
    /// As many as there are labels.
    strata: Vec<Stratum>,
    /// The last row.
    last: usize,
}

impl Reading<'_> {
    fn find(&mut self, row: usize, what: Fault) {
        self.findings.push(Finding { row, what });
    }

    fn file(&mut self, csv: &[u8]) {
        let csv = csv.strip_prefix(b"\xef\xbb\xbf").unwrap_or(csv);
        let text = match std::str::from_utf8(csv) {
            Ok(text) => text,
            Err(error) => {
                let row = csv.iter().take(error.valid_up_to()).filter(|&&byte| byte == b'\n').count() + 1;
                return self.find(row, Fault::NotUtf8);
            }
        };
        if text.is_empty() {
            return self.find(1, Fault::Empty);
        }
        // The line feed behind the last row ends it and does not begin another.
        let text = text.strip_suffix('\n').unwrap_or(text);
        let mut rows = (1..).zip(text.split('\n').map(|row| row.strip_suffix('\r').unwrap_or(row)));
        let header = rows.next().map_or("", |(_, header)| header);
        let is_stratified = header == HEADER;
        if !is_stratified && header != HEADER.replace("stratum,", "") {
            return self.find(1, Fault::Header);
        }
        for (row, text) in rows {
            if row > MOST_ROWS + 1 {
                return self.find(row, Fault::ManyRows);
            }
            self.last = row;
            self.row(row, text, is_stratified);
        }
        if self.last == 1 {
            self.find(1, Fault::NoPlace);
        }
    }

    fn row(&mut self, row: usize, text: &str, is_stratified: bool) {
        if text.is_empty() {
            return self.find(row, Fault::Blank);
        }
        let cells = match cells(text) {
            Ok(cells) => cells,
            Err(what) => return self.find(row, what),
        };
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let (trial, environment, stratum, position, arm) = match (is_stratified, &cells[..]) {
            (true, &[trial, environment, stratum, position, arm]) => {
                (trial, environment, stratum, position, arm)
            }
            (false, &[trial, environment, position, arm]) => (trial, environment, "", position, arm),
            (_, cells) => {
                let expected = if is_stratified { 5 } else { 4 };
                return self.find(row, Fault::Columns { found: cells.len(), expected });
            }
        };
        let wanted = self.expected;
        if trial != wanted.trial {
            self.find(row, Fault::Trial { expected: wanted.trial.to_owned() });
        }
        if environment != wanted.environment {
            let known = ["production", "test"].into_iter().find(|&known| known == environment);
            let expected = wanted.environment.to_owned();
            self.find(
                row,
                match known {
                    Some(found) => Fault::OtherEnvironment { found, expected },
                    None => Fault::Environment { expected },
                },
            );
        }
        let number = wanted.arms.names().iter().position(|name| name == arm);
        if number.is_none() {
            self.find(row, Fault::Arm);
        }
        let position = self.position(row, position);
        let Some(index) = wanted.strata.iter().position(|label| label == stratum) else {
            let example = wanted.strata.first().filter(|label| !label.is_empty());
            let what =
                example.map_or(Fault::OneStratum, |example| Fault::Stratum { example: example.clone() });
            return self.find(row, what);
        };
        self.place(row, index, position, number);
    }

    fn position(&mut self, row: usize, text: &str) -> Option<u32> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse().ok().filter(|number| is_plain && *number <= Scheme::MOST_SLOTS);
        if number.is_none() {
            self.find(row, Fault::NotAPosition);
        }
        number
    }

    fn place(&mut self, row: usize, index: usize, position: Option<u32>, arm: Option<usize>) {
        let Some(stratum) = self.strata.get_mut(index) else { return };
        stratum.arms.push(arm);
        stratum.row = row;
        let expected = stratum.latest + 1;
        // Where no position can be read the next row is expected to go on behind it.
        stratum.latest = position.unwrap_or(expected);
        let Some(position) = position else { return };
        if let Some(&first) = stratum.seen.get(&position) {
            return self.find(row, Fault::Twice { first });
        }
        stratum.seen.insert(position, row);
        if position != expected {
            self.find(row, Fault::Position { expected });
        }
    }

    /// What can only be seen of whole strata.
    fn judge(&mut self) {
        let is_unread = |finding: &Finding| {
            matches!(finding.what, Fault::Empty | Fault::NoPlace | Fault::NotUtf8 | Fault::Header)
        };
        if self.findings.iter().any(is_unread) {
            return;
        }
        let strata = std::mem::take(&mut self.strata);
        let arms = self.expected.arms.names().len();
        let mut known = Vec::new();
        for (stratum, label) in strata.iter().zip(self.expected.strata) {
            let row = if stratum.row == 0 { self.last } else { stratum.row };
            // A file has at most `MOST_ROWS`.
            let (found, expected) = (stratum.arms.len() as u32, self.expected.total);
            if strata.len() == 1 && found != expected {
                self.find(row, Fault::Total { found, expected });
            }
            if strata.len() > 1 && found < expected {
                self.find(row, Fault::Short { stratum: label.clone(), found, expected });
            }
            let Some(sequence) = stratum.arms.iter().copied().collect::<Option<Vec<usize>>>() else {
                continue;
            };
            if self.expected.equal && !is_equal(&sequence, arms) {
                self.find(row, Fault::Unequal { stratum: label.clone() });
            }
            known.push((sequence, row, label));
        }
        self.foreseen(&known, arms);
        self.strata = strata;
    }

    /// Each stratum that is long enough is judged by itself; where none tells, all together.
    fn foreseen(&mut self, strata: &[(Vec<usize>, usize, &String)], arms: usize) {
        let mut is_found = false;
        for (sequence, row, label) in strata {
            if let Some(fault) = pattern(&[sequence], arms) {
                is_found = true;
                self.find(*row, fault((*label).clone()));
            }
        }
        let all: Vec<&[usize]> = strata.iter().map(|(sequence, ..)| &sequence[..]).collect();
        if let Some(fault) = pattern(&all, arms).filter(|_| !is_found) {
            self.find(self.last, fault(EVERY.to_owned()));
        }
    }
}

/// The first pattern that all these lists have and that they are together long enough to tell.
fn pattern(lists: &[&[usize]], arms: usize) -> Option<fn(String) -> Fault> {
    type Pattern = (fn(&[usize], usize) -> bool, usize, fn(String) -> Fault);
    let patterns: [Pattern; 3] = [
        (is_sorted, TELLING, |stratum| Fault::Sorted { stratum }),
        (is_alternating, TELLING, |stratum| Fault::Alternating { stratum }),
        (is_in_short_blocks, TELLING_BLOCKS, |stratum| Fault::ShortBlocks { stratum }),
    ];
    let length: usize = lists.iter().map(|list| list.len()).sum();
    let fits = |(is_so, telling, _): &Pattern| {
        length >= telling * arms && lists.iter().all(|list| is_so(list, arms))
    };
    patterns.into_iter().find(fits).map(|(_, _, fault)| fault)
}

fn places(strata: &[Stratum]) -> Vec<Place> {
    let of = |(number, stratum): (u32, &Stratum)| -> Vec<Place> {
        let arms = stratum.arms.iter().copied().flatten();
        (1..)
            .zip(arms)
            .map(|(position, arm)| Place { stratum: number, position, block: 0, content: Content::Arm(arm) })
            .collect()
    };
    (0..).zip(strata).flat_map(of).collect()
}

/// The cells of a row. A cell stands as it is, or wholly in quotation marks with those inside doubled.
fn cells(row: &str) -> Result<Vec<String>, Fault> {
    let mut cells = Vec::new();
    let mut rest = Some(row);
    while let Some(text) = rest {
        let column = cells.len() + 1;
        let (cell, behind) = match text.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted).ok_or(Fault::Quotes { column })?,
            None => {
                let (cell, behind) =
                    text.split_once(',').map_or((text, None), |(cell, rest)| (cell, Some(rest)));
                if cell.contains('"') {
                    return Err(Fault::Quotes { column });
                }
                (cell.to_owned(), behind)
            }
        };
        if cell.contains(char::is_control) {
            return Err(Fault::Control { column });
        }
        cells.push(cell);
        rest = behind;
    }
    Ok(cells)
}

/// The cell whose opening quotation mark has been taken off, and what stands behind the comma after it.
fn quoted_cell(mut text: &str) -> Option<(String, Option<&str>)> {
    let mut cell = String::new();
    loop {
        let (part, behind) = text.split_once('"')?;
        cell.push_str(part);
        if let Some(more) = behind.strip_prefix('"') {
            cell.push('"');
            text = more;
        } else if behind.is_empty() {
            return Some((cell, None));
        } else {
            return Some((cell, Some(behind.strip_prefix(',')?)));
        }
    }
}

fn is_equal(sequence: &[usize], arms: usize) -> bool {
    let times = |arm| sequence.iter().filter(|&&found| found == arm).count();
    (1..arms).all(|arm| times(arm) == times(0))
}

/// All of one arm, then all of another, and so on, for every arm that occurs.
fn is_sorted(sequence: &[usize], _: usize) -> bool {
    let mut kinds = sequence.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    sequence.chunk_by(|one, next| one == next).count() == kinds.len()
}

/// The first arms all different, and then again in the same order to the end.
fn is_alternating(sequence: &[usize], arms: usize) -> bool {
    is_in_short_blocks(sequence, arms)
        && sequence.iter().zip(sequence.iter().skip(arms)).all(|(one, later)| one == later)
}

/// Every arm at most once in each block of as many places as there are arms.
fn is_in_short_blocks(sequence: &[usize], arms: usize) -> bool {
    let is_different = |block: &[usize]| (1..block.len()).all(|i| !block[..i].contains(&block[i]));
    sequence.chunks(arms).all(is_different)
}
