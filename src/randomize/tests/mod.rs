//! Tests over whole lists: the known answers, the seals under attack, the statistics of many lists.

mod bundle;
mod imported;
mod known_answer;
mod known_schemes;
mod minimization;
mod plans;
mod published;
mod sealing;
mod statistics;

use super::{Arms, Factor, Plan, Scheme};

fn two_arms() -> Arms {
    Arms::new(["single infusion", "double infusion"]).expect("two arms")
}

fn blocks_of(sizes: &[u32]) -> Scheme {
    Scheme::PermutedBlocks { sizes: sizes.to_vec() }
}

fn factors_of(factors: &[(&str, &[&str])]) -> Vec<Factor> {
    let owned = |levels: &[&str]| levels.iter().map(|level| (*level).to_owned()).collect();
    factors.iter().map(|(name, levels)| Factor { name: (*name).to_owned(), levels: owned(levels) }).collect()
}

/// A plan for two arms.
fn plan_of(scheme: Scheme, factors: &[(&str, &[&str])], total: u32) -> Plan {
    Plan { scheme, arms: two_arms(), factors: factors_of(factors), total }
}
