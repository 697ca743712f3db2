//! One search criterion: a parameter's value made into a test on a resource.
//!
//! Source: FHIR R4, search.html, 3.1.1.4 (parameter types, prefixes, modifiers, escaping).

use chrono::{DateTime, Days, FixedOffset, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::Value;

use super::outcome::Refusal;
use super::parameters::{Kind, Parameter};

/// A test on a resource.
#[derive(Debug)]
pub(super) struct Criterion {
    paths: &'static [&'static str],
    test: Test,
}

#[derive(Debug)]
enum Test {
    Token { any: Vec<TokenValue>, negated: bool },
    Reference { any: Vec<Target>, types: Vec<String> },
    Date(Vec<(Prefix, Span)>),
    Text { any: Vec<String>, matching: Matching },
    Uri(Vec<String>),
    Missing(bool),
}

#[derive(Debug)]
struct TokenValue {
    /// `None`: any system. `Some("")`: none.
    system: Option<String>,
    /// Empty: any code of the system.
    code: String,
}

#[derive(Debug)]
struct Target {
    resource_type: Option<String>,
    id: String,
}

#[derive(Debug, Clone, Copy)]
enum Matching {
    Start,
    Exact,
    Contains,
}

#[derive(Debug, Clone, Copy)]
enum Prefix {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsAfter,
    EndsBefore,
}

/// A time, or a span of it: from `low`, up to and without `high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    low: DateTime<Utc>,
    high: DateTime<Utc>,
}

impl Criterion {
    /// Reads `name:modifier=value`. `base` is the server's own base URL, which a reference may be written
    /// with.
    ///
    /// # Errors
    /// 400 for a value or a modifier that the parameter's type does not have.
    pub fn parse(
        parameter: &'static Parameter,
        modifier: Option<&str>,
        value: &str,
        base: &str,
    ) -> Result<Self, Refusal> {
        let name = parameter.name;
        let unknown_modifier = || {
            Refusal::invalid(format!(
                "parameter {name}: this modifier is not supported for a {}",
                parameter.kind.name()
            ))
        };
        let values = split(value, ',');
        let test = match (parameter.kind, modifier) {
            (_, Some("missing")) => match value {
                "true" => Test::Missing(true),
                "false" => Test::Missing(false),
                _ => return Err(Refusal::invalid(format!("parameter {name}:missing is true or false"))),
            },
            (Kind::Token, None | Some("not")) => Test::Token {
                any: values.iter().map(|text| TokenValue::parse(text)).collect(),
                negated: modifier.is_some(),
            },
            (Kind::Reference(targets), modifier) => {
                let types: Vec<String> = match modifier {
                    None => targets.iter().map(ToString::to_string).collect(),
                    Some(kind) if kind.starts_with(|first: char| first.is_ascii_uppercase()) => {
                        vec![kind.to_owned()]
                    }
                    Some(_) => return Err(unknown_modifier()),
                };
                Test::Reference {
                    any: values.iter().map(|text| Target::parse(&unescape(text), base)).collect(),
                    types,
                }
            }
            (Kind::Date, None) => {
                Test::Date(values.iter().map(|text| Prefix::read(text)).collect::<Option<_>>().ok_or_else(
                    || Refusal::invalid(format!("parameter {name} is not a FHIR date or dateTime")),
                )?)
            }
            (Kind::Text, modifier) => Test::Text {
                any: values.iter().map(|text| unescape(text)).collect(),
                matching: match modifier {
                    None => Matching::Start,
                    Some("exact") => Matching::Exact,
                    Some("contains") => Matching::Contains,
                    Some(_) => return Err(unknown_modifier()),
                },
            },
            (Kind::Uri, None) => Test::Uri(values.iter().map(|text| unescape(text)).collect()),
            _ => return Err(unknown_modifier()),
        };
        Ok(Self { paths: parameter.paths, test })
    }

    /// Whether the resource passes.
    pub fn holds(&self, resource: &Value) -> bool {
        let found = elements(resource, self.paths);
        match &self.test {
            Test::Missing(missing) => found.is_empty() == *missing,
            Test::Token { any, negated } => {
                found.iter().any(|element| any.iter().any(|wanted| wanted.fits(element))) != *negated
            }
            Test::Reference { any, types } => found
                .iter()
                .filter_map(|element| Target::of(element))
                .any(|target| target.is_one_of(types) && any.iter().any(|wanted| wanted.fits(&target))),
            Test::Date(any) => found
                .iter()
                .filter_map(|element| Span::of(element))
                .any(|span| any.iter().any(|(prefix, wanted)| prefix.holds(span, *wanted))),
            Test::Text { any, matching } => found
                .iter()
                .filter_map(|element| element.as_str())
                .any(|text| any.iter().any(|wanted| matching.holds(text, wanted))),
            Test::Uri(any) => found
                .iter()
                .filter_map(|element| element.as_str())
                .any(|text| any.iter().any(|uri| uri == text)),
        }
    }
}

