"""Counts what cargo-mutants found in a module, and compares what survived with the documentation:
report.py MODULE MUTANTS.OUT whole|part

docs/mutation-testing.md has a row for each mistake that no test notices: `| file | mistake | how many | why |`.
The line is left out there, for it changes with every edit; so a row says how many mistakes of the same words
it speaks of. A survivor without a row fails the run; after a whole run, so does a row without its survivor.
"""

import collections
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = ["caught", "missed", "timeout", "unviable"]


def explained(page):
    """How many survivors each row speaks of, by file and mistake."""
    rows = collections.Counter()
    for file, mistake, count in re.findall(r"^\| `(src/[^`]+)` \| `(.+?)` \| (\d+) \| .{20,} \|$", page, re.M):
        rows[file, mistake.replace("\\|", "|")] += int(count)
    return rows


def main(module, folder, whole):
    found = {}
    for outcome in OUTCOMES:
        path = folder / f"{outcome}.txt"
        found[outcome] = path.read_text().splitlines() if path.exists() else []
    by_file = collections.defaultdict(collections.Counter)
    for outcome, lines in found.items():
        for line in lines:
            by_file[line.split(":")[0]][outcome] += 1
    width = max([len(file) for file in by_file] + [len(module)])
    print(f"{'':{width}} {'mutants':>8}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
    total = collections.Counter()
    for file, counts in sorted(by_file.items()) + [(module, total)]:
        total += counts if file != module else collections.Counter()
        print(f"{file:{width}} {counts.total():8}" + "".join(f"{counts[outcome]:9}" for outcome in OUTCOMES))

    # `file:line:column: mistake`
    survivors = collections.Counter()
    places = collections.defaultdict(list)
    for line in found["missed"]:
        file, number, _, mistake = line.split(":", 3)
        survivors[file, mistake.strip()] += 1
        places[file, mistake.strip()].append(number)
    rows = collections.Counter(
        {key: count for key, count in explained((ROOT / "docs/mutation-testing.md").read_text()).items()
         if key[0].startswith(f"src/{module}/")}
    )
    unexplained, idle = survivors - rows, rows - survivors
    for (file, mistake), count in sorted(unexplained.items()):
        print(f"not noticed and not explained: {file} line {', '.join(places[file, mistake])}: {mistake} ({count})")
    if whole == "whole":
        for (file, mistake), count in sorted(idle.items()):
            print(f"explained, but noticed or gone: {file}: {mistake} ({count})")
    noticed = total["caught"] + total["timeout"]
    print(f"{module}: {noticed} noticed, {(survivors & rows).total()} explained, {unexplained.total()} open")
    return 1 if unexplained or (whole == "whole" and idle) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
