"""The smaller work that the peers do, for `screen` to be compared with: one row a patient.

The latest bilirubin, INR, creatinine, sodium and albumin in canonical units, the age, whether a
Condition has a code that excludes by itself, and MELD. The codes are those of mappings/nct06242405
(check.py compares them); they are written out here so that no peer pays for reading TOML.

What the peers leave out, each of which `screen` does: ten of the fourteen criteria, eight of the nine
scores, evidence, reasons, conflicts and gaps; all but the first coding of a concept; the version of a
resource; windows; comparators; units that carry no UCUM code; dialysis; every file but three.
"""

STATUSES = ("final", "amended", "corrected")

# By column: LOINC codes, and by UCUM code what a value is multiplied by and divided by.
VARIABLES = {
    "bilirubin": (
        ("1975-2", "14631-6", "77137-8", "42719-5", "59827-6", "59828-4", "54363-7", "89871-8", "89872-6", "97770-2"),
        {"mg/dL": (1.0, 1.0), "umol/L": (1.0, 17.1)},
    ),
    "inr": (
        ("6301-6", "38875-1", "34714-6", "46418-0", "52129-4"),
        {"{INR}": (1.0, 1.0), "{ratio}": (1.0, 1.0), "1": (1.0, 1.0)},
    ),
    "creatinine": (
        ("2160-0", "14682-9", "77140-2", "38483-4", "21232-4", "59826-8", "101475-2", "11042-9", "11041-1", "51619-5", "51620-3"),
        {"mg/dL": (1.0, 1.0), "umol/L": (1.0, 88.4)},
    ),
    "sodium": (
        ("2951-2", "77139-4", "2947-0", "39791-9", "32717-1", "41657-8"),
        {"mmol/L": (1.0, 1.0), "meq/L": (1.0, 1.0)},
    ),
    "albumin": (
        ("1751-7", "61151-7", "61152-5", "54347-0", "62235-7", "62234-0", "2862-1", "76631-1"),
        {"g/L": (1.0, 1.0), "g/dL": (10.0, 1.0)},
    ),
}

COLUMNS = ("subject", "age", *VARIABLES, "excluded", "meld")


def _numbered(letter, first, last):
    return {f"{letter}{n:02}" for n in range(first, last + 1)}


# Of E1, E2, E5 and E10. A code stands for all codes below it, so its first three, five or six
# characters are looked up. The two editions of ICD-10 are not told apart.
EXCLUDING = (
    _numbered("C", 0, 97) | _numbered("D", 0, 9) | _numbered("D", 37, 49) | _numbered("B", 20, 24)
    | {"C7A", "C7B", "D3A", "Z21", "L20", "L30"}
    | {"R18.0", "Z94.4", "T86.4", "O98.7", "J45.0", "L50.0"}
    | {"Z48.23", "B97.35"}
)
LENGTHS = (3, 5, 6)

UNCONFIRMED = ("entered-in-error", "refuted")
