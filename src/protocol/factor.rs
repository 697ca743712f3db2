//! What a list is stratified by or minimized over: the levels of each factor, and the level of one
//! participant, read from the decision on which the draw is made.
//!
//! Numbers are compared as decimals, and a number that is equal to a cut belongs above it. What may lie on
//! both sides of a cut is not guessed: nobody is randomized before every level is known.
//!
//! Invariant: the levels of a factor cover everything that its variable or score can be, once.

use super::allocation::{Known, Problem, written};
use super::compile::Trial;
use super::schema;
use crate::clinical::interval::{Bound, Interval};
use rust_decimal::Decimal;
use serde_json::Value;
use std::fmt;
use std::ops::Range;
use toml::Spanned;

/// One factor, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    pub name: String,
    /// Labels, in order.
    pub levels: Vec<String>,
    source: Source,
    kind: Kind,
}

/// Where the level is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// `variables.NAME` of a decision.
    Variable(String),
    /// `scores.NAME` of a decision.
    Score(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Between one cut and the next, ascending.
    Number(Vec<Decimal>),
    /// The words of each level.
    Words(Vec<Vec<String>>),
}

/// A level that cannot be told, and why. Nobody is randomized like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub factor: String,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing that could be used; the score's inputs that lack, where it is a score.
    Missing(Vec<String>),
    /// What is known fits more than one level; the score's inputs that would tell.
    Straddles(Vec<String>),
    /// Results contradict each other.
    Conflict,
    /// The decision holds something that no level was defined for.
    NoLevel,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the level of `{}` is not known: ", self.factor)?;
        let inputs = match &self.why {
            Why::Missing(inputs) => {
                f.write_str("nothing usable is there")?;
                inputs
            }
            Why::Straddles(inputs) => {
                f.write_str("what is known fits more than one level")?;
                inputs
            }
            Why::Conflict => return f.write_str("results contradict each other"),
            Why::NoLevel => return f.write_str("the decision says something else than the definition knows"),
        };
        if inputs.is_empty() { Ok(()) } else { write!(f, "; needed: {}", inputs.join(", ")) }
    }
}

impl std::error::Error for Unknown {}

/// The level of each factor of the trial, in its order, for the participant of this decision
/// (`trialbridge/screen/v1`). Empty without factors.
///
/// # Errors
/// The first factor whose level is not known.
// The analysis takes the factors of the randomization into account: a level that was guessed at the draw is
// wrong in it for ever.
pub fn levels(trial: &Trial, decision: &Value) -> Result<Vec<usize>, Unknown> {
    trial.factors().iter().map(|factor| factor.level(decision)).collect()
}

/// Factor and level in words, as they are kept with an allocation.
pub fn named<'a>(trial: &'a Trial, levels: &[usize]) -> Vec<(&'a str, &'a str)> {
    let pairs = trial.factors().iter().zip(levels);
    pairs.filter_map(|(f, level)| Some((f.name.as_str(), f.levels.get(*level)?.as_str()))).collect()
}

impl Factor {
    /// What is read and how it is divided, spelled out: two factors that give the same levels to everybody.
    pub fn reads(&self) -> String {
        let source = match &self.source {
            Source::Variable(id) => format!("variable {id}"),
            Source::Score(name) => format!("score {name}"),
        };
        let divided = match &self.kind {
            Kind::Number(cuts) => {
                cuts.iter().map(|cut| cut.normalize().to_string()).collect::<Vec<_>>().join(" ")
            }
            Kind::Words(levels) => levels.iter().map(|words| words.join("+")).collect::<Vec<_>>().join(" "),
        };
        format!("{source}: {divided}")
    }

    /// The variable that it is read from, where it is no score.
    pub fn variable(&self) -> Option<&str> {
        match &self.source {
            Source::Variable(id) => Some(id),
            Source::Score(_) => None,
        }
    }