/// All elements at the paths; lists are entered.
pub(super) fn elements<'a>(resource: &'a Value, paths: &[&str]) -> Vec<&'a Value> {
    fn walk<'a>(value: &'a Value, path: &str, found: &mut Vec<&'a Value>) {
        if let Value::Array(items) = value {
            items.iter().for_each(|item| walk(item, path, found));
        } else if path.is_empty() {
            found.push(value);
        } else {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            if let Some(next) = value.get(first) {
                walk(next, rest, found);
            }
        }
    }
    let mut found = Vec::new();
    for path in paths {
        walk(resource, path, &mut found);
    }
    found
}

/// `Type/id` of the local resources that a reference parameter of `resource` points to.
pub(super) fn targets(resource: &Value, parameter: &Parameter) -> Vec<(String, String)> {
    elements(resource, parameter.paths)
        .into_iter()
        .filter_map(Target::of)
        .filter_map(|target| Some((target.resource_type?, target.id)))
        .collect()
}

/// The first instant of the date that sorts a resource, if it has one.
pub(super) fn sort_instant(resource: &Value, parameter: &Parameter) -> Option<DateTime<Utc>> {
    elements(resource, parameter.paths).into_iter().filter_map(Span::of).map(|span| span.low).min()
}

/// Splits at a separator that no backslash stands before. The parts stay escaped.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, letter) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == separator {
            parts.push(&text[start..at]);
            start = at + separator.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
    }
    plain
}

impl TokenValue {
    fn parse(text: &str) -> Self {
        match split(text, '|').as_slice() {
            [code] => Self { system: None, code: unescape(code) },
            [system, rest @ ..] => Self { system: Some(unescape(system)), code: unescape(&rest.join("|")) },
            [] => Self { system: None, code: String::new() },
        }
    }

    /// A code, boolean, Coding, CodeableConcept, Identifier or CodeableReference.
    fn fits(&self, element: &Value) -> bool {
        match element {
            // The system of a plain code is fixed by its element, so a system given with it says nothing
            // more.
            Value::String(code) => *code == self.code,
            Value::Bool(flag) => self.code == if *flag { "true" } else { "false" },
            Value::Object(object) => {
                if let Some(Value::Array(codings)) = object.get("coding") {
                    return codings.iter().any(|coding| self.fits(coding));
                }
                let part = |name: &str| object.get(name).and_then(Value::as_str);
                let code = part("code").or_else(|| part("value"));
                let code_fits = match code {
                    Some(code) => self.code.is_empty() || code == self.code,
                    None => self.code.is_empty() && part("system").is_some(),
                };
                code_fits
                    && self
                        .system
                        .as_deref()
                        .is_none_or(|system| part("system").unwrap_or_default() == system)
            }
            _ => false,
        }
    }
}

impl Target {
    /// `Patient/x`, `x`, `<base>/Patient/x`, `Patient/x/_history/3`, or a foreign URL or URN as it is.
    fn parse(text: &str, base: &str) -> Self {
        let local = text.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(text);
        let parts: Vec<&str> = local.split('/').collect();
        match parts.as_slice() {
            [kind, id] | [kind, id, "_history", _] if !kind.contains(':') => {
                Self { resource_type: Some((*kind).to_owned()), id: (*id).to_owned() }
            }
            _ => Self { resource_type: None, id: local.to_owned() },
        }
    }

    fn of(element: &Value) -> Option<Self> {
        let text = element.as_str().or_else(|| element.get("reference").and_then(Value::as_str))?;
        Some(Self::parse(text, ""))
    }

    fn is_one_of(&self, types: &[String]) -> bool {
        types.is_empty() || self.resource_type.as_ref().is_some_and(|kind| types.contains(kind))
    }

    fn fits(&self, found: &Target) -> bool {
        self.id == found.id && (self.resource_type.is_none() || self.resource_type == found.resource_type)
    }
}

