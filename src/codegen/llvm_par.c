// Parallel loops: the body becomes a function of its own, run over parts of the range by the runtime's threads.
//
//   caller:      env = {captured buffers and variables}; rt->parallel(rt, NAME.parK, &env, extent)
//   NAME.parK:   (env, begin, end), reads env, calls
//   NAME.bodyK:  (begin, end, captured...), whose pointers are parameters, so that they are known not to alias
#include "codegen/gen.h"

enum { MOST = 128 };  // captured values

typedef struct capture {
  ts__gen *g;
  int nplaces, nvars;
  ts__place place[MOST];
  ts__bound var[MOST];
  bool full;
} capture;

static void capture_place(capture *c, const ts_buffer *b) {
  for (int i = 0; i < c->nplaces; i++)
    if (c->place[i].buf == b) return;
  LLVMValueRef ptr = ts__g_find_place(c->g, b);
  if (!ptr) return;  // allocated inside
  if (c->nplaces == MOST) {
    c->full = true;
    return;
  }
  c->place[c->nplaces++] = (ts__place){b, ptr};
}

static bool capture_expr(void *arg, const ts_expr *e) {
  capture *c = arg;
  if (e->kind == TS_E_LOAD) capture_place(c, e->buf);
  if (e->kind != TS_E_VAR) return true;
  for (int i = 0; i < c->nvars; i++)
    if (c->var[i].var == e->var) return true;
  ts__bound *b = ts__g_find_var(c->g, e->var);
  if (!b) return true;  // bound inside
  if (c->nvars == MOST) {
    c->full = true;
    return true;
  }
  c->var[c->nvars++] = *b;
  c->var[c->nvars - 1].let = NULL;
  return true;
}

static bool capture_stmt(void *arg, const ts_stmt *s) {
  if (s->kind == TS_S_STORE) capture_place(arg, s->store.buf);
  return true;
}

// What emission of another function must not disturb.
typedef struct saved {
  LLVMValueRef fn, rt, workspace;
  LLVMBasicBlockRef allocas, here;
  size_t vars, places;
  bool in_parallel;
  int64_t stack;
} saved;

static saved leave(ts__gen *g) {
  return (saved){g->fn,     g->rt,       g->workspace,   g->allocas, LLVMGetInsertBlock(g->b),
                 g->vars.n, g->places.n, g->in_parallel, g->stack};
}

static void back(ts__gen *g, saved s) {
  g->fn = s.fn, g->rt = s.rt, g->workspace = s.workspace, g->allocas = s.allocas;
  g->vars.n = s.vars, g->places.n = s.places, g->in_parallel = s.in_parallel, g->stack = s.stack;
  LLVMPositionBuilderAtEnd(g->b, s.here);
}

static void one_iteration(ts__gen *g, const ts_stmt *s, LLVMValueRef i) {
  size_t mark = g->memo.n;
  LLVMValueRef v = LLVMBuildAdd(g->b, ts__g_scalar(g, s->loop.min), i, "");
  ts__g_forget(g, mark);
  ts__g_loop_body(g, s, v);
}

// NAME.bodyK(begin, end, pointers..., variables...).
static LLVMValueRef body_function(ts__gen *g, const capture *c, const ts_stmt *s, int k, LLVMTypeRef *type) {
  LLVMTypeRef params[2 + 2 * MOST], ptr = LLVMPointerTypeInContext(g->ctx, 0);
  unsigned n = 0;
  params[n++] = LLVMInt64TypeInContext(g->ctx);
  params[n++] = LLVMInt64TypeInContext(g->ctx);
  for (int i = 0; i < c->nplaces; i++) params[n++] = ptr;
  for (int i = 0; i < c->nvars; i++) params[n++] = LLVMTypeOf(c->var[i].val.v);
  *type = LLVMFunctionType(LLVMVoidTypeInContext(g->ctx), params, n, false);
  saved outer = leave(g);
  g->fn = ts__g_new_function(g, ts_arena_printf(g->arena, "%s.body%d", g->symbol, k), *type, false);
  for (int i = 0; i < c->nplaces; i++) {
    ts__g_pointer_param(g, g->fn, (unsigned)(2 + i));
    ts_vec_push(g->arena, &g->places, ((ts__place){c->place[i].buf, LLVMGetParam(g->fn, (unsigned)(2 + i))}));
  }
  for (int i = 0; i < c->nvars; i++) {
    ts__bound b = c->var[i];
    if (!b.known) b.val.v = LLVMGetParam(g->fn, (unsigned)(2 + c->nplaces + i));
    ts_vec_push(g->arena, &g->vars, b);
  }
  g->in_parallel = true;
  g->stack = 0;
  g->allocas = ts__g_block(g, "entry");
  LLVMBasicBlockRef start = ts__g_block(g, "start");
  LLVMPositionBuilderAtEnd(g->b, start);
  ts__g_counted(g, LLVMGetParam(g->fn, 0), LLVMGetParam(g->fn, 1), 1, false, one_iteration, s);
  LLVMBuildRetVoid(g->b);
  LLVMPositionBuilderAtEnd(g->b, g->allocas);
  LLVMBuildBr(g->b, start);
  LLVMValueRef fn = g->fn;
  back(g, outer);
  return fn;
}

