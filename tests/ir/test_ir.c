// ir: interning, folding, walking, cloning, annotations, marked printing, verifier complaints, interpreter arguments.
// cmocka.h needs the four before it.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <math.h>
#include <stdlib.h>

#include "ir/ir.h"

static ts_arena *arena;
static ts_ir *ir;

static int open_context(void **state) {
  (void)state;
  arena = ts_arena_new("test");
  ir = ts_ir_new(arena);
  return 0;
}

static int close_context(void **state) {
  (void)state;
  ts_arena_free(arena);
  return 0;
}

static const ts_func *parse_bound(const char *text, const ts_bind *bind, int n) {
  ts_diag d = {0};
  const ts_func *f = ts_func_parse(ir, "test", text, strlen(text), bind, n, &d);
  if (!f) fail_msg("%s", d.message);
  return f;
}
static const ts_func *parse(const char *text) { return parse_bound(text, NULL, 0); }

static void assert_prints(const ts_expr *e, const char *want) {
  ts_text t = {0};
  ts_expr_print(&t, e);
  assert_string_equal(t.p, want);
  ts_text_free(&t);
}

static void equal_expressions_are_one(void **state) {
  (void)state;
  const ts_expr *x[4000];
  const ts_expr *v = ts_evar(ir, ts_var_new(ir, "i", TS_INDEX));
  for (int i = 0; i < 4000; i++) x[i] = ts_add(ir, ts_mul(ir, v, ts_int(ir, i)), ts_int(ir, 7));
  for (int i = 0; i < 4000; i++) assert_ptr_equal(x[i], ts_add(ir, ts_mul(ir, v, ts_int(ir, i)), ts_int(ir, 7)));
  const ts_expr *other = ts_evar(ir, ts_var_new(ir, "i", TS_INDEX));
  assert_ptr_not_equal(ts_add(ir, other, ts_int(ir, 7)), ts_add(ir, v, ts_int(ir, 7)));
  assert_ptr_not_equal(ts_const_float(ir, ts_scalar(TS_F32), 0.0), ts_const_float(ir, ts_scalar(TS_F32), -0.0));
  assert_ptr_equal(ts_const_float(ir, ts_scalar(TS_F32), NAN), ts_const_float(ir, ts_scalar(TS_F32), -NAN));
  assert_ptr_not_equal(ts_const_int(ir, ts_scalar(TS_I32), 1), ts_const_int(ir, ts_scalar(TS_I64), 1));
}

// Every pair of bytes through every operator, against C.
static void byte_arithmetic_is_that_of_c(void **state) {
  (void)state;
  ts_type t = ts_scalar(TS_I8), u = ts_scalar(TS_U8);
  for (int a = -128; a < 128; a += 5) {
    for (int b = -128; b < 128; b += 3) {
      const ts_expr *x = ts_const_int(ir, t, a), *y = ts_const_int(ir, t, b), *p = ts_const_int(ir, u, a),
                    *q = ts_const_int(ir, u, b);
      assert_int_equal(ts_add(ir, x, y)->i, (int8_t)(a + b));
      assert_int_equal(ts_sub(ir, x, y)->i, (int8_t)(a - b));
      assert_int_equal(ts_mul(ir, x, y)->i, (int8_t)(a * b));
      assert_int_equal(ts_mul(ir, p, q)->i, (uint8_t)(a * b));
      assert_int_equal(ts_bin(ir, TS_E_LT, x, y)->i, a < b);
      assert_int_equal(ts_bin(ir, TS_E_LT, p, q)->i, (uint8_t)a < (uint8_t)b);
      assert_int_equal(ts_bin(ir, TS_E_BITXOR, p, q)->i, (uint8_t)(a ^ b));
      assert_int_equal(ts_bin(ir, TS_E_MAX, x, y)->i, a > b ? a : b);
      if (b == 0) {
        assert_int_equal(ts_bin(ir, TS_E_FLOORDIV, x, y)->kind, TS_E_FLOORDIV);
        continue;
      }
      assert_int_equal(ts_bin(ir, TS_E_FLOORDIV, x, y)->i, (int8_t)floor((double)a / b));
      assert_int_equal(ts_bin(ir, TS_E_FLOORMOD, x, y)->i, (int8_t)(a - b * (int)floor((double)a / b)));
      assert_int_equal(ts_bin(ir, TS_E_FLOORDIV, p, q)->i, (uint8_t)a / (uint8_t)b);
    }
  }
}

