//! Many simulated trials of one plan: how well the next arm can be guessed, how far it runs out of balance.
//!
//! Before a trial, to choose a scheme by figures. It draws its own lists from its own seed and never
//! touches a trial's: no seed, key or store comes near it. What is drawn and what it is drawn from is the
//! code that serves a trial, so a figure that is as published speaks for that code too.

use super::{
    blocks::{self, Composition},
    digest::Transcript,
    minimize,
    plan::{Plan, draw_seed, stratum_seed},
    scheme::{Scheme, SchemeError, Slot, generate},
    secret::Seed,
    stream::Stream,
};
use std::num::NonZeroU32;

/// What is simulated.
#[derive(Clone, Copy)]
pub struct Study<'a> {
    pub plan: &'a Plan,
    /// For each factor how many participants of each level there are to those of the others; nothing at
    /// all: every level equally many. Factors are independent of each other.
    pub shares: &'a [Vec<u32>],
    /// In each trial.
    pub participants: u32,
    /// How many trials.
    pub repetitions: u32,
}

/// What came out, over all repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The share of allocations that an observer guesses who names the arm given least often so far, with
    /// 1/k credit where k arms are level. Within the stratum, where there are strata.
    pub correct_guess: f64,
    /// With minimization, the share that an observer guesses who knows every participant's levels and arm
    /// and all of the scheme but the draw.
    pub informed_guess: Option<f64>,
    /// Over all participants.
    pub overall: Balance,
    /// Within the strata or, with minimization, within the levels of each factor.
    pub within: Option<Balance>,
    /// Why a trial with this plan is refused, though it can be studied.
    pub refused: Option<SchemeError>,
}

/// Imbalance: the arm given most often less the arm given least often. Within parts of a trial the means
/// are over all parts of all trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Balance {
    /// The worst at any point of any trial.
    pub worst: u32,
    /// The mean of the worst of each.
    pub mean_worst: f64,
    /// The standard deviation, about 0, of the difference between two arms at the end; the mean over the
    /// pairs of arms where there are more. 0 is its expectation, as no arm is preferred.
    pub sd_final: f64,
    /// The mean at the end.
    pub mean_final: f64,
}

/// Why nothing was simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StudyError {
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    #[error(
        "{participants} participants in {repetitions} repetitions are refused; 1 or more of each, and at most {MOST} draws in all"
    )]
    Size { participants: u32, repetitions: u32 },
    #[error("the shares of factor {index} are not one for each level, 0 to 1000000, and one of them above 0")]
    Shares { index: usize },
}

/// The most allocations that one study draws: some minutes.
pub const MOST: u64 = 1_000_000_000;

/// Simulates.
///
/// # Errors
/// [`StudyError`] where there is nothing to simulate. A plan that is refused for a trial because it could
/// be foreseen or does not come out even is simulated all the same, and the report says so.
pub fn study(study: &Study<'_>, seed: &Seed) -> Result<Report, StudyError> {
    let &Study { plan, participants, repetitions, .. } = study;
    let draws = u64::from(participants) * u64::from(repetitions);
    if !(1..=MOST).contains(&draws) || participants > Scheme::MOST_SLOTS {
        return Err(StudyError::Size { participants, repetitions });
    }
    check_shares(study)?;
    let refused = refused(plan)?;
    let trial = Trial::new(study)?;
    let mut sums = Sums::default();
    for i in 0..repetitions {
        let own = Transcript::new("trialbridge/study/v1").fixed(seed.expose()).u32(i).digest();
        trial.run(participants, &Seed::new(own.0), &mut sums)?;
    }
    let is_minimized = matches!(plan.scheme, Scheme::Minimization { .. });
    let share = |credit: f64| credit / draws as f64;
    Ok(Report {
        correct_guess: share(sums.credit),
        informed_guess: is_minimized.then(|| share(sums.informed)),
        overall: sums.overall.balance(),
        within: (!plan.factors.is_empty()).then(|| sums.within.balance()),
        refused,
    })
}

