"""Guesses every arm before it is drawn, with everything but the keys.

    attack.py FOLDER withhold|disclose DEVIATIONS [--planted]

With `--planted` arms are first leaked on purpose, once in every way that is looked for: then it must fail.

Each strategy is measured on all trials of the folder, next to what the same strategy reaches on lists of
this design that are drawn up here from the system's own random numbers: the design's rate. Beating that by
so many standard deviations, an arm's name where none may be, or a leaf opened by a guessed salt fails.
"""
import base64
import hashlib
import json
import math
import pathlib
import random
import re
import sys
import zlib

SIZES = [4, 6]
TOTAL = 92
LISTS = 4000


# ---- what was found ----

class Loot:
    def __init__(self, folder):
        self.folder = folder / "loot"
        bundle = json.loads((self.folder / "bundle.json").read_text(encoding="utf-8"))
        self.audit, self.bundle = bundle["audit"], bundle["bundle"]
        self.header = self.bundle["header"]
        self.slots, self.allocations = self.bundle["slots"], self.bundle["allocations"]
        truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        self.names = truth["arms"]
        # Kept from the strategies: they get a past arm only where the hospital is told it.
        self.truth = [self.names.index(a["arm"]) for a in truth["allocations"]]
        self.secrets = [truth["seed"]] + [s["salt"] for s in truth["slots"]]
        assert len(self.truth) == TOTAL == len(self.allocations), "a whole trial is expected"

    def files(self):
        return [path for path in sorted(self.folder.rglob("*")) if path.is_file()]


# ---- names in every encoding ----

