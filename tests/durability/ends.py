"""A full disk, and a stop under load.

Run as a program it is the inside of the full disk's name space."""

import os
import signal
import socket
import subprocess
import sys
import time

from senders import END, START, bundle, compare, http_answer, http_request, result, send_all, settle_http, settle_mllp
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
                # In the first round some end in the middle of the body, and stay so: they cost the whole
                # time that a stop may take.
                is_cut = number == 0 and n % 4 == 0
                in_flight.append((stream, [message], request[:-40] if is_cut else request))
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


if __name__ == "__main__":
    disk_full_inside()
