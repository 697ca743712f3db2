#!/bin/sh
# RUSTC_WRAPPER of tests/fuzz.sh: the flags that lead libFuzzer's way, for the code under test alone.
#
# Instrumented throughout, the network, TLS and SQLite would double the time of the build and add a
# million edges that no input reaches. Generic code of the parsers (serde_json, toml) is compiled
# where it is used, so it is instrumented all the same.
rustc=$1
shift
case " $* " in
*" --crate-name trialbridge"* | *" --crate-name octofhir_ucum "*)
    exec "$rustc" "$@" -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares \
        --cfg fuzzing
    ;;
*) exec "$rustc" "$@" ;;
esac
