//! A range of decimals. `<0.3`, a missing score input with known bounds and a plain `2.0` are all
//! ranges, so that every rule can be carried over what is known without guessing the rest.

use super::number;
use rust_decimal::Decimal;
use std::cmp::Ordering;
use std::fmt;

/// One end of an [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Nothing is known about this end.
    Unbounded,
    /// The end itself is a possible value.
    Including(Decimal),
    /// Values come as near as one likes to the end but never reach it.
    Excluding(Decimal),
}

impl Bound {
    /// The decimal at this end, if there is one.
    pub fn value(self) -> Option<Decimal> {
        match self {
            Bound::Unbounded => None,
            Bound::Including(x) | Bound::Excluding(x) => Some(x),
        }
    }

    fn map(self, f: impl Fn(Decimal) -> Option<Decimal>) -> Option<Bound> {
        Some(match self {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Including(x) => Bound::Including(f(x)?),
            Bound::Excluding(x) => Bound::Excluding(f(x)?),
        })
    }
}

/// All decimals between two ends. Whoever builds one from two ends sees to it that it [holds](Self::is_empty)
/// something: of an empty range every rule would be true and false at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub low: Bound,
    pub high: Bound,
}

impl Interval {
    pub const ANY: Interval = Interval { low: Bound::Unbounded, high: Bound::Unbounded };

    pub const fn exactly(x: Decimal) -> Self {
        Interval { low: Bound::Including(x), high: Bound::Including(x) }
    }
    pub const fn between(low: Decimal, high: Decimal) -> Self {
        Interval { low: Bound::Including(low), high: Bound::Including(high) }
    }
    /// FHIR comparator `<`.
    pub const fn below(x: Decimal) -> Self {
        Interval { low: Bound::Unbounded, high: Bound::Excluding(x) }
    }
    /// FHIR comparator `<=`.
    pub const fn at_most(x: Decimal) -> Self {
        Interval { low: Bound::Unbounded, high: Bound::Including(x) }
    }
    /// FHIR comparator `>`.
    pub const fn above(x: Decimal) -> Self {
        Interval { low: Bound::Excluding(x), high: Bound::Unbounded }
    }
    /// FHIR comparator `>=`.
    pub const fn at_least(x: Decimal) -> Self {
        Interval { low: Bound::Including(x), high: Bound::Unbounded }
    }

    /// The single value of this range, if it has only one.
    pub fn exact(&self) -> Option<Decimal> {
        match (self.low, self.high) {
            (Bound::Including(a), Bound::Including(b)) if number::equal(a, b) => Some(a),
            _ => None,
        }
    }

    /// Appends the range: `3`, `<0.3`, `[1, 2)`.
    pub fn push_to(&self, text: &mut String) {
        if let Some(x) = self.exact() {
            return number::push(text, x);
        }
        let (sign, end) = match (self.low, self.high) {
            (Bound::Unbounded, Bound::Unbounded) => return text.push_str("any"),
            (Bound::Unbounded, Bound::Including(h)) => ("<=", h),
            (Bound::Unbounded, Bound::Excluding(h)) => ("<", h),
            (Bound::Including(l), Bound::Unbounded) => (">=", l),
            (Bound::Excluding(l), Bound::Unbounded) => (">", l),
            (Bound::Including(l), _) => ("[", l),
            (Bound::Excluding(l), _) => ("(", l),
        };
        text.push_str(sign);
        number::push(text, end);
        if let (Some(_), Some(high)) = (self.low.value(), self.high.value()) {
            text.push_str(", ");
            number::push(text, high);
            text.push(if matches!(self.high, Bound::Excluding(_)) { ')' } else { ']' });
        }
    }

    /// Is there no decimal between the ends? Two ends that were measured apart can be in the wrong order.
    pub fn is_empty(&self) -> bool {
        let (Some(low), Some(high)) = (self.low.value(), self.high.value()) else { return false };
        let closed = matches!((self.low, self.high), (Bound::Including(_), Bound::Including(_)));
        low > high || (low == high && !closed)
    }

    /// A quantity that cannot be negative: an open lower end becomes zero.
    pub fn non_negative(self) -> Self {
        match self.low {
            Bound::Unbounded => Interval { low: Bound::Including(Decimal::ZERO), ..self },
            _ => self,
        }
    }

    /// Multiplies by `numerator / denominator`, both positive; `None` where a decimal overflows or has too
    /// few digits to keep the two ends apart.
    pub fn scaled(&self, numerator: Decimal, denominator: Decimal) -> Option<Self> {
        let f = |x: Decimal| x.checked_mul(numerator)?.checked_div(denominator);
        Some(Interval { low: self.low.map(f)?, high: self.high.map(f)? }).filter(|scaled| !scaled.is_empty())
    }

