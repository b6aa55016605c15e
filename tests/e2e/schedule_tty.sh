#!/usr/bin/env bash
# Line editing on a pseudo-terminal: tunesmith schedule and tunesmith chat.
# shellcheck source=tests/e2e/lib.sh
. "$ROOT/tests/e2e/lib.sh"
cd "$top" || exit 1
export XDG_STATE_HOME=$top/state PYTHONDONTWRITEBYTECODE=1
cat >mm.tir <<'TIR'
func main(a: f32[16, 32], b: f32[32, 24], c: out f32[16, 24]) {
  for i in 0..16, j in 0..24, k in 0..32 {
    block mm(vi: S = i, vj: S = j, vk: R = k) {
      init { c[vi, vj] = 0.0 }
      c[vi, vj] = c[vi, vj] + a[vi, vk] * b[vk, vj]
    }
  }
}
TIR
sed -E 's/\b(16|24|32)\b/1024/g' mm.tir >large.tir
python3 "$ROOT/tests/e2e/schedule_tty.py" mm.tir large.tir || fail "schedule on a terminal"
done_testing
