//! Score Observations, and the Provenance of what was written.

use super::Run;
use super::failure::{failed, is_unknown, is_unsearchable, outcome, retry};
use super::look::{Seen, Target};
use crate::client::server::FhirServer;
use crate::sink::provenance::{self, Origin};
use crate::sink::release;
use crate::sink::report::{Line, Outcome, ParticipantReport};
use crate::sink::score_observation::{self, SYSTEM};
use crate::sink::stored::same_resource;
use crate::sink::wanted::{ParticipantWanted, ScoreWanted};

const TYPE: &str = "Observation";
const PROVENANCE: &str = "Provenance";
const DUPLICATE: &str = "duplicate-observation";

fn line(resource_type: &'static str, key: &str) -> Line {
    Line { resource_type, key: key.to_owned(), id: None, outcome: Outcome::Unchanged, notices: Vec::new() }
}

fn target<'a>(identifier: &'a str, patient: &'a str, name: Option<&str>) -> Target<'a> {
    Target {
        resource_type: TYPE,
        system: SYSTEM,
        value: identifier,
        study: None,
        patient: Some(patient),
        code: name.map(|name| super::look::token(SYSTEM, name)),
    }
}

impl<S: FhirServer> Run<'_, S> {
    pub(super) async fn scores(&mut self, wanted: &ParticipantWanted, report: &mut ParticipantReport) {
        for score in &wanted.scores {
            let identifier = score_observation::identifier(&wanted.key, score);
            let mut line = line(TYPE, &identifier);
            if let Err(outcome) = self.score(wanted, score, &identifier, &mut line).await {
                line.outcome = outcome;
            }
            if let Some(id) = line.id.clone().filter(|_| line.outcome.is_settled()) {
                let target = format!("{TYPE}/{id}");
                let provenance = self.provenance(&target, wanted, &identifier, &score.inputs).await;
                report.provenances.push(provenance);
            } else if self.dry_run && line.outcome == Outcome::Created {
                report.provenances.push(self.would_be(&identifier));
            }
            report.scores.push(line);
        }
        for identifier in &wanted.retracted_scores {
            let mut line = line(TYPE, identifier);
            if let Err(outcome) = self.retract(wanted, identifier, &mut line).await {
                line.outcome = outcome;
            }
            report.scores.push(line);
        }
    }

    async fn score(
        &mut self,
        wanted: &ParticipantWanted,
        score: &ScoreWanted,
        identifier: &str,
        line: &mut Line,
    ) -> Result<(), Outcome> {
        let body = score_observation::build(&wanted.key, &wanted.patient, score);
        if let Err(invalid) = release::check(self.release, &body) {
            line.notices.push(invalid.0);
            return Err(failed("invalid"));
        }
        let target = target(identifier, &wanted.patient, Some(&score.name));
        let mut seen = self.look(&target).await?;
        if seen.len() > 1 {
            return Err(self.duplicates(&target, DUPLICATE, &seen));
        }
        if let Some(found) = seen.pop() {
            if !self.dry_run {
                self.known.set(TYPE, identifier, &found.id);
            }
            line.id = Some(found.id);
            // The same inputs give the same score: there is nothing to bring up to date. One that the
            // hospital has marked is left as marked.
            if found.stored.text("status").as_deref() == Some("entered-in-error") {
                line.notices.push("entered-in-error-at-hospital".to_owned());
            }
            return Ok(());
        }
        if self.dry_run {
            line.outcome = Outcome::Created;
            return Ok(());
        }
        let created = self.create(&target, DUPLICATE, &body).await?;
        line.id = Some(created.seen.id.clone());
        line.outcome = match self.read(TYPE, &created.seen.id).await? {
            None => retry("vanished"),
            Some(back) => match first_dropped(&back, &body) {
                None => Outcome::Created,
                Some(element) => {
                    line.notices.push(format!("dropped:{element}"));
                    failed("field-dropped")
                }
            },
        };
        Ok(())
    }

    async fn retract(
        &mut self,
        wanted: &ParticipantWanted,
        identifier: &str,
        line: &mut Line,
    ) -> Result<(), Outcome> {
        let target = target(identifier, &wanted.patient, None);
        let mut seen = self.look(&target).await?;
        if seen.len() > 1 {
            return Err(self.duplicates(&target, DUPLICATE, &seen));
        }
        // Never written, or gone: nothing to take back.
        let Some(found) = seen.pop() else { return Ok(()) };
        line.id = Some(found.id.clone());
        self.bring_up_to_date(TYPE, &found.id, &score_observation::retract, line).await;
        Ok(())
    }

    /// The Provenance of the participant's present state.
    pub(super) async fn subject_provenance(
        &mut self,
        wanted: &ParticipantWanted,
        report: &mut ParticipantReport,
    ) {
        if wanted.evidence.is_empty() || !report.subject.outcome.is_settled() {
            return;
        }
        let decision = format!("{}/{}/{}", wanted.key, wanted.state.code(), wanted.since);
        let line = match &report.subject.id {
            Some(id) => {
                let target = format!("ResearchSubject/{id}");
                self.provenance(&target, wanted, &decision, &wanted.evidence).await
            }
            None => self.would_be(&decision),
        };
        report.provenances.push(line);
    }

    fn would_be(&self, decision: &str) -> Line {
        Line { outcome: Outcome::Created, ..line(PROVENANCE, decision) }
    }

    /// Written once a decision. A Provenance has no identifier: the known id says that it is there, and
    /// where none is known the target's Provenances are looked through for the decision's.
    async fn provenance(
        &mut self,
        target: &str,
        wanted: &ParticipantWanted,
        decision: &str,
        inputs: &[String],
    ) -> Line {
        let mut line = line(PROVENANCE, decision);
        if let Err(outcome) = self.write_provenance(target, wanted, decision, inputs, &mut line).await {
            line.outcome = outcome;
        }
        line
    }

    async fn write_provenance(
        &mut self,
        target: &str,
        wanted: &ParticipantWanted,
        decision: &str,
        inputs: &[String],
        line: &mut Line,
    ) -> Result<(), Outcome> {
        if let Some(id) = self.known.get(PROVENANCE, decision) {
            line.id = Some(id);
            return Ok(());
        }
        if let Some(id) = self.find_provenance(target, decision).await? {
            if !self.dry_run {
                self.known.set(PROVENANCE, decision, &id);
            }
            line.id = Some(id);
            return Ok(());
        }
        let body = provenance::build(
            self.release,
            &Origin {
                target,
                patient: &wanted.patient,
                recorded: self.wanted.recorded,
                decision,
                inputs,
                definition_hash: &self.wanted.definition_hash,
                software: super::SOFTWARE,
            },
        );
        if let Err(invalid) = release::check(self.release, &body) {
            line.notices.push(invalid.0);
            return Err(failed("invalid"));
        }
        line.outcome = Outcome::Created;
        if self.dry_run {
            return Ok(());
        }
        let id = match self.post(PROVENANCE, &body, None).await {
            Ok(written) => match written.id {
                Some(id) => Some(id),
                None => self.find_provenance(target, decision).await?,
            },
            Err(error) if is_unknown(&error) => match self.find_provenance(target, decision).await? {
                Some(id) => Some(id),
                None => return Err(retry("outcome-unknown")),
            },
            Err(error) => return Err(outcome(&error)),
        };
        if let Some(id) = &id {
            self.known.set(PROVENANCE, decision, id);
        }
        line.id = id;
        Ok(())
    }

    /// `None` too where the server cannot search by target: then only the known id prevents a second
    /// Provenance of one decision, which would say the same twice.
    async fn find_provenance(&mut self, target: &str, decision: &str) -> Result<Option<String>, Outcome> {
        match self.server.search(PROVENANCE, &[("target", target)]).await {
            Ok(found) => Ok(found
                .into_iter()
                .filter_map(Seen::of)
                .find(|s| {
                    let names_it = |t: &serde_json::Value| {
                        t.get("reference").and_then(|r| r.as_str()).is_some_and(|r| same_resource(r, target))
                    };
                    s.stored.items("target").iter().any(names_it) && provenance::is_of(&s.stored, decision)
                })
                .map(|s| s.id)),
            Err(error) if is_unsearchable(&error) => Ok(None),
            Err(error) => Err(outcome(&error)),
        }
    }
}

/// The first element of a score that the server did not keep.
fn first_dropped(back: &Seen, body: &[u8]) -> Option<&'static str> {
    let sent = crate::sink::stored::Stored::parse(body)?;
    let elements = [
        "status",
        "code",
        "subject",
        "effectiveDateTime",
        "valueQuantity",
        "valueRange",
        "derivedFrom",
        "component",
    ];
    elements.into_iter().find(|e| sent.get(e).is_some() && back.stored.get(e).is_none())
}
