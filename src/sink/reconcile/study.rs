//! The ResearchStudy comes first: every ResearchSubject names it.

use super::Run;
use super::failure::failed;
use super::look::Target;
use crate::client::server::FhirServer;
use crate::sink::release;
use crate::sink::report::{Line, Outcome};
use crate::sink::stored::Stored;
use crate::sink::study;

const TYPE: &str = "ResearchStudy";
const DUPLICATE: &str = "duplicate-research-study";

/// The study as it stands on the server.
pub(super) struct Place {
    /// `ResearchStudy/x`; `None` in a dry run on a server that has none yet.
    pub reference: Option<String>,
    pub stored: Stored,
}

impl<S: FhirServer> Run<'_, S> {
    /// Finds or creates the study. Without a [`Place`] no participant can be written.
    pub(super) async fn study(&mut self) -> (Line, Option<Place>) {
        let wanted = &self.wanted.study;
        let mut line = Line {
            resource_type: TYPE,
            key: wanted.identifier.value.clone(),
            id: None,
            outcome: Outcome::Unchanged,
            notices: Vec::new(),
        };
        let place = self.find_or_create_study(&mut line).await.unwrap_or_else(|outcome| {
            line.outcome = outcome;
            None
        });
        (line, place)
    }

    async fn find_or_create_study(&mut self, line: &mut Line) -> Result<Option<Place>, Outcome> {
        let wanted = &self.wanted.study;
        let target = Target {
            resource_type: TYPE,
            system: &wanted.identifier.system,
            value: &wanted.identifier.value,
            study: None,
            patient: None,
            code: None,
        };
        let body = study::build(self.release, wanted);
        if let Err(invalid) = release::check(self.release, &body) {
            line.notices.push(invalid.0);
            return Err(failed("invalid"));
        }
        let release = self.release;
        let merge = |stored: &Stored| study::merge(release, stored, wanted);
        let mut seen = self.look(&target).await?;
        if seen.len() > 1 {
            return Err(self.duplicates(&target, DUPLICATE, &seen));
        }
        let (found, by_us, unanswered) = match seen.pop() {
            Some(found) => {
                if !self.dry_run {
                    self.known.set(TYPE, &wanted.identifier.value, &found.id);
                }
                (found, false, false)
            }
            None if self.dry_run => {
                line.outcome = Outcome::Created;
                return Ok(Stored::parse(&body).map(|stored| Place { reference: None, stored }));
            }
            None => {
                let created = self.create(&target, DUPLICATE, &body).await?;
                (created.seen, created.by_us, created.unanswered)
            }
        };
        line.id = Some(found.id.clone());
        if by_us {
            self.verify_created(TYPE, &found.id, &merge, line).await;
        } else {
            self.bring_up_to_date(TYPE, &found.id, &merge, line).await;
            if unanswered && line.outcome == Outcome::Unchanged {
                line.outcome = Outcome::Created;
            }
        }
        // Participants whose arm is not written can be settled even if the arms are in question.
        let usable = match &line.outcome {
            Outcome::NeedsHuman { code, .. } => *code == "study-arms-differ",
            outcome => outcome.is_settled(),
        };
        if !usable {
            return Ok(None);
        }
        let stored = if self.dry_run {
            merge(&found.stored).merged
        } else {
            match self.read(TYPE, &found.id).await? {
                Some(now) => now.stored,
                None => return Ok(None),
            }
        };
        Ok(Some(Place { reference: Some(format!("{TYPE}/{}", found.id)), stored }))
    }
}
