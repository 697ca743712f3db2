//! Search: parameters, paging, and a `self` link that tells what was really used.
//!
//! A parameter that is not known is left out of the self link and reported in an outcome entry; with
//! `Prefer: handling=strict` it is refused. Pages are cut from a result that is frozen at the first page.
//!
//! Source: FHIR R4, search.html 3.1.1.3 (`_has`), 3.1.1.5 (paging), http.html#paging, search.html#errors.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::Release;
use super::criteria::{self, Criterion};
use super::faults::{NextLink, Switches};
use super::outcome::{Refusal, warnings};
use super::parameters::{self, Kind, Parameter};
use super::records::{Frozen, Records, Version};

/// Page size without `_count`.
const DEFAULT_COUNT: usize = 20;
/// The largest page; a larger `_count` is cut to this, and the self link says so.
const LARGEST_COUNT: usize = 200;
/// Hides the counters in a cursor, so that no client is tempted to compute one.
const CURSOR_MASK: u64 = 0x5d58_8b65_6c07_8965;

/// What a request sees of the server.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub release: Release,
    /// The FHIR base URL as this client addressed it, without a slash at the end.
    pub base: &'a str,
    pub switches: &'a Switches,
    /// `Prefer: handling=strict`.
    pub strict: bool,
}

struct Query {
    criteria: Vec<Criterion>,
    /// From `_has`: only these ids.
    linked: Vec<BTreeSet<String>>,
    used: Vec<(String, String)>,
    ignored: Vec<String>,
    count: usize,
    sort: Option<(Sort, bool)>,
    show_total: bool,
    only_count: bool,
}

#[derive(Clone, Copy)]
enum Sort {
    Id,
    Updated,
    Date(&'static Parameter),
}

/// Answers a search with a searchset Bundle.
///
/// # Errors 400 for a value that cannot be read or, in strict handling, for an unknown parameter; 410 for a
/// cursor that was forgotten.
pub(super) fn search(
    records: &mut Records,
    scope: Scope<'_>,
    resource_type: &str,
    pairs: &[(String, String)],
) -> Result<Value, Refusal> {
    if let Some((_, cursor)) = pairs.iter().find(|(key, _)| key == "_cursor") {
        let gone = || Refusal::new(410, "expired", "this page is no longer kept: begin the search again");
        let (number, offset) =
            read_cursor(cursor).ok_or_else(|| Refusal::invalid("_cursor was not given out here"))?;
        let frozen =
            records.frozen(number).filter(|frozen| frozen.resource_type == resource_type).ok_or_else(gone)?;
        return Ok(page(records, scope, &frozen, Some(number), offset, &[]));
    }
    let query = Query::parse(records, scope, resource_type, pairs)?;
    let frozen = Frozen {
        resource_type: resource_type.to_owned(),
        ids: query.run(records, resource_type).into(),
        used: query.used,
        count: if query.only_count { 0 } else { query.count },
        show_total: query.show_total,
    };
    let number =
        (frozen.count > 0 && frozen.ids.len() > frozen.count).then(|| records.freeze(frozen.clone()));
    Ok(page(records, scope, &frozen, number, 0, &query.ignored))
}

/// The ids that a conditional create's query matches.
///
/// # Errors
/// 400 where a parameter is not known: a condition that is only half checked would create duplicates.
pub(super) fn matching(
    records: &Records,
    scope: Scope<'_>,
    resource_type: &str,
    query: &str,
) -> Result<Vec<String>, Refusal> {
    let query = query.split_once('?').map_or(query, |(_, rest)| rest);
    let pairs = read_pairs(query.as_bytes());
    if pairs.is_empty() {
        return Err(Refusal::invalid("If-None-Exist holds no search parameter"));
    }
    let scope = Scope { strict: true, ..scope };
    Ok(Query::parse(records, scope, resource_type, &pairs)?.run(records, resource_type))
}

/// Decodes `a=b&c=d`.
pub(super) fn read_pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

impl Query {
    fn parse(
        records: &Records,
        scope: Scope<'_>,
        resource_type: &str,
        pairs: &[(String, String)],
    ) -> Result<Self, Refusal> {
        let mut query = Self {
            criteria: Vec::new(),
            linked: Vec::new(),
            used: Vec::new(),
            ignored: Vec::new(),
            count: DEFAULT_COUNT,
            sort: None,
            show_total: true,
            only_count: false,
        };
        for (key, value) in pairs {
            let name = key.split(':').next().unwrap_or(key);
            if scope.switches.dropped.iter().any(|dropped| dropped == name) {
                continue;
            }
            if scope.switches.dropped_but_listed.iter().any(|dropped| dropped == name) {
                query.used.push((key.clone(), value.clone()));
                continue;
            }
            match query.add(records, scope, resource_type, key, value)? {
                Some(used) => query.used.push((key.clone(), used)),
                None if scope.strict => {
                    return Err(Refusal::new(
                        400,
                        "not-supported",
                        format!("{resource_type} has no search parameter `{name}` with this value here"),
                    ));
                }
                None => query.ignored.push(format!("search parameter `{name}` was ignored")),
            }
        }
        Ok(query)
    }

