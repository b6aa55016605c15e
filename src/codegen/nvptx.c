// The kernels of a lowered function: what runs between two points where all threads of the GPU meet.
#include "codegen/nvptx.h"

static const ts_expr *larger(ts__gen *g, const ts_expr *a, const ts_expr *b) {
  int64_t x, y;
  if (!a || a == b) return b;
  if (ts_is_int(a, &x) && ts_is_int(b, &y)) return x > y ? a : b;
  return ts_bin(g->nv_ir, TS_E_MAX, a, b);
}

typedef struct survey {
  ts__gen *g;
  ts__nv_kernel *k;
} survey;

static bool see_loop(void *arg, const ts_stmt *s) {
  survey *v = arg;
  if (s->kind != TS_S_FOR || s->loop.kind != TS_THREAD || s->loop.axis == TS_VTHREAD) return true;
  const ts_expr **at = &v->k->extent[s->loop.axis];
  bool block_axis = s->loop.axis <= TS_BLOCK_Z;
  if (!block_axis && !ts_is_int(s->loop.extent, NULL))
    ts__g_fail(v->g, TS_INDEX, "thread-extent", "loop %.60s along %s has no constant extent", s->loop.var->name,
               ts_axis_name(s->loop.axis));
  *at = larger(v->g, *at, s->loop.extent);
  for (int i = 0; i < s->loop.notes.n; i++)
    v->k->notes = ts_notes_with(v->g->arena, v->k->notes, s->loop.notes.p[i]);
  return true;
}

static bool check_block(ts__gen *g, const ts__nv_kernel *k) {
  int64_t threads = 1, n;
  for (int a = TS_THREAD_X; a <= TS_THREAD_Z; a++)
    if (k->extent[a] && ts_is_int(k->extent[a], &n)) threads *= n;
  int most = g->t->gpu.max_threads ? g->t->gpu.max_threads : 1024;
  if (threads < 1 || threads > most)
    ts__g_fail(g, TS_INDEX, "too-many-threads", "a block of %lld threads; the device takes 1 to %d", (long long)threads,
               most);
  return !g->failed;
}

static bool add_kernel(ts__gen *g, const ts_stmt *s, const ts_buffer **allocs, int n) {
  ts__nv_kernel k = {.body = s, .nallocs = n};
  survey v = {g, &k};
  ts_stmt_visit(s, see_loop, NULL, &v);
  if (g->failed || !check_block(g, &k)) return false;
  k.allocs = n ? ts_arena_dup(g->arena, allocs, sizeof *allocs * (size_t)n) : NULL;
  ts_vec_push(g->arena, &g->nv->kernels, k);
  return true;
}

static bool is_top(const ts_stmt *s) {
  return s->kind == TS_S_SEQ || (s->kind == TS_S_ALLOC && strcmp(s->alloc.buf->scope, "global") == 0);
}

static bool split(ts__gen *g, const ts_stmt *s, const ts_buffer **allocs, int n) {
  enum { MOST = 64 };
  if (!is_top(s)) return add_kernel(g, s, allocs, n);
  if (s->kind == TS_S_ALLOC) {
    if (n == MOST)
      return ts__g_fail(g, TS_INDEX, "code-too-large", "more than %d buffers of the workspace in scope", MOST), false;
    allocs[n] = s->alloc.buf;
    return split(g, s->alloc.body, allocs, n + 1);
  }
  for (int i = 0; i < s->seq.n; i++)
    if (!split(g, s->seq.child[i], allocs, n)) return false;
  return true;
}

bool ts__nv_split(ts__gen *g) {
  const ts_buffer *allocs[64];
  if (!split(g, g->f->body, allocs, 0)) return false;
  for (size_t i = 0; i < g->nv->kernels.n; i++)
    g->nv->kernels.p[i].entry =
        g->nv->kernels.n == 1 ? g->symbol : ts_arena_printf(g->arena, "%s_%zu", g->symbol, i);
  return true;
}

int64_t ts__nv_option(const ts__nv_kernel *k, const char *key, int64_t otherwise) {
  const ts_note *note = ts_notes_find(k->notes, key);
  return note && note->kind == TS_NOTE_INT ? note->i : otherwise;
}
