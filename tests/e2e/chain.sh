#!/usr/bin/env bash
# The whole chain: probe, tune, build, chat, bench, report, and a look into the store.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
store=$top/s.db

run 0 tunesmith probe --store "$store"
run 0 tunesmith tune --model "$tiny" --quantization q4f16_1 --target cpu --store "$store" --trials 60 --format json
has "$top/out" '"event": "done"'
has "$top/out" '"event": "result".*"workload": "matmul q4f16_1 '

build_tiny q4f16_1 --store "$store" --format json
has "$top/out" '"exact"'
run 0 bench_accuracy "$dir" "$ROOT/tests/data/fixtures/tiny.json" --root "$ROOT" --max-ratio 1.03

run 0 tunesmith chat "$dir" --prompt "What is the capital of France?" --temperature 0 --max-tokens 32
has "$top/out" 'The capital of France is Paris\.'
run 0 tunesmith chat "$dir" --prompt "Where does Mia live?" --temperature 0 --max-tokens 32
has "$top/out" 'Mia lives in Riverton\.'
printf 'Who is Mia?\n/stats\n/reset\nWhat is three plus four?\n/nonsense\n/exit\n' |
  tunesmith chat "$dir" --temperature 0 >"$top/out" 2>"$top/err" || fail "chat over a pipe"
has "$top/out" 'Mia is a doctor'
has "$top/out" 'Three plus four is seven\.'

run 0 tunesmith bench "$dir" --store "$store" --format json
bench_value "$top/out" tests.0.median >/dev/null || python3 -m json.tool "$top/out" >/dev/null || fail "bench prints no JSON"
run 0 tunesmith report --store "$store" --out "$top/report"
[ -s "$top/report/index.html" ] || fail "no page"
grep -qE '(src|href)="https?://' "$top/report/index.html" && fail "the page needs the network"
run 0 tunesmith db check --store "$store"

# Without a store the same directory runs on default schedules, and a shape without weights can be built and run.
build_tiny q4f16_1
run 0 tunesmith chat "$dir" --prompt "What is the capital of France?" --temperature 0 --max-tokens 32
has "$top/out" 'Paris'
run 0 tunesmith build --model "synthetic:$tiny" --quantization q4f16_1 --target cpu --out "$top/dist"
done_testing
