//! Minimization: published examples, ties, probabilities, and what does not belong together.

use super::{
    super::{
        minimize::{Imbalance, imbalance},
        *,
    },
    blocks_of, factors_of,
};
use serde::Deserialize;

fn weights(weights: &[&str]) -> Vec<Weight> {
    weights.iter().map(|weight| weight.parse().expect("a weight")).collect()
}

fn plan(
    arms: usize,
    distance: Distance,
    probability: &str,
    given: &[&str],
    factors: &[(&str, &[&str])],
) -> Plan {
    Plan {
        scheme: Scheme::Minimization {
            distance,
            probability: probability.parse().expect("a probability"),
            weights: weights(given),
        },
        arms: Arms::new((0..arms).map(|i| format!("arm {i}"))).expect("arms"),
        factors: factors_of(factors),
        total: 92,
    }
}

/// How often each arm is given over many draws of one participant.
fn frequencies(plan: &Plan, levels: &[usize], past: &[Past], draws: u32) -> Vec<u32> {
    let mut times = vec![0; plan.arms.names().len()];
    for position in 1..=draws {
        let content = Content::Draw(plan::draw_seed(&Seed::new([0x33; 32]), position));
        times[assign(plan, &content, levels, past).expect("an arm")] += 1;
    }
    times
}

#[derive(Deserialize)]
struct Row {
    id: String,
    distance: String,
    given: String,
    participant: String,
    imbalance: String,
    best: String,
}

/// Participants such that each arm was given so often at each level of every factor, in the row's own
/// notation. The factors' sums must agree per arm, or those missing fall into a level that is not asked.
fn past_of(given: &[Vec<Vec<usize>>]) -> Vec<Past> {
    let arms = given[0][0].len();
    let mut past = Vec::new();
    for arm in 0..arms {
        let levels: Vec<Vec<usize>> = given
            .iter()
            .map(|factor| {
                (0..factor.len()).flat_map(|level| std::iter::repeat_n(level, factor[level][arm])).collect()
            })
            .collect();
        let most = levels.iter().map(Vec::len).max().unwrap_or_default();
        let at = |levels: &Vec<usize>, i: usize, other: usize| levels.get(i).copied().unwrap_or(other);
        past.extend((0..most).map(|i| Past {
            levels: levels.iter().zip(given).map(|(l, factor)| at(l, i, factor.len())).collect(),
            arm,
        }));
    }
    past
}

/// Every row of fixtures/randomize/minimization.csv: the imbalance that each arm would leave, and what is
/// then given at p = 1.
#[test]
fn published_and_worked_examples_come_out_exactly() {
    let rows = include_str!("../../../fixtures/randomize/minimization.csv");
    let mut reader = csv::Reader::from_reader(rows.as_bytes());
    let mut checked = 0;
    for row in reader.deserialize() {
        let row: Row = row.expect("a row");
        let id = &row.id;
        // `sex=F:3/6 sex=M:0/0; class=B:0/0 class=C:8/6`
        let mut names: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut given: Vec<Vec<Vec<usize>>> = Vec::new();
        for factor in row.given.split("; ") {
            let cells = factor.split(' ').map(|cell| cell.rsplit_once(':').expect("level:counts"));
            let (labels, counts): (Vec<&str>, Vec<&str>) = cells.unzip();
            let named: Vec<(&str, &str)> =
                labels.iter().map(|label| label.split_once('=').expect("factor=level")).collect();
            // One level more, for those of whom the example does not say it.
            let levels = named.iter().map(|(_, level)| *level).chain(["elsewhere"]).collect();
            names.push((named[0].0, levels));
            let numbers = |text: &str| text.split('/').map(|n| n.parse().expect("a count")).collect();
            given.push(counts.into_iter().map(numbers).collect());
        }
        let levels: Vec<usize> = row
            .participant
            .split(',')
            .zip(&names)
            .map(|(cell, (name, levels))| {
                let level = cell.strip_prefix(&format!("{name}=")).expect("the factor");
                levels.iter().position(|known| *known == level).expect("a level")
            })
            .collect();
        let factors: Vec<(&str, &[&str])> = names.iter().map(|(name, levels)| (*name, &levels[..])).collect();
        let distance = Distance::named(&row.distance).expect("a distance");
        let arms = given[0][0].len();
        let plan = plan(arms, distance, "1", &vec!["1"; factors.len()], &factors);
        let past = past_of(&given);
        let found = imbalance(&plan, &levels, &past).expect("an imbalance");
        let best: Vec<usize> = row.best.split(' ').map(|arm| arm.parse().expect("an arm")).collect();
        assert_eq!(found.best(), best, "{id}");
        let expected: Vec<i64> = row.imbalance.split('/').map(|n| n.parse().expect("a number")).collect();
        match found {
            Imbalance::Whole(found) => {
                assert_eq!(found, expected.iter().map(|n| n * 1_000).collect::<Vec<_>>(), "{id}");
            }
            // The root of k squared times the variance: with two arms the range itself.
            Imbalance::Rooted(found) => {
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - *expected as f64 * 1_000.0).abs() < 1e-9, "{id}: {found}");
                }
            }
        }
        let times = frequencies(&plan, &levels, &past, 400);
        for (arm, &times) in times.iter().enumerate() {
            assert_eq!(times > 0, best.contains(&arm), "{id} arm {arm}");
            // Of 400, where two arms are level: 200 with a standard deviation of 10.
            assert!(best.len() == 1 || times == 0 || times.abs_diff(200) <= 45, "{id}: {times} of 400");
        }
        checked += 1;
    }
    assert_eq!(checked, 8);
}

