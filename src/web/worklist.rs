//! The worklist: everybody who was screened, who is eligible, and why not.

use super::frame::{self, Frame};
use super::state::{self, WebState};
use super::stored;
use super::trouble::Trouble;
use super::visitor::{self, Visitor};
use super::words::{self, Both, Mark, Moment, Why};
use crate::access::Permission;
use crate::protocol::Trial;
use crate::store::{Decision, InboxCounts, Store, StoreError};
use askama::Template;
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Rows on one page.
const PAGE: usize = 200;
/// With more deciding criteria than this, a row names them by id only.
const FEW: usize = 3;
pub(super) const DECISIONS: [&str; 3] = ["eligible", "undetermined", "ineligible"];

/// What the address asks for, as it was written.
#[derive(Deserialize)]
pub(super) struct Wish {
    decision: Option<String>,
    randomized: Option<String>,
    page: Option<String>,
}

/// Which subjects are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    decision: Option<&'static str>,
    randomized: Option<bool>,
}

impl Wish {
    /// The filter and the page, from 1. A word that is not known is refused: a list that silently
    /// shows everybody would be taken for the list that was asked for.
    pub fn read(&self) -> Option<(Filter, usize)> {
        let decision = match self.decision.as_deref() {
            None | Some("") => None,
            Some(word) => Some(*DECISIONS.iter().find(|known| **known == word)?),
        };
        let randomized = match self.randomized.as_deref() {
            None | Some("") => None,
            Some("yes") => Some(true),
            Some("no") => Some(false),
            Some(_) => return None,
        };
        let page = match self.page.as_deref() {
            None => 1,
            Some(number) => number.parse().ok().filter(|page| *page > 0)?,
        };
        Some((Filter { decision, randomized }, page))
    }
}

impl Filter {
    pub fn takes(self, decision: &Decision, randomized: &BTreeSet<String>) -> bool {
        self.decision.is_none_or(|word| word == decision.decision)
            && self.randomized.is_none_or(|is| is == randomized.contains(&decision.subject))
    }

    fn address(self, page: usize) -> String {
        let mut parts = Vec::new();
        if let Some(decision) = self.decision {
            parts.push(format!("decision={decision}"));
        }
        if let Some(randomized) = self.randomized {
            parts.push(format!("randomized={}", if randomized { "yes" } else { "no" }));
        }
        if page > 1 {
            parts.push(format!("page={page}"));
        }
        if parts.is_empty() { "/".to_owned() } else { format!("/?{}", parts.join("&")) }
    }

    /// For an empty list: who is not there.
    fn nobody(self) -> &'static str {
        match (self.decision, self.randomized) {
            (Some("eligible"), Some(false)) => "Nobody is eligible and waiting to be randomized.",
            (Some("eligible"), _) => "Nobody is eligible.",
            (Some("ineligible"), _) => "Nobody is ineligible.",
            (Some(_), _) => "Nobody is undetermined.",
            (None, Some(true)) => "Nobody is randomized yet.",
            (None, _) => "Nobody is on this list.",
        }
    }
}

/// A filter as a link, with how many it would show.
struct Tab {
    label: &'static str,
    mark: Option<Mark>,
    address: String,
    count: usize,
    current: bool,
}

struct Row {
    subject: String,
    address: String,
    mark: Mark,
    randomized: bool,
    deviates: bool,
    stale: bool,
    readable: bool,
    blocked: Vec<String>,
    why: Vec<Why>,
    /// Few criteria decide: their texts are shown, not only their ids.
    few: bool,
    needs: Vec<String>,
    meld: String,
    child_pugh: String,
    decided: Moment,
    as_of: String,
}

struct Listed {
    total: usize,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    /// Number of the first row shown, and how many the filter takes.
    first: usize,
    matching: usize,
    pages: usize,
    inbox: InboxCounts,
    stale: usize,
    /// Open deviations.
    deviations: usize,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    frame: Frame,
    printed_name: String,
    role: Both,
}

#[derive(Template)]
#[template(path = "worklist.html")]
struct Worklist {
    frame: Frame,
    listed: Listed,
    nobody: &'static str,
    page: usize,
    previous: Option<String>,
    next: Option<String>,
    never_pulled: bool,
}

