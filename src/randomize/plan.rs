//! What a list follows from besides its seed: scheme, arms, stratification factors, total.
//!
//! Strata are independent lists. Each is drawn up from a seed of its own, made of the list's seed and the
//! stratum's number; the one stratum of a trial without factors takes the list's seed as it is.

use super::digest::Transcript;
use super::scheme::{Scheme, SchemeError, generate};
use super::{Arms, Seed};

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
#[derive(Clone)]
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

impl Plan {
    /// The labels of the strata: every combination of levels, the last factor's changing fastest, as
    /// `factor=level;factor=level`. One empty label without factors.
    pub fn strata(&self) -> Vec<String> {
        self.factors.iter().fold(vec![String::new()], |labels, factor| {
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
}

/// The seed of one stratum.
pub fn stratum_seed(seed: &Seed, strata: usize, stratum: u32) -> Seed {
    if strata == 1 {
        return seed.clone();
    }
    Seed::new(Transcript::new("trialbridge/stratum/v1").fixed(seed.expose()).u32(stratum).digest().0)
}

/// Draws up all strata, in order of stratum and position.
///
/// # Errors
/// [`SchemeError`] where the plan gives no list.
pub fn draw_up(plan: &Plan, seed: &Seed) -> Result<Vec<Place>, SchemeError> {
    let strata = plan.strata().len();
    let mut places = Vec::new();
    for stratum in (0..).take(strata) {
        let own = stratum_seed(seed, strata, stratum);
        let slots = generate(&plan.scheme, &plan.arms, plan.total, &own)?;
        places.extend(slots.into_iter().map(|slot| Place {
            stratum,
            position: slot.position,
            block: slot.block,
            content: Content::Arm(slot.arm),
        }));
    }
    Ok(places)
}
