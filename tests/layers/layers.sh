#!/usr/bin/env bash
# layers.sh RULE ROOT: check one rule about the source tree at ROOT. Prints each offence as FILE:LINE: FACT; exit 1 when there is one.
#
#   includes  a folder of src/ includes only the folders that src/layers.txt lists for it, and of those only NAME/NAME.h and the
#             headers listed there after the word "header"
#   headers   every header compiles alone; include/*.h also as C++
#   words     no marks of unfinished work, no machine paths, no hosts of package registries
#   scripts   every shell script parses, is executable, and sorts and calculates (awk) in one locale whatever the user's is
set -uo pipefail
export LC_ALL=C
rule=$1
cd "$2" || exit 2
LLVM_INCLUDE=${LLVM_INCLUDE:-$(llvm-config-19 --includedir 2>/dev/null)}

includes() {
  local file
  while IFS= read -r file; do
    grep -nHE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file"
  done < <(find src -name '*.c' -o -name '*.h' -o -name '*.def' | sort) |
    awk -F: '
      BEGIN {
        while ((getline line < "src/layers.txt") > 0) {
          if (line ~ /^#/ || line ~ /^[ \t]*$/) continue
          if (line ~ /^header /) { split(line, word, " "); shared[word[2]] = 1; continue }
          name = line; sub(/:.*/, "", name); list = line; sub(/^[^:]*:/, "", list)
          known[name] = 1
          n = split(list, word, " ")
          for (i = 1; i <= n; i++) allowed[name, word[i]] = 1
        }
      }
      {
        split($1, path, "/"); folder = path[2]
        target = $3; sub(/^[^"]*"/, "", target); sub(/".*/, "", target)
        if (!(folder in known)) { print $1 ":" $2 ": folder " folder " is not in src/layers.txt"; bad = 1; next }
        if (target !~ /\//) next
        other = target; sub(/\/.*/, "", other)
        if (other == folder || !(other in known)) next
        if (!((folder, other) in allowed) && !((folder, "*") in allowed)) {
          print $1 ":" $2 ": " folder " may not include " other " (" target ")"; bad = 1
        } else if (target != other "/" other ".h" && !(target in shared)) {
          print $1 ":" $2 ": " target " is private to " other; bad = 1
        }
      }
      END { exit bad }'
}

headers() {
  local file status=0 flags=(-fsyntax-only -Isrc -Iinclude ${LLVM_INCLUDE:+-isystem "$LLVM_INCLUDE"})
  while IFS= read -r file; do
    "${CC:-cc}" -std=gnu17 -x c "${flags[@]}" "$file" || { echo "$file:1: does not compile alone"; status=1; }
  done < <(find src include -name '*.h' 2>/dev/null | sort)
  while IFS= read -r file; do
    "${CC:-cc}" -std=c++17 -x c++ "${flags[@]}" "$file" || { echo "$file:1: does not compile as C++"; status=1; }
  done < <(find include -name '*.h' 2>/dev/null | sort)
  return $status
}

# Tracked files that are there, whoever owns the checkout, or all files when this is none. Test data are other people's words and numbers.
text_files() {
  local f
  { git -c safe.directory="$PWD" ls-files 2>/dev/null || find . -name .git -prune -o -type f -print | sed 's|^\./||'; } |
    grep -vE '^(LICENSE$|tests/data/|build/|models/)' | sort | while IFS= read -r f; do [ ! -f "$f" ] || printf '%s\0' "$f"; done
}

words() {
  # Each pattern is written so that it does not match itself.
  local pattern='\b(TO[D]O|FIX[M]E|XX[X])\b|/w[o]rk/|/r[o]ot/|p[y]pi\.org|pythonh[o]sted|deb\.deb[i]an\.org'
  local found
  found=$(text_files | xargs -0r grep -nHIE "$pattern")
  [ -z "$found" ] || { printf '%s\n' "$found"; return 1; }
}

scripts() {
  local f first status=0
  while IFS= read -r f; do
    read -r first <"$f"
    [[ $first == '#!'*bash* ]] || continue
    bash -n "$f" || { echo "$f:1: does not parse"; status=1; }
    [ -x "$f" ] || { echo "$f:1: is not executable"; status=1; }
    grep -qE '\b(awk|sort|comm)\b' "$f" && ! grep -qE '^export LC_ALL=C\b|^\. ".*/(lib|cuda)\.sh"$' "$f" &&
      { echo "$f:1: depends on the user's locale (export LC_ALL=C)"; status=1; }
  done < <(text_files | xargs -0r grep -lIE '^#!.*\bbash\b')
  return $status
}

case $rule in
  includes | headers | words | scripts) "$rule" ;;
  *) echo "layers.sh: no rule $rule" >&2; exit 2 ;;
esac
