"""The control experiment: the same method finds the loss where there is one.

A small program acknowledges each commit of an SQLite database with the inbox's table, once with
`synchronous=FULL` and once with `NORMAL`, which does not sync the log. Cuts of its recording must show
lost acknowledgements for NORMAL, and none for FULL.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from power import CALLS, MODES, filed, images, recorded
from service import expect

WRITER = """
import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1] + "/trialbridge.db", isolation_level=None)
c.execute("PRAGMA journal_mode = wal")
c.execute("PRAGMA synchronous = " + sys.argv[2])
c.execute("CREATE TABLE inbox (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT")
for n in range(1, 61):
    c.execute("INSERT INTO inbox VALUES (?, ?)", (n, os.urandom(900)))
    os.write(1, b"x-trialbridge-message: %d\\r\\n" % n)
os._exit(0)
"""


def control(full):
    """`synchronous=NORMAL` loses what it acknowledged, and the method finds it; FULL does not."""
    count = 600 if full else 120
    found = {}
    for level in ("FULL", "NORMAL"):
        base = tempfile.mkdtemp(prefix="durability-")
        try:
            data, log = os.path.join(base, "data"), os.path.join(base, "log")
            os.mkdir(data)
            subprocess.run(
                ["strace", "-f", "-y", "-xx", "-s", str(1 << 26), "-o", log, "-e", f"trace={CALLS}",
                 sys.executable, "-c", WRITER, data, level],
                check=True, stdout=subprocess.DEVNULL)
            found[level] = sum(is_lost(base, *one) for one in images(recorded(log, data), {}, count, 7))
        finally:
            shutil.rmtree(base, ignore_errors=True)
    tried = count // len(MODES) * len(MODES)
    expect(found["FULL"] == 0, f"FULL: loss or damage in {found['FULL']} of {tried} images")
    expect(found["NORMAL"] > tried // 3, f"NORMAL: loss found in only {found['NORMAL']} of {tried} images")
    return f"synchronous=NORMAL: loss found in {found['NORMAL']} of {tried} images; FULL: in none"


def is_lost(base, acknowledged, _mode, image):
    into = tempfile.mkdtemp(dir=base)
    try:
        filed(image, into)
        if not acknowledged:
            return False
        connection = sqlite3.connect(os.path.join(into, "trialbridge.db"))
        try:
            sound = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            there = {str(row[0]) for row in connection.execute("SELECT seq FROM inbox")}
        except sqlite3.DatabaseError:
            return True
        finally:
            connection.close()
        return not sound or not acknowledged <= there
    finally:
        shutil.rmtree(into)
