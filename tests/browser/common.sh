# Shared by shot.sh and check.sh; sourced, not run.

CACHE="${TRIALBRIDGE_TEST_CACHE:-$HOME/.cache/trialbridge-tests}"
CHROMIUM="${CHROMIUM:-/usr/bin/chromium}"

# Exit 3 means "cannot be had here"; a caller counts it as skipped, not as failed.
skip() {
    echo "skip: $1" >&2
    exit 3
}

fail() {
    echo "error: $1" >&2
    exit 1
}

# Debian's chromium, installed when it is absent and we are root.
need_chromium() {
    [ -x "$CHROMIUM" ] && return
    command -v apt-get >/dev/null || skip "no chromium at $CHROMIUM, and no apt-get to install it"
    [ "$(id -u)" = 0 ] || skip "no chromium at $CHROMIUM, and only root may install it"
    local log
    log=$(mktemp)
    {
        nice apt-get update --quiet
        DEBIAN_FRONTEND=noninteractive nice apt-get install --quiet --yes --no-install-recommends \
            chromium fonts-dejavu-core
    } >"$log" 2>&1 || skip "chromium cannot be installed: $(grep -m1 '^E:' "$log" | cut -c1-300)"
    rm -f "$log"
    [ -x "$CHROMIUM" ] || skip "Debian's chromium was installed, but is not at $CHROMIUM"
}
