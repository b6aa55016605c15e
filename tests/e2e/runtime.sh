#!/usr/bin/env bash
# The commands of the runtime on a built model: chat and its commands, bench in every format, perplexity, probe, and what they refuse.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
build_tiny q4f16_1

# chat: the same seed gives the same text on any number of threads; commands; another model library.
run 0 tunesmith chat "$dir" --prompt "Tell me a story about Sam." --temperature 1.5 --seed 5 --max-tokens 24 --threads 1
cp "$top/out" "$top/one"
run 0 tunesmith chat "$dir" --prompt "Tell me a story about Sam." --temperature 1.5 --seed 5 --max-tokens 24 --threads 2
cmp -s "$top/out" "$top/one" || fail "the number of threads changed the text"
run 0 tunesmith chat "$dir" --raw --prompt "Anna is" --temperature 0 --max-tokens 8 --stats
has "$top/err" 'answer: 8 tokens.*length limit'
printf '/help\n/set\n/set temperature=0\n/set max_tokens=3\n/set colour=red\nWho is Mia?\n/stats\n/metrics\n/reload\n/metrics\n/reload %s\n' "$top/nowhere" |
  tunesmith chat "$dir" >"$top/out" 2>"$top/err"
[ $? = 3 ] || fail "/reload of nothing should end with status 3"
has "$top/out" '^/reload'
has "$top/out" '^temperature='
has "$top/out" 'answer: 3 tokens'
has "$top/out" '^turns 1 count'
has "$top/out" '^op_time\{phase="decode",workload="matmul'
has "$top/err" "no setting 'colour'"
has "$top/err" "error: .*nowhere"
for wrong in "--temperature -1" "--top-p 0" "--top-k -2" "--threads -1" "--max-tokens -1" "--nonsense"; do
  # shellcheck disable=SC2086
  run 2 tunesmith chat "$dir" --prompt x $wrong
done
run 2 tunesmith chat
run 2 tunesmith chat "$dir" --prompt "$(printf 'word %.0s' $(seq 600))"
has "$top/err" 'do not fit in the context of 512 .*context-full'
has "$top/err" 'hint: shorten the prompt, or build the model with a larger --max-seq-len'

# bench: tests and formats.
run 0 tunesmith bench "$dir" -p 16,32 -n 4 --depth 0,64 -r 6 --format json --no-bandwidth
[ "$(bench_value "$top/out" tests.name=pp32@d64.tokens tests.name=tg4@d64.depth threads | wc -l)" = 3 ] || fail "bench JSON"
python3 - "$top/out" <<'PY' || fail "bench numbers"
import json, sys
b = json.load(open(sys.argv[1]))
assert len(b["tests"]) == 6 and b["schedule"] == "default" and b["weight_bytes"] > 500000 and b["kv_bytes"] > 0
for t in b["tests"]:
    assert len(t["samples_ns"]) == 6 and t["ci_lo"] <= t["median"] <= t["ci_hi"]
    speeds = sorted(t["tokens"] / n * 1e9 for n in t["samples_ns"])
    assert abs((speeds[2] + speeds[3]) / 2 - t["median"]) < 1e-6 * t["median"]
PY
run 0 tunesmith bench "$dir" -p 8 -n 2 -r 1 --format csv --no-bandwidth
[ "$(wc -l <"$top/out")" = 3 ] || fail "bench CSV"
run 0 tunesmith bench "$dir" -p 8 -n 0 -r 1 --format md --no-bandwidth
has "$top/out" '^\| -+ \|'
run 0 tunesmith tune "silu_mul A=f32 I=352 n=1" --store "$top/b.db" --trials 1
run 0 tunesmith bench "$dir" -p 8 -n 2 -r 2 --no-bandwidth --store "$top/b.db"
run 0 tunesmith db query "select count(*) from run" --store "$top/b.db"
has "$top/out" '^2$'
run 0 tunesmith db query "select k.phase, k.calls from run_kernel k" --store "$top/b.db"
[ "$(tail -n 1 "$top/out")" = "$(printf 'decode\t8')" ] || fail "the store's one kernel, four layers and two tokens: $(tail -n 1 "$top/out")"
# Several models in turn: what holds of each, and the ratio to the first.
cp -R "$dir" "$top/dist/again"
run 0 tunesmith bench "$dir" "$top/dist/again" "$dir" -p 16 -n 4 --depth 0,64 -r 7 --loads 3 --format json --no-bandwidth
python3 - "$top/out" <<'PY' || fail "bench of several models"
import json, math, sys
m = json.load(open(sys.argv[1]))["models"]
assert [x["dir"].split("/")[-1] for x in m] == [m[0]["dir"].split("/")[-1], "again", m[0]["dir"].split("/")[-1]]
assert len({x["threads"] for x in m}) == 1 and all(len(x["tests"]) == 4 for x in m)
for i, t in enumerate(m[0]["tests"]):
    assert "ratio" not in t
    for x in m[1:]:
        u = x["tests"][i]
        logs = [math.log(a / b) for a, b in zip(t["samples_ns"], u["samples_ns"])]
        assert len(logs) == 21
        loads = [math.exp(sum(logs[7 * l:7 * l + 7]) / 7) for l in range(3)]
        assert all(u["ratio_lo"] <= x * 1.0001 and x <= u["ratio_hi"] * 1.0001 for x in loads), (loads, u)
        pairs = sorted([math.exp(sum(logs[r::7]) / 3) for r in range(7)] + loads)
        assert u["name"] == t["name"] and u["ratio_lo"] <= u["ratio"] <= u["ratio_hi"]
        assert pairs[0] <= u["ratio_lo"] * 1.0001 and u["ratio_hi"] <= pairs[-1] * 1.0001, (pairs, u)
