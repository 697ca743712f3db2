//! One subject: what was decided, what decided it, and everything it rests on.

use super::actions::known;
use super::arms;
use super::frame::{self, Frame};
use super::gaps::{self, GapGroup};
use super::state::{self, WebState};
use super::stored::{self, Stored};
use super::trouble::Trouble;
use super::visitor::Visitor;
use super::words::{self, Mark, Moment, Why};
use crate::pipeline::changes::{self, Cause, Change, CriterionMoved, ScoreMoved};
use crate::protocol::Trial;
use crate::store::{Decision, Store, StoreError};
use askama::Template;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use std::sync::Arc;

struct CriterionRow {
    id: String,
    kind: &'static str,
    mark: Mark,
    decides: bool,
    text: String,
    text_zh: String,
    /// Empty where the evidence says it already.
    reason: String,
    evidence: Vec<(String, String)>,
    needs: Vec<String>,
}

struct ScoreRow {
    name: String,
    shown: String,
    grade: String,
    raw: String,
    missing: String,
    status: &'static str,
}

struct VariableRow {
    name: String,
    name_zh: String,
    value: String,
    received: String,
    effective: String,
    age: String,
    source: String,
    flag: String,
}

struct PastDecision {
    decided: Moment,
    as_of: String,
    mark: Mark,
    deciding: String,
    current: bool,
}

/// One change, newest first.
struct ChangeRow {
    at: Moment,
    before: Mark,
    after: Mark,
    /// Criteria and scores: which, before, after.
    moved: Vec<(String, String, String)>,
    because: Vec<CauseRow>,
}

struct CauseRow {
    what: String,
    shown: String,
    /// Empty where nothing came in.
    came: String,
}

struct DeviationRow {
    id: i64,
    words: String,
    reference: String,
    opened: Moment,
}

struct Seen {
    subject: String,
    /// The subject that the records count for, with its address.
    attached_to: Option<(String, String)>,
    changes: Vec<ChangeRow>,
    deviations: Vec<DeviationRow>,
    explain: String,
    mark: Mark,
    randomized: bool,
    /// What was said of the allocation since: `unblinded …`.
    events: Vec<String>,
    stale: bool,
    other_definition: bool,
    readable: bool,
    as_of: String,
    decided: Moment,
    definition: String,
    /// How many criteria decide: those that keep out, or those that are open.
    deciding: usize,
    blocked: Vec<String>,
    decisive: Vec<Why>,
    needs: Vec<String>,
    criteria: Vec<CriterionRow>,
    scores: Vec<ScoreRow>,
    variables: Vec<VariableRow>,
    gaps: Vec<GapGroup>,
    gap_count: usize,
    history: Vec<PastDecision>,
}

impl Seen {
    fn is_eligible(&self) -> bool {
        self.mark == words::decision("eligible")
    }

    fn is_ineligible(&self) -> bool {
        self.mark == words::decision("ineligible")
    }

    /// The row of the one criterion of a line.
    fn row(&self, why: &Why) -> Option<&CriterionRow> {
        let [(id, _)] = why.criteria.as_slice() else { return None };
        self.criteria.iter().find(|row| row.id == *id)
    }
}

#[derive(Template)]
#[template(path = "subject.html")]
struct SubjectPage {
    frame: Frame,
    seen: Seen,
}

