#!/usr/bin/env bash
# fhirpy, hl7apy and requests, as an integration engineer would use them, against `serve`.
#
# Needs Python 3.11 or newer; exits 3 with one line where it or the packages cannot be had.
# TRIALBRIDGE_TEST_CACHE moves what is installed (about 40 MB), TRIALBRIDGE_TEST_BINARY names the binary.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
command -v python3 >/dev/null || skip "the Python clients need python3, which is not installed"
packages=(fhirpy==2.3.1 hl7apy==1.3.5 requests==2.34.2)
VENV="$CACHE/python-clients-$(tr -dc 'a-z0-9.' <<<"${packages[*]}")"
if [ ! -f "$VENV/complete" ]; then
    mkdir -p "$CACHE"
    rm -rf "$VENV"
    python3 -m venv "$VENV" >"$WORK/install" 2>&1 ||
        skip "no virtual environment can be made for the Python clients: $(tail -n 1 "$WORK/install" | cut -c1-300)"
    nice "$VENV/bin/pip" install --quiet "${packages[@]}" >"$WORK/install" 2>&1 ||
        skip "the Python clients cannot be installed: $(grep -m1 ERROR "$WORK/install" | cut -c1-300)"
    touch "$VENV/complete"
fi
binary
start_serve
"$VENV/bin/python" "$here/python.py"
