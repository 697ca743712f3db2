//! The counts as they are shown: `trialbridge/funnel/v1`, one object. Table and chart are made from it and
//! from nothing else, so that what is held back here is held back everywhere.
//!
//! Invariant: with a threshold no shown count lies between 0 and the threshold, and all others are rounded.

use super::count::{self, Fact, Funnel, Open};
use super::named::Named;
use crate::protocol::{CriterionKind, Trial};
use chrono::NaiveDate;
use serde::{Serialize, Serializer};
use std::fmt;
use std::num::NonZeroU64;

pub const SCHEMA: &str = "trialbridge/funnel/v1";

/// A number of patients, as it may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    Count(u64),
    /// At least one, and fewer than so many.
    Below(u64),
}

impl Cell {
    /// Counts below the threshold are held back, but for zero, which is nobody. The others are rounded to
    /// the nearest multiple of it (a half upwards): an exact total would give a small count away by
    /// subtraction.
    fn new(count: u64, threshold: Option<NonZeroU64>) -> Cell {
        let Some(threshold) = threshold.map(NonZeroU64::get) else { return Cell::Count(count) };
        match count {
            0 => Cell::Count(0),
            _ if count < threshold => Cell::Below(threshold),
            _ => {
                let over = count % threshold;
                let down = count - over;
                Cell::Count(if over >= threshold - over { down.saturating_add(threshold) } else { down })
            }
        }
    }

    /// For drawing: what is held back counts as its limit.
    pub(super) fn size(self) -> u64 {
        match self {
            Cell::Count(count) => count,
            Cell::Below(limit) => limit,
        }
    }

    pub fn is_zero(self) -> bool {
        self == Cell::Count(0)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Count(count) => write!(f, "{count}"),
            Cell::Below(limit) => write!(f, "<{limit}"),
        }
    }
}

/// A number, or the text `<5`.
impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Count(count) => serializer.serialize_u64(*count),
            Cell::Below(_) => serializer.collect_str(self),
        }
    }
}

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report<'a> {
    pub schema: &'static str,
    pub trial: &'a str,
    pub definition: &'a str,
    /// The days on which the patients were judged; absent where there is no patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Days>,
    /// Absent where every count is exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<Suppressed>,
    pub patients: Patients,
    /// In the protocol's order; each one, also where it stops nobody.
    pub criteria: Vec<CriterionRow<'a>>,
    pub identity: Identity<'a>,
    /// What undetermined patients lack, by fact.
    pub facts: Vec<FactRow<'a>>,
    /// Patients by what could not be used of their records.
    pub gaps: Vec<ReasonRow<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Days {
    pub first: NaiveDate,
    pub last: NaiveDate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Suppressed {
    /// Counts from 1 to one less than this are shown as `<N`.
    pub below: u64,
    /// All other counts are multiples of this.
    pub rounded_to: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Patients {
    pub total: Cell,
    pub eligible: Cell,
    pub undetermined: Cell,
    pub ineligible: Cell,
    /// With something in the record that could not be used.
    pub with_gaps: Cell,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CriterionRow<'a> {
    pub id: &'a str,
    pub kind: CriterionKind,
    pub text: &'a str,
    pub alone: Alone,
    pub in_order: InOrder,
    /// Why it is open; a patient may have several reasons.
    pub why: Vec<OpenRow<'a>>,
    /// Which facts would settle it.
    pub needs: Vec<OpenRow<'a>>,
}

/// The criterion by itself, of all patients.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alone {
    /// Whom it excludes.
    pub excluded: Cell,
    /// Whom it excludes and no other criterion does.
    pub only: Cell,
    /// Of `only`: who would be eligible without it; the others would be undetermined.
    pub only_else_eligible: Cell,
    /// For whom it is open: the data do not say, or only a person can.
    pub open: Cell,
    pub unknown: Cell,
    pub attest: Cell,
    /// Of `open`: those whom no criterion excludes.
    pub open_undetermined: Cell,
    /// Of `openUndetermined`: those for whom nothing else is open.
    pub open_only: Cell,
}

/// The criterion after those before it in the protocol.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InOrder {
    /// Whom no criterion before excludes.
    pub entering: Cell,
    /// Of them, those whom this one does.
    pub excluded: Cell,
    /// `entering` without `excluded`.
    pub remaining: Cell,
    /// Of `remaining`: something was open so far, here or before.
    pub remaining_open: Cell,
    /// Of `remaining`: those who are never excluded, and for whom this is the first criterion that is open.
    pub undetermined: Cell,
}

#[derive(Debug, Serialize)]
pub struct OpenRow<'a> {
    pub name: &'a str,
    /// All patients for whom the criterion is open so.
    pub patients: Cell,
    /// Of these, those whom no criterion excludes.
    pub undetermined: Cell,
}

