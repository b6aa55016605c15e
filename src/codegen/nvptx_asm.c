// Instructions written out in implementations of tensor intrinsics (docs/tir.md): their short forms, and operands spread over registers.
#include <ctype.h>
#include <stdlib.h>

#include "codegen/nvptx.h"

enum { MOST_OPERANDS = 300 };

typedef struct operand {
  char reg;  // 'r' 'h' 'l' 'f' 'd'
  int tie;   // the result whose register it shares, -1
} operand;

typedef struct instruction {
  ts__gen *g;
  const ts_expr *e;
  ts_text constraints, text;
  int nresults, nargs;
  operand result[MOST_OPERANDS], arg[MOST_OPERANDS];
} instruction;

static bool fail(instruction *x, const char *what) {
  ts__g_fail(x->g, x->e->type, "bad-instruction", "an instruction written out: %s", what);
  return false;
}

// --- text -----------------------------------------------------------------------------------------------------------------

// $[a-b] -> $a, ..., $b.
static bool expand_text(instruction *x, const char *p) {
  while (*p) {
    size_t n = strcspn(p, "$");
    ts_text_addn(&x->text, p, n);
    p += n;
    if (!*p) break;
    if (p[1] != '[') {
      ts_text_addn(&x->text, p++, 1);
      continue;
    }
    char *end;
    long from = strtol(p + 2, &end, 10), to = *end == '-' ? strtol(end + 1, &end, 10) : from;
    if (*end != ']' || from < 0 || to < from || to > 2 * MOST_OPERANDS) return fail(x, "a list of operands is $[first-last]");
    for (long i = from; i <= to; i++) ts_text_addf(&x->text, "%s$%ld", i > from ? ", " : "", i);
    p = end + 1;
  }
  return true;
}

// --- constraints ------------------------------------------------------------------------------------------------------------

static bool add_constraint(instruction *x, const char *item, size_t n, long step) {
  ts_text *t = &x->constraints;
  if (t->n) ts_text_add(t, ",");
  if (*item == '~') return ts_text_addn(t, item, n), true;
  bool out = *item == '=';
  int *count = out ? &x->nresults : &x->nargs;
  if (*count == MOST_OPERANDS) return fail(x, "too many operands");
  operand *o = out ? &x->result[*count] : &x->arg[*count];
  *o = (operand){item[out], -1};
  (*count)++;
  if (isdigit((unsigned char)*item)) {
    long tie = strtol(item, NULL, 10) + step;
    if (tie < 0 || tie >= x->nresults) return fail(x, "an argument is tied to a result that is not there");
    *o = (operand){x->result[tie].reg, (int)tie};
    return ts_text_addf(t, "%ld", tie), true;
  }
  if (!strchr("rhlfd", o->reg) || n != (out ? 2u : 1u)) return fail(x, "a constraint is none of r h l f d");
  return ts_text_addn(t, item, n), true;
}

// "=f*4,r,0*4,~{memory}" -> one constraint an operand.
static bool expand_constraints(instruction *x, const char *p) {
  while (*p) {
    size_t n = strcspn(p, ","), word = strcspn(p, ",*");
    long times = p[word] == '*' ? strtol(p + word + 1, NULL, 10) : 1;
    if (word == 0 || times < 1 || times > MOST_OPERANDS) return fail(x, "a constraint is empty or repeated too often");
    for (long i = 0; i < times; i++)
      if (!add_constraint(x, p, word, i)) return false;
    p += n;
    p += *p == ',';
  }
  return true;
}

// --- operands -----------------------------------------------------------------------------------------------------------------

static int bits_of(char reg) { return reg == 'h' ? 16 : reg == 'l' || reg == 'd' ? 64 : 32; }

static LLVMTypeRef type_of(ts__gen *g, char reg) {
  if (reg == 'f' || reg == 'd') return ts__g_float_type(g, bits_of(reg), 1);
  return ts__g_int_type(g, bits_of(reg), 1);
}

