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


def main():
    commitment, replay = programs()
    answers = json.loads(run(replay))
    for name, found in answers.items():
        if "--write" in sys.argv and name != "known-answer":
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
    schemes = {case["inputs"]["scheme"]["name"] for name in answers if name != "known-answer" for case in read(name)["cases"]}
    if schemes != {"permuted-blocks", "complete", "efron", "big-stick", "minimization"}:
        sys.exit("known answers of these schemes only: " + ", ".join(sorted(schemes)))
    imported = read("known-answer-import")
    found = run(commitment, str(FIXTURES / imported["file"]), imported["salt"]).strip()
    if found != imported["commitment"]:
        sys.exit("the commitment of the imported list is " + found)
    print("docs/randomization.md replays %d known answers and the commitment of an imported list" % len(answers))


if __name__ == "__main__":
    main()