impl Matching {
    fn holds(self, text: &str, wanted: &str) -> bool {
        let (lower, wanted_lower) = (text.to_lowercase(), wanted.to_lowercase());
        match self {
            Matching::Start => lower.starts_with(&wanted_lower),
            Matching::Contains => lower.contains(&wanted_lower),
            Matching::Exact => text == wanted,
        }
    }
}

impl Prefix {
    fn read(text: &str) -> Option<(Self, Span)> {
        let known = [
            ("eq", Prefix::Equal),
            ("ne", Prefix::NotEqual),
            ("gt", Prefix::Greater),
            ("lt", Prefix::Less),
            ("ge", Prefix::GreaterOrEqual),
            ("le", Prefix::LessOrEqual),
            ("sa", Prefix::StartsAfter),
            ("eb", Prefix::EndsBefore),
        ];
        let found = known.into_iter().find_map(|(name, prefix)| Some((prefix, text.strip_prefix(name)?)));
        let (prefix, date) = found.unwrap_or((Prefix::Equal, text));
        Some((prefix, Span::parse(date)?))
    }

    /// Source: FHIR R4, search.html#prefix, the column "ranges".
    fn holds(self, found: Span, wanted: Span) -> bool {
        let within = wanted.low <= found.low && found.high <= wanted.high;
        match self {
            Prefix::Equal => within,
            Prefix::NotEqual => !within,
            Prefix::Greater => found.high > wanted.high,
            Prefix::Less => found.low < wanted.low,
            Prefix::GreaterOrEqual => found.high > wanted.high || within,
            Prefix::LessOrEqual => found.low < wanted.low || within,
            Prefix::StartsAfter => found.low >= wanted.high,
            Prefix::EndsBefore => found.high <= wanted.low,
        }
    }
}

