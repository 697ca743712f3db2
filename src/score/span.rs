//! What a formula sees of an input: the two ends of its range, after the score's own clamps.
//!
//! Everything is decimal but the logarithm, so that a tie at a rounding step is a tie and not the last
//! bit of a float. Arithmetic here is checked: an absurd number gives `None`, never a panic.

use super::number::{Logarithms, log10, root, round_half_even};
use crate::clinical::interval::{Bound, Interval};
use crate::clinical::number::{equal, order};
use rust_decimal::Decimal;
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
        let clamp = |x: Decimal| match (order(x, floor), order(x, cap)) {
            (Ordering::Less, _) => floor,
            (_, Ordering::Greater) => cap,
            _ => x,
        };
        if let Some(x) = input.exact() {
            return Span::exactly(clamp(x));
        }
        Span { low: input.low.value().map_or(floor, clamp), high: input.high.value().map_or(cap, clamp) }
    }

    /// An input that the score clamps from below only; `None` where it has no upper end.
    pub fn floored(input: Option<Interval>, floor: Decimal) -> Option<Span> {
        let input = possible(input)?;
        if let Some(x) = input.exact() {
            return Some(Span::exactly(greatest(x, floor)));
        }
        Some(Span {
            low: input.low.value().map_or(floor, |x| greatest(x, floor)),
            high: greatest(input.high.value()?, floor),
        })
    }

    /// An input that the score does not clamp, and takes the logarithm of or divides by; `None` where
    /// an end is open or the range reaches down to zero.
    pub fn positive(input: Option<Interval>) -> Option<Span> {
        Self::not_negative(input).filter(|span| !span.low.is_zero())
    }

    /// An input that the score does not clamp; `None` where an end is open.
    pub fn not_negative(input: Option<Interval>) -> Option<Span> {
        let input = possible(input)?;
        let span = Span { low: input.low.value()?, high: input.high.value()? };
        (!is_negative(span.low)).then_some(span)
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
        self.rising(log10)
    }

    pub fn sqrt(self) -> Option<Span> {
        self.rising(root)
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
        Bound::Including(high) => !is_negative(high),
        Bound::Excluding(high) => !is_negative(high) && !high.is_zero(),
    })
}

/// A zero is not negative, whatever its sign.
fn is_negative(x: Decimal) -> bool {
    x.mantissa() < 0
}

fn greatest(x: Decimal, y: Decimal) -> Decimal {
    if order(x, y) == Ordering::Greater { x } else { y }
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

/// The float nearest to a decimal: `3.89` is written as 3.89 and not as its neighbour.
pub(crate) fn float(x: Decimal) -> f64 {
    const EXACT: i128 = 1 << 53;
    let x = x.normalize();
    let (mantissa, scale) = (x.mantissa(), x.scale());
    if mantissa.abs() <= EXACT && scale <= 22 {
        // Both are exact floats (10^22 is the last exact power of ten) and a division rounds once.
        mantissa as f64 / 10f64.powi(scale as i32)
    } else {
        x.to_string().parse().unwrap_or(f64::NAN)
    }
}
