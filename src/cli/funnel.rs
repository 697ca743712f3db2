//! `funnel`: whom the trial could enrol and what stops the others, as counts and as a chart.

use super::files::{self, How};
use super::output::{Out, table};
use super::shell::Shell;
use super::{Failure, Global, Outcome, Output, exit, trial};
use crate::bulk::To;
use crate::funnel::{Case, Cell, CriterionRow, Funnel, Report, Unfit, draw};
use crate::protocol::Trial;
use clap::Args;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::{fs, io};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Files or folders to screen, as for `screen`; without any: the decisions in the store
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub how: How,
    /// Draw the funnel there
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Show counts from 1 to N-1 as `<N`, and round all others to multiples of N
    #[arg(long, value_name = "N")]
    pub suppress_below: Option<NonZeroU64>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let config = global.config()?;
    let trial = trial::load(&config)?;
    let How { as_of, attestations, .. } = &arguments.how;
    if arguments.paths.is_empty() && (as_of.is_some() || attestations.is_some()) {
        let text = "without a PATH the decisions in the store are counted, as they were made";
        return Err(Failure::new(exit::USAGE, text, "leave --as-of and --attestations away, or name files"));
    }
    let mut funnel = Funnel::new(&trial);
    let code = match arguments.paths.is_empty() {
        true => from_store(&Shell::new(global)?, &mut funnel)?,
        false => from_files(global, &trial, arguments, &mut funnel)?,
    };
    let report = Report::new(&funnel, &trial, arguments.suppress_below);
    if let Some(path) = &arguments.svg {
        fs::write(path, draw(&report))
            .map_err(|e| Failure::problem(format!("{} cannot be written: {e}", path.display())))?;
    }
    let mut out = Out::new();
    match global.output() {
        Output::Table => out.line(tables(&report).trim_end())?,
        Output::Json | Output::Ndjson => out.json(&report)?,
    }
    out.finish()?;
    Ok(code)
}

/// Counts what the files hold.
fn from_files(global: &Global, trial: &Trial, arguments: &Arguments, funnel: &mut Funnel) -> Outcome {
    let unfit =
        |error: Unfit| io::Error::other(format!("a screening {error}; this is a fault of this program"));
    let to = To {
        begin: &|| Funnel::new(trial),
        render: &|screening, part| part.add(&Case::from(&screening)).map_err(unfit),
        emit: &mut |part| funnel.merge(&part).map_err(unfit),
    };
    let (_, code) = files::screen(global, trial, &arguments.paths, &arguments.how, to)?;
    Ok(code)
}

/// Counts the decisions that stand in the store.
fn from_store(shell: &Shell, funnel: &mut Funnel) -> Outcome {
    let store = shell.look()?;
    let mut elsewhere = 0_u64;
    for decision in store.latest_decisions()? {
        let broken = |what: String| {
            let text = format!("a stored decision {what}");
            Failure::new(exit::UNVERIFIED, text, "run `trialbridge verify`, restore a backup")
        };
        let case = Case::read(&decision.json).map_err(|_| broken("cannot be read as a screening".into()))?;
        match funnel.add(&case) {
            Ok(()) => {}
            Err(Unfit::Definition) => elsewhere += 1,
            Err(error) => return Err(broken(error.to_string())),
        }
    }
    if elsewhere > 0 {
        eprintln!(
            "warning: {elsewhere} stored decisions were made under another definition of the trial and are not \
             counted; `trialbridge replay` judges everybody again"
        );
    }
    let is_behind = !store.dirty(1)?.is_empty();
    if is_behind {
        eprintln!(
            "warning: data came in since the decisions were made, and are not in these counts; `trialbridge \
             serve` or `trialbridge pull` judges whom they concern"
        );
    }
    Ok(if elsewhere > 0 || is_behind { exit::PARTIAL } else { 0 })
}

