//! The pages of one search.
//!
//! Each page is handed on as received, after four checks: the server searched for what was asked,
//! the next link stays within the configured base, the paging goes somewhere, and the bounds hold.
//! Whatever ends a search early is an error, so that a part is never taken for the whole.

use super::FhirClient;
use super::bundle::{Bundle, EntryMode, issue_codes, resource_type};
use super::exchange::{Ask, Expect, Repeat};
use super::filter::{self, SelfLink, matches_filter};
use super::server::ServerError;
use reqwest::header::HeaderValue;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use url::Url;

/// Pages that hold nothing but a next link, one after the other, before the server is taken to loop.
const MAX_EMPTY_PAGES: u32 = 50;
/// Pages with the content of an earlier page. One can come from a record that was inserted meanwhile
/// into a list that is paged by offset.
const MAX_REPEATED_PAGES: u32 = 1;

/// Something about a page that does not stop it from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// `total-mismatch`, `compartment-violation`, `search-outcome`, `entry-unreadable`.
    pub code: &'static str,
    pub text: String,
}

/// One page of results.
#[derive(Debug, Clone)]
pub struct Page {
    /// From 1.
    pub number: u32,
    /// As received.
    pub bytes: Vec<u8>,
    /// `Bundle.total` of this page.
    pub total: Option<u64>,
    /// Entries that match the search; included resources and outcomes are not counted.
    pub matches: usize,
    /// Entries with a resource that is no outcome.
    pub resources: usize,
    /// No page follows.
    pub last: bool,
    pub warnings: Vec<Warning>,
}

/// An iterator over pages that waits for the network. After an error or the last page it is at its end.
pub struct Pages {
    client: FhirClient,
    resource_type: String,
    asked: Vec<(String, String)>,
    in_url: bool,
    next: Next,
    number: u32,
    visited: BTreeSet<String>,
    contents: BTreeSet<[u8; 32]>,
    repeated: u32,
    empty: u32,
    first_total: Option<u64>,
    matches: u64,
    /// The self link proved that the parameters were used.
    proven: bool,
    own: usize,
    strangers: usize,
}

enum Next {
    First,
    Follow(Url),
    /// The page before was good, its next link is not.
    Broken(ServerError),
    End,
}

impl Pages {
    pub(super) fn new(
        client: FhirClient,
        resource_type: String,
        mut parameters: Vec<(String, String)>,
        in_url: bool,
    ) -> Pages {
        if !parameters.iter().any(|(name, _)| name == "_count") {
            parameters.push(("_count".to_owned(), client.config().page_size.to_string()));
        }
        Pages {
            client,
            resource_type,
            asked: parameters,
            in_url,
            next: Next::First,
            number: 0,
            visited: BTreeSet::new(),
            contents: BTreeSet::new(),
            repeated: 0,
            empty: 0,
            first_total: None,
            matches: 0,
            proven: false,
            own: 0,
            strangers: 0,
        }
    }

    /// The next page, `None` after the last one. A page with a bad next link is given; the call after
    /// it fails.
    ///
    /// # Errors
    /// [`ServerError`]. `Protocol` codes: `dropped-parameter`, `foreign-link`, `paging-loop`,
    /// `too-many-pages`, `page-too-large`, `not-json`, `not-fhir`, `redirect`.
    pub async fn next(&mut self) -> Result<Option<Page>, ServerError> {
        let result = match std::mem::replace(&mut self.next, Next::End) {
            Next::End => return Ok(None),
            Next::Broken(error) => return Err(error),
            Next::First => self.first().await,
            Next::Follow(url) => {
                let path = format!("{} (page {})", self.resource_type, self.number + 1);
                let ask = Ask::get(url, path);
                let answer = self.client.0.exchange(&ask).await?;
                self.take(&ask, answer.body, false)
            }
        };
        result.map(Some)
    }

    /// The answer said which parameters it used, and all that narrow are among them.
    pub fn proven(&self) -> bool {
        self.proven
    }

