#!/usr/bin/env bash
# A budget ends tuning close to its time, finals included; what it did not reach is said, and comes first in the next run.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
store=$top/s.db
tune() { run 0 timeout -k 5 90 tunesmith tune --model "$tiny" --target cpu --store "$store" --format json "$@"; }
# of EVENT KEY: the values of a key in the lines of an event.
of() {
  python3 - "$top/out" "$1" "$2" <<'PY'
import json, sys
for line in open(sys.argv[1]):
    event = json.loads(line)
    if event["event"] == sys.argv[2]: print(event[sys.argv[3]])
PY
}

tune --budget 2s
wall=$(of done wall_s)
# on a busy machine the candidate that is on the way, and the finals at their shortest, may take some seconds more
awk -v s="$wall" 'BEGIN { exit !(s < 8) }' || fail "a budget of 2 s took $wall s"
first=$(of result workload | wc -l)
left=$(of done unreached)
[ "$first" -ge 1 ] || fail "nothing was tuned within the budget"
[ $((first + left)) = 19 ] || fail "$first tuned and $left not reached are not the 19 workloads of the model"
if [ "$left" != 0 ]; then
  has "$top/err" "^note: $left of 19 workloads were not reached within 2 s: "
  # several first batches, each cut at its share
  tune --budget 8s
  wall=$(of done wall_s)
  awk -v s="$wall" 'BEGIN { exit !(s < 16) }' || fail "a budget of 8 s took $wall s"
  run 0 tunesmith db query "select count(distinct workload_id) from decision" --store "$store"
  [ "$(tail -n 1 "$top/out")" -gt "$first" ] || fail "the second run reached nothing new"
fi
done_testing
