//! Permuted blocks: block after block, each balanced, together exactly as long as asked.
//!
//! Invariant: no block is cut, so every list has every arm equally often.

use super::{
    arms::Arms,
    scheme::{Scheme, SchemeError, Slot},
    stream::Stream,
};
use std::num::NonZeroU32;

/// Block after block: choose its size, fill it arm by arm, shuffle it.
pub(super) fn draw(composition: &Composition, arms: &Arms, stream: &mut Stream) -> Vec<Slot> {
    let total = composition.total();
    let mut slots = Vec::with_capacity(total as usize);
    let mut remaining = total;
    let mut block = 0;
    while remaining > 0 {
        let size = composition.choose(remaining, stream);
        let of_each = (size / arms.count()) as usize;
        let mut filled: Vec<usize> =
            (0..arms.names().len()).flat_map(|arm| std::iter::repeat_n(arm, of_each)).collect();
        stream.shuffle(&mut filled);
        block += 1;
        for (position, arm) in (total - remaining + 1..).zip(filled) {
            slots.push(Slot { position, block, arm });
        }
        remaining -= size;
    }
    slots
}

/// Checked block sizes, and which lengths can be made up of them.
pub(super) struct Composition {
    /// Ascending, all different.
    sizes: Vec<u32>,
    /// `reachable[n]`: n slots can be made up of whole blocks. Index 0 to the total.
    reachable: Vec<bool>,
}

impl Composition {
    /// For a list of exactly `total` slots.
    pub(super) fn exactly(sizes: &[u32], arms: u32, total: u32) -> Result<Self, SchemeError> {
        let composition = Self::up_to(sizes, arms, total, total, 2 * arms)?;
        if composition.reachable.last() == Some(&true) {
            return Ok(composition);
        }
        Err(SchemeError::Incomplete { total })
    }

    /// For the shortest list of whole blocks that has at least `total` slots.
    pub(super) fn at_least(sizes: &[u32], arms: u32, total: u32) -> Result<Self, SchemeError> {
        Self::shortest(sizes, arms, total, 2 * arms)
    }

    /// The same, also of blocks that hold every arm once and give the last one away: to study them, never
    /// for a trial.
    pub(super) fn to_study(sizes: &[u32], arms: u32, total: u32) -> Result<Self, SchemeError> {
        Self::shortest(sizes, arms, total, arms)
    }

    fn shortest(sizes: &[u32], arms: u32, total: u32, least: u32) -> Result<Self, SchemeError> {
        // Whole multiples of the smallest size can always be made up, and one of them lies in this stretch.
        let smallest = sizes.iter().copied().min().unwrap_or_default();
        let most = total.saturating_add(smallest.saturating_sub(1)).min(Scheme::MOST_SLOTS);
        let mut composition = Self::up_to(sizes, arms, total, most, least)?;
        let shortest = (total as usize..composition.reachable.len()).find(|&n| composition.reachable[n]);
        let shortest = shortest.ok_or(SchemeError::Incomplete { total })?;
        composition.reachable.truncate(shortest + 1);
        Ok(composition)
    }

    /// `most`: the longest list that is looked at; `least`: the smallest block, at least the number of arms.
    fn up_to(sizes: &[u32], arms: u32, total: u32, most: u32, least: u32) -> Result<Self, SchemeError> {
        if sizes.is_empty() {
            return Err(SchemeError::NoSize);
        }
        if sizes.len() > Scheme::MOST_SIZES {
            return Err(SchemeError::ManySizes { found: sizes.len() });
        }
        let mut sizes = sizes.to_vec();
        sizes.sort_unstable();
        if let Some(pair) = sizes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SchemeError::RepeatedSize { size: pair[0] });
        }
        for &size in &sizes {
            if size < least {
                return Err(SchemeError::SmallSize { size, arms });
            }
            if !size.is_multiple_of(arms) {
                return Err(SchemeError::UnequalSize { size, arms });
            }
        }
        if !(1..=Scheme::MOST_SLOTS).contains(&total) {
            return Err(SchemeError::Total { total });
        }
        let mut reachable = vec![true];
        for n in 1..=most {
            let made_up =
                sizes.iter().any(|&size| n.checked_sub(size).is_some_and(|rest| reachable[rest as usize]));
            reachable.push(made_up);
        }
        Ok(Composition { sizes, reachable })
    }

    /// How many slots the list has.
    pub(super) fn total(&self) -> u32 {
        // At most `Scheme::MOST_SLOTS`, and never empty: 0 slots are always reachable.
        (self.reachable.len() - 1) as u32
    }

    /// The next block's size: uniform among those, in ascending order, after which the rest can still
    /// be made up of whole blocks. One number is drawn even where only one size is left.
    fn choose(&self, remaining: u32, stream: &mut Stream) -> u32 {
        let fits = |size: u32| remaining.checked_sub(size).is_some_and(|rest| self.reachable[rest as usize]);
        let admissible: Vec<u32> = self.sizes.iter().copied().filter(|&size| fits(size)).collect();
        let count = u32::try_from(admissible.len()).ok().and_then(NonZeroU32::new);
        let count =
            count.expect("what remains can be made up of blocks: checked before, kept by every choice");
        admissible[stream.below(count) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stratum_has_the_shortest_list_of_whole_blocks_that_serves_the_trial() {
        // sizes, arms, total, slots
        let table: [(&[u32], u32, u32, Result<u32, SchemeError>); 12] = [
            (&[4, 6], 2, 92, Ok(92)),
            (&[4, 6], 2, 91, Ok(92)),
            (&[4, 6], 2, 1, Ok(4)),
            (&[4, 6], 2, 5, Ok(6)),
            (&[6, 4], 2, 7, Ok(8)),
            (&[6], 2, 92, Ok(96)),
            (&[6], 2, 96, Ok(96)),
            (&[6], 2, 97, Ok(102)),
            (&[6, 9], 3, 93, Ok(93)),
            (&[6, 9], 3, 10, Ok(12)),
            (&[6], 2, 10_000, Err(SchemeError::Incomplete { total: 10_000 })),
            (&[4], 2, 0, Err(SchemeError::Total { total: 0 })),
        ];
        for (sizes, arms, total, expected) in table {
            let found = Composition::at_least(sizes, arms, total).map(|c| c.total());
            assert_eq!(found, expected, "{sizes:?} {total}");
        }
        assert_eq!(Composition::at_least(&[], 2, 92).err(), Some(SchemeError::NoSize));
        assert_eq!(
            Composition::at_least(&[2], 2, 92).err(),
            Some(SchemeError::SmallSize { size: 2, arms: 2 })
        );
        assert_eq!(
            Composition::at_least(&[4], 2, u32::MAX).err(),
            Some(SchemeError::Total { total: u32::MAX })
        );
    }
}
