"""A full disk, a stop under load, a first sight from two sides at once, load and overload."""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from senders import (END, START, Sender, bundle, compare, http_answer, http_request, mixed, observation,
                     patient, result, send_all, settle_http, settle_mllp, single)
from service import LONG, Bench, Service, Wrong, expect, get, restarted

# ---- a full disk


class Skipped(Exception):
    """What is needed for a case is not to be had here."""


def disk_full(_full):
    """No space left: refused in words, reads go on, taken again without a restart once there is space."""
    # A file system of its own needs a name space of its own; nobody else sees it.
    inside = ["unshare", "-Urm", sys.executable, os.path.abspath(__file__)]
    try:
        can = subprocess.run(["unshare", "-Urm", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"],
                             capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        can = False
    if not can:
        raise Skipped("no user name space with a tmpfs is allowed here (unshare -Urm, mount)")
    ran = subprocess.run(inside, capture_output=True, text=True, timeout=120, check=False)
    if ran.returncode != 0:
        raise Wrong((ran.stdout + ran.stderr).strip()[-1500:])
    return ran.stdout.strip().splitlines()[-1]


def disk_full_inside():
    with Bench() as bench:
        os.mkdir(bench.data)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", bench.data], check=True)
        ballast = os.path.join(bench.data, "ballast")
        with open(ballast, "wb") as file:
            file.write(bytes(6 << 20))
        service = Service(bench)
        book = []
        for n in range(400):
            book.append(result("f") if n % 5 == 4 else bundle("f", padding=40_000))
            send_all(bench, [book[-1]], connections=1)
            # The log has to fit into the database once more when it is opened: that is what the ballast is for.
            if sum(m.state == "refused" for m in book) >= 6:
                break
        refused = [m for m in book if m.state == "refused"]
        expect(refused, "the disk does not fill")
        allowed = (503, 507, "AE", "AR", "CE", "CR")
        expect(all(m.answers[-1] in allowed for m in refused), f"answered otherwise: {refused[:3]}")
        status, text = service.readiness()
        expect(status == 503 and "disk-full" in text, f"/readyz says {status} {text}")
        for path in ("/", "/api/v1/subjects"):
            expect(get(bench.web, path)[0] == 200, f"{path} is not served on a full disk")
        before = sum(m.state == "acknowledged" for m in book)
        compare(book, bench.inbox(), "on a full disk")

        # Killed and started while it is full: it starts, or says why; it never loses.
        service.kill()
        again = Service(bench)
        started = again.is_ready or again.process.poll() is None
        expect(started or again.process.returncode > 0, f"ended with {again.process.returncode}")
        expect(not again.panicked(), f"{again.panicked()}")
        if started:
            send_all(bench, refused[:2], connections=1)
        os.remove(ballast)
        service = again if started else restarted(bench, "after space was freed")
        send_all(bench, [m for m in book if m.state != "acknowledged"], again=True)
        expect(all(m.state == "acknowledged" for m in book), "what was refused is not taken once there is space")
        deadline = time.monotonic() + 10
        while service.readiness()[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        expect(service.readiness()[0] == 200, f"not ready again: {service.readiness()}")
        compare(book, bench.inbox(), "after space was freed")
        expect(service.stop() == 0, "the stop is not clean")
        bench.sound(why="after a full disk")
        print(f"{before} acknowledged, {len(refused)} refused in words, reads served, "
              f"{'started' if started else 'refused to start'} on the full disk, all taken after space was freed")


# ---- stopped under load

def stopped(full):
    """SIGTERM with 200 requests in flight and 50 unread MLLP messages: exit 0, nothing acknowledged is lost."""
    rounds, answered, unanswered, longest = (20 if full else 3), 0, 0, 0.0
    with Bench() as bench:
        book = []
        for number in range(rounds):
            service = Service(bench)
            in_flight = []
            for n in range(200):
                message = bundle("t")
                stream = socket.create_connection(("127.0.0.1", bench.web), timeout=LONG)
                request = http_request(message, bench.web)
                # Some are whole, some end in the middle of the body, and stay so.
                in_flight.append((stream, [message], request if n % 4 else request[:-40]))
            for _ in range(10):
                several = [result("t") for _ in range(5)]
                stream = socket.create_connection(("127.0.0.1", bench.mllp), timeout=LONG)
                in_flight.append((stream, several, b"".join(START + m.data + END for m in several)))
            for stream, messages, data in in_flight:
                book += messages
                try:
                    stream.sendall(data)
                except OSError:
                    pass
            time.sleep(0.02 * number)
            begun = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            for stream, messages, _ in in_flight:
                drain(stream, messages)
            code = service.stop()
            longest = max(longest, time.monotonic() - begun)
            expect(code == 0, f"exit code {code}: {service.said[-5:]}")
            expect(not service.panicked(), f"{service.panicked()}")
            compare(book, bench.inbox(), "after a stop under load")
            bench.sound(why="after a stop under load")
            answered += sum(m.state == "acknowledged" for _, ms, _ in in_flight for m in ms)
            unanswered += sum(m.state != "acknowledged" for _, ms, _ in in_flight for m in ms)
        expect(answered > 0, "nothing was answered before the stop")
        service = restarted(bench, "after the stops")
        send_all(bench, [m for m in book if m.state != "acknowledged"], again=True)
        expect(compare(book, bench.inbox(), "sent again") == len(book), "not all were taken in the end")
        service.kill()
    return (f"{rounds} stops, {answered} answered, {unanswered} closed without an answer and taken later, "
            f"exit code 0 after at most {longest:.1f} s")


def drain(stream, messages):
    """Reads what answers there are until the end of the stream."""
    try:
        if messages[0].channel == "MLLP":
            data = b""
            while chunk := stream.recv(65536):
                data += chunk
            for message, frame in zip(messages, data.split(END)):
                if frame:
                    settle_mllp(message, frame.lstrip(START))
        elif answer := http_answer(stream):
            settle_http(messages[0], answer[0], answer[1])
    except OSError:
        pass
    finally:
        stream.close()


# ---- first sight from two sides

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


# ---- load

def megabytes(path):
    try:
        return os.path.getsize(path) / 2**20
    except OSError:
        return 0.0


def resident(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024
    except (OSError, TypeError):
        return 0.0


class Watch:
    """Highest resident memory and log of a service, until told to end."""

    def __init__(self, service):
        self.service, self.memory, self.log = service, 0.0, 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over.wait(0.2):
            self.memory = max(self.memory, resident(self.service.pid))
            self.log = max(self.log, megabytes(self.service.bench.data + "/trialbridge.db-wal"))

    def end(self):
        self.over.set()
        self.thread.join()


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] * 1000 if values else 0.0


def sustained(full):
    """200 pushes and 50 MLLP messages a second: no error, all stored, the log stays small."""
    seconds = 900 if full else int(os.environ.get("DURABILITY_LOAD_SECONDS", "10"))
    with Bench() as bench:
        service = Service(bench)
        watch = Watch(service)
        book, lock, troubles, late = [], threading.Lock(), [], []
        begun = time.monotonic()

        def at_rate(kind, make, rate, phase):
            sender, n = Sender(bench, kind), 0
            while (due := begun + (n + phase) / rate) < begun + seconds:
                if (wait := due - time.monotonic()) > 0:
                    time.sleep(wait)
                else:
                    late.append(-wait)
                message = make("l")
                with lock:
                    book.append(message)
                try:
                    sender.send(message)
                except Wrong as wrong:
                    troubles.append(wrong)
                n += 1
            sender.close()

        threads = [threading.Thread(target=at_rate, args=("HTTP", bundle, 25, n / 8)) for n in range(8)]
        threads += [threading.Thread(target=at_rate, args=("MLLP", result, 10, n / 5)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        drained = wait_until_digested(bench)
        watch.end()
        expect(not troubles, f"{troubles[:1]}")
        failed = [m for m in book if m.state != "acknowledged"]
        expect(not failed, f"{len(failed)} of {len(book)} were not taken: {failed[:3]}")
        compare(book, bench.inbox(), "under load")
        expect(watch.log <= 64, f"the log grew to {watch.log:.0f} MiB")
        expect(watch.memory <= 512, f"{watch.memory:.0f} MiB resident")
        expect(service.stop() == 0, "the stop is not clean")
        bench.sound(why="after load")
        times = [m.seconds for m in book]
        return (f"{len(book)} messages in {took:.0f} s ({len(book) / took:.0f}/s), 0 errors, answer p50 "
                f"{quantile(times, .5):.1f} ms, p99 {quantile(times, .99):.1f} ms, p99.9 {quantile(times, .999):.1f} ms, "
                f"worked off {drained:.1f} s later, {watch.memory:.0f} MiB resident, log at most {watch.log:.1f} MiB")


def wait_until_digested(bench, limit=300):
    begun = time.monotonic()
    while time.monotonic() - begun < limit:
        if bench.query("SELECT count(*) FROM inbox WHERE state = 'pending'")[0][0] == 0:
            return time.monotonic() - begun
        time.sleep(0.1)
    raise Wrong(f"the inbox is not worked off within {limit} s")


def overload(full):
    """Ten times as much: sheds in words, keeps what it acknowledged, and is itself again at once."""
    return flooded(60 if full else 5, 1200, None)


def slow_disk(full):
    """The same on a disk that takes 0.4 s to sync: more waits than can be held, and is told so."""
    return flooded(60 if full else 5, 2000, 400_000)


def flooded(seconds, connections, delay):
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    with Bench() as bench:
        service = Service(bench)
        watch = Watch(service)
        book = []
        if delay:
            service.attach("-e", "trace=fsync", "-e", f"inject=fsync:delay_exit={delay}")
        asyncio.run(flood(bench, book, seconds, connections, 2500))
        service.detach()
        begun = time.monotonic()
        while True:
            probe = bundle("w")
            sender = Sender(bench, "HTTP", timeout=1.0)
            sender.send(probe)
            sender.close()
            book.append(probe)
            if probe.state == "acknowledged" and service.readiness()[0] == 200:
                break
            expect(time.monotonic() - begun < 10, "not itself again within 10 s")
            time.sleep(0.1)
        recovered = time.monotonic() - begun
        watch.end()
        stored = compare(book, bench.inbox(), "after overload")
        # Killed, not stopped: what was acknowledged must not need a clean end.
        service.kill()
        service = restarted(bench, "after overload")
        compare(book, bench.inbox(), "after overload and a kill")
        service.kill()
        bench.sound(why="after overload")
        shed = sum(m.state == "refused" for m in book)
        expect(shed or not delay, "nothing was shed: the disk was not slow enough to show it")
        statuses = sorted({a for m in book for a in m.answers}, key=str)
        expect(all(s in (200, 201, 202, 429, 503, "AA", "AR", "AE") for s in statuses), f"answers {statuses}")
        expect(watch.log <= 64, f"the log grew to {watch.log:.0f} MiB")
        return (f"{len(book)} sent in {seconds} s, {stored} acknowledged ({stored / seconds:.0f}/s) and stored, "
                f"{shed} shed with {[s for s in statuses if s in (429, 503, 'AR', 'AE')]}, "
                f"{len(book) - stored - shed} without an answer, recovered after {recovered:.2f} s, "
                f"{watch.memory:.0f} MiB resident, log at most {watch.log:.1f} MiB")


async def flood(bench, book, seconds, connections, rate):
    """Many connections, none of which waits for another."""
    over = time.monotonic() + seconds

    async def one(n):
        is_mllp = n % 100 == 99
        port = bench.mllp if is_mllp else bench.web
        pause = connections / rate
        await asyncio.sleep(pause * n / connections)
        reader = writer = None
        while time.monotonic() < over:
            message = result("o") if is_mllp else bundle("o")
            book.append(message)
            begun = time.monotonic()
            try:
                if writer is None:
                    reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 10)
                writer.write(START + message.data + END if is_mllp else http_request(message, port))
                if is_mllp:
                    frame = await asyncio.wait_for(reader.readuntil(END), 30)
                    settle_mllp(message, frame[:-2].lstrip(START))
                else:
                    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                    lines = head.decode("latin-1").split("\r\n")
                    headers = {k.lower(): v.strip() for k, _, v in (l.partition(":") for l in lines[1:])}
                    await asyncio.wait_for(reader.readexactly(int(headers.get("content-length", "0"))), 30)
                    settle_http(message, int(lines[0].split(" ")[1]), headers)
                    if headers.get("connection") == "close":
                        writer.close()
                        writer = None
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, asyncio.LimitOverrunError):
                if writer is not None:
                    writer.close()
                reader = writer = None
            message.seconds = time.monotonic() - begun
            if (wait := pause - message.seconds) > 0:
                await asyncio.sleep(wait)
        if writer is not None:
            writer.close()

    await asyncio.gather(*(one(n) for n in range(connections)))


if __name__ == "__main__":
    disk_full_inside()
