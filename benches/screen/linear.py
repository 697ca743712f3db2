#!/usr/bin/env python3
"""How `screen` grows with the hospital: time and peak memory at 1, 10, 50 and 200 thousand patients.

    benches/screen/linear.py                   all four: 17 GB of data at most, made and removed
    benches/screen/linear.py --most 10000      without the larger ones

The median of three runs of each size, NDJSON with all evidence unless --rows. Prints the table and draws
docs/figures/screen-linear.svg. Sizes for which the disk has no room are left out with a line.
Needs GNU time; exit 3 where it is missing.
"""
import argparse
import math
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True

import measure
from measure import Impossible, median

SIZES = [1_000, 10_000, 50_000, 200_000]
FIGURE = measure.ROOT / "docs" / "figures" / "screen-linear.svg"
# Of what is generated, and of what `screen` writes and may spill, with some to spare.
BYTES_A_PATIENT = 90_000 + 40_000


@dataclass(frozen=True)
class Point:
    patients: int
    size: int
    runs: list

    @property
    def seconds(self):
        return median([run.wall for run in self.runs])

    @property
    def peak(self):
        return median([run.peak for run in self.runs])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--most", type=int, help="leave out larger sizes")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--order", choices=["grouped", "scattered"], default="grouped")
    parser.add_argument("--dialect", choices=["us", "si", "mixed"], default="us")
    parser.add_argument("--rows", action="store_true", help="CSV, a row a patient")
    parser.add_argument("--prefilter", action="store_true", help="skip lines that cannot matter")
    parser.add_argument("--binary", help="trialbridge; default: built here, release")
    parser.add_argument("--generator", help="the example `generate`; default: built here, release")
    parser.add_argument("--scratch", type=Path, help="where the data are put; default: the temporary folder")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    return parser.parse_args()


def point(options, binary, extra, patients, scratch):
    """Makes the data, measures, and removes both data and output."""
    free = shutil.disk_usage(scratch).free
    if patients * BYTES_A_PATIENT > free:
        print(f"left out: {patients:,} patients need {patients * BYTES_A_PATIENT / 1e9:.0f} GB, {free / 1e9:.0f} GB are free")
        return None
    data, out = scratch / f"patients-{patients}", scratch / "screened"
    try:
        size, _ = measure.generated(data, patients, options.order, options.dialect, generator=options.generator)
        if not measure.warmed(data):
            print(f"note: {patients:,} patients do not fit into the page cache: the disk is measured as well")
        runs = []
        for number in range(options.runs):
            run = measure.run(
                [binary, "-q", "screen", data, "--as-of", measure.AS_OF, *extra, "--out", out], measure.clean_environment())
            out.unlink()
            runs.append(run)
            print(f"{patients:>8,} {number + 1:>4} {run.wall:9.2f} {run.cpu:9.2f} {run.peak:9.0f} "
                  f"{run.waiting():>9} {run.others:7.1%}", flush=True)
        return Point(patients, size, runs)
    finally:
        measure.removed(data)
        out.unlink(missing_ok=True)


def slope(points):
    """Seconds a patient: the line through the origin that is nearest by least squares."""
    return sum(p.patients * p.seconds for p in points) / sum(p.patients**2 for p in points)


def table(points):
    print("\n| patients | MB | wall, s: median (least to most) | µs a patient | MB/s | peak, MiB |\n|---|---|---|---|---|---|")
    for p in points:
        wall = [run.wall for run in p.runs]
        print(f"| {p.patients:,} | {p.size / 1e6:,.0f} | {p.seconds:.2f} ({min(wall):.2f} to {max(wall):.2f}) "
              f"| {p.seconds / p.patients * 1e6:.0f} | {p.size / 1e6 / p.seconds:.0f} | {p.peak:.0f} |")
    a = slope(points)
    worst = max(points, key=lambda p: abs(p.seconds / (a * p.patients) - 1))
    print(f"\nThe line through the origin: {a * 1e6:.0f} µs a patient; farthest from it: {worst.patients:,} patients, "
          f"{worst.seconds / (a * worst.patients) - 1:+.1%}.")


# --- the figure -----------------------------------------------------------------------------------

WIDTH, HEIGHT = 740, 330
# One set of colours for a light and a dark page: the figure brings its own ground.
GROUND, INK, QUIET, GRID, MARK, LINE = "#f6f8fa", "#1f2328", "#57606a", "#d0d7de", "#0a5c9e", "#b35900"


