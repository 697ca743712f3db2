"""Invented messages, the two ways in, and the book of what was answered.

A message is *acknowledged* when a whole 2xx answer with a receipt, or an AA or CA with its MSH-10,
was read; *refused* when another whole answer was; *unanswered* otherwise. Nothing else counts.
"""

import hashlib
import itertools
import json
import socket
import threading
import time

from service import Wrong, expect

START, END = b"\x0b", b"\x1c\r"
_numbers = itertools.count(1)
_lock = threading.Lock()


def fresh_number():
    with _lock:
        return next(_numbers)


class Message:
    """One message, and what became of it."""

    def __init__(self, channel, name, data):
        self.channel, self.name, self.data = channel, name, data
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.receipt = None
        self.state = "unanswered"
        self.answers = []
        self.receipts = set()
        self.is_replay = False
        self.seconds = None

    def __repr__(self):
        return f"{self.channel} {self.name} ({self.state}, receipt {self.receipt}, {self.answers[-3:]})"


def patient(ident):
    return {"resourceType": "Patient", "id": ident, "gender": "male", "birthDate": "1961-04-02",
            "identifier": [{"system": "urn:oid:1.2.156.99999.1.1", "value": f"SYN-{ident}"}]}


def observation(ident, of, value, version="1"):
    return {"resourceType": "Observation", "id": ident, "status": "final",
            "meta": {"versionId": version, "lastUpdated": "2026-11-20T08:00:00Z"},
            "code": {"coding": [{"system": "http://loinc.org", "code": "14631-6"}]},
            "subject": {"reference": f"Patient/{of}"}, "effectiveDateTime": "2026-11-19T07:30:00+08:00",
            "valueQuantity": {"value": value, "unit": "umol/L",
                              "system": "http://unitsofmeasure.org", "code": "umol/L"}}


def bundle(label="d", padding=0):
    """A transaction with a patient and a result."""
    n = fresh_number()
    ident = f"{label}-{n}"
    entries = [patient(ident), observation(f"o-{ident}", ident, 17 + n % 90)]
    if padding:
        entries[1]["note"] = [{"text": f"{n:08d}" * (padding // 8)}]
    body = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": f"urn:uuid:00000000-0000-4000-8000-{index:04d}{n:08d}", "resource": entry,
         "request": {"method": "PUT", "url": f"{entry['resourceType']}/{entry['id']}"}}
        for index, entry in enumerate(entries)]}
    message = Message("POST", ident, json.dumps(body).encode())
    message.path = "/fhir"
    return message


def single(resource):
    """PUT of one resource."""
    kind, ident = resource["resourceType"], resource["id"]
    message = Message("PUT", f"{kind}/{ident}", json.dumps(resource).encode())
    message.path = f"/fhir/{kind}/{ident}"
    return message


def update(label="d"):
    n = fresh_number()
    return single(observation(f"u-{label}-{n}", f"{label}-p{n % 7}", 17 + n % 90))


def result(label="d"):
    """An ORU^R01 with one result."""
    n = fresh_number()
    control = f"{label.upper()}{n}"
    text = "\r".join([
        f"MSH|^~\\&|LIS|SYNLAB|TB|TRIAL|20261120080000+0800||ORU^R01^ORU_R01|{control}|P|2.5.1||||||UNICODE UTF-8",
        f"PID|1||SYN-{label}-{n % 7}^^^HIS^MR||Synthetic^Patient||19610402|M",
        f"OBR|1|P{n}|F{n}|24325-3^Hepatic function 2000 panel^LN|||20261119073000+0800|||||||||||||||20261119090000+0800|||F",
        f"OBX|1|NM|14631-6^Bilirubin.total^LN||{17 + n % 90}|umol/L^^UCUM|||||F|||20261119073000+0800", ""])
    return Message("MLLP", control, text.encode())


def mixed(count, label="d", padding=0):
    """Messages of all kinds, in a fixed order; bundles as long as wanted."""
    kinds = [lambda: bundle(label, padding), lambda: result(label), lambda: update(label)]
    return [kinds[n % 3]() for n in range(count)]


def http_request(message, port):
    method = "POST" if message.channel == "POST" else "PUT"
    return (f"{method} {message.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/fhir+json\r\nContent-Length: {len(message.data)}\r\n\r\n"
            ).encode() + message.data


def http_answer(stream, rest=b""):
    """(status, headers, bytes behind it) of one answer; None if the stream ends before its end."""
    data = rest
    while b"\r\n\r\n" not in data:
        chunk = stream.recv(65536)
        if not chunk:
            return None
        data += chunk
    head, _, data = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while not data.endswith(b"0\r\n\r\n"):
            chunk = stream.recv(65536)
            if not chunk:
                return None
            data += chunk
        data = b""
    else:
        length = int(headers.get("content-length", "0"))
        while len(data) < length:
            chunk = stream.recv(65536)
            if not chunk:
                return None
            data += chunk
        data = data[length:]
    return int(lines[0].split(" ")[1]), headers, data


