//! Findings and allergies: what a record holds of a value set, in the window, by the route.

use super::evaluate::{Context, Eval, Why, Whys};
use super::evidence::{Ground, Grounds};
use super::truth::Truth;
use crate::clinical::time::{When, days_before};
use crate::fact::*;
use crate::protocol::rule::FindingRule;
use chrono::NaiveDate;

impl<'a> Context<'a> {
    pub(super) fn finding(&self, rule: &'a FindingRule) -> Eval<'a> {
        let (mut positive, mut open, mut why) = (Vec::new(), Vec::new(), Whys::default());
        let chronic = self.chart.trial.value_sets[rule.value_set as usize].chronic;
        for seen in &self.chart.findings {
            let f = seen.finding;
            if !rule.kinds.contains(&f.kind) {
                continue;
            }
            let listed = seen.sets.contains(&rule.value_set);
            let hinted = !listed && seen.hints.contains(&rule.value_set);
            let doubtful = !seen.classified;
            if !(listed || hinted || seen.unreadable || doubtful) {
                continue;
            }
            let time = self.in_time(f, rule, chronic);
            if time == Truth::False {
                continue;
            }
            if !listed {
                why.insert(match (hinted, seen.unreadable) {
                    (true, _) => Why::Hint,
                    (false, true) => Why::Unmapped,
                    (false, false) => Why::Unclassified,
                });
                if hinted {
                    open.push(Ground::Finding(rule.value_set, f, "name only"));
                }
                continue;
            }
            let route = self.by_route(f, rule);
            if route == Truth::False {
                continue;
            }
            if f.certainty == Certainty::Unconfirmed {
                why.insert(Why::Unconfirmed);
                open.push(Ground::Finding(rule.value_set, f, "unconfirmed"));
            } else if route == Truth::Unknown {
                why.insert(Why::RouteUnknown);
                open.push(Ground::Finding(rule.value_set, f, "route not given"));
            } else if time == Truth::Unknown {
                why.insert(Why::DateUnknown);
                open.push(Ground::Finding(rule.value_set, f, "time not certain"));
            } else {
                positive.push(Ground::Finding(rule.value_set, f, ""));
            }
        }
        if !positive.is_empty() {
            return Eval::decided(Truth::True, Grounds::sorted(positive));
        }
        if why.is_empty() {
            let from = rule.within_days.map_or(NaiveDate::MIN, |days| days_before(self.chart.as_of, days));
            let complete = rule.kinds.iter().all(|kind| self.chart.trial.site.is_complete_since(*kind, from));
            if complete {
                let ground = Ground::Absent(rule.value_set, &rule.kinds);
                return Eval::decided(Truth::False, Grounds::one(ground));
            }
            why.insert(Why::NotFound);
        }
        Eval { truth: Truth::Unknown, grounds: Grounds::sorted(open), why, needs: None }
    }

    /// Does the finding count by its time?
    fn in_time(&self, f: &Finding, rule: &FindingRule, chronic: bool) -> Truth {
        let as_of = self.chart.as_of;
        if let Some(when) = &f.when
            && when.first > as_of
        {
            return Truth::False;
        }
        if rule.current {
            // What ended later than the day of judgement was current on that day.
            let ended_later = f.when.as_ref().is_some_and(|w| !w.is_open() && w.ended > as_of);
            return match f.current {
                Some(current) => Truth::from(Some(current || ended_later)),
                None if chronic => Truth::True,
                None => Truth::Unknown,
            };
        }
        let Some(days) = rule.within_days else { return Truth::True };
        let from = days_before(as_of, days);
        let Some(when) = &f.when else {
            return if f.current == Some(true) { Truth::True } else { Truth::Unknown };
        };
        overlaps(when, from, as_of, f)
    }

    fn by_route(&self, f: &Finding, rule: &FindingRule) -> Truth {
        let Some(route) = rule.route else { return Truth::True };
        if f.routes.contains(&route) {
            Truth::True
        } else if rule.not_route.is_some_and(|not| f.routes.contains(&not)) {
            Truth::False
        } else {
            Truth::Unknown
        }
    }

    /// Distinct allergies to drugs and to food, counted from what is sure and from what may be.
    pub(super) fn allergies(&self, min_drug: u32, min_food: u32, both: bool, none: Index) -> Eval<'a> {
        let (mut drugs, mut foods) = (Vec::new(), Vec::new());
        let (mut possible_drugs, mut possible_foods) = (0, 0);
        let (mut grounds, mut denied) = (Vec::new(), false);
        for seen in &self.chart.findings {
            let f = seen.finding;
            if f.kind != Kind::AllergyIntolerance
                || f.when.as_ref().is_some_and(|w| w.first > self.chart.as_of)
            {
                continue;
            }
            if seen.sets.contains(&none) {
                denied |= f.certainty == Certainty::Confirmed && f.current != Some(false);
                continue;
            }
            let (drug, food) = match f.category.as_deref() {
                Some("medication") => (true, false),
                Some("food") => (false, true),
                Some(_) => continue,
                None => (true, true),
            };
            grounds.push(Ground::Allergy(f));
            if f.certainty == Certainty::Unconfirmed || (drug && food) || f.unreadable {
                possible_drugs += u32::from(drug);
                possible_foods += u32::from(food);
            } else {
                // One substance under several records counts once.
                let substances = if drug { &mut drugs } else { &mut foods };
                if !substances.contains(&&*f.code) {
                    substances.push(&*f.code);
                }
            }
        }
        let met = |drugs: u32, foods: u32| match both {
            true => drugs >= min_drug && foods >= min_food,
            false => drugs >= min_drug || foods >= min_food,
        };
        let (sure_drugs, sure_foods) = (drugs.len() as u32, foods.len() as u32);
        if met(sure_drugs, sure_foods) {
            return Eval::decided(Truth::True, Grounds::sorted(grounds));
        }
        if met(sure_drugs + possible_drugs, sure_foods + possible_foods) {
            return Eval::unknown(Why::Unconfirmed, Grounds::sorted(grounds), None);
        }
        let complete = self.chart.trial.site.is_complete_since(Kind::AllergyIntolerance, NaiveDate::MIN);
        if complete || (denied && grounds.is_empty()) {
            let summary = match grounds.is_empty() && denied {
                true => "no known allergy is recorded",
                false => "fewer allergies than the protocol names, in a record declared complete by the site",
            };
            grounds.push(Ground::Record(summary));
            return Eval::decided(Truth::False, Grounds::sorted(grounds));
        }
        Eval::unknown(Why::NotFound, Grounds::sorted(grounds), None)
    }
}

/// Did the finding reach into `[from, to]`? What began before, and of which nobody wrote down an end, is
/// known to have lasted only if it is recorded as going on; a condition recorded as over is taken by
/// the day it began.
fn overlaps(when: &When, from: NaiveDate, to: NaiveDate, f: &Finding) -> Truth {
    match (when.reaches(from, to), f.kind, f.current) {
        (None, _, Some(true)) if when.is_open() && when.begun <= to => Truth::True,
        (None, Kind::Condition, Some(false)) if when.is_open() && when.begun < from => Truth::False,
        (reaches, ..) => reaches.into(),
    }
}