def steps(most):
    """Round numbers from 0 to the first that is not below `most`: at most six of them."""
    step = next(d * 10.0**e for e in range(-6, 12) for d in (1, 2, 5) if most / (d * 10.0**e) <= 5)
    return [i * step for i in range(math.ceil(most / step) + 1)]


def short(value):
    if value >= 1000 and value % 1000 == 0:
        return f"{value / 1000:.0f}k"
    return f"{value:g}"


def text(x, y, words, size=12, colour=INK, anchor="middle"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{words}</text>'


def panel(left, title, points, value, line=None):
    """Values against patients, from zero. `line`: a slope through the origin, and what is said of it."""
    top, bottom, right = 66, HEIGHT - 52, left + 280
    across = steps(max(p.patients for p in points))
    up = steps(max(value(p) for p in points) * 1.05)
    x = lambda n: left + n / across[-1] * (right - left)
    y = lambda v: bottom - v / up[-1] * (bottom - top)
    parts = [text(left - 34, 34, title, 14, INK, "start")]
    for v in up:
        parts.append(f'<line x1="{left}" y1="{y(v):.1f}" x2="{right}" y2="{y(v):.1f}" stroke="{GRID}"/>')
        parts.append(text(left - 8, y(v) + 4, short(v), 12, QUIET, "end"))
    for n in across:
        parts.append(text(x(n), bottom + 18, short(n), 12, QUIET))
    parts.append(text((left + right) / 2, bottom + 38, "patients", 12, QUIET))
    if line:
        a, words = line
        end = max(p.patients for p in points)
        parts.append(f'<line x1="{left}" y1="{bottom}" x2="{x(end):.1f}" y2="{y(a * end):.1f}" '
                     f'stroke="{LINE}" stroke-width="1.5" stroke-dasharray="5 4"/>')
        parts.append(text(left + 10, top + 14, words, 12, LINE, "start"))
    for p in points:
        said = f"{p.patients:,} patients: {value(p):.2f}"
        parts.append(f'<circle cx="{x(p.patients):.1f}" cy="{y(value(p)):.1f}" r="4.5" fill="{MARK}"><title>{said}</title></circle>')
    return parts


def drawn(points):
    a = slope(points)
    told = "; ".join(f"{p.patients:,} patients {p.seconds:.1f} s and {p.peak:.0f} MiB" for p in points)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" aria-labelledby="t d" font-family="system-ui, sans-serif">',
        '<title id="t">Time and memory of screen against the number of patients</title>',
        f'<desc id="d">Medians of {len(points[0].runs)} runs: {told}. '
        f"The line through the origin has {a * 1e6:.0f} µs a patient.</desc>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{GROUND}"/>',
        *panel(60, "wall time, s", points, lambda p: p.seconds, (a, f"line through the origin: {a * 1e6:.0f} µs a patient")),
        *panel(420, "peak memory, MiB", points, lambda p: p.peak),
        "</svg>", "",
    ])


def main(options):
    binary = measure.built(options.binary)
    has = measure.options(binary)
    extra = (["--format", "csv"] if options.rows else []) + (["--prefilter"] if options.prefilter else [])
    lacking = {option for option in extra if option.startswith("--")} - has
    if lacking:
        raise Impossible(f"this build of screen has no {' '.join(sorted(lacking))}")
    sizes = sorted(n for n in options.sizes if options.most is None or n <= options.most)
    if options.scratch:
        options.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screen-linear-", dir=options.scratch) as scratch:
        print(f"{os.cpu_count()} processors, {options.order}, {options.dialect}, screen {' '.join(extra)}".rstrip())
        print(f"{'patients':>8} {'run':>4} {'wall s':>9} {'CPU s':>9} {'peak MiB':>9} {'waited':>9} {'others':>7}")
        points = [p for n in sizes if (p := point(options, binary, extra, n, Path(scratch)))]
    if not points:
        raise Impossible("no size was left to measure")
    table(points)
    disturbed = sum(run.disturbed for p in points for run in p.runs)
    if disturbed:
        print(f"{disturbed} runs waited for a processor for more than 5 % of their time (*) beside other programs.")
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    options.figure.write_text(drawn(points), encoding="utf-8")
    print(f"drawn: {options.figure}")


if __name__ == "__main__":
    measure.ended(main, arguments())
