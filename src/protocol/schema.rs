//! The trial definition as it is written: TOML, unknown keys refused. A trial is a folder of
//! `*.toml` files; each file may hold any of the sections.

use crate::access::Disclosure;
use crate::score;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// One file of a trial definition.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub study: Option<Spanned<Study>>,
    #[serde(default)]
    pub arm: Vec<Arm>,
    pub allocation: Option<Spanned<Allocation>>,
    pub masking: Option<Spanned<Masking>>,
    pub scores: Option<Scores>,
    #[serde(default)]
    pub choice: Vec<Choice>,
    #[serde(default)]
    pub variable: Vec<Variable>,
    #[serde(default)]
    pub value_set: Vec<ValueSet>,
    #[serde(default)]
    pub criterion: Vec<Criterion>,
    #[serde(default)]
    pub visit: Vec<Visit>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Registry number, for example `NCT06242405`.
    pub id: String,
    /// System of the registry number.
    pub system: String,
    pub title: String,
    /// What the sponsor calls this version of the definition.
    pub version: String,
    pub masking: String,
    pub source: String,
    /// Canonical URL of the form with attestations and bedside grades.
    pub questionnaire: String,
    /// Own identifiers under which the study may be referred to besides `id`.
    #[serde(default)]
    pub other_ids: Vec<String>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    pub id: String,
    /// The name under which the arm stands in the hospital's ResearchStudy.
    pub name: String,
    pub kind: String,
    pub description: String,
}

/// How participants come to their arms. Which keys go together is said by the scheme; see
/// `protocol::allocation`.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Allocation {
    pub total: Spanned<u32>,
    /// `permuted-blocks`, `complete`, `biased-coin`, `big-stick`, `minimization` or `imported`.
    pub scheme: Spanned<String>,
    pub block_sizes: Option<Spanned<Vec<u32>>>,
    /// Of the arm that is behind, or that leaves the least imbalance. A decimal.
    pub probability: Option<Spanned<toml::Value>>,
    /// The greatest imbalance that is let stand.
    pub limit: Option<Spanned<u32>>,
    /// `range`, `variance` or `standard-deviation`.
    pub distance: Option<Spanned<String>>,
    /// Of an imported list: every arm must come equally often in it.
    pub equal: Option<Spanned<bool>>,
    /// Days for which a screening decision may be used for randomization.
    #[serde(default = "one")]
    pub decision_valid_days: u32,
    #[serde(default)]
    pub factor: Vec<Factor>,
}

/// What a list is stratified by, or what is minimized over.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    pub name: Spanned<String>,
    /// A variable, or `sex`, `age`, `dialysis`.
    pub variable: Option<Spanned<String>>,
    pub score: Option<Spanned<String>>,
    /// Answers of a coded variable, one level each; several in one level are joined by `+`.
    #[serde(default)]
    pub levels: Vec<Spanned<String>>,
    /// Classes of a score, written like `levels`.
    #[serde(default)]
    pub class: Vec<Spanned<String>>,
    /// Where a number's levels meet, ascending; a number that is equal to a cut belongs above it.
    #[serde(default)]
    pub cuts: Vec<Spanned<toml::Value>>,
    /// For minimization; 1 if it is not said.
    pub weight: Option<Spanned<toml::Value>>,
}

/// Who is kept from knowing arms.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Masking {
    /// Roles that may see the arm of a committed allocation.
    pub arm_visible_to: Vec<Spanned<String>>,
    /// The most that may be written to the hospital.
    pub write_back: Disclosure,
    /// Who is masked, for people.
    pub text: String,
    pub source: String,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Which scores are computed and written back.
    pub compute: Vec<Spanned<String>>,
    #[serde(default)]
    pub options: score::Options,
    /// Longest span, in days, between the inputs of one score; none: the windows alone decide.
    pub max_spread_days: Option<u32>,
}

/// Something that the protocol leaves open, with what is assumed until the sponsor confirms it.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    pub id: Spanned<String>,
    pub about: String,
    pub default: String,
    pub reason: String,
    #[serde(default)]
    pub confirmed: bool,
}