    fn level(&self, decision: &Value) -> Result<usize, Unknown> {
        let found = match (&self.source, &self.kind) {
            (Source::Variable(id), Kind::Number(cuts)) => {
                range(&decision["variables"][id]).map(|range| between(range, cuts))
            }
            (Source::Variable(id), Kind::Words(words)) => {
                word(&decision["variables"][id]["value"]).map(|word| among(&[word.as_str()], words))
            }
            (Source::Score(name), Kind::Number(cuts)) => {
                range(&decision["scores"][*name]).map(|range| between(range, cuts))
            }
            (Source::Score(name), Kind::Words(words)) => {
                classes(&decision["scores"][*name]).map(|(low, high)| {
                    let all = classes_of(name);
                    let at = |class: &str| all.iter().position(|c| *c == class);
                    let possible = at(&low).zip(at(&high)).and_then(|(low, high)| all.get(low..=high));
                    among(possible.unwrap_or_default(), words)
                })
            }
        };
        let why = match found {
            Some(Ok(level)) => return Ok(level),
            Some(Err(why)) => why,
            None => Why::Missing(Vec::new()),
        };
        Err(Unknown { factor: self.name.clone(), why: self.explained(why, decision) })
    }

    /// With the inputs that would help; and results that contradict each other are not simply missing.
    fn explained(&self, why: Why, decision: &Value) -> Why {
        let inputs: Vec<String> = match &self.source {
            Source::Variable(_) => Vec::new(),
            Source::Score(name) => decision["scores"][*name]["missing"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|input| input.as_str().map(str::to_owned))
                .collect(),
        };
        let concerned = |variable: &str| match &self.source {
            Source::Variable(id) => id == variable,
            Source::Score(_) => inputs.iter().any(|input| input == variable),
        };
        let mut gaps = decision["gaps"].as_array().into_iter().flatten();
        let contradicts = gaps.any(|gap| {
            gap["variable"].as_str().is_some_and(concerned)
                && gap["reason"].as_str().is_some_and(|reason| CONFLICTS.contains(&reason))
        });
        match why {
            Why::Missing(_) if contradicts => Why::Conflict,
            Why::Missing(_) => Why::Missing(inputs),
            Why::Straddles(_) => Why::Straddles(inputs),
            other => other,
        }
    }
}

/// Reasons of a gap that say that there is more than one answer.
const CONFLICTS: [&str; 4] = ["conflict", "version-conflict", "unit-conflict", "code-conflict"];

/// The range of a variable or score in a decision. Ends are possible values unless what was received says
/// `<` or `>`.
fn range(report: &Value) -> Option<Interval> {
    if let Some(exact) = decimal(&report["value"]) {
        return Some(Interval::exactly(exact));
    }
    let (low, high) = (decimal(&report["low"]), decimal(&report["high"]));
    if low.is_none() && high.is_none() {
        return None;
    }
    let received = report["received"]["value"].as_str().unwrap_or_default();
    let is_strict = |sign: char| received.starts_with(sign) && !received[1..].starts_with('=');
    let end = |value: Option<Decimal>, excluded: bool| match value {
        None => Bound::Unbounded,
        Some(value) if excluded => Bound::Excluding(value),
        Some(value) => Bound::Including(value),
    };
    Some(Interval { low: end(low, is_strict('>')), high: end(high, is_strict('<')) })
}

fn decimal(value: &Value) -> Option<Decimal> {
    let text = value.is_number().then(|| value.to_string())?;
    text.parse().or_else(|_| Decimal::from_scientific(&text)).ok()
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(word) => Some(word.clone()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        _ => None,
    }
}

/// The least and the greatest class or grade of a score.
fn classes(score: &Value) -> Option<(String, String)> {
    let text = |key: &str| match &score[key] {
        Value::String(class) => Some(class.clone()),
        Value::Number(grade) => Some(grade.to_string()),
        _ => None,
    };
    let either = |class: &str, grade: &str| text(class).or_else(|| text(grade));
    match either("class", "grade") {
        Some(class) => Some((class.clone(), class)),
        None => either("class_low", "grade_low").zip(either("class_high", "grade_high")),
    }
}

fn between(range: Interval, cuts: &[Decimal]) -> Result<usize, Why> {
    let mut level = 0;
    for cut in cuts {
        match range.is_at_least(*cut) {
            Some(true) => level += 1,
            Some(false) => {}
            None => return Err(Why::Straddles(Vec::new())),
        }
    }
    Ok(level)
}

