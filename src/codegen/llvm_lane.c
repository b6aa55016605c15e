// What is known about index expressions at emission: how they move from lane to lane, their remainders, their sign.
#include "codegen/gen.h"

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b, b = r;
  }
  return a < 0 ? -a : a;
}

static int64_t floor_mod(int64_t a, int64_t b) {
  int64_t r = a % b;
  return r < 0 ? r + b : r;
}

static bool residue(ts__gen *g, const ts_expr *e, int64_t c, int64_t *r);

static bool residue_of_var(ts__gen *g, const ts_var *v, int64_t c, int64_t *r) {
  ts__bound *b = ts__g_find_var(g, v);
  if (!b) return false;
  if (b->known) return *r = floor_mod(b->value, c), true;
  if (b->let) return residue(g, b->let, c, r);
  return *r = 0, b->multiple % c == 0;
}

// k * e mod c by e mod (c / gcd(k, c)).
static bool residue_of_product(ts__gen *g, const ts_expr *e, int64_t k, int64_t c, int64_t *r) {
  int64_t part = c / gcd(k, c);
  int64_t x;
  if (!residue(g, e, part, &x)) return false;
  return *r = floor_mod(floor_mod(k, c) * x, c), true;
}

// e at lane 0 mod c, when it is a constant. c is at least 1 and small enough for products of two remainders.
static bool residue(ts__gen *g, const ts_expr *e, int64_t c, int64_t *r) {
  int64_t k, x, y;
  if (c == 1) return *r = 0, true;
  if (c < 1 || c > (int64_t)1 << 30) return false;
  switch ((ts_ekind)e->kind) {
    case TS_E_INT:
      return *r = floor_mod(e->i, c), true;
    case TS_E_VAR:
      return residue_of_var(g, e->var, c, r);
    case TS_E_ADD:
    case TS_E_SUB:
      if (!residue(g, e->arg[0], c, &x) || !residue(g, e->arg[1], c, &y)) return false;
      return *r = floor_mod(e->kind == TS_E_ADD ? x + y : x - y, c), true;
    case TS_E_MUL:
      if (ts_is_int(e->arg[1], &k)) return residue_of_product(g, e->arg[0], k, c, r);
      if (ts_is_int(e->arg[0], &k)) return residue_of_product(g, e->arg[1], k, c, r);
      if (residue(g, e->arg[0], c, &x) && x == 0) return *r = 0, true;
      if (residue(g, e->arg[1], c, &y) && y == 0) return *r = 0, true;
      return residue(g, e->arg[0], c, &x) && residue(g, e->arg[1], c, &y) && (*r = x * y % c, true);
    case TS_E_FLOORDIV:
      if (!ts_is_int(e->arg[1], &k) || k < 1 || k > (int64_t)1 << 30 || !residue(g, e->arg[0], k * c, &x)) return false;
      return *r = x / k, true;
    case TS_E_FLOORMOD:
      if (!ts_is_int(e->arg[1], &k) || k < 1 || !residue(g, e->arg[0], k, &x)) return false;
      return *r = x % c, true;
    default:
      return false;
  }
}

bool ts__g_multiple(ts__gen *g, const ts_expr *e, int64_t n) {
  int64_t r;
  return residue(g, e, n, &r) && r == 0;
}

static bool all_zero(const int64_t *off, int n) {
  for (int i = 0; i < n; i++)
    if (off[i]) return false;
  return true;
}

// Is e == value at lane 0, a constant?
static bool constant(ts__gen *g, const ts_expr *e, int64_t *v) {
  if (ts_is_int(e, v)) return true;
  if (e->kind != TS_E_VAR) return false;
  ts__bound *b = ts__g_find_var(g, e->var);
  if (!b || !b->known || e->var == g->lane_var) return false;
  return *v = b->value, true;
}

static bool offsets_of_var(ts__gen *g, const ts_var *v, int64_t *off) {
  if (v == g->lane_var) {
    for (int i = 0; i < g->lanes; i++) off[i] = i;
    return true;
  }
  ts__bound *b = ts__g_find_var(g, v);
  if (b && b->val.lanes > 1) return b->let && !ts__g_may_trap(b->let) && ts__g_lane_offsets(g, b->let, off);
  memset(off, 0, sizeof off[0] * (size_t)g->lanes);
  return true;
}