static void conversions_saturate_and_round_once(void **state) {
  (void)state;
  ts_type f64 = ts_scalar(TS_F64);
  assert_int_equal(ts_cast(ir, ts_scalar(TS_U8), ts_const_float(ir, f64, 300.7))->i, 255);
  assert_int_equal(ts_cast(ir, ts_scalar(TS_U8), ts_const_float(ir, f64, -0.5))->i, 0);
  assert_int_equal(ts_cast(ir, ts_scalar(TS_I64), ts_const_float(ir, f64, 1e19))->i, INT64_MAX);
  assert_int_equal(ts_cast(ir, ts_scalar(TS_I64), ts_const_float(ir, f64, -1e19))->i, INT64_MIN);
  assert_int_equal(ts_cast(ir, ts_scalar(TS_U64), ts_const_float(ir, f64, 1e19))->i, (int64_t)10000000000000000000u);
  assert_int_equal(ts_cast(ir, ts_scalar(TS_I32), ts_const_float(ir, f64, NAN))->i, 0);
  // 1 + 2^-11 + 2^-30 lies above the middle of two halves; through f32 it would fall on the middle.
  double above = 1 + ldexp(1, -11) + ldexp(1, -30);
  assert_true(ts_const_float(ir, ts_scalar(TS_F16), above)->f == 1 + ldexp(1, -10));
  assert_true(ts_const_float(ir, ts_scalar(TS_BF16), 1 + ldexp(1, -8) + ldexp(1, -40))->f == 1 + ldexp(1, -7));
  assert_true(ts_cast(ir, ts_scalar(TS_F32), ts_const_int(ir, ts_scalar(TS_U64), -1))->f == 18446744073709551616.0);
}

static void substitution_is_simultaneous(void **state) {
  (void)state;
  ts_var *i = ts_var_new(ir, "i", TS_INDEX), *j = ts_var_new(ir, "j", TS_INDEX);
  const ts_expr *e = ts_sub(ir, ts_evar(ir, i), ts_evar(ir, j));
  ts_subst swap[] = {{i, ts_evar(ir, j)}, {j, ts_evar(ir, i)}};
  assert_prints(ts_expr_subst(ir, e, swap, 2), "j - i");
  ts_subst none = {ts_var_new(ir, "k", TS_INDEX), ts_int(ir, 1)};
  assert_ptr_equal(ts_expr_subst(ir, e, &none, 1), e);
  assert_true(ts_expr_uses_var(e, i));
  assert_false(ts_expr_uses_var(e, none.from));
}

static const ts_expr *sevens(void *arg, const ts_expr *e) {
  int64_t v;
  return ts_is_int(e, &v) && v == 7 ? ts_int(arg, 8) : e;
}

static const char *two_blocks =
    "func f(n: dim(1..64), x: f32[n, 7], y: out f32[n, 7]) {\n"
    "  alloc t: f32[n, 7]\n"
    "  for i in 0..n {\n"
    "    for j in 0..7 {\n"
    "      block a(vi: S(0..n) = i, vj: S(0..7) = j) {\n"
    "        t[vi, vj] = x[vi, vj]\n"
    "      }\n"
    "    }\n"
    "  }\n"
    "  for i in 0..n {\n"
    "    for j in 0..5 {\n"
    "      block b(vi: S(0..n) = i, vj: S(0..5) = j) {\n"
    "        y[vi, vj] = t[vi, vj]\n"
    "      }\n"
    "    }\n"
    "  }\n"
    "}\n";

static void rewriting_shares_what_it_leaves(void **state) {
  (void)state;
  const ts_func *f = parse(two_blocks);
  const ts_stmt *body = ts_stmt_rewrite(ir, f->body, NULL, sevens, ir);
  const ts_stmt *const *was = f->body->block->body->seq.child, *const *is = body->block->body->seq.child;
  assert_ptr_equal(ts_stmt_rewrite(ir, body, NULL, sevens, ir), body);
  assert_ptr_not_equal(was[0], is[0]);
  assert_ptr_equal(was[1], is[1]);
  assert_int_equal(was[0]->id, is[0]->id);
  int64_t extent = 0;
  assert_true(ts_is_int(is[0]->loop.body->loop.extent, &extent));
  assert_int_equal(extent, 8);
}

static bool collect_ids(void *arg, const ts_stmt *s) {
  uint32_t **at = arg;
  if (s->id) *(*at)++ = s->id;
  return true;
}

