//! Who is who: which records are of one person, and what keeps the software from saying so.
//!
//! A subject that is only known by an identifier (the patient of an HL7 v2 message, a logical
//! reference) belongs to the one Patient that carries the identifier. Nothing else is put together by
//! itself: a merge, a link, or an identifier on two Patients is a question to a person, and until it
//! is answered nobody concerned can be eligible. A pure function of what is held, so that the order in
//! which it came cannot matter.

use crate::fact::{Person, Sex};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a record says about two subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LinkKind {
    /// The first was merged into the second.
    ReplacedBy,
    /// Two records of one person, both in use.
    SeeAlso,
    /// A named person ruled: the second belongs to the first.
    Same,
    /// A named person ruled: these are two persons.
    Different,
}

/// An identifier of a person. Its `Debug` does not show the number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonIdentifier {
    pub system: String,
    pub value: String,
}

impl fmt::Debug for PersonIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersonIdentifier").field("system", &self.system).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonLink {
    pub kind: LinkKind,
    pub subject: String,
    pub other: String,
}

/// What one version of a resource says about who is who.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Of a Patient.
    pub identifiers: Vec<PersonIdentifier>,
    pub links: Vec<PersonLink>,
    /// The record's subject is known by this identifier, and the subject's key stands for it.
    pub alias: Option<PersonIdentifier>,
}

/// One subject of a [`Group`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub subject: String,
    /// A Patient of this id is held, and was not deleted.
    pub has_patient: bool,
    /// The identifier that the subject's key stands for.
    pub alias: Option<PersonIdentifier>,
    /// Identifiers of its Patient.
    pub identifiers: Vec<PersonIdentifier>,
    /// It was randomized: it is judged itself, for good.
    pub is_allocated: bool,
}

/// The subjects that identifiers and links connect with one subject, itself included; ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub members: Vec<Member>,
    pub links: Vec<PersonLink>,
}

/// A question that a person has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// The hospital merged one into the other.
    Merged,
    /// The hospital says that both are records of one person.
    SeeAlso,
    /// Both Patients carry one identifier.
    SharedIdentifier,
    /// Records that are known by an identifier only, which several Patients carry.
    SeveralCarriers,
    /// One person by an identifier or a ruling, and both were randomized: their data stay apart.
    AllocatedElsewhere,
    /// Ruled to be two persons, and put together all the same by what else was ruled.
    RulingsDisagree,
}

impl Why {
    /// All of them.
    pub const ALL: [Why; 6] = [
        Why::Merged,
        Why::SeeAlso,
        Why::SharedIdentifier,
        Why::SeveralCarriers,
        Why::AllocatedElsewhere,
        Why::RulingsDisagree,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Why::Merged => "merged",
            Why::SeeAlso => "see-also",
            Why::SharedIdentifier => "shared-identifier",
            Why::SeveralCarriers => "several-carriers",
            Why::AllocatedElsewhere => "allocated-elsewhere",
            Why::RulingsDisagree => "rulings-disagree",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Open {
    pub why: Why,
    /// The other subject.
    pub with: String,
}

/// How a subject stands in its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Judged itself, on the records of all `members`; nobody concerned by `open` is eligible.
    Itself { members: Vec<String>, open: Vec<Open> },
    /// Its records count for another subject.
    AttachedTo(String),
}

/// How `subject` stands in its group.
pub fn stands(group: &Group, subject: &str) -> Stands {
    let mut units = Units::of(group);
    let root = units.root(subject);
    if root != subject {
        return Stands::AttachedTo(root);
    }
    let mut members: Vec<String> =
        group.members.iter().map(|m| m.subject.clone()).filter(|m| units.root(m) == root).collect();
    if members.is_empty() {
        members.push(subject.to_owned());
    }
    let open = units.open(group, &root);
    Stands::Itself { members, open }
}

/// Subjects put together; the root of each is the one that is judged.
struct Units {
    above: BTreeMap<String, String>,
    /// Aliases whose identifier several Patients carry, with these.
    torn: Vec<(String, Vec<String>)>,
    /// Who was randomized. Invariant: at most one of a unit, and that is its root.
    allocated: BTreeSet<String>,
    /// Would be one, and both were randomized.
    apart: Vec<(String, String)>,
}

impl Units {
    fn of(group: &Group) -> Units {
        let allocated = group.members.iter().filter(|m| m.is_allocated).map(|m| m.subject.clone());
        let mut units = Units {
            above: BTreeMap::new(),
            torn: Vec::new(),
            allocated: allocated.collect(),
            apart: Vec::new(),
        };
        let are_two = |a: &str, b: &str| {
            group.links.iter().any(|l| {
                l.kind == LinkKind::Different
                    && ((l.subject == a && l.other == b) || (l.subject == b && l.other == a))
            })
        };
        for alias in &group.members {
            let Some(key) = &alias.alias else { continue };
            let carriers = |of_aliases: bool| -> Vec<String> {
                group
                    .members
                    .iter()
                    .filter(|m| m.subject != alias.subject && m.has_patient && m.identifiers.contains(key))
                    .filter(|m| m.alias.is_some() == of_aliases && !are_two(&m.subject, &alias.subject))
                    .map(|m| m.subject.clone())
                    .collect()
            };
            let mut found = carriers(false);
            // A record that comes with a Patient of its own is not given to another such record.
            if found.is_empty() && !alias.has_patient {
                found = carriers(true);
            }
            match found.len() {
                0 => {}
                1 => units.join(&alias.subject, &found[0]),
                _ => units.torn.push((alias.subject.clone(), found)),
            }
        }
        for link in group.links.iter().filter(|l| l.kind == LinkKind::Same) {
            units.join(&link.other, &link.subject);
        }
        units
    }

