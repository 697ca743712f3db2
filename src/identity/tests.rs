//! A table of families, and that everybody has one place in any of them.

use super::*;
use proptest::prelude::*;

fn number(value: &str) -> PersonIdentifier {
    PersonIdentifier { system: "urn:mrn".into(), value: value.into() }
}

/// `*` before it: randomized. `p1` a Patient; `id.7` a subject that is known by the number 7 only; `+id.7` with a Patient too.
fn member(text: &str, numbers: &[&str]) -> Member {
    let (is_allocated, text) = (text.starts_with('*'), text.trim_start_matches('*'));
    let name = text.trim_start_matches('+');
    let alias = name.strip_prefix("id.").map(number);
    Member {
        subject: name.to_owned(),
        has_patient: alias.is_none() || text.starts_with('+'),
        alias,
        identifiers: numbers.iter().map(|n| number(n)).collect(),
        is_allocated,
    }
}

fn link(kind: LinkKind, subject: &str, other: &str) -> PersonLink {
    PersonLink { kind, subject: subject.into(), other: other.into() }
}

fn shown(group: &Group, subject: &str) -> String {
    match stands(group, subject) {
        Stands::AttachedTo(to) => format!("-> {to}"),
        Stands::Itself { members, open } => {
            let open: Vec<String> = open.iter().map(|o| format!("{} {}", o.why.code(), o.with)).collect();
            format!("{} | {}", members.join(" "), open.join(", "))
        }
    }
}

