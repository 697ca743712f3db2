//! Updating: read, merge, write with the version that was read, read back.

use super::Run;
use super::failure::{failed, human, is_unknown, outcome, retry, status};
use crate::client::server::FhirServer;
use crate::sink::release;
use crate::sink::report::{Line, Outcome, Write};
use crate::sink::stored::{Merge, Stored};

/// How often a lost race is run again before the next run takes over.
const ATTEMPTS: usize = 4;

impl<S: FhirServer> Run<'_, S> {
    /// Brings one stored resource up to date and fills the line's outcome and notices.
    pub(super) async fn bring_up_to_date(
        &mut self,
        resource_type: &'static str,
        id: &str,
        merge: &(dyn Fn(&Stored) -> Merge + Sync),
        line: &mut Line,
    ) {
        line.outcome = match self.update(resource_type, id, merge, line).await {
            Ok(outcome) | Err(outcome) => outcome,
        };
    }

    async fn update(
        &mut self,
        resource_type: &'static str,
        id: &str,
        merge: &(dyn Fn(&Stored) -> Merge + Sync),
        line: &mut Line,
    ) -> Result<Outcome, Outcome> {
        let mut wrote = false;
        for _ in 0..ATTEMPTS {
            let Some(seen) = self.read(resource_type, id).await? else {
                return Ok(retry("vanished"));
            };
            let plan = merge(&seen.stored);
            note(line, &plan);
            if let Some(code) = plan.stop {
                return Ok(human(code, vec![id.to_owned()]));
            }
            if plan.changed.is_empty() {
                let settled = if wrote { Outcome::Updated } else { Outcome::Unchanged };
                return Ok(unless_human(&plan, id, settled));
            }
            let body = plan.merged.to_bytes();
            if let Err(invalid) = release::check(self.release, &body) {
                // Only what we set can be our fault: a resource that was already outside the model,
                // by another author's hand, is not held back for it.
                if release::check(self.release, &seen.stored.to_bytes()).is_ok() {
                    line.notices.push(invalid.0);
                    return Ok(failed("invalid"));
                }
            }
            if self.dry_run {
                return Ok(unless_human(&plan, id, Outcome::Updated));
            }
            let answer = self.server.update(resource_type, id, &body, seen.etag.as_deref()).await;
            let answered = match &answer {
                Ok(written) => Some(written.status),
                Err(error) => status(error),
            };
            self.writes.push(Write {
                method: "PUT",
                resource_type,
                id: Some(id.to_owned()),
                status: answered,
            });
            match answer {
                Ok(_) => {
                    let Some(back) = self.read(resource_type, id).await? else {
                        return Ok(retry("vanished"));
                    };
                    let rest = merge(&back.stored);
                    if rest.changed.is_empty() {
                        return Ok(unless_human(&rest, id, Outcome::Updated));
                    }
                    if plan.changed.iter().any(|c| rest.changed.contains(c)) {
                        return Ok(dropped(line, &rest));
                    }
                    // Another author changed something else of ours meanwhile: once more.
                    wrote = true;
                }
                // # Source
                // > 412 Precondition Failed (version conflict); servers may also return 409
                // > https://hl7.org/fhir/R4/http.html#concurrency
                Err(error) if matches!(status(&error), Some(409 | 412)) => {}
                Err(error) if is_unknown(&error) => {
                    let Some(back) = self.read(resource_type, id).await? else {
                        return Ok(retry("vanished"));
                    };
                    let rest = merge(&back.stored);
                    let settled = if rest.changed.is_empty() {
                        unless_human(&rest, id, Outcome::Updated)
                    } else {
                        retry("outcome-unknown")
                    };
                    return Ok(settled);
                }
                Err(error) => return Ok(outcome(&error)),
            }
        }
        Ok(retry("version-conflict"))
    }

    /// Reads back what we have just created: every element that we sent must be there.
    pub(super) async fn verify_created(
        &mut self,
        resource_type: &'static str,
        id: &str,
        merge: &(dyn Fn(&Stored) -> Merge + Sync),
        line: &mut Line,
    ) {
        line.outcome = match self.read(resource_type, id).await {
            Err(outcome) => outcome,
            Ok(None) => retry("vanished"),
            Ok(Some(back)) => {
                let rest = merge(&back.stored);
                if let Some(code) = rest.stop {
                    human(code, vec![id.to_owned()])
                } else if rest.changed.is_empty() {
                    unless_human(&rest, id, Outcome::Created)
                } else {
                    dropped(line, &rest)
                }
            }
        };
    }
}

fn note(line: &mut Line, plan: &Merge) {
    for notice in &plan.notices {
        if !line.notices.iter().any(|n| n == notice) {
            line.notices.push((*notice).to_owned());
        }
    }
}

/// The server answered with success and does not keep an element.
fn dropped(line: &mut Line, rest: &Merge) -> Outcome {
    line.notices.extend(rest.changed.iter().map(|element| format!("dropped:{element}")));
    failed("field-dropped")
}

fn unless_human(plan: &Merge, id: &str, settled: Outcome) -> Outcome {
    match plan.human {
        Some(code) => human(code, vec![id.to_owned()]),
        None => settled,
    }
}
