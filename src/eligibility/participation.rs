//! Consent to this trial, and participation in others.

use super::evaluate::{Context, Eval, Why, Whys};
use super::evidence::{Ground, Grounds};
use super::truth::Truth;
use crate::clinical::time::{When, days_before};
use crate::fact::{ConsentFact, ConsentState};

impl<'a> Context<'a> {
    /// Is there a consent that stands on the day?
    ///
    /// A consent that names this trial speaks before one that names none. A refusal stands unless a
    /// consent is surely later: nobody is randomized on a guess about the order of two dates.
    pub(super) fn consent(&self) -> Eval<'a> {
        let need = || Some(vec!["consent"]);
        let as_of = self.chart.as_of;
        let dated = |c: &ConsentFact| c.when.as_ref().is_none_or(|w| w.first <= as_of);
        let all = || self.chart.consents.iter().copied().filter(|(c, _)| dated(c));
        let latest = |c: &ConsentFact| c.when.as_ref().map(|w| w.latest);
        // The sources decide nothing but which of equals is shown.
        let pick = |state: ConsentState| {
            all()
                .filter(|(c, _)| c.state == state && (c.when.is_some() || state == ConsentState::NotGiven))
                .max_by(|(a, a_named), (b, b_named)| {
                    (a_named, latest(a), &b.source).cmp(&(b_named, latest(b), &a.source))
                })
        };
        let grounds = |c: &'a ConsentFact, word| Grounds::one(Ground::Consent(c, word));
        let Some((given, named)) = pick(ConsentState::Given) else {
            return match pick(ConsentState::NotGiven) {
                Some((c, _)) => Eval::decided(Truth::False, grounds(c, "refused or withdrawn")),
                None if all().next().is_some() => Eval::unknown(Why::DateUnknown, Grounds::none(), need()),
                None => Eval::unknown(Why::NotFound, Grounds::none(), need()),
            };
        };
        let after = |c: &ConsentFact| {
            c.when.as_ref().zip(given.when.as_ref()).is_some_and(|(refused, given)| given.is_after(refused))
        };
        let mut doubt = None;
        for (refused, refused_named) in all().filter(|(c, _)| c.state == ConsentState::NotGiven) {
            match (refused_named, named) {
                (true, false) => {
                    return Eval::decided(Truth::False, grounds(refused, "refused or withdrawn"));
                }
                _ if after(refused) => {}
                // Research in general was refused, and this trial was agreed to: a person has to ask.
                (false, true) => doubt = Some((Why::Conflict, refused)),
                _ if refused.when.is_none() => doubt = Some((Why::DateUnknown, refused)),
                _ => return Eval::decided(Truth::False, grounds(refused, "refused or withdrawn")),
            }
        }
        if given.expires.as_ref().is_some_and(|e| e.last < as_of) {
            return Eval::decided(Truth::False, grounds(given, "expired"));
        }
        if let Some((why, refused)) = doubt {
            return Eval::unknown(why, grounds(refused, "refused or withdrawn"), need());
        }
        let begins_later = |w: &Option<When>| w.as_ref().is_some_and(|w| w.last > as_of);
        if begins_later(&given.when)
            || begins_later(&given.starts)
            || given.expires.as_ref().is_some_and(|e| e.first < as_of)
        {
            return Eval::unknown(Why::DateImprecise, grounds(given, "not surely valid on the day"), need());
        }
        Eval::decided(Truth::True, grounds(given, "given"))
    }

    /// Did the subject take part in another study in the last so many days? Never false: what happens
    /// elsewhere is invisible here.
    pub(super) fn other_study(&self, within_days: u32) -> Eval<'a> {
        let (from, as_of) = (days_before(self.chart.as_of, within_days), self.chart.as_of);
        let (mut why, mut open) = (Whys::default(), Vec::new());
        for (p, study_known) in &self.chart.participations {
            if p.screening_only {
                continue;
            }
            let time = match &p.when {
                None if p.ongoing => Truth::True,
                None => Truth::Unknown,
                // An open end is ongoing.
                Some(w) if w.is_open() && w.begun <= as_of => Truth::True,
                Some(w) => w.reaches(from, as_of).into(),
            };
            match (time, study_known) {
                (Truth::False, _) => {}
                (Truth::True, true) => {
                    return Eval::decided(Truth::True, Grounds::one(Ground::OtherStudy(p)));
                }
                (_, known) => {
                    why.insert(if *known { Why::DateUnknown } else { Why::Unresolved });
                    open.push(Ground::OtherStudy(p));
                }
            }
        }
        if why.is_empty() {
            why.insert(Why::NotFound);
        }
        Eval { truth: Truth::Unknown, grounds: Grounds::sorted(open), why, needs: None }
    }
}
