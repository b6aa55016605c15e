#!/usr/bin/env bash
# The tiny model with default schedules against the recorded results of another implementation.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
fixture=$ROOT/tests/data/fixtures/tiny.json

build_tiny q0f32
run 0 bench_accuracy "$dir" "$fixture" --root "$ROOT" --max-error 1e-4 --greedy 64 --max-ratio 1.0005
has "$top/out" '^greedy_identical_story 64 tokens$'
build_tiny q0f16
run 0 bench_accuracy "$dir" "$fixture" --root "$ROOT" --max-error 1e-2 --max-ratio 1.01
build_tiny q4f16_1
run 0 bench_accuracy "$dir" "$fixture" --root "$ROOT" --max-ratio 1.03
build_tiny q4f16_0
run 0 bench_accuracy "$dir" "$fixture" --root "$ROOT" --max-ratio 1.03
done_testing
