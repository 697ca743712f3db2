"""Load, overload, pages that are read all day, a disk that is slow."""

import asyncio
import os
import re
import resource
import threading
import time

from senders import END, START, Sender, bundle, compare, http_request, result, settle_http, settle_mllp
from service import Bench, Service, Wrong, expect, get, restarted


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
    """200 pushes and 50 MLLP messages a second while 20 people look: no error, the log stays small."""
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

        def look(phase):
            while time.monotonic() < begun + seconds:
                for path in ("/", "/api/v1/subjects"):
                    status, _ = get(bench.web, path)
                    if status != 200:
                        troubles.append(Wrong(f"{path} answers {status} under load"))
                    time.sleep(0.5 + phase)

        # Five that ask four times as often as a person does.
        threads = [threading.Thread(target=look, args=(n / 50,)) for n in range(5)]
        threads += [threading.Thread(target=at_rate, args=("HTTP", bundle, 25, n / 8)) for n in range(8)]
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


def read_all_day(full):
    """Pages are read without a pause while messages come: the log is emptied all the same."""
    seconds = 120 if full else 12
    with Bench() as bench:
        service = Service(bench)
        watch = Watch(service)
        end, book, reads, lock = time.monotonic() + seconds, [], [0], threading.Lock()

        def read():
            while time.monotonic() < end:
                get(bench.web, "/api/v1/subjects")
                reads[0] += 1

        def write():
            sender = Sender(bench, "HTTP")
            while time.monotonic() < end:
                message = bundle("a", 200_000)
                with lock:
                    book.append(message)
                sender.send(message)
            sender.close()

        threads = [threading.Thread(target=what) for what in [read] * 6 + [write] * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        watch.end()
        failed = [m for m in book if m.state != "acknowledged"]
        expect(not failed, f"{len(failed)} of {len(book)} were not taken: {failed[:2]}")
        compare(book, bench.inbox(), "read all day")
        expect(watch.log <= 64, f"the log grew to {watch.log:.0f} MiB")
        size = megabytes(bench.data + "/trialbridge.db")
        expect(size > 2 * watch.log, "too little was written to say anything about the log")
        service.kill()
        return (f"{len(book)} messages and {reads[0]} pages in {seconds} s, log at most {watch.log:.1f} MiB "
                f"for a database of {size:.0f} MiB")


def wait_until_digested(bench, limit=300):
    begun = time.monotonic()
    while time.monotonic() - begun < limit:
        if bench.query("SELECT count(*) FROM inbox WHERE state = 'pending'")[0][0] == 0:
            return time.monotonic() - begun
        time.sleep(0.1)
    raise Wrong(f"the inbox is not worked off within {limit} s")


def overload(full):
    """Ten times as much: sheds in words, keeps what it acknowledged, and is itself again at once."""
    return flooded(60 if full else 5, 800, "")


def throttled(full):
    """One caller far above its limit: 429 with Retry-After, and what was taken is stored."""
    return flooded(60 if full else 4, 200, "[push]\nmax_per_second = 100\n", must_shed=True)


def slow_disk(full):
    """A sync that takes 0.4 s, and more connections than are let in: what waits is bounded."""
    return flooded(60 if full else 5, 1200, "", delay=400_000)


def flooded(seconds, connections, more, delay=None, must_shed=False):
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    with Bench(more=more) as bench:
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
        expect(shed or not must_shed, "nothing was shed: the load was not enough to show it")
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
        # One address has a limit of its own.
        source = f"127.0.0.{1 + n % 3}"
        pause = connections / rate
        await asyncio.sleep(pause * n / connections)
        reader = writer = None
        while time.monotonic() < over:
            message = result("o") if is_mllp else bundle("o")
            book.append(message)
            begun = time.monotonic()
            try:
                if writer is None:
                    reader, writer = await asyncio.wait_for(
                        asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)), 10)
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
