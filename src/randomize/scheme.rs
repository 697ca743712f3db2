//! Allocation schemes: how a seed becomes a list of arms.
//!
//! A list has exactly `total` slots and every arm exactly `total / arms` of them. Nothing here knows
//! names of arms: a slot holds the index of its arm in [`Arms`]. Errors speak of the configuration
//! only; they are for whoever sets the trial up, not for those who enrol.

use super::{arms::Arms, secret::Seed, stream::Stream};
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU32};

/// How a list is drawn up. In a trial definition:
///
/// ```toml
/// [allocation.permuted-blocks]
/// sizes = [4, 6]
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scheme {
    /// Blocks, each a uniform permutation of equally many slots per arm. Every block's size is
    /// chosen uniformly among `sizes`; their order in the definition does not matter.
    PermutedBlocks { sizes: Vec<u32> },
}

/// Why no list can be drawn up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    #[error("no block size is given; list at least one under `sizes`, for example [4, 6] for two arms")]
    NoSize,
    #[error("{found} block sizes are given; at most {} are allowed", Scheme::MOST_SIZES)]
    ManySizes { found: usize },
    #[error("block size {size} is given more than once; list every size once, each is equally likely")]
    RepeatedSize { size: u32 },
    #[error(
        "block size {size} with {arms} arms is refused: the last slot of every block would be known in \
         advance and the one before it half known; use {} or more", 2 * arms
    )]
    SmallSize { size: u32, arms: u32 },
    #[error("block size {size} cannot hold {arms} arms equally often; use a multiple of {arms}")]
    UnequalSize { size: u32, arms: u32 },
    #[error("a list of {total} slots is refused; it must have 1 to {} slots", Scheme::MOST_SLOTS)]
    Total { total: u32 },
    #[error(
        "{total} slots cannot be made up of whole blocks of the sizes given, so the arms would not come out \
         equal; change the total or the sizes"
    )]
    Incomplete { total: u32 },
}

/// One place in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Place in the list, from 1.
    pub position: u32,
    /// The block it belongs to, from 1. Block borders give arms away: keep them as the arm is kept.
    pub block: u32,
    /// Index of the arm in [`Arms`], from 0.
    pub arm: usize,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} [hidden])", self.position)
    }
}

/// The method's name alone: block sizes are no business of a log.
impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scheme({} [hidden])", self.public_name())
    }
}

impl Scheme {
    /// The longest list. A bound on memory and time, far above any trial.
    pub const MOST_SLOTS: u32 = 10_000;
    /// The most block sizes that a sealed recipe has room for.
    pub const MOST_SIZES: usize = 16;

    /// The name of the method, which anyone may know. It leaves out block sizes.
    // # Source
    // > "To reduce predictability of a random sequence, details of any planned restriction should be
    // > provided in a separate document that is unavailable to those who enroll participants or assign
    // > interventions"   SPIRIT item 16a, https://pmc.ncbi.nlm.nih.gov/articles/PMC6875651/ Table 3
    pub fn public_name(&self) -> &'static str {
        match self {
            Scheme::PermutedBlocks { .. } => "permuted-blocks",
        }
    }

    /// Can a list of `total` slots for so many arms be drawn up?
    ///
    /// # Errors
    /// The first [`SchemeError`] found.
    pub fn check(&self, arms: &Arms, total: u32) -> Result<(), SchemeError> {
        match self {
            Scheme::PermutedBlocks { sizes } => Composition::of(sizes, arms.count(), total).map(drop),
        }
    }
}

/// Draws up the list: `total` slots, in order of position.
///
/// # Errors
/// [`SchemeError`] where the scheme cannot give a list of this length with equal arms.
pub fn generate(scheme: &Scheme, arms: &Arms, total: u32, seed: &Seed) -> Result<Vec<Slot>, SchemeError> {
    match scheme {
        Scheme::PermutedBlocks { sizes } => {
            let composition = Composition::of(sizes, arms.count(), total)?;
            Ok(permuted_blocks(&composition, arms.count(), total, &mut Stream::new(seed)))
        }
    }
}

