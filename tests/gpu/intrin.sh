#!/usr/bin/env bash
# Tensor intrinsics and what schedules ask of kernels (launch bounds, hints, prefetches) on a GPU: every case of a folder (a function;
# "----- trace" and a trace that schedules it; in .txt files also what lowering made of it) is compiled, run on random data, and compared with the
# function as written, which the interpreter computes; symbolic dimensions have the first value of its last "# run". Cases that are to be refused, or
# whose schedule is a test's own ("refuse", "# plain"), are left out. A line a case: "ok NAME", "FAILED
# NAME: why", or "skipped NAME: feature" when the GPU lacks what an intrinsic wants. The exit status is 0 when none failed, 77 when
# there is no GPU.
#
#   tests/gpu/intrin.sh [-t TUNESMITH] [-T TARGET] [-c COMPUTE-SANITIZER] [FOLDER|FILE ...]
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tunesmith=$root/bin/tunesmith target=cuda
under=()
while getopts t:T:c: option; do
  case $option in
    t) tunesmith=$OPTARG ;;
    T) target=$OPTARG ;;
    c) under=("$OPTARG" --tool memcheck --show-backtrace no --target-processes all --error-exitcode 9) ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ -x "$tunesmith" ] || tunesmith=$(command -v tunesmith) || { echo "intrin.sh: no tunesmith; name it with -t" >&2; exit 2; }
[ $# -gt 0 ] || set -- "$root/tests/codegen/gpu" "$root/tests/codegen/gpu_lowering"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cases=()
for where in "$@"; do
  if [ -d "$where" ]; then cases+=("$where"/*.t[ix][rt]); else cases+=("$where"); fi
done

# The verdict of one case, a line.
judge() {
  local file=$1 name out code n
  name=$(basename "${file%.*}")
  n=$(sed -n 's/^# run \([0-9]*\).*/\1/p' "$file" | tail -n 1)
  sed '/^----- trace$/,$d' "$file" >"$work/$name.tir"
  local function=("$work/$name.tir")
  if grep -q '^----- trace$' "$file"; then
    sed '1,/^----- trace$/d; /^----- /,$d' "$file" >"$work/$name.trace"
    function+=("$work/$name.trace")
  fi
  out=$(timeout 60 ${under[@]+"${under[@]}"} "$tunesmith" schedule "${function[@]}" --quiet --execute ${n:+-n $n} --target "$target" 2>&1)
  code=$?
  if [ -n "${under[*]}" ] && [ $code = 9 ]; then
    echo "FAILED $name under memcheck: $(grep -m 1 '^========= .*\(Invalid\|Misaligned\|[Ee]rror\)' <<<"$out")"
    return
  fi
  out=$(grep -v '^=========' <<<"$out")
  if [ $code = 0 ]; then
    echo "ok $name: ${out##*$'\n'}"
  elif grep -q 'no-cuda-driver\|no-gpu' <<<"$out"; then
    echo "no GPU: ${out%%$'\n'*}"
  elif grep -q 'missing-feature' <<<"$out"; then
    echo "skipped $name: ${out%%$'\n'*}"
  else
    echo "FAILED $name ($code): $(tail -n 3 <<<"$out" | tr '\n' ' ')"
  fi
}

asked=()
for file in "${cases[@]}"; do
  grep -q '^# \(refuse\|plain\)\|^----- refuse' "$file" || asked+=("$file")
done
for ((i = 0; i < ${#asked[@]}; i += 8)); do
  for ((k = i; k < i + 8 && k < ${#asked[@]}; k++)); do judge "${asked[k]}" >"$work/$k.line" & done
  wait
  if grep -hm 1 '^no GPU' "$work/$i.line" >&2; then exit 77; fi
  for ((k = i; k < i + 8 && k < ${#asked[@]}; k++)); do cat "$work/$k.line"; done
done
count() { cat "$work"/*.line 2>/dev/null | grep -c "^$1 "; }
passed=$(count ok) failed=$(count FAILED) skipped=$(count skipped)
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
