//! When a request may be asked again, and how long to wait before.
//!
//! Nothing here sleeps or reads a clock by itself: time and chance come through [`Clock`], so that a
//! test with an hour of waiting takes a millisecond.

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use chrono::{DateTime, NaiveDateTime, Utc};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Time and chance, as the client sees them.
pub trait Clock: Send + Sync {
    fn now(&self) -> DateTime<Utc>;
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// A number in `0.0..1.0`, for jitter only.
    fn fraction(&self) -> f64;
}

/// The machine's clock and random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn fraction(&self) -> f64 {
        // Without a random source all waits are alike, which is a nuisance and not a fault.
        getrandom::u32().map_or(0.5, |n| f64::from(n) / (f64::from(u32::MAX) + 1.0))
    }
}

/// How often and how long an idempotent request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLimits {
    /// Repetitions after the first attempt.
    pub retries: usize,
    /// First and longest wait of the exponential backoff.
    pub min_delay: Duration,
    pub max_delay: Duration,
    /// `Retry-After` is honoured within these bounds.
    pub min_retry_after: Duration,
    pub max_retry_after: Duration,
}

impl Default for RetryLimits {
    fn default() -> RetryLimits {
        RetryLimits {
            retries: 5,
            min_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(30),
            min_retry_after: Duration::from_secs(1),
            max_retry_after: Duration::from_secs(3600),
        }
    }
}

impl RetryLimits {
    pub(super) fn backoff(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.min_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.retries)
            .build()
    }

    /// How long the server asked to wait, within the bounds. `None` for a value that is neither
    /// seconds nor a date: the caller backs off as it would without the header.
    // # Source
    // > "Retry-After = HTTP-date / delay-seconds", "delay-seconds = 1*DIGIT"   RFC 9110, 10.2.3
    pub fn retry_after(&self, header: &str, now: DateTime<Utc>) -> Option<Duration> {
        let text = header.trim();
        let told = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // More digits than fit is a longer wait than the bound.
            Duration::from_secs(text.parse().unwrap_or(u64::MAX))
        } else {
            // A date in the past means "now".
            (http_date(text)? - now).to_std().unwrap_or(Duration::ZERO)
        };
        Some(told.clamp(self.min_retry_after, self.max_retry_after.max(self.min_retry_after)))
    }
}

/// A told wait is never shortened; up to a tenth is added so that clients do not return together.
pub(super) fn told_with_jitter(told: Duration, fraction: f64) -> Duration {
    told + told.mul_f64(0.1 * fraction.clamp(0.0, 1.0))
}

/// A backoff step, between its half and its whole.
pub(super) fn backoff_with_jitter(step: Duration, fraction: f64) -> Duration {
    step.mul_f64(0.5 + 0.5 * fraction.clamp(0.0, 1.0))
}

/// The three date forms of HTTP.
// # Source
// > "HTTP-date = IMF-fixdate / obs-date", "A recipient that parses a timestamp value in an HTTP
// > field MUST accept all three HTTP-date formats."   RFC 9110, 5.6.7
pub(super) fn http_date(text: &str) -> Option<DateTime<Utc>> {
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text.trim(), form).ok())
        .map(|naive| naive.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn every_form_of_retry_after() {
        let now = Utc.with_ymd_and_hms(1994, 11, 6, 8, 49, 30).single().expect("a time");
        let limits = RetryLimits::default();
        let seconds = |s| Some(Duration::from_secs(s));
        let table = [
            ("7", seconds(7)),
            (" 7 ", seconds(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", seconds(7)),
            ("Sun Nov  6 08:49:37 1994", seconds(7)),
            // bounded
            ("0", seconds(1)),
            ("1000000000", seconds(3600)),
            ("99999999999999999999999999", seconds(3600)),
            ("Sun, 06 Nov 1993 08:49:37 GMT", None), // the weekday is wrong: 1993-11-06 was a Saturday
            ("Sat, 06 Nov 1993 08:49:37 GMT", seconds(1)),
            ("Tue, 06 Nov 2001 08:49:37 GMT", seconds(3600)),
            // neither seconds nor a date
            ("-5", None),
            ("7.5", None),
            ("soon", None),
            ("", None),
        ];
        for (header, expected) in table {
            assert_eq!(limits.retry_after(header, now), expected, "{header:?}");
        }
    }

    #[test]
    fn jitter_never_shortens_a_told_wait_and_never_lengthens_a_backoff() {
        let step = Duration::from_secs(10);
        assert_eq!(told_with_jitter(step, 0.0), step);
        assert_eq!(told_with_jitter(step, 1.0), Duration::from_secs(11));
        assert_eq!(backoff_with_jitter(step, 0.0), Duration::from_secs(5));
        assert_eq!(backoff_with_jitter(step, 1.0), step);
    }

    #[test]
    fn the_backoff_doubles_up_to_its_bound_and_ends() {
        let limits = RetryLimits { retries: 8, ..RetryLimits::default() };
        let steps: Vec<u128> = limits.backoff().map(|d| d.as_millis()).collect();
        assert_eq!(steps, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    }

    #[test]
    fn the_system_fraction_stays_in_its_range() {
        for _ in 0..1000 {
            let f = SystemClock.fraction();
            assert!((0.0..1.0).contains(&f));
        }
    }
}
