//! Which of several versions of one resource stands. Pure, and a function of the *set* of versions:
//! the order in which they arrived cannot matter.
//!
//! Two versions are compared by `versionId` when both are whole numbers, else by `lastUpdated`. Where
//! that settles nothing and the contents differ, nobody knows which is right: the resource is in
//! conflict, and stays so until a version comes that is newer than the contenders.
//!
//! Over sets the comparison need not be transitive (a source may number some versions and date
//! others), so a version stands only if it is the one that no other is newer than.

use chrono::{DateTime, FixedOffset};
use std::cmp::Ordering;

/// What is compared of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub version_id: Option<String>,
    /// `meta.lastUpdated` as received.
    pub last_updated: Option<String>,
    pub subject: Option<String>,
    pub deleted: bool,
    pub sha256: String,
}

/// How one version relates to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    Newer,
    Older,
    /// Same content, and neither is newer.
    Same,
    /// Other content, and neither is newer.
    Conflict,
}

/// Which version stands, as an index into the slice given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    One(usize),
    /// No version prevails; the index names the one to show.
    Conflict(usize),
}

/// `a` compared with `b`.
///
/// # Source
/// FHIR R4 `Meta.versionId`, in our words: it changes whenever the resource does; so the same versionId
/// with other content is a contradiction, whatever the dates say.
pub fn compare(a: &Version, b: &Version) -> Precedence {
    let order = match (&a.version_id, &b.version_id) {
        (Some(x), Some(y)) if x == y => Some(Ordering::Equal),
        (Some(x), Some(y)) => match (number(x), number(y)) {
            (Some(x), Some(y)) => Some(x.cmp(&y)),
            _ => by_time(a, b),
        },
        _ => by_time(a, b),
    };
    match order {
        Some(Ordering::Greater) => Precedence::Newer,
        Some(Ordering::Less) => Precedence::Older,
        _ if same_content(a, b) => Precedence::Same,
        _ => Precedence::Conflict,
    }
}

/// The version that stands among all versions seen of one resource; none for an empty slice.
pub fn standing(versions: &[Version]) -> Option<Standing> {
    // The common case in one pass: the last one left standing is newer than every other.
    let champion = (1..versions.len()).fold(0, |best, i| {
        if compare(&versions[i], &versions[best]) == Precedence::Newer { i } else { best }
    });
    let first = versions.get(champion)?;
    let prevails = |(i, v): (usize, &Version)| i == champion || compare(first, v) == Precedence::Newer;
    if versions.iter().enumerate().all(prevails) {
        return Some(Standing::One(champion));
    }
    let beaten = |v: &Version| versions.iter().any(|other| compare(other, v) == Precedence::Newer);
    let mut contenders: Vec<usize> = (0..versions.len()).filter(|&i| !beaten(&versions[i])).collect();
    // A circle, in which each is older than some other, leaves nobody: all contend.
    let circle = contenders.is_empty();
    if circle {
        contenders = (0..versions.len()).collect();
    }
    let shown = contenders.iter().copied().min_by(|&a, &b| canonical(&versions[a], &versions[b]))?;
    let agree = contenders.iter().all(|&i| same_content(&versions[i], &versions[shown]));
    Some(if agree { Standing::One(shown) } else { Standing::Conflict(shown) })
}

fn same_content(a: &Version, b: &Version) -> bool {
    a.sha256 == b.sha256 && a.deleted == b.deleted && a.subject == b.subject
}

fn number(version_id: &str) -> Option<u128> {
    // `parse` would also take "+1".
    version_id.bytes().all(|b| b.is_ascii_digit()).then(|| version_id.parse().ok()).flatten()
}

fn instant(v: &Version) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(v.last_updated.as_deref()?).ok()
}

fn by_time(a: &Version, b: &Version) -> Option<Ordering> {
    Some(instant(a)?.cmp(&instant(b)?))
}