// The value v of type t in the registers from *at on.
static bool spread(instruction *x, ts_type t, LLVMValueRef v, LLVMValueRef *args, int *at) {
  ts__gen *g = x->g;
  int bits = ts_code_bits(t.code) * t.lanes, done = 0;
  if (*at == x->nargs) return fail(x, "more arguments than constraints");
  char reg = x->arg[*at].reg;
  int n = bits / bits_of(reg);
  if (n < 1 || n * bits_of(reg) != bits) return fail(x, "an argument does not fill whole registers");
  LLVMTypeRef one = type_of(g, reg);
  LLVMValueRef all = LLVMBuildBitCast(g->b, v, n > 1 ? LLVMVectorType(one, (unsigned)n) : one, "");
  for (; done < n; done++, (*at)++) {
    if (*at == x->nargs || x->arg[*at].reg != reg) return fail(x, "an argument takes more registers than it has constraints");
    args[*at] = n == 1 ? all : LLVMBuildExtractElement(g->b, all, ts__g_i64(g, done), "");
  }
  return true;
}

static LLVMTypeRef result_type(instruction *x) {
  ts__gen *g = x->g;
  LLVMTypeRef fields[MOST_OPERANDS];
  if (x->nresults == 0) return LLVMVoidTypeInContext(g->ctx);
  for (int i = 0; i < x->nresults; i++) fields[i] = type_of(g, x->result[i].reg);
  return x->nresults == 1 ? fields[0] : LLVMStructTypeInContext(g->ctx, fields, (unsigned)x->nresults, false);
}

// The results side by side, as the type of the call.
static LLVMValueRef gather(instruction *x, LLVMValueRef r) {
  ts__gen *g = x->g;
  ts_type t = x->e->type;
  LLVMTypeRef want = ts__g_reg_type(g, t.code, t.lanes);
  if (x->nresults == 0) return LLVMConstNull(want);
  char reg = x->result[0].reg;
  for (int i = 1; i < x->nresults; i++)
    if (x->result[i].reg != reg) return fail(x, "results are of one kind"), LLVMGetPoison(want);
  if (bits_of(reg) * x->nresults != ts_code_bits(t.code) * t.lanes)
    return fail(x, "the results do not fill the type"), LLVMGetPoison(want);
  if (x->nresults == 1) return LLVMBuildBitCast(g->b, r, want, "");
  LLVMValueRef v = LLVMGetPoison(LLVMVectorType(type_of(g, reg), (unsigned)x->nresults));
  for (int i = 0; i < x->nresults; i++)
    v = LLVMBuildInsertElement(g->b, v, LLVMBuildExtractValue(g->b, r, (unsigned)i, ""), ts__g_i64(g, i), "");
  return LLVMBuildBitCast(g->b, v, want, "");
}

static bool arguments(instruction *x, LLVMValueRef *args) {
  int at = 0;
  for (uint32_t i = 0; i < x->e->nargs; i++) {
    ts__val v = ts__g_expr(x->g, x->e->arg[i]);
    if (x->g->failed || !spread(x, x->e->arg[i]->type, v.v, args, &at)) return false;
  }
  return at == x->nargs || fail(x, "fewer arguments than constraints");
}

static ts__nv_kind kind_of(ts_asm_kind k) {
  return k == TS_ASM_PURE ? TS__NV_PURE : k == TS_ASM_READS ? TS__NV_READS : TS__NV_ACTS;
}

static LLVMValueRef emit(instruction *x, const ts_asm *a) {
  LLVMValueRef args[MOST_OPERANDS];
  if (x->g->lane_var) return fail(x, "inside a vector loop"), NULL;
  if (!expand_constraints(x, a->constraints) || !expand_text(x, a->text) || !arguments(x, args)) return NULL;
  LLVMValueRef r = ts__nv_asm(x->g, result_type(x), ts_text_str(&x->text), ts_text_str(&x->constraints), args,
                              (unsigned)x->nargs, kind_of(a->kind));
  return gather(x, r);
}

ts__val ts__nv_asm_call(ts__gen *g, const ts_expr *e) {
  instruction *x = ts_new(g->arena, instruction);
  x->g = g, x->e = e;
  ts_asm a;
  LLVMValueRef v = ts_asm_of(g->arena, e, &a) ? emit(x, &a) : NULL;
  ts_text_free(&x->constraints);
  ts_text_free(&x->text);
  if (!v) v = LLVMGetPoison(ts__g_reg_type(g, e->type.code, e->type.lanes));
  return (ts__val){v, e->type.lanes};
}