#[test]
fn who_belongs_to_whom() {
    use LinkKind::*;
    type Case<'a> = (&'a str, Vec<(&'a str, &'a [&'a str])>, Vec<PersonLink>, Vec<(&'a str, &'a str)>);
    #[rustfmt::skip]
    let table: Vec<Case<'_>> = vec![
        ("alone", vec![("p1", &["7"])], vec![], vec![("p1", "p1 | ")]),
        ("nothing is held of it", vec![], vec![], vec![("p1", "p1 | ")]),
        ("an identifier finds its Patient", vec![("p1", &["7"]), ("id.7", &[])], vec![],
            vec![("p1", "id.7 p1 | "), ("id.7", "-> p1")]),
        ("also when it came with a Patient", vec![("p1", &["7"]), ("+id.7", &["7", "9"])], vec![],
            vec![("p1", "id.7 p1 | "), ("id.7", "-> p1")]),
        ("no Patient: the identifier is the subject", vec![("id.7", &[])], vec![], vec![("id.7", "id.7 | ")]),
        ("a second number of one message's Patient", vec![("+id.7", &["7", "9"]), ("id.9", &[])], vec![],
            vec![("id.7", "id.7 id.9 | "), ("id.9", "-> id.7")]),
        ("two with Patients of their own are asked about", vec![("+id.7", &["7", "9"]), ("+id.9", &["9"])], vec![],
            vec![("id.7", "id.7 | shared-identifier id.9"), ("id.9", "id.9 | shared-identifier id.7")]),
        ("one number on two Patients", vec![("p1", &["7"]), ("p2", &["7"]), ("id.7", &[])], vec![],
            vec![("p1", "p1 | shared-identifier p2, several-carriers id.7"),
                 ("p2", "p2 | shared-identifier p1, several-carriers id.7"),
                 ("id.7", "id.7 | several-carriers p1, several-carriers p2")]),
        ("ruled to be two persons", vec![("p1", &["7"]), ("p2", &["7"])], vec![link(Different, "p2", "p1")],
            vec![("p1", "p1 | "), ("p2", "p2 | ")]),
        ("ruled to be one", vec![("p1", &["7"]), ("p2", &["7"])], vec![link(Same, "p2", "p1")],
            vec![("p2", "p1 p2 | "), ("p1", "-> p2")]),
        ("merged at the hospital", vec![("p1", &["7"]), ("p2", &["8"])], vec![link(ReplacedBy, "p1", "p2")],
            vec![("p1", "p1 | merged p2"), ("p2", "p2 | merged p1")]),
        ("merged into one of whom nothing is held", vec![("p1", &["7"])], vec![link(ReplacedBy, "p1", "p2")],
            vec![("p1", "p1 | merged p2")]),
        ("a merge of numbers is one of their Patients",
            vec![("p1", &["7"]), ("p2", &["8"]), ("+id.7", &["7"]), ("+id.8", &["8"])],
            vec![link(ReplacedBy, "id.8", "id.7")],
            vec![("p1", "id.7 p1 | merged p2"), ("p2", "id.8 p2 | merged p1"), ("id.8", "-> p2")]),
        ("a merge that was confirmed", vec![("p1", &["7"]), ("p2", &["8"])],
            vec![link(ReplacedBy, "p1", "p2"), link(Same, "p2", "p1")],
            vec![("p1", "-> p2"), ("p2", "p1 p2 | ")]),
        ("two records in use", vec![("p1", &[]), ("p2", &[])], vec![link(SeeAlso, "p1", "p2")],
            vec![("p1", "p1 | see-also p2"), ("p2", "p2 | see-also p1")]),
        ("a number that was randomized goes on when its Patient comes", vec![("p1", &["7"]), ("*id.7", &[])], vec![],
            vec![("id.7", "id.7 p1 | "), ("p1", "-> id.7")]),
        ("whoever was randomized goes on, whatever was ruled", vec![("*p1", &[]), ("p2", &[])],
            vec![link(Same, "p2", "p1")], vec![("p1", "p1 p2 | "), ("p2", "-> p1")]),
        ("two who were randomized stay apart", vec![("*p1", &["7"]), ("*id.7", &[])], vec![],
            vec![("p1", "p1 | allocated-elsewhere id.7"), ("id.7", "id.7 | allocated-elsewhere p1")]),
        ("ruled not to be the one who carries its number", vec![("p1", &["7"]), ("id.7", &[])],
            vec![link(Different, "p1", "id.7")], vec![("p1", "p1 | "), ("id.7", "id.7 | ")]),
        ("of two carriers one was ruled out", vec![("p1", &["7"]), ("p2", &["7"]), ("id.7", &[])],
            vec![link(Different, "p2", "id.7"), link(Different, "p1", "p2")],
            vec![("p1", "id.7 p1 | "), ("p2", "p2 | "), ("id.7", "-> p1")]),
        ("rulings that contradict each other", vec![("p1", &[]), ("p2", &[]), ("p3", &[])],
            vec![link(Same, "p1", "p2"), link(Same, "p2", "p3"), link(Different, "p1", "p3")],
            vec![("p1", "p1 p2 p3 | rulings-disagree p3"), ("p3", "-> p1")]),
        ("rulings in a circle do not hang", vec![("p1", &[]), ("p2", &[])],
            vec![link(Same, "p1", "p2"), link(Same, "p2", "p1")],
            vec![("p1", "p1 p2 | "), ("p2", "-> p1")]),
    ];
    for (name, members, links, expected) in table {
        let mut members: Vec<Member> = members.iter().map(|(text, n)| member(text, n)).collect();
        members.sort_by(|a, b| a.subject.cmp(&b.subject));
        let group = Group { members, links };
        for (subject, expected) in expected {
            assert_eq!(shown(&group, subject), expected, "{name}: {subject}");
        }
    }
}

#[test]
fn persons_of_a_unit_complete_each_other() {
    use crate::clinical::time::When;
    use crate::fact::Source;
    let person = |id: &str, birth: &str, sex| Person {
        source: Source { reference: id.into(), version: None },
        birth: When::parse(birth).ok(),
        sex,
        ..Person::default()
    };
    let (one, disagree) = one_person(
        vec![
            person("Patient/id.7", "1960-01-02", Some(Sex::Male)),
            person("Patient/p1", "", Some(Sex::Male)),
        ],
        "Patient/p1",
    );
    let one = one.expect("a person");
    assert_eq!((&*one.source.reference, one.birth.is_some(), disagree), ("Patient/p1", true, false));
    for (a, b) in [
        (person("Patient/p1", "1960-01-02", None), person("Patient/id.7", "1960-01-03", None)),
        (person("Patient/p1", "", Some(Sex::Male)), person("Patient/id.7", "", Some(Sex::Female))),
    ] {
        assert!(one_person(vec![a, b], "Patient/p1").1);
    }
    assert_eq!(one_person(Vec::new(), "Patient/p1"), (None, false));
}

proptest! {
    /// Every record counts for exactly one subject, and a question is asked of both.
    #[test]
    fn everybody_has_one_place(
        carried in prop::collection::vec(prop::collection::btree_set("[1-4]", 0..3), 3),
        with_patient in prop::collection::vec(any::<bool>(), 4),
        allocated in prop::collection::vec(prop::bool::weighted(0.2), 7),
        links in prop::collection::vec((0usize..4, 0usize..7, 0usize..7), 0..4),
    ) {
        let mut members = Vec::new();
        for (i, numbers) in carried.iter().enumerate() {
            let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
            members.push(member(&format!("p{i}"), &numbers));
        }
        for (i, with_patient) in with_patient.iter().enumerate() {
            let number = (i + 1).to_string();
            let text = format!("{}id.{number}", if *with_patient { "+" } else { "" });
            members.push(member(&text, if *with_patient { std::slice::from_ref(&number) } else { &[] }
                .iter().map(String::as_str).collect::<Vec<_>>().as_slice()));
        }
        members.sort_by(|a, b| a.subject.cmp(&b.subject));
        for (member, is_allocated) in members.iter_mut().zip(&allocated) {
            member.is_allocated = *is_allocated;
        }
        let names: Vec<String> = members.iter().map(|m| m.subject.clone()).collect();
        let kinds = [LinkKind::ReplacedBy, LinkKind::SeeAlso, LinkKind::Same, LinkKind::Different];
        let mut links: Vec<PersonLink> = links.iter().map(|(k, a, b)| link(kinds[*k], &names[*a], &names[*b])).collect();
        links.sort();
        let group = Group { members, links };
        let mut placed = BTreeSet::new();
        for name in &names {
            match stands(&group, name) {
                Stands::AttachedTo(to) => {
                    let is_allocated = group.members.iter().any(|m| m.subject == *name && m.is_allocated);
                    prop_assert!(!is_allocated, "{} was randomized", name);
                    let holds = matches!(stands(&group, &to), Stands::Itself { members, .. } if members.contains(name));
                    prop_assert!(holds);
                }
                Stands::Itself { members, open } => {
                    for m in members {
                        prop_assert!(placed.insert(m));
                    }
                    // What was ruled within one unit is asked of that unit alone.
                    for question in open.into_iter().filter(|o| o.why != Why::RulingsDisagree) {
                        let Stands::Itself { open, .. } = stands(&group, &question.with) else {
                            return Err(TestCaseError::fail("asked of one that is attached"));
                        };
                        prop_assert!(open.iter().any(|o| o.with == *name && o.why == question.why));
                    }
                }
            }
        }
        prop_assert_eq!(placed.len(), names.len());
    }
}
