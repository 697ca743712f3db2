//! Simulated trials against published and exact figures, and the study against measures worked by hand.

use super::{
    super::{
        simulate::{Balance, Report, Study, StudyError, study},
        *,
    },
    blocks_of, plan_of, two_arms,
};
use std::collections::BTreeMap;

/// `blocks 4 6`, `efron 0.7`, `big stick 3`, `complete`.
fn design(text: &str) -> Scheme {
    let numbers = |rest: &str| rest.split(' ').map(|n| n.parse().expect("a number")).collect::<Vec<u32>>();
    match text.split_once(' ') {
        Some(("blocks", rest)) => blocks_of(&numbers(rest)),
        Some(("efron", rest)) => Scheme::Efron { probability: rest.parse().expect("a probability") },
        Some(("big", rest)) => {
            let limit = rest.strip_prefix("stick ").expect("big stick").parse().expect("a limit");
            Scheme::BigStick { limit }
        }
        _ if text == "complete" => Scheme::Complete,
        _ => panic!("no such design: {text}"),
    }
}

fn figure(report: &Report, metric: &str) -> f64 {
    match metric {
        "correct guess" => report.correct_guess,
        "worst imbalance" => f64::from(report.overall.worst),
        "sd of final imbalance" => report.overall.sd_final,
        "mean worst imbalance" => report.overall.mean_worst,
        other => panic!("no such figure: {other}"),
    }
}

/// Every row of fixtures/randomize/published.csv, within its tolerance.
///
/// The tolerances are meant for 20 000 repetitions. With `repetitions` = 4000 a guess rate has a standard
/// error below 0.001 (tolerance 0.006), a mean worst imbalance one below 0.032 (0.08), a standard deviation
/// s one below s / sqrt(4000) (2.1 of them in the narrowest row). Seeds are fixed: it passes always or never.
fn are_as_published(repetitions: u32) {
    let rows = include_str!("../../../fixtures/randomize/published.csv");
    let mut reader = csv::Reader::from_reader(rows.as_bytes());
    let mut reports: BTreeMap<(String, u32, u32), Report> = BTreeMap::new();
    let mut checked = 0;
    for row in reader.records() {
        let row = row.expect("a row");
        let number = |i: usize| row[i].parse::<f64>().expect("a number");
        let (name, total, participants) = (row[0].to_owned(), number(1) as u32, number(2) as u32);
        let report = reports.entry((name.clone(), total, participants)).or_insert_with(|| {
            let plan = Plan { scheme: design(&name), arms: two_arms(), factors: Vec::new(), total };
            let subject = Study { plan: &plan, shares: &[], participants, repetitions };
            study(&subject, &Seed::new([4; 32])).expect("a report")
        });
        let (expected, tolerance) = (number(4), number(5));
        let found = figure(report, &row[3]);
        let place = format!("{name} {participants}/{total} {}", &row[3]);
        assert!((found - expected).abs() <= tolerance, "{place}: {found}, not {expected} ± {tolerance}");
        assert_eq!(
            report.refused.is_some(),
            name == "blocks 2" || name == "blocks 2 4 6",
            "{place}: a trial with blocks of 2"
        );
        checked += 1;
    }
    assert_eq!((checked, reports.len()), (43, 17));
}

#[test]
fn simulated_trials_are_as_published() {
    are_as_published(4_000);
}

/// `cargo test --release --lib published -- --ignored`: some seconds.
#[test]
#[ignore = "the whole 20 000 repetitions: in a release build"]
fn simulated_trials_are_as_published_in_20_000_repetitions() {
    are_as_published(20_000);
}

/// A list whose every figure is known: blocks of two, four participants.
#[test]
fn the_figures_of_a_list_that_is_known_are_exact() {
    let plan = plan_of(blocks_of(&[2]), &[], 4);
    let subject = Study { plan: &plan, shares: &[], participants: 4, repetitions: 50 };
    let report = study(&subject, &Seed::new([1; 32])).expect("a report");
    assert_eq!(
        report,
        Report {
            correct_guess: 0.75,
            informed_guess: None,
            overall: Balance { worst: 1, mean_worst: 1.0, sd_final: 0.0, mean_final: 0.0 },
            within: None,
            refused: Some(SchemeError::SmallSize { size: 2, arms: 2 }),
        }
    );
    // Cut after three: the arms always differ by one.
    let subject = Study { participants: 3, ..subject };
    let report = study(&subject, &Seed::new([1; 32])).expect("a report");
    assert_eq!(report.overall, Balance { worst: 1, mean_worst: 1.0, sd_final: 1.0, mean_final: 1.0 });
    assert!((report.correct_guess - 2.0 / 3.0).abs() < 1e-12);
}

