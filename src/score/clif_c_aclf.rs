//! CLIF-C ACLF, only for those who have an organ failure score.

use super::inputs::Inputs;
use super::number::{Logarithms, round};
use super::result::Score;
use super::span::{Span, dec, open, weighted};
use rust_decimal::Decimal;

const OF_FLOOR: Decimal = dec("6");
const OF_CAP: Decimal = dec("18");
const GREATEST: Decimal = dec("100");

// # Source
// Jalan 2014, J Hepatol 61:1038
// > 10 x [0.33 x CLIF-OFs + 0.04 x age + 0.63 x ln(WBC count) - 2]
// from 0 to 100. The factor 10 is multiplied out. An organ failure score outside 6 to 18 does not exist and is not used.
pub(super) fn score(inputs: &Inputs, logarithms: &Logarithms) -> Score {
    let of = Span::not_negative(inputs.clif_of).filter(|of| of.low >= OF_FLOOR && of.high <= OF_CAP);
    let age = Span::not_negative(inputs.age);
    let wbc = Span::positive(inputs.wbc);
    let raw = || {
        weighted(
            const { dec("-20") },
            &[
                (const { dec("3.3") }, of?),
                (const { dec("0.4") }, age?),
                (const { dec("6.3") }, wbc?.ln(logarithms)?),
            ],
        )
    };
    let open = [("clif_of", open(of)), ("age", open(age)), ("wbc", open(wbc))];
    Score::of(raw(), |raw| round(raw, 1).clamp(Decimal::ZERO, GREATEST), &open)
}