static void clones_have_new_identities(void **state) {
  (void)state;
  const ts_func *f = parse(two_blocks);
  uint32_t ids[32] = {0}, *end = ids;
  ts_func g = *f;
  g.body = ts_stmt_clone(ir, f->body);
  ts_stmt_visit(f->body, collect_ids, NULL, &end);
  size_t n = (size_t)(end - ids);
  ts_stmt_visit(g.body, collect_ids, NULL, &end);
  assert_int_equal(end - ids, 2 * n);
  for (size_t i = 0; i < 2 * n; i++) {
    for (size_t k = 0; k < i; k++) assert_int_not_equal(ids[i], ids[k]);
  }
  assert_true(ts_func_equal(f, &g));
  assert_ptr_not_equal(f->body->block->allocs[0], g.body->block->allocs[0]);
  assert_true(ts_func_verify(&g, NULL));
}

static void a_buffer_is_replaced_everywhere(void **state) {
  (void)state;
  const ts_func *f = parse(two_blocks);
  const ts_buffer *t = f->body->block->allocs[0];
  ts_buffer *u = ts_buffer_new(ir, "u", t->code, t->ndim, t->shape, "local");
  ts_func g = *f;
  g.body = ts_stmt_replace_buffer(ir, f->body, t, u);
  assert_true(ts_func_verify(&g, NULL));
  ts_text text = {0};
  ts_func_print(&text, &g);
  assert_non_null(strstr(text.p, "alloc u: f32[n, 7] local"));
  assert_non_null(strstr(text.p, "y[vi, vj] = u[vi, vj]"));
  assert_null(strstr(text.p, "t["));
  ts_text_free(&text);
}

static void hashes_ignore_names_and_ids(void **state) {
  (void)state;
  const ts_func *f = parse(two_blocks);
  char *renamed = ts_arena_strdup(arena, two_blocks);
  for (char *p = renamed; (p = strstr(p, "vi")); p += 2) memcpy(p, "wq", 2);
  const ts_func *g = parse(renamed);
  assert_true(ts_func_equal(f, g));
  assert_true(ts_func_hash(f) == ts_func_hash(g));
  ts_sha256 a = ts_func_sha256(f), b = ts_func_sha256(g);
  assert_memory_equal(a.b, b.b, sizeof a.b);
  char *other = ts_arena_strdup(arena, two_blocks);
  *strstr(other, "x[vi, vj]") = 't';
  const ts_func *h = parse(other);
  assert_false(ts_func_equal(f, h));
  assert_true(ts_func_hash(f) != ts_func_hash(h));
}

static void notes_stay_sorted(void **state) {
  (void)state;
  ts_notes n = {0};
  const char *keys[] = {"m", "a", "z", "m"};
  for (int i = 0; i < 4; i++) n = ts_notes_with(arena, n, (ts_note){.key = keys[i], .kind = TS_NOTE_INT, .i = i});
  assert_int_equal(n.n, 3);
  assert_string_equal(n.p[0].key, "a");
  assert_string_equal(n.p[2].key, "z");
  assert_int_equal(ts_notes_find(n, "m")->i, 3);
  n = ts_notes_without(arena, n, "a");
  assert_int_equal(n.n, 2);
  assert_null(ts_notes_find(n, "a"));
}

static void marks_stand_in_the_margin(void **state) {
  (void)state;
  const ts_func *f = parse("func f(y: out f32[4]) { for i in 0..4 { y[i] = 1.0 } }");
  ts_mark mark = {.id = f->body->block->body->id, .note = "loop i"};
  ts_text t = {0};
  ts_func_print_marked(&t, f, &mark, 1);
  assert_string_equal(t.p, "  func f(y: out f32[4]) {\n>   for i in 0..4 {  # loop i\n      y[i] = 1.0\n    }\n  }\n");
  ts_text_free(&t);
}

static void loose_names_are_made_different(void **state) {
  (void)state;
  ts_var *i = ts_var_new(ir, "i", TS_INDEX), *k = ts_var_new(ir, "i", TS_INDEX),
         *odd = ts_var_new(ir, "2 x..", TS_INDEX);
  ts_var *word = ts_var_new(ir, "for", TS_INDEX);
  const ts_expr *e =
      ts_add(ir, ts_add(ir, ts_evar(ir, i), ts_evar(ir, k)), ts_add(ir, ts_evar(ir, odd), ts_evar(ir, word)));
  assert_prints(e, "i + i_1 + (_2_x__ + for_1)");
}

