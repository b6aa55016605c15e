#!/usr/bin/env bash
# Bad input of every kind gets one line that names the file and the fact, a non-zero exit and an unharmed store.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# refused CODE WORDS COMMAND...: exit CODE, one line of the complaint starts with "error: " and matches WORDS.
refused() {
  local code=$1 words=$2
  shift 2
  run "$code" "$@" || return
  grep -m 1 '^error: ' "$top/err" | grep -qE -- "$words" || { fail "no 'error: ' line matches '$words': $*"; head -n 3 "$top/err"; }
  [ "$(grep -c '^error: ' "$top/err")" = 1 ] || fail "more than one error line from: $*"
}
# bad_model CODE WORDS MODEL [QUANTIZATION]
bad_model() { refused "$1" "$2" tunesmith build --quantization "${4:-q4f16_1}" --target cpu --out "$top/dist" --model "$3"; }
# copy NAME: a fresh copy of the tiny model in $top/NAME.
copy() { rm -rf "${top:?}/$1" && cp -r "$tiny" "$top/$1"; }
# header NAME PYTHON: rewrite the safetensors header h (a dict) of $top/NAME by a line of Python.
header() {
  python3 - "$top/$1/model.safetensors" "$2" <<'PY'
import json, struct, sys
path, code = sys.argv[1:]
data = open(path, "rb").read()
n = struct.unpack("<Q", data[:8])[0]
h = json.loads(data[8:8 + n])
first = sorted(k for k in h if k != "__metadata__")[0]
exec(code)
text = json.dumps(h).encode()
open(path, "wb").write(struct.pack("<Q", len(text)) + text + data[8 + n:])
PY
}

# Models.
bad_model 2 "nowhere" "$top/nowhere"
mkdir "$top/none"; bad_model 2 "none: neither a directory with config.json nor a .gguf file" "$top/none"
copy short; truncate -s 100000 "$top/short/model.safetensors"; bad_model 2 "model.safetensors" "$top/short"
copy empty; : >"$top/empty/model.safetensors"; bad_model 2 "model.safetensors" "$top/empty"
copy outside; header outside 'h[first]["data_offsets"][1] += 1 << 40'; bad_model 2 "model.safetensors" "$top/outside"
copy overlap; header overlap 'h[first]["data_offsets"] = [x + 64 for x in h[first]["data_offsets"]]'; bad_model 2 "model.safetensors" "$top/overlap"
copy shape; header shape 'h[first]["shape"] = [1 << 40, 1 << 40]'; bad_model 2 "model.safetensors" "$top/shape"
copy type; header type 'h[first]["dtype"] = "Q9"'; bad_model 2 "model.safetensors" "$top/type"
copy gone; header gone 'h.pop(first)'; bad_model 2 "gone" "$top/gone"
copy count; printf '\377\377\377\377\377\377\377\177' | dd of="$top/count/model.safetensors" conv=notrunc status=none; bad_model 2 "model.safetensors" "$top/count"
copy json; echo '{"hidden_size": ' >"$top/json/config.json"; bad_model 2 "config.json" "$top/json"
copy wrong; echo '[1, 2]' >"$top/wrong/config.json"; bad_model 2 "config.json" "$top/wrong"
copy arch; sed -i 's/LlamaForCausalLM/MambaForCausalLM/; s/"llama"/"mamba"/' "$top/arch/config.json"; bad_model 2 "[Mm]amba" "$top/arch"
copy zero; sed -i 's/"num_attention_heads": 4/"num_attention_heads": 0/' "$top/zero/config.json"; bad_model 2 "config.json" "$top/zero"
bad_model 2 "q5f7_9" "$tiny" q5f7_9
printf 'GGUF\003\000\000\000\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377' >"$top/giant.gguf"; bad_model 2 "giant.gguf" "$top/giant.gguf"
printf 'GGUF\003\000' >"$top/cut.gguf"; bad_model 2 "cut.gguf" "$top/cut.gguf"
printf 'not a model' >"$top/other.gguf"; bad_model 2 "other.gguf" "$top/other.gguf"
bad_model 2 "synthetic" synthetic:none

