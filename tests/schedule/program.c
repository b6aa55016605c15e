// See program.h. Every stage reads a matrix (rows x columns) and writes another; rows may be the symbolic n.
#include "schedule/program.h"

typedef struct matrix {
  char name[8];
  bool symbolic;   // rows are n
  int rows, cols;
} matrix;
typedef struct program {
  ts_text params, allocs, body;
  ts_rng *r;
  matrix m[16];
  int n, inputs, temps, blocks;
} program;

static int pick(program *p, int n) { return (int)ts_rng_below(p->r, (uint32_t)n); }
static int size(program *p) { return 1 + pick(p, 12); }

static void rows_text(const matrix *m, char *out, size_t n) {
  if (m->symbolic) snprintf(out, n, "n");
  else snprintf(out, n, "%d", m->rows);
}

static matrix input(program *p, bool symbolic, int rows, int cols) {
  matrix m = {.symbolic = symbolic, .rows = rows, .cols = cols};
  char rt[16];
  snprintf(m.name, sizeof m.name, "x%d", p->inputs++);
  rows_text(&m, rt, sizeof rt);
  ts_text_addf(&p->params, "%s: f32[%s, %d], ", m.name, rt, cols);
  return m;
}

static matrix temp(program *p, bool symbolic, int rows, int cols) {
  matrix m = {.symbolic = symbolic, .rows = rows, .cols = cols};
  char rt[16];
  snprintf(m.name, sizeof m.name, "t%d", p->temps++);
  rows_text(&m, rt, sizeof rt);
  ts_text_addf(&p->allocs, "  alloc %s: f32[%s, %d]\n", m.name, rt, cols);
  return m;
}

// for i, j { block bK(vi, vj) { body } }
static void nest(program *p, const matrix *over, const char *body) {
  char rt[16];
  rows_text(over, rt, sizeof rt);
  ts_text_addf(&p->body, "  for i in 0..%s, j in 0..%d {\n    block b%d(vi: S = i, vj: S = j) {\n      %s\n    }\n  }\n", rt, over->cols, p->blocks++, body);
}

static void reduce(program *p, const matrix *over, bool columns, int k, const char *init, const char *body) {
  char rt[16];
  rows_text(over, rt, sizeof rt);
  ts_text_addf(&p->body, "  for i in 0..%s%s", rt, "");
  if (columns) ts_text_addf(&p->body, ", j in 0..%d", over->cols);
  ts_text_addf(&p->body, ", k in 0..%d {\n    block b%d(vi: S = i%s, vk: R = k) {\n      init { %s }\n      %s\n    }\n  }\n", k, p->blocks++,
               columns ? ", vj: S = j" : "", init, body);
}

static void push(program *p, matrix m) {
  if (p->n < 16) p->m[p->n++] = m;
}

static matrix any(program *p) { return pick(p, 3) ? p->m[p->n - 1] : p->m[pick(p, p->n)]; }

static void stage_unary(program *p) {
  static const char *const f[] = {"%s[vi, vj] * 0.5 + 1.0", "max(%s[vi, vj], 0.0)", "0.0 - %s[vi, vj]"};
  matrix a = any(p), t = temp(p, a.symbolic, a.rows, a.cols);
  char e[96], s[160];
  snprintf(e, sizeof e, f[pick(p, 3)], a.name);
  snprintf(s, sizeof s, "%s[vi, vj] = %s", t.name, e);
  nest(p, &t, s);
  push(p, t);
}

static void stage_binary(program *p) {
  matrix a = any(p), b = {0};
  for (int k = 0; k < p->n; k++)
    if (p->m[k].symbolic == a.symbolic && p->m[k].rows == a.rows && p->m[k].cols == a.cols && (!b.name[0] || pick(p, 2))) b = p->m[k];
  matrix t = temp(p, a.symbolic, a.rows, a.cols);
  char s[160];
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] - %s[vi, vj] * 0.25", t.name, a.name, b.name);
  nest(p, &t, s);
  push(p, t);
}

static void stage_stencil(program *p) {
  matrix a = any(p);
  if (a.cols < 3) return;
  matrix t = temp(p, a.symbolic, a.rows, a.cols - 2);
  char s[160];
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] + %s[vi, vj + 2] * 0.5", t.name, a.name, a.name);
  nest(p, &t, s);
  push(p, t);
}