/// The reason for which a trial is refused and a study is not; an error where neither can be.
fn refused(plan: &Plan) -> Result<Option<SchemeError>, StudyError> {
    match plan.check() {
        Ok(()) => Ok(None),
        Err(error) => match error {
            // One that does not hold every arm once is no block for a study either, which says so itself.
            SchemeError::SmallSize { .. } => Ok(Some(error)),
            SchemeError::ShortStick { limit: 1 } => Ok(Some(error)),
            SchemeError::Incomplete { .. }
            | SchemeError::Coin { .. }
            | SchemeError::LongStick { .. }
            | SchemeError::Preference { .. } => Ok(Some(error)),
            _ => Err(error.into()),
        },
    }
}

fn check_shares(study: &Study<'_>) -> Result<(), StudyError> {
    if study.shares.is_empty() {
        return Ok(());
    }
    let fits = |shares: &Vec<u32>, levels: usize| {
        shares.len() == levels
            && shares.iter().all(|&share| share <= 1_000_000)
            && shares.iter().any(|&share| share > 0)
    };
    let factors = &study.plan.factors;
    let longest = factors.len().max(study.shares.len());
    let is_wrong = |&i: &usize| {
        !study
            .shares
            .get(i)
            .zip(factors.get(i))
            .is_some_and(|(shares, factor)| fits(shares, factor.levels.len()))
    };
    match (0..longest).find(is_wrong) {
        Some(i) => Err(StudyError::Shares { index: i + 1 }),
        None => Ok(()),
    }
}

/// What is the same in every repetition.
struct Trial<'a> {
    plan: &'a Plan,
    strata: usize,
    /// Of blocks only.
    composition: Option<Composition>,
    length: u32,
    /// For each factor, of each level.
    shares: Vec<Vec<u32>>,
}

impl<'a> Trial<'a> {
    fn new(study: &Study<'a>) -> Result<Self, SchemeError> {
        let plan = study.plan;
        // A trial that goes on is simulated as far as asked.
        let length = plan.total.max(study.participants);
        let composition = match &plan.scheme {
            Scheme::PermutedBlocks { sizes } => {
                Some(Composition::to_study(sizes, plan.arms.count(), length)?)
            }
            _ => None,
        };
        let shares = match study.shares {
            [] => plan.factors.iter().map(|factor| vec![1; factor.levels.len()]).collect(),
            shares => shares.to_vec(),
        };
        Ok(Trial { plan, strata: plan.strata().len(), composition, length, shares })
    }

    /// The list of one stratum.
    fn list(&self, seed: &Seed, stratum: u32) -> Result<Vec<Slot>, SchemeError> {
        let own = stratum_seed(seed, self.strata, stratum);
        match &self.composition {
            Some(composition) => Ok(blocks::draw(composition, &self.plan.arms, &mut Stream::new(&own))),
            None => unchecked(&self.plan.scheme, self.plan, self.length, &own),
        }
    }

    fn run(&self, participants: u32, seed: &Seed, sums: &mut Sums) -> Result<(), SchemeError> {
        let plan = self.plan;
        let arms = plan.arms.names().len();
        let people = Transcript::new("trialbridge/study-participants/v1").fixed(seed.expose()).digest();
        let mut people = Stream::new(&Seed::new(people.0));
        let mut overall = Tally::new(arms);
        let mut strata: Vec<Option<(std::vec::IntoIter<Slot>, Tally)>> = Vec::new();
        strata.resize_with(self.strata, || None);
        let mut levels: Vec<Vec<Tally>> =
            plan.factors.iter().map(|factor| vec![Tally::new(arms); factor.levels.len()]).collect();
        for number in 1..=participants {
            let person: Vec<usize> = self.shares.iter().map(|shares| level(shares, &mut people)).collect();
            if let Scheme::Minimization { distance, probability, weights } = &plan.scheme {
                let given: Vec<&[i64]> =
                    levels.iter().zip(&person).map(|(tallies, &level)| &tallies[level].given[..]).collect();
                let best = minimize::standing(*distance, weights, &given, arms).best();
                let mut stream = Stream::new(&draw_seed(seed, number));
                let arm = minimize::choose(&best, arms, *probability, &mut stream);
                if best.contains(&arm) {
                    sums.informed += 1.0 / best.len() as f64;
                }
                sums.credit += overall.credit(arm);
                overall.give(arm);
                for (tallies, &level) in levels.iter_mut().zip(&person) {
                    tallies[level].give(arm);
                }
                continue;
            }
            let stratum = plan.stratum(&person).unwrap_or_default();
            let Some(place) = strata.get_mut(stratum as usize) else { continue };
            if place.is_none() {
                *place = Some((self.list(seed, stratum)?.into_iter(), Tally::new(arms)));
            }
            // Every list is as long as the trial.
            let Some((list, tally)) = place else { continue };
            let Some(slot) = list.next() else { continue };
            sums.credit += tally.credit(slot.arm);
            tally.give(slot.arm);
            overall.give(slot.arm);
        }
        sums.overall.add(&overall);
        if plan.is_stratified() {
            let nobody = Tally::new(arms);
            strata
                .iter()
                .for_each(|place| sums.within.add(place.as_ref().map_or(&nobody, |(_, tally)| tally)));
        } else {
            levels.iter().flatten().for_each(|tally| sums.within.add(tally));
        }
        Ok(())
    }
}