/// The report as tables. What is nobody's is shown with its zero; only of the long lists of reasons the
/// zeros stand together in one line.
fn tables(report: &Report<'_>) -> String {
    let p = &report.patients;
    let mut text = format!(
        "{} patients: {} eligible, {} undetermined, {} ineligible; {} with data that could not be used\n",
        p.total, p.eligible, p.undetermined, p.ineligible, p.with_gaps
    );
    if let Some(days) = report.as_of {
        text.push_str(&match days.first == days.last {
            true => format!("as of {}\n", days.first),
            false => format!("judged from {} to {}\n", days.first, days.last),
        });
    }
    if let Some(s) = report.suppressed {
        text.push_str(&format!(
            "counts from 1 to {} are shown as <{}, all others rounded to multiples of {}\n",
            s.below - 1,
            s.below,
            s.rounded_to
        ));
    }
    text.push_str("\nin the protocol's order\n");
    let row = |c: &CriterionRow<'_>| {
        let o = &c.in_order;
        let text = short(c.text);
        line(c.id, &[o.entering, o.excluded, o.undetermined, o.remaining, o.remaining_open], &[text])
    };
    let header = ["", "entering", "excluded", "undetermined", "remaining", "of them open", "criterion"];
    text.push_str(&table(&header, &report.criteria.iter().map(row).collect::<Vec<_>>()));
    text.push_str(&format!("undetermined by nothing but a question of identity: {}\n", report.identity.only));

    text.push_str("\neach criterion by itself\n");
    let row = |c: &CriterionRow<'_>| {
        let a = &c.alone;
        let excluding = [a.excluded, a.only, a.only_else_eligible];
        let open = [a.open, a.unknown, a.attest, a.open_undetermined, a.open_only];
        line(c.id, &[&excluding[..], &open[..]].concat(), &[])
    };
    let header =
        ["", "excludes", "only it", "else eligible", "open", "unknown", "attest", "undetermined", "only it"];
    text.push_str(&table(&header, &report.criteria.iter().map(row).collect::<Vec<_>>()));

    text.push_str("\nwhat undetermined patients lack\n");
    let rows: Vec<Vec<String>> =
        report.facts.iter().map(|f| line(f.name, &[f.needed, f.settles], &[])).collect();
    text.push_str(&table(&["fact", "needed", "settles alone"], &rows));

    text.push_str("\nwhy criteria are open, by criterion: all patients\n");
    text.push_str(&reasons(report));

    text.push_str("\nwho they are is open, by question: undetermined patients\n");
    let questions = report.identity.why.iter().map(|r| (r.name, r.patients));
    text.push_str(&listed("question", questions));

    text.push_str("\ndata that could not be used, by reason: all patients\n");
    text.push_str(&listed("reason", report.gaps.iter().map(|r| (r.name, r.patients))));
    text
}

fn line(name: &str, cells: &[Cell], more: &[String]) -> Vec<String> {
    std::iter::once(name.to_owned())
        .chain(cells.iter().map(Cell::to_string))
        .chain(more.iter().cloned())
        .collect()
}

/// The beginning of a criterion's text: `check` and the JSON have it whole.
fn short(text: &str) -> String {
    const LETTERS: usize = 60;
    match text.char_indices().nth(LETTERS) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

/// Reasons by criterion. Every criterion has the same reasons first; one that came from elsewhere may stand
/// in some rows only.
fn reasons(report: &Report<'_>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for row in report.criteria.iter().flat_map(|c| &c.why) {
        if !names.contains(&row.name) {
            names.push(row.name);
        }
    }
    let cell = |name: &str| {
        let of = move |c: &CriterionRow<'_>| {
            c.why.iter().find(|w| w.name == name).map_or(Cell::Count(0), |w| w.patients)
        };
        report.criteria.iter().map(of).collect::<Vec<Cell>>()
    };
    let (none, some): (Vec<_>, Vec<_>) = names
        .into_iter()
        .map(|name| (name, cell(name)))
        .partition(|(_, cells)| cells.iter().all(|c| c.is_zero()));
    let rows: Vec<Vec<String>> = some.iter().map(|(name, cells)| line(name, cells, &[])).collect();
    let header: Vec<&str> = std::iter::once("reason").chain(report.criteria.iter().map(|c| c.id)).collect();
    rows_of(&header, &rows) + &nobody(none.into_iter().map(|(name, _)| name))
}

/// Names with their counts, those of nobody together.
fn listed<'a>(what: &str, all: impl Iterator<Item = (&'a str, Cell)>) -> String {
    let (none, some): (Vec<_>, Vec<_>) = all.partition(|(_, cell)| cell.is_zero());
    let rows: Vec<Vec<String>> = some.into_iter().map(|(name, cell)| line(name, &[cell], &[])).collect();
    rows_of(&[what, "patients"], &rows) + &nobody(none.into_iter().map(|(name, _)| name))
}

/// A table, if there is anything in it.
fn rows_of(header: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() { String::new() } else { table(header, rows) }
}

fn nobody<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { String::new() } else { format!("0 each: {}\n", names.join(", ")) }
}
