#!/usr/bin/env bash
# bad.sh LAYERS.SH: small trees that break one rule each must be refused, and a clean one accepted.
set -uo pipefail
layers=$1
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
export GIT_CEILING_DIRECTORIES=$top  # the trees are no part of a checkout that they may lie in
status=0

# A clean tree of two folders, where up may include low.
fresh() {
  rm -rf "$top/t" && mkdir -p "$top/t/src/low" "$top/t/src/up" "$top/t/include"
  printf 'low:\nup: low\nheader low/extra.h\n' >"$top/t/src/layers.txt"
  printf 'int low(void);\n' | tee "$top/t/src/low/low.h" "$top/t/src/low/extra.h" >"$top/t/src/low/low_impl.h"
  printf '#include "low/low.h"\n#include "low/extra.h"\nint up(void);\n' >"$top/t/src/up/up.h"
  printf '#ifdef __cplusplus\nextern "C" {\n#endif\nint open_door(void);\n#ifdef __cplusplus\n}\n#endif\n' >"$top/t/include/door.h"
}
# expect CODE RULE WHAT
expect() {
  "$layers" "$2" "$top/t" >"$top/out" 2>&1
  local got=$?
  [ "$got" = "$1" ] || { echo "$3: rule $2 gave $got, expected $1"; cat "$top/out"; status=1; }
}

fresh
for rule in includes headers words scripts; do expect 0 "$rule" "clean tree"; done
fresh; echo '#include "up/up.h"' >"$top/t/src/low/a.c"; expect 1 includes "include against the order"
fresh; echo '#include "low/low_impl.h"' >"$top/t/src/up/a.c"; expect 1 includes "private header"
fresh; mkdir "$top/t/src/new"; echo '#include "low/low.h"' >"$top/t/src/new/a.c"; expect 1 includes "folder without a row"
fresh; echo 'size_t broken(void);' >"$top/t/src/low/b.h"; expect 1 headers "header that needs another"
fresh; echo 'int class;' >"$top/t/include/c.h"; expect 1 headers "public header that is not C++"
fresh; echo "// TO""DO later" >"$top/t/src/low/c.c"; expect 1 words "mark of unfinished work"
fresh; mkdir "$top/t/.git"; echo "# TO""DO later" >"$top/t/.git/log"; expect 0 words "what git keeps is no part of the tree"
fresh; printf '#!/usr/bin/env bash\nif\n' >"$top/t/x"; chmod +x "$top/t/x"; expect 1 scripts "script that does not parse"
fresh; printf '#!/usr/bin/env bash\ntrue\n' >"$top/t/x"; expect 1 scripts "script that is not executable"
fresh; printf '#!/usr/bin/env bash\nawk "BEGIN { print 1.5 }"\n' >"$top/t/x"; chmod +x "$top/t/x"; expect 1 scripts "script in the user's locale"
printf '#!/usr/bin/env bash\nexport LC_ALL=C\nawk "BEGIN { print 1.5 }"\n' >"$top/t/x"; expect 0 scripts "script in a locale of its own"
exit $status
