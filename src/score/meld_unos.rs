//! MELD as UNOS used it from 2002: no aetiology, floors at 1.0, an integer from 6 to 40.

use super::meld::{MeldI, integer};
use super::result::Score;

// # Source
// Wiesner 2003, Gastroenterology 124:91, doi 10.1053/gast.2003.50016; OPTN policy 9.1.D
// > 10 x (0.957 ln Cr + 0.378 ln bilirubin + 1.120 ln INR + 0.643)
// The bracket is rounded to the tenth and then multiplied by 10, which is the same integer.
pub(super) fn score(meld_i: &MeldI) -> Score {
    Score::of(meld_i.continuous(), integer, &meld_i.open)
}
