#!/usr/bin/env bash
# tunesmith schedule: reports, reduced and compared traces, explanations, measuring, and the interactive mode over a pipe.
# shellcheck source=tests/e2e/lib.sh
. "$ROOT/tests/e2e/lib.sh"
cd "$top" || exit 1
export XDG_STATE_HOME=$top/state

cat >mm.tir <<'TIR'
func main(n: dim(1..64), a: f32[n, 32], b: f32[32, 24], c: out f32[n, 24]) {
  for i in 0..n, j in 0..24, k in 0..32 {
    block mm(vi: S = i, vj: S = j, vk: R = k) {
      init { c[vi, vj] = 0.0 }
      c[vi, vj] = c[vi, vj] + a[vi, vk] * b[vk, vj]
    }
  }
}
TIR
cat >x.trace <<'TRACE'
trace 1
b = get_block "mm"
i, j, k = get_loops b
t = sample_categorical [2, 4, 8] decision=[5]
jo, ji = split j [_, t]
vectorize k
unused = get_block "mm"
parallel i
TRACE

# reports
run 2 tunesmith schedule mm.tir x.trace --quiet
has err 'witness: k = '
run 0 tunesmith schedule mm.tir x.trace --report --keep-going
has out '^x.trace:4: adapted: t = sample_categorical'
has out '^x.trace:6: refused: vectorize k: .*feeds-reduction'
has out '^7 steps of 7: 5 applied, 1 adapted, 1 refused, 0 skipped$'
run 0 tunesmith schedule mm.tir x.trace --report --keep-going --format json
python3 -c 'import json,sys; r=[json.loads(l) for l in sys.stdin]; assert [x["outcome"] for x in r].count("adapted") == 1, r' <out || fail "the report is no JSON"
run 2 tunesmith schedule mm.tir x.trace --strict --quiet
has err 'bad-decision'

# what it asks of a GPU, before it is lowered
cat >gpu.trace <<'TRACE'
trace 1
b = get_block "mm"
i, j, k = get_loops b
x = cache_read b 0 "shared"
compute_at x i
bind i blockIdx.x
bind j threadIdx.x
TRACE
run 0 tunesmith schedule mm.tir gpu.trace --quiet --limits --target cuda:sm_90a
has out '^1 kernel, at most 24 of 1024 threads a block, at least 128 of 232448 bytes of shared memory'
sed 's/^bind j .*/jo, ji = split j [_, 2048]\nbind ji threadIdx.x/' gpu.trace >many.trace
run 2 tunesmith schedule mm.tir many.trace --quiet --limits --target cuda:sm_90a --format json
has out '"refused": "block-threads", "have": 2048, "most": 1024,'
has err 'a block of 2048 threads; 1024 are allowed '
run 2 tunesmith schedule mm.tir gpu.trace --quiet --limits
has err '--target cuda'

# reduced
grep -v vectorize x.trace >y.trace
run 0 tunesmith schedule mm.tir y.trace --simplify
grep -q unused out && fail "an unused look-up is still there"
has out '^v0 = sample_categorical \[2, 4, 8\] decision=\[4\]$'
has err '^5 steps of 6 remain$'
{ cat y.trace; printf 'annotate i "x" 1\nunannotate i "x"\nreorder i jo\n'; } >long.trace
run 0 tunesmith schedule mm.tir long.trace --minimise
grep -qE 'annotate|reorder' out && fail "a step that changes nothing is still there"
cp out short.trace
run 0 tunesmith schedule mm.tir short.trace --quiet --run
has out 'c differs by 0 of'
run 0 tunesmith schedule mm.tir short.trace --quiet --execute -n 7
has out '^execute: c differs by 0 of'

# compared
run 1 tunesmith schedule mm.tir --diff y.trace short.trace
has out '^the functions are the same$'
sed 's/decision=\[5\]/decision=[8]/' y.trace >z.trace
run 1 tunesmith schedule mm.tir --diff y.trace z.trace
has out '^- t = sample_categorical \[2, 4, 8\] decision=\[5\]$'
has out '^\+ t = sample_categorical \[2, 4, 8\] decision=\[8\]$'
has out '^the functions differ from here on: y.trace:5 z.trace:5$'
run 1 tunesmith schedule --diff y.trace z.trace
has out '^5 the same, 1 changed, 0 removed, 0 added$'
run 0 tunesmith schedule --diff y.trace y.trace
run 3 tunesmith schedule --diff y.trace none.trace

