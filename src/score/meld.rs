//! What the MELD scores share: the floors, creatinine's cap, dialysis, and MELD(i).

use super::inputs::Inputs;
use super::number::{Logarithms, round};
use super::span::{Span, dec, open, weighted};
use rust_decimal::Decimal;

pub(super) const FLOOR: Decimal = Decimal::ONE;
pub(super) const LEAST: Decimal = dec("6");
pub(super) const GREATEST: Decimal = dec("40");
const TEN: Decimal = dec("10");

/// Bilirubin, INR and creatinine as a MELD score sees them.
pub(super) struct Laboratory {
    /// Not below 1.0 mg/dL; `None` where nothing bounds it from above.
    pub bilirubin: Option<Span>,
    /// Not below 1.0; `None` where nothing bounds it from above.
    pub inr: Option<Span>,
    /// mg/dL from 1.0 to the score's cap; the cap itself on dialysis.
    pub creatinine: Span,
    creatinine_open: bool,
    dialysis_open: bool,
}

impl Laboratory {
    pub fn of(inputs: &Inputs, creatinine_cap: Decimal) -> Self {
        let measured = Span::clamped(inputs.creatinine, FLOOR, creatinine_cap);
        let on_dialysis = Span::exactly(creatinine_cap);
        let creatinine = match inputs.dialysis {
            Some(true) => on_dialysis,
            Some(false) => measured,
            // Only the measured value and the cap are possible, nothing between them; every score
            // built on this is extreme at the ends, so the hull loses nothing.
            None => measured.hull(on_dialysis),
        };
        Laboratory {
            bilirubin: Span::floored(inputs.bilirubin_total, FLOOR),
            inr: Span::floored(inputs.inr, FLOOR),
            creatinine,
            creatinine_open: inputs.dialysis != Some(true) && !measured.is_exact(),
            dialysis_open: inputs.dialysis.is_none() && !creatinine.is_exact(),
        }
    }

    /// The inputs of the formula, each with whether it is open.
    pub fn open(&self) -> [(&'static str, bool); 4] {
        [
            ("bilirubin_total", open(self.bilirubin)),
            ("inr", open(self.inr)),
            ("creatinine", self.creatinine_open),
            ("dialysis", self.dialysis_open),
        ]
    }
}

/// MELD(i) of the OPTN policy: without sodium.
pub(super) struct MeldI {
    /// The bracket, before it is rounded and multiplied by 10.
    bracket: Option<Span>,
    pub open: [(&'static str, bool); 4],
}

impl MeldI {
    // # Source
    // OPTN policy 9.1.D (2016-01-11 to 2023-07-12); coefficients of Wiesner 2003, doi 10.1053/gast.2003.50016
    // > MELD(i) = 0.957 x ln(Cr) + 0.378 x ln(bilirubin) + 1.120 x ln(INR) + 0.643
    // Bilirubin, INR and creatinine are at least 1.0, creatinine at most 4.0 mg/dL, and 4.0 on dialysis.
    pub fn of(inputs: &Inputs, logarithms: &Logarithms) -> Self {
        let laboratory = Laboratory::of(inputs, const { dec("4") });
        let bracket = || {
            weighted(
                const { dec("0.643") },
                &[
                    (const { dec("0.957") }, laboratory.creatinine.ln(logarithms)?),
                    (const { dec("0.378") }, laboratory.bilirubin?.ln(logarithms)?),
                    (const { dec("1.120") }, laboratory.inr?.ln(logarithms)?),
                ],
            )
        };
        MeldI { bracket: bracket(), open: laboratory.open() }
    }

    /// Ten times the bracket, not rounded.
    pub fn continuous(&self) -> Option<Span> {
        self.bracket?.linear(TEN, Decimal::ZERO)
    }

    // # Source
    // OPTN policy 9.1.D
    // > rounded to the tenth decimal place and then multiplied by 10
    pub fn rounded(&self) -> Option<Span> {
        let bracket = self.bracket?;
        let low = round(bracket.low, 1) * TEN;
        let high = if bracket.is_exact() { low } else { round(bracket.high, 1) * TEN };
        Some(Span { low, high })
    }

    /// The open inputs of a score that adds one more to MELD(i).
    pub fn open_with(&self, name: &'static str, is_open: bool) -> [(&'static str, bool); 5] {
        let [a, b, c, d] = self.open;
        [a, b, c, d, (name, is_open)]
    }
}

/// Nearest integer, 6 to 40.
pub(super) fn integer(raw: Decimal) -> Decimal {
    round(raw, 0).clamp(LEAST, GREATEST)
}
