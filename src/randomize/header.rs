//! The header of a sealed list: what anyone may know of it.
//!
//! Never in a header: a block size, a probability, a limit, an arm of a slot. Every seal is bound to every
//! field, so that a list whose header was altered opens nowhere.

use super::digest::Digest;
use serde::{Deserialize, Serialize};

/// The form of the lists that this code makes.
pub const FORMAT: &str = "trialbridge/sealed-list/v2";
/// The form of the lists of earlier releases, which this code opens.
pub const FORMAT_V1: &str = "trialbridge/sealed-list/v1";

/// What a list's bytes follow; see [`FORMAT`] and [`FORMAT_V1`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// What anyone may know of a list, and what its seals are bound to.
///
/// Fields with a default are not in the headers of version 1, whose lists are one stratum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`] or [`FORMAT_V1`].
    pub format: String,
    /// The list's name, unique in the installation.
    pub id: String,
    /// The trial's identifier.
    pub trial: String,
    /// The hash of the trial definition that was in force.
    pub definition: Digest,
    /// Drawn up here, or made elsewhere and imported.
    #[serde(default)]
    pub origin: Origin,
    /// The name of the method, without block sizes.
    pub scheme: String,
    /// How many arms there are.
    pub arms: u32,
    /// The strata in order, each with its slots.
    #[serde(default)]
    pub strata: Vec<Stratum>,
    /// What is stratified or minimized by.
    #[serde(default)]
    pub factors: Vec<FactorLevels>,
    /// Participants planned in the trial, over all strata.
    pub total: u32,
    /// The Merkle root over all slots of all strata: to be recorded outside before the first participant.
    pub commitment: Digest,
    /// Which key seals the list: 16 hexadecimal digits of a hash of it, to tell a wrong key from damage.
    pub key_id: String,
    /// The ids of the statisticians' keys that the recipe is sealed to, in their order.
    #[serde(default)]
    pub statisticians: Vec<String>,
}

/// Where a list comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    #[default]
    Generated,
    Imported,
}

impl Origin {
    /// As it stands in a header.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Generated => "generated",
            Origin::Imported => "imported",
        }
    }
}

/// One stratum of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stratum {
    /// As [`Plan::strata`] has it; empty where there is one.
    pub label: String,
    /// How many slots it has.
    pub slots: u32,
}

/// One factor, with its levels in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorLevels {
    pub name: String,
    pub levels: Vec<String>,
}

impl Header {
    /// `None` for a form that this code does not know.
    pub(crate) fn version(&self) -> Option<Version> {
        match self.format.as_str() {
            FORMAT => Some(Version::V2),
            FORMAT_V1 => Some(Version::V1),
            _ => None,
        }
    }

    /// How many slots a stratum has; `None` where there is no such stratum.
    pub fn slots_of(&self, stratum: u32) -> Option<u32> {
        match self.version()? {
            Version::V1 => (stratum == 0).then_some(self.total),
            Version::V2 => self.strata.get(stratum as usize).map(|s| s.slots),
        }
    }

    /// How many slots there are in all strata.
    pub fn slots(&self) -> u64 {
        match self.version() {
            Some(Version::V2) => self.strata.iter().map(|s| u64::from(s.slots)).sum(),
            _ => self.total.into(),
        }
    }

    /// The place of a slot among all leaves, from 0; `None` where there is no such slot.
    pub(crate) fn index(&self, stratum: u32, position: u32) -> Option<u64> {
        let slots = self.slots_of(stratum)?;
        if !(1..=slots).contains(&position) {
            return None;
        }
        let before = self.strata.iter().take(stratum as usize).map(|s| u64::from(s.slots)).sum::<u64>();
        Some(before + u64::from(position - 1))
    }
}
