//! Tests over whole lists: the known answer, the seals under attack, the statistics of many lists.

mod known_answer;
mod sealing;
mod statistics;

use super::{Arms, Content, Scheme};

fn two_arms() -> Arms {
    Arms::new(["single infusion", "double infusion"]).expect("two arms")
}

fn blocks_of(sizes: &[u32]) -> Scheme {
    Scheme::PermutedBlocks { sizes: sizes.to_vec() }
}

/// The index of the arm of a place that holds one.
fn index_of(content: &Content) -> usize {
    match content {
        Content::Arm(index) => *index,
        Content::Draw(_) => panic!("an arm is expected"),
    }
}
