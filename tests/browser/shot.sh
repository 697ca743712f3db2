#!/usr/bin/env bash
# A picture of a page in headless Chromium: shot.sh URL OUT.png [WIDTHxHEIGHT]
#
# Exit 1: the page does not answer with 200, is not one that a browser shows, or no picture
# came out. Exit 3: no browser here.
set -euo pipefail

. "$(dirname "$0")/common.sh"
[ $# -ge 2 ] || {
    echo "usage: $0 URL OUT.png [WIDTHxHEIGHT]" >&2
    exit 2
}
url=$1 out=$2 size=${3:-1280x1600}
need_chromium

[[ $url =~ ^https?://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?(/|$) ]] ||
    fail "$url is not an address of this machine"

# Chromium draws an error page and exits 0, and hangs where it would download a file, so both
# are asked for first.
answer=$(curl --silent --noproxy '*' --max-time 20 --output /dev/null \
    --write-out '%{http_code} %{content_type}' "$url") || true
status=${answer%% *} type=${answer#* }
[ "$status" = 200 ] || fail "$url answered with status $status, not 200"
[[ $type =~ ^(text/html|text/plain|image/) ]] ||
    fail "$url is of type $type, which a browser downloads and does not show"

profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
rm -f "$out"
HOME="$profile" timeout 90 "$CHROMIUM" --headless --no-sandbox --disable-gpu --disable-quic \
    --no-first-run --disable-background-networking --disable-component-update --disable-sync \
    --no-proxy-server --user-data-dir="$profile/data" --hide-scrollbars \
    --window-size="${size/x/,}" --screenshot="$out" "$url" >"$profile/log" 2>&1 ||
    fail "chromium took no picture of $url: $(tail -n 1 "$profile/log" | cut -c1-300)"
[ -s "$out" ] || fail "chromium took no picture of $url: $(tail -n 1 "$profile/log" | cut -c1-300)"
echo "$out"