static LLVMTypeRef env_type(ts__gen *g, const capture *c) {
  LLVMTypeRef field[2 * MOST];
  unsigned n = 0;
  for (int i = 0; i < c->nplaces; i++) field[n++] = LLVMPointerTypeInContext(g->ctx, 0);
  for (int i = 0; i < c->nvars; i++) field[n++] = LLVMTypeOf(c->var[i].val.v);
  return LLVMStructTypeInContext(g->ctx, field, n, false);
}

// NAME.parK(env, begin, end), which only unpacks.
static LLVMValueRef entry_function(ts__gen *g, const capture *c, LLVMTypeRef env, LLVMValueRef body,
                                   LLVMTypeRef body_type, int k) {
  LLVMTypeRef i64 = LLVMInt64TypeInContext(g->ctx);
  LLVMTypeRef params[] = {LLVMPointerTypeInContext(g->ctx, 0), i64, i64};
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(g->ctx), params, 3, false);
  saved outer = leave(g);
  g->fn = ts__g_new_function(g, ts_arena_printf(g->arena, "%s.par%d", g->symbol, k), type, false);
  LLVMPositionBuilderAtEnd(g->b, ts__g_block(g, "entry"));
  LLVMValueRef args[2 + 2 * MOST];
  unsigned n = 0;
  args[n++] = LLVMGetParam(g->fn, 1);
  args[n++] = LLVMGetParam(g->fn, 2);
  for (unsigned i = 0; i < (unsigned)(c->nplaces + c->nvars); i++) {
    LLVMValueRef at = LLVMBuildStructGEP2(g->b, env, LLVMGetParam(g->fn, 0), i, "");
    args[n++] = LLVMBuildLoad2(g->b, LLVMStructGetTypeAtIndex(env, i), at, "");
  }
  LLVMBuildCall2(g->b, body_type, body, args, n, "");
  LLVMBuildRetVoid(g->b);
  LLVMValueRef fn = g->fn;
  back(g, outer);
  return fn;
}

static void call_runtime(ts__gen *g, const capture *c, LLVMTypeRef env, LLVMValueRef entry, LLVMValueRef extent) {
  LLVMTypeRef i64 = LLVMInt64TypeInContext(g->ctx), ptr = LLVMPointerTypeInContext(g->ctx, 0);
  LLVMValueRef slot = ts__g_slot(g, env, 64);
  for (int i = 0; i < c->nplaces + c->nvars; i++) {
    LLVMValueRef v = i < c->nplaces ? c->place[i].ptr : c->var[i - c->nplaces].val.v;
    LLVMBuildStore(g->b, v, LLVMBuildStructGEP2(g->b, env, slot, (unsigned)i, ""));
  }
  // ORDER ts_kernel_rt: `parallel` is its first field.
  LLVMValueRef run = LLVMBuildLoad2(g->b, ptr, g->rt, "");
  LLVMTypeRef params[] = {ptr, ptr, ptr, i64};
  LLVMValueRef args[] = {g->rt, entry, slot, extent};
  LLVMBuildCall2(g->b, LLVMFunctionType(LLVMVoidTypeInContext(g->ctx), params, 4, false), run, args, 4, "");
}
_Static_assert(offsetof(ts_kernel_rt, parallel) == 0, "generated code reads the first field");

// A parallel loop inside another, or inside a vector loop, runs in place.
void ts__g_parallel_loop(ts__gen *g, const ts_stmt *s) {
  int64_t extent;
  if (g->nv || g->in_parallel || g->lane_var || (ts_is_int(s->loop.extent, &extent) && extent <= 1)) {
    ts__g_serial_loop(g, s);
    return;
  }
  capture c = {.g = g};
  ts_stmt_visit(s->loop.body, capture_stmt, capture_expr, &c);
  ts_expr_visit(s->loop.min, capture_expr, &c);
  if (c.full) {
    ts__g_fail(g, TS_INDEX, "code-too-large", "parallel loop %.60s uses more than %d values", s->loop.var->name, MOST);
    return;
  }
  LLVMValueRef n = ts__g_scalar(g, s->loop.extent);
  ts__g_forget(g, 0);
  int k = g->outlined++;
  LLVMTypeRef body_type, env = env_type(g, &c);
  LLVMValueRef body = body_function(g, &c, s, k, &body_type);
  LLVMValueRef entry = entry_function(g, &c, env, body, body_type, k);
  if (!g->failed) call_runtime(g, &c, env, entry, n);
}
