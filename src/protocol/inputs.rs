//! Which of a trial's variables and value sets the scores are computed from: names looked up once, when
//! the trial is compiled. A name that the trial does not define stays `None`, and its input missing.

use super::check::SCORE_INPUTS;
use super::variable::Variable;
use crate::fact::Index;
use crate::score;
use std::collections::HashMap;

/// The inputs of scores as indices.
#[derive(Debug, Default)]
pub struct ScoreInputs {
    pub bilirubin_total: Option<Index>,
    pub inr: Option<Index>,
    pub creatinine: Option<Index>,
    pub sodium: Option<Index>,
    pub albumin: Option<Index>,
    pub ast: Option<Index>,
    pub alt: Option<Index>,
    pub platelets: Option<Index>,
    pub pt: Option<Index>,
    pub wbc: Option<Index>,
    pub clif_of: Option<Index>,
    pub ascites: Option<Index>,
    pub encephalopathy: Option<Index>,
    pub pbc_or_psc: Option<Index>,
    pub etiology: Option<Index>,
    /// Those of the variables above that are measured.
    pub measured: Vec<Index>,
    /// Value sets from which dialysis is seen.
    pub dialysis_session: Option<Index>,
    pub dialysis_continuous: Option<Index>,
    pub end_stage_renal_disease: Option<Index>,
    /// For each score the variables that it is computed from, in the score's order.
    by_score: Vec<(&'static str, Vec<Index>)>,
}

impl ScoreInputs {
    pub(super) fn find(
        variables: &[Variable],
        index: &HashMap<String, Index>,
        value_sets: &HashMap<String, Index>,
    ) -> ScoreInputs {
        let variable = |id: &str| index.get(id).copied();
        let set = |id: &str| value_sets.get(id).copied();
        ScoreInputs {
            bilirubin_total: variable("bilirubin_total"),
            inr: variable("inr"),
            creatinine: variable("creatinine"),
            sodium: variable("sodium"),
            albumin: variable("albumin"),
            ast: variable("ast"),
            alt: variable("alt"),
            platelets: variable("platelets"),
            pt: variable("pt"),
            wbc: variable("wbc"),
            clif_of: variable("clif_of"),
            ascites: variable("ascites"),
            encephalopathy: variable("encephalopathy"),
            pbc_or_psc: variable("pbc_or_psc"),
            etiology: variable("etiology"),
            measured: SCORE_INPUTS
                .iter()
                .filter_map(|(id, _)| variable(id))
                .filter(|v| variables.get(*v as usize).is_some_and(|v| v.measured().is_some()))
                .collect(),
            dialysis_session: set("dialysis-session"),
            dialysis_continuous: set("dialysis-continuous"),
            end_stage_renal_disease: set("end-stage-renal-disease"),
            by_score: score::NAMES
                .iter()
                .map(|name| {
                    let variables = score::variables_of(name).iter().filter_map(|id| variable(id));
                    (*name, variables.collect())
                })
                .collect(),
        }
    }

    /// The variables that a score is computed from, as far as the trial defines them.
    pub fn of_score(&self, name: &str) -> &[Index] {
        self.by_score.iter().find(|(n, _)| *n == name).map_or(&[], |(_, variables)| variables)
    }
}