static void expressions_parse_over_given_names(void **state) {
  (void)state;
  ts_var *i = ts_var_new(ir, "i", TS_INDEX);
  const ts_var *vars[] = {i};
  ts_bind bind = {.name = "K", .kind = TS_BIND_INT, .i = 64};
  const char *text = "i * 4 + K / 16 <= max(i, K)";
  ts_lex l;
  ts_diag d;
  int64_t v = 32, out = 0;
  ts_lex_init(&l, "test", text, strlen(text));
  const ts_expr *e = ts_expr_parse_at(ir, &l, vars, 1, &bind, 1, &d);
  assert_non_null(e);
  assert_prints(e, "i * 4 + 4 <= max(i, 64)");
  assert_true(ts_eval_int(e, vars, &v, 1, &out));
  assert_int_equal(out, 0);
  assert_false(ts_eval_int(e, vars, &v, 0, &out));
}

static void dimensions_take_bound_facts(void **state) {
  (void)state;
  const char *text = "func f(n: dim(1..64), y: out f32[n]) { for i in 0..n { y[i] = n * 0.5 } }";
  ts_bind fact = {.name = "n", .kind = TS_BIND_DIM, .i = 8, .hi = 32, .multiple = 8}, wide = fact,
          one = {.name = "n", .kind = TS_BIND_INT, .i = 4};
  ts_diag d = {0};
  const char *number = "func f(n: dim(1..64), y: out f32[n]) { for i in 0..n { y[i] = cast(f32, n) * 0.5 } }";
  const ts_func *f = parse_bound(number, &fact, 1);
  assert_int_equal(f->dims[0].lo, 8);
  assert_int_equal(f->dims[0].multiple, 8);
  assert_int_equal(parse_bound(text, &one, 1)->ndims, 0);
  wide.hi = 65;
  assert_null(ts_func_parse(ir, "test", number, strlen(number), &wide, 1, &d));
  assert_int_equal(d.kind, TS_REFUSAL);
}

// The example that opens docs/tir.md is canonical text.
static void the_manual_opens_with_canonical_text(void **state) {
  (void)state;
  char *doc, plain[4096];
  size_t n, m = 0;
  ts_diag d;
  assert_true(ts_file_read(ts_path_join(arena, ts_data_dir(), "docs/tir.md"), arena, &doc, &n, &d));
  char *p = strstr(doc, "    func main(");
  assert_non_null(p);
  for (; strncmp(p, "    ", 4) == 0 && m < sizeof plain; p = strchr(p, '\n') + 1) {
    size_t len = strcspn(p + 4, "\n") + 1;
    assert_true(m + len < sizeof plain);
    memcpy(plain + m, p + 4, len);
    m += len;
  }
  plain[m] = 0;
  ts_text t = {0};
  ts_func_print(&t, parse(plain));
  assert_string_equal(t.p, plain);
  ts_text_free(&t);
}

// --- verifier: each breaks a good function in one place -------------------------------------------------------

static void assert_complains(const ts_func *f, const char *about) {
  ts_diag d = {0};
  assert_false(ts_func_verify(f, &d));
  assert_int_equal(d.kind, TS_BUG);
  if (!strstr(d.message, about)) fail_msg("'%s' says nothing of '%s'", d.message, about);
}

static void the_verifier_finds_what_is_broken(void **state) {
  (void)state;
  const ts_func *good = parse(two_blocks);
  ts_func f = *good;
  ts_stmt *root, *loop;
  const ts_stmt *first = good->body->block->body->seq.child[0];
  ts_block b = *good->body->block;
  ts_stmt_copy(ir, good->body, &root);
  root->block = &b;
  f.body = root;
  assert_true(ts_func_verify(&f, NULL));
  f.nparams = 1;
  assert_complains(&f, "'y' is not visible");
  f.nparams = 2;
  f.ndims = 0;
  assert_complains(&f, "'n' is not bound");
  f.ndims = 1;
  b.nallocs = 0;
  assert_complains(&f, "'t' is not visible");
  b.nallocs = 1;
  b.body = first->loop.body;
  assert_complains(&f, "'i' is not bound");
  b.body = ts_seq(ir, (const ts_stmt *[]){first, first}, 2);
  assert_complains(&f, "have the id");
  b.body = ts_seq(ir, (const ts_stmt *[]){first, ts_stmt_clone(ir, first)}, 2);
  assert_complains(&f, "two blocks are named 'a'");
  ts_stmt_copy(ir, first, &loop);
  loop->loop.kind = TS_THREAD;
  b.body = loop;
  assert_complains(&f, "axis");
  b.body = first;
  b.name = "trunk";
  assert_complains(&f, "root");
  b.name = "root";
  b.nwrites = b.nreads = 0;
  assert_complains(&f, "does not declare that it reads 'x'");
  f.stage = TS_STAGE_LOOPS;
  assert_complains(&f, "lowered");
}

