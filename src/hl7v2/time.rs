//! HL7 v2 dates and times (DTM, and TS before v2.6) as FHIR writes them.
//!
//! The precision is the sender's: a month stays a month. FHIR has no hour without minutes, so an
//! hour or a minute is filled with zeros, as FHIR lets seconds be.

use chrono::NaiveDate;

/// An offset from UTC, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(i16);

impl Zone {
    /// `+08:00` or `+0800`; at most 14 hours.
    pub fn parse(text: &str) -> Option<Zone> {
        let (sign, rest) = match text.as_bytes().first()? {
            b'+' => (1, &text[1..]),
            b'-' => (-1, &text[1..]),
            _ => return None,
        };
        let digits = match rest.split_once(':') {
            Some((hours, minutes)) if hours.len() == 2 => format!("{hours}{minutes}"),
            Some(_) => return None,
            None => rest.to_owned(),
        };
        if digits.len() != 4 {
            return None;
        }
        let (hours, minutes) = (number(&digits, 0, 2)?, number(&digits, 2, 2)?);
        let total = hours * 60 + minutes;
        (minutes < 60 && total <= 14 * 60).then_some(Zone(sign * total as i16))
    }
}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// Why a text is no date or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("not an HL7 date or time")]
    Malformed,
    #[error("a time of day without a time zone; set hl7v2.time_zone in the site file")]
    NoTimeZone,
    #[error("not precise to the minute")]
    Imprecise,
}

/// A FHIR `date` or `dateTime` of the same precision. A time of day without a zone takes `zone`.
///
/// # Source
/// HL7 v2.8 chapter 2A, DTM: `YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]`; FHIR R4 datatypes,
/// dateTime: "If hours and minutes are specified, a time zone SHALL be populated".
pub fn date_time(text: &str, zone: Option<Zone>) -> Result<String, TimeError> {
    let parts = Parts::read(text)?;
    match parts.time {
        None => Ok(parts.date),
        Some(time) => {
            let zone = parts.zone.or(zone).ok_or(TimeError::NoTimeZone)?;
            Ok(format!("{}T{time}{zone}", parts.date))
        }
    }
}

/// As [`date_time`]; a time of day that no zone can be given keeps its day only. What is known is less
/// then, and nothing is guessed.
pub fn as_precise_as_known(text: &str, zone: Option<Zone>) -> Result<String, TimeError> {
    match date_time(text, zone) {
        Err(TimeError::NoTimeZone) => date(text),
        other => other,
    }
}

/// The day, month or year alone, whatever else is given: a birth date has no time zone.
pub fn date(text: &str) -> Result<String, TimeError> {
    Parts::read(text).map(|parts| parts.date)
}

/// A FHIR `instant`: at least to the minute.
pub fn instant(text: &str, zone: Option<Zone>) -> Result<String, TimeError> {
    if Parts::read(text)?.digits < 12 {
        return Err(TimeError::Imprecise);
    }
    date_time(text, zone)
}

struct Parts {
    /// How many digits were given before a fraction.
    digits: usize,
    date: String,
    time: Option<String>,
    zone: Option<Zone>,
}

impl Parts {
    fn read(text: &str) -> Result<Parts, TimeError> {
        Parts::of(text.trim()).ok_or(TimeError::Malformed)
    }

    fn of(text: &str) -> Option<Parts> {
        let (main, zone) = match text.find(['+', '-']) {
            // The type writes its zone without a colon.
            Some(at) if text.len() == at + 5 => (&text[..at], Some(Zone::parse(&text[at..])?)),
            Some(_) => return None,
            None => (text, None),
        };
        let (digits, fraction) = match main.split_once('.') {
            Some((digits, fraction)) => (digits, Some(fraction)),
            None => (main, None),
        };
        if let Some(f) = fraction
            && (digits.len() != 14 || !(1..=9).contains(&f.len()) || !f.bytes().all(|b| b.is_ascii_digit()))
        {
            return None;
        }
        if !matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14) {
            return None;
        }
        let part = |at: usize| if digits.len() > at { number(digits, at, 2).map(Some) } else { Some(None) };
        let year = number(digits, 0, 4).filter(|y| *y > 0)?;
        let (month, day) = (part(4)?, part(6)?);
        NaiveDate::from_ymd_opt(i32::from(year), month.unwrap_or(1).into(), day.unwrap_or(1).into())?;
        let date = match (month, day) {
            (None, _) => format!("{year:04}"),
            (Some(month), None) => format!("{year:04}-{month:02}"),
            (Some(month), Some(day)) => format!("{year:04}-{month:02}-{day:02}"),
        };
        let (hour, minute, second) = (part(8)?, part(10)?.unwrap_or(0), part(12)?.unwrap_or(0));
        if hour.is_some_and(|h| h > 23) || minute > 59 || second > 59 {
            return None;
        }
        let fraction = fraction.map(|f| format!(".{f}")).unwrap_or_default();
        let time = hour.map(|hour| format!("{hour:02}:{minute:02}:{second:02}{fraction}"));
        Some(Parts { digits: digits.len(), date, time, zone })
    }
}

