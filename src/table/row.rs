//! The columns of a trial's table, and the one walk over a screening that fills them.
//!
//! [`Columns::fill`] makes one call a column, always in the same order, whatever the screening holds. The
//! list of columns is what the same walk says of no screening, so that names, types and cells cannot get
//! out of step.

use crate::eligibility::Screening;
use crate::eligibility::decide::Verdict;
use crate::eligibility::screening::{CriterionReport, Value, VariableReport};
use crate::protocol::Trial;
use crate::score::{Score, Status};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// What the cells of a column hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    /// Words with a blank between them; a list that holds nothing is an empty text.
    Words,
    /// A decimal.
    Number,
    /// A small integer.
    Whole,
    Flag,
    /// A calendar day.
    Day,
}

impl Type {
    /// As the data dictionary writes it.
    pub fn name(self) -> &'static str {
        match self {
            Type::Text => "text",
            Type::Words => "words",
            Type::Number => "number",
            Type::Whole => "integer",
            Type::Flag => "boolean",
            Type::Day => "date",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub holds: Type,
    /// Nearly every row has another value: a dictionary of them would only cost.
    pub(super) varied: bool,
}

/// Two columns would have one name. Names are compared without case, as SQL does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the table of this trial would have two columns named {0}; rename the variable or criterion that makes \
     the second one, or write NDJSON"
)]
pub struct Clash(pub String);

