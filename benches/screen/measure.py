"""Runs a command and says what it took: wall time, processor time, peak memory, and how long its
threads stood ready without a processor. Also makes the data and the peers' environment.

Wall and processor time and the peak are those of GNU time, for the whole command from its first
instruction to its end. The scheduler's wait is read from /proc/PID/task/*/schedstat every 50 ms, the
last value of each thread counting; threads that live for less are not seen.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
GNU_TIME = "/usr/bin/time"
AS_OF = "2026-11-20"
EVERY = 0.05
# Above this share of waiting a timing is marked: it says more about the machine than about the command.
BUSY = 0.05


class Impossible(Exception):
    """It cannot be measured here; the text says what is missing."""


class Failed(Exception):
    """A program that should have worked did not; the text says what it said."""


@dataclass(frozen=True)
class Run:
    """One run of one command."""

    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: float  # MiB, of the largest process
    waited: float | None  # share of the threads' time in which they were ready and did not run
    others: float  # share of all processors that other programs used meanwhile

    @property
    def busy(self):
        return self.waited is not None and self.waited > BUSY

    @property
    def disturbed(self):
        """Waited, and not only for its own threads: other programs took as much of the machine."""
        return self.busy and self.others > BUSY

    def waiting(self):
        if self.waited is None:
            return "?"
        return f"{self.waited:.1%}{' *' if self.busy else ''}"


class Waits(threading.Thread):
    """Reads run and wait time of all threads below a process, until told to stop."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.ours, self.strangers = {str(root)}, set()
        self.seen, self.over = {}, threading.Event()

    def run(self):
        while True:
            self.descend()
            for process in self.ours:
                self.look(process)
            if self.over.wait(EVERY):
                return

    def descend(self):
        """Each process of the machine is asked once whose child it is; parents have the lower number."""
        new = {name for name in os.listdir("/proc") if name.isdecimal()} - self.ours - self.strangers
        for process in sorted(new, key=int):
            try:
                with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
                    parent = file.read().rpartition(")")[2].split()[1]
            except OSError:
                continue
            (self.ours if parent in self.ours else self.strangers).add(process)

    def look(self, process):
        try:
            threads = os.listdir(f"/proc/{process}/task")
        except OSError:
            return
        for thread in threads:
            try:
                with open(f"/proc/{process}/task/{thread}/schedstat", encoding="ascii") as file:
                    ran, waited, _ = file.read().split()
            except (OSError, ValueError):
                continue
            self.seen[process, thread] = int(ran), int(waited)

    def share(self):
        ran = sum(r for r, _ in self.seen.values())
        waited = sum(w for _, w in self.seen.values())
        return waited / (ran + waited) if ran else None


def ended(main, arguments):
    """Runs a command to its exit code: 3 for what cannot be had here, 1 for what failed."""
    try:
        main(arguments)
    except Impossible as impossible:
        print(f"skip: {impossible}")
        sys.exit(3)
    except Failed as failed:
        sys.exit(f"error: {failed}")


def busy_seconds():
    """Processor time that the whole machine has used."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def run(command, env=None):
    """Runs it to its end. A command that fails ends the benchmark with what it said."""
    if not os.access(GNU_TIME, os.X_OK):
        raise Impossible(f"{GNU_TIME} is not installed (the package is called time)")
    with tempfile.NamedTemporaryFile("r", prefix="time-") as report, tempfile.TemporaryFile("w+") as said:
        before, ours = busy_seconds(), time.process_time()
        begun = time.perf_counter()
        child = subprocess.Popen(
            [GNU_TIME, "-v", "-o", report.name, *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env=env,
        )
        waits = Waits(child.pid)
        waits.start()
        code = child.wait()
        wall = time.perf_counter() - begun
        machine, ours = busy_seconds() - before, time.process_time() - ours
        waits.over.set()
        waits.join()
        if code != 0:
            said.seek(0)
            raise failed(code, command, said.read())
        text = report.read()
    value = lambda name: float(re.search(rf"{name}: ([0-9.]+)", text)[1])
    cpu = value(r"User time \(seconds\)") + value(r"System time \(seconds\)")
    others = max(0.0, machine - cpu - ours) / (wall * (os.cpu_count() or 1))
    return Run(wall, cpu, value(r"Maximum resident set size \(kbytes\)") / 1024, waits.share(), others)


def failed(code, command, said):
    return Failed(f"exit code {code}: {' '.join(map(str, command))}\n{said[-2000:].strip()}")


def done(command, env=None):
    """Runs it without measuring."""
    ended = subprocess.run(
        [str(part) for part in command], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ended.returncode != 0:
        raise failed(ended.returncode, command, ended.stderr)
    return ended.stderr


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def cargo_target():
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")


def built(binary):
    """The binary to measure: the one named, else the release build of this folder, made now."""
    if binary:
        path = Path(binary).resolve()
        if not os.access(path, os.X_OK):
            raise Impossible(f"{binary} is no program")
        return path
    cargo("build", "--release", "--bin", "trialbridge")
    return cargo_target().resolve() / "release" / "trialbridge"


def cargo(*arguments):
    if subprocess.run(["cargo", *arguments, "--quiet"], cwd=ROOT, stdin=subprocess.DEVNULL).returncode != 0:
        raise Failed(f"cargo {' '.join(arguments)} failed")


def options(binary):
    """The options that this build of `screen` has."""
    text = subprocess.run([binary, "screen", "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))


def clean_environment():
    """Without configuration: to the program every variable of this prefix is a key of it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRIALBRIDGE_")}


