//! From a cohort to the ids of its patients. The patients themselves are stored on the way.

use super::cohort::{Cohort, member_references};
use super::patient::{IDS_PER_SEARCH, fetch_by_id, ids_in};
use super::report::Fatal;
use super::run::Run;
use crate::client::is_plain_segment;
use crate::client::server::ServerError;
use std::collections::BTreeSet;

impl Run<'_> {
    /// The ids, sorted, each once.
    ///
    /// An error of the server ends the pull: with half a cohort nobody can tell who is missing.
    pub(super) async fn resolve(&mut self, cohort: &Cohort) -> Result<Vec<String>, Fatal> {
        match cohort {
            Cohort::All => self.search(Vec::new(), "Patient").await,
            Cohort::Search(query) => self.search(Cohort::search_params(query), "Patient?…").await,
            Cohort::Group(id) => {
                let ids = self.members("Group", id).await?;
                self.by_id(&ids).await
            }
            Cohort::List(id) => {
                let ids = self.members("List", id).await?;
                self.by_id(&ids).await
            }
            Cohort::Ids(ids) => self.by_id(ids).await,
            Cohort::IdsFile(_) => Err(Fatal::Cohort("the id file was not read".into())),
        }
    }

    async fn search(&mut self, asked: Vec<(String, String)>, place: &str) -> Result<Vec<String>, Fatal> {
        let mut ids = BTreeSet::new();
        // A wrong total is looked at twice before it is believed.
        for attempt in [1, 2] {
            let mut again = false;
            let mut pages = match asked.iter().all(|(name, _)| names_nobody(name)) {
                true if !asked.is_empty() => self.client.search_pages_in_url("Patient", asked.clone()),
                _ => self.client.search_pages("Patient", asked.clone()),
            };
            let (mut total, mut matches) = (None, 0);
            loop {
                let page = match pages.next().await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    Err(ServerError::Status { status: 410, .. }) if attempt == 1 => {
                        // The server has forgotten the search whose next page was asked for.
                        again = true;
                        break;
                    }
                    Err(error) => return Err(Fatal::Server(error)),
                };
                total = if page.number == 1 { page.total } else { total };
                matches += page.matches as u64;
                self.store("Patient", None, &page.bytes)?;
                ids.extend(ids_in(&page.bytes, "Patient"));
                for warning in page.warnings {
                    if warning.code != "total-mismatch" {
                        self.report.warn(warning.code, place, warning.text);
                        continue;
                    }
                    again = true;
                    if attempt == 2 {
                        self.report.warn(
                            "total-mismatch",
                            place,
                            format!("{}, also when asked again", warning.text),
                        );
                        if total.is_some_and(|t| t > matches) {
                            self.report.incomplete.push(place.to_owned());
                        }
                    }
                }
            }
            if attempt == 1 && !asked.is_empty() && !pages.proven() {
                let text = "the server does not repeat the search, so it cannot be seen whether it used it";
                self.report.warn("search-unproven", place, text);
            }
            if !again {
                break;
            }
        }
        let all = ids.len();
        ids.retain(|id| is_plain_segment(id));
        if ids.len() < all {
            self.report.warn(
                "patient-id-unusable",
                place,
                format!("{} ids are no FHIR ids", all - ids.len()),
            );
            self.report.incomplete.push(place.to_owned());
        }
        Ok(ids.into_iter().collect())
    }

    async fn members(&mut self, resource_type: &str, id: &str) -> Result<Vec<String>, Fatal> {
        let place = match resource_type {
            "Group" => "Group.member.entity",
            _ => "List.entry.item",
        };
        let found = self.client.read_strict(resource_type, id).await.map_err(Fatal::Server)?;
        let references = member_references(&found.body, resource_type)
            .ok_or_else(|| Fatal::Cohort(format!("pull.cohort: {place} cannot be read")))?;
        let mut ids = Vec::new();
        for reference in references {
            match reference.and_then(|r| self.client.id_in(&r, "Patient")) {
                Some(id) => ids.push(id),
                None => {
                    let text = "a member that is no Patient of this server is left out";
                    self.report.warn("member-unusable", place, text);
                }
            }
        }
        Ok(ids)
    }

    async fn by_id(&mut self, ids: &[String]) -> Result<Vec<String>, Fatal> {
        let unique: Vec<String> = ids.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let mut present = BTreeSet::new();
        for some in unique.chunks(IDS_PER_SEARCH) {
            let fetched = fetch_by_id(self.client, "Patient", some).await.map_err(Fatal::Server)?;
            for page in &fetched.pages {
                self.store("Patient", None, page)?;
            }
            for (id, status) in &fetched.absent {
                let n = ids.iter().position(|i| i == id).map_or(0, |n| n + 1);
                let place = format!("patient {n} of the cohort");
                match status {
                    410 => self.report.warn("gone", &place, "deleted at the source; what was stored stays"),
                    _ => self.report.warn("not-found", &place, "the server has no Patient of this id"),
                }
            }
            // A page may hold more than was asked for; the cohort does not grow by it.
            present.extend(some.iter().filter(|id| fetched.present.contains(*id)).cloned());
        }
        Ok(present.into_iter().collect())
    }
}

/// Parameters whose values describe a group and never a person, so that they may stand in a URL.
fn names_nobody(name: &str) -> bool {
    let base = name.split([':', '.']).next().unwrap_or(name);
    matches!(
        base,
        "_has"
            | "_tag"
            | "_security"
            | "_profile"
            | "_count"
            | "active"
            | "deceased"
            | "gender"
            | "organization"
    ) && !name.ends_with(":identifier")
}
