//! UKELD, the United Kingdom's listing score. It has no floors, no caps and no rule for dialysis.

use super::inputs::Inputs;
use super::number::{Logarithms, round};
use super::result::Score;
use super::span::{BILIRUBIN_UMOL, CREATININE_UMOL, Span, dec, open, weighted};

// # Source
// Barber 2011, Transplantation 92:469, doi 10.1097/TP.0b013e318225db4d
// > 5.395 x ln(INR) + 1.485 x ln(creatinine umol/L) + 3.13 x ln(bilirubin umol/L) - 81.565 x ln(Na) + 435
pub(super) fn score(inputs: &Inputs, logarithms: &Logarithms) -> Score {
    let inr = Span::positive(inputs.inr);
    let creatinine = Span::positive(inputs.creatinine).and_then(|x| x.scaled(CREATININE_UMOL));
    let bilirubin = Span::positive(inputs.bilirubin_total).and_then(|x| x.scaled(BILIRUBIN_UMOL));
    let sodium = Span::positive(inputs.sodium);
    let raw = || {
        weighted(
            const { dec("435") },
            &[
                (const { dec("5.395") }, inr?.ln(logarithms)?),
                (const { dec("1.485") }, creatinine?.ln(logarithms)?),
                (const { dec("3.13") }, bilirubin?.ln(logarithms)?),
                (const { dec("-81.565") }, sodium?.ln(logarithms)?),
            ],
        )
    };
    let open = [
        ("bilirubin_total", open(bilirubin)),
        ("inr", open(inr)),
        ("creatinine", open(creatinine)),
        ("sodium", open(sodium)),
    ];
    Score::of(raw(), |raw| round(raw, 0), &open)
}
