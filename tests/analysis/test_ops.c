// The loops of every operator as written: what feeds spatial iterators carries nothing, what feeds reduce iterators
// carries the reduction. And the same after the nests are split, fused and guarded as schedules do.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
// cmocka needs the above first
#include <cmocka.h>

#include "analysis/analysis.h"

static const ts_bind binds[] = {
    {.name = "N", .kind = TS_BIND_INT, .i = 96},
    {.name = "K", .kind = TS_BIND_INT, .i = 64},
    {.name = "A", .kind = TS_BIND_TYPE, .code = TS_F32},
    {.name = "R", .kind = TS_BIND_TYPE, .code = TS_F32},
    {.name = "I", .kind = TS_BIND_INT, .i = 64},
    {.name = "eps", .kind = TS_BIND_FLOAT, .f = 1e-5},
    {.name = "HK", .kind = TS_BIND_INT, .i = 2},
};

typedef struct fixture {
  ts_arena *arena;
  ts_ir *ir;
  ts_analyzer *a;
  const char *name;
  const ts_stmt *loop[8];
  int nloops;
  int checked;
} fixture;

static int setup(void **state) {
  fixture *f = calloc(1, sizeof *f);
  f->arena = ts_arena_new("test");
  f->ir = ts_ir_new(f->arena);
  f->a = ts_analyzer_new(f->ir);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  fixture *f = *state;
  ts_analyzer_free(f->a);
  ts_arena_free(f->arena);
  free(f);
  return 0;
}

static const ts_func *parse(fixture *f, const char *text) {
  ts_diag d;
  const ts_func *r = ts_func_parse(f->ir, "test", text, strlen(text), binds, (int)TS_COUNTOF(binds), &d);
  if (!r) fail_msg("%s", d.message);
  return r;
}

static const ts_stmt *child(const ts_stmt *s, int i) { return s->kind == TS_S_SEQ ? s->seq.child[i] : s; }
static const ts_stmt *root(const ts_func *f) { return f->body->block->body; }

// --- operators as written ----------------------------------------------------------------------------------
// The parameters above, and those that the header names: 64, 1.0, f32.
static int header_binds(fixture *f, const char *text, ts_bind *out) {
  static const char *const word[] = {"param", "float", "type"};
  int n = (int)TS_COUNTOF(binds);
  const char *end = strstr(text, "func ");
  memcpy(out, binds, sizeof binds);
  for (const char *line = text; line && line < end; line = strchr(line, '\n')) {
    char *at = ts_arena_strndup(f->arena, line + 1, strcspn(line + 1, "\n")), *kind = strtok(at, " ");
    line++;
    for (int k = 0; kind && k < 3; k++) {
      if (strcmp(kind, word[k]) != 0) continue;
      for (char *name = strtok(NULL, " "); name && n < 24; name = strtok(NULL, " ")) {
        bool known = false;
        for (int i = 0; i < n; i++) known = known || !strcmp(out[i].name, name);
        if (!known)
          out[n++] = (ts_bind){.name = name,
                               .kind = k == 0   ? TS_BIND_INT
                                       : k == 1 ? TS_BIND_FLOAT
                                                : TS_BIND_TYPE,
                               .i = 64,
                               .f = 1.0,
                               .code = TS_F32};
      }
    }
  }
  return n;
}

// What the loop feeds in the blocks below: 0 nothing, 1 spatial only, 2 reduce only, 3 both.
static int feeds(const ts_stmt *s, const ts_var *v) {
  int r = 0;
  switch (s->kind) {
    case TS_S_FOR:
      return feeds(s->loop.body, v);
    case TS_S_SEQ:
      for (int i = 0; i < s->seq.n; i++) r |= feeds(s->seq.child[i], v);
      return r;
    case TS_S_BLOCK:
      for (int i = 0; i < s->block->niters; i++)
        if (ts_expr_uses_var(s->block->iters[i].value, v)) r |= s->block->iters[i].kind == TS_ITER_REDUCE ? 2 : 1;
      return r;
    default:
      return 0;
  }
}

