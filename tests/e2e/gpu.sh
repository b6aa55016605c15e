#!/usr/bin/env bash
# On a machine with a GPU: the tiny model says there what it says on the CPU. Skipped, with the reason, without one.
. "$ROOT/tests/e2e/lib.sh"

if ! tunesmith build --model "$tiny" --target cuda --out "$top/dist" >"$top/out" 2>"$top/err"; then
  grep -qE '\[(no-cuda-driver|no-gpu)\]' "$top/err" && { echo "skipped: $(head -n 1 "$top/err")"; exit 77; }
  cat "$top/err"
  fail "no build for the GPU"
  exit 1
fi
gpu=$top/dist/tiny-q4f16_1
run 0 tunesmith build --model "$tiny" --target cpu --name tiny-cpu --out "$top/dist"
cpu=$top/dist/tiny-cpu-q4f16_1

# same_texts MODEL OTHER WHAT PROMPT...: greedy texts of both, with and without a penalty.
same_texts() {
  local one=$1 other=$2 what=$3 prompt penalty options
  shift 3
  for prompt; do
    for penalty in 1 1.2; do
      options=(--raw --temperature 0 --repetition-penalty "$penalty" --max-tokens 64 --prompt "$prompt")
      tunesmith chat "$one" "${options[@]}" >"$top/one.txt" 2>"$top/err" || fail "chat with ${one##*/}: $(head -n 1 "$top/err")"
      tunesmith chat "$other" "${options[@]}" >"$top/other.txt" 2>"$top/err" || fail "chat with ${other##*/}: $(head -n 1 "$top/err")"
      cmp -s "$top/one.txt" "$top/other.txt" || { fail "another text $what after '${prompt:0:40}'"; diff "$top/one.txt" "$top/other.txt"; }
    done
  done
}
# Prompts of one row, a few, and several passes.
long=$(for _ in $(seq 60); do printf 'The cat sat on the mat and looked at the moon. '; done)
longer="The little dog ran to the big tree, and then it saw a bird that could talk."
same_texts "$cpu" "$gpu" "on the GPU" "A" "Once upon a time" "$longer" "${long:0:1200}"

# A cache in pages says the same.
run 0 tunesmith build --model "$tiny" --target cuda --kv-cache paged:16 --name paged --out "$top/dist"
same_texts "$gpu" "$top/dist/paged-q4f16_1" "with pages" "A" "$longer" "${long:0:1200}"

run 2 tunesmith chat "$gpu" --raw --prompt "$long"
has "$top/err" 'do not fit in the context of 512 .*context-full'

# Drawn on the device: the same seed gives the same text, another one another.
for options in "--temperature 0.8 --top-p 0.9" "--temperature 1 --top-k 20" "--temperature 1.2 --top-k 50 --top-p 0.8" "--temperature 1"; do
  for seed in 1 1 2; do
    # shellcheck disable=SC2086
    tunesmith chat "$gpu" --raw $options --seed $seed --max-tokens 48 --prompt "Once upon a time" >>"$top/seed$seed" 2>"$top/err" || fail "chat: $(head -n 1 "$top/err")"
    [ -f "$top/first" ] || mv "$top/seed1" "$top/first"
  done
  cmp -s "$top/first" "$top/seed1" || fail "one seed, two texts: $options"
  cmp -s "$top/first" "$top/seed2" && fail "two seeds, one text: $options"
  rm -f "$top/first" "$top"/seed?
done
# With top-k 1 a draw is greedy.
tunesmith chat "$gpu" --raw --temperature 1 --top-k 1 --seed 5 --max-tokens 48 --prompt "Once upon a time" >"$top/one" 2>"$top/err"
tunesmith chat "$gpu" --raw --temperature 0 --max-tokens 48 --prompt "Once upon a time" >"$top/greedy" 2>"$top/err"
cmp -s "$top/one" "$top/greedy" || fail "top-k 1 is not greedy"

head -c 3000 "$(find "$ROOT/tests/data/text" -type f | sort | head -n 1)" >"$top/text"
perplexity() { tunesmith perplexity "$1" --text "$top/text" --window 128 2>"$top/err" | awk '$1 == "perplexity" { print $2 }'; }
awk -v x="$(perplexity "$cpu")" -v y="$(perplexity "$gpu")" 'BEGIN { exit !(x > 0 && y > 0 && x / y > 0.99 && x / y < 1.01) }' || fail "perplexity"
run 0 tunesmith bench "$gpu" -p 16,200 -n 32 --depth 0,64 -r 3 --store "$top/b.db" --format json
[ "$(bench_value "$top/out" device)" != cpu ] || fail "the speed of the CPU"
for i in 0 1 2 3 4 5; do
  awk -v x="$(bench_value "$top/out" tests.$i.median)" 'BEGIN { exit !(x > 0) }' || fail "test $i has no speed"
done

# Kernels one behind the other: hardly less time than each alone is possible, and hardly more.
run 0 tunesmith chain "matmul q4f16_1 A=f16 K=1024 N=3072 n=16" "matmul q4f16_1 A=f16 K=3072 N=1024 n=16" --points 2 --format json
awk -v layer="$(bench_value "$top/out" layer_ns)" -v alone="$(bench_value "$top/out" alone_ns)" 'BEGIN { exit !(layer > 0 && layer > alone / 3 && layer < alone * 3) }' || fail "a layer of two products: $(head -c 200 "$top/out")"
done_testing
