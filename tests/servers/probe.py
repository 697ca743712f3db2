#!/usr/bin/env python3
"""Asks a FHIR server what trialbridge's client relies on, and prints what it answered.

    probe.py BASE_URL

The server must hold the cohort (load.py). Each line is `name | request | answer`; the table of
docs/real-servers.md was filled from these lines. Nothing is judged: servers differ, and the
client has to live with all of them. The probe writes: use it on test servers only.
Standard library only; proxies are not used.
"""

import json
import sys
import threading
import time
import urllib.error
import urllib.request

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PATIENT = "pt-e4f5d6254795"
LABS = "1742-6,1920-8,6768-6,1975-2,1751-7,6301-6,2160-0,2951-2,777-3"
FORM = "application/x-www-form-urlencoded"
FHIR = "application/fhir+json"


class Answer:
    def __init__(self, status, headers, content):
        self.status, self.headers, self.content = status, headers, content
        try:
            self.body = json.loads(content)
        except ValueError:
            self.body = {}

    def links(self):
        return {link["relation"]: link["url"] for link in self.body.get("link", [])}

    def matches(self):
        return [
            entry["resource"]
            for entry in self.body.get("entry", [])
            if (entry.get("search") or {}).get("mode", "match") == "match"
        ]

    def modes(self):
        return sorted({(e.get("search") or {}).get("mode", "-") for e in self.body.get("entry", [])})

    def new_id(self):
        place = self.headers.get("Location") or self.headers.get("Content-Location") or ""
        return self.body.get("id") or place.split("/_history")[0].rsplit("/", 1)[-1]

    def __str__(self):
        kind = self.body.get("resourceType")
        if kind == "Bundle":
            return (f"{self.status}, total {self.body.get('total', 'absent')}, "
                    f"{len(self.body.get('entry', []))} entries {'+'.join(self.modes())}, "
                    f"links {'+'.join(self.links()) or 'none'}")
        if kind == "OperationOutcome":
            issue = self.body["issue"][0]
            text = issue.get("diagnostics") or (issue.get("details") or {}).get("text") or ""
            return f"{self.status} {issue.get('code')}: {text[:90]}"
        version = (self.body.get("meta") or {}).get("versionId")
        return f"{self.status}" + (f", version {version}" if version else "")


