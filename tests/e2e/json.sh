#!/usr/bin/env bash
# What commands print with --format json is JSON, a value a line; another word is refused by all of them. None of these needs a GPU.
. "$ROOT/tests/e2e/lib.sh"
lines() { python3 -c 'import json, sys; print(sum(1 for line in open(sys.argv[1]) if json.loads(line) is not None))' "$top/out" || fail "no JSON"; }

run 0 tunesmith ops --format json
[ "$(lines)" -ge 10 ] || fail "operators are missing"
run 0 tunesmith ops matmul --format json
has "$top/out" '"variants": \[\{"name": "a'
run 0 tunesmith template --list matmul --format json
[ "$(lines)" -ge 4 ] || fail "templates are missing"
has "$top/out" '"parameters": \{"[A-Z_]+": \[[0-9, ]+\]'
run 0 tunesmith tune --list --target cuda:sm_90a --format json "matmul q4f16_1 A=f16 K=256 N=64 n=16" "argmax A=f32 V=5000 n=1"
[ "$(lines)" = 2 ] || fail "a workload is missing"
has "$top/out" '\{"name": "ref.fused", "points": [1-9]'
point=(template fused "argmax A=f32 V=5000 n=1" PARTS=4 THREADS=256 --format json)
if "$BIN/tunesmith" "${point[@]}" >/dev/null 2>&1; then  # where there is NVRTC
  run 0 tunesmith "${point[@]}"
  [ "$(lines)" = 1 ] || fail "one point, one line"
  has "$top/out" '"point": "native ..fused.. PARTS=4 THREADS=256", "registers": [1-9]'
fi
for command in "ops" "template --list matmul" "tune argmax" "probe" "try argmax" "build --model synthetic:tiny"; do
  # shellcheck disable=SC2086
  run 2 tunesmith $command --format xml
  has "$top/err" "not 'xml'"
done
done_testing
