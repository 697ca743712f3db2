//! Numbers, dates and units: the words in which everything else is said.

use chrono::{DateTime, NaiveDate};
use rust_decimal::Decimal;
use std::cmp::Ordering;
use trialbridge::clinical::interval::{Bound, Interval};
use trialbridge::clinical::number::{self, NumberError};
use trialbridge::clinical::time::{When, completed_years, days_before};
use trialbridge::clinical::unit;

/// A decimal as `±0.digits · 10^exponent`, without a zero at either end: the long way round, with no
/// arithmetic that could round.
#[derive(Debug, PartialEq, Eq)]
struct Plain {
    negative: bool,
    digits: String,
    exponent: i128,
}

impl Plain {
    fn of(text: &str) -> Plain {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let leading = digits.len() - digits.trim_start_matches('0').len();
        let digits = digits.trim_matches('0').to_owned();
        if digits.is_empty() {
            return Plain { negative: false, digits, exponent: 0 };
        }
        let (sign, magnitude) = match power.strip_prefix('-') {
            Some(magnitude) => (-1, magnitude),
            None => (1, power.trim_start_matches('+')),
        };
        let power = sign * magnitude.parse::<i128>().unwrap_or(1 << 100);
        Plain { negative, digits, exponent: whole.len() as i128 - leading as i128 + power }
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    fn compare(&self, other: &Plain) -> Ordering {
        let sign = |p: &Plain| if p.is_zero() { 0 } else { 1 - 2 * i32::from(p.negative) };
        let magnitude = |a: &Plain, b: &Plain| a.exponent.cmp(&b.exponent).then(a.digits.cmp(&b.digits));
        match sign(self).cmp(&sign(other)) {
            Ordering::Equal if self.is_zero() => Ordering::Equal,
            Ordering::Equal if self.negative => magnitude(other, self),
            Ordering::Equal => magnitude(self, other),
            decided => decided,
        }
    }
}

/// Panics where a range is empty: a rule would be true and false of it at once.
pub fn holds_something(range: &Interval, of: &str) {
    let (Some(low), Some(high)) = (range.low.value(), range.high.value()) else { return };
    let closed = matches!((range.low, range.high), (Bound::Including(_), Bound::Including(_)));
    assert!(low < high || (low == high && closed), "an empty range {range:?} of {of:?}");
}

/// FHIR decimals: taken exactly where JSON has a number, digit for digit; a range that surely holds the
/// number where it has too many digits; refused otherwise, for the right reason.
pub fn number(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = number::parse(text);
    let is_json = text.bytes().next().is_some_and(|b| b == b'-' || b.is_ascii_digit())
        && !text.ends_with(|c: char| c.is_ascii_whitespace())
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    assert_eq!(is_json, parsed != Err(NumberError::NotANumber), "{text:?} gives {parsed:?}");
    if !is_json {
        return;
    }
    let written = Plain::of(text);
    let plain = |d: Decimal| Plain::of(&d.to_string());
    match parsed {
        Ok(range) => {
            holds_something(&range, text);
            match range.exact() {
                Some(exact) => assert_eq!(plain(exact), written, "{text:?}"),
                None => {
                    let (low, high) = (range.low.value(), range.high.value());
                    let (low, high) = (low.expect("a low end"), high.expect("a high end"));
                    assert_eq!(plain(low).compare(&written), Ordering::Less, "{text:?} in {range:?}");
                    assert_eq!(plain(high).compare(&written), Ordering::Greater, "{text:?} in {range:?}");
                }
            }
        }
        Err(NumberError::TooLarge) => assert!(written.exponent > 28, "{text:?} is not large"),
        Err(NumberError::Underflow) => {
            assert!(!written.is_zero() && written.exponent <= -27, "{text:?} is not small");
        }
        Err(NumberError::NotANumber) => unreachable!("compared above"),
    }
}

/// Dates and periods: spans that are in order, the text kept, and what is said of windows and order
/// free of contradiction. Two texts, by line, are also a period.
pub fn when(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let (one, two) = (When::parse(first), When::parse(second));
    for (text, when) in [(first, &one), (second, &two)] {
        let Ok(when) = when else { continue };
        assert_eq!(&*when.text, text);
        assert_eq!(When::parse(&when.text).as_ref(), Ok(when));
        in_order(when);
        // An independent reader of full timestamps. It wants seconds, and knows no 14:00 or leap second
        // limits of FHIR; where both read it they agree.
        if when.timed
            && let Ok(other) = DateTime::parse_from_rfc3339(text)
            && other.timestamp_subsec_nanos() < 1_000_000_000
        {
            assert_eq!(when.earliest, other.timestamp(), "{text:?}");
            assert_eq!(when.first, other.date_naive(), "{text:?}");
        }
    }
    let start = (!first.is_empty()).then_some(first);
    let end = (!second.is_empty()).then_some(second);
    if let Ok(period) = When::period(start, end) {
        in_order(&period);
    }
    if let (Ok(one), Ok(two)) = (&one, &two) {
        assert!(!(one.is_after(two) && two.is_after(one)), "{first:?} and {second:?}: each after the other");
        let (from, to) = (one.first.min(two.first), one.last.max(two.last));
        assert_eq!(one.within(from, to), Some(true));
        assert_eq!(one.reaches(from, to), Some(true));
        if let Some((young, old)) = completed_years(one, two.last) {
            assert!(young <= old);
        }
    }
}

fn in_order(when: &When) {
    assert!(when.first <= when.last, "{when:?}");
    assert!(when.earliest <= when.latest, "{when:?}");
    for days in [0, 1, 365, u32::MAX] {
        let from = days_before(when.first, days);
        // What lies in a window also reaches into it; what does not reach it does not lie in it.
        match (when.within(from, when.last), when.reaches(from, when.last)) {
            (Some(true), Some(false)) | (Some(false), Some(true)) => panic!("{when:?} from {from}"),
            _ => {}
        }
    }
    assert_eq!(when.within(NaiveDate::MIN, NaiveDate::MAX), Some(true));
}

/// Units: any text is a unit or none, and the way back undoes the way there. Two units, by line.
pub fn unit(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (from, to) = text.split_once('\n').unwrap_or((text, "mg/dL"));
    let there = unit::factor(from, to);
    assert_eq!(there, unit::factor(from, to), "{text:?}");
    let Ok(there) = there else { return };
    assert!(unit::is_ucum(from) && unit::is_ucum(to), "{text:?}");
    assert!(there.numerator > Decimal::ZERO && there.denominator > Decimal::ZERO, "{text:?}: {there:?}");
    let one = Interval::exactly(Decimal::ONE);
    let half_way = there.apply(&one);
    // A decimal has 28 places: of what is smaller than this too few digits are left.
    let is_fine = half_way.as_ref().and_then(Interval::exact).is_some_and(|v| v > Decimal::new(1, 12));
    if let Ok(back) = unit::factor(to, from)
        && is_fine
        && let Some(value) = half_way.and_then(|v| back.apply(&v)).and_then(|v| v.exact())
        // Beyond ten powers of ten either way a decimal has too few digits left to compare.
        && [&there, &back].iter().all(|f| f.numerator.scale() <= 10 && f.denominator.scale() <= 10)
    {
        let off = (value - Decimal::ONE).abs();
        assert!(off < Decimal::new(1, 9), "{text:?}: there and back is {value}");
    }
}
