#!/usr/bin/env bash
# Would a test notice a mistake?
#   tests/mutants.sh [score|eligibility|randomize|all] [--shard K/N]
#   tests/mutants.sh changed [COMMIT]
#
# cargo-mutants makes one small mistake after the other in the sources of these modules, builds, and runs
# their tests. A mistake that no test notices has to be explained in docs/mutation-testing.md, or the run
# fails. `changed` takes only lines that differ from COMMIT (default: main). `--shard` takes every N-th
# mistake, beginning with the K-th (from 0).
# The sources are not touched: tests/mutants/trim.py writes what is needed of them as a crate of its own,
# below TRIALBRIDGE_MUTANTS_DIR (default: `mutants` in the target directory; runs at the same time need one
# each). What was found is there, in MODULE/mutants.out. Ends with 3 where cargo-mutants cannot be had.
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

# The tests that speak of a module: those beside it, and those of what it decides, through the commands.
tests_of() {
    case $1 in
    score) echo score:: screen golden:: second_trial::it_screens ;;
    eligibility) echo eligibility:: screen golden:: properties:: second_trial::it_screens ;;
    randomize) echo randomize:: ;;
    esac
}

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

python3 tests/mutants/trim.py "$root" "$folder/crate"
export CARGO_TARGET_DIR="$folder/target" CARGO_INCREMENTAL=1 CARGO_TERM_COLOR=never
failed=0
for module in "${modules[@]}"; do
    mkdir -p "$folder/$module"
    rm -rf "$folder/$module/mutants.out"
    read -ra tests < <(tests_of "$module")
    code=0
    # 0: all were caught; 2: some were not; 3: some ran for ever, which is noticed as well.
    nice -n 15 cargo mutants --dir "$folder/crate" --no-config --in-place --output "$folder/$module" \
        --file "src/$module/**" "${options[@]}" -- --lib --test suite -- "${tests[@]}" || code=$?
    case $code in
    0 | 2 | 3) ;;
    *)
        echo "error: cargo mutants ended with $code in $module: see $folder/$module/mutants.out" >&2
        exit 1
        ;;
    esac
    # Whether an explanation is still needed can be said only where everything was tried.
    [ ${#options[@]} = 0 ] && whole=whole || whole=part
    python3 tests/mutants/report.py "$module" "$folder/$module/mutants.out" "$whole" || failed=1
done
exit $failed
