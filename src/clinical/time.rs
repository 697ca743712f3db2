//! Dates as FHIR writes them: a year, a month, a day or an instant, each kept as the span of time
//! that it may mean. Windows are counted in calendar days as written at the source; order is
//! decided on the time line.

use chrono::{Datelike, Days, NaiveDate, NaiveTime};

/// A FHIR `date`, `dateTime` or `instant`, or the hull of a `Period`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// As received.
    pub text: Box<str>,
    /// The first calendar day (in the source's own offset) that it may mean.
    pub first: NaiveDate,
    /// The last calendar day that it may mean.
    pub last: NaiveDate,
    /// Seconds since 1970 UTC. A date without a time zone may have begun anywhere on earth.
    pub earliest: i64,
    pub latest: i64,
    /// By this day it has surely begun.
    pub begun: NaiveDate,
    /// Before this day it has surely not ended. With an open end: the first day of the start, since
    /// nothing later is known of it.
    pub ended: NaiveDate,
    /// Is its place on the time line known, and not only its days?
    pub timed: bool,
}

/// Why a text is not a FHIR date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    #[error("not a FHIR date or dateTime")]
    Malformed,
    /// R4 datatypes, dateTime: "If hours and minutes are specified, a time zone SHALL be populated".
    #[error("a time of day without a time zone")]
    NoTimeZone,
}

const HOUR: i64 = 3600;
/// The easternmost and westernmost offsets in use.
const EAST: i64 = 14 * HOUR;
const WEST: i64 = 12 * HOUR;

impl When {
    pub fn parse(text: &str) -> Result<When, DateError> {
        let b = text.as_bytes();
        let year = digits(b, 0, 4)?;
        if b.len() == 4 {
            return span(text, day(year, 1, 1)?, day(year, 12, 31)?);
        }
        let month = separated(b, 4, b'-')?;
        if b.len() == 7 {
            let first = day(year, month, 1)?;
            let next = if month == 12 { day(year + 1, 1, 1)? } else { day(year, month + 1, 1)? };
            return span(text, first, next.pred_opt().ok_or(DateError::Malformed)?);
        }
        let date = day(year, month, separated(b, 7, b'-')?)?;
        if b.len() == 10 {
            return span(text, date, date);
        }
        if b[10] != b'T' {
            return Err(DateError::Malformed);
        }
        let hour = digits(b, 11, 2)?;
        let minute = separated(b, 13, b':')?;
        let (second, mut at, resolution) =
            if b.get(16) == Some(&b':') { (digits(b, 17, 2)?, 19, 0) } else { (0, 16, 59) };
        if b.get(at) == Some(&b'.') && resolution == 0 {
            let start = at + 1;
            at = start + b[start..].iter().take_while(|c| c.is_ascii_digit()).count();
            if at == start {
                return Err(DateError::Malformed);
            }
        }
        let offset = match b.get(at) {
            None => return Err(DateError::NoTimeZone),
            Some(b'Z') if b.len() == at + 1 => 0,
            Some(sign @ (b'+' | b'-')) if b.len() == at + 6 => {
                let (h, m) = (digits(b, at + 1, 2)?, separated(b, at + 3, b':')?);
                if h > 14 || m > 59 || (h == 14 && m > 0) {
                    return Err(DateError::Malformed);
                }
                let seconds = i64::from(h) * HOUR + i64::from(m) * 60;
                if *sign == b'-' { -seconds } else { seconds }
            }
            _ => return Err(DateError::Malformed),
        };
        // A leap second is the last second of its minute.
        let time = NaiveTime::from_hms_opt(hour, minute, second.min(59)).ok_or(DateError::Malformed)?;
        if second > 60 {
            return Err(DateError::Malformed);
        }
        let earliest = date.and_time(time).and_utc().timestamp() - offset;
        let latest = earliest + resolution;
        let text = text.into();
        Ok(When { text, first: date, last: date, earliest, latest, begun: date, ended: date, timed: true })
    }

    /// A Period: from the start of `start` to the end of `end`; an open end is open for ever. One that
    /// ends before it begins is none.
    pub fn period(start: Option<&str>, end: Option<&str>) -> Result<When, DateError> {
        let start = start.map(When::parse).transpose()?;
        let end = end.map(When::parse).transpose()?;
        if let (Some(start), Some(end)) = (&start, &end)
            && start.is_after(end)
        {
            return Err(DateError::Malformed);
        }
        let text =
            format!("{}/{}", start.as_ref().map_or("", |w| &*w.text), end.as_ref().map_or("", |w| &*w.text));
        Ok(When {
            text: text.into(),
            first: start.as_ref().map_or(NaiveDate::MIN, |w| w.first),
            last: end.as_ref().map_or(NaiveDate::MAX, |w| w.last),
            earliest: start.as_ref().map_or(i64::MIN, |w| w.earliest),
            latest: end.as_ref().map_or(i64::MAX, |w| w.latest),
            begun: start.as_ref().or(end.as_ref()).map_or(NaiveDate::MAX, |w| w.last),
            ended: end.as_ref().or(start.as_ref()).map_or(NaiveDate::MIN, |w| w.first),
            timed: start.is_some_and(|w| w.timed) && end.is_some_and(|w| w.timed),
        })
    }

