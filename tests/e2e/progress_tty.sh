#!/usr/bin/env bash
# Progress on a pseudo-terminal.
# shellcheck source=tests/e2e/lib.sh
. "$ROOT/tests/e2e/lib.sh"
unset TS_QUIET
export PYTHONDONTWRITEBYTECODE=1
python3 "$ROOT/tests/e2e/progress_tty.py" "$top/s.db" || fail "progress on a terminal"
done_testing