pub(super) async fn page(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Trouble> {
    let subject = key(id)?;
    known(&state, &visitor, &subject, "GET", "/subjects/{id}").await?;
    let seen = state.read(move |store, trial| see(store, trial, &subject)).await?;
    let seen = seen.ok_or_else(Trouble::no_such_subject)?;
    let page = SubjectPage { frame: frame::of_visitor(&state, &seen.subject, &visitor), seen };
    frame::page(&visitor, &page)
}

/// The subject's key from the address.
pub(super) fn key(id: Result<Path<String>, PathRejection>) -> Result<String, Trouble> {
    let Path(id) = id.map_err(|_| Trouble::no_such_subject())?;
    Ok(format!("Patient/{id}"))
}

fn see(store: &dyn Store, trial: &Trial, subject: &str) -> Result<Option<Seen>, StoreError> {
    let Some(latest) = store.latest_decision(subject)? else { return Ok(None) };
    let history = store.decision_history(subject)?;
    let allocation = store.allocation_of(&trial.study.id, subject)?;
    let events = match &allocation {
        Some(allocation) => arms::tags(&arms::events(store, trial)?, &allocation.id),
        None => Vec::new(),
    };
    let stale = store.dirty(usize::MAX)?.iter().any(|dirty| dirty.subject == subject);
    let stored = stored::read(&latest.json);
    let readable = stored.is_some();
    let stored = stored.unwrap_or_default();
    let criteria = criteria(trial, &latest, &stored);
    let root = stored.attached_to.clone();
    let own = state::deviations(store)?.into_iter().filter(|d| d.subject == subject);
    Ok(Some(Seen {
        subject: latest.subject.clone(),
        attached_to: root.map(|to| (to.clone(), format!("/subjects/{}", words::segment(&to)))),
        changes: changes::of(store, subject)?.into_iter().map(change).collect(),
        deviations: own
            .map(|d| DeviationRow {
                id: d.id,
                words: words::deviation(&d.kind).to_owned(),
                reference: d.reference,
                opened: Moment::read(&d.opened_at),
            })
            .collect(),
        explain: format!("/api/v1/subjects/{}/explain", words::segment(&latest.subject)),
        mark: words::decision(&latest.decision),
        randomized: allocation.is_some(),
        events,
        stale,
        other_definition: latest.definition != trial.hash,
        readable,
        as_of: latest.as_of.clone(),
        decided: Moment::read(&latest.decided_at),
        definition: latest.definition.chars().take("sha256:".len() + 12).collect(),
        deciding: criteria.iter().filter(|row| row.decides).count(),
        blocked: stored.blocked.iter().map(|code| words::blocked(code).to_owned()).collect(),
        decisive: words::why(trial, &latest.deciding, &stored),
        needs: words::needs(trial, &stored.needs),
        criteria,
        scores: scores(trial, &stored),
        variables: variables(trial, &stored, &latest.as_of),
        gap_count: stored.gaps.len(),
        gaps: gaps::groups(trial, stored.gaps),
        history: past(history, latest.seq),
    }))
}

fn criteria(trial: &Trial, latest: &Decision, stored: &Stored) -> Vec<CriterionRow> {
    let row = |c: &stored::Criterion| {
        let defined = trial.criterion(&c.id).map(|index| &trial.criteria[usize::from(index)]);
        let evidence = |e: &stored::Evidence| (words::reason(trial, &e.summary), e.reference.clone());
        let shown = c.evidence.iter().map(|e| e.summary.as_str()).collect::<Vec<_>>().join("; ");
        let said = !c.evidence.is_empty() && (c.reason == shown || c.reason == "attested");
        CriterionRow {
            id: c.id.clone(),
            kind: if c.id.starts_with('I') { "inclusion" } else { "exclusion" },
            mark: words::verdict(&c.verdict),
            decides: latest.deciding.contains(&c.id),
            // The words that were judged, and their translation only if they are still the same.
            text_zh: defined.filter(|d| d.text.en == c.text).map(|d| d.text.zh.clone()).unwrap_or_default(),
            text: c.text.clone(),
            reason: if said { String::new() } else { words::reason(trial, &c.reason) },
            evidence: c.evidence.iter().map(evidence).collect(),
            needs: words::needs(trial, &c.needs),
        }
    };
    stored.criteria.iter().map(row).collect()
}

/// In the trial's order; what the trial no longer names comes last.
fn in_order<'a>(
    known: impl Iterator<Item = &'a str>,
    stored: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    let mut ids: Vec<String> = known.map(str::to_owned).collect();
    for id in stored {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids
}

fn scores(trial: &Trial, stored: &Stored) -> Vec<ScoreRow> {
    let ids = in_order(trial.scores.iter().copied(), stored.scores.keys());
    let row = |id: &String| {
        let score = stored.scores.get(id)?;
        let missing = score.missing.iter().map(|m| words::name(trial, m)).collect::<Vec<_>>();
        Some(ScoreRow {
            name: crate::score::title(id).to_owned(),
            shown: words::score(Some(score)),
            grade: words::grade(score),
            raw: score.raw.as_ref().map(ToString::to_string).unwrap_or_default(),
            missing: missing.join(", "),
            status: match score.status.as_str() {
                "known" => "known",
                "range" => "between limits",
                _ => "not computable",
            },
        })
    };
    ids.iter().filter_map(row).collect()
}

fn variables(trial: &Trial, stored: &Stored, as_of: &str) -> Vec<VariableRow> {
    let known = trial.variables.iter().map(|v| v.id.as_str()).chain(["sex", "age", "dialysis"]);
    let ids = in_order(known, stored.variables.keys());
    let row = |id: &String| {
        let v = stored.variables.get(id)?;
        let zh = trial.variable(id).map(|index| trial.variables[usize::from(index)].title.zh.clone());
        let effective = v.effective.as_deref().unwrap_or_default();
        let source = v.source.as_deref().unwrap_or_default();
        Some(VariableRow {
            name: words::name(trial, id).to_owned(),
            name_zh: zh.unwrap_or_default(),
            value: words::variable(v),
            received: v.received.as_ref().map(|r| received(&r.value, r.unit.as_deref())).unwrap_or_default(),
            effective: words::taken(effective),
            age: words::age(effective, as_of),
            source: match &v.version {
                Some(version) => format!("{source}/_history/{version}"),
                None => source.to_owned(),
            },
            flag: v.flag.clone().unwrap_or_default(),
        })
    };
    ids.iter().filter_map(row).collect()
}

/// As the hospital sent it, unit and all.
fn received(value: &str, unit: Option<&str>) -> String {
    match unit {
        Some(unit) => format!("{value} {unit}"),
        None => value.to_owned(),
    }
}

fn change(change: Change) -> ChangeRow {
    let criterion = |c: CriterionMoved| {
        (c.id, words::verdict(&c.before).word.to_owned(), words::verdict(&c.after).word.to_owned())
    };
    let score = |s: ScoreMoved| {
        (crate::score::title(&s.name).to_owned(), words::moved(&s.before), words::moved(&s.after))
    };
    ChangeRow {
        at: Moment::read(&change.at),
        before: words::decision(&change.decision_before),
        after: words::decision(&change.decision_after),
        moved: change
            .criteria
            .into_iter()
            .map(criterion)
            .chain(change.scores.into_iter().map(score))
            .collect(),
        because: change.because.into_iter().map(cause).collect(),
    }
}

fn cause(cause: Cause) -> CauseRow {
    let shown = match (cause.before, cause.after) {
        (Some(before), Some(after)) if before != after => format!("{before} → {after}"),
        (_, Some(one)) | (Some(one), None) => one,
        (None, None) => cause.reference,
    };
    let came = match (cause.origin, cause.received_at, cause.receipt) {
        (Some(origin), Some(at), Some(receipt)) => {
            format!("{origin}, {}, receipt {receipt}", Moment::read(&at).words)
        }
        _ => String::new(),
    };
    CauseRow { what: words::cause(cause.what).to_owned(), shown, came }
}

/// Newest first.
fn past(history: Vec<Decision>, latest: i64) -> Vec<PastDecision> {
    let one = |d: Decision| PastDecision {
        decided: Moment::read(&d.decided_at),
        mark: words::decision(&d.decision),
        deciding: d.deciding.join(", "),
        current: d.seq == latest,
        as_of: d.as_of,
    };
    history.into_iter().rev().map(one).collect()
}
