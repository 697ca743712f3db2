//! MELD-Na of the OPTN policy from 2016-01-11 to 2023-07-12. Not Kim 2008's: see `meld_na_kim2008`.

use super::inputs::Inputs;
use super::meld::{MeldI, integer};
use super::result::Score;
use super::span::{Span, dec};
use rust_decimal::Decimal;

const SODIUM_FLOOR: Decimal = dec("125");
const SODIUM_CAP: Decimal = dec("137");
const GATE: Decimal = dec("11");

// # Source
// OPTN policy 9.1.D
// > If MELD(i) > 11, MELD = MELD(i) + 1.32 x (137 - Na) - [0.033 x MELD(i) x (137 - Na)]
// Sodium below 125 mmol/L counts as 125, above 137 as 137. MELD(i) is already the integer: rounding it only at the end gives another score at one point in seven.
fn formula(meld_i: Decimal, sodium: Decimal) -> Option<Decimal> {
    if meld_i <= GATE {
        return Some(meld_i);
    }
    let below = SODIUM_CAP - sodium;
    let rise = const { dec("1.32") }.checked_mul(below)?;
    let damping = const { dec("0.033") }.checked_mul(meld_i)?.checked_mul(below)?;
    meld_i.checked_add(rise)?.checked_sub(damping)
}

// The extremes are at corners in spite of the gate. At a given sodium the formula rises with MELD(i):
// above 11 by 1 - 0.033 (137 - Na), at least 0.604 a point; at the gate it steps up, for it gives 11 at
// 11 and 12 + 0.924 (137 - Na) at 12. At a given MELD(i) it is linear in sodium.
pub(super) fn score(inputs: &Inputs, meld_i: &MeldI) -> Score {
    let sodium = Span::clamped(inputs.sodium, SODIUM_FLOOR, SODIUM_CAP);
    let rounded = meld_i.rounded();
    let raw = rounded.and_then(|meld_i| Span::corners(meld_i, sodium, formula));
    // Up to 11 no sodium can change anything, so a missing one is not missed.
    let matters = rounded.is_none_or(|meld_i| meld_i.high > GATE);
    Score::of(raw, integer, &meld_i.open_with("sodium", matters && !sodium.is_exact()))
}
