"""The real program in a directory of its own: started, waited for, stopped, looked into.

Nothing here reaches beyond 127.0.0.1, and only processes that were started here are ended.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

PROGRAM = os.environ.get("TRIALBRIDGE_BIN", "target/debug/trialbridge")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SITE = os.path.join(ROOT, "mappings", "sites", "demo.toml")
# Restart to ready, as promised. Looked at on every restart of every case.
READY_SECONDS = 5.0
# Nothing waits this long unless something is wrong.
LONG = 60.0


class Wrong(Exception):
    """A promise is broken. The text says which, and where."""


def expect(truth, text):
    if not truth:
        raise Wrong(text)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Bench:
    """A folder with a configuration and a data directory."""

    def __init__(self, more="", at=None, fhir=None, head=""):
        self.dir = tempfile.mkdtemp(prefix="durability-", dir=at)
        self.data = os.path.join(self.dir, "data")
        self.config = os.path.join(self.dir, "trialbridge.toml")
        self.web, self.ops, self.mllp = free_ports(3)
        self.restarts, self.services = [], []
        # A server that is never asked: it only says whose numbering the pushed ids are of.
        self.fhir = fhir or "http://127.0.0.1:9/fhir"
        schedule = "* * * * * *" if fhir else "0 0 3 1 1 *"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(
                f'data_dir = "{self.data}"\nsite = "{SITE}"\n{head}'
                f'[allocation]\nkey_file = "{self.dir}/allocation.key"\n'
                f'[fhir]\nbase_url = "{self.fhir}"\n[pull]\nschedule = "{schedule}"\n'
                f'[writeback]\nenabled = false\n'
                f'[serve]\nlisten = "127.0.0.1:{self.web}"\nops_listen = "127.0.0.1:{self.ops}"\n'
                f'[mllp]\nlisten = "127.0.0.1:{self.mllp}"\n{more}'
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for service in self.services:
            service.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def command(self, *args):
        return [PROGRAM, "--config", self.config, *args]

    def run(self, *args, data=None):
        """(exit code, standard output, standard error) of a command."""
        more = ["--data-dir", data] if data else []
        ran = subprocess.run(
            [*self.command(*args), *more], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=LONG, env={}, check=False, cwd=self.dir,
        )
        return ran.returncode, ran.stdout, ran.stderr

    def sound(self, data=None, why=""):
        """`verify` and `audit verify` find nothing. Returns the counts."""
        for args in (("verify",), ("audit", "verify")):
            code, out, err = self.run("-o", "json", *args, data=data)
            expect(code == 0, f"{why}: `{' '.join(args)}` ends with {code}: {out[:1500]} {err[:500]}")
            if args == ("verify",):
                report = json.loads(out)
        return report

    def inbox(self, data=None):
        """(number, origin, SHA-256 of the bytes as they lie there, state) of every inbox row.

        The hash is computed here, not read: what counts is the bytes."""
        path = os.path.join(data or self.data, "trialbridge.db")
        if not os.path.exists(path):
            return []
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            rows = connection.execute("SELECT seq, origin, bytes, state FROM inbox ORDER BY seq")
            return [(s, o, hashlib.sha256(b).hexdigest(), state) for s, o, b, state in rows]
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
        finally:
            connection.close()

    def query(self, sql):
        connection = sqlite3.connect(
            f"file:{self.data}/trialbridge.db?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


class Service:
    """`serve` on a bench, if asked for under strace from its first instruction."""

    def __init__(self, bench, under=()):
        self.bench = bench
        self.tracer = None
        self.said = []
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [*under, *bench.command("serve")], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"PATH": os.environ["PATH"]},
            cwd=bench.dir, text=True, errors="replace",
        )
        bench.services.append(self)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.is_ready = self._wait_until_ready()
        self.took = time.monotonic() - begun
        if self.is_ready and not under:
            bench.restarts.append(self.took)

    def _listen(self):
        for line in self.process.stderr:
            self.said.append(line.rstrip())

    def _wait_until_ready(self):
        end = time.monotonic() + LONG
        while time.monotonic() < end and self.process.poll() is None:
            if self.readiness()[0] == 200:
                return True
            time.sleep(0.01)
        return False

    @property
    def pid(self):
        return self.process.pid

    def readiness(self):
        """(status, text) of /readyz; (0, "") if nobody answers."""
        return get(self.bench.ops, "/readyz")

    def metrics(self):
        return get(self.bench.ops, "/metrics")[1]

    def attach(self, *options):
        """strace on all threads of the service that runs. Counting begins now."""
        self.tracer = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-p", str(self.pid), *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = self.tracer.stderr.readline()
        expect("attached" in line, f"strace does not attach: {line}")
        # One line a thread; the rest is of no interest, but must not fill the pipe.
        threading.Thread(target=self.tracer.stderr.read, daemon=True).start()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if all(traced(task) for task in tasks(self.pid)):
                return
            time.sleep(0.005)

    def detach(self):
        if self.tracer and self.tracer.poll() is None:
            self.tracer.send_signal(signal.SIGINT)
            try:
                self.tracer.wait(5)
            except subprocess.TimeoutExpired:
                self.tracer.kill()
        self.tracer = None

    def ended(self, within):
        try:
            self.process.wait(within)
            return True
        except subprocess.TimeoutExpired:
            return False

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.detach()

    def end(self):
        """Ends the program, also where what we started is the strace above it."""
        if self.tracer is None and self.process.poll() is None:
            for child in (under_strace := children(self.pid)):
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            # strace ends by itself, after it has written the rest of its log.
            if under_strace:
                self.ended(5)
        self.kill()

    def stop(self, within=30):
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        if not self.ended(within):
            self.kill()
            raise Wrong(f"SIGTERM is not followed within {within} s")
        self.listener.join(2)
        return self.process.returncode

    def panicked(self):
        return [line for line in self.said if "panicked" in line or '"panic"' in line]


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(n) for n in file.read().split()]
    except OSError:
        return []


def tasks(pid):
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def traced(task):
    try:
        with open(f"/proc/{task}/status", encoding="ascii", errors="replace") as file:
            return not re.search(r"^TracerPid:\t0$", file.read(), re.M)
    except OSError:
        return True


def get(port, path):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while chunk := stream.recv(65536):
                answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body.decode(errors="replace")
    except (OSError, IndexError, ValueError):
        return 0, ""


def restarted(bench, why):
    """A service after a fault: ready in time, and sound."""
    service = Service(bench)
    if not service.is_ready:
        service.kill()
        raise Wrong(f"{why}: the service does not start again: {service.said[-5:]}")
    if service.took > READY_SECONDS:
        service.kill()
        raise Wrong(f"{why}: ready after {service.took:.1f} s")
    return service


def note(text):
    print(text, flush=True)
    sys.stdout.flush()