# Targets and workloads.
refused 2 "no-such-cpu" tunesmith build --model "$tiny" --quantization q4f16_1 --target cpu:no-such-cpu --out "$top/dist"
refused 2 "nonsense" tunesmith tune "nonsense A=f32" --store "$top/w.db" --trials 1
refused 2 "workload" tunesmith tune "matmul q4f16_1 K=" --store "$top/w.db" --trials 1
refused 2 "no parameter or dimension 'Z'" tunesmith tune "matmul q4f16_1 A=f32 K=128 N=64 Z=3 n=1" --store "$top/w.db" --trials 1
refused 2 "100 / 8 is not an integer  \[not-divisible\]" tunesmith tune "matmul q4f16_1 A=f32 K=100 N=64 n=1" --store "$top/w.db" --trials 1
has "$top/err" 'hint: .*q4f16_1'
refused 2 "softmax has no weight.*q4f16_1" tunesmith tune "softmax q4f16_1 A=f32 V=256 inv_temperature=1.0 n=1" --store "$top/w.db" --trials 1
refused 2 "matmul: the quantization of its weight is not given" tunesmith tune "matmul A=f32 K=128 N=64 n=1" --store "$top/w.db" --trials 1
refused 2 "no kernels in the phases .batch16." tunesmith tune --model "$tiny" --target cpu --phases batch16 --store "$top/w.db"
refused 2 "phases without --model" tunesmith tune --phases decode "silu_mul A=f32 I=100 n=2" --store "$top/w.db"
for dims in "n=1 t=512" "n=600 t=0" "n=8..128%8 t=0..512"; do
  refused 2 "attention: t \+ n <= P does not hold at .*P=512" tunesmith tune "attention A=f32 C=f16 D=32 H=4 HK=2 P=512 $dims" --store "$top/w.db" --trials 1
done
small="softmax A=f32 V=256 inv_temperature=1.0 n=1"
for option in "--threads -2" "--threads 2000" "--trials -1" "--max-seq-len -1" "--prefill-chunk -8"; do
  # shellcheck disable=SC2086
  refused 2 "${option% *}" tunesmith tune "$small" --store "$top/w.db" --trials 1 $option
done
for command in "tune --store $top/w.db --trials 1" try; do
  # shellcheck disable=SC2086
  refused 2 "numerics 'zz'" tunesmith $command "$small" --numerics zz
done
refused 2 "numerics 'zz'" tunesmith build --model "$tiny" --numerics zz --out "$top/dist"
run 0 tunesmith tune "silu_mul A=f32 I=8" --store "$top/open.db" --trials 1
has "$top/err" '^note: silu_mul: n is not given, and may be up to 8192; '
[ ! -e "$top/w.db" ] || fail "a refused command made a store"
# One that cannot be measured at all is told once.
refused 3 "too large" tunesmith tune "matmul q4f16_1 A=f32 K=1048576 N=1048576 n=1" --store "$top/w.db" --trials 1

# Stores.
echo "not a database, just some text that is long enough to be read as one" >"$top/text.db"
refused 2 "text.db" tunesmith tune "rms_norm A=f32 H=128 eps=1e-05 n=1" --store "$top/text.db" --trials 1
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("create table t(x)")' "$top/foreign.db"
cp "$top/foreign.db" "$top/before.db"
refused 2 "foreign.db" tunesmith tune "rms_norm A=f32 H=128 eps=1e-05 n=1" --store "$top/foreign.db" --trials 1
cmp -s "$top/foreign.db" "$top/before.db" || fail "a store that is not ours was changed"
run 0 tunesmith tune "rms_norm A=f32 H=128 eps=1e-05 n=1" --store "$top/new.db" --trials 2
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("pragma user_version = 999")' "$top/new.db"
refused 2 "new.db" tunesmith tune "rms_norm A=f32 H=128 eps=1e-05 n=1" --store "$top/new.db" --trials 1

# Built models.
build_tiny q4f16_1
lib=$(find "$dir" -name '*.so')
refused 3 "nowhere" tunesmith chat "$top/nowhere" --prompt x
refused 2 "new.db.*newer" tunesmith bench "$dir" -p 8 -n 8 -r 1 --no-bandwidth --store "$top/new.db"
cp -r "$dir" "$top/broken"; truncate -s 2000 "$top/broken/$(basename "$lib")"; refused 2 "so" tunesmith chat "$top/broken" --prompt x
# A library with other bytes than were written: zeros, one bit, bytes more, bytes less, another tail.
for how in 'b[8192:12288] = bytes(4096)' 'b[len(b) // 2] ^= 4' 'b[5000:5000] = b"x" * 8' 'del b[len(b) // 3]' 'b[-1] ^= 128' 'del b[-16:]' 'b += bytes(4096)'; do
  python3 -c 'import sys; b = bytearray(open(sys.argv[1], "rb").read()); exec(sys.argv[3]); open(sys.argv[2], "wb").write(b)' \
    "$lib" "$top/broken/$(basename "$lib")" "$how"
  refused 2 "$(basename "$lib"): damaged.*build the model again or copy it again" tunesmith chat "$top/broken" --prompt x
