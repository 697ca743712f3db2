//! What the trial needs of each patient, as searches.

use crate::client::FhirClient;
use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};

/// Longest value of one code parameter, in characters. Servers and proxies cap the length of a
/// request line, and a search may have to go by GET.
const MAX_CODE_CHARS: usize = 4_000;

/// Codes that are searched in one parameter, any of which matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeList {
    /// `code`, `component-code`, ...
    pub parameter: String,
    /// FHIR tokens, such as `http://loinc.org|1975-2`, escaped where they hold `,` or `|`.
    pub tokens: Vec<String>,
}

/// One resource type that is asked for, patient by patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub resource_type: String,
    /// Parameters of every search of this need.
    pub params: Vec<(String, String)>,
    /// `patient`, which takes the bare id, or `subject` and the like, which take `Patient/id`.
    pub patient_param: String,
    /// Each list is a search of its own; a long list is several. None: one search without codes.
    pub code_lists: Vec<CodeList>,
}

/// One search of a need, still without patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    params: Vec<(String, String)>,
    codes: usize,
}

impl Need {
    pub(super) fn queries(&self) -> Vec<Query> {
        let lists = self.code_lists.iter().filter(|list| !list.tokens.is_empty());
        let mut queries: Vec<Query> = lists
            .flat_map(|list| chunks(&list.tokens).into_iter().map(move |(value, codes)| (list, value, codes)))
            .map(|(list, value, codes)| {
                let mut params = self.params.clone();
                params.push((list.parameter.clone(), value));
                Query { params, codes }
            })
            .collect();
        if queries.is_empty() {
            queries.push(Query { params: self.params.clone(), codes: 0 });
        }
        queries
    }

    /// The parameters of a search for one patient, since a time or from the beginning.
    pub(super) fn ask(
        &self,
        query: &Query,
        patient: &str,
        since: Option<DateTime<Utc>>,
    ) -> Vec<(String, String)> {
        let patient = match self.patient_param.as_str() {
            "patient" => patient.to_owned(),
            _ => format!("Patient/{patient}"),
        };
        let mut asked = vec![(self.patient_param.clone(), patient)];
        asked.extend(query.params.iter().cloned());
        if let Some(since) = since {
            asked.push(("_lastUpdated".to_owned(), format!("ge{}", stamp(since))));
        }
        asked
    }

    /// The search for people to read: no patient, and the number of codes instead of the codes.
    pub(super) fn describe(&self, query: &Query, since: bool) -> String {
        let mut text = format!("{}?{}={{id}}", self.resource_type, self.patient_param);
        let fixed = query.params.len() - usize::from(query.codes > 0);
        for (name, value) in &query.params[..fixed] {
            text.push_str(&format!("&{name}={value}"));
        }
        if let (true, Some((name, _))) = (query.codes > 0, query.params.last()) {
            text.push_str(&format!("&{name}=({} codes)", query.codes));
        }
        if since {
            text.push_str("&_lastUpdated=ge…");
        }
        text
    }

    /// Changes with everything that decides what is asked: a new code is a new need, and its history
    /// is loaded from the beginning.
    pub(super) fn digest(&self, client: &FhirClient) -> String {
        let mut parts = vec![client.base_url(), &self.resource_type, &self.patient_param];
        parts.extend(self.params.iter().flat_map(|(n, v)| [n.as_str(), v.as_str()]));
        for list in &self.code_lists {
            let mut tokens: Vec<&str> = list.tokens.iter().map(String::as_str).collect();
            tokens.sort_unstable();
            tokens.dedup();
            parts.push(&list.parameter);
            parts.extend(tokens);
        }
        digest(&parts)
    }
}

/// Token lists of at most [`MAX_CODE_CHARS`], each with its number of tokens. A longer token stands alone.
fn chunks(tokens: &[String]) -> Vec<(String, usize)> {
    let mut chunks: Vec<(String, usize)> = Vec::new();
    for token in tokens {
        match chunks.last_mut() {
            Some((value, n)) if value.len() + 1 + token.len() <= MAX_CODE_CHARS => {
                value.push(',');
                value.push_str(token);
                *n += 1;
            }
            _ => chunks.push((token.clone(), 1)),
        }
    }
    chunks
}

/// A time as it stands in cursors and `_lastUpdated`: UTC, whole seconds.
pub(super) fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// 16 hexadecimal digits over parts that are kept apart.
pub(super) fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(tokens: usize) -> Need {
        Need {
            resource_type: "Observation".into(),
            params: vec![("category".into(), "laboratory".into())],
            patient_param: "subject".into(),
            code_lists: vec![CodeList {
                parameter: "code".into(),
                tokens: (0..tokens).map(|n| format!("http://loinc.org|{n:05}")).collect(),
            }],
        }
    }

    #[test]
    fn long_code_lists_are_split_and_no_code_is_lost() {
        for (tokens, queries) in [(0, 1), (1, 1), (173, 1), (174, 2), (1_000, 6)] {
            let need = need(tokens);
            let split = need.queries();
            assert_eq!(split.len(), queries, "{tokens}");
            let values: Vec<&str> = split
                .iter()
                .flat_map(|q| &q.params)
                .filter(|(n, _)| n == "code")
                .map(|(_, v)| v.as_str())
                .collect();
            assert!(values.iter().all(|v| v.len() <= MAX_CODE_CHARS));
            let all: Vec<&str> = values.iter().flat_map(|v| v.split(',')).collect();
            assert_eq!(all, need.code_lists[0].tokens);
        }
    }

    #[test]
    fn a_search_is_described_without_its_patient() {
        let need = need(2);
        let query = &need.queries()[0];
        let since = DateTime::from_timestamp(1_795_000_000, 500_000_000);
        let asked = need.ask(query, "canary", since);
        assert_eq!(asked[0], ("subject".into(), "Patient/canary".into()));
        assert_eq!(asked[3], ("_lastUpdated".into(), "ge2026-11-18T11:06:40Z".into()));
        let text = need.describe(query, true);
        assert_eq!(text, "Observation?subject={id}&category=laboratory&code=(2 codes)&_lastUpdated=ge…");
        let plain = Need { patient_param: "patient".into(), code_lists: vec![], ..need };
        assert_eq!(plain.ask(&plain.queries()[0], "p1", None)[0].1, "p1");
        assert_eq!(
            plain.describe(&plain.queries()[0], false),
            "Observation?patient={id}&category=laboratory"
        );
    }
}