/// A list of a coin design, also where a trial would be refused for it.
fn unchecked(scheme: &Scheme, plan: &Plan, length: u32, seed: &Seed) -> Result<Vec<Slot>, SchemeError> {
    use super::coin;
    let stream = &mut Stream::new(seed);
    match *scheme {
        Scheme::Efron { probability } => Ok(coin::biased(probability, length, stream)),
        Scheme::BigStick { limit } => Ok(coin::big_stick(limit, length, stream)),
        _ => generate(scheme, &plan.arms, length, seed),
    }
}

/// The level of one participant.
fn level(shares: &[u32], stream: &mut Stream) -> usize {
    // At most 64 levels of at most 10^6.
    let Some(sum) = NonZeroU32::new(shares.iter().sum()) else { return 0 };
    let mut drawn = stream.below(sum);
    for (level, &share) in shares.iter().enumerate() {
        if drawn < share {
            return level;
        }
        drawn -= share;
    }
    0
}

/// How often each arm was given in one trial or one part of it.
#[derive(Clone)]
struct Tally {
    given: Vec<i64>,
    worst: u32,
}

impl Tally {
    fn new(arms: usize) -> Self {
        Tally { given: vec![0; arms], worst: 0 }
    }

    /// What the convergence strategy earns if this arm comes next.
    fn credit(&self, arm: usize) -> f64 {
        let least = self.given.iter().copied().min().unwrap_or_default();
        if self.given[arm] != least {
            return 0.0;
        }
        1.0 / self.given.iter().filter(|&&times| times == least).count() as f64
    }

    fn give(&mut self, arm: usize) {
        self.given[arm] += 1;
        self.worst = self.worst.max(self.imbalance());
    }

    fn imbalance(&self) -> u32 {
        let most = self.given.iter().copied().max().unwrap_or_default();
        let least = self.given.iter().copied().min().unwrap_or_default();
        // At most the number of participants.
        (most - least) as u32
    }

    /// The mean over the pairs of arms of the square of their difference.
    fn square(&self) -> f64 {
        let (mut squares, mut pairs) = (0, 0);
        for (i, one) in self.given.iter().enumerate() {
            for other in &self.given[..i] {
                squares += (one - other) * (one - other);
                pairs += 1;
            }
        }
        squares as f64 / f64::from(pairs)
    }
}

#[derive(Default)]
struct Sums {
    credit: f64,
    informed: f64,
    overall: Sum,
    within: Sum,
}

#[derive(Default)]
struct Sum {
    count: u64,
    worst: u32,
    worsts: u64,
    finals: u64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, tally: &Tally) {
        self.count += 1;
        self.worst = self.worst.max(tally.worst);
        self.worsts += u64::from(tally.worst);
        self.finals += u64::from(tally.imbalance());
        self.squares += tally.square();
    }

    fn balance(&self) -> Balance {
        let mean = |sum: f64| sum / self.count as f64;
        Balance {
            worst: self.worst,
            mean_worst: mean(self.worsts as f64),
            sd_final: mean(self.squares).sqrt(),
            mean_final: mean(self.finals as f64),
        }
    }
}
