# shellcheck shell=bash
# What the commands for NVIDIA GPUs share beside lib.sh. They run inside the repository and in an unpacked bundle, and end with status 3 where
# there is no GPU that the driver can use. Options of all: --store FILE (records that serve or are made), --out DIR (raw output), --quick.
# shellcheck disable=SC2034
# shellcheck source=bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

store=
out=
quick=
rest=()

# options ARGUMENT...: the common options into store, out and quick, what is left into rest.
options() {
  while [ $# -gt 0 ]; do
    case $1 in
      -h|--help) usage ;;
      --store|--out) [ $# -ge 2 ] || die "$1 needs a value" 2; printf -v "${1#--}" %s "$2"; shift 2 ;;
      --quick) quick=1; shift ;;
      *) rest+=("$1"); shift ;;
    esac
  done
}

# no_more ARGUMENT...: for commands without other arguments.
no_more() { [ $# = 0 ] || die "unknown argument $1 (--help lists the options)" 2; }

# The programs of a bundle, or those of the repository, built when they are not; then a GPU, or a refusal. Measures the ceilings.
gpu_start() {
  if [ -x "$root/bin/tunesmith" ]; then
    export PATH=$root/bin:$PATH
    mkdir -p "${out:=$work/${0##*/}}" 2>/dev/null || die "cannot write $out; give --out DIR" 2
  else
    programs
    mkdir -p "${out:=$work/${0##*/}}" || die "cannot write $out; give --out DIR" 2
  fi
  out=$(cd "$out" && pwd)
  if [ -n "$store" ] && [ -z "${makes_store:-}" ] && [ ! -f "$store" ]; then die "no store at $store" 2; fi
  export TS_QUIET=1
  tunesmith probe --target cuda --format json >"$out/ceilings.json" 2>"$out/ceilings.err" || {
    cat "$out/ceilings.err" >&2
    die "needs an NVIDIA GPU"
  }
  ceiling read read_roof GB/s
  ceiling wgmma_f16 wgmma_f16_roof GFLOP/s
  ceiling dependent dependent_launch us
  ceiling clock sm_clock MHz
}

# ceiling ROW NAME UNIT: a value of the probe under a name.
ceiling() { value "$2" "$(bench_value "$out/ceilings.json" "ceilings.$1.value")" "$3"; }
roof() { bench_value "$out/ceilings.json" "ceilings.$1.value"; }

# gpu_model MODEL TARGET NAME [build options]: build a model into $out/models and print its directory.
gpu_model() {
  local model=$1 target=$2 name=$3
  shift 3
  [ -z "$store" ] || [ ! -f "$store" ] || set -- --store "$store" "$@"
  tunesmith build --model "$model" --quantization "$quant" --target "$target" --name "$name" --out "$out/models" "$@" >"$out/build-$name-$target.txt" 2>&1 || {
    tail -n 3 "$out/build-$name-$target.txt" >&2
    note "cannot build $model for $target"
    return 1
  }
  echo "$out/models/$name-$quant"
}

# How many kernels of the model that was built last under this name come from records.
served() { sed -n 's/^\([0-9]*\) of \([0-9]*\) kernels come from records.*/\1 \2/p' "$out/build-$1-cuda.txt" | tail -n 1; }

# greedy NAME MODEL: greedy text of several prompts on the CPU, and whether the GPU, given the same tokens, chooses each of them too. Where the
# CPU's two logits are nearly the same rounding decides: such positions are counted and do not fail.
greedy() {
  local name=$1 cpu gpu status
  cpu=$(gpu_model "$2" cpu "$name-cpu") && gpu=$(gpu_model "$2" cuda "$name") || return 1
  bench_agree "$cpu" "$gpu" "Who is Mia?" "The capital of France is" "Water boils at" "Here is a list of fruits:" "$(printf 'The cat sat on the mat. %.0s' $(seq 12))" >"$out/$name-agree.txt" 2>"$out/$name-agree.err"
  status=$?
  awk -v n="$name" '$1 == "same_texts" { print n "_greedy_texts_as_on_cpu " $2, $3 } $1 == "same_choices" { print n "_greedy_choices_as_on_cpu " $2, $3 }' "$out/$name-agree.txt"
  grep -h '^DIFFERS' "$out/$name-agree.txt" >&2
  [ $status -le 1 ] || tail -n 1 "$out/$name-agree.err" >&2
  return $status
}

# tune_all FILE TRIALS WORKLOAD...: tune into the store (made when missing), results of the interleaved finals as JSON lines in FILE.
tune_all() {
  local lines=$1 trials=$2
  shift 2
  tunesmith tune --target cuda --store "${store:=$out/${0##*/}.db}" --cache "$out/cache" --trials "$trials" --format json "$@" >"$lines.part" 2>"$lines.err" || {
    grep -E '^error' "$lines.err" >&2
    note "not every workload could be tuned (see $lines.err)"
  }
  grep '"event": "result"' "$lines.part" >"$lines"
}

# tuned FILE WORKLOAD: best ns and winner of one of them, nothing when there is none.
tuned() { grep -F "\"workload\": \"$2\"" "$1" | tail -n 1 | bench_value - best_ns winner 2>/dev/null | paste -sd ' '; }

# of_roof NS BYTES OPERATIONS: the least time that the measured read and f16 tensor rates allow, over the time taken.
of_roof() { awk "BEGIN { b = ($2) / $(roof read); f = ($3) / $(roof wgmma_f16); printf \"%.3f\", (b > f ? b : f) / $1 }"; }

# The products of a layer of a model, NxK: query, key and value together, output, gate and up together, down.
layer_shapes() {
  case $1 in
    7b) echo 12288x4096 4096x4096 22016x4096 4096x11008 ;;
    8b) echo 6144x4096 4096x4096 28672x4096 4096x14336 ;;
  esac
}

