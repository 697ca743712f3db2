#!/usr/bin/env python3
"""What two Python clients that hospitals use make of our answers. Started by python.sh.

fhirpy 2.3.1 (asynchronous and synchronous) pushes FHIR, hl7apy 1.3.5 builds and reads HL7 v2.
Every patient is synthetic.
"""
import asyncio
import datetime
import json
import os
import socket
import subprocess
import sys
import time
import traceback

import requests
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome
from hl7apy.core import Message
from hl7apy.parser import parse_message

BASE = os.environ["FHIR_BASE"]
MLLP = int(os.environ["MLLP_PORT"])
MRN = "urn:oid:1.2.3.5"
UCUM = "http://unitsofmeasure.org"
# fhirpy takes the body of an answer for the resource that it saved: this asks for none.
QUIET = {"Prefer": "return=minimal"}
NOW = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8)))
TIME = NOW.strftime("%Y%m%d%H%M%S")
LATER = (NOW + datetime.timedelta(seconds=1)).strftime("%Y%m%d%H%M%S")


# ---- what is held here -----------------------------------------------------------------------------

def program(*arguments):
    ran = subprocess.run([os.environ["BINARY"], *arguments], capture_output=True, text=True)
    return ran.returncode, ran.stdout


def explain(subject):
    code, out = program("explain", subject, "-o", "json")
    return json.loads(out) if code == 0 else {}


def value(subject, variable="bilirubin_total"):
    held = explain(subject).get("variables", {}).get(variable, {})
    return None if held.get("value") is None else float(held["value"])


def becomes(expected, ask, what):
    """Waits until the background has worked it out; fails loudly if it never does."""
    for _ in range(150):
        found = ask()
        if found == expected:
            return
        time.sleep(0.2)
    raise AssertionError(f"{what}: {expected!r} was expected, {found!r} was found")


# ---- FHIR ------------------------------------------------------------------------------------------

def patient(name):
    return {
        "id": name, "gender": "female", "birthDate": "1970-01-01",
        "identifier": [{"system": MRN, "value": f"SYN-{name}"}],
    }


def bilirubin(name, of, number, unit="mg/dL", code="1975-2", version=None):
    quantity = {"value": number}
    if unit:
        quantity |= {"unit": unit, "system": UCUM, "code": unit}
    resource = {
        "id": name, "status": "final", "subject": {"reference": f"Patient/{of}"},
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "effectiveDateTime": NOW.isoformat(timespec="seconds"), "valueQuantity": quantity,
    }
    if version:
        resource["meta"] = {"versionId": str(version)}
    return resource


