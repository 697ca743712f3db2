//! Numbers from a seed, and bytes from numbers. No float, no clock and no library decides a byte, so
//! that the same arguments give the same files on every machine and in every release.

/// A stream of numbers (SplitMix64). Good enough to vary data; nothing secret depends on it.
pub struct Draw(u64);

impl Draw {
    /// A stream for one purpose: the same parts give the same stream.
    pub fn new(parts: [u64; 4]) -> Draw {
        let mut draw = Draw(0x7472_6961_6c62_7264);
        for part in parts {
            draw.0 = mix(draw.0 ^ mix(part.wrapping_add(0x9e37_79b9_7f4a_7c15)));
        }
        draw
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = (high - low + 1) as u64;
        low + (((self.next() >> 32) * span) >> 32) as i64
    }

    pub fn percent(&mut self, share: i64) -> bool {
        self.between(0, 99) < share
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.between(0, from.len() as i64 - 1) as usize]
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A permutation of `0..size` without a table: a Feistel network over the next even number of bits,
/// walked on until it comes out below `size`.
pub fn scatter(i: u64, size: u64, seed: u64) -> u64 {
    let half = (64 - size.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut x = i;
    loop {
        let (mut left, mut right) = (x >> half, x & mask);
        for round in 0..4 {
            (left, right) = (right, left ^ (mix(right ^ mix(seed ^ (round << 56))) & mask));
        }
        x = (left << half) | right;
        if x < size {
            return x;
        }
    }
}

/// Appends text, numbers and dates to a line.
pub struct Line<'a>(pub &'a mut Vec<u8>);

impl Line<'_> {
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub fn texts(&mut self, texts: &[&str]) -> &mut Self {
        for text in texts {
            self.text(text);
        }
        self
    }

    pub fn number(&mut self, n: i64) -> &mut Self {
        self.padded(n, 1)
    }

    /// With leading zeros up to `width` digits.
    pub fn padded(&mut self, n: i64, width: usize) -> &mut Self {
        let mut digits = [b'0'; 20];
        let (mut at, mut rest) = (digits.len(), n.unsigned_abs());
        while rest > 0 {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        if n < 0 {
            self.0.push(b'-');
        }
        let at = at.min(digits.len() - width);
        self.0.extend_from_slice(&digits[at..]);
        self
    }

    /// `n` with so many decimals: 24 with 1 is 2.4.
    pub fn decimal(&mut self, n: i64, decimals: u32) -> &mut Self {
        if decimals == 0 {
            return self.number(n);
        }
        let unit = 10i64.pow(decimals);
        self.number(n / unit).text(".").padded(n % unit, decimals as usize)
    }

    /// Days since the first of January of year 1 (day 1) as `YYYY-MM-DD`.
    // # Source
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days
    pub fn date(&mut self, day: i64) -> &mut Self {
        let z = day + 305;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        self.padded(year, 4).text("-").padded(month, 2).text("-").padded(day_of_month, 2)
    }

    /// An instant on that day.
    pub fn instant(&mut self, day: i64, minute: i64) -> &mut Self {
        self.date(day).text("T").padded(minute / 60, 2).text(":").padded(minute % 60, 2).text(":00+08:00")
    }
}
