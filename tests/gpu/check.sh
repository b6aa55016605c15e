#!/usr/bin/env bash
# Everything that wants a GPU: kernels over odd shapes, tensor intrinsics, compute-sanitizer, faults, models. scripts/check --gpu runs it, in the
# repository and in a bundle. The last line is "N passed, N failed, N skipped in N s"; the exit status is 0 only when nothing failed.
#
#   tests/gpu/check.sh [--out DIR] [--model NAME=PATH]... [--part NAME]...
#   tests/gpu/check.sh --list      the workloads that are tried; fails when a kernel serves none of them. Needs no GPU
#
# --out keeps the output of every part (else a folder that is removed). --model: this model too must say on the GPU what it says on the CPU.
# --part: not all of kernels, intrinsics, sanitizer, faults, models.
set -uo pipefail
export LC_ALL=C  # numbers have points, and words one order
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PATH=${BIN:-$root/bin}:$PATH TS_QUIET=1
out=
models=()
parts=
listing=
passed=0 failed=0 skipped=0
begun=$SECONDS
# Its own processes are known by this in the environment that they begin with, those of this shell that run no program yet among them.
[[ ${TS_CHECK_RUN:-} == $$.* ]] || exec env TS_CHECK_RUN=$$.$RANDOM bash "${BASH_SOURCE[0]}" "$@"

die() { printf 'check: %s\n' "$1" >&2; exit "${2:-3}"; }
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED %s\n' "$1"; }
skip() { skipped=$((skipped + 1)); printf 'skipped %s\n' "$1"; }

while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --list) listing=1; shift ;;
    --out) [ $# -ge 2 ] || die "$1 needs a folder" 2; out=$2; shift 2 ;;
    --model) [[ ${2:-} == *=* ]] || die "$1 needs NAME=PATH" 2; models+=("$2"); shift 2 ;;
    --part)
      case ${2:-} in
        kernels|intrinsics|sanitizer|faults|models) parts+=" $2 " ;;
        *) die "--part needs kernels, intrinsics, sanitizer, faults or models" 2 ;;
      esac
      shift 2
      ;;
    *) die "unknown option $1 (--help lists them)" 2 ;;
  esac
done
kept=$out
[ -n "$out" ] || out=$(mktemp -d) || die "no temporary folder"
mkdir -p "$out" && out=$(cd "$out" && pwd) || die "cannot write $out" 2
[ -n "$kept" ] || trap 'rm -rf "$out"' EXIT
export TUNESMITH_CACHE=$out/cache
mkdir -m 700 -p "$TUNESMITH_CACHE"
command -v tunesmith >/dev/null || die "no tunesmith in ${BIN:-$root/bin}; build it, or run this in a bundle"
home=${TUNESMITH_HOME:-$root/share/tunesmith}
[ -d "$home/kernels" ] || home=$root

# The workloads of a list, n=* expanded, one a line.
workloads() { grep -v '^ *\(#\|$\)' "$1" | awk '{ if (sub(/ n=\*/, " n=@")) for (i = 1; i <= 5; i++) { s = $0; sub(/n=@/, "n=" substr("1  2  7  33 257", 3 * i - 2, 3), s); gsub(/ +/, " ", s); sub(/ $/, "", s); print s } else print }'; }

# "OPERATOR FOLDER" of every operator whose kernels stand in another's folder.
folders() { awk '/^op / { op = $2 } /^  templates / { print op, $2 }' "$home"/kernels/ops/*.tir; }

# "FOLDER SKETCH" of every kernel that was right at least once in the output of try.
right_kernels() { awk 'NR == FNR { at[$1] = $2; next } /^[a-z]/ { op = $1 in at ? at[$1] : $1 } /^  .* tried, largest error/ { print op, $1 }' <(folders) "$1" | sort -u; }

# The same of every kernel file for GPUs.
kernel_files() { (cd "$home/kernels/templates" && ls ./*/*.cu ./*/*.cuda.trace) | sed 's|^\./||; s|/| |; s/\.cu$//; s/\.cuda\.trace$//' | grep -v ' default$'; }

# The kernel files for GPUs that serve none of the workloads given.
unserved() {
  tunesmith tune --list --target cuda:sm_90a "$@" >"$out/sketches.txt" || exit
  awk 'NR == FNR { at[$1] = $2; next } { if ($1 in at) $1 = at[$1]; for (i = 2; i <= NF; i++) if ($i ~ /^(ref|mma)\./) { sub(/\(.*/, "", $i); print $1, $i } }' <(folders) "$out/sketches.txt" | sort -u | comm -13 - <(kernel_files | sort -u)
}

