//! Child-Pugh: five components of one to three points. All cut-offs are compared in decimal, and a
//! component whose value is not known, or known only as a range, keeps all the points it may have.

use super::inputs::{Ascites, Encephalopathy, Inputs};
use super::options::{BilirubinTable, ChildPughOptions};
use super::result::{Components, Detail, Points, Score, names};
use super::span::{BILIRUBIN_UMOL, dec, possible};
use crate::clinical::interval::{Bound, Interval};
use rust_decimal::Decimal;

/// g/L; above it albumin scores 1.
const ALBUMIN_UPPER: Decimal = dec("35");

impl Points {
    const ANY: Points = Points { low: 1, high: 3 };

    const fn exactly(points: u8) -> Points {
        Points { low: points, high: points }
    }

    fn open(self) -> bool {
        self.low != self.high
    }

    /// 1 below `lower`, 2 from `lower` to `upper` inclusive, 3 above `upper`.
    fn rising(x: Interval, lower: Decimal, upper: Decimal) -> Points {
        let (below, above) = (x.is_below(lower), x.is_above(upper));
        Points {
            low: if above == Some(true) { 3 } else { 1 + u8::from(below == Some(false)) },
            high: if below == Some(true) { 1 } else { 3 - u8::from(above == Some(false)) },
        }
    }

    /// 3 below `lower`, 2 from `lower` to `upper` inclusive, 1 above `upper`.
    fn falling(x: Interval, lower: Decimal, upper: Decimal) -> Points {
        let rising = Points::rising(x, lower, upper);
        Points { low: 4 - rising.high, high: 4 - rising.low }
    }
}

// # Source
// Pugh 1973, Br J Surg 60:646, doi 10.1002/bjs.1800600817, with the boundaries of the MSD Manual's table:
// bilirubin <2.0, 2.0-3.0, >3.0 mg/dL; in PBC and PSC <4, 4-10, >10 (also CRAN cliot). The cut-offs score 2. A printed SI table is another rule, not a conversion: at 34.0 umol/L the
// table "34-51" gives 2 points and 34.0/17.1 mg/dL gives 1. For PBC and PSC only mg/dL is in use here.
fn bilirubin(inputs: &Inputs, table: BilirubinTable) -> Option<Points> {
    let x = possible(inputs.bilirubin_total)?;
    if inputs.pbc_or_psc == Some(true) {
        return Some(Points::rising(x, const { dec("4") }, const { dec("10") }));
    }
    let (lower, upper) = match table {
        BilirubinTable::Converted => {
            return Some(Points::rising(x, const { dec("2.0") }, const { dec("3.0") }));
        }
        BilirubinTable::Si34To50 => const { (dec("34"), dec("50")) },
        BilirubinTable::Si34To51 => const { (dec("34"), dec("51")) },
        BilirubinTable::Si35To51 => const { (dec("35"), dec("51")) },
    };
    Some(Points::rising(micromoles(x)?, lower, upper))
}

/// mg/dL to umol/L, free of what the conversion to mg/dL left behind.
fn micromoles(x: Interval) -> Option<Interval> {
    let clean = |end: Bound| match end {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Including(x) => Bound::Including(x.round_dp(9)),
        Bound::Excluding(x) => Bound::Excluding(x.round_dp(9)),
    };
    let x = x.scaled(BILIRUBIN_UMOL, Decimal::ONE)?;
    Some(Interval { low: clean(x.low), high: clean(x.high) })
}

// # Source
// Pugh 1973: albumin >3.5, 2.8-3.5, <2.8 g/dL.
fn albumin(inputs: &Inputs, options: ChildPughOptions) -> Option<Points> {
    let floor = Decimal::from(options.albumin_floor).checked_mul(const { dec("10") })?;
    Some(Points::falling(possible(inputs.albumin)?, floor, ALBUMIN_UPPER))
}

// # Source
// Pugh 1973: prothrombin time <4, 4-6, >6 seconds over control. The INR column (<1.7, 1.7-2.3, >2.3) came
// later. One of the two is read, never both: INR where there is one.
fn coagulation(inputs: &Inputs, options: ChildPughOptions) -> (Option<Points>, Option<&'static str>) {
    if let Some(inr) = possible(inputs.inr) {
        let points = Points::rising(inr, const { dec("1.7") }, options.inr_upper.into());
        return (Some(points), Some("inr"));
    }
    // A prothrombin time shorter than the control's is negative here and as good as none.
    let points = inputs.pt_prolongation.map(|s| Points::rising(s, const { dec("4") }, const { dec("6") }));
    (points, points.map(|_| "pt_prolongation"))
}

// # Source
// Pugh 1973: ascites absent, slight (or controlled by diuretics), moderate and more.
fn ascites(grade: Ascites) -> Points {
    Points::exactly(match grade {
        Ascites::None => 1,
        Ascites::Mild => 2,
        Ascites::ModerateSevere => 3,
    })
}

// # Source
// Pugh 1973: encephalopathy none, grade 1 and 2, grade 3 and 4 (West Haven, Vilstrup 2014, J Hepatol 61:642).
fn encephalopathy(grade: Encephalopathy) -> Points {
    Points::exactly(match grade {
        Encephalopathy::Grade0 => 1,
        Encephalopathy::Grade1To2 => 2,
        Encephalopathy::Grade3To4 => 3,
    })
}

// # Source
// Pugh 1973: A is 5 and 6 points, B 7 to 9, C 10 to 15.
fn class(total: u8) -> char {
    match total {
        ..=6 => 'A',
        7..=9 => 'B',
        _ => 'C',
    }
}

pub(super) fn score(inputs: &Inputs, options: ChildPughOptions) -> Score {
    let (coagulation, column) = coagulation(inputs, options);
    // Nobody recorded is not "absent": a component without a value has any of its points.
    let points = Components {
        bilirubin: bilirubin(inputs, options.bilirubin_table).unwrap_or(Points::ANY),
        albumin: albumin(inputs, options).unwrap_or(Points::ANY),
        coagulation: coagulation.unwrap_or(Points::ANY),
        ascites: inputs.ascites.map_or(Points::ANY, ascites),
        encephalopathy: inputs.encephalopathy.map_or(Points::ANY, encephalopathy),
    };
    let all = [points.bilirubin, points.albumin, points.coagulation, points.ascites, points.encephalopathy];
    let open = [
        ("bilirubin_total", points.bilirubin.open()),
        ("albumin", points.albumin.open()),
        (column.unwrap_or("inr"), points.coagulation.open()),
        ("ascites", points.ascites.open()),
        ("encephalopathy", points.encephalopathy.open()),
    ];
    if all.iter().all(|component| *component == Points::ANY) {
        return Score::unknown(names(&open));
    }
    let low = all.iter().map(|component| component.low).sum();
    let high = all.iter().map(|component| component.high).sum();
    let score = if low == high {
        Score { raw: Some(f64::from(low)), class: Some(class(low)), ..Score::known(low.into()) }
    } else {
        Score {
            class_low: Some(class(low)),
            class_high: Some(class(high)),
            ..Score::range(low.into(), high.into(), names(&open))
        }
    };
    score.with(Detail::ChildPugh { points, coagulation: column })
}
