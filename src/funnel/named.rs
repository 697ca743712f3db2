//! Counts by name: the names that are known beforehand stand first and stand always, in their own order;
//! others follow by the alphabet when they come.
//!
//! Invariant: what is held does not depend on the order in which the names came.

/// Counters by name. A name that never came is there with its zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named<C> {
    known: usize,
    rows: Vec<(Box<str>, C)>,
}

impl<C: Default> Named<C> {
    pub(super) fn new<'n>(known: impl IntoIterator<Item = &'n str>) -> Named<C> {
        let mut rows: Vec<(Box<str>, C)> = Vec::new();
        for name in known {
            if !rows.iter().any(|(known, _)| **known == *name) {
                rows.push((name.into(), C::default()));
            }
        }
        Named { known: rows.len(), rows }
    }

    /// The counter of this name.
    pub(super) fn at(&mut self, name: &str) -> &mut C {
        // A trial has a few dozen names: looking through them is quicker than hashing one.
        let at = match self.rows.iter().position(|(known, _)| **known == *name) {
            Some(at) => at,
            None => {
                let others = &self.rows[self.known..];
                let at = self.known + others.partition_point(|(other, _)| **other < *name);
                self.rows.insert(at, (name.into(), C::default()));
                at
            }
        };
        &mut self.rows[at].1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &C)> {
        self.rows.iter().map(|(name, count)| (&**name, count))
    }

    pub(super) fn merge(&mut self, other: &Named<C>, add: impl Fn(&mut C, &C)) {
        for (name, count) in other.iter() {
            add(self.at(name), count);
        }
    }
}