impl Span {
    /// A date, dateTime or instant with the precision it was written in. Without a zone: UTC.
    fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str, width: usize| {
            (part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
        };
        let of_dates = |low: NaiveDate, high: NaiveDate| {
            Some(Self {
                low: low.and_time(NaiveTime::MIN).and_utc(),
                high: high.and_time(NaiveTime::MIN).and_utc(),
            })
        };
        if let Some((date, clock)) = text.split_once('T') {
            let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
            let zone_at = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
            let (time, zone) = clock.split_at(zone_at);
            let (written, length) = match time.len() {
                5 => (format!("{time}:00"), TimeDelta::minutes(1)),
                8 => (time.to_owned(), TimeDelta::seconds(1)),
                _ => (time.to_owned(), TimeDelta::milliseconds(1)),
            };
            let time = NaiveTime::parse_from_str(&written, "%H:%M:%S%.f").ok()?;
            let offset: FixedOffset = match zone {
                "" | "Z" => FixedOffset::east_opt(0)?,
                other => other.parse().ok()?,
            };
            let low = date.and_time(time).and_local_timezone(offset).single()?.with_timezone(&Utc);
            return Some(Self { low, high: low.checked_add_signed(length)? });
        }
        let parts: Vec<&str> = text.split('-').collect();
        match parts.as_slice() {
            [year] => {
                digits(year, 4)?;
                let low = NaiveDate::from_ymd_opt(year.parse().ok()?, 1, 1)?;
                of_dates(low, low.checked_add_months(Months::new(12))?)
            }
            [year, month] => {
                digits(year, 4).and(digits(month, 2))?;
                let low = NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, 1)?;
                of_dates(low, low.checked_add_months(Months::new(1))?)
            }
            [year, month, day] => {
                digits(year, 4).and(digits(month, 2)).and(digits(day, 2))?;
                let low =
                    NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
                of_dates(low, low.checked_add_days(Days::new(1))?)
            }
            _ => None,
        }
    }

    /// A date, dateTime, instant or Period; a Period without an end goes on.
    fn of(element: &Value) -> Option<Self> {
        if let Some(text) = element.as_str() {
            return Self::parse(text);
        }
        let bound = |name: &str| match element.get(name) {
            Some(value) => value.as_str().and_then(Self::parse).map(Some),
            None => Some(None),
        };
        let (start, end) = (bound("start")?, bound("end")?);
        if start.is_none() && end.is_none() {
            return None;
        }
        Some(Self {
            low: start.map_or(DateTime::<Utc>::MIN_UTC, |span| span.low),
            high: end.map_or(DateTime::<Utc>::MAX_UTC, |span| span.high),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::{Release, parameters};

    fn holds(resource_type: &str, query: &str, resource: &Value) -> bool {
        let (key, value) = query.split_once('=').expect("a test query has a value");
        let (name, modifier) = key.split_once(':').map_or((key, None), |(name, rest)| (name, Some(rest)));
        let parameter = parameters::named(Release::R4, resource_type, name).expect("a known parameter");
        Criterion::parse(parameter, modifier, value, "http://h/fhir").expect("a valid value").holds(resource)
    }

    #[test]
    fn tokens_match_by_code_by_system_and_by_list() {
        let observation = json!({"status": "final", "code": {"coding": [
            {"system": "http://loinc.org", "code": "1975-2"}, {"code": "TBIL"}]},
            "identifier": [{"system": "urn:a,b", "value": "x|y"}]});
        let cases = [
            ("code=1975-2", true),
            ("code=http://loinc.org|1975-2", true),
            ("code=http://snomed.info/sct|1975-2", false),
            ("code=http://loinc.org|", true),
            ("code=|TBIL", true),
            ("code=|1975-2", false),
            ("code=2160-0,1975-2", true),
            ("code=2160-0", false),
            ("code:not=2160-0", true),
            ("code:not=1975-2", false),
            ("code:missing=true", false),
            ("status=final,amended", true),
            ("status=amended", false),
            (r"identifier=urn:a\,b|x\|y", true),
            (r"identifier=urn:a|x\|y", false),
        ];
        for (query, expected) in cases {
            assert_eq!(holds("Observation", query, &observation), expected, "{query}");
        }
    }

    #[test]
    fn references_match_in_every_spelling_and_only_the_right_type() {
        let of = |reference: &str| json!({"subject": {"reference": reference}});
        let cases = [
            ("patient=Patient/x", "Patient/x", true),
            ("patient=x", "Patient/x", true),
            ("patient=http://h/fhir/Patient/x", "Patient/x", true),
            ("patient=x", "Patient/x/_history/2", true),
            ("patient=x", "Group/x", false),
            ("subject=x", "Group/x", true),
            ("subject:Patient=x", "Group/x", false),
            ("subject=Patient/x", "Group/x", false),
            ("patient=x", "Patient/xy", false),
            ("subject=urn:uuid:1", "urn:uuid:1", true),
        ];
        for (query, reference, expected) in cases {
            assert_eq!(holds("Observation", query, &of(reference)), expected, "{query} on {reference}");
        }
    }

    #[test]
    fn dates_compare_as_spans() {
        let at = |text: &str| json!({"effectiveDateTime": text});
        let cases = [
            ("date=2024-03", "2024-03-15T08:00:00+08:00", true),
            ("date=2024-03-15", "2024-03", false),
            ("date=ge2024-03", "2024-03-15", true),
            ("date=gt2024-03", "2024-03-15", false),
            ("date=ge2024-03-15T00:00:00Z", "2024-03-15T08:00:00+08:00", true),
            ("date=gt2024-03-15T00:00:00Z", "2024-03-15T08:00:00+08:00", false),
            ("date=lt2024-03-15T00:00:00Z", "2024-03-15T07:59:59+08:00", true),
            ("date=le2024-03-15", "2024-03-15T23:59:59Z", true),
            ("date=lt2024", "2023-12-31", true),
            ("date=ge2024-01-01", "2024", true),
            ("date=sa2024-01-01", "2024-01-02", true),
            ("date=eb2024-01-01", "2023-12-31", true),
            ("date=ne2024-01-01", "2024-01-02", true),
        ];
        for (query, value, expected) in cases {
            assert_eq!(holds("Observation", query, &at(value)), expected, "{query} on {value}");
        }
        let period = json!({"period": {"start": "2024-01-01"}});
        assert!(holds("ResearchSubject", "date=ge2026-01-01", &period), "an open period goes on");
        assert!(!holds("ResearchSubject", "date=lt2023", &period));
    }

    #[test]
    fn a_date_that_is_none_is_refused() {
        let parameter = parameters::named(Release::R4, "Observation", "date").expect("known");
        for text in
            ["yesterday", "2024-13", "24-01-01", "2024-01-01T25:00:00Z", "ge", "2024-01-01T08:00:00 08:00"]
        {
            let refused = Criterion::parse(parameter, None, text, "").expect_err(text);
            assert_eq!(refused.status, 400, "{text}");
        }
    }
}
