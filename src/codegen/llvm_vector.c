// Vector loops: iterations are taken `lanes` at a time, as values of that many lanes.
//
// A vector loop promises that no two iterations conflict, so the steps may follow one another. A body that cannot be
// done in lanes (an inner loop or a let that differs from lane to lane, several lanes storing to one element, vectors
// of intrinsics) runs as a serial loop, which has the same meaning.
#include "codegen/gen.h"

typedef struct survey {
  ts__gen *g;
  int widest;  // bytes of the widest element type worked on
  bool vectors, unfit;
} survey;

static bool survey_expr(void *arg, const ts_expr *e) {
  survey *s = arg;
  if (e->type.lanes > 1) s->vectors = true;
  bool index = e->type.code == TS_I64 && e->kind != TS_E_LOAD;
  if (!index) s->widest = TS_MAX(s->widest, ts_code_bytes(e->type.code));
  return e->kind != TS_E_LOAD;  // what is inside an index is not counted
}

static bool survey_stmt(void *arg, const ts_stmt *st) {
  survey *s = arg;
  if (st->kind == TS_S_STORE) s->widest = TS_MAX(s->widest, ts_code_bytes(st->store.buf->code));
  if (st->kind == TS_S_EVAL || st->kind == TS_S_BLOCK) s->vectors = true;
  return true;
}

static bool distinct(const int64_t *off, int n) {
  for (int i = 0; i < n; i++)
    for (int k = i + 1; k < n; k++)
      if (off[i] == off[k]) return false;
  return true;
}

// With the loop's variable bound: can every statement below be done in lanes?
static bool check_stmt(void *arg, const ts_stmt *st) {
  survey *s = arg;
  ts__gen *g = s->g;
  int64_t off[TS__MAX_VECTOR];
  if (st->kind == TS_S_FOR && (ts__g_varies(g, st->loop.min) || ts__g_varies(g, st->loop.extent))) s->unfit = true;
  if (st->kind == TS_S_LET && ts__g_varies(g, st->let.value)) s->unfit = true;
  if (st->kind == TS_S_STORE) {
    const ts_expr *index = st->store.buf->ndim ? st->store.idx[0] : NULL;
    if (!index || !ts__g_varies(g, index)) s->unfit = true;
    if (index && ts__g_lane_offsets(g, index, off) && !distinct(off, g->lanes)) s->unfit = true;
  }
  return !s->unfit;
}

static int lanes_for(const ts__gen *g, int widest, int64_t extent) {
  int n = TS_MIN(g->t->vector_bytes / TS_MAX(widest, 1), TS__MAX_VECTOR);
  while (n > extent) n /= 2;
  return TS_MAX(n, 1);
}

static void step(ts__gen *g, const ts_stmt *s, LLVMValueRef at, int lanes, int64_t multiple) {
  size_t vars = g->vars.n;
  if (lanes > 1) g->lane_var = s->loop.var, g->lanes = lanes;
  ts__g_bind(
      g, (ts__bound){.var = s->loop.var, .val = {at, 1}, .nonneg = ts__g_nonneg(g, s->loop.min), .multiple = multiple});
  ts__g_stmt(g, s->loop.body);
  g->vars.n = vars;
  g->lane_var = NULL, g->lanes = 0;
}

// Bound to the loop's start with this many lanes, does the body fit?
static bool fits(ts__gen *g, const ts_stmt *s, int lanes) {
  survey v = {.g = g};
  size_t vars = g->vars.n;
  LLVMValueRef from = ts__g_scalar(g, s->loop.min);
  ts__g_forget(g, 0);
  g->lane_var = s->loop.var, g->lanes = lanes;
  ts__g_bind(g, (ts__bound){.var = s->loop.var, .val = {from, 1}});
  ts_stmt_visit(s->loop.body, check_stmt, NULL, &v);
  g->vars.n = vars;
  g->lane_var = NULL, g->lanes = 0;
  return !v.unfit;
}

static void full_step(ts__gen *g, const ts_stmt *s, LLVMValueRef at) {
  int64_t zero, extent = 0;
  ts_is_int(s->loop.extent, &extent);
  survey v = {.g = g};
  ts_stmt_visit(s->loop.body, survey_stmt, survey_expr, &v);
  int lanes = lanes_for(g, v.widest, extent);
  step(g, s, at, lanes, ts_is_int(s->loop.min, &zero) && zero % lanes == 0 ? lanes : 1);
}

void ts__g_vector_loop(ts__gen *g, const ts_stmt *s, int64_t extent) {
  enum { MOST_STEPS = 16 };  // written out; more become a loop
  survey v = {.g = g};
  ts_stmt_visit(s->loop.body, survey_stmt, survey_expr, &v);
  int lanes = lanes_for(g, v.widest, extent);
  if (extent < 2 || lanes < 2 || v.vectors || !fits(g, s, lanes)) {
    ts__g_serial_loop(g, s);
    return;
  }
  LLVMValueRef from = ts__g_scalar(g, s->loop.min);
  ts__g_forget(g, 0);
  int64_t done = 0;
  if (extent / lanes > MOST_STEPS) {
    done = extent / lanes * lanes;
    ts__g_counted(g, from, LLVMBuildAdd(g->b, from, ts__g_i64(g, done), ""), lanes, true, full_step, s);
  }
  while (done < extent && !g->failed) {
    int n = lanes;
    while (n > extent - done) n /= 2;
    step(g, s, LLVMBuildAdd(g->b, from, ts__g_i64(g, done), ""), n, 1);
    done += n;
  }
}