// The same along rows, of which there is a known number.
static void stage_blur(program *p) {
  matrix a = any(p);
  if (a.symbolic || a.rows < 3) return;
  matrix t = temp(p, false, a.rows - 2, a.cols);
  char s[160];
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] + %s[vi + 1, vj] - %s[vi + 2, vj] * 0.5", t.name, a.name, a.name, a.name);
  nest(p, &t, s);
  push(p, t);
}

static void stage_transpose(program *p) {
  matrix a = any(p);
  if (a.symbolic) return;
  matrix t = temp(p, false, a.cols, a.rows);
  char s[160];
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vj, vi]", t.name, a.name);
  nest(p, &t, s);
  push(p, t);
}

static void stage_reverse(program *p) {
  matrix a = any(p), t = temp(p, a.symbolic, a.rows, a.cols);
  char s[160];
  if (pick(p, 2)) snprintf(s, sizeof s, "%s[vi, %d - vj] = %s[vi, vj]", t.name, a.cols - 1, a.name);
  else snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, %d - vj]", t.name, a.name, a.cols - 1);
  nest(p, &t, s);
  push(p, t);
}

static void stage_rows(program *p) {
  matrix a = any(p), t = temp(p, a.symbolic, a.rows, 1);
  char init[64], s[160];
  bool max = pick(p, 2);
  snprintf(init, sizeof init, "%s[vi, 0] = %s", t.name, max ? "-1000.0" : "0.0");
  snprintf(s, sizeof s, max ? "%s[vi, 0] = max(%s[vi, 0], %s[vi, vk])" : "%s[vi, 0] = %s[vi, 0] + %s[vi, vk]", t.name, t.name, a.name);
  reduce(p, &t, false, a.cols, init, s);
  push(p, t);
}

static void stage_broadcast(program *p) {
  matrix a = any(p), c = {0};
  for (int k = 0; k < p->n; k++)
    if (p->m[k].symbolic == a.symbolic && p->m[k].rows == a.rows && p->m[k].cols == 1) c = p->m[k];
  if (!c.name[0]) return;
  matrix t = temp(p, a.symbolic, a.rows, a.cols);
  char s[160];
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] - %s[vi, 0]", t.name, a.name, c.name);
  nest(p, &t, s);
  push(p, t);
}

static void stage_product(program *p) {
  matrix a = any(p), w = input(p, false, size(p), a.cols), t = temp(p, a.symbolic, a.rows, w.rows);
  char init[64], s[200];
  snprintf(init, sizeof init, "%s[vi, vj] = 0.0", t.name);
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] + %s[vi, vk] * %s[vj, vk]", t.name, t.name, a.name, w.name);
  reduce(p, &t, true, a.cols, init, s);
  push(p, t);
}

// A weight of codes of four bits, dequantized into a buffer and then multiplied.
static void stage_dequantize(program *p) {
  matrix a = any(p);
  matrix w = temp(p, false, size(p), a.cols);
  char s[240], q[8];
  snprintf(q, sizeof q, "q%d", p->inputs++);
  ts_text_addf(&p->params, "%s: u32[%d, %d], ", q, w.rows, (w.cols + 7) / 8);
  snprintf(s, sizeof s, "%s[vi, vj] = cast(f32, (%s[vi, vj // 8] >> cast(u32, vj %% 8 * 4)) & 15:u32) * 0.125 - 1.0", w.name, q);
  nest(p, &w, s);
  matrix t = temp(p, a.symbolic, a.rows, w.rows);
  char init[64];
  snprintf(init, sizeof init, "%s[vi, vj] = 0.0", t.name);
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] + %s[vi, vk] * %s[vj, vk]", t.name, t.name, a.name, w.name);
  reduce(p, &t, true, a.cols, init, s);
  push(p, t);
}

static void stage_gather(program *p) {
  matrix a = any(p), t = temp(p, a.symbolic, a.rows, a.cols);
  char s[200], rt[16], q[8];
  rows_text(&a, rt, sizeof rt);
  snprintf(q, sizeof q, "g%d", p->inputs++);
  ts_text_addf(&p->params, "%s: i64[%s], ", q, rt);
  snprintf(s, sizeof s, "%s[vi, vj] = %s[%s[vi] %% %s, vj]", t.name, a.name, q, rt);
  nest(p, &t, s);
  push(p, t);
}

