#!/usr/bin/env bash
# The bundle: made, unpacked in another place, it finds its own libraries and kernels there, and does real work in an empty environment.
set -euo pipefail
export LC_ALL=C
root=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { printf 'FAILED: %s\n' "$1"; exit 1; }

"$root/scripts/bundle" -o "$dir/out" >"$dir/log" 2>&1 || { cat "$dir/log"; fail "scripts/bundle"; }
mkdir "$dir/moved here"
tar -C "$dir/moved here" -xf "$dir"/out/*.tar.xz
top=$(echo "$dir/moved here"/*)
cd "$dir"

strange=$(ldd "$top/bin/tunesmith" | sed -n 's/^[[:space:]]*//; s/ (0x[0-9a-f]*)$//; / => /p' | grep -v "moved here" | grep -Ev '^(libc|libm|libdl|librt|libpthread)\.so' || true)
[ -z "$strange" ] || fail "libraries from outside the bundle: $strange"
mkdir "$dir/nothing"
# What is piped is read to its end: a program whose reader leaves early fails.
run() { env -i PATH="$dir/nothing" HOME="$dir" "$top/bin/tunesmith" "$@"; }  # no compiler, no linker, no assembler
run --version | grep '^tunesmith ' >/dev/null || fail "--version"
run ops | grep matmul >/dev/null || fail "operators are not found"
run schedule "matmul q4f16_1 A=f32 K=64 N=32" --run -n 2 --quiet | grep "differs by 0" >/dev/null || fail "the interpreter"
run schedule "matmul q4f16_1 A=f32 K=64 N=32 n=1" --asm --quiet | grep ret >/dev/null || fail "code generation"
run build --model "$top/tests/data/tiny" --quantization q4f16_1 --target cpu --out "$dir/dist" >"$dir/log" 2>&1 || { cat "$dir/log"; fail "build"; }
run bench "$dir/dist/tiny-q4f16_1" -p 8 -n 8 -r 1 --no-bandwidth 2>"$dir/log" | grep tg8 >/dev/null || { cat "$dir/log"; fail "a model built there"; }
run build --model synthetic:tiny --target cuda:sm_90a --out "$dir/dist" >"$dir/log" 2>&1 || { cat "$dir/log"; fail "build for a GPU that is not here"; }
# Paths of this checkout's own parts; its path alone may be as short as /src and then stands in any text.
made="(?<![\\w./-])\\Q$root\\E(/(build|kernels|src|tests)\\b|\\x00)"
places=$(LC_ALL=C grep -rlaP "$made" "$top" | head -n 3 | tr '\n' ' ' || true)
[ -z "$places" ] || fail "files say where they were made: $places"
mv "$top/share" "$dir/away"
if run ops >"$dir/log" 2>&1; then fail "kernels are found elsewhere: $root?"; fi
grep -qF "$top" "$dir/log" || { cat "$dir/log"; fail "the message of missing kernels does not say where they belong"; }
mv "$dir/away" "$top/share"
for page in $(grep -ohE 'docs/(notes/)?[0-9a-z-]+\.md' "$top/README.md" "$top"/docs/*.md | sort -u); do [ -f "$top/$page" ] || fail "README.md or a page of docs names $page, which is not there"; done
echo "1 bundle of $(stat -c %s "$dir"/out/*.tar.xz) bytes works"