    fn root(&self, subject: &str) -> String {
        let mut at = subject;
        while let Some(above) = self.above.get(at) {
            at = above;
        }
        at.to_owned()
    }

    /// Puts the unit of `lower` below that of `upper`; two that are one already stay so. Whoever was
    /// randomized comes below nobody.
    fn join(&mut self, lower: &str, upper: &str) {
        let (lower, upper) = (self.root(lower), self.root(upper));
        if lower == upper {
            return;
        }
        match (self.allocated.contains(&lower), self.allocated.contains(&upper)) {
            (true, true) => self.apart.push((lower, upper)),
            (true, false) => drop(self.above.insert(upper, lower)),
            (false, _) => drop(self.above.insert(lower, upper)),
        }
    }

    fn open(&mut self, group: &Group, root: &str) -> Vec<Open> {
        let pair = |a: String, b: String| if a < b { (a, b) } else { (b, a) };
        let ruled: BTreeSet<(String, String)> = group
            .links
            .iter()
            .filter(|l| l.kind == LinkKind::Different)
            .map(|l| pair(self.root(&l.subject), self.root(&l.other)))
            .collect();
        let mut open = BTreeSet::new();
        let mut ask = |why: Why, a: String, b: String| {
            if a == b || ruled.contains(&pair(a.clone(), b.clone())) {
                return;
            }
            if a == root {
                open.insert(Open { why, with: b });
            } else if b == root {
                open.insert(Open { why, with: a });
            }
        };
        for link in &group.links {
            match link.kind {
                LinkKind::ReplacedBy => ask(Why::Merged, self.root(&link.subject), self.root(&link.other)),
                LinkKind::SeeAlso => ask(Why::SeeAlso, self.root(&link.subject), self.root(&link.other)),
                LinkKind::Same | LinkKind::Different => {}
            }
        }
        let mut carriers: BTreeMap<&PersonIdentifier, BTreeSet<String>> = BTreeMap::new();
        for member in &group.members {
            for identifier in &member.identifiers {
                carriers.entry(identifier).or_default().insert(self.root(&member.subject));
            }
        }
        for units in carriers.values() {
            for a in units {
                for b in units {
                    ask(Why::SharedIdentifier, a.clone(), b.clone());
                }
            }
        }
        for (a, b) in &self.apart {
            ask(Why::AllocatedElsewhere, self.root(a), self.root(b));
        }
        for (alias, several) in &self.torn {
            let alias = self.root(alias);
            for carrier in several {
                ask(Why::SeveralCarriers, alias.clone(), self.root(carrier));
            }
        }
        for link in group.links.iter().filter(|l| l.kind == LinkKind::Different && l.subject != l.other) {
            if self.root(&link.subject) == root && self.root(&link.other) == root {
                let with = if link.other == root { &link.subject } else { &link.other };
                open.insert(Open { why: Why::RulingsDisagree, with: with.clone() });
            }
        }
        open.into_iter().collect()
    }
}

/// One Patient out of those of a unit: the root's own first, completed by the others. The flag says
/// that two of them contradict each other about birth or sex.
pub fn one_person(mut persons: Vec<Person>, root: &str) -> (Option<Person>, bool) {
    persons.sort_by_key(|p| (*p.source.reference != *root, p.source.clone()));
    let mut persons = persons.into_iter();
    let Some(mut first) = persons.next() else { return (None, false) };
    let mut disagree = false;
    for other in persons {
        disagree |= is_other_sex(first.sex, other.sex);
        disagree |= matches!((&first.birth, &other.birth), (Some(a), Some(b)) if a != b);
        first.birth = first.birth.or(other.birth);
        first.sex = first.sex.or(other.sex);
        first.deceased = first.deceased.or(other.deceased);
    }
    (Some(first), disagree)
}

fn is_other_sex(a: Option<Sex>, b: Option<Sex>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}

#[cfg(test)]
mod tests;