static void stage_in_place(program *p) {
  matrix a = p->m[p->n - 1];
  if (a.name[0] != 't') return;
  char s[160];
  if (pick(p, 3) == 0 && a.cols > 1) {  // a scan along the columns
    char rt[16];
    rows_text(&a, rt, sizeof rt);
    ts_text_addf(&p->body, "  for i in 0..%s, j in 0..%d {\n    block b%d(vi: S = i, vj: O = j) {\n      %s[vi, vj + 1] = %s[vi, vj] * 0.5 + %s[vi, vj + 1]\n    }\n  }\n",
                 rt, a.cols - 1, p->blocks++, a.name, a.name, a.name);
    return;
  }
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] + 1.0", a.name, a.name);
  nest(p, &a, s);
}

static void stage_slice(program *p) {
  matrix a = any(p);
  if (a.cols < 2) return;
  matrix t = temp(p, a.symbolic, a.rows, a.cols / 2);
  char s[160];
  if (pick(p, 2)) snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj * 2] + %s[vi, vj * 2 + 1]", t.name, a.name, a.name);
  else snprintf(s, sizeof s, "%s[vi, vj] = max(%s[vi, vj], %s[vi, vj + %d])", t.name, a.name, a.name, a.cols / 2);
  nest(p, &t, s);
  push(p, t);
}

// Two blocks that write the halves of one buffer.
static void stage_halves(program *p) {
  matrix a = any(p), t = temp(p, a.symbolic, a.rows, a.cols * 2);
  char s[160];
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] + 1.0", t.name, a.name);
  nest(p, &a, s);
  snprintf(s, sizeof s, "%s[vi, vj + %d] = %s[vi, vj] - 1.0", t.name, a.cols, a.name);
  nest(p, &a, s);
  push(p, t);
}

// Dot products of bytes in the layout of a tensor intrinsic, then their values as floats.
static void stage_dot(program *p) {
  matrix a = any(p);
  int tiles = 1 + pick(p, 2), steps = 1 + pick(p, 3), k = p->inputs++;
  char rt[16], s[300];
  rows_text(&a, rt, sizeof rt);
  ts_text_addf(&p->params, "u%d: u8[%d, %d, 16, 4], v%d: i8[%s, %d], ", k, tiles, steps, k, rt, steps * 4);
  ts_text_addf(&p->allocs, "  alloc d%d: i32[%s, %d]\n", k, rt, tiles * 16);
  ts_text_addf(&p->body, "  for i in 0..%s, o in 0..%d, l in 0..16, c in 0..%d, j in 0..4 {\n", rt, tiles, steps);
  ts_text_addf(&p->body, "    block dot%d(vi: S = i, vo: S = o, vl: S = l, vc: R = c, vj: R = j) {\n      init { d%d[vi, vo * 16 + vl] = 0 }\n", p->blocks++, k);
  ts_text_addf(&p->body, "      d%d[vi, vo * 16 + vl] = d%d[vi, vo * 16 + vl] + cast(i32, v%d[vi, vc * 4 + vj]) * cast(i32, u%d[vo, vc, vl, vj])\n    }\n  }\n", k, k, k, k);
  matrix t = temp(p, a.symbolic, a.rows, tiles * 16);
  snprintf(s, sizeof s, "%s[vi, vj] = cast(f32, d%d[vi, vj]) * 0.01", t.name, k);
  nest(p, &t, s);
  push(p, t);
}

