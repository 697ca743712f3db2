//! What the scores are made of. Values are already canonical: nothing is converted or guessed here.

use crate::clinical::interval::Interval;
use rust_decimal::Decimal;
use std::{fmt, str::FromStr};

/// The inputs of all scores, in canonical units. `None` is missing, and missing is never "normal" or
/// "absent".
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// mg/dL
    pub bilirubin_total: Option<Interval>,
    /// ratio, no unit
    pub inr: Option<Interval>,
    /// mg/dL
    pub creatinine: Option<Interval>,
    /// mmol/L
    pub sodium: Option<Interval>,
    /// g/L
    pub albumin: Option<Interval>,
    /// U/L
    pub ast: Option<Interval>,
    /// U/L
    pub alt: Option<Interval>,
    /// 10*9/L
    pub platelets: Option<Interval>,
    /// Seconds over the laboratory's control.
    pub pt_prolongation: Option<Interval>,
    /// Completed years.
    pub age: Option<Interval>,
    /// `None` when missing, other or unknown.
    pub sex: Option<Sex>,
    /// Dialysis in the week before the creatinine (two sessions, or 24 h of CVVHD). `None` is unknown:
    /// the MELD scores that know of dialysis are then carried through both.
    pub dialysis: Option<bool>,
    pub ascites: Option<Ascites>,
    pub encephalopathy: Option<Encephalopathy>,
    /// Primary biliary cholangitis or primary sclerosing cholangitis: Child-Pugh's wider bilirubin
    /// bands. `None` takes the standard bands.
    pub pbc_or_psc: Option<bool>,
    /// Only the original MELD of 2000 asks for it.
    pub etiology: Option<Etiology>,
    /// U/L, the upper limit of normal that came with the AST result.
    pub ast_uln: Option<Decimal>,
    /// CLIF-C organ failure score, 6 to 18.
    pub clif_of: Option<Interval>,
    /// 10*9/L
    pub wbc: Option<Interval>,
}

/// A word that is none of a variable's values. It never repeats the word: that is free text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// The variable's name.
    pub variable: &'static str,
    /// The words that it may take.
    pub expected: &'static str,
}

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} takes {}; the value given is none of these and is left out",
            self.variable, self.expected
        )
    }
}

impl std::error::Error for UnknownWord {}

/// Writes an enum, its canonical words and the synonyms that can mean nothing else.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $variable:literal, $expected:literal,
     $($(#[$vdoc:meta])* $variant:ident = $word:literal $(| $synonym:literal)*),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The canonical word.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                let text = text.trim();
                $(if [$word $(, $synonym)*].iter().any(|word| text.eq_ignore_ascii_case(word)) {
                    return Ok($name::$variant);
                })+
                Err(UnknownWord { variable: $variable, expected: $expected })
            }
        }
    };
}

words! {
    /// Administrative or birth sex, as MELD 3.0 uses it.
    Sex, "sex", "female or male", Female = "female", Male = "male",
}
words! {
    /// Ascites as Child-Pugh grades it.
    Ascites, "ascites", "none, mild or moderate-severe",
    None = "none" | "absent",
    /// Mild or slight, or controlled by diuretics.
    Mild = "mild" | "slight",
    /// Moderate to severe, tense or refractory.
    ModerateSevere = "moderate-severe" | "moderate_severe" | "moderate" | "severe" | "tense" | "refractory",
}
words! {
    /// Hepatic encephalopathy by West Haven grade.
    Encephalopathy, "encephalopathy", "0, 1-2 or 3-4",
    Grade0 = "0" | "none" | "absent",
    Grade1To2 = "1-2" | "1" | "2",
    Grade3To4 = "3-4" | "3" | "4",
}
words! {
    /// Cause of the liver disease, as the original MELD asks for it.
    Etiology, "etiology", "cholestatic-alcoholic or other",
    CholestaticAlcoholic = "cholestatic-alcoholic" | "cholestatic_alcoholic" | "cholestatic" | "alcoholic",
    Other = "other",
}
