//! MELD 3.0 (OPTN policy from 2023-07-13): sex, albumin, and creatinine up to 3.0.

use super::inputs::{Inputs, Sex};
use super::meld::{Laboratory, integer};
use super::number::{Logarithms, round};
use super::result::{Detail, Score};
use super::span::{Span, dec, weighted};
use crate::clinical::interval::Interval;
use rust_decimal::Decimal;

const CREATININE_CAP: Decimal = dec("3");
const SODIUM_FLOOR: Decimal = dec("125");
const SODIUM_CAP: Decimal = dec("137");
/// g/L
const ALBUMIN_FLOOR: Decimal = dec("15");
/// g/L
const ALBUMIN_CAP: Decimal = dec("35");

// # Source
// Kim 2021, Gastroenterology 161:1887, PMC8608337; OPTN policy 9.1.D
// > 1.33 (if female) + 4.56 x ln(bilirubin) + 0.82 x (137 - Na) - 0.24 x (137 - Na) x ln(bilirubin)
// > + 9.09 x ln(INR) + 11.14 x ln(creatinine) + 1.85 x (3.5 - albumin)
// > - 1.83 x (3.5 - albumin) x ln(creatinine) + 6
// Bilirubin, INR and creatinine at least 1.0, creatinine at most 3.0 (3.0 on dialysis), sodium 125 to 137,
// albumin 1.5 to 3.5 g/dL; rounded once, at the end. The paper does not cap, the OPTN caps at 40.

/// The two terms that bilirubin and sodium share.
fn bilirubin_sodium(ln_bilirubin: Decimal, sodium: Decimal) -> Option<Decimal> {
    let below = SODIUM_CAP - sodium;
    let product = const { dec("0.24") }.checked_mul(below)?.checked_mul(ln_bilirubin)?;
    let sum = const { dec("4.56") }.checked_mul(ln_bilirubin)?;
    sum.checked_add(const { dec("0.82") }.checked_mul(below)?)?.checked_sub(product)
}

/// The two terms that creatinine and albumin share; albumin in g/L.
fn creatinine_albumin(ln_creatinine: Decimal, albumin: Decimal) -> Option<Decimal> {
    let below = (ALBUMIN_CAP - albumin).checked_div(const { dec("10") })?;
    let product = const { dec("1.83") }.checked_mul(below)?.checked_mul(ln_creatinine)?;
    let sum = const { dec("11.14") }.checked_mul(ln_creatinine)?;
    sum.checked_add(const { dec("1.85") }.checked_mul(below)?)?.checked_sub(product)
}

/// Is the candidate 12 to 17 years old? A missing age is taken as no: the rule is for candidates
/// registered as children.
fn adolescent(age: Option<Interval>) -> Option<bool> {
    let Some(age) = age else { return Some(false) };
    match (age.is_at_least(const { dec("12") }), age.is_below(const { dec("18") })) {
        (Some(true), Some(true)) => Some(true),
        (Some(false), _) | (_, Some(false)) => Some(false),
        _ => None,
    }
}

// The formula is linear in each of ln(bilirubin), 137 - Na, 3.5 - albumin, ln(creatinine), ln(INR) and the
// sex term when the others are held, and falls into blocks that share no input: the extremes of the
// sum are the sums of the blocks' extremes, and each block's are at its corners.
pub(super) fn score(inputs: &Inputs, logarithms: &Logarithms) -> Score {
    let laboratory = Laboratory::of(inputs, CREATININE_CAP);
    let sodium = Span::clamped(inputs.sodium, SODIUM_FLOOR, SODIUM_CAP);
    let albumin = Span::clamped(inputs.albumin, ALBUMIN_FLOOR, ALBUMIN_CAP);
    // # Source
    // OPTN policy 9.1.D: the 1.33 points of women go to every candidate registered at 12 to 17 years too.
    let (surely, possibly) = match (inputs.sex, adolescent(inputs.age)) {
        (Some(Sex::Female), _) | (_, Some(true)) => (true, true),
        (Some(Sex::Male), Some(false)) => (false, false),
        _ => (false, true),
    };
    let female = Span { low: Decimal::from(surely as u8), high: Decimal::from(possibly as u8) };
    let raw = || {
        let one = Decimal::ONE;
        let a = Span::corners(laboratory.bilirubin?.ln(logarithms)?, sodium, bilirubin_sodium)?;
        let b = Span::corners(laboratory.creatinine.ln(logarithms)?, albumin, creatinine_albumin)?;
        weighted(
            const { dec("6") },
            &[
                (one, a),
                (one, b),
                (const { dec("9.09") }, laboratory.inr?.ln(logarithms)?),
                (const { dec("1.33") }, female),
            ],
        )
    };
    let raw = raw();
    let [bilirubin, inr, creatinine, dialysis] = laboratory.open();
    let undecided = !female.is_exact();
    let open = [
        bilirubin,
        inr,
        creatinine,
        dialysis,
        ("sodium", !sodium.is_exact()),
        ("albumin", !albumin.is_exact()),
        ("sex", undecided && inputs.sex.is_none()),
        ("age", undecided && adolescent(inputs.age).is_none()),
    ];
    let score = Score::of(raw, integer, &open);
    match raw.filter(|raw| raw.is_exact()) {
        Some(raw) => score.with(Detail::Uncapped(round(raw.low, 0))),
        None => score,
    }
}
