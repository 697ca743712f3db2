# Shared by hapi.sh and sekmet.sh; sourced, not run.
#
# A server is one process whose id stands in $STATE/pid. Everything that is installed goes
# below $CACHE, everything that a server writes goes below $STATE. Nothing listens anywhere
# but on 127.0.0.1: that is checked after every start, and a server that does is stopped.

CACHE="${TRIALBRIDGE_TEST_CACHE:-$HOME/.cache/trialbridge-tests}"

# Exit 3 means "cannot be had here"; a caller counts it as skipped, not as failed.
skip() {
    echo "skip: $1" >&2
    exit 3
}

fail() {
    echo "error: $1" >&2
    exit 1
}

running() {
    [ -f "$STATE/pid" ] && kill -0 "$(cat "$STATE/pid")" 2>/dev/null
}

answers() {
    curl --silent --fail --noproxy '*' --max-time 20 --output /dev/null "$BASE/metadata"
}

# Resident memory of the server and its children, in MiB.
memory() {
    ps -o rss= -p "$(cat "$STATE/pid")" --ppid "$(cat "$STATE/pid")" 2>/dev/null |
        awk '{ sum += $1 } END { printf "%d", sum / 1024 }'
}

port_taken() {
    ss -Hltn "sport = :$PORT" 2>/dev/null | grep -q .
}

# Every listening socket of the port must be on the loopback interface.
assert_loopback_only() {
    local elsewhere
    elsewhere=$(ss -Hltn "sport = :$PORT" | awk '{ print $4 }' |
        grep -v -e '^127\.0\.0\.1:' -e '^\[::ffff:127\.0\.0\.1\]:' || true)
    if [ -n "$elsewhere" ]; then
        stop_server
        fail "$NAME listens on $elsewhere, not on 127.0.0.1 only; it was stopped"
    fi
}

# Waits until the server answers, at most $1 seconds.
wait_server() {
    local limit=$1 begun=$SECONDS
    while ! answers; do
        running || {
            tail -n 20 "$STATE/log" >&2
            fail "$NAME ended before it answered; its log is $STATE/log"
        }
        [ $((SECONDS - begun)) -lt "$limit" ] ||
            fail "$NAME did not answer within $limit s; its log is $STATE/log"
        sleep 0.5
    done
    assert_loopback_only
}

stop_server() {
    local pid n=0
    if running; then
        pid=$(cat "$STATE/pid")
        kill "$pid"
        while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do
            sleep 0.1
            n=$((n + 1))
        done
        kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$STATE/pid"
}

# start|stop|status|wait; the script defines install and launch.
server_main() {
    case "${1:-}" in
    install)
        install_server
        ;;
    start)
        if running; then
            echo "$BASE"
            return
        fi
        install_server
        port_taken && fail "port $PORT is taken; name another one: $0 start PORT"
        rm -rf "$STATE"
        mkdir -p "$STATE"
        local begun=$SECONDS
        launch
        wait_server 180
        echo "$NAME: started in $((SECONDS - begun)) s, $(memory) MiB resident, log $STATE/log" >&2
        echo "$BASE"
        ;;
    wait)
        running || fail "$NAME is not started on port $PORT"
        wait_server 180
        echo "$BASE"
        ;;
    status)
        if running && answers; then
            echo "$NAME: running, pid $(cat "$STATE/pid"), $(memory) MiB resident" >&2
            echo "$BASE"
        else
            echo "$NAME: not running on port $PORT" >&2
            return 1
        fi
        ;;
    stop)
        stop_server
        ;;
    *)
        echo "usage: $0 install|start|stop|status|wait [PORT]" >&2
        exit 2
        ;;
    esac
}
