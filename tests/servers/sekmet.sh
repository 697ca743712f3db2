#!/usr/bin/env bash
# sekmet-fhir (R4, Python) as a test server: sekmet.sh start|stop|status|wait|install [PORT]
#
# Prints the base URL on stdout. The data lie in a folder of the run and are gone at the next
# `start`. Needs Python 3.11 or newer; exits 3 with one line where it cannot be had.
# TRIALBRIDGE_TEST_CACHE moves what is installed (about 180 MB).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
NAME="sekmet"
PORT="${2:-8091}"
. "$here/common.sh"
BASE="http://127.0.0.1:$PORT/fhir"
STATE="$CACHE/run/sekmet-$PORT"
VERSION=0.1.1
VENV="$CACHE/sekmet-$VERSION"

install_server() {
    local begun=$SECONDS
    [ -f "$VENV/complete" ] && return
    command -v python3 >/dev/null || skip "sekmet needs python3, which is not installed"
    mkdir -p "$CACHE"
    rm -rf "$VENV"
    python3 -m venv "$VENV" >"$CACHE/sekmet.log" 2>&1 ||
        skip "no virtual environment can be made for sekmet: $(tail -n 1 "$CACHE/sekmet.log" | cut -c1-300)"
    nice "$VENV/bin/pip" install --quiet "sekmet-fhir==$VERSION" >"$CACHE/sekmet.log" 2>&1 ||
        skip "sekmet-fhir $VERSION cannot be installed: $(grep -m1 ERROR "$CACHE/sekmet.log" | cut -c1-300)"
    touch "$VENV/complete"
    echo "$NAME: installed in $((SECONDS - begun)) s below $CACHE" >&2
}

# The simulator would answer orders with data of its own; a hospital in a test stays as loaded.
launch() {
    cat >"$STATE/settings.yaml" <<YAML
base_url: $BASE
host: 127.0.0.1
port: $PORT
data_dir: $STATE/data
own_private_key_path: $STATE/data/own.pem
validation:
  inbound: strict
simulator:
  enabled: false
YAML
    mkdir -p "$STATE/data"
    (
        cd "$STATE"
        exec nohup "$VENV/bin/sekmet" serve -c "$STATE/settings.yaml" >"$STATE/log" 2>&1 </dev/null
    ) &
    echo $! >"$STATE/pid"
}

server_main "${1:-}"
