"""Signs in and signs at a real OpenID provider, as a browser would, with the standard library alone."""

import html
import http.cookiejar
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

BASE, PROVIDER, CONTROL = sys.argv[1:4]
TROUBLE = ["unsigned", "stripped", "another-key", "public-key-as-secret", "unknown-key", "embedded-key", "expired",
           "future", "issuer", "audience", "nonce", "another-role"]


class Browser:
    """Follows redirects, keeps cookies, fills in the provider's forms."""

    def __init__(self):
        self.jar = http.cookiejar.CookieJar()
        self.seen = []
        browser = self

        class Noting(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *args):
                browser.seen.append(args[-1])
                return super().redirect_request(*args)

        self.open_ = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar), Noting()
        )

    def ask(self, url, data=None, headers=None):
        body = data if data is None or isinstance(data, bytes) else urllib.parse.urlencode(data).encode()
        request = urllib.request.Request(url, data=body, headers=headers or {})
        try:
            answer = self.open_.open(request, timeout=60)
        except urllib.error.HTTPError as refused:
            answer = refused
        return answer.status, answer.read().decode(), answer.geturl()

    def provider(self, url, who, headers=None):
        """From our address through the provider's forms and back; how often it asked for a password."""
        asked = 0
        self.seen.clear()
        status, text, at = self.ask(url, headers=headers)
        for _ in range(8):
            if not at.startswith(PROVIDER) or status != 200:
                break
            action = re.search(r'<form[^>]*action="([^"]*)"', text)
            check(action, f"a form at {at}: {text[:300]}")
            prompt = re.search(r'name="prompt" value="(\w+)"', text).group(1)
            fields = {"prompt": prompt}
            if prompt == "login":
                asked += 1
                fields |= {"login": who, "password": "any"}
            target = urllib.parse.urljoin(at, html.unescape(action.group(1)))
            status, text, at = self.ask(target, fields, headers)
        return status, text, asked

    def api(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if method == "POST":
            headers["X-CSRF-Token"] = self.csrf
        status, text, _ = self.ask(BASE + path, None if body is None else json.dumps(body).encode(), headers)
        return status, json.loads(text) if text else {}


def check(holds, what):
    if not holds:
        sys.exit(f"error: {what}")


def spoil(how):
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{CONTROL}/{how}", timeout=10).read()


def has_session(browser):
    return browser.ask(BASE + "/api/v1/session")[0] == 200


# Somebody with a role comes in, as that role.
ivan = Browser()
status, text, asked = ivan.provider(BASE + "/login/oidc", "ivan")
check(status == 200 and "Signed in" in text, f"signing in: {status} {text[:500]}")
check(asked == 1, f"asked {asked} times for a password")
question = next(url for url in ivan.seen if url.startswith(PROVIDER + "/auth?"))
query = urllib.parse.parse_qs(urllib.parse.urlsplit(question).query)
check(query["code_challenge_method"] == ["S256"] and len(query["state"][0]) >= 32, f"PKCE and state: {query.keys()}")
_, session = ivan.api("GET", "/api/v1/session")
check((session["account"], session["role"]) == ("oidc:ivan", "investigator"), f"who: {session}")
check(session["printedName"] == "Dr ivan", "the printed name")
ivan.csrf = session["csrf"]

# The answer counts once.
answer = next(url for url in ivan.seen if "/login/oidc/callback" in url)
status, _, _ = ivan.ask(answer)
check(status == 401, f"an answer that was used: {status}")
stranger = Browser()
check(stranger.ask(answer)[0] == 401 and not has_session(stranger), "an answer in another browser")

# Nobody without a role, and nobody by a token that proves nothing.
mallory = Browser()
status, text, _ = mallory.provider(BASE + "/login/oidc", "mallory")
check(status == 401 and not has_session(mallory), f"without a role: {status}")
for how in TROUBLE:
    spoil(how)
    browser = Browser()
    status, text, _ = browser.provider(BASE + "/login/oidc", "ivan")
    check(status == 401 and not has_session(browser), f"{how}: {status} {text[:300]}")
    check(how not in text, f"{how}: the rule is not told")
spoil("")

# A signature asks again, although the provider knows who it is, and is for one record.
for _ in range(200):
    status, screening = ivan.api("GET", "/api/v1/subjects/p1/explain")
    if status == 200:
        break
    time.sleep(0.1)
check(status == 200, f"the subject: {status}")
about = {"criterion": "E4", "verdict": "no", "reason": "examined today"}
status, shown = ivan.api("POST", "/api/v1/subjects/p1/signing", {"meaning": "attest", **about})
check(status == 200, f"the record: {status} {shown}")
sign = BASE + f"/login/oidc?sign={shown['sha256']}&meaning=attest"
attest = "/api/v1/subjects/p1/attestations"


def grant():
    status, text, asked = ivan.provider(sign, "ivan", {"Accept": "application/json"})
    check(status == 200, f"the grant: {status} {text[:500]}")
    check(asked == 1, f"asked {asked} times for a password to sign")
    question = next(url for url in ivan.seen if url.startswith(PROVIDER + "/auth?"))
    check("max_age=0" in question, "max_age=0 is asked for")
    return json.loads(text)["grant"]


status, refused = ivan.api("POST", attest, about)
check((status, refused["code"]) == (401, "signature-refused"), f"without proof: {status} {refused}")
first = grant()
other = {**about, "reason": "something else"}
status, refused = ivan.api("POST", attest, {**other, "grant": first})
check((status, refused["code"]) == (401, "signature-refused"), f"for another record: {status} {refused}")
second = grant()
status, done = ivan.api("POST", attest, {**about, "record": shown["sha256"], "grant": second})
check(status == 201, f"signed: {status} {done}")
status, refused = ivan.api("POST", attest, {**about, "grant": second})
check((status, refused["code"]) == (401, "signature-refused"), f"twice: {status} {refused}")
_, signatures = ivan.api("GET", "/api/v1/signatures?subject=p1")
check([s["method"] for s in signatures["signatures"]] == ["oidc"], f"signatures: {signatures}")
check(signatures["signatures"][0]["recordSha256"] == shown["sha256"], "bound to the record")
_, log = ivan.api("GET", "/api/v1/audit?limit=1000")
refused = [e["detail"].get("reason") for e in log["entries"] if e["action"] == "account.refused"]
check(len(refused) >= len(TROUBLE) + 3, f"every refusal is in the audit log: {refused}")
print(f"ok: sign-in, {len(TROUBLE)} spoiled tokens, signature; {len(refused)} refusals in the audit log")
