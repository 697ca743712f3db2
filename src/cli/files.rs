//! Files of FHIR screened as a whole, for the commands that do so: `screen` and `funnel`.

use super::{Failure, Global, exit};
use crate::bulk::{self, Attested, BulkError, Options, Summary, To};
use crate::fact::{Attestation, Fact, Source};
use crate::fhir::reference::is_id;
use crate::protocol::Trial;
use crate::source::blocks::{Blocks, Progress};
use crate::source::files::Problem;
use chrono::NaiveDate;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fs::File;
use std::io::Read;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// How files are screened.
#[derive(Args, Debug)]
pub struct How {
    /// The day of judgement; default: today
    #[arg(long, value_name = "DATE")]
    pub as_of: Option<NaiveDate>,
    /// CSV: subject,criterion,verdict,by,date,reason
    #[arg(long, value_name = "FILE")]
    pub attestations: Option<PathBuf>,
    /// Pass over lines that cannot matter without validating them; says how many
    #[arg(long)]
    pub prefilter: bool,
    /// Threads; default: one for each core
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZero<usize>>,
    /// Folder for what memory does not hold; default: the system's
    #[arg(long, value_name = "DIR")]
    pub temp_dir: Option<PathBuf>,
}

impl How {
    pub fn as_of(&self) -> NaiveDate {
        self.as_of.unwrap_or_else(|| chrono::Local::now().date_naive())
    }
}

/// Screens `paths`, and says on standard error what could not be read. The exit code is [`exit::PROBLEMS`]
/// where there was something.
///
/// # Errors
/// Attestations that cannot be read at all, temporary files, and what `to` says.
pub fn screen<O: Send>(
    global: &Global,
    trial: &Trial,
    paths: &[PathBuf],
    how: &How,
    to: To<'_, O>,
) -> Result<(Summary, u8), Failure> {
    let (mut attested, mut problems) = (Vec::new(), Vec::new());
    if let Some(path) = &how.attestations {
        let file = File::open(path).map_err(|e| Failure::problem(format!("{}: {e}", path.display())))?;
        (attested, problems) = attestations(file, &path.display().to_string(), trial)?;
    }
    let mut options = Options::new(how.as_of());
    options.prefilter = how.prefilter;
    options.threads = how.threads.unwrap_or(options.threads);
    if let Some(folder) = &how.temp_dir {
        options.temporary.clone_from(folder);
    }
    let blocks = Blocks::new(paths);
    let bar = Bar::begin(global, blocks.progress());
    let end = bulk::run(trial, blocks, attested, &options, to);
    bar.finish();
    let mut summary = end.map_err(|error| match error {
        BulkError::Output(error) => super::output::closed(error),
        BulkError::Temporary { .. } => Failure::problem(error.to_string()),
    })?;
    summary.problem_count += problems.len() as u64;
    summary.problems.append(&mut problems);
    say(global, &summary);
    let code = if summary.problem_count == 0 { 0 } else { exit::PROBLEMS };
    Ok((summary, code))
}

fn say(global: &Global, summary: &Summary) {
    for problem in &summary.problems {
        eprintln!("error: {problem}");
    }
    more(summary.problem_count, summary.problems.len(), "lines or files could not be read");
    for orphan in &summary.orphans {
        eprintln!(
            "warning: {}: {} at {}: belongs to no patient that could be found; {}",
            orphan.place,
            orphan.reason.code(),
            if orphan.path.is_empty() { "the resource" } else { &orphan.path },
            orphan.reason.hint()
        );
    }
    more(summary.orphan_count, summary.orphans.len(), "resources belong to no patient that could be found");
    if !summary.unmapped.is_empty() {
        let mut codes: Vec<_> = summary.unmapped.iter().collect();
        codes.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        global.note("codes that could not be read (add them to the site file):");
        for (code, count) in codes.iter().take(20) {
            global.note(&format!("  {count:>7}  {code}"));
        }
    }
    if summary.skipped > 0 {
        global.note(&format!(
            "{} of {} lines were passed over by the prefilter: neither validated nor counted",
            summary.skipped,
            summary.skipped + summary.resources
        ));
    }
}

fn more(count: u64, shown: usize, what: &str) {
    let left = count.saturating_sub(shown as u64);
    if left > 0 {
        eprintln!("error: and {left} more {what}");
    }
}

/// How far the reading has come, on a terminal; nothing elsewhere.
struct Bar(Option<(mpsc::Sender<()>, std::thread::JoinHandle<()>)>);

impl Bar {
    fn begin(global: &Global, progress: Progress) -> Bar {
        let target = ProgressDrawTarget::stderr_with_hz(5);
        if global.no_progress || global.quiet || target.is_hidden() {
            return Bar(None);
        }
        let bar = ProgressBar::with_draw_target(progress.total, target);
        let template = match progress.total {
            Some(_) => " {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}{eta} left",
            None => " {spinner} {bytes}  {bytes_per_sec}  {elapsed}",
        };
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let (ended, end) = mpsc::channel();
        let watch = std::thread::spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = end.recv_timeout(Duration::from_millis(200)) {
                bar.set_position(progress.read());
                if Some(progress.read()) == progress.total {
                    bar.set_message("read; screening, ");
                }
            }
            bar.finish_and_clear();
        });
        Bar(Some((ended, watch)))
    }

    fn finish(self) {
        if let Some((ended, watch)) = self.0 {
            drop(ended);
            // A bar that could not be drawn is no reason to fail.
            let _ = watch.join();
        }
    }
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
) -> Result<(Vec<Attested>, Vec<Problem>), Failure> {
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
    let (mut all, mut problems) = (Vec::new(), Vec::new());
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
            Ok(attested) => all.push(attested),
            Err(what) => problems.push(Problem {
                place: if number > 0 { format!("{place}:{number}") } else { place.to_owned() },
                text: what.into(),
            }),
        }
    }
    Ok((all, problems))
}
