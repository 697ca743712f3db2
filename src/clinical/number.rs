//! Decimals as FHIR writes them, without losing or inventing a digit.
//!
//! A decimal with more digits than fit becomes the narrow range that surely holds it, so that no
//! cut-off is decided by a rounding of ours.

use super::interval::{Bound, Interval};
use rust_decimal::Decimal;
use std::cmp::Ordering;

/// Why a text is not a usable decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("not a decimal number")]
    NotANumber,
    #[error("too large to be a measurement")]
    TooLarge,
    #[error("too small to be told from zero")]
    Underflow,
}

/// Digits that a [`Decimal`] surely holds.
const DIGITS: usize = 28;

/// Reads a JSON number (`-?digits[.digits][e±digits]`, no leading zeros, no plus sign).
pub fn parse(text: &str) -> Result<Interval, NumberError> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
        None => (rest, 0i64),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((w, f)) if !f.is_empty() => (w, f),
        Some(_) => return Err(NumberError::NotANumber),
        None => (mantissa, ""),
    };
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || (whole.len() > 1 && whole.starts_with('0')) {
        return Err(NumberError::NotANumber);
    }
    // value = digits * 10^-scale
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    let significant = digits.trim_start_matches('0');
    let mut scale = fraction.len() as i64 - exponent;
    if significant.is_empty() {
        return Ok(Interval::exactly(Decimal::ZERO));
    }
    let (kept, cut) = significant.split_at(significant.len().min(DIGITS));
    scale -= cut.len() as i64;
    if kept.len() as i64 - scale > DIGITS as i64 {
        return Err(NumberError::TooLarge);
    }
    let mut mantissa: i128 = kept.parse().map_err(|_| NumberError::NotANumber)?;
    let mut inexact = cut.bytes().any(|b| b != b'0');
    while scale > DIGITS as i64 {
        inexact |= mantissa % 10 != 0;
        mantissa /= 10;
        scale -= 1;
        if mantissa == 0 {
            return Err(NumberError::Underflow);
        }
    }
    while scale < 0 {
        mantissa = mantissa.checked_mul(10).ok_or(NumberError::TooLarge)?;
        scale += 1;
    }
    let at = |m: i128| -> Result<Decimal, NumberError> {
        let d = Decimal::try_from_i128_with_scale(m, scale as u32).map_err(|_| NumberError::TooLarge)?;
        Ok(if negative { -d } else { d })
    };
    let near = at(mantissa)?;
    if !inexact {
        return Ok(Interval::exactly(near));
    }
    let far = at(mantissa + 1)?;
    Ok(if negative {
        Interval { low: Bound::Excluding(far), high: Bound::Excluding(near) }
    } else {
        Interval { low: Bound::Excluding(near), high: Bound::Excluding(far) }
    })
}

fn exponent(text: &str) -> Result<i64, NumberError> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::NotANumber);
    }
    // An exponent of more than six digits is far outside any measurement either way.
    let magnitude = digits.trim_start_matches('0');
    Ok(sign * if magnitude.len() > 6 { 1_000_000 } else { magnitude.parse().unwrap_or(0) })
}

/// Are two decimals equal? Those that are written alike, as most are, are told without arithmetic.
pub fn equal(a: Decimal, b: Decimal) -> bool {
    (a.scale() == b.scale() && a.mantissa() == b.mantissa()) || a == b
}

/// Which of two decimals is greater? The short way for numbers of a size that is measured.
pub fn order(a: Decimal, b: Decimal) -> Ordering {
    let (x, y, places) = (a.mantissa(), b.mantissa(), i64::from(a.scale()) - i64::from(b.scale()));
    let small = |mantissa: i128| mantissa.unsigned_abs() < 1 << 64;
    // 64 bits by 10^18, which is below 2^60, fit.
    match places {
        0 => x.cmp(&y),
        1..=18 if small(y) => x.cmp(&(y * POWERS[places as usize])),
        -18..=-1 if small(x) => (x * POWERS[-places as usize]).cmp(&y),
        _ => a.cmp(&b),
    }
}

