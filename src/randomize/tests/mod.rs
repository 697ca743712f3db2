//! Tests over whole lists: the known answer, the seals under attack, the statistics of many lists.

mod known_answer;
mod sealing;
mod statistics;

use super::{Arms, Scheme};

fn two_arms() -> Arms {
    Arms::new(["single infusion", "double infusion"]).expect("two arms")
}

fn blocks_of(sizes: &[u32]) -> Scheme {
    Scheme::PermutedBlocks { sizes: sizes.to_vec() }
}
