//! The named checks of a definition. Each finds one kind of mistake; all findings are reported.
//! What prevents compiling is found by `compile`; here stands what compiles and is still wrong.

use super::allocation;
use super::compile::Trial;
use super::contradiction;
use super::document::{Definition, File, Finding, Severity, SiteFile};
use super::rule::Rule;
use crate::clinical::code::LOINC;
use crate::score;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

/// An analyte with the codes that are taken for it by mistake.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Analyte {
    pub id: String,
    pub codes: Vec<String>,
    pub look_alikes: Vec<LookAlike>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct LookAlike {
    pub code: String,
    pub why: String,
}

/// The analytes that are known to the program.
pub fn analytes() -> &'static [Analyte] {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        analyte: Vec<Analyte>,
    }
    static ANALYTES: OnceLock<Vec<Analyte>> = OnceLock::new();
    ANALYTES.get_or_init(|| {
        toml::from_str::<Table>(include_str!("../../mappings/look-alikes.toml"))
            .expect("the table is built in and read by a test of every build")
            .analyte
    })
}

/// Checks a definition and a site. The trial is there if it can be run at all.
pub fn check(definition: &Definition, site: &SiteFile) -> (Option<Trial>, Vec<Finding>) {
    let mut findings = Vec::new();
    look_alikes(definition, site, &mut findings);
    empty_value_sets(definition, &mut findings);
    missing_codes(definition, &mut findings);
    let trial = match Trial::compile(definition, site) {
        Ok(trial) => Some(trial),
        Err(errors) => {
            findings.extend(errors);
            None
        }
    };
    if let Some(trial) = &trial {
        let at = Places::of(definition);
        unused(trial, definition, &mut findings);
        never_decided(trial, &at, &mut findings);
        for (id, text) in contradiction::all(trial) {
            let hint = "nobody could ever be eligible";
            findings.push(finding(Severity::Error, at.get(&id), "TB-T022", text, hint));
        }
        score_units(trial, &at, &mut findings);
        allocation::check(trial, definition, &mut findings);
        allocation::check_masking(trial, definition, &mut findings);
        site_codes(trial, site, &mut findings);
        patient_identifier(site, &mut findings);
        texts(trial, &at, &mut findings);
    }
    choices(definition, &mut findings);
    findings.sort_by(Finding::order);
    findings.dedup();
    let runs = !findings.iter().any(|f| f.severity == Severity::Error);
    (trial.filter(|_| runs), findings)
}

/// Where the definition names its things.
struct Places<'a>(HashMap<&'a str, String>);

impl<'a> Places<'a> {
    fn of(definition: &'a Definition) -> Self {
        let mut places = HashMap::new();
        for file in &definition.files {
            let d = &file.document;
            let ids = (d.variable.iter().map(|v| &v.id))
                .chain(d.criterion.iter().map(|c| &c.id))
                .chain(d.value_set.iter().map(|v| &v.id));
            for id in ids {
                places.insert(id.get_ref().as_str(), file.place(id.span()));
            }
        }
        Places(places)
    }
    fn get(&self, id: &str) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| "trial".into())
    }
}

fn finding(severity: Severity, place: String, id: &'static str, text: String, hint: &str) -> Finding {
    Finding { severity, place, id, text, hint: hint.into() }
}