static bool offsets_of_division(ts__gen *g, const ts_expr *e, int64_t *off) {
  int64_t k, r;
  if (!constant(g, e->arg[1], &k) || k < 1 || !residue(g, e->arg[0], k, &r)) return false;
  for (int i = 0; i < g->lanes; i++) {
    int64_t at = r + off[i], rem = floor_mod(at, k);
    off[i] = e->kind == TS_E_FLOORDIV ? (at - rem) / k : rem - r;
  }
  return true;
}

bool ts__g_lane_offsets(ts__gen *g, const ts_expr *e, int64_t *off) {
  int64_t other[TS__MAX_VECTOR], k;
  int n = g->lanes;
  if (e->kind == TS_E_VAR) return offsets_of_var(g, e->var, off);
  if (!ts__g_varies(g, e)) return memset(off, 0, sizeof off[0] * (size_t)n), true;
  switch ((ts_ekind)e->kind) {
    case TS_E_ADD:
    case TS_E_SUB:
      if (!ts__g_lane_offsets(g, e->arg[0], off) || !ts__g_lane_offsets(g, e->arg[1], other)) return false;
      for (int i = 0; i < n; i++) off[i] += e->kind == TS_E_ADD ? other[i] : -other[i];
      return true;
    case TS_E_MUL:
      if (!ts__g_lane_offsets(g, e->arg[0], off) || !ts__g_lane_offsets(g, e->arg[1], other)) return false;
      if (all_zero(other, n) && constant(g, e->arg[1], &k)) {
        for (int i = 0; i < n; i++) off[i] *= k;
        return true;
      }
      if (!all_zero(off, n) || !constant(g, e->arg[0], &k)) return false;
      for (int i = 0; i < n; i++) off[i] = other[i] * k;
      return true;
    case TS_E_FLOORDIV:
    case TS_E_FLOORMOD:
      return ts__g_lane_offsets(g, e->arg[0], off) && offsets_of_division(g, e, off);
    default:
      return false;
  }
}

typedef struct variation {
  ts__gen *g;
  bool found;
} variation;

static bool see_varying(void *arg, const ts_expr *e) {
  variation *v = arg;
  if (e->kind == TS_E_VAR) {
    ts__bound *b = ts__g_find_var(v->g, e->var);
    v->found |= e->var == v->g->lane_var || (b && b->val.lanes > 1);
  }
  return !v->found;
}

bool ts__g_varies(ts__gen *g, const ts_expr *e) {
  if (!g->lane_var) return false;
  variation v = {g, false};
  ts_expr_visit(e, see_varying, &v);
  return v.found;
}

static bool see_trap(void *arg, const ts_expr *e) {
  bool *found = arg;
  int64_t k;
  if (e->kind == TS_E_LOAD) *found = true;
  if ((e->kind == TS_E_FLOORDIV || e->kind == TS_E_FLOORMOD) && !(ts_is_int(e->arg[1], &k) && k)) *found = true;
  return !*found;
}

bool ts__g_may_trap(const ts_expr *e) {
  bool found = false;
  ts_expr_visit(e, see_trap, &found);
  return found;
}

bool ts__g_nonneg(ts__gen *g, const ts_expr *e) {
  ts__bound *b;
  if (ts_code_is_unsigned(e->type.code)) return true;
  switch ((ts_ekind)e->kind) {
    case TS_E_INT:
      return e->i >= 0;
    case TS_E_VAR:
      return (b = ts__g_find_var(g, e->var)) && b->nonneg;
    case TS_E_ADD:
    case TS_E_MUL:
      return e->type.code == TS_I64 && ts__g_nonneg(g, e->arg[0]) && ts__g_nonneg(g, e->arg[1]);
    case TS_E_MIN:
    case TS_E_FLOORDIV:
      return ts__g_nonneg(g, e->arg[0]) && ts__g_nonneg(g, e->arg[1]);
    case TS_E_FLOORMOD:
      return ts__g_nonneg(g, e->arg[1]);
    case TS_E_MAX:
      return ts__g_nonneg(g, e->arg[0]) || ts__g_nonneg(g, e->arg[1]);
    default:
      return false;
  }
}
