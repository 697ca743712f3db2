"""Power cuts while participants are randomized, with the anchor on a disk of its own.

The two disks know nothing of each other: of what was not synced each may have kept anything. A disk that
forgets what it was told to sync forces what must not happen otherwise, an anchor that is ahead of its log.
"""

import collections
import os
import random
import shlex
import shutil
import sqlite3
import subprocess
import threading

from draw import drawn, in_sites
from power import CALLS, MODES, Disk, filed, recorded
from service import expect
from trial import SUBJECTS, books, proved, randomize, ready

# The one behind them is never recorded: images randomize it.
RECORDED, NEXT = SUBJECTS[:-1], SUBJECTS[-1]


class Recording:
    """Draws one after the other, all that they wrote and synced, and what lay on the disks before."""

    def __init__(self, site):
        site.restore()
        log, self.known, self.anchor = os.path.join(site.dir, "log"), {}, None
        for n, name in enumerate(sorted(os.listdir(site.data))):
            with open(os.path.join(site.data, name), "rb") as file:
                self.known[name] = (-1 - n, file.read())
        with open(site.anchor, "rb") as file:
            self.anchor = (-100, file.read())
        script = " && ".join(shlex.join(site.command(*randomize(s))) for s in RECORDED)
        ran = subprocess.run(
            ["strace", "-f", "-qq", "-y", "-xx", "-s", str(1 << 20), "-o", log, "-e", f"trace={CALLS}",
             "sh", "-c", script],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, cwd=site.dir,
            env={"PATH": os.environ["PATH"]})
        expect(ran.returncode == 0, f"the recording ends with {ran.returncode}: {ran.stderr[-600:]}")
        self.events = recorded(log, site.data, {name: number for name, (number, _) in self.known.items()},
                               {site.anchor: (self.anchor[0], len(self.anchor[1]))})
        os.remove(log)
        self.acks = [e[1] for e in self.events if e[0] == "ack"]
        expect(len(self.acks) == len(RECORDED), f"{len(self.acks)} answers were recorded")
        lines = sum(e[0] == "write" and e[1] == self.anchor[0] for e in self.events)
        synced = sum(e[0] == "sync" and e[1] == self.anchor[0] for e in self.events)
        expect(synced >= len(RECORDED) <= lines, f"{lines} writes to the anchor were recorded, {synced} syncs")

    def images(self, cuts, seed, lies=False):
        """(answered so far, modes, the data's names and bytes, the anchor's bytes) at cuts over the whole run: a
        third right behind an answer, a quarter where the commit is on one disk and the anchor not on the other."""
        chance = random.Random(seed)
        after = [i for i, e in enumerate(self.events) if e[0] == "ack"]
        between = [i - 1 for i, e in enumerate(self.events) if e[0] in ("write", "sync") and e[1] == self.anchor[0]]
        if lies:
            # Later the log is in the database, which a disk that forgets the log has kept.
            chosen = chance.choices(after, k=cuts)
        else:
            chosen = chance.choices(after, k=cuts // 3) + chance.choices(between, k=cuts // 4)
            chosen += chance.choices(range(len(self.events)), k=cuts - len(chosen))
        data, other = Disk(self.known, lies), Disk({"anchor": self.anchor})
        answered, at = [], 0
        for cut in sorted(chosen):
            for event in self.events[at:cut + 1]:
                if event[0] == "ack":
                    answered.append(event[1])
                elif len(event) > 1 and event[1] == self.anchor[0]:
                    other.take(event, None)
                else:
                    data.take(event, None)
            at = max(at, cut + 1)
            for mode in MODES:
                anchor_mode = chance.choice(MODES)
                yield (list(answered), f"{mode}, anchor {anchor_mode}", data.image(mode, chance),
                       other.image(anchor_mode, chance)["anchor"])


def placed(site, image, anchor):
    """An image in the place of a site's data."""
    site.restore()
    shutil.rmtree(site.data)
    os.mkdir(site.data, 0o700)
    filed(image, site.data)
    with open(site.anchor, "wb") as file:
        file.write(anchor)


def kept(site, job, seen, lock):
    """Of an image that honest disks can leave: nothing that was answered is lost, and the trial goes on."""
    number, (answered, modes, image, anchor) = job
    why = f"image {number} ({modes}, {len(answered)} answered)"
    placed(site, image, anchor)
    found = books(site)
    expect(not found.ahead(), f"{why}: the anchor knows the entries {found.ahead()}, the chain does not")
    lost = set(answered) - found.ids()
    expect(not lost, f"{why}: LOST: {lost}")
    there = len(found.allocations)
    expect(there <= len(answered) + 1, f"{why}: {there} allocations of {len(answered)} answered")
    found.settled(why, RECORDED[:there])
    proved(site, why)
    # The answer that was cut off, or the last one that was not, is asked for again; and then the next.
    again = RECORDED[min(len(answered), len(RECORDED) - 1)]
    code, answer, err = drawn(site, again)
    expect(code == 0 and answer, f"{why}: the retry ends with {code}: {err[-600:]}")
    is_new = RECORDED.index(again) >= there
    expect(answer["replayed"] is not is_new, f"{why}: the retry says replayed: {answer['replayed']}")
    code, answer, err = drawn(site, NEXT)
    expect(code == 0 and answer, f"{why}: the next draw ends with {code}: {err[-600:]}")
    final = books(site)
    final.settled(why, [*RECORDED[:there + is_new], NEXT])
    expect(set(answered) <= final.ids(), f"{why}: an answered allocation has another id now")
    if number % 4 == 0:
        proved(site, f"{why}, after going on")
    with lock:
        seen["images"] += 1
        seen["behind"] += found.behind() > 0
        seen["done, not answered"] += there > len(answered)
        seen["torn"] += not anchor.endswith(b"\n")


def refused(site, job, seen, lock):
    """Of an image of a disk that lies: where an answer is lost nobody is randomized, and the checks say why."""
    number, (answered, modes, image, anchor) = job
    why = f"image {number} of a disk that lies ({modes}, {len(answered)} answered)"
    placed(site, image, anchor)
    try:
        before = books(site)
        lost = [s for s, i in zip(RECORDED, answered) if i not in before.ids()]
    except sqlite3.DatabaseError:
        before, lost = None, RECORDED[:len(answered)]
    if not lost:
        return
    anchored = before is not None and before.ahead()
    expect(anchored or before is None, f"{why}: {len(lost)} answered allocations are lost and the anchor knows nothing")
    # Whoever was answered asks again with the same key; and another.
    for subject in (lost[-1], NEXT):
        code, answer, err = drawn(site, subject)
        expect(code > 0 and not answer, f"{why}: randomized on a log that lost {len(lost)} answers")
        if anchored:
            expect(code == 16 and "audit-" in err, f"{why}: refused with {code}: {err[-600:]}")
    if anchored:
        expect(books(site).allocations == before.allocations, f"{why}: an allocation was added")
        expect(site.run("audit", "verify")[0] == 16, f"{why}: `audit verify` finds nothing")
    with lock:
        seen["lying, refused"] += 1
        seen["lying, unreadable"] += before is None


def draw_cut(full):
    """Power cuts of draws, the anchor on another disk; and a disk that lies, on which nobody may be randomized."""
    seen, lock = collections.Counter(), threading.Lock()
    for seed in range(6 if full else 1):
        with ready("/dev/shm" if os.path.isdir("/dev/shm") else None) as site:
            recording = Recording(site)
            honest = list(enumerate(recording.images(240 if full else 12, 10 * seed + 1)))
            in_sites(site, lambda own, job: kept(own, job, seen, lock), honest)
            lying = list(enumerate(recording.images(60 if full else 4, 10 * seed + 2, lies=True)))
            seen["lying"] += len(lying)
            in_sites(site, lambda own, job: refused(own, job, seen, lock), lying)
    expect(seen["behind"] > 0, "in no image the anchor is behind its log")
    expect(seen["lying, refused"] > seen["lying"] // 2,
           f"a lying disk lost answers in only {seen['lying, refused']} of {seen['lying']} images")
    return (f"{seen['images']} images of two disks: 0 answered allocations lost, none twice, the anchor never ahead, "
            f"{seen['behind']} times behind ({seen['torn']} with a torn line) and accepted, "
            f"{seen['done, not answered']} allocated and not answered; of a disk that lies {seen['lying']}: "
            f"in {seen['lying, refused']} answers were lost, and nobody was randomized on them")
