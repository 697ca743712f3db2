#!/usr/bin/env python3
"""Loads FHIR resources from NDJSON files into a FHIR server, each under its own id.

    load.py BASE_URL FILE.ndjson[.gz]...

Resources go in as PUTs, 100 to a transaction, ordered so that what is referred to is stored
first or stands in the same transaction: some servers refuse a reference that dangles. A
transaction that a server refuses is sent again as single PUTs, so that one bad resource does
not hide the others. Standard library only; proxies are not used.

Prints how many resources were answered with which status. Exit 0: all are stored. Exit 1: some
were refused; each is named with the codes of the server's OperationOutcome. Exit 2: a file or
the server cannot be read.
"""

import collections
import gzip
import json
import sys
import urllib.error
import urllib.request

TRANSACTION_SIZE = 100
TIMEOUT_SECONDS = 300

# Servers that check references on write need the referred type first.
ORDER = [
    "Organization", "Location", "Practitioner", "PractitionerRole", "Patient", "Group",
    "Encounter", "Condition", "Medication", "MedicationRequest", "MedicationAdministration",
    "Specimen", "Procedure", "Observation", "DiagnosticReport", "ResearchStudy", "Consent",
    "QuestionnaireResponse", "ResearchSubject", "Provenance",
]

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def read_resources(paths):
    """The resources of all files; of two with one type and id, the later wins."""
    resources = {}
    for path in paths:
        opened = gzip.open if path.endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    resource = json.loads(line)
                    key = (resource["resourceType"], resource["id"])
                except (ValueError, KeyError, TypeError) as error:
                    raise SystemExit2(f"{path}:{number}: not a FHIR resource with an id ({error})")
                resources[key] = resource
    return resources


class SystemExit2(Exception):
    """An input that cannot be read at all."""


def references(node):
    """Relative references ("Patient/p1") anywhere in a resource."""
    if isinstance(node, dict):
        reference = node.get("reference")
        if isinstance(reference, str) and reference.count("/") == 1 and ":" not in reference:
            yield tuple(reference.split("/"))
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def ordered(resources):
    """Every resource after those it refers to, as far as there is no cycle."""
    rank = {name: place for place, name in enumerate(ORDER)}
    keys = sorted(resources, key=lambda key: (rank.get(key[0], len(ORDER)), key))
    done, result = set(), []
    for start in keys:
        stack = [(start, False)]
        while stack:
            key, expanded = stack.pop()
            if expanded:
                result.append(key)
                continue
            if key in done:
                continue
            done.add(key)
            stack.append((key, True))
            stack.extend(
                (target, False)
                for target in sorted(set(references(resources[key])), reverse=True)
                if target in resources and target not in done
            )
    return result


def send(method, url, body):
    """(status, parsed body); a connection that fails raises OSError."""
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"},
    )
    try:
        with OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    try:
        return status, json.loads(content)
    except ValueError:
        return status, {}


def outcome(body):
    """The codes, places and diagnostics of an OperationOutcome, in one line."""
    issues = []
    for issue in (body or {}).get("issue", []):
        if issue.get("severity") in ("fatal", "error"):
            place = ",".join(issue.get("expression") or issue.get("location") or [])
            text = issue.get("diagnostics") or (issue.get("details") or {}).get("text") or ""
            issues.append(" ".join(part for part in (issue.get("code"), place, text[:300]) if part))
    return "; ".join(issues) or "no OperationOutcome"


def load(base, resources):
    statuses, refused = collections.Counter(), []
    keys = ordered(resources)
    for at in range(0, len(keys), TRANSACTION_SIZE):
        part = keys[at : at + TRANSACTION_SIZE]
        bundle = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": f"{base}/{kind}/{ident}",
                    "resource": resources[kind, ident],
                    "request": {"method": "PUT", "url": f"{kind}/{ident}"},
                }
                for kind, ident in part
            ],
        }
        status, body = send("POST", base, bundle)
        answers = (body or {}).get("entry", [])
        if status == 200 and len(answers) == len(part):
            statuses.update(entry["response"]["status"].split()[0] for entry in answers)
            continue
        print(f"transaction of {len(part)} refused with {status}: {outcome(body)}", file=sys.stderr)
        for kind, ident in part:
            status, body = send("PUT", f"{base}/{kind}/{ident}", resources[kind, ident])
            statuses[str(status)] += 1
            if status not in (200, 201):
                refused.append(f"{kind}/{ident}: {status} {outcome(body)}")
    return statuses, refused


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    base, paths = arguments[0].rstrip("/"), arguments[1:]
    try:
        resources = read_resources(paths)
        statuses, refused = load(base, resources)
    except (OSError, SystemExit2) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    kinds = collections.Counter(kind for kind, _ in resources)
    print("resources:", ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))
    print("statuses:", ", ".join(f"{status} {count}" for status, count in sorted(statuses.items())))
    for line in refused:
        print("refused:", line)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
