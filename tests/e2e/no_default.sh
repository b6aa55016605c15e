#!/usr/bin/env bash
# A default schedule that is refused is one refused candidate: the others are tuned, and no time stands where the default's would. When nothing
# else is left the workload fails, the others beside it do not.
. "$ROOT/tests/e2e/lib.sh"
cp -RL "$ROOT/kernels" "$top/kernels" || exit 1
templates=$top/kernels/templates
export TUNESMITH_HOME=$top
printf 'trace 1\nb = get_block "nothing"\n' >"$templates/silu_mul/default.trace"
work="silu_mul A=f32 I=64 n=4"

run 0 tunesmith tune "$work" --threads 1 --trials 3 --store "$top/s.db" --format json
has "$top/err" 'warning: silu_mul .*the default schedule is refused: .*nothing.* \[no-such-block\]'
python3 - "$top/out" <<'PY' || fail "what is said of a workload without a default"
import json, sys
events = [json.loads(l) for l in open(sys.argv[1])]
result = [e for e in events if e["event"] == "result"]
assert len(result) == 1, result
r = result[0]
assert r["default_ns"] is None and r["log_ratio"] is None and r["best_ns"] > 0, r
assert r["verdict"] == "no default" and r["winner"] != "default", r
assert all(e["default_ns"] is None for e in events if e["event"] == "batch"), events
PY
run 0 tunesmith tune "$work" --threads 1 --trials 3 --store "$top/s.db"
has "$top/out" '^silu_mul A=f32 I=64 n=4 +- +[0-9.]+ +- +no default +ref\.'

# not even another candidate: an operator of which rules make nothing
mkdir "$templates/total" && cp "$templates/silu_mul/default.trace" "$templates/total/"
cat >"$top/kernels/ops/total.tir" <<'TIR'
op total {
  doc "the sum of all"
  param K
  type A
  tolerance 0.001
}
func main(x: A[K], y: out A[1]) {
  for k in 0..K {
    block sum(vk: R = k) {
      init { y[0] = cast(A, 0.0) }
      y[0] = y[0] + x[vk]
    }
  }
}
TIR
run 1 tunesmith tune "$work" "total A=f32 K=8" --threads 1 --trials 3 --store "$top/s.db"
has "$top/err" 'total A=f32 K=8: the default schedule is refused, and so is every other candidate'
has "$top/out" '^silu_mul A=f32 I=64 n=4 '
done_testing
