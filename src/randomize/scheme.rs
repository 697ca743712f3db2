//! Allocation schemes: how a seed becomes a list of arms.
//!
//! A list of permuted blocks has every arm equally often; one of the coin designs need not. Nothing
//! here knows names of arms: a slot holds the index of its arm in [`Arms`]. Errors speak of the
//! configuration only, by its keys; they are for whoever sets the trial up, not for those who enrol.

use super::{
    arms::Arms,
    blocks::{self, Composition},
    coin,
    exact::{Probability, Weight},
    secret::Seed,
    stream::Stream,
};
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
    /// Every arm equally likely at every place, whatever came before.
    Complete,
    /// Efron's biased coin, for two arms: the arm given less often with this probability.
    Efron { probability: Probability },
    /// The big stick, for two arms: a fair coin, until the arms differ by `limit`.
    BigStick { limit: u32 },
    /// Pocock and Simon: the arm that leaves the smallest imbalance over the new participant's levels,
    /// with this probability. `weights` has one for every factor, in the plan's order.
    Minimization { distance: Distance, probability: Probability, weights: Vec<Weight> },
    /// A list that the statistician drew up elsewhere; `equal`: every arm must come equally often in it.
    Imported { equal: bool },
}

/// How far apart the arms stand at one level of a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// The most given arm's count less the least given arm's.
    Range,
    /// The variance of the counts.
    Variance,
    /// Its square root.
    StandardDeviation,
}

impl Distance {
    /// All of them, in the order of their numbers in a sealed recipe.
    pub const ALL: [Distance; 3] = [Distance::Range, Distance::Variance, Distance::StandardDeviation];

    /// As it stands in a trial definition.
    pub fn name(self) -> &'static str {
        match self {
            Distance::Range => "range",
            Distance::Variance => "variance",
            Distance::StandardDeviation => "standard-deviation",
        }
    }

    /// The distance of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|distance| distance.name() == name)
    }
}

/// Why no list can be drawn up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    #[error("no block size is given; list at least one under `block_sizes`, for example [4, 6] for two arms")]
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
    #[error(
        "scheme {scheme} is defined for two arms and there are {arms}; use permuted-blocks or minimization"
    )]
    TwoArms { scheme: &'static str, arms: u32 },
    #[error(
        "`probability` {found} of scheme efron is refused: at 0.5 or below the coin does not balance, at 1 every \
         second allocation is known in advance; use more than 0.5 and less than 1, for example 0.7"
    )]
    Coin { found: Probability },
    #[error(
        "`limit` {limit} of scheme big-stick is refused: at 1 every second allocation is known in advance; use 2 \
         or more, for example 3"
    )]
    ShortStick { limit: u32 },
    #[error(
        "`limit` {limit} of scheme big-stick is never reached in {total} allocations; use less, or scheme complete"
    )]
    LongStick { limit: u32, total: u32 },
    #[error(
        "`probability` {found} of scheme minimization is refused: with {arms} arms it must be more than 1/{arms} and \
         at most 1, or the best arm would not be the likeliest"
    )]
    Preference { found: Probability, arms: u32 },
    #[error("scheme minimization balances over factors and there is none; add [[allocation.factor]]")]
    NoFactor,
    #[error(
        "scheme minimization needs one `weight` for each factor; there are {weights} for {factors} factors"
    )]
    Weights { weights: usize, factors: usize },
    #[error("every factor has `weight` 0, so nothing would be balanced; give at least one a weight above 0")]
    Weightless,
    #[error(
        "{found} factors are given under [[allocation.factor]]; at most {} are allowed",
        Scheme::MOST_FACTORS
    )]
    ManyFactors { found: usize },
    #[error(
        "`name` of [[allocation.factor]] {index} is refused: a name is 1 to 64 bytes long, without `=`, `;`, `,`, \
         quotes, control characters, or spaces at its ends"
    )]
    FactorName { index: usize },
    #[error("[[allocation.factor]] {first} and {index} have the same `name`; give each its own")]
    FactorTwice { first: usize, index: usize },
    #[error(
        "[[allocation.factor]] {index} has {found} level(s) under `levels`; it must have 2 to {}",
        Scheme::MOST_LEVELS
    )]
    Levels { index: usize, found: usize },
    #[error(
        "level {level} of [[allocation.factor]] {index} is refused: a level is 1 to 64 bytes long, without `;`, `,`, \
         quotes, control characters, or spaces at its ends"
    )]
    LevelName { index: usize, level: usize },
    #[error(
        "levels {first} and {level} of [[allocation.factor]] {index} are the same; give each its own name"
    )]
    LevelTwice { index: usize, first: usize, level: usize },
    #[error(
        "the factors make {found} strata; at most {} are allowed, and few participants would fall into each. Use \
         fewer factors or levels, or scheme minimization",
        Scheme::MOST_STRATA
    )]
    ManyStrata { found: usize },
    #[error(
        "with scheme minimization the arm follows from each participant: there is no list of arms to draw up"
    )]
    NotAList,
    #[error("an imported list is read from its file and not drawn up; `allocation import`")]
    NotDrawnUp,
}

