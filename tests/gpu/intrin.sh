#!/usr/bin/env bash
# Tensor intrinsics on a GPU: every schedule of a folder of cases (a function, "----- trace", a trace that tensorizes it) is compiled,
# run on random data, and compared with the function as written, which the interpreter computes. A line a case: "ok NAME", "FAILED
# NAME: why", or "skipped NAME: feature" when the GPU lacks what an intrinsic wants. The exit status is 0 when none failed, 77 when
# there is no GPU.
#
#   tests/gpu/intrin.sh [-t TUNESMITH] [-T TARGET] [FOLDER|FILE ...]
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tunesmith=$root/bin/tunesmith target=cuda
while getopts t:T: option; do
  case $option in
    t) tunesmith=$OPTARG ;;
    T) target=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ -x "$tunesmith" ] || tunesmith=$(command -v tunesmith) || { echo "intrin.sh: no tunesmith; name it with -t" >&2; exit 2; }
[ $# -gt 0 ] || set -- "$root/tests/codegen/gpu"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cases=()
for where in "$@"; do
  if [ -d "$where" ]; then cases+=("$where"/*.tir); else cases+=("$where"); fi
done

passed=0 failed=0 skipped=0
for file in "${cases[@]}"; do
  name=$(basename "$file" .tir)
  grep -q ' = tensorize ' "$file" || continue
  sed '/^----- trace$/,$d' "$file" >"$work/case.tir"
  sed '1,/^----- trace$/d' "$file" >"$work/case.trace"
  out=$(timeout 60 "$tunesmith" schedule "$work/case.tir" "$work/case.trace" --quiet --execute --target "$target" 2>&1)
  code=$?
  if [ $code = 0 ]; then
    echo "ok $name: ${out##*$'\n'}"
    passed=$((passed + 1))
  elif grep -q 'no-cuda-driver\|no-gpu' <<<"$out"; then
    echo "skipped: ${out%%$'\n'*}"
    exit 77
  elif grep -q 'missing-feature' <<<"$out"; then
    echo "skipped $name: ${out%%$'\n'*}"
    skipped=$((skipped + 1))
  else
    echo "FAILED $name ($code): $(tail -n 3 <<<"$out" | tr '\n' ' ')"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]
