#!/usr/bin/env bash
# Plays whole trials through the program, and lets somebody who has everything but the keys guess every arm
# before it is drawn: tests/attacker/run.sh [TRIALS [DEVIATIONS]]
#
# The attacker has the database with its WAL, a backup, all logs and metrics, all that an operator can print,
# the pages, the bundle and the trial definition; where the hospital is told arms, the past arms as well.
# Fails if any honest strategy guesses better than the design itself allows, by three standard deviations:
# by chance one run in a hundred does. `1 5` takes half a minute, and by chance fails one run in a million.
# Needs Python 3.8 and the program (TRIALBRIDGE_BIN, or it is built).
set -euo pipefail
cd "$(dirname "$0")/../.."

command -v python3 >/dev/null || {
    echo "skip: python3 is not there"
    exit 3
}
if [ -z "${TRIALBRIDGE_BIN:-}" ]; then
    cargo build --bin trialbridge
    TRIALBRIDGE_BIN="${CARGO_TARGET_DIR:-$PWD/target}/debug/trialbridge"
fi
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
for arm in withhold disclose; do
    python3 tests/attacker/stage.py "$TRIALBRIDGE_BIN" "$room/$arm" "$arm" "${1:-5}"
    python3 tests/attacker/attack.py "$room/$arm" "$arm" "${2:-3}"
done
echo "leaks on purpose:"
python3 tests/attacker/attack.py "$room/withhold" withhold "${2:-3}" --planted
