"""Power cuts: what a run wrote and synced is recorded, and disks are rebuilt as a cut could leave them.

A disk keeps what was written before a successful fsync. Of the rest it may keep nothing (`drop`), any
512-byte sectors (`sectors`), or the oldest ones (`prefix`). Names appear and vanish with an fsync of
their directory. What a *failed* fsync was to save counts as lost unless it is written again: the
system marks such pages clean (fsyncgate), so that a later fsync says nothing about them.
"""

import collections
import concurrent.futures
import os
import random
import re
import shutil
import sqlite3
import tempfile

from senders import mixed, send_all
from service import Bench, Service, Wrong, expect

MODES = ["drop", "sectors", "prefix"]
CALLS = ("openat,creat,pwrite64,write,writev,sendto,sendmsg,fsync,fdatasync,ftruncate,unlink,unlinkat,"
         "rename,renameat,renameat2,link,linkat")
SECTOR = 512
_text = re.compile(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?')
_receipt = re.compile(rb"x-trialbridge-message: *([^\r\n]+)", re.I)
_taken = re.compile(rb"MSA\|(?:AA|CA)\|([^|\r]+)")
_drawn = re.compile(rb'"allocation":"(alloc-[0-9a-f]+)"')
_line = re.compile(r"(\d+) +(.*)")


def plain(text):
    """What strace -xx wrote, as bytes."""
    return bytes.fromhex(text.replace("\\x", ""))


def recorded(log, directory, known=None, appended=None):
    """The events of a log, in order: what happened to files of the directory, and what was
    acknowledged when. `appended`: files elsewhere that are only written behind their end, with their
    number and length."""
    events, waiting = [], {}
    files = {os.path.join(directory, name): number for name, number in (known or {}).items()}
    files |= {path: number for path, (number, _) in (appended or {}).items()}
    lengths = {path: length for path, (_, length) in (appended or {}).items()}
    with open(log, encoding="ascii", errors="replace") as lines:
        for line in lines:
            found = _line.match(line)
            if not found:
                continue
            pid, rest = found[1], found[2]
            if rest.startswith("<... "):
                # The end of a call that was begun in an earlier line.
                begun = waiting.pop(pid, "")
                head, _, tail = rest.partition(" resumed>")
                rest, is_begin, is_end = begun + tail, False, True
            elif rest.endswith("<unfinished ...>"):
                waiting[pid] = rest[: -len("<unfinished ...>")]
                rest, is_begin, is_end = waiting[pid], True, False
            else:
                is_begin = is_end = True
            name, _, arguments = rest.partition("(")
            if name in ("write", "writev", "sendto", "sendmsg"):
                if is_begin:
                    sent = b"".join(plain(t) for t, _ in _text.findall(arguments.partition(">")[2]))
                    events += [("ack", r.strip().decode()) for r in _receipt.findall(sent)]
                    events += [("ack", r.decode()) for r in _taken.findall(sent) + _drawn.findall(sent)]
                    path = descriptor(arguments)
                    expect(not (path or "").startswith(directory + "/trialbridge.db"),
                           "the database is written past pwrite64: the recording is not whole")
                if is_end and (path := descriptor(arguments)) in lengths:
                    found, count = _text.search(arguments), int(rest.rpartition("= ")[2].split()[0])
                    expect(name == "write" and not found[2] and count > 0, f"not an append: {rest[:200]}")
                    events.append(("write", files[path], lengths[path], plain(found[1])[:count]))
                    lengths[path] += count
                continue
            if not is_end:
                # What is on its way may be on the disk already; a cut between is one like others.
                continue
            result = rest.rpartition("= ")[2]
            failed = result.startswith("-1") or result.startswith("?")
            if name in ("openat", "creat"):
                path = decoded(_text.search(arguments)[1]) if _text.search(arguments) else ""
                path = os.path.join(directory, path) if path and not path.startswith("/") else path
                if not failed and "O_CREAT" in arguments and os.path.dirname(path) == directory:
                    if path not in files:
                        files[path] = len(events)
                        events.append(("create", files[path], os.path.basename(path)))
            elif name in ("unlink", "unlinkat"):
                path = decoded(_text.search(arguments)[1])
                if not failed and path in files:
                    events.append(("unlink", files.pop(path), os.path.basename(path)))
            elif name in ("rename", "renameat", "renameat2", "link", "linkat"):
                expect(directory not in arguments, "a rename in the data directory: not modelled")
            else:
                path = descriptor(arguments)
                if path == directory and name in ("fsync", "fdatasync"):
                    if not failed:
                        events.append(("dirsync",))
                elif path in files:
                    if name == "pwrite64" and not failed:
                        found = _text.search(arguments)
                        expect(not found[2], "strace cut a write short")
                        data = plain(found[1])
                        offset = int(arguments[found.end():].split(",")[2].split(")")[0])
                        written = int(result.split()[0])
                        events.append(("write", files[path], offset, data[:written]))
                    elif name == "ftruncate" and not failed:
                        events.append(("truncate", files[path], int(arguments.rpartition(", ")[2].split(")")[0])))
                    elif name in ("fsync", "fdatasync"):
                        events.append(("lost" if failed else "sync", files[path]))
    return events


def decoded(text):
    return plain(text).decode() if "\\x" in text else text


def descriptor(arguments):
    """The path behind the first argument, `5</path>`."""
    found = re.match(r"\d+<([^>]*)>", arguments)
    return decoded(found[1]).removesuffix(" (deleted)") if found else None


class Disk:
    """What is certainly there, and what is only on its way, in order."""

    def __init__(self, known, lies=False):
        self.content = {number: bytearray(data) for number, data in known.values()}
        self.names = {name: number for name, (number, _) in known.items()}
        self.pending = []
        # A disk that lies keeps no promise about the log: the harness must find that.
        self.lies, self.logs = lies, set()

    def take(self, event, chance):
        kind = event[0]
        if kind == "create" and event[2].endswith("-wal"):
            self.logs.add(event[1])
        if kind in ("write", "truncate", "create", "unlink"):
            self.pending.append(event)
        elif kind == "dirsync":
            self.settle(lambda e: e[0] in ("create", "unlink"))
        elif kind == "sync" and not (self.lies and event[1] in self.logs):
            self.settle(lambda e: e[0] in ("write", "truncate") and e[1] == event[1])
        elif kind == "lost":
            mine = [e for e in self.pending if e[0] in ("write", "truncate") and e[1] == event[1]]
            self.pending = [e for e in self.pending if e not in mine]
            for e in mine:
                apply_sectors(self.content, self.names, e, chance) if chance else None

    def settle(self, which):
        rest = []
        for event in self.pending:
            apply(self.content, self.names, event) if which(event) else rest.append(event)
        self.pending = rest

    def image(self, mode, chance):
        """Names and bytes as a cut now could leave them."""
        content = {k: bytearray(v) for k, v in self.content.items()}
        names = dict(self.names)
        if mode == "sectors":
            for event in self.pending:
                apply_sectors(content, names, event, chance)
        elif mode == "prefix":
            count = chance.randint(0, len(self.pending))
            for event in self.pending[:count]:
                apply(content, names, event)
            if count < len(self.pending) and self.pending[count][0] == "write":
                _, file, offset, data = self.pending[count]
                keep = chance.randrange(0, len(data) + 1, SECTOR)
                apply(content, names, ("write", file, offset, data[:keep]))
        return {name: bytes(content.get(file, b"")) for name, file in names.items()}


def apply(content, names, event):
    if event[0] == "create":
        names[event[2]] = event[1]
    elif event[0] == "unlink":
        if names.get(event[2]) == event[1]:
            del names[event[2]]
    elif event[0] == "truncate":
        data = content.setdefault(event[1], bytearray())
        del data[event[2]:]
        data.extend(bytes(event[2] - len(data)))
    else:
        _, file, offset, written = event
        data = content.setdefault(file, bytearray())
        if len(data) < offset:
            data.extend(bytes(offset - len(data)))
        data[offset:offset + len(written)] = written


def apply_sectors(content, names, event, chance):
    if event[0] != "write":
        if chance.random() < 0.5:
            apply(content, names, event)
        return
    _, file, offset, data = event
    at = 0
    while at < len(data):
        end = min(len(data), at + SECTOR - (offset + at) % SECTOR)
        if chance.random() < 0.5:
            apply(content, names, ("write", file, offset + at, data[at:end]))
        at = end


def images(events, known, count, seed, lies=False):
    """(what was acknowledged, mode, names and bytes) at cuts spread over the whole run. Half of the
    cuts stand right behind an acknowledgement, where most is to lose."""
    chance = random.Random(seed)
    after_ack = [i for i, e in enumerate(events) if e[0] == "ack"]
    each = count // len(MODES)
    cuts = sorted(chance.choices(after_ack, k=each // 2) + chance.choices(range(len(events)), k=each - each // 2))
    disk, acknowledged, at = Disk(known, lies), set(), 0
    for cut in cuts:
        while at <= cut:
            event = events[at]
            if event[0] == "ack":
                acknowledged.add(event[1])
            else:
                disk.take(event, chance if seed % 2 else None)
            at += 1
        for mode in MODES:
            yield frozenset(acknowledged), mode, disk.image(mode, chance)


def filed(image, into):
    for name, data in image.items():
        if not name.endswith("-shm"):
            with open(os.path.join(into, name), "wb") as file:
                file.write(data)


def looked_at(bench, acknowledged, mode, image, book, start):
    """(acknowledged and not there, corrupt or "") of one image."""
    into = tempfile.mkdtemp(prefix="image-", dir=bench.dir)
    try:
        filed(image, into)
        has_schema = True
        if not acknowledged:
            # Before the first acknowledgement the database may be half made: it must still become one.
            start = True
        if start:
            code, out, err = bench.run("-o", "json", "replay", data=into)
            if code != 0:
                return 0, f"replay ends with {code}: {out[:300]} {err[:300]}"
        code, out, err = bench.run("-o", "json", "verify", data=into)
        if code != 0:
            return 0, f"verify ends with {code}: {out[:600]} {err[:300]}"
        try:
            there = {row[2]: row[0] for row in bench.inbox(into)}
        except sqlite3.DatabaseError as error:
            return 0, str(error)
        lost = 0
        for key in acknowledged:
            message = book.get(key)
            if message is None or message.sha256 not in there:
                lost += 1
        return lost, ""
    finally:
        shutil.rmtree(into, ignore_errors=True)


def record(bench, messages, failing=None):
    """Runs the service under strace until all is sent, and kills it: the events, the book, and what lay
    on the disk at the beginning. `failing`: which calls of fsync fail, as strace counts (`4+7`); the
    service is started without failures then."""
    log = os.path.join(bench.dir, "log")
    options = ["-y", "-xx", "-s", str(1 << 26), "-o", log, "-e", f"trace={CALLS}"]
    known = {}
    if failing:
        service = Service(bench)
        service.attach(*options, "-e", f"inject=fsync:error=EIO:when={failing}")
        # Idle by now: what is there was synced when it was opened.
        for n, name in enumerate(sorted(os.listdir(bench.data))):
            with open(os.path.join(bench.data, name), "rb") as file:
                known[name] = (-1 - n, file.read())
    else:
        service = Service(bench, ["strace", "-f", *options])
        expect(service.is_ready, f"the service does not start under strace: {service.said[-3:]}")
    send_all(bench, messages, connections=3, again=bool(failing), timeout=30)
    service.end()
    service.detach()
    events = recorded(log, bench.data, {name: number for name, (number, _) in known.items()})
    os.remove(log)
    book = {}
    for message in messages:
        if message.channel == "MLLP":
            book[message.name] = message
        for receipt in message.receipts:
            book[receipt] = message
    return events, book, known


def judged(bench, recording, count, seed, lies=False):
    """(images, images with a loss, acknowledged messages lost, corrupt ones)."""
    events, book, known = recording
    tried = with_loss = lost = 0
    corrupt = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = []

        def collect(limit):
            nonlocal tried, with_loss, lost
            while len(futures) > limit:
                (missing, damage), where = futures[0][0].result(), futures[0][1]
                futures.pop(0)
                tried += 1
                with_loss += missing > 0
                lost += missing
                if damage:
                    corrupt.append(f"{where}: {damage}")

        for n, (acknowledged, mode, image) in enumerate(images(events, known, count, seed, lies)):
            where = f"image {n} ({mode}, {len(acknowledged)} acknowledged)"
            futures.append((pool.submit(looked_at, bench, acknowledged, mode, image, book, n % 16 == 0), where))
            collect(4)
        collect(0)
    return tried, with_loss, lost, corrupt


def cut(full):
    """Power cuts of a run; of runs whose fsyncs fail; and of a disk that lies, which must be found."""
    rounds = int(os.environ.get("DURABILITY_ROUNDS", 42 if full else 1))
    seen = collections.Counter()
    for number in range(rounds):
        one_round(number, seen)
    expect(seen["images"] >= 300 * rounds, f"only {seen['images']} images")
    return (f"{seen['images']} images ({seen['syncs']} fsyncs, {seen['acks']} acknowledgements, {seen['failed']} failed "
            f"fsyncs recorded): 0 lost, 0 corrupt; control, a disk that lies: found in {seen['lies found']} of "
            f"{seen['lies']}")


def one_round(number, seen):
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with Bench(at=memory) as bench:
        recording = record(bench, mixed(60, "p", 900_000))
        acks = sum(e[0] == "ack" for e in recording[0])
        expect(acks >= 20, f"only {acks} acknowledgements were recorded")
        # The database itself is written when the log has 3000 pages (`CHECKPOINT_PAGES`), and by that time only.
        moved = sum(e[0] == "write" and len(e[3]) == 4096 and e[1] in bases(recording) for e in recording[0])
        expect(moved > 100, f"the recording has no checkpoint: {moved} pages were moved into the database")
        spared(bench, recording, 240, 10 * number + 1, seen)
        # The same recording on a disk that forgets what of the log it was told to sync.
        tried, with_loss, _, corrupt = judged(bench, recording, 30, 10 * number + 3, lies=True)
        found = with_loss + len(corrupt)
        expect(found > tried // 2, f"a lying disk is found in only {found} of {tried} images")
        seen["lies"] += tried
        seen["lies found"] += found
    # Even seeds: of a failed fsync nothing reaches the disk. Odd ones: any sectors of it.
    for seed, failing in ((2, f"{2 + number % 5}+11"), (5, f"{3 + number % 4}+7")):
        with Bench(at=memory) as bench:
            recording = record(bench, mixed(30, "q", 500_000), failing)
            expect(any(e[0] == "lost" for e in recording[0]), "no fsync failed in the recording")
            spared(bench, recording, 60, 10 * number + seed, seen)


def bases(recording):
    """The files that are the database, not its log."""
    events, _, known = recording
    return {e[1] for e in events if e[0] == "create" and e[2] == "trialbridge.db"} | {
        number for name, (number, _) in known.items() if name == "trialbridge.db"}


def spared(bench, recording, count, seed, seen):
    """No image of the recording has lost anything."""
    tried, with_loss, lost, corrupt = judged(bench, recording, count, seed)
    kinds = collections.Counter(e[0] for e in recording[0])
    what = f"of {kinds['sync']} fsyncs, {kinds['lost']} failed, seed {seed}"
    expect(not corrupt, f"{len(corrupt)} of {tried} images {what}, are corrupt: {corrupt[:2]}")
    expect(lost == 0, f"LOST: {lost} acknowledged messages in {with_loss} of {tried} images {what}")
    seen.update({"images": tried, "syncs": kinds["sync"], "acks": kinds["ack"], "failed": kinds["lost"]})
