//! What a formula sees of an input: the two ends of its range, after the score's own clamps.
//!
//! Everything is decimal but the logarithm, so that a tie at a rounding step is a tie and not the last
//! bit of a float. Arithmetic here is checked: an absurd number gives `None`, never a panic.

use crate::clinical::interval::{Bound, Interval};
use crate::clinical::number::equal;
use rust_decimal::Decimal;
use rust_decimal::prelude::{FromPrimitive, ToPrimitive};
use std::cell::{Cell, RefCell};
use std::cmp::Ordering;

/// A decimal literal, read when the program is compiled: `dec("-0.957")`.
pub(super) const fn dec(text: &str) -> Decimal {
    let text = text.as_bytes();
    let negative = text[0] == b'-';
    let (mut i, mut mantissa, mut scale, mut fraction) = (negative as usize, 0u32, 0, false);
    while i < text.len() {
        if text[i] == b'.' {
            fraction = true;
        } else {
            assert!(text[i].is_ascii_digit(), "a literal is a sign, digits and one point");
            mantissa = mantissa * 10 + (text[i] - b'0') as u32;
            scale += fraction as u32;
        }
        i += 1;
    }
    Decimal::from_parts(mantissa, 0, 0, negative, scale)
}

/// mg/dL of bilirubin to umol/L. Scores use 17.1, not the molar mass (17.104), so that the printed SI
/// cut-offs 34.2 and 51.3 umol/L are exactly 2.0 and 3.0 mg/dL.
pub(super) const BILIRUBIN_UMOL: Decimal = dec("17.1");
/// mg/dL of creatinine to umol/L.
pub(super) const CREATININE_UMOL: Decimal = dec("88.4");

/// A closed range. An end that the input never quite reaches counts as reached: a range may be a hair
/// too wide, never too narrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub low: Decimal,
    pub high: Decimal,
}

impl Span {
    pub const fn exactly(x: Decimal) -> Self {
        Span { low: x, high: x }
    }

    pub fn is_exact(self) -> bool {
        equal(self.low, self.high)
    }

    pub fn hull(self, other: Span) -> Span {
        Span { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// An input that the score clamps on both sides: when it is missing, all that the clamps allow.
    pub fn clamped(input: Option<Interval>, floor: Decimal, cap: Decimal) -> Span {
        let input = possible(input).unwrap_or(Interval::ANY);
        Span {
            low: input.low.value().map_or(floor, |x| x.clamp(floor, cap)),
            high: input.high.value().map_or(cap, |x| x.clamp(floor, cap)),
        }
    }

    /// An input that the score clamps from below only; `None` where it has no upper end.
    pub fn floored(input: Option<Interval>, floor: Decimal) -> Option<Span> {
        let input = possible(input)?;
        Some(Span {
            low: input.low.value().map_or(floor, |x| x.max(floor)),
            high: input.high.value()?.max(floor),
        })
    }

    /// An input that the score does not clamp, and takes the logarithm of or divides by; `None` where
    /// an end is open or the range reaches down to zero.
    pub fn positive(input: Option<Interval>) -> Option<Span> {
        Self::not_negative(input).filter(|span| span.low > Decimal::ZERO)
    }

    /// An input that the score does not clamp; `None` where an end is open.
    pub fn not_negative(input: Option<Interval>) -> Option<Span> {
        let input = possible(input)?;
        let span = Span { low: input.low.value()?, high: input.high.value()? };
        (span.low >= Decimal::ZERO).then_some(span)
    }

    /// Multiplies by a positive factor and drops what a conversion there and back leaves behind
    /// (34 umol/L / 17.1 * 17.1 is 34 again, not 33.99...99).
    pub fn scaled(self, factor: Decimal) -> Option<Span> {
        self.rising(|x| Some(round_half_even(x.checked_mul(factor)?, 9)))
    }

    pub fn ln(self, logarithms: &Logarithms) -> Option<Span> {
        self.rising(|x| logarithms.ln(x))
    }

    pub fn log10(self) -> Option<Span> {
        self.rising(|x| retained(nearest(x)?.log10()))
    }

    /// Square root. The shortest decimal of the float is taken, so that the root of 1.44 is 1.2.
    pub fn sqrt(self) -> Option<Span> {
        self.rising(|x| Decimal::from_f64(nearest(x)?.sqrt()))
    }

    fn rising(self, f: impl Fn(Decimal) -> Option<Decimal>) -> Option<Span> {
        let low = f(self.low)?;
        Some(Span { low, high: if self.is_exact() { low } else { f(self.high)? } })
    }

    /// `factor * x + shift` over the range; a negative factor turns it round.
    pub fn linear(self, factor: Decimal, shift: Decimal) -> Option<Span> {
        weighted(shift, &[(factor, self)])
    }

    /// The extremes of `f(x, y)` where `f` is linear in each argument alone: such a function is
    /// greatest and least at corners of the rectangle, for along any line parallel to a side it only
    /// rises or only falls.
    pub fn corners(x: Span, y: Span, f: impl Fn(Decimal, Decimal) -> Option<Decimal>) -> Option<Span> {
        let mut span = Span::exactly(f(x.low, y.low)?);
        for (exact, a, b) in [
            (y.is_exact(), x.low, y.high),
            (x.is_exact(), x.high, y.low),
            (x.is_exact() || y.is_exact(), x.high, y.high),
        ] {
            if !exact {
                span = span.hull(Span::exactly(f(a, b)?));
            }
        }
        Some(span)
    }
}

/// A measured quantity is never negative; a range that says so is no measurement.
pub(super) fn possible(input: Option<Interval>) -> Option<Interval> {
    input.filter(|x| match x.high {
        Bound::Unbounded => true,
        Bound::Including(high) => high >= Decimal::ZERO,
        Bound::Excluding(high) => high > Decimal::ZERO,
    })
}

/// Is there more than one value, or none, for this input?
pub(super) fn open(span: Option<Span>) -> bool {
    !span.is_some_and(Span::is_exact)
}

/// `constant + sum of coefficient * term`: monotone in every term, so the two extremes suffice.
pub(super) fn weighted(constant: Decimal, terms: &[(Decimal, Span)]) -> Option<Span> {
    let (mut low, mut high) = (constant, constant);
    // As long as nothing is open the two ends are one number, and one sum is enough.
    let mut exact = true;
    for &(coefficient, term) in terms {
        let a = coefficient.checked_mul(term.low)?;
        if exact && term.is_exact() {
            low = low.checked_add(a)?;
            continue;
        }
        if exact {
            (exact, high) = (false, low);
        }
        let b = if term.is_exact() { a } else { coefficient.checked_mul(term.high)? };
        low = low.checked_add(a.min(b))?;
        high = high.checked_add(a.max(b))?;
    }
    Some(Span { low, high: if exact { low } else { high } })
}

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

/// 10 to the power of 0 to 28: a decimal has no more places.
const POWERS: [u128; 29] = {
    let mut powers = [1; 29];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// The same for floats, as far as they are exact.
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
    let mut tens = exponent;
    for _ in exponent..0 {
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
    let unit = POWERS[(scale - places) as usize];
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
            for x in [x, x.abs().ln(), x.abs().log10()] {
                prop_assert_eq!(retained(x).map(parts), Decimal::from_f64_retain(x).map(parts));
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
