// Inner buffers of blocks become allocations around the statements that use them.
#include "codegen/lower.h"

// Allocations of every block, around its body and init.
static const ts_stmt *place(void *arg, const ts_stmt *s) {
  ts__lower *l = arg;
  if (s->kind != TS_S_BLOCK || s->block->nallocs == 0) return s;
  ts_stmt *c;
  const ts_stmt *r = ts_stmt_copy(l->ir, s, &c);
  ts_block *b = ts_arena_dup(l->arena, s->block, sizeof *b);
  for (int i = b->nallocs - 1; i >= 0; i--) b->body = ts_alloc(l->ir, b->allocs[i], b->body);
  b->nallocs = 0;
  c->block = b;
  return r;
}

const ts_stmt *ts__place_buffers(ts__lower *l, const ts_stmt *body) { return ts_stmt_rewrite(l->ir, body, place, NULL, l); }
