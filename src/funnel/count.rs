//! The counts themselves: patients are added one by one, and funnels are added to each other.

use super::case::{Case, Judged, Unfit};
use super::facts;
use super::named::Named;
use crate::eligibility::decide::{Decision, Verdict};
use crate::eligibility::evaluate::Why;
use crate::fact::Reason;
use crate::identity;
use crate::protocol::Trial;
use chrono::NaiveDate;

/// Somebody else's record says something else of the same person: the pipeline's own question of identity.
const PERSON_DISAGREES: &str = "person-disagrees";

/// A funnel: counts of patients, by criterion, reason and fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funnel {
    definition: String,
    pub(super) criteria: Vec<Criterion>,
    pub(super) days: Option<(NaiveDate, NaiveDate)>,
    pub(super) eligible: u64,
    pub(super) ineligible: u64,
    pub(super) undetermined: u64,
    /// Undetermined, by the facts that would settle them.
    pub(super) facts: Named<Fact>,
    /// Undetermined, with a question of identity.
    pub(super) blocked: u64,
    /// Undetermined by nothing but a question of identity.
    pub(super) only_blocked: u64,
    pub(super) blocks: Named<u64>,
    /// With something in the record that could not be used.
    pub(super) with_gaps: u64,
    pub(super) gaps: Named<u64>,
}

/// The counts of one criterion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Criterion {
    id: String,
    /// All patients whom it excludes.
    pub excludes: u64,
    /// Those whom no other criterion excludes.
    pub only: u64,
    /// Of these, those who would be eligible without it.
    pub only_else_eligible: u64,
    /// All patients for whom the data do not say.
    pub unknown: u64,
    /// All patients for whom only a person can say.
    pub attest: u64,
    /// Open, of undetermined patients.
    pub open_undetermined: u64,
    /// Open, and nothing else is.
    pub open_only: u64,
    /// In the protocol's order: excluded here and by nothing before.
    pub left: u64,
    /// In the protocol's order: never excluded, and this is the first that is open.
    pub first_open: u64,
    /// In the protocol's order: not excluded so far, and something was open so far.
    pub remaining_open: u64,
    pub why: Named<Open>,
    pub needs: Named<Open>,
}

/// Patients for whom a criterion is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub patients: u64,
    /// Those whom no criterion excludes.
    pub undetermined: u64,
}

/// Undetermined patients who lack a fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fact {
    pub needed: u64,
    /// They lack nothing else.
    pub settles: u64,
}

impl Funnel {
    /// A funnel of nobody: all rows are there, with zero.
    pub fn new(trial: &Trial) -> Funnel {
        let words = Why::ALL.iter().map(|w| w.code());
        let unusable = || Reason::ALL.iter().map(|r| r.code());
        let criteria = trial.criteria.iter().map(|c| Criterion {
            id: c.id.clone(),
            excludes: 0,
            only: 0,
            only_else_eligible: 0,
            unknown: 0,
            attest: 0,
            open_undetermined: 0,
            open_only: 0,
            left: 0,
            first_open: 0,
            remaining_open: 0,
            // A result that could not be used gives its own reason beside that of the criterion.
            why: Named::new(words.clone().chain(unusable())),
            needs: Named::new(facts::of_criterion(trial, c).iter().map(String::as_str)),
        });
        let questions = identity::Why::ALL.iter().map(|w| w.code());
        Funnel {
            definition: trial.hash.clone(),
            criteria: criteria.collect(),
            days: None,
            eligible: 0,
            ineligible: 0,
            undetermined: 0,
            facts: Named::new(facts::of_trial(trial).iter().map(String::as_str)),
            blocked: 0,
            only_blocked: 0,
            blocks: Named::new(questions.chain([PERSON_DISAGREES])),
            with_gaps: 0,
            gaps: Named::new(unusable()),
        }
    }

    pub fn patients(&self) -> u64 {
        self.eligible + self.ineligible + self.undetermined
    }

    pub fn eligible(&self) -> u64 {
        self.eligible
    }

    pub fn ineligible(&self) -> u64 {
        self.ineligible
    }

    pub fn undetermined(&self) -> u64 {
        self.undetermined
    }

    /// Counts a patient. A subject whose records count for another one is nobody of its own, and is passed
    /// over.
    ///
    /// # Errors
    /// Where the case does not answer to this trial; then nothing is counted.
    pub fn add(&mut self, case: &Case<'_>) -> Result<(), Unfit> {
        if case.definition != self.definition {
            return Err(Unfit::Definition);
        }
        if case.attached_to.is_some() {
            return Ok(());
        }
        if case.criteria.len() != self.criteria.len()
            || case.criteria.iter().zip(&self.criteria).any(|(c, own)| c.id != own.id)
        {
            return Err(Unfit::Criteria);
        }
        if case.decision != case.follows() {
            return Err(Unfit::Contradiction);
        }
        let (first, last) = self.days.unwrap_or((case.as_of, case.as_of));
        self.days = Some((first.min(case.as_of), last.max(case.as_of)));
        self.alone(case);
        self.in_order(case);
        match case.decision {
            Decision::Eligible => self.eligible += 1,
            Decision::Ineligible => self.ineligible += 1,
            Decision::Undetermined => self.open(case),
        }
        let reasons = distinct(case.gaps.iter().map(|g| &*g.reason));
        self.with_gaps += u64::from(!reasons.is_empty());
        for reason in reasons {
            *self.gaps.at(reason) += 1;
        }
        Ok(())
    }

