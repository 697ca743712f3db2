//! The arms of a trial, in the order in which the definition lists them.
//!
//! The order matters: a list is drawn up by arm index, and only then are names put to it. Errors
//! count arms from 1 and never repeat a name.

use std::fmt;

/// The arms of one list: two to [`Arms::MOST`], all different.
#[derive(Clone, PartialEq, Eq)]
pub struct Arms(Vec<String>);

/// Why arms cannot be randomized between.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmsError {
    #[error("{found} arm(s) listed: a randomization needs 2 to {} arms", Arms::MOST)]
    Count { found: usize },
    #[error("arm {index} has no name; give every arm of the trial definition a name")]
    Empty { index: usize },
    #[error(
        "the name of arm {index} is longer than {} bytes of UTF-8; every slot is sealed at one length, so shorten it",
        Arms::LONGEST
    )]
    Long { index: usize },
    #[error(
        "the name of arm {index} starts or ends with a space or holds a control character; two names that look alike must not differ"
    )]
    Invisible { index: usize },
    #[error("arms {first} and {index} have the same name; give every arm its own")]
    Twice { first: usize, index: usize },
}

impl Arms {
    /// The most arms that a sealed recipe has room for.
    pub const MOST: usize = 16;
    /// The longest name in bytes of UTF-8: every slot is sealed at the length of the longest.
    pub const LONGEST: usize = 127;

    /// # Errors
    /// [`ArmsError`] says which arm, counted from 1, and why.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Result<Self, ArmsError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        if !(2..=Self::MOST).contains(&names.len()) {
            return Err(ArmsError::Count { found: names.len() });
        }
        for (i, name) in names.iter().enumerate() {
            let index = i + 1;
            if name.is_empty() {
                return Err(ArmsError::Empty { index });
            }
            if name.len() > Self::LONGEST {
                return Err(ArmsError::Long { index });
            }
            if name.trim() != name || name.chars().any(char::is_control) {
                return Err(ArmsError::Invisible { index });
            }
            if let Some(first) = names[..i].iter().position(|earlier| earlier == name) {
                return Err(ArmsError::Twice { first: first + 1, index });
            }
        }
        Ok(Arms(names))
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// How many arms there are: 2 to [`Arms::MOST`].
    pub fn count(&self) -> u32 {
        // At most 16, by construction.
        self.0.len() as u32
    }
}

/// Only how many: a list of arms beside a position is one slip away from an allocation.
impl fmt::Debug for Arms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arms({} [hidden])", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_that_cannot_be_told_apart_are_refused() {
        let long = "x".repeat(128);
        let table: [(&[&str], ArmsError); 8] = [
            (&[], ArmsError::Count { found: 0 }),
            (&["a"], ArmsError::Count { found: 1 }),
            (&["a"; 17], ArmsError::Count { found: 17 }),
            (&["a", ""], ArmsError::Empty { index: 2 }),
            (&[&long, "b"], ArmsError::Long { index: 1 }),
            (&["a", "b", "a"], ArmsError::Twice { first: 1, index: 3 }),
            (&["a", "a "], ArmsError::Invisible { index: 2 }),
            (&["a\u{0}", "b"], ArmsError::Invisible { index: 1 }),
        ];
        for (names, error) in table {
            assert_eq!(Arms::new(names.iter().copied()), Err(error));
        }
        let arms = Arms::new(["single", &"x".repeat(127)]).expect("two arms");
        assert_eq!(arms.count(), 2);
        assert_eq!(format!("{arms:?}"), "Arms(2 [hidden])");
    }

    #[test]
    fn errors_do_not_repeat_a_name() {
        for names in [["canary", "canary"], ["canary ", "b"]] {
            let error = Arms::new(names).expect_err("refused");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
