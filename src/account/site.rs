//! Which hospital a subject belongs to: the one whose source its records came from.
//!
//! Pure. Whoever enrols and treats sees the subjects of the own site alone; those of another one look as if
//! they did not exist.

use crate::access::{self, Role};
use std::collections::{BTreeMap, BTreeSet};

/// The sites of an installation. Without any, there is one, and everybody and everything belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites {
    /// Site by source.
    of: BTreeMap<String, String>,
}

impl Sites {
    pub fn new<'a>(sites: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Sites {
        let of = sites
            .into_iter()
            .flat_map(|(id, sources)| sources.iter().map(move |source| (source.clone(), id.to_owned())))
            .collect();
        Sites { of }
    }

    /// All of them.
    pub fn ids(&self) -> BTreeSet<&str> {
        self.of.values().map(String::as_str).collect()
    }

    /// Does the site decide what this role sees?
    pub fn bind(&self, role: Role) -> bool {
        !self.of.is_empty() && access::is_bound_to_site(role)
    }

    /// The sites of a subject whose records came from these sources. A source of no site, such as what people
    /// recorded here, adds none.
    pub fn of<'s>(&self, sources: impl IntoIterator<Item = &'s str>) -> BTreeSet<&str> {
        sources.into_iter().filter_map(|source| self.of.get(source)).map(String::as_str).collect()
    }

    /// Does somebody of this role and site see a subject whose records came from these sources? Somebody
    /// without a site, or a subject without one, is never matched by chance.
    pub fn shows<'s>(
        &self,
        role: Role,
        site: Option<&str>,
        sources: impl IntoIterator<Item = &'s str>,
    ) -> bool {
        !self.bind(role) || site.is_some_and(|site| self.of(sources).contains(site))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_seen_at_its_own_site() {
        let (north, south) = (["fhir:n".to_owned(), "lab:n".to_owned()], ["fhir:s".to_owned()]);
        let two = Sites::new([("north", &north[..]), ("south", &south[..])]);
        let none = Sites::default();
        use Role::*;
        #[rustfmt::skip]
        let table: &[(&Sites, Role, Option<&str>, &[&str], bool)] = &[
            (&two, Coordinator,   Some("north"), &["fhir:n"],           true),
            (&two, Coordinator,   Some("north"), &["lab:n", "person"],  true),
            (&two, Coordinator,   Some("north"), &["fhir:s"],           false),
            (&two, Investigator,  Some("south"), &["fhir:s"],           true),
            (&two, Investigator,  Some("south"), &["fhir:n", "fhir:s"], true),
            (&two, Investigator,  Some("west"),  &["fhir:n", "fhir:s"], false),
            (&two, Investigator,  None,          &["fhir:n"],           false),
            (&two, Investigator,  Some("north"), &["elsewhere"],        false),
            (&two, Investigator,  Some("north"), &[],                   false),
            (&two, Statistician,  None,          &["fhir:n"],           true),
            (&two, Monitor,       Some("north"), &["fhir:s"],           true),
            (&two, Pharmacist,    None,          &[],                   true),
            (&none, Coordinator,  None,          &["fhir:n"],           true),
            (&none, Investigator, Some("north"), &[],                   true),
        ];
        for (sites, role, site, sources, seen) in table {
            assert_eq!(
                sites.shows(*role, *site, sources.iter().copied()),
                *seen,
                "{role} {site:?} {sources:?}"
            );
        }
        assert_eq!(two.of(["lab:n", "fhir:n", "x"]), BTreeSet::from(["north"]));
        assert_eq!(two.ids(), BTreeSet::from(["north", "south"]));
    }
}
