"""Plays whole trials through the program, and lays out what an attacker finds.

    stage.py PROGRAM FOLDER withhold|disclose TRIALS

For each trial a folder `loot` with everything that lies about, and beside it `truth.json`, which only the
score keeper reads: the arms, opened by the statistician's key. All patients are synthetic.
"""
import datetime
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARTICIPANTS = 92


def patients(count):
    """Copies of one eligible patient, seen yesterday, under other ids."""
    yesterday = (datetime.date.today() - datetime.timedelta(days=1)).isoformat()
    text = (ROOT / "fixtures/screen/01-eligible/input.ndjson").read_text(encoding="utf-8").replace("2026-11-20", yesterday)
    for number in range(count):
        name = "s%03d" % number
        for line in text.splitlines():
            resource = json.loads(line)
            resource["id"] = name + resource["id"][1:]
            if "subject" in resource:
                resource["subject"]["reference"] = "Patient/" + name
            if "patient" in resource:
                resource["patient"]["reference"] = "Patient/" + name
            yield resource


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Trial:
    def __init__(self, program, folder, arm):
        self.program, self.folder, self.loot = program, folder, folder / "loot"
        self.loot.mkdir(parents=True)
        (folder / "safe").mkdir()
        self.data = folder / "data"
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TRIALBRIDGE_")},
            "TRIALBRIDGE_DATA_DIR": str(self.data),
            "TRIALBRIDGE_ALLOCATION__KEY_FILE": str(folder / "safe" / "service.key"),
            "TRIALBRIDGE_WRITEBACK__ARM": arm,
            "TRIALBRIDGE_SERVE__LISTEN": "127.0.0.1:%d" % free_port(),
            "TRIALBRIDGE_SERVE__OPS_LISTEN": "127.0.0.1:%d" % free_port(),
            "TRIALBRIDGE_OUTPUT": "json",
        }

    def run(self, *arguments, keep=None, may_fail=False):
        ended = subprocess.run([self.program, *arguments], env=self.env, capture_output=True, timeout=600)
        if ended.returncode and not may_fail:
            sys.exit("%s: exit code %d\n%s" % (" ".join(arguments), ended.returncode, ended.stderr.decode()))
        if keep:
            (self.loot / keep).write_bytes(b"%d\n" % ended.returncode + ended.stdout + b"\n" + ended.stderr)
        return ended.stdout

    def play(self):
        safe, draws = self.folder / "safe", self.loot / "draws"
        draws.mkdir()
        public = json.loads(self.run("allocation", "keygen", "--out", str(safe / "statistician.key")))["public"]
        cohort = self.folder / "cohort.ndjson"
        cohort.write_text("".join(json.dumps(r) + "\n" for r in patients(PARTICIPANTS)), encoding="utf-8")
        self.run("import", str(cohort), keep="import.txt")
        self.run("allocation", "generate", "--by", "S", "--statistician", public, keep="generate.txt")
        self.run("allocation", "certificate", keep="certificate.json")
        for number in range(PARTICIPANTS):
            name = "s%03d" % number
            began = time.monotonic()
            self.run("randomize", name, "--by", "I", "-v", keep="draws/%03d.txt" % number)
            (draws / ("%03d.took" % number)).write_text("%d" % ((time.monotonic() - began) * 1e6))
        self.run("randomize", "s000", "--by", "I", "--key", "another", keep="refused.txt", may_fail=True)
        for number in range(PARTICIPANTS):
            self.run("explain", "s%03d" % number, keep="draws/%03d.explain" % number)
        for keep, arguments in {
            "status.json": ["allocation", "status"], "subjects.json": ["subjects"], "verify.json": ["verify"],
            "audit.json": ["audit", "show"], "list.json": ["allocation", "verify"], "check.json": ["check", "--no-network"],
            "doctor.json": ["doctor"], "writeback.json": ["writeback", "--dry-run"],
        }.items():
            self.run(*arguments, keep=keep, may_fail=True)
        self.run("allocation", "export", "--out", str(self.loot / "bundle.json"))
        self.run("backup", str(self.loot / "backup.db"), keep="backup.txt")
        self.pages()
        shutil.copytree(ROOT / "mappings", self.loot / "definition")
        revealed = safe / "revealed.json"
        self.run("allocation", "reveal", "--bundle", str(self.loot / "bundle.json"), "--key", str(safe / "statistician.key"),
                 "--out", str(revealed))
        # What the statistician reveals, the page's program and ours agree upon.
        self.run("allocation", "verify", "--bundle", str(self.loot / "bundle.json"), "--revealed", str(revealed))
        (self.folder / "truth.json").write_bytes(revealed.read_bytes())

    def pages(self):
        with open(self.loot / "serve.log", "wb") as log:
            served = subprocess.Popen([self.program, "serve", "-v"], env=self.env, stdout=log, stderr=log)
            try:
                ops = "http://" + self.env["TRIALBRIDGE_SERVE__OPS_LISTEN"]
                home = "http://" + self.env["TRIALBRIDGE_SERVE__LISTEN"]
                for _ in range(200):
                    if served.poll() is not None or fetch(ops + "/livez") is not None:
                        break
                    time.sleep(0.1)
                found = {path: fetch(base + path) for base, path in
                         [(ops, "/metrics"), (home, "/"), (home, "/api/v1/subjects")]}
                for path, page in found.items():
                    self.keep_page("page" + path.replace("/", "-"), page)
                # Taken while it runs: with the WAL.
                shutil.copytree(self.data, self.loot / "data")
                for number in range(PARTICIPANTS):
                    page = fetch(home + "/subjects/s%03d" % number)
                    self.keep_page("draws/%03d.page" % number, page)
            finally:
                served.terminate()
                served.wait(30)


    def keep_page(self, name, page):
        if not page:
            sys.exit("no page for " + name)
        (self.loot / name).write_bytes(page)


def fetch(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as answer:
            return answer.read()
    except (OSError, urllib.error.HTTPError):
        return None


def main():
    program, folder, arm, trials = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    for number in range(trials):
        Trial(program, folder / ("trial-%d" % number), arm).play()


if __name__ == "__main__":
    main()
