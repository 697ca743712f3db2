"""A trial that is ready to randomize, restored as often as wanted; and what must hold of its draws.

What is in the store is read with another SQLite than the program's, in a copy, so that looking changes nothing.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from urllib.parse import urlsplit

from service import LONG, Bench, Wrong, expect, free_ports, get

# Eligible and with consent in the synthetic hospital.
SUBJECTS = [f"Patient/p-{n:03d}" for n in (1, 2, 3, 4, 5, 6, 12)]
BY = "Dr Li"
_line = re.compile(rb"(\d+) (sha256:[0-9a-f]{64}) \S+Z")


def key_of(subject):
    return f"key-{subject}"


def randomize(subject, key=None):
    return ["-o", "json", "randomize", subject, "--by", BY, "--key", key or key_of(subject)]


def replaced(source, to):
    """A folder or a file put in the place of another."""
    if os.path.isdir(to):
        shutil.rmtree(to)
    elif os.path.exists(to):
        os.remove(to)
    if os.path.isdir(source):
        shutil.copytree(source, to)
    elif os.path.exists(source):
        shutil.copy(source, to)


class Site(Bench):
    """A bench with judged subjects and a sealed list, which can be put back to that state."""

    def __init__(self, fhir, at=None, head=""):
        super().__init__(at=at, fhir=fhir, head=head)
        self.anchor = self.data + ".audit-anchor"
        self.kept = os.path.join(self.dir, "kept")

    def parts(self, base):
        return [(os.path.join(base, os.path.basename(path)), path)
                for path in (self.data, self.anchor, os.path.join(self.dir, "allocation.key"))]

    def keep(self):
        os.makedirs(self.kept, exist_ok=True)
        for kept, path in self.parts(self.kept):
            replaced(path, kept)

    def restore(self):
        for kept, path in self.parts(self.kept):
            replaced(kept, path)

    def like(self):
        """Another one in the same state, in a folder of its own."""
        other = Site(self.fhir)
        for (kept, _), (_, path) in zip(self.parts(self.kept), other.parts(other.kept)):
            replaced(kept, path)
        # The first opening notes where the anchor lies now.
        other.well(*randomize(SUBJECTS[0]), "--dry-run")
        other.keep()
        return other

    def well(self, *args):
        """Runs, expects success, returns standard output."""
        code, out, err = self.run(*args)
        expect(code == 0, f"`{' '.join(args)}` ends with {code}: {out[:600]} {err[:600]}")
        return out

    def started(self, *args, under=(), stdout=subprocess.PIPE):
        """A command that runs beside others."""
        return subprocess.Popen(
            [*under, *self.command(*args)], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
            text=True, errors="replace", env={"PATH": os.environ["PATH"]}, cwd=self.dir)


def pulled(site):
    """Pulls the subjects from the synthetic hospital, at the address that the site is configured with."""
    hospital = urlsplit(site.fhir)
    sandbox = subprocess.Popen(site.command("sandbox", "--listen", hospital.netloc),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={}, cwd=site.dir)
    try:
        deadline = time.monotonic() + LONG
        while get(hospital.port, "/fhir/metadata")[0] != 200:
            expect(time.monotonic() < deadline, "the sandbox does not answer")
            time.sleep(0.05)
        for subject in SUBJECTS:
            site.well("pull", "--patient", subject.removeprefix("Patient/"))
    finally:
        sandbox.kill()
        sandbox.wait()


def ready(at=None, head=""):
    """A site whose subjects can all be randomized."""
    site = Site(f"http://127.0.0.1:{free_ports(1)[0]}/fhir", at, head)
    try:
        pulled(site)
        site.well("allocation", "generate", "--by", "Statistician")
    except BaseException:
        site.__exit__()
        raise
    site.keep()
    return site


class Books:
    """What a data directory and its anchor say, read from a copy."""

    def __init__(self, data, anchor):
        scratch = tempfile.mkdtemp(prefix="books-", dir=os.path.dirname(data))
        try:
            for name in os.listdir(data):
                if name.startswith("trialbridge.db") and not name.endswith("-shm"):
                    shutil.copy(os.path.join(data, name), scratch)
            connection = sqlite3.connect(os.path.join(scratch, "trialbridge.db"), timeout=10)
            try:
                self._read(connection)
            finally:
                connection.close()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.lines = []
        if os.path.exists(anchor):
            with open(anchor, "rb") as file:
                # What stands behind the last line break was not written to its end.
                whole = file.read().split(b"\n")[:-1]
            self.lines = [(int(m[1]), m[2].decode()) for m in map(_line.fullmatch, whole) if m]

    def _read(self, connection):
        def ask(sql):
            return connection.execute(sql).fetchall()

        self.allocations = ask(
            "SELECT id, number, stratum, position, subject, idempotency_key FROM allocation ORDER BY number, id")
        self.chain = dict(ask("SELECT sequence, hash FROM audit"))
        self.entries = [(subject, json.loads(detail).get("allocation")) for subject, detail in ask(
            "SELECT subject, detail FROM audit WHERE action = 'allocate' ORDER BY sequence")]
        self.signed = [s for s, in ask("SELECT subject FROM signature WHERE meaning = 'randomize' ORDER BY id")]
        self.outbox = [s for s, in ask("SELECT subject FROM outbox ORDER BY id")]

    def ids(self):
        return {row[0] for row in self.allocations}

    def ahead(self):
        """Lines of the anchor that the chain does not run through."""
        return [n for n, head in self.lines if n and self.chain.get(n) != head]

    def behind(self):
        """Entries of the chain that the anchor does not know yet."""
        return max(self.chain, default=0) - max((n for n, _ in self.lines), default=0)

    def settled(self, why, subjects):
        """These subjects were randomized in this order, once each: one slot, entry, signature, message to the
        hospital; and no line of the anchor is beyond the chain."""
        drawn = [(number, stratum, position, subject, key)
                 for _, number, stratum, position, subject, key in self.allocations]
        expected = [(n, 0, n, subject, key_of(subject)) for n, subject in enumerate(subjects, 1)]
        expect(drawn == expected, f"{why}: the allocations are {drawn} instead of {expected}")
        ids = [(row[4], row[0]) for row in self.allocations]
        expect(self.entries == ids, f"{why}: {len(self.entries)} audit entries `allocate` for {len(ids)} allocations")
        expect(self.signed == subjects, f"{why}: {len(self.signed)} signatures for {len(ids)} allocations")
        expect(self.outbox == subjects, f"{why}: {len(self.outbox)} outbox entries for {len(ids)} allocations")
        expect(not self.ahead(), f"{why}: the anchor knows the entries {self.ahead()}, the chain does not")


def books(site):
    return Books(site.data, site.anchor)


def proved(site, why, data=None):
    """`verify`, `audit verify` and `allocation verify` find nothing."""
    site.sound(data, why)
    code, out, err = site.run("allocation", "verify", *(["--data-dir", data] if data else []))
    expect(code == 0, f"{why}: `allocation verify` ends with {code}: {out[:600]} {err[:600]}")


def told(text):
    """What an answer says, if it was written to its end."""
    if not text.endswith("\n"):
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise Wrong(f"an answer that is not JSON: {text[:200]}") from error
