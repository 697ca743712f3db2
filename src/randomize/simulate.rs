//! Measures of a sequence of arms: how well it can be guessed, how far it runs out of balance; and, in
//! [`study`], of many simulated trials.
//!
//! For acceptance tests and validation reports over many lists. Never for a running trial's list:
//! whoever needs a figure of that has the arms in hand.

pub use super::study::{Balance, MOST, Report, Study, StudyError, study};

/// The share of allocations that an observer guesses who always names the arm given least often so
/// far, and gets 1/k credit where k arms are level (the convergence strategy).
///
/// `arms` is the number of arms; the items are arm indices below it, and others are skipped. 0 for an
/// empty sequence.
// # Source
// Blackwell and Hodges, "Design for the control of selection bias", Ann Math Stat 1957;28:449.
pub fn correct_guess_rate(arms: usize, sequence: impl IntoIterator<Item = usize>) -> f64 {
    let mut given = vec![0u32; arms];
    let (mut credit, mut allocations) = (0.0, 0u32);
    for arm in sequence {
        let Some(&times) = given.get(arm) else { continue };
        let least = given.iter().copied().min().unwrap_or_default();
        if times == least {
            let level = given.iter().filter(|&&other| other == least).count();
            credit += 1.0 / level as f64;
        }
        given[arm] += 1;
        allocations += 1;
    }
    if allocations == 0 { 0.0 } else { credit / f64::from(allocations) }
}

/// The largest difference, at any point of the sequence, between the arm given most often and the arm
/// given least often. With two arms this is the worst |imbalance|.
///
/// `arms` is the number of arms; the items are arm indices below it, and others are skipped.
pub fn worst_imbalance(arms: usize, sequence: impl IntoIterator<Item = usize>) -> u32 {
    let mut given = vec![0u32; arms];
    let mut worst = 0;
    for arm in sequence {
        let Some(times) = given.get_mut(arm) else { continue };
        *times += 1;
        let most = given.iter().copied().max().unwrap_or_default();
        let least = given.iter().copied().min().unwrap_or_default();
        worst = worst.max(most - least);
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_and_imbalance_worked_by_hand() {
        // arms, sequence, credit, worst imbalance
        let table: [(usize, &[usize], f64, u32); 7] = [
            (2, &[], 0.0, 0),
            (2, &[0], 0.5, 1),
            (2, &[0, 1, 1, 0], 0.5 + 1.0 + 0.5 + 1.0, 1),
            (2, &[0, 0, 1, 1], 0.5 + 0.0 + 1.0 + 1.0, 2),
            (2, &[1, 1, 1, 0, 0, 0], 0.5 + 0.0 + 0.0 + 1.0 + 1.0 + 1.0, 3),
            (3, &[2, 0, 1], 1.0 / 3.0 + 0.5 + 1.0, 1),
            (3, &[2, 2, 1, 0], 1.0 / 3.0 + 0.0 + 0.5 + 1.0, 2),
        ];
        for (arms, sequence, credit, worst) in table {
            let rate = correct_guess_rate(arms, sequence.iter().copied());
            assert!((rate * sequence.len() as f64 - credit).abs() < 1e-12, "{sequence:?}: {rate}");
            assert_eq!(worst_imbalance(arms, sequence.iter().copied()), worst, "{sequence:?}");
        }
    }
}
