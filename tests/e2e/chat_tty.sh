#!/usr/bin/env bash
# Line editing in tunesmith chat on a pseudo-terminal, and bench with more threads than there are cores.
# shellcheck source=tests/e2e/lib.sh
. "$ROOT/tests/e2e/lib.sh"
export XDG_STATE_HOME=$top/state PYTHONDONTWRITEBYTECODE=1
build_tiny q4f16_1
python3 "$ROOT/tests/e2e/chat_tty.py" "$dir" || fail "chat on a terminal"
run 2 tunesmith bench "$dir" --threads 1000
has "$top/err" '^error: --threads 1000 is more than the [0-9]+ cores'
# a pipe is read plainly, and leaves no history
printf 'one\n/stats\n' | tunesmith chat "$dir" --threads 1 --max-tokens 2 >"$top/out" 2>&1 || fail "chat over a pipe exited with $?"
has "$top/out" '^prompt: '
grep -q '>>>' "$top/out" && fail "a prompt was written to a pipe"
done_testing
