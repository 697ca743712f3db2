//! MELD-Na as Kim and colleagues published it in 2008. It is not the OPTN's of 2016: the sodium bounds
//! and the damping differ, and there is no gate at 11.

use super::inputs::Inputs;
use super::meld::MeldI;
use super::number::round;
use super::result::Score;
use super::span::{Span, dec};
use rust_decimal::Decimal;

const SODIUM_FLOOR: Decimal = dec("125");
const SODIUM_CAP: Decimal = dec("140");

// # Source
// Kim 2008, N Engl J Med 359:1018
// > MELD - Na - [0.025 x MELD x (140 - Na)] + 140
// Sodium below 125 mmol/L counts as 125, above 140 as 140. MELD is not rounded, with the floors and the creatinine cap of UNOS.
fn formula(meld: Decimal, sodium: Decimal) -> Option<Decimal> {
    let below = SODIUM_CAP - sodium;
    let damping = const { dec("0.025") }.checked_mul(meld)?.checked_mul(below)?;
    meld.checked_add(below)?.checked_sub(damping)
}

pub(super) fn score(inputs: &Inputs, meld_i: &MeldI) -> Score {
    let sodium = Span::clamped(inputs.sodium, SODIUM_FLOOR, SODIUM_CAP);
    let raw = meld_i.continuous().and_then(|meld| Span::corners(meld, sodium, formula));
    Score::of(raw, |raw| round(raw, 4), &meld_i.open_with("sodium", !sodium.is_exact()))
}
