//! The invariant: knowing less never says more, and the truth is always inside.

use super::*;
use crate::clinical::interval::Bound;
use proptest::prelude::*;

/// What is known of a true value, from more to less: each holds the one before it.
type Knowledge = [Option<Interval>; 3];

/// `value`, then a range that holds it, then a wider one or nothing.
fn blurred(least: i64, greatest: i64, scale: u32) -> impl Strategy<Value = Knowledge> {
    let value = (least..=greatest).prop_map(move |n| Decimal::new(n, scale));
    (value, 0..8, 0..8, 0i64..30, 0i64..30).prop_map(move |(value, first, second, down, up)| {
        let widen = |range: Interval, how: i32| -> Option<Interval> {
            let low = || {
                range
                    .low
                    .value()
                    .map_or(Bound::Unbounded, |low| Bound::Including(low - Decimal::new(down, scale)))
            };
            let high = || {
                range
                    .high
                    .value()
                    .map_or(Bound::Unbounded, |high| Bound::Including(high + Decimal::new(up, scale)))
            };
            let above = || {
                range
                    .high
                    .value()
                    .map_or(Bound::Unbounded, |high| Bound::Excluding(high + Decimal::new(up + 1, scale)))
            };
            Some(match how {
                0..=2 => range,
                3 => Interval { low: low(), high: high() },
                4 => Interval { low: Bound::Unbounded, high: high() },
                5 => Interval { low: low(), high: Bound::Unbounded },
                6 => Interval { low: Bound::Unbounded, high: above() },
                _ => return None,
            })
        };
        let exact = Interval::exactly(value);
        let once = widen(exact, first);
        [Some(exact), once, once.and_then(|range| widen(range, second))]
    })
}

/// `value`, then it or nothing, then the same or nothing.
fn dimmed<T: Copy + std::fmt::Debug>(values: &'static [T]) -> impl Strategy<Value = [Option<T>; 3]> {
    (prop::sample::select(values), any::<bool>(), any::<bool>()).prop_map(|(value, once, twice)| {
        let value = Some(value);
        let first = value.filter(|_| once);
        [value, first, first.filter(|_| twice)]
    })
}

prop_compose! {
    fn patients()(
        bilirubin_total in blurred(1, 400, 1),
        inr in blurred(70, 400, 2),
        creatinine in blurred(30, 500, 2),
        sodium in blurred(118, 148, 0),
        albumin in blurred(12, 50, 0),
        ast in blurred(5, 400, 0),
        alt in blurred(5, 400, 0),
        platelets in blurred(10, 400, 0),
        wbc in blurred(10, 300, 1),
        pt_prolongation in blurred(-5, 100, 1),
        age in blurred(10, 80, 0),
        sex in dimmed(&[Sex::Female, Sex::Male]),
        dialysis in dimmed(&[false, false, true]),
        ascites in dimmed(&[Ascites::None, Ascites::Mild, Ascites::ModerateSevere]),
        encephalopathy in dimmed(&[Encephalopathy::Grade0, Encephalopathy::Grade1To2, Encephalopathy::Grade3To4]),
        etiology in dimmed(&[Etiology::CholestaticAlcoholic, Etiology::Other]),
        pbc in any::<bool>(),
        by_seconds in any::<bool>(),
    ) -> [Inputs; 3] {
        std::array::from_fn(|i| Inputs {
            bilirubin_total: bilirubin_total[i],
            // The prothrombin time is read only where nobody has an INR.
            inr: inr[i].filter(|_| !by_seconds),
            pt_prolongation: pt_prolongation[i].filter(|_| by_seconds),
            creatinine: creatinine[i],
            sodium: sodium[i],
            albumin: albumin[i],
            ast: ast[i],
            alt: alt[i],
            platelets: platelets[i],
            wbc: wbc[i],
            // A missing age means "not 12 to 17" to MELD 3.0: a range that holds everything does not.
            age: Some(age[i].unwrap_or(Interval::ANY)),
            sex: sex[i],
            dialysis: dialysis[i],
            ascites: ascites[i],
            encephalopathy: encephalopathy[i],
            etiology: etiology[i],
            pbc_or_psc: Some(pbc),
            ast_uln: None,
            clif_of: x("9"),
        })
    }
}