    /// Each criterion by itself.
    fn alone(&mut self, case: &Case<'_>) {
        let adverse = case.criteria.iter().filter(|c| c.verdict.is_adverse()).count();
        let open = case.criteria.iter().filter(|c| c.is_open()).count();
        let is_undetermined = case.decision == Decision::Undetermined;
        for (judged, own) in case.criteria.iter().zip(&mut self.criteria) {
            match judged.verdict {
                Verdict::NotMet | Verdict::Excludes => {
                    own.excludes += 1;
                    own.only += u64::from(adverse == 1);
                    let is_all = adverse == 1 && open == 0 && case.blocked.is_empty();
                    own.only_else_eligible += u64::from(is_all);
                }
                Verdict::Unknown => own.unknown += 1,
                Verdict::Attest => own.attest += 1,
                Verdict::Met | Verdict::Clear | Verdict::NotApplicable => {}
            }
            if judged.is_open() {
                own.open_undetermined += u64::from(is_undetermined);
                own.open_only += u64::from(is_undetermined && open == 1 && case.blocked.is_empty());
                own.reasons(judged, is_undetermined);
            }
        }
    }

    /// The criteria one after another.
    fn in_order(&mut self, case: &Case<'_>) {
        let mut first_open = None;
        for (at, (judged, own)) in case.criteria.iter().zip(&mut self.criteria).enumerate() {
            if judged.verdict.is_adverse() {
                own.left += 1;
                return;
            }
            if judged.is_open() {
                first_open = first_open.or(Some(at));
            }
            own.remaining_open += u64::from(first_open.is_some());
        }
        if let Some(at) = first_open {
            self.criteria[at].first_open += 1;
        }
    }

    /// An undetermined patient: what would settle it.
    fn open(&mut self, case: &Case<'_>) {
        self.undetermined += 1;
        let needs = distinct(case.needs.iter().map(|n| &**n));
        for need in &needs {
            let fact = self.facts.at(need);
            fact.needed += 1;
            fact.settles += u64::from(needs.len() == 1);
        }
        let blocks = distinct(case.blocked.iter().map(|b| &**b));
        self.blocked += u64::from(!blocks.is_empty());
        self.only_blocked += u64::from(case.criteria.iter().all(|c| c.verdict.is_favourable()));
        for block in blocks {
            *self.blocks.at(block) += 1;
        }
    }

    /// Adds the patients of another funnel. They have to be other patients.
    ///
    /// # Errors
    /// [`Unfit::Definition`] where it is the funnel of another trial; then nothing is added.
    pub fn merge(&mut self, other: &Funnel) -> Result<(), Unfit> {
        if self.definition != other.definition {
            return Err(Unfit::Definition);
        }
        let sum = |a: &mut u64, b: &u64| *a += b;
        for (own, other) in self.criteria.iter_mut().zip(&other.criteria) {
            own.merge(other);
        }
        self.days = match (self.days, other.days) {
            (Some((a, z)), Some((b, y))) => Some((a.min(b), z.max(y))),
            (days, None) | (None, days) => days,
        };
        self.eligible += other.eligible;
        self.ineligible += other.ineligible;
        self.undetermined += other.undetermined;
        self.facts.merge(&other.facts, |a, b| {
            a.needed += b.needed;
            a.settles += b.settles;
        });
        self.blocked += other.blocked;
        self.only_blocked += other.only_blocked;
        self.blocks.merge(&other.blocks, sum);
        self.with_gaps += other.with_gaps;
        self.gaps.merge(&other.gaps, sum);
        Ok(())
    }
}

impl Criterion {
    /// Why it is open and what it lacks, each once a patient.
    fn reasons(&mut self, judged: &Judged<'_>, is_undetermined: bool) {
        let count = |open: &mut Open| {
            open.patients += 1;
            open.undetermined += u64::from(is_undetermined);
        };
        distinct(judged.why.iter().map(|w| &**w)).into_iter().for_each(|code| count(self.why.at(code)));
        distinct(judged.needs.iter().map(|n| &**n)).into_iter().for_each(|need| count(self.needs.at(need)));
    }

    fn merge(&mut self, other: &Criterion) {
        // Taken apart whole, so that a counter that is added later cannot be forgotten here.
        let Criterion {
            id: _,
            excludes,
            only,
            only_else_eligible,
            unknown,
            attest,
            open_undetermined,
            open_only,
            left,
            first_open,
            remaining_open,
            why,
            needs,
        } = other;
        let open = |a: &mut Open, b: &Open| {
            a.patients += b.patients;
            a.undetermined += b.undetermined;
        };
        self.excludes += excludes;
        self.only += only;
        self.only_else_eligible += only_else_eligible;
        self.unknown += unknown;
        self.attest += attest;
        self.open_undetermined += open_undetermined;
        self.open_only += open_only;
        self.left += left;
        self.first_open += first_open;
        self.remaining_open += remaining_open;
        self.why.merge(why, open);
        self.needs.merge(needs, open);
    }
}

/// Each once: a patient counts once, however many entries of the record say the same.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}
