//! Many lists, with fixed seeds: exact properties of each, and frequencies over all.
//!
//! Bounds on frequencies stand at p = 0.0001, two-sided and divided by the number of comparisons where
//! there are several. Seeds are fixed, so a test passes always or never.

use super::{
    super::{
        simulate::{correct_guess_rate, worst_imbalance},
        *,
    },
    blocks_of, two_arms,
};
use std::collections::BTreeMap;

/// `count` lists of a design for two arms, each from a seed of its own.
fn lists(sizes: &[u32], total: u32, count: u32) -> impl Iterator<Item = Vec<Slot>> {
    let (scheme, arms) = (blocks_of(sizes), two_arms());
    (0..count).map(move |i| {
        let mut seed = [0x5a; 32];
        seed[..4].copy_from_slice(&i.to_le_bytes());
        generate(&scheme, &arms, total, &Seed::new(seed)).expect("a list")
    })
}

fn arms_of(list: &[Slot]) -> impl Iterator<Item = usize> {
    list.iter().map(|slot| slot.arm)
}

/// The list's blocks as text, such as `0110`.
fn patterns(list: &[Slot]) -> Vec<String> {
    list.chunk_by(|a, b| a.block == b.block)
        .map(|block| arms_of(block).map(|arm| arm.to_string()).collect())
        .collect()
}

#[test]
fn every_list_is_balanced_block_by_block_and_in_total() {
    let designs: [(&[u32], u32); 5] = [(&[4, 6], 92), (&[4], 92), (&[4, 6, 8], 92), (&[6], 96), (&[20], 80)];
    for (sizes, total) in designs {
        for list in lists(sizes, total, 2_000) {
            assert!(list.iter().map(|slot| slot.position).eq(1..=total));
            assert!(list.iter().all(|slot| slot.arm < 2));
            assert_eq!(arms_of(&list).filter(|&arm| arm == 0).count() as u32, total / 2);
            let patterns = patterns(&list);
            assert_eq!(list.last().map(|slot| slot.block as usize), Some(patterns.len()));
            for block in patterns {
                assert!(sizes.contains(&(block.len() as u32)), "a block of {}", block.len());
                assert_eq!(block.matches('0').count() * 2, block.len());
            }
            let bound = sizes.iter().max().expect("a size") / 2;
            assert!(worst_imbalance(2, arms_of(&list)) <= bound);
        }
    }
}

#[test]
fn three_arms_come_out_equal() {
    let arms = Arms::new(["a", "b", "c"]).expect("three arms");
    for seed in 0..200 {
        let list = generate(&blocks_of(&[6, 9]), &arms, 93, &Seed::new([seed; 32])).expect("a list");
        for block in patterns(&list) {
            assert!(block.len() == 6 || block.len() == 9);
            assert!(["0", "1", "2"].iter().all(|arm| block.matches(arm).count() * 3 == block.len()));
        }
        for arm in 0..3 {
            assert_eq!(arms_of(&list).filter(|&found| found == arm).count(), 31);
        }
        assert!(worst_imbalance(3, arms_of(&list)) <= 3);
    }
}

#[test]
fn a_seed_gives_one_list_and_every_seed_another() {
    let first: Vec<Vec<Slot>> = lists(&[4, 6], 92, 1_000).collect();
    let again: Vec<Vec<Slot>> = lists(&[4, 6], 92, 1_000).collect();
    assert!(first == again);
    let mut arms: Vec<Vec<usize>> = first.iter().map(|list| arms_of(list).collect()).collect();
    arms.sort();
    arms.dedup();
    assert_eq!(arms.len(), 1_000);
    // Every bit of the seed counts.
    let (scheme, two) = (blocks_of(&[4, 6]), two_arms());
    let base = generate(&scheme, &two, 92, &Seed::new([0; 32]));
    for bit in 0..256 {
        let mut seed = [0; 32];
        seed[bit / 8] = 1 << (bit % 8);
        assert!(generate(&scheme, &two, 92, &Seed::new(seed)) != base, "bit {bit}");
    }
}

