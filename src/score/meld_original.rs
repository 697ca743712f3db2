//! The MELD of 2000 and 2001, with the cause of the liver disease. Not rounded, not capped.

use super::inputs::{Etiology, Inputs};
use super::number::{Logarithms, round};
use super::options::Options;
use super::result::Score;
use super::span::{Span, dec, open, weighted};
use crate::clinical::interval::Interval;
use rust_decimal::Decimal;

// # Source
// Malinchoc 2000, Hepatology 31:864; Kamath 2001, Hepatology 33:464, doi 10.1053/jhep.2001.22172
// > 3.78 x ln(bilirubin mg/dL) + 11.2 x ln(INR) + 9.57 x ln(creatinine mg/dL) + 6.43 x
// > (aetiology: 0 if cholestatic or alcoholic, 1 otherwise)
// Later use sets values below 1 to 1 (`Options::meld_original_floor`). Dialysis is a rule of UNOS and
// has no part here, nor has a cap on creatinine.
pub(super) fn score(inputs: &Inputs, options: &Options, logarithms: &Logarithms) -> Score {
    let read = |input: Option<Interval>| match options.meld_original_floor {
        true => Span::floored(input, Decimal::ONE),
        false => Span::positive(input),
    };
    let (bilirubin, inr, creatinine) =
        (read(inputs.bilirubin_total), read(inputs.inr), read(inputs.creatinine));
    let other = match inputs.etiology {
        Some(Etiology::CholestaticAlcoholic) => Span::exactly(Decimal::ZERO),
        Some(Etiology::Other) => Span::exactly(Decimal::ONE),
        None => Span { low: Decimal::ZERO, high: Decimal::ONE },
    };
    let raw = || {
        weighted(
            Decimal::ZERO,
            &[
                (const { dec("3.78") }, bilirubin?.ln(logarithms)?),
                (const { dec("11.2") }, inr?.ln(logarithms)?),
                (const { dec("9.57") }, creatinine?.ln(logarithms)?),
                (const { dec("6.43") }, other),
            ],
        )
    };
    let inputs = [
        ("bilirubin_total", open(bilirubin)),
        ("inr", open(inr)),
        ("creatinine", open(creatinine)),
        ("etiology", !other.is_exact()),
    ];
    Score::of(raw(), |raw| round(raw, 4), &inputs)
}