    /// The smallest range that holds this one and `other`.
    pub fn hull(&self, other: &Interval) -> Interval {
        let low = match (self.low, other.low) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => Bound::Unbounded,
            (a, b) => match a.value().cmp(&b.value()) {
                std::cmp::Ordering::Less => a,
                std::cmp::Ordering::Greater => b,
                std::cmp::Ordering::Equal if matches!(a, Bound::Including(_)) => a,
                std::cmp::Ordering::Equal => b,
            },
        };
        let high = match (self.high, other.high) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => Bound::Unbounded,
            (a, b) => match a.value().cmp(&b.value()) {
                std::cmp::Ordering::Greater => a,
                std::cmp::Ordering::Less => b,
                std::cmp::Ordering::Equal if matches!(a, Bound::Including(_)) => a,
                std::cmp::Ordering::Equal => b,
            },
        };
        Interval { low, high }
    }

    /// Is every value `< x` (`Some(true)`), is none (`Some(false)`), or are there both (`None`)?
    pub fn is_below(&self, x: Decimal) -> Option<bool> {
        let all = match self.high {
            Bound::Unbounded => false,
            Bound::Including(h) => number::order(h, x) == Ordering::Less,
            Bound::Excluding(h) => number::order(h, x) != Ordering::Greater,
        };
        let none = match self.low {
            Bound::Unbounded => false,
            Bound::Including(l) | Bound::Excluding(l) => number::order(l, x) != Ordering::Less,
        };
        decided(all, none)
    }

    /// Is every value `> x` (`Some(true)`), is none (`Some(false)`), or are there both (`None`)?
    pub fn is_above(&self, x: Decimal) -> Option<bool> {
        let all = match self.low {
            Bound::Unbounded => false,
            Bound::Including(l) => number::order(l, x) == Ordering::Greater,
            Bound::Excluding(l) => number::order(l, x) != Ordering::Less,
        };
        let none = match self.high {
            Bound::Unbounded => false,
            Bound::Including(h) | Bound::Excluding(h) => number::order(h, x) != Ordering::Greater,
        };
        decided(all, none)
    }

    /// `>= x` over the whole range.
    pub fn is_at_least(&self, x: Decimal) -> Option<bool> {
        self.is_below(x).map(|b| !b)
    }

    /// `<= x` over the whole range.
    pub fn is_at_most(&self, x: Decimal) -> Option<bool> {
        self.is_above(x).map(|b| !b)
    }
}

fn decided(all: bool, none: bool) -> Option<bool> {
    match (all, none) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(s: &str) -> Decimal {
        s.parse().expect("a decimal in a test")
    }

    #[test]
    fn comparisons_over_a_range() {
        // range, is_below(2), is_above(2), is_at_least(2), is_at_most(2)
        let table = [
            (Interval::exactly(d("1")), Some(true), Some(false), Some(false), Some(true)),
            (Interval::exactly(d("2")), Some(false), Some(false), Some(true), Some(true)),
            (Interval::exactly(d("3")), Some(false), Some(true), Some(true), Some(false)),
            (Interval::below(d("2")), Some(true), Some(false), Some(false), Some(true)),
            (Interval::at_most(d("2")), None, Some(false), None, Some(true)),
            (Interval::above(d("2")), Some(false), Some(true), Some(true), Some(false)),
            (Interval::at_least(d("2")), Some(false), None, Some(true), None),
            (Interval::between(d("1"), d("3")), None, None, None, None),
            (Interval::ANY, None, None, None, None),
        ];
        for (range, below, above, at_least, at_most) in table {
            let two = d("2");
            assert_eq!(range.is_below(two), below, "{range} < 2");
            assert_eq!(range.is_above(two), above, "{range} > 2");
            assert_eq!(range.is_at_least(two), at_least, "{range} >= 2");
            assert_eq!(range.is_at_most(two), at_most, "{range} <= 2");
        }
    }

    #[test]
    fn ranges_in_words() {
        let half_open = Interval { low: Bound::Including(d("1.0")), high: Bound::Excluding(d("2.50")) };
        let open = Interval { low: Bound::Excluding(d("-1")), high: Bound::Including(d("0.30")) };
        for (range, words) in [
            (Interval::exactly(d("3.0")), "3"),
            (Interval::between(d("1"), d("3.10")), "[1, 3.1]"),
            (half_open, "[1, 2.5)"),
            (open, "(-1, 0.3]"),
            (Interval::below(d("0.30")), "<0.3"),
            (Interval::at_most(d("100")), "<=100"),
            (Interval::above(d("1200")), ">1200"),
            (Interval::at_least(d("0.0")), ">=0"),
            (Interval::ANY, "any"),
        ] {
            assert_eq!(range.to_string(), words);
        }
    }

    #[test]
    fn no_range_is_empty() {
        for (range, empty) in [
            (Interval::between(d("3"), d("5")), false),
            (Interval::between(d("5"), d("3")), true),
            (Interval::exactly(d("3")), false),
            (Interval { low: Bound::Including(d("3")), high: Bound::Excluding(d("3")) }, true),
            (Interval { low: Bound::Excluding(d("3")), high: Bound::Including(d("3")) }, true),
            (Interval::below(d("0")).non_negative(), true),
            (Interval::ANY, false),
        ] {
            assert_eq!(range.is_empty(), empty, "{range}");
        }
        // Both ends round to the same decimal: nothing is left between them.
        let narrow = Interval {
            low: Bound::Excluding(d("3")),
            high: Bound::Excluding(d("3.0000000000000000000000000001")),
        };
        assert_eq!(narrow.scaled(d("1"), d("88.4")), None);
    }

    #[test]
    fn scaling_is_exact_at_the_cut_offs() {
        let bilirubin = Interval::exactly(d("34.2")).scaled(d("1"), d("17.1"));
        assert_eq!(bilirubin.and_then(|b| b.exact()), Some(d("2")));
    }
}
