//! One participant: the ResearchSubject, then its scores.

use super::Run;
use super::failure::{failed, human};
use super::look::Target;
use super::study::Place;
use crate::client::server::FhirServer;
use crate::sink::release;
use crate::sink::report::{Line, Outcome, ParticipantReport};
use crate::sink::stored::Stored;
use crate::sink::study::arm_reference;
use crate::sink::subject::{self, IDENTIFIER_SYSTEM, Subject};
use crate::sink::wanted::{AssignedArm, ParticipantWanted};

const TYPE: &str = "ResearchSubject";
const DUPLICATE: &str = "duplicate-research-subject";
/// Stands for the study in a dry run that would first create it. Never sent.
const NOT_YET: &str = "ResearchStudy/not-yet-created";

impl<S: FhirServer> Run<'_, S> {
    pub(super) async fn participant(
        &mut self,
        wanted: &ParticipantWanted,
        place: Option<&Place>,
    ) -> ParticipantReport {
        let mut report = ParticipantReport {
            key: wanted.key.clone(),
            subject: Line {
                resource_type: TYPE,
                key: wanted.key.clone(),
                id: None,
                outcome: Outcome::Unchanged,
                notices: Vec::new(),
            },
            scores: Vec::new(),
            provenances: Vec::new(),
        };
        if let Err(outcome) = self.subject(wanted, place, &mut report.subject).await {
            report.subject.outcome = outcome;
        }
        self.scores(wanted, &mut report).await;
        self.subject_provenance(wanted, &mut report).await;
        report
    }

    async fn subject(
        &mut self,
        wanted: &ParticipantWanted,
        place: Option<&Place>,
        line: &mut Line,
    ) -> Result<(), Outcome> {
        let Some(place) = place else { return Err(failed("study-unsettled")) };
        let study = place.reference.as_deref().unwrap_or(NOT_YET);
        let release = self.release;
        let arm = match &wanted.arm {
            None | Some(AssignedArm::Withheld) => None,
            Some(AssignedArm::Code(code)) => Some(code.clone()),
            Some(AssignedArm::Name(name)) => match arm_reference(release, &place.stored, name) {
                Some(arm) => Some(arm),
                None => return Err(human("study-arms-differ", Vec::new())),
            },
        };
        let wanted_subject = Subject {
            key: &wanted.key,
            study,
            patient: &wanted.patient,
            state: wanted.state,
            since: wanted.since,
            arm: arm.as_deref(),
            consent: wanted.consent.as_deref(),
        };
        let body = subject::build(release, &wanted_subject);
        if let Err(invalid) = release::check(release, &body) {
            line.notices.push(invalid.0);
            return Err(failed("invalid"));
        }
        let merge = |stored: &Stored| subject::merge(release, stored, &wanted_subject);
        let target = Target {
            resource_type: TYPE,
            system: IDENTIFIER_SYSTEM,
            value: &wanted.key,
            study: place.reference.as_deref(),
            patient: Some(&wanted.patient),
            code: None,
        };
        let mut seen = self.look(&target).await?;
        if seen.len() > 1 {
            return Err(self.duplicates(&target, DUPLICATE, &seen));
        }
        if let Some(found) = seen.pop() {
            line.id = Some(found.id.clone());
            if !self.dry_run {
                self.known.set(TYPE, &wanted.key, &found.id);
            }
            self.bring_up_to_date(TYPE, &found.id, &merge, line).await;
            return Ok(());
        }
        let foreign = self.foreign_subjects(&target).await?;
        if !foreign.is_empty() {
            return Err(human("foreign-research-subject", foreign));
        }
        if self.known.get(TYPE, &wanted.key).is_some() {
            line.notices.push("recreated".to_owned());
        }
        if self.dry_run {
            line.outcome = Outcome::Created;
            return Ok(());
        }
        let created = self.create(&target, DUPLICATE, &body).await?;
        line.id = Some(created.seen.id.clone());
        if created.not_found_by_search {
            line.notices.push("not-found-by-search".to_owned());
        }
        if created.by_us {
            self.verify_created(TYPE, &created.seen.id, &merge, line).await;
        } else {
            self.bring_up_to_date(TYPE, &created.seen.id, &merge, line).await;
            if created.unanswered && line.outcome == Outcome::Unchanged {
                line.outcome = Outcome::Created;
            }
        }
        Ok(())
    }
}