done
refused 2 "$(basename "$lib"): damaged" tunesmith bench "$top/broken" -p 8 -n 8 -r 1 --no-bandwidth
rm -rf "$top/broken"; cp -r "$dir" "$top/broken"; shard=$(find "$top/broken" -name 'params_shard_0.bin'); truncate -s 1000 "$shard"
rm -f "$top/broken"/*.weights "$top/broken"/*/*.weights; refused 2 "params_shard_0.bin" tunesmith chat "$top/broken" --prompt x
refused 2 "temperature" tunesmith chat "$dir" --prompt x --temperature -1
refused 2 "temperature" tunesmith chat "$dir" --prompt x --temperature nan
# In a conversation over a pipe what is refused leaves the settings as they are; a model that cannot be loaded ends it.
printf '/set temperature=nan\n/set presence_penalty=inf\n/set\n/reload %s/nowhere\nhello\n' "$top" | tunesmith chat "$dir" --temperature 0 >"$top/out" 2>"$top/err"
[ $? = 3 ] || fail "a model that cannot be loaded must end a conversation over a pipe"
[ "$(grep -c '^error: ' "$top/err")" = 3 ] || { fail "three commands of the conversation are refused"; cat "$top/err"; }
has "$top/out" '^temperature=0 '

printf 'Who is Mia?\n%s\nWho is Mia?\n' "$(printf 'word %.0s' $(seq 600))" | tunesmith chat "$dir" --temperature 0 >"$top/out" 2>"$top/err"
[ $? = 2 ] || fail "a turn without an answer must show in the status"
[ "$(wc -l <"$top/out")" = 2 ] || fail "the turns beside one that does not fit are answered"

# A place that cannot be written.
if [ "$(id -u)" = 0 ]; then nowrite=/proc/tunesmith; else mkdir -m 500 "$top/ro"; nowrite=$top/ro/x; fi
refused 3 "${nowrite%/*}" tunesmith build --model "$tiny" --quantization q4f16_1 --target cpu --out "$nowrite"
run 3 env TS_QUIET=0 tunesmith build --model "$tiny" --quantization q4f16_1 --target cpu --out "$nowrite"
grep -q compile "$top/err" && fail "kernels were compiled for a place that cannot be written"
refused 3 "params.*too large" bash -c 'ulimit -f 100 && exec tunesmith build --model "$0" --quantization q4f16_1 --target cpu --out "$1"' "$tiny" "$top/full"
[ -z "$(ls -A "$top/full" 2>/dev/null)" ] || fail "a full disk left half a model"
run 0 tunesmith tune "$small" --store "$top/many.db" --trials 40
refused 3 "export.jsonl" bash -c 'ulimit -f 33 && exec tunesmith db export --store "$0" --out "$1"' "$top/many.db" "$top/export.jsonl"
[ ! -e "$top/export.jsonl" ] || fail "a full disk left half an export"
# Without a home there is nothing to keep compiled kernels in; the build does without. A folder that was asked for must be there.
mkdir "$top/file" && : >"$top/file/home"
run 0 env -u TUNESMITH_CACHE HOME="$top/file/home" tunesmith build --model "$tiny" --quantization q4f16_1 --target cpu --out "$top/dist2"
has "$top/err" '^note: .*home'
refused 3 "$top/file/home: Not a directory" tunesmith build --model "$tiny" --quantization q4f16_1 --target cpu --out "$top/dist2" --cache "$top/file/home/c"
if [ -w /dev/full ]; then
  tunesmith ops >/dev/full 2>"$top/err" && fail "a full disk under the output must be an error"
  has "$top/err" '^error: standard output: '
fi
# Closed descriptors are not taken by the files that a command writes.
(exec tunesmith ops >&- 2>"$top/err")
[ $? = 3 ] || fail "output that is closed must be an error"
has "$top/err" '^error: standard output: '
(exec env TS_QUIET=0 tunesmith build --model "$tiny" --quantization q4f16_1 --target cpu --use-cache 0 --out "$top/closed" >&- 2>&-)
[ $? = 3 ] || fail "a build that cannot say what it did"
(exec env TS_QUIET=0 tunesmith perplexity "$top/closed/tiny-q4f16_1" --text "$tiny/config.json" >"$top/out" 2>&-) || fail "perplexity without standard error"
has "$top/out" '^perplexity [0-9.]+ perplexity$'
done_testing
