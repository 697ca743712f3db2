//! Kleene's strong three-valued logic.

use std::ops::Not;

/// True, false, or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    pub fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::False, _) | (_, Truth::False) => Truth::False,
            (Truth::True, Truth::True) => Truth::True,
            _ => Truth::Unknown,
        }
    }

    pub fn or(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::True, _) | (_, Truth::True) => Truth::True,
            (Truth::False, Truth::False) => Truth::False,
            _ => Truth::Unknown,
        }
    }
}

impl Not for Truth {
    type Output = Truth;
    fn not(self) -> Truth {
        match self {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
        }
    }
}

impl From<Option<bool>> for Truth {
    /// `None` is a range with values on both sides.
    fn from(decided: Option<bool>) -> Truth {
        match decided {
            Some(true) => Truth::True,
            Some(false) => Truth::False,
            None => Truth::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Truth::{self, False as F, True as T, Unknown as N};

    /// Kleene, Introduction to Metamathematics (1952), section 64; CQL 1.5, section 13.
    #[test]
    fn the_whole_truth_tables() {
        //   a  b  and or
        let table = [
            (T, T, T, T),
            (T, F, F, T),
            (T, N, N, T),
            (F, T, F, T),
            (F, F, F, F),
            (F, N, F, N),
            (N, T, N, T),
            (N, F, F, N),
            (N, N, N, N),
        ];
        for (a, b, and, or) in table {
            assert_eq!(a.and(b), and, "{a:?} and {b:?}");
            assert_eq!(a.or(b), or, "{a:?} or {b:?}");
            // De Morgan
            assert_eq!(!(a.and(b)), (!a).or(!b), "not ({a:?} and {b:?})");
        }
        assert_eq!([!T, !F, !N], [F, T, N]);
    }

    #[test]
    fn learning_an_unknown_never_flips_what_is_decided() {
        let all = [T, F, N];
        let refinements = |t: Truth| if t == N { vec![T, F] } else { vec![t] };
        for a in all {
            for b in all {
                for (before, op) in
                    [(a.and(b), Truth::and as fn(Truth, Truth) -> Truth), (a.or(b), Truth::or)]
                {
                    for a2 in refinements(a) {
                        for b2 in refinements(b) {
                            assert!(before == N || op(a2, b2) == before, "{a:?} {b:?}");
                        }
                    }
                }
            }
        }
    }
}
