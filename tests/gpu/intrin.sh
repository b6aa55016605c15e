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

# The verdict of one case, a line.
judge() {
  local file=$1 name out code
  name=$(basename "$file" .tir)
  sed '/^----- trace$/,$d' "$file" >"$work/$name.tir"
  sed '1,/^----- trace$/d' "$file" >"$work/$name.trace"
  out=$(timeout 60 "$tunesmith" schedule "$work/$name.tir" "$work/$name.trace" --quiet --execute --target "$target" 2>&1)
  code=$?
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
  grep -q ' = tensorize ' "$file" && asked+=("$file")
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
