//! Decimals of a trial definition as whole numbers: a probability in ten-thousandths, a weight in
//! thousandths. What decides an arm is never a binary fraction that only looks like the one written.
//!
//! Reading refuses what it cannot hold exactly; it never rounds.

use serde::de::{Deserializer, Error as _, Visitor};
use std::{fmt, str::FromStr};

/// The text is not a decimal that is held exactly.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is not {what}: write a decimal from 0 to {most} with at most {places} places, for example {example}"
)]
pub struct NotExact {
    found: String,
    what: &'static str,
    most: u32,
    places: usize,
    example: &'static str,
}

/// Digits, and up to `places` more behind a point, as a whole number of 10^-places; nothing else, so
/// neither sign nor exponent nor white space.
fn read(text: &str, places: usize, most: u32) -> Option<u32> {
    let (whole, part) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || part.is_some_and(|part| !digits(part) || part.len() > places) {
        return None;
    }
    let unit = 10u32.checked_pow(u32::try_from(places).ok()?)?;
    let padded = format!("{:0<places$}", part.unwrap_or_default());
    let number = whole.parse::<u32>().ok()?.checked_mul(unit)?.checked_add(padded.parse().ok()?)?;
    (number <= most.checked_mul(unit)?).then_some(number)
}

/// The shortest decimal: no zero at the end, no point where nothing follows it.
fn write(f: &mut fmt::Formatter<'_>, number: u32, places: usize) -> fmt::Result {
    let digits = format!("{number:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    match part.trim_end_matches('0') {
        "" => f.write_str(whole),
        part => write!(f, "{whole}.{part}"),
    }
}

macro_rules! exact {
    ($(#[$doc:meta])* $name:ident, $unit:ident, $places:literal, $most:literal, $what:literal, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// Decimal places that are kept.
            pub const PLACES: usize = $places;
            /// 1 in units of the last place kept.
            pub const ONE: u32 = 10u32.pow($places);
            /// The greatest value that is accepted.
            pub const MOST: u32 = $most;

            /// `None` above [`Self::MOST`].
            pub fn from_units(units: u32) -> Option<Self> {
                (units <= Self::MOST * Self::ONE).then_some($name(units))
            }

            /// In units of the last place kept.
            pub fn $unit(self) -> u32 {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = NotExact;
            fn from_str(text: &str) -> Result<Self, NotExact> {
                read(text, Self::PLACES, Self::MOST).map($name).ok_or_else(|| NotExact {
                    found: text.to_owned(),
                    what: $what,
                    most: Self::MOST,
                    places: Self::PLACES,
                    example: $example,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(f, self.0, Self::PLACES)
            }
        }

        /// As text: a number would become a binary fraction.
        impl serde::Serialize for $name {
            /// The decimal as text: a number has more than one spelling.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            /// A decimal as text, or a number as TOML has it.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = deserializer.deserialize_any(AsText)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

exact! {
    /// A probability, in ten-thousandths.
    Probability, ten_thousandths, 4, 1, "a probability", "0.7 or 0.6667"
}
exact! {
    /// The weight of a minimization factor, in thousandths.
    Weight, thousandths, 3, 1000, "a weight", "1 or 0.5"
}

/// A number in the text in which it was written, or in the shortest that gives the same number: `0.7`
/// for the double nearest to 0.7.
struct AsText;

impl Visitor<'_> for AsText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal, for example 0.7")
    }
    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
    fn visit_f64<E>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
    fn visit_i64<E>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[test]
    fn decimals_are_read_exactly_or_refused() {
        // text, probability, weight
        let table = [
            ("0", Some(0), Some(0)),
            ("1", Some(10_000), Some(1_000)),
            ("1.0", Some(10_000), Some(1_000)),
            ("1.0000", Some(10_000), None),
            ("0.7", Some(7_000), Some(700)),
            ("00.70", Some(7_000), Some(700)),
            ("0.6667", Some(6_667), None),
            ("0.0001", Some(1), None),
            ("0.001", Some(10), Some(1)),
            ("0.66667", None, None),
            ("1.0001", None, None),
            ("1.001", None, Some(1_001)),
            ("2", None, Some(2_000)),
            ("1000", None, Some(1_000_000)),
            ("1000.001", None, None),
            ("1001", None, None),
            ("4294967295", None, None),
            ("4294968", None, None),
            ("99999999999", None, None),
            ("", None, None),
            (".5", None, None),
            ("5.", None, None),
            (".", None, None),
            ("0.5.1", None, None),
            ("-0.5", None, None),
            ("+0.5", None, None),
            ("0,5", None, None),
            (" 0.5", None, None),
            ("0.5 ", None, None),
            ("1e-1", None, None),
            ("NaN", None, None),
            ("٠.٥", None, None),
        ];
        for (text, probability, weight) in table {
            assert_eq!(text.parse().ok().map(Probability::ten_thousandths), probability, "{text}");
            assert_eq!(text.parse().ok().map(Weight::thousandths), weight, "{text}");
        }
        let error = "0.66667".parse::<Probability>().expect_err("five places");
        assert_eq!(
            error.to_string(),
            "`0.66667` is not a probability: write a decimal from 0 to 1 with at most 4 places, for example 0.7 \
             or 0.6667"
        );
    }

    #[test]
    fn what_is_written_is_the_shortest_that_reads_back() {
        for (units, text) in [(0, "0"), (1, "0.0001"), (7_000, "0.7"), (6_667, "0.6667"), (10_000, "1")] {
            let probability = Probability::from_units(units).expect("a probability");
            assert_eq!(probability.to_string(), text);
            assert_eq!(text.parse(), Ok(probability));
        }
        for (units, text) in [(0, "0"), (50, "0.05"), (1_500, "1.5"), (1_000_000, "1000")] {
            let weight = Weight::from_units(units).expect("a weight");
            assert_eq!(weight.to_string(), text);
            assert_eq!(text.parse(), Ok(weight));
        }
        assert_eq!(Probability::from_units(10_001), None);
        assert_eq!(Weight::from_units(1_000_001), None);
    }

    #[test]
    fn a_definition_may_write_a_number_or_a_text() {
        #[derive(Deserialize)]
        struct Definition {
            p: Probability,
        }
        let read = |text: &str| toml::from_str::<Definition>(text).ok().map(|d| d.p.ten_thousandths());
        // text, ten-thousandths
        let table = [
            ("p = 0.7", Some(7_000)),
            ("p = '0.7'", Some(7_000)),
            ("p = 0.6667", Some(6_667)),
            ("p = 1", Some(10_000)),
            ("p = 7e-1", Some(7_000)),
            ("p = 0.66666", None),
            ("p = -1", None),
            ("p = nan", None),
            ("p = inf", None),
            ("p = true", None),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text}");
        }
        let told = toml::from_str::<Definition>("p = true").err().expect("no number").to_string();
        assert!(told.contains("expected a decimal, for example 0.7"), "{told}");
        // In JSON, where numbers are kept as text in this binary, it is written and read as text.
        let weight: Weight = "0.5".parse().expect("a weight");
        let json = serde_json::to_string(&weight).expect("a text");
        assert_eq!(json, "\"0.5\"");
        assert_eq!(serde_json::from_str::<Weight>(&json).ok(), Some(weight));
    }
}