// Reductions that carry several values, or whose order counts: @1, @2 and @3 are the results, @0 what is reduced.
static void stage_tuple(program *p) {
  static const struct {
    const char *init, *body;
  } kinds[] = {
      {"@1 = -1000.0 @2 = 99.0",
       "let w: bool = @1 < @0 || @1 == @0 && cast(f32, vk) < @2\n let b: f32 = select(w, @0, @1)\n @2 = select(w, cast(f32, vk), @2)\n @1 = b"},
      {"@1 = 1000.0 @2 = 99.0",
       "@2 = select(@1 == @0, min(@2, cast(f32, vk)), select(@0 < @1, cast(f32, vk), @2))\n @1 = min(@1, @0)"},
      {"@1 = -1000.0 @2 = 0.0", "@2 = select(@1 < @0, cast(f32, vk), @2)\n @1 = max(@1, @0)"},
      {"@1 = -1000.0 @2 = 0.0", "let top: f32 = max(@1, @0)\n @2 = @2 * exp(@1 - top) + exp(@0 - top)\n @1 = top"},
      {"@1 = 0.0 @2 = 0.0", "@1 = @1 + @0\n @2 = @2 + @0 * @0"},
      {"@1 = 0.0 @2 = 1.0", "@2 = max(@2, @0)\n @1 = @1 - @0"},
      {"@1 = 0.0 @2 = 0.0 @3 = 0.0", "@3 = @3 + 1.0\n let d: f32 = @0 - @1\n @1 = @1 + d / @3\n @2 = @2 + d * (@0 - @1)"},
      {"@1 = 0.0 @2 = 0.0", "@1 = @1 * 0.5 + @0\n @2 = @2 + @0"},
  };
  int kind = pick(p, (int)TS_COUNTOF(kinds));
  matrix a = any(p), t[3];
  for (int i = 0; i < 3; i++) t[i] = temp(p, a.symbolic, a.rows, 1);
  ts_text made[2] = {0};
  for (int k = 0; k < 2; k++)
    for (const char *c = k ? kinds[kind].body : kinds[kind].init; *c; c++) {
      if (*c != '@') ts_text_addn(&made[k], c, 1);
      else if (*++c == '0') ts_text_addf(&made[k], "%s[vi, vk]", a.name);
      else ts_text_addf(&made[k], "%s[vi, 0]", t[*c - '1'].name);
    }
  reduce(p, &t[0], false, a.cols, ts_text_str(&made[0]), ts_text_str(&made[1]));
  ts_text_free(&made[0]);
  ts_text_free(&made[1]);
  push(p, t[0]);
  push(p, t[1]);
}

// A border of zeros on both sides, as reads of a convolution want it.
static void stage_pad(program *p) {
  matrix a = any(p), t = temp(p, a.symbolic, a.rows, a.cols + 3);
  char s[200];
  snprintf(s, sizeof s, "%s[vi, vj] = select(1 <= vj && vj < %d, %s[vi, vj - 1], 0.0)", t.name, a.cols + 1, a.name);
  nest(p, &t, s);
  push(p, t);
}

// Row sums and what is added to them.
static void stage_biased(program *p) {
  matrix a = any(p), b = input(p, a.symbolic, a.rows, 1), t = temp(p, a.symbolic, a.rows, 1), u = temp(p, a.symbolic, a.rows, 1);
  char init[64], s[160];
  snprintf(init, sizeof init, "%s[vi, 0] = %s", t.name, pick(p, 2) ? "0.0" : "0.5");
  snprintf(s, sizeof s, "%s[vi, 0] = %s[vi, 0] + %s[vi, vk]", t.name, t.name, a.name);
  reduce(p, &t, false, a.cols, init, s);
  snprintf(s, sizeof s, "%s[vi, vj] = %s[vi, vj] + %s[vi, vj]", u.name, t.name, b.name);
  nest(p, &u, s);
  push(p, u);
}

void program_write(ts_text *out, ts_rng *r) {
  static void (*const stage[])(program *) = {stage_unary, stage_unary, stage_binary, stage_stencil, stage_blur, stage_transpose, stage_reverse, stage_rows, stage_rows,
                                             stage_broadcast, stage_product, stage_product, stage_dequantize, stage_gather, stage_in_place, stage_slice, stage_halves, stage_dot,
                                             stage_tuple, stage_tuple, stage_tuple, stage_pad, stage_biased};
  program p = {.r = r};
  bool symbolic = pick(&p, 3) == 0;
  push(&p, input(&p, symbolic, size(&p), 2 + pick(&p, 12)));
  int stages = 1 + pick(&p, 4);
  for (int i = 0; i < stages; i++) stage[pick(&p, (int)TS_COUNTOF(stage))](&p);
  matrix last = p.m[p.n - 1];
  char s[160], rt[16];
  rows_text(&last, rt, sizeof rt);
  snprintf(s, sizeof s, "y[vi, vj] = %s[vi, vj] * 2.0", last.name);
  nest(&p, &last, s);
  static const char *const fact[] = {"n: dim(1..64), ", "n: dim(4..64, multiple 4), ", "n: dim(1..8), "};
  ts_text_addf(out, "func main(%s%sy: out f32[%s, %d]) {\n%s%s}\n", symbolic ? fact[pick(&p, 3)] : "", ts_text_str(&p.params), rt, last.cols,
               ts_text_str(&p.allocs), ts_text_str(&p.body));
  ts_text_free(&p.params);
  ts_text_free(&p.allocs);
  ts_text_free(&p.body);
}
