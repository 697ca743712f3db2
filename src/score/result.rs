//! A score as it is reported: known, a range, or unknown, and what would make it known.

use super::number::{float, round_half_even};
use super::span::Span;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// How much is known of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The formula gives one value whatever is still open.
    Known,
    /// What is open is bounded, and so is the score.
    Range,
    /// Something that the score needs has no bound.
    Unknown,
}

/// One score of one patient at one time.
///
/// Invariant: `Known` has `value` (and `raw`, `class` or `grade` where the score has them) and nothing
/// missing; `Range` has `low` and `high`; `Unknown` has neither.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub status: Status,
    /// As reported: rounded and capped.
    pub value: Option<Decimal>,
    /// Before the final rounding and cap, to twelve decimals.
    pub raw: Option<f64>,
    /// Child-Pugh class `A`, `B` or `C`.
    pub class: Option<char>,
    /// ALBI grade 1 to 3.
    pub grade: Option<u8>,
    /// The least reported value.
    pub low: Option<Decimal>,
    /// The greatest reported value.
    pub high: Option<Decimal>,
    pub class_low: Option<char>,
    pub class_high: Option<char>,
    pub grade_low: Option<u8>,
    pub grade_high: Option<u8>,
    /// Inputs that are missing, or censored so that the score is not exact.
    pub missing: Vec<&'static str>,
    pub detail: Detail,
}

/// What a score says beyond its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    #[default]
    Nothing,
    /// MELD 3.0 rounded but without the cap at 40, as in the paper.
    Uncapped(Decimal),
    ChildPugh {
        points: Components,
        /// Which coagulation column was read: `inr` or `pt_prolongation`.
        coagulation: Option<&'static str>,
    },
    /// APRI's upper limit of normal in U/L, and whether it came with the result.
    AstUln { uln: Decimal, own: bool },
}

/// Child-Pugh points, least and greatest where not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Points {
    pub low: u8,
    pub high: u8,
}

/// The five components of Child-Pugh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Components {
    pub bilirubin: Points,
    pub albumin: Points,
    pub coagulation: Points,
    pub ascites: Points,
    pub encephalopathy: Points,
}

impl Score {
    const NOTHING: Score = Score {
        status: Status::Unknown,
        value: None,
        raw: None,
        class: None,
        grade: None,
        low: None,
        high: None,
        class_low: None,
        class_high: None,
        grade_low: None,
        grade_high: None,
        missing: Vec::new(),
        detail: Detail::Nothing,
    };

    pub(super) fn unknown(missing: Vec<&'static str>) -> Score {
        Score { missing, ..Score::NOTHING }
    }

    pub(super) fn known(value: Decimal) -> Score {
        Score { status: Status::Known, value: Some(value), ..Score::NOTHING }
    }

    pub(super) fn range(low: Decimal, high: Decimal, missing: Vec<&'static str>) -> Score {
        Score { status: Status::Range, low: Some(low), high: Some(high), missing, ..Score::NOTHING }
    }

    /// From the raw score over the whole range of its inputs: known if it does not move at all.
    /// `report` rounds and caps, and never falls while its argument rises. `open` lists the inputs
    /// with whether they keep the score from being exact.
    pub(super) fn of(
        raw: Option<Span>,
        report: impl Fn(Decimal) -> Decimal,
        open: &[(&'static str, bool)],
    ) -> Score {
        match raw {
            None => Score::unknown(names(open)),
            Some(raw) if raw.is_exact() => Score {
                // Twelve decimals are more than any input carries and hide the last bit of a logarithm,
                // in which mathematical libraries differ.
                raw: Some(float(round_half_even(raw.low, 12))),
                ..Score::known(report(raw.low))
            },
            Some(raw) => Score::range(report(raw.low), report(raw.high), names(open)),
        }
    }

    pub(super) fn with(mut self, detail: Detail) -> Score {
        self.detail = detail;
        self
    }
}

/// The open inputs. Where all are given but their size breaks the arithmetic, all are named: one of
/// them cannot be right.
pub(super) fn names(open: &[(&'static str, bool)]) -> Vec<&'static str> {
    let some = open.iter().any(|(_, open)| *open);
    open.iter().filter(|(_, open)| *open || !some).map(|(name, _)| *name).collect()
}

/// A decimal as a JSON number: integers without a point.
pub(crate) struct Number(pub(crate) Decimal);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.normalize() {
            x if x.scale() == 0 && x.to_i64().is_some() => to.serialize_i64(x.to_i64().unwrap_or_default()),
            x => to.serialize_f64(float(x)),
        }
    }
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.low == self.high { to.serialize_u8(self.low) } else { [self.low, self.high].serialize(to) }
    }
}

impl Serialize for Components {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(5))?;
        map.serialize_entry("bilirubin", &self.bilirubin)?;
        map.serialize_entry("albumin", &self.albumin)?;
        map.serialize_entry("coagulation", &self.coagulation)?;
        map.serialize_entry("ascites", &self.ascites)?;
        map.serialize_entry("encephalopathy", &self.encephalopathy)?;
        map.end()
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(match self {
            Status::Known => "known",
            Status::Range => "range",
            Status::Unknown => "unknown",
        })
    }
}

/// Keys come in a fixed order and only where they say something, so the same score gives the same bytes.
impl Serialize for Score {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        macro_rules! entry {
            ($key:ident) => {
                if let Some(x) = &self.$key {
                    map.serialize_entry(stringify!($key), x)?;
                }
            };
            ($key:ident as number) => {
                if let Some(x) = self.$key {
                    map.serialize_entry(stringify!($key), &Number(x))?;
                }
            };
        }
        map.serialize_entry("status", &self.status)?;
        entry!(value as number);
        entry!(raw);
        entry!(class);
        entry!(grade);
        entry!(low as number);
        entry!(high as number);
        entry!(class_low);
        entry!(class_high);
        entry!(grade_low);
        entry!(grade_high);
        if self.status != Status::Known {
            map.serialize_entry("missing", &self.missing)?;
        }
        match self.detail {
            Detail::Nothing => {}
            Detail::Uncapped(x) => map.serialize_entry("uncapped", &Number(x))?,
            Detail::ChildPugh { points, coagulation } => {
                map.serialize_entry("points", &points)?;
                if let Some(column) = coagulation {
                    map.serialize_entry("coagulation", column)?;
                }
            }
            Detail::AstUln { uln, own } => {
                map.serialize_entry("ast_uln", &Number(uln))?;
                map.serialize_entry("ast_uln_source", if own { "result" } else { "default" })?;
            }
        }
        map.end()
    }
}
