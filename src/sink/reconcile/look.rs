//! Looking: which resources of ours are on the server.
//!
//! A server that cannot search by identifier is asked in a coarser way, and whatever it answers is
//! filtered here: no match is believed before its identifier was compared.

use super::failure::{failed, human, is_unsearchable, outcome};
use super::{Run, UNCONFIRMED};
use crate::client::server::{FhirServer, Found, ServerError};
use crate::sink::report::Outcome;
use crate::sink::stored::{Stored, same_resource};

/// A resource that is looked for.
pub(super) struct Target<'a> {
    pub resource_type: &'static str,
    pub system: &'a str,
    pub value: &'a str,
    /// `ResearchStudy/x`, for the coarser search of a ResearchSubject.
    pub study: Option<&'a str>,
    /// `Patient/x`, for the coarser search of a ResearchSubject or Observation.
    pub patient: Option<&'a str>,
    /// `system|code`, for the coarser search of an Observation.
    pub code: Option<String>,
}

/// A resource as the server showed it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub id: String,
    pub stored: Stored,
    pub etag: Option<String>,
}

impl Seen {
    pub(super) fn of(found: Found) -> Option<Self> {
        let stored = Stored::parse(&found.body)?;
        Some(Seen { id: found.id, stored, etag: found.etag })
    }
}

/// The finest question that the server is known to answer for a resource type, finest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sight {
    Identifier,
    /// `?study=`, ResearchSubject only.
    Study,
    /// `?individual=` (R5 `?subject=`), ResearchSubject only; `?patient=&code=`, Observation only.
    Patient,
    /// Everything of the type. Never for Observations: there may be millions.
    Everything,
}

impl<S: FhirServer> Run<'_, S> {
    /// All resources that carry the target's identifier, lowest id first.
    ///
    /// Errors: the outcome of the resource, where the server cannot be looked at. Then nothing may be
    /// created either.
    pub(super) async fn look(&mut self, target: &Target<'_>) -> Result<Vec<Seen>, Outcome> {
        let mut seen = self.search(target).await?;
        if seen.is_empty() {
            seen.extend(self.look_by_known_id(target).await?);
        }
        seen.sort_by(|a, b| id_order(&a.id).cmp(&id_order(&b.id)));
        seen.dedup_by(|a, b| a.id == b.id);
        Ok(seen)
    }

    /// A search index may lag, or not know identifiers. What we once saw is read directly.
    async fn look_by_known_id(&mut self, target: &Target<'_>) -> Result<Option<Seen>, Outcome> {
        let Some(id) = self.known.get(target.resource_type, target.value) else { return Ok(None) };
        if id == UNCONFIRMED {
            return Err(human("creation-unconfirmed", Vec::new()));
        }
        let Some(seen) = self.read(target.resource_type, &id).await? else { return Ok(None) };
        if seen.stored.has_identifier(target.system, target.value) {
            return Ok(Some(seen));
        }
        // It is there without our identifier, so no search will ever find it: creating again would
        // make a new one in every run.
        Err(human("identifier-dropped", vec![id]))
    }

    async fn search(&mut self, target: &Target<'_>) -> Result<Vec<Seen>, Outcome> {
        loop {
            let sight = self.sight.get(target.resource_type).copied().unwrap_or(Sight::Identifier);
            let token = token(target.system, target.value);
            let parameters: Vec<(&str, &str)> = match (sight, target.resource_type) {
                (Sight::Identifier, _) => vec![("identifier", &token)],
                (Sight::Study, "ResearchSubject") => match target.study {
                    Some(study) => vec![("study", study)],
                    None => vec![],
                },
                (Sight::Patient, "ResearchSubject") => match target.patient {
                    Some(patient) => vec![(self.person(), patient)],
                    None => vec![],
                },
                (Sight::Patient, "Observation") => match (target.patient, target.code.as_deref()) {
                    (Some(patient), Some(code)) => vec![("patient", patient), ("code", code)],
                    (Some(patient), None) => vec![("patient", patient)],
                    (None, _) => return Err(failed("not-searchable")),
                },
                (Sight::Everything, "Observation") => return Err(failed("not-searchable")),
                (Sight::Everything, _) => vec![],
                (Sight::Study | Sight::Patient, _) => {
                    self.coarser(target.resource_type, sight);
                    continue;
                }
            };
            let answer = if sight == Sight::Identifier {
                self.query(target.resource_type, &parameters).await
            } else {
                self.listing(target.resource_type, &parameters).await
            };
            match answer {
                Ok(seen) => {
                    let ours = |s: &Seen| s.stored.has_identifier(target.system, target.value);
                    return Ok(seen.into_iter().filter(ours).collect());
                }
                Err(error) if is_unsearchable(&error) && sight < Sight::Everything => {
                    self.coarser(target.resource_type, sight);
                }
                Err(error) => return Err(outcome(&error)),
            }
        }
    }

    fn coarser(&mut self, resource_type: &'static str, sight: Sight) {
        let next = match sight {
            Sight::Identifier => Sight::Study,
            Sight::Study => Sight::Patient,
            Sight::Patient | Sight::Everything => Sight::Everything,
        };
        self.sight.insert(resource_type, next);
    }

    /// The search parameter of a ResearchSubject's person.
    fn person(&self) -> &'static str {
        if self.release.is_r5() { "subject" } else { "individual" }
    }

    async fn query(
        &self,
        resource_type: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Seen>, ServerError> {
        let found = self.server.search(resource_type, parameters).await?;
        Ok(found.into_iter().filter_map(Seen::of).collect())
    }

    /// A coarse search, kept until something is created: it serves every participant.
    async fn listing(
        &mut self,
        resource_type: &'static str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Seen>, ServerError> {
        let key = (resource_type, format!("{parameters:?}"));
        if let Some(seen) = self.listings.get(&key) {
            return Ok(seen.clone());
        }
        let seen = self.query(resource_type, parameters).await?;
        self.listings.insert(key, seen.clone());
        Ok(seen)
    }

    /// One resource by id; `None` where it is gone.
    pub(super) async fn read(&self, resource_type: &str, id: &str) -> Result<Option<Seen>, Outcome> {
        match self.server.read(resource_type, id).await {
            Ok(found) => Ok(found.and_then(Seen::of)),
            Err(error) => Err(outcome(&error)),
        }
    }

    /// ResearchSubjects of this patient in this study that are not ours. The site may have entered one
    /// by hand: a second for the same participant is not added beside it.
    pub(super) async fn foreign_subjects(&mut self, target: &Target<'_>) -> Result<Vec<String>, Outcome> {
        let (Some(study), Some(patient)) = (target.study, target.patient) else { return Ok(Vec::new()) };
        let both = [("study", study), (self.person(), patient)];
        let sight = self.sight.get(target.resource_type).copied().unwrap_or(Sight::Identifier);
        let answer = match sight {
            Sight::Identifier => self.query(target.resource_type, &both).await,
            Sight::Study => self.listing(target.resource_type, &both[..1]).await,
            Sight::Patient => self.listing(target.resource_type, &both[1..]).await,
            Sight::Everything => self.listing(target.resource_type, &[]).await,
        };
        let seen = match answer {
            Err(error) if is_unsearchable(&error) && sight != Sight::Everything => {
                self.listing(target.resource_type, &[]).await.map_err(|e| outcome(&e))?
            }
            answer => answer.map_err(|e| outcome(&e))?,
        };
        let person = self.person();
        let names = |s: &Seen, element: &str, wanted: &str| {
            s.stored.reference(element).is_some_and(|r| same_resource(&r, wanted))
        };
        Ok(seen
            .into_iter()
            .filter(|s| names(s, "study", study) && names(s, person, patient))
            .filter(|s| !s.stored.has_identifier(target.system, target.value))
            .map(|s| s.id)
            .collect())
    }
}

