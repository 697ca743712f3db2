//! Rows held by columns: what Parquet writes, in the form that a thread can make on its own.
//!
//! Numbers lie in one list a column and texts in one run of bytes a column, so that a row costs no
//! allocation of its own, and rows made elsewhere are added by copying.

use super::row::{Cells, Columns, Name, Type};
use crate::eligibility::Screening;
use crate::score;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use std::ops::Range;

/// Rows that threads usually make at a time: room for them is made at once.
const FEW: usize = 32;

/// Rows of one trial's table.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub rows: usize,
    pub columns: Vec<Held>,
}

/// One column: for each row whether there is a cell, and the cells that there are.
#[derive(Debug)]
pub(super) struct Held {
    pub present: Vec<bool>,
    pub cells: Cell,
}

#[derive(Debug)]
pub(super) enum Cell {
    Text(Texts),
    Number(Vec<f64>),
    /// Integers, and days since 1970.
    Whole(Vec<i32>),
    Flag(Vec<bool>),
}

/// Texts one after the other, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
}

impl Texts {
    fn end(&self, count: usize) -> usize {
        count.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0)
    }

    /// Copies the texts of a range.
    fn add(&mut self, other: &Texts, range: Range<usize>) {
        let (from, to) = (other.end(range.start), other.end(range.end));
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes[from..to]);
        self.ends.extend(other.ends[range].iter().map(|end| end - from + base));
    }
}

impl Held {
    fn new(holds: Type) -> Held {
        let cells = match holds {
            Type::Text | Type::Words => Cell::Text(Texts::default()),
            Type::Number => Cell::Number(Vec::with_capacity(FEW)),
            Type::Whole | Type::Day => Cell::Whole(Vec::with_capacity(FEW)),
            Type::Flag => Cell::Flag(Vec::with_capacity(FEW)),
        };
        Held { present: Vec::with_capacity(FEW), cells }
    }

    fn clear(&mut self) {
        self.present.clear();
        match &mut self.cells {
            Cell::Text(texts) => {
                texts.bytes.clear();
                texts.ends.clear();
            }
            Cell::Number(cells) => cells.clear(),
            Cell::Whole(cells) => cells.clear(),
            Cell::Flag(cells) => cells.clear(),
        }
    }

    fn add(&mut self, other: &Held, rows: Range<usize>) {
        let count = |range: Range<usize>| other.present[range].iter().filter(|p| **p).count();
        let skipped = count(0..rows.start);
        let cells = skipped..skipped + count(rows.clone());
        self.present.extend_from_slice(&other.present[rows]);
        match (&mut self.cells, &other.cells) {
            (Cell::Text(to), Cell::Text(from)) => to.add(from, cells),
            (Cell::Number(to), Cell::Number(from)) => to.extend_from_slice(&from[cells]),
            (Cell::Whole(to), Cell::Whole(from)) => to.extend_from_slice(&from[cells]),
            (Cell::Flag(to), Cell::Flag(from)) => to.extend_from_slice(&from[cells]),
            _ => unreachable!("both groups were made for the columns of one trial"),
        }
    }
}

impl Group {
    pub fn new(columns: &Columns) -> Group {
        Group { rows: 0, columns: columns.all().iter().map(|c| Held::new(c.holds)).collect() }
    }

    /// Adds the row of a screening.
    pub fn push(&mut self, columns: &Columns, screening: &Screening) {
        self.rows += 1;
        columns.fill(Some(screening), &mut Filling(self.columns.iter_mut()));
    }

    /// Adds rows of another group of the same columns.
    pub fn add(&mut self, other: &Group, rows: Range<usize>) {
        self.rows += rows.len();
        for (to, from) in self.columns.iter_mut().zip(&other.columns) {
            to.add(from, rows.clone());
        }
    }

    /// Forgets the rows and keeps the memory.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.columns.iter_mut().for_each(Held::clear);
    }
}

/// The columns that have no cell of this row yet.
struct Filling<'a>(std::slice::IterMut<'a, Held>);

impl Filling<'_> {
    fn cell(&mut self, present: bool) -> &mut Cell {
        let held = self.0.next().expect("the columns were listed by the walk that fills them");
        held.present.push(present);
        &mut held.cells
    }

    fn texts(&mut self, present: bool) -> &mut Texts {
        match self.cell(present) {
            Cell::Text(texts) => texts,
            _ => unreachable!("{TYPES}"),
        }
    }

    fn add_whole(&mut self, cell: Option<i32>) {
        match self.cell(cell.is_some()) {
            Cell::Whole(cells) => cells.extend(cell),
            _ => unreachable!("{TYPES}"),
        }
    }
}

const TYPES: &str = "the types of the columns were listed by the walk that fills them";

/// Days since 1970, as Parquet counts them.
pub(super) fn day_number(day: NaiveDate) -> i32 {
    day.to_epoch_days()
}

impl Cells for Filling<'_> {
    fn text(&mut self, _: Name<'_>, cell: Option<&str>) {
        let texts = self.texts(cell.is_some());
        if let Some(text) = cell {
            texts.bytes.extend_from_slice(text.as_bytes());
            texts.ends.push(texts.bytes.len());
        }
    }

    fn source(&mut self, _: Name<'_>, cell: Option<(&str, Option<&str>)>) {
        let texts = self.texts(cell.is_some());
        if let Some((reference, version)) = cell {
            texts.bytes.extend_from_slice(reference.as_bytes());
            if let Some(version) = version {
                texts.bytes.extend_from_slice(b"/_history/");
                texts.bytes.extend_from_slice(version.as_bytes());
            }
            texts.ends.push(texts.bytes.len());
        }
    }

    fn words<'w>(&mut self, _: Name<'_>, cell: Option<impl Iterator<Item = &'w str>>) {
        let texts = self.texts(cell.is_some());
        if let Some(words) = cell {
            for (at, word) in words.enumerate() {
                if at > 0 {
                    texts.bytes.push(b' ');
                }
                texts.bytes.extend_from_slice(word.as_bytes());
            }
            texts.ends.push(texts.bytes.len());
        }
    }

    fn number(&mut self, _: Name<'_>, cell: Option<Decimal>) {
        let float = cell.map(score::float);
        match self.cell(float.is_some()) {
            Cell::Number(cells) => cells.extend(float),
            _ => unreachable!("{TYPES}"),
        }
    }

    fn whole(&mut self, _: Name<'_>, cell: Option<i32>) {
        self.add_whole(cell);
    }

    fn flag(&mut self, _: Name<'_>, cell: Option<bool>) {
        match self.cell(cell.is_some()) {
            Cell::Flag(cells) => cells.extend(cell),
            _ => unreachable!("{TYPES}"),
        }
    }

    fn day(&mut self, _: Name<'_>, cell: Option<NaiveDate>) {
        self.add_whole(cell.map(day_number));
    }
}