/// The level that holds every one of these words.
fn among(possible: &[&str], levels: &[Vec<String>]) -> Result<usize, Why> {
    let find = |word: &&str| levels.iter().position(|words| words.iter().any(|w| w == *word));
    let found: Option<Vec<usize>> = possible.iter().map(find).collect();
    match found.as_deref() {
        Some([first, rest @ ..]) if rest.iter().all(|level| level == first) => Ok(*first),
        Some([_, ..]) => Err(Why::Straddles(Vec::new())),
        _ => Err(Why::NoLevel),
    }
}

/// The classes or grades of a score, from the mildest; none for a score that is only a number.
fn classes_of(score: &str) -> &'static [&'static str] {
    match score {
        "child_pugh" => &["A", "B", "C"],
        "albi" => &["1", "2", "3"],
        _ => &[],
    }
}

/// What a factor refers to.
struct Target {
    source: Source,
    /// What it may be, where that is words.
    words: Vec<String>,
    is_number: bool,
}

/// What is wrong with one factor.
struct Report<'a> {
    name: &'a str,
    problems: Vec<Problem>,
}

impl Report<'_> {
    fn add(&mut self, id: &'static str, span: Range<usize>, text: &str, hint: &str) {
        let text = format!("factor `{}`: {text}", self.name);
        self.problems.push(Problem { id, span, text, hint: hint.into() });
    }
}

impl Factor {
    /// Compiles one factor, or says everything that is wrong with it.
    pub(super) fn compile(f: &schema::Factor, known: &Known<'_>) -> Result<Factor, Vec<Problem>> {
        let name = f.name.get_ref();
        let mut report = Report { name, problems: Vec::new() };
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            let hint = "small letters, digits, `-` and `_`: it stands in the label of every stratum";
            report.add("TB-T028", f.name.span(), "this is no name for a factor", hint);
        }
        let found = Target::of(f, known, &mut report).and_then(|target| {
            let (levels, kind) = target.levels(f, known, &mut report)?;
            Some((target.source, levels, kind))
        });
        match found {
            Some((source, levels, kind)) if report.problems.is_empty() => {
                Ok(Factor { name: name.clone(), levels, source, kind })
            }
            _ => Err(report.problems),
        }
    }
}

impl Target {
    fn of(f: &schema::Factor, known: &Known<'_>, report: &mut Report<'_>) -> Option<Target> {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        match (&f.variable, &f.score) {
            (Some(variable), None) => {
                let id = variable.get_ref().as_str();
                let (words, is_number) = match id {
                    "sex" => (words(&["female", "male"]), false),
                    "dialysis" => (words(&["no", "yes"]), false),
                    "age" => (Vec::new(), true),
                    _ => match known.variables.iter().find(|v| v.id == id) {
                        Some(v) => match v.coded() {
                            Some(coded) => (coded.answers.iter().map(|a| a.id.clone()).collect(), false),
                            None => (Vec::new(), true),
                        },
                        None => {
                            let text = format!("there is no variable `{id}`");
                            let hint = "variables of the trial, and `sex`, `age`, `dialysis`";
                            report.add("TB-T028", variable.span(), &text, hint);
                            return None;
                        }
                    },
                };
                Some(Target { source: Source::Variable(id.to_owned()), words, is_number })
            }
            (None, Some(score)) => match known.scores.iter().find(|n| **n == score.get_ref().as_str()) {
                Some(name) => Some(Target {
                    source: Source::Score(name),
                    words: words(classes_of(name)),
                    is_number: true,
                }),
                None => {
                    let text = format!("`{}` is not computed in this trial", score.get_ref());
                    report.add("TB-T028", score.span(), &text, "list it under [scores] compute");
                    None
                }
            },
            _ => {
                let hint = "`variable = \"…\"` or `score = \"…\"`";
                report.add("TB-T028", f.name.span(), "it needs either a variable or a score", hint);
                None
            }
        }
    }

