# Shared by python.sh and node.sh; sourced, not run.
#
# Starts `trialbridge serve` on free ports of 127.0.0.1, with a store of its own below $WORK, and stops
# it at the end. The binary is $TRIALBRIDGE_TEST_BINARY, else the newest one of the target directory.

CACHE="${TRIALBRIDGE_TEST_CACHE:-$HOME/.cache/trialbridge-tests}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target="${CARGO_TARGET_DIR:-$root/target}"
WORK=$(mktemp -d)

# Exit 3 means "cannot be had here"; a caller counts it as skipped, not as failed.
skip() {
    echo "skip: $1"
    exit 3
}

fail() {
    echo "error: $1" >&2
    [ ! -f "$WORK/log" ] || tail -n 20 "$WORK/log" >&2
    exit 1
}

finish() {
    if [ -f "$WORK/pid" ]; then
        kill "$(cat "$WORK/pid")" 2>/dev/null || true
        wait 2>/dev/null || true
    fi
    rm -rf "$WORK"
}
trap finish EXIT

free_ports() {
    python3 -c '
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))' "$1"
}

# Leaves BINARY.
binary() {
    BINARY=${TRIALBRIDGE_TEST_BINARY:-$(ls -t "$target"/{release,debug}/trialbridge 2>/dev/null | head -n 1)}
    [ -x "$BINARY" ] || fail "there is no binary: cargo build, or name one in TRIALBRIDGE_TEST_BINARY"
    BINARY=$(realpath "$BINARY")
    export BINARY
    # To the program every variable of this prefix is a key of the configuration.
    local name
    for name in $(compgen -e TRIALBRIDGE_); do unset "$name"; done
}

# Serves; leaves TRIALBRIDGE_CONFIG, FHIR_BASE (a base URL) and MLLP_PORT (a port).
start_serve() {
    local http ops mllp n=0
    read -r http ops mllp < <(free_ports 3)
    cat >"$WORK/site.toml" <<TOML
id = "clients"

[hl7v2]
time_zone = "+08:00"
patient_identifier = "urn:oid:1.2.3.5"

[hl7v2.authorities]
HIS = "urn:oid:1.2.3.5"
TOML
    cat >"$WORK/trialbridge.toml" <<TOML
data_dir = "$WORK/data"
site = "$WORK/site.toml"
[allocation]
key_file = "$WORK/allocation.key"
[serve]
listen = "127.0.0.1:$http"
ops_listen = "127.0.0.1:$ops"
[mllp]
listen = "127.0.0.1:$mllp"
mode = "${MLLP_MODE:-accept}"
TOML
    # The service's today is that of the hospital's zone, whatever the machine's is.
    export TZ='<+08>-8'
    export TRIALBRIDGE_CONFIG="$WORK/trialbridge.toml"
    export FHIR_BASE="http://127.0.0.1:$http/fhir" MLLP_PORT="$mllp"
    "$BINARY" serve >"$WORK/log" 2>&1 </dev/null &
    echo $! >"$WORK/pid"
    until curl --silent --fail --noproxy '*' --max-time 5 --output /dev/null "$FHIR_BASE/metadata"; do
        kill -0 "$(cat "$WORK/pid")" 2>/dev/null || fail "serve ended at its start"
        n=$((n + 1))
        [ $n -lt 240 ] || fail "serve did not answer within a minute"
        sleep 0.25
    done
}
