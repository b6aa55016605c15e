# shellcheck shell=bash
# What the commands of this folder share. Each prints `name value unit` lines on standard output, everything else on standard error.
export LC_ALL=C  # numbers have points, and words one order
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${TUNESMITH_BUILD:-$root/build/check}
work=${TUNESMITH_BENCH:-$root/build/bench}
quant=q4f16_1

die() { printf '%s: %s\n' "${0##*/}" "$1" >&2; exit "${2:-3}"; }
note() { printf '%s: %s\n' "${0##*/}" "$1" >&2; }
value() { printf '%s %s %s\n' "$1" "$2" "$3"; }
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }
# The middle one of the numbers on standard input (the lower one of two).
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# name VALUE of a `name value unit` listing on standard input.
field() { awk -v n="$1" '$1 == n { print $2 }'; }

# Build the programs when that was not done yet.
programs() {
  if [ ! -f "$build/build.ninja" ]; then
    cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo --log-level=WARNING >/dev/null || die "cmake failed"
  fi
  ninja -C "$build" --quiet tunesmith bench_accuracy bench_agree bench_spawn bench_value >&2 || die "the build failed"
  export PATH=$build/bin:$PATH TUNESMITH_HOME=$root
  mkdir -p "$work"
}

# model_path tiny|smollm2-135m|PATH: where the model is; fetches it when it can.
model_path() {
  case $1 in
    tiny) echo "$root/tests/data/tiny" ;;
    smollm2-135m) "$root/scripts/fetch-model" smollm2-135m ;;
    *) echo "$1" ;;
  esac
}

# model_dir MODEL-PATH QUANT KIND [build options]: build the model into $work/KIND and print the directory.
model_dir() {
  local path=$1 q=$2 kind=$3 name
  shift 3
  name=$(basename "$path" .gguf)
  tunesmith build --model "$path" --quantization "$q" --target cpu --out "$work/$kind" "$@" >"$work/build.log" 2>&1 || {
    tail -n 3 "$work/build.log" >&2
    die "cannot build $path in $q"
  }
  echo "$work/$kind/$name-$q"
}

# tuned_store MODEL-PATH BUDGET: a store with records for this model; tunes when there is none. Prints its path.
tuned_store() {
  local store=${TUNESMITH_STORE:-$work/$(basename "$1" .gguf).db}
  if [ ! -f "$store" ]; then
    note "tuning for $2 into $store"
    tunesmith tune --model "$1" --quantization "$quant" --target cpu --store "$store" --budget "$2" >&2 || die "tuning failed"
  fi
  echo "$store"
}
