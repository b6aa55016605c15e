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
# Two builds of one model: formats that hold the weights alike say the same, four bits do not.
exact=${dir%-q*}
run 0 bench_agree "$exact-q0f32" "$exact-q0f16" "Who is Mia?" "Once upon a time"
has "$top/out" '^same_texts 2 of_2$'
run 1 bench_agree "$exact-q0f32" "$dir" "Who is Mia?" "Once upon a time"
has "$top/out" '^DIFFERS after .Who is Mia'
run 1 bench_agree "$exact-q0f32" "$dir" --gap 1 --ties 100 "Who is Mia?"
has "$top/out" '^near-tie after .Who is Mia'
run 0 bench_agree "$exact-q0f32" "$dir" --gap 1 --ties 100 --max-error 1 "Who is Mia?"
run 2 bench_agree "$exact-q0f32"
done_testing