/// The study counts as the measures of a single sequence do.
#[test]
fn one_repetition_is_measured_as_its_sequence_is() {
    let plan = plan_of(Scheme::Complete, &[], 60);
    let plan = Plan { arms: Arms::new(["a", "b", "c"]).expect("arms"), ..plan };
    let subject = Study { plan: &plan, shares: &[], participants: 60, repetitions: 1 };
    let seed = Seed::new([8; 32]);
    let report = study(&subject, &seed).expect("a report");
    let own = digest::Transcript::new("trialbridge/study/v1").fixed(seed.expose()).u32(0).digest();
    let list: Vec<usize> = draw_up(&plan, &Seed::new(own.0))
        .expect("a list")
        .iter()
        .map(|place| match place.content {
            Content::Arm(arm) => arm,
            Content::Draw(_) => panic!("a list holds arms"),
        })
        .collect();
    let times = [0, 1, 2].map(|arm| list.iter().filter(|&&found| found == arm).count() as f64);
    let squares =
        (times[0] - times[1]).powi(2) + (times[0] - times[2]).powi(2) + (times[1] - times[2]).powi(2);
    let most = times.iter().copied().fold(0.0, f64::max);
    let least = times.iter().copied().fold(60.0, f64::min);
    assert!((report.correct_guess - simulate::correct_guess_rate(3, list.iter().copied())).abs() < 1e-12);
    assert_eq!(report.overall.worst, simulate::worst_imbalance(3, list.iter().copied()));
    assert!((report.overall.sd_final - (squares / 3.0).sqrt()).abs() < 1e-12);
    assert!((report.overall.mean_final - (most - least)).abs() < 1e-12);
    assert!(most > least, "a list that tells something");
}

/// Blocks within strata balance the strata; the trial as a whole may run out of balance by as much as
/// all of them together. Minimization balances the levels.
#[test]
fn strata_and_levels_have_figures_of_their_own() {
    let factors: &[(&str, &[&str])] = &[("sex", &["female", "male"]), ("class", &["B", "C"])];
    let plan = plan_of(blocks_of(&[4, 6]), factors, 92);
    let subject = Study { plan: &plan, shares: &[], participants: 92, repetitions: 400 };
    let seed = Seed::new([2; 32]);
    let stratified = study(&subject, &seed).expect("a report");
    let within = stratified.within.expect("strata");
    assert_eq!(within.worst, 3);
    assert!(stratified.overall.worst > 3 && stratified.overall.worst <= 12);
    assert!(within.sd_final > 0.5 && within.sd_final < 1.5, "{}", within.sd_final);
    assert!((0.66..0.70).contains(&stratified.correct_guess), "{}", stratified.correct_guess);
    assert_eq!(stratified.informed_guess, None);
    assert_eq!(stratified.refused, None);

    // Nobody in three of four strata: as without strata, but for the three that stay empty.
    let shares = [vec![1, 0], vec![0, 7]];
    let alone = study(&Study { shares: &shares, ..subject }, &seed).expect("a report");
    let within = alone.within.expect("strata");
    assert_eq!(alone.overall.worst, within.worst);
    assert!((alone.overall.mean_worst - 4.0 * within.mean_worst).abs() < 1e-9);
    assert!((0.68..0.70).contains(&alone.correct_guess), "{}", alone.correct_guess);

    let minimized = |probability: &str| {
        let scheme = Scheme::Minimization {
            distance: Distance::Range,
            probability: probability.parse().expect("a probability"),
            weights: vec!["1".parse().expect("a weight"); 2],
        };
        let plan = plan_of(scheme, factors, 92);
        study(&Study { plan: &plan, ..subject }, &seed).expect("a report")
    };
    let (strict, loose) = (minimized("1"), minimized("0.7"));
    let informed = |report: &Report| report.informed_guess.expect("minimization");
    // Where the arms are level nobody knows more than a coin; everywhere else it is the best arm, which
    // comes always at p = 1 and in seven of ten at p = 0.7.
    assert!(informed(&strict) > 0.7 && informed(&strict) < 1.0, "{}", informed(&strict));
    assert!(informed(&loose) > 0.6 && informed(&loose) < 0.7, "{}", informed(&loose));
    let sd = |report: &Report| report.within.expect("levels").sd_final;
    assert!(sd(&strict) < sd(&loose) && sd(&loose) < 4.0, "{} {}", sd(&strict), sd(&loose));
}