    async fn first(&mut self) -> Result<Page, ServerError> {
        if !self.in_url && !self.client.0.search_by_get.load(Ordering::Relaxed) {
            let ask = self.by_post()?;
            match self.client.0.exchange(&ask).await {
                Ok(answer) => {
                    self.client.0.search_by_post.store(true, Ordering::Relaxed);
                    return self.take(&ask, answer.body, true);
                }
                // Where POST has worked, a refusal is about the type; asking again by GET would only
                // put a patient's id into a URL.
                Err(error)
                    if !self.client.0.search_by_post.load(Ordering::Relaxed)
                        && may_be_unknown_operation(&error) =>
                {
                    // Only an answer to GET shows that it was the form of the request that failed.
                    let ask = self.by_get()?;
                    let answer = self.client.0.exchange(&ask).await?;
                    if !self.client.0.search_by_get.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            event = "fhir.search.by-get",
                            "the server takes no POST _search; search parameters go into URLs from here on"
                        );
                    }
                    return self.take(&ask, answer.body, false);
                }
                Err(error) => return Err(error),
            }
        }
        let ask = self.by_get()?;
        let answer = self.client.0.exchange(&ask).await?;
        self.take(&ask, answer.body, false)
    }

    fn by_post(&self) -> Result<Ask, ServerError> {
        let path = format!("{}/_search", self.resource_type);
        let url = self.client.url(&[&self.resource_type, "_search"], "POST", &path)?;
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.asked).finish();
        Ok(Ask {
            method: "POST",
            url,
            path,
            headers: vec![fresh()],
            body: Some(("application/x-www-form-urlencoded", form.into_bytes())),
            repeat: Repeat::Idempotent,
            expect: Expect::Json,
        })
    }

    fn by_get(&mut self) -> Result<Ask, ServerError> {
        let path = format!("{}?…", self.resource_type);
        let mut url = self.client.url(&[&self.resource_type], "GET", &path)?;
        url.query_pairs_mut().extend_pairs(&self.asked);
        self.visited.insert(url.to_string());
        Ok(Ask { headers: vec![fresh()], ..Ask::get(url, path) })
    }

    fn take(&mut self, ask: &Ask, bytes: Vec<u8>, by_post: bool) -> Result<Page, ServerError> {
        self.number += 1;
        let bundle = Bundle::parse(&bytes, &self.resource_type).map_err(|what| ask.not_fhir(what))?;
        if self.number == 1 {
            self.first_total = bundle.total;
            self.check_self_link(ask, &bundle, by_post)?;
        }
        let mut warnings = Vec::new();
        self.check_results(ask, &bundle, &mut warnings)?;
        let matches = bundle.entries.iter().filter(|e| e.mode == EntryMode::Match).count();
        let resources = bundle.entries.iter().filter(|e| e.mode != EntryMode::Outcome).count();
        self.matches += matches as u64;
        self.check_outcomes(&bundle, &mut warnings);
        if bundle.odd_entries > 0 {
            let text = format!("{} entries hold no resource", bundle.odd_entries);
            warnings.push(Warning { code: "entry-unreadable", text });
        }
        self.next = self.follow(ask, &bundle).unwrap_or_else(Next::Broken);
        let last = matches!(self.next, Next::End);
        if let (true, Some(total)) = (last, self.first_total)
            && total != self.matches
        {
            let text = format!("the server announced {total} matches and gave {}", self.matches);
            warnings.push(Warning { code: "total-mismatch", text });
        }
        let (number, total) = (self.number, bundle.total);
        Ok(Page { number, total, matches, resources, last, warnings, bytes })
    }

    fn check_self_link(&mut self, ask: &Ask, bundle: &Bundle<'_>, by_post: bool) -> Result<(), ServerError> {
        // A self link of another host name is common behind a proxy; it is read and never followed.
        let link =
            bundle.self_link.as_deref().and_then(|l| Url::options().base_url(Some(&ask.url)).parse(l).ok());
        match filter::self_link(&self.asked, link.as_ref(), by_post) {
            SelfLink::Kept => {
                self.proven = true;
                Ok(())
            }
            SelfLink::Silent => Ok(()),
            SelfLink::Dropped(name) => {
                Err(dropped(ask, &name, "it is gone from the self link of the answer"))
            }
        }
    }

    /// Judges the matches by the parameters that can be read off a resource.
    ///
    /// A few strangers among a patient's own results are the server's error in single records and a
    /// warning; as soon as strangers outnumber the patient's own, the parameter was not used.
    fn check_results(
        &mut self,
        ask: &Ask,
        bundle: &Bundle<'_>,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), ServerError> {
        let before = self.strangers;
        let mut culprit = None;
        for entry in bundle.entries.iter().filter(|e| e.mode == EntryMode::Match) {
            let verdicts = self.asked.iter().map(|(n, v)| (n, matches_filter(entry.resource, n, v)));
            let mut own = false;
            let mut stranger = None;
            for (name, verdict) in verdicts {
                match verdict {
                    Some(true) => own = true,
                    Some(false) => stranger = stranger.or(Some(name)),
                    None => {}
                }
            }
            match stranger {
                Some(name) => {
                    self.strangers += 1;
                    culprit = culprit.or(Some(name.clone()));
                }
                None => self.own += usize::from(own),
            }
        }
        let Some(name) = culprit else { return Ok(()) };
        if !self.proven && self.strangers > self.own {
            return Err(dropped(ask, &name, "most results do not match it"));
        }
        let text = format!("{} of the results do not match `{name}`", self.strangers - before);
        warnings.push(Warning { code: "compartment-violation", text });
        Ok(())
    }

    fn check_outcomes(&self, bundle: &Bundle<'_>, warnings: &mut Vec<Warning>) {
        for outcome in bundle.entries.iter().filter(|e| e.mode == EntryMode::Outcome) {
            if resource_type(outcome.resource).as_deref() == Some("OperationOutcome") {
                let codes = issue_codes(outcome.resource.get().as_bytes());
                let text = format!("the server added an outcome: {}", codes.join(","));
                warnings.push(Warning { code: "search-outcome", text });
            }
        }
    }

    fn follow(&mut self, ask: &Ask, bundle: &Bundle<'_>) -> Result<Next, ServerError> {
        let Some(link) = bundle.next_link.as_deref() else { return Ok(Next::End) };
        let url = self.client.0.base.resolve(link).map_err(|foreign| {
            ask.protocol(
                "foreign-link",
                format!("next: {foreign}; it was not followed. Let the server write links with the configured base"),
            )
        })?;
        if self.number >= self.client.config().max_pages {
            let reason = format!("more than {} pages; narrow the search", self.client.config().max_pages);
            return Err(ask.protocol("too-many-pages", reason));
        }
        let looped = || ask.protocol("paging-loop", "the next link leads to a page that was read before");
        if !self.visited.insert(url.to_string()) {
            return Err(looped());
        }
        if bundle.entries.is_empty() {
            self.empty += 1;
        } else {
            self.empty = 0;
            let mut hash = Sha256::new();
            for entry in &bundle.entries {
                hash.update(entry.resource.get());
                hash.update([0]);
            }
            if !self.contents.insert(hash.finalize().into()) {
                self.repeated += 1;
            }
        }
        if self.empty > MAX_EMPTY_PAGES || self.repeated > MAX_REPEATED_PAGES {
            return Err(looped());
        }
        Ok(Next::Follow(url))
    }
}

/// HAPI FHIR answers a search from a cache for a minute, also after a write, unless it is told not to.
fn fresh() -> (&'static str, HeaderValue) {
    ("cache-control", HeaderValue::from_static("no-cache"))
}

/// 404, 405, 501, or a 400 that says "not supported".
fn may_be_unknown_operation(error: &ServerError) -> bool {
    match error {
        ServerError::Status { status: 404 | 405 | 501, .. } => true,
        ServerError::Status { status: 400, outcome, .. } => outcome.split(',').any(|c| c == "not-supported"),
        _ => false,
    }
}

pub(super) fn dropped(ask: &Ask, name: &str, why: &str) -> ServerError {
    ask.protocol(
        "dropped-parameter",
        format!("the server ignored `{name}`: {why}. Nothing of the answer was used"),
    )
}