static void check_loops(fixture *f, const ts_stmt *s) {
  if (s->kind == TS_S_SEQ) {
    for (int i = 0; i < s->seq.n; i++) check_loops(f, s->seq.child[i]);
    return;
  }
  if (s->kind != TS_S_FOR) return;
  int kind = feeds(s, s->loop.var);
  ts_dep d = ts_loop_carried(f->a, s, NULL, 0);
  f->checked++;
  if (kind == 1 && d.answer != TS_NO)
    fail_msg("%s: loop %s: %s (%s)", f->name, s->loop.var->name, d.why, ts_tri_name(d.answer));
  if (kind == 2 && (d.answer != TS_YES || !d.reduction_only))
    fail_msg("%s: loop %s is no reduction: %s (%s)", f->name, s->loop.var->name, d.why, ts_tri_name(d.answer));
  size_t mark = ts_analyzer_push(f->a);
  ts_bind_stmt(f->a, s);
  check_loops(f, s->loop.body);
  ts_analyzer_pop(f->a, mark);
}

static void test_operators(void **state) {
  fixture *f = *state;
  ts_diag d;
  char **names, *text, *quant;
  size_t n, len, qlen;
  char *dir = ts_path_join(f->arena, ts_data_dir(), "kernels/ops"),
       *q = ts_path_join(f->arena, ts_data_dir(), "kernels/quant/q4f16_1.tir");
  if (!ts_dir_list(dir, ".tir", f->arena, &names, &n, &d) || !ts_file_read(q, f->arena, &quant, &qlen, &d))
    fail_msg("%s", d.message);
  for (size_t i = 0; i < n; i++) {
    if (!ts_file_read(ts_path_join(f->arena, dir, names[i]), f->arena, &text, &len, &d)) fail_msg("%s", d.message);
    const char *at = strstr(text, "func main");
    assert_non_null(at);
    ts_lex l;
    ts_lex_init(&l, names[i], at, len - (size_t)(at - text));
    ts_macros m = {.file = "q4f16_1.tir", .text = quant, .n = qlen};
    ts_bind bind[24];
    const ts_func *func = ts_func_parse_at(f->ir, &l, bind, header_binds(f, text, bind), &m, &d);
    if (!func) fail_msg("%s: %s", names[i], d.message);
    f->name = names[i];
    size_t mark = ts_analyzer_push(f->a);
    ts_bind_dims(f->a, func);
    check_loops(f, root(func));
    ts_analyzer_pop(f->a, mark);
  }
  assert_true(f->checked > 50);
}

// --- nests as schedules leave them -------------------------------------------------------------------------
static void collect(fixture *f, const ts_stmt *s) {
  f->nloops = 0;
  for (; s->kind == TS_S_FOR; s = s->loop.body) f->loop[f->nloops++] = s;
}

static const ts_block *block_of(const ts_stmt *s) {
  while (s->kind == TS_S_FOR) s = s->loop.body;
  return s->block;
}

static void expect_map(fixture *f, const ts_func *func, int nest, ts_tri bijective) {
  ts_diag d = {.message = ""};
  ts_itermap m;
  const ts_stmt *s = child(root(func), nest);
  size_t mark = ts_analyzer_push(f->a);
  ts_bind_dims(f->a, func);
  collect(f, s);
  bool ok = ts_itermap_of_block(f->a, f->loop, f->nloops, block_of(s), &m, &d);
  if (m.bijective != bijective)
    fail_msg("%s: bijective %s (injective %s, surjective %s) %s", block_of(s)->name, ts_tri_name(m.bijective),
             ts_tri_name(m.injective), ts_tri_name(m.surjective), ok ? "" : d.message);
  ts_analyzer_pop(f->a, mark);
}

