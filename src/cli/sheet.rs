//! Where `screen` writes its rows, and as what: a file that appears whole or not at all, or standard
//! output.

use super::output::closed;
use super::whole::WholeFile;
use super::{Failure, exit};
use crate::eligibility::Screening;
use crate::protocol::Trial;
use crate::table::{Block, Format, Heading, Shape, Sheet};
use chrono::NaiveDate;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::io::{self, BufWriter, Stdout};
use std::path::{Path, PathBuf};

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Format] {
        &[Format::Ndjson, Format::Csv, Format::Parquet]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Format::Ndjson => PossibleValue::new("ndjson").help("the whole answer, one JSON object a line"),
            Format::Csv => PossibleValue::new("csv").help("one row a patient"),
            Format::Parquet => PossibleValue::new("parquet").help("one row a patient, with types"),
        })
    }
}

/// The format that was asked for, else the one that the name of the file ends in, else NDJSON.
pub fn format(asked: Option<Format>, out: Option<&Path>) -> Format {
    let ending = out.and_then(Path::extension).map(|e| e.to_string_lossy().to_ascii_lowercase());
    asked.unwrap_or(match ending.as_deref() {
        Some("csv") => Format::Csv,
        Some("parquet") => Format::Parquet,
        _ => Format::Ndjson,
    })
}

/// Rows on their way to a file or to standard output.
pub struct Rows {
    shape: Shape,
    to: To,
}

enum To {
    File(Sheet<BufWriter<WholeFile>>, PathBuf),
    Stdout(Sheet<BufWriter<Stdout>>),
}

impl Rows {
    /// Begins the table, if one was asked for: by `--out`, by `--format`, or by both. To be called before
    /// anything is read, so that a run does not fail at its end for what could be known at its beginning.
    ///
    /// # Errors
    /// [`exit::USAGE`] for Parquet to standard output, [`exit::CONFIG`] for a trial whose columns would
    /// clash, [`exit::PROBLEMS`] where the file cannot be made.
    pub fn open(
        asked: Option<Format>,
        out: Option<&Path>,
        trial: &Trial,
        as_of: NaiveDate,
    ) -> Result<Option<Rows>, Failure> {
        if asked.is_none() && out.is_none() {
            return Ok(None);
        }
        let format = format(asked, out);
        if format == Format::Parquet && out.is_none() {
            return Err(Failure::new(
                exit::USAGE,
                "Parquet is not written to standard output",
                "name a file: --out rows.parquet",
            ));
        }
        let shape = Shape::new(format, trial)
            .map_err(|e| Failure::new(exit::CONFIG, e.to_string(), "see docs/screen-tables.md"))?;
        let heading = Heading::new(trial, as_of);
        let to = match out {
            Some(path) => {
                let sheet = WholeFile::create(path)
                    .and_then(|file| Sheet::new(BufWriter::with_capacity(1 << 16, file), &shape, &heading))
                    .map_err(|e| unwritable(path, &e))?;
                To::File(sheet, path.to_owned())
            }
            None => {
                let stdout = BufWriter::with_capacity(1 << 16, io::stdout());
                To::Stdout(Sheet::new(stdout, &shape, &heading).map_err(closed)?)
            }
        };
        Ok(Some(Rows { shape, to }))
    }

    /// What threads make blocks of.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Adds one row.
    pub fn row(&mut self, screening: &Screening) -> Result<(), Failure> {
        match &mut self.to {
            To::File(sheet, path) => sheet.row(screening).map_err(|e| unwritable(path, &e)),
            To::Stdout(sheet) => sheet.row(screening).map_err(closed),
        }
    }

    /// Adds the rows of a block, and empties it.
    pub fn take(&mut self, block: &mut Block) -> Result<(), Failure> {
        match &mut self.to {
            To::File(sheet, path) => sheet.take(block).map_err(|e| unwritable(path, &e)),
            To::Stdout(sheet) => sheet.take(block).map_err(closed),
        }
    }

    /// Writes what is left; a file gets its name.
    pub fn finish(self) -> Result<(), Failure> {
        match self.to {
            To::File(sheet, path) => sheet
                .finish()
                .and_then(|to| to.into_inner().map_err(io::IntoInnerError::into_error))
                .and_then(WholeFile::commit)
                .map_err(|e| unwritable(&path, &e)),
            To::Stdout(sheet) => sheet.finish().map(drop).map_err(closed),
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        exit::PROBLEMS,
        format!("{} cannot be written: {error}", path.display()),
        "nothing was changed there; free the place or name another file, and run again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format_unless_it_was_asked_for() {
        use Format::*;
        for (asked, out, expected) in [
            (None, None, Ndjson),
            (None, Some("rows.csv"), Csv),
            (None, Some("ROWS.CSV"), Csv),
            (None, Some("a.csv/rows.parquet"), Parquet),
            (None, Some("rows.ndjson"), Ndjson),
            (None, Some("rows.csv.gz"), Ndjson),
            (None, Some("csv"), Ndjson),
            (Some(Ndjson), Some("rows.csv"), Ndjson),
            (Some(Parquet), Some("rows"), Parquet),
            (Some(Csv), None, Csv),
        ] {
            assert_eq!(format(asked, out.map(Path::new)), expected, "{asked:?} {out:?}");
        }
    }
}
