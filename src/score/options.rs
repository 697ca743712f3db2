//! Where published versions of a score differ, the trial says which one it means.

use super::span::dec;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};

/// The trial's choices among published variants. The defaults are the primary publications'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    pub child_pugh: ChildPughOptions,
    /// Albumin's coefficient in ALBI: 0.085 (Johnson 2015) or 0.0852 (several later implementations).
    #[serde(deserialize_with = "albi_coefficient")]
    pub albi_coefficient: Decimal,
    /// U/L, the upper limit of normal of AST in APRI where the result brings none.
    #[serde(deserialize_with = "positive")]
    pub ast_uln_default: Decimal,
    /// Whether bilirubin, INR and creatinine below 1.0 count as 1.0 in the original MELD, as in its
    /// later use. The paper of 2000 has no floor.
    pub meld_original_floor: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            child_pugh: ChildPughOptions::default(),
            albi_coefficient: dec("0.085"),
            ast_uln_default: dec("40"),
            meld_original_floor: true,
        }
    }
}

/// Child-Pugh tables differ in print at three places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChildPughOptions {
    pub albumin_floor: AlbuminFloor,
    pub inr_upper: InrUpper,
    pub bilirubin_table: BilirubinTable,
}

/// g/dL; below it albumin scores 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Decimal", into = "Decimal")]
pub enum AlbuminFloor {
    /// 2.8 g/dL (Pugh 1973).
    #[default]
    At2_8,
    /// 3.0 g/dL (Harrison's table).
    At3_0,
}

/// The last INR that scores 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Decimal", into = "Decimal")]
pub enum InrUpper {
    #[default]
    At2_3,
    At2_2,
}

/// Where bilirubin is compared: in mg/dL, or in umol/L with a printed SI table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BilirubinTable {
    /// 2.0 and 3.0 mg/dL, which are 34.2 and 51.3 umol/L at 17.1.
    #[default]
    #[serde(rename = "converted")]
    Converted,
    /// 34 to 50 umol/L score 2.
    #[serde(rename = "34-50")]
    Si34To50,
    /// 34 to 51 umol/L score 2 (MSD Manual, Harrison's).
    #[serde(rename = "34-51")]
    Si34To51,
    /// 35 to 51 umol/L score 2.
    #[serde(rename = "35-51")]
    Si35To51,
}

impl TryFrom<Decimal> for AlbuminFloor {
    type Error = String;
    fn try_from(x: Decimal) -> Result<Self, String> {
        [AlbuminFloor::At2_8, AlbuminFloor::At3_0]
            .into_iter()
            .find(|floor| Decimal::from(*floor) == x)
            .ok_or_else(|| format!("albumin_floor is 2.8 or 3.0 (g/dL), not {x}: write one of the two"))
    }
}

impl From<AlbuminFloor> for Decimal {
    fn from(floor: AlbuminFloor) -> Decimal {
        match floor {
            AlbuminFloor::At2_8 => const { dec("2.8") },
            AlbuminFloor::At3_0 => const { dec("3.0") },
        }
    }
}

impl TryFrom<Decimal> for InrUpper {
    type Error = String;
    fn try_from(x: Decimal) -> Result<Self, String> {
        [InrUpper::At2_3, InrUpper::At2_2]
            .into_iter()
            .find(|upper| Decimal::from(*upper) == x)
            .ok_or_else(|| format!("inr_upper is 2.3 or 2.2, not {x}: write one of the two"))
    }
}

impl From<InrUpper> for Decimal {
    fn from(upper: InrUpper) -> Decimal {
        match upper {
            InrUpper::At2_3 => const { dec("2.3") },
            InrUpper::At2_2 => const { dec("2.2") },
        }
    }
}

fn albi_coefficient<'de, D: Deserializer<'de>>(from: D) -> Result<Decimal, D::Error> {
    let x = <Decimal as Deserialize>::deserialize(from)?;
    // The sign belongs to the formula: "-0.085" here would turn the score round without a word.
    if x == const { dec("0.085") } || x == const { dec("0.0852") } {
        return Ok(x);
    }
    Err(serde::de::Error::custom(format!(
        "albi_coefficient is 0.085 or 0.0852, not {x}: write one of the two"
    )))
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<Decimal, D::Error> {
    let x = <Decimal as Deserialize>::deserialize(from)?;
    if x > Decimal::ZERO {
        return Ok(x);
    }
    Err(serde::de::Error::custom(format!("ast_uln_default is an upper limit of normal above 0 U/L, not {x}")))
}
