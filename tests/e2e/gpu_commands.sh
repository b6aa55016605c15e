#!/usr/bin/env bash
# The commands for GPU hosts, in a folder laid out as a bundle, where there is no driver: each says so and prints no figure; options are checked first.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
unset TUNESMITH_HOME
export TUNESMITH_CUDA_DRIVER=$top/no-driver.so

bundle=$top/bundle
mkdir -p "$bundle/bin" "$bundle/share/tunesmith" "$bundle/tests/codegen"
cp "$BIN/tunesmith" "$BIN/bench_value" "$BIN/bench_accuracy" "$BIN/bench_agree" "$bundle/bin"
cp -R "$ROOT/kernels" "$ROOT/reports" "$bundle/share/tunesmith"
cp -R "$ROOT/bench" "$ROOT/scripts" "$bundle"
cp -R "$ROOT/tests/gpu" "$ROOT/tests/data" "$bundle/tests"

for command in "$bundle"/bench/cuda-*; do
  run 0 "$command" --help
  has "$top/out" "^  bench/${command##*/} "
  run 2 "$command" --nonsense
  run 3 "$command" --out "$top/figures"
  has "$top/err" 'no-cuda-driver'
  has "$top/err" "^${command##*/}: needs an NVIDIA GPU"
  [ ! -s "$top/out" ] || fail "${command##*/} prints figures"
done
run 2 "$bundle/bench/cuda-decode" --store "$top/no-store.db" --out "$top/figures"
has "$top/err" 'no store at'
touch "$top/there.db"
run 2 "$bundle/bench/cuda-tune" --store "$top/there.db" --out "$top/figures"
run 3 "$bundle/scripts/check" --gpu --out "$top/checked"
has "$top/err" 'check: needs an NVIDIA GPU'
run 2 "$bundle/scripts/check" --gpu --nonsense
run 0 "$bundle/tests/gpu/check.sh" --list
has "$top/out" '^matmul q4f16_1 .* n=257$'
run 2 tunesmith try "matmul q4f16_1 A=f32 K=64 N=64 n=1" --target cuda --points 0
run 3 tunesmith try "matmul q4f16_1 A=f32 K=64 N=64 n=1" --target cuda
has "$top/err" 'no-cuda-driver'
done_testing