/// A total order that decides nothing but which of equals is shown.
fn canonical(a: &Version, b: &Version) -> Ordering {
    let key = |v: &Version| {
        (v.sha256.clone(), v.deleted, v.version_id.clone(), v.last_updated.clone(), v.subject.clone())
    };
    key(a).cmp(&key(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(id: &str, updated: &str, content: &str) -> Version {
        let given = |s: &str| (!s.is_empty()).then(|| s.to_owned());
        Version {
            version_id: given(id),
            last_updated: given(updated),
            subject: None,
            deleted: content == "gone",
            sha256: content.to_owned(),
        }
    }

    #[test]
    fn two_versions() {
        use Precedence::*;
        let early = "2026-01-01T00:00:00Z";
        let late = "2026-01-02T00:00:00Z";
        let late_in_shenyang = "2026-01-02T08:00:00+08:00";
        #[rustfmt::skip]
        let table = [
            // a: versionId, lastUpdated, content   b                           expected
            (("2", "", "x"),                        ("1", "", "y"),             Newer),
            (("10", "", "x"),                       ("9", "", "y"),             Newer),    // as numbers, not as text
            (("2", early, "x"),                     ("1", late, "y"),           Newer),    // the number goes before the date
            (("1", "", "x"),                        ("1", "", "x"),             Same),
            (("1", "", "x"),                        ("1", "", "y"),             Conflict),
            (("1", late, "x"),                      ("1", early, "y"),          Conflict), // one version, two contents
            (("b", late, "x"),                      ("a", early, "y"),          Newer),
            (("b", late, "x"),                      ("b", early, "y"),          Conflict),
            (("b", "", "x"),                        ("a", "", "y"),             Conflict),
            (("+2", "", "x"),                       ("1", "", "y"),             Conflict),
            (("", late, "x"),                       ("", early, "y"),           Newer),
            (("", late, "x"),                       ("", late_in_shenyang, "y"), Conflict),
            (("", late, "x"),                       ("", late_in_shenyang, "x"), Same),
            (("", "", "x"),                         ("", "", "x"),              Same),
            (("", "", "x"),                         ("", "", "y"),              Conflict),
            (("", late, "x"),                       ("", "", "y"),              Conflict), // one undated: not known
            (("", "yesterday", "x"),                ("", early, "y"),           Conflict),
            (("3", "", "gone"),                     ("2", "", "x"),             Newer),
        ];
        for ((a, b, c), (d, e, f), expected) in table {
            let (a, b) = (version(a, b, c), version(d, e, f));
            assert_eq!(compare(&a, &b), expected, "{a:?} with {b:?}");
            let mirrored = match expected {
                Newer => Older,
                Older => Newer,
                other => other,
            };
            assert_eq!(compare(&b, &a), mirrored, "{b:?} with {a:?}");
        }
    }

    #[test]
    fn sets_of_versions() {
        let v = version;
        assert_eq!(standing(&[]), None);
        assert_eq!(standing(&[v("", "", "x")]), Some(Standing::One(0)));
        assert_eq!(standing(&[v("1", "", "x"), v("3", "", "z"), v("2", "", "y")]), Some(Standing::One(1)));
        assert_eq!(standing(&[v("1", "", "b"), v("1", "", "a")]), Some(Standing::Conflict(1)));
        // A newer one ends the conflict; an older one does not.
        assert_eq!(standing(&[v("1", "", "b"), v("1", "", "a"), v("2", "", "c")]), Some(Standing::One(2)));
        assert_eq!(
            standing(&[v("2", "", "b"), v("2", "", "a"), v("1", "", "c")]),
            Some(Standing::Conflict(1))
        );
        // Same content under two dates that cannot be compared with the number.
        assert_eq!(standing(&[v("1", "", "x"), v("", "", "x")]), Some(Standing::One(1)));
        // A circle: 2 over 1 by number, 1 over the dated by date, the dated over 2 by date.
        let circle = [
            v("2", "2026-01-01T00:00:00Z", "c"),
            v("1", "2026-01-03T00:00:00Z", "b"),
            v("", "2026-01-02T00:00:00Z", "a"),
        ];
        assert_eq!(standing(&circle), Some(Standing::Conflict(2)));
        // Where all of a circle say the same, it does not matter which of them is the newest.
        let alike = circle.map(|mut v| {
            v.sha256 = "c".to_owned();
            v
        });
        assert!(alike.iter().all(|v| alike.iter().any(|other| compare(other, v) == Precedence::Newer)));
        assert_eq!(standing(&alike), Some(Standing::One(2)));
    }

    prop_compose! {
        fn any_version()(
            id in prop::sample::select(vec!["", "1", "2", "3", "10", "a"]),
            day in 0u8..4,
            content in prop::sample::select(vec!["x", "y", "z", "gone"]),
        ) -> Version {
            let updated = if day == 0 { String::new() } else { format!("2026-01-0{day}T00:00:00Z") };
            version(id, &updated, content)
        }
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            (versions, shuffled) in prop::collection::vec(any_version(), 1..7)
                .prop_flat_map(|v| (Just(v.clone()), Just(v).prop_shuffle()))
        ) {
            let shown = |of: &[Version]| match standing(of).expect("not empty") {
                Standing::One(i) => (true, of[i].clone()),
                Standing::Conflict(i) => (false, of[i].clone()),
            };
            prop_assert_eq!(shown(&versions), shown(&shuffled));
        }

        #[test]
        fn nobody_is_newer_than_the_one_that_stands(versions in prop::collection::vec(any_version(), 1..7)) {
            let is_beaten = |v: &Version| versions.iter().any(|other| compare(other, v) == Precedence::Newer);
            match standing(&versions) {
                // In a circle nobody is the newest: then one stands exactly if all say the same.
                found if versions.iter().all(is_beaten) => {
                    let alike = versions.iter().all(|v| same_content(v, &versions[0]));
                    prop_assert_eq!(matches!(found, Some(Standing::One(_))), alike);
                }
                Some(Standing::One(i)) => prop_assert!(!is_beaten(&versions[i])),
                _ => {}
            }
        }
    }
}
