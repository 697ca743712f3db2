//! Rounding, logarithms and roots of decimals.
//!
//! A screening spends most of its arithmetic here, so the conversions are written for the sizes that are
//! measured. Invariant: each gives what the decimal library gives, to the last bit; the tests compare them.

use crate::clinical::number::POWERS;
use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive, ToPrimitive};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;

/// The logarithms of one patient's inputs, each taken once: most scores read the same bilirubin, INR and
/// creatinine.
#[derive(Debug)]
pub(super) struct Logarithms {
    known: RefCell<[(Decimal, Decimal); 8]>,
    /// Where the next one is kept: the oldest gives way.
    next: Cell<usize>,
}

impl Logarithms {
    pub fn new() -> Self {
        let of_one = (Decimal::ONE, Decimal::ZERO);
        Logarithms { known: RefCell::new([of_one; 8]), next: Cell::new(0) }
    }

    /// Natural logarithm, to the digits of a float.
    pub fn ln(&self, x: Decimal) -> Option<Decimal> {
        let mut known = self.known.borrow_mut();
        let same = |y: Decimal| x.scale() == y.scale() && x.mantissa() == y.mantissa();
        if let Some((_, ln)) = known.iter().find(|(of, _)| same(*of)) {
            return Some(*ln);
        }
        let ln = retained(nearest(x)?.ln())?;
        let at = self.next.get();
        known[at] = (x, ln);
        self.next.set((at + 1) % known.len());
        Some(ln)
    }
}

/// Decimal logarithm, to the digits of a float.
pub(super) fn log10(x: Decimal) -> Option<Decimal> {
    retained(nearest(x)?.log10())
}

/// Square root. The shortest decimal of the float is taken, so that the root of 1.44 is 1.2.
pub(super) fn root(x: Decimal) -> Option<Decimal> {
    shortest(nearest(x)?.sqrt())
}

/// Powers of ten as floats, as far as they are exact.
const FLOAT_POWERS: [f64; 23] = {
    let mut powers = [1.0; 23];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = POWERS[i] as f64;
        i += 1;
    }
    powers
};

/// [`Decimal::to_f64`], the short way where it is exact to the last bit: a mantissa and a power of ten that
/// are floats, and one division that rounds once.
fn nearest(x: Decimal) -> Option<f64> {
    let mantissa = x.mantissa();
    match FLOAT_POWERS.get(x.scale() as usize) {
        Some(power) if mantissa.unsigned_abs() < 1 << 50 => Some(mantissa as i64 as f64 / power),
        _ => x.to_f64(),
    }
}

/// [`Decimal::from_f64_retain`]: the float with all its bits, as far as 96 hold them. The same steps, on
/// one integer instead of three words. What is far from 1 is left to the library.
fn retained(x: f64) -> Option<Decimal> {
    const MOST: u128 = (1 << 96) - 1;
    if !(1e-3..1e6).contains(&x.abs()) {
        return Decimal::from_f64_retain(x);
    }
    // x = mantissa * 2^exponent = mantissa * 5^-exponent * 10^exponent, and the exponent is negative.
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1023 - 52;
    let mut mantissa = u128::from(bits & ((1 << 52) - 1) | 1 << 52);
    let (mut tens, mut steps) = (exponent, -exponent);
    if mantissa & 1 == 1 {
        // The product stays odd and fits: 53 bits by 5^18, which is below 2^42. The first 18 steps are one.
        mantissa *= 5u128.pow(18);
        steps -= 18;
    }
    for _ in 0..steps {
        // An even mantissa is halved, and so is one that five times would not fit: its last bit is lost.
        let fits = mantissa & 1 == 1 && mantissa <= MOST / 5;
        mantissa = if fits { mantissa * 5 } else { mantissa >> 1 };
        tens += i32::from(!fits);
    }
    while tens < -28 {
        let rest = mantissa % 10;
        mantissa = mantissa / 10 + u128::from(rest >= 5);
        tens += 1;
    }
    Some(from_parts(mantissa, x < 0.0, tens.unsigned_abs()))
}

/// [`Decimal::from_f64`]: the float without the digits that are only its own, so that 1.2 is 1.2.
fn shortest(x: f64) -> Option<Decimal> {
    let whole = retained(x)?;
    if !(1e-3..1e6).contains(&x) {
        return Decimal::from_f64(x);
    }
    let (mut mantissa, mut scale) = (whole.mantissa().unsigned_abs(), whole.scale());
    while scale > 0 && mantissa >= 1 << 52 {
        mantissa = mantissa / 10 + u128::from(mantissa % 10 >= 5);
        scale -= 1;
    }
    while scale > 0 && mantissa.is_multiple_of(10) {
        mantissa /= 10;
        scale -= 1;
    }
    Some(from_parts(mantissa, false, scale))
}