const SEX: (&str, &[&str]) = ("sex", &["female", "male"]);
const CLASS: (&str, &[&str]) = ("class", &["A", "B", "C"]);

fn past(rows: &[(&[usize], usize)]) -> Vec<Past> {
    rows.iter().map(|(levels, arm)| Past { levels: levels.to_vec(), arm: *arm }).collect()
}

#[test]
fn the_best_arm_comes_with_its_probability_and_the_others_share_the_rest() {
    // arms, p, past of one factor, thousandths expected of each arm
    let one: &[(&[usize], usize)] = &[(&[0], 0)];
    let pair: &[(&[usize], usize)] = &[(&[0], 0), (&[0], 0), (&[0], 1)];
    let table: [(usize, &str, &[(&[usize], usize)], &[u32]); 7] = [
        (2, "0.8", &[], &[500, 500]),
        (2, "0.8", one, &[200, 800]),
        (2, "0.5001", one, &[500, 500]),
        (2, "1", one, &[0, 1000]),
        (3, "0.7", &[], &[333, 333, 333]),
        // 0 is behind no more: 1 and 2 are level and best; one of them is preferred, the other shares.
        (3, "0.7", one, &[150, 425, 425]),
        // Range after each choice: 3, 2, 1: the third alone is best.
        (3, "0.7", pair, &[150, 150, 700]),
    ];
    for (arms, p, rows, expected) in table {
        let plan = plan(arms, Distance::Range, p, &["1"], &[SEX]);
        let times = frequencies(&plan, &[0], &past(rows), 10_000);
        for (times, expected) in times.iter().zip(expected) {
            // Standard deviation at most 50 of 10 000; none where it is certain.
            let bound = if *expected % 1000 == 0 { 0 } else { 200 };
            assert!(times.abs_diff(expected * 10) <= bound, "{arms} {p} {rows:?}: {times}");
        }
    }
}

/// A draw depends on who shares a level with the participant and on nothing else of the past.
#[test]
fn only_the_participants_own_levels_count() {
    let plan = plan(2, Distance::Range, "1", &["1", "1"], &[SEX, CLASS]);
    let shown = |rows: &[(&[usize], usize)]| imbalance(&plan, &[1, 2], &past(rows)).expect("an imbalance");
    assert_eq!(shown(&[]), Imbalance::Whole(vec![2_000, 2_000]));
    assert_eq!(shown(&[(&[0, 0], 1), (&[0, 1], 1)]), Imbalance::Whole(vec![2_000, 2_000]));
    assert_eq!(shown(&[(&[1, 0], 1)]), Imbalance::Whole(vec![1_000, 3_000]));
    assert_eq!(shown(&[(&[1, 2], 1)]), Imbalance::Whole(vec![0, 4_000]));
    assert_eq!(shown(&[(&[1, 0], 0), (&[0, 2], 1)]), Imbalance::Whole(vec![2_000, 2_000]));
}

#[test]
fn weights_decide_between_factors_and_a_weight_of_zero_leaves_one_out() {
    let history: &[(&[usize], usize)] = &[(&[0, 1], 0), (&[1, 0], 1)];
    // weights, imbalance for a participant of the first levels: the first factor asks for arm 1, the second
    // for arm 0.
    let table: [(&[&str], Vec<i64>); 5] = [
        (&["1", "1"], vec![2_000, 2_000]),
        (&["2", "1"], vec![4_000, 2_000]),
        (&["0.5", "0.501"], vec![1_000, 1_002]),
        (&["0", "1"], vec![0, 2_000]),
        (&["1000", "0.001"], vec![2_000_000, 2]),
    ];
    for (given, expected) in table {
        for (distance, square) in [(Distance::Range, false), (Distance::Variance, true)] {
            let plan = plan(2, distance, "1", given, &[SEX, CLASS]);
            // After the choice the counts stand 2 to 0 or 1 to 1: variance 4 or 0, range 2 or 0.
            let expected = expected.iter().map(|n| if square { n * 2 } else { *n }).collect();
            assert_eq!(
                imbalance(&plan, &[0, 0], &past(history)),
                Ok(Imbalance::Whole(expected)),
                "{given:?}"
            );
        }
    }
}

