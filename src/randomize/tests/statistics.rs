//! Many lists, with fixed seeds: exact properties of each, and frequencies over all.
//!
//! Bounds on frequencies stand at p = 0.0001, two-sided and divided by the number of comparisons where
//! there are several. Seeds are fixed, so a test passes always or never.

use super::{
    super::{
        simulate::{correct_guess_rate, worst_imbalance},
        *,
    },
    blocks_of, plan_of, two_arms,
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
        for list in lists(sizes, total, 500) {
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

/// Chi-square against equal frequencies.
fn chi_square(counts: &BTreeMap<u32, u32>) -> f64 {
    let expected = f64::from(counts.values().sum::<u32>()) / counts.len() as f64;
    counts.values().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
}

/// The arms of a block as the digits of a number behind a first 1: `0110` is 10110 in base 2.
fn number(block: &[Slot]) -> u32 {
    block.iter().fold(1, |number, slot| number * 2 + slot.arm as u32)
}

/// Lists of {4, 6} with 92 slots: arms by position, blocks by pattern, sizes. Bounds: p = 0.0001 for each
/// test; chi-square 15.137 with 1 degree of freedom, 25.745 with 5, 50.795 with 19.
///
/// While at least 10 slots remain both sizes are free; the first ten blocks take at most 60 of 92.
fn arms_patterns_and_sizes_are_equally_likely(lists_drawn: u32) {
    let mut first_arm = [0u32; 92];
    let (mut all, mut last) =
        (BTreeMap::<usize, BTreeMap<u32, u32>>::new(), BTreeMap::<usize, BTreeMap<u32, u32>>::new());
    let mut sizes = BTreeMap::<u32, u32>::new();
    for list in lists(&[4, 6], 92, lists_drawn) {
        let mut given = 0;
        for slot in &list {
            first_arm[slot.position as usize - 1] += u32::from(slot.arm == 0);
            given += slot.arm;
        }
        assert_eq!((list.len(), given), (92, 46), "46 of each");
        let blocks: Vec<&[Slot]> = list.chunk_by(|a, b| a.block == b.block).collect();
        for block in &blocks {
            *all.entry(block.len()).or_default().entry(number(block)).or_default() += 1;
        }
        // The last block is shuffled as the others are.
        let block = blocks[blocks.len() - 1];
        *last.entry(block.len()).or_default().entry(number(block)).or_default() += 1;
        for block in &blocks[..10] {
            *sizes.entry(block.len() as u32).or_default() += 1;
        }
    }
    // Binomial(n, 1/2) has standard deviation sqrt(n)/2; 92 comparisons, two-sided, at 0.0001 in all allow
    // 4.875 of them.
    let (half, bound) = (f64::from(lists_drawn) / 2.0, 4.875 * f64::from(lists_drawn).sqrt() / 2.0);
    for (i, &count) in first_arm.iter().enumerate() {
        assert!((f64::from(count) - half).abs() <= bound, "position {}: {count} of {lists_drawn}", i + 1);
    }
    for (name, patterns) in [("all", all), ("last", last)] {
        assert!(patterns.keys().eq(&[4, 6]), "{name}: only the sizes that are configured");
        for (size, kinds, critical) in [(4, 6, 25.745), (6, 20, 50.795)] {
            let counts = &patterns[&size];
            assert_eq!(counts.len(), kinds, "{name}: patterns of size {size}");
            let found = chi_square(counts);
            assert!(found < critical, "{name}, size {size}: {found}");
        }
    }
    assert_eq!(sizes.len(), 2);
    assert!(chi_square(&sizes) < 15.137, "sizes: {sizes:?}");
}

#[test]
fn arms_patterns_and_sizes_are_equally_likely_in_10_000_lists() {
    arms_patterns_and_sizes_are_equally_likely(10_000);
}

/// `cargo test --release --lib statistics -- --ignored`: some seconds.
#[test]
#[ignore = "a million lists: in a release build"]
fn arms_patterns_and_sizes_are_equally_likely_in_a_million_lists() {
    arms_patterns_and_sizes_are_equally_likely(1_000_000);
}

/// One block says nothing of the next: pairs of patterns of size 4, 36 kinds; chi-square with 35 degrees of
/// freedom is 74.926 at p = 0.0001.
#[test]
fn the_first_block_says_nothing_of_the_second() {
    let mut pairs = BTreeMap::<u32, u32>::new();
    for list in lists(&[4], 8, 20_000) {
        *pairs.entry(number(&list)).or_default() += 1;
    }
    assert_eq!(pairs.len(), 36);
    let found = chi_square(&pairs);
    assert!(found < 74.926, "{found}");
}

/// Two strata of one list: the first block of one says nothing of the first block of the other, nor does the
/// number of places at which they agree run away from half (92 places, 46 of each arm: the mean is 46).
#[test]
fn strata_say_nothing_of_each_other() {
    let plan = plan_of(blocks_of(&[4]), &[("sex", &["female", "male"])], 92);
    let count = 4_000;
    let (mut pairs, mut agreed, mut squares) = (BTreeMap::<u32, u32>::new(), 0.0, 0.0);
    for i in 0..count {
        let mut seed = [0x77; 32];
        seed[..4].copy_from_slice(&u32::to_le_bytes(i));
        let places = draw_up(&plan, &Seed::new(seed)).expect("lists");
        let arms: Vec<u32> = places.iter().map(|place| u32::from(place.content == Content::Arm(1))).collect();
        let (one, other) = arms.split_at(92);
        let first = one[..4].iter().chain(&other[..4]).fold(1, |number, arm| number * 2 + arm);
        *pairs.entry(first).or_default() += 1;
        let same = one.iter().zip(other).filter(|(one, other)| one == other).count() as f64;
        agreed += same;
        squares += (same - 46.0).powi(2);
    }
    assert_eq!(pairs.len(), 36);
    let found = chi_square(&pairs);
    assert!(found < 74.926, "first blocks: {found}");
    // A pair of blocks of 4 agrees at 4, 0 or 2 places with probability 1/6, 1/6, 2/3: variance 4/3 a block,
    // 23 blocks: standard deviation 5.538 a list; 3.89 standard errors at p = 0.0001.
    let (mean, n) = (agreed / f64::from(count), f64::from(count));
    assert!((mean - 46.0).abs() < 3.89 * 5.538 / n.sqrt(), "agreement {mean}");
    assert!(
        (squares / n / (23.0 * 4.0 / 3.0) - 1.0).abs() < 3.89 * (2.0 / n).sqrt(),
        "variance {}",
        squares / n
    );
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
