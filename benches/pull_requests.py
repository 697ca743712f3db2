"""The peer of benches/pull.rs: a requests session and orjson, following `next`, counting entries."""
import sys, time
import orjson, requests

base, expected = sys.argv[1], int(sys.argv[2])
session = requests.Session()
url, params, pages, entries = base + "/Observation", {"patient": "p1"}, 0, 0
begun = time.perf_counter()
while url:
    answer = session.get(url, params=params, headers={"Accept": "application/fhir+json"}, timeout=30)
    answer.raise_for_status()
    bundle = orjson.loads(answer.content)
    pages, entries = pages + 1, entries + len(bundle.get("entry", ()))
    url, params = next((l["url"] for l in bundle["link"] if l["relation"] == "next"), None), None
seconds = time.perf_counter() - begun
assert pages == expected, (pages, expected)
print(pages / seconds)