# explained
run 0 tunesmith schedule mm.tir y.trace --explain mm
has out 'reduction: sum'
has out '^    vk +reduce'
has out 'witness: k = '
run 0 tunesmith schedule mm.tir y.trace --explain mm --format json
python3 -c 'import json,sys; e=json.load(sys.stdin); assert e["reducer"] == "sum" and e["loops"][-1]["witness"], e' <out || fail "the explanation is no JSON"
run 2 tunesmith schedule mm.tir --explain nothing
has err 'no-such-block'

# declared facts
printf 'trace 1\ndeclare "n %% 8 == 0"\nb = get_block "mm"\ni, _, _ = get_loops b\nsplit i [_, 8] tail=perfect\n' >fact.trace
run 0 tunesmith schedule mm.tir fact.trace --run
has out '^func main\(n: dim\(8..64, multiple 8\)'
printf 'trace 1\ndeclare "n <= 8"\n' >few.trace
run 2 tunesmith schedule "silu_mul A=f32 I=64" few.trace --measure
has err 'narrower-facts'

# measured
run 0 tunesmith schedule "silu_mul A=f32 I=512 n=1" --measure
has out '^this schedule +[0-9.]+ +[0-9.]+ to [0-9.]+'
has out '^default '
has out 'than the default: [0-9.]+ times its speed'
run 2 tunesmith schedule mm.tir --measure
has err 'no-workload'

# parameters apart, operator files, files with named parameters
run 0 tunesmith schedule "$ROOT/kernels/ops/silu_mul.tir" -p I=64 -p A=f32 --run --quiet
has out 'y differs by 0 of'
run 0 tunesmith schedule "$ROOT/kernels/ops/matmul.a16.tir" -p q4f16_1 -p N=64 -p K=128 -p A=f32
has out '^func main\(n: dim\(1..8192\), .*wp: u8'
run 2 tunesmith schedule silu_mul -p I=64
has err 'unbound-parameter'
{ cat "$ROOT/kernels/ops/silu_mul.tir"; echo '# mine'; } >silu_mul.tir
run 2 tunesmith schedule silu_mul.tir -p I=64 -p A=f32
has err 'other-operator'
sed 's/ 32\]/ K]/; s/\[32,/[K,/; s/\.\.32/..K/' mm.tir >mmk.tir
run 0 tunesmith schedule mmk.tir -p K=8 --run
has out 'a: f32\[n, 8\], b: f32\[8, 24\]'
run 2 tunesmith schedule mmk.tir
has err "unknown name, found 'K'"

# by hand, over a pipe
printf '%s\n' 'b = get_block "mm"' 'i, j, k = get_loops b' 'split j [_, 8]' 'undo' 'redo' 'vectorize k' 'run' 'explain mm' 'fly b' 'undo 99' 'redo 99' 'save t.trace' quit |
  tunesmith schedule mm.tir -i >out 2>err || fail "the interactive mode exited with $?"
has out '^k: loop k, 32 iterations$'
has out '^      for j_1 in 0..8 \{$'
has out '^undone: split j \[_, 8\]$'
has out '^again: split j \[_, 8\]$'
has out 'feeds-reduction'
has out '^run: c differs by 0 of'
has out '^  reduction: sum$'
has out "found 'fly'"
has out '^3 steps in t.trace$'
[ -s err ] && fail "something was said though the trace is saved: $(cat err)"
[ "$(ls state/tunesmith 2>/dev/null)" = "" ] || fail "files are left in the state folder: $(ls state/tunesmith)"
run 0 tunesmith schedule mm.tir t.trace --quiet --run
printf '%s\n' 'load t.trace' 'parallel i' 'load t.trace' | tunesmith schedule mm.tir -i >out 2>err
has out '^3 steps of 3 from t.trace$'
has out 'unsaved-steps'
has err '^unsaved steps are in .*/state/tunesmith/schedule-[0-9]+.trace$'
has "$(sed 's/unsaved steps are in //' err)" '^parallel i$'
# a whole trace is a session
tunesmith schedule mm.tir -i <y.trace >out 2>err || fail "a trace as a session exited with $?"
has out 'for i in 0..n parallel'
# no place for the state: the steps are printed
printf 'b = get_block "mm"\n' | env -u XDG_STATE_HOME -u HOME tunesmith schedule mm.tir -i >out 2>err
has err '^b = get_block "mm"$'
done_testing
