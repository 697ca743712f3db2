"""orjson and dictionaries do the work of task.py: orjson_screen.py FOLDER OUT.csv AS_OF [PROCESSES]

With more than one process each takes an equal share of the bytes of every file.
"""
import csv
import math
import multiprocessing
import os
import sys
from datetime import date, datetime

from orjson import loads

from task import COLUMNS, EXCLUDING, LENGTHS, STATUSES, UNCONFIRMED, VARIABLES

# LOINC code -> position of the variable and its units.
BY_CODE = {code: (at, units) for at, (codes, units) in enumerate(VARIABLES.values()) for code in codes}


def lines(path, share, of):
    """The lines that begin in this share of the file."""
    size = os.path.getsize(path)
    begin, end = size * share // of, size * (share + 1) // of
    with open(path, "rb", buffering=1 << 20) as file:
        if begin:
            file.seek(begin - 1)
            begin += len(file.readline()) - 1
        for line in file:
            if begin >= end:
                return
            begin += len(line)
            yield line


def code_of(concept):
    return concept["coding"][0].get("code")


def part(folder, share, of):
    """(birth dates by subject, latest results by subject and variable, excluded subjects)."""
    births, latest, excluded = {}, {}, set()
    for line in lines(f"{folder}/Patient.ndjson", share, of):
        patient = loads(line)
        births[patient["id"]] = patient.get("birthDate")
    for line in lines(f"{folder}/Condition.ndjson", share, of):
        condition = loads(line)
        code = code_of(condition["code"])
        if any(code[:n] in EXCLUDING for n in LENGTHS) and code_of(condition["verificationStatus"]) not in UNCONFIRMED:
            excluded.add(condition["subject"]["reference"])
    for line in lines(f"{folder}/Observation.ndjson", share, of):
        observation = loads(line)
        variable = BY_CODE.get(code_of(observation["code"]))
        if variable is None or observation["status"] not in STATUSES:
            continue
        quantity, taken = observation.get("valueQuantity"), observation.get("effectiveDateTime")
        if quantity is None or taken is None:
            continue
        at, units = variable
        factor = units.get(quantity.get("code"))
        if factor is None:
            continue
        key, when = (observation["subject"]["reference"], at), datetime.fromisoformat(taken)
        earlier = latest.get(key)
        if earlier is None or earlier[0] < when:
            latest[key] = (when, quantity["value"] * factor[0] / factor[1])
    return births, latest, excluded


def merged(parts):
    births, latest, excluded = parts[0]
    for b, l, e in parts[1:]:
        births |= b
        excluded |= e
        for key, value in l.items():
            if key not in latest or latest[key][0] < value[0]:
                latest[key] = value
    return births, latest, excluded


def years(birth, as_of):
    if not birth:
        return None
    birth = date.fromisoformat(birth)
    return as_of.year - birth.year - ((as_of.month, as_of.day) < (birth.month, birth.day))


def meld(bilirubin, inr, creatinine):
    if not (bilirubin and inr and creatinine):
        return None
    bracket = (
        0.957 * math.log(min(4.0, max(1.0, creatinine))) + 0.378 * math.log(max(1.0, bilirubin))
        + 1.120 * math.log(max(1.0, inr)) + 0.643
    )
    return max(6, min(40, math.floor(10 * bracket + 0.5)))


def main(folder, out, as_of, processes=1):
    if processes == 1:
        parts = [part(folder, 0, 1)]
    else:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            parts = pool.starmap(part, [(folder, share, processes) for share in range(processes)])
    births, latest, excluded = merged(parts)
    with open(out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for subject, birth in births.items():
            reference = "Patient/" + subject
            values = [latest.get((reference, at), (None, None))[1] for at in range(len(VARIABLES))]
            of = dict(zip(VARIABLES, values))
            score = meld(of["bilirubin"], of["inr"], of["creatinine"])
            table.writerow([subject, years(birth, as_of), *values, str(reference in excluded).lower(), score])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], date.fromisoformat(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