static void test_bindings(void **state) {
  fixture *f = *state;
  const ts_func *g =
      parse(f,
            "func t(n: dim(1..4096, multiple 8), m: dim(1..4096), y: out f32[n, 100]) {\n"
            "  for io in 0..7, ii in 0..16 { block a(v: S(0..100) = io * 16 + ii) where io * 16 + ii < 100 { y[0, v] = "
            "1.0 } }\n"
            "  for a in 0..n // 8, b in 0..8, i in 0..100 { block b(va: S(0..n) = a * 8 + b, v: S(0..100) = i) { y[va, "
            "v] = 1.0 } }\n"
            "  for f in 0..n * 100 { block c(va: S(0..n) = f // 100, v: S(0..100) = f % 100) { y[va, v] = 1.0 } }\n"
            "  for f in 0..n // 8 * 100, b in 0..8 { block d(va: S(0..n) = f // 100 * 8 + b, v: S(0..100) = f % 100) { "
            "y[va, v] = 1.0 } }\n"
            "  for f in 0..7, g in 0..16 { block e(va: S(0..10) = (f * 16 + g) // 10, v: S(0..10) = (f * 16 + g) % 10) "
            "where f * 16 + g < 100 { y[0, v] = 1.0 } }\n"
            "  for f in 0..100 { block h(v: S(0..100) = f // 2) { y[0, v] = 1.0 } }\n"
            "  for f in 0..100 { block k(v: S(0..50) = f // 2) { y[0, v] = 1.0 } }\n"
            "  for a in 0..(m + 15) // 16, b in 0..16 { block l(v: S(0..m) = a * 16 + b) where a * 16 + b < m { y[0, v "
            "% 100] = 1.0 } }\n"
            "  for a in 0..4, f in 0..m * 100 { block o(va: S(0..4) = a, vb: S(0..m) = f % m, v: S(0..100) = f // m) { "
            "y[0, v] = 1.0 } }\n"
            "}\n");
  ts_tri wanted[] = {TS_YES, TS_YES, TS_YES, TS_YES, TS_YES, TS_NO, TS_NO, TS_YES, TS_YES};
  for (int i = 0; i < (int)TS_COUNTOF(wanted); i++) expect_map(f, g, i, wanted[i]);
}

static void test_dependences(void **state) {
  fixture *f = *state;
  static const struct {
    const char *body;
    ts_tri answer[4];  // per loop of the nest
    bool reduction[4];
  } row[] = {
      {"for i in 0..64 { block a(v: S = i) { y[v // 2] = 1.0 } }", {TS_YES}, {false}},
      {"for i in 0..64 { block a(v: S = i) { y[v] = x[v] } }", {TS_NO}, {false}},
      {"for i in 0..63 { block a(v: S = i) { y[v + 1] = y[v] } }", {TS_YES}, {false}},
      {"for i in 0..32 { block a(v: S = i) { y[v + 32] = y[v] } }", {TS_NO}, {false}},
      {"for i in 0..32 { block a(v: S = i) { y[v * 2 + 1] = y[v * 2] } }", {TS_NO}, {false}},
      {"for i in 0..8, k in 0..64 { block a(v: S = i, vk: R = k) { init { y[v] = 0.0 } y[v] = y[v] + x[vk] } }",
       {TS_NO, TS_YES},
       {false, true}},
      {"for i in 0..8, k in 0..64 { block a(v: S = i, vk: R = k) { y[v] = y[v] * 0.5 + x[vk] } }",
       {TS_NO, TS_YES},
       {false, false}},
      {"for i in 0..8, k in 0..64 { block a(v: S = i, vk: S = k) { y[v] = y[v] + x[vk] } }",
       {TS_NO, TS_YES},
       {false, false}},
      {"for o in 0..4, i in 0..16 { block a(v: S(0..50) = o * 16 + i) where o * 16 + i < 50 { y[v] = x[v] } }",
       {TS_NO, TS_NO},
       {false}},
      {"for f in 0..n * 16 { block a(va: S(0..n) = f // 16, v: S(0..16) = f % 16) { z[va, v] = z[va, v] * 2.0 } }",
       {TS_NO},
       {false}},
      {"for a in 0..n { block a(va: S = a) { z[(t + va) // 16, (t + va) % 16] = 1.0 } }", {TS_NO}, {false}},
      {"for a in 0..n // 8, b in 0..8, j in 0..16 { block a(va: S(0..n) = a * 8 + b, vj: S = j) { z[va, vj] = 1.0 } }",
       {TS_NO, TS_NO, TS_NO},
       {false}},
      {"for a in 0..16, b in 0..n { block a(va: S = a, vb: S = b) { g[va * n + vb] = 1.0 } }", {TS_NO, TS_NO}, {false}},
      {"for a in 0..n { block a(va: S = a) { y[min(va, 63)] = 1.0 } }", {TS_YES}, {false}},
      {"for a in 0..64 { block a(va: S = a) { y[cast(i64, p[va])] = 1.0 } }", {TS_UNKNOWN}, {false}},
  };
  for (size_t r = 0; r < TS_COUNTOF(row); r++) {
    char text[1000];
    snprintf(text, sizeof text,
             "func t(n: dim(8..4096, multiple 8), t: dim(0..4096), x: f32[64], p: i32[64], y: inout f32[64], z: inout "
             "f32[n + t, 16], g: inout f32[n * 16]) {\n%s\n}\n",
             row[r].body);
    const ts_func *g = parse(f, text);
    size_t mark = ts_analyzer_push(f->a);
    ts_bind_dims(f->a, g);
    const ts_stmt *s = root(g);
    for (int i = 0; s->kind == TS_S_FOR; s = s->loop.body, i++) {
      ts_dep d = ts_loop_carried(f->a, s, NULL, 0);
      if (d.answer != row[r].answer[i] || d.reduction_only != row[r].reduction[i])
        fail_msg("%s\n  loop %s: %s %s%s", row[r].body, s->loop.var->name, ts_tri_name(d.answer), d.why,
                 d.reduction_only ? " (reduction)" : "");
      ts_bind_stmt(f->a, s);
    }
    ts_analyzer_pop(f->a, mark);
  }
}

