#!/usr/bin/env python3
"""Writes the small seeds of every fuzz target from fixtures/ and mappings/: python3 fuzz/seeds.py

The same files give the same seeds. What a crash left behind is no seed: it lies in fuzz/regressions,
which this script leaves alone.
"""

import csv
import gzip
import json
import pathlib
import shutil

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
SCREEN = ROOT / "fixtures" / "screen"

# The variables of `quantity`, in the order of MEASURED in fuzz/src/resource.rs.
MEASURED = ["bilirubin_total", "inr", "creatinine", "sodium", "albumin", "ast", "alt", "platelets"]


def put(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def shape(value):
    """Which elements there are, whatever they hold: two resources of one shape teach the same."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{shape(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + "|".join(sorted({shape(v) for v in value})) + "]"
    return type(value).__name__


def resources():
    """One resource a shape, from the cases of `screen` and the cohort."""
    seen = {}
    sources = sorted(SCREEN.glob("*/input.ndjson"))
    texts = [line for path in sources for line in path.read_text().splitlines()]
    cohort = ROOT / "fixtures" / "cohort" / "cirrhosis-6.ndjson.gz"
    texts += gzip.decompress(cohort.read_bytes()).decode().splitlines()
    for text in texts:
        if not text.strip():
            continue
        resource = json.loads(text)
        if resource.get("resourceType") == "Bundle" or len(text) > 1200:
            continue
        key = resource["resourceType"], shape(resource)
        of_type = sum(1 for k in seen if k[0] == resource["resourceType"])
        if key not in seen and of_type < 8:
            seen[key] = resource
    return list(seen.values())


def main():
    shutil.rmtree(CORPUS, ignore_errors=True)
    all_resources = resources()
    for n, resource in enumerate(all_resources):
        name = f"{resource['resourceType'].lower()}-{n:02}.json"
        put("fhir_resource", name, compact(resource))
    small = [r for r in all_resources if len(compact(r)) < 500][:6]

    bundles = [json.loads((SCREEN / "11-uuid-bundle" / "input.json").read_text())]
    bundles.append({
        "resourceType": "Bundle", "type": "batch-response",
        "entry": [{"resource": {"resourceType": "Bundle", "type": "searchset",
                                "entry": [{"resource": r} for r in small[:2]]}}],
    })
    bundles.append({
        "resourceType": "Bundle", "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": "Observation/o1"}}, 7,
                  {"search": {"mode": "outcome"}, "resource": {"resourceType": "OperationOutcome"}},
                  {"fullUrl": "urn:uuid:9b7e", "resource": {"resourceType": "Patient", "gender": "male"}},
                  {"resource": {"resourceType": "Consent", "patient": {"reference": "urn:uuid:9b7e"}}}],
    })
    pages = [{
        "resourceType": "Bundle", "type": "searchset", "total": 3,
        "link": [{"relation": "self", "url": "http://127.0.0.1/fhir/Observation?patient=p1"},
                 {"relation": "next", "url": "?_getpages=4f"}],
        "entry": [{"fullUrl": "http://127.0.0.1/fhir/Observation/a", "search": {"mode": "match"},
                   "resource": {"resourceType": "Observation", "id": "a", "status": "final",
                                "subject": {"reference": "Patient/p1"},
                                "identifier": [{"system": "urn:x", "value": "7"}]}},
                  {"resource": {"resourceType": "Patient", "id": "p1"}, "search": {"mode": "include"}},
                  {"resource": {"resourceType": "OperationOutcome", "issue": [{"code": "not-found"}]}}],
    }]
    for n, bundle in enumerate(bundles):
        put("bundle", f"{n}.json", compact(bundle))
        put("intake", f"bundle-{n}.json", compact(bundle))
        put("document", f"bundle-{n}.json", compact(bundle))
    for n, page in enumerate(pages + bundles[:1]):
        put("search_page", f"{n}.json", compact(page))
    for n, resource in enumerate(small):
        put("intake", f"resource-{n}.json", compact(resource))
        put("json", f"{n}.json", compact(resource))
    put("json", "byte-order-mark.json", b"\xef\xbb\xbf" + b'{"a":"\\u00e4"}')
    put("json", "deep.json", "[" * 64 + "]" * 64)
    put("json", "deeper.json", '{"a":"[[\\"[["}' + "[" * 65 + "]" * 65)

    for case in sorted(SCREEN.glob("*/input.ndjson")):
        lines = [compact(json.loads(l)) for l in case.read_text().splitlines() if l.strip()]
        put("document", f"{case.parent.name}.ndjson", "\n".join(lines[:12]))

    numbers = ["0", "1.10", "-1.2", "1e2", "1.5E-3", "-0.0e+7", "12345678901234567890123456789",
               "3.00000000000000000000000000000001", "1e-29", "9e27", "01", "1."]
    for n, number in enumerate(numbers):
        put("number", f"{n:02}", number)
    dates = ["2026", "2026-03\n2026-04-01", "2024-02-29", "2026-03-04T10:00:00Z\n2026-03-04T18:00+08:00",
             "2016-12-31T23:59:60.5-11:30", "0001\n9999"]
    for n, date in enumerate(dates):
        put("when", f"{n}", date)

    with open(ROOT / "fixtures" / "units" / "units.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = sorted({(r["from_unit"], r["to_unit"]) for r in rows})
    for n, (one, other) in enumerate(pairs[:24]):
        put("unit", f"{n:02}", f"{one}\n{other}")
    n = 0
    for row in rows:
        if row["analyte"].lower() in MEASURED and n < 24:
            at = MEASURED.index(row["analyte"].lower())
            put("quantity", f"{n:02}", bytes([at]) + f"{row['value']} {row['from_unit']}".encode())
            n += 1
    for at, text in enumerate(["<0.3 mg/dL", ">=1.2", "1,5 mg/dL", "134 mmol/L", "35 g/L", "60 U/L", "1e2 U/L",
                               "<= 90 10*9/L"]):
        put("quantity", f"sign-{at}", bytes([at]) + text.encode())

    lines = [
        {"id": 1, "variables": {"bilirubin_total": "3.1 mg/dL", "inr": 1.8, "creatinine": "<0.3 mg/dL",
                                "sodium": "131 mmol/L", "albumin": "28 g/L", "sex": "female", "age": "54",
                                "dialysis": "no", "ascites": "mild", "encephalopathy": "none"}},
        {"id": "p", "variables": {"ast": "60 U/L", "alt": "55 U/L", "platelets": "90 10*9/L", "age": 61,
                                  "wbc": "5 10*9/L", "ast_uln": "40 U/L", "clif_of": 9, "sex": "unknown"}},
        {"variables": {"pt_prolongation": ">4 s", "etiology": "alcohol", "pbc_or_psc": True, "dialysis": "unknown"}},
    ]
    for n, line in enumerate(lines):
        put("score_line", f"{n}.json", compact(line))

    put("attestations", "table.csv", (SCREEN / "09-attestations" / "attestations.csv").read_bytes())
    put("attestations", "quoted.csv", 'subject,criterion,verdict,by,date,reason\np,"E1",no,"a ""b""",2026,"x\ny"\n')

    second = (ROOT / "fixtures" / "second-trial" / "trial.toml").read_bytes()
    put("trial_toml", "second-trial.toml", b"\x04" + second)
    for at, name in enumerate(["criteria", "trial", "value-sets", "variables"]):
        text = (ROOT / "mappings" / "nct06242405" / f"{name}.toml").read_text()
        # Whole sections from the head of the file, as many as stay small.
        cut, end = text[:3500], len(text)
        if len(text) > 3500:
            end = cut.rfind("\n\n[")
        put("trial_toml", f"{name}.toml", bytes([at]) + text[:end].encode())
    site = (ROOT / "mappings" / "sites" / "demo.toml").read_text()
    put("site_toml", "demo.toml", site[:2600].rsplit("\n\n", 1)[0])
    put("site_toml", "feeds.toml", (SCREEN / "08-complete-feeds" / "site.toml").read_bytes())
    put("config_toml", "all.toml",
        'data_dir = "/d"\nsite = "site.toml"\n[store]\nurl = "sqlite:x.db"\n[fhir]\nbase_url = "https://h/r4"\n'
        'release = "R4B"\n[fhir.auth]\nkind = "bearer"\ntoken_file = "/t"\n[pull]\ncohort = "group:g"\n'
        'schedule = "0 */5 * * * *"\npage_size = 50\n[writeback]\nenabled = false\narm = "code"\n'
        '[serve]\nlisten = "127.0.0.1:1"\n[mllp]\nlisten = "127.0.0.1:2"\n[allocation]\nkey_file = "/k"\n'
        "\n=\nPULL__PAGE_SIZE=7\nFHIR__AUTH__USER=1234\nFHIR__AUTH__TOKEN=t\nWRITEBACK__ENABLED=true\n")
    put("config_toml", "environment", "\n=\nSTORE__URL=sqlite:y\nOUTPUT=json\nDATA_DIR=/e\n")

    links = ["http://127.0.0.1:8080/fhir/Observation?page=2", "?_getpages=4f", "//evil.test/fhir",
             "http://127.0.0.1:8080/fhir/..%2fadmin", "Patient/7/_history/2", "https://fhir.example:443/Patient/a",
             "http:\\\\evil.test\\fhir", "http://[::1]:9/fhir", "https://u:p@fhir.example/r4"]
    for n, link in enumerate(links):
        put("link", f"{n}", link)
    headers = ["7", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
               "99999999999999999999999999", "-5"]
    for n, header in enumerate(headers):
        put("retry_after", f"{n}", header)
    frames = [b"\x0bMSH|^~\\&|\x1c\r", b"\r\n\x0bA\x1c\r\x0bB\x1c\r", b"GET /\x0bA\x1cx\r\x0bB\x0bC\x1c\r", b"\x0b" + b"7" * 66]
    for n, frame in enumerate(frames):
        put("mllp_frame", f"{n}", bytes([n]) + frame)
    header = "MSH|^~\\&|检验|医院|TB|H|20261122101500+0800||ORU^R01^ORU_R01|M-1|P|2.5.1|||AL|NE||{}"
    result = (header + "\rPID|1||7^^^H^MR||张^三||19580214|M\rOBR|1||A-1|1975-2^Bilirubin^LN|||202611221015\r"
              "OBX|1|NM|1975-2^Bilirubin^LN||2.1|mg/dL^^UCUM|<1.2|H|||F|||202611221015+0800\r"
              "OBX|2|SN|2160-0^Creatinine^LN||<^0.3|mg/dL|||||F\rNTE|1||a\\F\\b\\.br\\c\r")
    put("hl7_message", "utf-8", b"\x01" + result.format("UNICODE UTF-8").encode())
    put("hl7_message", "gb18030", b"\x02" + result.format("GB 18030-2000").encode("gb18030"))
    put("hl7_intake", "result", result.format("UNICODE UTF-8"))
    put("hl7_intake", "person", header.format("").replace("ORU^R01^ORU_R01", "ADT^A08")
        + "\rEVN|A08|20261122\rPID|1||7^^^H^MR||张^三||19580214|M\rPV1|1|I\r")
    put("hl7_intake", "merge", header.format("").replace("ORU^R01^ORU_R01", "ADT^A40")
        + "\rEVN|A40|20261122\rPID|1||8^^^H^MR\rMRG|7^^^H^MR\r")
    put("hl7_message", "merge", b"\x01" + header.format("").replace("ORU^R01^ORU_R01", "ADT^A40").encode()
        + b"\rEVN|A40|20261122\rPID|1||8^^^H^MR\rMRG|7^^^H^MR\r")
    put("hl7_message", "own-delimiters", b"\x00MSH#$%*!#A#B#C#D#2026##ORU$R01#1#P#2.3\rOBX#1#NM#a$b$c##5#x")
    put("hl7_message", "newlines", b"\x00MSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.3\n\nPID|1||7\r\n")
    for n, (at, text, name) in enumerate([(1, "总胆红素 µ", "utf-8"), (2, "总胆红素 |^", "gb18030"), (3, "總膽", "big5"),
                                          (4, "\u00e4\u00b5", "latin-1"), (8, "\u041a", "iso8859-5")]):
        put("hl7_charset", f"{n}", bytes([at]) + text.encode(name))
    for n, text in enumerate(["a|b^c&d~e\\f", "MSH|^~\\&#|\n\\F\\ \\XC3A9\\ \\.br\\", "MSH#$%*!#\n*F*#", "\n\\H\\x\\N\\\\Q\\"]):
        put("hl7_escape", f"{n}", text)
    for n, text in enumerate(["2026", "20261122101559.1234\n+08:00", "202611221015-0330", "19580214", "2026112210\n-1130"]):
        put("hl7_time", f"{n}", text)
    put("sealed_list", "nothing-changed", b"")
    put("sealed_list", "three-bytes", bytes([0, 90, 65, 2, 10, 49, 1, 200, 102]))

    size = sum(p.stat().st_size for p in CORPUS.rglob("*") if p.is_file())
    count = sum(1 for p in CORPUS.rglob("*") if p.is_file())
    print(f"{count} seeds, {size} bytes")
    assert size < 200_000, "the committed seeds are to stay below 200 kB together"


if __name__ == "__main__":
    main()
