#!/usr/bin/env bash
# Proves on the real program that nothing acknowledged is lost: tests/durability/run.sh [quick|full] [CASE...]
#
# quick: within four minutes on two cores. full: a night. The program is TRIALBRIDGE_BIN, or the release or
# debug build. Exit 3 with a line `skip: …` where strace or python3 cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v python3 >/dev/null || { echo "skip: python3 is not installed"; exit 3; }
if ! command -v strace >/dev/null; then
    apt-get install -y strace >/dev/null 2>&1 || { apt-get update >/dev/null 2>&1 && apt-get install -y strace >/dev/null 2>&1; } ||
        { echo "skip: strace is not installed, and apt-get cannot bring it"; exit 3; }
fi
target="${CARGO_TARGET_DIR:-$PWD/target}"
if [ -z "${TRIALBRIDGE_BIN:-}" ]; then
    for build in release debug; do
        [ ! -x "$target/$build/trialbridge" ] || { TRIALBRIDGE_BIN="$target/$build/trialbridge"; break; }
    done
fi
export TRIALBRIDGE_BIN="${TRIALBRIDGE_BIN:-$target/debug/trialbridge}" PYTHONDONTWRITEBYTECODE=1
# Only this machine is spoken to.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
exec python3 tests/durability/main.py "$@"
