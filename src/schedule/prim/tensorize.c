// tensorize l "vpdpbusd_16x4" : blockizes the nest at l (a block is taken as it is) and, when it computes what the intrinsic
// describes, notes on the block the intrinsic's name and where its operands are. The body stays and remains the meaning.
#include "op/intrin.h"
#include "schedule/schedule_impl.h"

typedef struct plan {
  ts__blockized z;
  bool made;              // a block was made around the nest
  const ts_stmt *block;   // to be marked
  int at;                 // the node it replaces
} plan;

bool ts__check_tensorize(ts__ctx *c) {
  plan *p = ts_new(c->a, plan);
  c->plan = p;
  p->at = c->arg[0].node;
  ts_diag d = {0};
  const ts_intrin *x = ts_intrin_load(c->ir, c->arg[1].s, &d);
  if (!x) {
    ts__refuse(c, TS_R_no_such_intrinsic, 1, "{0}");
    ts__fact_s(c, ts_arena_strdup(c->a, d.message));
    return false;
  }
  if (ts__is_block(c, p->at) && ts__block(c, p->at)->intrin) {
    ts__refuse(c, TS_R_tensorized, 0, "block {0} is tensorized already");
    ts__fact_node(c, p->at);
    return false;
  }
  p->block = ts__stmt(c, p->at);
  if (ts__is_loop(c, p->at)) {
    TS_TRY(ts__blockize(c, 0, p->at, &p->z));
    p->block = p->z.made;
  }
  ts__match m = {.block = p->block->block, .intrin = x};
  if (!ts__match_intrin(c, &m)) {
    ts__refuse(c, TS_R_intrinsic_mismatch, 0, "{0} is not {1}: {2}");
    ts__fact_node(c, p->at);
    ts__fact_s(c, x->name);
    ts__fact_s(c, m.why);
    return false;
  }
  ts_block *b = ts_arena_dup(c->a, p->block->block, sizeof *b);
  b->intrin = ts_arena_strdup(c->a, x->name);
  b->noperands = m.noperands;
  b->operands = m.operands;
  p->block = ts__block_with(c, p->block, b);
  return true;
}

bool ts__apply_tensorize(ts__ctx *c) {
  const plan *p = c->plan;
  ts__result(c, 'b', p->block->id, 0);
  c->out = ts__reinfer(c, ts__replace(c, p->at, p->block));
  return true;
}
