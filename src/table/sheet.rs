//! A table that is being written: rows one by one, or in blocks that other threads have made.
//!
//! What costs time is done in [`Block::push`], which any thread may call on a block of its own;
//! [`Sheet::take`] only copies bytes or columns. Whoever writes keeps the order of the blocks.

use super::columnar::{File, ROWS};
use super::group::Group;
use super::row::{Clash, Columns};
use super::text;
use crate::eligibility::Screening;
use crate::protocol::Trial;
use chrono::NaiveDate;
use std::io::{self, Write};
use std::sync::Arc;

/// What a row is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The whole answer, one JSON object a line.
    Ndjson,
    Csv,
    Parquet,
}

/// A format with the columns of a trial. Cheap to copy, and shared by threads.
#[derive(Clone, Debug)]
pub enum Shape {
    Ndjson,
    Csv(Arc<Columns>),
    Parquet(Arc<Columns>),
}

impl Shape {
    /// # Errors
    /// Where the trial gives two columns one name. NDJSON has no columns.
    pub fn new(format: Format, trial: &Trial) -> Result<Shape, Clash> {
        Ok(match format {
            Format::Ndjson => Shape::Ndjson,
            Format::Csv => Shape::Csv(Arc::new(Columns::new(trial)?)),
            Format::Parquet => Shape::Parquet(Arc::new(Columns::new(trial)?)),
        })
    }

    /// An empty block.
    pub fn block(&self) -> Block {
        Block(match self {
            Shape::Ndjson => Rows::Ndjson(Vec::new()),
            Shape::Csv(columns) => Rows::Csv(Vec::new(), columns.clone()),
            Shape::Parquet(columns) => Rows::Parquet(Group::new(columns), columns.clone()),
        })
    }
}

/// What the table as a whole is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    pub trial: String,
    /// `sha256:…` of the trial's definition.
    pub definition: String,
    /// The day of judgement.
    pub as_of: NaiveDate,
}

impl Heading {
    pub fn new(trial: &Trial, as_of: NaiveDate) -> Heading {
        Heading { trial: trial.study.id.clone(), definition: trial.hash.clone(), as_of }
    }
}

/// Rows that are ready to be written.
#[derive(Debug)]
pub struct Block(Rows);

#[derive(Debug)]
enum Rows {
    Ndjson(Vec<u8>),
    Csv(Vec<u8>, Arc<Columns>),
    Parquet(Group, Arc<Columns>),
}

impl Block {
    /// Adds the row of a screening.
    ///
    /// # Errors
    /// Where a screening cannot be written as JSON.
    pub fn push(&mut self, screening: &Screening) -> io::Result<()> {
        match &mut self.0 {
            Rows::Ndjson(bytes) => {
                serde_json::to_writer(&mut *bytes, screening)?;
                bytes.push(b'\n');
            }
            Rows::Csv(bytes, columns) => text::row(columns, screening, bytes),
            Rows::Parquet(group, columns) => group.push(columns, screening),
        }
        Ok(())
    }

    /// Forgets the rows and keeps the memory.
    fn clear(&mut self) {
        match &mut self.0 {
            Rows::Ndjson(bytes) | Rows::Csv(bytes, _) => bytes.clear(),
            Rows::Parquet(group, _) => group.clear(),
        }
    }
}

impl<W: Write + Send> Body<W> {
    fn take(&mut self, block: &Block) -> io::Result<()> {
        match (self, &block.0) {
            (Body::Ndjson(to), Rows::Ndjson(bytes)) => to.write_all(bytes),
            (Body::Csv(to), Rows::Csv(bytes, _)) => to.write_all(bytes),
            (Body::Parquet(file), Rows::Parquet(group, _)) => file.take(group),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "rows of another format")),
        }
    }
}

/// A table that is being written. Without [`Sheet::finish`] it is not whole.
pub struct Sheet<W: Write + Send> {
    body: Body<W>,
    /// For a row that comes alone.
    one: Block,
}

enum Body<W: Write + Send> {
    Ndjson(W),
    Csv(W),
    // Far larger than the others.
    Parquet(Box<File<W>>),
}

impl<W: Write + Send> Sheet<W> {
    /// Begins a table. `to` should be buffered: a row of CSV or NDJSON is one write.
    ///
    /// # Errors
    /// Where `to` cannot be written.
    pub fn new(mut to: W, shape: &Shape, heading: &Heading) -> io::Result<Sheet<W>> {
        let body = match shape {
            Shape::Ndjson => Body::Ndjson(to),
            Shape::Csv(columns) => {
                let mut head = Vec::new();
                text::head(columns, &mut head);
                to.write_all(&head)?;
                Body::Csv(to)
            }
            Shape::Parquet(columns) => Body::Parquet(Box::new(File::new(to, columns, heading, ROWS)?)),
        };
        Ok(Sheet { body, one: shape.block() })
    }

    /// Adds one row.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn row(&mut self, screening: &Screening) -> io::Result<()> {
        let Sheet { body, one } = self;
        let done = one.push(screening).and_then(|()| body.take(one));
        one.clear();
        done
    }

    /// Adds the rows of a block and empties it, so that its memory can be used again.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn take(&mut self, block: &mut Block) -> io::Result<()> {
        let done = self.body.take(block);
        block.clear();
        done
    }

    /// Writes what is left and gives the writer back, flushed.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(self) -> io::Result<W> {
        let mut to = match self.body {
            Body::Ndjson(to) | Body::Csv(to) => to,
            Body::Parquet(file) => file.finish()?,
        };
        to.flush()?;
        Ok(to)
    }
}
