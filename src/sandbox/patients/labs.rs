//! Invented laboratory values: a small generator, and a panel of the trial's tests.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, portable, and for invented values only.
pub(super) struct Draw(u64);

impl Draw {
    pub fn seeded(number: u16) -> Self {
        Self(0x7472_6961_6c62_7269 ^ u64::from(number))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        let width = u64::from(high.saturating_sub(low)) + 1;
        low + u32::try_from(self.next() % width).unwrap_or(0)
    }

    /// As [`Draw::between`], in units of the last decimal place: `decimal(160, 245, 2)` is 1.60 to 2.45.
    fn decimal(&mut self, low: u32, high: u32, places: u32) -> Decimal {
        Decimal::new(i64::from(self.between(low, high)), places)
    }
}

/// A test of the panel, in the unit that [`Panel`] keeps it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lab {
    /// Total, mg/dL.
    Bilirubin,
    /// mg/dL. Not a variable of the trial: a look-alike of the total.
    DirectBilirubin,
    /// g/dL.
    Albumin,
    /// U/L.
    Alt,
    /// U/L.
    Ast,
    /// U/L.
    Alp,
    /// s.
    Pt,
    /// 1.
    Inr,
    /// Prothrombin activity, %. Not a variable of the trial: a look-alike of PT.
    Pta,
    /// mg/dL.
    Creatinine,
    /// mmol/L.
    Sodium,
    /// 10*9/L.
    Platelets,
}

/// The values of one blood sample.
#[derive(Debug, Clone)]
pub(super) struct Panel(BTreeMap<Lab, Decimal>);

impl Panel {
    /// Of a patient in decompensated cirrhosis: MELD and Child-Pugh are high whatever is drawn.
    pub fn decompensated(draw: &mut Draw) -> Self {
        Self::coherent(BTreeMap::from([
            (Lab::Bilirubin, draw.decimal(32, 115, 1)),
            (Lab::Albumin, draw.decimal(22, 31, 1)),
            (Lab::Alt, draw.decimal(28, 140, 0)),
            (Lab::Ast, draw.decimal(42, 180, 0)),
            (Lab::Alp, draw.decimal(90, 260, 0)),
            (Lab::Inr, draw.decimal(160, 245, 2)),
            (Lab::Creatinine, draw.decimal(70, 180, 2)),
            (Lab::Sodium, draw.decimal(127, 138, 0)),
            (Lab::Platelets, draw.decimal(35, 120, 0)),
        ]))
    }

    /// Of a patient whose liver works.
    pub fn healthy(draw: &mut Draw) -> Self {
        Self::coherent(BTreeMap::from([
            (Lab::Bilirubin, draw.decimal(4, 9, 1)),
            (Lab::Albumin, draw.decimal(40, 46, 1)),
            (Lab::Alt, draw.decimal(12, 35, 0)),
            (Lab::Ast, draw.decimal(14, 34, 0)),
            (Lab::Alp, draw.decimal(45, 105, 0)),
            (Lab::Inr, draw.decimal(95, 110, 2)),
            (Lab::Creatinine, draw.decimal(70, 105, 2)),
            (Lab::Sodium, draw.decimal(137, 143, 0)),
            (Lab::Platelets, draw.decimal(160, 320, 0)),
        ]))
    }

    /// Of a compensated cirrhosis that needs its bilirubin or its ascites grade to be called end-stage or
    /// not: with bilirubin below 2 mg/dL, MELD is below 15, and Child-Pugh 6 without ascites.
    pub fn borderline() -> Self {
        let value = Decimal::new;
        Self::coherent(BTreeMap::from([
            (Lab::Bilirubin, value(18, 1)),
            (Lab::Albumin, value(30, 1)),
            (Lab::Alt, value(41, 0)),
            (Lab::Ast, value(55, 0)),
            (Lab::Alp, value(132, 0)),
            (Lab::Inr, value(150, 2)),
            (Lab::Creatinine, value(90, 2)),
            (Lab::Sodium, value(137, 0)),
            (Lab::Platelets, value(88, 0)),
        ]))
    }

    /// Direct bilirubin, PT and prothrombin activity follow from the others.
    fn coherent(mut values: BTreeMap<Lab, Decimal>) -> Self {
        if let Some(total) = values.get(&Lab::Bilirubin).copied() {
            values.insert(Lab::DirectBilirubin, (total * Decimal::new(6, 1)).round_dp(1));
        }
        if let Some(inr) = values.get(&Lab::Inr).copied() {
            values.insert(Lab::Pt, (inr * Decimal::new(121, 1)).round_dp(1));
            values.insert(Lab::Pta, (Decimal::ONE_HUNDRED / inr).round_dp(0));
        }
        Self(values)
    }

    /// With another value, in the unit of [`Lab`].
    pub fn with(mut self, lab: Lab, mantissa: i64, places: u32) -> Self {
        self.0.insert(lab, Decimal::new(mantissa, places));
        self
    }

    pub fn without(mut self, lab: Lab) -> Self {
        self.0.remove(&lab);
        self
    }

    pub fn get(&self, lab: Lab) -> Option<Decimal> {
        self.0.get(&lab).copied()
    }
}