/// Text for people, in the languages that are shipped.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(deny_unknown_fields)]
pub struct Words {
    pub en: String,
    #[serde(default)]
    pub zh: String,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    pub id: Spanned<String>,
    pub title: Words,
    /// Canonical UCUM unit of a measured variable; absent for one with `answers`.
    pub unit: Option<Spanned<String>>,
    /// UCUM units that are accepted, besides the canonical one.
    #[serde(default)]
    pub units: Vec<Spanned<String>>,
    /// Spellings that are not UCUM, or mean something else in UCUM, to an accepted unit.
    #[serde(default)]
    pub aliases: BTreeMap<String, Spanned<String>>,
    /// Factor between mass and substance of this analyte.
    pub molar: Option<Molar>,
    /// A result without any unit is taken to be in the canonical one (for ratios such as the INR).
    #[serde(default)]
    pub unitless: bool,
    /// Lowest and highest value that a living person can have, in the canonical unit.
    pub plausible: Option<[String; 2]>,
    /// How old a result may be, in days.
    pub window_days: Option<u32>,
    /// Codes by system, in order of preference.
    pub codes: BTreeMap<String, Vec<Spanned<String>>>,
    /// Codes among these that are accepted with a remark.
    #[serde(default)]
    pub flags: BTreeMap<String, String>,
    /// Where the codes and limits come from.
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub answers: Vec<AnswerSet>,
    /// Numbers of a coded variable: below `negative_below` the first answer, else the second.
    pub threshold: Option<Threshold>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Molar {
    /// Unit of substance, for example `umol/L`.
    pub unit: String,
    /// How many of these make one canonical unit.
    pub per_unit: String,
    pub source: String,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct AnswerSet {
    pub id: String,
    /// Codes by system.
    #[serde(default)]
    pub codes: BTreeMap<String, Vec<String>>,
    /// Exact texts (case does not count) that were approved to mean this answer.
    #[serde(default)]
    pub texts: Vec<String>,
    /// The value of a `valueBoolean` that means this answer.
    pub boolean: Option<bool>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    pub unit: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub below: String,
    pub answer_below: String,
    pub answer_otherwise: String,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct ValueSet {
    pub id: Spanned<String>,
    pub title: Words,
    /// Codes, or ranges such as `C00-C97`, by system. In a classification a code stands for all
    /// codes below it.
    #[serde(default)]
    pub codes: BTreeMap<String, Vec<Spanned<String>>>,
    /// Codes below the listed ones that do not belong.
    #[serde(default)]
    pub except: BTreeMap<String, Vec<String>>,
    /// Words in a drug's name that raise a question where no code could be read.
    #[serde(default)]
    pub hints: Vec<String>,
    /// A condition that does not pass: without a clinical status it counts as current.
    #[serde(default)]
    pub chronic: bool,
    #[serde(default)]
    pub source: String,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CriterionKind {
    Inclusion,
    Exclusion,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    pub id: Spanned<String>,
    pub kind: CriterionKind,
    pub text: Words,
    /// When the criterion does not apply at all, for example to men.
    pub applies: Option<Rule>,
    pub rule: Rule,
    /// A negative finding that settles an exclusion about which nothing else is known.
    pub clear_when: Option<Rule>,
    /// For how many days an attestation that the exclusion does not apply, or the inclusion does, is good;
    /// none: for good.
    pub attestation_days: Option<u32>,
    /// What raises a question that only a person can answer.
    #[serde(default)]
    pub questions: Vec<Question>,
    #[serde(default)]
    pub note: String,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub when: Rule,
    pub reason: String,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
    /// Completed years.
    Age {
        at_least: Option<u32>,
        at_most: Option<u32>,
    },
    Sex(String),
    Finding(FindingRule),
    Result {
        variable: Spanned<String>,
        #[serde(default)]
        at_least: Option<String>,
        #[serde(default)]
        above: Option<String>,
        #[serde(default)]
        at_most: Option<String>,
        #[serde(default)]
        below: Option<String>,
        within_days: Option<u32>,
    },
    Answer {
        variable: Spanned<String>,
        is: String,
        within_days: Option<u32>,
    },
    Score {
        score: Spanned<String>,
        at_least: String,
    },
    /// At least so many distinct allergies to drugs and to food.
    Allergies {
        min_drug: u32,
        min_food: u32,
        /// `and` or `or`.
        combine: String,
        /// Value set of the codes that say "no known allergy".
        none: Spanned<String>,
    },
    Consent {},
    OtherStudy {
        within_days: u32,
    },
    /// Only a person can say.
    Attested {},
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct FindingRule {
    pub value_set: Spanned<String>,
    /// Resource types that can show it; for absence to count, each must be complete.
    pub resources: Vec<Spanned<String>>,
    /// Only a condition that is active counts.
    #[serde(default)]
    pub current: bool,
    /// Began in, or reached into, the last so many days; without it: ever.
    pub within_days: Option<u32>,
    /// Value set of the routes that count; others do not; a missing route is unknown.
    pub route: Option<Spanned<String>>,
    /// Value set of the routes that surely do not count.
    pub not_route: Option<Spanned<String>>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    pub id: String,
    pub day: i32,
    pub window_days: u32,
    pub anchor: String,
    pub outcomes: Vec<Spanned<String>>,
}

/// What one site sends differently: its own systems, codes, units, and which feeds are complete.
#[derive(Deserialize, Debug, Default, Clone)]
#[serde(deny_unknown_fields)]
pub struct Site {
    #[serde(default)]
    pub id: String,
    /// The site's own URIs and OIDs, read as a known system.
    #[serde(default)]
    pub systems: BTreeMap<String, String>,
    #[serde(default)]
    pub code: Vec<SiteCode>,
    /// Unit spellings by variable.
    #[serde(default)]
    pub units: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pub feed: Vec<Feed>,
    /// The laboratory's mean normal prothrombin time in seconds.
    pub pt_control_s: Option<String>,
    #[serde(default)]
    pub hl7v2: Hl7v2,
}

/// How the HL7 v2 messages of the site are read where they do not say it themselves.
#[derive(Deserialize, Debug, Default, Clone)]
#[serde(deny_unknown_fields)]
pub struct Hl7v2 {
    /// Of a time of day without a zone, for example `+08:00`; without it such a time is an error.
    pub time_zone: Option<Spanned<String>>,
    /// Character set of a message without MSH-18, by its name there; none: UTF-8.
    pub charset: Option<Spanned<String>>,
    /// The identifier system that names a patient where PID-3 repeats; none: the first repetition.
    pub patient_identifier: Option<Spanned<String>>,
    /// Assigning authorities (PID-3.4, namespace or universal id) to identifier systems.
    #[serde(default)]
    pub authorities: BTreeMap<String, Spanned<String>>,
    /// Names of coding systems (OBX-3.3, OBX-5.3, OBX-6.3) to code systems.
    #[serde(default)]
    pub coding_systems: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct SiteCode {
    pub system: String,
    pub code: Spanned<String>,
    /// For people; never mapped by.
    #[serde(default)]
    pub display: String,
    pub to_system: String,
    pub to: String,
}

/// A declaration that the records of one type are complete: absence in the data is then absence in
/// the patient.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    pub resource: Spanned<String>,
    /// `ever`, or the first day from which nothing is missing.
    pub complete_since: String,
    /// Who declared it.
    pub declared_by: String,
}
