"""Runs the program printed in docs/randomization.md and compares it with the known answer.

The known answer is also what the Rust tests hold the code against, so the page, the program and
the code cannot drift apart. Needs nothing but Python 3.8: `python3 tests/docs/replay_randomization.py`
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program():
    page = (ROOT / "docs" / "randomization.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    if len(blocks) != 1:
        sys.exit("docs/randomization.md: one fenced Python block is expected, %d found" % len(blocks))
    return blocks[0]


def main():
    run = subprocess.run(
        [sys.executable, "-I", "-"], input=program(), capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    if run.returncode != 0:
        sys.exit("the program of docs/randomization.md failed:\n" + run.stderr)
    found = json.loads(run.stdout)
    answer = json.loads((ROOT / "fixtures" / "randomize" / "known-answer.json").read_text(encoding="utf-8"))
    different = [
        "%s.%s" % (part, name)
        for part in ("inputs", "expected")
        for name in sorted(set(found[part]) | set(answer[part]))
        if found[part].get(name) != answer[part].get(name)
    ]
    if different:
        sys.exit("not the known answer: " + ", ".join(different))
    if len(answer["expected"]) < 9 or sum(map(len, answer["expected"]["blocks"])) != answer["inputs"]["total"]:
        sys.exit("fixtures/randomize/known-answer.json is not a whole known answer")
    print("docs/randomization.md replays the known answer: %d slots" % answer["inputs"]["total"])


if __name__ == "__main__":
    main()
