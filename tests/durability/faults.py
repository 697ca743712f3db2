"""Killed at any system call; told by the disk that it failed, or that it is full.

strace counts the calls of each thread by itself, so a point is "the Nth such call of whichever
thread comes to it first". The points are counted in a run without faults, and tried in turn.
"""

import collections
import concurrent.futures
import os
import re
import signal
import threading
import time

from senders import compare, mixed, send_all
from service import Bench, Service, Wrong, expect, restarted

STORING = ["pwrite64", "fsync", "fdatasync", "ftruncate", "unlink"]
ANSWERING = ["write", "writev", "sendto", "sendmsg"]
LANES = 2
# Long enough for a few messages to fill the log, so that it is checkpointed and begun anew.
LONG_MESSAGE = 400_000


def counted(log):
    """Highest number of calls of one thread, by call."""
    seen = collections.Counter()
    with open(log, encoding="utf-8", errors="replace") as file:
        for line in file:
            if found := re.match(r"(\d+) +(?:<\.\.\. )?(\w+)[(]", line):
                seen[found[1], found[2]] += 1
    most = {}
    for (_, call), count in seen.items():
        most[call] = max(most.get(call, 0), count)
    return most


def spread(most, calls, every):
    """(call, N) for every k-th N, the first and the last always."""
    points = []
    for call in calls:
        top = most.get(call, 0)
        if top:
            step = max(1, every.get(call, every[None]))
            points += [(call, n) for n in sorted({*range(1, top + 1, step), top})]
    return points


def in_lanes(points, work):
    """Runs `work(own points)` in lanes beside each other; returns what they return."""
    with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
        return [f.result() for f in [pool.submit(work, points[n::LANES]) for n in range(LANES)]]


class Tally:
    """What a sweep has seen."""

    def __init__(self):
        self.points = self.beyond = self.acknowledged = self.resent = self.refused = 0
        self.slowest = 0.0
        self.exits = 0
        self.lock = threading.Lock()

    def restarted(self, bench):
        self.slowest = max([self.slowest, *bench.restarts])


# ---- killed

# What the program is doing: the first start, a start after a kill, work, work that fills the log, the end.
PHASES = ["fresh", "reopen", "serve", "checkpoint", "stop"]
RUNNING = ["serve", "checkpoint", "stop"]


def traced_run(phase, messages, connections=3):
    """How often each call comes in a phase of the scenario."""
    with Bench() as bench:
        log = os.path.join(bench.dir, "log")
        calls = ",".join(STORING + ANSWERING)
        if phase in RUNNING:
            service = Service(bench)
            if phase == "stop":
                send_all(bench, messages)
            service.attach("-e", f"trace={calls}", "-o", log)
            if phase != "stop":
                send_all(bench, messages, connections)
                time.sleep(0.5)
        else:
            if phase == "reopen":
                service = Service(bench)
                send_all(bench, messages)
                service.kill()
            service = Service(bench, ["strace", "-f", "-o", log, "-e", f"trace={calls}"])
        service.stop() if phase == "stop" else service.end()
        service.detach()
        return counted(log)


def kill_sweep(phase, per_point, every, tally):
    """Kills at each point of a phase, and looks what is left."""
    padding = LONG_MESSAGE if phase == "checkpoint" else 0
    most = traced_run(phase, mixed(per_point, "c", padding))
    calls = STORING + ANSWERING if phase == "serve" else STORING
    points = spread(most, calls, every)

    def running_lane(own):
        with Bench() as bench:
            book, service = [], Service(bench)
            for call, n in own:
                why = f"killed at {call} {n} ({phase})"
                messages = mixed(per_point, "k", padding)
                book += messages
                service.attach("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={n}")
                send_all(bench, messages, is_over=lambda s=service: s.process.poll() is not None)
                if phase == "stop":
                    service.process.send_signal(signal.SIGTERM)
                    service.ended(20)
                else:
                    service.ended(0.4)
                dead = service.process.poll()
                service.kill()
                service = after_kill(bench, book, messages, why, tally, dead == -signal.SIGKILL)
            service.kill()
            tally.restarted(bench)

    def start_lane(own):
        for call, n in own:
            why = f"killed at {call} {n} ({phase})"
            with Bench() as bench:
                book = []
                if phase == "reopen":
                    book = mixed(6, "r")
                    service = Service(bench)
                    send_all(bench, book)
                    service.kill()
                under = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}",
                         "-e", f"inject={call}:signal=SIGKILL:when={n}"]
                service = Service(bench, under)
                reached = not service.is_ready
                messages = mixed(3, "s")
                book += messages
                if service.is_ready:
                    send_all(bench, messages)
                service.end()
                after_kill(bench, book, book, why, tally, reached).kill()
                tally.restarted(bench)

    in_lanes(points, running_lane if phase in RUNNING else start_lane)
    return len(points)