// A tiled matrix product with its epilogue inside the parallel loop; n symbolic.
static const char tiled[] =
    "func t(n: dim(8..4096, multiple 8), x: f32[n, 1024], w: f32[4096, 1024], y: out f32[n, 4096]) {\n"
    "  alloc acc: f32[n, 4096]\n"
    "  for f in 0..n // 8 * 64 {\n"
    "    for a in 0..8, i in 0..64 { block zero(va: S(0..n) = f // 64 * 8 + a, vi: S(0..4096) = f % 64 * 64 + i) { "
    "acc[va, vi] = 0.0 } }\n"
    "    for ko in 0..128, a in 0..8, i in 0..4, ki in 0..8, l in 0..16 {\n"
    "      block mm(va: S(0..n) = f // 64 * 8 + a, vi: S(0..4096) = f % 64 * 64 + i * 16 + l, vk: R(0..1024) = ko * 8 "
    "+ ki) {\n"
    "        acc[va, vi] = acc[va, vi] + x[va, vk] * w[vi, vk]\n"
    "      }\n"
    "    }\n"
    "    for a in 0..8, i in 0..64 { block out(va: S(0..n) = f // 64 * 8 + a, vi: S(0..4096) = f % 64 * 64 + i) { "
    "y[va, vi] = acc[va, vi] } }\n"
    "  }\n"
    "}\n";

static void test_tiled(void **state) {
  fixture *f = *state;
  const ts_func *g = parse(f, tiled);
  static const ts_tri mm[] = {TS_YES, TS_NO, TS_NO, TS_YES, TS_NO};  // ko a i ki l
  ts_bind_dims(f->a, g);
  const ts_stmt *s = root(g);
  ts_dep d = ts_loop_carried(f->a, s, NULL, 0);
  if (d.answer != TS_NO) fail_msg("f: %s %s", ts_tri_name(d.answer), d.why);
  ts_bind_stmt(f->a, s);
  const ts_stmt *const *c = s->loop.body->seq.child, *k = c[1];
  const ts_buffer *acc = g->body->block->allocs[0];
  for (int i = 0; i < 5; i++, k = k->loop.body) {
    d = ts_loop_carried(f->a, k, NULL, 0);
    if (d.answer != mm[i] || d.reduction_only != (mm[i] == TS_YES))
      fail_msg("%s: %s %s", k->loop.var->name, ts_tri_name(d.answer), d.why);
    ts_bind_stmt(f->a, k);
  }
  assert_int_equal(ts_region_cover(f->a, c[0], c[1], acc), TS_YES);
  assert_int_equal(ts_region_cover(f->a, c[1], c[2], acc), TS_YES);
  ts_accesses r = ts_regions_of(f->a, c[1], NULL, 0);
  const ts_region *x = ts_regions_find(r.reads, r.nreads, g->params[0].buf);
  int64_t v;
  assert_true(ts_is_int(x->dim[0].extent, &v) && v == 8);
  assert_true(ts_is_int(x->dim[1].extent, &v) && v == 1024);
}

