"""DuckDB does the work of task.py: duckdb_screen.py FOLDER OUT.csv AS_OF

The columns are declared, so that nothing is inferred and only they are turned into values.
"""
import sys

import duckdb

from task import EXCLUDING, LENGTHS, STATUSES, UNCONFIRMED, VARIABLES


def quoted(values):
    return ", ".join(f"'{value}'" for value in sorted(values))


def ndjson(folder, kind, columns):
    declared = ", ".join(f"{name}: '{of}'" for name, of in columns.items())
    path = f"{folder}/{kind}.ndjson".replace("'", "''")
    return f"read_json('{path}', format = 'newline_delimited', auto_detect = false, columns = {{{declared}}})"


def latest(name, codes, units):
    cases = " ".join(f"WHEN '{unit}' THEN value * {by} / {over}" for unit, (by, over) in units.items())
    return f"arg_max(CASE unit {cases} END, taken) FILTER (WHERE loinc IN ({quoted(codes)})) AS {name}"


def query(folder, as_of):
    concept = 'STRUCT(coding STRUCT("system" VARCHAR, code VARCHAR)[])'
    reference = "STRUCT(reference VARCHAR)"
    observations = ndjson(folder, "Observation", {
        "status": "VARCHAR", "code": concept, "subject": reference, "effectiveDateTime": "TIMESTAMPTZ",
        "valueQuantity": 'STRUCT("value" DOUBLE, code VARCHAR)',
    })
    conditions = ndjson(folder, "Condition", {
        "verificationStatus": concept, "code": concept, "subject": reference,
    })
    patients = ndjson(folder, "Patient", {"id": "VARCHAR", "birthDate": "DATE"})
    codes = [code for codes, _ in VARIABLES.values() for code in codes]
    columns = ",\n            ".join(latest(name, *of) for name, of in VARIABLES.items())
    excluding = " OR ".join(f"left(icd, {n}) IN ({quoted(c for c in EXCLUDING if len(c) == n)})" for n in LENGTHS)
    return f"""
        WITH results AS (
            SELECT subject.reference AS subject, code.coding[1].code AS loinc, effectiveDateTime AS taken,
                valueQuantity."value" AS value, valueQuantity.code AS unit
            FROM {observations}
            WHERE status IN ({quoted(STATUSES)}) AND code.coding[1].code IN ({quoted(codes)})
        ), latest AS (
            SELECT subject, {columns}
            FROM results GROUP BY subject
        ), diagnoses AS (
            SELECT subject.reference AS subject, code.coding[1].code AS icd
            FROM {conditions}
            WHERE verificationStatus.coding[1].code NOT IN ({quoted(UNCONFIRMED)})
        ), excluded AS (
            SELECT DISTINCT subject FROM diagnoses WHERE {excluding}
        )
        SELECT p.id AS subject, date_sub('year', p.birthDate, DATE '{as_of}') AS age,
            {", ".join(VARIABLES)},
            e.subject IS NOT NULL AS excluded,
            CASE WHEN bilirubin > 0 AND inr > 0 AND creatinine > 0 THEN
                greatest(6, least(40, round(10 * (0.957 * ln(least(4.0, greatest(1.0, creatinine)))
                    + 0.378 * ln(greatest(1.0, bilirubin)) + 1.120 * ln(greatest(1.0, inr)) + 0.643))))::INTEGER
            END AS meld
        FROM {patients} p
        LEFT JOIN latest l ON l.subject = 'Patient/' || p.id
        LEFT JOIN excluded e ON e.subject = 'Patient/' || p.id"""


def main(folder, out, as_of):
    # Two threads, as `screen` has; the order of rows is free, which spares DuckDB memory.
    database = duckdb.connect(config={
        "threads": 2, "preserve_insertion_order": False,
        "autoinstall_known_extensions": False, "autoload_known_extensions": False,
    })
    path = out.replace("'", "''")
    database.execute(f"COPY ({query(folder, as_of)}) TO '{path}' (FORMAT csv, HEADER)")


if __name__ == "__main__":
    main(*sys.argv[1:])