# layer ROWS TYPE MODEL: the products of a layer one behind the other in one graph, each with what the store's record says and beside it alone, and with what is fastest in the
# layer among the six that were fastest in tuning. Products only: a model has small operators between them.
layer() {
  local m=$1 type=$2 json=$out/layer-$3-$1.json at=q4f16_1_m$1_layer_$3 s workloads=() ns alone chosen weights=0 bytes=0 operations=0
  for s in $(layer_shapes "$3"); do
    workloads+=("matmul q4f16_1 A=$type K=${s#*x} N=${s%x*} n=$m")
    weights+=" + ${s%x*} * ${s#*x} * 4.5 / 8"
    bytes+=" + ${type#f} / 8 * $m * (${s%x*} + ${s#*x})"
    operations+=" + 2 * $m * ${s%x*} * ${s#*x}"
  done
  tunesmith chain --target cuda --store "$store" --cache "$out/cache" --points 6 --format json "${workloads[@]}" >"$json" 2>"$json.err" || {
    grep -E '^error' "$json.err" >&2
    note "a layer of $3 with $m rows has no result"
    return 1
  }
  read -r ns alone chosen <<<"$(bench_value "$json" layer_ns alone_ns chosen_ns | paste -sd ' ')"
  value "$at" "$(calc "$ns / 1e3" %.2f)" us
  value "${at}_rate" "$(calc "($weights) / $ns" %.1f)" GB/s
  value "${at}_share" "$(of_roof "$ns" "$weights + $bytes" "$operations")" ratio
  value "${at}_alone" "$(calc "$alone / 1e3" %.2f)" us
  value "${at}_over_alone" "$(ratio "$ns" "$alone")" ratio
  value "${at}_chosen" "$(calc "$chosen / 1e3" %.2f)" us
  value "${at}_chosen_share" "$(of_roof "$chosen" "$weights + $bytes" "$operations")" ratio
}

# calc EXPRESSION [FORMAT]: a number of awk.
calc() { awk "BEGIN { printf \"${2:-%.3f}\", $1 }"; }
