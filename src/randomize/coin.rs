//! Lists that are drawn coin by coin: complete randomization, Efron's biased coin, the big stick.
//!
//! Each place takes its number from the stream in turn; a place depends on those before it and on
//! nothing else, so the whole list is drawn up beforehand as a list of blocks is.

use super::{exact::Probability, scheme::Slot, stream::Stream};
use std::num::NonZeroU32;

const TWO: NonZeroU32 = NonZeroU32::new(2).expect("2 is not 0");
pub(super) const ALL: NonZeroU32 = NonZeroU32::new(Probability::ONE).expect("10^4 is not 0");

/// Every place by itself: one of `arms`, each equally likely.
pub(super) fn complete(arms: NonZeroU32, total: u32, stream: &mut Stream) -> Vec<Slot> {
    list(total, |_| stream.below(arms) as usize)
}

/// The arm given less often so far with probability p, the other otherwise; a fair coin when level.
// # Source
// Efron, "Forcing a sequential experiment to be balanced", Biometrika 1971;58:403.
pub(super) fn biased(probability: Probability, total: u32, stream: &mut Stream) -> Vec<Slot> {
    list(total, |given| match lagging(given) {
        None => stream.below(TWO) as usize,
        Some(behind) if stream.below(ALL) < probability.ten_thousandths() => behind,
        Some(behind) => 1 - behind,
    })
}

/// A fair coin while the arms differ by less than `limit`; at `limit` the arm given less often, for
/// which no number is taken.
// # Source
// Soares and Wu, "Some restricted randomization rules in sequential designs", Commun Stat Theory
// Methods 1983;12:2017.
pub(super) fn big_stick(limit: u32, total: u32, stream: &mut Stream) -> Vec<Slot> {
    list(total, |given| match lagging(given) {
        Some(behind) if given[0].abs_diff(given[1]) >= limit => behind,
        _ => stream.below(TWO) as usize,
    })
}

/// The arm given less often; none when level.
fn lagging(given: [u32; 2]) -> Option<usize> {
    (given[0] != given[1]).then_some(usize::from(given[1] < given[0]))
}

/// Place after place, with how often each of the first two arms came before it.
fn list(total: u32, mut next: impl FnMut([u32; 2]) -> usize) -> Vec<Slot> {
    let mut given = [0; 2];
    let place = |position| {
        let arm = next(given);
        if let Some(times) = given.get_mut(arm) {
            *times += 1;
        }
        Slot { position, block: 0, arm }
    };
    (1..=total).map(place).collect()
}
