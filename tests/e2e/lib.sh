# shellcheck shell=bash
# What the end-to-end tests share: a folder of their own, the program in PATH, and checks that say what they saw.
set -uo pipefail
export LC_ALL=C  # numbers have points, and words one order
PATH=$BIN:$PATH
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
export TUNESMITH_CACHE=$top/cache
tiny=$ROOT/tests/data/tiny
failures=0

fail() { printf 'FAIL: %s\n' "$1"; failures=$((failures + 1)); }

# run CODE COMMAND...: the command must exit with CODE; its output is in $top/out and $top/err.
run() {
  local want=$1 got
  shift
  "$@" >"$top/out" 2>"$top/err" </dev/null
  got=$?
  [ "$got" = "$want" ] && return 0
  fail "exit status $got, expected $want: $*"
  tail -n 5 "$top/out" "$top/err"
  return 1
}

# has FILE REGEX: the file has a line that matches.
has() { grep -qE -- "$2" "$1" || { fail "no line matches '$2' in:"; head -n 20 "$1"; }; }

# build_tiny QUANT [options]: the tiny model in $top/dist; sets dir.
build_tiny() {
  local q=$1
  shift
  run 0 tunesmith build --model "$tiny" --quantization "$q" --target cpu --out "$top/dist" "$@"
  dir=$top/dist/tiny-$q
}

done_testing() {
  [ "$failures" = 0 ] || { printf '%d failures\n' "$failures"; exit 1; }
  exit 0
}
