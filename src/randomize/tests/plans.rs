//! Plans: what is refused and by which key, strata and their lists, the coin designs place by place.

use super::{
    super::{stream::Stream, *},
    blocks_of, factors_of, plan_of, two_arms,
};
use std::num::NonZeroU32;

const SEX: (&str, &[&str]) = ("sex", &["female", "male"]);
const CLASS: (&str, &[&str]) = ("class", &["A", "B", "C"]);

fn p(text: &str) -> Probability {
    text.parse().expect("a probability")
}

fn minimization(probability: &str, weights: &[&str]) -> Scheme {
    let weights = weights.iter().map(|weight| weight.parse().expect("a weight")).collect();
    Scheme::Minimization { distance: Distance::Range, probability: p(probability), weights }
}

fn every_scheme() -> Vec<Scheme> {
    vec![
        blocks_of(&[4, 6]),
        Scheme::Complete,
        Scheme::Efron { probability: p("0.7") },
        Scheme::BigStick { limit: 3 },
        minimization("0.8", &["1", "0.5"]),
        Scheme::Imported { equal: true },
        Scheme::Imported { equal: false },
    ]
}

fn arms_of(places: &[Place], stratum: u32) -> Vec<usize> {
    let of = |place: &Place| match place.content {
        Content::Arm(arm) => arm,
        Content::Draw(_) => panic!("a list holds arms"),
    };
    places.iter().filter(|place| place.stratum == stratum).map(of).collect()
}

#[test]
fn schemes_that_cannot_be_run_are_refused_by_their_key() {
    use SchemeError::*;
    let efron = |text| Scheme::Efron { probability: p(text) };
    let coin = |text| Some(Coin { found: p(text) });
    let stick = |limit| Scheme::BigStick { limit };
    let none: &[(&str, &[&str])] = &[];
    let two = &[SEX, CLASS];
    // scheme, arms, factors, total, error
    let table = [
        (Scheme::Complete, 2, none, 92, None),
        (Scheme::Complete, 16, none, 1, None),
        (Scheme::Complete, 2, none, 0, Some(Total { total: 0 })),
        (Scheme::Complete, 2, none, 10_000, None),
        (Scheme::Complete, 2, none, 10_001, Some(Total { total: 10_001 })),
        (efron("0.7"), 2, none, 92, None),
        (efron("0.5001"), 2, none, 92, None),
        (efron("0.9999"), 2, none, 92, None),
        (efron("0.5"), 2, none, 92, coin("0.5")),
        (efron("0"), 2, none, 92, coin("0")),
        (efron("1"), 2, none, 92, coin("1")),
        (efron("0.7"), 3, none, 92, Some(TwoArms { scheme: "efron", arms: 3 })),
        (stick(2), 2, none, 92, None),
        (stick(91), 2, none, 92, None),
        (stick(92), 2, none, 92, Some(LongStick { limit: 92, total: 92 })),
        (stick(1), 2, none, 92, Some(ShortStick { limit: 1 })),
        (stick(0), 2, none, 92, Some(ShortStick { limit: 0 })),
        (stick(3), 3, none, 93, Some(TwoArms { scheme: "big-stick", arms: 3 })),
        (minimization("1", &["1", "1"]), 2, two, 92, None),
        (minimization("0.5001", &["1", "0"]), 2, two, 92, None),
        (minimization("0.5", &["1", "1"]), 2, two, 92, Some(Preference { found: p("0.5"), arms: 2 })),
        (minimization("0.3334", &["1", "1"]), 3, two, 92, None),
        (minimization("0.3333", &["1", "1"]), 3, two, 92, Some(Preference { found: p("0.3333"), arms: 3 })),
        (minimization("0.8", &["1"]), 2, two, 92, Some(Weights { weights: 1, factors: 2 })),
        (minimization("0.8", &["0", "0"]), 2, two, 92, Some(Weightless)),
        (minimization("0.8", &[]), 2, none, 92, Some(NoFactor)),
        (minimization("0.8", &["1", "1"]), 2, two, 10_001, Some(Total { total: 10_001 })),
        (blocks_of(&[4, 6]), 2, two, 91, None),
        (blocks_of(&[4, 6]), 2, none, 91, Some(Incomplete { total: 91 })),
        (blocks_of(&[2]), 2, two, 92, Some(SmallSize { size: 2, arms: 2 })),
        (Scheme::Imported { equal: true }, 2, two, 91, None),
    ];
    for (scheme, arms, factors, total, error) in table {
        let arms = Arms::new((0..arms).map(|i| format!("canary {i}"))).expect("arms");
        let plan = Plan { scheme, arms, factors: factors_of(factors), total };
        let name = format!("{} {total} {error:?}", plan.scheme.public_name());
        assert_eq!(plan.check().err(), error, "{name}");
        let drawn = draw_up(&plan, &Seed::new([1; 32])).err();
        match (&plan.scheme, &error) {
            (Scheme::Imported { .. }, None) => assert_eq!(drawn, Some(NotDrawnUp)),
            _ => assert_eq!(drawn, error, "{name}"),
        }
        assert!(error.is_none_or(|error| !error.to_string().contains("canary")), "{name}");
    }
    let places = generate(&minimization("0.8", &["1"]), &two_arms(), 92, &Seed::new([1; 32]));
    assert_eq!(places.err(), Some(NotAList));
}