fn number(text: &str, at: usize, count: usize) -> Option<u16> {
    let digits = text.as_bytes().get(at..at + count)?;
    digits.iter().try_fold(0u16, |n, b| b.is_ascii_digit().then(|| n * 10 + u16::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinical::time::When;

    #[test]
    fn times_keep_their_precision() {
        use TimeError::{Malformed, NoTimeZone};
        let zone = Zone::parse("+08:00");
        // text, with the site's zone, without one
        for (text, with, without) in [
            ("2026", Ok("2026"), Ok("2026")),
            ("202611", Ok("2026-11"), Ok("2026-11")),
            ("20261122", Ok("2026-11-22"), Ok("2026-11-22")),
            ("20261122+0800", Ok("2026-11-22"), Ok("2026-11-22")),
            ("2026112210", Ok("2026-11-22T10:00:00+08:00"), Err(NoTimeZone)),
            ("202611221015", Ok("2026-11-22T10:15:00+08:00"), Err(NoTimeZone)),
            ("20261122101559", Ok("2026-11-22T10:15:59+08:00"), Err(NoTimeZone)),
            ("20261122101559.1234", Ok("2026-11-22T10:15:59.1234+08:00"), Err(NoTimeZone)),
            ("20261122101559+0100", Ok("2026-11-22T10:15:59+01:00"), Ok("2026-11-22T10:15:59+01:00")),
            ("20261122101559.5-0330", Ok("2026-11-22T10:15:59.5-03:30"), Ok("2026-11-22T10:15:59.5-03:30")),
            ("202611221015-0000", Ok("2026-11-22T10:15:00+00:00"), Ok("2026-11-22T10:15:00+00:00")),
            ("20240229", Ok("2024-02-29"), Ok("2024-02-29")),
            ("20230229", Err(Malformed), Err(Malformed)),
            ("20261300", Err(Malformed), Err(Malformed)),
            ("202600", Err(Malformed), Err(Malformed)),
            ("0000", Err(Malformed), Err(Malformed)),
            ("00000000", Err(Malformed), Err(Malformed)),
            ("2026112224", Err(Malformed), Err(Malformed)),
            ("202611221060", Err(Malformed), Err(Malformed)),
            ("20261122101560", Err(Malformed), Err(Malformed)),
            ("2026112210155", Err(Malformed), Err(Malformed)),
            ("202611221015.5", Err(Malformed), Err(Malformed)),
            ("20261122101559.", Err(Malformed), Err(Malformed)),
            ("20261122101559+1500", Err(Malformed), Err(Malformed)),
            ("20261122101559+08:00", Err(Malformed), Err(Malformed)),
            ("20261122101559+08", Err(Malformed), Err(Malformed)),
            ("2026-11-22", Err(Malformed), Err(Malformed)),
            ("2026-11-22 10:15:59", Err(Malformed), Err(Malformed)),
            ("20261122101559Z", Err(Malformed), Err(Malformed)),
            ("", Err(Malformed), Err(Malformed)),
            ("+0800", Err(Malformed), Err(Malformed)),
            ("二〇二六", Err(Malformed), Err(Malformed)),
            ("202\u{e9}1122", Err(Malformed), Err(Malformed)),
        ] {
            assert_eq!(date_time(text, zone).as_deref(), with.as_deref(), "{text} with a zone");
            assert_eq!(date_time(text, None).as_deref(), without.as_deref(), "{text} without");
            if let Ok(fhir) = with {
                assert!(When::parse(fhir).is_ok(), "{fhir} is a FHIR date");
            }
        }
    }

    #[test]
    fn birth_dates_and_instants() {
        assert_eq!(date("19580214101500").as_deref(), Ok("1958-02-14"));
        assert_eq!(date("1958").as_deref(), Ok("1958"));
        assert_eq!(date("19581314"), Err(TimeError::Malformed));
        let zone = Zone::parse("+0800");
        assert_eq!(instant("202611221015", zone).as_deref(), Ok("2026-11-22T10:15:00+08:00"));
        assert_eq!(instant("2026112210", zone), Err(TimeError::Imprecise));
        assert_eq!(instant("20261122", zone), Err(TimeError::Imprecise));
        assert_eq!(instant("202611221015", None), Err(TimeError::NoTimeZone));
    }

    #[test]
    fn zones() {
        for (text, expected) in [
            ("+08:00", Some("+08:00")),
            ("+0800", Some("+08:00")),
            ("-03:30", Some("-03:30")),
            ("-0000", Some("+00:00")),
            ("+14:00", Some("+14:00")),
            ("+14:01", None),
            ("+08:60", None),
            ("08:00", None),
            ("+8:00", None),
            ("+080:0", None),
            ("Z", None),
            ("Asia/Shanghai", None),
            ("+0\u{e9}0", None),
            ("", None),
        ] {
            assert_eq!(Zone::parse(text).map(|z| z.to_string()).as_deref(), expected, "{text}");
        }
    }
}