# What shapes.txt holds, and whether every kernel finds a workload there and in sanitized.txt.
list_workloads() {
  local all file missing
  for file in sanitized shapes; do
    mapfile -t all < <(workloads "$here/$file.txt")
    missing=$(unserved "${all[@]}") || exit
    [ -z "$missing" ] || die "no workload in $here/$file.txt is served by ${missing//$'\n'/, }" 1
  done
  printf '%s\n' "${all[@]}"
}

# What took how long, from when on, with --out: times.txt
note_time() { echo "$1: from $(($2 - begun)) s on $((SECONDS - $2)) s$3" >>"$out/times.txt"; }

# try_chunks NAME CHUNKS BESIDE FILE COMMAND...: the workloads of FILE, every CHUNKS-th in one list, as arguments of COMMAND, BESIDE of them at a
# time: while one waits for its compilers another has the GPU. A GPU makes about five contexts a second, however many ask: those of a chunk share one.
# What they say goes to NAME.txt and NAME.err, the worst status is returned.
try_chunks() {
  local name=$1 chunks=$2 beside=$3 file=$4 list mine chunk at code worst=0
  shift 4
  mapfile -t list < <(workloads "$file")
  for ((chunk = 0; chunk < chunks; chunk++)); do
    while [ "$(jobs -rp | wc -l)" -ge "$beside" ]; do wait -n; done
    mapfile -t mine < <(printf '%s\n' "${list[@]}" | awk -v p=$chunk -v n="$chunks" 'NR % n == p')
    (
      at=$SECONDS
      "$@" "${mine[@]}" >"$out/$name.chunk-$chunk.txt" 2>"$out/$name.chunk-$chunk.err"
      code=$?
      echo $code >"$out/$name.chunk-$chunk.status"
      times >"$out/$name.chunk-$chunk.times"
      note_time "$name chunk $chunk" $at ", ${#mine[@]} workloads, status $code, processors $(tail -n 1 "$out/$name.chunk-$chunk.times")"
    ) &
  done
  wait
  for ((chunk = 0; chunk < chunks; chunk++)); do
    read -r code <"$out/$name.chunk-$chunk.status"
    [ "$code" -le "$worst" ] || worst=$code
    cat "$out/$name.chunk-$chunk.txt"
    cat "$out/$name.chunk-$chunk.err" >&3
  done >"$out/$name.txt" 3>"$out/$name.err"
  rm "$out/$name".chunk-*
  return "$worst"
}

kernels() {
  local code n op name
  try_chunks kernels 24 12 "$here/shapes.txt" timeout -k 5 100 tunesmith try --target cuda --cache "$TUNESMITH_CACHE" --judge --points 4
  code=$?
  n=$(sed -n 's/^\([0-9]*\) workloads: \([0-9]*\) candidates, \([0-9]*\) right, \([0-9]*\) wrong, \([0-9]*\) refused$/\1 \2 \3 \4 \5/p' "$out/kernels.txt" |
    awk '{ for (i = 1; i <= 5; i++) s[i] += $i } END { if (NR) print s[1], s[2], s[3], s[4], s[5] }')
  if [ $code -gt 1 ] || [ -z "$n" ]; then
    tail -n 3 "$out/kernels.err"
    fail "kernels: try ended with status $code"
    [ -n "$n" ] || return
  fi
  # shellcheck disable=SC2086
  set -- $n
  passed=$((passed + $3)) failed=$((failed + $4))
  printf '%s workloads, %s candidates: %s right, %s wrong, %s refused\n' "$@"
  [ "$4" = 0 ] || { awk '/^[a-z]/ { w = $0 } /^  [a-z0-9.]+ +(wrong|guard|crash|timeout)/ { print "FAILED " w; print }' "$out/kernels.txt"; grep ': error' "$out/kernels.err"; }
  right_kernels "$out/kernels.txt" >"$out/right.txt"
  while read -r op name; do
    if grep -qx "$op $name" "$out/right.txt"; then pass; else fail "kernels: $op/$name was right at no shape"; fi
  done < <(kernel_files)
}

