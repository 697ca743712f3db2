#!/usr/bin/env python3
"""Nothing that was acknowledged is lost: tries the real program against kills, failing disks, full
disks, power cuts, stops and load.

    main.py [quick|full] [CASE...]

Prints one line a case. Exit 0: all hold. 1: one does not. 3: nothing could be tried here.
"""

import shutil
import signal
import subprocess
import sys
import time
import traceback

import control
import draw
import drawcut
import ends
import faults
import load
import power
import sight
from service import PROGRAM, Wrong, note

CASES = {
    "control": control.control,
    "killed": faults.killed,
    "refused": faults.refused,
    "power-cut": power.cut,
    "disk-full": ends.disk_full,
    "stopped": ends.stopped,
    "draw": draw.draw,
    "draw-cut": drawcut.draw_cut,
    "draw-retried": draw.draw_retried,
    "draw-restored": draw.draw_restored,
    "first-sight": sight.first_sight,
    "sustained": load.sustained,
    "read-all-day": load.read_all_day,
    "overload": load.overload,
    "throttled": load.throttled,
    "slow-disk": load.slow_disk,
}


def strace_works():
    """Whether strace may trace here, and knows how to inject."""
    tried = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1", "true"]
    try:
        return subprocess.run(tried, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def main(arguments):
    word = arguments[0] if arguments else "quick"
    if word not in ("quick", "full") or not set(arguments[1:]) <= set(CASES):
        print(__doc__, file=sys.stderr)
        return 2
    if shutil.which(PROGRAM) is None:
        print(f"skip: {PROGRAM} is not there: build it, or name it in TRIALBRIDGE_BIN")
        return 3
    if not strace_works():
        print("skip: strace cannot trace and inject here")
        return 3
    # Whoever ends us ends what we started, and takes the folders away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    passed = failed = 0
    for name in arguments[1:] or CASES:
        begun = time.monotonic()
        try:
            text = CASES[name](word == "full")
            passed += 1
            note(f"ok      {name}: {text} [{time.monotonic() - begun:.0f} s]")
        except ends.Skipped as reason:
            note(f"skip: {name}: {reason}")
        except Wrong as wrong:
            failed += 1
            note(f"FAILED  {name}: {wrong} [{time.monotonic() - begun:.0f} s]")
        except Exception:
            failed += 1
            note(f"FAILED  {name}: {traceback.format_exc()}")
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