pub(super) async fn page(
    State(state): State<WebState>,
    Extension(visitor): Extension<Arc<Visitor>>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Result<Response, Trouble> {
    if !visitor.may(Permission::ViewSubjects, &state.desk.masking) {
        return elsewhere(&state, &visitor);
    }
    let (filter, page) = wish.ok().and_then(|wish| wish.read()).ok_or_else(Trouble::no_such_filter)?;
    let who = Arc::clone(&visitor);
    let listed = state
        .ask(move |store, trial, accounts| {
            list(store, trial, visitor::decisions(store, accounts, &who)?, filter, page)
        })
        .await?;
    if page > listed.pages {
        return Err(Trouble::no_such_page());
    }
    let drawn = Worklist {
        frame: frame::of_visitor(&state, "Worklist", &visitor),
        nobody: filter.nobody(),
        page,
        previous: (page > 1).then(|| filter.address(page - 1)),
        next: (page < listed.pages).then(|| filter.address(page + 1)),
        never_pulled: state.status.pull().last_finished.is_none(),
        listed,
    };
    frame::page(&visitor, &drawn)
}

/// Where those begin who see no subjects.
fn elsewhere(state: &WebState, visitor: &Visitor) -> Result<Response, Trouble> {
    if visitor.may(Permission::ViewAllocations, &state.desk.masking) {
        return Ok((StatusCode::SEE_OTHER, [(LOCATION, "/allocations")]).into_response());
    }
    let page = AccountPage {
        frame: frame::of_visitor(state, "Account", visitor),
        printed_name: visitor.printed_name().to_owned(),
        role: words::role(visitor.role()),
    };
    frame::page(visitor, &page)
}

fn list(
    store: &dyn Store,
    trial: &Trial,
    all: Vec<Decision>,
    filter: Filter,
    page: usize,
) -> Result<Listed, StoreError> {
    let randomized = state::randomized(store, trial)?;
    let stale: BTreeSet<String> = store.dirty(usize::MAX)?.into_iter().map(|d| d.subject).collect();
    let deviations = state::deviations(store)?;
    let deviating: BTreeSet<String> = deviations.iter().map(|d| d.subject.clone()).collect();
    let tabs = tabs(&all, &randomized, filter);
    let mut taken: Vec<&Decision> = all.iter().filter(|d| filter.takes(d, &randomized)).collect();
    // Who can be acted upon comes first: the eligible, then those of whom the least is open.
    taken.sort_by_key(|d| {
        let group = DECISIONS.iter().position(|word| *word == d.decision);
        (group, if d.decision == "undetermined" { d.deciding.len() } else { 0 }, &d.subject)
    });
    let first = (page - 1).saturating_mul(PAGE);
    let shown = taken.iter().skip(first).take(PAGE);
    Ok(Listed {
        total: all.len(),
        tabs,
        rows: shown.map(|d| row(trial, d, &randomized, &stale, &deviating)).collect(),
        first: first.saturating_add(1),
        matching: taken.len(),
        pages: taken.len().div_ceil(PAGE).max(1),
        inbox: store.count_by_state()?,
        stale: stale.len(),
        deviations: deviations.len(),
    })
}

fn tabs(all: &[Decision], randomized: &BTreeSet<String>, current: Filter) -> Vec<Tab> {
    let ready = Filter { decision: Some("eligible"), randomized: Some(false) };
    let done = Filter { randomized: Some(true), ..Filter::default() };
    let mut filters = vec![("All", None, Filter::default())];
    filters.extend(DECISIONS.map(|word| {
        let mark = words::decision(word);
        (mark.word, Some(mark), Filter { decision: Some(word), randomized: None })
    }));
    filters.extend([("Eligible, not randomized", None, ready), ("Randomized", None, done)]);
    let tab = |(label, mark, filter): (&'static str, Option<Mark>, Filter)| Tab {
        label,
        mark,
        address: filter.address(1),
        count: all.iter().filter(|d| filter.takes(d, randomized)).count(),
        current: filter == current,
    };
    filters.into_iter().map(tab).collect()
}

fn row(
    trial: &Trial,
    d: &Decision,
    randomized: &BTreeSet<String>,
    stale: &BTreeSet<String>,
    deviating: &BTreeSet<String>,
) -> Row {
    let stored = stored::read(&d.json);
    let readable = stored.is_some();
    let stored = stored.unwrap_or_default();
    Row {
        subject: d.subject.clone(),
        address: format!("/subjects/{}", words::segment(&d.subject)),
        mark: words::decision(&d.decision),
        randomized: randomized.contains(&d.subject),
        deviates: deviating.contains(&d.subject),
        stale: stale.contains(&d.subject),
        readable,
        blocked: stored.blocked.iter().map(|code| words::blocked(code).to_owned()).collect(),
        why: words::why(trial, &d.deciding, &stored),
        few: d.deciding.len() <= FEW,
        needs: words::needs(trial, &stored.needs),
        meld: words::score(stored.scores.get("meld_unos")),
        child_pugh: words::score(stored.scores.get("child_pugh")),
        decided: Moment::read(&d.decided_at),
        as_of: d.as_of.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_strictly() {
        let wish = |decision: &str, randomized: &str, page: &str| {
            let given = |text: &str| (text != "-").then(|| text.to_owned());
            Wish { decision: given(decision), randomized: given(randomized), page: given(page) }.read()
        };
        let filter = |decision, randomized| Filter { decision, randomized };
        #[rustfmt::skip]
        let table = [
            (("-",        "-",   "-"),  Some((filter(None, None), 1))),
            (("",         "",    "2"),  Some((filter(None, None), 2))),
            (("eligible", "no",  "-"),  Some((filter(Some("eligible"), Some(false)), 1))),
            (("-",        "yes", "-"),  Some((filter(None, Some(true)), 1))),
            (("Eligible", "-",   "-"),  None),
            (("all",      "-",   "-"),  None),
            (("-",        "1",   "-"),  None),
            (("-",        "-",   "0"),  None),
            (("-",        "-",   "-1"), None),
            (("-",        "-",   "x"),  None),
        ];
        for ((decision, randomized, page), expected) in table {
            assert_eq!(wish(decision, randomized, page), expected, "{decision} {randomized} {page}");
        }
    }

    #[test]
    fn addresses_keep_the_filter() {
        let filter = Filter { decision: Some("eligible"), randomized: Some(false) };
        assert_eq!(filter.address(1), "/?decision=eligible&randomized=no");
        assert_eq!(filter.address(3), "/?decision=eligible&randomized=no&page=3");
        assert_eq!(Filter::default().address(1), "/");
        assert_eq!(Filter::default().address(2), "/?page=2");
    }
}
