//! Rows to a Parquet file, a row group at a time.
//!
//! Every column is optional and flat. Numbers are DOUBLE, the float nearest to the decimal (what was
//! received stands beside it as text, so that no digit is lost); days are DATE, texts are UTF-8 strings.
//! Pages are compressed with Snappy, which every reader has.
//!
//! Invariants: what is held is one row group, and a few hundred bytes a column of each row group written
//! before; where row groups end depends on the number of rows alone, never on how they came in.

use super::SCHEMA;
use super::group::{Cell, Group, Texts};
use super::row::{Column, Columns, Type};
use super::sheet::Heading;
use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::properties::{EnabledStatistics, WriterProperties};
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::{ColumnPath, Type as Node};
use std::io::{self, Write};
use std::sync::Arc;

/// Rows of a row group: few enough to be held, many enough for a reader to skip over.
pub(super) const ROWS: usize = 8192;

/// Who wrote the file, in the form `NAME version VERSION` that readers take apart.
pub(super) const WRITER: &str = concat!("trialbridge version ", env!("CARGO_PKG_VERSION"));

/// A Parquet file that is being written.
pub(super) struct File<W: Write + Send> {
    to: SerializedFileWriter<W>,
    /// Rows of a row group.
    limit: usize,
    /// Rows that no row group has yet.
    open: Group,
    /// Definition levels of the column that is being written.
    levels: Vec<i16>,
}

impl<W: Write + Send> File<W> {
    /// `limit`: rows of a row group.
    pub fn new(to: W, columns: &Columns, heading: &Heading, limit: usize) -> io::Result<File<W>> {
        let fields = columns.all().iter().map(|c| Ok(Arc::new(field(c)?))).collect::<Result<_, _>>();
        let schema = fields
            .and_then(|fields| Node::group_type_builder("screen_rows").with_fields(fields).build())
            .map_err(error)?;
        let to = SerializedFileWriter::new(to, Arc::new(schema), Arc::new(properties(columns, heading)))
            .map_err(error)?;
        Ok(File { to, limit: limit.max(1), open: Group::new(columns), levels: Vec::new() })
    }

    /// Adds all rows of a group.
    pub fn take(&mut self, rows: &Group) -> io::Result<()> {
        let mut from = 0;
        while from < rows.rows {
            let to = rows.rows.min(from + self.limit - self.open.rows);
            self.open.add(rows, from..to);
            from = to;
            if self.open.rows == self.limit {
                self.write()?;
            }
        }
        Ok(())
    }

    /// Writes the rows that are left and the footer.
    pub fn finish(mut self) -> io::Result<W> {
        self.write()?;
        self.to.flush()?;
        self.to.into_inner().map_err(error)
    }

    fn write(&mut self) -> io::Result<()> {
        if self.open.rows > 0 {
            write(&mut self.to, &mut self.open, &mut self.levels).map_err(error)?;
            self.open.clear();
        }
        Ok(())
    }
}

fn write<W: Write + Send>(
    to: &mut SerializedFileWriter<W>,
    rows: &mut Group,
    levels: &mut Vec<i16>,
) -> Result<(), ParquetError> {
    let mut group = to.next_row_group()?;
    for held in &mut rows.columns {
        levels.clear();
        levels.extend(held.present.iter().map(|present| i16::from(*present)));
        let mut column = group
            .next_column()?
            .ok_or_else(|| ParquetError::General("the schema has fewer columns than a row".into()))?;
        cells(&mut column, &mut held.cells, levels)?;
        column.close()?;
    }
    group.close()?;
    Ok(())
}

fn cells(to: &mut SerializedColumnWriter<'_>, cells: &mut Cell, levels: &[i16]) -> Result<(), ParquetError> {
    match cells {
        Cell::Text(texts) => to.typed::<ByteArrayType>().write_batch(&slices(texts), Some(levels), None)?,
        Cell::Number(cells) => to.typed::<DoubleType>().write_batch(cells, Some(levels), None)?,
        Cell::Whole(cells) => to.typed::<Int32Type>().write_batch(cells, Some(levels), None)?,
        Cell::Flag(cells) => to.typed::<BoolType>().write_batch(cells, Some(levels), None)?,
    };
    Ok(())
}

/// Each text as a piece of the one run of bytes, which is given away: nothing is copied.
fn slices(texts: &mut Texts) -> Vec<ByteArray> {
    let all = ByteArray::from(std::mem::take(&mut texts.bytes));
    let mut from = 0;
    let slice = |end: &usize| {
        let piece = all.slice(from, end - from);
        from = *end;
        piece
    };
    texts.ends.iter().map(slice).collect()
}

fn field(column: &Column) -> Result<Node, ParquetError> {
    let (physical, logical) = match column.holds {
        Type::Text | Type::Words => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Type::Number => (Physical::DOUBLE, None),
        Type::Whole => (Physical::INT32, None),
        Type::Flag => (Physical::BOOLEAN, None),
        Type::Day => (Physical::INT32, Some(LogicalType::Date)),
    };
    Node::primitive_type_builder(&column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()
}

fn properties(columns: &Columns, heading: &Heading) -> WriterProperties {
    let about = [
        ("trialbridge.schema", SCHEMA),
        ("trialbridge.trial", &heading.trial),
        ("trialbridge.definition", &heading.definition),
        ("trialbridge.as_of", &heading.as_of.to_string()),
        ("trialbridge.version", env!("CARGO_PKG_VERSION")),
    ];
    let about = about.iter().map(|(key, value)| KeyValue::new((*key).into(), (*value).to_owned()));
    let start = WriterProperties::builder()
        .set_created_by(WRITER.into())
        .set_key_value_metadata(Some(about.collect()))
        .set_compression(Compression::SNAPPY)
        // Least and greatest of each row group; an index of pages would only repeat them.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None);
    let varied = columns.all().iter().filter(|c| c.varied);
    varied
        .fold(start, |all, c| all.set_column_dictionary_enabled(ColumnPath::from(c.name.as_str()), false))
        .build()
}

/// A full disk stays a full disk.
fn error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(io) => *io,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