    fn levels(
        &self,
        f: &schema::Factor,
        known: &Known<'_>,
        report: &mut Report<'_>,
    ) -> Option<(Vec<String>, Kind)> {
        let (listed, key, other, wrong) = match self.source {
            Source::Variable(_) => (&f.levels, "levels", &f.class, "class"),
            Source::Score(_) => (&f.class, "class", &f.levels, "levels"),
        };
        if let Some(first) = other.first() {
            let hint = "variables have `levels`, scores have `class`; numbers have `cuts`";
            report.add(
                "TB-T027",
                first.span(),
                &format!("`{wrong}` does not go with this, `{key}` does"),
                hint,
            );
            return None;
        }
        match (listed.first(), f.cuts.first()) {
            (Some(_), Some(cut)) => {
                let text = format!("`{key}` and `cuts` exclude each other");
                report.add("TB-T027", cut.span(), &text, "keep one");
                None
            }
            (None, None) => {
                let hint = format!("list the answers of each level under `{key}`, or numbers under `cuts`");
                report.add("TB-T029", f.name.span(), "it has no levels", &hint);
                None
            }
            (Some(first), None) if self.words.is_empty() => {
                report.add("TB-T028", first.span(), "it is a number and has no words", "give `cuts`");
                None
            }
            (Some(_), None) => {
                let groups = group(listed, &self.words, f.name.span(), report);
                Some((listed.iter().map(|l| l.get_ref().clone()).collect(), Kind::Words(groups)))
            }
            (None, Some(cut)) if !self.is_number => {
                report.add("TB-T028", cut.span(), "it has answers, and no numbers to cut", "give `levels`");
                None
            }
            (None, Some(_)) => {
                let cuts = cuts(&f.cuts, known.text, report);
                Some((labels(&cuts), Kind::Number(cuts)))
            }
        }
    }
}

/// The words of each level. Every word that is possible has to be in one of them, and in one only.
fn group(
    listed: &[Spanned<String>],
    words: &[String],
    place: Range<usize>,
    report: &mut Report<'_>,
) -> Vec<Vec<String>> {
    let mut taken: Vec<&str> = Vec::new();
    let mut groups = Vec::new();
    for level in listed {
        let text = level.get_ref();
        let parts: Vec<&str> =
            if words.contains(text) { vec![text.as_str()] } else { text.split('+').map(str::trim).collect() };
        for part in &parts {
            if !words.iter().any(|w| w == part) {
                let hint = format!("it can be: {}", words.join(", "));
                report.add("TB-T029", level.span(), &format!("`{part}` is nothing that it can be"), &hint);
            } else if taken.contains(part) {
                report.add("TB-T029", level.span(), &format!("`{part}` stands in two levels"), "keep one");
            }
            taken.push(part);
        }
        if text.len() > 64 || text.contains([';', ',', '"', '\'']) || text.chars().any(char::is_control) {
            let hint =
                "no `;`, no `,`, no quotation mark, at most 64 bytes: it stands in the label of a stratum";
            report.add("TB-T029", level.span(), "this is no label for a level", hint);
        }
        groups.push(parts.into_iter().map(str::to_owned).collect());
    }
    let lacking: Vec<&str> = words.iter().map(String::as_str).filter(|w| !taken.contains(w)).collect();
    if !lacking.is_empty() {
        let text = format!("no level holds {}", lacking.join(", "));
        let hint = "whoever is so could not be randomized; join answers with `+`";
        report.add("TB-T029", place.clone(), &text, hint);
    }
    if groups.len() < 2 {
        report.add("TB-T029", place, "one level divides nobody", "give two levels or more");
    }
    groups
}

fn cuts(listed: &[Spanned<toml::Value>], text: &str, report: &mut Report<'_>) -> Vec<Decimal> {
    let mut cuts: Vec<Decimal> = Vec::new();
    for cut in listed {
        match written(cut, text).parse::<Decimal>().ok() {
            None => report.add("TB-T029", cut.span(), "a cut is no decimal", "for example \"15\" or \"2.5\""),
            Some(value) if cuts.last().is_some_and(|last| *last >= value) => {
                report.add("TB-T029", cut.span(), "the cuts do not ascend", "the lowest first, each once");
            }
            Some(value) => cuts.push(value.normalize()),
        }
    }
    cuts
}

/// `<10`, `10 to <15`, `>=15`.
fn labels(cuts: &[Decimal]) -> Vec<String> {
    let (Some(first), Some(last)) = (cuts.first(), cuts.last()) else { return Vec::new() };
    let between = cuts.windows(2).map(|pair| format!("{} to <{}", pair[0], pair[1]));
    std::iter::once(format!("<{first}")).chain(between).chain([format!(">={last}")]).collect()
}

#[cfg(test)]
mod tests;