    /// Takes a parameter in; returns its value as used, or `None` if it is not known.
    fn add(
        &mut self,
        records: &Records,
        scope: Scope<'_>,
        resource_type: &str,
        key: &str,
        value: &str,
    ) -> Result<Option<String>, Refusal> {
        if value.is_empty() {
            return Ok(None);
        }
        match key {
            "_count" => {
                let asked: usize =
                    value.parse().map_err(|_| Refusal::invalid("_count is not a number of resources"))?;
                self.count = asked.min(LARGEST_COUNT);
                self.only_count |= asked == 0;
                return Ok(Some(self.count.to_string()));
            }
            "_total" => {
                self.show_total = value != "none";
                return Ok(matches!(value, "none" | "estimate" | "accurate").then(|| value.to_owned()));
            }
            "_summary" => {
                self.only_count |= value == "count";
                return Ok(matches!(value, "count" | "false").then(|| value.to_owned()));
            }
            "_format" | "_pretty" => return Ok(Some(value.to_owned())),
            "_sort" => {
                self.sort = read_sort(scope.release, resource_type, value);
                return Ok(self.sort.map(|_| value.to_owned()));
            }
            _ => {}
        }
        if let Some(rest) = key.strip_prefix("_has:") {
            let linked = linked(records, scope, resource_type, rest, value)?;
            return Ok(linked.map(|ids| {
                self.linked.push(ids);
                value.to_owned()
            }));
        }
        let (name, modifier) =
            key.split_once(':').map_or((key, None), |(name, modifier)| (name, Some(modifier)));
        let Some(parameter) = parameters::named(scope.release, resource_type, name) else { return Ok(None) };
        self.criteria.push(Criterion::parse(parameter, modifier, value, scope.base)?);
        Ok(Some(value.to_owned()))
    }

    fn run(&self, records: &Records, resource_type: &str) -> Vec<String> {
        let mut found: Vec<(&str, &Version)> = records
            .current(resource_type)
            .filter(|(id, _)| self.linked.iter().all(|ids| ids.contains(*id)))
            .filter(|(_, version)| self.criteria.iter().all(|criterion| criterion.holds(&version.body)))
            .collect();
        if let Some((sort, descending)) = self.sort {
            // Stable, on top of the order by id: the same data give the same pages.
            found.sort_by_key(|(_, version)| sort.instant(version));
            if descending {
                found.reverse();
            }
        }
        found.into_iter().map(|(id, _)| id.to_owned()).collect()
    }
}

impl Sort {
    fn instant(self, version: &Version) -> Option<DateTime<Utc>> {
        match self {
            Sort::Id => None,
            Sort::Updated => Some(version.at),
            Sort::Date(parameter) => criteria::sort_instant(&version.body, parameter),
        }
    }
}

fn read_sort(release: Release, resource_type: &str, value: &str) -> Option<(Sort, bool)> {
    let (name, descending) = value.strip_prefix('-').map_or((value, false), |name| (name, true));
    let sort = match name {
        "_id" => Sort::Id,
        "_lastUpdated" => Sort::Updated,
        _ => Sort::Date(
            parameters::named(release, resource_type, name).filter(|known| known.kind == Kind::Date)?,
        ),
    };
    Some((sort, descending))
}

/// `_has:Condition:patient:code=x`: the ids of `resource_type` that a Condition with that code refers to by
/// its `patient`. `None` if a part of the chain is not known.
fn linked(
    records: &Records,
    scope: Scope<'_>,
    resource_type: &str,
    chain: &str,
    value: &str,
) -> Result<Option<BTreeSet<String>>, Refusal> {
    let mut parts = chain.splitn(3, ':');
    let (Some(source), Some(by), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal::invalid("_has is written _has:Type:reference:parameter"));
    };
    let Some(by) =
        parameters::named(scope.release, source, by).filter(|by| matches!(by.kind, Kind::Reference(_)))
    else {
        return Ok(None);
    };
    let pairs = [(rest.to_owned(), value.to_owned())];
    let query = Query::parse(records, Scope { strict: false, ..scope }, source, &pairs)?;
    if !query.ignored.is_empty() {
        return Ok(None);
    }
    let sources: BTreeSet<String> = query.run(records, source).into_iter().collect();
    let ids = records
        .current(source)
        .filter(|(id, _)| sources.contains(*id))
        .flat_map(|(_, version)| criteria::targets(&version.body, by))
        .filter(|(kind, _)| kind == resource_type)
        .map(|(_, id)| id)
        .collect();
    Ok(Some(ids))
}

