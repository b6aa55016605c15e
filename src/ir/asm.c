// Instructions written out: asm("text", "constraints", a, b): T. A call whose callee holds the texts.
#include "ir_impl.h"

enum { PART = 1 };  // between the parts of the callee

static const char *const names[] = {"asm", "asm.pure", "asm.reads"};

bool ts__asm_find(const char *name, size_t n, ts_asm_kind *out) {
  for (size_t i = 0; i < TS_COUNTOF(names); i++) {
    if (strlen(names[i]) != n || memcmp(names[i], name, n) != 0) continue;
    *out = (ts_asm_kind)i;
    return true;
  }
  return false;
}

const char *ts_asm_name(ts_asm_kind k) { return names[k]; }

const ts_expr *ts_asm_call(ts_ir *ir, ts_type t, const ts_asm *x, const ts_expr *const *args, int n) {
  const char *callee = ts_arena_printf(ir->arena, "%s%c%s%c%s", names[x->kind], PART, x->text, PART, x->constraints);
  return ts_call(ir, t, callee, args, n);
}

bool ts_asm_of(ts_arena *a, const ts_expr *e, ts_asm *out) {
  if (e->kind != TS_E_CALL) return false;
  const char *first = strchr(e->callee, PART), *second = first ? strchr(first + 1, PART) : NULL;
  if (!second || !ts__asm_find(e->callee, (size_t)(first - e->callee), &out->kind)) return false;
  if (!a) return true;
  out->text = ts_arena_strndup(a, first + 1, (size_t)(second - first - 1));
  out->constraints = ts_arena_strdup(a, second + 1);
  return true;
}
