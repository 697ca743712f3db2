//! What a list follows from besides its seed: scheme, arms, stratification factors, total.
//!
//! Strata are independent lists. Each is drawn up from a seed of its own, made of the list's seed and the
//! stratum's number; the one stratum of a trial without factors takes the list's seed as it is. With
//! minimization the factors make no strata: there is one, and each of its places holds the seed of one draw.

use super::{
    Arms, Seed,
    blocks::Composition,
    digest::Transcript,
    minimize,
    scheme::{Scheme, SchemeError, generate},
};
use std::fmt;

/// One stratification or minimization factor, with its levels in the order of the trial definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    pub name: String,
    pub levels: Vec<String>,
}

/// Everything that a list follows from, but the seed.
#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    pub scheme: Scheme,
    pub arms: Arms,
    /// Empty: one stratum.
    pub factors: Vec<Factor>,
    /// Participants in the trial, over all strata.
    pub total: u32,
}

/// One place in a list, before it is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// Number of the stratum, from 0, in the order of [`Plan::strata`].
    pub stratum: u32,
    /// Place within the stratum, from 1.
    pub position: u32,
    /// The block it belongs to, from 1; 0 where the scheme has none. Guarded as the arm is.
    pub block: u32,
    pub content: Content,
}

/// What a place holds.
#[derive(Clone)]
pub enum Content {
    /// Index of the arm in [`Arms`].
    Arm(usize),
    /// For schemes that depend on the participant: the seed of that one draw.
    Draw(Seed),
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Content::Arm(one), Content::Arm(other)) => one == other,
            (Content::Draw(one), Content::Draw(other)) => one.expose() == other.expose(),
            _ => false,
        }
    }
}

impl Eq for Content {}

/// Neither arm nor seed.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content([hidden])")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({} {} [hidden])", self.stratum, self.position)
    }
}

/// One participant who has been allocated before.
#[derive(Clone, PartialEq, Eq)]
pub struct Past {
    /// The index of the participant's level in each factor, in the plan's order.
    pub levels: Vec<usize>,
    /// Index of the arm in [`Arms`].
    pub arm: usize,
}

/// Never the arm.
impl fmt::Debug for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Past([hidden])")
    }
}

/// Why no arm follows from a place and a participant. Names neither arm nor level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    #[error("the slot holds no arm of this trial definition; it belongs to another list")]
    Arm,
    #[error(
        "the slot holds a draw and the scheme is {scheme}, which has arms in its slots; it belongs to another list"
    )]
    Draw { scheme: &'static str },
    #[error("the participant's levels are not one of each of the {factors} factors of the trial definition")]
    Levels { factors: usize },
    #[error("allocation {number} before this one has levels or an arm that are not in the trial definition")]
    Past { number: usize },
}

impl Plan {
    /// Do the factors make strata? With minimization they are balanced over instead.
    pub fn is_stratified(&self) -> bool {
        !self.factors.is_empty() && !matches!(self.scheme, Scheme::Minimization { .. })
    }

    /// The labels of the strata: every combination of levels, the last factor's changing fastest, as
    /// `factor=level;factor=level`. One empty label without factors, and with minimization.
    pub fn strata(&self) -> Vec<String> {
        let factors: &[Factor] = if self.is_stratified() { &self.factors } else { &[] };
        factors.iter().fold(vec![String::new()], |labels, factor| {
            let with = |label: &String, level: &String| {
                let separator = if label.is_empty() { "" } else { ";" };
                format!("{label}{separator}{}={level}", factor.name)
            };
            labels
                .iter()
                .flat_map(|label| factor.levels.iter().map(move |level| with(label, level)))
                .collect()
        })
    }

    /// The number of the stratum of a participant with these levels, one index for each factor; 0 where
    /// there is but one. `None` where a level is missing, unknown or too many.
    pub fn stratum(&self, levels: &[usize]) -> Option<u32> {
        if !self.holds(levels) {
            return None;
        }
        if !self.is_stratified() {
            return Some(0);
        }
        let number = levels.iter().zip(&self.factors).try_fold(0usize, |number, (level, factor)| {
            number.checked_mul(factor.levels.len())?.checked_add(*level)
        });
        u32::try_from(number?).ok()
    }

    /// Is this one level of each factor?
    pub(super) fn holds(&self, levels: &[usize]) -> bool {
        let known = |(level, factor): (&usize, &Factor)| *level < factor.levels.len();
        levels.len() == self.factors.len() && levels.iter().zip(&self.factors).all(known)
    }

    /// How many slots each stratum's list has: enough for the whole trial, wherever its participants
    /// fall. For blocks in several strata the shortest length of whole blocks that is enough; one
    /// stratum has exactly the total.
    ///
    /// # Errors
    /// [`SchemeError`] where the plan gives no list.
    pub fn length(&self) -> Result<u32, SchemeError> {
        match &self.scheme {
            Scheme::PermutedBlocks { sizes } if self.is_stratified() => {
                Composition::at_least(sizes, self.arms.count(), self.total).map(|c| c.total())
            }
            scheme => scheme.check(&self.arms, self.total).map(|()| self.total),
        }
    }