def after_kill(bench, book, messages, why, tally, reached):
    """Restart, look, send again what was not answered, look again. Returns the service."""
    service = restarted(bench, why)
    compare(book, bench.inbox(), f"{why}, before sending again")
    open_ones = [m for m in messages if m.state != "acknowledged"]
    was_there = {row[2] for row in bench.inbox()}
    send_all(bench, open_ones, again=True)
    for message in open_ones:
        expect(message.state == "acknowledged", f"{why}: sent again and not taken: {message}")
        # No answer never means that it did not happen; who asks again is told the first receipt.
        if message.channel != "MLLP" and message.sha256 in was_there:
            expect(message.is_replay, f"{why}: a replay is not called one: {message}")
    acknowledged = compare(book, bench.inbox(), why)
    expect(acknowledged == len(book), f"{why}: {acknowledged} of {len(book)} acknowledged")
    bench.sound(why=why)
    expect(not service.panicked(), f"{why}: {service.panicked()}")
    with tally.lock:
        tally.points += reached
        tally.beyond += not reached
        tally.acknowledged += len(messages)
        tally.resent += len(open_ones)
    return service


def killed(full):
    """kill -9 at the Nth system call, while starting, serving and stopping."""
    tally = Tally()
    if full:
        every = dict.fromkeys(PHASES, {None: 1})
    else:
        every = {"fresh": {None: 12, "fsync": 2}, "reopen": {None: 8, "fsync": 1},
                 "serve": {None: 3, "pwrite64": 14, "fsync": 1},
                 "checkpoint": {None: 2, "pwrite64": 200}, "stop": {None: 24, "fsync": 1}}
    for phase in PHASES:
        kill_sweep(phase, 24 if full and phase == "serve" else 9, every[phase], tally)
    expect(tally.points >= 20, f"only {tally.points} points were reached")
    expect(tally.resent > 0, "no kill left a message unanswered: the sweep does not meet the work")
    return (f"{tally.points} kill points ({tally.beyond} not reached), {tally.acknowledged} messages, "
            f"{tally.resent} sent again, 0 lost, 0 twice, restart at most {tally.slowest:.2f} s")


# ---- the disk says no

# Which call fails, how, and how often.
REFUSALS = [("fsync", "EIO", ""), ("fsync", "EIO", "+"), ("pwrite64", "ENOSPC", ""),
            ("pwrite64", "ENOSPC", "+"), ("pwrite64", "EIO", ""), ("ftruncate", "EIO", "")]


def refused(full):
    """Every fsync and every write fails once, or from then on."""
    tally, per_point = Tally(), 24 if full else 9
    points = []
    # Short messages, and such as fill the log: without a checkpoint the database itself is not written.
    for padding in (0, LONG_MESSAGE):
        most = traced_run("serve", mixed(per_point, "c", padding), connections=1)
        for call, error, ever in REFUSALS:
            every = {None: 1} if full else {None: most.get(call, 0) // 3 + 1 if call == "pwrite64" else 3}
            points += [(call, error, ever, n, padding) for _, n in spread(most, [call], every)]
    hit = collections.Counter()

    def lane(own):
        with Bench() as bench:
            book, service = [], Service(bench)
            for call, error, ever, n, padding in own:
                why = f"{call} {n}{ever} answers {error}"
                log = os.path.join(bench.dir, "log")
                messages = mixed(per_point, "e", padding)
                book += messages
                service.attach("-e", f"trace={call}", "-o", log,
                               "-e", f"inject={call}:error={error}:when={n}{ever}")
                send_all(bench, messages, connections=1)
                time.sleep(0.3)
                code = service.process.poll()
                expect(code is None or code > 0, f"{why}: the service ended with {code}")
                for message in messages:
                    expect(message.answers or code, f"{why}: no answer at all: {message}")
                    bad = [a for a in message.answers if a not in (200, 201, 503, "AA", "CA", "AE", "AR", "CE", "CR")]
                    expect(not bad, f"{why}: answered {bad}: {message}")
                refusals = sum(m.state == "refused" for m in messages)
                if ever and refusals and code is None:
                    status, text = service.readiness()
                    expect(status == 503 and "store-write" in text, f"{why}: /readyz {status} {text}")
                service.detach()
                injected = open(log, encoding="utf-8", errors="replace").read().count("INJECTED")
                if code is None:
                    # The fault is over: what was refused is taken, by the same process.
                    send_all(bench, [m for m in messages if m.state != "acknowledged"], again=True)
                    expect(all(m.state == "acknowledged" for m in messages), f"{why}: it does not recover")
                    deadline = time.monotonic() + 10
                    while (ready := service.readiness())[0] != 200 and time.monotonic() < deadline:
                        time.sleep(0.05)
                    expect(ready[0] == 200, f"{why}: not ready again: {ready}")
                compare(book, bench.inbox(), f"{why}, before the restart")
                expect(not service.panicked(), f"{why}: {service.panicked()}")
                service.kill()
                service = restarted(bench, why)
                compare(book, bench.inbox(), why)
                bench.sound(why=why)
                with tally.lock:
                    tally.points += injected > 0
                    tally.beyond += injected == 0
                    tally.refused += refusals
                    tally.exits += code is not None
                    tally.acknowledged += len(messages)
                    hit[call, error] += injected > 0
            service.kill()
            tally.restarted(bench)

    in_lanes(points, lane)
    expect(tally.refused > 0, "no failure reached a sender: the sweep does not meet the work")
    for call, error in (("fsync", "EIO"), ("pwrite64", "ENOSPC")):
        expect(hit[call, error], f"{call} {error} was never reached")
    return (f"{tally.points} failures ({tally.beyond} not reached), {tally.acknowledged} messages, "
            f"{tally.refused} refused in words, 0 acknowledged and lost, {tally.exits} times the service ended")