fn page(
    records: &Records,
    scope: Scope<'_>,
    search: &Frozen,
    number: Option<u64>,
    offset: usize,
    ignored: &[String],
) -> Value {
    let kind = &search.resource_type;
    let base = scope.base;
    let end = offset.saturating_add(search.count).min(search.ids.len());
    let shown = search.ids.get(offset..end).unwrap_or(&[]);
    // A resource that was deleted since the first page is left out.
    let mut entries: Vec<Value> = shown
        .iter()
        .filter_map(|id| Some((id, records.read(kind, id).ok()?)))
        .map(|(id, version)| {
            json!({"fullUrl": format!("{base}/{kind}/{id}"), "resource": *version.body,
                   "search": {"mode": "match"}})
        })
        .collect();
    if !ignored.is_empty() {
        entries.push(json!({"resource": warnings(ignored), "search": {"mode": "outcome"}}));
    }

    let mut used = search.used.clone();
    if let (Some(number), true) = (number, offset > 0) {
        used.push(("_cursor".to_owned(), write_cursor(number, offset)));
    }
    let own = link(base, kind, &used);
    let honest = number.filter(|_| end < search.ids.len()).map(|number| write_cursor(number, end));
    let next = match &scope.switches.next {
        NextLink::Honest => honest.map(|cursor| link(base, kind, &[("_cursor".to_owned(), cursor)])),
        NextLink::Loop => Some(own.clone()),
        NextLink::Foreign(origin) => {
            let cursor = honest.unwrap_or_else(|| write_cursor(0, end));
            Some(link(&format!("{origin}/fhir"), kind, &[("_cursor".to_owned(), cursor)]))
        }
    };

    let mut links = vec![json!({"relation": "self", "url": own})];
    links.extend(next.map(|url| json!({"relation": "next", "url": url})));
    let mut bundle = json!({"resourceType": "Bundle", "type": "searchset", "link": links});
    if search.show_total && !scope.switches.no_total {
        bundle["total"] = scope.switches.total.unwrap_or(search.ids.len() as u64).into();
    }
    if !entries.is_empty() {
        bundle["entry"] = entries.into();
    }
    bundle
}

fn link(base: &str, resource_type: &str, pairs: &[(String, String)]) -> String {
    if pairs.is_empty() {
        return format!("{base}/{resource_type}");
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{base}/{resource_type}?{query}")
}

fn write_cursor(number: u64, offset: usize) -> String {
    format!(
        "{:016x}{:016x}",
        number ^ CURSOR_MASK,
        offset as u64 ^ CURSOR_MASK.rotate_left((number % 64) as u32)
    )
}

fn read_cursor(text: &str) -> Option<(u64, usize)> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let number = u64::from_str_radix(&text[..16], 16).ok()? ^ CURSOR_MASK;
    let offset = u64::from_str_radix(&text[16..], 16).ok()? ^ CURSOR_MASK.rotate_left((number % 64) as u32);
    Some((number, usize::try_from(offset).ok()?))
}
