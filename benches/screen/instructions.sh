#!/usr/bin/env bash
# How many instructions `screen` takes for a byte of input, and whether that has become more.
#   benches/screen/instructions.sh             compares with instructions.toml; fails if more than 2 % worse
#   benches/screen/instructions.sh --write     measures and stores the figures
#
# Counted by valgrind over the release build: 10 and 100 generated patients, one worker, and the
# difference of the two, so that starting up and reading the trial do not count. Counts of the same
# build repeat to 0.1 %, on a busy machine too. With another compiler or another kind of machine than the
# stored figures were taken with, it compares but does not fail. Ends with 3 where valgrind is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."

few=10 many=100 tolerance=2
stored=benches/screen/instructions.toml
target=${CARGO_TARGET_DIR:-target}
binary=${TRIALBRIDGE_TEST_BINARY:-$target/release/trialbridge}
write=0
case "${1:-}" in
'') ;;
--write) write=1 ;;
*)
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

if ! command -v valgrind >/dev/null; then
    apt-get install -y valgrind >/dev/null 2>&1 || { apt-get update >/dev/null 2>&1 && apt-get install -y valgrind >/dev/null 2>&1; } ||
        { echo "skip: valgrind is not installed, and apt-get cannot bring it"; exit 3; }
fi
[ -n "${TRIALBRIDGE_TEST_BINARY:-}" ] || cargo build --quiet --release --bin trialbridge
# To the program every variable of this prefix is a key of the configuration.
for name in $(compgen -e TRIALBRIDGE_); do unset "$name"; done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for n in $few $many; do
    # The debug build of the generator writes the same bytes, and the tests have built it already.
    cargo run --quiet --example generate -- --patients "$n" --seed 1 --order grouped --dialect mixed \
        --as-of 2026-11-20 "$work/$n" 2>/dev/null
done
bytes() { cat "$work/$1"/* | wc -c; }

# instructions PATIENTS OPTION...: of one run
instructions() {
    local data="$work/$1" out="$work/out" log="$work/log"
    shift
    if ! valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$log" \
        "$binary" -q screen "$data" --as-of 2026-11-20 --out "$out" "$@" >"$work/said" 2>&1 </dev/null; then
        cat "$work/said" "$log" >&2
        echo "error: screen $* failed under valgrind" >&2
        return 1
    fi
    [ -s "$out" ] || {
        echo "error: screen $* wrote nothing" >&2
        return 1
    }
    awk '/Collected *:/ { print $NF; found = 1 } END { exit !found }' "$log"
}

# What is measured: a name and the options of `screen`. Left out where this build has no such option.
help=$("$binary" screen --help)
has() { grep -qE -- "^ +(-., )?$1\b" <<<"$help"; }
one=()
! has --threads || one=(--threads 1)
names=(full) options=("")
if has --format; then
    names+=(rows) options+=("--format csv")
fi
if has --prefilter; then
    names+=(prefilter) options+=("--prefilter")
    if has --format; then
        names+=(rows-prefilter) options+=("--format csv --prefilter")
    fi
fi

compiler=$(rustc -vV | sed -n 's/^release: //p') host=$(rustc -vV | sed -n 's/^host: //p')
figure() { sed -n "s/^$1 = \"\{0,1\}\([^\"]*\)\"\{0,1\}$/\1/p" "$stored" 2>/dev/null || true; }
same=1
if [ $write = 0 ]; then
    [ -f "$stored" ] || {
        echo "error: $stored is not there; write it with $0 --write" >&2
        exit 1
    }
    if [ "$(figure rustc)" != "$compiler" ] || [ "$(figure host)" != "$host" ]; then
        same=0
        echo "note: the figures are of rustc $(figure rustc) on $(figure host); this is $compiler on $host: compared, not judged"
    fi
fi

size=$(($(bytes $many) - $(bytes $few)))
echo "instructions for a byte of input; $many less $few patients, $size bytes"
lines=() failed=0
for i in "${!names[@]}"; do
    name=${names[$i]}
    read -ra extra <<<"${options[$i]}"
    count=$(($(instructions $many "${one[@]}" "${extra[@]}") - $(instructions $few "${one[@]}" "${extra[@]}")))
    now=$(awk -v i="$count" -v b="$size" 'BEGIN { printf "%.3f", i / b }')
    lines+=("$name = $now")
    before=$(figure "$name")
    if [ -z "$before" ]; then
        printf '  %-15s %8s\n' "$name" "$now"
        [ $write = 1 ] || echo "note: no figure is stored for $name: write it with $0 --write"
        continue
    fi
    change=$(awk -v now="$now" -v before="$before" 'BEGIN { printf "%+.1f", (now / before - 1) * 100 }')
    printf '  %-15s %8s, stored %8s: %s %%\n' "$name" "$now" "$before" "$change"
    [ $write = 0 ] || continue
    case $(awk -v c="$change" -v t=$tolerance 'BEGIN { print (c > t ? "worse" : c < -t ? "better" : "same") }') in
    worse)
        if [ $same = 1 ]; then
            echo "error: $name takes $change % more instructions a byte; at most +$tolerance % may pass" >&2
            failed=1
        else
            echo "note: $name is worse by $change %"
        fi
        ;;
    better) echo "note: $name is better by ${change#-} %: write the new figure with $0 --write" ;;
    esac
done
# A figure that nothing measures any more would let its option rot unseen.
while read -r name; do
    if [ $write = 0 ] && [[ " ${names[*]} " != *" $name "* ]]; then
        echo "error: $stored has a figure for $name, and this build of screen cannot be measured so" >&2
        failed=1
    fi
done < <(sed -n 's/^\([a-z-]*\) = [0-9.]*$/\1/p' "$stored" 2>/dev/null)

if [ $write = 1 ]; then
    {
        echo "# Instructions that \`screen\` takes for a byte of input: benches/screen/instructions.sh --write."
        echo "# full: every line read and validated, NDJSON with all evidence; rows: CSV, a row a patient;"
        echo "# prefilter: lines that cannot matter are skipped."
        echo "rustc = \"$compiler\""
        echo "host = \"$host\""
        printf '%s\n' "${lines[@]}"
    } >"$stored"
    echo "written: $stored"
fi
[ $failed = 0 ]