class Probe:
    def __init__(self, base):
        self.base = base.rstrip("/")
        # Names of this run, so that a second run on the same server starts afresh.
        self.run = str(int(time.time()))

    def ask(self, method, path, body=None, **headers):
        url = path if path.startswith("http") else f"{self.base}/{path}".rstrip("/")
        data = None
        sent = {"Accept": FHIR}
        if body is not None:
            text = isinstance(body, str)
            data = (body if text else json.dumps(body)).encode()
            sent["Content-Type"] = FORM if text else FHIR
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        request = urllib.request.Request(url, data=data, method=method, headers=sent)
        try:
            with OPENER.open(request, timeout=60) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def say(self, name, request, answer):
        print(f"{name} | {request} | {answer}".replace(self.base, "[base]").replace(self.run, "RUN"))

    def show(self, name, method, path, body=None, **headers):
        answer = self.ask(method, path, body, **headers)
        extra = "".join(f" {key.replace('_', '-')}: {value}" for key, value in headers.items())
        sent = f" ({body})" if isinstance(body, str) else ""
        self.say(name, f"{method} {path}{sent}{extra}", answer)
        return answer

    def study(self, value):
        return {"resourceType": "ResearchStudy", "status": "active", "title": "probe",
                "identifier": [{"system": "https://clinicaltrials.gov", "value": value}],
                "arm": [{"name": "single infusion"}, {"name": "double infusion"}]}

    def subject(self, value, study, **changes):
        return {"resourceType": "ResearchSubject", "status": "on-study",
                "identifier": [{"system": "urn:trialbridge:subject", "value": value}],
                "study": {"reference": f"ResearchStudy/{study}"},
                "individual": {"reference": f"Patient/{PATIENT}"},
                "assignedArm": "single infusion", **changes}

    def parallel(self, count, call):
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(call())) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counts = {}
        for answer in answers:
            counts[answer.status] = counts.get(answer.status, 0) + 1
        return ", ".join(f"{number} x {status}" for status, number in sorted(counts.items()))

    def searches(self):
        search = f"Observation?patient={PATIENT}&code={LABS}"
        first = self.show("search", "GET", search)
        self.say("self of GET", "", first.links().get("self"))
        self.say("next of GET", "", first.links().get("next"))
        ids, pages, answer = [], 1, first
        ids += [r["id"] for r in answer.matches()]
        while answer.links().get("next") and pages < 50:
            answer = self.ask("GET", answer.links()["next"])
            ids += [r["id"] for r in answer.matches()]
            pages += 1
        self.say("all pages", "", f"{pages} pages, {len(ids)} entries, {len(set(ids))} distinct")
        posted = self.show("POST _search", "POST", "Observation/_search",
                           f"patient={PATIENT}&code={LABS}&_count=30")
        self.say("self of POST", "", posted.links().get("self"))
        self.say("next of POST", "", posted.links().get("next"))
        self.show("next of POST by GET", "GET", posted.links()["next"])
        self.show("_count=1000", "GET", "Observation?_count=1000")
        self.show("_total=accurate", "GET", f"{search}&_total=accurate")
        self.show("_summary=count", "GET", "Observation?_summary=count")
        self.show("unknown parameter", "GET", f"Observation?patient={PATIENT}&foo=bar&_count=1")
        self.show("strict", "GET", f"Observation?patient={PATIENT}&foo=bar&_count=1",
                  Prefer="handling=strict")
        self.show("lenient", "GET", f"Observation?patient={PATIENT}&foo=bar&_count=1",
                  Prefer="handling=lenient")
        self.show("unknown modifier", "GET", f"Observation?patient={PATIENT}&code:foo=1975-2&_count=1")
        forms = self.show("forms of a patient", "GET", f"QuestionnaireResponse?patient={PATIENT}")
        owners = {r["subject"]["reference"] for r in forms.matches()}
        self.say("forms of a patient: whose", "", f"{len(owners)} patients")
        self.show("forms by questionnaire", "GET",
                  "QuestionnaireResponse?questionnaire=urn:trialbridge:questionnaire:NCT06242405")
        self.show("offset, encoded", "GET", "Patient?_lastUpdated=ge2026-01-01T00:00:00%2B08:00")
        self.show("offset, raw plus", "GET", "Patient?_lastUpdated=ge2026-01-01T00:00:00+08:00")
        stamps = [r["meta"]["lastUpdated"] for r in self.ask("GET", "Observation?_count=200").matches()]
        self.say("equal lastUpdated", "GET Observation?_count=200",
                 f"{len(stamps)} entries, {len(set(stamps))} distinct lastUpdated")
        self.show("_has", "GET", "Patient?_has:Condition:patient:code=K74.60")
        self.show("$everything", "GET", f"Patient/{PATIENT}/$everything?_count=10")
        self.show("$lastn", "GET", f"Observation/$lastn?patient={PATIENT}&code={LABS}")
        many = ",".join(f"http://loinc.org|{number}-1" for number in range(600))
        self.say("URL of 15 kB", "GET Observation?code=(600 codes)",
                 self.ask("GET", f"Observation?code={many}"))
        self.say("the same by POST", "POST Observation/_search (600 codes)",
                 self.ask("POST", "Observation/_search", f"code={many}"))

    def cohorts(self):
        group = self.ask("POST", "Group", {
            "resourceType": "Group", "type": "person", "actual": True,
            "identifier": [{"value": f"g{self.run}"}],
            "member": [{"entity": {"reference": f"Patient/{PATIENT}"}}]})
        self.say("Group", "POST Group", group)
        self.show("Group by identifier", "GET", f"Group?identifier=g{self.run}")
        listed = self.ask("POST", "List", {
            "resourceType": "List", "status": "current", "mode": "working",
            "entry": [{"item": {"reference": f"Patient/{PATIENT}"}}]})
        self.say("List", "POST List", listed)
        self.say("Patient?_list=", "GET Patient?_list=ID",
                 self.ask("GET", f"Patient?_list={listed.new_id()}"))

    def writes(self):
        number = f"P{self.run}"
        query = f"identifier=https://clinicaltrials.gov|{number}"
        self.show("study, before", "GET", f"ResearchStudy?{query}")
        study = self.show("conditional create", "POST", "ResearchStudy", self.study(number),
                          If_None_Exist=query)
        self.show("conditional create again", "POST", "ResearchStudy", self.study(number),
                  If_None_Exist=query)
        self.show("study, same search", "GET", f"ResearchStudy?{query}")
        self.show("study, no-cache", "GET", f"ResearchStudy?{query}", Cache_Control="no-cache")
        if study.status != 201:
            study = self.ask("POST", "ResearchStudy", self.study(number))
        home = study.new_id()
        for _ in range(2):
            self.ask("POST", "ResearchStudy", self.study(f"D{self.run}"))
        self.show("conditional create, two match", "POST", "ResearchStudy", self.study(f"D{self.run}"),
                  If_None_Exist=f"identifier=https://clinicaltrials.gov|D{self.run}")
        race = f"identifier=https://clinicaltrials.gov|R{self.run}"
        self.say("8 conditional creates at once", "POST ResearchStudy If-None-Exist", self.parallel(
            8, lambda: self.ask("POST", "ResearchStudy", self.study(f"R{self.run}"), If_None_Exist=race)))
        own = f"tb-{self.run}"
        self.say("8 PUTs of one new id at once", f"PUT ResearchSubject/{own}", self.parallel(
            8, lambda: self.ask("PUT", f"ResearchSubject/{own}", self.subject(own, home, id=own))))
        self.show("PUT of a numeric id", "PUT", f"ResearchSubject/{self.run}",
                  self.subject(own, home, id=self.run))
        for parameter in ("identifier=urn:trialbridge:subject|absent", "study=ResearchStudy/absent",
                          "individual=Patient/absent", "patient=Patient/absent"):
            self.show("subjects, none should match", "GET", f"ResearchSubject?{parameter}")

        place = f"ResearchSubject/{own}"
        now = self.ask("GET", place).headers.get("ETag")
        self.say("ETag of a read", f"GET {place}", now)
        changed = self.subject(own, home, id=own, status="withdrawn")
        answer = self.show("PUT, If-Match current", "PUT", place, changed, If_Match=now)
        self.say("headers of that PUT", "", ", ".join(
            name for name in ("ETag", "Location", "Content-Location", "Last-Modified")
            if answer.headers.get(name)))
        self.show("PUT, If-Match stale", "PUT", place, changed, If_Match=now)
        self.show("PUT, If-Match, no such resource", "PUT", f"{place}-new",
                  dict(changed, id=f"{own}-new"), If_Match='W/"1"')
        before = self.ask("GET", place).body["meta"]["versionId"]
        self.ask("PUT", place, changed)
        after = self.ask("GET", place).body["meta"]["versionId"]
        self.say("PUT of what is there", f"PUT {place}", f"version {before} to {after}")
        self.show("return=minimal", "PUT", place, changed, Prefer="return=minimal")

        refused = {
            "required element missing": {k: v for k, v in self.subject("x", home).items() if k != "status"},
            "code not in the value set": self.subject("x", home, status="nonsense"),
            "element that R4 lacks": self.subject("x", home, foo=1),
            "reference that dangles": self.subject("x", home, individual={"reference": "Patient/absent"}),
        }
        for name, resource in refused.items():
            self.show(name, "POST", "ResearchSubject", resource)

        lab = self.ask("GET", f"Observation?patient={PATIENT}&code=1975-2&_count=1").matches()[0]["id"]
        score = {"resourceType": "Observation", "status": "final", "code": {"text": "probe"},
                 "subject": {"reference": f"{self.base}/Patient/{PATIENT}"},
                 "derivedFrom": [{"reference": f"Observation/{lab}/_history/1"}]}
        text = json.dumps(score)[:-1] + ', "valueQuantity": {"value": 2.50, "unit": "1"}}'
        created = self.ask("POST", "Observation", text, Content_Type=FHIR)
        back = self.ask("GET", f"Observation/{created.new_id()}")
        self.say("versioned reference", f"Observation/{lab}/_history/1",
                 back.body.get("derivedFrom", [{}])[0].get("reference"))
        self.say("absolute reference", "[base]/Patient/ID", back.body.get("subject", {}).get("reference"))
        self.say("decimal 2.50", "", "kept" if b"2.50" in back.content else "becomes 2.5")
        gone = f"Observation/{created.new_id()}"
        self.say("DELETE", "DELETE Observation/ID", self.ask("DELETE", gone))
        self.say("read of what was deleted", "GET Observation/ID", self.ask("GET", gone))
        self.say("DELETE again", "DELETE Observation/ID", self.ask("DELETE", gone))

        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [
            {"fullUrl": "urn:uuid:5d0d3c0e-7d0a-4c51-9f0d-0d8a4f6f0001",
             "resource": {"resourceType": "Basic", "code": {"text": "probe"}},
             "request": {"method": "POST", "url": "Basic"}}]}
        answer = self.ask("POST", "", bundle)
        self.say("transaction entry", "POST [base]", json.dumps(
            {k: v for k, v in answer.body["entry"][0]["response"].items() if k in ("status", "location", "etag")}))
        read = self.ask("GET", f"Patient/{PATIENT}", Accept_Encoding="gzip")
        self.say("gzip", "GET Accept-Encoding: gzip", read.headers.get("Content-Encoding") or "not used")
        self.say("content type", "", read.headers.get("Content-Type"))

    def paging_under_writes(self):
        answer = self.ask("GET", f"Observation?patient={PATIENT}&code=1975-2&_count=5&_sort=-_lastUpdated")
        ids = [r["id"] for r in answer.matches()]
        self.ask("POST", "Observation", {
            "resourceType": "Observation", "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "1975-2"}]},
            "subject": {"reference": f"Patient/{PATIENT}"}, "effectiveDateTime": "2020-01-01T00:00:00Z",
            "valueQuantity": {"value": 1, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}})
        while answer.links().get("next"):
            answer = self.ask("GET", answer.links()["next"])
            ids += [r["id"] for r in answer.matches()]
        self.say("a row arrives between pages", "_sort=-_lastUpdated&_count=5",
                 f"{len(ids)} entries, {len(set(ids))} distinct")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    probe = Probe(arguments[0])
    try:
        probe.searches()
        probe.cohorts()
        probe.writes()
        probe.paging_under_writes()
    except OSError as error:
        print(f"error: {arguments[0]}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