    /// A calendar day.
    pub fn on(date: NaiveDate) -> When {
        let text = date.format("%Y-%m-%d").to_string();
        span(&text, date, date).expect("a NaiveDate is a day")
    }

    /// Does it surely lie in `[from, to]` (`Some(true)`), surely not (`Some(false)`), or maybe?
    pub fn within(&self, from: NaiveDate, to: NaiveDate) -> Option<bool> {
        if self.first >= from && self.last <= to {
            Some(true)
        } else if self.last < from || self.first > to {
            Some(false)
        } else {
            None
        }
    }

    /// Did it surely reach into `[from, to]` (`Some(true)`), surely not (`Some(false)`), or maybe? A
    /// point in time reaches into what it lies in; an open end may have been any day.
    pub fn reaches(&self, from: NaiveDate, to: NaiveDate) -> Option<bool> {
        if self.first > to || self.last < from {
            Some(false)
        } else if self.begun <= to && self.ended >= from {
            Some(true)
        } else {
            None
        }
    }

    /// Is it surely later than `other`? Two instants are compared on the time line; where one of the
    /// two has no time zone, the calendar days as written decide, for one hospital writes both.
    pub fn is_after(&self, other: &When) -> bool {
        if self.timed && other.timed { self.earliest > other.latest } else { self.first > other.last }
    }

    /// Is its end not known?
    pub fn is_open(&self) -> bool {
        self.latest == i64::MAX
    }

    /// Is one single day meant?
    pub fn is_day(&self) -> bool {
        self.first == self.last
    }
}

/// The day `days` before `date`.
pub fn days_before(date: NaiveDate, days: u32) -> NaiveDate {
    date.checked_sub_days(Days::new(days.into())).unwrap_or(NaiveDate::MIN)
}

/// Completed years from a birth date to a day, as the range that a partial birth date leaves.
pub fn completed_years(birth: &When, on: NaiveDate) -> Option<(u32, u32)> {
    if birth.first > on {
        return None;
    }
    Some((years(birth.last.min(on), on), years(birth.first, on)))
}

fn years(birth: NaiveDate, on: NaiveDate) -> u32 {
    // Somebody born on 29 February completes a year on 1 March of a common year.
    let had_birthday = (on.month(), on.day()) >= (birth.month(), birth.day());
    let years = on.year() - birth.year() - i32::from(!had_birthday);
    u32::try_from(years).unwrap_or(0)
}

fn span(text: &str, first: NaiveDate, last: NaiveDate) -> Result<When, DateError> {
    let start = first.and_time(NaiveTime::MIN).and_utc().timestamp();
    let end = last.and_time(NaiveTime::MIN).and_utc().timestamp() + 24 * HOUR - 1;
    Ok(When {
        text: text.into(),
        first,
        last,
        earliest: start - EAST,
        latest: end + WEST,
        begun: last,
        ended: first,
        timed: false,
    })
}

fn day(year: u32, month: u32, day: u32) -> Result<NaiveDate, DateError> {
    if year == 0 {
        return Err(DateError::Malformed);
    }
    NaiveDate::from_ymd_opt(year as i32, month, day).ok_or(DateError::Malformed)
}

fn digits(b: &[u8], at: usize, count: usize) -> Result<u32, DateError> {
    let mut n = 0;
    for c in b.get(at..at + count).ok_or(DateError::Malformed)? {
        if !c.is_ascii_digit() {
            return Err(DateError::Malformed);
        }
        n = n * 10 + u32::from(c - b'0');
    }
    Ok(n)
}