#[derive(Debug, Serialize)]
pub struct Identity<'a> {
    /// Undetermined patients of whom it is open who they are.
    pub undetermined: Cell,
    /// Of these, those for whom nothing else is open.
    pub only: Cell,
    pub why: Vec<ReasonRow<'a>>,
}

#[derive(Debug, Serialize)]
pub struct FactRow<'a> {
    pub name: &'a str,
    /// Undetermined patients who lack it.
    pub needed: Cell,
    /// Of these, those who lack nothing else: it settles them, one way or the other.
    pub settles: Cell,
}

#[derive(Debug, Serialize)]
pub struct ReasonRow<'a> {
    pub name: &'a str,
    pub patients: Cell,
}

impl<'a> Report<'a> {
    /// What is shown of a funnel of this trial, with small counts held back below `threshold` if there is one.
    pub fn new(funnel: &'a Funnel, trial: &'a Trial, threshold: Option<NonZeroU64>) -> Report<'a> {
        // A threshold of one holds nothing back.
        let threshold = threshold.filter(|t| t.get() > 1);
        let cell = |count| Cell::new(count, threshold);
        let open = |names: &'a Named<Open>| {
            let row = |(name, open): (&'a str, &Open)| OpenRow {
                name,
                patients: cell(open.patients),
                undetermined: cell(open.undetermined),
            };
            names.iter().map(row).collect()
        };
        let reasons = |names: &'a Named<u64>| {
            names.iter().map(|(name, count)| ReasonRow { name, patients: cell(*count) }).collect()
        };
        let fact = |(name, fact): (&'a str, &Fact)| FactRow {
            name,
            needed: cell(fact.needed),
            settles: cell(fact.settles),
        };
        let mut entering = funnel.patients();
        let row = |(definition, c): (&'a crate::protocol::Criterion, &'a count::Criterion)| {
            let remaining = entering.saturating_sub(c.left);
            let row = CriterionRow {
                id: &definition.id,
                kind: definition.kind,
                text: &definition.text.en,
                alone: Alone {
                    excluded: cell(c.excludes),
                    only: cell(c.only),
                    only_else_eligible: cell(c.only_else_eligible),
                    open: cell(c.unknown + c.attest),
                    unknown: cell(c.unknown),
                    attest: cell(c.attest),
                    open_undetermined: cell(c.open_undetermined),
                    open_only: cell(c.open_only),
                },
                in_order: InOrder {
                    entering: cell(entering),
                    excluded: cell(c.left),
                    remaining: cell(remaining),
                    remaining_open: cell(c.remaining_open),
                    undetermined: cell(c.first_open),
                },
                why: open(&c.why),
                needs: open(&c.needs),
            };
            entering = remaining;
            row
        };
        Report {
            schema: SCHEMA,
            trial: &trial.study.id,
            definition: &trial.hash,
            as_of: funnel.days.map(|(first, last)| Days { first, last }),
            suppressed: threshold.map(|t| Suppressed { below: t.get(), rounded_to: t.get() }),
            criteria: trial.criteria.iter().zip(&funnel.criteria).map(row).collect(),
            patients: Patients {
                total: cell(funnel.patients()),
                eligible: cell(funnel.eligible),
                undetermined: cell(funnel.undetermined),
                ineligible: cell(funnel.ineligible),
                with_gaps: cell(funnel.with_gaps),
            },
            identity: Identity {
                undetermined: cell(funnel.blocked),
                only: cell(funnel.only_blocked),
                why: reasons(&funnel.blocks),
            },
            facts: funnel.facts.iter().map(fact).collect(),
            gaps: reasons(&funnel.gaps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_counts_are_held_back_and_the_others_rounded() {
        for (threshold, shown) in [
            (1, ["0", "1", "2", "4", "5", "6", "7", "8", "10", "12", "13"]),
            (2, ["0", "<2", "2", "4", "6", "6", "8", "8", "10", "12", "14"]),
            (5, ["0", "<5", "<5", "<5", "5", "5", "5", "10", "10", "10", "15"]),
            (10, ["0", "<10", "<10", "<10", "<10", "<10", "<10", "<10", "10", "10", "10"]),
        ] {
            let cells =
                [0, 1, 2, 4, 5, 6, 7, 8, 10, 12, 13].map(|n| Cell::new(n, NonZeroU64::new(threshold)));
            assert_eq!(cells.map(|c| c.to_string()), shown, "{threshold}");
        }
        assert_eq!(Cell::new(7, None).to_string(), "7");
        assert_eq!(Cell::new(u64::MAX, NonZeroU64::new(10)), Cell::Count(u64::MAX));
        assert_eq!(serde_json::to_string(&[Cell::Count(12), Cell::Below(5)]).expect("JSON"), r#"[12,"<5"]"#);
    }
}