/// The keys of the trial definition stand in the errors, so that whoever reads one knows where to look.
#[test]
fn errors_name_the_key_to_change() {
    use SchemeError::*;
    let table = [
        (NoSize, "`block_sizes`"),
        (Coin { found: p("1") }, "`probability` 1 of scheme efron"),
        (Preference { found: p("0.5"), arms: 2 }, "`probability` 0.5 of scheme minimization"),
        (ShortStick { limit: 1 }, "`limit` 1"),
        (LongStick { limit: 92, total: 92 }, "`limit` 92"),
        (NoFactor, "[[allocation.factor]]"),
        (Weights { weights: 1, factors: 2 }, "`weight`"),
        (Weightless, "`weight` 0"),
        (ManyFactors { found: 9 }, "9 factors"),
        (FactorName { index: 2 }, "`name` of [[allocation.factor]] 2"),
        (FactorTwice { first: 1, index: 2 }, "`name`"),
        (Levels { index: 1, found: 1 }, "1 level(s) under `levels`"),
        (ManyStrata { found: 81 }, "81 strata"),
    ];
    for (error, text) in table {
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn factors_that_cannot_be_told_apart_or_make_too_many_strata_are_refused() {
    use SchemeError::*;
    let long = "x".repeat(65);
    let just = "x".repeat(64);
    let levels: Vec<String> = (0..65).map(|i| i.to_string()).collect();
    let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
    let two: &[&str] = &["a", "b"];
    let four: &[&str] = &["a", "b", "c", "d"];
    let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let nine: Vec<(&str, &[&str])> = names.iter().map(|name| (*name, two)).collect();
    // factors, error
    let table: Vec<(Vec<(&str, &[&str])>, Option<SchemeError>)> = vec![
        (vec![], None),
        (vec![("meld", &["<15", ">=15"])], None),
        (vec![(&just, two)], None),
        (vec![("a", &levels[..64])], None),
        (vec![("a", four), ("b", four), ("c", four)], None),
        (nine[..6].to_vec(), None),
        (nine[..7].to_vec(), Some(ManyStrata { found: 128 })),
        (vec![("a", four), ("b", four), ("c", four), ("d", two)], Some(ManyStrata { found: 128 })),
        (vec![("a", &levels[..33]), ("b", two)], Some(ManyStrata { found: 66 })),
        (nine.clone(), Some(ManyFactors { found: 9 })),
        (vec![("a", &levels)], Some(Levels { index: 1, found: 65 })),
        (vec![("a", two), ("b", &["x"])], Some(Levels { index: 2, found: 1 })),
        (vec![("a", &[])], Some(Levels { index: 1, found: 0 })),
        (vec![("a", two), ("a", two)], Some(FactorTwice { first: 1, index: 2 })),
        (vec![("a", &["x", "y", "x"])], Some(LevelTwice { index: 1, first: 1, level: 3 })),
        (vec![("", two)], Some(FactorName { index: 1 })),
        (vec![(&long, two)], Some(FactorName { index: 1 })),
        (vec![("a=b", two)], Some(FactorName { index: 1 })),
        (vec![("a;b", two)], Some(FactorName { index: 1 })),
        (vec![("a ", two)], Some(FactorName { index: 1 })),
        (vec![("a", &["x", "y,z"])], Some(LevelName { index: 1, level: 2 })),
        (vec![("a", &["x;", "y"])], Some(LevelName { index: 1, level: 1 })),
        (vec![("a", &["x", "\"y\""])], Some(LevelName { index: 1, level: 2 })),
        (vec![("a", &["x", "y'"])], Some(LevelName { index: 1, level: 2 })),
        (vec![("a", &["x", "y\n"])], Some(LevelName { index: 1, level: 2 })),
        (vec![("a", &["x", ""])], Some(LevelName { index: 1, level: 2 })),
    ];
    for (factors, error) in table {
        let plan = plan_of(Scheme::Complete, &factors, 20);
        assert_eq!(plan.check().err(), error, "{factors:?}");
    }
    // Minimization makes no strata: eight factors of two levels are well.
    let plan = plan_of(minimization("0.8", &["1"; 8]), &nine[..8], 20);
    assert_eq!(plan.check(), Ok(()));
}

#[test]
fn a_stratum_has_a_label_and_a_number() {
    let plan = plan_of(blocks_of(&[4]), &[SEX, CLASS], 20);
    let labels = [
        "sex=female;class=A",
        "sex=female;class=B",
        "sex=female;class=C",
        "sex=male;class=A",
        "sex=male;class=B",
        "sex=male;class=C",
    ];
    assert_eq!(plan.strata(), labels);
    assert!(plan.is_stratified());
    let number = |levels: &[usize]| plan.stratum(levels);
    assert_eq!([number(&[0, 0]), number(&[0, 2]), number(&[1, 0]), number(&[1, 2])], [0, 2, 3, 5].map(Some));
    for unknown in [&[][..], &[0], &[2, 0], &[0, 3], &[0, 0, 0]] {
        assert_eq!(number(unknown), None, "{unknown:?}");
    }
    let minimized = Plan { scheme: minimization("0.8", &["1", "1"]), ..plan.clone() };
    assert_eq!((minimized.strata(), minimized.stratum(&[1, 2])), (vec![String::new()], Some(0)));
    assert_eq!(minimized.stratum(&[1]), None);
    assert!(!minimized.is_stratified());
    let plain = plan_of(blocks_of(&[4]), &[], 20);
    assert_eq!(
        (plain.strata(), plain.stratum(&[]), plain.stratum(&[0])),
        (vec![String::new()], Some(0), None)
    );
    assert!(!plain.is_stratified());
}

#[test]
fn every_stratum_has_a_list_for_the_whole_trial_from_a_seed_of_its_own() {
    let seed = Seed::new([0x21; 32]);
    for (scheme, length, has_blocks) in [
        (blocks_of(&[6]), 96, true),
        (Scheme::Complete, 92, false),
        (Scheme::Efron { probability: p("0.7") }, 92, false),
        (Scheme::BigStick { limit: 3 }, 92, false),
    ] {
        let plan = plan_of(scheme, &[SEX, CLASS], 92);
        let name = plan.scheme.public_name();
        assert_eq!(plan.length(), Ok(length), "{name}");
        let places = draw_up(&plan, &seed).expect("lists");
        assert_eq!(places.len(), 6 * length as usize);
        let expected = (0..6).flat_map(|stratum| (1..=length).map(move |position| (stratum, position)));
        assert!(places.iter().map(|place| (place.stratum, place.position)).eq(expected), "{name}");
        assert!(places.iter().all(|place| (place.block > 0) == has_blocks), "{name}");
        let lists: Vec<Vec<usize>> = (0..6).map(|stratum| arms_of(&places, stratum)).collect();
        for (i, list) in lists.iter().enumerate() {
            assert!(!lists[..i].contains(list), "{name}: two strata alike");
            let own = plan::stratum_seed(&seed, 6, i as u32);
            let alone = generate(&plan.scheme, &plan.arms, length, &own).expect("a list");
            assert!(alone.iter().map(|slot| slot.arm).eq(list.iter().copied()), "{name}");
        }
    }
    // The one stratum takes the seed as it is.
    assert_eq!(plan::stratum_seed(&seed, 1, 0).expose(), seed.expose());
    assert_ne!(plan::stratum_seed(&seed, 2, 0).expose(), seed.expose());
}

#[test]
fn a_minimized_trial_has_a_seed_for_every_draw() {
    let plan = plan_of(minimization("0.8", &["1", "1"]), &[SEX, CLASS], 92);
    let places = draw_up(&plan, &Seed::new([0x21; 32])).expect("draws");
    assert_eq!(places.len(), 92);
    let mut seeds: Vec<[u8; 32]> = places
        .iter()
        .zip(1..)
        .map(|(place, position)| {
            assert_eq!((place.stratum, place.position, place.block), (0, position, 0));
            let Content::Draw(seed) = &place.content else { panic!("a draw") };
            *seed.expose()
        })
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 92);
}

/// Each coin design written out once more, one number at a time.
#[test]
fn coin_designs_take_their_numbers_in_order() {
    let below = |stream: &mut Stream, n| stream.below(NonZeroU32::new(n).expect("a bound")) as usize;
    for byte in 0..40 {
        let seed = Seed::new([byte; 32]);
        let list = |scheme: Scheme, count: usize| -> Vec<usize> {
            let arms = Arms::new((0..count).map(|i| format!("arm {i}"))).expect("arms");
            let slots = generate(&scheme, &arms, 200, &seed).expect("a list");
            assert!(slots.iter().map(|slot| (slot.position, slot.block)).eq((1..=200).map(|i| (i, 0))));
            slots.iter().map(|slot| slot.arm).collect()
        };
        let mut stream = Stream::new(&seed);
        assert_eq!(list(Scheme::Complete, 3), (0..200).map(|_| below(&mut stream, 3)).collect::<Vec<_>>());

        let mut stream = Stream::new(&seed);
        let mut lead = 0i32; // arm 0 less arm 1
        let by_hand = |stream: &mut Stream, lead: &mut i32, limit: Option<i32>| {
            let arm = match limit {
                Some(limit) if lead.abs() == limit => usize::from(*lead > 0),
                Some(_) => below(stream, 2),
                None if *lead == 0 => below(stream, 2),
                None if below(stream, 10_000) < 6_667 => usize::from(*lead > 0),
                None => usize::from(*lead < 0),
            };
            *lead += if arm == 0 { 1 } else { -1 };
            arm
        };
        let expected: Vec<usize> = (0..200).map(|_| by_hand(&mut stream, &mut lead, None)).collect();
        assert_eq!(list(Scheme::Efron { probability: p("0.6667") }, 2), expected);

        let mut stream = Stream::new(&seed);
        lead = 0;
        let expected: Vec<usize> = (0..200).map(|_| by_hand(&mut stream, &mut lead, Some(3))).collect();
        assert_eq!(list(Scheme::BigStick { limit: 3 }, 2), expected);
        assert!(simulate::worst_imbalance(2, expected) <= 3);
    }
}

#[test]
fn a_scheme_comes_back_from_its_parts_and_from_no_others() {
    let mut kinds = Vec::new();
    for scheme in every_scheme() {
        let (kind, numbers) = scheme.to_parts();
        assert!(Scheme::from_parts(kind, &numbers) == Some(scheme), "kind {kind}");
        kinds.push(kind);
    }
    assert_eq!(kinds, [1, 2, 3, 4, 5, 6, 6]);
    assert_eq!(minimization("0.8", &["1", "0.5"]).to_parts(), (5, vec![0, 8_000, 1_000, 500]));
    for (i, distance) in Distance::ALL.into_iter().enumerate() {
        let scheme = Scheme::Minimization { distance, probability: p("1"), weights: Vec::new() };
        assert_eq!(scheme.to_parts(), (5, vec![i as u32, 10_000]));
        assert_eq!(Distance::named(distance.name()), Some(distance));
    }
    assert_eq!(Distance::named("Range"), None);
    let refused: [(u8, &[u32]); 13] = [
        (0, &[]),
        (2, &[0]),
        (3, &[]),
        (3, &[10_001]),
        (3, &[7_000, 0]),
        (4, &[]),
        (4, &[3, 3]),
        (5, &[0]),
        (5, &[3, 8_000]),
        (5, &[0, 8_000, 1_000_001]),
        (6, &[]),
        (6, &[2]),
        (7, &[]),
    ];
    for (kind, numbers) in refused {
        assert!(Scheme::from_parts(kind, numbers).is_none(), "{kind} {numbers:?}");
    }
}

#[test]
fn a_scheme_says_its_name_and_nothing_more() {
    let printed: Vec<String> = every_scheme().iter().map(|scheme| format!("{scheme:?}")).collect();
    let expected =
        ["permuted-blocks", "complete", "efron", "big-stick", "minimization", "imported", "imported"];
    assert_eq!(printed, expected.map(|name| format!("Scheme({name} [hidden])")));
}