/// Block after block: choose its size, fill it arm by arm, shuffle it.
fn permuted_blocks(composition: &Composition, arms: u32, total: u32, stream: &mut Stream) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(total as usize);
    let mut remaining = total;
    let mut block = 0;
    while remaining > 0 {
        let size = composition.choose(remaining, stream);
        let mut filled: Vec<usize> =
            (0..arms as usize).flat_map(|arm| std::iter::repeat_n(arm, (size / arms) as usize)).collect();
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
struct Composition {
    /// Ascending, all different.
    sizes: Vec<u32>,
    /// `reachable[n]`: n slots can be made up of whole blocks. Index 0 to `total`.
    reachable: Vec<bool>,
}

impl Composition {
    fn of(sizes: &[u32], arms: u32, total: u32) -> Result<Self, SchemeError> {
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
            // At most 16 arms, so the product cannot overflow.
            if size < 2 * arms {
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
        for n in 1..=total {
            let made_up =
                sizes.iter().any(|&size| n.checked_sub(size).is_some_and(|rest| reachable[rest as usize]));
            reachable.push(made_up);
        }
        if !reachable[total as usize] {
            return Err(SchemeError::Incomplete { total });
        }
        Ok(Composition { sizes, reachable })
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

    fn arms(count: usize) -> Arms {
        Arms::new((0..count).map(|i| format!("arm {i}"))).expect("arms in a test")
    }

    #[test]
    fn schemes_that_give_arms_away_or_do_not_come_out_even_are_refused() {
        use SchemeError::*;
        // sizes, arms, total, error
        let table: [(&[u32], usize, u32, Option<SchemeError>); 19] = [
            (&[4, 6], 2, 92, None),
            (&[6, 4], 2, 92, None),
            (&[4], 2, 92, None),
            (&[6, 9], 3, 93, None),
            (&[20], 2, 20, None),
            (&[4, 6], 2, 4, None),
            (&[], 2, 92, Some(NoSize)),
            (&[2], 2, 92, Some(SmallSize { size: 2, arms: 2 })),
            (&[4, 2, 6], 2, 92, Some(SmallSize { size: 2, arms: 2 })),
            (&[0], 2, 92, Some(SmallSize { size: 0, arms: 2 })),
            (&[3], 3, 93, Some(SmallSize { size: 3, arms: 3 })),
            (&[4, 5], 2, 92, Some(UnequalSize { size: 5, arms: 2 })),
            (&[4, 6, 4], 2, 92, Some(RepeatedSize { size: 4 })),
            (&[6], 2, 92, Some(Incomplete { total: 92 })),
            (&[4, 6], 2, 91, Some(Incomplete { total: 91 })),
            (&[4, 6], 2, 2, Some(Incomplete { total: 2 })),
            (&[4, 6], 2, 0, Some(Total { total: 0 })),
            (&[4, 6], 2, 10_002, Some(Total { total: 10_002 })),
            (&[u32::MAX - 1], 2, 92, Some(Incomplete { total: 92 })),
        ];
        let seed = Seed::new([1; 32]);
        for (sizes, count, total, error) in table {
            let scheme = Scheme::PermutedBlocks { sizes: sizes.to_vec() };
            assert_eq!(scheme.check(&arms(count), total).err(), error, "{sizes:?} {count} {total}");
            assert_eq!(
                generate(&scheme, &arms(count), total, &seed).err(),
                error,
                "{sizes:?} {count} {total}"
            );
        }
        let many = Scheme::PermutedBlocks { sizes: (2..19).map(|half| half * 2).collect() };
        assert_eq!(many.check(&arms(2), 92), Err(ManySizes { found: 17 }));
    }

    #[test]
    fn a_definition_with_an_unknown_key_is_refused() {
        #[derive(Deserialize)]
        struct Trial {
            allocation: Scheme,
        }
        let read = |text: &str| toml::from_str::<Trial>(text).map(|trial| trial.allocation);
        assert_eq!(
            read("[allocation.permuted-blocks]\nsizes = [4, 6]").ok(),
            Some(Scheme::PermutedBlocks { sizes: vec![4, 6] })
        );
        for refused in [
            "[allocation.permuted-blocks]\nsizes = [4, 6]\nseed = 1",
            "[allocation.permuted-blocks]\nsizes = [-4]",
            "[allocation.permuted-blocks]",
            "[allocation.alternation]",
        ] {
            assert!(read(refused).is_err(), "{refused}");
        }
        // The JSON reader keeps numbers as text in this binary; whole numbers must still be read.
        let json: Scheme = serde_json::from_str(r#"{"permuted-blocks":{"sizes":[4,6]}}"#).expect("a scheme");
        assert_eq!(json, Scheme::PermutedBlocks { sizes: vec![4, 6] });
    }

    #[test]
    fn a_slot_does_not_print_its_arm_or_block() {
        let slot = Slot { position: 12, block: 987_654, arm: 123_456 };
        assert_eq!(format!("{slot:?}"), "Slot(12 [hidden])");
    }

    #[test]
    fn the_order_of_sizes_does_not_matter() {
        let seed = Seed::new([9; 32]);
        let list = |sizes: Vec<u32>| generate(&Scheme::PermutedBlocks { sizes }, &arms(2), 92, &seed);
        assert!(list(vec![4, 6]) == list(vec![6, 4]));
    }
}