/// What takes the cells of a row, one call a column. A name comes in two halves, so that none has to be put
/// together for a row.
pub(super) trait Cells {
    fn text(&mut self, name: Name<'_>, cell: Option<&str>);
    /// `reference`, or `reference/_history/version` where the version is known.
    fn source(&mut self, name: Name<'_>, cell: Option<(&str, Option<&str>)>);
    /// `None` where there is no list, which is not the same as an empty one.
    fn words<'w>(&mut self, name: Name<'_>, cell: Option<impl Iterator<Item = &'w str>>);
    fn number(&mut self, name: Name<'_>, cell: Option<Decimal>);
    fn whole(&mut self, name: Name<'_>, cell: Option<i32>);
    fn flag(&mut self, name: Name<'_>, cell: Option<bool>);
    fn day(&mut self, name: Name<'_>, cell: Option<NaiveDate>);
}

#[derive(Clone, Copy)]
pub(super) struct Name<'a>(pub &'a str, pub &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Measured,
    Coded,
}

/// What a score says besides its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Band {
    Nothing,
    Class,
    Grade,
}

impl Band {
    fn of(score: &str) -> Band {
        match score {
            "child_pugh" => Band::Class,
            "albi" => Band::Grade,
            _ => Band::Nothing,
        }
    }
}

/// The columns of one trial.
#[derive(Debug)]
pub struct Columns {
    all: Vec<Column>,
    criteria: Vec<String>,
    variables: Vec<(String, Values)>,
    scores: Vec<(&'static str, Band)>,
}

impl Columns {
    /// # Errors
    /// Where two columns would have the same name, as with a variable called `decision`.
    pub fn new(trial: &Trial) -> Result<Columns, Clash> {
        let values = |v: &crate::protocol::variable::Variable| match v.measured() {
            Some(_) => Values::Measured,
            None => Values::Coded,
        };
        let mut columns = Columns {
            all: Vec::new(),
            criteria: trial.criteria.iter().map(|c| c.id.clone()).collect(),
            variables: trial.variables.iter().map(|v| (v.id.clone(), values(v))).collect(),
            scores: trial.scores.iter().map(|name| (*name, Band::of(name))).collect(),
        };
        let mut list = List::default();
        columns.fill(None, &mut list);
        let mut seen = std::collections::HashSet::new();
        for column in &list.0 {
            if !seen.insert(column.name.to_lowercase()) {
                return Err(Clash(column.name.clone()));
            }
        }
        columns.all = list.0;
        Ok(columns)
    }

    pub fn all(&self) -> &[Column] {
        &self.all
    }

    /// One call a column, in the order of the columns.
    pub(super) fn fill<C: Cells>(&self, s: Option<&Screening>, to: &mut C) {
        to.text(Name("subject", ""), s.map(|s| &*s.subject));
        to.text(Name("attached_to", ""), s.and_then(|s| s.attached_to.as_deref()));
        to.day(Name("as_of", ""), s.map(|s| s.as_of));
        to.text(Name("decision", ""), s.map(|s| s.decision.word()));
        to.words(Name("deciding", ""), s.map(|s| s.deciding.iter().map(String::as_str)));
        to.words(Name("blocked", ""), s.map(|s| s.blocked.iter().copied()));
        to.words(Name("needs", ""), s.map(|s| s.needs.iter().map(String::as_str)));
        for (at, id) in self.criteria.iter().enumerate() {
            let judged = s.and_then(|s| s.criteria.get(at)).filter(|c| c.id == *id);
            criterion(id, judged, to);
        }
        // The screening leaves out what has no value, and keeps the order.
        let mut reports = s.map_or(&[][..], |s| &s.variables.0).iter().peekable();
        let mut report = |id: &str| reports.next_if(|(name, _)| *name == id).map(|(_, report)| report);
        for (id, values) in &self.variables {
            match values {
                Values::Measured => measured(id, report(id), to),
                Values::Coded => coded(id, report(id), to),
            }
        }
        let sex = report("sex");
        to.text(Name("sex", ""), sex.and_then(|r| r.value.as_ref()?.as_str()));
        let age = report("age");
        to.whole(Name("age", ""), age.and_then(|r| whole(&r.value)));
        to.whole(Name("age", "_low"), age.and_then(|r| whole(&r.low)));
        to.whole(Name("age", "_high"), age.and_then(|r| whole(&r.high)));
        to.flag(Name("dialysis", ""), report("dialysis").and_then(|r| r.value.as_ref()?.as_bool()));
        for (name, band) in &self.scores {
            score(name, *band, s.and_then(|s| s.scores.all.get(name)), to);
        }
        let mut reasons = Codes::default();
        for gap in s.map_or(&[][..], |s| &s.gaps) {
            reasons.add(gap.reason.code());
        }
        to.whole(Name("gaps", ""), s.map(|s| i32::try_from(s.gaps.len()).unwrap_or(i32::MAX)));
        to.words(Name("gap_reasons", ""), s.map(|_| reasons.iter()));
        to.text(Name("trial", ""), s.map(|s| s.trial));
        to.text(Name("definition", ""), s.map(|s| s.definition));
    }
}

fn criterion<C: Cells>(id: &str, judged: Option<&CriterionReport>, to: &mut C) {
    to.text(Name(id, ""), judged.map(|j| word(j.verdict)));
    to.words(Name(id, "_why"), judged.map(|j| j.why.iter().copied()));
}

fn measured<C: Cells>(id: &str, r: Option<&VariableReport>, to: &mut C) {
    to.number(Name(id, ""), r.and_then(|r| number(&r.value)));
    to.number(Name(id, "_low"), r.and_then(|r| number(&r.low)));
    to.number(Name(id, "_high"), r.and_then(|r| number(&r.high)));
    to.text(Name(id, "_unit"), r.and_then(|r| r.unit));
    origin(id, r, to);
    to.text(Name(id, "_flag"), r.and_then(|r| r.flag.as_deref()));
}

fn coded<C: Cells>(id: &str, r: Option<&VariableReport>, to: &mut C) {
    to.text(Name(id, ""), r.and_then(|r| r.value.as_ref()?.as_str()));
    origin(id, r, to);
}

/// When a value was taken, where it stands, and what the hospital wrote.
fn origin<C: Cells>(id: &str, r: Option<&VariableReport>, to: &mut C) {
    let received = r.and_then(|r| r.received.as_ref());
    to.text(Name(id, "_effective"), r.and_then(|r| r.effective.as_deref()));
    to.source(Name(id, "_source"), r.and_then(|r| Some((r.source.as_deref()?, r.version.as_deref()))));
    to.text(Name(id, "_received"), received.map(|r| &*r.value));
    to.text(Name(id, "_received_unit"), received.and_then(|r| r.unit.as_deref()));
}

fn score<C: Cells>(name: &str, band: Band, s: Option<&Score>, to: &mut C) {
    let class = |of: fn(&Score) -> Option<char>| s.and_then(of).and_then(letter);
    let grade = |of: fn(&Score) -> Option<u8>| s.and_then(of).map(i32::from);
    to.number(Name(name, ""), s.and_then(|s| s.value));
    to.number(Name(name, "_low"), s.and_then(|s| s.low));
    to.number(Name(name, "_high"), s.and_then(|s| s.high));
    match band {
        Band::Nothing => {}
        Band::Class => {
            to.text(Name(name, "_class"), class(|s| s.class));
            to.text(Name(name, "_class_low"), class(|s| s.class_low));
            to.text(Name(name, "_class_high"), class(|s| s.class_high));
        }
        Band::Grade => {
            to.whole(Name(name, "_grade"), grade(|s| s.grade));
            to.whole(Name(name, "_grade_low"), grade(|s| s.grade_low));
            to.whole(Name(name, "_grade_high"), grade(|s| s.grade_high));
        }
    }
    let status = s.map(|s| match s.status {
        Status::Known => "known",
        Status::Range => "range",
        Status::Unknown => "unknown",
    });
    to.text(Name(name, "_status"), status);
    to.words(Name(name, "_missing"), s.map(|s| s.missing.iter().copied()));
}

/// A Child-Pugh class without a String.
fn letter(class: char) -> Option<&'static str> {
    match class {
        'A' => Some("A"),
        'B' => Some("B"),
        'C' => Some("C"),
        _ => None,
    }
}

fn number(value: &Option<Value<'_>>) -> Option<Decimal> {
    value.as_ref()?.as_number()
}

fn whole(value: &Option<Value<'_>>) -> Option<i32> {
    number(value)?.to_i32()
}

/// As the JSON writes it.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::NotMet => "not-met",
        Verdict::Clear => "clear",
        Verdict::Excludes => "excludes",
        Verdict::NotApplicable => "not-applicable",
        Verdict::Unknown => "unknown",
        Verdict::Attest => "attest",
    }
}

/// Distinct codes in the order of the alphabet, without a list on the heap.
struct Codes {
    held: [&'static str; Codes::ROOM],
    count: usize,
}

impl Codes {
    /// More than there are reasons: a test counts them.
    const ROOM: usize = 64;

    fn add(&mut self, code: &'static str) {
        if let Err(at) = self.held[..self.count].binary_search(&code)
            && self.count < Codes::ROOM
        {
            self.held.copy_within(at..self.count, at + 1);
            self.held[at] = code;
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.held[..self.count].iter().copied()
    }
}

impl Default for Codes {
    fn default() -> Codes {
        Codes { held: [""; Codes::ROOM], count: 0 }
    }
}

/// Takes names and types, and no cells.
#[derive(Default)]
struct List(Vec<Column>);

impl List {
    fn add(&mut self, Name(base, ending): Name<'_>, holds: Type) {
        let varied = matches!(ending, "_effective" | "_source") || (base == "subject" && ending.is_empty());
        self.0.push(Column { name: format!("{base}{ending}"), holds, varied });
    }
}

impl Cells for List {
    fn text(&mut self, name: Name<'_>, _: Option<&str>) {
        self.add(name, Type::Text);
    }
    fn source(&mut self, name: Name<'_>, _: Option<(&str, Option<&str>)>) {
        self.add(name, Type::Text);
    }
    fn words<'w>(&mut self, name: Name<'_>, _: Option<impl Iterator<Item = &'w str>>) {
        self.add(name, Type::Words);
    }
    fn number(&mut self, name: Name<'_>, _: Option<Decimal>) {
        self.add(name, Type::Number);
    }
    fn whole(&mut self, name: Name<'_>, _: Option<i32>) {
        self.add(name, Type::Whole);
    }
    fn flag(&mut self, name: Name<'_>, _: Option<bool>) {
        self.add(name, Type::Flag);
    }
    fn day(&mut self, name: Name<'_>, _: Option<NaiveDate>) {
        self.add(name, Type::Day);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Reason;

    #[test]
    fn verdicts_are_written_as_in_the_json() {
        use Verdict::*;
        for verdict in [Met, NotMet, Clear, Excludes, NotApplicable, Unknown, Attest] {
            assert_eq!(serde_json::to_value(verdict).expect("a word"), word(verdict));
        }
    }

    #[test]
    fn codes_come_once_in_the_order_of_the_alphabet() {
        let mut codes = Codes::default();
        for reason in [Reason::Unmapped, Reason::Conflict, Reason::Unmapped, Reason::UnitUnknown] {
            codes.add(reason.code());
        }
        assert_eq!(codes.iter().collect::<Vec<_>>(), ["conflict", "unit-unknown", "unmapped"]);
        // The last reason of all: there is room for every one.
        assert!((Reason::ProcessingFailed as usize) < Codes::ROOM);
    }
}
