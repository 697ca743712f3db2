"""Runs the programs printed in docs/randomization.md and compares them with the known answers.

The known answers are also what the Rust tests hold the code against, so the page, the programs and
the code cannot drift apart. Needs nothing but Python 3.8: `python3 tests/docs/replay_randomization.py`.
With `--write` it makes the known answers of the schemes; those that exist must never change.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures" / "randomize"
ABOUT = "Made by the Python program of docs/randomization.md, independently of the Rust code. Digits are arm indices."


def programs():
    """The commitment of an imported list, and the program that replays a list."""
    page = (ROOT / "docs" / "randomization.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    if len(blocks) != 2:
        sys.exit("docs/randomization.md: two fenced Python blocks are expected, %d found" % len(blocks))
    return blocks


def run(program, *arguments):
    ended = subprocess.run(
        [sys.executable, "-I", "-", *arguments], input=program, capture_output=True, text=True, encoding="utf-8",
        timeout=120,
    )
    if ended.returncode != 0:
        sys.exit("a program of docs/randomization.md failed:\n" + ended.stderr)
    return ended.stdout


def read(name):
    return json.loads((FIXTURES / (name + ".json")).read_text(encoding="utf-8"))


def different(found, answer, path):
    """Where two answers differ."""
    if isinstance(found, dict) and isinstance(answer, dict):
        for name in sorted(set(found) | set(answer)):
            yield from different(found.get(name), answer.get(name), path + "." + name)
    elif found != answer:
        yield path


def sealed(name):
    """Is this the answer of a whole list, and not of the schemes?"""
    return name in ("known-answer", "known-answer-v2")


def bundles(replay):
    """The program verifies the bundles of the Rust tests, and finds what is wrong in altered ones."""
    for name in ("stratified", "minimization", "imported"):
        bundle, revealed = FIXTURES / ("bundle-%s.json" % name), FIXTURES / ("revealed-%s.json" % name)
        commitment = read("bundle-" + name)["bundle"]["header"]["commitment"]
        for arguments in ([bundle], [bundle, commitment], [bundle, revealed], [bundle, revealed, commitment]):
            found = run(replay, *map(str, arguments))
            if not found.startswith("verified: ") or commitment not in found:
                sys.exit("the program says of %s: %s" % (name, found))
        refused(replay, name, [str(bundle), "sha256:" + "0" * 64], "certificate")
        altered(replay, name)


def altered(replay, name):
    """One change at a time, each with a word of what the program must say of it."""
    def first(answer):
        return answer["bundle"]["allocations"][0]

    def other_arm(answer):
        arms = [a["arm"] for a in answer["allocations"]]
        answer["allocations"][0]["arm"] = next(arm for arm in answer["arms"] if arm != arms[0])

    changes = [
        ("bundle", lambda b: b["bundle"]["slots"].pop(3), "slots missing"),
        ("bundle", lambda b: b["bundle"]["allocations"].pop(0), "missing"),
        ("bundle", lambda b: first(b).update(leaf="sha256:" + "0" * 64), "commitment"),
        ("bundle", lambda b: first(b).update(position=2), "next position"),
        ("bundle", lambda b: first(b).update(definition="sha256:" + "0" * 64), "unsigned"),
        ("revealed", other_arm, "an arm revealed"),
        ("revealed", lambda r: r.update(seed="00" * 32), "does not verify"),
        ("revealed", lambda r: r["slots"][0].update(salt="00" * 32), "salt"),
    ]
    for part, change, word in changes:
        with tempfile.TemporaryDirectory() as folder:
            arguments = []
            for file in ("bundle", "revealed"):
                answer = read("%s-%s" % (file, name))
                if file == part:
                    change(answer)
                path = pathlib.Path(folder) / file
                path.write_text(json.dumps(answer), encoding="utf-8")
                arguments.append(str(path))
            refused(replay, name, arguments, word)


def refused(replay, name, arguments, word):
    ended = subprocess.run(
        [sys.executable, "-I", "-", *arguments], input=replay, capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    if ended.returncode == 0 or "does not verify" not in ended.stderr or word not in ended.stderr:
        sys.exit("%s: a change that must be found as `%s` gives: %s%s" % (name, word, ended.stdout, ended.stderr))


def main():
    commitment, replay = programs()
    answers = json.loads(run(replay))
    for name, found in answers.items():
        if "--write" in sys.argv and not (FIXTURES / (name + ".json")).exists():
            text = json.dumps({"about": ABOUT, **found}, indent=1)
            (FIXTURES / (name + ".json")).write_text(text + "\n", encoding="utf-8")
        answer = read(name)
        answer.pop("about")
        places = list(different(found, answer, name))
        if places:
            sys.exit("not the known answer: " + ", ".join(places))
    answer = read("known-answer")
    if len(answer["expected"]) < 9 or sum(map(len, answer["expected"]["blocks"])) != answer["inputs"]["total"]:
        sys.exit("fixtures/randomize/known-answer.json is not a whole known answer")
    schemes = {case["inputs"]["scheme"]["name"] for name in answers if not sealed(name) for case in read(name)["cases"]}
    if schemes != {"permuted-blocks", "complete", "efron", "big-stick", "minimization"}:
        sys.exit("known answers of these schemes only: " + ", ".join(sorted(schemes)))
    bundles(replay)
    imported = read("known-answer-import")
    found = run(commitment, str(FIXTURES / imported["file"]), imported["salt"]).strip()
    if found != imported["commitment"]:
        sys.exit("the commitment of the imported list is " + found)
    print("docs/randomization.md replays %d known answers and the commitment of an imported list, and verifies 3 bundles" % len(answers))


if __name__ == "__main__":
    main()
