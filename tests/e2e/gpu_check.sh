#!/usr/bin/env bash
# scripts/check --gpu beside a program that plays a machine with a GPU: what it counts, what it takes for a fault, and that nothing outlives it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

fake=$top/fake
mkdir -p "$fake"
# PLAY: wrong (a kernel is, and a case of an intrinsic), invalid (what memcheck says of one), stray (of a case), slow (nothing ends), or nothing of these.
cat >"$fake/tunesmith" <<'STUB'
#!/usr/bin/env bash
[ "$1" != probe ] || { echo "a GPU"; exit; }
[ "${PLAY:-}" != slow ] || exec sleep "$SLEEP"
case $1 in
  tune) echo '{"event": "result", "winner": "ref.rules"}'; exit ;;
  schedule)
    if [ ! -s "$2" ] || grep -q '^-----' "$2" "${3/#--*/$2}"; then exit 3; fi
    if [ "${PLAY:-}" = wrong ] && [[ $2 == */mma_f16.tir ]]; then echo "error: the compiled function computes something else"; exit 1; fi
    echo "execute: y differs by 0 of its largest element"
    exit
    ;;
esac
shift
workloads=() json='' only=''
while [ $# -gt 0 ]; do
  case $1 in
    --target|--points|--cache) shift 2 ;;
    --format) json=1; shift 2 ;;
    --only) only=1; shift 2 ;;
    --judge) shift ;;
    *) workloads+=("$1"); shift ;;
  esac
done
if [ -n "$only" ]; then echo "========= Invalid __global__ write"; exit 1; fi
if [ -n "$json" ]; then
  echo '{"candidates": [{"sketch": "default", "outcome": "ok"}, {"sketch": "ref.rules", "outcome": "ok"}, {"sketch": "ref.hang", "outcome": "timeout"}, {"sketch": "ref.illegal", "outcome": "crash"}, {"sketch": "ref.outside", "outcome": "guard"}, {"sketch": "ref.trap", "outcome": "crash"}]}'
  echo '{"candidates": [{"sketch": "default", "outcome": "ok"}]}'
  exit 1
fi
n=0 wrong=0
printf '%s\n' "${workloads[@]}" | awk 'NR == FNR { all[$0] = 1; next } { w = $0; sub(/ +1\.0000 .*/, "", w) } w in all' - "$SKETCHES" | while read -r line; do
  echo "${line%%  *}: right"
  for sketch in ${line#*1.0000}; do
    if [ "${PLAY:-}" = wrong ] && [[ $sketch == ref.prefill* ]]; then echo "  ref.prefill wrong: differs"; else echo "  ${sketch%%(*} 1 tried, largest error 0"; fi
  done
done
n=${#workloads[@]}
[ "${PLAY:-}" != wrong ] || wrong=1
[ "${PLAY:-}" != invalid ] || [[ ${workloads[*]} != *softmax* ]] || { echo "========= Invalid __shared__ read"; exit 9; }
echo "$n workloads: $((2 * n)) candidates, $((2 * n - wrong)) right, $wrong wrong, 0 refused"
exit $wrong
STUB
cat >"$fake/compute-sanitizer" <<'STUB'
#!/usr/bin/env bash
while [ "${1##*/}" != tunesmith ]; do shift; done
[ "${PLAY:-}" != stray ] || [[ $3 != */kernel_options.tir ]] || { echo "========= Invalid __global__ write of size 4 bytes"; exit 9; }
exec "$@"
STUB
chmod +x "$fake"/*
export SKETCHES=$top/sketches
run 0 "$ROOT/tests/gpu/check.sh" --list --out "$top/list"
mapfile -t workloads < <(grep -v '^#' "$ROOT/tests/gpu/sanitized.txt")
run 0 "$BIN/tunesmith" tune --list --target cuda:sm_90a "${workloads[@]}"
sort -u "$top/out" "$top/list/sketches.txt" >"$SKETCHES"
# check CODE PART...
check() { BIN=$fake PATH=$fake:$PATH run "$1" "$ROOT/tests/gpu/check.sh" --out "$top/check" "${@:2}"; }

# Every case but those that are refused or scheduled by their own test, those with options of kernels among them.
mapfile -t cases < <(grep -L '^# \(refuse\|plain\)\|^----- refuse' "$ROOT"/tests/codegen/gpu/*.tir "$ROOT"/tests/codegen/gpu_lowering/*.txt)
[ ${#cases[@]} -gt 80 ] || fail "only ${#cases[@]} cases"
check 0 --part kernels --part intrinsics --part sanitizer --part faults
has "$top/out" "^== tensor intrinsics: ${#cases[@]} passed, 0 failed, 0 skipped"
for file in kernel_options kernel_options_async kernel_options_bulk thread_loop two_kernels storage_align; do has "$top/check/intrinsics.txt" "^ok $file:"; done
has "$top/out" '^== kernels over odd shapes: [1-9][0-9]* passed, 0 failed, 0 skipped'
has "$top/out" '^[1-9][0-9]* workloads, [1-9][0-9]* candidates: [1-9][0-9]* right, 0 wrong, 0 refused$'
kernels=$(ls "$ROOT"/kernels/templates/*/*.cu "$ROOT"/kernels/templates/*/*.cuda.trace | grep -vc '/default\.')
has "$top/out" "^== compute-sanitizer: $((1 + kernels)) passed, 0 failed, 0 skipped"
has "$top/out" "^== tensor intrinsics under compute-sanitizer: ${#cases[@]} passed, 0 failed, 0 skipped"
has "$top/out" '^== faults: 8 passed, 0 failed, 0 skipped'
has "$top/out" '^[1-9][0-9]* passed, 0 failed, 0 skipped in '
has "$top/out" '^[1-9][0-9]* candidates of [1-9][0-9]* workloads under memcheck; '"$kernels of $kernels kernel files\$"
PLAY=wrong check 1 --part kernels --part intrinsics
has "$top/out" '^FAILED mma_f16 \(1\): error: the compiled function computes something else'
has "$top/out" 'attention_rows/ref.prefill was right at no shape'
PLAY=invalid check 1 --part sanitizer
has "$top/out" '^FAILED compute-sanitizer: status 9, 1 errors'
PLAY=stray check 1 --part sanitizer
has "$top/out" '^FAILED kernel_options under memcheck: ========= Invalid __global__ write'
run 2 "$ROOT/tests/gpu/check.sh" --part nothing

# Ended from outside, with everything that it started.
SLEEP=8$$$$ BIN=$fake PATH=$fake:$PATH PLAY=slow timeout 3 "$ROOT/tests/gpu/check.sh" --out "$top/check" >"$top/out" 2>"$top/err"
[ $? = 124 ] || fail "it ended by itself: $(tail -n 1 "$top/err")"
left() { grep -lszx "[8]$$$$" /proc/[0-9]*/cmdline; }
for _ in $(seq 100); do [ -n "$(left)" ] || break; sleep 0.1; done  # what was killed may take a moment to go
for file in $(left); do fail "a process is left: $(tr '\0' ' ' <"$file")"; done
done_testing
