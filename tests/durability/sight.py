"""A first sight of the same patients from three sides at once."""

import json
import re
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from senders import compare, observation, patient, result, send_all, single
from service import LONG, Bench, Service, Wrong, expect, get


class Hospital(ThreadingHTTPServer):
    """A FHIR server that shows new patients at each pull, and gives a sign the moment it is asked."""

    daemon_threads = True

    def __init__(self, capability, batches):
        super().__init__(("127.0.0.1", 0), Answer)
        self.capability, self.batches = capability, batches
        self.at = -1
        self.lock = threading.Lock()
        self.asked = threading.Condition(self.lock)
        self.base = f"http://127.0.0.1:{self.server_port}/fhir"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A connection that is cut by a kill is no news."""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(urllib.parse.urlsplit(self.path).query)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def answer(self, query):
        server, parts = self.server, urllib.parse.urlsplit(self.path).path.split("/")
        kind = parts[2] if len(parts) > 2 else ""
        asked = urllib.parse.parse_qs(query)
        if kind == "metadata":
            return self.send(server.capability)
        found = []
        with server.lock:
            if kind == "Patient" and not any(k.startswith(("_id", "identifier", "patient")) for k in asked):
                server.at = min(server.at + 1, len(server.batches))
                server.asked.notify_all()
                if server.at < len(server.batches):
                    found = [patient(ident) for ident in server.batches[server.at]]
            elif kind == "Observation":
                wanted = set(re.findall(r"s-\d+", urllib.parse.unquote_plus(query)))
                found = [observation(f"pulled-{i}", i, 40) for b in server.batches[:server.at + 1] for i in b
                         if i in wanted]
        self.send({"resourceType": "Bundle", "type": "searchset", "total": len(found),
                   "link": [{"relation": "self", "url": f"{server.base}/{kind}?{query}"}],
                   "entry": [{"fullUrl": f"{server.base}/{r['resourceType']}/{r['id']}", "resource": r,
                              "search": {"mode": "match"}} for r in found]})

    def send(self, resource):
        body = json.dumps(resource).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/fhir+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def capability_of_the_sandbox(bench):
    port = bench.ops
    sandbox = subprocess.Popen(bench.command("sandbox", "--listen", f"127.0.0.1:{port}"),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={})
    try:
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            status, text = get(port, "/fhir/metadata")
            if status == 200:
                return json.loads(text)
            time.sleep(0.05)
        raise Wrong("the sandbox does not answer")
    finally:
        sandbox.kill()
        sandbox.wait()


def first_sight(full):
    """The same new patient by pull, push and HL7 at once: one subject with all its data."""
    rounds, at_a_time = (1000, 20) if full else (100, 10)
    names = [f"s-{n}" for n in range(1, rounds + 1)]
    batches = [names[n:n + at_a_time] for n in range(0, rounds, at_a_time)]
    with Bench() as bench:
        hospital = Hospital(capability_of_the_sandbox(bench), batches)
        try:
            with Bench(fhir=hospital.base) as bench:
                return sighted(bench, hospital, rounds, batches)
        finally:
            hospital.shutdown()


def sighted(bench, hospital, rounds, batches):
    service = Service(bench)
    book = []
    for number, batch in enumerate(batches):
        messages = []
        for ident in batch:
            messages += [single(patient(ident)), single(observation(f"pushed-{ident}", ident, 30)), lab(ident)]
        book += messages
        with hospital.lock:
            expect(hospital.asked.wait_for(lambda n=number: hospital.at >= n, LONG), "no pull comes")
        # The answer with these patients is on its way now.
        send_all(bench, messages, connections=4, again=True)
    with hospital.lock:
        expect(hospital.asked.wait_for(lambda: hospital.at >= len(batches), LONG), "no pull comes")
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        waiting = bench.query("SELECT (SELECT count(*) FROM inbox WHERE state = 'pending')"
                              " + (SELECT count(*) FROM dirty_subject)")[0][0]
        if waiting == 0 and bench.query("SELECT count(*) FROM record WHERE id LIKE 'pulled-s-%'")[0][0] == rounds:
            break
        time.sleep(0.1)
    service.kill()
    compare(book, bench.inbox(), "first sight")
    bench.sound(why="first sight")
    wrong = bench.query("SELECT id, count(*) FROM record WHERE resource_type = 'Patient' AND id LIKE 's-%'"
                        " GROUP BY id HAVING count(*) <> 1")
    expect(not wrong, f"a patient is there more than once: {wrong[:3]}")
    code, out, err = bench.run("-o", "json", "subjects")
    expect(code == 0, f"`subjects` ends with {code}: {err[:300]}")
    listed = sorted(set(re.findall(r'"subject":\s*"(Patient/[^"]+)"', out)))
    expect(len(listed) == rounds and all(s.startswith("Patient/s-") for s in listed),
           f"{len(listed)} subjects instead of {rounds}: {[s for s in listed if not s.startswith('Patient/s-')][:3]}")
    for prefix in ("pushed-", "pulled-"):
        of_one = bench.query("SELECT count(DISTINCT subject), count(*) FROM record WHERE resource_type = 'Observation'"
                             f" AND id LIKE '{prefix}s-%' AND subject LIKE 'Patient/s-%'")[0]
        expect(of_one == (rounds, rounds), f"{prefix}: {of_one} instead of {rounds} subjects and results")
    attached = bench.query("SELECT count(*) FROM decision d JOIN decision_current c ON c.decision_seq = d.seq"
                           " WHERE d.decision = 'attached'")[0][0]
    expect(attached == rounds, f"{attached} of {rounds} laboratory numbers were attached to their patient")
    return f"{rounds} patients from three sides at once: {len(listed)} subjects, all data of each with it"


def lab(ident):
    message = result("sight")
    text = message.data.decode()
    message.data = re.sub(r"PID\|1\|\|[^^]*", f"PID|1||SYN-{ident}", text).encode()
    message.__init__("MLLP", message.name, message.data)
    return message