def generated(folder, patients, order, dialect, seed=1, generator=None):
    """The folder with the patients; made unless a complete one is there. Returns its bytes and lines."""
    folder = Path(folder)
    wanted = f"{patients} patients, {order}, {dialect}, seed {seed}, as of {AS_OF}\n"
    # Beside the folder, not in it: `screen` reads whatever is in it.
    note = folder.parent / f".{folder.name}.complete"
    if not (note.is_file() and note.read_text("utf-8").startswith(wanted)):
        if folder.exists() and any(path.suffix != ".ndjson" for path in folder.iterdir()):
            raise Impossible(f"{folder} is not empty and was not made by this program")
        if generator is None:
            generator = cargo_target() / "release" / "examples" / "generate"
            # An example brings the features of the tests' dependencies, so that cargo would compile everything
            # once more for it; one that is newer than its source will do.
            source = max(path.stat().st_mtime for path in (ROOT / "examples" / "generate").iterdir())
            if not (generator.exists() and generator.stat().st_mtime > source):
                cargo("build", "--release", "--example", "generate")
        needed, free = patients * 90_000, shutil.disk_usage(folder.parent).free
        if needed > free:
            raise Impossible(f"{patients:,} patients need {needed / 1e9:.0f} GB; {free / 1e9:.0f} GB are free")
        said = done([generator, "--patients", patients, "--order", order, "--dialect", dialect, "--seed", seed,
                     "--as-of", AS_OF, folder])
        note.write_text(wanted + said, encoding="utf-8")
    text = note.read_text("utf-8")
    return int(re.search(r"(\d+) bytes", text)[1]), int(re.search(r"(\d+) resources", text)[1])


def removed(folder):
    """Removes generated data."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    (folder.parent / f".{folder.name}.complete").unlink(missing_ok=True)


def warmed(folder):
    """Reads all files once, so that the first run does not wait for the disk. `False`: more than fits."""
    size = 0
    for path in sorted(Path(folder).iterdir()):
        with open(path, "rb", buffering=0) as file:
            buffer = bytearray(1 << 20)
            while n := file.readinto(buffer):
                size += n
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
    return size < int(available[1]) * 1024 * 0.8


def peers_python(python=None):
    """A Python with the peers in it: the one named, else a virtual environment made once per version."""
    if python:
        return python
    wanted = (HERE / "requirements.txt").read_text("ascii").split()
    cache = Path(os.environ.get("TRIALBRIDGE_TEST_CACHE") or Path.home() / ".cache" / "trialbridge-tests")
    folder = cache / ("screen-peers-" + "-".join(wanted).replace("==", "-"))
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        steps = (
            ("no virtual environment can be made for the peers", [sys.executable, "-m", "venv", folder]),
            ("the peers cannot be installed", [python, "-m", "pip", "install", "--quiet", *wanted]),
        )
        for trouble, step in steps:
            ended = subprocess.run(step, capture_output=True, text=True, stdin=subprocess.DEVNULL)
            if ended.returncode != 0:
                lines = (ended.stderr or ended.stdout).strip().splitlines() or ["no reason was given"]
                reason = next((line for line in lines if "ERROR" in line), lines[-1])
                raise Impossible(f"{trouble}: {reason[:300]}")
        complete.touch()
    return python


def peers_environment():
    """What is installed is compiled already; task.py alone would leave its compiled form in the source."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