def spellings(name):
    """The name as bytes, in every encoding somebody would try."""
    for text in {name, name.lower(), name.upper(), name.split()[0], name.split()[0].lower()}:
        raw = text.encode()
        yield from (raw, text.encode("utf-16-le"), text.encode("utf-16-be"), raw.hex().encode(), raw.hex().upper().encode(), raw[::-1])
        for shift in range(3):
            # Base64 of the name wherever it stands in a longer text: without the ends that depend on it.
            encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
            yield encoded[(shift * 8 + 5) // 6:-1]


def where_names_are(loot, arm):
    """Files with an arm's name that should have none. The definition has the names, and so have pages and
    outputs that describe the trial; none of them may tell one participant from another."""
    hits = []
    per_draw = re.compile(r"draws/\d+\.(txt|explain|page)$")
    for path in loot.files():
        name = path.relative_to(loot.folder).as_posix()
        if name.startswith("definition/"):
            continue
        told = arm == "disclose" and (per_draw.search(name) or name == "writeback.json")
        if told:
            continue
        found = path.read_bytes()
        counts = [sum(found.count(spelling) for spelling in set(spellings(arm_name)) if len(spelling) > 4) for arm_name in loot.names]
        # A description names all arms equally; what singles one out is a leak.
        stored = name.startswith("data/") or name.startswith("backup")
        if counts[0] != counts[1] or (stored and any(counts)):
            hits.append((name, counts))
    return hits


def secrets_seen(loot):
    return [
        path.name for path in loot.files()
        if any(form in path.read_bytes() for secret in loot.secrets[:3] for form in (secret.encode(), bytes.fromhex(secret)))
    ]


# ---- leaves with guessed salts ----

def text(x):
    return len(x).to_bytes(8, "big") + x


def u32(n):
    return n.to_bytes(4, "big")


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def guessed_salts(loot, slot, allocation):
    header, position = loot.header, slot["position"]
    known = [header[name].encode() for name in ("id", "trial", "definition", "commitment", "key_id")]
    known += [bytes.fromhex(header["commitment"][7:]), bytes.fromhex(header["definition"][7:]), b"", bytes(32)]
    known += [bytes.fromhex(slot["nonce"]), bytes.fromhex(slot["ciphertext"])[:32], allocation["id"].encode(), allocation["at"].encode()]
    known += [header[name].encode() for name in ("scheme", "origin")] + [loot.audit["commitment"]["at"].encode()]
    yield from (bytes(32), b"\xff" * 32, bytes(31) + b"\x01", bytes([position]) * 32, position.to_bytes(32, "big"))
    for k in known:
        yield (k + bytes(32))[:32]
        for form in (u32(position), str(position).encode(), b"", b"%08d" % position):
            yield from (sha(k, form), sha(form, k), sha(text(k), form))
        seed = (k + bytes(32))[:32]
        for seed in (seed, sha(k)):
            yield sha(text(b"trialbridge/salt/v2"), seed, u32(0), u32(position))
            yield sha(text(b"trialbridge/salt/v1"), seed, u32(position))


def opened_by_guessing(loot):
    found = 0
    for slot, a in zip(loot.slots, loot.allocations):
        for salt in guessed_salts(loot, slot, a):
            for name in loot.names:
                start = b"\0" + text(b"trialbridge/slot/v2") + text(loot.header["id"].encode()) + u32(slot["stratum"]) + u32(slot["position"])
                found += "sha256:" + sha(start, salt, b"\0", text(name.encode())).hex() == a["leaf"]
    return found


# ---- measured features, and a classifier trained on half of the truth ----

def features(loot):
    """A row of numbers for each draw: of what lies about, whatever could go with the arm."""
    before = ""
    for i, (slot, a) in enumerate(zip(loot.slots, loot.allocations)):
        nonce, sealed = bytes.fromhex(slot["nonce"]), bytes.fromhex(slot["ciphertext"])
        leaf, ident = bytes.fromhex(a["leaf"][7:]), a["id"].encode()
        draws = loot.folder / "draws"
        lengths = [
            (draws / ("%03d.%s" % (i, kind))).stat().st_size for kind in ("txt", "explain", "page")
        ]
        took = float((draws / ("%03d.took" % i)).read_text())
        clock = int(re.sub(r"\D", "", a["at"])[-9:] or 0)
        row = [len(sealed), len(zlib.compress(sealed)), len(set(sealed)), sum(sealed), sum(nonce), sum(ident), len(a["proof"])]
        row += [took, clock % 1000, clock // 1000 % 60, sum(map(ord, a["at"] + before)) % 7]
        row += [bit for byte in leaf[:4] + nonce[:4] + sealed[:4] + sealed[-20:-14] + ident[-4:] for bit in ((byte >> k) & 1 for k in range(8))]
        row += [int(h[7:9], 16) for h in a["proof"][:3]] + [i % k for k in (2, 3, 4, 6)]
        # Names apart, lengths of what an operator sees. With arms disclosed an operator sees the arm itself
        # after the draw, so they count only where arms are withheld.
        row += lengths
        before = a["at"]
        yield row


def classified(rows, arms):
    """Best single threshold and naive Bayes over standardized features, trained on the first half of the
    draws of every trial and tested on the second: (hits, guesses) of each."""
    train = [(r, arm) for rs, aa in zip(rows, arms) for r, arm in list(zip(rs, aa))[: len(aa) // 2]]
    test = [(r, arm) for rs, aa in zip(rows, arms) for r, arm in list(zip(rs, aa))[len(aa) // 2:]]
    width = len(train[0][0])
    stump, best = None, -1
    for f in range(width):
        values = sorted({r[f] for r, _ in train})
        for cut in values[:: max(1, len(values) // 16)]:
            hits = sum((r[f] > cut) == arm for r, arm in train)
            for flip in (0, 1):
                score = len(train) - hits if flip else hits
                if score > best:
                    best, stump = score, (f, cut, flip)
    f, cut, flip = stump
    by_stump = sum(((r[f] > cut) ^ flip) == arm for r, arm in test)
    means = [[sum(r[f] for r, arm in train if arm == side) / max(1, sum(arm == side for _, arm in train)) for f in range(width)] for side in (0, 1)]
    spread = [max(1e-9, sum((r[f] - means[arm][f]) ** 2 for r, arm in train) / len(train)) for f in range(width)]

    def bayes(r):
        near = [sum((r[f] - means[side][f]) ** 2 / spread[f] for f in range(width)) for side in (0, 1)]
        return near[1] < near[0]

    by_bayes = sum(bayes(r) == arm for r, arm in test)
    return {"best single feature": (by_stump, len(test)), "all features": (by_bayes, len(test))}


# ---- guessing from the past arms ----

def converging(past, rng):
    """The arm given less often so far."""
    ahead = sum(1 if arm else -1 for arm in past)
    return rng.randrange(2) if ahead == 0 else int(ahead < 0)


def reachable():
    found = [True]
    for n in range(1, TOTAL + 1):
        found.append(any(s <= n and found[n - s] for s in SIZES))
    return found


REACHABLE = reachable()


class Knowing:
    """Knows the block sizes, and keeps the probability of every place within every block."""

    def __init__(self):
        self.states = {}
        self.left = TOTAL
        self.start(1.0, self.states, TOTAL)

    @staticmethod
    def start(weight, states, left):
        sizes = [s for s in SIZES if s <= left and REACHABLE[left - s]]
        for s in sizes:
            at = (s // 2, s // 2)
            states[at] = states.get(at, 0.0) + weight / len(sizes)

    def guess(self, rng):
        chance = sum(w * b / (a + b) for (a, b), w in self.states.items())
        return rng.randrange(2) if abs(chance - 0.5) < 1e-12 else int(chance > 0.5)

    def learn(self, arm):
        self.left -= 1
        states, ended = {}, 0.0
        for (a, b), w in self.states.items():
            have = b if arm else a
            if not have:
                continue
            w *= have / (a + b)
            a, b = (a, b - 1) if arm else (a - 1, b)
            if a + b:
                states[a, b] = states.get((a, b), 0.0) + w
            else:
                ended += w
        if ended and self.left:
            self.start(ended, states, self.left)
        total = sum(states.values()) or 1.0
        self.states = {at: w / total for at, w in states.items()}


def guessed(arms, rng):
    """How often each strategy is right on one list."""
    past, knowing, hits = [], Knowing(), {"convergence": 0, "knowing the block sizes": 0}
    for arm in arms:
        hits["convergence"] += converging(past, rng) == arm
        hits["knowing the block sizes"] += knowing.guess(rng) == arm
        knowing.learn(arm)
        past.append(arm)
    return hits


def a_list(rng):
    """A list of the design, from other random numbers."""
    arms = []
    while len(arms) < TOTAL:
        left = TOTAL - len(arms)
        size = rng.choice([s for s in SIZES if s <= left and REACHABLE[left - s]])
        block = [0, 1] * (size // 2)
        rng.shuffle(block)
        arms += block
    return arms


def of_the_design(rng):
    """Mean and standard deviation of the hits of each strategy on one list of the design."""
    seen = [guessed(a_list(rng), rng) for _ in range(LISTS)]
    for strategy in seen[0]:
        hits = [one[strategy] for one in seen]
        mean = sum(hits) / len(hits)
        yield strategy, mean, math.sqrt(sum((h - mean) ** 2 for h in hits) / (len(hits) - 1))


# ---- leaks on purpose ----

def plant(loot):
    """The arm in one bit of each ciphertext, its name in a file, its leaf under a salt that can be guessed."""
    for slot, arm in zip(loot.slots, loot.truth):
        sealed = bytearray.fromhex(slot["ciphertext"])
        sealed[0] = sealed[0] & 0xFE | arm
        slot["ciphertext"] = sealed.hex()
    slot, a = loot.slots[0], loot.allocations[0]
    salt = sha(loot.header["id"].encode(), str(slot["position"]).encode())
    start = b"\0" + text(b"trialbridge/slot/v2") + text(loot.header["id"].encode()) + u32(slot["stratum"]) + u32(slot["position"])
    a["leaf"] = "sha256:" + sha(start, salt, b"\0", text(loot.names[loot.truth[0]].encode())).hex()
    (loot.folder / "data" / "planted").write_bytes(b"x" + base64.b64encode(b"arm " + loot.names[0].encode()) + loot.secrets[1].encode())


# ---- score ----

def main():
    folder, arm, deviations = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    trials = [Loot(path) for path in sorted(folder.iterdir()) if (path / "truth.json").exists()]
    if not trials:
        sys.exit("no trial was played")
    rng, failed = random.SystemRandom(), []
    planted = "--planted" in sys.argv
    if planted:
        for loot in trials:
            plant(loot)

    def judge(strategy, hits, guesses, mean, sd):
        rate, bound = hits / guesses, mean + deviations * sd
        verdict = "ok" if rate <= bound else "BETTER THAN THE DESIGN"
        print("%-9s %-34s %6.4f of %5d  design %6.4f, bound %6.4f  %s" % (arm, strategy, rate, guesses, mean, bound, verdict))
        if rate > bound:
            failed.append(strategy)

    for loot in trials:
        for name, counts in where_names_are(loot, arm):
            failed.append("arms named in %s: %s" % (name, counts))
        for name in secrets_seen(loot):
            failed.append("a seed or salt in " + name)
        opened = opened_by_guessing(loot)
        if opened:
            failed.append("%d leaves opened by guessed salts" % opened)
    tried = sum(1 for _ in guessed_salts(trials[0], trials[0].slots[0], trials[0].allocations[0]))
    print("%-9s searched %d files for names, seeds and salts; tried %d salts on each of %d leaves" % (
        arm, sum(len(t.files()) for t in trials), tried, sum(len(t.allocations) for t in trials)))

    # Without past arms nothing is known: every arm is as likely as the other.
    rows = [list(features(t)) for t in trials]
    if arm == "disclose":
        rows = [[row[:-3] for row in r] for r in rows]
    for strategy, (hits, guesses) in classified(rows, [t.truth for t in trials]).items():
        judge(strategy, hits, guesses, 0.5, math.sqrt(0.25 / guesses))
    coin = sum(rng.randrange(2) == a for t in trials for a in t.truth)
    judge("a coin", coin, TOTAL * len(trials), 0.5, math.sqrt(0.25 / (TOTAL * len(trials))))

    if arm == "disclose":
        scores = [guessed(t.truth, rng) for t in trials]
        for strategy, mean, sd in of_the_design(rng):
            hits = sum(score[strategy] for score in scores)
            judge(strategy, hits, TOTAL * len(trials), mean / TOTAL, sd / TOTAL / math.sqrt(len(trials)))
    if planted:
        for loot in trials:
            (loot.folder / "data" / "planted").unlink()
        words = ["best single feature", "arms named in data/planted", "a seed or salt in planted", "1 leaves opened"]
        missed = [word for word in words if not any(word in what for what in failed)]
        sys.exit("leaks on purpose that were not found: " + ", ".join(missed) if missed else 0)
    for what in sorted(set(failed)):
        print("%-9s FAILED: %s" % (arm, what))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