static void declared_regions_must_cover(void **state) {
  (void)state;
  const ts_func *good = parse("func f(y: out f32[8]) { block b(v: S(0..1) = 0) { for i in 0..8 { y[i] = 1.0 } } }");
  const ts_stmt *inner = good->body->block->body;
  ts_block b = *inner->block, r = *good->body->block;
  ts_range dim = {.min = ts_int(ir, 0), .extent = ts_int(ir, 7)};
  ts_region region = {.buf = b.writes[0].buf, .dim = &dim};
  ts_func f = *good;
  ts_stmt *s, *root;
  b.writes = &region;
  ts_stmt_copy(ir, inner, &s);
  s->block = &b;
  r.body = s;
  ts_stmt_copy(ir, good->body, &root);
  root->block = &r;
  f.body = root;
  assert_complains(&f, "writes more of 'y'");
  dim.extent = ts_int(ir, 8);
  assert_true(ts_func_verify(&f, NULL));
}

// --- interpreter ----------------------------------------------------------------------------------------------

static void arguments_are_checked(void **state) {
  (void)state;
  const ts_func *f =
      parse("func f(n: dim(2..8, multiple 2), x: f32[n], y: out f32[n]) { for i in 0..n { y[i] = x[i] } }");
  float xs[8] = {1, 2, 3, 4}, ys[8] = {0};
  ts_array x = {.code = TS_F32, .ndim = 1, .shape = {4}, .data = xs},
           y = {.code = TS_F32, .ndim = 1, .shape = {4}, .data = ys};
  ts_array *args[] = {&x, &y};
  int64_t n = 4;
  ts_diag d = {0};
  assert_true(ts_interp_run(f, &n, args, NULL, &d));
  assert_true(ys[3] == 4);
  x.shape[0] = 5;
  assert_false(ts_interp_run(f, &n, args, NULL, &d));
  assert_string_equal(d.code, "bad-argument");
  x.shape[0] = 4, x.code = TS_F64;
  assert_false(ts_interp_run(f, &n, args, NULL, &d));
  assert_string_equal(d.code, "bad-argument");
  n = 3;
  assert_false(ts_interp_run(f, &n, args, NULL, &d));
  assert_string_equal(d.code, "bad-dimension");
}

static void arrays_round_what_they_take(void **state) {
  (void)state;
  uint8_t raw[32];
  ts_array a = {.code = TS_F16, .ndim = 2, .shape = {2, 3}, .data = raw};
  assert_int_equal(ts_array_count(&a), 6);
  ts_array_set(&a, 5, 0.1);
  assert_true(fabs(ts_array_get(&a, 5) - 0.1) < 1e-4 && ts_array_get(&a, 5) != 0.1);
  a.code = TS_I8;
  ts_array_set(&a, 1, -200);
  assert_true(ts_array_get(&a, 1) == -128);
  a.code = TS_U64;
  ts_array_set(&a, 0, 1e19);
  assert_true(ts_array_get(&a, 0) == 1e19);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, open_context, close_context)
  const struct CMUnitTest tests[] = {
      TEST(equal_expressions_are_one),
      TEST(byte_arithmetic_is_that_of_c),
      TEST(conversions_saturate_and_round_once),
      TEST(substitution_is_simultaneous),
      TEST(rewriting_shares_what_it_leaves),
      TEST(clones_have_new_identities),
      TEST(a_buffer_is_replaced_everywhere),
      TEST(hashes_ignore_names_and_ids),
      TEST(notes_stay_sorted),
      TEST(marks_stand_in_the_margin),
      TEST(loose_names_are_made_different),
      TEST(expressions_parse_over_given_names),
      TEST(dimensions_take_bound_facts),
      TEST(the_verifier_finds_what_is_broken),
      TEST(declared_regions_must_cover),
      TEST(the_manual_opens_with_canonical_text),
      TEST(arguments_are_checked),
      TEST(arrays_round_what_they_take),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
