#!/usr/bin/env bash
# `screen` over generated patients: wall time, MB/s, peak memory.
#   benches/screen.sh [PATIENTS] [RUNS]        default: 10000 patients, 3 runs
# Needs GNU time (/usr/bin/time). Builds what it needs; the data go to a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
patients=${1:-10000} runs=${2:-3}
cargo build --quiet --release --bin trialbridge --example generate
target=${CARGO_TARGET_DIR:-target}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$target/release/examples/generate" --patients "$patients" --seed 1 --order grouped --dialect us \
    --as-of 2026-11-20 "$dir" >/dev/null
bytes=$(du -sb "$dir" | cut -f1)
cat "$dir"/* >/dev/null # in the page cache
echo "$patients patients, $((bytes / 1000000)) MB"
for run in $(seq "$runs"); do
    /usr/bin/time -f '%e %M' -o "$dir/.time" \
        "$target/release/trialbridge" -q screen "$dir" --as-of 2026-11-20 --out "$dir/.out"
    read -r seconds kib <"$dir/.time"
    awk -v s="$seconds" -v b="$bytes" -v k="$kib" -v n="$patients" -v r="$run" \
        'BEGIN { printf "run %d: %.2f s, %.0f MB/s, %.0f µs a patient, peak %.0f MiB\n", r, s, b / 1e6 / s, s * 1e6 / n, k / 1024 }'
done
