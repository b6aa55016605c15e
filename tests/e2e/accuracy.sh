#!/usr/bin/env bash
# The tiny model with default schedules against the recorded results of another implementation. What four bits cost in perplexity
# is checked by chain.sh, on tuned kernels.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# accuracy QUANT LIMITS...
accuracy() {
  build_tiny "$1"
  shift
  run 0 bench_accuracy "$dir" "$ROOT/tests/data/fixtures/tiny.json" --root "$ROOT" --no-text "$@" || cat "$top/out"
}

accuracy q0f32 --max-error 1e-4 --greedy 64
has "$top/out" '^greedy_identical_story 64 tokens$'
accuracy q0f16 --max-error 1e-3 --greedy 64
accuracy q4f16_1 --max-error 0.3
accuracy q4f16_0 --max-error 0.3
# The program must be able to find fault.
run 1 bench_accuracy "$dir" "$ROOT/tests/data/fixtures/tiny.json" --root "$ROOT" --no-text --greedy 64
done_testing
