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
has "$top/out" '"limits": \["max .ws. < 2", "max .ws. >= 0.00025"\]'
run 0 tunesmith tune --list --target cuda:sm_90a --format json "matmul q4f16_1 A=f16 K=256 N=64 n=16" "argmax A=f32 V=5000 n=1"
[ "$(lines)" = 2 ] || fail "a workload is missing"
has "$top/out" '\{"name": "ref.fused", "points": [1-9]'
point=(template fused "argmax A=f32 V=5000 n=1" PARTS=4 THREADS=256 --format json)
if "$BIN/tunesmith" "${point[@]}" >/dev/null 2>&1; then  # where there is NVRTC
  run 0 tunesmith "${point[@]}"
  [ "$(lines)" = 1 ] || fail "one point, one line"
  has "$top/out" '"point": "native ..fused.. PARTS=4 THREADS=256", "registers": [1-9]'
fi
# Names with quotes, commas and newlines come out as one value.
build_tiny q4f16_1 --name 'ti"n,y $x'
dir="$top/dist/ti\"n,y \$x-q4f16_1"
run 0 tunesmith bench "$dir" -p 4 -n 4 -r 1 --no-bandwidth --format csv --store "$top/s.db"
fields() { python3 -c 'import csv, sys; rows = list(csv.reader(open(sys.argv[1], newline=""))); print(*{len(r) for r in rows}, rows[-1][0])' "$top/out"; }
[ "$(fields)" = '10 ti"n,y $x-q4f16_1' ] || fail "bench CSV: $(fields)"
run 0 tunesmith compare "$top/s.db" "$top/s.db" --format csv
[ "$(fields | cut -c 1-15)" = '10 ti"n,y $x-q4' ] || fail "compare CSV: $(fields)"
odd='select 1 as "a""b,c", '"'x\"y,z'"' || char(10) as "d e", 1e999 as f'
run 0 tunesmith db query "$odd" --store "$top/s.db" --format csv
[ "$(fields | tail -n 1)" = "3 1" ] || fail "query CSV: $(fields)"
run 0 tunesmith db query "$odd" --store "$top/s.db" --format jsonl
python3 -c 'import json, sys; assert json.load(open(sys.argv[1])) == {"a\"b,c": 1, "d e": "x\"y,z\n", "f": None}' "$top/out" || fail "query JSON"
# The command that a record was made by can be given to a shell again.
run 0 tunesmith db query "select reproduce from run limit 1" --store "$top/s.db"
again=$(tail -n 1 "$top/out")
[ "$(bash -c "set -- $again; printf '%s|%s|%s' \"\$1\" \"\$2\" \"\$3\"")" = "tunesmith|bench|$dir" ] || fail "the command is not what was typed: $again"
for command in "ops" "template --list matmul" "tune argmax" "probe" "try argmax" "build --model synthetic:tiny"; do
  # shellcheck disable=SC2086
  run 2 tunesmith $command --format xml
  has "$top/err" "not 'xml'"
done
done_testing