/// Least and greatest value, class and grade; `None` where the score is unknown.
type Ends = Option<[(Decimal, Option<char>, Option<u8>); 2]>;

fn ends(score: &Score) -> Ends {
    match score.status {
        Status::Known => {
            assert!(score.missing.is_empty() && score.low.is_none() && score.high.is_none(), "{score:?}");
            let end = (score.value.expect("known"), score.class, score.grade);
            assert!(score.raw.is_some_and(f64::is_finite), "{score:?}");
            Some([end, end])
        }
        Status::Range => {
            assert!(!score.missing.is_empty() && score.value.is_none() && score.raw.is_none(), "{score:?}");
            let low = (score.low.expect("a range"), score.class_low, score.grade_low);
            Some([low, (score.high.expect("a range"), score.class_high, score.grade_high)])
        }
        Status::Unknown => {
            assert!(!score.missing.is_empty(), "{score:?}");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn knowing_less_never_says_more([truth, less, least] in patients()) {
        let [truth, less, least] = [truth, less, least].map(|inputs| all(&inputs, &Options::default()));
        for name in NAMES {
            let steps = [&truth, &less, &least].map(|scores| scores.get(name).expect("all scores"));
            for pair in steps.windows(2) {
                match (ends(pair[0]), ends(pair[1])) {
                    (Some(narrow), Some(wide)) => {
                        prop_assert!(wide[0] <= narrow[0] && narrow[1] <= wide[1], "{name}: {pair:?}");
                        if pair[1].status == Status::Known {
                            prop_assert_eq!(pair[0], pair[1], "{}", name);
                        }
                    }
                    (None, Some(_)) => prop_assert!(false, "{name}: less is known, but more is said: {pair:?}"),
                    (_, None) => {}
                }
            }
        }
    }

    #[test]
    fn no_number_breaks_a_score(
        numbers in prop::array::uniform16((any::<i128>(), 0u32..=28, 0..7)),
        dialysis in any::<Option<bool>>(),
        pbc_or_psc in any::<Option<bool>>(),
    ) {
        let input = |i: usize| {
            let (mantissa, scale, kind) = numbers[i];
            let value = Decimal::from_i128_with_scale(mantissa >> 32, scale);
            match kind {
                0 => None,
                1 => Some(Interval::below(value)),
                2 => Some(Interval::above(value)),
                3 => Some(Interval::between(value.min(-value), value.max(-value))),
                4 => Some(Interval::exactly(value.abs())),
                5 => Some(Interval::between(Decimal::ZERO, value.abs())),
                _ => Some(Interval::exactly(value)),
            }
        };
        let inputs = Inputs {
            bilirubin_total: input(0), inr: input(1), creatinine: input(2), sodium: input(3), albumin: input(4),
            ast: input(5), alt: input(6), platelets: input(7), pt_prolongation: input(8), age: input(9),
            clif_of: input(10), wbc: input(11), ast_uln: input(12).and_then(|x| x.exact()), dialysis, pbc_or_psc,
            ..Inputs::default()
        };
        let scores = all(&inputs, &Options::default());
        let written = serde_json::to_string(&scores).expect("plain JSON");
        prop_assert!(!written.contains("null"), "{written}");
        scores.iter().for_each(|(_, score)| { ends(score); });
    }

    #[test]
    fn a_float_is_the_decimal_that_was_written(mantissa in any::<i64>(), scale in 0u32..=15) {
        let x = Decimal::new(mantissa, scale);
        let nearest: f64 = x.to_string().parse().expect("a decimal is a float's text");
        prop_assert_eq!(super::super::number::float(x), nearest);
    }
}
