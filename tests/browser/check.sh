#!/usr/bin/env bash
# Opens pages in headless Chromium and fails on what a user would stumble over: see check.mjs.
#
#   check.sh OUT_DIR URL...
#
# Installs Debian's chromium (when root) and playwright-core (into the cache) on first use.
# Exit 1: a page failed. Exit 3: no browser or no Node here; one line says which.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
PLAYWRIGHT=1.60.0
modules="$CACHE/browser-$PLAYWRIGHT"

need_chromium
command -v node >/dev/null || skip "the page check needs node (20 or newer), which is not installed"
command -v npm >/dev/null || skip "the page check needs npm, which is not installed"
if [ ! -f "$modules/complete" ]; then
    rm -rf "$modules"
    mkdir -p "$modules"
    nice npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$modules" \
        "playwright-core@$PLAYWRIGHT" >"$modules/log" 2>&1 ||
        skip "playwright-core $PLAYWRIGHT cannot be installed: $(grep -m1 -i error "$modules/log" | cut -c1-300)"
    touch "$modules/complete"
fi
PLAYWRIGHT_CORE="$modules/node_modules/playwright-core/index.mjs" CHROMIUM="$CHROMIUM" \
    node "$here/check.mjs" "$@"