/// A look-alike code mapped by mistake, in the trial or by the site.
fn look_alikes(definition: &Definition, site: &SiteFile, findings: &mut Vec<Finding>) {
    for file in &definition.files {
        for v in &file.document.variable {
            let Some(codes) = v.codes.get(LOINC) else { continue };
            for analyte in analytes() {
                let is_this = analyte.id == *v.id.get_ref()
                    || codes.iter().any(|c| analyte.codes.contains(c.get_ref()));
                if !is_this {
                    continue;
                }
                for code in codes {
                    if let Some(other) = analyte.look_alikes.iter().find(|l| l.code == *code.get_ref()) {
                        findings.push(finding(
                            Severity::Error,
                            file.place(code.span()),
                            "TB-T003",
                            format!(
                                "variable `{}` maps {}, which is {}",
                                v.id.get_ref(),
                                other.code,
                                other.why
                            ),
                            "remove the code, or give it a variable of its own",
                        ));
                    }
                }
            }
        }
    }
    for code in &site.site.code {
        let words = code.display.to_lowercase();
        // The display never maps; it may betray a mistake. These are the laboratory's usual names.
        let suspicious = [
            ("direct", "1975-2"),
            ("直接", "14631-6"),
            ("直接", "1975-2"),
            ("结合", "14631-6"),
            ("活动度", "5902-2"),
            ("尿", "14682-9"),
            ("尿", "1751-7"),
        ];
        if suspicious.iter().any(|(word, to)| words.contains(word) && code.to == *to) {
            findings.push(finding(
                Severity::Warning,
                site.place(code.code.span()),
                "TB-S006",
                format!(
                    "local code {} is mapped to {}, and its name says something else",
                    code.code.get_ref(),
                    code.to
                ),
                "look the code up in the laboratory's catalogue",
            ));
        }
    }
}

fn empty_value_sets(definition: &Definition, findings: &mut Vec<Finding>) {
    for file in &definition.files {
        for set in &file.document.value_set {
            if set.codes.values().all(Vec::is_empty) {
                let text = format!("value set `{}` has no code", set.id.get_ref());
                let hint = "a criterion over it can never be met; list its codes";
                findings.push(finding(Severity::Error, file.place(set.id.span()), "TB-T016", text, hint));
            }
        }
    }
}

fn missing_codes(definition: &Definition, findings: &mut Vec<Finding>) {
    for file in &definition.files {
        for v in &file.document.variable {
            if v.codes.values().all(Vec::is_empty) {
                let text = format!("variable `{}` has no code", v.id.get_ref());
                let hint = "no result can ever become this variable; list its codes";
                findings.push(finding(Severity::Error, file.place(v.id.span()), "TB-T017", text, hint));
            }
            let listed: HashSet<&String> = v.codes.values().flatten().map(|c| c.get_ref()).collect();
            for code in v.flags.keys().filter(|c| !listed.contains(c)) {
                let text = format!("variable `{}` flags {code}, which it does not map", v.id.get_ref());
                findings.push(finding(
                    Severity::Warning,
                    file.place(v.id.span()),
                    "TB-T018",
                    text,
                    "correct the code",
                ));
            }
        }
    }
}

/// Which variables and value sets no rule, score or visit uses.
fn unused(trial: &Trial, definition: &Definition, findings: &mut Vec<Finding>) {
    let (mut variables, mut sets) = (HashSet::new(), HashSet::new());
    for rule in all_rules(trial) {
        rule.walk(&mut |r| match r {
            Rule::Result { variable, .. } | Rule::Answer { variable, .. } => {
                variables.insert(*variable);
            }
            Rule::Finding(f) => {
                sets.insert(f.value_set);
                sets.extend(f.route);
                sets.extend(f.not_route);
            }
            Rule::Allergies { none, .. } => {
                sets.insert(*none);
            }
            _ => {}
        });
    }
    variables.extend(trial.factors().iter().filter_map(|f| trial.variable(f.variable()?)));
    let outcomes: HashSet<&str> =
        trial.visits.iter().flat_map(|v| v.outcomes.iter().map(|o| o.get_ref().as_str())).collect();
    for file in &definition.files {
        for v in &file.document.variable {
            let id = v.id.get_ref();
            let index = trial.variable(id).expect("the trial was compiled from this definition");
            let by_score = !trial.scores.is_empty() && SCORE_INPUTS.iter().any(|(name, _)| name == id);
            if !variables.contains(&index) && !by_score && !outcomes.contains(id.as_str()) {
                let text = format!("variable `{id}` is used by no criterion, score or visit");
                findings.push(finding(
                    Severity::Warning,
                    file.place(v.id.span()),
                    "TB-T019",
                    text,
                    "remove it, or use it",
                ));
            }
        }
        for s in &file.document.value_set {
            let id = s.id.get_ref();
            let index = trial.value_set(id).expect("the trial was compiled from this definition");
            if !sets.contains(&index) && !DIALYSIS_SETS.contains(&id.as_str()) {
                let text = format!("value set `{id}` is used by no criterion");
                findings.push(finding(
                    Severity::Warning,
                    file.place(s.id.span()),
                    "TB-T019",
                    text,
                    "remove it, or use it",
                ));
            }
        }
        for visit in &file.document.visit {
            for outcome in &visit.outcomes {
                let name = outcome.get_ref();
                let known = match name.strip_prefix("score:") {
                    Some(score) => trial.scores.contains(&score),
                    None => trial.variable(name).is_some(),
                };
                if !known {
                    let text = format!("visit `{}` asks for `{name}`, which is not defined", visit.id);
                    findings.push(finding(
                        Severity::Error,
                        file.place(outcome.span()),
                        "TB-T020",
                        text,
                        "a variable, or `score:` and a score",
                    ));
                }
            }
        }
    }
}

