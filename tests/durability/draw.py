"""A draw that is killed or refused by the disk at any system call; draws at once; an older copy put back.

A point is a path, a call and a number: the Nth such call on that path of whichever thread comes to it first.
"""

import collections
import concurrent.futures
import os
import re
import shutil
import signal
import sqlite3
import tempfile
import threading
import time

from faults import LANES
from power import decoded, descriptor
from service import ROOT, Wrong, expect
from trial import BY, SUBJECTS, books, key_of, proved, randomize, ready, told

CHANGING = ["openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "unlink", "rename", "fchown", "fallocate"]
_quoted = re.compile(r'"((?:[^"\\]|\\.)*)"')
_call = re.compile(r"(\d+) +(\w+)[(](.*)")


def paths_of(site):
    """What a draw writes to, and by which name it is spoken of."""
    database = os.path.join(site.data, "trialbridge.db")
    return {"database": database, "log": database + "-wal", "index": database + "-shm", "directory": site.data,
            "lock": os.path.join(site.data, "lock"), "anchor": site.anchor,
            "answer": os.path.join(site.dir, "answer")}


def drawn(site, subject, options=()):
    """One `randomize`, under strace if there are options: exit code, what it answered, what it complained."""
    under = ["strace", "-f", "-qq", *options] if options else []
    answer = os.path.join(site.dir, "answer")
    with open(answer, "w", encoding="utf-8") as file:
        process = site.started(*randomize(subject), under=under, stdout=file)
        err = process.communicate(timeout=60)[1]
    with open(answer, encoding="utf-8") as file:
        return process.returncode, told(file.read()), err


def points_of(site):
    """[(name, call, N)] of one draw, and how many calls no point reaches: strace counts the calls of each
    thread by itself, and of two threads only the one that comes first is met."""
    log, named = os.path.join(site.dir, "log"), {path: name for name, path in paths_of(site).items()}
    site.restore()
    code, answer, err = drawn(site, SUBJECTS[0], ["-y", "-o", log, "-e", f"trace={','.join(CHANGING)}"])
    expect(code == 0 and answer, f"a draw without faults ends with {code}: {err[-600:]}")
    seen = collections.Counter()
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not (found := _call.match(line)):
                continue
            pid, call, arguments = found[1], found[2], found[3]
            quoted = _quoted.search(arguments)
            by_name = call in ("openat", "unlink", "rename")
            path = (decoded(quoted[1]) if quoted else "") if by_name else descriptor(arguments)
            # A folder is only opened to be synced.
            if path in named and (call, path) != ("openat", site.data):
                seen[named[path], call, pid] += 1
    most = {}
    for (name, call, _), count in seen.items():
        most[name, call] = max(most.get((name, call), 0), count)
    points = [(name, call, n) for (name, call), top in most.items() for n in range(1, top + 1)]
    return points, sum(seen.values()) - len(points)


# What happens to a call: killed before it, or it fails once, or from then on.
KILL, FAULTS = "signal=SIGKILL", ["error=EIO", "error=ENOSPC"]


def harmed(site, point, what, ever, tally):
    """One draw with a fault, and the same draw again."""
    name, call, n = point
    why = f"{call} {n} on the {name}, {what}{ever}"
    log = os.path.join(site.dir, "log")
    site.restore()
    code, answer, err = drawn(site, SUBJECTS[0], [
        "-o", log, "-P", paths_of(site)[name], "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={n}{ever}"])
    with open(log, encoding="utf-8", errors="replace") as file:
        text = file.read()
    reached = code == -signal.SIGKILL if what == KILL else "INJECTED" in text
    if what != KILL:
        expect(code >= 0, f"{why}: it ended with {code}")
        expect(code > 0 or answer, f"{why}: exit code 0 and no answer")
        expect(code == 0 or err.strip(), f"{why}: exit code {code} without a word")
    expect("panicked" not in err, f"{why}: {err[-600:]}")
    after = books(site)
    expect(not after.ahead(), f"{why}: the anchor knows the entries {after.ahead()}, the chain does not")
    was_there = bool(after.allocations)
    after.settled(why, SUBJECTS[:1] if was_there else [])
    first = answer["allocation"] if answer else None
    expect(first is None or first in after.ids(), f"{why}: LOST: {first} was answered")
    # Nothing is wrong any more: the first retry answers.
    code, again, err = drawn(site, SUBJECTS[0])
    expect(code == 0 and again, f"{why}: the retry ends with {code}: {err[-600:]}")
    expect(first in (None, again["allocation"]), f"{why}: first {first}, then {again['allocation']}")
    expect(not answer or answer.get("arm") in (None, again["arm"]), f"{why}: another arm")
    expect(again["replayed"] == was_there, f"{why}: the retry says replayed: {again['replayed']}")
    final = books(site)
    final.settled(why, SUBJECTS[:1])
    expect(final.ids() == {again["allocation"]}, f"{why}: the retry names another allocation")
    expect(final.behind() == 0, f"{why}: the anchor stays {final.behind()} entries behind")
    proved(site, why)
    # The list goes on behind it.
    code, second, err = drawn(site, SUBJECTS[1])
    expect(code == 0 and second, f"{why}: the next draw ends with {code}: {err[-600:]}")
    books(site).settled(why, SUBJECTS[:2])
    tally.noted(reached, what, was_there, first, after.behind())


class Tally:
    def __init__(self):
        self.seen = collections.Counter()
        self.lock = threading.Lock()

    def noted(self, reached, what, was_there, first, behind):
        with self.lock:
            self.seen["reached" if reached else "beyond"] += 1
            self.seen["killed"] += reached and what == KILL
            self.seen["failed"] += reached and what != KILL
            self.seen["there"] += was_there
            self.seen["answered"] += first is not None
            self.seen["unanswered and there"] += was_there and first is None
            self.seen["behind"] += behind > 0


def in_sites(site, work, jobs):
    """Runs `work(site, job)` for all jobs, in lanes with a site each."""
    sites = [site] + [site.like() for _ in range(LANES - 1)]

    def lane(number):
        for job in jobs[number::LANES]:
            work(sites[number], job)

    try:
        with concurrent.futures.ThreadPoolExecutor(LANES) as pool:
            for future in [pool.submit(lane, n) for n in range(LANES)]:
                future.result()
    finally:
        for other in sites[1:]:
            other.__exit__()


def sample(points, full):
    """All, or of each call on each path the first, the last, and every k-th between."""
    if full:
        return points
    of_kind = collections.defaultdict(list)
    for point in points:
        of_kind[point[:2]].append(point)
    chosen = []
    for (_, call), same in of_kind.items():
        step = {"pwrite64": 12, "openat": 6}.get(call, 2)
        chosen += sorted({*same[::step], same[-1]})
    return chosen


def draw(full):
    """One draw, killed or failed at every call that changes the disk, and tried again with the same key."""
    with ready() as site:
        # So that every run begins as the other lanes' do.
        site.well(*randomize(SUBJECTS[0]), "--dry-run")
        site.keep()
        complains(site)
        points, shadowed = points_of(site)
        jobs = [(point, KILL, "") for point in sample(points, full)]
        for number, point in enumerate(sample(points, full)):
            # In the quick run one of the two errors for each call, in turn.
            jobs += [(point, what, "") for k, what in enumerate(FAULTS) if full or number % 2 == k]
            jobs += [(point, FAULTS[0], "+")] if full else []
        tally = Tally()
        in_sites(site, lambda own, job: harmed(own, *job, tally), jobs)
    seen = tally.seen
    kinds = {point[0] for point in points}
    expect(kinds >= {"database", "log", "lock", "anchor", "answer"}, f"only {sorted(kinds)} were met")
    expect(seen["beyond"] <= len(jobs) // 20, f"{seen['beyond']} of {len(jobs)} points were not reached")
    expect(seen["unanswered and there"] > 0 and seen["there"] < len(jobs), "the sweep does not meet the draw")
    return (f"{seen['killed']} kills and {seen['failed']} failing calls of a draw with {len(points) + shadowed} "
            f"({seen['beyond']} not reached, {shadowed} of a second thread): {seen['answered']} answered at once, "
            f"{seen['unanswered and there']} done and not answered, {seen['behind']} with the anchor behind; "
            f"after the retry one allocation, 0 lost, 0 twice")


# ---- the checks can fail

def by_hand(site, *statements):
    connection = sqlite3.connect(os.path.join(site.data, "trialbridge.db"), isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = off")
        # Whoever forges knows the triggers, and puts them back.
        triggers = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)
    finally:
        connection.close()


DOUBLE = [
    "CREATE TABLE forged AS SELECT * FROM allocation",
    "INSERT INTO forged SELECT 'alloc-forged', list_id, 3, stratum, 3, subject, 'other key', levels, leaf, proof,"
    " decision_seq, decided_input, definition, signature, actor, at FROM allocation WHERE number = 1",
    "DROP TABLE allocation",
    "ALTER TABLE forged RENAME TO allocation",
]
# Slot for slot, with all that proves it: two participants have each other's arms.
EXCHANGED = [
    "CREATE TEMP TABLE other AS SELECT * FROM allocation",
    "UPDATE allocation SET number = number + 1000, position = position + 1000",
    "UPDATE allocation SET number = other.number, position = other.position, leaf = other.leaf, proof = other.proof"
    " FROM other WHERE other.id <> allocation.id",
    "DROP TABLE other",
]


def complains(site):
    """The control: lost, doubled, moved and exchanged allocations are found by the checks here and by the program."""
    for what, statements, commands in [
        ("a lost allocation", ["DELETE FROM allocation WHERE number = 2"], ["audit verify", "verify"]),
        ("a doubled allocation", DOUBLE, ["audit verify", "verify"]),
        ("a skipped slot", ["UPDATE allocation SET number = 3, position = 3 WHERE number = 2"],
         ["audit verify", "verify"]),
        ("two exchanged allocations", EXCHANGED, ["audit verify", "verify"]),
    ]:
        site.restore()
        for subject in SUBJECTS[:2]:
            code, answer, err = drawn(site, subject)
            expect(code == 0 and answer, f"a draw without faults ends with {code}: {err[-600:]}")
        books(site).settled(what, SUBJECTS[:2])
        by_hand(site, *statements)
        try:
            books(site).settled(what, SUBJECTS[:2])
        except Wrong:
            pass
        else:
            raise Wrong(f"{what} is not seen")
        for command in commands:
            code, out, err = site.run(*command.split())
            expect(code == 16, f"`{command}` on {what} ends with {code}: {out[:600]} {err[:300]}")


# ---- at once, again, and until nothing is left

def draw_retried(full):
    """A retry while the first call runs; many at once; two keys; a list that is used up."""
    rounds = 40 if full else 1
    with ready() as site:
        waited = sum(overtaken(site) for _ in range(rounds))
        locked = sum(crowd(site, SUBJECTS, 3) for _ in range(rounds))
        two_keys(site)
    left = exhausted()
    return (f"{rounds} times a retry while the first call stood in its sync ({waited} told that the store is in use), "
            f"{rounds} times {3 * len(SUBJECTS)} calls at once for {len(SUBJECTS)} participants ({locked} tried again): "
            f"one allocation each, in the order of the list; the second key told the first allocation; {left}")


def overtaken(site):
    """The client gave up waiting and asks again, while its first call is still on its way to the disk."""
    site.restore()
    log = paths_of(site)["log"]
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", log, "-e", "trace=fsync",
            "-e", "inject=fsync:delay_enter=400000"]
    first = site.started(*randomize(SUBJECTS[0]), under=slow)
    told_busy, again = 0, None
    deadline = time.monotonic() + 60
    while first.poll() is None or again is None:
        expect(time.monotonic() < deadline, "neither call comes to an end")
        code, out, err = site.run(*randomize(SUBJECTS[0]))
        expect(code in (0, 15), f"the retry ends with {code}: {err[-600:]}")
        expect(code == 0 or "process" in err, f"the retry is not told who writes: {err[-600:]}")
        told_busy += code == 15
        again = told(out) if code == 0 else again
    out, err = first.communicate()
    answers = [told(out)] if first.returncode == 0 else []
    expect(answers or first.returncode == 15, f"the first call ends with {first.returncode}: {err[-600:]}")
    books(site).settled("overtaken", SUBJECTS[:1])
    ids = {a["allocation"] for a in [*answers, again]}
    expect(ids == books(site).ids(), "the calls name different allocations")
    return told_busy


def crowd(site, subjects, calls):
    """Several calls for each participant at once, each repeated until it answers."""
    site.restore()
    answers, refused, lock = collections.defaultdict(set), [0], threading.Lock()
    gate = threading.Barrier(len(subjects) * calls)

    def client(subject):
        gate.wait(60)
        for _ in range(600):
            code, out, err = site.run(*randomize(subject))
            if code == 0:
                with lock:
                    answers[subject].add(told(out)["allocation"])
                return
            expect(code == 15, f"`randomize` beside others ends with {code}: {err[-600:]}")
            with lock:
                refused[0] += 1
            time.sleep(0.05)
        raise Wrong("a client never had its turn")

    with concurrent.futures.ThreadPoolExecutor(len(subjects) * calls) as pool:
        for future in [pool.submit(client, s) for s in subjects for _ in range(calls)]:
            future.result()
    after = books(site)
    order = [row[4] for row in after.allocations]
    expect(sorted(order) == sorted(subjects), f"randomized were {order}")
    after.settled("at once", order)
    expect({s: {i} for i, _, _, _, s, _ in after.allocations} == dict(answers), "an answer names another allocation")
    proved(site, "at once")
    return refused[0]


def two_keys(site):
    site.restore()
    first = told(site.well(*randomize(SUBJECTS[0])))
    code, out, err = site.run(*randomize(SUBJECTS[0], "another key"))
    expect(code == 17 and not out, f"the second key ends with {code}: {out[:300]}")
    expect("duplicate" in err and first["allocation"] in err, f"the second key is told: {err[-600:]}")
    expect(first["arm"] not in err, "a refusal names an arm")
    # The key of one participant gives nothing to another.
    code, out, err = site.run(*randomize(SUBJECTS[1], key_of(SUBJECTS[0])))
    expect(code == 17 and not out and "key-reuse" in err, f"a key of another ends with {code}: {err[-600:]}")
    books(site).settled("two keys", SUBJECTS[:1])


def exhausted():
    """One participant more than was planned."""
    planned = SUBJECTS[:-1]
    folder = tempfile.mkdtemp(prefix="durability-")
    try:
        for name in os.listdir(os.path.join(ROOT, "mappings", "nct06242405")):
            with open(os.path.join(ROOT, "mappings", "nct06242405", name), encoding="utf-8") as file:
                text = file.read()
            text = text.replace("total = 92", f"total = {len(planned)}")
            text = text.replace("block_sizes = [4, 6]", f"block_sizes = [{len(planned)}]")
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        with ready(head=f'trial = "{folder}"\n') as site:
            arms = collections.Counter(told(site.well(*randomize(subject)))["arm"] for subject in planned)
            expect(sorted(arms.values()) == [len(planned) // 2] * 2, "the list of one block is not balanced")
            for key in (key_of(SUBJECTS[-1]), "one more try"):
                code, out, err = site.run(*randomize(SUBJECTS[-1], key))
                expect(code == 17 and not out, f"one more than planned ends with {code}: {out[:300]}")
                expect("list-exhausted" in err, f"one more than planned is told: {err[-600:]}")
            books(site).settled("a list that is used up", planned)
            proved(site, "a list that is used up")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"after {len(planned)} of {len(planned)} slots `list-exhausted`"


# ---- an older copy in place of the data

def draw_restored(full):
    """A backup put in place of newer data: nobody is randomized until a person has signed for it."""
    refusals = 0
    with ready() as site:
        for ways in range(2):
            site.restore()
            site.well(*randomize(SUBJECTS[0]))
            copy = os.path.join(site.dir, f"copy-{ways}.db")
            site.well("backup", copy)
            lost = told(site.well(*randomize(SUBJECTS[1])))
            for name in os.listdir(site.data):
                if name.startswith("trialbridge.db"):
                    os.remove(os.path.join(site.data, name))
            shutil.copy(copy, os.path.join(site.data, "trialbridge.db"))
            if ways:
                # Whoever thinks of the anchor and takes it away is refused as well.
                os.remove(site.anchor)
            older = books(site)
            # The one that is lost, with its own key; and another.
            for subject in (SUBJECTS[1], SUBJECTS[2], SUBJECTS[1]):
                code, out, err = site.run(*randomize(subject))
                expect(code == 16 and not out, f"on an older copy `randomize` ends with {code}: {out[:300]} {err[-600:]}")
                expect("audit-unanchored" in err, f"on an older copy it is told: {err[-600:]}")
                refusals += 1
            code, out, err = site.run(*randomize(subject), "--dry-run")
            expect(code == 16, f"a dry run on an older copy ends with {code}: {err[-600:]}")
            expect(books(site).allocations == older.allocations, "something was drawn on an older copy")
            expect(site.run("audit", "verify")[0] == 16, "`audit verify` finds nothing wrong with an older copy")
            # What is known is told again, whatever became of the log.
            again = told(site.well(*randomize(SUBJECTS[0])))
            expect(again["replayed"] and again["allocation"] in older.ids(), "the first allocation is not told again")
            site.well("audit", "accept", "--by", BY, "--reason", "the copy of this morning, the newer disk is lost")
            after = told(site.well(*randomize(SUBJECTS[2])))
            expect(not after["replayed"] and after["allocation"] != lost["allocation"], "the draw after it is another's")
            drawn_now = [(row[1], row[4]) for row in books(site).allocations]
            expect(drawn_now == [(1, SUBJECTS[0]), (2, SUBJECTS[2])], f"allocated are {drawn_now}")
            proved(site, "after the signature")
    return f"{refusals} draws on an older copy refused (exit 16, `audit-unanchored`), one after `audit accept`"
