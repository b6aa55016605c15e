#!/usr/bin/env bash
# A model built for GPUs on a machine that needs none, and what running it says where there is no driver.
. "$ROOT/tests/e2e/lib.sh"
export TUNESMITH_CUDA_DRIVER=/nonexistent/libcuda.so

run 0 tunesmith build --model "$tiny" --target cuda:sm_90a --out "$top/dist" --debug-dump
dir=$top/dist/tiny-q4f16_1
[ -f "$dir/tiny-q4f16_1-cuda.so" ] || fail "no library"
[ -e "$dir/tiny-q4f16_1-cuda.weights" ] && fail "packed weights without a GPU"
python3 - "$dir" <<'PY' || fail "plan"
import json, sys
plan = json.load(open(sys.argv[1] + "/debug/plan.json"))
assert plan["api"] == "cuda" and plan["gpu"] == "sm_90a" and "synthetic" not in plan
kinds = [(p["kind"], p["n_min"], p["n_max"]) for p in plan["phases"]]
most = [m for k, n, m in kinds if k == "prefill"]
assert kinds == [("decode", 1, 1)] + [("prefill", 2, m) for m in most] + [("head", 1, 1)] and most[:3] == [16, 32, 64] and most[-1] == 512 and most == sorted(most), kinds
assert all(p["times"][-1][0] == p["n_max"] and all(us > 0 for n, us in p["times"]) for p in plan["phases"][:-1]) and "times" not in plan["phases"][-1]
layers = plan["model"]["layers"]
assert len(plan["phases"][0]["steps"]) == 1 + 5 * layers and len(plan["phases"][-1]["steps"]) == 1
types = {b["name"]: b["dtype"] for b in plan["buffers"]}
assert types["h"] == "f32" and types["qkv"] == "f32" and types["qkvs"] == "f16", types
served = [json.loads(line) for line in open(sys.argv[1] + "/kernels.jsonl")]
specs = {s["spec"] for p in plan["phases"] for s in p["steps"]}
assert {s["workload"] for s in served} == specs
PY
run 3 tunesmith chat "$dir" --prompt hello
has "$top/err" 'built for NVIDIA GPUs \(sm_90a\).*no-cuda-driver'
run 3 tunesmith bench "$dir" --no-bandwidth
# A damaged one is refused for that, here too, where its kernels could not be loaded to see it.
cp -r "$dir" "$top/damaged"
python3 -c 'import sys; f = open(sys.argv[1], "r+b"); n = f.seek(0, 2); f.seek(n // 2); b = f.read(1); f.seek(n // 2); f.write(bytes([b[0] ^ 16]))' "$top/damaged/tiny-q4f16_1-cuda.so"
for command in "chat $top/damaged --prompt hello" "bench $top/damaged --no-bandwidth" \
  "build --model $tiny --target cuda:sm_90a --out $top/again --reuse-lib $top/damaged/tiny-q4f16_1-cuda.so"; do
  run 2 tunesmith $command
  has "$top/err" 'tiny-q4f16_1-cuda.so: damaged.*\[library-damaged\]'
done
[ -e "$top/again/tiny-q4f16_1" ] && fail "a damaged library was taken again"

# What a machine lacks is said with what it costs and how to get it.
run 3 tunesmith build --model "$tiny" --target cuda --out "$top/dist"
has "$top/err" 'hint: name the GPU that it is built for, --target cuda:sm_90a'
TS_FAULT=dlopen:1+ run 0 tunesmith build --model synthetic:TINY --target cuda:sm_90a --out "$top/without"
has "$top/err" '^note: native templates, .* are left out: nvrtc: not found \(looked for libnvrtc'
has "$top/err" 'hint: .*TUNESMITH_CUDA_LIBS'
grep -q ' mma$' "$top/out" && fail "a native template without its compiler"

# With pages, for old GPUs too: kernels take the table.
for arch in sm_80 sm_90a; do
  run 0 tunesmith build --model "$tiny" --target cuda:$arch --kv-cache paged:32:1024 --name "paged-$arch" --out "$top/dist" --debug-dump
  python3 - "$top/dist/paged-$arch-q4f16_1" <<'PY' || fail "plan with pages"
import json, sys
plan = json.load(open(sys.argv[1] + "/debug/plan.json"))
assert plan["memory"]["page"] == 32 and plan["memory"]["pages"] == 32, plan["memory"]
on_cache = [s for p in plan["phases"] for s in p["steps"] if "k 0" in s["args"]]
assert len(on_cache) == 1 + 2 * (len(plan["phases"]) - 2) and all(s["op"].endswith("_paged") and s["args"].count("pages") == 1 for s in on_cache)
PY
done

# A template that this machine's compiler does not understand is no reason to fail.
if "$BIN/tunesmith" template fused "argmax A=f32 V=5000 n=1" >/dev/null 2>&1; then  # where there is NVRTC
  mkdir -p "$top/home" && cp -RL "$TUNESMITH_HOME/kernels" "$top/home"
  cat >"$top/home/kernels/templates/silu_mul/ref.broken.cu" <<'CU'
/* tunesmith
doc       does not compile
start     W=1
param     W 1
launch    broken
grid      1 ; 1 ; 1
block     32
args      b0 b1
*/
extern "C" __global__ void broken(const float *x, float *y) { y[0] = nothing; }
CU
  TUNESMITH_HOME=$top/home run 0 tunesmith build --model "$tiny" --target cuda:sm_90a --out "$top/broken"
  has "$top/err" '^note: silu_mul .*: native "broken" W=1 does not compile, the default serves: .*ref.broken.cu:10: error'
  has "$top/out" '^silu_mul .* default '
fi

# Random weights are no files.
run 0 tunesmith build --model synthetic:TINY --target cuda:sm_90a --out "$top/dist"
[ -z "$(find "$top/dist/tiny-synthetic-q4f16_1" -name '*.bin')" ] || fail "files of random weights"
run 3 tunesmith chat "$top/dist/tiny-synthetic-q4f16_1" --prompt hello
run 2 tunesmith build --model "$tiny" --target cuda:sm_30 --out "$top/dist"

done_testing