/// What falls into which level follows the shares that were given.
#[test]
fn participants_fall_into_levels_as_their_shares_say() {
    let factors: &[(&str, &[&str])] = &[("class", &["A", "B", "C"])];
    // With complete randomization the expected square of the difference is the number of participants in
    // the stratum: the mean over three strata is a third of all, whatever the shares; with one stratum
    // empty it stays so. The worst of a stratum tells how many fell into it.
    let plan = plan_of(Scheme::Complete, factors, 90);
    let study_of = |shares: &[Vec<u32>]| {
        let subject = Study { plan: &plan, shares, participants: 90, repetitions: 2_000 };
        study(&subject, &Seed::new([3; 32])).expect("a report").within.expect("strata")
    };
    for shares in [vec![], vec![vec![1, 1, 1]], vec![vec![3, 2, 1]], vec![vec![0, 0, 1]]] {
        // Standard error of the mean square below 30 * sqrt(2 / 2000).
        let square = study_of(&shares).sd_final.powi(2);
        assert!((square - 30.0).abs() < 4.0, "{shares:?}: {square}");
    }
    assert_eq!(study_of(&[]), study_of(&[vec![1, 1, 1]]));
    let mean = |shares: &[Vec<u32>]| study_of(shares).mean_final;
    // E|D| of n fair coins is about sqrt(2 n / pi): 3 * 4.37 / 3 for thirds, 7.57 / 3 for one alone.
    assert!((mean(&[]) - 4.35).abs() < 0.15, "{}", mean(&[]));
    assert!((mean(&[vec![0, 0, 1]]) - 7.55 / 3.0).abs() < 0.12, "{}", mean(&[vec![0, 0, 1]]));
}

#[test]
fn a_study_of_nothing_is_refused() {
    let factors: &[(&str, &[&str])] = &[("sex", &["female", "male"])];
    let plan = plan_of(Scheme::Complete, factors, 20);
    let run = |participants, repetitions, shares: &[Vec<u32>]| {
        study(&Study { plan: &plan, shares, participants, repetitions }, &Seed::new([0; 32])).map(drop)
    };
    assert_eq!(run(1, 1, &[]), Ok(()));
    assert_eq!(run(Scheme::MOST_SLOTS, 1, &[]), Ok(()));
    for (participants, repetitions) in [(0, 1), (1, 0), (10_001, 1), (10_000, 100_001)] {
        let error = StudyError::Size { participants, repetitions };
        assert_eq!(run(participants, repetitions, &[]), Err(error));
    }
    // shares, the factor that is wrong
    let table: [(&[&[u32]], Option<usize>); 7] = [
        (&[&[1, 1]], None),
        (&[&[0, 1_000_000]], None),
        (&[&[1]], Some(1)),
        (&[&[1, 1, 1]], Some(1)),
        (&[&[0, 0]], Some(1)),
        (&[&[1, 1_000_001]], Some(1)),
        (&[&[1, 1], &[1, 1]], Some(2)),
    ];
    for (shares, wrong) in table {
        let shares: Vec<Vec<u32>> = shares.iter().map(|s| s.to_vec()).collect();
        let error = wrong.map(|index| StudyError::Shares { index });
        assert_eq!(run(5, 5, &shares).err(), error, "{shares:?}");
    }
}

/// What could be foreseen, or never binds, is simulated and said to be refused; what has no meaning is not.
#[test]
fn plans_that_a_trial_is_refused_can_be_studied() {
    use SchemeError::*;
    let p = |text: &str| text.parse::<Probability>().expect("a probability");
    // scheme, refused for a trial, no study
    let table = [
        (blocks_of(&[4]), None, None),
        (blocks_of(&[2]), Some(SmallSize { size: 2, arms: 2 }), None),
        (blocks_of(&[6]), Some(Incomplete { total: 20 }), None),
        (Scheme::Efron { probability: p("1") }, Some(Coin { found: p("1") }), None),
        (Scheme::Efron { probability: p("0.5") }, Some(Coin { found: p("0.5") }), None),
        (Scheme::BigStick { limit: 1 }, Some(ShortStick { limit: 1 }), None),
        (Scheme::BigStick { limit: 20 }, Some(LongStick { limit: 20, total: 20 }), None),
        (Scheme::BigStick { limit: 0 }, None, Some(ShortStick { limit: 0 })),
        (blocks_of(&[0]), None, Some(SmallSize { size: 0, arms: 2 })),
        (blocks_of(&[1]), None, Some(SmallSize { size: 1, arms: 2 })),
        (blocks_of(&[3]), None, Some(UnequalSize { size: 3, arms: 2 })),
        (blocks_of(&[5]), None, Some(UnequalSize { size: 5, arms: 2 })),
        (blocks_of(&[]), None, Some(NoSize)),
        (Scheme::Imported { equal: true }, None, Some(NotDrawnUp)),
    ];
    for (scheme, refused, error) in table {
        let plan = plan_of(scheme, &[], 20);
        let subject = Study { plan: &plan, shares: &[], participants: 20, repetitions: 20 };
        let name = plan.scheme.public_name();
        match (study(&subject, &Seed::new([6; 32])), error) {
            (Ok(report), None) => assert_eq!(report.refused, refused, "{name}"),
            (found, error) => assert_eq!(found.err(), error.map(StudyError::Scheme), "{name}"),
        }
    }
}
