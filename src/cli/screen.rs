//! `screen`: FHIR files in, one screening a patient out, without any store.

use super::output::{Out, table};
use super::sheet::Rows;
use super::{Failure, Global, Outcome, Output, exit, trial};
use crate::collection::Collection;
use crate::eligibility::Screening;
use crate::fact::{Attestation, Fact, Source};
use crate::fhir::reference::is_id;
use crate::protocol::Trial;
use crate::source::files::{self, Problem};
use crate::table::Format;
use chrono::NaiveDate;
use clap::Args;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Files or folders: a Bundle, a resource, NDJSON, gzip of these; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The day of judgement; default: today
    #[arg(long, value_name = "DATE")]
    pub as_of: Option<NaiveDate>,
    /// Write the rows there instead of to standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// What the rows are written as; default: what --out ends in (.csv, .parquet), else NDJSON
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// CSV: subject,criterion,verdict,by,date,reason
    #[arg(long, value_name = "FILE")]
    pub attestations: Option<PathBuf>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let config = global.config()?;
    let trial = trial::load(&config)?;
    let as_of = arguments.as_of.unwrap_or_else(|| chrono::Local::now().date_naive());
    let to = Rows::open(arguments.format, arguments.out.as_deref(), &trial, as_of)?;
    let mut collection = Collection::new(&trial);
    let mut problems = files::read(&arguments.paths, &mut |bytes, place| collection.add(bytes, place));
    if let Some(path) = &arguments.attestations {
        let file = File::open(path).map_err(|e| Failure::problem(format!("{}: {e}", path.display())))?;
        problems.extend(attestations(file, &path.display().to_string(), &trial, &mut collection)?);
    }
    let resources = collection.resources();
    let orphans = collection.orphans().to_vec();
    let settled = collection.settle();
    let mut counts = [0usize; 3];
    let mut rows = Vec::new();
    let mut sink = Sink::new(global, to);
    for screening in settled.screen(as_of) {
        counts[screening.decision as usize] += 1;
        sink.take(&screening, &mut rows)?;
    }
    sink.finish(&rows)?;
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    for orphan in &orphans {
        eprintln!(
            "warning: {}: {} at {}: belongs to no patient that could be found; {}",
            orphan.place,
            orphan.reason.code(),
            if orphan.path.is_empty() { "the resource" } else { &orphan.path },
            orphan.reason.hint()
        );
    }
    if !settled.unmapped.is_empty() {
        let mut codes: Vec<_> = settled.unmapped.iter().collect();
        codes.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        global.note("codes that could not be read (add them to the site file):");
        for (code, count) in codes.iter().take(20) {
            global.note(&format!("  {count:>7}  {code}"));
        }
    }
    global.note(&format!(
        "{resources} resources, {} patients as of {as_of}: {} eligible, {} ineligible, {} undetermined",
        counts.iter().sum::<usize>(),
        counts[0],
        counts[1],
        counts[2]
    ));
    Ok(if problems.is_empty() { 0 } else { exit::PROBLEMS })
}

enum Sink {
    Table(Out),
    Lines(Out),
    /// One JSON array.
    Array(Out, bool),
    Rows(Box<Rows>),
}

impl Sink {
    fn new(global: &Global, table: Option<Rows>) -> Sink {
        match (table, global.output()) {
            (Some(rows), _) => Sink::Rows(Box::new(rows)),
            (None, Output::Table) => Sink::Table(Out::new()),
            (None, Output::Ndjson) => Sink::Lines(Out::new()),
            (None, Output::Json) => Sink::Array(Out::new(), false),
        }
    }

    fn take(&mut self, screening: &Screening, rows: &mut Vec<Vec<String>>) -> Result<(), Failure> {
        match self {
            Sink::Table(_) => rows.push(row(screening)),
            Sink::Lines(out) => out.json(screening)?,
            Sink::Array(out, begun) => {
                let text = serde_json::to_string(screening).map_err(|e| Failure::problem(e.to_string()))?;
                out.line(&format!("{}{text}", if *begun { "," } else { "[" }))?;
                *begun = true;
            }
            Sink::Rows(rows) => rows.row(screening)?,
        }
        Ok(())
    }

    fn finish(self, rows: &[Vec<String>]) -> Result<(), Failure> {
        match self {
            Sink::Table(mut out) => {
                out.line(
                    table(&["subject", "decision", "deciding", "MELD", "Child-Pugh", "needs"], rows)
                        .trim_end(),
                )?;
                out.finish()
            }
            Sink::Lines(out) => out.finish(),
            Sink::Array(mut out, begun) => {
                out.line(if begun { "]" } else { "[]" })?;
                out.finish()
            }
            Sink::Rows(rows) => rows.finish(),
        }
    }
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

/// Reads attestations from CSV; `place` names it in what is said. A line that cannot be read is a
/// problem with its number.
///
/// # Errors
/// Where not even the head of the table can be read.
pub fn attestations(
    csv: impl Read,
    place: &str,
    trial: &Trial,
    collection: &mut Collection<'_>,
) -> Result<Vec<Problem>, Failure> {
    #[derive(serde::Deserialize)]
    struct Line {
        subject: String,
        criterion: String,
        verdict: String,
        by: String,
        date: String,
        #[serde(default)]
        reason: String,
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(csv);
    let mut problems = Vec::new();
    let headers = reader.headers().map_err(|e| Failure::problem(format!("{place}: {e}")))?.clone();
    for record in reader.records() {
        let (number, parsed) = match record {
            Ok(record) => {
                let number = record.position().map_or(0, csv::Position::line);
                (number, record.deserialize::<Line>(Some(&headers)).map_err(|_| "not a line of this table"))
            }
            Err(error) => (error.position().map_or(0, csv::Position::line), Err("not a line of this table")),
        };
        let attested = parsed.and_then(|l| {
            let criterion = trial.criterion(&l.criterion).ok_or("no such criterion")?;
            let applies = match l.verdict.as_str() {
                "yes" => true,
                "no" => false,
                _ => return Err("the verdict is neither yes nor no"),
            };
            let when = crate::clinical::time::When::parse(&l.date).map_err(|_| "the date is not a date")?;
            if l.by.is_empty() {
                return Err("nobody signs it");
            }
            // A subject is printed everywhere: it is an id, or it could hold anything.
            let subject = match l.subject.split_once('/') {
                Some(("Patient", id)) if is_id(id) => l.subject.clone(),
                None if is_id(&l.subject) => format!("Patient/{}", l.subject),
                _ => return Err("the subject is not a Patient"),
            };
            let key = format!("{subject}|{}|{}|{applies}|{}", l.criterion, l.date, l.reason);
            let source =
                Source { reference: format!("attestation/{}/{}", l.criterion, l.date).into(), version: None };
            Ok((subject, Fact::Attestation(Attestation { criterion, applies, when, source }), key))
        });
        match attested {
            Ok((subject, fact, key)) => collection.attest(&subject, fact, &key),
            Err(what) => problems.push(Problem {
                place: if number > 0 { format!("{place}:{number}") } else { place.to_owned() },
                text: what.into(),
            }),
        }
    }
    Ok(problems)
}
