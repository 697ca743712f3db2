//! A definition and a site, compiled into what the evaluation reads.

use super::allocation::{self, Allocation, Known, Problem};
use super::codes::{Codes, Target};
use super::document::{Definition, File, Finding, Severity, SiteFile};
use super::factor::Factor;
use super::inputs::ScoreInputs;
use super::rule::{Rule, Scope};
use super::schema::{self, CriterionKind};
use super::site::Site;
use super::variable::{self, Variable};
use crate::access::Masking;
use crate::clinical::unit::UnitError;
use crate::fact::Index;
use crate::protocol::document::hex;
use crate::randomize::{Arms, Plan};
use crate::score;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use toml::Spanned;

/// A trial, ready to be evaluated.
#[derive(Debug)]
pub struct Trial {
    pub study: schema::Study,
    pub arms: Vec<schema::Arm>,
    pub allocation: Option<Allocation>,
    /// Who may see arms. A trial that says nothing has [`Masking::strictest`].
    pub masking: Masking,
    /// Where `[masking]` stands, for findings: `trial.toml:41`.
    pub masking_place: Option<String>,
    pub choices: Vec<schema::Choice>,
    pub visits: Vec<schema::Visit>,
    pub variables: Vec<Variable>,
    pub value_sets: Vec<ValueSet>,
    pub criteria: Vec<Criterion>,
    pub scores: Vec<&'static str>,
    pub score_options: score::Options,
    pub max_spread_days: Option<u32>,
    /// What the scores are computed from.
    pub inputs: ScoreInputs,
    pub codes: Codes,
    pub site: Site,
    /// `sha256:…` of the definition's files.
    pub hash: String,
    /// Hash of the site file, which is not part of the definition: it says how this hospital writes.
    pub site_hash: String,
    variable_index: HashMap<String, Index>,
    value_set_index: HashMap<String, Index>,
}

#[derive(Debug)]
pub struct ValueSet {
    pub id: String,
    pub title: schema::Words,
    pub chronic: bool,
    /// Lower case.
    pub hints: Vec<String>,
}

#[derive(Debug)]
pub struct Criterion {
    pub id: String,
    pub kind: CriterionKind,
    pub text: schema::Words,
    pub applies: Option<Rule>,
    pub rule: Rule,
    pub clear_when: Option<Rule>,
    pub attestation_days: Option<u32>,
    pub questions: Vec<(Rule, String)>,
    pub note: String,
}

impl Trial {
    /// Compiles, or says everything that prevents it.
    pub fn compile(definition: &Definition, site: &SiteFile) -> Result<Trial, Vec<Finding>> {
        let mut c = Compiler { definition, site, findings: Vec::new(), codes: Codes::default() };
        let trial = c.run();
        match trial {
            Some(trial) if c.findings.is_empty() => Ok(trial),
            _ => Err(c.findings),
        }
    }

    /// All codes by which a result of this trial may come, in any system and as the site writes them;
    /// `None` where a result is listed by a class of codes.
    pub fn result_codes(&self) -> Option<Vec<String>> {
        let mut all = Vec::new();
        for (system, code) in self.codes.of_results()? {
            all.push(code.to_owned());
            all.extend(self.site.written_as(system, code).into_iter().map(|(_, own)| own.to_owned()));
        }
        Some(all)
    }

    /// The shipped trial for a hospital that sends standard codes only.
    pub fn shipped() -> Trial {
        Trial::compile(&Definition::shipped(), &SiteFile::default())
            .expect("the shipped trial is compiled by a test of every build")
    }

    /// What a list of this trial follows from, besides its seed. None where the trial has no `[allocation]`,
    /// or arms between which nobody could be randomized.
    pub fn plan(&self) -> Option<Plan> {
        let arms = Arms::new(self.arms.iter().map(|arm| arm.name.clone())).ok()?;
        Some(self.allocation.as_ref()?.plan(arms))
    }

    /// The factors of the randomization, in the plan's order.
    pub fn factors(&self) -> &[Factor] {
        self.allocation.as_ref().map_or(&[], |a| &a.factors)
    }

    pub fn variable(&self, id: &str) -> Option<Index> {
        self.variable_index.get(id).copied()
    }

    pub fn value_set(&self, id: &str) -> Option<Index> {
        self.value_set_index.get(id).copied()
    }

