//! Dialysis in the week before the creatinine, as MELD asks for it.

use super::chart::Chart;
use crate::clinical::time::{When, days_before};
use crate::fact::{Certainty, Kind};
use chrono::Days;

const DAY: i64 = 24 * 3600;
const WEEK: i64 = 7 * DAY;

/// `Some(true)` where the record shows it, `Some(false)` where nothing speaks of dialysis or end-stage
/// renal disease, or the Procedures are declared complete and show too little; else unknown.
// # Source
// OPTN policy 9.1.D, in our words: two or more dialysis treatments in the week before the creatinine, or
// 24 hours of continuous veno-venous haemodialysis in that week.
pub(super) fn dialysis(chart: &Chart<'_>) -> Option<bool> {
    let trial = chart.trial;
    let inputs = &trial.inputs;
    let creatinine = inputs.creatinine.and_then(|v| chart.measurement(v).ok());
    let day;
    let until = match creatinine {
        Some(m) => &m.effective,
        None => {
            day = When::on(chart.as_of);
            &day
        }
    };
    let (session, continuous, renal) =
        (inputs.dialysis_session, inputs.dialysis_continuous, inputs.end_stage_renal_disease);
    let (mut sure, mut possible, mut sure_seconds, mut possible_seconds) = (Vec::new(), 0, 0i64, 0i64);
    // A creatinine that is coded as taken before or after dialysis is itself a sign.
    let mut sign = creatinine.is_some_and(|m| m.flag.as_deref() == Some("dialysis"));
    for seen in &chart.findings {
        let f = seen.finding;
        let has = |set: Option<u16>| set.is_some_and(|s| seen.sets.contains(&s));
        if f.kind == Kind::Condition && has(renal) && f.current != Some(false) {
            sign = true;
        }
        let (is_session, is_continuous) = (has(session), has(continuous));
        if f.kind != Kind::Procedure || !(is_session || is_continuous) {
            continue;
        }
        let Some(when) = &f.when else {
            possible += u32::from(is_session);
            possible_seconds += if is_continuous { WEEK } else { 0 };
            continue;
        };
        if when.is_after(until) || !may_be_in_the_week(when, until) {
            continue;
        }
        let certain = f.certainty == Certainty::Confirmed;
        if is_session {
            possible += 1;
            if certain && is_in_the_week(when, until) {
                sure.push(when.first);
            }
        }
        if is_continuous {
            let (least, most) = seconds_in_the_week(when, until);
            sure_seconds += if certain { least } else { 0 };
            possible_seconds += most;
        }
    }
    sure.sort_unstable();
    // Two entries of one day are one occasion.
    sure.dedup();
    if sure.len() >= 2 || sure_seconds >= DAY {
        return Some(true);
    }
    if possible >= 2 || possible_seconds >= DAY {
        return None;
    }
    sign |= possible > 0 || possible_seconds > 0;
    let complete = trial.site.is_complete_since(Kind::Procedure, days_before(chart.as_of, 30));
    if sign && !complete { None } else { Some(false) }
}

fn may_be_in_the_week(when: &When, until: &When) -> bool {
    if when.timed && until.timed {
        when.latest >= until.earliest - WEEK
    } else {
        until.first.checked_sub_days(Days::new(7)).is_none_or(|from| when.last >= from)
    }
}

/// Surely within seven days before, and surely not after.
fn is_in_the_week(when: &When, until: &When) -> bool {
    if when.timed && until.timed {
        when.earliest >= until.latest - WEEK && when.latest <= until.earliest
    } else {
        let from = until.last.checked_sub_days(Days::new(6));
        from.is_some_and(|from| when.first >= from) && when.last < until.first
    }
}

/// The least and the most of a treatment that lies in the seven days before.
fn seconds_in_the_week(when: &When, until: &When) -> (i64, i64) {
    // A point in time does not say how long it lasted.
    if !when.text.contains('/') {
        return (0, WEEK);
    }
    let most = when.latest.min(until.latest) - when.earliest.max(until.earliest - WEEK);
    let least = if when.timed && until.timed {
        when.latest.min(until.earliest) - when.earliest.max(until.latest - WEEK)
    } else {
        // Of days without times only those in between are whole.
        let from = until.last.checked_sub_days(Days::new(6)).unwrap_or(until.last).max(when.begun);
        let to = when.ended.min(until.first);
        (to - from).num_days().saturating_sub(1) * DAY
    };
    (least.max(0), most.clamp(0, WEEK))
}
