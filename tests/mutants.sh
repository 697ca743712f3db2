#!/usr/bin/env bash
# Would a test notice a mistake?
#   tests/mutants.sh [score|eligibility|randomize|all] [--shard K/N]
#   tests/mutants.sh changed [COMMIT]
#
# cargo-mutants makes one small mistake after the other in the sources of these modules, builds, and runs
# their tests. A mistake that no test notices has to be explained in docs/mutation-testing.md, or the run
# fails. `changed` takes only lines that differ from COMMIT (default: main). `--shard` takes every N-th
# mistake, beginning with the K-th (from 0).
# The sources are not touched: tests/mutants/trim.py writes what a module needs of them as a crate of its own,
# below TRIALBRIDGE_MUTANTS_DIR (default: `mutants` in the target directory; runs of one module at the same
# time need one each). What was found is there, in MODULE/mutants.out. Ends with 3 where cargo-mutants cannot
# be had.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    sed -n '3,4s/^# *//p' "$0" >&2
    exit 2
}

modules=(score eligibility randomize) options=() base=
case ${1:-all} in
all) ;;
score | eligibility | randomize) modules=("$1") ;;
changed) base=${2:-main} ;;
*) usage ;;
esac
case "${1:-all} ${2:-} ${3:-}" in
changed\ * | *\ \ ) ;;
*\ --shard\ [0-9]*/[0-9]*) options=(--shard "$3" --sharding round-robin) ;;
*) usage ;;
esac

root=$PWD
folder=${TRIALBRIDGE_MUTANTS_DIR:-${CARGO_TARGET_DIR:-$root/target}/mutants}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

if [ -n "$base" ]; then
    git diff --merge-base "$base" -- "${modules[@]/#/src/}" >"$folder/diff"
    if [ ! -s "$folder/diff" ]; then
        echo "nothing in src/score, src/eligibility and src/randomize differs from $base"
        exit 0
    fi
    options=(--in-diff "$folder/diff")
fi

if ! cargo mutants --version >/dev/null 2>&1; then
    if ! cargo install cargo-mutants --locked --target-dir "$folder/install"; then
        echo "skip: cargo-mutants is not installed and could not be installed"
        exit 3
    fi
    rm -rf "$folder/install"
fi

export CARGO_INCREMENTAL=1 CARGO_TERM_COLOR=never
failed=0
for module in "${modules[@]}"; do
    work="$folder/$module"
    mkdir -p "$work"
    rm -rf "$work/mutants.out"
    python3 tests/mutants/trim.py "$module" "$root" "$work/crate"
    code=0
    # 0: all were caught; 2: some were not; 3: some ran for ever, which is noticed as well. A constant may run
    # for ever when it is compiled.
    # The second trial is checked by a command that the crate does not have; thousands of simulated trials
    # take a minute and notice only what moves an average.
    CARGO_TARGET_DIR="$work/target" nice -n 15 cargo mutants --dir "$work/crate" --no-config --in-place \
        --build-timeout 120 --output "$work" --file "src/$module/**" "${options[@]}" -- \
        --tests -- --skip its_definition --skip simulated_trials || code=$?
    case $code in
    0 | 2 | 3) ;;
    *)
        echo "error: cargo mutants ended with $code in $module: see $work/mutants.out" >&2
        exit 1
        ;;
    esac
    # Whether an explanation is still needed can be said only where everything was tried.
    [ ${#options[@]} = 0 ] && whole=whole || whole=part
    python3 tests/mutants/report.py "$module" "$work/mutants.out" "$whole" || failed=1
done
exit $failed
