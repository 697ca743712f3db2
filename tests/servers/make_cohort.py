#!/usr/bin/env python3
"""Reduces simulated FHIR resources to what the trial reads, and moves them in time.

    make_cohort.py [--newest-lab DAY] -o OUT.ndjson[.gz] FILE.ndjson[.gz]...

Two uses:

* make `fixtures/cohort/cirrhosis-6.ndjson.gz` from a simulator's whole output;
* give the finished cohort other dates, so that its laboratory results are fresh on the day of
  a test: pass both files of `fixtures/cohort/` and `--newest-lab` with a recent day.

What it does, in this order:

1. keeps the types in KEPT_TYPES; of the vital signs only the codes in KEPT_VITALS, and of
   those, as of the administrations of one drug, the first of each day for each patient;
2. cuts references to what is not kept (the display stays), so that a server that checks
   references accepts the rest, and elements that R4 does not have (INVALID): the simulator
   writes two, and a server that validates refuses them;
3. moves every date by the same whole number of days, so that the newest laboratory result
   falls on `--newest-lab`. Intervals, times of day and ages at an event stay as they were:
   birth dates move too. Partial dates (2024, 2024-03) are left alone.

The same input gives the same bytes: no clock, no random numbers, lines in the order of type
and id. Reducing what is already reduced changes nothing. Standard library only.
"""

import argparse
import datetime
import gzip
import io
import json
import re
import sys

DEFAULT_NEWEST_LAB = "2026-11-20"

KEPT_TYPES = {
    "Patient", "Encounter", "Condition", "Observation", "Procedure",
    "MedicationRequest", "MedicationAdministration", "Consent", "QuestionnaireResponse",
}

# LOINC: heart rate, body temperature, blood pressure panel, level of consciousness. They are
# there as noise: a client that forgets to filter by code must be seen to.
KEPT_VITALS = {"8867-4", "8310-5", "85354-9", "80288-4"}

# Backbone elements that are invalid without the reference that was cut from them.
NEEDS_REFERENCE = {("Encounter", "location"), ("MedicationAdministration", "performer")}

# clinosim 0.6.5 writes these; in R4 a dosage of an administration has neither.
INVALID = {("MedicationAdministration", "dosage"): ("timing", "doseAndRate")}

DATE = re.compile(r"^(\d{4}-\d{2}-\d{2})($|T\d{2}:\d{2})")


def read(paths):
    resources = {}
    for path in paths:
        opened = gzip.open if path.endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    # Decimals keep their text: 2.50 must not become 2.5.
                    resource = json.loads(line, parse_float=Literal)
                    resources[resource["resourceType"], resource["id"]] = resource
    return [resources[key] for key in sorted(resources)]


class Literal(float):
    """A JSON number that is written as it was read."""

    def __new__(cls, text):
        number = super().__new__(cls, text)
        number.text = text
        return number


def encode(resource):
    """Compact JSON in which a Literal keeps its text (json itself would write repr of the float)."""
    literals = []

    def mark(node):
        if isinstance(node, Literal):
            literals.append(node.text)
            return f"\u0000{len(literals) - 1}\u0000"
        if isinstance(node, dict):
            return {key: mark(value) for key, value in node.items()}
        if isinstance(node, list):
            return [mark(value) for value in node]
        return node

    text = json.dumps(mark(resource), ensure_ascii=False, separators=(",", ":"))
    return re.sub(r'"\\u0000(\d+)\\u0000"', lambda found: literals[int(found[1])], text)


def codings(concept):
    return [coding.get("code") for coding in (concept or {}).get("coding", [])]


def is_laboratory(resource):
    return resource["resourceType"] == "Observation" and any(
        "laboratory" in codings(category) for category in resource.get("category", [])
    )


def is_vital_sign(resource):
    return resource["resourceType"] == "Observation" and any(
        "vital-signs" in codings(category) for category in resource.get("category", [])
    )


def kept(resources):
    """The first of a day for repetitive resources, everything of the kept types otherwise."""
    first = {}
    result = []
    for resource in resources:
        kind = resource["resourceType"]
        if kind not in KEPT_TYPES:
            continue
        if is_laboratory(resource):
            result.append(resource)
            continue
        if is_vital_sign(resource):
            names = KEPT_VITALS.intersection(codings(resource["code"]))
            if not names:
                continue
            name = min(names)
        elif kind == "MedicationAdministration":
            name = resource["medicationCodeableConcept"].get("text", "")
        elif kind == "Observation":
            # Height, weight, social history, scores of nursing: not read, few, and no noise.
            continue
        else:
            result.append(resource)
            continue
        when = resource["effectiveDateTime"]
        group = (kind, name, resource["subject"]["reference"], when[:10])
        best = first.get(group)
        if best is None or (when, resource["id"]) < (best["effectiveDateTime"], best["id"]):
            first[group] = resource
    return result + list(first.values())


def cut_references(resource, present):
    """Removes invalid elements, references to what is not there, and what is empty without them."""

    def cut(node):
        if isinstance(node, dict):
            node = {key: cut(value) for key, value in node.items()}
            target = node.get("reference")
            if isinstance(target, str) and "/" in target and target not in present:
                del node["reference"]
            return {key: value for key, value in node.items() if value not in ({}, [], None)}
        if isinstance(node, list):
            return [value for value in map(cut, node) if value not in ({}, [], None)]
        return node

    kind = resource["resourceType"]
    result = {key: value for key, value in resource.items() if (kind, key) not in NEEDS_REFERENCE}
    for (owner, field), names in INVALID.items():
        if owner == kind and field in result:
            result[field] = {key: value for key, value in result[field].items() if key not in names}
    return {key: value for key, value in cut(result).items() if value not in ({}, [], None)}


def shifted(node, days):
    if isinstance(node, dict):
        return {key: shifted(value, days) for key, value in node.items()}
    if isinstance(node, list):
        return [shifted(value, days) for value in node]
    if isinstance(node, str) and (found := DATE.match(node)):
        day = datetime.date.fromisoformat(found[1]) + datetime.timedelta(days=days)
        return day.isoformat() + node[10:]
    return node


def write(path, resources):
    text = "".join(encode(resource) + "\n" for resource in resources).encode()
    if path.endswith(".gz"):
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9, mtime=0) as stream:
            stream.write(text)
        text = packed.getvalue()
    with open(path, "wb") as out:
        out.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--newest-lab", default=DEFAULT_NEWEST_LAB, metavar="DAY",
                        type=datetime.date.fromisoformat, help="default: %(default)s")
    parser.add_argument("-o", "--out", required=True)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()

    resources = kept(read(arguments.files))
    present = {f"{r['resourceType']}/{r['id']}" for r in resources}
    resources = [cut_references(resource, present) for resource in resources]
    days_of_labs = [r["effectiveDateTime"][:10] for r in resources if is_laboratory(r)]
    if not days_of_labs:
        print("error: the input has no laboratory result to date the cohort by", file=sys.stderr)
        return 1
    newest = datetime.date.fromisoformat(max(days_of_labs))
    days = (arguments.newest_lab - newest).days
    resources = sorted(
        (shifted(resource, days) for resource in resources),
        key=lambda r: (r["resourceType"], r["id"]),
    )
    write(arguments.out, resources)
    print(f"{len(resources)} resources, dates moved by {days} days, newest result on {arguments.newest_lab}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
