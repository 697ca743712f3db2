//! A site, compiled: what its own systems and codes stand for, and which feeds are complete.

use super::document::{Finding, Severity, SiteFile};
use crate::clinical::time::When;
use crate::fact::Kind;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub struct Site {
    systems: HashMap<String, String>,
    codes: HashMap<(String, String), (String, String)>,
    feeds: HashMap<Kind, NaiveDate>,
    /// The laboratory's mean normal prothrombin time.
    pub pt_control_s: Option<Decimal>,
}

impl Site {
    pub fn compile(file: &SiteFile) -> Result<Site, Vec<Finding>> {
        let (mut site, mut findings) = (Site::default(), Vec::new());
        let mut error = |place: String, id: &'static str, text: String, hint: &str| {
            findings.push(Finding { severity: Severity::Error, place, id, text, hint: hint.into() });
        };
        site.systems = file.site.systems.clone().into_iter().collect();
        for c in &file.site.code {
            let from = (c.system.clone(), c.code.get_ref().clone());
            let to = (c.to_system.clone(), c.to.clone());
            if let Some(other) = site.codes.insert(from, to.clone())
                && other != to
            {
                let text =
                    format!("code {} is mapped twice, to {} and to {}", c.code.get_ref(), other.1, to.1);
                error(file.place(c.code.span()), "TB-S001", text, "a local code means one thing");
            }
        }
        for feed in &file.site.feed {
            let place = file.place(feed.resource.span());
            let Some(kind) = Kind::from_name(feed.resource.get_ref()) else {
                let text = format!("`{}` is not a resource type with findings", feed.resource.get_ref());
                error(place, "TB-S003", text, "for example Condition or MedicationRequest");
                continue;
            };
            let since = match feed.complete_since.as_str() {
                "ever" => Some(NaiveDate::MIN),
                day => When::parse(day).ok().filter(When::is_day).map(|w| w.first),
            };
            match since {
                Some(since) => {
                    site.feeds.insert(kind, since);
                }
                None => error(
                    place,
                    "TB-S004",
                    "complete_since is neither `ever` nor a day".into(),
                    "write `ever` or YYYY-MM-DD",
                ),
            }
        }
        if let Some(text) = &file.site.pt_control_s {
            match text.parse::<Decimal>() {
                Ok(seconds) if seconds > Decimal::ZERO => site.pt_control_s = Some(seconds),
                _ => error(
                    file.place_of("pt_control_s"),
                    "TB-S005",
                    "pt_control_s is not a number of seconds".into(),
                    "write it as a string, for example \"12.5\"",
                ),
            }
        }
        if findings.is_empty() { Ok(site) } else { Err(findings) }
    }

    /// The system and code that a coding of this site stands for.
    pub fn read<'a>(&'a self, system: &'a str, code: &'a str) -> (&'a str, &'a str) {
        if !self.codes.is_empty()
            && let Some((to_system, to)) = self.codes.get(&(system.to_owned(), code.to_owned()))
        {
            return (to_system, to);
        }
        (self.systems.get(system).map_or(system, String::as_str), code)
    }

    /// The site's own systems and codes that stand for a standard one, sorted.
    pub fn written_as(&self, system: &str, code: &str) -> Vec<(&str, &str)> {
        let mut found: Vec<(&str, &str)> = self
            .codes
            .iter()
            .filter(|(_, (s, c))| s == system && c == code)
            .map(|((s, c), _)| (s.as_str(), c.as_str()))
            .collect();
        found.sort_unstable();
        found
    }

    /// Are records of this kind declared complete from some day on?
    pub fn has_feed(&self, kind: Kind) -> bool {
        self.feeds.contains_key(&kind)
    }

    /// Was nothing of this kind missed since `day`?
    pub fn is_complete_since(&self, kind: Kind, day: NaiveDate) -> bool {
        self.feeds.get(&kind).is_some_and(|since| *since <= day)
    }
}