fn separated(b: &[u8], at: usize, separator: u8) -> Result<u32, DateError> {
    if b.get(at) != Some(&separator) {
        return Err(DateError::Malformed);
    }
    digits(b, at + 1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date in a test")
    }

    #[test]
    fn what_is_a_fhir_date() {
        for good in [
            "2026",
            "2026-03",
            "2026-03-04",
            "2024-02-29",
            "2026-03-04T10:00:00Z",
            "2026-03-04T10:00:00.123456+08:00",
            "2026-03-04T10:00+08:00",
            "2016-12-31T23:59:60Z",
        ] {
            assert!(When::parse(good).is_ok(), "{good}");
        }
        for (bad, error) in [
            ("", DateError::Malformed),
            ("26-03-04", DateError::Malformed),
            ("2026-13", DateError::Malformed),
            ("2026-02-30", DateError::Malformed),
            ("2026-03-04T24:00:00Z", DateError::Malformed),
            ("2026-03-04T10:00:00+99:00", DateError::Malformed),
            ("2026-03-04T10:00:00.Z", DateError::Malformed),
            ("2026-03-04 10:00:00Z", DateError::Malformed),
            ("2026-03-04T10:00:00Zx", DateError::Malformed),
            ("2026-03-04T10:00", DateError::NoTimeZone),
            ("2026-03-04T10:00:00", DateError::NoTimeZone),
            ("2026-03-0é", DateError::Malformed),
            ("二〇二六", DateError::Malformed),
        ] {
            assert_eq!(When::parse(bad).map(|w| w.text), Err(error), "{bad}");
        }
    }

    #[test]
    fn ages_at_the_bounds() {
        // birth date, day, youngest, oldest
        for (birth, on, youngest, oldest) in [
            ("2008-11-22", "2026-11-22", 18, 18),
            ("2008-11-23", "2026-11-22", 17, 17),
            ("1945-11-23", "2026-11-22", 80, 80),
            ("1945-11-22", "2026-11-22", 81, 81),
            ("2008", "2026-11-22", 17, 18),
            ("2008-11", "2026-11-22", 17, 18),
            ("2008-12", "2026-11-22", 17, 17),
            ("2008-02-29", "2026-02-28", 17, 17),
            ("2008-02-29", "2026-03-01", 18, 18),
            ("2026", "2026-11-22", 0, 0),
        ] {
            let birth_date = When::parse(birth).expect("a birth date");
            assert_eq!(completed_years(&birth_date, date(on)), Some((youngest, oldest)), "{birth} on {on}");
        }
        let unborn = When::parse("2027-01-01").expect("a date");
        assert_eq!(completed_years(&unborn, date("2026-11-22")), None);
    }

    #[test]
    fn periods_that_reach_into_a_window() {
        let (from, to) = (date("2025-11-22"), date("2026-11-22"));
        for (start, end, expected) in [
            (Some("2024-01-01"), Some("2025-11-22"), Some(true)),
            (Some("2024-01-01"), Some("2025-11-21"), Some(false)),
            (Some("2026-11-22"), None, Some(true)),
            (Some("2026-11-23"), None, Some(false)),
            (Some("2024-01-01"), None, None),
            (Some("2024-01-01"), Some("2025-11"), None),
            (Some("2024"), Some("2025-12"), Some(true)),
            (Some("2026"), Some("2027"), None),
            (None, Some("2025-11-21"), Some(false)),
            (None, Some("2026-01-01"), Some(true)),
        ] {
            let period = When::period(start, end).expect("a period");
            assert_eq!(period.reaches(from, to), expected, "{start:?} to {end:?}");
        }
        assert_eq!(When::parse("2025-11").expect("a month").reaches(from, to), None);
        assert_eq!(When::parse("2025-11-22").expect("a day").reaches(from, to), Some(true));
    }

    #[test]
    fn what_is_surely_later() {
        for (a, b, expected) in [
            ("2026-11-20T10:00:01Z", "2026-11-20T10:00:00Z", true),
            ("2026-11-20T10:00:00Z", "2026-11-20T18:00:00+08:00", false),
            ("2026-11-20T18:00:01+08:00", "2026-11-20T10:00:00Z", true),
            // A day and a time of the same day: either may be later.
            ("2026-11-20T23:59:59+08:00", "2026-11-20", false),
            ("2026-11-20", "2026-11-20T00:00:00+08:00", false),
            ("2026-11-21T00:00:00+08:00", "2026-11-20", true),
            ("2026-11-21", "2026-11-20", true),
            ("2026-11-21", "2026-11", false),
            ("2026-12", "2026-11-30", true),
        ] {
            let (a, b) = (When::parse(a).expect("a date"), When::parse(b).expect("a date"));
            assert_eq!(a.is_after(&b), expected, "{} after {}", a.text, b.text);
        }
    }

    #[test]
    fn windows_over_partial_dates() {
        let (from, to) = (date("2026-11-08"), date("2026-11-22"));
        for (text, expected) in [
            ("2026-11-08", Some(true)),
            ("2026-11-22T23:59:59+08:00", Some(true)),
            ("2026-11-23", Some(false)),
            ("2026-11-07", Some(false)),
            ("2026-11", None),
            ("2026-10", Some(false)),
        ] {
            assert_eq!(When::parse(text).expect("a date").within(from, to), expected, "{text}");
        }
    }
}
