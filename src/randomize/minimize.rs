//! Minimization after Pocock and Simon: the arm of one participant from the levels of all before.
//!
//! Everything is a whole number but the standard deviation, whose square root, products and sums are
//! those of IEEE 754 and so the same on every machine. One draw takes its numbers from a stream of its own
//! and exactly two or three of them, whatever the counts: what an earlier draw took changes no later one.

use super::{
    coin,
    exact::{Probability, Weight},
    plan::{AssignError, Past, Plan},
    scheme::{Distance, Scheme},
    secret::Seed,
    stream::Stream,
};
use std::num::NonZeroU32;

/// Two sums of standard deviations that differ by no more than this share of the smaller are level: far
/// above what rounding can do to eight terms (about 2e-15), far below what a participant changes.
pub const TIE: f64 = 1e-12;

/// What would be left of balance, for each arm, if the new participant were given it: the weighted sum
/// over the factors of the distance between the arms at the participant's own level.
///
/// Of whole numbers in the units that are exact (the weights' thousandths; with variance, the arms'
/// number squared besides), or, with the standard deviation, of its sum in thousandths.
#[derive(Clone, Debug, PartialEq)]
pub enum Imbalance {
    Whole(Vec<i64>),
    Rooted(Vec<f64>),
}

impl Imbalance {
    /// The arms that leave the least, in ascending order of index. Never empty: there are two arms or more.
    pub fn best(&self) -> Vec<usize> {
        fn level<T: Copy>(all: &[T], is_least: impl Fn(T) -> bool) -> Vec<usize> {
            (0..all.len()).filter(|&arm| is_least(all[arm])).collect()
        }
        match self {
            Imbalance::Whole(all) => {
                let least = all.iter().copied().min().unwrap_or_default();
                level(all, |one| one == least)
            }
            Imbalance::Rooted(all) => {
                let least = all.iter().copied().fold(f64::INFINITY, f64::min);
                level(all, |one| one - least <= least * TIE)
            }
        }
    }
}

/// How the arms would stand after each choice for a participant of these levels.
///
/// # Errors
/// [`AssignError::Levels`], [`AssignError::Past`], and [`AssignError::Draw`] where the scheme is another.
// # Source
// Pocock and Simon, "Sequential treatment assignment with balancing for prognostic factors in the
// controlled clinical trial", Biometrics 1975;31:103. Taves, Clin Pharmacol Ther 1974;15:443.
pub fn imbalance(plan: &Plan, levels: &[usize], past: &[Past]) -> Result<Imbalance, AssignError> {
    let Scheme::Minimization { distance, weights, .. } = &plan.scheme else {
        return Err(AssignError::Draw { scheme: plan.scheme.public_name() });
    };
    let given = counts(plan, levels, past)?;
    let given: Vec<&[i64]> = given.iter().map(Vec::as_slice).collect();
    Ok(standing(*distance, weights, &given, plan.arms.names().len()))
}

/// The same from the counts: for each factor, how often each arm was given at the participant's level.
pub(super) fn standing(distance: Distance, weights: &[Weight], given: &[&[i64]], arms: usize) -> Imbalance {
    let after = |arm| {
        given.iter().zip(weights).map(move |(given, weight)| {
            let counts = given.iter().enumerate().map(move |(i, &n)| n + i64::from(i == arm));
            (counts, weight)
        })
    };
    match distance {
        Distance::Range => Imbalance::Whole((0..arms).map(|arm| whole(after(arm), range)).collect()),
        Distance::Variance => Imbalance::Whole((0..arms).map(|arm| whole(after(arm), spread)).collect()),
        Distance::StandardDeviation => Imbalance::Rooted((0..arms).map(|arm| rooted(after(arm))).collect()),
    }
}

/// How often each arm was given to those who share the participant's level, factor by factor.
fn counts(plan: &Plan, levels: &[usize], past: &[Past]) -> Result<Vec<Vec<i64>>, AssignError> {
    if !plan.holds(levels) {
        return Err(AssignError::Levels { factors: plan.factors.len() });
    }
    let mut given = vec![vec![0; plan.arms.names().len()]; levels.len()];
    for (i, earlier) in past.iter().enumerate() {
        if !plan.holds(&earlier.levels) || earlier.arm >= plan.arms.names().len() {
            return Err(AssignError::Past { number: i + 1 });
        }
        for ((given, level), own) in given.iter_mut().zip(&earlier.levels).zip(levels) {
            given[earlier.arm] += i64::from(level == own);
        }
    }
    Ok(given)
}

/// At most 8 factors, weights of at most 10^6 thousandths and, with 16 arms and 10^4 participants, a
/// spread of at most 2 * 10^9: far below 2^63.
fn whole<'a, C: Iterator<Item = i64> + Clone>(
    factors: impl Iterator<Item = (C, &'a Weight)>,
    distance: impl Fn(C) -> i64,
) -> i64 {
    factors.map(|(counts, weight)| i64::from(weight.thousandths()) * distance(counts)).sum()
}

/// In the order of the factors: a sum of doubles depends on it.
fn rooted<'a, C: Iterator<Item = i64> + Clone>(factors: impl Iterator<Item = (C, &'a Weight)>) -> f64 {
    // A spread is below 2^53, so the conversion is exact.
    factors.fold(0.0, |sum, (counts, weight)| {
        sum + f64::from(weight.thousandths()) * (spread(counts) as f64).sqrt()
    })
}

fn range(counts: impl Iterator<Item = i64> + Clone) -> i64 {
    counts.clone().max().unwrap_or_default() - counts.min().unwrap_or_default()
}

/// k times the sum of squares less the square of the sum: k squared times the variance of k counts.
fn spread(counts: impl Iterator<Item = i64> + Clone) -> i64 {
    let k: i64 = counts.clone().map(|_| 1).sum();
    let squares: i64 = counts.clone().map(|n| n * n).sum();
    let sum: i64 = counts.sum();
    k * squares - sum * sum
}

/// The draw: one of the best arms, each equally likely, is preferred; it is given with the scheme's
/// probability, and otherwise one of the others, each equally likely.
///
/// When all arms are level, as for the first participant, every arm is so equally likely.
pub(super) fn draw(plan: &Plan, seed: &Seed, levels: &[usize], past: &[Past]) -> Result<usize, AssignError> {
    let Scheme::Minimization { probability, .. } = plan.scheme else {
        return Err(AssignError::Draw { scheme: plan.scheme.public_name() });
    };
    let best = imbalance(plan, levels, past)?.best();
    Ok(choose(&best, plan.arms.names().len(), probability, &mut Stream::new(seed)))
}

pub(super) fn choose(best: &[usize], arms: usize, probability: Probability, stream: &mut Stream) -> usize {
    let below = |stream: &mut Stream, n: usize| {
        let n = u32::try_from(n).ok().and_then(NonZeroU32::new);
        stream.below(n.expect("there are 2 to 16 arms and at least one of them is best")) as usize
    };
    let preferred = best[below(stream, best.len())];
    if stream.below(coin::ALL) < probability.ten_thousandths() {
        return preferred;
    }
    // The others in ascending order of index.
    let other = below(stream, arms - 1);
    other + usize::from(other >= preferred)
}
