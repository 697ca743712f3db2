#!/usr/bin/env bash
# Runs every fuzz target for a while: tests/fuzz.sh [SECONDS_PER_TARGET|smoke] [TARGET...]
#
# `smoke` is what .ci/run does: the committed seeds and 20,000 inputs made from them, the same in every run.
# Builds with the usual toolchain. libFuzzer's coverage flags are stable options of rustc; neither a
# nightly toolchain nor cargo-fuzz is needed (`cargo fuzz run TARGET` works all the same). Only our own
# code and the reader of units are instrumented: see fuzz/rustc.sh.
# What is found is written to fuzz/artifacts/TARGET. A hang counts if it can be repeated: on a busy
# machine a second may pass without any work. Ends with 3 where no C++ compiler builds libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
shift || true
bounds=("-max_total_time=$seconds")
[ "$seconds" != smoke ] || bounds=(-seed=1 -runs=20000 -max_total_time=15)
root=$PWD
host=$(rustc -vV | sed -n 's/^host: //p')
folder=${TRIALBRIDGE_FUZZ_TARGET_DIR:-${CARGO_TARGET_DIR:-$root/target}/fuzz}
bin="$folder/$host/release"

if ! command -v c++ >/dev/null && ! command -v g++ >/dev/null && ! command -v clang++ >/dev/null; then
    echo "skip: no C++ compiler to build libFuzzer with"
    exit 3
fi

begun=$SECONDS
if ! (cd fuzz && CARGO_TARGET_DIR=$folder RUSTC_WRAPPER=$root/fuzz/rustc.sh RUSTFLAGS='' \
    cargo build --release --locked --target "$host" --bins); then
    echo "error: the fuzz targets do not build. If it is the lock file: (cd fuzz && cargo update --workspace)" >&2
    exit 1
fi
echo "built in $((SECONDS - begun)) s"

targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for path in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$path" .rs)")
    done
fi

limits=(-timeout=1 -rss_limit_mb=512 -max_len=65536)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
for target in "${targets[@]}"; do
    found="fuzz/artifacts/$target"
    # What has been learnt stays beside the binaries; the committed seeds are only read.
    learnt="$folder/corpus/$target"
    [ "$seconds" != smoke ] || learnt="$work/learnt-$target"
    mkdir -p "$work/$target" "$found" "$learnt"
    folders=("$learnt" "fuzz/corpus/$target")
    [ ! -d "fuzz/regressions/$target" ] || folders+=("fuzz/regressions/$target")
    words=()
    case $target in
    bundle | document | fhir_resource | intake | json | search_page) words=(-dict=fuzz/dictionaries/fhir.txt) ;;
    quantity | score_line | unit | number) words=(-dict=fuzz/dictionaries/quantities.txt) ;;
    hl7* | mllp*) words=(-dict=fuzz/dictionaries/hl7.txt) ;;
    *_toml) words=(-dict=fuzz/dictionaries/toml.txt) ;;
    esac
    code=0
    "$bin/$target" "${limits[@]}" "${words[@]}" "${bounds[@]}" -print_final_stats=1 \
        -artifact_prefix="$work/$target/" "${folders[@]}" >"$work/log" 2>&1 </dev/null || code=$?
    crashes=0
    for input in "$work/$target"/*; do
        [ -f "$input" ] || continue
        case $(basename "$input") in
        slow-unit-*) continue ;;
        timeout-*) ! "$bin/$target" "${limits[@]}" "$input" >/dev/null 2>&1 </dev/null || continue ;;
        esac
        cp "$input" "$found/"
        crashes=$((crashes + 1))
    done
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$work/log")
    printf '%-14s %10s executions %8s/s %3d crashes\n' "$target" "${executions:-?}" "${rate:-?}" "$crashes"
    # Another end than by a crash that was kept, or by a hang that could not be repeated, is a failure too.
    if [ $crashes -gt 0 ] || { [ $code != 0 ] && [ $code != 70 ]; }; then
        failed=$((failed + 1))
        grep -m1 -A3 -E 'panicked at|ERROR: libFuzzer' "$work/log" || tail -n 5 "$work/log"
        ls "$found" | sed "s|^|    $found/|"
    else
        passed=$((passed + 1))
    fi
done
rmdir fuzz/artifacts/* fuzz/artifacts 2>/dev/null || true
if [ $failed = 0 ]; then verdict=ok; else verdict=FAILED; fi
echo "test result: $verdict. $passed passed; $failed failed"
[ $failed = 0 ]