/// Sums of standard deviations that are equal but for rounding are a tie; those that differ are none.
#[test]
fn rounding_breaks_no_tie_and_makes_none() {
    let rooted = |all: &[f64]| Imbalance::Rooted(all.to_vec()).best();
    assert_eq!(rooted(&[0.1 + 0.2, 0.3]), [0, 1]);
    assert_eq!(rooted(&[3000.0, 3000.0 * (1.0 + 0.9e-12)]), [0, 1]);
    assert_eq!(rooted(&[3000.0, 3000.0 * (1.0 + 1.5e-12)]), [0]);
    assert_eq!(rooted(&[3000.1, 3000.0]), [1]);
    assert_eq!(rooted(&[0.0, 0.0, 1.0]), [0, 1]);
    // Weights 0.1, 0.2, 0.3 over three factors: the counts make 2, 2, 0 for one arm and 0, 0, 2 for the
    // other, 0.1 * 2 + 0.2 * 2 against 0.3 * 2.
    let factors: &[(&str, &[&str])] = &[SEX, CLASS, ("site", &["1", "2"])];
    let plan = plan(2, Distance::StandardDeviation, "1", &["0.1", "0.2", "0.3"], factors);
    let history = past(&[(&[0, 0, 1], 0), (&[1, 1, 0], 1)]);
    let found = imbalance(&plan, &[0, 0, 0], &history).expect("an imbalance");
    assert_eq!(found.best(), [0, 1], "{found:?}");
}

/// The largest counts, weights and numbers of arms and factors that there can be.
#[test]
fn the_largest_sums_do_not_overflow() {
    let names: Vec<String> = (0..8).map(|i| format!("factor {i}")).collect();
    let factors: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), SEX.1)).collect();
    for distance in Distance::ALL {
        let plan = plan(16, distance, "1", &["1000"; 8], &factors);
        let history = vec![Past { levels: vec![0; 8], arm: 3 }; 9_999];
        let found = imbalance(&plan, &[0; 8], &history).expect("an imbalance");
        let best = found.best();
        assert_eq!(best.len(), 15);
        assert!(!best.contains(&3));
        let expected = match distance {
            Distance::Range => 8_000_000 * 10_000,
            Distance::Variance => 8_000_000 * (16 * 10_000i64.pow(2) - 10_000i64.pow(2)),
            Distance::StandardDeviation => continue,
        };
        let Imbalance::Whole(found) = found else { panic!("whole numbers") };
        assert_eq!(found[3], expected);
    }
}

#[test]
fn places_participants_and_pasts_of_another_plan_are_refused() {
    let two = plan(2, Distance::Range, "0.8", &["1", "1"], &[SEX, CLASS]);
    let draw = Content::Draw(Seed::new([1; 32]));
    let levels = AssignError::Levels { factors: 2 };
    for wrong in [&[][..], &[0], &[0, 3], &[2, 0], &[0, 0, 0]] {
        assert_eq!(assign(&two, &draw, wrong, &[]), Err(levels.clone()), "{wrong:?}");
    }
    assert!(assign(&two, &draw, &[1, 2], &[]).is_ok());
    for wrong in [(&[0][..], 0), (&[0, 3], 0), (&[0, 0], 2)] {
        let rows: [(&[usize], usize); 2] = [(&[0, 0], 1), wrong];
        assert_eq!(
            assign(&two, &draw, &[0, 0], &past(&rows)),
            Err(AssignError::Past { number: 2 }),
            "{wrong:?}"
        );
    }
    let list = Plan { scheme: blocks_of(&[4]), ..two.clone() };
    assert_eq!(assign(&list, &draw, &[0, 0], &[]), Err(AssignError::Draw { scheme: "permuted-blocks" }));
    assert_eq!(imbalance(&list, &[0, 0], &[]), Err(AssignError::Draw { scheme: "permuted-blocks" }));
    // A place with an arm gives it, whoever comes.
    assert_eq!(assign(&list, &Content::Arm(1), &[], &[]), Ok(1));
    assert_eq!(assign(&list, &Content::Arm(2), &[], &[]), Err(AssignError::Arm));
    assert_eq!(assign(&two, &Content::Arm(0), &[], &[]), Ok(0));
}

/// Over whole trials minimization keeps every level close to even, which complete randomization does not.
#[test]
fn levels_stay_balanced_over_a_trial() {
    let plan = plan(2, Distance::Range, "0.8", &["1", "1"], &[SEX, CLASS]);
    let seed = Seed::new([0x44; 32]);
    let mut history: Vec<Past> = Vec::new();
    for place in draw_up(&plan, &seed).expect("92 draws") {
        let levels = vec![place.position as usize % 2, place.position as usize % 3];
        let arm = assign(&plan, &place.content, &levels, &history).expect("an arm");
        history.push(Past { levels, arm });
    }
    assert_eq!(history.len(), 92);
    for (factor, level) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] {
        let of = |arm| history.iter().filter(|p| p.levels[factor] == level && p.arm == arm).count();
        assert!(of(0).abs_diff(of(1)) <= 5, "{factor} {level}: {} {}", of(0), of(1));
    }
    assert_eq!(format!("{:?} {:?}", history[0], Content::Arm(1)), "Past([hidden]) Content([hidden])");
    let place = Place { stratum: 0, position: 7, block: 2, content: Content::Arm(1) };
    assert_eq!(format!("{place:?}"), "Place(0 7 [hidden])");
}