// Dividing the same block by its inner loops, as blockize does.
static void test_division(void **state) {
  fixture *f = *state;
  const ts_func *g = parse(f, tiled);
  const ts_stmt *s = root(g);
  ts_itermap m;
  ts_subspace sub[3];
  const ts_expr *outer, *inner;
  ts_bind_dims(f->a, g);
  const ts_stmt *k = s->loop.body->seq.child[1];
  collect(f, k);
  const ts_stmt *loops[8] = {s};
  for (int i = 0; i < f->nloops; i++) loops[i + 1] = f->loop[i];
  assert_true(ts_itermap_of_block(f->a, loops, f->nloops + 1, block_of(k), &m, NULL));
  assert_int_equal(m.bijective, TS_YES);
  const ts_var *in[] = {loops[4]->loop.var, loops[5]->loop.var};  // ki, l
  assert_true(ts_itermap_divide(f->a, &m, in, 2, sub, &outer, &inner, NULL));
  static const int64_t extent[] = {1, 16, 8};
  int64_t v;
  for (int i = 0; i < 3; i++) assert_true(ts_is_int(sub[i].inner_extent, &v) && v == extent[i]);
  const ts_var *bad[] = {loops[3]->loop.var};  // i without l
  assert_false(ts_itermap_divide(f->a, &m, bad, 1, sub, &outer, &inner, NULL));
  const ts_expr *of[3], *back[6];
  for (int i = 0; i < 3; i++) of[i] = ts_evar(f->ir, block_of(k)->iters[i].var);
  for (int i = 0; i < 3; i++) ts_bind_range(f->a, block_of(k)->iters[i].var, block_of(k)->iters[i].dom);
  assert_true(ts_itermap_invert(f->a, &m, of, back, NULL));
  ts_text t = {0};
  for (int i = 0; i < 6; i++) {
    ts_expr_print(&t, back[i]);
    ts_text_add(&t, "; ");
  }
  assert_string_equal(ts_text_str(&t), "va // 8 * 64 + vi // 64; vk // 8; va % 8; vi // 16 % 4; vk % 8; vi % 16; ");
  ts_text_free(&t);
}

// --- whole functions ---------------------------------------------------------------------------------------
static const char messy[] =
    "func t(n: dim(8..64, multiple 8), x: f32[n, 32], y: out f32[n, 32], z: out f32[n, 34]) {\n"
    "  for f in 0..(n + 7) // 8 * 32, b in 0..8 {\n"
    "    block a(va: S(0..n) = f // 32 * 8 + b, v: S(0..32) = (f * 8 + b) // 8 % 32) where f // 32 * 8 + b < n && 0 <= "
    "b {\n"
    "      if v % 2 * 2 + va % 2 < 4 { y[va * 3 // 3, v] = select(v < 40, x[va, (v * 4 + va % 4) // 4], 0.0) * 1.0 } "
    "else { y[va, v] = 7.0 }\n"
    "    }\n"
    "  }\n"
    "  for a in 0..n, o in 0..3, i in 0..16 {\n"
    "    block p(va: S = a, v: S(0..34) = o * 16 + i) where o * 16 + i < 34 {\n"
    "      let k: i64 = max(v - 1, 0)\n"
    "      z[va, v] = select(1 <= v && v < 33 && v < 100, x[va, min(k, 31)], -1.0)\n"
    "    }\n"
    "  }\n"
    "}\n";

static void run(fixture *f, const ts_func *g, float *y, float *z) {
  enum { N = 24 };
  ts_diag d;
  int64_t n = N;
  float *x = ts_new_array(f->arena, float, N * 32);
  for (int i = 0; i < N * 32; i++) x[i] = (float)(i * 7 % 101);
  ts_array ax = {TS_F32, 2, {N, 32}, x}, ay = {TS_F32, 2, {N, 32}, y}, az = {TS_F32, 2, {N, 34}, z};
  ts_array *args[] = {&ax, &ay, &az};
  ts_interp_opts o = {.check_races = true};
  if (!ts_interp_run(g, &n, args, &o, &d)) fail_msg("%s", d.message);
}

