#!/usr/bin/env bash
# Tuning that is killed or interrupted leaves an intact store and goes on from it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
store=$top/s.db
# Several: of one workload a machine without wide vectors has few candidates.
work=("matmul q4f16_1 A=f32 K=128 N=352 n=1" "matmul q0f32 A=f32 K=128 N=352 n=8" "matmul q0f32 A=f32 K=128 N=192 n=4" "softmax A=f32 V=256 inv_temperature=1.0 n=1" "silu_mul A=f32 I=512 n=16")

# begin: a long tuning run in the background; returns when it has measured something.
begin() {
  tunesmith tune "${work[@]}" --store "$store" --trials 100000 --budget 1h >"$top/out" 2>"$top/err" </dev/null &
  pid=$!
  for _ in $(seq 1200); do
    n=$(measurements)
    [ "${n:-0}" -gt "$1" ] && return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  fail "tuning measured nothing in two minutes"
  tail -n 3 "$top/err"
}
measurements() { python3 -c 'import sqlite3, sys
try: print(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("select count(*) from measurement").fetchone()[0])
except sqlite3.Error: print(0)' "$store"; }

begin 2
kill -9 "$pid"
wait "$pid" 2>/dev/null
kept=$(measurements)
run 0 tunesmith db check --store "$store"
[ "$kept" -gt 2 ] || fail "measurements were lost: $kept"

begin $((kept + 20))
kill -INT "$pid"
wait "$pid"
[ $? = 130 ] || fail "an interrupted run must exit with 130"
has "$top/err" '^interrupted: .* Ctrl-C again ends at once$'
run 0 tunesmith db check --store "$store"

run 0 tunesmith tune "${work[@]}" --store "$store" --trials 4 --format json
has "$top/out" '"event": "result"'
run 0 tunesmith db check --store "$store"
# interrupted WORDS COMMAND...: at one Ctrl-C (--foreground: timeout would send two), soon after its start, COMMAND ends with 130 and says WORDS.
# On a slow machine a command may not have begun by then: Ctrl-C ends it as any program, without a word, and comes later the next time.
interrupted() {
  local words=$1 got after
  shift
  for after in 0.7 3 10; do
    timeout --foreground --preserve-status -s INT -k 60 $after "$@" >"$top/out" 2>"$top/err" </dev/null
    got=$?
    [ $got = 130 ] && [ ! -s "$top/out" ] && [ ! -s "$top/err" ] || break
  done
  [ $got = 130 ] || { fail "exit status $got, expected 130: $*"; tail -n 3 "$top/out" "$top/err"; }
  cat "$top/out" >>"$top/err"
  has "$top/err" "$words"
}
build_tiny q4f16_1
for _ in $(seq 400); do cat "$ROOT/tests/data/text/stories.txt"; done >"$top/long.txt"
interrupted '\[interrupted\]' tunesmith perplexity "$dir" --text "$top/long.txt"
interrupted '\[interrupted\]' tunesmith bench "$dir" -n 400 -p 0 -r 1000 --no-bandwidth
interrupted '\[interrupted\]' tunesmith db query "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c" --store "$store"
interrupted '\[interrupted\]' tunesmith schedule "matmul q4f16_1 A=f32 K=4096 N=4096 n=1" --run --quiet
interrupted '\[interrupted\]' tunesmith probe --time 60s
interrupted '\[interrupted\]' tunesmith schedule "matmul q4f16_1 A=f32 K=4096 N=4096 n=1" --measure --quiet
if tunesmith template fused "argmax A=f32 V=5000 n=1" >/dev/null 2>&1; then  # where there is NVRTC
  interrupted '\[interrupted\]' tunesmith template mma.gemv "matmul q4f16_1 A=f16 K=4096 N=4096 n=1" --all
fi
interrupted ' 0 wrong' tunesmith try "matmul q4f16_1 A=f32 K=8192 N=8192 n=1" --points 64
# A report whose gnuplot does not come to an end: the folder is not begun, and one from before is as it was.
mkdir -p "$top/fake" "$top/before"
printf '#!/bin/sh\nexec sleep 100\n' >"$top/fake/gnuplot"
chmod +x "$top/fake/gnuplot"
echo kept >"$top/before/index.html"
for page in before page; do interrupted '\[interrupted\]' env "PATH=$top/fake:$PATH" tunesmith report --store "$store" --out "$top/$page"; done
[ "$(ls -A "$top/before")" = index.html ] && [ "$(cat "$top/before/index.html")" = kept ] || fail "an interrupted report changed the one before"
[ -z "$(ls -dA "$top"/page "$top"/.page.* 2>/dev/null)" ] || fail "an interrupted report left something"
done_testing
