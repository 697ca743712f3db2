#!/usr/bin/env bash
# node-hl7-client, as an integration engineer would use it, against the MLLP listener of `serve`.
#
# Needs Node.js 20 or newer and npm; exits 3 with one line where they or the package cannot be had.
# TRIALBRIDGE_TEST_BINARY names the binary.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"
command -v python3 >/dev/null || skip "the Node client's ports are found with python3, which is not installed"
command -v node >/dev/null && command -v npm >/dev/null || skip "the Node client needs node and npm, which are not installed"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || skip "node-hl7-client 3.2.0 needs Node.js 20, this is $major"
binary
mkdir "$WORK/node"
cp "$here/node.mjs" "$WORK/node/"
echo '{"private": true}' >"$WORK/node/package.json"
(cd "$WORK/node" && nice npm install --no-audit --no-fund --ignore-scripts node-hl7-client@3.2.0) >"$WORK/install" 2>&1 ||
    skip "node-hl7-client cannot be installed: $(grep -m1 -i error "$WORK/install" | cut -c1-300)"
start_serve
(cd "$WORK/node" && node node.mjs)