fn all_rules(trial: &Trial) -> impl Iterator<Item = &Rule> {
    trial.criteria.iter().flat_map(|c| {
        std::iter::once(&c.rule)
            .chain(&c.applies)
            .chain(&c.clear_when)
            .chain(c.questions.iter().map(|(rule, _)| rule))
    })
}

/// Value sets that the dialysis rule of MELD reads by name.
pub const DIALYSIS_SETS: [&str; 3] = ["dialysis-session", "dialysis-continuous", "end-stage-renal-disease"];

/// Variables that feed the scores, with the unit that the formulas expect.
pub const SCORE_INPUTS: [(&str, &str); 15] = [
    ("bilirubin_total", "mg/dL"),
    ("inr", "1"),
    ("creatinine", "mg/dL"),
    ("sodium", "mmol/L"),
    ("albumin", "g/L"),
    ("ast", "U/L"),
    ("alt", "U/L"),
    ("platelets", "10*9/L"),
    ("pt", "s"),
    ("wbc", "10*9/L"),
    ("clif_of", "1"),
    ("ascites", ""),
    ("encephalopathy", ""),
    ("pbc_or_psc", ""),
    ("etiology", ""),
];

/// Inputs of scores that do not come from a variable of their own.
const FROM_ELSEWHERE: [&str; 5] = ["sex", "age", "dialysis", "pt_prolongation", "ast_uln"];

/// A criterion that can never be decided: an inclusion that nothing can meet or attest, an answer
/// that is asked for within a window longer than the variable's own.
fn never_decided(trial: &Trial, at: &Places<'_>, findings: &mut Vec<Finding>) {
    if trial.criteria.is_empty() {
        let hint = "add [[criterion]] sections";
        findings.push(finding(
            Severity::Error,
            "trial".into(),
            "TB-T021",
            "the trial has no criterion".into(),
            hint,
        ));
    }
    for c in &trial.criteria {
        let mut text = None;
        c.rule.walk(&mut |rule| match rule {
            Rule::Finding(f) if f.kinds.is_empty() => {
                text = Some("a finding is looked for in no resource type".to_owned());
            }
            Rule::Score { score, .. } => {
                let nothing = score::all(&score::Inputs::default(), &trial.score_options);
                let inputs = nothing.get(score).map(|s| s.missing.clone()).unwrap_or_default();
                let lacking: Vec<_> = inputs
                    .into_iter()
                    .filter(|i| !FROM_ELSEWHERE.contains(i) && trial.variable(i).is_none())
                    .collect();
                if !lacking.is_empty() {
                    text =
                        Some(format!("`{score}` needs {}, which are no variables here", lacking.join(", ")));
                }
            }
            Rule::Age { at_least: None, at_most: None } => text = Some("an age rule has no bound".to_owned()),
            Rule::Answer { variable, within_days, .. } | Rule::Result { variable, within_days, .. } => {
                let v = &trial.variables[*variable as usize];
                if let (Some(rule), Some(own)) = (within_days, v.window_days)
                    && *rule > own
                    && v.measured().is_some()
                {
                    text = Some(format!(
                        "`{}` may be {rule} days old here, and {own} days by its own window",
                        v.id
                    ));
                }
            }
            _ => {}
        });
        if let Some(text) = text {
            let text = format!("criterion {}: {text}", c.id);
            findings.push(finding(
                Severity::Error,
                at.get(&c.id),
                "TB-T021",
                text,
                "it could never be decided as written",
            ));
        }
        if let Some(Rule::Attested) = c.clear_when {
            let text = format!("criterion {}: clear_when is an attestation, which settles it anyway", c.id);
            findings.push(finding(Severity::Warning, at.get(&c.id), "TB-T021", text, "remove clear_when"));
        }
    }
}

