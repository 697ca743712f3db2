#!/usr/bin/env python3
"""`screen` against DuckDB and orjson over the same generated patients, whole commands in alternating pairs.

    benches/screen/run.py --patients 50000 --pairs 7
    benches/screen/run.py --patients 200 --pairs 0 --dialect mixed     only: are the answers the same?

`screen` does all of its work: every line validated, 14 criteria, nine scores. The peers do the smaller
work of task.py, and do it with the same answers, which is checked first. A round runs every command
once, every other round in the opposite order; a ratio is that of two runs of one round. Needs GNU time,
and pip for the peers. Exit 3: something that is needed cannot be had here.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

if sys.version_info < (3, 11):
    print("skip: this benchmark needs Python 3.11 or newer")
    sys.exit(3)

import check
import measure
from measure import Failed, Impossible, median


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=10_000, help="below 10000 a ratio measures starting up")
    parser.add_argument("--pairs", type=int, default=7, help="rounds; 0: only compare the answers")
    parser.add_argument("--order", choices=["grouped", "scattered"], default="grouped")
    parser.add_argument("--dialect", choices=["us", "si", "mixed"], default="us")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers", nargs="*", choices=["duckdb", "orjson", "orjson-2"], default=["duckdb", "orjson"],
                        help="orjson-2: two processes. The first is the one that ratios are of")
    parser.add_argument("--variants", nargs="+", choices=["evidence", "rows", "prefilter"],
                        default=["evidence", "rows", "prefilter"],
                        help="evidence: NDJSON, everything; rows: CSV, a row a patient; prefilter: rows, skipping "
                             "lines that cannot matter. What this build lacks is left out")
    parser.add_argument("--binary", help="trialbridge; default: built here, release")
    parser.add_argument("--generator", help="the example `generate`; default: built here, release")
    parser.add_argument("--python", help="a Python that has the peers; default: a virtual environment made once")
    parser.add_argument("--data", type=Path, help="where the patients are, or are put and kept; default: temporary")
    return parser.parse_args()


def variants(binary, wanted):
    """Title -> (options of `screen`, ending of its output). One line for each that is left out."""
    has = measure.options(binary)
    all_of = {
        "evidence": (["--format", "ndjson"] if "--format" in has else [], "ndjson", set()),
        "rows": (["--format", "csv"], "csv", {"--format"}),
        "prefilter": (["--format", "csv", "--prefilter"], "csv", {"--format", "--prefilter"}),
    }
    found = {}
    for name in wanted:
        options, ending, needs = all_of[name]
        if needs <= has:
            found[name] = (options, ending)
        else:
            print(f"left out: {name}: this build of screen has no {' '.join(sorted(needs - has))}", flush=True)
    if not found:
        raise Impossible("this build of screen has none of the variants")
    return found


def commands(options, binary, data, out):
    """Title -> (command, output, environment), ours first."""
    found = {}
    for name, (extra, ending) in variants(binary, options.variants).items():
        path = out / f"{name}.{ending}"
        command = [binary, "-q", "screen", data, "--as-of", measure.AS_OF, *extra, "--out", path]
        found[f"screen, {name}"] = (command, path, measure.clean_environment())
    if options.peers:
        python = measure.peers_python(options.python)
        environment = measure.peers_environment()
        for peer in options.peers:
            name, _, processes = peer.partition("-")
            path = out / f"{peer}.csv"
            command = [python, measure.HERE / f"{name}_screen.py", data, path, measure.AS_OF, *filter(None, [processes])]
            found[peer] = (command, path, environment)
    return found


def versions(options):
    said = ["rustc " + subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split(" ")[1]]
    if options.peers:
        said.append("python " + sys.version.split(" ")[0] + ", " + ", ".join(
            (measure.HERE / "requirements.txt").read_text("ascii").split()))
    return "; ".join(said)


def answers_checked(found, binary, data, out, peers):
    """Runs `screen` with evidence and every peer, and compares; so it does its own ways that skip lines."""
    path = out / "answers.ndjson"
    rows = [found[title] for title in ("screen, rows", "screen, prefilter") if title in found]
    for command, _, environment in rows + [found[peer] for peer in peers]:
        measure.done(command, environment)
    try:
        if peers:
            measure.done([binary, "-q", "screen", data, "--as-of", measure.AS_OF, "--out", path], measure.clean_environment())
            print(check.check(path, {peer: found[peer][1] for peer in peers}), flush=True)
            path.unlink()
        if len(rows) == 2:
            print(check.same_rows(rows[0][1], rows[1][1]), flush=True)
    except check.Different as different:
        raise Failed(different) from None


def least_to_most(values, form):
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def table(rounds, size, base):
    """What stands in docs/benchmarks.md."""
    against = f"{base}: " if base else ""
    print(f"\n| | wall, s: median (least to most) | MB/s | CPU, s | peak, MiB |"
          + (f" {against}wall of pairs | CPU of pairs | peak |" if base else ""))
    print("|---|---|---|---|---|" + ("---|---|---|" if base else ""))
    for title in rounds[0]:
        runs = [r[title] for r in rounds]
        wall = [run.wall for run in runs]
        line = (f"| {title} | {least_to_most(wall, '.2f')} | {size / 1e6 / median(wall):.0f} "
                f"| {median([run.cpu for run in runs]):.2f} | {median([run.peak for run in runs]):.0f} |")
        if base and title == base:
            line += " 1 | 1 | 1 |"
        elif base:
            ratios = [r[base].wall / r[title].wall for r in rounds]
            cpu = [r[base].cpu / r[title].cpu for r in rounds]
            peak = median([r[title].peak / r[base].peak for r in rounds])
            line += f" **{median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) | {median(cpu):.2f} | {peak:.2f} |"
        print(line)


def main(options):
    with tempfile.TemporaryDirectory(prefix="screen-bench-") as scratch:
        scratch = Path(scratch)
        out = scratch / "out"
        out.mkdir()
        binary = measure.built(options.binary)
        data = options.data or scratch / "data"
        data.parent.mkdir(parents=True, exist_ok=True)
        size, lines = measure.generated(
            data, options.patients, options.order, options.dialect, options.seed, options.generator)
        found = commands(options, binary, data, out)
        warm = measure.warmed(data)
        print(f"{options.patients:,} patients, {lines:,} resources, {size / 1e6:,.0f} MB, {options.order}, "
              f"{options.dialect}; {os.cpu_count()} processors; {versions(options)}")
        if not warm:
            print("note: the files do not fit into the page cache: this measures the disk as well")
        answers_checked(found, binary, data, out, options.peers)
        if options.pairs == 0:
            return
        if options.patients < 10_000:
            print("note: on fewer than 10,000 patients a ratio measures how long the peers take to start")
        print(f"\n{'round':>5}  {'command':<18} {'wall s':>8} {'CPU s':>8} {'peak MiB':>9} {'waited':>9} {'others':>7}")
        rounds = []
        for number in range(1, options.pairs + 1):
            order = list(found) if number % 2 else list(reversed(found))
            taken = {}
            for title in order:
                command, path, environment = found[title]
                taken[title] = run = measure.run(command, environment)
                path.unlink()
                print(f"{number:>5}  {title:<18} {run.wall:8.2f} {run.cpu:8.2f} {run.peak:9.0f} "
                      f"{run.waiting():>9} {run.others:7.1%}", flush=True)
            rounds.append({title: taken[title] for title in found})
        print("waited: share of their time in which the threads were ready and had no processor, * above 5 %;"
              "\nothers: share of all processors that other programs used meanwhile. A command with more threads"
              "\nthan there are processors waits for itself as well: with few others, that is no fault of the timing.")
        base = options.peers[0] if options.peers else None
        table(rounds, size, base)
        runs = [run for taken in rounds for run in taken.values()]
        busy, disturbed = sum(run.busy for run in runs), sum(run.disturbed for run in runs)
        if busy:
            print(f"\n{busy} of {len(runs)} runs waited for more than 5 %, {disturbed} of them beside other programs"
                  + (": quote no absolute time." if disturbed else ": more threads than processors."))
        quiet = [taken for taken in rounds if not any(run.disturbed for run in taken.values())]
        if 3 <= len(quiet) < len(rounds):
            print(f"The {len(quiet)} rounds in which none did:")
            table(quiet, size, base)


if __name__ == "__main__":
    measure.ended(main, arguments())