def bundle(kind, *resources):
    entries = [
        {"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in resources
    ]
    return {"type": kind, "entry": entries}


async def fhirpy_async_saves():
    client = AsyncFHIRClient(BASE, extra_headers=QUIET)
    saved = client.resource("Patient", **patient("async"))
    await saved.save()
    assert saved.id == "async" and saved.resourceType == "Patient", saved
    result = client.resource("Observation", **bilirubin("async-1", "async", 4.15, version=1))
    await result.save()
    becomes(4.15, lambda: value("async"), "created by fhirpy")
    result["valueQuantity"]["value"] = 5.25
    result["meta"] = {"versionId": "2"}
    await result.save()
    becomes(5.25, lambda: value("async"), "updated by fhirpy")
    await result.delete()
    becomes(None, lambda: value("async"), "deleted by fhirpy")


async def fhirpy_async_sends_fifty_at_once():
    client = AsyncFHIRClient(BASE, extra_headers=QUIET)
    await client.resource("Patient", **patient("many")).save()
    results = [client.resource("Observation", **bilirubin(f"many-{n}", "many", 6)) for n in range(50)]
    await asyncio.gather(*(r.save() for r in results))
    becomes(6.0, lambda: value("many"), "one of fifty")


def fhirpy_sync_saves():
    client = SyncFHIRClient(BASE, extra_headers=QUIET)
    saved = client.resource("Patient", **patient("sync"))
    saved.save()
    client.resource("Observation", **bilirubin("sync-1", "sync", 3.3)).save()
    becomes(3.3, lambda: value("sync"), "created by fhirpy")
    # The very same bytes, as after a timeout.
    client.resource("Observation", **bilirubin("sync-1", "sync", 3.3)).save()
    assert value("sync") == 3.3


def fhirpy_takes_the_body_for_the_resource():
    """Why the others ask for no body: without that, fhirpy's copy loses its id and the next save is a create."""
    client = SyncFHIRClient(BASE)
    saved = client.resource("Patient", **patient("body"))
    saved.save()
    assert saved.get("id") is None and "issue" in saved, saved


def fhirpy_sends_a_transaction():
    client = SyncFHIRClient(BASE)
    who = {"resourceType": "Patient"} | patient("tx")
    what = {"resourceType": "Observation"} | bilirubin("tx-1", "tx", 7.7)
    answer = client.resource("Bundle", **bundle("transaction", who, what))
    answer.save()
    assert answer["type"] == "transaction-response", answer
    statuses = [e["response"]["status"] for e in answer["entry"]]
    assert statuses == ["201 Created", "201 Created"], statuses
    becomes(7.7, lambda: value("tx"), "by a transaction")


def refused(send):
    try:
        send()
    except OperationOutcome as error:
        issue = error.resource["issue"][0]
        return issue["code"], issue["details"]["coding"][0]["code"], issue.get("expression", [None])[0]
    raise AssertionError("it was not refused")


def fhirpy_raises_our_outcome():
    client = SyncFHIRClient(BASE)
    good = {"resourceType": "Observation"} | bilirubin("bad-1", "bad", 8.8)
    bad = {"resourceType": "Observation"} | bilirubin("bad-2", "bad", 8.8) | {"code": 17}
    who = {"resourceType": "Patient"} | patient("bad")
    code, reason, where = refused(client.resource("Bundle", **bundle("transaction", who, good, bad)).save)
    assert (code, reason) == ("structure", "structure"), (code, reason)
    assert where.startswith("Bundle.entry[2].resource"), where
    time.sleep(1)
    assert explain("bad") == {}, "nothing of a refused transaction counts"
    one = client.resource("Observation", **(bilirubin("bad-3", "bad", 8.8) | {"code": 17}))
    assert refused(one.save)[2].startswith("Observation.code"), refused(one.save)


def fhirpy_sees_a_warning():
    client = SyncFHIRClient(BASE)
    client.resource("Patient", **patient("warn")).save()
    saved = client.resource("Observation", **bilirubin("warn-1", "warn", 7.5, unit=None))
    saved.save()
    issue = saved["issue"][0]
    assert (issue["severity"], issue["details"]["coding"][0]["code"]) == ("warning", "unit-missing"), issue
    becomes("Patient/warn", lambda: explain("warn").get("subject"), "the patient")
    assert value("warn") is None


def fhirpy_may_not_read():
    client = SyncFHIRClient(BASE)
    code, reason, _ = refused(lambda: client.resources("Patient").fetch())
    assert reason == "not-supported", (code, reason)


def requests_posts_what_the_page_says():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with open(os.path.join(root, "examples", "bundle-transaction.json"), "rb") as file:
        body = file.read()
    first, again = (
        requests.post(BASE, data=body, headers={"Content-Type": "application/fhir+json"}, timeout=30) for _ in range(2)
    )
    assert first.status_code == again.status_code == 200, first.text
    assert first.headers["X-Trialbridge-Message"] == again.headers["X-Trialbridge-Message"]
    assert again.headers["Idempotent-Replay"] == "true"
    assert len(first.json()["entry"]) == 3


# ---- HL7 v2 ----------------------------------------------------------------------------------------

def mllp(*messages):
    """Sends one after another over one connection; the answers, read by hl7apy."""
    answers = []
    with socket.create_connection(("127.0.0.1", MLLP), timeout=30) as connection:
        for message in messages:
            connection.sendall(message.encode() if isinstance(message, str) else message)
            data = b""
            while not data.endswith(b"\x1c\r"):
                part = connection.recv(65536)
                assert part, "closed without an answer"
                data += part
            assert data.startswith(b"\x0b"), data[:20]
            answers.append(parse_message(data[1:-2].decode(), find_groups=False))
    return answers


def header(message, control, event, at=TIME):
    msh = message.msh
    msh.msh_3, msh.msh_4, msh.msh_5, msh.msh_6 = "PYLAB", "HOSP", "TB", "TRIAL"
    msh.msh_7, msh.msh_9, msh.msh_10, msh.msh_11, msh.msh_18 = at, event, control, "P", "UNICODE UTF-8"


def oru(control, number, identifier, placer=None, code="1975-2^Bilirubin^LN", unit="mg/dL^mg/dL^UCUM", status="F",
        at=TIME):
    message = Message("ORU_R01", version="2.5")
    header(message, control, "ORU^R01^ORU_R01", at)
    result = message.add_group("ORU_R01_PATIENT_RESULT")
    who = result.add_group("ORU_R01_PATIENT")
    who.pid.pid_1, who.pid.pid_3, who.pid.pid_5 = "1", f"{identifier}^^^HIS^MR", "Synthetic^Person"
    who.pid.pid_7, who.pid.pid_8 = "19700101", "F"
    order = result.add_group("ORU_R01_ORDER_OBSERVATION")
    order.obr.obr_1, order.obr.obr_3, order.obr.obr_4 = "1", f"{placer or control}^PYLAB", "24325-3^Liver panel^LN"
    order.obr.obr_7, order.obr.obr_22, order.obr.obr_25 = TIME, at, status
    observation = order.add_group("ORU_R01_OBSERVATION")
    obx = observation.obx
    obx.obx_1, obx.obx_2, obx.obx_3, obx.obx_5, obx.obx_6 = "1", "NM", code, str(number), unit
    obx.obx_11, obx.obx_14 = status, TIME
    message.validate()
    return message


def adt(control, identifier, event="ADT^A01^ADT_A01"):
    message = Message("ADT_A01", version="2.5")
    header(message, control, event)
    message.evn.evn_2 = TIME
    message.pid.pid_1, message.pid.pid_3, message.pid.pid_5 = "1", f"{identifier}^^^HIS^MR", "Synthetic^Person"
    message.pid.pid_7, message.pid.pid_8 = "19700101", "F"
    message.pv1.pv1_2 = "I"
    message.validate()
    return message


def said(answer):
    return answer.msa.msa_1.value, answer.msa.msa_2.value


def hl7apy_attaches_to_the_fhir_patient():
    SyncFHIRClient(BASE, extra_headers=QUIET).resource("Patient", **patient("hl7")).save()
    becomes("Patient/hl7", lambda: explain("hl7").get("subject"), "the FHIR Patient")
    [admitted, resulted] = mllp(adt("PY-A1", "SYN-hl7").to_mllp(), oru("PY-O1", 4.4, "SYN-hl7", "P1").to_mllp())
    assert said(admitted) == ("AA", "PY-A1"), said(admitted)
    assert said(resulted) == ("AA", "PY-O1"), said(resulted)
    becomes(4.4, lambda: value("hl7"), "the HL7 result, at the FHIR Patient with the same number")
    # Of two versions of one second neither counts: nothing says which is the newer one.
    [corrected] = mllp(oru("PY-O2", 5.5, "SYN-hl7", "P1", status="C", at=LATER).to_mllp())
    assert said(corrected) == ("AA", "PY-O2"), said(corrected)
    becomes(5.5, lambda: value("hl7"), "the correction")
    code, out = program("subjects", "-o", "ndjson")
    subjects = [json.loads(line)["subject"] for line in out.splitlines()]
    assert code == 0 and subjects.count("Patient/hl7") == 1, subjects
    assert not any(s.startswith("Patient/id.") for s in subjects), "the number is nobody else"


def hl7apy_reads_a_repetition():
    message = oru("PY-R1", 6.1, "SYN-again").to_mllp()
    first, again = mllp(message, message)
    assert said(first) == said(again) == ("AA", "PY-R1")


def hl7apy_reads_refusals():
    reused = oru("PY-R2", 6.1, "SYN-again").to_mllp(), oru("PY-R2", 6.2, "SYN-again").to_mllp()
    _, other = mllp(*reused)
    assert said(other) == ("AE", "PY-R2"), said(other)
    assert other.err.err_3.err_3_1.value == "205", other.err.to_er7()
    training = adt("PY-T1", "SYN-t")
    training.msh.msh_11 = "T"
    [refused_] = mllp(training.to_mllp())
    assert said(refused_) == ("AR", "PY-T1"), said(refused_)
    assert refused_.err.err_3.err_3_1.value == "202", refused_.err.to_er7()
    assert refused_.err.err_2.to_er7().startswith("MSH^1^11"), refused_.err.to_er7()
    [broken] = mllp(b"\x0bMSH|^~\\&|PYLAB|HOSP|TB|TRIAL|" + TIME.encode() + b"||ORU^R01|PY-B1|P|2.5\rpid|1\r\x1c\r")
    assert said(broken) == ("AE", "PY-B1"), said(broken)
    assert broken.err.err_4.value == "E", broken.err.to_er7()


def hl7apy_reads_what_cannot_be_mapped():
    """AA: a refusal would stop the sender's queue. What was not understood waits in quarantine."""
    [unitless] = mllp(oru("PY-U1", 9, "SYN-unit", unit="furlong").to_mllp())
    assert said(unitless) == ("AA", "PY-U1"), said(unitless)

    def reasons():
        return any(json.loads(l)["reason"].startswith("unit") for l in program("quarantine", "list")[1].splitlines())

    becomes(True, reasons, "the unit in quarantine")


# ---- running ---------------------------------------------------------------------------------------

def main():
    tests = [t for name, t in globals().items() if name.startswith(("fhirpy_", "requests_", "hl7apy_"))]
    failed = 0
    for test in tests:
        try:
            asyncio.run(test()) if asyncio.iscoroutinefunction(test) else test()
            print(f"test {test.__name__} ... ok", flush=True)
        except Exception:
            failed += 1
            print(f"test {test.__name__} ... FAILED", flush=True)
            traceback.print_exc(file=sys.stdout)
    verdict = "FAILED" if failed else "ok"
    print(f"test result: {verdict}. {len(tests) - failed} passed; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
