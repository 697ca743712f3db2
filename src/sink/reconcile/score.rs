//! Score Observations, and the Provenance of what was written.

use super::Run;
use super::failure::{failed, is_unknown, is_unsearchable, outcome, retry};
use super::look::{Seen, Target};
use crate::client::server::FhirServer;
use crate::sink::provenance::{self, Activity, Origin};
use crate::sink::release;
use crate::sink::report::{Line, Outcome, ParticipantReport};
use crate::sink::score_observation::{self, SYSTEM};
use crate::sink::stored::{Stored, same_resource};
use crate::sink::wanted::{ParticipantWanted, ScoreWanted};

const TYPE: &str = "Observation";
const PROVENANCE: &str = "Provenance";
const DUPLICATE: &str = "duplicate-observation";

/// What was done to something that we wrote, and on what grounds.
struct Act<'a> {
    /// `Type/id`.
    target: String,
    activity: Activity,
    decision: &'a str,
    inputs: &'a [String],
}

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
            let is_corrected = match self.score(wanted, score, &identifier, &mut line).await {
                Ok(is_corrected) => is_corrected,
                Err(outcome) => {
                    line.outcome = outcome;
                    false
                }
            };
            let decision = match &score.revised {
                Some(now) => score_observation::revision(&identifier, now),
                None => identifier,
            };
            // A score that came out the same on corrected inputs stands as it was written.
            let is_told = score.revised.is_none() || is_corrected || line.outcome == Outcome::Created;
            if let Some(id) = line.id.clone().filter(|_| line.outcome.is_settled() && is_told) {
                let act = Act {
                    target: format!("{TYPE}/{id}"),
                    activity: if is_corrected { Activity::Update } else { Activity::Create },
                    decision: &decision,
                    inputs: &score.inputs,
                };
                report.provenances.push(self.provenance(wanted, act).await);
            } else if self.dry_run && line.outcome == Outcome::Created {
                report.provenances.push(self.would_be(&decision));
            }
            report.scores.push(line);
        }
        for score in &wanted.retracted_scores {
            let mut line = line(TYPE, &score.identifier);
            if let Err(outcome) = self.retract(wanted, &score.identifier, &mut line).await {
                line.outcome = outcome;
            }
            if let Some(id) = line.id.clone().filter(|_| line.outcome.is_settled()) {
                let act = Act {
                    target: format!("{TYPE}/{id}"),
                    activity: Activity::Nullify,
                    decision: &score_observation::retraction(&score.identifier),
                    inputs: &score.inputs,
                };
                report.provenances.push(self.provenance(wanted, act).await);
            }
            report.scores.push(line);
        }
    }

    /// Returns whether the Observation is a correction of what was written first.
    async fn score(
        &mut self,
        wanted: &ParticipantWanted,
        score: &ScoreWanted,
        identifier: &str,
        line: &mut Line,
    ) -> Result<bool, Outcome> {
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
            line.id = Some(found.id.clone());
            let status = found.stored.text("status");
            // One that the hospital has marked is left as marked; one that we have taken back may hold
            // again.
            if status.as_deref() == Some("entered-in-error") {
                let target = format!("{TYPE}/{}", found.id);
                let retraction = score_observation::retraction(identifier);
                if score.revised.is_none() || !self.is_told(&target, &retraction).await? {
                    line.notices.push("entered-in-error-at-hospital".to_owned());
                    return Ok(false);
                }
            }
            // The same inputs give the same score: there is nothing to bring up to date.
            let Some(now) = score.revised.as_ref().and_then(|_| Stored::parse(&body)) else {
                return Ok(false);
            };
            let merge = |stored: &Stored| score_observation::revise(stored, &now);
            self.bring_up_to_date(TYPE, &found.id, &merge, line).await;
            return Ok(line.outcome == Outcome::Updated
                || (line.outcome == Outcome::Unchanged && status.as_deref() == Some("corrected")));
        }
        if self.dry_run {
            line.outcome = Outcome::Created;
            return Ok(false);
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
        Ok(false)
    }

    /// Is there a Provenance of this decision about the target?
    async fn is_told(&mut self, target: &str, decision: &str) -> Result<bool, Outcome> {
        if self.known.get(PROVENANCE, decision).is_some() {
            return Ok(true);
        }
        Ok(self.find_provenance(target, decision).await?.is_some())
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
                let act = Act {
                    target: format!("ResearchSubject/{id}"),
                    activity: Activity::Create,
                    decision: &decision,
                    inputs: &wanted.evidence,
                };
                self.provenance(wanted, act).await
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
    async fn provenance(&mut self, wanted: &ParticipantWanted, act: Act<'_>) -> Line {
        let mut line = line(PROVENANCE, act.decision);
        if let Err(outcome) = self.write_provenance(wanted, &act, &mut line).await {
            line.outcome = outcome;
        }
        line
    }

    async fn write_provenance(
        &mut self,
        wanted: &ParticipantWanted,
        act: &Act<'_>,
        line: &mut Line,
    ) -> Result<(), Outcome> {
        let (target, decision) = (act.target.as_str(), act.decision);
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
                activity: act.activity,
                target,
                patient: &wanted.patient,
                recorded: self.wanted.recorded,
                decision,
                inputs: act.inputs,
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
    let sent = Stored::parse(body)?;
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
