"""Do `screen` and its peers give the same answers? check.py SCREEN.ndjson PEER.csv ...

Of every patient: age, the five results, MELD, and whether a Condition excludes. `screen` calculates in
decimals and shows a converted result with six of them, the peers write binary floating point in full:
a result may differ by half of the sixth decimal. An age, a MELD and an exclusion may not differ at all.
Also compares the codes of task.py with the trial's.
"""
import csv
import itertools
import json
import math
import sys
import tomllib
from pathlib import Path

from task import COLUMNS, EXCLUDING, LENGTHS, VARIABLES

TRIAL = Path(__file__).resolve().parents[2] / "mappings" / "nct06242405"
NAMES = {"bilirubin": "bilirubin_total"}
# The criteria that a code of EXCLUDING decides by itself, whatever a form says.
SETS = {
    "E1": "neoplasm", "E2": "liver-transplant", "E5": "hiv", "E10": "allergic-asthma-urticaria-eczema",
}
NUMBERS = tuple(VARIABLES)
SIXTH = 0.5e-6
SHOWN = 10


class Different(Exception):
    """What differs, in lines."""


def expanded(codes):
    """C00-C03 is C00, C01, C02, C03."""
    for code in codes:
        first, _, last = code.partition("-")
        if not last:
            yield code
            continue
        for n in range(int(first[1:]), int(last[1:]) + 1):
            yield f"{first[0]}{n:02}"


def codes_differ():
    """Lines that say where task.py is not the trial's."""
    variables = {v["id"]: v for v in tomllib.loads((TRIAL / "variables.toml").read_text("utf-8"))["variable"]}
    sets = {s["id"]: s for s in tomllib.loads((TRIAL / "value-sets.toml").read_text("utf-8"))["value_set"]}
    for name, (codes, _) in VARIABLES.items():
        ours = variables[NAMES.get(name, name)]["codes"]["http://loinc.org"]
        if list(codes) != ours:
            yield f"task.py: the LOINC codes of {name} are not those of the trial: {' '.join(set(codes) ^ set(ours))}"
    ours = {
        code
        for name in SETS.values()
        for system, codes in sets[name]["codes"].items() if "/icd-10" in system
        for code in expanded(codes)
    }
    if ours != EXCLUDING:
        yield f"task.py: the excluding codes are not those of the trial: {' '.join(sorted(ours ^ EXCLUDING))}"
    for code in EXCLUDING:
        if len(code) not in LENGTHS:
            yield f"task.py: no prefix of {len(code)} characters is looked up, so {code} is never found"


def of_screen(path):
    """Rows by subject, from the NDJSON of `screen`."""
    rows = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            screening = json.loads(line)
            criteria = {c["id"]: c for c in screening["criteria"]}
            row = {name: screening["variables"].get(NAMES.get(name, name), {}).get("value") for name in NUMBERS}
            row["age"] = screening["variables"].get("age", {}).get("value")
            row["meld"] = screening["scores"]["meld_unos"].get("value")
            row["excluded"] = any(
                criteria[c]["verdict"] == "excludes"
                and any(e["reference"].startswith("Condition/") for e in criteria[c]["evidence"])
                for c in SETS
            )
            rows[screening["subject"].removeprefix("Patient/")] = row
    return rows


def of_peer(path):
    rows = {}
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if tuple(table.fieldnames or ()) != COLUMNS:
            raise Different(f"{path}: the columns are {table.fieldnames}")
        for line in table:
            row = {name: float(line[name]) if line[name] else None for name in NUMBERS}
            row |= {name: int(line[name]) if line[name] else None for name in ("age", "meld")}
            row["excluded"] = line["excluded"] == "true"
            if line["subject"] in rows:
                raise Different(f"{path}: {line['subject']} has two rows")
            rows[line["subject"]] = row
    return rows


def same(name, a, b):
    if name in NUMBERS and a is not None and b is not None:
        return math.isclose(a, b, rel_tol=1e-12, abs_tol=SIXTH)
    return a == b


def differences(ours, theirs, title):
    for subject in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(subject), theirs.get(subject)
        if a is None or b is None:
            yield f"{title}: {subject} is only in {'the peer' if a is None else 'screen'}'s answer"
            continue
        for name in COLUMNS[1:]:
            if not same(name, a[name], b[name]):
                yield f"{title}: {subject}: {name} is {a[name]} for screen and {b[name]} for the peer"


def check(screen, peers):
    """A line of what was compared. `peers`: title and path of each."""
    found = list(codes_differ())
    ours = of_screen(screen)
    for title, path in peers.items():
        found += differences(ours, of_peer(path), title)
    if found:
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        raise Different("\n".join(found[:SHOWN] + more))
    known = sum(row["meld"] is not None for row in ours.values())
    excluded = sum(row["excluded"] for row in ours.values())
    if not (known and excluded):
        raise Different(f"nothing to compare: {len(ours)} patients, {known} with MELD, {excluded} excluded")
    return (
        f"same answers: {len(ours):,} patients, {known:,} with MELD, {excluded:,} excluded by a code; "
        f"screen and {', '.join(peers)}"
    )


def same_rows(whole, skipped):
    """A line of what was compared: tables of `screen` over every line, and with lines skipped. Gaps are
    left out, for they speak of the very lines that are skipped."""
    with open(whole, newline="", encoding="utf-8") as a, open(skipped, newline="", encoding="utf-8") as b:
        count = 0
        for ours, theirs in itertools.zip_longest(csv.DictReader(a), csv.DictReader(b)):
            if ours is None or theirs is None:
                raise Different(f"with --prefilter there are {'more' if ours is None else 'fewer'} than {count} rows")
            columns = [name for name in ours if not name.startswith("gap") and ours[name] != theirs.get(name)]
            if columns:
                raise Different(f"with --prefilter {ours.get('subject')} differs in {' '.join(columns)}")
            count += 1
    return f"same rows: {count:,} patients, with --prefilter and without"


if __name__ == "__main__":
    try:
        print(check(sys.argv[1], {Path(path).name: path for path in sys.argv[2:]}))
    except Different as different:
        sys.exit(f"error: {different}")