# cases NAME ARGUMENT...: the cases of tests/codegen/gpu and gpu_lowering through intrin.sh, a quarter in each of four; what they say goes to NAME.txt. Counts them.
cases() {
  local name=$1 n part files mine at=$SECONDS
  shift
  if [ ! -d "$root/tests/codegen/gpu" ]; then skip "$name: no cases here"; return; fi
  files=("$root"/tests/codegen/gpu/*.tir "$root"/tests/codegen/gpu_lowering/*.txt)
  for part in 0 1 2 3; do
    mapfile -t mine < <(printf '%s\n' "${files[@]}" | awk -v p=$part 'NR % 4 == p')
    timeout -k 5 150 "$here/intrin.sh" -t "$(command -v tunesmith)" "$@" "${mine[@]}" >"$out/$name-$part.txt" 2>&1 &
  done
  wait
  note_time "$name" $at ""
  cat "$out/$name"-?.txt >"$out/$name.txt" && rm "$out/$name"-?.txt
  grep '^FAILED' "$out/$name.txt"
  n=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$out/$name.txt" | awk '{ p += $1; f += $2; s += $3 } END { if (NR == 4) print p, f, s }')
  [ -n "$n" ] || { fail "$name ended early: $(tail -n 1 "$out/$name.txt")"; return; }
  # shellcheck disable=SC2086
  set -- $n
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

intrinsics() { cases intrinsics; }

# overlay FOLDER FAULT...: a copy of the kernels with these kernels that fault among the good ones.
overlay() {
  local over=$1 fault
  shift
  mkdir -p "$over" && cp -RL "$home/kernels" "$over/" && chmod -R u+w "$over" || return 1
  for fault in "$@"; do cp "$here/faults/ref.$fault.cu" "$over/kernels/templates/silu_mul/" || return 1; done
}

find_sanitizer() { command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null; }

sanitizer() {
  local tool over=$out/sanitized code errors covered op name
  tool=$(find_sanitizer)
  [ -n "$tool" ] || { skip "compute-sanitizer: it is not installed"; return; }
  # compiled without the tool, for NVRTC takes a quarter of a minute for a kernel under it
  local chunks=8 try=(tunesmith try --target cuda --cache "$TUNESMITH_CACHE" --judge --points 1) memcheck=("$tool" --tool memcheck --show-backtrace no --target-processes all)
  # it must see into the measuring worker, a child: a kernel that writes outside is found
  overlay "$over" illegal || { fail "compute-sanitizer: no room for a copy of the kernels"; return; }
  local illegal=("${try[@]}" --only illegal "silu_mul A=f32 I=100 n=2")
  TUNESMITH_HOME=$over timeout -k 5 60 "${illegal[@]}" >"$out/memcheck-illegal.txt" 2>&1 &
  try_chunks compiled $chunks $chunks "$here/sanitized.txt" timeout -k 5 100 "${try[@]}"
  TUNESMITH_HOME=$over timeout -k 5 60 "${memcheck[@]}" "${illegal[@]}" >"$out/memcheck-illegal.txt" 2>&1 &
  try_chunks memcheck $chunks $chunks "$here/sanitized.txt" timeout -k 5 100 "${memcheck[@]}" --error-exitcode 9 "${try[@]}"
  code=$?
  wait
  rm -rf "$over"
  grep -q '^========= Invalid' "$out/memcheck-illegal.txt" || { skip "compute-sanitizer: it does not see what the measuring worker runs (see memcheck-illegal.txt with --out)"; return; }
  errors=$(grep -c '^========= Invalid\|^========= .*Misaligned' "$out/memcheck.txt")
  if [ $code = 0 ] && [ "$errors" = 0 ]; then pass; else grep '^=========' "$out/memcheck.txt" | grep -v 'COMPUTE-SANITIZER\|ERROR SUMMARY: 0' | head -n 12; fail "compute-sanitizer: status $code, $errors errors"; fi
  right_kernels "$out/memcheck.txt" >"$out/memcheck-right.txt"
  covered=0
  while read -r op name; do
    if grep -qx "$op $name" "$out/memcheck-right.txt"; then pass; covered=$((covered + 1)); else fail "compute-sanitizer: $op/$name did not run under memcheck"; fi
  done < <(kernel_files | sort -u)
  printf '%s candidates of %s workloads under memcheck; %s of %s kernel files\n' "$(sed -n 's/^[0-9]* workloads: \([0-9]*\) candidates.*/\1/p' "$out/memcheck.txt" | awk '{ s += $1 } END { print s + 0 }')" \
    "$(workloads "$here/sanitized.txt" | wc -l)" "$covered" "$(kernel_files | sort -u | wc -l)"
}

sanitizer-intrinsics() {
  local tool
  tool=$(find_sanitizer)
  if [ -n "$tool" ]; then cases memcheck-intrinsics -c "$tool"; else skip "compute-sanitizer: it is not installed"; fi
}

# Kernels that fault, among good ones: each is told as what it did, the good ones are right, tuning ends with one of those.
faults() {
  local over=$out/home work="silu_mul A=f32 I=100 n=2" expect
  overlay "$over" illegal trap hang outside || { fail "faults: no room for a copy of the kernels"; return; }
  TUNESMITH_HOME=$over timeout -k 5 90 tunesmith try --target cuda --cache "$TUNESMITH_CACHE" --judge --format json "$work" "silu_mul A=f32 I=64 n=1" >"$out/faults.jsonl" 2>"$out/faults.err"
  [ $? = 1 ] || fail "faults: try does not end with status 1"
  for expect in "ref.illegal crash" "ref.trap crash" "ref.hang timeout" "ref.outside guard" "default ok" "ref.rules ok"; do
    if head -n 1 "$out/faults.jsonl" | sed 's/.*"candidates": //' | grep -qE "\"sketch\": \"${expect% *}\"[^{}]*\"outcome\": \"${expect#* }\""; then pass; else fail "faults: not '$expect'"; fi
  done
  if sed -n 2p "$out/faults.jsonl" | sed 's/.*"candidates": //' | grep -q '"outcome": "ok"'; then pass; else fail "faults: the workload after them has no result"; fi
  if TUNESMITH_HOME=$over timeout -k 5 90 tunesmith tune --target cuda --store "$out/faults.db" --trials 10 --format json "$work" >"$out/faults-tune.jsonl" 2>"$out/faults-tune.err" &&
    grep '"event": "result"' "$out/faults-tune.jsonl" | grep -qvE '"winner": "ref\.(illegal|trap|hang|outside)"'; then pass; else fail "faults: tuning ended: $(tail -n 1 "$out/faults-tune.err")"; fi
  rm -rf "$over"
}

models() {
  local m name path cpu gpu
  if ROOT=$root BIN=$(dirname "$(command -v tunesmith)") timeout -k 5 150 "$root/tests/e2e/gpu.sh" >"$out/e2e.txt" 2>&1; then pass; else tail -n 5 "$out/e2e.txt"; fail "the small model"; fi
  # against an independent implementation; f16 in the passes of several rows
  if tunesmith build --model "$root/tests/data/tiny" --quantization q0f16 --target cuda --name accuracy --out "$out/models" >"$out/accuracy-build.txt" 2>&1 &&
    bench_accuracy "$out/models/accuracy-q0f16" "$root/tests/data/fixtures/tiny.json" --root "$root" --max-error 5e-3 --greedy 64 --max-ratio 1.03 >"$out/accuracy.txt" 2>&1; then
    pass
    awk '/^max_relative_error/ && $2 > e { e = $2 } END { print "logits differ by at most " e " of the largest; 64 of 64 greedy tokens" }' "$out/accuracy.txt"
  else
    tail -n 3 "$out/accuracy.txt"
    fail "logits of the small model"
  fi
  for m in ${models[@]+"${models[@]}"}; do
    name=${m%%=*} path=${m#*=}
    cpu=$out/models/$name-cpu-q4f16_1 gpu=$out/models/$name-q4f16_1
    tunesmith build --model "$path" --target cpu --name "$name-cpu" --out "$out/models" >"$out/$name-cpu.txt" 2>&1 &&
      tunesmith build --model "$path" --target cuda --name "$name" --out "$out/models" >"$out/$name-cuda.txt" 2>&1 || { fail "$name cannot be built"; continue; }
    # each token of the CPU's text is the GPU's choice too; where the CPU's own logits are nearly the same rounding decides
    if timeout -k 5 100 bench_agree "$cpu" "$gpu" "Who is Mia?" "The capital of France is" "Here is a list of fruits:" "def fibonacci(n):" "Water boils at" >"$out/$name-agree.txt" 2>&1; then
      pass
    else
      tail -n 1 "$out/$name-agree.txt"
      fail "$name says something else on the GPU"
    fi
    grep '^near-tie\|^DIFFERS' "$out/$name-agree.txt"
    awk -v n="$name" '/^same_texts|^same_choices|^largest_gap|^max_relative_error/ { printf "%s%s %s %s", k++ ? ", " : n ": ", $1, $2, $3 } END { if (k) print "" }' "$out/$name-agree.txt"
  done
}

[ -z "$listing" ] || { list_workloads; exit; }
probe=$(tunesmith probe --target cuda --time 1s 2>&1) || { printf '%s\n' "$probe" >&2; die "needs an NVIDIA GPU"; }
head -n 1 <<<"$probe"
# Ends what this run started and is still there, orphans too: time limits put commands into process groups of their own. Again, until nothing
# is left: what is ended may just have started something.
sweep() {
  local file found tries
  for ((tries = 0; tries < 100; tries++)); do
    found=
    for file in $(env -u TS_CHECK_RUN grep -lszx "TS_CHECK_RUN=$TS_CHECK_RUN" /proc/[0-9]*/environ); do
      file=${file#/proc/}
      file=${file%/environ}
      [ "$file" = $$ ] || { found=1; kill -KILL "$file" 2>/dev/null; }
    done
    [ -n "$found" ] || return
    sleep 0.05
  done
}
stop() {
  # shellcheck disable=SC2046
  kill $(jobs -p) 2>/dev/null
  sweep
  exit "$1"
}
trap 'stop 143' TERM
trap 'stop 130' INT
# Of a part PART-MORE whether PART is.
wanted() { [[ -z $parts || $parts == *" ${1%%-*} "* ]]; }

# lane PART...: one after the other, those that are wanted, each with a count of its own.
lane() {
  local name at
  for name in "$@"; do
    wanted "$name" || continue
    at=$SECONDS passed=0 failed=0 skipped=0
    "$name" >"$out/part-$name.txt" 2>&1
    printf '%d %d %d %d\n' $passed $failed $skipped $((SECONDS - at)) >"$out/part-$name.count"
  done
}
# The lanes run side by side, each about a minute long: verdicts do not depend on the time.
lane kernels &
lane intrinsics &
lane models faults &
lane sanitizer &
lane sanitizer-intrinsics &
wait
sweep
while read -r name title; do
  wanted "$name" || continue
  read -r p f s t <"$out/part-$name.count" || { p=0 f=1 s=0 t=0; echo "FAILED $name ended early" >>"$out/part-$name.txt"; }
  printf '== %s: %d passed, %d failed, %d skipped (%d s)\n' "$title" "$p" "$f" "$s" "$t"
  cat "$out/part-$name.txt"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done <<'PARTS'
kernels kernels over odd shapes
intrinsics tensor intrinsics
sanitizer compute-sanitizer
sanitizer-intrinsics tensor intrinsics under compute-sanitizer
faults faults
models models on CPU and GPU
PARTS
printf '%d passed, %d failed, %d skipped in %d s\n' $passed $failed $skipped $((SECONDS - begun))
[ $failed = 0 ] && [ $passed -gt 0 ]