PY
run 2 tunesmith bench "$dir" --loads 11 -r 100 --no-bandwidth
has "$top/err" '-r times --loads is 1 to 1000'
run 0 tunesmith bench "$dir" "$top/dist/again" -p 8 -n 2 -r 2 --format csv --no-bandwidth
[ "$(wc -l <"$top/out")" = 5 ] || fail "bench CSV of two models"
has "$top/out" ',ratio,95% of ratio$'
run 0 tunesmith bench "$dir" "$top/dist/again" -p 8 -n 0 -r 1 --no-bandwidth
has "$top/out" 'again .* [0-9.]+ +[0-9.]+ to [0-9.]+$'
run 2 tunesmith bench "$dir" "$top/dist/again" --library "$top/dist/again/none.so" --no-bandwidth
for wrong in "-p 100000" "-p x" "-p 0 -n 0" "-r 0" "--format xml" "--depth 510"; do
  # shellcheck disable=SC2086
  run 2 tunesmith bench "$dir" --no-bandwidth $wrong
done

# A cache in pages: the same text after every prompt, the same perplexity, and what cannot be.
run 0 tunesmith build --model "$tiny" --kv-cache paged:16:640 --target cpu --name paged --out "$top/dist"
paged=$top/dist/paged-q4f16_1
for prompt in "A" "Once upon a time" "$(printf 'The cat sat on the mat. %.0s' $(seq 40))"; do
  for penalty in 1 1.2; do
    options=(--raw --temperature 0 --repetition-penalty "$penalty" --max-tokens 150 --prompt "$prompt")
    run 0 tunesmith chat "$dir" "${options[@]}" && cp "$top/out" "$top/own"
    run 0 tunesmith chat "$paged" "${options[@]}"
    cmp -s "$top/out" "$top/own" || fail "pages changed the text after '${prompt:0:20}'"
  done
done
run 2 tunesmith chat "$paged" --prompt "$(printf 'word %.0s' $(seq 600))"
has "$top/err" 'do not fit in the context of 512 .*context-full'
run 0 tunesmith bench "$paged" -p 16,32 -n 4 --depth 0,64 -r 2 --no-bandwidth
run 2 tunesmith build --model "$tiny" --kv-cache paged:8 --out "$top/dist"
has "$top/err" 'multiples of 16.*bad-cache'
run 2 tunesmith build --model "$tiny" --kv-cache paged:16:256 --out "$top/dist"
has "$top/err" 'less than one sequence may have, 512.*bad-cache'
run 2 tunesmith build --model "$tiny" --kv-cache pages --out "$top/dist"
run 0 tunesmith try --judge --points 2 "attention_paged A=f32 C=f16 D=32 H=4 HK=2 P=128 PAGE=32 POOL=9 n=1 t=0..127" \
  "attention_paged A=f32 C=f16 D=32 H=4 HK=2 P=128 PAGE=16 POOL=9 n=8..32%8 t=0..96" "rope_append_paged A=f32 C=f16 D=32 H=4 HK=2 P=128 PAGE=32 POOL=4 n=8..32%8 t=0..96" \
  "rope_attention_rows_paged A=f32 C=f16 D=32 H=4 HK=2 P=128 PAGE=64 POOL=3 n=1 t=0..127" "attention_rows_paged A=f32 C=f16 D=32 H=4 HK=2 P=128 PAGE=16 POOL=30 n=8..32%8 t=0..96" \
  "rope_append_rows_paged A=f32 C=f16 D=32 H=4 HK=2 P=128 PAGE=32 POOL=4 n=8..32%8 t=0..96"
has "$top/out" ' 0 wrong, 0 refused$'
run 0 tunesmith tune --model "$tiny" --kv-cache paged:16 --list
has "$top/out" 'attention_paged .*PAGE=16 POOL=32'

# perplexity: a text like the training data is predicted well, its words in another order are not.
head -c 3000 "$ROOT/tests/data/text/stories.txt" >"$top/text"
run 0 tunesmith perplexity "$dir" --text "$top/text" --window 128 --format json
good=$(bench_value "$top/out" perplexity)
tr ' ' '\n' <"$top/text" | sort -R --random-source=<(yes) | tr '\n' ' ' >"$top/shuffled"
run 0 tunesmith perplexity "$dir" --text "$top/shuffled" --window 128
bad=$(awk '$1 == "perplexity" { print $2 }' "$top/out")
awk -v g="$good" -v b="$bad" 'BEGIN { exit !(g > 1 && g < 3 && b > 10 * g) }' || fail "perplexity $good, shuffled $bad"
run 0 tunesmith perplexity "$paged" --text "$top/text" --window 128 --format json
[ "$(bench_value "$top/out" perplexity)" = "$good" ] || fail "perplexity in pages"
run 3 tunesmith perplexity "$dir" --text "$top/nowhere"
run 2 tunesmith perplexity "$dir"

# probe.
run 0 tunesmith probe --time 0.5s --format json
[ "$(bench_value "$top/out" ceilings.read.value ceilings.copy.value | wc -l)" = 2 ] || fail "probe JSON"
done_testing