/// Each arm is as likely as the other at every position, the last ones included.
#[test]
fn at_every_position_the_arms_are_equally_likely() {
    let mut first_arm = [0u32; 92];
    for list in lists(&[4, 6], 92, 20_000) {
        for slot in list {
            first_arm[slot.position as usize - 1] += u32::from(slot.arm == 0);
        }
    }
    // Binomial(20 000, 1/2) has standard deviation 70.71; 92 comparisons, two-sided, at 0.0001 in all
    // allow 4.875 of them.
    for (i, &count) in first_arm.iter().enumerate() {
        assert!(count.abs_diff(10_000) <= 344, "position {}: {count} of 20000", i + 1);
    }
}

/// Chi-square against equal frequencies.
fn chi_square(counts: &BTreeMap<String, u32>) -> f64 {
    let expected = f64::from(counts.values().sum::<u32>()) / counts.len() as f64;
    counts.values().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
}

fn count(patterns: impl Iterator<Item = String>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for pattern in patterns {
        *counts.entry(pattern).or_default() += 1;
    }
    counts
}

/// Critical values of chi-square at p = 0.0001: 15.137 with 1 degree of freedom, 25.745 with 5, 50.795
/// with 19.
#[test]
fn every_pattern_of_a_block_is_equally_likely() {
    let all: Vec<Vec<String>> = lists(&[4, 6], 92, 4_000).map(|list| patterns(&list)).collect();
    for (size, kinds, critical) in [(4, 6, 25.745), (6, 20, 50.795)] {
        let of_size = |block: &&String| block.len() == size;
        let counts = count(all.iter().flatten().filter(of_size).cloned());
        assert_eq!(counts.len(), kinds, "patterns of size {size}");
        let found = chi_square(&counts);
        assert!(found < critical, "size {size}: {found}");
        // The last block is shuffled as the others are.
        let counts = count(all.iter().filter_map(|list| list.last()).filter(of_size).cloned());
        assert_eq!(counts.len(), kinds, "last patterns of size {size}");
        let found = chi_square(&counts);
        assert!(found < critical, "last, size {size}: {found}");
    }
    // While at least 10 slots remain both sizes are free; the first ten blocks take at most 60 of 92.
    let sizes = count(all.iter().flat_map(|list| &list[..10]).map(|block| block.len().to_string()));
    assert_eq!(sizes.len(), 2);
    assert!(chi_square(&sizes) < 15.137, "sizes: {sizes:?}");
    // One block says nothing of the next: pairs of first patterns of size 4, 36 kinds; chi-square with
    // 35 degrees of freedom is 74.926 at p = 0.0001.
    let pairs = lists(&[4], 8, 40_000).map(|list| patterns(&list).concat());
    let counts = count(pairs);
    assert_eq!(counts.len(), 36);
    let found = chi_square(&counts);
    assert!(found < 74.926, "pairs: {found}");
}

/// Blackwell and Hodges 1957: in a block of 2m slots the observer is right m + 2^(2m-1)/C(2m, m) - 1/2
/// times on average. Counted here over every pattern that the generator gives.
#[test]
fn guesses_in_a_block_counted_over_all_its_patterns() {
    for (size, choose, exact) in [(4u32, 6, 17.0 / 24.0), (6, 20, 4.1 / 6.0)] {
        let mut seen = BTreeMap::new();
        for list in lists(&[size], size, 2_000) {
            seen.entry(patterns(&list).concat()).or_insert_with(|| correct_guess_rate(2, arms_of(&list)));
        }
        assert_eq!(seen.len(), choose);
        let mean = seen.values().sum::<f64>() / choose as f64;
        assert!((mean - exact).abs() < 1e-12, "block {size}: {mean}");
    }
}
