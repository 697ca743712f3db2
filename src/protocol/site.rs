//! A site, compiled: what its own systems and codes stand for, and which feeds are complete.

use super::document::{Finding, Severity, SiteFile};
use crate::clinical::code;
use crate::clinical::time::When;
use crate::fact::Kind;
use crate::hl7v2::charset::Charset;
use crate::hl7v2::time::Zone;
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
    pub hl7v2: Hl7v2,
}

/// How this site's HL7 v2 messages are read.
#[derive(Debug, Default)]
pub struct Hl7v2 {
    /// Of a time of day without a zone.
    pub time_zone: Option<Zone>,
    /// Of a message without MSH-18.
    pub charset: Charset,
    /// The identifier system that names a patient where PID-3 repeats.
    pub patient_identifier: Option<String>,
    authorities: HashMap<String, String>,
    coding_systems: HashMap<String, String>,
}

/// What an identifier system begins with whose assigning authority the site file does not name.
pub const UNMAPPED_AUTHORITY: &str = "urn:trialbridge:hl7v2:";

impl Hl7v2 {
    /// The identifier system of an assigning authority (type HD: namespace, universal id). One that the
    /// site file does not name keeps its own name, so that two of them are never taken for one.
    pub fn identifier_system(&self, namespace: &str, universal_id: &str) -> String {
        let mapped =
            self.authorities.get(namespace).filter(|_| !namespace.is_empty() || universal_id.is_empty());
        if let Some(system) = mapped.or_else(|| self.authorities.get(universal_id)) {
            return system.clone();
        }
        let name = if namespace.is_empty() { universal_id } else { namespace };
        name.bytes().fold(UNMAPPED_AUTHORITY.to_owned(), |mut urn, b| {
            match b {
                b if b.is_ascii_alphanumeric() || b"-._".contains(&b) => urn.push(char::from(b)),
                b => urn.push_str(&format!("%{b:02X}")),
            }
            urn
        })
    }

    /// The code system that a name of HL7 table 0396 stands for. `L`, `99…` and whatever else is local
    /// mean what the site file says, or nothing.
    pub fn code_system<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        if let Some(system) = self.coding_systems.get(name) {
            return Some(system);
        }
        match name {
            "LN" => Some(code::LOINC),
            "UCUM" => Some(code::UCUM),
            "SCT" => Some(code::SNOMED),
            "I10" => Some(code::ICD10),
            "I10C" => Some(code::ICD10_CM),
            uri if uri.starts_with("http://") || uri.starts_with("https://") || uri.starts_with("urn:") => {
                Some(uri)
            }
            _ => None,
        }
    }
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
        site.hl7v2(file, &mut error);
        if findings.is_empty() { Ok(site) } else { Err(findings) }
    }

    fn hl7v2(&mut self, file: &SiteFile, error: &mut dyn FnMut(String, &'static str, String, &str)) {
        let written = &file.site.hl7v2;
        if let Some(text) = &written.time_zone {
            self.hl7v2.time_zone = Zone::parse(text.get_ref());
            if self.hl7v2.time_zone.is_none() {
                let text = format!("hl7v2.time_zone `{}` is no offset from UTC", text.get_ref());
                let place = file.place(written.time_zone.as_ref().map_or(0..0, |t| t.span()));
                error(place, "TB-S009", text, "for example \"+08:00\"; names of zones are not read");
            }
        }
        if let Some(name) = &written.charset {
            match Charset::named(name.get_ref()) {
                Some(charset) => self.hl7v2.charset = charset,
                None => {
                    let text = format!("hl7v2.charset `{}` is not supported", name.get_ref());
                    let hint = "a name as in MSH-18, for example \"UNICODE UTF-8\" or \"GB 18030-2000\"";
                    error(file.place(name.span()), "TB-S010", text, hint);
                }
            }
        }
        let mut uri = |what: &str, uri: &toml::Spanned<String>| {
            let text = uri.get_ref();
            let is_uri = text.split_once(':').is_some_and(|(scheme, rest)| {
                !scheme.is_empty()
                    && !rest.is_empty()
                    && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
                    && !text.contains(char::is_whitespace)
            });
            if !is_uri {
                let text = format!("hl7v2.{what}: `{text}` is no URI");
                let hint = "write the system as in FHIR: http://…, urn:oid:…";
                error(file.place(uri.span()), "TB-S011", text, hint);
            }
            text.clone()
        };
        self.hl7v2.patient_identifier =
            written.patient_identifier.as_ref().map(|system| uri("patient_identifier", system));
        for (name, system) in &written.authorities {
            let system = uri("authorities", system);
            self.hl7v2.authorities.insert(name.clone(), system);
        }
        for (name, system) in &written.coding_systems {
            let system = uri("coding_systems", system);
            self.hl7v2.coding_systems.insert(name.clone(), system);
        }
    }

    /// The system and code that a coding of this site stands for.
    pub fn read<'a>(&'a self, system: &'a str, code: &'a str) -> (&'a str, &'a str) {
        if !self.codes.is_empty()
            && let Some((to_system, to)) = self.codes.get(&(system.to_owned(), code.to_owned()))
        {
            return (to_system, to);
        }
        if self.systems.is_empty() {
            return (system, code);
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
