//! Codes and the systems they belong to. A code means nothing without its system: WHO ICD-10 and
//! ICD-10-CM give I85.0, R75 and J45.0 different meanings.

pub const LOINC: &str = "http://loinc.org";
pub const SNOMED: &str = "http://snomed.info/sct";
pub const ICD10: &str = "http://hl7.org/fhir/sid/icd-10";
pub const ICD10_CM: &str = "http://hl7.org/fhir/sid/icd-10-cm";
pub const ATC: &str = "http://www.whocc.no/atc";
pub const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
pub const UCUM: &str = "http://unitsofmeasure.org";

pub const CPT: &str = "http://www.ama-assn.org/go/cpt";
pub const ICD10_PCS: &str = "http://www.cms.gov/Medicare/Coding/ICD10";
pub const ICD9_CM: &str = "http://hl7.org/fhir/sid/icd-9-cm";

/// The same systems under their registered OIDs and common spellings (HL7 terminology registry).
const SAME: &[(&str, &str)] = &[
    ("urn:oid:2.16.840.1.113883.6.1", LOINC),
    ("https://loinc.org", LOINC),
    ("urn:oid:2.16.840.1.113883.6.96", SNOMED),
    ("https://snomed.info/sct", SNOMED),
    ("urn:oid:2.16.840.1.113883.6.3", ICD10),
    ("urn:oid:2.16.840.1.113883.6.90", ICD10_CM),
    ("urn:oid:2.16.840.1.113883.6.73", ATC),
    ("urn:oid:2.16.840.1.113883.6.88", RXNORM),
    ("urn:oid:2.16.840.1.113883.6.8", UCUM),
];

/// The canonical URI of a code system, where `uri` is another name of one that we know.
pub fn canonical_system(uri: &str) -> &str {
    SAME.iter().find(|(other, _)| *other == uri).map_or(uri, |(_, canonical)| canonical)
}

/// How the codes of a system are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The whole code.
    Exact,
    /// A classification: a listed code stands for all codes below it. Case and dots do not count.
    Hierarchical,
}

pub fn matching(system: &str) -> Matching {
    match system {
        ICD10 | ICD10_CM | ATC => Matching::Hierarchical,
        _ => Matching::Exact,
    }
}

/// Does a code of this system that no value set lists surely mean none of them? In a classification,
/// and where every code of a thing can be listed, it does. A SNOMED CT or RxNorm code may stand below
/// a listed one, and only the terminology, which is not here, could tell.
pub fn is_classification(system: &str) -> bool {
    matches!(system, ICD10 | ICD10_CM | ATC | CPT | ICD10_PCS | ICD9_CM)
}

/// The form in which a hierarchical code is compared: upper case, no dot, and nothing from the
/// filler `x` on that Chinese editions append (`K74.6xx`, `K74.600x001`).
///
/// ICD-10-CM's own placeholder X (`T86.4X`, `S06.0X1A`) is kept: it is always upper case there,
/// while the Chinese filler is lower case.
pub fn normal_form(code: &str) -> String {
    let end = code.char_indices().skip(3).find(|(_, c)| *c == 'x').map_or(code.len(), |(at, _)| at);
    code[..end].chars().filter(|c| *c != '.').flat_map(char::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_extensions_and_dots() {
        for (code, normal) in [
            ("K74.608", "K74608"),
            ("K74.6xx", "K746"),
            ("K74.600x001", "K74600"),
            ("k70.31", "K7031"),
            ("T86.4X1A", "T864X1A"),
            ("C22", "C22"),
            ("总胆", "总胆"),
        ] {
            assert_eq!(normal_form(code), normal);
        }
    }
}