/// Numeric ids by value, others by their text, so that all writers keep the same one of two.
pub(super) fn id_order(id: &str) -> (bool, usize, &str) {
    let numeric = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    let significant = if numeric { id.trim_start_matches('0') } else { id };
    (!numeric, if numeric { significant.len() } else { 0 }, significant)
}

/// A search token `system|value`.
// # Source
// > "$", ",", "|" ... in the actual value of a parameter ... must be prepended by a "\"
// > https://hl7.org/fhir/R4/search.html#escaping
pub(super) fn token(system: &str, value: &str) -> String {
    let escape = |text: &str| {
        text.chars().fold(String::new(), |mut escaped, c| {
            if matches!(c, '\\' | '$' | ',' | '|') {
                escaped.push('\\');
            }
            escaped.push(c);
            escaped
        })
    };
    format!("{}|{}", escape(system), escape(value))
}

/// The header `If-None-Exist`: a search query, percent-encoded. `:` and `/` may stand in a query as
/// they are.
pub(super) fn if_none_exist(target: &Target<'_>) -> String {
    let mut query = String::from("identifier=");
    for byte in token(target.system, target.value).bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            query.push(char::from(byte));
        } else {
            query.push_str(&format!("%{byte:02X}"));
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(value: &str) -> Target<'_> {
        Target {
            resource_type: "ResearchSubject",
            system: "urn:trialbridge:subject",
            value,
            study: None,
            patient: None,
            code: None,
        }
    }

    #[test]
    fn the_header_is_an_encoded_query() {
        let table = [
            ("S-0001", "identifier=urn:trialbridge:subject%7CS-0001"),
            ("a/b~c", "identifier=urn:trialbridge:subject%7Ca/b~c"),
            ("a b+c&d=e", "identifier=urn:trialbridge:subject%7Ca%20b%2Bc%26d%3De"),
            ("a|b,c", "identifier=urn:trialbridge:subject%7Ca%5C%7Cb%5C%2Cc"),
            ("\r\nX: y", "identifier=urn:trialbridge:subject%7C%0D%0AX:%20y"),
            ("\u{e9}", "identifier=urn:trialbridge:subject%7C%C3%A9"),
        ];
        for (value, header) in table {
            assert_eq!(if_none_exist(&target(value)), header);
        }
    }

    #[test]
    fn the_lowest_id_is_the_same_for_everybody() {
        let mut ids = ["10", "9", "b", "a2", "007", "a10"];
        ids.sort_by(|a, b| id_order(a).cmp(&id_order(b)));
        assert_eq!(ids, ["007", "9", "10", "a10", "a2", "b"]);
    }
}