/// 10 to the power of 0 to 28: a decimal has no more places.
pub(crate) const POWERS: [i128; 29] = {
    let mut powers = [1; 29];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Appends a decimal: no exponent, no zeros at the end, no sign before a zero.
pub fn push(text: &mut String, x: Decimal) {
    let Ok(mut digits) = u64::try_from(x.mantissa().unsigned_abs()) else {
        text.push_str(&x.normalize().to_string());
        return;
    };
    if digits == 0 {
        text.push('0');
        return;
    }
    let mut scale = x.scale();
    while scale > 0 && digits.is_multiple_of(10) {
        digits /= 10;
        scale -= 1;
    }
    // From the last digit to the first; at most 20 digits or `0.` and 28, and a sign.
    let mut buffer = [0u8; 32];
    let (mut at, mut written) = (buffer.len(), 0);
    while digits > 0 || written <= scale {
        if written == scale && scale > 0 {
            at -= 1;
            buffer[at] = b'.';
        }
        at -= 1;
        buffer[at] = b'0' + (digits % 10) as u8;
        digits /= 10;
        written += 1;
    }
    if x.is_sign_negative() {
        text.push('-');
    }
    text.push_str(std::str::from_utf8(&buffer[at..]).expect("digits and a point"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_ordered_as_the_library_orders_them() {
        let mantissas = [0, 1, 3, 9, 10, 11, 30, 100, 2999, 1 << 62, 1 << 64, 1 << 80, (1 << 96) - 1];
        let all: Vec<Decimal> = mantissas
            .into_iter()
            .flat_map(|m: i128| [m, -m])
            .flat_map(|m| [0, 1, 2, 9, 17, 18, 19, 28].map(|scale| Decimal::from_i128_with_scale(m, scale)))
            .collect();
        for a in &all {
            for b in &all {
                assert_eq!(order(*a, *b), a.cmp(b), "{a} and {b}");
            }
        }
    }

    #[test]
    fn decimals_are_written_as_the_library_writes_them_normalized() {
        let mantissas = [
            0,
            1,
            7,
            10,
            97,
            100,
            1234,
            120_300,
            999_999_999_999_999_999,
            u64::MAX.into(),
            i128::from(u64::MAX) + 1,
            (1 << 96) - 1,
        ];
        for mantissa in mantissas {
            for scale in 0..=28 {
                for x in [mantissa, -mantissa].map(|m| Decimal::from_i128_with_scale(m, scale)) {
                    let mut text = String::new();
                    push(&mut text, x);
                    assert_eq!(text, x.normalize().to_string(), "{mantissa} with {scale} decimals");
                    assert!(equal(x, x.normalize()), "{x} is itself");
                }
            }
        }
        let mut text = String::new();
        push(&mut text, -Decimal::ZERO);
        assert_eq!(text, "0");
        let [one, ten, tenth] = [(1, 0), (10, 0), (10, 2)].map(|(m, s)| Decimal::from_i128_with_scale(m, s));
        assert!(!equal(one, ten) && !equal(ten, tenth) && !equal(one, -one));
    }

    #[test]
    fn numbers_as_they_are_written() {
        let exact = |text: &str, expected: &str| {
            let d: Decimal = expected.parse().expect("a decimal in a test");
            assert_eq!(parse(text), Ok(Interval::exactly(d)), "{text}");
        };
        exact("0", "0");
        exact("1.10", "1.10");
        exact("-1.2", "-1.2");
        exact("1e2", "100");
        exact("1.5E-3", "0.0015");
        exact("0.000", "0");
        exact("1234567890123456789012345678", "1234567890123456789012345678");
        for (text, error) in [
            ("1e400", NumberError::TooLarge),
            ("12345678901234567890123456789", NumberError::TooLarge),
            ("1e-400", NumberError::Underflow),
            ("1e99999999999999999999", NumberError::TooLarge),
            ("", NumberError::NotANumber),
            ("+1", NumberError::NotANumber),
            ("01", NumberError::NotANumber),
            (".5", NumberError::NotANumber),
            ("1.", NumberError::NotANumber),
            ("1e", NumberError::NotANumber),
            ("NaN", NumberError::NotANumber),
            ("0x10", NumberError::NotANumber),
            ("\"1.0\"", NumberError::NotANumber),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn too_many_digits_become_a_range_that_holds_the_number() {
        let three: Decimal = 3.into();
        let just_above = parse("3.00000000000000000000000000000001").expect("a number");
        assert_eq!(just_above.is_above(three), Some(true));
        let just_below = parse("2.99999999999999999999999999999999").expect("a number");
        assert_eq!(just_below.is_below(three), Some(true));
        assert!(just_below.exact().is_none());
    }
}