/// The formulas expect fixed units and answers.
fn score_units(trial: &Trial, at: &Places<'_>, findings: &mut Vec<Finding>) {
    if trial.scores.is_empty() {
        return;
    }
    for (id, unit) in SCORE_INPUTS {
        let Some(index) = trial.variable(id) else { continue };
        let variable = &trial.variables[index as usize];
        let found = variable.measured().map_or("", |m| m.unit.as_str());
        if found != unit {
            let text = format!("variable `{id}` is in `{found}`, and the scores expect `{unit}`");
            findings.push(finding(Severity::Error, at.get(id), "TB-T023", text, "change the canonical unit"));
        }
    }
}

/// Site codes that lead nowhere.
fn site_codes(trial: &Trial, site: &SiteFile, findings: &mut Vec<Finding>) {
    for code in &site.site.code {
        let mut known = false;
        trial.codes.targets(&code.to_system, &code.to, |_| known = true);
        if !known {
            let text = format!(
                "local code {} is mapped to {}, which the trial does not use",
                code.code.get_ref(),
                code.to
            );
            findings.push(finding(Severity::Note, site.place(code.code.span()), "TB-S007", text, ""));
        }
    }
    for (from, to) in &site.site.systems {
        if !trial.codes.knows_system(to) {
            let text = format!("system {from} is read as {to}, of which the trial uses no code");
            findings.push(finding(
                Severity::Warning,
                site.place_of(from),
                "TB-S008",
                text,
                "correct the system's URI",
            ));
        }
    }
}

/// A system that no message could ever carry names nobody.
fn patient_identifier(site: &SiteFile, findings: &mut Vec<Finding>) {
    let hl7v2 = &site.site.hl7v2;
    let Some(system) = &hl7v2.patient_identifier else { return };
    let is_mapped = hl7v2.authorities.values().any(|s| s.get_ref() == system.get_ref());
    if !is_mapped && !system.get_ref().starts_with(super::site::UNMAPPED_AUTHORITY) {
        findings.push(finding(
            Severity::Warning,
            site.place(system.span()),
            "TB-S012",
            "hl7v2.patient_identifier is the system of no assigning authority".into(),
            "name the authority of PID-3.4 under [hl7v2.authorities]",
        ));
    }
}

fn texts(trial: &Trial, at: &Places<'_>, findings: &mut Vec<Finding>) {
    for c in &trial.criteria {
        if c.text.en.trim().is_empty() || c.text.zh.trim().is_empty() {
            let text = format!("criterion {} lacks its text in English or Chinese", c.id);
            findings.push(finding(Severity::Warning, at.get(&c.id), "TB-T025", text, "coordinators read it"));
        }
    }
}

/// Open choices that the sponsor has not confirmed.
fn choices(definition: &Definition, findings: &mut Vec<Finding>) {
    for file in &definition.files {
        for c in file.document.choice.iter().filter(|c| !c.confirmed) {
            findings.push(unconfirmed(file, c));
        }
    }
}

fn unconfirmed(file: &File, c: &super::schema::Choice) -> Finding {
    finding(
        Severity::Note,
        file.place(c.id.span()),
        "TB-T026",
        format!(
            "choice `{}` is not confirmed by the sponsor: {}; assumed: {}",
            c.id.get_ref(),
            c.about,
            c.default
        ),
        "set `confirmed = true` when the sponsor has agreed",
    )
}
