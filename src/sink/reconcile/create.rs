//! Creating: once, and verified.

use super::failure::{human, is_unknown, may_refuse_conditional, outcome, retry, status};
use super::look::{Seen, Target, if_none_exist};
use super::{Run, UNCONFIRMED};
use crate::client::server::{FhirServer, ServerError, Written};
use crate::sink::report::{Outcome, Write};

/// The one resource after a create.
pub(super) struct Created {
    pub seen: Seen,
    /// The server confirmed that this very request made it, so it must hold exactly what was sent.
    pub by_us: bool,
    /// No answer came: what was found afterwards is most likely ours.
    pub unanswered: bool,
    /// The search did not show it although it can be read.
    pub not_found_by_search: bool,
}

/// What a create request led to.
enum Answer {
    /// This request made the resource.
    Ours(Written),
    /// If-None-Exist found another writer's.
    Theirs(Written),
    /// Somebody's resource is there by now, or the request may have had its effect.
    LookAgain(&'static str),
}

impl<S: FhirServer> Run<'_, S> {
    /// Creates a resource that a look has just not found, then looks until there is exactly one.
    ///
    /// | the server | what happens |
    /// |---|---|
    /// | 201 | looked for; two or more: for people |
    /// | 200 to If-None-Exist | another writer was first: its resource is taken |
    /// | 412 to If-None-Exist | several matches: for people, never a third |
    /// | refuses If-None-Exist | looked again, then created without it |
    /// | no answer, 5xx | looked again; if nothing is there the next run decides, this one sends no more |
    pub(super) async fn create(
        &mut self,
        target: &Target<'_>,
        duplicate: &'static str,
        body: &[u8],
    ) -> Result<Created, Outcome> {
        let (written, code_if_absent) = match self.send_create(target, duplicate, body).await? {
            Answer::Ours(written) => (Some((written, true)), "created-not-found"),
            Answer::Theirs(written) => (Some((written, false)), "created-not-found"),
            Answer::LookAgain(code) => (None, code),
        };
        let unanswered = written.is_none();
        let by_us = written.as_ref().is_some_and(|(_, by_us)| *by_us);
        let written_id = written.and_then(|(w, _)| w.id);
        if let Some(id) = written_id.as_deref().filter(|_| by_us) {
            // Before anything else can fail: from now on this id is never created again.
            self.known.set(target.resource_type, target.value, id);
        }
        let mut seen = self.look(target).await?;
        let mut not_found_by_search = false;
        if let Some(id) = written_id.filter(|id| !seen.iter().any(|s| s.id == *id)) {
            // Ours is not among them: the index lags, or another writer's was shown instead.
            if let Some(ours) = self.read(target.resource_type, &id).await? {
                if !ours.stored.has_identifier(target.system, target.value) {
                    return Err(human("identifier-dropped", vec![id]));
                }
                not_found_by_search = seen.is_empty();
                seen.push(ours);
                seen.sort_by(|a, b| super::look::id_order(&a.id).cmp(&super::look::id_order(&b.id)));
            }
        }
        match seen.len() {
            0 if by_us => {
                self.known.set(target.resource_type, target.value, UNCONFIRMED);
                Err(human("creation-unconfirmed", Vec::new()))
            }
            0 => Err(retry(code_if_absent)),
            1 => {
                let seen = seen.remove(0);
                self.known.set(target.resource_type, target.value, &seen.id);
                Ok(Created { seen, by_us, unanswered, not_found_by_search })
            }
            _ => Err(self.duplicates(target, duplicate, &seen)),
        }
    }

    /// Several resources for one key: the lowest id is the one that we keep to, and people are told of
    /// all. None is deleted here.
    pub(super) fn duplicates(&self, target: &Target<'_>, code: &'static str, seen: &[Seen]) -> Outcome {
        if let Some(lowest) = seen.first().filter(|_| !self.dry_run) {
            self.known.set(target.resource_type, target.value, &lowest.id);
        }
        human(code, seen.iter().map(|s| s.id.clone()).collect())
    }

    async fn send_create(
        &mut self,
        target: &Target<'_>,
        duplicate: &'static str,
        body: &[u8],
    ) -> Result<Answer, Outcome> {
        if self.conditional {
            let header = if_none_exist(target);
            match self.post(target.resource_type, body, Some(&header)).await {
                Ok(written) if written.status == 200 => return Ok(Answer::Theirs(written)),
                Ok(written) => return Ok(Answer::Ours(written)),
                Err(error) if status(&error) == Some(412) => {
                    let ids = self.look(target).await?.into_iter().map(|s| s.id).collect();
                    return Err(human(duplicate, ids));
                }
                Err(error) if may_refuse_conditional(&error) => {
                    if !self.look(target).await?.is_empty() {
                        return Ok(Answer::LookAgain("outcome-unknown"));
                    }
                    // Kept only if the plain create succeeds: the refusal may be of the resource.
                    let plain = self.send_plain(target.resource_type, body).await?;
                    self.conditional = false;
                    return Ok(plain);
                }
                Err(error) if is_unknown(&error) => return Ok(Answer::LookAgain("outcome-unknown")),
                Err(error) => return Err(outcome(&error)),
            }
        }
        self.send_plain(target.resource_type, body).await
    }

    async fn send_plain(&mut self, resource_type: &'static str, body: &[u8]) -> Result<Answer, Outcome> {
        match self.post(resource_type, body, None).await {
            Ok(written) => Ok(Answer::Ours(written)),
            Err(error) if is_unknown(&error) => Ok(Answer::LookAgain("outcome-unknown")),
            Err(error) => Err(outcome(&error)),
        }
    }

    /// POST, noted in the report. Every listing is stale afterwards, whatever the answer.
    pub(super) async fn post(
        &mut self,
        resource_type: &'static str,
        body: &[u8],
        if_none_exist: Option<&str>,
    ) -> Result<Written, ServerError> {
        let answer = self.server.create(resource_type, body, if_none_exist).await;
        self.listings.clear();
        let (id, status) = match &answer {
            Ok(written) => (written.id.clone(), Some(written.status)),
            Err(error) => (None, status(error)),
        };
        self.writes.push(Write { method: "POST", resource_type, id, status });
        answer
    }
}
