#!/usr/bin/env bash
# HAPI FHIR JPA (R4) as a test server: hapi.sh start|stop|status|wait|install [PORT]
#
# Prints the base URL on stdout. The data live in memory and are gone after `stop`.
# Needs a JDK 17 or newer and Maven; exits 3 with one line where it cannot be had.
# TRIALBRIDGE_TEST_CACHE moves what is installed (about 650 MB), HAPI_HEAP its memory.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
NAME="HAPI FHIR"
PORT="${2:-8090}"
. "$here/common.sh"
BASE="http://127.0.0.1:$PORT/fhir"
STATE="$CACHE/run/hapi-$PORT"

# Builds the launcher and copies its libraries, once for each version of its sources.
install_server() {
    command -v java >/dev/null || skip "HAPI FHIR needs java (a JDK 17 or newer), which is not installed"
    command -v mvn >/dev/null || skip "HAPI FHIR needs mvn (Maven), which is not installed"
    local sources stamp begun=$SECONDS
    sources=$(cd "$here/hapi" && find pom.xml src -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)
    HOME_DIR="$CACHE/hapi-$sources"
    stamp="$HOME_DIR/complete"
    [ -f "$stamp" ] && return
    rm -rf "$HOME_DIR"
    mkdir -p "$HOME_DIR"
    cp -R "$here/hapi/pom.xml" "$here/hapi/src" "$HOME_DIR/"
    nice mvn --quiet --batch-mode -Dmaven.repo.local="$CACHE/maven" --file "$HOME_DIR/pom.xml" \
        package >"$HOME_DIR/log" 2>&1 ||
        skip "HAPI FHIR could not be built from its published modules: $(grep -m1 ERROR "$HOME_DIR/log" | cut -c1-300)"
    touch "$stamp"
    echo "$NAME: installed in $((SECONDS - begun)) s below $CACHE" >&2
}

launch() {
    nohup java "-Xmx${HAPI_HEAP:-1g}" -Djava.io.tmpdir="$STATE" \
        -cp "$HOME_DIR/target/hapi-r4.jar:$HOME_DIR/target/lib/*" \
        trialbridge.tests.HapiServer "$PORT" >"$STATE/log" 2>&1 </dev/null &
    echo $! >"$STATE/pid"
}

server_main "${1:-}"
