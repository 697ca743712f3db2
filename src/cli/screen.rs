//! `screen`: FHIR files in, one screening a patient out, without any store.

use super::files::{self, How};
use super::output::{Out, table};
use super::sheet::Rows;
use super::{Failure, Global, Outcome, Output, trial};
use crate::bulk::To;
use crate::eligibility::Screening;
use crate::table::Format;
use clap::Args;
use std::io;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Files or folders: a Bundle, a resource, NDJSON, gzip of these; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub how: How,
    /// Write the rows there instead of to standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// What the rows are written as; default: what --out ends in (.csv, .parquet), else NDJSON
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let config = global.config()?;
    let trial = trial::load(&config)?;
    let Arguments { paths, how, out, format } = arguments;
    let as_of = how.as_of();
    // What the output says of itself: the reason stands beside the broken run.
    let mut failed = None;
    let mut fail = |end: Result<(), Failure>| {
        end.map_err(|failure| {
            failed = Some(failure);
            io::Error::other("the output failed")
        })
    };
    let end = if let Some(mut rows) = Rows::open(*format, out.as_deref(), &trial, as_of)? {
        let shape = rows.shape().clone();
        let to = To {
            begin: &|| shape.block(),
            render: &|screening, block| block.push(&screening),
            emit: &mut |mut block| fail(rows.take(&mut block)),
        };
        files::screen(global, &trial, paths, how, to).and_then(|end| rows.finish().map(|()| end))
    } else if global.output() == Output::Table {
        let mut all = Vec::new();
        let to = To {
            begin: &Vec::new,
            render: &|screening, rows| {
                rows.push(row(&screening));
                Ok(())
            },
            emit: &mut |mut rows| {
                all.append(&mut rows);
                Ok(())
            },
        };
        files::screen(global, &trial, paths, how, to).and_then(|end| {
            let mut out = Out::new();
            let header = ["subject", "decision", "deciding", "MELD", "Child-Pugh", "needs"];
            out.line(table(&header, &all).trim_end())?;
            out.finish().map(|()| end)
        })
    } else {
        // One JSON array, or a line each.
        let (before, between, after) = match global.output() {
            Output::Json => ("[", ",", "]\n"),
            _ => ("", "", ""),
        };
        let is_array = !before.is_empty();
        let (mut out, mut begun) = (Out::new(), false);
        let to = To {
            begin: &Vec::new,
            render: &|screening, lines: &mut Vec<u8>| {
                lines.extend_from_slice(between.as_bytes());
                serde_json::to_writer(&mut *lines, &screening)?;
                lines.push(b'\n');
                Ok(())
            },
            emit: &mut |lines| {
                let skip = if is_array && !begun && !lines.is_empty() { 1 } else { 0 };
                if skip == 1 {
                    begun = true;
                    fail(out.bytes(before.as_bytes()))?;
                }
                fail(out.bytes(&lines[skip..]))
            },
        };
        files::screen(global, &trial, paths, how, to).and_then(|end| {
            if is_array && !begun {
                out.bytes(before.as_bytes())?;
            }
            out.bytes(after.as_bytes())?;
            out.finish().map(|()| end)
        })
    };
    let (summary, code) = match (end, failed) {
        (Err(_), Some(failure)) => return Err(failure),
        (end, _) => end?,
    };
    global.note(&format!(
        "{} resources, {} patients as of {as_of}: {} eligible, {} ineligible, {} undetermined",
        summary.resources,
        summary.patients(),
        summary.eligible,
        summary.ineligible,
        summary.undetermined
    ));
    Ok(code)
}

/// A line of the worklist.
pub fn row(s: &Screening) -> Vec<String> {
    let score = |name: &str| {
        let Some(score) = s.scores.all.get(name) else { return String::new() };
        let class = |c: Option<char>| c.map(|c| c.to_string()).unwrap_or_default();
        match (score.value, score.low, score.high) {
            (Some(value), ..) => format!("{}{value}", class(score.class)),
            (None, Some(low), Some(high)) => {
                format!("{}{low}-{}{high}", class(score.class_low), class(score.class_high))
            }
            _ => "?".into(),
        }
    };
    vec![
        s.subject.clone(),
        s.decision.word().into(),
        s.deciding.join(" "),
        score("meld_unos"),
        score("child_pugh"),
        s.needs.join(" "),
    ]
}
