#!/usr/bin/env bash
# What a new user types wrong is answered with what is wrong and what to do: a line of complaint, a hint, status 2.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# told CODE WORDS HINT COMMAND...: one error with these words, and a hint with those.
told() {
  local code=$1 words=$2 hint=$3
  shift 3
  run "$code" "$@" || return
  [ "$(grep -c '^error: ' "$top/err")" = 1 ] || fail "not one error line from: $*"
  has "$top/err" "^error: .*$words"
  has "$top/err" "^  hint: .*$hint"
}

# Help, of every command.
run 0 tunesmith --help
for command in $(sed -n 's/^  \([a-z]*\)  .*/\1/p' "$top/out"); do
  run 0 tunesmith "$command" --help
  mv "$top/out" "$top/help"
  has "$top/help" "^usage: tunesmith $command "
  run 0 tunesmith help "$command"
  cmp -s "$top/out" "$top/help" || fail "help $command is not $command --help"
  run "$([ "$command" = compare ] && echo 64 || echo 2)" tunesmith "$command" --no-such-option
  has "$top/err" "^error: $command: no option '--no-such-option'"
done
told 2 "no command 'tun'" "lists the commands" tunesmith help tun

# Options.
told 2 "'5x' is no value of --budget TIME" "seconds, or a number with a unit: 90s" tunesmith tune argmax --budget 5x
told 2 "'-1' is no value of --trials N" "an integer of 0 or more" tunesmith tune argmax --trials -1
told 2 "'argmax' beside --model" "a model, or workloads" tunesmith tune --model "$tiny" argmax --store "$top/none.db"
told 2 "build: no model is given" "--model PATH" tunesmith build
told 3 "nowhere: No such file" "tunesmith build" tunesmith chat "$top/nowhere"
told 2 "none.db: no such store" "--store" tunesmith db info --store "$top/none.db"
told 2 "no tensor intrinsic \"none\"" "intrinsics.md" tunesmith map "softmax A=f32 V=64 inv_temperature=1.0" --intrin none
told 2 "parameter inv_temperature is not given" "ops softmax" tunesmith tune "softmax A=f32 V=64 n=1" --store "$top/none.db"
told 2 "no variant 'none'" "ops softmax" tunesmith schedule "softmax A=f32 V=64 inv_temperature=1.0" --variant none
told 2 "no block is called \"none\"" "the word block" tunesmith schedule "softmax A=f32 V=64 inv_temperature=1.0" --explain none --quiet
told 2 "'mma.near' is a kernel, and no workload" "chain --help" tunesmith chain mma.near "silu_mul A=f32 I=8 n=1"
told 2 "cpu is none" "target cuda" tunesmith chain "silu_mul A=f32 I=8 n=1" --target cpu
told 2 "no operator" "tunesmith ops" tunesmith chain "none A=f32 n=1"
[ -e /dev/nvidiactl ] || told 3 "no CUDA driver" "cuda:sm_90a" tunesmith tune --list "argmax A=f32 V=5000 n=1" --target cuda

# A store's actions take their own formats and nothing else.
run 0 tunesmith probe --time 0.1s --store "$top/s.db"
told 2 "no report called none" "folders" tunesmith report --store "$top/s.db" --only none --out "$top/report"
run 0 tunesmith db info --store "$top/s.db" --format json
python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["devices"] == 1' "$top/out" || fail "db info has no JSON"
run 0 tunesmith db info --store "$top/s.db" --format table
for wrong in "info --format csv" "query x --format json" "export --format tsv" "check --format json" "info --table run" "check --out $top/x"; do
  # shellcheck disable=SC2086
  run 2 tunesmith db $wrong --store "$top/s.db"
  has "$top/err" "^error: db ${wrong%% *}: "
done
[ ! -e "$top/x" ] || fail "a refused action made a file"

# A workload that cannot be prepared is one error line, and a line of JSON.
run 1 tunesmith try "matmul q4f16_1 A=f32 K=1048576 N=1048576 n=1" --format json
has "$top/err" '^error: matmul q4f16_1 A=f32 K=1048576 N=1048576 n=1: '
python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["code"]' "$top/out" || fail "the failure is no line of JSON"

# A model without what a conversation needs is built, and says so; a damaged file is named where it lies.
model() { rm -rf "$top/m" "$top/dist"; cp -r "$tiny" "$top/m"; }
build() { run "$1" tunesmith build --model "$top/m" --out "$top/dist"; }
model; rm "$top/m/tokenizer.json"; build 0; has "$top/err" '^note: .*/m: no tokenizer.json'
model; rm "$top/m/tokenizer_config.json"; build 0; has "$top/err" '^note: .*/m: no chat template'
model; sed -i 's/<|im_start|>/<|turn|>/g' "$top/m/tokenizer_config.json"; build 0; has "$top/err" '^note: .*/m: its chat template is none that is known'
model; truncate -s 300 "$top/m/tokenizer_config.json"; build 2; has "$top/err" '^error: .*/m/tokenizer_config.json: not valid JSON'
model; truncate -s 300 "$top/m/tokenizer.json"; build 2; has "$top/err" '^error: .*/m/tokenizer.json: not valid JSON'
# Newer folders keep the template in a file of its own.
model
python3 - "$top/m" <<'PY'
import json, sys
path = sys.argv[1] + "/tokenizer_config.json"
config = json.load(open(path))
open(sys.argv[1] + "/chat_template.jinja", "w").write(config.pop("chat_template"))
json.dump(config, open(path, "w"))
PY
build 0
grep -q '^note: ' "$top/err" && fail "a template in a file of its own is not found"
run 0 tunesmith chat "$top/dist/m-q4f16_1" --prompt "What is the capital of France?" --temperature 0
has "$top/out" 'Paris'

# The command of docs/example.c, as it stands there, with this build's folder. A sanitizer in the library wants to come first.
if [ -e "${BIN%/bin}/lib/libtunesmith.so" ]; then
  compile=$(sed -n "s|^ *\(cc .*\) && ./a.out .*|\1 -o $top/example|p" "$ROOT/docs/example.c" | sed "s|\$PWD/||; s|build/check|${BIN%/bin}|g")
  (cd "$ROOT" && run 0 bash -c "$compile")
  sanitizer=$(ldd "${BIN%/bin}/lib/libtunesmith.so" | awk '/lib[at]san/ { print $3 }')
  run 0 env LD_PRELOAD="$sanitizer" "$top/example" "$top/dist/m-q4f16_1" "What is the capital of France?"
  has "$top/out" 'Paris'
fi

# What is measured waits for other programs that measure, and says so. A store that cannot be kept in is told before.
export XDG_RUNTIME_DIR=$top
for command in "bench $top/dist/m-q4f16_1 -p 4 -n 4 -r 1 --no-bandwidth" "probe --time 0.1s"; do
  flock "$top/tunesmith-$(id -u)-cpu.lock" sleep 1 &
  sleep 0.3
  # shellcheck disable=SC2086
  run 0 tunesmith $command
  has "$top/err" '^waiting: another program measures on cpu$'
  wait
done
begun=$(date +%s)
run 2 tunesmith probe --time 30s --store "$tiny/config.json"
has "$top/err" '^error: .*/config.json: not a tunesmith store'
[ $(($(date +%s) - begun)) -lt 10 ] || fail "a store that cannot be written is told after measuring"
done_testing