    /// Can the lists of this plan be drawn up?
    ///
    /// # Errors
    /// The first [`SchemeError`] found: of the factors, then of the scheme.
    pub fn check(&self) -> Result<(), SchemeError> {
        self.check_factors()?;
        if let Scheme::Minimization { weights, .. } = &self.scheme {
            if self.factors.is_empty() {
                return Err(SchemeError::NoFactor);
            }
            if weights.len() != self.factors.len() {
                return Err(SchemeError::Weights { weights: weights.len(), factors: self.factors.len() });
            }
            if weights.iter().all(|weight| weight.thousandths() == 0) {
                return Err(SchemeError::Weightless);
            }
        }
        self.length().map(drop)
    }

    fn check_factors(&self) -> Result<(), SchemeError> {
        if self.factors.len() > Scheme::MOST_FACTORS {
            return Err(SchemeError::ManyFactors { found: self.factors.len() });
        }
        for (i, factor) in self.factors.iter().enumerate() {
            let index = i + 1;
            if !is_plain(&factor.name) || factor.name.contains('=') {
                return Err(SchemeError::FactorName { index });
            }
            if let Some(first) = self.factors[..i].iter().position(|earlier| earlier.name == factor.name) {
                return Err(SchemeError::FactorTwice { first: first + 1, index });
            }
            if !(2..=Scheme::MOST_LEVELS).contains(&factor.levels.len()) {
                return Err(SchemeError::Levels { index, found: factor.levels.len() });
            }
            for (j, level) in factor.levels.iter().enumerate() {
                if !is_plain(level) {
                    return Err(SchemeError::LevelName { index, level: j + 1 });
                }
                if let Some(first) = factor.levels[..j].iter().position(|earlier| earlier == level) {
                    return Err(SchemeError::LevelTwice { index, first: first + 1, level: j + 1 });
                }
            }
        }
        // At most 64 levels of each of 8 factors: 2^48.
        let found = self.factors.iter().fold(1usize, |n, factor| n.saturating_mul(factor.levels.len()));
        if self.is_stratified() && found > Scheme::MOST_STRATA {
            return Err(SchemeError::ManyStrata { found });
        }
        Ok(())
    }
}

/// Can the name stand in a stratum's label, and in a cell of an imported list, with one reading only? The
/// first `=` ends the factor's name, so that a level may be called `>=15`.
fn is_plain(name: &str) -> bool {
    let is_mark = |c: char| matches!(c, ';' | ',' | '"' | '\'') || c.is_control();
    (1..=64).contains(&name.len()) && name.trim() == name && !name.contains(is_mark)
}

/// The seed of one stratum.
pub fn stratum_seed(seed: &Seed, strata: usize, stratum: u32) -> Seed {
    if strata == 1 {
        return seed.clone();
    }
    Seed::new(Transcript::new("trialbridge/stratum/v1").fixed(seed.expose()).u32(stratum).digest().0)
}

/// The seed of one draw of a minimization: place `position`, from 1.
pub fn draw_seed(seed: &Seed, position: u32) -> Seed {
    Seed::new(Transcript::new("trialbridge/draw/v1").fixed(seed.expose()).u32(position).digest().0)
}

/// Draws up all strata, in order of stratum and position.
///
/// # Errors
/// [`SchemeError`] where the plan gives no list.
pub fn draw_up(plan: &Plan, seed: &Seed) -> Result<Vec<Place>, SchemeError> {
    plan.check()?;
    if let Scheme::Minimization { .. } = plan.scheme {
        let place = |position| Place {
            stratum: 0,
            position,
            block: 0,
            content: Content::Draw(draw_seed(seed, position)),
        };
        return Ok((1..=plan.total).map(place).collect());
    }
    let strata = plan.strata().len();
    let length = plan.length()?;
    let mut places = Vec::new();
    for stratum in (0..).take(strata) {
        let own = stratum_seed(seed, strata, stratum);
        let slots = generate(&plan.scheme, &plan.arms, length, &own)?;
        places.extend(slots.into_iter().map(|slot| Place {
            stratum,
            position: slot.position,
            block: slot.block,
            content: Content::Arm(slot.arm),
        }));
    }
    Ok(places)
}

/// The index of the arm that a place gives to a participant with these levels after those who were
/// allocated before, in the order of their allocation. For a place that holds an arm it is that arm,
/// whatever the participant.
///
/// # Errors
/// [`AssignError`] where the place, the levels or the past do not belong to this plan.
pub fn assign(plan: &Plan, content: &Content, levels: &[usize], past: &[Past]) -> Result<usize, AssignError> {
    match (content, &plan.scheme) {
        (Content::Arm(arm), _) if *arm < plan.arms.names().len() => Ok(*arm),
        (Content::Arm(_), _) => Err(AssignError::Arm),
        (Content::Draw(seed), Scheme::Minimization { .. }) => minimize::draw(plan, seed, levels, past),
        (Content::Draw(_), scheme) => Err(AssignError::Draw { scheme: scheme.public_name() }),
    }
}