    pub fn criterion(&self, id: &str) -> Option<Index> {
        self.criteria.iter().position(|c| c.id == id).map(|at| at as Index)
    }
}

struct Compiler<'a> {
    definition: &'a Definition,
    site: &'a SiteFile,
    findings: Vec<Finding>,
    codes: Codes,
}

impl<'a> Compiler<'a> {
    fn error(&mut self, place: String, id: &'static str, text: String, hint: &str) {
        self.findings.push(Finding { severity: Severity::Error, place, id, text, hint: hint.into() });
    }

    /// All entries of one section over the files, each with its file.
    fn section<T>(&self, of: impl Fn(&'a File) -> &'a [T]) -> Vec<(&'a File, &'a T)> {
        self.definition.files.iter().flat_map(|f| of(f).iter().map(move |t| (f, t))).collect()
    }

    fn run(&mut self) -> Option<Trial> {
        let files = &self.definition.files;
        let studies: Vec<_> = files.iter().filter_map(|f| Some((f, f.document.study.as_ref()?))).collect();
        let study = match studies.as_slice() {
            [(_, study)] => study.get_ref().clone(),
            [] => {
                self.error("trial".into(), "TB-T004", "no file has a [study] section".into(), "add [study]");
                return None;
            }
            [_, (file, second), ..] => {
                let place = file.place(second.span());
                self.error(place, "TB-T004", "a second [study] section".into(), "keep one");
                return None;
            }
        };
        let site = match Site::compile(self.site) {
            Ok(site) => site,
            Err(findings) => {
                self.findings.extend(findings);
                return None;
            }
        };
        let (variables, variable_index) = self.variables();
        let (value_sets, value_set_index) = self.value_sets();
        self.look_alikes(&variable_index);
        let scores = self.scores();
        let criteria = self.criteria(&variables, &variable_index, &value_set_index, &scores.0);
        let allocation = self.allocation(&variables, &scores.0);
        let masking = self.masking();
        let inputs = ScoreInputs::find(&variables, &variable_index, &value_set_index);
        Some(Trial {
            study,
            arms: files.iter().flat_map(|f| f.document.arm.iter().cloned()).collect(),
            allocation,
            masking: masking.0,
            masking_place: masking.1,
            choices: files.iter().flat_map(|f| f.document.choice.iter().cloned()).collect(),
            visits: files.iter().flat_map(|f| f.document.visit.iter().cloned()).collect(),
            variables,
            value_sets,
            criteria,
            scores: scores.0,
            score_options: scores.1,
            max_spread_days: scores.2,
            inputs,
            codes: std::mem::take(&mut self.codes),
            site,
            hash: self.definition.hash.clone(),
            site_hash: format!("sha256:{}", hex(&Sha256::digest(self.site.text.as_bytes()))),
            variable_index,
            value_set_index,
        })
    }

    fn variables(&mut self) -> (Vec<Variable>, HashMap<String, Index>) {
        let (mut variables, mut index) = (Vec::new(), HashMap::new());
        // System and code to the variable that has it, for codes mapped twice.
        let mut taken: HashMap<(String, String), String> = HashMap::new();
        for (file, v) in self.section(|f| &f.document.variable) {
            let id = v.id.get_ref();
            let at = variables.len() as Index;
            if index.insert(id.clone(), at).is_some() {
                let text = format!("variable `{id}` is defined twice");
                self.error(file.place(v.id.span()), "TB-T005", text, "remove one of them");
                continue;
            }
            let site_units: HashMap<String, String> =
                self.site.site.units.get(id).map(|u| u.clone().into_iter().collect()).unwrap_or_default();
            match Variable::compile(v, &site_units) {
                Ok(variable) => variables.push(variable),
                Err(problems) => {
                    for problem in problems {
                        self.unit_problem(file, v, problem);
                    }
                    // Keeps the indices right; nothing is evaluated with findings.
                    variables.push(Variable {
                        id: id.clone(),
                        title: v.title.clone(),
                        window_days: None,
                        codes: Vec::new(),
                        flags: HashMap::new(),
                        kind: variable::Kind::Coded(variable::Coded { answers: Vec::new(), threshold: None }),
                    });
                }
            }
            let mut rank = 0;
            for (system, codes) in &v.codes {
                for code in codes {
                    let key = (system.clone(), code.get_ref().clone());
                    if let Some(other) = taken.insert(key, id.clone()) {
                        let text = format!("code {} is mapped to `{other}` and to `{id}`", code.get_ref());
                        self.error(file.place(code.span()), "TB-T006", text, "a code means one variable");
                    }
                    let target = Target::Variable { index: at, rank };
                    if let Err(error) = self.codes.add(system, code.get_ref(), target) {
                        self.error(file.place(code.span()), "TB-T007", error.to_string(), "correct the code");
                    }
                    rank += 1;
                }
            }
        }
        let unknown: Vec<String> =
            self.site.site.units.keys().filter(|v| !index.contains_key(*v)).cloned().collect();
        for id in unknown {
            let text = format!("[units.{id}]: there is no such variable");
            self.error(self.site.place_of(&format!("units.{id}")), "TB-S002", text, "correct the name");
        }
        (variables, index)
    }

    fn unit_problem(&mut self, file: &File, v: &schema::Variable, problem: variable::Problem) {
        let id = v.id.get_ref();
        let at_variable = file.place(v.id.span());
        match problem {
            variable::Problem::Unit(error, span) => {
                let check = match error {
                    UnitError::NotUcum(_) => "TB-T008",
                    UnitError::Incommensurable { .. } => "TB-T009",
                };
                let hint = "give a UCUM unit that converts to the canonical one, or a [molar] factor";
                self.error(file.place(span), check, format!("variable `{id}`: {error}"), hint);
            }
            variable::Problem::AliasTarget(alias, span) => {
                let place = if span.end == 0 { self.site.place_of(&alias) } else { file.place(span) };
                let text = format!("variable `{id}`: the spelling `{alias}` stands for no accepted unit");
                self.error(place, "TB-T010", text, "list the unit under `units` first");
            }
            variable::Problem::AliasTaken(alias, span) => {
                let place = if span.end == 0 { self.site.place_of(&alias) } else { file.place(span) };
                let text =
                    format!("variable `{id}`: the spelling `{alias}` is an accepted unit of another size");
                self.error(place, "TB-T010", text, "a spelling means one unit");
            }
            variable::Problem::Number(text) => {
                let text = format!("variable `{id}`: `{text}` is not a range of decimals");
                self.error(at_variable, "TB-T011", text, "write decimals as strings, the lower one first");
            }
            variable::Problem::NeitherUnitNorAnswers => {
                let text = format!("variable `{id}` needs either a `unit` or `answers`");
                self.error(at_variable, "TB-T012", text, "a variable is measured or coded");
            }
            variable::Problem::AnswerUnknown(answer) => {
                let text = format!("variable `{id}` has no answer `{answer}`");
                self.error(at_variable, "TB-T013", text, "correct the answer's name");
            }
        }
    }

    fn value_sets(&mut self) -> (Vec<ValueSet>, HashMap<String, Index>) {
        let (mut sets, mut index) = (Vec::new(), HashMap::new());
        for (file, s) in self.section(|f| &f.document.value_set) {
            let id = s.id.get_ref();
            let at = sets.len() as Index;
            if index.insert(id.clone(), at).is_some() {
                let text = format!("value set `{id}` is defined twice");
                self.error(file.place(s.id.span()), "TB-T005", text, "remove one of them");
                continue;
            }
            for (system, codes) in &s.codes {
                for code in codes {
                    if let Err(error) = self.codes.add(system, code.get_ref(), Target::ValueSet(at)) {
                        self.error(file.place(code.span()), "TB-T007", error.to_string(), "correct the code");
                    }
                }
            }
            for (system, codes) in &s.except {
                for code in codes {
                    if let Err(error) = self.codes.except(system, code, Target::ValueSet(at)) {
                        self.error(file.place(s.id.span()), "TB-T007", error.to_string(), "correct the code");
                    }
                }
            }
            sets.push(ValueSet {
                id: id.clone(),
                title: s.title.clone(),
                chronic: s.chronic,
                hints: s.hints.iter().map(|h| h.to_lowercase()).collect(),
            });
        }
        (sets, index)
    }

    /// Codes that are mistaken for a variable of the trial stand in the table as such, so that a
    /// result that carries both is a conflict.
    fn look_alikes(&mut self, variables: &HashMap<String, Index>) {
        for analyte in super::check::analytes() {
            if let Some(variable) = variables.get(&analyte.id) {
                for code in &analyte.look_alikes {
                    let target = Target::LookAlike(*variable);
                    let added = self.codes.add(crate::clinical::code::LOINC, &code.code, target);
                    debug_assert!(added.is_ok(), "LOINC codes are compared exactly");
                }
            }
        }
    }

    fn scores(&mut self) -> (Vec<&'static str>, score::Options, Option<u32>) {
        let (mut names, mut options, mut spread) = (Vec::new(), score::Options::default(), None);
        for file in &self.definition.files {
            let Some(scores) = &file.document.scores else { continue };
            options = scores.options.clone();
            spread = scores.max_spread_days;
            for name in &scores.compute {
                match score::NAMES.iter().find(|n| *n == name.get_ref()) {
                    Some(known) => names.push(*known),
                    None => {
                        let text = format!("`{}` is not a score", name.get_ref());
                        let hint = format!("scores: {}", score::NAMES.join(", "));
                        self.error(file.place(name.span()), "TB-T014", text, &hint);
                    }
                }
            }
        }
        (names, options, spread)
    }

    /// The only section of its kind, with its file.
    fn only<T>(
        &mut self,
        name: &str,
        of: impl Fn(&'a File) -> Option<&'a Spanned<T>>,
    ) -> Option<(&'a File, &'a Spanned<T>)> {
        let mut found = self.definition.files.iter().filter_map(|f| Some((f, of(f)?)));
        let first = found.next();
        if let Some((file, second)) = found.next() {
            let place = file.place(second.span());
            self.error(place, "TB-T004", format!("a second [{name}] section"), "keep one");
        }
        first
    }

    fn problems(&mut self, file: &File, problems: Vec<Problem>) {
        for problem in problems {
            self.error(file.place(problem.span), problem.id, problem.text, &problem.hint);
        }
    }

    fn allocation(&mut self, variables: &[Variable], scores: &[&'static str]) -> Option<Allocation> {
        let (file, section) = self.only("allocation", |f| f.document.allocation.as_ref())?;
        let known = Known { variables, scores, text: &file.text };
        match allocation::compile(section.get_ref(), &known) {
            Ok(allocation) => Some(allocation),
            Err(problems) => {
                self.problems(file, problems);
                None
            }
        }
    }

    fn masking(&mut self) -> (Masking, Option<String>) {
        let Some((file, section)) = self.only("masking", |f| f.document.masking.as_ref()) else {
            return (Masking::strictest(), None);
        };
        let masking = allocation::masking(section.get_ref()).unwrap_or_else(|problems| {
            self.problems(file, problems);
            // Nothing runs with findings.
            Masking::strictest()
        });
        (masking, Some(file.place(section.span())))
    }

    fn criteria(
        &mut self,
        variables: &[Variable],
        variable_index: &HashMap<String, Index>,
        value_sets: &HashMap<String, Index>,
        scores: &[&'static str],
    ) -> Vec<Criterion> {
        let answers = variables
            .iter()
            .enumerate()
            .filter_map(|(i, v)| Some((i as Index, v.coded()?)))
            .flat_map(|(i, coded)| {
                coded.answers.iter().enumerate().map(move |(a, set)| ((i, set.id.clone()), a as Index))
            })
            .collect();
        let scope = Scope { variables: variable_index, answers: &answers, value_sets, scores };
        let mut criteria: Vec<Criterion> = Vec::new();
        for (file, c) in self.section(|f| &f.document.criterion) {
            let id = c.id.get_ref().clone();
            if criteria.iter().any(|other| other.id == id) {
                let text = format!("criterion `{id}` is defined twice");
                self.error(file.place(c.id.span()), "TB-T005", text, "remove one of them");
                continue;
            }
            let mut problems = Vec::new();
            let mut compile = |rule: &schema::Rule| Rule::compile(rule, &scope, &mut problems);
            let criterion = Criterion {
                id,
                kind: c.kind,
                text: c.text.clone(),
                applies: c.applies.as_ref().map(&mut compile),
                rule: compile(&c.rule),
                clear_when: c.clear_when.as_ref().map(&mut compile),
                attestation_days: c.attestation_days,
                questions: c.questions.iter().map(|q| (compile(&q.when), q.reason.clone())).collect(),
                note: c.note.clone(),
            };
            for problem in problems {
                let place = file.place(problem.span.unwrap_or_else(|| c.id.span()));
                let text = format!("criterion {}: {}", c.id.get_ref(), problem.text);
                self.error(place, "TB-T015", text, "correct the rule");
            }
            criteria.push(criterion);
        }
        criteria
    }
}