/// A decimal of a mantissa below 2^96.
fn from_parts(mantissa: u128, negative: bool, scale: u32) -> Decimal {
    let [low, middle, high] = [0, 32, 64].map(|shift| (mantissa >> shift) as u32);
    Decimal::from_parts(low, middle, high, negative, scale)
}

/// Rounds half up (away from zero) on the decimal representation.
pub(super) fn round(x: Decimal, places: u32) -> Decimal {
    rounded(x, places, |_| true)
}

/// Rounds a half to the even neighbour, on the decimal representation.
pub(super) fn round_half_even(x: Decimal, places: u32) -> Decimal {
    rounded(x, places, |quotient| quotient & 1 == 1)
}

/// Does what [`Decimal::round_dp_with_strategy`] does, with one division. `half_up` says of the digits that
/// stay whether a half raises them.
fn rounded(x: Decimal, places: u32, half_up: fn(u128) -> bool) -> Decimal {
    let (mantissa, scale) = (x.mantissa(), x.scale());
    if scale <= places || mantissa == 0 {
        return x.round_dp(places);
    }
    let unit = POWERS[(scale - places) as usize].unsigned_abs();
    let quotient = mantissa.unsigned_abs() / unit;
    let rest = mantissa.unsigned_abs() - quotient * unit;
    let raised = match (2 * rest).cmp(&unit) {
        Ordering::Less => false,
        Ordering::Equal => half_up(quotient),
        Ordering::Greater => true,
    };
    from_parts(quotient + u128::from(raised), mantissa < 0, places)
}

/// The float nearest to a decimal: `3.89` is written as 3.89 and not as its neighbour.
pub(super) fn float(x: Decimal) -> f64 {
    // Without the zeros at the end more decimals have an exact mantissa.
    short(x).or_else(|| short(x.normalize())).unwrap_or_else(|| x.to_string().parse().unwrap_or(f64::NAN))
}

fn short(x: Decimal) -> Option<f64> {
    const EXACT: u128 = 1 << 53;
    // Both are exact floats (10^22 is the last exact power of ten) and a division rounds once.
    let power = FLOAT_POWERS.get(x.scale() as usize)?;
    (x.mantissa().unsigned_abs() <= EXACT).then(|| x.mantissa() as i64 as f64 / power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::RoundingStrategy;

    /// Bit by bit: the scale too.
    fn parts(x: Decimal) -> (i128, u32) {
        (x.mantissa(), x.scale())
    }

    proptest! {
        #[test]
        fn rounds_as_the_library(mantissa in any::<i128>(), cut in 32u32..128, scale in 0u32..=28, places in 0u32..=14) {
            let x = Decimal::from_i128_with_scale(mantissa >> cut, scale);
            let away = x.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
            prop_assert_eq!(parts(round(x, places)), parts(away));
            prop_assert_eq!(parts(round_half_even(x, places)), parts(x.round_dp(places)));
        }

        #[test]
        fn halves_round_as_the_library(whole in -10_000i64..10_000, places in 0u32..=6) {
            let half = Decimal::new(whole * 10 + if whole < 0 { -5 } else { 5 }, places + 1);
            let away = half.round_dp_with_strategy(places, RoundingStrategy::MidpointAwayFromZero);
            prop_assert_eq!(parts(round(half, places)), parts(away));
            prop_assert_eq!(parts(round_half_even(half, places)), parts(half.round_dp(places)));
        }

        #[test]
        fn floats_become_the_librarys_decimals(x in prop_oneof![any::<f64>(), -20f64..20.0, -1e7f64..1e7]) {
            for x in [x, x.abs().ln(), x.abs().log10(), x.abs().sqrt()] {
                prop_assert_eq!(retained(x).map(parts), Decimal::from_f64_retain(x).map(parts));
                prop_assert_eq!(shortest(x).map(parts), Decimal::from_f64(x).map(parts));
            }
        }

        #[test]
        fn decimals_become_the_librarys_floats(mantissa in any::<i128>(), cut in 32u32..128, scale in 0u32..=28) {
            let x = Decimal::from_i128_with_scale(mantissa >> cut, scale);
            prop_assert_eq!(nearest(x).map(f64::to_bits), x.to_f64().map(f64::to_bits));
        }

        #[test]
        fn a_logarithm_that_is_known_is_the_same(mantissas in prop::collection::vec(1i64..100_000, 1..30)) {
            let logarithms = Logarithms::new();
            for mantissa in mantissas.iter().chain(&mantissas) {
                let x = Decimal::new(*mantissa, 2);
                let float = x.to_f64().and_then(|x| Decimal::from_f64_retain(x.ln()));
                prop_assert_eq!(logarithms.ln(x).map(parts), float.map(parts));
            }
        }
    }
}