def settle_http(message, status, headers):
    """Writes down what a whole HTTP answer says."""
    message.answers.append(status)
    if 200 <= status < 300:
        number = headers.get("x-trialbridge-message", "")
        expect(number, f"{message}: a {status} without a receipt")
        message.receipts.add(number)
        message.receipt, message.state = number, "acknowledged"
        message.is_replay = headers.get("idempotent-replay") == "true"
    else:
        if message.state != "acknowledged":
            message.state = "refused"
        if status in (429, 503):
            expect("retry-after" in headers, f"{message}: a {status} without Retry-After")


def settle_mllp(message, frame):
    text = frame.decode("utf-8", "replace")
    msa = next((s.split("|") for s in text.split("\r") if s.startswith("MSA|")), None)
    expect(msa is not None and len(msa) > 2, f"{message}: an answer without MSA: {text[:200]!r}")
    expect(msa[2].strip() == message.name, f"{message}: answered as {msa[2]!r}")
    message.answers.append(msa[1])
    if msa[1] in ("AA", "CA"):
        message.state = "acknowledged"
    elif message.state != "acknowledged":
        message.state = "refused"


class Sender:
    """One connection that sends one message after another. Ends at the first that gets no answer."""

    def __init__(self, bench, kind, timeout=10.0):
        self.port = bench.mllp if kind == "MLLP" else bench.web
        self.is_mllp = kind == "MLLP"
        self.timeout = timeout
        self.stream = None
        self.rest = b""

    def send(self, message):
        """True if there was an answer."""
        begun = time.monotonic()
        try:
            if self.stream is None:
                self.stream = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout)
                self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.rest = b""
            if self.is_mllp:
                self.stream.sendall(START + message.data + END)
                done = self._mllp(message)
            else:
                self.stream.sendall(http_request(message, self.port))
                done = self._http(message)
        except OSError:
            done = False
        message.seconds = time.monotonic() - begun
        if not done:
            self.close()
        return done

    def _http(self, message):
        answer = http_answer(self.stream, self.rest)
        if answer is None:
            return False
        status, headers, self.rest = answer
        settle_http(message, status, headers)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return True

    def _mllp(self, message):
        data = self.rest
        while END not in data:
            chunk = self.stream.recv(65536)
            if not chunk:
                return False
            data += chunk
        frame, _, self.rest = data.partition(END)
        settle_mllp(message, frame.lstrip(START))
        return True

    def close(self):
        if self.stream is not None:
            self.stream.close()
        self.stream = None


def send_all(bench, messages, connections=4, is_over=lambda: False, again=False, timeout=10.0):
    """Sends over several connections of each kind. With `again`, refused ones are sent until taken.
    Without, a connection whose message got no answer ends. Raises what a sender found wrong."""
    troubles = []

    def run(kind, part):
        sender = Sender(bench, kind, timeout)
        try:
            for message in part:
                for _ in range(200):
                    if is_over():
                        return
                    answered = sender.send(message)
                    if message.state == "acknowledged" or not again:
                        break
                    time.sleep(0.02)
                if not answered and not again:
                    return
        except Wrong as wrong:
            troubles.append(wrong)
        finally:
            sender.close()

    threads = []
    for is_mllp in (False, True):
        of_kind = [m for m in messages if (m.channel == "MLLP") == is_mllp]
        for n in range(connections):
            if part := of_kind[n::connections]:
                kind = "MLLP" if is_mllp else "HTTP"
                threads.append(threading.Thread(target=run, args=(kind, part), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]


def compare(messages, rows, why, at_most_unanswered=1):
    """Every acknowledged message is there exactly once with its receipt; others at most once."""
    there = {}
    for seq, _origin, sha256, _state in rows:
        there.setdefault(sha256, []).append(seq)
    numbers = [row[0] for row in rows]
    expect(numbers == list(range(1, len(rows) + 1)), f"{why}: the inbox has a hole")
    for message in messages:
        found = there.get(message.sha256, [])
        if message.state == "acknowledged":
            expect(len(found) == 1, f"{why}: LOST: {message}: {len(found)} rows")
            expect(len(message.receipts) <= 1, f"{why}: {message}: several receipts {message.receipts}")
            if message.receipt is not None and message.receipt.isdigit():
                expect(int(message.receipt) == found[0], f"{why}: {message}: the row is {found[0]}")
        else:
            expect(len(found) <= at_most_unanswered, f"{why}: {message}: {len(found)} rows")
    return sum(1 for m in messages if m.state == "acknowledged")