static void test_functions(void **state) {
  fixture *f = *state;
  ts_diag d;
  const ts_func *g = parse(f, messy), *s = ts_simplify_func(f->a, g), *again = ts_simplify_func(f->a, s);
  if (!ts_func_verify(s, &d)) fail_msg("%s", d.message);
  assert_true(ts_func_equal(s, again));
  assert_false(ts_func_equal(s, g));
  static float y[2][24 * 32], z[2][24 * 34];
  run(f, g, y[0], z[0]);
  run(f, s, y[1], z[1]);
  assert_memory_equal(y[0], y[1], sizeof y[0]);
  assert_memory_equal(z[0], z[1], sizeof z[0]);
  ts_text t = {0};
  ts_func_print(&t, s);
  assert_non_null(strstr(ts_text_str(&t), "y[va, v] = x[va, v]\n"));
  assert_null(strstr(ts_text_str(&t), "7.0"));
  ts_text_free(&t);
}

static void test_witness(void **state) {
  fixture *f = *state;
  const ts_func *g = parse(f, "func t(y: inout f32[64]) { for i in 0..64 { block a(v: S = i) { y[v // 4] = 1.0 } } }");
  ts_dep d = ts_loop_carried(f->a, root(g), NULL, 0);
  assert_true(d.has_witness && d.first != d.second && d.first / 4 == d.second / 4);
  assert_string_equal(d.src->name, "a");
  assert_int_equal(d.kind, TS_DEP_WAW);
  const ts_buffer *y = d.buf;
  assert_int_equal(ts_loop_carried(f->a, root(g), &y, 1).answer, TS_NO);
}

static void test_cover(void **state) {
  fixture *f = *state;
  const ts_func *g = parse(f,
                           "func t(x: f32[100], y: inout f32[100], z: inout f32[102]) {\n"
                           "  for io in 0..7, ii in 0..16 { block a(v: S(0..100) = io * 16 + ii) where io * 16 + ii < "
                           "100 { z[v + 1] = x[v] } }\n"
                           "  for i in 0..100 { block b(v: S = i) { y[v] = z[v + 1] } }\n"
                           "  for i in 0..98 { block c(v: S = i) { y[v] = z[v] + z[v + 2] } }\n"
                           "}\n");
  const ts_stmt *const *c = root(g)->seq.child;
  const ts_buffer *z = ts_regions_of(f->a, c[0], NULL, 0).writes[0].buf;
  assert_int_equal(ts_region_cover(f->a, c[0], c[1], z), TS_YES);
  assert_int_equal(ts_region_cover(f->a, c[0], c[2], z), TS_UNKNOWN);
  ts_edges e = ts_sibling_edges(f->a, c, 3);
  int raw = 0, waw = 0;
  for (int i = 0; i < e.n; i++) {
    raw += e.p[i].kind == TS_DEP_RAW;
    waw += e.p[i].kind == TS_DEP_WAW;
  }
  assert_int_equal(raw, 2);
  assert_int_equal(waw, 1);
}

static void test_nest(void **state) {
  fixture *f = *state;
  ts_dep d[3];
  const ts_func *g = parse(f,
                           "func t(x: f32[8, 64], y: inout f32[8]) {\n"
                           "  for i in 0..8, a in 0..4, b in 0..16 { block r(v: S = i, vk: R(0..64) = a * 16 + b) { "
                           "init { y[v] = 0.0 } y[v] = y[v] + x[v, vk] } }\n}\n");
  collect(f, root(g));
  ts_nest_carried(f->a, f->loop, f->nloops, d);
  assert_int_equal(d[0].answer, TS_NO);
  assert_true(d[1].answer == TS_YES && d[1].reduction_only);
  assert_true(d[2].answer == TS_YES && d[2].reduction_only);
  assert_true(ts_block_is_reduction(f->a, block_of(root(g))));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_operators, setup, teardown),
      cmocka_unit_test_setup_teardown(test_bindings, setup, teardown),
      cmocka_unit_test_setup_teardown(test_dependences, setup, teardown),
      cmocka_unit_test_setup_teardown(test_witness, setup, teardown),
      cmocka_unit_test_setup_teardown(test_tiled, setup, teardown),
      cmocka_unit_test_setup_teardown(test_division, setup, teardown),
      cmocka_unit_test_setup_teardown(test_cover, setup, teardown),
      cmocka_unit_test_setup_teardown(test_functions, setup, teardown),
      cmocka_unit_test_setup_teardown(test_nest, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