/// One place in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Place in the list, from 1.
    pub position: u32,
    /// The block it belongs to, from 1; 0 where the scheme has none. Block borders give arms away: keep
    /// them as the arm is kept.
    pub block: u32,
    /// Index of the arm in [`Arms`], from 0.
    pub arm: usize,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slot({} [hidden])", self.position)
    }
}

/// The method's name alone: block sizes and probabilities are no business of a log.
impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scheme({} [hidden])", self.public_name())
    }
}

impl Scheme {
    /// The longest list of one stratum. A bound on memory and time, far above any trial.
    pub const MOST_SLOTS: u32 = 10_000;
    /// The most block sizes that a sealed recipe has room for.
    pub const MOST_SIZES: usize = 16;
    /// The most factors.
    pub const MOST_FACTORS: usize = 8;
    /// The most levels of one factor.
    pub const MOST_LEVELS: usize = 64;
    /// The most strata. Minimization is not bound by it.
    pub const MOST_STRATA: usize = 64;

    /// The name of the method, which anyone may know. It leaves out block sizes.
    // # Source
    // > "To reduce predictability of a random sequence, details of any planned restriction should be
    // > provided in a separate document that is unavailable to those who enroll participants or assign
    // > interventions"   SPIRIT item 16a, https://pmc.ncbi.nlm.nih.gov/articles/PMC6875651/ Table 3
    pub fn public_name(&self) -> &'static str {
        match self {
            Scheme::PermutedBlocks { .. } => "permuted-blocks",
            Scheme::Complete => "complete",
            Scheme::Efron { .. } => "efron",
            Scheme::BigStick { .. } => "big-stick",
            Scheme::Minimization { .. } => "minimization",
            Scheme::Imported { .. } => "imported",
        }
    }

    /// Can one list of exactly `total` slots for so many arms be drawn up? [`super::Plan::check`] asks
    /// for all strata.
    ///
    /// # Errors
    /// The first [`SchemeError`] found.
    pub fn check(&self, arms: &Arms, total: u32) -> Result<(), SchemeError> {
        if let Scheme::PermutedBlocks { sizes } = self {
            return Composition::exactly(sizes, arms.count(), total).map(drop);
        }
        if !(1..=Self::MOST_SLOTS).contains(&total) {
            return Err(SchemeError::Total { total });
        }
        match self {
            Scheme::Efron { .. } | Scheme::BigStick { .. } if arms.count() != 2 => {
                Err(SchemeError::TwoArms { scheme: self.public_name(), arms: arms.count() })
            }
            Scheme::Efron { probability } if !(5_001..=9_999).contains(&probability.ten_thousandths()) => {
                Err(SchemeError::Coin { found: *probability })
            }
            &Scheme::BigStick { limit } if limit < 2 => Err(SchemeError::ShortStick { limit }),
            &Scheme::BigStick { limit } if limit >= total => Err(SchemeError::LongStick { limit, total }),
            // At most 16 arms, so the product cannot overflow.
            Scheme::Minimization { probability, .. }
                if probability.ten_thousandths() * arms.count() <= Probability::ONE =>
            {
                Err(SchemeError::Preference { found: *probability, arms: arms.count() })
            }
            _ => Ok(()),
        }
    }

    /// The scheme as a number for its kind and the numbers that describe it, for a sealed recipe: at
    /// most 16 of them for a scheme that [`super::Plan::check`] accepts.
    ///
    /// 1 permuted-blocks: the sizes as given · 2 complete: none · 3 efron: ten-thousandths · 4 big-stick:
    /// the limit · 5 minimization: the distance (0, 1, 2 as in [`Distance::ALL`]), ten-thousandths,
    /// thousandths of each factor's weight · 6 imported: 1 where the arms must be equal, else 0.
    pub fn to_parts(&self) -> (u8, Vec<u32>) {
        match self {
            Scheme::PermutedBlocks { sizes } => (1, sizes.clone()),
            Scheme::Complete => (2, Vec::new()),
            Scheme::Efron { probability } => (3, vec![probability.ten_thousandths()]),
            Scheme::BigStick { limit } => (4, vec![*limit]),
            Scheme::Minimization { distance, probability, weights } => {
                let number = match distance {
                    Distance::Range => 0,
                    Distance::Variance => 1,
                    Distance::StandardDeviation => 2,
                };
                let weights = weights.iter().map(|weight| weight.thousandths());
                (5, [number, probability.ten_thousandths()].into_iter().chain(weights).collect())
            }
            Scheme::Imported { equal } => (6, vec![u32::from(*equal)]),
        }
    }

    /// What [`Self::to_parts`] took apart; `None` where it could not have given these.
    pub fn from_parts(kind: u8, numbers: &[u32]) -> Option<Self> {
        Some(match (kind, numbers) {
            (1, sizes) => Scheme::PermutedBlocks { sizes: sizes.to_vec() },
            (2, []) => Scheme::Complete,
            (3, &[units]) => Scheme::Efron { probability: Probability::from_units(units)? },
            (4, &[limit]) => Scheme::BigStick { limit },
            (5, [distance, units, weights @ ..]) => Scheme::Minimization {
                distance: *Distance::ALL.get(usize::try_from(*distance).ok()?)?,
                probability: Probability::from_units(*units)?,
                weights: weights.iter().map(|&units| Weight::from_units(units)).collect::<Option<_>>()?,
            },
            (6, [0]) => Scheme::Imported { equal: false },
            (6, [1]) => Scheme::Imported { equal: true },
            _ => return None,
        })
    }
}

/// Draws up one list: `total` slots, in order of position.
///
/// # Errors
/// [`SchemeError`] where the scheme gives no such list: with blocks, where the arms would not come out
/// equal.
pub fn generate(scheme: &Scheme, arms: &Arms, total: u32, seed: &Seed) -> Result<Vec<Slot>, SchemeError> {
    scheme.check(arms, total)?;
    let stream = &mut Stream::new(seed);
    match scheme {
        Scheme::PermutedBlocks { sizes } => {
            Ok(blocks::draw(&Composition::exactly(sizes, arms.count(), total)?, arms, stream))
        }
        Scheme::Complete => {
            let count = NonZeroU32::new(arms.count()).expect("there are at least two arms");
            Ok(coin::complete(count, total, stream))
        }
        Scheme::Efron { probability } => Ok(coin::biased(*probability, total, stream)),
        Scheme::BigStick { limit } => Ok(coin::big_stick(*limit, total, stream)),
        Scheme::Minimization { .. } => Err(SchemeError::NotAList),
        Scheme::Imported { .. } => Err(SchemeError::NotDrawnUp),
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
