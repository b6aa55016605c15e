#!/usr/bin/env bash
# What the commands for GPU hosts print, without a GPU: a stand-in answers as tunesmith does there, in the formats of the program beside it. Names, units and arithmetic of
# the figures, and what is said where one is missing.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
unset TUNESMITH_HOME

# --- a folder laid out as a bundle, with the stand-in --------------------------------------------------------------------
bundle=$top/bundle
mkdir -p "$bundle/bin" "$bundle/tests"
cp "$BIN/bench_value" "$bundle/bin"
cp -R "$ROOT/bench" "$bundle"
cp -R "$ROOT/tests/data" "$bundle/tests"
cat >"$bundle/bin/tunesmith" <<'STAND_IN'
#!/usr/bin/env bash
# Times: 10 us for every workload. LACKS names a word; what holds it in its arguments fails, or has no result.
lacks() { [ -n "${LACKS:-}" ] && [[ " $* " == *$LACKS* ]]; }
option() { local name=$1; shift; while [ $# -gt 1 ]; do [ "$1" = "$name" ] && echo "$2" && return; shift; done; }
workloads=() verb=$1
for word; do case $word in *" "*=*) workloads+=("$word") ;; esac; done
case $verb in
  probe) echo '{"arch": "sm_90a", "ceilings": {"read": {"value": 4500, "unit": "GB/s"}, "wgmma_f16": {"value": 900000, "unit": "GFLOP/s"}, "dependent": {"value": 0.5, "unit": "us"}, "clock": {"value": 1980, "unit": "MHz"}}}' ;;
  build)
    if lacks "$@"; then echo "error: no such model" >&2; exit 1; fi
    dir=$(option --out "$@")/$(option --name "$@")-$(option --quantization "$@")
    mkdir -p "$dir/params"
    echo '{"model_config": {"vocab_size": 32000, "hidden_size": 4096, "tie_word_embeddings": false}}' >"$dir/params/mlc-chat-config.json"
    echo "7 of 24 kernels come from records, the others are default schedules" ;;
  bench)
    if lacks "$@"; then echo "error: cuda-error" >&2; exit 1; fi
    tests= dirs=0
    for word; do case $word in */models/*) dirs=$((dirs + 1)) ;; esac; done
    for p in $(option -p "$@" | tr , ' '); do [ "$p" = 0 ] || tests+=", {\"name\": \"pp$p\", \"median\": $((10 * p)).5, \"read_share\": null}"; done
    for d in $(option --depth "$@" | tr , ' '); do tests+=", {\"name\": \"tg128$([ "$d" = 0 ] || echo "@d$d")\", \"median\": $((800 + d)).25, \"read_share\": 0.75}"; done
    model="{\"weight_bytes\": 3600000000, \"read_after_gbs\": 4400.5, \"tests\": [${tests#, }]}"
    [ $dirs = 1 ] || model="{\"models\": [$model, ${model//\"read_share\"/\"ratio\": 1.0125, \"ratio_lo\": 1.01, \"ratio_hi\": 1.015, \"read_share\"}]}"
    echo "$model" ;;
  tune)
    [ ${#workloads[@]} -gt 0 ] || workloads=("a A=f32 n=1" "b A=f32 n=1" "c A=f32 n=1")
    store=$(option --store "$@")
    echo records >>"$store"
    for w in "${workloads[@]}"; do
      if lacks "$w"; then echo "error: $w: no candidate is right" >&2; failed=1; continue; fi
      printf '{"event": "result", "workload": "%s", "winner": "mma.stand", "default_ns": null, "best_ns": 10000.0, "log_ratio": null, "verdict": "no default", "trials": 5, "failed": 0, "library_ns": 0.0, "unstable": false}\n' "$w"
    done
    echo '{"event": "step", "rows": 1, "default_ns": 50000.0, "best_ns": 48000.0}'
    echo '{"event": "step", "rows": 16, "default_ns": 70000.0, "best_ns": 66000.0}'
    lacks "done" || echo '{"event": "done", "trials": 120, "wall_s": 60.00, "busy_s": 45.00, "interrupted": false, "unreached": 0}'
    exit ${failed:-0} ;;
  chain)
    if lacks "$@"; then echo "error: no record" >&2; exit 2; fi
    [ -s "$(option --store "$@")" ] || { echo "error: no store" >&2; exit 2; }
    echo "{\"layers\": 16, \"layer_ns\": $((${#workloads[@]} * 9000)).0, \"alone_ns\": $((${#workloads[@]} * 10000)).0, \"chosen_ns\": 35000.0, \"parts\": []}" ;;
  try)
    library=', {"sketch": "cublaslt", "source": "library", "outcome": "ok", "median_ns": 200000.0}'
    if lacks library; then library=; fi
    echo "{\"workload\": \"w\", \"best\": [{\"sketch\": \"a\", \"source\": \"template\", \"outcome\": \"ok\", \"median_ns\": 300000.0}, {\"sketch\": \"b\", \"source\": \"template\", \"outcome\": \"ok\", \"median_ns\": 190000.0}$library], \"candidates\": []}" ;;
  *) echo "stand-in: $verb" >&2; exit 2 ;;
esac
STAND_IN
cat >"$bundle/bin/bench_agree" <<'STAND_IN'
#!/usr/bin/env bash
printf 'same_texts 5 of_5\nsame_choices 319 of_320\nlargest_gap 0.0001 ratio\n'
exit "${DISAGREES:-0}"
STAND_IN
chmod +x "$bundle/bin/tunesmith" "$bundle/bin/bench_agree"
printf '#!/bin/sh\nexit 1\n' >"$bundle/bin/python3"  # no PyTorch
chmod +x "$bundle/bin/python3"

# figures STATUS COMMAND...: every line is a name, a number and a unit. Raw output goes to a folder of its own.
figures() {
  local status=$1 command=$2
  shift 2
  rm -rf "$top/raw"
  run "$status" "$bundle/bench/$command" --out "$top/raw" "$@"
  if grep -vE '^[a-z0-9_x]+ [0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)? [A-Za-z/]+[_0-9]*( \([a-z.]+\))?$' "$top/out" >"$top/odd"; then fail "$command prints other than figures:"; cat "$top/odd"; fi
  has "$top/out" '^read_roof 4500 GB/s$'
  has "$top/out" '^dependent_launch 0.5 us$'
}
# line TEXT: exactly this line.
line() { grep -qxF -- "$1" "$top/out" || { fail "no line '$1' in:"; cat "$top/out"; }; }
lines() { [ "$(wc -l <"$top/out")" = "$1" ] || { fail "$(wc -l <"$top/out") lines instead of $1:"; cat "$top/out"; }; }

# --- products --------------------------------------------------------------------------------------------------------------
figures 0 cuda-gemv 4096x4096
line 'gemv_4096x4096 10.00 us'
line 'gemv_4096x4096_weights 9.4 MB'
line 'gemv_4096x4096_rate 947.0 GB/s'                        # (4096 * 4096 * 4.5 / 8 + 4 * 8192) / 10000
line 'gemv_4096x4096_of_read_roof 0.210 ratio (mma.stand)'
lines 8
figures 0 cuda-gemv
lines $((4 + 4 * 11 + 7 * 2))
line 'q4f16_1_m1_layer_7b 36.00 us'
line 'q4f16_1_m1_layer_7b_rate 3162.1 GB/s'                  # 202375168 weights of 4.5 / 8 bytes in 36000 ns
line 'q4f16_1_m1_layer_7b_share 0.704 ratio'                 # and 4 bytes of 65792 activations, at 4500 GB/s
line 'q4f16_1_m1_layer_7b_alone 40.00 us'
line 'q4f16_1_m1_layer_7b_over_alone 0.900 ratio'
line 'q4f16_1_m1_layer_7b_chosen 35.00 us'
line 'q4f16_1_m1_layer_7b_chosen_share 0.724 ratio'
LACKS="N=22016" figures 3 cuda-gemv --quick
lines $((4 + 4 * 2))
has "$top/err" '^cuda-gemv: 22016x4096 has no result'
has "$top/err" '^cuda-gemv: a layer of 7b with 1 rows has no result'

figures 0 cuda-gemm 4096x4096
line 'gemm_16_4096x4096_of_roof 0.216 ratio (mma.stand)'     # bytes: 4096 * 4096 * 4.5 / 8 + 2 * 16 * 8192 at 4500 GB/s
line 'gemm_2048_4096x4096_rate 6871.9 TFLOP/s'
line 'gemm_2048_4096x4096_of_roof 7.635 ratio (mma.stand)'   # operations at 900 TFLOP/s
line 'f16_4096_schedule 723.4 TFLOP/s'                       # 2 * 4096^3 / 190 us: the faster of the two
line 'f16_4096_cublaslt 687.2 TFLOP/s'
line 'f16_4096_schedule_over_cublaslt 1.053 ratio'
lines $((4 + 9 + 8))
LACKS=library figures 0 cuda-gemm --quick
has "$top/err" 'no vendor library to compare with'
lines $((4 + 9 + 2 + 7 * 2))
figures 0 cuda-gemm
line 'q4f16_1_m128_layer_7b_share 1.599 ratio'               # operations at 900 TFLOP/s
line 'q4f16_1_m64_layer_8b_rate 3407.9 GB/s'
lines $((4 + 9 * 4 + 4 * 2 + 7 * 5))

# --- attention ---------------------------------------------------------------------------------------------------------------
figures 0 cuda-attention --pages 64
line 'attention_decode_4096_kv32_rate 6710.9 GB/s'           # 2 * 2 * 32 * 128 * 4096 / 10000
line 'attention_decode_pages64_32768_kv8_rate 13421.8 GB/s'
line 'attention_prefill_2048_rate 3436.0 TFLOP/s'            # 2 * 32 * 128 * 2048^2 / 10 us
line 'attention_prefill_pages64_8192_of_tensor_rate 61.084 ratio (mma.stand)'
lines $((4 + 2 * 3 * 6))
LACKS="P=2048" figures 3 cuda-attention --quick
has "$top/err" 'prefill of 2048 tokens has no result'

# --- models ------------------------------------------------------------------------------------------------------------------
figures 0 cuda-decode Llama-2-7B Qwen2-0.5B
line 'tiny_greedy_texts_as_on_cpu 5 of_5'
line 'tiny_greedy_choices_as_on_cpu 319 of_320'
line 'llama_2_7b_decode_512 1312.25 tokens/s'
line 'llama_2_7b_read_share 0.75 ratio'
line 'llama_2_7b_read_beside 4400.5 GB/s'
line 'qwen2_0_5b_kernels_from_records 7 of_24'
lines $((4 + 2 + 2 * 4))
figures 0 cuda-decode --model "small=$tiny" --quick
line 'small_greedy_texts_as_on_cpu 5 of_5'
line 'small_decode_512 1312.25 tokens/s'
DISAGREES=1 figures 3 cuda-decode --quick                    # the figure stands, and the command fails
line 'llama_2_7b_decode_512 1312.25 tokens/s'
LACKS=synthetic figures 3 cuda-decode --quick
has "$top/err" 'cannot build synthetic:Llama-2-7B for cuda'

figures 0 cuda-prefill
line 'llama_2_7b_prefill_2048 20480.5 tokens/s'
line 'llama_2_7b_prefill_16 160.5 tokens/s'
line 'llama_2_7b_prefill_2048_rate 251.4 TFLOP/s'            # 2 * 20480.5 * (3.6e9 * 8 / 4.5 - 2 * 32000 * 4096)
line 'llama_2_7b_prefill_2048_of_tensor_rate 0.279 ratio'
lines $((4 + 2 + 4 * 3 + 1))

# --- tuning --------------------------------------------------------------------------------------------------------------------
figures 0 cuda-tune --store "$top/made.db"
line 'default_decode_512 1312.25 tokens/s'
line 'workloads 3 workloads'
line 'candidates 120 candidates'
line 'tuning_time 60 s'
line 'device_busy 0.750 ratio'
line 'tuned_step 48.000 us'
line 'default_step 50.000 us'
line 'tuned_pass_16 66.000 us'
line 'default_pass_16 70.000 us'
line 'tuned_prefill_2048 20480.5 tokens/s'
line 'tuned_over_default_decode 1.0125 ratio'
line 'tuned_over_default_decode_from 1.0100 ratio'
line 'tuned_over_default_decode_to 1.0150 ratio'
line 'tuned_over_default_prefill 1.0125 ratio'
lines $((4 + 2 + 4 + 4 + 4 + 6))
[ -s "$top/made.db" ] || fail "no store"
run 2 "$bundle/bench/cuda-tune" --store "$top/made.db" --out "$top/raw"
LACKS="done" figures 3 cuda-tune
has "$top/err" 'tuning did not end'

# --- the stand-in's words are the program's ----------------------------------------------------------------------------------
export TUNESMITH_HOME=$ROOT
run 0 tunesmith tune "silu_mul A=f32 I=8 n=2" --target cpu --trials 2 --store "$top/real.db" --format json
has "$top/out" '^\{"event": "result", "workload": "silu_mul A=f32 I=8 n=2", "winner": ".*"best_ns": [0-9.]+, '
has "$top/out" '^\{"event": "done", "trials": [0-9]+, "wall_s": [0-9.]+, "busy_s": [0-9.]+, '
run 0 tunesmith try "silu_mul A=f32 I=8 n=2" --points 2 --format json
for path in best.0.source best.0.median_ns; do "$BIN/bench_value" "$top/out" "$path" >/dev/null || fail "try has no $path"; done
build_tiny q4f16_1
has "$top/out" '^[0-9]+ of [0-9]+ kernels come from records'
for path in model_config.vocab_size model_config.hidden_size model_config.tie_word_embeddings; do
  "$BIN/bench_value" "$dir/params/mlc-chat-config.json" "$path" >/dev/null || fail "the configuration has no $path"
done
run 0 tunesmith bench "$dir" -p 8 -n 8 --depth 0,4 -r 1 --format json
for path in tests.0.median tests.name=pp8.median tests.name=tg8.median tests.name=tg8@d4.median tests.name=tg8@d4.read_share weight_bytes read_after_gbs; do
  "$BIN/bench_value" "$top/out" "$path" >/dev/null || fail "bench has no $path"
done
run 0 tunesmith bench "$dir" "$dir" -p 8 -n 8 --depth 0,4 -r 2 --format json
for path in models.0.tests.name=tg8@d4.median models.1.tests.name=pp8.ratio models.1.tests.name=tg8@d4.ratio_lo models.1.tests.name=tg8@d4.ratio_hi; do
  "$BIN/bench_value" "$top/out" "$path" >/dev/null || fail "bench of two has no $path"
done
done_testing
