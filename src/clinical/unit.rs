//! Units of measure, through UCUM. Only linear factors between proper units are used, and only
//! between pairs that a trial definition lists: commensurability alone proves nothing (the mole is
//! a number in UCUM, so `mmol/L` "converts" to `10*9/L`).

use super::interval::Interval;
use rust_decimal::Decimal;
use std::str::FromStr;

/// `value_in_target = value * numerator / denominator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    pub numerator: Decimal,
    pub denominator: Decimal,
}

impl Factor {
    pub const ONE: Factor = Factor { numerator: Decimal::ONE, denominator: Decimal::ONE };

    pub fn apply(&self, value: &Interval) -> Option<Interval> {
        if *self == Factor::ONE {
            return Some(*value);
        }
        value.scaled(self.numerator, self.denominator)
    }

    /// First this factor, then `next`.
    pub fn then(&self, next: &Factor) -> Option<Factor> {
        Some(Factor {
            numerator: self.numerator.checked_mul(next.numerator)?,
            denominator: self.denominator.checked_mul(next.denominator)?,
        })
    }
}

/// Why two units have no factor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("`{0}` is not UCUM")]
    NotUcum(String),
    #[error("`{from}` does not convert to `{to}`")]
    Incommensurable { from: String, to: String },
}

/// Is this a valid UCUM expression?
pub fn is_ucum(unit: &str) -> bool {
    octofhir_ucum::validate(unit).is_ok()
}

/// The exact factor between two UCUM units.
pub fn factor(from: &str, to: &str) -> Result<Factor, UnitError> {
    for unit in [from, to] {
        if !is_ucum(unit) {
            return Err(UnitError::NotUcum(unit.to_owned()));
        }
    }
    let incommensurable = || UnitError::Incommensurable { from: from.to_owned(), to: to.to_owned() };
    let forward = linear(from, to).ok_or_else(incommensurable)?;
    if forward.scale() <= 12 {
        return Ok(Factor { numerator: forward, denominator: Decimal::ONE });
    }
    // A factor such as 1/60 has no end as a decimal; its inverse may.
    let backward = linear(to, from).ok_or_else(incommensurable)?;
    Ok(Factor { numerator: Decimal::ONE, denominator: backward })
}

fn linear(from: &str, to: &str) -> Option<Decimal> {
    let result = octofhir_ucum::convert_with_context(1.0, from, to, &Default::default()).ok()?;
    if result.used_special_units {
        return None;
    }
    let text = result.factor?.to_string();
    let factor = Decimal::from_str(&text).or_else(|_| Decimal::from_scientific(&text)).ok()?;
    // The library computes with 28 digits; the last few carry the rounding of steps such as 1/60.
    (factor > Decimal::ZERO).then(|| factor.round_sf(22).unwrap_or(factor).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_exact() {
        for (value, from, to, expected) in [
            ("3.5", "g/dL", "g/L", "35"),
            ("28", "g/L", "g/dL", "2.8"),
            ("150", "10*3/uL", "10*9/L", "150"),
            ("150000", "/uL", "10*9/L", "150"),
            ("1", "ukat/L", "U/L", "60"),
            ("60", "U/L", "ukat/L", "1"),
            ("100", "nkat/L", "U/L", "6"),
            ("1.2", "{INR}", "1", "1.2"),
            ("150", "[lb_av]", "kg", "68.0388555"),
        ] {
            let value: Decimal = value.parse().expect("a decimal");
            let expected: Decimal = expected.parse().expect("a decimal");
            let factor = factor(from, to).expect("commensurable");
            assert_eq!(
                factor.apply(&Interval::exactly(value)).and_then(|i| i.exact()),
                Some(expected),
                "{value} {from} in {to}"
            );
        }
        assert!(matches!(factor("mg/dL", "umol/L"), Err(UnitError::Incommensurable { .. })));
        assert!(matches!(factor("IU/L", "U/L"), Err(UnitError::NotUcum(_))));
        assert!(matches!(factor("[iU]/L", "U/L"), Err(UnitError::Incommensurable { .. })));
    }
}
