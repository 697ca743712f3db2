#!/usr/bin/env bash
# More simulated patients with decompensated cirrhosis: simulate.sh OUT.ndjson[.gz] N [SEED]
#
# Runs clinosim (PyPI, MIT) and reduces its output as fixtures/cohort/ was made. The patients
# have neither Consent nor the trial's form. Exits 3 with one line where clinosim cannot be had.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || {
    echo "usage: $0 OUT.ndjson[.gz] N [SEED]" >&2
    exit 2
}
out=$1 count=$2 seed=${3:-3}
CACHE="${TRIALBRIDGE_TEST_CACHE:-$HOME/.cache/trialbridge-tests}"
VERSION=0.6.5
venv="$CACHE/clinosim-$VERSION"

skip() {
    echo "skip: $1" >&2
    exit 3
}

if [ ! -f "$venv/complete" ]; then
    command -v python3 >/dev/null || skip "clinosim needs python3, which is not installed"
    mkdir -p "$CACHE"
    rm -rf "$venv"
    python3 -m venv "$venv" >"$CACHE/clinosim.log" 2>&1 ||
        skip "no virtual environment can be made for clinosim: $(tail -n 1 "$CACHE/clinosim.log" | cut -c1-300)"
    nice "$venv/bin/pip" install --quiet "clinosim==$VERSION" >"$CACHE/clinosim.log" 2>&1 ||
        skip "clinosim $VERSION cannot be installed: $(grep -m1 ERROR "$CACHE/clinosim.log" | cut -c1-300)"
    touch "$venv/complete"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nice "$venv/bin/clinosim" test-disease liver_cirrhosis_decompensated -n "$count" -s "$seed" \
    --severity severe --format fhir-r4 -o "$work" >"$work/log" 2>&1 || {
    tail -n 5 "$work/log" >&2
    echo "error: clinosim failed" >&2
    exit 1
}
mapfile -t files < <(find "$work" -name '*.ndjson' | LC_ALL=C sort)
[ ${#files[@]} -gt 0 ] || {
    echo "error: clinosim wrote no NDJSON" >&2
    exit 1
}
python3 "$here/make_cohort.py" -o "$out" "${files[@]}"
